"""What a client is told when something is wrong: one shape for every path, with a stable code and a request id.

`/v1` answers as OpenAI does, {"error": {"message", "type", "param", "code"}}; elsewhere a `hint` says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from polydub.errors import PolydubError

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_RETRIED = frozenset({408, 409, 429})  # statuses that clients try again by themselves, besides 5xx, unless told not to


class Problem(PolydubError):
    """An error that has its own HTTP status and code.

    Attributes: param: the field or parameter that it is about. retry_after: seconds after which to try again. challenge: what
    a login goes on with.
    """

    retry_after: float | None = None
    challenge: str | None = None

    def __init__(self, status: int, code: str, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message, hint)
        self.http_status = status
        self.code = code
        self.param = param


class ErrorFacts(BaseModel):
    """What is wrong."""

    message: str = Field(description="What happened, one sentence.")
    type: str = Field(description="Class of the error, such as invalid_request_error.")
    param: str | None = Field(default=None, description="The field that it is about.")
    code: str | None = Field(default=None, description="Stable name of the error.")
    hint: str | None = Field(default=None, description="What to do next; only under /api.")
    challenge: str | None = Field(default=None, description="Only with code second_factor_required: what goes with the code.")


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorFacts


def not_found(what: str) -> Problem:
    """404; also for what exists but is somebody else's, so that ids cannot be probed."""
    return Problem(404, "not_found", f"there is no {what} of this id")


def unauthenticated(message: str = "this needs a login or an API token", code: str = "unauthenticated") -> Problem:
    """401."""
    return Problem(401, code, message, hint="send Authorization: Bearer with an API token, or log in")


def forbidden(message: str, code: str = "forbidden") -> Problem:
    """403."""
    return Problem(403, code, message)


def too_many(message: str, retry_after: float, code: str = "rate_limited") -> Problem:
    """429 with Retry-After."""
    problem = Problem(429, code, message, hint="try again later")
    problem.retry_after, problem.retryable = retry_after, True
    return problem


def body_of(error: PolydubError, path: str) -> dict[str, Any]:
    """The JSON of an error for a request to `path`."""
    facts: dict[str, Any] = {
        "message": error.message,
        "type": type_of(error.http_status),
        "param": getattr(error, "param", None),
        "code": error.code.replace("-", "_"),
    }
    challenge = getattr(error, "challenge", None)
    if challenge:
        facts["challenge"] = challenge
    if not path.startswith("/v1"):
        facts["hint"] = error.hint or None
    elif error.hint:
        facts["message"] += f" ({error.hint})"
    return {"error": facts}


def type_of(status: int) -> str:
    """OpenAI's word for a class of errors."""
    return _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")


def headers_of(error: PolydubError) -> Mapping[str, str]:
    """Headers that go with an error: when to come back, and whether a client's own retries make sense."""
    headers: dict[str, str] = dict(getattr(error, "headers", {}))
    seconds = getattr(error, "retry_after", None)
    if seconds is not None:
        headers["retry-after"] = str(max(1, int(-(-seconds // 1))))
    if error.http_status in _RETRIED or error.http_status >= 500:
        headers["x-should-retry"] = "true" if error.retryable else "false"
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers
