"""Dubs in turns: whose calls are whose, by what engines need."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import pytest

from polydub import config
from polydub.choosing import Chooser, OtherEngine
from polydub.duty import Duty, HandedOver, Resource, Share, Slice, resource
from polydub.engines.pool import Tool
from polydub.engines.tts import fake
from polydub.errors import EngineFailed, Missing
from polydub.runner import Count, How, Run
from polydub.store import Store
from polydub.work import Work, stage


def tool(device: str = "cpu", *, network: bool = False) -> Tool:
    engine = replace(fake.ENGINE, info=replace(fake.ENGINE.info, network=network))
    return Tool(engine, fake.FakeOptions(), {"name": device}, device)


CPU, GPU, NET = tool(), tool("cuda:0"), tool(network=True)


def test_a_call_needs_what_its_engine_needs() -> None:
    assert [resource(each) for each in (None, CPU, GPU, NET)] == ["cpu", "cpu", "gpu", "net"]


@pytest.mark.parametrize(
    ("here", "called", "released", "to"),
    [
        ("cpu", None, False, None),
        ("cpu", CPU, False, None),
        ("cpu", GPU, False, "gpu"),
        ("cpu", NET, False, "net"),
        ("net", NET, False, None),
        ("net", None, False, "cpu"),
        ("net", GPU, False, "gpu"),
        ("gpu", GPU, False, None),
        ("gpu", NET, False, "net"),
        ("gpu", None, False, None),
        ("gpu", None, True, "cpu"),
        ("gpu", CPU, True, "cpu"),
    ],
)
def test_a_worker_makes_what_is_its_own_and_on_a_card_what_lies_between(
    here: Resource, called: Tool | None, released: bool, to: Resource | None
) -> None:
    duty = Duty(here)
    if released:
        duty.release(GPU)
    if to is None:
        duty.begin(called, (CPU, GPU))
        return
    with pytest.raises(HandedOver) as over:
        duty.begin(called, (CPU, GPU))
    assert over.value.to == to


def test_an_engine_that_only_another_has_is_left_to_it_and_never_called_here() -> None:
    away = replace(GPU, elsewhere=EngineFailed("it is another here"))
    with pytest.raises(HandedOver) as over:
        Duty("cpu").begin(away, ())
    assert over.value.to == "gpu"
    with pytest.raises(EngineFailed, match="another here"):
        Duty("gpu").begin(away, ())


@pytest.mark.parametrize(
    ("here", "accelerated", "engine", "device", "to"),
    [
        ("cpu", False, None, "auto", None),
        ("cpu", True, None, "auto", "gpu"),
        ("cpu", True, CPU.engine, "auto", None),
        ("cpu", True, CPU.engine, "cuda", "gpu"),
        ("gpu", True, None, "auto", None),
        ("net", True, None, "auto", "gpu"),
        ("net", False, CPU.engine, "auto", "cpu"),
        ("net", True, NET.engine, "auto", None),
    ],
)
def test_engines_are_chosen_where_the_accelerator_is(
    here: Resource, accelerated: bool, engine: object, device: str, to: Resource | None
) -> None:
    duty = Duty(here, accelerated)
    if to is None:
        duty.may_choose(engine, device)  # type: ignore[arg-type]
        return
    with pytest.raises(HandedOver) as over:
        duty.may_choose(engine, device)  # type: ignore[arg-type]
    assert over.value.to == to


def test_choices_are_told_by_language() -> None:
    duty = Duty("cpu")
    duty.of("es").pin("tts es", {"choice": "fake"})
    assert duty.of("es").pinned("tts es") == {"choice": "fake"} and duty.of("fr").pinned("tts es") is None


def test_a_language_that_is_finished_comes_last() -> None:
    duty = Duty("cpu")
    assert duty.order(["es", "fr", "de"]) == ["es", "fr", "de"]
    duty.of("es").finish()
    assert Duty("net", pins=duty.pins).order(["es", "fr", "de"]) == ["fr", "de", "es"]


def test_what_earlier_steps_made_is_counted_once() -> None:
    first = Duty("gpu")
    first.of("es").keep({"speak": Count(2.0, 3, 0), "fit": Count(0.1, 0, 0)})
    second = Duty("cpu", counts=first.counts)
    counts = {"speak": Count(0.01, 1, 3), "fit": Count(0.5, 1, 0)}
    mine = second.of("es")
    mine.sum_up(counts)
    mine.keep(counts)
    assert (counts["speak"].ran, counts["speak"].remembered) == (4, 0)
    assert (first.made, counts["fit"].ran) == (5, 1)


@stage("double")
def double(work: Work, number: int) -> int:
    return 2 * number


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Duty], Run]:
    return lambda duty: Run(Store(tmp_path / "store"), tmp_path, How(jobs=1, duty=duty))


def ran(counts: Mapping[str, Count]) -> tuple[int, int]:
    return counts["double"].ran, counts["double"].remembered


def test_a_slice_ends_between_two_calls_and_the_next_one_goes_on_there(run: Callable[[Duty], Run]) -> None:
    urgent = Event()
    duty = Duty("cpu", slice=Slice(3, 0.0, urgent.set, urgent.is_set))
    with pytest.raises(HandedOver) as over, run(duty) as first:
        first.map(double, range(200))
    assert over.value.to == "cpu"
    made = first.counts["double"].ran
    assert 1 <= made < 200
    with run(Duty("cpu")) as second:
        assert second.map(double, range(200)) == tuple(range(0, 400, 2))
    assert sum(ran(second.counts)) == 200 and second.counts["double"].remembered >= made


def test_nobody_is_asked_before_the_slice_is_over(run: Callable[[Duty], Run]) -> None:
    asked = Event()
    with run(Duty("cpu", slice=Slice(50, 30.0, asked.set, asked.is_set))) as one:
        assert len(one.map(double, range(40))) == 40
    assert not asked.is_set()


@stage("slow-double")
def slow_double(work: Work, number: int) -> int:
    sleep(0.02)
    return 2 * number


def test_a_long_map_is_divided_where_others_are_idle_and_its_shares_make_each_call_once(run: Callable[[Duty], Run]) -> None:
    asked = Event()
    idle = lambda: 3 if asked.is_set() else 0  # noqa: E731
    with pytest.raises(HandedOver) as over, run(Duty("cpu", slice=Slice(3, 0.0, asked.set, idle=idle))) as first:
        first.map(slow_double, range(400))
    assert over.value.divided is not None
    map_, of = over.value.divided
    assert of == 3
    made = [first.counts["slow-double"].ran]
    for place in range(of):
        share = Share(map_, place, of)
        with pytest.raises(HandedOver), run(Duty("cpu", share=share)) as one:
            one.step(double, 1)
        with pytest.raises(HandedOver), run(Duty("cpu", share=share)) as one:
            one.map(slow_double, range(400))
        made.append(one.counts["slow-double"].ran if place < of - 1 else 400 - sum(made))
        assert share.met and made[-1] > 100
    with run(Duty("cpu")) as last:
        assert last.map(slow_double, range(400)) == tuple(range(0, 800, 2))
    assert last.counts["slow-double"].remembered == 400 and sum(made) == 400


def test_a_short_map_is_not_divided(run: Callable[[Duty], Run]) -> None:
    with run(Duty("cpu", slice=Slice(1, 30.0, idle=lambda: 3))) as one:
        assert len(one.map(double, range(200))) == 200


def test_a_share_whose_map_is_not_there_makes_nothing(run: Callable[[Duty], Run]) -> None:
    share = Share("another", 0, 2)
    with pytest.raises(HandedOver), run(Duty("cpu", share=share)) as one:
        one.map(double, range(5))
    assert (ran(one.counts), share.met) == ((0, 0), False)


def test_what_is_under_way_is_finished_before_a_run_hands_over(run: Callable[[Duty], Run]) -> None:
    begun, goes_on = Event(), Event()

    @stage("slow")
    def slow(work: Work, number: int) -> int:
        begun.set()
        goes_on.wait(60)
        work.progress(0.5)
        return number

    with pytest.raises(HandedOver), run(Duty("cpu")) as one:
        one.start(slow, 1)
        begun.wait(60)
        goes_on.set()
        raise HandedOver("gpu")
    assert one.counts["slow"].ran == 1


def chosen(folder: Path, duty: Duty, **settings: object) -> Run:
    """A run with the speech engine that is chosen in this part of a dub into Spanish."""
    loaded = config.load(settings, job=None, environ={}, cwd=folder, user_file=None)
    with Run(Store(folder / "store"), folder, How(duty=duty.of("es"))) as run:
        Chooser(loaded, {})(run, {"tts": "es"})
        return run


def test_the_next_worker_takes_the_engine_that_was_chosen(tmp_path: Path) -> None:
    first = Duty("cpu")
    wanted = chosen(tmp_path, first, tts="fake").tools["tts"]
    second = Duty("cpu", pins=first.pins)
    again = chosen(tmp_path, second).tools["tts"]
    assert (again.engine, again.identity, again.reason) == (wanted.engine, wanted.identity, wanted.reason)
    assert again.elsewhere is None


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"identity": {"name": "fake", "version": "9"}}])
def test_an_engine_that_is_not_the_same_here_keeps_its_identity_and_is_not_called(tmp_path: Path, other: Any) -> None:
    first = Duty("cpu")
    chosen(tmp_path, first, tts="fake")
    (pin,) = first.pins.values()
    pin.update(other)
    if "device" in other:
        pin["identity"] = {**pin["identity"], "device": "cuda"}
    found = chosen(tmp_path, Duty("cpu", pins=first.pins)).tools["tts"]
    assert dict(found.identity) == pin["identity"] and found.elsewhere is not None
    if "device" not in other:
        assert isinstance(found.elsewhere, OtherEngine) and "another here" in found.elsewhere.message


def test_a_choice_that_cannot_be_made_is_not_tried_again_by_the_next_worker(tmp_path: Path) -> None:
    first = Duty("cpu")
    with pytest.raises(Missing) as lacking:
        chosen(tmp_path, first, tts="kokoro")
    with pytest.raises(Missing) as again:
        chosen(tmp_path, Duty("net", pins=json.loads(json.dumps(first.pins))), tts="kokoro")
    assert (again.value.message, again.value.hint) == (lacking.value.message, lacking.value.hint)


def test_a_service_whose_key_is_not_here_is_left_to_workers_with_the_network(tmp_path: Path) -> None:
    with pytest.raises(HandedOver) as over:
        chosen(tmp_path, Duty("cpu"), tts="openai")
    assert over.value.to == "net"
