"""A dub that several workers make in turns: whose calls are whose, and when one hands over to another.

The dub is the same function for all of them. A worker runs it from the top, where what is finished is remembered, until it
waits for a call that is another's to make; `HandedOver` tells whose. The command line makes all calls itself and has no duty.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

from polydub.engines.base import Engine
from polydub.engines.devices import CPU
from polydub.engines.pool import Tool

Resource = Literal["cpu", "gpu", "net"]
FINISHED = "finished"  # under which it is told that a language is made
OFTEN_S = 1.0  # nobody is asked more often whether somebody more urgent waits


class HandedOver(Exception):
    """No error: what comes next is done by a worker of this resource. What is finished is remembered.

    Attributes: divided: the map whose calls so many workers shall make at once, one after the other would take long.
    """

    def __init__(self, to: Resource, divided: tuple[str, int] | None = None) -> None:
        super().__init__(f"handed over to a worker of {to}")
        self.to: Resource = to
        self.divided = divided


@dataclass
class Share:
    """The calls of one map that a worker makes, where several are at it.

    Attributes: map: by `mark`. place: of this worker among them, from 0. of: how many they are. met: whether the run came to
    the map.
    """

    map: str
    place: int
    of: int
    met: bool = False


def mark(keys: Sequence[str]) -> str:
    """A map's, by the keys of its calls."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


class Keyed(Protocol):
    """A call of a stage, known by its key."""

    @property
    def key(self) -> str: ...


K = TypeVar("K", bound=Keyed)


class Counted(Protocol):
    """What happened to one stage."""

    seconds: float
    ran: int
    remembered: int


def resource(tool: Tool | None) -> Resource:
    """What a call needs that has this engine, None = none: the network, an accelerator, or a processor only."""
    if tool is None:
        return "cpu"
    if tool.engine.info.network:
        return "net"
    return "cpu" if tool.device == CPU else "gpu"


@dataclass
class Slice:
    """How long a worker works before it asks whether somebody more urgent waits: so many calls or seconds.

    Attributes: ask: asks, without waiting for the answer. told: whether the answer has come, and is yes. idle: how many could
    work at once instead, where nobody waits: asked once, then 0.
    """

    calls: int = 50
    seconds: float = 30.0
    ask: Callable[[], None] = lambda: None
    told: Callable[[], bool] = lambda: False
    idle: Callable[[], int] = lambda: 0
    _made: int = 0
    _since: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self) -> None:
        """One more call has been made."""
        with self._lock:
            self._made += 1
            passed = time.monotonic() - self._since
            if passed < self.seconds and (self._made < self.calls or passed < min(OFTEN_S, self.seconds)):
                return
            self._made, self._since = 0, time.monotonic()
        self.ask()


@dataclass
class Duty:
    """Which calls a worker makes in its step of a dub, and what it tells the next one.

    Attributes: here: the resource whose work it does. accelerated: engines shall work on an accelerator, which some worker
    has. pins: the engines that were chosen, by language and kind: {"choice", "device", "identity", "reason", "notices"},
    empty = none, "failed" = no choice could be made; and the languages that are finished: every step has the same. counts:
    stage -> (seconds, calls made) in all steps, by language. stays: on an accelerator work of the processor is done, too,
    whatever comes. language: of the dub that is being made. share: no calls but these are made.
    """

    here: Resource
    accelerated: bool = False
    pins: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    counts: dict[str, dict[str, tuple[float, int]]] = field(default_factory=dict[str, dict[str, tuple[float, int]]])
    slice: Slice = field(default_factory=Slice)
    stays: bool = False
    language: str = ""
    share: Share | None = None
    _released: list[Tool] = field(default_factory=list[Tool])
    _summed: bool = False

    def of(self, language: str) -> Duty:
        """For one of the languages of the dub."""
        return replace(self, language=language, _released=[], _summed=False)

    @property
    def ends(self) -> bool:
        """Whether no further call shall be begun: somebody more urgent waits."""
        return self.slice.told()

    def begin(self, tool: Tool | None, tools: Iterable[Tool], keys: Sequence[str] = ()) -> None:
        """Asked before calls of a map are made. `tools`: engines of the run. Raises: HandedOver when they are another worker's;
        what keeps an engine from working here that should."""
        if self.share and self.share.map != mark(keys):
            raise HandedOver(self.here)
        needs = resource(tool)
        if tool is not None and tool.elsewhere is not None:
            if needs == self.here:
                raise tool.elsewhere
            raise HandedOver(needs)
        if needs != self.here and not (self.here == "gpu" and needs == "cpu" and (self.stays or self._awaited(tools))):
            raise HandedOver(needs)
        if self.ends:
            raise HandedOver(self.here)

    def _awaited(self, tools: Iterable[Tool]) -> bool:
        """Whether an engine will be called that works on an accelerator."""
        return any(resource(tool) == "gpu" and not any(tool is one for one in self._released) for tool in tools)

    def mine(self, missing: list[K], keys: Sequence[str]) -> tuple[list[K], HandedOver | None]:
        """Those of a map's calls that are made here, and what is raised then, where others make the rest."""
        if self.share and self.share.map == mark(keys):
            self.share.met = True
        if not self.share or not missing:
            return missing, None
        places = {key: at % self.share.of for at, key in enumerate(dict.fromkeys(keys))}
        return [call for call in missing if places[call.key] == self.share.place], HandedOver(self.here)

    def take_back(self, waiting: dict[Future[Any], Any], keys: Sequence[str], rate: float) -> HandedOver | None:
        """Calls of a map that have not begun are not begun any more where somebody more urgent waits, or where several workers
        could make them and more than a slice of them is left. `rate`: calls per second here, 0 = not known."""
        divided: tuple[str, int] | None = None
        if not self.ends:
            slices = math.ceil(len(waiting) / (rate * max(self.slice.seconds, OFTEN_S))) if rate else 0
            workers = min(self.slice.idle(), slices, len(waiting)) if waiting else 0
            if workers < 2:
                return None
            divided = mark(keys), workers
        back = [future for future in waiting if future.cancel()]
        for future in back:
            del waiting[future]
        return HandedOver(self.here, divided) if back else None

    def release(self, tool: Tool) -> None:
        """The run will not call this engine again."""
        self._released.append(tool)

    def may_choose(self, engine: Engine | None, device: str) -> None:
        """Asked before an engine is chosen: None = by what is here, else the one that was named. `device`: as it was wished.

        Raises: HandedOver, since another worker has the accelerator that the choice depends on.
        """
        if self.here == "net" and not (engine and engine.info.network):
            raise HandedOver("gpu" if self.accelerated else "cpu")
        anywhere = engine is not None and engine.info.devices <= {CPU} and not device.startswith(("cuda", "mps"))
        if self.here == "cpu" and self.accelerated and not anywhere:
            raise HandedOver("gpu")

    def pinned(self, key: str) -> dict[str, Any] | None:
        """What was chosen, in this step or an earlier one; None when nothing was yet."""
        return self.pins.get(f"{self.language}/{key}")

    def pin(self, key: str, chosen: dict[str, Any]) -> None:
        """From now on all steps choose the same."""
        self.pins[f"{self.language}/{key}"] = chosen

    def finish(self) -> None:
        """All of this language is made."""
        self.pin(FINISHED, {})

    def order(self, languages: Iterable[str]) -> list[str]:
        """In which languages are dubbed: those that a step has finished come last. What was delivered lies only where it was
        made; who has another language to go on with must not hand over for it."""
        return sorted(languages, key=lambda language: f"{language}/{FINISHED}" in self.pins)

    def sum_up(self, counts: Mapping[str, Counted]) -> None:
        """Adds what earlier steps have made, which is remembered in this one."""
        if self._summed:
            return
        self._summed = True
        for name, (seconds, ran) in self.counts.get(self.language, {}).items():
            if name in counts:
                count = counts[name]
                earlier = min(ran, count.remembered)
                count.seconds, count.ran = count.seconds + seconds, count.ran + earlier
                count.remembered -= earlier

    def keep(self, counts: Mapping[str, Counted]) -> None:
        """The run has ended, in one way or another: the next step is told what has been made."""
        self.sum_up(counts)
        known = self.counts.setdefault(self.language, {})
        for name, count in counts.items():
            known[name] = (round(count.seconds, 3), max(count.ran, known.get(name, (0.0, 0))[1]))

    @property
    def made(self) -> int:
        """Calls that were made, in all steps."""
        return sum(ran for counts in self.counts.values() for _, ran in counts.values())
