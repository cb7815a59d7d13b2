"""How loud the film is and shall be: levels of the source, the gain of the programme, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polydub.audio.roomtone import Quiet, RoomTone
from polydub.audio.scenes import SceneLevel
from polydub.stages.listen import Heard
from polydub.types import Energies, Notice, Span, seconds
from polydub.work import Work, stage

KEEP_LU = 0.2  # an edit that moves the programme by less keeps the old gain, and so the other blocks
AIM_LU = 0.1  # a new gain comes nearer, so that the next edits have room


@dataclass(frozen=True, slots=True)
class Levels:
    """Loudness of a whole film, LUFS and LU; `true_peak` in dBTP."""

    integrated: float
    range_lu: float
    true_peak: float
    curve: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SourceLevels:
    """What the source's sound measured.

    Attributes: before: the whole of it. dialogue: the talk in it, LUFS. scenes: the talk scene by scene, in order of
    time; one for the whole film when there is no talk. room: None when nobody looked, or there is no pause to look at.
    separated: `dialogue` was measured on the separated dialogue.
    """

    before: Levels
    dialogue: float
    scenes: tuple[SceneLevel, ...]
    room: RoomTone | None
    separated: bool


@stage("source-levels", version=2)
def source_levels(
    work: Work, heard: Heard, talk: tuple[Span, ...], dialogue: tuple[Energies, ...] = (), quiet: tuple[Quiet, ...] = ()
) -> SourceLevels:
    """Loudness of the source's sound, of the talk in it, and its room tone; `dialogue` is measured if it was separated.

    Separated dialogue whose level cannot be true beside that of the whole sound does not count, with a notice.
    """
    from polydub.audio import loudness, roomtone, scenes

    alone = loudness.join(dialogue)
    found = scenes.talk_levels(loudness.join(heard.energies), talk, alone if alone.any() else None)
    if alone.any() and not found.separated and found.film > scenes.SILENT_LUFS:
        text = "the separated dialogue is nothing like the film's sound, so its level is not believed"
        work.notice(Notice("separation-doubtful", text))
    whole = SceneLevel(0.0, seconds(heard.sound.duration), round(found.film, 1))
    before = _levels(heard.energies, heard.true_peak)
    return SourceLevels(before, found.film, found.scenes or (whole,), roomtone.room_tone(quiet), found.separated)


def _levels(energies: Sequence[Energies], true_peak: float) -> Levels:
    from polydub.audio import loudness
    from polydub.audio.signal import decibels

    cells = loudness.join(energies)
    curve = tuple(round(float(value), 1) for value in loudness.short_term(cells))
    whole = round(loudness.integrated(cells), 2)
    return Levels(whole, round(loudness.loudness_range(cells), 1), round(decibels(true_peak), 2), curve)


@stage("first-gain")
def first_gain(work: Work, laid: tuple[object, ...], talk_lufs: float, target_lufs: float, previous: float | None) -> float:
    """Programme gain in dB to begin with: the last run's, else what the dialogue alone would need.

    `laid` is not looked at: it makes an edit another call, which is what gets the previous gain.
    """
    if previous is not None:
        return previous
    return 0.0 if talk_lufs <= -70 else round(min(target_lufs - talk_lufs, 40.0), 2)


@stage("correction")
def correction(work: Work, measured: tuple[Energies, ...], target_lufs: float, tolerance_lu: float) -> float:
    """By how many dB the programme misses its target; 0.0 for silence and within the tolerance."""
    from polydub.audio import loudness

    found = loudness.integrated(loudness.join(measured))
    missing = round(target_lufs - found, 2)
    return 0.0 if found <= -70 or abs(missing) <= tolerance_lu else missing


@stage("programme")
def programme(work: Work, energies: tuple[Energies, ...], true_peak: float) -> Levels:
    """Loudness and true peak of the finished dub."""
    return _levels(energies, true_peak)
