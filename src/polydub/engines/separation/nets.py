"""Dialogue by nets for music that hear stereo windows at 44.1 kHz: windows, cross-fades, levels, blends, in numpy alone.

The libraries that bring the nets cut the ends, change levels, want files and take memory that grows with the film. So of
them only the nets are used. Each part of the speech is judged by itself, in windows that lie around it in one way, and at
one level: then it does not matter where a film is cut into blocks, or how loud it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from polydub.engines.base import Options
from polydub.engines.separation.parts import CROSS, assembled
from polydub.errors import EngineFailed
from polydub.types import RATE_HZ, Audio, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Stereo = NDArray[np.float32]
else:
    Stereo = object

NET_HZ = 44_100
PART_S = 5.51  # longest part: that to which stages cut, and their rounding
REACH = 8 * RATE_HZ - CROSS  # samples that a part and what is heard of it around have: as much as lies around a block
LEVEL = 0.1  # RMS of the part that nets are given: that of loud music, which they were trained on
SILENT = 1e-7  # RMS
KEPT = 32  # answers remembered: blocks overlap by 16 s, and a net takes seconds for what a comparison tells at once
Polarity = Literal["plain", "inverted", "both"]
VOCALS, OTHER = "vocals", "other"


class NetOptions(Options):
    """What all nets have in common. Base of the engines' options."""

    overlap: float = Field(
        0.25, ge=0, le=0.9, description="share of a window that its neighbours hear, too, 0 to 0.9; more is slower and smoother"
    )
    segment_s: float = Field(
        0.0,
        ge=0,
        le=60,
        description="length of a window in seconds, at most that of the net; MDX nets keep theirs; 0 = the net's own",
    )
    shifts: int = Field(
        0, ge=0, le=10, description="runs over the sound moved by up to half a second, of which the mean is taken; 0 = none"
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="threads of the processor; 0 = one for each core",
        json_schema_extra={"identity": False},
    )


@dataclass(frozen=True, slots=True)
class Net:
    """A loaded net.

    Attributes: stems: names of what it answers, "vocals" among them. window: samples at NET_HZ that it hears at once.
    edge: of them, at both ends, those for which its answer is no good. answer: stereo (2, window) -> (stems, 2, window).
    """

    stems: tuple[str, ...]
    window: int
    edge: int
    answer: Callable[[Stereo], Stereo]


@dataclass(frozen=True, slots=True)
class Member:
    """A net, how much its answer counts, and which way up it hears the sound; "both" is the mean of the two."""

    net: Net
    weight: float = 1.0
    polarity: Polarity = "plain"

    def heard(self, window: Stereo) -> Stereo:
        """The net's answer to a window."""
        answer = self.net.answer
        if self.polarity == "plain":
            return answer(window)
        if self.polarity == "inverted":
            return -answer(-window)
        return 0.5 * (answer(window) - answer(-window))


class NetSeparator:
    """A Separator that can tell stems apart, too. Serves one call at a time."""

    def __init__(self, members: Sequence[Member], options: NetOptions) -> None:
        self._members, self._options = tuple(members), options
        shared = [name for name in members[0].net.stems if all(name in m.net.stems for m in members)]
        self.names = (*(name for name in shared if name != OTHER), OTHER)
        self._answers: OrderedDict[bytes, Samples] = OrderedDict()

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        """The dialogue in `sound` (RATE_HZ), float32 of its shape; silent outside `speech`. Never None.

        Silence, and sound without speech, give silence. Raises: EngineFailed.
        """
        from polydub.audio import stems

        return self._assembled(sound.samples, speech, (VOCALS,)) * stems.gate(speech, sound.samples.shape[1])

    def stems(self, sound: Audio, spans: Sequence[Span]) -> Mapping[str, Samples]:
        """Stems of `sound` (RATE_HZ) by name, each float32 of its shape, that sum to it; "vocals" first, "other" last.

        Outside `spans` (seconds) everything is in "other". Raises: EngineFailed.
        """
        import numpy as np

        names = self.names[:-1]
        samples, channels = sound.samples, sound.samples.shape[0]
        # As channels of one sound, so that one answer of the nets serves all stems
        found = self._assembled(np.tile(samples, (len(names), 1)), spans, names)
        made = {name: found[n * channels : (n + 1) * channels] for n, name in enumerate(names)}
        return {**made, OTHER: samples - sum(made.values(), np.zeros_like(samples))}

    def _assembled(self, samples: Samples, spans: Sequence[Span], names: tuple[str, ...]) -> Samples:
        channels = len(samples) // len(names)

        def answer(start: int, stop: int, lead: int) -> Samples:
            around = max(0, REACH - (stop - start))
            low = max(0, start - around)
            near = samples[:channels, low : stop + around]
            return self._remembered(near, (start - low, stop - low), lead, names)

        return assembled(samples, spans, PART_S, answer)

    def _remembered(self, near: Samples, part: tuple[int, int], lead: int, names: tuple[str, ...]) -> Samples:
        key = blake2b(f"{near.shape} {part} {lead} {names}".encode())
        key.update(near.tobytes())
        found = self._answers.pop(key.digest(), None)
        if found is None:
            found = self._part(near, part, names)[:, part[0] - lead : part[1]].copy()
        self._answers[key.digest()] = found
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        return found

    def _part(self, near: Samples, part: tuple[int, int], names: tuple[str, ...]) -> Samples:
        """Stems (names * channels, frames) of all of `near`, which are good within `part`. Two channels at once are stereo."""
        import numpy as np

        channels, frames = near.shape
        made = np.zeros((len(names), channels, frames), np.float32)
        for first in range(0, channels, 2):
            pair = near[first : first + 2]
            loud = float(np.sqrt(np.mean(np.square(pair[:, part[0] : part[1]], dtype=np.float64))))
            if loud < SILENT:
                continue
            stereo = np.broadcast_to(pair, (2, frames)) * np.float32(LEVEL / loud)
            found = self._blended(stereo, part, names) * np.float32(loud / LEVEL)
            made[:, first : first + 2] = found if len(pair) == 2 else found.mean(axis=1, keepdims=True)
        return made.reshape(-1, frames)

    def _blended(self, stereo: Samples, part: tuple[int, int], names: tuple[str, ...]) -> Samples:
        """(names, 2, frames): the weighted mean of what the nets say."""
        import numpy as np

        from polydub.audio.signal import resample

        heard = resample(stereo, RATE_HZ, NET_HZ)
        # With what is faded into the part before, and with the ends of the filters that change the rate
        inside = ((part[0] - 2 * CROSS) * NET_HZ / RATE_HZ, (part[1] + 2 * CROSS) * NET_HZ / RATE_HZ)
        blend = np.zeros((len(names), 2, heard.shape[1]), np.float32)
        for member in self._members:
            found = windowed(member, heard, inside, self._options.overlap)
            blend += np.float32(member.weight) * found[[member.net.stems.index(name) for name in names]]
        blend /= np.float32(sum(member.weight for member in self._members))
        if not np.isfinite(blend).all():
            raise EngineFailed("the net answered with something that is no sound", "try another model")
        back = resample(blend.reshape(len(names) * 2, -1), NET_HZ, RATE_HZ)
        return back[:, : stereo.shape[1]].reshape(len(names), 2, -1)


def windowed(member: Member, heard: Stereo, part: tuple[float, float], overlap: float) -> Stereo:
    """Stems (stems, 2, frames) of `heard` (2, frames) at NET_HZ, good within `part` (samples), zeros where no window lies.

    As few windows as cover the part and half an overlap beyond both its ends, evenly spaced, added with straight fades.
    """
    import numpy as np

    net, frames = member.net, heard.shape[1]
    useful = net.window - 2 * net.edge
    starts = placed(part, useful, overlap)
    fade = np.minimum(np.arange(1, useful + 1), np.arange(useful, 0, -1)).astype(np.float32)
    summed, weights = np.zeros((len(net.stems), 2, frames), np.float32), np.zeros(frames, np.float32)
    for start in starts:
        low, high = max(0, start - net.edge), min(frames, start - net.edge + net.window)
        window = np.zeros((2, net.window), np.float32)
        window[:, low - start + net.edge : high - start + net.edge] = heard[:, low:high]
        answer = member.heard(window)
        if answer.shape != (len(net.stems), 2, net.window):
            raise EngineFailed(f"the net answered with shape {answer.shape} to a window of {net.window} samples", "")
        low, high = max(0, start), min(frames, start + useful)
        here = slice(low - start + net.edge, high - start + net.edge)
        summed[:, :, low:high] += answer[:, :, here] * fade[low - start : high - start]
        weights[low:high] += fade[low - start : high - start]
    summed /= np.maximum(weights, 1)
    return summed


def placed(part: tuple[float, float], useful: int, overlap: float) -> list[int]:
    """Where windows of `useful` samples begin that cover `part` and half an overlap around it; one lies in its middle."""
    low, high = part[0] - overlap * useful / 2, part[1] + overlap * useful / 2
    room = high - low - useful
    if room <= 0:
        return [round((low + high - useful) / 2)]
    steps = int(-(-room // ((1 - overlap) * useful - 1)))  # places are rounded
    return [round(low + room * n / steps) for n in range(steps + 1)]


def set_threads(torch: Any, threads: int) -> int:
    """Lets torch use so many threads, one for each core if 0; how many it is."""
    import os

    count = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(count)
    return count
