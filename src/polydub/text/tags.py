"""Marks in a text that tell how it is said, such as [angry] or [slow]: found, taken out, and what they mean.

Only names of this table are marks. Any other word in brackets is left as it is: subtitles describe sounds in the same way
("[music]"), and a cue that holds nothing else is not spoken at all (`text.subtitles`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from polydub.types import PLAIN, Expression

# At full strength. Which way each goes: Murray and Arnott, "Toward the simulation of emotion in synthetic speech", JASA 93,
# 1993, table of vocal effects (anger, happiness, sadness, fear, disgust), and Scherer, "Vocal communication of emotion",
# Speech Communication 40, 2003, table 1 (also boredom, stress). How far is ours, and less than what they found: it must
# suit every voice, and a rate has to be paid back by the fit. A whisper here is soft and flat, not without voice.
EMOTIONS: Mapping[str, Expression] = MappingProxyType(
    {
        "angry": Expression(1.08, 1.0, 4.0, 1.25, "angry"),
        "happy": Expression(1.04, 1.0, 2.0, 1.25, "happy"),
        "excited": Expression(1.10, 1.5, 3.0, 1.35, "excited"),
        "sad": Expression(0.92, -0.75, -3.0, 0.8, "sad"),
        "calm": Expression(0.95, -0.5, -2.0, 0.85, "calm"),
        "afraid": Expression(1.08, 1.5, 0.0, 1.15, "afraid"),
        "disgusted": Expression(0.94, -0.75, -1.0, 1.05, "disgusted"),
        "surprised": Expression(1.0, 1.25, 1.5, 1.3, "surprised"),
        "bored": Expression(0.93, -0.5, -2.0, 0.75, "bored"),
        "serious": Expression(0.97, -0.5, 0.0, 0.9, "serious"),
        "tender": Expression(0.95, 0.25, -3.0, 0.9, "tender"),
        "whispering": Expression(0.96, 0.0, -7.0, 0.65, "whispering"),
        "shouting": Expression(0.98, 2.0, 7.0, 1.15, "shouting"),
    }
)
MANNERS: Mapping[str, Expression] = MappingProxyType(
    {
        "fast": Expression(rate=1.15),
        "slow": Expression(rate=0.87),
        "loud": Expression(energy_db=4.0),
        "soft": Expression(energy_db=-4.0),
        "high": Expression(pitch=2.0),
        "low": Expression(pitch=-2.0),
        "lively": Expression(pitch_range=1.35),
        "monotone": Expression(pitch_range=0.65),
    }
)
PAUSE = "pause"
_ALSO = {
    "angry": "anger angrily mad furious furiously",
    "happy": "happily joyful joyfully cheerful cheerfully",
    "excited": "excitedly enthusiastic enthusiastically",
    "sad": "sadly sadness sorrowful",
    "calm": "calmly relaxed",
    "afraid": "scared fearful fearfully frightened nervous nervously",
    "disgusted": "disgust",
    "surprised": "surprise shocked",
    "bored": "boredly",
    "serious": "seriously",
    "tender": "tenderly gentle gently",
    "whispering": "whisper whispers whispered",
    "shouting": "shout shouts shouted yelling yell yells",
    "fast": "faster quickly",
    "slow": "slower slowly",
    "loud": "louder loudly",
    "soft": "softer softly quietly quiet",
    "lively": "animated",
    "monotone": "flat",
}
NAMES: Mapping[str, str] = MappingProxyType(
    {name: name for name in (*EMOTIONS, *MANNERS, PAUSE)}
    | {other: name for name, all_ in _ALSO.items() for other in all_.split()}
)
_MARK = re.compile(r"\[[ \t]*([A-Za-z]{3,20})[ \t]*\]")
_SPACES = re.compile(r"[ \t]{2,}")
_BEFORE_SIGN = re.compile(r"[ \t]+([,.;:!?…])")
_SIGNS = ",.;:!?…—–-"


@dataclass(frozen=True, slots=True)
class Marked:
    """A text without its marks, and their names in order, as in EMOTIONS and MANNERS; without "pause", which is in the text."""

    text: str
    marks: tuple[str, ...] = ()


def read(text: str) -> Marked:
    """`text` and its marks, in any case and wherever they stand; a pause between two words becomes an ellipsis.

    A text that says nothing besides is left as it is, without marks: it describes something. So is one without any.
    """
    found = [m for m in _MARK.finditer(text) if m[1].casefold() in NAMES]
    if not found:
        return Marked(text)
    names = [NAMES[m[1].casefold()] for m in found]
    parts = [text[a:b] for a, b in zip([0, *(m.end() for m in found)], [*(m.start() for m in found), len(text)], strict=True)]
    said = parts[0]
    for name, part in zip(names, parts[1:], strict=True):
        said = _joined(said, part, paused=name == PAUSE)
    said = "\n".join(_BEFORE_SIGN.sub(r"\1", _SPACES.sub(" ", row)).strip() for row in said.split("\n")).strip("\n")
    if not any(c.isalnum() for c in said):
        return Marked(text)
    return Marked(said, tuple(dict.fromkeys(name for name in names if name != PAUSE)))


def names(text: str) -> tuple[str, ...]:
    """Names of the marks in a text in order, each once, "pause" among them; () for one that says nothing besides."""
    found = [NAMES[m[1].casefold()] for m in _MARK.finditer(text) if m[1].casefold() in NAMES]
    return tuple(dict.fromkeys(found)) if found and read(text).text != text else ()


def told(text: str, given: tuple[str, ...] | None, source_text: str) -> tuple[str, ...]:
    """The marks of a line: those of its own text before those that were `given` with it, before the source's."""
    return read(text).marks or given or read(source_text).marks


def _joined(before: str, after: str, *, paused: bool) -> str:
    """What stood on both sides of a mark."""
    told = before.rstrip()
    if not paused or not any(c.isalnum() for c in before) or not any(c.isalnum() for c in after):
        return f"{before} {after}"
    return f"{told}{'' if told[-1] in _SIGNS else '…'} {after}"


def meaning(marks: Iterable[str], strength: float = 1.0) -> Expression:
    """What marks mean together, of which that share (0 to 1) is taken. Unknown names mean nothing; none is PLAIN."""
    return combined([EMOTIONS.get(name) or MANNERS.get(name, PLAIN) for name in marks], strength)


def combined(several: Sequence[Expression], strength: float = 1.0) -> Expression:
    """Expressions on top of each other, at that share of their strength; the first emotion counts."""
    rate = pitch_range = 1.0
    pitch = energy_db = 0.0
    for one in several:
        rate, pitch_range = rate * one.rate, pitch_range * one.pitch_range
        pitch, energy_db = pitch + one.pitch, energy_db + one.energy_db
    emotion = next((one.emotion for one in several if one.emotion), "") if strength > 0 else ""
    return Expression(
        round(rate**strength, 3),
        round(pitch * strength, 2),
        round(energy_db * strength, 2),
        round(pitch_range**strength, 3),
        emotion,
    )
