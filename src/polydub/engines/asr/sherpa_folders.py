"""Which family of models a folder for sherpa-onnx holds, and whether that library would survive loading it.

Its C++ code ends the process when a fact that it wants is not in a model's metadata, or is no number; so all that it reads
is looked at before (k2-fsa/sherpa-onnx, csrc/offline-*-model.cc).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from polydub.engines.onnx_facts import metadata
from polydub.errors import EngineFailed, MissingWeights

Family = Literal["nemo-transducer", "transducer", "nemo-ctc", "sense-voice", "moonshine", "whisper"]
HINT = "take a model for offline recognition from https://github.com/k2-fsa/sherpa-onnx/releases/tag/asr-models"
ROLES = ("uncached_decode", "cached_decode", "preprocess", "joiner", "encode", "decode", "model")  # parts of file names
WANTED: Mapping[Family, tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = {  # role, numbers, other facts
    "nemo-transducer": (
        ("encode", ("vocab_size", "subsampling_factor", "pred_rnn_layers", "pred_hidden"), ("normalize_type",)),
        ("decode", (), ()),
        ("joiner", (), ()),
    ),
    "transducer": (("encode", (), ()), ("decode", ("vocab_size", "context_size"), ()), ("joiner", (), ())),
    "nemo-ctc": (("model", ("vocab_size", "subsampling_factor"), ("normalize_type",)),),
    "sense-voice": (
        (
            "model",
            (
                *("vocab_size", "lfr_window_size", "lfr_window_shift", "normalize_samples", "with_itn", "without_itn"),
                *("lang_auto", "lang_zh", "lang_en", "lang_ja", "lang_ko", "lang_yue"),
            ),
            ("neg_mean", "inv_stddev"),
        ),
    ),
    "moonshine": (("preprocess", (), ()), ("encode", (), ()), ("uncached_decode", (), ()), ("cached_decode", (), ())),
    "whisper": (
        (
            "encode",
            (
                *("n_mels", "n_text_layer", "n_text_ctx", "n_text_state", "n_vocab", "sot", "eot", "blank_id", "translate"),
                *("transcribe", "is_multilingual", "no_timestamps", "no_speech"),
            ),
            ("sot_sequence",),
        ),
        ("decode", (), ()),
    ),
}


@dataclass(frozen=True, slots=True)
class Model:
    """A folder that can be loaded. Attributes: files: by role. facts: metadata of its first file."""

    family: Family
    files: Mapping[str, Path]
    tokens: Path
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


def inspected(folder: Path) -> Model:
    """The model in a folder. Raises: MissingWeights: files are not there; EngineFailed: they are damaged or of no use."""
    files = _files(folder)
    tokens = next(iter(sorted(folder.glob("*tokens.txt"))), None)
    if not files or tokens is None:
        lacking = "tokens.txt" if files else "*.onnx"
        raise MissingWeights(f"{folder.name} lacks {lacking}", "pull the weights again, or give the folder of a whole model")
    facts = {role: _facts(folder, path) for role, path in files.items()}
    family = _family(folder, facts)
    for role, numbers, others in WANTED[family]:
        if role not in files:
            raise MissingWeights(f"{folder.name} lacks its {role} model", "pull the weights again")
        known = facts[role]
        wrong = [name for name in numbers if not known.get(name, "").isdecimal()] + [n for n in others if n not in known]
        if wrong:
            raise EngineFailed(f"{files[role].name} of {folder.name} does not tell {', '.join(wrong)}", HINT)
    first = WANTED[family][0][0]
    _check_tokens(tokens, facts[first].get("vocab_size", "0"))
    return Model(family, files, tokens, facts[first])


def _files(folder: Path) -> dict[str, Path]:
    """The ONNX files by what they do; of several that do the same, the one in 8-bit numbers."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.onnx"), key=lambda path: (".int8." not in path.name, path.name)):
        role = next((role for role in ROLES if role in path.name.lower()), "")
        if role and role not in found:
            found[role] = path
    return found


def _facts(folder: Path, path: Path) -> Mapping[str, str]:
    try:
        return metadata(path)
    except (OSError, ValueError) as error:
        raise EngineFailed(f"{path.name} of {folder.name} is damaged", "pull the weights again") from error


def _family(folder: Path, facts: Mapping[str, Mapping[str, str]]) -> Family:
    encoder, alone = facts.get("encode", {}), facts.get("model", {})
    if {"preprocess", "uncached_decode"} & set(facts):
        return "moonshine"
    if "joiner" in facts:
        if "decode_chunk_len" in encoder or "cache_last_channel_dim1" in encoder:
            raise EngineFailed(f"{folder.name} holds a streaming model", HINT)
        return (
            "nemo-transducer"
            if {"pred_rnn_layers", "pred_hidden"} & set(encoder) or "EncDec" in _kind(encoder)
            else "transducer"
        )
    if "encode" in facts and "decode" in facts:
        if "n_mels" in encoder:
            return "whisper"
    elif "lfr_window_size" in alone or "sense_voice" in _kind(alone):
        return "sense-voice"
    elif "subsampling_factor" in alone or "EncDec" in _kind(alone):
        return "nemo-ctc"
    kind = _kind(encoder) or _kind(alone) or "unknown"
    raise EngineFailed(f"{folder.name} holds a model of type {kind}, which is not one of {', '.join(WANTED)}", HINT)


def _kind(facts: Mapping[str, str]) -> str:
    return facts.get("model_type", "")


def _check_tokens(path: Path, vocabulary: str) -> None:
    """Each line is a symbol and its number. Raises: EngineFailed."""
    try:
        numbers = [int(line.split()[-1]) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise EngineFailed(f"{path.name} is damaged", "pull the weights again") from error
    if not numbers or max(numbers) + 1 < int(vocabulary or 0):
        raise EngineFailed(f"{path.name} has {len(numbers)} symbols, its model {vocabulary}", "pull the weights again")
