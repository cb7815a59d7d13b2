"""MDX, MDX23C and RoFormer nets of audio-separator on random weights, in their own environment and process."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets_at_work import TALK, Films, dialogue, hiss, joins_are_not_heard, tones

from polydub.engines.separation.mdx23 import ENGINE, Mdx23Options
from polydub.engines.sidecar.host import opened
from polydub.errors import EngineFailed, MissingWeights, PolydubError
from polydub.types import RATE_HZ, Audio, Span

pytestmark = [pytest.mark.neural, pytest.mark.slow]
KINDS = ["mdx:mixed.onnx", "mdx23c:c23.ckpt", "roformer:bs.ckpt", "roformer:mel.ckpt", "roformer:mel_rest.ckpt"]
Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def nets(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("separation", "mdx23")


@pytest.fixture(scope="module")
def engine(nets: Path, python_of: Callable[[str], Path]) -> Iterator[Opened]:
    """`engine("mdx:half.onnx=3+...")`: an ensemble of tiny nets, each in a process that serves the whole module."""
    python, known = python_of("separation"), dict[tuple[Any, ...], Any]()
    with ExitStack() as stack:

        def get(members: str, **options: Any) -> Any:
            key = (members, *sorted(options.items()))
            if key not in known:
                made = Mdx23Options(model=str(nets), members=members, threads=1, **options)  # pyright: ignore[reportArgumentType]
                known[key] = stack.enter_context(opened(ENGINE, made, {}, "cpu", python))
            return known[key]

        yield get


def load(folder: Path, members: str, python: Path) -> AbstractContextManager[Any]:
    options = Mdx23Options(model=str(folder), members=members, threads=1)  # pyright: ignore[reportArgumentType]
    return opened(ENGINE, options, {}, "cpu", python)


@pytest.mark.parametrize("members", KINDS)
def test_dialogue_is_as_long_as_the_sound_to_the_sample(engine: Opened, members: str) -> None:
    for frames, channels in ((14_401, 2), (3 * RATE_HZ + 17, 1), (8 * RATE_HZ - 1, 2), (0, 2), (1, 1)):
        sound = hiss(frames, channels)
        spans = [Span(0.0, min(6.2, frames / RATE_HZ))] if frames else []
        dialogue(engine(members), sound, spans)


def test_half_a_minute_comes_back_whole(engine: Opened) -> None:
    sound = tones(30.0)
    found = dialogue(engine("mdx:half.onnx"), sound, [Span(0.0, 30.0)])
    inside = slice(RATE_HZ, 29 * RATE_HZ)
    assert np.abs(found - 0.5 * sound)[:, inside].max() < 2e-4, "windows, fades and rates leave no trace"


@pytest.mark.parametrize("members", KINDS)
def test_level_does_not_matter(engine: Opened, members: str) -> None:
    sound = hiss(4 * RATE_HZ)
    found = dialogue(engine(members), sound)
    assert np.abs(found).max() > 1e-4
    for level in (1e-3, 15.0):
        other = dialogue(engine(members), sound * np.float32(level))
        assert np.abs(other / level - found).max() < 1e-4 * np.abs(found).max()


def test_silence_has_no_dialogue(engine: Opened) -> None:
    assert not dialogue(engine("roformer:mel.ckpt"), np.zeros((2, 3 * RATE_HZ), np.float32)).any()


def test_one_channel_is_heard_like_two_that_are_alike(engine: Opened) -> None:
    mono = hiss(3 * RATE_HZ, 1)
    both = dialogue(engine("roformer:bs.ckpt"), np.repeat(mono, 2, axis=0))
    assert np.abs(dialogue(engine("roformer:bs.ckpt"), mono) - both.mean(axis=0)).max() < 1e-6


def test_a_net_for_the_rest_gives_what_it_leaves(engine: Opened) -> None:
    sound = tones(4.0)
    inside = slice(RATE_HZ // 2 + 2000, RATE_HZ)
    found = dialogue(engine("mdx:rest.onnx"), sound)
    assert np.abs(found - 0.25 * sound)[:, inside].max() < 2e-4


def test_weights_of_members_count(engine: Opened) -> None:
    sound = tones(4.0)
    half, rest, blend = (
        dialogue(engine(m), sound) for m in ("mdx:half.onnx", "mdx:rest.onnx", "mdx:half.onnx=3+mdx:rest.onnx=1")
    )
    assert np.abs(blend - (0.75 * half + 0.25 * rest)).max() < 1e-6
    assert np.abs(half - rest).max() > 0.01


@pytest.mark.parametrize(
    "members", ["mdx:mixed.onnx=7", "mdx:mixed.onnx+roformer:mel.ckpt=0", "mdx:mixed.onnx=2+mdx:mixed.onnx=1"]
)
def test_an_ensemble_of_one_is_that_one(engine: Opened, members: str) -> None:
    sound = hiss(3 * RATE_HZ)
    alone = dialogue(engine("mdx:mixed.onnx"), sound)
    assert np.abs(dialogue(engine(members), sound) - alone).max() < 1e-7


def test_both_polarities_are_the_mean_of_the_two(engine: Opened) -> None:
    sound = hiss(3 * RATE_HZ)
    plain, inverted, both = (dialogue(engine(f"mdx23c{p}:c23.ckpt"), sound) for p in ("", "-inverted", "-both"))
    assert np.abs(plain - inverted).max() > 1e-4 * np.abs(plain).max(), "the net is not linear"
    assert np.abs(both - (plain + inverted) / 2).max() < 1e-6


def test_windows_may_be_shorter_and_overlap_more(engine: Opened) -> None:
    sound = hiss(4 * RATE_HZ)
    usual = dialogue(engine("roformer:mel.ckpt"), sound)
    other = dialogue(engine("roformer:mel.ckpt", segment_s=2.0, overlap=0.5), sound)
    assert 0 < np.abs(usual - other).max() < np.abs(usual).max()


@pytest.mark.parametrize("members", ["mdx:mixed.onnx=2+roformer:bs.ckpt=1", "mdx23c:c23.ckpt", "roformer:mel.ckpt"])
def test_nothing_is_heard_where_blocks_meet(engine: Opened, tmp_path: Path, members: str) -> None:
    assert joins_are_not_heard(Films(tmp_path), engine(members)) < 3 * 2**-24


def test_in_surround_sound_only_centre_and_front_hold_dialogue(engine: Opened, tmp_path: Path) -> None:
    films, samples = Films(tmp_path), hiss(4 * RATE_HZ, 6)
    found = films.separated(engine("mdx:half.onnx"), films.film(samples, "5.1"), TALK)
    assert found.shape == samples.shape and not found[3:].any()
    assert (np.abs(found[:3]).max(axis=1) > 0.01).all()
    centre = dialogue(engine("mdx:half.onnx"), samples[2:3])
    assert np.abs(found[2:3] - centre).max() < 1e-6


def test_stems_of_a_song_sum_to_it(engine: Opened, tmp_path: Path) -> None:
    films, samples = Films(tmp_path), hiss(32 * RATE_HZ + 5)
    song = films.film(samples)
    stems = films.stems(engine("mdx:half.onnx"), song)
    assert list(stems) == ["vocals", "other"]
    assert np.abs(sum(stems.values(), np.zeros_like(samples)) - samples).max() < 1.5 * 2**-24
    assert np.abs(stems["vocals"]).max() > 0.05


def test_all_nets_of_a_folder_are_an_ensemble(
    nets: Path, tmp_path: Path, python_of: Callable[[str], Path], engine: Opened
) -> None:
    for name in ("half.onnx", "half.json", "rest.onnx", "rest.json", "mel.ckpt", "mel.yaml"):
        shutil.copy(nets / name, tmp_path)
    sound = hiss(3 * RATE_HZ)
    with load(tmp_path, "", python_of("separation")) as found:
        named = dialogue(engine("mdx:half.onnx+mdx:rest.onnx+roformer:mel.ckpt"), sound)
        assert np.abs(dialogue(found, sound) - named).max() < 1e-7


def test_another_process_gives_the_same_bytes(nets: Path, python_of: Callable[[str], Path], engine: Opened) -> None:
    sound = hiss(7 * RATE_HZ)
    with load(nets, "mdx23c:c23.ckpt+roformer:bs.ckpt", python_of("separation")) as other:
        first = dialogue(other, sound, [Span(0.2, 6.8)])
    again = dialogue(engine("mdx23c:c23.ckpt+roformer:bs.ckpt"), sound, [Span(0.2, 6.8)])
    assert first.tobytes() == again.tobytes()


def test_a_net_that_goes_mad_is_told(tmp_path: Path, nets: Path, python_of: Callable[[str], Path]) -> None:
    for name in ("half.onnx", "half.json"):
        shutil.copy(nets / name, tmp_path)
    data = json.loads((tmp_path / "half.json").read_text())
    (tmp_path / "half.json").write_text(json.dumps({**data, "compensate": 1e39}))
    with load(tmp_path, "mdx:half.onnx", python_of("separation")) as engine, pytest.raises(EngineFailed, match="no sound"):
        engine.separate(Audio(hiss(RATE_HZ)), (Span(0.1, 0.9),))


def test_work_ends_when_nobody_wants_it_any_more(nets: Path, python_of: Callable[[str], Path]) -> None:
    failed: list[BaseException] = []
    with load(nets, "roformer:bs.ckpt", python_of("separation")) as engine:

        def work() -> None:
            try:
                engine.separate(Audio(np.tile(hiss(60 * RATE_HZ), (1, 5))), (Span(0.0, 300.0),))
            except PolydubError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(1.0)
        assert thread.is_alive()
    thread.join(30)
    assert not thread.is_alive() and len(failed) == 1


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5000])


def other_bands(folder: Path) -> None:
    (folder / "mel.yaml").write_text((folder / "mel.yaml").read_text().replace("num_bands: 12", "num_bands: 13"))


def other_rate(folder: Path) -> None:
    text = (folder / "mel.yaml").read_text()
    (folder / "mel.yaml").write_text(text.replace("sample_rate: 44100", "sample_rate: 48000"))


def other_word(folder: Path) -> None:
    (folder / "bs.yaml").write_text((folder / "bs.yaml").read_text().replace("depth: 1", "deep: 1"))


def other_bins(folder: Path) -> None:
    data = json.loads((folder / "half.json").read_text())
    (folder / "half.json").write_text(json.dumps({**data, "mdx_dim_f_set": 2048}))


WRONG: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "cut checkpoint": ("roformer:mel.ckpt", lambda f: cut(f / "mel.ckpt"), "does not fit"),
    "description of another net": ("roformer:mel.ckpt", lambda f: shutil.copy(f / "bs.yaml", f / "mel.yaml"), "does not fit"),
    "other bands": ("roformer:mel.ckpt", other_bands, "does not fit"),
    "another kind": ("mdx23c:mel.ckpt", lambda f: None, "another kind"),
    "no description": ("mdx23c:c23.ckpt", lambda f: (f / "c23.yaml").unlink(), "c23.yaml"),
    "not yaml": ("mdx23c:c23.ckpt", lambda f: (f / "c23.yaml").write_text("a: [\n"), "c23.yaml"),
    "another rate": ("roformer:mel.ckpt", other_rate, "48000 Hz"),
    "unknown parameter": (
        "roformer:bs.ckpt", other_word, "no net",
    ),
    "garbage instead of a net": ("mdx:half.onnx", lambda f: (f / "half.onnx").write_bytes(b"garbage"), "half.onnx"),
    "other bins": ("mdx:half.onnx", other_bins, "description says"),
    "no description of an MDX net": ("mdx:half.onnx", lambda f: (f / "half.json").unlink(), "half.onnx"),
    "description without numbers": ("mdx:half.onnx", lambda f: (f / "half.json").write_text("{}"), "lacks"),
    "missing file": ("mdx:half.onnx", lambda f: (f / "half.onnx").unlink(), "half.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_files_that_do_not_fit_are_refused_and_named(
    nets: Path, tmp_path: Path, python_of: Callable[[str], Path], what: str
) -> None:
    members, damage, said = WRONG[what]
    folder = shutil.copytree(nets, tmp_path / "nets")
    damage(folder)
    with pytest.raises((EngineFailed, MissingWeights), match=said) as caught, load(folder, members, python_of("separation")):
        pass
    assert caught.value.hint
