"""What the pages say is true: nothing is missing from the reference, commands run, links lead somewhere, examples work."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING

import click
import imageio_ffmpeg
import pytest

from polydub import config, errors
from polydub.cli.app import COMMANDS, app
from polydub.config import flags
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines import registry
from polydub.engines.base import KINDS
from polydub.engines.pool import EnginePool

if TYPE_CHECKING:
    from polydub.sample import SampleFiles

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def each_page(*pages: Path) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages or PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def first_column(page: Path) -> set[str]:
    """The code words in the first column of all tables of a page."""
    return set(re.findall(r"^\| `([^`]+)`", page.read_text(encoding="utf-8"), flags=re.MULTILINE))


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "docs_gen.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL, check=False
    )


# The reference


def test_the_generated_pages_are_up_to_date() -> None:
    ran = generate("--check")
    assert ran.returncode == 0, ran.stderr


def test_a_stale_page_is_noticed_and_named(tmp_path: Path) -> None:
    assert generate("--folder", str(tmp_path)).returncode == 0
    assert generate("--folder", str(tmp_path), "--check").returncode == 0
    (tmp_path / "cli.md").write_text("old")
    ran = generate("--folder", str(tmp_path), "--check")
    assert ran.returncode == 1 and "cli.md" in ran.stderr


def test_every_setting_is_documented() -> None:
    assert {flag.key for flag in flags()} <= first_column(REFERENCE / "settings.md")


def test_every_error_is_documented() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.PolydubError)]
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    for error in classes:
        assert f"| `{error.code}` | {error.__name__} | {error.exit_status} |" in text
        assert re.search(rf"^\| {error.exit_status} \|", text, flags=re.MULTILINE)


def test_every_command_is_documented() -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert all(f"\n## polydub {name}\n" in text for name in COMMANDS)


def test_every_engine_and_its_options_are_documented() -> None:
    text = (REFERENCE / "engines.md").read_text(encoding="utf-8")
    for kind in KINDS:
        for name, engine in registry.engines(kind).items():
            assert not isinstance(engine, registry.Broken), engine
            if not engine.load.__module__.startswith("polydub."):
                continue  # of another package
            section = text.partition(f"\n## {kind} {name}\n")[2].partition("\n## ")[0]
            assert all(f"| `{option}` |" in section for option in engine.options.model_fields), name
            assert engine.info.licence in section


def notice_codes(source: str) -> Iterator[str]:
    """First arguments of `Notice(...)`; where that is a name, every kebab-case text of the function around it."""
    for function in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)):
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call) and ast.unparse(n.func) == "Notice"):
            if call.args and isinstance(call.args[0], ast.Constant):
                yield str(call.args[0].value)
            else:
                texts = [n.value for n in ast.walk(function) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                yield from (text for text in texts if re.fullmatch(r"[a-z]+(-[a-z]+)+", text))


def test_the_notices_of_the_source_and_of_the_page_are_the_same() -> None:
    found = {code for file in (ROOT / "src").rglob("*.py") for code in notice_codes(file.read_text(encoding="utf-8"))}
    assert found == first_column(REFERENCE / "notices.md")


def test_the_old_flags_of_the_page_are_those_that_work() -> None:
    rows = re.findall(r"^\| `(--[a-z-]+)` \| `(--[a-z-]+)` \|$", (DOCS / "migrating.md").read_text("utf-8"), flags=re.MULTILINE)
    command = app.get_command(click.Context(app), "dub")
    assert command is not None
    several = [option.opts for option in command.params if option.opts[0].startswith("--")]
    assert dict(rows) == {old: name for name, *others in several for old in others}


def test_every_file_that_a_dub_leaves_is_in_the_page_on_outputs(clip: Callable[..., Path], tmp_path: Path) -> None:
    film = clip("talk")
    (tmp_path / "talk.en.srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nHello there.\n")
    wanted = {"to": "es", "output": str(tmp_path / "out"), "tts": "fake", "mt": "fake", "subs_format": "srt,vtt,ass"}
    loaded = config.load(wanted, job=None, environ={}, cwd=tmp_path, user_file=None)
    pool = EnginePool()
    try:
        dub_film(Job(film, tmp_path / "talk.en.srt"), loaded, pool, Ears(debug=True))
    finally:
        pool.close()
    page = (REFERENCE / "outputs.md").read_text(encoding="utf-8")
    folder = tmp_path / "out" / "talk"
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert "dub.es.mkv" in left and "debug/segments/1.json" in left
    named = {name.removesuffix(".vtt").removesuffix(".ass") for name in left}
    known = {*re.findall(r"`([^`\s]+)`", page), "debug/segments/1.json", "subs/talk.es", "subs/talk.en"}
    assert named <= known


# Links and pictures


def anchors(page: Path) -> set[str]:
    """The names by which headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page()
def test_links_lead_somewhere(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_can_be_reached_from_the_front_page() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
        todo += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert {page for page in PAGES if page.is_relative_to(DOCS)} <= seen


def test_the_pictures_are_small_and_whole() -> None:
    drawing = DOCS / "images" / "report.svg"
    assert ET.parse(drawing).getroot().tag.endswith("svg")
    assert "http" not in drawing.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
    screenshot = (DOCS / "images" / "report.png").read_bytes()
    assert screenshot.startswith(b"\x89PNG") and len(screenshot) < 300_000


# Commands


def shown_commands(page: Path) -> Iterator[str]:
    """Command lines in code blocks and between backquotes."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)) + "\n"
    blocks += "\n".join(re.findall(r"^    (?! )(polydub .*)$", text, re.MULTILINE))
    spans = re.findall(r"`(polydub [^`]+)`", CODE.sub("", text))
    if page.name == "cli.md":
        spans += [line for line in re.findall(r"^  (polydub \w+ .*)$", text, re.MULTILINE) if line.split()[1] in COMMANDS]
    for line in [*blocks.splitlines(), *spans]:
        yield from (part.strip() for part in line.split("&&") if part.strip().startswith("polydub "))


def parse(line: str) -> None:
    """Lets click take a command line apart without running it. Raises what click raises."""
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = app
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(click.Context(command), words.pop(0))
        assert inner is not None, line
        command = inner
    if words:
        # as within the program: click keeps, for the whole process, the help flags of the first context a command meets
        command.make_context(command.name or "polydub", words, help_option_names=["-h", "--help"])


@each_page()
def test_every_command_shown_is_one_that_polydub_takes(page: Path) -> None:
    for line in shown_commands(page):
        try:
            parse(line)
        except (click.MissingParameter, click.exceptions.Exit):
            continue  # the name of a command in a sentence; --help and --version
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_commands_are_found_in_the_pages() -> None:
    wanted = "polydub dub clip.mp4 --to es --transcript clip.en.srt --translation clip.es.srt"
    assert wanted in shown_commands(ROOT / "README.md")
    assert any(line.startswith("polydub dub film/sample.mkv") for line in shown_commands(DOCS / "tutorial.md"))
    with pytest.raises(click.UsageError):
        parse("polydub dub clip.mp4 --no-such-flag")


@pytest.fixture
def scratch(sample: SampleFiles, tmp_path: Path) -> Path:
    """A folder with the files that the pages name: clip.mp4, clip.en.srt, clip.es.srt, clip.ca.srt."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    remux = ["-i", str(sample.video), "-map", "0:v", "-map", "0:a", "-c", "copy", str(folder / "clip.mp4")]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *remux]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    for source, name in ((sample.transcript, "en"), (sample.translation, "es"), (sample.translation, "ca")):
        copy(source, folder / f"clip.{name}.srt")
    return folder


def apertium_is_here() -> bool:
    engine = registry.get("mt", "apertium")
    options = registry.build_options(engine, {})
    return engine.check(options).ready and "en>es" in (engine.languages(options) or ())


@pytest.mark.slow
@each_page(ROOT / "README.md", DOCS / "tutorial.md")
def test_the_commands_marked_in_a_page_run(page: Path, scratch: Path) -> None:
    """A block after `<!-- run -->` is run; after `<!-- run apertium -->` where Apertium is installed."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^<!-- run( apertium)? -->\n(?:```sh\n(.*?)^```$|((?:    [^\n]*\n)+))", text, re.MULTILINE | re.DOTALL)
    assert blocks and len(blocks) == text.count("<!-- run")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    left_out = False
    for needs, fenced, indented in blocks:
        if needs and not apertium_is_here():
            left_out = True
            continue
        script = "\n".join(line.strip() for line in (fenced or indented).splitlines())
        ran = run(["/bin/sh", "-eu", "-c", script], environment, scratch)
        assert ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
    assert list(scratch.glob("Output/*/dub.es.mkv"))
    if left_out:
        pytest.skip("all but the blocks that need Apertium with English-Spanish ran")


# The example engine


def block(page: Path, language: str) -> str:
    """The only code block of a language in a page."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def example_engine(tmp_path: Path) -> Path:
    """A folder that holds the engine of the how-to as pip would install it."""
    page = DOCS / "how-to" / "write-an-engine.md"
    project = tomllib.loads(block(page, "toml"))["project"]
    facts = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    entries = [f"[{group}]\n{name} = {value}\n" for group, rows in groups for name, value in rows.items()]
    (facts / "entry_points.txt").write_text("\n".join(entries))
    (tmp_path / "polydub_sine.py").write_text(block(page, "python"))
    return tmp_path


def test_the_example_engine_is_short() -> None:
    lines = [line for line in block(DOCS / "how-to" / "write-an-engine.md", "python").splitlines() if line.strip()]
    assert len(lines) <= 28


@pytest.mark.slow
def test_the_example_engine_passes_the_conformance_suite(example_engine: Path) -> None:
    suite = ["-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist", "tests/engines/test_conformance.py", "-k", "sine"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = run([sys.executable, *suite], environment | {"PYTHONPATH": str(example_engine)}, ROOT)
    assert ran.returncode == 0, ran.stdout
    assert int(re.search(r"(\d+) passed", ran.stdout)[1]) >= 8  # type: ignore[index]


def test_the_example_engine_speaks(example_engine: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from polydub.cli import main; main()", "speak", "Hello.", "--to", "en", "--tts", "sine"]
    out = tmp_path / "hello.wav"
    environment = {**os.environ, "PYTHONPATH": str(example_engine)}
    ran = run([*command, "--out", str(out)], environment, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert out.stat().st_size > 10_000
