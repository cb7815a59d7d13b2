"""faster-whisper: Whisper models of any size, run by CTranslate2 on the processor or a CUDA card.

The default settings are a beam search without sampling, which gives the same text every time. Where other programs sample
anew after a window that repeats itself, the rest of the sound is decoded once more with repetitions forbidden.
The weights come from elsewhere (`polydub models pull`) or from a folder of one's own; nothing is ever downloaded here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from polydub import languages
from polydub.engines.asr.whisper_weights import WEIGHTS
from polydub.engines.base import READY, Availability, Engine, Info, Options, Weight, Weights
from polydub.errors import EngineFailed, MissingWeights, UnsupportedLanguage
from polydub.types import HEAR_HZ, Audio, Segment, Word, seconds

SIZES = ("tiny", "base", "small", "medium", "turbo", "large-v3")  # from worst to best
# The languages of Whisper; faster_whisper.tokenizer spells three of them in its own way.
_ALL = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fil fo fr gl gu ha haw he hi hr ht hu hy id is it "
    "ja jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn oc pa pl ps pt ro ru sa sd si sk sl sn so "
    "sq sr su sv sw ta te tg th tk tr tt uk ur uz vi yi yo yue zh"
)
TAGS = tuple(_ALL.split())
WHISPER_CODES = {"fil": "tl", "jv": "jw", "nb": "no"}
OUR_TAGS: Mapping[str, str] = {code: tag for tag, code in WHISPER_CODES.items()}
WITH_CANTONESE = ("turbo", "large-v3")
UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # whose words faster-whisper cuts at every character
FILES = ("config.json", "model.bin", "tokenizer.json")
START = "<|startoftranscript|>"
CONVERT = "make the folder with: ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json"
LEAST_S = 0.1  # shorter sounds hold no word
TOKEN_SAMPLES = 320  # 20 ms: an odd frame at the end can leave a window without any token, on which faster-whisper 1.2 fails
NO_REPEAT = 4  # tokens that may not follow each other twice in a window that has to be decoded again
WINDOWS = 4  # of 30 s, heard to find the language
FAILURES = (RuntimeError, ValueError, IndexError)  # what CTranslate2 and faster-whisper raise; there is no class of their own


class WhisperOptions(Options):
    """Options of faster-whisper."""

    model: str = Field("small", min_length=1, description=f"{', '.join(SIZES)}, or the path of a CTranslate2 whisper folder")
    compute_type: Literal[
        "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
    ] = Field("auto", description="number format of the weights; auto = int8 on the processor, float16 on a card")
    beam_size: int = Field(5, ge=1, le=20, description="transcripts followed at once; 1 is the fastest")
    temperature_max: float = Field(
        0.0,
        ge=0,
        le=1,
        description="highest sampling temperature for windows that fail, reached in steps of 0.2; "
        "above 0 the transcript may differ from run to run",
    )
    condition_on_previous_text: bool = Field(
        False, description="let each window of 30 s continue the text before it; helps spelling, spreads mistakes"
    )
    initial_prompt: str = Field("", max_length=400, description="text in the style and spelling to be expected, characters")
    hotwords: str = Field("", max_length=400, description="rare words and names to be expected, separated by blanks")
    no_speech_threshold: float = Field(
        0.6, ge=0, le=1, description="probability of silence above which an improbable window is skipped"
    )
    log_prob_threshold: float = Field(
        -1.0, le=0, description="mean log probability of the tokens below which a window counts as improbable"
    )
    compression_ratio_threshold: float = Field(
        2.4, gt=0, description="text bytes per compressed byte above which a window counts as repeating itself"
    )
    hallucination_silence_s: float = Field(
        0.0, ge=0, le=30, description="seconds of silence around improbable words that are skipped; 0 = none"
    )
    cpu_threads: int = Field(
        1,
        ge=1,
        le=64,
        description="threads of one piece; pieces run beside each other, so that more is seldom faster",
        json_schema_extra={"identity": False},
    )

    @property
    def temperatures(self) -> list[float]:
        """0 and what is tried after it."""
        return [round(step * 0.2, 1) for step in range(int(self.temperature_max / 0.2 + 1e-9) + 1)]


class WhisperTranscriber:
    """A Transcriber. Several calls may run at once."""

    def __init__(self, model: Any, options: WhisperOptions) -> None:
        self._model: Any = model
        self._options = options

    def close(self) -> None:
        """Lets go of the model. CTranslate2's unload_model would leave it in some of the workers."""
        self._model = None

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """As Transcriber. Sound below 0.1 s has no segments. Closing the iterator stops the work after the current window.

        Raises: UnsupportedLanguage at once; EngineFailed while iterating.
        """
        return self._segments(speech, None if language is None else self._code(language))

    def identify(self, speech: Audio) -> tuple[str, float]:
        """As Transcriber; the first two minutes are heard. Sound below 0.1 s: "und" with probability 0."""
        if not self._model.model.is_multilingual:
            return "en", 0.0
        if speech.duration < LEAST_S:
            return "und", 0.0
        try:
            code, probability, _ = self._model.detect_language(speech.samples[0], language_detection_segments=WINDOWS)
        except FAILURES as error:
            raise EngineFailed(f"faster-whisper failed while finding the language: {error}") from error
        return OUR_TAGS.get(code, str(code)), round(float(probability), 3)

    def _code(self, language: str) -> str:
        """Whisper's code of a language that the model has."""
        base = languages.base(language)
        code = WHISPER_CODES.get(base, base)
        multilingual = self._model.model.is_multilingual
        if (multilingual and self._model.hf_tokenizer.token_to_id(f"<|{code}|>") is None) or not (multilingual or code == "en"):
            kind = "does not know" if multilingual else "is for English only, not"
            raise UnsupportedLanguage(f"this whisper model {kind} {language!r}", "choose a larger or multilingual model")
        return code

    def _segments(self, speech: Audio, code: str | None) -> Generator[Segment]:
        samples = speech.samples[0]
        samples = samples[: len(samples) // TOKEN_SAMPLES * TOKEN_SAMPLES]
        if len(samples) < LEAST_S * HEAR_HZ:
            return
        at = 0.0
        with closing(self._decoded(samples, code)) as decoded:
            for heard, unspaced in decoded:
                found = _segment(heard, unspaced, speech.duration)
                if found.text:
                    at = max(at, found.start)
                    yield replace(found, start=at, end=max(at, found.end))

    def _decoded(self, samples: Any, code: str | None) -> Generator[tuple[Any, bool]]:
        """What faster-whisper answers, and whether its language is written without blanks."""
        model, options = self._model, self._options
        retry = options.temperatures == [0.0]
        settings = self._settings()
        try:
            while True:
                segments, info = model.transcribe(samples, language=code, **settings)
                again = None
                for heard in segments:
                    if retry and heard.compression_ratio > options.compression_ratio_threshold:
                        again = heard.seek / model.frames_per_second
                        break
                    yield heard, info.language in UNSPACED
                if again is None:
                    return
                retry, code = False, info.language
                settings |= {"clip_timestamps": [again], "no_repeat_ngram_size": NO_REPEAT}
        except FAILURES as error:
            hint = "shorten initial_prompt and hotwords" if options.initial_prompt or options.hotwords else ""
            raise EngineFailed(f"faster-whisper failed while recognising: {error}", hint) from error

    def _settings(self) -> dict[str, Any]:
        options = self._options
        return {
            "beam_size": options.beam_size,
            "temperature": options.temperatures,
            "condition_on_previous_text": options.condition_on_previous_text,
            "initial_prompt": options.initial_prompt or None,
            "hotwords": options.hotwords or None,
            "no_speech_threshold": options.no_speech_threshold,
            "log_prob_threshold": options.log_prob_threshold,
            "compression_ratio_threshold": options.compression_ratio_threshold,
            "hallucination_silence_threshold": options.hallucination_silence_s or None,
            "word_timestamps": True,
        }


def _segment(heard: Any, unspaced: bool, duration: float) -> Segment:
    """An answer of faster-whisper, which may be reversed, out of range or hold broken characters, as a Segment."""
    words = tuple(_words(heard.words or (), unspaced, duration))
    times = (words[0].start, max(word.end for word in words)) if words else (heard.start, heard.end)
    start, end = _inside(times[0], duration), _inside(times[1], duration)
    return Segment(start, max(start, end), text=_readable(heard.text), words=words)


def _words(heard: Any, unspaced: bool, duration: float) -> Iterator[Word]:
    """Words without blanks around them; pieces that no blank parts, such as "twenty" and "-one", are one word."""
    pending: Word | None = None
    for piece in heard:
        text = _readable(piece.word)
        start = max(_inside(piece.start, duration), pending.start if pending else 0.0)
        end = max(start, _inside(piece.end, duration))
        word = Word(start, end, text, _probability(piece.probability))
        if pending and (not text or not (unspaced or piece.word[:1].isspace())):
            least = min(pending.confidence or 0.0, word.confidence or 0.0)
            pending = replace(pending, end=max(pending.end, end), text=pending.text + text, confidence=least)
            continue
        if pending:
            yield pending
        pending = word if text else None
    if pending:
        yield pending


def _readable(text: str) -> str:
    """Without the marks of characters of which only a part was decoded."""
    return text.replace("\ufffd", "").strip()


def _inside(time: Any, duration: float) -> float:
    """`time` in whole milliseconds that are not outside the sound."""
    value = float(time)
    return min(seconds(max(value, 0.0)), math.floor(duration * 1000) / 1000) if math.isfinite(value) else 0.0


def _probability(value: Any) -> float:
    number = float(value)
    return round(min(max(number, 0.0), 1.0), 3) if math.isfinite(number) else 0.0


@contextmanager
def _load(options: WhisperOptions, weights: Weights, device: str) -> Generator[WhisperTranscriber]:
    folder = _own_folder(options) or weights[_weight(options)[0].id]
    _require_files(folder)
    from faster_whisper import WhisperModel  # pyright: ignore[reportMissingTypeStubs]

    kind, _, number = device.partition(":")
    compute_type = options.compute_type if options.compute_type != "auto" else "int8" if kind == "cpu" else "float16"
    cores = len(os.sched_getaffinity(0))
    workers = max(1, cores // options.cpu_threads) if kind == "cpu" else 1  # they share the weights
    try:
        model: Any = WhisperModel(
            str(folder),
            device=kind,
            device_index=int(number or 0),
            compute_type=compute_type,
            cpu_threads=options.cpu_threads,
            num_workers=workers,
            local_files_only=True,
        )
    except (*FAILURES, OSError) as error:
        text = f"faster-whisper cannot load {folder.name} as {compute_type} on {device}: {error}"
        raise EngineFailed(text, "pull the weights again, or choose another compute_type or device") from error
    if model.model.n_mels != model.feature_extractor.mel_filters.shape[0]:
        raise EngineFailed(f"preprocessor_config.json of {folder.name} does not fit its model.bin", CONVERT)
    transcriber = WhisperTranscriber(model, options)
    del model
    try:
        yield transcriber
    finally:
        transcriber.close()


def _require_files(folder: Path) -> None:
    """Without tokenizer.json faster-whisper would go to the network; a broken one raises no class of its own, an empty
    vocabulary nothing.
    """
    lacking = _lacking(folder)
    if lacking:
        raise MissingWeights(f"{folder.name} lacks {', '.join(lacking)}", "pull the weights again")
    try:
        whole = "model" in json.loads((folder / "tokenizer.json").read_bytes()) and START in _tokens(folder)
    except (OSError, ValueError):
        whole = False
    if not whole:
        raise EngineFailed(f"the tokenizer or vocabulary of {folder.name} is damaged", "pull the weights again")


def _lacking(folder: Path) -> list[str]:
    lacking = [name for name in FILES if not (folder / name).is_file()]
    return lacking if _vocabulary(folder) else [*lacking, "vocabulary.json"]


def _vocabulary(folder: Path) -> Path | None:
    return next((folder / name for name in ("vocabulary.json", "vocabulary.txt") if (folder / name).is_file()), None)


def _own_folder(options: WhisperOptions) -> Path | None:
    """The folder that the option names; None for one of the sizes."""
    return None if options.model in SIZES else Path(options.model).expanduser()


def _weight(options: WhisperOptions) -> tuple[Weight, ...]:
    return (WEIGHTS[f"faster-whisper-{options.model}"],) if options.model in SIZES else ()


def _check(options: WhisperOptions) -> Availability:
    if not (find_spec("faster_whisper") and find_spec("ctranslate2")):
        return Availability(False, "the package faster-whisper is not installed", "pip install faster-whisper")
    folder = _own_folder(options)
    if folder is None:
        return READY
    if not folder.is_dir():
        sizes = ", ".join(SIZES)
        return Availability(
            False, f"there is no whisper model or folder {options.model!r}", f"choose {sizes}, or give a folder"
        )
    lacking = _lacking(folder)
    return Availability(False, f"{folder.name} lacks {', '.join(lacking)}", CONVERT) if lacking else READY


def _languages(options: WhisperOptions) -> frozenset[str]:
    """All of Whisper's, but of a folder of one's own only those that its vocabulary has; without an empty token, English."""
    folder = _own_folder(options)
    if folder is None:
        return frozenset(TAGS) if options.model in WITH_CANTONESE else frozenset(TAGS) - {"yue"}
    try:
        tokens = _tokens(folder)
    except (OSError, ValueError):
        return frozenset()
    if "" not in tokens:
        return frozenset({"en"})
    return frozenset(tag for tag in TAGS if f"<|{WHISPER_CODES.get(tag, tag)}|>" in tokens)


def _tokens(folder: Path) -> frozenset[str]:
    """Raises: OSError, ValueError."""
    text = (_vocabulary(folder) or folder).read_text("utf-8")
    if text.lstrip().startswith("["):
        return frozenset(str(token) for token in json.loads(text))
    return frozenset(text.removesuffix("\n").split("\n"))


def _version(options: WhisperOptions) -> str:
    """CTranslate2's version and, of a folder of one's own, a digest of its small files and of both ends of its weights."""
    try:
        told = f"ctranslate2 {version('ctranslate2')}"
    except PackageNotFoundError:
        told = ""
    folder = _own_folder(options)
    if folder is None or _lacking(folder):
        return told
    digest = sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".txt"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    with (folder / "model.bin").open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        for offset in (0, max(0, length - 2**20)):
            file.seek(offset)
            digest.update(file.read(2**20))
    return f"{told}, folder {digest.hexdigest()[:16]} of {length}"


def _remarks(options: WhisperOptions, _language: str) -> tuple[str, ...]:
    return ("temperature_max is above 0, so another run may give another transcript",) if options.temperature_max else ()


ENGINE = Engine(
    info=Info(
        kind="asr",
        name="faster-whisper",
        summary="Whisper speech recognition by CTranslate2: 100 languages, word times, from 75 MB to 3 GB of weights",
        licence="MIT",
        homepage="https://github.com/SYSTRAN/faster-whisper",
        package="faster-whisper",
        memory_mib=(1100, 1700),
        devices=frozenset({"cpu", "cuda"}),
        parallel=0,
        piece_s=28.0,
        features=frozenset({"word_times", "language_id"}),
    ),
    options=WhisperOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    weights=_weight,
    models={
        "low": ("base", "tiny", "small", "turbo", "medium", "large-v3"),
        "medium": ("small", "turbo", "medium", "large-v3", "base", "tiny"),
        "high": ("large-v3", "turbo", "medium", "small", "base", "tiny"),
    },
    remarks=_remarks,
)
