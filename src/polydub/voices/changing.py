"""What is told of a voice that is kept, told otherwise; its name and its recordings stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from polydub import languages, project
from polydub.errors import BadSettings
from polydub.voices import keeping, library, manifest
from polydub.voices.library import Library, LibraryVoice
from polydub.voices.manifest import folded


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be otherwise; None = as it is. Attributes: language: a code or a name. aliases: all that the voice has."""

    language: str | None = None
    licence: str | None = None
    consent: str | None = None
    description: str | None = None
    tags: Sequence[str] | None = None
    aliases: Sequence[str] | None = None


def change(folder: Path, name: str, wish: Changes) -> LibraryVoice:
    """The voice of this name, changed; the default aliases are written down where aliases are set.

    Raises: BadSettings for a voice that is not there or is a file without a folder, recordings that nobody would let be used
    any more, and aliases that are none or another voice's; UnsupportedLanguage; StoreError.
    """
    with keeping.held(folder):
        kept = library.read(folder)
        if not kept.has(name):
            raise kept.unknown(name)
        voice = kept.find(name)
        told = _manifest(voice, wish)
        aliases = None if wish.aliases is None else _aliases(kept, voice, wish.aliases)
        if told is not None and voice.folder is not None:
            project.write(voice.folder / manifest.FILE, manifest.written(told))
        if aliases is not None:
            project.write(folder / library.ALIASES, library.written_aliases(aliases))
    return library.read(folder).find(voice.name)


def aliases_of(kept: Library, voice: LibraryVoice) -> list[str]:
    """All aliases that lead to a voice, in order."""
    return sorted(alias for alias in kept.aliases if folded(keeping.end_of(kept, alias)) == folded(voice.name))


def _manifest(voice: LibraryVoice, wish: Changes) -> manifest.Manifest | None:
    """What is to be written of the voice itself; None where nothing is. Raises: BadSettings, UnsupportedLanguage."""
    told = {"licence": wish.licence, "description": wish.description}
    if wish.consent is not None:
        told["consent"] = keeping.dated(wish.consent.strip())
    if wish.language is not None:
        told["language"] = "und" if wish.language == "und" else languages.parse(wish.language)
    update = {name: value for name, value in told.items() if value is not None}
    if not update and wish.tags is None:
        return None
    if voice.folder is None:
        raise BadSettings(f"{voice.name} is a file without a folder, so nothing more can be told of it", "add it anew")
    if {"consent", "licence"} & set(update):
        keeping.check_consent(update.get("consent", voice.consent), update.get("licence", voice.licence))
    whole = {
        "version": 1,
        "name": voice.name,
        "language": voice.language,
        "licence": voice.licence,
        "consent": voice.consent,
        "consent_file": voice.consent_file.name if voice.consent_file else "",
        "description": voice.description,
        "tags": list(voice.tags if wish.tags is None else wish.tags),
        "references": [{"file": r.path.name, "transcript": r.transcript} for r in voice.references],
    }
    try:
        return manifest.Manifest.model_validate(whole | update)
    except ValidationError as error:
        told = str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
        raise BadSettings(f"{voice.name} cannot be described: {told}", "rename its recordings") from error


def _aliases(kept: Library, voice: LibraryVoice, wanted: Sequence[str]) -> Mapping[str, str]:
    """All aliases of the library. Raises: BadSettings."""
    own = set(aliases_of(kept, voice))
    others = {alias: to for alias, to in kept.aliases.items() if alias not in own}
    tidy = [manifest.checked_name(alias) for alias in wanted]
    for alias in tidy:
        if kept.has(alias):
            raise BadSettings(f"{alias} is a voice of the library: an alias of that name would never be used", "choose another")
        taken = next((to for old, to in others.items() if folded(old) == folded(alias)), None)
        if taken is not None and not kept.by_default:
            raise BadSettings(f"{alias} means {taken} already", "choose another, or take it from there first")
    free = {old: to for old, to in others.items() if folded(old) not in map(folded, tidy)}
    return {**free, **dict.fromkeys({folded(alias): alias for alias in tidy}.values(), voice.name)}
