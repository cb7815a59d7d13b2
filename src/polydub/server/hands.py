"""What a process of the server brings to the work on jobs, as the settings tell it; and who may work with a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polydub.config.server import ServerSettings
from polydub.engines.devices import accelerators
from polydub.errors import BadSettings, Busy
from polydub.server.work import PROGRAM

APPLICATION, FILE = "polydub", "jobs.sqlite"  # name of the queues; where they lie when there is no Postgres
QUEUES = ("jobs", "cpu", "gpu", "net")
FETCHES = 4  # steps of the queue net that a worker is at


@dataclass(frozen=True)
class Hands:
    """What a worker works with.

    Attributes: queues: whose work it takes, those of "jobs" besides. slots: by queue. program: of its residents. threads: of
    each of them, 0 = one per core. offers: what only some workers have, "gpu". slice: calls and seconds after which a step asks
    whether somebody more urgent waits.
    """

    queues: Sequence[str] = QUEUES[1:]
    slots: Mapping[str, int] = field(default_factory=lambda: {"cpu": 2, "gpu": 1, "net": FETCHES})
    program: Sequence[str] = PROGRAM
    threads: int = 0
    offers: frozenset[str] = frozenset()
    slice: tuple[int, float] = (50, 30.0)

    @property
    def served(self) -> Mapping[str, int]:
        """Queues whose work can be done here, and how many steps of each at once."""
        return {queue: self.slots[queue] for queue in sorted(frozenset(self.queues) - {"gpu"} | self.offers)}


def hands_of(settings: ServerSettings, queues: Sequence[str] = QUEUES[1:]) -> Hands:
    """What the settings give a worker for these queues; "gpu" is left out where there is no slot, or no accelerator, for it.

    Raises: BadSettings where nothing is left.
    """
    slots = {"cpu": settings.jobs_at_once, "gpu": settings.gpu_slots, "net": FETCHES}
    wanted = [queue for queue in queues if slots[queue] and (queue != "gpu" or accelerators())]
    if set(queues) == {"gpu"} and not wanted:
        hint = "leave out --queues, or name cpu or net" if settings.gpu_slots else "set gpu_slots to 1 or more"
        raise BadSettings("there is no accelerator here that the queue gpu could use", hint)
    threads = max(1, len(os.sched_getaffinity(0)) // settings.jobs_at_once)
    offers = frozenset({"gpu"} & set(wanted))
    return Hands(wanted, slots, threads=threads, offers=offers)


def postgres(settings: ServerSettings) -> str:
    """Address of the Postgres that the settings name; "" where the jobs of one process lie in a file."""
    where = settings.database
    return where.replace("postgres://", "postgresql://", 1) if where.startswith(("postgres://", "postgresql://")) else ""


def hold(folder: Path) -> Callable[[], None]:
    """Holds a data folder for this process, until what is returned is called. Raises: Busy when another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "jobs.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        hint = "stop it first; several processes need Postgres: set POLYDUB_SERVER__DATABASE"
        raise Busy(f"another server works with {folder}", hint) from None
    return lambda: os.close(descriptor)
