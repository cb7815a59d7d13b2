"""Who speaks when, from vectors that are alike for one speaker: average linkage, then Viterbi on shorter windows.

Average linkage on windows of 1.6 s finds how many speakers there are and what each is like; a Viterbi pass over windows of
1.0 s, which are too short to cluster, then finds the changes. When the first look finds several speakers, half of the
recording's mean vector is subtracted first: voices in one room have much in common that tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydub.audio import IMPORTING
from polydub.types import Samples, Span, seconds

Labels = NDArray[np.int64]
CENTRED = 0.5  # share of the mean vector that is subtracted
FEW_S, FEW_SHARE = 2.0, 0.25  # a cluster with less speech than both is no speaker
ROUNDS = 2  # of Viterbi, each with the centres of the one before
GRID_S = 0.01  # resolution of turns


@dataclass(frozen=True, slots=True)
class Thresholds:
    """See `engines.base.Calibration`: cosine distances up to which clusters are merged, and costs of a change of speaker."""

    merge: float
    centred: float
    switch: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Voices:
    """Vectors of unit length (windows, dimensions) of the long windows, and the seconds of speech that each stands for."""

    vectors: Samples
    lengths: NDArray[np.float64]


def windows(span: Span, size_s: float, hop_s: float) -> tuple[Span, ...]:
    """Windows of `size_s` that cover `span` evenly, at most `hop_s` apart; a shorter span is one window."""
    rest = span.end - span.start - size_s
    if rest <= 0:
        return (Span(span.start, span.end),)
    starts = np.linspace(span.start, span.end - size_s, int(np.ceil(rest / hop_s - 1e-9)) + 1)
    return tuple(Span(seconds(start), seconds(start + size_s)) for start in starts)


def unit(rows: Samples) -> Samples:
    """Rows of `rows` at length 1, float32; rows of zeros stay zeros."""
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)).astype(np.float32)


def speakers(voices: Voices, shorts: Samples, thresholds: Thresholds, limits: tuple[int, int] | None) -> Labels:
    """The speaker of each short window: 0 for the first who speaks, 1 for the next who was not heard before, and so on.

    `shorts` (windows, dimensions) are in order of time; there is at least one window of each kind. `limits` are the
    smallest and largest number of speakers: never more are found; a smallest of 2 or more says that there are several,
    but none are made up, for the quietest would take a place from the loudest (measured: AMI error .34 -> .47).
    """
    least, most = limits or (1, len(shorts))
    plain = _clusters(voices, thresholds.merge, most)
    if least < 2 and (most < 2 or plain.max() == 0):
        labels = _resegmented(shorts, centres(voices.vectors, plain), thresholds.switch[0])
    else:
        mean = CENTRED * voices.vectors.mean(axis=0)
        centred = Voices(unit(voices.vectors - mean), voices.lengths)
        found = _clusters(centred, thresholds.centred, most)
        labels = _resegmented(unit(shorts - mean), centres(centred.vectors, found), thresholds.switch[1])
    return _by_appearance(labels)


def centres(vectors: Samples, labels: Labels) -> Samples:
    """What each speaker is like: the mean of its rows of `vectors` (windows, dimensions), at unit length."""
    return unit(np.stack([vectors[labels == n].mean(axis=0) for n in range(int(labels.max()) + 1)]))


def _by_appearance(labels: Labels) -> Labels:
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]


def _from_zero(labels: NDArray[Any]) -> Labels:
    """The same labels numbered from 0 without gaps."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _clusters(voices: Voices, merge: float, most: int) -> Labels:
    """Labels from 0: at most `most` clusters, further apart than `merge`, none with only a little speech."""
    with IMPORTING:
        from scipy.cluster.hierarchy import fcluster, linkage  # pyright: ignore[reportMissingTypeStubs]
        from scipy.spatial.distance import squareform

    vectors = voices.vectors
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    distances = np.clip(1 - vectors @ vectors.T, 0, None).astype(np.float64)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform((distances + distances.T) / 2, checks=False), "average")
    labels = _dissolved(voices, _from_zero(fcluster(tree, merge, "distance")))
    while labels.max() + 1 > most:
        labels = _joined(vectors, labels)
    return labels


def _dissolved(voices: Voices, labels: Labels) -> Labels:
    """Clusters with little speech given to the others, window by window, the smallest first."""
    few = min(FEW_S, FEW_SHARE * float(voices.lengths.sum()))
    while labels.max() > 0:
        held = np.bincount(labels, voices.lengths)
        small = int(held.argmin())
        if held[small] >= few:
            break
        alike = voices.vectors[labels == small] @ centres(voices.vectors, labels).T
        alike[:, small] = -2
        labels[labels == small] = alike.argmax(axis=1)
        labels = _from_zero(labels)
    return labels


def _joined(vectors: Samples, labels: Labels) -> Labels:
    """The two clusters whose windows are most alike on average made one."""
    members = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    sums = members.T @ vectors
    alike = sums @ sums.T / np.outer(members.sum(axis=0), members.sum(axis=0))
    np.fill_diagonal(alike, -2)
    one, other = sorted(int(n) for n in np.unravel_index(alike.argmax(), alike.shape))
    return _from_zero(np.where(labels == other, one, labels))


def _resegmented(shorts: Samples, start: Samples, switch: float) -> Labels:
    """Labels by Viterbi from the centres `start`, then again from the centres of the windows found.

    A speaker left with one window or none keeps the centre: the next round would follow a single window.
    """
    labels, middles = np.zeros(len(shorts), np.int64), start
    for _ in range(ROUNDS):
        labels = viterbi(shorts @ middles.T, switch)
        own = [shorts[labels == n] for n in range(len(start))]
        middles = unit(np.stack([o.mean(axis=0) if len(o) > 1 else m for o, m in zip(own, middles, strict=True)]))
    return labels


def viterbi(scores: Samples, switch: float) -> Labels:
    """The best label for each row of `scores` (rows, labels) when every change of label costs `switch`."""
    best = scores[0].astype(np.float64)
    came_from = np.zeros(scores.shape, np.int64)
    every = np.arange(scores.shape[1], dtype=np.int64)
    for row in range(1, len(scores)):
        top = int(best.argmax())
        came_from[row] = np.where(best >= best[top] - switch, every, top)
        best = np.maximum(best, best[top] - switch) + scores[row]
    labels = np.empty(len(scores), np.int64)
    labels[-1] = best.argmax()
    for row in range(len(scores) - 1, 0, -1):
        labels[row - 1] = came_from[row, labels[row]]
    return labels


def runs(span: Span, around: Sequence[Span], labels: Labels) -> tuple[tuple[Span, int], ...]:
    """Who speaks in `span`, in order, touching: each 10 ms goes to the label of the windows whose middle is near.

    `around` are windows that cover the span, at least one; `labels` say who speaks in each.
    """
    frames = max(1, round((span.end - span.start) / GRID_S))
    times = np.minimum(span.start + (np.arange(frames) + 0.5) * GRID_S, around[-1].end - 1e-4)  # the last may be short
    votes = np.zeros((frames, int(labels.max()) + 1))
    for window, label in zip(around, labels, strict=True):
        inside = (times >= window.start) & (times < window.end)
        votes[inside, label] += 1 / (0.1 + np.abs(times[inside] - (window.start + window.end) / 2))
    winner = votes.argmax(axis=1)
    edges = [0, *(np.flatnonzero(np.diff(winner)) + 1), frames]
    ends = [seconds(span.start + edge * GRID_S) for edge in edges[:-1]] + [span.end]
    return tuple((Span(start, end), int(winner[edge])) for start, end, edge in zip(ends, ends[1:], edges, strict=False))
