"""U1 and U2: against the library's own reader, files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from suber.file_readers import SRTFileReader
from suber.metrics.suber import calculate_SubER

from eval_projects import SUBTITLES
from polydub.errors import BadInput
from polydub.evaluate import subtitles
from polydub.text.cue_rules import rule_report
from polydub.types import Cue, Span

OTHER = SUBTITLES.replace("todos,\namigos", "todos amigos").replace("Hasta pronto.", "Hasta muy pronto,\nNora.")


def test_rows_and_times_are_kept() -> None:
    cues = subtitles.read(SUBTITLES.encode(), ".srt")
    assert cues == (Cue(0.5, 1.9, "Hola a todos,\namigos."), Cue(2.6, 5.4, "Hasta pronto."))


@pytest.mark.parametrize(
    ("data", "suffix"),
    [(b"", ".srt"), (b"no subtitles at all", ".srt"), (b"\xff\xfe\xfa", ".srt"), (SUBTITLES.encode(), ".sub"),
     (SUBTITLES.replace("00:00:02,600 -->", "later -->").encode(), ".srt")],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused(data: bytes, suffix: str) -> None:
    with pytest.raises(BadInput) as refused:
        subtitles.read(data, suffix)
    assert refused.value.hint


def test_webvtt_and_ass_are_read_as_well() -> None:
    vtt = "WEBVTT\n\n00:01.000 --> 00:02.500\nHola\namigos\n"
    assert subtitles.read(vtt.encode(), ".vtt") == (Cue(1.0, 2.5, "Hola\namigos"),)
    ass = "[Script Info]\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    ass += "Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\i1}Hola\\Namigos\n"
    assert subtitles.read(ass.encode(), ".ass") == (Cue(1.0, 2.5, "Hola\namigos"),)


def test_each_rule_is_a_score_in_per_cent() -> None:
    cues = (Cue(0.0, 0.2, "too short"), Cue(3.0, 5.0, "just right"))
    scores = {s.id: s.value for s in subtitles.rule_scores(cues, 25.0)}
    assert scores == {f"U1.{rule}": 100 * share for rule, share in rule_report(cues, 25.0).items()}
    assert scores["U1.min_s"] == 50.0
    assert subtitles.rule_scores((), 25.0) == ()


def test_disorder_and_overlap_are_faults() -> None:
    cues = (Cue(0, 2, "a"), Cue(1.5, 3, "b"), Cue(1, 1.2, "c"))
    assert subtitles.faults(cues, ()) == (1, 1)


def test_speakers_who_talk_at_once_may_have_overlapping_cues() -> None:
    cues = (Cue(0, 2, "a"), Cue(1.5, 3, "b"))
    assert subtitles.faults(cues, [(Span(0, 2), "A"), (Span(1.5, 3), "B")]) == (0, 0)
    assert subtitles.faults(cues, [(Span(0, 2), "A"), (Span(1.5, 3), "A")]) == (0, 1)


@pytest.mark.parametrize(("ours", "theirs"), [(SUBTITLES, SUBTITLES), (SUBTITLES, OTHER), (OTHER, SUBTITLES)])
def test_the_edit_rate_is_the_librarys_own_of_the_files(ours: str, theirs: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("ours.srt", "theirs.srt")]
    for file, text in zip(files, (ours, theirs), strict=True):
        file.write_text(text, encoding="utf-8")
    wanted = calculate_SubER(*(SRTFileReader(str(file)).read() for file in files))
    score = subtitles.suber(*(subtitles.read(text.encode(), ".srt") for text in (ours, theirs)), "es")
    assert score is not None
    assert score.value == wanted
    assert (wanted == 0) == (ours == theirs)


def test_without_a_reference_there_is_no_edit_rate() -> None:
    assert subtitles.suber((Cue(0, 1, "a"),), (), "es") is None
