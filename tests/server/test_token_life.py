"""Logins in any order of events: a model says which tokens are good, the server must say the same."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from house import House, open_house
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from polydub.server.contracts import Principal, User
from polydub.server.problems import Problem

ACCESS, IDLE, LONGEST = timedelta(minutes=15), timedelta(days=30), timedelta(days=180)


@dataclass
class Login:
    """What the model knows of a family: its tokens with the times they were made, and whether it has ended."""

    begun: datetime
    fresh: str
    made: datetime
    spent: list[str] = field(default_factory=list)
    access: list[tuple[str, datetime]] = field(default_factory=list)
    ended: bool = False


class TokenLife(RuleBasedStateMachine):
    logins = Bundle("logins")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.house: House = self.run(self.stack.enter_async_context(open_house(Path(folder))))
        self.user: User = self.run(self.house.person("editor"))
        self.known: list[Login] = []

    def run(self, work):  # type: ignore[no-untyped-def]
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    @property
    def now(self) -> datetime:
        return self.house.clock()

    @rule(target=logins)
    def log_in(self) -> Login:
        pair = self.run(self.house.accounts.begin_family(self.user))
        login = Login(self.now, pair.refresh, self.now, access=[(pair.access, self.now)])
        self.known.append(login)
        return login

    @rule(login=logins)
    def renew(self, login: Login) -> None:
        good = not login.ended and self.now < login.made + IDLE and self.now < login.begun + LONGEST
        try:
            _, pair = self.run(self.house.accounts.refresh(login.fresh))
        except Problem:
            assert not good
            if not login.ended and self.now < login.made + IDLE:  # used up, although the login is past its time
                login.spent.append(login.fresh)
            return
        assert good
        login.spent.append(login.fresh)
        login.fresh, login.made = pair.refresh, self.now
        login.access.append((pair.access, self.now))

    @rule(login=logins, which=st.integers(0, 5))
    def use_a_spent_token(self, login: Login, which: int) -> None:
        if not login.spent:
            return
        token = login.spent[which % len(login.spent)]
        try:
            self.run(self.house.accounts.refresh(token))
        except Problem:
            secret = self.run(self.house.services.records.secret("refresh", _digest(token)))
            if secret.expires > self.now:
                login.ended = True
            return
        raise AssertionError("a refresh token was good twice")

    @rule(login=consumes(logins))
    def log_out(self, login: Login) -> None:
        self.run(self.house.accounts.end_refresh(login.fresh))
        login.ended = True

    @rule(login=logins)
    def change_password_elsewhere(self, login: Login) -> None:
        self.run(self.house.accounts.end_logins(self.user.id))
        for other in self.known:
            other.ended = True

    @rule(minutes=st.sampled_from([1, 10, 14, 16, 60, 60 * 24 * 10, 60 * 24 * 29, 60 * 24 * 31]))
    def wait(self, minutes: int) -> None:
        self.house.clock.pass_by(minutes=minutes)

    @invariant()
    def access_tokens_are_good_exactly_as_long_as_they_should_be(self) -> None:
        for login in self.known:
            for token, made in login.access:
                who: Principal | None = self.run(self.house.accounts.by_bearer(token))
                good = not login.ended and self.now < made + ACCESS and self.now < login.begun + LONGEST
                assert (who is not None) == good


def _digest(token: str) -> str:
    from polydub.server.tokens import digest

    return digest(token)


TestTokenLife = pytest.mark.slow(TokenLife.TestCase)
TestTokenLife.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
