"""What crosses the pipe between polydub and an engine's process comes out as it went in."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polydub.engines.base import Batch, Calibration, Request
from polydub.engines.sidecar.codec import Ended, Garbage, Pipe, Unsendable
from polydub.types import Artifact, Audio, Part, Placement, Segment, Voice, Word

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False)
WORDS = st.builds(Word, FLOATS, FLOATS, TEXTS, st.none() | FLOATS, st.booleans())
NOUNS = st.one_of(
    st.builds(Segment, FLOATS, FLOATS, TEXTS, TEXTS, TEXTS, st.lists(WORDS).map(tuple)),
    st.builds(Batch, TEXTS, TEXTS, st.lists(st.builds(Request, TEXTS, TEXTS)).map(tuple), terms=st.dictionaries(TEXTS, TEXTS)),
    st.builds(Part, TEXTS, TEXTS, st.builds(Voice, TEXTS, TEXTS, TEXTS, settings=st.dictionaries(TEXTS, FLOATS)), FLOATS),
    st.builds(Calibration, FLOATS, FLOATS, st.tuples(FLOATS, FLOATS), FLOATS),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    FLOATS,
    TEXTS,
    st.binary(),
    NOUNS,
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9)),
    st.binary(min_size=1).map(lambda name: Path(os.fsdecode(name))),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(TEXTS | st.integers() | st.none(), inner)
    ),
)
ARRAYS = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes()).filter(
        lambda d: d.kind in "biufcmMSU"
    ),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


def sent(value: object) -> Any:
    """`value` after a way through a pipe."""
    there = io.BytesIO()
    Pipe(io.BytesIO(), there).send({"id": 7, "event": "x"}, value)
    head, body = Pipe(io.BufferedReader(io.BytesIO(there.getvalue())), io.BytesIO()).receive()
    assert head == {"id": 7, "event": "x"}
    return body


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return isinstance(one, Path) and isinstance(other, Path) and one == other
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    return one == other


@given(VALUES)
def test_every_value_comes_out_as_it_went_in(value: object) -> None:
    assert same(sent(value), value)


@given(ARRAYS)
def test_every_array_comes_out_with_its_type_its_shape_and_its_bytes(array: np.ndarray[Any, Any]) -> None:
    found = sent(array)
    assert found.dtype == array.dtype.newbyteorder("<") and found.shape == array.shape
    assert found.tobytes() == np.ascontiguousarray(array, found.dtype).tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(5, dtype=">i4"),
        np.array([math.nan, math.inf, -0.0]),
    ],
)
def test_arrays_may_lie_in_memory_as_they_like(array: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(sent(array), array)


def test_sound_comes_out_as_sound_that_can_be_written_to() -> None:
    sound = Audio(np.linspace(-1, 1, 100, dtype=np.float32).reshape(2, 50), 44_100)
    found = sent(sound)
    np.testing.assert_array_equal(found.samples, sound.samples)
    found.samples[0, 0] = 0.5
    assert found.rate_hz == 44_100 and found.samples[0, 0] == 0.5


def test_numbers_that_are_not_finite_stay_what_they_are() -> None:
    found = sent((math.inf, -math.inf, math.nan))
    assert found[:2] == (math.inf, -math.inf) and math.isnan(found[2])


def test_numbers_of_numpy_become_numbers() -> None:
    assert same(sent((np.float32(0.5), np.int64(3), np.bool_(True), np.float64(0.25))), (0.5, 3, True, 0.25))


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        {"\udfff": 1},
        Segment(0.0, 1.0, text="\ud83d"),
        object(),
        {1, 2},
        lambda: None,
        np.array([object()]),
        np.zeros(2, [("a", "i4")]),
        (1, [2, ({"deep": object()},)]),
    ],
    ids=["surrogate", "key", "field", "object", "set", "function", "objects", "records", "deep"],
)
def test_what_does_not_belong_on_the_pipe_is_refused_before_anything_is_sent(value: object) -> None:
    there = io.BytesIO()
    with pytest.raises(Unsendable):
        Pipe(io.BytesIO(), there).send({"id": 1}, value)
    assert there.getvalue() == b""


def test_a_class_that_only_has_the_name_of_a_noun_is_refused() -> None:
    @dataclasses.dataclass
    class Segment:
        text: str

    with pytest.raises(Unsendable, match="Segment"):
        sent(Segment("x"))


@pytest.mark.parametrize(
    "line",
    [
        b"Loading model...\n",
        b"\x00\x01",
        b"{}\n",
        b'{"id": 1, "body": 1, "blocks": [-1]}\n',
        b'{"id": 1, "body": 1, "blocks": [99999999999999999999]}\n',
        b'{"id": 1, "body": 1, "blocks": ["x"]}\n',
        b'{"id": 1, "body": {"what": 1}, "blocks": []}\n',
        b'{"id": 1, "body": {"noun": "Popen", "of": {}}, "blocks": []}\n',
        b'{"id": 1, "body": {"noun": "Word", "of": {"wrong": 1}}, "blocks": []}\n',
        b'{"id": 1, "body": {"array": 0, "dtype": "|O", "shape": [1]}, "blocks": []}\n',
        b'{"id": 1, "body": {"array": 0, "dtype": "<f4", "shape": [9]}, "blocks": [4]}\nabcd',
        b'{"id": 1, "body": {"array": 3, "dtype": "<f4", "shape": [1]}, "blocks": [4]}\nabcd',
        b"{" * 5000 + b"\n",
    ],
    ids=range(13),
)
def test_what_is_no_frame_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(Garbage):
        Pipe(io.BufferedReader(io.BytesIO(line)), io.BytesIO()).receive()


@given(VALUES, st.integers(0, 200))
def test_a_frame_that_breaks_off_is_the_end(value: object, at: int) -> None:
    there = io.BytesIO()
    Pipe(io.BytesIO(), there).send({"id": 1}, value)
    whole = there.getvalue()
    with pytest.raises(Ended):
        Pipe(io.BufferedReader(io.BytesIO(whole[: min(at, len(whole) - 1)])), io.BytesIO()).receive()


def test_frames_of_many_threads_do_not_mix() -> None:
    there = io.BytesIO()
    pipe = Pipe(io.BytesIO(), there)
    threads = [threading.Thread(target=pipe.send, args=({"id": n}, np.full(1000, n))) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    back = Pipe(io.BufferedReader(io.BytesIO(there.getvalue())), io.BytesIO())
    found = [back.receive() for _ in threads]
    assert sorted(head["id"] for head, _ in found) == list(range(40))
    assert all((body == head["id"]).all() for head, body in found)


def test_a_placement_keeps_every_field() -> None:
    one = Placement("7.1", "A", 1.0, 2.0, 1.1, 0.1, 0.0, 2.2)
    assert sent([one, Artifact("ab", ".flac", 3)]) == [one, Artifact("ab", ".flac", 3)]
