"""Prompt, hotwords and temperature of a request reach a recogniser that can heed them, which is not loaded anew for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import Field
from speech_room import Served, TriedHouse, served, talk_wav

from polydub.engines.asr import fake
from polydub.engines.base import Kind, Options
from polydub.engines.pool import Tool
from polydub.runner import Run
from polydub.server.hints import Hints, heeding

sys.path.append(str(Path(__file__).parents[1] / "engines"))
from tiny_whisper import write_tiny_whisper

TALK = ("The river runs quietly under the old bridge.",)


class HeedingOptions(Options):
    """Options that a call may change."""

    context: str = Field("", max_length=20, json_schema_extra={"call": "prompt"})
    names: str = Field("", max_length=20, json_schema_extra={"call": "hotwords"})
    heat: float = Field(0.0, json_schema_extra={"call": "temperature"})


class Heeding(fake.FakeRecognition):
    """Hears what it was told."""

    def __init__(self, options: HeedingOptions) -> None:
        super().__init__(f"<{options.context}> <{options.names}> {options.heat}")

    def told(self, options: HeedingOptions) -> Heeding:
        return Heeding(options)


class HeedingHouse(TriedHouse):
    """A house that also has the recogniser "heeding"; counts how often it was loaded."""

    loads = 0

    def choose(self, run: Run, kind: Kind, model: str, wants: Mapping[Kind, str]) -> Tool:
        if model != "heeding":
            return super().choose(run, kind, model, wants)
        super().choose(run, kind, "fake", wants)
        run.tools["asr"] = heeding_tool(self._loaded)
        return run.tools["asr"]

    def _loaded(self) -> None:
        self.loads += 1


def heeding_tool(loaded: Any = lambda: None) -> Tool:
    @contextmanager
    def load(options: HeedingOptions, _weights: Any, _device: str) -> Generator[Heeding]:
        loaded()
        yield Heeding(options)

    engine = replace(fake.ENGINE, info=replace(fake.ENGINE.info, name="heeding"), options=HeedingOptions, load=load)
    options = HeedingOptions()
    return Tool(engine, options, {"name": "heeding", "options": options.identity()})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> HeedingHouse:
    return HeedingHouse(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, house: HeedingHouse) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hints"), house=house) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0) as made:
        yield made


def test_each_request_is_heard_as_it_asks_by_one_loaded_engine(client: openai.OpenAI, house: HeedingHouse) -> None:
    def heard(**hints: object) -> str:
        return client.audio.transcriptions.create(model="heeding", file=talk_wav(*TALK), **hints).text  # pyright: ignore[reportCallIssue, reportArgumentType]

    assert heard(prompt="Names: Ann", temperature=0.25) == "<Names: Ann> <> 0.25"
    assert heard(extra_body={"hotwords": "Zorblax", "keywords": ["Quix", "New York"]}) == "<> <Zorblax, Quix, New> 0.0"
    assert heard() == "<> <> 0.0"
    assert house.loads == 1


def test_what_is_heeded_is_not_told_as_unheeded_and_what_is_cut_is_told(client: openai.OpenAI) -> None:
    asked = client.audio.transcriptions.with_raw_response
    talk = talk_wav(*TALK)
    answer = asked.create(
        model="heeding", file=talk, prompt="Ann", temperature=0.5, response_format="verbose_json", language="en"
    )
    assert "x-polydub-notices" not in answer.headers
    assert json.loads(answer.text)["segments"][0]["temperature"] == 0.5
    for much in ("much", "much " * 5000):  # OpenAI's takes any, and heeds the end of it
        answer = asked.create(model="heeding", file=talk, prompt=f"{much} that was said before Ann came", language="en")
        assert answer.headers["x-polydub-notices"] == "prompt-shortened"
        assert "before Ann came>" in answer.parse().text
    answer = asked.create(model="fake", file=talk, prompt="Ann", temperature=0.5, response_format="verbose_json", language="en")
    assert answer.headers["x-polydub-notices"] == "prompt-unheeded, temperature-unheeded"
    assert json.loads(answer.text)["segments"][0]["temperature"] == 0


def test_streams_and_own_endpoints_heed_them_too(server: Served, client: openai.OpenAI) -> None:
    talk = talk_wav(*TALK)
    told = list(client.audio.transcriptions.create(model="heeding", file=talk, prompt="Ann", stream=True))
    assert told[-1].text == "<Ann> <> 0.0"  # pyright: ignore[reportAttributeAccessIssue]
    headers = {"authorization": f"Bearer {server.token}"}
    form = {"model": "heeding", "prompt": "Ann", "keywords": ["Bo", "Cy"], "temperature": "0.5"}
    for path in ("/api/transcribe", "/api/transcribe/stream"):
        answer = httpx.post(f"{server.root}{path}", data=form, files={"file": talk}, headers=headers)
        assert "<Ann> <Bo, Cy> 0.5" in answer.text
    answer = httpx.post(f"{server.root}/api/transcribe", data={**form, "model": "fake"}, files={"file": talk}, headers=headers)
    codes = {notice["code"] for notice in answer.json()["notices"]}
    assert {"prompt-unheeded", "hotwords-unheeded", "temperature-unheeded"} <= codes


def test_whisper_itself_heeds_them(tmp_path: Path) -> None:
    folder = write_tiny_whisper(tmp_path / "tiny")
    house = TriedHouse(tmp_path, settings={"asr": f"faster-whisper:{folder},beam_size=1"})
    with (
        served(tmp_path / "served", house=house) as server,
        openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0) as client,
    ):
        asked = client.audio.transcriptions.with_raw_response
        for hints in ({}, {"prompt": "hello " * 200}, {"temperature": 0.8}, {"extra_body": {"hotwords": "hello"}}):
            answer = asked.create(model="whisper-1", file=talk_wav(*TALK), language="en", **hints)  # pyright: ignore[reportCallIssue, reportArgumentType]
            assert answer.headers["x-polydub-engine"].startswith("faster-whisper")
            told = answer.headers.get("x-polydub-notices", "")
            assert "unheeded" not in told
            assert ("prompt-shortened" in told) == ("prompt" in hints)


def test_texts_are_cut_between_words() -> None:
    tool, notices = heeding_tool(), ()
    for given, kept in (("a" * 30, "a" * 20), ("one two three four five six", "three four five six"), ("short", "short")):
        told, notices = heeding(tool, Hints(prompt=given))
        assert getattr(told.options, "context") == kept  # noqa: B009
        assert bool(notices) == (given != kept)
    told, _ = heeding(tool, Hints(hotwords="one, two, three, four, five"))
    assert getattr(told.options, "names") == "one, two, three"  # noqa: B009
    assert heeding(tool, Hints()) == (tool, ())


def test_an_engine_in_a_process_of_its_own_heeds_nothing_anew(tmp_path: Path) -> None:
    tool = replace(heeding_tool(), python=tmp_path / "python")
    told, notices = heeding(tool, Hints(prompt="Ann"))
    assert told is tool
    assert [notice.code for notice in notices] == ["prompt-unheeded"]
