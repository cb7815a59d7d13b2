"""A wish may name the folder of a voice that is in no library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polydub.errors import BadInput
from polydub.media.flac import write_flac
from polydub.store import Store
from polydub.types import Audio
from polydub.voices import keeping, wishes

CONSENT = "Anna Roth, by e-mail, 2026-03-01"


def hum(hz: float) -> Audio:
    return Audio((0.1 * np.sin(np.arange(48_000) * hz * 2 * np.pi / 48_000))[np.newaxis].astype(np.float32), 48_000)


def test_the_folder_of_a_voice_stands_for_all_its_recordings_and_its_name(tmp_path: Path) -> None:
    entry = keeping.Entry("Anna", consent=CONSENT)
    kept = keeping.add(tmp_path / "elsewhere", entry, [keeping.Recorded(hum(200)), keeping.Recorded(hum(210))])
    (tmp_path / "bare").mkdir()
    write_flac(tmp_path / "bare" / "x.flac", hum(150).samples, 48_000)
    store = Store(tmp_path / "store")
    names = [str(kept.folder), str(tmp_path / "bare"), "Anna", "tmp"]
    found = wishes.recorded(names, tmp_path / "library", store)
    assert {name: len(recordings) for name, recordings in found.items()} == {names[0]: 2, names[1]: 1}
    assert wishes.called(names) == {names[0]: "Anna", names[1]: "bare"}
    store.close()


def test_a_folder_without_a_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="there is no recording in"):
        wishes.called([str(tmp_path / "empty")])
