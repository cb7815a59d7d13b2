"""What crosses the pipe between polydub and an engine's process: one JSON line and raw blocks.

The line is `{"id": n, ..., "body": tree, "blocks": [bytes, ...]}`. Numbers, texts, None and lists are themselves in the
tree; everything else is an object with one tag: tuples, mappings, paths, ranges, bytes, arrays (their content is a block,
little-endian), and the dataclasses of `polydub.types` and `polydub.engines.base` by name. Nothing else can be sent.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from math import prod
from pathlib import Path, PurePath
from typing import IO, Any, cast

import numpy as np

from polydub import types
from polydub.engines import base

CHUNK = 16 << 20  # bytes written at once; larger writes gain nothing and double the memory
LINE = 256 << 20  # longest line
MOST = 16 << 30  # largest block; more is nonsense on the pipe
KINDS_OF_NUMBERS = "biufcmMSU"  # of arrays that can be sent: no objects, no records


class Garbage(Exception):
    """What came is no frame."""


class Ended(Exception):
    """The other side has closed the pipe."""


class Unsendable(TypeError, ValueError):
    """A value that does not belong on the pipe."""


@cache
def _nouns() -> Mapping[str, type]:
    """The dataclasses that may be sent, by name."""
    found: dict[str, type] = {}
    for module in (types, base):
        for name, value in vars(module).items():
            if isinstance(value, type) and is_dataclass(value) and value.__module__ == module.__name__:
                found[name] = value
    return found


def pack(value: object, blocks: list[memoryview]) -> Any:
    """`value` as a tree of plain JSON; the content of its arrays is appended to `blocks`. Raises: Unsendable."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, list):
        return [pack(item, blocks) for item in cast("list[object]", value)]
    if isinstance(value, np.generic):
        return pack(cast("Any", value).item(), blocks)
    return _tagged(value, blocks)


def _tagged(value: object, blocks: list[memoryview]) -> Any:
    if isinstance(value, np.ndarray):
        return _array(cast("np.ndarray[Any, Any]", value), blocks)
    if isinstance(value, bytes | bytearray | memoryview):
        blocks.append(memoryview(cast("bytes", value)).cast("B"))
        return {"bytes": len(blocks) - 1}
    known = _nouns().get(type(value).__name__)
    if known is not None and type(value) is known:
        names = [f.name for f in fields(known)]
        return {"noun": known.__name__, "of": {name: pack(getattr(value, name), blocks) for name in names}}
    return _container(value, blocks)


def _container(value: object, blocks: list[memoryview]) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [pack(item, blocks) for item in cast("tuple[object, ...]", value)]}
    if isinstance(value, Mapping):
        rows = cast("Mapping[object, object]", value).items()
        return {"map": [[pack(key, blocks), pack(item, blocks)] for key, item in rows]}
    if isinstance(value, PurePath):
        return {"path": os.fsencode(value).decode("latin-1")}  # whatever bytes its name has
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    raise Unsendable(f"a {type(value).__name__} cannot be sent to or from an engine's process")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unsendable("a text that is not valid Unicode cannot be sent to or from an engine's process") from error
    return str(value)


def _array(value: np.ndarray[Any, Any], blocks: list[memoryview]) -> Any:
    if value.dtype.kind not in KINDS_OF_NUMBERS:
        raise Unsendable(f"an array of {value.dtype} cannot be sent to or from an engine's process")
    little = value.dtype.newbyteorder("<")
    flat = np.ascontiguousarray(value, little).reshape(-1)
    blocks.append(memoryview(cast("Any", flat.view(np.uint8))) if flat.nbytes else memoryview(b""))
    return {"array": len(blocks) - 1, "dtype": little.str, "shape": list(value.shape)}


def unpack(tree: Any, blocks: Sequence[bytearray]) -> Any:
    """What `pack` was given. Arrays can be written to. Raises: Garbage."""
    if isinstance(tree, list):
        return [unpack(item, blocks) for item in cast("list[Any]", tree)]
    if not isinstance(tree, dict):
        return tree
    known = cast("dict[str, Any]", tree)
    tag = next(iter(known), "")
    if tag not in _READERS:
        raise Garbage(f"unknown tag {tag!r}")
    try:
        return _READERS[tag](known, blocks)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise Garbage(f"a {tag} that cannot be read: {error}") from error


def _noun(tree: dict[str, Any], blocks: Sequence[bytearray]) -> Any:
    return _nouns()[tree["noun"]](**{name: unpack(value, blocks) for name, value in tree["of"].items()})


def _read_array(tree: dict[str, Any], blocks: Sequence[bytearray]) -> Any:
    dtype = np.dtype(tree["dtype"])
    if dtype.kind not in KINDS_OF_NUMBERS:
        raise ValueError(tree["dtype"])
    shape = tuple(tree["shape"])
    if dtype.itemsize == 0 or prod(shape) == 0:
        return np.zeros(shape, dtype)
    return np.frombuffer(cast("Any", blocks[tree["array"]]), dtype).reshape(shape)


_READERS: Mapping[str, Callable[[dict[str, Any], Sequence[bytearray]], Any]] = {
    "tuple": lambda tree, blocks: tuple(unpack(item, blocks) for item in tree["tuple"]),
    "map": lambda tree, blocks: {unpack(key, blocks): unpack(item, blocks) for key, item in tree["map"]},
    "path": lambda tree, blocks: Path(os.fsdecode(tree["path"].encode("latin-1"))),
    "range": lambda tree, blocks: range(*tree["range"]),
    "bytes": lambda tree, blocks: bytes(cast("bytearray", blocks[tree["bytes"]])),
    "array": _read_array,
    "noun": _noun,
}


class Pipe:
    """Both directions of a connection. Any thread may send; one reads."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink, self._lock = source, sink, threading.Lock()

    def send(self, head: Mapping[str, Any], body: object = None) -> None:
        """One frame. Raises: Unsendable, of which nothing is sent; OSError or ValueError when the pipe is closed."""
        blocks: list[memoryview] = []
        tree = pack(body, blocks)
        line = json.dumps({**head, "body": tree, "blocks": [block.nbytes for block in blocks]}, ensure_ascii=False)
        with self._lock:
            self._sink.write(line.encode() + b"\n")
            for block in blocks:
                for at in range(0, block.nbytes, CHUNK):
                    self._sink.write(block[at : at + CHUNK])
            self._sink.flush()

    def receive(self) -> tuple[dict[str, Any], Any]:
        """The next frame: its head and its body. Raises: Ended; Garbage; OSError."""
        line = self._line()
        try:
            head = json.loads(line)
            tree, sizes = head.pop("body"), head.pop("blocks")
            if not all(isinstance(size, int) and 0 <= size <= MOST for size in sizes):
                raise ValueError(sizes)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Garbage(f"{line[:60]!r} is no frame") from error
        return head, unpack(tree, [self._block(size) for size in sizes])

    def _line(self) -> bytes:
        first = self._source.read(1)
        if not first:
            raise Ended
        if first != b"{":  # said at once, not when a line ends that may never end
            raise Garbage(f"{first!r} begins no frame")
        line = first + self._source.readline(LINE)
        if not line.endswith(b"\n"):
            raise Ended if len(line) <= LINE else Garbage("a line without end")
        return line

    def _block(self, size: int) -> bytearray:
        block = bytearray(size)
        view, at = memoryview(block), 0
        while at < size:
            # A BufferedReader has readinto; IO does not tell.
            got = cast("Any", self._source).readinto(view[at:])
            if not got:
                raise Ended
            at += got
        return block
