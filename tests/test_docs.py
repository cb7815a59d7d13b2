"""What the pages say is true: nothing is missing from the reference, commands run, links lead somewhere, examples work."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING

import click
import imageio_ffmpeg
import pytest

from polydub import config, errors, languages, models
from polydub.cli.app import COMMANDS, app
from polydub.cli.earlier import translated
from polydub.config import flags
from polydub.config.server import ServerSettings
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines import registry
from polydub.engines.base import KINDS, Engine
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


def generate(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


GENERATED = {
    "auto_doc.py": "auto.md",
    "docs_gen.py": "cli.md",
    "engines_doc.py": "engines-tts.md",
    "languages_doc.py": "languages.md",
}


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL, check=False
    )


# The reference


@pytest.mark.parametrize("script", GENERATED)
def test_the_generated_pages_are_up_to_date(script: str) -> None:
    ran = generate(script, "--check")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(("script", "page"), GENERATED.items())
def test_a_stale_page_is_noticed_and_named(script: str, page: str, tmp_path: Path) -> None:
    assert generate(script, "--folder", str(tmp_path)).returncode == 0
    assert generate(script, "--folder", str(tmp_path), "--check").returncode == 0
    (tmp_path / page).write_text("old")
    ran = generate(script, "--folder", str(tmp_path), "--check")
    assert ran.returncode == 1 and page in ran.stderr


@pytest.mark.slow
def test_pages_on_engines_do_not_depend_on_what_a_machine_has(tmp_path: Path) -> None:
    """An empty home and no program to be found, Apertium's among them."""
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    for script in ("auto_doc.py", "engines_doc.py", "languages_doc.py"):
        ran = run([sys.executable, str(ROOT / "scripts" / script), "--check"], environment, tmp_path)
        assert ran.returncode == 0, ran.stderr


def test_every_setting_is_documented() -> None:
    one_by_one = {flag.key for flag in flags()} - {"server"} | set(ServerSettings.model_fields)
    assert one_by_one <= first_column(REFERENCE / "settings.md")


def test_every_error_is_documented() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.PolydubError)]
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    for error in classes:
        assert f"| `{error.code}` | {error.__name__} | {error.exit_status} |" in text
        assert re.search(rf"^\| {error.exit_status} \|", text, flags=re.MULTILINE)


def test_every_command_is_documented() -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert all(f"\n## polydub {name}\n" in text for name in COMMANDS)


def own_engines() -> Iterator[tuple[str, Engine]]:
    for kind in KINDS:
        for name, engine in registry.engines(kind).items():
            assert not isinstance(engine, registry.Broken), engine
            if engine.load.__module__.startswith("polydub."):  # else of another package
                yield f"{kind} {name}", engine


def test_every_engine_its_options_and_its_models_are_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("engines-*.md")))
    index = (REFERENCE / "engines.md").read_text(encoding="utf-8")
    for name, engine in own_engines():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert all(f"| `{option}` |" in section for option in engine.options.model_fields), name
        assert engine.info.licence in section
        assert all(f"`{model}`" in section for several in engine.models.values() for model in several), name
        assert f"#{name.replace(' ', '-')})" in index
        assert engine.environment is None or f"| `{engine.environment.name}` |" in index


def test_every_model_is_documented_with_its_licence() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("engines-*.md"))
    for known in models.catalogue():
        row = next(line for line in text.splitlines() if f"`{known.weight.id}` |" in line)
        cells = [cell.strip() for cell in row.split("|")]
        assert known.weight.licence in cells and models.sized(known.weight) in cells


def test_the_matrix_of_languages_tells_what_the_engines_tell() -> None:
    lines = (REFERENCE / "languages.md").read_text(encoding="utf-8").splitlines()
    header = next(line for line in lines if line.startswith("| tag |")).split("|")[3:-1]
    columns = [re.sub(r"\[`(.+?)`\].*", r"\1", cell).strip() for cell in header]
    rows = {cells[1].strip(" `"): cells[3:-1] for cells in (line.split("|") for line in lines if line.startswith("| `"))}
    ticked = {(column, tag) for tag, cells in rows.items() for column, cell in zip(columns, cells, strict=True) if cell.strip()}
    assert ("asr faster-whisper", "es") in ticked and ("asr pocketsphinx", "es") not in ticked
    for name, engine in own_engines():
        kind, _, short = name.partition(" ")
        known = engine.languages(engine.options())
        if kind in ("asr", "tts") and short != "fake" and known is not None:
            assert {(name, languages.base(tag)) for tag in known} <= ticked


def test_for_every_engine_is_told_what_was_run_with_versions_that_are_pinned() -> None:
    text = (REFERENCE / "tested.md").read_text(encoding="utf-8")
    rows = {m[0]: m[1] for m in re.findall(r"^\| ([a-z]+ `[^|]+?`) \| ([^|]+) \|", text, re.MULTILINE)}
    named = {f"{kind} {name}" for kind, name in re.findall(r"^\| ([a-z]+) `([^`]+)` \|", text, re.MULTILINE)}
    assert named >= {name for name, _ in own_engines() if not name.endswith(" fake")}
    files = [ROOT / "requirements" / "core.txt", *(ROOT / "src/polydub/engines/locks").glob("*.cpu.txt")]
    pinned = {pin for file in files for pin in re.findall(r"^([\w.-]+==[\d.]+\d)", file.read_text("utf-8"), re.MULTILINE)}
    pinned |= {pin.replace("pyannote-audio", "pyannote.audio") for pin in pinned}
    told = {f"{name}=={version}" for row in rows.values() for name, version in re.findall(r"([\w.-]+) (\d[\d.]*\d)", row)}
    assert "torch==2.13.0" in told and told <= pinned
    assert all((ROOT / path).exists() for path in re.findall(r"`(tests/[^`]+)`", text))


def test_every_package_of_every_environment_is_listed_with_its_licence() -> None:
    listed = set(
        re.findall(r"^\| ([\w.-]+) \| [^|]+ \|", (REFERENCE / "environment-packages.md").read_text("utf-8"), re.MULTILINE)
    )
    locks = (ROOT / "src/polydub/engines/locks").glob("*.txt")
    pins = {name for lock in locks for name in re.findall(r"^([\w.-]+)==", lock.read_text("utf-8"), re.MULTILINE)}
    assert listed - {"package"} == {re.sub(r"[-_.]+", "-", name).lower() for name in pins}


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
    words = words[: words.index("|")] if "|" in words else words  # what comes after it is another program's
    words = translated(words) if "--stream" in words else words  # it may stand alone
    command: click.Command = app
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = command.make_context(command.name or "polydub", list(words), help_option_names=["-h", "--help"])
        _, inner, words = command.resolve_command(context, [*context._protected_args, *context.args])
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
    options = engine.options()
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
