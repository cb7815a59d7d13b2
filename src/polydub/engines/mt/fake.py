"""A translation engine for tests and trials: instant, the same every time, any pair, not a translation."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from polydub.engines.base import READY, Batch, Engine, Info, Options, Weights


class FakeTranslation:
    """A Translator that only marks the text with the target language."""

    def translate(self, batch: Batch) -> Sequence[str]:
        """ "[es] Hello." for "Hello."; blank text becomes empty text."""
        return tuple(f"[{batch.target}] {r.text}" if r.text.strip() else "" for r in batch.requests)


@contextmanager
def _load(_options: Options, _weights: Weights, _device: str) -> Generator[FakeTranslation]:
    yield FakeTranslation()


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
    ),
    options=Options,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
)
