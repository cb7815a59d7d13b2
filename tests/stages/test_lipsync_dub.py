"""Dubs with lips that move: what is changed and what is not, what happens when an engine fails, and what is done again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from polydub import config, finishing
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import BadSettings, EngineFailed, MissingProgram, StrictNotice
from polydub.types import Progress
from small_dubs import Cue, Dub, Film

pytestmark = pytest.mark.slow
Clip = Callable[..., Path]
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
LONG = "One two three four five six seven eight nine ten eleven."
FAKE = {"lip_sync": "fake,faces=fake", "separation": "none", "diarization": "none"}
TALK: tuple[Cue, ...] = ((0.6, 1.6, "Hello there."), (5.2, 6.2, "How are you?"))
GROUP = 25  # frames from key frame to key frame


@pytest.fixture
def film(clip: Clip, tmp_path: Path) -> Film:
    """Eight seconds of pictures, with a line in the first and in the sixth second."""
    return Film(tmp_path, clip("film", seconds=8.0)).say(TALK)


def frames(path: Path) -> list[str]:
    """Digests of the decoded frames of the first picture track."""
    command = [FFMPEG, "-nostdin", "-v", "error", "-i", path, "-map", "0:v:0"]
    told = subprocess.run(
        [*command, "-fps_mode", "passthrough", "-f", "framemd5", "-"], capture_output=True, text=True, check=True
    )
    assert told.stderr == ""
    return [row.split(",")[5].strip() for row in told.stdout.splitlines() if not row.startswith("#")]


def sound(path: Path) -> str:
    """Digest of the dub."""
    command = [
        FFMPEG,
        "-nostdin",
        "-v",
        "error",
        "-i",
        path,
        "-map",
        "0:a:0",
        "-c",
        "copy",
        "-f",
        "md5",
        "-",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def changed(dub: Dub, film: Film) -> set[int]:
    """The groups of pictures in which the dub's frames are other ones; it has as many as the film."""
    pairs = zip(frames(film.media), frames(dub.film), strict=True)
    return {n // GROUP for n, (a, b) in enumerate(pairs) if a != b}


def notices(dub: Dub) -> dict[str, str]:
    return {notice.code: notice.text for notice in dub.outcome.notices if notice.code.startswith(("lip", "picture", "no-pict"))}


def test_lips_move_where_the_dub_speaks_and_nothing_else_is_touched(film: Film) -> None:
    plain = film.dub({**FAKE, "lip_sync": "none"})
    untouched, heard = frames(plain.film), sound(plain.film)
    moved = film.dub(FAKE)
    assert notices(moved) == {}
    assert untouched == frames(film.media)
    assert changed(moved, film) == {0, 1, 5, 6}
    assert sound(moved.film) == heard
    assert moved.ran["lip-sync"] == 2


def test_in_mp4_too(film: Film) -> None:
    assert changed(film.dub({**FAKE, "format": "mp4"}), film) == {0, 1, 5, 6}


def test_a_finished_dub_does_nothing_again_and_a_fresh_one_has_the_same_bytes(film: Film) -> None:
    first = film.dub(FAKE).film.read_bytes()
    again = film.dub(FAKE)
    assert again.called == set()
    fresh = film.dub({**FAKE, "output": str(film.folder / "fresh")})
    assert fresh.outcome.film.read_bytes() == first == again.film.read_bytes()


def test_an_edited_line_moves_its_own_lips_again_and_no_others(film: Film) -> None:
    film.say(TALK, ["Hola a todos.", "Como estas?"]).dub(FAKE)
    again = film.say(TALK, ["Hola a todos.", "Como va eso?"]).dub(FAKE)
    assert (again.ran["lip-sync"], again.ran["find-faces"]) == (1, 0)
    assert again.ran["lip-encode"] <= 2
    assert changed(again, film) == {0, 1, 5, 6}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("crash", "ended with status 7: the mouth fell off"),
        ("nothing", "it wrote no video"),
        ("half", "frames for"),
        ("size", "it wrote a picture of 80x90, not 160x90"),
        ("hang", "took longer than 1 s"),
    ],
)
def test_an_engine_that_fails_leaves_the_picture_as_it_is(film: Film, fault: str, told: str) -> None:
    limit_s = 1 if fault == "hang" else 100
    dub = film.dub({**FAKE, "lip_sync": f"fake,faces=fake,fault={fault},timeout_s={limit_s}"})
    text = notices(dub)["lip-sync-failed"]
    assert "in 2 of 2 stretches of speech the lips stay as they are" in text and told in text
    assert changed(dub, film) == set()


def test_what_failed_is_tried_again_by_the_next_run(film: Film) -> None:
    broken = {**FAKE, "lip_sync": "fake,faces=fake,fault=crash"}
    film.dub(broken)
    assert film.dub(broken).outcome.notices
    assert notices(film.dub(FAKE)) == {}


@pytest.mark.parametrize(("model", "reason"), [("two", "several faces in 2"), ("none", "no face in 2")])
def test_stretches_without_just_one_face_are_left(film: Film, model: str, reason: str) -> None:
    dub = film.dub({**FAKE, "lip_sync": f"fake,faces=fake:{model}"})
    assert notices(dub) == {"lip-sync-left": f"in 2 of 2 stretches of speech the lips stay as they are: {reason}"}
    assert changed(dub, film) == set()
    assert "lip-sync" not in dub.called


def test_a_stretch_is_cut_where_the_shot_is(tmp_path: Path, clip: Clip) -> None:
    one = clip("one", seconds=8.0)
    cut = ["-filter_complex", "[0:v]lutyuv=y='if(lt(val,0),0,val)':enable=1,drawbox=c=white:t=fill:enable='gte(n,30)'[v]"]
    command = [FFMPEG, "-nostdin", "-v", "error", "-i", one, *cut, "-map", "[v]", "-map", "0:a"]
    subprocess.run([*command, "-g", "25", "-c:v", "libx264", tmp_path / "film.mkv"], check=True)
    film = Film(tmp_path, tmp_path / "film.mkv").say(TALK[:1])
    assert film.dub(FAKE).ran["lip-sync"] == 2


def test_a_missing_plug_in_never_fails_a_dub(film: Film) -> None:
    dub = film.dub({**FAKE, "lip_sync": "wav2lip,faces=fake"})
    assert "nobody said where its checkout is" in notices(dub)["lip-sync-missing"]
    assert changed(dub, film) == set()


def test_a_missing_plug_in_is_an_error_under_strict_plugins_before_the_work_begins(film: Film) -> None:
    seen: list[str] = []

    def sink(progress: Progress) -> None:
        seen.append(progress.stage)

    with pytest.raises(MissingProgram, match="checkout"):
        film.dub({**FAKE, "lip_sync": "wav2lip,faces=fake", "strict_plugins": True}, sink)
    assert seen == []
    assert MissingProgram.exit_status == 4


def test_under_strict_a_failure_is_an_error(film: Film) -> None:
    with pytest.raises(StrictNotice, match="mouth fell off"):
        film.dub({**FAKE, "lip_sync": "fake,faces=fake,fault=crash", "strict": True, "tts": "fake", "subs": "none"})


def test_sound_without_a_picture_is_told(tmp_path: Path, clip: Clip) -> None:
    film = Film(tmp_path, clip("film", seconds=8.0, picture=False)).say(TALK)
    assert notices(film.dub(FAKE)) == {"no-picture": "there is no picture to move lips in"}


def test_a_picture_that_cannot_be_joined_is_encoded_whole_and_told(tmp_path: Path, clip: Clip) -> None:
    one = clip("one", seconds=8.0)
    command = [
        FFMPEG,
        "-nostdin",
        "-v",
        "error",
        "-i",
        one,
        "-c:v",
        "mpeg4",
        "-q:v",
        "2",
        "-c:a",
        "copy",
    ]
    subprocess.run([*command, tmp_path / "film.mkv"], check=True)
    film = Film(tmp_path, tmp_path / "film.mkv").say(TALK)
    dub = film.dub(FAKE)
    assert "the whole picture was encoded anew" in notices(dub)["picture-encoded"]
    assert len(frames(dub.film)) == len(frames(film.media))


def test_a_picture_that_cannot_be_changed_is_kept_and_told(tmp_path: Path, clip: Clip) -> None:
    one = clip("one", seconds=8.0)
    how = ["-vf", "scale=160:96", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264-params", "tff=1", "-c:a", "copy"]
    subprocess.run([FFMPEG, "-nostdin", "-v", "error", "-i", one, *how, tmp_path / "film.mkv"], check=True)
    film = Film(tmp_path, tmp_path / "film.mkv").say(TALK)
    dub = film.dub(FAKE)
    assert "it is interlaced" in notices(dub)["lip-sync-picture"]
    assert changed(dub, film) == set()


def test_subtitles_are_drawn_over_moving_lips(film: Film) -> None:
    drawn = frames(film.dub({**FAKE, "lip_sync": "none", "burn_in": "target"}).film)
    both = film.dub({**FAKE, "burn_in": "target"})
    different = {n // GROUP for n, (a, b) in enumerate(zip(drawn, frames(both.film), strict=True)) if a != b}
    assert {0, 5} <= different
    assert both.ran["burn"] == 1


def test_lips_move_in_a_picture_that_was_slowed_down(tmp_path: Path, clip: Clip) -> None:
    film = Film(tmp_path, clip("film", seconds=8.0)).say([(0.6, 1.2, LONG), (1.3, 1.9, LONG), (2.0, 2.6, LONG)])
    dub = film.dub({**FAKE, "stretch_video": True, "max_slowdown": 1.5, "shorten": "off"})
    assert "picture-slowed" in {n.code for n in dub.outcome.notices}
    assert dub.ran["lip-sync"] == 1
    assert len(frames(dub.film)) == len(frames(film.media))
    assert frames(dub.film) != frames(film.media)


def test_moving_lips_fit_one_language_only(film: Film) -> None:
    values: dict[str, Any] = {**FAKE, "to": "es,fr", "together": True, "output": str(film.out)}
    loaded = config.load(values, job=None, environ={}, cwd=film.folder, user_file=None)
    pool = EnginePool()
    with pytest.raises(BadSettings, match="fit no other"):
        dub_film(Job(film.media), loaded, pool, Ears())


def spoken_track(folder: Path) -> Path:
    """Silence, and a tone in the first and in the sixth second."""
    path = folder / "speech.wav"
    tone = "aevalsrc=0.4*sin(880*t)*(between(t\\,0.6\\,1.6)+between(t\\,5.2\\,6.2)):d=8:s=22050"
    subprocess.run([FFMPEG, "-v", "error", "-f", "lavfi", "-i", tone, path], check=True, stdin=subprocess.DEVNULL)
    return path


def test_a_finished_speech_track_moves_the_lips_of_a_film(film: Film) -> None:
    speech = spoken_track(film.folder)
    values = {"lip_sync": "fake,faces=fake", "to": "es", "output": str(film.folder / "out")}
    loaded = config.load(values, job=None, environ={}, cwd=film.folder, user_file=None)
    done = finishing.lip_sync_films(film.media, speech, film.folder / "moved.mkv", loaded, Ears())
    pairs = zip(frames(film.media), frames(done.film), strict=True)
    assert {n // GROUP for n, (a, b) in enumerate(pairs) if a != b} == {0, 1, 5, 6}
    assert done.notices == ()
    heard = subprocess.run(
        [FFMPEG, "-v", "error", "-i", done.film, "-map", "0:a:0", "-ac", "1", "-ar", "8000", "-f", "f32le", "-"],
        capture_output=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    sound_of = np.frombuffer(heard.stdout, np.float32)
    loud = [bool(np.abs(sound_of[n * 8000 : (n + 1) * 8000]).max() > 0.1) for n in range(8)]
    assert loud == [True, True, False, False, False, True, True, False]


def test_lips_alone_need_an_engine_and_a_mouth(film: Film) -> None:
    speech = spoken_track(film.folder)
    for engine, error, told in (("none", BadSettings, "nobody said"), ("fake,faces=fake:none", EngineFailed, "no mouth")):
        values = {"lip_sync": engine, "output": str(film.folder / "out")}
        loaded = config.load(values, job=None, environ={}, cwd=film.folder, user_file=None)
        with pytest.raises(error, match=told):
            finishing.lip_sync_films(film.media, speech, None, loaded, Ears())
    assert not list((film.folder / "out").rglob("lip-sync*"))
