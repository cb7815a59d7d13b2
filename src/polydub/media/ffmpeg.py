"""The one door to ffmpeg, PyAV and the sound files of polydub; nothing outside `media/` calls any of them.

Importing this imports neither: the modules behind it load what they need when they are called.
"""

from __future__ import annotations

from polydub.media.aac import AacBlock, Cut, decode_aac, encode_aac_block
from polydub.media.decode import Decoding, decode_blocks, extract_subtitles
from polydub.media.flac import read_flac, write_flac
from polydub.media.mux import DubTrack, MuxPlan, Original, SubTrack, mux
from polydub.media.probe import probe
from polydub.media.program import SAFE_INPUT, Limits, program, run, safe_link, version
from polydub.media.splice import join_flac

__all__ = [
    "SAFE_INPUT",
    "AacBlock",
    "Cut",
    "Decoding",
    "DubTrack",
    "Limits",
    "MuxPlan",
    "Original",
    "SubTrack",
    "decode_aac",
    "decode_blocks",
    "encode_aac_block",
    "extract_subtitles",
    "join_flac",
    "mux",
    "probe",
    "program",
    "read_flac",
    "run",
    "safe_link",
    "version",
    "write_flac",
]
