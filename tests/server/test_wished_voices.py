"""Voices that a job names are asked for when it is sent, as far as that is cheap; what nobody can tell then, the job tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from house import House, open_house
from job_world import HandJobs
from test_job_routes import FILM, film, takes_anything

from polydub import config
from polydub.server.speech import House as Engines
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Uploads

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """With engines that are small, and a library in which Ana is."""
    monkeypatch.setenv("POLYDUB_VOICES", str(tmp_path / "voices"))
    (tmp_path / "voices" / "Ana").mkdir(parents=True)
    soundfile.write(tmp_path / "voices" / "Ana" / "reference-1.wav", [0.1, -0.1] * 24_000, 16_000)
    (tmp_path / "data").mkdir()
    jobs, storage = HandJobs(), LocalStorage(tmp_path / "files")
    loaded = config.load_from_process({"models": str(tmp_path / "models"), "environments": str(tmp_path / "environments")})
    with closing(Engines(loaded, tmp_path)) as engines:
        async with open_house(tmp_path / "data", storage=storage, jobs=jobs) as opened:
            jobs.records = opened.services.records
            opened.app.state.services = replace(opened.services, speech=engines)
            opened.app.state.uploads = Uploads(opened.services, takes_anything)
            yield opened


async def asked(client: httpx.AsyncClient, **wish: Any) -> httpx.Response:
    return await client.post("/api/jobs", json={"input": {"upload": await film(client)}, "to": ["es"], **wish})


async def test_a_voice_that_nobody_has_is_refused_before_there_is_a_job(house: House) -> None:
    async with await house.as_("editor") as client:
        answer = await asked(client, voices={"Ana": "m3", "Ben": "anan"}, settings={"tts": "espeak-ng"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (422, "voice_not_found", "voices")
        assert "in the library: Ana" in error["hint"], error
        assert (await client.get("/api/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("voice", ["m3", "ana"])
async def test_a_voice_of_the_engine_or_the_library_is_taken(house: House, voice: str) -> None:
    async with await house.as_("editor") as client:
        answer = await asked(client, voices={"Ben": voice}, settings={"tts": "espeak-ng"})
        assert answer.status_code == 201, answer.text


async def test_a_voice_that_no_engine_here_can_be_asked_for_is_left_to_the_job(house: House) -> None:
    async with await house.as_("editor") as client:
        answer = await asked(client, voices={"Ben": "somebody"}, settings={"tts": "xtts"})
        assert answer.status_code == 201, answer.text


async def test_where_workers_do_the_work_they_tell_of_voices(house: House) -> None:
    services = house.app.state.services
    elsewhere = services.settings.model_copy(update={"database": "postgresql://polydub@db/polydub"})
    house.app.state.services = replace(services, settings=elsewhere)
    async with await house.as_("editor") as client:
        answer = await asked(client, voices={"Ben": "nobody"}, settings={"tts": "espeak-ng"})
        assert answer.status_code == 201, answer.text


async def test_a_form_with_such_a_voice_is_refused_before_its_film_is_read(house: House) -> None:
    async with await house.as_("editor") as client:
        form = {"target_languages": "es", "voices": '{"Ben": "nobody"}', "options": '{"tts": "espeak-ng"}'}
        answer = await client.post("/api/dub", data=form, files={"file": ("talk.mp4", FILM)})
        assert answer.json()["error"]["code"] == "voice_not_found"
        assert (await client.get("/api/uploads")).json() == []
