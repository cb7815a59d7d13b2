"""Takes: synthesize, hear, shape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from zlib import crc32

from polydub.engines.base import Synthesizer, Transcriber
from polydub.errors import BadEngineOutput, BadSettings
from polydub.types import (
    HEAR_HZ,
    PLAIN,
    RATE_HZ,
    Audio,
    Casting,
    Line,
    Part,
    Take,
    Voice,
    seconds,
)
from polydub.work import Work, engine_stage, stage

RATE_STEP = 0.05  # engines are asked for rates in these steps, so that a small move of a line finds its take again


def voice(voices: Sequence[Voice], name: str | None) -> Voice:
    """The voice of that name; one that is not listed is left to the engine to know. None gives the first."""
    if name is None:
        return voices[0]
    listed = next((voice for voice in voices if voice.name == name), None)
    return listed or replace(voices[0], name=name, label=name, settings={})


def part(line: Line, casting: Casting, rate: float = 1.0) -> Part:
    """Exactly what the engine needs to speak `line`; of a cloned voice its recordings, whatever it is called."""
    own = casting.lines.get(line.id) or casting.voices[line.speaker]
    if own.references:
        own = replace(own, name="", label="")
    return Part(line.text, line.language, own, rate, line.seed, line.expression)


def acted(part: Part, features: Collection[str]) -> Part:
    """`part` as it is asked for of an engine with these features; its expression is what is left to be done to the sound.

    "rate": it is asked for the rate. "pitch": for pitch and range, by the settings that this feature promises: 0 to 99, 50 is
    the voice's own, 50 more an octave higher, and its movement in proportion to range. "emotion": it is told the emotion.
    Loudness is left to the mix, so that another one is not spoken anew. Parts without expression stay as they are.
    """
    how = part.expression
    if how == PLAIN:
        return part
    left = replace(how, energy_db=0.0, emotion=how.emotion if "emotion" in features else "")
    rate, voice = part.rate, part.voice
    if "rate" in features:
        rate, left = round(part.rate * how.rate, 3), replace(left, rate=1.0)
    if "pitch" in features:
        settings = {"pitch": 50.0, "range": 50.0, **voice.settings}
        settings["pitch"] = round(min(max(settings["pitch"] + how.pitch * 50 / 12, 0), 99))
        settings["range"] = round(min(max(settings["range"] * how.pitch_range, 0), 99))
        voice, left = replace(voice, settings=settings), replace(left, pitch=0.0, pitch_range=1.0)
    return replace(part, rate=rate, voice=voice, expression=left)


def engine_rate(rate: float) -> float:
    """The rate to ask an engine for, in steps of RATE_STEP."""
    return round(round(rate / RATE_STEP) * RATE_STEP, 2)


@dataclass(frozen=True, slots=True)
class Recorded(Take):
    """A take and what seems wrong with it: keys of `DOUBTS`."""

    doubts: tuple[str, ...] = ()

    @property
    def take(self) -> Take:
        """The take alone."""
        return Take(self.sound, self.duration, self.rate, self.loudness)


DOUBTS = {
    "cut-off": "ends in the middle of a sound",
    "too-short": "is far too short for its text",
    "too-long": "is far too long for its text",
    "misheard": "is not understood as its text",
}
TRIES = 2  # more, where a take cannot be used or is doubtful


def other_seed(seed: int, attempt: int) -> int:
    """The seed of a further try (1, 2, ...): always the same one, so that the next run finds the take again."""
    return crc32(f"{seed}/{attempt}".encode()) if attempt else seed


def pieces(tts: Synthesizer, part: Part, streams: bool) -> Iterator[Audio]:
    """A text of any length as it is spoken, in pieces without gaps: as they come where the engine streams, else one by one.

    It is cut after sentences, else clauses, else words; between the parts is a short silence. Nothing for a text without sound.
    """
    import numpy as np

    from polydub.text import chunks

    stream: Callable[[Part], Iterator[Audio]] | None = getattr(tts, "stream", None) if streams else None
    rate_hz = 0
    for text in chunks.split(part.text, language=part.language):
        if rate_hz:
            yield Audio(np.zeros((1, round(chunks.PAUSE_S * rate_hz)), np.float32), rate_hz)
        one = replace(part, text=text)
        for audio in stream(one) if stream else (tts.synthesize(one),):
            if audio.samples.shape[1]:
                rate_hz = audio.rate_hz
                yield audio


@engine_stage("synthesize", "tts", version=5)
def synthesize(work: Work, tts: Synthesizer, part: Part) -> Recorded:
    """One take, trimmed at both ends, mono at RATE_HZ; a voice with references is cloned.

    What the part's expression wants besides what the engine was asked for (see `acted`) is done to the sound.

    What cannot be used at all is spoken again with other seeds. Raises: BadEngineOutput for NaN, silence or nothing, again
    and again; BadSettings where the engine cannot clone.
    """
    for attempt in range(TRIES):
        try:
            return _recorded(work, tts, replace(part, seed=other_seed(part.seed, attempt)))
        except BadEngineOutput:
            continue
    return _recorded(work, tts, replace(part, seed=other_seed(part.seed, TRIES)))


def _recorded(work: Work, tts: Synthesizer, part: Part) -> Recorded:
    """One try. Raises as `synthesize`."""
    import numpy as np

    from polydub.audio import loudness, match, repitch, signal, stretch, takes, trim
    from polydub.media.flac import write_flac
    from polydub.text import durations

    audio = _spoken(work, tts, part)
    if not np.isfinite(audio.samples).all():
        raise BadEngineOutput("the speech engine gave sound that is not finite", "try another voice or engine")
    mono = signal.resample(audio.samples.mean(axis=0, keepdims=True, dtype=np.float32), audio.rate_hz, RATE_HZ)
    mono = match.toned(mono, RATE_HZ, part.voice.tone)
    how = part.expression
    mono = repitch.repitched(mono, RATE_HZ, how.pitch, how.pitch_range)
    start, end = trim.trim(mono[0], RATE_HZ)
    if end <= start:
        raise BadEngineOutput(f"the speech engine gave no sound for {len(part.text)} characters", "try another voice or engine")
    expected_s = durations.predict(durations.prior(part.language), part.text, part.language) / part.rate
    doubts = takes.doubts(takes.Take(mono[0], RATE_HZ, start, end), expected_s)
    spoken = trim.shape(mono[0], start, end)[np.newaxis]
    if how.rate != 1:
        spoken = stretch.stretch(spoken, round(spoken.shape[1] / how.rate / trim.MILLISECOND) * trim.MILLISECOND)
    file = work.scratch / "take.flac"
    write_flac(file, spoken)
    level = round(loudness.whole(spoken), 2)
    return Recorded(work.keep(file), seconds(spoken.shape[1] / RATE_HZ), part.rate, level, doubts)


def _spoken(work: Work, tts: Synthesizer, part: Part) -> Audio:
    """What the engine gives."""
    if part.voice.references:
        return _cloned(work, tts, part)
    audio = tts.synthesize(part)
    return audio


def _cloned(work: Work, tts: Synthesizer, part: Part) -> Audio:
    clone: Callable[[Part, Sequence[Audio]], Audio] | None = getattr(tts, "clone", None)
    if clone is None:
        text = f"{part.voice.engine} cannot speak in the voice of a recording"
        raise BadSettings(text, "choose a speech engine that clones, such as --tts xtts, or a voice of its own")
    return clone(part, [_reference(str(work.path(artifact))) for artifact in part.voice.references])


@lru_cache(maxsize=16)  # the references of a voice are the same for each of its lines
def _reference(path: str) -> Audio:
    """A recording of a voice, at its own rate."""
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    from polydub.media.flac import read_flac

    told = soundfile.info(path)
    return Audio(read_flac(Path(path), 0, told.frames), told.samplerate)


@dataclass(frozen=True, slots=True)
class Hearing:
    """A take of a text, to be listened to."""

    take: Take
    text: str
    language: str


@engine_stage("hear-take", "asr", version=2)
def hear_take(work: Work, asr: Transcriber, said: Hearing) -> float:
    """How much of its text is not understood in a take: word errors / words, 0.0 (all is) upwards."""
    import numpy as np

    from polydub.audio import signal
    from polydub.media.flac import read_flac
    from polydub.text.heard import word_error

    frames = round(said.take.duration * RATE_HZ)
    pause = np.zeros((1, RATE_HZ // 5), np.float32)  # recognisers want some room around speech
    samples = np.concatenate([pause, read_flac(work.path(said.take.sound), 0, frames), pause], axis=1)
    speech = Audio(signal.resample(samples, RATE_HZ, HEAR_HZ), HEAR_HZ)
    heard = " ".join(segment.text for segment in asr.transcribe(speech, said.language))
    return round(word_error(said.text, heard, said.language), 4)


@dataclass(frozen=True, slots=True)
class Stretching:
    """A take and the length it shall have, in seconds."""

    take: Take
    duration: float


@stage("shape", version=2)
def shape(work: Work, wanted: Stretching) -> Take:
    """The take stretched to exactly the wanted length at the same pitch."""
    from polydub.audio.stretch import stretch
    from polydub.media.flac import read_flac, write_flac

    samples = read_flac(work.path(wanted.take.sound), 0, round(wanted.take.duration * RATE_HZ))
    file = work.scratch / "take.flac"
    write_flac(file, stretch(samples, round(wanted.duration * RATE_HZ)))
    return replace(wanted.take, sound=work.keep(file), duration=wanted.duration)
