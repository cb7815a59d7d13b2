"""Addresses that people give reach the internet and nothing else, however they are written and wherever they lead."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from polydub.config import hosts
from polydub.config.server import ServerSettings
from polydub.errors import StoreError
from polydub.server.problems import Problem
from polydub.server.urls import Limits, Refused, Unreachable, World, allowing, checked, fetch, is_public

pytestmark = pytest.mark.anyio

CLOSED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200",
    "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:c0a8:101::1", "3fff::1", "4000::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1111%1",
]  # fmt: skip
OPEN = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "223.255.255.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8"]  # fmt: skip


@pytest.mark.parametrize("text", CLOSED)
def test_an_address_that_is_not_everybodys_is_closed(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OPEN)
def test_an_address_of_the_internet_is_open(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "", "film.mp4", "//host/x", "ftp://host/x", "file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "data:,x",
        "http://", "http:///x", "https://user@host/x", "https://user:word@host/x", "https://host:22/x", "http://host:6379/",
        "http://host:99999/", "http://[::1/x", "http://host\x00/x", "javascript:alert(1)", "http://" + "a" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        checked(url)


# Ways to write addresses of this machine or of its network; none of them gets as far as a connection.
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/",
        "http://017700000001/", "http://0/", "http://localhost/", "http://LOCALHOST./", "http://[::1]/", "http://[::]/",
        "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/", "http://169.254.169.254/latest/",
        "http://[fd00:ec2::254]/", "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://10.0.0.1/", "https://192.168.0.1/",
    ],
)  # fmt: skip
async def test_no_notation_reaches_this_machine_or_its_network(tmp_path: Path, url: str) -> None:
    with pytest.raises((Refused, Unreachable)) as told:
        await fetch(url, tmp_path / "x", Limits(connect_s=1, seconds=5))
    assert "does not answer" not in told.value.message
    assert list(tmp_path.iterdir()) == []


Handler = Callable[[str, dict[str, str]], tuple[str, bytes]]


@asynccontextmanager
async def web(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; the handler gets path and headers and returns the head (status and headers) and the body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        head, body = handler(lines[0].split()[1], headers)
        writer.write(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    async with listening(serve, tls) as port:
        yield port


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on loopback; at the end its connections are closed, also those that are still at work."""
    working: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        working.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            working.discard(task)

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in tuple(working):
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


def knows(**names: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return names.get(host.partition(".")[0], [])

    return resolve


def small(port: int, **limits: object) -> Limits:
    return Limits(ports=frozenset({port, 80, 443}), **limits)  # type: ignore[arg-type]


def world(**names: Sequence[str]) -> World:
    """One in which 127.0.0.1 is the internet."""
    return World(knows(**names), lambda address: str(address) == "127.0.0.1")


def sends(body: bytes, head: str = "200 OK") -> Handler:
    return lambda path, headers: (f"{head}\r\nContent-Length: {len(body)}", body)


async def test_a_film_comes_with_its_name(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def handler(path: str, headers: dict[str, str]) -> tuple[str, bytes]:
        seen.append(headers)
        return "200 OK\r\nContent-Length: 4\r\nSet-Cookie: a=b", b"film"

    async with web(handler) as port:
        url = f"http://films.test:{port}/a/b%20c.mp4?token=x#part"
        assert await fetch(url, tmp_path / "x", small(port), world(films=["127.0.0.1"])) == "b c.mp4"
    assert (tmp_path / "x").read_bytes() == b"film"
    assert seen[0]["host"] == f"films.test:{port}"
    assert not {"cookie", "authorization", "referer"} & set(seen[0])


async def test_a_name_with_one_private_address_among_others_is_refused(tmp_path: Path) -> None:
    async with web(sends(b"secret")) as port:
        with pytest.raises(Refused, match="private network"):
            await fetch(f"http://mixed.test:{port}/", tmp_path / "x", small(port), world(mixed=["127.0.0.1", "10.0.0.1"]))


async def test_a_name_that_changes_its_mind_after_the_look_changes_nothing(tmp_path: Path) -> None:
    """DNS rebinding. The system cannot resolve the name at all: whoever asked it again would fail."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    there = World(rebinding, lambda address: str(address) == "127.0.0.1")
    async with web(sends(b"film")) as port:
        await fetch(f"http://rebind.test:{port}/x", tmp_path / "x", small(port), there)
        assert asked == ["rebind.test"]
        with pytest.raises(Refused):
            await fetch(f"http://rebind.test:{port}/x", tmp_path / "x", small(port), there)


@pytest.mark.parametrize(
    "location",
    [
        "http://inside.test/", "http://169.254.169.254/latest/meta-data/", "//inside.test/x", "file:///etc/passwd",
        "http://films.test:22/", "http://me:word@films.test/", "http://[::1]/", "gopher://films.test/", "http://[x/",
    ],
)  # fmt: skip
async def test_a_redirect_is_looked_at_like_the_address_itself(tmp_path: Path, location: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return {"films.test": ["127.0.0.1"], "inside.test": ["10.0.0.1"]}.get(host, [host])

    there = World(resolve, lambda address: str(address) == "127.0.0.1")
    async with web(lambda path, headers: (f"302 Found\r\nLocation: {location}\r\nContent-Length: 0", b"")) as port:
        with pytest.raises(Refused):
            await fetch(f"http://films.test:{port}/", tmp_path / "x", small(port), there)


async def test_a_redirect_within_the_internet_is_followed_and_an_endless_one_is_not(tmp_path: Path) -> None:
    def handler(path: str, headers: dict[str, str]) -> tuple[str, bytes]:
        if path == "/begin":
            return "302 Found\r\nLocation: /films/end.mp4\r\nContent-Length: 0", b""
        if path == "/round":
            return "307 Temporary Redirect\r\nLocation: /round\r\nContent-Length: 0", b""
        return sends(b"film")(path, headers)

    async with web(handler) as port:
        there = world(films=["127.0.0.1"])
        assert await fetch(f"http://films.test:{port}/begin", tmp_path / "x", small(port), there) == "end.mp4"
        with pytest.raises(Refused, match="too often"):
            await fetch(f"http://films.test:{port}/round", tmp_path / "y", small(port), there)


@pytest.mark.parametrize(
    "handler",
    [
        sends(b"x" * 1001),
        lambda path, headers: ("200 OK", b"x" * 1001),
        lambda path, headers: ("200 OK\r\nTransfer-Encoding: chunked", b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"),
    ],
    ids=["announced", "unannounced", "chunked"],
)
async def test_more_than_is_taken_is_not_kept(tmp_path: Path, handler: Handler) -> None:
    async with web(handler) as port:
        with pytest.raises(Problem) as told:
            await fetch(f"http://films.test:{port}/", tmp_path / "x", small(port, bytes=1000), world(films=["127.0.0.1"]))
    assert told.value.http_status == 413
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (sends(b"no", "404 Not Found"), "answered 404"),
        (sends(b"", "204 No Content"), "answered 204"),
        (lambda path, headers: ("200 OK\r\nContent-Length: 100", b"short"), "does not answer as it should"),
        (lambda path, headers: ("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3", b"zip"), "packed"),
        (lambda path, headers: ("nonsense", b""), "does not answer as it should"),
    ],
)
async def test_an_answer_that_is_no_film_is_told_and_nothing_is_left(tmp_path: Path, handler: Handler, words: str) -> None:
    async with web(handler) as port:
        with pytest.raises(Unreachable, match=words):
            await fetch(f"http://films.test:{port}/", tmp_path / "x", small(port), world(films=["127.0.0.1"]))
    assert list(tmp_path.iterdir()) == []


async def test_a_download_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with listening(slow) as port:
        with pytest.raises(Unreachable, match="longer than"):
            await fetch(f"http://films.test:{port}/", tmp_path / "x", small(port, seconds=0.3), world(films=["127.0.0.1"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Long: "], ids=["film", "headers"])
async def test_a_source_that_dribbles_is_given_up_long_before_the_time_is_over(tmp_path: Path, head: bytes) -> None:
    async def dribbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with listening(dribbles) as port:
        limits = small(port, seconds=600, least=1000, window_s=0.4)
        with pytest.raises(Unreachable, match=r"too slowly: less than 0\.001 MB in 0\.4 s"):
            await fetch(f"http://films.test:{port}/", tmp_path / "x", limits, world(films=["127.0.0.1"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
async def test_a_source_that_gives_enough_in_each_window_may_take_many(tmp_path: Path) -> None:
    async def steady(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(11):
            writer.write(b"x" * 300_000)
            await writer.drain()
            await asyncio.sleep(1)
        writer.close()

    async with listening(steady) as port:
        limits = small(port, least=200_000, window_s=10)
        await fetch(f"http://films.test:{port}/", tmp_path / "x", limits, world(films=["127.0.0.1"]))
    assert (tmp_path / "x").stat().st_size == 3_300_000


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with web(sends(b"film")) as port:
        with pytest.raises(StoreError):
            await fetch(f"http://films.test:{port}/", tmp_path / "no" / "x", small(port), world(films=["127.0.0.1"]))


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side and a client's side that trust in one certificate for `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "chain.pem").write_bytes(pem + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "chain.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_the_certificate_has_to_be_the_names_though_the_number_is_called(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path, "films.test")
    asked: list[str | None] = []
    server.sni_callback = lambda sock, name, context: asked.append(name)  # type: ignore[assignment]
    async with web(sends(b"film"), server) as port:
        names = World(knows(films=["127.0.0.1"], others=["127.0.0.1"]), lambda address: True, trusting)
        await fetch(f"https://films.test:{port}/x.mp4", tmp_path / "x", small(port), names)
        assert asked == ["films.test"]
        with pytest.raises(Unreachable):
            await fetch(f"https://others.test:{port}/x.mp4", tmp_path / "y", small(port), names)
    assert (tmp_path / "x").read_bytes() == b"film"
    assert not (tmp_path / "y").exists()


# hosts and networks of one's own


@pytest.mark.parametrize(
    ("listed", "host", "port", "address", "covered"),
    [
        ("studio.lan", "studio.lan", 80, "192.168.1.5", True),
        ("Studio.LAN.", "STUDIO.lan.", 443, "10.0.0.1", True),
        ("studio.lan", "studio.lan", 80, "fd00::5", True),
        ("studio.lan", "other.lan", 80, "192.168.1.5", False),
        ("studio.lan", "evil.studio.lan", 80, "192.168.1.5", False),
        ("studio.lan", "studio.lan", 5678, "192.168.1.5", False),
        ("studio.lan:5678", "studio.lan", 5678, "192.168.1.5", True),
        ("studio.lan:5678", "studio.lan", 80, "192.168.1.5", False),
        # whoever answers for a name cannot lead it to this machine, nor to the cloud's own services
        ("studio.lan", "studio.lan", 80, "127.0.0.1", False),
        ("studio.lan", "studio.lan", 80, "::ffff:127.0.0.1", False),
        ("studio.lan", "studio.lan", 80, "::1", False),
        ("studio.lan", "studio.lan", 80, "169.254.169.254", False),
        ("studio.lan", "studio.lan", 80, "fd00:ec2::254", False),
        ("10.1.0.0/16", "any.name", 80, "10.1.2.3", True),
        ("10.1.0.0/16", "any.name", 80, "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "any.name", 80, "10.2.0.1", False),
        ("10.1.2.3", "any.name", 80, "10.1.2.3", True),
        ("127.0.0.0/8:9000", "any.name", 9000, "127.0.0.1", True),
        ("[fd00::/8]:8080", "any.name", 8080, "fd12::1", True),
        ("fd00::/8", "any.name", 80, "fd12::1", True),
        ("fd00::/8", "any.name", 80, "10.1.2.3", False),
    ],
)
def test_what_is_listed_covers_this_and_no_more(listed: str, host: str, port: int, address: str, covered: bool) -> None:
    assert hosts.host(listed).covers(host, port, ipaddress.ip_address(address)) is covered


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "10.0.0.0/33", "*", "*.lan", "http://studio.lan", "a b", "studio.lan:0", "studio.lan:x", "[::1",
             "studio.lan:70000", "[::1]x", "127.1", "2130706433", "a/b", "user@host", "x" * 300, "-a.lan"],
)  # fmt: skip
def test_what_is_no_host_and_no_network_is_no_entry(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        hosts.host(text)


def test_a_wrong_entry_is_told_when_the_server_reads_its_settings() -> None:
    assert ServerSettings.model_validate({"webhook_hosts": "studio.lan, 10.1.0.0/16:5678"}).webhook_hosts == (
        "studio.lan",
        "10.1.0.0/16:5678",
    )
    with pytest.raises(ValueError, match="neither a host"):
        ServerSettings.model_validate({"url_hosts": ["*.lan"]})


def own_world(port: int, *listed: str, **names: Sequence[str]) -> World:
    """The real one, but for names that the test gives."""
    return allowing([f"{each}:{port}" for each in listed], World(knows(**names)))


async def test_what_is_listed_is_reached_and_its_neighbours_are_not(tmp_path: Path) -> None:
    async with web(sends(b"film")) as port:
        there = own_world(port, "127.0.0.1/32", studio=["127.0.0.1"], others=["127.0.0.2"])
        assert await fetch(f"http://studio.test:{port}/a.mp4", tmp_path / "x", world=there) == "a.mp4"
        for url in (f"http://others.test:{port}/a.mp4", "http://studio.test/a.mp4"):
            with pytest.raises(Refused, match="private network"):
                await fetch(url, tmp_path / "y", world=there)
        with pytest.raises(Refused, match="connects to no port"):
            await fetch(f"http://studio.test:{port + 1}/a.mp4", tmp_path / "y", world=there)


async def test_a_port_of_ones_own_is_not_open_to_the_internet(tmp_path: Path) -> None:
    there = own_world(5678, "10.1.0.0/16", public=["1.1.1.1"])
    with pytest.raises(Refused, match="port 5678"):
        await fetch("http://public.test:5678/", tmp_path / "x", Limits(connect_s=1, seconds=3), there)


@pytest.mark.parametrize(
    "place", ["http://127.0.0.2:{port}/", "http://169.254.169.254/latest/", "http://inside.test/", "http://studio.test:22/"]
)
async def test_what_is_listed_may_not_lead_on_to_what_is_not(tmp_path: Path, place: str) -> None:
    def onward(path: str, headers: dict[str, str]) -> tuple[str, bytes]:
        location = place.format(port=headers["host"].partition(":")[2])
        return f"302 Found\r\nLocation: {location}\r\nContent-Length: 0", b""

    async with web(onward) as port:
        names = {"studio": ["127.0.0.1"], "inside": ["10.0.0.1"], "127": ["127.0.0.2"], "169": ["169.254.169.254"]}
        with pytest.raises(Refused):
            await fetch(f"http://studio.test:{port}/", tmp_path / "x", world=own_world(port, "127.0.0.1/32", **names))


async def test_a_listed_name_that_changes_its_mind_reaches_nothing_new(tmp_path: Path) -> None:
    """DNS rebinding of a name that may lead into the private network."""
    answers = [["192.0.2.1"], ["127.0.0.1"], ["169.254.169.254"], ["10.1.0.5", "127.0.0.1"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    async with web(sends(b"secret")) as port:
        there = allowing([f"studio.test:{port}"], World(rebinding))
        while answers:
            with pytest.raises(Refused, match="private network"):
                await fetch(f"http://studio.test:{port}/", tmp_path / "x", world=there)
    assert list(tmp_path.iterdir()) == []
