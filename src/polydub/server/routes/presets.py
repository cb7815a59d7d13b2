"""Voice presets, which are one's own: made from recordings, followed, named by dubs, deleted with their voice."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from polydub.server.access import policy, services_of
from polydub.server.contracts import Principal, Services
from polydub.server.library_facts import PresetFacts, PresetPatch, PresetWish
from polydub.server.presets import KIND, Presets
from polydub.server.problems import ErrorBody
from polydub.server.routes.library import MOST, own, room
from polydub.server.routes.uploads import uploads_of
from polydub.voices.manifest import checked_name

router = APIRouter(tags=["voices"])


def presets_of(request: Request) -> Presets:
    """The server's presets; a dependency."""
    if not hasattr(request.app.state, "presets"):
        request.app.state.presets = Presets(services_of(request), uploads_of(request))
    return request.app.state.presets


Viewer = Annotated[Principal, Depends(policy("viewer"))]
Editor = Annotated[Principal, Depends(policy("editor"))]
House = Annotated[Services, Depends(services_of)]
Kept = Annotated[Presets, Depends(presets_of)]


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, 403, *statuses)}


@router.get("/api/presets", summary="List presets", responses=_errors())
async def list_presets(who: Viewer, presets: Kept) -> list[PresetFacts]:
    """Yours."""
    return await presets.of(who.user.id, MOST)


@router.post("/api/presets", status_code=201, summary="Make a preset", responses=_errors(404, 409, 410, 422))
async def add_preset(wish: PresetWish, who: Editor, house: House, presets: Kept) -> PresetFacts:
    """From recordings of one person, who has agreed. The answer comes at once; then the recordings are looked at, and a voice
    is made of the best of them, without training: a dub that names the preset speaks in it where its engine clones."""
    await room(house, who, KIND)
    return await presets.add(who, wish)


@router.get("/api/presets/{id_}", summary="One preset", responses=_errors(404))
async def get_preset(id_: str, who: Viewer, house: House, presets: Kept) -> PresetFacts:
    """With its state and how far it is."""
    return await presets.facts(id_, (await own(house, who, KIND, id_))[1])


@router.patch("/api/presets/{id_}", summary="Change a preset", responses=_errors(404, 422))
async def change_preset(id_: str, wish: PresetPatch, who: Editor, house: House, presets: Kept) -> PresetFacts:
    """Its name and description. The voice that was made goes on being called as it was."""
    owner, old = await own(house, who, KIND, id_)
    if wish.name is not None:
        checked_name(wish.name)
    document = {**old, **wish.model_dump(exclude_none=True), "updated": house.now().isoformat()}
    await house.records.put(KIND, id_, owner, document)
    return await presets.facts(id_, document)


@router.delete("/api/presets/{id_}", status_code=204, summary="Delete a preset", responses=_errors(404))
async def delete_preset(id_: str, who: Editor, house: House, presets: Kept) -> None:
    """With its voice, but for jobs that were started. The recordings that it was made from stay."""
    await own(house, who, KIND, id_)
    await presets.drop(id_)
