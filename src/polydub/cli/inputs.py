"""Turns what a user typed as inputs into files and tasks: names, patterns, folders, lists."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polydub import languages
from polydub.batch import Task, checked, located
from polydub.choosing import check_choices
from polydub.cli import lists
from polydub.config import Loaded, load_from_process
from polydub.dubbing import Job, check_file
from polydub.errors import BadInput, BadSettings, UnsupportedLanguage

_ENDINGS = (
    "mp4 m4v mov mkv webm avi ts mts m2ts mpg mpeg flv wmv asf 3gp ogv "
    "mp3 m4a aac wav flac ogg opus wma aiff aif caf"
)  # fmt: skip
MEDIA = frozenset(f".{ending}" for ending in _ENDINGS.split())
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Asked:
    """What was typed. settings: flags that were given, by setting. job: the job file."""

    files: tuple[str, ...]
    recursive: bool = False
    transcript: str | None = None
    translations: tuple[str, ...] = ()
    settings: Mapping[str, object] | None = None
    job: Path | None = None


def tasks(asked: Asked, loaded: Loaded) -> tuple[Task, ...]:
    """What is to be dubbed, each film with its settings; everything that can be known before the work is checked.

    Raises: BadInput, BadSettings; for what a list holds with the list and the row. A single file that is missing is left
    for its own turn.
    """
    plain: list[str] = []
    listed: list[lists.Entry] = []
    for text in asked.files:
        path = lists.list_file(text)
        if path is None:
            plain.append(text)
        else:
            listed += lists.entries(path)
    check_choices(loaded.settings)
    media = media_files(plain, recursive=asked.recursive)
    streamed = loaded.settings.stream != "off"
    if Path(STANDARD_INPUT) in media and (not streamed or len(media) + len(listed) > 1):
        raise BadInput("a film from standard input can only be streamed, alone", "write --stream, or give the file")
    _shared([asked.transcript or ""], len(media) + sum(not entry.transcript for entry in listed))
    _shared(asked.translations, len(media) + sum(not entry.translations for entry in listed))
    targets = loaded.settings.to
    found = [Task(job(file, asked.transcript, asked.translations, targets), loaded) for file in media]
    return checked([*found, *_listed(listed, asked, loaded)])


def _listed(entries: Sequence[lists.Entry], asked: Asked, loaded: Loaded) -> Iterator[Task]:
    known: dict[str, Loaded] = {"{}": loaded}
    for entry in entries:
        with located(entry.place):
            own = repr(dict(entry.settings))
            if own not in known:
                known[own] = load_from_process({**(asked.settings or {}), **entry.settings}, asked.job)
                check_choices(known[own].settings)
            targets = known[own].settings.to
            film = job(entry.file, entry.transcript or asked.transcript, entry.translations or asked.translations, targets)
            task = Task(film, known[own], entry.place)
            for file in (task.job.media, task.job.transcript, *task.job.translations.values()):
                if file is not None:
                    check_file(file)
        yield task


def media_files(inputs: Sequence[str], *, recursive: bool = False) -> list[Path]:
    """The files behind `inputs`, each once. Raises BadInput where a pattern or folder gives nothing."""
    found: list[Path] = []
    for text in inputs:
        if "://" in text:
            raise BadInput(f"{text} is an address, not a file", "download the video first and give the file")
        try:
            found.extend(_files(text, recursive=recursive))
        except OSError as error:
            raise BadInput(f"{text} cannot be read: {error.strerror or error}", "check the name and its permissions") from error
    return list(dict.fromkeys(found))


def _files(text: str, *, recursive: bool) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        folders = _folders(path) if recursive else [path]
        inside = [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix.lower() in MEDIA and p.is_file()]
        if not inside:
            hint = "give the files themselves" if recursive else "give the files themselves, or --recursive for folders in it"
            raise BadInput(f"there are no videos or sound files in the folder {path}", hint)
        return inside
    if not path.exists() and any(mark in text for mark in "*?["):
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - absolute patterns
        if "**" in text:  # what was dubbed before is no film to dub
            matches = [match for match in matches if not any(map(_is_project, match.parents))]
        if not any(match.is_file() for match in matches):
            raise BadInput(f"no file matches {text}", "check the pattern; put it in quotes")
        return [match for match in matches if match.is_file()]
    return [path]


def _folders(top: Path) -> Iterator[Path]:
    """A folder and those below it, in order, but for hidden ones and those that polydub has written."""
    for folder, below, _ in os.walk(top):
        below[:] = sorted(name for name in below if not name.startswith(".") and not _is_project(Path(folder, name)))
        yield Path(folder)


def _is_project(folder: Path) -> bool:
    """Whether polydub made this folder for a film."""
    return (folder / ".lock").is_file() and (folder / "project.json").is_file()


def _shared(texts: Sequence[str], films: int) -> None:
    """Raises BadSettings when one file of texts is given for several films."""
    for text in texts:
        if text and films > 1 and "{stem}" not in text:
            hint = "write {stem} for the video's name, for example --transcript 'subs/{stem}.en.srt'"
            raise BadSettings(f"{text} cannot belong to all {films} videos", hint)


def job(file: Path, transcript: str | None, translations: Sequence[str], targets: Sequence[str]) -> Job:
    """One film. `{stem}` in the path of a text stands for the name of the video without its ending.

    Raises: BadSettings when nobody can tell the language of a translation.
    """
    languages_of: dict[str, Path] = {}
    for text in translations:
        tag, path = _translation(text.replace("{stem}", file.stem), targets)
        languages_of[tag] = path
    return Job(file, Path(transcript.replace("{stem}", file.stem)) if transcript else None, languages_of)


def _translation(text: str, targets: Sequence[str]) -> tuple[str, Path]:
    """The target language and the path of `es=talk.srt`, `talk.es.srt` or, with one target, any path."""
    tag, equals, rest = text.partition("=")
    if equals and not Path(text).exists():
        try:
            return languages.parse(tag), Path(rest)
        except UnsupportedLanguage:
            pass
    path = Path(text)
    if len(targets) <= 1:
        return "", path
    named = languages.or_und(path.suffixes[-2][1:]) if len(path.suffixes) > 1 else "und"
    near = languages.nearest(named, targets) if named != "und" else None
    if near is None:
        raise BadSettings(f"which language is {text}?", "write --translation es=FILE for each language")
    return near, path
