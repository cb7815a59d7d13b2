"""`polydub models`: programs of their own, with an engine that a package outside polydub brings."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import PROGRAM, Told, interrupt, program, start

from web_origin import Origin, digest, serving

CONTENT = bytes(range(256)) * 400
MODULE = """
from polydub.engines.base import READY, Engine, Info, Options, Weight, WeightFile

def weights(options):
    for name, free in (("toy-free", True), ("toy-paid", False)):
        file = WeightFile("toy.bin", "{sha256}", {length}, "{address}/toy.bin")
        yield Weight(name, "1", "files", "MIT" if free else "CC-BY-NC-4.0", free, (file,))

INFO = Info("embedding", "toy", "A toy.", "MIT", "https://example.org")
INFO2 = Info("embedding", "loose", "A toy that is not pinned.", "MIT", "https://example.org")
LOOSE = Weight("toy-loose", "", "hub:Some/Loose", "MIT", True, patterns=("*.bin",), about_bytes=3100000000,
               languages=("en", "es"))
SECOND = Engine(INFO2, Options, load=None, check=lambda options: READY, languages=lambda options: None,
                weights=lambda options: (LOOSE,))
ENGINE = Engine(INFO, Options, load=None, check=lambda options: READY, languages=lambda options: None, weights=weights)
"""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as running:
        running.files["/toy.bin"] = CONTENT
        yield running


@pytest.fixture
def folder(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder; "toy-free" and "toy-paid" are in the catalogue, models are kept in `models` of it."""
    site = tmp_path / "site"
    facts = site / "toy-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[polydub.embedding]\ntoy = toy_engine:ENGINE\nloose = toy_engine:SECOND\n")
    text = MODULE.format(sha256=digest(CONTENT), length=len(CONTENT), address=origin.address)
    (site / "toy_engine.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("POLYDUB_MODELS", str(tmp_path / "models"))
    return tmp_path


@pytest.fixture
def pulled(folder: Path) -> Path:
    """The folder of toy-free, pulled."""
    assert polydub(folder, "pull", "toy-free").status == 0
    return folder / "models/toy-free"


def polydub(folder: Path, *arguments: str) -> Told:
    return program("models", *arguments, cwd=folder)


def test_the_list_tells_size_licence_user_and_whether_it_is_here(folder: Path, pulled: Path) -> None:
    head, *rows = polydub(folder, "list").out.splitlines()
    assert head.split()[0] == "MODEL"
    loose, free, paid = (row for row in rows if row.startswith("toy-"))
    assert " ".join(loose.split()) == "toy-loose about 3.1 GB MIT yes en, es newest at pull no embedding loose"
    assert free.split() == ["toy-free", "102", "kB", "MIT", "yes", "any", "yes", "yes", "embedding", "toy", str(pulled)]
    assert paid.split() == ["toy-paid", "102", "kB", "CC-BY-NC-4.0", "no", "any", "yes", "no", "embedding", "toy"]
    assert any(row.startswith("faster-whisper-small ") for row in rows)


def test_the_list_is_there_for_machines(folder: Path, pulled: Path) -> None:
    rows = {row["id"]: row for row in polydub(folder, "list", "--json").json}
    assert rows["toy-free"] == {
        "id": "toy-free",
        "bytes": len(CONTENT),
        "licence": "MIT",
        "commercial_use": True,
        "revision": "1",
        "pinned": True,
        "source": "files",
        "languages": [],
        "path": str(pulled),
        "engines": ["embedding toy"],
    }
    assert rows["toy-paid"]["path"] is None


def test_pull_tells_licence_and_progress_on_stderr_and_the_folder_on_stdout(folder: Path) -> None:
    told = polydub(folder, "pull", "toy-free")
    assert (told.status, told.out) == (0, f"{folder / 'models/toy-free'}\n")
    assert told.err.startswith("toy-free, 102 kB, MIT\ntoy-free: done in ")
    assert (folder / "models/toy-free/toy.bin").read_bytes() == CONTENT


def test_the_folder_of_models_can_be_chosen(folder: Path) -> None:
    told = polydub(folder, "pull", "toy-free", "--models", "elsewhere", "--json")
    assert [(row["id"], row["path"]) for row in told.json] == [("toy-free", "elsewhere/toy-free")]
    assert (folder / "elsewhere/toy-free/toy.bin").exists()


def test_a_licence_without_commercial_use_has_to_be_agreed_to(folder: Path, origin: Origin) -> None:
    polydub(folder, "pull", "toy-paid").fails(3, "CC-BY-NC-4.0", "nobody agreed", "--accept-licence")
    assert origin.asked == []
    assert polydub(folder, "pull", "toy-paid", "--accept-licence").status == 0
    assert (folder / "models/toy-paid/toy.bin").exists()


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 3)])
def test_a_person_is_asked_for_it(folder: Path, answer: str, status: int) -> None:
    command = [*PROGRAM, "models", "pull", "toy-paid"]
    ran = subprocess.run(command, cwd=folder, input=answer, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == status
    assert "toy-paid must not be used commercially (CC-BY-NC-4.0). Do you agree?" in ran.stderr
    assert (folder / "models/toy-paid").exists() == (status == 0)


def test_a_wrong_name_is_answered_with_the_nearest_before_anything_is_fetched(folder: Path, origin: Origin) -> None:
    polydub(folder, "pull", "toy-free", "toy-fre").fails(3, "there is no model 'toy-fre'", "did you mean toy-free")
    assert origin.asked == []


def test_offline_is_refused(folder: Path, origin: Origin) -> None:
    polydub(folder, "pull", "toy-free", "--offline").fails(3, "toy-free is not here, and --offline forbids")
    told = polydub(folder, "pull", "toy-paid", "--offline")
    told.fails(3, "toy-paid is not here, and --offline forbids")
    assert "agree" not in told.err
    assert origin.asked == []


def test_a_server_that_has_it_not_is_one_sentence(folder: Path, origin: Origin) -> None:
    origin.files.clear()
    polydub(folder, "pull", "toy-free").fails(4, "127.0.0.1 has no toy.bin of toy-free (404)")


def test_verify_finds_damage_and_says_what_mends_it(folder: Path, pulled: Path) -> None:
    good = polydub(folder, "verify")
    assert (good.status, good.out) == (0, "toy-free: ok\n")
    (pulled / "toy.bin").write_bytes(bytes(len(CONTENT)))
    bad = polydub(folder, "verify", "toy-free", "toy-paid")
    assert bad.status == 6
    assert bad.out == f"toy-free: damaged: {pulled / 'toy.bin'} holds other bytes than it should\ntoy-paid: not here\n"
    assert bad.err == "mend it with: polydub models pull toy-free\n"
    (pulled / "toy.bin").write_bytes(CONTENT[1:])
    rows = polydub(folder, "verify", "--json").json
    assert [(row["id"], row["state"], len(row["problems"])) for row in rows] == [("toy-free", "damaged", 1)]
    assert polydub(folder, "pull", "toy-free").status == 0
    assert polydub(folder, "verify").status == 0


def test_a_model_that_nobody_has_pinned_and_that_lies_there_by_hand_is_told_as_unchecked(folder: Path) -> None:
    place = folder / "models/toy-loose"
    place.mkdir(parents=True)
    (place / "model.bin").write_bytes(b"x")
    told = polydub(folder, "verify", "toy-loose")
    assert (told.status, told.out) == (
        0,
        "toy-loose: unchecked: it was put there by hand, and nobody has promised what it should hold\n",
    )


def test_verify_of_a_named_model_that_is_not_here_is_a_lack(folder: Path) -> None:
    told = polydub(folder, "verify", "toy-free")
    assert (told.status, told.out) == (4, "toy-free: not here\n")
    told = polydub(folder, "verify")
    assert (told.status, told.out, told.err) == (0, "", "no model is here\n")


def test_remove_deletes_the_model(folder: Path, pulled: Path) -> None:
    told = polydub(folder, "remove", "toy-free", "--json")
    assert told.status == 0
    assert told.json[0]["freed_bytes"] > len(CONTENT)
    assert not pulled.exists()
    polydub(folder, "remove", "toy-free").fails(3, "toy-free is not here")


def test_ctrl_c_keeps_what_has_come_and_the_next_pull_goes_on(folder: Path, origin: Origin) -> None:
    origin.piece_s = 0.05
    part = folder / "models/.partial/toy-free/toy.bin.part"
    process = start("models", "pull", "toy-free", cwd=folder)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 10_000):
        time.sleep(0.01)
    told, _ = interrupt(process)
    assert told.status == 130
    assert "Traceback" not in told.err
    kept = part.stat().st_size
    origin.piece_s = 0.0
    assert polydub(folder, "pull", "toy-free").status == 0
    assert origin.asked[-1][1]["range"] == f"bytes={kept}-"
