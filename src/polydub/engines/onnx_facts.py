"""What an ONNX file says about itself, read without any library.

Some native libraries end the whole process over a model that is not what they expect; its facts are looked at first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

PROPERTIES = 14  # number of the field metadata_props in onnx.proto's ModelProto; each has a key (1) and a value (2)
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def metadata(file: Path) -> Mapping[str, str]:
    """The metadata of a model, by name; weights are skipped. Raises: ValueError when it is no whole ONNX file."""
    size = file.stat().st_size
    found: dict[str, str] = {}
    graphs = 0
    with file.open("rb") as stream:
        for number, content in _fields(stream, size):
            graphs += number == 7
            if number == PROPERTIES:
                pair = dict(_fields(BytesIO(content), len(content)))
                found[pair.get(1, b"").decode("utf-8", "replace")] = pair.get(2, b"").decode("utf-8", "replace")
    if graphs != 1:
        raise ValueError(f"{file.name} is not a whole ONNX file")
    return found


def _fields(stream: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Numbers of the fields of a message with their content; long content, which is weights, is passed over."""
    while stream.tell() < size:
        tag = _varint(stream)
        number, wire = tag >> 3, tag & 7
        if wire == BYTES:
            length = _varint(stream)
            if stream.tell() + length > size or not number:
                raise ValueError("not a whole ONNX file")
            if length > 1 << 20:
                stream.seek(length, 1)
                yield number, b""
            else:
                yield number, stream.read(length)
        elif wire == VARINT and number:
            _varint(stream)
        elif wire in (FIXED64, FIXED32) and number:
            stream.seek(8 if wire == FIXED64 else 4, 1)
        else:
            raise ValueError("not an ONNX file")


def _varint(stream: BinaryIO) -> int:
    value = 0
    for place in range(10):
        byte = stream.read(1)
        if not byte:
            raise ValueError("not a whole ONNX file")
        value |= (byte[0] & 127) << (7 * place)
        if byte[0] < 128:
            return value
    raise ValueError("not an ONNX file")
