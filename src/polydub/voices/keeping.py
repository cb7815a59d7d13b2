"""What changes the voice library: add, remove, import, aliases. Everything is whole or not there at all."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from polydub import project
from polydub.errors import BadInput, BadSettings
from polydub.store import writing
from polydub.voices import library, manifest
from polydub.voices.library import LibraryVoice
from polydub.voices.manifest import folded

if TYPE_CHECKING:
    from polydub.types import Audio

MOST_FILES, MOST_BYTES = 10_000, 4 << 30  # of an import, unpacked
MOST_RATIO = 100  # unpacked / packed of one file: sound is never packed so well
DOCUMENTS = frozenset({".txt", ".md", ".pdf", ".json", ".html", ".png", ".jpg", ".jpeg"})
# Beginnings of licences under which anybody may use a recording, by whoever it is.
PUBLIC = ("cc0", "cc-0", "cc by", "cc-by", "public domain", "pd", "pdm", "mit", "apache", "odc", "odbl", "unlicense")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording to be kept, mono (1, n), and what is said in it."""

    sound: Audio
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a person tells of a voice. Attributes: consent_file: shows the consent; it is copied."""

    name: str
    language: str = "und"
    licence: str = ""
    consent: str = ""
    consent_file: Path | None = None
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """What came out of an import. Attributes: refused: file or folder -> why."""

    names: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict[str, str])


def public(licence: str) -> bool:
    """Whether a licence lets anybody use the recordings, so that nobody needs to be asked."""
    return licence.strip().casefold().startswith(PUBLIC)


def check_consent(consent: str, licence: str) -> None:
    """Raises BadSettings for recordings of which neither a person nor a public licence says that they may be used."""
    if not consent and not public(licence):
        hint = 'say who agreed and when: --consent "Anna Roth, by e-mail, 2026-03-01"'
        hint += ", or name a public licence: --licence CC0-1.0"
        raise BadSettings("recordings of a person are kept only with a note that the person agreed", hint)


def check_transcripts(transcripts: int, recordings: int) -> None:
    """Raises BadSettings unless there is one for each, or none."""
    if transcripts not in (0, recordings):
        raise BadSettings(f"{transcripts} transcripts for {recordings} recordings", "give one --transcript for each, or none")


def check_free(folder: Path, name: str) -> str:
    """The name as it is kept. Raises: BadSettings for one that cannot be, or is taken."""
    tidy = manifest.checked_name(name)
    kept = library.read(folder)
    taken = next((v.name for v in kept.voices if folded(v.name) == folded(tidy)), None)
    if taken is not None or folded(tidy) in map(folded, kept.damaged) or (folder / tidy).exists():
        raise BadSettings(
            f"the voice library has a voice {taken or tidy} already",
            "choose another name, or remove it first: polydub voices remove",
        )
    return tidy


def add(folder: Path, entry: Entry, recordings: Sequence[Recorded]) -> LibraryVoice:
    """Keeps a new voice: its recordings as 24-bit FLAC beside `voice.json`. Raises: BadSettings, BadInput, StoreError."""
    from polydub.media.flac import write_flac

    proof, shown = _proof(entry.consent_file)
    with held(folder):
        name = check_free(folder, entry.name)
        with _new_folder(folder) as made:
            rows: list[manifest.Recording] = []
            for number, recorded in enumerate(recordings, 1):
                file = f"{number}.flac"
                write_flac(made / file, recorded.sound.samples, recorded.sound.rate_hz)
                rows.append(manifest.Recording(file=file, transcript=recorded.transcript))
            if proof:
                project.write(made / proof, shown)
            told = manifest.Manifest(
                version=1,
                name=name,
                language=entry.language,
                licence=entry.licence,
                consent=entry.consent,
                consent_file=proof,
                description=entry.description,
                tags=list(entry.tags),
                references=rows,
            )
            project.write(made / manifest.FILE, manifest.written(told))
            _put(made, folder / name)
    return next(voice for voice in library.read(folder).voices if voice.name == name)


def _proof(path: Path | None) -> tuple[str, bytes]:
    """What a file that shows consent is called in the library, and what it holds; "" without one. Raises: BadInput."""
    if path is None:
        return "", b""
    try:
        return f"consent{path.suffix.lower()}", path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "check the file that shows the consent") from error


def dated(consent: str) -> str:
    """A consent with today's date, unless it tells a year itself."""
    if not consent or re.search(r"\b(19|20)\d\d\b", consent):
        return consent
    return f"{consent} ({datetime.date.today().isoformat()})"


def remove(folder: Path, voice: LibraryVoice) -> int:
    """Deletes a voice with its recordings, and aliases that lead to it. Returns the bytes freed. Raises: StoreError."""
    with held(folder):
        paths = [p for p in voice.folder.rglob("*") if p.is_file()] if voice.folder else [r.path for r in voice.references]
        if voice.folder is None:
            paths += [p.with_suffix(".txt") for p in paths if p.with_suffix(".txt").is_file()]
        freed = sum(path.stat().st_size for path in paths)
        with writing(folder):
            if voice.folder is not None:
                with _new_folder(folder) as made:  # gone in one step, whatever happens next
                    voice.folder.replace(made / "gone")
            else:
                for path in paths:
                    path.unlink(missing_ok=True)
        kept = library.read(folder)
        if not kept.by_default:
            gone = {folded(voice.name), folded(voice.origin)}
            left = {alias: name for alias, name in kept.aliases.items() if folded(end_of(kept, alias)) not in gone}
            project.write(folder / library.ALIASES, library.written_aliases(left))
    return freed


def end_of(kept: library.Library, alias: str) -> str:
    """Where an alias leads; itself where it leads round."""
    try:
        return kept.leads_to(alias)
    except BadSettings:
        return alias


def set_alias(folder: Path, alias: str, name: str | None, *, engines: bool = False) -> Mapping[str, str]:
    """Sets an alias, or takes it away (None). Defaults are written down with the first one. Returns all.

    `engines`: the name may be that of an engine's own voice. Raises: BadSettings for an alias that hides a voice, leads
    round or to nothing.
    """
    tidy = manifest.checked_name(alias)
    with held(folder):
        kept = library.read(folder)
        aliases = {old: to for old, to in kept.aliases.items() if folded(old) != folded(tidy)}
        if name is None:
            if len(aliases) == len(kept.aliases):
                raise BadSettings(f"there is no alias {tidy}", "see them with: polydub voices list")
        else:
            hidden = next((v.name for v in kept.voices if folded(v.name) == folded(tidy)), None)
            if hidden is not None:
                raise BadSettings(
                    f"{hidden} is a voice of the library: an alias of that name would never be used", "choose another"
                )
            known = any(folded(name) == folded(old) for old in aliases)
            aliases[tidy] = name if engines or known else kept.find(name).name
            library.Library(folder, kept.voices, aliases, by_default=False).leads_to(tidy)
        project.write(folder / library.ALIASES, library.written_aliases(aliases))
    return aliases


def import_from(folder: Path, source: Path) -> Imported:
    """Takes over all voices of a folder or a ZIP archive, laid out as a library; what is there already stays.

    Links, hidden files, files of other kinds, and of an archive those that would lie outside it, are left out. Raises:
    BadInput for an archive that is damaged, too large or packed beyond reason.
    """
    if not source.exists():
        raise BadInput(f"{source} is not there", "check the path")
    with tempfile.TemporaryDirectory(prefix="polydub-") as scratch:
        refused: dict[str, str] = {}
        place = Path(scratch) / "voices"
        place.mkdir()
        if source.is_dir():
            _copy(source, place, refused)
        else:
            _unpack(source, place, refused)
        inner = [p for p in place.iterdir() if p.is_dir()]
        if len(inner) == 1 and not any(p.is_file() for p in place.iterdir()) and not (inner[0] / manifest.FILE).exists():
            wrapped = library.read(inner[0])
            place = inner[0] if len(wrapped.voices) > 1 or any(v.folder for v in wrapped.voices) else place
        found = library.read(place)
        refused.update({name: error.message for name, error in found.damaged.items()})
        names = [voice.name for voice in found.voices if _taken_over(folder, voice, refused)]
        if not found.by_default and names:
            _join_aliases(folder, found.aliases)
    if not names and not refused:
        raise BadInput(
            f"there is no voice in {source}", "a voice is a sound file, or a folder with sound files or voice.json in it"
        )
    return Imported(tuple(names), refused)


def _taken_over(folder: Path, voice: LibraryVoice, refused: dict[str, str]) -> bool:
    """Puts one voice of an import into the library; False, and why, where that is not possible."""
    from polydub.media.recordings import check_recording

    try:
        for reference in voice.references:
            check_recording(reference.path)
        with held(folder):
            check_free(folder, voice.name)
            if voice.folder is not None:
                with _new_folder(folder) as made:
                    shutil.copytree(voice.folder, made / "voice")
                    _put(made / "voice", folder / voice.folder.name)
            else:
                for reference in voice.references:
                    for path in (reference.path, reference.path.with_suffix(".txt")):
                        if path.is_file():
                            project.write(folder / path.name, path.read_bytes())
    except (BadInput, BadSettings) as error:
        refused[voice.origin] = error.message
        return False
    return True


def _join_aliases(folder: Path, more: Mapping[str, str]) -> None:
    """Aliases of an import whose names are free."""
    with held(folder):
        kept = library.read(folder)
        own = {} if kept.by_default else dict(kept.aliases)
        free = {alias: name for alias, name in more.items() if folded(alias) not in map(folded, own)}
        project.write(folder / library.ALIASES, library.written_aliases({**own, **free}))


def _wanted(path: PurePosixPath) -> str:
    """Why a file of an import is left out; "" when it is taken."""
    if path.is_absolute() or ".." in path.parts or "\\" in str(path) or ":" in str(path):
        return "it would lie outside the library"
    if any(not part.isprintable() for part in path.parts):
        return "its name cannot be read"
    if any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return "hidden"
    if len(path.parts) > 4:
        return "it lies too deep"
    if path.suffix.lower() not in library.SOUNDS | DOCUMENTS:
        return "it is neither sound nor text"
    return ""


def _copy(source: Path, place: Path, refused: dict[str, str]) -> None:
    count = size = 0
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        shown = str(name).encode("utf-8", "backslashreplace").decode()
        if path.is_dir() and not path.is_symlink():
            continue
        why = "it is a link" if path.is_symlink() or not stat.S_ISREG(path.lstat().st_mode) else _wanted(PurePosixPath(name))
        if why:
            if why != "hidden":
                refused[shown] = why
            continue
        count, size = count + 1, size + path.stat().st_size
        _limit(source, count, size)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / name)


def _limit(source: Path, count: int, size: int) -> None:
    if count > MOST_FILES or size > MOST_BYTES:
        raise BadInput(f"{source} holds more than {MOST_FILES:,} files or {MOST_BYTES >> 30} GiB", "import it in parts")


def _unpack(source: Path, place: Path, refused: dict[str, str]) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = list(_entries(archive, source, refused))
            for count, (entry, name) in enumerate(entries, 1):
                _limit(source, count, 0)
                target = place / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, target.open("wb") as out:
                    _pour(packed, out, entry, source)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        raise BadInput(f"{source} cannot be unpacked: {error}", "give a folder, or a ZIP archive without a password") from error
    except OSError as error:
        raise BadInput(f"{source} cannot be unpacked: {error.strerror or error}", "check the archive and the disk") from error


def _entries(
    archive: zipfile.ZipFile, source: Path, refused: dict[str, str]
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive that are taken. Raises: BadInput for more than is allowed, by what the archive itself says."""
    size = 0
    taken: set[str] = set()
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        name = PurePosixPath(entry.filename)
        mode = entry.external_attr >> 16
        why = "it is a link" if stat.S_ISLNK(mode) else _wanted(name)
        why = why or ("it is there twice" if str(name).casefold() in taken else "")
        if why:
            if why != "hidden":
                refused[entry.filename.encode("utf-8", "backslashreplace").decode()] = why
            continue
        taken.add(str(name).casefold())
        size += entry.file_size
        if entry.file_size > MOST_RATIO * max(entry.compress_size, 1024):
            raise BadInput(
                f"{source} is packed beyond reason: {name.name} would become {entry.file_size:,} bytes", "unpack it yourself"
            )
        _limit(source, len(taken), size)
        yield entry, name


def _pour(packed: IO[bytes], out: IO[bytes], entry: zipfile.ZipInfo, source: Path) -> None:
    """Unpacks one file, never more than the archive says of it."""
    left = entry.file_size
    while piece := packed.read(1 << 20):
        left -= len(piece)
        if left < 0:
            raise BadInput(f"{source} holds more than it says", "unpack it yourself")
        out.write(piece)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Generator[Path]:
    """A folder beside the voices that nobody sees, gone afterwards."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".polydub-", dir=folder))
    try:
        with writing(folder):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put(made: Path, place: Path) -> None:
    """Moves a finished folder to its place, where nothing is yet."""
    made.chmod(0o755)
    for path in made.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    made.rename(place)


@contextlib.contextmanager
def held(folder: Path) -> Generator[None]:
    """Lets one process after the other change the library, and sweeps what a killed one left."""
    with project.flocked(folder / ".lock"):
        project.sweep(folder)
        yield
