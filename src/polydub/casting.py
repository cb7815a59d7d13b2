"""Casting: whose voice each speaker of a film gets, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polydub.listening import Listened
from polydub.matching import match_voices
from polydub.runner import Run
from polydub.stages import match, speak
from polydub.types import Casting, Line, Turn
from polydub.wants import Wanted


@dataclass(frozen=True)
class Cast:
    """The voices, and how each was found, by speaker."""

    casting: Casting
    reasons: Mapping[str, str]


def matches(run: Run, want: Wanted) -> bool:
    """Whether voices are matched to the speakers: it is wished, and the speech engine has a choice of voices."""
    return want.voicing.mode == "match" and "stock" in run.tools["tts"].engine.info.features


def cast_voices(run: Run, listened: Listened, lines: Sequence[Line], want: Wanted) -> Cast:
    """A voice for each speaker: the wished one, else one that is matched to them, else the engine's next."""
    script, named = listened.given.script, want.voicing.voices
    wishes = {"*": "", **named} if want.voicing.mode == "single" else named
    voices = dict(run.step(speak.cast, script.speakers, want.target, wishes).voices)
    wished = {s.id for s in script.speakers if s.id in named or "*" in named}
    reasons = {name: "wished" if name in wished else f"by --voice-mode {want.voicing.mode}" for name in voices}
    if not matches(run, want) or listened.ear is None:
        return Cast(Casting(voices), reasons)
    turns = listened.turns or tuple(Turn(s.start, s.end, s.speaker) for s in script.segments)
    names = [s.id for s in script.speakers if s.id not in wished]
    portraits = run.map(match.portray, [match.best_excerpts(turns, listened.ear.close, name) for name in names])
    found = match_voices(
        run, dict(zip(names, portraits, strict=True)), want.target, {name: voices[name] for name in sorted(wished)}
    )
    run.release("embedding")
    voices.update({name: one.voice for name, one in found.items()})
    reasons.update({name: one.reason for name, one in found.items()})
    return Cast(Casting(voices), reasons)
