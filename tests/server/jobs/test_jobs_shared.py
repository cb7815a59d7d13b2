"""Workers on hosts of their own, with nothing in common but a database and a bucket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from bucket_stand_in import ACCESS, NAME, REGION, SECRET, Bucket, a_bucket
from job_house import ended, house, row, until

from polydub.server import buckets

pytestmark = pytest.mark.slow
Film = Callable[..., dict[str, Any]]


class Host:
    """A machine with a worker, whose folder nobody else has."""

    def __init__(self, folder: Path, url: str, bucket: Bucket) -> None:
        folder.mkdir()
        self.folder, self.log = folder, folder / "worker.log"
        command = [sys.executable, str(Path(__file__).with_name("far_worker.py")), str(folder), url]
        with self.log.open("ab") as log:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True)
        assert self.process.stdin and self.process.stdout
        told = buckets.Bucket(NAME, "studio", bucket.endpoint, REGION, ACCESS, SECRET)
        self.process.stdin.write(json.dumps(asdict(told)) + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "ready\n":
            self.kill()
            raise AssertionError(self.log.read_text(encoding="utf-8")[-3000:])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    @property
    def residents(self) -> list[int]:
        """Processes that the worker has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split()]


@pytest.fixture
def host(tmp_path: Path, postgres: str, bucket: Bucket) -> Iterator[Callable[[str], Host]]:
    """`host("a")` -> a host with a worker."""
    started: list[Host] = []

    def start(name: str) -> Host:
        started.append(Host(tmp_path / name, postgres, bucket))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with a_bucket() as made:
        yield made


def brought(bucket: Bucket, folder: Path) -> None:
    """The uploads of a folder, to the bucket."""
    for path in (folder / "files" / "uploads").iterdir():
        bucket.objects[f"studio/uploads/{path.name}"] = path.read_bytes()


def rows(bucket: Bucket) -> list[str]:
    """Stages that every host knows to be finished."""
    return [json.loads(data)["stage"] for key, data in list(bucket.objects.items()) if key.startswith("studio/store/done/")]


def sums(objects: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in objects.items() if "report." not in name}


async def undisturbed(folder: Path, request: Mapping[str, Any]) -> dict[str, str]:
    """The same job on one host that nobody kills."""
    async with house(folder) as (jobs, _):
        await jobs.submit(row("one", request))
        assert (await ended(jobs, "one"))[-1].kind == "done"
    root = folder / "files" / "jobs" / "one"
    return sums({str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()})


@pytest.mark.parametrize("stage", ["extract", "synthesize"])
def test_the_job_of_a_host_that_died_goes_on_at_another_without_repeating_a_finished_stage(
    tmp_path: Path, postgres: str, bucket: Bucket, host: Callable[[str], Host], film: Film, stage: str
) -> None:
    async def main() -> None:
        server = tmp_path / "server"
        request = film(server)
        brought(bucket, server)
        one = host("one")
        async with house(server, postgres) as (jobs, _):
            bucket.full = ("studio/jobs/",)
            await jobs.submit(row("one", request))
            await until(lambda: stage in rows(bucket))
            one.kill()
            before = rows(bucket)
            assert before and not [key for key in list(bucket.objects) if key.startswith("studio/jobs/")], "it was not done"
            bucket.full = ()
            two = host("two")
            assert (await ended(jobs, "one"))[-1].kind == "done"
        assert bucket.refused == [], "no row that was there has been made again"
        assert len(rows(bucket)) > len(before)
        found = {key.removeprefix("studio/jobs/one/"): data for key, data in bucket.objects.items() if "/jobs/one/" in key}
        assert sums(found) == await undisturbed(server, request)
        assert (two.folder / "store" / "artifacts").is_dir()

    asyncio.run(main())


def test_nobody_who_looks_at_a_worker_sees_the_key_of_the_bucket(
    tmp_path: Path, postgres: str, bucket: Bucket, host: Callable[[str], Host], film: Film
) -> None:
    async def main() -> None:
        server = tmp_path / "server"
        request = film(server)
        brought(bucket, server)
        one = host("one")
        async with house(server, postgres) as (jobs, records):
            await jobs.submit(row("one", request))
            await until(lambda: rows(bucket))
            assert one.residents
            for pid in (one.process.pid, *one.residents):
                for what in ("cmdline", "environ"):
                    assert SECRET not in Path(f"/proc/{pid}/{what}").read_text(encoding="utf-8", errors="replace")
            bucket.broken = True
            last = (await ended(jobs, "one"))[-1]
            assert (last.kind, last.data["code"], last.data["retryable"]) == ("failed", "bucket-away", True)
            bucket.broken = False
            await jobs.again("one")
            events = await ended(jobs, "one", last.number)
            assert events[-1].kind == "done"
            told = [str(event.data) for event in await records.events("one")]
            assert not [text for text in told if SECRET in text or bucket.endpoint in text]
        for path in one.folder.rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes()

    asyncio.run(main())
