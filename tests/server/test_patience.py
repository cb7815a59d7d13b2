"""While a database is away jobs wait for it, and the log says so now and then."""

from __future__ import annotations

import logging
import re

import pytest

from polydub.errors import BadSettings, PolydubError
from polydub.server.db.records import DatabaseAway
from polydub.server.patience import RECORDS, Outage, patient, said_away

pytestmark = pytest.mark.anyio


class Database:
    """Fails so many times with `error`, then answers."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.asked = error, times, 0

    async def answer(self) -> str:
        self.asked += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return "here"


async def test_what_needs_the_database_waits_for_it_however_long_it_is_away() -> None:
    away = Database(DatabaseAway("the database does not answer"), 50)
    assert await patient(away.answer, tries=3, pause_s=0) == "here"


async def test_a_fault_is_not_repeated_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    broken = Database(ZeroDivisionError("odd"), 50)
    with pytest.raises(ZeroDivisionError):
        await patient(broken.answer, tries=3, pause_s=0)
    assert broken.asked == 3
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"it is tried again, up to {n} times: ZeroDivisionError: odd" for n in (2, 1)], "no word of a database"


async def test_what_will_not_change_is_raised_at_once() -> None:
    wrong = Database(BadSettings("no such setting"), 50)
    with pytest.raises(PolydubError):
        await patient(wrong.answer, tries=3, pause_s=0)
    assert wrong.asked == 1


def test_the_log_says_once_that_the_database_is_away_and_once_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("polydub.test"), "the database")
    outage.back()
    for _ in range(1000):
        outage.away(OSError("connection refused\nand much more"))
    outage.back()
    outage.back()
    outage.away(OSError("again"))
    said = [re.sub(r"\d+ s", "some time", record.getMessage()) for record in caplog.records]
    assert said == [
        "the database does not answer, and is asked again until it does: connection refused",
        "the database answers again, after some time",
        "the database does not answer, and is asked again until it does: again",
    ]


def test_a_long_outage_is_mentioned_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("polydub.test"), "the database", said_s=0.0)
    for _ in range(3):
        outage.away(OSError("connection refused"))
    assert ["has not answered for" in record.getMessage() for record in caplog.records] == [False, True, True]


def test_an_outage_that_ended_unnoticed_does_not_hide_the_next_one(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("polydub.test"), "the database", said_s=1000.0, forgotten_s=0.0)
    outage.away(OSError("connection refused"))
    outage.away(OSError("connection refused"))
    assert ["does not answer" in record.getMessage() for record in caplog.records] == [True, True]


def test_the_log_tells_of_a_database_that_is_away_by_its_cause_alone(caplog: pytest.LogCaptureFixture) -> None:
    away = DatabaseAway("the database does not answer")
    away.__cause__ = OSError("connection refused")
    assert (said_away(away), said_away(BadSettings("no such setting"))) == (True, False)
    assert all(record.getMessage().endswith("connection refused") for record in caplog.records)
    assert not any(record.exc_info for record in caplog.records)
    RECORDS.back()
