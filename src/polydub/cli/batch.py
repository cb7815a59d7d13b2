"""A batch of films as a person sees it: what each film became, as it ends and in a table when all have."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from polydub.batch import Batch, Made, Row, Stopped, Task, run_batch
from polydub.cli import output
from polydub.cli.progress import Film, Films, clock, short
from polydub.dubbing import Ears, Outcome
from polydub.engines.pool import EnginePool
from polydub.errors import SOME_FAILED

if TYPE_CHECKING:
    from polydub.streaming import Streamed

_HEAD = ("file", "to", "status", "length", "took", "lines", "notes", "film")
_WIDTHS = (15, 5, 10, 7, 7, 5, 5)  # of a table of 80 columns; the film has the rest
_WIDEST = 80


def dub_batch(batch: Batch, pool: EnginePool, given: dict[str, Any]) -> int:
    """Dubs films, tells of each and of all; exit status 1 when some failed. Raises: Cancelled, with what is still open."""
    try:
        with Films(len(batch.tasks)) as films:
            teller = _Teller(films, given)
            rows = run_batch(batch, pool, teller.ears, teller.told)
    except Stopped as stopped:
        _tell_all(stopped.rows, given)
        raise
    _tell_all(rows, given)
    _tell_sum(rows)
    return SOME_FAILED if any(row.status == "failed" for row in rows) else 0


class _Teller:
    """Says what happens to films while others are at work."""

    def __init__(self, films: Films, given: dict[str, Any]) -> None:
        self._films, self._given = films, given
        self._shown: dict[int, Film] = {}
        self._said: set[str] = set()  # what is the same for all films is said once

    def ears(self, task: Task) -> Ears:
        film = self._shown[id(task)] = self._films.begin(task.name)

        def say(text: str) -> None:
            with self._films.above():
                output.say(f"{task.name}: {text}")

        return Ears(film.show, say, self._films.ask, self._given["reconsider"], self._given["debug"])

    def told(self, row: Row) -> None:
        """One line for a film that ended, its notices, and its path on stdout."""
        task = row.task
        number = self._films.end(self._shown.pop(id(task), None), worked=row.status != "remembered")
        with self._films.above():
            if row.error:
                output.say_error(row.error, task.name)
                return
            languages = ", ".join(outcome.language for outcome in row.outcomes)
            took = "nothing was left to do" if row.status == "remembered" else f"done in {row.seconds:.1f} s"
            output.say(f"{number} {task.name} -> {languages}: {took}")
            for outcome in row.outcomes:
                output.say_notices(tuple(n for n in outcome.notices if n.text not in self._said), self._given["verbose"])
                self._said.update(notice.text for notice in outcome.notices)
            if not self._given["as_json"]:
                for film in dict.fromkeys(_film(outcome) for outcome in row.outcomes):
                    output.result(film)


def _tell_all(rows: Sequence[Row], given: dict[str, Any]) -> None:
    """The table of all films, or its JSON."""
    if given["as_json"]:
        counts = {status: sum(row.status == status for row in rows) for status in ("done", "remembered", "failed", "open")}
        output.result_json({"files": [as_json(row) for row in rows], "counts": counts})
    for line in table(rows, _width()):
        output.say(line)


def _tell_sum(rows: Sequence[Row]) -> None:
    done = [row for row in rows if row.status in ("done", "remembered")]
    remembered = sum(row.status == "remembered" for row in rows)
    more = f"; nothing was left to do for {remembered} of them" if remembered else ""
    output.say(f"{len(done)} of {len(rows)} files dubbed{more}")


def _width() -> int:
    if not sys.stderr.isatty():
        return _WIDEST
    import shutil

    return max(_WIDEST, shutil.get_terminal_size().columns - 1)


def table(rows: Sequence[Row], width: int = _WIDEST) -> list[str]:
    """A line for each film and language, in columns that are `width` wide together; long names lose their beginning."""
    lines = [_line(_HEAD, width)]
    for row in rows:
        name, took = row.task.name, clock(row.seconds) if row.seconds else ""
        for outcome in row.outcomes:
            sizes, notes = _sizes(outcome), str(sum(notice.severity == "warning" for notice in outcome.notices))
            cells = (clock(sizes["duration"]), took, str(sizes.get("lines", "")), notes, _film(outcome))
            lines.append(_line((name, outcome.language, row.status, *cells), width))
            name = took = ""
        if not row.outcomes:
            lines.append(_line((name, ",".join(row.task.loaded.settings.to), row.status, "", took, "", "", ""), width))
        if row.error:
            lines.append(f"  {output.clean(row.error.message)}")
    return lines


def _line(cells: Sequence[str], width: int) -> str:
    from rich.cells import set_cell_size

    rest = width - sum(_WIDTHS) - len(_WIDTHS)
    wide = rest - max(0, rest - 48) // 2  # half of what a wide terminal has more goes to the file
    widths = (_WIDTHS[0] + rest - wide, *_WIDTHS[1:], wide)
    numbers = range(3, 7)
    sized = [
        set_cell_size(text.rjust(size) if at in numbers else text, size)
        for at, (text, size) in enumerate((short(cell, size), size) for cell, size in zip(cells, widths, strict=True))
    ]
    return " ".join(sized).rstrip()


def as_json(row: Row) -> dict[str, Any]:
    """What a machine is told of a film of a batch."""
    if row.error:
        told = output.failed_row(row.task.job.media, row.error)
    else:
        told = {
            "file": row.task.name,
            "dubs": [output.outcome_row(cast("Outcome | Streamed", outcome)) | _sizes(outcome) for outcome in row.outcomes],
        }
    return told | {"status": row.status, "seconds": round(row.seconds, 3)}


def _sizes(outcome: Made) -> dict[str, Any]:
    if isinstance(outcome, Outcome):
        return {"duration": outcome.facts.source.duration, "lines": len(outcome.facts.lines)}
    return {"duration": cast("Streamed", outcome).duration}


def _film(outcome: Made) -> str:
    """What can be played."""
    if isinstance(outcome, Outcome):
        return str(outcome.film)
    stream = cast("Streamed", outcome)
    return str(stream.film or stream.playlist)
