"""Reviews over HTTP: a real dub, made once; lines are seen, changed, locked, heard, and the film is made again."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from house import House, open_house
from job_world import HandJobs

from polydub import config
from polydub.server.contracts import JobRow
from polydub.server.speech import House as Engines
from small_dubs import TALK, Film

pytestmark = pytest.mark.anyio
SPANISH = ("Hola, ¿qué tal?", "Muy bien hoy, muchas gracias.", "Bien.", "Hasta pronto.")


@pytest.fixture(scope="session")
def dubbed_for_routes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dubbed")


@pytest.fixture
def made(dubbed_for_routes: Path, clip: Callable[..., Path]) -> Path:
    """The output of a dub of TALK into Spanish: lines 1 and 3 of ANNA, 2 and 4 of BOB."""
    film = Film(dubbed_for_routes, dubbed_for_routes / "talk.mkv")
    if not film.project.exists():
        shutil.move(clip("talk", seconds=6.0), film.media)
        film.say(TALK, SPANISH).dub()
    return film.out


@pytest.fixture
async def house(tmp_path: Path, made: Path) -> AsyncIterator[House]:
    """A house in which the editor ana has the done job j1."""
    jobs = HandJobs()
    (tmp_path / "data").mkdir()
    async with open_house(tmp_path / "data", jobs=jobs) as opened:
        jobs.records = opened.services.records
        ana = await opened.person("editor", "ana")
        now = opened.clock()
        result = {"dubs": [], "folder": "output/talk", "files": [], "bytes": 0}
        await opened.services.records.add_job(JobRow("j1", ana.id, "dub", "talk", {}, "done", now, now, result=result))
        waits = now - timedelta(seconds=1)
        await opened.services.records.add_job(JobRow("j2", ana.id, "dub", "talk", {}, "queued", waits, waits))
        shutil.copytree(made, opened.services.folder / "jobs" / "j1" / "output")
        yield opened


@pytest.fixture
async def ana(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with await house.as_("editor", "ana") as client:
        yield client


async def line(client: httpx.AsyncClient, id_: str = "1") -> dict[str, Any]:
    answer = await client.get(f"/api/jobs/j1/lines/{id_}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def code(answer: httpx.Response) -> str:
    return answer.json()["error"]["code"]


async def test_all_lines_are_told(ana: httpx.AsyncClient) -> None:
    told = (await ana.get("/api/jobs/j1/transcript")).json()
    assert (told["language"], told["languages"], told["pending"], len(told["lines"])) == ("es", ["es"], 0, 4)
    first = told["lines"][0]
    assert (first["text"], first["speaker"], first["revision"], first["status"]) == ("Hola, ¿qué tal?", "ANNA", 0, "draft")
    assert first["expression"]["rate"] == 1.0
    assert await line(ana, "1") == first


async def test_a_line_is_changed_undone_and_changed_again(ana: httpx.AsyncClient) -> None:
    answer = await ana.patch("/api/jobs/j1/lines/1", json={"text": "Hola a todos.", "status": "approved", "expected": 0})
    assert answer.status_code == 200, answer.text
    now = answer.json()
    assert (now["text"], now["said"], now["pending"], now["status"], now["revision"]) == (
        "Hola a todos.", "Hola, ¿qué tal?", True, "approved", 1,
    )  # fmt: skip
    undone = (await ana.post("/api/jobs/j1/transcript/undo")).json()
    assert undone["lines"] == ["1"]
    assert (await line(ana))["text"] == "Hola, ¿qué tal?"
    assert (await ana.post("/api/jobs/j1/transcript/redo")).status_code == 200
    assert (await line(ana))["text"] == "Hola a todos."
    assert (await ana.post("/api/jobs/j1/transcript/redo")).status_code == 422
    back = (await ana.patch("/api/jobs/j1/lines/1", json={"text": None})).json()
    assert (back["text"], back["pending"]) == ("Hola, ¿qué tal?", False)


async def test_who_has_not_seen_the_last_change_is_told(ana: httpx.AsyncClient) -> None:
    await ana.patch("/api/jobs/j1/lines/1", json={"text": "Hola a todos.", "expected": 0})
    late = await ana.patch("/api/jobs/j1/lines/1", json={"text": "Buenos días.", "expected": 0})
    assert (late.status_code, code(late)) == (409, "conflict")
    assert (await line(ana))["text"] == "Hola a todos."


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": 5},
        {"start": -1},
        {"start": 5.0, "end": 4.0},
        {"start": 500.0},
        {"status": "locked"},
        {"expression": {"rate": 9}},
        {"expression": {"emotion": "odd"}},
        {"seed": -1},
        {"take": 7},
        {"take": 1, "text": "x"},
        {"surprise": 1},
    ],
    ids=str,
)
async def test_what_cannot_be_set_is_refused_and_changes_nothing(ana: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    before = await line(ana)
    answer = await ana.patch("/api/jobs/j1/lines/1", json=wrong)
    assert answer.status_code == 422, answer.text
    assert await line(ana) == before


@pytest.fixture
def engines(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engines]:
    """The house has engines, and a voice library with Ana in it; the dub is one by espeak-ng, which knows its voices."""
    memory = house.services.folder / "jobs" / "j1" / "output" / "talk" / "project.json"
    memory.write_text(memory.read_text().replace('"tts": "fake"', '"tts": "espeak-ng"'))
    monkeypatch.setenv("POLYDUB_VOICES", str(tmp_path / "voices"))
    (tmp_path / "voices" / "Ana").mkdir(parents=True)
    soundfile.write(tmp_path / "voices" / "Ana" / "reference-1.wav", [0.1, -0.1] * 24_000, 16_000)
    loaded = config.load_from_process({"models": str(tmp_path / "models"), "environments": str(tmp_path / "environments")})
    with closing(Engines(loaded, tmp_path)) as made:
        house.app.state.services = replace(house.services, speech=made)
        yield made


async def test_a_voice_that_nobody_has_is_refused_with_those_that_are_near(ana: httpx.AsyncClient, engines: Engines) -> None:
    before = await line(ana)
    answer = await ana.patch("/api/jobs/j1/lines/1", json={"voice": "anan", "text": "Otro."})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "voice_not_found", "voice")
    assert "in the library: Ana" in error["hint"], error
    several = {"lines": {"1": {"voice": "f2"}, "2": {"voice": "nobody"}}}
    assert code(await ana.put("/api/jobs/j1/transcript", json=several)) == "voice_not_found"
    assert await line(ana) == before


@pytest.mark.parametrize("voice", ["f2", " m3 ", "ana", None])
async def test_a_voice_of_the_engine_or_the_library_is_taken(ana: httpx.AsyncClient, engines: Engines, voice: str) -> None:
    answer = await ana.patch("/api/jobs/j1/lines/1", json={"voice": voice})
    assert (answer.status_code, answer.headers.get("x-polydub-notices")) == (200, None), answer.text
    assert answer.json()["own_voice"] == (voice or "").strip()


@pytest.mark.parametrize("voice", ["/etc/hostname", "../voice", "take.wav", "~/voices/Ana"])
async def test_a_file_of_the_host_is_no_voice(ana: httpx.AsyncClient, voice: str) -> None:
    assert code(await ana.patch("/api/jobs/j1/lines/1", json={"voice": voice})) == "voice_not_found"


async def test_a_voice_that_nobody_can_be_asked_for_is_taken_and_told(ana: httpx.AsyncClient) -> None:
    answer = await ana.patch("/api/jobs/j1/lines/1", json={"voice": "somebody"})
    assert (answer.status_code, answer.headers["x-polydub-notices"]) == (200, "voice-unchecked")


async def test_several_lines_are_one_change_or_none(ana: httpx.AsyncClient) -> None:
    lines = {"1": {"text": "Uno.", "expected": 0}, "2": {"text": "Dos."}}
    told = await ana.put("/api/jobs/j1/transcript", json={"lines": lines})
    assert told.status_code == 200, told.text
    assert ([row["text"] for row in told.json()["lines"][:2]], told.json()["pending"]) == (["Uno.", "Dos."], 2)
    for wrong, status in (({"9": {"text": "x"}}, 404), ({"2": {"text": "x", "expected": 0}}, 409), ({"2": {"take": 1}}, 422)):
        answer = await ana.put("/api/jobs/j1/transcript", json={"lines": {"1": {"text": "Otro."}, **wrong}})
        assert answer.status_code == status, answer.text
    assert (await line(ana))["text"] == "Uno."
    await ana.post("/api/jobs/j1/transcript/undo")
    assert [(await line(ana, id_))["pending"] for id_ in ("1", "2")] == [False, False]


async def test_a_locked_line_stays_as_it_is(ana: httpx.AsyncClient) -> None:
    assert (await ana.post("/api/jobs/j1/lines/3/lock")).json()["status"] == "locked"
    refused = await ana.patch("/api/jobs/j1/lines/3", json={"text": "Otro."})
    assert (refused.status_code, "locked" in refused.json()["error"]["message"]) == (422, True)
    assert (await ana.post("/api/jobs/j1/lines/3/unlock")).json()["status"] == "draft"
    assert (await ana.post("/api/jobs/j1/lines/3/unlock")).status_code == 422
    assert (await ana.patch("/api/jobs/j1/lines/3", json={"text": "Otro."})).status_code == 200


async def test_a_line_is_heard_in_the_film_in_the_source_and_by_takes(ana: httpx.AsyncClient) -> None:
    await ana.patch("/api/jobs/j1/lines/1", json={"text": "Hola a todos."})
    for of in ("dub", "original", "1"):
        answer = await ana.get("/api/jobs/j1/lines/1/audio", params={"of": of})
        assert (answer.status_code, answer.headers["content-type"], answer.content[:4]) == (200, "audio/wav", b"RIFF"), of
    part = await ana.get("/api/jobs/j1/lines/1/audio", headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    wrong = await ana.get("/api/jobs/j1/lines/1/audio", headers={"range": "bytes=x"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "bad_range")
    for path, status in (("1/audio?of=9", 404), ("9/audio", 404), ("1/audio?of=odd", 422), ("1/audio?of=0", 422)):
        assert (await ana.get(f"/api/jobs/j1/lines/{path}")).status_code == status, path


async def test_the_film_is_made_again_as_a_new_attempt(house: House, ana: httpx.AsyncClient) -> None:
    await ana.patch("/api/jobs/j1/lines/1", json={"text": "Hola a todos."})
    answer = await ana.post("/api/jobs/j1/transcript/synthesize")
    assert (answer.status_code, answer.json()["attempt"], answer.json()["state"]) == (202, 2, "queued")
    assert (await line(ana))["text"] == "Hola a todos."  # while it is made
    assert (await ana.post("/api/jobs/j1/transcript/synthesize")).status_code == 409


async def test_a_film_that_could_not_be_made_again_is_mended_and_made(house: House, ana: httpx.AsyncClient) -> None:
    records = house.services.records
    assert await records.move_job("j1", "failed", when=frozenset({"done"}))
    await ana.patch("/api/jobs/j1/lines/1", json={"voice": None})
    answer = await ana.post("/api/jobs/j1/transcript/synthesize")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert await records.move_job("j2", "failed", when=frozenset({"queued"}))
    assert code(await ana.post("/api/jobs/j2/transcript/synthesize")) == "job_not_done"


async def test_speaking_anew_tells_when_the_engine_cannot(ana: httpx.AsyncClient) -> None:
    answer = await ana.post("/api/jobs/j1/lines/1/regen")
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert (answer.json()["seed"] != 0, answer.json()["pending"]) == (True, True)


async def test_what_is_not_there_is_told_without_places_of_this_host(house: House, ana: httpx.AsyncClient) -> None:
    folder = house.services.folder / "jobs" / "j1"
    assert code(await ana.get("/api/jobs/j2/transcript")) == "job_not_done"
    assert (await ana.get("/api/jobs/nothing/transcript")).status_code == 404
    missing = await ana.get("/api/jobs/j1/transcript", params={"language": "fr"})
    assert (missing.status_code, str(house.services.folder) in missing.text) == (422, False)
    (folder / "output" / "talk" / ".spoken.es.json").unlink()
    old = await ana.get("/api/jobs/j1/transcript")
    assert (old.status_code, str(house.services.folder) in old.text) == (422, False)
    shutil.rmtree(folder)
    assert code(await ana.get("/api/jobs/j1/transcript")) == "project_elsewhere"


PATHS = [
    ("GET", "transcript"), ("PUT", "transcript"), ("POST", "transcript/undo"), ("POST", "transcript/redo"),
    ("POST", "transcript/synthesize"), ("GET", "lines/1"), ("PATCH", "lines/1"), ("POST", "lines/1/regen"),
    ("POST", "lines/1/lock"), ("POST", "lines/1/unlock"), ("GET", "lines/1/audio"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_a_dub_of_somebody_else_is_not_there_and_viewers_change_nothing(house: House, method: str, path: str) -> None:
    bodies = {"PUT": {"lines": {"1": {"text": "x"}}}, "PATCH": {"text": "x"}}
    async with await house.as_("editor", "bo") as bo, await house.as_("viewer") as viewer:
        body = bodies.get(method)
        assert (await bo.request(method, f"/api/jobs/j1/{path}", json=body)).status_code == 404
        seen = (await viewer.request(method, f"/api/jobs/j1/{path}", json=body)).status_code
        assert seen == (404 if method == "GET" else 403)
        assert (await house.client().request(method, f"/api/jobs/j1/{path}", json=body)).status_code == 401
