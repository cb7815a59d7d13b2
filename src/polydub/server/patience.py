"""Waiting for a database that is away: what is tried again, and what the log says meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from polydub.errors import PolydubError
from polydub.server.db.records import DatabaseAway

log = logging.getLogger(__name__)
T = TypeVar("T")
PATIENCE, PAUSE_S = 600, 1.0  # tries of what fails in another way, and the pause between two
SAID_S = 60.0  # between two lines of the log about the same outage


class Outage:
    """What the log says while something is away: at once, then every minute, and when it is back.

    Args: what: "the database". said_s: seconds between two lines. forgotten_s: without a word it is taken to have been back.
    """

    def __init__(self, log: logging.Logger, what: str, said_s: float = SAID_S, forgotten_s: float = 2 * SAID_S) -> None:
        self._log, self._what, self._said_s, self._forgotten_s = log, what, said_s, forgotten_s
        self._since = self._said = self._last = 0.0

    def away(self, error: BaseException) -> None:
        """It was asked in vain."""
        now, why = time.monotonic(), _why(error)
        if not self._since or now - self._last > self._forgotten_s:  # nobody may have noticed that it was back
            self._since = self._said = now
            self._log.warning("%s does not answer, and is asked again until it does: %s", self._what, why)
        elif now - self._said >= self._said_s:
            self._said = now
            self._log.warning("%s has not answered for %.0f s: %s", self._what, now - self._since, why)
        self._last = now

    def back(self) -> None:
        """It has answered."""
        if self._since:
            self._log.warning("%s answers again, after %.0f s", self._what, time.monotonic() - self._since)
            self._since = 0.0


def _why(error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    return str(error).partition("\n")[0] or type(error).__name__


RECORDS = Outage(log, "the database of the jobs")


def said_away(error: BaseException) -> bool:
    """Whether an error is that the database is away, of which the log then tells no more than `Outage` does."""
    if not isinstance(error, DatabaseAway):
        return False
    RECORDS.away(error)
    return True


async def patient(what: Callable[[], Awaitable[T]], tries: int = PATIENCE, pause_s: float = PAUSE_S) -> T:
    """What `what` gives, tried again for as long as the database is away: a job goes on by itself when it is back.

    Raises: PolydubError at once, anything else after so many tries.
    """
    while True:
        task = asyncio.ensure_future(what())
        await asyncio.wait({task})
        error = task.exception()
        if error is None:
            RECORDS.back()
            return task.result()
        if not said_away(error):
            tries -= 1
            if tries <= 0 or isinstance(error, PolydubError):
                raise error
            log.warning("it is tried again, up to %d times: %s: %s", tries, type(error).__name__, error)
        await asyncio.sleep(pause_s)
