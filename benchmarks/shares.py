"""The lines of one film, spoken by one worker and by two: how much sooner it is done.

The engine takes a known time for each line and no processor, so that what is measured is the dividing; a package made here
brings it, as any engine may come.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import imageio_ffmpeg
from database import LACKING, binaries, postgres
from figures import Figure
from jobs import sent, told
from measures import Findings, Plan
from process import Failed
from serving import How, Served, install_paced, serving

GROUP = "One film by several workers"
LINES, EACH_S, CUE_S = 400, 0.3, 0.8  # so long the engine is at a line; one line every so many seconds of the film
FEWEST = 200  # with fewer too little is left after the first 50 that dividing would be worth while
PATIENCE_S = 900.0
ABOUT = (
    "One film, its job in Postgres, an engine that takes a known time for each line, and workers that do one job at a time and",
    "share the server's folder. The first worker speaks 50 lines alone before the rest is divided. Both films are the same,",
    "byte for byte.",
)


def shares(plan: Plan, found: Findings, share: float = 1.0) -> None:
    """With one worker and with two."""
    programs, lines = binaries(), max(FEWEST, round(LINES * share))
    found.tell(GROUP, *(ABOUT if programs else (f"{LACKING[0].upper()}{LACKING[1:]}.",)))
    if not programs:
        plan.say(f"shares: {LACKING}")
        return
    seen: dict[int, list[float]] = {1: [], 2: []}
    plan.work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=plan.work) as folder:
        site = Path(folder).resolve()
        install_paced(site, EACH_S, 1)
        film = _film(site, lines)
        how = How(site=site, jobs=1)
        for n in range(plan.repeats):
            made: set[str] = set()
            for workers, took in seen.items():
                plan.say(f"{lines} lines, workers: {workers}, {n + 1} of {plan.repeats}")
                with postgres(programs) as url, serving(plan, replace(how, database=url, workers=workers)) as served:
                    seconds, digest = asyncio.run(_dubbed(served, film, lines))
                took.append(seconds)
                made.add(digest)
            if len(made) > 1:
                raise Failed("two workers made another film than one")
    ratios = tuple(one / two for one, two in zip(seen[1], seen[2], strict=True))
    alone = f"the engine alone: {lines * EACH_S:.0f} s"
    found.add(
        GROUP,
        Figure(f"{lines} lines, one worker", "s", tuple(seen[1]), note=alone),
        Figure(f"{lines} lines, two workers", "s", tuple(seen[2]), note=f"{median(ratios):.2f} times as fast"),
        Figure("so many times as fast by two workers", "", ratios, more=True),
    )


async def _dubbed(served: Served, film: Path, lines: int) -> tuple[float, str]:
    """(seconds from the submission to the end, SHA-256 of the film) of a dub."""
    async with served.client() as client:
        video = await sent(client, "film.mkv", film.read_bytes())
        transcript = await sent(client, "film.en.srt", _srt(lines).encode())
        settings = {"tts": "paced", "no_translate": True}
        began = time.monotonic()
        asked = {"input": video, "to": ["en"], "transcript": transcript, "settings": settings}
        id_ = told(await client.post("/api/jobs", json=asked))["id"]
        while (job := told(await client.get(f"/api/jobs/{id_}")))["state"] in ("queued", "running"):
            if time.monotonic() - began > PATIENCE_S:
                break
            await asyncio.sleep(0.1)
        seconds = time.monotonic() - began
        if job["state"] != "done":
            raise Failed(f"the dub is {job['state']} after {seconds:.0f} s: {job.get('error')}")
        result = told(await client.get(f"/api/jobs/{id_}/result"))
        name = result["dubs"][0]["film"]
        answer = await client.get(f"/api/jobs/{id_}/files/{name}", follow_redirects=True)
        answer.raise_for_status()
        return seconds, sha256(answer.content).hexdigest()


def _film(folder: Path, lines: int) -> Path:
    film, seconds = folder / "film.mkv", CUE_S * lines + 1
    inputs = ["-f", "lavfi", "-i", f"testsrc2=size=160x90:rate=5:duration={seconds}"]
    inputs += ["-f", "lavfi", "-i", f"sine=frequency=220:sample_rate=48000:duration={seconds}"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *inputs, *codecs, str(film)], check=True)
    return film


def _srt(lines: int) -> str:
    return "\n".join(f"{n + 1}\n{_clock(0.1 + CUE_S * n)} --> {_clock(0.7 + CUE_S * n)}\nANNA: No {n}.\n" for n in range(lines))


def _clock(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02},{whole % 1000:03}"
