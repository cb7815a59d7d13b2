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
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO

from pydantic import Field

from polydub.engines.base import READY, Availability, Batch, Engine, Info, Options, Weights
from polydub.errors import BadEngineOutput, BadSettings, EngineFailed, MissingProgram, UnsupportedLanguage

log = logging.getLogger(__name__)

INSTALL = "sudo apt-get install apertium-eng-spa"
MAX_MODES = 3  # modes in one path: two pivots at most, for every one costs quality
MODE_NAME = re.compile(r"([a-z]{2,3}(?:_[A-Za-z]+)?)-([a-z]{2,3}(?:_[A-Za-z]+)?)")

# ISO 639-3, as in Apertium's newer pairs -> BCP-47, which wants the two-letter code where one exists.
_CODES = """
afr:af arg:an bel:be bre:br bul:bg cat:ca ces:cs cym:cy dan:da deu:de ell:el eng:en epo:eo est:et eus:eu
fao:fo fin:fi fra:fr gla:gd gle:ga glg:gl hin:hi hun:hu ina:ia ind:id isl:is ita:it kaz:kk lav:lv lit:lt
ltz:lb mkd:mk mlt:mt nld:nl nno:nn nob:nb nor:no oci:oc pol:pl por:pt ron:ro rus:ru slk:sk slv:sl sme:se
spa:es sqi:sq srd:sc swe:sv tat:tt tur:tr ukr:uk urd:ur zlm:ms
"""
TAGS = {code: tag for code, _, tag in (pair.partition(":") for pair in _CODES.split())}
SHARED = {"hbs": ("bs", "hr", "sr-Latn"), "sh": ("bs", "hr", "sr-Latn")}  # one dictionary, Latin script
VARIANTS = {"valencia": "valencia", "aran": "aranes"}  # Apertium's name -> BCP-47 variant


class ApertiumOptions(Options):
    """Settings of the Apertium engine."""

    modes_dir: str = Field(
        default="/usr/share/apertium/modes",
        description="Folder with Apertium's .mode files. They name programs that are run: use only files you trust.",
    )
    timeout_s: float = Field(
        default=20.0,
        gt=0,
        description="Seconds to wait for one line before the programs are started again.",
        json_schema_extra={"identity": False},
    )


def path(options: ApertiumOptions, source: str, target: str) -> tuple[str, ...]:
    """Names of the modes that lead from `source` to `target` (BCP-47): one if the pair is installed, more for pivots.

    The shortest way, ties by name; a tag that no mode has falls back to its shorter forms ("es-MX" to "es").

    Raises: UnsupportedLanguage: there is no way of at most MAX_MODES modes.
    """
    edges = _edges(Path(options.modes_dir))
    for start in _shortened(source):
        ways = _ways(edges, start)
        for end in _shortened(target):
            if end in ways:
                return ways[end]
    reached = sorted({end for start in _shortened(source) for end in _ways(edges, start)})
    raise UnsupportedLanguage(
        f"Apertium has no way from {source} to {target}",
        f"from {source} it reaches {', '.join(reached) or 'nothing'}; for more pairs see: apt-cache search apertium",
    )


def _languages(options: ApertiumOptions) -> frozenset[str]:
    edges = _edges(Path(options.modes_dir))
    return frozenset(f"{start}>{end}" for start in edges for end in _ways(edges, start))


def _check(options: ApertiumOptions) -> Availability:
    folder = Path(options.modes_dir)
    names = sorted({mode for leaving in _edges(folder).values() for mode, _ in leaving})
    if not names:
        return Availability(False, f"no Apertium language pair in {folder}", INSTALL)
    try:
        programs = sorted({command[0] for name in names for command in _commands(folder / f"{name}.mode")})
    except BadSettings as error:
        return Availability(False, error.message, error.hint)
    missing = [program for program in programs if shutil.which(program) is None]
    return Availability(False, f"not installed: {', '.join(missing)}", INSTALL) if missing else READY


def _tags(code: str) -> tuple[str, ...]:
    """BCP-47 tags of an Apertium code such as `eng`, `pt_BR`, `cat_valencia`; () for a technical variant."""
    base, _, variant = code.partition("_")
    tags = SHARED.get(base) or (TAGS.get(base, base),)
    if not variant:
        return tags
    suffix = variant if re.fullmatch("[A-Z]{2}", variant) else VARIANTS.get(variant)
    return tuple(f"{tag}-{suffix}" for tag in tags) if suffix else ()


def _edges(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Source tag -> (mode, target tag), sorted. Names with more than two parts are debugging or house-style modes."""
    edges: dict[str, list[tuple[str, str]]] = {}
    for mode in sorted(file.stem for file in folder.glob("*.mode")):
        if found := MODE_NAME.fullmatch(mode):
            for source in _tags(found[1]):
                edges.setdefault(source, []).extend((mode, target) for target in _tags(found[2]) if target != source)
    return edges


def _ways(edges: dict[str, list[tuple[str, str]]], start: str) -> dict[str, tuple[str, ...]]:
    """Every tag that can be reached from `start`, with the shortest way to it."""
    ways: dict[str, tuple[str, ...]] = {start: ()}
    frontier = [start]
    for _ in range(MAX_MODES):
        reached: list[str] = []
        for here in frontier:
            for mode, end in edges.get(here, ()):
                if end not in ways:
                    ways[end] = (*ways[here], mode)
                    reached.append(end)
        frontier = reached
    # A round trip through another language is no translation; a mode between two forms of one language is.
    home = start.partition("-")[0]
    return {end: modes for end, modes in ways.items() if len(modes) == 1 or end.partition("-")[0] != home}


def _shortened(tag: str) -> list[str]:
    parts = tag.split("-")
    return ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _commands(mode: Path) -> list[list[str]]:
    """The programs of a mode with their arguments. $1 = -n: unknown words without marks; $2 is only for debugging."""
    commands: list[list[str]] = [[]]
    try:
        lexer = shlex.shlex(mode.read_text(encoding="utf-8"), posix=True, punctuation_chars="|")
        lexer.whitespace_split, lexer.commenters = True, ""
        for word in lexer:
            if not word.strip("|"):
                commands.extend([] for _ in word)
            elif word != "$2":
                commands[-1].append("-n" if word == "$1" else word)
    except (OSError, ValueError) as error:
        raise BadSettings(f"cannot read {mode}: {error}", INSTALL) from error
    if not all(commands):
        raise BadSettings(f"{mode} is not a chain of programs", INSTALL)
    return [[command[0], "-z", *command[1:]] for command in commands]


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
                for command in _commands(mode):
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
    available = _check(options)
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
    check=_check,
    languages=_languages,
)
