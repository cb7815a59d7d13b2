"""pyannote.audio: the pipelines speaker-diarization-community-1 and speaker-diarization-3.1, or one of one's own folders.

Pipelines are put together here from local files only. The library's own way reads which class to make from config.yaml, asks
the hub for whatever is not there, decides by the path of a model how to open it, and counts its users: none of that happens.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weights
from polydub.engines.diarization.pyannote_weights import COMMUNITY, SEGMENTATION, WEIGHTS, WESPEAKER
from polydub.errors import EngineFailed, MissingWeights
from polydub.types import Turn, seconds

ASK = "give community-1, 3.1, or a folder with the config.yaml of a pyannote pipeline and its models"
CLASS = "pyannote.audio.pipelines.SpeakerDiarization"
LEAST_S = 0.1  # shorter sound is nobody; the encoder fails on less
# config.yaml of pyannote/speaker-diarization-3.1 at its revision 84fd25912480287da0247647c3d2b4853cb3ee5d
OF_3_1: Mapping[str, Any] = {
    "clustering": "AgglomerativeClustering",
    "embedding_exclude_overlap": True,
    "params": {
        "clustering": {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7045654963945799},
        "segmentation": {"min_duration_off": 0.0},
    },
}


class PyannoteOptions(Options):
    """Options of pyannote."""

    model: str = Field("community-1", min_length=1, description=ASK)
    threshold: float | None = Field(
        None, gt=0, lt=2, description="distance up to which voices are one speaker; unset = what the pipeline was tuned to"
    )
    min_duration_off_s: float | None = Field(
        None, ge=0, le=10, description="pauses of one speaker shorter than so many seconds are closed; unset = as tuned"
    )
    overlap: bool = Field(True, description="who talks at the same time is told; false = only who talks loudest")
    batch: int = Field(
        0,
        ge=0,
        le=256,
        description="windows heard at once; 0 = 8 on the processor, 32 on a card",
        json_schema_extra={"identity": False},
    )
    threads: int = Field(0, ge=0, le=256, description="threads; 0 = one for each core", json_schema_extra={"identity": False})
    idle_s: float = Field(
        86_400,
        gt=0,
        description="seconds after which an engine that has not answered is ended; it answers when the film is done",
        json_schema_extra={"identity": False},
    )


@dataclass(frozen=True)
class Recipe:
    """What a pipeline is made of. Attributes: plda: folder; None = the clustering has no use for it. tuned: its parameters."""

    segmentation: Path
    embedding: Path
    plda: Path | None
    clustering: str
    exclude_overlap: bool
    tuned: Mapping[str, Mapping[str, Any]]


class PyannoteDiarizer:
    """A Diarizer."""

    def __init__(self, pipeline: Any, torch: Any, overlap: bool) -> None:
        self._pipeline, self._torch, self._overlap = pipeline, torch, overlap

    def diarize(self, speech: Path, speakers: range | None) -> Sequence[Turn]:
        """As Diarizer. Sound below 0.1 s has no turns. Raises: EngineFailed."""
        from polydub.audio import pcm

        sound = pcm.mapped(speech)
        if sound.duration < LEAST_S:
            return ()
        file = {"waveform": self._torch.from_numpy(sound.samples), "sample_rate": sound.rate_hz, "uri": "film"}
        bounds = {"min_speakers": max(1, speakers.start), "max_speakers": speakers.stop - 1} if speakers else {}
        try:
            found = self._heard(file, bounds)
        except (RuntimeError, ValueError) as error:  # torch's and scikit-learn's; there is no class of their own
            raise EngineFailed(
                f"pyannote failed while telling people apart: {error}", "choose another --diarization"
            ) from error
        told = found.speaker_diarization if self._overlap else found.exclusive_speaker_diarization
        # The last window is filled up with silence, in which a network may hear somebody.
        spans = ((s.start, min(s.end, sound.duration), str(name)) for s, _, name in told.itertracks(yield_label=True))
        turns = (Turn(seconds(start), seconds(end), name) for start, end, name in spans if start < end)
        return tuple(sorted(turns, key=lambda t: (t.start, t.end, t.speaker)))

    def _heard(self, file: Mapping[str, Any], bounds: Mapping[str, int]) -> Any:
        """Asked for more speakers than there are windows with speech, the library fails: then nobody is made up."""
        import warnings

        with self._torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # means of nothing, too few speakers: both are seen in what it answers
            try:
                return self._pipeline(dict(file), **bounds)
            except ValueError:
                if bounds.get("min_speakers", 1) == 1:
                    raise
                return self._pipeline(dict(file), max_speakers=bounds["max_speakers"])


@contextmanager
def _load(options: PyannoteOptions, weights: Weights, device: str) -> Generator[PyannoteDiarizer]:
    recipe = recipe_of(options, weights)
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # read at import; else the library counts and reports its uses
    _with_torchaudio()
    torch: Any = import_module("torch")
    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    try:
        pipeline = _pipeline(recipe, options.batch or (8 if device == "cpu" else 32))
        pipeline.instantiate(tuned(recipe, options))
        pipeline.to(torch.device(device))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, ImportError, OSError, EOFError) as error:
        text = f"pyannote cannot load {recipe.segmentation.parent.name or options.model}: {error}"
        raise EngineFailed(text, "pull its weights again, or choose another device") from error
    yield PyannoteDiarizer(pipeline, torch, options.overlap)


def _with_torchaudio() -> None:
    """torchaudio as published is a CUDA build: beside torch for processors its native part cannot be loaded. What pyannote
    uses of it (filter banks) is Python, and works once that part is said to be absent.
    """
    try:
        import_module("torchaudio")
    except OSError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        absent: Any = ModuleType("torchaudio._extension")
        absent._IS_TORCHAUDIO_EXT_AVAILABLE = absent._IS_ALIGN_AVAILABLE = False
        absent._check_cuda_version = lambda: None
        absent.fail_if_no_align = _itself
        sys.modules["torchaudio._extension"] = absent
        import_module("torchaudio")


def _itself(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _pipeline(recipe: Recipe, batch: int) -> Any:
    models: Any = import_module("pyannote.audio")
    pipelines: Any = import_module("pyannote.audio.pipelines")
    plda: Any = import_module("pyannote.audio.core.plda").PLDA
    return pipelines.SpeakerDiarization(
        segmentation=models.Model.from_pretrained(recipe.segmentation).eval(),
        embedding=models.Model.from_pretrained(recipe.embedding).eval(),
        # One without content where none is used: given nothing, the pipeline would fetch one from the hub.
        plda=plda.from_pretrained(recipe.plda) if recipe.plda else plda.__new__(plda),
        clustering=recipe.clustering,
        embedding_exclude_overlap=recipe.exclude_overlap,
        segmentation_batch_size=batch,
        embedding_batch_size=batch,
    )


def recipe_of(options: PyannoteOptions, weights: Weights) -> Recipe:
    """What the pipeline is made of. Raises: MissingWeights, naming the file that is not there; EngineFailed."""
    if options.model == "3.1":
        files = [weights[w.id] / w.files[0].name for w in (SEGMENTATION, WESPEAKER)]
        for file in files:
            _require(file, options.model)
        tuned: Mapping[str, Any] = OF_3_1["params"]
        return Recipe(files[0], files[1], None, OF_3_1["clustering"], OF_3_1["embedding_exclude_overlap"], tuned)
    folder = weights[COMMUNITY.id] if options.model in WEIGHTS else Path(options.model).expanduser()
    _require(folder / "config.yaml", folder.name)
    yaml: Any = import_module("yaml")
    try:
        recipe = _of_config(folder, yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise EngineFailed(f"{folder.name} is no pyannote pipeline that can be used: {error}", ASK) from error
    _require(recipe.segmentation, folder.name)
    _require(recipe.embedding, folder.name)
    if recipe.plda:
        for name in ("plda.npz", "xvec_transform.npz"):
            _require(recipe.plda / name, folder.name)
    return recipe


def _of_config(folder: Path, config: Any) -> Recipe:
    pipeline: Any = config["pipeline"]
    if pipeline["name"] != CLASS:
        raise ValueError(f"its pipeline is {pipeline['name']}, not {CLASS}")
    given: Any = pipeline["params"]
    clustering = str(given.get("clustering", "VBxClustering"))
    if clustering not in ("VBxClustering", "AgglomerativeClustering"):
        raise ValueError(f"polydub does not know its clustering {clustering}")
    plda = _place(folder, given.get("plda")) if clustering == "VBxClustering" else None
    segmentation, embedding = (_model(folder, given.get(part)) for part in ("segmentation", "embedding"))
    exclude = bool(given.get("embedding_exclude_overlap", False))
    return Recipe(segmentation, embedding, plda, clustering, exclude, config["params"])


def _model(folder: Path, named: Any) -> Path:
    place = _place(folder, named)
    return place / "pytorch_model.bin" if place.is_dir() or not place.suffix else place


def _place(folder: Path, named: Any) -> Path:
    """Where a part of a pipeline lies: "$model/NAME" or a path inside its folder. Names on the hub are refused."""
    text = str(named or "")
    inside = text.removeprefix("$model/")
    place = (folder / inside).resolve()
    if not inside or not place.is_relative_to(folder.resolve()):
        raise ValueError(f"{text!r} is no part of its folder")
    if not text.startswith("$model/") and not place.exists():
        raise ValueError(f"it wants {text!r} from elsewhere: put it into the folder, and write $model/NAME")
    return place


def _require(file: Path, of: str) -> None:
    if not file.is_file():
        raise MissingWeights(f"{of} lacks {'/'.join(file.parts[-2:])}", "pull its weights again, or complete the folder")


def tuned(recipe: Recipe, options: PyannoteOptions) -> dict[str, dict[str, Any]]:
    """The parameters of the pipeline with what the options change."""
    made = {part: dict(values) for part, values in recipe.tuned.items()}
    if options.threshold is not None:
        made.setdefault("clustering", {})["threshold"] = options.threshold
    if options.min_duration_off_s is not None:
        made.setdefault("segmentation", {})["min_duration_off"] = options.min_duration_off_s
    return made


def _own_folder(options: PyannoteOptions) -> Path | None:
    return None if options.model in WEIGHTS else Path(options.model).expanduser()


def _check(options: PyannoteOptions) -> Availability:
    own = _own_folder(options)
    if own is None or (own / "config.yaml").is_file():
        return READY
    lacks = f"{own.name} lacks config.yaml" if own.is_dir() else f"there is no model or folder {options.model!r}"
    return Availability(False, lacks, ASK)


def _version(options: PyannoteOptions) -> str:
    """Of a folder of one's own: lengths and times of its files."""
    own = _own_folder(options)
    if own is None or not own.is_dir():
        return ""
    facts = ((f.relative_to(own), f.stat()) for f in sorted(own.rglob("*")) if f.suffix in (".yaml", ".bin", ".npz"))
    return " ".join(f"{name}:{fact.st_size}:{fact.st_mtime_ns}" for name, fact in facts)


ENGINE = Engine(
    info=Info(
        kind="diarization",
        name="pyannote",
        summary="Tells people apart also where they talk at once; its models need an account, accepted terms and HF_TOKEN.",
        licence="MIT",
        homepage="https://github.com/pyannote/pyannote-audio",
        package="pyannote.audio",
        memory_mib=(2500, 1600),
        devices=frozenset({"cpu", "cuda"}),
        features=frozenset({"overlap"}),
    ),
    options=PyannoteOptions,
    load=_load,
    check=_check,
    languages=lambda options: None,
    version=_version,
    weights=lambda options: WEIGHTS.get(options.model, ()),
    models=dict.fromkeys(("low", "medium", "high"), ("community-1", "3.1")),
    # Importing pyannote.audio itself wants what `_with_torchaudio` does.
    environment=Environment("pyannote", "pyannote.pipeline"),
)
