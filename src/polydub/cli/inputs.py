"""Turns what a user typed as inputs into files: names, patterns, folders."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from polydub import languages
from polydub.dubbing import Job
from polydub.errors import BadInput, BadSettings, UnsupportedLanguage

_ENDINGS = (
    "mp4 m4v mov mkv webm avi ts mts m2ts mpg mpeg flv wmv asf 3gp ogv "
    "mp3 m4a aac wav flac ogg opus wma aiff aif caf"
)  # fmt: skip
MEDIA = frozenset(f".{ending}" for ending in _ENDINGS.split())


def media_files(inputs: Sequence[str]) -> list[Path]:
    """The files behind `inputs`, each once. Raises BadInput where a pattern or folder gives nothing."""
    found: list[Path] = []
    for text in inputs:
        if "://" in text:
            raise BadInput(f"{text} is an address, not a file", "download the video first and give the file")
        try:
            found.extend(_files(text))
        except OSError as error:
            raise BadInput(f"{text} cannot be read: {error.strerror or error}", "check the name and its permissions") from error
    return list(dict.fromkeys(found))


def _files(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in MEDIA and p.is_file())
        if not inside:
            raise BadInput(f"there are no videos or sound files in the folder {path}", "give the files themselves")
        return inside
    if not path.exists() and any(mark in text for mark in "*?["):
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - absolute patterns
        if not any(match.is_file() for match in matches):
            raise BadInput(f"no file matches {text}", "check the pattern; put it in quotes")
        return [match for match in matches if match.is_file()]
    return [path]


def jobs(files: Sequence[Path], transcript: str | None, translations: Sequence[str], targets: Sequence[str]) -> list[Job]:
    """One job per file. `{stem}` in a subtitle's path stands for the name of the video without its ending.

    Raises: BadSettings when one subtitle file is given for several videos, or nobody can tell its language.
    """
    given = [text for text in (transcript, *translations) if text]
    for text in given:
        if len(files) > 1 and "{stem}" not in text:
            hint = "write {stem} for the video's name, for example --transcript 'subs/{stem}.en.srt'"
            raise BadSettings(f"{text} cannot belong to all {len(files)} videos", hint)
    made: list[Job] = []
    for file in files:
        languages_of: dict[str, Path] = {}
        for text in translations:
            tag, path = _translation(text.replace("{stem}", file.stem), targets)
            languages_of[tag] = path
        source = Path(transcript.replace("{stem}", file.stem)) if transcript else None
        made.append(Job(file, source, languages_of))
    return made


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
