"""Writes docs/reference/cli.md, errors.md and engines.md from the code; with --check only says whether they are up to date.

Notices have no list in the code to be made from: docs/reference/notices.md is written by hand, and tests/test_docs.py
compares its codes with those in the source. Settings have a script of their own, settings_doc.py.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic_core import PydanticUndefined

from polydub import errors, models
from polydub.cli.app import app
from polydub.engines import registry
from polydub.engines.base import KINDS, Engine, Kind, Weight

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
WIDTH = 100
MADE = "Made from the code by `scripts/docs_gen.py`; do not edit it by hand."
WORK: dict[Kind, str] = {
    "vad": "finds where somebody speaks",
    "asr": "writes down what is said",
    "align": "finds the times of the words of a given text",
    "diarization": "tells who speaks when, in one piece",
    "embedding": "describes a voice in numbers, by which speakers are told apart and voices matched",
    "separation": "takes the dialogue out of the sound",
    "mt": "translates",
    "tts": "speaks",
    "lipsync": "moves the mouths",
}
FEATURES = {
    "candidates": "offers texts in three lengths",
    "context": "looks at neighbouring lines",
    "language_id": "can tell which language is spoken",
    "pitch": "has voices of any pitch",
    "rate": "speaks at the rate it is asked for",
    "stock": "has enough voices to match them to speakers",
    "word_times": "gives the times of words",
}


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
    return sorted(found, key=lambda c: inspect.getsourcelines(c)[1])


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


def own_engines() -> list[Engine]:
    """The engines that come with polydub, by kind and name; those of other packages are not ours to document."""
    found: list[Engine] = []
    for kind in KINDS:
        ours = sorted(e.name for e in entry_points(group=f"polydub.{kind}") if e.value.startswith("polydub."))
        found += [registry.get(kind, name) for name in ours]
    return found


def engines_page() -> str:
    """Facts and options of every engine, and the weights that some need."""
    engines = own_engines()
    there = {engine.info.kind for engine in engines}
    kinds = "".join(f"- **{kind}** {WORK[kind]}\n" for kind in KINDS if kind in there)
    table = "".join(
        f"| {i.kind} | [`{i.name}`](#{i.kind}-{i.name}) | {_sentence(i.summary)} | {'yes' if i.network else 'no'} |\n"
        for i in (engine.info for engine in engines)
    )
    orders = "".join(f"- {kind}: {', then '.join(f'`{n}`' for n in names)}\n" for kind, names in registry.PREFERENCE.items())
    return (
        f"# Engines\n\n{MADE}\n\n"
        "`polydub engines` shows which of these can run here, and the one command that brings those that cannot. An\n"
        "engine is named as `name[:model][,option=value...]`, for example `--mt openai:llama3.1,preset=ollama`, or its\n"
        "options stand in a [settings file](settings.md). Engines of other packages join by an entry point:\n"
        "[write one](../how-to/write-an-engine.md). The kinds:\n\n"
        f"{kinds}\n"
        f"| kind | engine | what it is | uses the network |\n|---|---|---|---|\n{table}\n"
        f"`auto` takes the first of these that can run and has the language; a network engine only where settings name its\n"
        f"address or preset, and never under `--offline`:\n\n{orders}"
        + _weights(engines)
        + "".join(_engine(e) for e in engines)
    )


def _weights(engines: list[Engine]) -> str:
    """The table of all models, by id."""
    ours = {f"{engine.info.kind} {engine.info.name}" for engine in engines}
    known = [(k.weight, [user for user in k.engines if user in ours]) for k in models.catalogue()]
    rows = "".join(
        f"| `{w.id}` | {models.size(w.bytes)} | {w.licence} | {'yes' if w.commercial_use else 'no'} | {_source(w)} |"
        f" {', '.join(users)} |\n"
        for w, users in known
        if users
    )
    return (
        "\n## Weights\n\n"
        "Some engines need a trained model. Nothing is downloaded unless somebody says so: by `polydub models pull ID`, by\n"
        "answering the question that a command asks at a terminal, or by `--download yes`. Every file is pinned by revision\n"
        "and sha256, what was interrupted is continued, and `polydub models list` tells what is here. What the Hugging Face\n"
        "hub's own programs have fetched serves as well. Until a model is here, `auto` takes the next engine and says so.\n\n"
        f"| id | size | licence | commercial use | from | used by |\n|---|---|---|---|---|---|\n{rows}\n"
        "The Whisper models were **not run while polydub was developed**: the engine is tested on tiny models with random\n"
        "weights, and real weights load through the same code. The weights of Resemblyzer and DeepFilterNet3 were run.\n"
    )


def _source(weight: Weight) -> str:
    """Where a model comes from, for people."""
    kind, _, rest = weight.source.partition(":")
    if kind == "hub":
        return f"`{rest}` on the Hugging Face hub"
    if kind == "wheel":
        return f"the Python package `{rest.partition('#')[0]}`, which is not installed; size of what is kept"
    return ", ".join(dict.fromkeys(urlsplit(file.url).hostname or "" for file in weight.files))


def _engine(engine: Engine) -> str:
    info = engine.info
    calls = {0: "one per core", 1: "one"}.get(info.parallel, str(info.parallel))
    facts = {
        "licence": info.licence,
        "home": info.homepage,
        "brought by": f"the package `{info.package}`" if info.package else "",
        "weights": ", ".join(f"[`{w.id}`](#weights)" for w in _needed(engine)),
        "models by `--mode`, best first": "; ".join(f"{mode}: {', '.join(names)}" for mode, names in engine.models.items()),
        "devices": ", ".join(sorted(info.devices)),
        "memory, about": f"{info.memory_mib[0]} MiB",
        "same input, same result": "yes" if info.deterministic else "not promised",
        "calls at once": calls,
        "features": "; ".join(f"{name}: {FEATURES[name]}" for name in sorted(info.features)),
        "languages": _languages(engine),
    }
    rows = "".join(f"| {name} | {fact} |\n" for name, fact in facts.items() if fact)
    return f"\n## {info.kind} {info.name}\n\n{_sentence(info.summary)}\n\n| fact | |\n|---|---|\n{rows}{_options(engine)}"


def _needed(engine: Engine) -> tuple[Weight, ...]:
    """Of an engine as it is without options; the models of one that offers several are told apart."""
    return () if engine.models else engine.weights(registry.build_options(engine, {}))


def _languages(engine: Engine) -> str:
    """Only what does not depend on the machine: an engine of a pinned package, or any language."""
    known = engine.languages(registry.build_options(engine, {}))
    if known is None:
        return "any"
    return " ".join(sorted(known)) if engine.info.package else "what the system has installed"


def _options(engine: Engine) -> str:
    fields = engine.options.model_fields
    if not fields:
        return "\nNo options.\n"
    secrets = {name for name in fields if name in engine.info.secrets}
    rows = "".join(
        f"| `{name}` | {'' if name in secrets else _default(field.default)} | {_sentence(field.description or '')} |\n"
        for name, field in fields.items()
    )
    note = "".join(f"\n`{name}` is a secret: see [settings](settings.md#secrets).\n" for name in sorted(secrets))
    return f"\n| option | default | meaning |\n|---|---|---|\n{rows}{note}"


def _default(value: Any) -> str:
    return "" if value is None or value is PydanticUndefined or value == "" else f"`{value}`"


def _sentence(text: str) -> str:
    text = re.sub(r"\s+", " ", text).replace("|", "\\|")
    return text[:1].upper() + text[1:].rstrip(".") + "."


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "errors.md": errors_page, "engines.md": engines_page}


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
