"""Flags of earlier command lines mean what docs/migrating.md says, every one of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from polydub.cli import earlier
from polydub.cli.app import app
from polydub.cli.earlier import translated
from polydub.errors import BadSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
READ, SAME, REFUSED = (part.split("\n\n")[0] for part in re.split(r"^\|---\|---\|$", PAGE, flags=re.MULTILINE)[1:4])
ROWS = re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`|nothing: [^|]+) \|$", READ, flags=re.MULTILINE)
# As the specification lists what earlier command lines had.
EARLIER = re.findall(
    r"--[\w-]+",
    """--src-lang --tgt-lang --asr-model --mt-provider --tts-provider --batch --resume --no-translate --no-subs --subs-format
    --voice-mode --voice-ref-dir --emotion-mode --mix --separation --lufs-target --ducking --ducking-strength --limiter
    --timing-fit --pacing --wps --tolerance --pacing-min-stretch --pacing-max-stretch --min-stretch --max-stretch
    --timing-debug --voice-memory --voice-match-threshold --voice-auto-enroll --list-characters --rename-character
    --set-character-voice-mode --set-character-preset --lipsync --wav2lip-checkpoint --strict-plugins --expressive
    --expressive-strength --expressive-debug --realtime --chunk-seconds --chunk-overlap --overlap-seconds --stitch --stream
    --stream-output --dry-run --verbose --debug""",
)


def options() -> set[str]:
    command = app.get_command(click.Context(app), "dub")
    assert command is not None
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("flag", EARLIER)
def test_every_flag_of_earlier_tools_is_in_one_table_of_the_page(flag: str) -> None:
    tables = [bool(re.search(rf"^\| `{flag}[ `]", table, flags=re.MULTILINE)) for table in (READ, SAME, REFUSED)]
    assert sum(tables) == 1 or (flag in ("--subs-format", "--stream") and any(tables))


@pytest.mark.parametrize(("old", "new"), ROWS)
def test_a_flag_is_read_as_the_page_says(old: str, new: str) -> None:
    assert translated(["dub", "talk.mp4", *shlex.split(old), "--json"]) == ["dub", "talk.mp4", *shlex.split(new), "--json"]
    flag, _, value = old.partition(" ")
    if value and " " not in value and new:
        assert translated(["dub", f"{flag}={value}"]) == ["dub", *shlex.split(new)]
    assert {word for word in shlex.split(new) if word.startswith("--")} <= options()


def test_the_page_has_all_that_is_read_otherwise() -> None:
    known = {*earlier.RENAMED, *earlier.SWITCHES, *earlier.EITHER}
    assert {old.split()[0] for old, _ in ROWS} - {"--subs-format", "--stream"} == known


def test_flags_that_kept_their_name_are_flags() -> None:
    kept = set(re.findall(r"^\| `(--[a-z0-9-]+)` \|", SAME, flags=re.MULTILINE))
    assert len(kept) > 10 and kept <= options()


def test_what_is_gone_says_what_to_type() -> None:
    gone = set(re.findall(r"^\| `(--[a-z0-9-]+)` \|", REFUSED, flags=re.MULTILINE))
    assert gone == set(earlier.GONE)
    for flag in gone:
        with pytest.raises(BadSettings, match=f"there is no {flag}") as raised:
            translated(["dub", "talk.mp4", flag, "1"])
        assert "docs/migrating.md" in raised.value.hint
    for told in (["--limiter", "off"], ["--mix=simple"]):
        with pytest.raises(BadSettings, match="there is no"):
            translated(["dub", *told])


def test_the_commands_to_type_instead_are_there_with_their_options() -> None:
    typed = [hint.split() for _, hint in earlier.GONE.values() if hint.startswith("polydub ")]
    assert typed
    for _, *words in typed:
        command: click.Command | None = app
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None
        known = {name for option in command.params for name in option.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_a_stream_without_a_value_does_not_swallow_the_film() -> None:
    assert translated(["dub", "--stream", "talk.mp4"]) == ["dub", "--stream", "final", "talk.mp4"]
    assert translated(["dub", "--stream=segments", "talk.mp4"]) == ["dub", "--stream", "segments", "talk.mp4"]


def test_other_commands_and_what_follows_two_dashes_stay_as_they_are() -> None:
    assert translated(["speak", "--stream", "on"]) == ["speak", "--stream", "on"]
    assert translated(["dub", "--", "--no-subs"]) == ["dub", "--", "--no-subs"]
    assert translated([]) == []
