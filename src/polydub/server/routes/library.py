"""Voices and characters, which all who use the server share; glossaries and presets, which are one's own."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response

from polydub import remembering, voices
from polydub.errors import PolydubError
from polydub.server.access import may, mine, owned, policy, services_of
from polydub.server.contracts import Principal, Services, Upload
from polydub.server.library_facts import (
    MOST_CSV,
    CharacterFacts,
    CharacterPatch,
    GlossaryFacts,
    GlossaryWhole,
    GlossaryWish,
    Homes,
    PresetFacts,
    PresetPatch,
    PresetWish,
    VoiceFacts,
    VoiceList,
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
from polydub.server.tokens import new_id
from polydub.server.uploads import Uploads, key_of
from polydub.text.glossary import parse_glossary
from polydub.voices.book import Book, Character
from polydub.voices.bookkeeping import forgotten, renamed
from polydub.voices.manifest import folded

router = APIRouter(tags=["voices"])
GLOSSARY, PRESET, VOICE = "glossary", "preset", "voice"  # of documents in the records; of a voice: who added it
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
    told = [
        voice_facts(
            voice,
            consent=may(who, "editor"),
            deletable=may(who, "admin") or owners.get(_voice_id(voice.name)) == who.user.id,
        )
        for voice in shelf.voices
    ]
    return VoiceList(voices=told, aliases=dict(shelf.aliases), damaged=sorted(shelf.damaged))


@router.post("/api/voices", status_code=201, summary="Keep a voice", responses=_errors(404, 409, 410, 422))
async def add_voice(wish: VoiceWish, request: Request, who: Editor, uploads: Incoming, home: Home) -> VoiceFacts:
    """Made from recordings that were uploaded. Recordings of a person need a note that the person agreed."""
    house = services_of(request)
    rows = [mine(who, await uploads.get(each.upload), "upload") for each in wish.recordings]
    with tempfile.TemporaryDirectory(prefix="polydub-") as scratch:
        files = [await _brought(house, row, Path(scratch) / str(number)) for number, row in enumerate(rows, 1)]
        transcripts = [each.transcript for each in wish.recordings]
        about: voices.About = {
            "language": wish.language,
            "licence": wish.licence,
            "consent": wish.consent,
            "description": wish.description,
            "tags": wish.tags,
            "transcripts": transcripts if any(transcripts) else [],
        }
        try:
            kept = await anyio.to_thread.run_sync(lambda: voices.add(wish.name, files, home.voices, force=wish.force, **about))
        except PolydubError as error:
            for file in files:
                error.message = error.message.replace(f"{file.parent}/", "")
                error.hint = error.hint.replace(f"{file.parent}/", "")
            raise
    await house.records.put(VOICE, _voice_id(kept.name), who.user.id, {"name": kept.name})
    return voice_facts(kept, consent=True, deletable=True)


async def _brought(house: Services, upload: Upload, folder: Path) -> Path:
    """A recording under its own name."""
    if not upload.complete:
        raise Problem(409, "upload_incomplete", f"the upload {upload.id} is not complete", hint="send the rest of it first")
    folder.mkdir()
    file = folder / safe_name(upload.name)
    local = house.storage.local(key_of(upload.id))
    if local is not None:
        file.symlink_to(local.absolute())
    else:
        await house.storage.fetch(key_of(upload.id), file)
    return file


@router.delete("/api/voices/{name}", status_code=204, summary="Delete a voice", responses=_errors(404))
async def delete_voice(name: str, who: Editor, house: House, home: Home) -> None:
    """With its recordings, for good. Those who added it, and admins."""
    shelf = await anyio.to_thread.run_sync(voices.open_library, home.voices)
    if not shelf.has(name):
        raise not_found("voice")
    found = await house.records.get(VOICE, _voice_id(name))
    if not may(who, "admin") and (found is None or found[0] != who.user.id):
        raise forbidden("a voice is deleted by who added it, or an admin", "not_yours")
    await anyio.to_thread.run_sync(voices.remove, name, home.voices)
    await house.records.drop(VOICE, _voice_id(name))


def _voice_id(name: str) -> str:
    return hashlib.sha256(folded(name).encode()).hexdigest()


# ------------------------------------------------------------------ glossaries


def _glossary(id_: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: document[name] for name in ("name", "created", "updated")}, "id": id_, "terms": len(document["entries"])}


def _whole(id_: str, document: Mapping[str, Any]) -> GlossaryWhole:
    return GlossaryWhole(**_glossary(id_, document), entries=document["entries"])


async def _own(house: Services, who: Principal, kind: str, id_: str) -> Found:
    found = await house.records.get(kind, id_)
    owned(who, found[0] if found else None, kind)
    if found is None:
        raise not_found(kind)
    return found


async def _room(house: Services, who: Principal, kind: str) -> None:
    if len(await house.records.list(kind, who.user.id, MOST)) >= MOST:
        raise Problem(409, "too_many", f"an account has at most {MOST} of these", hint="delete some")


async def _sheet(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_CSV:
            raise Problem(413, "too_large", f"a glossary has at most {MOST_CSV} bytes")
    return bytes(body)


_CSV: dict[str, Any] = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}}
CsvName = Annotated[str, Query(min_length=1, max_length=100, description="What it is called.")]


@router.get("/api/glossaries", summary="List glossaries", responses=_errors())
async def list_glossaries(who: Viewer, house: House) -> list[GlossaryFacts]:
    """Yours."""
    found = await house.records.list(GLOSSARY, who.user.id, MOST)
    return [GlossaryFacts(**_glossary(id_, document)) for id_, _, document in found]


@router.post("/api/glossaries", status_code=201, summary="Keep a glossary", responses=_errors(409, 413, 422))
async def add_glossary(wish: GlossaryWish, who: Editor, house: House) -> GlossaryWhole:
    """A job takes it by its id, as `glossary`."""
    await _room(house, who, GLOSSARY)
    return await _keep_glossary(house, who.user.id, new_id(), _of_wish(house, wish))


@router.post(
    "/api/glossaries/csv", status_code=201, summary="Keep a glossary from CSV", openapi_extra=_CSV,
    responses=_errors(409, 413, 422),
)  # fmt: skip
async def import_glossary(request: Request, name: CsvName, who: Editor, house: House) -> GlossaryWhole:
    """Columns are term, translation and note, in this order or as the first line names them."""
    await _room(house, who, GLOSSARY)
    document = glossary_document(name, parse_glossary(await _sheet(request)), "", house.now())
    return await _keep_glossary(house, who.user.id, new_id(), document)


@router.get("/api/glossaries/{id_}", summary="One glossary", responses=_errors(404))
async def get_glossary(id_: str, who: Viewer, house: House) -> GlossaryWhole:
    """With its terms."""
    return _whole(id_, (await _own(house, who, GLOSSARY, id_))[1])


@router.put("/api/glossaries/{id_}", summary="Replace a glossary", responses=_errors(404, 413, 422))
async def replace_glossary(id_: str, wish: GlossaryWish, who: Editor, house: House) -> GlossaryWhole:
    """Jobs that were started keep the old one."""
    owner, old = await _own(house, who, GLOSSARY, id_)
    return await _keep_glossary(house, owner, id_, _of_wish(house, wish, old["created"]))


@router.put(
    "/api/glossaries/{id_}/csv", summary="Replace the terms of a glossary by CSV", openapi_extra=_CSV,
    responses=_errors(404, 413, 422),
)  # fmt: skip
async def replace_glossary_csv(id_: str, request: Request, who: Editor, house: House) -> GlossaryWhole:
    """As `POST /api/glossaries/csv`; it keeps its name."""
    owner, old = await _own(house, who, GLOSSARY, id_)
    document = glossary_document(old["name"], parse_glossary(await _sheet(request)), old["created"], house.now())
    return await _keep_glossary(house, owner, id_, document)


@router.get(
    "/api/glossaries/{id_}/csv", summary="A glossary as CSV", response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **_errors(404)},
)  # fmt: skip
async def export_glossary(id_: str, who: Viewer, house: House) -> Response:
    """As it can be sent back."""
    document = (await _own(house, who, GLOSSARY, id_))[1]
    headers = {"content-disposition": disposition(f"{safe_name(document['name'])}.csv")}
    return Response(csv_of(document["entries"]), headers=headers, media_type="text/csv")


@router.delete("/api/glossaries/{id_}", status_code=204, summary="Delete a glossary", responses=_errors(404))
async def delete_glossary(id_: str, who: Editor, house: House) -> None:
    """Jobs that were started keep it."""
    await _own(house, who, GLOSSARY, id_)
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


# ------------------------------------------------------------------ presets


def _preset(id_: str, document: Mapping[str, Any]) -> PresetFacts:
    return PresetFacts.model_validate({"id": id_, **document})


@router.get("/api/presets", summary="List presets", responses=_errors())
async def list_presets(who: Viewer, house: House) -> list[PresetFacts]:
    """Yours."""
    return [_preset(id_, document) for id_, _, document in await house.records.list(PRESET, who.user.id, MOST)]


@router.post("/api/presets", status_code=201, summary="Keep a preset", responses=_errors(404, 409, 410, 422))
async def add_preset(wish: PresetWish, who: Editor, house: House, uploads: Incoming) -> PresetFacts:
    """Its state is CREATED: this server does not train voices yet."""
    await _room(house, who, PRESET)
    for upload in wish.uploads:
        mine(who, await uploads.get(upload), "upload")
    id_, now = new_id(), house.now().isoformat()
    document = {**wish.model_dump(), "state": "CREATED", "created": now, "updated": now}
    await house.records.put(PRESET, id_, who.user.id, document)
    return _preset(id_, document)


@router.get("/api/presets/{id_}", summary="One preset", responses=_errors(404))
async def get_preset(id_: str, who: Viewer, house: House) -> PresetFacts:
    """With its state."""
    return _preset(id_, (await _own(house, who, PRESET, id_))[1])


@router.patch("/api/presets/{id_}", summary="Change a preset", responses=_errors(404, 422))
async def change_preset(id_: str, wish: PresetPatch, who: Editor, house: House) -> PresetFacts:
    """Its name and description."""
    owner, old = await _own(house, who, PRESET, id_)
    document = {**old, **wish.model_dump(exclude_none=True), "updated": house.now().isoformat()}
    await house.records.put(PRESET, id_, owner, document)
    return _preset(id_, document)


@router.delete("/api/presets/{id_}", status_code=204, summary="Delete a preset", responses=_errors(404))
async def delete_preset(id_: str, who: Editor, house: House) -> None:
    """Its recordings stay."""
    await _own(house, who, PRESET, id_)
    await house.records.drop(PRESET, id_)
