"""Writes weights as torch wrote them before 1.6, without torch."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.float32]]


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _tuple(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def _dictionary(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(_text(name) + value for name, value in entries.items()) + b"u"


def _tensor(key: str, values: Numbers) -> bytes:
    storage = _tuple(_text("storage"), b"ctorch\nFloatStorage\n", _text(key), _text("cpu"), _number(values.size), b"N") + b"Q"
    strides = [stride // values.itemsize for stride in values.strides]
    shape, stride = (_tuple(*map(_number, several)) for several in (values.shape, strides))
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + _tuple(storage, _number(0), shape, stride, b"\x89", hooks) + b"R"


def write_legacy(path: Path, state: Mapping[str, Numbers], extra: bytes = b"N") -> None:
    """`state` under "model_state", and the opcodes `extra` under "optimizer_state"."""
    keys = {name: str(n) for n, name in enumerate(state)}
    tensors = _dictionary({name: _tensor(keys[name], values) for name, values in state.items()})
    whole = b"\x80\x02" + _dictionary({"step": _number(3), "model_state": tensors, "optimizer_state": extra}) + b"."
    with path.open("wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(head, file, 2)
        file.write(whole)
        pickle.dump(list(keys.values()), file, 2)
        for values in state.values():
            file.write(struct.pack("<q", values.size) + np.ascontiguousarray(values, "<f4").tobytes())
