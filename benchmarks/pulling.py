"""Measures how fast the weights of a model are fetched and checked, beside `curl | tee FILE | sha256sum; sync`. Prints a table.

python benchmarks/pulling.py [--mb 1000] [--repeats 5]

A server on the loopback sends the same random megabyte again and again, so that nothing has to be read from the disk. Each
pull is a fresh process of the program, `polydub models pull`, of a model that a package made here brings; its start counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from figures import Figure, table
from measures import Findings, Plan

LIMIT = 1.5  # yardsticks
MB = 1000  # of 2**20 bytes
REPEATS = 5
SERVER = """
import socket, sys, threading
count, piece = int(sys.argv[1]), open(sys.argv[2], "rb").read()
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
def answer(line):
    with line:
        line.recv(1 << 16)
        line.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % (count << 20))
        for _ in range(count):
            line.sendall(piece)
while True:
    threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()
"""
MODULE = """
from polydub.engines.base import READY, Engine, Info, Options, Weight, WeightFile

FILE = WeightFile("toy.bin", "{digest}", {length}, "{address}/toy.bin")
INFO = Info("embedding", "toy", "A toy.", "MIT", "https://example.org")
ENGINE = Engine(INFO, Options, load=None, check=lambda options: READY, languages=lambda options: None,
                weights=lambda options: (Weight("toy", "1", "files", "MIT", True, (FILE,)),))
"""


def pulling(plan: Plan, found: Findings, mb: int = MB) -> None:
    """Figures for the page; without curl there is no yardstick, and none."""
    plan.say("pulling a model")
    if shutil.which("curl") is None:
        return
    plan.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=plan.work) as folder, _server(Path(folder), mb) as (address, digest):
        place = Path(folder)
        _package(place / "site", address, digest, mb << 20)
        ours, yardsticks = list[float](), list[float]()
        for _ in range(plan.repeats):
            yardsticks.append(_curl(plan, place, address))
            ours.append(_pull(plan, place))
    found.add("Fetching weights", _figure(mb, ours, yardsticks))


def _figure(mb: int, ours: list[float], yardsticks: list[float]) -> Figure:
    return Figure(
        f"`polydub models pull` of {mb} MiB from this machine", "s", tuple(ours), tuple(LIMIT * y for y in yardsticks),
        f"<= {LIMIT} Y", tuple(yardsticks), note="Y: curl, tee and sha256sum in one pipe, then sync",
    )  # fmt: skip


def _curl(plan: Plan, place: Path, address: str) -> float:
    """Seconds of the yardstick."""
    out = place / "toy.bin"
    command = f'curl --silent --fail {address}/toy.bin | tee "{out}" | sha256sum; sync'
    wall = plan.bench().cost(["bash", "-o", "pipefail", "-c", command]).wall_s
    out.unlink()
    return wall


def _pull(plan: Plan, place: Path) -> float:
    """Seconds of a pull."""
    home = place / "models"
    variable = f"PYTHONPATH={place / 'site'}"
    polydub = Path(sys.executable).with_name("polydub")
    wall = plan.bench().cost(["env", variable, polydub, "models", "pull", "toy", "--models", home]).wall_s
    shutil.rmtree(home)
    return wall


@contextmanager
def _server(place: Path, mb: int) -> Generator[tuple[str, str]]:
    """Its address, and the sha256 of what it sends."""
    piece, digest = os.urandom(1 << 20), sha256()
    (place / "piece").write_bytes(piece)
    for _ in range(mb):
        digest.update(piece)
    command = [sys.executable, "-c", SERVER, str(mb), str(place / "piece")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        port = int(running.stdout.readline())
        try:
            yield f"http://127.0.0.1:{port}", digest.hexdigest()
        finally:
            running.kill()


def _package(site: Path, address: str, digest: str, length: int) -> None:
    """An installed package whose engine needs the model `toy`."""
    facts = site / "toy-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[polydub.embedding]\ntoy = toy_engine:ENGINE\n")
    (site / "toy_engine.py").write_text(MODULE.format(digest=digest, length=length, address=address))


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mb", type=int, default=MB, help="MiB that are fetched")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    found = Findings()
    with tempfile.TemporaryDirectory() as work:
        pulling(Plan(Path(work), given.repeats, lambda text: None), found, given.mb)
    sys.stdout.write("\n".join([*table([f for several in found.figures.values() for f in several]), ""]))


if __name__ == "__main__":
    main()
