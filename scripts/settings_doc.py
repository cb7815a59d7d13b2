"""Writes docs/reference/settings.md from the settings themselves; with --check only says whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from polydub.config import ALIASES, HUB, LOUDNESS, SECRETS, Flag, flags
from polydub.config.names import Alias
from polydub.config.server import ServerSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"

TOP = """# Settings

Made from the code by `scripts/settings_doc.py`; do not edit it by hand.

A value is taken from the first of these places that has it:

1. the command line
2. the job file, TOML or JSON, named by `--job`
3. environment variables
4. the file `.env` of the working folder
5. the user's file, `~/.config/polydub/config.toml` on Linux (`polydub config show` names it)
6. the default

`polydub config show` prints every value and where it came from. An unknown setting or `POLYDUB_` variable is an error.
Tables (`voice`, `engines`) are merged value by value; lists are replaced. In variables the parts of a table's key are
joined by two underscores: `POLYDUB_ENGINES__MT__OPENAI__TIMEOUT_S=30` is

```toml
[engines.mt.openai]
timeout_s = 30
```

`polydub engines` lists the options of each engine.
"""

SERVER_TOP = """
## The server

The table `[server]` of a settings file; in variables `POLYDUB_SERVER__PORT=8080`.

| setting | default | meaning |
|---|---|---|
"""

SECRETS_TOP = """
## Secrets

Read from the environment or from the file `.env.secrets` of the working folder, and from nowhere else: a secret on the
command line, in a job file, in the user's file or in `.env` is an error. They are never shown, logged or remembered.

| secret | variables, the first that is set wins | meaning |
|---|---|---|
"""

ALIASES_TOP = """
## Other variables

| variable | setting | meaning |
|---|---|---|
"""

HUB_TOP = """
## Variables of the Hugging Face hub

Models that come from the hub are found and fetched as the hub's own library does it, which reads these:

| variable | meaning |
|---|---|
"""

HUB_ROWS = """| `HF_HUB_CACHE` | The cache itself, instead of `hub` in `HF_HOME`. |
| `HF_HUB_OFFLINE` | 1 = nothing is fetched from the hub. |
"""

RESERVED_TOP = """
## Reserved variables

Other dubbing tools use these, and later versions of polydub will. This version does **not** act on them; `polydub config
show` says so where one is set.

| variable | meaning |
|---|---|
"""


def page() -> str:
    """The whole page."""
    profiles = "".join(f"| {name} | {v.lufs:g} | {v.true_peak_dbtp:g} |\n" for name, v in LOUDNESS.items())
    secrets = "".join(
        f"| `{name}` | {', '.join(f'`{v}`' for v in secret.variables)} | {secret.meaning} |\n"
        for name, secret in SECRETS.items()
    )
    used = "".join(f"| `{a.variable}` | `{a.target}` | {a.meaning} |\n" for a in ALIASES if a.target)
    hub = "".join(map(_meaning, HUB)) + HUB_ROWS
    reserved = "".join(_meaning(a) for a in ALIASES if not a.target)
    rows = "".join(_row(flag) for flag in flags() if flag.key != "server")
    server = "".join(_server_row(name, field) for name, field in ServerSettings.model_fields.items())
    return (
        f"{TOP}\n## All settings\n\n| setting | flag | variable | default | meaning |\n|---|---|---|---|---|\n{rows}"
        f"\n## Loudness profiles\n\n| profile | LUFS | highest true peak, dBTP |\n|---|---|---|\n{profiles}"
        f"{SERVER_TOP}{server}{SECRETS_TOP}{secrets}{ALIASES_TOP}{used}{HUB_TOP}{hub}{RESERVED_TOP}{reserved}"
    )


def _server_row(name: str, field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    bounds = {side: getattr(m, side) for m in field.metadata for side in ("ge", "le") if hasattr(m, side)}
    limits = f" {bounds['ge']:g} to {bounds['le']:g}." if len(bounds) == 2 else ""
    one_of = f" One of {', '.join(choices)}." if choices else ""
    meaning = f"{field.description}{one_of}{limits}"
    return f"| `{name}` | {_default(field.default)} | {meaning} |\n"


def _meaning(alias: Alias) -> str:
    return f"| `{alias.variable}` | {alias.meaning} |\n"


def _row(flag: Flag) -> str:
    names = [name for name in (flag.name, flag.negative) if name]
    variable = {"engines": "POLYDUB_ENGINES__KIND__ENGINE__OPTION"}.get(flag.key, flag.variable)
    meaning = flag.help
    if flag.choices:
        meaning += f" One of {', '.join(flag.choices)}." if flag.kind == "choice" else f" Of {', '.join(flag.choices)}."
    if flag.limits:
        meaning += f" {flag.limits}."
    cells = [f"`{flag.key}`", ", ".join(f"`{name}`" for name in names), f"`{variable}`", _default(flag.default), meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(value: object) -> str:
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(cast('tuple[str, ...]', value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main(arguments: list[str]) -> int:
    """Writes the page, or under --check compares it: 1 when it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the page is stale")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page")
    options = parser.parse_args(arguments)
    text = page()
    if options.check:
        if options.page.is_file() and options.page.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{options.page.name} is stale: run python scripts/settings_doc.py\n")
        return 1
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
