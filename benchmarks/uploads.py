"""How fast large files are taken, and in how much memory: `python benchmarks/uploads.py [GIGABYTES]`, default 2.

A real server (uvicorn, SQLite, a folder) on loopback takes one file by tus and one in a single request. Reported are seconds,
MB/s beside a plain write and sync of the same bytes to the same disk, and the server's resident memory: before, and at most.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

ROOM = Path(__file__).resolve().parents[1] / "tests" / "server"
sys.path.insert(0, str(ROOM))
PIECE = os.urandom(1 << 20)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE


def resident(process: int, what: str) -> float:
    """MB of VmRSS (now) or VmHWM (at most)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1000


def plain(folder: Path, count: int) -> float:
    """Seconds that the disk itself takes."""
    begun = time.perf_counter()
    with (folder / "plain").open("wb") as stream:
        for _ in range(count):
            stream.write(PIECE)
        stream.flush()
        os.fsync(stream.fileno())
    (folder / "plain").unlink()
    return time.perf_counter() - begun


async def started(folder: Path) -> tuple[subprocess.Popen[bytes], httpx.AsyncClient]:
    """A server, and a client of an editor's."""
    from house import open_house

    async with open_house(folder) as house:
        token = await house.token("editor")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(ROOM / "upload_server.py"), str(folder), str(port)])
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {token}"}, timeout=600)
    for _ in range(300):
        try:
            await client.get("/healthz")
            return process, client
        except httpx.ConnectError:
            await asyncio.sleep(0.1)
    raise RuntimeError("the server does not start")


async def by_tus(client: httpx.AsyncClient, count: int) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    begun = await client.post("/api/uploads", headers={**tus, "Upload-Length": str(count << 20)})
    headers = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    answer = await client.patch(begun.headers["location"], headers=headers, content=pieces(count))
    assert answer.status_code == 204, answer.text
    assert (await client.delete(begun.headers["location"], headers=tus)).status_code == 204


async def at_once(client: httpx.AsyncClient, count: int) -> None:
    answer = await client.post("/api/upload?name=film.mp4", content=pieces(count))
    assert answer.status_code == 201, answer.text
    await client.delete(f"/api/uploads/{answer.json()['id']}", headers={"Tus-Resumable": "1.0.0"})


async def main() -> None:
    count = int(float(sys.argv[1]) * 1000) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory(prefix="polydub-uploads-") as name:
        folder = Path(name)
        process, client = await started(folder)
        report: dict[str, object] = {"MB": count * 1.048576, "disk_s": round(plain(folder, count), 2)}
        report["resident_before_mb"] = round(resident(process.pid, "VmRSS"), 1)
        try:
            for label, way in (("tus", by_tus), ("simple", at_once)):
                begun = time.perf_counter()
                await way(client, count)
                seconds = time.perf_counter() - begun
                report[f"{label}_s"], report[f"{label}_mb_s"] = round(seconds, 2), round(count * 1.048576 / seconds)
                report[f"resident_most_mb_after_{label}"] = round(resident(process.pid, "VmHWM"), 1)
        finally:
            await client.aclose()
            process.terminate()
            process.wait()
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
