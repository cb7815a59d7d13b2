"""The report's data: one strict form, one text, scores that follow from the lines."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polydub.report import model

ROOT = Path(__file__).resolve().parents[2]
LINE_KEYS = ["id", "speaker", "source_text", "text", "cue_start", "cue_end", "source_start", "source_end", "start", "duration"]
LINE_KEYS += ["natural_duration", "rate", "shift", "overflow", "voice", "wording", "normal_text", "removed", "phrases"]


def a_line(source: tuple[float, float], dub: tuple[float, float], *, rate: float = 1.0, **more: object) -> model.ReportLine:
    fields = {
        "id": "1",
        "speaker": "A",
        "source_text": "yes",
        "text": "sí",
        "cue_start": source[0],
        "cue_end": source[1],
        "source_start": source[0],
        "source_end": source[1],
        "start": dub[0],
        "duration": dub[1] - dub[0],
        "natural_duration": (dub[1] - dub[0]) * rate,
        "rate": rate,
        "shift": dub[0] - source[0],
        "overflow": 0.0,
        "voice": "es",
    }
    return model.ReportLine.model_validate(fields | more)


def a_report(*lines: model.ReportLine, host: str = "box", seconds: float = 1.5, ran: int = 1) -> model.Report:
    now = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
    return model.Report(
        run=model.Run(started=now, finished=now, host=host, cpus=2, polydub_version="0.1.0"),
        source=model.SourceFacts(
            name="a.mp4", duration=9, width=64, height=48, fps=25, codec="h264", audio_track=0, language="en"
        ),
        target_language="es",
        engines=(model.EngineChoice(kind="tts", name="fake", version="1", reason="asked for", options={"pitch": 50}),),
        stages=(model.StageCount(name="fit", seconds=seconds, ran=ran, remembered=0),),
        notices=(model.ReportNotice(code="no-bed", text="ducked", severity="info"),),
        loudness=model.LoudnessFacts(
            target_lufs=-16,
            before_lufs=-23,
            after_lufs=-16,
            before_true_peak_dbtp=-3,
            after_true_peak_dbtp=-1.2,
            true_peak_limit_dbtp=-1,
            range_lu=5,
            dialogue_lufs=None,
            gain_db=7,
        ),
        lines=lines,
        timing=model.timing_scores(lines),
        outputs=(model.Output(path="dub.es.mkv", kind="video", bytes=10),),
    )


def test_a_line_has_exactly_the_published_keys_in_order():
    assert list(json.loads(model.dump(a_report(a_line((0, 1), (0, 1)))))["lines"][0]) == LINE_KEYS


def test_the_text_can_be_read_back_and_is_the_same_every_time():
    report = a_report(a_line((0, 1), (0.1, 1.2)))
    text = model.dump(report)
    assert model.Report.model_validate_json(text) == report
    assert model.dump(model.Report.model_validate_json(text)) == text
    assert "sí" in text and text.endswith("}\n")


def test_two_runs_differ_only_in_run_and_in_the_counts_of_stages():
    line = a_line((0, 1), (0, 1))
    first, second = a_report(line), a_report(line, host="other", seconds=0.01, ran=0)
    assert first != second
    assert model.outcome(first) == model.outcome(second)
    assert model.outcome(first) != model.outcome(a_report())


def test_an_unknown_key_a_missing_key_and_an_infinite_number_are_refused():
    good = a_line((0, 1), (0, 1)).model_dump()
    for bad in (good | {"extra": 1}, {k: v for k, v in good.items() if k != "rate"}, good | {"shift": math.inf}):
        with pytest.raises(ValidationError):
            model.ReportLine.model_validate(bad)


def test_a_file_name_that_is_not_unicode_becomes_readable_text():
    facts = a_report().source.model_dump() | {"name": "caf\udce9\ud800.mp4"}
    assert model.SourceFacts.model_validate(facts).name == "caf��.mp4"


def test_the_published_schema_is_the_models():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "report_schema.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_field_of_the_schema_is_described_and_nothing_more_is_allowed():
    schema = model.schema()
    for name, block in {**schema["$defs"], "Report": schema}.items():
        if name == "JsonValue":
            continue
        assert block["additionalProperties"] is False, name
        assert sorted(block["required"]) == sorted(block["properties"]), name
        for field, facts in block["properties"].items():
            assert "description" in facts or "$ref" in facts, (name, field)


def test_a_dub_that_equals_its_source_has_perfect_scores():
    timing = model.timing_scores([a_line((0, 2), (0, 2)), a_line((3, 4), (3, 4))])
    assert (timing.duration_mae_s, timing.duration_ratio, timing.overlap_m1, timing.overlap_m2) == (0, 1, 1, 1)
    assert (timing.isochrony_iou, timing.leak, timing.slc_20, timing.slc_40, timing.drift_share) == (1, 0, 1, 1, 0)
    assert (timing.smoothness, timing.max_rate, timing.shift_max_s, timing.talk_over_s) == (1, 1, 0, 0)


def test_lengths_are_scored_line_by_line():
    timing = model.timing_scores([a_line((0, 2), (0, 3)), a_line((5, 7), (5, 6.5)), a_line((9, 11), (9, 11.3))])
    assert timing.duration_mae_s == timing.overlap_m3_s == pytest.approx(0.6)
    assert timing.duration_ratio == pytest.approx((1.5 + 0.75 + 1.15) / 3, abs=1e-4)
    assert timing.overlap_m1 == pytest.approx(1 - (0.5 + 0.25 + 0.15) / 3, abs=1e-4)
    assert timing.overlap_m2 == pytest.approx((1 / 1.5 + 0.75 + 1 / 1.15) / 3, abs=1e-4)
    assert timing.drift_share == pytest.approx(2 / 3, abs=1e-4)  # 0.3 s exactly is still allowed
    assert (timing.slc_20, timing.slc_40) == (pytest.approx(1 / 3, abs=1e-4), pytest.approx(2 / 3, abs=1e-4))


def test_isochrony_counts_time_once_however_many_speak():
    lines = [a_line((0, 2), (1, 3)), a_line((0, 2), (1, 3), speaker="B")]
    assert model.isochrony(lines) == (pytest.approx(1 / 3, abs=1e-4), 0.5)


def test_smoothness_compares_the_neighbours_of_one_speaker_only():
    lines = [
        a_line((0, 1), (0, 1), rate=1.0, speaker="A"),
        a_line((1, 2), (1, 2), rate=1.3, speaker="B"),
        a_line((2, 3), (2, 3), rate=1.25, speaker="A"),
    ]
    assert model.smoothness(lines) == 0.8
    assert model.smoothness(lines[:2]) is None


def test_haste_shift_and_talk_over_are_summed_up():
    lines = [a_line((n, n + 1), (n + n / 100, n + 1), rate=1 + n / 50, overflow=0.01) for n in range(21)]
    timing = model.timing_scores(lines)
    assert (timing.lines_over_comfortable, timing.faster_than_115) == (13, pytest.approx(13 / 21, abs=1e-4))
    assert timing.faster_than_125 == pytest.approx(8 / 21, abs=1e-4)
    assert (timing.shift_p50_s, timing.shift_p95_s, timing.shift_max_s) == pytest.approx((0.1, 0.19, 0.2))
    assert (timing.max_rate, timing.min_rate, timing.talk_over_s) == (1.4, 1.0, 0.21)


def test_without_sound_there_is_nothing_to_score():
    for lines in ([], [a_line((0, 1), (0, 0), overflow=0.0)]):
        timing = model.timing_scores(lines).model_dump()
        assert (timing.pop("lines"), timing.pop("talk_over_s"), timing.pop("lines_over_comfortable")) == (0, 0, 0)
        assert set(timing.values()) == {None}


def test_a_line_without_source_span_counts_for_pace_but_not_for_length():
    timing = model.timing_scores([a_line((1, 1), (1, 2), rate=1.2)])
    assert (timing.max_rate, timing.leak, timing.isochrony_iou, timing.duration_ratio) == (1.2, 1, 0, None)


spans = st.tuples(st.integers(0, 50_000), st.integers(0, 9_000)).map(lambda s: (s[0] / 1000, (s[0] + s[1]) / 1000))


@given(st.lists(st.tuples(spans, spans, st.floats(0.85, 1.3), st.sampled_from("AB"))), st.randoms())
def test_scores_stay_in_range_and_do_not_depend_on_order(drawn, dice):
    lines = [a_line(source, dub, rate=rate, speaker=who) for source, dub, rate, who in drawn]
    scores = model.timing_scores(lines)  # the model itself refuses a share outside 0 to 1
    shuffled = list(lines)
    dice.shuffle(shuffled)
    again = model.timing_scores(shuffled)
    for name, value in scores.model_dump(exclude={"smoothness"}).items():
        assert getattr(again, name) == (None if value is None else pytest.approx(value, abs=2e-4)), name
