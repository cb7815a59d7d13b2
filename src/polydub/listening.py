"""How a film is listened to: speech, speakers, stems, words. What does not depend on each other runs at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from polydub.engines.base import Kind
from polydub.engines.registry import UNKNOWN
from polydub.errors import NoSpeech
from polydub.runner import Handle, Run
from polydub.stages import align, listen, recognise, separate, speakers
from polydub.stages.translate import ONE_SPEAKER, Given, who
from polydub.types import Notice, Script, Segment, Span, Speech, Turn
from polydub.wants import Wanted

Speaking = Handle[speakers.Diarized]
UNSEPARATED_S = 0.5  # less is not worth a word
CLOSE, FAR = 0.5, 0.3  # probability from which a frame is speech: to be recognised; to be told apart, also from afar


class Choose(Protocol):
    """Puts engines into a run: for each kind a language, or a pair, or "und"."""

    def __call__(self, run: Run, wants: Mapping[Kind, str]) -> None:
        """Raises what `registry.choose` raises."""
        ...

    def listener(self, run: Run, language: str) -> None:
        """A recogniser of the dub takes the place of the source's; none does where nobody here understands it."""
        ...


@dataclass(frozen=True)
class Ear:
    """A film's sound and the speech in it.

    Attributes: close: what is surely speech. far: what may be speech, also from afar.
    """

    heard: listen.Heard
    close: Speech
    far: Speech


@dataclass(frozen=True)
class Listened:
    """What listening told. `ear` is None when nobody had to listen; `turns` are empty when nobody was told apart."""

    heard: listen.Heard
    given: Given
    ear: Ear | None = None
    turns: tuple[Turn, ...] = ()
    stems: Handle[tuple[separate.Separated, ...]] | None = None


def kinds(read: Given, want: Wanted, *, matching: bool = False) -> dict[Kind, str]:
    """The engines that listening needs, with their languages; `matching`: voices are to be matched to speakers."""
    language = read.script.language
    needed: dict[Kind, str] = {}
    if not read.script.segments:
        needed["asr"] = language
    elif language != UNKNOWN and (want.listening.word_times or not read.timed):
        needed["align"] = language
    if want.listening.separate:
        needed["separation"] = UNKNOWN
    if tells_apart(read, want):
        needed["diarization"] = UNKNOWN
    if matching:
        needed["embedding"] = UNKNOWN
    if want.acting.mode in ("source", "auto"):
        needed["vad"] = UNKNOWN
    return {"vad": UNKNOWN, **needed} if needed else {}


def tells_apart(read: Given, want: Wanted) -> bool:
    """Whether the sound must tell who speaks: neither a file nor the texts name anybody."""
    asked = want.listening.diarize and want.listening.turns is None
    return asked and all(s.speaker == ONE_SPEAKER for s in read.script.segments)


def hear(run: Run, extracted: Handle[listen.Heard], read: Given, want: Wanted) -> Listened:
    """Listens to the film as far as it is needed; the engines of `kinds` must have been chosen."""
    if not read.timed and "align" not in run.tools:
        text = "nobody told when the text is said, nor in which language: its lines lie over the film by their length"
        run.note(Notice("times-estimated", f"{text}; with --from they are found in the sound"))
    elif want.listening.word_times and read.script.segments and "align" not in run.tools:
        run.note(
            Notice("no-word-times", "the times of words are not looked for, since nobody said which language is spoken: --from")
        )
    told = given_turns(run, extracted, want)
    if "vad" not in run.tools:
        return Listened(extracted.result(), named(read, told), turns=told.result().turns if told else ())
    ear = detect(run, extracted.result())
    stems = start_separation(run, ear, everywhere=want.listening.everywhere) if want.listening.separate else None
    speaking = start_diarization(run, ear, want.listening.speakers) if tells_apart(read, want) else told
    if not read.timed and "align" in run.tools:
        read = found(run, ear, read)
    given = named(read, speaking) if read.script.segments else transcribe(run, ear, read.script.language, speaking)
    if "align" in run.tools:
        given = with_words(run, ear, given)
    for kind in ("asr", "align", "diarization"):
        run.release(kind)
    return Listened(ear.heard, given, ear, speaking.result().turns if speaking else (), stems)


def detect(run: Run, heard: listen.Heard) -> Ear:
    """Finds the speech."""
    detected = run.map(listen.detect, listen.nearby(heard.sound), heard.true_peak)
    close, far = run.start(listen.speech, detected, CLOSE), run.start(listen.speech, detected, FAR)
    return Ear(heard, close.result(), far.result())


def start_separation(run: Run, ear: Ear, *, everywhere: bool = False) -> Handle[tuple[separate.Separated, ...]]:
    """Takes the dialogue out of the sound, block by block."""
    return run.start_map(separate.separate, separate.pieces(ear.heard.sound, ear.far, everywhere=everywhere))


def note_unseparated(run: Run, ear: Ear, separated: Sequence[separate.Separated]) -> tuple[Span, ...]:
    """Where the dialogue could not be taken out of the sound; told."""
    left = separate.unseparated(separated, ear.heard.sound.frames)
    length = sum(span.duration for span in left)
    if length >= UNSEPARATED_S:
        run.note(Notice("not-separated", f"the dialogue could not be taken out of {length:.0f} s of the sound"))
    return left


def given_turns(run: Run, extracted: Handle[listen.Heard], want: Wanted) -> Speaking | None:
    """Who speaks when as a file tells; None without one."""
    file = want.listening.turns
    return run.start(speakers.read_turns, file, want.listening.recording, extracted.result().sound.duration) if file else None


def start_diarization(run: Run, ear: Ear, limits: tuple[int, int] | None) -> Speaking:
    """Finds out who speaks when: by an engine that hears the whole film, or piece by piece (feature "stages")."""
    tool = run.tools.get("diarization")
    if tool and "stages" not in tool.engine.info.features:
        return run.start(speakers.diarize, listen.excerpt(ear.far, 0.0, ear.far.duration), limits)
    voiceprints = run.start_map(speakers.embed, speakers.embed_pieces(ear.far))
    return run.start(speakers.cluster, voiceprints, ear.far.spans, limits)


@dataclass(frozen=True)
class Recognised:
    """What a recogniser heard, piece by piece, as it comes, and the language that is spoken."""

    language: str
    said: Iterator[tuple[Segment, ...]]


def recognised(run: Run, ear: Ear, language: str) -> Recognised:
    """Recognition of everything that is said; the language "und" is found out. Raises NoSpeech."""
    pieces = recognise.pieces(ear.close, run.tools["asr"].engine.info.piece_s)
    if not pieces:
        raise NoSpeech("nobody speaks in this film", "give --transcript or --translation if somebody does")
    spoken = run.step(recognise.identify, recognise.longest(pieces)) if language == UNKNOWN else language
    return Recognised(spoken, run.flow(recognise.transcribe, pieces, spoken))


def transcribe(run: Run, ear: Ear, language: str, speaking: Speaking | None) -> Given:
    """What is said, by recognition, and by whom. Raises NoSpeech."""
    heard = recognised(run, ear, language)
    said = tuple(heard.said)
    segments = run.step(recognise.sentences, said, speaking.result().turns if speaking else ())
    if not segments:
        raise NoSpeech("no word was understood in this film", "choose another engine with --asr, or give --transcript")
    return Given(Script(heard.language, segments, who(segments)), {})


def named(given: Given, speaking: Speaking | None) -> Given:
    """`given` with the speakers that were heard, if any were told apart."""
    turns = speaking.result().turns if speaking else ()
    if not turns:
        return given
    segments = speakers.assign(given.script.segments, turns)
    return replace(given, script=replace(given.script, segments=segments, speakers=who(segments)))


def found(run: Run, ear: Ear, given: Given) -> Given:
    """`given` at the times at which its text is heard."""
    script = given.script
    whole = listen.excerpt(ear.close, 0.0, ear.close.duration)
    segments = run.step(align.locate, align.Passage(whole, ear.close.spans, script.segments), script.language)
    return replace(given, script=replace(script, segments=segments))


def with_words(run: Run, ear: Ear, given: Given) -> Given:
    """`given` with the times of its words; the times of its cues stay."""
    script = given.script
    aligned = run.map(align.align, align.align_pieces(script.segments, ear.close), script.language)
    timed = {s.id: s.words for piece in aligned for s in piece}
    segments = tuple(replace(s, words=timed.get(s.id, s.words)) for s in script.segments)
    return replace(given, script=replace(script, segments=segments))
