"""How lines are said: by marks in their text, by how the original says them, by what a person asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from polydub.audio import prosody
from polydub.audio.prosody import Told, Usual
from polydub.runner import Run
from polydub.slowing import Footage
from polydub.spans import bridged
from polydub.stages import acting, listen, phrasing
from polydub.stages.acting import Acted
from polydub.text import durations, tags
from polydub.text.syllables import syllables
from polydub.types import PLAIN, Expression, Line, Notice, Segment, Span, Speech
from polydub.wants import Wanted

SHORTEST_S, LONGEST_S = 0.3, 30.0  # of a line that is measured
UNSEPARATED = 0.5  # share of what is heard that counts where music and noise are heard with it
SAME_TIME = 0.5  # of a line and a segment, from which a line that was cut anew is said as that segment


@dataclass(frozen=True)
class _Heard:
    """What the original told. Attributes: told, departures: by id of segment. usual: by speaker."""

    told: Mapping[str, Told] = field(default_factory=dict[str, Told])
    usual: Mapping[str, Usual] = field(default_factory=dict[str, Usual])
    departures: Mapping[str, Expression] = field(default_factory=dict[str, Expression])
    share: float = 1.0


def expressed(run: Run, film: Footage, want: Wanted) -> Footage:
    """`film` whose lines tell how they are said, and whose texts have no marks.

    What a person set on a line counts alone, an emotion like its mark at the wanted strength. Else marks (modes text and auto)
    and the original (source and auto) count at that strength, marks where both tell the same thing, and on top of them what
    is asked for the speaker.
    """
    how, given = want.acting, film.listened.given
    by_hand = {id_ for id_, edit in run.book.lines.items() if edit.expression} if run.book else set[str]()
    listens = how.mode in ("source", "auto") and how.strength > 0
    heard = _hear(run, film) if listens else _Heard()
    lines: list[Line] = []
    acted: dict[str, Acted] = {}
    for line in film.lines:
        read, marks = tags.read(line.text), tags.told(line.text, given.marks.get(line.id), line.source_text)
        one = _acted(line, marks if how.mode in ("text", "auto") else (), heard, want, by_hand=line.id in by_hand)
        if one.said != PLAIN or listens:
            acted[line.id] = one
        lines.append(_unmarked(line, read.text, one.said))
    if tuple(lines) == film.lines and not acted:
        return film
    return replace(film, lines=tuple(lines), acted=acted)


def _unmarked(line: Line, text: str, said: Expression) -> Line:
    source, short, long = (tags.read(x).text for x in (line.source_text, line.short, line.long))
    return replace(line, text=text, source_text=source, short=short, long=long, expression=said)


def _acted(line: Line, marks: Sequence[str], heard: _Heard, want: Wanted, *, by_hand: bool = False) -> Acted:
    """How one line is said, and why. `by_hand`: a person set it, be it plain."""
    how = want.acting
    if by_hand or line.expression != PLAIN:
        return Acted(_by_hand(line.expression, how.strength), set_by_hand=True, marks=tuple(marks))
    id_ = _segment_of(line, heard)
    told, departure = heard.told.get(id_), heard.departures.get(id_)
    source = prosody.taken_over(departure, how.strength * heard.share) if departure else PLAIN
    asked = how.asked.get(line.speaker, how.asked.get("*", PLAIN))
    said = tags.combined([_over(tags.meaning(marks, how.strength), source), asked])
    usual = heard.usual.get(told.speaker) if told else None
    return Acted(said, False, tuple(marks), told.prosody if told else None, usual, departure, asked)


def _by_hand(said: Expression, strength: float) -> Expression:
    """What a person set; an emotion is said as its mark would be, and the rest on top of it."""
    if said.emotion not in tags.EMOTIONS:
        return said
    felt = tags.meaning((said.emotion,), strength)
    return replace(tags.combined([felt, replace(said, emotion="")]), emotion=said.emotion)


def _over(marked: Expression, source: Expression) -> Expression:
    """What the marks tell, and the original in what they tell nothing about."""
    return Expression(
        source.rate if marked.rate == 1 else marked.rate,
        marked.pitch or source.pitch,
        marked.energy_db or source.energy_db,
        source.pitch_range if marked.pitch_range == 1 else marked.pitch_range,
        marked.emotion,
    )


def _segment_of(line: Line, heard: _Heard) -> str:
    """The id of the segment that a line says: its own, or that of the time it lies in, where a person has cut it anew."""
    if line.id in heard.told or not heard.told:
        return line.id
    near = max(heard.told.values(), key=line.overlap)
    return near.id if line.overlap(near) >= SAME_TIME * line.duration > 0 else line.id


def _hear(run: Run, film: Footage) -> _Heard:
    """What the original's own lines measure, whatever a person has since changed in them; what cannot be told is a notice.

    A line that somebody else is said to speak is measured against what is usual for that one, whose usual stays as it was.
    """
    listened = film.as_heard[0]
    if listened.ear is None:
        text = "nobody listened to the film, so its lines are not said as in the original"
        run.note(Notice("expression-unheard", text))
        return _Heard()
    stems = listened.stems.result() if listened.stems else ()
    apart = any(block.dialogue for block in stems)
    sound = phrasing.clearest(listened.ear.heard.sound, stems)
    detected = run.map(listen.detect, listen.nearby(sound), listened.ear.heard.true_peak)
    speech = Speech(tuple(d.sound for d in detected), sum(d.frames for d in detected), ())
    script = listened.given.script
    spoken = [s for s in script.segments if s.kind == "speech" and SHORTEST_S <= s.duration <= LONGEST_S]
    found = run.map(acting.prosody, [listen.excerpt(speech, s.start, s.end) for s in spoken])
    told = [
        Told(s.start, s.end, s.id, s.speaker, *_length(s.text, script.language), one, share)
        for s, one, share in zip(spoken, found, _covered(spoken), strict=True)
    ]
    usual = prosody.usual(told)
    _note(run, [s.id for s in script.speakers], usual, apart=apart)
    speakers = {line.id: line.speaker for line in film.lines}
    told = [replace(one, speaker=speakers.get(one.id, one.speaker)) for one in told]
    departures = prosody.deviations(told, usual)
    return _Heard({one.id: one for one in told}, usual, departures, 1.0 if apart else UNSEPARATED)


def _note(run: Run, names: Sequence[str], usual: Mapping[str, Usual], *, apart: bool) -> None:
    unknown = [name for name in names if name not in usual]
    if unknown:
        some = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        text = f"too little is clearly heard of {some} to tell how they usually speak, so they do not speak as in the original"
        run.note(Notice("expression-unheard", text, "warning" if len(unknown) == len(names) else "info"))
    if usual and not apart:
        text = "how the original speaks was heard in its whole sound, since no dialogue was taken out of it; it counts half"
        run.note(Notice("expression-unseparated", text, "info"))


def _length(text: str, language: str) -> tuple[int, float]:
    """Syllables of a text, and the seconds that it takes an average voice without its pauses."""
    pace = replace(durations.prior(language), pause_s=0.0)
    return sum(syllables(word, language) for word in text.split()), durations.predict(pace, text, language)


def _covered(segments: Sequence[Segment]) -> list[float]:
    """The share of each segment in which somebody else speaks, too; segments are in order of their start."""
    shares: list[float] = []
    longest = max((s.duration for s in segments), default=0.0)
    for n, one in enumerate(segments):
        others: list[Span] = []
        for step in (-1, 1):
            m = n + step
            while 0 <= m < len(segments) and one.start - longest < segments[m].start < one.end:
                if segments[m].speaker != one.speaker and one.overlap(segments[m]) > 0:
                    others.append(segments[m])
                m += step
        shares.append(sum(one.overlap(s) for s in bridged(others, 0.0)) / one.duration if others else 0.0)
    return shares


def louder(film: Footage) -> dict[str, float]:
    """By line id, dB that lines are said louder than their scene; those that are not are left out."""
    return {line.id: line.expression.energy_db for line in film.lines if line.expression.energy_db}
