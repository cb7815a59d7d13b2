"""What is thought of recordings of voices: of real ones, and of the same spoiled on purpose."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from polydub.audio import signal
from polydub.engines.embedding.fingerprint import Fingerprint
from polydub.engines.vad import silero
from polydub.media.recordings import read_recording
from polydub.types import Audio, Samples, Span
from polydub.voices import quality
from polydub.voices.people import Likeness
from polydub.voices.quality import Ear, Figures, Quality

RATE_HZ = 16_000
EAR = Ear("fingerprint", Fingerprint())
Spoil = Callable[[Samples, int], Samples]


def speech(seconds: float = 8.0, hz: float = 140.0, level: float = 0.2) -> tuple[Audio, tuple[Span, ...]]:
    """Words of 0.8 s and pauses of 0.2 s: a buzz with all harmonics up to 7.5 kHz over very soft noise."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * hz * n * t + n * n) / n**0.5 for n in range(1, int(7_500 / hz)))
    talks = (t % 1.0) < 0.8
    wave = level * wave / np.abs(wave).max() * talks + 1e-5 * np.random.default_rng(1).normal(size=len(t))
    return Audio(wave[np.newaxis].astype(np.float32), RATE_HZ), tuple(Span(float(n), n + 0.8) for n in range(int(seconds)))


def codes(found: Quality) -> dict[str, str]:
    return {finding.code: finding.severity for finding in found.findings}


def test_clean_speech_of_the_right_length_has_nothing_wrong() -> None:
    sound, spans = speech()
    found = quality.judged(sound, spans, EAR)
    assert (found.findings, found.score, found.hopeless) == ((), 1.0, False)
    assert (found.figures.seconds, found.figures.speech_s, found.figures.told_by) == (8.0, 6.4, "fingerprint")


@pytest.mark.parametrize(
    ("seconds", "found"),
    [(2, {"too-short": "bad"}), (5, {"short": "info"}), (25, {"long": "info"}), (32, {"too-long": "warning"})],
)
def test_the_length_is_judged(seconds: float, found: dict[str, str]) -> None:
    assert codes(quality.judged(*speech(seconds))) == found


def noisy(ratio_db: float) -> Spoil:
    def add(x: Samples, _: int) -> Samples:
        noise = np.random.default_rng(2).normal(size=x.shape) * np.sqrt(np.mean(x**2) / 10 ** (ratio_db / 10))
        return (x + noise).astype(np.float32)

    return add


def cut_off(share: float) -> Spoil:
    return lambda x, _: np.clip(x, -share * np.abs(x).max(), share * np.abs(x).max())


def telephone(x: Samples, rate_hz: int) -> Samples:
    return signal.resample(signal.resample(x, rate_hz, 7_000), 7_000, rate_hz)[:, : x.shape[1]]


def echoing(x: Samples, rate_hz: int) -> Samples:
    rng, length = np.random.default_rng(3), round(0.8 * rate_hz)
    room = 0.3 * rng.normal(size=length) * 10 ** (-3 * np.arange(length) / rate_hz / 0.6)
    room[0] = 3.0
    size = 1 << (x.shape[1] + length).bit_length()
    wet = np.fft.irfft(np.fft.rfft(x[0], size) * np.fft.rfft(room, size))[: x.shape[1]]
    return (0.5 * wet / np.abs(wet).max())[np.newaxis].astype(np.float32)


def shifted(x: Samples, _: int) -> Samples:
    return x + np.float32(0.1 * np.sqrt(np.mean(x**2)))


def quiet(x: Samples, _: int) -> Samples:
    return x * np.float32(0.01)


SPOILED: list[tuple[Spoil, str, str]] = [
    (noisy(12), "noisy", "warning"),
    (noisy(2), "noisy", "bad"),
    (cut_off(0.15), "clipped", "bad"),
    (telephone, "narrow", "warning"),
    (shifted, "offset", "warning"),
    (quiet, "quiet", "warning"),
]


@pytest.mark.parametrize(("spoil", "code", "severity"), SPOILED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_was_spoiled_is_found(spoil: Spoil, code: str, severity: str) -> None:
    sound, spans = speech(12)
    found = quality.judged(Audio(spoil(sound.samples, RATE_HZ), RATE_HZ), spans)
    assert codes(found)[code] == severity
    assert found.hopeless is (severity == "bad")


def test_more_noise_is_a_lower_score() -> None:
    sound, spans = speech()
    scores = [quality.judged(Audio(noisy(db)(sound.samples, RATE_HZ), RATE_HZ), spans).score for db in (30, 24, 18, 12, 6)]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 5


@pytest.mark.parametrize("samples", [np.zeros((1, 0), np.float32), np.zeros((1, 32_000), np.float32)])
def test_silence_is_hopeless(samples: Samples) -> None:
    found = quality.judged(Audio(samples, RATE_HZ), (), EAR)
    assert found.hopeless and found.score == 0.0


@cache
def heard(path: Path) -> tuple[Audio, tuple[Span, ...]]:
    """A real recording and where somebody speaks in it."""
    sound = read_recording(path, 30.0)
    with silero.ENGINE.load(silero.ENGINE.options(), {}, "cpu") as detector:
        return sound, quality.speech_in(sound, detector)


@pytest.fixture
def real(shared_data: Path) -> Callable[[str], Quality]:
    """`real("voices/en-Carter_man.wav")` -> what is thought of that recording."""

    def judge(name: str) -> Quality:
        path = shared_data / "media" / name
        if not path.exists():
            pytest.skip(f"needs ../shared/data/media/{name} (not present)")
        return quality.judged(*heard(path), EAR)

    return judge


def test_music_under_a_voice_makes_it_worse_than_two_clean_ones(real: Callable[[str], Quality]) -> None:
    carter, maya, mary = (real(f"voices/en-{name}.wav") for name in ("Carter_man", "Maya_woman", "Mary_woman_bgm"))
    assert min(carter.score, maya.score) > 0.95 > 0.7 > mary.score
    assert codes(carter) == codes(maya) == {"long": "info"}
    assert codes(mary) == {"long": "info", "noisy": "warning"} and mary.figures.snr_db == pytest.approx(14, abs=3)


@pytest.mark.parametrize("name", ["0119", "0174"])
def test_a_noisy_recording_is_worse_than_the_clean_one(real: Callable[[str], Quality], name: str) -> None:
    clean, noise = real(f"ul-unas/clean/{name}.wav"), real(f"ul-unas/noisy/{name}.wav")
    assert clean.score > 0.9 and noise.score < 0.6 and "noisy" in codes(noise)
    assert clean.figures.snr_db - noise.figures.snr_db > 20


@pytest.mark.parametrize("name", ["laugh1.mp3", "empty.mp3", "demucs/test.mp3", "ina/silence2sec.wav"])
def test_what_is_no_speech_is_hopeless(real: Callable[[str], Quality], name: str) -> None:
    assert real(name).hopeless


def test_good_readings_pass(real: Callable[[str], Quality]) -> None:
    for name in ("ljspeech/LJ001-0001.wav", "ljspeech/LJ001-0003.wav", "librispeech-speakers/2414/2414-128291-0002.flac"):
        found = real(name)
        assert found.score > 0.9 and not found.findings


@pytest.mark.parametrize(
    ("spoil", "code"), [(cut_off(0.7), "clipped"), (telephone, "narrow"), (echoing, "echo"), (noisy(10), "noisy")]
)
def test_a_real_voice_that_was_spoiled_is_found(shared_data: Path, spoil: Spoil, code: str) -> None:
    sound, spans = heard(shared_data / "media/voices/en-Carter_man.wav")
    found = quality.judged(Audio(spoil(sound.samples, sound.rate_hz), sound.rate_hz), spans)
    assert codes(found)[code] == "warning" and found.score < 0.95


@pytest.fixture
def people(shared_data: Path) -> dict[str, list[Samples]]:
    """Four readings of each of two people, equally loud, at RATE_HZ."""
    folder = shared_data / "media/librispeech-speakers"
    found = {name: [heard(path)[0].samples for path in sorted((folder / name).glob("*.flac"))[:4]] for name in ("2033", "2414")}
    return {name: [x / np.float32(np.sqrt(np.mean(x**2)) / 0.05) for x in some] for name, some in found.items()}


def judged(parts: list[Samples]) -> Quality:
    sound = Audio(np.concatenate(parts, axis=1), RATE_HZ)
    with silero.ENGINE.load(silero.ENGINE.options(), {}, "cpu") as detector:
        return quality.judged(sound, quality.speech_in(sound, detector), EAR)


def test_two_people_in_one_recording_are_told_and_one_is_not(people: dict[str, list[Samples]]) -> None:
    one, other = people.values()
    assert codes(judged([one[0], other[1], one[1], other[2]]))["several"] in ("warning", "bad")
    assert codes(judged([one[0][:, : 6 * RATE_HZ], other[1][:, : 6 * RATE_HZ]]))["several"] in ("warning", "bad")
    assert "several" not in codes(judged(one)) and "several" not in codes(judged(other))


def test_a_recording_of_somebody_else_is_told_among_several(people: dict[str, list[Samples]]) -> None:
    one, other = ([judged([a]) for a in some[:3]] for some in people.values())
    assert quality.strangers(one) == quality.strangers(other) == quality.strangers([]) == ()
    assert quality.strangers([one[0], other[0], one[1], one[2]]) == (1,)
    assert quality.strangers([one[0], *other]) == (0,)


def test_a_recording_is_surely_of_another_person_where_no_microphone_can_be_the_reason() -> None:
    def heard(angle: float) -> Quality:
        likeness = Likeness((float(np.cos(angle)), float(np.sin(angle))), bound=0.3, sure=0.6)
        return Quality(Figures(10.0, 8.0, 40.0, 0.0, -20.0, -3.0, 0.0, 8000.0, 0.1), (), 1.0, likeness)

    told = [heard(0.0), heard(0.2), heard(1.0), heard(1.6)]
    assert quality.strangers(told) == (2, 3)
    assert quality.strangers(told, sure=True) == (3,)


def test_a_woman_and_a_man_after_one_another_are_refused(shared_data: Path) -> None:
    carter, mary = (heard(shared_data / f"media/voices/en-{name}.wav")[0] for name in ("Carter_man", "Mary_woman_bgm"))
    parts = [signal.resample(one.samples[:, : 10 * one.rate_hz], one.rate_hz, RATE_HZ) for one in (carter, mary)]
    found = judged(parts)
    assert codes(found)["several"] == "bad" and found.hopeless
