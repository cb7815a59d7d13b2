"""The voice library and the characters for programs, with plain arguments; `folder` and `book` are where they are kept.

None stands for what the settings say (`voices`, `character_book`), which is the user's own data folder where nobody set them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from polydub.config import Loaded
    from polydub.voices.book import Book
    from polydub.voices.keeping import Imported
    from polydub.voices.library import Library, LibraryVoice
    from polydub.voices.quality import Quality


class About(TypedDict, total=False):
    """What is told of a new voice: see `library.LibraryVoice`. transcripts: what is said in each recording."""

    language: str
    licence: str
    consent: str
    consent_file: str | Path
    description: str
    tags: Sequence[str]
    transcripts: Sequence[str]


class Otherwise(TypedDict, total=False):
    """What is told otherwise of a voice: see `About`. aliases: all that the voice is to have."""

    language: str
    licence: str
    consent: str
    description: str
    tags: Sequence[str]
    aliases: Sequence[str]


def open_library(folder: str | Path | None = None) -> Library:
    """All voices that are kept; `find` looks for one by name, part of a name or alias. Raises: BadInput for damaged aliases."""
    from polydub.voices import library

    return library.read(_home(folder))


def check(recording: str | Path) -> Quality:
    """How good a recording is as the reference of a voice: a score, figures, and what is wrong with it. Raises: BadInput."""
    from polydub import aloud

    return aloud.hear([Path(recording)], _settings())[0].quality


def add(
    name: str,
    recordings: Sequence[str | Path],
    folder: str | Path | None = None,
    *,
    force: bool = False,
    **about: Unpack[About],
) -> LibraryVoice:
    """Keeps a new voice: mono FLAC, without what lies before the first word and after the last one.

    Args: recordings: any sound or video files; 6 to 15 s of clean speech by one person are best. force: also recordings that
    are hardly of use. about: `consent` says who agreed to the use of the voice, and when; a public licence does without.
    Raises: BadSettings without consent, or for a name that is taken; BadInput for recordings that no voice can be made from.
    """
    return keep(name, recordings, folder, force=force, **about)[0]


def keep(
    name: str,
    recordings: Sequence[str | Path],
    folder: str | Path | None = None,
    *,
    force: bool = False,
    **about: Unpack[About],
) -> tuple[LibraryVoice, tuple[str, ...]]:
    """As `add`; and what is doubtful about the recordings, a sentence each."""
    from polydub import aloud
    from polydub.voices import keeping

    home = _home(folder)
    keeping.check_free(home, name)
    consent, licence = about.get("consent", "").strip(), about.get("licence", "")
    proof = about.get("consent_file")
    keeping.check_consent(consent or str(proof or ""), licence)
    keeping.check_transcripts(len(about.get("transcripts", ())), len(recordings))
    texts = list(about.get("transcripts", ())) or [""] * len(recordings)
    heard = aloud.hear([Path(file) for file in recordings], _settings())
    if not force:
        aloud.check_usable(heard)
    entry = keeping.Entry(
        name,
        _language(about.get("language", "und")),
        licence,
        keeping.dated(consent or (f"see {Path(proof).name}" if proof else "")),
        Path(proof) if proof else None,
        about.get("description", ""),
        tuple(about.get("tags", ())),
    )
    kept = keeping.add(home, entry, [keeping.Recorded(one.sound, text) for one, text in zip(heard, texts, strict=True)])
    doubts = [f"{one.path.name}: {f.text}" for one in heard for f in one.quality.findings if f.severity != "info"]
    return kept, (*doubts, *(notice.text for notice in aloud.strangers(heard)))


def remove(name: str, folder: str | Path | None = None) -> int:
    """Deletes a voice with its recordings for good; its name is given in full. Returns the bytes freed. Raises: BadSettings."""
    from polydub.voices import keeping

    shelf = open_library(folder)
    if not shelf.has(name):
        raise shelf.unknown(name)
    return keeping.remove(shelf.folder, shelf.find(name))


def change(name: str, folder: str | Path | None = None, **changes: Unpack[Otherwise]) -> LibraryVoice:
    """Tells something else of a voice; what is left out stays, and so do its name and recordings. Raises: BadSettings."""
    from polydub.voices import changing

    return changing.change(_home(folder), name, changing.Changes(**changes))


def set_alias(alias: str, name: str | None, folder: str | Path | None = None) -> Mapping[str, str]:
    """Lets `alias` mean a voice, or no longer (None). Returns all aliases. Raises: BadSettings."""
    from polydub.voices import keeping

    return keeping.set_alias(_home(folder), alias, name)


def import_from(source: str | Path, folder: str | Path | None = None) -> Imported:
    """Takes over the voices of a folder or a ZIP archive; what is there already stays. Raises: BadInput."""
    from polydub.voices import keeping

    return keeping.import_from(_home(folder), Path(source))


def open_book(book: str | Path | None = None) -> Book:
    """All characters that are remembered across films. Raises: MissingSecret, BadSettings, StoreError."""
    from polydub import remembering

    return remembering.shelf_of(_settings(character_book=book)).read()


def _settings(**given: str | Path | None) -> Loaded:
    from polydub import config

    return config.load_from_process({name: str(value) for name, value in given.items() if value is not None})


def _home(folder: str | Path | None) -> Path:
    return _settings(voices=folder).settings.voices_home


def _language(name: str) -> str:
    from polydub import languages

    return name if name == "und" else languages.parse(name)
