"""A whole dub of a small generated film with fake engines: what comes out, how it measures, what an edit costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from polydub import config, finishing
from polydub.dubbing import Ears
from polydub.errors import BadSettings, StoreError
from polydub.report import model
from small_dubs import TALK, Dub, Film, long_talk, small_disk

RATE_HZ = 48_000
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SCHEMA = Path(__file__).resolve().parents[1] / "docs" / "reference" / "report.schema.json"


def ffmpeg(*arguments: object) -> str:
    """What ffmpeg says and prints."""
    command = [FFMPEG, "-nostdin", "-hide_banner", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


def decoded(film: Path, stream: str = "0:a:0") -> NDArray[np.float32]:
    """(frames, 2) on the film's clock."""
    command = [FFMPEG, "-v", "error", "-i", film, "-map", stream, "-ac", "2", "-ar", str(RATE_HZ), "-f", "f32le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, 2)


def measured(film: Path) -> tuple[float, float]:
    """Integrated loudness and true peak of the first sound track, by ffmpeg's ebur128."""
    said = ffmpeg("-i", film, "-map", "0:a:0", "-af", "ebur128=peak=true", "-f", "null", "-")
    summary = said[said.rindex("Summary:") :]
    loudness, peak = (re.search(rf"{name}:\s+(-?[\d.]+|-?inf)", summary) for name in ("I", "Peak"))
    assert loudness
    assert peak
    return float(loudness[1]), float(peak[1])


def decibels(signal: NDArray[np.float32]) -> float:
    return float(10 * np.log10(max(np.mean(np.square(signal, dtype=np.float64)), 1e-20)))


Films = Callable[..., Film]


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Films:
    """`film(seconds=6)` -> a generated film that says TALK."""

    def make(**options: object) -> Film:
        media = clip("film", **({"seconds": 6.0} | options))
        return Film(tmp_path, media).say(TALK)

    return make


def test_the_stages_run_once_in_the_order_of_the_story(film: Films) -> None:
    dub = film().dub()
    story = ["probe", "extract", "read-script", "translate", "cast", "synthesize", "fit", "shape", "subtitle"]
    story += ["source-levels", "measure-block", "mix-block", "programme", "mux", "stem"]
    names = list(dub.ran)
    assert [name for name in names if name in story] == story
    rates = [line["rate"] for line in dub.report["lines"]]
    own = sum(round(rate / 0.05) != 20 for rate in rates)
    assert own, "some line must have been spoken at another rate, or this film tests too little"
    assert dub.ran["synthesize"] == len(TALK) + own
    once = ("probe", "extract", "read-script", "cast", "fit", "source-levels", "mux")
    assert [dub.ran[name] for name in once] == [1] * len(once)
    assert dub.ran["stem"] == 4  # dialogue, dub, background, mix
    assert dub.outcome.called == sum(dub.ran.values())


def test_a_second_run_calls_nothing_and_says_the_same(film: Films) -> None:
    made = film()
    first, before = made.dub(), {p: p.read_bytes() for p in made.project.rglob("*") if p.suffix in (".mkv", ".flac", ".srt")}
    report = first.report
    second = made.dub()
    assert not second.called
    assert second.outcome.called == 0
    assert {p: p.read_bytes() for p in before} == before
    assert model.outcome(model.Report.model_validate(second.report)) == model.outcome(model.Report.model_validate(report))
    assert second.outcome.notices == first.outcome.notices


def test_a_remembered_dub_loads_no_number_crunching(film: Films) -> None:
    made = film()
    made.dub()
    heavy = ("numpy", "scipy", "av", "soundfile", "clarabel", "torch", "httpx")
    program = (
        "import sys, json; from pathlib import Path; from small_dubs import Film\n"
        f"folder = Path(sys.argv[1]); dub = Film(folder, folder / {made.media.name!r}).dub()\n"
        f"print(json.dumps([sorted(dub.called), [name for name in {heavy!r} if name in sys.modules]]))"
    )
    command = [sys.executable, "-c", program, str(made.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    assert json.loads(done.stdout) == [[], []]


@pytest.mark.parametrize(
    ("source", "container"), [(".mkv", "mkv"), (".mp4", "mp4"), (".mp4", "mkv"), (".avi", "mkv")], ids=lambda x: x.strip(".")
)
def test_the_picture_is_copied_and_the_length_stays(film: Films, source: str, container: str) -> None:
    made = film(suffix=source)
    dub = made.dub({"format": container})
    assert dub.film.name == f"dub.es.{container}"
    codec = ("-c", "copy") if source != ".avi" else ()  # its packets are written in another way, so pictures are compared
    copy = ("-map", "0:v:0", *codec, "-f", "streamhash", "-hash", "md5", "-")
    assert hashes(ffmpeg("-i", made.media, *copy)) == hashes(ffmpeg("-i", dub.film, *copy))
    frame = 1 / 25 + 1e-6
    with av.open(str(made.media)) as before, av.open(str(dub.film)) as after:
        assert before.duration and after.duration
        assert abs(before.duration - after.duration) / av.time_base <= frame
        assert after.start_time / av.time_base <= 0.03
    assert abs(len(decoded(dub.film)) / RATE_HZ - dub.report["source"]["duration"]) <= frame
    assert abs(len(decoded(dub.film, "0:a:1")) - len(decoded(made.media))) <= frame * RATE_HZ


def hashes(text: str) -> list[str]:
    found = re.findall(r"MD5=\w{32}", text)
    assert found
    return found


def test_the_picture_and_the_original_sound_keep_their_times(film: Films) -> None:
    made = film()
    dub = made.dub()

    def packets(path: Path, kind: str) -> list[tuple[Fraction, int]]:
        with av.open(str(path)) as container:
            stream = [s for s in container.streams if s.type == kind][-1]
            return [(round(p.pts * p.time_base, 3), p.size) for p in container.demux(stream) if p.size]

    assert packets(dub.film, "video") == packets(made.media, "video")
    assert packets(dub.film, "audio") == packets(made.media, "audio")


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_tracks_are_labelled(film: Films, container: str) -> None:
    made = film(suffix=f".{container}")
    dub = made.dub({"format": container})
    tracks: list[tuple[str, str | None, str | None]] = []
    with av.open(str(dub.film)) as opened:
        for s in opened.streams:
            title = s.metadata.get("title") or s.metadata.get("handler_name")  # in MP4 players show the handler's name
            tracks.append((s.type, s.metadata.get("language"), title))
        shown = [bool(s.disposition & s.disposition.default) for s in opened.streams if s.type == "audio"]
    assert tracks[1:] == [
        ("audio", "spa", "Spanish dub"),
        ("audio", "eng", "English original"),
        ("subtitle", "spa", "Spanish"),
        ("subtitle", "eng", "English"),
    ]
    assert shown == [True, False]


def test_subtitles_carry_the_dub_at_the_times_it_is_spoken(film: Films) -> None:
    dub = film().dub()
    lines = dub.report["lines"]
    text = (dub.project / "subs" / "film.es.srt").read_text(encoding="utf-8")
    assert all(line["text"].split()[-1] in text for line in lines)
    times = [int(s) + int(ms) / 1000 for s, ms in re.findall(r"00:00:(\d\d),(\d{3})", text)]
    shown = list(zip(times[::2], times[1::2], text.split("\n\n"), strict=False))
    assert shown[0][0] == pytest.approx(lines[0]["start"], abs=0.04)  # on a frame
    for line in lines:
        cue = next(cue for begin, end, cue in shown if begin - 0.04 <= line["start"] < end)
        assert line["text"].split()[-1] in cue


def test_a_target_that_peaks_forbid_spoils_no_later_run(film: Films) -> None:
    made = film()
    loud = made.dub({"lufs": -8.0, "tts": "espeak-ng"})
    assert "loudness-missed" in {n.code for n in loud.outcome.notices}
    assert loud.report["loudness"]["gain_db"] < 30, "what is quiet is not raised for a target that cannot be reached"
    edits = {"version": 1, "items": {"lines": {"1": {"text": "Hola a todos."}}}}
    (made.project / "edits.es.json").write_text(json.dumps(edits), encoding="utf-8")
    edited = made.dub({"lufs": -8.0, "tts": "espeak-ng"})
    assert edited.report["loudness"]["gain_db"] == loud.report["loudness"]["gain_db"], "no block but the edited ones changes"
    usual = made.dub({"lufs": -16.0, "tts": "espeak-ng"})
    assert usual.report["loudness"]["after_lufs"] == pytest.approx(-16, abs=0.2)
    assert "loudness-missed" not in {n.code for n in usual.outcome.notices}


def test_a_line_without_a_letter_is_told_and_the_others_are_spoken(film: Films) -> None:
    made = film()
    texts = ["Hola.", *["—"] * (len(TALK) - 1)]
    dub = made.say(TALK, texts).dub()
    assert [line["duration"] > 0 for line in dub.report["lines"]] == [True] + [False] * (len(TALK) - 1)
    assert "unspeakable" in {n.code for n in dub.outcome.notices}


def test_subtitles_that_no_font_can_draw_are_refused_before_anybody_speaks(film: Films) -> None:
    made = film()
    made.say(TALK, ["\U00012000"] * len(TALK))  # a cuneiform sign
    (made.folder / "no.ttf").write_bytes(b"no font")
    seen: list[str] = []
    with pytest.raises(BadSettings):
        made.dub({"burn_in": "target", "font": str(made.folder / "no.ttf")}, sink=lambda p: seen.append(p.stage))
    assert "translate" not in seen and "probe" in seen
    assert "synthesize" not in seen


def test_wishes_that_come_to_nothing_are_told(film: Films) -> None:
    dub = film().dub({"word_times": True})
    assert "idle-setting" in {n.code for n in dub.outcome.notices}


@pytest.mark.parametrize("lufs", [-16.0, -23.0])
def test_loudness_and_true_peak_are_right_on_the_delivered_file(film: Films, lufs: float) -> None:
    dub = film().dub({"lufs": lufs})
    loudness, peak = measured(dub.film)
    told = dub.report["loudness"]
    assert abs(loudness - lufs) <= 0.5
    assert peak <= -1.0
    assert abs(loudness - told["after_lufs"]) <= 0.2
    assert abs(peak - told["after_true_peak_dbtp"]) <= 0.2
    before, before_peak = measured(dub.project.parents[1] / "film.mkv")
    assert abs(before - told["before_lufs"]) <= 0.2
    assert abs(before_peak - told["before_true_peak_dbtp"]) <= 0.2


def sounds(dub: Dub) -> dict[str, NDArray[np.float32]]:
    return {name: soundfile.read(dub.stem(name), dtype="float32", always_2d=True)[0] for name in ("dub", "background", "mix")}


def test_stems_are_as_long_as_the_film_and_sum_to_the_mix(film: Films) -> None:
    dub = film().dub()
    stems = sounds(dub)
    assert {sound.shape for sound in stems.values()} == {(round(dub.report["source"]["duration"] * RATE_HZ), 2)}
    assert soundfile.info(dub.stem("mix")).subtype == "PCM_24"
    assert decibels(stems["dub"] + stems["background"] - stems["mix"]) < decibels(stems["mix"]) - 80


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_what_is_heard_is_the_mix_to_the_sample(film: Films, container: str) -> None:
    dub = film().dub({"format": container})
    heard, mix = decoded(dub.film), sounds(dub)["mix"]
    size = min(len(heard), len(mix))
    assert decibels(heard[:size] - mix[:size]) < decibels(mix) - 15, "AAC is not exact, but a shift by some samples is worse"
    shifts = {shift: decibels(heard[100 + shift : size - 100 + shift] - mix[100 : size - 100]) for shift in range(-60, 61, 3)}
    assert min(shifts, key=lambda shift: shifts[shift]) == 0


def test_every_line_is_heard_where_the_report_says_to_its_last_word(film: Films) -> None:
    dub = film().dub()
    voice, heard = sounds(dub)["dub"], decoded(dub.film)
    lines = dub.report["lines"]
    assert len(lines) == len(TALK)
    silent = np.ones(len(voice), bool)
    for line in lines:
        first, last = round(line["start"] * RATE_HZ), round((line["start"] + line["duration"]) * RATE_HZ)
        silent[first:last] = False
        assert line["overflow"] == 0
        for place in (slice(first, first + 2400), slice(last - 2400, last)):
            assert decibels(voice[place]) > -40, "audible from its first 50 ms to its last"
            assert decibels(heard[place]) > -40
    assert np.abs(voice[silent]).max() < 1e-4, "and nowhere else"
    assert lines[-1]["start"] + lines[-1]["duration"] <= dub.report["source"]["duration"]


def test_rates_are_what_they_are_said_to_be_and_within_limits(film: Films) -> None:
    dub = film().dub()
    for line in dub.report["lines"]:
        assert 0.85 <= line["rate"] <= 1.30
        assert line["rate"] == pytest.approx(line["natural_duration"] / line["duration"], abs=2e-3)
        assert line["natural_duration"] == pytest.approx(len(line["text"]) / 15, abs=0.02), "what the fake engine speaks"
        assert line["shift"] == pytest.approx(line["start"] - line["source_start"], abs=1e-3)
    assert {line["speaker"] for line in dub.report["lines"]} == {"ANNA", "BOB"}
    assert len({line["voice"] for line in dub.report["lines"]}) == 2


def test_the_report_fits_its_schema(film: Films) -> None:
    report = film().dub().report
    checked = model.Report.model_validate(report)
    assert json.loads(model.dump(checked)) == report
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert set(schema["required"]) == set(report)
    assert set(schema["$defs"]["ReportLine"]["required"]) == set(report["lines"][0])
    assert {engine["kind"]: engine["name"] for engine in report["engines"]} == {
        "mt": "fake", "tts": "fake", "separation": "mask", "vad": "silero"
    }  # fmt: skip
    assert {out["path"] for out in report["outputs"]} >= {"dub.es.mkv", "stems/dub.es.flac"}
    assert all(out["bytes"] > 0 for out in report["outputs"])


def test_two_fresh_runs_agree_in_everything_but_their_circumstances(film: Films, tmp_path: Path) -> None:
    one = film()
    first = one.dub()
    other = Film(tmp_path / "elsewhere", tmp_path / "elsewhere" / "film.mkv")
    other.folder.mkdir()
    other.media.write_bytes(one.media.read_bytes())
    second = other.say(TALK).dub({"jobs": 1})
    assert first.ran == second.ran
    reports = [model.outcome(model.Report.model_validate(dub.report)) for dub in (first, second)]
    assert reports[0] == reports[1]
    for name in ("dub.es.mkv", "script.es.json", "transcript.json", "subs/film.es.srt", "stems/mix.es.flac"):
        assert (first.project / name).read_bytes() == (second.project / name).read_bytes(), name


# what a change costs


def test_another_speech_engine_keeps_everything_before_it(film: Films) -> None:
    made = film()
    made.dub()
    dub = made.dub({"tts": "espeak-ng"})
    assert not dub.called & {"probe", "extract", "read-script", "translate"}
    assert dub.ran["synthesize"] >= len(TALK)
    assert not made.dub({"tts": "fake"}).called & {"synthesize", "translate"}, "and the way back is remembered"


def test_another_translation_engine_result_keeps_the_film(film: Films) -> None:
    made = film()
    made.dub()
    made.say(TALK, [f"[es] {text.partition(': ')[2]}" for _, _, text in TALK])
    dub = made.dub()
    assert not dub.called & {"probe", "extract", "synthesize"}, "the same words are the same takes"


def test_another_loudness_renders_again_and_speaks_nothing(film: Films) -> None:
    made = film()
    made.dub()
    dub = made.dub({"lufs": -20.0})
    assert not dub.called & {"probe", "extract", "read-script", "translate", "cast", "synthesize", "fit", "shape"}
    assert "mux" in dub.called


def test_another_container_only_muxes(film: Films) -> None:
    made = film()
    made.dub()
    assert made.dub({"format": "mp4"}).called == {"mux"}


def test_a_lost_film_is_only_muxed_and_a_touched_stem_only_joined(film: Films) -> None:
    made = film()
    dub = made.dub()
    before = dub.film.read_bytes()
    dub.film.unlink()
    assert made.dub().called == {"mux"}
    assert dub.film.read_bytes() == before
    dub.stem("dub").write_bytes(b"touched")
    again = made.dub()
    assert (again.called, again.ran["stem"]) == ({"stem"}, 1)


@pytest.mark.slow
def test_one_edited_line_speaks_one_line_and_renders_its_blocks(film: Films) -> None:
    made = film(seconds=70.0)
    cues = long_talk(70.0)
    texts = [f"dice {text}" for _, _, text in cues]
    dub = made.say(cues, texts).dub()
    assert dub.ran["mix-block"] % 3 == 0
    for line in (0, 7, 15):
        texts[line] = texts[line].replace("dice", "habla mas")
        before = dub.report["lines"]
        dub = made.say(cues, texts).dub()
        assert 1 <= dub.ran["synthesize"] <= 2, "its natural take, and perhaps one at another rate"
        assert dub.ran["shape"] <= 3
        assert 1 <= dub.ran["mix-block"] <= 2
        assert not dub.called & {"probe", "extract", "translate", "cast"}
        moved = [a["id"] for a, b in zip(before, dub.report["lines"], strict=True) if a["start"] != b["start"]]
        assert len(moved) <= 3
    loudness, peak = measured(dub.film)
    assert abs(loudness - -16.0) <= 0.5
    assert peak <= -1.0


def test_an_edit_by_hand_speaks_one_line(film: Films) -> None:
    made = film()
    first = made.dub()
    edits = {"version": 1, "items": {"lines": {"1": {"text": "[es] Buenos dias, que tal vas?"}}}}
    (made.project / "edits.es.json").write_text(json.dumps(edits), encoding="utf-8")
    dub = made.dub()
    assert dub.report["lines"][0]["text"] == "[es] Buenos dias, que tal vas?"
    assert 1 <= dub.ran["synthesize"] <= 2
    assert not dub.called & {"probe", "extract", "read-script", "translate", "cast"}
    (made.project / "edits.es.json").unlink()
    assert made.dub().ran["synthesize"] == 0
    assert first.project == dub.project


def test_a_finished_speech_track_is_laid_over_a_film(film: Films) -> None:
    made = film()
    speech = made.folder / "speech.wav"
    ffmpeg("-v", "error", "-f", "lavfi", "-i", "sine=frequency=300:duration=2,volume=0.5", "-ar", 22_050, speech)
    values = {"to": "es", "output": str(made.out)}
    loaded = config.load(values, job=None, environ={}, cwd=made.folder, user_file=None)
    mixed = finishing.mix_films(made.media, speech, made.folder / "mixed.mkv", loaded, Ears())
    loudness, peak = measured(mixed.film)
    assert abs(loudness - mixed.lufs) <= 0.2
    assert peak <= -1.0
    assert abs(len(decoded(mixed.film)) / RATE_HZ - 6.0) <= 0.05
    assert not list(made.folder.glob(".polydub-*"))


@pytest.mark.parametrize("kib", [40, 300, 3000, 5000, 6500])
def test_a_disk_that_fills_up_is_told_and_with_more_room_it_goes_on(film: Films, tmp_path: Path, kib: int) -> None:
    made = film()
    with small_disk(tmp_path / "disk", kib) as disk:
        made.out.symlink_to(disk)
        with pytest.raises(StoreError) as caught:
            made.dub()
        assert "space" in caught.value.hint
        assert not list(disk.rglob(".polydub-*"))
        subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
        assert made.dub().outcome.film.exists()
        assert not made.dub().called
