"""`import polydub; polydub.dub(...)` is the command `polydub dub` without a shell, and so for the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

import polydub
from polydub import review, voices
from polydub.errors import BadInput, BadSettings, Cancelled, PolydubError, StoreError, UnknownEngine
from polydub.request import Job
from polydub.types import Progress
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


def test_progress_is_told_and_what_it_raises_stops_the_dub(clip: Callable[..., Path], tmp_path: Path) -> None:
    film = clip("talk", seconds=3)
    subtitles = tmp_path / "talk.es.srt"
    subtitles.write_text("1\n00:00:00,500 --> 00:00:02,000\nHola.\n", encoding="utf-8")
    settings = {"to": "es", "tts": "fake", "output": str(tmp_path / "out")}

    def stop(progress: Progress) -> None:
        raise Cancelled(f"stopped at {progress.stage}")

    with pytest.raises(Cancelled, match="stopped at"):
        polydub.dub(film, translations={"es": subtitles}, progress=stop, **settings)
    told: list[str] = []
    polydub.dub(film, translations={"es": subtitles}, progress=lambda progress: told.append(progress.stage), **settings)
    assert "synthesize" in told


def test_a_film_of_many_fails_alone(clip: Callable[..., Path], tmp_path: Path) -> None:
    film = clip("talk", seconds=3)
    subtitles = tmp_path / "talk.es.srt"
    subtitles.write_text("1\n00:00:00,500 --> 00:00:02,000\nHola.\n", encoding="utf-8")
    settings = {"to": "es", "tts": "fake", "output": str(tmp_path / "out"), "jobs": 2}
    films = [Job(film, None, {"es": subtitles}), tmp_path / "none.mp4"]
    ended: list[str] = []
    stages: set[tuple[Path, str]] = set()
    rows = polydub.dub_many(
        films, lambda row: ended.append(row.status), lambda path, progress: stages.add((path, progress.stage)), **settings
    )
    assert [row.status for row in rows] == ["done", "failed"] and sorted(ended) == ["done", "failed"]
    assert rows[1].error is not None and "none.mp4" in rows[1].error.message
    assert (film, "synthesize") in stages
    assert [row.status for row in polydub.dub_many(films[:1], **settings)] == ["remembered"]


def test_what_makes_whole_films_refuses_to_stream_and_the_other_way_round(tmp_path: Path) -> None:
    for call in (polydub.dub, polydub.dub_many):
        with pytest.raises(BadSettings, match="whole films"):
            call("film.mp4", to="es", stream="segments")
    with pytest.raises(BadSettings, match="cannot be off"):
        polydub.stream("film.mp4", to="es", stream="off")


def test_speak_writes_the_format_that_the_name_tells(tmp_path: Path) -> None:
    spoken = polydub.speak("Hola a todos.", tmp_path / "hola.flac", to="es", tts="fake")
    assert soundfile.info(tmp_path / "hola.flac").duration == pytest.approx(spoken.duration, abs=0.01)
    assert spoken.engine == "fake"
    with pytest.raises(BadSettings, match="none of the endings"):
        polydub.speak("Hola.", tmp_path / "hola.doc", to="es", tts="fake")
    with pytest.raises(BadInput, match="no text"):
        polydub.speak("  ", tmp_path / "hola.wav", to="es", tts="fake")


def test_a_review_from_begin_to_end(clip: Callable[..., Path], tmp_path: Path) -> None:
    subtitles = tmp_path / "talk.es.srt"
    cues = "1\n00:00:00,500 --> 00:00:01,200\nHola.\n\n2\n00:00:01,500 --> 00:00:02,500\nAdiós.\n"
    subtitles.write_text(cues, encoding="utf-8")
    out = str(tmp_path / "out")
    (made,) = polydub.dub(
        clip("talk", seconds=3), translations={"es": subtitles}, to="es", tts="fake", output=out, store=str(tmp_path / "store")
    )
    talk = review.find("talk", output=out)
    assert talk == review.find(made.film, "Spanish") == review.find(tmp_path / "talk.mkv", output=out)
    review.edit(talk, "2", {"text": "Hasta luego."})
    assert [line.pending for line in review.listing(talk)] == [False, True]
    stages: list[str] = []
    outcome = review.render(talk, lambda progress: stages.append(progress.stage))
    assert outcome.film == made.film and "synthesize" in stages
    assert [line.said for line in review.listing(talk)] == ["Hola.", "Hasta luego."]
    sounds = [
        review.sound(talk, "2"),
        review.sound(talk, "2", 1),
        review.sound(talk, "2", 2),
        review.sound(talk, "2", original=True),
    ]
    assert [sound.name for sound in sounds] == ["2_dub.wav", "2_v1.wav", "2_v2.wav", "2_original.wav"]
    assert review.export_lines(talk, str(tmp_path / "talk.csv")) == 2
    assert review.import_lines(talk, str(tmp_path / "talk.csv")).taken == ()
    with pytest.raises(BadInput, match="nothing"):
        review.find("nothing", output=out)


def test_voices_are_added_found_and_removed(tmp_path: Path) -> None:
    home, recording = tmp_path / "voices", tmp_path / "anna.wav"
    polydub.speak("We have waited a long time for this day, and so have all of you.", recording, to="en", tts="espeak-ng")
    quality = voices.check(recording)
    assert not quality.hopeless and quality.figures.speech_s > 2
    with pytest.raises(BadSettings, match="agreed"):
        voices.add("Anna", [recording], home)
    anna = voices.add("Anna", [recording], home, consent="Anna, 2026", language="English", transcripts=["We have waited"])
    assert (anna.language, anna.consent, anna.references[0].transcript) == ("en", "Anna, 2026", "We have waited")
    assert voices.set_alias("narrator", "Anna", home)["narrator"] == "Anna"
    assert voices.open_library(home).find("narrator") == anna == voices.open_library(str(home)).find("ann")
    spoken = polydub.speak("Hello.", tmp_path / "hello.wav", "narrator", to="en", tts="fake", voices=str(home))
    assert spoken.voice == "Anna"
    with pytest.raises(BadSettings, match="no voice 'Ann'"):
        voices.remove("Ann", home)
    assert voices.remove("Anna", home) > 0
    assert voices.open_library(home).voices == ()
    assert voices.import_from(tmp_path, home).names == ("anna", "hello")


def test_recordings_of_nothing_are_refused_unless_forced(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hush.wav", [0.0] * 48_000, 16_000)
    with pytest.raises(BadInput, match=r"hush\.wav"):
        voices.add("Hush", [tmp_path / "hush.wav"], tmp_path / "voices", licence="CC0-1.0")
    with pytest.raises(BadSettings, match="2 transcripts"):
        voices.add("Hush", [tmp_path / "hush.wav"], tmp_path / "voices", licence="CC0-1.0", transcripts=["a", "b"])


def test_the_character_book_is_empty_at_first_and_never_overwritten(tmp_path: Path) -> None:
    assert voices.open_book(tmp_path / "book.json").characters == ()
    (tmp_path / "book.json").write_text("damaged")
    with pytest.raises(StoreError):
        voices.open_book(tmp_path / "book.json")
