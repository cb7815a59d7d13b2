"""The form that brings a film and starts its dub: films of any size that is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import open_house
from job_world import HandJobs

from polydub.server.door import BODY
from polydub.server.look import Found
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Uploads

pytestmark = pytest.mark.anyio


async def takes_anything(file: Path, name: str) -> Found:
    return Found("video/mp4")


async def test_a_form_may_bring_as_large_a_film_as_an_upload(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    jobs, film = HandJobs(), bytes(BODY + 1000)
    async with open_house(tmp_path / "data", storage=LocalStorage(tmp_path / "files"), jobs=jobs) as house:
        jobs.records = house.services.records
        house.app.state.uploads = Uploads(house.services, takes_anything)
        wish = {"data": {"target_languages": "es"}, "files": {"file": ("talk.mp4", film)}}
        assert (await house.client().post("/api/dub", **wish)).status_code == 401
        async with await house.as_("editor") as client:
            answer = await client.post("/api/dub", **wish)
            assert answer.status_code == 201, answer.text
            [upload] = (await client.get("/api/uploads")).json()
            assert (upload["bytes"], upload["complete"]) == (len(film), True)
