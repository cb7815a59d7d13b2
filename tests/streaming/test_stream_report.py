"""The report that a stream leaves: a row for each line, as the report of a dub of the whole film has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streams import PLAIN, Streaming, until

from gated import installed
from polydub import config
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import BadInput
from polydub.review.finding import find_project
from polydub.review.reading import open_review
from polydub.streaming.report import Account, StreamReport
from polydub.streaming.segments import Manifest
from small_dubs import long_talk

LINES = long_talk(18.0, every_s=3.0)
TIMES = ("cue_start", "cue_end", "source_start", "source_end", "start")


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Streaming:
    """18 s of a film with a translation."""
    return Streaming(tmp_path, clip("film", seconds=18.0, suffix=".mp4")).say(LINES)


def report(made: Streaming) -> StreamReport:
    return StreamReport.model_validate_json((made.out / "report.es.json").read_text())


def dubbed(made: Streaming) -> Any:
    """The report of the same film, dubbed as a whole."""
    values = {**PLAIN, "output": str(made.folder / "whole"), "stream": "off"}
    loaded = config.load(values, job=None, environ={}, cwd=made.folder, user_file=None)
    pool = EnginePool()
    (outcome,) = dub_film(Job(made.media, None, {"": made.folder / "film.es.srt"}), loaded, pool, Ears())
    pool.close()
    return outcome.facts


@pytest.mark.slow
def test_the_lines_of_a_stream_are_reported_as_those_of_a_dub(film: Streaming) -> None:
    told = film.stream(stream="final")
    made, whole = report(film), dubbed(film)
    assert told.report == film.out / "report.es.json"
    assert made.state == "finished"
    assert len(film.manifest["pieces"]) > 2
    assert [(x.id, x.speaker, x.text) for x in made.lines] == [(x.id, x.speaker, x.text) for x in whole.lines]
    for mine, other in zip(made.lines, whole.lines, strict=True):
        for name in TIMES:
            assert getattr(mine, name) == pytest.approx(getattr(other, name), abs=0.3), name
    assert made.source == whole.source.model_copy(update={"duration": made.source.duration})
    assert made.source.duration == pytest.approx(18.0, abs=0.04)
    assert {x.kind for x in made.engines} >= {"tts"}
    assert made.loudness.after_lufs == film.manifest["loudness_lufs"]
    assert [(x.id, x.voice) for x in made.speakers] == [(x.id, x.voice) for x in whole.speakers]
    assert made.timing.lines == len(LINES)
    assert {x.path for x in made.outputs} == {"stream/stream.final.mp4", "stream/index.m3u8", "stream/manifest.json"}
    assert not list(film.out.glob("*.jsonl"))


@pytest.mark.slow
def test_a_stream_that_failed_reports_what_was_made_and_its_review_says_what_to_do(film: Streaming) -> None:
    (film.folder / "film.es.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHola.\n")
    film.stream()
    first = report(film)
    film.say(LINES).stream()
    assert len(report(film).lines) > len(first.lines) == 1, "the report is that of the stream before"
    with pytest.raises(BadInput, match="is a stream") as refused:
        open_review(find_project("film", film.folder / "out"))
    assert "report.es.json" in refused.value.hint


@pytest.mark.slow
def test_a_stream_that_was_killed_or_stopped_reports_what_can_be_played(film: Streaming, tmp_path: Path) -> None:
    environment = installed(tmp_path, hold=LINES[3][2].replace(".", "[.]") + "$")
    command = [sys.executable, "-c", "from polydub.cli import main; main()", "dub", film.media, "--to", "es", "--output"]
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in PLAIN.items() if name not in ("tts", "to")]
    flags += ["--translation", str(tmp_path / "film.es.srt"), "--tts", f"gated,folder={tmp_path}"]
    for number in (signal.SIGKILL, signal.SIGINT):
        rows = film.out / "report.es.jsonl"
        rows.unlink(missing_ok=True)
        process = subprocess.Popen(
            [*command, str(tmp_path / "out"), *flags], env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda rows=rows: rows.is_file() and bool(rows.read_text()), process)
            os.killpg(process.pid, number)
            if number == signal.SIGINT:
                (tmp_path / "go").touch()
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(60)
    made = report(film)
    assert made.state == film.manifest["state"] == "stopped"
    assert [x.text for x in made.lines] == [text for _, _, text in LINES][: len(made.lines)]
    assert made.lines
    assert made.source.duration == film.manifest["duration"]


def test_nothing_is_reported_of_a_stream_of_which_nothing_was_made(tmp_path: Path) -> None:
    (tmp_path / "report.fr.json").write_text("of another stream")
    nothing: Any = None
    Account(tmp_path, "es", nothing).close(Manifest("", "film.mkv", "es", state="failed"))
    assert not list(tmp_path.iterdir())
