"""The pictures of the report as SVG text: timeline, loudness curve, histogram of rates.

Horizontal places are percentages and vertical ones pixels, so that a picture takes any width without distorting its text.
Colours are classes of `page.css`; a picture that stands alone carries the sheet inside.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from polydub.report.model import Report, ReportLine

AXIS = 20  # heights in pixels
LANE = 80
WAVE = 60
GUTTER = 104  # width of the column with the speakers' names
FLOOR_LUFS, CEILING_LUFS = -54.0, -6.0
CURVE_POINTS = 900  # more are averaged

BANDS = (  # upper end of the rates in a band, its class, its meaning
    (0.95, "slow", "below 0.95"),
    (1.05, "calm", "natural"),
    (1.10, "brisk", "to 1.10"),
    (1.15, "quick", "to 1.15"),
    (1.20, "fast", "to 1.20"),
    (1.25, "hasty", "to 1.25"),
    (math.inf, "rush", "above 1.25"),
)


@dataclass(frozen=True, slots=True)
class Waves:
    """The sound of source and dub, measured for drawing; any of the tuples may be empty.

    Attributes:
        source_peaks, dub_peaks: greatest absolute sample of each column, 0 to 1, from the start of the film.
        loudness_before, loudness_after: short-term loudness of each second, LUFS; -120 is silence.
        columns_per_s: columns of the peaks in one second.
    """

    source_peaks: tuple[float, ...] = ()
    dub_peaks: tuple[float, ...] = ()
    loudness_before: tuple[float, ...] = ()
    loudness_after: tuple[float, ...] = ()
    columns_per_s: float = 4.0


class Row(NamedTuple):
    """One stretch of the timeline: seconds from `start` to `end`, the speakers in it from above, and its lines."""

    start: float
    end: float
    speakers: tuple[str, ...]
    lines: tuple[tuple[int, ReportLine], ...]

    @property
    def height(self) -> int:
        """Pixels."""
        return AXIS + LANE * len(self.speakers) + WAVE


def band(rate: float) -> str:
    """Name of the colour of a speaking rate: slow, calm, brisk, quick, fast, hasty or rush."""
    return next(name for top, name, _ in BANDS if rate <= top)


def text(value: str) -> str:
    """`value` escaped for HTML, XML and quoted attributes; characters that XML forbids become U+FFFD."""
    return escape(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "\ufffd", value))


def clock(seconds: float) -> str:
    """1:05, or 1:01:05 from an hour on."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def rows(report: Report) -> tuple[Row, ...]:
    """The timeline cut into stretches of 30 s, 60 s in films over 2 minutes, 90 s over half an hour, 120 s over 2 hours."""
    length = max([report.source.duration, *(max(line.source_end, line.start + line.duration) for line in report.lines)])
    span = 30 if length <= 120 else 60 if length <= 1800 else 90 if length <= 7200 else 120
    count = max(1, math.ceil(round(length, 3) / span))
    filled: list[list[tuple[int, ReportLine]]] = [[] for _ in range(count)]
    order = tuple(dict.fromkeys(line.speaker for line in report.lines))
    for number, line in enumerate(report.lines):
        first = min(line.source_start, line.start)
        last = max(line.source_end, line.start + line.duration)
        for row in range(int(first // span), min(count - 1, int(last // span)) + 1):
            filled[row].append((number, line))
    return tuple(_row(n * span, min(length, span) if count == 1 else span, lines, order) for n, lines in enumerate(filled))


def _row(start: float, span: float, lines: list[tuple[int, ReportLine]], order: tuple[str, ...]) -> Row:
    here = {line.speaker for _, line in lines}
    return Row(start, start + max(span, 1.0), tuple(name for name in order if name in here), tuple(lines))


def row_svg(row: Row, waves: Waves, noticed: Mapping[str, str]) -> str:
    """What happens in `row`, without the names of the lanes; each line links to `#l<number>`.

    `noticed` holds, for the id of each line with a notice, the text of the notice.
    """
    lanes = {speaker: AXIS + LANE * n for n, speaker in enumerate(row.speakers)}
    parts = [_axis(row)]
    parts += [f'<rect class="lane" y="{y + 2}" width="100%" height="{LANE - 6}"/>' for y in lanes.values()]
    parts += [_line(row, number, line, lanes[line.speaker], noticed.get(line.id)) for number, line in row.lines]
    parts.append(_wave(row, waves, AXIS + LANE * len(lanes)))
    return "".join(parts)


def gutter_svg(row: Row, voices: Mapping[str, str]) -> str:
    """The names of the lanes of `row`, GUTTER wide."""
    parts = list[str]()
    for n, speaker in enumerate(row.speakers):
        y = AXIS + LANE * n
        voice = voices.get(speaker, "")
        parts.append(
            f'<svg x="0" y="{y}" width="{GUTTER - 8}" height="{LANE}"><title>{text(speaker)}, voice {text(voice)}</title>'
            f'<text class="who" y="22">{text(_short(speaker, 12))}</text><text class="dim" y="36">original ↑</text>'
            f'<text class="dim" y="53">{text(_short(voice, 15))}</text></svg>'
        )
    y = row.height - WAVE
    parts.append(f'<text class="dim" y="{y + 22}">original sound</text><text class="dim hue" y="{y + 47}">dub</text>')
    return "".join(parts)


def _short(value: str, most: int) -> str:
    return value if len(value) <= most else value[: most - 1] + "…"


def _axis(row: Row) -> str:
    span = row.end - row.start
    step = next(step for step in (1, 2, 5, 10, 15, 20) if span / step <= 12 or step == 20)
    marks = list[str]()
    for n in range(int(span / step) + 1):
        x = percent(n * step / span)
        if n * step >= span:
            break
        marks.append(f'<line class="grid" x1="{x}" x2="{x}" y1="14" y2="{row.height}"/>')
        marks.append(f'<text class="tick" x="{x}" dx="3" y="12">{clock(row.start + n * step)}</text>')
    return "".join(marks)


def _line(row: Row, number: int, line: ReportLine, y: int, notice: str | None) -> str:
    """Source span above, dub below, a thread between their onsets, the rate in words when it is not the natural one."""
    span = row.end - row.start
    x, source_x = percent((line.start - row.start) / span), percent((line.source_start - row.start) / span)
    width, source_width = percent(line.duration / span), percent((line.source_end - line.source_start) / span)
    name = band(line.rate)
    parts = [
        f'<a href="#l{number}" tabindex="-1" class="line"><title>{_caption(line, notice)}</title>',
        f'<svg x="{source_x}" y="{y + 6}" width="{source_width}" height="19">'
        '<rect class="source" width="100%" height="19" rx="3"/>'
        f"{_label('said', 13, line.source_text)}</svg>",
        f'<line class="thread" x1="{source_x}" y1="{y + 25}" x2="{x}" y2="{y + 35}"/>',
        f'<svg x="{x}" y="{y + 35}" width="{width}" height="26"><rect class="dub {name}" width="100%" height="26" rx="4"/>'
        f"{_label('spoken', 17, line.text)}</svg>",
    ]
    if line.overflow > 0:
        over_x = percent((line.start + line.duration - line.overflow - row.start) / span)
        parts.append(f'<rect class="over" x="{over_x}" y="{y + 35}" width="{percent(line.overflow / span)}" height="26"/>')
    inside = row.start <= line.start < row.end - 0.03 * span
    if inside and name not in ("calm", "brisk") and line.duration / span > 0.024:  # a wider number would hit the next
        parts.append(f'<text class="pace" x="{x}" dx="2" y="{y + 72}">{line.rate:.2f}×</text>')
    if notice is not None:
        parts.append(f'<svg x="{x}" y="{y + 29}" overflow="visible"><path class="flag" d="M-1 0h9l-4.5 8z"/></svg>')
    return "".join(parts) + "</a>"


def _label(css: str, y: int, value: str) -> str:
    """Text that begins where its script begins, so that a narrow block cuts the end off and never the beginning."""
    strong = next((kind for kind in map(unicodedata.bidirectional, value) if kind in ("L", "R", "AL")), "L")
    place = 'x="5"' if strong == "L" else 'x="100%" dx="-5" text-anchor="end"'
    return f'<text class="{css}" {place} y="{y}">{text(value)}</text>'


def _caption(line: ReportLine, notice: str | None) -> str:
    over = f", talks over by {line.overflow:.2f} s" if line.overflow > 0 else ""
    facts = f"{line.id} · {line.speaker} · {clock(line.start)} · rate {line.rate:.2f} · shift {line.shift:+.2f} s{over}"
    return text("\n".join([facts, line.text, *([notice] if notice else [])]))


def _wave(row: Row, waves: Waves, y: int) -> str:
    """Source upward and dub downward from one middle line."""
    per_s, middle = waves.columns_per_s, WAVE // 2
    first, count = round(row.start * per_s), max(1, round((row.end - row.start) * per_s))
    above = _bars(waves.source_peaks[first : first + count], middle - 4, up=True)
    below = _bars(waves.dub_peaks[first : first + count], middle - 4, up=False)
    return (
        f'<svg y="{y}" width="100%" height="{WAVE}" viewBox="0 0 {count} {WAVE}" preserveAspectRatio="none">'
        f'<g transform="translate(.5 {middle})"><path class="wave" d="{above}"/><path class="wave hue" d="{below}"/></g></svg>'
        f'<line class="middle" x2="100%" y1="{y + middle}" y2="{y + middle}"/>'
    )


def _bars(peaks: Sequence[float], height: int, *, up: bool) -> str:
    # The square root keeps soft speech visible beside loud music.
    sign = "-" if up else ""
    tall = (round(math.sqrt(min(1.0, max(0.0, peak))) * height) for peak in peaks)
    return "".join(f"M{n} 0V{sign}{h}" for n, h in enumerate(tall) if h)


def percent(share: float) -> str:
    """0.125 as "12.5%"."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def overview_svg(report: Report, end: float) -> tuple[str, int]:
    """Every line of the film in the colour of its rate, a thin lane for each speaker: (contents of an SVG, its height)."""
    lanes = {speaker: 9 * n + 3 for n, speaker in enumerate(dict.fromkeys(line.speaker for line in report.lines))}
    marks = (
        f'<rect class="dub {band(line.rate)}" x="{percent(line.start / end)}" y="{lanes[line.speaker]}" '
        f'width="{percent(line.duration / end)}" height="7"/>'
        for line in report.lines
    )
    return "".join(marks), 9 * len(lanes) + 4


def curve_svg(waves: Waves, target: float, duration: float) -> str:
    """Short-term loudness before and after over the whole film, the target as a dashed line; contents of an SVG 190 high."""
    high = 160
    scale = high / (CEILING_LUFS - FLOOR_LUFS)
    level = (CEILING_LUFS - min(CEILING_LUFS, max(FLOOR_LUFS, target))) * scale + 8
    grid, words, curves = list[str](), list[str](), list[str]()
    for lufs in range(-48, -6, 12):
        y = (CEILING_LUFS - lufs) * scale + 8
        grid.append(f'<line class="grid" x2="100%" y1="{y:.0f}" y2="{y:.0f}"/>')
        words.append(f'<text class="tick halo" y="{y - 3:.0f}">−{-lufs}</text>')
    for share in (0, 0.25, 0.5, 0.75):
        words.append(f'<text class="tick" x="{percent(share)}" y="{high + 24}">{clock(duration * share)}</text>')
    for values, name in ((waves.loudness_before, "before"), (waves.loudness_after, "after")):
        curves.append(f'<path class="{name}" d="{_curve(_thinned(values), scale)}"/>')
    wanted = f"target {target:g}".replace("-", "−")
    return (
        f'{"".join(grid)}<svg y="8" width="100%" height="{high}" viewBox="0 0 1000 {high}" preserveAspectRatio="none">'
        f'{"".join(curves)}</svg><line class="target" x2="100%" y1="{level:.1f}" y2="{level:.1f}"/>{"".join(words)}'
        f'<text class="tick halo wanted" x="100%" dx="-4" y="{level - 8:.1f}">{wanted}</text>'
    )


def _thinned(values: Sequence[float]) -> list[float]:
    """At most CURVE_POINTS values, each the mean energy of its neighbours."""
    per = math.ceil(len(values) / CURVE_POINTS) or 1
    groups = (values[n : n + per] for n in range(0, len(values), per))
    return [10 * math.log10(sum(10 ** (v / 10) for v in group) / len(group)) for group in groups]


def _curve(values: Sequence[float], scale: float) -> str:
    step = 1000 / max(1, len(values) - 1)
    places = ((n * step, (CEILING_LUFS - min(CEILING_LUFS, max(FLOOR_LUFS, v))) * scale) for n, v in enumerate(values))
    path = " ".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return f"M{path}" if path else ""


def histogram_svg(rates: Iterable[float]) -> str:
    """How many lines are spoken at which rate; contents of an SVG 190 high."""
    edges = (0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)
    names = (*(f"{edge:.2f}" for edge in edges), "more")
    counts = [0] * len(names)
    for rate in rates:
        counts[next((n for n, edge in enumerate(edges) if rate <= edge + 1e-9), len(edges))] += 1
    parts = list[str]()
    most = max(*counts, 1)
    for n, (name, count) in enumerate(zip(names, counts, strict=True)):
        x, middle = percent((n + 0.12) / len(names)), percent((n + 0.5) / len(names))
        tall = max(2, round(130 * count / most)) if count else 0
        colour = band(edges[n]) if n < len(edges) else "rush"
        parts.append(f'<rect class="bar {colour}" x="{x}" y="{160 - tall}" width="7.6%" height="{tall}" rx="2"/>')
        parts.append(f'<text class="count" x="{middle}" y="{153 - tall}">{count or ""}</text>')
        parts.append(f'<text class="tick mid" x="{middle}" y="178">{name}</text>')
    return "".join(parts)


def timeline_svg(report: Report, waves: Waves, width: int) -> str:
    """The whole timeline as one SVG document of `width` pixels that stands alone: well-formed XML, style inside, no links."""
    voices = {line.speaker: line.voice for line in report.lines}
    noticed = {notice.line: notice.text for notice in report.notices if notice.line is not None}
    margin, y = 16, 16
    parts = list[str]()
    for row in rows(report):
        parts.append(f'<svg x="{margin}" y="{y}" width="{GUTTER}" height="{row.height}">{gutter_svg(row, voices)}</svg>')
        inner = re.sub(r'<a href="#l\d+" tabindex="-1" ', "<g ", row_svg(row, waves, noticed)).replace("</a>", "</g>")
        room = max(1, width - GUTTER - 2 * margin)
        parts.append(f'<svg x="{margin + GUTTER}" y="{y}" width="{room}" height="{row.height}">{inner}</svg>')
        y += row.height + 12
    parts.append(_legend(margin + GUTTER, y + 8))
    name = text(f"Timeline of {report.source.name}: source above, dub in {report.target_language} below")
    height = y + 32
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label="{name}"><style>{text(style())}</style><defs>{hatch()}</defs>'
        f'<rect class="ground" width="100%" height="100%"/>{"".join(parts)}</svg>'
    )


def _legend(x: int, y: int) -> str:
    parts = list[str]()
    for n, (_, name, meaning) in enumerate(BANDS):
        parts.append(f'<rect class="dub {name}" x="{x + n * 104}" y="{y}" width="12" height="12" rx="3"/>')
        parts.append(f'<text class="tick" x="{x + n * 104 + 18}" y="{y + 10}">{meaning}</text>')
    return "".join(parts)


def hatch() -> str:
    """The pattern of talk-over, for a <defs>."""
    return (
        '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="hatch" width="2.5" height="5"/></pattern>'
    )


@cache
def style() -> str:
    """The style sheet of the page and of its pictures."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")
