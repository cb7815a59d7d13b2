"""A translation engine for tests and trials: instant, the same every time, any pair, not a translation."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from pydantic import Field

from polydub.engines.base import READY, Answered, Batch, Engine, Info, Options, Usage, Weights
from polydub.types import Wordings


class FakeOptions(Options):
    """Options of the fake translator."""

    candidates: bool = Field(default=False, description="Offer half of each text and one and a half of it besides.")


class FakeTranslation:
    """A Rephraser that only marks the text with the target language and uses the terms it is told."""

    def __init__(self, options: FakeOptions) -> None:
        self._lengths = options.candidates

    def translate(self, batch: Batch) -> Sequence[str]:
        """ "[es] Hello." for "Hello."; blank text becomes empty text."""
        return tuple(f"[{batch.target}] {_with_terms(r.text, batch.terms)}" if r.text.strip() else "" for r in batch.requests)

    def candidates(self, batch: Batch) -> Answered:
        """The same; with the option `candidates` also the first half of the words, and all with that half once more.

        Words of the batch count as tokens of a service that costs nothing.
        """
        texts = self.translate(batch)
        sent, got = sum(len(r.text.split()) for r in batch.requests), sum(len(text.split()) for text in texts)
        return Answered(tuple(self._wordings(text) for text in texts), Usage(1, sent, got))

    def _wordings(self, text: str) -> Wordings:
        words = text.split()
        half = " ".join(words[: -(-len(words) // 2)])
        return Wordings(text, half, f"{text} {half}") if self._lengths and len(words) > 1 else Wordings(text)


def _with_terms(text: str, terms: Mapping[str, str]) -> str:
    for term, use in terms.items():
        text = re.sub(rf"(?i)(?<!\w){re.escape(term)}(?!\w)", lambda _, use=use: use, text)
    return text


@contextmanager
def _load(options: FakeOptions, _weights: Weights, _device: str) -> Generator[FakeTranslation]:
    yield FakeTranslation(options)


ENGINE = Engine(
    info=Info(
        kind="mt",
        name="fake",
        summary="the text itself with the name of the target language before it, for tests and trials",
        licence="Apache-2.0",
        homepage="",
        memory_mib=(1, 0),
        parallel=0,
        batch=50,
        features=frozenset({"candidates"}),
    ),
    options=FakeOptions,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
)
