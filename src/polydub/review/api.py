"""Reviews for programs: a dub found by name, the film made again, and lines as sound, with plain arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from polydub import project
from polydub.dubbing import Ears, Outcome
from polydub.engines.pool import EnginePool
from polydub.review import playing, rendering
from polydub.review.finding import find_project
from polydub.review.reading import Reviewed, open_review
from polydub.store import Store
from polydub.types import Progress


def find(named: str | Path, language: str | None = None, **settings: object) -> Reviewed:
    """The dub that is meant: by its folder, its name in `output`, a file in it, or the film that was dubbed.

    Args: language: code or name; needed where the film has several dubs. settings: `output` and `store`, as for the dub.
    Raises: BadInput where there is none, BadSettings.
    """
    from polydub import config

    loaded = config.load_from_process(settings)
    return open_review(find_project(str(named), loaded.settings.output), language)


def render(
    dub: Reviewed,
    progress: Callable[[Progress], None] | None = None,
    media: str | Path | None = None,
    **settings: object,
) -> Outcome:
    """Makes the film again with all that is set, and the settings that made it; only what changed is done anew.

    Args: progress: as in `polydub.dub`. media: where the film is now, if it was moved. settings: laid over those of the dub.
    Raises: PolydubError, whose `hint` says what to do.
    """
    how = rendering.Render(Path(media) if media else None, dict(settings))
    pool = EnginePool()
    try:
        return rendering.render(dub, pool, Ears(progress) if progress else Ears(), how)
    finally:
        pool.close()


def sound(dub: Reviewed, line: str, take: int | None = None, *, original: bool = False) -> Path:
    """A line as a sound file: as the last render mixed it, one of its takes alone, or what the source says there.

    Raises: BadInput for a line that says nothing, or has no such take.
    """
    if original:
        return playing.original_file(dub, line)
    if take is None:
        return playing.line_file(dub, line)
    store = Store(_store(dub))
    try:
        return playing.take_file(dub, store, line, take)
    finally:
        store.close()


def _store(dub: Reviewed) -> Path:
    """Where the recordings of a dub are, as it was made."""
    made = cast("dict[str, Any]", project.memory_of(dub.folder).get("requests", {})).get(dub.language, {})
    kept = made.get("settings", {}).get("store")
    return Path(kept) if kept else dub.folder.absolute().parent / ".polydub"
