"""What a remembered call is made of: its key, its row in the memo, the artifacts it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_core import ValidationError, to_jsonable_python

from polydub.store import Remembered
from polydub.types import Artifact, Notice
from polydub.work import Stage

NOTICES = TypeAdapter(tuple[Notice, ...])


@dataclass(frozen=True)
class Call:
    """One call with its key; `remembers` names the Previous whose next value this call makes, `line` the line it is about."""

    stage: Stage[..., Any]
    key: str
    args: tuple[Any, ...]
    remembers: str | None
    line: str | None = None


@dataclass
class Count:
    """What happened to one stage in this run."""

    seconds: float = 0.0
    ran: int = 0
    remembered: int = 0


@dataclass(frozen=True)
class Previous:
    """Stands for the result of the last finished run; resolved when the step's other arguments are known."""

    name: str


def row(call: Call, result: Any, notices: tuple[Notice, ...]) -> Remembered:
    """What the memo keeps of a finished call."""
    output = call.stage.returns.dump_json(result).decode()
    return Remembered(call.key, call.stage.name, output, NOTICES.dump_json(notices).decode())


def told(stage: Stage[..., Any], used: Any) -> Any:
    """What the last run told; None when another version of polydub did, in other words."""
    try:
        return stage.returns.validate_python(used)
    except ValidationError:
        return None


def know(context: Context) -> None:
    """Sets the variables of another thread's context in this one."""
    for variable, value in context.items():
        variable.set(value)


PLAIN = {str, int, float, bool, type(None)}


def digest(document: Any) -> str:
    """SHA-256 of a document of plain values, dataclasses and models, whatever the order of its mappings."""
    text = json.dumps(to_jsonable_python(document), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def artifacts(value: Any) -> Iterator[Artifact]:
    """Every artifact that a result mentions."""
    if isinstance(value, Artifact):
        yield value
    elif isinstance(value, (list, tuple)):
        if set(map(type, cast("Sequence[Any]", value))) <= PLAIN:  # long rows of numbers
            return
        for item in cast("Sequence[Any]", value):
            yield from artifacts(item)
    elif isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            yield from artifacts(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            yield from artifacts(getattr(value, part.name))
