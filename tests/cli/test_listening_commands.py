"""transcribe, diarize and separate: what is typed, what comes back, what is asked on the way."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pysubs2
import pytest
import soundfile
from command_line import PROGRAM, Call, Told, files, program
from pyannote.database.util import load_rttm

from small_dubs import Cue, spoken_film, srt
from web_origin import Origin, digest, serving

FAKE = ("--asr", "fake", "--speakers", "2", "--download", "no")
RATE_HZ = 48_000


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Cue]]:
    media = tmp_path_factory.mktemp("spoken") / "talk.mkv"
    return media, spoken_film(media)


@pytest.fixture
def talk(spoken: tuple[Path, list[Cue]], tmp_path: Path) -> list[Cue]:
    """talk.mkv lies in the folder; who says what when in it."""
    shutil.copy(spoken[0], tmp_path)
    return spoken[1]


def convert(name: str, *options: str, source: str = "talk.mkv") -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-i", source, *options, name]
    subprocess.run(command, check=True)


def noise(name: str, level: float, seconds: float = 2.0) -> None:
    soundfile.write(name, np.random.default_rng(1).normal(0, 1, round(seconds * RATE_HZ)) * level, RATE_HZ)


class TestTranscribe:
    def test_text_goes_to_stdout_with_speakers_and_progress_does_not(self, polydub: Call, talk: list[Cue]) -> None:
        told = polydub("transcribe", "talk.mkv", *FAKE)
        assert told.status == 0
        lines = told.out.splitlines()
        assert len(lines) >= 4
        assert {line.partition(": ")[0] for line in lines} == {"SPEAKER_00", "SPEAKER_01"}
        assert "transcribe: done in" in told.err
        assert "note: fingerprint stands in for resemblyzer" in told.err
        assert [p.name for p in Path("Output").iterdir()] == [".polydub"], "only what is remembered"

    def test_one_speaker_is_not_named(self, polydub: Call, talk: list[Cue]) -> None:
        assert "SPEAKER" not in polydub("transcribe", "talk.mkv", "--asr", "fake", "--diarization", "none").out

    def test_several_formats_go_to_files_which_are_told(self, polydub: Call, talk: list[Cue]) -> None:
        told = polydub("transcribe", "talk.mkv", *FAKE, "--format", "txt,srt,vtt,json", "--out", "said/of.talk")
        assert told.out.splitlines() == [f"said/of.talk.{form}" for form in ("txt", "srt", "vtt", "json")]
        rows = json.loads(Path("said/of.talk.json").read_text())
        assert rows["language"] == "en"
        starts = [round(1000 * s["start"]) for s in rows["segments"]]
        for form in ("srt", "vtt"):
            events = pysubs2.load(f"said/of.talk.{form}").events
            assert [e.start for e in events if e.start in starts] == starts
            assert all(a.end <= b.start for a, b in pairwise(events))
        assert Path("said/of.talk.txt").read_text().count("\n") == len(starts)
        words = [w for s in rows["segments"] for w in s["words"]]
        assert all(a["start"] <= a["end"] <= b["start"] + 0.001 for a, b in pairwise(words))
        assert {"start", "end", "text", "confidence"} <= words[0].keys()

    @pytest.mark.parametrize("form", ["srt", "vtt", "json", "txt"])
    def test_the_ending_of_the_file_is_the_format(self, polydub: Call, talk: list[Cue], form: str) -> None:
        to_file = polydub("transcribe", "talk.mkv", *FAKE, "-o", f"said.{form}")
        assert to_file.out == f"said.{form}\n"
        to_stdout = polydub("transcribe", "talk.mkv", *FAKE, "--format", form)
        assert to_stdout.out.rstrip("\n") == Path(f"said.{form}").read_text().rstrip("\n")

    def test_json_is_all_that_is_on_stdout(self, polydub: Call, talk: list[Cue]) -> None:
        told = polydub("transcribe", "talk.mkv", *FAKE, "--json", "--format", "srt", "--out", "said.srt")
        assert told.json["files"] == ["said.srt"]
        assert told.json["language"] == "en"
        first = told.json["segments"][0]
        assert first.keys() == {"start", "end", "speaker", "text", "words"}
        assert first["start"] == pytest.approx(talk[0][0], abs=0.2)
        assert not polydub("transcribe", "talk.mkv", *FAKE, "--json").json["files"]

    def test_a_second_time_nothing_is_done_and_the_same_is_said(self, polydub: Call, talk: list[Cue]) -> None:
        first, again = (polydub("transcribe", "talk.mkv", *FAKE) for _ in range(2))
        assert again.out == first.out
        assert "done in" not in again.err
        notes = [[line for line in told.err.splitlines() if line.startswith("note: ")] for told in (first, again)]
        assert notes[0] == notes[1]

    def test_given_text_gets_word_times_and_keeps_its_cues(self, polydub: Call, talk: list[Cue]) -> None:
        Path("talk.en.srt").write_text(srt(talk))
        told = polydub("transcribe", "talk.mkv", "--transcript", "talk.en.srt", "--json", "--download", "no")
        segments = told.json["segments"]
        assert [(s["speaker"], s["text"]) for s in segments] == [tuple(text.split(": ")) for _, _, text in talk]
        for segment, (start, end, _) in zip(segments, talk, strict=True):
            assert (segment["start"], segment["end"]) == (round(start, 3), round(end, 3))
            assert [w["text"] for w in segment["words"]] == segment["text"].split()
            assert segment["words"][0]["start"] == pytest.approx(start, abs=0.25)

    def test_word_times_of_real_speech_are_believed(self, polydub: Call, tmp_path: Path, shared_data: Path) -> None:
        said = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
        Path("jfk.en.srt").write_text(srt([(0.2, 10.6, said)]))
        speech = shared_data / "media" / "whisper-jfk" / "jfk.flac"
        told = polydub("transcribe", speech, "--transcript", "jfk.en.srt", "--json", "--download", "no")
        assert "does not match" not in told.err
        words = {w["text"]: w["start"] for w in told.json["segments"][0]["words"]}
        assert words["fellow"] == pytest.approx(1.35, abs=0.35)
        assert words["ask"] > 7.5, "the last of two"

    def test_text_that_is_not_what_is_said_is_told(self, polydub: Call, talk: list[Cue]) -> None:
        Path("talk.en.srt").write_text(srt([(a, b, "Ladies and gentlemen please fasten your seat belts") for a, b, _ in talk]))
        told = polydub("transcribe", "talk.mkv", "--transcript", "talk.en.srt", "--download", "no")
        assert told.status == 0
        assert "the given text does not match the sound near 0:00" in told.err

    def test_a_transcript_is_never_overwritten_nor_is_the_film(self, polydub: Call, talk: list[Cue]) -> None:
        Path("talk.en.srt").write_text(srt(talk))
        before = files(Path.cwd())
        polydub("transcribe", "talk.mkv", "--transcript", "talk.en.srt", "--out", "talk.en.srt").fails(3, "one of the inputs")
        polydub("transcribe", "talk.mkv", "--format", "txt", "--out", "talk.mkv").fails(3, "one of the inputs")
        polydub("diarize", "talk.mkv", "--out", Path.cwd() / "talk.mkv").fails(3, "one of the inputs")
        convert("dialogue.flac")
        polydub("separate", "dialogue.flac", "--out", ".").fails(3, "dialogue.flac is one of the inputs")
        assert {name: data for name, data in files(Path.cwd()).items() if name in before} == before

    def test_what_streams_is_printed_as_it_comes(self, polydub: Call, talk: list[Cue]) -> None:
        told = polydub("transcribe", "talk.mkv", *FAKE, "--stream")
        assert all(line.startswith("[0:00:") for line in told.out.splitlines())
        assert told.out.startswith("[0:00:00.8] ")
        Path("talk.en.srt").write_text(srt(talk))
        given = polydub("transcribe", "talk.mkv", *FAKE, "--stream", "--transcript", "talk.en.srt")
        assert given.out.startswith("ANN: Good morning"), "nothing is recognised, so the text comes at the end"

    @pytest.mark.parametrize("also", [("--json",), ("--format", "srt"), ("--json", "--out", "x.srt")])
    def test_a_stream_and_another_result_do_not_share_stdout(
        self, polydub: Call, talk: list[Cue], also: tuple[str, ...]
    ) -> None:
        polydub("transcribe", "talk.mkv", "--stream", *also).fails(3, "--stream prints plain text")

    def test_what_cannot_be_is_refused(self, polydub: Call, talk: list[Cue]) -> None:
        polydub("transcribe", "talk.mkv", "--format", "srt,doc").fails(3, "no format 'doc'", "txt, srt, vtt, json")
        polydub("transcribe", "talk.mkv", "--format", "srt,vtt").fails(3, "cannot go to stdout", "--out")
        polydub("transcribe", "none.mkv").fails(2, "there is no file none.mkv")
        polydub("transcribe", "talk.mkv", "--transcript", "none.srt").fails(2, "there is no file none.srt")
        polydub("transcribe", "talk.mkv", "--asr", "whisper").fails(3, "no recognition engine 'whisper'", "faster-whisper")
        polydub("transcribe", "talk.mkv", "--asr", "faster-whisper").fails(4, "polydub models pull faster-whisper-small")
        polydub("transcribe", "talk.mkv", "--asr-model", "tiny").fails(4, "polydub models pull faster-whisper-tiny")
        polydub("transcribe", "talk.mkv", "--from", "fr", "--download", "no").fails(4, "faster-whisper-small")
        for wrong in ("0", "4-2", "many", "-1"):
            polydub("transcribe", "talk.mkv", f"--speakers={wrong}").fails(3, "a range such as 2-4")

    def test_nothing_is_made_up_where_nobody_speaks(self, polydub: Call, tmp_path: Path) -> None:
        noise("noise.wav", 0.01)
        noise("silence.wav", 0.0)
        noise("blip.wav", 0.1, 0.02)
        for name in ("noise.wav", "silence.wav", "blip.wav"):
            polydub("transcribe", name, "--download", "no").fails(2, "nobody speaks")
        convert("mute.mkv", "-f", "lavfi", "-i", "color=s=32x32:d=1", "-map", "1:v", source="noise.wav")
        polydub("transcribe", "mute.mkv").fails(2, "no audio track")

    def test_odd_names_are_names(self, polydub: Call, talk: list[Cue]) -> None:
        for name in ("-x.mkv", "a b'c\"$(touch canary).mkv", "日本 😀.mkv", "%s[a]{b}.mkv"):
            shutil.copy("talk.mkv", name)
            assert polydub("diarize", "--speakers", "2", "--download", "no", "--", name).out.count(" SPEAKER_0") == 4
        assert not Path("canary").exists()

    @pytest.mark.parametrize("name", ["empty.mp3", "ina/silence2sec.wav", "demucs/test.mp3"])
    def test_noise_silence_and_music_are_not_words(self, polydub: Call, tmp_path: Path, shared_data: Path, name: str) -> None:
        if not (shared_data / "media" / name).exists():
            pytest.skip(f"needs ../shared/data/media/{name} (not present)")
        told = polydub("transcribe", shared_data / "media" / name, "--from", "en", "--asr", "pocketsphinx", "--download", "no")
        told.fails(2)
        assert "nobody speaks" in told.err or "no word was understood" in told.err

    def test_laughter_is_hardly_a_word(self, polydub: Call, tmp_path: Path, shared_data: Path) -> None:
        sound = shared_data / "media" / "laugh1.mp3"
        if not sound.exists():
            pytest.skip("needs ../shared/data/media/laugh1.mp3 (not present)")
        told = polydub("transcribe", sound, "--from", "en", "--asr", "pocketsphinx", "--download", "no")
        assert told.status == 2 or len(told.out.split()) <= 3


class TestDiarize:
    def test_rttm_goes_to_stdout_and_others_can_read_it(self, polydub: Call, talk: list[Cue]) -> None:
        told = polydub("diarize", "talk.mkv", "--speakers", "2", "--download", "no")
        assert told.status == 0
        Path("read.rttm").write_text(told.out)
        annotation = load_rttm("read.rttm")["talk"]
        turns = [(turn.start, turn.end, who) for turn, _, who in annotation.itertracks(yield_label=True)]
        assert [who for _, _, who in turns] == ["SPEAKER_00", "SPEAKER_01"] * 2
        for (start, end, _), (a, b, _) in zip(turns, talk, strict=True):
            assert (start, end) == pytest.approx((a, b), abs=0.35)
        assert "SPEAKER_01: " in told.err, "how long each speaks is told"

    def test_to_a_file_and_as_json(self, polydub: Call, talk: list[Cue]) -> None:
        words = ("diarize", "talk.mkv", "--speakers", "2", "--download", "no")
        assert polydub(*words, "--out", "who/spoke.rttm").out == "who/spoke.rttm\n"
        rows = polydub(*words, "--json").json["turns"]
        assert len(load_rttm("who/spoke.rttm")["talk"]) == len(rows) == 4
        assert rows[0].keys() == {"start", "end", "speaker"}

    @pytest.mark.parametrize(("wanted", "found"), [("1", 1), ("2", 2), ("2-4", 2), ("3", 3)])
    def test_the_number_of_speakers_is_kept(self, polydub: Call, talk: list[Cue], wanted: str, found: int) -> None:
        told = polydub("diarize", "talk.mkv", "--speakers", wanted, "--download", "no", "--json")
        speakers = {turn["speaker"] for turn in told.json["turns"]}
        assert len(speakers) == found or "speakers were found where" in told.err

    def test_nobody_speaking_is_an_empty_answer(self, polydub: Call, tmp_path: Path) -> None:
        noise("noise.wav", 0.01)
        told = polydub("diarize", "noise.wav", "--download", "no")
        assert (told.status, told.out.strip()) == (0, "")
        assert "nobody speaks in noise.wav" in told.err
        assert polydub("diarize", "noise.wav", "--download", "no", "--json").json == {"turns": []}

    def test_wrong_engines_are_refused(self, polydub: Call, talk: list[Cue]) -> None:
        polydub("diarize", "talk.mkv", "--diarization", "none").fails(3, "leaves nothing to do")
        polydub("diarize", "talk.mkv", "--diarization", "pyanote").fails(3, "no diarization engine 'pyanote'", "embedded")
        polydub("diarize", "talk.mkv", "--diarization", "embedded:x").fails(3, "no speaker encoder 'x'", "fingerprint")
        polydub("diarize", "talk.mkv", "--diarization", "embedded:resemblyzer").fails(4, "polydub models pull resemblyzer")


class TestSeparate:
    @pytest.mark.parametrize("channels", [1, 2, 6])
    def test_stems_are_as_long_as_the_sound_and_sum_to_it(self, polydub: Call, talk: list[Cue], channels: int) -> None:
        stretch = "aecho=0.8:0.9:40:0.3,apad=pad_dur=13"  # two blocks
        convert("in.flac", "-vn", "-af", stretch, "-ac", str(channels), "-ar", str(RATE_HZ), "-sample_fmt", "s32")
        told = polydub("separate", "in.flac", "--out", "stems", "--download", "no")
        assert told.out.splitlines() == ["stems/dialogue.flac", "stems/background.flac"]
        stems = [soundfile.read(path, dtype="float64", always_2d=True)[0] for path in told.out.splitlines()]
        convert("heard.wav", "-c:a", "pcm_f32le", source="in.flac")
        source = soundfile.read("heard.wav", dtype="float64", always_2d=True)[0]
        assert {stem.shape for stem in stems} == {(round(round(len(source) / RATE_HZ, 3) * RATE_HZ), source.shape[1])}
        size = min(len(source), len(stems[0]))
        assert np.abs(stems[0] + stems[1] - np.resize(source, stems[0].shape))[:size].max() <= 2 / 2**23
        quiet = slice(round((talk[0][0] - 0.3) * RATE_HZ))
        speech = slice(round((talk[0][0] + 0.3) * RATE_HZ), round((talk[0][1] - 0.3) * RATE_HZ))
        assert np.abs(stems[0][quiet]).max() < 1e-3
        assert np.std(stems[0][speech]) > 3 * np.std(stems[1][speech])
        assert soundfile.info("stems/dialogue.flac").subtype == "PCM_24"

    def test_by_default_they_go_to_the_output_folder_and_json_names_them(self, polydub: Call, talk: list[Cue]) -> None:
        told = polydub("separate", "talk.mkv", "--download", "no", "--json")
        names = {name: f"Output/talk/stems/{name}.flac" for name in ("dialogue", "background")}
        assert told.json == {"stems": names}
        before = {path: Path(path).read_bytes() for path in names.values()}
        again = polydub("separate", "talk.mkv", "--download", "no", "--json")
        assert again.json == told.json
        assert "done in" not in again.err
        assert {path: Path(path).read_bytes() for path in before} == before

    def test_silence_has_silent_stems(self, polydub: Call, tmp_path: Path) -> None:
        noise("silence.wav", 0.0)
        for path in polydub("separate", "silence.wav", "--download", "no").out.splitlines():
            assert not soundfile.read(path)[0].any()

    def test_speech_without_a_pause_is_told_where_the_mask_cannot_work(self, polydub: Call, talk: list[Cue]) -> None:
        convert("talk.wav", "-ss", "1.0", "-t", "3.0", "-vn")
        told = polydub("separate", "talk.wav", "--download", "no")
        assert told.status == 0
        assert "could not be taken out of 3 s of the sound" in told.err

    def test_what_leaves_nothing_to_do_is_refused(self, polydub: Call, talk: list[Cue]) -> None:
        polydub("separate", "talk.mkv", "--separation", "none").fails(3, "leaves nothing to do")
        polydub("separate", "talk.mkv", "--stems").fails(3, "tells dialogue from the rest, no more", "demucs or mdx23")
        polydub("separate", "talk.mkv", "--separation", "demux").fails(3, "no separation engine 'demux'", "mask")
        polydub("separate", "talk.mkv", "--separation", "demucs").fails(4, "polydub engines install demucs")
        polydub("separate", "talk.mkv", "--separation", "deepfilternet").fails(4, "polydub models pull deepfilternet3")


@pytest.mark.parametrize("command", ["transcribe", "diarize", "separate"])
def test_help_shows_an_example_and_every_flag_a_meaning(polydub: Call, tmp_path: Path, command: str) -> None:
    told = polydub(command, "--help")
    assert told.status == 0
    assert f"polydub {command} " in told.out.partition("Options:")[0]
    for flag in ("--download", "--offline", "--json", "--out", "--models", "--environments", "--threads", "--audio-track"):
        assert flag in told.out
    assert ("--asr-model" in told.out) == (command == "transcribe")


def test_an_audio_track_can_be_chosen(polydub: Call, talk: list[Cue]) -> None:
    noise("noise.wav", 0.01, 3)
    convert("two.mkv", "-i", "noise.wav", "-map", "1:a", "-map", "0:a", "-c:a", "flac")
    words = ("diarize", "two.mkv", "--speakers", "2", "--download", "no")
    assert polydub(*words, "--audio-track", "1").out.strip() == ""
    assert polydub(*words, "--audio-track", "2").out.count(" SPEAKER_0") == 4
    polydub(*words, "--audio-track", "3").fails(3, "no audio track 3")


def test_strict_makes_a_substitute_an_error(polydub: Call, talk: list[Cue]) -> None:
    polydub("diarize", "talk.mkv", "--strict", "--download", "no").fails(7, "fingerprint stands in for resemblyzer")


def test_a_dry_run_downloads_nothing(polydub: Call, talk: list[Cue], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as origin:
        monkeypatch.setenv("HF_ENDPOINT", origin.address)
        words = ("dub", "talk.mkv", "--to", "es", "--from", "en", "--tts", "fake", "--mt", "fake", "--diarization", "none")
        told = polydub(*words, "--separation", "none", "--download", "yes", "--dry-run")
        assert told.status == 0
        assert "asr: pocketsphinx" in told.out
        assert not origin.asked


# weights of a toy encoder that a package outside polydub brings

CONTENT = bytes(range(256)) * 400
TOY = """
from dataclasses import replace
from polydub.engines.base import Weight, WeightFile
from polydub.engines.embedding.fingerprint import ENGINE as LIKE

def weights(options):
    file = WeightFile("toy.bin", "{sha256}", {length}, "{address}/toy.bin")
    return (Weight("{name}", "1", "files", "{licence}", {free}, (file,)),)

ENGINE = replace(LIKE, info=replace(LIKE.info, name="{name}"), weights=weights)
"""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as running:
        running.files["/toy.bin"] = CONTENT
        yield running


@pytest.fixture
def toys(origin: Origin, talk: list[Cue], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Encoders toy-free and toy-paid, whose weights the origin has and `models` lacks."""
    site = tmp_path / "site"
    (site / "toy-1.0.dist-info").mkdir(parents=True)
    (site / "toy-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    entries = "".join(f"toy-{name} = toy_{name}:ENGINE\n" for name in ("free", "paid"))
    (site / "toy-1.0.dist-info" / "entry_points.txt").write_text(f"[polydub.embedding]\n{entries}")
    for name, licence, free in (("free", "MIT", True), ("paid", "CC-BY-NC-4.0", False)):
        facts = {"sha256": digest(CONTENT), "length": len(CONTENT), "address": origin.address, "name": f"toy-{name}"}
        (site / f"toy_{name}.py").write_text(TOY.format(**facts, licence=licence, free=free))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("POLYDUB_MODELS", str(tmp_path / "models"))
    return tmp_path


def diarize(folder: Path, name: str, *arguments: str) -> Told:
    return program("diarize", "talk.mkv", "--speakers", "2", "--diarization", f"embedded:{name}", *arguments, cwd=folder)


def test_download_yes_fetches_and_goes_on(toys: Path, origin: Origin) -> None:
    told = diarize(toys, "toy-free", "--download", "yes")
    assert told.status == 0, told.err
    assert told.out.count(" SPEAKER_0") == 4
    assert "pull toy-free: done in" in told.err
    assert (toys / "models/toy-free/toy.bin").read_bytes() == CONTENT
    asked = len(origin.asked)
    assert diarize(toys, "toy-free", "--offline").out == told.out
    assert len(origin.asked) == asked


def test_damaged_weights_of_the_right_length_are_refused_until_they_are_mended(toys: Path, origin: Origin) -> None:
    right = diarize(toys, "toy-free", "--download", "yes").out
    file = toys / "models/toy-free/toy.bin"
    file.write_bytes(CONTENT[:-1] + b"?")
    for _ in range(2):
        diarize(toys, "toy-free").fails(6, "toy-free is damaged", "polydub models pull toy-free")
    assert program("models", "pull", "toy-free", cwd=toys).status == 0
    assert diarize(toys, "toy-free").out == right


@pytest.mark.parametrize("arguments", [("--download", "no"), ("--download", "ask"), (), ("--offline", "--download", "yes")])
def test_without_a_terminal_nothing_is_fetched_unasked(toys: Path, origin: Origin, arguments: tuple[str, ...]) -> None:
    diarize(toys, "toy-free", *arguments).fails(4, "its weights are not here", "polydub models pull toy-free")
    assert not origin.asked


def test_weights_without_commercial_use_are_never_fetched_unasked(toys: Path, origin: Origin) -> None:
    diarize(toys, "toy-paid", "--download", "yes").fails(4, "polydub models pull toy-paid")
    assert not origin.asked


def until_it_reads(pid: int) -> None:
    """Until a process that has put its question sleeps: a signal in the very moment before reading would be lost."""
    stat, asleep, ends = Path(f"/proc/{pid}/stat"), 0, time.monotonic() + 60
    while asleep < 6 and time.monotonic() < ends:
        time.sleep(0.05)
        state = stat.read_text().rpartition(")")[2].split()[0] if stat.exists() else "S"
        asleep = asleep + 1 if state == "S" else 0  # one that waits for a processor does not sleep


def answered(folder: Path, answer: bytes, *arguments: str) -> tuple[int, str, str, int]:
    """A command on a terminal where every question gets `answer`: status, stdout, what was shown, number of questions."""
    ours, theirs = pty.openpty()
    shown, questions, deadline = b"", 0, time.monotonic() + 60
    with subprocess.Popen(
        [*PROGRAM, *arguments], cwd=folder, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
        env=os.environ | {"TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        while time.monotonic() < deadline and select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if shown.count(b"[y/N]") > questions:
                questions += 1
                until_it_reads(process.pid)
                if answer == b"\x03":
                    os.killpg(process.pid, signal.SIGINT)
                else:
                    os.write(ours, answer)
        os.close(ours)
        assert process.stdout is not None
        out = process.stdout.read().decode()
    return process.returncode, out, shown.decode(), questions


def test_on_a_terminal_a_person_is_asked_and_yes_fetches(toys: Path, origin: Origin) -> None:
    words = ("diarize", "talk.mkv", "--speakers", "2", "--diarization", "embedded:toy-paid")
    status, out, shown, questions = answered(toys, b"y\n", *words)
    assert (status, questions) == (0, 1), shown
    assert "toy-paid, 102 kB, CC-BY-NC-4.0, not for commercial use" in shown
    assert out.count(" SPEAKER_0") == 4


def test_no_leaves_all_and_the_command_goes_on_with_what_there_is(talk: list[Cue], tmp_path: Path) -> None:
    words = ("dub", "talk.mkv", "--to", "es,fr", "--mt", "fake", "--tts", "fake", "--models", "models")
    status, out, shown, questions = answered(tmp_path, b"n\n", *words)
    assert status == 0, shown
    assert questions == 1, "one question for all weights and all languages"
    assert all(name in shown for name in ("faster-whisper-small", "resemblyzer", "deepfilternet3"))
    assert out == "Output/talk/dub.es.mkv\nOutput/talk/dub.fr.mkv\n"
    assert not list((tmp_path / "models").glob("*"))


def test_ctrl_c_at_the_question_can_be_gone_on_from(talk: list[Cue], tmp_path: Path) -> None:
    words = ("dub", "talk.mkv", "--to", "es", "--mt", "fake", "--tts", "fake", "--models", "models")
    status, out, shown, questions = answered(tmp_path, b"\x03", *words)
    assert (status, out, questions) == (130, "", 1), shown
    assert "Traceback" not in shown
    assert not list((tmp_path / "Output/.polydub/scratch").glob("p-*"))
    told = program(*words, "--json", cwd=tmp_path)
    assert told.status == 0
    assert program(*words, "--json", cwd=tmp_path).json["files"][0]["dubs"][0]["calls"] == 0
