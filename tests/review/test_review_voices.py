"""Names of voices are asked about before lines get them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polydub import edits
from polydub.cli import main
from polydub.engines.pool import EnginePool
from polydub.errors import BadInput, BadSettings
from polydub.review.reading import Reviewed
from polydub.review.voices import check_voices
from small_dubs import Film


@pytest.fixture
def spoken(clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reviewed:
    """A dub by espeak-ng, which knows what voices it has; the voice library is `tmp_path / "voices"`."""
    monkeypatch.setenv("POLYDUB_VOICES", str(tmp_path / "voices"))
    film = Film(tmp_path, clip("talk", seconds=3.0))
    film.say([(0.5, 1.9, "ANNA: Hello."), (2.0, 2.8, "BOB: Yes.")], ["Hola.", "Si."]).dub({"tts": "auto"})
    return Reviewed(film.project, "es")


@pytest.fixture
def pool() -> Iterator[EnginePool]:
    engines = EnginePool()
    yield engines
    engines.close()


def run(words: list[str]) -> int:
    """polydub in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def book(dub: Reviewed) -> edits.Edits:
    return edits.read(dub.folder, "es")


@pytest.mark.parametrize("who", ["1", "1-2", "ANNA"])
@pytest.mark.parametrize("more", [[], ["--no-render"]])
def test_a_voice_that_nobody_has_is_refused_and_nothing_is_noted(
    spoken: Reviewed, who: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["review", str(spoken.folder), "voice", who, "es+f55", *more]) == 3
    told = capsys.readouterr().err
    assert "espeak-ng has no voice variant 'f55'" in told
    assert "nearest: f5" in told
    assert "noted" not in told
    assert book(spoken) == edits.Edits(format=edits.FORMAT)


def test_voices_of_the_engine_of_the_library_and_recordings_are_taken(
    spoken: Reviewed, pool: EnginePool, tmp_path: Path
) -> None:
    kept = tmp_path / "voices" / "Carla"
    kept.mkdir(parents=True)
    (kept / "1.wav").write_bytes(_wav())
    (tmp_path / "mine.wav").write_bytes(_wav())
    assert not check_voices(spoken, ["es+f5", "f2", "", "carl", str(tmp_path / "mine.wav")], pool)
    with pytest.raises(BadSettings, match="nor has the voice library") as refused:
        check_voices(spoken, ["Carlo"], pool)
    assert "in the library: Carla" in refused.value.hint
    with pytest.raises(BadInput, match="no recording"):
        check_voices(spoken, ["not-there.wav"], pool)


def test_an_import_with_such_a_voice_names_the_row_and_takes_nothing(
    spoken: Reviewed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "talk.csv"
    project = str(spoken.folder)
    assert run(["review", project, "export", str(file)]) == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")))
    rows[0]["text"], rows[1]["voice"] = "Buenas.", "es+f55"
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    assert run(["review", project, "import", str(file)]) == 2
    assert "talk.csv, row 3: espeak-ng has no voice variant 'f55'" in capsys.readouterr().err
    assert not book(spoken).lines


def test_where_the_engine_is_gone_a_name_is_noted_unseen_and_that_is_said(
    spoken: Reviewed, pool: EnginePool, capsys: pytest.CaptureFixture[str]
) -> None:
    state = spoken.folder / "project.json"
    assert '"tts es": "espeak-ng"' in state.read_text()
    state.write_text(state.read_text().replace('"tts es": "espeak-ng"', '"tts es": "gone"'))
    assert "nobody could ask" in check_voices(spoken, ["es+f55"], pool)
    assert run(["review", str(spoken.folder), "voice", "1", "es+f55", "--no-render"]) == 0
    assert "nobody could ask" in capsys.readouterr().err


def _wav() -> bytes:
    import numpy as np
    import soundfile

    out = io.BytesIO()
    t = np.arange(48_000) / 16_000
    soundfile.write(out, 0.3 * np.sin(2 * np.pi * 150 * t) * (1 + np.sin(2 * np.pi * 3 * t)), 16_000, format="WAV")
    return out.getvalue()
