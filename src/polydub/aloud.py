"""Speech on its own: a text spoken aloud in a voice of an engine or of the library; recordings heard for the library."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from polydub import languages
from polydub.choosing import Chooser
from polydub.dubbing import check_file
from polydub.engines.pool import EnginePool
from polydub.engines.registry import UNKNOWN
from polydub.errors import BadEngineOutput, BadInput, BadSettings, EngineFailed, Missing, UnsupportedLanguage
from polydub.matching import match_voices
from polydub.media import sounds
from polydub.project import write
from polydub.runner import How, Run, engine_at_work
from polydub.stages import match, speak
from polydub.store import Store, writing
from polydub.types import HEAR_HZ, Audio, Excerpt, Notice, Part, Span, Voice
from polydub.voices import library, quality
from polydub.voices.library import Library, LibraryVoice
from polydub.voices.manifest import folded

if TYPE_CHECKING:
    from polydub.config import Loaded

MOST_S = 600.0  # of a recording that is heard
ASKED_MIB = 1_000  # of memory: larger engines are not opened to be asked for a name
EDGE_S = 0.15  # kept around the speech in a recording


@dataclass(frozen=True)
class Utterance:
    """A text to be spoken at a rate, by a voice of the engine or of the library, or an alias; None = the engine's first."""

    text: str
    voice: str | None = None
    rate: float = 1.0


@dataclass(frozen=True)
class Spoken:
    """A spoken text. Attributes: duration, first_s: seconds of sound, and until the first of it was there."""

    duration: float
    voice: str
    engine: str
    rate_hz: int
    first_s: float
    notices: tuple[Notice, ...] = ()


def read_text(file: Path) -> str:
    """A text file, UTF-8. Raises BadInput."""
    check_file(file)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 text", "convert it to UTF-8 first") from error


def form_of(out: Path) -> str:
    """The format that the ending of a file names. Raises BadSettings for another one."""
    form = out.suffix.lower()[1:]
    if form not in sounds.FORMS:
        endings = ", ".join(f".{form}" for form in sounds.FORMS)
        raise BadSettings(f"{out.name} has none of the endings {endings}", "choose one of them, such as speech.wav")
    return form


def speak_text(utterance: Utterance, loaded: Loaded, out: Path | BinaryIO, form: str = "wav", stream: bool = False) -> Spoken:
    """Speaks into a file of one of `sounds.FORMS`, at the engine's own sample rate where the format has it.

    A long text is spoken piece by piece. With `stream` the sound is written as it is made; into something that is no file it
    always is. A voice of the library is cloned by an engine that can; else the nearest voice of the engine speaks, which is a
    notice. Where no language is set that of the voice is taken. Raises: BadSettings, BadInput, EngineFailed.
    """
    if not utterance.text.strip():
        raise BadInput("there is no text to speak", 'give it in quotes: polydub speak "Hello." --to en')
    if stream and form not in sounds.STREAMED:
        raise BadSettings(f"{form} cannot be streamed", f"choose one of: {', '.join(sounds.STREAMED)}")
    if not 0.5 <= utterance.rate <= 2:
        raise BadSettings(f"the rate {utterance.rate} is not between 0.5 and 2", "1 is the voice's own rate: --rate 1")
    kept = library.read(loaded.settings.voices_home) if utterance.voice else Library(loaded.settings.voices_home)
    language = _language(utterance, loaded, kept)
    with _engines(loaded) as (run, pool):
        Chooser(loaded, {})(run, {"tts": language})
        tool = run.tools["tts"]
        names = Names(run, pool, kept, loaded)
        voice = names.voice(utterance.voice, language)
        with engine_at_work(tool, "speak"), pool.borrow(tool, 1) as tts, names.explained(utterance.voice):
            part = Part(" ".join(utterance.text.split()), language, voice, utterance.rate)
            told = _Told(voice.name, tool.engine.info.name, time.monotonic())
            _put(told.timed(names.pieces(tts, part)), out, form, stream=stream)
        return replace(told.spoken(), notices=run.notices)


@contextmanager
def _engines(loaded: Loaded) -> Generator[tuple[Run, EnginePool]]:
    """A run whose work nobody needs again."""
    pool = EnginePool()
    with ExitStack() as stack:
        stack.callback(pool.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polydub-")))
        store = Store(folder / "store")
        stack.callback(store.close)
        yield stack.enter_context(Run(store, folder, How(strict=loaded.settings.strict), pool)), pool


def _language(utterance: Utterance, loaded: Loaded, kept: Library) -> str:
    """What the text is in: as told, else as the voice of the library speaks. Raises: BadSettings."""
    targets = loaded.settings.to
    if not targets and utterance.voice and (own := kept.get(utterance.voice)) and own.language != "und":
        return own.language
    if len(targets) != 1:
        raise BadSettings("which language is the text in?", "say so with --to, for example --to es")
    return targets[0]


@dataclass(frozen=True)
class Names:
    """What the names of voices mean to the speech engine of a run, and how it speaks in them."""

    run: Run
    pool: EnginePool
    kept: Library
    loaded: Loaded

    def voice(self, name: str | None, language: str) -> Voice:
        """The engine's own voice of that name, else the library's, else what an alias leads to; or a recording, by its path.

        A name that nobody lists is left to the engine. Raises: BadSettings; BadInput for a recording that cannot be used.
        """
        tool = self.run.tools["tts"]
        with self.pool.borrow(tool, 1) as tts:
            own: Sequence[Voice] = tuple(tts.voices(language))
        if name is None:
            if not own:
                text = f"{tool.engine.info.name} has no voice of its own for {languages.name(language)}"
                raise BadSettings(text, "name one of the library: --voice NAME; see them with: polydub voices list")
            return own[0]
        path = Path(name).expanduser()
        if path.suffix.lower() in library.SOUNDS and path.is_file():
            return self._recorded(LibraryVoice(path.stem, "und", (library.Reference(path),)), language)
        meant = name if self.kept.has(name) else self.kept.leads_to(name)
        listed = _listed(own, name) or _listed(own, meant)
        if listed is not None:
            return listed
        abroad = meant != name and not self.kept.has(meant)  # an alias of a voice that only the engine knows
        recorded = None if abroad else self.kept.get(name)
        if recorded is not None:
            self.run.note(*self.kept.notices([name]))
            return self._recorded(recorded, language)
        if not own:
            raise self.kept.unknown(name)
        return speak.voice(own, meant)

    def _recorded(self, voice: LibraryVoice, language: str) -> Voice:
        """A voice of the library as this engine can speak it."""
        info = self.run.tools["tts"].engine.info
        if "clone" in info.features:
            return Voice(info.name, voice.name, language, voice.name, references=library.references(voice, self.run.store))
        if "stock" not in info.features:
            text = (
                f"{info.name} neither clones nor has voices to match, so it cannot speak as {voice.name} of the voice library"
            )
            raise BadSettings(text, "choose an engine that clones, such as --tts xtts, or espeak-ng, or a voice of its own")
        Chooser(self.loaded, {})(self.run, {"embedding": UNKNOWN})
        portrait = self.run.step(match.portray, _excerpts(voice, self.run.store))
        near = match_voices(self.run, {voice.name: portrait}, language)[voice.name].voice
        text = f"{info.name} cannot clone: {near.name}, the nearest of its own voices, speaks instead of {voice.name}"
        self.run.note(Notice("voice-matched", text))
        return near

    def pieces(self, tts: Any, part: Part) -> Iterator[Audio]:
        """A text of any length as it is spoken, in pieces without gaps."""
        speaker = _Clone(tts, self.run.store, part.voice) if part.voice.references else tts
        return _toned(speak.pieces(speaker, part, "stream" in self.run.tools["tts"].engine.info.features), part.voice)

    @contextmanager
    def explained(self, name: str | None) -> Generator[None]:
        """Adds the nearest names of the library to what an engine says of a voice that it does not have."""
        try:
            yield
        except BadSettings as error:
            if not (name and self.kept.voices and "has no voice" in error.message):
                raise
            near = self.kept.nearest(name) or [voice.name for voice in self.kept.voices[:8]]
            hint = f"{error.hint}; in the library: {', '.join(near)}".lstrip("; ")
            raise BadSettings(f"{error.message}, nor has the voice library", hint) from error


def _listed(voices: Sequence[Voice], name: str) -> Voice | None:
    """The voice of that name, else of the same but for case and accents."""
    exact = next((voice for voice in voices if voice.name == name), None)
    return exact or next((voice for voice in voices if folded(voice.name) == folded(name)), None)


class _Clone:
    """A Streamer by an engine that clones: it speaks in the voice of recordings, and streams once it has heard them."""

    def __init__(self, tts: Any, store: Store, voice: Voice) -> None:
        from polydub.media.recordings import read_recording

        self._tts, self._heard = tts, False
        self._references = [read_recording(store.path(artifact), library.MOST_S) for artifact in voice.references]

    def voices(self, language: str) -> Sequence[Voice]:
        """As the engine's."""
        return self._tts.voices(language)

    def synthesize(self, part: Part) -> Audio:
        """As the engine's, cloned."""
        self._heard = True
        return self._tts.clone(part, self._references)

    def stream(self, part: Part) -> Iterator[Audio]:
        """As the engine's; the first text comes in one piece, with which the engine learns the voice."""
        if self._heard:
            yield from self._tts.stream(part)
        else:
            yield self.synthesize(part)


def _excerpts(voice: LibraryVoice, store: Store) -> tuple[Excerpt, ...]:
    """The recordings of a voice, as portraits are drawn from them."""
    from polydub.audio import signal
    from polydub.media.flac import write_flac
    from polydub.media.recordings import read_recording

    made: list[Excerpt] = []
    for reference in voice.references:
        sound = read_recording(reference.path, library.MOST_S - 0.1)  # which is within one block of a film
        heard = signal.resample(sound.samples, sound.rate_hz, HEAR_HZ)
        with store.scratch() as scratch:
            write_flac(scratch / "heard.flac", heard, HEAR_HZ)
            artifact = store.keep(scratch / "heard.flac")
        made.append(Excerpt(0.0, round(heard.shape[1] / HEAR_HZ, 3), 0, (artifact,)))
    return tuple(made)


def _toned(pieces: Iterator[Audio], voice: Voice) -> Iterator[Audio]:
    """Pieces through the equaliser of a matched voice."""
    if not voice.tone:
        yield from pieces
        return
    from polydub.audio import match as matched

    for piece in pieces:
        yield replace(piece, samples=matched.toned(piece.samples, piece.rate_hz, voice.tone))


def _put(pieces: Iterator[Audio], out: Path | BinaryIO, form: str, *, stream: bool) -> None:
    """Writes all pieces."""
    if stream or not isinstance(out, Path):
        _streamed(pieces, out, form)
        return
    import numpy as np

    whole = list(pieces)
    samples = np.concatenate([piece.samples for piece in whole], axis=1)
    write(out, sounds.encoded(Audio(samples, whole[0].rate_hz), form))


class _Told:
    """What becomes known of a text while it is spoken."""

    def __init__(self, voice: str, engine: str, began: float) -> None:
        self._voice, self._engine, self._began = voice, engine, began
        self._frames, self._rate_hz, self._first_s = 0, 0, 0.0

    def timed(self, pieces: Iterator[Audio]) -> Iterator[Audio]:
        """`pieces`, counted. Raises BadEngineOutput when there are none, or one has another rate."""
        for piece in pieces:
            if self._rate_hz not in (0, piece.rate_hz):
                raise BadEngineOutput("the speech engine changed its sample rate in the middle", "choose another engine")
            self._first_s = self._first_s or time.monotonic() - self._began
            self._frames, self._rate_hz = self._frames + piece.samples.shape[1], piece.rate_hz
            yield piece
        if not self._frames:
            raise BadEngineOutput("the speech engine gave no sound", "give a text with words, or another voice or engine")

    def spoken(self) -> Spoken:
        """All of it."""
        duration = round(self._frames / self._rate_hz, 3)
        return Spoken(duration, self._voice, self._engine, self._rate_hz, round(self._first_s, 3))


def _streamed(pieces: Iterator[Audio], out: Path | BinaryIO, form: str) -> None:
    """Writes pieces as they come; a file whose length counts is told it at the end."""
    first = next(pieces)
    if isinstance(out, Path):
        with writing(out.parent):
            out.parent.mkdir(parents=True, exist_ok=True)
        with writing(out), out.open("wb") as file:
            length = _poured(chain([first], pieces), file, sounds.wav_head(first.rate_hz) if form == "wav" else b"")
            if form == "wav":
                file.seek(0)
                file.write(sounds.wav_head(first.rate_hz, length))
    else:
        _poured(chain([first], pieces), out, sounds.wav_head(first.rate_hz) if form == "wav" else b"")


def _poured(pieces: Iterable[Audio], out: BinaryIO, head: bytes) -> int:
    """Writes each piece at once. Returns the bytes of sound."""
    out.write(head)
    length = 0
    for piece in pieces:
        length += out.write(sounds.pcm16(piece.samples))
        out.flush()
    return length


def engine_voices(loaded: Loaded, language: str) -> tuple[str, tuple[Voice, ...]]:
    """The name of the speech engine that the settings choose, and its own voices for a language."""
    with _engines(loaded) as (run, pool):
        Chooser(loaded, {})(run, {"tts": language})
        with pool.borrow(run.tools["tts"], 1) as tts:
            return run.tools["tts"].engine.info.name, tuple(tts.voices(language))


def check_voice(name: str, loaded: Loaded) -> str:
    """Why nobody could tell whether the library or the settings' engine has such a voice; "" = one has. Raises: BadSettings."""
    kept, language = library.read(loaded.settings.voices_home), next(iter(loaded.settings.to), "en")
    if kept.has(meant := kept.leads_to(name)) or (meant == name and kept.get(name)) or Path(name).expanduser().exists():
        return ""
    with _engines(loaded) as (run, pool):
        try:
            Chooser(loaded, {})(run, {"tts": language})
            tool, names = run.tools["tts"], Names(run, pool, kept, loaded)
            if max(tool.engine.info.memory_mib) > ASKED_MIB:
                return f"{tool.engine.info.name} is too large to be asked only for that"
            part = Part("", language, names.voice(name, language))
            with pool.borrow(tool, 1) as tts, names.explained(name):
                tts.synthesize(part)
        except (Missing, EngineFailed, UnsupportedLanguage) as error:
            return error.message
    return ""


@dataclass(frozen=True)
class Heard:
    """A recording of a voice. Attributes: sound: from its first word to its last. quality: of all of it."""

    path: Path
    sound: Audio
    quality: quality.Quality


def hear(paths: Sequence[Path], loaded: Loaded) -> tuple[Heard, ...]:
    """Recordings of voices, mono at their own rate up to 48 kHz, up to 10 minutes of each, and what to think of them.

    Raises: BadInput for what cannot be read.
    """
    from polydub.media.recordings import read_recording

    for path in paths:
        check_file(path)
    with _engines(loaded) as (run, pool):
        Chooser(loaded, {})(run, {"vad": UNKNOWN, "embedding": UNKNOWN})
        told: list[Heard] = []
        with pool.borrow(run.tools["vad"], 1) as detector, pool.borrow(run.tools["embedding"], 1) as encoder:
            ear = quality.Ear(run.tools["embedding"].engine.info.name, encoder)
            for path in paths:
                sound = read_recording(path, MOST_S)
                speech = quality.speech_in(sound, detector)
                told.append(Heard(path, _trimmed(sound, speech), quality.judged(sound, speech, ear)))
        return tuple(told)


def check_usable(heard: Sequence[Heard]) -> None:
    """Raises BadInput when one of the recordings is hardly of use, and says why."""
    why = {one.path.name: [f.text for f in one.quality.findings if f.severity == "bad"] for one in heard}
    if told := [f"{name}: {', '.join(texts)}" for name, texts in why.items() if texts]:
        hint = "give 6 to 15 s of clean speech by one person, or keep it all the same with --force"
        raise BadInput(f"no voice can be made from {'; '.join(told)}", hint)


def strangers(heard: Sequence[Heard]) -> tuple[Notice, ...]:
    """What should be said of recordings that sound like somebody else than most of them, or as if recorded elsewhere."""
    return quality.remarks([(one.path.name, one.quality) for one in heard])


def _trimmed(sound: Audio, speech: Sequence[Span]) -> Audio:
    """Without what lies before the first and after the last word; all of it where no speech was found."""
    if not speech:
        return sound
    low, high = speech[0].start - EDGE_S, speech[-1].end + EDGE_S
    return replace(sound, samples=sound.samples[:, max(0, round(low * sound.rate_hz)) : round(high * sound.rate_hz)])
