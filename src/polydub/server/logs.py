"""The server's log: one JSON object a line on stderr (plain text on a terminal), with request and job, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

REQUEST: ContextVar[str] = ContextVar("polydub_request", default="")  # id of the request that is answered here
JOB: ContextVar[str] = ContextVar("polydub_job", default="")  # id of the job that is worked on here

_SECRETS = re.compile(
    r"pd_[0-9a-f]{16}_[\w-]{20,}"  # API tokens
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # JWT
    r"|(?<=bearer )\S+|(?<=basic )\S+"
    r"|(?<=whsec_)[\w+/=-]+"
    r"|(?<=token=)[^&\s\"']+|(?<=password=)[^&\s\"']+|(?<=secret=)[^&\s\"']+|(?<=signature=)[^&\s\"']+|(?<=credential=)[^&\s\"']+"
    r"|(?<=://)[^/@\s:]+:[^/@\s]+(?=@)",  # user and password in an address
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """`text` with tokens, passwords and signatures of presigned addresses replaced by ***."""
    return _SECRETS.sub("***", text)


class JsonLines(logging.Formatter):
    """A record as one line of JSON; `extra={"facts": {...}}` is laid beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(json.dumps(_facts(self, record), ensure_ascii=False, default=str))


class Lines(logging.Formatter):
    """A record as a line for people."""

    def format(self, record: logging.LogRecord) -> str:
        facts = _facts(self, record)
        trouble = facts.pop("exception", "")
        told = f"{facts.pop('at')[11:19]} {facts.pop('level')} {facts.pop('message')}"
        facts.pop("logger")
        told += "".join(f" {name}={value}" for name, value in facts.items() if value not in ("", None))
        told = re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", told)
        return without_secrets(told + (f"\n{trouble}" if trouble else ""))


def _facts(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    facts |= {name: value for name, value in (("request", REQUEST.get()), ("job", JOB.get())) if value}
    facts |= getattr(record, "facts", {})
    if record.exc_info:
        facts["exception"] = formatter.formatException(record.exc_info)
    return facts


def start_logs(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Everything that is logged in this process goes to `stream` (stderr) from now on."""
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(Lines() if out.isatty() else JsonLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours = logging.getLogger("polydub")
    ours.setLevel(level)
    ours.propagate = True  # a command may have kept it to itself
    logging.getLogger("uvicorn.access").disabled = True  # the door writes one line a request, without its query
