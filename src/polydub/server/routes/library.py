"""Voices and characters, which all who use the server share; glossaries, which are one's own."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response

from polydub import config, portraying, remembering, voices
from polydub.dubbing import Ears
from polydub.server.access import may, mine, owned, policy, services_of
from polydub.server.contracts import Principal, Services
from polydub.server.library_facts import (
    MOST_CSV,
    CharacterFacts,
    CharacterPatch,
    CharacterWish,
    GlossaryFacts,
    GlossaryWhole,
    GlossaryWish,
    Homes,
    VoiceFacts,
    VoiceList,
    VoicePatch,
    VoiceWish,
    character_facts,
    checked,
    csv_of,
    glossary_document,
    homes_of,
    voice_facts,
)
from polydub.server.names import disposition
from polydub.server.problems import ErrorBody, Problem, forbidden, not_found
from polydub.server.requests import safe_name
from polydub.server.routes.uploads import uploads_of
from polydub.server.samples import brought, nameless
from polydub.server.tokens import new_id
from polydub.server.uploads import Uploads
from polydub.text.glossary import parse_glossary
from polydub.voices.book import Book, Character
from polydub.voices.bookkeeping import forgotten, renamed
from polydub.voices.library import Library, LibraryVoice
from polydub.voices.manifest import folded

router = APIRouter(tags=["voices"])
GLOSSARY, VOICE = "glossary", "voice"  # of documents in the records; of a voice: who added it
MOST = 500  # glossaries or presets of one account
Viewer = Annotated[Principal, Depends(policy("viewer"))]
Editor = Annotated[Principal, Depends(policy("editor"))]
House = Annotated[Services, Depends(services_of)]
Home = Annotated[Homes, Depends(homes_of)]
Incoming = Annotated[Uploads, Depends(uploads_of)]
Found = tuple[str, Mapping[str, Any]]  # owner and document


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, 403, *statuses)}


# ------------------------------------------------------------------ voices


@router.get("/api/voices", summary="List voices", responses=_errors())
async def list_voices(who: Viewer, house: House, home: Home) -> VoiceList:
    """Of the library. Engines have voices of their own besides."""
    shelf = await anyio.to_thread.run_sync(voices.open_library, home.voices)
    owners = {id_: owner for id_, owner, _ in await house.records.list(VOICE, limit=100_000)}
    told = [_told(who, shelf, voice, owners.get(_voice_id(voice.name), "")) for voice in shelf.voices]
    return VoiceList(voices=told, aliases=dict(shelf.aliases), damaged=sorted(shelf.damaged))


@router.post("/api/voices", status_code=201, summary="Keep a voice", responses=_errors(404, 409, 410, 422))
async def add_voice(wish: VoiceWish, request: Request, who: Editor, uploads: Incoming, home: Home) -> VoiceFacts:
    """Made from recordings that were uploaded. Recordings of a person need a note that the person agreed."""
    house = services_of(request)
    rows = [mine(who, await uploads.get(each.upload), "upload") for each in wish.recordings]
    with tempfile.TemporaryDirectory(prefix="polydub-") as scratch:
        files = [await brought(house, row, Path(scratch) / str(number)) for number, row in enumerate(rows, 1)]
        transcripts = [each.transcript for each in wish.recordings]
        about: voices.About = {
            "language": wish.language,
            "licence": wish.licence,
            "consent": wish.consent,
            "description": wish.description,
            "tags": wish.tags,
            "transcripts": transcripts if any(transcripts) else [],
        }
        with nameless(files):
            kept, doubts = await anyio.to_thread.run_sync(
                lambda: voices.keep(wish.name, files, home.voices, force=wish.force, **about)
            )
    await house.records.put(VOICE, _voice_id(kept.name), who.user.id, {"name": kept.name})
    made = await _one(house, who, home, kept.name)
    return made.model_copy(update={"notices": list(doubts)})


@router.get("/api/voices/{name}", summary="One voice", responses=_errors(404))
async def get_voice(name: str, who: Viewer, house: House, home: Home) -> VoiceFacts:
    """By its name in full, whatever the case."""
    return await _one(house, who, home, name)


async def _one(house: Services, who: Principal, home: Homes, name: str) -> VoiceFacts:
    shelf = await anyio.to_thread.run_sync(voices.open_library, home.voices)
    if not shelf.has(name):
        raise not_found("voice")
    voice = shelf.find(name)
    found = await house.records.get(VOICE, _voice_id(voice.name))
    return _told(who, shelf, voice, found[0] if found else "")


def _told(who: Principal, shelf: Library, voice: LibraryVoice, owner: str) -> VoiceFacts:
    """`owner`: who added it."""
    return voice_facts(shelf, voice, consent=may(who, "editor"), deletable=may(who, "admin") or owner == who.user.id)


@router.patch("/api/voices/{name}", summary="Change a voice", responses=_errors(404, 422))
async def change_voice(name: str, wish: VoicePatch, who: Editor, house: House, home: Home) -> VoiceFacts:
    """What is told of it, and its aliases. Those who added it, and admins."""
    voice = await _own_voice(house, who, home, name)
    changes = voices.Otherwise(**wish.model_dump(exclude_none=True))
    await anyio.to_thread.run_sync(lambda: voices.change(voice.name, home.voices, **changes))
    return await _one(house, who, home, voice.name)


@router.delete("/api/voices/{name}", status_code=204, summary="Delete a voice", responses=_errors(404))
async def delete_voice(name: str, who: Editor, house: House, home: Home) -> None:
    """With its recordings, for good. Those who added it, and admins."""
    voice = await _own_voice(house, who, home, name)
    await anyio.to_thread.run_sync(voices.remove, voice.name, home.voices)
    await house.records.drop(VOICE, _voice_id(voice.name))


async def _own_voice(house: Services, who: Principal, home: Homes, name: str) -> LibraryVoice:
    """A voice that somebody may change. Raises: Problem 403, 404."""
    shelf = await anyio.to_thread.run_sync(voices.open_library, home.voices)
    if not shelf.has(name):
        raise not_found("voice")
    voice = shelf.find(name)
    found = await house.records.get(VOICE, _voice_id(voice.name))
    if not may(who, "admin") and (found is None or found[0] != who.user.id):
        raise forbidden("a voice is changed and deleted by who added it, or an admin", "not_yours")
    return voice


def _voice_id(name: str) -> str:
    return hashlib.sha256(folded(name).encode()).hexdigest()


# ------------------------------------------------------------------ glossaries


def _glossary(id_: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: document[name] for name in ("name", "created", "updated")}, "id": id_, "terms": len(document["entries"])}


def _whole(id_: str, document: Mapping[str, Any]) -> GlossaryWhole:
    return GlossaryWhole(**_glossary(id_, document), entries=document["entries"])


async def own(house: Services, who: Principal, kind: str, id_: str) -> Found:
    found = await house.records.get(kind, id_)
    owned(who, found[0] if found else None, kind)
    if found is None:
        raise not_found(kind)
    return found


async def room(house: Services, who: Principal, kind: str) -> None:
    if len(await house.records.list(kind, who.user.id, MOST)) >= MOST:
        raise Problem(409, "too_many", f"an account has at most {MOST} of these", hint="delete some")


async def _sheet(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_CSV:
            raise Problem(413, "too_large", f"a glossary has at most {MOST_CSV} bytes")
    return bytes(body)


_CSV: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}}}
}
CsvName = Annotated[str, Query(min_length=1, max_length=100, description="What it is called.")]


@router.get("/api/glossaries", summary="List glossaries", responses=_errors())
async def list_glossaries(who: Viewer, house: House) -> list[GlossaryFacts]:
    """Yours."""
    found = await house.records.list(GLOSSARY, who.user.id, MOST)
    return [GlossaryFacts(**_glossary(id_, document)) for id_, _, document in found]


@router.post("/api/glossaries", status_code=201, summary="Keep a glossary", responses=_errors(409, 413, 422))
async def add_glossary(wish: GlossaryWish, who: Editor, house: House) -> GlossaryWhole:
    """A job takes it by its id, as `glossary`."""
    await room(house, who, GLOSSARY)
    return await _keep_glossary(house, who.user.id, new_id(), _of_wish(house, wish))


@router.post(
    "/api/glossaries/csv", status_code=201, summary="Keep a glossary from CSV", openapi_extra=_CSV,
    responses=_errors(409, 413, 422),
)  # fmt: skip
async def import_glossary(request: Request, name: CsvName, who: Editor, house: House) -> GlossaryWhole:
    """Columns are term, translation and note, in this order or as the first line names them."""
    await room(house, who, GLOSSARY)
    document = glossary_document(name, parse_glossary(await _sheet(request)), "", house.now())
    return await _keep_glossary(house, who.user.id, new_id(), document)


@router.get("/api/glossaries/{id_}", summary="One glossary", responses=_errors(404))
async def get_glossary(id_: str, who: Viewer, house: House) -> GlossaryWhole:
    """With its terms."""
    return _whole(id_, (await own(house, who, GLOSSARY, id_))[1])


@router.put("/api/glossaries/{id_}", summary="Replace a glossary", responses=_errors(404, 413, 422))
async def replace_glossary(id_: str, wish: GlossaryWish, who: Editor, house: House) -> GlossaryWhole:
    """Jobs that were started keep the old one."""
    owner, old = await own(house, who, GLOSSARY, id_)
    return await _keep_glossary(house, owner, id_, _of_wish(house, wish, old["created"]))


@router.put(
    "/api/glossaries/{id_}/csv", summary="Replace the terms of a glossary by CSV", openapi_extra=_CSV,
    responses=_errors(404, 413, 422),
)  # fmt: skip
async def replace_glossary_csv(id_: str, request: Request, who: Editor, house: House) -> GlossaryWhole:
    """As `POST /api/glossaries/csv`; it keeps its name."""
    owner, old = await own(house, who, GLOSSARY, id_)
    document = glossary_document(old["name"], parse_glossary(await _sheet(request)), old["created"], house.now())
    return await _keep_glossary(house, owner, id_, document)


@router.get(
    "/api/glossaries/{id_}/csv", summary="A glossary as CSV", response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **_errors(404)},
)  # fmt: skip
async def export_glossary(id_: str, who: Viewer, house: House) -> Response:
    """As it can be sent back."""
    document = (await own(house, who, GLOSSARY, id_))[1]
    headers = {"content-disposition": disposition(f"{safe_name(document['name'])}.csv")}
    return Response(csv_of(document["entries"]), headers=headers, media_type="text/csv")


@router.delete("/api/glossaries/{id_}", status_code=204, summary="Delete a glossary", responses=_errors(404))
async def delete_glossary(id_: str, who: Editor, house: House) -> None:
    """Jobs that were started keep it."""
    await own(house, who, GLOSSARY, id_)
    await house.records.drop(GLOSSARY, id_)


def _of_wish(house: Services, wish: GlossaryWish, created: str = "") -> dict[str, Any]:
    return glossary_document(wish.name, checked(wish.entries), created, house.now())


async def _keep_glossary(house: Services, owner: str, id_: str, document: dict[str, Any]) -> GlossaryWhole:
    if len(csv_of(document["entries"])) > MOST_CSV:
        raise Problem(413, "too_large", f"a glossary has at most {MOST_CSV} bytes")
    await house.records.put(GLOSSARY, id_, owner, document)
    return _whole(id_, document)


# ------------------------------------------------------------------ characters


@router.get("/api/characters", summary="List characters", responses=_errors(503))
async def list_characters(who: Viewer, home: Home) -> list[CharacterFacts]:
    """Who is recognised across films."""
    book = await anyio.to_thread.run_sync(home.characters.read)
    return [character_facts(one) for one in book.characters]


@router.post("/api/characters", status_code=201, summary="Keep a character", responses=_errors(404, 409, 410, 422, 503))
async def add_character(wish: CharacterWish, who: Editor, house: House, uploads: Incoming, home: Home) -> CharacterFacts:
    """Known from recordings that were uploaded, from now on; one who is known by this name learns from them."""
    rows = [mine(who, await uploads.get(upload), "upload") for upload in wish.uploads]
    with tempfile.TemporaryDirectory(prefix="polydub-") as scratch:
        files = [await brought(house, row, Path(scratch) / str(number)) for number, row in enumerate(rows, 1)]

        def done() -> CharacterFacts:
            home.characters.read()  # whether it can be read is told before anything takes long
            loaded = config.load_from_process({"output": scratch, "store": f"{scratch}/store", "download": "no"})
            heard = portraying.heard(files, loaded, Ears(), wish.speaker)
            for error in heard.refused.values():
                raise error
            with home.characters.changing() as draft:
                return character_facts(heard.into(draft, wish.name))

        with nameless(files):
            return await anyio.to_thread.run_sync(done)


@router.get("/api/characters/{id_}", summary="One character", responses=_errors(404, 503))
async def get_character(id_: str, who: Viewer, home: Home) -> CharacterFacts:
    """By its id."""
    return character_facts(_character(await anyio.to_thread.run_sync(home.characters.read), id_))


@router.patch("/api/characters/{id_}", summary="Rename a character", responses=_errors(404, 422, 503))
async def rename_character(id_: str, wish: CharacterPatch, who: Editor, home: Home) -> CharacterFacts:
    """422 for a name that another one has."""

    def done() -> CharacterFacts:
        with home.characters.changing() as draft:
            draft.book = renamed(draft.book, _character(draft.book, id_), wish.name, remembering.now())
            return character_facts(_character(draft.book, id_))

    return await anyio.to_thread.run_sync(done)


@router.delete("/api/characters/{id_}", status_code=204, summary="Forget a character", responses=_errors(404, 503))
async def forget_character(id_: str, who: Editor, home: Home) -> None:
    """With its voiceprints and recordings, for good."""

    def done() -> None:
        with home.characters.changing() as draft:
            draft.book = forgotten(draft.book, [_character(draft.book, id_)])

    await anyio.to_thread.run_sync(done)


def _character(book: Book, id_: str) -> Character:
    found = next((one for one in book.characters if one.id == id_), None)
    if found is None:
        raise not_found("character")
    return found
