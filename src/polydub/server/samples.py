"""Recordings of voices that were uploaded, as files that a thread can work on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from polydub.errors import PolydubError
from polydub.server.contracts import Services, Upload
from polydub.server.problems import Problem
from polydub.server.requests import safe_name
from polydub.server.uploads import key_of


def check_complete(upload: Upload) -> None:
    """Raises: Problem 409."""
    if not upload.complete:
        raise Problem(409, "upload_incomplete", f"the upload {upload.id} is not complete", hint="send the rest of it first")


async def brought(house: Services, upload: Upload, folder: Path) -> Path:
    """A recording under its own name in `folder`, which is made. Raises: Problem 409."""
    check_complete(upload)
    folder.mkdir()
    file = folder / safe_name(upload.name)
    local = house.storage.local(key_of(upload.id))
    if local is not None:
        file.symlink_to(local.absolute())
    else:
        await house.storage.fetch(key_of(upload.id), file)
    return file


@contextmanager
def nameless(files: Sequence[Path]) -> Generator[None]:
    """Errors name these files without the places of this host."""
    try:
        yield
    except PolydubError as error:
        for file in files:
            error.message = error.message.replace(f"{file.parent}/", "")
            error.hint = error.hint.replace(f"{file.parent}/", "")
        raise
