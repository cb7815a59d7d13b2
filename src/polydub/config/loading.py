"""All layers laid over one another, checked, with the origin of every value. The only reader of the process's environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import SecretStr, ValidationError

from polydub.config import layers
from polydub.config.flags import Flag, flags
from polydub.config.layers import Key, Layer
from polydub.config.names import SECRETS, engine_key, near
from polydub.config.server import ServerSettings
from polydub.config.settings import CHOICES, EngineKind, Settings
from polydub.errors import BadSettings, MissingSecret, UnsupportedLanguage

DEFAULT = "default"
ENVIRONMENT = "the environment"
_REASONS = {
    "extra_forbidden": "there is no such setting",
    "bool_parsing": "it must be true or false",
    "bool_type": "it must be true or false",
    "float_parsing": "it must be a number",
    "float_type": "it must be a number",
    "finite_number": "it must be a number",
    "int_from_float": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_type": "it must be a whole number",
    "mapping_type": "it must be a table",
    "path_type": "it must be a text",
    "string_too_short": "it must not be empty",
    "string_type": "it must be a text",
    "too_short": "it must hold at least one",
    "tuple_type": "it must be a list of texts",
}
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]+(?=@)")  # in an address
# The secret that an engine's preset opens its own service with.
_SERVICES = {("openai", "openai"): "openai_api_key", ("openai", "groq"): "groq_api_key"}


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys and passwords by name ("openai_api_key"); only those that are set. Their values never show in a text.

    Attributes: variables: name -> the variable it came from. origins: name -> that variable and where it stood.
    """

    values: Mapping[str, SecretStr] = field(default_factory=dict[str, SecretStr])
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    origins: Mapping[str, str] = field(default_factory=dict[str, str])

    def get(self, name: str) -> SecretStr | None:
        """The secret, None when it is not set."""
        return self.values.get(name)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where they came from.

    Attributes: origins: "max_rate", "voice.1" or "engines.mt.openai.model" -> "default", "--max-rate",
    "POLYDUB_MAX_RATE in the environment", "user file ...". reserved: variables that are set but not used by this version.
    """

    settings: Settings
    origins: Mapping[str, str]
    secrets: Secrets
    reserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `polydub config show`."""

    key: str
    value: str
    origin: str


def load(
    command_line: Mapping[str, object],
    *,
    job: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    user_file: Path | None,
) -> Loaded:
    """Settings from all layers: command line > job file > environment > .env and .env.secrets in `cwd` > user file > defaults.

    Args: command_line: setting -> value as typed or parsed; None and empty lists = not given. job: TOML or JSON, must exist.
    environ: variables. user_file: TOML; may be missing.
    Raises: BadSettings (UnsupportedLanguage): an unknown name, a bad value or a misplaced secret, and where it stands.
    """
    public, secret = layers.public_lines(cwd / layers.PUBLIC), layers.secret_lines(cwd / layers.SECRET)
    merged: Layer = {}
    for layer in (
        layers.file(user_file, "user file") if user_file and layers.exists(user_file, "user file") else {},
        layers.variables(public, layers.PUBLIC),
        layers.variables(environ, ENVIRONMENT),
        layers.file(job, "job file") if job else {},
        layers.command_line(command_line),
    ):
        _lay(merged, layer)
    settings = _checked(merged)
    origins = {key: DEFAULT for key in Settings.model_fields if not any(k[0] == key for k in merged)}
    origins.update({".".join(key): origin for key, (_, origin) in merged.items()})
    found = {**layers.secrets(secret, layers.SECRET), **layers.secrets(environ, ENVIRONMENT)}
    held = Secrets(
        {name: SecretStr(value) for name, (value, _, _) in found.items()},
        {name: variable for name, (_, variable, _) in found.items()},
        {name: origin for name, (_, _, origin) in found.items()},
    )
    return Loaded(settings, origins, held, tuple(layers.reserved({*environ, *public, *secret})))


def load_from_process(command_line: Mapping[str, object], job: Path | None = None) -> Loaded:
    """`load` with this process's environment, its working folder and the user's own file. Raises: BadSettings.

    What follows will compute: `one_thread_a_call` is called.
    """
    one_thread_a_call()
    return load(command_line, job=job, environ=os.environ, cwd=Path.cwd(), user_file=user_file())


def one_thread_a_call() -> None:
    """Keeps numeric libraries from starting threads of their own, unless the environment says otherwise.

    polydub works on many pieces at once. With a thread per core in each of them OpenBLAS spins instead of working: telling
    speakers apart took 80 times as long on busy cores. Call it before numpy is imported; later it does nothing.
    """
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def user_file() -> Path:
    """Where the user's own settings are kept, whether there are any or not."""
    from platformdirs import user_config_path

    return user_config_path("polydub", appauthor=False) / "config.toml"


def describe(loaded: Loaded) -> list[Row]:
    """Every setting with its value and origin; secrets as "set" or "not set"; then variables that this version does not use."""
    rows: list[Row] = []
    for key in Settings.model_fields:
        value = getattr(loaded.settings, key)
        if isinstance(value, ServerSettings):
            value = value.model_dump()
        leaves = _flat((key,), value) if value and key in ("voice", "server", "engines") else {key: value}
        rows += [Row(name, _shown(inner), loaded.origins.get(name, DEFAULT)) for name, inner in leaves.items()]
    for name in SECRETS:
        held = loaded.secrets.get(name)
        rows.append(Row(name, "set" if held else "not set", loaded.secrets.origins.get(name, "")))
    return rows + [Row(variable, "set, not used by this version", "environment") for variable in loaded.reserved]


def engine_values(loaded: Loaded, kind: str, engine_name: str) -> dict[str, object]:
    """What the settings say about an engine's options: its table, and the secrets it needs. Options in the choice of an
    engine ("openai,preset=groq") are not in it, but decide which secret is.

    A key of a public service (OPENAI_API_KEY, GROQ_API_KEY) is given only when no other address is set, so that it is never
    sent elsewhere; one that was set for polydub (POLYDUB_OPENAI_API_KEY) goes wherever its preset points.
    """
    name = engine_key(engine_name)
    tables = cast("Mapping[str, Mapping[str, Mapping[str, object]]]", loaded.settings.engines)
    values = dict(tables.get(kind, {}).get(name, {}))
    choice = getattr(loaded.settings, CHOICES[kind]) if kind in CHOICES else ""
    options = {**values, **_chosen(choice, name)}
    preset = str(options.get("preset") or "openai")
    secret = _SERVICES.get((name, preset)) or ("openai_api_key" if (name, preset) == ("openai", "custom") else "")
    held = loaded.secrets.get(secret)
    own = loaded.secrets.variables.get(secret, "").startswith(layers.PREFIX)
    if held and (own or (preset != "custom" and not options.get("base_url"))):
        values["api_key"] = held
    return values


def require_secrets(loaded: Loaded, names: Iterable[str]) -> tuple[str, ...]:
    """Which of these secrets ("openai_api_key") are not set. Raises: MissingSecret, naming all, under strict_secrets."""
    missing = tuple(name for name in names if loaded.secrets.get(name) is None)
    if missing and loaded.settings.strict_secrets:
        wanted = ", ".join(SECRETS[name].variables[0] for name in missing)
        raise MissingSecret(f"secrets are not set: {wanted}", f"set them in the environment or in {layers.SECRET}")
    return missing


def _chosen(choice: str, name: str) -> dict[str, str]:
    head, *options = choice.split(",")
    if engine_key(head.partition(":")[0]) != name:
        return {}
    return {key.strip(): value.strip() for key, _, value in (option.partition("=") for option in options)}


def _lay(merged: Layer, layer: Layer) -> None:
    """Puts a layer on top. What is a table in one layer and a plain value in another is not mixed: the upper one stays."""
    for key, entry in layer.items():
        for other in [k for k in merged if k != key and (k[: len(key)] == key or key[: len(k)] == k)]:
            del merged[other]
        merged[key] = entry


def _checked(merged: Layer) -> Settings:
    tree: dict[str, Any] = {}
    for key, (value, _) in merged.items():
        branch = tree
        for part in key[:-1]:
            branch = branch.setdefault(part, {})
        branch[key[-1]] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    raise _bad_value(first["loc"], cast("dict[str, Any]", first), merged) from None


def _bad_value(place: tuple[int | str, ...], error: dict[str, Any], merged: Layer) -> BadSettings:
    key = tuple(str(part) for part in place if part != "[key]")
    entry = _entry(key, merged)
    origin = entry[1] if entry else DEFAULT
    context = error.get("ctx", {})
    flag = next(f for f in flags() if f.key == key[0])
    if error["type"] == "language":
        return UnsupportedLanguage(f"{key[0]} ({origin}): {context['text']}", context["hint"])
    if error["type"] == "secret":
        return BadSettings(f"{key[0]} ({origin}) has {error['msg']}", context["hint"])
    if key[0] == "engines":
        return _bad_table(key, origin)
    if key[0] == "server" and key[1:]:
        return _bad_server(key[1], error, origin)
    shown = entry[0] if entry else error["input"]
    name = ".".join(key[:2]) if key[0] == "voice" else key[0]
    return BadSettings(f"{name} cannot be {_shown(shown)!r} ({origin}): {_reason(error)}", _advice(flag, error["input"]))


def _entry(key: Key, merged: Layer) -> tuple[Any, str] | None:
    """The value that a place in the settings came from; the place may be deeper (an item of a list) or a whole table."""
    return next((entry for k, entry in merged.items() if key[: len(k)] == k or k[: len(key)] == key), None)


def _bad_table(key: Key, origin: str) -> BadSettings:
    kinds = get_args(EngineKind)
    if len(key) > 1 and key[1] not in kinds:
        similar = near(key[1], kinds)
        hint = f"did you mean engines.{similar}?" if similar else f"the kinds of engines are {', '.join(kinds)}"
        return BadSettings(f"there are no engines of kind {key[1]} ({origin})", hint)
    return BadSettings(
        f"{'.'.join(key[:4])} is not a table of options ({origin})", "write [engines.mt.openai] and its options below"
    )


def _bad_server(name: str, error: Mapping[str, Any], origin: str) -> BadSettings:
    text = f"server.{name} cannot be {_shown(error['input'])!r} ({origin}): {_reason(error)}"
    fields = ServerSettings.model_fields
    if name in fields:
        return BadSettings(text, str(fields[name].description))
    similar = near(name, fields)
    meant = f"{layers.PREFIX}SERVER__{similar.upper()}" if origin.startswith(layers.PREFIX) else f"server.{similar}"
    return BadSettings(text, f"did you mean {meant}?" if similar else "polydub config show lists all settings")


def _reason(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            return f"it must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"it must be at most {context['le']:g}"
        case "literal_error":
            return f"it must be {context['expected']}"
        case "value_error":
            return str(context["error"])
        case _:
            message = str(error["msg"]).replace("Input", "it")
            return _REASONS.get(error["type"], message[:1].lower() + message[1:])


def _advice(flag: Flag, value: object) -> str:
    similar = near(str(value), flag.choices)
    return f"did you mean {similar}?" if similar else flag.help


def _flat(key: Key, value: object) -> dict[str, object]:
    if isinstance(value, Mapping) and len(key) < (4 if key[0] == "engines" else 2):
        inner = cast("Mapping[str, object]", value).items()
        return {name: leaf for part, below in inner for name, leaf in _flat((*key, part), below).items()}
    return {".".join(key): value}


def _shown(value: object) -> str:
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, (tuple, list)):
        return ", ".join(_shown(item) for item in cast("Iterable[object]", value))
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1***", value)
    return str(value).lower() if isinstance(value, bool) else str(value)
