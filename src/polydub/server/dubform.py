"""A form with a film and what shall become of it, read as it comes: fields before the film and after it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.multipart import parse_options_header

from polydub.server.forms import FileForm


class DubForm(FileForm):
    """As FileForm, and keeps the other fields. `fields`: those read so far, by name."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        super().__init__(content_type, body)
        self._parts: dict[str, bytearray] = {}
        self._at = ""

    @property
    def fields(self) -> dict[str, str]:
        """Texts by name; what is not UTF-8 is replaced."""
        return {name: bytes(value).decode("utf-8", "replace").strip() for name, value in self._parts.items()}

    async def film(self) -> str | None:
        """As `begin`; None for a form that ends without a film and has a field `url` instead."""
        while self._state == "before" and await self._feed():
            pass
        if self._state == "before" and self._ended and self.fields.get("url"):
            return None
        return await self.begin()

    async def rest(self) -> None:
        """Reads what comes after the film. Raises: Problem 400 when the form is damaged."""
        while await self._feed():
            pass

    def _part(self) -> None:
        before = self._state
        super()._part()
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        is_file = self._state != before or b"filename" in options
        self._at = "" if is_file else options.get(b"name", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._state != "in" and self._at:
            self._parts.setdefault(self._at, bytearray()).extend(data[start:end])
        super()._data(data, start, end)
