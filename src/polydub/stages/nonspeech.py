"""What people utter besides words: laughs, sobs, songs, applause of the original, which a dub keeps.

The rule, from what must never happen to what may: the original's speech is not heard beside the dub.
- Where a line is said, its dialogue is taken out of the sound, as ever; so it is under every take of the dub.
- What a given text calls a song or a sound (segments "song" and "nonverbal") stays, also close to lines.
- Where nobody has a line: what the speech detector takes for speech, while the text was recognised and not given, may be a line
  that recognition missed, and goes (told). A text that a person gave decides itself what is dubbed: there it stays (told).
- Everything else in the dialogue stem stays: between two lines, and between the words of a line where their times were heard,
  only if it is loud enough and long enough to be meant, and the detector is sure that nobody speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polydub.audio.mix import BRIDGE_S, PAD_S, RAMP_S
from polydub.spans import bridged
from polydub.types import Energies, Notice, Segment, Span, seconds
from polydub.work import Work, stage

WORD_S = 0.2  # words are said so far outside of the times at which they were heard
LEAST_S = 0.5  # shorter sounds between words are breath, or a word's own end; the fades take 0.4 s of it
BELOW_TALK_LU = 15.0  # quieter dialogue between lines is what separation left
MISSED_S = 0.5  # shorter speech without a line is not taken out: detectors find it in coughs and clicks
NEAR_S = 0.3  # so far around a line speech belongs to it
SPEAKING = ("speak", "talk", "chatter", "whisper", "murmur", "indistinct", "shout", "call", "voice")


@dataclass(frozen=True, slots=True)
class Heard:
    """What decides. Spans are in order.

    Attributes: lines: where the original says them. segments: of the script. close: surely speech. far: perhaps speech.
    energies: of the separated dialogue. recognised: the text was heard by an engine. talk_lufs: of the dialogue.
    """

    lines: tuple[Span, ...]
    segments: tuple[Segment, ...]
    close: tuple[Span, ...]
    far: tuple[Span, ...]
    energies: tuple[Energies, ...]
    recognised: bool
    talk_lufs: float


@dataclass(frozen=True, slots=True)
class Nonspeech:
    """Where the original's dialogue is left in the sound although a line is near, and where it goes although none is.

    Attributes: seconds: of what is heard in the dialogue and stays, in all of the film.
    """

    kept: tuple[Span, ...] = ()
    gone: tuple[Span, ...] = ()
    seconds: float = 0.0


NOTHING = Nonspeech()


@stage("nonspeech")
def nonspeech(work: Work, heard: Heard) -> Nonspeech:
    """Decides by the rule above. Speech without a line is a notice."""
    spoken = _spoken(heard)
    told = bridged([s for s in heard.segments if _sounds(s)], 0.0)
    loud = _loud(heard)
    missed = [s for s in _without(heard.close, [*_wide(heard.lines, NEAR_S), *told]) if s.duration >= MISSED_S]
    gone = tuple(missed) if heard.recognised else ()
    sure = bridged(_without(loud, heard.far), WORD_S)
    free = _without([*told, *(s for s in sure if s.duration >= LEAST_S)], [*spoken, *gone])
    kept = tuple(s for s in free if s.duration >= LEAST_S)
    lines = _without(_wide(bridged(heard.lines, BRIDGE_S), PAD_S + RAMP_S), kept)
    stays = [s for s in _without(loud, [*lines, *missed]) if s.duration >= NEAR_S]
    if missed:
        work.notice(_missed(missed, heard.recognised))
    return Nonspeech(kept, gone, seconds(sum(s.duration for s in stays)))


def _missed(missed: Sequence[Span], recognised: bool) -> Notice:
    total, first = sum(s.duration for s in missed), missed[0].start
    text = f"somebody seems to speak for {total:.1f} s where there is no line, first at {first:.1f} s"
    if recognised:
        return Notice("speech-without-line", f"{text}: nothing was understood there, and it is taken out of the sound")
    return Notice("speech-without-line", f"{text}: the given text has nothing there, and it stays in the sound", "info")


def _sounds(segment: Segment) -> bool:
    """Whether a person says that this is a song, or a sound that is not speech: "[whispering]" may hold words."""
    if segment.kind == "song":
        return True
    return segment.kind == "nonverbal" and not any(word in segment.text.casefold() for word in SPEAKING)


def _spoken(heard: Heard) -> tuple[Span, ...]:
    """Where the words of lines are: the words that were heard, else the whole of a line."""
    timed = [s for s in heard.segments if s.kind == "speech" and s.words and not any(w.estimated for w in s.words)]
    known = {(s.start, s.end): s.words for s in timed}
    words = [w for line in heard.lines for w in known.get((line.start, line.end), ())]
    spans = [line for line in heard.lines if (line.start, line.end) not in known]
    return bridged(_wide([*spans, *words], WORD_S), LEAST_S)


def _loud(heard: Heard) -> tuple[Span, ...]:
    """Where the dialogue is loud enough to be meant, in cells of 100 ms; gaps of 0.2 s are closed."""
    import numpy as np

    from polydub.audio import loudness

    cells = loudness.join(heard.energies) / loudness.CELL
    least = 10 ** ((max(heard.talk_lufs - BELOW_TALK_LU, -60.0) + 0.691) / 10)
    return bridged([Span(n / 10, (n + 1) / 10) for n in np.flatnonzero(cells > least).tolist()], WORD_S + 0.05)


def holes(nonspeech: Nonspeech, takes: Sequence[Span]) -> tuple[Span, ...]:
    """Where what is kept is heard: not under a take, nor where too little would be left of it."""
    return tuple(s for s in _without(nonspeech.kept, bridged(takes, 0.0)) if s.duration >= LEAST_S)


def without(spans: Sequence[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """What of `spans` lies outside `others`, in order."""
    return tuple(_without(spans, others))


def _wide(spans: Sequence[Span], by_s: float) -> list[Span]:
    return [Span(max(0.0, s.start - by_s), s.end + by_s) for s in spans]


def _without(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """What of `spans` is outside `others`, in order: one sweep, since films have thousands of each."""
    walls = bridged(others, 0.0)
    left: list[Span] = []
    first = 0
    for span in bridged(spans, 0.0):
        at = span.start
        while first < len(walls) and walls[first].end <= span.start:
            first += 1
        n = first
        while n < len(walls) and walls[n].start < span.end:
            if walls[n].start > at:
                left.append(Span(seconds(at), seconds(walls[n].start)))
            at = max(at, walls[n].end)
            n += 1
        if at < span.end:
            left.append(Span(seconds(at), seconds(span.end)))
    return [s for s in left if s.end > s.start]
