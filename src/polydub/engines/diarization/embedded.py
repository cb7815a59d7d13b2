"""What polydub itself does: Silero finds the speech, a speaker encoder describes the voices, clustering tells them apart.

In a dub its steps are stages of their own, done piece by piece and remembered (feature "stages"); what is loaded here does the
same at once, for who has a sound and no project. Of two who talk at the same time the louder is named.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from polydub.engines import registry
from polydub.engines.base import (
    READY,
    Availability,
    Engine,
    Info,
    Options,
    SpeakerEncoder,
    SpeechDetector,
    Weight,
    Weights,
)
from polydub.errors import PolydubError
from polydub.types import HEAR_HZ, VAD_FRAME, Audio, Turn

DETECTOR, LIGHT = "silero", "fingerprint"


class EmbeddedOptions(Options):
    """Options of polydub's own diarization."""

    model: str = Field(
        "auto", min_length=1, description="speaker encoder, such as resemblyzer or fingerprint; auto = the best here"
    )


class EmbeddedDiarizer:
    """A Diarizer."""

    def __init__(self, detector: SpeechDetector, encoder: SpeakerEncoder) -> None:
        self._detector, self._encoder = detector, encoder

    def diarize(self, speech: Path, speakers: range | None) -> Sequence[Turn]:
        """As Diarizer. More than there can be are never found; nobody is made up where there seem to be fewer."""
        import numpy as np

        from polydub.audio import activity, clusters, pcm, turns

        sound = pcm.mapped(speech)
        level = 0.9 / max(float(np.abs(sound.samples).max(initial=0)), 1e-4)
        chances = self._detector.probabilities(Audio(np.clip(sound.samples * np.float32(level), -1, 1), sound.rate_hz))
        times = np.arange(len(chances)) * VAD_FRAME / HEAR_HZ
        spans = activity.spans(chances, times, sound.duration, activity.Rules(on=turns.FAR))
        if not spans:
            return ()
        longs, shorts = ([w for s in spans for w in clusters.windows(s, *size)] for size in (turns.LONG, turns.SHORT))
        count = min(len(longs), turns.MOST_CLUSTERED)
        chosen = [longs[n * len(longs) // count] for n in range(count)]
        lengths = np.array([w.duration for w in chosen]) * (len(longs) / count)
        measured = self._encoder.calibration
        thresholds = clusters.Thresholds(measured.merge, measured.centred, measured.switch)
        little = sum(span.duration for span in spans) < turns.LITTLE_S
        limits = (1, 1) if little else (speakers.start, speakers.stop - 1) if speakers else None
        voices = clusters.Voices(self._encoder.embed(sound, chosen), lengths)
        return turns.turns(spans, clusters.speakers(voices, self._encoder.embed(sound, shorts), thresholds, limits))


@contextmanager
def _load(options: EmbeddedOptions, weights: Weights, device: str) -> Generator[EmbeddedDiarizer]:
    detector, encoder = registry.get("vad", DETECTOR), _encoder(options)
    with (
        detector.load(detector.options(), weights, "cpu") as detecting,
        encoder.load(encoder.options(), weights, "cpu") as encoding,
    ):
        yield EmbeddedDiarizer(detecting, encoding)


def _encoder(options: EmbeddedOptions) -> Engine:
    """The one named. In a dub "auto" is chosen as every engine is; alone it is the one that needs no weights."""
    return registry.get("embedding", LIGHT if options.model == registry.AUTO else options.model)


def _check(options: EmbeddedOptions) -> Availability:
    try:
        for engine in (registry.get("vad", DETECTOR), _encoder(options)):
            registry.require(engine, engine.options())
    except PolydubError as error:
        return Availability(False, error.message, error.hint or "reinstall polydub")
    return READY


def _weights(options: EmbeddedOptions) -> tuple[Weight, ...]:
    try:
        parts = (registry.get("vad", DETECTOR), _encoder(options))
    except PolydubError:  # an encoder that is not there, which `check` tells
        return ()
    return tuple(weight for engine in parts for weight in engine.weights(engine.options()))


ENGINE = Engine(
    info=Info(
        kind="diarization",
        name="embedded",
        summary="Speech detection, speaker embeddings and clustering: always there; weak in meetings recorded from afar.",
        licence="Apache-2.0",
        homepage="https://github.com/resemble-ai/Resemblyzer",
        memory_mib=(200, 0),
        features=frozenset({"stages"}),
    ),
    options=EmbeddedOptions,
    load=_load,
    check=_check,
    languages=lambda options: None,
    weights=_weights,
)
