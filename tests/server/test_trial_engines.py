"""Engines that are for tests answer where only this machine is listened to, and nowhere else unless the settings say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from house import House, open_house

from polydub import config
from polydub.server import catalogue
from polydub.server.look import Found
from polydub.server.problems import Problem
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Uploads

pytestmark = pytest.mark.anyio
SERVERS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"host": "0.0.0.0"}, False),
    ({"public_url": "https://dub.example"}, False),
    ({"trial_engines": "no"}, False),
    ({"host": "0.0.0.0", "trial_engines": "yes"}, True),
]


async def takes_anything(_path: Path, _name: str) -> Found:
    return Found("video/mp4")


async def ordered(house: House, **settings: str) -> tuple[int, str]:
    house.app.state.uploads = Uploads(house.services, takes_anything)
    async with await house.as_("editor") as client:
        client.headers["host"] = "dub.example" if house.services.settings.public_url else "127.0.0.1"
        film = (await client.post("/api/upload", files={"file": ("talk.mp4", b"film")})).json()["id"]
        answer = await client.post("/api/jobs", json={"input": {"upload": film}, "to": ["es"], "settings": settings})
    return answer.status_code, (answer.json().get("error") or {}).get("message", "")


@pytest.mark.parametrize(("server", "there"), SERVERS)
async def test_a_job_names_an_engine_of_tests_only_where_it_may(server: dict[str, Any], there: bool, tmp_path: Path) -> None:
    async with open_house(tmp_path, storage=LocalStorage(tmp_path / "files"), **server) as house:
        for name in ("asr", "mt", "tts", "lip_sync"):
            status, said = await ordered(house, **{name: "fake"})
            assert (status, said) == ((201, "") if there else (422, f"{name}: this server has no engine 'fake'"))
        assert (await ordered(house, tts="espeak-ng"))[0] == 201


@pytest.mark.parametrize(("server", "there"), SERVERS)
def test_the_speech_services_answer_by_an_engine_of_tests_only_where_they_may(
    server: dict[str, Any], there: bool, tmp_path: Path
) -> None:
    loaded = config.load({"server": server}, job=None, environ={}, cwd=tmp_path, user_file=None)
    for find in (lambda: catalogue.asked("tts", "fake", loaded), lambda: catalogue.model("fake", loaded)):
        if there:
            assert find()
        else:
            with pytest.raises(Problem, match="there is no model 'fake'"):
                find()
    assert "fake" not in {model.id for model in catalogue.models(loaded)}
