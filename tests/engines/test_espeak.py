from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from polydub import languages
from polydub.engines.base import Engine, Options, Stock, Synthesizer
from polydub.engines.registry import get, match_language
from polydub.engines.tts import espeak
from polydub.errors import BadSettings, EngineFailed, UnsupportedLanguage
from polydub.types import Audio, Part, Voice

ENGINE: Engine = get("tts", "espeak-ng")
LINES = {
    "es": "Hoy vamos a hablar de trenes, y cada mañana el primer servicio sale de las cocheras antes del amanecer.",
    "en": "Today we will talk about trains, and every morning the first service leaves the depot before dawn.",
}
GREETINGS = {"chr": "ᎣᏏᏲ ᏙᎯᏧ", "cv": "Сывлӑх сунатӑп", "sjn": "mae govannen"}  # no numbers in these
Children = Callable[[], set[int]]


@pytest.fixture(scope="module")
def speech() -> Iterator[Synthesizer]:
    with ENGINE.load(ENGINE.options(), {}, "cpu") as synthesizer:
        yield synthesizer


def options(**values: object) -> Options:
    return ENGINE.options.model_validate(values)


def part(text: str, voice: str = "es", *, language: str = "es", rate: float = 1.0, **settings: float) -> Part:
    return Part(text, language, Voice("espeak-ng", voice, language, settings=settings), rate)


def digest(audio: Audio) -> bytes:
    return audio.samples.tobytes()


def test_a_line_spoken_fifty_times_by_all_workers_between_other_lines_has_the_same_samples(speech: Synthesizer) -> None:
    line, others = part(LINES["es"], "es+m3"), [part(f"Otra cosa número {n}.", "es+f2") for n in range(50)]
    mixed = [p for other in others for p in (other, line)]
    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(speech.synthesize, mixed))
    assert len({digest(a) for a in heard[1::2]}) == 1
    assert len({digest(a) for a in heard[::2]}) == 50


def test_workers_started_at_another_time_give_the_same_samples() -> None:
    lines = [Part(LINES["en"], "en", voice) for voice in _voices("en")]
    with ENGINE.load(options(workers=1), {}, "cpu") as one:
        first = [digest(one.synthesize(line)) for line in lines]
    time.sleep(1.1)  # espeak-ng would seed its noise with the second it starts in
    with ENGINE.load(options(workers=1), {}, "cpu") as other:
        other.synthesize(part("Primero otra cosa."))
        assert [digest(other.synthesize(line)) for line in reversed(lines)] == first[::-1]


def _voices(language: str) -> list[Voice]:
    with ENGINE.load(ENGINE.options(), {}, "cpu") as speech:
        return list(speech.voices(language))


def test_a_worker_killed_between_lines_is_replaced_and_the_sound_is_the_same(children: Children) -> None:
    line = part(LINES["es"])
    with ENGINE.load(options(workers=1), {}, "cpu") as speech:
        before = digest(speech.synthesize(line))
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        assert digest(speech.synthesize(line)) == before


def test_workers_killed_while_they_speak_are_survived(children: Children) -> None:
    line = part(LINES["es"] * 20)
    with ENGINE.load(options(workers=2), {}, "cpu") as speech, ThreadPoolExecutor(2) as pool:
        wanted = digest(speech.synthesize(line))
        running = [pool.submit(speech.synthesize, line) for _ in range(8)]
        time.sleep(0.03)
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        assert {digest(r.result()) for r in running} == {wanted}


def test_a_worker_that_hangs_is_replaced_after_the_time_out(children: Children) -> None:
    with ENGINE.load(options(workers=1, timeout_s=4), {}, "cpu") as speech:  # in which a new one has to start and to answer
        before = digest(speech.synthesize(part("Hola.")))
        (stuck,) = children()
        os.kill(stuck, signal.SIGSTOP)
        assert digest(speech.synthesize(part("Hola."))) == before
        assert stuck not in children()


def test_a_line_that_fails_twice_is_an_engine_error_that_does_not_show_the_text() -> None:
    with ENGINE.load(options(workers=1, timeout_s=0.001), {}, "cpu") as speech, pytest.raises(EngineFailed) as caught:
        speech.synthesize(part("Un secreto."))
    assert "secreto" not in caught.value.message + caught.value.hint


def test_no_process_is_left_after_closing(children: Children) -> None:
    with ENGINE.load(options(workers=3), {}, "cpu") as speech:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(speech.synthesize, [part(LINES["es"])] * 12))
        assert children()
    assert not children()


ORPHANING = """
import os, signal
from pathlib import Path
from polydub.engines.registry import get
from polydub.types import Part, Voice
engine = get("tts", "espeak-ng")
with engine.load(engine.options(workers=1), {}, "cpu") as speech:
    speech.synthesize(Part("Hola.", "es", Voice("espeak-ng", "es", "es")))
    print(*Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text().split(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_when_the_one_who_asked_is_killed() -> None:
    run = subprocess.run([sys.executable, "-c", ORPHANING], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL
    pids = run.stdout.split()
    assert pids
    end = time.monotonic() + 60
    while any(_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("blank", ["", "   ", "\n\t", "\x00", "\x01\x02"])
def test_blank_text_gives_zero_frames(speech: Synthesizer, blank: str) -> None:
    assert speech.synthesize(part(blank)).samples.shape == (1, 0)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("hola\x00 adiós", "hola  adiós"),
        ("hola \x0199P\x0120S adiós", "hola  99P 20S adiós"),
        ("hola\ud800 adiós", "hola  adiós"),
        ("uno\r\n\r\ndos", "uno    dos"),
    ],
)
def test_control_characters_are_spaces(speech: Synthesizer, text: str, plain: str) -> None:
    assert digest(speech.synthesize(part(text))) == digest(speech.synthesize(part(plain)))


@pytest.mark.parametrize(
    "text", ['<prosody volume="silent">hola</prosody>', "<audio src='/etc/passwd'/> hola", "[[h@loU]] hola", "$(id) `id` hola"]
)
def test_markup_phonemes_and_shell_text_are_spoken_or_ignored(speech: Synthesizer, text: str) -> None:
    sound = speech.synthesize(part(text))
    assert sound.duration > speech.synthesize(part("hola")).duration
    assert np.abs(sound.samples).max() > 0.1


def test_phoneme_brackets_are_brackets_like_any_other(speech: Synthesizer) -> None:
    assert digest(speech.synthesize(part("[[uno dos]]"))) == digest(speech.synthesize(part("((uno dos))")))


def test_a_line_longer_than_a_pipe_holds_is_spoken(speech: Synthesizer) -> None:
    padded = speech.synthesize(part("Hola." + " " * 200_000 + "Adiós."))
    assert 1 < padded.duration < 3


def test_rate_scales_the_length_and_stays_within_what_espeak_accepts(speech: Synthesizer) -> None:
    one, fast, slow = (speech.synthesize(part(LINES["es"], rate=r)).duration for r in (1.0, 1.3, 0.8))
    assert 1.15 < one / fast < 1.45
    assert 1.1 < slow / one < 1.4
    assert digest(speech.synthesize(part("Hola.", rate=50))) == digest(speech.synthesize(part("Hola.", rate=450 / 175)))


def test_settings_move_the_pitch(speech: Synthesizer) -> None:
    low, high = (pitch_hz(speech.synthesize(part(LINES["es"], "es+m3", pitch=p))) for p in (20, 80))
    assert high > 1.4 * low


@pytest.mark.parametrize(("name", "language"), [("es+f3", "es"), ("ES+F3", "en"), ("+f3", "es"), ("f3", "es-ES")])
def test_a_voice_can_be_named_in_full_or_by_its_variant(speech: Synthesizer, name: str, language: str) -> None:
    wanted = speech.synthesize(part("Hola.", "es+f3"))
    assert digest(speech.synthesize(part("Hola.", name, language=language))) == digest(wanted)


@pytest.mark.parametrize(
    ("name", "near"), [("es+f33", "f3"), ("ess+f3", "es"), ("es+adan", "adam"), ("f33", "f3"), ("../../x", "")]
)
def test_an_unknown_voice_names_the_nearest(speech: Synthesizer, name: str, near: str) -> None:
    with pytest.raises(BadSettings) as caught:
        speech.synthesize(part("Hola.", name))
    assert near in caught.value.hint


def test_an_unknown_setting_of_a_voice_is_an_error(speech: Synthesizer) -> None:
    with pytest.raises(BadSettings, match="volume"):
        speech.synthesize(part("Hola.", volume=3))


def test_an_unknown_language_names_the_nearest(speech: Synthesizer) -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        speech.voices("ess")
    assert "es" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "file"),
    [
        *[("es", "es"), ("es-MX", "es-419"), ("es-ES", "es"), ("zh", "cmn"), ("zh-CN", "cmn"), ("zh-HK", "yue"), ("no", "nb")],
        *[
            ("en", "en"),
            ("en-GB", "en"),
            ("en-US", "en-US"),
            ("en-AU", "en"),
            ("pt-BR", "pt-BR"),
            ("pt-PT", "pt"),
            ("sr-Latn", "sr"),
        ],
    ],
)
def test_a_language_falls_back_to_the_nearest_that_is_there(speech: Synthesizer, asked: str, file: str) -> None:
    assert {v.name.partition("+")[0] for v in speech.voices(asked)} == {file}
    assert {v.language for v in speech.voices(asked)} == {asked}


def test_every_language_espeak_says_it_has_speaks(speech: Synthesizer) -> None:
    tags = sorted(ENGINE.languages(ENGINE.options()) or ())
    assert len(tags) > 125
    with ThreadPoolExecutor(8) as pool:
        sounds = list(
            pool.map(lambda tag: speech.synthesize(part(GREETINGS.get(tag, "1 2 3"), f"{tag}+m3", language=tag)), tags)
        )
    assert [tag for tag, a in zip(tags, sounds, strict=True) if a.duration < 0.5 or np.abs(a.samples).max() < 0.05] == []


def test_every_known_language_that_is_matched_to_espeak_has_voices(speech: Synthesizer) -> None:
    has = ENGINE.languages(ENGINE.options()) or frozenset()
    matched = [tag for tag in languages.tags() if match_language(tag, has)]
    assert len(matched) > 90
    for tag in matched:
        assert len(speech.voices(tag)) >= 8


def pitch_hz(audio: Audio) -> float:
    """Median fundamental of the voiced frames, by autocorrelation."""
    sound, rate = audio.samples[0].astype(np.float64), audio.rate_hz
    size, low, high = round(0.04 * rate), rate // 400, rate // 55
    found: list[float] = []
    for at in range(0, len(sound) - size, round(0.01 * rate)):
        frame = sound[at : at + size] - sound[at : at + size].mean()
        if frame.std() < 0.02:
            continue
        power = np.fft.irfft(np.abs(np.fft.rfft(frame, 4 * size)) ** 2)[:size]
        same = power / power[0] / (1 - np.arange(size) / size)
        range_ = same[low:high]
        peaks = np.nonzero((range_[1:-1] >= range_[:-2]) & (range_[1:-1] >= range_[2:]) & (range_[1:-1] > 0.9 * range_.max()))[
            0
        ]
        if range_.max() > 0.5 and len(peaks):
            found.append(rate / (low + 1 + peaks[0]))
    return float(np.median(found))


def spectrum_db(audio: Audio) -> np.ndarray:
    """Long-term spectrum in 24 bands from 100 Hz to 8 kHz, mean removed."""
    size = 1024
    frames = np.lib.stride_tricks.sliding_window_view(audio.samples[0], size)[::256] * np.hanning(size)
    power = (np.abs(np.fft.rfft(frames)) ** 2).mean(0)
    hz = np.fft.rfftfreq(size, 1 / audio.rate_hz)
    edges = np.geomspace(100, 8000, 25)
    bands = [power[(hz >= a) & (hz < max(b, a + 22))].mean() for a, b in pairwise(edges)]
    levels = 10 * np.log10(np.array(bands) + 1e-12)
    return levels - levels.mean()


@pytest.mark.parametrize("language", ["es", "en"])
def test_any_two_voices_differ_by_three_semitones_or_three_decibels(speech: Synthesizer, language: str) -> None:
    voices = speech.voices(language)
    assert len(voices) == len(espeak.VOICES)
    heard = [speech.synthesize(Part(LINES[language], language, voice)) for voice in voices]
    measured = [(12 * np.log2(pitch_hz(a)), spectrum_db(a)) for a in heard]
    alike = [
        (one, other)
        for one, other in combinations(range(len(voices)), 2)
        if abs(measured[one][0] - measured[other][0]) < 3 and np.abs(measured[one][1] - measured[other][1]).mean() < 3
    ]
    assert alike == []
    assert abs(measured[0][0] - measured[1][0]) >= 4
    assert all(np.abs(a.samples).max() < 0.99 for a in heard)  # no clipping


def test_the_worker_finds_its_data_under_a_very_long_path(tmp_path: Path) -> None:
    import espeakng_loader

    folder = tmp_path / ("long" * 40) / ("path" * 20)
    folder.mkdir(parents=True)
    (folder / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    header, sound = _ask_worker(espeakng_loader.get_library_path(), str(folder / "espeak-ng-data"))
    assert header == {"rate_hz": 22050}
    assert len(sound) > 10_000


@pytest.mark.parametrize("broken", ["library", "data"])
def test_the_worker_says_what_it_cannot_find(tmp_path: Path, broken: str) -> None:
    import espeakng_loader

    (tmp_path / "empty").mkdir()
    library = str(tmp_path / "no.so") if broken == "library" else espeakng_loader.get_library_path()
    data = str(tmp_path / "empty") if broken == "data" else espeakng_loader.get_data_path()
    assert "error" in _ask_worker(library, data)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a death signal")
@pytest.mark.parametrize("how", ["input ends", "kill -9"])
def test_the_child_that_speaks_ends_with_its_worker(how: str) -> None:
    import espeakng_loader

    line = {"text": "Hola. " * 20_000, "voice": "es", "rate": 80, "pitch": 50, "range": 50}
    paths = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    command = [sys.executable, "-I", "-S", "-B", str(espeak.WORKER), *paths]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin
        worker.stdin.write(json.dumps(line).encode() + b"\n")
        worker.stdin.flush()
        listing = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
        while not (speaking := listing.read_text().split()):
            time.sleep(0.005)
        time.sleep(0.1)
        assert _alive(speaking[0])
        if how == "kill -9":
            worker.kill()
        else:
            worker.stdin.close()
        worker.wait(60)
        end = time.monotonic() + 60
        while _alive(speaking[0]) and time.monotonic() < end:
            time.sleep(0.005)
        assert not _alive(speaking[0])


def _ask_worker(library: str, data: str) -> tuple[dict[str, object], bytes]:
    command = [sys.executable, "-I", "-S", "-B", str(espeak.WORKER), library, data]
    line = {"text": "Hola.", "voice": "es", "rate": 175, "pitch": 50, "range": 50}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin and worker.stdout
        header = json.loads(worker.stdout.readline())
        if "error" in header:
            return header, b""
        worker.stdin.write(json.dumps(line).encode() + b"\n")
        worker.stdin.flush()
        return header, worker.stdout.read(json.loads(worker.stdout.readline())["bytes"])


JOKES = {"anikarobot", "unirobot", "whisper", "whisperf", "croak", "grandpa", "kaukovalta", "demonic", "announcer", "tweaky"}


@pytest.mark.parametrize("language", ["es", "ru", "zh"])
def test_the_stock_is_wide_has_no_joke_voices_and_all_of_it_speaks(speech: Stock, language: str) -> None:
    stock = speech.stock(language)
    assert len({(v.name, *v.settings.items()) for v in stock}) == len(stock)
    assert {v.language for v in stock} == {language}
    variants = {v.name.partition("+")[2].casefold() for v in stock}
    assert 20 <= len(variants) <= 30
    assert not variants & JOKES and not any(v.startswith("robosoft") for v in variants)
    with ThreadPoolExecutor(4) as pool:
        heard = list(pool.map(speech.synthesize, [Part("1 2 3", language, voice) for voice in stock]))
    assert all(np.abs(a.samples).max() > 0.05 for a in heard)
    pitches = [hz for a in heard if (hz := pitch_hz(a)) == hz]
    assert min(pitches) < 80 and max(pitches) > 270


def test_a_stock_of_an_unknown_language_is_refused(speech: Stock) -> None:
    with pytest.raises(UnsupportedLanguage):
        speech.stock("ess")


def test_near_voices_are_the_same_variant_a_little_lower_and_higher(speech: Stock) -> None:
    voice = next(v for v in speech.stock("es") if v.name == "es+m3" and v.settings["pitch"] == 50)
    voice = replace(voice, tone=(1.0, -1.0))
    near = speech.near(voice)
    assert len(near) > 8
    assert voice not in near
    assert len({tuple(v.settings.items()) for v in near}) == len(near)
    assert {(v.name, v.tone, v.language) for v in near} == {(voice.name, voice.tone, "es")}
    wanted = pitch_hz(speech.synthesize(Part(LINES["es"], "es", voice)))
    moved = [12 * np.log2(pitch_hz(speech.synthesize(Part(LINES["es"], "es", v))) / wanted) for v in near]
    assert min(moved) < -0.7 and max(moved) > 0.7
    assert max(map(abs, moved)) < 4


@pytest.mark.parametrize("pitch", [0, 99])
def test_near_voices_keep_to_what_espeak_has(speech: Stock, pitch: int) -> None:
    near = speech.near(Voice("espeak-ng", "es+m3", "es", settings={"pitch": pitch}))
    assert near
    assert all(0 <= v.settings["pitch"] <= 99 for v in near)


def test_a_longer_vocal_tract_lowers_the_formants_and_keeps_the_pace(speech: Synthesizer) -> None:
    small, own, large = (speech.synthesize(part(LINES["es"], "es+m3", tract=t)) for t in (90, 100, 110))
    assert digest(own) == digest(speech.synthesize(part(LINES["es"], "es+m3")))
    assert (small.rate_hz, own.rate_hz, large.rate_hz) == (24_500, 22_050, 20_000)
    assert small.duration == pytest.approx(own.duration, rel=0.04)
    assert large.duration == pytest.approx(own.duration, rel=0.04)
    assert pitch_hz(small) / pitch_hz(large) == pytest.approx(24.5 / 20, rel=0.05)
    assert centroid_hz(small) > 1.01 * centroid_hz(own) > 1.02 * centroid_hz(large)


def centroid_hz(audio: Audio) -> float:
    """Mean frequency of the power above 500 Hz."""
    power = np.abs(np.fft.rfft(audio.samples[0])) ** 2
    hz = np.fft.rfftfreq(audio.samples.shape[1], 1 / audio.rate_hz)
    heard = (hz > 500) & (hz < 6000)
    return float((hz * power)[heard].sum() / power[heard].sum())
