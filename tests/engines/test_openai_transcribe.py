"""Remote recognition against a real HTTP server on this machine that answers from a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile

from polydub.engines.asr.openai_transcribe import ENGINE, TranscribeOptions, words_of
from polydub.errors import BadEngineOutput, BadSettings, EngineFailed, MissingSecret, PolydubError, UnsupportedLanguage
from polydub.types import HEAR_HZ, Audio, Segment

TEXT = "Hello there, my friends. How are you?"
WORDS = [
    {"word": word, "start": 0.5 * n, "end": 0.5 * n + 0.4}
    for n, word in enumerate(["Hello", "there", "my", "friends", "How", "are", "you"], 1)
]
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "text": f" {TEXT}",
    "segments": [
        {"start": 0.5, "end": 2.4, "text": " Hello there, my friends.", "avg_logprob": -0.2, "no_speech_prob": 0.01},
        {"start": 2.5, "end": 3.9, "text": " How are you?", "avg_logprob": -0.5, "no_speech_prob": 0.9},
    ],
    "words": WORDS,
}


@dataclass
class Asked:
    path: str
    key: str
    form: dict[str, list[str]]
    file: bytes = b""
    name: str = ""

    @property
    def sound(self) -> tuple[Any, int]:
        return soundfile.read(BytesIO(self.file), dtype="float32")


Reply = tuple[int, object]


@dataclass
class Server:
    """Answers each request with the next of its replies; the last one is kept."""

    replies: list[Reply | Callable[[Asked], Reply]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        answer = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return answer(asked) if callable(answer) else answer


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            message = message_from_bytes(b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body)
            asked = Asked(self.path, self.headers.get("Authorization", ""), {})
            for part in message.get_payload():
                name = part.get_param("name", header="content-disposition")
                if part.get_filename():
                    asked.file, asked.name = part.get_payload(decode=True), part.get_filename()
                else:
                    asked.form.setdefault(name, []).append(part.get_payload(decode=True).decode())
            status, content = server.reply(asked)
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    script = Server([(200, VERBOSE)])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(script)) as http:
        script.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield script
        http.shutdown()
        thread.join()


@pytest.fixture
def load(server: Server) -> Iterator[Callable[..., Any]]:
    with ExitStack() as stack:

        def open_(**options: object) -> Any:
            values = {"base_url": server.url, "api_key": "k", "retries": 2, **options}
            return stack.enter_context(ENGINE.load(TranscribeOptions.model_validate(values), {}, "cpu"))

        yield open_


def noise(seconds: float, level: float = 0.1) -> Audio:
    samples = np.random.default_rng(0).normal(0, level, (1, round(seconds * HEAR_HZ)))
    return Audio(samples.astype(np.float32), HEAR_HZ)


def check(segments: list[Segment], sound: Audio) -> None:
    words = [word for segment in segments for word in segment.words]
    assert all(a.start <= b.start for a, b in pairwise(words))
    for segment in segments:
        assert segment.text
        for word in segment.words:
            assert segment.start <= word.start <= word.end <= segment.end <= sound.duration


def test_words_have_the_times_of_the_server_and_the_spelling_of_its_text(load: Callable[..., Any]) -> None:
    sound = noise(5)
    segments = list(load().transcribe(sound, "en"))
    check(segments, sound)
    assert [segment.text for segment in segments] == ["Hello there, my friends.", "How are you?"]
    words = [word for segment in segments for word in segment.words]
    assert [word.text for word in words] == TEXT.split()
    assert [word.start for word in words] == [word["start"] for word in WORDS]
    assert {word.confidence for word in segments[0].words} == {0.819} and not any(word.estimated for word in words)


def test_the_sound_goes_out_as_flac_with_what_was_set(load: Callable[..., Any], server: Server) -> None:
    list(load(model="m", prompt="Zorblax", temperature=0.25).transcribe(noise(2), "es-MX"))
    (asked,) = server.asked
    assert asked.path == "/v1/audio/transcriptions" and asked.key == "Bearer k" and asked.name == "speech.flac"
    assert (asked.form["model"], asked.form["prompt"], asked.form["temperature"]) == (["m"], ["Zorblax"], ["0.25"])
    assert asked.form["language"] == ["es"] and asked.form["response_format"] == ["verbose_json"]
    assert asked.form["timestamp_granularities[]"] == ["word", "segment"]
    samples, rate = asked.sound
    assert rate == HEAR_HZ and np.abs(samples - noise(2).samples[0]).max() < 1e-4
    list(load(upload="wav").transcribe(noise(1), None))
    assert server.asked[-1].file[:4] == b"RIFF" and "language" not in server.asked[-1].form


def test_a_loaded_recogniser_is_told_anew_for_one_call(server: Server, load: Callable[..., Any]) -> None:
    server.replies = [(400, {"error": {"message": "no such response_format"}}), (200, {"text": TEXT})]
    whole = load(model="m", prompt="Zorblax")
    list(
        whole.told(TranscribeOptions(model="m", hotwords="Quix, Ann", prompt="Then.", temperature=0.5)).transcribe(
            noise(2), "en"
        )
    )
    list(whole.transcribe(noise(2), "en"))
    told = [(asked.form.get("prompt"), asked.form["temperature"], asked.form["response_format"]) for asked in server.asked]
    other = (["Quix, Ann\nThen."], ["0.5"])
    assert told == [(*other, ["verbose_json"]), (*other, ["json"]), (["Zorblax"], ["0"], ["json"])]


def test_a_model_without_times_is_asked_again_for_plain_text_and_words_are_estimated(
    load: Callable[..., Any], server: Server
) -> None:
    def plain(asked: Asked) -> Reply:
        if asked.form["response_format"] != ["json"]:
            return 400, {"error": {"code": "unsupported_value", "param": "response_format"}}
        return 200, {"text": TEXT}

    server.replies = [plain]
    sound = Audio(np.concatenate([noise(1, 0).samples, noise(4).samples, noise(1, 0).samples], axis=1), HEAR_HZ)
    engine = load()
    segments = list(engine.transcribe(sound, "en"))
    check(segments, sound)
    assert [segment.text for segment in segments] == ["Hello there, my friends.", "How are you?"]
    assert all(word.estimated for segment in segments for word in segment.words)
    assert segments[0].start == pytest.approx(1, abs=0.05) and segments[-1].end == pytest.approx(5, abs=0.05)
    list(engine.transcribe(sound, "en"))
    assert len(server.asked) == 3, "what the server has not is not asked for again"


def test_segments_without_words_and_words_that_do_not_match_are_estimated_inside_their_segment() -> None:
    sound = noise(5)
    for words in (None, [], [{"word": "other", "start": 0, "end": 1}], "nonsense", [None, {"word": 3}]):
        found = list(words_of({**VERBOSE, "words": words}, sound))
        assert [word.text for word in found] == TEXT.split()
        assert all(word.estimated for word in found)
        assert (found[0].start, found[3].end, found[4].start) == (0.5, 2.4, 2.5)
    few = list(words_of({**VERBOSE, "words": [WORDS[0], *WORDS[2:]]}, sound))
    assert [word.estimated for word in few] == [False, True, *[False] * 5]
    assert few[0].end <= few[1].start <= few[1].end <= few[2].start


def test_what_whisper_itself_takes_for_silence_is_left_out() -> None:
    silent = {"start": 4.0, "end": 5.0, "text": " Thanks for watching!", "avg_logprob": -1.4, "no_speech_prob": 0.8}
    answer = {**VERBOSE, "segments": [*VERBOSE["segments"], silent], "text": f"{TEXT} Thanks for watching!"}
    assert [word.text for word in words_of(answer, noise(5))] == TEXT.split()
    assert list(words_of({**VERBOSE, "segments": [silent]}, noise(5))) == []


def test_long_sound_goes_out_in_parts_and_silence_not_at_all(load: Callable[..., Any], server: Server) -> None:
    server.replies = [lambda asked: (200, {"text": f"Part {len(server.asked)}."})]
    sound = noise(25)
    segments = list(load(stretch_s=10).transcribe(sound, "en"))
    check(segments, sound)
    assert [segment.text for segment in segments] == [f"Part {n}." for n in range(1, len(server.asked) + 1)]
    assert sum(len(asked.sound[0]) for asked in server.asked) == 25 * HEAR_HZ
    before = len(server.asked)
    assert list(load().transcribe(noise(30, 0.0001), "en")) == list(load().transcribe(noise(0.05), "en")) == []
    assert load().identify(noise(3, 0)) == ("und", 0.0) and len(server.asked) == before


def test_sound_that_is_too_large_is_sent_in_smaller_parts(load: Callable[..., Any], server: Server) -> None:
    def picky(asked: Asked) -> Reply:
        length = len(asked.sound[0]) / HEAR_HZ
        return (413, b"too large") if length > 30 else (200, {"text": f"{length:.0f}."})

    server.replies = [picky]
    sound = noise(50)
    segments = list(load().transcribe(sound, "en"))
    check(segments, sound)
    assert sum(float(segment.text) for segment in segments) == pytest.approx(50, abs=2)
    server.replies = [(413, b"")]
    with pytest.raises(EngineFailed, match="too large"):
        list(load().transcribe(sound, "en"))


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (401, MissingSecret, "refuses the API key"),
        (404, BadSettings, "no such model"),
        (429, EngineFailed, "HTTP 429"),
        (503, EngineFailed, "HTTP 503"),
        (400, BadSettings, "refuses the request"),
    ],
)
def test_a_refusal_is_one_clear_sentence(
    load: Callable[..., Any], server: Server, status: int, error: type[PolydubError], told: str
) -> None:
    server.replies = [(status, {"error": {"message": "the secret text of the film"}})]
    with pytest.raises(error, match=told) as caught:
        list(load().transcribe(noise(1), "en"))
    assert caught.value.hint and "secret text" not in str(caught.value)


def test_a_busy_server_is_asked_again(load: Callable[..., Any], server: Server) -> None:
    server.replies = [(429, {}), (502, {}), (200, VERBOSE)]
    assert len(list(load().transcribe(noise(5), "en"))) == 2 and len(server.asked) == 3


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"text": 3}', b"null"])
def test_what_is_no_transcription_server_is_told(load: Callable[..., Any], server: Server, body: bytes) -> None:
    server.replies = [(200, body)]
    with pytest.raises(BadEngineOutput, match="transcription server"):
        list(load().transcribe(noise(1), "en"))


def test_odd_answers_stay_inside_the_sound(load: Callable[..., Any], server: Server) -> None:
    odd = [
        {"start": -3, "end": 99, "text": "One\ufffd two."},
        {"start": 4, "end": 1, "text": "three"},
        {"start": None, "end": "x", "text": "four"},
        "five",
        {"start": 1e300, "end": True, "text": ""},
    ]
    for words in ([{"word": "One", "start": -1, "end": 1e9}], [{"word": "three", "start": 77, "end": 5}]):
        server.replies = [(200, {"text": "x", "segments": odd, "words": words})]
        found = list(load().transcribe(noise(5), "en"))
        check(found, noise(5))
        assert found


def test_the_language_is_what_the_server_says(load: Callable[..., Any], server: Server) -> None:
    for said, expected in (("english", "en"), ("es", "es"), ("Portuguese", "pt"), ("klingonese", "und"), (None, "und")):
        server.replies = [(200, {"text": "x", "language": said})]
        assert load().identify(noise(2)) == (expected, 0.5 if expected != "und" else 0.0)
    with pytest.raises(UnsupportedLanguage):
        load().transcribe(noise(1), "xx-unknown")


def test_it_is_asked_for_only_as_far_as_the_listener_wants(load: Callable[..., Any], server: Server) -> None:
    server.replies = [(200, {"text": "A sentence."})]
    begun = load(stretch_s=10).transcribe(noise(35), "en")
    assert server.asked == []
    next(begun)
    begun.close()
    assert len(server.asked) == 1


def test_what_is_not_set_is_told_with_what_to_type() -> None:
    def of(**options: object) -> tuple[bool, str]:
        available = ENGINE.check(TranscribeOptions.model_validate(options))
        assert available.ready or available.fix
        return available.ready, available.fix

    assert of() == (False, "export POLYDUB_OPENAI_API_KEY=...")
    assert of(preset="groq") == (False, "export GROQ_API_KEY=...")
    assert of(preset="groq", api_key="k")[0]
    assert not of(preset="custom")[0] and not of(preset="custom", base_url="http://127.0.0.1:1/v1")[0]
    assert of(preset="custom", base_url="http://127.0.0.1:1/v1", model="m")[0]
    with pytest.raises(MissingSecret), ENGINE.load(TranscribeOptions(), {}, "cpu"):
        pass
    assert TranscribeOptions(base_url="http://h/v1/audio/transcriptions").address == "http://h/v1"
    assert "k" not in str(TranscribeOptions.model_validate({"api_key": "k"}).identity().values())
