"""What steps of a dub tell one another, of divided ones most of all."""

from __future__ import annotations

from typing import Any

from polydub.server import parts
from polydub.server.work import Message

CALL: Message = {
    "job": "j",
    "attempt": 1,
    "number": 4,
    "queue": "gpu",
    "pins": {"a": {}},
    "counts": {"es": {"speak": [2.0, 10]}},
}
OVER = {"queue": "gpu", "pins": {"a": {}}, "counts": {"es": {"speak": [5.0, 40]}}, "spent": 6.0}


def shares(of: int = 2) -> list[Message]:
    return list(parts.shares(parts.onward(CALL, OVER | {"divided": {"map": "m", "of": of}})["next"]))


def end(call: Message, made: int, *, met: bool = True, ended: bool = True) -> dict[str, Any]:
    seconds, known = call["counts"]["es"]["speak"]
    counts = {"es": {"speak": [seconds + 1.0, known + made]}}
    return parts.onward(call, {"counts": counts, "spent": 6.0 + made, "met": met, "ended": ended})


def test_a_divided_step_is_so_many_workflows_and_any_other_is_one() -> None:
    assert [parts.id_of(call) for call in shares(3)] == ["j/1/5.0.1-gpu", "j/1/5.1.1-gpu", "j/1/5.2.1-gpu"]
    assert {parts.queue_of(parts.id_of(call)) for call in shares(3)} == {"gpu"}
    assert [parts.id_of(call) for call in parts.shares(CALL)] == ["j/1/4-gpu"]


def test_what_shares_have_made_is_summed_up_and_the_next_step_is_the_same_for_whoever_asks() -> None:
    one, two = shares()
    told = [end(one, 20)["share"], end(two, 15)["share"]]
    (following, again) = (parts.joined(call, told)["next"] for call in (one, two))
    assert following == again
    assert following["counts"] == {"es": {"speak": (7.0, 75)}} and following["spent"] == 26.0
    assert parts.id_of(following) == "j/1/6-gpu" and "divided" not in following and "share" not in following


def test_a_share_that_makes_room_goes_on_in_another_turn_and_counts_once() -> None:
    one, two = shares()
    turned = end(one, 5, ended=False)["next"]
    assert parts.id_of(turned) == "j/1/5.0.2-gpu" and parts.shares(turned) == [turned]
    told = [end(turned, 15)["share"], end(two, 15)["share"]]
    assert parts.joined(turned, told) == parts.joined(two, told)
    assert parts.joined(two, told)["next"]["counts"] == {"es": {"speak": (8.0, 75)}}


def test_a_job_whose_map_a_share_does_not_find_is_not_divided_again() -> None:
    one, two = shares()
    told = [end(one, 20)["share"], end(two, 0, met=False)["share"]]
    assert parts.joined(one, told)["next"]["whole"] is True
    assert "whole" not in parts.joined(one, told[:1])["next"]
