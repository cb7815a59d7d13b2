"""A bucket of S3, R2 or anything that speaks like them: objects in parts, by range, and by presigned URL."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

import anyio

from polydub.errors import StoreError
from polydub.server.names import disposition
from polydub.server.shelf import PIECE, Stored, checked, no_file
from polydub.store import writing

if TYPE_CHECKING:
    from obstore.store import S3Store

PART = 16 << 20  # bytes of one part of a multipart upload; S3 takes 10,000 parts: 160 GB
PARTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is and what opens it. `endpoint`: without the bucket's name, which goes into the path."""

    name: str
    prefix: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)

    def path(self, key: str) -> str:
        """The path of an object in a URL, quoted."""
        words = ["", self.name, *([self.prefix] if self.prefix else []), key]
        return quote("/".join(words), safe="/-_.~")

    def presign(self, key: str, method: str, life: timedelta, extra: Signed, now: datetime) -> str:
        """A URL that lets its holder do one thing with one object: AWS Signature Version 4 in the query.

        The library's own cannot bind what a client gets to see (response-content-disposition) or may send (content-length).
        """
        base = urlsplit(self.endpoint)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        scope = f"{day}/{self.region}/s3/aws4_request"
        headers = {**extra.headers, "host": base.netloc}
        names = ";".join(sorted(headers))
        query = {
            **extra.query,
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(int(life.total_seconds())),
            "X-Amz-SignedHeaders": names,
        }
        pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query.items())
        asked = "&".join(f"{k}={v}" for k, v in pairs)
        path = base.path.rstrip("/") + self.path(key)
        lines = "".join(f"{k}:{headers[k].strip()}\n" for k in sorted(headers))
        request = f"{method}\n{path}\n{asked}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.new(self._key(day), text.encode(), hashlib.sha256).hexdigest()
        return f"{base.scheme}://{base.netloc}{path}?{asked}&X-Amz-Signature={signature}"

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret_key}".encode()
        for word in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        return key


@dataclass(frozen=True, slots=True)
class Signed:
    """What a presigned URL fixes beyond method and object: query parameters, and headers the client has to send so."""

    query: dict[str, str] = field(default_factory=dict[str, str])
    headers: dict[str, str] = field(default_factory=dict[str, str])


def connected(bucket: Bucket, longest: timedelta, retries: int, patience: timedelta = timedelta(seconds=60)) -> S3Store:
    """The library's view of a bucket. longest: of one request. retries: of one that failed, begun within `patience`."""
    from obstore.store import S3Store

    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        endpoint=bucket.endpoint,
        region=bucket.region,
        access_key_id=bucket.access_key,
        secret_access_key=bucket.secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": bucket.endpoint.startswith("http://"), "timeout": longest},
        retry_config={"max_retries": retries, "retry_timeout": patience},
    )


class BucketStorage:
    """A bucket. Raises: StoreError when it cannot be reached or refuses.

    Args: cache_gb: how much of the work that hosts share there each of them keeps on its disk; 0 = all.
    """

    def __init__(self, bucket: Bucket, cache_gb: int = 0) -> None:
        self.bucket, self.cache_gb = bucket, cache_gb
        self._opened: S3Store | None = None

    @property
    def _store(self) -> S3Store:
        if self._opened is None:
            self._opened = connected(self.bucket, timedelta(hours=2), 4)
        return self._opened

    async def put_file(self, key: str, file: Path) -> None:
        """Sends `file`, in parts when it is large; under `key` there is all of it or what was there before."""
        import obstore

        with _asking(key), writing(key):
            await obstore.put_async(self._store, checked(key), file, chunk_size=PART, max_concurrency=PARTS_AT_ONCE)

    async def fetch(self, key: str, to: Path) -> None:
        """Writes a copy to `to`. Raises: BadInput when there is no such object."""
        import obstore

        draft = to.with_name(f".{uuid.uuid4().hex}")
        try:
            with _asking(key), writing(to.name):
                came = await obstore.get_async(self._store, checked(key))
                async with await anyio.open_file(draft, "wb") as stream:
                    async for piece in came.stream(PIECE):
                        await stream.write(piece)
                if draft.stat().st_size != came.meta["size"]:
                    raise StoreError(f"{key} came incomplete from the bucket", "try again")
                draft.replace(to)
        finally:
            draft.unlink(missing_ok=True)

    async def size(self, key: str) -> int | None:
        """In bytes; None when there is no such object."""
        import obstore

        with _asking(key):
            try:
                return (await obstore.head_async(self._store, checked(key)))["size"]
            except FileNotFoundError:
                return None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes from `start` up to, but without `end`. Raises: BadInput when there is no such object."""
        import obstore

        if start >= end:
            return
        with _asking(key):
            came = await obstore.get_async(self._store, checked(key), options={"range": (start, end)})
            async for piece in came.stream(PIECE):
                yield bytes(piece)

    async def delete(self, key: str) -> None:
        """Deletes the object; nothing happens when there is none."""
        import obstore

        with _asking(key), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, checked(key))

    async def keys(self, prefix: str) -> Sequence[str]:
        """Keys that begin with `prefix`, sorted; "" = all."""
        return [each.key for each in await self.stored(prefix)]

    async def stored(self, prefix: str) -> Sequence[Stored]:
        """Objects whose keys begin with `prefix`, by key; "" = all."""
        import obstore

        folder = prefix.rpartition("/")[0]  # the service lists whole folders
        found: list[Stored] = []
        with _asking(prefix):
            async for some in obstore.list(self._store, folder or None):  # pyright: ignore[reportUnknownMemberType]
                found += [Stored(each["path"], each["size"], each["last_modified"]) for each in some]
        return sorted((each for each in found if each.key.startswith(prefix)), key=lambda each: each.key)

    async def presigned(
        self, key: str, *, method: Literal["GET", "PUT"], seconds: int, name: str = "", length: int | None = None
    ) -> str:
        """A URL for one object, one method and `seconds`.

        Args: name: the file's name for the one who downloads; then it is never shown in the browser. length: the bytes that
        a PUT has to bring; the client sends the header Content-Length so, or is refused.
        """
        query = {"response-content-disposition": disposition(name)} if method == "GET" and name else {}
        headers = {"content-length": str(length)} if method == "PUT" and length is not None else {}
        return self.bucket.presign(checked(key), method, timedelta(seconds=seconds), Signed(query, headers), datetime.now(UTC))

    def local(self, key: str) -> Path | None:
        """None: the objects are elsewhere."""
        return None


class _asking:
    """Turns the library's errors into ours: no such object, or the bucket's refusal without addresses and keys."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from obstore.exceptions import BaseError

        if isinstance(error, FileNotFoundError):
            raise no_file() from None
        if isinstance(error, BaseError):
            reason = type(error).__name__.removesuffix("Error")
            raise StoreError(
                f"the bucket did not do what was asked for {self._key} ({reason})", "check its address, its keys, the network"
            ) from error
