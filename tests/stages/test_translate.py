"""Ids stay with their cues, batches hold what an engine needs, answers land on their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.runner import Run
from polydub.stages import translate
from polydub.stages.translate import Given, Numbering
from polydub.store import Store
from polydub.types import Script, Segment, Span


def number(spans: list[Span], previous: Numbering | None = None) -> Numbering:
    return translate.number.function(None, tuple(spans), previous)


def cues(count: int, step: float = 3.0, length: float = 2.0) -> list[Span]:
    return [Span(n * step, n * step + length) for n in range(count)]


def test_ids_are_numbers_in_order_of_time() -> None:
    assert number(cues(4)).ids == ("1", "2", "3", "4")
    assert number([]).ids == ()


def test_a_cue_put_in_between_gets_a_new_number_and_moves_no_other() -> None:
    first = number(cues(4))
    more = sorted([*cues(4), Span(5.1, 5.9)], key=lambda s: s.start)
    assert number(more, first).ids == ("1", "2", "5", "3", "4")


def test_a_number_is_never_used_again() -> None:
    first = number(cues(3))
    fewer = number(cues(3)[:2], first)
    assert fewer.ids == ("1", "2")
    again = number([*cues(3)[:2], Span(100, 101)], fewer)
    assert again.ids == ("1", "2", "4")


def test_a_cue_that_moved_a_little_keeps_its_number_and_one_that_moved_far_does_not() -> None:
    first = number([Span(0, 2), Span(10, 12)])
    assert number([Span(0.4, 2.4), Span(13, 15)], first).ids == ("1", "3")


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 5)), max_size=30), st.randoms())
def test_ids_are_unique_whatever_changes(raw: list[tuple[float, float]], random: object) -> None:
    spans = sorted((Span(round(a, 3), round(a + d, 3)) for a, d in raw), key=lambda s: (s.start, s.end))
    first = number(spans)
    kept = spans[::2]
    second = number(kept, first)
    third = number(spans, second)
    for made in (first, second, third):
        assert len(set(made.ids)) == len(made.ids)
        assert all(int(id_) < made.next for id_ in made.ids)
    assert not set(third.ids) & (set(first.ids) - set(second.ids))


def script(*texts: str) -> Given:
    segments = tuple(Segment(float(n), n + 0.9, str(n + 1), "A", text) for n, text in enumerate(texts))
    return Given(Script("en", segments), {})


def test_renumbering_takes_the_texts_along() -> None:
    before = Given(script("a", "b").script, {"2": "zwei"})
    after = translate.renumbered(before, ["7", "9"])
    assert [s.id for s in after.script.segments] == ["7", "9"]
    assert after.texts == {"9": "zwei"}


def test_an_engine_without_context_gets_nothing_but_the_text() -> None:
    one, two = translate.batches(script("a", "b"), "en", "es", 1, context=False)
    assert (one.requests[0].id, one.requests[0].speaker, one.requests[0].seconds) == ("0", "", 0.0)
    assert (one.before, one.after, two.requests[0].text) == ((), (), "b")


def test_an_engine_with_context_sees_neighbours_and_time() -> None:
    made = translate.batches(script(*"abcdefgh"), "en", "es", 3, context=True)
    assert [len(b.requests) for b in made] == [3, 3, 2]
    assert made[1].before == ("a", "b", "c")
    assert made[1].after == ("g", "h")
    assert made[1].requests[0].seconds == pytest.approx(0.9)


def test_only_lines_without_a_translation_are_sent() -> None:
    partly = Given(script("a", "b", "c").script, {"2": "be"})
    sent = [r.text for b in translate.batches(partly, "en", "es", 20, context=True) for r in b.requests]
    assert sent == ["a", "c"]
    lines = translate.write_lines(partly, ["ah", "ceh"], "es")
    assert [line.text for line in lines] == ["ah", "be", "ceh"]


def test_a_run_remembers_ids_between_transcripts(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with Run(store, tmp_path) as run:
        run.step(translate.number, tuple(cues(3)), run.previous("ids"))
        state = run.finish()
    with Run(store, tmp_path) as run:
        run.state = state
        again = run.step(translate.number, (Span(2.2, 2.9), *cues(3)[1:]), run.previous("ids"))
        state = run.finish()
    assert again.ids == ("4", "2", "3")
    with Run(store, tmp_path) as run:
        run.state = state
        same = run.step(translate.number, (Span(2.2, 2.9), *cues(3)[1:]), run.previous("ids"))
        assert (same.ids, run.counts["number"].ran) == (again.ids, 0)
    store.close()
