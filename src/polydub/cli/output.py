"""What people see: messages on stderr, results on stdout."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub.engines.base import Usage
from polydub.errors import PolydubError
from polydub.types import Notice

if TYPE_CHECKING:
    from polydub.dubbing import Outcome
    from polydub.report.model import UsageFacts
    from polydub.streaming import Streamed


def clean(text: str) -> str:
    """`text` without what could steer a terminal or break a line, and without lone surrogates."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "?", text.replace("\r", " ").replace("\n", " "))
    return text.encode("utf-8", "replace").decode()


def say(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def say_error(error: PolydubError, about: str = "") -> None:
    """What happened and what to do next."""
    where = f"line {error.line}: " if error.line else ""
    say(f"error: {about and about + ': '}{where}{error.message}")
    if error.hint:
        say(f"  hint: {error.hint}")


def say_notices(notices: tuple[Notice, ...], verbose: bool) -> None:
    """Warnings, and with `verbose` also what is only good to know. Many of one kind become one line."""
    shown = [n for n in notices if verbose or n.severity == "warning"]
    by_code: dict[str, list[Notice]] = {}
    for notice in shown:
        by_code.setdefault(notice.code, []).append(notice)
    for several in by_code.values():
        more = f" (and {len(several) - 1} more like this)" if len(several) > 1 else ""
        say(f"note: {several[0].text}{more}")


def result(text: str) -> None:
    """A line or more of a result, on stdout; on a terminal without what could steer it (names may hold anything)."""
    if sys.stdout.isatty():
        text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "?", text)
    sys.stdout.write(text.encode("utf-8", "replace").decode() + "\n")


def result_json(value: Any) -> None:
    """A machine's result, on stdout."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    result(text)


def failed_row(file: Path, error: PolydubError) -> dict[str, Any]:
    """What a batch's JSON says of a file that could not be done."""
    return {"file": str(file), "error": {"code": error.code, "message": error.message, "hint": error.hint}}


def outcome_row(outcome: Outcome | Streamed) -> dict[str, Any]:
    """What a machine is told of a film in one language."""
    notices = [{"code": n.code, "text": n.text, "severity": n.severity, "line": n.line} for n in outcome.notices]
    told: dict[str, Any] = {"language": outcome.language, "film": str(outcome.film) if outcome.film else None}
    if hasattr(outcome, "report"):
        told["report"] = str(cast("Outcome", outcome).report.with_suffix(".json"))
    else:
        stream = cast("Streamed", outcome)
        told |= {"playlist": str(stream.playlist), "manifest": str(stream.manifest), "duration": stream.duration}
        told |= {"pieces": stream.pieces, "segments": stream.segments}
    return told | {"calls": outcome.called, "notices": notices}


def usage(usage: Usage | UsageFacts) -> str:
    """What a service took, in words: "3 requests, 1,200 + 300 tokens, $0.0042"; without a price where none is known."""
    tokens = f"{usage.prompt_tokens:,} + {usage.answer_tokens:,} tokens"
    return f"translation: {usage.calls} requests, {tokens}" + (f", ${usage.cost:.4f}" if usage.cost else "")
