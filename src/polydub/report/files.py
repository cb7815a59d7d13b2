"""The small files of a project: transcript, speakers, script, subtitles, hand-over formats, the report."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from polydub import __version__, project
from polydub.pipeline import Result
from polydub.report import exports, model
from polydub.runner import Run
from polydub.stages.listen import PEAKS_HZ
from polydub.types import Turn
from polydub.wants import Wanted


@dataclass(frozen=True)
class Wrapping:
    """What the files tell besides the result: the film's own file, when the run began, whether debug files are wanted."""

    media: Path
    started: datetime
    debug: bool = False


def write_files(run: Run, result: Result, want: Wanted, wrapping: Wrapping) -> Path:
    """Writes everything that is not film or stem; equal files are left alone. Returns the path of the HTML report."""
    from polydub.report.page import Waves, render_page

    folder, target, media = run.project, want.target, wrapping.media
    title = f"{media.stem} {target}"
    fps = next((t.fps for t in result.source.of("video")), 0.0)
    texts: dict[str, str | bytes] = {
        "transcript.json": exports.transcript(result.script),
        "diarization.json": _json([{"start": t.start, "end": t.end, "speaker": t.speaker} for t in _turns(result)]),
        "diarization.rttm": exports.rttm(media.stem, _turns(result)),
        f"script.{target}.json": _script(result, target),
        f"dub.{target}.edl": exports.edl(title, result.placed, fps),
        f"dub.{target}.otio": exports.otio(title, result.placed, f"stems/dub.{target}.flac"),
    }
    for sub in result.subtitles:
        if sub.format in want.delivery.subs_formats:
            texts[f"subs/{media.stem}.{sub.language}.{sub.format}"] = run.store.path(sub.file).read_bytes()
    if wrapping.debug:
        texts |= {f"debug/segments/{line.id}.json": line.model_dump_json(indent=1) + "\n" for line in _lines(result)}
    for name, text in texts.items():
        project.write(folder / name, text)
    report = make_report(run, result, want, wrapping)
    project.write(folder / f"report.{target}.json", model.dump(report))
    curves = result.sounds.levels.before.curve, result.after.curve
    waves = Waves(result.listened.heard.peaks, result.dub_peaks, *curves, PEAKS_HZ)
    page = folder / f"report.{target}.html"
    project.write(page, render_page(report, waves))
    return page


def make_report(run: Run, result: Result, want: Wanted, wrapping: Wrapping) -> model.Report:
    """The report of one dub."""
    lines = _lines(result)
    circumstances = model.Run(
        started=wrapping.started,
        finished=datetime.now(UTC),
        host=platform.node(),
        cpus=os.cpu_count() or 1,
        polydub_version=__version__,
    )
    return model.Report(
        run=circumstances,
        source=_source(result, wrapping.media),
        target_language=want.target,
        engines=_engines(run),
        stages=tuple(
            model.StageCount(name=name, seconds=round(c.seconds, 3), ran=c.ran, remembered=c.remembered)
            for name, c in run.counts.items()
        ),
        notices=tuple(
            model.ReportNotice(code=n.code, text=n.text, severity=n.severity, stage=n.stage, line=n.line) for n in run.notices
        ),
        loudness=_loudness(result, want),
        sound=_sound(result),
        speakers=_speakers(result),
        lines=lines,
        timing=model.timing_scores(lines),
        outputs=_outputs(result, run.project),
    )


def _source(result: Result, media: Path) -> model.SourceFacts:
    picture = next(iter(result.source.of("video")), None)
    return model.SourceFacts(
        name=media.name,
        duration=round(result.source.duration, 3),
        width=picture.width if picture else 0,
        height=picture.height if picture else 0,
        fps=picture.fps if picture else 0.0,
        codec=picture.codec if picture else "",
        audio_track=result.source.of("audio").index(result.track),
        language=result.script.language,
    )


def _engines(run: Run) -> tuple[model.EngineChoice, ...]:
    return tuple(
        model.EngineChoice(
            kind=kind,
            name=tool.engine.info.name,
            version=str(tool.identity["package"]),
            reason=tool.reason,
            options=dict(tool.identity["options"]),
        )
        for kind, tool in sorted(run.tools.items())
    )


def _loudness(result: Result, want: Wanted) -> model.LoudnessFacts:
    levels = result.sounds.levels
    return model.LoudnessFacts(
        target_lufs=want.mixing.target_lufs,
        before_lufs=levels.before.integrated,
        after_lufs=result.after.integrated,
        before_true_peak_dbtp=levels.before.true_peak,
        after_true_peak_dbtp=result.after.true_peak,
        true_peak_limit_dbtp=want.mixing.true_peak_dbtp,
        range_lu=result.after.range_lu,
        dialogue_lufs=levels.dialogue if levels.dialogue > -120 else None,
        gain_db=result.sounds.gain_db,
    )


def _sound(result: Result) -> model.SoundFacts:
    levels = result.sounds.levels
    return model.SoundFacts(
        separated=levels.separated,
        ducked_s=result.sounds.ducked_s,
        room_tone_dbfs=levels.room.level_dbfs if levels.room else None,
        scenes=tuple(model.SceneFacts(start=s.start, end=s.end, lufs=max(s.lufs, -120.0)) for s in levels.scenes),
    )


def _speakers(result: Result) -> tuple[model.SpeakerFacts, ...]:
    talk: dict[str, float] = {}
    for turn in _turns(result):
        talk[turn.speaker] = talk.get(turn.speaker, 0.0) + turn.duration
    voices, reasons = result.cast.casting.voices, result.cast.reasons
    return tuple(
        model.SpeakerFacts(id=s.id, talk_s=round(talk.get(s.id, 0.0), 3), voice=voices[s.id].name, reason=reasons[s.id])
        for s in result.script.speakers
    )


def _lines(result: Result) -> tuple[model.ReportLine, ...]:
    """One row for each line; a line that says nothing lasts 0 s at rate 1."""
    placed = {p.id: p for p in result.placed}
    rows: list[model.ReportLine] = []
    for line in result.lines:
        p = placed.get(line.id)
        rows.append(
            model.ReportLine(
                id=line.id,
                speaker=line.speaker,
                source_text=line.source_text,
                text=line.text,
                source_start=line.start,
                source_end=line.end,
                start=p.start if p else line.start,
                duration=p.duration if p else 0.0,
                natural_duration=p.natural_duration if p else 0.0,
                rate=p.rate if p else 1.0,
                shift=p.shift if p else 0.0,
                overflow=p.overflow if p else 0.0,
                voice=result.cast.casting.voices[line.speaker].name,
            )
        )
    return tuple(rows)


def _outputs(result: Result, folder: Path) -> tuple[model.Output, ...]:
    """The big files; the small ones lie beside them under fixed names."""
    made = [(result.film, "video"), *((path, "stem") for path in result.stems.values())]
    return tuple(
        model.Output(path=path.relative_to(folder).as_posix(), kind=kind, bytes=path.stat().st_size) for path, kind in made
    )


def _turns(result: Result) -> tuple[Turn, ...]:
    """Who speaks when: as heard, else as the texts tell."""
    speech = (s for s in result.script.segments if s.kind == "speech")
    return result.listened.turns or tuple(Turn(s.start, s.end, s.speaker) for s in speech)


def _script(result: Result, target: str) -> str:
    lines = [
        {"id": x.id, "speaker": x.speaker, "start": x.start, "end": x.end, "source_text": x.source_text, "text": x.text,
         "seed": x.seed, "locked": x.locked}
        for x in result.lines
    ]  # fmt: skip
    voices = {speaker: voice.name for speaker, voice in result.cast.casting.voices.items()}
    return _json({"language": target, "voices": voices, "lines": lines})


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
