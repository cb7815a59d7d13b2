"""sherpa-onnx: pyannote's segmentation network, a speaker encoder and fast clustering, all in one C++ library without torch.

The library ends the whole process over a model that lacks one of the facts it reads, so that they are looked at first.
What two people say at once belongs to both.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field

from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, WeightFile, Weights
from polydub.engines.onnx_facts import metadata
from polydub.errors import EngineFailed, MissingWeights
from polydub.types import HEAR_HZ, Turn, seconds

MODELS = ("wespeaker",)
ASK = "give wespeaker, or a folder with a segmentation model and a speaker encoder that were exported for sherpa-onnx"
# What version 2.0.1 reads of a model; without it the process ends (each was left out, and it did).
SEGMENTATION = (
    *("sample_rate", "window_size", "receptive_field_size", "receptive_field_shift"),
    *("num_speakers", "num_classes", "powerset_max_classes"),
)
ENCODER = ("sample_rate", "output_dim", "normalize_samples")
PULL = "pull its weights again"
WINDOW_S, SHIFT = 10.0, 0.1  # what the segmentation hears at once, and the library's own step, as a share of it
# Clustering holds the distances between all voices of all windows: with a step of 0.1 three hours took 3.4 GB (measured).
# Longer films get longer steps; with 0.3 the error stays the same (another program's measurement on VoxConverse).
MOST_WINDOWS = 3600
ARTICLES = {"segmentation": "a", "encoder": "an"}
FRAMEWORKS = ("wespeaker", "3d-speaker", "nemo")
HUB = "hub:csukuangfj/"
# Lengths and hashes: the model tables of two desktop programs that pin both repositories by revision (read in November 2026:
# a transcription program's `diarization/models.rs`, with licences and attributions, and a speech workbench's download list),
# which agree. The segmentation is pyannote/segmentation-3.0 (MIT), the encoder WeSpeaker's ResNet34-LM, trained on VoxCeleb
# (CC-BY-4.0), whose equal error rate on VoxCeleb1-O is 0.723 % (its own table).
SEGMENTATION_WEIGHT = Weight(
    "sherpa-onnx-segmentation",
    "9403a6902bb58e3d5ae8c7e77c3422de279db2e0",
    HUB + "sherpa-onnx-pyannote-segmentation-3-0",
    "MIT",
    commercial_use=True,
    files=(WeightFile("model.onnx", "220ad67ca923bef2fa91f2390c786097bf305bceb5e261d4af67b38e938e1079", 5_992_913),),
)
ENCODER_WEIGHT = Weight(
    "sherpa-onnx-wespeaker",
    "0743f301363dec56491a490f6d6cbc9d67f9a3bf",
    HUB + "speaker-embedding-models",
    "CC-BY-4.0",
    commercial_use=True,
    files=(
        WeightFile(
            "wespeaker_en_voxceleb_resnet34_LM.onnx",
            "e9848563da86f263117134dfd7ad63c92355b37de492b55e325400c9d9c39012",
            26_530_550,
        ),
    ),
)


class SherpaOptions(Options):
    """Options of diarization by sherpa-onnx."""

    model: str = Field("wespeaker", min_length=1, description=ASK)
    threshold: float = Field(
        0.5, gt=0, lt=2, description="distance up to which voices are one speaker, where nobody says how many there are"
    )
    min_duration_on_s: float = Field(0.3, ge=0, le=10, description="turns shorter than so many seconds are left out")
    min_duration_off_s: float = Field(
        0.5, ge=0, le=10, description="pauses of one speaker shorter than so many seconds are closed"
    )
    window_shift: float = Field(
        0.0,
        ge=0,
        le=1,
        description="step between the 10-s windows that are heard, as a share of one; 0 = 0.1, and more in films over an hour",
    )
    threads: int = Field(0, ge=0, le=256, description="threads; 0 = one for each core", json_schema_extra={"identity": False})
    idle_s: float = Field(
        86_400,
        gt=0,
        description="seconds after which an engine that has not answered is ended; it answers when the film is done",
        json_schema_extra={"identity": False},
    )


class SherpaDiarizer:
    """A Diarizer."""

    def __init__(self, library: Any, models: tuple[Path, Path], options: SherpaOptions) -> None:
        """Loads the models. Raises: EngineFailed."""
        self._library, self._models, self._options = library, models, options
        self._shift = 0.0
        self._diarizer = self._loaded(options.window_shift or SHIFT)

    def _loaded(self, shift: float) -> Any:
        if shift == self._shift:
            return self._diarizer
        try:
            made = self._library.OfflineSpeakerDiarization(self._config(shift, -1))
        except RuntimeError as error:
            raise EngineFailed(f"sherpa-onnx cannot load its models: {error}", PULL) from error
        self._shift = shift
        return made

    def _config(self, shift: float, count: int) -> Any:
        library, options = self._library, self._options
        threads = options.threads or len(os.sched_getaffinity(0))
        segmentation, encoder = map(str, self._models)
        pyannote = library.OfflineSpeakerSegmentationPyannoteModelConfig(model=segmentation, window_shift_ratio=shift)
        return library.OfflineSpeakerDiarizationConfig(
            segmentation=library.OfflineSpeakerSegmentationModelConfig(pyannote=pyannote, num_threads=threads),
            embedding=library.SpeakerEmbeddingExtractorConfig(model=encoder, num_threads=threads),
            clustering=library.FastClusteringConfig(num_clusters=count, threshold=options.threshold),
            min_duration_on=options.min_duration_on_s,
            min_duration_off=options.min_duration_off_s,
        )

    def diarize(self, speech: Path, speakers: range | None) -> Sequence[Turn]:
        """As Diarizer. When the threshold finds fewer or more than there can be, the nearest number is asked for. That splits
        voices at random where there are no more, and makes everybody one where it is more than the windows with speech: unless
        it gives as many as there must be, what the threshold found is kept.

        Raises: EngineFailed.
        """
        from polydub.audio import pcm

        sound = pcm.mapped(speech)
        if not sound.samples.size:
            return ()
        shift = self._options.window_shift or min(max(SHIFT, sound.duration / (WINDOW_S * MOST_WINDOWS)), 1.0)
        self._diarizer = self._loaded(shift)
        fewest, most = (max(1, speakers.start), speakers.stop - 1) if speakers else (1, sound.samples.size)
        if most == 1:
            return self._turns(sound.samples[0], 1)
        found = self._turns(sound.samples[0], -1)
        count = len({turn.speaker for turn in found})
        if not count or fewest <= count <= most:
            return found
        forced = self._turns(sound.samples[0], min(max(count, fewest), most))
        return forced if count > most or len({turn.speaker for turn in forced}) >= fewest else found

    def _turns(self, samples: Any, count: int) -> tuple[Turn, ...]:
        try:
            self._diarizer.set_config(self._config(self._shift, count))
            found = self._diarizer.process(samples).sort_by_start_time()
        except RuntimeError as error:  # what onnxruntime raises comes as this
            raise EngineFailed(f"sherpa-onnx failed while telling people apart: {error}", PULL) from error
        return tuple(Turn(seconds(s.start), seconds(s.end), str(s.speaker)) for s in found)


@contextmanager
def _load(options: SherpaOptions, weights: Weights, device: str) -> Generator[SherpaDiarizer]:
    models = _files(options, weights)
    yield SherpaDiarizer(import_module("sherpa_onnx"), models, options)


def _own_folder(options: SherpaOptions) -> Path | None:
    return None if options.model in MODELS else Path(options.model).expanduser()


def _files(options: SherpaOptions, weights: Weights) -> tuple[Path, Path]:
    """The segmentation model and the encoder. Raises: MissingWeights, EngineFailed."""
    own = _own_folder(options)
    if own is not None:
        chosen = _parts(own)
        return chosen["segmentation"], chosen["encoder"]
    places = ((SEGMENTATION_WEIGHT, "segmentation"), (ENCODER_WEIGHT, "encoder"))
    return _pulled(weights, *places[0]), _pulled(weights, *places[1])


def _pulled(weights: Weights, weight: Weight, part: str) -> Path:
    file = weights[weight.id] / weight.files[0].name
    if not file.is_file():
        raise MissingWeights(f"{file.parent.name} lacks {file.name}", f"polydub models pull {weight.id}")
    try:
        facts = metadata(file)
    except ValueError as error:
        raise EngineFailed(f"{error}", f"polydub models pull {weight.id}") from error
    if part_of(facts) != part:
        raise EngineFailed(f"{file.name} is not the {part} that sherpa-onnx needs", f"polydub models pull {weight.id}")
    return file


def _parts(folder: Path) -> Mapping[str, Path]:
    """The two models of a folder of one's own, known by what they say about themselves; of an int8 and a full one the full.

    Raises: MissingWeights.
    """
    found: dict[str, list[Path]] = {"segmentation": [], "encoder": []}
    for file in sorted(folder.rglob("*.onnx")):
        try:
            part = part_of(metadata(file))
        except (OSError, ValueError):
            continue
        if part:
            found[part].append(file)
    full = {part: [f for f in files if "int8" not in f.name] or files for part, files in found.items()}
    for part, files in full.items():
        if len(files) != 1:
            text = f"holds {len(files)} models of the kind {part}" if files else f"lacks {ARTICLES[part]} {part}"
            raise MissingWeights(f"{folder.name} {text} for sherpa-onnx", ASK)
    return {part: files[0] for part, files in full.items()}


def part_of(facts: Mapping[str, str]) -> str:
    """ "segmentation" or "encoder": what a model with these facts can be for sherpa-onnx; "" = neither."""
    if facts.get("sample_rate") != str(HEAR_HZ):
        return ""
    if all(_counts(facts, name) for name in SEGMENTATION):
        people, together = int(facts["num_speakers"]), int(facts["powerset_max_classes"])
        classes = 1 + people + people * (people - 1) // 2 * (together == 2)
        return "segmentation" if together in (1, 2) and int(facts["num_classes"]) == classes else ""
    whole = all(name in facts for name in ENCODER) and _counts(facts, "output_dim") and facts.get("language")
    fit = facts.get("framework") in FRAMEWORKS and (facts["framework"] != "nemo" or "feat_dim" in facts)
    return "encoder" if whole and fit else ""


def _counts(facts: Mapping[str, str], name: str) -> bool:
    value = facts.get(name, "")
    return value.isascii() and value.isdigit() and 0 < int(value) < 1 << 31


def _check(options: SherpaOptions) -> Availability:
    own = _own_folder(options)
    if own is None:
        return READY
    if not own.is_dir():
        return Availability(False, f"there is no model or folder {options.model!r}", ASK)
    try:
        _parts(own)
    except MissingWeights as error:
        return Availability(False, error.message, error.hint)
    return READY


def _version(options: SherpaOptions) -> str:
    """Of a folder of one's own: lengths and times of its files."""
    own = _own_folder(options)
    if own is None or not own.is_dir():
        return ""
    facts = ((f.name, f.stat()) for f in sorted(own.rglob("*.onnx")))
    return " ".join(f"{name}:{fact.st_size}:{fact.st_mtime_ns}" for name, fact in facts)


ENGINE = Engine(
    info=Info(
        kind="diarization",
        name="sherpa-onnx",
        summary="Tells people apart with pyannote's segmentation and a WeSpeaker encoder, both as ONNX: quick, without torch.",
        licence="Apache-2.0",
        homepage="https://github.com/k2-fsa/sherpa-onnx",
        package="sherpa-onnx",
        memory_mib=(900, 0),
        features=frozenset({"overlap"}),
    ),
    options=SherpaOptions,
    load=_load,
    check=_check,
    languages=lambda options: None,
    version=_version,
    weights=lambda options: () if _own_folder(options) else (SEGMENTATION_WEIGHT, ENCODER_WEIGHT),
    models=dict.fromkeys(("low", "medium", "high"), MODELS),
    environment=Environment("sherpa-onnx", "sherpa_onnx", ("cpu",)),
)
