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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polydub.report import model
from small_dubs import DIALOGUE, Dub, Film, long_talk, spoken_film

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("small_dubs.py")
SECONDS = 34.0  # two blocks


@dataclass(frozen=True)
class Case:
    """A dub that is killed: its settings, the stages at whose end, and at whose begin, that happens.

    A stage that waits for another begins when that one ends.
    """

    settings: Mapping[str, Any]
    ends: tuple[str, ...]
    begins: tuple[str, ...] = ()


CASES = {
    "given": Case(
        {"tts": "fake", "separation": "none"},
        (
            *("probe", "extract", "read-script", "number", "translate", "cast", "synthesize", "fit", "shape", "source-levels"),
            *("first-gain", "measure-block", "set-gain", "mix-block", "programme", "stem", "subtitle", "mux", "coding-loss"),
            *("recall-wordings", "learn-paces", "choose-wordings", "keep-voices"),
        ),
    ),
    "heard": Case(
        {"tts": "fake", "speakers": "2", "download": "no", "expressive": "source"},
        (
            "detect",
            "speech",
            "separate",
            "embed",
            "cluster",
            "identify",
            "transcribe",
            "sentences",
            "survey",
            "silence",
            "voiced",
            "mouths",
            "residue",
            "nonspeech",
            "prosody",
        ),
        ("detect", "separate", "embed", "transcribe"),
    ),
    "aligned": Case({"tts": "fake", "separation": "none", "subs_format": "srt,vtt", "word_times": True}, ("align",)),
    "pictured": Case(
        {
            "tts": "fake,chars_per_s=3",
            "mt": "fake,candidates=true",
            "separation": "none",
            "diarization": "none",
            "stretch_video": True,
            "max_slowdown": 2.0,
            "burn_in": "target",
        },
        ("wordings", "draft-fit", "slow-down", "retime", "burn", "drawable"),
    ),
    "lips": Case(
        {"tts": "fake", "separation": "none", "diarization": "none", "lip_sync": "fake,faces=fake"},
        (
            *("lip-index", "lip-cells", "find-faces", "lip-plan", "lip-sound", "lip-sync"),
            *("lip-parts", "lip-encode", "lip-join"),
        ),
    ),
    "cloned": Case(
        {"tts": "fake", "voice_mode": "clone", "speakers": "2", "separation": "none", "download": "no"}, ("reference",)
    ),
    "matched": Case(
        {"tts": "espeak-ng", "speakers": "2", "separation": "none", "download": "no"},
        ("portray", "audition", "near", "choose-voices"),
    ),
}
AT_ONCE = {"stock", "gauge", "rank"}  # over too soon to be killed apart from what is before and after them
MOMENTS = [(name, stage, "end") for name, case in CASES.items() for stage in case.ends]
MOMENTS += [(name, stage, "begin") for name, case in CASES.items() for stage in case.begins]
# Each of these waits for the one before it; the others run beside them.
ONE_AFTER_THE_OTHER = (
    *("probe", "read-script", "speech", "identify", "transcribe", "sentences", "number", "translate", "cast"),
    *("portray", "stock", "gauge", "choose-voices", "fit", "source-levels", "programme"),
)


def start(film: Film, case: str, *moment: str) -> subprocess.Popen[bytes]:
    settings = json.dumps(CASES[case].settings)
    return subprocess.Popen([sys.executable, str(PROGRAM), str(film.folder), settings, *moment], stderr=subprocess.PIPE)


def kill(film: Film, case: str, *moment: str) -> None:
    process = start(film, case, *moment)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Film]:
    """Films in which people talk; one has a transcript."""
    made: dict[str, Film] = {}
    for name, said, pause_s in (
        ("heard", DIALOGUE, 3.6),
        ("aligned", DIALOGUE[:2], 0.8),
        ("cloned", DIALOGUE[:4], 0.8),
        ("matched", DIALOGUE[:2], 0.8),
    ):
        folder = tmp_path_factory.mktemp(name)
        made[name] = Film(folder, folder / "film.mkv")
        cues = spoken_film(made[name].media, said, pause_s)
        if name == "aligned":
            made[name].say(cues)
    return made


@pytest.fixture
def films(clip: Callable[..., Path], spoken: Mapping[str, Film], tmp_path: Path) -> Mapping[str, Film]:
    """By case; that of "given" has lines that are sped up, slowed down and left alone, in two voices."""
    talk = [(a, b - n % 3 * 0.6, f"{'ANNA' if n % 2 else 'BOB'}: {text}") for n, (a, b, text) in enumerate(long_talk(SECONDS))]
    film = Film(tmp_path, clip("film", seconds=SECONDS)).say(talk)
    return {**spoken, "given": film, "pictured": film, "lips": film}


def copied(film: Film, folder: Path) -> Film:
    folder.mkdir()
    for path in (film.media, film.transcript):
        if path.exists():
            shutil.copy(path, folder)
    return Film(folder, folder / film.media.name)


@dataclass
class Undisturbed:
    """Dubs that nobody disturbed, by case, each made by another process when it is first asked for."""

    folder: Path
    made: dict[str, tuple[Dub, float]] = field(default_factory=dict[str, tuple[Dub, float]])

    def __call__(self, film: Film, case: str) -> tuple[Dub, float]:
        """The dub, and how many seconds it took."""
        if case not in self.made:
            own = copied(film, self.folder / case)
            began = time.monotonic()
            process = start(own, case)
            _, told = process.communicate(timeout=120)
            assert process.returncode == 0, told.decode()
            took = time.monotonic() - began
            self.made[case] = own.dub(CASES[case].settings), took
            known = AT_ONCE | {stage for _, stage, _ in MOMENTS}
            assert set(CASES[case].ends) <= set(self.made[case][0].ran) <= known, "every stage is killed in these tests"
        return self.made[case]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


def results(dub: Dub) -> dict[str, str]:
    """Hashes of everything that must be the same, by name."""
    apart = {"report.es.json", "report.es.html", "project.json", "job.log", ".lock", "edits.es.json"}  # they tell when
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


def finish(film: Film, other: Dub, case: str) -> Dub:
    """Starts it again, to its end; the result equals the other."""
    process = start(film, case)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()
    clean(film)
    dub = Dub(other.outcome, film.project)
    same(dub, other)
    return dub


@pytest.mark.parametrize(("case", "stage", "moment"), MOMENTS)
def test_killed_at_the_begin_or_end_of_a_stage_it_goes_on_to_the_same_bytes(
    films: Mapping[str, Film], undisturbed: Undisturbed, tmp_path: Path, case: str, stage: str, moment: str
) -> None:
    expected, _ = undisturbed(films[case], case)
    made = copied(films[case], tmp_path / "f")
    kill(made, case, stage, moment)
    assert not (made.project / "report.es.json").exists()
    ran = finish(made, expected, case).ran
    if stage in ONE_AFTER_THE_OTHER:
        before = ONE_AFTER_THE_OTHER[: ONE_AFTER_THE_OTHER.index(stage)]
        assert [name for name in before if ran.get(name)] == [], "what was finished before is not done again"
    dub = made.dub(CASES[case].settings)
    assert not dub.called
    same(dub, expected)


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(
    films: Mapping[str, Film], undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    case = "heard" if seed % 3 == 0 else "given"
    expected, took = undisturbed(films[case], case)
    dice = random.Random(seed)
    made = copied(films[case], tmp_path / "f")
    for _ in range(2):
        process = start(made, case)
        time.sleep(dice.uniform(0.2, 1.0) * took)
        process.kill()
        process.communicate(timeout=120)
    finish(made, expected, case)
    dub = made.dub(CASES[case].settings)
    assert not dub.called
    same(dub, expected)


@pytest.mark.parametrize("case", ["given", "heard"])
def test_killed_in_the_middle_of_an_edit_it_goes_on_to_the_same_bytes(
    films: Mapping[str, Film], tmp_path: Path, case: str
) -> None:
    made, other = copied(films[case], tmp_path / "f"), copied(films[case], tmp_path / "g")
    edits = {"version": 1, "items": {"lines": {"3": {"text": "[es] algo muy distinto y bastante largo"}}}}
    for each in (made, other):
        each.dub(CASES[case].settings)
        (each.project / "edits.es.json").write_text(json.dumps(edits), encoding="utf-8")
    for stage in ("synthesize", "fit", "mix-block", "mux"):
        kill(made, case, stage, "end")
    same(made.dub(CASES[case].settings), other.dub(CASES[case].settings))
    clean(made)
