"""Recognition by any server that speaks OpenAI's /audio/transcriptions: OpenAI, Groq, speaches, vLLM, LocalAI and others.

Where the server tells times of words they are taken, put to the text as it is written in the segments; else the words are
laid over the sound by their lengths and marked as estimated.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from difflib import SequenceMatcher
from io import BytesIO
from math import exp, isfinite
from threading import Event
from typing import Any, Literal, cast

from pydantic import Field

from polydub import languages
from polydub.engines.asr.hearing import heard, inside, probability, readable, spread, stretches
from polydub.engines.base import READY, Availability, Engine, Info, Weights
from polydub.engines.service import BASE_URLS, Answer, Ask, Endpoint, RemoteOptions, Service
from polydub.errors import BadSettings, MissingSecret, UnsupportedLanguage
from polydub.text.words import key, pieces
from polydub.types import HEAR_HZ, Audio, Segment, Word

MODELS = {"openai": "whisper-1", "groq": "whisper-large-v3-turbo"}
SMALLEST_S = 20.0  # sound that a server finds too large is halved down to this
IDENTIFIED_S = 30.0
UNKNOWN_FORM = frozenset({400, 415, 422})  # what servers answer to a response_format that the model has not
TOO_LARGE = 413
NO_SPEECH, IMPROBABLE = 0.6, -1.0  # Whisper's own limits: probability of silence, mean log probability of the tokens
QUIET = 0.01  # RMS of 20 ms, full scale 1, from which somebody may speak: -40 dB
TOLD = 0.5  # probability of a language that a server names without saying how sure it is


class TranscribeOptions(RemoteOptions):
    """Options of remote recognition."""

    preset: Literal["openai", "groq", "custom"] = Field(
        default="openai", description="Service whose address and model are used where none is given."
    )
    model: str = Field(default="", description="Name of the model on that server; empty = the preset's.")
    prompt: str = Field(
        default="",
        max_length=1000,
        description="Text in the style and with the names to be expected, characters.",
        json_schema_extra={"call": "prompt"},
    )
    hotwords: str = Field(
        default="",
        max_length=400,
        description="Rare words and names to be expected; they are sent in front of the prompt.",
        json_schema_extra={"identity": "set", "call": "hotwords"},
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Randomness, 0 (always the likeliest word) to 1 (no unit).",
        json_schema_extra={"call": "temperature"},
    )
    upload: Literal["flac", "wav"] = Field(
        default="flac",
        description="Form in which sound is sent: flac is half as large.",
        json_schema_extra={"identity": False},
    )
    stretch_s: float = Field(
        default=600.0, ge=10, le=750, description="Seconds of sound in one request, at most 32 kB each; cut at quiet places."
    )

    @property
    def address(self) -> str:
        """The base URL in force; empty when preset is custom and none is given."""
        return (self.base_url or BASE_URLS.get(self.preset, "")).removesuffix("/audio/transcriptions")

    @property
    def model_name(self) -> str:
        """The model in force; empty when preset is custom and none is given."""
        return self.model or MODELS.get(self.preset, "")


class RemoteTranscriber:
    """A Transcriber over one HTTP client; calls may come from several threads."""

    def __init__(self, options: TranscribeOptions, service: Service) -> None:
        self._options, self._service = options, service
        self._plain = Event()  # the server has no answers with times

    def told(self, options: TranscribeOptions) -> RemoteTranscriber:
        """As Told: the same connection; what has been learnt of the server is shared."""
        other = copy(self)
        other._options = options
        return other

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """As Transcriber; one request for each stretch. Silence is not sent.

        Raises, while iterating: what Service.request raises; BadEngineOutput where no transcription server answers.
        """
        if language is not None and languages.or_und(language) == "und":
            raise UnsupportedLanguage(f"{language!r} is no language that is known", "name it as in --from en")
        code = languages.base(language) if language else None
        return heard(speech, self._options.stretch_s, lambda stretch: self._words(stretch, code))

    def identify(self, speech: Audio) -> tuple[str, float]:
        """As Transcriber; what the server says of the first half minute, which is nothing for some."""
        first = Audio(speech.samples[:, : round(IDENTIFIED_S * HEAR_HZ)], speech.rate_hz)
        if not _loud(first):
            return "und", 0.0
        said = [str(answer.get("language") or "und") for _, _, answer in self._answers(first, None)]
        tag = languages.or_und(said[0])
        return (tag, TOLD) if tag != "und" else ("und", 0.0)

    def _words(self, stretch: Audio, code: str | None) -> Iterator[Word]:
        for offset, part, answer in self._answers(stretch, code) if _loud(stretch) else ():
            for word in words_of(answer, part):
                yield replace(word, start=word.start + offset, end=word.end + offset)

    def _answers(self, sound: Audio, code: str | None) -> Iterator[tuple[float, Audio, dict[str, Any]]]:
        """Answers with what they are about and where that begins; sound that is too large is sent in halves."""
        reply = self._ask(sound, code)
        if reply.status == TOO_LARGE:
            if sound.duration <= SMALLEST_S:
                raise self._service.refusal(reply)
            for offset, half in stretches(sound, 0.7 * sound.duration):
                for inner, part, answer in self._answers(half, code):
                    yield offset + inner, part, answer
            return
        try:
            found = reply.json()
        except ValueError as error:
            raise self._service.unusable() from error
        if not isinstance(found, dict) or not isinstance(cast("dict[str, Any]", found).get("text"), str):
            raise self._service.unusable()
        yield 0.0, sound, cast("dict[str, Any]", found)

    def _ask(self, sound: Audio, code: str | None) -> Answer:
        """The answer with times where the server has them."""
        options = self._options
        form: dict[str, str | list[str]] = {"model": options.model_name, "temperature": f"{options.temperature:g}"}
        form |= {"language": code} if code else {}
        prompt = "\n".join(text for text in (options.hotwords.strip(), options.prompt) if text)
        form |= {"prompt": prompt} if prompt else {}
        files = {"file": (f"speech.{options.upload}", encoded(sound, options.upload), f"audio/{options.upload}")}
        large = frozenset({TOO_LARGE})
        if not self._plain.is_set():
            timed = {**form, "response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
            reply = self._service.request(Ask("/audio/transcriptions", data=timed, files=files, accept=large | UNKNOWN_FORM))
            if reply.status not in UNKNOWN_FORM:
                return reply
        reply = self._service.request(
            Ask("/audio/transcriptions", data={**form, "response_format": "json"}, files=files, accept=large)
        )
        self._plain.set()  # the plain form was answered: it was the other that the server had not
        return reply


def encoded(sound: Audio, form: str) -> bytes:
    """The sound as a file of 16 bits."""
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    file = BytesIO()
    soundfile.write(file, sound.samples[0].clip(-1, 1), sound.rate_hz, format=form.upper(), subtype="PCM_16")
    return file.getvalue()


def words_of(answer: Mapping[str, Any], stretch: Audio) -> Iterator[Word]:
    """The words of an answer, spelt and pointed as in its text; those whose times it does not tell are estimated."""
    parts = _segments(answer, stretch)
    timed = _timed(answer.get("words"))
    texts = [(piece, number) for number, (_, _, text, _) in enumerate(parts) for piece in pieces(text)]
    found = SequenceMatcher(None, [key(text) for text, _ in texts], [key(word.text) for word in timed], autojunk=False)
    at: dict[int, Word] = {}
    for here, there, size in found.get_matching_blocks():
        at |= {here + n: timed[there + n] for n in range(size)}
    for number, (start, end, text, sure) in enumerate(parts):
        mine = [n for n, (_, part) in enumerate(texts) if part == number]
        known = {n: at[n] for n in mine if n in at}
        if len(known) * 2 < len(mine):  # too few to trust
            for word in spread(text, start, end):
                yield Word(word.start, word.end, word.text, sure, estimated=True)
        else:
            yield from _between([texts[n][0] for n in mine], [known.get(n) for n in mine], end, sure)


def _between(texts: Sequence[str], known: Sequence[Word | None], end: float, sure: float | None) -> Iterator[Word]:
    """Words with the times known; the others lie evenly between their neighbours."""
    before = next((word.start for word in known if word), end)
    for n, (text, word) in enumerate(zip(texts, known, strict=True)):
        if word:
            yield Word(word.start, word.end, text, sure)
            before = word.end
            continue
        gap = next((k for k, other in enumerate(known[n:]) if other), len(known) - n)
        after = cast("Word", known[n + gap]).start if n + gap < len(known) else max(before, end)
        until = before + max(0.0, after - before) / gap
        yield Word(before, until, text, sure, estimated=True)
        before = until


def _segments(answer: Mapping[str, Any], stretch: Audio) -> list[tuple[float, float, str, float | None]]:
    """Start, end, text and confidence of each segment that is not silence by Whisper's rule; without any, of the whole text."""
    found: list[tuple[float, float, str, float | None]] = []
    rows = answer.get("segments")
    for row in cast("list[Any]", rows) if isinstance(rows, list) else []:
        if isinstance(row, dict):
            facts = cast("dict[str, Any]", row)
            log_prob, silence = _number(facts.get("avg_logprob")), _number(facts.get("no_speech_prob"))
            if not (silence is not None and log_prob is not None and silence > NO_SPEECH and log_prob < IMPROBABLE):
                start = inside(_number(facts.get("start")) or 0.0, stretch.duration)
                end = max(start, inside(_number(facts.get("end")) or start, stretch.duration))
                sure = probability(exp(min(log_prob, 0.0))) if log_prob is not None else None
                found.append((start, end, readable(str(facts.get("text", ""))), sure))
    if isinstance(rows, list) and rows:
        return found
    start, end = _loud(stretch) or (0.0, stretch.duration)
    return [(start, end, readable(str(answer.get("text", ""))), None)]


def _timed(rows: Any) -> list[Word]:
    words: list[Word] = []
    for row in cast("list[Any]", rows) if isinstance(rows, list) else []:
        facts = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        start, end = _number(facts.get("start")), _number(facts.get("end"))
        if start is not None and end is not None and isinstance(facts.get("word"), str):
            words += [Word(start, max(start, end), piece) for piece in pieces(readable(facts["word"]))]
    return words


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if known else None


def _loud(sound: Audio) -> tuple[float, float] | None:
    """From the first to the last 20 ms that are louder than QUIET; None when all is quieter."""
    import numpy as np

    frame = round(0.02 * sound.rate_hz)
    samples = sound.samples[0]
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    found = np.flatnonzero(np.sqrt(np.mean(np.square(frames), axis=1)) > QUIET) if len(frames) else np.zeros(0, int)
    return (float(found[0]) * 0.02, float(found[-1] + 1) * 0.02) if len(found) else None


def _check(options: TranscribeOptions) -> Availability:
    if not options.address:
        return Availability(False, "no base_url for preset custom", "--asr openai:base_url=http://127.0.0.1:8000/v1")
    if not options.model_name:
        return Availability(False, "no model for preset custom", "--asr openai:model=NAME")
    if not options.base_url and not options.api_key.get_secret_value():
        return Availability(False, "no API key", _set_key(options))
    return READY


def _set_key(options: TranscribeOptions) -> str:
    return f"export {'GROQ_API_KEY' if options.preset == 'groq' else 'POLYDUB_OPENAI_API_KEY'}=..."


@contextmanager
def _load(options: TranscribeOptions, weights: Weights, device: str) -> Generator[RemoteTranscriber]:
    del weights, device
    available = _check(options)
    if not available.ready:
        kind = MissingSecret if options.address and options.model_name else BadSettings
        raise kind(f"the openai recogniser has {available.reason}", available.fix)
    endpoint = Endpoint(
        options.address,
        key=options.api_key.get_secret_value(),
        set_key=_set_key(options),
        name=f"check the name of the model ({options.model_name}) and base_url",
        kind="transcription server",
        timeout_s=options.timeout_s,
        retries=options.retries,
        budget_s=options.budget_s,
    )
    with Service(endpoint) as service:
        yield RemoteTranscriber(options, service)


ENGINE = Engine(
    info=Info(
        kind="asr",
        name="openai",
        summary="Any server with OpenAI's /audio/transcriptions: OpenAI, Groq, speaches, vLLM; the sound leaves this machine",
        licence="Apache-2.0",
        homepage="https://platform.openai.com/docs/api-reference/audio/createTranscription",
        network=True,
        deterministic=False,
        parallel=4,
        piece_s=120.0,
        features=frozenset({"word_times", "language_id"}),
        secrets=("api_key",),
    ),
    options=TranscribeOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
)
