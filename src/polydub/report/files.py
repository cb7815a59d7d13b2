"""The small files of a project: transcript, speakers, script, subtitles, hand-over formats, the report."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from polydub import __version__, project
from polydub.engines.base import Kind
from polydub.engines.pool import Tool
from polydub.pipeline import Result
from polydub.report import exports, model
from polydub.runner import Run
from polydub.speaking import Said
from polydub.stages import acting
from polydub.stages.listen import PEAKS_HZ
from polydub.text import rttm
from polydub.text.lengths import Choice
from polydub.types import Casting, Line, Phrase, Placement, Source, Span, Track, Turn, seconds
from polydub.wants import Wanted


@dataclass(frozen=True)
class Wrapping:
    """What the files tell besides the result: the film's own file, when the run began, whether debug files are wanted."""

    media: Path
    started: datetime
    debug: bool = False


def write_files(run: Run, result: Result, want: Wanted, wrapping: Wrapping) -> tuple[Path, model.Report]:
    """Writes everything that is not film or stem; equal files are left alone. Returns the HTML report's path and the report."""
    from polydub.report.page import Waves, render_page

    folder, target, media = run.project, want.target, wrapping.media
    title = f"{media.stem} {target}"
    fps = next((t.fps for t in result.footage.source.of("video")), 0.0)
    texts: dict[str, str | bytes] = {
        "transcript.json": exports.transcript(result.script),
        "diarization.json": _json([{"start": t.start, "end": t.end, "speaker": t.speaker} for t in _turns(result)]),
        "diarization.rttm": rttm.write(media.stem, _turns(result)),
        f"script.{target}.json": _script(result, target),
        f"dub.{target}.edl": exports.edl(title, result.said.placed, fps, f"stems/dub.{target}.flac"),
        f"dub.{target}.otio": exports.otio(title, result.said.placed, f"stems/dub.{target}.flac", target),
    }
    for sub in result.subtitles:
        if sub.format in want.delivery.subs_formats:
            texts[f"subs/{media.stem}.{sub.tag}.{sub.format}"] = run.store.path(sub.file).read_bytes()
    if wrapping.debug:
        texts |= {f"debug/segments/{line.id}.json": line.model_dump_json(indent=1) + "\n" for line in _lines(result)}
        texts |= {f"debug/expressive/{id_}.json": _json(told) for id_, told in acting.facts(result.footage.acted).items()}
    for name, text in texts.items():
        project.write(folder / name, text)
    report = make_report(run, result, want, wrapping)
    project.write(folder / f"report.{target}.json", model.dump(report))
    dub_peaks = tuple(peak for r in result.mastered.rendered for peak in r.dub_peaks)
    curves = result.sounds.levels.before.curve, result.mastered.after.curve
    waves = Waves(result.footage.listened.heard.peaks, dub_peaks, *curves, PEAKS_HZ)
    page = folder / f"report.{target}.html"
    project.write(page, render_page(report, waves))
    return page, report


def make_report(run: Run, result: Result, want: Wanted, wrapping: Wrapping) -> model.Report:
    """The report of one dub."""
    lines = _lines(result)
    film = result.footage
    return model.Report(
        run=circumstances(wrapping.started),
        source=source_facts(film.source, film.track, wrapping.media.name, result.script.language),
        target_language=want.target,
        engines=engines(run.tools),
        stages=tuple(
            model.StageCount(name=name, seconds=round(c.seconds, 3), ran=c.ran, remembered=c.remembered)
            for name, c in run.counts.items()
        ),
        notices=tuple(
            model.ReportNotice(code=n.code, text=n.text, severity=n.severity, stage=n.stage, line=n.line) for n in run.notices
        ),
        usage=model.UsageFacts(**asdict(result.footage.usage)),
        loudness=_loudness(result, want),
        sound=_sound(result),
        picture=_picture(result),
        speakers=_speakers(result),
        lines=lines,
        timing=model.timing_scores(lines),
        outputs=_outputs(result, run.project),
    )


def circumstances(started: datetime) -> model.Run:
    """Of a run that ends now."""
    cpus = os.cpu_count() or 1
    return model.Run(started=started, finished=datetime.now(UTC), host=platform.node(), cpus=cpus, polydub_version=__version__)


def source_facts(source: Source, track: Track, name: str, language: str) -> model.SourceFacts:
    """The film that was given: its file's name, what was dubbed of it, the language that is spoken in it."""
    picture = next(iter(source.of("video")), None)
    return model.SourceFacts(
        name=name,
        duration=round(source.duration, 3),
        width=picture.width if picture else 0,
        height=picture.height if picture else 0,
        fps=picture.fps if picture else 0.0,
        codec=picture.codec if picture else "",
        audio_track=source.of("audio").index(track),
        language=language,
    )


def engines(tools: Mapping[Kind, Tool]) -> tuple[model.EngineChoice, ...]:
    """The engines of a run, by kind."""
    return tuple(
        model.EngineChoice(
            kind=kind,
            name=tool.engine.info.name,
            version=str(tool.identity["package"]),
            reason=tool.reason,
            options=dict(tool.identity["options"]),
        )
        for kind, tool in sorted(tools.items())
    )


def _loudness(result: Result, want: Wanted) -> model.LoudnessFacts:
    levels = result.sounds.levels
    return model.LoudnessFacts(
        target_lufs=result.sounds.goal.lufs,
        before_lufs=levels.before.integrated,
        after_lufs=result.mastered.after.integrated,
        before_true_peak_dbtp=levels.before.true_peak,
        after_true_peak_dbtp=result.mastered.after.true_peak,
        true_peak_limit_dbtp=want.mixing.true_peak_dbtp,
        range_lu=result.mastered.after.range_lu,
        dialogue_lufs=levels.dialogue if levels.dialogue > -120 else None,
        gain_db=result.mastered.aim.gain_db,
        dialogue_gated_lufs=result.mastered.after.dialogue_gated,
        goal="dialogue" if result.sounds.goal.dialogue else "programme",
    )


def _sound(result: Result) -> model.SoundFacts:
    levels = result.sounds.levels
    return model.SoundFacts(
        separated=levels.separated,
        ducked_s=result.sounds.ducked_s,
        kept_nonspeech_s=seconds(result.sounds.kept_s),
        room_tone_dbfs=levels.room.level_dbfs if levels.room else None,
        scenes=tuple(model.SceneFacts(start=s.start, end=s.end, lufs=max(s.lufs, -120.0)) for s in levels.scenes),
    )


def _picture(result: Result) -> model.PictureFacts:
    clock = result.footage.clock
    return model.PictureFacts(added_s=clock.added_s, slowest=round(clock.slowest, 4), burnt_in=result.picture is not None)


def _speakers(result: Result) -> tuple[model.SpeakerFacts, ...]:
    talk: dict[str, float] = {}
    for turn in _turns(result):
        talk[turn.speaker] = talk.get(turn.speaker, 0.0) + turn.duration
    voices, reasons, paces = result.cast.casting.voices, result.cast.reasons, result.said.paces
    return tuple(
        model.SpeakerFacts(
            id=s.id,
            talk_s=round(talk.get(s.id, 0.0), 3),
            voice=voices[s.id].name,
            reason=reasons[s.id],
            pace_error=round(paces[s.id].error, 4) if s.id in paces else None,
        )
        for s in result.script.speakers
    )


def _lines(result: Result) -> tuple[model.ReportLine, ...]:
    return line_rows(result.footage.lines, result.said, result.cast.casting)


def line_rows(lines: Sequence[Line], said: Said, casting: Casting) -> tuple[model.ReportLine, ...]:
    """One row for each line; a line that says nothing lasts 0 s at rate 1."""
    placed: dict[str, list[Placement]] = {}
    for p in said.placed:
        placed.setdefault(p.line, []).append(p)
    phrases = {p.id: p for p in said.phrases}
    voices = {x.id: (casting.lines.get(x.id) or casting.voices[x.speaker]).name for x in lines}
    return tuple(_line(x, said.choices.get(x.id), voices[x.id], placed.get(x.id, []), phrases) for x in lines)


def _line(
    line: Line, choice: Choice | None, voice: str, placed: Sequence[Placement], phrases: Mapping[str, Phrase]
) -> model.ReportLine:
    changed = choice is not None and choice.kind != "normal"
    heard = Span(phrases[placed[0].id].start, phrases[placed[-1].id].end) if placed else Span(line.start, line.end)
    start = placed[0].start if placed else line.start
    natural, lasts = sum(p.natural_duration for p in placed), sum(p.duration for p in placed)
    return model.ReportLine(
        id=line.id,
        speaker=line.speaker,
        source_text=line.source_text,
        text=choice.text if choice else line.text,
        cue_start=line.start,
        cue_end=line.end,
        source_start=heard.start,
        source_end=heard.end,
        start=start,
        duration=seconds(placed[-1].start + placed[-1].duration - start) if placed else 0.0,
        natural_duration=seconds(natural),
        rate=(placed[0].rate if len(placed) == 1 else round(natural / lasts, 4)) if lasts else 1.0,
        shift=placed[0].shift if placed else 0.0,
        overflow=seconds(sum(p.overflow for p in placed)),
        voice=voice,
        wording=choice.kind if choice else "normal",
        normal_text=line.text if changed else "",
        removed=choice.removed if choice else (),
        phrases=tuple(
            model.PhraseFacts(start=p.start, duration=p.duration, rate=p.rate, text=phrases[p.id].text)
            for p in (placed if len(placed) > 1 else ())
        ),
    )


def _outputs(result: Result, folder: Path) -> tuple[model.Output, ...]:
    """The big files; the small ones lie beside them under fixed names."""
    film = [(result.film, "video")] if result.film else []
    made = [*film, *((path, "stem") for path in result.stems.values())]
    return tuple(
        model.Output(path=path.relative_to(folder).as_posix(), kind=kind, bytes=path.stat().st_size) for path, kind in made
    )


def _turns(result: Result) -> tuple[Turn, ...]:
    """Who speaks when: as heard, else as the texts tell."""
    speech = (s for s in result.script.segments if s.kind == "speech")
    return result.footage.listened.turns or tuple(Turn(s.start, s.end, s.speaker) for s in speech)


def _script(result: Result, target: str) -> str:
    """The lines as they were written, by the clock of the film that was given."""
    spoken = {id_: choice.text for id_, choice in result.said.choices.items()}
    back = result.footage.clock.back
    lines = [
        {"id": x.id, "speaker": x.speaker, "start": seconds(back(x.start)), "end": seconds(back(x.end)),
         "source_text": x.source_text, "text": x.text, "short": x.short, "long": x.long, "spoken": spoken.get(x.id, x.text),
         "seed": x.seed, "locked": x.locked}
        for x in result.footage.lines
    ]  # fmt: skip
    voices = {speaker: voice.name for speaker, voice in result.cast.casting.voices.items()}
    return _json({"language": target, "voices": voices, "lines": lines})


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
