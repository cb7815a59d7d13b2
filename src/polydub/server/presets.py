"""Voice presets: recordings of one person become a voice that dubs speak in, by engines that clone, without training.

A preset is up to three documents: what its owner says of it, its task while there is something to do, and its outcome, which
is added once, so that whoever is first decides and nothing goes back. The voice itself is a folder as the library has them,
with its consent, whose files are uploads: every host that works on a dub gets them as it gets the film.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from polydub import config, languages
from polydub.errors import BadInput, BadSettings, PolydubError
from polydub.server.access import mine, owned
from polydub.server.contracts import OPEN, Principal, Records, Services
from polydub.server.db.records import now_utc
from polydub.server.library_facts import PresetFacts, PresetWish
from polydub.server.patience import said_away
from polydub.server.problems import Problem, not_found
from polydub.server.requests import File
from polydub.server.samples import brought, check_complete, nameless
from polydub.server.tokens import new_id
from polydub.server.uploads import Uploads
from polydub.server.webhooks import announce
from polydub.voices import keeping, manifest

if TYPE_CHECKING:
    from polydub.aloud import Heard

LOG = logging.getLogger("polydub.server.presets")
KIND, TASK, MADE = "preset", "preset-task", "preset-made"  # of documents in the records, all under the preset's id
LEAST_S = 30.0  # of speech
KEPT_S = 30.0  # of one recording: engines use no more
BEST = 5  # recordings of which a voice is made
LEASE = timedelta(minutes=10)  # after which another process takes over a recording that one has begun to look at
POLL_S = 30.0
TRIES = 3  # of work that ends in a way nobody foresaw
ALL = 100_000


async def ready(records: Records, who: Principal, id_: str) -> tuple[str, tuple[File, ...]]:
    """Name and files of a preset's voice. Raises: Problem 404, 409."""
    found = await records.get(KIND, id_)
    owned(who, found[0] if found else None, "preset")
    made = await records.get(MADE, id_)
    outcome: Mapping[str, Any] = made[1] if made else {}
    if outcome.get("state") != "READY":
        why = f": {outcome['message']}" if outcome.get("message") else ""
        text = f"the preset has failed{why}" if outcome else "the preset is not ready yet"
        raise Problem(409, "preset_not_ready", text, hint=f"GET /api/presets/{id_} tells its state", param="voice_preset_id")
    if not outcome["voice"]:
        text = "the preset was made elsewhere, and this server has no recordings of its voice"
        raise Problem(409, "preset_without_voice", text, hint="make one from uploads", param="voice_preset_id")
    return found[1]["name"] if found else "", tuple(File(**file) for file in outcome["voice"])


async def told(records: Records, id_: str, status: str, training: Mapping[str, Any]) -> None:
    """What a remote worker says of a preset: it is at it, or has ended. Nothing goes back. Raises: Problem 404.

    A preset whose voice is still being made here is ready when that is.
    """
    found = await records.get(KIND, id_)
    if found is None:
        raise not_found("preset")
    if await records.get(MADE, id_) is not None:
        return
    row = await records.get(TASK, id_)
    task: Mapping[str, Any] = row[1] if row else {"due": None}
    if status == "training" or (status == "done" and task["due"]):
        await records.put(TASK, id_, found[0], {**task, "begun": True, "training": training})
        return
    state = "READY" if status == "done" else "FAILED"
    await _end(records, id_, found, {"state": state, "message": training["message"], "voice": [], "training": training})


async def _end(records: Records, id_: str, found: tuple[str, Mapping[str, Any]], outcome: Mapping[str, Any]) -> bool:
    """Adds an outcome and announces it; False where there was one. Killed in between, its task is still there."""
    owner, document = found
    await records.add(TASK, id_, owner, {"due": None})
    if not await records.add(MADE, id_, owner, {**outcome, "at": now_utc().isoformat()}):
        return False
    await _announced(records, id_, owner, document["name"], outcome)
    return True


async def _announced(records: Records, id_: str, owner: str, name: str, outcome: Mapping[str, Any]) -> None:
    event = "preset.done" if outcome["state"] == "READY" else "preset.failed"
    facts = {"id": id_, "name": name, "state": outcome["state"], "message": outcome["message"]}
    await announce(records, now_utc(), owner, event, facts)
    await records.drop(TASK, id_)


class Presets:
    """The presets of a server, and the work on them. One per process: `app.state.presets`."""

    def __init__(self, services: Services, uploads: Uploads) -> None:
        self._services, self._uploads, self._records = services, uploads, services.records
        self._bell = asyncio.Event()

    # kept

    async def add(self, who: Principal, wish: PresetWish) -> PresetFacts:
        """A new one, in work from now on. Raises: Problem 404, 409, 410 for an upload; BadSettings without consent."""
        manifest.checked_name(wish.name)
        keeping.check_consent(wish.consent.strip(), wish.licence)
        for upload in wish.uploads:
            check_complete(mine(who, await self._uploads.get(upload), "upload"))
        id_, now = new_id(), self._services.now().isoformat()
        language = wish.language if wish.language == "und" else languages.parse(wish.language)
        document = {**wish.model_dump(), "language": language, "created": now, "updated": now}
        await self._records.put(KIND, id_, who.user.id, document)
        await self._records.put(TASK, id_, who.user.id, {"due": now})
        self._bell.set()
        return await self.facts(id_, document)

    async def facts(self, id_: str, document: Mapping[str, Any]) -> PresetFacts:
        """What is known of one."""
        made, task = await self._records.get(MADE, id_), await self._records.get(TASK, id_)
        return _facts(id_, document, made[1] if made else None, task[1] if task else {})

    async def of(self, owner: str, most: int) -> list[PresetFacts]:
        """Those of an account, oldest first."""
        made = {id_: outcome for id_, _, outcome in await self._records.list(MADE, owner, most)}
        tasks = {id_: task for id_, _, task in await self._records.list(TASK, owner, most)}
        rows = await self._records.list(KIND, owner, most)
        return [_facts(id_, document, made.get(id_), tasks.get(id_, {})) for id_, _, document in rows]

    async def drop(self, id_: str) -> None:
        """Deletes a preset and its voice, but for what an open job still needs; that goes by age."""
        await self._records.drop(KIND, id_)
        await self._records.drop(TASK, id_)
        made = await self._records.get(MADE, id_)
        await self._forget(made[1]["voice"] if made else ())
        await self._records.drop(MADE, id_)

    async def _forget(self, voice: Sequence[Mapping[str, str]]) -> None:
        jobs = await self._records.jobs(states=OPEN, limit=ALL) if voice else ()
        needed = {file["upload"] for job in jobs for file in job.request.get("voice", ())}
        for file in voice:
            if file["upload"] not in needed:
                with suppress(Problem):  # it was deleted by itself
                    await self._uploads.drop(file["upload"])

    # made

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Works on presets while this lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            self._bell.clear()
            work = asyncio.ensure_future(self.work_due())
            try:
                await asyncio.wait({work})
            finally:
                work.cancel()
            if (error := work.exception()) and not said_away(error):
                LOG.error("a preset could not be worked on now", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._bell.wait()

    async def work_due(self) -> None:
        """Ends what is to be done now, one after the other. Raises: StoreError when the records cannot be reached."""
        now = self._services.now().isoformat()
        for id_, owner, task in await self._records.list(TASK, limit=ALL):
            found, made = await self._records.get(KIND, id_), await self._records.get(MADE, id_)
            if found is None:
                await self._records.drop(TASK, id_)
            elif made is not None:  # somebody was killed before its end was announced
                await _announced(self._records, id_, owner, found[1]["name"], made[1])
            elif task["due"] and task["due"] <= now:
                await self._work(id_, found, task.get("tries", 0) + 1)

    async def _work(self, id_: str, found: tuple[str, Mapping[str, Any]], number: int) -> None:
        outcome: dict[str, Any] = {"state": "FAILED", "message": "the server failed at it: its log tells more", "voice": []}
        try:
            await self._at_work(id_, found[0], tries=number)
            if number <= TRIES:
                outcome |= await self._made(id_, found)
        except _Gone:
            return
        except PolydubError as error:
            if error.retryable or not isinstance(error, BadInput | BadSettings | Problem):
                raise  # and it is tried again when its lease is over
            outcome["message"] = error.message
        if await self._records.get(KIND, id_) is None or not await _end(self._records, id_, found, outcome):
            await self._forget(outcome["voice"])  # its owner has deleted it, or a remote worker was quicker
        elif await self._records.get(KIND, id_) is None:
            await self.drop(id_)

    async def _at_work(self, id_: str, owner: str, **what: float) -> None:
        """Notes how far it is, and that nobody else need begin. Raises: _Gone."""
        task = await self._records.get(TASK, id_)
        if task is None or await self._records.get(KIND, id_) is None:
            raise _Gone
        due = (self._services.now() + LEASE).isoformat()
        await self._records.put(TASK, id_, owner, {**task[1], "due": due, "begun": True, **what})

    async def _made(self, id_: str, found: tuple[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """The outcome of looking at the recordings. Raises: BadInput for what no voice can be made of, Problem, StoreError."""
        owner, document = found
        heard: list[Heard] = []
        with tempfile.TemporaryDirectory(prefix="polydub-") as scratch:
            for number, upload in enumerate(document["uploads"]):
                await self._at_work(id_, owner, progress=round(number / (len(document["uploads"]) + 1), 3))
                file = await brought(self._services, await self._uploads.get(upload), Path(scratch) / str(number))
                heard.append(await anyio.to_thread.run_sync(_heard, file, abandon_on_cancel=True))
            await self._at_work(id_, owner, progress=round(len(heard) / (len(heard) + 1), 3))
            own, notices = _of_one_person(heard)
            folder = await anyio.to_thread.run_sync(_voice, Path(scratch) / "voices", document, own, notices)
            voice = [await self._kept(owner, file) for file in sorted(folder.iterdir())]
        speech_s = round(sum(one.quality.figures.speech_s for one in own), 1)
        return {"state": "READY", "message": "", "voice": voice, "speech_s": speech_s, "notices": notices}

    async def _kept(self, owner: str, file: Path) -> dict[str, str]:
        async def whole() -> AsyncIterator[bytes]:
            yield await anyio.to_thread.run_sync(file.read_bytes)

        return {"upload": (await self._uploads.take(owner, file.name, whole())).id, "name": file.name}


def _facts(id_: str, document: Mapping[str, Any], made: Mapping[str, Any] | None, task: Mapping[str, Any]) -> PresetFacts:
    state = {"state": "TRAINING" if task.get("begun") else "CREATED"}
    progress = {"progress": 1.0 if made else task.get("progress", 0.0)}
    known: Mapping[str, Any] = {**document, **state, **task, **(made or {}), **progress, "id": id_}
    return PresetFacts.model_validate({name: known[name] for name in PresetFacts.model_fields if name in known})


class _Gone(Exception):
    """The preset has been deleted, or has ended otherwise."""


def _heard(file: Path) -> Heard:
    """What is to be heard in a recording: of the sound no more than is kept. Raises: BadInput."""
    from polydub import aloud

    with nameless([file]):
        one = aloud.hear([file], config.load_from_process({}))[0]
        aloud.check_usable([one])
    return replace(one, sound=replace(one.sound, samples=one.sound.samples[:, : round(KEPT_S * one.sound.rate_hz)].copy()))


def _of_one_person(heard: Sequence[Heard]) -> tuple[list[Heard], list[str]]:
    """The recordings without those that are surely of another person; what there is to say of these and of doubtful ones."""
    from polydub import aloud
    from polydub.voices import quality

    others = quality.strangers([one.quality for one in heard], sure=True)
    own = [one for n, one in enumerate(heard) if n not in others]
    told = [f"{one.path.name}: {finding.text}" for one in own for finding in one.quality.findings if finding.code == "several"]
    gone = [f"{heard[n].path.name} was left out" for n in others]
    return own, [*told, *(notice.text for notice in aloud.strangers(heard)), *gone]


def _voice(home: Path, document: Mapping[str, Any], heard: Sequence[Heard], notices: Sequence[str]) -> Path:
    """The folder of the voice in a library of its own. Raises: BadInput where there is too little speech."""
    speech_s = sum(one.quality.figures.speech_s for one in heard)
    if speech_s < LEAST_S:
        text = f"{speech_s:.0f} s of speech are too few for a preset: it needs {LEAST_S:.0f} s or more of one person"
        raise BadInput("; ".join([text, *notices]), "send more recordings")
    consent = keeping.dated(document["consent"].strip())
    entry = keeping.Entry(document["name"], document["language"], document["licence"], consent, None, document["description"])
    best = sorted(heard, key=lambda one: one.quality.score, reverse=True)[:BEST]
    folder = keeping.add(home, entry, [keeping.Recorded(one.sound) for one in best]).folder
    assert folder is not None  # noqa: S101 - it was made just now
    return folder
