"""/api/transcribe, its events, and /api/separate."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from speech_room import Served, TriedHouse, served, talk_wav, waits_for

from polydub.server.storage import LocalStorage

TALK = ("The river runs quietly under the old bridge.", "Nobody saw it go.")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("services")
    with served(folder, storage=LocalStorage(folder / "files")) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.root, headers={"authorization": f"Bearer {server.token}"}, timeout=60) as made:
        yield made


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    found: list[tuple[str, dict[str, object]]] = []
    for block in text.strip().split("\n\n"):
        if not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_transcript_tells_words_and_notices(client: httpx.Client) -> None:
    told = client.post("/api/transcribe", data={"model": "fake"}, files={"file": talk_wav(*TALK)})
    body = told.json()
    assert (told.status_code, body["language"], told.headers["x-polydub-engine"]) == (200, "en", "fake")
    assert body["segments"][0]["words"][0]["confidence"] == 0.9
    assert isinstance(body["notices"], list)
    for form in ("txt", "srt", "vtt"):
        assert client.post("/api/transcribe", data={"model": "fake", "format": form}, files={"file": talk_wav(*TALK)}).text


def test_the_best_engine_that_is_there_is_taken(client: httpx.Client) -> None:
    told = client.post("/api/transcribe", data={"language": "en"}, files={"file": talk_wav(*TALK)})
    assert told.headers["x-polydub-engine"] == "pocketsphinx"
    assert "bridge" in told.json()["text"].casefold()


def test_events_end_with_complete(client: httpx.Client) -> None:
    told = client.post("/api/transcribe/stream", data={"model": "fake"}, files={"file": talk_wav(*TALK)})
    assert told.headers["content-type"].startswith("text/event-stream")
    found = events(told.text)
    names = [name for name, _ in found]
    assert names[0] == "metadata"
    assert names[-1] == "complete"
    assert {"progress", "segment"} <= set(names)
    assert names.count("complete") + names.count("error") == 1
    told_of = [json.dumps(data) for name, data in found if name == "progress"]
    assert all(one != other for one, other in pairwise(told_of))
    assert " ".join(str(data["text"]) for name, data in found if name == "segment") == found[-1][1]["text"]


def test_events_end_with_error_when_it_fails(client: httpx.Client) -> None:
    found = events(client.post("/api/transcribe/stream", data={"model": "breaking"}, files={"file": talk_wav(*TALK)}).text)
    assert found[-1][0] == "error"
    assert found[-1][1]["code"] == "engine_failed"
    assert "complete" not in [name for name, _ in found]


def test_what_is_refused_has_a_status_and_a_hint(client: httpx.Client) -> None:
    told = client.post("/api/transcribe/stream", data={"model": "fake"}, files={"file": b"#EXTM3U\n/etc/passwd\n"})
    assert told.status_code in (415, 422)
    assert set(told.json()["error"]) == {"message", "type", "param", "code", "hint"}
    told = client.post("/api/transcribe", data={"model": "nothing"}, files={"file": talk_wav(*TALK)})
    assert (told.status_code, told.json()["error"]["code"]) == (404, "model_not_found")


def test_the_parts_of_a_recording_sum_to_it(client: httpx.Client) -> None:
    samples = np.zeros((96_000, 2), np.float32)
    samples[:, 0] = 0.2 * np.sin(np.arange(96_000) * 0.05)
    memory = io.BytesIO()
    soundfile.write(memory, samples, 48_000, format="WAV", subtype="PCM_24")
    told = client.post("/api/separate", files={"file": memory.getvalue()})
    body = told.json()
    assert (told.status_code, told.headers["x-polydub-engine"]) == (200, "mask")
    assert {row["name"] for row in body["stems"]} == {"dialogue", "background"}
    parts = [client.get(row["url"]) for row in body["stems"]]
    assert all(part.headers["content-type"] == "audio/flac" for part in parts)
    whole = sum(soundfile.read(io.BytesIO(part.content), dtype="float32")[0] for part in parts)
    assert whole.shape == samples.shape
    assert np.allclose(whole, soundfile.read(io.BytesIO(memory.getvalue()), dtype="float32")[0], atol=1e-6)
    ranged = client.get(body["stems"][0]["url"], headers={"range": "bytes=0-3"})
    assert (ranged.status_code, ranged.content) == (206, b"fLaC")
    outside = client.get(body["stems"][0]["url"], headers={"range": "bytes=99999999-"})
    assert (outside.status_code, outside.json()["error"]["code"]) == (416, "bad_range")


def test_an_archive_holds_all_parts(client: httpx.Client, server: Served) -> None:
    told = client.post("/api/separate", data={"format": "zip"}, files={"file": talk_wav(*TALK)})
    assert told.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(told.content)) as archive:
        assert archive.namelist() == ["dialogue.flac", "background.flac"]
        assert archive.read("dialogue.flac").startswith(b"fLaC")
    scratch = server.house.store.folder / "scratch"
    assert waits_for(lambda: not [path for path in scratch.glob("p-*/*") if path.name != "lock"])


def test_parts_of_others_and_other_names_are_not_there(client: httpx.Client) -> None:
    body = client.post("/api/separate", files={"file": talk_wav(*TALK)}).json()
    for path in (f"/api/separate/{body['id']}/bass", "/api/separate/0123/dialogue", f"/api/separate/{body['id']}/..%2Fx"):
        assert client.get(path).status_code == 404


def test_an_engine_without_stems_says_so(client: httpx.Client) -> None:
    told = client.post("/api/separate", data={"stems": "all", "model": "mask"}, files={"file": talk_wav(*TALK)})
    assert (told.status_code, told.json()["error"]["code"]) == (400, "stems_unsupported")


def test_requests_of_one_moment_share_engines_and_what_is_told_of_them(tmp_path: Path) -> None:
    house = TriedHouse(tmp_path)
    told: list[tuple[list[str], list[str]]] = []
    for wants in ({"asr": "en", "vad": "und"}, {"asr": "en", "vad": "und"}, {"asr": "en"}):
        with house.run() as run:
            assert house.choose(run, "asr", "whisper-1", wants) is run.tools["asr"]
            told.append((sorted(run.tools), [notice.code for notice in run.notices]))
    house.close()
    assert told[0] == told[1]
    assert "substitute" in told[0][1]
    assert told[0][0] == ["asr", "vad"]
    assert told[2][0] == ["asr"]
