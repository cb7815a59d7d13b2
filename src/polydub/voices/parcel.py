"""Characters as a zip file: `manifest.json`, a character book in plain text, and their recordings in `references/`."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from polydub import project
from polydub.errors import BadInput
from polydub.voices.book import Book, Character, Draft, Reference, Shelf, length_s, text_of
from polydub.voices.bookkeeping import with_characters

MANIFEST, FOLDER = "manifest.json", "references/"
LARGEST_MANIFEST, LARGEST_SOUND, LARGEST = 64 << 20, 64 << 20, 1 << 30  # bytes
MOST = 5000  # entries
_THEN = (1980, 1, 1, 0, 0, 0)  # the same characters make the same file


def write(target: Path, shelf: Shelf, those: Sequence[Character]) -> None:
    """Writes `those` with their recordings to a zip file, which is not encrypted. Raises what a shelf raises."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as parcel:
        book = Book(next=1 + max((int(c.id[1:]) for c in those), default=0), characters=tuple(those))
        parcel.writestr(zipfile.ZipInfo(MANIFEST, _THEN), text_of(book))
        for digest, reference in sorted({r.sha256: r for c in those for r in c.references}.items()):
            parcel.writestr(zipfile.ZipInfo(f"{FOLDER}{digest}.flac", _THEN), shelf.sound(reference))
    project.write(target, memory.getvalue(), mode=0o600)


def read(file: Path, draft: Draft) -> list[Character]:
    """Adds the characters of a zip file to the book as new ones; one whose name is taken gets a number: "Anna 2".

    Those that are there already, by a voiceprint of the same recording, are left out: two of one voice are told apart by
    nothing, and neither would be recognised any more. Returns those that were added.
    Raises: BadInput for anything that `write` does not write, before anything is added.
    """
    try:
        with zipfile.ZipFile(file) as parcel:
            return _unpacked(parcel, draft)
    except FileNotFoundError:
        raise BadInput(f"there is no file {file}", "check the name") from None
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        raise _bad(f"it cannot be read ({error})") from error


def _bad(why: str) -> BadInput:
    return BadInput(f"this is no file of exported characters: {why}", "make one with: polydub characters export --out FILE")


def _unpacked(parcel: zipfile.ZipFile, draft: Draft) -> list[Character]:
    entries = parcel.infolist()
    names = [e.filename for e in entries]
    if MANIFEST not in names or len(names) > MOST or len(set(names)) < len(names):
        raise _bad(f"it needs one {MANIFEST} and nothing twice")
    if sum(e.file_size for e in entries) > LARGEST:
        raise _bad("it is too large")
    try:
        book = Book.model_validate(json.loads(_bytes(parcel, MANIFEST, LARGEST_MANIFEST)))
    except (ValidationError, ValueError, RecursionError) as error:
        raise _bad(f"{MANIFEST} is damaged") from error
    wanted = {r.sha256: r for c in book.characters for r in c.references}
    if {*names} != {MANIFEST, *(f"{FOLDER}{digest}.flac" for digest in wanted)}:
        raise _bad("its files are not those that the manifest names")
    for digest, reference in wanted.items():
        _sound(parcel, digest, reference, draft)
    return _taken_in(book, draft)


def _bytes(parcel: zipfile.ZipFile, name: str, most: int) -> bytes:
    """An entry; no more of it is unpacked than is allowed, whatever its header says."""
    with parcel.open(name) as opened:
        data = opened.read(most + 1)
    if len(data) > most:
        raise _bad(f"{name} is too large")
    return data


def _sound(parcel: zipfile.ZipFile, digest: str, reference: Reference, draft: Draft) -> None:
    data = _bytes(parcel, f"{FOLDER}{digest}.flac", LARGEST_SOUND)
    length_s(data)
    kept = draft.keep(data)
    if kept.sha256 != digest or kept.bytes != reference.bytes:
        raise _bad("a recording is not what the manifest says")


def _taken_in(book: Book, draft: Draft) -> list[Character]:
    taken = {n.casefold() for c in draft.book.characters for n in (c.name, *c.aliases)}
    here = {print_ for c in draft.book.characters for print_ in _prints(c)}
    after, added = draft.book.next, list[Character]()
    for one in book.characters:
        if not here.isdisjoint(_prints(one)):
            continue
        name, number = one.name, 2
        while name.casefold() in taken:
            name, number = f"{one.name[:70]} {number}", number + 1
        aliases = tuple(a for a in one.aliases if a.casefold() not in taken and a.casefold() != name.casefold())
        taken |= {name.casefold(), *(a.casefold() for a in aliases)}
        added.append(one.model_copy(update={"id": f"c{after}", "name": name, "aliases": aliases}))
        after += 1
    whole = draft.book.model_copy(update={"next": after})
    try:
        draft.book = with_characters(whole, (*whole.characters, *added))
    except ValidationError:
        raise _bad("its voiceprints are none of the encoders they say") from None
    return added


def _prints(one: Character) -> set[tuple[str, tuple[float, ...]]]:
    """The voiceprints that it was told by, each with its encoder."""
    return {(encoder, e.numbers) for encoder, known in one.voiceprints.items() for e in known.exemplars}
