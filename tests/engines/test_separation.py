"""The engines that take dialogue out of the sound: made-up sounds, a net that lets everything through, real weights."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from polydub.audio import stems
from polydub.engines.base import Separator
from polydub.engines.separation import deepfilternet, mask, parts, ul_unas
from polydub.errors import MissingWeights
from polydub.sample import SampleFiles, music
from polydub.text.subtitles import parse_subtitles
from polydub.types import RATE_HZ, Audio, Samples, Span

Array = NDArray[np.float32]
SPEECH = (Span(0.5, 1.3), Span(1.9, 2.7))


# ONNX files by hand: the package that writes them is not needed for anything else. Field numbers: onnx.proto3.


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def node(operation: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> bytes:
    made = b"".join([*(field(1, name) for name in inputs), field(2, output), field(4, operation)])
    for name, value in attributes.items():
        if isinstance(value, int):
            made += field(5, field(1, name) + field(3, value) + field(20, 2))
        else:
            made += field(5, field(1, name) + b"".join(field(8, v) for v in value) + field(20, 7))
    return made


def constant(name: str, values: Sequence[float]) -> bytes:
    return field(1, len(values)) + field(2, 1) + field(8, name) + field(9, struct.pack(f"<{len(values)}f", *values))


def value(name: str, shape: Sequence[int | str]) -> bytes:
    dimensions = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))


Shapes = Mapping[str, Sequence[int | str]]


def net(nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Shapes, outputs: Shapes) -> bytes:
    graph = b"".join(field(1, n) for n in nodes) + field(2, "net") + b"".join(field(5, c) for c in constants)
    graph += b"".join(field(11, value(*i)) for i in inputs.items()) + b"".join(field(12, value(*o)) for o in outputs.items())
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def tiny_weights(folder: Path, gain: float, tap: float) -> Path:
    """Three files of the shapes of DeepFilterNet3, which apply one gain above and below 4.8 kHz, whatever they hear."""
    erb, spec = [1, 1, "S", 32], [1, 2, "S", 96]
    names = ("emb", "e3", "e2", "e1", "e0")
    copies = [node("Identity", ["feat_erb"], name) for name in names] + [node("Identity", ["feat_spec"], "c0")]
    encoder = net(copies, [], {"feat_erb": erb, "feat_spec": spec}, {**dict.fromkeys(names, erb), "c0": spec})
    nodes = [node("Mul", ["emb", "zero"], "none"), node("Add", ["none", "gain"], "m")]
    gains = net(nodes, [constant("zero", [0]), constant("gain", [gain])], dict.fromkeys(names, erb), {"m": erb})
    nodes = [
        node("Mul", ["c0", "zero"], "none"),
        node("Transpose", ["none"], "turned", perm=(0, 2, 3, 1)),
        node("Concat", ["turned"] * 5, "five", axis=3),
        node("Add", ["five", "taps"], "coefs"),
    ]
    now = constant("taps", [tap if n == 4 else 0 for n in range(10)])  # the real part of the third of five taps
    taps = net(nodes, [constant("zero", [0]), now], {"emb": erb, "c0": spec}, {"coefs": [1, "S", 96, 10]})
    for name, content in (("enc", encoder), ("erb_dec", gains), ("df_dec", taps)):
        (folder / f"{name}.onnx").write_bytes(content)
    return folder


def tiny_unas(folder: Path) -> Path:
    """A file of the shape of UL-UNAS that lets everything through."""
    caches = {name: [1, size] for name, size in ul_unas.CACHES.items()}
    names = {"mix": "enh", **{name: f"{name}_out" for name in caches}}
    frame = [1, 257, 1, 2]
    made = net(
        [node("Identity", [name], out) for name, out in names.items()],
        [],
        {"mix": frame, **caches},
        {"enh": frame, **{f"{name}_out": shape for name, shape in caches.items()}},
    )
    (folder / ul_unas.WEIGHT.files[0].name).write_bytes(made)
    return folder


@pytest.fixture(params=["mask", "deepfilternet", "ul-unas"])
def separator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Separator]:
    """Each engine; the net lets everything through."""
    if request.param == "mask":
        with mask.ENGINE.load(mask.ENGINE.options(), {}, "cpu") as loaded:
            yield loaded
    elif request.param == "ul-unas":
        with loaded_unas(tiny_unas(tmp_path)) as loaded:
            yield loaded
    else:
        with loaded_net(tiny_weights(tmp_path, 1, 1)) as loaded:
            yield loaded


def loaded_net(folder: Path) -> AbstractContextManager[deepfilternet.DeepFilter]:
    return deepfilternet.ENGINE.load(deepfilternet.ENGINE.options(), {deepfilternet.WEIGHT.id: folder}, "cpu")


def loaded_unas(folder: Path) -> AbstractContextManager[ul_unas.UlUnas]:
    return ul_unas.ENGINE.load(ul_unas.ENGINE.options(), {ul_unas.WEIGHT.id: folder}, "cpu")


def talk(seconds: float = 3.2, channels: int = 1, speech: Sequence[Span] = SPEECH) -> Samples:
    """A buzz inside the spans over noise, each channel at its own level."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 12)) * stems.gate(speech, len(t))
    mix = 0.1 * voice + 0.01 * np.random.default_rng(1).normal(size=len(t))
    return np.stack([mix / (1 + c) for c in range(channels)]).astype(np.float32)


def si_sdr(true: Array, found: Array) -> float:
    true, found = true.ravel().astype(np.float64), found.ravel().astype(np.float64)
    part = (found @ true) / (true @ true) * true
    return float(10 * np.log10((part @ part) / ((found - part) @ (found - part))))


def separated(separator: Separator, samples: Samples, speech: Sequence[Span]) -> Samples:
    found = separator.separate(Audio(samples), speech)
    assert found is not None
    assert found.shape == samples.shape and found.dtype == np.float32 and np.isfinite(found).all()
    return found


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_dialogue_has_the_shape_of_the_sound_and_lies_in_the_speech(separator: Separator, channels: int) -> None:
    sound = talk(channels=channels)
    found = separated(separator, sound, SPEECH)
    outside = stems.gate(SPEECH, sound.shape[1]) == 0
    assert not found[:, outside].any()
    assert (np.abs(found[:, ~outside]).max(axis=1) > 0.5 * np.abs(sound).max(axis=1)).all()


def test_each_channel_keeps_its_place(separator: Separator) -> None:
    sound = talk(channels=2)
    left, right = separated(separator, sound, SPEECH)
    assert np.abs(left / 2 - right).max() < 1e-5


def test_silence_has_no_dialogue(separator: Separator) -> None:
    assert not separated(separator, np.zeros((2, 2 * RATE_HZ), np.float32), SPEECH).any()


def test_without_speech_there_is_no_dialogue(separator: Separator) -> None:
    assert not separated(separator, talk(), ()).any()
    assert not separated(separator, talk(), (Span(50.0, 60.0),)).any()


@pytest.mark.parametrize("frames", [0, 1, 300, 5000])
def test_sounds_of_any_length_are_borne(separator: Separator, frames: int) -> None:
    sound = talk()[:, :frames]
    for speech in ((), (Span(0.0, 0.05),), (Span(0.0, 1.0),)):
        found = separator.separate(Audio(sound), speech)
        assert found is None or (found.shape == sound.shape and np.isfinite(found).all())


def test_level_does_not_matter(separator: Separator) -> None:
    loud, quiet = (separated(separator, talk() * np.float32(level), SPEECH) for level in (1, 0.001))
    assert np.abs(loud - quiet * 1000).max() < 1e-4


def test_threads_share_an_engine_and_get_the_same_bytes(separator: Separator) -> None:
    sound = talk(channels=2)
    alone = separated(separator, sound, SPEECH).tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert {pool.submit(separated, separator, sound, SPEECH).result().tobytes() for _ in range(6)} == {alone}


def test_the_mask_says_when_it_never_hears_the_background_alone() -> None:
    with mask.ENGINE.load(mask.ENGINE.options(), {}, "cpu") as separator:
        assert separator.separate(Audio(talk()), (Span(0.0, 3.2),)) is None


def test_a_net_that_lets_everything_through_gives_the_sound_back(tmp_path: Path) -> None:
    speech = (Span(0.2, 12.9),)  # more than one part: nothing may be heard where they meet
    sound = talk(13, 2, speech)
    with loaded_net(tiny_weights(tmp_path, 1, 1)) as separator:
        found = separated(separator, sound, speech)
    assert np.abs(found - sound * stems.gate(speech, sound.shape[1])).max() < 1e-5


def test_a_net_that_lets_nothing_through_gives_silence(tmp_path: Path) -> None:
    with loaded_net(tiny_weights(tmp_path, 0, 0)) as separator:
        assert not separated(separator, talk(), SPEECH).any()


def test_the_answer_of_a_net_is_heard_where_the_sound_is(tmp_path: Path) -> None:
    sound = talk()[0]
    with loaded_net(tiny_weights(tmp_path, 0.5, 0.5)) as separator:
        assert np.abs(separator.enhanced(sound) - 0.5 * sound).max() < 1e-5


def test_the_encoder_sees_levels_less_their_running_mean_two_frames_early() -> None:
    rng = np.random.default_rng(3)
    spectra = (rng.normal(size=(40, 481)) + 1j * rng.normal(size=(40, 481))).astype(np.complex64) * np.complex64(1e-3)
    erb, low = deepfilternet.features(spectra)
    assert erb.shape == (1, 1, 40, 32) and low.shape == (1, 2, 40, 96)
    mean, running = -60.0, 0.001  # of the lowest band and frequency
    for n, frame in enumerate(spectra):
        level = 10 * np.log10(np.mean(np.abs(frame[:2]) ** 2) + 1e-10)
        mean = 0.99 * mean + 0.01 * level
        running = 0.99 * running + 0.01 * np.abs(frame[0])
        if n >= 2:
            assert erb[0, 0, n - 2, 0] == pytest.approx((level - mean) / 40, abs=1e-5)
            assert low[0, 0, n - 2, 0] + 1j * low[0, 1, n - 2, 0] == pytest.approx(frame[0] / np.sqrt(running), rel=1e-4)
    assert not erb[0, 0, -2:].any() and not low[0, :, -2:].any()


@pytest.mark.parametrize("damage", ["missing", "garbage", "empty"])
def test_weights_that_cannot_be_read_are_named(tmp_path: Path, damage: str) -> None:
    file = tiny_weights(tmp_path, 1, 1) / "df_dec.onnx"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(b"garbage" if damage == "garbage" else b"")
    with pytest.raises(MissingWeights, match=r"df_dec\.onnx"), loaded_net(tmp_path):
        pass


def test_parts_cover_the_speech_once_and_are_short() -> None:
    speech = (Span(0.5, 1.0), Span(1.0, 20.0), Span(25.0, 26.0))
    found = list(parts.parts(speech, round(25.5 * RATE_HZ), deepfilternet.PART_S))
    covered = [n for start, stop in found for n in range(start, stop)]
    assert covered == [*range(RATE_HZ // 2, 20 * RATE_HZ), *range(25 * RATE_HZ, round(25.5 * RATE_HZ))]
    assert max(stop - start for start, stop in found) <= deepfilternet.PART_S * RATE_HZ
    assert list(parts.parts(speech, 0, 5.0)) == []


def test_frames_of_ul_unas_join_to_the_sound_they_were_cut_from(tmp_path: Path) -> None:
    sound = talk()[0, ::3]
    with loaded_unas(tiny_unas(tmp_path)) as separator:
        assert np.abs(separator.enhanced(sound) - sound).max() < 1e-6


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_weights_of_ul_unas_that_cannot_be_read_are_named(tmp_path: Path, damage: str) -> None:
    if damage == "garbage":
        (tmp_path / ul_unas.WEIGHT.files[0].name).write_bytes(b"garbage")
    with pytest.raises(MissingWeights, match="UL-UNAS"), loaded_unas(tmp_path):
        pass


@pytest.fixture(scope="session")
def unas(shared_data: Path) -> Path:
    folder = shared_data / "models/ul-unas"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/models/ul-unas (not present)")
    return folder


def test_the_listed_weights_of_ul_unas_are_the_real_ones(unas: Path) -> None:
    (file,) = ul_unas.WEIGHT.files
    content = (unas / file.name).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)


@pytest.mark.parametrize(("name", "least"), [("0119", 35), ("0174", 25)])
def test_ul_unas_answers_as_its_authors_say(unas: Path, shared_data: Path, name: str, least: float) -> None:
    folder = shared_data / "media/ul-unas"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/media/ul-unas (not present)")
    noisy, theirs = (heard(folder / kind / f"{name}.wav", 4)[0, ::3] for kind in ("noisy", "enhanced"))
    with loaded_unas(unas) as separator:
        ours = separator.enhanced(np.ascontiguousarray(noisy))
    ends = slice(4000, -4000)
    assert si_sdr(theirs[ends], ours[: len(theirs)][ends]) > least


@pytest.fixture(scope="session")
def deepfilternet3(shared_data: Path) -> Path:
    folder = shared_data / "models/deepfilternet3"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/models/deepfilternet3 (not present)")
    return folder


def test_the_listed_weights_are_the_real_ones(deepfilternet3: Path) -> None:
    for file in deepfilternet.WEIGHT.files:
        content = (deepfilternet3 / file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)


def heard(file: Path, seconds: float, channels: int = 1) -> Samples:
    """(channels, n) at RATE_HZ of a file's sound, by ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(file), "-t", str(seconds), "-map", "0:a:0",
               "-ac", str(channels), "-ar", str(RATE_HZ), "-f", "f32le", "-"]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, channels).T


@pytest.fixture(scope="session")
def mixed(shared_data: Path) -> tuple[Array, Array, tuple[Span, ...]]:
    """Five seconds of a reader over music at 5 dB, both channels alike, with pauses before and after; where she speaks."""
    files = (shared_data / "media/ljspeech/LJ001-0001.wav", shared_data / "media/demucs/test.mp3")
    for file in files:
        if not file.is_file():
            pytest.skip(f"needs {file.name} of ../shared/data (not present)")
    said, bed = heard(files[0], 5), heard(files[1], 7)
    speech = np.pad(said, ((0, 0), (RATE_HZ, 7 * RATE_HZ - RATE_HZ - said.shape[1])))
    bed = bed * np.sqrt(np.mean(said**2) / np.mean(bed**2) / 10**0.5)
    level = 0.5 / np.abs(speech + bed).max()
    both = (np.repeat(part * level, 2, axis=0).astype(np.float32) for part in (speech, bed))
    return (*both, (Span(0.95, 6.05),))


def test_the_real_net_tells_a_reader_from_music(deepfilternet3: Path, mixed: tuple[Array, Array, tuple[Span, ...]]) -> None:
    speech, bed, spans = mixed
    with loaded_net(deepfilternet3) as separator:
        found = separated(separator, speech + bed, spans)
    assert si_sdr(speech, found) > 9
    assert si_sdr(bed, speech + bed - found) > si_sdr(bed, speech + bed) + 9


def test_ul_unas_tells_a_reader_from_music(unas: Path, mixed: tuple[Array, Array, tuple[Span, ...]]) -> None:
    speech, bed, spans = mixed
    with loaded_unas(unas) as separator:
        found = separated(separator, speech + bed, spans)
    assert si_sdr(speech, found) > 9
    assert si_sdr(bed, speech + bed - found) > si_sdr(bed, speech + bed) + 9


def test_what_was_heard_long_before_changes_nothing(deepfilternet3: Path) -> None:
    sound, cut = talk(9, 1, (Span(6.0, 7.5),)), 3.0
    with loaded_net(deepfilternet3) as separator:
        whole = separated(separator, sound, (Span(0.5, 2.5), Span(6.0, 7.5)))
        late = separated(separator, sound[:, round(cut * RATE_HZ) :], (Span(6.0 - cut, 7.5 - cut),))
    spoken = slice(6 * RATE_HZ, round(7.5 * RATE_HZ))
    assert np.abs(whole[:, spoken]).max() > 0.01
    assert np.abs(whole[:, round(cut * RATE_HZ) :] - late)[:, 2 * RATE_HZ :].max() < 1e-5


def test_the_mask_tells_a_reader_from_music(mixed: tuple[Array, Array, tuple[Span, ...]]) -> None:
    speech, bed, spans = mixed
    found = separated(mask.PauseMask(), speech + bed, spans)
    assert si_sdr(speech, found) > 6
    assert si_sdr(bed, speech + bed - found) > si_sdr(bed, speech + bed) + 5


@pytest.mark.slow
def test_on_the_sample_film_the_bed_is_kept(sample_original: SampleFiles) -> None:
    sound = heard(sample_original.video, 60, 2)
    bed = music(sound.shape[1]).samples
    cues = parse_subtitles(sample_original.transcript.read_bytes(), ".srt").segments
    found = separated(mask.PauseMask(), sound, [Span(cue.start - 0.1, cue.end + 0.1) for cue in cues])
    assert si_sdr(bed, sound - found) > si_sdr(bed, sound) + 5
