"""The evaluation of a dub, or the comparison of two, as one HTML page: complete without network, without any script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polydub.evaluate.card import Axis, Card, Gate, Missing, Score
from polydub.evaluate.compare import Comparison, Row
from polydub.evaluate.judging import verdict
from polydub.report.drawing import style, text
from polydub.report.making import head, user

NONE = "–"
_WIDTH = 180  # pixels of a bar
_STATES = {True: ("✓", "passed"), False: ("!", "failed"), None: (NONE, "not judged")}
_STYLE = """
.panel td:first-child { white-space: nowrap; }
.failed { color: var(--watch); } .passed { color: var(--accent); }
.bar-of { display: inline-block; width: 180px; height: 9px; border-radius: 3px; background: var(--ground); }

.sure { font-weight: 650; }
"""


def render(found: Card | Comparison) -> str:
    """The page of a card or of a comparison, UTF-8; every text from outside is escaped."""
    if isinstance(found, Card):
        title = f"{found.dub}: evaluation of the dub"
        body = (
            _header(found),
            "<main>",
            _tiles(found.axes),
            _gates(found.gates),
            _scores(found.scores),
            _missing(found.missing),
        )
        return _page(title, (*body, "</main>", _footer((found,))))
    title = f"{found.ours.dub} and {found.theirs.dub}: comparison of two dubs"
    gates = "".join(
        _gates(card.gates, f"Gates of the {n} dub") for n, card in (("first", found.ours), ("second", found.theirs))
    )
    body = (_both(found), "<main>", _rows(found.rows), gates, "</main>", _footer((found.ours, found.theirs)))
    return _page(title, body)


def _page(title: str, sections: Iterable[str]) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="dark">'
        f'<title>{text(title)}</title><link rel="icon" href="data:,"><style>\n{style()}{_STYLE}</style></head>\n<body>\n'
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _header(card: Card) -> str:
    facts = [f'<li class="languages">{text(card.language)}</li>']
    facts += [f"<li>source {user(card.reference)}</li>"] if card.reference else []
    return (
        f'<header><p class="brand">polydub · evaluation</p><h1><bdi>{text(card.dub)}</bdi></h1>'
        f'<ul class="facts">{"".join(facts)}</ul><p class="verdict">{text(verdict(card))}.</p></header>'
    )


def _both(found: Comparison) -> str:
    better = [sum(row.better == side for row in found.rows) for side in ("ours", "theirs")]
    told = f"The first is better in {better[0]} figures, the second in {better[1]}."
    sure = sum(row.certain is True and row.better in ("ours", "theirs") for row in found.rows)
    items = "".join(f"<li>{user(card.dub)}: {text(verdict(card))}</li>" for card in (found.ours, found.theirs))
    return (
        f'<header><p class="brand">polydub · comparison</p><h1><bdi>{text(found.ours.dub)}</bdi> and '
        f'<bdi>{text(found.theirs.dub)}</bdi></h1><ul class="facts"><li class="languages">{text(found.ours.language)}</li></ul>'
        f'<p class="verdict">{told} In {sure} of them the confidence intervals do not overlap.</p><ol>{items}</ol></header>'
    )


def _tiles(axes: Sequence[Axis]) -> str:
    tiles: list[str] = []
    for axis in axes:
        figure = NONE if axis.value is None else f"{axis.value:.0f}"
        parts = ", ".join(f"{text(name)} {value:.0f}" for name, value in axis.parts) or "not measured"
        css = "good" if axis.value is not None and axis.value >= 60 else "watch"
        unit = "<small>of 100</small>" if axis.value is not None else ""
        below = f"weight {axis.weight:.2f}; {parts}"
        tiles.append(
            f'<div class="{css}"><dt>{text(axis.name)}</dt><dd class="figure">{figure}{unit}</dd><dd>{below}</dd></div>'
        )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _gates(gates: Sequence[Gate], title: str = "Gates") -> str:
    rows: list[str] = []
    for gate in gates:
        sign, meaning = _STATES[gate.passed]
        state = f'<span class="{meaning.replace(" ", "-")}">{sign} {meaning}</span>'
        rows.append(
            f"<tr><td>{text(gate.name)}</td><td>{state}</td><td>{user(gate.value)}</td><td>{text(gate.limit)}</td></tr>"
        )
    return (
        f'<section><h2>{title}</h2><p class="note">What must hold whatever the scores are.</p><div class="panel wide"><table>'
        f"{head('Gate', 'State', 'Found', 'Wanted')}<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _scores(scores: Sequence[Score]) -> str:
    rows = "".join(
        f'<tr><td>{text(s.id)}</td><td>{text(s.name)}</td><td class="number">{_figure(s.value, s.unit)}</td>'
        f'<td class="number quiet">{_interval(s)}</td><td>{_bar(s)}</td><td class="number">{s.n}</td>'
        f'<td class="quiet">{user(s.basis)}</td><td class="quiet">{text(s.source)}</td></tr>'
        for s in scores
    )
    top = head("Id", "Figure", "+Value", "+95 % interval", "", "+Over", "Measured on", "Definition")
    return (
        '<section><h2>Figures</h2><p class="note">Intervals by 1,000 bootstrap draws over the lines. Bars show per cent.</p>'
        f'<div class="panel wide"><table>{top}<tbody>{rows}</tbody></table></div></section>'
    )


def _bar(score: Score) -> str:
    if score.unit != "%" or score.value is None:
        return ""
    wide = round(_WIDTH * min(100.0, max(0.0, score.value)) / 100)
    return f'<span class="bar-of"><span class="share" style="width:{wide}px"></span></span>'


def _interval(score: Score) -> str:
    return NONE if score.ci is None else f"{_figure(score.ci[0])} to {_figure(score.ci[1])}"


def _missing(missing: Sequence[Missing]) -> str:
    if not missing:
        return ""
    rows = "".join(f"<tr><td>{text(m.id)}</td><td>{user(m.reason)}</td></tr>" for m in missing)
    return (
        '<section><h2>Not measured</h2><p class="note">Nothing stands in for these.</p><div class="panel wide"><table>'
        f"{head('Row', 'Why')}<tbody>{rows}</tbody></table></div></section>"
    )


def _rows(rows: Sequence[Row]) -> str:
    body: list[str] = []
    for row in rows:
        said = {"ours": "first", "theirs": "second", "equal": "equal"}.get(row.better, NONE)
        sure = "" if row.certain is None or row.better == "equal" else " surely" if row.certain else " perhaps by chance"
        figures = "".join(f'<td class="number">{_figure(v, row.unit)}</td>' for v in (row.ours, row.theirs, row.difference))
        css = ' class="sure"' if row.certain else ""
        body.append(f"<tr><td>{text(row.id)}</td><td>{text(row.name)}</td>{figures}<td{css}>{said}{sure}</td></tr>")
    top = head("Id", "Figure", "+First", "+Second", "+Change", "Better")
    return (
        '<section><h2>Figures</h2><p class="note">The change is the first less the second. Surely: the intervals do not '
        'overlap.</p><div class="panel wide"><table>'
        f"{top}<tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _figure(value: float | None, unit: str = "") -> str:
    if value is None:
        return NONE
    number = f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{number} {unit}".strip().replace("-", "−")


def _footer(cards: Sequence[Card]) -> str:
    models = dict.fromkeys(model for card in cards for model in card.models)
    versions = dict.fromkeys(card.polydub_version for card in cards)
    used = f"; models: {', '.join(models)}" if models else "; no model was used"
    return f"<footer>polydub {text(', '.join(versions))}{text(used)}</footer>"
