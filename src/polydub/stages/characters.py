"""What an encoder tells of how alike two voiceprints of one person are."""

from __future__ import annotations

from dataclasses import dataclass

from polydub.engines.base import SpeakerEncoder
from polydub.work import Work, engine_stage


@dataclass(frozen=True, slots=True)
class Likeness:
    """Cosine from which on a speaker is taken for a known character, and how far ahead of the next one."""

    threshold: float
    margin: float


@engine_stage("likeness", "embedding")
def likeness(work: Work, encoder: SpeakerEncoder) -> Likeness:
    """What the encoder itself was measured to need."""
    del work
    return Likeness(*encoder.calibration.known)
