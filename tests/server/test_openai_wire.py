"""What OpenAI's clients see of retries, headers and models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import openai
import pytest
from speech_room import Served, served, talk_wav

TALK = ("The river runs quietly under the old bridge.", "Nobody saw it go.")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("wire")) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0) as made:
        yield made


def test_14c_an_engine_that_lacks_something_is_503_and_not_tried_again(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=3).audio.speech.create(model="kokoro", voice="nova", input="One.")
    assert caught.value.status_code == 503
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"


class Stubborn(BaseHTTPRequestHandler):
    """Hands on to the server behind it, but refuses the first request of each path with 429."""

    behind = ""
    refused: list[str] = []  # noqa: RUF012 - one server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self.refused:
            self.refused.append(self.path)
            self.send_response(429)
            self.send_header("retry-after-ms", "10")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "connection")}
        answer = httpx.post(self.behind + self.path, content=body, headers=kept)
        self.send_response(answer.status_code)
        self.send_header("content-length", str(len(answer.content)))
        self.send_header("x-seen-retries", self.headers.get("x-stainless-retry-count", ""))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *words: object) -> None: ...


def test_15_a_client_comes_back_when_it_is_told_to(server: Served) -> None:
    handler = type("Between", (Stubborn,), {"behind": server.root, "refused": []})
    between = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=between.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{between.server_address[1]}/v1"
        with openai.OpenAI(base_url=url, api_key=server.token, max_retries=2) as client:
            answer = client.audio.speech.with_raw_response.create(model="tts-1", voice="nova", input="One.")
        assert answer.headers["x-seen-retries"] == "1"
        assert answer.content
    finally:
        between.shutdown()
        between.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/audio/speech", b"{", None),
        ("/audio/speech", b"[]", None),
        ("/audio/speech", b'{"model": "tts-1", "input": "One.", "voice": 5}', "voice"),
        ("/audio/speech", b'{"model": "tts-1", "input": "One.", "voice": {"id": ""}}', "voice"),
        ("/audio/voices?model=" + "x" * 400, None, "model"),
    ],
)
def test_14d_fields_are_named_as_clients_know_them(server: Served, path: str, body: bytes | None, param: str | None) -> None:
    headers = {"authorization": f"Bearer {server.token}", "content-type": "application/json"}
    answer = httpx.request("POST" if body else "GET", server.url + path, content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["message"].startswith(f"{param or 'the body'}: ")


def test_16_models_are_listed_and_looked_up(client: openai.OpenAI) -> None:
    found = {model.id: model for model in client.models.list()}
    assert {"tts-1", "whisper-1", "espeak-ng", "pocketsphinx"} <= set(found)
    assert "fake" not in found
    for name, model in found.items():
        assert client.models.retrieve(name) == model
        assert (model.object, model.owned_by) == ("model", "polydub")
    for name in ("nothing", "org/name", "a/b/c", "espeak-ng:x"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve(name)
        assert caught.value.code == "model_not_found"


def test_16b_other_servers_lists_are_there_too(server: Served) -> None:
    headers = {"authorization": f"Bearer {server.token}"}
    models = httpx.get(f"{server.url}/audio/models", headers=headers).json()
    assert {row["id"] for row in models["models"]} >= {"tts-1", "espeak-ng"}
    voices = httpx.get(f"{server.url}/audio/voices", headers=headers).json()["voices"]
    assert {"id", "name"} <= set(voices[0])
    unknown = httpx.get(f"{server.url}/audio/voices?model=nothing", headers=headers)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_22_headers_are_there_on_raw_answers(client: openai.OpenAI) -> None:
    spoken = client.audio.speech.with_raw_response.create(model="tts-1", voice="nova", input="One.")
    heard = client.audio.transcriptions.with_raw_response.create(model="fake", file=talk_wav(*TALK))
    for answer in (spoken, heard, client.models.with_raw_response.list()):
        assert answer.headers["x-request-id"]
        assert answer.headers["cache-control"] == "no-store"
    assert (spoken.headers["x-polydub-engine"], heard.headers["x-polydub-engine"]) == ("espeak-ng", "fake")


# As openai 6.49 for Node sends it: the file second, as application/octet-stream; and as 3.52 for Python does: the file last.
NODE = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nfake\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="talk"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n%s\r\n"
    b'--b\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nverbose_json\r\n'
    b'--b\r\nContent-Disposition: form-data; name="timestamp_granularities[]"\r\n\r\nword\r\n--b--\r\n'
)
PYTHON = (
    b'--b\r\nContent-Disposition: form-data; name="timestamp_granularities[]"\r\n\r\nword\r\n'
    b'--b\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nverbose_json\r\n'
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nfake\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n'
    b"Content-Type: audio/x-wav\r\n\r\n%s\r\n--b--\r\n"
)


@pytest.mark.parametrize("body", [NODE, PYTHON], ids=["node", "python"])
def test_23_recorded_requests_of_both_clients_are_understood(server: Served, body: bytes) -> None:
    headers = {"authorization": f"Bearer {server.token}", "content-type": "multipart/form-data; boundary=b"}
    told = httpx.post(
        f"{server.url}/audio/transcriptions", content=body.replace(b"%s", talk_wav(*TALK)), headers=headers
    ).json()
    assert [word["word"] for word in told["words"]]


def test_polydubs_own_engine_for_such_servers_speaks_and_hears_through_it(server: Served) -> None:
    import numpy as np

    from polydub.engines import registry
    from polydub.types import Audio, Part

    given = {"base_url": server.url, "api_key": server.token, "preset": "custom", "model": "tts-1"}
    engine = registry.get("tts", "openai")
    with engine.load(registry.build_options(engine, given), {}, "cpu") as tts:
        voices = tts.voices("en")
        part = Part(" ".join(TALK), "en", voices[0])
        whole = tts.synthesize(part)
        streamed = list(tts.stream(part))
    assert len(voices) > 13
    assert whole.duration == pytest.approx(sum(piece.duration for piece in streamed), rel=0.02)
    engine = registry.get("asr", "openai")
    with engine.load(registry.build_options(engine, {**given, "model": "fake"}), {}, "cpu") as asr:
        from polydub.audio.signal import resample

        speech = Audio(resample(whole.samples, whole.rate_hz, 16_000).astype(np.float32), 16_000)
        assert "".join(segment.text for segment in asr.transcribe(speech, "en"))
