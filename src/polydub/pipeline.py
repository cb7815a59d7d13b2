"""The story of a dub: an ordinary function in which every call is done once and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polydub import languages, listening
from polydub.errors import BadSettings, NoSpeech
from polydub.listening import Choose, Listened
from polydub.matching import match_voices
from polydub.runner import Handle, Run
from polydub.stages import deliver, levelling, listen, match, render, speak, subtitling, survey, translate
from polydub.types import (
    BLOCK,
    Artifact,
    Casting,
    Line,
    Notice,
    Placement,
    Script,
    Segment,
    Source,
    Span,
    Track,
    Turn,
    outside,
    seconds,
)
from polydub.wants import Wanted

UNHEARD_S = 1.0  # so much of a line without detected speech is ducked instead of separated


@dataclass(frozen=True)
class Result:
    """What a dub has produced; the report and the project's files are written from it."""

    source: Source
    track: Track
    script: Script
    lines: tuple[Line, ...]
    cast: Cast
    placed: tuple[Placement, ...]
    listened: Listened
    sounds: Sounds
    after: levelling.Levels
    dub_peaks: tuple[float, ...]
    subtitles: tuple[subtitling.SubtitleFile, ...]
    film: Path
    stems: Mapping[str, Path]


@dataclass(frozen=True)
class Cast:
    """The voices, and how each was found."""

    casting: Casting
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class Dubbed:
    """The takes and where they lie in the film."""

    placed: tuple[Placement, ...]
    takes: Mapping[str, speak.Take]


@dataclass(frozen=True)
class Sounds:
    """What is rendered: blocks, seconds in which the source is only lowered, the programme's gain, what the source measured."""

    cut: tuple[render.Block, ...]
    ducked_s: float
    gain_db: float
    levels: levelling.SourceLevels


Subtitles = tuple[subtitling.SubtitleFile, ...]


def dub(run: Run, video: Path, want: Wanted, choose: Choose) -> Result:
    """Dub one film into one language. Finished calls are remembered; only what changed is done again."""
    source = run.step(listen.probe, run.adopt(video))
    track = listen.audio_track(source, want.audio_track)
    extracted = run.start(listen.extract, source, track)
    read = run.step(translate.read_script, source, want.texts, want.source_language, want.target)
    read = translate.in_language_of(read, track)
    choose(run, {"tts": want.target})
    choose(run, listening.kinds(read, want, matching=matches(run, want)))
    listened = listening.hear(run, extracted, read, want)
    spans = tuple(Span(s.start, s.end) for s in listened.given.script.segments)
    numbering = run.step(translate.number, spans, run.previous("ids"))
    given = translate.renumbered(listened.given, numbering.ids)
    lines = run.edited("lines", write_lines(run, given, want, choose))

    to_speak = [line for line in lines if line.text.strip()]
    if not to_speak:
        raise NoSpeech("there is nothing to say: no line has a text", "give --transcript or --translation with text in it")
    if listened.stems:  # a failure is told before anything is spoken, and the engine's memory is free again
        listened.stems.result()
        run.release("separation")
    cast = cast_voices(run, listened, given.script, want)
    casting = cast.casting
    ids = [x.id for x in to_speak]
    natural = dict(zip(ids, run.map(speak.synthesize, [speak.part(x, casting) for x in to_speak], lines=ids), strict=True))
    spoken = speak.spoken(to_speak, natural)
    placed = run.step(speak.fit, spoken, source.duration, want.timing, run.previous("placed"))
    takes = shaped_takes(run, {x.id: x for x in to_speak}, casting, natural, placed)
    run.release("tts")

    sounds = lay(run, listened, lines, Dubbed(placed, takes), want)
    rendered, after = mastered(run, sounds.cut, sounds.gain_db, want)
    stems = start_stems(run, rendered, want.target) | start_dialogue(run, listened)
    fps = next((t.fps for t in source.of("video")), 0.0)
    said = subtitling.said_in_dub(placed, {line.id: line.text for line in lines})
    subtitles = write_subtitles(run, given.script, said, want, fps)
    whole = deliver.Film(source, track, want.target, want.delivery.container, given.script.language)
    film = start_film(run, whole, rendered, subtitles)
    peaks = tuple(peak for r in rendered for peak in r.dub_peaks)
    return Result(source, track, given.script, lines, cast, placed, listened, sounds, after, peaks,
                  subtitles, film.result(), {name: handle.result() for name, handle in stems.items()})  # fmt: skip


def write_lines(run: Run, given: translate.Given, want: Wanted, choose: Choose) -> tuple[Line, ...]:
    """The lines to be spoken; those without a given translation are translated."""
    missing = untranslated(given)
    if not missing or same_language(given, want):
        return translate.write_lines(given, [s.text for s in missing], want.target)
    choose(run, {"mt": language_pair(given, want)})
    info = run.tools["mt"].engine.info
    batches = translate.batches(given, given.script.language, want.target, info.batch, "context" in info.features)
    answers = run.map(translate.translate, batches)
    run.release("mt")
    return translate.write_lines(given, [text for answer in answers for text in answer], want.target)


def matches(run: Run, want: Wanted) -> bool:
    """Whether voices are matched to the speakers: it is wished, and the speech engine has a choice of voices."""
    return want.voice_mode == "match" and "stock" in run.tools["tts"].engine.info.features


def cast_voices(run: Run, listened: Listened, script: Script, want: Wanted) -> Cast:
    """A voice for each speaker: the wished one, else one that is matched to them, else the engine's next."""
    wishes = {"*": "", **want.voices} if want.voice_mode == "single" else want.voices
    voices = dict(run.step(speak.cast, script.speakers, want.target, wishes).voices)
    wished = {s.id for s in script.speakers if s.id in want.voices or "*" in want.voices}
    reasons = {name: "wished" if name in wished else f"by --voice-mode {want.voice_mode}" for name in voices}
    if not matches(run, want) or listened.ear is None:
        return Cast(Casting(voices), reasons)
    turns = listened.turns or tuple(Turn(s.start, s.end, s.speaker) for s in script.segments)
    names = [s.id for s in script.speakers if s.id not in wished]
    portraits = run.map(match.portray, [match.best_excerpts(turns, listened.ear.close, name) for name in names])
    found = match_voices(
        run, dict(zip(names, portraits, strict=True)), want.target, {name: voices[name] for name in sorted(wished)}
    )
    run.release("embedding")
    voices.update({name: one.voice for name, one in found.items()})
    reasons.update({name: one.reason for name, one in found.items()})
    return Cast(Casting(voices), reasons)


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
    laid = render.layings(dub.placed, dub.takes, levels)
    speech = [*talk, *(Span(p.start, p.start + p.duration) for p in dub.placed)]  # the original stays down under a pause
    bed = render.Bedding(want.mixing.ducking_db)
    if ear and levels.separated:
        left = listening.note_unseparated(run, ear, separated)
        unheard = outside(talk, ear.far.spans, UNHEARD_S)  # nobody was found to speak there: the original may yet be heard
        bed = replace(bed, dialogue=tuple(s.dialogue for s in separated), could_not=(*left, *unheard), room=levels.room)
    cut = tuple(render.blocks(heard.sound, laid, speech, bed))
    first_db = run.step(levelling.first_gain, laid, levels.dialogue, want.mixing.target_lufs, run.previous("gain"))
    gain_db = programme_gain(run, cut, first_db, want)
    run.record("gain", gain_db)
    ducked_s = sum(span.duration for span in (talk if bed.dialogue is None else bed.could_not))
    return Sounds(cut, seconds(ducked_s), gain_db, levels)


def untranslated(given: translate.Given) -> list[Segment]:
    """What is said and has no target text yet."""
    return [s for s in given.script.segments if s.kind == "speech" and s.text and s.id not in given.texts]


def same_language(given: translate.Given, want: Wanted) -> bool:
    """Whether the source's own text is to be spoken."""
    return not want.translate or languages.matches(given.script.language, want.target)


def language_pair(given: translate.Given, want: Wanted) -> str:
    """What the translator needs, "en>es". Raises BadSettings when nobody told which language is spoken."""
    if given.script.language == "und":
        raise BadSettings("nobody said which language is spoken", "say so with --from, for example --from en")
    return f"{given.script.language}>{want.target}"


def shaped_takes(
    run: Run, lines: Mapping[str, Line], casting: Casting, natural: Mapping[str, speak.Take], placed: tuple[Placement, ...]
) -> dict[str, speak.Take]:
    """Takes of exactly the placed lengths: the engine is asked for its own rate first, the stretcher does the rest."""
    takes = dict(natural)
    features = run.tools["tts"].engine.info.features
    if "rate" in features:
        rates = {p.id: speak.engine_rate(p.rate) for p in placed}
        faster = [id_ for id_, rate in rates.items() if rate != 1.0]
        parts = [speak.part(lines[id_], casting, rates[id_]) for id_ in faster]
        takes.update(zip(faster, run.map(speak.synthesize, parts, lines=faster), strict=True))
    unfit = [p for p in placed if takes[p.id].duration != p.duration]
    stretched = run.map(speak.shape, [speak.Stretching(takes[p.id], p.duration) for p in unfit])
    return takes | {p.id: take for p, take in zip(unfit, stretched, strict=True)}


def programme_gain(run: Run, cut: tuple[render.Block, ...], gain_db: float, want: Wanted) -> float:
    """The gain in dB that brings the limited programme to its target; near misses are left, so that an edit keeps the gain."""
    missed: list[tuple[float, float]] = []
    for _ in range(5):
        measured = run.map(render.measure_block, render.masters(cut, gain_db, want.mixing))
        near = levelling.AIM_LU if missed else levelling.KEEP_LU
        missing = run.step(levelling.correction, measured, want.mixing.target_lufs, near)
        if missing == 0:
            break
        missed.append((gain_db, missing))
        gain_db = round(gain_db + missing / yielded(missed), 2)
    return gain_db


def yielded(missed: Sequence[tuple[float, float]]) -> float:
    """How much louder the programme becomes for each dB of gain, from the last two tries: a limiter takes some of it away."""
    if len(missed) < 2 or missed[-1][0] == missed[-2][0]:
        return 1.0
    (g0, m0), (g1, m1) = missed[-2:]
    return min(1.0, max(0.25, (m0 - m1) / (g1 - g0)))


def mastered(
    run: Run, cut: tuple[render.Block, ...], gain_db: float, want: Wanted
) -> tuple[tuple[render.Rendered, ...], levelling.Levels]:
    """The finished blocks and what they measure together."""
    rendered = run.map(render.mix_block, render.masters(cut, gain_db, want.mixing))
    peak = max((r.true_peak for r in rendered), default=0.0)
    after = run.step(levelling.programme, tuple(r.energies for r in rendered), peak)
    if after.integrated > -70 and abs(after.integrated - want.mixing.target_lufs) > 0.5:
        text = f"the programme ends at {after.integrated:.1f} LUFS, not {want.mixing.target_lufs:.1f}: its peaks allow no more"
        run.note(Notice("loudness-missed", text))
    return rendered, after


def write_subtitles(run: Run, script: Script, said: tuple[subtitling.Said, ...], want: Wanted, fps: float) -> Subtitles:
    """The wanted subtitles as artifacts; the target's first."""
    made: Subtitles = ()
    if want.delivery.subs in ("target", "both"):
        captions = subtitling.Captions("target", want.target, fps)
        made += run.step(subtitling.subtitle, said, captions, want.delivery.subs_formats)
    original = subtitling.said_in_source(script.segments)
    if original and want.delivery.subs in ("source", "both"):
        captions = subtitling.Captions("source", script.language, fps)
        made += run.step(subtitling.subtitle, original, captions, want.delivery.subs_formats)
    return made


def start_film(run: Run, film: deliver.Film, rendered: tuple[render.Rendered, ...], subtitles: Subtitles) -> Handle[Path]:
    """The film itself, with the subtitles that are SRT inside."""
    path = run.project / f"dub.{film.language}.{film.container}"
    return run.deliver(
        deliver.mux, path, film, tuple(r.aac for r in rendered), tuple(s for s in subtitles if s.format == "srt")
    )


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
    sounds = run.start(listen.extract, source, track), run.start(listen.extract, voice, spoken)
    heard, said = (sound.result() for sound in sounds)
    laid, talk = run.step(render.speech_track, said, heard.sound.frames)
    cut = tuple(render.blocks(heard.sound, laid, talk, want.mixing.ducking_db))
    rendered, after = mastered(run, cut, programme_gain(run, cut, 0.0, want), want)
    film = deliver.Film(source, track, want.target, want.delivery.container)
    run.deliver(deliver.mux, target, film, tuple(r.aac for r in rendered), ()).result()
    return after


def into(want: Wanted, container: str) -> Wanted:
    """`want` with another container."""
    return replace(want, delivery=replace(want.delivery, container="mp4" if container == "mp4" else "mkv"))
