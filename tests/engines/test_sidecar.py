"""An engine in a process of its own works as in this one, and whatever the process does, polydub goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sidecar_engine import ENGINE, Odd

from polydub.engines.asr.faster_whisper import WhisperOptions
from polydub.engines.base import Calibration
from polydub.engines.pool import EnginePool, Tool
from polydub.engines.sidecar.host import entry_of, opened, running, smaller
from polydub.engines.sidecar.process import Limits, Start
from polydub.errors import BadEngineOutput, BadSettings, EngineFailed, MissingExtra, MissingWeights
from polydub.types import Audio, Part, Segment, Span, Voice

pytestmark = pytest.mark.usefixtures("nothing_left")
HERE, USUAL = Path(sys.executable), Limits()
VOICE = Voice("odd", "v", "en")


def start(python: Path = HERE, limits: Limits = USUAL, **options: Any) -> Start:
    return Start(ENGINE, "sidecar_engine:ENGINE", Odd(**options), {"w": Path("folder")}, "cpu", python, limits)


@pytest.fixture
def engine() -> Iterator[Any]:
    with running(start(secret="s3cret")) as odd:
        yield odd


@contextmanager
def failing(text: str) -> Iterator[None]:
    """The block fails with one sentence that has `text`."""
    with pytest.raises(EngineFailed, match=text) as caught:
        yield
    assert "\n" not in caught.value.message and caught.value.message.startswith("odd ") and caught.value.hint


def slow(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@contextmanager
def meanwhile(call: Callable[[], object]) -> Iterator[threading.Thread]:
    """`call` runs beside the block, and must fail."""

    def run() -> None:
        with pytest.raises(EngineFailed):
            call()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)
    yield thread


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting for it a while."""
    for _ in range(1200):
        with suppress(ProcessLookupError, FileNotFoundError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.05)
                continue
        return True
    return False


def sound(seconds: float) -> Audio:
    return Audio(np.zeros((1, int(16_000 * seconds)), np.float32), 16_000)


class TestWork:
    def test_what_the_engine_is_loaded_with_arrives(self, engine: Any) -> None:
        facts = engine.facts()
        assert facts["secret"] == "s3cret" and facts["device"] == "cpu" and facts["weights"] == {"w": Path("folder")}
        assert facts["pid"] != os.getpid() and not any("s3cret" in word for word in facts["argv"])

    def test_it_has_what_the_engine_has_and_nothing_else(self, engine: Any) -> None:
        assert engine.calibration == Calibration(0.5, 0.6, (0.1, 0.2), 0.4)
        assert hasattr(engine, "stream") and not hasattr(engine, "clone")

    def test_arrays_and_keywords_go_both_ways(self, engine: Any) -> None:
        rows = engine.embed(sound(1.0), (Span(0.0, 1.0), Span(0.0, 2.0)))
        assert rows.shape == (2, 1) and rows.dtype == np.float32
        assert engine.echo((1, "é"), twice=True) == ((1, "é"), (1, "é"))

    def test_the_entry_of_an_engine_is_found(self) -> None:
        assert entry_of(ENGINE) == "sidecar_engine:ENGINE"
        with opened(ENGINE, Odd(), {}, "cpu", HERE) as odd:
            assert odd.echo(1) == 1
        with pytest.raises(MissingExtra, match="odd"):
            entry_of(replace(ENGINE))

    def test_items_come_as_they_are_made_and_only_as_far_as_they_are_taken(self, engine: Any, tmp_path: Path) -> None:
        told = tmp_path / "told"
        segments = engine.transcribe(sound(100.0), str(told))
        assert [next(segments) for _ in range(3)] == [Segment(float(n), n + 1.0, str(n)) for n in range(3)]
        segments.close()
        for _ in range(3000):
            if told.exists() and told.read_text():
                break
            time.sleep(0.02)
        assert 3 <= int(told.read_text()) <= 3 + 6  # stopped in the child, too, a few items ahead

    def test_an_iterator_that_was_dropped_stops_too_and_the_next_call_works(self, engine: Any) -> None:
        next(engine.transcribe(sound(1000.0), None))
        assert len(list(engine.transcribe(sound(5.0), None))) == 5

    def test_many_calls_at_once_get_their_own_answers_and_as_many_work_as_the_engine_takes(self, engine: Any) -> None:
        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(engine.slow, range(200)))
        assert [value for value, _ in found] == list(range(200))
        assert max(most for _, most in found) == ENGINE.info.parallel

    def test_streams_and_calls_may_be_mixed(self, engine: Any) -> None:
        segments = engine.transcribe(sound(10.0), None)
        found = [(segment.id, engine.echo(n)) for n, segment in enumerate(segments)]
        assert found == [(str(n), n) for n in range(10)]

    def test_big_sound_comes_back_unchanged(self, engine: Any) -> None:
        big = np.random.default_rng(1).random((2, 5_000_000), np.float32)  # 40 MB: several chunks
        np.testing.assert_array_equal(engine.echo(big), big)

    def test_what_libraries_print_disturbs_nothing(self, engine: Any) -> None:
        assert engine.noise() == ""
        assert engine.echo(1) == 1

    def test_nothing_of_the_environment_leaks_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("PYTHONPATH", "/nowhere")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        with running(start()) as odd:
            seen = odd.environment()
        assert "OPENAI_API_KEY" not in seen and "PYTHONPATH" not in seen
        assert seen["HF_HUB_OFFLINE"] == "1" and seen["PATH"] == os.environ["PATH"]

    @pytest.mark.parametrize("how", ["name", "connect", "datagram"])
    def test_an_engine_that_works_offline_cannot_use_the_network(self, engine: Any, how: str) -> None:
        with failing("network"):
            engine.network(how)

    def test_sockets_within_the_machine_are_no_network(self, engine: Any) -> None:
        engine.network("pair")

    def test_a_network_engine_may(self) -> None:
        online = replace(ENGINE, info=replace(ENGINE.info, network=True))
        with running(replace(start(), engine=online)) as odd:
            odd.network("name")


class TestFaults:
    def test_errors_of_polydub_travel_as_themselves(self, engine: Any) -> None:
        with pytest.raises(MissingWeights, match="no such file") as caught:
            engine.missing()
        assert caught.value.hint == "pull it"
        with pytest.raises(BadSettings, match="it is wrong"):
            engine.fault("settings")
        assert engine.echo(1) == 1

    @pytest.mark.parametrize(("fault", "text"), [("error", "KeyError"), ("leave", "SystemExit"), ("interrupt", "Interrupt")])
    def test_other_errors_become_one_sentence_and_the_process_lives_on(self, engine: Any, fault: str, text: str) -> None:
        before = engine.facts()["pid"]
        with failing(text):
            engine.fault(fault)
        assert engine.facts()["pid"] == before

    @pytest.mark.parametrize("method", ["surrogate", "object"])
    def test_an_answer_that_cannot_be_sent_is_bad_output(self, engine: Any, method: str) -> None:
        with pytest.raises(BadEngineOutput, match="cannot be sent"):
            getattr(engine, method)()
        assert engine.echo(1) == 1

    @pytest.mark.parametrize(
        ("fault", "text"),
        [
            ("exit", "status 3"),
            ("crash", "crashed"),
            slow("killed", "want of memory"),
            ("garbage", "no answer"),
            slow("other-garbage", "no answer"),
            ("half", "status 4"),
            slow("half-block", "status 4"),
            ("memory", "out of memory"),
            slow("cuda-memory", "out of memory"),
        ],
    )
    def test_a_process_that_goes_wrong_is_started_again_once(self, tmp_path: Path, fault: str, text: str) -> None:
        with running(start()) as odd:
            before = odd.facts()["pid"]
            with failing(text):
                odd.fault(fault)
            assert odd.facts()["pid"] != before
        with running(start(once=tmp_path / "once")) as odd:
            before = odd.facts()["pid"]
            assert odd.fault(fault, "done") == "done"
            assert odd.facts()["pid"] != before

    def test_memory_tells_what_to_do(self, engine: Any) -> None:
        with pytest.raises(EngineFailed) as caught:
            engine.fault("cuda-memory")
        assert "smaller model" in caught.value.hint and "--device" not in caught.value.hint
        with running(replace(start(), device="cuda")) as odd, pytest.raises(EngineFailed) as caught:
            odd.fault("cuda-memory")
        assert "--device cpu" in caught.value.hint

    @pytest.mark.parametrize("fault", ["hang", "hard-hang"])
    def test_a_process_that_hangs_is_ended(self, fault: str, tmp_path: Path) -> None:
        with running(start(idle_s=0.5)) as odd, failing("did not answer"):
            odd.fault(fault)
        with running(start(idle_s=3.0, once=tmp_path / "once")) as odd:  # in which a healthy one has to answer
            assert odd.fault(fault, "done") == "done"

    def test_long_sound_has_more_time_than_short(self) -> None:
        with running(start(idle_s=0.3)) as odd:
            assert odd.pause(0.8, sound(60.0)) == 0.8
            with failing("did not answer"):
                odd.pause(30.0, sound(0.001))

    def test_a_call_that_waits_for_others_does_not_hang(self) -> None:
        alone = replace(ENGINE, info=replace(ENGINE.info, parallel=1))
        with running(replace(start(idle_s=3.0), engine=alone)) as odd, ThreadPoolExecutor(10) as threads:
            assert list(threads.map(odd.pause, [0.4] * 10)) == [0.4] * 10

    def test_after_want_of_memory_it_works_in_smaller_batches(self) -> None:
        with running(start()) as odd:
            assert odd.batch(64) == 64
            assert odd.batch(16) == 16, "a quarter, in a new process"
            assert odd.batch(64) == 16, "from then on"
            with failing("out of memory"):
                odd.batch(1)
        assert smaller(Odd(batch_pieces=9)) == Odd(batch_pieces=8), "no less than the option allows"
        assert smaller(Odd(batch_pieces=8)) is None

    def test_a_batch_size_that_changes_the_result_stays(self) -> None:
        assert smaller(WhisperOptions.model_validate({"batch_size": 8})) is None

    @pytest.mark.parametrize("fault", ["exit", *map(slow, ("crash", "garbage", "half", "memory"))])
    def test_a_stream_is_repeated_as_long_as_nothing_of_it_was_passed_on(self, tmp_path: Path, fault: str) -> None:
        words = "one two three four five six seven eight nine ten eleven twelve"
        with running(start(once=tmp_path / "once")) as odd:
            sounds = list(odd.stream(Part(words, fault, VOICE, seed=0)))
            assert [int(s.samples[0, 0]) for s in sounds] == list(range(12))
        with running(start(once=tmp_path / "twice")) as odd:
            taken: list[Audio] = []
            with failing(" "):
                for piece in odd.stream(Part(words, fault, VOICE, seed=9)):
                    taken.append(piece)
            assert taken
            assert odd.echo(1) == 1

    def test_a_death_takes_no_other_call_along(self, engine: Any) -> None:
        """Four work at once; one kills the process, twice."""

        def call(n: int) -> object:
            try:
                return engine.fault("late-crash", n) if n == 30 else engine.pause(0.1 + n / 1000)
            except EngineFailed as error:
                return error

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(call, range(24, 40)))
        assert isinstance(found.pop(6), EngineFailed)
        assert found == [0.1 + n / 1000 for n in range(24, 40) if n != 30]

    @pytest.mark.parametrize(
        ("fault", "kind", "text"),
        [
            ("settings", BadSettings, "it is wrong"),
            slow("error", EngineFailed, "KeyError"),
            slow("leave", EngineFailed, "SystemExit"),
            slow("memory", EngineFailed, "out of memory"),
            slow("exit", EngineFailed, "status 3"),
            ("crash", EngineFailed, "crashed"),
            slow("garbage", EngineFailed, "no answer"),
        ],
    )
    def test_what_goes_wrong_while_it_loads_is_one_error(self, fault: str, kind: type[Exception], text: str) -> None:
        with pytest.raises(kind, match=text), running(start(load=fault)):
            pass

    @pytest.mark.parametrize("fault", ["exit", slow("crash"), slow("garbage")])
    def test_a_process_that_dies_while_it_loads_is_started_once_more(self, tmp_path: Path, fault: str) -> None:
        with running(start(load=fault, once=tmp_path / "once")) as odd:
            assert odd.echo(1) == 1
            assert odd.remark == ""

    def test_one_that_has_too_little_memory_to_load_works_in_smaller_batches_and_says_so(self, tmp_path: Path) -> None:
        with running(start(load="memory", once=tmp_path / "once")) as odd:
            assert odd.batch(64) == 16
            assert odd.remark == "odd ran out of memory, and works in smaller batches from now on"

    def test_loading_that_hangs_is_ended(self) -> None:
        with failing("did not answer"), running(start(limits=Limits(load_s=1.0), load="hang")):
            pass

    def test_a_python_that_is_not_there_is_named_with_what_mends_it(self, tmp_path: Path) -> None:
        with pytest.raises(MissingExtra, match="environment") as caught, running(start(tmp_path / "bin/python")):
            pass
        assert caught.value.hint == "polydub engines install odd"

    def test_a_program_that_is_no_python_is_one_error(self) -> None:
        with failing("ended by itself"), running(start(Path("/bin/false"))):
            pass

    def test_the_last_words_of_a_process_are_told(self, engine: Any) -> None:
        with failing("these are my last words"):
            engine.last_words("these are my last words")


class TestEnd:
    def test_closing_ends_it_and_all_that_it_started(self) -> None:
        with running(start()) as odd:
            pids = odd.facts()["pid"], odd.child()
        assert all(map(gone, pids))

    def test_what_a_dead_process_had_started_ends_with_it(self, engine: Any) -> None:
        child = engine.child()
        with suppress(EngineFailed):
            engine.fault("exit")
        assert gone(child)

    @pytest.mark.parametrize("load", ["slow-end", ""])
    @pytest.mark.parametrize("fault", ["hang", slow("hard-hang")])
    def test_closing_does_not_wait_for_what_hangs(self, load: str, fault: str) -> None:
        with running(start(load=load)) as odd:
            odd.threads()
            pid = odd.facts()["pid"]
            with meanwhile(lambda: odd.fault(fault)) as hanging:
                pass
        hanging.join(60)
        assert not hanging.is_alive() and gone(pid)

    def test_a_call_after_the_end_is_refused(self) -> None:
        with running(start()) as odd:
            pass
        with failing("closed"):
            odd.echo(1)

    def test_it_ends_when_polydub_is_killed(self) -> None:
        program = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from test_sidecar import start, running\n"
            "with running(start()) as odd:\n"
            "    print(odd.facts()['pid'], odd.child(), flush=True)\n"
            "    odd.fault('hang')\n"
        )
        command = [sys.executable, "-c", program, str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
            assert host.stdout is not None
            pids = [int(word) for word in host.stdout.readline().split()]
            host.send_signal(signal.SIGKILL)
        assert len(pids) == 2 and all(map(gone, pids))


class TestPool:
    def test_an_engine_with_an_environment_works_in_its_own_process(self) -> None:
        pool = EnginePool()
        tool = Tool(ENGINE, Odd(), {"name": "odd"}, python=HERE)
        with pool.borrow(tool, 2) as odd:
            pid = odd.facts()["pid"]
        with pool.borrow(tool, 2) as odd:
            assert odd.facts()["pid"] == pid != os.getpid()
        with pool.borrow(replace(tool, identity={"name": "here"}, python=None), 2) as odd:
            assert odd.facts()["pid"] == os.getpid()
        pool.close()
        assert gone(pid)

    def test_engines_load_at_the_same_time_and_each_once(self) -> None:
        pool, at = EnginePool(), threading.Barrier(3, timeout=60)

        def meeting(name: str) -> Tool:
            @contextmanager
            def load(options: Any, weights: Any, device: str) -> Iterator[str]:
                at.wait()  # broken unless all three are loading now
                yield name

            return Tool(replace(ENGINE, load=load), Odd(), {"name": name})

        tools = [meeting(name) for name in "abc"]

        def use(tool: Tool) -> str:
            with pool.borrow(tool, 1) as engine:
                return engine

        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(use, tools * 2)) == ["a", "b", "c"] * 2
        pool.close()

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_an_engine_that_nobody_uses_is_unloaded_after_a_while_and_loaded_again_when_needed(self, device: str) -> None:
        pool, ended, loads = EnginePool(idle_s=0.05), threading.Event(), list[int]()

        @contextmanager
        def load(options: Any, weights: Any, device: str) -> Iterator[Callable[[], bool]]:
            loads.append(1)
            yield ended.is_set
            ended.set()

        tool = Tool(replace(ENGINE, load=load), Odd(), {"name": "idle"}, device=device)
        for times in (1, 2):
            ended.clear()
            with pool.borrow(tool, 1) as over:
                time.sleep(0.1)
                assert not over(), "it is in use"
            assert ended.wait(60)
            assert len(loads) == times
        pool.close()

    def test_an_accelerator_has_one_engine_at_a_time_and_none_is_unloaded_while_it_works(self) -> None:
        pool, there, most = EnginePool(), set[str](), list[int]()

        def heavy(name: str) -> Tool:
            @contextmanager
            def load(options: Any, weights: Any, device: str) -> Iterator[Callable[[], bool]]:
                there.add(name)
                most.append(len(there))
                yield lambda: name in there
                there.discard(name)

            return Tool(replace(ENGINE, load=load), Odd(), {"name": name}, device="cuda")

        tools = [heavy(name) for name in "abc"]

        def use(tool: Tool) -> bool:
            with pool.borrow(tool, 1) as loaded:
                time.sleep(0.002)
                return loaded()

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(use, tools * 20))
        assert max(most) == 1
        pool.close()
        assert not there
