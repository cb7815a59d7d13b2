"""What can be known of a Whisper model without loading it: by its name, or from its folder in CTranslate2's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from polydub.engines.asr import folders
from polydub.engines.asr.whisper_weights import ENGLISH, WEIGHTS
from polydub.engines.base import READY, Availability, Weight
from polydub.errors import EngineFailed, MissingWeights

SIZES = ("tiny", "base", "small", "medium", "turbo", "large-v3")  # of which `auto` chooses, from worst to best
NAMES = tuple(id.removeprefix("faster-whisper-") for id in WEIGHTS)
# The languages of Whisper; faster_whisper.tokenizer spells three of them in its own way.
_ALL = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fil fo fr gl gu ha haw he hi hr ht hu hy id is it "
    "ja jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn oc pa pl ps pt ro ru sa sd si sk sl sn so "
    "sq sr su sv sw ta te tg th tk tr tt uk ur uz vi yi yo yue zh"
)
TAGS = tuple(_ALL.split())
WHISPER_CODES = {"fil": "tl", "jv": "jw", "nb": "no"}
OUR_TAGS: Mapping[str, str] = {code: tag for tag, code in WHISPER_CODES.items()}
WITH_CANTONESE = ("turbo", "large-v3")
FILES = ("config.json", "model.bin", "tokenizer.json")
START = "<|startoftranscript|>"
CONVERT = "make the folder with: ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json"


def require_files(folder: Path) -> None:
    """Without tokenizer.json faster-whisper would go to the network; a broken one raises no class of its own, an empty
    vocabulary nothing.

    Raises: MissingWeights, EngineFailed.
    """
    lacking = _lacking(folder)
    if lacking:
        raise MissingWeights(f"{folder.name} lacks {', '.join(lacking)}", "pull the weights again")
    try:
        whole = "model" in json.loads((folder / "tokenizer.json").read_bytes()) and START in _tokens(folder)
    except (OSError, ValueError):
        whole = False
    if not whole:
        raise EngineFailed(f"the tokenizer or vocabulary of {folder.name} is damaged", "pull the weights again")


def _lacking(folder: Path) -> list[str]:
    lacking = [name for name in FILES if not (folder / name).is_file()]
    return lacking if _vocabulary(folder) else [*lacking, "vocabulary.json"]


def _vocabulary(folder: Path) -> Path | None:
    return next((folder / name for name in ("vocabulary.json", "vocabulary.txt") if (folder / name).is_file()), None)


def own_folder(model: str) -> Path | None:
    """The folder that the option names; None for a known model."""
    return None if model in NAMES else Path(model).expanduser()


def weights(model: str) -> tuple[Weight, ...]:
    """None for a folder of one's own."""
    return (WEIGHTS[f"faster-whisper-{model}"],) if model in NAMES else ()


def check(model: str) -> Availability:
    """Whether the packages are installed and a folder of one's own is whole."""
    if not (find_spec("faster_whisper") and find_spec("ctranslate2")):
        return Availability(False, "the package faster-whisper is not installed", "pip install faster-whisper")
    folder = own_folder(model)
    if folder is None:
        return READY
    if not folder.is_dir():
        names = ", ".join(NAMES)
        return Availability(False, f"there is no whisper model or folder {model!r}", f"choose {names}, or give a folder")
    lacking = _lacking(folder)
    return Availability(False, f"{folder.name} lacks {', '.join(lacking)}", CONVERT) if lacking else READY


def languages(model: str) -> frozenset[str]:
    """All of Whisper's, but of a folder of one's own only those that its vocabulary has; without an empty token, English."""
    folder = own_folder(model)
    if model in ENGLISH:
        return frozenset({"en"})
    if folder is None:
        return frozenset(TAGS) if model in WITH_CANTONESE else frozenset(TAGS) - {"yue"}
    try:
        tokens = _tokens(folder)
    except (OSError, ValueError):
        return frozenset()
    if "" not in tokens:
        return frozenset({"en"})
    return frozenset(tag for tag in TAGS if f"<|{WHISPER_CODES.get(tag, tag)}|>" in tokens)


def _tokens(folder: Path) -> frozenset[str]:
    """Raises: OSError, ValueError."""
    text = (_vocabulary(folder) or folder).read_text("utf-8")
    if text.lstrip().startswith("["):
        return frozenset(str(token) for token in json.loads(text))
    return frozenset(text.removesuffix("\n").split("\n"))


def version_of(model: str) -> str:
    """CTranslate2's version and, of a folder of one's own, a digest of its small files and of both ends of its weights."""
    try:
        told = f"ctranslate2 {version('ctranslate2')}"
    except PackageNotFoundError:
        told = ""
    folder = own_folder(model)
    if folder is None or _lacking(folder):
        return told
    return f"{told}, {folders.content(folder, frozenset({'.json', '.txt'}), frozenset({'.bin'}))}"
