"""How long a speech engine alone takes for the calls that a dub made: `engine_time.py report.es.json answer.json`.

Every distinct (text, voice, rate) once, on all cores, with the loading of the engine; nothing is trimmed or written. It is
a program of its own so that it starts as fresh as the dub did.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from polydub.engines import registry
from polydub.engines.base import Synthesizer
from polydub.stages.speak import engine_rate
from polydub.types import Part


def main() -> None:
    """Writes the seconds and how many calls they were."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    language = report["target_language"]
    choice = next(e for e in report["engines"] if e["kind"] == "tts")
    engine = registry.engines("tts")[choice["name"]]
    if isinstance(engine, registry.Broken):
        raise SystemExit(engine.reason)
    began = time.perf_counter()
    with engine.load(engine.options(**choice["options"]), {}, "cpu") as speech:
        parts = _parts(report["lines"], language, speech)
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            for rates in ({1.0}, {p.rate for p in parts} - {1.0}):  # the second round follows from the first
                list(threads.map(speech.synthesize, [p for p in parts if p.rate in rates]))
    Path(sys.argv[2]).write_text(json.dumps({"seconds": time.perf_counter() - began, "calls": len(parts)}))


def _parts(lines: list[dict[str, object]], language: str, speech: Synthesizer) -> list[Part]:
    voices = {voice.name: voice for voice in speech.voices(language)}
    wanted = {(str(x["text"]), str(x["voice"]), r) for x in lines for r in (1.0, engine_rate(float(str(x["rate"]))))}
    return [Part(text, language, voices[voice], rate) for text, voice, rate in sorted(wanted)]


if __name__ == "__main__":
    main()
