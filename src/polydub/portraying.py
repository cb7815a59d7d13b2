"""Who speaks in a recording: portraits and references of its speakers, for the character book, without a dub."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polydub import listening, remembering
from polydub.choosing import Chooser, Person, check_choices
from polydub.dubbing import Ears, Job, check_file, wanted
from polydub.engines.registry import UNKNOWN
from polydub.errors import BadInput, NoSpeech
from polydub.runner import How, Run
from polydub.stages import listen, match, references
from polydub.stages.match import Portrait
from polydub.store import Store
from polydub.types import Notice, Turn
from polydub.voices import bookkeeping, characters
from polydub.voices.book import Character, Draft
from polydub.wants import Wanted

if TYPE_CHECKING:
    from polydub.config import Loaded

MAIN = 0.9  # share of the speech from which other speakers are taken for mistakes of the diarization
ALONE = "speaker"  # name of the only one


@dataclass(frozen=True)
class Sitter:
    """One who speaks in a file. seconds: of speech. sound: 2 to 15 s of it, mono FLAC; None where it does not make them."""

    speaker: str
    portrait: Portrait
    seconds: float
    sound: bytes | None = None


@dataclass(frozen=True)
class Desk:
    """Where files are listened to. `run.tools["embedding"]` is chosen."""

    run: Run
    choose: Chooser
    loaded: Loaded

    def sitters(self, file: Path, *, sounds: bool = False) -> list[Sitter]:
        """Who speaks in `file`, those who speak most first. Raises: BadInput, NoSpeech, and what engines raise."""
        check_file(file)
        run = self.run
        want = wanted("und", Job(file), self.loaded, run.store)
        source = run.step(listen.probe, run.adopt(file))
        ear = listening.detect(run, run.start(listen.extract, source, listen.audio_track(source, want.audio_track)).result())
        turns = self._turns(ear, want)
        if not turns:
            raise NoSpeech(f"nobody speaks in {file}", "give a recording in which somebody does")
        speakers = sorted({t.speaker for t in turns})
        excerpts = [match.best_excerpts(turns, ear.close, name) for name in speakers]
        portraits = run.map(match.portray, excerpts)
        cut: dict[str, bytes | None] = {}
        if sounds:
            film = references.Film(ear.heard.sound)
            sitting = [references.sitter(turns, ear.close.spans, name, film) for name in speakers]
            made = run.map(references.reference, sitting, ear.heard.sound.layout)
            cut = {n: run.store.path(m.sound).read_bytes() if m.sound else None for n, m in zip(speakers, made, strict=True)}
        lengths = {n: round(sum(t.duration for t in turns if t.speaker == n), 3) for n in speakers}
        found = [Sitter(n, p, lengths[n], cut.get(n)) for n, p in zip(speakers, portraits, strict=True)]
        return sorted(found, key=lambda one: (-one.seconds, one.speaker))

    def _turns(self, ear: listening.Ear, want: Wanted) -> tuple[Turn, ...]:
        if want.listening.speakers == (1, 1) or not want.listening.diarize:
            return tuple(Turn(s.start, s.end, ALONE) for s in ear.close.spans)
        self.choose(self.run, {"diarization": UNKNOWN})
        return listening.start_diarization(self.run, ear, want.listening.speakers).result().turns


@contextmanager
def listening_desk(loaded: Loaded, ears: Ears) -> Generator[Desk]:
    """Opens what listening needs. Raises: BadSettings, and what choosing engines raises."""
    check_choices(loaded.settings)
    settings = loaded.settings
    with ExitStack() as stack:
        store = Store(settings.store or settings.output / ".polydub")
        stack.callback(store.close)
        run = stack.enter_context(Run(store, store.folder, How(settings.threads, settings.strict, ears.progress)))
        choose = Chooser(loaded, {}, Person(ears.ask, ears.progress))
        choose(run, {"vad": UNKNOWN, "embedding": UNKNOWN})
        yield Desk(run, choose, loaded)


@dataclass(frozen=True)
class Enrolment:
    """Recordings from which a character is to be known. encoder: which made the voiceprints. notices: of listening. refused:
    files that cannot be used, and why."""

    sitters: tuple[Sitter, ...]
    encoder: str
    notices: tuple[Notice, ...]
    refused: Mapping[Path, BadInput] = field(default_factory=dict[Path, BadInput])

    def into(self, draft: Draft, name: str) -> Character:
        """The character of exactly this name, else a new one, who has learned from them. Raises: BadSettings."""
        word = name.strip().casefold()
        known = (c for c in draft.book.characters if word in (c.id, *(n.casefold() for n in (c.name, *c.aliases))))
        one = next(known, None)
        if one is None:
            draft.book, one = bookkeeping.added(draft.book, name, "clone", remembering.now())
        for sitter in self.sitters:
            kept = (draft.keep(sitter.sound),) if sitter.sound else ()
            seen = characters.Sighting(self.encoder, sitter.portrait.voiceprint, None, kept)
            one = characters.learned(one.model_copy(update={"locked": False}), seen, remembering.now())
        draft.book = bookkeeping.replaced(draft.book, one)
        return one


def heard(files: Sequence[Path], loaded: Loaded, ears: Ears, speaker: str = "") -> Enrolment:
    """Listens to recordings of one person; `speaker` as for `main_speaker`.

    Raises: BadInput where none of them can be used: why the first of them cannot.
    """
    sitters: list[Sitter] = []
    refused: dict[Path, BadInput] = {}
    with listening_desk(loaded, ears) as desk:
        for file in files:
            try:
                sitters.append(_usable(file, main_speaker(file, desk.sitters(file, sounds=True), speaker)))
            except BadInput as error:
                refused[file] = error
        encoder, notices = remembering.encoder_of(desk.run.tools["embedding"]), desk.run.notices
    if not sitters:
        raise next(iter(refused.values()))
    return Enrolment(tuple(sitters), encoder, notices, refused)


def _usable(file: Path, one: Sitter) -> Sitter:
    """Raises: BadInput where too little is said."""
    if not one.portrait.voiceprint or one.portrait.seconds < characters.SHORTEST_S:
        least = f"{characters.SHORTEST_S:.0f} s"
        raise BadInput(f"in {file} too little is said to know the voice again", f"give at least {least} of clear speech")
    return one


def main_speaker(file: Path, sitters: list[Sitter], wanted: str = "") -> Sitter:
    """The one that is meant: `wanted`, else who speaks nearly all the time. Raises: BadInput."""
    told = ", ".join(f"{one.speaker} ({one.seconds:.0f} s)" for one in sitters)
    if wanted:
        for one in sitters:
            if one.speaker == wanted:
                return one
        raise BadInput(f"there is no speaker {wanted!r} in {file}", f"there are: {told}")
    if sitters[0].seconds < MAIN * sum(one.seconds for one in sitters):
        raise BadInput(f"several people speak in {file}: {told}", "name one with --speaker; if it is one: --speakers 1")
    return sitters[0]
