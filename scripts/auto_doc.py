"""Writes docs/reference/auto.md, what `auto` takes and why, from `engines/preferences.py`; --check only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby

from engines_doc import PAGES, WORK, link, own_engines, write

from polydub.engines.base import Engine
from polydub.engines.preferences import ADVICE, MODES, Advice

MADE = "Made from the code by `scripts/auto_doc.py`; do not edit it by hand."
FEW = 3  # models that are listed


def auto_page() -> str:
    """The rules, and one table for each kind."""
    known = {(engine.info.kind, engine.info.name): engine for engine in own_engines()}
    parts = [
        f"# What auto takes\n\n{MADE}\n\n"
        "`auto`, which is the default for every kind of engine, takes the first of its kind's list that can work here:\n\n"
        "1. It is in the list for the `--mode`: low is the fastest, high the best, medium the default.\n"
        "2. It does without the network, or settings name its address; under `--offline` it does without in any case.\n"
        "3. Its environment is installed. One that is not is passed over; the report names it in the engine's reason.\n"
        "4. It has the language. Of its models those with the language count, first those whose weights are here, then in the\n"
        "   order of the mode.\n"
        "5. Its weights are here. Of what only lacks weights the best is offered for download, or told by the\n"
        "   [notice](notices.md) `substitute`.\n"
        "6. It fits into the memory that is free: its own estimate, at least the size of its weights, is compared with what\n"
        "   the machine, the control group or the card has left. An engine that was named and does not fit is an error;\n"
        "   `POLYDUB_CHECK_MEMORY=no` tries all the same.\n\n"
        "What was taken is kept for the film, so that the next run takes the same; `--reconsider` asks again. A name always\n"
        "wins. `polydub engines --explain` shows these lists with what is here, `polydub dub ... --dry-run` what a film\n"
        "gets.\n\n"
        "`--device auto` gives an engine an accelerator if there is one and the engine can use it: in its environment for\n"
        "cards, or, for engines without an environment, with the system's CUDA libraries. All others work on the processor.\n"
        "One large engine at a time is on a card. Naming a device that is not there is an error.\n\n"
        "Where a figure names no source it was measured here. *Not measured here* says that nobody of polydub has run it with\n"
        "real weights; what follows is what others tell, on other machines. Ours are in [benchmarks](../benchmarks.md).\n"
    ]
    for kind, group in groupby(ADVICE, lambda advice: advice.kind):
        rows = "".join(_row(advice, known.get((kind, advice.engine))) for advice in group)
        parts.append(f"\n## {kind}\n\nIt {WORK[kind]}.\n\n" if kind in WORK else f"\n## {kind}\n\n")
        parts.append("| | engine | modes | why | models | speed | quality |\n|---:|---|---|---|---|---|---|\n")
        parts.append("".join(f"| {n} {row}" for n, row in enumerate(rows.splitlines(keepends=True), 1)))
    return "".join(parts)


def _row(advice: Advice, engine: Engine | None) -> str:
    linked = engine is not None and any(advice.kind in kinds for _, kinds in PAGES.values())
    name = link(engine) if engine is not None and linked else f"`{advice.engine}`"
    modes = "all" if advice.modes == MODES else ", ".join(advice.modes)
    models = "<br>".join(_models(engine, advice.modes)) if engine is not None else ""
    return f"| {name} | {modes} | {advice.why} | {models} | {_figure(advice.speed)} | {_figure(advice.quality)} |\n"


def _models(engine: Engine, modes: Sequence[str]) -> Iterator[str]:
    """What a mode means for an engine with models, best first."""
    orders = [engine.models.get(mode, ()) for mode in modes]
    if len(set().union(*orders)) < 2:  # nothing to choose from
        return
    if len(set(orders)) == 1:
        yield ", ".join(f"`{model}`" for model in orders[0][:FEW]) + (", ..., by language" if len(orders[0]) > FEW else "")
        return
    for mode, order in zip(modes, orders, strict=True):
        yield f"{mode}: `{order[0]}`"


def _figure(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    raise SystemExit(write(sys.argv[1:], "auto_doc.py", {"auto.md": auto_page}))
