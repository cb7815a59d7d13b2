"""Doubts about takes: on made sounds, on espeak-ng and on real speech."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub.audio.takes import END_DB, Take, doubts, end_db
from polydub.audio.trim import trim
from polydub.engines.registry import build_options, get
from polydub.text import durations
from polydub.types import Part, Samples

RATE_HZ = 22_050
TEXTS = {
    "en": ("Yes.", "The train to the coast is late again today.", "In 1984, 3.5 million people paid $2,500 each."),
    "es": ("¿Qué?", "El tren de la costa llega hoy otra vez con retraso.", "Vale, nos vemos mañana."),
    "de": ("Ja.", "Der Zug an die Küste hat heute wieder Verspätung.", "Bis morgen also."),
    "ru": ("Да.", "Сегодня очень хорошая погода, поэтому мы пойдём гулять."),
    "hi": ("हाँ।", "आज मौसम बहुत अच्छा है, इसलिए हम टहलने चलते हैं।"),
}


def speech(seconds: float, silence_s: float = 0.1) -> Samples:
    """A buzz that dies away within 30 ms, between two silences."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    buzz = 0.2 * np.sin(2 * np.pi * 150 * at) * np.minimum(1, (seconds - at) / 0.03)
    still = np.zeros(round(silence_s * RATE_HZ))
    return np.concatenate([still, buzz, still]).astype(np.float32)


def take(samples: Samples, rate_hz: int = RATE_HZ) -> Take:
    return Take(samples, rate_hz, *trim(samples, rate_hz))


def test_a_take_that_dies_away_after_the_expected_time_is_not_doubtful() -> None:
    assert doubts(take(speech(2.0)), 2.0) == ()


def test_a_take_that_ends_in_the_middle_of_a_sound_is_cut_off() -> None:
    assert doubts(take(speech(2.0)[: round(1.5 * RATE_HZ)]), 2.0) == ("cut-off",)


@pytest.mark.parametrize(
    ("took", "expected", "found"),
    [(0.2, 3.0, ("too-short",)), (9.0, 3.0, ("too-long",)), (1.5, 3.0, ()), (6.0, 3.0, ()), (0.25, 0.9, ()), (2.4, 0.9, ())],
)
def test_lengths_are_judged_by_what_the_text_should_take(took: float, expected: float, found: tuple[str, ...]) -> None:
    assert doubts(take(speech(took)), expected) == found


def test_where_nothing_is_expected_no_length_is_wrong() -> None:
    assert doubts(take(speech(30.0)), 0.0) == ()


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(1000, np.float32), np.zeros(3, np.float32)])
def test_silence_has_no_end(samples: Samples) -> None:
    assert end_db(samples, RATE_HZ) == -120.0
    assert "cut-off" not in doubts(Take(samples, RATE_HZ, 0, 0), 1.0)


def test_espeak_gives_no_false_alarm_and_most_of_its_cut_takes_are_found() -> None:
    engine = get("tts", "espeak-ng")
    chance, cut, found = random.Random(1), 0, 0
    with engine.load(build_options(engine, {"workers": 1}), {}, "cpu") as espeak:
        for language, texts in TEXTS.items():
            for voice in espeak.voices(language)[:3]:
                for text in texts:
                    audio = espeak.synthesize(Part(text, language, voice))
                    whole = take(audio.samples[0], audio.rate_hz)
                    expected = durations.predict(durations.prior(language), text, language)
                    assert doubts(whole, expected) == (), (language, voice.name, text)
                    at = round(whole.start + chance.uniform(0.3, 0.95) * (whole.end - whole.start))
                    cut += 1
                    found += end_db(whole.samples[:at], audio.rate_hz) > END_DB
    assert found > 0.7 * cut


def test_real_sentences_end_softly_and_most_that_are_cut_are_found(shared_data: Path) -> None:
    chance, cut, found = random.Random(1), 0, 0
    for file in sorted((shared_data / "media/ljspeech").rglob("*.wav")):
        samples, rate_hz = soundfile.read(file, dtype="float32")
        assert end_db(samples, rate_hz) < END_DB, file.name
        start, end = trim(samples, rate_hz)
        for _ in range(5):
            cut += 1
            found += end_db(samples[: round(start + chance.uniform(0.3, 0.95) * (end - start))], rate_hz) > END_DB
    assert cut and found > 0.65 * cut
