"""What the source is and what is heard in it: probe, extract, detect speech."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polydub.engines.base import SpeechDetector
from polydub.errors import BadSettings, NoAudioTrack
from polydub.types import (
    BLOCK,
    HEAR_HZ,
    RATE_HZ,
    VAD_FRAME,
    Artifact,
    Audio,
    Energies,
    Excerpt,
    Notice,
    Samples,
    Sound,
    Source,
    Span,
    Speech,
    Track,
    seconds,
)
from polydub.work import Work, engine_stage, stage

if TYPE_CHECKING:
    from polydub.audio.activity import Rules

PEAKS_HZ = 10  # columns of a waveform picture per second
_DOWN = RATE_HZ // HEAR_HZ


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


@stage("extract", version=3)
def extract(work: Work, source: Source, track: Track) -> Heard:
    """One audio track as 48 kHz blocks on the film's clock, in the layout that the track has at its begin.

    Layouts that AAC cannot tell by a number become the nearest that it can, or stereo, with a notice.
    """
    from polydub.audio import layouts
    from polydub.media import ffmpeg

    link = ffmpeg.safe_link(work.path(source.media), work.scratch)
    layout = _layout(work, track)
    channels = len(layouts.channels(layout))
    decoded = ffmpeg.decode_blocks(link, track, source, channels, layout)
    heard = _kept(work, decoded, round(source.duration * RATE_HZ), channels, layout)
    if decoded.missing_s > 0.1:
        text = f"the last {decoded.missing_s:.1f} s of the sound could not be decoded and are silent"
        work.notice(Notice("sound-cut-short", text))
    return heard


@stage("extract-piece")
def extract_piece(work: Work, source: Source, track: Track) -> Heard:
    """The same of a piece of a stream: a FLAC file as `write_flac` makes them, which needs no decoder of its own."""
    import numpy as np

    from polydub.audio import layouts
    from polydub.media.flac import read_flac

    def read(at: int) -> Samples:
        """Its length was told in milliseconds, so that a few samples may be missing at the end."""
        found = read_flac(work.path(source.media), at, frames := min(BLOCK, film - at))
        return np.pad(found, ((0, 0), (0, frames - found.shape[1])))

    layout, film = _layout(work, track), round(source.duration * RATE_HZ)
    return _kept(work, map(read, range(0, film, BLOCK)), film, len(layouts.channels(layout)), layout)


def _kept(work: Work, decoded: Iterable[Samples], film: int, channels: int, layout: str) -> Heard:
    """Writes and measures the blocks of `film` samples, several at once."""
    done: list[_Block] = []
    with ThreadPoolExecutor(work.jobs) as threads:
        waiting: deque[Future[_Block]] = deque()
        before: Samples | None = None
        for index, samples in enumerate(decoded):
            waiting.append(threads.submit(_keep_block, work, (index, layout), samples, before))
            before = samples
            if len(waiting) > work.jobs:  # memory stays flat however long the film is
                done.append(waiting.popleft().result())
            work.progress(min(1.0, (index + 1) * BLOCK / max(film, 1)))
        done.extend(future.result() for future in waiting)
    loudest = max((block.true_peak for block in done), default=0.0)
    peaks = tuple(peak for block in done for peak in block.peaks)
    sound = Sound(tuple(block.file for block in done), channels, film, layout if channels > 2 else "")
    return Heard(sound, tuple(block.energies for block in done), loudest, peaks)


def _layout(work: Work, track: Track) -> str:
    """In which layout the sound of `track` is kept; a notice tells when it is another one."""
    from polydub.audio import layouts

    layout = layouts.carrier(track.layout, track.channels)
    if track.channels > 2 and layout != track.layout:
        what = f"the sound of track {track.index} ({track.layout or f'{track.channels} channels'})"
        if layout == "stereo":
            work.notice(Notice("layout-downmixed", f"{what} is mixed down to stereo: its layout is not known or not supported"))
        else:
            work.notice(Notice("layout-changed", f"{what} becomes {layout}", "info"))
    return layout


@dataclass(frozen=True, slots=True)
class _Block:
    file: Artifact
    energies: Energies
    true_peak: float
    peaks: tuple[float, ...]


def _keep_block(work: Work, which: tuple[int, str], samples: Samples, before: Samples | None) -> _Block:
    """Writes block number which[0] of layout which[1] and measures it; `before` is the one in front: it settles the filter."""
    import numpy as np

    from polydub.audio import loudness, signal
    from polydub.media.flac import write_flac

    index, layout = which
    file = work.scratch / f"{index}.flac"
    write_flac(file, samples)
    lead = samples[:, :0] if before is None else before[:, -loudness.SETTLE :]
    energies = loudness.energies(np.concatenate([lead, samples], axis=1), index * BLOCK, lead.shape[1], layout)
    columns = signal.peaks(samples, RATE_HZ // PEAKS_HZ)
    peaks = tuple(round(float(value), 3) for value in columns)
    return _Block(work.keep(file), energies, round(loudness.true_peak(samples), 6), peaks)


LEAD_S = 2.0  # heard before a block so that the detector knows where it is; dropped


@dataclass(frozen=True, slots=True)
class Nearby:
    """A block of a Sound with its neighbours: `blocks` begin with number `first`; `number` is the one that is meant.

    Attributes: frames: of the whole sound. layout: its channels, as in Sound.
    """

    number: int
    first: int
    blocks: tuple[Artifact, ...]
    frames: int
    layout: str = ""


def nearby(sound: Sound) -> tuple[Nearby, ...]:
    """Each block of `sound` with the one before and the one after it."""
    made: list[Nearby] = []
    for number in range(len(sound.blocks)):
        first = max(0, number - 1)
        made.append(Nearby(number, first, sound.blocks[first : number + 2], sound.frames, sound.layout))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class Detected:
    """One block as listening engines want it, and the probability of speech in each VAD_FRAME of it."""

    sound: Artifact
    frames: int
    probabilities: tuple[float, ...]


@engine_stage("detect", "vad", version=3)
def detect(work: Work, vad: SpeechDetector, block: Nearby, level: float) -> Detected:
    """Mono at HEAR_HZ of one block, and where it sounds like speech; `level` is the film's peak, to which it is judged."""
    import numpy as np

    from polydub.media.flac import write_flac

    start, stop = _heard_range(block.number, block.frames)
    lead = min(start, round(LEAD_S * HEAR_HZ) // VAD_FRAME * VAD_FRAME)
    mono = _resampled(work, block, start - lead, stop)
    file = work.scratch / "speech.flac"
    own = mono[:, lead:] if stop > start else np.zeros((1, 1), np.float32)  # of 1 or 2 samples none may be left at HEAR_HZ
    write_flac(file, own, HEAR_HZ)
    louder = np.float32(0.9 / max(level, 1e-4))
    found = vad.probabilities(Audio(np.clip(mono * louder, -1, 1), HEAR_HZ))
    kept = tuple(round(float(p), 3) for p in found[lead // VAD_FRAME :])
    return Detected(work.keep(file), stop - start, kept)


def _heard_range(number: int, frames: int) -> tuple[int, int]:
    """First and last + 1 sample at HEAR_HZ of block `number` of a sound of `frames` at RATE_HZ."""
    return -(-number * BLOCK // _DOWN), -(-min((number + 1) * BLOCK, frames) // _DOWN)


def _resampled(work: Work, block: Nearby, start: int, stop: int) -> Samples:
    """Samples `start` to `stop` at HEAR_HZ, mono (1, n), as if the whole film had been resampled at once."""
    import numpy as np

    from polydub.audio import signal
    from polydub.media.flac import read_flac

    margin = 64  # longer than the filter reaches
    low, high = max(0, start - margin), stop + margin
    parts: list[Samples] = []
    for number, file in enumerate(block.blocks, block.first):
        begin, end = max(low * _DOWN, number * BLOCK), min(high * _DOWN, (number + 1) * BLOCK)
        if begin < end:
            parts.append(_mono(read_flac(work.path(file), begin - number * BLOCK, end - begin), block.layout))
    whole = signal.resample(np.concatenate(parts, axis=1), RATE_HZ, HEAR_HZ)
    return np.ascontiguousarray(whole[:, start - low : stop - low])


def _mono(samples: Samples, layout: str) -> Samples:
    """What listening engines hear of (channels, frames): (1, frames)."""
    if not layout:
        return samples.mean(axis=0, keepdims=True)
    from polydub.audio import layouts

    return layouts.listening_gains(layout, samples.shape[0])[None] @ samples


@stage("speech")
def speech(work: Work, detected: tuple[Detected, ...], threshold: float) -> Speech:
    """Where somebody speaks, from the probabilities of all blocks."""
    from polydub.audio import activity

    frames = sum(block.frames for block in detected)
    return Speech(tuple(block.sound for block in detected), frames, spans_of(detected, activity.Rules(on=threshold)))


def spans_of(detected: Sequence[Detected], rules: Rules) -> tuple[Span, ...]:
    """Where somebody speaks by these rules, in film seconds."""
    import numpy as np

    from polydub.audio import activity

    probabilities: list[float] = []
    times: list[float] = []
    at = 0
    for block in detected:
        probabilities.extend(block.probabilities)
        times.extend((at + n * VAD_FRAME) / HEAR_HZ for n in range(len(block.probabilities)))
        at += block.frames
    return activity.spans(np.array(probabilities), np.array(times), at / HEAR_HZ, rules)


def excerpt(heard: Speech, start: float, end: float) -> Excerpt:
    """The stretch `start` to `end` (film seconds, kept inside the film) of a Speech."""
    start, end = (seconds(min(max(0.0, time), heard.duration)) for time in (start, end))
    first = _DOWN * round(start * HEAR_HZ) // BLOCK
    last = max(first, _DOWN * (round(end * HEAR_HZ) - 1) // BLOCK)
    return Excerpt(start, end, first, heard.blocks[first : last + 1])


def sound_of(work: Work, part: Excerpt) -> Audio:
    """The sound of an excerpt: mono float32 (1, n) at HEAR_HZ."""
    import numpy as np

    from polydub.media.flac import read_flac

    start, stop = round(part.start * HEAR_HZ), round(part.end * HEAR_HZ)
    pieces: list[Samples] = []
    for number, file in enumerate(part.blocks, part.first):
        begin = -(-number * BLOCK // _DOWN)
        end = -(-(number + 1) * BLOCK // _DOWN)
        if start < end and stop > begin:
            low = max(start, begin)
            pieces.append(read_flac(work.path(file), low - begin, min(stop, end) - low))
    return Audio(np.concatenate(pieces, axis=1) if pieces else np.zeros((1, 0), np.float32), HEAR_HZ)
