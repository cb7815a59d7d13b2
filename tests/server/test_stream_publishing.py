"""What becomes of a stream comes into the storage, whenever it is looked at between two of its files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from house import until

from polydub.server.contracts import JobRow
from polydub.server.storage import LocalStorage
from polydub.server.watching import Publisher

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 5, 1, tzinfo=UTC)
STREAM = JobRow("j", "ana", "dub", "x", {"settings": {"stream": "segments"}}, "running", NOW, NOW)


class Kept(LocalStorage):
    """Tells the number of segments that each list had which was put."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.told: list[int] = []
        self.listed: list[int] = []

    async def put_file(self, key: str, file: Path) -> None:
        await super().put_file(key, file)
        if key.endswith("manifest.json"):
            self.told.append(len(json.loads(file.read_text())["segments"]))
        elif key.endswith("index.m3u8"):
            self.listed.append(file.read_text().count("#EXTINF:"))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "files")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a job whose stream has begun."""
    (tmp_path / "job" / "stream").mkdir(parents=True)
    return tmp_path / "job"


def tell(home: Path, segments: int) -> None:
    """Writes the manifest, which comes first."""
    (home / "stream" / "manifest.json").write_text(json.dumps({"state": "running", "segments": [{}] * segments}))


def show(home: Path, segments: int) -> None:
    """Writes the playlist."""
    (home / "stream" / "index.m3u8").write_text("#EXTM3U\n" + "#EXTINF:4.0,\nx.m4s\n" * segments)


async def test_a_playlist_that_is_written_after_its_manifest_was_seen_is_put_too(home: Path, kept: Kept) -> None:
    tell(home, 1)
    show(home, 1)
    async with Publisher(kept, STREAM, home):
        await until(lambda: kept.listed == [1], "the playlist is put")
        tell(home, 2)
        await until(lambda: kept.told[-1] == 2, "the manifest is put")
        show(home, 2)
        await until(lambda: kept.listed[-1] == 2, "the playlist is put again")


async def test_a_playlist_that_is_behind_its_manifest_does_not_shorten_that_of_another_host(home: Path, kept: Kept) -> None:
    tell(home, 2)
    await kept.put_file("jobs/j/stream/manifest.json", home / "stream" / "manifest.json")
    show(home, 1)
    (home / "stream" / "segment_001.m4s").write_bytes(b"sound")
    async with Publisher(kept, STREAM, home):
        await until(lambda: kept.size("jobs/j/stream/segment_001.m4s"), "it has looked")
        tell(home, 3)
        show(home, 3)
        await until(lambda: 3 in kept.listed, "the playlist is put")
    assert min(kept.listed) == 3
