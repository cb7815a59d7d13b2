"""Mouths that move to the dub: where one can be moved, each stretch by itself, and one picture of all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from polydub.engines.registry import UNKNOWN
from polydub.errors import EngineFailed, Missing, UnreadableMedia
from polydub.listening import Choose
from polydub.runner import Run
from polydub.slowing import Footage
from polydub.spans import bridged
from polydub.speaking import Said
from polydub.stages import lipsync, listen
from polydub.types import RATE_HZ, Artifact, Notice, Source, Span, seconds
from polydub.wants import Wanted

NEITHER = "the lips stay as they are"


@dataclass(frozen=True)
class Lips:
    """A picture in which the mouths move. Attributes: source: a film of nothing but that picture."""

    picture: Artifact
    source: Source


def ready(run: Run, want: Wanted, choose: Choose) -> bool:
    """Whether mouths are to be moved, and what does that is here; if not, it is told.

    Raises, under --strict-plugins, what is missing; BadSettings and UnknownEngine for a wrong choice in any case.
    """
    if not want.picture.lip_sync:
        return False
    try:
        choose(run, {"lipsync": UNKNOWN, "faces": UNKNOWN})
    except (Missing, EngineFailed) as error:  # EngineFailed: more memory is needed than is free
        if want.picture.strict_plugins:
            raise
        run.note(Notice("lip-sync-missing", f"{NEITHER}: {error.message}" + (f" ({error.hint})" if error.hint else "")))
        return False
    return True


def lip_synced(run: Run, film: Footage, said: Said) -> Lips | None:
    """The film's picture with mouths that move to what is `said`; None when it stays as it is, which is told."""
    try:
        return _synced(run, film, said)
    except (EngineFailed, UnreadableMedia, Missing) as error:  # a dub with the old picture is better than none
        run.note(Notice("lip-sync-failed", f"{NEITHER}: {error.message}"))
        return None


def _synced(run: Run, film: Footage, said: Said) -> Lips | None:
    if not film.source.of("video"):
        run.note(Notice("no-picture", "there is no picture to move lips in"))
        return None
    picture = run.step(lipsync.survey, film.source)
    if picture.refused:
        run.note(Notice("lip-sync-picture", f"{NEITHER}: the picture cannot be changed, since {picture.refused}"))
        return None
    spoken = tuple(Span(p.start, seconds(p.start + p.duration)) for p in said.placed)
    speech = bridged(spoken, lipsync.PAUSE_S)
    seen = run.map(lipsync.look, run.step(lipsync.cells, picture, speech), picture)
    run.release("faces")
    plan = run.step(lipsync.plan, picture, seen, speech)
    moved = _moved(run, picture, plan, said)
    run.release("lipsync")
    if not moved:
        return None
    if not picture.joined:
        text = f"{picture.track.codec} pictures cannot be changed in part: the whole picture was encoded anew, as H.264"
        run.note(Notice("picture-encoded", text, "info"))
    parts = run.step(lipsync.parts, picture, moved)
    encoded = run.map(lipsync.encode, parts, picture)
    made = run.step(lipsync.join, picture, tuple(zip(parts, encoded, strict=True)))
    return Lips(made, run.step(listen.probe, made))


def _moved(run: Run, picture: lipsync.Picture, plan: lipsync.Plan, said: Said) -> tuple[lipsync.Moved, ...]:
    """Each stretch by itself: one that fails keeps its picture, is told, and is tried again by the next run."""
    begun = [
        run.start(lipsync.sync, stretch, run.start(lipsync.sound, soundings(stretch, said), stretch.span.duration), picture)
        for stretch in plan.stretches
    ]
    done: list[lipsync.Moved] = []
    failed: Counter[str] = Counter()
    for handle in begun:
        try:
            done.append(handle.result())
        except (EngineFailed, UnreadableMedia) as error:
            failed[error.message] += 1
    count = len(done) + failed.total() + sum(times for _, times in plan.left)
    if plan.left:
        reasons = ", ".join(f"{reason} in {times}" for reason, times in plan.left)
        left = sum(times for _, times in plan.left)
        run.note(Notice("lip-sync-left", f"in {left} of {count} stretches of speech {NEITHER}: {reasons}", "info"))
    for reason, times in sorted(failed.items()):
        run.note(Notice("lip-sync-failed", f"in {times} of {count} stretches of speech {NEITHER}: {reason}"))
    return tuple(done)


def soundings(stretch: lipsync.Stretch, said: Said) -> tuple[lipsync.Sounding, ...]:
    """The takes that are heard in a stretch, relative to its begin; so that it does not matter where in the film it is."""
    span = stretch.span
    near = [p for p in said.placed if Span(p.start, p.start + p.duration).overlap(span) > 0]
    return tuple(
        lipsync.Sounding(
            said.takes[p.id].sound, _samples(p.start - span.start), _samples(p.duration), said.takes[p.id].loudness
        )
        for p in sorted(near, key=lambda p: p.start)
    )


def _samples(time_s: float) -> int:
    return round(time_s * RATE_HZ)
