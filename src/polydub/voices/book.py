"""The character book: the voices of characters, kept across films in one file that a person can read, or encrypted.

The recordings of a character lie in a folder beside the file, named by their content. With a key all of it is encrypted:
Fernet, with a key that scrypt makes from what the user chose.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from polydub import project
from polydub.errors import BadInput, BadSettings, MissingSecret, StoreError
from polydub.store import writing
from polydub.types import Expression, Voice

KEY = "POLYDUB_CHARACTERS_KEY"
MODES = ("clone", "match", "preset")
Mode = Literal["clone", "match", "preset"]
VERSION = 1
SHORTEST_KEY = 8  # characters
LARGEST = 64 << 20  # bytes of a book
MAGIC = b"polydub-characters 1 scrypt-fernet "
SALT = 16
COST = (2**15, 8, 3)  # of scrypt, as OWASP's password storage cheat sheet has it: 32 MiB
_NUMBERS = re.compile(r"\[\s+(-?[\d.]+(?:e-?\d+)?(?:,\s+-?[\d.]+(?:e-?\d+)?)*)\s+\]")


def proper(name: str) -> str:
    """A character's name without spaces around it. Raises: ValueError for one that is empty, long or cannot be printed."""
    name = name.strip()
    if not 0 < len(name) <= 80 or not name.isprintable():
        raise ValueError("a name has 1 to 80 characters that can be printed")
    return name


def _finite(numbers: tuple[float, ...]) -> tuple[float, ...]:
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a voiceprint holds finite numbers")
    return numbers


Name = Annotated[str, AfterValidator(proper)]
Numbers = Annotated[tuple[float, ...], Field(max_length=8192), AfterValidator(_finite)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Exemplar(_Entry):
    """The voiceprint of one film. film: its key (see Film); "" = enrolled by hand."""

    film: str
    numbers: Numbers


class Voiceprint(_Entry):
    """What one encoder hears in a voice. mean: of `count` voiceprints of unit length. exemplars: those that are kept."""

    mean: Annotated[Numbers, Field(min_length=1)]
    count: Annotated[int, Field(ge=1)]
    exemplars: tuple[Exemplar, ...] = ()

    @model_validator(mode="after")
    def _of_one_length(self) -> Voiceprint:
        if any(len(e.numbers) != len(self.mean) for e in self.exemplars):
            raise ValueError("voiceprints of one encoder have one length")
        return self


class Reference(_Entry):
    """A recording of the character, mono FLAC, by its content. film: as in Exemplar."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=1)]
    seconds: Annotated[float, Field(gt=0)]
    film: str = ""


class Film(_Entry):
    """Where a character was heard. key: hash of the film's content. seconds: of speech that was looked at. seen: ISO time."""

    key: str
    name: str
    speaker: str
    seconds: float
    seen: str


class StockVoice(_Entry):
    """A voice of an engine, as types.Voice."""

    name: str
    label: str = ""
    settings: Mapping[str, float] = Field(default_factory=dict[str, float])
    tone: tuple[float, ...] = ()

    def voice(self, engine: str, language: str) -> Voice:
        """As the engine wants it."""
        return Voice(engine, self.name, language, self.label, dict(self.settings), self.tone)


class Manner(_Entry):
    """How a character speaks: see types.Expression."""

    rate: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    pitch: Annotated[float, Field(ge=-12, le=12)] = 0.0
    energy_db: Annotated[float, Field(ge=-20, le=20)] = 0.0

    @property
    def expression(self) -> Expression:
        """The same for the stages."""
        return Expression(self.rate, self.pitch, self.energy_db)


class Character(_Entry):
    """Someone whose voice is remembered.

    Attributes: voiceprints: by encoder; those of two encoders are never compared. mode: whose voice speaks for the character:
    its own, the one it got in an earlier film, or the one named in `presets`. presets: by speech engine, "*" = any. voices:
    by speech engine and language, as "espeak-ng es". locked: films change nothing in it.
    """

    id: str
    name: Name
    aliases: tuple[Name, ...] = ()
    mode: Mode = "match"
    presets: Mapping[str, str] = Field(default_factory=dict[str, str])
    voices: Mapping[str, StockVoice] = Field(default_factory=dict[str, StockVoice])
    manner: Manner = Manner()
    locked: bool = False
    films: tuple[Film, ...] = ()
    references: tuple[Reference, ...] = ()
    voiceprints: Mapping[str, Voiceprint] = Field(default_factory=dict[str, Voiceprint])
    created: str = ""
    updated: str = ""


class Book(_Entry):
    """All characters. next: number of the next one; numbers are never used again."""

    version: Literal[1] = VERSION
    next: Annotated[int, Field(ge=1)] = 1
    characters: tuple[Character, ...] = ()

    @model_validator(mode="after")
    def _one_of_each(self) -> Book:
        ids = [c.id for c in self.characters]
        names = [name.casefold() for c in self.characters for name in {c.name, *c.aliases}]
        if len(ids) > len(set(ids)) or len(names) > len(set(names)):
            raise ValueError("two characters have one id or one name")
        lengths = {(encoder, len(p.mean)) for c in self.characters for encoder, p in c.voiceprints.items()}
        if len(lengths) > len({encoder for encoder, _ in lengths}):
            raise ValueError("voiceprints of one encoder have one length")
        if any(c.id[:1] != "c" or not c.id[1:].isdigit() or int(c.id[1:]) >= self.next for c in self.characters):
            raise ValueError("ids are c1, c2, ... below next")
        return self


def text_of(book: Book) -> str:
    """The book as JSON, a line for each value and for each row of numbers."""
    text = json.dumps(book.model_dump(mode="json", exclude_defaults=False), indent=1, ensure_ascii=False)
    return _NUMBERS.sub(lambda found: "[" + re.sub(r",\s+", ", ", found[1]) + "]", text) + "\n"


@dataclass(frozen=True)
class Shelf:
    """Where the book lies, and the key that opens it; None = it is not encrypted."""

    file: Path
    key: str | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where the recordings lie."""
        return self.file.with_name(self.file.stem + ".references")

    @property
    def open_to_read(self) -> bool:
        """Whether there is a key and yet the book is not encrypted: it will be when it is written next."""
        head = _head(self.file)
        return self.key is not None and head is not None and not head.startswith(MAGIC)

    def read(self) -> Book:
        """The book; an empty one where there is none yet. Raises: StoreError, MissingSecret, BadSettings."""
        if self.key is not None:
            _check_length(self.key)  # here, since what is read will be written, maybe after hours of work
        data = self._bytes(self.file)
        return Book() if data is None else self._parsed(data)

    def sound(self, reference: Reference) -> bytes:
        """A recording, as FLAC. Raises: StoreError, MissingSecret, BadSettings."""
        for place in (self._sealed(reference), self._plain(reference)):
            data = self._bytes(place)
            if data is not None:
                if hashlib.sha256(data).hexdigest() != reference.sha256:
                    raise StoreError(f"{place} is damaged", "enrol the character again, or restore the file")
                return data
        raise StoreError(f"a recording of a character is missing: {self._plain(reference)}", "enrol the character again")

    @contextlib.contextmanager
    def changing(self) -> Generator[Draft]:
        """The book to be changed. It is written when the block ends, unless it raised; others wait as long as it is held."""
        with project.flocked(self.file.with_name(self.file.name + ".lock"), 0o600):
            before = self.read()
            draft = Draft(self, before)
            yield draft
            if draft.book != before or self.open_to_read or draft.sounds:
                self._write(draft)

    # inside

    def _write(self, draft: Draft) -> None:
        """The recordings first, then the book, then what nobody names any more goes."""
        named = {r.sha256: r for c in draft.book.characters for r in c.references}
        salt, text = self._salt(), text_of(draft.book)
        self._parsed(text.encode())  # what cannot be read again is not written
        for digest, reference in named.items():
            place = self._plain(reference) if self.key is None else self._sealed(reference)
            if not place.exists():
                self._put(place, draft.sounds[digest] if digest in draft.sounds else self.sound(reference), salt)
        self._put(self.file, text.encode(), salt)
        keep = {(self._plain(r) if self.key is None else self._sealed(r)).name for r in named.values()}
        with writing(self.folder):
            for file in self.folder.glob("*"):
                if re.fullmatch(r"[0-9a-f]{64}\.flac(\.enc)?|\.polydub-.*", file.name) and file.name not in keep:
                    file.unlink(missing_ok=True)

    def _put(self, place: Path, data: bytes, salt: bytes) -> None:
        project.write(place, data if self.key is None else _sealed(data, self.key, salt), mode=0o600)

    def _salt(self) -> bytes:
        """The book's own, so that one derived key opens all its files; a new one for a book that has none."""
        head = _head(self.file)
        if head is not None and head.startswith(MAGIC):
            with contextlib.suppress(ValueError):
                return bytes.fromhex(head[len(MAGIC) : len(MAGIC) + 2 * SALT].decode("ascii", "replace"))
        return os.urandom(SALT)

    def _plain(self, reference: Reference) -> Path:
        return self.folder / f"{reference.sha256}.flac"

    def _sealed(self, reference: Reference) -> Path:
        return self.folder / f"{reference.sha256}.flac.enc"

    def _bytes(self, file: Path) -> bytes | None:
        """What a file holds, decrypted; None when it is not there."""
        try:
            if file.stat().st_size > LARGEST:
                raise StoreError(f"{file} is too large for what it should be", _hint(file))
            data = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {error.strerror}", "check its permissions") from error
        return _unsealed(data, self.key, file) if data.startswith(MAGIC) else data

    def _parsed(self, data: bytes) -> Book:
        try:
            held = json.loads(data)
            version = held.get("version") if isinstance(held, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            if isinstance(version, int) and version > VERSION:
                raise StoreError(f"{self.file} was written by a newer polydub", "update polydub, or name another book")
            return Book.model_validate(held)
        except (ValidationError, ValueError, RecursionError) as error:
            raise StoreError(f"{self.file} is no character book, or damaged: {_first(error)}", _hint(self.file)) from error


@dataclass
class Draft:
    """The book while it is changed. `sounds`: recordings that were added, by hash."""

    shelf: Shelf
    book: Book
    sounds: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def keep(self, flac: bytes, film: str = "") -> Reference:
        """A recording for one of the characters; it stays only if one names it when the book is written.

        Raises: BadInput unless it is mono FLAC.
        """
        digest = hashlib.sha256(flac).hexdigest()
        reference = Reference(sha256=digest, bytes=len(flac), seconds=length_s(flac), film=film)
        self.sounds[digest] = flac
        return reference


def length_s(flac: bytes) -> float:
    """Seconds that a mono FLAC lasts, by its header. Raises: BadInput for anything else."""
    # STREAMINFO comes first: https://www.rfc-editor.org/rfc/rfc9639#section-8.2
    packed = int.from_bytes(flac[18:26], "big")
    rate_hz, channels, frames = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    if (flac[:5] != b"fLaC\0" and flac[:5] != b"fLaC\x80") or not rate_hz or not frames or channels != 1:
        raise BadInput("a recording of a character is no mono FLAC file", "enrol the character from its own recordings")
    return round(frames / rate_hz, 3)


def _hint(file: Path) -> str:
    return f"mend {file.name}, restore it from a copy, or move it away"


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        one = error.errors()[0]
        return f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
    return str(error)


def _head(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            return opened.read(len(MAGIC) + 2 * SALT)
    except OSError:
        return None


def _check_length(key: str) -> None:
    if len(key) < SHORTEST_KEY:
        raise BadSettings(f"{KEY} is too short to protect anything", f"give it at least {SHORTEST_KEY} characters")


@lru_cache(maxsize=16)
def _derived(key: str, salt: bytes) -> tuple[bytes, str]:
    """The Fernet key, and what tells a wrong key from a damaged file. 0.2 s."""
    import base64

    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    n, r, p = COST
    whole = Scrypt(salt=salt, length=64, n=n, r=r, p=p).derive(key.encode("utf-8", "surrogateescape"))
    return base64.urlsafe_b64encode(whole[:32]), hashlib.sha256(whole[32:]).hexdigest()[:16]


def _sealed(data: bytes, key: str, salt: bytes) -> bytes:
    from cryptography.fernet import Fernet

    fernet, check = _derived(key, salt)
    return MAGIC + salt.hex().encode() + b" " + check.encode() + b"\n" + Fernet(fernet).encrypt(data) + b"\n"


def _unsealed(blob: bytes, key: str | None, file: Path) -> bytes:
    """Raises: MissingSecret without a key, BadSettings for a wrong one, StoreError for a damaged file."""
    from cryptography.fernet import Fernet, InvalidToken

    if key is None:
        raise MissingSecret(f"{file} is encrypted", f"set {KEY} in the environment or in .env.secrets")
    head, _, token = blob[len(MAGIC) :].partition(b"\n")
    found = re.fullmatch(rb"([0-9a-f]{32}) ([0-9a-f]{16})", head)
    if not found:
        raise StoreError(f"{file} is damaged and cannot be decrypted", _hint(file))
    fernet, check = _derived(key, bytes.fromhex(found[1].decode()))
    if check != found[2].decode():
        raise BadSettings(f"{KEY} does not open {file}", "set the key that it was encrypted with")
    try:
        return Fernet(fernet).decrypt(token.rstrip(b"\n"))
    except InvalidToken:
        raise StoreError(f"{file} is damaged and cannot be decrypted", _hint(file)) from None
