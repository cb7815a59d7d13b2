"""Channel layouts as ffmpeg names them, and what follows from them."""

from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from polydub.audio import layouts

SPEAKS = {"5.1": [0, 0, 1, 0, 0, 0], "7.1": [0, 0, 1, 0, 0, 0, 0, 0], "quad": [1, 1, 0, 0], "2.1": [1, 1, 0], "3.0": [0, 0, 1]}
WEIGHS = {
    "mono": [1],
    "stereo": [1, 1],
    "5.0(side)": [1, 1, 1, 1.41, 1.41],
    "5.1": [1, 1, 1, 0, 1.41, 1.41],
    "5.1(side)": [1, 1, 1, 0, 1.41, 1.41],
    "7.1": [1, 1, 1, 0, 1, 1, 1.41, 1.41],  # ITU-R BS.1770-4, table 5: M+135 counts 1, M+090 1.41
}


def in_ffmpeg() -> dict[str, tuple[str, ...]]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-layouts"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = said[said.index("Standard channel layouts") :].splitlines()[2:]
    return {row.split()[0]: tuple(row.split()[1].split("+")) for row in rows if row.strip()}


def test_the_channels_are_those_of_ffmpeg() -> None:
    theirs = in_ffmpeg()
    few = {name for name, channels in theirs.items() if len(channels) <= 8 and not any(c.startswith("T") for c in channels)}
    for name in few - {"binaural", "downmix"}:
        assert layouts.channels(name) == theirs[name], name
    assert {layouts.carrier(name, len(theirs[name])) for name in few} <= set(layouts.CARRIED)


def test_an_empty_layout_is_mono_or_stereo_by_number() -> None:
    assert layouts.channels("", 1) == ("FC",)
    assert layouts.channels("", 2) == ("FL", "FR")
    for layout, count in (("", 6), ("9 channels", 9)):
        with pytest.raises(ValueError, match="unknown channel layout"):
            layouts.channels(layout, count)
    with pytest.raises(ValueError, match="has 6 channels, not 2"):
        layouts.weights("5.1", 2)


def test_the_dub_goes_to_the_centre_or_to_both_sides_of_it() -> None:
    assert layouts.dialogue_gains("", 1).tolist() == [1]
    assert layouts.dialogue_gains("", 2).tolist() == [1, 1]
    for name, expected in SPEAKS.items():
        assert layouts.dialogue_gains(name, len(expected)).tolist() == expected
        assert layouts.dialogue_gains(name, len(expected)).dtype == np.float32


@pytest.mark.parametrize("layout", WEIGHS)
def test_loudness_weighs_surrounds_more_and_low_effects_not_at_all(layout: str) -> None:
    assert layouts.weights(layout, len(WEIGHS[layout])).tolist() == WEIGHS[layout]


@pytest.mark.parametrize("layout", layouts.CARRIED)
def test_what_listening_hears_is_no_louder_than_the_film(layout: str) -> None:
    names = layouts.channels(layout)
    gains = dict(zip(names, layouts.listening_gains(layout, len(names)).tolist(), strict=True))
    assert sum(gains.values()) == pytest.approx(1)
    assert max(gains, key=lambda name: gains[name]) == ("FC" if "FC" in names else "FL")
    assert not any(gain for name, gain in gains.items() if name not in ("FL", "FR", "FC"))


@pytest.mark.parametrize(
    ("layout", "count", "expected"),
    [("5.1(side)", 6, "5.1(side)"), ("7.1", 8, "7.1"), ("quad", 4, "5.0"), ("6.1", 7, "7.1"), ("2.1", 3, "5.1"),
     ("7.1.4", 12, "stereo"), ("5.1.2", 8, "stereo"), ("6 channels", 6, "5.1"), ("8 channels", 8, "7.1"),
     ("5 channels", 5, "stereo"), ("", 1, "mono"), ("", 2, "stereo"),
     ("downmix", 2, "stereo"), ("1 channels (FL)", 1, "mono")],
)  # fmt: skip
def test_a_film_keeps_its_layout_or_gets_the_next_larger_one(layout: str, count: int, expected: str) -> None:
    assert layouts.carrier(layout, count) == expected
