"""NLLB-200 by the real CTranslate2 and SentencePiece on tiny random weights, in the environment `ctranslate2`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polydub.engines.base import Batch, Request
from polydub.engines.mt.nllb import ENGINE, NllbOptions
from polydub.errors import EngineFailed, UnsupportedLanguage

pytestmark = [pytest.mark.neural, pytest.mark.slow]
TEXTS = ("hello world my friend", "", "where is the cat", "...", "good day to you. the man is in the house.", "hello " * 300)


@pytest.fixture
def folder(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("ctranslate2", "nllb")


def batch(*texts: str, source: str = "en", target: str = "es") -> Batch:
    return Batch(source, target, tuple(Request(str(n), text) for n, text in enumerate(texts)))


def options(folder: Path, **values: Any) -> NllbOptions:
    return NllbOptions(model=str(folder), threads=1, max_length=24, **values)


def test_texts_keep_count_and_order_and_what_says_nothing_stays_as_it_is(folder: Path, open_engine: Any) -> None:
    with open_engine(ENGINE, options(folder), {}) as nllb:
        together = nllb.translate(batch(*TEXTS))
        alone = [nllb.translate(batch(text))[0] for text in TEXTS]
        assert len(together) == len(TEXTS) and together[1] == "" and together[3] == "..."
        assert all(together[n] for n in (0, 2, 4, 5))
        assert [together[n] for n in (0, 2)] == [alone[n] for n in (0, 2)]
        assert nllb.translate(batch(*TEXTS)) == together
        assert nllb.translate(batch()) == []


def test_the_languages_are_told_to_the_model_and_not_part_of_the_answer(folder: Path, open_engine: Any) -> None:
    with open_engine(ENGINE, options(folder), {}) as nllb:
        answers = {t: nllb.translate(batch("hello world my friend", target=t))[0] for t in ("es", "zh", "ar")}
        assert len(set(answers.values())) == 3, "the code of the target changes the answer"
        assert not [text for text in answers.values() if "_" in text or "<" in text]
        other = nllb.translate(batch("hello world my friend", source="ar"))
        assert other != [answers["es"]]
        assert nllb.translate(batch("hello world my friend", target="es-MX")) == [answers["es"]]


def test_a_language_that_its_vocabulary_lacks_is_refused(folder: Path, open_engine: Any) -> None:
    with open_engine(ENGINE, options(folder), {}) as nllb:
        with pytest.raises(UnsupportedLanguage, match=r"nllb has no French \(fr\)"):
            nllb.translate(batch("hello", target="fr"))
        with pytest.raises(UnsupportedLanguage, match="German"):
            nllb.translate(batch("hello", source="de"))
    known = ("en", "es", "zh", "ar")
    assert ENGINE.languages(options(folder)) == {f"{a}>{b}" for a in known for b in known if a != b}


def test_a_folder_with_a_tokenizer_json_gives_the_same(folder: Path, open_engine: Any, tmp_path: Path, python_of: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    program = f"""
import json, sentencepiece
from tokenizers import SentencePieceBPETokenizer, Tokenizer, models, pre_tokenizers, decoders
sp = sentencepiece.SentencePieceProcessor(model_file={str(copy / "sentencepiece.bpe.model")!r})
vocabulary = {{sp.id_to_piece(n): n for n in range(sp.vocab_size())}}
merges = []
for piece in sorted(vocabulary, key=vocabulary.get):
    if len(piece) > 1 and not piece.startswith("<"):
        splits = [(piece[:n], piece[n:]) for n in range(1, len(piece)) if piece[:n] in vocabulary and piece[n:] in vocabulary]
        merges += splits
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
tokenizer.save({str(copy / "tokenizer.json")!r})
"""
    subprocess.run([python_of("ctranslate2"), "-c", program], check=True)
    (copy / "sentencepiece.bpe.model").unlink()
    with open_engine(ENGINE, options(folder), {}) as first, open_engine(ENGINE, options(copy), {}) as second:
        assert first.translate(batch("where is the cat")) == second.translate(batch("where is the cat"))


def test_damaged_weights_are_one_sentence(folder: Path, open_engine: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "model.bin").write_bytes((copy / "model.bin").read_bytes()[:5000])
    with pytest.raises(EngineFailed, match="CTranslate2 cannot load copy"), open_engine(ENGINE, options(copy), {}):
        pass
    shutil.copy(folder / "model.bin", copy / "model.bin")
    (copy / "sentencepiece.bpe.model").write_bytes(b"nonsense")
    with pytest.raises(EngineFailed, match="no SentencePiece model"), open_engine(ENGINE, options(copy), {}):
        pass


def test_a_vocabulary_without_codes_is_no_nllb(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    words = [word for word in json.loads((copy / "shared_vocabulary.json").read_text()) if "_" not in word]
    (copy / "shared_vocabulary.json").write_text(json.dumps(words))
    assert "is no NLLB-200 model" in ENGINE.check(options(copy)).reason
