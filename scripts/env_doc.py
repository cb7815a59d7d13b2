"""Writes .env.example and .env.secrets.example from the settings; with --check only says whether they are up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from polydub.config import SECRETS, flags
from polydub.config.server import ServerSettings

ROOT = Path(__file__).resolve().parents[1]
PUBLIC, SECRET = ".env.example", ".env.secrets.example"
PUBLIC_TOP = """# Settings of polydub, made by scripts/env_doc.py. Copy to .env in the folder that polydub is started in,
# and take away the # before what you set. Secrets stand in .env.secrets, see .env.secrets.example; here they are refused.
"""
SECRET_TOP = """# Secrets of polydub, made by scripts/env_doc.py. Copy to .env.secrets in the folder that polydub is started in
# (chmod 600), or set them in the environment. They are never shown or logged.
# STRICT_SECRETS=1 refuses to start without those that are needed.
"""


def public() -> str:
    """Every setting, with what it means."""
    lines = [PUBLIC_TOP, "# ---- the server"]
    for name, field in ServerSettings.model_fields.items():
        lines += [f"# {field.description}", f"#POLYDUB_SERVER__{name.upper()}={_written(field.default)}"]
    lines += ["", "# ---- dubs"]
    for flag in flags():
        if flag.key not in ("server", "engines", "voice"):
            lines += [f"# {flag.help}", f"#{flag.variable}={_written(flag.default)}"]
    return "\n".join(lines) + "\n"


def secret() -> str:
    """Every secret, with what it opens."""
    lines = [SECRET_TOP]
    for known in SECRETS.values():
        lines += [f"# {known.meaning}", f"#{known.variables[0]}="]
    return "\n".join(lines) + "\n"


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return ",".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value).lower() if isinstance(value, bool) else "" if value == {} else str(value)


def main(arguments: list[str]) -> int:
    """Writes the files, or under --check compares them: 1 when one is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is stale")
    parser.add_argument("--folder", type=Path, default=ROOT, help="where the files are")
    options = parser.parse_args(arguments)
    for name, text in ((PUBLIC, public()), (SECRET, secret())):
        file = options.folder / name
        if options.check and not (file.is_file() and file.read_text(encoding="utf-8") == text):
            sys.stderr.write(f"{name} is stale: run python scripts/env_doc.py\n")
            return 1
        if not options.check:
            file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
