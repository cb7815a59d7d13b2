"""What a job may name, over HTTP: engines, languages, settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from house import House, open_house

from polydub import config
from polydub.server import requests

pytestmark = pytest.mark.anyio
PATHS = ("/api/engines", "/api/languages", "/api/settings")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "data").mkdir()
    async with open_house(tmp_path / "data") as opened:
        yield opened


async def test_engines_are_told_as_the_command_line_does_without_places_of_the_host(house: House) -> None:
    async with await house.as_("viewer") as client:
        answer = await client.get("/api/engines")
        assert answer.headers["cache-control"] == "private, max-age=30"
        rows = {(row["kind"], row["name"]): row for row in answer.json()["engines"]}
        assert rows["separation", "none"]["status"] == "ready"
        assert {"asr", "mt", "tts", "diarization", "lipsync"} <= {kind for kind, _ in rows}
        assert rows["asr", "faster-whisper"]["weights"][0].keys() >= {"id", "bytes", "here", "licence"}
        settings = config.load_from_process({}).settings
        for place in (str(Path.home()) + "/", str(Path.cwd()), str(settings.models_home), str(settings.environments_home)):
            assert place not in answer.text


async def test_engines_for_trials_are_listed_where_clients_may_name_them(tmp_path: Path) -> None:
    for told in ("yes", "no"):
        (tmp_path / told).mkdir()
        async with open_house(tmp_path / told, trial_engines=told) as house, await house.as_("viewer") as client:
            rows = (await client.get("/api/engines")).json()["engines"]
            assert ("fake" in {row["name"] for row in rows}) is (told == "yes")
            spanish = next(r for r in (await client.get("/api/languages")).json()["languages"] if r["tag"] == "es")
            assert "fake" not in spanish["speech"]


async def test_languages_have_names_and_who_speaks_them(house: House) -> None:
    async with await house.as_("viewer") as client:
        found = {row["tag"]: row for row in (await client.get("/api/languages")).json()["languages"]}
        assert (found["es"]["name"], found["es"]["native_name"], found["es"]["right_to_left"]) == ("Spanish", "Español", False)
        assert found["ar"]["right_to_left"]
        assert "und" not in found and len(found) > 100


async def test_settings_are_just_those_that_a_job_may_have(house: House) -> None:
    async with await house.as_("viewer") as client:
        rows = {row["name"]: row for row in (await client.get("/api/settings")).json()["settings"]}
        assert rows.keys() == requests.allowed()
        assert not {"output", "store", "models", "server", "voices"} & rows.keys()
        stream = {"name": "stream", "kind": "choice", "default": "off", "choices": ["off", "segments", "final"], "limits": ""}
        assert rows["stream"] | stream == rows["stream"]
        assert rows["chunk_seconds"]["limits"] == "2 to 120"
        assert all(row["help"] for row in rows.values())
        defaults = {name: row["default"] for name, row in rows.items() if row["default"] not in (None, [], "")}
        wish = requests.read({"input": {"upload": "a", "name": "a.mp4"}, "to": ["es"], "settings": defaults})
        assert wish.settings == defaults, "what is told can be sent"


@pytest.mark.parametrize("path", PATHS)
async def test_the_catalogue_is_for_those_who_are_logged_in_and_described_with_examples(house: House, path: str) -> None:
    assert (await house.client().get(path)).status_code == 401
    operation = house.app.openapi()["paths"][path]["get"]
    assert (operation["x-role"], operation["tags"]) == ("viewer", ["catalogue"])
    name = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schemas = house.app.openapi()["components"]["schemas"]
    row = schemas[next(iter(schemas[name]["properties"].values()))["items"]["$ref"].rpartition("/")[2]]
    assert row["properties"]["name"]["examples"]
