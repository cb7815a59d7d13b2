"""What the timing is made of: the same lines placed greedily, by the solver, and by the solver with a choice of wordings.

python benchmarks/timing.py build/bench

Lines are spoken by espeak-ng at its own rate and trimmed; one set of limits, the defaults, for all.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, quantiles

import fixture
from figures import Figure, fixed
from measures import Findings, Plan
from quality import ROUNDING, length

from polydub import config
from polydub.audio.fit import Fitted, Limits, Slot, fit
from polydub.choosing import Chooser
from polydub.runner import Run
from polydub.speaking import Said, Task, speak_lines
from polydub.stages import speak
from polydub.store import Store
from polydub.text.subtitles import parse_subtitles
from polydub.types import Line, Speaker
from polydub.wants import Wanted, Wording

GROUP = "Timing"
SPEAKER, TARGET = "S1", "es"
MANY = 10_000
EDITS = (0.7, 1.3)  # what one line's natural length is multiplied with
MOVED_S, FEW = 0.020, 8
LIMITS = Limits()
HEAD = """
Greedy: every line at full speed, and later where the one before is not over. Wordings: where the translation has a shorter
and a longer text besides each, these; elsewhere what `--shorten all` leaves out. Above: how many lines are faster. Step: mean
difference of the rates of two lines in a row. Lost: speech that is cut off or lies behind the film's end.
"""


@dataclass(frozen=True)
class Row:
    """One film, placed in one way. Seconds; `lines` are in order of time, `solver_s` is processor time of one fit."""

    film: str
    way: str
    slots: Sequence[Slot]
    lines: Sequence[Fitted]
    film_s: float
    solver_s: float | None = None

    @property
    def rates(self) -> list[float]:
        """Of all lines."""
        return [x.rate for x in self.lines]

    @property
    def lost_s(self) -> float:
        """Seconds of speech that are cut off, or lie behind the film's end."""
        natural = {x.id: x.natural_s for x in self.slots}
        cut = sum(max(0.0, natural[x.id] / (x.rate + ROUNDING) - x.duration) for x in self.lines)
        return cut + sum(max(0.0, round(x.start + x.duration - self.film_s, 3)) for x in self.lines)

    def above(self, rate: float) -> int:
        """How many lines are faster."""
        return sum(x.rate > rate + ROUNDING for x in self.lines)

    def shift(self, share: float) -> float:
        """A quantile of the distances from the source's onsets."""
        shifts = [abs(x.shift) for x in self.lines]
        return quantiles(shifts, n=1000, method="inclusive")[round(share * 1000) - 1] if share < 1 else max(shifts)

    @property
    def step(self) -> float:
        """Mean difference of the rates of neighbours."""
        return mean(abs(a - b) for a, b in pairwise(self.rates))

    @property
    def talk_over_s(self) -> float:
        """Seconds in which a line runs into the next."""
        return sum(max(0.0, round(a.start + a.duration - b.start, 3)) for a, b in pairwise(self.lines))

    def markdown(self) -> str:
        """As a row of the table."""
        took = "" if self.solver_s is None else f"{1000 * self.solver_s:.0f} ms"
        cells = (
            self.film, self.way, f"{max(self.rates):.2f}", " / ".join(str(self.above(r)) for r in (1.15, 1.25, 1.30)),
            " / ".join(f"{self.shift(share):.2f}" for share in (0.5, 0.95, 1)), f"{self.step:.3f}",
            f"{self.talk_over_s:.2f}", f"{self.lost_s:.2f}", took,
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


TABLE = (
    "| film | way | highest rate | above 1.15 / 1.25 / 1.30 | shift p50 / p95 / max, s | step | talk-over, s | lost, s | fit |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|",
)


def timing(plan: Plan, found: Findings, films: Mapping[str, fixture.Film]) -> None:
    """Adds the ablation and its targets; `films` by name, among them "160 lines" and "easy"."""
    rows: list[Row] = []
    for name, film in films.items():
        plan.say(f"timing: {name}")
        rows += measure(name, film)
    found.tell(GROUP, *HEAD.strip().splitlines(), "", *TABLE, *(row.markdown() for row in rows))
    best = {(row.film, row.way): row for row in rows}
    hard, easy = best["160 lines", "solver"], best["easy", "solver, wordings"]
    found.add(
        GROUP,
        fixed("highest rate, 160 lines", "x", [max(hard.rates)], LIMITS.max_rate),
        _none("talk-over, 160 lines", hard.talk_over_s),
        _none("lost speech, 160 lines", hard.lost_s),
        fixed("shift of the onset, 160 lines, median", "s", [hard.shift(0.5)], 0.15),
        fixed("shift of the onset, 160 lines, 95th percentile", "s", [hard.shift(0.95)], 0.90),
        fixed("shift of the onset, easy film, 95th percentile", "s", [easy.shift(0.95)], 0.12),
        fixed(f"{MANY:,} lines placed", "s", [many(hard.slots) for _ in range(max(3, plan.repeats))], 0.5, "processor time"),
        edits(hard),
    )


def _none(name: str, value_s: float) -> Figure:
    return Figure(name, "s", (value_s,), (ROUNDING,), "0 s")


def measure(name: str, film: fixture.Film) -> list[Row]:
    """The ways of placing the lines of a film."""
    lines, film_s = read(film), length(film.video)
    with _studio() as run:
        plain = _slots(_said(run, lines, film_s, Wording("off")))
        worded = _slots(_said(run, lines, film_s, Wording("all"), choice=True))
    return [
        Row(name, "greedy", plain, greedy(plain), film_s),
        _solved(name, "solver", plain, film_s),
        _solved(name, "solver, wordings", worded, film_s),
    ]


def read(film: fixture.Film) -> tuple[Line, ...]:
    """The lines of a film's translation, all of one speaker."""
    parsed = parse_subtitles(film.translation.read_bytes(), film.translation.suffix)
    lines: list[Line] = []
    for s in parsed.segments:
        line = Line(s.start, s.end, s.id, SPEAKER, s.text, s.text, TARGET)
        wordings = parsed.wordings.get(s.text)
        lines.append(replace(line, short=wordings.short, long=wordings.long) if wordings else line)
    return tuple(lines)


@contextmanager
def _studio() -> Generator[Run]:
    """A run with espeak-ng and an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder, "store"))
        loaded = config.load({"tts": "espeak-ng"}, job=None, environ={}, cwd=Path(folder), user_file=None)
        try:
            with Run(store, Path(folder)) as run:
                Chooser(loaded, {})(run, {"tts": TARGET})
                yield run
        finally:
            store.close()


def _said(run: Run, lines: Sequence[Line], film_s: float, wording: Wording, *, choice: bool = False) -> Said:
    """The lines spoken; without a `choice` in their normal wording."""
    mine = lines if choice else [replace(x, short="", long="") for x in lines]
    casting = run.step(speak.cast, (Speaker(SPEAKER),), TARGET, {})
    return speak_lines(run, Task(mine, casting, film_s), Wanted(TARGET, wording=wording))


def _slots(said: Said) -> list[Slot]:
    return [Slot(p.id, p.speaker, p.start, p.end, said.natural[p.id].duration) for p in said.phrases]


def greedy(slots: Sequence[Slot]) -> list[Fitted]:
    """Every line at full speed, as soon as its source begins and the line before is over."""
    free, placed = 0.0, list[Fitted]()
    for x in sorted(slots, key=lambda x: x.start):
        start, lasts = max(x.start, free), round(x.natural_s / LIMITS.max_rate + 0.0005, 3)
        placed.append(Fitted(x.id, start, lasts, LIMITS.max_rate, start - x.start, 0.0))
        free = round(start + lasts + LIMITS.gap_s, 3)
    return placed


def _solved(name: str, way: str, slots: Sequence[Slot], film_s: float) -> Row:
    fit(slots[:2], film_s)  # what is imported at the first call
    began = time.process_time()
    placed = fit(slots, film_s)
    took = time.process_time() - began
    return Row(name, way, slots, sorted(placed, key=lambda x: x.start), film_s, took)


def many(slots: Sequence[Slot]) -> float:
    """Processor seconds for MANY lines, the given ones again and again."""
    after = max(x.end for x in slots) + 1.0
    copies = range(-(-MANY // len(slots)))
    film = [replace(x, id=f"{x.id}of{k}", start=x.start + k * after, end=x.end + k * after) for k in copies for x in slots]
    return _solved("", "", film[:MANY], after * len(copies)).solver_s or 0.0


def edits(row: Row) -> Figure:
    """How many of the edits move few other lines: one line becomes shorter or longer by 30 %."""
    slots, film_s = row.slots, row.film_s
    before = fit(slots, film_s)
    previous, moved = {x.id: x for x in before}, list[int]()
    for k, factor in ((k, factor) for k in range(len(slots)) for factor in EDITS):
        changed = [replace(x, natural_s=round(x.natural_s * factor, 3)) if n == k else x for n, x in enumerate(slots)]
        after = fit(changed, film_s, previous=previous)
        moved.append(sum(_moved(*two) for n, two in enumerate(zip(before, after, strict=True)) if n != k))
    few = sum(count <= FEW for count in moved)
    note = f"most: {max(moved)}; where it is more than {FEW}, no plan without talk-over moves fewer"
    return Figure(
        f"edits by 30 % that move at most {FEW} other lines by more than 20 ms", f"of {len(moved)}", (few,), note=note
    )


def _moved(a: Fitted, b: Fitted) -> bool:
    return max(abs(a.start - b.start), abs(a.start + a.duration - b.start - b.duration)) > MOVED_S + ROUNDING


def films(work: Path) -> dict[str, fixture.Film]:
    """The films of 16, 160 and 1,600 lines and the easy one, under a folder."""
    made = {f"{n:,} lines": fixture.film(n, work / f"s{n}") for n in (16, 160, 1600)}
    return made | {"easy": fixture.easy(160, work / "easy160")}


if __name__ == "__main__":
    found, folder = Findings(), Path(sys.argv[1])
    timing(Plan(folder, 3, lambda text: print(text, file=sys.stderr)), found, films(folder))
    print("\n".join("\n".join(section) for section in found.sections()))
