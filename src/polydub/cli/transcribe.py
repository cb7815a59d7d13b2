"""`polydub transcribe`, `polydub diarize` and `polydub separate`: what is heard in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from polydub import project, standalone
from polydub.cli import output
from polydub.cli.options import NAME, PATH, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.dubbing import Ears, Job, check_file
from polydub.errors import BadSettings
from polydub.types import Segment, Turn

SETTINGS = (
    "source_language", "asr", "asr_model", "diarization", "speakers", "audio_track", "mode", "device", "models",
    "environments", "download", "output", "store", "offline", "strict", "threads",
)  # fmt: skip
SPEAKER_SETTINGS = (
    "diarization", "speakers", "audio_track", "mode", "device", "models", "environments", "download", "output", "store",
    "offline", "strict", "threads",
)  # fmt: skip
STEM_SETTINGS = (
    "separation", "separate_where", "audio_track", "mode", "device", "models", "environments", "download", "output", "store",
    "offline", "strict", "threads",
)  # fmt: skip
FORMATS = ("txt", "srt", "vtt", "json")


@click.command()
@click.argument("file", type=PATH)
@click.option("--transcript", type=NAME, metavar="FILE", help="What is said, as text or subtitles: only its times are found.")
@click.option(
    "--format", "formats", metavar="|".join(FORMATS), help="Formats, several with commas. [default: that of --out, or txt]"
)
@click.option("-o", "--out", type=PATH, help="File to write; with several formats its ending changes. [default: stdout]")
@click.option("--stream", is_flag=True, help="Print what is understood at once, before sentences and speakers are known.")
@settings_options(SETTINGS)
@common
def transcribe(file: Path, out: Path | None, **given: Any) -> int:
    """Write down what is said in a video or sound file, by whom and when.

    \b
    polydub transcribe talk.mp4
    polydub transcribe talk.mp4 --format srt,json --out talk
    """
    formats = _formats(given["formats"], out)
    if len(formats) > 1 and out is None:
        raise BadSettings("several formats cannot go to stdout", "name a file with --out; its ending is changed for each")
    if given["stream"] and (given["as_json"] or (formats != ("txt",) and out is None)):
        raise BadSettings("--stream prints plain text, so that nothing else can go to stdout", "leave out --stream")
    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    transcript = Path(given["transcript"]) if given["transcript"] else None
    if transcript:
        check_file(transcript)
    paths = _paths(formats, out)
    for path in paths:
        standalone.check_target(path, file, *([transcript] if transcript else []))
    with Meter() as meter:
        job = Job(file, transcript)
        ears = Ears(meter.show, meter.say, meter.ask)
        done = standalone.transcribe_file(job, loaded, ears, _live if given["stream"] else None)
    output.say_notices(done.notices, given["verbose"])
    texts = [standalone.transcript(done.script, form) for form in formats]
    for path, text in zip(paths, texts, strict=False):
        project.write(path, text)
    if given["as_json"]:
        rows = [_segment(s) for s in done.script.segments]
        output.result_json({"language": done.script.language, "segments": rows, "files": [str(path) for path in paths]})
    elif paths:
        for path in paths:
            output.result(str(path))
    elif not given["stream"] or transcript:
        output.result(texts[0].rstrip("\n"))
    return 0


def _formats(wanted: str | None, out: Path | None) -> tuple[str, ...]:
    ending = out.suffix.lower()[1:] if out else ""
    words = [word.strip().lower() for word in wanted.split(",")] if wanted else [ending if ending in FORMATS else "txt"]
    unknown = [word for word in words if word not in FORMATS]
    if unknown:
        raise BadSettings(f"there is no format {unknown[0]!r}", f"there are: {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(words))


def _live(segment: Segment) -> None:
    output.result(f"[{_clock(segment.start)}] {segment.text}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:d}:{int(minutes) % 60:02d}:{rest:04.1f}"


def _segment(s: Segment) -> dict[str, Any]:
    from polydub.report.exports import word_row

    words = [word_row(word) for word in s.words]
    return {"start": s.start, "end": s.end, "speaker": s.speaker, "text": s.text, "words": words}


def _paths(formats: tuple[str, ...], out: Path | None) -> list[Path]:
    """The file of each format; the ending of `out` is that of the format. None for stdout."""
    if out is None:
        return []
    stem = out.with_suffix("") if out.suffix.lower()[1:] in FORMATS else out
    return [out if len(formats) == 1 and out.suffix else stem.with_name(f"{stem.name}.{form}") for form in formats]


@click.command()
@click.argument("file", type=PATH)
@click.option("-o", "--out", type=PATH, help="RTTM file to write. [default: stdout]")
@settings_options(SPEAKER_SETTINGS)
@common
def diarize(file: Path, out: Path | None, **given: Any) -> int:
    """Tell who speaks when in a video or sound file, as RTTM.

    \b
    polydub diarize meeting.wav --speakers 2-4 --out meeting.rttm
    """
    from polydub.text import rttm

    loaded = read({key: given[key] for key in SPEAKER_SETTINGS}, given["job"])
    if out:
        standalone.check_target(out, file)
    with Meter() as meter:
        done = standalone.diarize_file(file, loaded, Ears(meter.show, meter.say, meter.ask))
    output.say_notices(done.notices, given["verbose"])
    if not done.turns:
        output.say(f"nobody speaks in {file}, as far as can be heard")
    for name, length in _lengths(done.turns).items():
        output.say(f"{name}: {length:.1f} s")
    text = rttm.write(file.stem, done.turns)
    if out:
        project.write(out, text)
    if given["as_json"]:
        output.result_json({"turns": [{"start": t.start, "end": t.end, "speaker": t.speaker} for t in done.turns]})
    else:
        output.result(str(out) if out else text.rstrip("\n"))
    return 0


def _lengths(turns: tuple[Turn, ...]) -> dict[str, float]:
    lengths: dict[str, float] = {}
    for turn in turns:
        lengths[turn.speaker] = lengths.get(turn.speaker, 0.0) + turn.duration
    return lengths


@click.command()
@click.argument("file", type=PATH)
@click.option("-o", "--out", type=PATH, help="Folder for the stems. [default: NAME/stems in the output folder]")
@click.option("--stems", is_flag=True, help="All stems that the engine tells apart, such as drums and bass.")
@settings_options(STEM_SETTINGS)
@common
def separate(file: Path, out: Path | None, stems: bool, **given: Any) -> int:
    """Part the sound of a video or sound file into dialogue and background, which sum to it.

    \b
    polydub separate talk.mp4 --out stems
    polydub separate song.mp3 --stems --separation demucs
    """
    loaded = read({key: given[key] for key in STEM_SETTINGS}, given["job"])
    with Meter() as meter:
        done = standalone.separate_file(file, out, loaded, Ears(meter.show, meter.say, meter.ask), stems=stems)
    output.say_notices(done.notices, given["verbose"])
    if given["as_json"]:
        output.result_json({"stems": {name: str(path) for name, path in done.stems.items()}})
    else:
        for path in done.stems.values():
            output.result(str(path))
    return 0
