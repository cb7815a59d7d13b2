"""Whole dubs whose lines may say something shorter or longer: asked once, chosen by the timing, remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from small_dubs import Cue, Dub, Film

LENGTHS = {"mt": "fake,candidates=true"}
CROWDED: list[Cue] = [
    (0.5, 1.9, "ANNA: Hello there, how are you?"),
    (2.0, 4.2, "BOB: I am quite well today, thank you very much, my old friend."),  # 4.2 s long in Spanish
    (4.3, 5.6, "ANNA: I am glad about it."),
    (5.7, 7.2, "BOB: See you soon."),
]


class Worded(Film):
    """A film whose translation, if there is one, is a JSON file."""

    @property
    def translation(self) -> Path:
        return self.folder / "film.es.json"


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Film:
    return Worded(tmp_path, clip("film", seconds=8.0)).say(CROWDED)


def rates(dub: Dub) -> list[float]:
    return [line["rate"] for line in dub.report["lines"]]


def test_a_translator_with_lengths_is_asked_once_and_the_dub_is_not_hurried(film: Film) -> None:
    dub = film.dub(LENGTHS)
    assert dub.ran["wordings"] == 1
    assert "translate" not in dub.ran
    assert max(rates(dub)) <= 1.15
    assert film.dub(LENGTHS).called == set()


def test_a_translator_without_lengths_is_asked_for_its_texts(film: Film) -> None:
    dub = film.dub()
    assert dub.ran["translate"] == 1
    assert "wordings" not in dub.ran
    assert max(rates(dub)) > 1.15


def test_the_wording_that_is_spoken_is_the_one_that_is_read(film: Film) -> None:
    dub = film.dub(LENGTHS)
    (subtitles,) = dub.project.rglob("*.es.srt")
    text = " ".join(subtitles.read_text(encoding="utf-8").split())
    assert "I am quite well" in text
    assert "old friend" not in text


def test_lengths_of_a_translation_file_are_chosen_among(film: Film) -> None:
    said = [{"start": start, "end": end, "text": text.partition(": ")[2]} for start, end, text in CROWDED]
    said[1] |= {"short": "I am quite well."}
    film.translation.write_text(json.dumps({"language": "es", "segments": said}))
    dub = film.dub()
    assert max(rates(dub)) <= 1.15
    film.translation.write_text(film.translation.read_text().replace('"short"', '"unknown"'))
    assert max(rates(film.dub())) > 1.15
