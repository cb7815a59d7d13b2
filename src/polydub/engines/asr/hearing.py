"""What recognisers have in common: long sound cut at quiet places, times inside the sound, words grouped into segments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from polydub.text.words import CLOSERS, ENDS, parted, pieces
from polydub.types import Audio, Segment, Word, seconds

LEAST_S = 0.1  # shorter sounds hold no word
PAUSE_S = 0.8  # a pause of this length ends a segment
LONGEST_S = 15.0  # no segment gets longer where it can be helped
FRAME_S = 0.02  # in which loudness is measured to find a place to cut
CALM_FRAMES = 8  # a cut lies in the middle of the quietest stretch of so many frames: 160 ms
SEARCHED = 0.4  # the last part of a stretch in which the cut is looked for
LETTER_S = 0.065  # about 15 letters a second, as in reading at an even pace


def stretches(speech: Audio, longest_s: float) -> Iterator[tuple[float, Audio]]:
    """`speech` in stretches of at most `longest_s` with their starts in seconds, cut where it is quietest.

    A cut lies in the last two fifths of a stretch. Sound that is short enough comes whole; empty sound gives nothing.
    """
    samples, rate = speech.samples[0], speech.rate_hz
    most = round(longest_s * rate)
    searched = round(most * SEARCHED)
    at = 0
    while len(samples) - at > most:
        cut = at + most - searched + _quietest(samples[at + most - searched : at + most], round(FRAME_S * rate))
        yield at / rate, Audio(samples[None, at:cut], rate)
        at = cut
    if at < len(samples):
        yield at / rate, Audio(samples[None, at:], rate)


def _quietest(samples: Sequence[float], frame: int) -> int:
    """The middle of the quietest CALM_FRAMES frames of `samples`, as a sample."""
    import numpy as np

    frames = np.asarray(samples[: len(samples) // frame * frame], np.float64).reshape(-1, frame)
    if len(frames) <= CALM_FRAMES:
        return len(samples) // 2
    loudness = np.convolve((frames**2).mean(axis=1), np.ones(CALM_FRAMES), "valid")
    return (int(loudness.argmin()) + CALM_FRAMES // 2) * frame


def readable(text: str) -> str:
    """Without the marks of characters of which only a part was decoded, without halves of surrogate pairs and outer blanks."""
    whole = text.encode("utf-8", "ignore").decode("utf-8")
    return whole.replace("\ufffd", "").replace("\0", "").strip()


def inside(time: float, duration: float) -> float:
    """`time` in whole milliseconds that are not outside the sound."""
    value = float(time)
    return min(seconds(max(value, 0.0)), math.floor(duration * 1000) / 1000) if math.isfinite(value) else 0.0


def probability(value: float) -> float:
    """`value` between 0 and 1; 0 where it is no number."""
    number = float(value)
    return round(min(max(number, 0.0), 1.0), 3) if math.isfinite(number) else 0.0


def in_order(words: Iterable[Word], duration: float) -> Iterator[Word]:
    """`words` that have text, none starting before the one before it, all inside the sound."""
    at = 0.0
    for word in words:
        text = readable(word.text)
        if text:
            at = max(at, inside(word.start, duration))
            yield replace(word, start=at, end=max(at, inside(word.end, duration)), text=text)


def joined(texts: Iterable[str]) -> str:
    """One text, with blanks where the script has them."""
    whole = last = ""
    for text in texts:
        whole += f" {text}" if parted(last, text) else text
        last = text
    return whole


def segment(words: Sequence[Word]) -> Segment:
    """The segment of one or more words."""
    end = max(word.end for word in words)
    return Segment(words[0].start, end, text=joined(word.text for word in words), words=tuple(words))


def grouped(words: Iterable[Word]) -> Iterator[Segment]:
    """Segments as soon as they end: after a sentence, before a pause of PAUSE_S, at the latest after LONGEST_S."""
    group: list[Word] = []
    for word in words:
        if group and (word.start - group[-1].end >= PAUSE_S or word.end - group[0].start > LONGEST_S):
            yield segment(group)
            group = []
        group.append(word)
        if ends_sentence(word.text):
            yield segment(group)
            group = []
    if group:
        yield segment(group)


def ends_sentence(text: str) -> bool:
    """Whether a sentence ends with this word."""
    bare = text.rstrip(CLOSERS)
    return bool(bare) and bare[-1] in ENDS


def spread(text: str, start: float, end: float) -> tuple[Word, ...]:
    """The words of `text` laid over a stretch of time by their lengths, marked as estimated."""
    texts = [piece for piece in (readable(piece) for piece in pieces(text)) if piece]
    whole = sum(len(piece) + 1 for piece in texts)
    edges = [start]
    for piece in texts:
        edges.append(edges[-1] + (end - start) * (len(piece) + 1) / whole)
    times = [inside(edge, end) for edge in edges]
    return tuple(Word(times[n], times[n + 1], piece, None, estimated=True) for n, piece in enumerate(texts))


def spoken_s(text: str) -> float:
    """How long a word takes, roughly; where a recogniser tells only when it begins."""
    return 0.1 + LETTER_S * len(text)


def shifted(found: Segment, by_s: float) -> Segment:
    """The segment and its words `by_s` seconds later."""
    words = tuple(replace(word, start=seconds(word.start + by_s), end=seconds(word.end + by_s)) for word in found.words)
    return replace(found, start=seconds(found.start + by_s), end=seconds(found.end + by_s), words=words)


def heard(speech: Audio, longest_s: float, words_of: Callable[[Audio], Iterable[Word]]) -> Iterator[Segment]:
    """Segments of `speech` from the words of its stretches; sound below LEAST_S has none.

    words_of: the words of a stretch, with times from its start; asked for the next stretch only when the words are used up.
    """

    def words() -> Iterator[Word]:
        for offset, stretch in stretches(speech, longest_s):
            for word in words_of(stretch) if stretch.duration >= LEAST_S else ():
                yield replace(word, start=offset + inside(word.start, stretch.duration), end=offset + word.end)

    return grouped(in_order(words(), speech.duration))
