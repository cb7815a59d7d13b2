"""How good a recording is as the reference of a voice: what was measured, what is wrong with it, one number for choosing.

The bounds were set on real recordings (VibeVoice's, LibriSpeech, LJSpeech, AMI, films), as they are and spoiled on purpose:

| recording | signal / noise | clipped | bandwidth | decay | score |
|---|---|---|---|---|---|
| studio: Carter, Maya, LJSpeech | 60, 39, 44 dB | 0 | 8-10 kHz | 0.15-0.20 s | 1.0 |
| Mary, over music | 14 dB | 0 | 11 kHz | 0.31 s | 0.6 |
| read at home: LibriSpeech test-other | 24-60 dB | 0 | 8 kHz | 0.11-0.24 s | 0.55-1.0 |
| in a street, in a canteen | 7, 17 dB | 0 | 8 kHz | 0.45-0.53 s | 0.3, 0.5 |
| 110 of these and others cut off at 0.7 of the peak | | 0.0006 in the median | | | |
| the same as on a telephone, with an echo of 0.6 s | | | 4 kHz | 0.40-0.43 s | |

Whether it is one person is told by `people`. Importing this costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from polydub.engines.base import SpeakerEncoder, SpeechDetector
from polydub.types import HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Notice, Samples, Span, seconds
from polydub.voices import people

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHORTEST_S = 3.0  # of speech; less is no reference
IDEAL_S = (6.0, 15.0)  # of speech
LONGEST_S = 30.0  # of the recording; engines get no more of it
MOST_DB = 60.0  # a signal-to-noise ratio above this is written as this
HOPELESS_DB, NOISY_DB, CLEAN_DB = 5.0, 20.0, 35.0
CLIPPED, RUINED = 5e-5, 1e-2  # share of samples; at most 1.5e-5 of 110 recordings that nobody clipped
FLAT = 3  # samples side by side within 1 % of the peak are a clipped top
NARROW_HZ = 5_000.0  # a telephone ends at 3.4 kHz, a radio of 1961 at 5 kHz, what is recorded today above 5.6 kHz
ECHO_S = 0.33  # decay: dry recordings 0.11 to 0.25 s, an echo of 0.6 s comes out as 0.40 to 0.43 s
QUIET_LUFS = -40.0
OFFSET = 0.05  # mean / RMS
PAUSES = 0.6  # share of the recording
_FRAME_S = 0.032
_NEAR = 2  # frames around speech that are no pause
_ENOUGH = 10  # frames of pause by which noise is measured
Severity = Literal["info", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes: seconds, speech_s: length of the recording and of the speech in it. snr_db: speech beside what is heard between
    the words, above 100 Hz, at most MOST_DB. clipped: share of samples in flat tops. lufs: of all of it.
    peak_dbfs: highest sample. offset: |mean| / RMS. bandwidth_hz: highest frequency at which speech is within 60 dB of its
    loudest. decay_s: RT60 as `audio.perspective.decay` tells it, 0.0 = not known.
    apart: cosine distance of the two most different voices in it, 0.0 = one, or not asked. told_by: the encoder that told.
    """

    seconds: float
    speech_s: float
    snr_db: float
    clipped: float
    lufs: float
    peak_dbfs: float
    offset: float
    bandwidth_hz: float
    decay_s: float
    apart: float = 0.0
    told_by: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing. "bad" means that no engine will speak well from this recording."""

    code: str
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What to think of a recording. Attributes: score: 0.0 (useless) to 1.0, for choosing among several. likeness: None where
    nobody listened, or to hardly anything."""

    figures: Figures
    findings: tuple[Finding, ...]
    score: float
    likeness: people.Likeness | None = None

    @property
    def hopeless(self) -> bool:
        """Whether it should not be used."""
        return any(finding.severity == "bad" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Ear:
    """An encoder by which voices are told apart, and its name."""

    name: str
    encoder: SpeakerEncoder


def speech_in(sound: Audio, detector: SpeechDetector) -> tuple[Span, ...]:
    """Where somebody speaks in a recording (1, n) at any rate, without padding, in seconds. Silence has none."""
    import numpy as np

    from polydub.audio import activity, signal

    heard = signal.resample(sound.samples, sound.rate_hz, HEAR_HZ)
    peak = float(np.abs(heard).max(initial=0.0))
    louder = np.clip(heard * np.float32(0.9 / max(peak, 1e-4)), -1, 1)
    chances = np.array(detector.probabilities(Audio(louder, HEAR_HZ)))
    times = [n * VAD_FRAME / HEAR_HZ for n in range(len(chances))]
    return activity.spans(chances, times, sound.duration, activity.Rules(pad_s=0.0, min_silence_s=0.1, longest_s=600.0))


def judged(sound: Audio, speech: Sequence[Span], ear: Ear | None = None) -> Quality:
    """What to think of a recording (1, n) in which somebody speaks in `speech`; with `ear` also whether it is one person.

    Empty and silent sound is hopeless. The same sound gives the same figures.
    """
    rows = people.voiceprints(sound, speech, ear.encoder) if ear else None
    figures = _measured(sound, speech)
    likeness = None
    if ear and rows is not None:
        figures = replace(figures, apart=round(people.apart(rows, ear.encoder.calibration), 3), told_by=ear.name)
        likeness = people.likeness(rows, ear.encoder.calibration)
    findings = tuple(_findings(figures, ear))
    return Quality(figures, findings, _score(figures, findings), likeness)


def strangers(told: Sequence[Quality], *, sure: bool = False) -> tuple[int, ...]:
    """Which of several recordings, heard by the same ear, sound like somebody else than the one who speaks most in them.

    `sure`: only those of which no other microphone or room is the reason.
    """
    known = [(n, one, one.likeness) for n, one in enumerate(told) if one.likeness]
    alike = [[n for n, _, other in known if mine.apart(other) <= mine.bound] for _, _, mine in known]
    speech_s = [sum(told[n].figures.speech_s for n in group) for group in alike]
    most = alike[speech_s.index(max(speech_s))] if known else []
    others = [(n, one) for n, _, one in known if n not in most]
    own = [one for n, _, one in known if n in most]
    return tuple(n for n, other in others if not sure or all(one.apart(other) > one.sure for one in own))


def remarks(heard: Sequence[tuple[str, Quality]]) -> tuple[Notice, ...]:
    """What there is to say of recordings by name that sound like somebody else than most of them."""
    told = [one for _, one in heard]
    others, sure = strangers(told), strangers(told, sure=True)
    name, best = max((one for n, one in enumerate(heard) if n not in others), key=lambda one: one[1].score, default=("", None))
    notices: list[Notice] = []
    for some, doubt in ((sure, ""), ([n for n in others if n not in sure], ", or from another microphone or room")):
        if some and best:
            names = f"{', '.join(heard[n][0] for n in some)} sound{'s' * (len(some) == 1)}"
            by = f"(told by {best.figures.told_by})"
            notices.append(Notice("another-voice", f"{names} like another person than {name}{doubt} {by}"))
    return tuple(notices)


def _measured(sound: Audio, speech: Sequence[Span]) -> Figures:
    """All but `apart`."""
    import numpy as np

    from polydub.audio import loudness, perspective, signal

    mono = sound.samples[0]
    peak = float(np.abs(mono).max(initial=0.0))
    spoken_s = seconds(sum(span.end - span.start for span in speech))
    if not peak or not len(mono):
        return Figures(seconds(sound.duration), 0.0, 0.0, 0.0, loudness.SILENT_LUFS, -120.0, 0.0, 0.0, 0.0)
    wide = signal.resample(sound.samples, sound.rate_hz, RATE_HZ)
    heard = signal.resample(sound.samples, sound.rate_hz, HEAR_HZ)
    power = _powers(heard[0])
    inside, pause = _where(speech, len(power))
    return Figures(
        seconds(sound.duration),
        spoken_s,
        round(_snr_db(power, inside, pause), 1),
        round(_clipped(mono, peak), 6),
        round(loudness.integrated(loudness.join([loudness.energies(wide, 0)])), 1),
        round(signal.decibels(peak), 1),
        round(_offset(mono), 4),
        round(_bandwidth_hz(mono, sound.rate_hz)),
        perspective.decay(wide),
    )


def _clipped(mono: Samples, peak: float) -> float:
    """Share of the samples in tops that are flat."""
    import numpy as np

    flat = 0
    for side in (mono, -mono):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], side >= 0.99 * peak, [False]]).astype(np.int8)))
        lengths = edges[1::2] - edges[::2]
        flat += int(lengths[lengths >= FLAT].sum())
    return flat / len(mono)


def _offset(mono: Samples) -> float:
    """|mean| / RMS."""
    import numpy as np

    whole = mono.astype(np.float64)
    return abs(float(np.mean(whole))) / float(np.sqrt(np.mean(np.square(whole))))


def _powers(mono: Samples) -> NDArray[np.float64]:
    """Mean squares of frames at HEAR_HZ above 100 Hz: rumble is heard less than it measures."""
    import numpy as np

    from polydub.audio import IMPORTING

    with IMPORTING:
        from scipy.signal import butter, sosfilt

    high = np.asarray(sosfilt(butter(2, 100, "highpass", fs=HEAR_HZ, output="sos"), mono), np.float64)
    count = len(high) // VAD_FRAME
    return np.square(high[: count * VAD_FRAME]).reshape(count, VAD_FRAME).mean(axis=1) + 1e-12


def _where(speech: Sequence[Span], frames: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which frames are speech, and which lie well outside it."""
    import numpy as np

    inside, near = np.zeros(frames, bool), np.zeros(frames, bool)
    for span in speech:
        low, high = round(span.start / _FRAME_S), round(span.end / _FRAME_S)
        inside[low:high] = True
        near[max(0, low - _NEAR) : high + _NEAR] = True
    return inside, ~near


def _snr_db(power: NDArray[np.float64], inside: NDArray[np.bool_], pause: NDArray[np.bool_]) -> float:
    """Speech beside the pauses; where there are hardly any, beside the quietest twentieth."""
    import numpy as np

    if not inside.any():
        return 0.0
    noise = float(np.median(power[pause]) if pause.sum() >= _ENOUGH else np.percentile(power, 5))
    speech = max(float(power[inside].mean()) - noise, 1e-12)
    return min(MOST_DB, float(10 * np.log10(speech / noise)))


def _bandwidth_hz(mono: Samples, rate_hz: int) -> float:
    """Up to where the louder frames reach in steps of a sixth of an octave; 0.0 for less than a frame."""
    import numpy as np

    size = round(0.064 * rate_hz)
    if len(mono) < size:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[:: size // 2] * np.hanning(size).astype(np.float32)
    power: NDArray[np.float64] = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    energy = power.sum(axis=1)
    top: NDArray[np.float64] = np.percentile(power[energy >= np.percentile(energy, 95) * 1e-3], 95, axis=0)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    edges = 125 * 2 ** (np.arange(48) / 6)
    levels = [top[(hz >= low) & (hz < high)].mean() for low, high in pairwise(edges) if high <= rate_hz / 2]
    reached = np.flatnonzero(np.array(levels) > max(levels, default=0.0) * 1e-6)
    return float(edges[reached[-1] + 1]) if len(reached) else 0.0


def _findings(f: Figures, ear: Ear | None) -> Iterator[Finding]:
    yield from _length(f)
    if not f.speech_s:
        return
    yield from _noise(f)
    if f.clipped > CLIPPED:
        much = "bad" if f.clipped > RUINED else "warning"
        yield Finding("clipped", much, f"the sound is clipped: {f.clipped:.2%} of its samples lie in flat tops")
    if f.lufs < QUIET_LUFS:
        yield Finding("quiet", "warning", f"it is very quiet ({f.lufs:.0f} LUFS): noise comes up with the voice")
    if f.offset > OFFSET:
        yield Finding("offset", "warning", f"the sound has an offset (DC) of {f.offset:.0%} of its level: filter it out")
    if f.bandwidth_hz < NARROW_HZ:
        yield Finding("narrow", "warning", f"nothing is heard above {f.bandwidth_hz / 1000:.1f} kHz, as on a telephone")
    if f.decay_s > ECHO_S and f.snr_db >= NOISY_DB:  # noise fills the pauses as an echo does
        yield Finding("echo", "warning", f"the room echoes (it dies away in {f.decay_s:.1f} s): a clone will have it too")
    if ear and f.apart > people.APART * ear.encoder.calibration.merge:
        much = "bad" if f.apart > people.FAR_APART * ear.encoder.calibration.merge else "warning"
        yield Finding("several", much, f"it sounds like more than one person (told by {ear.name})")


def _length(f: Figures) -> Iterator[Finding]:
    low, high = IDEAL_S
    if f.speech_s < SHORTEST_S:
        text = (
            f"{f.speech_s:.1f} s of speech are too little: give {SHORTEST_S:.0f} s at least, better {low:.0f} to {high:.0f} s"
        )
        yield Finding("too-short", "bad", text)
    elif f.speech_s < low:
        yield Finding("short", "info", f"{f.speech_s:.1f} s of speech will do; {low:.0f} to {high:.0f} s are better")
    if f.seconds > LONGEST_S:
        yield Finding("too-long", "warning", f"only the first {LONGEST_S:.0f} s of {f.seconds:.0f} s are used")
    elif f.speech_s > high:
        yield Finding(
            "long", "info", f"{f.speech_s:.0f} s of speech are more than the {low:.0f} to {high:.0f} s that engines need"
        )
    if f.speech_s and 1 - f.speech_s / f.seconds > PAUSES:
        yield Finding("pauses", "info", f"only {f.speech_s / f.seconds:.0%} of it is speech")


def _noise(f: Figures) -> Iterator[Finding]:
    if f.snr_db < HOPELESS_DB:
        yield Finding("noisy", "bad", f"noise or music is nearly as loud as the voice ({f.snr_db:.0f} dB below it)")
    elif f.snr_db < NOISY_DB:
        yield Finding("noisy", "warning", f"noise or music is {f.snr_db:.0f} dB below the voice: a clone will have it too")


def _score(f: Figures, findings: Sequence[Finding]) -> float:
    """1.0 less what each fault costs; smooth, so that of two recordings the better one has more."""
    if f.speech_s <= 0:
        return 0.0
    short = max(0.0, (IDEAL_S[0] - f.speech_s) / IDEAL_S[0])
    noise = min(1.0, max(0.0, (CLEAN_DB - f.snr_db) / (CLEAN_DB - HOPELESS_DB)))
    clipping = 0.0 if f.clipped <= CLIPPED else min(1.0, 0.3 + f.clipped / RUINED)
    narrow = min(1.0, max(0.0, (8_000 - f.bandwidth_hz) / 4_000))
    echo = min(1.0, max(0.0, (f.decay_s - 0.22) / 0.3))
    several = float(any(x.code == "several" for x in findings))
    long = 0.05 * float(f.seconds > LONGEST_S)
    quiet = min(1.0, max(0.0, (QUIET_LUFS + 10 - f.lufs) / 20))
    pauses = max(0.0, 1 - f.speech_s / max(f.seconds, 1e-3) - 0.3)
    cost = (
        0.6 * short
        + 0.5 * noise
        + 0.3 * clipping
        + 0.25 * narrow
        + 0.2 * echo
        + 0.4 * several
        + long
        + 0.1 * quiet
        + 0.1 * pauses
    )
    return round(max(0.0, 1 - cost), 3)
