"""What a remote user may ask of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub import config
from polydub.errors import BadSettings
from polydub.server import requests

FILM = {"input": {"upload": "up-1", "name": "talk.mp4"}, "to": ["es"]}


def test_a_request_becomes_a_job_in_the_folder_of_the_job() -> None:
    files = {
        "transcript": {"upload": "t", "name": "talk.en.srt"},
        "translations": {"es": {"upload": "e", "name": "talk.es.srt"}},
    }
    more = {"files": {"glossary": {"upload": "g", "name": "terms.csv"}}, "settings": {"max_rate": 1.2}, "voices": {"ANN": "f2"}}
    request = requests.read(FILM | files | more)
    job, values = requests.to_job(request, Path("/j"))
    assert job.media == Path("/j/input/film/talk.mp4")
    assert job.transcript == Path("/j/input/transcript/talk.en.srt")
    assert job.translations == {"es": Path("/j/input/translation.es/talk.es.srt")}
    glossary = "/j/input/glossary/terms.csv"
    assert values == {"to": ["es"], "max_rate": 1.2, "voice": {"ANN": "f2"}, "glossary": glossary}
    assert set(requests.uploads(request)) == {"up-1", "t", "e", "g"}
    assert requests.places(request, Path("/j"))[Path(glossary)] == "g"
    loaded = config.load(values, job=None, environ={}, cwd=Path("/nowhere"), user_file=None)
    assert loaded.settings.max_rate == 1.2


@pytest.mark.parametrize(
    "wrong",
    [
        {"settings": {"output": "/etc"}},
        {"settings": {"store": "x"}},
        {"settings": {"models": "x"}},
        {"settings": {"threads": 64}},
        {"settings": {"offline": False}},
        {"settings": {"download": "yes"}},
        {"settings": {"engines": {"mt": {"openai": {"base_url": "http://10.0.0.1"}}}}},
        {"settings": {"server": {"port": 1}}},
        {"settings": {"glossary": "/etc/passwd"}},
        {"settings": {"character_book": "x"}},
        {"settings": {"openai_api_key": "x"}},
        {"settings": {"summary": " @/etc/passwd"}},
        {"settings": {"mt": "openai,base_url=http://10.0.0.1"}},
        {"settings": {"tts": "piper:/etc/passwd"}},
        {"settings": {"asr": "faster-whisper:../x"}},
        {"settings": {"asr_model": "/etc"}},
        {"settings": {"tts": 5}},
        {"settings": {"tts": "nobody"}},
        {"settings": {"max_rate": 9}},
        {"settings": {"together": True, "burn_in": "target"}, "to": ["es", "fr"]},
        {"voices": {"A": "/etc/passwd"}},
        {"voices": {"A": "voice.wav"}},
        {"voices": {"A": "notes.backup"}},
        {"voices": {"A": "voice.wav "}},
        {"voices": {"A": "~x"}},
        {"to": []},
        {"to": ["xx-zz"]},
        {"to": "es"},
        {"input": {"upload": "../x", "name": "a.mp4"}},
        {"input": {"path": "/etc/passwd"}},
        {"kind": "shell"},
        {"surprise": 1},
        5,
    ],
    ids=str,
)
def test_what_a_remote_user_may_not_set_or_what_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(BadSettings):
        requests.read(FILM | wrong if isinstance(wrong, dict) else wrong)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ([], "to: it needs 1 at least"), (["es"] * 21, "to: it has 20 at most"), (5, "to: it should be a valid tuple"),
        (["klingon!"], "to.0: 'klingon!' is no tag of a language"),
        (["x" * 9000], f"to.0: '{'x' * 40}' is no tag of a language"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_languages_is_said_as_it_is(to: Any, told: str) -> None:
    with pytest.raises(BadSettings) as wrong:
        requests.read(FILM | {"to": to})
    assert wrong.value.message == told


def test_no_setting_of_a_job_names_a_file_or_a_secret() -> None:
    kinds = {flag.key: flag.kind for flag in config.flags()}
    assert {kinds[name] for name in requests.allowed()} <= {"choice", "integer", "list", "number", "numbers", "switch", "text"}
    texts = {name for name in requests.allowed() if kinds[name] == "text"}
    assert texts == {"asr_model", "source_language", "speakers", "summary", *config.CHOICES.values()}, (
        "a new one must be checked"
    )
    assert set(requests.schema()["properties"]) == requests.allowed()


@given(st.text(max_size=300))
def test_a_name_is_safe_and_keeps_its_ending(name: str) -> None:
    safe = requests.safe_name(name)
    assert safe and safe not in (".", "..") and not set(safe) & set("/\\\0\n") and len(safe.encode()) <= 150
    assert requests.safe_name(safe) == safe
    assert requests.safe_name(name + "/talk.en.srt") == "talk.en.srt"
