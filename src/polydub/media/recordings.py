"""A recording of a voice out of any media file: mono, at its own rate."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.errors import NoAudioTrack, UnreadableMedia
from polydub.media.probe import probe
from polydub.media.program import SAFE_INPUT, Child, Limits, safe_link
from polydub.types import RATE_HZ, Artifact, Audio

if TYPE_CHECKING:
    from polydub.types import Samples

LIMITS = Limits(seconds=600.0, memory=4 << 30, cpu_seconds=600)
LOWEST_HZ = 8_000


def read_recording(path: Path, most_s: float) -> Audio:
    """The first `most_s` seconds of the default sound track of `path`: mono float32 (1, n), all channels mixed.

    The rate is the file's own, from 8 to 48 kHz; what lies outside becomes the nearest of them. Samples that are no finite
    numbers are silent. Raises: UnreadableMedia, NoAudioTrack; EngineFailed where ffmpeg fails.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
        link = safe_link(path, Path(folder))
        try:
            source = probe(Artifact("", path.suffix, 0), link)
        except UnreadableMedia as error:
            raise UnreadableMedia(f"{path.name} cannot be used: {error.message}", error.hint) from error
        tracks = source.of("audio")
        if not tracks:
            raise NoAudioTrack(f"{path.name} has no sound", "give a recording of a voice")
        track = next((t for t in tracks if t.default), tracks[0])
        rate_hz = min(RATE_HZ, max(LOWEST_HZ, track.rate_hz or RATE_HZ))
        arguments = [*SAFE_INPUT, "-i", f"file:{link}", "-map", f"0:{track.index}", "-t", f"{most_s:.6f}"]
        # without the bound ffmpeg makes stereo of two equal channels 3 dB louder, beyond full scale
        shape = f"aresample={rate_hz}:rematrix_maxval=1,aformat=sample_fmts=flt:channel_layouts=mono"
        raw = ["-af", shape, "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
        most = round(most_s * rate_hz) * 4
        with Child([*arguments, *raw], "reading a recording", LIMITS) as child:
            sound = child.output.read(most)
            if len(sound) < most:
                child.finish()
    samples: Samples = np.frombuffer(sound[: len(sound) // 4 * 4], "<f4").astype(np.float32)
    if not len(samples):
        raise UnreadableMedia(f"no sound could be decoded from {path.name}", "check that the file plays")
    return Audio(np.nan_to_num(samples, copy=False, posinf=0.0, neginf=0.0)[np.newaxis], rate_hz)


def check_recording(path: Path) -> None:
    """Raises what `read_recording` raises, after a second of it."""
    read_recording(path, 1.0)
