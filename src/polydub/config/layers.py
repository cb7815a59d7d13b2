"""One layer of settings from each place: command line, file, environment, .env files. A layer knows where each value stood."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from polydub.config.flags import flags
from polydub.config.names import ALIASES, OUTSIDE, SECRETS, engine_key, is_secret, near, secret_hint, secret_of
from polydub.config.settings import Settings
from polydub.config.values import pairs
from polydub.errors import BadSettings

Key = tuple[str, ...]  # ("max_rate",) or ("voice", "1") or ("engines", "mt", "openai", "model")
Layer = dict[Key, tuple[Any, str]]  # value and origin

PREFIX = "POLYDUB_"
PUBLIC, SECRET = ".env", ".env.secrets"
MAX_FILE_BYTES = 1_000_000
_DEPTH = {"voice": 2, "server": 2, "engines": 4}  # parts of a key of the settings that are tables
_SHAPES = {
    "voice": f"{PREFIX}VOICE__<SPEAKER>",
    "server": f"{PREFIX}SERVER__<NAME>",
    "engines": f"{PREFIX}ENGINES__<KIND>__<ENGINE>__<OPTION>",
}


def command_line(values: Mapping[str, object]) -> Layer:
    """The layer of flags, by setting; None and empty lists mean that a flag was not given. Raises: BadSettings."""
    names = {flag.key: flag.name for flag in flags()}
    layer: Layer = {}
    for setting, value in values.items():
        if setting not in names:
            raise _unknown(setting, "the command line", names)
        if value is not None and value not in ((), []):
            layer.update(_leaves({setting: value}, names[setting] or "command line"))
    return layer


def file(path: Path, what: str) -> Layer:
    """The layer of a TOML file, or of JSON when it is called .json. `what` it is goes into messages.

    Raises: BadSettings: it cannot be read or parsed, or holds an unknown setting or a secret.
    """
    place = f"{what} {path}"
    text = _text(path, what)
    try:
        table = json.loads(text) if path.suffix.lower() == ".json" else _toml(text)
    except (ValueError, RecursionError) as error:  # json and toml errors are ValueErrors
        raise BadSettings(f"{place} is damaged: {error}", "correct it, or leave it out") from error
    if not isinstance(table, dict):
        raise BadSettings(f"{place} holds no settings", 'write {"to": ["es"], "mode": "high"}')
    settings = cast("dict[str, object]", table)
    for key in settings:
        if key not in Settings.model_fields and is_secret(key):
            raise _misplaced(key, place)
        if key not in Settings.model_fields:
            raise _unknown(key, place, Settings.model_fields)
    layer = _leaves(settings, place)
    for key in layer:
        if key[0] == "engines" and is_secret(key[-1]):
            raise _misplaced(".".join(key), place, key[2] if len(key) > 2 else "")
    return layer


def variables(values: Mapping[str, str], place: str) -> Layer:
    """The layer of environment variables, or of the lines of .env; empty values count as not set.

    Raises: BadSettings for a POLYDUB_ variable that means nothing; any other variable is somebody else's.
    """
    layer: Layer = {}
    for alias in ALIASES:
        if alias.target and values.get(alias.variable):
            layer[tuple(alias.target.split("."))] = (values[alias.variable], f"{alias.variable} in {place}")
    aliases = {alias.variable for alias in ALIASES}
    for variable, value in values.items():
        known = variable in aliases or variable in OUTSIDE or secret_of(variable)
        if variable.startswith(PREFIX) and not known:
            origin = f"{variable} in {place}"
            key = _key(variable, place)  # checked even when it is empty
            if value:
                layer.update(_leaves({key[0]: value}, origin) if len(key) == 1 else {key: (value, origin)})
    return layer


def secrets(values: Mapping[str, str], place: str) -> dict[str, tuple[str, str, str]]:
    """Secrets that are set: name -> (value, variable, origin)."""
    found: dict[str, tuple[str, str, str]] = {}
    for name, secret in SECRETS.items():
        variable = next((v for v in secret.variables if values.get(v, "").strip()), None)
        if variable:
            found[name] = (values[variable].strip(), variable, f"{variable} in {place}")
    return found


def public_lines(path: Path) -> Mapping[str, str]:
    """The variables in .env; none when there is no such file. Raises: BadSettings when a secret of polydub is among them."""
    values = dict(_lines(path))
    for variable in values:
        if secret_of(variable):
            raise BadSettings(f"{variable} is a secret and stands in {path}", f"move the line to {SECRET} beside it")
    return values


def secret_lines(path: Path) -> Mapping[str, str]:
    """The variables in .env.secrets; none when there is no such file. Raises: BadSettings when a setting is among them."""
    values = dict(_lines(path))
    for variable in values:
        alias = any(a.variable == variable and a.target for a in ALIASES)
        if (variable.startswith(PREFIX) or alias) and not secret_of(variable):
            raise BadSettings(f"{variable} is no secret and stands in {path}", f"move the line to {PUBLIC} beside it")
    return values


def reserved(values: Iterable[str]) -> list[str]:
    """The variables that are kept for a later feature, sorted."""
    used = {alias.variable for alias in ALIASES if alias.target}
    return sorted(v for v in values if v not in used and any(not a.target and a.covers(v) for a in ALIASES))


def _leaves(table: Mapping[str, object], origin: str) -> Layer:
    """One entry for each value of a table of settings, so that tables of several layers are merged value by value."""
    layer: Layer = {}
    for setting, value in table.items():
        _walk((setting,), _speakers(value) if setting == "voice" else value, origin, layer)
    return layer


def _speakers(value: object) -> object:
    try:
        return pairs(value)
    except ValueError:
        return value  # refused, with its origin, when the settings are checked


def _walk(key: Key, value: object, origin: str, layer: Layer) -> None:
    if isinstance(value, Mapping) and len(key) < _DEPTH.get(key[0], 1):
        for name, inner in cast("Mapping[object, object]", value).items():
            part = engine_key(str(name)) if key[0] == "engines" and len(key) == 2 else str(name)
            _walk((*key, part), inner, origin, layer)
    else:
        layer[key] = (value, origin)


def _key(variable: str, place: str) -> Key:
    parts = variable.removeprefix(PREFIX).split("__")
    setting = parts[0].lower()
    known = [flag.key for flag in flags()]
    if setting not in known or (len(parts) > 1 and len(parts) != _DEPTH.get(setting, 1)) or not all(parts):
        shape = _SHAPES.get(setting)
        if shape:
            raise BadSettings(f"{variable} in {place} is no setting", f"write {shape}")
        names = [f"{PREFIX}{key.upper()}" for key in known] + [v for s in SECRETS.values() for v in s.variables]
        raise _unknown(variable, place, names)
    if setting == "voice":
        return (setting, *parts[1:])  # a speaker's name keeps its case
    if setting in ("engines", "server") and len(parts) == 1:
        raise BadSettings(f"{variable} in {place} is no setting", f"write {_SHAPES[setting]}")
    lower = [part.lower() for part in parts]
    if setting == "engines":
        lower[2] = engine_key(lower[2])
        if is_secret(lower[3]):
            raise BadSettings(f"{variable} in {place} is a secret by a setting's name", secret_hint(lower[2]))
    return tuple(lower)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    if not exists(path, "file"):
        return
    for number, raw in enumerate(_text(path, "file").splitlines(), 1):
        name, equals, value = raw.strip().removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or not _is_ours(name):  # such files hold other programs' variables too, in their own syntax
            continue
        yield name, _unquoted(value.strip(), f"{path}, line {number}")


def _is_ours(variable: str) -> bool:
    return variable.startswith(PREFIX) or bool(secret_of(variable)) or any(alias.covers(variable) for alias in ALIASES)


def _unquoted(value: str, place: str) -> str:
    quote = value[:1]
    if quote not in {'"', "'"}:
        return value.partition(" #")[0].rstrip() if not value.startswith("#") else ""
    inside, closed, rest = value[1:].partition(quote)
    if not closed or (rest.strip() and not rest.strip().startswith("#")):
        raise BadSettings(f"{place} has a quote that is not closed", f"write NAME={quote}value{quote}")
    return inside


def exists(path: Path, what: str) -> bool:
    """Whether there is such a file. Raises: BadSettings when that cannot be told."""
    try:
        return path.is_file()
    except OSError as error:
        raise BadSettings(f"{what} {path} cannot be read: {error.strerror}", "give yourself access to its folder") from error


def _text(path: Path, what: str) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadSettings(f"{what} {path} is larger than a settings file can be", "name the right file")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadSettings(f"{what} {path} cannot be read: {error.strerror}", "name a TOML or JSON file that exists") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"{what} {path} is not UTF-8 text", "save it as UTF-8") from error


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def _unknown(name: str, place: str, known: Iterable[str]) -> BadSettings:
    similar = near(name, known)
    hint = f"did you mean {similar}?" if similar else "polydub config show lists all settings"
    return BadSettings(f"{place} has the unknown setting {name}", hint)


def _misplaced(key: str, place: str, engine: str = "") -> BadSettings:
    engine = engine or key.lower().removeprefix("polydub_").removesuffix("_api_key")
    return BadSettings(f"{place} holds the secret {key}", secret_hint(engine))
