"""Demucs on random weights, in its own environment and process, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets_at_work import TALK, Films, dialogue, hiss, joins_are_not_heard

from polydub.engines.separation.demucs import ENGINE, DemucsOptions
from polydub.engines.sidecar.host import opened
from polydub.errors import EngineFailed, MissingWeights
from polydub.types import RATE_HZ, Audio, Span

pytestmark = [pytest.mark.neural, pytest.mark.slow]
Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def nets(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("separation", "htdemucs")


@pytest.fixture(scope="module")
def engine(nets: Path, python_of: Callable[[str], Path]) -> Iterator[Opened]:
    """`engine("bag")`: a tiny model, in a process that serves the whole module."""
    python, known = python_of("separation"), dict[tuple[Any, ...], Any]()
    with ExitStack() as stack:

        def get(name: str, **options: Any) -> Any:
            key = (name, *sorted(options.items()))
            if key not in known:
                made = DemucsOptions(model=str(nets / name), threads=1, **options)
                known[key] = stack.enter_context(opened(ENGINE, made, {}, "cpu", python))
            return known[key]

        yield get


def load(folder: Path, python: Path) -> AbstractContextManager[Any]:
    return opened(ENGINE, DemucsOptions(model=str(folder), threads=1), {}, "cpu", python)


@pytest.mark.parametrize("model", ["one", "old", "bag"])
def test_dialogue_is_as_long_as_the_sound_to_the_sample(engine: Opened, model: str) -> None:
    for frames, channels in ((14_401, 2), (3 * RATE_HZ + 17, 1), (7 * RATE_HZ - 1, 2), (0, 2), (1, 1)):
        spans = [Span(0.0, min(6.2, frames / RATE_HZ))] if frames else []
        dialogue(engine(model), hiss(frames, channels), spans)


@pytest.mark.parametrize("model", ["one", "old"])
def test_level_does_not_matter(engine: Opened, model: str) -> None:
    sound = hiss(3 * RATE_HZ)
    found = dialogue(engine(model), sound)
    assert np.abs(found).max() > 1e-4
    for level in (1e-3, 15.0):
        other = dialogue(engine(model), sound * np.float32(level))
        assert np.abs(other / level - found).max() < 1e-4 * np.abs(found).max()


@pytest.mark.parametrize("model", ["one", "bag"])
def test_nothing_is_heard_where_blocks_meet(engine: Opened, tmp_path: Path, model: str) -> None:
    assert joins_are_not_heard(Films(tmp_path), engine(model)) < 3 * 2**-24


def test_moves_are_the_same_for_every_block(engine: Opened, tmp_path: Path) -> None:
    moved = engine("one", shifts=1)
    sound = hiss(4 * RATE_HZ)
    assert np.abs(dialogue(moved, sound) - dialogue(engine("one"), sound)).max() > 1e-5
    assert joins_are_not_heard(Films(tmp_path), moved) < 3 * 2**-24


def test_of_a_bag_only_nets_that_count_for_vocals_are_asked_for_them(
    engine: Opened, nets: Path, tmp_path: Path, python_of: Callable[[str], Path]
) -> None:
    (second,) = (nets / "bag").glob("tinyb-*.th")
    shutil.copy(second, tmp_path)
    sound = hiss(3 * RATE_HZ)
    with load(tmp_path, python_of("separation")) as alone:
        assert dialogue(alone, sound).tobytes() == dialogue(engine("bag"), sound).tobytes()


def test_stems_have_the_weights_of_the_bag_and_sum_to_the_sound(engine: Opened, nets: Path) -> None:
    sound = Audio(hiss(3 * RATE_HZ))
    one, bag = (engine(name).stems(sound, TALK) for name in ("one", "bag"))
    assert list(bag) == ["vocals", "drums", "bass", "other"]
    assert np.abs(sum(bag.values(), np.zeros_like(sound.samples)) - sound.samples).max() < 1e-6
    assert np.abs(bag["drums"] - one["drums"]).max() < 1e-6, "the first net alone says what drums are"
    assert np.abs(bag["bass"] - one["bass"]).max() > 1e-5, "both say what bass is"


def test_stems_of_a_song_sum_to_it_block_by_block(engine: Opened, tmp_path: Path) -> None:
    films, samples = Films(tmp_path), hiss(31 * RATE_HZ + 5)
    stems = films.stems(engine("one"), films.film(samples))
    assert list(stems) == ["vocals", "drums", "bass", "other"]
    assert np.abs(sum(stems.values(), np.zeros_like(samples)) - samples).max() < 2.5 * 2**-24


def test_in_surround_sound_only_centre_and_front_hold_dialogue(engine: Opened, tmp_path: Path) -> None:
    films, samples = Films(tmp_path), hiss(3 * RATE_HZ, 6)
    found = films.separated(engine("one"), films.film(samples, "5.1"), TALK)
    assert found.shape == samples.shape and not found[3:].any() and (np.abs(found[:3]).max(axis=1) > 1e-3).all()


def damaged(folder: Path) -> None:
    (file,) = folder.glob("*.th")
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def unnamed(folder: Path) -> None:
    (file,) = folder.glob("*.th")
    file.rename(folder / "tiny.th")


def twice(folder: Path) -> None:
    (file,) = folder.glob("*.th")
    shutil.copy(file, folder / f"other-{file.name.partition('-')[2]}")


def no_package(folder: Path) -> None:
    from hashlib import sha256

    (file,) = folder.glob("*.th")
    file.unlink()
    (folder / f"tiny-{sha256(b'nothing').hexdigest()[:8]}.th").write_bytes(b"nothing")


def absent(folder: Path) -> None:
    (folder / "bag.yaml").write_text("models: [tinya, tinyz]\n")


def unfit(folder: Path) -> None:
    (folder / "bag.yaml").write_text("models: [tinya]\nweights: [[1, 0, 1]]\n")


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "damaged": (damaged, "checksum"),
    "no checksum in its name": (unnamed, "holds 0 nets"),
    "two without a plan": (twice, "2 nets"),
    "no package": (no_package, "cannot load"),
    "a plan with absent nets": (absent, "bag.yaml"),
    "too few weights": (unfit, "do not fit"),
}


@pytest.mark.parametrize("what", WRONG)
def test_files_that_do_not_fit_are_refused_and_named(
    nets: Path, tmp_path: Path, python_of: Callable[[str], Path], what: str
) -> None:
    damage, said = WRONG[what]
    folder = shutil.copytree(nets / "one", tmp_path / "one")
    damage(folder)
    with pytest.raises((EngineFailed, MissingWeights), match=said) as caught, load(folder, python_of("separation")):
        pass
    assert caught.value.hint
