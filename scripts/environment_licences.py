"""Writes docs/reference/environment-packages.md: what every package in engines' own environments says of its licence.

    python scripts/environment_licences.py ENVIRONMENTS [--check]

ENVIRONMENTS is a folder in which the variants "cpu" of all are installed (`polydub engines install ... --environments`). Not
part of `make check`, which has no environments: there a test compares the page's packages with the locks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "src" / "polydub" / "engines" / "locks"
PAGE = ROOT / "docs" / "reference" / "environment-packages.md"
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
# Nobody states it in the package's metadata; read in the licence file inside it.
PYANNOTE = ("pyannote-audio", "pyannote-core", "pyannote-database", "pyannote-metrics", "pyannote-pipeline", "pyannoteai-sdk")
FILES = {"kokoro-onnx": "MIT", "sphn": "Apache-2.0", **dict.fromkeys(PYANNOTE, "MIT")}
# In the variant "cuda" only, which was not installed: from memory.
CUDA = {"onnxruntime-gpu": "MIT (from memory)", "triton": "MIT (from memory)", "cuda-pathfinder": "Apache-2.0 (from memory)"}
NVIDIA = "NVIDIA's own licence, not open source (from memory)"


def key(name: str) -> str:
    """The normalised name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(package: Distribution) -> str:
    """What a package says: its expression, else its classifiers, else the first line of its old field."""
    facts = package.metadata
    name = key(facts["Name"])
    if name in FILES:
        return f"{FILES[name]} (in its licence file)"
    if expression := "".join(facts.get_all("License-Expression") or []):
        return expression
    told = [c.removeprefix("License :: ") for c in facts.get_all("Classifier") or [] if c.startswith("License :: ")]
    named = [c.removeprefix("OSI Approved :: ") for c in told if c != "OSI Approved"]
    return " and ".join(named) or "".join(facts.get_all("License") or []).partition("\n")[0].strip() or "none stated"


def packages(variant: str) -> Mapping[str, list[str]]:
    """The environments by package, of a variant."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for lock in sorted(LOCKS.glob(f"*.{variant}.txt")):
        for name, _ in PINNED.findall(lock.read_text(encoding="utf-8")):
            found[key(name)].append(lock.name.partition(".")[0])
    return found


def page(home: Path) -> str:
    """The table. Raises: KeyError for a package that is not installed."""
    told: dict[str, str] = {}
    for folder in sorted(home.glob("*/lib/python*/site-packages")):
        told |= {key(d.metadata["Name"]): licence(d) for d in distributions(path=[str(folder)])}
    cpu, cuda = packages("cpu"), packages("cuda")
    rows = {name: (told[name], several) for name, several in cpu.items()}
    rows |= {name: (CUDA.get(name, NVIDIA), several) for name, several in cuda.items() if name not in cpu}
    lines = "".join(f"| {name} | {said} | {', '.join(several)} |\n" for name, (said, several) in sorted(rows.items()))
    return (
        "# Packages of engines' own environments\n\n"
        "Made by `scripts/environment_licences.py` from the installed packages; do not edit it by hand. The licence is what\n"
        "the package states about itself in its metadata, unless the row says otherwise. None of these is part of polydub or\n"
        "installed with it: `polydub engines install` fetches them, and they run in processes of their own. Those that matter\n"
        "most stand in [licences](../licences.md#engines-in-environments-of-their-own).\n\n"
        f"| package | licence | environments |\n|---|---|---|\n{lines}"
    )


def main(arguments: list[str]) -> int:
    """Writes the page, or compares it: 1 when it is stale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("environments", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the page is stale")
    options = parser.parse_args(arguments)
    text = page(options.environments)
    if options.check:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
