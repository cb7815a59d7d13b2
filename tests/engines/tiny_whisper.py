"""A whisper model of half a megabyte with random weights, in the folder layout that faster-whisper loads.

It runs the real code of faster-whisper and CTranslate2 in a fraction of a second. What it says is nonsense: a bias on its
output layer makes it choose among a few words and the time marks, the same ones every time for the same sound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import model_spec, whisper_spec
from faster_whisper.tokenizer import _LANGUAGE_CODES  # pyright: ignore[reportPrivateUsage]
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WORDS = ("hello", "world", "the", "good", "day", "my", "friend", "yes", "no", ".", ",")
WIDTH, HIDDEN, HEADS = 16, 32, 2
WINDOW, CONTEXT = 1500, 448  # positions of encoder and decoder
TIME_MARKS = 1501  # 0.00 s to 30.00 s in steps of 0.02 s
STRAY_BYTES = ("è", "ģ", "Ĥ")  # byte symbols that are no whole character: they decode to U+FFFD

Shape = Callable[[str], Any]


def write_tiny_whisper(
    folder: Path, words: Sequence[str] = WORDS, *, languages: Sequence[str] = _LANGUAGE_CODES, seed: int = 0, mels: int = 80
) -> Path:
    """Writes the model into `folder`, which it returns. Without languages it is an English-only model."""
    tokenizer = _tokenizer(words, languages)
    size, number = tokenizer.get_vocab_size(), tokenizer.token_to_id
    spec: Any = whisper_spec.WhisperSpec(1, HEADS, 2, HEADS)
    _fill(spec, _shapes(np.random.default_rng(seed), size, mels))
    bias = np.full(size, -4.0, np.float32)
    bias[[number(_spelt(word)) for word in words]] = 3.0
    bias[number("<|0.00|>") :] = 0.0
    spec.decoder.projection.bias = bias
    spec.register_vocabulary([tokenizer.id_to_token(n) for n in range(size)])
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], [number("<|endoftext|>")]
    spec.config.lang_ids = [number(f"<|{code}|>") for code in languages]
    spec.config.alignment_heads = [[0, 0], [1, 1]]
    folder.mkdir(parents=True, exist_ok=True)
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    features = {"feature_size": mels, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400, "chunk_length": 30}
    (folder / "preprocessor_config.json").write_text(json.dumps(features), encoding="utf-8")
    return folder


def _spelt(word: str) -> str:
    """The token of a word: with the blank before it, unless it is a mark or a byte."""
    return word if len(word) == 1 else f"Ġ{word}"


def _tokenizer(words: Sequence[str], languages: Sequence[str]) -> Tokenizer:
    """Byte-level BPE in Whisper's order: bytes, words, markers, languages, tasks, time marks."""
    vocabulary = {symbol: n for n, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in words:
        spelt = _spelt(word)
        for end in range(2, len(spelt) + 1):
            if spelt[:end] not in vocabulary:
                vocabulary[spelt[:end]] = len(vocabulary)
                merges.append((spelt[: end - 1], spelt[end - 1]))
    if languages:
        vocabulary[""] = len(vocabulary)  # by this CTranslate2 knows a multilingual model
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tasks = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    marks = ("endoftext", "startoftranscript", *languages, *tasks)
    tokenizer.add_special_tokens([AddedToken(f"<|{mark}|>", special=True, normalized=False) for mark in marks])
    tokenizer.add_tokens([AddedToken(f"<|{n * 0.02:.2f}|>", normalized=False) for n in range(TIME_MARKS)])
    return tokenizer


def _fill(spec: Any, shape_of: Shape) -> None:
    """Gives every empty weight of a CTranslate2 specification an array."""

    def put(owner: Any, path: str, value: Any) -> None:
        leaf = path.rpartition("/")[2]
        empty = value is None or ("position_encodings" in path and isinstance(value, str))
        if empty and leaf in ("weight", "bias", "gamma", "beta", "encodings"):
            setattr(owner, leaf, shape_of(path))

    model_spec.visit_spec(spec, put)


def _shapes(rng: np.random.Generator, vocabulary: int, mels: int) -> Shape:
    """Random arrays of the shapes that the paths of a small whisper ask for."""
    rows = {
        "projection/": vocabulary,
        "ffn/linear_0": HIDDEN,
        "self_attention/linear_0": 3 * WIDTH,
        "attention/linear_1": 2 * WIDTH,
    }

    def random(*shape: int) -> Any:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    def shape_of(path: str) -> Any:
        if path.endswith(("gamma", "beta")):
            return np.full(WIDTH, float(path.endswith("gamma")), np.float32)
        if "position_encodings" in path:
            return random(WINDOW if path.startswith("encoder") else CONTEXT, WIDTH)
        if "embeddings" in path:
            return random(vocabulary, WIDTH)
        if "conv" in path:
            return random(WIDTH, mels if "conv1" in path else WIDTH, 3) if path.endswith("weight") else random(WIDTH)
        # linear_1 of the attention on itself is its output; of that on the encoder, keys and values
        of_itself = "self_attention/linear_1" in path
        out = WIDTH if of_itself else next((n for part, n in rows.items() if part in path), WIDTH)
        return random(out, HIDDEN if "ffn/linear_1" in path else WIDTH) if path.endswith("weight") else random(out)

    return shape_of
