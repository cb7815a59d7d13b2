"""A pyannote pipeline with random weights: python pyannote_pipelines.py FOLDER

FOLDER/vbx is laid out as speaker-diarization-community-1; FOLDER/ahc as a pipeline of one's own with the clustering of 3.1 and
without PLDA. Both have the same two networks. The encoder has its real size, 6.6 million parameters: keep sounds short.
"""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

TUNED = {
    "vbx": ("VBxClustering", {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8}),
    "ahc": ("AgglomerativeClustering", {"method": "centroid", "min_cluster_size": 2, "threshold": 0.7}),
}


def save(model: Any, folder: Path) -> None:
    """A checkpoint as pyannote reads it: weights, hyper-parameters, what to build it with."""
    import lightning
    import torch

    folder.mkdir(parents=True)
    build = {
        "versions": {"torch": "2.1.1", "pyannote.audio": "4.0.0"},
        "architecture": {"module": type(model).__module__, "class": type(model).__name__},
        "specifications": model.specifications,
    }
    document = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "pyannote.audio": build,
    }
    empty = {"epoch": 0, "global_step": 0, "loops": {}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": []}
    torch.save(document | empty, folder / "pytorch_model.bin")


def quieten(model: Any) -> None:
    """Moves the last bias so that silence is nobody, narrowly, and any sound is now this one, now that one, now both."""
    import torch

    wanted = torch.tensor([0.02, 0.0, 0.0, -9.0, 0.0, -9.0, -9.0])
    with torch.no_grad():
        model.classifier.bias += wanted - model(torch.zeros(1, 1, 160_000))[0].mean(0)


def main(folder: Path) -> None:
    try:
        import torchaudio  # noqa: F401
    except OSError:  # a CUDA build beside torch for processors: only its native part is absent
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        absent: Any = types.ModuleType("torchaudio._extension")
        absent._IS_TORCHAUDIO_EXT_AVAILABLE = absent._IS_ALIGN_AVAILABLE = False
        absent._check_cuda_version, absent.fail_if_no_align = (lambda: None), (lambda function: function)
        sys.modules["torchaudio._extension"] = absent
    import torch
    import yaml
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    lstm = {"hidden_size": 8, "num_layers": 1, "bidirectional": True, "monolithic": True, "dropout": 0.0}
    linear = {"hidden_size": 8, "num_layers": 1}
    segmentation = PyanNet(sincnet={"stride": 10}, lstm=lstm, linear=linear, sample_rate=16000, num_channels=1)
    segmentation.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        warm_up=(0.0, 0.0),
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    embedding = WeSpeakerResNet34(sample_rate=16000, num_channels=1, num_mel_bins=80)
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, classes=None
    )
    vbx = folder / "vbx"
    for name, model in (("segmentation", segmentation), ("embedding", embedding)):
        model.build()
        if model is segmentation:
            quieten(model.eval())
        save(model, vbx / name)
    (vbx / "plda").mkdir()
    random = np.random.default_rng(0)
    np.savez(vbx / "plda/xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=random.normal(size=(256, 128)))
    np.savez(vbx / "plda/plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(3, 0.1, 128))
    shutil.copytree(vbx / "segmentation", folder / "ahc/segmentation")
    shutil.copytree(vbx / "embedding", folder / "ahc/embedding")
    for name, (clustering, tuned) in TUNED.items():
        parts = ("segmentation", "embedding", "plda") if name == "vbx" else ("segmentation", "embedding")
        params = {part: f"$model/{part}" for part in parts} | {"clustering": clustering, "embedding_exclude_overlap": True}
        config = {
            "version": "4.0.0",
            "pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": params},
            "params": {"segmentation": {"min_duration_off": 0.0}, "clustering": tuned},
        }
        (folder / name / "config.yaml").write_text(yaml.safe_dump(config))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
