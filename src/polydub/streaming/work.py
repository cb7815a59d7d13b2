"""One piece of a film through the story: listened to, spoken, mixed. What pieces hand on to the next is in `carry`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from polydub import acting, listening, mixing, pipeline
from polydub.audio.loudness import CELL
from polydub.casting import Recalled, cast_voices, matches
from polydub.errors import NoSpeech
from polydub.listening import Choose, Listened
from polydub.runner import Run
from polydub.slowing import Footage
from polydub.speaking import Said, speak_lines
from polydub.stages import listen, render, speakers, translate
from polydub.stages.match import Portrait
from polydub.streaming import carry
from polydub.streaming.carry import Heard, Held, Spoken
from polydub.streaming.levels import Level
from polydub.streaming.pieces import GRID, Piece
from polydub.text.words import speakable
from polydub.types import RATE_HZ, Artifact, Casting, Line, Notice, Script, Segment, Span, Speaker, Voice, seconds
from polydub.wants import Texts, Wanted


@dataclass(frozen=True)
class Given:
    """Texts for the whole film, on its clock; `read` is None where everything is to be recognised."""

    read: translate.Given | None

    def of(self, piece: Piece, language: str) -> translate.Given:
        """What of them begins in a piece, on its clock."""
        if self.read is None:
            return translate.Given(Script(language, ()), {})
        span, by = piece.span, -piece.at
        own = tuple(_at(s, by) for s in self.read.script.segments if span.start <= s.start < span.end or _first(s, piece))
        ids = {s.id for s in own}
        texts = {id_: text for id_, text in self.read.texts.items() if id_ in ids}
        script = replace(self.read.script, segments=own, speakers=translate.who(own), language=language)
        return replace(self.read, script=script, texts=texts)

    def next_after(self, piece: Piece) -> float | None:
        """When the first line after a piece begins, on its clock."""
        starts = [s.start for s in self.read.script.segments if s.start >= piece.span.end] if self.read else []
        return seconds(min(starts) - piece.at) if starts else None


def _first(segment: Segment, piece: Piece) -> bool:
    return piece.number == 0 and segment.start < piece.span.start


def _at(segment: Segment, by_s: float) -> Segment:
    words = tuple(replace(w, start=seconds(w.start + by_s), end=seconds(w.end + by_s)) for w in segment.words)
    return replace(segment, start=seconds(segment.start + by_s), end=seconds(segment.end + by_s), words=words)


@dataclass(frozen=True)
class Task:
    """A piece, what is wanted of it, and the run in which it is made."""

    piece: Piece
    texts: Given
    run: Run
    want: Wanted
    choose: Choose


def heard(task: Task, before: Heard) -> tuple[Footage, Heard]:
    """What is heard in a piece, and its lines, on its clock; and what the next piece must know of it."""
    run, piece, texts, choose, want = task.run, task.piece, task.texts, task.choose, _wanted(task.want, before)
    source = run.step(listen.probe, run.adopt(piece.sound))
    track = listen.audio_track(source, None)
    extracted = run.start(listen.extract_piece, source, track)
    read = texts.of(piece, want.source_language)
    choose(run, {"tts": want.target})
    if texts.read is not None and not read.script.segments:
        return Footage(source, track, Listened(extracted.result(), read), ()), before
    needed = listening.kinds(read, want, matching=matches(run, want))
    choose(run, needed)
    if "vad" not in needed:  # it only looked for a pause
        run.tools.pop("vad", None)
    try:
        listened = listening.hear(run, extracted, read, want)
    except NoSpeech:
        return Footage(source, track, Listened(extracted.result(), read), ()), before
    listened, known = _known(run, listened, read, before, want)
    given = listened.given
    if texts.read is None:
        own = carry.own_words(given.script.segments, piece.own, seconds(before.until - piece.at))
        given = replace(given, script=replace(given.script, segments=own, speakers=translate.who(own)))
        given = translate.renumbered(given, [str(before.lines + n) for n in range(1, len(own) + 1)])
        listened = replace(listened, given=given)
    written = pipeline.write_lines(run, given, want, choose)
    ends = [piece.at + (s.words[-1].end if s.words else s.end) for s in given.script.segments]
    said = (*before.said, *((line.source_text, line.text) for line in written.lines if line.text))[-carry.SAID :]
    until = max((seconds(end) for end in ends), default=before.until)
    after = Heard(given.script.language, known, until, before.lines + len(written.lines), said)
    return Footage(source, track, listened, written.lines, usage=written.usage), after


def _wanted(want: Wanted, before: Heard) -> Wanted:
    """As for a film of its own, with what is known from the pieces before."""
    told = "\n".join(f"{source} -> {target}" for source, target in before.said if source != target)
    summary = "\n".join(part for part in (want.guidance.summary, told and f"Said just before:\n{told}") if part)
    language = before.language if before.language != "und" else want.source_language
    limits = want.listening.speakers
    hearing = replace(want.listening, speakers=(1, limits[1]) if limits else None)  # not everybody speaks in each piece
    guidance = replace(want.guidance, summary=summary)
    language = "und" if language == "auto" else language
    return replace(want, texts=Texts(own_tracks=False), source_language=language, guidance=guidance, listening=hearing)


def _known(
    run: Run, listened: Listened, read: translate.Given, before: Heard, want: Wanted
) -> tuple[Listened, Mapping[str, carry.Known]]:
    """With the speakers' names of the whole film, and who is known now."""
    if not listening.tells_apart(read, want) or listened.ear is None or not listened.turns:
        return listened, before.speakers
    told = listening.start_diarization(run, listened.ear, want.listening.speakers).result()  # remembered from just before
    if not told.voiceprints:
        text = "this diarization engine gives no voiceprints, so speakers are told apart within each piece of the stream only"
        run.note(Notice("speakers-unmatched", text))
        return listened, before.speakers
    same = run.map(speakers.embed, speakers.embed_pieces(listened.ear.far))[0].calibration.same
    lengths: dict[str, float] = {}
    for turn in listened.turns:
        lengths[turn.speaker] = lengths.get(turn.speaker, 0.0) + turn.duration
    most = want.listening.speakers[1] if want.listening.speakers else 0
    names, known = carry.recognised(before.speakers, told.voiceprints, lengths, same, most)
    segments = tuple(replace(s, speaker=names.get(s.speaker, s.speaker)) for s in listened.given.script.segments)
    script = replace(listened.given.script, segments=segments, speakers=translate.who(segments))
    turns = tuple(replace(t, speaker=names.get(t.speaker, t.speaker)) for t in listened.turns)
    return replace(listened, given=replace(listened.given, script=script), turns=turns), known


class _Before:
    """The speakers of earlier pieces, as characters whose voice is known."""

    def __init__(self, voices: Mapping[str, Voice]) -> None:
        self._voices = voices

    def recall(self, run: Run, portraits: Mapping[str, Portrait], want: Wanted) -> Mapping[str, Recalled]:
        """Who has a voice already."""
        known = {name: self._voices[name] for name in portraits if name in self._voices}
        return {name: Recalled(name, name, "match", "as before", voice=voice) for name, voice in known.items()}


def cast(run: Run, film: Footage, before: Mapping[str, Voice], want: Wanted) -> dict[str, Voice]:
    """The voices of everybody so far: who has one keeps it, new ones get others."""
    script = film.listened.given.script
    if all(speaker.id in before for speaker in script.speakers):
        return dict(before)
    everybody = script.speakers
    if not matches(run, want):  # voices come in turn, so the turn must be known
        new = tuple(s for s in script.speakers if s.id not in before)
        everybody = (*(Speaker(name, name) for name in before), *new)
    names = {speaker.id for speaker in everybody}
    wishes = {name: voice for name, voice in want.voicing.voices.items() if name in names or name == "*"}
    asked = {name: how for name, how in want.acting.asked.items() if name in names or name == "*"}
    want = replace(want, voicing=replace(want.voicing, voices=wishes), acting=replace(want.acting, asked=asked))
    given = replace(film.listened.given, script=replace(script, speakers=everybody))
    made = cast_voices(run, replace(film.listened, given=given), film.lines, want, _Before(before))
    return {**made.casting.voices, **before}


@dataclass(frozen=True)
class Performance:
    """A piece that is spoken, on its clock: `held` is heard in it, and was placed by the pieces before."""

    film: Footage
    said: Said
    held: tuple[Held, ...]


def spoken(task: Task, film: Footage, before: Spoken) -> tuple[Performance, Spoken]:
    """What is said in a piece, after what the pieces before have placed; and what the next one must know."""
    run, piece, want = task.run, task.piece, task.want
    held = tuple(carry.shifted(h, -piece.at) for h in before.held)
    voices = dict(before.voices)
    nothing = Said((), {}, {}, {}, (), {}, {})
    if not any(speakable(line.text) for line in film.lines):
        return Performance(film, nothing, held), Spoken(voices, _lasting(piece, (), nothing, before.held))
    if film.listened.stems:
        film.listened.stems.result()
    voices = cast(run, film, voices, want)
    ends = [seconds(h.placed.start + h.placed.duration) for h in held]
    barrier = max([piece.own.start, *(end + want.timing.gap_s for end in ends if end > piece.own.start)])
    film = acting.expressed(run, replace(film, lines=carry.after(film.lines, seconds(barrier))), want)
    first = min((line.start for line in film.lines), default=barrier)
    timing = replace(want.timing, early_s=seconds(max(0.0, min(want.timing.early_s, first - barrier))))
    if want.check_speech == "recognise":
        task.choose.listener(run, want.target)
    said = _fitted(replace(task, want=replace(want, timing=timing)), film, Casting(voices), barrier)
    return Performance(film, said, held), Spoken(voices, _lasting(piece, film.lines, said, before.held))


def _fitted(task: Task, film: Footage, casting: Casting, barrier: float) -> Said:
    """Spoken into the room until somebody speaks again; where that is too little, over it, rather than cut or too early.

    Nothing begins before `barrier`: what is heard until then has been played.
    """
    run, piece, want = task.run, task.piece, task.want
    lines = replace(pipeline.task(run, film, casting), check=want.check_speech)
    end = film.source.duration
    if piece.last:
        return speak_lines(run, lines, want)
    ear, following = film.listened.ear, task.texts.next_after(piece)
    if following is None and ear is not None:
        following = min((s.start for s in ear.close.spans if s.start >= piece.own.end - 0.05), default=end)
    most = seconds(max(piece.own.end, (following if following is not None else end) - want.timing.gap_s))
    said = Said((), {}, {}, {}, (), {}, {})
    for film_s in (most, seconds(most + 2.0), seconds(most + 60.0)):
        said = speak_lines(run, replace(lines, film_s=film_s), want)
        if all(p.start >= barrier - 0.001 and p.start + p.duration <= film_s + 0.001 for p in said.placed):
            break
    return said


def _lasting(piece: Piece, lines: Sequence[Line], said: Said, before: Sequence[Held]) -> tuple[Held, ...]:
    """What is heard, or is talk of the original, shortly before the next piece or in it; on the film's clock."""
    since = seconds(piece.span.end - 2 * GRID / RATE_HZ - 1.0)
    by_id = {line.id: line for line in lines}
    own = [Held(by_id[p.line], p, said.takes[p.id]) for p in said.placed if p.id in said.takes and p.line in by_id]
    everything = [*before, *(carry.shifted(h, piece.at) for h in own)]
    return tuple(h for h in everything if max(h.line.end, h.placed.start + h.placed.duration) > since)


@dataclass(frozen=True)
class Sounding:
    """The sound of a piece: AAC packets of exactly its own part."""

    aac: tuple[Artifact, ...]
    gain_db: float


def sounding(task: Task, said: Performance, level: Level) -> tuple[Sounding, Level]:
    """A piece mixed, limited and encoded, as one more part of one stream; and the level of the programme so far."""
    run, piece, want = task.run, task.piece, task.want
    own, held = said.said, said.held
    dub = mixing.Dubbed((*(h.placed for h in held), *own.placed), {**{h.placed.id: h.take for h in held}, **own.takes})
    lines = (*{h.line.id: h.line for h in held}.values(), *said.film.lines)
    sounds = mixing.lay(run, said.film.listened, lines, dub, want)
    own_lufs = sounds.levels.dialogue
    level = level.with_talk(own_lufs, sum(line.duration for line in said.film.lines))
    scene_db = round(level.talk_lufs - own_lufs, 2) if said.film.lines and level.talk_s and own_lufs > -70 else 0.0
    gain = level.gain_for(sounds.aim.gain_db, dubbed=bool(own.placed), target=sounds.goal.lufs)
    cut = [_at_level(b, scene_db) for b in (_within(b, piece) for b in sounds.cut) if b]
    rendered = run.map(render.mix_block, render.masters(cut, gain, want.mixing))
    dubbed_s = sum(p.duration for p in own.placed)
    for number, one in enumerate(rendered):
        level = level.after(one.energies, piece.origin // CELL, gain, dubbed_s if number == 0 else 0.0)
    return Sounding(tuple(one.aac for one in rendered), gain), level


def _at_level(block: render.Block, more_db: float) -> render.Block:
    """With a louder dub."""
    return replace(block, layings=tuple(replace(x, gain_db=round(x.gain_db + more_db, 2)) for x in block.layings))


def _within(block: render.Block, piece: Piece) -> render.Block | None:
    """The part of a block that is the piece's own."""
    low = max(block.first, piece.start - piece.origin)
    high = min(block.first + block.frames, piece.end - piece.origin)
    return replace(block, first=low, frames=high - low) if high > low else None


def spans(given: translate.Given | None) -> tuple[Span, ...]:
    """Where the given lines are."""
    return tuple(Span(s.start, s.end) for s in given.script.segments) if given else ()
