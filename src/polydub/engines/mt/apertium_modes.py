"""Which language pairs Apertium has here, by which chain of programs: its `.mode` files, read and joined."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from pathlib import Path

from pydantic import Field

from polydub.engines.base import READY, Availability, Options
from polydub.errors import BadSettings, UnsupportedLanguage

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


def version(options: ApertiumOptions) -> str:
    """Tells installed data apart: a digest of the modes and of name, size and time of the files they name."""
    digest = hashlib.sha256()
    for mode in sorted(Path(options.modes_dir).glob("*.mode")):
        digest.update(mode.read_bytes())
        for file in re.findall(r"/[^\s'\"|]+", mode.read_text(encoding="utf-8", errors="replace")):
            if Path(file).is_file():
                stat = Path(file).stat()
                digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def remarks(options: ApertiumOptions, pair: str) -> tuple[str, ...]:
    modes = path(options, *pair.split(">"))
    rough = "its translations are rough drafts: read every line before you publish it"
    return (rough,) if len(modes) == 1 else (f"{rough}; {pair} goes by way of {' and '.join(modes)}, which adds errors",)


def languages(options: ApertiumOptions) -> frozenset[str]:
    edges = _edges(Path(options.modes_dir))
    return frozenset(f"{start}>{end}" for start in edges for end in _ways(edges, start))


def check(options: ApertiumOptions) -> Availability:
    folder = Path(options.modes_dir)
    names = sorted({mode for leaving in _edges(folder).values() for mode, _ in leaving})
    if not names:
        return Availability(False, f"no Apertium language pair in {folder}", INSTALL)
    try:
        programs = sorted({command[0] for name in names for command in commands(folder / f"{name}.mode")})
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


def commands(mode: Path) -> list[list[str]]:
    """The programs of a mode with their arguments. $1 = -n: unknown words without marks; $2 is only for debugging."""
    chain: list[list[str]] = [[]]
    try:
        lexer = shlex.shlex(mode.read_text(encoding="utf-8"), posix=True, punctuation_chars="|")
        lexer.whitespace_split, lexer.commenters = True, ""
        for word in lexer:
            if not word.strip("|"):
                chain.extend([] for _ in word)
            elif word != "$2":
                chain[-1].append("-n" if word == "$1" else word)
    except (OSError, ValueError) as error:
        raise BadSettings(f"cannot read {mode}: {error}", INSTALL) from error
    if not all(chain):
        raise BadSettings(f"{mode} is not a chain of programs", INSTALL)
    return [[command[0], "-z", *command[1:]] for command in chain]
