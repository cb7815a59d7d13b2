"""How a chat model's answers are read: which text is surely whose, and what is doubtful in it.

Nothing is believed. A text counts for a line only if its id says so, nothing else in the answer contradicts it, and, where
the model copied the line's first words as it was asked to, these are that line's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from polydub import languages
from polydub.engines.base import Batch, Request
from polydub.text import words
from polydub.text.foreign import foreign
from polydub.text.glossary import complaint
from polydub.text.syllables import syllables
from polydub.types import Wordings

MAX_OPENINGS = 500  # brackets at which JSON is looked for in a chatty answer
_START = 6  # letters of a line's beginning that are enough to know it by
_SAME = 12  # letters from which on two lines with one text are a mistake rather than two short answers
_SENTENCE = 3  # words from which on a text that is left as it was is a mistake rather than a name
_REFUSED = re.compile(
    r"\bas an ai\b|\blanguage model\b"
    r"|\bi(?:'m| am) (?:sorry|unable|not able)\b.{0,40}\b(?:translat|assist|help|comply)"
    r"|\bi (?:can(?:no|')t|won't) (?:translat|assist|help with|comply|provide)",
    re.IGNORECASE,
)
_LONGEST = 3.5, 60  # times the source's length, and characters besides
_SHORTEST = 6, 40  # the source's length by this, for sources of at least so many characters


@dataclass(frozen=True, slots=True)
class Found:
    """An object of the answer; `start` is what the model copied of the line."""

    id: str
    start: str
    wordings: Wordings


def read(content: str, batch: Batch, requests: Sequence[Request]) -> dict[str, Wordings]:
    """Texts by id for those of `requests` to which the answer surely gives one; the others are left out.

    Left out is a line that is missing, empty or broken, that has two different texts, whose copied beginning is another
    line's, that shares a text with another line, or that stands beside a missing one and may have swallowed it. Where the
    answer has lines that nobody asked for, only those with the right beginning count. Whatever stands around the JSON does
    no harm: prose, code fences, a model's thoughts.
    """
    ids = {request.id for request in requests}
    objects = [_found(value) for value in _objects(_said(content), ids)]
    if len(requests) == 1:
        objects = _alone(requests[0], objects)
    invented = any(found.id not in ids for found in objects)
    given = {request.id: _given(request, objects) for request in requests}
    lost = {id_ for id_, found in given.items() if found is None}
    beside = {
        requests[at].id for n, r in enumerate(requests) if r.id in lost for at in (n - 1, n + 1) if 0 <= at < len(requests)
    }
    all_texts = [request.text for request in batch.requests] + [*batch.before, *batch.after]
    sure: dict[str, Wordings] = {}
    for request in requests:
        found = given[request.id]
        if found is None or request.id in beside:
            continue
        own = _begins(request.text, found.start)
        other = max((_begins(text, found.start) for text in all_texts if text != request.text), default=0)
        if own >= other and (own or not invented):
            sure[request.id] = found.wordings
    return _without_shared(sure, {request.id: request.text for request in requests})


def prose(content: str) -> str:
    """The text of an answer to a single line that holds no JSON but one line of text; "" otherwise."""
    lines = [line.strip() for line in _said(content).splitlines() if line.strip()]
    return _one_line(lines[0]) or "" if len(lines) == 1 and not set("{}[]`") & set(lines[0]) else ""


def doubts(request: Request, wordings: Wordings, batch: Batch) -> tuple[str, ...]:
    """What is doubtful in a line's text, worst first, each half a sentence about "the translation"."""
    text, source = wordings.normal, request.text
    found: list[str] = []
    if _REFUSED.search(text) and not _REFUSED.search(source):
        found.append("looks like a refusal by the model")
    if not languages.matches(batch.source, batch.target):
        if len(source.split()) >= _SENTENCE and words.key(text) == words.key(source):
            found.append("is the untranslated text")
        elif foreign(text, batch.target):
            found.append(f"does not seem to be {languages.name(batch.target)}")
    long, short = words.length(text), words.length(source)
    if long > _LONGEST[0] * short + _LONGEST[1]:
        found.append("is far longer than the source")
    elif short > _SHORTEST[1] and long < short / _SHORTEST[0]:
        found.append("is far shorter than the source")
    lost = complaint(batch.terms, source, text, batch.source)
    return (*found, lost) if lost else tuple(found)


def trimmed(request: Request, wordings: Wordings, batch: Batch) -> Wordings:
    """`wordings` without other lengths that are none: not shorter or longer, or doubtful where the normal text is not."""
    said = {name: _syllables(text, batch.target) for name, text in _lengths(wordings).items()}
    known = set(doubts(request, wordings, batch))

    def usable(text: str) -> bool:
        return bool(text) and set(doubts(request, Wordings(text), batch)) <= known

    short = wordings.short if 0 < said["short"] < said["normal"] and usable(wordings.short) else ""
    long = wordings.long if said["normal"] < said["long"] <= 2.5 * said["normal"] and usable(wordings.long) else ""
    return replace(wordings, short=short, long=long)


def _lengths(wordings: Wordings) -> Mapping[str, str]:
    return {"normal": wordings.normal, "short": wordings.short, "long": wordings.long}


def _syllables(text: str, language: str) -> int:
    return sum(syllables(word, language) for word in text.split())


def _said(content: str) -> str:
    """The answer without the model's thoughts; "" where it was cut off while thinking."""
    if content.lstrip().startswith("<think>"):
        return content.partition("</think>")[2]
    # Some servers swallow the opening. A text of the film that holds the tag stands inside a string, never on a new line.
    return re.split(r"(?m)^[ \t]*</think>", content)[-1]


def _found(value: Mapping[str, Any]) -> Found:
    text = value.get("text") if "text" in value else value.get("translation")
    normal, short, long, start = (_one_line(x) or "" for x in (text, value.get("short"), value.get("long"), value.get("start")))
    return Found(str(value["id"]).strip(), start, Wordings(normal, short, long))


def _alone(request: Request, objects: list[Found]) -> list[Found]:
    """What answers a line that was asked for alone, whatever number the model gave it."""
    usable = [found for found in objects if found.wordings.normal]
    if len({found.wordings for found in usable}) != 1 or (usable[0].start and not _begins(request.text, usable[0].start)):
        return objects
    return [replace(usable[0], id=request.id)]


def _given(request: Request, objects: Sequence[Found]) -> Found | None:
    """The one text that the answer gives to a line; None where there is none, or more than one."""
    mine = [found for found in objects if found.id == request.id]
    texts = {found.wordings.normal: found for found in reversed(mine)}
    if len(texts) > 1:
        texts.pop(_one_line(request.text) or "", None)  # the question, repeated before the answer
    return next(iter(texts.values())) if len(texts) == 1 and "" not in texts else None


def _begins(text: str, start: str) -> int:
    """Letters of `start`, copied by a model, that are the beginning of `text`; 0 where they are too few to tell."""
    whole, copied = words.key(text), words.key(start)
    same = next((n for n, (a, b) in enumerate(zip(whole, copied, strict=False)) if a != b), min(len(whole), len(copied)))
    return same if same >= min(_START, len(whole), max(3, len(copied))) else 0


def _without_shared(sure: Mapping[str, Wordings], sources: Mapping[str, str]) -> dict[str, Wordings]:
    """`sure` without the lines that have one long text but different sources."""
    pairs = {(words.key(given.normal), words.key(sources[id_])) for id_, given in sure.items()}
    times = Counter(text for text, _ in pairs)
    return {id_: given for id_, given in sure.items() if times[k := words.key(given.normal)] == 1 or len(k) < _SAME}


def _objects(content: str, ids: set[str]) -> Iterator[Mapping[str, Any]]:
    """Every object with an "id" in the JSON that stands in `content`: alone, in a code fence, between prose, cut off."""
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(MAX_OPENINGS):
        opening = re.compile(r"[{\[]").search(content, position)
        if opening is None:
            return
        try:
            value, position = decoder.raw_decode(content, opening.start())
        except (ValueError, RecursionError):
            position = opening.start() + 1
            continue
        yield from _with_id(value, ids, depth=4)


def _with_id(value: object, ids: set[str], depth: int) -> Iterator[Mapping[str, Any]]:
    """Objects with an "id", however deep, and what a model meant by {"7": "text of line 7"}."""
    if isinstance(value, dict):
        inside = cast("dict[str, Any]", value)
        if "id" in inside:
            yield inside
            return
        for name, inner in inside.items():
            if name in ids and isinstance(inner, str | dict):
                yield {"id": name, "text": inner} if isinstance(inner, str) else {**cast("dict[str, Any]", inner), "id": name}
            elif depth:
                yield from _with_id(inner, ids, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in cast("list[Any]", value):
            yield from _with_id(inner, ids, depth - 1)


def _one_line(text: object) -> str | None:
    """`text` without line breaks and control characters; None when it is no usable string."""
    if not isinstance(text, str) or re.search(r"[\ud800-\udfff]", text):
        return None
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split()) or None
