"""`models.pull` against servers that cut, lie, stall, mislabel and lead in circles."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from misbehaving import Answer, Server, misbehaving

from polydub import models
from polydub.engines.base import Weight, WeightFile
from polydub.errors import MissingWeights, StoreError
from web_origin import digest, serving

CONTENT = random.Random(5).randbytes(300_000)
CALM = models.Patience(connect_s=60, silent_s=60, pauses_s=(0.01, 0.01))  # a busy machine is silent at times, too
HASTY = models.Patience(connect_s=60, silent_s=1, pauses_s=(0.01, 0.01))


@pytest.fixture
def server() -> Iterator[Server]:
    with misbehaving() as running:
        yield running


@pytest.fixture
def weight(server: Server) -> Weight:
    return Weight("m", "1", "files", "MIT", True, (WeightFile("m.bin", digest(CONTENT), len(CONTENT), f"{server.address}/m"),))


def pull(weight: Weight, home: Path, patience: models.Patience = CALM) -> bytes:
    return (models.pull(weight, home, lambda done, total: None, patience=patience) / "m.bin").read_bytes()


def rest(start: int, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
    """The content from `start` on, as an answer to a range."""
    told = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return Answer(CONTENT[start:] if body is None else body, 206, told | (headers or {}))


def cut(count: int) -> Answer:
    """The first bytes, and then the connection is closed."""
    return Answer(CONTENT[:count], claimed=len(CONTENT))


def kept(home: Path) -> list[str]:
    """Files of the model that lie anywhere."""
    return [path.name for path in home.rglob("m.bin*") if path.stat().st_size]


def test_a_connection_that_is_cut_is_continued(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [cut(100_000), rest(100_000)]
    assert pull(weight, tmp_path) == CONTENT
    assert server.ranges == ["", "bytes=100000-"]


def test_silence_is_a_broken_line(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [Answer(CONTENT, stall_s=30), rest(150_000)]
    assert pull(weight, tmp_path, HASTY) == CONTENT


def test_one_that_is_always_silent_is_given_up_and_what_came_is_kept(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [Answer(CONTENT, stall_s=30), Answer(b"x", 206, rest(150_000).headers, claimed=150_000, stall_s=30)]
    with pytest.raises(MissingWeights, match="it does not answer") as caught:
        pull(weight, tmp_path, HASTY)
    assert "what has come is kept" in caught.value.hint
    assert kept(tmp_path) == ["m.bin.part"]


def test_one_that_drips_is_given_up(server: Server, weight: Weight, tmp_path: Path) -> None:
    told = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/*"}
    server.answers = [Answer(b"x", 200, told, claimed=len(CONTENT))]
    with pytest.raises(MissingWeights, match="broke off"):
        pull(weight, tmp_path)
    assert len(server.ranges) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(server: Server, weight: Weight, tmp_path: Path, status: int) -> None:
    server.answers = [Answer(status=status), Answer(status=status), Answer(CONTENT)]
    assert pull(weight, tmp_path) == CONTENT


def test_one_that_stays_busy_is_given_up(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [Answer(status=503)]
    with pytest.raises(MissingWeights, match=r"cannot hand out m\.bin of m now \(503\)"):
        pull(weight, tmp_path)
    assert len(server.ranges) == 3


@pytest.mark.parametrize(
    "lie",
    [
        Answer(CONTENT[:-1]),
        Answer(CONTENT + b"x"),
        Answer(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])),
        Answer(b"<html>hello</html>"),
        Answer(b""),
        Answer(CONTENT, 206, {"Content-Range": f"bytes 7-300006/{len(CONTENT)}"}),
        Answer(gzip.compress(b"something else"), headers={"Content-Encoding": "gzip"}),
    ],
    ids=["shorter", "longer", "one bit", "a page", "nothing", "another part", "packed other"],
)
def test_other_content_is_refused_and_nothing_of_it_is_kept(
    server: Server, weight: Weight, tmp_path: Path, lie: Answer
) -> None:
    server.answers = [lie]
    with pytest.raises(StoreError, match=r"m\.bin of m came with other content"):
        pull(weight, tmp_path)
    assert kept(tmp_path) == [] and models.find(weight, tmp_path) is None


def test_a_file_of_another_length_is_not_even_received(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [Answer(CONTENT + b"x")]
    heard: list[int] = []
    with pytest.raises(StoreError, match="other content"):
        models.pull(weight, tmp_path, lambda done, total: heard.append(done), patience=CALM)
    assert heard == []


def test_a_promise_of_more_than_comes_is_no_whole_file(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [cut(200_000), rest(200_000, body=b"")]
    with pytest.raises((MissingWeights, StoreError)):
        pull(weight, tmp_path)
    assert models.find(weight, tmp_path) is None


@pytest.mark.parametrize(
    "wrong",
    [
        Answer(CONTENT[50_000:], 206, {"Content-Range": f"bytes 50000-{len(CONTENT) - 1}/{len(CONTENT)}"}),
        Answer(bytes(200_000), 206, {"Content-Range": "bytes 100000-299999/400000"}),
        Answer(bytes(200_000), 206, {"Content-Range": "bytes 100000-299999/300000"}),
        Answer(CONTENT[100_000:], 206, {}),
        Answer(gzip.compress(CONTENT[100_000:]), 206, {**rest(100_000).headers, "Content-Encoding": "gzip"}),
        Answer(b"", 416, {"Content-Range": "bytes */100000"}),
    ],
    ids=["another start", "of something longer", "of something else", "unlabelled", "packed", "nothing there"],
)
def test_a_wrong_rest_is_not_sewn_on(server: Server, weight: Weight, tmp_path: Path, wrong: Answer) -> None:
    server.answers = [cut(100_000), wrong, Answer(CONTENT)]
    assert pull(weight, tmp_path) == CONTENT
    assert server.ranges == ["", "bytes=100000-", ""]


def test_a_part_of_an_earlier_pull_that_does_not_fit_is_fetched_anew(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [cut(100_000)]
    with pytest.raises(MissingWeights):
        pull(weight, tmp_path)
    server.answers = [rest(100_000, body=bytes(200_000)), Answer(CONTENT)]
    assert pull(weight, tmp_path) == CONTENT


def test_a_file_that_is_packed_against_our_wish_is_unpacked(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [Answer(gzip.compress(CONTENT), headers={"Content-Encoding": "gzip", "ETag": '"packed"'})]
    assert pull(weight, tmp_path) == CONTENT


def test_a_packed_file_that_swells_is_stopped(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [Answer(gzip.compress(bytes(200_000_000)), headers={"Content-Encoding": "gzip"})]
    heard = [0]
    with pytest.raises(StoreError):
        models.pull(weight, tmp_path, lambda done, total: heard.append(done), patience=CALM)
    assert max(heard) <= len(CONTENT)


def test_redirects_in_a_circle_end(server: Server, weight: Weight, tmp_path: Path) -> None:
    server.answers = [Answer(status=302, headers={"Location": "/m"})]
    with pytest.raises(MissingWeights, match="it redirects in circles"):
        pull(weight, tmp_path)
    assert len(server.ranges) < 50


PULL = """
import sys
from pathlib import Path
from polydub import models
from polydub.engines.base import Weight, WeightFile
models.pull({weight!r}, Path(sys.argv[1]), lambda done, total: None)
"""


def test_of_four_processes_one_fetches_and_all_have_it(tmp_path: Path) -> None:
    with serving() as origin:
        origin.files["/m"], origin.piece_s = CONTENT, 0.005
        file = WeightFile("m.bin", digest(CONTENT), len(CONTENT), f"{origin.address}/m")
        weight = Weight("m", "1", "files", "MIT", True, (file,))
        command = [sys.executable, "-c", PULL.format(weight=weight), str(tmp_path)]
        several = [subprocess.Popen(command, env=os.environ) for _ in range(4)]
        assert [one.wait(60) for one in several] == [0] * 4
        assert len(origin.asked) == 1
    assert models.verify(weight, tmp_path) == []
