"""How a film comes to sound: the dub laid over the film's own sound, at the right level, and the stems of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from polydub import listening
from polydub.audio import perspective
from polydub.listening import Ear, Listened
from polydub.runner import Handle, Run
from polydub.spans import bridged, outside
from polydub.stages import deliver, levelling, listen, nonspeech, render, separate, survey
from polydub.types import BLOCK, Artifact, Line, Notice, Placement, Span, Take, seconds
from polydub.wants import Mixing, Wanted

ROUNDS = 3  # of measuring and setting the gain
TRUSTED_DB = 6.0  # more gain, which changes the ducking a little, is measured again
LOST_LU = 6.0  # more than any encoder takes away
UNHEARD_S = 1.0  # so much of a line without detected speech is ducked instead of separated


@dataclass(frozen=True)
class Dubbed:
    """The takes and where they lie in the film; `louder`: by line id, dB that they are said louder than their scene."""

    placed: tuple[Placement, ...]
    takes: Mapping[str, Take]
    louder: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Sounds:
    """What is rendered.

    Attributes: ducked_s: seconds in which the source is only lowered. levels: what the source measured. speech: where the
    dub speaks. goal: of the programme's loudness; aim: the gain that brings it there. coded_lu: what encoding takes away.
    kept_s: seconds of laughs, songs and the like of the original that stay, where its dialogue was taken out.
    """

    cut: tuple[render.Block, ...]
    ducked_s: float
    levels: levelling.SourceLevels
    speech: tuple[Span, ...]
    goal: levelling.Goal
    aim: levelling.Aim
    coded_lu: float = levelling.CODED_LU
    kept_s: float = 0.0


def lay(run: Run, listened: Listened, lines: Sequence[Line], dub: Dubbed, want: Wanted) -> Sounds:
    """The dub laid over the film's own sound, at the levels of the source's dialogue and of the wanted programme."""
    talk = tuple(Span(line.start, line.end) for line in lines)
    said = tuple(Span(s.start, s.end) for s in listened.given.script.segments if s.kind == "speech")
    heard, ear = listened.heard, listened.ear
    separated = listened.stems.result() if listened.stems else ()
    quiet = run.map(survey.survey, survey.pauses(heard.sound, ear.far.spans)) if ear and separated else ()
    levels = run.step(levelling.source_levels, heard, said, tuple(s.energies for s in separated), quiet)
    if levels.before.integrated < -70:
        run.note(Notice("silent-source", "the film's own sound is silent: nothing but the dub will be heard"))
    laid = render.layings(dub.placed, dub.takes, levels, dub.louder)
    bed = bare(want.mixing)
    if ear and levels.separated:
        bed = _separated_bed(run, ear, separated, talk, replace(bed, room=levels.room, tones=survey.tones(quiet)))
        bed = replace(bed, nonspeech=_nonspeech(run, listened, talk, levels, want.mixing))
    if want.mixing.perspective:
        bed = replace(bed, perspective=_room(run, heard, bed))
    cut = tuple(render.blocks(heard.sound, laid, talk, bed))
    speech = bridged([Span(p.start, seconds(p.start + p.duration)) for p in dub.placed], 0.0)
    goal = levelling.goal(want.mixing, speech, heard.sound.duration)
    coded_lu = run.step(levelling.coding_loss, laid, run.previous("coded"))
    first = run.step(levelling.first_gain, laid, levels.dialogue, goal.lufs, run.previous("aim"))
    ducked_s = sum(span.duration for span in (talk if bed.dialogue is None else bed.could_not))
    sounds = Sounds(cut, seconds(ducked_s), levels, speech, goal, first, coded_lu, bed.nonspeech.seconds)
    return levelled(run, sounds, want.mixing)


def bare(how: Mixing) -> render.Bedding:
    """The source's own sound, which steps back as a whole."""
    return render.Bedding(how.ducking_db, attack_s=how.attack_s, release_s=how.release_s)


def _separated_bed(
    run: Run, ear: Ear, separated: Sequence[separate.Separated], talk: Sequence[Span], bed: render.Bedding
) -> render.Bedding:
    """`bed` without the dialogue, as far as that could be taken out of it."""
    left = listening.note_unseparated(run, ear, separated)
    unheard = outside(talk, ear.far.spans, UNHEARD_S)  # nobody was found to speak there: the original may yet be heard
    dialogue = tuple(s.dialogue for s in separated)
    taken = survey.taken(ear.heard.sound, dialogue)
    bed = replace(bed, dialogue=dialogue, could_not=(*left, *unheard), residue_db=run.map(survey.residue, taken))
    return bed


def _nonspeech(
    run: Run, listened: Listened, talk: Sequence[Span], levels: levelling.SourceLevels, want: Mixing
) -> nonspeech.Nonspeech:
    """Where dialogue that nobody dubs is left in the sound."""
    if not want.keep_nonspeech:
        return nonspeech.Nonspeech(gone=(Span(0.0, listened.heard.sound.duration),))
    ear, given = listened.ear, listened.given
    separated = listened.stems.result() if listened.stems else ()
    close, far = (ear.close.spans, ear.far.spans) if ear else ((), ())
    energies = tuple(s.energies for s in separated)
    lines, segments = tuple(sorted(talk, key=lambda s: (s.start, s.end))), given.script.segments
    heard = nonspeech.Heard(lines, segments, close, far, energies, not given.written, levels.dialogue)
    return run.step(nonspeech.nonspeech, heard)


def _room(run: Run, heard: listen.Heard, bed: render.Bedding) -> perspective.Room | None:
    """The room in which the original speaks, from its separated dialogue; None where it is dry, or nothing could be told."""
    room = None
    if bed.dialogue:
        room = perspective.room(run.map(survey.room_decay, survey.taken(heard.sound, bed.dialogue)))
    if room is None:
        text = "the original's room is dry or could not be heard, so the dub is left as dry as it is"
        run.note(Notice("perspective-unknown", text, "info"))
    return room


def levelled(run: Run, sounds: Sounds, want: Mixing) -> Sounds:
    """With the gain that brings the limited programme to its goal; near misses are left, so that an edit keeps the gain."""
    aim, lufs = sounds.aim, round(sounds.goal.lufs + sounds.coded_lu, 2)
    for _ in range(ROUNDS):
        measured = run.map(render.measure_block, render.masters(sounds.cut, aim.tried_db, want))
        aim = run.step(levelling.set_gain, measured, aim, lufs, sounds.goal.dialogue)
        if abs(aim.gain_db - aim.tried_db) <= TRUSTED_DB:
            break
        aim = replace(aim, tried_db=aim.gain_db, bound=False)
    return replace(sounds, aim=aim)


@dataclass(frozen=True)
class Mastered:
    """The finished blocks, the gain that they have, what encoding takes away, and what they measure together, decoded."""

    rendered: tuple[render.Rendered, ...]
    aim: levelling.Aim
    coded_lu: float
    after: levelling.Levels


def mastered(run: Run, sounds: Sounds, want: Mixing) -> Mastered:
    """Renders all blocks; where encoding takes much away, as from rain or applause, twice, and the next run knows."""
    goal = sounds.goal
    made = _rendered(run, sounds, want)
    missed = round(goal.lufs - goal.reached(made.after), 2)
    if levelling.NEAR_LU < abs(missed) < LOST_LU and not sounds.aim.bound:
        louder = replace(sounds.aim, gain_db=round(sounds.aim.gain_db + missed, 2))
        made = _rendered(run, replace(sounds, aim=louder, coded_lu=round(sounds.coded_lu + missed, 2)), want)
    found = goal.reached(made.after)
    if found > -70 and abs(found - goal.lufs) > levelling.NEAR_LU:
        what = "dialogue" if goal.dialogue else "programme"
        why = (
            "its peaks allow no more under the true-peak limit"
            if sounds.aim.bound
            else "encoding changes its loudness from place to place"
        )
        text = f"the {what} ends at {found:.1f} LUFS, not {goal.lufs:.1f}: {why}"
        run.note(Notice("loudness-missed", text))
    return made


def _rendered(run: Run, sounds: Sounds, want: Mixing) -> Mastered:
    rendered = run.map(render.mix_block, render.masters(sounds.cut, sounds.aim.gain_db, want))
    peak = max((r.true_peak for r in rendered), default=0.0)
    after = run.step(levelling.programme, tuple(r.energies for r in rendered), peak, sounds.speech)
    return Mastered(rendered, sounds.aim, sounds.coded_lu, after)


def start_stems(run: Run, rendered: tuple[render.Rendered, ...], target: str) -> dict[str, Handle[Path]]:
    """The full-length stems; dub and background sum to the mix."""
    parts: dict[str, tuple[Artifact, ...]] = {
        "dub": tuple(r.dub for r in rendered),
        "background": tuple(r.background for r in rendered),
        "mix": tuple(r.mix for r in rendered),
    }
    folder = run.project / "stems"
    return {name: run.deliver(deliver.stem, folder / f"{name}.{target}.flac", files) for name, files in parts.items()}


def start_dialogue(run: Run, listened: Listened) -> dict[str, Handle[Path]]:
    """The source's dialogue as a full-length stem, where it was taken out of the sound."""
    separated = listened.stems.result() if listened.stems else ()
    sound = listened.heard.sound
    path = run.project / "stems" / "dialogue.flac"
    if not any(block.dialogue for block in separated):
        path.unlink(missing_ok=True)  # of an earlier run that separated
        return {}
    blocks = tuple(
        block.dialogue or run.step(deliver.silence, sound.channels, min(BLOCK, sound.frames - n * BLOCK))
        for n, block in enumerate(separated)
    )
    return {"dialogue": run.deliver(deliver.stem, path, blocks)}


def mix(run: Run, video: Path, speech: Path, target: Path, want: Wanted) -> levelling.Levels:
    """Lays a finished speech track over a video's own sound, which steps back under it; the film goes to `target`."""
    source, voice = (run.step(listen.probe, run.adopt(path)) for path in (video, speech))
    track, spoken = listen.audio_track(source, want.audio_track), listen.audio_track(voice, None)
    spoken = replace(spoken, layout="", channels=min(spoken.channels, 2))  # speech in surround becomes stereo
    sounds = run.start(listen.extract, source, track), run.start(listen.extract, voice, spoken)
    heard, said = (sound.result() for sound in sounds)
    laid, talk = run.step(render.speech_track, said, heard.sound.frames)
    cut = tuple(render.blocks(heard.sound, laid, talk, bare(want.mixing)))
    goal = levelling.goal(want.mixing, talk, heard.sound.duration)
    levels = run.step(levelling.source_levels, heard, talk)
    aim = levelling.Aim(0.0, goal.lufs, 0.0)
    done = mastered(run, levelled(run, Sounds(cut, 0.0, levels, talk, goal, aim), want.mixing), want.mixing)
    dub = deliver.Voiceover(want.target, tuple(r.aac for r in done.rendered))
    run.deliver(deliver.mux, target, deliver.Film(source, track, (dub,), want.delivery.container), ()).result()
    return done.after


def into(want: Wanted, container: str) -> Wanted:
    """`want` with another container."""
    return replace(want, delivery=replace(want.delivery, container="mp4" if container == "mp4" else "mkv"))
