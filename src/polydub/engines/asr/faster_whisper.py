"""faster-whisper: Whisper models of any size, run by CTranslate2 on the processor or a CUDA card.

The default settings are a beam search without sampling, which gives the same text every time. Where other programs sample
anew after a window that repeats itself, the rest of the sound is decoded once more with repetitions forbidden. On a card
several windows of a long sound are decoded at once.
The weights come from elsewhere (`polydub models pull`) or from a folder of one's own; nothing is ever downloaded here.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from polydub import languages
from polydub.engines.asr import whisper_batches
from polydub.engines.asr import whisper_folders as folders
from polydub.engines.asr.hearing import LEAST_S, inside, probability, readable, shifted
from polydub.engines.asr.whisper_weights import ENGLISH
from polydub.engines.base import Engine, Info, Options, Weights
from polydub.errors import EngineFailed, UnsupportedLanguage
from polydub.text import segments as texts
from polydub.types import HEAR_HZ, Audio, Segment, Span, Word

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # whose words faster-whisper cuts at every character
BATCH = 8  # windows that a card decodes at once
VOICED = 0.4  # share of voice for which text.segments believes no well-known credits
TOKEN_SAMPLES = 320  # 20 ms: an odd frame at the end can leave a window without any token, on which faster-whisper 1.2 fails
NO_REPEAT = 4  # tokens that may not follow each other twice in a window that has to be decoded again
WINDOWS = 4  # of 30 s, heard to find the language
FAILURES = (RuntimeError, ValueError, IndexError)  # what CTranslate2 and faster-whisper raise; there is no class of their own


class WhisperOptions(Options):
    """Options of faster-whisper."""

    model: str = Field(
        "small", min_length=1, description=f"{', '.join(folders.NAMES)}, or the path of a CTranslate2 whisper folder"
    )
    compute_type: Literal[
        "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
    ] = Field("auto", description="number format of the weights; auto = int8 on the processor, float16 on a card")
    beam_size: int = Field(5, ge=1, le=20, description="transcripts followed at once; 1 is the fastest")
    temperature: float = Field(
        0.0,
        ge=0,
        le=1,
        description="sampling temperature; above 0 the transcript differs from run to run",
        json_schema_extra={"identity": "set", "call": "temperature"},
    )
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
    initial_prompt: str = Field(
        "",
        max_length=400,
        description="text in the style and spelling to be expected, characters",
        json_schema_extra={"call": "prompt"},
    )
    hotwords: str = Field(
        "",
        max_length=400,
        description="rare words and names to be expected, separated by blanks",
        json_schema_extra={"call": "hotwords"},
    )
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
    known_phrases: bool = Field(
        True,
        description='leave out what Whisper says in silence, such as "Thanks for watching", where it is improbable besides',
    )
    batch_size: int = Field(
        0,
        ge=0,
        le=64,
        description="windows of a sound above 30 s decoded at once, cut at pauses; 1 = one after the other, each with what is "
        f"known from the last; 0 = {BATCH} on a card, 1 on the processor",
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
        """The first one and what is tried after it."""
        steps = int(max(0.0, self.temperature_max - self.temperature) / 0.2 + 1e-9)
        return [round(self.temperature + step * 0.2, 3) for step in range(steps + 1)]


class WhisperTranscriber:
    """A Transcriber. Several calls may run at once."""

    def __init__(self, model: Any, options: WhisperOptions, batch: int = 1) -> None:
        self._model: Any = model
        self._options = options
        self._batch = batch
        self._english = options.model in ENGLISH or not model.model.is_multilingual

    def told(self, options: WhisperOptions) -> WhisperTranscriber:
        """As Told: the same model."""
        return WhisperTranscriber(self._model, options, self._batch)

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
        if self._english:
            return "en", 0.0
        if speech.duration < LEAST_S:
            return "und", 0.0
        try:
            code, share, _ = self._model.detect_language(speech.samples[0], language_detection_segments=WINDOWS)
        except FAILURES as error:
            raise EngineFailed(f"faster-whisper failed while finding the language: {error}") from error
        return folders.OUR_TAGS.get(code, str(code)), round(float(share), 3)

    def _code(self, language: str) -> str:
        """Whisper's code of a language that the model has."""
        base = languages.base(language)
        code = folders.WHISPER_CODES.get(base, base)
        known = code == "en" if self._english else self._model.hf_tokenizer.token_to_id(f"<|{code}|>") is not None
        if not known:
            kind = "is for English only, not" if self._english else "does not know"
            raise UnsupportedLanguage(f"this whisper model {kind} {language!r}", "choose a larger or multilingual model")
        return code

    def _segments(self, speech: Audio, code: str | None) -> Generator[Segment]:
        samples = speech.samples[0]
        samples = samples[: len(samples) // TOKEN_SAMPLES * TOKEN_SAMPLES]
        if len(samples) < LEAST_S * HEAR_HZ:
            return
        at = 0.0
        with closing(self._found(samples, code)) as answers:
            for heard, found in answers:
                if found.text and not (self._options.known_phrases and self._invented(heard, found)):
                    at = max(at, found.start)
                    yield replace(found, start=at, end=max(at, found.end))

    def _found(self, samples: Any, code: str | None) -> Generator[tuple[Any, Segment]]:
        """What faster-whisper answers, and as a Segment."""
        duration = len(samples) / HEAR_HZ
        if self._batch == 1 or duration <= whisper_batches.WINDOW_S:
            for heard, unspaced in self._decoded(samples, code):
                yield heard, _segment(heard, unspaced, duration)
            return
        for (start, end), heard, unspaced in self._batched(samples, code):
            yield heard, shifted(_segment(heard, unspaced, (end - start) / HEAR_HZ), start / HEAR_HZ)

    def _batched(self, samples: Any, code: str | None) -> Generator[tuple[whisper_batches.Clip, Any, bool]]:
        """Clips, an answer in each, and whether its language is written without blanks."""
        options = self._options
        try:
            code = code or (
                "en" if self._english else self._model.detect_language(samples, language_detection_segments=WINDOWS)[0]
            )
            found = whisper_batches.clips(samples, TOKEN_SAMPLES)
            settings = {**self._settings(), "language": code}
            for clip, answers in whisper_batches.decoded(self._model, samples, found, settings, self._batch):
                if any(heard.compression_ratio > options.compression_ratio_threshold for heard in answers):
                    for heard, unspaced in self._decoded(samples[slice(*clip)], code):
                        yield clip, heard, unspaced
                    continue
                for heard in answers:
                    improbable = heard.avg_logprob < options.log_prob_threshold
                    if not (improbable and heard.no_speech_prob > options.no_speech_threshold):
                        yield clip, heard, code in UNSPACED
        except FAILURES as error:
            raise self._failure(error) from error

    def _invented(self, heard: Any, found: Segment) -> bool:
        """Whether the segment is well-known credits that are improbable or sound like silence."""
        options = self._options
        if heard.no_speech_prob <= options.no_speech_threshold and heard.avg_logprob >= options.log_prob_threshold:
            return False
        voiced = Span(found.start, found.start + VOICED * found.duration)
        return any(reason == "credits" for _, reason in texts.checked([found], found, [voiced]).dropped)

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
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> EngineFailed:
        options = self._options
        if whisper_batches.NO_MEMORY in str(error).lower():
            hint = "choose a smaller model, such as --asr faster-whisper:small, or --device cpu"
            return EngineFailed("faster-whisper ran out of memory, also with one window at a time", hint)
        hint = "shorten initial_prompt and hotwords" if options.initial_prompt or options.hotwords else ""
        return EngineFailed(f"faster-whisper failed while recognising: {error}", hint)

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
    start, end = inside(times[0], duration), inside(times[1], duration)
    return Segment(start, max(start, end), text=readable(heard.text), words=words)


def _words(heard: Any, unspaced: bool, duration: float) -> Iterator[Word]:
    """Words without blanks around them; pieces that no blank parts, such as "twenty" and "-one", are one word."""
    pending: Word | None = None
    for piece in heard:
        text = readable(piece.word)
        start = max(inside(piece.start, duration), pending.start if pending else 0.0)
        end = max(start, inside(piece.end, duration))
        word = Word(start, end, text, probability(piece.probability))
        if pending and (not text or not (unspaced or piece.word[:1].isspace())):
            least = min(pending.confidence or 0.0, word.confidence or 0.0)
            pending = replace(pending, end=max(pending.end, end), text=pending.text + text, confidence=least)
            continue
        if pending:
            yield pending
        pending = word if text else None
    if pending:
        yield pending


@contextmanager
def _load(options: WhisperOptions, weights: Weights, device: str) -> Generator[WhisperTranscriber]:
    folder = folders.own_folder(options.model) or weights[folders.weights(options.model)[0].id]
    folders.require_files(folder)
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
        raise EngineFailed(f"preprocessor_config.json of {folder.name} does not fit its model.bin", folders.CONVERT)
    transcriber = WhisperTranscriber(model, options, options.batch_size or (1 if kind == "cpu" else BATCH))
    del model
    try:
        yield transcriber
    finally:
        transcriber.close()


def _remarks(options: WhisperOptions, _language: str) -> tuple[str, ...]:
    sampled = options.temperature or options.temperature_max
    return ("its temperature is above 0, so that another run may give another transcript",) if sampled else ()


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
        revision=2,
        features=frozenset({"word_times", "language_id"}),
    ),
    options=WhisperOptions,
    load=_load,
    check=lambda options: folders.check(options.model),
    languages=lambda options: folders.languages(options.model),
    version=lambda options: folders.version_of(options.model),
    weights=lambda options: folders.weights(options.model),
    models={
        "low": ("base", "tiny", "small", "turbo", "medium", "large-v3"),
        "medium": ("small", "turbo", "medium", "large-v3", "base", "tiny"),
        "high": ("large-v3", "turbo", "medium", "small", "base", "tiny"),
    },
    remarks=_remarks,
)
