"""What a person does with the character book: find, rename, merge, split, set and forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from polydub.errors import BadSettings
from polydub.voices.book import Book, Character, Manner, Mode, Voiceprint, proper
from polydub.voices.characters import EXEMPLARS, best_references, newcomer, with_print, without_film

LIST = "see who is there with: polydub characters list"


def find(book: Book, wanted: str) -> Character:
    """A character by id, name or alias, whatever the case; a part of a name is enough where it means one only.

    Raises: BadSettings.
    """
    word = wanted.strip().casefold()
    exact = [c for c in book.characters if word in (c.id, *(n.casefold() for n in _names(c)))]
    found = exact or [c for c in book.characters if word and any(word in n.casefold() for n in _names(c))]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadSettings(f"{wanted!r} may be {', '.join(c.name for c in found)}", "write more of the name, or the id")
    near = get_close_matches(wanted, [n for c in book.characters for n in _names(c)], n=1)
    raise BadSettings(f"there is no character {wanted!r}", f"did you mean {near[0]}?" if near else LIST)


def _names(one: Character) -> tuple[str, ...]:
    return one.name, *one.aliases


def replaced(book: Book, *changed: Character) -> Book:
    """The book with these characters in the place of those with the same ids. Raises: BadSettings for a name given twice."""
    by_id = {c.id: c for c in changed}
    return with_characters(book, tuple(by_id.get(c.id, c) for c in book.characters))


def with_characters(book: Book, characters: Sequence[Character]) -> Book:
    """The book with other characters. Raises: BadSettings for a name given twice."""
    names = [n.casefold() for c in characters for n in {n.casefold(): n for n in _names(c)}]
    twice = next((n for n in names if names.count(n) > 1), "")
    if twice:
        raise BadSettings(f"{twice!r} is the name of another character", LIST)
    return Book(version=book.version, next=book.next, characters=tuple(characters))


def added(book: Book, name: str, mode: Mode, now: str) -> tuple[Book, Character]:
    """The book with a new character. Raises: BadSettings for a name that is none, or another's."""
    try:
        return newcomer(book, _name(name), mode, now)
    except ValueError as error:
        raise BadSettings(str(error), LIST) from error


def _name(text: str) -> str:
    try:
        return proper(text)
    except ValueError as error:
        raise BadSettings(f"{text!r} is no name: {error}", "choose another one") from error


def renamed(book: Book, one: Character, name: str, now: str) -> Book:
    """The book in which the character has another name. Raises: BadSettings."""
    name = _name(name)
    aliases = tuple(a for a in one.aliases if a.casefold() != name.casefold())
    return replaced(book, one.model_copy(update={"name": name, "aliases": aliases, "updated": now}))


def merged(book: Book, into: Character, others: Sequence[Character], now: str) -> Book:
    """The book in which `others` are part of `into`, whose name, mode and settings stay; their names become aliases.

    Raises: BadSettings for a character that would be merged with itself.
    """
    if not others or into.id in {o.id for o in others}:
        raise BadSettings("a character cannot be merged with itself", "name two or more different ones")
    made = into
    for other in others:
        voiceprints = dict(made.voiceprints)
        for encoder, theirs in other.voiceprints.items():
            voiceprints[encoder] = _joined(voiceprints.get(encoder), theirs)
        films = {f.key: f for f in (*other.films, *made.films)}
        update = {
            "aliases": tuple(dict.fromkeys((*made.aliases, other.name, *other.aliases))),
            "voiceprints": voiceprints,
            "films": tuple(sorted(films.values(), key=lambda f: (f.seen, f.key))),
            "references": best_references((*made.references, *other.references)),
            "presets": {**other.presets, **made.presets},
            "voices": {**other.voices, **made.voices},
        }
        made = made.model_copy(update=update)
    gone = {o.id for o in others}
    made = made.model_copy(update={"updated": now})
    return with_characters(book, [made if c.id == made.id else c for c in book.characters if c.id not in gone])


def _joined(mine: Voiceprint | None, theirs: Voiceprint) -> Voiceprint:
    if mine is None:
        return theirs
    count = mine.count + theirs.count
    pairs = zip(mine.mean, theirs.mean, strict=True)
    mean = tuple(round((a * mine.count + b * theirs.count) / count, 6) for a, b in pairs)
    return Voiceprint(mean=mean, count=count, exemplars=(*mine.exemplars, *theirs.exemplars)[:EXEMPLARS])


def split(book: Book, one: Character, films: Sequence[str], name: str, now: str) -> tuple[Book, Character]:
    """The book in which `films` (by name) of a character, and what they told, belong to a new one. Raises: BadSettings."""
    heard_in = {f.name for f in one.films}
    unknown = [film for film in films if film not in heard_in]
    if unknown or not films:
        where = f"the film {unknown[0]}" if unknown else "no film that was named"
        raise BadSettings(f"{one.name} was not heard in {where}", f"heard in: {', '.join(sorted(heard_in)) or 'no film'}")
    keys = {f.key for f in one.films if f.name in films}
    by_hand = any(not e.film for p in one.voiceprints.values() for e in p.exemplars)
    if len(keys) == len(one.films) and not by_hand:
        raise BadSettings(f"that is every film of {one.name}", "leave one out, or use: polydub characters rename")
    ours, theirs = _parted(one.voiceprints, keys)
    stays = {
        "aliases": tuple(a for a in one.aliases if a.casefold() != _name(name).casefold()),
        "voiceprints": ours,
        "films": tuple(f for f in one.films if f.key not in keys),
        "references": tuple(r for r in one.references if r.film not in keys),
        "updated": now,
    }
    left, made = added(replaced(book, one.model_copy(update=stays)), name, _without_preset(one.mode), now)
    goes = {
        "voiceprints": theirs,
        "films": tuple(f for f in one.films if f.key in keys),
        "references": tuple(r for r in one.references if r.film in keys),
    }
    made = made.model_copy(update=goes)
    return replaced(left, made), made


def _without_preset(mode: Mode) -> Mode:
    """A new character has no preset yet."""
    return "match" if mode == "preset" else mode


def _parted(known: Mapping[str, Voiceprint], films: set[str]) -> tuple[dict[str, Voiceprint], dict[str, Voiceprint]]:
    """What is left of voiceprints without some films, and what is known from these alone."""
    ours, theirs = dict[str, Voiceprint](), dict[str, Voiceprint]()
    for encoder, one in known.items():
        left: Voiceprint | None = one
        for key in sorted(films):
            left = without_film(left, key) if left else None
        if left:
            ours[encoder] = left
        for exemplar in (e for e in one.exemplars if e.film in films):
            theirs[encoder] = with_print(theirs.get(encoder), exemplar)
    return ours, theirs


@dataclass(frozen=True)
class Changes:
    """What a person sets; None = as it is. presets: by speech engine, "*" = any, "" takes one away. anew: the voices that it
    got in earlier films are forgotten."""

    mode: Mode | None = None
    presets: Mapping[str, str] = field(default_factory=dict[str, str])
    rate: float | None = None
    pitch: float | None = None
    energy_db: float | None = None
    locked: bool | None = None
    anew: bool = False
    aliases: tuple[str, ...] = ()


def changed(book: Book, one: Character, wish: Changes, now: str) -> Book:
    """The book with what was set. A preset that is named makes the mode "preset". Raises: BadSettings."""
    presets = {engine: name for engine, name in {**one.presets, **wish.presets}.items() if name}
    mode = wish.mode or ("preset" if any(wish.presets.values()) else one.mode)
    if mode == "preset" and not presets:
        raise BadSettings(f"{one.name} has no preset", "name one with --preset, such as --preset espeak-ng=f2")
    aliases = dict.fromkeys((*one.aliases, *map(_name, wish.aliases)))
    update: dict[str, Any] = {
        "manner": _manner(one.manner, wish),
        "mode": mode,
        "presets": presets,
        "voices": {} if wish.anew else one.voices,
        "locked": one.locked if wish.locked is None else wish.locked,
        "aliases": tuple(a for a in aliases if a.casefold() != one.name.casefold()),
        "updated": now,
    }
    return replaced(book, one.model_copy(update=update))


def _manner(old: Manner, wish: Changes) -> Manner:
    given = {"rate": wish.rate, "pitch": wish.pitch, "energy_db": wish.energy_db}
    try:
        return Manner(**{**old.model_dump(), **{key: value for key, value in given.items() if value is not None}})
    except ValidationError as error:
        limits = "rate 0.5 to 2, pitch -12 to 12 semitones, energy -20 to 20 dB"
        raise BadSettings(f"{error.errors()[0]['loc'][0]} is out of range", limits) from None


def forgotten(book: Book, those: Sequence[Character]) -> Book:
    """The book without these characters; their recordings go when it is written."""
    gone = {c.id for c in those}
    return book.model_copy(update={"characters": tuple(c for c in book.characters if c.id not in gone)})
