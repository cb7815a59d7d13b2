"""What a voice of the library says of itself: `voice.json` beside its recordings, and the names that are allowed."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from polydub import languages
from polydub.errors import BadInput, BadSettings, UnsupportedLanguage

FILE = "voice.json"
LONGEST_NAME = 64
# Device names of Windows, where such a folder could not be made.
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})


# Letters that Unicode does not take apart into a letter and a mark.
BARE = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def folded(name: str) -> str:
    """`name` as names are compared: without case, accents and the difference between blank, hyphen and underscore."""
    plain = unicodedata.normalize("NFKD", name)
    bare = "".join(c for c in plain if not unicodedata.combining(c)).casefold().translate(BARE)
    return " ".join(re.sub(r"[\s_\-]+", " ", bare).split())


def checked_name(name: str) -> str:
    """`name` in Unicode's composed form, without blanks around it. Raises: BadSettings where it cannot name a folder.

    Letters and digits of any script, and between them single blanks, hyphens, underscores and apostrophes.
    """
    tidy = unicodedata.normalize("NFC", name).strip()
    hint = "use letters, digits, blanks, - and _, such as: Anna or Anna-2"
    if not tidy:
        raise BadSettings("a voice needs a name", hint)
    if len(tidy) > LONGEST_NAME:
        raise BadSettings(f"the name of a voice has at most {LONGEST_NAME} characters, this one {len(tidy)}", hint)
    odd = [
        c for c in tidy if not (c in " -_'’" or unicodedata.category(c)[0] in "LN" or unicodedata.category(c) in ("Mn", "Mc"))
    ]
    if odd:
        told = odd[0] if odd[0].isprintable() else f"U+{ord(odd[0]):04X}"
        raise BadSettings(f"the name {_shown(tidy)} holds {told}, which no name of a voice may hold", hint)
    if not folded(tidy) or unicodedata.category(tidy[0])[0] not in "LN":
        raise BadSettings(f"the name {_shown(tidy)} does not begin with a letter or a digit", hint)
    if tidy.casefold() in RESERVED:
        raise BadSettings(f"no folder can be called {tidy} on every system", "choose another name")
    return tidy


def _shown(name: str) -> str:
    return repr(name.encode("utf-8", "backslashreplace").decode())


def _in_folder(file: str) -> str:
    """A file's name without any folder in it. Raises: ValueError."""
    if file != PurePosixPath(file).name or "\\" in file or file.startswith(".") or not file.isprintable():
        raise ValueError("a recording lies in the folder of its voice: give its name alone")
    return file


def _language(tag: str) -> str:
    try:
        return languages.parse(tag) if tag != "und" else tag
    except UnsupportedLanguage as error:
        raise ValueError(error.message) from error


Inside = Annotated[str, AfterValidator(_in_folder)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Recording(_Strict):
    """One recording of a voice. `file`: its name in the folder. `transcript`: what is said in it; empty = not known."""

    file: Inside
    transcript: str = ""


class Manifest(_Strict):
    """`voice.json`, version 1.

    Attributes: language: BCP-47, "und" = not known. licence: of the recordings. consent: who agreed to the use of this voice,
    and when; consent_file: the name of a file in the folder that shows it.
    """

    version: Literal[1]
    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    language: Annotated[str, AfterValidator(_language)] = "und"
    licence: str = ""
    consent: str = ""
    consent_file: Inside | Literal[""] = ""
    description: str = ""
    tags: list[str] = []
    references: list[Recording] = Field(min_length=1)


def read(path: Path) -> Manifest:
    """The manifest at `path`. Raises: BadInput for one that cannot be used, in one sentence."""
    try:
        found = Manifest.model_validate_json(path.read_bytes())
        checked_name(found.name)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "check the file") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = str(first["msg"]).removeprefix("Value error, ")
        told = f"{where}: {message}" if where else message
        raise BadInput(f"{path} describes no voice: {told}", f"correct {path.name}, or move its folder away") from error
    except BadSettings as error:
        raise BadInput(f"{path} describes no voice: {error.message}", f"correct {path.name}") from error
    return found


def written(manifest: Manifest) -> str:
    """The text of a `voice.json`."""
    return manifest.model_dump_json(indent=1) + "\n"
