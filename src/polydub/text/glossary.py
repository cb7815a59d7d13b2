"""Terms a person wants translated in one way, or not at all: their file, where they occur, whether a translation has them.

All of it is by letters, without knowledge of grammar, and told generously: what decides is a person, who is shown every
line whose translation seems to lack a term.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from polydub.errors import BadInput
from polydub.text.words import unspaced

MOST_ENTRIES = 20_000
LONGEST = 200  # characters of a term or translation
_COLUMNS: Mapping[str, frozenset[str]] = {
    "term": frozenset({"term", "source", "source term", "original", "word", "phrase"}),
    "translation": frozenset({"translation", "target", "target term", "translated", "replacement"}),
    "note": frozenset({"note", "notes", "comment", "comments", "remark", "description"}),
    "keep": frozenset({"do not translate", "do-not-translate", "dnt", "keep", "untranslated"}),
}
_POSITIONS = ("term", "translation", "note")
_YES = frozenset({"1", "x", "y", "yes", "true", "keep", "do not translate", "dnt"})
_NO = frozenset({"", "0", "n", "no", "false", "-"})
_KEPT = frozenset({"", "=", "-", "do not translate", "do-not-translate", "dnt"})  # as a translation: it stays as it is
_JOINED = re.compile("[\u0590-\u07ff\u08a0-\u08ff\uac00-\ud7af]")  # Hebrew, Arabic, Korean: small words grow onto others
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SHARE = 0.6  # of a word's letters that an inflected form begins with
_LONGER = 4  # letters by which an inflected form may be longer or shorter


@dataclass(frozen=True, slots=True)
class Entry:
    """A term and what it becomes; the same on both sides = it stays as it is. `note` is for who translates."""

    term: str
    translation: str
    note: str = ""


def parse_glossary(data: bytes) -> tuple[Entry, ...]:
    """The entries of a CSV file, in order; empty lines and lines that begin with "#" are passed over.

    UTF-8 with or without a mark, values parted by comma, semicolon or tab (whichever the first line has most of). Columns
    are term, translation and note, in this order, or as a first line names them; a column "do not translate" (or "keep")
    may say "yes". Without a translation, or with "=" for it, a term is not to be translated.

    Raises: BadInput, with the number of the line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput(f"line {line} of the glossary is not UTF-8 text", "save it as CSV in UTF-8") from error
    if "\0" in text:
        raise BadInput(f"line {text[: text.index(chr(0))].count(chr(10)) + 1} of the glossary is no text", "save it as CSV")
    columns: Mapping[str, int] | None = None
    found: dict[str, tuple[int, Entry]] = {}
    for number, row in _rows(text):
        if columns is None:
            columns = _header(row)
            if columns is not None:
                if "term" not in columns:
                    raise BadInput(f"line {number} of the glossary names no column for the term", 'name it "term"')
                continue
            columns = {name: at for at, name in enumerate(_POSITIONS)}
        entry = _entry(row, columns, number)
        known = found.setdefault(entry.term, (number, entry))
        if known[1].translation != entry.translation:
            raise BadInput(
                f'line {number} of the glossary translates "{entry.term}" otherwise than line {known[0]}', "keep one"
            )
        if len(found) > MOST_ENTRIES:
            raise BadInput(f"the glossary has more than {MOST_ENTRIES} terms", "leave out what does not occur in the film")
    return tuple(entry for _, entry in found.values())


def _rows(text: str) -> Iterable[tuple[int, list[str]]]:
    """Number of each row's last line, and its values, trimmed."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    try:
        for row in reader:
            values = [unicodedata.normalize("NFC", " ".join(value.split())) for value in row]
            if any(values) and not values[0].startswith("#"):
                yield reader.line_num, values
    except csv.Error as error:
        raise BadInput(
            f"line {reader.line_num} of the glossary is no CSV: {error}", 'write values with quotes in them as "say ""hi"""'
        ) from error


def _header(row: Sequence[str]) -> Mapping[str, int] | None:
    """Columns by name if the row names them: at least the first two values are names, or the only one is."""
    named = {name: at for at, value in enumerate(row) for name, words in _COLUMNS.items() if value.casefold() in words}
    return named if len(named) >= min(2, len([value for value in row if value])) and named else None


def _entry(row: Sequence[str], columns: Mapping[str, int], number: int) -> Entry:
    values = {name: row[at] if at < len(row) else "" for name, at in columns.items()}
    term, translation = values["term"], values.get("translation", "")
    if not any(c.isalnum() for c in term):
        raise BadInput(f"line {number} of the glossary has no term", "write term, translation, note")
    extra = [value for at, value in enumerate(row) if value and at > max(columns.values())]
    if extra:
        raise BadInput(f"line {number} of the glossary has {len(row)} values", 'write "a, b" for a value with a comma in it')
    if max(len(term), len(translation)) > LONGEST:
        raise BadInput(f"line {number} of the glossary has a value of more than {LONGEST} characters", "terms are short")
    mark = values.get("keep", "").casefold()
    if mark not in _YES | _NO:
        raise BadInput(f'line {number} of the glossary says "{mark}" for do not translate', "write yes or no")
    keep = mark in _YES or translation.casefold() in _KEPT
    return Entry(term, term if keep else translation, values.get("note", ""))


def occurring(entries: Iterable[Entry], text: str, language: str = "") -> tuple[Entry, ...]:
    """The entries whose term occurs in `text` of `language` (BCP-47), in their order.

    A term stands between other words, not inside one (in scripts with blanks between words). One in lower case is found
    in any case; one with capitals as it is written, or in a text that is all capitals: "Apple" is not "apple". The last
    word may have an ending: English plurals and genitives; elsewhere up to two letters more, from four letters on.
    A term is not found where it is a part of a longer one that is.
    """
    plain = _plain(text)
    spans = {entry: [m.span() for m in _pattern(entry.term, language[:2].casefold()).finditer(plain)] for entry in entries}
    if plain.isupper():
        loud = {e: [m.span() for m in _pattern(e.term.casefold(), language[:2].casefold()).finditer(plain)] for e in spans}
        spans = {e: found or loud[e] for e, found in spans.items()}
    seen = {entry: found for entry, found in spans.items() if found}
    return tuple(entry for entry, found in seen.items() if any(not _covered(span, seen) for span in found))


def _covered(span: tuple[int, int], seen: Mapping[Entry, Sequence[tuple[int, int]]]) -> bool:
    low, high = span
    return any(a <= low and high <= b and b - a > high - low for found in seen.values() for a, b in found)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split())).replace("’", "'")


@lru_cache(maxsize=MOST_ENTRIES)
def _pattern(term: str, language: str) -> re.Pattern[str]:
    plain = _plain(term)
    flags = re.IGNORECASE if plain == plain.lower() else re.NOFLAG
    body = r"\s+".join(map(re.escape, plain.split()))
    if _grown(plain):
        return re.compile(body, flags)
    if language == "en":
        ending = "(?:'s|s'?|es|s's)?"
        if re.search("[^aeiou]y$", plain):
            body, ending = body[:-1], "(?:y|ies|y's)"
    else:
        ending = r"[^\W\d_]{0,2}" if len(plain.split()[-1]) >= 4 else ""
    return re.compile(rf"(?<!\w){body}{ending}(?!\w)", flags)


def _grown(text: str) -> bool:
    """Whether words of the text's script are not parted by blanks from what surrounds them."""
    return unspaced(text) or _JOINED.search(text) is not None


def lacking(terms: Mapping[str, str], source_text: str, target_text: str, source_language: str = "") -> tuple[str, ...]:
    """The terms of a source text whose translation is not in the target text; `terms` maps term to translation.

    A translation's words have to stand there one after another, in any case, each as it is or inflected: from four letters
    on, a form that begins with 60 % of the letters (accents aside) and is at most four longer or shorter; a shorter word
    may have two more. What is not to be translated has to keep all its letters. Scripts without blanks: the same signs.
    """
    entries = (Entry(term, translation) for term, translation in terms.items())
    return tuple(e.term for e in occurring(entries, source_text, source_language) if not has(target_text, e))


def complaint(terms: Mapping[str, str], source_text: str, target_text: str, source_language: str = "") -> str:
    """What `lacking` found, as half a sentence about the translation: 'lacks a term of the glossary: "crane" (grúa)'; or ""."""
    lost = lacking(terms, source_text, target_text, source_language) if terms else ()
    named = ", ".join(f'"{term}" ({terms[term]})' for term in lost)
    return f"lacks {'a term' if len(lost) == 1 else 'terms'} of the glossary: {named}" if lost else ""


def has(target_text: str, entry: Entry) -> bool:
    """Whether `target_text` holds the entry's translation, by the rules of `lacking`."""
    wanted, text = _plain(entry.translation).casefold(), _plain(target_text).casefold()
    if _grown(wanted):
        return "".join(wanted.split()) in "".join(text.split())
    words = _tokens(wanted)
    said = _tokens("".join(" " if unspaced(c) else c for c in text))
    keep = entry.term == entry.translation
    if not words:
        return wanted in text
    return any(
        all(_form(word, form, keep) for word, form in zip(words, said[at:], strict=False))
        for at in range(len(said) - len(words) + 1)
    )


def _tokens(text: str) -> list[str]:
    folded = unicodedata.normalize("NFD", text)
    return _TOKEN.findall("".join(c for c in folded if not unicodedata.combining(c)))


def _form(word: str, form: str, keep: bool) -> bool:
    longer = len(form) - len(word)
    if word == form:
        return True
    if keep or len(word) < 4:
        return form.startswith(word) and longer <= (3 if len(word) >= 4 else 2)
    same = next((n for n, (a, b) in enumerate(zip(word, form, strict=False)) if a != b), min(len(word), len(form)))
    return abs(longer) <= _LONGER and same >= max(3, _SHARE * len(word))
