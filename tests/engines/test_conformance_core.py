"""The core stays light: polydub itself and its help load no engine's libraries, and its install brings no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conformity import ROWS, usable

from polydub.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
# What engines import when they work; those that the core has are heavy, too.
HEAVY = frozenset(
    {"torch", "torchaudio", "torchcodec", "transformers", "diffusers", "tokenizers", "safetensors", "lightning", "accelerate"}
    | {"onnxruntime", "ctranslate2", "sentencepiece", "faster_whisper", "huggingface_hub", "tensorflow", "jax", "numba"}
    | {"TTS", "chatterbox", "perth", "piper", "kokoro_onnx", "sherpa_onnx", "pyannote", "demucs", "audio_separator"}
    | {"librosa", "scipy", "soundfile", "av", "cv2", "pocketsphinx", "httpx", "clarabel"}
)
# Names that somebody asked for count, though nothing of that name be installed here.
WATCHED = """
import sys
asked = set()
class Watch:
    def find_spec(self, name, path=None, target=None):
        asked.add(name.partition(".")[0])
sys.meta_path.insert(0, Watch())
import json
{work}
print(json.dumps(sorted(asked & set(json.loads(sys.argv[1])))))
"""
HELP = """
import contextlib, io
from polydub.cli import run
for words in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert run([*words, "--help"]) == 0
    assert "Usage" in told.getvalue(), words
"""
LOOK = """
from polydub.engines import registry
from polydub.engines.base import KINDS
assert all(registry.engines(kind) for kind in KINDS if kind not in ("faces", "lipsync"))
"""


def watched(work: str, *arguments: str) -> list[str]:
    """Which of HEAVY a program asks for."""
    heavy = sorted(HEAVY | {name.partition(".")[0] for name in _modules()})
    command = [sys.executable, "-c", WATCHED.format(work=work), json.dumps(heavy), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def _modules() -> set[str]:
    """What tells that an environment is there."""
    return {engine.environment.module for engine in (usable(*row) for row in ROWS) if engine.environment}


def test_importing_polydub_asks_for_no_library_of_an_engine() -> None:
    assert watched("import polydub") == []


def test_the_watch_sees_also_what_is_not_installed() -> None:
    work = "import scipy\ntry:\n    import TTS\nexcept ImportError:\n    pass"
    assert {"scipy", "TTS"} <= set(watched(work))


def test_no_help_asks_for_a_library_of_an_engine() -> None:
    assert watched(HELP, json.dumps([[], *([name] for name in COMMANDS)])) == []


def test_looking_at_all_engines_asks_for_none_of_their_libraries() -> None:
    assert watched(LOOK) == []


@pytest.mark.parametrize("part", ["core", "build"])
def test_the_core_brings_no_torch_and_nothing_that_needs_it(part: str) -> None:
    text = (ROOT / "requirements" / f"{part}.txt").read_text("utf-8")
    named = {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}
    assert named, "the file names packages"
    assert not {name for name in named if name.startswith(("torch", "nvidia", "triton", "tensorflow", "jax"))}
    assert not named & {"transformers", "diffusers", "coqui-tts", "chatterbox-tts", "pyannote-audio", "demucs", "lightning"}
