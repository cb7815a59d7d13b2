"""A dub in steps: what a step is told of those before it, and what it tells the next one. All of it is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polydub.server.work import Message

STAYS, LOST = 2, 6  # steps in a row that have made nothing: from so many on one takes all it can, and at last the job fails


def name(call: Message) -> str:
    """Of a step, among all of a job."""
    return f"{call['job']}/{call['attempt']}/{call['number']}"


def part(call: Message, *, accelerated: bool, slice_: tuple[int, float]) -> dict[str, Any]:
    """What a resident is told: see `resident.part_of`."""
    known = {"pins": call.get("pins", {}), "counts": call.get("counts", {}), "spent": call.get("spent", 0.0)}
    calls, seconds = slice_
    idle = call.get("idle", 0)
    mine = {"name": name(call), "here": call["queue"], "accelerated": accelerated, "stays": idle >= STAYS, "idle": idle}
    return {**mine, **known, "calls": calls, "seconds": seconds}


def onward(call: Message, over: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of a step whose resident has handed over: {"next": a call}, or an error where nothing moves."""
    moved = _made(over) > _made(call) or len(over["pins"]) > len(call.get("pins", {}))
    idle = 0 if moved else call.get("idle", 0) + 1
    if idle >= LOST:
        text = f"the job was handed from worker to worker {idle} times and nothing of it was done"
        hint = "give all workers the same engines and settings, then try again: finished work is kept"
        return {"error": {"code": "handed-around", "message": text, "hint": hint, "retryable": True}}
    told = {name: over[name] for name in ("queue", "pins", "counts", "spent")} | {"idle": idle}
    return {"next": {**call, **told, "number": call["number"] + 1}}


def _made(of: Mapping[str, Any]) -> int:
    return sum(ran for counts in of.get("counts", {}).values() for _, ran in counts.values())
