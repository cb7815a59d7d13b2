"""Starting a server on a fresh machine, looking after it from the command line, stopping it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from house import until

from polydub.cli import run
from polydub.config import Loaded, load
from polydub.config.server import ServerSettings
from polydub.errors import BadSettings, MissingSecret, StoreError
from polydub.server.bootstrap import address_of, first_admin, folder_of, listening, opened, settled, sweeping
from polydub.server.db import open_records
from polydub.server.retention import Doomed

POLYDUB = str(Path(sys.executable).with_name("polydub"))
LINK = re.compile(r"http://127\.0\.0\.1:\d+/login\?token=[\w-]{43}")


def loaded(folder: Path, environ: Mapping[str, str] | None = None, **server: Any) -> Loaded:
    given = {"server": {"data": str(folder / "data"), **server}}
    return load(given, job=None, environ=environ or {}, cwd=folder, user_file=None)


@contextmanager
def started(folder: Path, *arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and where it is; ended when the test has not done so."""
    command = [POLYDUB, "serve", "--port", "0", "--data", str(folder / "data"), *arguments]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=folder, env={**os.environ, **environ}, start_new_session=True
    )
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith(("log in as", "for a link")):
                break
        address = re.search(r"polydub is at (\S+),", said)
        assert address, said
        yield process, said
    finally:
        process.kill()
        process.wait(60)
        if process.stderr:
            process.stderr.close()


def url_in(said: str) -> str:
    found = re.search(r"polydub is at (\S+),", said)
    assert found
    return found.group(1)


@pytest.mark.slow
def test_the_first_start_makes_everything_and_says_how_to_log_in(tmp_path: Path) -> None:
    with started(tmp_path) as (process, said), httpx.Client(base_url=url_in(said)) as browser:
        link = LINK.search(said)
        assert link
        assert browser.get("/readyz").json()["ready"]
        assert browser.get(link.group()).status_code == 303
        assert browser.get("/api/auth/me").json()["user"]["role"] == "admin"
        assert browser.get(link.group()).status_code == 401
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with started(tmp_path) as (process, said), httpx.Client(base_url=url_in(said)) as browser:
        assert not LINK.search(said)
        assert browser.get("/healthz").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


@pytest.mark.slow
def test_a_token_made_beside_a_running_server_works_at_once(tmp_path: Path) -> None:
    with started(tmp_path) as (_, said):
        made = subprocess.run(
            [POLYDUB, "admin", "token", "--data", "data", "--scopes", "metrics"],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        headers = {"authorization": f"Bearer {made.stdout.strip()}"}
        assert httpx.get(url_in(said) + "/metrics", headers=headers).status_code == 200
        assert httpx.get(url_in(said) + "/api/auth/me", headers=headers).status_code == 403


@pytest.mark.slow
def test_a_link_made_beside_a_running_server_leads_to_it(tmp_path: Path) -> None:
    with started(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with started(tmp_path) as (_, said):
        told = re.search(r"for a link that logs in: polydub (.+)", said)
        assert told
        command = [POLYDUB, *shlex.split(told.group(1))]
        made = subprocess.run(command, cwd=tmp_path.parent, capture_output=True, text=True, check=True, timeout=60)
        assert made.stdout.startswith(url_in(said) + "/login?token=")
        assert httpx.get(made.stdout.strip()).status_code == 303


@pytest.mark.slow
def test_a_second_server_on_the_same_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with started(tmp_path):
        command = [POLYDUB, "serve", "--port", "0", "--data", str(tmp_path / "data")]
        second = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert second.returncode == 6
    assert "Traceback" not in second.stderr and "error: " in second.stderr


@pytest.mark.slow
def test_a_client_that_sends_half_a_request_is_dropped_and_others_are_served(tmp_path: Path) -> None:
    with started(tmp_path) as (_, said):
        url = httpx.URL(url_in(said))
        half = [socket.create_connection((url.host, url.port or 80)) for _ in range(50)]
        for connection in half:
            connection.sendall(b"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        assert httpx.get(url_in(said) + "/healthz").status_code == 200
        for connection in half:
            connection.close()
        for nonsense in (
            b"\x16\x03\x01\x02\x00\x01",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
                connection.sendall(nonsense)
                answer = connection.recv(1000)
                assert answer[:13] in (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 431 ", b"HTTP/1.1 421 ")
        assert httpx.get(url_in(said) + "/healthz").status_code == 200


# ------------------------------------------------------------------ what is refused


@pytest.mark.anyio
async def test_a_sweep_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[int] = []

    async def sweep() -> Sequence[Doomed]:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise StoreError("the database does not answer")
        if len(rounds) == 2:
            raise PermissionError(13, "not permitted", "store")
        return [Doomed("folder", "j1", 5, "no job knows it")]

    task = asyncio.create_task(sweeping(sweep, first_s=0, then_s=0))
    await until(lambda: len(rounds) > 2, "it sweeps again")
    task.cancel()
    await asyncio.wait({task})
    assert "stay until the next time: the database does not answer" in caplog.text
    assert "not permitted: 'store'" in caplog.text


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with listening(ServerSettings(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(BadSettings, match=rf"port {port} of 127\.0\.0\.1") as refused:
            listening(ServerSettings(port=port))
    assert refused.value.hint == f"give another one: --port {port + 1}"


def test_an_address_that_is_not_of_this_machine_is_one_sentence() -> None:
    with pytest.raises(BadSettings, match=r"192\.0\.2\.1") as refused:
        listening(ServerSettings(host="192.0.2.1"))
    assert "--host 127.0.0.1" in refused.value.hint


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        folder_of(ServerSettings(data=tmp_path / "file" / "data"))


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80"), ("::1", "http://[::1]:80")],
)  # fmt: skip
def test_the_address_it_tells_can_be_opened(host: str, told: str) -> None:
    assert address_of(ServerSettings(host=host), 80) == told


def test_under_strict_secrets_nothing_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret, match="POLYDUB_JWT_KEYS"):
        settled(loaded(tmp_path, {"STRICT_SECRETS": "1"}))
    with pytest.raises(MissingSecret, match="POLYDUB_D1_TOKEN, POLYDUB_S3_ACCESS_KEY_ID"):
        settled(loaded(tmp_path, {"STRICT_SECRETS": "1", "POLYDUB_JWT_KEYS": "x" * 40}, database="d1", storage="s3://b"))
    assert settled(loaded(tmp_path, {"STRICT_SECRETS": "1", "POLYDUB_JWT_KEYS": "x" * 40}))


def test_the_databases_address_may_be_a_secret(tmp_path: Path) -> None:
    found = settled(loaded(tmp_path, {"POLYDUB_DATABASE_URL": "postgresql://ana:hush@db/x"}))
    assert found.settings.server.database == "postgresql://ana:hush@db/x"


# ------------------------------------------------------------------ what is open

anyio = pytest.mark.anyio


@anyio
async def test_the_first_admin_is_made_once(tmp_path: Path) -> None:
    firsts = []
    for _ in range(3):
        async with opened(loaded(tmp_path), working=False) as house:
            firsts.append((house.first_start, house.admin.email))
    assert firsts == [(True, "admin@localhost"), (False, "admin@localhost"), (False, "admin@localhost")]


@anyio
async def test_an_admin_who_was_disabled_is_not_made_again(tmp_path: Path) -> None:
    async with opened(loaded(tmp_path), working=False) as house:
        await house.services.records.change_user(house.admin.id, disabled=True)
        with pytest.raises(BadSettings, match="no admin"):
            await first_admin(house.accounts)


@anyio
async def test_the_token_of_the_environment_opens_the_server_as_long_as_it_stands_there(tmp_path: Path) -> None:
    first, second = "a" * 40, "b" * 40
    for token in (first, second):
        async with opened(loaded(tmp_path, {"API_TOKEN": token}), working=False) as house:
            who = {t: await house.accounts.by_bearer(t) for t in (first, second)}
            assert [t for t, found in who.items() if found] == [token]
            assert who[token] is not None and who[token].user.role == "admin"  # type: ignore[union-attr]
    async with opened(loaded(tmp_path), working=False) as house:
        assert await house.accounts.by_bearer(second) is None
    with pytest.raises(BadSettings, match="fewer than 32"):
        async with opened(loaded(tmp_path, {"API_TOKEN": "short"}), working=False):
            pass


@anyio
async def test_keys_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    async with opened(loaded(tmp_path), working=False) as house:
        kept = house.accounts.keys
    assert (tmp_path / "data" / "keys.json").exists()
    async with opened(loaded(tmp_path), working=False) as house:
        assert house.accounts.keys.keys == kept.keys
    async with opened(loaded(tmp_path, {"POLYDUB_JWT_KEYS": "k2:" + "x" * 40}), working=False) as house:
        assert house.accounts.keys.current == "k2"


# ------------------------------------------------------------------ the command line


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run([*arguments]) == status, capsys.readouterr().err
    return capsys.readouterr().out.strip()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_admin_works_on_the_servers_own_folder_before_it_ever_ran(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"pd_[0-9a-f]{16}_[\w-]{43}", said(capsys, "admin", "token"))
    assert (here / "polydub-data" / "polydub.sqlite").exists()
    assert LINK.fullmatch(said(capsys, "admin", "login-link"))
    assert said(capsys, "admin", "user", "list").split()[:2] == ["admin@localhost", "admin"]


def test_accounts_are_looked_after(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert LINK.fullmatch(said(capsys, "admin", "user", "add", "Bo@Example.org", "--role", "viewer", "--name", "Bo"))

    def bo() -> dict[str, Any]:
        return next(u for u in json.loads(said(capsys, "admin", "user", "list", "--json")) if u["email"] == "bo@example.org")

    assert (bo()["role"], bo()["name"]) == ("viewer", "Bo")
    said(capsys, "admin", "user", "role", "bo@example.org", "editor")
    said(capsys, "admin", "user", "disable", "bo@example.org")
    assert (bo()["role"], bo()["disabled"]) == ("editor", True)
    said(capsys, "admin", "login-link", "bo@example.org", status=2)
    said(capsys, "admin", "user", "enable", "bo@example.org")
    assert len(said(capsys, "admin", "user", "reset", "bo@example.org")) == 43
    assert said(capsys, "admin", "user", "second-factor", "bo@example.org") == "bo@example.org: second factor off"
    assert run(["admin", "user", "delete", "bo@example.org"]) == 3  # nobody can be asked here
    assert "--yes" in capsys.readouterr().err
    said(capsys, "admin", "user", "delete", "bo@example.org", "--yes")
    said(capsys, "admin", "user", "role", "bo@example.org", "admin", status=2)


def test_a_lost_second_factor_is_reset(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "admin", "user", "add", "bo@example.org")

    async def turned_on() -> None:
        kept = await open_records(ServerSettings(), here / "polydub-data")
        bo = await kept.user_by_email("bo@example.org")
        assert bo
        await kept.put("second-factor", bo.id, bo.id, {"secret": "JBSWY3DPEHPK3PXP", "since": "2026-05-01T12:00:00+00:00"})
        await kept.close()

    asyncio.run(turned_on())
    assert said(capsys, "admin", "user", "second-factor", "bo@example.org") == "bo@example.org: second factor on"
    told = json.loads(said(capsys, "admin", "user", "second-factor", "bo@example.org", "--reset", "--json"))
    assert told == {"email": "bo@example.org", "second_factor": False}
    said(capsys, "admin", "user", "second-factor", "nobody@example.org", status=2)


def test_a_backup_is_written_put_back_and_not_put_over_another_server(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "admin", "user", "add", "bo@example.org")
    made = json.loads(said(capsys, "admin", "backup", "copy", "--json"))
    assert made["parts"]["users"]["rows"] == 2
    said(capsys, "admin", "restore", "copy", "--data", "other")
    assert "bo@example.org" in said(capsys, "admin", "user", "list", "--data", "other")
    said(capsys, "admin", "user", "add", "ana@example.org", "--data", "third")
    said(capsys, "admin", "restore", "copy", "--data", "third", status=2)
    assert said(capsys, "admin", "retention", "--dry-run") == ""


def test_a_new_server_is_not_made_without_a_word(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "token", "--data", "mistyped"]) == 0
    assert f"a new server was made in {here / 'mistyped'}" in capsys.readouterr().err
    assert run(["admin", "token", "--data", "mistyped"]) == 0
    assert "new server" not in capsys.readouterr().err


def test_a_scope_that_does_not_exist_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "token", "--scopes", "read,fly"]) == 2
    assert "there is no scope fly" in capsys.readouterr().err
    made = json.loads(said(capsys, "admin", "token", "--scopes", "read, write", "--days", "3", "--json"))
    assert (made["scopes"], made["days"]) == (["read", "write"], 3)


def test_a_database_of_another_kind_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYDUB_SERVER__DATABASE", "mysql://x")
    assert run(["admin", "token"]) == 3
    assert "cannot keep its records in mysql" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("PROT", "1", "did you mean POLYDUB_SERVER__PORT?"),
        ("GPU_SLOT", "1", "did you mean POLYDUB_SERVER__GPU_SLOTS?"),
        ("XYZZY", "1", "polydub config show lists all settings"),
        ("PORT", "high", "Port to listen at; 0 = any that is free."),
    ],
)
def test_a_mistyped_setting_of_the_server_is_told_what_was_meant(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(f"POLYDUB_SERVER__{name}", value)
    assert run(["admin", "token"]) == 3
    said = capsys.readouterr().err
    assert (f"server.{name.lower()}" in said, said.partition("hint: ")[2].strip()) == (True, hint)


def test_passwords_in_addresses_are_not_shown(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYDUB_SERVER__DATABASE", "postgresql://ana:hush@db/x")
    monkeypatch.setenv("POLYDUB_DATABASE_URL", "postgresql://ana:hush2@db/x")
    shown = said(capsys, "config", "show")
    assert "hush" not in shown and "postgresql://ana:***@db/x" in shown


@pytest.mark.parametrize(
    ("variable", "value", "setting", "found"),
    [
        ("MAX_FILE_SIZE_MB", "123", "max_file_mb", 123),
        ("MAX_DURATION_SECONDS", "60", "max_duration_s", 60),
        ("RETENTION_DAYS_INPUTS", "3", "inputs_days", 3),
        ("RETENTION_DAYS_LOGS", "4", "logs_days", 4),
        ("S3_BUCKET", "films", "storage", "s3://films"),
        ("S3_ENDPOINT", "https://r2.example", "s3_endpoint", "https://r2.example"),
    ],
)
def test_variables_of_earlier_systems_are_read(variable: str, value: str, setting: str, found: object, tmp_path: Path) -> None:
    everything = loaded(tmp_path, {variable: value})
    assert getattr(everything.settings.server, setting) == found
    assert everything.reserved == ()


def test_help_of_the_command_line_loads_no_server() -> None:
    program = "import sys; from polydub.cli import run; run(['--help']); print(sorted(m for m in sys.modules if m in %r))"
    wanted = ["fastapi", "sqlalchemy", "dbos", "uvicorn", "httpx"]
    done = subprocess.run([sys.executable, "-c", program % (wanted,)], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
