"""`report.<lang>.html`: one file that shows a report to a person, complete without network and readable without JavaScript."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path

from polydub.report.drawing import (
    BANDS,
    GUTTER,
    Row,
    Waves,
    band,
    clock,
    curve_svg,
    gutter_svg,
    hatch,
    histogram_svg,
    overview_svg,
    percent,
    row_svg,
    rows,
    style,
    text,
    timeline_svg,
)
from polydub.report.making import head, making, user
from polydub.report.model import COMFORTABLE_RATE, DRIFT_S, Report, ReportLine, ReportNotice

__all__ = ["Waves", "render_page", "timeline_svg"]

NONE = "–"
SCORES = (  # field of Timing, row of metrics, name, what is best
    ("duration_mae_s", "D1", "difference in length, mean (s)", "0"),
    ("duration_ratio", "D1", "dub length / source length, mean", "1"),
    ("overlap_m1", "D2", "overlap M1", "1"),
    ("overlap_m2", "D2", "overlap M2", "1"),
    ("overlap_m3_s", "D2", "overlap M3 (s)", "0"),
    ("drift_share", "D2", "lines off by more than 0.3 s", "0 %"),
    ("isochrony_iou", "D3", "time both speak / time either speaks", "1"),
    ("leak", "D3", "dub heard where the source is silent", "0 %"),
    ("slc_20", "D4", "lines within 20 % of the source's length", "100 %"),
    ("slc_40", "D4", "lines within 40 % of the source's length", "100 %"),
    ("faster_than_115", "D5", "lines faster than 1.15×", "0 %"),
    ("faster_than_125", "D5", "lines faster than 1.25×", "0 %"),
    ("smoothness", "D6", "evenness of pace from line to line", "1"),
)


def render_page(report: Report, waves: Waves) -> str:
    """The whole page as UTF-8 text: style, pictures and script inside, every text of the user escaped, nothing fetched."""
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = text(f"{report.source.name} in {report.target_language}: dubbing report")
    sections = (
        _header(report),
        _nav(report),
        "<main>",
        _tiles(report),
        _notices(report),
        _timeline(report, waves),
        _sound(report, waves),
        _lines(report),
        _scores(report),
        making(report),
        "</main>",
        _footer(report),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="dark light">'
        f'<title>{title}</title><link rel="icon" href="data:,"><style>\n{style()}</style></head>\n<body>\n'
        + "\n".join(sections)
        + f"\n<script>{script}</script></body></html>\n"
    )


@cache
def _script() -> str:
    return Path(__file__).with_name("page.js").read_text(encoding="utf-8")


def _header(report: Report) -> str:
    source = report.source
    facts = [clock(source.duration)]
    if source.width:
        facts += [f"{source.width} × {source.height}", f"{source.fps:.4g} frames/s", source.codec]
    languages = f"{source.language} → {report.target_language}"
    chips = "".join(f"<li>{text(fact)}</li>" for fact in facts if fact)
    return (
        f'<header><p class="brand">polydub · dubbing report</p><h1><bdi>{text(source.name)}</bdi></h1>'
        f'<ul class="facts"><li class="languages">{text(languages)}</li>{chips}</ul>'
        f'<p class="verdict">{_verdict(report)}</p></header>'
    )


def _verdict(report: Report) -> str:
    """One or two sentences that a person reads first."""
    timing = report.timing
    if timing.shift_p95_s is None:
        return "No line is audible in this dub."
    calm = timing.lines - timing.lines_over_comfortable
    pace = f"All {timing.lines} lines are" if calm == timing.lines else f"{calm} of {_count(timing.lines, 'line')} are"
    over = [line for line in report.lines if line.overflow > 0]
    talk = f"{_count(len(over), 'line')} talk over the next one, for {timing.talk_over_s:.2f} s in all"
    return f"{pace} spoken at a comfortable pace, and 95 % start within {timing.shift_p95_s:.2f} s of the original. " + (
        f"{talk}." if over else "Nobody talks over the next line."
    )


def _nav(report: Report) -> str:
    places = [("timeline", "Timeline"), ("sound", "Loudness and pace"), ("lines", "Lines")]
    places += [("scores", "Timing scores"), ("making", "How it was made")]
    if report.notices:
        places.insert(0, ("notices", f"To look at ({len(report.notices)})"))
    links = "".join(f'<li><a href="#{place}">{name}</a></li>' for place, name in places)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def _tiles(report: Report) -> str:
    timing, loud = report.timing, report.loudness
    speakers = len({line.speaker for line in report.lines})
    over = sum(line.overflow > 0 for line in report.lines)
    shift = timing.shift_p95_s or 0.0
    lifted = f"{_signed(loud.before_lufs)} before, target {_signed(loud.target_lufs)}"
    hurried = _count(timing.lines_over_comfortable, "line")
    spread = f"95 % within {_fixed(timing.shift_p95_s)} s, at most {_fixed(timing.shift_max_s)} s"
    loud_enough = abs(loud.after_lufs - loud.target_lufs) <= 0.5
    quiet_peak = loud.after_true_peak_dbtp <= loud.true_peak_limit_dbtp
    tiles = (
        _tile("Lines", str(timing.lines), "", f"{_count(speakers, 'speaker')}, {clock(report.source.duration)}", True),
        _tile("Start shift, median", _fixed(timing.shift_p50_s), "s", spread, shift <= DRIFT_S),
        _tile(
            "Fastest line",
            _fixed(timing.max_rate),
            "×",
            f"{hurried} above {COMFORTABLE_RATE}×",
            not timing.lines_over_comfortable,
        ),
        _tile("Talk-over", f"{timing.talk_over_s:.2f}", "s", f"on {_count(over, 'line')}" if over else "none", not over),
        _tile("Loudness", _signed(loud.after_lufs), "LUFS", lifted, loud_enough),
        _tile(
            "True peak", _signed(loud.after_true_peak_dbtp), "dBTP", f"limit {_signed(loud.true_peak_limit_dbtp)}", quiet_peak
        ),
    )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _tile(name: str, figure: str, unit: str, below: str, good: bool) -> str:
    unit = f"<small>{unit}</small>" if unit else ""
    css, sign, meaning = ("good", "✓", "good") if good else ("watch", "!", "look at it")
    below = f'<span class="state" title="{meaning}">{sign}</span> {below}'
    return f'<div class="{css}"><dt>{name}</dt><dd class="figure">{figure}{unit}</dd><dd>{below}</dd></div>'


def _notices(report: Report) -> str:
    """Notices by code: warnings first, then the most frequent."""
    if not report.notices:
        return ""
    groups: dict[tuple[str, str], list[ReportNotice]] = {}
    for notice in report.notices:
        groups.setdefault((notice.severity, notice.code), []).append(notice)
    places = {line.id: number for number, line in enumerate(report.lines)}
    ordered = sorted(groups.items(), key=lambda group: (group[0][0] != "warning", -len(group[1])))
    blocks = [_group(severity, code, group, places) for (severity, code), group in ordered]
    return (
        '<section id="notices"><h2>To look at</h2><p class="note">What a person should check, most important first.</p>'
        f'<div class="notices">{"".join(blocks)}</div></section>'
    )


def _group(severity: str, code: str, group: Sequence[ReportNotice], places: Mapping[str, int]) -> str:
    badge = "! warning" if severity == "warning" else "info"
    head = f'<span class="badge">{badge}</span><b>{text(code.replace("-", " "))}</b> <span class="quiet">({len(group)})</span>'
    items = "".join(f"<li>{_line_link(notice.line, places)}{user(notice.text)}{_stage(notice.stage)}</li>" for notice in group)
    opened = " open" if severity == "warning" and len(group) <= 5 else ""
    return f'<details class="{severity}"{opened}><summary>{head}</summary><ul>{items}</ul></details>'


def _line_link(line: str | None, places: Mapping[str, int]) -> str:
    if line is None:
        return ""
    return f'<a href="#l{places[line]}">line {text(line)}</a> ' if line in places else f"line {text(line)} "


def _stage(stage: str) -> str:
    return f' <span class="quiet">({text(stage)})</span>' if stage else ""


def _timeline(report: Report, waves: Waves) -> str:
    voices = {line.speaker: line.voice for line in reversed(report.lines)}
    noticed = {notice.line: notice.text for notice in report.notices if notice.line is not None}
    parts = rows(report)
    pictures = "".join(_row(n, row, gutter_svg(row, voices), row_svg(row, waves, noticed)) for n, row in enumerate(parts))
    colours = "".join(f'<li><i class="{name}"></i>{meaning}</li>' for _, name, meaning in BANDS)
    zooms = "".join(
        f'<button type="button" data-zoom="{z}" aria-pressed="{str(z == 1).lower()}">{z}×</button>' for z in (1, 2, 4)
    )
    return (
        '<section id="timeline"><h2>Timeline</h2><p class="note">Each speaker has a lane: the original above, the dub below, '
        "a thread from onset to onset. Colour is how fast a line is spoken against the voice's own pace.</p>"
        f'<ul class="legend" aria-label="Colours"><li><i class="origin"></i>original</li>{colours}'
        f'<li><i class="hatched"></i>talk-over</li><li>▾ has a notice</li></ul>{_overview(report, parts)}'
        f'<div class="tools" hidden><label>Zoom</label>{zooms}</div>'
        f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{hatch()}</defs></svg>'
        f'<div class="panel scroll" tabindex="0" role="region" aria-label="Timeline">{pictures}</div></section>'
    )


def _row(number: int, row: Row, gutter: str, picture: str) -> str:
    name = f"{clock(row.start)} to {clock(row.end)}, {_count(len(row.lines), 'line')}; the table of lines has the same facts"
    return (
        f'<div class="row" id="row{number}">'
        f'<svg class="gutter" width="{GUTTER}" height="{row.height}" aria-hidden="true">{gutter}</svg>'
        f'<svg class="picture" height="{row.height}" role="group" aria-label="{name}">{picture}</svg></div>\n'
    )


def _overview(report: Report, parts: Sequence[Row]) -> str:
    """A long film at one glance: every line in its colour, each row a link."""
    if len(parts) < 4:
        return ""
    links = "".join(
        f'<a href="#row{n}" aria-label="Go to {clock(row.start)}"><title>{clock(row.start)}</title>'
        f'<rect class="cell" x="{percent(n / len(parts))}" width="{percent(1 / len(parts))}" height="100%"/></a>'
        for n, row in enumerate(parts)
    )
    marks, height = overview_svg(report, parts[-1].end)
    return f'<svg class="overview" height="{height}" role="group" aria-label="Overview of the film">{marks}{links}</svg>'


def _sound(report: Report, waves: Waves) -> str:
    loud = report.loudness
    facts = f"{_signed(loud.before_lufs)} LUFS before, {_signed(loud.after_lufs)} after, target {_signed(loud.target_lufs)}; "
    facts += f"range {loud.range_lu:.1f} LU, gain {loud.gain_db:+.1f} dB"
    facts += f", dialogue {_signed(loud.dialogue_lufs)} LUFS" if loud.dialogue_lufs is not None else ""
    heard = report.sound
    facts += f"; room tone {_signed(heard.room_tone_dbfs)} dBFS" if heard.room_tone_dbfs is not None else ""
    facts += "; the dialogue was taken out of the original" if heard.separated else ""
    facts += f"; the original is only lowered for {heard.ducked_s:.0f} s" if heard.ducked_s else ""
    rates = [line.rate for line in report.lines if line.duration > 0]
    return (
        '<section id="sound" class="pair"><div class="panel"><span class="key"><i></i>before<i class="hue"></i>after</span>'
        f'<h2>Loudness</h2><p class="note">{facts}.</p><svg role="img" aria-label="Short-term loudness over the film: {facts}">'
        f'{curve_svg(waves, loud.target_lufs, report.source.duration)}</svg></div><div class="panel"><h2>Pace</h2>'
        '<p class="note">How many lines are spoken how fast, up to the figure below; 1.00 is the voice\u2019s own pace.</p>'
        f'<svg role="img" aria-label="Histogram of speaking rates">{histogram_svg(rates)}</svg></div></section>'
    )


def _lines(report: Report) -> str:
    noticed: dict[str, list[str]] = {}
    for notice in report.notices:
        if notice.line is not None:
            noticed.setdefault(notice.line, []).append(notice.text)
    body = "\n".join(_table_row(report, n, line, noticed.get(line.id, ())) for n, line in enumerate(report.lines))
    kinds = (("", "all lines"), ("fast", "faster than 1.15×"), ("late", "shifted by more than 0.3 s"))
    kinds += (("over", "talking over the next"), ("worded", "in other words"), ("noted", "with a notice"))
    options = "".join(f'<option value="{value}">{name}</option>' for value, name in kinds)
    return (
        '<section id="lines"><h2>Lines</h2><div class="tools" hidden>'
        '<input id="words" type="search" placeholder="Find in lines" aria-label="Find in lines">'
        f'<select id="kind" aria-label="Which lines">{options}</select>'
        '<span id="shown" class="quiet" role="status"></span></div><div class="panel wide">'
        '<table class="lines"><caption>Every line with its onset in the dub, how much later than the original that is, '
        "and how fast it is spoken.</caption>"
        f"{head('Line', '+Start', 'Speaker, voice', 'Original', 'Dub', '+Shift', '+Rate', 'Notices')}"
        f"<tbody>\n{body}\n</tbody></table></div></section>"
    )


def _table_row(report: Report, number: int, line: ReportLine, notices: Iterable[str]) -> str:
    flags = {
        "fast": line.rate > COMFORTABLE_RATE,
        "late": abs(line.shift) > DRIFT_S,
        "over": line.overflow > 0,
        "worded": line.wording != "normal",
        "noted": bool(notices),
    }
    onset = round(line.start, 2)
    start = f"{clock(onset)}{f'{onset % 1:.2f}'[1:]}"
    return (
        f'<tr id="l{number}" data-kind="{" ".join(name for name, on in flags.items() if on)}"><td>{text(line.id)}</td>'
        f'<td class="number">{start}</td><td>{user(line.speaker)}<br><span class="quiet">{text(line.voice)}</span></td>'
        f'<td lang="{text(report.source.language)}" dir="auto">{text(line.source_text)}</td>'
        f'<td lang="{text(report.target_language)}" dir="auto">{text(line.text)}{_worded(line)}</td>'
        f'<td class="number">{_signed(line.shift, 2, plus=True)} s</td><td class="number">{_meter(line.rate)}</td>'
        f"<td>{'<br>'.join(map(user, notices))}</td></tr>"
    )


def _worded(line: ReportLine) -> str:
    """What is said instead of the normal wording, and in how many parts."""
    kinds = {"shortened": f"without: {', '.join(line.removed)}", "short": "the short wording", "long": "the long wording"}
    notes = [kinds[line.wording]] if line.wording in kinds else []
    if line.phrases:
        notes.append(f"in {len(line.phrases)} parts, with the original's pauses")
    return f'<br><span class="quiet" lang="en" dir="ltr">{user("; ".join(notes))}</span>' if notes else ""


def _meter(rate: float) -> str:
    """A bar from 1.00, to the left when slowed, to the right when hurried; the scale runs from 0.80 to 1.30."""
    ends = sorted((40.0, min(100.0, max(0.0, (rate - 0.8) * 200))))
    bar = f'<i class="{band(rate)}" style="left:{ends[0]:.0f}%;width:{ends[1] - ends[0]:.0f}%"></i>'
    return f'<span class="meter">{bar}</span>{rate:.2f}×'


def _scores(report: Report) -> str:
    body = "".join(
        f'<tr><td>{row}</td><td>{name}</td><td class="number">{_score(getattr(report.timing, field), best)}</td>'
        f'<td class="number quiet">{best}</td></tr>'
        for field, row, name, best in SCORES
    )
    return (
        '<section id="scores"><h2>Timing scores</h2><div class="panel wide"><table>'
        "<caption>The usual measures of dubbed timing, from the spans of the lines.</caption>"
        f"{head('Row', 'Score', '+Here', '+Best')}<tbody>{body}</tbody></table></div></section>"
    )


def _score(value: float | None, best: str) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.1f} %" if best.endswith("%") else f"{value:.3f}"


def _footer(report: Report) -> str:
    run = report.run
    took = timedelta(seconds=round((run.finished - run.started).total_seconds()))
    return (
        f"<footer>polydub {text(run.polydub_version)}, {run.started:%Y-%m-%d %H:%M:%S %Z}, {took} on {text(run.host)} "
        f"({_count(run.cpus, 'core')})</footer>"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _fixed(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _signed(value: float, digits: int = 1, *, plus: bool = False) -> str:
    return f"{value:{'+' if plus else ''}.{digits}f}".replace("-", "−")
