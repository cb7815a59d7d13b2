"""A speech engine that waits at some lines until a test lets it go on, or fails there: as a package of its own."""

from __future__ import annotations

import os
from pathlib import Path

PLUGIN = """
import re, time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from pydantic import Field
from polydub.engines.base import Options
from polydub.engines.tts import fake

class GatedOptions(Options):
    folder: str = Field("", description="where `go` and `well` are looked for", json_schema_extra={"identity": False})

class Gated(fake.FakeSpeech):
    folder = Path()
    def synthesize(self, part):
        with (self.folder / "asked").open("a") as told:
            told.write(part.text + "\\n")
        if re.search(HOLD, part.text):
            while not (self.folder / "go").exists():
                time.sleep(0.02)
        if re.search(FAIL, part.text) and not (self.folder / "well").exists():
            raise RuntimeError("failed on purpose")
        return super().synthesize(part)

@contextmanager
def load(options, weights, device):
    engine = Gated()
    engine.folder = Path(options.folder)
    yield engine

ENGINE = replace(fake.ENGINE, info=replace(fake.ENGINE.info, name="gated"), options=GatedOptions, load=load)
"""


def installed(folder: Path, hold: str = "(?!)", fail: str = "(?!)") -> dict[str, str]:
    """Installs it for programs with the environment that is given back. `hold`, `fail`: patterns of lines.

    Held lines wait for the file `go` in the engine's option `folder`; lines fail until there is a file `well`; every line
    that is asked for is written down in `asked`.
    """
    package = folder / "plugin"
    info = package / "gated_speech-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gated-speech\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[polydub.tts]\ngated = gated_speech:ENGINE\n")
    (package / "gated_speech.py").write_text(f"HOLD, FAIL = {hold!r}, {fail!r}\n{PLUGIN}")
    return {**os.environ, "PYTHONPATH": str(package)}
