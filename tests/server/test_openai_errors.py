"""Compatibility test 14: every refusal is the exception of its kind in OpenAI's clients, and says everything they show."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai_js import run_js
from speech_room import Served, TriedHouse, served, waits_for

from polydub.engines.base import Kind
from polydub.engines.pool import Tool
from polydub.runner import Run

SAY = {"voice": "high", "input": "One."}
FILES = {"document": b"%PDF-1.7 no sound", "noise": bytes(range(256)) * 40, "large": bytes(3_000_000)}


@dataclass(frozen=True)
class Case:
    """A request that is refused, and how. Attributes: key: other than the server's own. param: None = none."""

    status: int
    kind: str
    code: str
    type: str
    call: str
    body: Mapping[str, Any]
    param: str | None = None
    key: str = ""


INVALID = "invalid_request_error"
CASES = (
    Case(400, "BadRequestError", "voice_not_found", INVALID, "speech", {**SAY, "model": "tts-1", "voice": "nobody"}, "voice"),
    Case(400, "BadRequestError", "string_too_long", INVALID, "speech", {**SAY, "model": "fake", "input": "x" * 4097}, "input"),
    Case(400, "BadRequestError", "string_too_short", INVALID, "speech", {**SAY, "model": "tts-1", "voice": ""}, "voice"),
    Case(401, "AuthenticationError", "invalid_token", "authentication_error", "models", {"id": "tts-1"}, key="wrong"),
    Case(403, "PermissionDeniedError", "scope_missing", "permission_error", "speech", {**SAY, "model": "fake"}, key="narrow"),
    Case(404, "NotFoundError", "model_not_found", "not_found_error", "models", {"id": "org/name"}, "model"),
    Case(404, "NotFoundError", "no_such_path", "not_found_error", "get", {"path": "/no/such/path"}),
    Case(405, "APIError", "method_not_allowed", INVALID, "delete", {"path": "/audio/speech"}),
    Case(413, "APIError", "too_large", INVALID, "hear", {"file": "large"}),
    Case(415, "APIError", "unsupported_media_type", INVALID, "hear", {"file": "document"}, "file"),
    Case(422, "UnprocessableEntityError", "unreadable_media", INVALID, "hear", {"file": "noise"}),
    Case(429, "RateLimitError", "engine_busy", "rate_limit_error", "speech", {**SAY, "model": "gated"}),
    Case(500, "InternalServerError", "internal_error", "server_error", "speech", {**SAY, "model": "faulty"}),
    Case(503, "InternalServerError", "missing_extra", "server_error", "speech", {**SAY, "model": "kokoro"}),
)


class Faulty(TriedHouse):
    """A house that also has a mistake in it."""

    def choose(self, run: Run, kind: Kind, model: str, wants: Mapping[Kind, str]) -> Tool:
        if model == "faulty":
            raise ZeroDivisionError("on purpose")
        return super().choose(run, kind, model, wants)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """One whose only place at "gated" is taken, and one whose token may not speak."""
    folder = tmp_path_factory.mktemp("errors")
    house = Faulty(folder, slots=1, queue=0)
    house.gates.hold = "river"
    with served(folder, house=house, max_file_mb=1) as server, served(folder / "narrow", scopes=("read",)) as narrow:
        client = openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0)
        speak = client.audio.speech.create
        holder = threading.Thread(target=lambda: speak(model="gated", voice="high", input="The river."))
        holder.start()
        assert waits_for(lambda: house.gates.working == 1)
        yield server, narrow
        house.gates.go.set()
        holder.join(60)
        client.close()


def ask(client: openai.OpenAI, case: Case) -> object:
    match case.call:
        case "speech":
            return client.audio.speech.create(**case.body)
        case "hear":
            return client.audio.transcriptions.create(model="fake", file=("talk.wav", FILES[case.body["file"]]))
        case "models":
            return client.models.retrieve(case.body["id"])
        case _:
            return getattr(client, case.call)(case.body["path"], cast_to=object)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.status}-{case.code}")
def test_14_each_refusal_is_the_exception_of_its_kind_in_python(servers: tuple[Served, Served], case: Case) -> None:
    server = servers[case.key == "narrow"]
    key = "wrong" if case.key == "wrong" else server.token
    made = openai.OpenAI(base_url=server.url, api_key=key, max_retries=0)
    with made as client, pytest.raises(openai.APIStatusError) as caught:
        ask(client, case)
    error = caught.value
    assert type(error).__name__ == case.kind.replace("APIError", "APIStatusError")
    told = (error.status_code, error.code, error.type, error.param)
    assert told == (case.status, case.code, case.type, case.param)
    assert error.request_id == error.response.headers["x-request-id"]
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.body["message"] in error.message
    assert ("retry-after" in error.response.headers) == (case.status == 429)


JS = """
import OpenAI, { toFile } from 'openai';
import fs from 'node:fs';
const { cases, servers } = JSON.parse(fs.readFileSync('cases.json'));
const told = [];
for (const { call, body, key } of cases) {
  const { url, token } = servers[key === 'narrow' ? 1 : 0];
  const client = new OpenAI({ baseURL: url, apiKey: key === 'wrong' ? 'wrong' : token, maxRetries: 0 });
  try {
    if (call === 'speech') await client.audio.speech.create(body);
    else if (call === 'hear') await client.audio.transcriptions.create(
      { model: 'fake', file: await toFile(fs.readFileSync(body.file), 'talk.wav') });
    else if (call === 'models') await client.models.retrieve(body.id);
    else await client[call](body.path);
    told.push(null);
  } catch (error) {
    told.push([error.constructor.name, error.status, error.code, error.type, error.param ?? null,
      error.requestID === error.headers?.get('x-request-id'), typeof error.error?.message]);
  }
}
console.log(JSON.stringify(told));
"""


@pytest.mark.slow
def test_14_each_refusal_is_the_exception_of_its_kind_in_javascript(servers: tuple[Served, Served], tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    asked = [{"call": case.call, "body": case.body, "key": case.key} for case in CASES]
    at = [{"url": server.url, "token": server.token} for server in servers]
    (tmp_path / "cases.json").write_text(json.dumps({"cases": asked, "servers": at}))
    told = run_js(tmp_path, JS)
    for case, found in zip(CASES, told, strict=True):
        assert found == [case.kind, case.status, case.code, case.type, case.param, True, "string"], case
