"""`polydub review`, as a person types it, on a small dub."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import FAKES, PROGRAM, SOURCE, TARGET, Call, Told, program

LINES = ("Hola a todos.", "Hasta pronto.")


@pytest.fixture(scope="session")
def reviewed_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the dub is made, once."""
    return tmp_path_factory.mktemp("reviewed-commands")


@pytest.fixture
def talk(polydub: Call, reviewed_place: Path, clip: Callable[..., Path], tmp_path: Path) -> Path:
    """The project of a dub of two lines, `Output/talk` in the folder of the test."""
    media = reviewed_place / "talk.mkv"
    if not media.exists():
        shutil.move(clip("talk", seconds=2.0), media)
        (reviewed_place / "talk.en.srt").write_text(SOURCE.replace("Hello", "ANNA: Hello").replace("See", "BOB: See"))
        (reviewed_place / "talk.es.srt").write_text(TARGET)
        texts = ("--transcript", reviewed_place / "talk.en.srt", "--translation", reviewed_place / "talk.es.srt")
        made = polydub("dub", media, "--to", "es", "--output", reviewed_place / "Output", *texts, *FAKES)
        assert made.status == 0, made.err
    shutil.copytree(reviewed_place / "Output", tmp_path / "Output")
    return tmp_path / "Output" / "talk"


def texts(polydub: Call) -> list[str]:
    return [row["text"] for row in polydub("review", "talk", "list", "--json").json["lines"]]


def test_the_project_or_the_action_may_come_first(polydub: Call, talk: Path) -> None:
    shown = polydub("review", "talk", "list")
    assert shown.status == 0
    for words in (("list", "talk"), ("talk",), (talk, "list"), ("talk", "--lang", "es", "list"), (talk / "dub.es.mkv", "list")):
        assert polydub("review", *words) == shown


def test_the_film_itself_names_its_project(polydub: Call, talk: Path, reviewed_place: Path, tmp_path: Path) -> None:
    assert polydub("review", reviewed_place / "talk.mkv", "list", "--json").json["project"] == "Output/talk"
    (tmp_path / "other.mkv").write_bytes(b"x")
    polydub("review", tmp_path / "other.mkv", "list").fails(2, "was not dubbed", "in Output there are: talk")


def test_a_table_fits_a_narrow_terminal(polydub: Call, talk: Path) -> None:
    long = "Una frase muy larga que no cabe en ninguna línea de un terminal estrecho, 日本語も入っています。"
    polydub("review", "talk", "edit", "1", long, "--no-render")
    shown = polydub("review", "talk", "list")
    head, first, second = shown.out.splitlines()
    assert head.split() == ["id", "time", "speaker", "status", "take", "rate", "text"]
    assert max(map(len, (head, first, second))) <= 80
    assert first.startswith(" 1  00:00.2  ANNA") or first.startswith("1  00:00.2  ANNA")
    assert "*" in first
    assert first.endswith("…")
    assert "1 line not rendered yet: polydub review talk render" in shown.err
    assert long in polydub("review", "talk", "list", "--wide").out


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--status", "approved"], ["2"]),
        (["--speaker", "anna"], ["1"]),
        (["--search", "HASTA"], ["2"]),
        (["--search", "hello"], ["1"]),
        (["--changed"], ["1"]),
        (["--status", "locked"], []),
        (["--speaker", "bob", "--search", "hola"], []),
    ],
)
def test_a_list_may_be_filtered(polydub: Call, talk: Path, filters: list[str], ids: list[str]) -> None:
    polydub("review", "talk", "approve", "2")
    polydub("review", "talk", "edit", "1", "Hola.", "--no-render")
    assert [row["id"] for row in polydub("review", "talk", "list", "--json", *filters).json["lines"]] == ids


def test_an_edit_speaks_one_line_and_makes_the_film_again(polydub: Call, talk: Path) -> None:
    film = (talk / "dub.es.mkv").read_bytes()
    told = polydub("review", "talk", "edit", "2", "Hasta luego, amigos.")
    assert told.status == 0, told.err
    assert told.out.strip() == "Output/talk/dub.es.mkv"
    assert "changed: text of line 2" in told.err
    assert (talk / "dub.es.mkv").read_bytes() != film
    assert texts(polydub) == [LINES[0], "Hasta luego, amigos."]
    assert sorted(p.name for p in (talk / "review").iterdir()) == ["2_v1.wav", "2_v2.wav"]


def test_a_program_learns_what_an_edit_did(polydub: Call, talk: Path) -> None:
    told = polydub("review", "talk", "edit", "2", "--text", "Hasta luego.", "--json").json
    assert told["change"]["lines"] == ["2"]
    assert told["rendered"] is True
    assert told["film"] == "Output/talk/dub.es.mkv"
    (line,) = told["lines"]
    assert (line["id"], line["text"], line["takes"], line["pending"]) == ("2", "Hasta luego.", [1, 2], False)


def test_edits_may_be_noted_and_rendered_at_once_later(polydub: Call, talk: Path) -> None:
    film = (talk / "dub.es.mkv").read_bytes()
    told = polydub("review", "talk", "edit", "1-2", "--rate", "1.2", "--pitch", "-2", "--no-render")
    assert told.status == 0
    assert not told.out
    assert "noted; make the film with: polydub review talk render" in told.err
    assert (talk / "dub.es.mkv").read_bytes() == film
    rows = polydub("review", "talk", "list", "--json").json["lines"]
    assert [(row["expression"]["rate"], row["pending"]) for row in rows] == [(1.2, True)] * 2
    assert polydub("review", "talk", "render").out.strip() == "Output/talk/dub.es.mkv"
    rows = polydub("review", "talk", "list", "--json").json["lines"]
    assert not any(row["pending"] for row in rows)


def test_what_was_set_is_taken_back(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "edit", "1", "Otra.", "--rate", "1.2", "--pitch", "1", "--no-render")
    polydub("review", "talk", "edit", "1", "--back", "text", "--back", "rate", "--no-render")
    (row, _) = polydub("review", "talk", "list", "--json").json["lines"]
    assert row["text"] == LINES[0]
    assert (row["expression"]["rate"], row["expression"]["pitch"]) == (1.0, 1.0)


def test_a_list_tells_which_take_is_in_the_film(polydub: Call, talk: Path) -> None:
    def heard() -> list[int | None]:
        return [row["heard"] for row in polydub("review", "talk", "list", "--json").json["lines"]]

    for text in ("Hasta luego.", "Hasta luego, amigos."):
        polydub("review", "talk", "edit", "2", text)
    assert heard() == [None, 3]
    polydub("review", "talk", "undo")
    assert heard() == [None, 2]
    assert "  v2  " in polydub("review", "talk", "list").out
    polydub("review", "talk", "edit", "2", "--back", "text")
    assert heard() == [None, 1]
    takes = [line for line in polydub("review", "talk", "show", "2").out.splitlines() if line.startswith("take")]
    assert [line.endswith(", in the film") for line in takes] == [True, False, False]


def test_a_start_alone_moves_a_line_with_the_end_that_was_set(polydub: Call, talk: Path) -> None:
    def times() -> tuple[float, float]:
        row = polydub("review", "talk", "show", "1", "--json").json
        return row["start"], row["end"]

    polydub("review", "talk", "time", "1", "0.2", "0.8", "--no-render")
    told = polydub("review", "talk", "time", "1", "1.1", "--no-render")
    assert (told.status, times()) == (0, (1.1, 1.7))
    polydub("review", "talk", "time", "1", "-", "1.9", "--no-render")
    assert times() == (1.1, 1.9)
    polydub("review", "talk", "time", "1", "--back", "--no-render")
    polydub("review", "talk", "time", "1", "0.4", "--no-render")
    assert polydub("review", "talk", "history", "--json").json["changes"][-1]["what"] == "start of line 1"


def test_an_emotion_is_one_that_is_known(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "edit", "1", "--emotion", "grumpy", "--no-render").fails(2, "no emotion", "angry")
    polydub("review", "talk", "edit", "1", "--emotion", "Furious", "--no-render")
    assert polydub("review", "talk", "show", "1", "--json").json["expression"]["emotion"] == "angry"


def test_what_is_to_be_typed_next_names_the_same_dub(polydub: Call, talk: Path) -> None:
    told = polydub("review", "talk", "edit", "1", "Otra.", "--no-render", "--lang", "es", "--output", "Output")
    assert "polydub review talk render --lang es --output Output" in told.err
    told = polydub("review", "talk", "list", "--lang", "es")
    assert "polydub review talk render --lang es" in told.err


def test_a_locked_line_is_shown_with_the_voice_that_says_it(polydub: Call, talk: Path) -> None:
    def voice() -> str:
        return polydub("review", "talk", "show", "2", "--json").json["voice"]

    before = voice()
    polydub("review", "talk", "lock", "2")
    assert polydub("review", "talk", "voice", "BOB", "another", "--no-render").status == 0
    assert voice() == before
    polydub("review", "talk", "unlock", "2")
    assert voice() == "another"


def test_a_text_may_come_from_stdin(polydub: Call, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("De la\ntubería.\n"))
    polydub("review", "talk", "edit", "1", "--text", "-", "--no-render")
    assert texts(polydub)[0] == "De la tubería."


def test_without_anything_to_change_nor_a_terminal_an_edit_says_how(polydub: Call, talk: Path) -> None:
    told = program("review", "talk", "edit", "1", cwd=talk.parents[1])
    told.fails(3, "nothing was given to change", 'edit 1 "Another text."')


def test_without_anything_to_change_the_editor_opens(polydub: Call, talk: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        f"#!{sys.executable}\nimport sys\np = sys.argv[-1]\nt = open(p).read()\nopen(p, 'w').write(t.replace('todos', 'ti'))\n"
    )
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    assert at_a_terminal(("review", "talk", "edit", "1", "--no-render"), talk.parents[1], EDITOR=str(editor)) == 0
    assert texts(polydub)[0] == "Hola a ti."


def at_a_terminal(words: tuple[str, ...], folder: Path, **environment: str) -> int:
    """The exit status of a command whose streams are a terminal."""
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen([*PROGRAM, *words], cwd=folder, env=os.environ | environment, start_new_session=True, **streams)
    os.close(theirs)
    ends = time.monotonic() + 120  # of a command that waits for somebody, or leaves a process that holds the terminal
    with os.fdopen(ours, "rb", buffering=0) as stream, contextlib.suppress(OSError):  # the other end is closed
        while select.select([stream], [], [], max(0.0, ends - time.monotonic()))[0] and stream.read(4096):
            pass
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        raise


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["edit", "9", "x"], 2, "there is no line 9"),
        (["edit", "1-2", "x"], 3, "several lines cannot say the same"),
        (["edit", "1", "x", "--text", "y"], 3, "given twice"),
        (["edit", "1", "--rate", "fast"], 3, "'fast' is no number"),
        (["edit", "1", "--rate", "9"], 2, "that cannot be set: expression.rate"),
        (["edit", "1", "--seed", "x"], 3, "not a valid integer"),
        (["edit", "1", "--seed", "-1"], 2, "that cannot be set: seed"),
        (["voice", "1"], 3, "which voice is meant"),
        (["time", "1"], 3, "when is the line to be heard"),
        (["time", "1", "soon"], 3, "'soon' is no time"),
        (["time", "1", "--by", "-9"], 3, "would begin before the film"),
        (["split", "1", "Hola."], 3, "has two texts"),
        (["merge", "1", "2"], 2, "not two of one speaker"),
        (["use", "1", "best"], 3, "'best' is no take"),
        (["use", "1", "3"], 2, "has no take 3"),
        (["voice", "EVE", "x"], 2, "nobody in this film is called EVE"),
        (["approve"], 3, "which lines are meant"),
        (["approve", "7-9"], 2, "there are no lines 7-9"),
        (["lock", "1", "--all"], 3, "which lines are meant"),
        (["unlock", "1"], 2, "line 1 is not locked"),
        (["undo"], 2, "nothing to undo"),
        (["redo"], 2, "nothing to redo"),
        (["show", "9"], 2, "there is no line 9"),
        (["diff", "--takes"], 3, "which takes"),
        (["play", "1", "--take", "4"], 2, "has no take 4"),
        (["export"], 3, "which file"),
        (["export", "talk.doc"], 3, "none of the endings"),
        (["import", "none.csv"], 2, "there is no file none.csv"),
        (["list", "--lang", "fr"], 3, "no dub in fr"),
        (["lst"], 3, "do you mean list?"),
    ],
)
def test_what_cannot_be_done_is_one_clear_sentence(polydub: Call, talk: Path, words: list[str], status: int, told: str) -> None:
    polydub("review", "talk", *words).fails(status, told)
    assert texts(polydub) == list(LINES)


def test_a_project_that_is_not_there_is_told_with_those_that_are(polydub: Call, talk: Path) -> None:
    polydub("review", "tlak", "list").fails(2, "there is no dub called tlak", "in Output there are: talk")


def test_of_several_languages_one_must_be_named(polydub: Call, talk: Path) -> None:
    (talk / "script.fr.json").write_text("{}")
    polydub("review", "talk", "list").fails(3, "es, fr", "--lang es")
    assert polydub("review", "talk", "list", "--lang", "Spanish").status == 0


def test_a_line_shows_everything_about_itself(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "edit", "2", "Hasta luego.", "--rate", "1.1")
    shown = polydub("review", "talk", "show", "2")
    for words in ("status:  draft", "speaker: BOB", "source:  See you soon.", "text:    Hasta luego.", "rate:    1.1",
                  "take v1: Hasta pronto.", "take v2: Hasta luego.", "Hasta pronto. -> Hasta luego."):  # fmt: skip
        assert words in shown.out
    facts = polydub("review", "talk", "show", "2", "--json").json
    assert [take["text"] for take in facts["versions"]] == ["Hasta pronto.", "Hasta luego."]
    assert facts["changed"]["text"] == ["Hasta pronto.", "Hasta luego."]


def test_a_line_shows_its_marks_and_what_became_of_them(polydub: Call, talk: Path) -> None:
    assert polydub("review", "talk", "edit", "1", "[angry] Hola [pause] a todos.").status == 0
    shown = polydub("review", "talk", "show", "1").out
    assert "marks:   angry, pause (not heeded: dub with --expressive text)\n" in shown
    told = polydub("review", "talk", "show", "1", "--json").json
    assert (told["marks"], told["spoken_as"]) == (["angry", "pause"], None)
    assert polydub("review", "talk", "show", "2", "--json").json["marks"] == []


def test_marks_of_a_given_translation_are_shown_with_how_they_were_said(
    polydub: Call, clip: Callable[..., Path], tmp_path: Path
) -> None:
    media = clip("acted", seconds=2.0)
    (tmp_path / "acted.es.srt").write_text(TARGET.replace("Hola", "[whisper] Hola"))
    (tmp_path / "acted.en.srt").write_text(SOURCE)
    texts = ("--transcript", tmp_path / "acted.en.srt", "--translation", tmp_path / "acted.es.srt")
    assert polydub("dub", media, "--to", "es", "--expressive", "text", *texts, *FAKES).status == 0
    told = polydub("review", "acted", "show", "1", "--json").json
    assert told["marks"] == ["whispering"]
    assert told["spoken_as"]["emotion"] == "whispering"
    shown = polydub("review", "acted", "show", "1").out
    assert "marks:     whispering\n" in shown
    assert "said with: rate 0.98, energy -3.5 dB, pitch range 0.806, whispering\n" in shown


def test_changes_are_shown_undone_and_done_again(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "edit", "1", "Uno.", "--no-render")
    polydub("review", "talk", "edit", "2", "Dos.", "--no-render")
    assert polydub("review", "talk", "diff", "2").out.splitlines() == [
        "line 2", "  text:", "    - Hasta pronto.", "    + Dos.",
    ]  # fmt: skip
    assert "undone: text of line 2" in polydub("review", "talk", "undo", "--no-render").err
    assert texts(polydub) == ["Uno.", LINES[1]]
    past = polydub("review", "talk", "history").out.splitlines()
    assert past[0].endswith("text of line 2  (undone)")
    assert past[1].endswith("text of line 1")
    assert polydub("review", "talk", "redo", "--no-render", "--json").json["done"] == "redone"
    assert texts(polydub) == ["Uno.", "Dos."]


def test_undoing_what_is_not_heard_makes_no_film(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "approve", "1")
    polydub("review", "talk", "lock", "2")
    assert [polydub("review", "talk", "undo", "--json").json["rendered"] for _ in range(2)] == [False, False]
    polydub("review", "talk", "edit", "1", "Hola.", "--no-render")
    assert polydub("review", "talk", "undo", "--json").json["rendered"] is True


def test_an_older_take_is_chosen_without_speaking(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "edit", "2", "Hasta luego.")
    told = polydub("review", "talk", "use", "2", "v1", "--json").json
    assert told["lines"][0]["text"] == LINES[1]
    assert told["lines"][0]["take"] == 1
    report = json.loads((talk / "report.es.json").read_text())
    assert {stage["name"]: stage["ran"] for stage in report["stages"]}.get("synthesize", 0) == 0


def test_takes_are_compared_by_what_can_be_measured(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "edit", "2", "Hasta luego, amigos de todo el mundo.")
    first, second = polydub("review", "talk", "diff", "2", "--takes", "1", "2", "--json").json["takes"]
    assert (first["text"], second["text"]) == (LINES[1], "Hasta luego, amigos de todo el mundo.")
    assert second["duration"] > first["duration"] > 0
    assert Path(second["file"]).is_file()
    assert -60 < first["loudness"] < 0
    shown = polydub("review", "talk", "diff", "2", "--takes").out
    assert "v1" in shown
    assert "review/2_v2.wav" in shown


def test_a_voice_is_given_to_a_line_or_to_a_speaker(polydub: Call, talk: Path) -> None:
    voice = polydub("review", "talk", "list", "--json").json["lines"][0]["voice"]
    polydub("review", "talk", "voice", "2", voice, "--no-render")
    (_, row) = polydub("review", "talk", "list", "--json").json["lines"]
    assert row["own_voice"] == voice
    polydub("review", "talk", "voice", "2", "--back", "--no-render")
    told = polydub("review", "talk", "voice", "BOB", voice, "--no-render", "--json").json
    assert told["change"]["what"] == "voice of BOB"


def test_a_change_with_which_no_film_can_be_made_is_kept_and_told(polydub: Call, talk: Path) -> None:
    told = polydub("review", "talk", "edit", "2", "Hasta luego.", "--media", "gone.mkv")
    told.fails(2, "the film gone.mkv is not there", "to take it back: polydub review talk undo")
    assert texts(polydub)[1] == "Hasta luego."
    assert polydub("review", "talk", "render").status == 0


def test_a_time_is_set_moved_and_taken_back(polydub: Call, talk: Path) -> None:
    def span() -> tuple[float, float, bool]:
        row = polydub("review", "talk", "list", "--json").json["lines"][0]
        return row["start"], row["end"], row["pinned"]

    polydub("review", "talk", "time", "1", "0:00.3", "1.1", "--no-render")
    assert span() == (0.3, 1.1, True)
    polydub("review", "talk", "time", "1", "--by", "-0.1", "--no-render")
    assert span() == (0.2, 1.0, True)
    polydub("review", "talk", "time", "1", "-", "0.9", "--no-render")
    assert span() == (0.2, 0.9, True)
    polydub("review", "talk", "time", "1", "--back", "--no-render")
    assert span() == (0.2, 1.0, False)


def test_a_line_is_split_and_made_one_again(polydub: Call, talk: Path) -> None:
    polydub("review", "talk", "split", "1", "Hola", "a todos.", "--no-render")
    assert texts(polydub) == ["Hola", "a todos.", LINES[1]]
    told = polydub("review", "talk", "merge", "1", "3", "--no-render", "--json").json
    assert told["change"]["what"] == "merge of lines 1 and 3"
    assert texts(polydub) == list(LINES)


def test_lines_are_approved_locked_and_unlocked_without_a_render(polydub: Call, talk: Path) -> None:
    def statuses() -> list[str]:
        return [row["status"] for row in polydub("review", "talk", "list", "--json").json["lines"]]

    told = polydub("review", "talk", "approve", "1-2", "--json").json
    assert told["rendered"] is False
    assert statuses() == ["approved", "approved"]
    polydub("review", "talk", "approve", "2", "--draft")
    polydub("review", "talk", "lock", "--all")
    assert statuses() == ["locked", "locked"]
    polydub("review", "talk", "edit", "1", "x").fails(2, "line 1 is locked")
    polydub("review", "talk", "unlock", "--all")
    assert statuses() == ["approved", "draft"]
    assert "nothing changed" in polydub("review", "talk", "unlock", "--all").err


def test_regen_tells_where_an_engine_says_the_same_each_time(polydub: Call, talk: Path) -> None:
    from polydub.engines import registry

    told = polydub("review", "talk", "regen", "1")
    if "seed" in registry.get("tts", "fake").info.features:
        assert told.status == 0
        assert polydub("review", "talk", "show", "1", "--json").json["takes"] == [1, 2]
    else:
        told.fails(3, "the same way each time")


def test_lines_go_out_and_come_back_in_one_change(polydub: Call, talk: Path, tmp_path: Path) -> None:
    assert polydub("review", "talk", "export", "talk.csv").out.strip() == "talk.csv"
    polydub("review", "talk", "export", "talk.csv").fails(2, "is there already", "--force")
    file = tmp_path / "talk.csv"
    file.write_text(file.read_text().replace("Hola", "Buenas").replace("Hasta", "¡Hasta"))
    polydub("review", "talk", "edit", "2", "Dos.", "--no-render")
    polydub("review", "talk", "lock", "1")
    tried = polydub("review", "talk", "import", "talk.csv", "--dry-run")
    assert "nothing would be changed" in tried.err
    assert "changed here as well" in tried.out
    assert "locked, so they stay" in tried.out
    polydub("review", "talk", "unlock", "1")
    told = polydub("review", "talk", "import", "talk.csv", "--no-render", "--json").json
    assert [(x["line"], x["field"], x["to"]) for x in told["taken"]] == [("1", "text", "Buenas a todos.")]
    assert [x["line"] for x in told["conflicts"]] == ["2"]
    polydub("review", "talk", "import", "talk.csv", "--no-render", "--force")
    assert texts(polydub) == ["Buenas a todos.", "¡Hasta pronto."]
    polydub("review", "talk", "undo", "--no-render")
    assert texts(polydub) == ["Buenas a todos.", "Dos."]


def test_takes_go_out_as_files(polydub: Call, talk: Path) -> None:
    assert "no takes yet" in polydub("review", "talk", "export", "--takes").err
    polydub("review", "talk", "edit", "2", "Hasta luego.")
    shutil.rmtree(talk / "review")
    shown = polydub("review", "talk", "export", "--takes").out.split()
    assert shown == ["Output/talk/review/2_v1.wav", "Output/talk/review/2_v2.wav"]
    assert all(Path(name).is_file() for name in shown)


def players(folder: Path, monkeypatch: pytest.MonkeyPatch, **names: str) -> None:
    """The only programs that there are: shell scripts of these names."""
    folder.mkdir()
    for name, script in names.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_line_is_played_by_what_the_machine_has(
    polydub: Call, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = tmp_path / "heard"
    dumb = 'echo "audio open failed" >&2'
    players(tmp_path / "bin", monkeypatch, ffplay=dumb, mpv="exit 2", aplay=f'for last; do :; done; echo "$last" > {heard}')
    told = polydub("review", "talk", "play", "2", "--json").json
    assert told["player"] == "aplay"
    assert heard.read_text().strip() == str(Path(told["file"]).absolute())


@pytest.mark.parametrize(("options", "seconds"), [([], None), (["--original"], 1.05), (["--take", "1"], None)])
def test_where_nothing_can_play_the_sound_is_a_file(
    polydub: Call, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], seconds: float | None
) -> None:
    polydub("review", "talk", "edit", "2", "Hasta luego.")
    players(tmp_path / "bin", monkeypatch)
    told = polydub("review", "talk", "play", "2", *options)
    assert told.status == 0, told.err
    assert "nothing here could play it" in told.err
    length = sound_s(Path(told.out.strip()))
    assert length == pytest.approx(seconds, abs=0.05) if seconds else length > 0.2


def sound_s(file: Path) -> float:
    import soundfile

    return soundfile.info(file).duration


def test_a_sound_may_be_written_to_a_file_of_ones_own(polydub: Call, talk: Path, tmp_path: Path) -> None:
    assert polydub("review", "talk", "play", "1", "--out", "mine.wav").out.strip() == "mine.wav"
    assert sound_s(tmp_path / "mine.wav") > 0.2


def test_help_shows_the_project_before_the_action(polydub: Call) -> None:
    shown: Told = polydub("review", "talk", "edit", "--help")
    assert shown.out.startswith("Usage: polydub review PROJECT edit [OPTIONS] ID [TEXT]")
    assert polydub("review", "--help").out == polydub("review", "talk", "--help").out
