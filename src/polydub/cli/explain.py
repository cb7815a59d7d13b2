"""`polydub engines --explain`: what `auto` takes in each mode, why, and what to expect of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from polydub import inspecting
from polydub.cli import output
from polydub.config import Loaded
from polydub.engines import preferences
from polydub.engines.preferences import ADVICE, Advice


def explained(loaded: Loaded, as_json: bool) -> int:
    """Prints the table of preferences, with how each engine stands here."""
    status = {(row.kind, row.name): row.status for row in inspecting.rows(loaded)}
    rows = [
        {
            "kind": a.kind,
            "name": a.engine,
            "modes": list(a.modes),
            "status": status.get((a.kind, a.engine), inspecting.BROKEN),
            "why": a.why,
            "speed": a.speed,
            "quality": a.quality,
        }
        for a in ADVICE
    ]
    if as_json:
        output.result_json({"mode": loaded.settings.mode, "preferences": rows})
        return 0
    for kind, group in groupby(ADVICE, lambda advice: advice.kind):
        output.result(f"{kind}, best first:")
        for advice in group:
            for line in _lines(advice, status.get((kind, advice.engine), inspecting.BROKEN)):
                output.result(output.clean(line))
    return 0


def _lines(advice: Advice, status: str) -> Iterable[str]:
    modes = "all modes" if advice.modes == preferences.MODES else f"only {' and '.join(advice.modes)}"
    yield f"  {advice.engine}, {status}, {modes}: {advice.why}"
    for name, text in (("speed", advice.speed), ("quality", advice.quality)):
        if text != preferences.NOTHING:
            yield f"     {name}: {text}"
