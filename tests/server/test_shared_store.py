"""Hosts that share a bucket do nothing twice, agree on what was first, and take nothing damaged from it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bucket_stand_in import ACCESS, NAME, REGION, SECRET, a_bucket
from obstore.store import LocalStore

from polydub import config
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import Cancelled, StoreError
from polydub.server.buckets import Bucket, BucketStorage, connected
from polydub.server.objects import BucketAway, ObjectBucket
from polydub.server.shared_store import (
    AT_ONCE,
    FRESH,
    UNUSED_S,
    Lost,
    SharedStore,
    named,
    opener,
    told,
    until_whole,
)
from polydub.server.storage import LocalStorage
from polydub.store import Remembered, Store
from polydub.types import Artifact, Progress
from small_dubs import TALK, srt

BROKEN = "0" * 64


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """The folder that stands for the bucket."""
    return tmp_path / "bucket"


@pytest.fixture
def host(tmp_path: Path, shelf: Path) -> Iterator[Callable[[str], SharedStore]]:
    """`host("a")` -> the store of a host, on the bucket that all share."""
    opened: list[SharedStore] = []

    def open_host(name: str) -> SharedStore:
        opened.append(SharedStore(tmp_path / name, ObjectBucket(LocalStore(shelf, mkdir=True))))
        return opened[-1]

    yield open_host
    for store in opened:
        store.close()


def a_file(store: Store, data: bytes = b"sound") -> Artifact:
    with store.scratch() as scratch:
        (scratch / "made.flac").write_bytes(data)
        return store.keep(scratch / "made.flac")


def a_row(key: str, *files: Artifact, text: str = "") -> Remembered:
    made = [{"sha256": one.sha256, "suffix": one.suffix, "bytes": one.bytes} for one in files]
    return Remembered(key, "stage", json.dumps({"files": made, "text": text}), "[]")


def in_bucket(shelf: Path, part: str) -> list[Path]:
    return sorted(path for path in (shelf / "store" / part).rglob("*") if path.is_file())


# a film


@dataclass
class Host:
    """A machine with its own copy of a film, of the store, of everything. `made`: what it has done itself."""

    folder: Path
    bucket: Path | None
    made: list[str] = field(default_factory=list[str])

    def dub(self, stop_after: str = "") -> Mapping[str, str]:
        """Sums of all results but reports. Raises: Cancelled when that stage is done."""

        def sink(progress: Progress) -> None:
            if progress.stage == stop_after and progress.done >= progress.total:
                raise Cancelled("stopped")

        def opened(folder: Path) -> Store:
            if self.bucket is None:
                return Store(folder)
            made, bucket = self.made, ObjectBucket(LocalStore(self.bucket, mkdir=True))

            class Watched(SharedStore):
                def remember(self, rows: Sequence[Remembered]) -> None:
                    made.extend(row.key for row in rows if row.output != "null")
                    super().remember(rows)

            return Watched(folder, bucket)

        values = {"to": "es", "output": str(self.folder / "out"), "tts": "fake", "mt": "fake", "asr": "fake"}
        loaded = config.load(values, job=None, environ={}, cwd=self.folder, user_file=None)
        job = Job(self.folder / "film.mkv", self.folder / "film.en.srt", {})
        pool = EnginePool()
        try:
            until_whole(lambda: dub_film(job, loaded, pool, Ears(sink, store=opened)))
        finally:
            pool.close()
        project = self.folder / "out" / "film"
        apart = ("report.", "job.log", "project.json")
        paths = [p for p in project.rglob("*") if p.is_file() and not p.name.startswith((*apart, "."))]
        assert [p for p in paths if p.suffix == ".mkv"]
        return {str(p.relative_to(project)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.fixture
def film_at(tmp_path: Path, shelf: Path, clip: Callable[..., Path]) -> Callable[..., Host]:
    film = clip("film", seconds=6)

    def make(name: str, *, alone: bool = False) -> Host:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copyfile(film, folder / "film.mkv")
        (folder / "film.en.srt").write_text(srt(TALK), encoding="utf-8")
        return Host(folder, None if alone else shelf)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["extract", "translate", "synthesize", "mix-block"])
def test_a_job_that_goes_on_at_another_host_repeats_no_finished_stage(film_at: Callable[..., Host], stage: str) -> None:
    calm, one, two = film_at("calm", alone=True), film_at("one"), film_at("two")
    with pytest.raises(Cancelled):
        one.dub(stop_after=stage)
    assert two.dub() == calm.dub()
    assert one.made and two.made
    assert set(one.made) & set(two.made) == set()
    three = film_at("three")
    assert three.dub() == two.dub()
    assert three.made == []


@pytest.mark.slow
def test_files_are_fetched_only_by_who_needs_them(film_at: Callable[..., Host], shelf: Path) -> None:
    film_at("one").dub()
    two = film_at("two")
    two.dub()
    fetched = {path.name for path in (two.folder / "out" / ".polydub" / "artifacts").rglob("*") if path.is_file()}
    there = {path.name for path in in_bucket(shelf, "artifacts")}
    assert fetched and fetched < there
    film = hashlib.sha256((two.folder / "film.mkv").read_bytes()).hexdigest()
    assert not [name for name in there if name.startswith(film)], "what people bring is not put"


@pytest.mark.slow
def test_a_damaged_file_of_the_bucket_is_refused_and_made_anew(film_at: Callable[..., Host], shelf: Path) -> None:
    one, two = film_at("one"), film_at("two")
    wanted = one.dub()
    calm = film_at("calm")
    calm.dub()
    used = {path.name for path in (calm.folder / "out" / ".polydub" / "artifacts").rglob("*") if path.is_file()}
    victim = next(path for path in in_bucket(shelf, "artifacts") if path.name in used)
    good = victim.read_bytes()
    victim.write_bytes(bytes(len(good)))
    assert two.dub() == wanted
    assert two.made, "the stage of that file ran again"
    assert victim.read_bytes() == good


@pytest.mark.slow
def test_a_file_that_was_cut_short_counts_as_absent(film_at: Callable[..., Host], shelf: Path) -> None:
    one, two = film_at("one"), film_at("two")
    wanted = one.dub()
    sums = {path: path.read_bytes() for path in in_bucket(shelf, "artifacts")}
    for path, data in sums.items():
        path.write_bytes(data[:-1])
    assert two.dub() == wanted
    assert {path: path.read_bytes() for path in in_bucket(shelf, "artifacts")} == sums


# rows and files


def test_what_one_host_remembers_another_finds_with_its_files(host: Callable[[str], SharedStore]) -> None:
    one, two = host("one"), host("two")
    sound = a_file(one)
    one.remember([a_row("k", sound), a_row("l")])
    assert two.look_up(["k", "l", "m"]) == {"k": a_row("k", sound), "l": a_row("l")}
    assert two.has(sound) and not list((two.folder / "artifacts").iterdir())
    assert two.path(sound).read_bytes() == b"sound"
    assert two.path(sound).is_relative_to(two.folder)


class Away(ObjectBucket):
    """A bucket that must not be asked."""

    @staticmethod
    def _ask(what: object) -> None:
        raise BucketAway("the bucket was asked")


def test_what_was_found_is_known_without_the_bucket(host: Callable[[str], SharedStore], shelf: Path) -> None:
    one, two = host("one"), host("two")
    one.remember([a_row("k")])
    two.look_up(["k"])
    later = SharedStore(two.folder, Away(LocalStore(shelf)))
    assert later.look_up(["k"]) == {"k": a_row("k")}
    with pytest.raises(BucketAway):
        later.look_up(["unknown"])
    later.close()


def test_of_hosts_that_finish_one_call_at_once_the_first_is_right(host: Callable[[str], SharedStore]) -> None:
    names = ["a", "b", "c", "d"]
    hosts = {name: host(name) for name in names}
    start = threading.Barrier(len(names))

    def finish(name: str) -> None:
        start.wait()
        hosts[name].remember([a_row(f"k{n}", a_file(hosts[name], f"{name}{n}".encode()), text=name) for n in range(9)])

    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(finish, names))
    keys = [f"k{n}" for n in range(9)]
    first = host("late").look_up(keys)
    assert len(first) == 9
    for store in hosts.values():
        assert store.look_up(keys) == first
        assert all(store.path(artifact).exists() for row in first.values() for artifact in named(row.output))


def test_a_row_whose_file_is_gone_can_be_remembered_anew(host: Callable[[str], SharedStore], shelf: Path) -> None:
    one, two = host("one"), host("two")
    one.remember([a_row("k", sound := a_file(one))])
    in_bucket(shelf, "artifacts")[0].unlink()
    assert not two.has(*named(two.look_up(["k"])["k"].output))
    two.forget(["k"])
    assert host("three").look_up(["k"]) == {}
    other = a_file(two, b"other")
    two.remember([a_row("k", other)])
    assert host("four").look_up(["k"]) == {"k": a_row("k", other)}
    assert one.has(sound), "where it lies"


def test_a_file_that_went_between_the_look_and_the_use_is_told_and_absent_from_then_on(
    host: Callable[[str], SharedStore], shelf: Path
) -> None:
    one, two = host("one"), host("two")
    one.remember([a_row("k", sound := a_file(one))])
    assert two.look_up(["k"]) and two.has(sound)
    in_bucket(shelf, "artifacts")[0].unlink()
    with pytest.raises(Lost, match="gone from the bucket"):
        two.path(sound)
    assert not two.has(sound)


def test_a_file_that_came_with_another_sum_is_refused_and_taken_out(host: Callable[[str], SharedStore], shelf: Path) -> None:
    one, two = host("one"), host("two")
    one.remember([a_row("k", sound := a_file(one))])
    in_bucket(shelf, "artifacts")[0].write_bytes(b"noise")
    assert two.look_up(["k"]) and two.has(sound)
    with pytest.raises(Lost, match="damaged"):
        two.path(sound)
    assert not two.has(sound)
    assert in_bucket(shelf, "artifacts") == []
    assert not [path for path in (two.folder / "artifacts").rglob("*") if path.is_file()]


def test_a_row_does_not_come_before_its_files(host: Callable[[str], SharedStore], shelf: Path) -> None:
    one = host("one")
    sound = a_file(one)
    one.path(sound).unlink()
    one.remember([a_row("k", sound), a_row("l")])
    assert [path.name for path in in_bucket(shelf, "done")] == ["l"]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"version": 2}', b'{"version":1,"key":"other","stage":"s","output":"1","notices":"[]"}', b"\xff" * 9],
)
def test_a_damaged_row_counts_as_absent_and_gives_way(host: Callable[[str], SharedStore], shelf: Path, damage: bytes) -> None:
    host("one").remember([a_row("k")])
    in_bucket(shelf, "done")[0].write_bytes(damage)
    two = host("two")
    assert two.look_up(["k"]) == {}
    two.remember([a_row("k", text="anew")])
    assert host("three").look_up(["k"]) == {"k": a_row("k", text="anew")}


@pytest.mark.parametrize(
    "hostile",
    [
        Artifact("../../../etc/passwd", "", 5),
        Artifact("a" * 64, "/../../secret", 5),
        Artifact("a" * 64, ".\0", 5),
        Artifact("A" * 64, ".flac", 5),
        Artifact("", "", 5),
    ],
)
def test_a_file_name_from_the_bucket_leads_nowhere(
    host: Callable[[str], SharedStore], tmp_path: Path, hostile: Artifact
) -> None:
    (tmp_path / "secret").write_bytes(b"12345")
    (tmp_path / "one" / "artifacts" / "aa").mkdir(parents=True)
    one = host("one")
    one.remember([a_row("k", hostile)])
    assert not one.has(hostile)
    with pytest.raises(Lost):
        one.path(hostile)


def test_deliveries_and_files_of_people_stay_where_they_are(
    host: Callable[[str], SharedStore], shelf: Path, tmp_path: Path
) -> None:
    one = host("one")
    (tmp_path / "mine.wav").write_bytes(b"mine")
    mine = one.adopt(tmp_path / "mine.wav")
    one.remember([a_row("k", mine)])
    with one.scratch() as scratch:
        (scratch / "film").write_bytes(b"film")
        one.deliver(scratch / "film", tmp_path / "dub.mkv", "d")
    one.forget(["d"])
    one.remember([Remembered("d", "mux", "null", "[]")])
    assert one.look_up(["d"])
    assert [path.name for path in in_bucket(shelf, "done")] == ["k"]
    assert in_bucket(shelf, "artifacts") == []


def test_a_store_that_was_filled_alone_is_shared_when_it_is_asked(host: Callable[[str], SharedStore], tmp_path: Path) -> None:
    alone = Store(tmp_path / "one")
    alone.remember([a_row("k", a_file(alone))])
    alone.close()
    assert host("one").look_up(["k"])
    two = host("two")
    assert [two.path(one).read_bytes() for one in named(two.look_up(["k"])["k"].output)] == [b"sound"]


# round trips


@dataclass
class Slow:
    """A bucket in memory that takes its time; counts what it is asked, and how much of it at once."""

    delay_s: float = 0.0
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    age: timedelta = timedelta(0)
    asked: dict[str, int] = field(default_factory=dict[str, int])
    inside: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _ask(self, what: str) -> None:
        with self.lock:
            self.asked[what] = self.asked.get(what, 0) + 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(self.delay_s)
        with self.lock:
            self.inside -= 1

    def get(self, key: str) -> bytes | None:
        self._ask("get")
        return self.objects.get(key)

    def put_first(self, key: str, data: bytes) -> bool:
        self._ask("put")
        return self.objects.setdefault(key, data) is data

    def seen(self, key: str) -> tuple[int, datetime] | None:
        self._ask("seen")
        found = self.objects.get(key)
        return None if found is None else (len(found), datetime.now(UTC) - self.age)

    def put_file(self, key: str, file: Path) -> bool:
        self._ask("file")
        self.objects[key] = file.read_bytes()
        return True

    def fetch(self, key: str, to: Path) -> bool:
        self._ask("fetch")
        if found := self.objects.get(key):
            to.write_bytes(found)
        return found is not None

    def delete(self, key: str) -> None:
        self._ask("delete")
        self.objects.pop(key, None)


def test_five_thousand_rows_are_asked_for_sixty_four_at_a_time_and_once(tmp_path: Path) -> None:
    bucket = Slow()
    one, two = SharedStore(tmp_path / "one", bucket), SharedStore(tmp_path / "two", bucket)
    sounds = [a_file(one, str(n).encode()) for n in range(50)]
    rows = [a_row(f"k{n}", sounds[n % 50], text=str(n)) for n in range(5000)]
    one.remember(rows)
    assert bucket.asked == {"seen": 50, "file": 50, "put": 5000}
    bucket.asked, bucket.delay_s, bucket.most = {}, 0.001, 0
    keys = [row.key for row in rows]
    assert two.look_up(keys) == {row.key: row for row in rows}
    assert all(map(two.has, sounds))
    assert bucket.asked == {"get": 5000, "seen": 50}
    assert AT_ONCE // 2 < bucket.most <= AT_ONCE
    assert len(two.look_up(keys)) == 5000 and all(map(two.has, sounds))
    assert bucket.asked == {"get": 5000, "seen": 50}, "what is known is not asked again"
    one.close()
    two.close()


def test_one_file_is_fetched_once_however_many_want_it(tmp_path: Path) -> None:
    bucket = Slow()
    one, two = SharedStore(tmp_path / "one", bucket), SharedStore(tmp_path / "two", bucket)
    one.remember([a_row("k", sound := a_file(one))])
    bucket.delay_s = 0.05
    with ThreadPoolExecutor(8) as threads:
        assert {path.read_bytes() for path in threads.map(two.path, [sound] * 8)} == {b"sound"}
    assert bucket.asked["fetch"] == 1
    one.close()
    two.close()


def test_a_file_is_put_once_and_again_when_it_is_old(tmp_path: Path) -> None:
    bucket = Slow()
    one = SharedStore(tmp_path / "one", bucket)
    sound = a_file(one)
    one.remember([a_row("k", sound)])
    one.remember([a_row("l", sound)])
    assert bucket.asked["file"] == 1
    one.close()
    bucket.age = FRESH + timedelta(hours=1)
    late = SharedStore(tmp_path / "one", bucket)
    late.remember([a_row("m", sound)])
    assert bucket.asked["file"] == 2, "so that it goes no sooner than the row"
    late.close()


def test_a_host_keeps_so_much_of_what_the_bucket_has_and_lets_go_of_what_it_used_least(tmp_path: Path) -> None:
    bucket = Slow()
    one = SharedStore(tmp_path / "one", bucket, most=250)
    kept = [a_file(one, bytes([n]) * 100) for n in range(5)]
    one.remember([a_row(f"k{n}", artifact) for n, artifact in enumerate(kept)])
    alone = a_file(one, b"x" * 100)
    for n, artifact in enumerate([alone, *kept]):
        long_ago = time.time() - UNUSED_S - 1000 + n
        os.utime(one.folder / "artifacts" / artifact.sha256[:2] / f"{artifact.sha256}.flac", (long_ago, long_ago))
    one.path(kept[0])
    one.close()
    left = {path.stem for path in (tmp_path / "one" / "artifacts").glob("*/*")}
    assert left == {kept[0].sha256, alone.sha256}, "what was just used, and what is nowhere else"
    late = SharedStore(tmp_path / "one", bucket, most=250)
    assert len(late.look_up([f"k{n}" for n in range(5)])) == 5
    assert late.path(kept[3]).read_bytes() == bytes([3]) * 100
    late.close()


def test_a_host_that_doubts_puts_again_what_is_gone_from_the_bucket(tmp_path: Path) -> None:
    bucket = Slow()
    one = SharedStore(tmp_path / "one", bucket)
    rows = [a_row("k", a_file(one)), a_row("l")]
    one.remember(rows)
    one.close()
    there = dict(bucket.objects)
    bucket.objects.clear()
    sure = SharedStore(tmp_path / "one", bucket)
    assert len(sure.look_up(["k", "l"])) == 2 and bucket.objects == {}
    sure.close()
    doubtful = SharedStore(tmp_path / "one", bucket, doubts=True)
    assert len(doubtful.look_up(["k", "l"])) == 2 and bucket.objects == there
    doubtful.close()


# a bucket that is away


def remote(endpoint: str, secret: str = SECRET) -> ObjectBucket:
    bucket = Bucket(NAME, "studio", endpoint, REGION, ACCESS, secret)
    return ObjectBucket(connected(bucket, timedelta(seconds=5), 1, timedelta(seconds=1)))


def test_a_real_bucket_keeps_the_first_and_gives_it_back(tmp_path: Path) -> None:
    with a_bucket() as bucket:
        one, two = (
            SharedStore(tmp_path / "one", remote(bucket.endpoint)),
            SharedStore(tmp_path / "two", remote(bucket.endpoint)),
        )
        one.remember([a_row("k", sound := a_file(one), text="first")])
        two.remember([a_row("k", text="second"), a_row("l")])
        assert two.look_up(["k", "l"]) == one.look_up(["k", "l"]) == {"k": a_row("k", sound, text="first"), "l": a_row("l")}
        assert two.path(sound).read_bytes() == b"sound"
        assert {key.split("/")[0] for key in bucket.objects} == {"studio"}
        two.forget(["k"])
        assert not [key for key in bucket.objects if key.endswith("/k")]
        one.close()
        two.close()


def test_a_bucket_that_is_away_is_said_and_what_is_finished_goes_there_later(tmp_path: Path) -> None:
    with a_bucket() as bucket:
        one, two = (
            SharedStore(tmp_path / "one", remote(bucket.endpoint)),
            SharedStore(tmp_path / "two", remote(bucket.endpoint)),
        )
        bucket.broken = True
        sound = a_file(one)
        for call in (lambda: one.remember([a_row("k", sound)]), lambda: one.look_up(["x"]), lambda: two.path(sound)):
            with pytest.raises(BucketAway) as away:
                call()
            assert away.value.retryable
            assert away.value.message == "the bucket with the shared work does not answer"
            assert "127.0.0.1" not in str(away.value) + away.value.hint
        bucket.broken = False
        assert one.look_up(["k"]) == {"k": a_row("k", sound)}
        assert two.look_up(["k"]) == {"k": a_row("k", sound)}
        assert two.path(sound).read_bytes() == b"sound"
        one.close()
        two.close()


def test_keys_that_do_not_open_the_bucket_are_an_error_that_does_not_show_them(tmp_path: Path) -> None:
    with a_bucket() as bucket:
        one = SharedStore(tmp_path / "one", remote(bucket.endpoint, "wrong-secret"))
        with pytest.raises(StoreError, match="does not let this host in") as refused:
            one.look_up(["k"])
        assert not refused.value.retryable
        assert "wrong-secret" not in str(refused.value) + refused.value.hint
        one.close()


# how it is told


def test_residents_are_told_of_a_bucket_and_of_nothing_where_there_is_none(tmp_path: Path) -> None:
    bucket = Bucket(NAME, "studio", "http://127.0.0.1:9", REGION, ACCESS, SECRET)
    message = json.loads(json.dumps(dict(told(BucketStorage(bucket)))))
    store = opener(message)(tmp_path / "one")
    assert isinstance(store, SharedStore)
    store.close()
    assert told(LocalStorage(tmp_path / "files")) == {}
    assert opener({"store": "x"}) is Store


def test_without_a_bucket_its_library_is_not_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from polydub.server import resident, shared_store\n"
        f"shared_store.opener({{}})(Path({str(tmp_path)!r})).close()\n"
        "sys.exit('obstore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_run_that_meets_lost_files_is_begun_anew_so_often_and_no_more() -> None:
    runs: list[int] = []

    def run(good: int) -> int:
        runs.append(1)
        if len(runs) < good:
            raise Lost("gone")
        return len(runs)

    assert until_whole(lambda: run(3)) == 3
    runs.clear()
    with pytest.raises(Lost):
        until_whole(lambda: run(9))
    assert len(runs) == 3


def test_files_are_named_wherever_they_stand_in_a_result() -> None:
    one, two = Artifact("a" * 64, ".flac", 3), Artifact("b" * 64, "", 4)
    text = {"deep": [{"x": {"sha256": one.sha256, "suffix": ".flac", "bytes": 3}}], "again": vars_of(one), "more": vars_of(two)}
    assert named(json.dumps(text)) == (one, two)
    assert named(json.dumps({"said": json.dumps(vars_of(one))})) == (), "a text is a text"
    assert named(json.dumps({**vars_of(one), "more": 1})) == ()
    assert named('{"sha256": ') == ()
    assert named("null") == ()


def vars_of(artifact: Artifact) -> dict[str, object]:
    return {"sha256": artifact.sha256, "suffix": artifact.suffix, "bytes": artifact.bytes}
