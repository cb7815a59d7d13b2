"""Webhooks: what others are told reaches them signed and at least once; what they tell is believed only when signed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from house import House, open_house, until
from openai_js import run_js
from standardwebhooks import Webhook as Signer

from polydub.errors import BadSettings
from polydub.server.contracts import Event, JobRow
from polydub.server.incoming import Incoming, Noted
from polydub.server.urls import Limits, World
from polydub.server.webhooks import LEASE, OUTBOX, PAUSES_S, Webhooks, announce, document

pytestmark = pytest.mark.anyio
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Ear:
    """Someone who is told: keeps what came, answers what it is told to answer (the last one for ever)."""

    answers: list[str] = field(default_factory=lambda: ["200 OK"])
    heard: list[tuple[dict[str, str], str]] = field(default_factory=list)
    port: int = 0
    slow_s: float = 0

    @property
    def url(self) -> str:
        return f"http://ear.test:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = (await reader.readexactly(int(headers["content-length"]))).decode()
        self.heard.append((headers, body))
        await asyncio.sleep(self.slow_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".encode())
        await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def listening(*answers: str) -> AsyncIterator[Ear]:
    ear = Ear(list(answers) or ["200 OK"])
    server = await asyncio.start_server(ear.serve, "127.0.0.1", 0)
    async with server:
        ear.port = server.sockets[0].getsockname()[1]
        yield ear


async def knows(host: str, port: int) -> Sequence[str]:
    return {"ear.test": ["127.0.0.1"], "inside.test": ["10.0.0.1"]}.get(host, [])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        opened.app.state.incoming = Incoming(opened.services.records, SECRET)
        yield opened


def hooks(house: House, *ports: int) -> Webhooks:
    limits = Limits(seconds=2, connect_s=1, ports=frozenset({80, 443, *ports}))
    made = Webhooks(house.services, World(knows, lambda address: str(address) == "127.0.0.1"), limits)
    house.app.state.webhooks = made
    return made


async def added(client: httpx.AsyncClient, url: str, *events: str) -> dict[str, Any]:
    answer = await client.post("/api/webhooks", json={"url": url, "events": list(events)})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def tell(house: House, event: str = "job.done", owner: str = "editor", **data: Any) -> int:
    return await announce(house.services.records, house.clock(), house.people[owner].id, event, data)


def verified(secret: str, headers: dict[str, str], body: str) -> bool:
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    return Signer(secret).sign(headers["webhook-id"], moment, body) in headers["webhook-signature"].split(" ")


async def test_an_event_reaches_those_who_want_it_signed(house: House) -> None:
    async with listening() as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        hook = await added(client, ear.url, "job.done")
        await added(client, ear.url, "job.failed")
        assert await tell(house, job="j1", title="Entrevista ñ") == 1
        assert await service.deliver_due() == 1
        log = (await client.get(f"/api/webhooks/{hook['id']}/deliveries")).json()
    [(headers, body)] = ear.heard
    assert verified(hook["secret"], headers, body)
    assert not verified(SECRET, headers, body)
    told = json.loads(body)
    assert (told["type"], told["data"]) == ("job.done", {"job": "j1", "title": "Entrevista ñ"})
    assert datetime.fromisoformat(told["timestamp"]) == house.clock()
    assert [(each["state"], each["message"]) for each in log] == [("done", headers["webhook-id"])]
    assert (log[0]["tries"][0]["status"], log[0]["tries"][0]["said"]) == (200, "ok")
    assert await service.deliver_due() == 0


async def one_letter(house: House) -> tuple[str, dict[str, str], str]:
    """A real announcement of now: its secret, headers and body as they came."""
    house.clock.time = datetime.now(UTC)
    async with listening() as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        secret = (await added(client, ear.url))["secret"]
        await tell(house, job="j1", title="Entrevista ñ")
        await service.deliver_due()
    [(headers, body)] = ear.heard
    return secret, headers, body


async def test_24_openais_client_unwraps_what_is_sent_and_refuses_what_is_forged(house: House) -> None:
    secret, headers, body = await one_letter(house)
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    client.webhooks.verify_signature(body, headers)
    told: Any = client.webhooks.unwrap(body, headers)
    assert (told.type, told.data["title"] if isinstance(told.data, dict) else told.data.title) == ("job.done", "Entrevista ñ")
    for forged in (body.replace("j1", "j2"), body + " "):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(forged, headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body, headers, secret=SECRET)
    late = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 600)}
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body, late)


JS = """
import OpenAI from 'openai';
import fs from 'node:fs';
const { secret, headers, body } = JSON.parse(fs.readFileSync('letter.json'));
const client = new OpenAI({ apiKey: 'none', webhookSecret: secret });
const told = await client.webhooks.unwrap(body, headers);
let forged = null;
try { await client.webhooks.unwrap(body.replace('j1', 'j2'), headers); } catch (error) { forged = error.constructor.name; }
console.log(JSON.stringify([told.type, told.data.title, forged]));
"""


@pytest.mark.slow
async def test_24b_so_does_the_one_for_javascript(house: House, tmp_path: Path) -> None:
    secret, headers, body = await one_letter(house)
    folder = tmp_path / "js"
    folder.mkdir()
    (folder / "letter.json").write_text(json.dumps({"secret": secret, "headers": headers, "body": body}))
    assert run_js(folder, JS) == ["job.done", "Entrevista ñ", "InvalidWebhookSignatureError"]


async def test_the_secret_is_shown_once(house: House) -> None:
    hooks(house)
    async with await house.as_("editor") as client:
        hook = await added(client, "https://ear.test/hook")
        assert hook["secret"].startswith("whsec_")
        for path in ("/api/webhooks", f"/api/webhooks/{hook['id']}"):
            assert hook["secret"] not in (await client.get(path)).text


async def test_a_new_secret_signs_beside_the_old_one_for_a_day(house: House) -> None:
    async with listening() as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        old = await added(client, ear.url)
        new = (await client.post(f"/api/webhooks/{old['id']}/secret")).json()
        await tell(house)
        await service.deliver_due()
        house.clock.pass_by(hours=25)
        await tell(house)
        await service.deliver_due()
    (first, body), (second, later) = ear.heard
    assert [verified(old["secret"], first, body), verified(new["secret"], first, body)] == [True, True]
    assert [verified(old["secret"], second, later), verified(new["secret"], second, later)] == [False, True]


async def test_a_failure_is_tried_again_ever_later_under_the_same_id_and_then_given_up(house: House) -> None:
    async with listening("500 No") as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        hook = await added(client, ear.url)
        await tell(house)
        waits: list[float] = []
        while await service.deliver_due():
            [left] = (await client.get(f"/api/webhooks/{hook['id']}/deliveries")).json()
            if left["state"] == "failed":
                break
            waits.append((datetime.fromisoformat(left["due"]) - house.clock()).total_seconds())
            assert await service.deliver_due() == 0
            house.clock.pass_by(seconds=waits[-1] + 0.001)
    assert left["state"] == "failed"
    assert len(left["tries"]) == len(PAUSES_S) + 1 == len(ear.heard)
    assert all(0.8 * pause <= wait <= 1.2 * pause for wait, pause in zip(waits, PAUSES_S, strict=True))
    assert len({headers["webhook-id"] for headers, _ in ear.heard}) == 1


async def test_a_receiver_that_asks_for_time_gets_it(house: House) -> None:
    async with listening("429 Slow\r\nRetry-After: 900", "200 OK") as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        await added(client, ear.url)
        await tell(house)
        await service.deliver_due()
        house.clock.pass_by(seconds=890)
        assert await service.deliver_due() == 0
        house.clock.pass_by(seconds=20)
        assert await service.deliver_due() == 1
    assert len(ear.heard) == 2


async def test_a_receiver_that_is_gone_is_not_called_again(house: House) -> None:
    async with listening("410 Gone") as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        hook = await added(client, ear.url)
        await tell(house)
        await service.deliver_due()
        [given_up] = (await client.get(f"/api/webhooks/{hook['id']}/deliveries")).json()
        assert given_up["state"] == "failed"
        told = (await client.get(f"/api/webhooks/{hook['id']}")).json()
        assert (told["enabled"], "410" in told["reason"]) == (False, True)
        assert await tell(house) == 0
        again = await client.patch(f"/api/webhooks/{hook['id']}", json={"enabled": True})
        assert (again.json()["enabled"], again.json()["reason"]) == (True, "")


async def test_who_is_told_of_news_at_the_moment_of_the_end_ends(house: House) -> None:
    service = Webhooks(house.services)
    async with asyncio.timeout(60), service.running():
        await asyncio.sleep(0.1)
        service.ring()


async def test_what_one_process_is_sending_another_leaves_alone(house: House) -> None:
    async with listening() as ear, await house.as_("editor") as client:
        ear.slow_s = 0.4
        one, two = hooks(house, ear.port), hooks(house, ear.port)
        await added(client, ear.url)
        await tell(house)
        first = asyncio.ensure_future(one.deliver_due())
        await until(lambda: ear.heard, "a webhook is told")
        assert await two.deliver_due() == 0
        assert await first == 1
    assert len(ear.heard) == 1


async def test_a_server_killed_while_sending_sends_again_later(house: House) -> None:
    async with listening() as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        await added(client, ear.url)
        await tell(house)
        [row] = await service.waiting()
        dead = replace(row, due=house.clock() + LEASE)  # what the killed one has left
        await house.services.records.put(OUTBOX, row.id, row.owner, document(dead))
        assert await service.deliver_due() == 0
        house.clock.pass_by(seconds=61)
        assert await service.deliver_due() == 1
    assert len(ear.heard) == 1


async def test_a_redirect_or_a_private_address_is_never_followed(house: House) -> None:
    async with listening("302 Found\r\nLocation: http://inside.test/") as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        first, second = await added(client, ear.url), await added(client, "http://inside.test/")
        await tell(house)
        await service.deliver_due()
        logs = [(await client.get(f"/api/webhooks/{each['id']}/deliveries")).json()[0] for each in (first, second)]
    assert [each["tries"][0]["status"] for each in logs] == [302, 0]
    assert "private network" in logs[1]["tries"][0]["said"]
    assert len(ear.heard) == 1


async def test_a_receiver_of_ones_own_is_called_when_it_is_listed(tmp_path: Path) -> None:
    async with (
        listening() as ear,
        listening() as other,
        open_house(tmp_path, webhook_hosts=(f"127.0.0.1:{ear.port}",)) as house,
        await house.as_("editor") as client,
    ):
        service = house.app.state.webhooks = Webhooks(house.services)
        hook = await added(client, f"http://127.0.0.1:{ear.port}/hook")
        told = (await client.post(f"/api/webhooks/{hook['id']}/test")).json()
        assert (told["state"], told["tries"][0]["status"]) == ("done", 200)
        refused = await client.post("/api/webhooks", json={"url": f"http://127.0.0.1:{other.port}/hook"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "url_refused")
        unlisted = await added(client, "http://127.0.0.1/hook")
        await tell(house)
        await service.deliver_due()
        [log] = (await client.get(f"/api/webhooks/{unlisted['id']}/deliveries")).json()
        assert "private network" in log["tries"][0]["said"]
    assert (len(ear.heard), len(other.heard)) == (2, 0)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://me:word@ear.test/", "http://ear.test:22/", "nonsense"])
async def test_an_address_that_is_never_called_is_refused_at_once(house: House, url: str) -> None:
    hooks(house)
    async with await house.as_("editor") as client:
        answer = await client.post("/api/webhooks", json={"url": url})
    assert answer.status_code == 422


async def test_the_test_button_tells_what_the_address_answered(house: House) -> None:
    async with listening("503 Not now") as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        hook = await added(client, ear.url, "job.done")
        told = (await client.post(f"/api/webhooks/{hook['id']}/test")).json()
        assert (told["event"], told["state"], told["tries"][0]["status"]) == ("webhook.test", "failed", 503)
        assert await service.deliver_due() == 0


async def test_a_delivery_is_sent_again_on_request(house: House) -> None:
    async with listening() as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        hook = await added(client, ear.url)
        await tell(house)
        await service.deliver_due()
        [done] = (await client.get(f"/api/webhooks/{hook['id']}/deliveries")).json()
        answer = await client.post(f"/api/webhooks/{hook['id']}/deliveries/{done['id']}/replay")
        assert answer.status_code == 202
        await service.deliver_due()
        assert (await client.post(f"/api/webhooks/{hook['id']}/deliveries/nothing/replay")).status_code == 404
    assert [headers["webhook-id"] for headers, _ in ear.heard] == [done["message"]] * 2
    assert ear.heard[0][1] == ear.heard[1][1]


async def test_a_running_server_delivers_by_itself(house: House) -> None:
    async with listening() as ear, await house.as_("editor") as client:
        service = hooks(house, ear.port)
        await added(client, ear.url)
        async with service.running():
            await tell(house)
            service.ring()
            await until(lambda: ear.heard, "a webhook is told")
    assert len(ear.heard) == 1


async def test_webhooks_of_others_do_not_exist(house: House) -> None:
    hooks(house)
    async with await house.as_("editor", "ann") as ann, await house.as_("editor", "bo") as bo:
        path = f"/api/webhooks/{(await added(ann, 'https://ear.test/'))['id']}"
        asked = [bo.get(path), bo.patch(path, json={}), bo.delete(path), bo.get(f"{path}/deliveries")]
        asked += [bo.post(f"{path}/{verb}") for verb in ("test", "secret", "deliveries/x/replay")]
        assert {(await each).status_code for each in asked} == {404}
        assert (await bo.get("/api/webhooks")).json() == []
        assert (await ann.delete(path)).status_code == 204
        assert (await ann.get(path)).status_code == 404


async def test_unknown_events_and_too_many_webhooks_are_refused(house: House) -> None:
    hooks(house)
    async with await house.as_("editor") as client:
        assert (await client.post("/api/webhooks", json={"url": "https://ear.test/", "events": ["x"]})).status_code == 422
        for _ in range(20):
            await added(client, "https://ear.test/")
        assert (await client.post("/api/webhooks", json={"url": "https://ear.test/"})).status_code == 409


# incoming


async def a_job(house: House) -> str:
    now = house.clock()
    row = JobRow("job1", (await house.person("editor")).id, "dub", "Film", {}, "running", now, now)
    await house.services.records.add_job(row)
    return row.id


def letter(data: dict[str, Any], *, id_: str = "msg_1", secret: str = SECRET, age: float = 0) -> dict[str, Any]:
    body, moment = json.dumps(data), datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=age)
    headers = {"webhook-id": id_, "webhook-timestamp": str(int(moment.timestamp())), "content-type": "application/json"}
    return {"content": body, "headers": {**headers, "webhook-signature": Signer(secret).sign(id_, moment, body)}}


STEP = {"job": "job1", "step": "separate", "done": 1, "total": 4}


async def test_a_signed_message_becomes_an_event_of_the_job_once(house: House) -> None:
    await a_job(house)
    client = house.client()
    for taken in (True, False):
        answer = await client.post("/api/webhook/job-step", **letter(STEP))
        assert (answer.status_code, answer.json()) == (200, {"taken": taken})
    done = letter({"job": "job1", "status": "done", "data": {"files": ["a.wav"]}}, id_="msg_2")
    await client.post("/api/webhook/job-complete", **done)
    events = await house.services.records.events("job1")
    assert [(each.kind, each.data.get("stage"), each.data.get("code")) for each in events] == [
        ("progress", "separate", None),
        ("notice", None, "remote-done"),
    ]


async def test_the_same_message_twice_at_once_is_taken_once(house: House) -> None:
    await a_job(house)
    client = house.client()
    answers = await asyncio.gather(*(client.post("/api/webhook/job-step", **letter(STEP)) for _ in range(5)))
    assert sorted(each.json()["taken"] for each in answers) == [False] * 4 + [True]
    assert len(await house.services.records.events("job1")) == 1


async def test_a_signed_message_moves_a_preset_and_its_owner_is_told(house: House) -> None:
    async with await house.as_("editor") as client:
        await client.post("/api/webhooks", json={"url": "https://studio.example.org/hook"})
        now = house.clock().isoformat()
        preset = {"name": "Alice", "created": now, "updated": now}
        await house.services.records.put("preset", "p1", (await house.person("editor")).id, preset)
        for number, (status, state) in enumerate((("training", "TRAINING"), ("done", "READY"), ("failed", "READY"))):
            message = {"preset": "p1", "status": status, "data": {"epochs": 3}}
            answer = await house.client().post("/api/webhook/preset-complete", **letter(message, id_=f"msg_{number}"))
            facts = (await client.get("/api/presets/p1")).json()
            assert (answer.json(), facts["state"], facts["training"]["data"]) == ({"taken": True}, state, {"epochs": 3})
        assert [told["event"] for _, _, told in await house.services.records.list(OUTBOX)] == ["preset.done"]
        unknown = letter({"preset": "p2", "status": "done"}, id_="msg_9")
        assert (await house.client().post("/api/webhook/preset-complete", **unknown)).status_code == 404


async def test_what_a_remote_worker_tells_is_heard_at_once_by_who_follows_the_job(house: House) -> None:
    """The fan-out of jobs is asked to tell, so that no listener waits for something else to happen."""
    heard: list[tuple[str, str, Any]] = []
    records = house.services.records

    async def tell(job: str, kind: str, data: Mapping[str, Any]) -> Event:
        heard.append((job, kind, data.get("remote")))
        return await records.add_event(job, kind, data)

    house.app.state.incoming = Incoming(records, SECRET, Noted(records, tell))
    await a_job(house)
    await house.client().post("/api/webhook/job-step", **letter(STEP))
    done = letter({"job": "job1", "status": "failed", "message": "the card is broken"}, id_="msg_2")
    await house.client().post("/api/webhook/job-complete", **done)
    assert heard == [("job1", "progress", True), ("job1", "notice", True)]
    row = await records.job("job1")
    assert row is not None
    assert row.state == "running", "who works on it here says how it ends"


def _without(name: str) -> dict[str, Any]:
    sent = letter(STEP)
    del sent["headers"][name]
    return sent


def _with(name: str, value: str) -> dict[str, Any]:
    sent = letter(STEP)
    sent["headers"][name] = value
    return sent


@pytest.mark.parametrize(
    "sign",
    [  # signed when the test runs: what is old is refused for its age alone
        lambda: _without("webhook-id"),
        lambda: _without("webhook-signature"),
        lambda: _without("webhook-timestamp"),
        lambda: _with("webhook-id", "msg_other"),
        lambda: _with("webhook-signature", "v1,AAAA"),
        lambda: _with("webhook-signature", "nonsense"),
        lambda: _with("webhook-signature", "v1,???"),
        lambda: _with("webhook-signature", "v1a,abc v2,abc"),
        lambda: _with("webhook-timestamp", "nan"),
        lambda: _with("webhook-timestamp", "inf"),
        lambda: _with("webhook-timestamp", "1e400"),
        lambda: letter(STEP, secret="whsec_" + "A" * 32),
        lambda: {**letter(STEP), "content": json.dumps({**STEP, "done": 2})},
        lambda: {**letter(STEP), "content": b"\xff\xfe"},
    ],
)
async def test_what_is_not_signed_rightly_and_now_is_refused(house: House, sign: Callable[[], dict[str, Any]]) -> None:
    await a_job(house)
    answer = await house.client().post("/api/webhook/job-step", **sign())
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "bad_signature")
    assert await house.services.records.events("job1") == []


@pytest.mark.parametrize("age", [301, -360])
async def test_what_was_signed_at_another_time_is_refused(house: House, age: float) -> None:
    await a_job(house)
    answer = await house.client().post("/api/webhook/job-step", **letter(STEP, age=age))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "bad_signature")


@pytest.mark.parametrize(
    ("data", "status"),
    [({**STEP, "job": "other"}, 404), ({**STEP, "more": 1}, 422), ({"job": "job1"}, 422), ({**STEP, "done": -1}, 422),
     ({**STEP, "done": 9, "total": 4}, 422),
     ({**STEP, "data": {"x": "y" * 1_000_000}}, 413)],
)  # fmt: skip
async def test_a_signed_message_that_makes_no_sense_is_refused_and_may_come_again(
    house: House, data: dict[str, Any], status: int
) -> None:
    await a_job(house)
    client = house.client()
    assert (await client.post("/api/webhook/job-step", **letter(data))).status_code == status
    assert (await client.post("/api/webhook/job-step", **letter(STEP))).json() == {"taken": True}


async def test_a_job_that_has_ended_takes_no_messages(house: House) -> None:
    await a_job(house)
    await house.services.records.move_job("job1", "cancelled", when=frozenset({"running"}))
    answer = await house.client().post("/api/webhook/job-step", **letter(STEP))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_ended")


async def test_without_a_secret_nobody_is_believed(house: House) -> None:
    house.app.state.incoming = Incoming(house.services.records, "")
    assert (await house.client().post("/api/webhook/job-step", **letter(STEP))).status_code == 403


async def test_two_secrets_hold_while_they_are_changed(house: House) -> None:
    await a_job(house)
    house.app.state.incoming = Incoming(house.services.records, f"whsec_{'A' * 32} {SECRET}")
    assert (await house.client().post("/api/webhook/job-step", **letter(STEP))).status_code == 200


@pytest.mark.parametrize("secret", ["nonsense", "whsec_", "whsec_QUJD", "whsec_" + "!" * 40, f"{SECRET} {SECRET[6:]}"])
async def test_a_secret_with_which_no_message_could_fit_is_refused_at_the_start(house: House, secret: str) -> None:
    with pytest.raises(BadSettings, match="POLYDUB_WEBHOOK_SECRET"):
        Incoming(house.services.records, secret)
