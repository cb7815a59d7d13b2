"""A font for every text, or a plain word about which characters have none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_font import write_collection, write_font

from polydub.errors import BadSettings, Missing
from polydub.media.fonts import find_font


@pytest.mark.parametrize("characters", ["中文", "Ab中", "a𠀀b"])
def test_a_given_font_with_every_character_is_taken(tmp_path: Path, characters: str) -> None:
    font = write_font(tmp_path / "my font.ttf", "Tiny Sans", characters)
    found = find_font(characters + " \n\u200f\u00a0", "zh", font)
    assert (found.face.path, found.face.family, found.face.style, found.without) == (font, "Tiny Sans", "Regular", "")


@pytest.mark.parametrize("characters", ["Ab", "A𠀀"])
def test_a_given_font_without_the_script_is_refused_with_what_it_lacks(tmp_path: Path, characters: str) -> None:
    font = write_font(tmp_path / "tiny.ttf", "Tiny Sans", characters)
    with pytest.raises(BadSettings, match="has no 中文 \\(Chinese/Japanese/Korean\\)"):
        find_font("A中文", "zh", font)


def test_symbols_that_a_font_lacks_are_told_and_no_error(tmp_path: Path) -> None:
    font = write_font(tmp_path / "tiny.ttf", "Tiny Sans", "Ab")
    assert find_font("Ab ♪😀", "en", font).without == "♪😀"


def test_an_accented_letter_may_be_written_in_two_characters(tmp_path: Path) -> None:
    font = write_font(tmp_path / "tiny.ttf", "Tiny Sans", "é")
    assert find_font("e\u0301", "fr", font).without == ""


def test_the_face_of_a_collection_is_that_of_the_language(tmp_path: Path) -> None:
    single = [write_font(tmp_path / f"{n}.ttf", f"Tiny Sans CJK {n}", "骨A") for n in ("HK", "JP", "KR", "SC", "TC")]
    collection = write_collection(tmp_path / "all.ttc", single)
    for language, family in (("ja", "JP"), ("ko", "KR"), ("zh", "SC"), ("yue", "HK")):
        assert find_font("骨", language, collection).face.family == f"Tiny Sans CJK {family}"


@pytest.mark.parametrize(
    "content", [b"", b"not a font at all, but text", b"\0\1\0\0\0\x40" + b"\xff" * 500, b"ttcf\0\1\0\0\xff\xff\xff\xff"]
)
def test_what_is_no_font_is_refused(tmp_path: Path, content: bytes) -> None:
    font = tmp_path / "x.ttf"
    font.write_bytes(content)
    with pytest.raises(BadSettings, match="not a font"):
        find_font("A", "en", font)


def test_a_font_cut_off_anywhere_is_refused_and_never_a_crash(tmp_path: Path) -> None:
    whole = write_font(tmp_path / "whole.ttf", "Tiny Sans", "Ab").read_bytes()
    font = tmp_path / "cut.ttf"
    for length in range(0, len(whole) - 1, 7):
        font.write_bytes(whole[:length])
        try:
            find_font("Ab", "en", font)
        except BadSettings:
            continue


def test_characters_that_no_font_of_the_system_has_name_a_package_to_install() -> None:
    with pytest.raises(Missing, match="no font of this system") as caught:
        find_font("\U0001ffff\U000e1234A\U00012000\U00014646", "und")  # cuneiform and Anatolian hieroglyphs
    assert "apt install fonts-noto-core" in caught.value.hint
    assert "--font" in caught.value.hint
