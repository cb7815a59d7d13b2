"""The rules of the house, read from the source: who may import whom, what may be called where, how big things get.

Every broken rule names file and line. The second half feeds each rule a line that breaks it: a rule that cannot fail
protects nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import quantiles

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "polydub"
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, LINES_OF_NINE_IN_TEN, PARAMETERS = 400, 60, 40, 5

# Room -> rooms it may import; a room may always import itself. A module is in the room with the longest matching name.
# "engine" is any file of engines/<kind>/; "engines" the registry and the pool, which know no engine by name;
# "engines.sidecar" runs an engine in a process of its own.
BASE = {"types", "errors", "spans"}
CORE = BASE | {"languages", "audio", "text"}
STORY = CORE | {"media", "engines", "store", "project", "wants", "work", "runner", "stages", "voices", "voices.quality"}
WHOLE = STORY | {
    "",
    "config",
    "models",
    "report",
    "report.files",
    "evaluate",
    "choosing",
    "listening",
    "acting",
    "casting",
    "remembering",
    "portraying",
    "batch",
    "edits",
    "finishing",
    "matching",
    "mixing",
    "overlay",
    "performed",
    "request",
    "spoken",
    "recording",
    "speaking",
    "pipeline",
    "dubbing",
    "standalone",
    "aloud",
    "review",
    "streaming",
    "sample",
}
ROOMS: Mapping[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "spans": {"types"},
    "languages": BASE,
    "wants": BASE,
    "audio": BASE,
    "text": BASE | {"languages"},
    "media": BASE | {"audio"},
    "engines.needs": set(),
    "engines.base": BASE | {"engines.needs"},
    "engines": BASE | {"engines.base", "engines.sidecar", "languages"},
    "engines.sidecar": BASE | {"engines.base"},
    "engines.faults": BASE | {"engines.base", "engine"},
    "engine": CORE | {"engines.base", "engines"},
    "store": BASE,
    "project": BASE | {"store"},
    "config": BASE | {"languages", "engines.base", "engines"},
    "models": BASE | {"config", "engines.base", "engines", "store"},
    "work": BASE | {"store", "engines.base", "engines"},
    "calls": BASE | {"work", "store"},
    "duty": BASE | {"engines.base", "engines"},
    "runner": BASE | {"calls", "duty", "work", "store", "engines.base", "engines"},
    "stages": CORE | {"media", "engines.base", "work", "runner", "wants", "voices.quality"},
    "voices": CORE | {"media", "engines.base", "work", "runner", "wants", "store", "project", "voices.api"},
    "voices.quality": CORE | {"engines.base", "voices.people"},
    "voices.people": CORE | {"engines.base"},
    "voices.api": WHOLE,  # functions for programs, which nothing here but the package itself imports
    "report": CORE | {"media", "wants"},
    "report.files": STORY | {"", "engines.base", "report", "pipeline", "speaking"},
    "evaluate": CORE | {"media", "report"},
    "sample": CORE | {"media", "engines.base", "engines", "engine"},
    "choosing": STORY | {"engines.base", "config", "models", "calls", "duty"},
    "inspecting": BASE | {"config", "engines.base", "engines", "models"},
    "listening": STORY | {"engines.base"},
    "spoken": CORE | {"project"},
    "edits": CORE | {"project", "spoken", "store"},
    "overlay": STORY | {"edits", "spoken"},
    "matching": STORY | {"engines.base"},
    "casting": STORY | {"engines.base", "listening", "matching"},
    "remembering": STORY | {"engines.base", "casting", "config"},
    "portraying": STORY | {"engines.base", "choosing", "config", "dubbing", "listening", "remembering"},
    "acting": STORY | {"engines.base", "listening", "slowing"},
    "mixing": STORY | {"engines.base", "listening"},
    "slowing": STORY | {"engines.base", "listening", "overlay", "speaking"},
    "captioning": STORY | {"engines.base", "slowing", "speaking"},
    "recording": STORY | {"engines.base"},
    "speaking": STORY | {"engines.base", "recording"},
    "lipsyncing": STORY | {"engines.base", "listening", "slowing", "speaking"},
    "pipeline": STORY
    | {
        "engines.base",
        "acting",
        "captioning",
        "casting",
        "lipsyncing",
        "listening",
        "mixing",
        "overlay",
        "slowing",
        "speaking",
    },
    "performed": STORY | {"edits", "overlay", "pipeline", "spoken"},
    "request": STORY | {"engines.base", "choosing", "config"},
    "dubbing": STORY
    | {
        "engines.base",
        "duty",
        "casting",
        "remembering",
        "choosing",
        "config",
        "edits",
        "performed",
        "request",
        "lipsyncing",
        "listening",
        "overlay",
        "pipeline",
        "report",
        "report.files",
    },
    "finishing": STORY | {"engines.base", "choosing", "config", "dubbing", "lipsyncing", "mixing", "standalone"},
    "standalone": STORY | {"engines.base", "choosing", "config", "listening", "mixing", "pipeline", "dubbing", "report"},
    "aloud": STORY | {"engines.base", "choosing", "config", "dubbing", "matching"},
    "batch": STORY | {"engines.base", "config", "dubbing", "report"},
    "review": STORY
    | {"engines.base", "choosing", "config", "edits", "overlay", "pipeline", "dubbing", "report", "request", "spoken"},
    "streaming": WHOLE | {"engines.base", "calls", "captioning", "report", "report.files", "slowing"},
    **dict.fromkeys(("", "server", "serverless"), WHOLE | {"duty", "engines.base", "inspecting"}),
    "cli": WHOLE | {"engines.base", "inspecting", "server"},
}

# Library -> where it may be imported.
ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "subprocess": ("media", "models", "engines", "engines.sidecar", "engine", "cli", "server.jobs"),
    "multiprocessing": ("media", "engines", "engine", "runner", "server.jobs"),
    "dbos": ("server.jobs", "server.sweeper"),
    **dict.fromkeys(("torch", "transformers", "onnxruntime", "ctranslate2", "tensorflow", "jax"), ("engine", "evaluate")),
    **dict.fromkeys(
        ("httpx", "requests", "aiohttp", "websockets", "socket", "urllib.request", "http.client"),
        ("models", "server", "engines.service"),
    ),
}
HEAVY = {"torch", "transformers", "onnxruntime", "ctranslate2", "tensorflow", "jax"}
NETWORK = {"httpx", "requests", "aiohttp", "websockets", "socket", "urllib.request", "http.client"}
BROAD_EXCEPT = ("runner", "engines.registry", "cli", "server")  # modules or rooms
CHEAP = ("polydub", "polydub.types", "polydub.errors", "polydub.cli", "polydub.pipeline")
NOT_CHEAP = {"numpy", "scipy", "av", "soundfile", "clarabel", "httpx", "pysubs2", *HEAVY}


@dataclass(frozen=True)
class Import:
    """One imported name: `target` is a module; `inside` a function; `typing` under TYPE_CHECKING."""

    line: int
    target: str
    inside: bool
    typing: bool


@dataclass(frozen=True)
class Module:
    """A source file; `name` is dotted, without the package ("engines.tts.espeak"; "" is polydub itself)."""

    name: str
    path: str
    source: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return room_of(self.name)

    def at(self, line: int, text: str) -> str:
        return f"{self.path}:{line}: {text}"


def parsed(name: str, path: str, source: str) -> Module:
    return Module(name, path, source, ast.parse(source, path))


@cache
def files() -> Mapping[str, Path]:
    """Dotted name without the package -> file."""
    found: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def modules() -> tuple[Module, ...]:
    root = PACKAGE.parents[1]
    readable = ((name, path) for name, path in files().items() if not syntax_error(path))
    return tuple(parsed(n, str(p.relative_to(root)), p.read_text(encoding="utf-8")) for n, p in readable)


def syntax_error(path: Path) -> str:
    try:
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 11))
    except SyntaxError as error:
        return f"{path.relative_to(PACKAGE.parents[1])}:{error.lineno}: {error.msg}"
    return ""


def room_of(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "engines" and len(parts) >= 3 and parts[1] != "sidecar":
        return "engine"
    if parts[0] == "languages_table":
        return "languages"
    return next((r for n in range(len(parts), 0, -1) if (r := ".".join(parts[:n])) in ROOMS), name)


def imports(module: Module) -> Iterator[Import]:
    """All imports of a file, wherever they stand."""

    def walk(node: ast.AST, inside: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(child.lineno, a.name, inside, typing) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                origin = child.module or ""
                for alias in child.names:
                    full = f"{origin}.{alias.name}"
                    is_module = full.removeprefix("polydub.") in files() if origin.split(".")[0] == "polydub" else False
                    yield Import(child.lineno, full if is_module or full in ONLY_IN else origin, inside, typing)
            deeper = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            only_types = typing or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            yield from walk(child, deeper, only_types)

    yield from walk(module.tree, False, False)


def ours(found: Import) -> str | None:
    """The polydub module that is imported, without the package name; None for a library."""
    head, _, rest = found.target.partition(".")
    return rest if head == "polydub" else None


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    a = function.args
    every = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]
    return [p for p in every if p.arg not in ("self", "cls")]


def imports_stay_in_their_layer(module: Module) -> Iterator[str]:
    for found in dict.fromkeys(imports(module)):
        name = ours(found)
        if name is None or module.room not in ROOMS:
            continue
        target = room_of(name)
        if target != module.room and target not in ROOMS.get(module.room, set()):
            yield module.at(found.line, f"{module.room or 'polydub'} must not import {name or 'polydub'}")


def every_file_has_a_room(module: Module) -> Iterator[str]:
    if module.room not in ROOMS:
        yield module.at(1, f"{module.name} has no room in the table of tests/test_architecture.py")


def libraries_stay_where_they_belong(module: Module) -> Iterator[str]:
    for found in imports(module):
        library = next((k for k in ONLY_IN if found.target == k or found.target.startswith(f"{k}.")), None)
        if library is None or found.typing:
            continue
        allowed = module.room in ONLY_IN[library] or module.name in ONLY_IN[library]
        says_network = library in NETWORK and module.room == "engine" and "network=True" in module.source
        if not (allowed or says_network):
            yield module.at(found.line, f"{library} is not for {module.room or 'polydub'}")
        elif library in HEAVY and not found.inside:
            yield module.at(found.line, f"{library} is imported inside functions only")


def the_environment_is_read_in_config_only(module: Module) -> Iterator[str]:
    passes_a_part_on = module.name in ("engines.devices", "engines.sidecar.process", "engines.lipsync.job")
    has_a_process_of_its_own = module.room == "engine" and "environment=" in module.source
    if module.room == "config" or passes_a_part_on or has_a_process_of_its_own:
        return
    for node in ast.walk(module.tree):
        read = isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.environb", "os.getenv", "os.putenv")
        named = (
            isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & {a.name for a in node.names}
        )
        if read or named:
            yield module.at(node.lineno, "the environment is read in config.py only")


def no_shell(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.system", "os.popen", "subprocess.getoutput"):
            yield module.at(node.lineno, "argument lists, never a shell")
        if isinstance(node, ast.keyword) and node.arg == "shell":
            yield module.at(node.value.lineno, "argument lists, never a shell")


def files_are_short(module: Module) -> Iterator[str]:
    lines = module.source.count("\n")
    if lines > LINES_OF_A_FILE and any(functions(module)):  # a table of facts may be as long as the facts
        yield module.at(lines, f"{lines} lines, {LINES_OF_A_FILE} at most")


def functions_are_short(module: Module) -> Iterator[str]:
    for function in functions(module):
        if length(function) > LINES_OF_A_FUNCTION:
            yield module.at(function.lineno, f"{function.name} has {length(function)} lines, {LINES_OF_A_FUNCTION} at most")


def functions_have_few_parameters(module: Module) -> Iterator[str]:
    for function in functions(module):
        if len(parameters(function)) > PARAMETERS:
            yield module.at(
                function.lineno, f"{function.name} has {len(parameters(function))} parameters, {PARAMETERS} at most"
            )


def everything_is_annotated(module: Module) -> Iterator[str]:
    for function in functions(module):
        missing = [p.arg for p in parameters(function) if p.annotation is None]
        missing += ["return"] if function.returns is None else []
        if missing:
            yield module.at(function.lineno, f"{function.name}: no type for {', '.join(missing)}")


def broad_excepts_stand_in_named_places(module: Module) -> Iterator[str]:
    if module.room in BROAD_EXCEPT or module.name in BROAD_EXCEPT:
        return
    for node in ast.walk(module.tree):
        if _is_broad(node):
            yield module.at(getattr(node, "lineno", 0), f"a broad except belongs to {', '.join(BROAD_EXCEPT)} only")


def _is_broad(node: ast.AST) -> bool:
    """It catches everything and keeps it; cleaning up and raising again is no catching."""
    if isinstance(node, ast.ExceptHandler):
        if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
            return False
        caught = "BaseException" if node.type is None else ast.unparse(node.type)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "suppress":
        caught = " ".join(ast.unparse(a) for a in node.args)
    else:
        return False
    return bool({"Exception", "BaseException"} & set(caught.replace(",", " ").replace("(", " ").replace(")", " ").split()))


def only_the_command_line_prints(module: Module) -> Iterator[str]:
    if module.room == "cli":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield module.at(node.lineno, "print belongs to cli/")


def test_every_file_is_python_3_11() -> None:
    assert [message for path in files().values() if (message := syntax_error(path))] == []


Rule = Callable[[Module], Iterator[str]]
RULES: tuple[Rule, ...] = (
    every_file_has_a_room,
    imports_stay_in_their_layer,
    libraries_stay_where_they_belong,
    the_environment_is_read_in_config_only,
    no_shell,
    files_are_short,
    functions_are_short,
    functions_have_few_parameters,
    everything_is_annotated,
    broad_excepts_stand_in_named_places,
    only_the_command_line_prints,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.__name__)
def test_the_source_keeps_the_rule(rule: Rule) -> None:
    broken = [line for module in modules() for line in rule(module)]
    assert not broken, "\n" + "\n".join(broken)


def cycles(links: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a ring (strongly connected, more than one, or one that imports itself)."""
    reach = {start: reachable(links, start) for start in links}
    rings = {frozenset(b for b in links if b in reach[a] and a in reach[b]) for a in links if a in reach[a]}
    return sorted(sorted(ring) for ring in rings)


def reachable(links: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(links.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += links.get(name, ())
    return seen


def test_no_modules_import_each_other_in_a_ring() -> None:
    links: dict[str, set[str]] = {}
    for module in modules():
        real = (f for f in imports(module) if not f.typing)
        links[module.name] = {name for f in real if (name := ours(f)) is not None and name != ""}
    assert cycles(links) == []


def test_nine_functions_in_ten_are_at_most_forty_lines() -> None:
    lengths = [length(f) for module in modules() for f in functions(module)]
    assert quantiles(lengths, n=10)[-1] <= LINES_OF_NINE_IN_TEN


def test_no_two_files_of_the_tests_share_a_name() -> None:
    """They are imported by it: one would stand in for the other, as the order of collection decides."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_at_most_three_files_catch_everything() -> None:
    broad = {m.path: n.lineno for m in modules() for n in ast.walk(m.tree) if _is_broad(n) and isinstance(n, ast.ExceptHandler)}
    assert len(broad) <= 3, "\n".join(f"{path}:{line}" for path, line in broad.items())


@pytest.mark.parametrize("name", CHEAP)
def test_importing_the_front_door_loads_nothing_heavy(name: str) -> None:
    if name != "polydub" and name.removeprefix("polydub.") not in files():
        pytest.skip(f"{name} does not exist yet")
    program = f"import sys, {name}; print(*sorted({{m.split('.')[0] for m in sys.modules}} & {NOT_CHEAP!r}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (every_file_has_a_room, "attic", ""),
        (imports_stay_in_their_layer, "stages.speak", "from polydub.engines.tts import espeak"),
        (imports_stay_in_their_layer, "engines.tts.espeak", "def f() -> None:\n    import polydub.config"),
        (imports_stay_in_their_layer, "audio.mix", "from polydub.media import ffmpeg"),
        (imports_stay_in_their_layer, "types", "from polydub.errors import BadInput"),
        (libraries_stay_where_they_belong, "store", "import subprocess"),
        (libraries_stay_where_they_belong, "engines.mt.opus", "import ctranslate2"),
        (libraries_stay_where_they_belong, "stages.listen", "def f() -> None:\n    from torch import nn"),
        (libraries_stay_where_they_belong, "engines.mt.apertium", "from httpx import Client"),
        (libraries_stay_where_they_belong, "runner", "from urllib import request\nimport urllib.request"),
        (the_environment_is_read_in_config_only, "store", "import os\nx = os.environ['HOME']"),
        (the_environment_is_read_in_config_only, "store", "from os import getenv"),
        (no_shell, "media.ffmpeg", "import subprocess\nsubprocess.run('ls', shell=True)"),
        (files_are_short, "store", "def f() -> None: ...\n" * 401),
        (functions_are_short, "store", "def f() -> None:\n" + "    pass\n" * 60),
        (functions_have_few_parameters, "store", "def f(a: int, b: int, c: int, *, d: int, e: int, f: int) -> None: ..."),
        (everything_is_annotated, "store", "def f(a, b: int) -> None: ..."),
        (everything_is_annotated, "store", "def f(): ..."),
        (broad_excepts_stand_in_named_places, "store", "try:\n    pass\nexcept Exception:\n    pass"),
        (broad_excepts_stand_in_named_places, "store", "try:\n    pass\nexcept:\n    pass"),
        (broad_excepts_stand_in_named_places, "store", "try:\n    pass\nexcept (OSError, BaseException):\n    pass"),
        (broad_excepts_stand_in_named_places, "store", "with suppress(Exception):\n    pass"),
        (only_the_command_line_prints, "store", "print('hello')"),
    ],
)
def test_a_broken_rule_is_seen_with_its_place(rule: Rule, name: str, source: str) -> None:
    assert [line for line in rule(parsed(name, "x.py", source)) if line.startswith("x.py:")]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("engines.mt.openai_chat", "import httpx\nINFO = Info(network=True)"),
        ("engines.asr.whisper", "def f() -> None:\n    import ctranslate2"),
        ("stages.speak", "from polydub.audio.fit import fit\nfrom polydub.engines.base import Synthesizer"),
        ("store", "try:\n    pass\nexcept BaseException:\n    close()\n    raise"),
        ("cli.dub", "import subprocess\nfrom polydub.pipeline import dub\nprint(1)"),
    ],
)
def test_what_is_allowed_passes(name: str, source: str) -> None:
    assert [line for rule in RULES for line in rule(parsed(name, "x.py", source))] == []


def test_a_ring_of_imports_is_seen() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
