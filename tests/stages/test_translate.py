"""Ids stay with their cues, batches hold what an engine needs, answers land on their lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.engines.base import Answered, Batch, Info, Request, Usage
from polydub.engines.mt import fake, openai_chat
from polydub.errors import BadEngineOutput
from polydub.runner import Run
from polydub.stages import listen, translate
from polydub.stages.translate import Given, Numbering, Told
from polydub.store import Store
from polydub.text.glossary import Entry
from polydub.types import Notice, Script, Segment, Span, Wordings
from polydub.wants import Texts


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


def engine(size: int, *features: str) -> Info:
    return Info("mt", "x", "", "", "", batch=size, features=frozenset(features))


def test_an_engine_without_context_gets_nothing_but_the_text_and_its_terms() -> None:
    told = Told("a film", (Entry("a", "A", "the letter"), Entry("c", "C")))
    one, two = translate.batches(script("a", "b"), "es", engine(1), told)
    assert (one.requests[0].id, one.requests[0].speaker, one.requests[0].seconds) == ("0", "", 0.0)
    assert (one.source, one.target, one.before, one.after, one.summary) == ("en", "es", (), (), "")
    assert (one.terms, two.terms, two.requests[0].text) == ({"a": "A"}, {}, "b")


def test_an_engine_with_context_sees_neighbours_time_terms_and_what_the_film_is_about() -> None:
    told = Told(" A film. ", (Entry("a", "A", "the letter"), Entry("d", "D", "another"), Entry("e", "E")))
    made = translate.batches(script(*"abcdefgh"), "es", engine(3, "context"), told)
    assert [len(b.requests) for b in made] == [3, 3, 2]
    assert made[1].before == ("a", "b", "c")
    assert made[1].after == ("g", "h")
    assert made[1].requests[0].seconds == pytest.approx(0.9)
    assert [b.terms for b in made] == [{"a": "A"}, {"d": "D", "e": "E"}, {}]
    assert [b.summary for b in made] == ['A film.\n"a": the letter', 'A film.\n"d": another', "A film."]


def test_a_term_that_occurs_nowhere_changes_no_batch() -> None:
    plain = translate.batches(script("a", "b"), "es", engine(5, "context"))
    assert translate.batches(script("a", "b"), "es", engine(5, "context"), Told("", (Entry("z", "Z", "note"),))) == plain


def test_only_lines_without_a_translation_are_sent() -> None:
    partly = Given(script("a", "b", "c").script, {"2": "be"})
    sent = [r.text for b in translate.batches(partly, "es", engine(20, "context")) for r in b.requests]
    assert sent == ["a", "c"]
    lines = translate.write_lines(partly, ["ah", "ceh"], "es")
    assert [line.text for line in lines] == ["ah", "be", "ceh"]


def test_a_doubtful_translation_is_a_notice_with_the_number_of_its_line() -> None:
    partly = Given(script("a", "b", "", "c").script, {"2": "be"})
    notices = translate.doubtful(partly, [Wordings("ah"), Wordings("ceh", doubt="the translation is odd")])
    assert notices == (Notice("doubtful-translation", "the translation is odd", "warning", "translate", "4"),)


def test_answers_are_joined_and_what_they_took_is_added_up() -> None:
    answers = (
        Answered((Wordings("a"), Wordings("b")), Usage(1, 100, 10, 0.25)),
        Answered((Wordings("c"),), Usage(2, 50, 5, 0.5)),
    )
    assert [w.normal for w in translate.joined(answers)] == ["a", "b", "c"]
    assert translate.taken(answers) == Usage(3, 150, 15, 0.75)
    assert translate.taken(()) == Usage()


def test_a_glossary_is_read_once_and_remembered(tmp_path: Path) -> None:
    file = tmp_path / "terms.csv"
    file.write_text("crane,grúa,the machine\nNetflix\n", encoding="utf-8")
    store = Store(tmp_path / "store")
    for ran in (1, 0):
        with Run(store, tmp_path) as run:
            entries = run.step(translate.read_glossary, run.adopt(file))
            assert entries == (Entry("crane", "grúa", "the machine"), Entry("Netflix", "Netflix"))
            assert run.counts["read-glossary"].ran == ran
    store.close()


def test_texts_of_a_file_are_a_persons_and_translated_ones_are_not() -> None:
    partly = Given(script("a", "b").script, {"2": "be"}, wordings={"2": Wordings("be", "b", "bee")})
    machine, person = translate.write_lines(partly, [Wordings("ah", "a", "aah")], "es")
    assert (machine.text, machine.short, machine.long, machine.given) == ("ah", "a", "aah", False)
    assert (person.text, person.short, person.long, person.given) == ("be", "b", "bee", True)


def test_the_sources_own_text_is_a_persons_where_it_was_written_and_not_heard() -> None:
    for written in (True, False):
        own = Given(script("a", "").script, {}, written=written)
        assert [x.given for x in translate.write_lines(own, ["a"], "en")] == [written, written]


class Rephrases:
    """A translator with ready answers."""

    def __init__(self, *answers: Wordings) -> None:
        self.answers = answers

    def translate(self, batch: Batch) -> Sequence[str]:
        return [answer.normal for answer in self.answers]

    def candidates(self, batch: Batch) -> Answered:
        return Answered(self.answers, Usage(1, 2, 3, 0.5))


def test_wordings_stand_on_one_line_and_say_each_thing_once() -> None:
    batch = Batch("en", "es", (Request("1", "a"), Request("2", "b")))
    answers = Rephrases(Wordings(" uno \n dos ", "uno dos", "uno  y dos", "odd"), Wordings("tres", "t", "t"))
    assert translate.wordings.function(None, answers, batch) == Answered(
        (Wordings("uno dos", "", "uno y dos", "odd"), Wordings("tres", "t", "")), Usage(1, 2, 3, 0.5)
    )
    assert translate.translate.function(None, answers, batch) == Answered((Wordings("uno dos"), Wordings("tres")))
    for stage in (translate.wordings, translate.translate):
        with pytest.raises(BadEngineOutput, match="1 came back"):
            stage.function(None, Rephrases(Wordings("uno")), batch)


def test_a_term_that_any_engine_leaves_out_is_a_doubt() -> None:
    batch = Batch(
        "en", "es", (Request("1", "the crane"), Request("2", "two cranes"), Request("3", "none")), terms={"crane": "grúa"}
    )
    answers = Rephrases(Wordings("la torre"), Wordings("dos grúas"), Wordings("nada"))
    for stage in (translate.wordings, translate.translate):
        assert [w.doubt for w in stage.function(None, answers, batch).wordings] == [
            'the translation lacks a term of the glossary: "crane" (grúa)',
            "",
            "",
        ]


def test_a_translator_is_asked_for_lengths_if_it_has_them_and_its_option_allows_and_a_service_always() -> None:
    for wished in (True, False):
        assert translate.answers_fully(fake.ENGINE.info, fake.FakeOptions(candidates=wished)) is wished
        assert translate.answers_fully(openai_chat.ENGINE.info, openai_chat.ChatOptions(candidates=wished))
    assert not translate.answers_fully(replace(fake.ENGINE.info, features=frozenset()), fake.FakeOptions(candidates=True))


def test_the_fake_translator_offers_half_a_text_and_one_and_a_half() -> None:
    batch = Batch("en", "es", (Request("1", "we go home now"), Request("2", " "), Request("3", "one")), terms={"home": "casa"})
    with fake.ENGINE.load(fake.FakeOptions(candidates=True), {}, "cpu") as mt:
        long = "[es] we go casa now [es] we go"
        assert mt.candidates(batch) == Answered(
            (
                Wordings("[es] we go casa now", "[es] we go", long),
                Wordings(""),
                Wordings("[es] one", "[es]", "[es] one [es]"),
            ),
            Usage(1, 5, 7),
        )
    with fake.ENGINE.load(fake.FakeOptions(), {}, "cpu") as mt:
        assert [w.normal for w in mt.candidates(batch).wordings] == list(mt.translate(batch))
        assert {w.short + w.long for w in mt.candidates(batch).wordings} == {""}


def test_lengths_of_a_translation_file_reach_the_lines(tmp_path: Path, clip: Callable[..., Path]) -> None:
    said = [{"start": n, "end": n + 0.9, "text": f"frase {n}", "short": f"f{n}"} for n in range(2)]
    said[1] |= {"long": "una frase 1", "short": None}
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"language": "es", "segments": said}))
    store = Store(tmp_path / "store")
    with Run(store, tmp_path) as run:
        source = run.step(listen.probe, run.adopt(clip("film", seconds=3.0)))
        given = run.step(translate.read_script, source, Texts(translation=run.adopt(file)), "en", "es")
        lines = translate.write_lines(translate.renumbered(given, ["7", "8"]), [], "es")
    store.close()
    assert [(x.id, x.text, x.short, x.long, x.given) for x in lines] == [
        ("7", "frase 0", "f0", "", True),
        ("8", "frase 1", "", "una frase 1", True),
    ]


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
