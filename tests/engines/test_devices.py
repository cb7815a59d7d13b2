"""Accelerators and free memory, as far as a machine can be made that has them: a program that answers as the driver's does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from polydub.engines import devices, faults
from polydub.engines.base import READY, Engine, Environment, Info, Options
from polydub.errors import BadSettings

Cards = Callable[..., None]


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """`cards("100, A card")`: an `nvidia-smi` that lists these cards is the only program there is."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(*rows: str, status: int = 0) -> None:
        devices.accelerators.cache_clear()
        program = tmp_path / "nvidia-smi"
        lines = "".join(f"echo '{row}'\n" for row in rows)
        program.write_text(f"#!/bin/sh\n{lines}exit {status}\n")
        program.chmod(0o755)

    devices.accelerators.cache_clear()
    yield put
    devices.accelerators.cache_clear()


def engine(*places: str, environment: Environment | None = None) -> Engine:
    info = replace(Info("tts", "toy", "a test", "MIT", ""), devices=frozenset({"cpu", *places}))
    load = faults.speech("crash").load
    return Engine(info, Options, load, lambda _: READY, lambda _: None, environment=environment)


def python(folder: Path, variant: str) -> Path:
    made = folder / "toys"
    (made / "bin").mkdir(parents=True)
    (made / "polydub.json").write_text(json.dumps({"name": "toys", "variant": variant, "lock": "0" * 64}))
    return made / "bin/python"


def test_without_a_driver_there_is_no_card_and_all_work_on_the_processor(cards: Cards) -> None:
    assert (devices.cards(), devices.accelerators()) == ((), ())
    assert devices.place(engine("cuda"), "auto", None) == ("cpu", "")


def test_a_card_is_found_with_its_free_memory(cards: Cards) -> None:
    cards("14000, NVIDIA A10", "300, NVIDIA T4, old")
    assert devices.cards() == (("NVIDIA A10", 14000), ("NVIDIA T4, old", 300))
    assert devices.accelerators() == ("cuda",)
    assert (devices.free_mib("cuda"), devices.free_mib("cuda:1"), devices.free_mib("cuda:2")) == (14000, 300, None)


@pytest.mark.parametrize("said", ["NVIDIA-SMI has failed because it could not communicate with the driver", "[N/A], A card"])
def test_a_driver_that_does_not_work_has_no_card(cards: Cards, said: str) -> None:
    cards(said)
    assert devices.accelerators() == ()
    cards("100, A card", status=9)
    assert devices.accelerators() == ()


def test_auto_places_an_engine_on_a_card_only_where_it_and_its_environment_can(cards: Cards, tmp_path: Path) -> None:
    cards("14000, NVIDIA A10")
    own = Environment("toys", "toys")
    assert devices.place(engine(environment=own), "auto", python(tmp_path / "a", "cuda")) == ("cpu", "")
    assert devices.place(engine("cuda", environment=own), "auto", python(tmp_path / "b", "cuda")) == ("cuda", "")
    assert devices.place(engine("cuda", environment=own), "cpu", python(tmp_path / "c", "cuda")) == ("cpu", "")
    where, why = devices.place(engine("cuda", environment=own), "auto", python(tmp_path / "d", "cpu"))
    assert where == "cpu" and why.endswith("polydub engines install toy --variant cuda")


def test_an_engine_without_environment_needs_the_systems_libraries_for_a_card(cards: Cards) -> None:
    cards("14000, NVIDIA A10")
    where, why = devices.place(engine("cuda"), "auto", None)
    if not why:
        pytest.skip("this machine has CUDA's libraries")
    assert where == "cpu" and "libcublas.so.12" in why


@pytest.mark.parametrize("wish", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_one_sentence(cards: Cards, wish: str) -> None:
    with pytest.raises(BadSettings) as caught:
        devices.require(wish)
    assert f"--device {wish}" in caught.value.message and "--device" in caught.value.hint
    devices.require("auto")
    devices.require("cpu")


MEMINFO = "MemTotal:       32000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20480000 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": MEMINFO}, 20_000),
        (  # what a group's limit leaves, and the pages that can be given up
            {
                "proc/meminfo": MEMINFO,
                "sys/fs/cgroup/memory.max": str(4000 * 2**20),
                "sys/fs/cgroup/memory.current": str(3000 * 2**20),
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {500 * 2**20}\n",
            },
            1500,
        ),
        (  # of groups in each other the tightest
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "0::/user/shell\n",
                "sys/fs/cgroup/user/memory.max": str(2000 * 2**20),
                "sys/fs/cgroup/user/memory.current": str(1000 * 2**20),
                "sys/fs/cgroup/user/shell/memory.max": "max\n",
                "sys/fs/cgroup/user/shell/memory.current": "0",
            },
            1000,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(700 * 2**20),
                "sys/fs/cgroup/memory/memory.usage_in_bytes": str(600 * 2**20),
                "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
            },
            100,
        ),
    ],
)
def test_free_memory_is_the_machines_or_what_its_control_group_leaves(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    assert devices.host_mib(write(tmp_path, files)) == free


ROWS = [("A", "GPU-aa11", 1), ("B", "GPU-bb22", 2), ("C", "GPU-bb33", 3)]


@pytest.mark.parametrize(
    ("told", "names"),
    [
        (None, "ABC"),
        ("", ""),
        ("-1", ""),
        ("1", "B"),
        ("2, 0", "CA"),
        ("0,7,1", "A"),
        ("GPU-bb2", "B"),
        ("GPU-bb", ""),
        ("GPU-bb33,0", "CA"),
        ("MIG-77", "A"),
        ("no", ""),
    ],
)
def test_cards_are_those_that_cuda_shows(told: str | None, names: str) -> None:
    assert "".join(name for name, _ in devices.visible(ROWS, told)) == names


def test_a_hidden_card_is_no_device(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    cards("14000, NVIDIA A10, GPU-aa11", "300, NVIDIA T4, old, GPU-bb22")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert devices.cards() == (("NVIDIA T4, old", 300),)
    assert devices.free_mib("cuda:1") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.accelerators() == ()
    with pytest.raises(BadSettings, match="no NVIDIA card"):
        devices.require("cuda")
