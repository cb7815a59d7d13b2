"""What a person types to name an engine: its name, a model, options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from polydub.engines.base import Engine, Options
from polydub.errors import BadSettings


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person typed: an engine's name, or "auto", and options for it."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])


def parse_choice(text: str) -> Choice:
    """ "name[:model][,key=value...]" taken apart; `model` is the option of that name. The model may hold ":" but no ",".

    Raises: BadSettings.
    """
    syntax = "write name[:model][,option=value...], such as openai:llama3,timeout_s=30"
    head, *rest = text.strip().split(",")
    name, colon, model = head.strip().partition(":")
    if not name or (colon and not model):
        raise BadSettings(f"engine choice {text.partition(',')[0]!r} lacks a name", syntax)
    options: dict[str, str] = {"model": model} if model else {}
    for part in rest:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise BadSettings(f"engine choice for {name!r} has a part without option=value", syntax)
        if key in options:
            raise BadSettings(f"engine choice for {name!r} sets {key!r} twice", syntax)
        options[key] = value.strip()
    return Choice(name, options)


def build_options(engine: Engine, values: Mapping[str, object]) -> Options:
    """The engine's options from plain values; strings such as "3" or "true" are read as what the field wants.

    Raises: BadSettings that names the field, what is wrong and, for an unknown field, the nearest one; never the value.
    """
    try:
        return engine.options.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    fields = engine.options.model_fields
    if first["type"] == "extra_forbidden":
        listed = ", ".join(fields) or "none"
        hint = f"{did_you_mean(name, fields)}its options are: {listed}"
        raise BadSettings(f"{engine.info.name} has no option {name!r}", hint)
    described = fields[name].description if name in fields else None
    wrong = first["msg"][:1].lower() + first["msg"][1:]
    raise BadSettings(f"{engine.info.name} option {name!r}: {wrong}", f"{name}: {described}" if described else "")


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'? ", or ""."""
    near = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""
