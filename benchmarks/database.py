"""A PostgreSQL of one's own for the time of a measurement, from the system's binaries, as its packages set it up."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"  # whom it runs as where root runs the benchmark, which it refuses
LACKING = "not measured: needs PostgreSQL (Debian: postgresql), which is not installed"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, the newest; None where there is none, or nobody to run it as."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    folder = found[-1].parent if found else Path(on_path).parent if on_path else None
    if os.geteuid() == 0 and subprocess.run(["id", USER], capture_output=True, check=False).returncode:
        return None
    return folder


@contextmanager
def postgres(programs: Path) -> Generator[str]:
    """The address of an empty database; server and folder are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="polydub-bench-pg-"))  # others than root may go there
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        data = folder / "data"
        _as_user([programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-N", "--locale=C", "-E", "UTF8"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        control = [programs / "pg_ctl", "-D", data]
        try:
            _as_user([*control, "start", "-w", "-l", folder / "log", "-o", options])
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        finally:
            if (data / "postmaster.pid").exists():
                _as_user([*control, "stop", "-m", "immediate"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_user(command: Sequence[str | Path]) -> None:
    """Runs a command as somebody who is not root. What it leaves running has a session of its own, out of reach of Ctrl-C."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *words]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/"}
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            words, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL, cwd="/", check=False,
            start_new_session=True,
        )  # fmt: skip
        said.seek(0)
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name}: {said.read().decode(errors='replace')[-2000:]}")
