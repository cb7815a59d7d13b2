"""Help, and what is wrong on the command line itself: status 3, one sentence, the nearest name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from command_line import Call, program

from polydub.cli.app import app


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    yield path, group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = {" ".join(path): command for path, command in commands(app)}


@pytest.mark.parametrize("name", ALL)
def test_the_help_of_every_command_names_every_flag_and_argument(polydub: Call, name: str) -> None:
    told = polydub(*name.split(), "--help")
    assert (told.status, told.err) == (0, "")
    assert told.out == polydub(*name.split(), "-h").out
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in told.out
            assert parameter.help, f"{parameter.opts[0]} has no help"
        else:
            assert parameter.make_metavar(click.Context(ALL[name])) in told.out


def test_dub_has_every_flag_of_the_issue() -> None:
    flags = {flag for parameter in ALL["dub"].params for flag in parameter.opts}
    wanted = (
        "--transcript --translation --from --to --mode --device --tts --mt --voice --max-rate --lufs --loudness --subs "
        "--subs-format --format --output --store --dry-run --json --offline --strict --jobs --verbose --debug"
    )
    assert set(wanted.split()) <= flags


def test_flags_of_earlier_tools_are_not_shown(polydub: Call) -> None:
    assert "--tgt-lang" not in polydub("dub", "--help").out


def test_without_a_command_the_help_is_shown(polydub: Call) -> None:
    assert polydub().out.startswith("Usage: polydub")
    assert "show" in polydub("config").out


def test_the_version_is_told(polydub: Call) -> None:
    assert polydub("--version").out.startswith("polydub, version ")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("dubb", "a.mkv"), ("'dubb'", "dub")),
        (("dub", "a.mkv", "--transcrpt", "a.srt"), ("--transcript", "polydub dub --help")),
        (("dub",), ("FILE", "polydub dub --help")),
        (("mix", "a.mkv"), ("SPEECH",)),
        (("dub", "a.mkv", "--to"), ("--to",)),
        (("dub", "a.mkv"), ("--to es",)),
        (("dub", "a.mkv", "--to", "spansh"), ("'spansh'", "Spanish [es]")),
        (("dub", "a.mkv", "--to", "xx"), ("'xx'",)),
        (("dub", "a.mkv", "--to", "es", "--from", "englsh"), ("'englsh'", "English [en]")),
        (("dub", "a.mkv", "--to", "es", "--tts", "espeek"), ("'espeek'", "'espeak-ng'")),
        (("dub", "a.mkv", "--to", "es", "--mt", "apertum"), ("'apertum'", "'apertium'")),
        (("dub", "a.mkv", "--to", "es", "--mt", "openai,api_key=x"), ("secret", "POLYDUB_OPENAI_API_KEY")),
        (("dub", "a.mkv", "--to", "es", "--max-rate", "1.8"), ("max_rate", "at most 1.3")),
        (("dub", "a.mkv", "--to", "es", "--format", "mp5"), ("format", "'mkv' or 'mp4'", "did you mean mp4?")),
        (("dub", "a.mkv", "--to", "es", "--subs-format", "srt,vt"), ("subs_format", "vtt")),
        (("dub", "a.mkv", "--to", "es", "--jobs", "two"), ("jobs", "whole number")),
        (("dub", "a.mkv", "--to", "es", "--lufs", "nan"), ("lufs", "number")),
        (("dub", "a.mkv", "--to", "es", "--voice", "Anna"), ("SPEAKER=NAME",)),
        (("dub", "a.mkv", "--to", "es", "--job", "none.toml"), ("none.toml",)),
        (("dub", "a.mkv", "--to", "es", "--job", "bad.toml"), ("bad.toml", "damaged")),
        (("dub", "a.mkv", "--to", "es", "--job", "odd.toml"), ("moode", "did you mean mode?")),
        (("dub", "a.mkv", "--to", "es", "--asr", "whisper"), ("whisper", "faster-whisper")),
        (("dub", "a.mkv", "--to", "es", "--speakers", "4-2"), ("speakers", "2-4")),
        (("dub", "a.mkv", "--to", "es", "--diarization", "pyanote"), ("pyanote", "embedded, pyannote")),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, tuple) and value[0] == "dub" else None,
)
def test_what_is_typed_wrong_ends_with_status_3(polydub: Call, command: tuple[str, ...], words: tuple[str, ...]) -> None:
    Path("a.mkv").touch()
    Path("bad.toml").write_text("mode = ")
    Path("odd.toml").write_text('moode = "high"')
    polydub(*command).fails(3, *words)
    assert not Path("Output").exists()


def test_an_audio_track_that_is_not_there_is_named(polydub: Call, film: Path) -> None:
    command = ("dub", film.name, "--to", "es", "--tts", "fake", "--translation", "talk.es.srt")
    polydub(*command, "--audio-track", "2").fails(3, "no audio track 2")


def test_a_voice_that_is_not_there_is_named_with_the_nearest(polydub: Call, film: Path) -> None:
    command = ("dub", film.name, "--to", "es", "--tts", "espeak-ng", "--translation", "talk.es.srt")
    polydub(*command, "--voice", "SPEAKER_00=es+stef").fails(3, "stef", "steph")


def test_a_language_that_the_engine_lacks_is_named_with_those_it_has(polydub: Call, film: Path) -> None:
    command = ("dub", film.name, "--to", "ja", "--tts", "fake", "--mt", "apertium", "--transcript", "talk.en.srt")
    told = polydub(*command)
    assert told.status in (3, 4), "4 where Apertium is not installed"
    told.fails(told.status, "pertium")


def test_help_is_quick_because_nothing_heavy_is_imported(tmp_path: Path) -> None:
    told = program("--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert told.status == 0
    imported = {line.rpartition("|")[2].strip() for line in told.err.splitlines() if line.startswith("import time:")}
    heavy = {"numpy", "scipy", "pydantic", "av", "soundfile", "rich", "httpx", "sqlite3", "clarabel", "pysubs2", "asyncio"}
    assert "click" in imported
    assert not heavy & imported


@pytest.mark.parametrize("name", ["dub", "engines"])
def test_the_help_of_a_command_needs_no_numbers(tmp_path: Path, name: str) -> None:
    told = program(name, "--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in told.err.splitlines() if line.startswith("import time:")}
    assert not {"scipy", "av", "soundfile", "httpx", "clarabel"} & imported


def test_offline_forbids_an_engine_that_uses_the_network(polydub: Call, film: Path) -> None:
    service = "openai,base_url=http://127.0.0.1:9/v1,model=x"
    command = ("dub", film.name, "--to", "fr", "--tts", "fake", "--mt", service, "--transcript", "talk.en.srt")
    polydub(*command, "--offline").fails(3, "--offline forbids")
