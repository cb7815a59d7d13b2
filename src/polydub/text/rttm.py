"""Who speaks when as RTTM, the format of NIST's Rich Transcription evaluations: read and written.

A line has ten fields between blanks: SPEAKER, file, channel, start, duration, two that are <NA>, speaker, two more. Names
cannot hold blanks: they are written with underscores. Lines of other types and comments (";;") say nothing about turns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from polydub.errors import BadInput
from polydub.types import Turn, seconds

NONE = "<NA>"
LEAST_FIELDS = 8  # what follows the speaker's name is often left out
OTHER_TYPES = frozenset(  # RT-09 evaluation plan, appendix A
    {"SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB", "A/P"}
    | {"SPKR-INFO"}
)
LONGEST_S = 1e6  # later times are no film's


def write(file: str, turns: Iterable[Turn]) -> str:
    """The turns, in their order, of a recording named `file`. Speakers whose names differ only in blanks get a number."""
    turns = tuple(turns)
    names = _names([turn.speaker for turn in turns])
    word = _word(file)
    return "".join(
        f"SPEAKER {word} 1 {t.start:.3f} {t.duration:.3f} {NONE} {NONE} {names[t.speaker]} {NONE} {NONE}\n" for t in turns
    )


def _names(speakers: Sequence[str]) -> Mapping[str, str]:
    """A word for each name; no two are the same."""
    found: dict[str, str] = {}
    taken = {name for name in speakers if _word(name) == name}
    for name in dict.fromkeys(speakers):
        word = _word(name)
        number = 2
        while word != name and word in taken:
            word = f"{_word(name)}_{number}"
            number += 1
        taken.add(word)
        found[name] = word
    return found


def _word(text: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f]", "_", text) or NONE


def parse(content: bytes | str, source: str, recording: str = "") -> tuple[Turn, ...]:
    """The turns in order of time. Where a file tells of several recordings, those of the one named `recording` are taken.

    `source` is the file's name, for errors. Turns without length are left out. Raises: BadInput with the number of the line.
    """
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(_text(content, source).splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith(";;") or fields[0] in OTHER_TYPES:
            continue
        try:
            file, turn = _turn(fields)
        except ValueError as error:
            raise BadInput(
                f"{source}, line {number}: {error}", f"a line is: SPEAKER file 1 start duration {NONE} {NONE} name"
            ) from error
        found.setdefault(file, []).append(turn)
    if not found:
        raise BadInput(f"{source} holds no turn", "give an RTTM file with lines that begin with SPEAKER")
    return tuple(
        sorted((t for t in _of(found, source, recording) if t.end > t.start), key=lambda t: (t.start, t.end, t.speaker))
    )


def _text(content: bytes | str, source: str) -> str:
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(f"{source}, line {line}: it is not UTF-8 text", "convert it to UTF-8 first") from error


def _turn(fields: Sequence[str]) -> tuple[str, Turn]:
    if fields[0] != "SPEAKER":
        raise ValueError(f"{fields[0][:20]!r} is no type of line that RTTM has")
    if len(fields) < LEAST_FIELDS:
        raise ValueError(f"it has {len(fields)} fields, not {LEAST_FIELDS} to 10")
    start, length = _time(fields[3]), _time(fields[4])
    speaker = fields[7]
    if speaker == NONE:
        raise ValueError("nobody is named")
    return fields[1], Turn(seconds(start), seconds(start + length), speaker)


def _time(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST_S:
        raise ValueError(f"{text[:20]!r} is no time in seconds")
    return value


def _of(found: Mapping[str, list[Turn]], source: str, recording: str) -> list[Turn]:
    if len(found) == 1:
        return next(iter(found.values()))
    wanted = _word(recording)
    if wanted in found:
        return found[wanted]
    listed = ", ".join(sorted(found)[:5])
    raise BadInput(
        f"{source} tells of {len(found)} recordings, none of them {wanted!r}: {listed}", "keep the lines of one recording in it"
    )
