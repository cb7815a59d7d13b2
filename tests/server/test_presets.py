"""Presets over HTTP: recordings become a voice, a dub that names it speaks in it, and it goes when its owner says so."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from house import House, open_house, until
from job_world import HandJobs

from polydub.server import requests, retention
from polydub.server.look import Found
from polydub.server.presets import KIND, LEASE, MADE, TASK, TRIES, Presets, told
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Uploads
from polydub.server.webhooks import OUTBOX
from small_dubs import TALK, spoken_film, srt

pytestmark = pytest.mark.anyio
SAID = "Good morning to you. We have waited a long time for this day, and now it has come at last."
CONSENT = "Bob Hall, by e-mail, 2026-03-01"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    jobs = HandJobs()
    (tmp_path / "data").mkdir()
    async with open_house(tmp_path / "data", storage=LocalStorage(tmp_path / "files"), jobs=jobs) as opened:
        jobs.records = opened.services.records
        yield opened


@pytest.fixture
async def ana(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with await house.as_("editor", "ana") as client:
        yield client


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording in which one person speaks for some 18 s."""
    film = tmp_path_factory.mktemp("speech") / "bob.mkv"
    spoken_film(film, [("BOB", SAID)] * 4)
    return film.read_bytes()


async def sent(client: httpx.AsyncClient, data: bytes, name: str) -> str:
    answer = await client.post("/api/upload", files={"file": (name, data)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def begun(client: httpx.AsyncClient, *recordings: bytes, **wish: str) -> str:
    """The id of a preset called Narrator."""
    suffix = {data: "srt" if data[:1] == b"1" else "mkv" for data in recordings}
    uploads = [await sent(client, data, f"{number}.{suffix[data]}") for number, data in enumerate(recordings, 1)]
    answer = await client.post("/api/presets", json={"name": "Narrator", "uploads": uploads, "consent": CONSENT, **wish})
    assert (answer.status_code, answer.json()["state"]) == (201, "CREATED"), answer.text
    return answer.json()["id"]


async def state(client: httpx.AsyncClient, id_: str) -> tuple[str, str]:
    facts = (await client.get(f"/api/presets/{id_}")).json()
    return facts["state"], facts["message"]


def talk() -> bytes:
    return srt(TALK).encode()


async def dubbed(client: httpx.AsyncClient, preset: str, **wish: Any) -> httpx.Response:
    film = await sent(client, talk(), "talk.srt")
    return await client.post("/api/jobs", json={"input": {"upload": film}, "to": ["es"], "voice_preset_id": preset, **wish})


async def announced(house: House) -> list[str]:
    rows = await house.services.records.list(OUTBOX)
    return [f"{told['event']} {json.loads(told['body'])['data']['id']}" for _, _, told in rows]


async def listening(client: httpx.AsyncClient) -> None:
    hook = {"url": "https://studio.example.org/hook", "events": ["preset.done", "preset.failed"]}
    assert (await client.post("/api/webhooks", json=hook)).status_code == 201


async def test_a_preset_becomes_a_voice_that_a_dub_names(house: House, ana: httpx.AsyncClient, speech: bytes) -> None:
    await listening(ana)
    id_ = await begun(ana, speech, speech, language="en")
    early = await dubbed(ana, id_)
    assert (early.status_code, early.json()["error"]["code"]) == (409, "preset_not_ready")
    await house.app.state.presets.work_due()
    facts = (await ana.get(f"/api/presets/{id_}")).json()
    assert (facts["state"], facts["progress"], facts["message"], facts["speech_s"] >= 30) == ("READY", 1.0, "", True)
    assert (await ana.get("/api/presets")).json() == [facts]
    assert await announced(house) == [f"preset.done {id_}"]
    job = (await dubbed(ana, id_, voices={"BOB": "low"})).json()["request"]
    assert ([file["name"] for file in job["voice"]], job["preset"]) == (["1.flac", "2.flac", "voice.json"], "Narrator")
    request = requests.read(job)
    folder = Path("/jobs/1")
    assert requests.to_job(request, folder)[1]["voice"] == {"*": "/jobs/1/input/voice", "BOB": "low"}
    brought = {str(place): upload for place, upload in requests.places(request, folder).items()}
    manifest = house.services.storage.local(f"uploads/{brought['/jobs/1/input/voice/voice.json']}")
    assert manifest is not None
    kept = json.loads(manifest.read_text(encoding="utf-8"))
    assert (kept["name"], kept["consent"], kept["language"], len(kept["references"])) == ("Narrator", CONSENT, "en", 2)


async def test_recordings_that_may_be_of_somebody_else_are_told_and_kept_in_a_preset(
    house: House, ana: httpx.AsyncClient, speech: bytes, tmp_path: Path
) -> None:
    spoken_film(tmp_path / "ann.mkv", [("ANN", SAID)] * 3)
    other = (tmp_path / "ann.mkv").read_bytes()
    id_ = await begun(ana, speech, other, speech)
    await house.app.state.presets.work_due()
    facts = (await ana.get(f"/api/presets/{id_}")).json()
    told = "2.mkv sounds like another person than 1.mkv, or from another microphone or room (told by fingerprint)"
    assert (facts["state"], facts["notices"]) == ("READY", [told])
    files = [file["name"] for file in (await dubbed(ana, id_)).json()["request"]["voice"]]
    assert files == ["1.flac", "2.flac", "3.flac", "voice.json"]


async def test_a_form_names_a_preset_too(house: House, ana: httpx.AsyncClient, speech: bytes) -> None:
    id_ = await begun(ana, speech, speech)
    form = {"target_languages": "es", "voice_preset_id": id_}
    early = await ana.post("/api/dub", data=form, files={"file": ("talk.srt", talk())})
    assert (early.status_code, early.json()["error"]["param"]) == (409, "voice_preset_id")
    await house.app.state.presets.work_due()
    answer = await ana.post("/api/dub", data=form, files={"file": ("talk.srt", talk())})
    assert (answer.status_code, len(answer.json()["request"]["voice"])) == (201, 3)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"consent": " "}, 422),
        ({"uploads": []}, 422),
        ({"uploads": ["nothing"]}, 404),
        ({"name": "../x"}, 422),
        ({"language": "xx-zz"}, 422),
        ({"state": "READY"}, 422),
    ],
    ids=str,
)
async def test_a_preset_that_cannot_be_is_refused_at_once(ana: httpx.AsyncClient, wrong: dict[str, Any], status: int) -> None:
    upload = await sent(ana, talk(), "talk.srt")
    answer = await ana.post("/api/presets", json={"name": "Narrator", "uploads": [upload], "consent": CONSENT, **wrong})
    assert answer.status_code == status, answer.text
    assert (await ana.get("/api/presets")).json() == []


async def test_a_preset_fails_in_one_sentence_and_stays_so(house: House, ana: httpx.AsyncClient, speech: bytes) -> None:
    await listening(ana)
    short, silly = await begun(ana, speech), await begun(ana, talk())
    gone = await begun(ana, speech, speech)
    upload = (await ana.get(f"/api/presets/{gone}")).json()["uploads"][1]
    await ana.delete(f"/api/uploads/{upload}", headers={"tus-resumable": "1.0.0"})
    for _ in range(2):
        await house.app.state.presets.work_due()
    said = [await state(ana, id_) for id_ in (short, silly, gone)]
    assert [name for name, _ in said] == ["FAILED"] * 3
    assert said[0][1].endswith("s of speech are too few for a preset: it needs 30 s or more of one person")
    assert "1.srt" in said[1][1] and "/" not in said[1][1]
    assert said[2][1] == "there is no upload of this id"
    refused = await dubbed(ana, short)
    assert (refused.status_code, "too few" in refused.json()["error"]["message"]) == (409, True)
    assert sorted(await announced(house)) == sorted(f"preset.failed {id_}" for id_ in (short, silly, gone))


async def test_a_preset_that_fails_says_what_is_wrong_with_a_recording(
    house: House, ana: httpx.AsyncClient, speech: bytes
) -> None:
    sound = io.BytesIO()
    soundfile.write(sound, [0.0] * 16_000, 16_000, format="WAV")
    id_ = await begun(ana, speech, sound.getvalue())
    await house.app.state.presets.work_due()
    name, why = await state(ana, id_)
    assert (name, why.startswith("no voice can be made from 2.mkv: 0.0 s of speech are too little")) == ("FAILED", True), why


async def test_a_deleted_preset_leaves_no_voice_but_for_jobs_that_need_it(
    house: House, ana: httpx.AsyncClient, speech: bytes
) -> None:
    records, used, free = house.services.records, await begun(ana, speech, speech), await begun(ana, speech, speech)
    await house.app.state.presets.work_due()
    voices = {id_: [file["upload"] for file in made["voice"]] for id_, _, made in await records.list(MADE)}
    job = (await dubbed(ana, used)).json()["id"]
    for id_ in (used, free):
        assert (await ana.delete(f"/api/presets/{id_}")).status_code == 204
    there = {upload["id"] for upload in (await ana.get("/api/uploads")).json()}
    assert (there & {*voices[used]}, there & {*voices[free]}) == ({*voices[used]}, set())
    assert [await records.list(kind) for kind in (KIND, TASK, MADE)] == [[], [], []]
    assert (await dubbed(ana, used)).status_code == 404
    await house.services.jobs.cancel(job)
    house.clock.pass_by(days=30)
    gone = {row.name for row in await retention.sweep(house.services, dry_run=True)}
    assert gone >= {*voices[used]}


async def test_the_voice_of_a_preset_is_kept_however_long_nobody_uses_it(
    house: House, ana: httpx.AsyncClient, speech: bytes
) -> None:
    id_ = await begun(ana, speech, speech)
    await house.app.state.presets.work_due()
    house.clock.pass_by(days=300)
    await retention.sweep(house.services)
    found = await house.services.records.get(MADE, id_)
    assert found is not None
    for file in found[1]["voice"]:
        assert await house.services.storage.size(f"uploads/{file['upload']}")


async def test_a_preset_that_is_deleted_while_it_is_made_leaves_nothing(
    house: House, ana: httpx.AsyncClient, speech: bytes
) -> None:
    await listening(ana)
    id_ = await begun(ana, speech, speech)

    async def deletes(_file: Path, name: str) -> Found:
        await house.app.state.presets.drop(id_)
        return Found("text/plain" if name.endswith(".json") else "audio/flac")

    before = await house.services.storage.keys("uploads/")
    await Presets(house.services, Uploads(house.services, deletes)).work_due()
    assert [await house.services.records.list(kind) for kind in (KIND, TASK, MADE, OUTBOX)] == [[], [], [], []]
    assert sorted(await house.services.storage.keys("uploads/")) == sorted(before)


async def test_what_a_killed_server_began_is_ended_when_its_lease_is_over(
    house: House, ana: httpx.AsyncClient, speech: bytes
) -> None:
    records, presets = house.services.records, house.app.state.presets
    id_ = await begun(ana, speech, speech)
    owner = (await house.person("editor", "ana")).id
    due = (house.clock() + LEASE).isoformat()
    await records.put(TASK, id_, owner, {"due": due, "begun": True, "progress": 0.5, "tries": 1})
    await presets.work_due()
    facts = (await ana.get(f"/api/presets/{id_}")).json()
    assert (facts["state"], facts["progress"]) == ("TRAINING", 0.5)
    house.clock.pass_by(minutes=11)
    await presets.work_due()
    assert (await state(ana, id_))[0] == "READY"
    await listening(ana)
    await records.put(TASK, id_, owner, {"due": due, "begun": True})  # as if it had died before the end was announced
    await presets.work_due()
    assert await announced(house) == [f"preset.done {id_}"]
    assert await records.list(TASK) == []


async def test_a_recording_that_takes_servers_with_it_is_given_up(house: House, ana: httpx.AsyncClient, speech: bytes) -> None:
    id_ = await begun(ana, speech, speech)
    task = {"due": house.clock().isoformat(), "begun": True, "tries": TRIES}
    await house.services.records.put(TASK, id_, (await house.person("editor", "ana")).id, task)
    await house.app.state.presets.work_due()
    assert await state(ana, id_) == ("FAILED", "the server failed at it: its log tells more")


async def test_a_running_server_makes_presets_by_itself(house: House, ana: httpx.AsyncClient, speech: bytes) -> None:
    async with house.app.state.presets.running():
        id_ = await begun(ana, speech, speech)

        async def ready() -> bool:
            return (await state(ana, id_))[0] == "READY"

        await until(ready, "the preset is not ready")


async def test_a_remote_worker_moves_a_preset_only_forward(house: House, ana: httpx.AsyncClient, speech: bytes) -> None:
    await listening(ana)
    records, presets = house.services.records, house.app.state.presets
    id_, other = await begun(ana, speech, speech), await begun(ana, speech, speech)
    said = {"status": "training", "message": ""}
    for status in ("training", "done"):  # ready is what dubs can speak in: the voice is still to be made here
        await told(records, id_, status, {**said, "status": status})
        assert (await state(ana, id_))[0] == "TRAINING"
    await told(records, other, "failed", {"status": "failed", "message": "the card is broken"})
    await presets.work_due()
    for status in ("training", "failed", "done"):
        for each in (id_, other):
            await told(records, each, status, {"status": status, "message": "late"})
    assert (await state(ana, id_), await state(ana, other)) == (("READY", ""), ("FAILED", "the card is broken"))
    assert sorted(await announced(house)) == sorted([f"preset.done {id_}", f"preset.failed {other}"])
    assert await records.list(TASK) == []
