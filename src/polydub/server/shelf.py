"""What both kinds of storage share: keys, facts of stored files, errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from polydub.errors import BadInput
from polydub.server.contracts import Storage

PIECE = 1 << 20  # bytes that are read or written at once
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+=-]{0,254}")
_LONGEST_KEY = 900  # bytes; S3 takes 1,024 with the prefix


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored file. Attributes: size: bytes. modified: when it was put."""

    key: str
    size: int
    modified: datetime


class Shelf(Storage, Protocol):
    """A `Storage` that also tells how large and old its files are."""

    async def stored(self, prefix: str) -> Sequence[Stored]:
        """All files whose keys begin with `prefix`, by key."""
        ...


def checked(key: str) -> str:
    """The key itself. Raises: BadInput for one that is empty, too long, or holds anything but plain words and slashes."""
    if len(key) > _LONGEST_KEY or not all(_WORD.fullmatch(part) for part in key.split("/")):
        raise BadInput("this is no name of a stored file")
    return key


def of_job(job: str, name: str) -> str:
    """The key of a file of a job's result, by its name there ("subs/My talk.es.srt"); parts that are no plain words are spelled
    with what is plain of them and a piece of their SHA-256."""
    return "/".join(["jobs", job, *(part if _WORD.fullmatch(part) else _spelled(part) for part in name.split("/"))])


def _spelled(part: str) -> str:
    stem, dot, suffix = part.rpartition(".")
    if not re.fullmatch(r"[A-Za-z0-9]{1,10}", suffix):
        stem, dot, suffix = part, "", ""
    digest = hashlib.sha256(part.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', stem)[:100].lstrip('.-') or 'file'}={digest}{dot}{suffix}"


def no_file() -> BadInput:
    """There is nothing under a key."""
    return BadInput("the stored file is gone", "send it again")
