"""Figures of this process for Prometheus: of requests, of work on jobs, of engines and their memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from polydub.errors import BadSettings

if TYPE_CHECKING:
    from polydub.server.desk import Desk
    from polydub.server.sweeper import Swept
    from polydub.server.work import Crew

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STAGE_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
_RATIOS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30)

disable_created_metrics()  # a figure of each figure, which nobody asks for
STAGE = Histogram("polydub_stage_seconds", "Wall time of a stage in one dub.", ("stage",), buckets=_STAGE_SECONDS)
REALTIME = Histogram("polydub_realtime_ratio", "Seconds of work for a second of film, of one job.", buckets=_RATIOS)


@dataclass(frozen=True)
class Scene:
    """What is looked at when figures are asked for.

    Attributes: role: what this process is. queues: what waits in each. jobs: how many there are in each state. crews: who
    works here, by queue. swept: what the sweeper of this process has done. desks: who is served and waits, by engine.
    """

    role: str
    queues: Mapping[str, int] = field(default_factory=dict[str, int])
    jobs: Mapping[Any, int] = field(default_factory=dict[Any, int])
    crews: Mapping[str, Crew] = field(default_factory=dict[str, "Crew"])
    swept: Swept | None = None
    desks: Mapping[str, Desk] = field(default_factory=dict[str, "Desk"])


class Metrics:
    """Counts what is answered. Labels are templates of routes, never the paths that were asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._seconds = Histogram(
            "polydub_request_seconds", "Time until an answer was sent.", labels, buckets=_SECONDS, registry=self.registry
        )
        self._open = Gauge("polydub_requests_open", "Requests being answered.", registry=self.registry)
        self._refused = Counter(
            "polydub_logins_refused", "Requests with a wrong password, code or token.", registry=self.registry
        )

    def begun(self) -> None:
        """A request has come."""
        self._open.inc()

    def ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """It was answered."""
        self._open.dec()
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
        self._seconds.labels(known, route, str(status)).observe(seconds)
        if status == HTTPStatus.UNAUTHORIZED:
            self._refused.inc()

    def text(self, scene: Scene) -> bytes:
        """All figures in Prometheus' text format. Reads /proc: not for an event loop."""
        return generate_latest(self.registry) + generate_latest(_together(scene))


def heed(message: Mapping[str, Any]) -> None:
    """Takes the figures out of what a resident says: {"figures": {"stages": {name: seconds}, "seconds", "film"}}."""
    if figures := message.get("figures"):
        for stage, seconds in figures["stages"].items():
            STAGE.labels(stage).observe(seconds)
        if figures["film"] > 0 and figures["stages"]:
            REALTIME.observe(figures["seconds"] / figures["film"])


def serve(port: int, scene: Callable[[], Scene]) -> Callable[[], None]:
    """Serves the figures of a process that has no API, to this machine alone; ends when what is returned is called.

    Raises: BadSettings when the port is taken.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Now(scene))
    try:
        server, thread = start_http_server(port, "127.0.0.1", registry)
    except OSError as error:
        why = error.strerror or error
        raise BadSettings(f"port {port} of 127.0.0.1 cannot be had: {why}", "give another --metrics-port") from error

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5)

    return close


class _Now(Collector):
    def __init__(self, scene: Callable[[], Scene]) -> None:
        self._scene = scene

    def collect(self) -> Iterable[Metric]:
        return _together(self._scene()).collect()


def _together(scene: Scene) -> CollectorRegistry:
    """What is seen now, and what was counted since the process began."""

    class Seen(Collector):
        def collect(self) -> Iterable[Metric]:
            yield from _families(scene)
            yield from REGISTRY.collect()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Seen())
    return registry


def _families(scene: Scene) -> Iterator[Metric]:
    yield _gauge("polydub_memory_bytes", "Memory (PSS) of this process and those it has started.", "process",
                 memory(scene.role))  # fmt: skip
    if scene.queues:
        yield _gauge("polydub_queue_depth", "Jobs and steps that wait.", "queue", scene.queues)
    if scene.jobs:
        yield _gauge("polydub_jobs", "Jobs there are, by state.", "state", scene.jobs)
    if scene.crews:
        busy = {queue: crew.busy for queue, crew in scene.crews.items()}
        waiting = {queue: crew.waiting for queue, crew in scene.crews.items()}
        yield _gauge("polydub_steps_running", "Steps this process works on.", "queue", busy)
        yield _gauge("polydub_steps_waiting", "Steps this process has taken and not begun.", "queue", waiting)
    if scene.desks:
        serving = {engine: desk.serving for engine, desk in scene.desks.items()}
        waiting = {engine: desk.inside - desk.serving for engine, desk in scene.desks.items()}
        yield _gauge("polydub_speech_requests_serving", "Requests an engine works on.", "engine", serving)
        yield _gauge("polydub_speech_requests_waiting", "Requests that wait for an engine.", "engine", waiting)
    if scene.swept is not None:
        yield from _sweeper(scene.swept)


def _sweeper(swept: Swept) -> Iterator[Metric]:
    yield GaugeMetricFamily("polydub_workers_alive", "Workers whose heart beats, as this one sees.", len(swept.alive))
    for name, text, value in (
        ("polydub_workers_lost", "Workers that this one found dead.", swept.dead),
        ("polydub_steps_given_back", "Steps of dead workers that went back to their queues.", swept.given_back),
        ("polydub_steps_given_up", "Steps given up because they ended worker after worker.", swept.given_up),
        ("polydub_sweeper_errors", "Rounds of the sweeper that failed.", swept.errors),
    ):
        yield CounterMetricFamily(name, text, value)


def _gauge(name: str, text: str, label: str, values: Mapping[Any, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((str(key),), value)
    return family


# ------------------------------------------------------------------ memory


def memory(role: str) -> Mapping[str, int]:
    """Bytes (proportional set size) of this process, as `role`, and of all that it has started, by what they are.

    An engine in an environment of its own has the environment's name, any other program its own. Empty where there is no /proc.
    """
    me, children = os.getpid(), _children()
    found: dict[str, int] = {}
    todo = [me]
    while todo:
        pid = todo.pop()
        todo += children.get(pid, ())
        with suppress(OSError, IndexError, ValueError):  # it may end meanwhile
            name = role if pid == me else _name(pid)
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
            pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            found[name] = found.get(name, 0) + pss * 1024
    return found


def _children() -> Mapping[int, list[int]]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            parent = int(stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    return children


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    if "polydub.server.resident" in words:
        return "resident"
    program = Path(words[0])
    if program.parent.name == "bin" and program.name.startswith("python"):
        return program.parents[1].name.lstrip(".")
    return program.name
