"""docs/benchmarks.md and the JSON file."""

from __future__ import annotations

import re
from dataclasses import asdict
from statistics import median
from typing import Any

from figures import number
from machine import Machine
from measures import Findings
from quality import Quality, beside_peers

HEAD = """# Benchmarks

Written by `make bench`; the figures are medians of {repeats} runs, with the lowest and the highest. Machines differ and are
noisy, so everything is compared within one run with a yardstick: **Y is the wall time of
`ffmpeg -c:v copy -c:a aac` of the same film**, measured just before each dub. A target that follows Y is compared pair by
pair. Each dub is a fresh process with an empty store. *Null engines* are `--tts fake --mt fake`: what is left is the work of
polydub itself, with every line stretched, mixed, encoded and put into the film.

Where it is not said otherwise polydub is given both texts and does not listen to the film (`--separation none
--diarization none --voice-mode preset`). What listening costs, and how well it is done, has headings of its own; figures
that come once are of one run. *Weights* are those of resemblyzer and DeepFilterNet3; without them the spectral fingerprint
and the mask do their work. Quality is measured on `../shared/data`; where that folder is not, the headings are missing.
"""

PEERS = """## Timing of the dub, beside other systems

The same film of {lines} lines for all, with the same subtitles and espeak-ng speaking. It is hard on purpose: {needed} of its
lines would have to be spoken faster than 1.3 times to end before the next one begins. The figures of the other systems were
measured for this project in 2026 **on another run of a shared machine** (4 cores, load 7 to 18; seconds are +-30 to 50 %), each
once; VoiceStudio's are of its planner alone. Ours are those of this run; loudness, true peak and length are of the delivered
file, by ffmpeg's `ebur128` and PyAV. The source is at {before:.1f} LUFS.
"""

KEPT = """
No line is spoken faster than 1.3 times, nobody talks over anybody, and the film keeps its length; each of the other systems
gives up at least one of these. The price is paid in onsets: lines begin late. Systems without any shift get it by
talking over the next line, by rates up to 2.0, by cutting, or by slowing the picture. A translation that fits its slots needs
none of this.
"""

MISSED = """
**This run did not keep all of: no line faster than 1.3 times, no talk-over, the source's length.** See the table.
"""

READING = """
Wall times are no race: the film says the same {distinct} sentences again and again, and polydub speaks a sentence with one
voice and rate once, where the others speak all {lines} lines.
"""

OTHER_FILM = """
**The film of this run is an equivalent one and not the film that the other systems were given**: compare the kind of the
figures, not their digits.
"""


FRAME_S = 0.04
LAST = "## Where the time goes"  # headings from here on are of the whole run


def page(found: Findings, q: Quality, circumstances: dict[str, Any]) -> str:
    """The whole page. `circumstances`: machine, command, repeats, load_after, like_peers, distinct, size."""
    m: Machine = circumstances["machine"]
    parts = [HEAD.format(repeats=circumstances["repeats"]), _machine(m, circumstances)]
    parts += ["\n".join(section) for section in found.sections()]
    parts.append(_stages(found))
    wall = found.find("whole dub, espeak-ng")
    peers = PEERS.format(lines=q.lines, needed=q.needed, before=q.lufs_before)
    rows = beside_peers(q, median(wall.values), _peak(found))
    kept = not q.over_limit and not q.talk_over and abs(q.length_s - q.source_s) < FRAME_S
    reading = (KEPT if kept else MISSED) + READING.format(distinct=circumstances["distinct"], lines=q.lines)
    parts.append(peers + ("" if circumstances["like_peers"] else OTHER_FILM) + "\n" + "\n".join(rows) + "\n" + reading)
    parts.append(_size(*circumstances["size"]))
    return "\n".join(parts)


def renewed(text: str, found: Findings, circumstances: dict[str, Any]) -> str:
    """The page with what was measured now in place of the same rows; what was not stays, and new headings come last."""
    m: Machine = circumstances["machine"]
    told = f"easured on {m.date}, commit {m.commit}, load {m.load_before:.2f} before: `{circumstances['command']}`."
    parts = re.split(r"(?m)^(?=## )", text)
    for section in found.sections():
        places = [n for n, part in enumerate(parts) if part.partition("\n")[0] == section[0]]
        if places:
            parts[places[0]] = _merged(parts[places[0]].splitlines(), section, told)
        else:
            at = next((n for n, part in enumerate(parts) if part.startswith(LAST)), len(parts))
            parts.insert(at, "\n".join([*section, "M" + told, "", ""]))
    return "".join(parts)


def _merged(old: list[str], new: list[str], told: str) -> str:
    """A heading of which some rows were measured anew; `told` as in "Measured on", of these rows where others stay."""
    rows = {_name(line): line for line in new if _name(line)}
    before = {_name(line): line for line in old if _name(line)}
    if before.keys() <= rows.keys() or not rows:
        return "\n".join([*new, "M" + told, "", ""])
    last = max(n for n, line in enumerate(old) if _name(line))
    of_these = f"{', '.join(rows)}: m"
    kept = [line for line in old[last + 1 :] if not line.startswith(of_these)]
    texts = [line for line in new[max(n for n, line in enumerate(new) if _name(line)) + 1 :] if line not in kept]
    lines = [*(rows.pop(_name(line), line) for line in old[: last + 1]), *rows.values(), *kept, *texts]
    return "\n".join([*lines, *([] if lines[-1] == "" else [""]), of_these + told, "", ""])


def _name(line: str) -> str:
    """Of a row of a table: its first cell without the note; "" for any other line."""
    cell = line.removeprefix("| ").partition(" |")[0].partition("<br>")[0]
    return cell if line.startswith("| ") and cell != "what" else ""


def _peak(found: Findings) -> float:
    return found.figures["Memory"][0].median


def _machine(m: Machine, circumstances: dict[str, Any]) -> str:
    busy = ""
    if m.load_before > 0.5:
        busy = "\n**The machine was busy with other work when this was measured: take the figures as preliminary.**\n"
    return f"""| | |
|---|---|
| processor | {m.cpu}, {m.cores} cores |
| memory | {m.memory_gb:g} GB |
| system | {m.system}, Python {m.python} |
| load average | {m.load_before:.2f} before, {circumstances["load_after"]:.2f} after |
| date | {m.date} |
| polydub | {m.version}, commit {m.commit} |
| command | `{circumstances["command"]}` |
{busy}"""


def _stages(found: Findings) -> str:
    told = "Null engines, the last run of the film of many lines. Stages overlap; their seconds are wall times."
    lines = ["## Where the time goes", "", told, "",
             "| stage | seconds | calls |", "|---|---:|---:|"]  # fmt: skip
    lines += [f"| {s['name']} | {s['seconds']:.2f} | {s['ran']} |" for s in found.stages]
    return "\n".join([*lines, ""])


def _size(total: float, parts: list[tuple[str, float]]) -> str:
    biggest = ", ".join(f"{name} {number(mb)}" for name, mb in parts[:5])
    kept = "kept" if total < 900 else "**not kept**"
    return f"""## Installed size

The core and what it requires take {number(total)} MB, bytecode included (target: < 900 MB, {kept}). The biggest: {biggest}.
"""


def as_json(found: Findings, q: Quality | None, circumstances: dict[str, Any]) -> dict[str, Any]:
    """Everything, for machines; `q`: where all was measured."""
    plain = {**circumstances, "machine": asdict(circumstances["machine"])}
    groups = {group: [f.json() for f in figures] for group, figures in found.figures.items()}
    measured = {"stages": found.stages, "quality": asdict(q)} if q else {}
    return {"circumstances": plain, "figures": groups, "texts": found.texts, **measured}
