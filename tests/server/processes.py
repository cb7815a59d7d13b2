"""A server and workers as a user starts them, in processes that can be killed, and a client of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

POLYDUB = str(Path(sys.executable).with_name("polydub"))
TOKEN = "pd_" + "0123456789abcdef" * 3
T = TypeVar("T")


@dataclass
class Processes:
    """What was started in `folder`; `environ` is told to all of them."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    clients: list[httpx.Client] = field(default_factory=list)

    def serve(self, data: str = "data", **environ: str) -> tuple[subprocess.Popen[bytes], httpx.Client]:
        """`polydub serve` on a free port, and a client of its first admin."""
        said = self.folder / f"{data}-serve.log"
        said.unlink(missing_ok=True)
        process = self.begin(data, **environ)
        found = until(lambda: re.search(r"polydub is at (\S+),", said.read_text()), process, said)
        client = httpx.Client(base_url=found.group(1), headers={"authorization": f"Bearer {TOKEN}"}, timeout=60)
        self.clients.append(client)
        until(lambda: _ready(client), process, said)
        return process, client

    def begin(self, data: str = "data", **environ: str) -> subprocess.Popen[bytes]:
        """`polydub serve` on a free port, which may end at once."""
        command = ["serve", "--port", "0", "--data", str(self.folder / data)]
        return self._start(self.folder / f"{data}-serve.log", command, environ)

    def work(self, data: str, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """`polydub worker` with a data folder of its own."""
        said = self.folder / f"{data}-worker.log"
        command = ["worker", "--data", str(self.folder / data), "--patience", "1", *arguments]
        return self._start(said, command, environ)

    def _start(self, said: Path, command: list[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        env = {**os.environ, "API_TOKEN": TOKEN, "OMP_NUM_THREADS": "1", **self.environ, **environ}
        with said.open("ab") as log:
            process = subprocess.Popen(
                [POLYDUB, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=env
            )
        self.running.append(process)
        return process

    def end(self) -> None:
        """Kills what still runs, and what it has started: they see that their parent is gone."""
        for client in self.clients:
            client.close()
        for process in self.running:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait(60)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def until(test: Callable[[], T], process: subprocess.Popen[bytes], said: Path, limit_s: float = 90.0) -> T:
    """What `test` gives as soon as that is something; fails when the process ends, or after a while."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = test()
        if found:
            return found
        assert process.poll() is None, said.read_text()[-3000:]
        time.sleep(0.1)
    raise AssertionError(f"nothing within {limit_s} s: {said.read_text()[-3000:]}")


def ended(client: httpx.Client, job: str, limit_s: float = 120.0) -> dict[str, Any]:
    """A job when it is done, failed or cancelled."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        row: dict[str, Any] = client.get(f"/api/jobs/{job}").json()
        if row["state"] in ("done", "failed", "cancelled"):
            return row
        time.sleep(0.1)
    raise AssertionError(f"the job has not ended within {limit_s} s: {row}")


def sent(client: httpx.Client, name: str, data: bytes) -> dict[str, str]:
    """An upload."""
    answer = client.post("/api/upload", files={"file": (name, data)})
    assert answer.status_code == 201, answer.text
    return {"upload": answer.json()["id"]}


def fixture(tmp_path: Path) -> Iterator[Processes]:
    """For `yield from` in a fixture."""
    processes = Processes(tmp_path)
    try:
        yield processes
    finally:
        processes.end()
