"""Windows, levels, blends and names of the separation nets, without any net: the engines' cheap half."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polydub.engines.base import Engine, Options
from polydub.engines.registry import build_options
from polydub.engines.separation import demucs, mdx23, net_weights
from polydub.engines.separation.nets import NET_HZ, Member, Net, NetOptions, NetSeparator, placed, windowed
from polydub.errors import BadSettings, EngineFailed
from polydub.types import RATE_HZ, Audio, Samples, Span

SPEECH = (Span(0.5, 1.3), Span(1.9, 2.7))


class Gain:
    """A net that lets a share of the sound through, to vocals and to drums, and counts."""

    def __init__(self, vocals: float = 0.5, drums: float = 0.25, window: int = 2 * NET_HZ, edge: int = 100) -> None:
        self.asked, self._shares, self._edge = 0, (vocals, drums), edge
        self.net = Net(("vocals", "drums"), window, edge, self.answer)

    def answer(self, stereo: Samples) -> Samples:
        self.asked += 1
        found = np.stack([stereo * np.float32(share) for share in self._shares])
        found[..., : self._edge] = found[..., stereo.shape[1] - self._edge :] = 1e6  # what must not be heard
        return found


def tones(seconds: float, channels: int = 2) -> Samples:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    rows = [sum(np.sin(2 * np.pi * (210 + 777 * k + 40 * c) * t + k) for k in range(9)) for c in range(channels)]
    return (0.02 * np.stack(rows)).astype(np.float32)


def separator(*members: Member, overlap: float = 0.25) -> NetSeparator:
    return NetSeparator(members, NetOptions(overlap=overlap))


def dialogue(engine: NetSeparator, sound: Samples, speech: Sequence[Span] = SPEECH) -> Samples:
    found = engine.separate(Audio(sound), speech)
    assert found is not None and found.shape == sound.shape and found.dtype == np.float32
    return found


def inside(*span: float) -> slice:
    return slice(round(span[0] * RATE_HZ), round(span[1] * RATE_HZ))


@pytest.mark.parametrize(("channels", "overlap"), [(1, 0.0), (2, 0.25), (3, 0.0), (2, 0.8)])
def test_what_nets_let_through_lies_where_it_was(channels: int, overlap: float) -> None:
    sound = tones(7.5, channels)
    found = dialogue(separator(Member(Gain().net), overlap=overlap), sound, [Span(0.5, 7.0)])
    assert np.abs(found - 0.5 * sound)[:, inside(0.6, 6.9)].max() < 2e-4
    assert not found[:, : RATE_HZ // 2].any() and not found[:, 7 * RATE_HZ :].any()


@pytest.mark.parametrize("frames", [0, 1, 300, 14_401])
def test_sounds_of_any_length_are_borne(frames: int) -> None:
    sound = tones(1.0)[:, :frames]
    for speech in ((), (Span(0.0, 0.05),), (Span(0.0, 2.0),)):
        assert np.isfinite(dialogue(separator(Member(Gain().net)), sound, speech)).all()


def test_level_does_not_matter() -> None:
    sound = tones(3.0)
    loud, quiet = (dialogue(separator(Member(Gain().net)), sound * np.float32(level)) for level in (1, 1e-4))
    assert np.abs(loud - quiet * 1e4).max() < 1e-5
    assert not dialogue(separator(Member(Gain().net)), np.zeros_like(sound)).any()


def test_the_same_part_is_asked_for_once() -> None:
    gain, sound = Gain(), tones(24.0)
    engine = separator(Member(gain.net))
    first = dialogue(engine, sound, [Span(12.0, 15.0)])
    asked = gain.asked
    moved = dialogue(engine, sound[:, 2 * RATE_HZ :], [Span(10.0, 13.0)])
    assert gain.asked == asked > 0
    assert np.array_equal(first[:, 2 * RATE_HZ :], moved)
    dialogue(engine, sound * np.float32(0.5), [Span(12.0, 15.0)])
    assert gain.asked > asked


def test_what_is_far_away_changes_nothing() -> None:
    sound = tones(30.0)
    other = sound.copy()
    other[:, : 4 * RATE_HZ] = other[:, 23 * RATE_HZ :] = 0
    first, second = (dialogue(separator(Member(Gain().net)), x, [Span(12.0, 15.0)]) for x in (sound, other))
    assert np.array_equal(first[:, inside(11, 16)], second[:, inside(11, 16)])


def test_members_count_as_much_as_they_weigh() -> None:
    sound = tones(3.0)
    half, none = Gain(0.5), Gain(0.0)
    found = dialogue(separator(Member(half.net, 3.0), Member(none.net, 1.0)), sound)
    assert np.abs(found - 0.375 * sound)[:, inside(0.6, 1.2)].max() < 2e-4


def test_polarity_turns_the_sound_over_and_back() -> None:
    square = Net(("vocals",), NET_HZ, 0, lambda x: (x + x**2)[None])
    window = tones(1.0)[:, :NET_HZ]
    plain, inverted, both = (Member(square, 1.0, polarity).heard(window) for polarity in ("plain", "inverted", "both"))
    assert np.allclose(plain, window + window**2) and np.allclose(inverted, window - window**2)
    assert np.allclose(both, window, atol=1e-7)


def test_stems_sum_to_the_sound_and_what_is_elsewhere_is_other() -> None:
    sound = tones(3.0)
    stems = separator(Member(Gain().net)).stems(Audio(sound), SPEECH)
    assert list(stems) == ["vocals", "drums", "other"]
    assert np.abs(sum(stems.values(), np.zeros_like(sound)) - sound).max() < 1e-7
    assert np.abs(stems["drums"] - 0.25 * sound)[:, inside(0.6, 1.2)].max() < 2e-4
    assert np.array_equal(stems["other"][:, : RATE_HZ // 2], sound[:, : RATE_HZ // 2])


@pytest.mark.parametrize("wrong", [lambda x: x[None, :, 1:], lambda x: np.full((1, *x.shape), np.nan, np.float32)])
def test_answers_that_are_no_sound_are_told(wrong: object) -> None:
    net = Net(("vocals",), NET_HZ, 0, wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(EngineFailed):
        dialogue(separator(Member(net)), tones(3.0))


@given(st.floats(0, 1e6), st.floats(1, 6e5), st.integers(10_000, 400_000), st.floats(0, 0.9))
def test_windows_cover_a_part_and_as_much_of_its_ends(low: float, length: float, useful: int, overlap: float) -> None:
    starts = placed((low, low + length), useful, overlap)
    assert starts == sorted(starts)
    assert starts[0] <= low + 1 and starts[-1] + useful >= low + length - 1
    assert all(b - a <= (1 - overlap) * useful for a, b in pairwise(starts))
    assert abs(starts[0] + starts[-1] + useful - (2 * low + length)) <= 2, "as much before the part as after it"


def test_no_window_lies_where_nothing_is_to_be_said() -> None:
    gain = Gain(window=NET_HZ)
    windowed(Member(gain.net), tones(1.0, 2)[:, :NET_HZ], (1000.0, 2000.0), 0.25)
    assert gain.asked == 1


ENGINES = [mdx23.ENGINE, demucs.ENGINE]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.info.name)
def test_all_models_of_all_modes_are_known_and_have_weights(engine: Engine) -> None:
    for models in engine.models.values():
        for model in models:
            options = build_options(engine, {"model": model})
            assert engine.check(options).ready and engine.version(options) == ""
            assert engine.weights(options)
    default = build_options(engine, {})
    assert engine.weights(default) and engine.environment is not None and engine.environment.name == "separation"


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.info.name)
def test_threads_change_no_result(engine: Engine) -> None:
    assert build_options(engine, {"threads": 3}).identity() == build_options(engine, {}).identity()
    assert build_options(engine, {"overlap": 0.5}).identity() != build_options(engine, {}).identity()


def test_digests_of_demucs_files_begin_as_their_names_say() -> None:
    files = [file for weight in net_weights.DEMUCS.values() for file in weight.files]
    assert len(files) == 7
    for file in files:
        assert len(file.sha256) == 64 and file.sha256.startswith(file.name.partition("-")[2].removesuffix(".th"))
        assert file.url.endswith(file.name)


def test_no_net_is_said_to_be_free_for_business_but_by_its_licence() -> None:
    free = {weight.id for weight in net_weights.HOMES.values() if weight.commercial_use}
    assert free == {"melband-roformer-kim"}


def ensemble(members: object, model: str = "mdx23") -> Options:
    return build_options(mdx23.ENGINE, {"members": members, "model": model})


def test_members_are_read_from_one_text_or_a_list() -> None:
    text = "mdx:Kim_Vocal_2.onnx=12 + mdx-inverted:Kim_Inst.onnx=8+demucs-both:04573f0d=3"
    options = ensemble(text)
    assert options == ensemble(text.replace(" ", "").split("+"))
    assert isinstance(options, mdx23.Mdx23Options)
    first, second, third = mdx23.asked(options)
    assert (first.kind, first.polarity, first.file, first.weight) == ("mdx", "plain", "Kim_Vocal_2.onnx", 12.0)
    assert (second.polarity, second.weight) == ("inverted", 8.0)
    assert (third.kind, third.polarity, third.file) == ("demucs", "both", "04573f0d-f3cf25b2.th")
    ids = [weight.id for weight in mdx23.ENGINE.weights(options)]
    assert ids == ["mdx-kim-vocal-2", "mdx-kim-inst", "htdemucs-ft-vocals"]
    assert mdx23.ENGINE.weights(build_options(mdx23.ENGINE, {})) == mdx23.ENGINE.weights(options)


def test_a_member_without_weight_is_not_there() -> None:
    options = ensemble("mdx:Kim_Vocal_2.onnx+mdx:Kim_Inst.onnx=0")
    assert [weight.id for weight in mdx23.ENGINE.weights(options)] == ["mdx-kim-vocal-2"]


@pytest.mark.parametrize(
    "wrong",
    ["Kim_Vocal_2.onnx", "vr:x.pth", "mdx:x.onnx=much", "mdx:x.onnx=-1", "mdx-upside:x.onnx", "mdx:../x.onnx", "mdx:x=0"],
)
def test_members_that_cannot_be_read_are_refused(wrong: str) -> None:
    with pytest.raises(BadSettings, match="members"):
        ensemble(wrong)


def test_unknown_options_and_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        demucs.DemucsOptions.model_validate({"overlap": 0.95})
    for engine in ENGINES:
        found = engine.check(build_options(engine, {"model": str(tmp_path / "none")}))
        assert not found.ready and "none" in found.reason and found.fix
        assert not engine.check(build_options(engine, {"model": str(tmp_path)})).ready


def test_folders_are_looked_through_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"")
    assert "a.yaml" in mdx23.ENGINE.check(ensemble((), str(tmp_path))).reason
    assert "b.onnx" in mdx23.ENGINE.check(ensemble("mdx:b.onnx", str(tmp_path))).reason
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "b.onnx").write_bytes(b"")
    for members in ((), "mdx:b.onnx", "mdx:Kim_Vocal_2.onnx+mdx:b.onnx"):
        assert mdx23.ENGINE.check(ensemble(members, str(tmp_path))).ready
    assert [w.id for w in mdx23.ENGINE.weights(ensemble("mdx:Kim_Vocal_2.onnx+mdx:b.onnx", str(tmp_path)))] == [
        "mdx-kim-vocal-2"
    ]
    before = mdx23.ENGINE.version(ensemble((), str(tmp_path)))
    (tmp_path / "b.onnx").write_bytes(b"other")
    assert before != mdx23.ENGINE.version(ensemble((), str(tmp_path)))


def test_only_nets_with_a_checksum_in_their_names_are_taken(tmp_path: Path) -> None:
    for name in ("a-0123abcd.th", "b.th", "c.safetensors", "d-xyz.th"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in demucs.files(tmp_path)] == ["a-0123abcd.th", "c.safetensors"]
