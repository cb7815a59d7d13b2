"""polydub: offline-first AI video dubbing. `import polydub` is cheap; everything heavy is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polydub.dubbing import Outcome
    from polydub.types import Script

__all__ = ["__version__", "dub", "separate", "transcribe"]
__version__ = "0.1.0"


def dub(
    media: str | Path,
    transcript: str | Path | None = None,
    translations: Mapping[str, str | Path] | None = None,
    **settings: object,
) -> list[Outcome]:
    """Dub one video, as `polydub dub` does; what is finished is remembered, so that the same call continues.

    Args:
        media: any file ffmpeg reads.
        transcript: subtitles in the language spoken; None = the file's own track.
        translations: target language -> subtitle file.
        settings: as in docs/reference/settings.md, for example `to="es", output="Output"`; they go before the environment.
    Returns: one outcome for each target language: the film, the report, the notices.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub import config, languages
    from polydub.dubbing import Ears, Job, dub_film
    from polydub.engines.pool import EnginePool

    given = {languages.parse(tag): Path(path) for tag, path in (translations or {}).items()}
    job = Job(Path(media), Path(transcript) if transcript else None, given)
    loaded = config.load_from_process(settings)
    pool = EnginePool(loaded.settings.idle_s)
    try:
        return dub_film(job, loaded, pool, Ears())
    finally:
        pool.close()


def transcribe(media: str | Path, transcript: str | Path | None = None, **settings: object) -> Script:
    """What is said in a video or sound file, as `polydub transcribe` finds it: segments of one speaker, with word times.

    Args:
        media: any file ffmpeg reads.
        transcript: what is said, as text or subtitles; then only times are looked for.
        settings: as in docs/reference/settings.md, for example `asr="faster-whisper:small"`.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub import config, standalone
    from polydub.dubbing import Ears, Job

    job = Job(Path(media), Path(transcript) if transcript else None)
    return standalone.transcribe_file(job, config.load_from_process(settings), Ears()).script


def separate(media: str | Path, folder: str | Path | None = None, **settings: object) -> Mapping[str, Path]:
    """Dialogue and background of a video or sound file, as `polydub separate` parts them: FLAC files by name.

    Args:
        media: any file ffmpeg reads.
        folder: where the stems go; None = `<output>/<name>/stems`.
        settings: as in docs/reference/settings.md, for example `separation="mask"`.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub import config, standalone
    from polydub.dubbing import Ears

    place = Path(folder) if folder else None
    return standalone.separate_file(Path(media), place, config.load_from_process(settings), Ears()).stems
