"""Which of several wordings a line is spoken with: a shorter one where it would be hurried, a longer one where it has room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

EMPTY_WEIGHT = 0.25  # of room that stays empty, against hurry: a pause is the lesser evil
ROOM_SHARE = 0.75  # a line that fills less than this of its room may get its longer wording, which may fill all of it


@dataclass(frozen=True, slots=True)
class Choice:
    """What a line says. `text` is one of its wordings; a shortened one is the normal text without the `removed` words."""

    id: str
    text: str
    kind: Literal["normal", "short", "long", "shortened"] = "normal"
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """Something a line may say, and how many seconds that takes at the voice's own rate, measured or predicted."""

    choice: Choice
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a line stands in a fit.

    Attributes: placed_s: how long it lasts there; its rate is now.seconds / placed_s. room_s: how long it could last, within
    its source span and before anything else begins. now: what it says in that fit. others: what else it may say.
    """

    id: str
    placed_s: float
    room_s: float
    now: Option
    others: tuple[Option, ...] = ()

    @property
    def rate(self) -> float:
        """Natural duration / placed duration; 1.0 where nothing is said."""
        return self.now.seconds / self.placed_s if self.placed_s > 0 and self.now.seconds > 0 else 1.0


def choose(standings: Sequence[Standing], comfortable_rate: float) -> Mapping[str, Option]:
    """What lines should rather say; those that should not change are left out. `standings` are in order of time.

    A line above `comfortable_rate` gets the longest shorter wording that is comfortable in its place, else the shortest. Of
    two such lines in a row only the faster changes: the other profits from it, so that this is to be asked again after a
    new fit. When no line is too fast, lines that fill less than ROOM_SHARE of their room get the longest wording that the room
    holds. A wording that does not bring its line nearer to comfortable (see `excess`) is never chosen.
    """
    hurried = {s.id: found for s in standings if (found := _shorter(s, comfortable_rate))}
    if hurried:
        return _apart(standings, hurried)
    return {s.id: found for s in standings if s.rate <= comfortable_rate and (found := _longer(s))}


def excess(standing: Standing, comfortable_rate: float) -> float:
    """How far a line is from comfortable: its rate above that one, or EMPTY_WEIGHT of what it lacks of ROOM_SHARE."""
    empty = ROOM_SHARE - standing.now.seconds / standing.room_s if standing.room_s > 0 else 0.0
    return max(standing.rate - comfortable_rate, EMPTY_WEIGHT * empty, 0.0)


def _shorter(standing: Standing, comfortable_rate: float) -> Option | None:
    """None for a line that is not hurried: a shorter wording would leave still more of its room empty."""
    now = excess(standing, comfortable_rate)
    shorter = [o for o in standing.others if 0 < o.seconds < standing.now.seconds]
    nearer = [o for o in shorter if excess(replace(standing, now=o), comfortable_rate) < now]
    fitting = [o for o in nearer if o.seconds <= comfortable_rate * standing.placed_s]
    return max(fitting, key=_seconds) if fitting else min(nearer, key=_seconds, default=None)


def _longer(standing: Standing) -> Option | None:
    if not 0 < standing.now.seconds < ROOM_SHARE * standing.room_s:
        return None
    held = (o for o in standing.others if standing.now.seconds < o.seconds <= standing.room_s)
    return max(held, key=_seconds, default=None)


def _seconds(option: Option) -> tuple[float, str]:
    return option.seconds, option.choice.text


def _apart(standings: Sequence[Standing], found: Mapping[str, Option]) -> Mapping[str, Option]:
    """Of `found` the fastest lines, no two in a row; of two alike the earlier."""
    taken: set[int] = set()
    for n in sorted((n for n, s in enumerate(standings) if s.id in found), key=lambda n: (-standings[n].rate, n)):
        if n - 1 not in taken and n + 1 not in taken:
            taken.add(n)
    return {standings[n].id: found[standings[n].id] for n in sorted(taken)}
