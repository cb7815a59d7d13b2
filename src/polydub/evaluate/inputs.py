"""What is to be judged: the files of a project, or a dub from anywhere with what is known of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from polydub import languages
from polydub.audio import layouts
from polydub.errors import BadInput, BadSettings, NoAudioTrack, UnreadableMedia
from polydub.evaluate.picture import Packet, packets
from polydub.media import ffmpeg
from polydub.report.model import Report, ReportLine
from polydub.text.subtitles import parse_subtitles
from polydub.types import Artifact, Samples, Source, Span, Track

_FIND = "give the folder of a film, such as Output/talk, or a dubbed file"


@dataclass(frozen=True)
class Asked:
    """What a person named: the dub (a project's folder or a file) and what belongs to it."""

    dub: Path
    reference: Path | None = None
    language: str = ""
    script: Path | None = None
    subtitles: Path | None = None
    reference_subtitles: Path | None = None
    dialogue: Path | None = None


@dataclass(frozen=True)
class Subject:
    """What is known of a dub.

    Attributes: lines: of the script; their `duration` is 0 and their `rate` 0 where nobody told when they are spoken.
    placed: somebody told. segments: speech of the source that has to be accounted for. stems: by name: "dialogue" (of the
    source), "dub", "background". fps: of the picture, 0 = unknown.
    """

    dub: Path
    reference: Path | None
    language: str
    source_language: str = "und"
    lines: tuple[ReportLine, ...] = ()
    placed: bool = False
    report: Report | None = None
    segments: tuple[Span, ...] = ()
    subtitles: Path | None = None
    reference_subtitles: Path | None = None
    stems: Mapping[str, Path] = field(default_factory=dict[str, Path])


def find(asked: Asked) -> Subject:
    """The dub that `asked` names. Raises BadInput, BadSettings."""
    for path in (asked.dub, asked.reference, asked.script, asked.subtitles, asked.reference_subtitles, asked.dialogue):
        if path is not None and not path.exists():
            raise BadInput(f"{path} is not there", _FIND if path == asked.dub else "check the name")
    subject = _project(asked) if asked.dub.is_dir() else Subject(asked.dub, None, languages.or_und(asked.language or "und"))
    if asked.script is not None:
        subject = replace(subject, lines=_script(asked.script), placed=False)
    dialogue = {"dialogue": asked.dialogue} if asked.dialogue else {}
    return replace(
        subject,
        reference=asked.reference or subject.reference,
        subtitles=asked.subtitles or subject.subtitles,
        reference_subtitles=asked.reference_subtitles,
        stems={**subject.stems, **dialogue},
    )


def _project(asked: Asked) -> Subject:
    folder = asked.dub
    reports = {path.name.split(".")[1]: path for path in sorted(folder.glob("report.*.json"))}
    language = languages.parse(asked.language) if asked.language else next(iter(reports), "")
    if not reports:
        raise BadInput(f"{folder} holds no dub: there is no report.<language>.json in it", _FIND)
    if language not in reports or (len(reports) > 1 and not asked.language):
        raise BadSettings(f"{folder} holds dubs into {', '.join(reports)}", "choose one with --lang")
    try:
        report = Report.model_validate_json(reports[language].read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"{reports[language]} is not a report of this version", "dub the film again") from error
    film = next((folder / o.path for o in report.outputs if o.kind == "video"), None)
    if film is None or not film.is_file():
        raise BadInput(f"the dubbed film of {folder} is not there", "dub the film again")
    return Subject(
        dub=film,
        reference=_source_of(folder),
        language=language,
        source_language=report.source.language,
        lines=report.lines,
        placed=True,
        report=report,
        segments=_segments(folder / "transcript.json"),
        subtitles=next(iter(sorted((folder / "subs").glob(f"*.{language}.srt"))), None)
        or next(iter(sorted((folder / "subs").glob(f"*.{language}.*"))), None),
        stems=_stems(folder / "stems", language),
    )


def _stems(folder: Path, language: str) -> dict[str, Path]:
    names = {"dialogue": "dialogue.flac", "dub": f"dub.{language}.flac", "background": f"background.{language}.flac"}
    return {name: folder / file for name, file in names.items() if (folder / file).is_file()}


def _source_of(folder: Path) -> Path | None:
    """The film a project was made from, if it is still where it was."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        path = Path(json.loads((folder / "project.json").read_text(encoding="utf-8"))["source"]["path"])
        return path if path.is_file() else None
    return None


def _segments(file: Path) -> tuple[Span, ...]:
    """The speech of a project's transcript."""
    if not file.is_file():
        return ()
    found = _json(file).get("segments", [])
    return tuple(Span(s["start"], s["end"]) for s in found if s.get("kind", "speech") == "speech" and s.get("text"))


def _script(file: Path) -> tuple[ReportLine, ...]:
    """The lines of a script.<language>.json, or of subtitles in the language of the dub at the times of the source."""
    if file.suffix.lower() != ".json":
        cues = parse_subtitles(file.read_bytes(), file.suffix).segments
        return tuple(_line(c.id, c.speaker, ("", c.text), Span(c.start, c.end)) for c in cues)
    try:
        rows = cast("list[dict[str, Any]]", _json(file)["lines"])
        return tuple(
            _line(str(r["id"]), str(r["speaker"]), (str(r["source_text"]), str(r["text"])), Span(r["start"], r["end"]))
            for r in rows
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise BadInput(f"{file} is no script of polydub", "give script.<language>.json, or subtitles") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BadInput(f"{file} cannot be read as JSON", "check the file") from error
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _line(name: str, speaker: str, texts: tuple[str, str], slot: Span) -> ReportLine:
    return ReportLine(
        id=name, speaker=speaker, source_text=texts[0], text=texts[1], cue_start=slot.start, cue_end=slot.end,
        source_start=slot.start, source_end=slot.end, start=slot.start, duration=0.0, natural_duration=0.0, rate=0.0,
        shift=0.0, overflow=0.0, voice="",
    )  # fmt: skip


@dataclass(frozen=True)
class Reel:
    """An open media file and the one of its sound tracks that is meant."""

    link: Path
    source: Source
    track: Track
    number: int

    @property
    def layout(self) -> str:
        """ffmpeg's name of the layout in which `blocks` gives its channels."""
        return layouts.carrier(self.track.layout, self.track.channels)

    def blocks(self) -> ffmpeg.Decoding:
        """Its sound with all channels; afterwards `missing_s` and `complaint` tell of damage."""
        channels = len(layouts.channels(self.layout))
        return ffmpeg.decode_blocks(self.link, self.track, self.source, channels, self.layout)

    def mono(self, late_s: float = 0.0) -> Iterator[Samples]:
        """Its sound in mono, from `late_s` seconds after (or before) the first moment on."""
        source = replace(self.source, start=self.source.start + late_s)
        return iter(ffmpeg.decode_blocks(self.link, self.track, source, 1))

    @property
    def picture(self) -> Track | None:
        """The first picture track that is no cover."""
        return next(iter(self.source.of("video")), None)

    def packets(self, track: Track, *, decoded: bool = False) -> Iterator[Packet]:
        """The packets of a track as they are stored, or its decoded frames, in ffmpeg's order. Raises UnreadableMedia."""
        with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
            rows = Path(folder) / "packets"
            how = ["-fps_mode", "passthrough", "-pix_fmt", "yuv420p"] if decoded else ["-c", "copy"]
            strict = ["-xerror", "-err_detect", "explode"] if decoded else []
            chosen = ["-map", f"0:{track.index}", *how, "-f", "framehash", "-hash", "md5", f"file:{rows}"]
            ffmpeg.run([*strict, "-copyts", *ffmpeg.SAFE_INPUT, "-i", f"file:{self.link}", *chosen], stage="comparing pictures")
            with rows.open(encoding="ascii", errors="replace") as lines:
                yield from packets(lines)


@contextmanager
def opened(path: Path, language: str = "", number: int | None = None) -> Generator[Reel]:
    """Opens a media file: its sound track `number` (from 0), else the one in `language`, else the default, else the first.

    Raises: UnreadableMedia, NoAudioTrack.
    """
    with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
        try:
            source = ffmpeg.probe(Artifact("", path.suffix, 0), path)
        except UnreadableMedia as error:
            error.message = f"{path}: {error.message}"
            raise
        tracks = source.of("audio")
        if not tracks:
            raise NoAudioTrack(f"{path} has no sound", "give a file with sound")
        spoken = [n for n, t in enumerate(tracks) if language and languages.matches(languages.or_und(t.language), language)]
        chosen = [n for n, t in enumerate(tracks) if t.default]
        at = number if number is not None and number < len(tracks) else (spoken or chosen or [0])[0]
        yield Reel(ffmpeg.safe_link(path, Path(folder)), source, tracks[at], at)
