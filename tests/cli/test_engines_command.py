"""`polydub engines install|remove|test`: with engines that a package outside polydub brings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Told, program

MODULE = """
import os
from contextlib import contextmanager
from polydub.engines.base import READY, Engine, Environment, Info, Options
from polydub.errors import EngineFailed
from polydub.types import Audio, Voice

PARENT = os.getpid()

class Speech:
    def voices(self, language):
        return [Voice("toy", "only", language)]

    def synthesize(self, part):
        import numpy as np
        if os.environ.get("SECRET_OF_POLYDUB"):
            raise EngineFailed("it sees the environment")
        noise = np.random.default_rng(0).standard_normal((1, 16000))
        return Audio((0.1 * noise).astype(np.float32), 16000)

@contextmanager
def load(options, weights, device):
    print("a banner", flush=True)
    yield Speech()

@contextmanager
def broken(options, weights, device):
    os._exit(3)
    yield

def engine(name, environment, loads):
    info = Info("tts", name, "A toy.", "MIT", "https://example.org")
    return Engine(info, Options, loads, lambda options: READY, lambda options: frozenset({"es"}), environment=environment)

TOY = engine("toy", Environment("toys", "pydantic"), load)
BROKEN = engine("broken-toy", Environment("toys", "pydantic"), broken)
ABSENT = engine("absent-toy", Environment("absent", "no_such_module"), load)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three engines: of one the environment is not here, of two the running Python serves."""
    site = tmp_path / "site"
    facts = site / "toys-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    names = {"toy": "TOY", "broken-toy": "BROKEN", "absent-toy": "ABSENT"}
    rows = "".join(f"{name} = toy_engines:{value}\n" for name, value in names.items())
    (facts / "entry_points.txt").write_text(f"[polydub.tts]\n{rows}")
    (site / "toy_engines.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("POLYDUB_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("SECRET_OF_POLYDUB", "x")
    return tmp_path


def polydub(folder: Path, *arguments: str) -> Told:
    return program(*arguments, cwd=folder)


def test_the_table_says_which_environment_is_missing_and_what_mends_it(folder: Path) -> None:
    rows = {row["name"]: row for row in polydub(folder, "engines", "--json").json["engines"]}
    assert {name: rows[name]["status"] for name in ("toy", "broken-toy", "absent-toy")} == {
        "toy": "ready",
        "broken-toy": "ready",
        "absent-toy": "needs-environment",
    }
    assert (rows["toy"]["hint"], rows["absent-toy"]["hint"]) == ("", "polydub engines install absent-toy")
    assert rows["toy"]["languages"] == ["es"]


def test_doctor_looks_at_environments_and_works_their_engines_only_when_asked_to(folder: Path) -> None:
    quick = {row["name"]: row for row in polydub(folder, "doctor", "--json").json}
    assert (quick["tts toy"]["state"], quick["tts broken-toy"]["state"]) == ("ok", "ok")
    assert quick["tts toy"]["text"] == "ready; try it with: polydub doctor --deep"
    told = polydub(folder, "doctor", "--deep", "--json")
    deep = {row["name"]: row for row in told.json}
    assert (told.status, deep["tts broken-toy"]["state"]) == (4, "bad")
    assert deep["tts toy"]["text"].startswith("spoke 1.0 s in ")


def test_doctor_tells_which_environments_are_outdated_or_not_complete(folder: Path) -> None:
    made = folder / "environments/toys"
    (made / "bin").mkdir(parents=True)

    def told() -> dict[str, str]:
        return next(row for row in polydub(folder, "doctor", "--json").json if row["name"] == "environment toys")

    assert "interrupted" in told()["text"]
    (made / "bin/python").touch()
    facts = {"name": "toys", "variant": "cpu", "lock": "0" * 64}
    (made / "polydub.json").write_text(json.dumps(facts))
    assert (told()["state"], told()["text"]) == ("ok", "installed (cpu)"), "there is no lock to compare it with"


def test_an_engine_is_tried_in_its_own_process(folder: Path) -> None:
    told = polydub(folder, "engines", "test", "toy")
    assert told.status == 0 and told.out.startswith("ok       tts toy: spoke 1.0 s")


def test_engines_of_one_environment_are_tried_together_and_each_tells_how_it_went(folder: Path) -> None:
    told = polydub(folder, "engines", "test", "toys", "absent", "--json")
    assert told.status == 5
    rows = {row["name"]: row for row in told.json}
    assert {name: row["state"] for name, row in rows.items()} == {
        "tts toy": "ok",
        "tts broken-toy": "bad",
        "tts absent-toy": "missing",
    }
    assert "ended by itself with status 3" in rows["tts broken-toy"]["text"]
    assert polydub(folder, "engines", "test", "absent-toy").status == 4


def test_a_text_is_spoken_by_an_engine_in_its_own_process(folder: Path) -> None:
    told = polydub(folder, "speak", "Hola", "--to", "es", "--tts", "toy", "--out", "hola.wav")
    assert told.status == 0, told.err
    assert (folder / "hola.wav").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("install", "toyy"), 3, "toy"),
        (("install", "espeak-ng"), 3, "needs no environment"),
        (("remove", "toys"), 3, "is not here"),
        (("install", "toys"), 3, "no list of packages"),
        (("test", "zzzzzz"), 3, "polydub engines"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder: Path, words: tuple[str, ...], status: int, said: str) -> None:
    told = polydub(folder, "engines", *words)
    told.fails(status, said)


def test_what_an_interruption_left_can_be_removed(folder: Path) -> None:
    (folder / "environments/toys/bin").mkdir(parents=True)
    (folder / "environments/toys/bin/python").write_bytes(b"x" * 1000)
    (folder / "environments/toys/made-by-polydub").touch()
    told = polydub(folder, "engines", "remove", "toy", "--json")
    assert json.loads(told.out) == [{"name": "toys", "freed_bytes": 1000}]
    assert not (folder / "environments/toys").exists()
