"""What an engine needs: weights, an environment, and whether it can run now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a model: its path inside the model's folder, what it must hash to, its length; `url` when it has its own."""

    name: str
    sha256: str
    bytes: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Weight:
    """A model's weights: a folder of files under one id.

    Attributes:
        id: what `polydub models pull` takes, such as "faster-whisper-small".
        revision: of the origin; part of the engine's identity. "" = not pinned: the newest when it is pulled, as its folder
            says from then on.
        source: where it comes from: "hub:OWNER/NAME" (Hugging Face hub), "wheel:NAME==VERSION#SHA256" (a file inside a
            package of the Python package index, the package itself is not installed), or "files" (each file has its url).
        files: all that is needed, with hashes. Of a hub's repository that is not pinned there are none: the hub says what
            there is, with hashes, and what was promised and came is kept in the folder.
        patterns: which of such a repository's files are needed, as globs ("*.safetensors"); () = all.
        about_bytes: roughly what pulling it takes, where no file is pinned. commercial_use: whether the licence allows it.
        languages: BCP-47 tags that it has; () = those of its engine.
    """

    id: str
    revision: str
    source: str
    licence: str
    commercial_use: bool
    files: tuple[WeightFile, ...] = ()
    patterns: tuple[str, ...] = ()
    about_bytes: int = 0
    languages: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """What pulling it takes."""
        return sum(file.bytes for file in self.files) or self.about_bytes


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment of an engine's own: then it always works in a process of its own, with that Python.

    The process finds polydub and the engine's file, but no other package of the Python that started it; a lock of the
    environment names pydantic and numpy beside what the engine needs.

    Attributes: name: of the environment; its locks are called `<name>.<variant>.txt`. module: what can be imported in it,
    cheap to look for. variants: kinds of hardware it has a lock for ("cpu", "cuda"). locks: folder of the locks; None =
    polydub's own, `engines/locks`.
    """

    name: str
    module: str
    variants: tuple[str, ...] = ("cpu", "cuda")
    locks: Path | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine can run now; if not, why, and the one command that mends it."""

    ready: bool
    reason: str = ""
    fix: str = ""


READY = Availability(True)
