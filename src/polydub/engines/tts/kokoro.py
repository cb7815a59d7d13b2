"""Kokoro: 82 million parameters, 54 voices in eight languages, six of them spoken here, fast on a processor.

The code is MIT, but it turns text into phonemes by phonemizer and espeak-ng, which are GPL: it stays a program of its own, in
an environment of its own. The weights are Apache-2.0. Japanese and Chinese need another front end (misaki) than the one here;
espeak-ng's phonemes come out as nonsense, so that these two languages are refused.
"""

from __future__ import annotations

import os
import re
import unicodedata
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, WeightFile, Weights
from polydub.engines.tts.spoken import library, no_voice, threads
from polydub.errors import BadSettings, EngineFailed, MissingWeights, UnsupportedLanguage
from polydub.types import Audio, Part, Voice

NAME = "kokoro"
RATE_HZ = 24_000
SPEEDS = (0.5, 2.0)  # what kokoro-onnx accepts
PAUSE_S = 0.25  # between the sentences of a stream: kokoro-onnx's own pause
LONGEST_PATH = 150  # bytes; espeak-ng does not find its data behind a longer path
TAGS = {"a": "en-US", "b": "en-GB", "e": "es", "f": "fr-FR", "h": "hi", "i": "it", "p": "pt-BR"}  # first letter of a voice
ESPEAK = {"en-US": "en-us", "en-GB": "en-gb", "fr-FR": "fr-fr", "pt-BR": "pt-br"}  # the others are their tags
REFUSED = {"ja": "Japanese", "zh": "Chinese"}
# First those that upstream's VOICES.md grades best, women and men in turn; the others follow by name.
BEST = (
    *("af_heart", "am_michael", "af_bella", "am_fenrir", "af_nicole", "am_puck"),
    *("bf_emma", "bm_george", "bf_isabella", "bm_fable", "ef_dora", "em_alex", "hf_alpha", "hm_omega"),
    *("if_sara", "im_nicola", "pf_dora", "pm_alex"),
)
ASK = "give v1.0, v1.0-int8, or a folder with a kokoro .onnx and its voices .bin"

_FROM = "https://github.com/thewh1teagle/kokoro-onnx/releases/download/model-files-v1.0"
# The lengths and hashes were found alike in several unrelated projects that pin these files (a table of bytes and sha256 in a
# README of a voice demo, a list in a terminal's source, download scripts that check them).
_VOICES = WeightFile(
    "voices-v1.0.bin",
    "bca610b8308e8d99f32e6fe4197e7ec01679264efed0cac9140fe9c29f1fbf7d",
    28_214_398,
    f"{_FROM}/voices-v1.0.bin",
)


def _weight(model: str, digest: str, size: int) -> Weight:
    name = f"kokoro-{model.replace('-', '.')}.onnx"
    file = WeightFile(name, digest, size, f"{_FROM}/{name}")
    return Weight(f"kokoro-{model}", "model-files-v1.0", "files", "Apache-2.0", True, (file, _VOICES))


WEIGHTS: Mapping[str, Weight] = {
    "v1.0": _weight("v1.0", "7d5df8ecf7d4b1878015a32686053fd0eebe2bc377234608764cc0ef3636a6c5", 325_532_387),
    "v1.0-int8": _weight("v1.0-int8", "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb", 92_361_271),
}


class KokoroOptions(Options):
    """Options of Kokoro."""

    model: str = Field("v1.0", min_length=1, description="v1.0, v1.0-int8, or the path of a folder with model and voices")
    threads: int = Field(
        0, ge=0, le=256, description="threads of one line; 0 = one per core", json_schema_extra={"identity": False}
    )


class _Unusable(Exception):
    """A folder that cannot be used; its words are half a sentence."""


class _Files(NamedTuple):
    """A model, its voices, and the names of these."""

    model: Path
    voices: Path
    names: tuple[str, ...]


def _read(folder: Path) -> _Files:
    """What is in a folder. Raises: _Unusable."""
    if not folder.is_dir():
        raise _Unusable(f"there is no kokoro model or folder {str(folder)!r}")
    models, voices = sorted(folder.glob("*.onnx")), sorted(folder.glob("*.bin"))
    if len(models) != 1 or len(voices) != 1:
        found = f"{len(models)} .onnx and {len(voices)} .bin files"
        raise _Unusable(f"{folder.name} holds {found} instead of one model and its voices")
    try:
        with zipfile.ZipFile(voices[0]) as packed:
            names = tuple(name.removesuffix(".npy") for name in packed.namelist() if name.endswith(".npy"))
    except (OSError, zipfile.BadZipFile) as error:
        raise _Unusable(f"{voices[0].name} holds no voices") from error
    if not any(name[:1] in TAGS for name in names):
        raise _Unusable(f"{voices[0].name} holds no voice of a language that can be spoken here")
    return _Files(models[0], voices[0], names)


def _own_folder(options: KokoroOptions) -> Path | None:
    return None if options.model in WEIGHTS else Path(options.model).expanduser()


class Kokoro:
    """The Synthesizer and Streamer; one call at a time.

    Args: kokoro: a `kokoro_onnx.Kokoro`. names: of its voices.
    """

    def __init__(self, kokoro: Any, names: Sequence[str]) -> None:
        self._kokoro = kokoro
        known = [name for name in names if name[:1] in TAGS]
        self._names = [*(name for name in BEST if name in known), *sorted(set(known) - set(BEST))]

    def voices(self, language: str) -> Sequence[Voice]:
        """The voices of a language, best first, those of the nearest region before the others. Raises: UnsupportedLanguage."""
        base = languages.base(language)
        if base in REFUSED:
            text = f"kokoro speaks no {REFUSED[base]} here: that needs the package misaki, which is not part of it"
            raise UnsupportedLanguage(text, "choose another speech engine for it")
        spoken = sorted({TAGS[name[0]] for name in self._names})
        nearest = languages.nearest(language, spoken)
        if nearest is None:
            raise UnsupportedLanguage(f"kokoro does not speak {language!r}", f"it speaks: {', '.join(spoken)}")
        alike = [name for name in self._names if languages.base(TAGS[name[0]]) == base]
        alike.sort(key=lambda name: TAGS[name[0]] != nearest)  # stable: best first in each region
        return tuple(Voice(NAME, name, language, _label(name)) for name in alike)

    def synthesize(self, part: Part) -> Audio:
        """Mono sound at 24 kHz. Text without a phoneme gives zero frames.

        Rates outside 0.5 to 2 are spoken at the limit; the seed is not used.
        Raises: BadSettings for an unknown voice or setting.
        """
        return self._spoken(_plain(part.text), part)

    def stream(self, part: Part) -> Iterator[Audio]:
        """Sentence by sentence, 0.25 s apart; each is spoken on its own."""
        import numpy as np

        pause = np.zeros((1, round(PAUSE_S * RATE_HZ)), np.float32)
        told = False
        for sentence in re.split(r"(?<=[.!?…])\s+", _plain(part.text)):
            audio = self._spoken(sentence, part)
            if audio.samples.shape[1]:
                yield Audio(np.concatenate([pause, audio.samples], axis=1), RATE_HZ) if told else audio
                told = True

    def _spoken(self, text: str, part: Part) -> Audio:
        import numpy as np

        name = self._voice(part.voice)
        tag = TAGS[name[0]]
        phonemes = self._kokoro.tokenizer.phonemize(text, ESPEAK.get(tag, tag)) if text else ""
        if not phonemes.strip():
            return Audio(np.zeros((1, 0), np.float32), RATE_HZ)
        low, high = SPEEDS
        # Its own trimming cuts soft sounds off; what is silent at the ends goes later.
        sound, rate_hz = self._kokoro.create(phonemes, name, speed=min(high, max(low, part.rate)), is_phonemes=True, trim=False)
        samples = np.clip(np.asarray(sound, np.float32), -1, 1)
        return Audio(samples.reshape(1, -1), int(rate_hz))

    def _voice(self, voice: Voice) -> str:
        if voice.settings:
            raise BadSettings(f"kokoro has no voice setting {min(voice.settings)!r}", "leave it out")
        if voice.name not in self._names:
            raise no_voice(voice.name, self._names, NAME)
        return voice.name


def _label(name: str) -> str:
    """ "af_heart" -> "Heart, woman"."""
    kind, _, own = name.partition("_")
    return ", ".join(filter(None, (own.capitalize(), {"f": "woman", "m": "man"}.get(kind[1:], ""))))


def _plain(text: str) -> str:
    """`text` without control characters, which are commands to espeak-ng."""
    return " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text).split())


@contextmanager
def _load(options: KokoroOptions, weights: Weights, _device: str) -> Generator[Kokoro]:
    try:
        files = _read(_own_folder(options) or weights[WEIGHTS[options.model].id])
    except _Unusable as error:
        raise MissingWeights(str(error), "pull the weights again, or give another model") from error
    kokoro_onnx, onnxruntime = library("kokoro_onnx"), library("onnxruntime")
    data = str(library("espeakng_loader").get_data_path())
    if len(os.fsencode(data)) > LONGEST_PATH:
        raise EngineFailed(f"espeak-ng cannot read its data in {data}: the path is too long", "choose a shorter --environments")
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads, how.inter_op_num_threads = threads(options.threads), 1
    try:
        session = onnxruntime.InferenceSession(str(files.model), how, providers=["CPUExecutionProvider"])
        kokoro = kokoro_onnx.Kokoro.from_session(session, str(files.voices))
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        raise EngineFailed(f"kokoro cannot load {files.model.name}: {error}", "pull the weights again") from error
    yield Kokoro(kokoro, files.names)


def _check(options: KokoroOptions) -> Availability:
    folder = _own_folder(options)
    try:
        if folder is not None:
            _read(folder)
    except _Unusable as error:
        return Availability(False, str(error), ASK)
    return READY


def _languages(options: KokoroOptions) -> frozenset[str]:
    folder = _own_folder(options)
    if folder is None:
        return frozenset(TAGS.values())
    try:
        return frozenset(TAGS[name[0]] for name in _read(folder).names if name[:1] in TAGS)
    except _Unusable:
        return frozenset()


def _weights(options: KokoroOptions) -> tuple[Weight, ...]:
    return (WEIGHTS[options.model],) if options.model in WEIGHTS else ()


def _version(options: KokoroOptions) -> str:
    """A digest of a folder of one's own: lengths and both ends of model and voices."""
    folder = _own_folder(options)
    if folder is None:
        return ""
    try:
        files = _read(folder)
    except _Unusable:
        return ""
    digest = sha256()
    for path in (files.model, files.voices):
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            for offset in (0, max(0, length - 2**20)):
                file.seek(offset)
                digest.update(file.read(2**20))
        digest.update(str(length).encode())
    return f"folder {digest.hexdigest()[:16]}"


ENGINE = Engine(
    info=Info(
        kind="tts",
        name=NAME,
        summary="54 natural voices in six languages (en, es, fr, hi, it, pt), faster than real time on a processor",
        licence="MIT; phonemizer and espeak-ng, which it uses, are GPL-3.0-or-later",
        homepage="https://github.com/thewh1teagle/kokoro-onnx",
        package="kokoro-onnx",
        memory_mib=(900, 0),
        deterministic=False,
        features=frozenset({"rate", "stream"}),
    ),
    options=KokoroOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    weights=_weights,
    models={"low": ("v1.0-int8", "v1.0"), "medium": ("v1.0", "v1.0-int8"), "high": ("v1.0", "v1.0-int8")},
    environment=Environment(NAME, "kokoro_onnx", ("cpu",)),
)
