"""Figures for Prometheus: what there is, how it is named, and that workers have them too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from house import House, open_house
from postgres import free_port
from prometheus_client.parser import text_string_to_metric_families

from polydub.errors import BadSettings
from polydub.server.contracts import JobRow
from polydub.server.desk import Desk
from polydub.server.metrics import Metrics, Scene, heed, memory, serve
from polydub.server.sweeper import Swept
from polydub.server.work import Crew

EVERYTHING = Scene(
    "server", {"cpu": 2}, {"done": 3}, {"cpu": Crew(2)}, Swept(1, 2, 3, 4, ("a", "b")), {"tts piper": Desk(2, 3)}
)


def figures(text: str) -> dict[str, float]:
    """By name and labels."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.mark.anyio
async def test_the_server_tells_of_queues_jobs_and_memory(house: House) -> None:
    now = house.clock()
    for id_, state in (("a", "done"), ("b", "done"), ("c", "queued")):
        await house.services.records.add_job(JobRow(id_, "u", "dub", "", {}, state, now, now))  # type: ignore[arg-type]
    async with await house.as_("admin", scopes=("metrics",)) as client:
        told = figures((await client.get("/metrics")).text)
        assert (told["polydub_jobs done"], told["polydub_jobs queued"]) == (2, 1)
        assert told["polydub_queue_depth jobs"] == 3
        assert told["polydub_memory_bytes server"] > 10e6


def test_all_that_is_known_is_told() -> None:
    heed({"figures": {"stages": {"a_stage": 2.5}, "seconds": 3.0, "film": 6.0}})
    heed({"progress": {"stage": "a_stage"}})
    told = figures(Metrics().text(EVERYTHING).decode())
    assert told["polydub_stage_seconds_sum a_stage"] == 2.5
    assert told["polydub_realtime_ratio_count"] >= 1
    assert (told["polydub_steps_running cpu"], told["polydub_steps_waiting cpu"]) == (0, 0)
    assert (told["polydub_speech_requests_serving tts piper"], told["polydub_speech_requests_waiting tts piper"]) == (0, 0)
    swept = ("workers_lost", "steps_given_back", "steps_given_up", "sweeper_errors")
    assert [told[f"polydub_{name}_total"] for name in swept] == [1, 2, 3, 4]
    assert told["polydub_workers_alive"] == 2


def test_names_and_helps_are_as_prometheus_wants_them() -> None:
    heed({"figures": {"stages": {"another_stage": 2.5}, "seconds": 3.0, "film": 6.0}})
    families = [f for f in text_string_to_metric_families(Metrics().text(EVERYTHING).decode()) if f.name.startswith("polydub_")]
    assert len(families) >= 15
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_created", "_gauge", "_counter")), family.name
        assert not any(unit in family.name for unit in ("_ms", "_milliseconds", "_minutes", "_kib", "_mb")), family.name
        if family.type == "counter":
            assert all(sample.name == f"{family.name}_total" for sample in family.samples)
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_ratio")), family.name
    assert len({family.name for family in families}) == len(families)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_is_told_of_this_process_and_of_those_it_started() -> None:
    engine = "import time; held = bytearray(30_000_000); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", engine], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"ready\n"
            environment = Path(sys.executable).parents[1].name.lstrip(".")
            found = memory("worker")
            assert found["worker"] > 10e6
            assert found[environment] > 30e6
        finally:
            child.kill()


def test_a_worker_serves_its_figures_to_this_machine() -> None:
    port = free_port()
    close = serve(port, lambda: Scene("worker", crews={"cpu": Crew(1)}, swept=Swept(errors=7)))
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        told = figures(answer.text)
        assert answer.headers["content-type"].startswith("text/plain")
        assert (told["polydub_sweeper_errors_total"], told["polydub_steps_running cpu"]) == (7, 0)
        with pytest.raises(BadSettings, match=f"port {port}"):
            serve(port, lambda: Scene("worker"))
    finally:
        close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_who_is_not_let_in_is_counted() -> None:
    made = Metrics()
    for status in (401, 200, 401, 403):
        made.begun()
        made.ended("POST", "/api/auth/login", status, 0.1)
    assert figures(made.text(EVERYTHING).decode())["polydub_logins_refused_total"] == 2
