"""The voice library: a folder of voices, each a folder with recordings and a `voice.json`, or just a sound file.

voices/Anna/voice.json      name, language, licence, consent, description, tags, the recordings
voices/Anna/1.flac          a recording of her
voices/Ben/a.wav            a folder without voice.json: its name is the voice's
voices/en-Carter_man.wav    a file alone: language and name by its own name; en-Carter_man.txt tells what is said in it
voices/aliases.json         other names: {"version": 1, "aliases": {"alloy": "Anna"}}
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from polydub import languages
from polydub.errors import BadInput, BadSettings
from polydub.store import Remembered, Store
from polydub.types import Artifact, Notice
from polydub.voices import manifest
from polydub.voices.manifest import folded

ALIASES = "aliases.json"
SOUNDS = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".webm", ".mp4", ".mkv"})
# Names that callers of OpenAI's speech API use. Where the library has no aliases, they go round its voices in this order.
OPENAI = ("alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar")
# VibeVoice calls its Indian English recordings "in-...": as a code of a language that is an old one of Indonesian.
OLD_CODES = {"in": "en-IN"}
MOST_S = 30.0  # of one recording that engines are given: none uses more, and some learn slowly
_CONVERTED = "voice-reference/1"  # name and version of what `references` makes of a recording, in the memo


@dataclass(frozen=True, slots=True)
class Reference:
    """One recording of a voice; `transcript` is what is said in it, "" = not known."""

    path: Path
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class LibraryVoice:
    """One voice of the library.

    Attributes: language: BCP-47, "und" = not known. licence: of the recordings, "" = not told. consent: who agreed to the use
    of this voice, and when, "" = not told; consent_file: a file that shows it. folder: of the voice; None where it is a file
    laid into the library. origin: name of that folder, or of the file without its ending.
    """

    name: str
    language: str
    references: tuple[Reference, ...]
    licence: str = ""
    consent: str = ""
    consent_file: Path | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    folder: Path | None = None
    origin: str = ""


@dataclass(frozen=True)
class Library:
    """All voices of a folder, in order of their names. Made by `read`.

    Attributes: aliases: other names, as the file has them or by default; by_default: there is no such file. damaged: what
    cannot be used, by the name of its folder or file.
    """

    folder: Path
    voices: tuple[LibraryVoice, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    by_default: bool = True
    damaged: Mapping[str, BadInput] = field(default_factory=dict[str, BadInput])

    def get(self, name: str) -> LibraryVoice | None:
        """The voice meant by `name`, None when there is none.

        It is looked for by its exact name, then without case and accents, then among the aliases, then as a part of a name.
        Raises: BadSettings when several are meant, and for aliases that lead round or nowhere; BadInput when it is damaged.
        """
        wanted = folded(name)
        if not wanted:
            return None
        exact = [v for v in self.voices if name in (v.name, v.origin)]
        same = exact or [v for v in self.voices if wanted in (folded(v.name), folded(v.origin))]
        if not same:
            for place, error in self.damaged.items():
                if wanted == folded(place):
                    raise error
            if self._alias(name) is not None:
                return self._aliased(name)
            same = [v for v in self.voices if wanted in folded(v.name)]
        if len(same) > 1:
            names = ", ".join(v.name for v in same)
            raise BadSettings(f"{name!r} may be one of {len(same)} voices of the library: {names}", "write more of the name")
        return same[0] if same else None

    def has(self, name: str) -> bool:
        """Whether a voice has just this name, but for case and accents; no alias and no part of a name counts."""
        return any(folded(name) in (folded(voice.name), folded(voice.origin)) for voice in self.voices)

    def find(self, name: str) -> LibraryVoice:
        """As `get`. Raises also: BadSettings when there is none, naming the nearest."""
        found = self.get(name)
        if found is None:
            raise self.unknown(name)
        return found

    def resolve(self, names: Iterable[str]) -> Mapping[str, LibraryVoice]:
        """The voice for each name. Raises as `find`."""
        return {name: self.find(name) for name in names}

    def notices(self, names: Iterable[str]) -> tuple[Notice, ...]:
        """What should be said of voices that were found by these names: that an alias is only a default."""
        said: list[Notice] = []
        for name in dict.fromkeys(names):
            key = self._alias(name)
            if (
                self.by_default
                and key is not None
                and (voice := self.get(name)) is not None
                and folded(voice.name) != folded(name)
            ):
                text = f"{name} is {voice.name} of the voice library, because no {ALIASES} there says otherwise"
                said.append(Notice("alias-by-default", text, "info"))
        return tuple(said)

    def leads_to(self, name: str) -> str:
        """The name at the end of a chain of aliases; `name` itself when it is none. Raises: BadSettings when it goes round."""
        passed, voices = [name], {folded(voice.name) for voice in self.voices}
        while folded(passed[-1]) not in voices and (key := self._alias(passed[-1])) is not None:
            following = self.aliases[key]
            if folded(following) in map(folded, passed):
                way = " -> ".join([*passed, following])
                raise BadSettings(f"the alias {name} leads round: {way}", f"correct {self.folder / ALIASES}")
            passed.append(following)
        return passed[-1]

    def unknown(self, name: str, others: Sequence[str] = ()) -> BadSettings:
        """The error for a name that neither the library has nor an engine, whose voices are `others`; it names the nearest."""
        close = self.nearest(name, others)
        where = "neither the speech engine nor the voice library has" if others else "the voice library has no"
        message = f"{where} a voice {name!r}" if others else f"{where} voice {name!r}"
        hint = f"did you mean {' or '.join(close)}?" if close else "see them with: polydub voices list"
        return BadSettings(message, hint)

    def nearest(self, name: str, others: Sequence[str] = ()) -> list[str]:
        """Up to three names of voices, aliases and `others` that are like `name`."""
        known = {folded(n): n for n in (*others, *self.aliases, *(v.name for v in self.voices))}
        return [known[key] for key in difflib.get_close_matches(folded(name), list(known), n=3, cutoff=0.5)]

    def _alias(self, name: str) -> str | None:
        """The alias of that name as it is written."""
        return next((alias for alias in self.aliases if folded(alias) == folded(name)), None)

    def _aliased(self, name: str) -> LibraryVoice | None:
        """The voice an alias leads to. Raises: BadSettings."""
        end = self.leads_to(name)
        found = [v for v in self.voices if folded(end) in (folded(v.name), folded(v.origin))]
        if not found:
            raise BadSettings(
                f"the alias {name} leads to {end!r}, which the voice library does not have",
                f"set another one: polydub voices alias {name} VOICE",
            )
        return found[0]


def read(folder: Path) -> Library:
    """The library in `folder`; empty when there is no such folder. Raises: BadInput for a damaged aliases.json."""
    damaged: dict[str, BadInput] = {}
    found: dict[str, LibraryVoice] = {}
    for voice in _voices(folder, damaged):
        other = found.setdefault(folded(voice.name), voice)
        if other is not voice:
            text = f"{voice.origin} in {folder} is called {voice.name}, as {other.origin} is"
            damaged[voice.origin] = BadInput(text, "rename one of them")
    voices = tuple(sorted(found.values(), key=lambda v: (folded(v.name), v.name)))
    given = _read_aliases(folder / ALIASES)
    aliases = {name: voices[n % len(voices)].name for n, name in enumerate(OPENAI)} if given is None and voices else given or {}
    return Library(folder, voices, aliases, given is None, damaged)


def references(voice: LibraryVoice, store: Store) -> tuple[Artifact, ...]:
    """The recordings of `voice` in the store: mono 24-bit FLAC at their own rate up to 48 kHz, 30 s of each at most.

    What was made once is found again by the content of the recording. Raises: BadInput for one that cannot be used.
    """
    return tuple(_converted(reference.path, store) for reference in voice.references)


def _converted(path: Path, store: Store) -> Artifact:
    kind = TypeAdapter(Artifact)
    try:
        key = f"{_CONVERTED}/{store.adopt(path).sha256}"
    except OSError as error:
        raise BadInput(f"the recording {path} cannot be read: {error.strerror}", "check the voice library") from error
    if known := store.look_up([key]).get(key):
        artifact = kind.validate_json(known.output)
        if store.has(artifact):
            return artifact
        store.forget([key])
    from polydub.media import recordings
    from polydub.media.flac import write_flac

    sound = recordings.read_recording(path, MOST_S)
    with store.scratch() as scratch:
        write_flac(scratch / "reference.flac", sound.samples, sound.rate_hz)
        artifact = store.keep(scratch / "reference.flac")
    store.remember([Remembered(key, _CONVERTED.partition("/")[0], kind.dump_json(artifact).decode(), "[]")])
    return artifact


def _voices(folder: Path, damaged: dict[str, BadInput]) -> Iterator[LibraryVoice]:
    """Voices with a manifest first, then folders without one, then files: of two of one name the first is kept."""
    try:
        entries = sorted(folder.iterdir(), key=lambda p: p.name) if folder.is_dir() else []
    except OSError as error:
        raise BadInput(f"the voice library {folder} cannot be read: {error.strerror}", "check --voices") from error
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    folders = [entry for entry in shown if entry.is_dir()]
    described = [entry for entry in folders if (entry / manifest.FILE).exists()]
    for entry in described:
        try:
            yield _described(entry)
        except BadInput as error:
            damaged[entry.name] = error
    for entry in folders:
        files = tuple(_sound_files(entry)) if entry not in described else ()
        if files and (voice := _undescribed(entry.name, files, damaged)):
            yield replace(voice, folder=entry)
    for entry in _sound_files(folder) if shown else ():
        if voice := _undescribed(entry.stem, (entry,), damaged):
            yield voice


def voice_in(folder: Path) -> LibraryVoice:
    """The voice of one folder, laid out as in a library. Raises: BadInput for a damaged one, or one without recordings."""
    if (folder / manifest.FILE).exists():
        return _described(folder)
    damaged: dict[str, BadInput] = {}
    files = tuple(_sound_files(folder))
    voice = _undescribed(folder.name, files, damaged) if files else None
    if voice is None:
        raise damaged.get(folder.name) or BadInput(f"there is no recording in {folder}", "give a folder with recordings")
    return replace(voice, folder=folder)


def _undescribed(stem: str, files: Sequence[Path], damaged: dict[str, BadInput]) -> LibraryVoice | None:
    """A voice of which only the name of its folder or file tells."""
    name, language, tags = told_by(stem)
    try:
        manifest.checked_name(name)
        return LibraryVoice(name, language, _references(files), tags=tags, origin=stem)
    except BadSettings as error:
        damaged[stem] = BadInput(error.message, "rename the file or the folder")
    except BadInput as error:
        damaged[stem] = error
    return None


def _described(folder: Path) -> LibraryVoice:
    """The voice of a folder with a manifest. Raises: BadInput."""
    told = manifest.read(folder / manifest.FILE)
    missing = [row.file for row in told.references if not (folder / row.file).is_file()]
    if missing:
        raise BadInput(
            f"the recording {missing[0]} of the voice {told.name} is not in {folder}", f"correct {manifest.FILE} there"
        )
    return LibraryVoice(
        told.name,
        told.language,
        tuple(Reference(folder / row.file, row.transcript) for row in told.references),
        told.licence,
        told.consent,
        folder / told.consent_file if told.consent_file else None,
        told.description,
        tuple(told.tags),
        folder,
        folder.name,
    )


def told_by(stem: str) -> tuple[str, str, tuple[str, ...]]:
    """Name, language and tags that the name of a file or folder tells: "en-Mary_woman_bgm" is Mary, en, (woman, bgm).

    Without a known language before a hyphen all of it is the name, and the language "und".
    """
    found = re.fullmatch(r"([a-z]{2,3}(?:-[A-Z]{2})?)-([^\W_].*)", stem)
    if found is None:
        return stem, "und", ()
    code = OLD_CODES.get(found[1], found[1])
    if languages.base(code) not in languages.tags():
        return stem, "und", ()
    name, *tags = found[2].split("_")
    return name, languages.parse(code), tuple(tag for tag in tags if tag)


def _sound_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.suffix.lower() in SOUNDS and not path.name.startswith(".") and path.is_file():
            yield path


def _references(files: Sequence[Path]) -> tuple[Reference, ...]:
    """Recordings, with what is said in them where a text file of the same name lies beside them."""
    return tuple(Reference(file, _transcript(file.with_suffix(".txt"))) for file in files)


def _transcript(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeError) as error:
        raise BadInput(f"the transcript {path} cannot be read: {error}", "save it as UTF-8 text") from error


class _Aliases(BaseModel):
    """`aliases.json`, version 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    aliases: dict[str, str]


def _read_aliases(path: Path) -> Mapping[str, str] | None:
    """None when there is no such file. Raises: BadInput."""
    try:
        return _Aliases.model_validate_json(path.read_bytes()).aliases
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        told = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise BadInput(f"{path} cannot be used: {told}", f"correct {path.name}, or move it away") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "check the file") from error


def written_aliases(aliases: Mapping[str, str]) -> str:
    """The text of an `aliases.json`."""
    return json.dumps({"version": 1, "aliases": dict(sorted(aliases.items()))}, indent=1, ensure_ascii=False) + "\n"
