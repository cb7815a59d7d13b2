"""Measures polydub's speed, memory and timing, and writes docs/benchmarks.md. `make bench` calls it.

python benchmarks/run.py --repeats 5 --json build/bench/figures.json
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import fixture
import machine
import measures
from figures import table
from measures import Findings, Plan
from page import as_json, page
from quality import quality

LINES, LONG_LINES = 160, 1600
SHORT_CLIP = (2.5, 1.0)
ALL_CORES, TWO_CORES = (1.5, 0.0), (2.2, 0.0)


def main() -> int:
    """Measures, prints, writes; the exit status is 1 when a target is missed under --strict."""
    given = _arguments()
    work: Path = given.work
    work.mkdir(parents=True, exist_ok=True)
    here = machine.here()
    compileall.compile_dir(machine.package(), quiet=1)
    film = fixture.Film.at(given.fixture) if given.fixture else fixture.film(LINES, work / f"s{LINES}")
    long = None
    if not given.no_long:
        stem = given.long_fixture
        long = fixture.Film.at(stem) if stem else fixture.film(LONG_LINES, work / f"s{LONG_LINES}")
    clip = fixture.clip(film, work / f"{film.video.stem}-clip60")

    plan = Plan(work / "run", given.repeats, _say)
    found = Findings()
    cores = measures.cores()
    measures.whole(plan, found, clip, "A clip of 60 s, 1920x1080", SHORT_CLIP)
    if len(cores) > 2:
        measures.whole(plan, found, film, f"A film of {film.lines} lines, 2 cores", TWO_CORES, cores[:2])
    target = ALL_CORES if len(cores) > 3 else TWO_CORES
    measures.whole(plan, found, film, f"A film of {film.lines} lines, {len(cores)} cores", target)
    measures.again(plan, found, film)
    measures.start(plan, found)
    measures.memory(plan, found, film, long)
    if found.dub is None:
        raise SystemExit("nothing was dubbed")
    q = quality(found.dub / "report.es.json", found.dub / "dub.es.mkv", film.video)
    shutil.rmtree(plan.work, ignore_errors=True)

    circumstances = {
        "machine": here, "command": _command(), "repeats": given.repeats, "load_after": os.getloadavg()[0],
        "like_peers": film.like_peers, "distinct": _distinct(film), "size": machine.core_size(),
    }  # fmt: skip
    for group, figures in found.figures.items():
        sys.stdout.write("\n".join(["", group, "", *table(figures), ""]))
    if not given.no_docs:
        given.docs.write_text(page(found, q, circumstances), encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps(as_json(found, q, circumstances), indent=1) + "\n", encoding="utf-8")
    missed = [f.name for figures in found.figures.values() for f in figures if f.met is False]
    sys.stdout.write(f"\nmissed: {', '.join(missed)}\n" if missed else "\nall targets kept\n")
    return 1 if missed and given.strict else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}, load {os.getloadavg()[0]:.1f}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each command; the median is quoted (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here too")
    parser.add_argument(
        "--fixture", type=Path, metavar="STEM", help=f"use STEM.mp4, STEM.en.srt and STEM.es.srt for the {LINES} lines"
    )
    parser.add_argument("--long-fixture", type=Path, metavar="STEM", help=f"the same for the {LONG_LINES} lines")
    parser.add_argument("--no-long", action="store_true", help=f"leave the film of {LONG_LINES} lines out")
    parser.add_argument("--work", type=Path, default=machine.ROOT / "build/bench", help="folder for films and results")
    parser.add_argument("--docs", type=Path, default=machine.ROOT / "docs/benchmarks.md", metavar="FILE", help="page to write")
    parser.add_argument("--no-docs", action="store_true", help="print only")
    parser.add_argument("--strict", action="store_true", help="end with status 1 when a target is missed")
    return parser.parse_args()


def _command() -> str:
    """What was typed, without the folders of this machine."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(["python", "benchmarks/run.py", *words])


def _distinct(film: fixture.Film) -> int:
    """How many different sentences the film's translation has."""
    cues = film.translation.read_text(encoding="utf-8").strip().split("\n\n")
    return len({cue.split("\n", 2)[2] for cue in cues})


if __name__ == "__main__":
    sys.exit(main())
