"""The part of the report's page that tells how a dub was made: who speaks with which voice, engines, work, files."""

from __future__ import annotations

from urllib.parse import quote

from polydub.report.drawing import text
from polydub.report.model import Report


def making(report: Report) -> str:
    """The section: four tables."""
    tables = (_speakers(report), _engines(report), _stages(report), _outputs(report))
    panels = "".join(f'<div class="panel wide">{table}</div>' for table in tables)
    return (
        '<section id="making"><h2>How it was made</h2><p class="note">Voices, engines, work and files.</p>'
        f'<div class="pair">{panels}</div></section>'
    )


def _speakers(report: Report) -> str:
    body = list[str]()
    for speaker in report.speakers:
        voice = f"<b>{text(speaker.voice)}</b><br>{user(speaker.reason)}"
        body.append(f'<tr><td>{user(speaker.id)}</td><td class="number">{speaker.talk_s:.0f} s</td><td>{voice}</td></tr>')
    top = head("Speaker", "+Talks", "Voice")
    return f"<table><caption>Who speaks, and with which voice</caption>{top}<tbody>{''.join(body)}</tbody></table>"


def _engines(report: Report) -> str:
    body = list[str]()
    for engine in report.engines:
        options = " ".join(f"<code>{text(key)}={text(str(value))}</code>" for key, value in engine.options.items())
        name = f'<b>{text(engine.name)}</b> <span class="quiet">{text(engine.version)}</span>'
        body.append(f"<tr><td>{text(engine.kind)}</td><td>{name}<br>{user(engine.reason)}<br>{options}</td></tr>")
    top = head("Kind", "Engine")
    return f"<table><caption>Engines, and why these</caption>{top}<tbody>{''.join(body)}</tbody></table>"


def _stages(report: Report) -> str:
    longest = max((stage.seconds for stage in report.stages), default=0.0) or 1.0
    body = "".join(
        f'<tr><td>{text(s.name)}</td><td class="number">{s.seconds:.2f} s</td>'
        f'<td><span class="share" style="width:{max(2, round(90 * s.seconds / longest))}px"></span></td>'
        f'<td class="number">{s.ran}</td><td class="number">{s.remembered}</td></tr>'
        for s in report.stages
    )
    top = head("Stage", "+Time", "", "+Done now", "+Remembered")
    return f"<table><caption>Stages of this run</caption>{top}<tbody>{body}</tbody></table>"


def _outputs(report: Report) -> str:
    # "./" keeps a file name such as "javascript:x" from being read as a scheme.
    body = "".join(
        f'<tr><td><a href="./{text(quote(o.path))}"><bdi>{text(o.path)}</bdi></a></td><td>{text(o.kind)}</td>'
        f'<td class="number">{size(o.bytes)}</td></tr>'
        for o in report.outputs
    )
    return f"<table><caption>Files</caption>{head('File', 'Kind', '+Size')}<tbody>{body}</tbody></table>"


def head(*names: str) -> str:
    """The head of a table; a leading + marks a column of numbers."""
    css = (' class="number"' if name.startswith("+") else "" for name in names)
    cells = (f'<th scope="col"{c}>{name.removeprefix("+")}</th>' for name, c in zip(names, css, strict=True))
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def user(value: str) -> str:
    """Text of unknown direction, kept from turning its neighbours round."""
    return f"<bdi>{text(value)}</bdi>"


def size(count: int) -> str:
    """Bytes in the unit that leaves a short number."""
    return f"{count} B" if count < 1000 else f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
