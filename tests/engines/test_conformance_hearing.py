"""What every engine that listens or separates promises: vad, asr, align, embedding, separation. Continues test_conformance.py.

What they answer is judged by checks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import (
    buzz,
    check_dialogue,
    check_no_loop,
    check_nothing_invented,
    check_probabilities,
    check_rows,
    check_segments,
    check_silent_outside,
    check_turns,
    check_words,
    energy,
    part,
    recorded,
    silence,
)
from conformity import Ready, has, needs_weights, running, usable

from polydub import languages
from polydub.audio.pcm import write_pcm
from polydub.audio.signal import resample
from polydub.engines.base import Calibration, Engine, Kind
from polydub.engines.opening import opened
from polydub.engines.registry import build_options
from polydub.errors import PolydubError
from polydub.types import HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Samples, Span, Turn

GetReady = Callable[[Kind, str], Ready]
NOTHING_LEFT = pytest.mark.usefixtures("socket_disabled", "nothing_left")
JFK_TEXT = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
ODD_TEXTS = (
    "And so -- my fellow Americans: ask not what your country can do for you!",
    "In 1961 the 35th said: “ask not”, 3.5 times (or so)",
    "Zxqvo my fellow naïve Ωmega 你好 don't well-known",
    "...",
    "one\n two\t three",
    "word " * 400,
)


@pytest.fixture(scope="session")
def jfk(shared_data: Path) -> Audio:
    return recorded(shared_data / "media/whisper-jfk/jfk.flac")


@running(having=needs_weights)
def test_damaged_weights_are_an_error_that_can_be_read(
    tmp_path: Path, kind: Kind, name: str, python_for: Callable[[Engine], Path | None]
) -> None:
    engine = usable(kind, name)
    options = build_options(engine, {})
    needed = engine.weights(options)
    for weight in needed:
        (tmp_path / weight.id).mkdir()  # of what is not pinned nothing is known to be there
        for file in weight.files:
            path = tmp_path / weight.id / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as holes:
                holes.truncate(file.bytes)
    folders = {weight.id: tmp_path / weight.id for weight in needed}
    with pytest.raises(PolydubError) as caught, opened(engine, options, folders, "cpu", python_for(engine)):
        pass
    assert caught.value.message and caught.value.hint


@running("vad")
@NOTHING_LEFT
def test_a_sound_of_any_length_has_a_probability_for_each_frame(ready: GetReady, kind: Kind, name: str) -> None:
    with ready(kind, name).load() as vad:
        for frames in (0, 1, VAD_FRAME - 1, VAD_FRAME, VAD_FRAME + 1, 3 * HEAR_HZ + 7):
            check_probabilities(vad.probabilities(silence(frames)), frames)
            check_probabilities(vad.probabilities(part(buzz(4), 0, frames / HEAR_HZ)), frames)


@running("vad")
@NOTHING_LEFT
def test_speech_is_likely_where_somebody_speaks_and_not_in_silence(ready: GetReady, jfk: Audio, kind: Kind, name: str) -> None:
    quiet = np.random.default_rng(1).normal(0, 1e-4, (1, 2 * HEAR_HZ)).astype(np.float32)
    with ready(kind, name).load() as vad:
        spoken = np.array(vad.probabilities(jfk))
        assert np.mean(spoken > 0.5) > 0.5
        assert max(vad.probabilities(silence(2 * HEAR_HZ))) < 0.2
        assert np.mean(vad.probabilities(Audio(quiet, HEAR_HZ))) < 0.3


@running("asr")
@NOTHING_LEFT
def test_segments_are_in_order_and_inside_the_sound(ready: GetReady, jfk: Audio, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    spoken = part(jfk, 0, 5.5)
    with row.load() as asr:
        found = check_segments(asr.transcribe(spoken, "en"), spoken.duration)
    assert found
    if not row.random:
        check_no_loop(found)


@running("asr")
@NOTHING_LEFT
def test_silence_and_sounds_too_short_for_a_word_are_no_error(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    with row.load() as asr:
        for frames in (0, 1, 159, 320, 1599, 3 * HEAR_HZ):
            found = check_segments(asr.transcribe(silence(frames), "en"), frames / HEAR_HZ)
            if not row.random:
                check_nothing_invented(found)
            check_segments(asr.transcribe(part(buzz(3), 0, frames / HEAR_HZ), "en"), frames / HEAR_HZ)


@running("asr")
@NOTHING_LEFT
def test_the_language_it_hears_is_a_tag_with_a_probability(ready: GetReady, jfk: Audio, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    known = row.engine.languages(row.options)
    with row.load() as asr:
        for sound in (jfk, silence(HEAR_HZ), silence(0), silence(100)):
            tag, probability = asr.identify(sound)
            assert tag == "und" or languages.parse(tag) == tag
            assert known is None or tag in {*known, "und"}
            assert 0 <= probability <= 1
            if known is not None and len(known) == 1:
                assert (tag, probability) == (min(known), 0)


@running("asr")
@NOTHING_LEFT
def test_a_listener_may_leave_early(ready: GetReady, jfk: Audio, kind: Kind, name: str) -> None:
    with ready(kind, name).load() as asr:
        asr.transcribe(jfk, "en").close()
        short = part(jfk, 0, 2)
        with closing(asr.transcribe(short, "en")) as started:
            next(started, None)
        check_segments(asr.transcribe(short, None), short.duration)


def _aligned(row: Ready) -> str:
    known = row.engine.languages(row.options)
    if known is not None and "en" not in known:
        pytest.skip("not run: it has no English, of which there is a recording")
    return "en"


@running("align")
@NOTHING_LEFT
def test_each_word_of_what_is_spoken_gets_its_time(ready: GetReady, jfk: Audio, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language = _aligned(row)
    with row.load() as aligner:
        found = aligner.align(jfk, JFK_TEXT, language)
        assert found is not None
        check_words(found, JFK_TEXT, jfk.duration)
        assert found[-1].end - found[0].start > 0.6 * jfk.duration


@running("align")
@NOTHING_LEFT
def test_words_that_no_dictionary_has_are_no_error(ready: GetReady, jfk: Audio, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language = _aligned(row)
    with row.load() as aligner:
        for text in ODD_TEXTS:
            found = aligner.align(jfk, text, language)
            if found is not None:
                check_words(found, text, jfk.duration)


@running("align")
@NOTHING_LEFT
def test_no_text_has_no_words_and_no_sound_is_no_error(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language = _aligned(row)
    with row.load() as aligner:
        for text in ("", "  ", "\n"):
            assert aligner.align(buzz(1), text, language) == ()
            assert aligner.align(silence(0), text, language) == ()
        for frames in (0, 1, 400, HEAR_HZ):
            found = aligner.align(silence(frames), JFK_TEXT, language)
            if found is not None:
                check_words(found, JFK_TEXT, frames / HEAR_HZ)


@running("embedding")
@NOTHING_LEFT
def test_every_window_has_a_row_of_unit_length(ready: GetReady, kind: Kind, name: str) -> None:
    sound = buzz(3)
    odd = [Span(1, 1), Span(1, 1.001), Span(1, 1.02), Span(2.9, 3.5), Span(50, 60), Span(0, 3), Span(2, 2.5), Span(0.5, 1)]
    with ready(kind, name).load() as encoder:
        for windows in ((), odd[:1], odd):
            check_rows(encoder.embed(sound, windows), windows)
            check_rows(encoder.embed(silence(HEAR_HZ), windows), windows)
            check_rows(encoder.embed(silence(0), windows), windows)
        together = encoder.embed(sound, odd)
        alone = np.concatenate([encoder.embed(sound, [window]) for window in odd])
    assert np.allclose(together, alone, atol=1e-4), "windows do not know of each other"


@running("embedding")
@NOTHING_LEFT
def test_one_voice_is_nearer_to_itself_than_to_others(ready: GetReady, shared_data: Path, kind: Kind, name: str) -> None:
    folders = sorted((shared_data / "media/librispeech-speakers").iterdir())
    sounds = [recorded(file) for folder in folders for file in sorted(folder.glob("*.flac"))[:2]]
    with ready(kind, name).load() as encoder:
        rows = np.concatenate([encoder.embed(sound, [Span(0, min(4.0, sound.duration))]) for sound in sounds])
        calibration: Calibration = encoder.calibration
    distances = 1 - rows @ rows.T
    speaker = np.repeat(np.arange(len(folders)), 2)
    same = distances[np.triu(speaker[:, None] == speaker, 1)]
    other = distances[np.triu(speaker[:, None] != speaker, 1)]
    nearest = speaker[np.argmin(distances + 9 * np.eye(len(rows)), axis=1)]
    assert np.mean(nearest == speaker) >= 0.8
    assert np.median(same) <= calibration.same <= np.median(other)
    assert 0 < calibration.merge < 2 and 0 < calibration.centred < 2 and min(calibration.switch) >= 0


def mixed(speech: Audio, channels: int) -> tuple[Audio, Samples, tuple[Span, ...]]:
    """Speech in the middle of three seconds more of music-like tones: the mix, the speech alone, where it is."""
    start = round(1.5 * RATE_HZ)
    alone = np.pad(speech.samples, ((0, 0), (start, start))) * np.linspace(0.5, 0.7, channels, dtype=np.float32)[:, None]
    at = np.arange(alone.shape[1]) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * hz * at) for hz in (110, 277.2, 329.6, 880, 1760))
    bed = np.linspace(0.04, 0.02, channels)[:, None] * tones
    spans = (Span(1.5, 1.5 + speech.duration),)
    return Audio((alone + bed).astype(np.float32), RATE_HZ), alone.astype(np.float32), spans


@running("separation")
@pytest.mark.parametrize("channels", [1, 2, 6])
@NOTHING_LEFT
def test_dialogue_is_nearer_to_what_was_said_and_silent_elsewhere(
    ready: GetReady, shared_data: Path, kind: Kind, name: str, channels: int
) -> None:
    said = part(recorded(shared_data / "media/whisper-jfk/jfk.flac", RATE_HZ), 0.3, 2.3)
    sound, alone, speech = mixed(said, channels)
    row = ready(kind, name)
    with row.load() as separator:
        dialogue = check_dialogue(separator.separate(sound, speech), sound)
    check_silent_outside(dialogue, sound, speech)
    assert energy(dialogue) > 0
    if row.random:
        pytest.skip("not run on random weights: they know no speech; shape, place and sum are right")
    inside = slice(round(1.5 * RATE_HZ), -round(1.5 * RATE_HZ))
    assert energy((dialogue - alone)[:, inside]) < energy((sound.samples - alone)[:, inside])
    assert energy(dialogue) > 0.3 * energy(alone)


@running("separation")
@NOTHING_LEFT
def test_sound_of_any_length_is_separated_or_refused(ready: GetReady, kind: Kind, name: str) -> None:
    with ready(kind, name).load() as separator:
        for frames in (0, 1, 10, 479, 480, 961, 4800, RATE_HZ):
            sound = Audio(buzz(1, RATE_HZ, 2).samples[:, :frames], RATE_HZ)
            for speech in ((), (Span(0, frames / RATE_HZ),), (Span(0, 2),), (Span(0.005, 0.01), Span(0.3, 0.31))):
                dialogue = separator.separate(sound, speech)
                if dialogue is not None:
                    check_silent_outside(check_dialogue(dialogue, sound), sound, speech)


@running("separation")
@NOTHING_LEFT
def test_silence_and_sound_without_speech_have_no_dialogue(ready: GetReady, kind: Kind, name: str) -> None:
    with ready(kind, name).load() as separator:
        for sound, speech in ((silence(RATE_HZ, RATE_HZ, 2), (Span(0.2, 0.8),)), (buzz(1, RATE_HZ, 2), ())):
            dialogue = separator.separate(sound, speech)
            if dialogue is not None:
                assert np.abs(check_dialogue(dialogue, sound)).max() < 1e-6


@running("separation", having=has("stems"))
@pytest.mark.parametrize("channels", [1, 2])
@NOTHING_LEFT
def test_stems_sum_to_the_sound_and_outside_the_spans_all_is_other(
    ready: GetReady, kind: Kind, name: str, channels: int
) -> None:
    sound, spans = buzz(3, RATE_HZ, channels), (Span(1.0, 2.0),)
    outside = [slice(0, round(0.5 * RATE_HZ)), slice(round(2.5 * RATE_HZ), None)]
    with ready(kind, name).load() as separator:
        stems: Mapping[str, Samples] = separator.stems(sound, spans)
    assert next(iter(stems)) == "vocals" and list(stems)[-1] == "other"
    for stem in stems.values():
        assert stem.shape == sound.samples.shape and stem.dtype == np.float32 and np.isfinite(stem).all()
    assert np.allclose(sum(stems.values()), sound.samples, atol=1e-6)
    for name_, stem in stems.items():
        rest = sound.samples if name_ == "other" else np.zeros_like(stem)
        assert all(np.allclose(stem[:, part], rest[:, part], atol=1e-6) for part in outside)


@pytest.fixture(scope="session")
def talk(shared_data: Path) -> Audio:
    """Two people in turn, 13 s, with pauses between them and hum as some small engines hear it."""
    people = [sorted(folder.glob("*.flac"))[0] for folder in sorted((shared_data / "media/librispeech-speakers").iterdir())[:2]]
    one, two = (recorded(file) for file in people)
    pause = silence(round(0.7 * HEAR_HZ)).samples
    said = [part(one, 0, 3), part(two, 0, 3), part(one, 3, 6)]
    return Audio(np.concatenate([piece for sound in said for piece in (pause, sound.samples)], axis=1), HEAR_HZ)


@pytest.fixture
def film(tmp_path: Path) -> Callable[[Audio], Path]:
    """A sound as diarizers are given it: a file."""

    def write(sound: Audio) -> Path:
        write_pcm(tmp_path / "film.wav", [sound.samples])
        return tmp_path / "film.wav"

    return write


@running("diarization")
@NOTHING_LEFT
def test_turns_are_in_order_and_inside_the_sound(
    ready: GetReady, talk: Audio, film: Callable[[Audio], Path], kind: Kind, name: str
) -> None:
    row = ready(kind, name)
    with row.load() as diarizer:
        free, one, two = (tuple(diarizer.diarize(film(talk), r)) for r in (None, range(1, 2), range(1, 3)))
        for found in (free, one, two):
            check_turns(found, talk.duration)
        assert len({turn.speaker for turn in one}) <= 1 and len({turn.speaker for turn in two}) <= 2
        if row.engine.info.deterministic:
            assert tuple(diarizer.diarize(film(talk), None)) == free
    if not row.random:
        assert sum(turn.duration for turn in free) > 0.5 * talk.duration
        assert {turn.speaker for turn in one} and len({turn.speaker for turn in two}) == 2


@running("diarization")
@NOTHING_LEFT
def test_silence_is_nobody_and_sound_of_any_length_is_no_error(
    ready: GetReady, film: Callable[[Audio], Path], kind: Kind, name: str
) -> None:
    with ready(kind, name).load() as diarizer:
        for frames in (0, 1, 399, 1599, 2 * HEAR_HZ):
            for speakers in (None, range(2, 4)):
                assert tuple(diarizer.diarize(film(silence(frames)), speakers)) == ()
                sound = part(buzz(3), 0, frames / HEAR_HZ)
                check_turns(tuple(diarizer.diarize(film(sound), speakers)), sound.duration)


@pytest.mark.parametrize(
    "turns",
    [
        (Turn(1, 2, "a"), Turn(0, 1, "b")),
        (Turn(0, 4, "a"),),
        (Turn(1, 1, "a"),),
        (Turn(1, 2, ""),),
    ],
)
def test_bad_turns_are_noticed(turns: tuple[Turn, ...]) -> None:
    with pytest.raises(AssertionError):
        check_turns(turns, 3.0)


def _transcript(engine: Any, sound: Audio) -> object:
    return tuple(engine.transcribe(sound, "en")), engine.identify(sound)


def _dialogue(engine: Any, sound: Audio) -> object:
    wide = Audio(resample(sound.samples, HEAR_HZ, RATE_HZ), RATE_HZ)
    found = engine.separate(wide, (Span(0.4, sound.duration - 0.4),))
    return None if found is None else found.tobytes()


USES: Mapping[Kind, Callable[[Any, Audio], object]] = {
    "vad": lambda engine, sound: tuple(engine.probabilities(sound)),
    "asr": _transcript,
    "align": lambda engine, sound: engine.align(sound, "And so my fellow Americans", "en"),
    "embedding": lambda engine, sound: engine.embed(sound, [Span(0, 1), Span(0.5, 2)]).tobytes(),
    "separation": _dialogue,
}


@pytest.mark.slow
@running(*USES, having=lambda engine: engine.info.deterministic)
@NOTHING_LEFT
def test_answers_are_the_same_again_in_any_order_and_from_threads(ready: GetReady, jfk: Audio, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    sounds = [part(jfk, 0, 2.2), part(jfk, 3.3, 5.3), buzz(2)]
    with row.load() as engine:
        first = [USES[kind](engine, sound) for sound in sounds]
    with row.load() as engine:
        assert [USES[kind](engine, sound) for sound in reversed(sounds)] == first[::-1]
        if row.engine.info.parallel != 1:
            with ThreadPoolExecutor(row.engine.info.parallel or 4) as threads:
                assert list(threads.map(lambda sound: USES[kind](engine, sound), sounds * 2)) == first * 2
