"""What a voice sounds like in a few numbers: of a speaker in the film, and of a voice that may be given to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from polydub.engines.base import SpeakerEncoder, Stock
from polydub.spans import bridged
from polydub.stages import listen
from polydub.types import HEAR_HZ, RATE_HZ, Artifact, Audio, Excerpt, Samples, Span, Speech, Take, Turn, Voice, seconds
from polydub.work import Work, engine_stage, stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENOUGH_S = 24.0  # of speech for one portrait
PART_S = (2.0, 8.0)  # shorter parts are used only where there is nothing else; longer ones are cut
EDGE_S = 0.1  # kept away from what others say
WINDOW_S = 1.6  # what speaker encoders are trained on
SHORTEST_S = 0.3  # less sound is no voice
PLACES = 4  # a portrait is drawn from so many regions of the film


@dataclass(frozen=True, slots=True)
class Portrait:
    """A voice in numbers. Two of one encoder may be compared.

    Attributes: voiceprint: of unit length, from the encoder; () without sound. median_hz: 0.0 when hardly anything is
    voiced. spread_semitones: 10th to 90th percentile of the pitch. spectrum: see audio.match. seconds: of sound looked at.
    """

    voiceprint: tuple[float, ...]
    median_hz: float
    spread_semitones: float
    spectrum: tuple[float, ...]
    seconds: float


def best_excerpts(turns: Sequence[Turn], speech: Speech, speaker: str) -> tuple[Excerpt, ...]:
    """Up to about ENOUGH_S of what `speaker` says alone, in order of time; () when there is nothing.

    Parts of PART_S, the longest of each region of the film in turn, so that one shouted scene is not the whole portrait.
    """
    parts = [part for span in alone(turns, speech.spans, speaker, EDGE_S) for part in cut(span, PART_S[1])]
    long = [part for part in parts if part.duration >= PART_S[0]] or parts
    regions = [long[len(long) * n // PLACES : len(long) * (n + 1) // PLACES] for n in range(PLACES)]
    ranked = [sorted(region, key=lambda p: (-p.duration, p.start)) for region in regions]
    chosen: list[Span] = []
    for part in (p for several in zip_longest(*ranked) for p in several if p is not None):
        if sum(p.duration for p in chosen) >= ENOUGH_S:
            break
        chosen.append(part)
    return tuple(listen.excerpt(speech, p.start, p.end) for p in sorted(chosen, key=lambda p: p.start))


def alone(turns: Sequence[Turn], heard: Sequence[Span], speaker: str, edge_s: float) -> list[Span]:
    """Where `speaker` is heard and nobody else within `edge_s` seconds, in order; `heard`: any speech, () = not known."""
    own = bridged([t for t in turns if t.speaker == speaker], 0.0)
    others = bridged([Span(t.start - edge_s, t.end + edge_s) for t in turns if t.speaker != speaker], 0.0)
    return _without(_shared(own, heard) if heard else own, others)


def _shared(one: Iterable[Span], other: Sequence[Span]) -> list[Span]:
    """Where both are."""
    pairs = ((a, b) for a in one for b in other if b.start < a.end and a.start < b.end)
    return [Span(max(a.start, b.start), min(a.end, b.end)) for a, b in pairs]


def _without(spans: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    """What of `spans` is outside `others`, which are in order and do not overlap."""
    left: list[Span] = []
    for span in spans:
        at = span.start
        for other in (o for o in others if o.end > span.start and o.start < span.end):
            if other.start > at:
                left.append(Span(at, other.start))
            at = max(at, other.end)
        if at < span.end:
            left.append(Span(at, span.end))
    return left


def cut(span: Span, longest_s: float) -> list[Span]:
    """Equal parts of at most `longest_s`; what is under half a second is dropped."""
    if span.duration < 0.5:
        return []
    count = -(-int(span.duration * 1000) // int(longest_s * 1000))
    step = (span.end - span.start) / count
    return [Span(seconds(span.start + n * step), seconds(span.start + (n + 1) * step)) for n in range(count)]


@engine_stage("portray", "embedding", version=2)
def portray(work: Work, encoder: SpeakerEncoder, excerpts: tuple[Excerpt, ...]) -> Portrait:
    """The portrait of a speaker of the film. No or silent excerpts give one without voiceprint, pitch and spectrum."""
    (portrait,) = _portraits(encoder, [[listen.sound_of(work, excerpt).samples for excerpt in excerpts]])
    return portrait


@engine_stage("audition", "embedding", version=2)
def audition(work: Work, encoder: SpeakerEncoder, takes: tuple[Take, ...]) -> tuple[Portrait, ...]:
    """The portraits of voices, from one take each. Several at once: the encoder's time goes into reading its weights."""
    from polydub.audio import signal
    from polydub.media.flac import read_flac

    sounds: list[Samples] = []
    for take in takes:
        whole = read_flac(work.path(take.sound), 0, round(take.duration * RATE_HZ))
        sounds.append(signal.resample(whole, RATE_HZ, HEAR_HZ))
    return tuple(_portraits(encoder, [[sound] for sound in sounds]))


@engine_stage("portray-recordings", "embedding", version=2)
def portray_recordings(work: Work, encoder: SpeakerEncoder, recordings: tuple[Artifact, ...]) -> Portrait:
    """The portrait of the person who is heard in recordings (mono FLAC at any rate); the first ENOUGH_S count."""
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    from polydub.audio import signal
    from polydub.media.flac import read_flac

    sounds: list[Samples] = []
    for path in map(work.path, recordings):
        left = ENOUGH_S - sum(sound.shape[1] for sound in sounds) / HEAR_HZ
        if left > SHORTEST_S:
            rate_hz = soundfile.info(path).samplerate
            sounds.append(signal.resample(read_flac(path, 0, round(left * rate_hz)), rate_hz, HEAR_HZ))
    (portrait,) = _portraits(encoder, [sounds])
    return portrait


@engine_stage("stock", "tts")
def stock(work: Work, tts: Stock, language: str) -> tuple[Voice, ...]:
    """All voices among which one near to a speaker may be found. Raises UnsupportedLanguage."""
    return tuple(tts.stock(language))


@engine_stage("near", "tts")
def near(work: Work, tts: Stock, voice: Voice) -> tuple[Voice, ...]:
    """Variations of `voice`, which is not among them."""
    return tuple(tts.near(voice))


def _portraits(encoder: SpeakerEncoder, voices: Sequence[Sequence[Samples]]) -> Iterator[Portrait]:
    """The portrait of each voice from pieces of sound, mono (1, n) at HEAR_HZ."""
    import numpy as np

    from polydub.audio import match, pitch

    pieces = [(n, sound) for n, sounds in enumerate(voices) for sound in sounds]
    owners: list[int] = []
    windows: list[Span] = []
    at = 0.0
    for n, sound in pieces:
        length = sound.shape[1] / HEAR_HZ
        if length >= SHORTEST_S and np.any(sound):
            own = _windows(at, length)
            windows += own
            owners += [n] * len(own)
        at += length
    joined = np.concatenate([sound for _, sound in pieces], axis=1) if pieces else np.zeros((1, 0), np.float32)
    rows = encoder.embed(Audio(joined, HEAR_HZ), windows) if windows else np.zeros((0, 1), np.float32)
    for n, sounds in enumerate(voices):
        own_rows = rows[[owner == n for owner in owners]] if owners else rows
        if not len(own_rows):
            yield Portrait((), 0.0, 0.0, (), 0.0)
            continue
        mean = own_rows.mean(axis=0, dtype=np.float64)
        unit = mean / max(float(np.linalg.norm(mean)), 1e-9)
        mono = np.concatenate(list(sounds), axis=1)[0]
        f0 = pitch.track(mono, HEAR_HZ)[1]
        yield Portrait(
            tuple(round(float(x), 4) for x in unit),
            round(pitch.median_hz(f0), 1),
            round(pitch.spread_semitones(f0), 2),
            match.spectrum(mono, HEAR_HZ),
            seconds(len(mono) / HEAR_HZ),
        )


def _windows(at: float, length: float) -> list[Span]:
    """Windows of about WINDOW_S that cover `length` seconds from `at`."""
    count = max(1, round(length / WINDOW_S))
    step = max(0.0, length - WINDOW_S) / max(1, count - 1)
    return [Span(at + n * step, at + min(length, n * step + WINDOW_S)) for n in range(count)]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A voice that may be given to a speaker, and what it sounds like."""

    voice: Voice
    portrait: Portrait


@dataclass(frozen=True, slots=True)
class Sitting:
    """One speaker, the others of the film, and the voices that were heard for this speaker."""

    portrait: Portrait
    others: tuple[Portrait, ...]
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """How alike different voices of one stock are to one encoder: mean and standard deviation of their cosines.

    It makes the costs below independent of the encoder.
    """

    mean: float
    unit: float


@dataclass(frozen=True, slots=True)
class Match:
    """The voice for one speaker. likeness: cosine of its voiceprint and the speaker's, 0.0 when unknown. reason: for people."""

    voice: Voice
    likeness: float
    reason: str


# Costs in units of Scale, chosen with Resemblyzer on nine speakers in Spanish and German (benchmarks/matching.py).
OCTAVE_COST = 3.0  # of a wrong pitch, per octave
DECIBEL_COST = 0.05  # of another spectrum, per dB (RMS)
CONTRAST = 1.0  # cosines of being nearer to another speaker, or nearly as near, than to the right one
MARGIN = 1.5  # how much nearer to the right one is enough
ALIKE = 0.35  # cosines above mean + ALIKE are too alike and cost themselves
TWIN_SEMITONES, TWIN_DB, TWIN_COST = 3.0, 4.0, 3.0  # voices that differ by less, in both, cost up to TWIN_COST
FAR_SEMITONES = 5.0  # no voice is farther from the speaker's pitch while there is one that is not
OUT = 100.0  # more than all other costs
ROUNDS = 5  # in which everyone may choose again, knowing the others' choice
UNSURE_S = 2.0  # of speech; less makes no portrait


def unsure(portrait: Portrait) -> bool:
    """Whether too little is known of a voice to match it."""
    return portrait.seconds < UNSURE_S or not portrait.median_hz or not portrait.voiceprint


@stage("gauge")
def gauge(work: Work, stock: tuple[Candidate, ...]) -> Scale:
    """The scale of a stock, from its voices of different names."""
    import numpy as np

    prints = _prints([c.portrait for c in stock])
    names = np.array([c.voice.name for c in stock])
    found = (prints @ prints.T)[names[:, np.newaxis] != names]
    if not found.size:
        return Scale(0.0, 1.0)
    return Scale(round(float(found.mean()), 4), max(0.001, round(float(found.std()), 4)))


@stage("rank")
def rank(work: Work, sitting: Sitting, scale: Scale, count: int) -> tuple[Voice, ...]:
    """The `count` best voices for a speaker, best first, each with an equaliser towards the speaker unless it has one."""
    import numpy as np

    from polydub.audio import match

    order = np.argsort(-_scores(sitting, scale), kind="stable")[:count]
    best = [sitting.candidates[int(n)] for n in order]
    target = sitting.portrait.spectrum
    return tuple(replace(c.voice, tone=c.voice.tone or match.tone(c.portrait.spectrum, target)) for c in best)


@stage("choose-voices", version=2)
def choose(work: Work, sittings: tuple[Sitting, ...], given: tuple[Candidate, ...], scale: Scale) -> tuple[Match, ...]:
    """One voice for each sitting, near to the speaker and unlike the others and those already `given`.

    First the speaker whose best voice is best, then the next; then each chooses again, until nobody changes. Those of whom
    too little is known come last and get what is most unlike the rest, near their pitch if that is known.
    """
    import numpy as np

    chosen: dict[int, Candidate] = {}
    scores = [_scores(sitting, scale) for sitting in sittings]
    sure = sorted((n for n, s in enumerate(sittings) if not unsure(s.portrait)), key=lambda n: -float(scores[n].max()))
    for _ in range(ROUNDS):
        before = dict(chosen)
        for n in sure:
            taken = [*given, *(c for m, c in chosen.items() if m != n)]
            at = np.argmax(scores[n] - _alike(sittings[n].candidates, taken, scale).sum(axis=1))
            chosen[n] = sittings[n].candidates[int(at)]
        if chosen == before:
            break
    for n in (n for n in range(len(sittings)) if n not in chosen):
        candidates = sittings[n].candidates
        taken = [*given, *chosen.values()]
        cost = _nearest(candidates, taken) + _alike(candidates, taken, scale).sum(axis=1) + OUT * _far(sittings[n])
        chosen[n] = candidates[int(np.argmin(cost))]
    return tuple(_told(sitting, chosen[n]) for n, sitting in enumerate(sittings))


def _told(sitting: Sitting, candidate: Candidate) -> Match:
    if unsure(sitting.portrait):
        return Match(candidate.voice, 0.0, "too little speech to match; a voice unlike the others")
    likeness = sum(a * b for a, b in zip(candidate.portrait.voiceprint, sitting.portrait.voiceprint, strict=True))
    pitch = f"{candidate.portrait.median_hz:.0f} Hz where the speaker has {sitting.portrait.median_hz:.0f} Hz"
    return Match(candidate.voice, round(likeness, 3), f"matched: {pitch}, likeness {likeness:.2f}")


def _prints(portraits: Sequence[Portrait]) -> NDArray[np.float64]:
    """Voiceprints as rows; a portrait without one gives zeros."""
    import numpy as np

    width = max((len(p.voiceprint) for p in portraits), default=0)
    return np.array([p.voiceprint or (0.0,) * width for p in portraits], np.float64).reshape(len(portraits), width)


def _semitones(portraits: Sequence[Portrait], median_hz: float) -> NDArray[np.float64]:
    """How far each is from `median_hz`; where a pitch is unknown, one more than FAR_SEMITONES."""
    import numpy as np

    own = np.array([p.median_hz for p in portraits], np.float64)
    known = (own > 0) & (median_hz > 0)
    return np.where(known, np.abs(12 * np.log2(np.maximum(own, 1) / max(median_hz, 1.0))), FAR_SEMITONES + 1)


def _far(sitting: Sitting) -> NDArray[np.bool_]:
    """Which candidates are too far from the speaker's pitch; none when all are."""
    far = _semitones([c.portrait for c in sitting.candidates], sitting.portrait.median_hz) > FAR_SEMITONES
    return far & ~far.all()


def _scores(sitting: Sitting, scale: Scale) -> NDArray[np.float64]:
    """How well each candidate suits the speaker, in cosines; the higher, the better."""
    import numpy as np

    from polydub.audio import match

    heard, portrait = [c.portrait for c in sitting.candidates], sitting.portrait
    if unsure(portrait):
        return np.zeros(len(heard))
    prints = _prints(heard)
    likeness = prints @ np.array(portrait.voiceprint)
    octaves = _semitones(heard, portrait.median_hz) / 12
    decibels = np.array([match.distance_db(p.spectrum, portrait.spectrum) for p in heard])
    score = likeness - scale.unit * (OCTAVE_COST * octaves + DECIBEL_COST * decibels)
    others = [p for p in sitting.others if p.voiceprint]
    if others:
        nearest = (prints @ _prints(others).T).max(axis=1)
        score -= CONTRAST * np.maximum(0, nearest - likeness + MARGIN * scale.unit)
    return np.round(score - OUT * _far(sitting), 6)


def _nearest(candidates: Sequence[Candidate], taken: Sequence[Candidate]) -> NDArray[np.float64]:
    """The cosine of each candidate and the likest of those `taken`; 0.0 when there are none."""
    import numpy as np

    if not taken:
        return np.zeros(len(candidates))
    cosines = _prints([c.portrait for c in candidates]) @ _prints([c.portrait for c in taken]).T
    nearest: NDArray[np.float64] = cosines.max(axis=1)
    return np.round(nearest, 6)


def _alike(candidates: Sequence[Candidate], taken: Sequence[Candidate], scale: Scale) -> NDArray[np.float64]:
    """What it costs each candidate to sound like each of those `taken`, in cosines (candidates, taken)."""
    import numpy as np

    from polydub.audio import match

    if not taken:
        return np.zeros((len(candidates), 1))
    heard = [c.portrait for c in candidates]
    cosines = _prints(heard) @ _prints([c.portrait for c in taken]).T
    cost = np.maximum(0, cosines - scale.mean - ALIKE * scale.unit)
    for column, other in enumerate(t.portrait for t in taken):
        pitch = _semitones(heard, other.median_hz) / TWIN_SEMITONES
        timbre = np.array([match.distance_db(p.spectrum, other.spectrum) for p in heard]) / TWIN_DB
        cost[:, column] += TWIN_COST * scale.unit * np.maximum(0, 1 - pitch) * np.maximum(0, 1 - timbre)
    return cost
