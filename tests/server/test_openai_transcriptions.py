"""/v1/audio/transcriptions and /translations by OpenAI's own Python client, over TCP."""

from __future__ import annotations

import io
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import imageio_ffmpeg
import openai
import pysubs2
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)
from speech_room import Served, TriedHouse, served, talk_wav, waits_for

TALK = ("The river runs quietly under the old bridge.", "Nobody saw it go.")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hearing")) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def talk() -> bytes:
    return talk_wav(*TALK)


def test_8_each_format_becomes_its_class(client: openai.OpenAI, talk: bytes) -> None:
    def heard(form: str) -> object:
        return client.audio.transcriptions.create(model="fake", file=("talk.wav", talk), response_format=form)  # pyright: ignore[reportArgumentType]

    plain, verbose, diarized = heard("json"), heard("verbose_json"), heard("diarized_json")
    assert isinstance(plain, Transcription)
    assert isinstance(verbose, TranscriptionVerbose)
    assert isinstance(diarized, TranscriptionDiarized)
    assert heard("text") == plain.text + "\n"
    assert (verbose.text, verbose.language, diarized.text) == (plain.text, "english", plain.text)
    assert verbose.duration == pytest.approx((len(talk) - 44) / 2 / 22_050, abs=0.01)
    assert verbose.segments
    assert all(segment.end > segment.start for segment in verbose.segments)
    assert plain.usage is not None
    assert plain.usage.seconds >= verbose.duration  # pyright: ignore[reportAttributeAccessIssue]
    assert [segment.id for segment in diarized.segments] == [f"seg_{n}" for n in range(len(diarized.segments))]
    assert {segment.speaker for segment in diarized.segments} <= {"A", "B"}


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_8b_subtitles_are_read_by_another_program(client: openai.OpenAI, talk: bytes, form: str) -> None:
    text = client.audio.transcriptions.create(model="fake", file=("talk.wav", talk), response_format=form)  # pyright: ignore[reportArgumentType]
    assert isinstance(text, str)
    assert text.startswith("WEBVTT") == (form == "vtt")
    cues = pysubs2.SSAFile.from_string(text, format_=form)
    assert len(cues) >= 2
    assert all(cue.end > cue.start for cue in cues)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)
    assert "<" not in "".join(cue.text for cue in cues)


@pytest.mark.parametrize(
    ("wanted", "segments", "words"),
    [([], True, False), (["word"], False, True), (["segment"], True, False), (["word", "segment"], True, True)],
)
def test_9_times_are_told_as_they_are_asked_for(
    client: openai.OpenAI, talk: bytes, wanted: list[str], segments: bool, words: bool
) -> None:
    given = {"timestamp_granularities": wanted} if wanted else {}
    made = client.audio.transcriptions.create(model="fake", file=("t.wav", talk), response_format="verbose_json", **given)  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert bool(made.segments) == segments
    assert bool(made.words) == words
    if made.words:
        assert " ".join(word.word for word in made.words) == made.text


def test_9b_lists_are_also_read_without_brackets(server: Served, talk: bytes) -> None:
    form = {"model": "fake", "response_format": "verbose_json", "timestamp_granularities": ["word"]}
    headers = {"authorization": f"Bearer {server.token}"}
    told = httpx.post(f"{server.url}/audio/transcriptions", data=form, files={"file": talk}, headers=headers).json()
    assert told["words"]
    assert "segments" not in told


def test_9d_with_plain_json_they_change_nothing(client: openai.OpenAI, talk: bytes) -> None:
    made = client.audio.transcriptions.create(model="fake", file=talk, timestamp_granularities=["word"])
    assert made == client.audio.transcriptions.create(model="fake", file=talk)


def test_9c_another_granularity_is_refused(client: openai.OpenAI, talk: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="fake", file=talk, timestamp_granularities=["letter"])  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert caught.value.param == "timestamp_granularities.0"


def test_10_files_come_in_any_way_under_any_name(client: openai.OpenAI, talk: bytes, tmp_path: Path) -> None:
    path = tmp_path / "talk.mp3"  # which it is not
    path.write_bytes(talk)
    nameless = io.BytesIO(talk)
    with path.open("rb") as opened:
        ways = (path, opened, nameless, ("talk", talk), ("talk.txt", talk, "text/plain"), ("../../x.wav", talk), talk)
        texts = [client.audio.transcriptions.create(model="fake", file=file).text for file in ways]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert len(set(texts)) == 1
    assert texts[0]


VIDEO = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=5", "-shortest", "-c:v", "mpeg4"]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("talk.mp3", []), ("talk.m4a", ["-c:a", "aac"]), ("talk.webm", ["-c:a", "libopus"]), ("talk.flac", []),
        ("film.mp4", [*VIDEO, "-c:a", "aac"]), ("film.mkv", [*VIDEO, "-c:a", "aac"]),
    ],
)  # fmt: skip
def test_10b_sound_and_films_of_other_kinds_are_heard_too(
    client: openai.OpenAI, talk: bytes, tmp_path: Path, name: str, how: list[str]
) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "pipe:0", *how, str(tmp_path / name)]
    subprocess.run(command, input=talk, check=True)
    made = client.audio.transcriptions.create(model="fake", file=tmp_path / name, response_format="verbose_json", language="en")
    assert made.text
    assert made.duration == pytest.approx((len(talk) - 44) / 2 / 22_050, abs=0.3)


def test_11_the_deltas_of_a_stream_are_its_text(client: openai.OpenAI, talk: bytes) -> None:
    told = list(client.audio.transcriptions.create(model="fake", file=("t.wav", talk), stream=True))
    assert isinstance(told[0], TranscriptionTextDeltaEvent)
    assert isinstance(told[-1], TranscriptionTextDoneEvent)
    deltas = [event for event in told if isinstance(event, TranscriptionTextDeltaEvent)]
    assert len(deltas) == len(told) - 1 >= 2
    assert "".join(event.delta for event in deltas) == told[-1].text
    assert told[-1].text == client.audio.transcriptions.create(model="fake", file=("t.wav", talk)).text


def test_12_a_diarized_stream_tells_who_speaks(client: openai.OpenAI, talk: bytes) -> None:
    asked = {"model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json", "language": "en"}
    told = list(client.audio.transcriptions.create(file=("t.wav", talk), stream=True, **asked))  # pyright: ignore[reportCallIssue, reportArgumentType]
    segments = [event for event in told if isinstance(event, TranscriptionTextSegmentEvent)]
    assert segments
    assert segments[0].speaker == "A"
    assert isinstance(told[-1], TranscriptionTextDoneEvent)


def test_13_a_failure_in_the_middle_is_an_error_of_the_client(tmp_path: Path, talk: bytes) -> None:
    with served(tmp_path, house=TriedHouse(tmp_path)) as server:
        with openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0) as client:
            seen: list[object] = []
            with pytest.raises(openai.APIError, match="failed on purpose") as caught:
                for event in client.audio.transcriptions.create(model="breaking", file=talk, stream=True):
                    seen.append(event)
            assert not isinstance(caught.value, openai.APIStatusError)
            with pytest.raises(openai.InternalServerError) as whole:
                client.audio.transcriptions.create(model="breaking", file=talk)
        assert whole.value.code == "engine_failed"
        assert waits_for(lambda: server.inside() == 0)


def test_19_unknown_fields_are_ignored(client: openai.OpenAI, talk: bytes) -> None:
    extra = {"vad_filter": "true", "chunking_strategy": "auto", "include[]": "logprobs", "languages[]": "en"}
    assert client.audio.transcriptions.create(model="fake", file=talk, extra_body=extra).text


def test_20_translations_are_english(client: openai.OpenAI, talk: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = client.audio.translations.create(model="fake", file=("t.wav", talk))
        verbose = client.audio.translations.create(model="fake", file=("t.wav", talk), response_format="verbose_json")
        srt = client.audio.translations.create(model="fake", file=("t.wav", talk), response_format="srt")
    assert isinstance(made, Translation)
    assert isinstance(verbose, TranslationVerbose)
    assert verbose.language == "english"
    assert made.text
    assert "-->" in srt


def test_a_translation_without_a_translator_is_refused_before_the_recording_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    house = TriedHouse(tmp_path / "house", settings={"mt": "nllb"})
    with served(tmp_path / "server", house=house) as server:

        def refused(**fields: str) -> str:
            headers, file = {"authorization": f"Bearer {server.token}"}, {"file": ("t.wav", b"RIFF no sound at all")}
            answer = httpx.post(
                f"{server.url}/audio/translations", data={"model": "fake", **fields}, files=file, headers=headers
            )
            return answer.json()["error"]["message"]

        assert "nllb" in refused() and "nllb" in refused(language="fr")
        assert "nllb" not in refused(language="en"), "what is English stays"


@pytest.mark.parametrize("alias", ["whisper-1", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize", "gpt-transcribe"])
def test_21_openais_models_are_the_best_engine_that_is_there(client: openai.OpenAI, talk: bytes, alias: str) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(model=alias, file=("t.wav", talk), language="en")
    assert answer.headers["x-polydub-engine"] == "pocketsphinx"
    assert answer.parse().text


def test_silence_is_no_error(client: openai.OpenAI) -> None:
    silent = talk_wav()
    assert client.audio.transcriptions.create(model="fake", file=silent).text == ""
    told = list(client.audio.transcriptions.create(model="fake", file=silent, stream=True))
    assert [event.type for event in told] == ["transcript.text.done"]


def test_prompts_that_nobody_heeds_are_told(client: openai.OpenAI, talk: bytes) -> None:
    asked = client.audio.transcriptions.with_raw_response
    answer = asked.create(model="fake", file=talk, prompt="Names: Polydub", extra_body={"hotwords": "bridge"})
    told = answer.headers["x-polydub-notices"]
    assert "prompt-unheeded" in told
    assert "hotwords-unheeded" in told


HOSTILE = {
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile secret.wav\n",
    "page": b"<!doctype html><html><body>x</body></html>",
    "picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\x06\0\0\0\x1f\x15\xc4\x89",
    "archive": b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(40),
    "noise": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("what", list(HOSTILE))
def test_what_is_no_recording_is_refused_whatever_it_is_called(client: openai.OpenAI, what: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="fake", file=("talk.mp4", HOSTILE[what], "video/mp4"))
    assert caught.value.status_code in (415, 422)
    assert caught.value.code in ("unsupported_media_type", "unreadable_media")
    assert "/" not in caught.value.message.replace("video/", "").replace("image/", "").replace("text/", "").replace(
        "application/", ""
    )


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("temperature", 1.5, "temperature"),
        ("response_format", "docx", "response_format"),
        ("language", "klingonese", "language"),
    ],
)
def test_wrong_fields_are_told_by_name(client: openai.OpenAI, talk: bytes, field: str, value: object, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="fake", file=talk, **{field: value})  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert caught.value.param == param


def test_limits_of_size_and_length_are_told(tmp_path: Path) -> None:
    long = talk_wav(*TALK)
    with (
        served(tmp_path, max_file_mb=1, max_duration_s=3) as server,
        openai.OpenAI(base_url=server.url, api_key=server.token, max_retries=0) as client,
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.transcriptions.create(model="fake", file=long)
        assert caught.value.code == "audio_too_long"
        with pytest.raises(openai.APIStatusError) as large:
            client.audio.transcriptions.create(model="fake", file=long + bytes(3_000_000))
        assert large.value.status_code == 413


def test_a_form_without_a_file_and_a_body_that_is_no_form_are_refused(server: Served) -> None:
    url, headers = f"{server.url}/audio/transcriptions", {"authorization": f"Bearer {server.token}"}
    told = httpx.post(url, headers=headers, data={"model": "fake"}, files={"other": b"x"})
    assert (told.status_code, told.json()["error"]["param"]) == (400, "file")
    told = httpx.post(url, headers=headers, json={"model": "fake"})
    assert (told.status_code, told.json()["error"]["code"]) == (415, "unsupported_media_type")
    told = httpx.post(url, headers=headers, content=b"--x", params={}, timeout=60)
    assert told.status_code == 415
    broken = {**headers, "content-type": "multipart/form-data; boundary=x"}
    assert httpx.post(url, headers=broken, content=b"no form at all").status_code == 400


def test_nothing_of_a_recording_is_left(server: Served, client: openai.OpenAI, talk: bytes) -> None:
    client.audio.transcriptions.create(model="fake", file=talk)
    scratch = server.house.store.folder / "scratch"
    assert waits_for(lambda: not [path for path in scratch.glob("p-*/*") if path.name != "lock"])
    assert not list((server.house.store.folder / "artifacts").rglob("*.flac"))
