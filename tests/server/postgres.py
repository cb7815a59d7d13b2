"""A real PostgreSQL for tests, from the system's own binaries; tests that ask for it are skipped where there are none.

`from postgres import cluster, postgres` makes the fixtures known to a conftest.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

_WATCHES: list[subprocess.Popen[bytes]] = []
_USER = "postgres"  # whom the cluster runs as where the tests run as root, which it refuses


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@dataclass
class Cluster:
    """A running PostgreSQL on loopback, with its data in a temporary folder."""

    binaries: Path
    folder: Path
    port: int

    def url(self, name: str = "postgres") -> str:
        """Address of one of its databases."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def fresh(self, name: str) -> str:
        """Address of a new, empty database."""
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=20) as connection:
            connection.execute(f'create database "{name}"'.encode())
        return self.url(name)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._control("start", "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options)

    def stop(self, how: str = "immediate") -> None:
        """Stops it as `pg_ctl -m` does: immediate = as if it had crashed."""
        self._control("stop", "-m", how)

    def _control(self, *arguments: str) -> None:
        _as_user([str(self.binaries / "pg_ctl"), "-D", str(self.folder / "data"), *arguments])


def _as_user(command: list[str]) -> None:
    """Runs a command, as another user where this one is root. What it starts in the background keeps no pipe of ours."""
    if os.geteuid() == 0:
        command = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *command]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/"}
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL, cwd="/", check=False, timeout=90
        )
        said.seek(0)
        if done.returncode:
            raise RuntimeError(f"{command[-6:]}: {said.read().decode()}")


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _made() -> Cluster:
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL (Debian: postgresql), which is not installed")
    if os.geteuid() == 0 and subprocess.run(["id", _USER], capture_output=True, check=False).returncode:
        pytest.skip(f"needs a user {_USER}: PostgreSQL does not run as root")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)
    cluster = Cluster(binaries, folder, free_port())
    _ended_with_us(folder)
    _as_user(
        [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", _USER, "-A", "trust", "-N", "--locale=C", "-E", "UTF8"]
    )
    cluster.start()
    return cluster


def _ended_with_us(folder: Path) -> None:
    """A shell that outlives a process of tests which is ended by force, and then ends its database."""
    ends = 'cat; kill -QUIT "$(head -n 1 data/postmaster.pid)"; cd /; sleep 2; rm -rf "$1"'
    # Its stdin is never written to: it ends with this process, whatever ends that.
    _WATCHES.append(
        subprocess.Popen(
            ["sh", "-c", ends, "sh", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=folder, start_new_session=True,
        )
    )  # fmt: skip


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One cluster of this worker; who stops it starts it again."""
    cluster = _made()
    try:
        yield cluster
    finally:
        with suppress(RuntimeError):  # a test may have stopped it
            cluster.stop()
        for watch in _WATCHES:
            watch.kill()
            watch.communicate()
        shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.fixture
def postgres(cluster: Cluster, tmp_path: Path) -> str:
    """Address of an empty database of a running PostgreSQL, for this test only."""
    return cluster.fresh(f"t{abs(hash(str(tmp_path)))}")
