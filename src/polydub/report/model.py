"""What `report.<lang>.json` holds, and the timing scores that follow from its lines alone.

Everything but `run`, and the `seconds`, `ran` and `remembered` of `stages`, is a result: two undisturbed runs of the same
dub agree in it. The published JSON schema is `docs/reference/report.schema.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

COMFORTABLE_RATE = 1.15  # above it a listener notices the haste
DRIFT_S = 0.3  # the difference in length that Amazon's dubbing scores allow


def _readable(text: str) -> str:
    # File names that are not UTF-8 arrive as lone surrogates, which no JSON or HTML file can hold.
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


Text = Annotated[str, AfterValidator(_readable)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Block(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


class Run(_Block):
    """The circumstances of this run; the only block that may differ between two equal dubs, with the counts of `stages`."""

    started: AwareDatetime = Field(description="when the run began, ISO 8601 with zone")
    finished: AwareDatetime = Field(description="when the report was written, ISO 8601 with zone")
    host: Text = Field(description="name of the machine")
    cpus: int = Field(ge=1, description="processor cores the run could use")
    polydub_version: str = Field(description="version of polydub")


class SourceFacts(_Block):
    """The film that was dubbed."""

    name: Text = Field(description="file name, without folders")
    duration: Seconds = Field(description="length of the film, seconds")
    width: int = Field(ge=0, description="picture width, pixels; 0 without a picture")
    height: int = Field(ge=0, description="picture height, pixels; 0 without a picture")
    fps: float = Field(ge=0, description="frames per second; 0 without a picture")
    codec: str = Field(description='codec of the picture, such as "h264"; "" without a picture')
    audio_track: int = Field(ge=0, description="which audio track was dubbed; 0 is the first")
    language: str = Field(description='language spoken in the film, BCP-47; "und" when nobody told')


class EngineChoice(_Block):
    """An engine that was used, and why."""

    kind: str = Field(description="vad, asr, align, diarization, embedding, separation, mt, tts or lipsync")
    name: str = Field(description="registered name of the engine")
    version: str = Field(description="version of the engine's package or program")
    reason: Text = Field(description="why this one was taken, one sentence")
    options: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue], description="options in force; never a secret")


class StageCount(_Block):
    """How much work one stage did in this run."""

    name: str = Field(description="name of the stage")
    seconds: Seconds = Field(description="wall time spent in the stage, seconds; describes this run")
    ran: int = Field(ge=0, description="calls that were made; describes this run")
    remembered: int = Field(ge=0, description="calls that were answered from the memo; describes this run")


class ReportNotice(_Block):
    """Something a person should look at."""

    code: str = Field(description="stable code, kebab-case")
    text: Text = Field(description="what happened, one sentence")
    severity: Literal["info", "warning"] = Field(description="info: good to know; warning: look at it")
    stage: str = Field(default="", description='the stage that gave it; "" when none')
    line: str | None = Field(default=None, description="id of the line it is about; null when it is about the whole dub")


class UsageFacts(_Block):
    """What services were asked for in the translation, in this run and in those whose answers are remembered."""

    calls: int = Field(default=0, ge=0, description="answered requests")
    prompt_tokens: int = Field(default=0, ge=0, description="tokens sent, as the service counts them")
    answer_tokens: int = Field(default=0, ge=0, description="tokens answered, as the service counts them")
    cost: float = Field(default=0.0, ge=0, description="price of them, US dollars; 0 where no price is set")


class LoudnessFacts(_Block):
    """Loudness and true peak of the programme, measured on the delivered file after decoding; -120 stands for silence."""

    target_lufs: float = Field(description="wanted integrated loudness, LUFS")
    before_lufs: float = Field(description="integrated loudness of the source's audio track, LUFS")
    after_lufs: float = Field(description="integrated loudness of the dub, LUFS")
    before_true_peak_dbtp: float = Field(description="true peak of the source's audio track, dBTP")
    after_true_peak_dbtp: float = Field(description="true peak of the dub, dBTP")
    true_peak_limit_dbtp: float = Field(description="true peak that must not be passed, dBTP")
    range_lu: float = Field(ge=0, description="loudness range of the dub by EBU Tech 3342, LU")
    dialogue_gated_lufs: float | None = Field(default=None, description="loudness of the dub while somebody speaks, LUFS")
    goal: Literal["programme", "dialogue"] = Field(default="programme", description="what of the dub is to be at the target")
    dialogue_lufs: float | None = Field(description="loudness of the source's dialogue, LUFS; null when it has none")
    gain_db: float = Field(description="gain of the whole mix on the way to the target, dB")


class SceneFacts(_Block):
    """Loudness of the source's dialogue between two long pauses; the dub follows it."""

    start: Seconds = Field(description="begin of the scene, seconds")
    end: Seconds = Field(description="end of the scene, seconds")
    lufs: float = Field(description="loudness of the dialogue, LUFS")


class PictureFacts(_Block):
    """What was done to the picture; it is copied unless subtitles were drawn into it."""

    added_s: Seconds = Field(default=0.0, description="by how much slowing it down made the film longer, seconds")
    slowest: float = Field(default=1.0, ge=1, description="largest factor by which it was slowed down")
    burnt_in: bool = Field(default=False, description="subtitles were drawn into it, so it was encoded anew")


class SoundFacts(_Block):
    """What listening to the source told."""

    separated: bool = Field(default=False, description="the dialogue was taken out of the source's sound")
    ducked_s: Seconds = Field(default=0.0, description="seconds under the dub where that failed and the source is only lowered")
    kept_nonspeech_s: Seconds = Field(
        default=0.0, description="seconds of the original's laughs, sobs and songs that stay in the dub"
    )
    room_tone_dbfs: float | None = Field(
        default=None, description="level of the quiet between lines, dBFS; null when not known"
    )
    scenes: tuple[SceneFacts, ...] = Field(default=(), description="scenes in order of time")


class SpeakerFacts(_Block):
    """Somebody who speaks in the film."""

    id: Text = Field(description="id of the speaker")
    talk_s: Seconds = Field(description="how long they speak in the source, seconds")
    voice: Text = Field(description="voice in the dub")
    reason: Text = Field(description="how that voice was found")
    pace_error: float | None = Field(
        default=None, ge=0, description="mean relative error of the lengths that were predicted of this voice; null if unused"
    )


class PhraseFacts(_Block):
    """A part of a line that is spoken as a take of its own, since the source pauses before and after it."""

    start: Seconds = Field(description="audible onset, seconds")
    duration: Seconds = Field(description="length as placed, seconds")
    rate: float = Field(ge=0, description="natural length / length as placed")
    text: Text = Field(description="what is said in it")


class ReportLine(_Block):
    """One dubbed line; times are seconds on the film's clock, rounded to 1 ms."""

    id: Text = Field(description="id of the line")
    speaker: Text = Field(description="id of who speaks")
    source_text: Text = Field(description="what is said in the source")
    text: Text = Field(description="what is said in the dub")
    cue_start: Seconds = Field(description="when the line begins by its text, seconds")
    cue_end: Seconds = Field(description="when the line ends by its text, seconds")
    source_start: Seconds = Field(description="when the source begins to be heard; cue_start where nobody listened, seconds")
    source_end: Seconds = Field(description="when the source stops being heard; cue_end where nobody listened, seconds")
    start: Seconds = Field(description="audible onset of the dub, seconds")
    duration: Seconds = Field(description="length of the dub as placed, seconds")
    natural_duration: Seconds = Field(description="length of the trimmed take at the engine's default rate, seconds")
    rate: float = Field(ge=0, description="natural_duration / duration; above 1 is faster than the voice's own pace")
    shift: float = Field(description="start - source_start, seconds; above 0 is late")
    overflow: Seconds = Field(description="talk-over that could not be avoided, seconds")
    voice: Text = Field(description="name of the voice")
    wording: Literal["normal", "short", "long", "shortened"] = Field(
        default="normal", description="which of its wordings is spoken; shortened: the normal one without some words"
    )
    normal_text: Text = Field(default="", description='the normal wording where another one is spoken; "" otherwise')
    removed: tuple[Text, ...] = Field(default=(), description="words that were left out of the normal wording")
    phrases: tuple[PhraseFacts, ...] = Field(default=(), description="parts between pauses; empty when it is one")


class Timing(_Block):
    """How well the dub keeps the source's time; every score is null where there is nothing to score."""

    lines: int = Field(ge=0, description="lines that are audible in the dub")
    duration_mae_s: Seconds | None = Field(description="D1: mean of |dub - source| lengths, seconds")
    duration_ratio: float | None = Field(description="D1: mean of dub length / source length; 1 is best")
    overlap_m1: float | None = Field(description="D2: 1 - mean of |dub - source| / source; 1 is best, may fall below 0")
    overlap_m2: Share | None = Field(description="D2: mean of shorter / longer of the two lengths; 1 is best")
    overlap_m3_s: Seconds | None = Field(description="D2: mean of |dub - source|, seconds, one line as one speech chunk")
    drift_share: Share | None = Field(description="D2: share of lines whose length differs by more than 0.3 s")
    isochrony_iou: Share | None = Field(description="D3: time both speak / time either speaks, over line spans; 1 is best")
    leak: Share | None = Field(description="D3: share of the dub's speech that falls where the source is silent")
    slc_20: Share | None = Field(description="D4: share of lines whose length is within 20 % of the source's")
    slc_40: Share | None = Field(description="D4: share of lines whose length is within 40 % of the source's")
    faster_than_125: Share | None = Field(description="D5: share of lines spoken faster than 1.25 times the voice's own pace")
    faster_than_115: Share | None = Field(description="D5: share of lines spoken faster than 1.15 times the voice's own pace")
    max_rate: float | None = Field(description="D5: highest rate")
    min_rate: float | None = Field(description="D5: lowest rate")
    smoothness: float | None = Field(description="D6: 1 - mean relative change of rate between lines of one speaker; 1 is best")
    shift_p50_s: Seconds | None = Field(description="median of |shift|, seconds")
    shift_p95_s: Seconds | None = Field(description="95th percentile of |shift|, seconds")
    shift_max_s: Seconds | None = Field(description="greatest |shift|, seconds")
    talk_over_s: Seconds = Field(description="sum of overflow, seconds")
    lines_over_comfortable: int = Field(ge=0, description="lines spoken faster than 1.15 times the voice's own pace")


class Output(_Block):
    """A file that the dub left for its user."""

    path: Text = Field(description="path inside the project folder, with forward slashes")
    kind: str = Field(description="video, audio, subtitles, stem, script, transcript or report")
    bytes: int = Field(ge=0, description="length of the file")


class Report(_Block):
    """Everything about one dub into one language.

    Two undisturbed runs of the same dub differ only in `run` and in the `seconds`, `ran` and `remembered` of `stages`.
    """

    schema_version: Literal[1] = Field(default=1, description="version of this format")
    run: Run
    source: SourceFacts
    target_language: str = Field(description="language of the dub, BCP-47")
    engines: tuple[EngineChoice, ...] = Field(description="engines that were used")
    stages: tuple[StageCount, ...] = Field(description="stages in order; all but the names describes this run")
    notices: tuple[ReportNotice, ...] = Field(description="what a person should look at, in order of stages")
    usage: UsageFacts = UsageFacts()
    loudness: LoudnessFacts
    sound: SoundFacts = SoundFacts()
    picture: PictureFacts = PictureFacts()
    speakers: tuple[SpeakerFacts, ...] = Field(default=(), description="who speaks, in order of first appearance")
    lines: tuple[ReportLine, ...] = Field(description="lines in order of time")
    timing: Timing
    outputs: tuple[Output, ...] = Field(description="files the dub consists of")


def dump(report: Report) -> str:
    """The report as the text of a JSON file: one value per line, keys in the order of the schema, a newline at the end."""
    return json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def outcome(report: Report) -> dict[str, Any]:
    """The report without what describes one run: equal for two undisturbed runs of the same dub."""
    return report.model_dump(mode="json", exclude={"run": True, "stages": {"__all__": {"seconds", "ran", "remembered"}}})


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `report.<lang>.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Report.model_json_schema(mode="serialization")


def timing_scores(lines: Sequence[ReportLine]) -> Timing:
    """Scores D1 to D6 and the shifts of `lines`, in any order.

    Lines without sound (duration 0) count for nothing; those whose source span is empty count only where no length of the
    source is asked. Without lines every score is None, and sums are 0.
    """
    heard = [line for line in lines if line.duration > 0]
    rates = [line.rate for line in heard]
    shifts = sorted(abs(line.shift) for line in heard)
    iou, leak = isochrony(heard)
    return Timing(
        lines=len(heard),
        **_lengths(heard),
        isochrony_iou=iou,
        leak=leak,
        faster_than_125=_share(rates, lambda r: r > 1.25),
        faster_than_115=_share(rates, lambda r: r > COMFORTABLE_RATE),
        max_rate=max(rates, default=None),
        min_rate=min(rates, default=None),
        smoothness=smoothness(heard),
        shift_p50_s=percentile(shifts, 0.5),
        shift_p95_s=percentile(shifts, 0.95),
        shift_max_s=shifts[-1] if shifts else None,
        talk_over_s=round(sum(line.overflow for line in heard), 3),
        lines_over_comfortable=sum(rate > COMFORTABLE_RATE for rate in rates),
    )


def _lengths(lines: Sequence[ReportLine]) -> dict[str, Any]:
    """D1, D2 and D4: how the lengths of dub and source compare, one line as one chunk of speech."""
    pairs = [(line.duration, line.source_end - line.source_start) for line in lines if line.source_end > line.source_start]
    off = [round(abs(dub - source), 3) for dub, source in pairs]
    ratios = [dub / source for dub, source in pairs]
    relative = _mean([abs(ratio - 1) for ratio in ratios])
    return {
        "duration_mae_s": _mean(off),
        "duration_ratio": _mean(ratios),
        "overlap_m1": None if relative is None else round(1 - relative, 4),
        "overlap_m2": _mean([min(ratio, 1 / ratio) for ratio in ratios]),
        "overlap_m3_s": _mean(off),
        "drift_share": _share(off, lambda d: d > DRIFT_S),
        "slc_20": _share(ratios, lambda r: 0.8 <= r <= 1.2),
        "slc_40": _share(ratios, lambda r: 0.6 <= r <= 1.4),
    }


def isochrony(lines: Sequence[ReportLine]) -> tuple[float | None, float | None]:
    """D3: (time when both speak / time when either speaks, share of the dub's speech where the source is silent).

    Taken over the line spans of all speakers together; None where the divisor is empty.
    """
    source = _union((line.source_start, line.source_end) for line in lines)
    dub = _union((line.start, line.start + line.duration) for line in lines)
    either = _total(_union([*source, *dub]))
    spoken = _total(dub)
    both = _total(source) + spoken - either
    iou = round(min(1.0, max(0.0, both / either)), 4) if either else None
    return iou, round(min(1.0, max(0.0, 1 - both / spoken)), 4) if spoken else None


def smoothness(lines: Sequence[ReportLine]) -> float | None:
    """D6: 1 - mean |r_i - r_(i-1)| / max(r_i, r_(i-1)) over consecutive lines of each speaker, whoever speaks between."""
    lanes: dict[str, list[float]] = {}
    for line in sorted(lines, key=lambda line: line.start):
        lanes.setdefault(line.speaker, []).append(line.rate)
    changes = [abs(b - a) / max(a, b) for lane in lanes.values() for a, b in pairwise(lane) if max(a, b) > 0]
    mean = _mean(changes)
    return None if mean is None else round(1 - mean, 4)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which `share` (0 to 1) of the ascending `ordered` lies, linear between neighbours; None when empty."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (place - low) * (ordered[high] - ordered[low]), 4)


def _union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same time as disjoint spans in order."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _total(spans: Iterable[tuple[float, float]]) -> float:
    return sum(end - start for start, end in spans)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _share(values: Sequence[float], chosen: Callable[[float], bool]) -> float | None:
    return round(sum(map(chosen, values)) / len(values), 4) if values else None
