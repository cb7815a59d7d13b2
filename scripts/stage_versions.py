"""Keep tests/golden/stages.json: the version of every stage, and a hash of the source that makes its results.

A remembered result is used as long as name, version and arguments of its stage are the same. So whoever changes what a
stage computes must raise its version, and this notices. The hash covers the stage's function and, transitively, every
function, class and constant of polydub that it names; comments, docstrings and formatting do not count.

`stage_versions.py` writes the file, but not where source has changed under an old version. `--check` only looks.
`--same-results` writes such hashes, too: for changes that cannot alter any result.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "tests" / "golden" / "stages.json"
# What these hold is in the key already (settings, engines), or cannot change a result (the runner itself).
OUTSIDE = ("polydub.work", "polydub.runner", "polydub.store", "polydub.errors", "polydub.engines", "polydub.wants")
Definition = tuple[str, str]  # module, name


@dataclass
class Module:
    """A parsed source file: what its top level defines, and where its imported names come from."""

    name: str
    tree: ast.Module

    @cached_property
    def definitions(self) -> dict[str, list[ast.stmt]]:
        """Statements by the names they bind; several where a name is bound in branches."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in _top_level(self.tree.body):
            for name in _bound(statement):
                found.setdefault(name, []).append(statement)
        return found


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(statement, part, []))
        else:
            yield statement


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        yield statement.name
    elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


@dataclass
class Sources:
    """The package under `root` (a folder that holds `polydub/`)."""

    root: Path
    _modules: dict[str, Module] = field(default_factory=dict[str, Module])
    _imports: dict[str, dict[str, Definition]] = field(default_factory=dict[str, dict[str, Definition]])

    def module(self, name: str) -> Module | None:
        """None when there is no such module, or when it is none of ours."""
        if name not in self._modules:
            base = self.root.joinpath(*name.split("."))
            file = next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)
            if file is None or not name.startswith("polydub") or name.startswith(OUTSIDE):
                return None
            self._modules[name] = Module(name, ast.parse(file.read_text(encoding="utf-8")))
        return self._modules[name]

    def imports(self, tree: ast.AST) -> dict[str, Definition]:
        """Names imported anywhere in `tree` from polydub: (module, name in it), or (module, "") for a module itself."""
        found: dict[str, Definition] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and _ours(node):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found[alias.asname or alias.name] = (inner, "") if self.module(inner) else (str(node.module), alias.name)
        return found

    def imports_of(self, module: Module) -> dict[str, Definition]:
        """`imports` of a whole module."""
        if module.name not in self._imports:
            self._imports[module.name] = self.imports(module.tree)
        return self._imports[module.name]

    def stages(self) -> dict[str, tuple[int, ast.FunctionDef, Module]]:
        """Every function under `@stage` or `@engine_stage`, by the stage's name, with its version."""
        found: dict[str, tuple[int, ast.FunctionDef, Module]] = {}
        for file in sorted((self.root / "polydub" / "stages").glob("*.py")):
            module = self.module(f"polydub.stages.{file.stem}")
            for statement in module.tree.body if module else []:
                for mark in statement.decorator_list if isinstance(statement, ast.FunctionDef) else []:
                    if isinstance(mark, ast.Call) and _is_mark(mark):
                        assert isinstance(statement, ast.FunctionDef) and module is not None
                        name = ast.literal_eval(mark.args[0])
                        version = next((ast.literal_eval(k.value) for k in mark.keywords if k.arg == "version"), 1)
                        assert name not in found, f"two stages are called {name}"
                        found[name] = (version, statement, module)
        return found

    def reached(self, start: Definition) -> set[Definition]:
        """Every definition that `start` names, directly or through others."""
        seen: set[Definition] = set()
        waiting = [start]
        while waiting:
            place = waiting.pop()
            module = self.module(place[0])
            if place in seen or module is None:
                continue
            statements = module.definitions.get(place[1])
            if statements is None:  # imported there to be passed on
                waiting += [found for name, found in self.imports_of(module).items() if name == place[1]]
                continue
            seen.add(place)
            for statement in statements:
                waiting += self._named(module, statement)
        return seen

    def _named(self, module: Module, statement: ast.stmt) -> Iterator[Definition]:
        imports = self.imports_of(module) | self.imports(statement)
        attributes = {id(node.value) for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found = imports.get(node.value.id)
                if found and not found[1]:
                    yield found[0], node.attr
            if isinstance(node, ast.Name):
                found = imports.get(node.id, (module.name, node.id))
                if found[1]:
                    if found[0] != module.name or node.id in module.definitions:
                        yield found
                elif id(node) not in attributes and (whole := self.module(found[0])):  # a module handed on as a value
                    yield from ((whole.name, name) for name in whole.definitions)


def _ours(node: ast.ImportFrom) -> bool:
    return node.level == 0 and (node.module or "").split(".")[0] == "polydub"


def _is_mark(mark: ast.Call) -> bool:
    return isinstance(mark.func, ast.Name) and mark.func.id in ("stage", "engine_stage")


def _plain(node: Any) -> Any:
    """A tree as nested lists: without docstrings, places, imports from polydub, and what only some Pythons write."""
    if isinstance(node, ast.AST):
        parts = [[name, _plain(value)] for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *(part for part in parts if part[0] not in ("ctx", "kind", "type_comment", "type_params"))]
    if isinstance(node, list):
        return [_plain(item) for item in node if not _meaningless(item)]
    return repr(node)


def _meaningless(node: Any) -> bool:
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return text or (isinstance(node, ast.ImportFrom) and _ours(node)) or (isinstance(node, ast.Call) and _is_mark(node))


def versions(root: Path) -> dict[str, dict[str, Any]]:
    """Version and source hash of every stage of the package under `root`, by name."""
    sources = Sources(root)
    made: dict[str, dict[str, Any]] = {}
    for name, (version, function, module) in sorted(sources.stages().items()):
        places = sources.reached((module.name, function.name))
        texts: set[str] = set()
        for place in places:
            home = sources.module(place[0])
            assert home is not None
            texts.update(json.dumps(_plain(statement)) for statement in home.definitions[place[1]])
        digest = hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
        made[name] = {"version": version, "source": digest[:16]}
    return made


def complaints(kept: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong with the stages that were `found`, one sentence each; empty when they are as `kept`."""
    wrong = [f"stage {name} is gone: run scripts/stage_versions.py" for name in kept.keys() - found.keys()]
    wrong += [f"stage {name} is new: run scripts/stage_versions.py" for name in found.keys() - kept.keys()]
    for name in kept.keys() & found.keys():
        old, new = kept[name], found[name]
        if old["version"] == new["version"] and old["source"] != new["source"]:
            wrong.append(
                f"the source of stage {name} has changed and its version has not: raise it to {new['version'] + 1} in "
                "@stage(...) and run scripts/stage_versions.py (if no result can change: with --same-results)"
            )
        elif old != new:
            wrong.append(f"stage {name} has another version: run scripts/stage_versions.py")
    return sorted(wrong)


def main(arguments: list[str]) -> int:
    """Exit status: 0 written or current, 1 something is to be done, 2 wrong usage."""
    if arguments not in ([], ["--check"], ["--same-results"]):
        print("usage: stage_versions.py [--check | --same-results]", file=sys.stderr)
        return 2
    kept: dict[str, Any] = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.is_file() else {}
    found = versions(ROOT / "src")
    wrong = complaints(kept, found)
    blocking = [text for text in wrong if arguments == ["--check"] or (not arguments and "raise it" in text)]
    for text in blocking:
        print(text, file=sys.stderr)
    if not blocking and wrong:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if blocking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
