"""Passwords: which are taken, how they are kept (argon2id), and how many are hashed at once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from polydub.errors import BadSettings, StoreError
from polydub.server.problems import Problem, too_many

Answer = TypeVar("Answer")
SHORTEST, LONGEST = 12, 256  # characters
MEMORY_KIB, ROUNDS = 32 * 1024, 3  # above OWASP's floor for argon2id (19 MiB, 2 rounds, 1 lane): about 0.1 s
AT_ONCE, WAITING = 2, 32
LOOKED_AT = 72  # characters that are judged: the time grows with the cube of them, and so many are good or never will be
TRIED_FIRST = 10**8  # guesses, of who tries what people choose before what they do not; zxcvbn's bound for "somewhat guessable"
OWN_NAME = "polydub"
_KNOWN = ("correcthorsebatterystaple",)
_LINE = re.compile(rb"[0-9A-Fa-f]{40}(:\d+)?\r?\n")


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


def check(password: str, email: str, name: str, leaked: Path | None = None) -> None:
    """Refuses what is easily guessed. Any characters will do, and any mixture of them. Takes up to 0.2 s.

    Args: leaked: a list for `is_leaked`. Raises: Problem 422; StoreError when the list cannot be read.
    """
    reason = weakness(password, email, name)
    if not reason and leaked and is_leaked(password, leaked):
        reason = "is one of those that have leaked somewhere"
    if reason:
        raise Problem(422, "weak_password", f"the password {reason}", hint="several unrelated words are good", param="password")


def weakness(password: str, email: str = "", name: str = "") -> str:
    """What is wrong with a password, "" when nothing is.

    zxcvbn knows the 30,000 most frequent of ten million leaked passwords, words, names, dates and runs of the keyboard, and
    what people make of them; it counts how many guesses come before this one.
    """
    if len(password) < SHORTEST:
        return f"has fewer than {SHORTEST} characters"
    if len(password) > LONGEST:
        return f"has more than {LONGEST} characters"
    known = [*re.split(r"[@.+_-]", email.lower()), *name.lower().split(), email.lower()]
    if any(word in password.lower() for word in known if len(word) > 3):
        return "holds the name or address of the account"
    if OWN_NAME in password.lower():
        return f"holds the word {OWN_NAME}"
    from zxcvbn import zxcvbn

    judged = zxcvbn(password[:LOOKED_AT], user_inputs=[*_KNOWN, *filter(None, known)], max_length=LOOKED_AT)
    return "is one of those that are tried first" if judged["guesses"] < TRIED_FIRST else ""


def is_leaked(password: str, file: Path) -> bool:
    """Whether a file of sorted lines SHA1:COUNT has a password, as Have I Been Pwned gives them out (40 GB: it is searched,
    not read). Raises: StoreError.
    """
    wanted = hashlib.sha1(_bytes(password), usedforsecurity=False).hexdigest().upper().encode()
    try:
        with file.open("rb") as lines:
            low, high = 0, lines.seek(0, os.SEEK_END)
            while low < high:  # `low` begins a line; every line before it is smaller
                middle = (low + high) // 2
                lines.seek(max(0, middle - 1))
                if middle:
                    lines.readline()
                line = lines.readline()
                if line and line[:40].upper() < wanted:
                    low = lines.tell()
                else:
                    high = middle
            lines.seek(low)
            return lines.readline()[:40].upper() == wanted
    except OSError as error:
        raise StoreError(f"the list of leaked passwords {file} cannot be read: {error.strerror or error}") from error


def check_list(file: Path) -> None:
    """Whether `is_leaked` can read a file. Raises: BadSettings."""
    try:
        with file.open("rb") as lines:
            first = lines.readline(100)
    except OSError as error:
        raise BadSettings(
            f"the list of leaked passwords {file} cannot be read: {error.strerror or error}", "see server.breached_passwords"
        ) from error
    if not _LINE.fullmatch(first):
        raise BadSettings(f"{file} is no list of leaked passwords", "its lines are SHA1:COUNT, sorted by the SHA1")


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
