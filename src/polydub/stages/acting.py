"""How the original says each line, measured in its sound, and what of it a line of the dub takes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polydub.audio.prosody import Prosody, Usual
from polydub.stages.listen import sound_of
from polydub.types import PLAIN, Excerpt, Expression
from polydub.work import Work, stage


@stage("prosody", version=2)
def prosody(work: Work, excerpt: Excerpt) -> Prosody:
    """Pitch, its movement, loudness and spoken time of one line of the original; zeros where nothing is heard."""
    from polydub.audio import prosody as measuring

    return measuring.measure(sound_of(work, excerpt).samples[0])


@dataclass(frozen=True, slots=True)
class Acted:
    """Why a line is said as it is.

    Attributes: set_by_hand: a person set it on the line, and nothing else counts. marks: of its text, that count. heard: what
    the original measures; None = not measured. usual: of its speaker; None = not known. departure: of the original from what
    is usual, None = not sure. asked: for the speaker. said: all of it together.
    """

    said: Expression
    set_by_hand: bool = False
    marks: tuple[str, ...] = ()
    heard: Prosody | None = None
    usual: Usual | None = None
    departure: Expression | None = None
    asked: Expression = PLAIN


def facts(acted: Mapping[str, Acted]) -> dict[str, dict[str, Any]]:
    """What `debug/expressive/<id>.json` tells, by line id: units as in `Expression`, `Prosody` and `Usual`."""
    return {id_: asdict(one) for id_, one in acted.items()}
