"""`make bench`: its sections are there, run with a small load within seconds, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[1] / "benchmarks" / "run.py"
SERVER = ("idle", "jobs", "shares", "speech", "uploads")


def command(work: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(RUN), "--repeats", "1", "--work", str(work), *arguments]


def at_work_in(folder: Path) -> list[int]:
    """Processes whose working folder is this one or inside it."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = (entry / "cwd").readlink()
        except OSError:
            continue  # it has ended
        if place.is_relative_to(folder):
            found.append(int(entry.name))
    return found


def nothing_works_in(folder: Path) -> bool:
    """Whether it comes to that within a minute: what is killed ends a little later."""
    end = time.monotonic() + 60
    while at_work_in(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not at_work_in(folder)


def test_help_lists_every_section_of_the_server_and_a_name_for_all_of_them(tmp_path: Path) -> None:
    told = subprocess.run(command(tmp_path, "--help"), capture_output=True, text=True, check=True).stdout
    words = told.replace(",", " ").replace(";", " ").split()
    assert set(SERVER) <= set(words) and f"server = {', '.join(SERVER)}" in " ".join(told.split())
    assert "--scale" in words


RENEW = """
from figures import fixed
from machine import here
from measures import Findings
from page import renewed

found = Findings()
for heading in ("Uploads", "Jobs"):
    found.add(heading, fixed("memory", "MB", [5.0], 7.0))
print(renewed(open(0).read(), found, {"machine": here(), "command": "bench"}), end="")
"""


def test_a_page_is_renewed_heading_by_heading_and_the_rest_of_it_stays() -> None:
    page = "# Figures\n\nHow.\n\n## Uploads\n\nold\n\n## Mixing\n\nkept\n\n## Where the time goes\n\nkept\n"
    done = subprocess.run([sys.executable, "-c", RENEW], cwd=RUN.parent, input=page, capture_output=True, text=True, check=True)
    headings = [line for line in done.stdout.splitlines() if line.startswith("#")]
    assert headings == ["# Figures", "## Uploads", "## Mixing", "## Jobs", "## Where the time goes"]
    assert "old" not in done.stdout and done.stdout.count("kept\n\n## ") == 1 and done.stdout.endswith("goes\n\nkept\n")
    assert done.stdout.count("| memory | 5.00 MB |  | <= 7 MB | yes |") == 2


def test_rows_that_were_not_measured_stay_under_a_heading_of_which_others_were() -> None:
    table = "| what | median (min .. max) | in Y | target | kept |\n|---|---:|---:|---|---|\n"
    rows = "| memory<br>of all | 9.00 MB |  | <= 7 MB | **no** |\n| speed | 3.00 s |  |  |  |\n"
    page = f"## Uploads\n\n{table}{rows}\nSpeed was measured elsewhere.\n\n## Where the time goes\n\nkept\n"
    for _ in range(2):  # the second time nothing is told twice
        done = subprocess.run(
            [sys.executable, "-c", RENEW], cwd=RUN.parent, input=page, capture_output=True, text=True, check=True
        )
        page = done.stdout
        uploads = page.partition("## Jobs")[0].splitlines()
        assert uploads[4:6] == ["| memory | 5.00 MB |  | <= 7 MB | yes |", "| speed | 3.00 s |  |  |  |"]
        assert uploads[6:8] == ["", "Speed was measured elsewhere."]
        assert [line[:21] for line in uploads if "easured on " in line] == ["memory: measured on 2"]


@pytest.mark.slow
def test_sections_of_the_server_run_with_a_small_load_and_leave_only_what_is_asked_for(tmp_path: Path) -> None:
    asked = ("--only", "uploads", "speech", "--scale", "0.02", "--json", str(tmp_path / "figures.json"))
    done = subprocess.run(command(tmp_path / "work", *asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["figures"]
    flat = [figure for group in figures.values() for figure in group]
    assert {group.split(",")[0] for group in figures} == {"Uploads to the server", "Speech through the server"}
    assert all(figure["median"] >= 0 and (figure["met"] is None) == (not figure["limits"]) for figure in flat)
    assert all(f"| {figure['name']}" in done.stdout for figure in flat)
    assert not (tmp_path / "work" / "run").exists() and nothing_works_in(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_leaves_neither_processes_nor_folders(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        command(tmp_path, "--only", "jobs"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as running:
        end = time.monotonic() + 120
        while len(seen := at_work_in(tmp_path)) < 2 and running.poll() is None and time.monotonic() < end:
            time.sleep(0.05)  # until there is a process besides it
        assert len(seen) >= 2
        os.kill(running.pid, how)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 130 and b"Traceback" not in said
    assert nothing_works_in(tmp_path) and not (tmp_path / "run").exists()
