"""Scores of a finished dub: one file for each family of metrics, gates and a scorecard on top of them."""

from __future__ import annotations

from polydub.evaluate.card import Card, Gate, Score, key_figures

__all__ = ["Card", "Gate", "Score", "key_figures"]
