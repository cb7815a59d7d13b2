"""Values of settings however they were given: on the command line, in a variable, in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from pydantic_core import PydanticCustomError

from polydub import languages
from polydub.config.names import engine_key, is_secret, secret_hint
from polydub.errors import UnsupportedLanguage


def words(value: object) -> tuple[str, ...] | None:
    """A list however it was given, each word once: "es, fr" and ["es", "fr,es"] are ("es", "fr"). None: no list of texts."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)):
        return None
    parts = list(cast("Iterable[object]", given))
    texts = [part for part in parts if isinstance(part, str)]
    cleaned = (word.strip() for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(word for word in cleaned if word)) if len(texts) == len(parts) else None


def pairs(value: object) -> object:
    """SPEAKER=NAME pairs however they were given, as a mapping; what is no list of texts stays. Raises: ValueError."""
    several = words(value)
    if several is None:
        return value
    found: dict[str, str] = {}
    for part in several:
        speaker, equals, name = (side.strip() for side in part.partition("="))
        if not (speaker and equals and name):
            raise ValueError("write SPEAKER=NAME")
        found[speaker] = name
    return found


def _numbers(value: object, low: float, high: float) -> object:
    """Numbers by speaker however they were given; a number alone is everybody's ("*"). Raises: ValueError."""
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value)
    several = words(str(value) if isinstance(value, (int, float)) else value)
    if several is None:
        return value
    found: dict[str, float] = {}
    for part in several:
        speaker, equals, number = (side.strip() for side in part.rpartition("="))
        try:
            found[speaker if equals else "*"] = float(number)
        except ValueError:
            raise ValueError("write a number, or SPEAKER=NUMBER") from None
    if any(not low <= number <= high for number in found.values()):
        raise ValueError(f"write numbers from {low:g} to {high:g}")
    return found


def rates(value: object) -> object:
    """Speeds by speaker."""
    return _numbers(value, 0.5, 2.0)


def pitches(value: object) -> object:
    """Semitones by speaker."""
    return _numbers(value, -12.0, 12.0)


def energies(value: object) -> object:
    """Decibels by speaker."""
    return _numbers(value, -12.0, 12.0)


def formats(value: object) -> object:
    several = words(value)
    return value if several is None else several


def language(text: str) -> str:
    try:
        tag = languages.parse(text)
    except UnsupportedLanguage as error:
        raise PydanticCustomError("language", "{text}", {"text": error.message, "hint": error.hint}) from error
    if languages.base(tag) not in languages.tags():
        what = {"text": f"{tag} stands for no one language", "hint": "write a code such as es or es-MX"}
        raise PydanticCustomError("language", "{text}", what)
    return tag


def source_language(value: object) -> object:
    return value if not isinstance(value, str) or value.strip().lower() == "auto" else language(value)


def targets(value: object) -> object:
    several = words(value)
    return value if several is None else tuple(dict.fromkeys(language(word) for word in several))


def choice(value: object) -> object:
    """Keeps secrets out of command lines, job files and logs; the rest of the syntax is the engine registry's."""
    if isinstance(value, str):
        for part in value.split(",")[1:]:
            key = part.partition("=")[0].strip()
            if is_secret(key):
                name = value.split(",")[0].split(":")[0]
                raise PydanticCustomError("secret", "a secret ({key}) in it", {"key": key, "hint": secret_hint(name)})
    return value


def speakers(value: object) -> object:
    """A number of speakers however it was given, as "auto", "2" or "2-4". Raises: ValueError."""
    text = str(value).replace(" ", "").lower() if isinstance(value, (str, int)) else ""
    low, _, high = text.partition("-")
    if text != "auto" and not (low.isdecimal() and (high or low).isdecimal() and 1 <= int(low) <= int(high or low) <= 100):
        raise ValueError("write a number, a range such as 2-4, or auto")
    return text


def folder(value: object) -> object:
    if value == "":
        raise ValueError("it must not be empty")
    return Path(value).expanduser() if isinstance(value, str) else value


def engine_tables(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    tables = cast("Mapping[object, object]", value)
    return {
        kind: {engine_key(str(name)): options for name, options in cast("Mapping[object, object]", table).items()}
        if isinstance(table, Mapping)
        else table
        for kind, table in tables.items()
    }
