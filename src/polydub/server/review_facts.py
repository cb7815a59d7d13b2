"""Lines of a dub as clients see and change them; and where on this host a job's dub lies."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from polydub import review
from polydub.edits import Manner
from polydub.errors import BadSettings, PolydubError
from polydub.review.voices import check_voices
from polydub.server.contracts import OPEN, JobRow, Services
from polydub.server.problems import Problem, not_found
from polydub.server.requests import check_voice

LIGHT_MIB = 1_000  # of memory that an engine may say it needs, to be loaded for no more than a question


class ExpressionFacts(BaseModel):
    """How a line is said, against how its voice says it by itself."""

    rate: float
    pitch: float = Field(description="Semitones.")
    energy_db: float
    pitch_range: float
    emotion: str


class LineFacts(BaseModel):
    """One line; times in seconds on the film's own clock."""

    id: str
    status: str = Field(description="draft, approved or locked.")
    pending: bool = Field(description="Changed since the film was made last.")
    start: float
    end: float
    pinned: bool = Field(description="A person set the times.")
    speaker: str
    source_text: str
    text: str = Field(description="What is to be said.")
    said: str = Field(description="What the film says now.")
    voice: str
    own_voice: str = Field(description="The line's own; empty = the speaker's.")
    expression: ExpressionFacts
    seed: int
    at: float | None = Field(description="Where the film says it; null where it says nothing.")
    duration: float | None
    rate: float | None
    shift: float | None
    overflow: float | None
    takes: list[int]
    take: int | None = Field(description="The take that was chosen by hand.")
    heard: int | None = Field(description="The take that is in the film.")
    notices: list[str]
    revision: int = Field(description="For `expected`: rises with each change.")
    marks: list[str] = Field(description="Marks of its text, such as angry and pause.", examples=[["angry"]])
    spoken_as: ExpressionFacts | None = Field(description="How the film says it; null = plainly, or not at all.")


class TranscriptFacts(BaseModel):
    """All lines of a dub."""

    job: str
    language: str
    languages: list[str] = Field(description="Languages that the job has dubs in.")
    pending: int = Field(description="Lines that were changed since the film was made.")
    lines: list[LineFacts]


class LinePatch(BaseModel):
    """What is to be otherwise; null takes back what was set, what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "Otro texto.", "expected": 0}]})
    text: str | None = Field(default=None, max_length=5000)
    source_text: str | None = Field(default=None, max_length=5000)
    speaker: str | None = Field(default=None, max_length=200)
    voice: str | None = Field(default=None, max_length=200)
    expression: Manner | None = None
    start: float | None = Field(default=None, ge=0, description="Seconds.")
    end: float | None = Field(default=None, ge=0, description="Seconds.")
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    take: int | None = Field(default=None, ge=1, description="The take that is to be heard; alone.")
    status: str | None = Field(default=None, pattern="^(draft|approved)$")
    expected: int | None = Field(default=None, ge=0, description="The revision that was seen; 409 when it is another now.")

    def fields(self) -> dict[str, Any]:
        """As `review.edit` takes them: those that were sent."""
        sent = {name: getattr(self, name) for name in self.model_fields_set - {"expected", "take"}}
        if sent.get("status", "") is None:
            sent["status"] = "draft"
        return sent


class TranscriptPatch(BaseModel):
    """Changes of several lines that are one change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lines": {"3": {"text": "Otro texto."}}}]})
    lines: dict[str, LinePatch] = Field(min_length=1, max_length=20_000, description="By the lines' ids.")


class ChangeFacts(BaseModel):
    """One change that can be undone."""

    what: str
    lines: list[str] = Field(description="Ids of the lines that it touched.")


def line_facts(row: review.Row) -> LineFacts:
    """Of a line."""
    return LineFacts.model_validate(asdict(row))


def check_line(dub: review.Reviewed, line: str) -> None:
    """Raises: Problem 404 unless there is a line of that id."""
    if not any(one.id == line for one in review.state(dub).lines):
        raise not_found("line")


def check_names(services: Services, dub: review.Reviewed, names: Collection[str]) -> bool:
    """Whether somebody could be asked for the voices of these names: the library, what the dub speaks with, or its engine.

    A heavy engine is not loaded for it, nor one that only workers have. Raises: Problem 422 for one that nobody has.
    """
    here = {"store": str(services.folder / "store"), "download": "no"}
    try:
        for name in names:
            check_voice(name)
        if services.speech is None:
            return not names
        return not check_voices(dub, names, services.speech.pool, here, LIGHT_MIB)
    except BadSettings as error:
        raise Problem(422, "voice_not_found", error.message, hint=error.hint, param="voice") from error


def folder_of(jobs: Path, row: JobRow) -> Path:
    """The project folder of a job. Raises: Problem 409 where there is none, or it is on another host."""
    home = jobs / row.id
    told = str((row.result or {}).get("folder", ""))
    if told and (home / told).resolve().is_relative_to(home.resolve()) and (home / told).is_dir():
        return home / told
    found = sorted({file.parent for file in home.glob("output/*/script.*.json")})
    if len(found) == 1:  # a film that is being made again
        return found[0]
    if row.state == "done":
        raise Problem(409, "project_elsewhere", "the dub lies on another host, or was deleted", hint="retry the job")
    hint = "" if row.state in OPEN else "POST /api/jobs/{id}/retry does it again"
    raise Problem(409, "job_not_done", f"the job is {row.state}, and there is nothing to review yet", hint=hint)


@contextmanager
def private(folder: Path) -> Generator[None]:
    """Errors from inside say "the job" where they would name this host's folders."""
    try:
        yield
    except PolydubError as error:
        for place in (str(folder), str(folder.parent), str(folder.parent.parent)):
            error.message, error.hint = error.message.replace(place, "the job"), error.hint.replace(place, "the job")
        error.args = (error.message,)
        raise
