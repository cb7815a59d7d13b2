"""A worker of a host of its own, for tests: `far_worker.py FOLDER URL`; the bucket that all share comes by stdin, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from job_house import hands, settings

from polydub.server.buckets import Bucket, BucketStorage
from polydub.server.db import open_records
from polydub.server.jobs import Kept, open_worker


async def main(folder: Path, url: str) -> None:
    storage = BucketStorage(Bucket(**json.loads(sys.stdin.readline())))
    told = settings(folder, url)
    records = await open_records(told, folder)
    await open_worker(Kept(told, records, storage, folder), hands(1))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
