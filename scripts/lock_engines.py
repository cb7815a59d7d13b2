"""Writes the locks of engines' own environments: requirements/engines/NAME.in -> src/polydub/engines/locks/NAME.VARIANT.txt.

    python scripts/lock_engines.py [NAME...] [--variant cpu|cuda] [--check] [--upgrade] [--find-links FOLDER]

A line `# variants: cpu` in NAME.in leaves the others out; NAME.VARIANT.in, where there is one, stands in for NAME.in.
NAME.overrides, where there is one, is what uv calls overrides. In the variant cpu a pin of torch means PyTorch's build
without CUDA, such as torch==2.13.0+cpu: uv needs PyTorch's index of such builds, or --find-links with a folder of them.
Versions that a lock already names are kept unless --upgrade is given. Needs uv (of the development environment).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES, LOCKS = ROOT / "requirements/engines", ROOT / "src/polydub/engines/locks"
VARIANTS = ("cpu", "cuda")
FLAGS = "--quiet --generate-hashes --python-version 3.11 --python-platform linux --no-annotate --no-header --no-emit-index-url"
HEADER = "# {name}, variant {variant}: made by scripts/lock_engines.py from requirements/engines/{source}\n"
TORCH = re.compile(r"^(torch==[0-9.]+)(?=\s|;|$)", re.MULTILINE)


def source_of(name: str, variant: str) -> Path:
    """The requirements of a variant."""
    own = SOURCES / f"{name}.{variant}.in"
    return own if own.exists() else SOURCES / f"{name}.in"


def variants(name: str) -> list[str]:
    """The variants that an environment has."""
    said = re.search(r"^# variants: (.+)$", source_of(name, "cpu").read_text(), re.MULTILINE)
    return [v for v in VARIANTS if not said or v in said[1].split()]


def names() -> list[str]:
    """All environments."""
    return sorted({path.name.partition(".")[0] for path in SOURCES.glob("*.in")})


def lock(name: str, variant: str, known: Path, given: argparse.Namespace) -> str:
    """The text of a lock; versions in the file `known` are kept. Raises: SystemExit with what uv says."""
    source = source_of(name, variant)
    wanted = source.read_text()
    if variant == "cpu":
        wanted = TORCH.sub(r"\1+cpu", wanted)
    with tempfile.TemporaryDirectory() as scratch:
        read, made = Path(scratch) / "wanted.in", Path(scratch) / "made.txt"
        read.write_text(wanted)
        if known.exists() and not given.upgrade:
            shutil.copy(known, made)
        extra = ["--find-links", given.find_links] if given.find_links else []
        overrides = SOURCES / f"{name}.overrides"
        extra += ["--overrides", str(overrides)] if overrides.exists() else []
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        if uv is None:
            sys.exit("uv is not here; it comes with the development environment (make env-dev)")
        command = [uv, "pip", "compile", *FLAGS.split(), *extra, str(read), "-o", str(made)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(f"{name}, variant {variant}: uv cannot resolve it\n{run.stderr[-3000:]}")
        pins = [line for line in made.read_text().splitlines(keepends=True) if not line.startswith(("#", "-"))]
    return HEADER.format(name=name, variant=variant, source=source.name) + "".join(pins)


def main() -> int:
    """0 = all as it should be; 1 = --check found a lock that is not what its requirements say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names(), []])
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a lock is old")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument("--find-links", metavar="FOLDER", help="a folder of further wheels")
    given = parser.parse_args()
    old: list[str] = []
    for name in given.names or names():
        for variant in [v for v in variants(name) if given.variant in (None, v)]:
            file = LOCKS / f"{name}.{variant}.txt"
            made = lock(name, variant, file, given)
            if made == (file.read_text() if file.exists() else ""):
                continue
            if given.check:
                old.append(str(file.relative_to(ROOT)))
            else:
                LOCKS.mkdir(exist_ok=True)
                file.write_text(made)
                print(file.relative_to(ROOT))
    if old:
        print(f"old: {', '.join(old)}; make them anew with: python scripts/lock_engines.py", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
