"""The end of a process that was told to stop, whatever its threads still wait for."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType

log = logging.getLogger(__name__)


class Leaving:
    """Ends the process a while after `begin`, unless its block was left before.

    Calls to a database that is away are tried again for ever in threads that nobody can end, and which Python waits for. What
    is cut off loses nothing: whatever a kill may not lose is kept before. The status is 0: the end was asked for, and a
    supervisor that starts again what has failed must not undo it.
    """

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Leaving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer:
            self._timer.cancel()

    def begin(self, limit_s: float) -> None:
        """The process has so many seconds left; a second call changes nothing."""
        if self._timer is None:
            self._timer = threading.Timer(limit_s, _leave)
            self._timer.daemon = True
            self._timer.start()


def _leave() -> None:
    log.warning("stopped without waiting for what does not answer")
    sys.stderr.flush()
    os._exit(0)
