"""Stages on their own: transcribe, diarize, separate and translate files, speak a text, mix a finished track."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from polydub import listening, pipeline
from polydub.choosing import NONE, Chooser, Person, check_choices
from polydub.dubbing import Ears, Job, check_file, language_of_name, wanted
from polydub.engines.base import Usage
from polydub.engines.registry import UNKNOWN
from polydub.errors import BadSettings
from polydub.runner import Handle, How, Run
from polydub.stages import deliver, listen, separate, subtitling, translate
from polydub.store import Store
from polydub.types import BLOCK, Artifact, Cue, Notice, Script, Segment, Source, Speech, Track, Turn
from polydub.wants import Texts, Wanted

if TYPE_CHECKING:
    from polydub.config import Loaded

TEXT_FILES = frozenset({".srt", ".vtt", ".ass", ".ssa", ".json", ".txt"})


def check_target(path: Path, *inputs: Path) -> None:
    """Raises BadSettings where a result would replace one of the files it is made from."""
    if path.exists() and any(path.samefile(file) for file in inputs if file.exists()):
        raise BadSettings(f"{path} is one of the inputs", "choose another name with --out")


def _store(loaded: Loaded) -> Store:
    return Store(loaded.settings.store or loaded.settings.output / ".polydub")


@dataclass(frozen=True)
class _Film:
    """A file that is listened to: the run, how to choose engines, what is wanted of it, its sound in the making."""

    run: Run
    choose: Chooser
    want: Wanted
    source: Source
    track: Track
    extracted: Handle[listen.Heard]


@contextmanager
def _film(job: Job, loaded: Loaded, ears: Ears) -> Generator[_Film]:
    """Opens a file to be listened to. Raises BadInput, NoAudioTrack."""
    check_choices(loaded.settings)
    check_file(job.media)
    settings = loaded.settings
    with ExitStack() as stack:
        store = _store(loaded)
        stack.callback(store.close)
        run = stack.enter_context(Run(store, store.folder, How(settings.threads, settings.strict, ears.progress)))
        want = wanted("und", job, loaded, store)
        source = run.step(listen.probe, run.adopt(job.media))
        track = listen.audio_track(source, want.audio_track)
        choose = Chooser(loaded, {}, Person(ears.ask, ears.progress))
        yield _Film(run, choose, want, source, track, run.start(listen.extract, source, track))


@dataclass(frozen=True)
class Transcribed:
    """What is said in a file, in segments of one speaker, with word times."""

    script: Script
    notices: tuple[Notice, ...]


def transcribe_file(job: Job, loaded: Loaded, ears: Ears, tell: Callable[[Segment], None] | None = None) -> Transcribed:
    """What is said in `job.media`, by recognition; a given transcript is aligned to the sound instead.

    `tell` gets what is recognised as soon as it is, before speakers are known and sentences are cut.
    Raises: BadInput, NoSpeech, and what engines raise.
    """
    with _film(job, loaded, ears) as film:
        texts = replace(film.want.texts, own_tracks=False)
        want = replace(film.want, texts=texts, listening=replace(film.want.listening, separate=False, word_times=True))
        run = film.run
        read = run.step(translate.read_script, film.source, texts, want.source_language, want.target)
        read = translate.in_language_of(read, film.track)
        film.choose(run, listening.kinds(read, want))
        if tell and not read.script.segments:
            _tell(film, read.script.language, tell)
        given = listening.hear(run, film.extracted, read, want).given
        return Transcribed(given.script, run.notices)


def transcript(script: Script, form: str) -> str:
    """A script as txt, srt, vtt or json; speakers are named where there are several."""
    from polydub.report import exports

    if form == "json":
        return exports.transcript(script)
    if form != "txt":
        return subtitling.write_cues(subtitling.cues_of(subtitling.said_in_source(script.segments), 0.0, script.language), form)
    spoken = [s for s in script.segments if s.text]
    many = len({s.speaker for s in spoken}) > 1
    return "".join(f"{s.speaker}: {s.text}\n" if many else f"{s.text}\n" for s in spoken)


def _tell(film: _Film, language: str, tell: Callable[[Segment], None]) -> None:
    ear = listening.detect(film.run, film.extracted.result())
    for said in listening.recognised(film.run, ear, language).said:
        for segment in said:
            tell(segment)


@dataclass(frozen=True)
class Told:
    """Who speaks when in a file."""

    turns: tuple[Turn, ...]
    notices: tuple[Notice, ...]


def diarize_file(file: Path, loaded: Loaded, ears: Ears) -> Told:
    """Who speaks when in `file`. Raises BadInput, BadSettings, and what engines raise."""
    if loaded.settings.diarization == NONE:
        raise BadSettings("--diarization none leaves nothing to do", "name an encoder, such as embedded, or leave it out")
    with _film(Job(file), loaded, ears) as film:
        film.choose(film.run, {"vad": UNKNOWN, "diarization": UNKNOWN})
        ear = listening.detect(film.run, film.extracted.result())
        diarized = listening.start_diarization(film.run, ear, film.want.listening.speakers).result()
        return Told(diarized.turns, film.run.notices)


@dataclass(frozen=True)
class Parted:
    """The stems of a file, by name: 24-bit FLAC at 48 kHz, as long as the sound."""

    stems: Mapping[str, Path]
    notices: tuple[Notice, ...]


def separate_file(file: Path, folder: Path | None, loaded: Loaded, ears: Ears, *, stems: bool = False) -> Parted:
    """Dialogue and background of `file`, or all stems that the engine tells apart, in `folder` (else in the output folder).

    They sum to its sound. Raises: BadInput, BadSettings, and what engines raise.
    """
    if loaded.settings.separation == NONE:
        raise BadSettings("--separation none leaves nothing to do", "name an engine, or leave it out")
    place = folder or loaded.settings.output / file.stem / "stems"
    with _film(Job(file), loaded, ears) as film:
        run = film.run
        parts = _stems(film) if stems else _halves(film)
        targets = {name: place / f"{name}.flac" for name in parts}
        for target in targets.values():
            check_target(target, file)
        made = {name: run.deliver(deliver.stem, targets[name], blocks) for name, blocks in parts.items()}
        return Parted({name: handle.result() for name, handle in made.items()}, run.notices)


def _halves(film: _Film) -> dict[str, tuple[Artifact, ...]]:
    """Dialogue and background, block by block."""
    run = film.run
    film.choose(run, {"vad": UNKNOWN, "separation": UNKNOWN})
    ear = listening.detect(run, film.extracted.result())
    separated = listening.start_separation(run, ear, everywhere=film.want.listening.everywhere).result()
    listening.note_unseparated(run, ear, separated)
    halves = run.map(deliver.part, tuple(zip(ear.heard.sound.blocks, (s.dialogue for s in separated), strict=True)))
    return {name: tuple(getattr(half, name) for half in halves) for name in ("dialogue", "background")}


def _stems(film: _Film) -> dict[str, tuple[Artifact, ...]]:
    """Every stem that the engine tells apart, block by block. Raises: BadSettings for an engine that knows dialogue only."""
    run = film.run
    film.choose(run, {"separation": UNKNOWN})
    info = run.tools["separation"].engine.info
    if "stems" not in info.features:
        raise BadSettings(f"{info.name} tells dialogue from the rest, no more", "name demucs or mdx23 with --separation")
    sound = film.extracted.result().sound
    blocks = run.map(separate.stems, separate.pieces(sound, Speech((), 0, ()), everywhere=True))
    names = dict.fromkeys(name for block in blocks for name in block.files)

    def part(name: str, number: int, block: separate.Stems) -> Artifact:
        silent = sound.channels, min(BLOCK, sound.frames - number * BLOCK)
        return block.files.get(name) or run.step(deliver.silence, *silent)

    return {name: tuple(part(name, n, block) for n, block in enumerate(blocks)) for name in names}


@dataclass(frozen=True)
class Translated:
    """A translated subtitle file; `format` is srt, vtt, ass or txt, as its source (JSON and videos give srt)."""

    text: str
    format: str
    lines: int
    notices: tuple[Notice, ...]
    usage: Usage


def translate_file(file: Path, target: str, loaded: Loaded, ears: Ears) -> Translated:
    """Translates the subtitles in `file` (a subtitle file or a video), keeping order and times.

    Raises: BadInput, BadSettings, and what the engine raises.
    """
    if not target:
        raise BadSettings("nobody said which language to translate into", "say so with --to, for example --to es")
    check_file(file)
    settings = loaded.settings
    with ExitStack() as stack:
        store = _store(loaded)
        stack.callback(store.close)
        run = stack.enter_context(Run(store, store.folder, How(settings.threads, settings.strict, ears.progress)))
        want = wanted(target, Job(file), loaded, store)
        given = _given(run, file, want.source_language, target)
        written = pipeline.write_lines(run, given, want, Chooser(loaded, {}, Person(ears.ask, ears.progress)))
        form = file.suffix.lower()[1:] if file.suffix.lower() in TEXT_FILES - {".json", ".ssa"} else "srt"
        cues = [Cue(x.start, x.end, x.text, "" if x.speaker == translate.ONE_SPEAKER else x.speaker) for x in written.lines]
        return Translated(_written(cues, form), form, len(cues), run.notices, written.usage)


def _given(run: Run, file: Path, source_language: str, target: str) -> translate.Given:
    if file.suffix.lower() in TEXT_FILES:
        language = None if source_language == "auto" else source_language
        texts = Texts(run.adopt(file), language or language_of_name(file), own_tracks=False)
        length = 24 * 3600.0  # no film limits the times
        return run.step(translate.read_script, Source(run.adopt(file), "", length, 0.0, ()), texts, source_language, target)
    source = run.step(listen.probe, run.adopt(file))
    given = run.step(translate.read_script, source, Texts(), source_language, target)
    return translate.in_language_of(given, listen.audio_track(source, None) if source.of("audio") else None)


def _written(cues: list[Cue], form: str) -> str:
    return "".join(cue.text + "\n" for cue in cues) if form == "txt" else subtitling.write_cues(cues, form)
