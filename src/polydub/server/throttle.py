"""How often somebody may ask, by account and by address; kept in this process's memory."""

from __future__ import annotations

import time
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from polydub.config.server import ServerSettings
from polydub.server.problems import too_many


class Throttle:
    """Counts within sliding windows of a minute. Raises Problem 429 with Retry-After."""

    def __init__(self, settings: ServerSettings) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(settings.requests_a_minute)
        self._logins = RateLimitItemPerMinute(settings.logins_a_minute)

    def address(self, address: str) -> None:
        """A request from an address."""
        self._hit(self._requests, "address", network(address), "too many requests from this address")

    def account(self, id_: str) -> None:
        """A request by an account."""
        self._hit(self._requests, "account", id_, "too many requests by this account")

    def login(self, address: str, email: str = "") -> None:
        """A try to log in, to register or to use a link: counted for the address and for the account it is about."""
        self._hit(self._logins, "login address", network(address), "too many logins from this address")
        if email:
            self._hit(self._logins, "login account", email, "too many logins to this account")

    def _hit(self, limit: RateLimitItemPerMinute, kind: str, who: str, message: str) -> None:
        if not self._limiter.hit(limit, kind, who):
            reset = self._limiter.get_window_stats(limit, kind, who).reset_time
            raise too_many(message, max(1.0, reset - time.time()))


def network(address: str) -> str:
    """An address as it is counted: IPv6 by its /64, since a host has all of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(parsed)
