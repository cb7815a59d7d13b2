"""A bucket as `shared_store` asks it: from threads, an object at a time. No address and no key is in an error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from polydub.errors import StoreError
from polydub.server.buckets import PART
from polydub.server.shelf import PIECE
from polydub.store import writing

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")


class BucketAway(StoreError):
    """The bucket does not answer, or not as it should."""

    code, http_status, retryable = "bucket-away", 503, True


class Objects(Protocol):
    """What a bucket has to do. Every call may be made from any thread. Raises: BucketAway, StoreError."""

    def get(self, key: str) -> bytes | None:
        """All of an object; None when there is none."""
        ...

    def put_first(self, key: str, data: bytes) -> bool:
        """Makes an object; False when there is one already, which stays."""
        ...

    def seen(self, key: str) -> tuple[int, datetime] | None:
        """Bytes of an object and when it was put; None when there is none."""
        ...

    def put_file(self, key: str, file: Path) -> bool:
        """Makes an object of a file, or puts it in the place of the one that was there; False when there is no file."""
        ...

    def fetch(self, key: str, to: Path) -> bool:
        """Writes an object to `to`; False when there is none."""
        ...

    def delete(self, key: str) -> None:
        """Deletes an object; nothing happens when there is none."""
        ...


class ObjectBucket:
    """`Objects` of what obstore opens: a bucket, for tests a folder."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def get(self, key: str) -> bytes | None:
        """See `Objects`."""
        import obstore

        return self._ask(lambda: bytes(obstore.get(self._store, key).bytes()))

    def put_first(self, key: str, data: bytes) -> bool:
        """See `Objects`."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        def put() -> bool:
            try:
                obstore.put(self._store, key, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

        return bool(self._ask(put))

    def seen(self, key: str) -> tuple[int, datetime] | None:
        """See `Objects`."""
        import obstore

        found = self._ask(lambda: obstore.head(self._store, key))
        return (found["size"], found["last_modified"]) if found else None

    def put_file(self, key: str, file: Path) -> bool:
        """See `Objects`."""
        import obstore

        return self._ask(lambda: obstore.put(self._store, key, file, chunk_size=PART, max_concurrency=2)) is not None

    def fetch(self, key: str, to: Path) -> bool:
        """See `Objects`."""
        import obstore

        def fetch() -> bool:
            came = obstore.get(self._store, key)
            with writing(to.name), to.open("wb") as stream:
                for piece in came.stream(PIECE):
                    stream.write(piece)
            return True

        return bool(self._ask(fetch))

    def delete(self, key: str) -> None:
        """See `Objects`."""
        import obstore

        self._ask(lambda: obstore.delete(self._store, key))

    @staticmethod
    def _ask(what: Callable[[], T]) -> T | None:
        """What a call gives; None for no such object, or file. The library's words hold addresses: they are left out."""
        from obstore import exceptions as refused

        try:
            return what()
        except FileNotFoundError:
            return None
        except (refused.PermissionDeniedError, refused.UnauthenticatedError) as error:
            raise StoreError("the bucket does not let this host in", "check server.storage and its keys") from error
        except refused.BaseError as error:
            hint = "try again when it does: what is finished is kept; check server.s3_endpoint and the network"
            raise BucketAway("the bucket with the shared work does not answer", hint) from error
