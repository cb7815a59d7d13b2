"""`import polydub; polydub.dub(...)` is the command `polydub dub` without a shell, and so for the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

import polydub
from polydub.errors import BadInput, PolydubError, UnknownEngine
from small_dubs import DIALOGUE, spoken_film, srt


def test_dub_gives_the_film_and_the_report(clip: Callable[..., Path], tmp_path: Path) -> None:
    subtitles = tmp_path / "anything.srt"
    subtitles.write_text("1\n00:00:00,500 --> 00:00:02,000\nHola.\n", encoding="utf-8")
    settings = {"to": "es", "tts": "fake", "output": str(tmp_path / "out")}
    (first,) = polydub.dub(clip("talk", seconds=3), translations={"Spanish": subtitles}, **settings)
    assert first.language == "es"
    assert first.film == tmp_path / "out" / "talk" / "dub.es.mkv"
    assert first.film.is_file()
    assert first.report.is_file()
    (second,) = polydub.dub(tmp_path / "talk.mkv", translations={"es": subtitles}, **settings)
    assert second.called == 0


def test_transcribe_gives_segments_with_words_and_speakers(tmp_path: Path) -> None:
    media = tmp_path / "talk.mkv"
    cues = spoken_film(media, DIALOGUE[:2])
    settings = {"output": str(tmp_path / "out"), "download": "no"}
    script = polydub.transcribe(media, asr="fake", speakers=2, **settings)
    assert script.language == "en"
    assert {segment.speaker for segment in script.segments} == {"SPEAKER_00", "SPEAKER_01"}
    assert all(segment.words for segment in script.segments)
    given = tmp_path / "talk.en.srt"
    given.write_text(srt(cues), encoding="utf-8")
    aligned = polydub.transcribe(media, given, **settings)
    assert [(s.speaker, s.text) for s in aligned.segments] == list(DIALOGUE[:2])
    assert [len(s.words) for s in aligned.segments] == [len(text.split()) for _, text in DIALOGUE[:2]]


def test_separate_gives_files_by_name(tmp_path: Path) -> None:
    media = tmp_path / "talk.mkv"
    spoken_film(media, DIALOGUE[:1])
    stems = polydub.separate(media, tmp_path / "stems", output=str(tmp_path / "out"), download="no")
    assert stems == {name: tmp_path / "stems" / f"{name}.flac" for name in ("dialogue", "background")}
    assert len({soundfile.info(path).frames for path in stems.values()}) == 1


def test_engines_that_do_not_exist_are_refused_by_all(tmp_path: Path) -> None:
    media = tmp_path / "talk.mkv"
    media.touch()
    for call in (polydub.dub, polydub.transcribe, polydub.separate):
        with pytest.raises(UnknownEngine, match="pyanote"):
            call(media, to="es", diarization="pyanote", output=str(tmp_path / "out"))


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file") as caught:
        polydub.dub(tmp_path / "nothing.mp4", to="es")
    assert isinstance(caught.value, PolydubError)
    assert caught.value.hint
