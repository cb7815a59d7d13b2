"""Dubbing piece by piece: a film can be played while it is dubbed, also one that has not ended yet.

`check` and `stream_film` are all that others call. Within: `pieces` cuts what comes at pauses, `work` takes one piece through
the story, `carry` and `levels` are what pieces hand on, `segments` makes what is played, `stream` runs these side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polydub.streaming.outcome import Streamed

if TYPE_CHECKING:
    from polydub.config import Loaded, Settings
    from polydub.dubbing import Ears, Job
    from polydub.engines.pool import EnginePool


__all__ = ["Streamed", "check", "stream_film"]


def check(settings: Settings) -> None:
    """Raises: BadSettings for settings that a stream cannot have."""
    from polydub.streaming.sources import check_wishes

    check_wishes(settings)


def stream_film(job: Job, loaded: Loaded, pool: EnginePool, ears: Ears) -> list[Streamed]:
    """Dubs one film piece by piece into `<output>/<stem>/stream/`; `job.media` "-" = standard input.

    Raises: PolydubError; what is finished stays playable, and the same call continues.
    """
    from polydub.streaming.stream import stream

    return [stream(job, loaded, pool, ears)]
