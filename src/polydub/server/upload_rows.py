"""What is kept of an upload, and what its sender is told when something is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from polydub.server.contracts import Records, Upload
from polydub.server.problems import Problem

KIND = "upload"  # of documents in the records
MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """An upload as it is kept. Attributes: metadata: the header Upload-Metadata as the client sent it. seconds: of film."""

    upload: Upload
    metadata: str = ""
    seconds: float = 0.0
    used: datetime | None = None


def row_of(id_: str, owner: str, kept: Mapping[str, Any]) -> Row:
    """A row from what the records hold."""
    upload = Upload(
        id_,
        owner,
        str(kept["name"]),
        kept["length"],
        int(kept["offset"]),
        datetime.fromisoformat(kept["created"]),
        datetime.fromisoformat(kept["expires"]),
        str(kept.get("digest", "")),
        str(kept.get("media", "")),
    )
    used = kept.get("used")
    return Row(upload, str(kept.get("metadata", "")), float(kept.get("seconds", 0.0)), used and datetime.fromisoformat(used))


async def bytes_of(records: Records, owner: str) -> int:
    """Bytes of an account's uploads and results; unfinished uploads count in full."""
    uploads = [row_of(id_, own, kept).upload for id_, own, kept in await records.list(KIND, owner, MOST_ROWS)]
    files = sum(u.length if u.length is not None else u.offset for u in uploads)
    jobs = await records.jobs(owner=owner, limit=MOST_ROWS)
    return files + sum(int((job.result or {}).get("bytes", 0)) for job in jobs)


def document(row: Row) -> Mapping[str, Any]:
    """What the records hold of a row."""
    upload = row.upload
    return {
        "name": upload.name,
        "length": upload.length,
        "offset": upload.offset,
        "created": upload.created.isoformat(),
        "expires": upload.expires.isoformat(),
        "digest": upload.digest,
        "media": upload.media,
        "metadata": row.metadata,
        "seconds": row.seconds,
        "used": row.used.isoformat() if row.used else None,
    }


def too_large(most: int, *, announced: bool = False) -> Problem:
    """413."""
    if announced:
        return Problem(413, "upload_too_large", f"more came than the {most} bytes that were announced", param="Upload-Length")
    return Problem(413, "upload_too_large", f"the file is larger than the {most} bytes that are taken")


def wrong_offset(offset: int) -> Problem:
    """409."""
    return Problem(
        409, "wrong_offset", f"the upload has {offset} bytes", hint="ask for its offset with HEAD", param="Upload-Offset"
    )


def busy() -> Problem:
    """423."""
    return later(Problem(423, "upload_busy", "another request is writing this upload", hint="try again"), 2)


def later(problem: Problem, seconds: float) -> Problem:
    """The same, with the advice to try again."""
    problem.retry_after, problem.retryable = seconds, True
    return problem
