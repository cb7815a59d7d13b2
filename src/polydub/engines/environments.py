"""Virtual environments of engines that do not go together with polydub's packages: which are here, and how they get here.

An environment is the folder `<home>/<name>/`, made from `locks/<name>.<variant>.txt`, in which every package has its version
and its hashes. Its manifest `polydub.json` is written last: a folder without one is what an interruption left, and is made
anew. An environment whose lock has changed since is outdated, and is not used until it was installed again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.machinery import PathFinder
from importlib.util import find_spec
from logging import getLogger
from pathlib import Path
from typing import IO, Any, cast

from polydub.engines.base import Environment
from polydub.errors import BadSettings, EngineFailed, MissingExtra, StoreError

log = getLogger(__name__)
LOCKS = Path(__file__).with_name("locks")
MARK = "made-by-polydub"  # in every environment, also one that is not complete
MANIFEST = "polydub.json"
AUTO = "auto"
# What an environment takes, roughly: torch for NVIDIA cards, torch, neither. Measured, and rounded up.
ROOM = (("\nnvidia-", 9_000_000_000), ("\ntorch==", 3_000_000_000), ("", 700_000_000))
# What pip writes; after version 23.2. The first that is found is what happened.
TROUBLES = (
    (re.compile(r"DO NOT MATCH THE HASHES.*?\n\s*(?P<what>[\w.+-]+==[\w.+-]+)?", re.DOTALL), "hash"),
    (re.compile(r"No space left on device"), "full"),
    (re.compile(r"No matching distribution found for (?P<what>\S+)"), "version"),
    (
        re.compile(r"connection broken by|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError"),
        "network",
    ),
)


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that is here. Attributes: lock: sha256 of what it was made from. current: that is still the lock."""

    python: Path
    variant: str
    lock: str
    current: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """How an environment shall be made. Attributes: variant: "auto" = "cuda" where there is an NVIDIA driver, else "cpu"."""

    variant: str = AUTO
    offline: bool = False
    tell: Callable[[str], None] = lambda text: None
    locks: Path = LOCKS


def lock_of(environment: Environment, variant: str, locks: Path = LOCKS) -> Path:
    """The list of packages of an environment; `locks`: where those lie that have no folder of their own."""
    return (environment.locks or locks) / f"{environment.name}.{variant}.txt"


def installed(environment: Environment, home: Path, locks: Path = LOCKS) -> Installed | None:
    """What is here of an environment; None when it is not, or not completely. Reads two small files."""
    folder = home / environment.name
    known = _manifest(folder)
    python = _python(folder)
    if known.get("name") != environment.name or not {"variant", "lock"} <= set(known) or not python.exists():
        return None
    variant, lock = str(known["variant"]), str(known["lock"])
    file = lock_of(environment, variant, locks)
    return Installed(python, variant, lock, not file.exists() or _digest(file) == lock)


def find(environment: Environment, home: Path, locks: Path = LOCKS) -> Path | None:
    """The Python to run an engine with: its environment's, or the running one where that has what the engine needs.

    None when there is none, or the environment is outdated.
    """
    here = installed(environment, home, locks)
    if here is not None:
        return here.python if here.current else None
    return Path(sys.executable) if importable(environment.module) else None


def identity(python: Path | None) -> str:
    """What of an environment can change a result: "xtts cpu 0123456789abcdef"; "" when `python` is not an environment's."""
    if python is None:
        return ""
    known = _manifest(python.parents[1])
    return f"{known['name']} {known['variant']} {str(known['lock'])[:16]}" if "lock" in known else ""


def pinned(environment: Environment, variant: str, package: str, locks: Path = LOCKS) -> str:
    """The version of a package that a lock names; "" when it names none."""
    file = lock_of(environment, variant, locks)
    if not package or not file.exists():
        return ""
    sign = re.compile(rf"^{re.escape(package)}==([^\s;\\]+)", re.MULTILINE | re.IGNORECASE)
    found = sign.search(file.read_text())
    return found[1] if found else ""


def importable(module: str) -> bool:
    """Whether the running Python has a module. Imports nothing, not even the packages that it lies in."""
    places: Any = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return False
        places = spec.submodule_search_locations
    return True


def install(environment: Environment, home: Path, wish: Wish | None = None) -> Installed:
    """Makes an environment, unless it is here as its lock says.

    Raises: BadSettings for a variant that it has not, or when it is not here and nothing may be fetched; MissingExtra when a
    package cannot be had; StoreError for a wrong hash, a full disk, a folder that cannot be written; EngineFailed when what
    was installed cannot be imported.
    """
    wish = wish or Wish()
    variant = _variant(environment, wish)
    lock = lock_of(environment, variant, wish.locks)
    here = installed(environment, home, wish.locks)
    if here and here.current and here.variant == variant:
        return here
    if wish.offline:
        text = f"the environment {environment.name} is not here, and --offline forbids to fetch it"
        raise BadSettings(text, "leave out --offline")
    folder = home / environment.name
    with _in_order(environment, home), _alone(environment, home, wish.tell) as held:
        here = installed(environment, home, wish.locks)
        if not (here and here.current and here.variant == variant):
            _check_room(environment, home, lock)
            _clear(folder)
            try:
                _make(environment, folder, lock, _Run(wish.tell, held))
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            facts = {"name": environment.name, "variant": variant, "lock": _digest(lock), "python": sys.version.split()[0]}
            part = folder / f"{MANIFEST}.part"
            part.write_text(json.dumps(facts, indent=1) + "\n")
            part.rename(folder / MANIFEST)
    return Installed(_python(folder), variant, _digest(lock), True)


def remove(environment: Environment, home: Path) -> int:
    """Deletes an environment, whole or not; tells how many bytes were freed. Raises: BadSettings when it is not there."""
    folder = home / environment.name
    if not folder.exists():
        raise BadSettings(f"the environment {environment.name} is not here", "see what is: polydub engines")
    with _in_order(environment, home), _alone(environment, home, lambda text: None):
        _require_ours(folder)
        freed = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
        (folder / MANIFEST).unlink(missing_ok=True)  # nobody shall start what is half gone
        shutil.rmtree(folder)
    return freed


def _require_ours(folder: Path) -> None:
    """Raises: StoreError for what somebody else put there: such a name may well be a checkout's."""
    ours = folder.is_dir() and not folder.is_symlink() and ((folder / MARK).exists() or (folder / MANIFEST).exists())
    if not ours and (folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir())))):
        raise StoreError(f"{folder} is there and is no environment of polydub's", "move it, or choose another --environments")


def _clear(folder: Path) -> None:
    """An empty folder that bears polydub's mark, whatever of an environment was there before. Raises: StoreError."""
    _require_ours(folder)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    (folder / MARK).touch()


def _variant(environment: Environment, wish: Wish) -> str:
    has = [v for v in environment.variants if lock_of(environment, v, wish.locks).exists()]
    if not has:
        raise BadSettings(f"there is no list of packages for the environment {environment.name}", "reinstall polydub")
    if wish.variant == AUTO:
        return "cuda" if "cuda" in has and _nvidia() else "cpu" if "cpu" in has else has[0]
    if wish.variant not in has:
        raise BadSettings(f"the environment {environment.name} has no variant {wish.variant}", f"it has: {', '.join(has)}")
    return wish.variant


def _nvidia() -> bool:
    """Whether an NVIDIA driver is here."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _check_room(environment: Environment, home: Path, lock: Path) -> None:
    text = "\n" + lock.read_text()
    need = next(count for sign, count in ROOM if sign in text)
    free = shutil.disk_usage(home).free
    if free < need:
        said = (
            f"the environment {environment.name} takes about {need / 1e9:.1f} GB, but {home} has only {free / 1e9:.1f} GB free"
        )
        raise StoreError(said, "free some space, or choose another folder with --environments")


@dataclass(frozen=True, slots=True)
class _Run:
    """How programs are run that make an environment.

    Attributes: held: file descriptor of the environment's lock, which they get, too: where polydub is killed, pip goes on, and
    nobody else may begin before it has ended.
    """

    tell: Callable[[str], None]
    held: int

    def __call__(self, *command: str) -> tuple[int, str]:
        """The exit status, and the last lines that were written; `tell` gets those that say how far it is."""
        last: deque[str] = deque(maxlen=400)
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            pass_fds=(self.held,),
            start_new_session=True,
        ) as process:
            try:
                for line in cast("IO[bytes]", process.stdout):
                    text = line.decode("utf-8", "replace").rstrip()
                    last.append(text)
                    if text.strip().startswith(("Downloading", "Using cached", "Installing")):
                        self.tell(text.strip()[:200])
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # pip works in a child of its own
                raise
        return process.returncode, "\n".join(last)


def _make(environment: Environment, folder: Path, lock: Path, run: _Run) -> None:
    """In place, since a virtual environment cannot be moved."""
    import venv

    own_pip = find_spec("pip") is None  # a Python that has none, as uv makes it
    run.tell(f"{environment.name}: making a Python of its own in {folder}")
    venv.EnvBuilder(symlinks=True, with_pip=own_pip).create(folder)
    python = str(_python(folder))
    pip = [python, "-m", "pip"] if own_pip else [sys.executable, "-m", "pip", "--python", python]
    flags = "--require-hashes --no-deps --only-binary :all: --no-compile --no-input --progress-bar off"
    status, said = run(*pip, "install", *flags.split(), "--disable-pip-version-check", "-r", str(lock))
    if status:
        raise _trouble(environment.name, said)
    run.tell(f"{environment.name}: compiling")
    run(python, "-I", "-m", "compileall", "-q", "-j", "0", str(folder / "lib"))
    run.tell(f"{environment.name}: trying it")
    program = "import importlib, sys; importlib.import_module(sys.argv[1])"
    status, said = run(python, "-I", "-c", program, environment.module)
    if status:
        last = said.strip().rpartition("\n")[2]
        raise EngineFailed(f"the environment {environment.name} was installed but does not work: {last}", "report it")


def _trouble(name: str, said: str) -> Exception:
    """What pip's words mean."""
    for line in said.splitlines()[-20:]:
        log.info("pip: %s", line)
    found = next(((kind, match) for sign, kind in TROUBLES if (match := sign.search(said))), None)
    kind, what = (found[0], found[1].groupdict().get("what") or "") if found else ("", "")
    if kind == "version" and "(from versions: none)" in said and TROUBLES[-1][0].search(said):
        kind = "network"
    begin = f"the environment {name} was not installed:"
    if kind == "hash":
        text = f"{begin} {what or 'a package'} is not what polydub was made with (its hash differs)"
        return StoreError(text, "somebody has changed it: do not use that package index; try another one")
    if kind == "full":
        return StoreError(f"{begin} the disk is full", "free some space, or choose another folder with --environments")
    if kind == "version":
        cpu = "set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds, or add --variant cuda"
        text = f"{begin} the package index has no {what} for this Python ({sys.version.split()[0]}, {sys.platform})"
        return MissingExtra(text, cpu if "+cpu" in what else "ask another package index (PIP_INDEX_URL), or take Python 3.11")
    if kind == "network":
        return MissingExtra(f"{begin} the package index cannot be reached", "check the connection, then try again")
    wrong = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines() or ["pip said nothing"]
    return MissingExtra(f"{begin} {wrong[-1].strip()[:300]}", "try again with --verbose, which shows what pip says")


def _python(folder: Path) -> Path:
    return folder / "bin/python"


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _digest(file: Path) -> str:
    """Of what a lock says; comments change nothing."""
    lines = (line for line in file.read_bytes().splitlines() if not line.lstrip().startswith(b"#"))
    return sha256(b"\n".join(lines)).hexdigest()


@contextmanager
def _alone(environment: Environment, home: Path, tell: Callable[[str], None]) -> Generator[int]:
    """Holds the environment's lock, and gives its descriptor; waits while another process makes or deletes it."""
    lock = home / ".partial" / f"{environment.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"{environment.name}: waiting for another process that is at it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield held.fileno()


@contextmanager
def _in_order(environment: Environment, home: Path) -> Generator[None]:
    """Says what the system refuses in one sentence. Raises: StoreError."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "free some space, check its permissions, or choose another folder with --environments"
        raise StoreError(f"the environment {environment.name} cannot be kept in {home}: {reason}", hint) from error
