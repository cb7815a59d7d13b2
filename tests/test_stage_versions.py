"""Results are remembered by stage and version, so a stage whose source changes needs a new version."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from polydub import stages
from polydub.work import Stage

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "stages.json"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stage_versions", ROOT / "scripts" / "stage_versions.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    importlib.sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def now(script: ModuleType) -> dict[str, dict[str, Any]]:
    return script.versions(ROOT / "src")


def test_no_stage_has_changed_without_a_new_version(script: ModuleType, now: dict[str, dict[str, Any]]) -> None:
    wrong = script.complaints(json.loads(GOLDEN.read_text(encoding="utf-8")), now)
    assert not wrong, "\n".join(wrong)


def test_the_golden_file_knows_every_stage(now: dict[str, dict[str, Any]]) -> None:
    modules = [importlib.import_module(f"polydub.stages.{found.name}") for found in pkgutil.iter_modules(stages.__path__)]
    alive = {thing.name: thing.version for module in modules for thing in vars(module).values() if isinstance(thing, Stage)}
    assert {name: row["version"] for name, row in now.items()} == alive
    assert len(alive) > 10


# does it notice?


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources to change."""
    shutil.copytree(ROOT / "src" / "polydub", tmp_path / "polydub", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(tree: Path, file: str, *change: tuple[str, str]) -> None:
    path = tree / "polydub" / file
    text = path.read_text(encoding="utf-8")
    for old, new in change:
        assert old in text, f"{file} has no {old!r}"
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def changed(script: ModuleType, tree: Path, now: dict[str, dict[str, Any]]) -> Callable[[], set[str]]:
    """Gives the stages that look another way in `tree`."""

    def compare() -> set[str]:
        after = script.versions(tree)
        return {name for name in now if now[name] != after[name]}

    return compare


def test_a_copy_has_the_same_hashes(changed: Callable[[], set[str]]) -> None:
    assert changed() == set()


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        (("stages/speak.py", "audio = tts.synthesize(part)", "audio = tts.synthesize(replace(part))"), {"synthesize"}),
        (("audio/limiter.py", "REACH = RATE_HZ // 50", "REACH = RATE_HZ // 40"), {"measure-block", "mix-block"}),
        (("audio/stretch.py", "def stretch(", "def stretch(\n    *,"), {"shape"}),
        (("media/mux.py", "+faststart", "+frag_keyframe"), {"mux"}),
        (("text/cues.py", "def close_gaps(", "def close_gaps(\n    *,"), {"subtitle"}),
        (("types.py", "FRAME = 1024", "FRAME = 2048"), {"extract", "measure-block", "mix-block"}),
    ],
)  # fmt: skip
def test_a_change_is_noticed_in_the_stages_it_reaches(
    tree: Path, changed: Callable[[], set[str]], now: dict[str, Any], change: tuple[str, str, str], stages: set[str]
) -> None:
    file, old, new = change
    edit(tree, file, (old, new))
    found = changed()
    assert found >= stages
    assert len(found) < len(now) / 2, "a change in one place does not concern everything"


def test_comments_docstrings_formatting_and_moved_imports_do_not_count(tree: Path, changed: Callable[[], set[str]]) -> None:
    edit(
        tree,
        "stages/speak.py",
        ('"""One take, trimmed at both ends', '"""Another docstring'),
        ("    audio = tts.synthesize(part)\n", "    # a comment\n    audio = tts.synthesize(\n        part\n    )\n"),
        ("from zlib import crc32\n", ""),
        ("from polydub.work import Work", "from zlib import crc32\nfrom polydub.work import Work"),
    )
    assert changed() == set()


def test_a_changed_stage_is_told_to_raise_its_version(script: ModuleType, tree: Path, now: dict[str, dict[str, Any]]) -> None:
    edit(tree, "stages/speak.py", ("audio = tts.synthesize(part)", "audio = tts.synthesize(replace(part))"))
    (told,) = script.complaints(now, script.versions(tree))
    assert "stage synthesize" in told
    assert "raise it to" in told
    assert "@stage(...)" in told
    edit(tree, "stages/speak.py", ('engine_stage("synthesize", "tts"', 'engine_stage("synthesize", "tts", version=77'))
    assert script.complaints(now, script.versions(tree)) == [
        "stage synthesize has another version: run scripts/stage_versions.py"
    ]


def test_new_and_lost_stages_are_told(script: ModuleType) -> None:
    one = {"a": {"version": 1, "source": "x"}}
    assert script.complaints({}, one) == ["stage a is new: run scripts/stage_versions.py"]
    assert script.complaints(one, {}) == ["stage a is gone: run scripts/stage_versions.py"]
