"""sherpa-onnx: Parakeet and other NeMo models, zipformers, Moonshine, SenseVoice and Whisper exports on the processor."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from math import exp
from pathlib import Path
from typing import Any

from pydantic import Field

from polydub import languages
from polydub.engines.asr import folders
from polydub.engines.asr.hearing import heard, probability, readable, spoken_s, spread
from polydub.engines.asr.sherpa_folders import Family, Model, inspected
from polydub.engines.asr.sherpa_weights import WEIGHTS
from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, Weights
from polydub.errors import EngineFailed, MissingWeights, UnsupportedLanguage
from polydub.text.words import unspaced
from polydub.types import HEAR_HZ, Audio, Segment, Word

NAMES = tuple(id.removeprefix("sherpa-onnx-") for id in WEIGHTS)
LONGEST_S = 28.0  # of sound in one call: Whisper and Moonshine hear no more than 30 s
LEAST_S = 1.0  # shorter sound is followed by silence: some networks fail on a few frames
SENSE_VOICE = ("en", "ja", "ko", "yue", "zh")
BEGINS = ("▁", " ")  # of a token that begins a word
TOLD = 0.5  # probability of a language that a model names without saying how sure it is


class SherpaOptions(Options):
    """Options of sherpa-onnx."""

    model: str = Field(
        "parakeet-tdt-0.6b-v3", min_length=1, description=f"{', '.join(NAMES)}, or the path of a folder with ONNX files"
    )
    languages: str = Field(
        "", max_length=400, description="languages of a folder of one's own, BCP-47 with blanks; empty = what its model says"
    )
    threads: int = Field(0, ge=0, le=256, description="threads; 0 = one per core", json_schema_extra={"identity": False})


class SherpaTranscriber:
    """A Transcriber. One call at a time."""

    def __init__(self, model: Model, tags: frozenset[str] | None, threads: int) -> None:
        self._model, self._tags, self._threads = model, tags, threads
        self._recogniser: Any = None
        self._language: str | None = None

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """As Transcriber. Word times are those of tokens, in steps of 40 to 80 ms; of models without any, estimated.

        Raises: UnsupportedLanguage at once; EngineFailed while iterating.
        """
        tag = None if language is None else self._known(language)
        return heard(speech, LONGEST_S, lambda stretch: self._words(stretch, tag))

    def identify(self, speech: Audio) -> tuple[str, float]:
        """As Transcriber; only SenseVoice and Whisper hear a language, without saying how sure they are."""
        if self._tags is not None and len(self._tags) == 1:
            return min(self._tags), 0.0
        if self._model.family not in ("sense-voice", "whisper") or not speech.samples.any():
            return "und", 0.0
        first = Audio(speech.samples[:, : round(LONGEST_S * HEAR_HZ)], HEAR_HZ)
        tag = languages.base(str(self._result(first, None).lang).strip("<|>") or "und")
        return (tag, TOLD) if self._tags is None or tag in self._tags else ("und", 0.0)

    def load(self, language: str | None = None) -> None:
        """Makes the recogniser for a language; of most families there is one for all. Raises: EngineFailed."""
        code = (language or "") if self._model.family in ("sense-voice", "whisper") else ""
        if self._recogniser is None or code != self._language:
            self._recogniser = None  # two at once would need twice the memory
            self._recogniser = _recogniser(self._model, code, self._threads)
            self._language = code

    def _known(self, language: str) -> str:
        tag = languages.base(language)
        if self._tags is not None and tag not in self._tags:
            names = ", ".join(sorted(languages.name(known) for known in self._tags))
            raise UnsupportedLanguage(f"this model understands {names}, not {language!r}", "choose another model or engine")
        return tag

    def _words(self, stretch: Audio, language: str | None) -> Iterator[Word]:
        result = self._result(stretch, language)
        found = list(words_of(result.tokens, result.timestamps, result.durations, result.ys_log_probs))
        return iter(found or spread(readable(result.text), 0.0, stretch.duration))

    def _result(self, sound: Audio, language: str | None) -> Any:
        import numpy as np

        self.load(language)
        samples = np.pad(sound.samples[0], (0, max(0, round(LEAST_S * HEAR_HZ) - sound.samples.shape[1])))
        try:
            stream = self._recogniser.create_stream()
            stream.accept_waveform(HEAR_HZ, samples)
            self._recogniser.decode_stream(stream)
            return stream.result
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(f"sherpa-onnx failed while recognising: {error}", "choose another model") from error


def words_of(
    tokens: Sequence[str], starts: Sequence[float], lengths: Sequence[float], log_probs: Sequence[float]
) -> Iterator[Word]:
    """Words from tokens with their starts in seconds; without starts none.

    A word ends where its last token does, if its length is known, else after the time that it takes to say; never after the
    next word begins. Punctuation is part of the word before it. Its confidence is the geometric mean of its tokens'.
    """
    if len(starts) != len(tokens):
        return
    sure = list(log_probs) if len(log_probs) == len(tokens) else []
    groups = _word_tokens(tokens)
    for number, group in enumerate(groups):
        text = readable("".join(tokens[n] for n in group).replace("▁", " "))
        start, last = float(starts[group[0]]), group[-1]
        end = float(starts[last]) + float(lengths[last]) if len(lengths) == len(tokens) else start + spoken_s(text)
        following = float(starts[groups[number + 1][0]]) if number + 1 < len(groups) else end
        confidence = probability(exp(sum(sure[n] for n in group) / len(group))) if sure else None
        if text:
            yield Word(start, max(start, min(end, following)), text, confidence)


def _word_tokens(tokens: Sequence[str]) -> list[list[int]]:
    """The numbers of the tokens of each word."""
    groups: list[list[int]] = []
    for n, token in enumerate(tokens):
        bare = token.strip("▁ ")
        sign = unspaced(token) or (n > 0 and unspaced(tokens[n - 1]))
        begins = token.startswith(BEGINS) or (sign and any(c.isalnum() for c in bare))
        if groups and not begins:
            groups[-1].append(n)
        elif groups and not any(c.isalnum() for k in groups[-1] for c in tokens[k]):
            groups[-1].append(n)  # a blank or a mark alone belongs to what follows it
        else:
            groups.append([n])
    return groups


def _recogniser(model: Model, language: str, threads: int) -> Any:
    """Raises: EngineFailed."""
    import sherpa_onnx  # pyright: ignore[reportMissingImports]

    library: Any = sherpa_onnx
    files = {role: str(path) for role, path in model.files.items()}
    common = {"tokens": str(model.tokens), "num_threads": threads}
    made = library.OfflineRecognizer
    transducer = {"encoder": files.get("encode", ""), "decoder": files.get("decode", ""), "joiner": files.get("joiner", "")}
    moonshine = {role: files.get(role, "") for role in ("uncached_decode", "cached_decode")}
    bands = int(model.facts.get("feat_dim") or 80)
    aligned = model.facts.get("n_alignment_heads", "0").isdecimal() and int(model.facts.get("n_alignment_heads", "0")) > 0
    makers = {
        "nemo-transducer": lambda: made.from_transducer(
            **transducer, **common, feature_dim=bands, model_type="nemo_transducer"
        ),
        "transducer": lambda: made.from_transducer(**transducer, **common, model_type=""),
        "nemo-ctc": lambda: made.from_nemo_ctc(files["model"], **common, feature_dim=bands),
        "sense-voice": lambda: made.from_sense_voice(files["model"], **common, language=language, use_itn=True),
        "moonshine": lambda: made.from_moonshine(
            preprocessor=files["preprocess"],
            encoder=files["encode"],
            uncached_decoder=moonshine["uncached_decode"],
            cached_decoder=moonshine["cached_decode"],
            **common,
        ),
        "whisper": lambda: made.from_whisper(
            encoder=files["encode"], decoder=files["decode"], **common, language=language, enable_token_timestamps=aligned
        ),
    }
    try:
        return makers[model.family]()
    except (RuntimeError, ValueError, AssertionError) as error:
        raise EngineFailed(f"sherpa-onnx cannot load {model.tokens.parent.name}: {error}", "pull the weights again") from error


def _own_folder(options: SherpaOptions) -> Path | None:
    return None if options.model in NAMES else Path(options.model).expanduser()


def _weights(options: SherpaOptions) -> tuple[Weight, ...]:
    return (WEIGHTS[f"sherpa-onnx-{options.model}"],) if options.model in NAMES else ()


def _check(options: SherpaOptions) -> Availability:
    folder = _own_folder(options)
    if folder is None:
        return READY
    if not folder.is_dir():
        names = ", ".join(NAMES)
        return Availability(False, f"there is no model or folder {options.model!r}", f"choose {names}, or give a folder")
    try:
        inspected(folder)
    except (MissingWeights, EngineFailed) as error:
        return Availability(False, error.message, error.hint)
    return READY


def _languages(options: SherpaOptions) -> frozenset[str] | None:
    """Of a folder of one's own what the option or the model says; None where neither does."""
    folder = _own_folder(options)
    if folder is None:
        return frozenset(WEIGHTS[f"sherpa-onnx-{options.model}"].languages)
    if options.languages.split():
        return frozenset(languages.base(tag) for tag in options.languages.split())
    try:
        model = inspected(folder)
    except (MissingWeights, EngineFailed):
        return frozenset()
    return _told_languages(model.family, model)


def _told_languages(family: Family, model: Model) -> frozenset[str] | None:
    if family == "sense-voice":
        return frozenset(SENSE_VOICE)
    if family == "whisper":
        codes = model.facts.get("all_language_codes", "").split(",") if model.facts.get("is_multilingual") != "0" else ["en"]
        return frozenset(languages.base(code) for code in codes if code) or None
    return None


def _version(options: SherpaOptions) -> str:
    folder = _own_folder(options)
    return "" if folder is None else folders.content(folder, frozenset({".txt"}), frozenset({".onnx"}))


@contextmanager
def _load(options: SherpaOptions, weights: Weights, device: str) -> Generator[SherpaTranscriber]:
    del device
    folder = _own_folder(options) or weights[_weights(options)[0].id]
    model = inspected(folder)
    threads = options.threads or len(os.sched_getaffinity(0))
    transcriber = SherpaTranscriber(model, _languages(options), threads)
    transcriber.load()
    yield transcriber


ENGINE = Engine(
    info=Info(
        kind="asr",
        name="sherpa-onnx",
        summary="Parakeet (25 European languages), Moonshine, SenseVoice and other ONNX models, fast on the processor",
        licence="Apache-2.0",
        package="sherpa-onnx",
        homepage="https://k2-fsa.github.io/sherpa/onnx/",
        memory_mib=(1600, 0),
        piece_s=25.0,
        features=frozenset({"word_times"}),
    ),
    options=SherpaOptions,
    load=_load,
    check=_check,
    languages=_languages,
    weights=_weights,
    version=_version,
    models={
        "low": ("moonshine-base-en", "sense-voice", "parakeet-tdt-0.6b-v3", "parakeet-tdt-0.6b-v2"),
        "medium": ("parakeet-tdt-0.6b-v3", "parakeet-tdt-0.6b-v2", "sense-voice", "moonshine-base-en"),
        "high": ("parakeet-tdt-0.6b-v3", "parakeet-tdt-0.6b-v2", "sense-voice", "moonshine-base-en"),
    },
    environment=Environment("sherpa-onnx", "sherpa_onnx", ("cpu",)),
)
