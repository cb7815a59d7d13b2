"""One file over the web: taken up where it broke off, hashed as it comes, refused as soon as it cannot be right."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.engines.base import Weight, WeightFile
from polydub.errors import MissingSecret, MissingWeights, PolydubError, StoreError
from polydub.models.places import HUB, PIECE, Digest, hub, length

if TYPE_CHECKING:
    import httpx

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # what is over after a while
WORTHWHILE = 1 << 16  # an attempt that brings less counts as failed, so that a server that drips does not do so for ever


@dataclass(frozen=True, slots=True)
class Patience:
    """With a network. Attributes: connect_s, silent_s: after which a line is broken. pauses_s: before each further attempt."""

    connect_s: float = 10.0
    silent_s: float = 30.0
    pauses_s: tuple[float, ...] = (1.0, 2.0, 4.0)


class Incoming:
    """A file on its way: the part that is here, and its hash. Continues a part of an earlier time, which is read once."""

    def __init__(self, path: Path, file: WeightFile) -> None:
        self.path, self.file = path, file
        path.parent.mkdir(parents=True, exist_ok=True)
        self._out = path.open("ab+", buffering=0)
        self.digest, self.have = Digest(file), 0
        self.sewn = False  # whether a rest was asked for
        if length(path) > file.bytes:
            self.restart()
        self._out.seek(0)
        while piece := self._out.read(PIECE):
            self.digest.update(piece)
            self.have += len(piece)

    @property
    def _tag(self) -> Path:
        return self.path.with_name(f"{self.path.name}.etag")

    @property
    def tag(self) -> str:
        """The strong etag of what is here, "" when there is none."""
        return self._tag.read_text() if self.have and self._tag.exists() else ""

    @tag.setter
    def tag(self, etag: str) -> None:
        self._tag.unlink(missing_ok=True)
        if etag.isascii() and etag.startswith('"'):  # a weak one (W/"...") does not promise the same bytes
            self._tag.write_text(etag)

    @property
    def whole(self) -> bool:
        """Whether it is what was promised."""
        return self.have == self.file.bytes and self.digest.right

    def restart(self) -> None:
        """Throws away what is here."""
        self._out.truncate(0)
        self.digest, self.have = Digest(self.file), 0

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        view = memoryview(piece)
        while view:  # unbuffered: a write may be short
            view = view[self._out.write(view) :]
        self.digest.update(piece)
        self.have += len(piece)

    def close(self) -> None:
        """Ends writing, with all of it on the disk if it is whole: what is found by its length must survive a power cut."""
        if self.have == self.file.bytes:
            os.fsync(self._out)
        self._out.close()


class Receiver:
    """Fetches files of one model. `tell` hears how many bytes of a file are here."""

    def __init__(self, client: httpx.Client, weight: Weight, patience: Patience, tell: Callable[[int], None]) -> None:
        self._client, self._weight, self._model = client, weight, weight.id
        self._patience, self._tell = patience, tell
        self._reached = False

    def fetch(self, url: str, part: Path, file: WeightFile) -> str:
        """Makes `part` the file, and returns its sha256.

        Raises: StoreError for other content, of which nothing is kept; MissingWeights or MissingSecret when it does not come.
        """
        incoming = Incoming(part, file)
        try:
            self._receive(url, incoming)
            if incoming.sewn and not incoming.whole:  # what had come before, or the rest, belonged to something else
                incoming.restart()
                self._receive(url, incoming)
        finally:
            incoming.close()
        if not incoming.whole:
            part.unlink()
            text = f"{file.name} of {self._model} came with other content than its hash promises, and was thrown away"
            raise StoreError(text, "try again; if a mirror or another index is set, without it")
        return incoming.digest.sha256

    def get(self, url: str, limit: int) -> bytes:
        """A small document. Raises: as `fetch`; StoreError when it is longer than `limit` bytes."""
        import httpx

        for pause in (*self._patience.pauses_s, None):
            try:
                with self._client.stream("GET", url) as response:
                    self._reached = True
                    if response.status_code == 200:
                        found = bytearray()
                        for piece in response.iter_bytes():
                            found += piece
                            if len(found) > limit:
                                raise StoreError(f"{response.url.host} tells too much about {self._model}", self._again())
                        return bytes(found)
                    refusal = self._refused(response, "the list of files")
                    if response.status_code not in PASSING or pause is None:
                        raise refusal
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if pause is None or self._hopeless(error):
                    raise self._unreachable(url, error) from error
            time.sleep(pause)
        raise AssertionError

    def _receive(self, url: str, incoming: Incoming) -> None:
        """Receives the rest of a file, attempt after attempt."""
        import httpx

        failures = 0
        while (before := incoming.have) < incoming.file.bytes:
            problem: PolydubError | None = None
            try:
                problem = self._attempt(url, incoming)
                if problem is None:  # all that there is
                    return
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = self._unreachable(url, error)
                problem.__cause__ = error
                if self._hopeless(error):
                    raise problem from error
            gained = incoming.have - before
            failures = failures + 1 if gained < WORTHWHILE else 0
            if failures > len(self._patience.pauses_s):
                raise problem
            if gained <= 0:
                time.sleep(self._patience.pauses_s[failures - 1])

    def _attempt(self, url: str, incoming: Incoming) -> PolydubError | None:
        """Reads one answer to its end. What may pass is returned, other refusals are raised, as is what httpx raises."""
        have, tag = incoming.have, incoming.tag
        headers = {"Range": f"bytes={have}-"} if have else {}
        incoming.sewn |= have > 0
        if tag:
            headers["If-Range"] = tag
        with self._client.stream("GET", url, headers=headers) as response:
            self._reached = True
            if have and response.status_code == 416:
                return None
            if response.status_code not in (200, 206):
                refusal = self._refused(response, incoming.file.name)
                if response.status_code in PASSING:
                    return refusal
                raise refusal
            packed = response.headers.get("content-encoding", "identity").lower() not in ("identity", "")
            if response.status_code == 206:
                if packed or not _continues(response, incoming):
                    return None
            else:
                incoming.restart()
                if not packed and int(response.headers.get("content-length", incoming.file.bytes)) != incoming.file.bytes:
                    return None
            incoming.tag = "" if packed else response.headers.get("etag", "")
            for piece in response.iter_bytes() if packed else response.iter_raw():
                if incoming.have + len(piece) > incoming.file.bytes:
                    incoming.restart()
                    return None
                incoming.take(piece)
                self._tell(incoming.have)
        return None

    def _refused(self, response: httpx.Response, what: str) -> PolydubError:
        host, status = response.url.host, response.status_code
        what = f"{what} of {self._model}"
        if status in (401, 403):
            page = f"{hub().ENDPOINT}/{self._weight.source.removeprefix(HUB)}" if self._weight.source.startswith(HUB) else host
            hint = f"accept its licence on {page}, and set HF_TOKEN to a token of yours"
            return MissingSecret(f"{host} does not hand out {what} without permission ({status})", hint)
        if status in (404, 410):
            return MissingWeights(f"{host} has no {what} ({status})", "update polydub, or try another mirror with HF_ENDPOINT")
        return MissingWeights(f"{host} cannot hand out {what} now ({status})", self._again())

    def _hopeless(self, error: Exception) -> bool:
        """Whether trying again is of no use: a wrong address, or nobody has ever answered."""
        import httpx

        never = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not self._reached
        return never or isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.TooManyRedirects)

    def _unreachable(self, url: str, error: Exception) -> PolydubError:
        import httpx

        how = "the connection broke off"
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            how = "that is no address"
        elif isinstance(error, httpx.TooManyRedirects):
            how = "it redirects in circles"
        elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            how = "it cannot be reached"
        elif isinstance(error, httpx.TimeoutException):
            how = "it does not answer"
        host = url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url
        return MissingWeights(f"{self._model} cannot be downloaded from {host}: {how}", self._again())

    def _again(self) -> str:
        return f"check the network, then: polydub models pull {self._model} (what has come is kept)"


def _continues(response: httpx.Response, incoming: Incoming) -> bool:
    """Whether an answer is the rest of the file, and of one of its length."""
    told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", ""))
    return bool(told) and int(told[1]) == incoming.have and told[2] in ("*", str(incoming.file.bytes))
