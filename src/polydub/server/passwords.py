"""Passwords: which are taken, how they are kept (argon2id), and how many are hashed at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from polydub.server.problems import Problem, too_many

Answer = TypeVar("Answer")
SHORTEST, LONGEST = 12, 256  # characters
MEMORY_KIB, ROUNDS = 32 * 1024, 3  # above OWASP's floor for argon2id (19 MiB, 2 rounds, 1 lane): about 0.1 s
AT_ONCE, WAITING = 2, 32
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjkl",
    "zxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
)
# What the lists of leaked passwords begin with, as far as it can be part of a longer one.
_COMMON = frozenset(
    {
        "password", "passwort", "passw0rd", "p4ssword", "letmein", "welcome", "iloveyou", "monkey", "dragon",
        "football", "baseball", "superman", "batman", "master", "sunshine", "princess", "shadow", "trustno1",
        "starwars", "whatever", "computer", "internet", "changeme", "secret", "default", "admin", "administrator",
        "root", "login", "access", "michael", "jennifer", "jordan", "hunter", "charlie", "correcthorsebatterystaple",
        "polydub",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Passwords:
    """Hashes passwords, a few at a time, since each takes memory and a core."""

    memory_kib: int = MEMORY_KIB
    rounds: int = ROUNDS
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _waiting: list[int] = field(default_factory=lambda: [0])

    async def hash(self, password: str) -> str:
        """What is kept."""
        return await self._slowly(lambda: self._hasher().hash(_bytes(password)))

    async def verify(self, password: str, kept: str) -> tuple[bool, str | None]:
        """Whether it is the one, and a new hash where the old one was made with less effort.

        An empty `kept` (no such account, or one without a password) takes as long as a wrong password.
        """
        right, renewed = await self._slowly(lambda: self._verified(password, kept))
        return (right, renewed) if kept else (False, None)

    def _verified(self, password: str, kept: str) -> tuple[bool, str | None]:
        hasher = self._hasher()
        try:
            return hasher.verify_and_update(_bytes(password), kept or _dummy(hasher, self.memory_kib, self.rounds))
        except UnknownHashError:
            return False, None

    def _hasher(self) -> PasswordHash:
        return PasswordHash((Argon2Hasher(time_cost=self.rounds, memory_cost=self.memory_kib, parallelism=1),))

    async def _slowly(self, work: Callable[[], Answer]) -> Answer:
        if self._waiting[0] >= WAITING:
            raise too_many("too many logins at this moment", 2)
        self._waiting[0] += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._waiting[0] -= 1


_DUMMIES: dict[tuple[int, int], str] = {}


def _dummy(hasher: PasswordHash, memory_kib: int, rounds: int) -> str:
    key = (memory_kib, rounds)
    if key not in _DUMMIES:
        _DUMMIES[key] = hasher.hash(b"nobody's")
    return _DUMMIES[key]


def check(password: str, email: str, name: str) -> None:
    """Refuses what is easily guessed. Any characters will do, and any mixture of them. Raises: Problem 422."""
    reason = weakness(password, email, name)
    if reason:
        raise Problem(422, "weak_password", f"the password {reason}", hint="several unrelated words are good", param="password")


def weakness(password: str, email: str = "", name: str = "") -> str:
    """What is wrong with a password, "" when nothing is."""
    if len(password) < SHORTEST:
        return f"has fewer than {SHORTEST} characters"
    if len(password) > LONGEST:
        return f"has more than {LONGEST} characters"
    rest = password.lower()
    known = [*re.split(r"[@.+_-]", email.lower()), *name.lower().split(), email.lower()]
    for word in sorted({w for w in known if len(w) > 3}, key=len, reverse=True):
        if word in rest:
            return "holds the name or address of the account"
    for word in sorted(_COMMON, key=len, reverse=True):
        rest = rest.replace(word, "")
    for row in _ROWS:
        rest = _without_runs(rest, row)
    if len(rest) < SHORTEST // 2 or len(set(rest)) < 5:
        return "is one of those that are tried first"
    return ""


def _without_runs(text: str, row: str) -> str:
    """`text` without pieces of four and more that stand in `row`, forwards or backwards."""
    for line in (row, row[::-1]):
        for length in range(len(line), 3, -1):
            for start in range(len(line) - length + 1):
                text = text.replace(line[start : start + length], "")
    return text


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
