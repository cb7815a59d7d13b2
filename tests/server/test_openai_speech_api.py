"""/v1/audio/speech by OpenAI's own Python client, over TCP; numbers are those of the compatibility tests in the reference."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import imageio_ffmpeg
import openai
import pytest
from speech_room import Served, TriedHouse, served, waits_for

from polydub.voices.library import OPENAI

TEXT = "The river runs quietly under the old bridge. Nobody saw it go. In the evening the lamps are lit, one by one."
FORMS = {
    "mp3": (b"\xff", "audio/mpeg"),
    "opus": (b"OggS", "audio/opus"),
    "aac": (b"\xff", "audio/aac"),
    "flac": (b"fLaC", "audio/flac"),
    "wav": (b"RIFF", "audio/wav"),
    "pcm": (b"", "audio/pcm"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("speech")) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0) as made:
        yield made


def client_of(server: Served, **how: object) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key=server.token, **{"max_retries": 0, **how})  # pyright: ignore[reportArgumentType]


def seconds_of(data: bytes, form: str) -> float:
    raw = ["-f", "s16le", "-ar", "24000", "-ac", "1"]
    source = raw if form == "pcm" else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, "-i", "pipe:0", *raw, "pipe:1"]
    return len(subprocess.run(command, input=data, capture_output=True, check=True).stdout) / 2 / 24_000


@pytest.mark.parametrize("form", list(FORMS))
def test_1_each_format_has_its_type_and_all_of_the_sound(client: openai.OpenAI, form: str) -> None:
    answer = client.audio.speech.with_raw_response.create(model="tts-1", voice="nova", input=TEXT, response_format=form)  # pyright: ignore[reportArgumentType]
    magic, media = FORMS[form]
    assert answer.headers["content-type"] == media
    assert answer.content.startswith(magic)
    pcm = client.audio.speech.create(model="tts-1", voice="nova", input=TEXT, response_format="pcm").content
    assert seconds_of(answer.content, form) == pytest.approx(seconds_of(pcm, "pcm"), rel=0.02)


def test_1b_mp3_is_what_nobody_asks_for(client: openai.OpenAI) -> None:
    answer = client.audio.speech.with_raw_response.create(model="tts-1", voice="nova", input="One.")
    assert answer.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize("form", ["mp3", "wav"])
def test_2_the_first_sound_comes_before_the_last_sentence_is_made(tmp_path: Path, form: str) -> None:
    house = TriedHouse(tmp_path)
    house.gates.hold = "lamps"
    with served(tmp_path, house=house) as server, client_of(server) as client:
        asked = client.audio.speech.with_streaming_response
        with asked.create(model="gated", voice="high", input=TEXT, response_format=form) as answer:  # pyright: ignore[reportArgumentType]
            pieces = answer.iter_bytes(1024)
            data = next(pieces)
            assert not house.gates.go.is_set()
            house.gates.go.set()
            data += b"".join(pieces)
    assert "lamps" in house.gates.asked[-1]
    assert "river" not in house.gates.asked[-1]
    assert data.count(b"RIFF") == (form == "wav")
    assert seconds_of(data, form) > 6


def test_3_the_client_writes_a_file(client: openai.OpenAI, tmp_path: Path) -> None:
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="nova", input=TEXT) as answer:
        answer.stream_to_file(tmp_path / "said.mp3")
    assert seconds_of((tmp_path / "said.mp3").read_bytes(), "mp3") > 4


def events_of(client: openai.OpenAI, **how: object) -> list[dict[str, object]]:
    wanted = {"model": "tts-1", "voice": "nova", "input": TEXT, "response_format": "wav", "stream_format": "sse", **how}
    with client.audio.speech.with_streaming_response.create(**wanted) as answer:  # pyright: ignore[reportArgumentType]
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line[6:]) for line in lines]


def test_4_events_hold_the_same_bytes_and_end_with_what_was_used(client: openai.OpenAI) -> None:
    told = events_of(client)
    assert {event["type"] for event in told[:-1]} == {"speech.audio.delta"}
    assert told[-1]["type"] == "speech.audio.done"
    used = told[-1]["usage"]
    assert isinstance(used, dict)
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"] > 0
    sound = b"".join(base64.b64decode(str(event["audio"])) for event in told[:-1])
    assert sound == client.audio.speech.create(model="tts-1", voice="nova", input=TEXT, response_format="wav").content


def test_5_each_of_openais_names_is_a_voice_and_they_differ(client: openai.OpenAI) -> None:
    made = {n: client.audio.speech.create(model="tts-1", voice=n, input="One.", response_format="pcm").content for n in OPENAI}
    assert all(made.values())
    assert len(set(made.values())) >= 8


def test_5b_a_voice_by_its_id_is_the_voice_by_its_name(client: openai.OpenAI) -> None:
    by_name = client.audio.speech.create(model="tts-1", voice="nova", input="One.", response_format="pcm").content
    by_id = client.audio.speech.create(model="tts-1", voice={"id": "nova"}, input="One.", response_format="pcm").content
    assert by_id == by_name


@pytest.mark.parametrize("name", ["nobody", "/etc/passwd", "../../secret.wav", "n" * 200, "al"])
def test_5c_an_unknown_voice_is_told_as_such(client: openai.OpenAI, name: str) -> None:
    for model in ("tts-1", "fake"):
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.speech.create(model=model, voice=name, input="One.")
        assert (caught.value.code, caught.value.param, caught.value.type) == (
            "voice_not_found",
            "voice",
            "invalid_request_error",
        )
        assert caught.value.request_id


def test_5d_a_recording_on_the_server_is_no_voice(client: openai.OpenAI, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(client.audio.speech.create(model="tts-1", voice="nova", input=TEXT, response_format="wav").content)
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice=str(secret), input="One.")
    assert caught.value.code == "voice_not_found"


def test_5e_an_engines_own_names_are_voices(client: openai.OpenAI, server: Served) -> None:
    listed = httpx.get(f"{server.url}/audio/voices?language=es", headers={"authorization": f"Bearer {server.token}"}).json()
    own = [voice["id"] for voice in listed["voices"] if voice["source"] == "engine"]
    assert listed["engine"] == "espeak-ng"
    assert own[0].startswith("es")
    assert {voice["id"] for voice in listed["voices"]} >= set(OPENAI)
    extra = {"language": "es"}
    assert client.audio.speech.create(model="tts-1", voice=own[1], input="Uno.", extra_body=extra).content


@pytest.mark.parametrize("speed", [0.25, 0.5, 2.0, 4.0])
def test_6_speeds_are_kept_and_the_pitch_too(client: openai.OpenAI, speed: float) -> None:
    def made(speed: float) -> float:
        raw = client.audio.speech.create(model="fake", voice="low", input=TEXT, speed=speed, response_format="pcm").content
        return len(raw) / 48_000

    assert made(speed) == pytest.approx(made(1.0) / speed, rel=0.15)


@pytest.mark.parametrize("speed", [0.24, 4.01, 0, -1])
def test_6b_other_speeds_are_refused(client: openai.OpenAI, speed: float) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice="nova", input="One.", speed=speed)
    assert caught.value.param == "speed"


def test_7_4096_characters_are_spoken_and_one_more_is_refused(client: openai.OpenAI) -> None:
    assert client.audio.speech.create(model="fake", voice="high", input=("word " * 900)[:4096], response_format="opus").content
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="fake", voice="high", input="x" * 4097)
    assert (caught.value.code, caught.value.param) == ("string_too_long", "input")


@pytest.mark.parametrize("text", ["", "   \n\t ", "\u200b"])
def test_7b_nothing_to_say_is_refused(client: openai.OpenAI, text: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice="nova", input=text)
    assert caught.value.param == "input"


@pytest.mark.parametrize("text", ["A smile: \U0001f600.", "A zero \0 is passed over.", "Ends \U0001f469\u200d\U0001f680"])
def test_7c_odd_signs_are_no_trouble(client: openai.OpenAI, text: str) -> None:
    assert client.audio.speech.create(model="tts-1", voice="nova", input=text).content


def test_7d_half_characters_are_refused(server: Served) -> None:
    body = '{"model": "tts-1", "voice": "nova", "input": "half \\ud800 one"}'
    headers = {"authorization": f"Bearer {server.token}", "content-type": "application/json"}
    answer = httpx.post(f"{server.url}/audio/speech", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


def test_13_what_fails_in_the_middle_never_looks_complete(tmp_path: Path) -> None:
    house = TriedHouse(tmp_path)
    house.gates.fail = "lamps"
    with served(tmp_path, house=house) as server, client_of(server) as client:
        asked = client.audio.speech.with_streaming_response
        with (
            pytest.raises(Exception, match=r"incomplete chunked read|peer closed"),
            asked.create(model="gated", voice="high", input=TEXT) as answer,
        ):
            for _ in answer.iter_bytes():
                pass
        told = events_of(client, model="gated", voice="high")
        assert told[-1]["error"]["code"] == "engine_failed"  # pyright: ignore[reportIndexIssue, reportCallIssue, reportArgumentType]
        with pytest.raises(openai.InternalServerError) as caught:
            client.audio.speech.create(model="gated", voice="high", input="All lamps.")
        assert caught.value.status_code == 502
        assert waits_for(lambda: server.inside() == 0)


def test_17_twenty_at_once(server: Served) -> None:
    async def all_of_them() -> list[bytes]:
        async with openai.AsyncOpenAI(base_url=server.url, api_key=server.token, max_retries=0) as client:
            asked = [client.audio.speech.create(model="tts-1", voice="nova", input=f"Number {n}. {TEXT}") for n in range(20)]
            return [answer.content for answer in await asyncio.gather(*asked)]

    made = asyncio.run(all_of_them())
    assert len(made) == 20
    assert all(seconds_of(data, "mp3") > 4 for data in made[:3])


def test_18_a_client_that_leaves_frees_the_engine(tmp_path: Path) -> None:
    house = TriedHouse(tmp_path, slots=1)
    house.gates.slow_s = 0.5
    with served(tmp_path, house=house) as server, client_of(server) as client:
        long = " ".join(f"This is the sentence of the number {n} of a hundred." for n in range(80))
        with client.audio.speech.with_streaming_response.create(model="gated", voice="high", input=long[:4000]) as answer:
            next(answer.iter_bytes(256))
        assert waits_for(lambda: server.inside() == 0)
        assert waits_for(lambda: house.gates.working == 0)
        assert len(house.gates.asked) < 20


def test_18b_a_client_that_leaves_before_the_first_sound_frees_its_place(tmp_path: Path) -> None:
    house = TriedHouse(tmp_path, slots=1)
    house.gates.hold = "river"
    with served(tmp_path, house=house) as server, client_of(server, timeout=0.5) as client:
        first = threading.Thread(target=lambda: client_of(server).audio.speech.create(model="gated", voice="high", input=TEXT))
        first.start()
        assert waits_for(lambda: house.gates.working == 1)
        with pytest.raises(openai.APITimeoutError):
            client.audio.speech.create(model="gated", voice="high", input=TEXT)
        assert waits_for(lambda: server.inside() == 1)
        house.gates.go.set()
        first.join(60)
        assert waits_for(lambda: server.inside() == 0)


def test_a_full_queue_is_told_with_the_time_to_come_back(tmp_path: Path) -> None:
    house = TriedHouse(tmp_path, slots=1, queue=1)
    house.gates.hold = "river"
    with served(tmp_path, house=house) as server, client_of(server) as client:
        waiting = [
            threading.Thread(target=lambda: client_of(server).audio.speech.create(model="gated", voice="high", input=TEXT))
            for _ in range(2)
        ]
        for thread in waiting:
            thread.start()
        assert waits_for(lambda: server.inside() == 2)
        with pytest.raises(openai.RateLimitError) as caught:
            client.audio.speech.create(model="gated", voice="high", input=TEXT)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert caught.value.code == "engine_busy"
        house.gates.go.set()
        for thread in waiting:
            thread.join(60)


def test_19_unknown_fields_are_ignored(client: openai.OpenAI) -> None:
    assert client.audio.speech.create(model="tts-1", voice="nova", input="One.", extra_body={"seed": 7}).content


@pytest.mark.parametrize("alias", ["tts-1", "tts-1-hd", "gpt-4o-mini-tts"])
def test_21_openais_models_are_the_best_engine_that_is_there(client: openai.OpenAI, alias: str) -> None:
    answer = client.audio.speech.with_raw_response.create(model=alias, voice="nova", input="One.")
    assert answer.headers["x-polydub-engine"] == "espeak-ng"


def test_21b_instructions_that_nobody_heeds_are_told(client: openai.OpenAI) -> None:
    asked = client.audio.speech.with_raw_response
    answer = asked.create(model="gpt-4o-mini-tts", voice="nova", input="One.", instructions="Whisper.")
    assert "instructions-unheeded" in answer.headers["x-polydub-notices"]


@pytest.mark.parametrize(
    "model",
    ["nothing", "espeak-ng:x", "espeak-ng,workers=1", "openai:gpt", "whisper-1", "fake:/etc", "org/name", "pocketsphinx"],
)
def test_21c_what_is_no_speech_model_is_told_before_anything_is_done(client: openai.OpenAI, model: str) -> None:
    with pytest.raises((openai.NotFoundError, openai.InternalServerError)) as caught:
        client.audio.speech.create(model=model, voice="nova", input="One.")
    if model != "openai:gpt":  # it exists, but has no key
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("text", "language"), [("Доброе утро.", "ru"), ("Καλημέρα.", "el"), ("Good morning.", "en"), ("おはよう。", "ja")]
)
def test_the_language_is_told_by_the_script(client: openai.OpenAI, text: str, language: str) -> None:
    answer = client.audio.speech.with_raw_response.create(model="tts-1", voice="nova", input=text)
    assert answer.headers["content-language"] == language


def test_a_language_that_does_not_exist_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice="nova", input="One.", extra_body={"language": "klingonese"})
    assert caught.value.param == "language"
