"""Subtitles to be read: text broken into cues and lines, gaps between them, and SRT, WebVTT and ASS files.

The limits are those of common timed-text guides: 42 characters (16 full-width) a line, 2 lines, 17 characters a second,
5/6 to 7 seconds, 2 frames between cues.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from polydub.text.formats import clean, srt_plain
from polydub.types import Cue, Span, Word, seconds

SMALL_GAP_S = 0.5  # a shorter gap flickers: it is closed to two frames
LINGER_S = 0.5  # a cue that is hard to read in its time may stay this much longer
_BLANK = re.compile(r"[ \t\r\n\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
_JOINERS = frozenset(
    re.findall(
        r"\w+",
        "and or but nor so yet that which who whose when where while because if as than with for from to of in on at by "
        "y e o u ni pero que cuando donde porque si como con para por de del en et ou mais qui quand où parce car avec pour "
        "par und oder aber dass weil wenn wie mit für von zu im am ma che perché quando per mas com или но что и а",
    )
)
_CLOSING = "、。，．・：；？！）］｝」』】〉》ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ…,.:;?!)]}%'\"”’"
_OPENING = "（［｛「『【〈《([{“‘$"
_ENDS = ".?!…。？！‽؟۔।"
_CLAUSES = ",;:、，；：،—–"
_ASS_TEXT = str.maketrans({"{": "｛", "}": "｝", "\\": "＼"})


@dataclass(frozen=True, slots=True)
class CueLimits:
    """How much a reader can take: characters a line (full-width scripts apart), lines, characters a second, seconds."""

    line_chars: int = 42
    full_width_chars: int = 16
    lines: int = 2
    cps: float = 17.0
    min_s: float = 5 / 6
    max_s: float = 7.0


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    spaced: bool  # a blank stands before it
    width: int


def split_into_cues(text: str, span: Span, limits: CueLimits = CueLimits(), speaker: str = "") -> tuple[Cue, ...]:
    """`text` as cues inside `span`, balanced, in order, every word once; none for a text without words.

    A line is longer than the limit only where one word is. Times go by the length of the text; a lone cue in a shorter
    span is held for `min_s`, no cue stays longer than `max_s`. A cue reads faster than `cps` where the span leaves no
    more time. Right-to-left text is broken at blanks and otherwise untouched.
    """
    tokens = _tokens(text)
    if not tokens:
        return ()
    limit = 2 * limits.full_width_chars if _is_full_width(text) else limits.line_chars
    groups = _groups(tokens, limit, limits, span.duration)
    bodies = ["\n".join(_joined(line) for line in _lines(group, limit, limits.lines)) for group in groups]
    shares = _shares([max(1, _width(group)) for group in groups], span.duration, limits.min_s)
    edges = [seconds(span.start + before) for before in accumulate(shares, initial=0.0)]
    if len(bodies) == 1:
        edges[1] = max(edges[1], span.start + limits.min_s)
    cut = zip(pairwise(edges), bodies, strict=True)
    return tuple(Cue(start, seconds(min(end, start + limits.max_s)), body, speaker) for (start, end), body in cut)


def timed(cues: Sequence[Cue], words: Sequence[Word]) -> tuple[Cue, ...]:
    """The cues of one text with its words' times: where the text was cut, a cue begins and ends with its words.

    Cues are left as they are when their blank-separated words are not these.
    """
    if [word for cue in cues for word in cue.text.split()] != [word.text for word in words] or not words:
        return tuple(cues)
    made: list[Cue] = []
    rest = list(words)
    for number, cue in enumerate(cues):
        count = len(cue.text.split())
        own, rest = tuple(rest[:count]), rest[count:]
        start = cue.start if number == 0 else max(own[0].start, made[-1].start)
        end = cue.end if number == len(cues) - 1 else max(start, own[-1].end)
        made.append(replace(cue, start=start, end=end, words=own))
    return tuple(made)


def _tokens(text: str) -> list[_Token]:
    """Words; scripts written without blanks fall into characters, with closing marks kept on what they close."""
    found: list[_Token] = []
    for word in _BLANK.split(text):
        pieces: list[str] = []
        for c in word:
            glued = pieces and (
                c in _CLOSING or pieces[-1][-1] in _OPENING or not (_stands_alone(c) or _stands_alone(pieces[-1][-1]))
            )
            if glued or (pieces and _char_width(c) == 0):
                pieces[-1] += c
            else:
                pieces.append(c)
        found += [_Token(piece, i == 0 and bool(found), sum(map(_char_width, piece))) for i, piece in enumerate(pieces)]
    return found


def _stands_alone(c: str) -> bool:
    return "\u2e80" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uff00" <= c <= "\uffef" or c >= "\U00020000"


def _char_width(c: str) -> int:
    if unicodedata.category(c) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def _is_full_width(text: str) -> bool:
    shown = [c for c in text if not c.isspace()]
    return sum(unicodedata.east_asian_width(c) in "WF" for c in shown) > 0.3 * len(shown)


def _width(tokens: Sequence[_Token]) -> int:
    return sum(token.width + token.spaced for token in tokens) - (tokens[0].spaced if tokens else 0)


def _joined(tokens: Sequence[_Token]) -> str:
    return "".join((" " if token.spaced and i else "") + token.text for i, token in enumerate(tokens))


def _line_count(tokens: Sequence[_Token], limit: int) -> int:
    count, used = 0, limit + 1
    for token in tokens:
        used += token.width + token.spaced
        if used > limit:
            count, used = count + 1, token.width
    return count


def _cost_of_break(before: _Token, after: _Token) -> float:
    """0 after a sentence, little after a clause or before a joining word, much after a short word such as an article."""
    last = before.text.rstrip("\"'”’»」』)）")[-1:]
    if last and last in _ENDS:
        return 0.0
    if last and last in _CLAUSES:
        return 0.1
    if after.text.lower() in _JOINERS:
        return 0.25
    return 0.8 if after.spaced and before.text.isalpha() and len(before.text) <= 3 else 0.5


def _lines(tokens: Sequence[_Token], limit: int, most: int) -> list[Sequence[_Token]]:
    """`tokens` in as few lines as they need, of like length, broken where it reads best."""
    needed = _line_count(tokens, limit)
    if needed <= 1 or most <= 1:
        return [tokens]
    ideal = _width(tokens) / needed
    best, at = float("inf"), 1
    for k in range(1, len(tokens)):
        width = _width(tokens[:k])
        if width > limit and k > 1:
            break
        if _line_count(tokens[k:], limit) < needed:
            cost = abs(width - ideal) / ideal * 2 + _cost_of_break(tokens[k - 1], tokens[k])
            best, at = min((best, at), (cost, k))
    return [tokens[:at], *_lines(tokens[at:], limit, most - 1)]


def _groups(tokens: Sequence[_Token], limit: int, limits: CueLimits, duration: float) -> list[Sequence[_Token]]:
    """`tokens` cut into cues: the cheapest sum of uneven lengths and bad breaks, each cue within the lines allowed."""
    width = _width(tokens)
    by_room = -(-_line_count(tokens, limit) // limits.lines)
    by_time = min(-(-duration // limits.max_s), width // (limit / 2))
    ideal = max(1.0, width / max(1.0, by_room, by_time))
    best = [0.0] + [float("inf")] * len(tokens)
    came = [0] * (len(tokens) + 1)
    for i in range(len(tokens)):
        lines, used, length = 1, 0, 0
        for j in range(i, len(tokens)):
            step = tokens[j].width + (tokens[j].spaced if j > i else 0)
            used, length = used + step, length + step
            if used > limit and j > i:
                lines, used = lines + 1, tokens[j].width
            if lines > limits.lines:
                break
            edge = _cost_of_break(tokens[j], tokens[j + 1]) if j + 1 < len(tokens) else 0.0
            cost = best[i] + (length / ideal - 1) ** 2 + 0.5 * edge
            if cost < best[j + 1]:
                best[j + 1], came[j + 1] = cost, i
    cuts, end = list[Sequence[_Token]](), len(tokens)
    while end:
        cuts.append(tokens[came[end] : end])
        end = came[end]
    return cuts[::-1]


def _shares(widths: Sequence[int], duration: float, least: float) -> list[float]:
    """`duration` dealt out by width, at least `least` seconds each where there is enough."""
    shares = [duration * width / sum(widths) for width in widths]
    if duration < least * len(widths):
        return shares
    wanted = [max(share, least) for share in shares]
    spare = sum(wanted) - least * len(widths)
    scale = (duration - least * len(widths)) / spare if spare > 0 else 0.0
    return [least + (share - least) * scale for share in wanted]


def close_gaps(cues: Sequence[Cue], fps: float, limits: CueLimits = CueLimits()) -> tuple[Cue, ...]:
    """Cues by start, two frames or more apart (80 ms when `fps` is not above 0), none overlapping its speaker's next.

    Gaps under half a second are closed to two frames; a cue too short to be read stays up to half a second longer, or
    for `min_s`, where nothing follows at once. Cues of different speakers that overlap stay so. Cues of one speaker that
    start together follow each other instead. The last cue never grows.
    """
    gap = math.ceil(2000 / fps) / 1000 if fps > 0 else 0.08
    done: list[Cue] = []
    free: dict[str, float] = {}
    for cue in sorted(cues, key=lambda cue: cue.start):
        start = max(cue.start, free.get(cue.speaker, cue.start))
        free[cue.speaker] = start + 2 * gap  # two frames of cue and two of gap, at the least
        done.append(replace(cue, start=start, end=max(cue.end, start + gap)))
    done.sort(key=lambda cue: cue.start)
    following: dict[str, float] = {}
    soonest: list[float] = []
    for i in range(len(done) - 1, -1, -1):
        cue = done[i]
        cue = replace(cue, end=_end(cue, gap, following.get(cue.speaker), _next_start(soonest, cue), limits))
        following[cue.speaker] = cue.start
        soonest.append(cue.start)
        done[i] = replace(cue, start=seconds(cue.start), end=seconds(cue.end))
    return tuple(done)


def _next_start(falling: Sequence[float], cue: Cue) -> float | None:
    """The first start at or after the end of `cue`, among later starts in falling order."""
    return next((start for start in reversed(falling) if start >= cue.end), None)


def _end(cue: Cue, gap: float, own: float | None, any_speaker: float | None, limits: CueLimits) -> float:
    end = cue.end
    if any_speaker is not None:
        room = any_speaker - gap
        wish = max(cue.start + limits.min_s, min(cue.start + len(cue.text) / limits.cps, end + LINGER_S))
        if room < end or any_speaker - end < SMALL_GAP_S:
            end = room if room - cue.start <= limits.max_s or room < end else end
        else:
            end = max(end, min(wish, room, cue.start + limits.max_s))
    end = max(end, cue.start + gap)
    return end if own is None else min(end, own - gap)


def _stamp(time: float, point: str) -> str:
    ms = max(0, round(time * 1000))
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def _rows(cue: Cue) -> list[str]:
    return [row for row in map(clean, cue.text.split("\n")) if row]


def _srt_row(row: str) -> str:
    """SRT has no escapes: only what a reader would take for a tag, an entity or a time is written as an entity."""
    if srt_plain(row) != row:
        row = re.sub(r"&(?=#?\w+;)", "&amp;", row).replace("{\\", "&#123;\\")
        row = re.sub(r"<(?=/?[A-Za-z])", "&lt;", row)
    return row.replace("-->", "--&gt;")


def write_srt(cues: Sequence[Cue]) -> str:
    """SubRip, numbered from 1; cues without text are left out. Without cues the result is empty."""
    shown = [(cue, rows) for cue in cues if (rows := _rows(cue))]
    return "".join(
        f"{i}\n{_stamp(cue.start, ',')} --> {_stamp(cue.end, ',')}\n" + "\n".join(map(_srt_row, rows)) + "\n\n"
        for i, (cue, rows) in enumerate(shown, 1)
    )


def write_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT with a voice tag where the speaker is known and times inside a cue where its words' are; cues without text
    are left out."""
    blocks = ["WEBVTT\n"]
    for cue in cues:
        rows = _marked(cue) if cue.words else [html.escape(row, quote=False) for row in _rows(cue)]
        if rows:
            name = html.escape(clean(cue.speaker), quote=False)
            voice = f"<v {name}>" if name else ""
            blocks.append(f"{_stamp(cue.start, '.')} --> {_stamp(cue.end, '.')}\n{voice}" + "\n".join(rows) + "\n")
    return "\n".join(blocks)


def _marked(cue: Cue) -> list[str]:
    """The rows with the time of each word that begins later than what stands before it, as WebVTT wants them to rise."""
    words = iter(cue.words)
    last, rows = cue.start, list[str]()
    for row in _rows(cue):
        marked: list[str] = []
        for text in row.split():
            at = next(words).start
            stamp = f"<{_stamp(at, '.')}>" if last < at < cue.end else ""
            last = max(last, at)
            marked.append(stamp + html.escape(text, quote=False))
        rows.append(" ".join(marked))
    return rows


def write_ass(cues: Sequence[Cue], title: str) -> str:
    """Advanced SubStation Alpha, times in hundredths. Braces and backslashes become their full-width forms: no renderer
    agrees with another on how to escape them, and plain ones would be overrides."""
    head = (
        f"[Script Info]\nTitle: {clean(title)}\nScriptType: v4.00+\nWrapStyle: 0\nScaledBorderAndShadow: yes\n"
        "PlayResX: 1920\nPlayResY: 1080\n\n[V4+ Styles]\n"
        "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
        "Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, "
        "MarginL, MarginR, MarginV, Encoding\n"
        "Style: Default,Arial,60,&H00FFFFFF,&H000000FF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,80,80,60,1\n\n"
        "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    )
    events: list[str] = []
    for cue in cues:
        text = "\\N".join(row.translate(_ASS_TEXT) for row in _rows(cue))
        name = clean(cue.speaker.replace(",", " "))
        if text:
            events.append(f"Dialogue: 0,{_hundredths(cue.start)},{_hundredths(cue.end)},Default,{name},0,0,0,,{text}\n")
    return head + "".join(events)


def _hundredths(time: float) -> str:
    cs = max(0, (round(time * 1000) + 5) // 10)
    return f"{cs // 360_000}:{cs // 6000 % 60:02d}:{cs // 100 % 60:02d}.{cs % 100:02d}"
