"""Hand-over formats: transcript, EDL and OTIO of the placed lines, RTTM of the speakers. Pure text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from polydub.types import Placement, Script, Word


def transcript(script: Script) -> str:
    """What is said, with words and speakers, as JSON."""
    segments = [
        {"id": s.id, "start": s.start, "end": s.end, "speaker": s.speaker, "kind": s.kind, "text": s.text,
         "words": [word_row(w) for w in s.words]}
        for s in script.segments
    ]  # fmt: skip
    speakers = [{"id": s.id, "label": s.label} for s in script.speakers]
    document = {"language": script.language, "speakers": speakers, "segments": segments}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def word_row(word: Word) -> dict[str, Any]:
    """A word as the JSON of a transcript has it."""
    row = {"start": word.start, "end": word.end, "text": word.text, "confidence": word.confidence}
    return row | {"estimated": True} if word.estimated else row


def edl(title: str, placed: Sequence[Placement], fps: float, stem: str = "dub.flac") -> str:
    """CMX 3600: one audio event for each placed phrase, cut out of the full-length `stem` (a path) where it is heard.

    Times are in whole frames at `fps` (25 when 0), at least one frame long. Timecode is non-drop: it counts 30 frames to its
    second at 29.97 and 24 at 23.976, so that an hour of film ends at 00:59:56:12 or 00:59:56:10. Phrases that talk over
    others go to channels A2, A3, ...; CMX knows four. From event 1000 on numbers have four digits, which old systems refuse.
    """
    rate = fps or 25.0
    clip = _line(stem.rpartition("/")[2])
    rows = [f"TITLE: {_line(title)[:70]}", "FCM: NON-DROP FRAME", ""]
    lanes: list[int] = []  # the frame at which each channel is free again
    for number, p in enumerate(sorted(placed, key=lambda p: p.start), 1):
        first = round(p.start * rate)
        last = max(first + 1, round((p.start + p.duration) * rate))
        lane = next((n for n, free in enumerate(lanes) if free <= first), len(lanes))
        lanes[lane : lane + 1] = [last]
        channel = f"A{lane + 1}" if lane else "A"
        times = f"{_timecode(first, rate)} {_timecode(last, rate)}"
        rows.append(f"{number:03d}  AX       {channel:<5} C        {times} {times}")
        rows += [f"* FROM CLIP NAME: {clip}", f"* COMMENT: {_line(p.speaker)} {p.id}"]
    return "\n".join(rows) + "\n"


def otio(title: str, placed: Sequence[Placement], stem: str, language: str = "und") -> str:
    """OpenTimelineIO JSON: one audio track for each speaker, a clip for each phrase, at 1,000 units a second.

    All clips are cut out of `stem` (a path from where the file lies), the full-length dub in `language`.
    """
    end = max((p.start + p.duration for p in placed), default=0.0)
    tracks: list[dict[str, Any]] = []
    for speaker, phrases in groupby(sorted(placed, key=lambda p: (p.speaker, p.start)), key=lambda p: p.speaker):
        at, children = 0.0, list[dict[str, Any]]()
        for p in phrases:
            begin = max(p.start, at)  # a track cannot hold two things at once; an overflow is told in the report
            length = p.start + p.duration - begin
            if round(length * 1000) <= 0:
                continue
            if begin > at:
                children.append({"OTIO_SCHEMA": "Gap.1", "source_range": _range(0, begin - at)})
            media = {"OTIO_SCHEMA": "ExternalReference.1", "target_url": stem, "available_range": _range(0, end)}
            facts = {"polydub": {"line": p.line, "phrase": p.id, "rate": p.rate, "shift": p.shift, "language": language}}
            children.append({"OTIO_SCHEMA": "Clip.1", "name": p.id, "source_range": _range(begin, length),
                             "media_reference": media, "metadata": facts})  # fmt: skip
            at = begin + length
        tracks.append({"OTIO_SCHEMA": "Track.1", "kind": "Audio", "name": speaker, "children": children})
    stack = {"OTIO_SCHEMA": "Stack.1", "name": "tracks", "children": tracks}
    document = {"OTIO_SCHEMA": "Timeline.1", "name": title, "metadata": {"polydub": {"language": language}}, "tracks": stack}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _range(start: float, length: float) -> dict[str, Any]:
    def time(value: float) -> dict[str, Any]:
        return {"OTIO_SCHEMA": "RationalTime.1", "value": round(value * 1000), "rate": 1000}

    return {"OTIO_SCHEMA": "TimeRange.1", "start_time": time(start), "duration": time(length)}


def _timecode(frame: int, fps: float) -> str:
    base = max(1, round(fps))
    return f"{frame // base // 3600:02d}:{frame // base // 60 % 60:02d}:{frame // base % 60:02d}:{frame % base:02d}"


def _line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", " ", text)
