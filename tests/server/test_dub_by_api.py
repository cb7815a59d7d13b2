"""A film is dubbed, reviewed and made again over HTTP, with the work done by a real worker process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from house import open_house

from polydub.audio import pitch
from polydub.config.server import ServerSettings
from polydub.server.db import open_records
from polydub.server.hands import Hands
from polydub.server.jobs import Kept, start_jobs
from polydub.server.storage import LocalStorage
from small_dubs import TALK, spoken_film, srt

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
SPANISH = ("Hola, ¿qué tal?", "Muy bien hoy, muchas gracias.", "Bien.", "Hasta pronto.")


async def sent(client: httpx.AsyncClient, name: str, data: bytes) -> dict[str, str]:
    answer = await client.post("/api/upload", files={"file": (name, data)})
    assert answer.status_code == 201, answer.text
    return {"upload": answer.json()["id"]}


async def last_event(client: httpx.AsyncClient, id_: str, after: int = 0) -> dict[str, Any]:
    """Follows a job to its end."""
    text = (await client.get(f"/api/jobs/{id_}/events", params={"after": after}, timeout=120)).text
    return json.loads([row for row in text.splitlines() if row.startswith("data: ")][-1][len("data: ") :])


async def test_a_film_is_dubbed_reviewed_and_made_again(tmp_path: Path, clip: Callable[..., Path]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    settings, storage = ServerSettings(data=folder), LocalStorage(folder / "files")
    records = await open_records(settings, folder)
    hands = Hands(slots={"cpu": 1, "gpu": 1, "net": 1}, threads=1)
    jobs = await start_jobs(Kept(settings, records, storage, folder), hands)
    try:
        async with open_house(folder, records=records, storage=storage, jobs=jobs) as house, await house.as_("editor") as ana:
            said = [(start, end, text) for (start, end, _), text in zip(TALK, SPANISH, strict=True)]
            wish = {
                "input": await sent(ana, "talk.mkv", clip("talk", seconds=6.0).read_bytes()),
                "to": ["es"],
                "transcript": await sent(ana, "talk.en.srt", srt(TALK).encode()),
                "translations": {"es": await sent(ana, "talk.es.srt", srt(said).encode())},
                "settings": {"tts": "fake", "mt": "fake", "asr": "fake"},
            }
            answer = await ana.post("/api/jobs", json=wish)
            assert answer.status_code == 201, answer.text
            job = answer.json()["id"]
            done = await last_event(ana, job)
            assert done["kind"] == "done", done
            told = (await ana.get(f"/api/jobs/{job}/result")).json()
            film = await ana.get(told["dubs"][0]["url"])
            assert (film.status_code, len(film.content)) == (200, film_bytes(told, told["dubs"][0]["film"]))
            lines = (await ana.get(f"/api/jobs/{job}/transcript")).json()["lines"]
            assert [line["said"] for line in lines] == list(SPANISH)
            await ana.patch(f"/api/jobs/{job}/lines/1", json={"text": "Hola a todos."})
            assert (await ana.post(f"/api/jobs/{job}/transcript/synthesize")).json()["attempt"] == 2
            assert (await last_event(ana, job, done["number"]))["kind"] == "done"
            lines = (await ana.get(f"/api/jobs/{job}/transcript")).json()
            assert (lines["lines"][0]["said"], lines["pending"]) == ("Hola a todos.", 0)
            heard = await ana.get(f"/api/jobs/{job}/lines/1/audio", params={"of": str(lines["lines"][0]["heard"])})
            assert (heard.status_code, heard.content[:4]) == (200, b"RIFF")
            again = await ana.get(told["dubs"][0]["url"])
            assert again.content != film.content
    finally:
        await jobs.close()
        await records.close()


async def test_a_dub_that_names_a_preset_is_spoken_in_its_voice(tmp_path: Path, clip: Callable[..., Path]) -> None:
    """The engine clones the pitch of what it is given: that of the recordings, and nobody else's."""
    folder, bob = tmp_path / "data", tmp_path / "bob.mkv"
    folder.mkdir()
    spoken_film(
        bob, [("BOB", "Good morning to you. We have waited a long time for this day, and now it has come at last.")] * 8
    )
    settings, storage = ServerSettings(data=folder), LocalStorage(folder / "files")
    records = await open_records(settings, folder)
    jobs = await start_jobs(Kept(settings, records, storage, folder), Hands(slots={"cpu": 1, "gpu": 1, "net": 1}, threads=1))
    try:
        async with open_house(folder, records=records, storage=storage, jobs=jobs) as house, await house.as_("editor") as ana:
            recording = await sent(ana, "bob.mkv", bob.read_bytes())
            about = {"name": "Narrator", "uploads": [recording["upload"]], "consent": "Bob Hall, 2026-03-01"}
            preset = (await ana.post("/api/presets", json=about)).json()["id"]
            await house.app.state.presets.work_due()
            said = [(start, end, text) for (start, end, _), text in zip(TALK, SPANISH, strict=True)]
            wish = {
                "input": await sent(ana, "talk.mkv", clip("talk", seconds=6.0).read_bytes()),
                "to": ["es"],
                "transcript": await sent(ana, "talk.en.srt", srt(TALK).encode()),
                "translations": {"es": await sent(ana, "talk.es.srt", srt(said).encode())},
                "settings": {"tts": "fake", "mt": "fake", "asr": "fake"},
                "voices": {"BOB": "higher"},
                "voice_preset_id": preset,
            }
            job = (await ana.post("/api/jobs", json=wish)).json()["id"]
            done = await last_event(ana, job)
            assert done["kind"] == "done", done
            report = (await ana.get(f"/api/jobs/{job}/files/report.es.json")).json()
            told = {one["id"]: (one["voice"], one["reason"]) for one in report["speakers"]}
            assert told == {"ANNA": ("Narrator", "wished: cloned from Narrator"), "BOB": ("higher", "wished")}
            assert str(folder) not in json.dumps(report)
            heard = [await ana.get(f"/api/jobs/{job}/lines/{number}/audio") for number in (1, 2)]
            recorded = folder / "jobs" / job / "input" / "voice" / "1.flac"
            assert pitch_hz(heard[0].content) == pytest.approx(pitch_hz(recorded.read_bytes()), rel=0.03)
            assert pitch_hz(heard[1].content) == pytest.approx(270.0, rel=0.03)
    finally:
        await jobs.close()
        await records.close()


def pitch_hz(sound: bytes) -> float:
    samples, rate_hz = soundfile.read(io.BytesIO(sound), dtype="float32", always_2d=True)
    return pitch.median_hz(pitch.track(samples.mean(axis=1), rate_hz)[1])


def film_bytes(told: dict[str, Any], name: str) -> int:
    return next(file["bytes"] for file in told["files"] if file["name"] == name)
