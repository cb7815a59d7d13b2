"""Writes docs/reference/engines.md and its pages by kind from the engines' own facts; with --check only compares.

Nothing here depends on what a machine has: neither weights, nor environments, nor installed language pairs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from polydub import languages, models
from polydub.engines import registry
from polydub.engines.base import KINDS, Engine, Environment, Kind, Options, Weight

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
LOCKS = ROOT / "src" / "polydub" / "engines" / "locks"
MADE = "Made from the code by `scripts/engines_doc.py`; do not edit it by hand."
FEW = 12  # tags that are listed; more are counted
WORK: dict[Kind, str] = {
    "vad": "finds where somebody speaks",
    "asr": "writes down what is said",
    "align": "finds the times of the words of a given text",
    "diarization": "tells who speaks when, in one piece",
    "embedding": "describes a voice in numbers, by which speakers are told apart and voices matched",
    "separation": "takes the dialogue out of the sound",
    "mt": "translates",
    "tts": "speaks",
    "faces": "finds faces in pictures, for lip-sync",
    "lipsync": "moves the mouths",
}
PAGES: dict[str, tuple[str, tuple[Kind, ...]]] = {
    "engines-asr.md": ("Engines that hear words", ("asr", "align", "vad")),
    "engines-diarization.md": ("Engines that know voices", ("diarization", "embedding")),
    "engines-separation.md": ("Engines that separate sound", ("separation",)),
    "engines-mt.md": ("Engines that translate", ("mt",)),
    "engines-tts.md": ("Engines that speak", ("tts",)),
    "engines-lipsync.md": ("Engines that move mouths", ("lipsync", "faces")),
}
FEATURES = {
    "candidates": "offers texts in three lengths",
    "clone": "can speak in the voice of a person from recordings",
    "context": "looks at neighbouring lines",
    "language_id": "can tell which language is spoken",
    "overlap": "tells who speaks at the same time",
    "pitch": "has voices of any pitch",
    "rate": "speaks at the rate it is asked for",
    "seed": "speaks the same line otherwise with another seed",
    "stages": "works in steps that are remembered one by one",
    "stems": "can give more than the dialogue",
    "stock": "has enough voices to match them to speakers",
    "stream": "gives its first result before the last is made",
    "word_times": "gives the times of words",
}
WORDED = ("asr", "align", "mt", "tts")  # kinds to which the language matters
# Their languages are those of what a person has installed.
INSTALLED = {("mt", "apertium"), ("mt", "argos")}
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@cache
def own_engines() -> tuple[Engine, ...]:
    """The engines that come with polydub, by kind and name; those of other packages are not ours to document."""
    found: list[Engine] = []
    for kind in KINDS:
        ours = sorted(e.name for e in entry_points(group=f"polydub.{kind}") if e.value.startswith("polydub."))
        found += [registry.get(kind, name) for name in ours]
    return tuple(found)


def page_of(kind: Kind) -> str:
    """The page on which a kind's engines stand."""
    return next(name for name, (_, kinds) in PAGES.items() if kind in kinds)


@cache
def pins(file: Path) -> Mapping[str, str]:
    """Versions by package that a lock names."""
    return {_key(name): version for name, version in PINNED.findall(file.read_text(encoding="utf-8"))}


# The page on all engines


def index_page() -> str:
    """The kinds, the table of all, what is common to them, and the environments."""
    engines = own_engines()
    there = {engine.info.kind for engine in engines}
    kinds = "".join(f"- **{kind}** {WORK[kind]}\n" for kind in KINDS if kind in there)
    reasons = " ([all modes, and why](auto.md))" if (FOLDER / "auto.md").is_file() else ""
    orders = "".join(f"- {kind}: {', then '.join(f'`{n}`' for n in names)}\n" for kind, names in registry.PREFERENCE.items())
    return (
        f"# Engines\n\n{MADE}\n\n"
        "`polydub engines` shows which of these can run here, and the one command that brings those that cannot. An\n"
        "engine is named as `name[:model][,option=value...]`, for example `--mt openai:llama3.1,preset=ollama`, or its\n"
        "options stand in a [settings file](settings.md). Which to take: [choose engines](../how-to/choose-engines.md);\n"
        "which languages they have: [languages](languages.md); what was run with what: [tested](tested.md). Engines of other\n"
        "packages join by an entry point: [write one](../how-to/write-an-engine.md). The kinds:\n\n"
        f"{kinds}\n"
        "| kind | engine | what it is | environment | network |\n|---|---|---|---|---|\n"
        + "".join(map(_row, engines))
        + "\n`fake` engines answer something quick without sense, for tests and for trying the way through a film.\n\n"
        "`auto` takes, in `--mode medium`, the first of these that can run and has the language; a network engine only where\n"
        f"settings name its address or preset, and never under `--offline`{reasons}:\n\n{orders}"
        f"{_weights()}{_environments(engines)}"
    )


def _row(engine: Engine) -> str:
    info = engine.info
    own = f"[`{engine.environment.name}`](#environments)" if engine.environment else ""
    return f"| {info.kind} | {link(engine)} | {_sentence(info.summary)} | {own} | {'yes' if info.network else 'no'} |\n"


def link(engine: Engine) -> str:
    """Its name, leading to its facts."""
    info = engine.info
    return f"[`{info.name}`]({page_of(info.kind)}#{info.kind}-{info.name})"


def _weights() -> str:
    return (
        "\n## Weights\n\n"
        "Some engines need a trained model; the pages of the kinds list them with size and licence. Nothing is downloaded\n"
        "unless somebody says so: by `polydub models pull ID`, by answering the question that a command asks at a terminal,\n"
        "or by `--download yes`. *Pinned* models have a revision and the sha256 of every file in polydub; of the others the\n"
        "newest revision is taken when they are pulled, with the hashes that the hub promises, and both are kept beside\n"
        "them ([why](../decisions/models-unpinned.md)). What was interrupted is continued. Until a model is here, `auto`\n"
        "takes the next engine and says so. [Models](../how-to/models.md) tells how to move, check and mirror them.\n"
    )


def _environments(engines: Iterable[Engine]) -> str:
    """The table of engines' own environments."""
    users: dict[str, tuple[Environment, list[Engine]]] = {}
    for engine in engines:
        if engine.environment:
            users.setdefault(engine.environment.name, (engine.environment, []))[1].append(engine)
    rows = ""
    for name, (environment, several) in sorted(users.items()):
        known = pins(LOCKS / f"{name}.cpu.txt")
        used = dict.fromkeys(e.info.package for e in several if e.info.package)
        packages = ", ".join(f"{package} {known[_key(package)]}" for package in used if _key(package) in known)
        named = ", ".join(link(e) for e in several)
        torch = known.get("torch", "").partition("+")[0]
        rows += f"| `{name}` | {named} | {', '.join(environment.variants)} | {packages} | {torch or 'no'} | {len(known)} |\n"
    return (
        "\n## Environments\n\n"
        "An engine with an environment of its own works in a process of its own, with that environment's Python and packages.\n"
        "`polydub engines install NAME` makes it: [own environments](../how-to/own-environments.md). Every package has its\n"
        "version and hash in `src/polydub/engines/locks/`. The number of packages is that of the variant cpu.\n\n"
        f"| environment | engines | variants | main packages | torch | packages |\n|---|---|---|---|---|---|\n{rows}"
    )


def _key(package: str) -> str:
    """The normalised name of a package."""
    return re.sub(r"[-_.]+", "-", package).lower()


# The pages by kind


def kind_page(name: str) -> str:
    """Facts, models and options of the engines of a page."""
    title, kinds = PAGES[name]
    engines = [engine for engine in own_engines() if engine.info.kind in kinds]
    head = "".join(f"- **{kind}** {WORK[kind]}\n" for kind in kinds if any(e.info.kind == kind for e in engines))
    return f"# {title}\n\n{MADE}\nWhat is common to all: [engines](engines.md).\n\n{head}" + "".join(map(_engine, engines))


def _engine(engine: Engine) -> str:
    info = engine.info
    host, card = info.memory_mib
    calls = {0: "one per core", 1: "one"}.get(info.parallel, str(info.parallel))
    own = f"its own, [`{engine.environment.name}`](engines.md#environments)" if engine.environment else ""
    facts = {
        "licence of the code": info.licence,
        "home": info.homepage,
        "package": _package(engine),
        "environment": own,
        "network": "yes: what it works on goes to a service" if info.network else "",
        "devices": ", ".join(sorted(info.devices)),
        "memory, about": f"{host} MiB" + (f"; on a card also {card} MiB of its own" if card else ""),
        "same input, same result": "yes" if info.deterministic else "not promised",
        "calls at once": calls,
        "features": "; ".join(f"{name}: {FEATURES.get(name, '')}".rstrip(": ") for name in sorted(info.features)),
        "languages": tags(engine) if info.kind in WORDED else "",
    }
    rows = "".join(f"| {name} | {fact} |\n" for name, fact in facts.items() if fact)
    remarks = "".join(f"\n{_sentence(remark)}\n" for remark in _remarks(engine))
    said = f"{_sentence(info.summary)}\n{remarks}"
    return f"\n## {info.kind} {info.name}\n\n{said}\n| fact | |\n|---|---|\n{rows}{_models(engine)}{_options(engine)}"


def _package(engine: Engine) -> str:
    """With its version, which is pinned in one of the locks."""
    package = engine.info.package
    if not package:
        return ""
    lock = LOCKS / f"{engine.environment.name}.cpu.txt" if engine.environment else ROOT / "requirements" / "core.txt"
    return f"`{package}` {pins(lock).get(_key(package), '')}".strip()


def _remarks(engine: Engine) -> tuple[str, ...]:
    """What users are told whatever the language; remarks on a pair depend on what is installed."""
    if as_installed(engine):
        return ()
    return engine.remarks(_without(engine), "en>es" if engine.info.kind == "mt" else "en")


def _without(engine: Engine) -> Options:
    """The options where none is given."""
    return engine.options()


def by_model(engine: Engine) -> dict[str, Options]:
    """The options for each model that it names, "" where it names none; its default one first."""
    named = dict.fromkeys(name for several in engine.models.values() for name in several)
    if not named:
        return {"": _without(engine)}
    default = str(getattr(_without(engine), "model", ""))
    return {name: engine.options.model_validate({"model": name}) for name in sorted(named, key=lambda n: n != default)}


def _models(engine: Engine) -> str:
    """The table of its weights, by the name of the model where it has several."""
    found = [
        (name, w, engine.languages(options)) for name, options in by_model(engine).items() for w in engine.weights(options)
    ]
    if not found:
        return ""
    several = len({name for name, *_ in found}) > 1
    named = several and engine.info.kind in WORDED
    titles = ["weights", "size", "licence", "commercial use", "pinned", "from"]
    titles = [*(["model"] if several else []), *titles, *(["languages"] if named else [])]
    rows = ""
    for name, weight, spoken in found:
        before, after = [f"`{name}`"] if several else [], [_short(weight.languages or spoken)] if named else []
        rows += f"| {' | '.join([*before, *_facts(weight), *after])} |\n"
    head = f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n"
    return f"\n{head}{rows}{_order(engine) if several else ''}"


def _facts(weight: Weight) -> list[str]:
    """From its id to where it comes from."""
    commercial, pinned = ("yes" if fact else "no" for fact in (weight.commercial_use, weight.files))
    return [f"`{weight.id}`", models.sized(weight), _cell(weight.licence), commercial, pinned, _source(weight)]


def _order(engine: Engine) -> str:
    """Which model is taken when none is named."""
    worded = "has the language and " if engine.info.kind in WORDED else ""
    begin = f"\nWithout a name the first is taken that {worded}is here"
    if len(set(engine.models.values())) == 1:
        return f"{begin}, in the order of the table.\n"
    lists = (f"- `--mode {mode}`: {', '.join(names)}\n" for mode, names in engine.models.items())
    return f"{begin}:\n\n{''.join(lists)}"


def _source(weight: Weight) -> str:
    """Where a model comes from, for people."""
    kind, _, rest = weight.source.partition(":")
    if kind == "hub":
        return f"`{rest}`"
    if kind == "wheel":
        return f"the Python package `{rest.partition('#')[0]}`"
    hosts = (re.sub(r"^https://([^/]+)/.*", r"\1", file.url) for file in weight.files)
    return ", ".join(dict.fromkeys(hosts))


def _short(tags: Iterable[str] | None) -> str:
    known = None if tags is None else sorted(tags)
    if known is None:
        return "any"
    return " ".join(known) if len(known) <= FEW else f"{len(known)} languages"


def spoken(engine: Engine) -> frozenset[str] | None:
    """What it has with any of its models; None = any language, or what a person has installed."""
    if as_installed(engine):
        return None
    found = [engine.languages(options) for options in by_model(engine).values()]
    return None if None in found else frozenset(tag for tags in found for tag in tags or ())


def as_installed(engine: Engine) -> bool:
    """Whether its languages are those of what a person has installed."""
    return (engine.info.kind, engine.info.name) in INSTALLED


def tags(engine: Engine) -> str:
    """In short, whichever model is taken."""
    if as_installed(engine):
        return "the pairs that are installed"
    known = spoken(engine)
    if known is None:
        return "any"
    if engine.info.kind == "mt":
        return pairs(known)
    count = len({languages.base(tag) for tag in known})
    return " ".join(sorted(known)) if len(known) <= FEW else f"{count} [languages](languages.md)"


def pairs(known: Iterable[str]) -> str:
    """Pairs in words."""
    found = sorted(known)
    ends = {end for pair in found for end in pair.split(">")}
    if len(found) == len(ends) * (len(ends) - 1) > FEW:
        return f"any two of {len(ends)} [languages](languages.md)"
    return ", ".join(f"`{pair}`" for pair in found)


def _options(engine: Engine) -> str:
    fields = engine.options.model_fields
    if not fields:
        return "\nNo options.\n"
    secrets = {name for name in fields if name in engine.info.secrets}
    rows = "".join(
        f"| `{name}` | {'' if name in secrets else _default(field.default)} | {_meaning(name, field.description or '')} |\n"
        for name, field in fields.items()
    )
    note = "".join(f"\n`{name}` is a secret: see [settings](settings.md#secrets).\n" for name in sorted(secrets))
    return f"\n| option | default | meaning |\n|---|---|---|\n{rows}{note}"


def _meaning(option: str, text: str) -> str:
    """Names of models keep their letters."""
    return f"{_cell(text).rstrip('.')}." if option == "model" else _sentence(text)


def _default(value: Any) -> str:
    return "" if value in (None, PydanticUndefined, "", ()) else f"`{value}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _sentence(text: str) -> str:
    text = _cell(text)
    return text[:1].upper() + text[1:].rstrip(".") + "."


def write(arguments: list[str], script: str, pages: Mapping[str, Callable[[], str]]) -> int:
    """Writes the pages, or under --check compares them: 1 when one is stale."""
    parser = argparse.ArgumentParser(description=f"Writes {', '.join(pages)} from the engines' own facts.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page is stale")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pages lie")
    options = parser.parse_args(arguments)
    stale = 0
    for name, page in pages.items():
        file, text = options.folder / name, page()
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        if options.check:
            sys.stderr.write(f"{name} is stale: run python scripts/{script}\n")
            stale = 1
        else:
            options.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return stale


def main(arguments: list[str]) -> int:
    """The page on all, and those of the kinds that have an engine."""
    there = {engine.info.kind for engine in own_engines()}
    names = [name for name, (_, kinds) in PAGES.items() if there & set(kinds)]
    return write(arguments, "engines_doc.py", {"engines.md": index_page} | {name: partial(kind_page, name) for name in names})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
