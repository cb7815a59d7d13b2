"""What the source is and what is heard in it: probe, extract. The listening engines will join here."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from polydub.errors import BadSettings, NoAudioTrack
from polydub.types import BLOCK, RATE_HZ, Artifact, Energies, Notice, Samples, Sound, Source, Track
from polydub.work import Work, stage

PEAKS_HZ = 10  # columns of a waveform picture per second


@dataclass(frozen=True, slots=True)
class Heard:
    """The source's sound and what measuring it told.

    Attributes: true_peak: linear, of the whole film. peaks: PEAKS_HZ absolute peaks a second, for pictures.
    """

    sound: Sound
    energies: tuple[Energies, ...]
    true_peak: float
    peaks: tuple[float, ...]


@stage("probe")
def probe(work: Work, media: Artifact) -> Source:
    """Tracks, duration and start of a media file. Raises UnreadableMedia."""
    from polydub.media import ffmpeg

    return ffmpeg.probe(media, ffmpeg.safe_link(work.path(media), work.scratch))


def audio_track(source: Source, wanted: int | None) -> Track:
    """The track to dub: number `wanted` (from 1) among the audio tracks, else the default one, else the first.

    Raises: NoAudioTrack, BadSettings.
    """
    tracks = source.of("audio")
    if not tracks:
        raise NoAudioTrack("this file has no audio track, so there is nothing to dub", "give a file with sound")
    if wanted is not None and not 1 <= wanted <= len(tracks):
        raise BadSettings(
            f"there is no audio track {wanted}", f"the file has {len(tracks)}; give --audio-track 1 to {len(tracks)}"
        )
    return tracks[wanted - 1] if wanted is not None else next((t for t in tracks if t.default), tracks[0])


@stage("extract")
def extract(work: Work, source: Source, track: Track) -> Heard:
    """One audio track as 48 kHz blocks on the film's clock (mono stays mono, everything else becomes stereo)."""
    from polydub.media import ffmpeg

    link = ffmpeg.safe_link(work.path(source.media), work.scratch)
    channels = 1 if track.channels == 1 else 2
    decoded = ffmpeg.decode_blocks(link, track, source, channels)
    film = round(source.duration * RATE_HZ)
    done: list[_Block] = []
    with ThreadPoolExecutor(work.jobs) as threads:
        waiting: deque[Future[_Block]] = deque()
        before: Samples | None = None
        for index, samples in enumerate(decoded):
            waiting.append(threads.submit(_keep_block, work, index, samples, before))
            before = samples
            if len(waiting) > work.jobs:  # memory stays flat however long the film is
                done.append(waiting.popleft().result())
            work.progress(min(1.0, (index + 1) * BLOCK / max(film, 1)))
        done.extend(future.result() for future in waiting)
    if decoded.missing_s > 0.1:
        text = f"the last {decoded.missing_s:.1f} s of the sound could not be decoded and are silent"
        work.notice(Notice("sound-cut-short", text))
    loudest = max((block.true_peak for block in done), default=0.0)
    peaks = tuple(peak for block in done for peak in block.peaks)
    sound = Sound(tuple(block.file for block in done), channels, film)
    return Heard(sound, tuple(block.energies for block in done), loudest, peaks)


@dataclass(frozen=True, slots=True)
class _Block:
    file: Artifact
    energies: Energies
    true_peak: float
    peaks: tuple[float, ...]


def _keep_block(work: Work, index: int, samples: Samples, before: Samples | None) -> _Block:
    """Writes one block and measures it; `before` is the block in front, whose end settles the filter."""
    import numpy as np

    from polydub.audio import loudness, signal
    from polydub.media.flac import write_flac

    file = work.scratch / f"{index}.flac"
    write_flac(file, samples)
    lead = samples[:, :0] if before is None else before[:, -loudness.SETTLE :]
    energies = loudness.energies(np.concatenate([lead, samples], axis=1), index * BLOCK, lead.shape[1])
    columns = signal.peaks(samples, RATE_HZ // PEAKS_HZ)
    peaks = tuple(round(float(value), 3) for value in columns)
    return _Block(work.keep(file), energies, round(loudness.true_peak(samples), 6), peaks)
