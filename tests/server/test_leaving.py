"""A server or a worker that is told to stop ends, also when its database does not answer any more, or is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from postgres import Cluster
from processes import Processes, fixture, until

from polydub.errors import StoreError
from polydub.server.sweeper import LOCK

pytestmark = pytest.mark.slow
ENDS_S = 60  # whoever waits for the database never ends


@pytest.fixture
def processes(tmp_path: Path, postgres: str) -> Iterator[Processes]:
    for made in fixture(tmp_path):
        made.environ["POLYDUB_SERVER__DATABASE"] = postgres
        yield made


@contextmanager
def silent(cluster: Cluster) -> Iterator[None]:
    """Within the block the database takes connections and answers nobody, as when its host vanishes."""
    first = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(first, signal.SIGSTOP)
    pids = [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_server_ends_while_a_request_waits_for_a_database_that_is_silent(processes: Processes, cluster: Cluster) -> None:
    server, client = processes.serve()
    with silent(cluster):
        with pytest.raises(httpx.ReadTimeout):
            client.get("/readyz", timeout=3)
        server.send_signal(signal.SIGTERM)
        assert server.wait(ENDS_S) == 0


def test_a_worker_ends_though_its_database_is_silent(processes: Processes, cluster: Cluster) -> None:
    worker, said = processes.work("w"), processes.folder / "w-worker.log"
    until(lambda: "working on" in said.read_text(), worker, said)
    with silent(cluster):
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(ENDS_S) == 0


def test_a_worker_that_is_still_waiting_to_begin_ends(processes: Processes, postgres: str) -> None:
    waiting = "select 1 from pg_locks where locktype = 'advisory' and not granted"
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", [LOCK])
        worker, said = processes.work("w"), processes.folder / "w-worker.log"
        until(lambda: other.execute(waiting).fetchone(), worker, said)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(ENDS_S) == 0


def test_a_worker_whose_database_is_gone_says_so_and_ends(processes: Processes, cluster: Cluster) -> None:
    worker, said = processes.work("w"), processes.folder / "w-worker.log"
    until(lambda: "working on" in said.read_text(), worker, said)
    cluster.stop()
    try:
        until(lambda: "does not answer" in said.read_text(), worker, said)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(ENDS_S) == 0
    finally:
        cluster.start()
    assert "is not handed back" in said.read_text() and "unexpected" not in said.read_text()


def test_who_does_not_find_the_database_at_the_start_ends_as_failed_so_that_a_supervisor_tries_again(
    processes: Processes, cluster: Cluster
) -> None:
    cluster.stop()
    try:
        for started in (processes.begin(), processes.work("w")):
            assert started.wait(ENDS_S) == StoreError.exit_status
    finally:
        cluster.start()


def test_who_loses_the_database_waits_for_it_and_goes_on(processes: Processes, cluster: Cluster) -> None:
    server, client = processes.serve()
    worker, said = processes.work("w"), processes.folder / "w-worker.log"
    until(lambda: "working on" in said.read_text(), worker, said)
    cluster.stop()
    try:
        until(lambda: client.get("/readyz").status_code == 503, server, said)
        until(lambda: "does not answer" in said.read_text(), worker, said)
    finally:
        cluster.start()
    until(lambda: client.get("/readyz").status_code == 200, server, said)
    for process in (worker, server):
        assert process.poll() is None, "they wait"
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_S) == 0
    for log in (said, processes.folder / "data-serve.log"):
        assert "Traceback" not in log.read_text(), "it is a matter of one line"
