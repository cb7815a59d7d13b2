"""The settings as the command line and the reference page show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from polydub.config.server import ServerSettings
from polydub.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting as the command line and the reference page show it.

    Attributes: key: name of the setting. name: the flag, "" when there is none. negative: the flag that switches it off
    again, switches only. choices: of a choice or of a list's words. limits: "1 to 1.3", "" when free. help: the meaning,
    with units.
    """

    key: str
    name: str
    negative: str
    kind: Literal["choice", "integer", "list", "number", "numbers", "pairs", "path", "switch", "tables", "text"]
    choices: tuple[str, ...]
    limits: str
    default: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"POLYDUB_{self.key.upper()}"


def flags() -> tuple[Flag, ...]:
    """Every setting in the order of the reference page."""
    return tuple(_flag(key, field) for key, field in Settings.model_fields.items())


def _flag(key: str, field: FieldInfo) -> Flag:
    extra = cast("dict[str, Any]", field.json_schema_extra)
    name = "--" + key.replace("_", "-") if extra["flag"] is None else extra["flag"]
    kind, choices = _kind(field.annotation)
    negative = "" if kind != "switch" or not name else f"--{name[5:]}" if name.startswith("--no-") else f"--no-{name[2:]}"
    bounds = {side: getattr(m, side) for m in field.metadata for side in ("ge", "le") if hasattr(m, side)}
    limits = f"{bounds['ge']:g} to {bounds['le']:g}" if len(bounds) == 2 else ""
    return Flag(key, name, negative, kind, choices, limits, field.default, field.description or "")


def _kind(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "choice", inside
    if origin is tuple:
        return "list", get_args(inside[0])
    if origin is not None and inside[-1] is type(None):  # an optional value
        return _kind(inside[0])
    if origin is Annotated:
        return _kind(inside[0])
    if origin is not None:
        return {str: "pairs", float: "numbers"}.get(inside[-1], "tables"), ()
    return {bool: "switch", int: "integer", float: "number", Path: "path", ServerSettings: "tables"}.get(annotation, "text"), ()
