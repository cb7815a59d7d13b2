"""Measures a dub, family by family, and judges it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.errors import BadInput, EngineFailed, Missing, UnreadableMedia, UnsupportedLanguage
from polydub.evaluate import judging, picture, subtitles, text, timing
from polydub.evaluate.card import Card, Gate, Score
from polydub.evaluate.card import Missing as Lack
from polydub.evaluate.hearing import Ear, Sounds, Speech, find_speech, padded, placed, spoken, stem_level, together
from polydub.evaluate.inputs import Reel, Subject, opened
from polydub.types import Cue, Span

if TYPE_CHECKING:
    from polydub.evaluate.sound import Detector

CLEAR_S = 0.1  # so far from the dub only the source's voice can be heard
LEARNED = (
    ("T2", "translation quality: chrF++, BLEU and COMET are not part of this version"),
    ("S1", "speaker similarity needs a speaker encoder: not part of this version"),
    ("Q1", "naturalness needs a learned judge: not part of this version"),
    ("A2", "lip sync needs SyncNet: not part of this version"),
)


@dataclass(frozen=True)
class Heard:
    """What a recogniser understood of a whole sound track (None: it could not listen), and which one it was."""

    text: str | None
    model: str


Recogniser = Callable[[Path, int, str], Heard]  # file, number of the sound track from 0, language


@dataclass(frozen=True)
class Profile:
    """What the delivery must measure."""

    lufs: float = -16.0
    true_peak_dbtp: float = -1.0
    dialogue_gated: bool = False


@dataclass(frozen=True)
class Tools:
    """What the evaluation may use besides arithmetic.

    Attributes: detect: tells speech, None = line spans are taken. detector: its name and version. hear, hear_source:
    recognisers of the dub's and of the source's language. floor: error rate of the first on human speech, per cent.
    new_picture: the picture was meant to change.
    """

    profile: Profile = Profile()
    detect: Detector | None = None
    detector: str = ""
    hear: Recogniser | None = None
    hear_source: Recogniser | None = None
    floor: float | None = None
    new_picture: bool = False
    progress: Callable[[str], None] = lambda step: None


@dataclass
class _Found:
    """What was found so far."""

    scores: list[Score] = field(default_factory=list[Score])
    gates: list[Gate] = field(default_factory=list[Gate])
    missing: list[Lack] = field(default_factory=list[Lack])
    models: list[str] = field(default_factory=list[str])

    def add(self, row: str, scores: Iterable[Score | None], reason: str) -> None:
        """Scores of a row of the metrics, or why there are none."""
        there = [score for score in scores if score is not None]
        self.scores += there
        if not there:
            self.missing.append(Lack(id=row, reason=reason))


def measure(subject: Subject, tools: Tools) -> Card:
    """Everything that can be measured of `subject` with `tools`. Raises: BadInput for files that cannot be read."""
    found = _Found()
    report, given = subject.report, subject.reference
    if report and report.picture.added_s:  # then a moment of the source is another one of the dub
        stems = {name: path for name, path in subject.stems.items() if name != "dialogue"}
        subject = replace(subject, reference=None, stems=stems)
    if report and (report.picture.burnt_in or report.picture.added_s):
        tools = replace(tools, new_picture=True)
    with ExitStack() as stack:
        dub = stack.enter_context(opened(subject.dub, subject.language))
        number = report.source.audio_track if report else None
        source = stack.enter_context(opened(subject.reference, "", number)) if subject.reference else None
        beside = source or (stack.enter_context(opened(given, "", number)) if given else None)
        tools.progress("listening")
        sounds = Sounds(dub, source)
        tools.progress("finding speech")
        speech = find_speech(subject, tools.detect, tools.detector, sounds)
        basis = "placements" if subject.placed else speech.basis
        subject = placed(subject, speech)
        _text(subject, tools, found, dub)
        _timing(subject, speech, basis, found)
        _sound(subject, tools, found, Ear(sounds, speech))
        tools.progress("comparing pictures")
        _picture(tools, found, sounds, beside)
    _subtitles(subject, found, dub.picture.fps if dub.picture else 0.0)
    explained = frozenset(n.line for n in report.notices if n.line) if report else frozenset[str]()
    if subject.lines:
        found.gates.append(judging.accounted_gate(subject.lines, subject.segments, explained))
    found.gates.append(judging.audible_gate(subject.lines, speech.dub if speech.detected else None))
    if speech.detected:
        found.models.append(tools.detector)
    axes = judging.axes(found.scores, tools.floor)
    gates = tuple(found.gates)
    return Card(
        polydub_version=version("polydub"),
        dub=subject.dub.name,
        reference=subject.reference.name if subject.reference else "",
        language=subject.language,
        passed=judging.passes(gates),
        total=judging.total(axes),
        axes=axes,
        gates=gates,
        scores=tuple(found.scores),
        missing=(*found.missing, *(Lack(id=i, reason=why) for i, why in LEARNED), *judging.unmeasured(axes)),
        models=tuple(dict.fromkeys(found.models)),
    )


def _text(subject: Subject, tools: Tools, found: _Found, dub: Reel) -> None:
    """T1, T3 and the words of B2."""
    texts, sources = [x.text for x in subject.lines], [x.source_text for x in subject.lines]
    error, why = None, "no recogniser was given: --asr"
    if tools.hear and any(texts):
        tools.progress("recognising the dub")
        heard = _hear(tools.hear, subject.dub, dub.number, subject.language)
        why = heard.model
        if heard.text is not None:
            found.models.append(heard.model)
            error = text.error_rate(texts, heard.text, subject.language)
            error = error.model_copy(update={"basis": heard.model}) if error else None
    found.add("T1", [error], why if any(texts) else "no script is known: --script")
    pairs = [(a, b) for a, b in zip(sources, texts, strict=True) if a.strip() and b.strip()]
    found.add("T3", text.length_scores(pairs), "the texts of source and dub are not both known")
    if tools.hear_source and any(sources):
        tools.progress("listening for the source's words")
        heard = _hear(tools.hear_source, subject.dub, dub.number, subject.source_language)
        left = None
        if heard.text is not None:
            found.models.append(heard.model)
            left = text.recovered(sources, heard.text, subject.source_language)
        found.add("B2.words", [left.model_copy(update={"basis": heard.model}) if left else None], heard.model)


def _hear(recogniser: Recogniser, file: Path, track: int, language: str) -> Heard:
    """What is understood; without an engine for the language no text and, as the model, the reason."""
    try:
        return recogniser(file, track, language)
    except (Missing, UnsupportedLanguage) as error:
        return Heard(None, error.message)


def _timing(subject: Subject, speech: Speech, basis: str, found: _Found) -> None:
    """D1 to D6; `basis`: how it is known when lines are heard."""
    slots = [Span(x.source_start, x.source_end) for x in subject.lines]
    lines = timing.line_scores(subject.lines, basis) if subject.placed else ()
    for row in ("D1", "D2", "D4", "D5", "D6"):
        why = (
            "rates are known only in a project" if row in ("D5", "D6") and lines else "no lines with times are known: --script"
        )
        found.add(row, [s for s in lines if s.id.startswith(row)], why)
    if speech.detected and slots:
        found.scores += timing.chunk_scores(subject.lines, speech.source, speech.dub, speech.basis)
    isochrony = timing.isochrony_scores(speech.source, speech.dub, slots, speech.basis) if speech.source else ()
    why = f"no speech was found by {speech.basis}" if speech.detected else "nothing tells when the source speaks: --script"
    found.add("D3", isochrony, why)
    norm = timing.syllable_score(subject.lines, subject.language, basis) if subject.placed else None
    found.add("D5.syllables", [norm], f"no norm of speaking rate is published for {subject.language}, or no line is heard")


def _sound(subject: Subject, tools: Tools, found: _Found, heard: Ear) -> None:
    """L1, L2, B1, B2."""
    from polydub.evaluate import sound

    sounds, profile = heard.sounds, tools.profile
    said = heard.speech.dub or tuple(span for line in subject.lines for span in spoken(line))
    levels = sound.loudness_scores(sounds.levels, profile.lufs, said, profile.dialogue_gated)
    found.scores += levels
    found.gates += judging.level_gates(levels, profile.lufs, profile.true_peak_dbtp, sounds.levels.clipped)
    if sounds.source is None:
        slowed = subject.report is not None and subject.report.picture.added_s > 0
        why = "the picture was slowed down: source and dub have no common clock" if slowed else "the source is not known: --ref"
        found.missing += [Lack(id=row, reason=why) for row in ("L2", "B1", "B2")]
        return
    tools.progress("comparing backgrounds")
    kept, residue = sound.Kept(), sound.Residue()
    voice, bed = sound.Meter(), sound.Meter()
    with ExitStack() as stack:
        stem = stack.enter_context(opened(subject.stems["dialogue"])) if "dialogue" in subject.stems else None
        for at, (s, o, d) in together(sounds, stem):
            talk = sound.frames_in(padded(heard.speech.source), at, s.shape[1])
            dubbed = sound.frames_in(padded(heard.speech.dub), at, s.shape[1])
            kept.add(s, o, ~(talk | dubbed))
            if d is not None:
                alone = ~sound.frames_in(padded(heard.speech.dub, CLEAR_S), at, s.shape[1])
                residue.add(d, s - d, o, sound.frames_in(heard.speech.source, at, s.shape[1]) & alone)
                voice.add(d)
                bed.add(s - d)
    found.add("B1", [kept.score()], "there are no pauses without speech in source and dub")
    found.add(
        "B2", [residue.score()], "needs the source's dialogue stem (--dialogue) and moments in which only the source speaks"
    )
    ours = [stem_level(subject.stems[name]) for name in ("dub", "background") if name in subject.stems]
    change = None
    if stem is not None and len(ours) == 2:
        change = sound.balance((voice.levels().integrated, bed.levels().integrated), (ours[0], ours[1]))
    found.add("L2", [change], "needs the stems dialogue, dub and background")


def _picture(tools: Tools, found: _Found, sounds: Sounds, beside: Reel | None) -> None:
    """A1 and A4; `beside` is the source, even where its moments are others than the dub's."""
    ours, theirs = sounds.dub.picture, sounds.source.picture if sounds.source else None
    why = "the picture was meant to change" if tools.new_picture else "there is no picture to compare with: --ref"
    same, broken = None, ""
    try:
        if ours and theirs and sounds.source and not tools.new_picture:
            same = picture.same(sounds.dub.packets(ours), sounds.source.packets(theirs))
            if not same.untouched:  # another container may store the same pictures otherwise
                same = picture.same(sounds.dub.packets(ours, decoded=True), sounds.source.packets(theirs, decoded=True))
        elif ours:
            for _ in sounds.dub.packets(ours, decoded=True):
                pass
    except (UnreadableMedia, EngineFailed) as error:
        broken = error.message
    found.gates.insert(0, judging.decoding_gate(sounds.complaint, sounds.missing_s, broken))
    found.gates.append(judging.picture_gate(same, broken or why))
    found.add("A4", [picture.picture_score(same) if same else None], broken or why)
    clock = None
    if ours:
        clock = picture.beside(_clock(sounds.dub), _clock(beside) if beside and beside.picture else None)
        found.scores += picture.clock_scores(clock, sounds.late_s)
    else:
        found.missing.append(Lack(id="A1", reason="the dub has no picture"))
    found.gates.append(judging.clock_gate(clock, sounds.late_s))


def _clock(reel: Reel) -> picture.Clock:
    track = reel.picture
    assert track is not None  # noqa: S101 - the caller looked
    sound = picture.extent(reel.packets(reel.track), reel.track.start + reel.source.start)
    return picture.clock(sound, picture.extent(reel.packets(track), track.start + reel.source.start))


def _subtitles(subject: Subject, found: _Found, fps: float) -> None:
    """U1, U2."""
    cues, why, readable = _cues(subject.subtitles)
    talk = [(Span(x.source_start, x.source_end), x.speaker) for x in subject.lines]
    found.gates.append(judging.subtitle_gate(subtitles.faults(cues, talk) if cues else None, why, readable))
    found.add("U1", subtitles.rule_scores(cues, fps), why)
    wanted, reason, _ = _cues(subject.reference_subtitles)
    score = None
    if cues and wanted:
        try:
            score = subtitles.suber(cues, wanted, subject.language)
        except ImportError:
            reason = "needs the package subtitle-edit-rate: pip install 'polydub[eval]'"
    found.add("U2", [score], reason if not wanted or cues else why)


def _cues(file: Path | None) -> tuple[tuple[Cue, ...], str, bool | None]:
    """The cues, why there are none, and whether the file can be read (None: not judged)."""
    if file is None:
        return (), "no subtitles are known", None
    try:
        return subtitles.read(file.read_bytes(), file.suffix), "needs the package subtitle-edit-rate", True
    except BadInput as error:
        return (), f"{file.name}: {error.message}", False
    except ImportError:
        return (), "needs the package pysubs2: pip install 'polydub[eval]'", None
