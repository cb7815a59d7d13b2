"""What every engine behind an HTTP service shares: one client, tries and waits between them, errors that a person understands.

Nothing that is sent, neither the key nor the film's text, and no prose of the server's (which may quote the text) reaches a
log or an error. httpx is imported with the first client.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from polydub.engines.base import Options
from polydub.errors import BadEngineOutput, BadSettings, Cancelled, EngineFailed, MissingSecret, PolydubError

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
T = TypeVar("T")

BASE_URLS: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "ollama": "http://127.0.0.1:11434/v1",
}
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
CONNECT_S = 10.0
LONGEST_WAIT_S = 120.0  # a service that asks for more is out of order for now; OpenAI's own client gives up there too
LONGEST_GUESS_S = 30.0  # between two tries where the service does not say
JITTER = 0.25  # waits are up to this share longer, so that threads that were refused together do not come back together
NO_CREDIT = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
)  # 429s that time does not mend


class RemoteOptions(Options):
    """Options of engines behind an HTTP service."""

    base_url: str = Field(
        default="", description="Address of the service, such as http://127.0.0.1:8000/v1; empty = the preset's."
    )
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key sent as a bearer token; empty = none is sent.",
        json_schema_extra={"identity": False},
    )
    timeout_s: float = Field(
        default=120.0, gt=0, description="Seconds to wait for one answer.", json_schema_extra={"identity": False}
    )
    retries: int = Field(
        default=4,
        ge=0,
        le=20,
        description="Number of further tries when the service is busy, failing or cannot be reached.",
        json_schema_extra={"identity": False},
    )
    budget_s: float = Field(
        default=600.0,
        gt=0,
        description="Seconds that all tries of one request may take together.",
        json_schema_extra={"identity": False},
    )

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        return plain_address(value)


def plain_address(value: str) -> str:
    """`value` without a slash at its end; "" stays "". Raises ValueError where it is no http(s) address or holds a password."""
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    else:
        if parts.username or parts.password:
            raise ValueError("must not hold a name or password; set api_key instead")
    plain = re.fullmatch(r"https?://[\w.:\[\]-]+(/[\w.~%/+@:=-]*)?", value, re.ASCII)
    if value and not (plain and named):
        raise ValueError("must be an address such as https://host/v1")
    return value.rstrip("/")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service and how patiently it is asked.

    Attributes:
        address: base URL, without a slash at its end.
        set_key: what the user types where the key is missing or refused. start: where it cannot be reached. name: where it
            has no such model or path (HTTP 404).
        kind: what should answer there, such as "chat server".
        timeout_s: for one answer; retries: further tries; budget_s: for all tries and waits of one request together.
        first_wait_s: after the first failure where the service does not say; it doubles with each.
    """

    address: str
    key: str = field(default="", repr=False)
    set_key: str = "set api_key"
    start: str = "start the server, or check base_url"
    name: str = "check the names of model and base_url"
    kind: str = "server"
    timeout_s: float = 120.0
    retries: int = 4
    budget_s: float = 600.0
    first_wait_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        path: after the address, with its slash. json: a body of JSON values; data and files: a form instead, a file as
            (name, bytes, media type).
        accept: statuses other than 200 to 299 that the caller wants to see instead of an error.
        most_bytes: of the answer; more is an error.
    """

    path: str
    json: Any = None
    data: Mapping[str, str | list[str]] = field(default_factory=dict[str, "str | list[str]"])
    files: Mapping[str, tuple[str, bytes, str]] = field(default_factory=dict[str, tuple[str, bytes, str]])
    method: str = "POST"
    accept: frozenset[int] = frozenset()
    most_bytes: int = 5_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; names of headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        """The error's machine-readable code in OpenAI's form, such as "context_length_exceeded"; "" where there is none."""
        return next(iter(_error_words(self.body)), "")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError, whatever is wrong with it."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that is still coming. Iterating `pieces` raises EngineFailed where it breaks off."""

    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Service:
    """One client for one service; calls may come from several threads. Close it, or use it in a `with`.

    Closing wakes calls that wait for their next try; they raise Cancelled.

    Args:
        endpoint: where and how patiently.
        sleep: waits the given seconds between tries; None = until closed.
    """

    def __init__(self, endpoint: Endpoint, *, sleep: Callable[[float], None] | None = None) -> None:
        import httpx

        key = endpoint.key.strip()
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise MissingSecret("the API key holds characters that no key has", "set it again, without spaces or quotes")
        self.endpoint = endpoint
        self._closed = threading.Event()
        self._sleep = sleep
        self._random = random.Random()  # noqa: S311 - spreads tries in time
        self._client = httpx.Client(
            headers={
                "Accept-Encoding": "identity",  # a compressed answer could be far larger than it looks
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
            timeout=httpx.Timeout(endpoint.timeout_s, connect=min(CONNECT_S, endpoint.timeout_s)),
            follow_redirects=False,  # the key and the film's text go to the named host only
            trust_env=urlsplit(endpoint.address).hostname not in LOOPBACK,  # the user's proxies, none between us and us
        )

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end all waiting."""
        self._closed.set()
        self._client.close()

    def request(self, ask: Ask) -> Answer:
        """The whole answer; a service that is busy, failing or out of reach is tried again.

        Raises:
            MissingSecret: it refuses the key (401, 403).
            BadSettings: it has no such model or path (404), redirects, or refuses what it was asked (other 4xx).
            EngineFailed: it stays busy (429), failing (5xx), slow or out of reach, has no credit, or finds it too large (413).
            BadEngineOutput: the answer is longer than `most_bytes`.
            Cancelled: closed meanwhile.
        """

        def once() -> Answer:
            deadline = time.monotonic() + self.endpoint.timeout_s
            with self._client.stream(ask.method, self.endpoint.address + ask.path, **_content(ask)) as response:
                answer = Answer(response.status_code, b"".join(self._read(response, ask, deadline)), _headers(response))
            self._judge(answer, ask.accept)
            return answer

        return self._tries(once)

    @contextmanager
    def stream(self, ask: Ask) -> Generator[Stream]:
        """The answer as it comes, for sound. Tried again as `request` until it begins, not after; `accept` does not count.

        `timeout_s` is the longest silence and `budget_s` the longest answer. Leaving the `with` hangs up.
        """
        import httpx

        def once() -> httpx.Response:
            request = self._client.build_request(ask.method, self.endpoint.address + ask.path, **_content(ask))
            response = self._client.send(request, stream=True)
            if not response.is_success:
                with closing(response):
                    body = b"".join(self._read(response, ask, time.monotonic() + self.endpoint.timeout_s))
                self._judge(Answer(response.status_code, body, _headers(response)), frozenset())
            return response

        def pieces(response: httpx.Response) -> Iterator[bytes]:
            try:
                yield from self._read(response, ask, time.monotonic() + self.endpoint.budget_s)
            except httpx.RequestError as error:
                raise self._stopped() if self._closed.is_set() else self._trouble(error) from error

        with closing(self._tries(once)) as response:
            yield Stream(_headers(response), pieces(response))

    def unusable(self) -> BadEngineOutput:
        """The error for an answer that nothing of the endpoint's kind would give."""
        return BadEngineOutput(
            f"{self.endpoint.address} did not answer like a {self.endpoint.kind}", "check base_url; it often ends in /v1"
        )

    def refusal(self, answer: Answer) -> PolydubError:
        """The error for a status that another try would not change, with the server's error code but not its prose."""
        end, status = self.endpoint, answer.status
        if status in {401, 403}:
            return MissingSecret(f"{end.address} refuses the API key (HTTP {status})", end.set_key)
        if status == 404:
            return BadSettings(f"{end.address} has no such model, or is no {end.kind} (HTTP 404)", end.name)
        if 300 <= status < 400:
            return BadSettings(f"{end.address} redirects elsewhere (HTTP {status})", "set base_url to the final address")
        words = "".join(f", {word}" for word in _error_words(answer.body))
        if status in {402, 429}:
            return EngineFailed(f"{end.address} gives no more credit (HTTP {status}{words})", "see the account's billing page")
        if status == 413:
            return EngineFailed(
                f"{end.address} finds the request too large (HTTP 413{words})", "choose a model that takes more"
            )
        return BadSettings(f"{end.address} refuses the request (HTTP {status}{words})", "check model and the other options")

    def _tries(self, once: Callable[[], T]) -> T:
        """What `once` returns; it is called again where it meets broken connections or a service that is busy or failing."""
        import httpx

        end, began = self.endpoint, time.monotonic()
        for attempt in range(end.retries + 1):
            if self._closed.is_set():
                break
            try:
                return once()
            except httpx.RequestError as error:
                trouble, wish = self._trouble(error), None
            except _NotNow as busy:
                trouble, wish = busy.trouble, busy.wait_s
            wait_s = min(end.first_wait_s * 2.0**attempt, LONGEST_GUESS_S) if wish is None else wish
            late = time.monotonic() - began + wait_s > end.budget_s
            if self._closed.is_set():
                break
            if attempt == end.retries or wait_s > LONGEST_WAIT_S or late:
                if wish is not None and (wait_s > LONGEST_WAIT_S or late):
                    raise EngineFailed(f"{trouble}, for the next {wish:.0f} s", trouble.hint)
                raise trouble
            wait_s *= 1 + JITTER * self._random.random()
            log.info("%s; trying again in %.1f s", trouble, wait_s)
            self._closed.wait(wait_s) if self._sleep is None else self._sleep(wait_s)
        raise self._stopped()

    def _stopped(self) -> Cancelled:
        return Cancelled("stopped while a service was asked", "run the same command again to continue: finished work is kept")

    def _judge(self, answer: Answer, accept: frozenset[int]) -> None:
        """Raises what has to be raised for the answer's status."""
        status = answer.status
        if 200 <= status < 300 or status in accept:
            return
        hopeless = answer.headers.get("x-should-retry") == "false" or (status == 429 and answer.code in NO_CREDIT)
        again = status in {408, 409, 429} or status >= 500
        if again and not hopeless:
            hint = "try again later, or choose another engine"
            raise _NotNow(EngineFailed(f"{self.endpoint.address} answered HTTP {status}", hint), _retry_after(answer.headers))
        if again and answer.code not in NO_CREDIT:
            raise EngineFailed(f"{self.endpoint.address} answered HTTP {status}", "choose another engine")
        raise self.refusal(answer)

    def _read(self, response: httpx.Response, ask: Ask, deadline: float) -> Iterator[bytes]:
        import httpx

        got = 0
        for piece in response.iter_bytes():
            got += len(piece)
            if got > ask.most_bytes:
                raise BadEngineOutput(f"{self.endpoint.address} answered more than {ask.most_bytes // 1_000_000} MB")
            if time.monotonic() > deadline:  # httpx only limits the wait for the next bytes
                raise httpx.ReadTimeout("slow answer", request=response.request)
            if self._closed.is_set():
                raise httpx.ReadError("closed", request=response.request)
            yield piece

    def _trouble(self, error: httpx.RequestError) -> EngineFailed:
        import httpx

        address = self.endpoint.address
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            return EngineFailed(f"cannot reach {address}", self.endpoint.start)
        if isinstance(error, httpx.TimeoutException):
            return EngineFailed(f"no answer from {address} in {self.endpoint.timeout_s:g} s", "raise timeout_s")
        return EngineFailed(f"{address} broke off its answer", "try again")


class _NotNow(Exception):
    """A service that may answer later: after `wait_s` seconds, None when it does not say."""

    def __init__(self, trouble: EngineFailed, wait_s: float | None) -> None:
        super().__init__(str(trouble))
        self.trouble, self.wait_s = trouble, wait_s


def _content(ask: Ask) -> dict[str, Any]:
    if ask.json is None:
        return {"data": dict(ask.data), "files": dict(ask.files)} if ask.data or ask.files else {}
    # in ASCII, because texts may hold halves of surrogate pairs, which UTF-8 cannot
    return {"content": json.dumps(ask.json).encode("ascii"), "headers": {"Content-Type": "application/json"}}


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After`, which is a number or an HTTP date; None without a usable one."""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", headers.get("retry-after-ms", "")):
        return float(headers["retry-after-ms"]) / 1000
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _error_words(body: bytes) -> list[str]:
    """Code and parameter of an error in OpenAI's form, as far as they are plain words."""
    try:
        error = json.loads(body)["error"]
        words = [str(error[name]) for name in ("code", "param") if error.get(name)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    return [word for word in words if re.fullmatch(r"[\w.-]{1,64}", word)]
