"""Stand-alone PocketSphinx program: JSON lines and 16-bit PCM in, JSON lines out. It imports nothing of polydub.

Run it as `python -I -B pocketsphinx_worker.py asr` or `... align`. It first writes `{}` or `{"error": ...}`. A question is
`{"id": number, "bytes": n}` and n bytes of mono native-endian int16 at 16 kHz; to `align`, it also has "words": tokens in
lower case, and "extra": pronunciations of tokens that are not in the dictionary. Questions are answered side by side, in
any order: `{"id": number, "words": [[word, first frame, last frame, value], ...]}` with frames of 10 ms, fillers such as
"<sil>" included, or `"missing": [tokens]`, or `"error": "..."`. The value is a posterior probability (asr) or the mean
natural logarithm of the likelihood of a frame, relative to the sound that fits it best (align). Without a path through the
sound, "words" is empty. The program ends when its standard input does.

Why a program: decoding holds the interpreter's lock, so threads do not help. Why a forked child for each question: they
share the dictionary and the models (100 MB), and a decoder remembers what it heard before, in its estimate of the noise;
the same sound would get other scores and, now and then, other words. A child always starts from the same state.
"""

import ctypes
import json
import math
import os
import select
import signal
import sys
from dataclasses import dataclass, field
from typing import Any, cast

from pocketsphinx import Decoder  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

PR_SET_PDEATHSIG = 1
SCORE_UNIT = 1024  # a segment of a word graph's best path is scored in 1/1024 of the decoder's logarithms
SETTINGS: dict[str, dict[str, object]] = {
    # Wider than the library's own; language weight between its 6.5 and 10, where the error rate is flat (see benchmarks).
    "asr": {"beam": 1e-60, "pbeam": 1e-60, "wbeam": 1e-40, "maxhmmpf": 60_000, "lw": 9},
    # Without "bestpath": it looks for a better path in a pruned graph of words, and finds none, or one that leaves words out,
    # as soon as there is noise. The beams are next to none: a text has few states, and this costs nothing. "compallsen": a
    # frame's likelihood is relative to all sounds of the model, not to those of the text.
    "align": {"lm": None, "bestpath": False, "beam": 1e-300, "pbeam": 1e-300, "wbeam": 1e-300, "compallsen": True},
}
Told = dict[str, Any]


def recognise(decoder: Any, _question: Told, pcm: bytes) -> Told:
    """What is said."""
    return {"words": [(s.word, s.start_frame, s.end_frame, float(s.prob)) for s in decoded(decoder, pcm)]}


def align(decoder: Any, question: Told, pcm: bytes) -> Told:
    """When the words of a text are said; any of several pronunciations may be."""
    tokens, extra = question["words"], question["extra"]
    missing = sorted({t for t in tokens if t not in extra and decoder.lookup_word(t) is None})
    if missing:
        return {"missing": missing}
    for token, pronunciations in extra.items():
        for n, phones in enumerate(pronunciations, 1):
            decoder.add_word(token if n == 1 else f"{token}({n})", phones, True)
    decoder.set_align_text(" ".join(tokens))
    return {"words": [(s.word, s.start_frame, s.end_frame, _mean_log(s)) for s in decoded(decoder, pcm)]}


TASKS = {"asr": recognise, "align": align}


def decoded(decoder: Any, pcm: bytes) -> list[Any]:
    """The segments found in the whole sound at once, so that the mean of its own features is taken off."""
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    return list(decoder.seg()) if decoder.hyp() is not None else []


def _mean_log(segment: Any) -> float:
    return SCORE_UNIT * math.log(segment.ascore) / (segment.end_frame - segment.start_frame + 1)


@dataclass
class Child:
    """A forked process that answers one question; `pieces` is what was read of its answer."""

    pid: int
    question: Told
    pieces: list[bytes] = field(default_factory=list[bytes])


def live(task: str, decoder: Any, question: Told, pcm: bytes, out: int) -> None:
    """The life of a forked child: answer one question on the file descriptor `out`, end."""
    status = 1
    try:
        try:
            told = TASKS[task](decoder, question, pcm)
        except (RuntimeError, ValueError, IndexError) as error:
            told = {"error": str(error) or type(error).__name__}
        view = memoryview(json.dumps(told).encode())
        while view:
            view = view[os.write(out, view) :]
        status = 0
    finally:
        os._exit(status)


class Server:
    """Forks children for questions and passes their answers on."""

    def __init__(self, task: str, decoder: Any) -> None:
        self._task, self._decoder = task, decoder
        self._unread = bytearray()
        self._children: dict[int, Child] = {}

    def serve(self) -> None:
        """Until standard input ends; then the children are killed."""
        while True:
            ready = select.select([0, *self._children], [], [])[0]
            if 0 in ready:
                piece = os.read(0, 1 << 20)
                if not piece:
                    break
                self._unread += piece
                self._start_children()
            for reading in ready:
                if reading:
                    self._hear(reading)
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)

    def _start_children(self) -> None:
        while (end := self._unread.find(b"\n") + 1) > 0:
            question = json.loads(self._unread[:end])
            whole = end + question["bytes"]
            if len(self._unread) < whole:
                return
            self._fork(question, bytes(self._unread[end:whole]))
            del self._unread[:whole]

    def _fork(self, question: Told, pcm: bytes) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            for inherited in (0, 1, reading, *self._children):
                os.close(inherited)
            if sys.platform == "linux":  # dies with its parent, also when that is killed
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            live(self._task, self._decoder, question, pcm, writing)
        os.close(writing)
        self._children[reading] = Child(pid, question)

    def _hear(self, reading: int) -> None:
        child = self._children[reading]
        piece = os.read(reading, 1 << 20)
        if piece:
            child.pieces.append(piece)
            return
        os.close(reading)
        del self._children[reading]
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        told = json.loads(b"".join(child.pieces)) if status == 0 else {"error": f"it ended with status {status}"}
        answer({"id": child.question["id"], **told})


def answer(told: Told) -> None:
    """One JSON line on standard output."""
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Answers questions until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who started it decides when to stop
    task = sys.argv[1]
    try:
        decoder = cast("Any", Decoder(loglevel="FATAL", **SETTINGS[task]))
    except (RuntimeError, ValueError) as error:
        answer({"error": str(error)})
        return
    answer({})
    Server(task, decoder).serve()


if __name__ == "__main__":
    main()
