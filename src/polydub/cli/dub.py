"""`polydub dub`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from polydub.batch import Batch, Task
from polydub.cli import inputs, output
from polydub.cli.options import NAME, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.config import Loaded
from polydub.dubbing import Ears, Job, Outcome, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import Cancelled, PolydubError

if TYPE_CHECKING:
    from polydub.streaming import Streamed

SETTINGS = (
    "to", "source_language", "voice", "voice_mode", "voice_ref_dir", "voices", "characters", "character_book",
    "character_threshold", "character_margin", "auto_enrol", "expressive", "expressive_strength", "rate", "pitch",
    "energy", "asr", "asr_model", "diarization", "rttm", "speakers", "separation", "separate_where", "mt", "tts",
    "check_speech", "glossary", "summary", "models", "download", "mode", "device", "audio_track", "no_translate",
    "max_rate", "min_rate", "comfortable_rate", "early_s", "gap_s", "shorten", "stretch_video", "max_slowdown",
    "loudness", "lufs", "ducking_db", "ducking_attack_s", "ducking_release_s", "perspective", "keep_nonspeech",
    "audio_bit_rate_kbps", "subs", "subs_format", "bilingual", "word_times", "burn_in", "font", "lip_sync",
    "strict_plugins", "together", "format", "stream", "chunk_seconds", "overlap_seconds", "output", "store",
    "environments", "offline", "strict", "jobs", "threads",
)  # fmt: skip


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=NAME)
@click.option("--recursive", is_flag=True, help="Take films from folders in the folders, too.")
@click.option("--transcript", metavar="FILE", type=NAME, help="What is said in the video: SRT, VTT, ASS, JSON or plain text.")
@click.option("--translation", multiple=True, metavar="FILE", type=NAME,
              help="What the dub shall say; for several targets LANG=FILE, repeated.")  # fmt: skip
@settings_options(SETTINGS)
@click.option("--dry-run", is_flag=True, help="Print the plan and the engines, and do nothing.")
@click.option("--reconsider", is_flag=True, help="Let auto choose the engines anew instead of keeping the project's.")
@common
def dub(files: tuple[str, ...], **given: Any) -> int:
    """Dub videos (files, folders, patterns in quotes, or lists of files) into other languages.

    A list is a file of names, @films.txt, or films.csv, .jsonl or .json with a column "file" and any option of this command
    for the file of that row.

    \b
    polydub dub talk.mp4 --to es --transcript talk.en.srt --translation talk.es.srt
    polydub dub "season1/*.mkv" --to es,fr --transcript "subs/{stem}.en.srt" --jobs 2
    polydub dub films.csv --to es
    """
    flags = {key: given[key] for key in SETTINGS}
    loaded = read(flags, given["job"])
    asked = inputs.Asked(files, given["recursive"], given["transcript"], given["translation"], flags, given["job"])
    tasks = inputs.tasks(asked, loaded)
    if given["dry_run"]:
        from polydub.cli.plan import show_plans

        return show_plans(tasks, given["as_json"])
    share_memory()
    settings = loaded.settings
    pool = EnginePool(settings.idle_s, settings.threads or len(os.sched_getaffinity(0)))
    try:
        if len(tasks) == 1:
            return _alone(tasks[0], pool, given)
        from polydub.cli.batch import dub_batch

        return dub_batch(Batch(tasks, settings.jobs, settings.threads, dub_or_stream), pool, given)
    finally:
        pool.close()


def dub_or_stream(job: Job, loaded: Loaded, pool: EnginePool, ears: Ears) -> Sequence[Outcome | Streamed]:
    """Dubs one film, as a whole or piece by piece. Raises: PolydubError."""
    if loaded.settings.stream == "off":
        return dub_film(job, loaded, pool, ears)
    from polydub.streaming import stream_film

    return stream_film(job, loaded, pool, ears)


def share_memory() -> None:
    """Lets all threads take memory from one place, and gives each large array back as soon as it is freed.

    By itself glibc keeps a heap for each thread, some 100 MB that nobody uses, and as much free memory as the largest
    array that was ever freed: 445 MB instead of 350 for a film on four cores, at the same speed.
    """
    import ctypes

    arena_max, mmap_threshold = -8, -3  # M_ARENA_MAX, M_MMAP_THRESHOLD of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(arena_max, 1)
        mallopt(mmap_threshold, 4 << 20)


def _alone(task: Task, pool: EnginePool, given: dict[str, Any]) -> int:
    """Dubs one film. Raises: PolydubError, which stands in the JSON, too."""
    try:
        with Meter() as meter:
            ears = Ears(meter.show, meter.say, meter.ask, given["reconsider"], given["debug"])
            outcomes = dub_or_stream(task.job, task.loaded, pool, ears)
    except Cancelled:
        raise
    except PolydubError as error:
        if given["as_json"]:
            output.result_json({"files": [output.failed_row(task.job.media, error)]})
        raise
    for outcome in outcomes:
        _tell(outcome, given)
    if given["as_json"]:
        output.result_json({"files": [{"file": task.name, "dubs": [output.outcome_row(outcome) for outcome in outcomes]}]})
    return 0


def _tell(outcome: Outcome | Streamed, given: dict[str, Any]) -> None:
    output.say_notices(outcome.notices, given["verbose"])
    if not isinstance(outcome, Outcome):
        if not given["as_json"]:
            output.result(str(outcome.film or outcome.playlist))
            counted = (
                f"{count} {what}{'s'[: count != 1]}"
                for count, what in ((outcome.segments, "segment"), (outcome.pieces, "piece"))
            )
            output.say(f"{', '.join(counted)}, {outcome.duration:.1f} s")
            output.say(f"report: {outcome.report}")
    elif not given["as_json"]:
        output.result(str(outcome.film))
        from polydub.evaluate import key_figures

        for name, value in key_figures(outcome.facts):
            output.say(f"{name}: {value}")
        if outcome.facts.usage.calls:
            output.say(output.usage(outcome.facts.usage))
        output.say(f"report: {outcome.report}")
