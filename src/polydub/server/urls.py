"""Addresses that people give: fetched without letting them reach what only this machine can reach.

The name is resolved here, every address it stands for is looked at, and the connection goes to that very address, with the
name in the certificate check and in Host. So an answer that changes between look and connection (DNS rebinding) changes
nothing. Redirects are followed by hand and looked at again. Nothing of this machine goes along: no proxy, cookies or netrc.
Whoever runs the server may list hosts and networks of his own that are reached all the same (`allowing`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import Path
from typing import IO, Any

import anyio.to_thread
import httpx

from polydub.config.hosts import Address, Host
from polydub.config.hosts import host as read_host
from polydub.errors import BadInput
from polydub.server.names import shown
from polydub.server.problems import Problem
from polydub.store import writing

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
Heard = Callable[[int, int | None], None]  # bytes that have come, and of how many, where that is known

_PIECE = 256 << 10
_HOST = re.compile(rb"[A-Za-z0-9._:-]*")  # as it is sent: international names are encoded by now
_LISTED = "the settings url_hosts and webhook_hosts list hosts of your own"
_SEVERAL = 4  # addresses of one name that are tried
_PAGES = ("text/html", "application/xhtml+xml")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Not meant for everybody, though some versions of Python's tables say so, or reaching another network by a detour.
# IANA's special-purpose registries; 168.63.129.16 is the host of an Azure machine, and public by its number.
_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip
_OPEN6 = ipaddress.ip_network("2000::/3")  # all that IPv6 has for everybody
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether anybody on the internet may reach this address. IPv4 within IPv6 (mapped, NAT64) is judged as IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _OPEN6:
            return False
    return address.is_global and not any(address in net for net in _CLOSED if net.version == address.version)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a name, as the system finds them; also of numbers in odd notations (0x7f.1)."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may take.

    Attributes: seconds: of all of it. least: bytes that must come within each `window_s` seconds, from the first request on.
    ports: that may be named. redirects: that are followed.
    """

    bytes: int = 50 * 10**9
    seconds: float = 2 * 3600.0
    connect_s: float = 10.0
    silent_s: float = 30.0
    least: int = 2_000_000
    window_s: float = 120.0
    ports: frozenset[int] = frozenset({80, 443})
    redirects: int = 5


STANDARD = Limits()


@dataclass(frozen=True, slots=True)
class World:
    """How names become addresses, which may be reached, and who vouches for them; tests have a smaller one.

    Attributes: own: what is reached besides, at its own ports.
    """

    resolve: Resolver = resolve
    permits: Callable[[Address], bool] = field(default=is_public)
    tls: ssl.SSLContext | None = None
    own: tuple[Host, ...] = ()

    def reaches(self, host: str, port: int, address: Address, ports: frozenset[int]) -> bool:
        """Whether `host` may be called under `address` at `port`. `ports`: of the internet."""
        return (port in ports and self.permits(address)) or any(own.covers(host, port, address) for own in self.own)


WORLD = World()


def allowing(hosts: Sequence[str], world: World = WORLD) -> World:
    """The world and these hosts and networks, as the settings `webhook_hosts` and `url_hosts` list them."""
    return replace(world, own=tuple(read_host(text) for text in hosts)) if hosts else world


class Refused(BadInput):
    """An address that is not fetched."""

    code = "url-refused"


class Unreachable(BadInput):
    """An address that does not answer as it should."""

    code = "url-unreachable"


def checked(text: str, limits: Limits = STANDARD, world: World = WORLD) -> httpx.URL:
    """The address in parts. Raises: Refused for anything but http and https, for logins in it, and for other ports."""
    try:
        url = httpx.URL(text.strip())
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise Refused("this is no web address", "give an address that begins with https://") from None
    if not _HOST.fullmatch(url.raw_host):
        raise Refused("this is no web address", "give an address that begins with https://")
    if len(text) > 4096 or url.scheme not in ("http", "https") or not url.host:
        raise Refused("only http and https addresses are fetched", "give an address that begins with https://")
    if url.userinfo:
        raise Refused("an address with a user name or password in it is not fetched", "give one that needs no login")
    if port not in limits.ports.union(*(own.ports for own in world.own)):
        raise _wrong_port(port)
    return url.copy_with(fragment=None)


def offered(text: str, world: World = WORLD, limits: Limits = STANDARD) -> str:
    """As `checked`, the address as it is fetched later. Raises: Refused at once also for the numbers of private networks."""
    url = checked(text, limits, world)
    number: Address | None = None
    with suppress(ValueError):
        number = ipaddress.ip_address(url.host)
    with suppress(OSError, UnicodeError):  # other notations of numbers: 127.1, 0x7f000001
        number = number or ipaddress.IPv4Address(socket.inet_aton(url.host))
    port = url.port or (443 if url.scheme == "https" else 80)
    if number is not None and not world.reaches(url.host, port, number, limits.ports):
        raise _private(url.host)
    return str(url)


def _private(host: str) -> Refused:
    return Refused(f"{host} is an address of a private network", f"give one that everybody can reach; {_LISTED}")


def _wrong_port(port: int) -> Refused:
    return Refused(f"this server connects to no port {port}", f"give an address with the usual port; {_LISTED}")


class Guarded(httpx.AsyncBaseTransport):
    """Sends requests to addresses that were looked at, and to no others.

    Raises: Refused for a name that stands for an address which is not everybody's, Unreachable for one that stands for none.
    """

    def __init__(self, world: World = WORLD, ports: frozenset[int] = STANDARD.ports) -> None:
        self._world, self._ports = world, ports
        alone = httpx.Limits(max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=world.tls or True, trust_env=False, limits=alone)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises: also httpx's own errors."""
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = await self._addresses(host, port)
        request.extensions = {**request.extensions, "sni_hostname": host}
        failed: httpx.TransportError | None = None
        for address in addresses[:_SEVERAL]:
            one = httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,  # Host is in them, made from the name
                stream=request.stream,
                extensions=request.extensions,
            )
            try:
                return await self._inner.handle_async_request(one)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise failed or Unreachable(f"there is no address for {host}", "check the spelling")

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._inner.aclose()

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        found = [ipaddress.ip_address(text) for text in await self._world.resolve(host, port)]
        if not all(self._world.reaches(host, port, each, self._ports) for each in found):
            if all(self._world.permits(each) for each in found):
                raise _wrong_port(port)
            raise _private(host)
        return found


@asynccontextmanager
async def client(limits: Limits = STANDARD, world: World = WORLD) -> AsyncGenerator[httpx.AsyncClient]:
    """A client that reaches public addresses only, and what `world` has of its own; it follows no redirects."""
    timeout = httpx.Timeout(limits.silent_s, connect=limits.connect_s)
    async with httpx.AsyncClient(
        transport=Guarded(world, limits.ports),
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
        headers={"user-agent": "polydub", "accept-encoding": "identity"},
    ) as made:
        yield made


def nothing(came: int, of: int | None) -> None:
    """For whom does not care."""


async def fetch(url: str, to: Path, limits: Limits = STANDARD, world: World = WORLD, heard: Heard = nothing) -> str:
    """Downloads `url` to the file `to`, all of it or nothing; its name ("film.mp4"), by Content-Disposition or the address.

    `heard` is told how much has come, at each piece.
    Raises: Refused (private networks, other schemes and ports, logins, redirects to them), Unreachable (no answer, an error
    status, a web page, an answer that is cut off or comes too slowly), Problem 413 for more than `limits.bytes`, StoreError
    when `to` cannot be written.
    """
    draft, pace = to.with_name(f".{uuid.uuid4().hex}"), asyncio.timeout(limits.window_s)
    marked = 0

    def paced(came: int, of: int | None) -> None:
        nonlocal marked
        if came >= marked + limits.least:
            marked = came
            pace.reschedule(asyncio.get_running_loop().time() + limits.window_s)
        heard(came, of)

    async def write(answer: httpx.Response) -> None:
        await _write(answer, draft, limits, paced)

    try:
        async with asyncio.timeout(limits.seconds), pace, client(limits, world) as web:
            name = await _download(web, checked(url, limits, world), (limits, world), write)
        with writing(to.name):
            draft.replace(to)
        return name
    except TimeoutError:
        slow = f"came too slowly: less than {limits.least / 1e6:g} MB in {limits.window_s:g} s"
        what = slow if pace.expired() else f"took longer than {limits.seconds:g} s"
        raise Unreachable(f"the download {what}", "upload the file instead") from None
    except httpx.HTTPError as error:
        reason = type(error).__name__
        raise Unreachable(f"the address does not answer as it should ({reason})", "try it in a browser") from error
    finally:
        draft.unlink(missing_ok=True)


async def _download(
    web: httpx.AsyncClient, url: httpx.URL, within: tuple[Limits, World], write: Callable[[httpx.Response], Awaitable[None]]
) -> str:
    limits, _ = within
    for _ in range(limits.redirects + 1):
        web.cookies.clear()
        async with web.stream("GET", url) as answer:
            if answer.status_code in _REDIRECTS and "location" in answer.headers:
                url = _onward(url, answer.headers["location"], within)
                continue
            if answer.status_code != 200:
                raise Unreachable(f"the address answered {answer.status_code}", "try it in a browser")
            await write(answer)
            return shown(_called(answer.headers.get("content-disposition", "")) or url.path)
    raise Refused("the address leads on to others too often", "give the one it ends at")


def _onward(url: httpx.URL, location: str, within: tuple[Limits, World]) -> httpx.URL:
    try:
        further = url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise Refused("the address leads on to something that is none") from None
    if url.scheme == "https" and further.scheme == "http":
        raise Refused("the address leads on from https to http", "give the one it ends at")
    return checked(str(further), *within)


def _called(disposition: str) -> str:
    """The file name of a Content-Disposition header, in its form for all languages where it has both; "" without one."""
    message = Message()
    message["content-disposition"] = disposition
    found: Any = message.get_params([], "content-disposition")
    names = [value for key, value in found if key == "filename"]
    names.sort(key=lambda name: isinstance(name, str))
    try:
        return collapse_rfc2231_value(names[0]) if names else ""
    except ValueError:  # of a charset such as idna, which decodes no names
        return ""


async def _write(answer: httpx.Response, draft: Path, limits: Limits, heard: Heard) -> None:
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() in _PAGES:
        raise Unreachable("the address leads to a web page, not to a film", "give the address of the file itself")
    if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Unreachable("the address sends its file packed", "upload the file instead")
    announced = answer.headers.get("content-length", "")
    length = int(announced) if announced.isascii() and announced.isdigit() else None
    if length is not None and length > limits.bytes:
        raise _too_much(limits)
    came = 0
    heard(0, length)
    with writing(draft.name):
        stream = await anyio.to_thread.run_sync(_create, draft)
    try:
        async for piece in answer.aiter_raw(_PIECE):
            came += len(piece)
            if came > limits.bytes:
                raise _too_much(limits)
            with writing(draft.name):
                await anyio.to_thread.run_sync(stream.write, piece)
            heard(came, length)
    finally:
        stream.close()


def _create(draft: Path) -> IO[bytes]:
    return draft.open("xb")


def _too_much(limits: Limits) -> Problem:
    return Problem(413, "url_too_large", f"the file is larger than the {limits.bytes} bytes that are taken", param="url")
