"""Transcripts in the shapes of OpenAI's API."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from polydub import languages
from polydub.server.hearing import Heard
from polydub.stages import subtitling
from polydub.stages.translate import ONE_SPEAKER
from polydub.types import Segment

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
TEXTS: Mapping[str, str] = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip",
    "vtt": "text/vtt; charset=utf-8",
}
GRANULARITIES = ("word", "segment")


def usage(duration: float) -> dict[str, Any]:
    """What is counted: begun seconds of sound."""
    return {"type": "duration", "seconds": math.ceil(duration)}


def as_text(heard: Heard, form: str) -> str:
    """text, srt or vtt; VTT without times of words, which OpenAI's has not."""
    if form == "text":
        return heard.text + "\n"
    cues = subtitling.cues_of(subtitling.said_in_source(heard.segments), 0.0, heard.language)
    return subtitling.write_cues([replace(cue, words=()) for cue in cues], form)


def as_json(heard: Heard) -> dict[str, Any]:
    """json: the text alone."""
    return {"text": heard.text, "usage": usage(heard.duration)}


def verbose(heard: Heard, task: str, granularities: Sequence[str], temperature: float) -> dict[str, Any]:
    """verbose_json: with segments unless only words are wanted, with words where they are wanted."""
    made: dict[str, Any] = {
        "task": task,
        "language": _name(heard.language),
        "duration": heard.duration,
        "text": heard.text,
    }
    if "segment" in granularities or not granularities:
        made["segments"] = [_segment(number, s, temperature) for number, s in enumerate(heard.segments)]
    if "word" in granularities:
        words = (word for segment in heard.segments for word in segment.words)
        made["words"] = [{"word": w.text, "start": w.start, "end": w.end} for w in words]
    return {**made, "usage": usage(heard.duration)}


def diarized(heard: Heard) -> dict[str, Any]:
    """diarized_json: who says what; speakers are A, B, ... in the order in which they are first heard."""
    names = speakers(heard.segments)
    segments = [diarized_segment(number, s, names) for number, s in enumerate(heard.segments)]
    whole = {"task": "transcribe", "duration": heard.duration, "text": heard.text, "segments": segments}
    return {**whole, "usage": usage(heard.duration)}


def diarized_segment(number: int, segment: Segment, names: Mapping[str, str]) -> dict[str, Any]:
    """One of them; the event of a stream is the same."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number}",
        "start": segment.start,
        "end": segment.end,
        "speaker": names[segment.speaker],
        "text": segment.text,
    }


def speakers(segments: Sequence[Segment]) -> dict[str, str]:
    """The letters of speakers, by the names that the engine gave."""
    found = dict.fromkeys(segment.speaker for segment in segments)
    return {name: _letter(number) for number, name in enumerate(found)}


def own_segment(segment: Segment, *, speaker: bool = True) -> dict[str, Any]:
    """A segment as polydub's own endpoints tell it."""
    from polydub.report.exports import word_row

    told = {"start": segment.start, "end": segment.end, "text": segment.text, "words": [word_row(w) for w in segment.words]}
    return {**told, "speaker": segment.speaker} if speaker and segment.speaker not in ("", ONE_SPEAKER) else told


def own(heard: Heard) -> dict[str, Any]:
    """The answer of polydub's own endpoints."""
    return {
        "language": heard.language,
        "duration": heard.duration,
        "text": heard.text,
        "segments": [own_segment(segment) for segment in heard.segments],
        "notices": [{"code": n.code, "text": n.text, "severity": n.severity} for n in heard.notices],
    }


def _letter(number: int) -> str:
    return chr(65 + number) if number < 26 else f"{_letter(number // 26 - 1)}{chr(65 + number % 26)}"


def _name(language: str) -> str:
    return languages.name(language).casefold() if language != "und" else "unknown"


def _segment(number: int, segment: Segment, temperature: float) -> dict[str, Any]:
    """What recognisers other than Whisper do not know is 0 or empty."""
    known = [word.confidence for word in segment.words if word.confidence]
    raw = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": round(sum(map(math.log, known)) / len(known), 4) if known else 0.0,
        "compression_ratio": round(len(raw) / len(zlib.compress(raw)), 4) if raw else 0.0,
        "no_speech_prob": 0.0,
    }
