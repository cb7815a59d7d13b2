"""Tiny random translation models for CTranslate2: what the scripts nllb.py, opus_mt.py and argos.py write."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import sentencepiece
from ctranslate2.specs import model_spec, transformer_spec

SENTENCES = [
    "hello world my friend", "good day to you", "the man is in the house", "where is the cat", "hola mundo mi amigo",
    "buenos dias a todos", "el hombre esta en la casa", "el gato es negro",
]  # fmt: skip
WIDTH, INNER, POSITIONS = 32, 64, 512


def pieces(size: int = 80) -> bytes:
    """A SentencePiece model of the sentences."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=out, vocab_size=size, model_type="bpe", character_coverage=1.0,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2, num_threads=1,
    )  # fmt: skip
    return out.getvalue()


def words(model: bytes) -> list[str]:
    """Its pieces, without the marks."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(n) for n in range(3, processor.vocab_size())]


def write(folder: Path, vocabulary: list[str], *, normed_first: bool, adds_end: bool, seed: int = 0) -> None:
    """A transformer of two layers on each side."""
    activation = ctranslate2.specs.Activation.RELU
    spec = transformer_spec.TransformerSpec.from_config((2, 2), num_heads=2, pre_norm=normed_first, activation=activation)
    rng = np.random.default_rng(seed)

    def fill(owner: Any, path: str, value: Any) -> None:
        leaf = path.rpartition("/")[2]
        empty = value is None or ("position_encodings" in path and isinstance(value, str))
        if empty and leaf in {"weight", "bias", "gamma", "beta", "encodings"}:
            setattr(owner, leaf, _numbers(path, rng, len(vocabulary)))

    model_spec.visit_spec(spec, fill)
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    config = spec.config
    config.bos_token, config.eos_token, config.unk_token, config.decoder_start_token = "<s>", "</s>", "<unk>", "</s>"
    config.add_source_eos = adds_end
    folder.mkdir(parents=True, exist_ok=True)
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))


def _numbers(path: str, rng: np.random.Generator, vocabulary: int) -> Any:
    """An array of the shape that a weight's path asks for."""
    if path.endswith("gamma"):
        return np.ones(WIDTH, np.float32)
    if path.endswith("beta"):
        return np.zeros(WIDTH, np.float32)
    rows, columns = WIDTH, WIDTH
    if "position_encodings" in path:
        rows = POSITIONS
    elif "embeddings" in path or "projection/" in path:
        rows = vocabulary
    elif "ffn/linear_0" in path:
        rows = INNER
    elif "ffn/linear_1" in path:
        columns = INNER
    elif "self_attention/linear_0" in path:
        rows = 3 * WIDTH
    elif "/attention/linear_1" in path:  # of the decoder to the encoder: keys and values
        rows = 2 * WIDTH
    return rng.normal(0, 0.3, (rows,) if path.endswith("bias") else (rows, columns)).astype(np.float32)
