"""How well it listens and matches, on ../shared/data: the figures of the programs beside this one, with their targets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import characters
import matching
import recognition
import separation
import speakers
from figures import Figure, fixed, least
from measures import Findings, Plan
from weights import Homes

DATA = separation.DATA
LANGUAGES = ("es", "de")
NEAREST, ALIKE, SEARCH_S = 70.0, 0.9, 3.0
BED_GAIN_DB = 5.0
# SI-SDR of dialogue and background in dB, means of 144 mixes at 0, 5 and 10 dB, when the engines were chosen.
CHOSEN = {"mask": (7.3, 4.9), "deepfilternet": (12.3, 10.9)}
CHOSEN_NOTE = """The targets are means of other mixes, on which the engines were chosen. In dB of the background the net had
10.6 and 7.8 then on the two kinds of music, 9.3 on something steady, 11.1, 14.9 and 12.2 on three noises, of which two were
probably not those in the table."""


def who_speaks(plan: Plan, found: Findings, data: Path, homes: Homes) -> None:
    """Diarization and speaker encoders."""
    began = _say(plan, "speakers")
    for title, figures in speakers.speakers(data, homes.full):
        found.add(title, *figures)
        found.tell(title, "DER without collar, overlap counted, in per cent of what is said.")
    if homes.lacks("resemblyzer"):
        found.tell("Speakers: resemblyzer", homes.lacks("resemblyzer") + ".")
    _took(plan, "speakers", began)


def known_again(plan: Plan, found: Findings, data: Path, homes: Homes) -> None:
    """Characters across films."""
    began = _say(plan, "characters")
    for title, figures in characters.measured(data, homes.full):
        found.add(title, *figures)
        found.tell(title, "Enrolled from the first half of what there is of each person, heard in the second.")
    _took(plan, "characters", began)


def what_is_said(plan: Plan, found: Findings, data: Path) -> None:
    """Recognition and alignment by PocketSphinx."""
    began = _say(plan, "recognition")
    found.add("Recognition", *recognition.recognition(data))
    found.add("Alignment", *recognition.alignment(data))
    _took(plan, "recognition", began)


def separated(plan: Plan, found: Findings, data: Path, homes: Homes) -> None:
    """SI-SDR of both stems, and of the background of the sample film."""
    began, group = _say(plan, "separation"), "Separation"
    snrs = separation.SNRS_DB
    rows = separation.measure(data, snrs)
    for name, targets in CHOSEN.items():
        if name in rows:
            row = separation.mean([row for several in rows[name].values() for row in several])
            mixes = f"{sum(map(len, rows[name].values()))} mixes at {', '.join(f'{snr:g}' for snr in snrs)} dB"
            for stem, value, target in zip(("dialogue", "background"), (row.dialogue, row.background), targets, strict=True):
                found.add(group, least(f"SI-SDR of the {stem}, {name}", "dB", [value], target, mixes))
    for name, gain in separation.sample(data).items():
        if name in CHOSEN:
            what = f"gain of the background on the sample film, {name}"
            found.add(group, least(what, "dB", [gain], BED_GAIN_DB, "SI-SDR over the film's own sound"))
    found.tell(group, *separation.tables(rows), "", CHOSEN_NOTE)
    if "deepfilternet" not in rows:
        found.tell(group, homes.lacks("deepfilternet3") or "deepfilternet: not measured.")
    _took(plan, "separation", began)


def matched(plan: Plan, found: Findings, data: Path, homes: Homes, *, long: bool) -> None:
    """Voices of nine people, told apart and told who is who by the speaker encoder."""
    began, group = _say(plan, "matching"), "Voice matching"
    reason = homes.lacks("resemblyzer")
    if not (data / "models/dnsmos").is_dir():
        reason = reason or "not measured: no models/dnsmos here"
    if reason:
        found.tell(group, f"{reason}.")
        return
    languages = tuple(matching.SENTENCES) if long else LANGUAGES
    rows = matching.measure({"resemblyzer": homes.full / "resemblyzer"}, languages)
    found.add(group, *_voices(rows))
    found.tell(group, *matching.table(rows), "", "Voices as the engine lists them -> **matched**.")
    _took(plan, "matching", began)


def _voices(rows: Sequence[matching.Row]) -> list[Figure]:
    into = "into " + ", ".join(row.language for row in rows)
    right = 100 * mean(row.nearest[1] for row in rows)
    before, after = (mean(row.dnsmos[side] for row in rows) for side in (0, 1))
    return [
        least("the right source speaker is nearest", "%", [right], NEAREST, f"{rows[0].speakers} people, {into}, mean"),
        fixed("likeness of the two most alike voices", "cosine", [max(r.alike_max[1] for r in rows)], ALIKE, f"{into}, worst"),
        fixed("search, for each speaker", "s", [r.seconds for r in rows], SEARCH_S, "wall time, with an empty store"),
        Figure("DNSMOS of matched voices", "of 5", (after,), note=f"{before:.2f} before; overall quality, higher is better"),
    ]


def _say(plan: Plan, what: str) -> float:
    plan.say(what)
    return time.monotonic()


def _took(plan: Plan, what: str, began: float) -> None:
    plan.say(f"{what}: {time.monotonic() - began:.0f} s")
