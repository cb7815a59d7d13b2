"""Hosts with nothing in common but a bucket make a dub in turns, and do not hand it round and round."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from bucket_stand_in import ACCESS, NAME, REGION, SECRET, Bucket, a_bucket
from divided_house import installed

from polydub.engines import registry
from polydub.server import buckets, parts, requests, shared_store
from polydub.server.resident import Dubber, Message

pytestmark = pytest.mark.slow
Film = Callable[..., dict[str, Any]]


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with a_bucket() as made:
        yield made


class Hosts:
    """One host for each queue, each with a folder, a store and a resident of its own."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        told = buckets.Bucket(NAME, "studio", bucket.endpoint, REGION, ACCESS, SECRET)
        self.folder, self.shared = folder, shared_store.told(buckets.BucketStorage(told))
        self.notices: list[str] = []
        self._dubbers: dict[str, Dubber] = {}

    def dub(self, job: str, request: Mapping[str, Any]) -> list[str]:
        """The queues on which the steps of a job were done."""
        call: Mapping[str, Any] = {"job": job, "attempt": 1, "number": 1, "queue": "cpu"}
        done: list[str] = []
        while True:
            done.append(call["queue"])
            answer = json.loads(json.dumps(self._step(call, request)))
            if "next" not in answer:
                assert {dub["language"] for dub in answer["dubs"]} == set(request["to"])
                names = {file["name"] for file in answer["files"]}
                assert {dub["film"] for dub in answer["dubs"]} <= names
                return done
            following = parts.onward(call, answer["next"])
            assert "next" in following, (following, done)
            call = following["next"]

    def _step(self, call: Mapping[str, Any], request: Mapping[str, Any]) -> Message:
        host = self.folder / call["queue"]
        folder = host / "jobs" / call["job"]
        for place, upload in requests.places(requests.read(request), folder).items():
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                shutil.copyfile(self.folder / "data" / "files" / "uploads" / upload, place)
        part = parts.part(call, accelerated=False, slice_=(50, 30.0))
        places = {"folder": str(folder), "store": str(host / "store"), **self.shared}
        dubber = self._dubbers.setdefault(call["queue"], Dubber())
        return dubber({"request": request, "threads": 1, "part": part, **places}, self._hear)

    def _hear(self, message: Message) -> None:
        if notice := message.get("notice"):
            self.notices.append(notice["code"])


@pytest.fixture
def hosts(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    for name, value in installed(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    registry._entries.cache_clear()
    yield Hosts(tmp_path, bucket)
    registry._entries.cache_clear()


@pytest.mark.parametrize("together", [False, True])
def test_a_language_that_is_done_on_one_host_keeps_no_other_from_the_next_language(
    hosts: Hosts, film: Film, together: bool
) -> None:
    request = film(hosts.folder / "data", mt="afar", together=together) | {"to": ["es", "fr"]}
    assert hosts.dub("one", request) == ["cpu", "net", "cpu", "net", "cpu"]


def test_what_the_bucket_has_lost_is_put_there_again_by_who_has_it(hosts: Hosts, film: Film, bucket: Bucket) -> None:
    request = film(hosts.folder / "data", mt="afar")
    assert hosts.dub("one", request) == ["cpu", "net", "cpu"]
    for key in [key for key in bucket.objects if key.startswith("studio/store/")]:  # as retention does
        del bucket.objects[key]
    steps = hosts.dub("two", request | {"to": ["fr"]})
    assert steps[0] == steps[-1] == "cpu" and len(steps) <= 5


def test_lips_that_nobody_can_move_are_told_once_and_the_job_goes_on(hosts: Hosts, film: Film) -> None:
    request = film(hosts.folder / "data", mt="afar", lip_sync="wav2lip")
    assert hosts.dub("one", request) == ["cpu", "net", "cpu"]
    assert hosts.notices.count("lip-sync-missing") == 1
