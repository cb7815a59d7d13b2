"""faster-whisper, loaded for real with tiny random weights: what it says is nonsense, how it behaves is not."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tiny_whisper import STRAY_BYTES, write_tiny_whisper

from polydub import languages
from polydub.audio import signal
from polydub.engines.asr.faster_whisper import ENGINE, WhisperOptions, WhisperTranscriber
from polydub.engines.asr.whisper_folders import NAMES, SIZES, TAGS
from polydub.engines.asr.whisper_weights import ENGLISH
from polydub.engines.base import Transcriber
from polydub.errors import EngineFailed, Missing, UnsupportedLanguage
from polydub.types import HEAR_HZ, Audio, Segment


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="session")
def english_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny.en", languages=())


@pytest.fixture
def load(tiny: Path) -> Iterator[Callable[..., Transcriber]]:
    """`load(folder, beam_size=1)` -> the engine, closed after the test."""
    opened = []

    def open_(folder: Path = tiny, **options: object) -> Transcriber:
        context = ENGINE.load(WhisperOptions(model=str(folder), **{"beam_size": 1, **options}), {}, "cpu")
        opened.append(context)
        return context.__enter__()

    yield open_
    for context in opened:
        context.__exit__(None, None, None)


def noise(seconds: float, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, (1, round(seconds * HEAR_HZ)))
    return Audio(samples.astype(np.float32), HEAR_HZ)


def read(path: Path) -> Audio:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1, dtype=np.float32)[None]
    return Audio(mono if rate == HEAR_HZ else signal.resample(mono, rate, HEAR_HZ), HEAR_HZ)


def check_segments(segments: list[Segment], speech: Audio) -> None:
    assert all(a.start <= b.start for a, b in pairwise(segments))
    for segment in segments:
        assert 0 <= segment.start <= segment.end <= speech.duration
        assert segment.text and segment.text == segment.text.strip()
        assert all(a.start <= b.start for a, b in pairwise(segment.words))
        for word in segment.words:
            assert type(word.start) is type(word.end) is type(word.confidence) is float
            assert 0 <= word.start <= word.end <= speech.duration and 0 <= word.confidence <= 1
            assert word.text and word.text == word.text.strip()


@pytest.mark.usefixtures("socket_disabled")
@pytest.mark.parametrize(
    "file", ["whisper-jfk/jfk.flac", "fw/stereo_diarization.wav", "empty.mp3", "ina/silence2sec.wav", "ami/trn02.wav"]
)
def test_real_sound_gives_segments_inside_it_without_the_network(
    shared_data: Path, load: Callable[..., Transcriber], file: str
) -> None:
    speech = read(shared_data / "media" / file)
    segments = list(load().transcribe(speech, "en"))
    check_segments(segments, speech)
    assert any(segment.words for segment in segments)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_model_says_times_are_in_order_and_characters_whole(tmp_path: Path, seed: int) -> None:
    folder = write_tiny_whisper(tmp_path, ("hello", *STRAY_BYTES), seed=seed)
    speech = noise(3.013, seed)
    with ENGINE.load(WhisperOptions(model=str(folder), beam_size=1), {}, "cpu") as engine:
        segments = list(engine.transcribe(speech, None))
    check_segments(segments, speech)
    assert "\ufffd" not in "".join(s.text + "".join(w.text for w in s.words) for s in segments)
    model = WhisperModel(str(folder), device="cpu", cpu_threads=1)
    raw, _ = model.transcribe(speech.samples[0], language="en", beam_size=1, temperature=0.0)
    assert "\ufffd" in "".join(segment.text for segment in raw)


def test_pieces_that_no_blank_parts_are_one_word(tmp_path: Path, load: Callable[..., Transcriber]) -> None:
    folder = write_tiny_whisper(tmp_path, ("hello", "-", "day", "&"))
    segments = list(load(folder).transcribe(noise(6), "en"))
    worded = [segment for segment in segments if segment.words]
    assert any("-" in word.text[1:] for segment in worded for word in segment.words)
    for segment in worded:
        assert " ".join(word.text for word in segment.words).split() == segment.text.split()


def test_in_languages_without_blanks_pieces_stay_apart(tmp_path: Path, load: Callable[..., Transcriber]) -> None:
    folder = write_tiny_whisper(tmp_path, ("hello", "-", "day", "&"))
    segments = list(load(folder).transcribe(noise(6), "ja"))
    assert any(word.text == "-" for segment in segments for word in segment.words)


def test_nothing_is_worked_out_before_it_is_asked_for(
    load: Callable[..., Transcriber], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "faster_whisper")

    def windows() -> int:
        return sum("Processing segment" in record.message for record in caplog.records)

    segments = load().transcribe(noise(5), "en")
    assert windows() == 0
    next(segments)
    begun = windows()
    assert begun >= 1 and list(segments)
    assert windows() > begun


def test_a_closed_transcription_ends_and_the_engine_goes_on(load: Callable[..., Transcriber]) -> None:
    engine, speech = load(), noise(5)
    whole = list(engine.transcribe(speech, "en"))
    begun = engine.transcribe(speech, "en")
    next(begun)
    begun.close()
    assert list(begun) == []
    assert list(engine.transcribe(speech, "en")) == whole and len(whole) > 1


def test_calls_beside_each_other_give_the_same(load: Callable[..., Transcriber]) -> None:
    engine = load(beam_size=2)
    sounds = [noise(1 + 0.3 * n, n) for n in range(4)]
    alone = [list(engine.transcribe(speech, "en")) for speech in sounds]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda speech: list(engine.transcribe(speech, "en")), sounds))
    assert alone == beside
    assert alone[2] and alone[2] != alone[3]


def longest_run(segments: list[Segment]) -> int:
    return max(len(list(run)) for segment in segments for _, run in groupby(segment.text.split()))


def longest_loop(segments: list[Segment]) -> int:
    """Most times that four words of a segment come again in it."""
    texts = [segment.text.split() for segment in segments]
    return max(
        Counter(tuple(words[n : n + 4]) for n in range(len(words) - 3)).most_common(1)[0][1] for words in texts if words[3:]
    )


def test_a_window_that_repeats_itself_is_decoded_once_more_without(tmp_path: Path, load: Callable[..., Transcriber]) -> None:
    folder, speech = write_tiny_whisper(tmp_path, ("hello",)), noise(3)
    stuck = list(load(folder, compression_ratio_threshold=1e6).transcribe(speech, "en"))
    assert longest_run(stuck) > 4
    segments = list(load(folder).transcribe(speech, "en"))
    check_segments(segments, speech)
    assert segments and longest_run(segments) <= 4


@pytest.mark.parametrize("seconds", [0, 0.001, 0.02, 0.05, 0.099])
def test_sound_too_short_for_a_word_has_none(load: Callable[..., Transcriber], seconds: float) -> None:
    engine = load()
    assert list(engine.transcribe(noise(seconds), "en")) == []
    assert engine.identify(noise(seconds)) == ("und", 0.0)


@pytest.mark.parametrize("samples", [1600, 1601, 1759, 1760, 1919, 1920])
def test_sound_of_any_length_is_heard(load: Callable[..., Transcriber], samples: int) -> None:
    speech = noise(samples / HEAR_HZ)
    check_segments(list(load().transcribe(speech, "en")), speech)


def test_a_multilingual_model_finds_the_language(load: Callable[..., Transcriber], tmp_path: Path) -> None:
    tag, probability = load().identify(noise(3))
    assert tag in TAGS and 0 < probability < 1
    norwegian = load(write_tiny_whisper(tmp_path, languages=("no",)))
    assert norwegian.identify(noise(3)) == ("nb", 1.0)


def test_an_english_model_says_so_and_refuses_others(english_only: Path, load: Callable[..., Transcriber]) -> None:
    engine = load(english_only)
    assert engine.identify(noise(3)) == ("en", 0.0)
    assert list(engine.transcribe(noise(3), "en-GB")) == list(engine.transcribe(noise(3), None)) != []
    with pytest.raises(UnsupportedLanguage, match="English only"):
        engine.transcribe(noise(1), "es")


@pytest.mark.parametrize(
    ("tag", "code"),
    [("es-MX", "es"), ("nb-NO", "no"), ("no", "no"), ("fil", "tl"), ("jv", "jw"), ("zh-Hant", "zh"), ("yue", "yue")],
)
def test_languages_are_taken_as_bcp_47(load: Callable[..., Transcriber], tmp_path: Path, tag: str, code: str) -> None:
    engine, speech = load(write_tiny_whisper(tmp_path, languages=(code,))), noise(1)
    check_segments(list(engine.transcribe(speech, tag)), speech)
    with pytest.raises(UnsupportedLanguage):
        engine.transcribe(speech, "en")


@pytest.mark.parametrize("tag", ["xx", "tlh", ""])
def test_a_language_that_whisper_lacks_is_refused_at_once(load: Callable[..., Transcriber], tag: str) -> None:
    with pytest.raises(UnsupportedLanguage):
        load().transcribe(noise(1), tag)


def test_its_languages_are_those_of_whisper_in_their_usual_spelling() -> None:
    assert sorted(languages.parse(code) for code in _LANGUAGE_CODES) == list(TAGS)


def test_a_model_has_the_languages_of_its_vocabulary(tiny: Path, english_only: Path, tmp_path: Path) -> None:
    def of(model: object) -> frozenset[str] | None:
        return ENGINE.languages(WhisperOptions(model=str(model)))

    assert of(tiny) == frozenset(TAGS)
    assert of(english_only) == {"en"}
    assert of(write_tiny_whisper(tmp_path, languages=("en", "jw"))) == {"en", "jv"}
    lines = json.loads((tmp_path / "vocabulary.json").read_text("utf-8"))
    (tmp_path / "vocabulary.json").unlink()
    (tmp_path / "vocabulary.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert of(tmp_path) == {"en", "jv"}
    assert of("small") == frozenset(TAGS) - {"yue"}
    assert of("large-v3") == of("turbo") == frozenset(TAGS)


def test_sizes_need_weights_and_folders_none(tiny: Path) -> None:
    for size in NAMES:
        (weight,) = ENGINE.weights(WhisperOptions(model=size))
        assert weight.id == f"faster-whisper-{size}"
        assert {"config.json", "model.bin", "tokenizer.json"} <= {*(file.name for file in weight.files), *weight.patterns}
        assert weight.bytes > 70_000_000 and (weight.languages == ("en",)) == (size in ENGLISH)
    assert ENGINE.weights(WhisperOptions(model=str(tiny))) == ()
    assert all(sorted(models) == sorted(SIZES) for models in ENGINE.models.values())


def test_pulled_weights_are_loaded_from_their_folder(tiny: Path) -> None:
    with ENGINE.load(WhisperOptions(beam_size=1), {"faster-whisper-small": tiny}, "cpu") as engine:
        assert list(engine.transcribe(noise(2), "en"))


@pytest.mark.parametrize("name", ["config.json", "model.bin", "tokenizer.json", "vocabulary.json"])
@pytest.mark.usefixtures("socket_disabled")
def test_a_folder_that_lacks_a_file_is_not_ready_and_not_completed_from_the_network(
    tiny: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    options = WhisperOptions(model=str(folder))
    assert ENGINE.check(options).ready
    (folder / name).unlink()
    available = ENGINE.check(options)
    assert not available.ready and name in available.reason and available.fix
    with pytest.raises(Missing, match=name), ENGINE.load(options, {}, "cpu"):
        pass


def test_a_model_that_is_neither_size_nor_folder_is_told(tmp_path: Path) -> None:
    for model in ("smal", str(tmp_path / "nowhere")):
        available = ENGINE.check(WhisperOptions(model=model))
        assert not available.ready and model in available.reason and "large-v3" in available.fix


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.bin", b""),
        ("model.bin", b"\x06\0\0\0" + b"\xff" * 500),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"[]"),
        ("config.json", b"{"),
        ("vocabulary.json", b"[]"),
        ("preprocessor_config.json", b'{"feature_size": 128}'),
    ],
)
def test_a_damaged_folder_is_an_engine_failure_with_a_hint(tiny: Path, tmp_path: Path, name: str, content: bytes) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    (folder / name).write_bytes(content)
    with pytest.raises(EngineFailed, match="copy") as failed, ENGINE.load(WhisperOptions(model=str(folder)), {}, "cpu"):
        pass
    assert failed.value.hint


def test_a_cut_off_model_is_an_engine_failure(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    whole = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineFailed), ENGINE.load(WhisperOptions(model=str(folder)), {}, "cpu"):
        pass


def test_hints_about_the_text_are_taken_and_too_many_are_an_engine_failure(load: Callable[..., Transcriber]) -> None:
    assert list(load(initial_prompt="my friend", hotwords="hello world").transcribe(noise(2), "en"))
    with pytest.raises(EngineFailed) as failed:
        list(load(initial_prompt="z" * 400, hotwords="z" * 400).transcribe(noise(2), "en"))
    assert "hotwords" in failed.value.hint


def test_the_identity_of_a_folder_is_its_content(tiny: Path, tmp_path: Path) -> None:
    def of(folder: Path) -> str:
        return ENGINE.version(WhisperOptions(model=str(folder)))

    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert of(copy) == of(tiny)
    whole = (copy / "model.bin").read_bytes()
    (copy / "model.bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert of(copy) != of(tiny)
    assert WhisperOptions(cpu_threads=8).identity() == WhisperOptions().identity()
    assert WhisperOptions(beam_size=1).identity() != WhisperOptions().identity()


def test_sampling_is_tried_in_steps_and_remarked_upon() -> None:
    assert WhisperOptions().temperatures == [0.0]
    assert WhisperOptions(temperature_max=0.6).temperatures == [0.0, 0.2, 0.4, 0.6]
    assert ENGINE.remarks(WhisperOptions(), "en") == ()
    assert ENGINE.remarks(WhisperOptions(temperature_max=0.2), "en")


@pytest.fixture(scope="session")
def long_speech(shared_data: Path) -> Audio:
    """45 seconds, in which somebody speaks four times."""
    once = read(shared_data / "media/whisper-jfk/jfk.flac")
    return Audio(np.concatenate([once.samples] * 4, axis=1), HEAR_HZ)


def test_windows_of_a_long_sound_are_decoded_at_once(
    load: Callable[..., Transcriber], long_speech: Audio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "faster_whisper")
    engine = load(batch_size=2, compression_ratio_threshold=1e6)
    segments = list(engine.transcribe(long_speech, "en"))
    check_segments(segments, long_speech)
    assert segments[0].start < 15 and segments[-1].end > 35
    late = [word for segment in segments for word in segment.words if word.start > 28]
    assert sum(word.duration for word in late) > 0.5, "the times of the second window count from its own start"
    assert not any("Processing segment" in record.message for record in caplog.records)
    assert list(engine.transcribe(long_speech, "en")) == segments
    first = next(iter(engine.transcribe(long_speech, None)))
    assert first.text


def test_one_window_is_decoded_the_same_whatever_the_batch(load: Callable[..., Transcriber]) -> None:
    assert list(load(batch_size=4).transcribe(noise(9), "en")) == list(load(batch_size=1).transcribe(noise(9), "en")) != []


def test_windows_decoded_at_once_that_repeat_themselves_are_decoded_again(
    load: Callable[..., Transcriber], long_speech: Audio
) -> None:
    stuck = list(load(batch_size=2, compression_ratio_threshold=1e6).transcribe(long_speech, "en"))
    segments = list(load(batch_size=2).transcribe(long_speech, "en"))
    check_segments(segments, long_speech)
    assert longest_loop(segments) < longest_loop(stuck)


def test_a_listener_may_leave_windows_decoded_at_once(load: Callable[..., Transcriber], long_speech: Audio) -> None:
    engine = load(batch_size=2)
    whole = list(engine.transcribe(long_speech, "en"))
    begun = engine.transcribe(long_speech, "en")
    assert next(begun) == whole[0]
    begun.close()
    assert list(begun) == []


def test_silence_and_noise_have_no_windows(load: Callable[..., Transcriber]) -> None:
    quiet = Audio(np.zeros((1, 40 * HEAR_HZ), np.float32), HEAR_HZ)
    assert list(load(batch_size=2).transcribe(quiet, "en")) == []
    check_segments(list(load(batch_size=2).transcribe(noise(40), "en")), noise(40))


class Credits:
    """Stands in for a WhisperModel that hears the same improbable words at 1 and at 5 seconds."""

    frames_per_second = 100

    def __init__(self, text: str, log_prob: float, no_speech: float = 0.0) -> None:
        self.model = SimpleNamespace(is_multilingual=False)
        self._facts = {"text": text, "avg_logprob": log_prob, "no_speech_prob": no_speech, "compression_ratio": 1.0, "seek": 0}

    def transcribe(self, samples: object, **settings: object) -> tuple[Iterator[SimpleNamespace], SimpleNamespace]:
        heard = (SimpleNamespace(start=at, end=at + 2.0, words=None, **self._facts) for at in (1.0, 5.0))
        return heard, SimpleNamespace(language="en")


@pytest.mark.parametrize(
    ("text", "log_prob", "no_speech", "kept"),
    [
        ("Thanks for watching!", -1.3, 0.0, 0),
        ("Thanks for watching!", -0.2, 0.9, 0),
        ("Subtitles by the Amara.org community", -1.3, 0.0, 0),
        ("Thanks for watching!", -0.2, 0.1, 2),
        ("Thanks for watching my dog.", -1.3, 0.9, 2),
    ],
)
def test_well_known_inventions_that_are_improbable_are_left_out(
    text: str, log_prob: float, no_speech: float, kept: int
) -> None:
    model = Credits(text, log_prob, no_speech)
    for known, expected in ((True, kept), (False, 2)):
        engine = WhisperTranscriber(model, WhisperOptions(known_phrases=known))
        assert [segment.text for segment in engine.transcribe(noise(9), None)] == [text] * expected


def test_models_for_english_only_have_one_language() -> None:
    for name in ENGLISH:
        assert ENGINE.languages(WhisperOptions(model=name)) == {"en"}


class SmallCard(WhisperModel):
    """A model on a card that has memory for so many windows at once."""

    room = 1

    def encode(self, features: np.ndarray) -> object:
        if features.ndim == 3 and len(features) > self.room:
            raise RuntimeError("CUDA failed with error out of memory")
        return super().encode(features)


def test_a_card_with_little_memory_decodes_fewer_windows_at_once(
    tiny: Path, long_speech: Audio, caplog: pytest.LogCaptureFixture
) -> None:
    def heard(model: WhisperModel, batch: int) -> list[Segment]:
        return list(WhisperTranscriber(model, options, batch).transcribe(long_speech, "en"))

    options = WhisperOptions(model=str(tiny), beam_size=1, compression_ratio_threshold=1e6)
    card = SmallCard(str(tiny), device="cpu")
    segments = heard(card, 8)
    check_segments(segments, long_speech)
    assert segments[0].start < 15 and segments[-1].end > 35
    assert "decoding 1 windows at once from now on" in caplog.text
    card.room = 0
    with pytest.raises(EngineFailed, match="ran out of memory, also with one window") as raised:
        heard(card, 8)
    assert "smaller model" in raised.value.hint


def test_one_loaded_model_hears_each_call_as_it_is_told(load: Callable[..., Any], tiny: Path) -> None:
    def heard(ear: Transcriber) -> str:
        return " ".join(segment.text for segment in ear.transcribe(noise(5), "en"))

    options: dict[str, Any] = {"beam_size": 1, "known_phrases": False, "no_speech_threshold": 1.0}
    whole = load(**options)
    alone = load(**options, initial_prompt="hello day", hotwords="hello")
    plain = heard(whole)
    told = whole.told(WhisperOptions(model=str(tiny), **options, initial_prompt="hello day", hotwords="hello"))
    assert heard(told) == heard(alone) != plain
    assert heard(whole) == plain
    hot = {heard(whole.told(WhisperOptions(model=str(tiny), **options, temperature=1.0))) for _ in range(3)}
    assert hot != {plain}


def test_options_that_came_later_change_no_key_until_they_are_set() -> None:
    assert "temperature" not in WhisperOptions().identity()
    assert WhisperOptions(temperature=0.5).identity()["temperature"] == 0.5
    assert WhisperOptions(temperature=0.3, temperature_max=0.8).temperatures == [0.3, 0.5, 0.7]
