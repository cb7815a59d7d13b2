"""Voices, glossaries, characters and presets over HTTP: kept, listed, deleted; one's own stay one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from house import House, open_house
from job_world import HandJobs

from polydub.server.library_facts import Homes
from polydub.server.storage import LocalStorage
from polydub.text.glossary import parse_glossary
from polydub.voices.book import Book, Character, Shelf
from small_dubs import spoken_film

pytestmark = pytest.mark.anyio
SAID = "Good morning to you. We have waited a long time for this day, and now it has come at last."


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    jobs = HandJobs()
    (tmp_path / "data").mkdir()
    async with open_house(tmp_path / "data", storage=LocalStorage(tmp_path / "files"), jobs=jobs) as opened:
        jobs.records = opened.services.records
        opened.app.state.homes = Homes(tmp_path / "voices", Shelf(tmp_path / "characters.json"))
        yield opened


@pytest.fixture
async def ana(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with await house.as_("editor", "ana") as client:
        yield client


@pytest.fixture
async def bo(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with await house.as_("editor", "bo") as client:
        yield client


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film in which one person speaks."""
    film = tmp_path_factory.mktemp("speech") / "anna.mkv"
    spoken_film(film, [("ANN", SAID)] * 2)
    return film.read_bytes()


def code(answer: httpx.Response) -> str:
    return answer.json()["error"]["code"]


async def sent(client: httpx.AsyncClient, data: bytes, name: str) -> str:
    answer = await client.post("/api/upload", files={"file": (name, data)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


# ------------------------------------------------------------------ voices


async def test_a_voice_is_kept_listed_and_deleted_by_who_added_it(
    house: House, ana: httpx.AsyncClient, bo: httpx.AsyncClient, speech: bytes
) -> None:
    upload = await sent(ana, speech, "anna's film.mkv")
    wish = {
        "name": "Anna", "recordings": [{"upload": upload, "transcript": "Good morning."}], "language": "en",
        "consent": "Anna Roth, by e-mail, 2026-03-01", "tags": ["calm"], "force": True,
    }  # fmt: skip
    answer = await ana.post("/api/voices", json=wish)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["name"], answer.json()["recordings"], answer.json()["deletable"]) == ("Anna", 1, True)
    assert answer.json()["notices"] == []
    assert (await ana.post("/api/voices", json=wish)).status_code == 422  # the name is taken
    [told] = (await bo.get("/api/voices")).json()["voices"]
    assert (await bo.get("/api/voices/anna")).json() == told
    assert (await bo.get("/api/voices/An")).status_code == 404
    assert (told["language"], told["tags"], told["deletable"]) == ("en", ["calm"], False)
    async with await house.as_("viewer") as viewer:
        assert (await viewer.get("/api/voices")).json()["voices"][0]["consent"] == ""
        assert (await viewer.delete("/api/voices/Anna")).status_code == 403
    assert (await bo.delete("/api/voices/Anna")).status_code == 403
    assert (await ana.delete("/api/voices/Bert")).status_code == 404
    assert (await ana.delete("/api/voices/anna")).status_code == 204
    assert (await ana.get("/api/voices")).json()["voices"] == []


async def test_what_is_doubtful_about_the_recordings_of_a_voice_is_told_where_it_is_made(
    ana: httpx.AsyncClient, speech: bytes, tmp_path: Path
) -> None:
    spoken_film(tmp_path / "bob.mkv", [("BOB", SAID)] * 2)
    names = [await sent(ana, speech, "1.mkv"), await sent(ana, (tmp_path / "bob.mkv").read_bytes(), "2.mkv")]
    wish = {"name": "Both", "recordings": [{"upload": id_} for id_ in names], "licence": "CC0-1.0"}
    answer = await ana.post("/api/voices", json=wish)
    assert answer.status_code == 201, answer.text
    assert "like another person than" in "; ".join(answer.json()["notices"])


async def test_what_is_told_of_a_voice_is_changed_by_who_added_it(
    house: House, ana: httpx.AsyncClient, bo: httpx.AsyncClient, speech: bytes
) -> None:
    upload = await sent(ana, speech, "anna.mkv")
    for client, name in ((ana, "Anna"), (bo, "Bert")):
        mine = upload if client is ana else await sent(bo, speech, "bert.mkv")
        wish = {"name": name, "recordings": [{"upload": mine}], "licence": "CC0-1.0", "description": "low", "tags": ["calm"]}
        assert (await client.post("/api/voices", json=wish)).status_code == 201
    before = (await ana.get("/api/voices/Anna")).json()
    asked = {"language": "German", "tags": [], "aliases": ["nova", "Anni"]}
    answer = await ana.patch("/api/voices/anna", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {**before, "language": "de", "tags": [], "aliases": ["Anni", "nova"]}
    listed = (await bo.get("/api/voices")).json()
    assert (
        listed["voices"][0]["description"] == "low"
        and listed["aliases"]["nova"] == "Anna"
        and "Bert" in listed["aliases"].values()
    )
    for wrong in ({"aliases": ["Bert"]}, {"language": "Klingonisch"}, {"licence": "mine alone"}, {"name": "Bea"}):
        assert (await ana.patch("/api/voices/Anna", json=wrong)).status_code == 422, wrong
    assert (await bo.patch("/api/voices/Bert", json={"aliases": ["nova"]})).status_code == 422  # Anna's
    assert (await bo.patch("/api/voices/Anna", json={"description": "mine"})).status_code == 403
    assert (await ana.patch("/api/voices/Clara", json={"description": "hers"})).status_code == 404
    assert (await ana.patch("/api/voices/Anna", json={"licence": "own", "consent": "Anna Roth, 2026"})).status_code == 200
    assert (await ana.get("/api/voices/Anna")).json()["consent"] == "Anna Roth, 2026"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"consent": ""}, 422),
        ({"name": "../x"}, 422),
        ({"name": ""}, 422),
        ({"language": "xx-zz"}, 422),
        ({"recordings": []}, 422),
        ({"recordings": [{"upload": "nothing"}]}, 404),
        ({"surprise": 1}, 422),
    ],
    ids=str,
)
async def test_a_voice_that_cannot_be_is_refused_and_leaves_nothing(
    ana: httpx.AsyncClient, wrong: dict[str, Any], status: int
) -> None:
    upload = await sent(ana, b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", "talk.srt")
    wish = {"name": "Anna", "recordings": [{"upload": upload}], "consent": "Anna, 2026", **wrong}
    answer = await ana.post("/api/voices", json=wish)
    assert answer.status_code == status, answer.text
    assert (await ana.get("/api/voices")).json()["voices"] == []


async def test_a_recording_that_is_none_is_told_without_places_of_this_host(
    ana: httpx.AsyncClient, bo: httpx.AsyncClient
) -> None:
    upload = await sent(ana, b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", "talk.srt")
    wish = {"name": "Anna", "recordings": [{"upload": upload}], "consent": "Anna, 2026"}
    answer = await ana.post("/api/voices", json=wish)
    assert (answer.status_code, "/" in answer.json()["error"]["message"]) == (422, False)
    assert (await bo.post("/api/voices", json=wish)).status_code == 404


# ------------------------------------------------------------------ glossaries

TERMS = [{"term": "cloud", "translation": "nube", "note": ""}, {"term": "Polydub", "translation": "", "note": "a name"}]


async def test_a_glossary_is_kept_replaced_and_comes_back_as_csv(ana: httpx.AsyncClient) -> None:
    made = await ana.post("/api/glossaries", json={"name": "Términos", "entries": TERMS})
    assert made.status_code == 201, made.text
    id_ = made.json()["id"]
    assert made.json()["entries"][1] == {"term": "Polydub", "translation": "Polydub", "note": "a name"}
    sheet = await ana.get(f"/api/glossaries/{id_}/csv")
    assert sheet.headers["content-type"].startswith("text/csv")
    assert "T%C3%A9rminos.csv" in sheet.headers["content-disposition"]
    assert [(e.term, e.translation) for e in parse_glossary(sheet.content)] == [("cloud", "nube"), ("Polydub", "Polydub")]
    back = await ana.put(f"/api/glossaries/{id_}/csv", content=sheet.content + b"sea,mar\r\n")
    assert (back.status_code, back.json()["terms"], back.json()["name"]) == (200, 3, "Términos")
    again = await ana.put(f"/api/glossaries/{id_}", json={"name": "Otro", "entries": []})
    assert (again.json()["terms"], again.json()["created"]) == (0, made.json()["created"])
    imported = await ana.post("/api/glossaries/csv", params={"name": "x"}, content=b"sea;mar\n")
    assert imported.json()["entries"] == [{"term": "sea", "translation": "mar", "note": ""}]
    assert {each["name"] for each in (await ana.get("/api/glossaries")).json()} == {"Otro", "x"}
    assert (await ana.delete(f"/api/glossaries/{id_}")).status_code == 204
    assert (await ana.get(f"/api/glossaries/{id_}")).status_code == 404


@pytest.mark.parametrize(
    "entries",
    [
        [{"term": ""}],
        [{"term": "..."}],
        [{"term": "# cloud", "translation": "nube"}],
        [{"term": "cloud", "translation": "nube"}, {"term": "cloud", "translation": "otra"}],
        [{"term": "a\0b"}],
        [{"term": "x" * 201}],
    ],
)
async def test_terms_that_are_none_are_refused(ana: httpx.AsyncClient, entries: list[dict[str, str]]) -> None:
    answer = await ana.post("/api/glossaries", json={"name": "x", "entries": entries})
    assert answer.status_code == 422, answer.text
    assert (await ana.get("/api/glossaries")).json() == []


async def test_sheets_that_are_none_or_too_large_are_refused(ana: httpx.AsyncClient) -> None:
    for content, status in ((b"\xff\xfe", 422), (b'"open', 422), (b"a,b\n" * 300_000, 413)):
        assert (await ana.post("/api/glossaries/csv", params={"name": "x"}, content=content)).status_code == status


async def test_a_key_still_gives_its_job_when_what_was_wished_is_gone(ana: httpx.AsyncClient) -> None:
    id_ = (await ana.post("/api/glossaries", json={"name": "x", "entries": TERMS})).json()["id"]
    film = await sent(ana, b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", "talk.srt")
    wish, key = {"input": {"upload": film}, "to": ["es"], "glossary": id_}, {"idempotency-key": "k"}
    made = (await ana.post("/api/jobs", json=wish, headers=key)).json()
    assert (await ana.delete(f"/api/glossaries/{id_}")).status_code == 204
    assert (await ana.post("/api/jobs", json=wish, headers=key)).json() == made
    assert (await ana.post("/api/jobs", json=wish)).status_code == 404


async def test_a_job_takes_a_glossary_as_it_is_now(house: House, ana: httpx.AsyncClient, bo: httpx.AsyncClient) -> None:
    id_ = (await ana.post("/api/glossaries", json={"name": "x", "entries": TERMS})).json()["id"]
    film = await sent(ana, b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", "talk.srt")
    wish = {"input": {"upload": film}, "to": ["es"], "glossary": id_}
    job = (await ana.post("/api/jobs", json=wish)).json()
    kept = job["request"]["files"]["glossary"]
    path = house.services.storage.local(f"uploads/{kept['upload']}")
    assert path is not None
    assert [e.term for e in parse_glossary(path.read_bytes())] == ["cloud", "Polydub"]
    assert (await ana.post("/api/jobs", json={**wish, "glossary": "nothing"})).status_code == 404
    twice = {**wish, "files": {"glossary": {"upload": kept["upload"]}}}
    assert (await ana.post("/api/jobs", json=twice)).status_code == 422
    theirs = await sent(bo, b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", "talk.srt")
    assert (await bo.post("/api/jobs", json={**wish, "input": {"upload": theirs}})).status_code == 404


# ------------------------------------------------------------------ characters


async def test_characters_are_listed_renamed_and_forgotten(house: House, ana: httpx.AsyncClient) -> None:
    with house.app.state.homes.characters.changing() as draft:
        people = (Character(id="c1", name="Hero"), Character(id="c2", name="Villain"))
        draft.book = Book(next=3, characters=people)
    assert [one["name"] for one in (await ana.get("/api/characters")).json()] == ["Hero", "Villain"]
    told = await ana.patch("/api/characters/c1", json={"name": "Heroine"})
    assert (told.status_code, told.json()["name"]) == (200, "Heroine")
    assert (await ana.get("/api/characters/c1")).json() == told.json()
    assert (await ana.patch("/api/characters/c1", json={"name": "villain"})).status_code == 422
    assert (await ana.patch("/api/characters/Hero", json={"name": "x"})).status_code == 404
    assert (await ana.delete("/api/characters/c2")).status_code == 204
    assert (await ana.delete("/api/characters/c2")).status_code == 404
    assert [one["id"] for one in (await ana.get("/api/characters")).json()] == ["c1"]


async def test_a_damaged_book_is_told_without_its_place(house: House, ana: httpx.AsyncClient) -> None:
    file = house.app.state.homes.characters.file
    file.write_text("{")
    answer = await ana.get("/api/characters")
    assert (answer.status_code, str(file.parent) in answer.text) == (500, False)
    assert file.read_text() == "{"


async def test_a_character_is_enrolled_from_recordings_and_learns_under_its_name(
    ana: httpx.AsyncClient, bo: httpx.AsyncClient, speech: bytes
) -> None:
    wish = {"name": "Anna", "uploads": [await sent(ana, speech, "anna.mkv")]}
    first = await ana.post("/api/characters", json=wish)
    assert (first.status_code, first.json()["id"], first.json()["mode"]) == (201, "c1", "clone"), first.text
    again = await ana.post("/api/characters", json={**wish, "name": "anna"})
    assert (again.json()["id"], again.json()["name"]) == ("c1", "Anna")
    assert [one["name"] for one in (await bo.get("/api/characters")).json()] == ["Anna"]
    nobody = await ana.post("/api/characters", json={**wish, "speaker": "SPEAKER_77"})
    assert (nobody.status_code, "/" in nobody.json()["error"]["message"]) == (422, False)
    assert (await bo.post("/api/characters", json=wish)).status_code == 404
    text = await sent(ana, b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", "talk.srt")
    assert (await ana.post("/api/characters", json={**wish, "uploads": [text]})).status_code == 422
    assert (await ana.post("/api/characters", json={**wish, "uploads": []})).status_code == 422


# ------------------------------------------------------------------ roles


async def test_glossaries_and_presets_of_others_are_not_there(
    house: House, ana: httpx.AsyncClient, bo: httpx.AsyncClient
) -> None:
    glossary = (await ana.post("/api/glossaries", json={"name": "x", "entries": TERMS})).json()["id"]
    film = await sent(ana, b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", "talk.srt")
    preset = (await ana.post("/api/presets", json={"name": "x", "uploads": [film], "consent": "Ana, 2026"})).json()["id"]
    asked = [
        ("GET", f"glossaries/{glossary}", None), ("GET", f"glossaries/{glossary}/csv", None),
        ("PUT", f"glossaries/{glossary}", {"name": "y", "entries": []}), ("PUT", f"glossaries/{glossary}/csv", None),
        ("DELETE", f"glossaries/{glossary}", None), ("GET", f"presets/{preset}", None),
        ("PATCH", f"presets/{preset}", {"name": "y"}), ("DELETE", f"presets/{preset}", None),
    ]  # fmt: skip
    async with await house.as_("viewer") as viewer:
        for method, path, body in asked:
            assert (await bo.request(method, f"/api/{path}", json=body)).status_code == 404, path
            seen = (await viewer.request(method, f"/api/{path}", json=body)).status_code
            assert seen == (404 if method == "GET" else 403)
    assert (await bo.get("/api/glossaries")).json() == (await bo.get("/api/presets")).json() == []
    async with await house.as_("admin") as admin:
        assert (await admin.get(f"/api/glossaries/{glossary}")).json()["name"] == "x"


async def test_viewers_see_and_change_nothing(house: House) -> None:
    async with await house.as_("viewer") as client:
        for what in ("voices", "glossaries", "characters", "presets"):
            assert (await client.get(f"/api/{what}")).status_code == 200
            assert (await house.client().get(f"/api/{what}")).status_code == 401
        for path in ("voices", "glossaries", "glossaries/csv?name=x", "presets", "characters"):
            assert (await client.post(f"/api/{path}", json={})).status_code == 403
        assert (await client.delete("/api/characters/c1")).status_code == 403
