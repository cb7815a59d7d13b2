"""What a client is told when something is wrong: one shape for every path, with a stable code and a request id.

`/v1` answers as OpenAI does, {"error": {"message", "type", "param", "code"}}; elsewhere a `hint` says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from polydub.errors import PolydubError
from polydub.server.advice import for_clients, in_settings, next_step, where

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_RETRIED = frozenset({408, 409, 429})  # statuses that clients try again by themselves, besides 5xx, unless told not to
# Of pydantic's errors, by their types, with what `ctx` tells of them.
_WORDS = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such field",
    "too_short": "it needs {min_length} at least",
    "too_long": "it has {max_length} at most",
    "string_pattern_mismatch": "it is not written as it has to be",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "it must be a whole number"),
    **dict.fromkeys(("model_attributes_type", "dict_type", "model_type"), "it must be a JSON object"),
}


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
    return Problem(404, "not_found", f"there is no {what} of this id", hint=where(what))


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


def reason(wrong: Mapping[str, Any]) -> str:
    """What pydantic says of a value, in plain words."""
    if words := _WORDS.get(wrong["type"]):
        return words.format_map(wrong.get("ctx", {}))
    said = str(wrong["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
    return said[:1].lower() + said[1:]


def body_of(error: PolydubError, path: str) -> dict[str, Any]:
    """The JSON of an error for a request to `path`."""
    hint = for_clients(error.hint)
    facts: dict[str, Any] = {
        "message": in_settings(error.message),
        "type": type_of(error.http_status),
        "param": getattr(error, "param", None),
        "code": error.code.replace("-", "_"),
    }
    challenge = getattr(error, "challenge", None)
    if challenge:
        facts["challenge"] = challenge
    if not path.startswith("/v1"):
        facts["hint"] = hint or next_step(facts["code"], error.http_status) or None
    elif hint:
        facts["message"] += f" ({hint})"
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
