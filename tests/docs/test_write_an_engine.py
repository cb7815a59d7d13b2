"""The engine of `docs/how-to/write-an-engine.md` is as short as the page says, and works: also in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from polydub.sample import SampleFiles

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "write-an-engine.md").read_text(encoding="utf-8")
POLYDUB = [sys.executable, "-c", "from polydub.cli import main; main()"]
OWN_PROCESS = """
import sys
from pathlib import Path
from polydub.engines import environments, registry
from polydub.engines.opening import opened
from polydub.types import Part, Voice
engine = registry.get("tts", "sine")
python = environments.find(engine.environment, Path("nowhere")) if engine.environment else None
with opened(engine, engine.options(), {"sine-notes": Path(sys.argv[1])}, "cpu", python) as sine:
    print(type(sine).__name__, [voice.name for voice in sine.voices("en")])
    sound = sine.synthesize(Part("Hello, hello, hello.", "en", Voice("sine", "low", "en")))
    spectrum = abs(__import__("numpy").fft.rfft(sound.samples[0]))
    print(round(float(spectrum.argmax()) * sound.rate_hz / sound.samples.shape[1]))
"""


def blocks(language: str) -> list[str]:
    """The code blocks of a language in the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(command: Sequence[str], engine: Path, folder: Path, more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**kept, "PYTHONPATH": str(engine), **more}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)


def install(folder: Path, code: str) -> Path:
    """`folder` with the module and the facts that pip writes of the page's project."""
    folder.mkdir()
    project = tomllib.loads(blocks("toml")[0])["project"]
    facts = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    entries = [f"[{group}]\n{name} = {value}\n" for group, rows in groups for name, value in rows.items()]
    (facts / "entry_points.txt").write_text("\n".join(entries))
    (folder / "polydub_sine.py").write_text(code)
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """The engine of section 1."""
    return install(tmp_path / "engine", blocks("python")[0])


@pytest.fixture
def engine_apart(tmp_path: Path) -> Path:
    """The engine of section 5, with weights and an environment."""
    return install(tmp_path / "engine", "\n".join(blocks("python")))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The folder of models, with what the page says to put there."""
    folder = tmp_path / "models" / "sine-notes"
    folder.mkdir(parents=True)
    (folder / "notes.json").write_text(blocks("json")[0])
    return folder.parent


def test_it_has_25_lines() -> None:
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert "25\nlines" in PAGE and len(lines) == 25


@pytest.mark.slow
def test_it_passes_the_conformance_suite(engine: Path) -> None:
    suite = ["-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist", "tests/engines/test_conformance.py", "-k", "sine"]
    ran = run([sys.executable, *suite], engine, ROOT, {})
    assert ran.returncode == 0, ran.stdout
    assert int(re.search(r"(\d+) passed", ran.stdout)[1]) >= 8  # type: ignore[index]


def test_it_speaks_as_its_option_says(engine: Path, tmp_path: Path) -> None:
    ran = run(
        [*POLYDUB, "speak", "Hello.", "--to", "en", "--tts", "sine,pitch_hz=330", "--out", "hello.wav"], engine, tmp_path, {}
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "hello.wav").stat().st_size > 10_000
    ran = run([*POLYDUB, "speak", "Hello.", "--to", "en", "--tts", "sine,pitch_hz=3", "--out", "no.wav"], engine, tmp_path, {})
    assert ran.returncode == 3 and "pitch_hz" in ran.stderr


@pytest.mark.slow
def test_it_dubs_a_film(engine: Path, sample: SampleFiles, tmp_path: Path) -> None:
    for source, name in ((sample.video, "talk.mkv"), (sample.transcript, "talk.en.srt"), (sample.translation, "talk.es.srt")):
        copy(source, tmp_path / name)
    given = ["--to", "es", "--transcript", "talk.en.srt", "--translation", "talk.es.srt", "--tts", "sine"]
    ran = run([*POLYDUB, "dub", "talk.mkv", *given], engine, tmp_path, {})
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "Output" / "talk" / "dub.es.mkv").stat().st_size > 10_000


def test_without_its_weights_it_is_told_how_to_get_them(engine_apart: Path, tmp_path: Path) -> None:
    models = {"POLYDUB_MODELS": str(tmp_path / "none")}
    ran = run(
        [*POLYDUB, "speak", "Hello.", "--to", "en", "--tts", "sine", "--out", "hello.wav"], engine_apart, tmp_path, models
    )
    assert ran.returncode == 4 and "polydub models pull sine-notes" in ran.stderr


def test_its_weights_are_those_that_the_page_pins(engine_apart: Path, models: Path, tmp_path: Path) -> None:
    ran = run([*POLYDUB, "models", "verify", "sine-notes", "--models", str(models)], engine_apart, tmp_path, {})
    assert (ran.returncode, ran.stdout) == (0, "sine-notes: ok\n"), ran.stderr
    (models / "sine-notes" / "notes.json").write_text('{"low": 130, "high": 262}\n')
    ran = run([*POLYDUB, "models", "verify", "sine-notes", "--models", str(models)], engine_apart, tmp_path, {})
    assert ran.returncode == 6 and "damaged" in ran.stdout


def test_with_an_environment_it_speaks_in_a_process_of_its_own(engine_apart: Path, models: Path, tmp_path: Path) -> None:
    ran = run([sys.executable, "-c", OWN_PROCESS, str(models / "sine-notes")], engine_apart, tmp_path, {})
    assert ran.returncode == 0, ran.stderr
    process, pitch_hz = ran.stdout.splitlines()
    assert process.startswith("Sidecar ['low', 'high']")
    assert abs(int(pitch_hz) - 131) <= 2, "the pitch is that of its weights"
    command = [*POLYDUB, "speak", "Hello.", "--to", "en", "--tts", "sine", "--out", "hello.wav"]
    ran = run(command, engine_apart, tmp_path, {"POLYDUB_MODELS": str(models)})
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "hello.wav").stat().st_size > 10_000
