"""The report of a stream: `report.<lang>.json` beside the manifest, with a row for each line as the report of a dub has them.

While the stream goes on its rows wait in a file beside it, so that memory does not grow with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from polydub import project
from polydub.report import files, model
from polydub.report.model import ReportLine
from polydub.store import writing
from polydub.streaming.segments import Manifest
from polydub.streaming.sources import Film
from polydub.streaming.work import Performance, Task
from polydub.types import Casting, Voice, seconds


class StreamLoudness(BaseModel):
    """Loudness of the programme as it was delivered."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    target_lufs: float = Field(description="wanted integrated loudness, LUFS")
    after_lufs: float | None = Field(description="integrated loudness of the stream, LUFS; null for silence")


class StreamReport(BaseModel):
    """What a stream says: blocks and lines as in the report of a dub, of all pieces that were made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1
    run: model.Run
    state: Literal["finished", "stopped", "failed"] = Field(description="how the stream ended")
    source: model.SourceFacts = Field(description="the film; its duration is that of what was made")
    target_language: str = Field(description="language of the dub, BCP-47")
    engines: tuple[model.EngineChoice, ...]
    notices: tuple[model.ReportNotice, ...] = Field(description="what a person should look at; at most 200")
    loudness: StreamLoudness
    speakers: tuple[model.SpeakerFacts, ...] = Field(description="who speaks, in order of first appearance")
    lines: tuple[ReportLine, ...] = Field(description="lines in order of time")
    timing: model.Timing
    outputs: tuple[model.Output, ...]


@dataclass
class Account:
    """What becomes known of a stream for its report. Used by one thread."""

    folder: Path
    language: str
    film: Film
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _last: Task | None = None
    _engines: dict[str, model.EngineChoice] = field(default_factory=dict[str, model.EngineChoice])
    _speakers: dict[str, str] = field(default_factory=dict[str, str])
    _talk_s: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        for old in (*self.folder.glob("report.*.json"), *self.folder.glob("report.*.jsonl")):
            old.unlink()

    @property
    def path(self) -> Path:
        """Of the report, when all is done."""
        return self.folder / f"report.{self.language}.json"

    @property
    def _rows(self) -> Path:
        return self.path.with_suffix(".jsonl")

    def add(self, task: Task, said: Performance, voices: Mapping[str, Voice]) -> None:
        """One more piece that can be played. voices: of everybody so far. Raises: StoreError."""
        self._last = task
        self._engines |= {one.kind: one for one in files.engines(task.run.tools)}
        lines = said.film.lines if said.said.phrases else ()
        rows = files.line_rows(lines, said.said, Casting(voices))
        for row in rows:
            self._speakers.setdefault(row.speaker, row.voice)
            length = row.source_end - row.source_start
            self._talk_s[row.speaker] = self._talk_s.get(row.speaker, 0.0) + length
        with writing(self._rows), self._rows.open("a", encoding="utf-8") as file:
            file.writelines(_later(row, task.piece.at).model_dump_json() + "\n" for row in rows)

    def close(self, manifest: Manifest) -> None:
        """Writes the report of what was made; none where nothing was. Raises: StoreError."""
        if self._last is None:
            return
        film, lines = self.film, tuple(sorted(_read(self._rows), key=lambda row: row.start))
        source = files.source_facts(film.source, film.track, manifest.source, manifest.spoken)
        report = StreamReport(
            run=files.circumstances(self.started),
            state=manifest.state if manifest.state in ("finished", "failed") else "stopped",
            source=source.model_copy(update={"duration": round(manifest.duration, 3)}),
            target_language=self.language,
            engines=tuple(self._engines[kind] for kind in sorted(self._engines)),
            notices=tuple(
                model.ReportNotice(code=n.code, text=n.text, severity=n.severity, stage=n.stage, line=n.line)
                for n in manifest.notices
            ),
            loudness=StreamLoudness(target_lufs=self._last.want.mixing.target_lufs, after_lufs=manifest.loudness_lufs),
            speakers=tuple(
                model.SpeakerFacts(id=name, talk_s=round(self._talk_s[name], 3), voice=voice, reason="")
                for name, voice in self._speakers.items()
            ),
            lines=lines,
            timing=model.timing_scores(lines),
            outputs=tuple(self._outputs(manifest)),
        )
        project.write(self.path, json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
        self._rows.unlink(missing_ok=True)

    def _outputs(self, manifest: Manifest) -> Iterable[model.Output]:
        for name in filter(None, (manifest.film, "index.m3u8", "manifest.json")):
            if (file := self.folder / name).is_file():
                kind = "video" if name == manifest.film else "stream"
                yield model.Output(path=f"{self.folder.name}/{name}", kind=kind, bytes=file.stat().st_size)


def _later(row: ReportLine, by_s: float) -> ReportLine:
    """A row of a piece by the film's clock."""
    names = ("cue_start", "cue_end", "source_start", "source_end", "start")
    phrases = tuple(p.model_copy(update={"start": seconds(p.start + by_s)}) for p in row.phrases)
    moved = {name: max(0.0, seconds(getattr(row, name) + by_s)) for name in names}
    return row.model_copy(update={**moved, "phrases": phrases})


def _read(file: Path) -> Iterable[ReportLine]:
    with writing(file), file.open(encoding="utf-8") as rows:
        for row in rows:
            yield ReportLine.model_validate_json(row)
