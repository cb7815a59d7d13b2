"""How often lines are asked for: all together, what is left out together once more, then alone; the best answer is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from polydub.engines.base import Batch, Request
from polydub.engines.mt.chat_answers import doubts, prose, read, trimmed
from polydub.types import Wordings

ALONE = 5  # times a line without a text is asked for alone
DOUBTFUL = 3  # times one that has a doubtful text is
LACKING = 1  # times one that only lacks a term of the glossary is; it may be an inflected form that we do not know


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered to some lines.

    Attributes: content: its text, "" when it refused. cut: the answer ends where the model was not done. refused: it said so,
    or the service filtered it.
    """

    content: str
    cut: bool = False
    refused: bool = False


Ask = Callable[[Sequence[Request], str], Reply]  # (lines, what was wrong before)


@dataclass(frozen=True, slots=True)
class _Best:
    """The best text of a line so far, and what is doubtful in it."""

    wordings: Wordings
    doubts: tuple[str, ...]


class Rounds:
    """The lines of one batch that are not blank, and the best that was answered to each so far."""

    def __init__(self, batch: Batch, ask: Ask) -> None:
        self._batch, self._ask = batch, ask
        self._lines = [request for request in batch.requests if request.text.strip()]
        self._best: dict[str, _Best] = {}
        self._refused: set[str] = set()

    def run(self) -> Mapping[str, Wordings]:
        """Texts by id, with their doubts; a line that got none at all is left out.

        Lines without a text are asked for together once more, in halves if the answer was cut off; so are doubtful ones
        where most are. Then each is asked for alone, up to ALONE, DOUBTFUL or LACKING times, and told what was wrong.
        """
        if not self._lines:
            return {}
        cut = self._take(self._lines, "")
        left = [line for line in self._lines if line.id not in self._best]
        doubtful = [line for line in self._lines if line.id in self._best and self._best[line.id].doubts]
        together = left + doubtful if 2 * len(doubtful) > len(self._lines) else left
        if len(together) > 1:
            middle = (len(together) + 1) // 2
            for part in (together[:middle], together[middle:]) if cut else (together,):
                self._take(part, "an earlier answer left these lines out or was not usable")
        for line in self._lines:
            self._alone(line)
        return {id_: replace(best.wordings, doubt=_sentence(best.doubts)) for id_, best in self._best.items()}

    def why_not(self, line: Request) -> str:
        """Why a line has no text, as a doubt."""
        return "the model refused to translate this line" if line.id in self._refused else "the model gave no translation"

    def _alone(self, line: Request) -> None:
        for times in range(ALONE):
            best = self._best.get(line.id)
            if best and times >= (0 if not best.doubts else LACKING if best.doubts[0].startswith("lacks") else DOUBTFUL):
                return
            self._take([line], f"your last translation {best.doubts[0]}" if best else "")

    def _take(self, lines: Sequence[Request], remark: str) -> bool:
        """Asks, and keeps what is better than before; whether the answer was cut off."""
        reply = self._ask(sorted(lines, key=self._lines.index), remark)
        found = read(reply.content, self._batch, lines)
        extra: tuple[str, ...] = ()
        if len(lines) == 1 and not found and not reply.refused and not reply.cut and prose(reply.content):
            found, extra = {lines[0].id: Wordings(prose(reply.content))}, ("came without the form that was asked for",)
        for line in lines:
            given = found.get(line.id)
            if given is None:
                self._refused |= {line.id} if reply.refused else set()
                continue
            new = _Best(trimmed(line, given, self._batch), doubts(line, given, self._batch) + extra)
            old = self._best.get(line.id)
            if old is None or len(new.doubts) < len(old.doubts):
                self._best[line.id] = new
        return reply.cut


def _sentence(found: Sequence[str]) -> str:
    return f"the translation {' and '.join(found)}" if found else ""
