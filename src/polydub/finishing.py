"""A finished speech track on a video: laid over its sound, or spoken by the mouths in its picture."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polydub import lipsyncing, mixing
from polydub.choosing import Chooser, check_choices
from polydub.dubbing import Ears, Job, check_file, wanted
from polydub.errors import BadSettings
from polydub.runner import How, Run
from polydub.standalone import check_target
from polydub.store import Store
from polydub.types import Notice
from polydub.wants import Wanted

if TYPE_CHECKING:
    from polydub.config import Loaded


@dataclass(frozen=True)
class Mixed:
    """A film with a finished speech track laid over its sound; LUFS and dBTP of the delivered sound."""

    film: Path
    lufs: float
    true_peak: float
    notices: tuple[Notice, ...]


def mix_films(video: Path, speech: Path, out: Path | None, loaded: Loaded, ears: Ears) -> Mixed:
    """Lays `speech` over the sound of `video`, from its first moment on. Raises BadInput, BadSettings, StoreError."""
    path = _target(video, speech, out, "mix", loaded)
    with _opened(video, path, loaded, ears) as (run, want):
        after = mixing.mix(run, video, speech, path, want)
        return Mixed(path, after.integrated, after.true_peak, run.notices)


@dataclass(frozen=True)
class LipSynced:
    """A film whose mouths move to a finished speech track, which is its first sound."""

    film: Path
    notices: tuple[Notice, ...]


def lip_sync_films(video: Path, speech: Path, out: Path | None, loaded: Loaded, ears: Ears) -> LipSynced:
    """Moves the mouths in `video` to `speech`, which becomes its first sound as it is.

    Raises: BadSettings without an engine; Missing where it is not here; BadInput; EngineFailed where nothing was moved.
    """
    check_choices(loaded.settings)
    path = _target(video, speech, out, "lip-sync", loaded)
    with _opened(video, path, loaded, ears) as (run, want):
        if not want.picture.lip_sync:
            raise BadSettings("nobody said what shall move the lips", "say so with --lip-sync, for example --lip-sync wav2lip")
        lipsyncing.find(run, Chooser(loaded, {}))
        lipsyncing.lip_sync(run, video, speech, path, want)
        return LipSynced(path, run.notices)


def _target(video: Path, speech: Path, out: Path | None, name: str, loaded: Loaded) -> Path:
    """Where the film goes. Raises: BadInput for files that cannot be read, BadSettings for a name that will not do."""
    settings = loaded.settings
    for file in (video, speech):
        check_file(file)
    language = settings.to[0] if settings.to else "und"
    path = out or settings.output / video.stem / f"{name}.{language}.{settings.format}"
    if path.suffix.lower() not in (".mkv", ".mp4"):
        raise BadSettings(f"{path.name} is neither .mkv nor .mp4", "choose a name with one of these endings")
    check_target(path, video, speech)
    return path


@contextmanager
def _opened(video: Path, path: Path, loaded: Loaded, ears: Ears) -> Generator[tuple[Run, Wanted]]:
    """A run, and what is wanted of the film at `path`."""
    settings = loaded.settings
    language = settings.to[0] if settings.to else "und"
    store = Store(settings.store or settings.output / ".polydub")
    try:
        with Run(store, store.folder, How(settings.threads, settings.strict, ears.progress)) as run:
            yield run, mixing.into(wanted(language, Job(video), loaded, store), path.suffix.lower()[1:])
    finally:
        store.close()
