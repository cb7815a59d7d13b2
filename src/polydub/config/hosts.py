"""Hosts and networks of one's own, as an administrator lists them: studio.lan, 10.1.0.0/16, n8n.lan:5678, [fd00::/8]:8080."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from polydub.config.values import formats

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
WEB = frozenset({80, 443})
_NAME = re.compile(r"(?!\d+\.|\d+$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_INSIDE = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_METADATA = ipaddress.ip_address("fd00:ec2::254")  # Amazon's, in the range of private networks


@dataclass(frozen=True, slots=True)
class Host:
    """What may be reached besides the internet. Attributes: name: "" where a network is meant. ports: empty = 80 and 443."""

    name: str
    network: Network | None
    ports: frozenset[int] = WEB

    def covers(self, host: str, port: int, address: Address) -> bool:
        """Whether `host`, which stands for `address`, may be reached at `port`.

        A name opens addresses of private networks only: this machine and link-local addresses have to be listed as networks,
        since whoever answers for the name could lead it there.
        """
        if port not in self.ports:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        inside = any(address.version == net.version and address in net for net in _INSIDE) and address != _METADATA
        return inside and host.casefold().rstrip(".") == self.name


def host(text: str) -> Host:
    """One entry of a list. Raises: ValueError."""
    bare, port = text.strip().casefold(), ""
    if bare.startswith("["):
        bare, closed, rest = bare[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(_wrong(text))
        port = rest[1:]
    elif bare.count(":") == 1:
        bare, _, port = bare.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(_wrong(text))
    ports = frozenset({int(port)}) if port else WEB
    try:
        return Host("", ipaddress.ip_network(bare), ports)
    except ValueError:
        name = bare.rstrip(".")
        if "/" in bare or len(name) > 253 or not _NAME.fullmatch(name):
            raise ValueError(_wrong(text)) from None
        return Host(name, None, ports)


def _wrong(text: str) -> str:
    return f"{text!r} is neither a host's name nor a network: write studio.lan, 10.1.0.0/16 or n8n.lan:5678"


def _listed(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        host(text)
    return texts


Hosts = Annotated[tuple[str, ...], BeforeValidator(formats), AfterValidator(_listed)]
