"""Streaming jobs over HTTP, with a server and workers as a user starts them: watched while they are made."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import imageio_ffmpeg
import pytest
from bucket_stand_in import ACCESS, NAME, SECRET, a_bucket
from house import House, open_house
from job_world import HandJobs
from processes import Processes, ended, fixture, sent, until

from gated import installed
from polydub.server.storage import LocalStorage
from small_dubs import long_talk, srt

LINES = long_talk(18.0, every_s=3.0)
HELD, LATER = LINES[3][2], LINES[4][2]
BEFORE = 2  # segments that end before the fourth line
SETTINGS = {"tts": "gated", "separation": "none", "diarization": "none", "chunk_seconds": 4, "format": "mp4"}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """In which the fourth line is spoken when there is a file `go`, and lines that are asked for stand in `asked`."""
    for each in fixture(tmp_path):
        each.environ = {
            "PYTHONPATH": installed(tmp_path, hold=HELD.replace(".", "[.]") + "$")["PYTHONPATH"],
            "POLYDUB_ENGINES__TTS__GATED__FOLDER": str(tmp_path),
        }
        yield each


@pytest.fixture
def wish(clip: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    """`wish(client, stream="final")` -> a job for 18 s of film whose texts are sent with it."""

    def make(client: httpx.Client, **settings: Any) -> dict[str, Any]:
        film = sent(client, "film.mp4", clip("film", seconds=18.0, suffix=".mp4").read_bytes())
        text = sent(client, "film.es.srt", srt(LINES).encode())
        return {"input": film, "to": ["es"], "translations": {"es": text}, "settings": SETTINGS | settings}

    return make


def plays(path: Path) -> None:
    """Asserts that ffmpeg decodes all of it without a word."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "null", "-"]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert not ran.stderr, ran.stderr.decode()


def files_in(playlist: str) -> list[str]:
    return re.findall(r"^segment_\d+\.m4s$", playlist, re.MULTILINE)


def first_segment(client: httpx.Client, job: str, limit_s: float = 90) -> bytes:
    """As soon as it is there; until then its address says when to ask again."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        answer = client.get(f"/api/jobs/{job}/stream/chunks/1")
        if answer.status_code == 200:
            return answer.content
        assert (answer.status_code, answer.headers["retry-after"]) == (404, "2"), answer.text
        assert client.get(f"/api/jobs/{job}").json()["state"] in ("queued", "running"), client.get(f"/api/jobs/{job}").text
        time.sleep(0.1)
    raise AssertionError(client.get(f"/api/jobs/{job}").text)


def grown(client: httpx.Client, job: str, limit_s: float = 90) -> list[str]:
    """The segments that the playlist lists, when it has come to the line that is held back."""
    end = time.monotonic() + limit_s
    while len(listed := files_in(client.get(f"/api/jobs/{job}/stream/index.m3u8").text)) < BEFORE:
        assert time.monotonic() < end, f"only {listed} within {limit_s} s"
        time.sleep(0.1)
    return listed


def watched(client: httpx.Client, job: str, folder: Path) -> tuple[list[str], bytes]:
    """What is there while the fourth line is held back: the segments that the playlist lists, and the first of them."""
    (folder / "one.mp4").write_bytes(first_segment(client, job))
    plays(folder / "one.mp4")
    assert LATER not in (folder / "asked").read_text(), "a later line has been spoken already"
    listed = grown(client, job)
    answer = client.get(f"/api/jobs/{job}/stream/index.m3u8")
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert listed == files_in(answer.text) == ["segment_001.m4s", "segment_002.m4s"] and "#EXT-X-ENDLIST" not in answer.text
    parts = [client.get(f"/api/jobs/{job}/stream/{name}") for name in ("init.mp4", *listed)]
    assert [part.status_code for part in parts] == [200] * len(parts)
    (folder / "joined.mp4").write_bytes(b"".join(part.content for part in parts))
    plays(folder / "joined.mp4")
    told = client.get(f"/api/jobs/{job}/stream/manifest").json()
    assert told["state"] == "running" and len(told["segments"]) >= len(listed)
    later = client.get(f"/api/jobs/{job}/stream/chunks/9")
    assert (later.status_code, later.json()["error"]["code"], later.headers["retry-after"]) == (404, "not_yet", "2")
    for name in ("subtitles.m3u8", "master.m3u8", "subtitles_001.vtt"):
        assert client.get(f"/api/jobs/{job}/stream/{name}").status_code == 200, name
    return listed, parts[1].content


def finished(client: httpx.Client, job: str, first: bytes, folder: Path) -> dict[str, Any]:
    """What there is when it is done."""
    row = ended(client, job)
    assert row["state"] == "done", row["error"]
    assert client.get(f"/api/jobs/{job}/stream/segment_001.m4s").content == first
    text = client.get(f"/api/jobs/{job}/stream/index.m3u8").text
    assert text.rstrip().endswith("#EXT-X-ENDLIST")
    names = ("init.mp4", *files_in(text))
    (folder / "whole.mp4").write_bytes(b"".join(client.get(f"/api/jobs/{job}/stream/{name}").content for name in names))
    plays(folder / "whole.mp4")
    assert client.get(f"/api/jobs/{job}/stream/manifest").json()["state"] == "finished"
    assert client.get(f"/api/jobs/{job}/stream/chunks/99").headers.get("retry-after") is None
    told: dict[str, Any] = client.get(f"/api/jobs/{job}/result").json()
    assert {"stream/index.m3u8", "stream/segment_001.m4s", "stream/manifest.json"} <= {f["name"] for f in told["files"]}
    for file in told["files"]:
        answer = client.get(file["url"], follow_redirects=True)
        assert (answer.status_code, len(answer.content)) == (200, file["bytes"]), file["name"]
    return told


@pytest.mark.slow
def test_a_stream_is_watched_while_it_is_made_and_goes_on_after_kill_9(
    processes: Processes, wish: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    process, client = processes.serve()
    answer = client.post("/api/jobs", json=wish(client, stream="final"))
    assert answer.status_code == 201, answer.text
    job = answer.json()["id"]
    listed, first = watched(client, job, tmp_path)
    process.kill()
    process.wait()
    _, client = processes.serve()
    assert files_in(client.get(f"/api/jobs/{job}/stream/index.m3u8").text) == listed, "what was made stays listed"
    (tmp_path / "go").touch()
    told = finished(client, job, first, tmp_path)
    assert told["dubs"][0]["film"] == "stream/stream.final.mp4"
    (tmp_path / "final.mp4").write_bytes(client.get(told["dubs"][0]["url"]).content)
    plays(tmp_path / "final.mp4")


@pytest.mark.slow
def test_a_stream_that_is_paused_goes_on_and_one_that_is_cancelled_stays_playable(
    processes: Processes, wish: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    _, client = processes.serve()
    job = client.post("/api/jobs", json=wish(client, stream="segments")).json()["id"]
    listed, first = watched(client, job, tmp_path)
    began = time.monotonic()
    assert client.post(f"/api/jobs/{job}/pause").json()["state"] == "paused"
    assert client.get(f"/api/jobs/{job}/stream/manifest").json()["state"] == "stopped"
    assert "ENDLIST" not in client.get(f"/api/jobs/{job}/stream/index.m3u8").text, "it may go on"
    assert client.post(f"/api/jobs/{job}/resume").json()["attempt"] == 2
    until(
        lambda: client.get(f"/api/jobs/{job}/stream/manifest").json()["state"] == "running",
        processes.running[0],
        tmp_path / "asked",
    )
    assert client.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert time.monotonic() - began < 60
    text = client.get(f"/api/jobs/{job}/stream/index.m3u8").text
    assert text.rstrip().endswith("#EXT-X-ENDLIST") and files_in(text) == listed
    assert client.get(f"/api/jobs/{job}/stream/{listed[0]}").content == first
    (tmp_path / "go").touch()
    assert client.post(f"/api/jobs/{job}/retry").json()["attempt"] == 3
    told = finished(client, job, first, tmp_path)
    assert (told["dubs"][0]["film"], told["dubs"][0]["report"]) == ("stream/index.m3u8", "stream/manifest.json")
    assert client.get(f"/api/jobs/{job}/transcript").status_code in (404, 409, 422), "a stream has no lines to review"


@pytest.mark.slow
def test_a_stream_made_on_another_host_is_watched_through_the_bucket_and_a_second_host_goes_on(
    processes: Processes, wish: Callable[..., dict[str, Any]], tmp_path: Path, postgres: str
) -> None:
    with a_bucket() as bucket:
        processes.environ |= {
            "POLYDUB_SERVER__DATABASE": postgres,
            "POLYDUB_SERVER__STORAGE": f"s3://{NAME}",
            "POLYDUB_SERVER__S3_ENDPOINT": bucket.endpoint,
            "POLYDUB_S3_ACCESS_KEY_ID": ACCESS,
            "POLYDUB_S3_SECRET_ACCESS_KEY": SECRET,
        }
        _, client = processes.serve()
        one = processes.work("one")
        job = client.post("/api/jobs", json=wish(client, stream="segments")).json()["id"]
        listed, first = watched(client, job, tmp_path)
        assert not (tmp_path / "data" / "jobs" / job).exists(), "nothing of it lies where the server is"
        processes.work("two")
        time.sleep(12)  # a worker looks for dead ones only after as long a time of its own beats
        one.kill()
        (tmp_path / "go").touch()
        seen: list[list[str]] = []
        while client.get(f"/api/jobs/{job}").json()["state"] in ("queued", "running"):
            seen.append(files_in(client.get(f"/api/jobs/{job}/stream/index.m3u8").text))
            assert len(seen[-1]) >= len(listed), "the list never gets shorter"
            time.sleep(0.1)
        finished(client, job, first, tmp_path)
        keys = [key for key in list(bucket.objects) if f"jobs/{job}/stream/" in key]
        assert any(key.endswith("chunk_001.mp4") for key in keys)
        client.delete(f"/api/jobs/{job}")
        assert not [key for key in list(bucket.objects) if f"jobs/{job}/" in key]


# ------------------------------------------------------------------ what may be asked


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    (tmp_path / "data").mkdir()
    jobs = HandJobs()
    async with open_house(tmp_path / "data", storage=LocalStorage(tmp_path / "files"), jobs=jobs) as opened:
        jobs.records = opened.services.records
        yield opened


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"to": ["es", "fr"]}, "one language"),
        ({"settings": {"stream": "segments", "burn_in": "target"}}, "needs the whole film"),
        ({"settings": {"stream": "segments", "stretch_video": True}}, "needs the whole film"),
        ({"settings": {"stream": "final", "lip_sync": "fake"}}, "needs the whole film"),
        ({"settings": {"stream": "chunks"}}, "stream"),
        ({"settings": {"stream": "segments", "chunk_seconds": 1}}, "chunk_seconds"),
        ({"settings": {"stream": "segments", "overlap_seconds": 99}}, "overlap_seconds"),
        ({"files": {"rttm": {"upload": "x", "name": "x.rttm"}}}, "there is no upload"),
    ],
)
async def test_what_a_stream_cannot_have_is_refused_at_once(house: House, more: dict[str, Any], words: str) -> None:
    async with await house.as_("editor") as client:
        base = {"input": {"url": "https://films.example.org/x.mp4"}, "to": ["es"], "settings": {"stream": "segments"}}
        answer = await client.post("/api/jobs", json=base | more)
        assert answer.status_code in (400, 404, 422), answer.text
        assert words in answer.text
        assert (await client.post("/api/jobs", json=base)).status_code == 201
