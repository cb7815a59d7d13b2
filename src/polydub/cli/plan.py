"""`polydub dub --dry-run`: what would be done, with what, and what is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polydub.batch import Task
from polydub.cli import output
from polydub.dubbing import Plan, plan
from polydub.errors import SOME_FAILED, PolydubError


def show_plans(tasks: Sequence[Task], as_json: bool) -> int:
    """Prints one plan per file; exit status 1 when one of several cannot be done, its own status when alone."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
        for task in tasks:
            job = task.job
            try:
                plans = plan(job, task.loaded, Path(folder))
            except PolydubError as error:
                rows.append(output.failed_row(job.media, error))
                if len(tasks) == 1:
                    if as_json:
                        output.result_json({"files": rows})
                    raise
                output.say_error(error, str(job.media))
                continue
            rows.append({"file": str(job.media), "plans": [_row(p) for p in plans]})
            if not as_json:
                for p in plans:
                    _print(p)
    if as_json:
        output.result_json({"files": rows})
    return SOME_FAILED if any("error" in row for row in rows) else 0


def _row(p: Plan) -> dict[str, Any]:
    return {
        "language": p.target, "folder": str(p.folder), "film": str(p.film), "duration": p.duration, "lines": p.lines,
        "to_translate": p.to_translate, "speakers": list(p.speakers), "engines": dict(p.engines),
        "notices": [{"code": n.code, "text": n.text} for n in p.notices],
    }  # fmt: skip


def _print(p: Plan) -> None:
    output.result(output.clean(f"{p.media} -> {p.film}"))
    translating = f", {p.to_translate} of them to be translated" if p.to_translate else ""
    said = "what is said will be recognised" if p.lines is None else f"{p.lines} lines{translating}"
    speakers = f", speakers: {', '.join(p.speakers)}" if p.speakers else ""
    output.result(f"  {p.duration:.1f} s, {said}{speakers}")
    for kind, reason in p.engines.items():
        output.result(f"  {kind}: {reason}")
    for notice in p.notices:
        output.result(f"  note: {notice.text}")
