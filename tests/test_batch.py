"""Many films: so many at once, threads shared, failures apart, one set of engines, stopped and gone on with."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polydub import config
from polydub.batch import Batch, Made, Row, Stopped, Task, checked, run_batch
from polydub.dubbing import Ears, Job
from polydub.engines.base import Engine, Info, Options
from polydub.engines.pool import EnginePool, Tool
from polydub.errors import BadSettings, EngineFailed
from polydub.project import open_project
from polydub.store import Store
from polydub.types import Notice, Progress


@dataclass(frozen=True)
class Finished:
    """What a film of these tests leaves."""

    language: str = "es"
    notices: tuple[Notice, ...] = ()
    called: int = 1


@dataclass
class Studio:
    """Where films are dubbed by a function of the test, and what it saw."""

    folder: Path
    threads: dict[str, int] = field(default_factory=dict[str, int])
    most: int = 0
    _working: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def task(self, name: str, place: str = "", **settings: object) -> Task:
        """A film with a name of its own as what it holds."""
        media = self.folder / f"{name}.mkv"
        media.parent.mkdir(parents=True, exist_ok=True)
        media.write_text(name)
        values = {"to": "es", "output": self.folder / "Output"} | settings
        return Task(Job(media), config.load(values, job=None, environ={}, cwd=self.folder, user_file=None), place)

    def run(
        self,
        tasks: Sequence[Task],
        dub: Callable[[Job, EnginePool, Ears], None] = lambda job, pool, ears: None,
        told: Callable[[Row], None] = lambda row: None,
        **how: int,
    ) -> list[Row]:
        def one(job: Job, loaded: config.Loaded, pool: EnginePool, ears: Ears) -> Sequence[Made]:
            with self._lock:
                self._working += 1
                self.most = max(self.most, self._working)
                self.threads[job.media.stem] = loaded.settings.threads
            try:
                dub(job, pool, ears)
            finally:
                with self._lock:
                    self._working -= 1
            return [Finished()]

        return run_batch(Batch(tuple(tasks), dub=one, **how), EnginePool(), lambda task: Ears(), told)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def test_so_many_films_are_at_work_at_once_and_rows_keep_their_order(studio: Studio) -> None:
    meet = threading.Barrier(2, timeout=60)
    tasks = [studio.task(name) for name in "abcd"]
    rows = studio.run(tasks, lambda job, pool, ears: meet.wait() and None, jobs=2)
    assert [row.task for row in rows] == tasks
    assert {row.status for row in rows} == {"done"}
    assert studio.most == 2


def test_one_after_the_other_unless_told(studio: Studio) -> None:
    order: list[str] = []
    studio.run([studio.task(name) for name in "abc"], lambda job, pool, ears: order.append(job.media.stem))
    assert (order, studio.most) == (["a", "b", "c"], 1)


@pytest.mark.parametrize(
    ("jobs", "threads", "shares"), [(1, 4, [4, 4, 4]), (2, 4, [2, 2]), (3, 4, [2, 1, 1]), (3, 2, [1, 1, 1])]
)
def test_threads_are_shared_by_the_films_at_work_and_not_multiplied(
    studio: Studio, jobs: int, threads: int, shares: list[int]
) -> None:
    meet = threading.Barrier(jobs, timeout=60)
    studio.run(
        [studio.task(str(n)) for n in range(len(shares))],
        lambda job, pool, ears: meet.wait() and None,
        jobs=jobs,
        threads=threads,
    )
    assert list(studio.threads.values()) == shares


def test_a_film_that_is_left_alone_has_all_threads(studio: Studio) -> None:
    studio.run([studio.task("one")], jobs=8, threads=6)
    assert studio.threads == {"one": 6}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_fails_fails_alone_whatever_it_is(studio: Studio, jobs: int) -> None:
    def dub(job: Job, pool: EnginePool, ears: Ears) -> None:
        if job.media.stem == "engine":
            raise EngineFailed("the engine could not be loaded", "try another one")
        if job.media.stem == "ours":
            raise ZeroDivisionError("a fault of ours")

    rows = studio.run([studio.task(name) for name in ("engine", "good", "ours", "fine")], dub, jobs=jobs)
    assert [row.status for row in rows] == ["failed", "done", "failed", "done"]
    assert rows[0].error and rows[0].error.message == "the engine could not be loaded"
    assert rows[2].error and rows[2].error.message == "unexpected ZeroDivisionError: a fault of ours"


def test_a_film_for_which_nothing_was_left_to_do_is_remembered(studio: Studio) -> None:
    def dub(job: Job, loaded: config.Loaded, pool: EnginePool, ears: Ears) -> Sequence[Made]:
        return [Finished("es", called=0), Finished("fr", called=3 if job.media.stem == "half" else 0)]

    tasks = (studio.task("half"), studio.task("whole"))
    rows = run_batch(Batch(tasks, dub=dub), EnginePool(), lambda task: Ears(), lambda row: None)
    assert [row.status for row in rows] == ["done", "remembered"]


def test_who_waits_hears_of_each_film_as_it_ends(studio: Studio) -> None:
    heard, first = list[str](), threading.Event()

    def dub(job: Job, pool: EnginePool, ears: Ears) -> None:
        if job.media.stem == "slow":
            assert first.wait(60)

    def told(row: Row) -> None:
        heard.append(row.task.job.media.stem)
        first.set()

    studio.run([studio.task("slow"), studio.task("quick")], dub, told, jobs=2)
    assert heard == ["quick", "slow"]


class TestFolders:
    def test_films_of_one_folder_are_dubbed_one_after_the_other(self, studio: Studio) -> None:
        order: list[str] = []
        tasks = [studio.task("talk"), studio.task("other"), studio.task("talk", to="fr")]
        talks = threading.Lock()

        def dub(job: Job, pool: EnginePool, ears: Ears) -> None:
            if job.media.stem == "talk":
                assert talks.acquire(blocking=False), "two processes would wait for one another here"
                order.append(job.media.stem)
                talks.release()

        assert [row.status for row in studio.run(tasks, dub, jobs=3)] == ["done"] * 3
        assert order == ["talk", "talk"]

    def test_the_first_of_two_files_of_one_name_gets_the_folder_of_that_name(self, studio: Studio) -> None:
        folders: dict[str, str] = {}
        gate = threading.Event()

        def dub(job: Job, pool: EnginePool, ears: Ears) -> None:
            if job.media.parent.name == "a":
                assert gate.wait(60)  # the second one comes first
            store = Store(studio.folder / "Output/.polydub")
            with open_project(studio.folder / "Output", job.media, store.adopt(job.media), lambda text: None) as project:
                folders[job.media.parent.name] = project.folder.name
            store.close()
            gate.set()

        studio.run([studio.task("a/talk"), studio.task("b/talk")], dub, jobs=2)
        assert folders["a"] == "talk"
        assert folders["b"].startswith("talk-")

    def test_a_file_that_is_missing_among_others_of_its_name_is_left_for_its_own_turn(self, studio: Studio) -> None:
        tasks = [studio.task("a/talk"), studio.task("b/talk")]
        tasks[0].job.media.unlink()
        assert len(studio.run(tasks, jobs=2)) == 2


class TestStopping:
    def test_ctrl_c_ends_films_at_their_next_progress_and_tells_what_is_open(self, studio: Studio) -> None:
        def dub(job: Job, pool: EnginePool, ears: Ears) -> None:
            while job.media.stem != "a":
                ears.progress(Progress("mix", 1, 2))

        def told(row: Row) -> None:
            raise KeyboardInterrupt

        with pytest.raises(Stopped) as caught:
            studio.run([studio.task(name) for name in "abc"], dub, told, jobs=2)
        assert [row.status for row in caught.value.rows] == ["done", "open", "open"]
        assert caught.value.message == "stopped: 1 of 3 films are done, 2 still open"
        assert "run the same command again" in caught.value.hint
        assert caught.value.exit_status == 130

    def test_a_film_that_does_not_listen_keeps_nobody(self, studio: Studio) -> None:
        over = threading.Event()

        def told(row: Row) -> None:
            raise KeyboardInterrupt

        try:
            with pytest.raises(Stopped) as caught:
                studio.run(
                    [studio.task("a"), studio.task("deaf")],
                    lambda job, pool, ears: job.media.stem == "deaf" and over.wait(60) and None,
                    told,
                    jobs=2,
                )
        finally:
            over.set()
        assert [row.status for row in caught.value.rows] == ["done", "open"]


class TestChecking:
    def test_what_was_asked_for_twice_is_done_once(self, studio: Studio) -> None:
        assert len(checked([studio.task("a"), studio.task("b"), studio.task("a")])) == 2

    def test_languages_and_outputs_of_their_own_are_no_conflict(self, studio: Studio) -> None:
        tasks = [studio.task("a"), studio.task("a", to="fr"), studio.task("a", output=studio.folder / "Other", tts="fake")]
        assert checked(tasks) == tuple(tasks)

    @pytest.mark.parametrize("other", [{"tts": "fake"}, {"to": "fr,es"}])
    def test_two_that_would_write_one_film_are_refused(self, studio: Studio, other: dict[str, Any]) -> None:
        with pytest.raises(BadSettings, match=r"l\.csv, row 2 and l\.csv, row 5 would write the same film"):
            checked([studio.task("a", "l.csv, row 2"), studio.task("a", "l.csv, row 5", **other)])

    def test_what_a_row_cannot_have_is_told_with_its_place(self, studio: Studio) -> None:
        with pytest.raises(BadSettings, match=r"l\.csv, row 3: nobody said which language"):
            checked([studio.task("a", "l.csv, row 3", to=())])


def test_an_engine_without_a_limit_takes_a_call_for_each_thread_of_the_batch(tmp_path: Path) -> None:
    meet = threading.Barrier(2, timeout=60)

    @contextmanager
    def load(options: Any, weights: Any, device: str) -> Any:
        yield meet.wait

    info = Info("tts", "together", "a test", "MIT", "", parallel=0)
    tool = Tool(Engine(info, Options, load, lambda o: None, lambda o: None), Options(), {"name": "together"})
    pool = EnginePool(at_once=2)

    def use() -> None:
        with pool.borrow(tool, 1) as wait:  # a run of one thread, as each of many films has
            wait()

    other = threading.Thread(target=use)
    other.start()
    use()
    other.join(60)
    pool.close()


def test_each_film_has_its_own_log_though_several_are_at_work(
    clip: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polydub")
    cues = "1\n00:00:00,200 --> 00:00:00,900\nHello.\n"
    tasks: list[Task] = []
    for name in ("one", "two"):
        media, text = clip(name, seconds=1.0), tmp_path / f"{name}.srt"
        text.write_text(cues)
        values = {"to": "es", "no_translate": True, "tts": "fake", "separation": "none", "diarization": "none"}
        values |= {"output": tmp_path / "Output", "source_language": "es"}
        tasks.append(Task(Job(media, text), config.load(values, job=None, environ={}, cwd=tmp_path, user_file=None)))
    pool = EnginePool()
    rows = run_batch(Batch(tuple(tasks), jobs=2, threads=2), pool, lambda task: Ears(), lambda row: None)
    pool.close()
    assert [row.status for row in rows] == ["done", "done"], [row.error for row in rows]
    for name in ("one", "two"):
        log = (tmp_path / "Output" / name / "job.log").read_text()
        assert log.count("dubbing into es") == 1
        assert log.count("mux: 1 made") == 1
    assert json.loads((tmp_path / "Output/one/project.json").read_text())["source"]["path"].endswith("one.mkv")
