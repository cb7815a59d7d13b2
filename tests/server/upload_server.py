"""A real server that takes uploads, in a process of its own: `python upload_server.py FOLDER PORT`, to be killed.

It ends with whoever holds the other end of its stdin.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import uvicorn

sys.path.insert(0, str(Path(__file__).parent))

from house import open_house

from polydub.server.look import Found
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Uploads


async def takes_anything(file: Path, name: str) -> Found:
    return Found("video/mp4")


async def serve(folder: Path, port: int) -> None:
    async with open_house(folder, storage=LocalStorage(folder / "files")) as house:
        house.app.state.uploads = Uploads(house.services, takes_anything)
        await uvicorn.Server(uvicorn.Config(house.app, port=port, log_level="error", lifespan="off")).serve()


def end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
