"""Writes docs/reference/languages.md, which engine has which language, from the engines' own facts; --check only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Set

from engines_doc import as_installed, link, own_engines, pairs, spoken, tags, write

from polydub import languages
from polydub.engines.base import Engine

MADE = "Made from the code by `scripts/languages_doc.py`; do not edit it by hand."


def languages_page() -> str:
    """Which engine has which language."""
    listed = [e for e in own_engines() if e.info.kind in ("asr", "mt", "tts") and e.info.name != "fake"]
    columns = [(e, _bases(e)) for e in listed if spoken(e) is not None and not _few_pairs(e)]
    heard_or_said = [bases for e, bases in columns if e.info.kind != "mt"]
    rows = sorted(frozenset[str]().union(*heard_or_said), key=lambda tag: (languages.name(tag).casefold(), tag))
    header = "".join(f" {e.info.kind} {link(e)} |" for e, _ in columns)
    counts = "".join(f" {len(bases)} |" for _, bases in columns)
    table = "".join(
        f"| `{tag}` | {languages.name(tag)} |" + "".join(" ✓ |" if tag in bases else " |" for _, bases in columns) + "\n"
        for tag in rows
    )
    return (
        f"# Languages\n\n{MADE}\n\n"
        "Which engine has which language, with any of its models. A language is a BCP-47 tag without region: an engine\n"
        "that has `en-GB` counts for `en`, and `polydub engines --voices en` lists the voices of a speech engine. A tick says\n"
        "that the engine takes the language, not how good it is at it. What the table does not tell:\n\n"
        + "".join(_in_words(listed, set(rows)))
        + "- Speech detection, separation, diarization and lip-sync hear no words: any language.\n"
        "- `--transcript` and `--translation` take any language. Word times of a given text are found in the sound for\n"
        "  English, and estimated for all others.\n\n"
        f"| tag | language |{header}\n|---|---|{'---|' * len(columns)}\n| | how many |{counts}\n{table}"
    )


def _bases(engine: Engine) -> frozenset[str]:
    """The languages of an engine without region; of a translator those of its pairs."""
    return frozenset(languages.base(end) for tag in spoken(engine) or () for end in tag.split(">"))


def _few_pairs(engine: Engine) -> bool:
    return engine.info.kind == "mt" and not pairs(spoken(engine) or ()).startswith("any two")


def _in_words(engines: Iterable[Engine], rows: Set[str]) -> Iterator[str]:
    for engine in engines:
        begin = f"- {engine.info.kind} {link(engine)}: "
        if as_installed(engine):
            yield f"{begin}the pairs that are installed.\n"
        elif spoken(engine) is None:
            yield f"{begin}any language, as far as the service or its model has it.\n"
        elif _few_pairs(engine):
            yield f"{begin}{tags(engine)}; other pairs with a model folder of one's own.\n"
        elif others := " ".join(sorted(_bases(engine) - rows if engine.info.kind == "mt" else ())):
            yield f"{begin}any two of its languages, the column below and {others}.\n"


if __name__ == "__main__":
    raise SystemExit(write(sys.argv[1:], "languages_doc.py", {"languages.md": languages_page}))
