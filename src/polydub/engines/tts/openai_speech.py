"""Speech by any server that speaks OpenAI's /audio/speech: OpenAI, Kokoro-FastAPI, Speaches, LocalAI, polydub itself, others.

What answers is believed by its first bytes, not by its headers: servers send a page of HTML with status 200, WAV files whose
length they did not know yet when they began (0xFFFFFFFF), or half of one.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from pydantic import Field

from polydub.engines.base import READY, Availability, Engine, Info, Weights
from polydub.engines.service import BASE_URLS, Ask, Endpoint, RemoteOptions, Service
from polydub.engines.tts import spoken
from polydub.errors import BadEngineOutput, BadSettings
from polydub.text import chunks
from polydub.types import Audio, Part, Voice

if TYPE_CHECKING:
    from polydub.types import Samples

NAME = "openai"
MODELS = {"openai": "gpt-4o-mini-tts"}
# Women and men in turn, as they are heard; from the service's documentation.
VOICES = ("coral", "onyx", "nova", "echo", "sage", "ash", "shimmer", "verse", "alloy", "ballad", "fable", "marin", "cedar")
LONGEST = 4096  # characters in one request; the service refuses more
SPEEDS = (0.25, 4.0)
MOST_BYTES = 200_000_000
OPEN_END = 0x7FFF0000  # a WAV that says it is longer than this did not know its length; 0 likewise
RATES_HZ = (8_000, 192_000)
FIRST_BYTES = 256  # of a stream, by which it is told what comes
HEADER_BYTES = 4096  # of a WAV in a stream
PIECE_S = 0.1  # a streamed piece is at least so long
PAUSE_S = chunks.PAUSE_S


class SpeechOptions(RemoteOptions):
    """Options of remote speech."""

    preset: Literal["openai", "custom"] = Field(
        "openai", description="Service whose address, model and voices are used where none is given."
    )
    model: str = Field("", description="Name of the model on that server; empty = the preset's.")
    voices: str = Field(
        "", description='Names of the voices to take, best first, separated by blanks or "+"; empty = those the server names.'
    )
    response_format: Literal["wav", "pcm", "flac"] = Field("wav", description="Form in which sound is asked for.")
    pcm_rate_hz: int = Field(24_000, ge=8_000, le=192_000, description="Samples a second of pcm, which does not say it itself.")
    speed: float = Field(1.0, ge=0.25, le=4, description="Pace of speech, 0.25 to 4; 1 is the voice's own.")
    instructions: str = Field("", max_length=4096, description="How to speak, for models that heed it; empty = none is sent.")

    @property
    def address(self) -> str:
        """The base URL in force; empty when preset is custom and none is given."""
        return (self.base_url or BASE_URLS.get(self.preset, "")).removesuffix("/audio/speech")

    @property
    def model_name(self) -> str:
        """The model in force; empty when preset is custom and none is given."""
        return self.model or MODELS.get(self.preset, "")


def _endpoint(options: SpeechOptions) -> Endpoint:
    return Endpoint(
        options.address,
        options.api_key.get_secret_value(),
        set_key="export POLYDUB_OPENAI_API_KEY=...",
        kind="speech server",
        timeout_s=options.timeout_s,
        retries=options.retries,
        budget_s=options.budget_s,
    )


class RemoteSpeech:
    """The Synthesizer and Streamer over one HTTP client; calls may come from several threads."""

    def __init__(self, options: SpeechOptions, service: Service) -> None:
        self._options, self._service = options, service
        self._named: tuple[str, ...] = ()

    def voices(self, language: str) -> Sequence[Voice]:
        """The voices of the option, else those the server names at /audio/voices, else OpenAI's own; they speak any language.

        Raises: BadSettings where nobody names a voice; what the service raises.
        """
        self._named = self._named or self._names()
        return tuple(Voice(NAME, name, language, name) for name in self._named)

    def _names(self) -> tuple[str, ...]:
        given = tuple(dict.fromkeys(self._options.voices.replace("+", " ").split()))
        if given:
            return given
        if not self._options.base_url and self._options.preset in MODELS:
            return VOICES
        answer = self._service.request(Ask("/audio/voices", method="GET", accept=frozenset({400, 404, 405, 422, 501})))
        names: tuple[str, ...] = ()
        if answer.status == 200:
            try:
                names = _listed(answer.json())
            except ValueError as error:
                raise self._service.unusable() from error
        if not names:
            raise BadSettings(
                f"{self._options.address} does not say which voices it has", "name them: --tts openai,voices=ONE+OTHER"
            )
        return names

    def synthesize(self, part: Part) -> Audio:
        """Mono sound at the rate the server gives. Text above 4,096 characters is asked for in pieces; blank text in none.

        Raises: BadEngineOutput for an answer that is no sound or breaks off; what the service raises.
        """
        sounds = [self._sound(text, part) for text in _pieces(part)]
        rates = {sound.rate_hz for sound in sounds}
        if len(rates) > 1:
            raise self._changed()
        return spoken.in_a_row(sounds, PAUSE_S, next(iter(rates), self._options.pcm_rate_hz))

    def stream(self, part: Part) -> Iterator[Audio]:
        """As `synthesize`, as it comes, in pieces of 0.1 s or more. Asked for as pcm, whatever the option says."""
        rate_hz = 0
        for text in _pieces(part):
            if rate_hz:
                yield Audio(spoken.pause(PAUSE_S, rate_hz), rate_hz)
            with self._service.stream(self._ask(text, part, "pcm")) as answer:
                for piece in self._flow(answer.pieces, answer.headers.get("content-type", "")):
                    if rate_hz not in (0, piece.rate_hz):
                        raise self._changed()
                    rate_hz = piece.rate_hz
                    yield piece

    def _ask(self, text: str, part: Part, form: str) -> Ask:
        options = self._options
        if part.voice.settings:
            raise BadSettings(f"{NAME} has no voice setting {min(part.voice.settings)!r}", "leave it out")
        speed = round(min(SPEEDS[1], max(SPEEDS[0], options.speed * part.rate)), 3)
        body: dict[str, Any] = {"model": options.model_name, "input": text, "voice": part.voice.name, "response_format": form}
        if speed != 1:
            body["speed"] = speed
        if options.instructions:
            body["instructions"] = options.instructions
        return Ask("/audio/speech", body, most_bytes=MOST_BYTES)

    def _sound(self, text: str, part: Part) -> Audio:
        form = self._options.response_format
        answer = self._service.request(self._ask(text, part, form))
        body, told = answer.body, answer.headers.get("content-type", "")
        if not body:
            raise BadEngineOutput(f"{self._options.address} answered without any sound", "try another voice or model")
        if _is_text(body, told):
            raise self._service.unusable()
        if form == "pcm" and body[:4] not in (b"RIFF", b"fLaC"):
            if len(body) % 2:
                raise self._broken()
            return Audio(_mono(body, _Form(1, 1, self._options.pcm_rate_hz, 16)), self._options.pcm_rate_hz)
        return self._wav(body) if body[:4] == b"RIFF" else self._file(body)

    def _wav(self, body: bytes) -> Audio:
        header = _header(body)
        if header is None:
            raise self._broken()
        form, start, size = header
        if not form.known:
            raise BadEngineOutput(f"{self._options.address} answered with WAV of an unknown kind", "set response_format=pcm")
        rest = len(body) - start
        if 0 < size < OPEN_END and size > rest:
            raise self._broken()
        size = size if 0 < size < OPEN_END else rest
        return Audio(_mono(body[start : start + size - size % form.frame_bytes], form), form.rate_hz)

    def _file(self, body: bytes) -> Audio:
        """Another kind of sound: FLAC, MP3, Ogg."""
        import numpy as np
        import soundfile  # pyright: ignore[reportMissingTypeStubs]

        try:
            with soundfile.SoundFile(BytesIO(body)) as file:
                promised, rate_hz = file.frames, file.samplerate
                found = cast("Samples", file.read(dtype="float32", always_2d=True))
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise self._service.unusable() from error
        if len(found) < promised:
            raise self._broken()
        return Audio(np.ascontiguousarray(found.mean(axis=1, dtype=np.float32))[np.newaxis], rate_hz)

    def _flow(self, pieces: Iterator[bytes], told: str) -> Iterator[Audio]:
        """A stream of pcm, or of a WAV whose header comes first."""
        form, kept, begun = _Form(1, 1, self._options.pcm_rate_hz, 16), b"", False
        for more in pieces:
            kept += more
            if not begun:
                if len(kept) < FIRST_BYTES or (kept[:4] == b"RIFF" and len(kept) < HEADER_BYTES):
                    continue
                form, kept = self._begun(kept, told)
                begun = True
            whole = len(kept) - len(kept) % form.frame_bytes
            if whole >= PIECE_S * form.rate_hz * form.frame_bytes:
                yield Audio(_mono(kept[:whole], form), form.rate_hz)
                kept = kept[whole:]
        if not begun:
            if not kept:
                raise BadEngineOutput(f"{self._options.address} answered without any sound", "try another voice or model")
            form, kept = self._begun(kept, told)
        if len(kept) % form.frame_bytes:
            raise self._broken()
        if kept:
            yield Audio(_mono(kept, form), form.rate_hz)

    def _begun(self, first: bytes, told: str) -> tuple[_Form, bytes]:
        """What a stream that begins like this holds, and its first sound."""
        if _is_text(first, told) or first[:4] in (b"fLaC", b"OggS") or first[:3] == b"ID3":
            raise self._service.unusable()
        if first[:4] != b"RIFF":
            return _Form(1, 1, self._options.pcm_rate_hz, 16), first
        header = _header(first)
        if header is None or not header[0].known:
            raise self._broken()
        return header[0], first[header[1] :]

    def _changed(self) -> BadEngineOutput:
        return BadEngineOutput(f"{self._options.address} changes its sample rate between two answers", "try again")

    def _broken(self) -> BadEngineOutput:
        return BadEngineOutput(f"{self._options.address} broke its sound off in the middle", "try again")


class _Form(NamedTuple):
    """How samples are written. `kind`: 1 integers, 3 floats."""

    kind: int
    channels: int
    rate_hz: int
    bits: int

    @property
    def known(self) -> bool:
        """Whether it can be read here."""
        fits = self.bits in (16, 24, 32) if self.kind == 1 else self.bits == 32 and self.kind == 3
        return fits and 1 <= self.channels <= 8 and RATES_HZ[0] <= self.rate_hz <= RATES_HZ[1]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


def _header(body: bytes) -> tuple[_Form, int, int] | None:
    """How a WAV is written, where its samples begin, how many bytes of them it promises; None without these facts."""
    form, at = None, 12
    while body[8:12] == b"WAVE" and at + 8 <= len(body):
        name, size = body[at : at + 4], int.from_bytes(body[at + 4 : at + 8], "little")
        if name == b"data":
            return (form, at + 8, size) if form else None
        if name == b"fmt " and size >= 16 and at + 24 <= len(body):
            kind, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body, at + 8)
            if kind == 0xFFFE and size >= 40 and at + 34 <= len(body):  # WAVE_FORMAT_EXTENSIBLE: the kind comes later
                kind = int.from_bytes(body[at + 32 : at + 34], "little")
            form = _Form(kind, channels, rate_hz, bits)
        at += 8 + size + size % 2
    return None


def _mono(raw: bytes, form: _Form) -> Samples:
    """Samples (1, n) of all channels' mean."""
    import numpy as np

    if form.kind == 3:
        values = np.frombuffer(raw, "<f4")
    elif form.bits == 24:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        values = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    else:
        values = np.frombuffer(raw, f"<i{form.bits // 8}").astype(np.float32) / np.float32(2 ** (form.bits - 1))
    return values.reshape(-1, form.channels).mean(axis=1, dtype=np.float32)[np.newaxis]


def _is_text(body: bytes, told: str) -> bool:
    """Whether something that begins like this is a page or a message, whatever its header says."""
    start = body[:FIRST_BYTES].lstrip().lower()
    looks = start.startswith((b"<!doctype", b"<html", b"<?xml", b'{"', b"{'", b"{\n", b"{ ", b"[{"))
    said = told.partition(";")[0].strip().lower() in ("text/html", "application/json", "text/plain", "application/problem+json")
    return looks or (said and body[:4] not in (b"RIFF", b"fLaC", b"OggS") and start.isascii())


def _listed(answer: Any) -> tuple[str, ...]:
    """Names in {"voices": [{"id": ...} | {"name": ...} | "name", ...]}, or in such a list itself."""
    rows: Any = answer
    if isinstance(answer, dict):
        known = cast("dict[str, Any]", answer)
        rows = known.get("voices", known.get("data"))
    if not isinstance(rows, list):
        return ()
    names: list[str] = []
    for row in cast("list[Any]", rows):
        told: Any = row
        if isinstance(row, dict):
            facts = cast("dict[str, Any]", row)
            told = facts.get("id") or facts.get("name")
        if isinstance(told, str) and told.strip():
            names.append(told.strip())
    return tuple(dict.fromkeys(names))


def _pieces(part: Part) -> tuple[str, ...]:
    return chunks.split(part.text, LONGEST, 0, part.language)


@contextmanager
def _load(options: SpeechOptions, _weights: Weights, _device: str) -> Generator[RemoteSpeech]:
    with Service(_endpoint(options)) as service:
        yield RemoteSpeech(options, service)


def _check(options: SpeechOptions) -> Availability:
    if not options.address:
        return Availability(False, "no base_url for preset custom", "--tts openai,base_url=http://127.0.0.1:8880/v1,model=NAME")
    if not options.model_name:
        return Availability(False, "no model for preset custom", f"--tts openai:MODEL,base_url={options.address}")
    if options.preset == "openai" and not options.base_url and not options.api_key.get_secret_value():
        return Availability(False, "no API key", "export POLYDUB_OPENAI_API_KEY=...")
    return READY


ENGINE = Engine(
    info=Info(
        kind="tts",
        name=NAME,
        summary="voices of any server that speaks OpenAI's /audio/speech",
        licence="service",
        homepage="https://platform.openai.com/docs/guides/text-to-speech",
        network=True,
        deterministic=False,
        parallel=4,
        # Not "rate": a line is paid for by what it says, so that a dub stretches it instead of asking for it again.
        features=frozenset({"stream"}),
        secrets=("api_key",),
    ),
    options=SpeechOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
)
