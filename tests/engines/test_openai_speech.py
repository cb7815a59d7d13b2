"""Speech by a server, against a real one on this machine that also misbehaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
from speech_server import RATE_HZ, Answer, Reply, SpeechServer, tone, wav

from polydub.engines.service import Service
from polydub.engines.tts import openai_speech
from polydub.engines.tts.openai_speech import ENGINE, RemoteSpeech, SpeechOptions
from polydub.errors import BadEngineOutput, BadSettings, EngineFailed, MissingSecret, PolydubError
from polydub.types import Audio, Part, Voice

SOUND = tone()
VOICE = Voice("openai", "coral", "es", "coral")


def part(text: str = "Hola a todos.", **more: Any) -> Part:
    return Part(text, "es", VOICE, **more)


@contextmanager
def speech(server: SpeechServer, **more: Any) -> Iterator[RemoteSpeech]:
    options = SpeechOptions(base_url=server.url, model="m", retries=more.pop("retries", 2), **more)
    endpoint = openai_speech._endpoint(options)  # pyright: ignore[reportPrivateUsage]
    with Service(endpoint, sleep=lambda seconds: None) as service:
        yield RemoteSpeech(options, service)


def ask(*answers: Answer, text: str = "Hola a todos.", **more: Any) -> tuple[Audio, SpeechServer]:
    with SpeechServer(*answers) as server, speech(server, **more) as engine:
        return engine.synthesize(part(text)), server


def heard(audio: Audio) -> np.ndarray:
    return np.rint(audio.samples * 32768).astype(np.int16)[0]


def flac(samples: np.ndarray) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def test_a_wav_becomes_mono_sound_and_the_server_is_asked_as_openai_documents_it() -> None:
    audio, server = ask(Reply(wav(SOUND)), instructions="Softly.", api_key="sk-1")
    assert audio.rate_hz == RATE_HZ and audio.samples.shape == (1, len(SOUND))
    assert np.array_equal(heard(audio), SOUND)
    (asked,) = server.asked
    assert asked.path == "/v1/audio/speech" and asked.headers["Authorization"] == "Bearer sk-1"
    assert asked.body == {
        "model": "m",
        "input": "Hola a todos.",
        "voice": "coral",
        "response_format": "wav",
        "instructions": "Softly.",
    }


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 36, 0])
def test_a_wav_of_a_server_that_did_not_know_its_length_is_read_to_its_end(size: int) -> None:
    assert np.array_equal(heard(ask(Reply(wav(SOUND, size=size)))[0]), SOUND)


@pytest.mark.parametrize(
    "body",
    [
        wav(np.stack([SOUND, SOUND], axis=1).reshape(-1), channels=2),
        wav(SOUND.astype("<i4") * 65536),
        wav((SOUND / 32768).astype("<f4"), kind=3),
        flac(SOUND),
    ],
    ids=["stereo", "32 bit", "float", "flac"],
)
def test_other_kinds_of_sound_are_read_whatever_their_media_type_says(body: bytes) -> None:
    audio, _ = ask(Reply(body, kind="application/octet-stream"))
    assert audio.samples.shape == (1, len(SOUND)) and np.abs(heard(audio) - SOUND).max() <= 1


def test_24_bit_sound_keeps_its_level() -> None:
    raw = (SOUND.astype("<i4") * 256).view(np.uint8).reshape(-1, 4)[:, :3].copy().view([("b", "u1", 3)]).reshape(-1)
    assert np.abs(heard(ask(Reply(wav(raw)))[0]) - SOUND).max() <= 1


def test_pcm_has_the_rate_of_the_option() -> None:
    audio, server = ask(Reply(SOUND.tobytes(), kind="audio/pcm"), response_format="pcm", pcm_rate_hz=22_050)
    assert audio.rate_hz == 22_050 and np.array_equal(heard(audio), SOUND)
    assert server.asked[0].body["response_format"] == "pcm"


HTML = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(HTML, kind="text/html"), "did not answer like a speech server"),
        (Reply(HTML, kind="audio/wav"), "did not answer like a speech server"),
        (Reply(b'{"detail": "no"}', kind="application/json"), "did not answer like a speech server"),
        (Reply(b"", kind="audio/wav"), "without any sound"),
        (Reply(wav(SOUND)[:-1000]), "broke its sound off"),
        (Reply(wav(SOUND)[:30]), "broke its sound off"),
        (Reply(flac(SOUND)[:200], kind="audio/flac"), ""),
        (Reply(wav(SOUND, kind=7)), "unknown kind"),
        (Reply(b"\x01\x02\x03" * 100, kind="audio/wav"), "did not answer like a speech server"),
    ],
    ids=["html", "html as wav", "json", "empty", "cut", "cut in the header", "cut flac", "mu-law", "noise"],
)
def test_what_is_no_sound_is_an_error_in_one_sentence(reply: Reply, says: str) -> None:
    with pytest.raises(BadEngineOutput) as raised:
        ask(reply)
    assert says in raised.value.message and "\n" not in raised.value.message
    assert "Hola" not in raised.value.message and "<html" not in raised.value.message


@pytest.mark.parametrize("body", [HTML, b'{"error": "no"}', SOUND.tobytes() + b"x"])
def test_what_is_no_pcm_is_not_taken_for_noise(body: bytes) -> None:
    with pytest.raises(BadEngineOutput):
        ask(Reply(body, kind="audio/pcm"), response_format="pcm")


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    audio, server = ask(Reply(wav(SOUND)[:-1000], promised=len(wav(SOUND))), Reply(wav(SOUND)))
    assert np.array_equal(heard(audio), SOUND) and len(server.asked) == 2


def test_a_busy_server_is_asked_again_and_a_refusal_is_not() -> None:
    audio, server = ask(Reply(b"{}", 429, headers={"Retry-After": "1"}), Reply(b"{}", 503), Reply(wav(SOUND)))
    assert audio.samples.shape[1] == len(SOUND) and len(server.asked) == 3
    with SpeechServer(Reply(b'{"error": {"code": "invalid_api_key"}}', 401)) as refusing, speech(refusing) as engine:
        with pytest.raises(MissingSecret):
            engine.synthesize(part())
        assert len(refusing.asked) == 1


def test_a_server_that_stays_busy_is_an_engine_failure() -> None:
    with pytest.raises(EngineFailed, match="HTTP 500"):
        ask(Reply(b"oops", 500, "text/plain"))


def test_a_long_text_goes_out_in_pieces_below_the_limit_and_nothing_is_lost() -> None:
    text = " ".join(f"This is sentence number {n} of a rather long text." for n in range(200))
    audio, server = ask(Reply(wav(SOUND)), text=text)
    inputs = [asked.body["input"] for asked in server.asked]
    assert len(inputs) > 1 and max(map(len, inputs)) <= 4096
    assert " ".join(inputs) == text
    pause = round(0.04 * RATE_HZ)
    assert audio.samples.shape[1] == len(inputs) * len(SOUND) + (len(inputs) - 1) * pause


def test_blank_text_asks_nobody_and_is_no_sound() -> None:
    audio, server = ask(Reply(wav(SOUND)), text=" \n")
    assert audio.samples.shape == (1, 0) and not server.asked


@pytest.mark.parametrize(("speed", "rate", "sent"), [(1.0, 1.0, None), (1.0, 1.3, 1.3), (1.2, 1.25, 1.5), (3.0, 2.0, 4.0)])
def test_the_pace_is_sent_within_its_limits(speed: float, rate: float, sent: float | None) -> None:
    with SpeechServer(Reply(wav(SOUND))) as server, speech(server, speed=speed) as engine:
        engine.synthesize(part(rate=rate))
        assert server.asked[0].body.get("speed") == sent


@pytest.mark.parametrize(
    "listed",
    [{"voices": [{"id": "a", "name": "A"}, {"name": "b"}, "c", 7]}, ["a", "b", "c"], {"data": [{"id": x} for x in "abc"]}],
)
def test_the_voices_are_those_that_the_server_names(listed: Any) -> None:
    told = Reply(json.dumps(listed).encode(), kind="application/json")
    with SpeechServer(Reply(), voices=told) as server, speech(server) as engine:
        assert [(v.engine, v.name, v.language) for v in engine.voices("fr")] == [("openai", x, "fr") for x in "abc"]


def test_voices_of_the_option_come_first_and_without_any_the_hint_says_what_to_type() -> None:
    with SpeechServer(Reply()) as server:
        with speech(server, voices="nova+echo nova") as engine:
            assert [v.name for v in engine.voices("es")] == ["nova", "echo"]
        with speech(server) as engine, pytest.raises(BadSettings) as raised:
            engine.voices("es")
        assert "voices=" in raised.value.hint


def test_the_service_itself_has_its_documented_voices_without_being_asked() -> None:
    options = SpeechOptions(api_key="sk-1")
    with Service(openai_speech._endpoint(options)) as service:  # pyright: ignore[reportPrivateUsage]
        names = [v.name for v in RemoteSpeech(options, service).voices("es")]
    assert len(names) == 13 and {"alloy", "coral", "onyx"} < set(names)


def test_a_stream_is_the_same_sound_in_pieces_of_one_rate() -> None:
    long = tone(1.5)
    with SpeechServer(Reply(long.tobytes(), kind="audio/pcm")) as server, speech(server) as engine:
        pieces = list(engine.stream(part()))
        assert server.asked[0].body["response_format"] == "pcm"
    assert {piece.rate_hz for piece in pieces} == {RATE_HZ} and len(pieces) > 1
    assert np.array_equal(np.concatenate([heard(piece) for piece in pieces]), long)


def test_a_stream_that_is_a_wav_after_all_is_read_by_its_header() -> None:
    long = tone(1.0, 16_000)
    with SpeechServer(Reply(wav(long, 16_000, size=0xFFFFFFFF))) as server, speech(server) as engine:
        pieces = list(engine.stream(part()))
    assert {piece.rate_hz for piece in pieces} == {16_000}
    assert np.array_equal(np.concatenate([heard(piece) for piece in pieces]), long)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(HTML, kind="text/html"),
        Reply(HTML, kind="audio/pcm"),
        Reply(b"", kind="audio/pcm"),
        Reply(SOUND.tobytes() + b"\0", kind="audio/pcm"),
        Reply(flac(SOUND), kind="audio/flac"),
    ],
    ids=["html", "html as pcm", "empty", "odd", "flac"],
)
def test_a_stream_that_is_no_sound_is_an_error(reply: Reply) -> None:
    with SpeechServer(reply) as server, speech(server) as engine, pytest.raises(BadEngineOutput):
        list(engine.stream(part()))


def test_a_stream_that_breaks_off_is_an_error() -> None:
    with (
        SpeechServer(Reply(SOUND.tobytes(), promised=100_000)) as server,
        speech(server) as engine,
        pytest.raises(PolydubError),
    ):
        list(engine.stream(part()))


@pytest.mark.parametrize(
    ("given", "ready", "hint"),
    [
        ({}, False, "POLYDUB_OPENAI_API_KEY"),
        ({"api_key": "sk-1"}, True, ""),
        ({"preset": "custom"}, False, "base_url"),
        ({"preset": "custom", "base_url": "http://127.0.0.1:1/v1"}, False, "MODEL"),
        ({"preset": "custom", "base_url": "http://127.0.0.1:1/v1", "model": "m"}, True, ""),
        ({"base_url": "http://127.0.0.1:1/v1/audio/speech"}, True, ""),
    ],
)
def test_what_is_missing_is_told_with_what_to_type(given: dict[str, Any], ready: bool, hint: str) -> None:
    available = ENGINE.check(SpeechOptions(**given))
    assert available.ready is ready and hint in available.fix


def test_the_key_is_in_no_identity_but_what_changes_the_sound_is() -> None:
    told = SpeechOptions(api_key="hunter2", voices="a", instructions="Softly.").identity()
    assert "hunter2" not in json.dumps(told)
    assert {"base_url", "model", "instructions", "speed", "preset"} <= set(told) and "timeout_s" not in told
