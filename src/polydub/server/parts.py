"""A dub in steps: what a step is told of those before it, and what it tells the next one. All of it is JSON.

A step may be divided: several workers are at it, each makes its share of the calls of one map, and who ends last goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polydub.server.work import Message

STAYS, LOST = 2, 6  # steps in a row that have made nothing: from so many on one takes all it can, and at last the job fails


def name(call: Message) -> str:
    """Of a step, among all of a job; of a share with its place, and which turn at it this is."""
    share = call.get("share")
    return group(call) + (f".{share['place']}.{share['turn']}" if share else "")


def group(call: Message) -> str:
    """What the shares of a step have in common."""
    return f"{call['job']}/{call['attempt']}/{call['number']}"


def id_of(call: Message) -> str:
    """Of a step's workflow; the queue is in it, for those who find only the id."""
    return f"{name(call)}-{call['queue']}"


def queue_of(id_: str) -> str:
    """The queue of a workflow."""
    return id_.rpartition("-")[2] if id_.count("/") == 2 else "jobs"


def shares(call: Message) -> Sequence[Message]:
    """The steps that are put into a queue for a call: itself, or its shares."""
    divided: Mapping[str, Any] | None = call.get("divided")
    if divided is None or "share" in call:
        return [call]
    return [{**call, "share": {"place": place, "turn": 1}} for place in range(divided["of"])]


def part(call: Message, *, accelerated: bool, slice_: tuple[int, float]) -> dict[str, Any]:
    """What a resident is told: see `resident.part_of`."""
    known = {"pins": call.get("pins", {}), "counts": call.get("counts", {}), "spent": call.get("spent", 0.0)}
    calls, seconds = slice_
    idle = call.get("idle", 0)
    mine = {"name": name(call), "here": call["queue"], "accelerated": accelerated, "stays": idle >= STAYS, "idle": idle}
    share = {"share": {**call["divided"], "place": call["share"]["place"]}} if "share" in call else {}
    return {**mine, **known, **share, "calls": calls, "seconds": seconds}


def onward(call: Message, over: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of a step whose resident has handed over: {"next": a call}, {"share": what became of it}, or an error where
    nothing moves."""
    if "share" in call:
        told = {name: over[name] for name in ("counts", "spent")}
        if over["ended"]:
            return {"share": {**told, "met": over["met"]}}
        share = {"before": call.get("counts", {}), **call["share"]}
        return {"next": {**call, **told, "share": {**share, "turn": share["turn"] + 1}}}
    moved = _made(over) > _made(call) or len(over["pins"]) > len(call.get("pins", {}))
    idle = 0 if moved else call.get("idle", 0) + 1
    if idle >= LOST:
        text = f"the job was handed from worker to worker {idle} times and nothing of it was done"
        hint = "give all workers the same engines and settings, then try again: finished work is kept"
        return {"error": {"code": "handed-around", "message": text, "hint": hint, "retryable": True}}
    told = {name: over[name] for name in ("queue", "pins", "counts", "spent")} | {"idle": idle}
    divided = {"divided": over["divided"]} if "divided" in over else {}
    return {"next": {**call, **told, **divided, "number": call["number"] + 1}}


def joined(call: Message, told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The outcome of a divided step whose shares have all ended. One that did not even find its map, as where a person has
    edited what only another host knows, ends the dividing of this job."""
    before = call["share"].get("before", call.get("counts", {}))
    whole = {name: value for name, value in call.items() if name not in ("divided", "share")} | {"counts": before}
    if not all(share["met"] for share in told):
        whole["whole"] = True
    counts = _sum(before, [share["counts"] for share in told])
    spent = max(share["spent"] for share in told)
    return onward(whole, {"queue": call["queue"], "pins": call.get("pins", {}), "counts": counts, "spent": spent})


def _sum(before: Mapping[str, Any], after: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all shares have made, each of which counts what was made before."""
    found: dict[str, dict[str, Any]] = {}
    for language, stage in dict.fromkeys((one, stage) for counts in after for one in counts for stage in counts[one]):
        known = before.get(language, {}).get(stage, (0.0, 0))
        more = [counts.get(language, {}).get(stage, known) for counts in after]
        seconds, ran = (known[n] + sum(max(0, one[n] - known[n]) for one in more) for n in (0, 1))
        found.setdefault(language, {})[stage] = (round(seconds, 3), ran)
    return found


def _made(of: Mapping[str, Any]) -> int:
    return sum(ran for counts in of.get("counts", {}).values() for _, ran in counts.values())
