"""Chatterbox on random weights with its real library, beside a numpy that polydub itself cannot live with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polydub.engines.sidecar.host import opened
from polydub.engines.tts.chatterbox import ENGINE, ChatterboxOptions
from polydub.errors import MissingWeights

pytestmark = [pytest.mark.neural, pytest.mark.slow]
RUN = Path(__file__).resolve().parent / "tiny/chatterbox_run.py"


def test_it_speaks_and_clones_with_its_watermark_and_without_a_network(python_of: Callable[[str], Path]) -> None:
    run = subprocess.run([python_of("chatterbox"), "-s", RUN], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout.splitlines()[-1])
    first, again, other = told["said"]
    for sound in (first, other):
        assert sound["rate"] == 24_000 and sound["finite"] and 0 < sound["peak"] <= 1
        assert sound["seconds"] == pytest.approx(30 * 0.04, abs=0.1)
    assert first == again and first["digest"] != other["digest"]
    assert told["watermark"] == "PerthImplicitWatermarker" and told["voices"] == 0
    assert told["blank"]["seconds"] == 0
    assert "still speaking" in told["endless"]["error"]
    assert told["versions"]["numpy"].startswith("1.") and np.__version__.startswith("2.")


def test_its_process_answers_though_its_numpy_is_another(tmp_path: Path, python_of: Callable[[str], Path]) -> None:
    options = ChatterboxOptions(model=str(tmp_path))
    with pytest.raises(MissingWeights, match=r"ve\.safetensors"), opened(ENGINE, options, {}, "cpu", python_of("chatterbox")):
        pass
