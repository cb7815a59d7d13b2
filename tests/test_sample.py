from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pyloudnorm
import pysubs2
import pytest
from numpy.typing import NDArray

from polydub.sample import DIALOGUE, VOICES, SampleFiles, make_sample, music
from polydub.types import RATE_HZ

Sound = NDArray[np.float64]


def decoded(film: Path) -> Sound:
    """Stereo samples of the film, shape (frames, 2)."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(film), "-map", "0:a", "-f", "f32le", "-"]
    pcm = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    return np.frombuffer(pcm, np.float32).reshape(-1, 2).astype(np.float64)


def said(film: SampleFiles) -> dict[str, Sound]:
    """What each speaker says, one after the other, mono."""
    sound = decoded(film.video).mean(axis=1)
    cues = pysubs2.load(str(film.transcript))
    parts: dict[str, list[Sound]] = {name: [] for name in VOICES}
    for cue, (speaker, *_) in zip(cues, DIALOGUE, strict=True):
        parts[speaker].append(sound[cue.start * RATE_HZ // 1000 : cue.end * RATE_HZ // 1000])
    return {speaker: np.concatenate(p) for speaker, p in parts.items()}


def pitch_hz(voice: Sound) -> float:
    """Median fundamental of the clearly voiced 40-ms windows, 60 to 400 Hz, by autocorrelation."""
    window, low, high = RATE_HZ // 25, RATE_HZ // 400, RATE_HZ // 60
    found: list[float] = []
    for at in range(0, len(voice) - 2 * window, window):
        piece = voice[at : at + 2 * window] - voice[at : at + 2 * window].mean()
        spectrum = np.abs(np.fft.rfft(piece, 4 * window)) ** 2
        likeness = np.fft.irfft(spectrum)[: high + 1]
        best = low + int(np.argmax(likeness[low:]))
        if likeness[best] > 0.5 * likeness[0] > 0:
            found.append(RATE_HZ / best)
    return float(np.median(found))


def test_music_is_stereo_lasts_as_asked_and_stays_quiet() -> None:
    bed = music(5 * RATE_HZ + 7).samples
    assert bed.shape == (2, 5 * RATE_HZ + 7)
    assert np.isfinite(bed).all()
    assert np.abs(bed).max() < 0.3
    assert np.abs(bed[0] - bed[1]).max() > 0.01
    assert -32 < pyloudnorm.Meter(RATE_HZ).integrated_loudness(bed.T) < -26


def test_music_is_never_silent_between_its_fades() -> None:
    bed = music(12 * RATE_HZ).samples[:, RATE_HZ : -2 * RATE_HZ]
    power = (bed[:, : bed.shape[1] // 4800 * 4800].reshape(2, -1, 4800) ** 2).mean(axis=(0, 2))
    assert 10 * np.log10(power.min()) > -45


def test_every_line_of_the_dialogue_has_a_translation_of_its_own() -> None:
    assert 6 <= len(DIALOGUE) <= 8
    assert {speaker for speaker, *_ in DIALOGUE} == set(VOICES)
    assert all(english and spanish and english != spanish for _, english, spanish, _ in DIALOGUE)


@pytest.mark.slow
def test_the_film_has_picture_sound_and_english_subtitles(sample: SampleFiles) -> None:
    with av.open(str(sample.video)) as film:
        picture, sound, text = film.streams.video[0], film.streams.audio[0], film.streams.subtitles[0]
        assert (len(film.streams), picture.width, picture.height, picture.average_rate) == (3, 1280, 720, 25)
        assert (sound.rate, sound.channels, sound.language, text.language) == (RATE_HZ, 2, "eng", "eng")
        assert film.duration is not None
        assert 20 <= film.duration / 1e6 <= 30
    assert sample.video.stat().st_size < 5_000_000


@pytest.mark.slow
def test_the_picture_moves(sample: SampleFiles) -> None:
    with av.open(str(sample.video)) as film:
        frames = [
            frame.to_ndarray(format="gray").astype(int) for frame, _ in zip(film.decode(video=0), range(60), strict=False)
        ]
    assert np.abs(frames[0] - frames[-1]).mean() > 0.5


@pytest.mark.slow
def test_the_subtitle_track_names_the_speakers_at_the_times_of_the_files(sample: SampleFiles, tmp_path: Path) -> None:
    extracted = tmp_path / "extracted.ass"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(sample.video), "-map", "0:s", str(extracted)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    own, transcript, translation = (pysubs2.load(str(p)) for p in (extracted, sample.transcript, sample.translation))
    assert [(c.name, c.text) for c in own] == [(speaker, english) for speaker, english, *_ in DIALOGUE]
    assert [c.text for c in transcript] == [english for _, english, *_ in DIALOGUE]
    assert [c.text for c in translation] == [spanish for _, _, spanish, _ in DIALOGUE]
    assert [(c.start, c.end) for c in transcript] == [(c.start, c.end) for c in translation]
    assert max(abs(a.start - b.start) for a, b in zip(own, transcript, strict=True)) <= 10  # ASS counts in 1/100 s


@pytest.mark.slow
def test_the_two_voices_are_three_semitones_apart(sample: SampleFiles) -> None:
    voices = said(sample)
    assert 12 * np.log2(pitch_hz(voices["Nora"]) / pitch_hz(voices["Sam"])) >= 3


@pytest.mark.slow
def test_speech_stands_well_above_the_music_and_nothing_clips(sample: SampleFiles) -> None:
    meter = pyloudnorm.Meter(RATE_HZ)
    everything = decoded(sample.video)
    speech = [meter.integrated_loudness(np.stack([voice, voice], axis=1)) for voice in said(sample).values()]
    bed = meter.integrated_loudness(everything[-int(1.7 * RATE_HZ) :])
    assert np.abs(everything).max() < 0.99
    assert all(-21 < loudness < -17 for loudness in speech)
    assert min(speech) - bed > 7


@pytest.mark.slow
def test_the_music_of_the_film_is_the_music_of_the_module(sample: SampleFiles) -> None:
    film = decoded(sample.video)
    bed = music(len(film) // 1920 * 1920).samples.T
    lead = slice(RATE_HZ // 10, RATE_HZ * 9 // 10)  # before the first line
    assert np.corrcoef(film[lead, 0], bed[lead, 0])[0, 1] > 0.97


@pytest.mark.slow
def test_the_same_bytes_come_out_twice_whatever_the_folder_is_called(sample_original: SampleFiles, tmp_path: Path) -> None:
    again = make_sample(tmp_path / "-new '$(touch x)' ñ: folder")
    for first, second in ((getattr(sample_original, n), getattr(again, n)) for n in ("video", "transcript", "translation")):
        assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    assert sorted(p.name for p in again.video.parent.iterdir()) == ["sample.en.srt", "sample.es.srt", "sample.mkv"]
