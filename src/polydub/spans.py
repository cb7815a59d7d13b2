"""Stretches of time taken together."""

from __future__ import annotations

from collections.abc import Sequence

from polydub.types import Span


def bridged(spans: Sequence[Span], pause_s: float) -> tuple[Span, ...]:
    """The union of `spans`, in order, with pauses shorter than `pause_s` closed."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: s.start):
        if joined and span.start - joined[-1].end < pause_s:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(Span(span.start, span.end))
    return tuple(joined)


def outside(spans: Sequence[Span], known: Sequence[Span], margin_s: float) -> tuple[Span, ...]:
    """The parts of `spans` farther than `margin_s` from all of `known`, as far as they are longer than `margin_s`."""
    blocked = bridged([Span(max(0.0, s.start - margin_s), s.end + margin_s) for s in known], 0.0)
    left: list[Span] = []
    for span in spans:
        at = span.start
        for wall in (w for w in blocked if w.end > span.start and w.start < span.end):
            left.append(Span(at, max(at, wall.start)))
            at = max(at, wall.end)
        left.append(Span(at, max(at, span.end)))
    return tuple(span for span in left if span.duration > margin_s)
