"""A dub to be reviewed, made once for all tests of a worker; each test gets a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from polydub.review.reading import Reviewed
from small_dubs import TALK, Film

SPANISH = ("Hola, ¿qué tal?", "Muy bien hoy, muchas gracias.", "Bien.", "Hasta pronto.")


@pytest.fixture(scope="session")
def dubbed_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the dub is made, once."""
    return tmp_path_factory.mktemp("reviewed")


@pytest.fixture
def talk(dubbed_place: Path, clip: Callable[..., Path], tmp_path: Path) -> Reviewed:
    """A dub of TALK into Spanish: lines 1 and 3 of ANNA, 2 and 4 of BOB. Its store is a copy as well."""
    film = Film(dubbed_place, dubbed_place / "talk.mkv")
    if not film.project.exists():
        shutil.move(clip("talk", seconds=6.0), film.media)
        film.say(TALK, SPANISH).dub()
    shutil.copytree(film.out, tmp_path / "Output")
    return Reviewed(tmp_path / "Output" / "talk", "es")
