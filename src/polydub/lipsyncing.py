"""Mouths that move to the dub: where one can be moved, each stretch by itself, and one picture of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polydub.engines.registry import UNKNOWN
from polydub.errors import EngineFailed, Missing, UnreadableMedia
from polydub.listening import Choose
from polydub.runner import Run
from polydub.slowing import Footage
from polydub.spans import bridged
from polydub.speaking import Said
from polydub.stages import deliver, levelling, lipsync, listen, render
from polydub.types import BLOCK, RATE_HZ, Artifact, Notice, Sound, Source, Span, seconds
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
        find(run, choose)
    except (Missing, EngineFailed) as error:  # EngineFailed: more memory is needed than is free
        if want.picture.strict_plugins:
            raise
        run.note(Notice("lip-sync-missing", f"{NEITHER}: {error.message}" + (f" ({error.hint})" if error.hint else "")))
        return False
    return True


def find(run: Run, choose: Choose) -> None:
    """Chooses what moves mouths and what finds them. Raises what is missing; EngineFailed where memory is."""
    choose(run, {"lipsync": UNKNOWN, "faces": UNKNOWN})


def lip_synced(run: Run, film: Footage, said: Said) -> Lips | None:
    """The film's picture with mouths that move to what is `said`; None when it stays as it is, which is told."""
    spoken = tuple(Span(p.start, seconds(p.start + p.duration)) for p in said.placed)
    sounds = tuple(
        lipsync.Sounding(said.takes[p.id].sound, _samples(p.start), _samples(p.duration), said.takes[p.id].loudness)
        for p in sorted(said.placed, key=lambda p: p.start)
    )
    try:
        return _synced(run, film.source, Speech(bridged(spoken, lipsync.PAUSE_S), sounds))
    except (EngineFailed, UnreadableMedia, Missing) as error:  # a dub with the old picture is better than none
        run.note(Notice("lip-sync-failed", f"{NEITHER}: {error.message}"))
        return None


def lip_sync(run: Run, video: Path, speech: Path, target: Path, want: Wanted) -> None:
    """The video with mouths that move to a finished speech track, which is its first sound, goes to `target`.

    Raises: EngineFailed where no mouth was moved; what the steps raise.
    """
    source, voice = (run.step(listen.probe, run.adopt(path)) for path in (video, speech))
    own = source.of("audio")
    spoken = listen.audio_track(voice, None)
    said = run.start(listen.extract, voice, replace(spoken, layout="", channels=min(spoken.channels, 2))).result()
    frames = round(source.duration * RATE_HZ)
    laid, audible = run.step(render.speech_track, said, frames)
    loudness = run.step(levelling.source_levels, said, audible).before.integrated
    sounds = tuple(lipsync.Sounding(x.sound, x.start, x.frames, loudness) for x in laid)
    moved = _synced(run, source, Speech(bridged(audible, lipsync.PAUSE_S), sounds))
    if moved is None:
        raise EngineFailed("no mouth was moved", "see the notices above; `polydub engines test NAME` tries an engine")
    dub = deliver.Voiceover(want.target, _encoded(run, laid, frames, want))
    film = deliver.Film(source, own[0] if own else None, (dub,), want.delivery.container, picture=moved.picture)
    run.deliver(deliver.mux, target, film, ()).result()


def _encoded(run: Run, laid: Sequence[render.Laying], frames: int, want: Wanted) -> tuple[Artifact, ...]:
    """What is laid, and nothing else, as it is, in packets."""
    channels = max((x.channels for x in laid), default=1)
    lengths = [min(BLOCK, frames - at) for at in range(0, frames, BLOCK)]
    silent = Sound(tuple(run.step(deliver.silence, channels, length) for length in lengths), channels, frames)
    cut = tuple(render.blocks(silent, laid, (), render.Bedding(0.0)))
    return tuple(block.aac for block in run.map(render.mix_block, render.masters(cut, 0.0, want.mixing)))


@dataclass(frozen=True)
class Speech:
    """What mouths move to: when somebody speaks, and what is heard then, on the film's clock."""

    spans: tuple[Span, ...]
    sounds: tuple[lipsync.Sounding, ...]


def _synced(run: Run, source: Source, speech: Speech) -> Lips | None:
    if not source.of("video"):
        run.note(Notice("no-picture", "there is no picture to move lips in"))
        return None
    picture = run.step(lipsync.survey, source)
    if picture.refused:
        run.note(Notice("lip-sync-picture", f"{NEITHER}: the picture cannot be changed, since {picture.refused}"))
        return None
    seen = run.map(lipsync.look, run.step(lipsync.cells, picture, speech.spans), picture)
    run.release("faces")
    plan = run.step(lipsync.plan, picture, seen, speech.spans)
    moved = _moved(run, picture, plan, speech)
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


def _moved(run: Run, picture: lipsync.Picture, plan: lipsync.Plan, speech: Speech) -> tuple[lipsync.Moved, ...]:
    """Each stretch by itself: one that fails keeps its picture, is told, and is tried again by the next run."""
    begun = [
        run.start(lipsync.sync, stretch, run.start(lipsync.sound, soundings(stretch, speech), stretch.span.duration), picture)
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


def soundings(stretch: lipsync.Stretch, speech: Speech) -> tuple[lipsync.Sounding, ...]:
    """What is heard in a stretch, relative to its begin; so that it does not matter where in the film it is."""
    first, last = _samples(stretch.span.start), _samples(stretch.span.end)
    near = (x for x in speech.sounds if x.start < last and x.start + x.frames > first)
    return tuple(replace(x, start=x.start - first) for x in near)


def _samples(time_s: float) -> int:
    return round(time_s * RATE_HZ)
