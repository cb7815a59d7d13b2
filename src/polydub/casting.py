"""Casting: whose voice each speaker of a film gets, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from polydub.errors import BadSettings
from polydub.listening import Listened
from polydub.matching import judge_recordings, match_recordings, match_voices
from polydub.runner import Run
from polydub.stages import match, references, voicing
from polydub.stages.match import Portrait
from polydub.stages.references import NOISY_DB, Film, Reference
from polydub.stages.voicing import Kept, Speaking
from polydub.types import PLAIN, Artifact, Casting, Expression, Line, Notice, Span, Speaker, Turn, Voice
from polydub.wants import Voicing, Wanted

NUMBERED = re.compile(r"SPEAKER_\d+")  # nobody's name: whoever is heard first is number 0
GIVEN = "recording given"  # by --voice-ref-dir
MATCHED, IN_TURN = "match", "preset"  # ways to a voice that the next run remembers


@dataclass(frozen=True)
class Recalled:
    """A character that a speaker was found to be, and how that one is spoken.

    Attributes: character: id of the character. mode: clone = from `references`; preset = the voice called `preset`, as with
    --voice; match = `voice`, else matched like anybody else. reason: for people. voice: what spoke the character in another
    film, by this film's engine in its language; None = nothing did. references: mono FLAC, best first, in the run's store.
    asked: how the character speaks.
    """

    character: str
    name: str
    mode: Literal["clone", "match", "preset"] = "match"
    reason: str = ""
    preset: str = ""
    voice: Voice | None = None
    references: tuple[Artifact, ...] = ()
    asked: Expression = PLAIN


@dataclass(frozen=True)
class Cast:
    """The voices, and how each was found, by speaker.

    Attributes: portraits: what speakers sound like, by the run's encoder; of all where characters are remembered. references:
    what was cut from the film, of all where speakers are cloned or characters remembered. known: who is a known character.
    """

    casting: Casting
    reasons: Mapping[str, str]
    portraits: Mapping[str, Portrait] = field(default_factory=dict[str, Portrait])
    references: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict[str, "tuple[Artifact, ...]"])
    known: Mapping[str, Recalled] = field(default_factory=dict[str, Recalled])


class Characters(Protocol):
    """Voices remembered across films."""

    def recall(self, run: Run, portraits: Mapping[str, Portrait], want: Wanted) -> Mapping[str, Recalled]:
        """The speakers who are known characters, each character one speaker at most. Portraits may be empty or unsure.

        The encoder is `run.tools["embedding"]`. May call `run.note`.
        """
        ...


def matches(run: Run, want: Wanted) -> bool:
    """Whether casting compares voices: the speech engine has a choice of them, or characters are to be known again."""
    clones, stock = (feature in run.tools["tts"].engine.info.features for feature in ("clone", "stock"))
    recorded = bool(want.voicing.recorded or want.voicing.given)
    return want.voicing.characters or (stock and (want.voicing.mode in ("match", "clone") or (recorded and not clones)))


def check_voices(run: Run, want: Wanted) -> None:
    """Tells where the speech engine cannot do what is wished, before anything takes long."""
    info = run.tools["tts"].engine.info
    if want.voicing.mode == "clone" and "clone" not in info.features:
        instead = "matched to the speakers" if "stock" in info.features else "taken in turn"
        text = f"{info.name} cannot speak in the voice of a recording, so its own voices are {instead}"
        run.note(Notice("not-cloned", f"{text}; XTTS, VibeVoice and Chatterbox can"))


def cast_voices(
    run: Run, listened: Listened, lines: Sequence[Line], want: Wanted, characters: Characters | None = None
) -> Cast:
    """A voice for each speaker and for each line that has its own: wished, a known character's, cloned, matched or in turn.

    Speakers keep the voice of the last run, as long as nothing is wished of them. Raises: BadSettings for a wish that concerns
    nobody, and what engines raise.
    """
    check_voices(run, want)
    scene = _Scene(run, listened, lines, want)
    portraits: Mapping[str, Portrait] = {}
    known: Mapping[str, Recalled] = {}
    if characters is not None and want.voicing.characters:
        portraits = scene.portraits(scene.names)
        known = characters.recall(run, portraits, want)
    made = _Choice(scene, _wishes(scene, known))
    cut = made.cut(scene.names if characters else [n for n in scene.names if made.is_cloned(n)])
    made.wished()
    made.cloned(cut)
    made.rest(portraits)
    run.release("embedding")
    sounds = {name: (one.sound,) for name, one in cut.items() if one.sound}
    recorded = want.voicing.recorded
    own = {x.id: voice for x in lines if x.voice and (voice := made.by_wish.get((x.voice, recorded.get(x.voice, ()))))}
    voices = {name: made.voices[name] for name in scene.names}
    return Cast(Casting(voices, own), {n: made.reasons[n] for n in voices}, portraits, sounds, known)


class _Scene:
    """Who speaks in the film and when, whatever they say."""

    def __init__(self, run: Run, listened: Listened, lines: Sequence[Line], want: Wanted) -> None:
        script = listened.given.script
        self.run, self.want, self.ear, self.lines = run, want, listened.ear, lines
        self.names = list(dict.fromkeys([*(s.id for s in script.speakers), *(x.speaker for x in lines)]))
        self.info = run.tools["tts"].engine.info
        said = [s for s in script.segments if s.kind == "speech"]
        own = {s.id for s in script.segments}
        said_by = [(s.speaker, Span(s.start, s.end)) for s in said]
        said_by += [(x.speaker, Span(x.start, x.end)) for x in lines if x.id not in own]
        self.speaking = tuple(
            Speaking(name, tuple(span for who, span in said_by if who == name), not NUMBERED.fullmatch(name))
            for name in self.names
        )
        anew = _reassigned(run)
        moved = [Turn(s.start, s.end, s.speaker) for s in said if s.id in anew]
        turns = listened.turns or tuple(Turn(s.start, s.end, s.speaker) for s in said)
        self.turns = _carved(turns, moved) if listened.turns else turns
        separated = listened.stems.result() if listened.stems else ()
        self.film = Film(listened.heard.sound, separated)

    @property
    def clones(self) -> bool:
        """Whether the speech engine speaks in the voice of a recording."""
        return "clone" in self.info.features

    @property
    def stock(self) -> bool:
        """Whether voices can be matched."""
        return "stock" in self.info.features and "embedding" in self.run.tools

    def portraits(self, names: Sequence[str]) -> dict[str, Portrait]:
        """What speakers sound like, by the run's encoder."""
        assert self.ear is not None  # noqa: S101 - `matches` has made somebody listen
        excerpts = [match.best_excerpts(self.turns, self.ear.close, name) for name in names]
        return dict(zip(names, self.run.map(match.portray, excerpts), strict=True))


def _reassigned(run: Run) -> frozenset[str]:
    """Ids of the lines of which a person has said that somebody else speaks them."""
    return frozenset(id_ for id_, edit in run.book.lines.items() if edit.speaker is not None) if run.book else frozenset()


def _carved(turns: Iterable[Turn], moved: Sequence[Turn]) -> tuple[Turn, ...]:
    """`turns` with those of `moved` in their place."""
    left: list[Turn] = list(moved)
    for turn in turns:
        at = turn.start
        for other in sorted((m for m in moved if m.overlap(turn) > 0), key=lambda m: m.start):
            left.append(Turn(at, max(at, other.start), turn.speaker))
            at = max(at, other.end)
        left.append(Turn(at, max(at, turn.end), turn.speaker))
    return tuple(sorted((t for t in left if t.end > t.start), key=lambda t: (t.start, t.end, t.speaker)))


@dataclass(frozen=True)
class _Wish:
    """How a voice is to be found: `voice`, else the one called `name`.

    Attributes: references: of the one who has that name. meant: these are meant, whatever the engine's own voices are called.
    """

    name: str
    reason: str = ""
    references: tuple[Artifact, ...] = ()
    meant: bool = False
    voice: Voice | None = None

    @property
    def key(self) -> tuple[str, tuple[Artifact, ...]]:
        """The same for wishes that mean the same voice."""
        return self.name, self.references


def _wishes(scene: _Scene, known: Mapping[str, Recalled]) -> dict[str, _Wish]:
    """By speaker. --voice comes first (`overlay` has put what a person set in its place), then --voice-ref-dir, --voice for
    all, characters."""
    voicing, wishes = scene.want.voicing, dict[str, _Wish]()
    _check_names(scene)
    given = {name.casefold(): (name, files) for name, files in voicing.given.items()}
    for name in scene.names:
        if wish := voicing.voices.get(name):
            wishes[name] = _named(wish, voicing)
        elif name.casefold() in given:
            wishes[name] = _Wish(given[name.casefold()][0], GIVEN, given[name.casefold()][1], meant=True)
        elif wish := voicing.voices.get("*"):
            wishes[name] = _named(wish, voicing)
        elif name in known:
            if remembered := _remembered(known[name], voicing):
                wishes[name] = remembered
        elif voicing.mode == "single":
            wishes[name] = _Wish("", "by --voice-mode single")
    return wishes


def _named(wish: str, voicing: Voicing) -> _Wish:
    """The wish that a name is; a folder goes by the name of its voice, whatever its place on this host and the engine's own."""
    return _Wish(voicing.called.get(wish, wish), "wished", voicing.recorded.get(wish, ()), meant=wish in voicing.called)


def _remembered(one: Recalled, voicing: Voicing) -> _Wish | None:
    """The wish that a character's settings are; None where they leave it to this film."""
    if one.mode == "preset" and one.preset:
        return _Wish(one.preset, one.reason, voicing.recorded.get(one.preset, ()))
    if one.mode == "clone" and one.references:
        return _Wish(one.name, one.reason, one.references, meant=True)
    return _Wish(one.name, one.reason, voice=one.voice) if one.voice else None


def _check_names(scene: _Scene) -> None:
    """Raises BadSettings for a wish for nobody; tells of recordings of nobody."""
    voicing, speakers = scene.want.voicing, ", ".join(scene.names)
    if unknown := sorted({*voicing.voices, *scene.want.acting.asked} - {*scene.names, "*"}):
        raise BadSettings(f"nobody in this film is called {unknown[0]}", f"the speakers are: {speakers}")
    folded = {name.casefold() for name in scene.names}
    if strange := sorted(name for name in voicing.given if name.casefold() not in folded):
        text = f"nobody in this film is called {', '.join(strange)}, of whom --voice-ref-dir has a recording"
        scene.run.note(Notice("unknown-recordings", f"{text}; the speakers are {speakers}"))


class _Choice:
    """The voices that have been found so far, by speaker, and why; and those that belong to names, for lines.

    Attributes: by_wish: voices that were wished for, of speakers and of lines.
    """

    def __init__(self, scene: _Scene, wishes: Mapping[str, _Wish]) -> None:
        self.scene, self.run, self.want, self.wishes = scene, scene.run, scene.want, wishes
        self.voices: dict[str, Voice] = {}
        self.reasons: dict[str, str] = {}
        self.by_wish: dict[tuple[str, tuple[Artifact, ...]], Voice] = {}

    def is_cloned(self, name: str) -> bool:
        """Whether the voice of a speaker is to be cloned from the film."""
        return self.want.voicing.mode == "clone" and self.scene.clones and name not in self.wishes

    def cut(self, names: Sequence[str]) -> dict[str, Reference]:
        """What speakers say in the film, as references."""
        scene, heard = self.scene, self.scene.ear.close.spans if self.scene.ear else ()
        sitters = [references.sitter(scene.turns, heard, name, scene.film) for name in names]
        found = self.run.map(references.reference, sitters, scene.film.sound.layout)
        return dict(zip(names, found, strict=True))

    def wished(self) -> None:
        """Voices that somebody named, of speakers and of lines."""
        judge_recordings(self.run, {name: wish.references for name, wish in self.wishes.items() if wish.reason == GIVEN})
        recorded = self.want.voicing.recorded
        asked = [wish for wish in self.wishes.values() if wish.voice is None]
        asked += [_Wish(name, "", recorded.get(name, ())) for name in dict.fromkeys(x.voice for x in self.scene.lines) if name]
        if asked:
            aliases = self.want.voicing.aliases
            names = tuple(sorted({n for wish in asked for n in (wish.name, aliases.get(wish.name, wish.name))}))
            own = dict(zip(names, self.run.step(voicing.named, names, self.want.target), strict=True))
            spoken = [w for w in asked if not w.references or (own[w.name].listed and not w.meant)]
            ends = {n: n if own[n].listed else aliases.get(n, n) for n in names}  # an engine's own name is no alias
            self.by_wish = {w.key: own[ends[w.name]].voice for w in spoken}
            self._recorded([w for w in {w.key: w for w in asked}.values() if w.key not in self.by_wish])
        for name, wish in self.wishes.items():
            if voice := wish.voice or self.by_wish.get(wish.key):
                self._give(name, voice, _told(wish, voice))

    def _recorded(self, wishes: Sequence[_Wish]) -> None:
        """Voices of people of whom there are recordings: cloned, else matched; else the wish cannot be met, which is told."""
        engine, target = self.scene.info.name, self.want.target
        if self.scene.clones:
            self.by_wish |= {w.key: Voice(engine, w.name, target, w.name, references=w.references) for w in wishes}
            return
        told = f"{engine} cannot speak in the voice of a recording"
        how = "its own voice that is nearest takes the place of" if self.scene.stock else "another voice takes the place of"
        self.run.note(*(Notice("not-cloned", f"{told}: {how} {w.name}") for w in wishes))
        if self.scene.stock:
            sounds = {str(n): w.references for n, w in enumerate(wishes)}
            found = match_recordings(self.run, sounds, target, self._taken())
            self.by_wish |= {w.key: found[str(n)].voice for n, w in enumerate(wishes)}

    def cloned(self, cut: Mapping[str, Reference]) -> None:
        """Voices of speakers of whom enough is heard in the film."""
        for name, one in cut.items():
            if not self.is_cloned(name):
                continue
            if one.sound is None:
                text = f"{name} says too little to be cloned, and gets another voice"
                self.run.note(Notice("too-little-to-clone", text))
                continue
            self.run.note(*_doubts(name, one))
            self._give(name, Voice(self.scene.info.name, name, self.want.target, name, references=(one.sound,)), _origin(one))

    def rest(self, portraits: Mapping[str, Portrait]) -> None:
        """Voices of everybody else: that of the last run, else matched, else the engine's next."""
        scene, target, mode = self.scene, self.want.target, self.want.voicing.mode
        left = [name for name in scene.names if name not in self.voices]
        if not left:
            return
        way = MATCHED if mode in ("match", "clone") and scene.stock and scene.ear else IN_TURN
        speaking = tuple(one for one in scene.speaking if one.speaker in left)
        before = self.run.step(voicing.keep, speaking, target, self.run.previous("cast"))
        for name, kept in before.items():
            if kept.way == way and kept.voice not in self.voices.values():
                self._give(name, kept.voice, kept.reason)
        left = [name for name in left if name not in self.voices]
        if way == MATCHED and left:
            missing = [name for name in left if name not in portraits]
            people = {**portraits, **(scene.portraits(missing) if missing else {})}
            found = match_voices(self.run, {name: people[name] for name in left}, target, self._taken())
            for name, one in found.items():
                self._give(name, self._distinct(name, one.voice), one.reason)
        elif left:
            speakers = tuple(Speaker(name) for name in left)
            found = self.run.step(voicing.cast, speakers, target, tuple(self._taken().values()))
            for name, voice in found.voices.items():
                self._give(name, voice, "by --voice-mode preset" if mode == "preset" else "the next of the engine's voices")
        kept = {one.speaker: Kept(one, self.voices[one.speaker], way, self.reasons[one.speaker]) for one in speaking}
        self.run.record("cast", kept)

    def _distinct(self, name: str, voice: Voice) -> Voice:
        """`voice`, or a variation where somebody has it already: an engine may have fewer voices than there are speakers."""
        own = (voice, *(replace(voice, tone=tilt) for tilt in voicing.TILTS))
        free = next((one for one in own if one not in self.voices.values()), None)
        if free is None:
            self.run.note(Notice("voice-shared", f"{name} shares a voice: there are not enough different ones"))
        elif free != voice:
            text = f"{name} has a variation of a voice that another speaker has: there are not enough different ones"
            self.run.note(Notice("voice-varied", text, "info"))
        return free or voice

    def _give(self, name: str, voice: Voice, reason: str) -> None:
        self.voices[name], self.reasons[name] = voice, reason

    def _taken(self) -> dict[str, Voice]:
        """Voices that others should not sound like; clones do not anyway."""
        return {name: voice for name, voice in sorted(self.voices.items()) if not voice.references}


def _told(wish: _Wish, voice: Voice) -> str:
    """Why somebody has the voice that was wished."""
    own = voice.name == wish.name and not voice.references
    if own or wish.voice or not wish.references:
        return wish.reason
    how = f"cloned from {wish.name}" if voice.references else f"matched to {wish.name}, not cloned"
    return f"{wish.reason}: {how}"


def _origin(one: Reference) -> str:
    """What a clone was made of."""
    if not one.picked:
        return f"cloned from the first {one.duration:.0f} s of their own speech"
    places = len(one.parts)
    return f"cloned from {one.duration:.0f} s of their own speech in {places} place{'s' * (places > 1)}"


def _doubts(name: str, one: Reference) -> list[Notice]:
    """What is wrong with a reference."""
    told: list[Notice] = []
    if not one.picked:
        text = f"{name} is cloned from the first {one.duration:.1f} s of their speech: too little of it is alone and clean"
        told.append(Notice("reference-short", text, "info" if one.duration > references.FIRST_S - 1 else "warning"))
    if not one.separated:
        text = f"{name} is cloned from the film's whole sound, since the dialogue was not taken out of it"
        told.append(Notice("reference-not-separated", text, "info"))
    if one.snr_db < NOISY_DB:
        text = f"{name} is cloned from noisy speech: its noise is {one.snr_db:.0f} dB below the voice"
        told.append(Notice("reference-noisy", text))
    if one.clipped:
        told.append(Notice("reference-clipped", f"{name} is cloned from speech that is distorted by clipping"))
    return told
