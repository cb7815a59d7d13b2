"""The engine's own voices: named, next in turn, kept from the last run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from polydub.engines.base import Synthesizer
from polydub.errors import BadSettings
from polydub.stages import speak
from polydub.types import Casting, Notice, Span, Speaker, Voice
from polydub.work import Work, engine_stage


@engine_stage("cast", "tts", version=3)
def cast(work: Work, tts: Synthesizer, speakers: tuple[Speaker, ...], language: str, taken: tuple[Voice, ...]) -> Casting:
    """A voice for each speaker: the next of the engine's list, so that all differ from each other and from those `taken`.

    Where there are more speakers than voices, voices are varied, and shared only when that is not enough; both with notices.
    Raises: BadSettings when the engine has no voice of its own.
    """
    voices = _listed(tts, language)
    names = {voice.name for voice in taken if not voice.references}
    free = [voice for voice in voices if voice.name not in names]
    varied = [v for v in _varied(tts, voices) if v not in taken] if len(speakers) > len(free) else []
    chosen: dict[str, Voice] = {}
    for number, speaker in enumerate(speakers):
        if number < len(free):
            chosen[speaker.id] = free[number]
        elif number - len(free) < len(varied):
            chosen[speaker.id] = varied[number - len(free)]
            text = f"{speaker.id} has a variation of a voice that another speaker has: there are only"
            work.notice(Notice("voice-varied", f"{text} {_voices(voices)} in {language}", "info"))
        else:
            chosen[speaker.id] = voices[number % len(voices)]
            text = f"{speaker.id} shares a voice: {len(speakers)} speakers, {len(voices)} different voices in {language}"
            work.notice(Notice("voice-shared", text))
    return Casting(chosen)


def _listed(tts: Synthesizer, language: str) -> list[Voice]:
    voices = list(tts.voices(language))
    if not voices:
        text = f"the speech engine has no voice of its own in {language}"
        raise BadSettings(text, "give recordings by --voice SPEAKER=FILE or --voice-ref-dir, or choose another engine")
    return voices


def _voices(voices: Sequence[Voice]) -> str:
    return f"{len(voices)} voice{'s' * (len(voices) > 1)}"


# Equalisers that make one voice two more: darker and brighter by 8 dB from 160 Hz to 4 kHz, within match.tone's own limits.
TILTS = (tuple(round(4 - 8 * n / 19, 1) for n in range(20)), tuple(round(8 * n / 19 - 4, 1) for n in range(20)))


def _varied(tts: Synthesizer, voices: Sequence[Voice]) -> list[Voice]:
    """Variations of all voices: the engine's own where it has any, which change pitch and throat, else by equalisers."""
    near: Callable[[Voice], Sequence[Voice]] | None = getattr(tts, "near", None)
    if near is not None:
        found = [list(near(voice)) for voice in voices]
    else:
        found = [[replace(voice, tone=tilt) for tilt in TILTS] for voice in voices]
    return [voice for some in zip_longest(*found) for voice in some if voice is not None and voice not in voices]


@dataclass(frozen=True, slots=True)
class Named:
    """A voice by its name. Attributes: listed: the engine says that it has it; else it may know it all the same."""

    voice: Voice
    listed: bool


@engine_stage("name-voices", "tts")
def named(work: Work, tts: Synthesizer, names: tuple[str, ...], language: str) -> tuple[Named, ...]:
    """The voice of each name; "" is the engine's first."""
    voices = list(tts.voices(language)) or [Voice("", "", language)]
    own = {voice.name for voice in voices if voice.name}
    return tuple(Named(speak.voice(voices, name or None), not name or name in own) for name in names)


@engine_stage("keep-voices", "tts")
def keep(
    work: Work, tts: Synthesizer, speaking: tuple[Speaking, ...], language: str, previous: Mapping[str, Kept] | None
) -> Mapping[str, Kept]:
    """The voices of the last run that speakers keep, by their present names; only those that the engine still has.

    Somebody is who they were when the name is the same, or else when they speak at the same times: names such as SPEAKER_00
    change with the order in which people are first heard.
    """
    if not previous:
        return {}
    stock: Callable[[str], Sequence[Voice]] | None = getattr(tts, "stock", None)
    known = {v.name for v in (*tts.voices(language), *(stock(language) if stock else ()))}
    engines = {v.engine for v in tts.voices(language)}
    usable = [
        k for k in previous.values() if k.voice.engine in engines and k.voice.name in known and k.voice.language == language
    ]
    return _recognised(speaking, usable)


@dataclass(frozen=True, slots=True)
class Speaking:
    """Somebody in the film and when they speak, in film seconds. Attributes: told: a person or a text gave the name."""

    speaker: str
    spans: tuple[Span, ...]
    told: bool = True


@dataclass(frozen=True, slots=True)
class Kept:
    """The voice somebody had in a run. Attributes: way: how it was found; reason: as the report tells."""

    speaking: Speaking
    voice: Voice
    way: str
    reason: str


SAME_SHARE = 0.5  # of the time in which either is heard, both speak: they are one


def _recognised(now: Sequence[Speaking], before: Sequence[Kept]) -> dict[str, Kept]:
    names = {kept.speaking.speaker: kept for kept in before if kept.speaking.told}
    found = {one.speaker: names[one.speaker] for one in now if one.told and one.speaker in names}
    pairs = [
        (share, a, b)
        for a, one in enumerate(now)
        for b, kept in enumerate(before)
        if one.speaker not in found and kept not in found.values()
        if (share := _together(one.spans, kept.speaking.spans)) >= SAME_SHARE
    ]
    for _, a, b in sorted(pairs, key=lambda p: (-p[0], p[1], p[2])):
        if now[a].speaker not in found and before[b] not in found.values():
            found[now[a].speaker] = before[b]
    return {one.speaker: found[one.speaker] for one in now if one.speaker in found}


def _together(one: Sequence[Span], other: Sequence[Span]) -> float:
    """Of the time in which either speaks, the share in which both do; both in order of time."""
    both, at = 0.0, 0
    for span in one:
        while at < len(other) and other[at].end <= span.start:
            at += 1
        for n in range(at, len(other)):
            if other[n].start >= span.end:
                break
            both += span.overlap(other[n])
    either = sum(s.duration for s in one) + sum(s.duration for s in other) - both
    return both / either if either > 0 else 0.0
