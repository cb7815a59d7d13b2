"""Watching over a program that may stand still for ever: of some damaged films ffmpeg 9.0.2 does, without using a processor."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator

STILL_S = 60.0  # far more than a film on a slow disk takes to show the next sign


class Vigil:
    """Stops a program when somebody has waited for it and it gave no sign for `still_s` to twice that.

    Attributes: stopped: it has been. still_s: how long it may give no sign.
    """

    def __init__(self, stop: Callable[[], None], sign: Callable[[], object | None]) -> None:
        """`sign`: changes whenever the program gets on; None = it waits for others, as it should."""
        self.stopped, self.still_s = False, STILL_S
        self._stop, self._sign = stop, sign
        self._turn, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="polydub-vigil")

    def close(self) -> None:
        """Watch no longer."""
        self._over.set()

    @contextlib.contextmanager
    def waiting(self) -> Generator[None]:
        """While somebody waits for the program. Not in two threads at once."""
        if not self._turn:
            self._thread.start()
        self._turn += 1  # odd: somebody waits
        try:
            yield
        finally:
            self._turn += 1

    def _watch(self) -> None:
        before: tuple[int, object] | None = None
        while not self._over.wait(self.still_s):
            turn, sign = self._turn, self._sign()
            if turn % 2 and sign is not None and before == (turn, sign):
                self.stopped = True
                return self._stop()
            before = turn, sign
        return None
