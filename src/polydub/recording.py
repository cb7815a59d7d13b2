"""Takes as they are wanted: what is doubtful is spoken again, the best try is kept, and what stays doubtful is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from polydub import languages
from polydub.errors import BadEngineOutput
from polydub.runner import Run
from polydub.stages import speak
from polydub.types import Artifact, Notice, Part, Take

Check = Literal["off", "basic", "recognise"]
MISHEARD = 0.5  # word errors / words from which a take is doubtful; recognisers themselves err in up to a third of the words
FEW_NOTICES = 5  # told line by line; more become one sentence


@dataclass(frozen=True, slots=True)
class _Try:
    """A take, what is wrong with it and how much of it was not understood."""

    take: Take
    doubts: tuple[str, ...]
    error: float = 0.0

    @property
    def badness(self) -> tuple[int, float]:
        """The less, the better."""
        return len(self.doubts), self.error


class Booth:
    """Where parts are spoken. `check`: how takes are looked at: not at all, by their sound, by a recogniser besides."""

    def __init__(self, run: Run, check: Check) -> None:
        self._run, self._check = run, check
        self._doubts: dict[Artifact, tuple[str, ...]] = {}

    def record(self, parts: Sequence[Part], lines: Sequence[str]) -> tuple[Take, ...]:
        """A take of each part, for the line of that id.

        A doubtful one is spoken up to TRIES times more, where the engine does not say everything the same way each time.
        Raises: what the engine raises; BadEngineOutput for NaN and silence.
        """
        info = self._run.tools["tts"].engine.info
        parts = [speak.acted(part, info.features) for part in parts]
        found = self._tries(parts, lines)
        varies = "seed" in info.features or not info.deterministic
        for attempt in range(1, speak.TRIES + 1) if varies else ():
            bad = [n for n, one in enumerate(found) if one.doubts]
            again = [replace(parts[n], seed=speak.other_seed(parts[n].seed, attempt)) for n in bad]
            for n, other in zip(bad, self._others(again, [lines[n] for n in bad]), strict=True):
                if other is not None:
                    found[n] = min(found[n], other, key=lambda one: one.badness)
        self._doubts.update({one.take.sound: one.doubts for one in found if one.doubts})
        return tuple(one.take for one in found)

    def _others(self, parts: Sequence[Part], lines: Sequence[str]) -> Sequence[_Try | None]:
        """As `_tries`; None for what is worse than doubtful: what there is stays, and is told."""
        try:
            return self._tries(parts, lines) if parts else []
        except BadEngineOutput:
            if len(parts) == 1:
                return [None]
        return [other for part, line in zip(parts, lines, strict=True) for other in self._others([part], [line])]

    def _tries(self, parts: Sequence[Part], lines: Sequence[str]) -> list[_Try]:
        recorded = self._run.map(speak.synthesize, parts, lines=lines)
        if self._check == "off":
            return [_Try(one.take, ()) for one in recorded]
        if self._check == "basic" or not self._can_listen(parts):
            return [_Try(one.take, one.doubts) for one in recorded]
        said = [speak.Hearing(one.take, part.text, part.language) for one, part in zip(recorded, parts, strict=True)]
        errors = self._run.map(speak.hear_take, said, lines=lines)
        return [
            _Try(one.take, (*one.doubts, *(("misheard",) if error > MISHEARD else ())), error)
            for one, error in zip(recorded, errors, strict=True)
        ]

    def _can_listen(self, parts: Sequence[Part]) -> bool:
        """Whether there is a recogniser that understands all of it; that there is none is told."""
        tool = self._run.tools.get("asr")
        known = tool.engine.languages(tool.options) if tool else frozenset[str]()
        lacking = sorted(
            {p.language for p in parts if known is not None and languages.nearest(p.language, sorted(known)) is None}
        )
        if lacking:
            text = f"takes in {', '.join(lacking)} were not listened to: no recogniser here understands that"
            self._run.note(Notice("takes-not-heard", text))
        return not lacking

    def doubtful(self, takes: Mapping[str, Take]) -> Iterator[Notice]:
        """What should be listened to of the takes that are used, by id of phrase, such as "7.2"."""
        found: dict[str, tuple[str, ...]] = {}
        for id_, take in takes.items():
            for doubt in self._doubts.get(take.sound, ()):
                line = id_.partition(".")[0]
                found[line] = tuple(dict.fromkeys((*found.get(line, ()), doubt)))
        if len(found) > FEW_NOTICES:
            first = ", ".join(list(found)[:FEW_NOTICES])
            kinds = "; ".join(speak.DOUBTS[d] for d in speak.DOUBTS if any(d in told for told in found.values()))
            yield Notice("doubtful-take", f"{len(found)} lines (such as {first}) have a take that {kinds}: listen to them")
            return
        for line, told in found.items():
            reasons = " and ".join(speak.DOUBTS[doubt] for doubt in told)
            yield Notice("doubtful-take", f"the take of line {line} {reasons}: listen to it", line=line)
