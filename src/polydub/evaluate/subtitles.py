"""Metrics of subtitles: U1 (rules of timed text), U2 (SubER against a reference)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from polydub.errors import BadInput
from polydub.evaluate.card import Score
from polydub.text.cue_rules import rule_report
from polydub.text.formats import READERS
from polydub.types import Cue, Span

if TYPE_CHECKING:
    from suber.data_types import Subtitle  # pyright: ignore[reportMissingTypeStubs]

_NAMES: Mapping[str, str] = {
    "chars_per_line": "cues with lines of at most 42 characters",
    "lines": "cues of at most two lines",
    "cps_17": "cues of at most 17 characters a second",
    "cps_20": "cues of at most 20 characters a second",
    "min_s": "cues of at least 5/6 s",
    "max_s": "cues of at most 7 s",
    "gap": "pauses between cues of two frames or more",
    "small_gaps_closed": "pauses between cues without flicker",
    "ordered": "cues in order of time",
    "non_overlapping": "cues that end before the next",
}
_NETFLIX = "Netflix, Timed Text Style Guide: General Requirements"
_SUBER = "Wilken and others 2022, SubER; subtitle-edit-rate"
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def read(data: bytes, suffix: str) -> tuple[Cue, ...]:
    """The cues of an SRT, WebVTT or ASS file in UTF-8, in its order, rows parted by line breaks.

    Raises: BadInput where it is not UTF-8, holds no cue, or a time cannot be read; ImportError without pysubs2.
    """
    import pysubs2

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput("the subtitles are not UTF-8", "convert them to UTF-8 first") from error
    form = suffix.lower().lstrip(".")
    if form not in READERS or form in ("json", "txt"):
        raise BadInput(f"subtitles with the ending {suffix!r} cannot be judged", "give an SRT, WebVTT or ASS file")
    reading = READERS[form](text.replace("\r\n", "\n").replace("\r", "\n"))
    if not reading.cues or any(notice.code == "bad-cue-time" for notice in reading.notices):
        raise BadInput("the subtitles hold no cue, or one whose times cannot be read", "check the file")
    events = pysubs2.SSAFile.from_string(text, format_=form).events
    return tuple(Cue(e.start / 1000, e.end / 1000, e.plaintext) for e in events if not e.is_comment)


def rule_scores(cues: Sequence[Cue], fps: float) -> tuple[Score, ...]:
    """U1: for each rule the per cent of cues that keep to it (`text.cue_rules`). Without cues: ()."""
    if not cues:
        return ()
    return tuple(
        Score(id=f"U1.{rule}", name=_NAMES.get(rule, rule.replace("_", " ")), value=round(100 * share, 2), unit="%",
              n=len(cues), higher_is_better=True, source=_NETFLIX)
        for rule, share in rule_report(cues, fps).items()
    )  # fmt: skip


def faults(cues: Sequence[Cue], talk: Sequence[tuple[Span, str]]) -> tuple[int, int]:
    """Cues that begin before the one before them, and pairs that overlap, as they stand in the file.

    Where two speakers of the source talk at once (`talk`: spans with their speaker) their cues may overlap too.
    """
    order = overlaps = 0
    for a, b in pairwise(cues):
        order += b.start < a.start
        overlaps += b.start < a.end - 1e-3 and a.start < b.end and not _both_talk(Span(b.start, min(a.end, b.end)), talk)
    return order, overlaps


def _both_talk(shared: Span, talk: Sequence[tuple[Span, str]]) -> bool:
    """Whether two speakers' lines meet near `shared`; reading time may have moved the cues by half a second."""
    near = [(s, who) for s, who in talk if s.start < shared.end + 0.5 and s.end > shared.start - 0.5]
    return any(a.overlap(b) > 0 and one != other for n, (a, one) in enumerate(near) for b, other in near[n + 1 :])


def suber(cues: Sequence[Cue], reference: Sequence[Cue], language: str) -> Score | None:
    """U2: edits of words and breaks, with shifts, bound to times, per word and break of the reference, in per cent.

    Below 20 is very good, above 40 to 50 bad. None without cues in the reference. Raises: ImportError without the library.
    """
    from suber.metrics.suber import calculate_SubER  # pyright: ignore[reportMissingTypeStubs]

    if not reference:
        return None
    family = language.partition("-")[0]
    value = float(calculate_SubER(_subtitles(cues), _subtitles(reference), language=family))
    return Score(id="U2.suber", name="subtitle edit rate", value=value, unit="%", n=len(reference), higher_is_better=False,
                 source=_SUBER)  # fmt: skip


def _subtitles(cues: Sequence[Cue]) -> list[Subtitle]:
    """Cues as the library wants them: by start, words with the break that follows them."""
    from suber.data_types import LineBreak, Subtitle, TimedWord, Word  # pyright: ignore[reportMissingTypeStubs]
    from suber.utilities import set_approximate_word_times  # pyright: ignore[reportMissingTypeStubs]

    made: list[Subtitle] = []
    for n, cue in enumerate(sorted(cues, key=lambda c: c.start), 1):
        words: list[TimedWord] = []
        for row in _TAG.sub("", cue.text).split("\n"):
            words += [TimedWord(w, subtitle_start_time=cue.start, subtitle_end_time=cue.end) for w in row.split()]
            if words:
                words[-1].line_break = LineBreak.END_OF_LINE
        if words:
            words[-1].line_break = LineBreak.END_OF_BLOCK
            set_approximate_word_times(words, cue.start, cue.end)
        made.append(Subtitle(word_list=cast("list[Word]", words), index=n, start_time=cue.start, end_time=cue.end))
    return made
