"""A server as its users start it: `polydub serve`, on Postgres with `polydub worker` beside it, for clients on the loopback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import httpx
import machine
from measures import Plan
from process import Failed, cpu_s, environment, pinned, pss_mb, tree

START_S, END_S = 60.0, 15.0
LOOK_S = 0.01
SERVES, WORKS = re.compile(r"polydub is at (\S+),"), re.compile(r"working on .* as (\S+)")
# Limits of one account are not what is measured.
OPEN_DOOR = {"requests_a_minute": 1_000_000, "jobs_a_user": 1_000_000, "queue_length": 1000}


@dataclass(frozen=True)
class How:
    """How a server is started.

    Attributes: cores: processors of it and its workers, all when empty. database: address of an empty Postgres; "" = SQLite.
    workers: as many `polydub worker`, where the database is one. site: folder of modules that it finds before others.
    jobs: how many each of them does at once; 0 = as it likes.
    """

    cores: tuple[int, ...] = ()
    database: str = ""
    workers: int = 0
    site: Path | None = None
    jobs: int = 0


@dataclass
class Program:
    """A program that runs. `began`: by time.monotonic()."""

    process: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Of the program; what it started has its session."""
        return self.process.pid

    def says(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Waits until its log has the pattern. Raises: Failed when it ends, or takes a minute."""
        while not (found := pattern.search(self.log.read_text(errors="replace"))):
            if self.ended() or time.monotonic() - self.began > START_S:
                raise Failed(f"it does not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(LOOK_S)
        return found

    def ended(self) -> bool:
        """Whether it has; it stays unreaped, so that nobody else gets its number."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> None:
        """Ends it as a supervisor does, then whatever it left."""
        try:
            os.kill(self.pid, signal.SIGTERM)
            limit = time.monotonic() + END_S
            while not self.ended() and time.monotonic() < limit:
                time.sleep(LOOK_S)
        finally:
            for pid in tree(self.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Served:
    """A server that takes requests. `ready_s`: from its start until /readyz says so."""

    url: str
    token: str
    ready_s: float
    server: Program
    workers: list[Program]

    def client(self) -> httpx.AsyncClient:
        """Of its admin."""
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, limits=limits, timeout=600, trust_env=False)

    def pss_mb(self) -> float:
        """Memory of the server and all that it started."""
        return pss_mb(tree(self.server.pid))

    def worker_mb(self) -> float:
        """Memory of its first worker and all that it started."""
        return pss_mb(tree(self.workers[0].pid))

    def cpu_s(self) -> float:
        """Processor time of the same so far."""
        return cpu_s(tree(self.server.pid))

    @contextmanager
    def watched(self, every_s: float = 0.1) -> Generator[list[float]]:
        """Memory again and again while something is done, MB."""
        seen, over = [self.pss_mb()], threading.Event()

        def watch() -> None:
            while not over.wait(every_s):
                seen.append(self.pss_mb())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()


@contextmanager
def serving(plan: Plan, how: How) -> Generator[Served]:
    """A server on an empty folder; its processes and its folder are gone afterwards, whatever happens."""
    plan.work.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="serve-", dir=plan.work.resolve()))
    running: list[Program] = []
    try:
        told = _environment(plan, how)
        server = _started(["serve", "--port", "0", "--data", folder / "data"], folder / "serve.log", told, how.cores)
        running.append(server)
        url = server.says(SERVES)[1]
        while httpx.get(url + "/readyz", trust_env=False).is_error:
            time.sleep(LOOK_S)
        ready_s = time.monotonic() - server.began
        for number in range(how.workers):
            command = ["worker", "--data", folder / "data", "--patience", "0"]
            running.append(_started(command, folder / f"worker{number}.log", told, how.cores))
        for worker in running[1:]:
            worker.says(WORKS)
        yield Served(url, _token(folder / "data", told), ready_s, server, running[1:])
    finally:
        try:
            for program in reversed(running):
                program.end()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _environment(plan: Plan, how: How) -> dict[str, str]:
    told = {"database": how.database, "jobs_at_once": how.jobs}
    settings: dict[str, object] = {**OPEN_DOOR, **{name: value for name, value in told.items() if value}}
    named = {f"POLYDUB_SERVER__{name.upper()}": str(value) for name, value in settings.items()}
    return environment(plan.work) | named | ({"PYTHONPATH": str(how.site)} if how.site else {})


def _started(arguments: Sequence[str | Path], log: Path, told: Mapping[str, str], cores: Sequence[int]) -> Program:
    with log.open("wb") as said, pinned(cores):
        process = subprocess.Popen(
            [str(word) for word in (machine.polydub(), *arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=said, env=told, cwd=log.parent, start_new_session=True,
        )  # fmt: skip
    return Program(process, log)


def _token(data: Path, told: Mapping[str, str]) -> str:
    command = [str(machine.polydub()), "admin", "token", "--name", "bench", "--data", str(data)]
    made = subprocess.run(command, capture_output=True, text=True, env=told, cwd=data.parent, check=False)
    if made.returncode:
        raise Failed(f"no token: {made.stderr[-2000:]}")
    return made.stdout.strip()


def nineteen_of_twenty(values: Sequence[float]) -> float:
    """The 95th percentile; of one value, that."""
    return statistics.quantiles(values, n=20, method="inclusive")[18] if len(values) > 1 else values[0]


ENGINE = """
import time
from contextlib import contextmanager
from dataclasses import replace
from polydub.engines.tts import fake

class Paced(fake.FakeSpeech):
    def synthesize(self, part):
        time.sleep({each_s})
        return super().synthesize(part)

@contextmanager
def load(options, weights, device):
    yield Paced()

ENGINE = replace(fake.ENGINE, info=replace(fake.ENGINE.info, name="paced", parallel={parallel}), load=load)
"""


def install_paced(site: Path, each_s: float, parallel: int) -> None:
    """An installed package with the speech engine `paced`: each text takes it `each_s` seconds, `parallel` at once."""
    facts = site / "paced-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: paced\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[polydub.tts]\npaced = paced_engine:ENGINE\n")
    (site / "paced_engine.py").write_text(ENGINE.format(each_s=each_s, parallel=parallel))
