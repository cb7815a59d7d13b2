"""`polydub dub`."""

from __future__ import annotations

from typing import Any

import click

from polydub.choosing import check_choices
from polydub.cli import inputs, output
from polydub.cli.options import NAME, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.config import Loaded
from polydub.dubbing import Ears, Job, Outcome, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import SOME_FAILED, Cancelled, PolydubError

SETTINGS = (
    "to", "source_language", "voice", "voice_mode", "voice_ref_dir", "voices", "characters", "character_book",
    "character_threshold", "character_margin", "auto_enrol", "expressive", "expressive_strength", "rate", "pitch",
    "energy", "asr", "asr_model", "diarization", "rttm", "speakers", "separation", "separate_where", "mt", "tts",
    "check_speech", "glossary", "summary", "models", "download", "mode", "device", "audio_track", "no_translate",
    "max_rate", "min_rate", "comfortable_rate", "early_s", "gap_s", "shorten", "stretch_video", "max_slowdown",
    "loudness", "lufs", "ducking_db", "ducking_attack_s", "ducking_release_s", "perspective", "keep_nonspeech",
    "audio_bit_rate_kbps", "subs", "subs_format", "bilingual", "word_times", "burn_in", "font", "lip_sync",
    "strict_plugins", "together", "format", "stream", "chunk_seconds", "overlap_seconds", "output", "store",
    "offline", "strict", "jobs", "threads",
)  # fmt: skip


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=NAME)
@click.option("--transcript", metavar="FILE", type=NAME, help="What is said in the video: SRT, VTT, ASS, JSON or plain text.")
@click.option("--translation", multiple=True, metavar="FILE", type=NAME,
              help="What the dub shall say; for several targets LANG=FILE, repeated.")  # fmt: skip
@settings_options(SETTINGS)
@click.option("--dry-run", is_flag=True, help="Print the plan and the engines, and do nothing.")
@click.option("--reconsider", is_flag=True, help="Let auto choose the engines anew instead of keeping the project's.")
@common
def dub(files: tuple[str, ...], **given: Any) -> int:
    """Dub videos (files, folders, or patterns in quotes) into other languages.

    \b
    polydub dub talk.mp4 --to es --transcript talk.en.srt --translation talk.es.srt
    polydub dub "season1/*.mkv" --to es,fr --transcript "subs/{stem}.en.srt"
    """
    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    check_choices(loaded.settings)
    found = inputs.jobs(inputs.media_files(files), given["transcript"], given["translation"], loaded.settings.to)
    if given["dry_run"]:
        from polydub.cli.plan import show_plans

        return show_plans(found, loaded, given["as_json"])
    share_memory()
    pool = EnginePool(loaded.settings.idle_s)
    try:
        rows = [_one(job, loaded, pool, given, alone=len(found) == 1) for job in found]
    finally:
        pool.close()
    if given["as_json"]:
        output.result_json({"files": rows})
    failed = [row for row in rows if "error" in row]
    if len(found) > 1:
        output.say(f"{len(rows) - len(failed)} of {len(rows)} files dubbed")
    return SOME_FAILED if failed else 0


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


def _one(job: Job, loaded: Loaded, pool: EnginePool, given: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    """Dubs one film; in a batch a failure is told and isolated."""
    try:
        with Meter() as meter:
            ears = Ears(meter.show, meter.say, meter.ask, given["reconsider"], given["debug"])
            outcomes = dub_film(job, loaded, pool, ears)
    except Cancelled:
        raise
    except PolydubError as error:
        row = output.failed_row(job.media, error)
        if alone:
            if given["as_json"]:
                output.result_json({"files": [row]})
            raise
        output.say_error(error, str(job.media))
        return row
    for outcome in outcomes:
        _tell(outcome, given)
    return {"file": str(job.media), "dubs": [_row(outcome) for outcome in outcomes]}


def _tell(outcome: Outcome, given: dict[str, Any]) -> None:
    output.say_notices(outcome.notices, given["verbose"])
    if not given["as_json"]:
        output.result(str(outcome.film))
        from polydub.evaluate import key_figures

        for name, value in key_figures(outcome.facts):
            output.say(f"{name}: {value}")
        if outcome.facts.usage.calls:
            output.say(output.usage(outcome.facts.usage))
        output.say(f"report: {outcome.report}")


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "language": outcome.language,
        "film": str(outcome.film),
        "report": str(outcome.report.with_suffix(".json")),
        "calls": outcome.called,
        "notices": [{"code": n.code, "text": n.text, "severity": n.severity, "line": n.line} for n in outcome.notices],
    }
