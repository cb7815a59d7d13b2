"""espeak-ng: small robotic voices for more than a hundred languages, always installed.

espeak-ng is GPL and stays a separate program: `espeak_worker.py`, one process per core. Threads abort the library and
speaking twice in one process gives different samples, so every line is spoken by a fresh child of a worker.
"""

from __future__ import annotations

import difflib
import json
import os
import queue
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from itertools import product
from logging import getLogger
from pathlib import Path
from typing import IO, cast

from pydantic import Field

from polydub.engines.base import READY, Availability, Engine, Info, Options, Weights
from polydub.engines.tts.espeak_voices import NEAR_PITCHES, NEAR_RANGES, NEAR_TRACTS, STOCK, STOCK_PITCHES, VOICES
from polydub.errors import BadSettings, EngineFailed, UnsupportedLanguage
from polydub.types import Audio, Part, Voice

NAME = "espeak-ng"
WORDS_A_MINUTE = 175  # espeak-ng's own default rate
WORDS_A_MINUTE_LIMITS = (80, 450)  # what espeak-ng accepts
WORKER = Path(__file__).with_name("espeak_worker.py")
log = getLogger(__name__)

# Files of espeak-ng that are not named by their BCP-47 tag; None: no dictionary comes with it, or the code is no tag.
RENAMED = {
    "en": "en-GB",
    "ca-ba": "ca-x-balear",
    "ca-nw": "ca-x-nw",
    "ca-va": "ca-valencia",
    "en-US-nyc": "en-US-x-nyc",
    "piqd": "tlh-Piqd",
    "ru-cl": "ru-x-classic",
    "fo": None,
    "kaa": None,
    "py": None,
    "xex": None,
}
LATIN_AMERICA = "AR BO CL CO CR CU DO EC GT HN MX NI PA PE PR PY SV US UY VE"
REGIONS = {f"es-{region}": "es-419" for region in LATIN_AMERICA.split(" ")}
ALIASES = {"en": "en", "no": "nb", "tlh": "piqd", "zh": "cmn", "zh-HK": "yue"}

SETTINGS = {"pitch": 50, "range": 50}  # name -> espeak-ng's default; both 0-99
# Ours: the length of the vocal tract in percent of the variant's own. What espeak-ng speaks is played at another sample rate,
# which moves its formants and its pitch, and the words a minute make up for the change of pace.
TRACT, TRACT_LIMITS = "tract", (85, 115)


class EspeakOptions(Options):
    """Options of espeak-ng. None of them changes the sound: voices do."""

    workers: int = Field(
        0, ge=0, le=256, description="worker processes; 0 = one per core", json_schema_extra={"identity": False}
    )
    timeout_s: float = Field(
        60.0, gt=0, description="seconds one line may take before its worker is replaced", json_schema_extra={"identity": False}
    )


@dataclass(frozen=True, slots=True)
class _Data:
    """What is installed. `tags`: BCP-47 tag or espeak-ng's own name, in lower case -> language file. `variants`: likewise."""

    folder: Path
    tags: Mapping[str, str]
    languages: frozenset[str]
    variants: Mapping[str, str]

    def file(self, tag: str) -> str | None:
        """The language file that speaks `tag`, or else the nearest more general one ("es-ES" -> "es")."""
        words = tag.casefold().replace("_", "-").split("-")
        return next((self.tags[t] for n in range(len(words), 0, -1) if (t := "-".join(words[:n])) in self.tags), None)

    def voice(self, name: str, language: str) -> str:
        """The name espeak-ng knows for "es+f3" or "es" or "+f3" or "f3" (then in `language`).

        Raises: BadSettings, naming the nearest voices.
        """
        base, _, variant = name.partition("+")
        if not variant and base.casefold() in self.variants:
            base, variant = "", base
        file = self.tags.get(base.casefold()) if base else self.file(language)
        if file is None:
            names = [*self.languages, *(() if variant else self.variants.values())]
            raise BadSettings(f"espeak-ng has no voice {name!r}", _nearest(base or language, names))
        if variant and variant.casefold() not in self.variants:
            raise BadSettings(f"espeak-ng has no voice variant {variant!r}", _nearest(variant, self.variants.values()))
        return f"{file}+{self.variants[variant.casefold()]}" if variant else file


def _nearest(wanted: str, names: Iterable[str]) -> str:
    """A hint with the names nearest to `wanted`: spelt alike, or else the first few."""
    known = {n.casefold(): n for n in sorted(names)}
    near = [known[n] for n in difflib.get_close_matches(wanted.casefold(), known, n=5, cutoff=0.5)]
    return f"nearest: {', '.join(near)}" if near else f"it has {len(known)}, such as {', '.join(list(known.values())[:8])}"


@lru_cache(maxsize=1)
def _data() -> _Data | None:
    """What is installed, by listing two folders; None when there is nothing."""
    spec = find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "espeak-ng-data"
    files = [p.name for p in (*folder.glob("lang/*"), *folder.glob("lang/*/*")) if p.is_file()]
    if not files:
        return None
    usable = {f: tag for f in files if (tag := RENAMED.get(f, f)) is not None}
    named = {tag: f for f, tag in usable.items()} | {tag: f for tag, f in ALIASES.items() if f in usable}
    tags = {name.casefold(): f for name, f in ({f: f for f in usable} | REGIONS | named).items()}
    variants = {p.name.casefold(): p.name for p in folder.glob("voices/!v/*")}
    return _Data(folder, tags, frozenset(named), variants)


def _check(_options: EspeakOptions) -> Availability:
    if not hasattr(os, "fork"):
        return Availability(False, "espeak-ng needs Linux or macOS: its worker forks", "use WSL or a container")
    if _data() is None:
        return Availability(False, "espeak-ng is not installed", "pip install --force-reinstall espeakng-loader")
    return READY


def _languages(_options: EspeakOptions) -> frozenset[str]:
    data = _data()
    return data.languages if data else frozenset()


class _Died(Exception):
    """A worker ended, hung or answered nonsense."""


class _Worker:
    """One worker process, started at its first line and again after it died. Used by one thread at a time."""

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._rate_hz = 0

    def ask(self, line: Mapping[str, object]) -> Audio:
        """The sound of one line. Raises: _Died; then the process is gone and the next call starts another."""
        try:
            return self._ask(line)
        except (OSError, ValueError, KeyError) as error:
            self.close()
            raise _Died(str(error)) from error

    def _ask(self, line: Mapping[str, object]) -> Audio:
        process = self._process or self._start()
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        # A blocked write and a blocked read both end when the process does.
        timer = threading.Timer(self._timeout_s, end)
        timer.start()
        try:
            pipe_in, pipe_out = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
            if not self._rate_hz:
                self._rate_hz = int(_header(pipe_out)["rate_hz"])
            pipe_in.write(json.dumps(line).encode() + b"\n")
            pipe_in.flush()
            size = int(_header(pipe_out)["bytes"])
            pcm = pipe_out.read(size)
        except (OSError, ValueError) as error:
            raise OSError(f"no answer for {self._timeout_s:g} s" if late.is_set() else str(error)) from error
        finally:
            timer.cancel()
        if len(pcm) != size:
            raise OSError("it ended in the middle of an answer")
        import numpy as np

        samples = np.frombuffer(pcm, np.int16).astype(np.float32) / np.float32(32768)
        return Audio(samples[None, :], self._rate_hz)

    def _start(self) -> subprocess.Popen[bytes]:
        self._rate_hz = 0
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return self._process

    def close(self) -> None:
        """Ends the process, whatever it does. It holds nothing that a kill could damage."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # unsent bytes of a dead process
                    pipe.close()
        process.wait()


def _header(pipe: IO[bytes]) -> Mapping[str, int]:
    """The JSON line before an answer. Raises: OSError with the worker's words; ValueError."""
    line = pipe.readline()
    if not line:
        raise OSError("the worker ended")
    answer = json.loads(line)
    if "error" in answer:
        raise OSError(answer["error"])
    return answer


class Espeak:
    """The Synthesizer: thread-safe, each call borrows an idle worker."""

    def __init__(self, data: _Data, command: Sequence[str], options: EspeakOptions) -> None:
        self._data = data
        self._closed = False
        self._workers = [_Worker(command, options.timeout_s) for _ in range(options.workers or _cores())]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def voices(self, language: str) -> Sequence[Voice]:
        """Ten voices, best first: low and high in turn, and any two clearly different. Raises: UnsupportedLanguage."""
        return self._voices(language, VOICES)

    def stock(self, language: str) -> Sequence[Voice]:
        """The variants of STOCK at three pitches each: 70 to 350 Hz, without joke voices. Raises: UnsupportedLanguage."""
        return self._voices(language, [(v, pitch, SETTINGS["range"], label) for v, label in STOCK for pitch in STOCK_PITCHES])

    def near(self, voice: Voice) -> Sequence[Voice]:
        """The same variant, a little lower, higher, flatter, livelier, larger and smaller, as far as it goes."""
        now = voice.settings.get("pitch", SETTINGS["pitch"])
        wanted = (
            {"pitch": now + step + (tract - 100), "range": span} | ({} if tract == 100 else {TRACT: tract})
            for step, span, tract in product(NEAR_PITCHES, NEAR_RANGES, NEAR_TRACTS)
        )
        return tuple(replace(voice, settings=x) for x in wanted if 0 <= x["pitch"] <= 99 and x != dict(voice.settings))

    def _voices(self, language: str, rows: Iterable[tuple[str, int, int, str]]) -> Sequence[Voice]:
        file = self._data.file(language)
        if file is None:
            raise UnsupportedLanguage(f"espeak-ng does not speak {language!r}", _nearest(language, self._data.languages))
        return tuple(
            Voice(NAME, f"{file}+{variant}", language, label, {"pitch": pitch, "range": span})
            for variant, pitch, span, label in rows
            if variant.casefold() in self._data.variants
        )

    def synthesize(self, part: Part) -> Audio:
        """Mono sound at 22,050 Hz; the same part always gives the same samples. Blank text gives zero frames.

        `part.voice.name` is any voice of espeak-ng ("es", "es+f3", "f3"); its settings are pitch and range, 0-99, and tract,
        85-115 percent, which moves the sample rate. Rates outside 80 to 450 words a minute (0.46 to 2.57) are spoken at the
        limit. The seed is not used.
        Raises: BadSettings for an unknown voice or setting; EngineFailed after two attempts.
        """
        line = self._line(part)
        if not str(line["text"]).strip():
            import numpy as np

            return Audio(np.zeros((1, 0), np.float32), 22_050)
        worker = self._idle.get()
        try:
            try:
                return self._sized(worker.ask(line), part.voice)
            except _Died as first:
                if self._closed:
                    raise
                log.warning("an espeak-ng worker died (%s); trying again", first)
                return self._sized(worker.ask(line), part.voice)
        except _Died as second:
            log.debug("espeak-ng failed on %r", part.text[:40])
            message = f"espeak-ng failed on one line: {second}"
            raise EngineFailed(message, "run it again; finished lines are kept") from second
        finally:
            self._idle.put(worker)

    def _line(self, part: Part) -> dict[str, object]:
        unknown = set(part.voice.settings) - {*SETTINGS, TRACT}
        if unknown:
            hint = f"it has: {', '.join(SETTINGS)} (0-99), {TRACT} ({TRACT_LIMITS[0]}-{TRACT_LIMITS[1]} percent)"
            raise BadSettings(f"espeak-ng has no voice setting {min(unknown)!r}", hint)
        settings = {name: part.voice.settings.get(name, default) for name, default in SETTINGS.items()}
        low, high = WORDS_A_MINUTE_LIMITS
        return {
            # Control characters are commands to espeak-ng (\x01 changes its parameters, \0 ends the text).
            "text": "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in part.text),
            "voice": self._data.voice(part.voice.name, part.language),
            "rate": min(high, max(low, round(WORDS_A_MINUTE * part.rate * _tract(part.voice)))),
            **{name: min(99, max(0, round(value))) for name, value in settings.items()},
        }

    @staticmethod
    def _sized(audio: Audio, voice: Voice) -> Audio:
        """`audio` as the tract of `voice` makes it sound, in steps of 500 Hz, from which resampling is cheap."""
        tract = _tract(voice)
        return audio if tract == 1 else Audio(audio.samples, round(audio.rate_hz / tract / 500) * 500)

    def close(self) -> None:
        """Ends all workers; calls in progress fail."""
        self._closed = True
        for worker in self._workers:
            worker.close()


def _tract(voice: Voice) -> float:
    """The length of the vocal tract, 1.0 = the variant's own."""
    low, high = TRACT_LIMITS
    return min(high, max(low, voice.settings.get(TRACT, 100))) / 100


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _load(options: EspeakOptions, _weights: Weights, _device: str) -> Generator[Espeak]:
    import espeakng_loader  # pyright: ignore[reportMissingTypeStubs]

    data = _data()
    if data is None:
        raise EngineFailed("espeak-ng is not installed", _check(options).fix)
    # -S and -B: the start of the interpreter is most of what a worker costs.
    command = [sys.executable, "-I", "-S", "-B", str(WORKER), espeakng_loader.get_library_path(), str(data.folder)]
    espeak = Espeak(data, command, options)
    try:
        yield espeak
    finally:
        espeak.close()


ENGINE = Engine(
    info=Info(
        kind="tts",
        name=NAME,
        summary="small robotic voices for more than a hundred languages; works on any machine",
        licence="GPL-3.0-or-later",
        homepage="https://github.com/espeak-ng/espeak-ng",
        package="espeakng-loader",
        memory_mib=(60, 0),
        parallel=0,
        features=frozenset({"rate", "pitch", "stock"}),
    ),
    options=EspeakOptions,
    load=_load,
    check=_check,
    languages=_languages,
)
