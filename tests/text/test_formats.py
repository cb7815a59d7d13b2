"""Transcripts in JSON: their shapes, and what is said about wrong ones."""

from __future__ import annotations

import json

import pytest

from polydub.errors import BadInput
from polydub.text.subtitles import parse_subtitles
from polydub.types import Wordings


def test_json_of_polydub_and_of_whisper_is_read() -> None:
    segment = {"id": 3, "start": 1, "end": 2.5, "text": " Hello there", "words": [{"word": " Hello", "start": 1, "end": 1.4}]}
    for shape in ({"language": "en", "duration": 9.0, "segments": [segment]}, [segment]):
        parsed = parse_subtitles(json.dumps(shape).encode(), ".json")
        assert [(s.id, s.start, s.end, s.text, s.words[0].text) for s in parsed.segments] == [
            ("1", 1.0, 2.5, "Hello there", "Hello")
        ]
        assert parsed.language == ("en" if isinstance(shape, dict) else None)


def test_json_may_give_a_text_in_several_lengths() -> None:
    entries = [
        {"start": 0, "end": 1, "text": "Hola a  todos.", "short": "Hola.\n", "long": "Hola a todos ustedes."},
        {"start": 2, "end": 3, "text": "Adiós.", "short": None},
        {"start": 4, "end": 5, "text": "Hola a todos.", "short": "Otra."},
    ]
    for shape in (entries, {"language": "es", "segments": entries}):
        parsed = parse_subtitles(json.dumps(shape).encode(), ".json")
        assert [s.text for s in parsed.segments] == ["Hola a todos.", "Adiós.", "Hola a todos."]
        assert parsed.wordings == {"Hola a todos.": Wordings("Hola a todos.", "Hola.", "Hola a todos ustedes.")}
    with pytest.raises(BadInput, match=r"\$\[0\]\.short"):
        parse_subtitles(b'[{"start": 0, "end": 1, "text": "a", "short": 3}]', ".json")


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ('{"text": "hi"}', "$.segments:"),
        ('"hi"', "$:"),
        ('[{"start": 0, "end": 1, "text": "a"}, 3]', "$[1]:"),
        ('{"segments": [{"start": 0, "end": 1}]}', "$.segments[0].text:"),
        ('{"segments": [{"start": "0", "end": 1, "text": "a"}]}', "$.segments[0].start:"),
        ('{"segments": [{"start": 0, "end": NaN, "text": "a"}]}', "$.segments[0].end:"),
        ('{"segments": [{"start": 0, "end": 1e999, "text": "a"}]}', "$.segments[0].end:"),
        ('{"segments": [{"start": 0, "end": true, "text": "a"}]}', "$.segments[0].end:"),
        ('{"segments": [{"start": 0, "end": 1, "text": "a", "speaker": 4}]}', "$.segments[0].speaker:"),
        (
            '{"segments": [{"start": 0, "end": 1, "text": "a", "words": [{"start": 0, "end": []}]}]}',
            "$.segments[0].words[0].end:",
        ),
        ('{"language": 4, "segments": []}', "$.language:"),
    ],
)
def test_json_of_a_wrong_shape_is_refused_with_the_place(data: str, path: str) -> None:
    with pytest.raises(BadInput) as told:
        parse_subtitles(data.encode(), ".json")
    assert f"wrong at {path}" in told.value.message
    assert told.value.hint


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b"9" * 10_000, b"\xff\x00{"])
def test_json_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        parse_subtitles(data, ".json")
