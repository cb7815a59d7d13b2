"""Environments of engines: made from a lock, whole or not there, never half.

The packages are made here, and pip is told to look nowhere else; only the last test needs a package index.
"""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sidecar_engine import ENGINE, Odd

from polydub.engines import environments
from polydub.engines.base import Environment
from polydub.engines.environments import Wish, find, identity, importable, install, installed, remove
from polydub.engines.sidecar.host import running
from polydub.engines.sidecar.process import Start
from polydub.errors import BadSettings, EngineFailed, MissingExtra, StoreError

makes = pytest.mark.slow  # an environment: seconds
ODD = Environment("odd", "odd_package")
CORE = Path(__file__).resolve().parents[2] / "requirements/core.txt"
# numpy 1.26.4, manylinux wheels as on the Python package index: cp311 and cp312, x86_64 and aarch64.
OLD_NUMPY = (
    "numpy==1.26.4"
    " --hash=sha256:666dbfb6ec68962c033a450943ded891bed2d54e6755e35e5835d63f4f6931d5"
    " --hash=sha256:d209d8969599b27ad20994c8e41936ee0964e6da07478d6c35016bc386b66ad4"
)


def wheel(folder: Path, version: str = "1.0", code: str = "VALUE = 1\n") -> str:
    """Makes a wheel of odd_package; gives its line of a lock."""
    name, info = f"odd_package-{version}-py3-none-any.whl", f"odd_package-{version}.dist-info"
    files = {
        "odd_package.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: odd-package\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }

    def row(path: str, text: str) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        return f"{path},sha256={digest},{len(text.encode())}\n"

    record = "".join(row(*item) for item in files.items()) + f"{info}/RECORD,,\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as made:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            made.writestr(path, text)
    return f"odd-package=={version} --hash=sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(folder), "NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


@pytest.fixture
def wish(tmp_path: Path, wheels: Path) -> Wish:
    """Locks of "odd", for both variants, with the package."""
    locks = tmp_path / "locks"
    locks.mkdir()
    for variant in ("cpu", "cuda"):
        (locks / f"odd.{variant}.txt").write_text(f"# {variant}\n{wheel(wheels)}")
    return Wish("cpu", locks=locks)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def value(python: Path) -> str:
    run = subprocess.run([python, "-I", "-c", "import odd_package; print(odd_package.VALUE)"], capture_output=True, check=True)
    return run.stdout.decode().strip()


def test_an_environment_is_made_from_its_lock_and_found(home: Path, wish: Wish) -> None:
    told: list[str] = []
    assert find(ODD, home, wish.locks) is None
    here = install(ODD, home, replace(wish, tell=told.append))
    assert find(ODD, home, wish.locks) == here.python and here.python.is_relative_to(home)
    assert value(here.python) == "1" and told
    assert list(here.python.parents[1].rglob("odd_package*.pyc")), "it is compiled"
    assert identity(here.python) == f"odd cpu {here.lock[:16]}"


@makes
def test_an_engine_of_another_package_brings_its_own_lock(home: Path, wish: Wish, tmp_path: Path) -> None:
    own = tmp_path / "plugin"
    own.mkdir()
    lock = environments.lock_of(ODD, "cpu", wish.locks)
    (own / "theirs.cpu.txt").write_text(lock.read_text())
    theirs = Environment("theirs", "odd_package", ("cpu",), own)
    made = environments.install(theirs, home, wish)
    assert (made.variant, made.current) == ("cpu", True)
    (own / "theirs.cpu.txt").write_text(lock.read_text() + "other==1\n")
    assert environments.find(theirs, home, wish.locks) is None


@makes
def test_what_is_here_is_left_alone(home: Path, wish: Wish) -> None:
    first = install(ODD, home, wish)
    before = first.python.parents[1].stat().st_mtime_ns
    told: list[str] = []
    assert install(ODD, home, replace(wish, tell=told.append, offline=True)) == first
    assert first.python.parents[1].stat().st_mtime_ns == before and not told


@makes
def test_a_comment_changes_nothing_but_a_new_version_makes_it_outdated_until_it_is_installed_again(
    home: Path, wish: Wish, wheels: Path
) -> None:
    first = install(ODD, home, wish)
    lock = wish.locks / "odd.cpu.txt"
    lock.write_text("# another remark\n" + lock.read_text())
    assert find(ODD, home, wish.locks) == first.python
    lock.write_text(wheel(wheels, "2.0", "VALUE = 2\n"))
    assert find(ODD, home, wish.locks) is None
    here = installed(ODD, home, wish.locks)
    assert here is not None and not here.current
    again = install(ODD, home, wish)
    assert value(again.python) == "2" and identity(again.python) != f"odd cpu {first.lock[:16]}"


@makes
def test_another_variant_takes_the_place_of_the_first(home: Path, wish: Wish) -> None:
    install(ODD, home, wish)
    assert install(ODD, home, replace(wish, variant="cuda")).variant == "cuda"
    here = installed(ODD, home, wish.locks)
    assert here is not None and here.variant == "cuda"


def test_a_variant_that_there_is_not_is_refused(home: Path, wish: Wish) -> None:
    with pytest.raises(BadSettings, match="no variant cuda") as caught:
        install(replace(ODD, variants=("cpu",)), home, replace(wish, variant="cuda"))
    assert "cpu" in caught.value.hint
    with pytest.raises(BadSettings, match="no list of packages"):
        install(Environment("other", "x"), home, wish)


def test_offline_nothing_is_fetched(home: Path, wish: Wish) -> None:
    with pytest.raises(BadSettings, match="--offline"):
        install(ODD, home, replace(wish, offline=True))
    assert not (home / "odd").exists()


@makes
def test_a_package_that_was_changed_is_refused_and_nothing_is_left(home: Path, wish: Wish, wheels: Path) -> None:
    wheel(wheels, code="VALUE = 'evil'\n")
    with pytest.raises(StoreError, match=r"odd.package==1.0 is not what polydub was made with"):
        install(ODD, home, wish)
    assert not (home / "odd").exists() and find(ODD, home, wish.locks) is None


@makes
def test_a_version_that_the_index_has_not_is_named(home: Path, wish: Wish, wheels: Path) -> None:
    (wish.locks / "odd.cpu.txt").write_text("odd-package==9.0 --hash=sha256:" + "0" * 64)
    with pytest.raises(MissingExtra, match=r"has no odd-package==9\.0 for this Python"):
        install(ODD, home, wish)
    (wish.locks / "odd.cpu.txt").write_text("torch==9.0+cpu --hash=sha256:" + "0" * 64)
    with pytest.raises(MissingExtra, match=r"torch==9.0\+cpu") as caught:
        install(ODD, home, wish)
    assert "PIP_EXTRA_INDEX_URL" in caught.value.hint


@makes
def test_a_package_without_a_hash_is_refused(home: Path, wish: Wish) -> None:
    (wish.locks / "odd.cpu.txt").write_text("odd-package==1.0\n")
    with pytest.raises(MissingExtra, match=r"(?i)hash"):
        install(ODD, home, wish)


@makes
def test_an_index_that_cannot_be_reached_is_said(home: Path, wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NO_INDEX": "0", "FIND_LINKS": "", "INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(MissingExtra, match="cannot be reached"):
        install(ODD, home, wish)


@makes
def test_what_cannot_be_imported_is_not_kept(home: Path, wish: Wish, wheels: Path) -> None:
    (wish.locks / "odd.cpu.txt").write_text(wheel(wheels, code="raise ImportError('no libodd.so')\n"))
    with pytest.raises(EngineFailed, match=r"does not work: ImportError: no libodd\.so"):
        install(ODD, home, wish)
    assert not (home / "odd").exists()


def test_a_folder_that_cannot_be_written_is_said(home: Path, wish: Wish) -> None:
    home.write_text("a file")
    with pytest.raises(StoreError, match="cannot be kept"):
        install(ODD, home, wish)


def _leave(text: str) -> None:
    if text.startswith("Installing"):
        os._exit(9)


@makes
def test_what_an_interruption_left_is_not_used_and_made_anew(home: Path, wish: Wish) -> None:
    fork = multiprocessing.get_context("spawn").Process(target=install, args=(ODD, home, replace(wish, tell=_leave)))
    fork.start()
    fork.join()
    assert fork.exitcode == 9 and (home / "odd/bin/python").exists()
    assert find(ODD, home, wish.locks) is None
    assert value(install(ODD, home, wish).python) == "1"


@makes
def test_several_who_install_the_same_make_it_once(home: Path, wish: Wish) -> None:
    told: list[str] = []
    all_here = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        if sum("waiting" in text for text in told) == 3:
            all_here.set()
        elif "making" in text:
            assert all_here.wait(60)

    def one(_: int) -> Path:
        return install(ODD, home, replace(wish, tell=tell)).python

    with ThreadPoolExecutor(4) as threads:
        pythons = set(threads.map(one, range(4)))
    assert len(pythons) == 1
    assert sum("making" in text for text in told) == 1
    assert sum("waiting" in text for text in told) == 3


@makes
@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_of_somebody_else_is_neither_replaced_nor_removed(
    home: Path, wish: Wish, tmp_path: Path, linked: bool
) -> None:
    mine = tmp_path / "mine" if linked else home / ODD.name
    mine.mkdir(parents=True)
    (mine / "precious").write_text("mine")
    if linked:
        home.mkdir(exist_ok=True)
        (home / ODD.name).symlink_to(mine)
    with pytest.raises(StoreError, match="no environment of polydub's"):
        install(ODD, home, wish)
    with pytest.raises(StoreError, match="no environment of polydub's"):
        remove(ODD, home)
    assert (mine / "precious").read_text() == "mine"


@makes
def test_a_removed_one_is_gone(home: Path, wish: Wish) -> None:
    install(ODD, home, wish)
    assert remove(ODD, home) > 10_000
    assert not (home / "odd").exists() and find(ODD, home, wish.locks) is None
    with pytest.raises(BadSettings, match="not here"):
        remove(ODD, home)


@makes
@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": "other"}', '{"name": "odd"}'])
def test_a_damaged_manifest_is_none(home: Path, wish: Wish, text: str) -> None:
    python = install(ODD, home, wish).python
    (python.parents[1] / "polydub.json").write_text(text)
    assert find(ODD, home, wish.locks) is None


@makes
def test_an_environment_whose_python_has_gone_is_not_here(home: Path, wish: Wish) -> None:
    python = install(ODD, home, wish).python
    python.unlink()
    python.symlink_to(home / "nowhere")
    assert find(ODD, home, wish.locks) is None


def test_the_running_python_serves_where_it_has_the_module(home: Path) -> None:
    assert find(Environment("none", "pydantic"), home) == Path(sys.executable)
    assert find(Environment("none", "no_such_module"), home) is None
    assert identity(Path(sys.executable)) == "" == identity(None)


def test_looking_for_a_module_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_parent/odd_child").mkdir(parents=True)
    (tmp_path / "odd_parent/__init__.py").write_text("raise SystemExit\n")
    (tmp_path / "odd_parent/odd_child/__init__.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importable("odd_parent.odd_child") and not importable("odd_parent.other")
    assert "odd_parent" not in sys.modules


def test_every_lock_of_polydub_has_versions_hashes_and_no_addresses() -> None:
    for lock in environments.LOCKS.glob("*.txt"):
        text = "\n".join(line for line in lock.read_text().splitlines() if not line.startswith("#"))
        pins = [line for line in text.splitlines() if line and not line.startswith(" ")]
        assert pins and all(re.match(r"[\w.\[\]-]+==[\w.+!-]+( ;.*)? \\$", pin) for pin in pins), lock
        assert "://" not in text and "/" not in text, lock
        blocks = re.split(r"\n(?=\S)", text)
        assert all("--hash=sha256:" in block for block in blocks), lock
        assert {"numpy", "pydantic"} <= {pin.partition("==")[0].partition("[")[0] for pin in pins}, lock


def pins(*names: str) -> str:
    """Lines of the core's own lock."""
    blocks = re.split(r"\n(?=\S)", CORE.read_text())
    return "\n".join(block for block in blocks if block.partition("==")[0] in names) + "\n"


@pytest.fixture(scope="session")
def two_numpys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`two_numpys("old")`, `("new")`: Pythons with numpy 1 and 2; skipped where no package index can be reached."""
    folder = tmp_path_factory.mktemp("numpys")
    rest = pins("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection")
    (folder / "old.cpu.txt").write_text(f"{rest}{OLD_NUMPY}\n")
    (folder / "new.cpu.txt").write_text(rest + pins("numpy"))

    def make(name: str) -> Path:
        try:
            return install(Environment(name, "numpy"), folder / "home", Wish("cpu", locks=folder)).python
        except MissingExtra as error:
            pytest.skip(f"not run: {error.message}")

    return make


@makes
def test_two_engines_with_different_numpys_work_side_by_side(two_numpys: Callable[[str], Path]) -> None:
    import numpy as np

    sound = np.random.default_rng(2).random((2, 48_000), np.float32)
    starts = [Start(ENGINE, "sidecar_engine:ENGINE", Odd(), {}, "cpu", two_numpys(name)) for name in ("old", "new")]
    with running(starts[0]) as old, running(starts[1]) as new:
        found = [engine.facts() for engine in (old, new)]
        assert found[0]["numpy"] == "1.26.4" and found[1]["numpy"].startswith("2.")
        assert len({facts["pid"] for facts in found} | {os.getpid()}) == 3
        for engine in (old, new):
            np.testing.assert_array_equal(engine.echo(sound), sound)
            assert engine.importable("polydub.types") and engine.importable("pydantic")
            for name in ("scipy", "av", "soundfile", "httpx", "click", "pytest", "sidecar_engine.x"):
                assert not engine.importable(name), name


@makes
def test_an_environment_is_told_apart_in_keys_by_its_lock(home: Path, wish: Wish) -> None:
    from polydub.engines import registry

    python = install(ODD, home, wish).python
    found = registry.identity(replace(ENGINE, environment=ODD), Odd(), "cpu", python)
    assert found["package"] == identity(python) and json.loads(json.dumps(found)) == found
