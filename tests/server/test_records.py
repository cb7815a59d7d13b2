"""The same contract on every database: SQLite, a real PostgreSQL, D1's API over SQLite, and a real D1 where it is installed."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from local_d1 import LocalD1

from polydub.config.server import ServerSettings
from polydub.errors import BadSettings, MissingSecret, StoreError
from polydub.server.contracts import OPEN, JobRow, Secret, User
from polydub.server.db import open_records
from polydub.server.db.d1 import D1Records
from polydub.server.db.migrating import migrate, script
from polydub.server.db.records import DatabaseAway, TableRecords
from polydub.server.db.sql import postgres_engine, sqlite_engine
from polydub.server.db.tables import METADATA, stamp, text_of, unstamp

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
FETCHED = Path(__file__).resolve().parents[2] / "build/node/node_modules/miniflare"  # by scripts/test-tools.sh
MINIFLARE = Path(os.environ.get("POLYDUB_TEST_MINIFLARE") or FETCHED)
ODD = "a\x00b\ud800c\U0001f600 'x' -- \n"


def ticking() -> Any:
    """A clock that never tells the same time twice."""
    times = (NOW + timedelta(milliseconds=n) for n in range(1, 10**9))
    return lambda: next(times)


@pytest.fixture(params=["sqlite", "postgres", "d1"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TableRecords]:
    if request.param == "d1":
        local = LocalD1()
        made: Any = D1Records(local.client(), "/raw", ticking())
        await made.migrate()
        yield made
        await made.close()
        local.close()
        return
    where = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    made = await open_records(ServerSettings(database=where), tmp_path, now=ticking())
    yield made
    await made.close()


def user(id_: str = "u1", **changes: Any) -> User:
    made = User(id_, f"{id_}@example.org", "Ana", "editor", NOW, preferences={"theme": "dark"})
    return replace(made, **changes)


def job(id_: str = "j1", **changes: Any) -> JobRow:
    made = JobRow(id_, "u1", "dub", "A film", {"to": ["es"]}, "queued", NOW, NOW)
    return replace(made, **changes)


def secret(id_: str = "s1", **changes: Any) -> Secret:
    made = Secret(id_, "u1", "refresh", f"digest of {id_}", NOW, NOW + timedelta(days=1), family="f1", scopes=("read", "write"))
    return replace(made, **changes)


async def test_an_account_comes_back_as_it_went_in(records: TableRecords) -> None:
    ana = user(password="$argon2id$x")
    assert await records.add_user(ana)
    assert await records.user("u1") == await records.user_by_email("U1@Example.org") == ana
    assert list(await records.users()) == [ana]
    assert await records.user("u2") is None


async def test_an_address_has_one_account(records: TableRecords) -> None:
    assert await records.add_user(user())
    assert not await records.add_user(user("u2", email="u1@example.org"))
    assert await records.user("u2") is None


async def test_a_changed_account_is_given_back(records: TableRecords) -> None:
    await records.add_user(user())
    changed = await records.change_user("u1", role="viewer", disabled=True, preferences={"n": [1, None]})
    assert changed == await records.user("u1") == user(role="viewer", disabled=True, preferences={"n": [1, None]})
    assert await records.change_user("nobody", role="admin") is None
    with pytest.raises(TypeError, match="colour"):
        await records.change_user("u1", colour="red")


async def test_with_an_account_go_its_secrets(records: TableRecords) -> None:
    await records.add_user(user())
    await records.add_secret(secret())
    assert await records.drop_user("u1")
    assert not await records.drop_user("u1")
    assert await records.secret("refresh", "digest of s1") is None


async def test_a_secret_is_found_by_kind_and_digest(records: TableRecords) -> None:
    await records.add_secret(secret())
    assert await records.secret("refresh", "digest of s1") == secret()
    assert await records.secret("session", "digest of s1") is None
    assert list(await records.secrets("u1", "refresh")) == [secret()]


async def test_of_many_who_use_a_secret_one_succeeds(records: TableRecords) -> None:
    await records.add_secret(secret())
    done = await asyncio.gather(*(records.use_secret("s1", NOW) for _ in range(10)))
    assert sorted(done) == [False] * 9 + [True]


async def test_a_revoked_secret_cannot_be_used(records: TableRecords) -> None:
    await records.add_secret(secret())
    assert await records.revoke(id_="s1") == 1
    assert await records.revoke(id_="s1") == 0
    assert not await records.use_secret("s1", NOW)


async def test_revoking_reaches_a_family_or_a_user_and_never_everybody(records: TableRecords) -> None:
    for made in (secret("a"), secret("b"), secret("c", family="f2"), secret("d", user="u2", family="f3")):
        await records.add_secret(made)
    assert await records.revoke() == 0
    assert await records.revoke(family="f1") == 2
    assert await records.revoke(user="u1") == 1
    assert not (await records.secrets("u2", "refresh"))[0].revoked


async def test_expired_secrets_are_swept(records: TableRecords) -> None:
    await records.add_secret(secret("a"))
    await records.add_secret(secret("b", expires=NOW + timedelta(days=9)))
    assert await records.sweep_secrets(NOW + timedelta(days=2)) == 1
    assert [s.id for s in await records.secrets("u1", "refresh")] == ["b"]


async def test_a_job_comes_back_as_it_went_in(records: TableRecords) -> None:
    whole = job(error={"code": "x"}, result={"film": "a.mkv"}, finished=NOW, progress={"stage": "tts", "done": 1, "total": 2})
    await records.add_job(whole)
    assert await records.job("j1") == whole


async def test_of_many_who_move_a_job_one_succeeds(records: TableRecords) -> None:
    await records.add_job(job())
    moved = await asyncio.gather(*(records.move_job("j1", "running", when=frozenset({"queued"})) for _ in range(10)))
    done = [row for row in moved if row]
    assert len(done) == 1
    assert done[0].state == "running" and done[0].updated > NOW


async def test_a_job_moves_only_from_the_states_named(records: TableRecords) -> None:
    await records.add_job(job(state="done"))
    assert await records.move_job("j1", "cancelled", when=OPEN) is None
    again = await records.move_job("j1", "queued", when=frozenset({"done"}), attempt=2, error=None, result=None)
    assert again is not None and (again.state, again.attempt, again.result) == ("queued", 2, None)
    assert await records.move_job("nothing", "queued", when=OPEN) is None


async def test_jobs_are_listed_newest_first_and_by_page(records: TableRecords) -> None:
    for n in range(5):
        at = NOW + timedelta(seconds=n)
        await records.add_job(job(f"j{n}", created=at, state="done" if n % 2 else "queued", owner="u2" if n == 4 else "u1"))
    assert [row.id for row in await records.jobs(limit=2)] == ["j4", "j3"]
    assert [row.id for row in await records.jobs(owner="u1", before=NOW + timedelta(seconds=3))] == ["j2", "j1", "j0"]
    assert [row.id for row in await records.jobs(states=frozenset({"done"}))] == ["j3", "j1"]
    assert await records.count_jobs("u1", frozenset({"queued", "running"})) == 2
    assert await records.count_jobs("u1", frozenset()) == 0


async def test_of_many_who_drop_a_job_one_succeeds_and_an_open_one_stays(records: TableRecords) -> None:
    await records.add_job(job("j1", state="done"))
    await records.add_job(job("j2"))
    ended = frozenset({"done", "failed", "cancelled"})
    assert sorted(await asyncio.gather(*(records.drop_job("j1", when=ended) for _ in range(5)))) == [False] * 4 + [True]
    assert not await records.drop_job("j2", when=ended)
    assert await records.job("j1") is None
    assert (await records.job("j2")) == job("j2")


async def test_jobs_are_counted_by_state(records: TableRecords) -> None:
    assert await records.jobs_by_state() == {}
    for number, state in enumerate(("done", "queued", "done")):
        await records.add_job(job(f"j{number}", state=state))
    assert await records.jobs_by_state() == {"done": 2, "queued": 1}


async def test_events_of_a_job_that_is_no_more_are_found(records: TableRecords) -> None:
    await records.add_job(job("j1"))
    for id_ in ("j1", "gone", "gone", "also"):
        await records.add_event(id_, "queued", {})
    assert list(await records.stray_events()) == ["also", "gone"]


async def test_of_an_owner_documents_that_name_a_job_are_dropped(records: TableRecords) -> None:
    id_, other = "0123456789abcdef01234567", "f" * 24
    for name, owner, document in (
        ("d1", "u1", {"body": f'{{"data":{{"id":"{id_}"}}}}'}),
        ("d2", "u1", {"jobs": [other, id_]}),
        ("d3", "u1", {"jobs": [other]}),
        ("d4", "u2", {"jobs": [id_]}),
    ):
        await records.put("delivery", name, owner, document)
    await records.put("preset", "p1", "u1", {"jobs": [id_]})
    assert await records.drop_naming("delivery", "u1", id_) == 2
    assert [name for name, _, _ in await records.list("delivery")] == ["d3", "d4"]
    assert await records.get("preset", "p1") is not None


async def test_events_are_numbered_without_gaps_however_many_write_them(records: TableRecords) -> None:
    given = await asyncio.gather(*(records.add_event("j1", "progress", {"n": n}) for n in range(12)))
    other = await records.add_event("j2", "queued", {})
    assert sorted(event.number for event in given) == list(range(1, 13))
    assert other.number == 1
    assert [event.number for event in await records.events("j1", after=9)] == [10, 11, 12]
    assert [event.number for event in await records.events("j1", limit=2)] == [1, 2]
    assert {event.number: event.data for event in given} == {e.number: e.data for e in await records.events("j1")}
    assert await records.drop_events("j1") == 12
    assert list(await records.events("j1")) == []


async def test_a_document_is_put_changed_and_dropped(records: TableRecords) -> None:
    await records.put("preset", "p1", "u1", {"name": "Ana"})
    await records.put("preset", "p1", "u1", {"name": "Bo"})
    assert await records.get("preset", "p1") == ("u1", {"name": "Bo"})
    assert await records.get("glossary", "p1") is None
    assert await records.drop("preset", "p1")
    assert not await records.drop("preset", "p1")


async def test_of_many_who_add_a_document_one_succeeds(records: TableRecords) -> None:
    added = await asyncio.gather(*(records.add("seen", "m1", f"u{n}", {"n": n}) for n in range(10)))
    assert sorted(added) == [False] * 9 + [True]
    kept = await records.get("seen", "m1")
    assert kept == (f"u{added.index(True)}", {"n": added.index(True)})


async def test_documents_are_listed_in_order_of_time(records: TableRecords) -> None:
    for n in range(4):
        await records.put("voice", f"v{n}", "u1" if n < 3 else "u2", {"n": n})
    await records.put("voice", "v0", "u1", {"n": 9})
    assert [id_ for id_, _, _ in await records.list("voice")] == ["v0", "v1", "v2", "v3"]
    assert [id_ for id_, _, _ in await records.list("voice", "u1", newest=True, limit=2)] == ["v2", "v1"]
    assert list(await records.kinds()) == ["voice"]


async def test_texts_that_databases_refuse_are_kept_as_far_as_they_can_be(records: TableRecords) -> None:
    await records.add_job(job(title=ODD, request={"text": ODD}))
    kept = await records.job("j1")
    assert kept is not None
    assert kept.title == "a\ufffdb\ufffdc\U0001f600 'x' -- \n"
    assert kept.request == {"text": ODD}
    assert await records.job(ODD) is None
    assert await records.get("x", ODD) is None


async def test_it_says_that_it_is_there(records: TableRecords) -> None:
    await records.ping()


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        kept = await open_records(ServerSettings(), tmp_path)
        await kept.put("n", "1", "u", {})
        await kept.close()
    kept = await open_records(ServerSettings(), tmp_path)
    assert len(await kept.list("n")) == 1
    await kept.close()


async def test_a_request_that_is_given_up_leaves_a_whole_statement(tmp_path: Path) -> None:
    kept = await open_records(ServerSettings(), tmp_path)
    task = asyncio.create_task(kept.put("n", "1", "u", {}))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(await kept.list("n")) <= 1
    await kept.put("n", "2", "u", {})
    await kept.close()


async def test_a_postgres_that_goes_away_is_said_so_and_used_again_when_it_is_back(cluster: Any, tmp_path: Path) -> None:
    kept = await open_records(ServerSettings(database=cluster.fresh("comes_back")), tmp_path)
    await kept.put("n", "1", "u", {})
    cluster.stop()
    try:
        with pytest.raises(DatabaseAway) as refused:
            await kept.ping()
        assert refused.value.http_status == 503 and refused.value.retryable
    finally:
        cluster.start()
    assert await kept.get("n", "1") == ("u", {})
    await kept.close()


@pytest.mark.parametrize(
    ("where", "said"),
    [("mysql://root@db/x", "cannot keep its records in mysql"), ("records.sqlite", "cannot keep its records in that")],
)
async def test_a_database_of_another_kind_is_refused(where: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=said):
        await open_records(ServerSettings(database=where), tmp_path)


async def test_a_postgres_that_is_not_there_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened") as refused:
        await open_records(ServerSettings(database="postgresql://ana:hush@127.0.0.1:1/x"), tmp_path)
    assert "hush" not in refused.value.message


async def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "polydub.sqlite").write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        await open_records(ServerSettings(), tmp_path)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_steps_make_the_tables_of_the_code(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    engine = (
        postgres_engine(request.getfixturevalue("postgres")) if kind == "postgres" else sqlite_engine(tmp_path / "a.sqlite")
    )
    migrate(engine)
    migrate(engine)
    found, wanted = sa.inspect(engine), METADATA.tables
    assert set(found.get_table_names()) - {"alembic_version"} == set(wanted)
    for name, table in wanted.items():
        columns = {c["name"]: (str(c["type"]), c["nullable"]) for c in found.get_columns(name)}
        assert columns == {c.name: (str(c.type), c.nullable) for c in table.columns}, name
        assert set(found.get_pk_constraint(name)["constrained_columns"]) == {c.name for c in table.primary_key.columns}
        indexes = {i["name"]: (tuple(i["column_names"]), bool(i["unique"])) for i in found.get_indexes(name)}
        wanted_indexes = {i.name: (tuple(c.name for c in i.columns), bool(i.unique)) for i in table.indexes}
        assert {n: i for n, i in indexes.items() if n in wanted_indexes} == wanted_indexes
    engine.dispose()


async def test_the_first_tables_are_brought_up_to_date_with_what_they_hold(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "polydub.sqlite")
    migrate(engine, "0001")
    with engine.begin() as connection:
        connection.execute(
            sa.text("insert into users values ('u1','u1@x','U','admin','2026-05-01T12:00:00.000000Z','',0,'{}')")
        )
    engine.dispose()
    kept = await open_records(ServerSettings(), tmp_path)
    assert (await kept.users())[0].role == "admin"
    await kept.close()


async def test_tables_of_a_later_version_are_left_alone(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "polydub.sqlite")
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="later version"):
        await open_records(ServerSettings(), tmp_path)


def test_hosts_that_start_at_once_migrate_once(postgres: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    engines = [postgres_engine(postgres) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(migrate, engines))
    for engine in engines:
        engine.dispose()


async def test_d1_is_migrated_once_and_after_a_broken_off_start() -> None:
    local = LocalD1()
    for statement in script("")[:4]:  # as if the first start had died here
        local._database.execute(statement)
    kept = D1Records(local.client(), "/raw")
    await kept.migrate()
    begun = len(local.statements)
    await kept.migrate()
    assert len(local.statements) - begun == 2
    assert await kept.add_user(user())
    await kept.close()
    local.close()


def told(status: int, message: str) -> httpx.Response:
    return httpx.Response(status, json={"success": False, "errors": [{"message": message}], "result": []})


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (told(401, "Authentication error"), "refuses the token"),
        (told(503, "overloaded"), "cannot answer now"),
        (told(400, "no such table: users"), "refused a statement"),
        (httpx.Response(502, text="<html>"), "no rows"),
        (httpx.ReadTimeout("slow"), "did not finish"),
    ],
)
async def test_what_d1_refuses_is_one_sentence(refusal: httpx.Response | Exception, said: str) -> None:
    local = LocalD1()
    kept = D1Records(local.client(), "/raw")
    local.refuse = [refusal]
    with pytest.raises(StoreError, match=said):
        await kept.ping()
    await kept.close()
    local.close()


async def test_d1_is_asked_again_where_it_has_surely_done_nothing() -> None:
    local = LocalD1()
    kept = D1Records(local.client(), "/raw")
    local.refuse = [httpx.ConnectError("no"), told(429, "slow down")]
    await kept.ping()
    assert len(local.statements) == 1
    await kept.close()
    local.close()


async def test_d1_needs_its_names_and_its_token(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="d1_account"):
        await open_records(ServerSettings(database="d1"), tmp_path)
    with pytest.raises(MissingSecret, match="POLYDUB_D1_TOKEN"):
        await open_records(ServerSettings(database="d1", d1_account="a", d1_database="b"), tmp_path)


WORKER = """
export default { async fetch(request, env) {
  const { sql, params } = await request.json();
  try {
    const [columns, ...rows] = await env.DB.prepare(sql).bind(...params).raw({ columnNames: true });
    return Response.json({ success: true, errors: [], result: [{ results: { columns: columns ?? [], rows }, success: true }] });
  } catch (error) {
    const errors = [{ code: 7500, message: String(error.message) }];
    return Response.json({ success: false, errors, result: [] }, { status: 400 });
  }
} };
"""
HOST = """
import { Miniflare } from 'MODULE';
const mf = new Miniflare({ modules: true, host: '127.0.0.1', port: PORT, script: SCRIPT, d1Databases: ['DB'] });
await mf.ready; console.log('ready');
"""


@pytest.mark.slow
async def test_a_real_d1_does_the_same(tmp_path: Path) -> None:
    import json

    if not MINIFLARE.is_dir() or not shutil.which("node"):
        pytest.skip("needs npm's miniflare (make test-tools; POLYDUB_TEST_MINIFLARE names its folder)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module = MINIFLARE / "dist/src/index.js"
    program = HOST.replace("MODULE", module.as_uri()).replace("PORT", str(port)).replace("SCRIPT", json.dumps(WORKER))
    (tmp_path / "host.mjs").write_text(program)
    node = subprocess.Popen(["node", "host.mjs"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert node.stdout is not None
        assert select.select([node.stdout], [], [], 60)[0], "miniflare did not start within a minute"
        assert node.stdout.readline().strip() == "ready"
        settings = ServerSettings(database="d1", d1_account="a", d1_database="b", d1_url=f"http://127.0.0.1:{port}")
        kept = await open_records(settings, tmp_path, now=ticking())
        for check in CHECKS:
            await check(kept)
            for table in METADATA.tables:
                await kept.run(sa.text(f"delete from {table}"))  # type: ignore[arg-type]
        await kept.close()
    finally:
        os.killpg(node.pid, signal.SIGKILL)  # with workerd, which outlives it
        node.wait(60)
        if node.stdout:
            node.stdout.close()


CHECKS = (
    test_an_account_comes_back_as_it_went_in,
    test_an_address_has_one_account,
    test_a_changed_account_is_given_back,
    test_with_an_account_go_its_secrets,
    test_a_secret_is_found_by_kind_and_digest,
    test_of_many_who_use_a_secret_one_succeeds,
    test_a_revoked_secret_cannot_be_used,
    test_revoking_reaches_a_family_or_a_user_and_never_everybody,
    test_expired_secrets_are_swept,
    test_a_job_comes_back_as_it_went_in,
    test_of_many_who_move_a_job_one_succeeds,
    test_a_job_moves_only_from_the_states_named,
    test_jobs_are_listed_newest_first_and_by_page,
    test_of_many_who_drop_a_job_one_succeeds_and_an_open_one_stays,
    test_jobs_are_counted_by_state,
    test_events_of_a_job_that_is_no_more_are_found,
    test_of_an_owner_documents_that_name_a_job_are_dropped,
    test_events_are_numbered_without_gaps_however_many_write_them,
    test_a_document_is_put_changed_and_dropped,
    test_of_many_who_add_a_document_one_succeeds,
    test_documents_are_listed_in_order_of_time,
    test_texts_that_databases_refuse_are_kept_as_far_as_they_can_be,
    test_it_says_that_it_is_there,
)


def test_a_real_d1_is_asked_all_that_the_others_are() -> None:
    asked = {name for name, test in globals().items() if name.startswith("test_") and "records" in test.__annotations__}
    assert asked == {check.__name__ for check in CHECKS}


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1000, 1, 1)))
def test_a_time_is_kept_to_the_microsecond_and_sorts_as_it_was(when: datetime) -> None:
    assert unstamp(stamp(when)) == when
    assert (stamp(when) < stamp(NOW)) == (when < NOW)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        stamp(datetime(2026, 1, 1))


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_can_be_kept(text: str) -> None:
    kept = text_of(text)
    assert "\x00" not in kept
    assert kept.encode().decode() == kept
    assert text_of(kept) == kept
