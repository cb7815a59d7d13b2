"""The checklist of OWASP ASVS is complete, and the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/asvs.md"
ROW = re.compile(
    r"^\| (\d+\.\d+\.\d+)(?: to (\d+\.\d+\.\d+))? \| ([12](?:-2)?) \| ([^|]+) \| ([^|]+) \| (.+) \|$", re.MULTILINE
)
STATES = {"met", "in part", "deployer", "n/a"}
LEVEL_2 = 253  # requirements of levels 1 and 2 in version 5.0.0
IN_RANGES = {"10.1.1": 27, "17.1.1": 7}  # those of levels 1 and 2 that a range stands for


def names_of_tests() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found |= set(re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    return found


def test_every_requirement_has_one_row_with_a_state_and_a_reason() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    ids = [row[0] for row in rows]
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids, key=lambda id_: tuple(map(int, id_.split("."))))
    assert sum(IN_RANGES.get(id_, 1) for id_ in ids) == LEVEL_2
    assert {row[4] for row in rows} <= STATES
    assert all(row[3].strip() and row[5].strip() for row in rows)


def test_what_is_met_is_shown_by_a_test() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert [row[0] for row in rows if row[4] == "met" and not re.search(r"`test_\w+`", row[5])] == []


def test_the_tests_it_names_are_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 90
    assert named - names_of_tests() == set()
