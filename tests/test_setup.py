"""What `make env` installs from, and that everything in it is listed with its licence."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def packages(lock: Path) -> set[str]:
    """Names pinned in a requirements file."""
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock.read_text(), flags=re.MULTILINE))


def listed(title: str = "## Python packages of the core") -> set[str]:
    """Packages in a table of docs/licences.md."""
    table = (ROOT / "docs/licences.md").read_text().split(title)[1].split("###")[0]
    return set(re.findall(r"^\| ([a-z0-9._-]+) \| [^|]+ \| [^|]+ \|$", table, flags=re.MULTILINE)) - {"package"}


def test_every_core_package_is_listed_with_its_licence_and_no_other() -> None:
    core = packages(ROOT / "requirements/core.txt")
    assert listed() == core
    assert listed("### The extra `polydub[server]`") == packages(ROOT / "requirements/server.txt") - core


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_every_package_is_pinned_with_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    blocks = re.split(r"^(?=\S+==)", "".join(ln for ln in text.splitlines(True) if not ln.startswith("#")), flags=re.MULTILINE)
    assert packages(lock)
    assert all("--hash=sha256:" in block for block in blocks if block.strip())
    assert not re.search(r"://|--(extra-)?index|--find-links|^-", text, flags=re.MULTILINE)


def test_the_core_needs_no_torch() -> None:
    assert not packages(ROOT / "requirements/core.txt") & {"torch", "tensorflow", "jax"}


def test_make_lists_its_targets() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {"env", "demo", "test", "check", "bench", "docs"} <= set(re.findall(r"^  make ([a-z-]+)", shown, flags=re.MULTILINE))


def test_missing_system_packages_are_a_note_and_no_failure() -> None:
    environment = {"PATH": "", "POLYDUB_NO_APT": "1"}
    ran = subprocess.run(
        ["/bin/sh", "scripts/system-packages.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0
    assert "note: " in ran.stderr
    assert "apertium-eng-spa" in ran.stderr
