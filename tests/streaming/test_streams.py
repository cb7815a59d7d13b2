"""Whole streams of small films with fake engines: what is played, what is remembered, what happens when something fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import FFMPEG, PLAIN, Streaming, cut_short, decoded, joined, packets, playlist, plays, until

from gated import installed
from polydub import config
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import BadInput, BadSettings, NoAudioTrack
from small_dubs import long_talk

LINES = long_talk(18.0, every_s=3.0)
pytestmark = pytest.mark.slow


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Callable[..., Streaming]:
    """`film(suffix=".mp4")` -> 18 s of a film with a translation."""

    def make(**options: Any) -> Streaming:
        return Streaming(tmp_path, clip("film", **({"seconds": 18.0, "suffix": ".mp4"} | options))).say(LINES)

    return make


def normal(made: Streaming, **settings: Any) -> Path:
    """The same film, dubbed as a whole."""
    values = {**PLAIN, "output": str(made.folder / "whole"), **settings, "stream": "off"}
    loaded = config.load(values, job=None, environ={}, cwd=made.folder, user_file=None)
    pool = EnginePool()
    (outcome,) = dub_film(Job(made.media, None, {"": made.folder / "film.es.srt"}), loaded, pool, Ears())
    pool.close()
    return outcome.film


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix != ".json"}


def test_a_stream_plays_from_begin_to_end_in_pieces_and_as_a_whole(film: Callable[..., Streaming]) -> None:
    made = film()
    told = made.stream(stream="final")
    shown = playlist(made.out / "index.m3u8")
    assert shown.ended
    assert shown.inits == ("init.mp4",)
    assert len(shown.files) == told.segments >= 3
    assert sum(shown.durations) == pytest.approx(18.0, abs=0.04)
    rows = made.manifest["segments"]
    assert [row["start"] for row in rows] == pytest.approx([sum(shown.durations[:n]) for n in range(len(rows))], abs=1e-3)
    everything = joined(made.out, shown.files)
    plays(everything)
    found = packets(everything)
    for kind in ("video", "audio"):
        steps = np.diff(found[kind].dts)
        assert steps.min() > 0
        assert steps.max() < 0.09, "there is a hole between two segments"
    assert sorted(found["video"].pts) == pytest.approx(sorted(packets(made.media)["video"].pts), abs=0.002)
    for n, row in enumerate(rows):
        chunk = made.out / row["chunk"]
        plays(chunk)
        own = packets(chunk)
        assert min(min(p.pts) for p in own.values()) == pytest.approx(0.0, abs=0.03)
        assert max(p.ends for p in own.values()) == pytest.approx(shown.durations[n], abs=0.05)
    assert told.film is not None
    plays(told.film)
    assert made.manifest["state"] == "finished"
    assert playlist(made.out / "subtitles.m3u8").durations == shown.durations


def test_the_whole_film_sounds_as_one_that_was_not_streamed(film: Callable[..., Streaming]) -> None:
    made = film()
    told = made.stream(stream="final")
    assert told.film
    whole = normal(made)
    streamed, dubbed = decoded(told.film), decoded(whole)
    assert len(streamed) == len(dubbed)
    assert abs(len(streamed) / 48_000 - 18.0) < 0.04
    likeness = float(streamed @ dubbed / np.sqrt((streamed @ streamed) * (dubbed @ dubbed)))
    assert likeness > 0.97, "lines lie elsewhere, or the sound is late"
    assert np.array_equal(streamed, decoded(joined(made.out, playlist(made.out / "index.m3u8").files)))
    level = 10 * np.log10((streamed @ streamed) / (dubbed @ dubbed))
    assert abs(level) < 1.0
    assert abs(made.manifest["loudness_lufs"] + 16) < 1.0


def test_nothing_clicks_where_pieces_meet(clip: Callable[..., Path], tmp_path: Path) -> None:
    made = Streaming(tmp_path, clip("film", seconds=18.0, suffix=".mp4", sound="sine")).say([])
    (tmp_path / "film.es.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHola.\n")
    made.stream(ducking_db=0)
    sound = decoded(joined(made.out, playlist(made.out / "index.m3u8").files))
    pieces = made.manifest["pieces"]
    assert len(pieces) > 2
    bend = np.abs(np.diff(sound, 2))
    usual = np.median([bend[n : n + 2400].max() for n in range(4 * 48_000, 16 * 48_000, 2400)])
    for piece in pieces[1:-1]:
        at = round(piece["end"] * 48_000)
        assert bend[at - 2400 : at + 2400].max() < 2.5 * usual


def test_a_second_run_makes_nothing_and_leaves_every_file(film: Callable[..., Streaming]) -> None:
    made = film()
    made.stream(stream="final")
    before = contents(made.out)
    again = made.stream(stream="final")
    assert again.called == 0
    assert contents(made.out) == before


def test_other_settings_make_another_stream(film: Callable[..., Streaming]) -> None:
    made = film()
    made.stream()
    first = contents(made.out)
    told = made.stream(chunk_seconds=8)
    assert told.segments < len([name for name in first if name.endswith(".m4s")])
    assert len(playlist(made.out / "index.m3u8").files) == len(list(made.out.glob("*.m4s")))


@pytest.mark.parametrize(
    "options",
    [{"picture": False, "suffix": ".wav"}, {"suffix": ".mkv", "channels": 1}, {"channels": 6, "suffix": ".mkv"}],
    ids=["sound alone", "mono", "5.1"],
)
def test_films_of_other_kinds_are_streamed_too(film: Callable[..., Streaming], options: Mapping[str, Any]) -> None:
    made = film(**options)
    made.stream(stream="final", format="mkv")
    shown = playlist(made.out / "index.m3u8")
    plays(joined(made.out, shown.files))
    assert sum(shown.durations) == pytest.approx(18.0, abs=0.05)
    plays(made.out / "stream.final.mkv")


@pytest.mark.parametrize("lengths", [{"picture_s": 5}, {"sound_s": 5}], ids=["the picture", "the sound"])
def test_segments_stay_short_when_the_picture_or_the_sound_ends_long_before_the_other(
    film: Callable[..., Streaming], lengths: Mapping[str, float]
) -> None:
    made = film()
    cut_short(made.media, **lengths)
    told = made.stream(stream="final")
    shown = playlist(made.out / "index.m3u8")
    assert sum(shown.durations) == pytest.approx(18.0, abs=0.06)
    assert shown.target == 6
    assert max(shown.durations) <= shown.target
    assert shown.inits == ("init.mp4",), "browsers refuse sound alone after sound and picture"
    everything = joined(made.out, shown.files)
    plays(everything)
    found = packets(everything)
    assert np.diff(found["audio"].dts) == pytest.approx(1024 / 48_000, abs=1e-4)
    assert found["audio"].ends == pytest.approx(18.0, abs=0.06)
    assert found["video"].ends == pytest.approx(18.0, abs=0.06), "the last picture stays"
    assert len(found["video"].pts) == len(set(found["video"].pts))
    for n, row in enumerate(made.manifest["segments"]):
        chunk = made.out / row["chunk"]
        plays(chunk)
        assert max(p.ends for p in packets(chunk).values()) == pytest.approx(shown.durations[n], abs=0.05)
    assert told.film is not None
    plays(told.film)
    assert len(decoded(told.film)) / 48_000 == pytest.approx(18.0, abs=0.06)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_picture_that_cannot_be_cut_is_promised_in_the_first_playlist(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]], suffix: str
) -> None:
    made = film()
    where = ["-force_key_frames", "0,2,4,13,15", "-g", "999", "-sc_threshold", "0", "-c:a", "copy"]
    rare = made.folder / f"rare{suffix}"
    subprocess.run([FFMPEG, "-v", "error", "-i", made.media, *where, rare], check=True)
    made.media = rare
    process = start(made, "--tts", f"gated,folder={made.folder}", environment=installed(made.folder, hold="4[.]$"))
    ended.append(process)
    until((made.out / "index.m3u8").exists, process)
    first = playlist(made.out / "index.m3u8")
    assert not first.ended
    (made.folder / "go").touch()
    assert process.wait(60) == 0
    shown = playlist(made.out / "index.m3u8")
    assert first.target == shown.target == 10
    assert max(shown.durations) == pytest.approx(9.0, abs=0.05)
    plays(joined(made.out, shown.files))


def test_what_cannot_be_streamed_is_said(film: Callable[..., Streaming], clip: Callable[..., Path], tmp_path: Path) -> None:
    made = film()
    with pytest.raises(BadSettings, match="--stretch-video"):
        made.stream(stretch_video=True)
    with pytest.raises(BadSettings, match="one language"):
        made.stream(to="es,fr")
    with pytest.raises(NoAudioTrack):
        Streaming(tmp_path, clip("mute", sound="none", seconds=3.0)).stream()
    (tmp_path / "text.mkv").write_text("no film at all")
    with pytest.raises(BadInput):
        Streaming(tmp_path, tmp_path / "text.mkv").stream()


def start(made: Streaming, *more: str, environment: Mapping[str, str] | None = None, **kinds: Any) -> subprocess.Popen[bytes]:
    """`polydub dub` in a process of its own."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in PLAIN.items() if name != "tts" and name != "to"]
    media = "-" if kinds.get("stdin") else str(made.media)
    command = [sys.executable, "-c", "from polydub.cli import main; main()", "dub", media, "--to", "es", *flags,
               "--output", str(made.folder / "out"), "--translation", str(made.folder / "film.es.srt"), *more]  # fmt: skip
    kinds = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | kinds
    with (made.folder / "err").open("wb") as told:
        return subprocess.Popen(command, env=environment, start_new_session=True, stderr=told, **kinds)


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that do not outlive a test."""
    several: list[subprocess.Popen[bytes]] = []
    yield several
    for process in several:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def test_the_first_segment_is_served_before_any_line_of_the_third_piece_is_spoken(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]]
) -> None:
    made = film()
    made.stream()  # to know which lines are in which piece
    third = made.manifest["pieces"][2]
    held = [text for start_s, _, text in LINES if third["start"] <= start_s < third["end"]]
    assert held
    for file in made.out.iterdir():
        file.unlink()
    pattern = "|".join(text.replace(".", "[.]") + "$" for text in held)
    environment = installed(made.folder, hold=pattern)
    process = start(made, "--tts", f"gated,folder={made.folder}", environment=environment)
    ended.append(process)
    asked = made.folder / "asked"
    until(lambda: asked.exists() and any(text in asked.read_text() for text in held), process)
    until((made.out / "index.m3u8").exists, process)
    shown = playlist(made.out / "index.m3u8")
    assert shown.files[0] == "segment_001.m4s"
    assert not shown.ended
    plays(joined(made.out, shown.files))
    plays(made.out / "chunk_001.mp4")
    assert made.manifest["state"] == "running"
    first = (made.out / "segment_001.m4s").read_bytes()
    (made.folder / "go").touch()
    assert process.wait(60) == 0
    assert (made.out / "segment_001.m4s").read_bytes() == first
    assert playlist(made.out / "index.m3u8").ended


def test_what_was_finished_before_a_failure_stays_playable_and_the_next_run_goes_on(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]]
) -> None:
    made = film()
    failing = LINES[3][2].replace(".", "[.]")
    environment = installed(made.folder, fail=failing + "$")
    process = start(made, "--tts", f"gated,folder={made.folder}", environment=environment)
    ended.append(process)
    assert process.wait(60) == 5
    assert "failed on purpose" in (made.folder / "err").read_text()
    told = made.manifest
    assert told["state"] == "failed"
    assert "failed on purpose" in told["error"]["message"]
    shown = playlist(made.out / "index.m3u8")
    assert shown.ended
    assert shown.files
    plays(joined(made.out, shown.files))
    before = {name: (made.out / name).read_bytes() for name in shown.files}
    (made.folder / "well").touch()
    (made.folder / "asked").unlink()
    again = start(made, "--tts", f"gated,folder={made.folder}", environment=environment)
    ended.append(again)
    assert again.wait(60) == 0
    asked = (made.folder / "asked").read_text()
    assert LINES[0][2] not in asked, "what was spoken is spoken again"
    assert {name: (made.out / name).read_bytes() for name in before} == before
    assert made.manifest["state"] == "finished"


def test_ctrl_c_ends_the_playlist_and_the_same_command_goes_on(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]]
) -> None:
    made = film()
    environment = installed(made.folder, hold=LINES[3][2].replace(".", "[.]") + "$")
    process = start(made, "--tts", f"gated,folder={made.folder}", environment=environment)
    ended.append(process)
    until((made.out / "index.m3u8").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    (made.folder / "go").touch()
    assert process.wait(60) == 130
    assert made.manifest["state"] == "stopped"
    shown = playlist(made.out / "index.m3u8")
    assert shown.ended
    plays(joined(made.out, shown.files))
    again = start(made, "--tts", f"gated,folder={made.folder}", environment=environment)
    ended.append(again)
    assert again.wait(60) == 0
    assert made.manifest["state"] == "finished"


def test_kill_9_leaves_a_list_that_never_gets_shorter_when_it_goes_on(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]]
) -> None:
    made = film()
    environment = installed(made.folder, hold=LINES[3][2].replace(".", "[.]") + "$")
    process = start(made, "--tts", f"gated,folder={made.folder}", environment=environment)
    ended.append(process)
    until(lambda: (made.out / "index.m3u8").exists() and len(playlist(made.out / "index.m3u8").files) > 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = playlist(made.out / "index.m3u8").files
    assert [s["file"] for s in made.manifest["segments"]][: len(before)] == list(before), (
        "the manifest knows what may be playing"
    )
    files = {name: (made.out / name).read_bytes() for name in before}
    (made.folder / "go").touch()
    again = start(made, "--tts", f"gated,folder={made.folder}", environment=environment)
    ended.append(again)
    ends = time.monotonic() + 120
    while again.poll() is None:
        assert time.monotonic() < ends, "it does not end"
        assert playlist(made.out / "index.m3u8").files[: len(before)] == before
        time.sleep(0.02)
    assert again.wait() == 0
    assert {name: (made.out / name).read_bytes() for name in before} == files


def test_a_film_through_a_pipe_leaves_nothing_but_the_stream(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]]
) -> None:
    made = film()
    source = subprocess.Popen(
        [FFMPEG, "-v", "error", "-i", made.media, "-c", "copy", "-f", "mpegts", "-"],
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    ended.append(source)
    process = start(made, "--tts", "fake", "--stream", "final", stdin=source.stdout)
    ended.append(process)
    assert process.wait(60) == 0, (made.folder / "err").read_text()
    out = made.folder / "out" / "stdin" / "stream"
    shown = playlist(out / "index.m3u8")
    assert sum(shown.durations) == pytest.approx(18.0, abs=0.06)
    plays(joined(out, shown.files))
    plays(out / "stream.final.mp4")
    assert len(decoded(out / "stream.final.mp4")) / 48_000 == pytest.approx(18.0, abs=0.06)
    assert not list((made.folder / "out" / "stdin").glob(".polydub-*"))
    assert not (made.folder / "out" / ".polydub" / "artifacts").exists()


def test_a_stream_that_fails_before_anything_is_made_leaves_no_folder(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]]
) -> None:
    made = film()
    (made.folder / "text").write_text("no film at all")
    with (made.folder / "text").open("rb") as text:
        process = start(made, "--tts", "fake", stdin=text)
    ended.append(process)
    assert process.wait(60) == 2
    assert not (made.folder / "out" / "stdin").exists()


def test_a_file_that_still_grows_is_streamed_as_it_comes(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    made = film()
    whole = tmp_path / "whole.mkv"
    subprocess.run([FFMPEG, "-v", "error", "-i", made.media, "-c", "copy", whole], check=True)
    data = whole.read_bytes()
    made.media = tmp_path / "growing.mkv"
    with made.media.open("wb") as writer:
        writer.write(data[: len(data) * 2 // 3])
        writer.flush()
        process = start(made, "--tts", "fake")
        ended.append(process)
        until((made.out / "index.m3u8").exists, process)
        assert not playlist(made.out / "index.m3u8").ended
        writer.write(data[len(data) * 2 // 3 :])
    assert process.wait(60) == 0
    shown = playlist(made.out / "index.m3u8")
    assert sum(shown.durations) == pytest.approx(18.0, abs=0.06)
    plays(joined(made.out, shown.files))


def test_the_manifest_is_whole_whenever_it_is_read(
    film: Callable[..., Streaming], ended: list[subprocess.Popen[bytes]]
) -> None:
    made = film()
    process = start(made, "--tts", "fake")
    ended.append(process)
    states = set[str]()
    ends = time.monotonic() + 120
    while process.poll() is None:
        assert time.monotonic() < ends, "it does not end"
        if (made.out / "manifest.json").exists():
            states.add(json.loads((made.out / "manifest.json").read_text())["state"])
        time.sleep(0.005)
    assert process.wait() == 0
    assert states <= {"running", "finished"}
    assert made.manifest["segments"][-1]["bytes"] == (made.out / made.manifest["segments"][-1]["file"]).stat().st_size
