"""Proof of the evaluator: signals and films whose figures are known, made on the spot."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polydub.audio import signal
from polydub.evaluate import sound, text, timing
from polydub.evaluate.card import BEST_DB, Card
from polydub.evaluate.inputs import Subject
from polydub.evaluate.measuring import Profile, Tools, measure
from polydub.media import ffmpeg
from polydub.report.model import ReportLine
from polydub.types import BLOCK, RATE_HZ, Samples, Span

LATE_S = 0.08
_LENGTH_S = 8.0
_SAID = (Span(1.0, 2.5), Span(3.5, 5.0), Span(5.5, 6.5))
# EBU Tech 3341, table 1, cases 1 to 5 and Tech 3342, table 1, cases 1 to 4: (dBFS, seconds) of a stereo sine of 1 kHz
LOUD_CASES = (
    ("EBU 3341 case 1", ((-23.0, 20.0),), -23.0),
    ("EBU 3341 case 2", ((-33.0, 20.0),), -33.0),
    ("EBU 3341 case 3", ((-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)), -23.0),
    ("EBU 3341 case 4", ((-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)), -23.0),
    ("EBU 3341 case 5", ((-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)), -23.0),
)
RANGE_CASES = (
    ("EBU 3342 case 1", ((-20.0, 20.0), (-30.0, 20.0)), 10.0),
    ("EBU 3342 case 2", ((-20.0, 20.0), (-15.0, 20.0)), 5.0),
    ("EBU 3342 case 3", ((-40.0, 20.0), (-20.0, 20.0)), 20.0),
    ("EBU 3342 case 4", ((-50.0, 20.0), (-35.0, 20.0), (-20.0, 20.0), (-35.0, 20.0), (-50.0, 20.0)), 15.0),
)
# Human references of the isometric task (amazon-science/isometric-slt): mean length ratio, per cent within 10 %
ISOMETRIC = {"en-de": (1.065, 62.0), "en-fr": (1.095, 70.5), "en-es": (0.986, 64.0), "en-it": (0.957, 71.5)}


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was proved, or not."""

    name: str
    passed: bool
    found: str
    wanted: str


def run(isometric: Path | None = None) -> tuple[Check, ...]:
    """All checks, some seconds of work. `isometric`: folder with en-de/test.en and so on, where it is at hand."""
    return (*_meters(), *_voices(), *_films(), *(human_lengths(isometric) if isometric else ()))


def tone(steps: Sequence[tuple[float, float]]) -> Samples:
    """A stereo sine of 1 kHz that has each level (peak, dBFS) for so many seconds."""
    parts = [np.full(round(length * RATE_HZ), 10 ** (level / 20)) for level, length in steps]
    curve = np.concatenate(parts)
    wave = curve * np.sin(2 * np.pi * 1000 / RATE_HZ * np.arange(len(curve)))
    return np.stack([wave, wave]).astype(np.float32)


def _blocks(samples: Samples) -> Iterator[Samples]:
    for at in range(0, samples.shape[1], BLOCK):
        yield samples[:, at : at + BLOCK]


def _near(name: str, found: float, wanted: float, by: float) -> Check:
    return Check(name, abs(found - wanted) <= by, f"{found:.3f}", f"{wanted:g} within {by:g}")


def _meters() -> Iterator[Check]:
    for name, steps, wanted in LOUD_CASES:
        yield _near(f"{name}, LUFS", sound.measured(_blocks(tone(steps))).integrated, wanted, 0.1)
    for name, steps, wanted in RANGE_CASES:
        yield _near(f"{name}, LU", sound.measured(_blocks(tone(steps))).range_lu, wanted, 1.0)
    whole, half = (sound.measured(_blocks(tone(((level, 20.0),)))).integrated for level in (-20.0, -26.0))
    yield _near("-6 dB in LU", half - whole, -6.0, 0.1)


def _material() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A voice that speaks in `_SAID` and a background, (frames,) each: noise, always the same."""
    random = np.random.default_rng(7)
    at = np.arange(round(_LENGTH_S * RATE_HZ)) / RATE_HZ
    spoken = sound.frames_in(_SAID, 0, len(at)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at))
    buzz = sum(np.sin(2 * np.pi * 130 * n * at) / n for n in range(1, 20))
    voice = 0.1 * spoken * (buzz + 0.3 * random.standard_normal(len(at)))
    smooth = np.convolve(random.standard_normal(len(at)), np.ones(24) / 24, "same")
    return voice.astype(np.float32), (0.1 * smooth).astype(np.float32)


def _voices() -> Iterator[Check]:
    voice, bed = (x[np.newaxis] for x in _material())
    figures: list[float] = []
    for level in (0.0, 10 ** (-20 / 20)):
        residue = sound.Residue()
        residue.add(voice, bed, bed + signal.scaled(voice, level), sound.frames_in(_SAID, 0, bed.shape[1]))
        figures.append(residue.ratio_db() or 0.0)
    yield Check("no voice of the source", figures[0] <= -60, f"{figures[0]:.1f} dB", "-60 dB or less")
    yield _near("voice of the source at -20 dB, dB", figures[1], -20.0, 0.5)
    iou = next(s.value for s in timing.isochrony_scores(_SAID, _SAID, _SAID, "") if s.id == "D3.iou")
    yield _near("overlap of a dub with itself", iou or 0.0, 1.0, 0.0)


def _films() -> Iterator[Check]:
    """Whole films through all of the evaluation: the original as its own dub, late, and muted."""
    voice, bed = _material()
    with tempfile.TemporaryDirectory(prefix="polydub-") as name:
        folder = Path(name)
        film = _film(folder / "film.mkv", voice + bed, folder)
        same = _card(film, film)
        yield _near("background of a dub that is the original, dB (120 is infinite)", _value(same, "B1.sisdr"), BEST_DB, 0.0)
        yield _near("pictures of a dub that is the original, %", _value(same, "A4.same"), 100.0, 0.0)
        yield _near("delay of a dub that is the original, ms", _value(same, "A1.delay"), 0.0, 0.0)
        yield _near("overlap of a dub that is the original", _value(same, "D3.iou"), 1.0, 0.0)
        yield Check("a dub that is the original", same.passed, _failed(same) or "passes", "passes")
        late = _card(_late(film, folder / "late.mkv"), film)
        yield _near("sound 80 ms late, ms", _value(late, "A1.delay"), 1000 * LATE_S, 10.0)
        yield Check("a dub 80 ms late", not late.passed, _failed(late) or "passes", "fails")
        muted = _card(_film(folder / "muted.mkv", 0 * voice, folder), film)
        yield Check("a muted dub", not muted.passed, _failed(muted) or "passes", "fails")


def _film(path: Path, mono: NDArray[np.float32], folder: Path) -> Path:
    wave = folder / f"{path.stem}.flac"
    ffmpeg.write_flac(wave, mono[np.newaxis])
    size = f"testsrc2=size=96x64:rate=25:duration={_LENGTH_S}"
    codecs = ["-c:v", "mpeg4", "-c:a", "flac", "-fflags", "+bitexact"]
    ffmpeg.run(["-f", "lavfi", "-i", size, "-i", f"file:{wave}", *codecs, f"file:{path}"], stage="the self-test")
    return path


def _late(film: Path, path: Path) -> Path:
    inputs = ["-i", f"file:{film}", "-itsoffset", str(LATE_S), "-i", f"file:{film}"]
    ffmpeg.run([*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", f"file:{path}"], stage="the self-test")
    return path


def _card(dub: Path, film: Path) -> Card:
    """The evaluation of a dub of which the lines are known, with the original's loudness as its target."""
    lines = tuple(
        ReportLine(
            id=str(n), speaker="A", source_text="one two", text="uno dos", cue_start=s.start, cue_end=s.end,
            source_start=s.start, source_end=s.end, start=s.start, duration=s.duration, natural_duration=s.duration,
            rate=1.0, shift=0.0, overflow=0.0, voice="",
        )
        for n, s in enumerate(_SAID, 1)
    )  # fmt: skip
    voice, bed = _material()
    target = round(sound.measured(_blocks((voice + bed)[np.newaxis])).integrated, 1)
    subject = Subject(dub, film, "es", "en", lines=lines, placed=True, segments=_SAID)
    return measure(subject, Tools(profile=Profile(target, 0.0)))


def _value(card: Card, name: str) -> float:
    score = card.score(name)
    return float("nan") if score is None or score.value is None else score.value


def _failed(card: Card) -> str:
    failed = [f"{gate.name}: {gate.value}" for gate in card.gates if gate.passed is False]
    return "fails at " + "; ".join(failed) if failed else ""


def human_lengths(folder: Path) -> Iterator[Check]:
    """T3 of human translations: `folder` holds en-de/test.en, en-de/test.de and so on, a line for each text."""
    for pair, (ratio, within) in ISOMETRIC.items():
        sides = [(folder / pair / f"test.{tag}").read_text(encoding="utf-8").splitlines() for tag in pair.split("-")]
        found = text.compliance(list(zip(*sides, strict=True)))
        told = (round(found.ratio or 0.0, 3), found.compliant)
        yield Check(f"human translations {pair}, LR and LC10", told == (ratio, within), str(told), str((ratio, within)))
