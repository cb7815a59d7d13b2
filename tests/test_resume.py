"""Killed at any moment and started again, a dub ends with the same bytes as one that nobody disturbed."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from polydub.report import model
from small_dubs import Dub, Film, long_talk

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("small_dubs.py")
SECONDS = 34.0  # two blocks
STAGES = (
    *(
        "probe",
        "extract",
        "read-script",
        "number",
        "translate",
        "cast",
        "synthesize",
        "fit",
        "shape",
        "source-levels",
        "first-gain",
    ),
    *("measure-block", "correction", "mix-block", "programme", "stem", "subtitle", "mux"),
)
# Each of these waits for the one before it; the others run beside them.
ONE_AFTER_THE_OTHER = ("probe", "read-script", "number", "translate", "cast", "fit", "source-levels", "programme")


def start(folder: Path, *moment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAM), str(folder), *moment], stderr=subprocess.PIPE)


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Film:
    """A film with lines that are sped up, slowed down and left alone, in two voices."""
    media = clip("film", seconds=SECONDS)
    talk = [(a, b - n % 3 * 0.6, f"{'ANNA' if n % 2 else 'BOB'}: {text}") for n, (a, b, text) in enumerate(long_talk(SECONDS))]
    return Film(tmp_path, media).say(talk)


def copied(film: Film, folder: Path) -> Film:
    folder.mkdir()
    for path in (film.media, film.transcript):
        shutil.copy(path, folder)
    return Film(folder, folder / film.media.name)


@pytest.fixture(scope="module")
def kept() -> list[tuple[Dub, float]]:
    """What is made once for all tests here."""
    return []


@pytest.fixture
def undisturbed(film: Film, kept: list[tuple[Dub, float]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Dub, float]:
    """A dub that nobody disturbed, made by another process, and how long that took."""
    if kept:
        return kept[0]
    made = copied(film, tmp_path_factory.mktemp("undisturbed") / "f")
    began = time.monotonic()
    process = start(made.folder)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()
    took = time.monotonic() - began
    kept.append((made.dub(), took))
    assert set(kept[0][0].ran) == set(STAGES), "every stage is killed in these tests"
    return kept[0]


def results(dub: Dub) -> dict[str, str]:
    """Hashes of everything that must be the same, by name."""
    apart = {"report.es.json", "report.es.html", "project.json", "job.log", ".lock"}
    files = [path for path in dub.project.rglob("*") if path.is_file() and path.name not in apart]
    return {path.relative_to(dub.project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(dub: Dub, other: Dub) -> None:
    found, expected = results(dub), results(other)
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name] != expected[name]} == set()
    reports = [model.outcome(model.Report.model_validate(one.report)) for one in (dub, other)]
    assert reports[0] == reports[1]
    for name in ("dub.es.mkv", "stems/dub.es.flac", "subs/film.es.srt", "script.es.json", "transcript.json", ".state.es.json"):
        assert name in found


def clean(film: Film) -> None:
    """Nothing half-made lies about, and what the store holds is what it says."""
    assert not list(film.project.rglob(".polydub-*"))
    store = film.out / ".polydub"
    assert [path.name for path in (store / "scratch").iterdir()] == ["lock"]
    for path in (store / "artifacts").rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def finish(film: Film, other: Dub) -> Dub:
    """Starts it again, to its end; the result equals the other; once more, and nothing is left to do."""
    process = start(film.folder)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()
    clean(film)
    dub = Dub(other.outcome, film.project)
    same(dub, other)
    return dub


@pytest.mark.parametrize("stage", STAGES)
def test_killed_when_a_stage_ends_it_goes_on_to_the_same_bytes(
    film: Film, undisturbed: tuple[Dub, float], tmp_path: Path, stage: str
) -> None:
    made = copied(film, tmp_path / "f")
    killed = start(made.folder, stage, "end")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (made.project / "report.es.json").exists()
    dub = finish(made, undisturbed[0])
    if stage in ONE_AFTER_THE_OTHER:
        before = ONE_AFTER_THE_OTHER[: ONE_AFTER_THE_OTHER.index(stage)]
        assert [name for name in before if dub.ran[name]] == [], "what was finished before is not done again"
    assert not made.dub().called
    same(dub, undisturbed[0])


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(
    film: Film, undisturbed: tuple[Dub, float], tmp_path: Path, seed: int
) -> None:
    expected, took = undisturbed
    dice = random.Random(seed)
    made = copied(film, tmp_path / "f")
    for _ in range(2):
        process = start(made.folder)
        time.sleep(dice.uniform(0.2, 1.0) * took)
        process.kill()
        process.communicate(timeout=120)
    dub = finish(made, expected)
    assert not made.dub().called
    same(dub, expected)


def test_killed_in_the_middle_of_an_edit_it_goes_on_to_the_same_bytes(
    film: Film, undisturbed: tuple[Dub, float], tmp_path: Path
) -> None:
    made, other = copied(film, tmp_path / "f"), copied(film, tmp_path / "g")
    edits = {"version": 1, "items": {"lines": {"3": {"text": "[es] algo muy distinto y bastante largo"}}}}
    for each in (made, other):
        each.dub()
        (each.project / "edits.es.json").write_text(json.dumps(edits), encoding="utf-8")
    for stage in ("synthesize", "fit", "mix-block", "mux"):
        killed = start(made.folder, stage, "end")
        killed.communicate(timeout=120)
        assert killed.returncode == -signal.SIGKILL
    same(made.dub(), other.dub())
    clean(made)


def test_with_real_speech_it_goes_on_to_the_same_bytes_too(film: Film, tmp_path: Path) -> None:
    made, other = copied(film, tmp_path / "f"), copied(film, tmp_path / "g")
    for stage in ("synthesize", "mix-block"):
        killed = start(made.folder, stage, "end", "espeak-ng")
        killed.communicate(timeout=120)
        assert killed.returncode == -signal.SIGKILL
    same(made.dub({"tts": "espeak-ng"}), other.dub({"tts": "espeak-ng"}))
    clean(made)
