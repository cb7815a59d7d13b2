"""Every test starts from an empty home, a clean environment and no network but loopback."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy; many tests run at once
os.environ.setdefault("OMP_NUM_THREADS", "1")

import imageio_ffmpeg
import pytest
from hypothesis import settings
from pytest_socket import socket_allow_hosts

if TYPE_CHECKING:
    from polydub.sample import SampleFiles

# Machines that test are busy: a slow example is no failure. `timeout` in pyproject.toml ends what hangs.
# The same examples in every run: what passed passes again. `make fuzz` looks at others.
settings.register_profile("polydub", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "polydub"))

# Jobs that a shell starts in the background ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LOOPBACK = ["127.0.0.1", "::1"]
SECRETS = ("OPENAI_API_KEY", "GROQ_API_KEY", "HF_TOKEN", "HF_ENDPOINT")
SHARED_DATA = Path(os.environ.get("POLYDUB_SHARED_DATA") or Path(__file__).resolve().parents[1] / "../shared/data").resolve()


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty home, no POLYDUB_* variables or keys, sockets to loopback only (pytest-socket undoes it after the test)."""
    home = Path(tempfile.mkdtemp(prefix="home-", dir=tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (("CONFIG", ".config"), ("CACHE", ".cache"), ("DATA", ".local/share"), ("STATE", ".local/state")):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    for name in [n for n in os.environ if n.startswith("POLYDUB_") or n in SECRETS]:
        monkeypatch.delenv(name)
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    socket_allow_hosts(LOOPBACK, allow_unix_socket=True)
    yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real media and small weights beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs ../shared/data (not present); POLYDUB_SHARED_DATA names another place")
    return SHARED_DATA


@dataclass(frozen=True)
class ClipOptions:
    """A generated clip. `sound`: "tones" rises and falls like speech, "sine" is steady, "silence" digital, "none" no track."""

    seconds: float = 3.0
    size: tuple[int, int] = (160, 90)
    sound: Literal["tones", "sine", "silence", "none"] = "tones"
    suffix: str = ".mkv"
    fps: int = 25
    picture: bool = True
    channels: int = 2
    rate_hz: int = 48_000


SOUNDS = {
    "sine": "sine=frequency=440:sample_rate={rate}:duration={d}",
    "silence": "anullsrc=sample_rate={rate}:channel_layout=mono,atrim=duration={d}",
    # a voiced buzz of 140 Hz and its harmonics in syllables of 0.2 s, words of 0.8 s
    "tones": "aevalsrc='0.3*(sin(880*t)+0.5*sin(1760*t)+0.3*sin(2640*t))*pow(sin(16*t),2)*gt(sin(4*t),-0.4)'"
    ":sample_rate={rate}:duration={d}",
}


def make_clip(path: Path, options: ClipOptions) -> None:
    """Writes a small clip by ffmpeg's generators."""
    inputs: list[str] = []
    if options.picture:
        width, height = options.size
        inputs += ["-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate={options.fps}:duration={options.seconds}"]
    if options.sound != "none":
        source = SOUNDS[options.sound].format(rate=options.rate_hz, d=options.seconds)
        inputs += ["-f", "lavfi", "-i", source, "-ac", str(options.channels)]
    picture = (
        ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(options.fps), "-pix_fmt", "yuv420p"] if options.picture else []
    )
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-nostdin", "-v", "error", "-y", *inputs, *picture, "-fflags", "+bitexact", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips made in this session by this worker."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
def clip(clip_cache: Path, tmp_path: Path) -> Callable[..., Path]:
    """`clip("talk", seconds=3, sound="none", suffix=".mp4")` -> a fresh copy, `tmp_path/talk.mp4`, of a generated clip."""

    def make(name: str = "clip", **options: object) -> Path:
        wanted = ClipOptions(**options)  # type: ignore[arg-type]
        stem = "-".join(str(v).strip(".").replace(" ", "") for v in astuple(wanted))
        kept = clip_cache / f"{stem}{wanted.suffix}"
        if not kept.exists():
            make_clip(kept, wanted)
        return Path(shutil.copyfile(kept, tmp_path / f"{name}{wanted.suffix}"))

    return make


@pytest.fixture(scope="session")
def sample_original(tmp_path_factory: pytest.TempPathFactory) -> SampleFiles:
    """The sample film, made once for all workers. Read it only; `sample` is a copy to do anything with."""
    from polydub.sample import SampleFiles, make_sample

    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "sample-film"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            make_sample(shared)
            (shared / "done").touch()
    return SampleFiles.within(shared)


@pytest.fixture
def sample(sample_original: SampleFiles, tmp_path: Path) -> SampleFiles:
    """The sample film and its subtitles, copied into `tmp_path`."""
    from polydub.sample import SampleFiles

    for path in astuple(sample_original):
        shutil.copy(path, tmp_path)
    return SampleFiles.within(tmp_path)
