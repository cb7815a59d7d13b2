"""polydub: offline-first AI video dubbing. `import polydub` is cheap; everything heavy is imported when it is used.

The lines of a dub are in `polydub.review`, the voice library and the characters in `polydub.voices`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polydub.aloud import Spoken
    from polydub.batch import Row
    from polydub.config import Loaded
    from polydub.dubbing import Ears, Outcome
    from polydub.engines.pool import EnginePool
    from polydub.request import Job
    from polydub.streaming import Streamed
    from polydub.types import Progress, Script

__all__ = ["__version__", "dub", "dub_many", "separate", "speak", "stream", "transcribe"]
__version__ = "0.1.0"


def dub(
    media: str | Path,
    transcript: str | Path | None = None,
    translations: Mapping[str, str | Path] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: object,
) -> list[Outcome]:
    """Dub one video, as `polydub dub` does; what is finished is remembered, so that the same call continues.

    Args:
        media: any file ffmpeg reads.
        transcript: subtitles in the language spoken; None = the file's own track.
        translations: target language -> subtitle file.
        progress: is told how far each stage is, from threads that work; what it raises stops the dub.
        settings: as in docs/reference/settings.md, for example `to="es", output="Output"`; they go before the environment.
    Returns: one outcome for each target language: the film, the report, the notices.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub.dubbing import dub_film

    loaded = _loaded(settings)
    with _pool(loaded) as pool:
        return dub_film(_job(media, transcript, translations), loaded, pool, _ears(progress))


def dub_many(
    films: Iterable[str | Path | Job],
    ended: Callable[[Row], None] | None = None,
    progress: Callable[[Path, Progress], None] | None = None,
    **settings: object,
) -> list[Row]:
    """Dub many videos with one set of loaded engines, `jobs` of them at once; one that fails does not stop the others.

    Args:
        films: files; a `polydub.request.Job` has a transcript and translations of its own.
        ended: hears of each film as it ends, in the calling thread.
        progress: as in `dub`, with the film.
        settings: as in `dub`, for all films.
    Returns: a row for each film, in order; `status` is "done", "remembered" or "failed", and a failed one has its `error`.
    Raises: PolydubError for settings that cannot be; `polydub.batch.Stopped` after KeyboardInterrupt.
    """
    from functools import partial

    from polydub import batch
    from polydub.request import Job

    loaded = _loaded(settings)
    jobs = [film if isinstance(film, Job) else Job(Path(film)) for film in films]
    tasks = batch.checked(batch.Task(job, loaded) for job in jobs)

    def ears(task: batch.Task) -> Ears:
        return _ears(partial(progress, task.job.media) if progress else None)

    with _pool(loaded) as pool:
        at_once = batch.Batch(tasks, loaded.settings.jobs, loaded.settings.threads)
        return batch.run_batch(at_once, pool, ears, ended or (lambda row: None))


def stream(
    media: str | Path,
    transcript: str | Path | None = None,
    translations: Mapping[str, str | Path] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: object,
) -> Streamed:
    """Dub one video piece by piece, so that it can be played meanwhile, as `polydub dub --stream` does.

    Args: as in `dub`; `to` is one language, and `stream="final"` also makes the whole film (else "segments").
    Returns: the playlist and manifest, and the film if there is one.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub.streaming import stream_film

    loaded = _loaded({"stream": "segments"} | settings, whole=False)
    with _pool(loaded) as pool:
        return stream_film(_job(media, transcript, translations), loaded, pool, _ears(progress))[0]


def transcribe(
    media: str | Path,
    transcript: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: object,
) -> Script:
    """What is said in a video or sound file, as `polydub transcribe` finds it: segments of one speaker, with word times.

    Args:
        media: any file ffmpeg reads.
        transcript: what is said, as text or subtitles; then only times are looked for.
        progress: as in `dub`.
        settings: as in docs/reference/settings.md, for example `asr="faster-whisper:small"`.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub import config, standalone

    loaded = config.load_from_process(settings)
    return standalone.transcribe_file(_job(media, transcript, None), loaded, _ears(progress)).script


def speak(text: str, out: str | Path, voice: str | None = None, rate: float = 1.0, **settings: object) -> Spoken:
    """Speak a text into a sound file, as `polydub speak` does.

    Args:
        text: of any length.
        out: file to write; its ending (.wav, .flac, .mp3, .opus, .pcm) is its format.
        voice: a voice of the engine or of the library, an alias, or the path of a recording; None = the engine's first.
        rate: 0.5 to 2; 1 is the voice's own.
        settings: as in docs/reference/settings.md, for example `to="es", tts="kokoro"`; without `to` the language is that of
            the library's voice.
    Returns: seconds of sound, the voice and the engine that spoke, and notices, such as that a near voice stood in.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub import aloud, config

    form = aloud.form_of(Path(out))
    return aloud.speak_text(aloud.Utterance(text, voice, rate), config.load_from_process(settings), Path(out), form)


def separate(
    media: str | Path,
    folder: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: object,
) -> Mapping[str, Path]:
    """Dialogue and background of a video or sound file, as `polydub separate` parts them: FLAC files by name.

    Args:
        media: any file ffmpeg reads.
        folder: where the stems go; None = `<output>/<name>/stems`.
        progress: as in `dub`.
        settings: as in docs/reference/settings.md, for example `separation="mask"`.
    Raises: PolydubError, whose `hint` says what to do.
    """
    from polydub import config, standalone

    place = Path(folder) if folder else None
    return standalone.separate_file(Path(media), place, config.load_from_process(settings), _ears(progress)).stems


def _loaded(settings: Mapping[str, object], *, whole: bool = True) -> Loaded:
    """The settings of a dub. Raises: BadSettings where a whole film is to be made and the settings want pieces, or not."""
    from polydub import config
    from polydub.errors import BadSettings

    loaded = config.load_from_process(settings)
    if whole and loaded.settings.stream != "off":
        raise BadSettings("this makes whole films, and stream is set", 'call polydub.stream, or give stream="off"')
    if not whole and loaded.settings.stream == "off":
        raise BadSettings("a stream cannot be off", 'give stream="segments" or stream="final"')
    return loaded


def _job(media: str | Path, transcript: str | Path | None, translations: Mapping[str, str | Path] | None) -> Job:
    from polydub import languages
    from polydub.request import Job

    given = {languages.parse(tag): Path(path) for tag, path in (translations or {}).items()}
    return Job(Path(media), Path(transcript) if transcript else None, given)


def _ears(progress: Callable[[Progress], None] | None) -> Ears:
    from polydub.dubbing import Ears

    return Ears(progress) if progress else Ears()


@contextmanager
def _pool(loaded: Loaded) -> Generator[EnginePool]:
    """Engines for one call."""
    from polydub.engines.pool import EnginePool

    pool = EnginePool(loaded.settings.idle_s)
    try:
        yield pool
    finally:
        pool.close()
