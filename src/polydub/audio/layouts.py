"""Which channel stands where: ffmpeg's layouts by name, the channels that speech goes to, and their weights in loudness.

Everything polydub works on has one of the layouts of CARRIED, which AAC holds by a number alone; others are turned into
the nearest of these when a film is read (`carrier`). Importing this costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# `ffmpeg -layouts`, those of at most 8 channels without height; the order is that of the samples
_CHANNELS = MappingProxyType(
    {
        "mono": "FC",
        "stereo": "FL FR",
        "downmix": "FL FR",
        "2.1": "FL FR LFE",
        "3.0": "FL FR FC",
        "3.0(back)": "FL FR BC",
        "3.1": "FL FR FC LFE",
        "4.0": "FL FR FC BC",
        "quad": "FL FR BL BR",
        "quad(side)": "FL FR SL SR",
        "4.1": "FL FR FC LFE BC",
        "5.0": "FL FR FC BL BR",
        "5.0(side)": "FL FR FC SL SR",
        "5.1": "FL FR FC LFE BL BR",
        "5.1(side)": "FL FR FC LFE SL SR",
        "6.0": "FL FR FC BC SL SR",
        "6.0(front)": "FL FR FLC FRC SL SR",
        "hexagonal": "FL FR FC BL BR BC",
        "6.1": "FL FR FC LFE BC SL SR",
        "6.1(back)": "FL FR FC LFE BL BR BC",
        "6.1(front)": "FL FR LFE FLC FRC SL SR",
        "7.0": "FL FR FC BL BR SL SR",
        "7.0(front)": "FL FR FC FLC FRC SL SR",
        "7.1": "FL FR FC LFE BL BR SL SR",
        "7.1(wide)": "FL FR FC LFE BL BR FLC FRC",
        "7.1(wide-side)": "FL FR FC LFE FLC FRC SL SR",
        "octagonal": "FL FR FC BL BR BC SL SR",
    }
)
# ISO/IEC 14496-3, channelConfiguration; surrounds at the side and at the back are the same there but for 7.1
CARRIED = ("mono", "stereo", "3.0", "4.0", "5.0", "5.0(side)", "5.1", "5.1(side)", "7.1")
_CARRIERS = MappingProxyType(
    {
        "downmix": "stereo",
        "2.1": "5.1",
        "3.0(back)": "4.0",
        "3.1": "5.1",
        "quad": "5.0",
        "quad(side)": "5.0(side)",
        "4.1": "5.1",
        "6.0": "7.1",
        "6.0(front)": "5.1",
        "hexagonal": "7.1",
        "6.1": "7.1",
        "6.1(back)": "7.1",
        "6.1(front)": "5.1",
        "7.0": "7.1",
        "7.0(front)": "5.1",
        "7.1(wide)": "5.1",
        "7.1(wide-side)": "5.1",
        "octagonal": "7.1",
        "6 channels": "5.1",  # PCM in Matroska or AVI names none; ffmpeg and players take these two for granted
        "8 channels": "7.1",
    }
)
_SURROUND = 1.41  # ITU-R BS.1770-4, table 3: Ls and Rs


def channels(layout: str, count: int = 0) -> tuple[str, ...]:
    """Names of the channels of a layout in their order, as ffmpeg writes them: FL, FR, FC, LFE, BL, ...

    An empty layout is mono or stereo by `count`. Raises: ValueError for a layout that is not in the table.
    """
    name = layout or {1: "mono", 2: "stereo"}.get(count, "")
    if name not in _CHANNELS:
        raise ValueError(f"unknown channel layout {layout!r} of {count} channels")
    return tuple(_CHANNELS[name].split())


def carrier(layout: str, count: int) -> str:
    """The layout of CARRIED in which a film's sound is kept: its own, else the next larger one, else "stereo".

    `layout` is what a prober says; an empty or unknown one of 1 or 2 channels is mono or stereo. Into a larger one every
    channel goes as it is (the middle of the back to both sides of it); channels between centre and side of the front go
    to the side. "stereo" for more than two channels means a downmix.
    """
    if layout in CARRIED:
        return layout
    if count <= 2:
        return "mono" if count == 1 else "stereo"
    return _CARRIERS.get(layout, "stereo")


def dialogue_gains(layout: str, channels: int) -> NDArray[np.float32]:
    """Factor by which each channel gets mono speech, shape (channels,).

    1 in the centre alone where there is one; else 1 in the left and right front, as for stereo. Raises: ValueError.
    """
    import numpy as np

    names = _named(layout, channels)
    wanted = ("FC",) if "FC" in names else ("FL", "FR")
    return np.array([float(name in wanted) for name in names], np.float32)


def weights(layout: str, channels: int) -> NDArray[np.float64]:
    """Weight of each channel's power in loudness after ITU-R BS.1770-4 (table 3, annex 3), shape (channels,).

    0 for LFE; 1.41 for what stands 60 to 120 degrees from the front: the side channels, and the back ones where there are
    no side ones (the surrounds of 5.1); 1 for all others. ffmpeg's ebur128 weighs the back ones of 7.1 with 1.41 too.
    Raises: ValueError.
    """
    import numpy as np

    names = _named(layout, channels)
    beside = ("SL", "SR") if "SL" in names else ("BL", "BR")
    return np.array([0.0 if name == "LFE" else _SURROUND if name in beside else 1.0 for name in names])


def listening_gains(layout: str, channels: int) -> NDArray[np.float32]:
    """Factors, shape (channels,), of the mono downmix in which speech is looked for; they sum to 1. Raises: ValueError.

    With a centre that is 1/2 of it and 1/4 of left and right each: films speak from the centre, but not all. The rest
    is left out.
    """
    import numpy as np

    names = _named(layout, channels)
    centre = {"FC": 2.0, "FL": 1.0, "FR": 1.0} if "FC" in names else {"FL": 1.0, "FR": 1.0}
    gains = np.array([centre.get(name, 0.0) for name in names], np.float32)
    return gains / gains.sum()


def _named(layout: str, count: int) -> tuple[str, ...]:
    names = channels(layout, count)
    if len(names) != count:
        raise ValueError(f"the layout {layout!r} has {len(names)} channels, not {count}")
    return names
