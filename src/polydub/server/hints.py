"""What a client tells the recogniser of a recording: text before it, words to be expected, randomness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic.fields import FieldInfo

from polydub.engines.pool import Tool
from polydub.types import Notice


@dataclass(frozen=True)
class Hints:
    """What is told. Attributes: prompt: what may have been said before. hotwords: rare words and names. temperature: 0 to 1."""

    prompt: str = ""
    hotwords: str = ""
    temperature: float = 0.0

    def given(self) -> Mapping[str, Any]:
        """What says something, by the meanings of `Options.by_call`."""
        said = {"prompt": self.prompt.strip(), "hotwords": self.hotwords.strip(), "temperature": self.temperature}
        return {meaning: value for meaning, value in said.items() if value}


NO_HINTS = Hints()


def heeding(tool: Tool, hints: Hints) -> tuple[Tool, tuple[Notice, ...]]:
    """The engine told so, which loads nothing anew, and what it does not heed.

    Of a prompt that is too long its end counts, as in OpenAI's API; of words those that come first.
    """
    fields = tool.options.by_call() if tool.python is None else {}
    values: dict[str, Any] = {}
    notices: list[Notice] = []
    for meaning, value in hints.given().items():
        name = fields.get(meaning)
        if name is None:
            notices.append(_unheeded(meaning))
            continue
        kept = _fitting(type(tool.options).model_fields[name], meaning, value)
        if kept != value:
            text = f"the recogniser takes {len(kept)} of the {len(value)} characters of {meaning}"
            notices.append(Notice("prompt-shortened" if meaning == "prompt" else "hotwords-shortened", text, "info"))
        values[name] = kept
    if not values:
        return tool, tuple(notices)
    options = tool.options.model_copy(update=values)
    return replace(tool, options=options, identity={**tool.identity, "options": options.identity()}), tuple(notices)


def _unheeded(meaning: str) -> Notice:
    codes = {"prompt": "prompt-unheeded", "hotwords": "hotwords-unheeded", "temperature": "temperature-unheeded"}
    return Notice(codes[meaning], f"the recogniser takes no {meaning}", "info")


def _fitting(field: FieldInfo, meaning: str, value: Any) -> Any:
    """As much of a text as the option takes, cut between words where that is possible."""
    longest = next(_lengths(field), None)
    if longest is None or not isinstance(value, str) or len(value) <= longest:
        return value
    if meaning == "prompt":
        cut = value[-longest:]
        return cut if value[-longest - 1].isspace() else (cut.partition(" ")[2].strip() or cut)
    cut = value[:longest]
    return cut.strip() if value[longest].isspace() else (cut.rpartition(" ")[0].strip(" ,") or cut)


def _lengths(field: FieldInfo) -> Iterator[int]:
    for limit in field.metadata:
        if isinstance(found := getattr(limit, "max_length", None), int):
            yield found
