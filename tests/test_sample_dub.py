"""The real embedded chain: espeak-ng speaks, the solver fits, ffmpeg mixes; judged by listening to the files that come out."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from polydub import config, sample
from polydub.audio.trim import shape, trim
from polydub.dubbing import Ears, Job, Outcome, dub_film
from polydub.engines.pool import EnginePool
from polydub.types import RATE_HZ, Samples

MARGIN_S = 0.04  # looked at on both sides of a line; pauses are 0.05 s at least
LONG = {  # longer than their slots, so that rates above 1 are needed
    "1": "Muy buenos días tengas, Nora querida. Hoy pareces realmente muy sorprendida.",
    "2": "Lo estoy, y mucho. Acabo de oírme hablar a mí misma en otro idioma distinto.",
    "4": "¿Y la música de fondo sigue ahí todavía?",
}


@dataclass(frozen=True)
class Dub:
    """A finished dub, opened."""

    folder: Path
    report: dict[str, Any]
    outcome: Outcome

    def stem(self, name: str) -> Samples:
        samples, rate = soundfile.read(self.folder / "stems" / f"{name}.es.flac", dtype="float32", always_2d=True)
        assert rate == RATE_HZ
        return samples.T

    def spoken(self, line: dict[str, Any]) -> Samples:
        """The dub stem around one line."""
        low, high = line["start"] - MARGIN_S, line["start"] + line["duration"] + MARGIN_S
        return self.stem("dub")[0, max(0, round(low * RATE_HZ)) : round(high * RATE_HZ)]


def dub(media: Path, translation: Path | None, folder: Path, **settings: object) -> Dub:
    loaded = config.load({"to": "es", "output": str(folder), **settings}, job=None, environ={}, cwd=folder, user_file=None)
    pool = EnginePool()
    try:
        (outcome,) = dub_film(Job(media, None, {"": translation} if translation else {}), loaded, pool, Ears())
    finally:
        pool.close()
    made = outcome.film.parent
    return Dub(made, json.loads((made / "report.es.json").read_text(encoding="utf-8")), outcome)


@pytest.fixture(scope="module")
def sample_dub(sample_original: sample.SampleFiles, tmp_path_factory: pytest.TempPathFactory) -> Dub:
    return dub(sample_original.video, sample_original.translation, tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def hasty_dub(sample_original: sample.SampleFiles, tmp_path_factory: pytest.TempPathFactory) -> Dub:
    """The sample with translations that do not fit at their natural pace."""
    folder = tmp_path_factory.mktemp("hasty")
    blocks = sample_original.translation.read_text(encoding="utf-8").strip().split("\n\n")
    numbered = {block.split("\n")[0]: block.split("\n") for block in blocks}
    for number, text in LONG.items():
        numbered[number][2:] = [text]
    subtitles = folder / "hasty.es.srt"
    subtitles.write_text("\n\n".join("\n".join(lines) for lines in numbered.values()) + "\n", encoding="utf-8")
    return dub(sample_original.video, subtitles, folder, voice_mode="preset")


def pitch_hz(samples: Samples) -> float:
    """Median fundamental of the voiced 40 ms frames, 60 to 400 Hz, by autocorrelation."""
    size, found = RATE_HZ // 25, []
    for start in range(0, len(samples) - size, size // 2):
        frame = samples[start : start + size] * np.hanning(size)
        spectrum = np.abs(np.fft.rfft(frame, 2 * size)) ** 2
        correlation = np.fft.irfft(spectrum)[:size]
        low, high = RATE_HZ // 400, RATE_HZ // 60
        best = low + int(np.argmax(correlation[low:high]))
        if correlation[0] > 1e-3 and correlation[best] > 0.5 * correlation[0]:
            found.append(RATE_HZ / best)
    return float(np.median(found))


def long_term_db(samples: Samples) -> np.ndarray:
    """Long-term spectrum in 24 bands from 100 Hz to 8 kHz, dB, without the overall level."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    edges = np.geomspace(100, 8000, 25)
    bands = np.array([spectrum[(hz >= a) & (hz < b)].mean() for a, b in pairwise(edges)])
    level = 10 * np.log10(bands + 1e-12)
    return level - level.mean()


def test_two_voices_are_heard(sample_dub: Dub) -> None:
    lanes = {}
    for speaker in ("Sam", "Nora"):
        lines = [line for line in sample_dub.report["lines"] if line["speaker"] == speaker]
        assert len(lines) == 4
        lanes[speaker] = np.concatenate([sample_dub.spoken(line) for line in lines])
    semitones = abs(12 * np.log2(pitch_hz(lanes["Sam"]) / pitch_hz(lanes["Nora"])))
    spectrum_db = np.abs(long_term_db(lanes["Sam"]) - long_term_db(lanes["Nora"])).mean()
    assert semitones >= 3 or spectrum_db >= 3, f"{semitones:.1f} semitones, {spectrum_db:.1f} dB"


def test_the_music_survives_and_comes_up_where_nobody_speaks(sample_dub: Dub) -> None:
    background = sample_dub.stem("background")
    music = sample.music(background.shape[1]).samples
    gain = 10 ** (sample_dub.report["loudness"]["gain_db"] / 20)
    lead = slice(round(0.2 * RATE_HZ), round(0.8 * RATE_HZ))  # music alone, before the first line
    heard, wanted = background[:, lead].astype(float), gain * music[:, lead].astype(float)
    scale = (heard * wanted).sum() / (wanted**2).sum()
    distortion_db = 10 * np.log10(((scale * wanted) ** 2).sum() / ((heard - scale * wanted) ** 2).sum())
    assert scale == pytest.approx(1, abs=0.1)
    assert distortion_db > 15
    line = sample_dub.report["lines"][2]
    under = slice(round((line["start"] + 0.3) * RATE_HZ), round((line["source_end"] - 0.3) * RATE_HZ))
    assert np.std(background[:, under]) > 0.001  # ducked, not removed


@pytest.mark.parametrize("which", ["sample_dub", "hasty_dub"])
def test_every_line_is_spoken_when_and_as_fast_as_the_report_says(which: str, request: pytest.FixtureRequest) -> None:
    made: Dub = request.getfixturevalue(which)
    for line in made.report["lines"]:
        around = made.spoken(line)
        start, end = trim(around, RATE_HZ)
        assert start / RATE_HZ - MARGIN_S == pytest.approx(0, abs=0.02), line["id"]
        assert (end - start) / RATE_HZ == pytest.approx(line["duration"], abs=0.04), line["id"]
        spoken_s = sum(phrase["duration"] for phrase in line["phrases"]) or line["duration"]
        assert line["rate"] == pytest.approx(line["natural_duration"] / spoken_s, abs=1e-3)
        assert 0.85 <= line["rate"] <= 1.30
        assert line["shift"] == pytest.approx(line["start"] - line["source_start"], abs=1e-6)


def test_natural_durations_are_those_of_the_engine_at_175_words_a_minute(hasty_dub: Dub) -> None:
    from polydub.audio.signal import resample
    from polydub.engines.tts.espeak import ENGINE
    from polydub.types import Part

    with ENGINE.load(ENGINE.options(), {}, "cpu") as tts:
        voices = {voice.name: voice for voice in tts.voices("es")}
        for line in hasty_dub.report["lines"]:
            spoken_s = 0.0
            for text in [phrase["text"] for phrase in line["phrases"]] or [line["text"]]:
                audio = tts.synthesize(Part(text, "es", voices[line["voice"]]))
                mono = resample(audio.samples, audio.rate_hz, RATE_HZ)[0]
                spoken_s += shape(mono, *trim(mono, RATE_HZ)).shape[0] / RATE_HZ
            assert spoken_s == pytest.approx(line["natural_duration"], abs=1e-6)


def test_hasty_lines_are_sped_up_and_none_talks_over_the_next(hasty_dub: Dub) -> None:
    lines = sorted(hasty_dub.report["lines"], key=lambda line: line["start"])
    assert max(line["rate"] for line in lines) > 1.05
    for before, after in pairwise(lines):
        assert before["start"] + before["duration"] <= after["start"] + 1e-6
    assert sum(line["overflow"] for line in lines) == 0


def test_the_dub_stem_is_silent_where_nobody_speaks(sample_dub: Dub) -> None:
    quiet = np.ones(sample_dub.stem("dub").shape[1], bool)
    for line in sample_dub.report["lines"]:
        quiet[round(line["start"] * RATE_HZ) : round((line["start"] + line["duration"]) * RATE_HZ)] = False
    assert np.abs(sample_dub.stem("dub")[:, quiet]).max() == 0


def test_the_sample_is_as_long_as_before_and_its_picture_is_the_same(
    sample_dub: Dub, sample_original: sample.SampleFiles
) -> None:
    assert picture_hash(sample_dub.outcome.film) == picture_hash(sample_original.video)
    assert duration(sample_dub.outcome.film) == pytest.approx(duration(sample_original.video), abs=1 / 25)


CUE = "1\n00:00:00,500 --> 00:00:04,000\n{}\n\n2\n00:00:04,500 --> 00:00:05,800\n{}\n"
CLIPS = {
    "englishvideo.mp4": CUE.format("Hola, soy de Boston.", "Me encanta viajar."),
    "demo1_video.mp4": CUE.format("Una frase para probar.", "Y otra más."),
    "vr_face1.mp4": CUE.format("Una frase en un clip muy corto.", "Y otra."),
}


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mkv", "mp4"])
@pytest.mark.parametrize("name", CLIPS)
def test_real_clips_are_dubbed(shared_data: Path, tmp_path: Path, name: str, container: str) -> None:
    clip = shared_data / "media" / "video" / name
    if not clip.exists():
        pytest.skip(f"needs ../shared/data/media/video/{name} (not present)")
    subtitles = tmp_path / "clip.es.srt"
    subtitles.write_text(CLIPS[name], encoding="utf-8")
    made = dub(clip, subtitles, tmp_path / "out", format=container)
    film = made.outcome.film
    assert film.suffix == f".{container}"
    assert picture_hash(film) == picture_hash(clip)
    fps = made.report["source"]["fps"]
    assert duration(film) == pytest.approx(duration(clip), abs=1 / fps + 0.001)
    assert made.report["loudness"]["after_true_peak_dbtp"] <= -1
    assert made.report["loudness"]["after_lufs"] == pytest.approx(-16, abs=0.5)
    for line in made.report["lines"]:
        start, end = trim(made.spoken(line), RATE_HZ)
        assert (end - start) / RATE_HZ == pytest.approx(line["duration"], abs=0.04)


def duration(path: Path) -> float:
    """Seconds that the container says it lasts, asked of PyAV."""
    import av

    with av.open(str(path)) as container:
        assert container.duration is not None
        return container.duration / av.time_base


def picture_hash(path: Path) -> str:
    """Checksum of the picture's packets."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-nostdin",
        "-v",
        "error",
        "-i",
        path,
        "-map",
        "0:v:0",
        "-c",
        "copy",
        "-f",
        "streamhash",
        "-",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("=")[-1]
