"""Writes docs/reference/cli.md and errors.md from the code; with --check only says whether they are up to date.

Notices have no list in the code to be made from: docs/reference/notices.md is written by hand, and tests/test_docs.py
compares its codes with those in the source. Settings and engines have scripts of their own, settings_doc.py
and engines_doc.py.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from polydub import errors
from polydub.cli.app import app
from polydub.edits import Conflict

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
WIDTH = 100
MADE = "Made from the code by `scripts/docs_gen.py`; do not edit it by hand."


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command with what is typed to call it ("polydub config show"), groups before what is in them."""
    name = (*path, command.name or "polydub") if path else ("polydub",)
    yield " ".join(name), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from commands(found, name)


def cli_page() -> str:
    """Every command's own help."""
    parts = [
        f"# Commands\n\n{MADE}\n\n"
        "Results go to stdout, everything else to stderr. Every command ends with one of the statuses of\n"
        "[errors](errors.md). What a flag means as a setting, and the other places to set it: [settings](settings.md).\n"
    ]
    for name, command in commands(app):
        context = click.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
        context.help_option_names = ["-h", "--help"]
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"\n## {name}\n\n```text\n{text}\n```\n")
    return "".join(parts)


def error_classes() -> list[type[errors.PolydubError]]:
    """PolydubError and everything below it, in the order of the source."""
    found = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.PolydubError)]
    return [*sorted(found, key=lambda c: inspect.getsourcelines(c)[1]), Conflict]


def errors_page() -> str:
    """One row for each error, and the exit statuses."""
    rows = "".join(
        f"| `{c.code}` | {c.__name__} | {c.exit_status} | {c.http_status} | {'yes' if c.retryable else 'no'} | {_first(c)} |\n"
        for c in error_classes()
    )
    return (
        f"# Errors\n\n{MADE}\n\n"
        "An error is one sentence that says what happened and, where there is something to do, a hint that says what. Both go\n"
        "to stderr; with `--debug` also where it came from. No command shows a traceback otherwise.\n\n"
        "## Exit statuses\n\n| status | meaning |\n|---|---|\n"
        "| 0 | done |\n"
        f"| {errors.SOME_FAILED} | a batch ran, but some of its files failed |\n"
        "| 2 | a file of the user's cannot be used |\n"
        "| 3 | a flag, a setting or a job file is wrong |\n"
        "| 4 | something that would do the work is not installed: a program, an extra, weights, a key |\n"
        "| 5 | an engine failed; what was finished before is kept, so the same command continues |\n"
        "| 6 | the output folder or the store cannot be read or written |\n"
        "| 7 | there was a [notice](notices.md) of severity warning, under `--strict` |\n"
        "| 130 | stopped by the user; the same command continues |\n\n"
        "## Codes\n\nCodes are stable: `--json` gives them for each failed file of a batch. The HTTP status is for the\n"
        "server that will come; retryable says whether the same call may succeed later.\n\n"
        f"| code | class | exit | HTTP | retryable | meaning |\n|---|---|---|---|---|---|\n{rows}"
    )


def _first(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "errors.md": errors_page}


def main(arguments: list[str]) -> int:
    """Writes the pages, or under --check compares them: 1 when one is stale."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page is stale")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pages lie")
    options = parser.parse_args(arguments)
    stale = 0
    for name, page in PAGES.items():
        file, text = options.folder / name, page()
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        if options.check:
            sys.stderr.write(f"{name} is stale: run python scripts/docs_gen.py\n")
            stale = 1
        else:
            options.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
