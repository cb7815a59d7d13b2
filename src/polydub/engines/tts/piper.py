"""Piper: small neural voices in fourteen languages and more, far faster than real time on a processor.

Piper is GPL and stays a program of its own, in an environment of its own. A model is one `.onnx` file with its `.onnx.json`;
it has one speaker or several. Several models may be open at once, so that several people of a film differ.
Its randomness cannot be set: the same text sounds a little different every time, unless both noises are 0.
"""

from __future__ import annotations

import difflib
import json
import os
import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, Weights
from polydub.engines.tts.piper_voices import CATALOGUE, tag_of
from polydub.engines.tts.spoken import library, no_voice, threads
from polydub.errors import BadSettings, EngineFailed, MissingWeights, UnsupportedLanguage
from polydub.types import Audio, Part, Voice

NAME = "piper"
JOIN = "+"  # between the models that are open at once
RATE_LIMITS = (0.25, 4.0)
PHONEMES = ("espeak", "text", "hebrew")  # kinds of text to phonemes; the others fetch data from the network at first use
LONGEST_PATH = 150  # bytes; espeak-ng does not find its data behind a longer path
ASK = "give a voice of the catalogue (polydub models list), or a folder with NAME.onnx and NAME.onnx.json"


class PiperOptions(Options):
    """Options of Piper."""

    model: str = Field(
        "en_US-libritts_r-medium",
        min_length=1,
        description='voice such as "es_ES-davefx-medium", or path of an .onnx file or a folder of them; several joined by "+"',
    )
    noise_scale: float | None = Field(
        None,
        ge=0,
        le=2,
        description="variation of the sound, 0 to 2 (no unit); empty = the voice's own",
    )
    noise_w_scale: float | None = Field(
        None, ge=0, le=2, description="variation of the pace of sounds, 0 to 2 (no unit); empty = the voice's own"
    )
    threads: int = Field(
        0, ge=0, le=256, description="threads of one line; 0 = one per core", json_schema_extra={"identity": False}
    )


class _Unusable(Exception):
    """A model that cannot be used; its words are half a sentence."""


@dataclass(frozen=True, slots=True)
class _Model:
    """One voice file. `speakers`: name -> number; empty for a model with one voice."""

    file: Path
    config: Mapping[str, Any]
    language: str
    speakers: Mapping[str, int]

    @property
    def name(self) -> str:
        """File name without its ending."""
        return self.file.name.removesuffix(".onnx")

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of its voices: its own, or one for each speaker."""
        return tuple(f"{self.name}/{speaker}" for speaker in self.speakers) or (self.name,)


def _read(file: Path) -> _Model:
    """A model by what its .onnx.json says. Raises: _Unusable."""
    described = file.with_name(f"{file.name}.json")
    try:
        config: Any = json.loads(described.read_bytes())
        kind = str(config.get("phoneme_type", "espeak"))
        rate, count, espeak = int(config["audio"]["sample_rate"]), int(config["num_speakers"]), str(config["espeak"]["voice"])
        named = {str(name): int(number) for name, number in config.get("speaker_id_map", {}).items()}
        whole = 8_000 <= rate <= 96_000 and count >= 1 and bool(config["phoneme_id_map"]) and int(config["num_symbols"]) > 0
        code = str(config["language"]["code"] if config.get("language") else espeak)
    except FileNotFoundError as error:
        raise _Unusable(f"{file.name} lacks {described.name}") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _Unusable(f"{described.name} does not describe a piper voice") from error
    if not whole:
        raise _Unusable(f"{described.name} does not describe a piper voice")
    if kind not in PHONEMES:
        raise _Unusable(f"{file.name} reads text by {kind!r}, which needs data from the network")
    speakers = {} if count == 1 else named or {str(number): number for number in range(count)}
    return _Model(file, config, tag_of(code), speakers)


def _wanted(options: PiperOptions) -> tuple[str, ...]:
    """The names and paths in the option `model`; a path may itself hold the joining sign."""
    if Path(options.model).expanduser().exists():
        return (options.model,)
    return tuple(name.strip() for name in options.model.split(JOIN) if name.strip())


def _files(place: Path) -> list[Path]:
    """The models at a path, in order of their names."""
    return [place] if place.is_file() else sorted(place.rglob("*.onnx"))


def _own(options: PiperOptions) -> list[_Model]:
    """The models that the options name by path. Raises: _Unusable."""
    found: list[_Model] = []
    for name in _wanted(options):
        if name in CATALOGUE:
            continue
        place = Path(name).expanduser()
        if not place.exists():
            near = difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.4)
            raise _Unusable(f"there is no piper voice or folder {name!r}{': did you mean ' + ', '.join(near) if near else ''}")
        files = _files(place)
        if not files:
            raise _Unusable(f"{place.name} holds no .onnx file")
        found.extend(_read(file) for file in files)
    return found


class Piper:
    """The Synthesizer and Streamer. A model is opened at its first line; one call at a time.

    Args: open_model: opens a model: what it gives has `synthesize(text, settings)`, which yields a chunk a sentence.
    settings: makes those settings from names and values.
    """

    def __init__(self, models: Sequence[_Model], options: PiperOptions, open_model: Any, settings: Any) -> None:
        self._models, self._options = models, options
        self._open_model, self._settings = open_model, settings
        self._voices = {voice: model for model in models for voice in model.voices}
        self._opened: dict[Path, Any] = {}

    def voices(self, language: str) -> Sequence[Voice]:
        """The voices of all models of the language, in turn, so that the first ones come from different models.

        Those of the nearest region come first. Raises: UnsupportedLanguage.
        """
        spoken = {model.language for model in self._models}
        nearest = languages.nearest(language, sorted(spoken))
        if nearest is None:
            told = ", ".join(sorted(spoken))
            raise UnsupportedLanguage(f"these piper voices do not speak {language!r}", f"they speak: {told}; {ASK}")
        base = languages.base(nearest)
        near = [m for m in self._models if m.language == nearest]
        others = [m for m in self._models if m.language != nearest and languages.base(m.language) == base]
        return tuple(
            Voice(NAME, voice, language, voice)
            for group in (near, others)
            for row in zip_longest(*(model.voices for model in group))
            for voice in row
            if voice is not None
        )

    def synthesize(self, part: Part) -> Audio:
        """Mono sound at the voice's own rate, not levelled. Text without a sound gives zero frames.

        Rates outside 0.25 to 4 are spoken at the limit; the seed is not used.
        Raises: BadSettings for an unknown voice or setting.
        """
        import numpy as np

        pieces = [audio.samples for audio in self.stream(part)]
        rate_hz = int(self._model(part.voice)[0].config["audio"]["sample_rate"])
        return Audio(np.concatenate(pieces, axis=1) if pieces else np.zeros((1, 0), np.float32), rate_hz)

    def stream(self, part: Part) -> Iterator[Audio]:
        """As `synthesize`, sentence by sentence."""
        import numpy as np

        model, speaker = self._model(part.voice)
        text = _plain(part.text)
        if not text:
            return
        low, high = RATE_LIMITS
        scale = float(model.config.get("inference", {}).get("length_scale", 1.0))
        settings = self._settings(
            speaker_id=speaker,
            length_scale=scale / min(high, max(low, part.rate)),
            noise_scale=self._options.noise_scale,
            noise_w_scale=self._options.noise_w_scale,
            normalize_audio=False,  # else every sentence is as loud as the next
        )
        for heard in self._open(model).synthesize(text, settings):
            samples = np.asarray(heard.audio_float_array, np.float32).reshape(1, -1)
            if samples.shape[1]:
                yield Audio(samples, int(heard.sample_rate))

    def _model(self, voice: Voice) -> tuple[_Model, int | None]:
        """A voice's model and its number in it."""
        if voice.settings:
            raise BadSettings(f"piper has no voice setting {min(voice.settings)!r}", "leave it out")
        model = self._voices.get(voice.name)
        if model is None:
            raise no_voice(voice.name, self._voices, NAME)
        return model, model.speakers.get(voice.name.partition("/")[2])

    def _open(self, model: _Model) -> Any:
        if model.file not in self._opened:
            self._opened[model.file] = self._open_model(model)
        return self._opened[model.file]


def _plain(text: str) -> str:
    """`text` without what Piper and espeak-ng would obey: [[phonemes]] and control characters."""
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return " ".join(plain.replace("[[", "[ [").split())


@contextmanager
def _load(options: PiperOptions, weights: Weights, _device: str) -> Generator[Piper]:
    try:
        models = _own(options)
        for weight in _weights(options):
            files = _files(weights[weight.id])
            if not files:
                raise _Unusable(f"{weight.id} holds no .onnx file")
            models.extend(_read(file) for file in files)
    except _Unusable as error:
        raise MissingWeights(str(error), "pull the voice again, or give another model") from error
    piper, onnxruntime = library("piper"), library("onnxruntime")
    data = Path(str(piper.__file__)).parent / "espeak-ng-data"
    if len(os.fsencode(data)) > LONGEST_PATH:
        raise EngineFailed(f"espeak-ng cannot read its data in {data}: the path is too long", "choose a shorter --environments")

    def open_model(model: _Model) -> Any:
        how = onnxruntime.SessionOptions()
        how.intra_op_num_threads, how.inter_op_num_threads = threads(options.threads), 1
        try:
            session = onnxruntime.InferenceSession(str(model.file), how, providers=["CPUExecutionProvider"])
            return piper.PiperVoice(session=session, config=library("piper.config").PiperConfig.from_dict(model.config))
        except (RuntimeError, ValueError, KeyError, onnxruntime.capi.onnxruntime_pybind11_state.Fail) as error:
            raise EngineFailed(f"piper cannot load {model.file.name}: {error}", "pull the voice again") from error

    yield Piper(models, options, open_model, piper.SynthesisConfig)


def _check(options: PiperOptions) -> Availability:
    try:
        _own(options)
    except _Unusable as error:
        return Availability(False, str(error), ASK)
    return READY


def _languages(options: PiperOptions) -> frozenset[str]:
    try:
        own = {model.language for model in _own(options)}
    except _Unusable:
        return frozenset()
    return frozenset(own | {tag for weight in _weights(options) for tag in weight.languages})


def _weights(options: PiperOptions) -> tuple[Weight, ...]:
    return tuple(dict.fromkeys(CATALOGUE[name] for name in _wanted(options) if name in CATALOGUE))


def _version(options: PiperOptions) -> str:
    """A digest of the models that the options name by path: their descriptions, their lengths and both their ends."""
    try:
        models = _own(options)
    except _Unusable:
        return ""
    digest = sha256()
    for model in models:
        digest.update(model.file.name.encode() + b"\0" + json.dumps(model.config, sort_keys=True).encode())
        with model.file.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            for offset in (0, max(0, length - 2**20)):
                file.seek(offset)
                digest.update(file.read(2**20))
        digest.update(str(length).encode())
    return f"voices {digest.hexdigest()[:16]}" if models else ""


def _remarks(options: PiperOptions, _language: str) -> tuple[str, ...]:
    unread = [w.id for w in _weights(options) if not w.commercial_use]
    return (f"the licence of {', '.join(unread)} may forbid commercial use: read its MODEL_CARD",) if unread else ()


ENGINE = Engine(
    info=Info(
        kind="tts",
        name=NAME,
        summary="small neural voices in fourteen languages and more, many times faster than real time on a processor",
        licence="GPL-3.0-or-later",
        homepage="https://github.com/OHF-Voice/piper1-gpl",
        package="piper-tts",
        memory_mib=(300, 0),
        deterministic=False,
        features=frozenset({"rate", "stream"}),
    ),
    options=PiperOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    weights=_weights,
    models={mode: tuple(CATALOGUE) for mode in ("low", "medium", "high")},
    remarks=_remarks,
    environment=Environment(NAME, "piper", ("cpu",)),
)
