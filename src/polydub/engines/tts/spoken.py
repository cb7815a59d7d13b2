"""What neural voices share: sound that is fit to be returned, reference recordings, what is learnt from them, folders."""

from __future__ import annotations

import difflib
import importlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from polydub.errors import BadEngineOutput, BadInput, BadSettings
from polydub.types import Audio, Part, Voice

if TYPE_CHECKING:
    from polydub.types import Samples

PEAK = 0.999  # full scale 1; what is louder is turned down as a whole
KNEE = 0.9  # streamed sound cannot be turned down after the fact: above this its peaks are bent
KEPT = 64  # voices whose references were heard and that are kept in memory
SAMPLED = 1 << 20  # bytes read at both ends of a file of weights of one's own
T = TypeVar("T")
log = getLogger(__name__)


def library(name: str) -> Any:
    """A package of the environment that polydub's own has not; to be called where it is needed, never at import."""
    return importlib.import_module(name)


def empty(rate_hz: int) -> Audio:
    """No sound at all."""
    import numpy as np

    return Audio(np.zeros((1, 0), np.float32), rate_hz)


def finished(samples: Any, rate_hz: int, engine: str) -> Audio:
    """Anything numpy takes for sound as mono float32; turned down as a whole where it would exceed full scale.

    Raises: BadEngineOutput when a sample is not finite.
    """
    sound = _finite(samples, engine)
    peak = float(abs(sound).max(initial=0.0))
    return Audio(sound * (PEAK / peak) if peak > PEAK else sound, rate_hz)


def streamed(samples: Any, rate_hz: int, engine: str) -> Audio:
    """A piece of a stream as mono float32 within +-1: levels above KNEE are bent, the same wherever the pieces are cut.

    Raises: BadEngineOutput when a sample is not finite.
    """
    import numpy as np

    sound = _finite(samples, engine)
    level = np.abs(sound)
    if level.max(initial=0.0) > KNEE:
        over = np.maximum(level - KNEE, 0.0)
        sound = np.sign(sound) * (np.minimum(level, KNEE) + (PEAK - KNEE) * np.tanh(over / (PEAK - KNEE)))
    return Audio(sound.astype(np.float32), rate_hz)


def _finite(samples: Any, engine: str) -> Samples:
    import numpy as np

    sound = np.asarray(samples, np.float32).reshape(1, -1)
    if not np.isfinite(sound).all():
        raise BadEngineOutput(f"{engine} answered with samples that are no numbers", "try another seed or precision")
    return sound


def pause(seconds: float, rate_hz: int) -> Samples:
    """Silence (1, frames)."""
    import numpy as np

    return np.zeros((1, round(seconds * rate_hz)), np.float32)


def in_a_row(sounds: Sequence[Audio], pause_s: float, rate_hz: int) -> Audio:
    """Sounds of one rate with silence between them."""
    import numpy as np

    parts: list[Any] = []
    for sound in sounds:
        parts += [pause(pause_s, rate_hz), sound.samples] if parts else [sound.samples]
    return Audio(np.concatenate(parts, axis=1), rate_hz) if parts else empty(rate_hz)


def cut_short(engine: str, seconds: float) -> BadEngineOutput:
    """The error for speech that had not come to its end at the engine's limit."""
    return BadEngineOutput(
        f"{engine} was still speaking when its limit of {seconds:.0f} s was reached", "try another seed, or a shorter text"
    )


def heard(references: Sequence[Audio], rate_hz: int, least_s: float, engine: str) -> list[Any]:
    """References as mono float32 (frames,) at `rate_hz`. Those shorter than `least_s` are left out, which the log says.

    Raises: BadInput when none is left, BadEngineOutput when one holds no numbers.
    """
    from polydub.audio import signal

    long = [r for r in references if r.duration >= least_s]
    if not long:
        longest = max((r.duration for r in references), default=0.0)
        raise BadInput(
            f"a voice for {engine} wants a recording of at least {least_s:g} s, the longest given has {longest:.2f} s",
            "give 6 to 30 s of clean speech",
        )
    if len(long) < len(references):
        log.warning(
            "%d of %d references are shorter than %g s and left out", len(references) - len(long), len(references), least_s
        )
    return [signal.resample(_finite(r.samples.mean(axis=0), engine), r.rate_hz, rate_hz)[0] for r in long]


class Learnt(Generic[T]):
    """What an engine learnt from the references of the last KEPT voices."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, ...], T] = OrderedDict()

    def get(self, voice: Voice, references: Sequence[Audio], learn: Callable[[], T]) -> T:
        """Of a voice known by its reference artifacts, or else by the samples; learnt at the first call."""
        key = known_by(voice) or tuple(sha256(r.samples.tobytes()).hexdigest() for r in references)
        if key not in self._known:
            self._known[key] = learn()
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def known(self, voice: Voice) -> T | None:
        """Of a voice that was heard before; None of another."""
        return self._known.get(known_by(voice)) if voice.references else None


def known_by(voice: Voice) -> tuple[str, ...]:
    """What tells the voices of persons apart."""
    return tuple(artifact.sha256 for artifact in voice.references)


def not_heard(part: Part, engine: str) -> BadSettings:
    """The error for speech in a person's voice whose recordings were not given."""
    return BadSettings(f"{engine} has not heard the recordings of the voice {part.voice.name!r}", "clone the voice first")


def no_voice(name: str, known: Iterable[str], engine: str) -> BadSettings:
    """The error for an unknown voice, with the names nearest to it."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or names[:8]
    return BadSettings(f"{engine} has no voice {name!r}", f"nearest: {', '.join(near)}")


def lacking(folder: Path, files: Iterable[str]) -> str:
    """Names of the files that `folder` has not, "" when it has all."""
    return ", ".join(name for name in files if not (folder / name).is_file())


def digest(folder: Path) -> str:
    """Tells a folder of weights of one's own from another: names, lengths and both ends of its files. "" of none."""
    if not folder.is_dir():
        return ""
    told = sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        length = path.stat().st_size
        told.update(f"{path.name}\0{length}\0".encode())
        with path.open("rb") as file:
            told.update(file.read(SAMPLED))
            if length > SAMPLED:
                file.seek(max(SAMPLED, length - SAMPLED))
                told.update(file.read(SAMPLED))
    return f"folder {told.hexdigest()[:16]}"


def threads(wanted: int) -> int:
    """So many threads, or as many as this process has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or cores
