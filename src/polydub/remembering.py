"""Characters across films: recalled before the voices are cast, remembered when the film is done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from polydub.casting import Cast, Recalled
from polydub.engines.pool import Tool
from polydub.errors import BadSettings, MissingSecret, StoreError
from polydub.runner import Run
from polydub.stages import characters as stages
from polydub.stages import match as portraits_of
from polydub.stages.match import Portrait
from polydub.types import Artifact, Notice, Voice
from polydub.voices import characters
from polydub.voices.book import Book, Character, Draft, Film, Mode, Reference, Shelf, StockVoice
from polydub.voices.bookkeeping import replaced
from polydub.voices.characters import ENOUGH_S, Found, Limits, Sighting
from polydub.wants import Wanted

if TYPE_CHECKING:
    from polydub.config import Loaded

_NUMBERED = re.compile(r"(speaker|spk|voice|person|s)?[\s_.-]*\d*", re.IGNORECASE)  # names that machines give
UNTRAINED = "untrained"  # feature of encoders that no data has taught what makes a voice


def shelf_of(loaded: Loaded) -> Shelf:
    """The character book of the settings, and the key that opens it."""
    key = loaded.secrets.get("characters_key")
    return Shelf(loaded.settings.characters_file, key.get_secret_value() if key else None)


def encoder_of(tool: Tool) -> str:
    """By which a voiceprint's numbers mean the same, whatever version of polydub made them: "resemblyzer 0.1.4 r1"."""
    info, options = tool.engine.info, tool.options.identity()
    revisions = [weight.revision for weight in tool.engine.weights(tool.options)]
    package = [str(tool.identity.get("package", ""))] if info.package else []
    told = [json.dumps(options, sort_keys=True)] if options else []
    return " ".join([info.name, *package, *revisions, f"r{info.revision}", *told])


def limits_of(run: Run, loaded: Loaded) -> Limits:
    """What a person set, else what the run's encoder needs."""
    own, s = run.step(stages.likeness), loaded.settings
    given = {key for key in ("character_threshold", "character_margin") if loaded.origins.get(key) != "default"}
    return Limits(
        s.character_threshold if "character_threshold" in given else own.threshold,
        s.character_margin if "character_margin" in given else own.margin,
    )


def weak(tool: Tool) -> tuple[Notice, ...]:
    """Tells when characters are recognised by an encoder that was not trained."""
    if UNTRAINED not in tool.engine.info.features:
        return ()
    text = f"characters are recognised by the weak {tool.engine.info.name} alone, which hears the room as much as the voice"
    return (Notice("characters-weakly", f"{text}; for a better encoder: polydub models pull resemblyzer"),)


def unsealed(shelf: Shelf) -> tuple[Notice, ...]:
    """Tells when there is a key and the book is still open to read."""
    if not shelf.open_to_read:
        return ()
    return (Notice("characters-not-encrypted", f"{shelf.file} is not encrypted yet; it is when it is written next"),)


def now() -> str:
    """The time as the book has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Memory:
    """The characters of one dub. Attributes: film, content: name and sha256 of what is dubbed."""

    loaded: Loaded
    film: str
    content: str

    @property
    def shelf(self) -> Shelf:
        """Where they are kept."""
        return shelf_of(self.loaded)

    def recall(self, run: Run, portraits: Mapping[str, Portrait], want: Wanted) -> Mapping[str, Recalled]:
        """The speakers who are known characters; who may be one of several is told. Raises what `Shelf.read` raises."""
        tool, shelf = run.tools["embedding"], self.shelf
        book = shelf.read()
        run.note(*weak(tool), *unsealed(shelf))
        found = characters.match(portraits, book, encoder_of(tool), limits_of(run, self.loaded))
        run.note(*(_told(name, one) for name, one in found.items() if one.verdict in ("known", "unclear", "taken")))
        return {name: _recalled(run, shelf, one, want) for name, one in found.items() if one.character}

    def remember(self, run: Run, cast: Cast, want: Wanted) -> None:
        """Adds what the film tells of its speakers to the book; to be called when it is dubbed.

        A book that cannot be written is told, and fails nothing.
        """
        if not any(portrait.voiceprint for portrait in cast.portraits.values()):
            return
        limits, visit = limits_of(run, self.loaded), _Visit(self, run, cast, want)
        try:
            with self.shelf.changing() as draft:
                found = characters.match(cast.portraits, draft.book, visit.encoder, limits)  # other films may have changed it
                who = visit.who(found, draft.book)
                for name in cast.portraits:
                    visit.add(draft, name, found[name], who.get(name))
        except (StoreError, MissingSecret, BadSettings) as error:  # another process may have encrypted it meanwhile
            run.note(Notice("characters-not-kept", f"the characters of this film were not remembered: {error.message}"))
        run.note(*visit.told)


class _Visit:
    """What one film tells the book."""

    def __init__(self, memory: Memory, run: Run, cast: Cast, want: Wanted) -> None:
        self._memory, self._run, self._cast, self._want = memory, run, cast, want
        self.encoder = encoder_of(run.tools["embedding"])
        self.told: list[Notice] = []
        self._engine = run.tools["tts"].engine.info.name

    def who(self, found: Mapping[str, Found], book: Book) -> dict[str, str]:
        """The ids of the characters that speakers are: as they were cast, else as the book knows them by now."""
        there = {c.id for c in book.characters}
        who = {name: known.character for name, known in self._cast.known.items() if known.character in there}
        for name, one in found.items():
            if name not in who and one.character and one.character.id not in who.values():
                who[name] = one.character.id
        return who

    def add(self, draft: Draft, name: str, one: Found, known: str | None) -> None:
        """What a speaker tells: of a known character, or of one who is new."""
        character = next((c for c in draft.book.characters if c.id == known), None) or self._newcomer(draft, name, one)
        if character and not character.locked:
            kept = tuple(self._kept(draft, artifact) for artifact in self._cast.references.get(name, ()))
            draft.book = replaced(draft.book, characters.learned(character, self._sighting(name, kept), now()))

    def _newcomer(self, draft: Draft, name: str, one: Found) -> Character | None:
        """A new character, if the speaker is nobody known and said enough."""
        if not self._memory.loaded.settings.auto_enrol or one.verdict in ("unclear", "taken"):
            return None
        seconds = self._cast.portraits[name].seconds
        if one.verdict == "short" or seconds < ENOUGH_S:
            text = f"{name} is not remembered: {seconds:.0f} s of speech are too few for a character, {ENOUGH_S:.0f} s would do"
            self.told.append(Notice("character-too-short", text, "info"))
            return None
        called = name if not machine_made(name) else characters.free_name(draft.book)
        try:
            draft.book, made = characters.newcomer(draft.book, called, self._mode(name), now())
        except ValueError:  # somebody of that name sounds otherwise
            called = characters.free_name(draft.book)
            draft.book, made = characters.newcomer(draft.book, called, self._mode(name), now())
        if self._mode(name) == "preset":
            made = made.model_copy(update={"presets": {self._engine: self._wish(name)}})
        hint = f"polydub characters rename {made.id} NAME"
        self.told.append(Notice("character-enrolled", f"{name} is remembered as {made.name}; to name them: {hint}", "info"))
        return made

    def _mode(self, name: str) -> Mode:
        if self._wish(name):
            return "preset"
        voice = self._cast.casting.voices.get(name)
        return "clone" if voice and voice.references else "match"

    def _wish(self, name: str) -> str:
        """The voice that a person has named for this very speaker; "" = none."""
        return self._want.voicing.voices.get(name, "")

    def _kept(self, draft: Draft, recording: Artifact) -> Reference:
        return draft.keep(self._run.store.path(recording).read_bytes(), self._memory.content)

    def _sighting(self, name: str, kept: tuple[Reference, ...]) -> Sighting:
        portrait, voice = self._cast.portraits[name], self._cast.casting.voices.get(name)
        film = Film(key=self._memory.content, name=self._memory.film, speaker=name, seconds=portrait.seconds, seen=now())
        voices: dict[str, StockVoice] = {}
        if voice and not voice.references and not self._wish(name) and self._want.voicing.mode != "single":
            own = StockVoice(name=voice.name, label=voice.label, settings=dict(voice.settings), tone=voice.tone)
            voices[f"{self._engine} {self._want.target}"] = own
        return Sighting(self.encoder, portrait.voiceprint, film, kept, voices)


def machine_made(name: str) -> bool:
    """Whether a speaker's name is a number that a machine gave: SPEAKER_00, s1."""
    return _NUMBERED.fullmatch(name) is not None


def _told(name: str, one: Found) -> Notice:
    if one.verdict == "known":
        return Notice("character-recognised", f"{name} is {one.reason}", "info")
    return Notice("character-unclear", f"{name} {one.reason}: nobody was taken for anybody")


def _recalled(run: Run, shelf: Shelf, one: Found, want: Wanted) -> Recalled:
    """A known character as casting wants it."""
    character, engine = one.character, run.tools["tts"].engine.info.name
    assert character is not None  # noqa: S101 - asked by the caller
    recordings = tuple(a for r in character.references if (a := _artifact(run, shelf, r, character.name)))
    preset = character.presets.get(engine, character.presets.get("*", ""))
    kept = character.voices.get(f"{engine} {want.target}")
    voice = kept.voice(engine, want.target) if kept else None
    if voice and not _there(run, voice, want.target):
        text = f"{engine} has the voice {voice.name} of {character.name} no more: another one was matched"
        run.note(Notice("character-voice-gone", text))
        voice = None
    mode: Mode = character.mode
    if mode == "clone" and voice and "clone" not in run.tools["tts"].engine.info.features:
        mode = "match"  # as in the film in which it got this voice
    if mode == "preset" and not preset:
        run.note(Notice("character-no-preset", f"{character.name} has no preset voice for {engine}: one was matched"))
        mode = "match"
    asked = character.manner.expression
    return Recalled(character.id, character.name, mode, one.reason, preset, voice, recordings, asked)


def _there(run: Run, voice: Voice, language: str) -> bool:
    """Whether the engine still has a voice of this name."""
    if "stock" not in run.tools["tts"].engine.info.features:
        return True
    return voice.name in {v.name for v in run.step(portraits_of.stock, language)}


def _artifact(run: Run, shelf: Shelf, reference: Reference, of: str) -> Artifact | None:
    """A recording in the run's store; one that cannot be read is told."""
    kept = Artifact(reference.sha256, ".flac", reference.bytes)
    if run.store.has(kept):
        return kept
    try:
        sound = shelf.sound(reference)
    except StoreError as error:
        run.note(Notice("character-recording", f"a recording of {of} cannot be used: {error.message}"))
        return None
    with run.store.scratch() as folder:
        file = folder / "reference.flac"
        file.write_bytes(sound)
        return run.store.keep(file)
