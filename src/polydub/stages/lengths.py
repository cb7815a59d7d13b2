"""How lines are worded: what is known of each voice's pace, and which wording each line is spoken with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from polydub.stages.timing import Spoken, fit
from polydub.text import durations
from polydub.text.durations import Pace
from polydub.text.lengths import Choice, Option, Standing
from polydub.text.lengths import choose as better
from polydub.text.removable import REMOVABLE
from polydub.text.shorten import shortened
from polydub.types import Casting, Line, Placement, Voice
from polydub.wants import Timing, Wording
from polydub.work import Work, stage

SWEEPS = 12  # fits until no line wants another wording; the 160-line fixture needs 5


@dataclass(frozen=True, slots=True)
class Rules:
    """What the choice of wordings goes by."""

    timing: Timing
    wording: Wording


@dataclass(frozen=True, slots=True)
class Kept:
    """What a line said. `mark` stands for all that its choice depends on, `held`: it is to be left at that."""

    mark: str
    choice: Choice
    held: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What one run tells the next: the choices, and the paces of voices, by the voice's mark, that they were predicted with."""

    rules: Rules
    kept: tuple[Kept, ...]
    paces: Mapping[str, Pace] = field(default_factory=dict[str, Pace])


@dataclass(frozen=True, slots=True)
class Saying:
    """A line, what it says now and how long that takes, and what it has said before in this run; `held`: leave it."""

    line: Line
    now: Option
    before: tuple[Option, ...] = ()
    held: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """All lines as they are spoken at the moment. `spoken` are their phrases, `paces` by speaker.

    last: there is no time to speak anything new; only what has been spoken may be chosen.
    """

    sayings: tuple[Saying, ...]
    spoken: tuple[Spoken, ...]
    paces: Mapping[str, Pace]
    film_s: float
    last: bool = False


def shortens(line: Line, wording: Wording) -> bool:
    """Whether words may be left out of a line's text."""
    wished = wording.shorten == "all" or (wording.shorten == "machine" and not line.given)
    return wished and not line.short and line.language.partition("-")[0].casefold() in REMOVABLE


def changeable(line: Line, wording: Wording) -> bool:
    """Whether a line may say something else than its normal text. What a person locked stays."""
    return not line.locked and bool(line.short or line.long or shortens(line, wording))


def voice_mark(voice: Voice) -> str:
    """Stands for how a voice speaks; a cloned one is its recordings, whatever it is called."""
    who = [one.sha256 for one in voice.references] or voice.name
    return _mark(voice.engine, who, voice.language, sorted(voice.settings.items()))


def _mark(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@stage("learn-paces")
def learn_paces(work: Work, examples: Mapping[str, tuple[tuple[str, float], ...]], language: str) -> Mapping[str, Pace]:
    """The pace of each voice from texts and the seconds that they took; the names of the voices are the caller's."""
    return {name: durations.learn(told, language) for name, told in examples.items()}


@stage("recall-wordings", version=2)
def recall(work: Work, lines: tuple[Line, ...], casting: Casting, rules: Rules, previous: Memory | None) -> Memory:
    """What lines that may change say at first: the same as last time if nothing about them has changed, else the normal text.

    Under other rules than last time everything is chosen anew; paces of voices that are still cast are kept.
    """
    voices = {name: voice_mark(voice) for name, voice in casting.voices.items()}
    known = {kept.mark: kept.choice for kept in previous.kept} if previous and previous.rules == rules else {}
    kept: list[Kept] = []
    for x in lines:
        mark = _mark(x.id, x.start, x.end, x.text, x.short, x.long, x.given, voices[x.speaker])
        kept.append(Kept(mark, known.get(mark, Choice(x.id, x.text)), mark in known))
    paces = {mark: pace for mark, pace in (previous.paces.items() if previous else ()) if mark in voices.values()}
    return Memory(rules, tuple(kept), paces)


@stage("choose-wordings")
def choose(work: Work, lines: Round, rules: Rules) -> tuple[Choice, ...]:
    """What each line of the round should say, in their order.

    Lines change until no other wording brings one nearer to comfortable. What came out longer than what it was to shorten,
    or shorter than what it was to lengthen, is taken back.
    """
    now, barred = _taken_back(lines)
    for _ in range(SWEEPS):
        placed = _fit(work, lines, now, rules.timing)
        changes = better(_standings(lines, now, placed, rules, barred), rules.timing.comfortable_rate)
        if not changes:
            break
        barred |= {(id_, now[id_].choice.text) for id_, option in changes.items() if option.seconds < now[id_].seconds}
        now.update(changes)
    return tuple(now[s.line.id].choice for s in lines.sayings)


def _taken_back(lines: Round) -> tuple[dict[str, Option], set[tuple[str, str]]]:
    """What lines say, or said before where the other wording was no gain; and what none is to say again."""
    now, barred = dict[str, Option](), set[tuple[str, str]]()
    for s in lines.sayings:
        now[s.line.id] = s.now
        pace, language = lines.paces[s.line.speaker], s.line.language
        for last in () if s.held else s.before[-1:]:
            wanted = durations.predict(pace, s.now.choice.text, language) < durations.predict(pace, last.choice.text, language)
            if wanted != (s.now.seconds < last.seconds):
                now[s.line.id] = last
                barred.add((s.line.id, s.now.choice.text))
    return now, barred


def _fit(work: Work, lines: Round, now: Mapping[str, Option], timing: Timing) -> tuple[Placement, ...]:
    """Where everything would lie if lines said that."""
    ratios = {s.line.id: now[s.line.id].seconds / s.now.seconds for s in lines.sayings if s.now.seconds > 0}
    spoken = tuple(replace(x, natural_s=round(x.natural_s * ratios.get(_line(x), 1.0), 3)) for x in lines.spoken)
    told = len(work.notices)
    placed = fit.function(work, spoken, lines.film_s, timing, None)
    del work.notices[told:]  # of a film that may never be heard like that
    return placed


def _line(phrase: Spoken) -> str:
    return phrase.id.partition(".")[0]


def _standings(
    lines: Round, now: Mapping[str, Option], placed: Sequence[Placement], rules: Rules, barred: set[tuple[str, str]]
) -> list[Standing]:
    """The lines in order of time; of a line in several phrases the sums."""
    slots, lasts, starts = dict[str, float](), dict[str, float](), dict[str, float]()
    for x, p in zip(lines.spoken, placed, strict=True):
        slots[p.line] = slots.get(p.line, 0.0) + x.end - x.start
        lasts[p.line] = lasts.get(p.line, 0.0) + p.duration
        starts[p.line] = min(p.start, starts.get(p.line, p.start))
    ends = {p.line: p.start + p.duration for p in sorted(placed, key=lambda p: p.start)}
    order = sorted(starts, key=lambda id_: (starts[id_], id_))
    after = {a: starts[b] for a, b in pairwise(order)}
    sayings = {s.line.id: s for s in lines.sayings}
    found: list[Standing] = []
    for id_ in (x for x in order if x in sayings):
        free = after.get(id_, lines.film_s) - rules.timing.gap_s - ends[id_]
        room = max(0.0, min(slots[id_], lasts[id_] + free))
        bare = Standing(id_, lasts[id_], room, now[id_])
        found.append(replace(bare, others=_others(sayings[id_], bare, lines, rules, barred)))
    return found


def _others(saying: Saying, standing: Standing, lines: Round, rules: Rules, barred: set[tuple[str, str]]) -> tuple[Option, ...]:
    """What else a line may say, as far as that has not been found wanting."""
    line, said = saying.line, (saying.now.choice.text, saying.now.seconds)
    if saying.held or line.locked:
        return ()
    options = {o.choice.text: o for o in (saying.now, *saying.before)}
    if not lines.last:
        pace = lines.paces[line.speaker]
        for choice in _wordings(line, standing, pace, rules):
            took = durations.rescaled(pace, choice.text, said, line.language)
            options.setdefault(choice.text, Option(choice, took))
    return tuple(o for text, o in options.items() if text != standing.now.choice.text and (line.id, text) not in barred)


def _wordings(line: Line, standing: Standing, pace: Pace, rules: Rules) -> list[Choice]:
    wordings = [Choice(line.id, line.text)]
    wordings += [Choice(line.id, line.short, "short")] if line.short else []
    wordings += [Choice(line.id, line.long, "long")] if line.long else []
    rate = rules.timing.comfortable_rate
    if standing.rate > rate and shortens(line, rules.wording):
        known = (standing.now.choice.text, standing.now.seconds)
        whole = durations.rescaled(pace, line.text, known, line.language)
        cut = shortened(line.text, line.language, rate * standing.placed_s / whole if whole > 0 else 1.0)
        wordings += [Choice(line.id, cut[0], "shortened", cut[1])] if cut else []
    return wordings
