"""The file of a form, as it comes: no copy in a temporary folder, however large it is."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from polydub.server.problems import Problem

_FIELD_LIMIT = 64 << 10  # bytes of parts that are not the file


class FileForm:
    """Reads multipart/form-data up to its file, the part called "file" (or the first that has a file name), and then that."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise _bad("the form has no boundary")
        self.name = ""
        self._body = body
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._ready: deque[bytes] = deque()
        self._state = "before"  # then "in", "after"
        self._other = 0
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._part,
                    "on_part_data": self._data,
                    "on_part_end": self._part_end,
                    "on_end": self._all,
                },
            )
        except FormParserError:
            raise _bad("the form's boundary is too long") from None
        self._ended = False

    async def begin(self) -> str:
        """Reads up to the file; its name as it was sent. Raises: Problem 400 when there is none."""
        while self._state == "before" and await self._feed():
            pass
        if self._state == "before":
            raise _bad("the form has no part called file")
        return self.name

    async def pieces(self) -> AsyncIterator[bytes]:
        """The file's bytes. Raises: Problem 400 when the form is cut off or damaged."""
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._state == "after":
                return
            if not await self._feed():
                raise _bad("the form ends in the middle of the file")

    async def _feed(self) -> bool:
        async for some in self._body:
            try:
                self._parser.write(some)
            except FormParserError:
                raise _bad("the form is damaged") from None
            if self._other > _FIELD_LIMIT:
                raise _bad("the form holds too much besides the file")
            return True
        return False

    def _header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        is_file = options.get(b"name") == b"file" or b"filename" in options
        if is_file and self._state == "before":
            self._state = "in"
            self.name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._state == "in":
            self._ready.append(data[start:end])
        else:
            self._other += end - start

    def _part_end(self) -> None:
        if self._state == "in":
            self._state = "after"

    def _all(self) -> None:
        self._ended = True


def _bad(message: str) -> Problem:
    return Problem(
        400, "bad_form", message, hint="send multipart/form-data with the file as the part called file", param="file"
    )
