"""Recordings that are given for speakers: how good they are."""

from __future__ import annotations

from polydub.engines.base import SpeakerEncoder, SpeechDetector
from polydub.types import Artifact, Audio, Span
from polydub.voices.quality import Finding
from polydub.work import Work, engine_stage


@engine_stage("hear-recording", "vad")
def hear(work: Work, detector: SpeechDetector, recording: Artifact) -> tuple[Span, ...]:
    """Where somebody speaks in a recording (mono FLAC at any rate), in seconds; silence has none."""
    from polydub.voices import quality

    return quality.speech_in(_sound(work, recording), detector)


@engine_stage("judge-recording", "embedding")
def judge(
    work: Work, encoder: SpeakerEncoder, recording: Artifact, speech: tuple[Span, ...], told_by: str
) -> tuple[Finding, ...]:
    """What is wrong with a recording as the reference of a voice. `told_by`: what the encoder is called."""
    from polydub.voices import quality

    return quality.judged(_sound(work, recording), speech, quality.Ear(told_by, encoder)).findings


def _sound(work: Work, recording: Artifact) -> Audio:
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    from polydub.media.flac import read_flac

    about = soundfile.info(work.path(recording))
    return Audio(read_flac(work.path(recording), 0, about.frames), about.samplerate)
