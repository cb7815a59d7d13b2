"""Apertium: rule-based translation by the programs and language pairs that the system has installed.

Apertium's own `-z` command hangs on a pipe, so its `.mode` files are read here and their programs started directly, each
with `-z` (answer at every zero byte), and kept open: about 0.3 s to start, then milliseconds a line. A pair that is not
installed is reached through one or two other languages, all programs in one chain. Fast and repeatable; the quality is
that of a rough draft. The programs and data are GPL-2.0-or-later and stay separate from polydub.
"""

from __future__ import annotations

import logging
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO

from polydub.engines.base import Batch, Engine, Info, Weights
from polydub.engines.mt.apertium_modes import INSTALL, ApertiumOptions, check, commands, languages, path, remarks, version
from polydub.errors import BadEngineOutput, EngineFailed, MissingProgram

log = logging.getLogger(__name__)


class _Pipeline:
    """A chain of programs kept open: one text in, one text out. Not thread-safe."""

    def __init__(self, modes: Sequence[Path], timeout_s: float) -> None:
        self._name = " + ".join(mode.stem for mode in modes)
        self._timeout_s = timeout_s
        self._programs: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._asked = 0
        self.usable = True
        try:
            for mode in modes:
                for command in commands(mode):
                    self._add(command)
        except BaseException:
            self.close()
            raise
        os.set_blocking(self._stdin.fileno(), False)

    @property
    def _stdin(self) -> IO[bytes]:
        stdin = self._processes[0].stdin
        assert stdin is not None  # noqa: S101 - Popen was given PIPE
        return stdin

    @property
    def _stdout(self) -> IO[bytes]:
        stdout = self._processes[-1].stdout
        assert stdout is not None  # noqa: S101 - Popen was given PIPE
        return stdout

    def _add(self, command: list[str]) -> None:
        before = self._stdout if self._processes else None
        try:
            # Own session: Ctrl-C is for polydub alone. When polydub dies the pipes close, and every program ends at EOF.
            process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=before or subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise MissingProgram(f"cannot start {command[0]}: {error.strerror}", INSTALL) from error
        if before:
            before.close()  # only the programs hold the pipe between them, so that the death of one is felt by the others
        self._processes.append(process)
        self._programs.append(command[0])

    def ask(self, text: str) -> str:
        """The answer to `text`, which is in Apertium's stream format and holds no zero byte.

        Raises: EngineFailed, BadEngineOutput: the pipeline is then no longer usable.
        """
        self.usable = False
        self._asked += 1
        # A bracketed blank travels through untranslated. Its line break ends the paragraph; its number tells a late answer.
        question = f"{text}[][\n{self._asked}]\0".encode("utf-8", "replace")
        try:
            answer = self._exchange(question).partition(b"\0")[0].decode()
        except UnicodeDecodeError as error:
            raise BadEngineOutput(f"Apertium {self._name} gave an answer that is not UTF-8") from error
        number = re.search(r"\[\n(\d+)\]", answer)
        if number and int(number[1]) != self._asked:
            raise BadEngineOutput(f"Apertium {self._name} answered another line")
        self.usable = True
        return answer

    def _exchange(self, question: bytes) -> bytes:
        """Write and read by turns: a long line would otherwise fill both pipes and stop everyone."""
        answer = bytearray()
        deadline = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            writing = selector.register(self._stdin, selectors.EVENT_WRITE)
            selector.register(self._stdout, selectors.EVENT_READ)
            while 0 not in answer:
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise self._failure(f"gave no answer in {self._timeout_s:g} s")
                for key, _ in events:
                    if key is not writing:
                        got = os.read(key.fd, 1 << 16)
                        if not got:
                            raise self._failure("closed its output")
                        answer += got
                        continue
                    try:
                        question = question[os.write(key.fd, question) :]
                    except BrokenPipeError:
                        raise self._failure("closed its input") from None
                    if not question:
                        selector.unregister(self._stdin)
        return bytes(answer)

    def _failure(self, what: str) -> EngineFailed:
        """Names the program that died: the first with a bad status, for its neighbours end well (EOF) or by SIGPIPE."""
        until = time.monotonic() + 0.5  # pipes close a moment before the exit can be seen
        while time.monotonic() < until and all(process.poll() is None for process in self._processes):
            time.sleep(0.01)
        ended = [(p.returncode, name) for p, name in zip(self._processes, self._programs, strict=True) if p.poll() is not None]
        if not ended:
            return EngineFailed(f"Apertium {self._name} {what}")
        status, program = next((end for end in ended if end[0] not in {0, -signal.SIGPIPE}), ended[0])
        return EngineFailed(f"{program} of Apertium {self._name} died with status {status}")

    def close(self) -> None:
        """Ends the programs; a stuck one is killed."""
        if not self._processes:
            return
        self._stdin.close()
        for process in self._processes:
            if not self.usable:
                process.kill()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._stdout.close()


class Apertium:
    """Translator over persistent pipelines, one for each pair asked for. Thread-safe: one line at a time."""

    def __init__(self, options: ApertiumOptions) -> None:
        self._options = options
        self._lock = Lock()
        self._pipelines: dict[tuple[str, ...], _Pipeline] = {}

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, in the same order; text without a word or sign stays empty.

        Raises:
            UnsupportedLanguage: no way between the languages.
            MissingProgram: a program of the mode is not installed.
            EngineFailed, BadEngineOutput: a program died, hung or answered nonsense twice for one line.
        """
        modes = path(self._options, batch.source, batch.target)
        texts: list[str] = []
        for request in batch.requests:
            try:
                with self._lock:
                    texts.append(self._translate(modes, request.text))
            except EngineFailed as error:
                error.line = request.id
                raise
        return texts

    def _translate(self, modes: tuple[str, ...], text: str) -> str:
        plain = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
        if not plain:
            return ""
        question = _escape(plain)
        try:
            answer = self._pipeline(modes).ask(question)
        except EngineFailed as error:
            log.warning("%s; started again", error)
            answer = self._pipeline(modes).ask(question)
        return _tidy(plain, answer)

    def _pipeline(self, modes: tuple[str, ...]) -> _Pipeline:
        pipeline = self._pipelines.get(modes)
        if pipeline is None or not pipeline.usable:
            if pipeline:
                pipeline.close()
            files = [Path(self._options.modes_dir) / f"{mode}.mode" for mode in modes]
            pipeline = self._pipelines[modes] = _Pipeline(files, self._options.timeout_s)
        return pipeline

    def close(self) -> None:
        """Ends all programs."""
        with self._lock:
            for pipeline in self._pipelines.values():
                pipeline.close()
            self._pipelines.clear()


def _needs_stop(plain: str) -> bool:
    return not re.search(r"[.!?;:]$", plain)


def _escape(plain: str) -> str:
    """`plain` in Apertium's stream format, a missing full stop lent: without one the last words are tagged badly."""
    escaped = re.sub(r"[\^$@\\/<>{}\[\]]", r"\\\g<0>", plain)
    return escaped + ("." if _needs_stop(plain) else "")


def _tidy(plain: str, answer: str) -> str:
    """Readable text: blanks and escapes off, the lent stop taken back, the first capital of `plain` kept."""
    text = re.sub(r"\\(.)|\[.*?\]", lambda found: found[1] or "", answer, flags=re.DOTALL)
    text = " ".join(text.split())
    if _needs_stop(plain):
        text = text.removesuffix(".").rstrip()
    first_letter = r"^[\W_]*[^\W\d_]"
    begins = re.match(first_letter, plain)
    if begins and begins[0][-1].isupper():
        text = re.sub(first_letter, lambda found: found[0].upper(), text, count=1)
    return text


@contextmanager
def _load(options: ApertiumOptions, weights: Weights, device: str) -> Generator[Apertium]:
    del weights, device
    available = check(options)
    if not available.ready:
        raise MissingProgram(f"Apertium cannot run: {available.reason}", available.fix)
    translator = Apertium(options)
    try:
        yield translator
    finally:
        translator.close()


ENGINE = Engine(
    info=Info(
        kind="mt",
        name="apertium",
        summary="Rule-based rough drafts, offline and fast, for the language pairs the system has installed",
        licence="GPL-2.0-or-later",
        homepage="https://www.apertium.org",
        memory_mib=(200, 0),
        parallel=1,
        batch=1,
    ),
    options=ApertiumOptions,
    load=_load,
    check=check,
    languages=languages,
    version=version,
    remarks=remarks,
)
