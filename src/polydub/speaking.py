"""From lines to placed takes: which wording each line is spoken with, in which phrases, and how they fit into the film."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from polydub.recording import Booth
from polydub.runner import Run
from polydub.stages import lengths, phrasing, speak, timing
from polydub.stages.phrasing import Mouth
from polydub.stages.timing import Held
from polydub.text import durations
from polydub.text.durations import Pace
from polydub.text.lengths import Choice, Option
from polydub.text.words import speakable
from polydub.types import Casting, Line, Notice, Part, Phrase, Placement, Take
from polydub.wants import Wanted

CALIBRATION = 12  # lines of a voice that are spoken to learn its pace, before it is known what the others should say
ROUNDS = 2  # times that lines are spoken anew in other words, after all have been heard


@dataclass(frozen=True)
class Task:
    """Lines to be spoken into a film of `film_s` seconds.

    Attributes: mouths: when they are audible in it, by line id. draft: the film may yet change, so that only the choice of
    words counts and no take is shaped. settled: what was said in the draft; the lines say the same again. check: how takes
    are looked at: not at all, by their sound, or by a recogniser (`run.tools["asr"]`) besides. held: what a person has fixed,
    by line id; what is recorded in it is not spoken again.
    """

    lines: Sequence[Line]
    casting: Casting
    film_s: float
    mouths: Mapping[str, Mouth] = field(default_factory=dict[str, Mouth])
    draft: bool = False
    settled: Said | None = None
    check: Literal["off", "basic", "recognise"] = "basic"
    held: Mapping[str, Held] = field(default_factory=dict[str, Held])


@dataclass(frozen=True)
class Said:
    """What is heard of the dub.

    Attributes: phrases: what is spoken as one take each. choices: what each line says, by line id. natural: the takes at the
    voices' own rate, takes: the same at the lengths of their placements, both by phrase id; asked: those the engine spoke at
    another rate for it. paces: what was learnt of the
    speakers' voices; empty where no line could have said anything else. expected: the paces by which phrases were cut.
    """

    phrases: tuple[Phrase, ...]
    choices: Mapping[str, Choice]
    natural: Mapping[str, Take]
    takes: Mapping[str, Take]
    placed: tuple[Placement, ...]
    paces: Mapping[str, Pace]
    expected: Mapping[str, Pace]
    asked: Mapping[str, Take] = field(default_factory=dict[str, Take])


def speak_lines(run: Run, task: Task, want: Wanted) -> Said:
    """Speaks all lines that have a text and fits them into the film.

    Lines that would be hurried say something shorter where they can, lines with much room something longer; nothing is spoken
    twice where that is not so. What a line said in the last run it says again unless something about it has changed.
    """
    lines = tuple(x for x in task.lines if speakable(x.text))
    mute = sum(bool(x.text.strip()) for x in task.lines) - len(lines)
    if mute and not task.draft:
        text = f"nothing is spoken for {mute} line{'s' * (mute > 1)} without a letter or digit"
        run.note(Notice("unspeakable", text, "info"))
    studio = _Studio(run, replace(task, lines=lines), want)
    free = tuple(x for x in lines if lengths.changeable(x, want.wording) and x.id not in studio.recorded)
    if task.settled:
        studio.choices.update(task.settled.choices)
        studio.paces.update(task.settled.expected)
        paces = task.settled.paces
    else:
        paces = _worded(studio, free) if free else {}
    phrases, natural = studio.speak()
    spoken = timing.pinned(timing.spoken(phrases, natural), lines, studio.held, want.timing)
    if task.draft:
        placed = run.step(timing.draft_fit, spoken, task.film_s, want.timing)
        return Said(phrases, studio.choices, natural, {}, placed, paces, studio.paces)
    placed = run.step(timing.fit, spoken, task.film_s, want.timing, run.previous("placed"))
    shorter = sum(choice.kind == "shortened" for choice in studio.choices.values())
    if shorter:
        text = f"{shorter} line{'s' * (shorter > 1)} lost words that say little, so as not to be hurried"
        run.note(Notice("shortened", text, "info"))
    takes, asked = _shaped(studio, phrases, natural, placed)
    return Said(phrases, studio.choices, natural, takes, placed, paces, studio.paces, asked)


class _Studio:
    """The lines of a film, what each says at the moment, and what has been spoken."""

    def __init__(self, run: Run, task: Task, want: Wanted) -> None:
        self.run, self.task, self.want = run, task, want
        self.by_id = {x.id: x for x in task.lines}
        self.choices = {x.id: Choice(x.id, x.text) for x in task.lines}
        self.paces = {name: durations.prior(want.target) for name in task.casting.voices}
        self.booth = Booth(run, task.check)
        self.held = {id_: held.within(self.by_id[id_]) for id_, held in task.held.items() if id_ in self.by_id}
        self.recorded = {id_: held for id_, held in self.held.items() if held.phrases}
        self.foreign = {*self.recorded, *task.casting.lines}  # lines that tell nothing of their speaker's voice
        self._takes = {(p.id, p.text): held.takes[p.id][0] for held in self.recorded.values() for p in held.phrases}

    def part(self, phrase: Phrase, rate: float = 1.0) -> Part:
        """Exactly what the engine needs to speak a phrase."""
        return speak.part(replace(self.by_id[phrase.line], text=phrase.text), self.task.casting, rate)

    def phrases(self) -> tuple[Phrase, ...]:
        """What is to be spoken at the moment."""
        worded = [replace(x, text=self.choices[x.id].text) for x in self.task.lines]
        new = phrasing.phrases(worded, self.task.mouths, self.predict, self.want.timing.comfortable_rate)
        by_line = {line: tuple(some) for line, some in groupby(new, lambda p: p.line)}
        by_line |= {id_: held.phrases for id_, held in self.recorded.items()}
        return tuple(p for some in by_line.values() for p in some)

    def predict(self, line: Line, text: str) -> float:
        """Seconds that a text takes in a line's voice."""
        return durations.predict(self.paces[line.speaker], text, line.language)

    def speak(self) -> tuple[tuple[Phrase, ...], dict[str, Take]]:
        """The phrases and their takes, by id; only what has not been heard in this run is asked for."""
        phrases = self.phrases()
        new = [p for p in phrases if (p.id, p.text) not in self._takes]
        if new:
            takes = self.booth.record([self.part(p) for p in new], [p.line for p in new])
            self._takes.update({(p.id, p.text): take for p, take in zip(new, takes, strict=True)})
        return phrases, {p.id: self._takes[p.id, p.text] for p in phrases}

    def learn(self, examples: Mapping[str, Sequence[tuple[str, float]]]) -> dict[str, Pace]:
        """Paces from texts and seconds, by the mark of the voice."""
        told = {mark: tuple(some) for mark, some in examples.items()}
        return dict(self.run.step(lengths.learn_paces, told, self.want.target))

    def marks(self) -> dict[str, str]:
        """The mark of each speaker's voice."""
        return {name: lengths.voice_mark(voice) for name, voice in self.task.casting.voices.items()}


def _worded(studio: _Studio, free: tuple[Line, ...]) -> dict[str, Pace]:
    """Settles what the `free` lines say; gives what was learnt of the voices, by speaker."""
    run, marks = studio.run, studio.marks()
    rules = lengths.Rules(studio.want.timing, studio.want.wording)
    memory = run.step(lengths.recall, free, studio.task.casting, rules, run.previous("choices"))
    held = {kept.choice.id for kept in memory.kept if kept.held}
    studio.choices.update({kept.choice.id: kept.choice for kept in memory.kept})
    paces = dict(memory.paces)
    offered = [x for x in free if x.short or x.long]
    if offered:
        paces |= _calibrated(studio, marks, paces)
        studio.paces.update({name: paces[mark] for name, mark in marks.items() if mark in paces})
    if any(x.id not in held for x in offered):
        _choose_by_prediction(studio, free, held, rules)
    learnt = _choose_by_ear(studio, free, held, rules)
    kept = tuple(replace(k, choice=studio.choices[k.choice.id], held=False) for k in memory.kept)
    run.record("choices", lengths.Memory(rules, kept, paces))
    return learnt


def _calibrated(studio: _Studio, marks: Mapping[str, str], known: Collection[str]) -> dict[str, Pace]:
    """The paces of voices that are not `known`, from lines of each that lie all over the film."""
    by_voice: dict[str, list[Line]] = {}
    for line in studio.task.lines:
        if marks[line.speaker] not in known and line.id not in studio.foreign:
            by_voice.setdefault(marks[line.speaker], []).append(line)
    picked = {mark: _spread(lines, CALIBRATION) for mark, lines in by_voice.items()}
    lines = [line for some in picked.values() for line in some]
    if not lines:
        return {}
    parts = [speak.part(line, studio.task.casting) for line in lines]
    heard = dict(zip((x.id for x in lines), studio.booth.record(parts, [x.id for x in lines]), strict=True))
    return studio.learn({mark: [(x.text, heard[x.id].duration) for x in some] for mark, some in picked.items()})


def _spread(lines: Sequence[Line], most: int) -> list[Line]:
    """At most so many of the lines, the first and the last among them, evenly from their order."""
    if len(lines) <= most:
        return list(lines)
    return [lines[round(n * (len(lines) - 1) / (most - 1))] for n in range(most)]


def _choose_by_prediction(studio: _Studio, free: Sequence[Line], held: Collection[str], rules: lengths.Rules) -> None:
    """What the lines had better say, before any but those of the calibration has been spoken."""
    phrases = studio.phrases()
    took = {p.id: studio.predict(studio.by_id[p.line], p.text) for p in phrases}
    spoken = tuple(timing.Spoken(p.id, p.speaker, p.start, p.end, round(took[p.id], 3)) for p in phrases)
    lasts = _lasts(spoken)
    now = {x.id: Option(studio.choices[x.id], round(lasts.get(x.id, 0.0), 3)) for x in free}
    sayings = tuple(lengths.Saying(x, now[x.id], (), x.id in held) for x in free)
    lines = lengths.Round(sayings, spoken, studio.paces, studio.task.film_s)
    studio.choices.update({choice.id: choice for choice in studio.run.step(lengths.choose, lines, rules)})


def _lasts(spoken: Sequence[timing.Spoken]) -> dict[str, float]:
    """Seconds of each line, all its phrases together."""
    lasts: dict[str, float] = {}
    for x in spoken:
        id_ = x.id.partition(".")[0]
        lasts[id_] = lasts.get(id_, 0.0) + x.natural_s
    return lasts


def _choose_by_ear(studio: _Studio, free: Sequence[Line], held: set[str], rules: lengths.Rules) -> dict[str, Pace]:
    """Speaks everything, and lines that turn out hurried or far too short again in other words, as long as that helps."""
    learnt: dict[str, Pace] = {}
    tried: dict[str, tuple[Option, ...]] = {}
    changed = [x for x in free if x.id not in held and studio.choices[x.id].kind != "normal"]  # by prediction
    guessed = {x.id: (Option(Choice(x.id, x.text), studio.predict(x, x.text)),) for x in changed}
    for number in range(ROUNDS + 1):
        phrases, natural = studio.speak()
        learnt = learnt or _learnt(studio, phrases, natural)
        if all(x.id in held for x in free):
            break
        spoken = timing.spoken(phrases, natural)
        lasts = _lasts(spoken)
        now = {x.id: Option(studio.choices[x.id], round(lasts.get(x.id, 0.0), 3)) for x in free}
        before = tried if number else guessed
        sayings = tuple(lengths.Saying(x, now[x.id], before.get(x.id, ()), x.id in held) for x in free)
        lines = lengths.Round(sayings, spoken, learnt, studio.task.film_s, last=number == ROUNDS)
        better = [c for c in studio.run.step(lengths.choose, lines, rules) if c != studio.choices[c.id]]
        if not better:
            break
        tried.update({c.id: (*tried.get(c.id, ()), now[c.id]) for c in better})
        studio.choices.update({c.id: c for c in better})
    return learnt


def _learnt(studio: _Studio, phrases: Sequence[Phrase], natural: Mapping[str, Take]) -> dict[str, Pace]:
    """The pace of every speaker's voice from all that has been spoken."""
    marks = studio.marks()
    examples: dict[str, list[tuple[str, float]]] = {mark: [] for mark in marks.values()}
    for p in phrases:
        if p.line not in studio.foreign:
            examples[marks[p.speaker]].append((p.text, natural[p.id].duration))
    paces = studio.learn(examples)
    return {name: paces[mark] for name, mark in marks.items()}


def _shaped(
    studio: _Studio, phrases: Sequence[Phrase], natural: Mapping[str, Take], placed: Sequence[Placement]
) -> tuple[dict[str, Take], dict[str, Take]]:
    """Takes of exactly the placed lengths, and what the engine spoke for them: it is asked for its own rate first, the
    stretcher does the rest. What is recorded is not spoken again."""
    run, takes, by_id, asked = studio.run, dict(natural), {p.id: p for p in phrases}, dict[str, Take]()
    rates = {p.id: speak.engine_rate(p.rate) for p in placed}
    for held in studio.recorded.values():
        asked |= {id_: take for id_, some in held.takes.items() for take in some[1:] if take.rate == rates[id_]}
    if "rate" in run.tools["tts"].engine.info.features:
        other = [by_id[id_] for id_, rate in rates.items() if rate != 1.0 and by_id[id_].line not in studio.recorded]
        spoken = studio.booth.record([studio.part(p, rates[p.id]) for p in other], [p.line for p in other])
        asked |= {p.id: take for p, take in zip(other, spoken, strict=True)}
    takes |= asked | {id_: take for held in studio.recorded.values() for id_, take in held.shaped.items()}
    run.note(*studio.booth.doubtful(takes))
    unfit = [p for p in placed if takes[p.id].duration != p.duration]
    stretched = run.map(speak.shape, [speak.Stretching(takes[p.id], p.duration) for p in unfit])
    return takes | {p.id: take for p, take in zip(unfit, stretched, strict=True)}, asked
