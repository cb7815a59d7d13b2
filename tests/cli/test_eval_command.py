"""`polydub eval`: what a person types and gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Call

from eval_projects import film, music, project, voice


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return project(tmp_path)


def test_a_project_is_judged_in_words(polydub: Call, place: Path) -> None:
    told = polydub("eval", place, "--lufs", "-18")
    assert told.status == 0
    assert "ok   picture unchanged: 150 pictures, 150 in the source, 0 different" in told.out
    assert "L1.integrated" in told.out
    assert told.out.rstrip().endswith("not measured (--verbose tells why)")


def test_the_card_is_json_on_stdout_and_a_page_is_written(polydub: Call, place: Path, tmp_path: Path) -> None:
    told = polydub("eval", place, "--json", "--html", tmp_path / "card.html")
    assert told.status == 0
    assert told.json["dub"] == "dub.es.mkv"
    assert told.json["reference"] == "film.mkv"
    assert any(model.startswith("silero") for model in told.json["models"])
    assert (tmp_path / "card.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "page: " in told.err


def test_a_failed_gate_is_a_verdict_and_an_exit_status_only_when_strict(polydub: Call, place: Path) -> None:
    lenient, strict = (polydub("eval", place, "--lufs", "-30", "--json", *more) for more in ((), ("--strict",)))
    assert lenient.json["passed"] is strict.json["passed"] is False
    assert (lenient.status, strict.status) == (0, 7)


def test_verbose_tells_what_was_not_measured_and_why(polydub: Call, place: Path) -> None:
    told = polydub("eval", place, "--verbose")
    assert "no recogniser was given: --asr" in told.out


def test_a_recogniser_is_used_and_named(polydub: Call, place: Path) -> None:
    told = polydub("eval", place, "--asr", "fake", "--asr-floor", "5", "--json")
    scores = {s["id"]: s for s in told.json["scores"]}
    assert "fake" in scores["T1.error"]["basis"]
    assert any(model.startswith("fake") for model in told.json["models"])


def test_a_recogniser_without_the_language_is_listed_and_not_run(polydub: Call, place: Path) -> None:
    told = polydub("eval", place, "--asr", "pocketsphinx", "--json")
    assert told.status == 0
    assert not any(s["id"] == "T1.error" for s in told.json["scores"])
    assert next(m["reason"] for m in told.json["missing"] if m["id"] == "T1")


def test_an_unknown_recogniser_is_an_error(polydub: Call, place: Path) -> None:
    polydub("eval", place, "--asr", "nobody").fails(3, "nobody")


def test_two_dubs_are_compared(polydub: Call, place: Path, tmp_path: Path) -> None:
    source, script = tmp_path / "film.mkv", place / "subs" / "film.es.srt"
    other = film(tmp_path / "other.mkv", voice(2, ((0.9, 1.9), (2.6, 5.4))) + music(), language="spa")
    options = ("--ref", source, "--script", script, "--lang", "es")
    told = polydub("eval", place / "dub.es.mkv", "--against", other, *options, "--html", tmp_path / "both.html")
    assert told.status == 0
    assert "L1.integrated" in told.out
    assert told.out.splitlines()[0].split() == ["first", "second", "change"]
    assert "comparison" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_an_earlier_result_can_stand_for_a_dub(polydub: Call, place: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(polydub("eval", place, "--json").out)
    told = polydub("eval", place, "--against", tmp_path / "card.json", "--json")
    assert told.status == 0
    assert {row["better"] for row in told.json["rows"]} <= {"equal", ""}
    assert told.json["total_difference"] in (0.0, None)


def test_runs_that_were_measured_differently_are_not_compared(polydub: Call, place: Path, tmp_path: Path) -> None:
    card = polydub("eval", place, "--json").json
    for score in card["scores"]:
        score["basis"] = score["basis"] and "another way"
    (tmp_path / "card.json").write_text(json.dumps(card))
    polydub("eval", place, "--against", tmp_path / "card.json").fails(3, "not measured the same way", "hint")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 3, ("which dub?",)),
        (("nowhere",), 2, ("nowhere is not there",)),
        (("nowhere.json",), 2, ("nowhere.json cannot be read",)),
        ((".",), 2, ("holds no dub",)),
    ],
)
def test_what_cannot_be_judged_is_told(polydub: Call, arguments: tuple[str, ...], status: int, words: tuple[str, ...]) -> None:
    polydub("eval", *arguments).fails(status, *words)


@pytest.mark.slow
def test_the_self_test_passes(polydub: Call) -> None:
    told = polydub("eval", "--selftest", "--json")
    assert told.status == 0
    assert all(check["passed"] for check in told.json)
