"""Which passwords are taken: none that are tried first, none that have leaked."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from house import House, open_house
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from polydub.errors import BadSettings, StoreError
from polydub.server.passwords import SHORTEST, check_list, is_leaked, weakness

TOLD = "the password is one of those that have leaked somewhere"
LEAKED = ["quiet orange staircase", "another long enough phrase", "тихая лестница", "x" * 12, ""]


def hibp(folder: Path, passwords: list[str], ending: str = "\r\n") -> Path:
    """A list as Have I Been Pwned's downloader writes it."""
    hashes = sorted(hashlib.sha1(password.encode()).hexdigest().upper() for password in passwords)
    file = folder / "pwned.txt"
    file.write_bytes("".join(f"{each}:{n + 1}{ending}" for n, each in enumerate(hashes)).encode())
    return file


def test_the_most_frequent_of_leaked_passwords_are_refused() -> None:
    """All of the 30,000 that are long enough, and the first 3000 of them made long enough as people do it."""
    frequent = list(FREQUENCY_LISTS["passwords"])
    assert len(frequent) == 30_000
    long = [password for password in frequent if len(password) >= SHORTEST]
    assert len(long) > 200
    chosen = random.Random(6).sample([password for password in frequent[:3000] if password not in long], 300)
    made = [(password * 12)[: max(12, 2 * len(password))] for password in chosen]
    assert [password for password in [*long, *made] if not weakness(password)] == []


@pytest.mark.parametrize(
    "password",
    ["password1234", "1q2w3e4r5t6y", "zaq12wsxcde3", "abcd12345678", "michelle1234", "manchesterunited", "iloveyouforever",
     "P4ssw0rdP4ssw0rd", "drowssapdrowssap", "19901990199019", "summersummer2024", "a" * 256],
)  # fmt: skip
def test_what_people_make_of_them_is_refused_too(password: str) -> None:
    assert weakness(password) == "is one of those that are tried first"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_what_has_leaked_is_found(ending: str, tmp_path: Path) -> None:
    file = hibp(tmp_path, LEAKED, ending)
    check_list(file)
    assert all(is_leaked(password, file) for password in LEAKED)
    assert not any(is_leaked(password, file) for password in ("quiet orange staircas", "x" * 13, "\ud800"))


@given(st.sets(st.text(max_size=5), max_size=40), st.text(max_size=5), st.booleans())
def test_a_list_of_any_size_holds_what_it_holds(
    tmp_path_factory: pytest.TempPathFactory, has: set[str], asked: str, last: bool
) -> None:
    has = {text.encode("utf-8", "replace").decode() for text in has}
    file = hibp(tmp_path_factory.mktemp("list"), list(has))
    if last:
        file.write_bytes(file.read_bytes().rstrip())  # no end of its last line
    assert is_leaked(asked, file) == (asked in has)
    assert all(is_leaked(each, file) for each in has)


@pytest.mark.anyio
async def test_leaked_passwords_are_refused_where_the_server_has_a_list(tmp_path: Path) -> None:
    async with open_house(tmp_path, breached_passwords=hibp(tmp_path, LEAKED)) as house:
        assert await refused(house, LEAKED[0]) == (
            422,
            "weak_password",
            "the password is one of those that have leaked somewhere",
        )
        assert await refused(house, "three unrelated words") == (201, "", "")


async def refused(house: House, password: str) -> tuple[int, str, str]:
    answer = await house.client().post("/api/auth/register", json={"email": "ana@example.org", "password": password})
    error = answer.json().get("error", {"code": "", "message": ""})
    return answer.status_code, error["code"], error["message"]


def test_a_list_that_cannot_be_one_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("password\n123456\n")
    for name, said in (("plain.txt", "is no list"), ("nothing.txt", "cannot be read"), (".", "cannot be read")):
        with pytest.raises(BadSettings, match=said):
            check_list(tmp_path / name)
    with pytest.raises(StoreError):
        is_leaked("x", tmp_path / "nothing.txt")
