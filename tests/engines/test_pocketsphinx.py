"""PocketSphinx hears the same in any order, in parallel, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checks import part, recorded

from polydub.engines import workers
from polydub.engines.asr.pocketsphinx import WORKER, breath_groups, words_of
from polydub.engines.base import Transcriber
from polydub.engines.registry import get
from polydub.engines.workers import Program
from polydub.errors import EngineFailed
from polydub.types import HEAR_HZ, Audio, Segment, Word

ENGINE = get("asr", "pocketsphinx")
Children = Callable[[], set[int]]


@pytest.fixture(scope="module")
def asr() -> Iterator[Transcriber]:
    with ENGINE.load(ENGINE.options(), {}, "cpu") as transcriber:
        yield transcriber


@pytest.fixture(scope="module")
def jfk(shared_data: Path) -> Audio:
    return recorded(shared_data / "media/whisper-jfk/jfk.flac")


def heard(asr: Transcriber, sound: Audio) -> list[Segment]:
    return list(asr.transcribe(sound, "en"))


def noise(seconds: float, level: float = 0.1) -> Audio:
    samples = np.random.default_rng(3).normal(0, level, (1, round(seconds * HEAR_HZ)))
    return Audio(samples.astype(np.float32), HEAR_HZ)


def test_clear_words_are_heard_at_their_times(asr: Transcriber, jfk: Audio) -> None:
    found = heard(asr, part(jfk, 5.0, 11.0))
    words = [w for s in found for w in s.words]
    assert "what you can do for your country" in " ".join(w.text.casefold() for w in words)
    assert len(found) >= 2, "he pauses"
    for segment in found:
        assert segment.text == " ".join(w.text for w in segment.words)
        assert segment.text[0].isupper()
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    last = next(w for w in words if w.text == "country" and w.start > 4)
    assert 4.8 < last.start < last.end < 5.6


def test_the_level_of_the_sound_does_not_matter(asr: Transcriber, jfk: Audio) -> None:
    clear = part(jfk, 9, 11)
    quiet = Audio(clear.samples * np.float32(0.01), HEAR_HZ)
    assert [s.text for s in heard(asr, quiet)] == [s.text for s in heard(asr, clear)]


def test_the_same_sound_has_the_same_words_whatever_came_before_and_beside_it(asr: Transcriber, jfk: Audio) -> None:
    sounds = [part(jfk, start, start + 1.5) for start in (0.3, 5.2, 9.0)] + [noise(0.5)]
    alone = [heard(asr, sound) for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda sound: heard(asr, sound), sounds[::-1])) == alone[::-1]


@pytest.mark.parametrize("frames", [0, 1, 1599, 8 * HEAR_HZ])
def test_silence_holds_no_words(asr: Transcriber, frames: int) -> None:
    hum = np.sin(np.arange(frames) / 50).astype(np.float32) * np.float32(5e-4)
    for samples in (np.zeros(frames, np.float32), hum):
        assert heard(asr, Audio(samples[np.newaxis], HEAR_HZ)) == []


def test_fillers_and_alternates_are_cleaned() -> None:
    rows = [
        ("<s>", 0, 2, 1.0),
        ("the(2)", 3, 9, 0.25),
        ("[NOISE]", 10, 19, 1.0),
        ("i'm", 20, 40, 1.0001),
        ("</s>", 41, 60, 1.0),
    ]
    assert words_of(rows, 0.4) == [Word(0.03, 0.1, "the", 0.25), Word(0.2, 0.4, "I'm", 1.0)]


def test_a_long_pause_begins_a_new_group_and_a_short_one_does_not() -> None:
    words = [Word(0.0, 0.5, "so"), Word(0.8, 1.0, "it"), Word(1.4, 2.0, "goes")]
    assert [[w.text for w in group] for group in breath_groups(words)] == [["So", "it"], ["Goes"]]
    assert breath_groups([]) == []


def test_a_worker_that_is_killed_is_started_again(children: Children, jfk: Audio) -> None:
    with ENGINE.load(ENGINE.options(), {}, "cpu") as asr:
        before = heard(asr, part(jfk, 9.5, 11))
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        assert heard(asr, part(jfk, 9.5, 11)) == before
    assert not children()


def test_closing_ends_what_is_being_recognised(children: Children, jfk: Audio) -> None:
    with ThreadPoolExecutor(1) as pool:
        with ENGINE.load(ENGINE.options(), {}, "cpu") as asr:
            call = pool.submit(heard, asr, Audio(np.tile(jfk.samples, (1, 6)), HEAR_HZ))
            while not children():
                time.sleep(0.01)
        with pytest.raises(EngineFailed):
            call.result(60)
    assert not children()


def test_the_worker_dies_with_the_one_who_started_it(tmp_path: Path) -> None:
    starter = (
        "import subprocess, sys\n"
        f"command = [sys.executable, '-I', '-B', {str(WORKER)!r}, 'asr']\n"
        "p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        'p.stdin.write(b\'{"id": 1, "bytes": 1920000}\\n\' + bytes(range(256)) * 7500)\n'
        "p.stdin.flush()\n"
        "print(p.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        worker = int(parent.stdout.readline())
        group = _family(worker)
        parent.kill()
    deadline = time.monotonic() + 60
    while any(map(_alive, group)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, group))


def _family(pid: int) -> set[int]:
    """A process and its children, once it has one."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    if not listing.exists():
        pytest.skip("needs /proc")
    deadline = time.monotonic() + 60
    while not listing.read_text().split() and time.monotonic() < deadline:
        time.sleep(0.01)
    return {pid, *map(int, listing.read_text().split())}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Programs that engines talk to.

ECHO = """
import json, sys
print("{}", flush=True)
for line in iter(sys.stdin.buffer.readline, b""):
    question = json.loads(line)
    sound = sys.stdin.buffer.read(question["bytes"])
    if sound == b"die":
        sys.exit(1)
    if sound == b"wait":
        continue
    if sound == b"babble":
        print("[]", flush=True)
    elif sound == b"no":
        print(json.dumps({"id": question["id"], "error": "will not"}), flush=True)
    else:
        print(json.dumps({"id": question["id"], "said": sound.decode()}), flush=True)
"""


@pytest.fixture
def echo() -> Iterator[Program]:
    program = Program("Echo", [sys.executable, "-I", "-c", ECHO], 4, 1.0)
    yield program
    program.close()


def test_many_questions_at_once_get_their_own_answers(echo: Program) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: echo.ask({}, str(n).encode())["said"], range(200)))
    assert answers == [str(n) for n in range(200)]


@pytest.mark.parametrize(
    ("sound", "why"), [(b"die", "ended"), (b"no", "will not"), (b"babble", "nonsense"), (b"wait", "for 1 s")]
)
def test_a_program_that_fails_is_an_error_and_works_again_afterwards(echo: Program, sound: bytes, why: str) -> None:
    with pytest.raises(EngineFailed, match=why):
        echo.ask({}, sound)
    assert echo.ask({}, b"hello")["said"] == "hello"


def test_a_program_that_cannot_start_says_why() -> None:
    program = Program("Nothing", [sys.executable, "-I", "-c", 'print(\'{"error": "no model"}\')'], 1, 5.0)
    with pytest.raises(EngineFailed, match="Nothing failed: no model"):
        program.ask({})
    program.close()


def test_a_closed_program_is_not_started_again(echo: Program) -> None:
    echo.close()
    with pytest.raises(EngineFailed, match="closed"):
        echo.ask({}, b"hello")
    assert workers.cores() >= 1
