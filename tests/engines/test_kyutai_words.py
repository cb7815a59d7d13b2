"""Kyutai STT as far as it goes without its environment: words from tokens, languages, folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from polydub.engines.asr.kyutai import ENGINE, MODELS, KyutaiOptions
from polydub.engines.asr.kyutai_words import FRAME_S, Frame, Spelling, likelier, words_of
from polydub.errors import EngineFailed, Missing
from polydub.types import Word

END, PAD = 0, 3
PIECES = {4: "▁hello", 5: "▁wor", 6: "ld", 7: "▁", 8: "42", 9: "▁café", 10: "\ufffd"}
SPELLING = Spelling(PAD, 10, PIECES.__getitem__, lambda ids: "".join(PIECES[id] for id in ids).replace("▁", " "))


def heard(ids: Sequence[int], delay_s: float = 0.0, sure: float = 0.8) -> list[Word]:
    return list(words_of((Frame(n, id, sure) for n, id in enumerate(ids, 1)), SPELLING, delay_s))


def test_a_word_begins_with_its_first_piece_less_the_delay() -> None:
    ids = [PAD] * 10 + [4, PAD, PAD, END, 5, 6, *[PAD] * 12, 4]
    found = heard(ids, delay_s=0.5)
    assert [word.text for word in found] == ["hello", "world", "hello"]
    assert [word.start for word in found] == pytest.approx([10 * FRAME_S - 0.5, 14 * FRAME_S - 0.5, 28 * FRAME_S - 0.5])


def test_a_word_ends_before_the_next_begins_and_after_all_its_pieces() -> None:
    first, second, third = heard([4, 5, 6, *[PAD] * 30, 9])
    assert first.end == second.start
    assert second.start + 2 * FRAME_S <= second.end < third.start - 1
    assert third.end - third.start == pytest.approx(second.end - second.start, abs=0.15)


def test_pieces_of_one_word_are_joined_and_the_least_known_lowers_its_confidence() -> None:
    frames = [Frame(1, 5, 0.9), Frame(2, 6, 0.4), Frame(3, 7, 0.9), Frame(4, 8, 0.9)]
    found = list(words_of(frames, SPELLING, 0.0))
    assert [word.text for word in found] == ["world", "42"]
    assert found[0].confidence == pytest.approx(0.6, abs=0.001) and found[1].confidence == pytest.approx(0.9)


def test_tokens_that_are_no_text_and_broken_characters_are_no_words() -> None:
    assert heard([END, PAD, 1, 2, 11, 99, 10, PAD]) == []
    assert heard([]) == []


def test_a_word_comes_out_before_the_sound_is_over() -> None:
    asked: list[int] = []

    def frames() -> Iterator[Frame]:
        for n, id in enumerate([4, *[PAD] * 100], 1):
            asked.append(n)
            yield Frame(n, id, 1.0)

    assert next(words_of(frames(), SPELLING, 0.0)).text == "hello"
    assert len(asked) < 10


def test_the_language_is_told_by_the_commonest_words() -> None:
    assert likelier(["The", "cat", "that", "you", "have", "is", "not", "with", "us", "and", "it", "was", "late"])[0] == "en"
    tag, share = likelier(["le", "chat", "que", "vous", "avez", "est", "dans", "la", "maison", "avec", "les", "enfants"])
    assert tag == "fr" and share > 0.9
    assert likelier(["le"]) == ("fr", 0.2)
    assert likelier([]) == likelier(["xyz", "..."]) == ("und", 0.0)


def write_folder(folder: Path, **config: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "kyutai_speech_to_text", "vocab_size": 4001, **config}))
    for name in ("preprocessor_config.json", "tokenizer.json", "model.safetensors.index.json"):
        (folder / name).write_text("{}")
    return folder


def test_models_and_folders_have_their_languages(tmp_path: Path) -> None:
    assert ENGINE.languages(KyutaiOptions()) == {"en", "fr"}
    assert ENGINE.languages(KyutaiOptions(model="stt-2.6b-en")) == {"en"}
    assert ENGINE.languages(KyutaiOptions(model=str(write_folder(tmp_path / "a")))) == {"en"}
    assert ENGINE.languages(KyutaiOptions(model=str(write_folder(tmp_path / "b", vocab_size=8001)))) == {"en", "fr"}
    assert ENGINE.languages(KyutaiOptions(model=str(tmp_path / "nowhere"))) == frozenset()


def test_known_models_need_weights_of_the_transformers_layout() -> None:
    for name in MODELS:
        (weight,) = ENGINE.weights(KyutaiOptions(model=name))
        assert weight.source.endswith("-trfs") and weight.bytes > 1e9 and weight.patterns
    assert all(sorted(models) == sorted(MODELS) for models in ENGINE.models.values())


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_an_incomplete_folder_is_refused_before_anything_is_imported(tmp_path: Path, name: str) -> None:
    options = KyutaiOptions(model=str(write_folder(tmp_path / "folder")))
    assert ENGINE.check(options).ready
    (tmp_path / "folder" / name).unlink()
    available = ENGINE.check(options)
    assert not available.ready and "folder lacks" in available.reason and available.fix
    with pytest.raises(Missing, match="folder lacks"), ENGINE.load(options, {}, "cpu"):
        pass


@pytest.mark.parametrize("text", ['{"model_type": "whisper"}', '{"card": 2048}', "[]", "{", ""])
def test_a_folder_of_another_model_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_folder(tmp_path / "folder")
    (folder / "config.json").write_text(text)
    options = KyutaiOptions(model=str(folder))
    available = ENGINE.check(options)
    assert not available.ready and "folder" in available.reason and available.fix
    with pytest.raises(EngineFailed, match="folder"), ENGINE.load(options, {}, "cpu"):
        pass


def test_the_identity_of_a_folder_is_its_content(tmp_path: Path) -> None:
    one, other = (ENGINE.version(KyutaiOptions(model=str(write_folder(tmp_path / name)))) for name in "ab")
    assert one == other != ""
    (tmp_path / "b/tokenizer.json").write_text("{ }")
    assert ENGINE.version(KyutaiOptions(model=str(tmp_path / "b"))) != one
    assert KyutaiOptions(threads=3).identity() == KyutaiOptions().identity()
