"""The nouns of polydub. All are frozen; time is float seconds on the source's clock, rounded to 1 ms.

*Segment* is heard, *line* is to be spoken, *take* is a recording of a line, *placement* is a take put in time,
*cue* is a subtitle, *turn* is who speaks when, *stem* is a part of the sound, *sound* is a long recording kept in
blocks. Samples are integers only inside `audio/`. Languages are BCP-47 tags. Collections are tuples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # numpy costs 70 ms, which a run that remembers everything must not pay
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
else:
    Samples = object

RATE_HZ = 48_000  # sample rate of everything inside polydub
HEAR_HZ = 16_000  # sample rate that listening engines are given, mono
VAD_FRAME = 512  # samples at HEAR_HZ of one decision about speech: 32 ms
FRAME = 1024  # samples in one AAC frame
BLOCK_FRAMES = 1406
BLOCK = BLOCK_FRAMES * FRAME  # samples in one block of a sound: 29.995 s


def seconds(value: float) -> float:
    """`value` rounded to 1 ms, the resolution of every stored time."""
    return round(float(value), 3)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds; `end` >= `start`."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return seconds(self.end - self.start)

    def overlap(self, other: Span) -> float:
        """Seconds that both spans share; 0.0 when they do not meet."""
        return max(0.0, seconds(min(self.end, other.end) - max(self.start, other.start)))


@dataclass(frozen=True, slots=True)
class Word(Span):
    """One word as heard; confidence is 0 to 1, None when the engine gives none; `estimated`: its times were not heard."""

    text: str = ""
    confidence: float | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Turn(Span):
    """Who speaks when, in the sense of RTTM."""

    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An immutable file known by its content.

    Attributes: sha256: hexadecimal digest. suffix: with the dot, such as ".flac". bytes: length of the file.
    """

    sha256: str
    suffix: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound in memory: float32, shape (channels, frames), full scale +-1, at `rate_hz`."""

    samples: Samples
    rate_hz: int = RATE_HZ

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype.name != "float32":
            raise ValueError("Audio wants float32 samples of shape (channels, frames)")

    @property
    def duration(self) -> float:
        """Length in seconds, not rounded."""
        return self.samples.shape[1] / self.rate_hz


@dataclass(frozen=True, slots=True)
class Sound:
    """A long recording at RATE_HZ kept as consecutive blocks of BLOCK samples (the last one shorter).

    Attributes: blocks: one 24-bit FLAC each. channels: of every block. frames: samples per channel in all.
    layout: order of the channels by ffmpeg's name, such as "5.1(side)"; "" = mono or stereo, by their number.
    """

    blocks: tuple[Artifact, ...]
    channels: int
    frames: int
    layout: str = ""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / RATE_HZ


@dataclass(frozen=True, slots=True)
class Speech:
    """A film as listening engines want it: mono at HEAR_HZ, FLAC, and where somebody speaks.

    Attributes: blocks: number n holds samples ceil(n * BLOCK / 3) up to ceil((n + 1) * BLOCK / 3), without gaps.
    frames: samples in all. spans: speech, in order, padded, not overlapping.
    """

    blocks: tuple[Artifact, ...]
    frames: int
    spans: tuple[Span, ...]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / HEAR_HZ


@dataclass(frozen=True, slots=True)
class Excerpt(Span):
    """A stretch of a Speech, in film seconds: the blocks it lies in, the first of them number `first`."""

    first: int = 0
    blocks: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Energies:
    """Sums of K-weighted squares over all channels, one per 100 ms cell; the first cell is number `first` of the film."""

    first: int
    sums: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """One stream of a container.

    Attributes: index: position among all streams. language: BCP-47 or "und". channels, rate_hz: audio only.
    text: a subtitle track that holds text rather than pictures.
    """

    index: int
    kind: Literal["video", "audio", "subtitle", "attachment", "data"]
    codec: str
    language: str = "und"
    title: str = ""
    default: bool = False
    channels: int = 0
    rate_hz: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    start: float = 0.0
    text: bool = False
    layout: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """What probing a media file told.

    Attributes: media: the file by content. duration: seconds from the first to the last presented moment.
    start: container time of the first moment, which polydub calls 0.
    """

    media: Artifact
    container: str
    duration: float
    start: float
    tracks: tuple[Track, ...]

    def of(self, kind: str) -> tuple[Track, ...]:
        """The tracks of one kind, in container order."""
        return tuple(t for t in self.tracks if t.kind == kind)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Someone who speaks in the film; `id` as in turns and segments, `label` for people to read."""

    id: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Segment(Span):
    """Something said in the source: one speaker, one sentence or breath group (or one given cue)."""

    id: str = ""
    speaker: str = ""
    text: str = ""
    words: tuple[Word, ...] = ()
    kind: Literal["speech", "song", "nonverbal"] = "speech"


@dataclass(frozen=True, slots=True)
class Script:
    """What is said in the film, in order of time; `language` "und" when nobody told."""

    language: str
    segments: tuple[Segment, ...]
    speakers: tuple[Speaker, ...] = ()


@dataclass(frozen=True, slots=True)
class Wordings:
    """One text in up to three lengths that mean the same; "" where there is no other one.

    Attributes: doubt: what a person should check in it, one sentence; "" = nothing.
    """

    normal: str
    short: str = ""
    long: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Expression:
    """How something is said, against how its voice says it by itself.

    Attributes: rate: factor of the speed. pitch: semitones. energy_db: dB. pitch_range: factor of the pitch's movement, in
    semitones about its median. emotion: one of text.tags.EMOTIONS, "" = none.
    """

    rate: float = 1.0
    pitch: float = 0.0
    energy_db: float = 0.0
    pitch_range: float = 1.0
    emotion: str = ""


PLAIN = Expression()


@dataclass(frozen=True, slots=True)
class Line(Span):
    """Something to be spoken. Its span is the source's: the time it may ideally use. `text` is the target text.

    Attributes: locked: set by a person; survives every re-run. short, long: other wordings of `text`, of which the fit may
    choose one; "" = none. given: a person wrote the text (a file or an edit), no machine. voice: its own by name; "" = the
    speaker's. expression: how it is said. pinned: a person set when it is heard: it starts and ends with its span.
    """

    id: str = ""
    speaker: str = ""
    source_text: str = ""
    text: str = ""
    language: str = "und"
    seed: int = 0
    locked: bool = False
    short: str = ""
    long: str = ""
    given: bool = False
    voice: str = ""
    expression: Expression = PLAIN
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Phrase(Span):
    """What is spoken as one take: a line, or a part of it between two pauses of the source.

    Its span is where the source is audible. Attributes: id: the line's; parts of a line have ids "7.1", "7.2", ...
    text: what is spoken.
    """

    id: str = ""
    speaker: str = ""
    text: str = ""

    @property
    def line(self) -> str:
        """Id of the line it belongs to."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of one engine. `settings` are numbers the engine understands (espeak-ng: pitch 0-99, range 0-99).

    `tone` is an equaliser laid over what the engine speaks: gains in dB at `audio.match.BANDS_HZ`; empty = none.
    `references` are recordings of a person whose voice it is (mono FLAC), for engines that can clone; empty = its own voice.
    """

    engine: str
    name: str
    language: str
    label: str = ""
    settings: Mapping[str, float] = field(default_factory=dict[str, float])
    tone: tuple[float, ...] = ()
    references: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Casting:
    """Which voice each speaker gets; `lines`: by id, those that have one of their own."""

    voices: Mapping[str, Voice]
    lines: Mapping[str, Voice] = field(default_factory=dict[str, Voice])


@dataclass(frozen=True, slots=True)
class Part:
    """Exactly what a synthesizer needs to speak one line. `rate` 1.0 is the engine's default rate."""

    text: str
    language: str
    voice: Voice
    rate: float = 1.0
    seed: int = 0
    expression: Expression = PLAIN


@dataclass(frozen=True, slots=True)
class Take:
    """A recording of one part, trimmed at both ends: mono 24-bit FLAC at RATE_HZ, a whole number of milliseconds.

    Attributes: duration: seconds, audible onset to audible end. rate: what the engine was asked for.
    loudness: LUFS of the take alone, ungated; -inf is written as -120.
    """

    sound: Artifact
    duration: float
    rate: float
    loudness: float


@dataclass(frozen=True, slots=True)
class Placement:
    """A take put in time.

    Attributes: id: of the phrase. start: audible onset, seconds. duration: as placed. rate: natural duration / duration.
    shift: start - source start. overflow: seconds of talk-over that could not be avoided.
    natural_duration: trimmed length at the engine's default rate.
    """

    id: str
    speaker: str
    start: float
    duration: float
    rate: float
    shift: float
    overflow: float
    natural_duration: float

    @property
    def line(self) -> str:
        """Id of the line it belongs to."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Cue(Span):
    """One subtitle. `text` may hold line breaks; `words`, where known, are those of the text in order."""

    text: str = ""
    speaker: str = ""
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should look at: a substitute, a doubt, a limit reached.

    Attributes: code: stable, kebab-case. text: one sentence. line: id of the line it is about.
    """

    code: str
    text: str
    severity: Literal["info", "warning"] = "warning"
    stage: str = ""
    line: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is; `done` of `total` items, of which `remembered` came from the memo."""

    stage: str
    done: int
    total: int
    remembered: int = 0
    message: str = ""
