"""Speaker encoders: the numbers are those of the network, weights are read without running anything, voices differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from legacy_torch import Numbers, write_legacy

from polydub.audio import mel
from polydub.engines.base import Engine, SpeakerEncoder, Weights
from polydub.engines.embedding import fingerprint, resemblyzer
from polydub.engines.embedding.resemblyzer import LAYOUT, distil
from polydub.errors import BadInput, MissingWeights
from polydub.types import HEAR_HZ, Audio, Samples, Span

FindWeights = Callable[[Engine, Any], Weights]


def random_state() -> dict[str, Numbers]:
    random = np.random.default_rng(5)
    return {name: random.normal(0, 0.12, shape).astype(np.float32) for name, shape in LAYOUT.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights."""
    made = tmp_path_factory.mktemp("resemblyzer")
    write_legacy(made / "pretrained.pt", random_state())
    distil(made / "pretrained.pt", made / resemblyzer.PACKED)
    return made


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[SpeakerEncoder]:
    with resemblyzer.ENGINE.load(resemblyzer.ResemblyzerOptions(), {"resemblyzer": folder}, "cpu") as loaded:
        yield loaded


def sound(seconds: float, level: float = 0.1, seed: int = 3) -> Audio:
    """Coloured noise that changes all the time."""
    noise = np.random.default_rng(seed).normal(0, 1, round(seconds * HEAR_HZ))
    slow = np.repeat(np.random.default_rng(seed).random(len(noise) // 4000 + 1), 4000)[: len(noise)]
    wave = np.convolve(noise, np.hanning(12), "same") * slow
    return Audio((level * wave / np.sqrt(np.mean(wave**2))).astype(np.float32)[np.newaxis], HEAR_HZ)


def by_the_book(state: dict[str, Numbers], spectra: Samples) -> np.ndarray[Any, Any]:
    """The network in double precision, gate by gate, for mel spectra (frames, 40)."""
    weights = {name: values.astype(np.float64) for name, values in state.items()}
    inputs = list(spectra.astype(np.float64))
    for layer in range(3):
        hidden, cell, outputs = np.zeros(256), np.zeros(256), []
        for row in inputs:
            gates = weights[f"lstm.weight_ih_l{layer}"] @ row + weights[f"lstm.bias_ih_l{layer}"]
            gates += weights[f"lstm.weight_hh_l{layer}"] @ hidden + weights[f"lstm.bias_hh_l{layer}"]
            enter, forget, candidate, out = np.split(gates, 4)
            cell = cell / (1 + np.exp(-forget)) + np.tanh(candidate) / (1 + np.exp(-enter))
            hidden = np.tanh(cell) / (1 + np.exp(-out))
            outputs.append(hidden)
        inputs = outputs
    vector = np.maximum(0, weights["linear.weight"] @ inputs[-1] + weights["linear.bias"])
    return vector / np.linalg.norm(vector)


def test_the_numbers_are_those_of_the_network(encoder: SpeakerEncoder) -> None:
    heard = sound(3)
    spectra = mel.spectra(heard.samples[0, 8000:33600])[:160]
    (row,) = encoder.embed(heard, [Span(0.5, 2.1)])
    assert np.abs(row - by_the_book(random_state(), spectra)).max() < 1e-5


def test_a_short_window_is_repeated_and_a_long_one_is_a_mean(encoder: SpeakerEncoder) -> None:
    heard = sound(6)
    short, long = encoder.embed(heard, [Span(1, 1.7), Span(0, 6)])
    filled = np.tile(heard.samples[:, 16000:27200], 3)[:, :25600]
    assert np.allclose(short, encoder.embed(Audio(filled, HEAR_HZ), [Span(0, 1.6)])[0], atol=1e-5)
    state, spectra = random_state(), mel.spectra(np.pad(heard.samples[0], (0, 25600)))
    starts = [start for start in range(0, 600, 77) if 96_000 - 160 * start >= 0.75 * 25600]
    mean = np.mean([by_the_book(state, spectra[start : start + 160]) for start in starts], axis=0)
    assert np.abs(long - mean / np.linalg.norm(mean)).max() < 1e-4


def test_quiet_speech_is_raised_and_loud_speech_is_left(encoder: SpeakerEncoder) -> None:
    loud, soft, softer = (encoder.embed(sound(2, level), [Span(0, 1.6)])[0] for level in (0.3, 0.02, 0.002))
    assert np.allclose(soft, softer, atol=1e-4)
    assert not np.allclose(loud, soft, atol=1e-3)


def test_rows_do_not_depend_on_what_else_is_asked_nor_on_threads(encoder: SpeakerEncoder) -> None:
    heard = sound(12)
    windows = [Span(n * 0.25, n * 0.25 + 1.6) for n in range(2 * resemblyzer.BATCH + 3)]
    together = encoder.embed(heard, windows)
    assert np.allclose(together[7], encoder.embed(heard, windows[7:8])[0], atol=1e-6)
    with ThreadPoolExecutor(3) as threads:
        again = list(threads.map(lambda _: encoder.embed(heard, windows).tobytes(), range(3)))
    assert set(again) == {together.tobytes()}


def test_converted_weights_are_always_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    distil(folder / "pretrained.pt", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (folder / resemblyzer.PACKED).read_bytes()
    (file,) = resemblyzer.WEIGHT.files
    assert (tmp_path / "again").stat().st_size == file.bytes


@pytest.mark.parametrize("code", [b"cos\nsystem\n(X\x04\x00\x00\x00trueR", b"cbuiltins\neval\n(X\x01\x00\x00\x001tR"])
def test_weights_that_hold_a_program_are_refused(tmp_path: Path, code: bytes) -> None:
    write_legacy(tmp_path / "bad.pt", random_state(), extra=code)
    with pytest.raises(BadInput, match="no part of weights") as caught:
        distil(tmp_path / "bad.pt", tmp_path / "out")
    assert caught.value.hint == "polydub models pull resemblyzer"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", [0, 10, 4000, 3_000_000])
def test_a_file_cut_short_is_refused(folder: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "cut.pt").write_bytes((folder / "pretrained.pt").read_bytes()[:kept])
    with pytest.raises(BadInput):
        distil(tmp_path / "cut.pt", tmp_path / "out")
    (tmp_path / resemblyzer.PACKED).write_bytes((folder / resemblyzer.PACKED).read_bytes()[:kept])
    loading = resemblyzer.ENGINE.load(resemblyzer.ResemblyzerOptions(), {"resemblyzer": tmp_path}, "cpu")
    with pytest.raises(MissingWeights), loading:
        pass


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    write_legacy(tmp_path / "other.pt", {**random_state(), "linear.bias": np.zeros(128, np.float32)})
    with pytest.raises(BadInput, match=r"linear\.bias"):
        distil(tmp_path / "other.pt", tmp_path / "out")


def test_weights_that_were_not_pulled_are_missing() -> None:
    with pytest.raises(MissingWeights) as caught, resemblyzer.ENGINE.load(resemblyzer.ResemblyzerOptions(), {}, "cpu"):
        pass
    assert caught.value.hint == "polydub models pull resemblyzer"


def test_sound_of_another_form_is_refused(encoder: SpeakerEncoder) -> None:
    for other in (encoder, fingerprint.Fingerprint()):
        with pytest.raises(ValueError, match="mono"):
            other.embed(Audio(np.zeros((2, 100), np.float32), HEAR_HZ), [])


def test_a_tone_is_in_the_band_of_its_frequency_and_twice_as_loud_is_four_times_the_power() -> None:
    time = np.arange(HEAR_HZ) / HEAR_HZ
    tones = np.sin(2 * np.pi * np.array([[300.0], [1000.0], [4000.0]]) * time).astype(np.float32)
    found = mel.spectra(tones)
    assert found.shape == (3, 101, 40)
    centres = (mel.bank() * np.linspace(0, 8000, 201)[:, None]).sum(axis=0) / mel.bank().sum(axis=0)
    assert np.abs(centres[found[:, 50].argmax(axis=1)] / [300, 1000, 4000] - 1).max() < 0.15
    assert np.allclose(mel.spectra(2 * tones), 4 * found, rtol=1e-4)
    assert np.allclose(mel.bank()[:, 20:].sum(axis=0) * 40, 1, atol=0.03)  # Slaney's triangles have an area of 1 Hz


def test_silence_has_no_power_and_no_sound_has_one_row() -> None:
    assert not mel.spectra(np.zeros(1600, np.float32)).any()
    assert mel.spectra(np.zeros(0, np.float32)).shape == (1, 40)


def test_the_fingerprint_does_not_hear_the_level() -> None:
    heard = sound(3)
    quiet = Audio(heard.samples * np.float32(0.01), HEAR_HZ)
    one, other = (fingerprint.Fingerprint().embed(s, [Span(0, 1.6), Span(1, 3)]) for s in (heard, quiet))
    assert np.allclose(one, other, atol=1e-3)


def test_the_fingerprint_says_that_it_is_the_weaker_one_and_what_to_type() -> None:
    (said,) = fingerprint.ENGINE.remarks(fingerprint.FingerprintOptions(), "und")
    assert "weaker" in said and "polydub models pull resemblyzer" in said
    assert "weaker" in fingerprint.ENGINE.info.summary


def equal_error(rows: Samples, people: list[str]) -> float:
    alike = rows @ rows.T
    first, second = np.triu_indices(len(people), 1)
    values = alike[first, second]
    same = np.array([people[a] == people[b] for a, b in zip(first, second, strict=True)])
    rates = [(float((values[same] < at).mean()), float((values[~same] >= at).mean())) for at in np.unique(values)]
    return min(max(pair) for pair in rates)


@pytest.mark.parametrize(
    ("engine", "limit"), [(resemblyzer.ENGINE, 0.04), (fingerprint.ENGINE, 0.06)], ids=["resemblyzer", "fingerprint"]
)
def test_speakers_are_told_apart_in_less_than_two_seconds(
    shared_data: Path, weights_of: FindWeights, engine: Engine, limit: float
) -> None:
    files = sorted((shared_data / "media/librispeech-speakers").glob("*/*.flac"))
    if not files:
        pytest.skip("needs ../shared/data/media/librispeech-speakers (not present)")
    options = engine.options()
    rows: list[Samples] = []
    with engine.load(options, weights_of(engine, options), "cpu") as encoder:
        for file in files:
            samples = soundfile.read(file, dtype="float32")[0][np.newaxis]
            middle = samples.shape[1] / HEAR_HZ / 2
            rows.append(encoder.embed(Audio(samples, HEAR_HZ), [Span(middle - 0.8, middle + 0.8)]))
    assert equal_error(np.concatenate(rows), [file.parent.name for file in files]) <= limit  # .018 and .027
