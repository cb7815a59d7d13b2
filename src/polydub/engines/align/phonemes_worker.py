"""Stand-alone espeak-ng program: how words are pronounced. JSON lines in, JSON lines out. It imports nothing of polydub.

Run it as `python -I -S -B phonemes_worker.py LIBRARY DATA VOICE`. It first writes `{}` or `{"error": ...}`. For each
`{"id": number, "texts": [...], "bytes": 0}` it writes `{"id": number, "phonemes": [...]}`, the IPA of each text. Unlike
speech, phonemes do not depend on what was said before, so nothing is forked. It ends when its standard input does.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

SYNCHRONOUS, DO_NOT_EXIT = 2, 0x8000
UTF8, IPA = 1, 2


def initialise(library: str, data: str, voice: str) -> ctypes.CDLL:
    """The library, ready for one voice.

    espeak-ng keeps the data path in 160 bytes and silently looks elsewhere when it is longer: so it gets a relative one.
    """
    lib = ctypes.CDLL(library)
    folder = Path(data)
    os.chdir(folder.parent)
    rate_hz = int(lib.espeak_Initialize(SYNCHRONOUS, 0, folder.name.encode(), DO_NOT_EXIT))
    if rate_hz <= 0 or lib.espeak_SetVoiceByName(voice.encode()) != 0:
        raise OSError("espeak-ng does not find its data")
    lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
    lib.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    return lib


def phonemes(lib: ctypes.CDLL, text: str) -> str:
    """The IPA of `text`, words apart; each call of the library takes one clause."""
    rest = ctypes.c_char_p(text.replace("\0", " ").encode(errors="replace"))
    found: list[str] = []
    while rest.value:
        found.append((lib.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, IPA) or b"").decode(errors="replace"))
    return " ".join(found)


def answer(told: dict[str, object]) -> None:
    """One JSON line on standard output."""
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Answers lines until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who started it decides when to stop
    try:
        lib = initialise(*sys.argv[1:4])
    except OSError as error:
        answer({"error": str(error)})
        return
    answer({})
    for line in iter(sys.stdin.buffer.readline, b""):
        question = json.loads(line)
        answer({"id": question["id"], "phonemes": [phonemes(lib, text) for text in question["texts"]]})


if __name__ == "__main__":
    main()
