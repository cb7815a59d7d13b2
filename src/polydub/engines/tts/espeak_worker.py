"""Stand-alone espeak-ng program: one JSON line in, one JSON line and 16-bit PCM out. It imports nothing of polydub.

Run it as `python -I -S -B espeak_worker.py LIBRARY DATA`. It first writes `{"rate_hz": ...}` or `{"error": ...}`. For each
line `{"text", "voice", "rate", "pitch", "range"}` it writes `{"bytes": n}` and n bytes of mono native-endian int16, or
`{"error": ...}`. It ends when its standard input does.

espeak-ng is not a pure function: what it says depends on what it said before. So this process never speaks; every line is
spoken by a forked child that starts from the same state. Modules imported here are paid for by every fork: keep it bare.
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
from pathlib import Path

SYNCHRONOUS, DO_NOT_EXIT = 2, 0x8000
UTF8, END_PAUSE = 1, 0x1000  # and neither SSML (0x10) nor PHONEMES (0x100): text is spoken, never interpreted
RATE, PITCH, RANGE = 1, 3, 4
PR_SET_PDEATHSIG = 1
CPU_SECONDS = 60  # of one line; a film line takes a few milliseconds
RECEIVE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def initialise(library: str, data: str) -> tuple[ctypes.CDLL, int]:
    """The library, ready to speak, and its sample rate in Hz.

    espeak-ng keeps the data path in 160 bytes and silently looks elsewhere when it is longer: so it gets a relative one.
    """
    lib = ctypes.CDLL(library)
    folder = Path(data)
    os.chdir(folder.parent)
    rate_hz = int(lib.espeak_Initialize(SYNCHRONOUS, 0, folder.name.encode(), DO_NOT_EXIT))
    lib.espeak_ng_SetRandSeed(ctypes.c_long(1))  # else the noise in breathy voices is seeded from the clock
    if rate_hz <= 0 or lib.espeak_SetVoiceByName(b"en") != 0:
        raise OSError("espeak-ng does not find its data")
    return lib, rate_hz


def speak(lib: ctypes.CDLL, asked: dict[str, object], out: int) -> None:
    """Writes the sound of one line to the file descriptor `out`, piece by piece."""

    def receive(samples: int | None, count: int, _events: int | None) -> int:
        view = memoryview(ctypes.string_at(samples, 2 * count)) if samples and count > 0 else memoryview(b"")
        while view:
            view = view[os.write(out, view) :]
        return 0

    callback = RECEIVE(receive)
    lib.espeak_SetSynthCallback(callback)
    if lib.espeak_SetVoiceByName(str(asked["voice"]).encode()) != 0:
        raise LookupError("no such voice")
    for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "range")):
        lib.espeak_SetParameter(parameter, int(str(asked[name])), 0)
    text = str(asked["text"]).encode(errors="replace") + b"\0"
    if lib.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, UTF8 | END_PAUSE, None, None) != 0:
        raise OSError("espeak-ng refused the text")
    lib.espeak_Synchronize()


def child(lib: ctypes.CDLL, asked: dict[str, object], out: int, parent: int) -> None:
    """The life of a forked child: speak one line, end. Status 0 done, 1 failed, 2 no such voice."""
    status = 1
    try:
        os.close(0)
        os.close(1)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        if sys.platform == "linux":  # dies with its parent; elsewhere the limit above ends it
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            speak(lib, asked, out)
            status = 0
    except LookupError:
        status = 2
    finally:
        os._exit(status)


def collect(lib: ctypes.CDLL, asked: dict[str, object]) -> tuple[int, bytes]:
    """Exit status and PCM of a child that speaks one line; it is killed when standard input ends meanwhile."""
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child(lib, asked, writing, parent)
    os.close(writing)
    pieces: list[bytes] = []
    while True:
        ready = select.select([reading, 0], [], [])[0]
        if 0 in ready:  # one line is asked at a time: this is the end of the one who asks
            os.kill(pid, signal.SIGKILL)
            sys.exit(0)
        piece = os.read(reading, 1 << 20)
        if not piece:
            break
        pieces.append(piece)
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"".join(pieces)


def answer(header: dict[str, object], pcm: bytes = b"") -> None:
    """One JSON line and the samples, on standard output."""
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + pcm)
    sys.stdout.buffer.flush()


def main() -> None:
    """Answers lines until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who started it decides when to stop
    try:
        lib, rate_hz = initialise(sys.argv[1], sys.argv[2])
    except OSError as error:
        answer({"error": str(error)})
        return
    answer({"rate_hz": rate_hz})
    for line in iter(sys.stdin.buffer.readline, b""):
        status, pcm = collect(lib, json.loads(line))
        if status == 0:
            answer({"bytes": len(pcm)}, pcm)
        else:
            answer({"error": "no such voice" if status == 2 else f"espeak-ng ended with status {status}"})


if __name__ == "__main__":
    main()
