"""The server at rest: how soon it is ready, what it needs while nothing is asked of it."""

from __future__ import annotations

import time

from database import LACKING, binaries, postgres
from figures import Figure, fixed
from measures import Findings, Plan, cores
from serving import How, Served, serving

GROUP = "The server at rest"
READY_S, MEMORY_MB, BUSY_PERCENT = 5.0, 200.0, 3.0
SETTLE_S, LOOK_S = 5.0, 15.0


ABOUT = (
    "Each figure of the server is of one that was started as its users start it, by `polydub serve` on an empty folder, and",
    "asked over HTTP on this machine; only the limits of one account (requests a minute, jobs, length of queues) are",
    "raised. On two cores it gets half the load and is to keep half the rates; times and memory are to be the same.",
    "Postgres is the system's, as its packages set it up.",
)


def idle(plan: Plan, found: Findings, share: float = 1.0) -> None:
    """A first start on an empty folder, and what the server then needs, its processes together. `share` of the time watched."""
    here = cores()
    for name, few in ((f"{len(here)} cores", ()), *([("2 cores", tuple(here[:2]))] if len(here) > 2 else [])):
        ready, memory, busy = list[float](), list[float](), list[float]()
        for n in range(plan.repeats):
            plan.say(f"the server at rest, {name}: {n + 1} of {plan.repeats}")
            with serving(plan, How(cores=few)) as served:
                ready.append(served.ready_s)
                memory.append(served.pss_mb())
                busy.append(_busy(served, share))
        found.add(GROUP, *_figures(f"SQLite, {name}", ready, memory, busy))
    found.tell(GROUP, *ABOUT)
    programs = binaries()
    if programs is None:
        plan.say(f"a server on Postgres: {LACKING}")
        found.tell(GROUP, "", f"On Postgres: {LACKING}.")
        return
    ready, memory, busy = list[float](), list[float](), list[float]()
    workers = list[float]()
    for n in range(plan.repeats):
        plan.say(f"the server at rest, Postgres: {n + 1} of {plan.repeats}")
        with postgres(programs) as database, serving(plan, How(database=database, workers=1)) as served:
            ready.append(served.ready_s)
            memory.append(served.pss_mb())
            busy.append(_busy(served, share))
            workers.append(served.worker_mb())
    found.add(GROUP, *_figures("Postgres", ready, memory, busy))
    found.add(GROUP, Figure("memory of a `polydub worker` beside it", "MB", tuple(workers), note="PSS, at rest"))


def _busy(served: Served, share: float) -> float:
    """Per cent of one processor that is used while nothing is asked."""
    time.sleep(SETTLE_S * share)
    before, began = served.cpu_s(), time.monotonic()
    time.sleep(LOOK_S * share)
    return 100 * (served.cpu_s() - before) / (time.monotonic() - began)


def _figures(name: str, ready: list[float], memory: list[float], busy: list[float]) -> list[Figure]:
    return [
        fixed(f"from `polydub serve` to ready, {name}", "s", ready, READY_S, "first start, in an empty folder"),
        fixed(f"memory, {name}", "MB", memory, MEMORY_MB, "PSS of its processes"),
        fixed(f"processor time, {name}", "% of one core", busy, BUSY_PERCENT),
    ]
