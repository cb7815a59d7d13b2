"""Every call is done once and remembered; what changed is done again and nothing else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from polydub.engines import registry
from polydub.engines.base import KINDS, READY, Engine, Info, Kind, Options
from polydub.engines.pool import EnginePool, Tool
from polydub.errors import BadInput, Cancelled, EngineFailed, MissingSecret, StoreError, StrictNotice
from polydub.runner import How, Run
from polydub.store import Store
from polydub.types import Artifact, Notice, Progress
from polydub.work import Stage, Work, engine_stage, stage


@dataclass
class Shop:
    """A store with a project, and the stages of these tests, which write down what they are asked."""

    folder: Path
    store: Store
    asked: list[Any] = field(default_factory=list)

    @contextmanager
    def run(self, how: How | None = None, pool: EnginePool | None = None) -> Generator[Run]:
        with Run(self.store, self.folder / "project", how, pool) as run:
            yield run

    def calls(self) -> list[Any]:
        """What was asked since the last look."""
        found, self.asked[:] = list(self.asked), []
        return found

    @property
    def double(self) -> Stage[..., int]:
        @stage("double")
        def double(work: Work, number: int) -> int:
            self.asked.append(number)
            return 2 * number

        return double

    @property
    def page(self) -> Stage[..., Artifact]:
        @stage("page")
        def page(work: Work, text: str) -> Artifact:
            self.asked.append(text)
            file = work.scratch / "page.txt"
            file.write_text(text, encoding="utf-8")
            return work.keep(file)

        return page

    @property
    def book(self) -> Stage[..., str]:
        @stage("book")
        def book(work: Work, text: str) -> str:
            self.asked.append(text)
            (work.scratch / "made.txt").write_text(text, encoding="utf-8")
            if text.startswith("doubtful"):
                work.notice(Notice("doubt", "this book is doubtful"))
            return "made.txt"

        return book

    @property
    def warn(self) -> Stage[..., str]:
        @stage("warn")
        def warn(work: Work, text: str, wait_s: float = 0.0) -> str:
            self.asked.append(text)
            time.sleep(wait_s)
            work.notice(Notice("warned", f"mind {text}"))
            return text

        return warn


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    store = Store(tmp_path / "store")
    yield Shop(tmp_path, store)
    store.close()


# engines


class Voice(Options):
    pitch: int = Field(1, description="pitch")
    threads: int = Field(1, description="threads", json_schema_extra={"identity": False})
    api_key: SecretStr = Field(SecretStr(""), description="key", json_schema_extra={"identity": False})


@dataclass
class Booth:
    """An engine that counts how often it is loaded and asked."""

    fails: Callable[[str], None] = lambda text: None
    loads: int = 0
    open: int = 0
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def load(self, options: Voice, weights: object, device: str) -> Generator[Callable[[str], str]]:
        self.loads += 1
        self.open += 1

        def say(text: str) -> str:
            self.asked.append(text)
            self.fails(text)
            return f"{text}@{options.pitch}"

        yield say
        self.open -= 1

    def tool(self, options: Voice | None = None, *, kind: Kind = "tts", name: str = "booth", device: str = "cpu") -> Tool:
        info = Info(kind, name, "", "Apache-2.0", "", parallel=0)
        engine = Engine(info, Voice, self.load, lambda _: READY, lambda _: None)
        options = options or Voice()
        return Tool(engine, options, registry.identity(engine, options, device), device)


@engine_stage("say", "tts")
def say(work: Work, tts: Callable[[str], str], text: str) -> str:
    return tts(text)


@engine_stage("ask-voice", "tts")
def ask_voice(work: Work, tts: Callable[[str], str]) -> str:
    return tts("voice")


def test_a_call_gives_what_the_function_gives(shop: Shop) -> None:
    with shop.run() as run:
        assert run.step(shop.double, 21) == 42
        assert run.map(shop.double, [1, 2, 3]) == (2, 4, 6)
        assert run.map(shop.double, []) == ()


def test_a_second_run_calls_nothing(shop: Shop) -> None:
    for expected in ([1, 2, 3], []):
        with shop.run() as run:
            assert run.map(shop.double, [1, 2, 3]) == (2, 4, 6)
            assert run.step(shop.double, 3) == 6
        assert sorted(shop.calls()) == expected
    assert (run.counts["double"].ran, run.counts["double"].remembered) == (0, 4)


def test_another_store_on_the_same_folder_remembers_too(shop: Shop) -> None:
    with shop.run() as run:
        run.step(shop.double, 4)
    shop.store.close()
    shop.store = Store(shop.folder / "store")
    with shop.run() as run:
        assert run.step(shop.double, 4) == 8
    assert shop.calls() == [4]


def test_one_changed_item_makes_one_call(shop: Shop) -> None:
    with shop.run() as run:
        run.map(shop.double, [1, 2, 3])
    shop.calls()
    with shop.run() as run:
        assert run.map(shop.double, [1, 20, 3]) == (2, 40, 6)
    assert shop.calls() == [20]
    assert (run.counts["double"].ran, run.counts["double"].remembered) == (1, 2)


def test_equal_items_are_done_once(shop: Shop) -> None:
    with shop.run() as run:
        assert run.map(shop.double, [7, 8, 7, 7]) == (14, 16, 14, 14)
    assert sorted(shop.calls()) == [7, 8]


def test_another_version_of_a_stage_does_its_work_again(shop: Shop) -> None:
    with shop.run() as run:
        run.step(shop.double, 1)
        run.step(replace(shop.double, version=2), 1)
    assert shop.calls() == [1, 1]


def test_an_engine_is_loaded_at_the_first_call_that_is_not_remembered(shop: Shop) -> None:
    booth = Booth()
    for loads in (1, 1):
        with shop.run() as run:
            run.tools["tts"] = booth.tool()
            assert run.step(ask_voice) == "voice@1"
            assert run.map(say, ["a", "b"]) == ("a@1", "b@1")
        assert (booth.loads, booth.open) == (loads, 0)
    assert sorted(booth.asked) == ["a", "b", "voice"]


def test_runs_that_share_a_pool_load_an_engine_once(shop: Shop) -> None:
    booth, pool = Booth(), EnginePool()
    for text in ("a", "b"):
        with shop.run(pool=pool) as run:
            run.tools["tts"] = booth.tool()
            run.step(say, text)
    assert (booth.loads, booth.open) == (1, 1)
    pool.close()
    assert booth.open == 0


@pytest.mark.parametrize(
    "changed",
    [Booth().tool(Voice(pitch=2)), Booth().tool(name="other"), Booth().tool(device="cuda")],
    ids=["option", "name", "device"],
)
def test_another_engine_does_its_own_stages_again_and_no_other(shop: Shop, changed: Tool) -> None:
    booth, other = Booth(), Booth()
    for tool in (booth.tool(), replace(changed, engine=replace(changed.engine, load=other.load), device="cpu")):
        with shop.run() as run:
            run.tools["tts"] = tool
            run.step(shop.double, 1)
            run.map(say, ["a", "b"])
    assert shop.calls() == [1]
    assert sorted(booth.asked) == sorted(other.asked) == ["a", "b"]


def test_what_cannot_change_a_result_is_not_in_its_key(shop: Shop) -> None:
    booth = Booth()
    alike = (Voice(), Voice(threads=8), Voice(api_key=SecretStr("hunter2")))
    for jobs, options in enumerate(alike, 1):
        with shop.run(How(jobs=jobs)) as run:
            run.tools["tts"] = booth.tool(options, device=f"cuda:{jobs}")
            run.map(say, ["a", "b"])
    assert sorted(booth.asked) == ["a", "b"]


def test_a_secret_reaches_neither_identity_nor_store(shop: Shop) -> None:
    options = Voice(api_key=SecretStr("hunter2-swordfish"))
    with shop.run() as run:
        run.tools["tts"] = Booth().tool(options)
        run.step(say, "a")
    assert "swordfish" not in json.dumps(dict(run.tools["tts"].identity))
    shop.store.close()
    assert all(b"swordfish" not in file.read_bytes() for file in shop.folder.rglob("*") if file.is_file())


def test_no_registered_engine_has_a_secret_in_its_identity() -> None:
    checked = 0
    for engine in (e for kind in KINDS for e in registry.engines(kind).values() if isinstance(e, Engine)):
        for name, facts in engine.options.model_fields.items():
            if facts.annotation is SecretStr:
                checked += 1
                told = [registry.identity(engine, engine.options(**{name: SecretStr(key)}), "cpu") for key in ("one", "two")]
                assert told[0] == told[1] == registry.identity(engine, engine.options(), "cpu")
    assert checked, "the OpenAI-compatible translator has a key"


# files


def test_a_lost_file_is_made_again_and_nothing_else(shop: Shop) -> None:
    with shop.run() as run:
        first = run.map(shop.page, ["a", "b", "c"])
    shop.calls()
    shop.store.path(first[1]).unlink()
    for expected in (["b"], []):
        with shop.run() as run:
            assert run.map(shop.page, ["a", "b", "c"]) == first
        assert shop.calls() == expected
    assert shop.store.path(first[1]).read_text() == "b"


def test_a_cut_off_file_is_made_again(shop: Shop) -> None:
    with shop.run() as run:
        made = run.step(shop.page, "a long story")
    shop.store.path(made).write_text("a long")
    with shop.run() as run:
        assert run.step(shop.page, "a long story") == made
    assert shop.store.path(made).read_text() == "a long story"


def test_a_file_is_known_by_its_content(shop: Shop) -> None:
    @stage("read")
    def read(work: Work, file: Artifact) -> str:
        shop.asked.append(file.sha256)
        return work.path(file).read_text()

    one, same, other = (shop.folder / name for name in ("one.txt", "same.txt", "other.txt"))
    one.write_text("hello")
    same.write_text("hello")
    other.write_text("world")
    with shop.run() as run:
        assert [run.step(read, run.adopt(file)) for file in (one, same, other)] == ["hello", "hello", "world"]
        assert len(shop.calls()) == 2
        one.write_text("changed")
        assert run.step(read, run.adopt(one)) == "changed"


def test_a_delivery_is_remembered_while_nobody_touches_it(shop: Shop) -> None:
    target = shop.folder / "project" / "deep" / "book.txt"

    def deliver(text: str) -> list[str]:
        with shop.run() as run:
            assert run.deliver(shop.book, target, text).result() == target
        assert target.read_text() == text
        assert [file.name for file in target.parent.iterdir()] == ["book.txt"]
        return shop.calls()

    assert deliver("one") == ["one"]
    assert deliver("one") == []
    assert deliver("two") == ["two"]
    assert deliver("two") == []
    target.unlink()
    assert deliver("two") == ["two"]
    target.write_text("my own")
    assert deliver("two") == ["two"]
    assert deliver("one") == ["one"], "another text has been delivered since"


def test_a_delivery_replays_its_notices(shop: Shop) -> None:
    for _ in range(2):
        with shop.run() as run:
            run.deliver(shop.book, shop.folder / "book.txt", "doubtful").result()
        assert [notice.code for notice in run.notices] == ["doubt"]
    assert shop.calls() == ["doubtful"]


def test_one_text_delivered_to_two_places_lies_at_both(shop: Shop) -> None:
    places = shop.folder / "a.txt", shop.folder / "b.txt"
    for _ in range(2):
        with shop.run() as run:
            for place in places:
                run.deliver(shop.book, place, "same").result()
        assert [place.read_text() for place in places] == ["same", "same"]
    assert shop.calls() == ["same", "same"]


# order and time


def test_handles_overlap(shop: Shop) -> None:
    meeting = threading.Barrier(2, timeout=60)

    @stage("meet")
    def meet(work: Work, name: str) -> str:
        meeting.wait()  # breaks, and so fails the test, when the other is not working at the same time
        return name

    with shop.run(How(jobs=2)) as run:
        one, two = run.start(meet, "one"), run.start(meet, "two")
        assert (one.result(), two.result()) == ("one", "two")


def test_items_of_a_map_overlap_as_far_as_jobs_allow(shop: Shop) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    @stage("busy")
    def work_hard(work: Work, number: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02)
        with lock:
            busy -= 1
        return number

    with shop.run(How(jobs=3)) as run:
        run.map(work_hard, range(12))
    assert 1 < most <= 3


def test_steps_take_handles_as_arguments(shop: Shop) -> None:
    with shop.run() as run:
        numbers = run.start(shop.double, 5)
        assert run.step(shop.double, numbers) == 20


def test_results_come_in_the_order_of_the_items(shop: Shop) -> None:
    with shop.run(How(jobs=4)) as run:
        texts = run.map(shop.warn, ["slow", "quick"], 0.05)
        assert texts == ("slow", "quick")
        assert [notice.text for notice in run.notices] == ["mind slow", "mind quick"]


def test_notices_and_counts_come_in_the_order_of_the_calls(shop: Shop) -> None:
    for _ in range(2):
        with shop.run(How(jobs=2)) as run:
            slow = run.start(shop.warn, "slow", 0.1)
            run.step(shop.double, 1)
            run.step(replace(shop.warn, name="warn-again"), "quick")
            slow.result()
            run.note(Notice("late", "at the end"))
        assert [notice.text for notice in run.notices] == ["mind slow", "mind quick", "at the end"]
        assert [notice.stage for notice in run.notices] == ["warn", "warn-again", ""]
        assert list(run.counts) == ["warn", "double", "warn-again"]


def test_notices_are_replayed_from_the_memo_each_once(shop: Shop) -> None:
    told = []
    for _ in range(2):
        with shop.run() as run:
            run.map(shop.warn, ["steps", "steps"])
        told.append(run.notices)
    assert shop.calls() == ["steps"]
    assert told[0] == told[1] == (Notice("warned", "mind steps", stage="warn"),)


def test_progress_counts_to_the_end(shop: Shop) -> None:
    heard: list[Progress] = []
    with shop.run() as run:
        run.map(shop.double, [1, 2])
    with shop.run(How(sink=heard.append)) as run:
        run.map(shop.double, [1, 2, 3])
    assert (heard[0].done, heard[0].remembered) == (2, 2)
    assert (heard[-1].stage, heard[-1].done, heard[-1].total) == ("double", 3, 3)


# trouble


def test_a_warning_is_an_error_under_strict_also_when_remembered(shop: Shop) -> None:
    for _ in range(2):
        with shop.run(How(strict=True)) as run, pytest.raises(StrictNotice, match="mind the gap") as caught:
            run.step(shop.warn, "the gap")
        assert caught.value.exit_status == 7
    assert shop.calls() == ["the gap"], "the work itself is kept"
    with shop.run(How(strict=True)) as run, pytest.raises(StrictNotice):
        run.note(Notice("odd", "odd"))


def test_good_news_is_no_error_under_strict(shop: Shop) -> None:
    with shop.run(How(strict=True)) as run:
        run.note(Notice("fine", "all is well", "info"))
    assert [notice.code for notice in run.notices] == ["fine"]


@stage("refuse")
def refuse(work: Work, text: str) -> str:
    raise BadInput(f"no {text}", "give something else")


@stage("stumble")
def stumble(work: Work, text: str) -> str:
    raise ValueError(text)


def test_errors_say_where_they_happened(shop: Shop) -> None:
    with shop.run() as run, pytest.raises(BadInput) as caught:
        run.step(refuse, "milk")
    assert (caught.value.stage, caught.value.engine) == ("refuse", None)


def fail(error: BaseException) -> Callable[[str], None]:
    def fails(text: str) -> None:
        raise error

    return fails


def test_an_error_of_an_engine_names_it(shop: Shop) -> None:
    with shop.run() as run, pytest.raises(MissingSecret) as caught:
        run.tools["tts"] = Booth(fail(MissingSecret("no key", "set it"))).tool()
        run.step(say, "a")
    assert (caught.value.stage, caught.value.engine, caught.value.hint) == ("say", "booth", "set it")


@pytest.mark.parametrize("oddity", [RuntimeError("odd"), KeyError("odd"), MemoryError("odd"), ImportError("odd")])
def test_whatever_an_engine_raises_becomes_engine_failed(shop: Shop, oddity: Exception) -> None:
    with shop.run() as run, pytest.raises(EngineFailed, match=r"booth failed in say: .*odd") as caught:
        run.tools["tts"] = Booth(fail(oddity)).tool()
        run.step(say, "a")
    assert (caught.value.stage, caught.value.engine, caught.value.__cause__) == ("say", "booth", oddity)


def test_an_engine_that_cannot_be_loaded_has_failed(shop: Shop) -> None:
    @contextmanager
    def load(options: Options, weights: object, device: str) -> Generator[None]:
        raise RuntimeError("no such weights")
        yield

    tool = Booth().tool()
    with shop.run() as run, pytest.raises(EngineFailed, match="no such weights"):
        run.tools["tts"] = replace(tool, engine=replace(tool.engine, load=load))
        run.step(say, "a")


def test_a_fault_of_our_own_is_not_hidden(shop: Shop) -> None:
    with shop.run() as run, pytest.raises(ValueError, match="oops"):
        run.step(stumble, "oops")


def test_a_failed_call_is_not_remembered(shop: Shop) -> None:
    booth = Booth(fail(RuntimeError("odd")))
    with shop.run() as run, pytest.raises(EngineFailed):
        run.tools["tts"] = booth.tool()
        run.step(say, "a")
    booth.fails = lambda text: None
    with shop.run() as run:
        run.tools["tts"] = booth.tool()
        assert run.step(say, "a") == "a@1"


def test_when_one_item_fails_the_finished_ones_are_kept(shop: Shop) -> None:
    finished = threading.Event()

    def fails(text: str) -> None:
        if text == "bad":
            finished.wait(60)
            raise RuntimeError("odd")

    def heard(progress: Progress) -> None:
        if progress.done:
            finished.set()

    booth = Booth(fails)
    with shop.run(How(jobs=2, sink=heard)) as run, pytest.raises(EngineFailed):
        run.tools["tts"] = booth.tool()
        run.map(say, ["bad", "good"])
    booth.fails, booth.asked = lambda text: None, []
    with shop.run() as run:
        run.tools["tts"] = booth.tool()
        run.map(say, ["bad", "good"])
    assert booth.asked == ["bad"]


def test_cancel_stops_and_keeps_what_is_finished(shop: Shop) -> None:
    runs: list[Run] = []

    @stage("walk")
    def walk(work: Work, number: int) -> int:
        shop.asked.append(number)
        if number == 3 and len(runs) == 1:
            time.sleep(0.1)
            runs[0].cancel()
            work.progress(0.5)
        return number

    for _ in range(2):
        with shop.run(How(jobs=1)) as run:
            runs.append(run)
            if len(runs) == 1:
                with pytest.raises(Cancelled) as caught:
                    run.map(walk, range(100))
                assert caught.value.exit_status == 130
                assert shop.calls() == [0, 1, 2, 3]
                with pytest.raises(Cancelled):
                    run.step(shop.double, 1)
            else:
                assert run.map(walk, range(100)) == tuple(range(100))
    assert shop.calls() == list(range(3, 100))


def test_an_error_stops_the_steps_that_run_beside_it(shop: Shop) -> None:
    began = threading.Event()

    @stage("endless")
    def endless(work: Work) -> int:
        began.set()
        while True:
            time.sleep(0.005)
            work.progress(0.1)

    with pytest.raises(BadInput), shop.run(How(jobs=2)) as run:
        run.start(endless)
        assert began.wait(60)
        run.step(refuse, "milk")


def test_a_result_that_cannot_be_delivered_is_a_store_error(shop: Shop) -> None:
    (shop.folder / "book.txt").mkdir()
    with shop.run() as run, pytest.raises(StoreError, match="in the way") as caught:
        run.deliver(shop.book, shop.folder / "book.txt", "one").result()
    assert caught.value.hint
    assert not list(shop.folder.glob(".polydub-*"))


# memory of the last run


@stage("settle")
def settle(work: Work, number: int, last: int | None) -> int:
    return number + 100 * (last or 0)


def test_previous_gives_the_last_value_to_changed_inputs_only(shop: Shop) -> None:
    def go(number: int) -> tuple[int, bool]:
        with shop.run() as run:
            run.state = json.loads(json.dumps(shop.asked[-1] if shop.asked else {}))
            found = run.step(settle, number, run.previous("number"))
        shop.asked.append(run.finish())
        return found, run.counts["settle"].ran == 1

    assert go(1) == (1, True), "a fresh run has no previous"
    assert go(1) == (1, False), "the same inputs see the same previous"
    assert go(2) == (102, True), "changed inputs see the last value"
    assert go(2) == (102, False)
    assert go(2) == (102, False)
    assert go(1) == (10201, True), "the way back is a change, too"


def test_a_row_that_is_not_what_the_stage_returns_is_made_anew(shop: Shop) -> None:
    @stage("double")
    def words(work: Work, number: int) -> str:
        return "not a number"

    with shop.run() as run:
        assert run.step(words, 4) == "not a number"
    for _ in range(2):
        with shop.run() as run:
            assert run.step(shop.double, 4) == 8
    assert shop.calls() == [4]


def test_what_another_version_told_last_time_counts_for_nothing(shop: Shop) -> None:
    with shop.run() as run:
        run.state = {"number": {"inputs": "other", "value": {"of": "long ago"}}}
        assert run.step(settle, 1, run.previous("number")) == 1
    assert run.finish()["number"]["value"] == 1


def test_finish_keeps_what_this_run_did_not_touch(shop: Shop) -> None:
    with shop.run() as run:
        run.state = {"elsewhere": {"value": 1}}
        run.step(settle, 5, run.previous("number"))
    state = run.finish()
    assert state["elsewhere"] == {"value": 1}
    assert state["number"]["value"] == 5


@stage("whole")
def whole(work: Work) -> float:
    return 40


def test_a_fresh_result_is_what_the_memo_will_give(shop: Shop) -> None:
    found = []
    for _ in range(2):
        with shop.run() as run:
            found.append(run.step(whole))
    assert [repr(value) for value in found] == ["40.0", "40.0"]


# keys


@dataclass(frozen=True)
class Inner:
    text: str
    number: float


@dataclass(frozen=True)
class Inputs:
    text: str
    count: int
    share: float
    maybe: str | None
    several: tuple[Inner, ...]
    table: dict[str, float]
    flag: bool


NUMBERS = st.floats(allow_nan=False).map(lambda x: x + 0.0)  # -0.0 equals 0.0 and is written otherwise
TEXTS = st.text(st.characters(), max_size=8)  # with lone surrogates
NAMES = st.text(max_size=8)
INPUTS = st.builds(
    Inputs,
    TEXTS,
    st.integers(),
    NUMBERS,
    st.none() | TEXTS,
    st.lists(st.builds(Inner, TEXTS, NUMBERS), max_size=3).map(tuple),
    st.dictionaries(NAMES, NUMBERS, max_size=3),
    st.booleans(),
)


@st.composite
def two_inputs(draw: st.DrawFn) -> tuple[Inputs, Inputs]:
    """Two that are often equal or differ in one place."""
    one, other = draw(INPUTS), draw(INPUTS)
    taken = draw(st.sets(st.sampled_from(sorted(Inputs.__dataclass_fields__)), max_size=2))
    return one, replace(one, **{name: getattr(other, name) for name in taken})


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Sequence[Sequence[Any]]], int]]:
    """How many calls a stage makes for these argument lists, with nothing remembered from before."""
    folder = tmp_path_factory.mktemp("ledger")
    store, versions = Store(folder / "store"), count(1)

    def distinct(calls: Sequence[Sequence[Any]]) -> int:
        @stage("note", version=next(versions))
        def note(work: Work, *arguments: Any) -> int:
            return 1

        with Run(store, folder, How(jobs=1)) as run:
            for arguments in calls:
                run.step(note, *arguments)
        return run.counts["note"].ran

    yield distinct
    store.close()


@given(pair=two_inputs())
def test_two_calls_are_one_exactly_when_their_inputs_are_equal(
    ledger: Callable[[Sequence[Sequence[Any]]], int], pair: tuple[Inputs, Inputs]
) -> None:
    one, other = pair
    assert ledger([[one], [other]]) == (1 if one == other else 2)
    assert ledger([[one.text, one], [other.text, one]]) == (1 if one.text == other.text else 2)


@given(table=st.dictionaries(NAMES, NUMBERS, min_size=2, max_size=4))
def test_the_order_of_a_mapping_does_not_matter(
    ledger: Callable[[Sequence[Sequence[Any]]], int], table: dict[str, float]
) -> None:
    assert ledger([[table], [dict(reversed(table.items()))]]) == 1


def test_arguments_do_not_run_into_each_other(ledger: Callable[[Sequence[Sequence[Any]]], int]) -> None:
    assert ledger([["a", "b"], ["ab", ""], ["a", "b", None], [["a", "b"]], ['a","b'], ["a"], ["a", None]]) == 7


def test_an_error_names_the_line_it_is_about(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    @stage("picky")
    def picky(work: Work, text: str) -> str:
        if text == "bad":
            raise BadInput("this text is bad")
        return text

    with Run(store, tmp_path) as run, pytest.raises(BadInput) as caught:
        run.map(picky, ["good", "bad"], lines=["7", "9"])
    assert (caught.value.line, caught.value.stage) == ("9", "picky")
    store.close()


def test_flow_yields_each_result_in_order_before_the_last_is_made(shop: Shop) -> None:
    last = threading.Event()

    @stage("slow")
    def slow(work: Work, number: int) -> int:
        if number == 3:
            assert last.wait(60)
        return 10 * number

    with shop.run(How(jobs=2)) as run:
        results = run.flow(slow, [1, 2, 3])
        assert [next(results), next(results)] == [10, 20]  # while the third is not made
        last.set()
        assert list(results) == [30]
    with shop.run() as run:
        assert list(run.flow(slow, [1, 2, 3])) == [10, 20, 30]
        assert run.counts["slow"].remembered == 3


def test_a_flow_that_nobody_finishes_keeps_what_was_made(shop: Shop) -> None:
    with shop.run(How(jobs=1)) as run:
        results = run.flow(shop.double, [1, 2, 3])
        assert next(results) == 2
        results.close()  # type: ignore[attr-defined]
    shop.calls()
    with shop.run() as run:
        assert run.map(shop.double, [1]) == (2,)
    assert shop.calls() == []


def test_start_map_does_not_wait(shop: Shop) -> None:
    free = threading.Event()

    @stage("patient")
    def patient(work: Work, number: int) -> int:
        assert free.wait(60)
        return number + 1

    with shop.run(How(jobs=2)) as run:
        handle = run.start_map(patient, [1, 2])
        assert run.map(shop.double, []) == ()
        free.set()
        assert handle.result() == (2, 3)
