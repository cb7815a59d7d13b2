"""How loud people talk, scene by scene: a whispered scene is dubbed softly, a shouted one loudly.

A scene is a stretch of dialogue between long pauses. Levels are computed from stored energies of 100 ms, of the
separated dialogue where there is one, otherwise of the whole sound. Importing this costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from polydub.spans import bridged
from polydub.types import Span, seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAUSE_S = 4.0  # a longer pause in the talk ends a scene
LONGEST_S = 60.0  # a longer scene is cut at its largest pause
ENOUGH_S = 3.0  # a scene with less talk leans on its neighbours
LIMIT_LU = 8.0  # no scene is farther from the film's dialogue
SILENT_LUFS = -70.0  # what is below holds no talk
LOST_LU = 10.0  # separated dialogue so far below the estimate from the whole sound was not separated
MORE_LU = 3.0  # or so far above


@dataclass(frozen=True, slots=True)
class SceneLevel(Span):
    """A scene, and how loud people talk in it: LUFS.

    Attributes: confidence: 0 to 1, the share of the level that was measured in this scene; the rest is its neighbours'.
    """

    lufs: float = 0.0
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class TalkLevels:
    """How loud people talk: in the whole film (LUFS), and scene by scene, in order of time.

    Attributes: separated: the film's level is that of the separated dialogue.
    """

    film: float
    scenes: tuple[SceneLevel, ...]
    separated: bool


def scenes(talk: Sequence[Span]) -> tuple[Span, ...]:
    """Stretches of dialogue between pauses of PAUSE_S, cut at the largest pause while longer than LONGEST_S.

    A talk without pauses is not cut. No talk, no scenes.
    """
    spans = bridged(talk, 0.0)
    made: list[Span] = []
    groups: list[Sequence[Span]] = [spans] if spans else []
    while groups:
        group = groups.pop()
        pauses = [after.start - before.end for before, after in pairwise(group)]
        length = group[-1].end - group[0].start
        largest = max(pauses, default=0.0)
        if largest >= PAUSE_S or (length > LONGEST_S and pauses):
            cut = pauses.index(largest) + 1
            groups += [group[cut:], group[:cut]]
        else:
            made.append(Span(group[0].start, group[-1].end))
    return tuple(made)


def talk_levels(cells: NDArray[np.float64], talk: Sequence[Span], dialogue: NDArray[np.float64] | None = None) -> TalkLevels:
    """Levels of the talk in a film from its K-weighted energies (100 ms each, sums as `loudness.join` gives them).

    `dialogue` are those of the separated dialogue; they count where they are plausible beside the whole sound's. A scene
    without talk that can be heard takes its neighbours' level, or the film's. A silent film is at loudness.SILENT_LUFS.
    """
    film, separated = _level(cells, dialogue, talk)
    found = scenes(talk)
    measured = [_scene(cells, dialogue, scene, talk) for scene in found]
    made: list[SceneLevel] = []
    for number, scene in enumerate(found):
        own, confidence = measured[number]
        beside = [measured[n] for n in (number - 1, number + 1) if 0 <= n < len(found)]
        weight = sum(share for _, share in beside)
        around = sum(level * share for level, share in beside) / weight if weight else film
        level = confidence * own + (1 - confidence) * around
        level = min(max(level, film - LIMIT_LU), film + LIMIT_LU)
        made.append(SceneLevel(scene.start, scene.end, round(level, 1), round(confidence, 2)))
    return TalkLevels(round(film, 2), tuple(made), separated)


def level_at(levels: Sequence[SceneLevel], time: float) -> float:
    """LUFS of the scene at `time`, or of the nearest one. `levels` are in order of time, at least one."""
    after = bisect_right(levels, time, key=lambda scene: scene.start)
    near = levels[max(0, after - 1) : after + 1]
    return min(near, key=lambda scene: max(scene.start - time, time - scene.end)).lufs


def _scene(
    cells: NDArray[np.float64], dialogue: NDArray[np.float64] | None, scene: Span, talk: Sequence[Span]
) -> tuple[float, float]:
    """Level of one scene, measured with the pauses around it, and how far it can be trusted: 0 to 1."""
    first, last = max(0, int((scene.start - PAUSE_S) * 10)), int((scene.end + PAUSE_S) * 10) + 1
    inside = [Span(s.start - first / 10, s.end - first / 10) for s in talk if s.end > scene.start and s.start < scene.end]
    level, _ = _level(cells[first:last], None if dialogue is None else dialogue[first:last], inside)
    spoken = sum(seconds(span.duration) for span in bridged(inside, 0.0))
    return level, 0.0 if level <= SILENT_LUFS else min(1.0, spoken / ENOUGH_S)


def _level(cells: NDArray[np.float64], dialogue: NDArray[np.float64] | None, talk: Sequence[Span]) -> tuple[float, bool]:
    """LUFS of the talk, and whether it comes from the separated dialogue."""
    from polydub.audio import loudness

    whole = loudness.dialogue_level(cells, talk).dialogue
    if dialogue is not None:
        alone = loudness.dialogue_level(dialogue, talk).dialogue
        if whole - LOST_LU <= alone <= whole + MORE_LU and alone > SILENT_LUFS:
            return alone, True
    return whole, False
