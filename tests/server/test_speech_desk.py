"""Places, turns, and work that ends when nobody wants it any more."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from speech_room import waits_for

from polydub.errors import BadInput, Cancelled
from polydub.server.desk import Desk, Flow, Turns
from polydub.server.problems import Problem
from polydub.server.wording import script_language, sentences


def nothing() -> None:
    """Nobody has left."""


def test_places_are_limited_and_given_back() -> None:
    desk = Desk(1, 1)
    with desk.place(), desk.place():
        with pytest.raises(Problem) as caught, desk.place():
            pass
        assert caught.value.http_status == 429
        assert caught.value.retry_after is not None
        assert caught.value.retry_after >= 1
    assert desk.inside == 0


def test_who_needs_it_first_comes_first() -> None:
    turns, order = Turns(1), list[float]()

    def wait(due: float) -> None:
        with turns.turn(due, nothing):
            order.append(due)

    with turns.turn(0, nothing):
        threads = [threading.Thread(target=wait, args=(due,)) for due in (5.0, 3.0, 4.0)]
        for number, thread in enumerate(threads, 1):
            thread.start()
            assert waits_for(lambda number=number: turns.waiting == number)
    for thread in threads:
        thread.join(60)
    assert order == [3.0, 4.0, 5.0]
    assert turns.serving == 0


def test_who_gives_up_leaves_the_turn_to_others() -> None:
    turns, left, served = Turns(1), threading.Event(), threading.Event()

    def check() -> None:
        if left.is_set():
            raise Cancelled("gone")

    def impatient() -> None:
        with pytest.raises(Cancelled), turns.turn(1, check):
            served.set()

    def patient() -> None:
        with turns.turn(2, nothing):
            served.set()

    with turns.turn(0, nothing):
        first, second = threading.Thread(target=impatient), threading.Thread(target=patient)
        first.start()
        second.start()
        left.set()
        first.join(60)
        assert not served.is_set()
    second.join(60)
    assert served.is_set()
    assert turns.serving == 0


def test_results_come_in_order_and_then_the_error() -> None:
    def work(flow: Flow[int]) -> None:
        for number in range(1, 4):
            flow.put(number)
        raise BadInput("that was all")

    async def taken() -> list[int]:
        flow, found = Flow(work), list[int]()
        with pytest.raises(BadInput):
            async for item in flow:
                found.append(item)
        return found

    assert asyncio.run(taken()) == [1, 2, 3]


def test_work_that_nobody_wants_ends_at_its_next_step() -> None:
    ended, told = threading.Event(), threading.Event()

    def work(flow: Flow[int]) -> None:
        flow.at_stop(told.set)
        try:
            while True:
                flow.put(1)
                time.sleep(0.01)
        finally:
            ended.set()

    async def leave() -> None:
        flow = Flow(work)
        await flow.take()
        flow.stop()

    asyncio.run(leave())
    assert ended.wait(60)
    assert told.is_set()


def test_whoever_takes_nothing_for_too_long_is_gone() -> None:
    async def wait() -> None:
        flow: Flow[int] = Flow(lambda flow: flow.linger())
        with pytest.raises(TimeoutError):
            await flow.take(0.05)
        flow.stop()
        assert await flow.take() is None

    asyncio.run(wait())


def test_the_first_sentence_is_spoken_alone_and_the_rest_in_larger_pieces() -> None:
    text = " ".join(f"This is the sentence of the number {n}." for n in range(100, 140))
    pieces = list(sentences(text, "en"))
    assert pieces[0] == "This is the sentence of the number 100."
    assert all(len(piece) <= 400 for piece in pieces)
    assert " ".join(pieces) == text
    assert len(pieces) < 12


@pytest.mark.parametrize("text", ["One.", "No end", "A. B. C. D.", "Hi! " * 3, "x" * 3000, "", "Ends with blanks.  "])
def test_no_letter_of_a_text_is_lost(text: str) -> None:
    pieces = list(sentences(text, "en"))
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(len(piece) <= 1150 for piece in pieces)


def test_signs_that_are_no_letters_do_not_reach_an_engine() -> None:
    assert list(sentences("a\0b\x01c\n\td", "en")) == ["a b c d"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Привет", "ru"),
        ("日本語のテキスト", "ja"),
        ("中文", "zh"),
        ("Hello", ""),
        ("", ""),
        ("Hello мир and more", ""),
        ("שלום", "he"),
    ],
)
def test_a_script_tells_its_language_and_latin_letters_tell_none(text: str, language: str) -> None:
    assert script_language(text) == language
