"""What clients see of jobs."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from polydub.server.contracts import JobRow, JobState

_MEDIA: Mapping[str, str] = {
    ".mkv": "video/x-matroska",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".m4s": "video/iso.segment",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".opus": "audio/ogg",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt",
    ".ass": "text/x-ssa",
    ".json": "application/json",
    ".csv": "text/csv",
    ".m3u8": "application/vnd.apple.mpegurl",
}


class JobError(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(extra="allow")
    code: str = Field(examples=["bad-input"])
    message: str
    hint: str = ""
    retryable: bool = False


class JobFacts(BaseModel):
    """One dub of one film."""

    id: str = Field(examples=["5f0c2f9f2b1d4c6e8a7b9c0d"])
    kind: str = Field(examples=["dub"])
    title: str = Field(examples=["talk.mp4"])
    state: JobState
    priority: int = Field(description="1 (first) to 9.")
    attempt: int = Field(description="1, and one more with each retry, resume and synthesis.")
    request: dict[str, JsonValue] = Field(description="What was asked for.")
    progress: dict[str, JsonValue] = Field(description="Of the running stage: stage, done, total.")
    error: JobError | None
    created: datetime
    updated: datetime
    finished: datetime | None


class JobPage(BaseModel):
    """Some jobs, newest first."""

    jobs: list[JobFacts]
    next: datetime | None = Field(description="Where to go on, as `before`; null at the end.")


class JobList(BaseModel):
    """Jobs that were submitted together."""

    jobs: list[JobFacts]


class DubFacts(BaseModel):
    """The dub into one language."""

    language: str = Field(examples=["es"])
    film: str = Field(description="Name of the film among the files.", examples=["dub.es.mkv"])
    report: str = Field(description="Name of the report among the files.")
    duration: float = Field(description="Of the film, in seconds.")
    lines: int
    url: str = Field(description="Address of the film.")


class FileFacts(BaseModel):
    """One file of a result."""

    name: str = Field(examples=["subtitles/es.srt"])
    bytes: int
    media: str = Field(examples=["video/x-matroska"])
    url: str


class ResultFacts(BaseModel):
    """What came out of a job."""

    job: str
    title: str
    dubs: list[DubFacts]
    files: list[FileFacts]
    bytes: int


class ProjectFacts(BaseModel):
    """A finished dub."""

    id: str = Field(description="Of the job.")
    title: str
    languages: list[str]
    duration: float = Field(description="Of the film, in seconds.")
    bytes: int
    created: datetime
    finished: datetime | None


def facts(row: JobRow) -> JobFacts:
    """Of a job."""
    names = ("id", "kind", "title", "state", "priority", "attempt", "created", "updated", "finished", "error")
    own: dict[str, Any] = {name: getattr(row, name) for name in names}
    return JobFacts(**own, request=dict(row.request), progress=dict(row.progress))


def files_of(row: JobRow) -> Sequence[Mapping[str, Any]]:
    """The files that a result lists: {"name", "bytes"}."""
    return cast("Sequence[Mapping[str, Any]]", (row.result or {}).get("files", ()))


def media_of(name: str) -> str:
    """The type of a file by its name."""
    suffix = PurePosixPath(name).suffix.lower()
    return _MEDIA.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def address(row: JobRow, name: str) -> str:
    """Where a file of a result is fetched."""
    return f"/api/jobs/{row.id}/files/{quote(name)}"


def _dubs(row: JobRow) -> Sequence[Mapping[str, Any]]:
    return cast("Sequence[Mapping[str, Any]]", (row.result or {}).get("dubs", ()))


def result(row: JobRow) -> ResultFacts:
    """Of a job that is done."""
    listed = [
        FileFacts(name=f["name"], bytes=f["bytes"], media=media_of(f["name"]), url=address(row, f["name"]))
        for f in files_of(row)
    ]
    names = ("language", "film", "report", "duration", "lines")
    dubs = [DubFacts(**{name: dub[name] for name in names}, url=address(row, dub["film"])) for dub in _dubs(row)]
    return ResultFacts(job=row.id, title=row.title, dubs=dubs, files=listed, bytes=sum(f.bytes for f in listed))


def project(row: JobRow) -> ProjectFacts:
    """Of a job that is done."""
    dubs = _dubs(row)
    return ProjectFacts(
        id=row.id,
        title=row.title,
        languages=[dub["language"] for dub in dubs],
        duration=max((dub["duration"] for dub in dubs), default=0.0),
        bytes=sum(f["bytes"] for f in files_of(row)),
        created=row.created,
        finished=row.finished,
    )
