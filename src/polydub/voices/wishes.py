"""Voices that somebody wishes for: recordings by their path, voices of the library by name, a folder with one per speaker."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from polydub.errors import BadInput
from polydub.store import Store
from polydub.types import Artifact
from polydub.voices import library
from polydub.voices.library import Library, LibraryVoice, Reference
from polydub.voices.manifest import folded

GIVEN = frozenset({".wav", ".flac", ".mp3"})  # in a folder with a recording of each speaker
PART_OF_NAME = 3  # characters from which a part of a name means a voice of the library: "es" is a voice of engines


def recorded(names: Iterable[str], home: Path, store: Store) -> dict[str, tuple[Artifact, ...]]:
    """What is known of `names` as recordings in the store: mono FLAC, as engines get them.

    A name is the path of a recording, that of a folder with a voice, or a voice of the library in `home`; of any other, which
    an engine may know, nothing is told. Raises: BadInput for a recording that is not there or cannot be used; BadSettings where
    a name means several voices.
    """
    found: dict[str, tuple[Artifact, ...]] = {}
    shelf: Library | None = None
    for name in sorted({name for name in names if name}):
        path = Path(name).expanduser()
        if path.suffix.lower() in library.SOUNDS or (_may_be_path(name) and path.is_file()):
            found[name] = _recording(path, store)
            continue
        if _is_folder(name):
            found[name] = library.references(library.voice_in(path), store)
            continue
        shelf = shelf or library.read(home)
        if (voice := _kept(shelf, name)) is not None:
            found[name] = library.references(voice, store)
    return found


def called(names: Iterable[str]) -> dict[str, str]:
    """What the voices are called, of names that are the path of a folder laid out as one of the library. Raises: BadInput."""
    return {name: library.voice_in(Path(name).expanduser()).name for name in sorted(set(names)) if _is_folder(name)}


def _may_be_path(name: str) -> bool:
    """A word alone is the name of a voice, whatever lies right here: a file is then written ./NAME."""
    return "/" in name or "." in name


def _is_folder(name: str) -> bool:
    """Whether a name is the path of a folder: one that lies right here is written ./NAME."""
    return "/" in name and Path(name).expanduser().is_dir()


def meant(names: Iterable[str], home: Path) -> dict[str, str]:
    """What aliases of the library in `home` lead to, where that is no voice of it but one that an engine may have.

    Raises: BadInput for a damaged library; BadSettings for an alias that leads round.
    """
    asked = sorted({name for name in names if name})
    shelf = library.read(home) if asked else Library(home)
    return {name: end for name in asked if (end := _abroad(shelf, name)) is not None}


def given(folder: Path | None, store: Store) -> dict[str, tuple[Artifact, ...]]:
    """The recordings SPEAKER.wav, .flac and .mp3 of a folder, by speaker as the files are called; none without a folder.

    Raises: BadInput for a folder that is not there, a recording that cannot be used, and two of one speaker.
    """
    if folder is None:
        return {}
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in GIVEN and p.is_file() and p.name[0] != ".")
    except OSError as error:
        text = f"the folder of recordings {folder} cannot be read: {error.strerror or error}"
        raise BadInput(text, "check --voice-ref-dir") from error
    first: dict[str, Path] = {}
    for path in files:
        other = first.setdefault(path.stem.casefold(), path)
        if other is not path:
            raise BadInput(
                f"{folder} has two recordings of {path.stem}: {other.name} and {path.name}", "leave one of them there"
            )
    return {path.stem: _recording(path, store) for path in files}


def _recording(path: Path, store: Store) -> tuple[Artifact, ...]:
    if not path.is_file():
        raise BadInput(f"there is no recording {path}", "check the name")
    return library.references(LibraryVoice(path.stem, "und", (Reference(path),)), store)


def _kept(shelf: Library, name: str) -> LibraryVoice | None:
    """The voice of the library that a name means, which may be a part of its name if that is not too short."""
    if _abroad(shelf, name) is not None:
        return None
    wanted = folded(name)
    whole = any(wanted in (folded(v.name), folded(v.origin)) for v in shelf.voices) or shelf.leads_to(name) != name
    damaged = wanted in map(folded, shelf.damaged)
    return shelf.get(name) if whole or damaged or len(wanted) >= PART_OF_NAME else None


def _abroad(shelf: Library, name: str) -> str | None:
    """What an alias leads to that is no voice of the library; None for anything else."""
    if shelf.has(name) or (end := shelf.leads_to(name)) == name or shelf.has(end):
        return None
    return None if folded(end) in map(folded, shelf.damaged) else end
