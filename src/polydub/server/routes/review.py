"""Lines of a dub in a person's hands: see, change, lock, hear, and have the film made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response

from polydub import review
from polydub.edits import Change
from polydub.server.access import policy, services_of
from polydub.server.contracts import Principal, Services
from polydub.server.files import LocalFile
from polydub.server.job_facts import JobFacts, facts
from polydub.server.orders import job_of
from polydub.server.problems import ErrorBody, Problem, not_found
from polydub.server.review_facts import (
    ChangeFacts,
    LineFacts,
    LinePatch,
    TranscriptFacts,
    TranscriptPatch,
    check_line,
    check_names,
    folder_of,
    line_facts,
    private,
)
from polydub.server.routes.jobs import again
from polydub.server.routes.uploads import uploads_of
from polydub.server.uploads import Uploads

router = APIRouter(tags=["review"])
T = TypeVar("T")
Language = Annotated[
    str, Query(alias="language", max_length=50, description="Of the dub; needed where the job has several.", examples=["es"])
]


class Desk:
    """The dub of a job, for one who may see it: what is done with it is done in a thread."""

    def __init__(self, services: Services, language: str, answer: Response) -> None:
        self._services, self._language, self._answer = services, language, answer

    async def do(self, who: Principal, id_: str, what: Callable[[review.Reviewed], T]) -> T:
        """What `what` gives for the dub. Raises: Problem 404, 409, and what it raises, without this host's folders."""
        row = await job_of(self._services, who, id_)
        home = self._services.folder / "jobs"

        def done() -> T:
            folder = folder_of(home, row)
            with private(folder):
                return what(review.open_review(folder, self._language or None))

        return await anyio.to_thread.run_sync(done)

    def check_voices(self, dub: review.Reviewed, patches: Iterable[LinePatch]) -> None:
        """Raises: Problem 422 for a voice that nobody has; tells where nobody could be asked."""
        if not check_names(self._services, dub, {" ".join((patch.voice or "").split()) for patch in patches} - {""}):
            self._answer.headers["x-polydub-notices"] = "voice-unchecked"

    async def change(self, who: Principal, id_: str, line: str, what: Callable[[review.Reviewed], Change | None]) -> LineFacts:
        """The line after something was done to it. Raises: as `do`; Problem 404 for an unknown line."""

        def done(dub: review.Reviewed) -> LineFacts:
            check_line(dub, line)
            what(dub)
            return line_facts(review.row(dub, line))

        return await self.do(who, id_, done)


def desk_of(request: Request, response: Response, language: Language = "") -> Desk:
    """A dependency."""
    return Desk(services_of(request), language, response)


Viewer = Annotated[Principal, Depends(policy("viewer"))]
Editor = Annotated[Principal, Depends(policy("editor"))]
TheDesk = Annotated[Desk, Depends(desk_of)]


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, 403, 404, 409, 422, *statuses)}


def _transcript(id_: str, dub: review.Reviewed) -> TranscriptFacts:
    rows = review.listing(dub)
    names = sorted(p.name.removeprefix("script.").removesuffix(".json") for p in dub.folder.glob("script.*.json"))
    return TranscriptFacts(
        job=id_,
        language=dub.language,
        languages=names,
        pending=sum(row.pending for row in rows),
        lines=[line_facts(row) for row in rows],
    )


@router.get("/api/jobs/{id_}/transcript", summary="Lines of a dub", responses=_errors())
async def get_transcript(id_: str, who: Viewer, desk: TheDesk) -> TranscriptFacts:
    """All of them, as they are set now, in order of time."""
    return await desk.do(who, id_, lambda dub: _transcript(id_, dub))


@router.put("/api/jobs/{id_}/transcript", summary="Change several lines", responses=_errors())
async def change_transcript(id_: str, wish: TranscriptPatch, who: Editor, desk: TheDesk) -> TranscriptFacts:
    """As one change, all or none. Lines that are left out stay. 422 `voice_not_found` for a voice that nobody has."""
    if any("take" in patch.model_fields_set for patch in wish.lines.values()):
        raise Problem(422, "invalid_value", "a take is chosen for one line alone", param="take")
    expected = {line: patch.expected for line, patch in wish.lines.items() if patch.expected is not None}

    def done(dub: review.Reviewed) -> TranscriptFacts:
        for line in wish.lines:
            check_line(dub, line)
        desk.check_voices(dub, wish.lines.values())
        review.edit_many(dub, {line: patch.fields() for line, patch in wish.lines.items()}, expected)
        return _transcript(id_, dub)

    return await desk.do(who, id_, done)


@router.get("/api/jobs/{id_}/lines/{line}", summary="One line", responses=_errors())
async def get_line(id_: str, line: str, who: Viewer, desk: TheDesk) -> LineFacts:
    """As it is set now."""
    return await desk.change(who, id_, line, lambda dub: None)


@router.patch("/api/jobs/{id_}/lines/{line}", summary="Change a line", responses=_errors())
async def change_line(id_: str, line: str, wish: LinePatch, who: Editor, desk: TheDesk) -> LineFacts:
    """With `expected` only if nobody else has changed it meanwhile. The film is made again by `synthesize`.

    422 `voice_not_found` for a voice that nobody has; where its engine is too large to be asked, or is elsewhere, the change is
    made and the header `x-polydub-notices` is `voice-unchecked`.
    """
    fields = wish.fields()

    def change(dub: review.Reviewed) -> Change | None:
        desk.check_voices(dub, [wish])
        return review.edit(dub, line, fields, wish.expected)

    if "take" not in wish.model_fields_set:
        return await desk.change(who, id_, line, change)
    if fields or wish.take is None:
        raise Problem(422, "invalid_value", "a take is chosen alone, by its number", param="take")
    number = wish.take

    def choose(dub: review.Reviewed) -> Change | None:
        if wish.expected is not None and review.row(dub, line).revision != wish.expected:
            raise review.Conflict(f"line {line} was changed meanwhile", "look at it again")
        return review.use(dub, line, number)

    return await desk.change(who, id_, line, choose)


@router.post("/api/jobs/{id_}/lines/{line}/regen", summary="Have a line spoken anew", responses=_errors())
async def regenerate_line(id_: str, line: str, who: Editor, desk: TheDesk) -> LineFacts:
    """With a new seed, when the film is made next; older takes stay. 422 for an engine that says a text one way only."""
    return await desk.change(who, id_, line, lambda dub: review.regen(dub, [line], review.features(dub)))


@router.post("/api/jobs/{id_}/lines/{line}/lock", summary="Lock a line", responses=_errors())
async def lock_line(id_: str, line: str, who: Editor, desk: TheDesk) -> LineFacts:
    """Text, take and time stay, whatever is done to the dub."""
    return await desk.change(who, id_, line, lambda dub: review.lock(dub, [line]))


@router.post("/api/jobs/{id_}/lines/{line}/unlock", summary="Unlock a line", responses=_errors())
async def unlock_line(id_: str, line: str, who: Editor, desk: TheDesk) -> LineFacts:
    """It may change again."""
    return await desk.change(who, id_, line, lambda dub: review.unlock(dub, [line]))


def _told(change: Change) -> ChangeFacts:
    return ChangeFacts(what=change.what, lines=list(change.lines))


@router.post("/api/jobs/{id_}/transcript/undo", summary="Take the last change back", responses=_errors())
async def undo_change(id_: str, who: Editor, desk: TheDesk) -> ChangeFacts:
    """Of the lines, whoever made it."""
    return await desk.do(who, id_, lambda dub: _told(review.undo(dub)))


@router.post("/api/jobs/{id_}/transcript/redo", summary="Make a change again", responses=_errors())
async def redo_change(id_: str, who: Editor, desk: TheDesk) -> ChangeFacts:
    """The one that was taken back last."""
    return await desk.do(who, id_, lambda dub: _told(review.redo(dub)))


@router.post(
    "/api/jobs/{id_}/transcript/synthesize",
    status_code=202,
    operation_id="synthesize_transcript",
    summary="Make the film again",
    responses=_errors(429),
)
async def synthesize(
    id_: str,
    who: Editor,
    services: Annotated[Services, Depends(services_of)],
    uploads: Annotated[Uploads, Depends(uploads_of)],
) -> JobFacts:
    """With all that was changed, as a new attempt of the job: only what changed is done anew. Follow it by `events`.

    Also where that has failed before: a voice that nobody has, say, is mended by changing the line once more.
    """
    row = await job_of(services, who, id_)
    if row.state not in ("done", "failed"):
        raise Problem(409, "job_not_done", f"the job is {row.state}", hint="a film is made again when it is done")
    if row.state == "failed":
        await anyio.to_thread.run_sync(folder_of, services.folder / "jobs", row)  # there must be a dub
    return facts(await again(services, uploads, row))


@router.get(
    "/api/jobs/{id_}/lines/{line}/audio",
    summary="Hear a line",
    responses={200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}, **_errors(400, 416)},
    response_class=Response,
)
async def get_line_audio(
    id_: str,
    line: str,
    who: Viewer,
    desk: TheDesk,
    of: Annotated[
        Literal["dub", "original"] | Annotated[int, Query(ge=1)],
        Query(description="As the film says it, what the source says there, or the number of a take."),
    ] = "dub",
) -> Response:
    """As WAV. 404 for a line that says nothing, or has no such take."""

    def done(dub: review.Reviewed) -> Response:
        check_line(dub, line)
        row = review.row(dub, line)
        if (of == "dub" and row.at is None) or (isinstance(of, int) and of not in row.takes):
            raise not_found("recording")
        file = review.sound(dub, line, of if isinstance(of, int) else None, original=of == "original")
        return LocalFile(file, media_type="audio/wav", filename=file.name, headers={"cache-control": "private, no-cache"})

    return await desk.do(who, id_, done)
