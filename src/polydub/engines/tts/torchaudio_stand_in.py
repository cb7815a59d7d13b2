"""The few functions of torchaudio that XTTS and Chatterbox call, for where torchaudio itself cannot be imported.

torchaudio 2.11 is published as a CUDA build only: on a processor-only torch its import raises OSError. So the locks leave it
(and torchcodec, which XTTS only looks for) out, and `ensure` puts modules of these names into `sys.modules`. Filter banks equal
kaldi-native-fbank's to 1.3e-4, mel spectra follow the same formula; resampling uses another filter of the same purpose.
"""

from __future__ import annotations

import importlib
import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from polydub.audio import signal
from polydub.engines.tts.spoken import library

VERSION = "0+polydub"
PREEMPHASIS, POVEY, LOW_HZ = 0.97, 0.85, 20.0  # Kaldi's defaults


def ensure(codec: bool = False) -> bool:
    """Whether the stand-in serves as torchaudio in this process; False where the real one can be imported.

    codec: an empty torchcodec, too. coqui-tts looks for one; transformers 5.2 fails at one without metadata.
    """
    known = sys.modules.get("torchaudio")
    if known is None:
        try:
            known = importlib.import_module("torchaudio")
        except (ImportError, OSError):  # OSError: its library wants another torch
            for name in [n for n in sys.modules if n.partition(".")[0] == "torchaudio"]:
                del sys.modules[name]
            _register(codec)
            return True
    return getattr(known, "__version__", "") == VERSION


def _register(codec: bool) -> None:
    root, functional, transforms = (_module(f"torchaudio{part}") for part in ("", ".functional", ".transforms"))
    compliance, kaldi = _module("torchaudio.compliance"), _module("torchaudio.compliance.kaldi")
    root.functional, root.transforms, root.compliance, compliance.kaldi = functional, transforms, compliance, kaldi
    functional.resample, kaldi.fbank = resample, fbank
    for kind in _classes():
        setattr(transforms, kind.__name__, kind)
    if codec and "torchcodec" not in sys.modules:
        _module("torchcodec")


def _module(name: str) -> Any:
    module: Any = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, is_package=True)  # find_spec fails on modules without one
    module.__path__ = []
    module.__version__ = VERSION
    sys.modules[name] = module
    return module


def resample(waveform: Any, orig_freq: int, new_freq: int, **_: Any) -> Any:
    """A tensor (..., frames) at another rate."""
    torch = library("torch")

    if orig_freq == new_freq:
        return waveform
    flat = waveform.detach().cpu().numpy().reshape(-1, waveform.shape[-1]).astype(np.float32)
    changed = torch.from_numpy(np.ascontiguousarray(signal.resample(flat, int(orig_freq), int(new_freq))))
    return changed.reshape(*waveform.shape[:-1], changed.shape[-1]).to(waveform)


def fbank(waveform: Any, num_mel_bins: int = 23, sample_frequency: float = 16_000.0, **_: Any) -> Any:
    """Kaldi's log mel filter bank without dither, (frames, num_mel_bins), of a tensor (1, samples).

    After `kaldi/src/feat`, equal to kaldi-native-fbank 1.23 to 2e-4: frames of 25 ms every 10 ms, each without its mean,
    with pre-emphasis and the Povey window; power; mel from 20 Hz up. Sound shorter than one frame gives none.
    """
    torch = library("torch")

    width, hop = int(sample_frequency * 0.025), int(sample_frequency * 0.01)
    size = 1 << (width - 1).bit_length()
    if waveform.shape[-1] < width:
        return torch.empty(0, num_mel_bins)
    frames = waveform[0].unfold(0, width, hop).to(torch.float32)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    window = torch.hann_window(width, periodic=False, device=frames.device) ** POVEY
    spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * window, n=size).abs() ** 2
    banks = torch.from_numpy(_kaldi_banks(num_mel_bins, size, float(sample_frequency))).to(spectrum)
    return torch.clamp(spectrum[:, : size // 2] @ banks.T, min=torch.finfo(torch.float32).eps).log()


def _kaldi_banks(bins: int, size: int, rate_hz: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Triangles, even on Kaldi's mel scale, over the frequencies of a spectrum: (bins, size / 2)."""

    def mel(hz: Any) -> Any:
        return 1127.0 * np.log(1.0 + np.asarray(hz) / 700.0)

    low, high = float(mel(LOW_HZ)), float(mel(rate_hz / 2))
    edges = np.linspace(low, high, bins + 2)
    at: Any = mel(np.arange(size // 2) * rate_hz / size)
    rising: Any = (at - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling: Any = (edges[2:, None] - at) / np.diff(edges)[1:, None]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _classes() -> tuple[type, ...]:
    """What stands in `torchaudio.transforms`; made here, because the base class needs torch."""
    nn = library("torch").nn

    class MelSpectrogram(nn.Module):
        """Mel spectrum (..., n_mels, frames). The buffers have torchaudio's names: XTTS checkpoints hold them."""

        def __init__(self, **settings: Any) -> None:
            super().__init__()  # pyright: ignore[reportUnknownMemberType]
            _fill(self, settings)

        def forward(self, waveform: Any) -> Any:
            return _mel(self, waveform)

    class Resample(nn.Module):
        """`resample` as a module."""

        def __init__(self, orig_freq: int, new_freq: int, **_: Any) -> None:
            super().__init__()  # pyright: ignore[reportUnknownMemberType]
            self.rates = (orig_freq, new_freq)

        def forward(self, waveform: Any) -> Any:
            return resample(waveform, *self.rates)

    class Spectrogram(nn.Module):
        """Complex spectrum (..., frequencies, frames), which is what `power=None` asks for; no other is offered."""

        def __init__(self, **settings: Any) -> None:
            super().__init__()  # pyright: ignore[reportUnknownMemberType]
            _fill_spectrum(self, settings)

        def forward(self, waveform: Any) -> Any:
            return _spectrum(self, waveform)

    class InverseSpectrogram(Spectrogram):
        """The sound (..., frames) of a complex spectrum, which is what is given as `waveform`."""

        def forward(self, waveform: Any, length: int | None = None) -> Any:
            torch = library("torch")
            flat = waveform.reshape(-1, *waveform.shape[-2:])
            sound = torch.istft(flat, self.size, self.hop, self.width, window=self.window, center=True, length=length)
            return sound.reshape(*waveform.shape[:-2], sound.shape[-1])

    class TimeStretch(nn.Module):
        """Only made, never called, by the watermarker of Chatterbox; it holds the buffer that its checkpoint has."""

        def __init__(self, hop_length: int, n_freq: int = 201, **_: Any) -> None:
            super().__init__()  # pyright: ignore[reportUnknownMemberType]
            torch = library("torch")
            self.register_buffer("phase_advance", torch.linspace(0, math.pi * hop_length, n_freq)[..., None])

    return MelSpectrogram, Resample, Spectrogram, InverseSpectrogram, TimeStretch


def _fill_spectrum(module: Any, given: dict[str, Any]) -> None:
    module.size = given.get("n_fft", 400)
    module.width = given.get("win_length") or module.size
    module.hop = given.get("hop_length") or module.width // 2
    if given.get("power") is not None:
        raise NotImplementedError("only complex spectra")
    window = given.get("window_fn", library("torch").hann_window)
    module.register_buffer("window", window(module.width))


def _spectrum(module: Any, waveform: Any) -> Any:
    spectrum = library("torch").stft(
        waveform.reshape(-1, waveform.shape[-1]),
        module.size,
        module.hop,
        module.width,
        window=module.window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def _fill(module: Any, given: dict[str, Any]) -> None:
    """Torchaudio's settings of a MelSpectrogram, with its defaults, as attributes and buffers."""
    torch = library("torch")

    rate, size = given.get("sample_rate", 16_000), given.get("n_fft", 400)
    width = given.get("win_length") or size
    module.size, module.width = size, width
    module.hop = given.get("hop_length") or width // 2
    module.power = given.get("power", 2.0)
    module.normalized = bool(given.get("normalized", False))
    window = given.get("window_fn", torch.hann_window)(width, **(given.get("wkwargs") or {}))
    banks = library("librosa").filters.mel(
        sr=rate,
        n_fft=size,
        n_mels=given.get("n_mels", 128),
        fmin=given.get("f_min", 0.0),
        fmax=given.get("f_max"),
        htk=given.get("mel_scale", "htk") == "htk",
        norm=given.get("norm"),
    )
    module.spectrogram, module.mel_scale = torch.nn.Module(), torch.nn.Module()
    module.spectrogram.register_buffer("window", window)
    module.mel_scale.register_buffer("fb", torch.from_numpy(banks).T.contiguous())  # (frequencies, n_mels)


def _mel(module: Any, waveform: Any) -> Any:
    torch = library("torch")

    spectrum = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        module.size,
        module.hop,
        module.width,
        window=module.spectrogram.window,
        center=True,
        pad_mode="reflect",
        normalized=module.normalized,
        return_complex=True,
    )
    levels = module.mel_scale.fb.T.to(waveform) @ spectrum.abs() ** module.power
    return levels.reshape(*waveform.shape[:-1], *levels.shape[-2:])
