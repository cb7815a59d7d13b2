"""The story of a dub: an ordinary function in which every call is done once and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polydub import acting, captioning, languages, lipsyncing, listening, mixing, overlay
from polydub.captioning import Subtitles
from polydub.casting import Cast, Characters, cast_voices, check_voices, matches
from polydub.engines.base import Usage
from polydub.engines.registry import UNKNOWN
from polydub.errors import BadSettings, NoSpeech
from polydub.listening import Choose
from polydub.runner import Handle, Run
from polydub.slowing import Footage, slowed
from polydub.speaking import Said, Task, speak_lines
from polydub.stages import deliver, listen, phrasing, translate
from polydub.text.words import speakable
from polydub.types import PLAIN, Artifact, Casting, Line, Script, Segment, Span
from polydub.wants import Wanted


@dataclass(frozen=True)
class Result:
    """What a dub has produced; the report and the project's files are written from it.

    Attributes: film: None where one film holds the dubs of all languages, which is made when the last one is done.
    """

    language: str
    footage: Footage
    cast: Cast
    said: Said
    sounds: mixing.Sounds
    mastered: mixing.Mastered
    subtitles: Subtitles
    picture: Artifact | None
    film: Path | None
    stems: Mapping[str, Path]

    @property
    def script(self) -> Script:
        """What is said in the source."""
        return self.footage.listened.given.script


def dub(run: Run, video: Path, want: Wanted, choose: Choose, characters: Characters | None = None) -> Result:
    """Dub one film into one language. Finished calls are remembered; only what changed is done again.

    `characters` knows speakers from other films.
    """
    moves = lipsyncing.ready(run, want, choose)  # what is missing is told before anything takes long
    film = footage(run, video, want, choose)
    if not any(speakable(line.text) for line in film.lines):
        raise NoSpeech("there is nothing to say: no line has a text", "give --transcript or --translation with text in it")
    if film.listened.stems:  # a failure is told before anything is spoken, and the engine's memory is free again
        film.listened.stems.result()
        run.release("separation")
    captioning.check_drawing(run, film, want)  # before anything takes long
    want = overlay.of_speakers(run, want, film.listened.given.script.speakers)
    cast = cast_voices(run, film.listened, film.lines, want, characters)
    film = acting.expressed(run, film, asked_of_characters(want, cast))
    recogniser = run.tools.get("asr")
    if want.check_speech == "recognise":
        choose.listener(run, want.target)
    film, said = spoken(run, film, cast.casting, want)
    run.release("tts")
    if want.check_speech == "recognise":
        run.release("asr")
    if recogniser:
        run.tools["asr"] = recogniser

    lips = lipsyncing.lip_synced(run, film, said) if moves else None
    captions = captioning.start_captions(run, film, said, want, lips.source if lips else None)
    sounds = mixing.lay(run, *film.as_heard, mixing.Dubbed(said.placed, said.takes, acting.louder(film)), want)
    mastered = mixing.mastered(run, sounds, want.mixing)
    run.record("aim", mastered.aim)
    run.record("coded", mastered.coded_lu)
    picture = captions.picture.result() if captions.picture else lips.picture if lips else None
    made = Result(want.target, film, cast, said, sounds, mastered, captions.subtitles(), picture, None, {})
    if not want.delivery.together:
        made = replace(made, film=start_film(run, [made], want).result())
    # after the film, which somebody waits for; the stems of a long one are gigabytes
    stems = mixing.start_stems(run, mastered.rendered, want.target) | mixing.start_dialogue(run, film.listened)
    return replace(made, stems={name: handle.result() for name, handle in stems.items()})


def spoken(run: Run, film: Footage, casting: Casting, want: Wanted) -> tuple[Footage, Said]:
    """The film, slowed down where it may be, and the dub in it."""
    lines = replace(task(run, film, casting), check=want.check_speech)
    if slows(film, want):
        draft = speak_lines(run, replace(lines, draft=True), want)
        film = slowed(run, film, draft, want)
        lines = replace(task(run, film, casting), check=want.check_speech, settled=draft)
    return film, speak_lines(run, lines, want)


def footage(run: Run, video: Path, want: Wanted, choose: Choose) -> Footage:
    """The film, what is heard in it, and the lines to be spoken."""
    source = run.step(listen.probe, run.adopt(video))
    track = listen.audio_track(source, want.audio_track)
    extracted = run.start(listen.extract, source, track)
    read = run.step(translate.read_script, source, want.texts, want.source_language, want.target)
    read = translate.in_language_of(read, track)
    choose(run, {"tts": want.target})
    check_voices(run, want)
    choose(run, listening.kinds(read, want, matching=matches(run, want)))
    listened = listening.hear(run, extracted, read, want)
    if want.voicing.given:  # they are judged
        choose(run, {"vad": UNKNOWN, "embedding": UNKNOWN})
    spans = tuple(Span(s.start, s.end) for s in listened.given.script.segments)
    numbering = run.step(translate.number, spans, run.previous("ids"))
    listened = replace(listened, given=translate.renumbered(listened.given, numbering.ids))
    written = write_lines(run, listened.given, want, choose)
    laid = overlay.laid_over(run, listened.given, written.lines, lambda given: write_lines(run, given, want, choose).lines)
    return Footage(source, track, replace(listened, given=laid.given), laid.lines, usage=written.usage, laid=laid)


def asked_of_characters(want: Wanted, cast: Cast) -> Wanted:
    """`want` with how known characters speak, as far as nobody wants something else of a speaker."""
    asked = {name: known.asked for name, known in cast.known.items() if known.asked != PLAIN}
    return replace(want, acting=replace(want.acting, asked={**asked, **want.acting.asked}))


def slows(film: Footage, want: Wanted) -> bool:
    """Whether there is a picture that may be slowed down."""
    return want.picture.max_slowdown > 1 and bool(film.source.of("video"))


def task(run: Run, film: Footage, casting: Casting) -> Task:
    """What is to be spoken, and when the source is audible in each line."""
    ear, stems, mouths = film.listened.ear, film.listened.stems, dict[str, phrasing.Mouth]()
    if ear is not None:
        sound = phrasing.clearest(ear.heard.sound, stems.result()) if stems else ear.heard.sound
        voiced = run.step(phrasing.voiced, run.map(listen.detect, listen.nearby(sound), ear.heard.true_peak))
        pieces = phrasing.mouth_pieces(film.sources, ear.close, voiced)
        mouths = {mouth.id: mouth for piece in run.map(phrasing.mouths, pieces) for mouth in piece}
    return Task(film.lines, casting, film.source.duration, mouths, held=film.laid.held if film.laid else {})


@dataclass(frozen=True)
class Written:
    """The lines to be spoken, and what a service took for their translation."""

    lines: tuple[Line, ...]
    usage: Usage = Usage()  # noqa: RUF009 - frozen


def write_lines(run: Run, given: translate.Given, want: Wanted, choose: Choose) -> Written:
    """The lines to be spoken; those without a given translation are translated."""
    missing = untranslated(given)
    if not missing or same_language(given, want):
        return Written(translate.write_lines(given, [s.text for s in missing], want.target))
    choose(run, {"mt": language_pair(given, want)})
    tool, guidance = run.tools["mt"], want.guidance
    entries = run.step(translate.read_glossary, guidance.glossary) if guidance.glossary else ()
    batches = translate.batches(given, want.target, tool.engine.info, translate.Told(guidance.summary, entries))
    fully = translate.answers_fully(tool.engine.info, tool.options)
    answers = run.map(translate.wordings if fully else translate.translate, batches)
    run.release("mt")
    texts = translate.joined(answers)
    run.note(*translate.doubtful(given, texts))
    return Written(translate.write_lines(given, texts, want.target), translate.taken(answers))


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


def start_film(run: Run, dubs: Sequence[Result], want: Wanted) -> Handle[Path]:
    """The film with the dubs of one or more languages, and their subtitles that are SRT inside; the first is played."""
    first, container = dubs[0], want.delivery.container
    voices = tuple(deliver.Voiceover(x.language, tuple(r.aac for r in x.mastered.rendered)) for x in dubs)
    film = deliver.Film(first.footage.source, first.footage.track, voices, container, first.script.language, first.picture)
    inside = [sub for x in dubs for sub in x.subtitles if sub.format == "srt"]
    name = f"dub.{container}" if want.delivery.together else f"dub.{first.language}.{container}"
    return run.deliver(deliver.mux, run.project / name, film, tuple(dict.fromkeys(inside)))
