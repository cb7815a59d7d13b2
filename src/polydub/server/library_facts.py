"""Voices, glossaries, characters and presets as clients see and tell them; and where this host keeps what all jobs share."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from polydub import config
from polydub.errors import BadInput
from polydub.remembering import shelf_of
from polydub.server.requests import Id
from polydub.text.glossary import MOST_ENTRIES, Entry, parse_glossary
from polydub.voices.book import Character, Shelf
from polydub.voices.changing import aliases_of
from polydub.voices.library import Library, LibraryVoice

MOST_CSV = 1_000_000  # bytes of a glossary: databases have limits for one row
Text = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=50)]


@dataclass(frozen=True)
class Homes:
    """What the jobs of this host share. voices: folder of the library. characters: the book."""

    voices: Path
    characters: Shelf


def homes_of(request: Request) -> Homes:
    """A dependency; where the settings of the host say."""
    if not hasattr(request.app.state, "homes"):
        loaded = config.load_from_process({})
        request.app.state.homes = Homes(loaded.settings.voices_home, shelf_of(loaded))
    return request.app.state.homes


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")


# ------------------------------------------------------------------ voices


class VoiceFacts(BaseModel):
    """A voice of the library, which all who use this server share."""

    name: str = Field(examples=["Anna"])
    language: str = Field(description="BCP-47; und = not known.", examples=["de"])
    licence: str
    consent: str = Field(description="Who agreed to the use of this voice; shown to editors.")
    description: str
    tags: list[str]
    aliases: list[str] = Field(description="Other names of it.", examples=[["nova"]])
    recordings: int
    deletable: bool = Field(description="Whether you may change and delete it.")
    notices: list[str] = Field(default=[], description="What is doubtful about its recordings; told where it is made.")


class VoiceList(BaseModel):
    """The library."""

    voices: list[VoiceFacts]
    aliases: dict[str, str] = Field(description="Other names of voices.")
    damaged: list[str] = Field(description="Voices that cannot be used.")


class RecordingWish(_Wish):
    """A recording of the voice."""

    upload: Id = Field(examples=["5f0c2f9f2b1d4c6e8a7b9c0d"])
    transcript: Text = Field(default="", description="What is said in it.")


class VoiceWish(_Wish):
    """A voice that is to be kept."""

    name: Name = Field(examples=["Anna"])
    recordings: list[RecordingWish] = Field(
        min_length=1, max_length=20, description="6 to 15 s of clean speech are best.",
        examples=[[{"upload": "5f0c2f9f2b1d4c6e8a7b9c0d", "transcript": "Good morning to you."}]],
    )  # fmt: skip
    language: str = Field(default="und", max_length=50, examples=["de"])
    licence: Annotated[str, Field(max_length=200)] = ""
    consent: Text = Field(default="", description="Who agreed, and when; a public licence does without.")
    description: Text = ""
    tags: Tags = []
    force: bool = Field(default=False, description="Also recordings that are hardly of use.")


class VoicePatch(_Wish):
    """What is to be otherwise; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "warm and low", "aliases": ["nova"]}]})
    language: Annotated[str, Field(max_length=50)] | None = None
    licence: Annotated[str, Field(max_length=200)] | None = None
    consent: Text | None = Field(default=None, description="Who agreed, and when; a public licence does without.")
    description: Text | None = None
    tags: Tags | None = None
    aliases: list[Name] | None = Field(default=None, max_length=50, description="All other names that it is to have.")


def voice_facts(kept: Library, voice: LibraryVoice, *, consent: bool, deletable: bool) -> VoiceFacts:
    """Of a voice. consent: whether it is told who agreed."""
    return VoiceFacts(
        name=voice.name,
        language=voice.language,
        licence=voice.licence,
        consent=voice.consent if consent else "",
        description=voice.description,
        tags=list(voice.tags),
        aliases=aliases_of(kept, voice),
        recordings=len(voice.references),
        deletable=deletable,
    )


# ------------------------------------------------------------------ glossaries


class Term(_Wish):
    """A term and what it becomes; without a translation it stays as it is."""

    term: Annotated[str, Field(min_length=1, max_length=200)]
    translation: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(max_length=500)] = ""


class GlossaryWish(_Wish):
    """Terms and their translations."""

    name: Name = Field(examples=["Clouds"])
    entries: list[Term] = Field(max_length=MOST_ENTRIES, examples=[[{"term": "cloud", "translation": "nube"}]])


class GlossaryFacts(BaseModel):
    """A glossary without its terms."""

    id: str
    name: str
    terms: int
    created: datetime
    updated: datetime


class GlossaryWhole(GlossaryFacts):
    """A glossary."""

    entries: list[Term]


def checked(entries: Sequence[Term]) -> tuple[Entry, ...]:
    """Entries as a dub reads them. Raises: BadInput."""
    found = parse_glossary(csv_of([entry.model_dump() for entry in entries]))
    if len(found) != len({entry.term for entry in entries}):
        raise BadInput("a term of the glossary is none, or is there twice", "no term begins with #")
    return found


def csv_of(entries: Sequence[dict[str, Any]]) -> bytes:
    """Entries as a file that `checked` reads."""
    text = io.StringIO(newline="")
    rows, columns = csv.writer(text), ("term", "translation", "note")
    rows.writerow(columns)
    rows.writerows([entry.get(name, "") for name in columns] for entry in entries)
    return text.getvalue().encode("utf-8", "replace")


def glossary_document(name: str, entries: Sequence[Entry], created: str, now: datetime) -> dict[str, Any]:
    """What the records hold of a glossary; `created`: empty = now."""
    rows = [asdict(entry) for entry in entries]
    return {"name": name, "entries": rows, "created": created or now.isoformat(), "updated": now.isoformat()}


# ------------------------------------------------------------------ characters


class CharacterFacts(BaseModel):
    """Someone whose voice is recognised in film after film; all who use this server share them."""

    id: str = Field(examples=["c1"])
    name: str
    aliases: list[str]
    mode: str = Field(description="Whose voice speaks for it.")
    locked: bool = Field(description="Films change nothing in it.")
    films: list[str] = Field(description="Names of films in which it was heard.")
    recordings: int
    created: str
    updated: str


class CharacterWish(_Wish):
    """Someone who is to be recognised from now on."""

    name: Name = Field(examples=["Anna"], description="Of a character who is known, learns from the recordings.")
    uploads: list[Id] = Field(
        min_length=1, max_length=20, description="Recordings in which it speaks.", examples=[["5f0c2f9f2b1d4c6e8a7b9c0d"]]
    )
    speaker: str = Field(default="", max_length=200, description="Who of those in them; empty = who speaks most of the time.")


class CharacterPatch(_Wish):
    """What is to be otherwise."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ana"}]})
    name: Name


def character_facts(one: Character) -> CharacterFacts:
    """Of a character."""
    return CharacterFacts(
        id=one.id,
        name=one.name,
        aliases=list(one.aliases),
        mode=one.mode,
        locked=one.locked,
        films=[film.name for film in one.films],
        recordings=len(one.references),
        created=one.created,
        updated=one.updated,
    )


# ------------------------------------------------------------------ presets


class PresetWish(_Wish):
    """A voice that is to be made from recordings of one person."""

    name: Name = Field(examples=["Narrator"])
    uploads: list[Id] = Field(
        min_length=1, max_length=50, description="Recordings of one person: 30 s of speech or more in all.",
        examples=[["5f0c2f9f2b1d4c6e8a7b9c0d"]],
    )  # fmt: skip
    consent: Text = Field(
        default="",
        description="Who agreed, and when; a public licence does without.",
        examples=["Ana Roth, 2026-03-01"],
    )
    licence: Annotated[str, Field(max_length=200)] = ""
    description: Text = ""
    language: str = Field(default="und", max_length=50, description="BCP-47; und = not known.", examples=["es"])


class PresetPatch(_Wish):
    """What is to be otherwise; what is left out stays."""

    name: Name | None = Field(default=None, examples=["Narrator"])
    description: Text | None = None


class PresetFacts(BaseModel):
    """A voice preset."""

    id: str
    name: str
    description: str = ""
    language: str = "und"
    uploads: list[str] = []
    consent: str = ""
    licence: str = ""
    state: Literal["CREATED", "TRAINING", "READY", "FAILED"] = Field(
        description="TRAINING = its recordings are looked at; READY = dubs may name it, as voice_preset_id."
    )
    progress: float = Field(description="0 to 1.")
    message: str = Field(default="", description="Why it failed.")
    speech_s: float = Field(default=0.0, description="Seconds of speech that were found.")
    notices: list[str] = Field(default=[], description="What is doubtful: recordings of others, which were left out.")
    training: dict[str, JsonValue] | None = Field(default=None, description="What a remote worker has told.")
    created: datetime
    updated: datetime
