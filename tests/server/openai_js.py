"""OpenAI's JavaScript client, where it is on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_FETCHED = Path(__file__).resolve().parents[2] / "build/node/node_modules"  # by scripts/test-tools.sh
# A folder that holds "openai"; read before tests clear it.
_PACKAGES = os.environ.get("POLYDUB_TEST_OPENAI_JS") or (str(_FETCHED) if (_FETCHED / "openai").is_dir() else "")


def run_js(folder: Path, program: str, *arguments: str) -> Any:
    """Runs a program in `folder` and gives the JSON that it writes last. Skips where there is no client."""
    node = shutil.which("node")
    if not (node and _PACKAGES and (Path(_PACKAGES) / "openai").is_dir()):
        pytest.skip("needs node and the openai package; POLYDUB_TEST_OPENAI_JS names the node_modules folder that holds it")
    (folder / "node_modules").symlink_to(_PACKAGES)
    (folder / "try.mjs").write_text(program)
    command = [node, "try.mjs", *arguments]
    ran = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])
