"""What a repository of the Hugging Face hub, or of a mirror of it, holds now."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

from polydub.engines.base import Weight, WeightFile
from polydub.errors import MissingWeights
from polydub.models.places import HUB, MANIFEST, hub, wanted
from polydub.models.receiving import Receiver

GLOB = re.compile(r"[*?\[]")  # what makes a pattern match more than its own name; such a one may match nothing
LIMIT = 50_000_000  # bytes that the answer may have; a repository of 10,000 files needs 2 MB


class _Large(BaseModel):
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _File(BaseModel):
    name: str = Field(alias="rfilename")
    size: int = Field(ge=0)
    blob: str = Field(alias="blobId", pattern="^[0-9a-f]{40}$")
    lfs: _Large | None = None


class _Repository(BaseModel):
    """The answer of `/api/models/REPOSITORY?blobs=true`, which `huggingface_hub.HfApi.model_info` asks for too."""

    sha: str = Field(pattern="^[0-9a-f]{40}$")
    siblings: list[_File]


def newest(weight: Weight, receiver: Receiver) -> Weight:
    """`weight` as the hub has it now: the commit, and the needed files with lengths and hashes.

    Raises: MissingWeights, MissingSecret; MissingWeights too when the answer makes no sense or a needed file is not there.
    """
    repository = weight.source.removeprefix(HUB)
    address = f"{hub().ENDPOINT}/api/models/{quote(repository)}?blobs=true"
    host = address.partition("://")[2].partition("/")[0].rpartition("@")[2]
    try:
        found = _Repository.model_validate_json(receiver.get(address, LIMIT))
    except ValidationError as error:
        text = f"{host} does not tell in the hub's way what {weight.id} holds"
        raise MissingWeights(text, "try another mirror with HF_ENDPOINT, or without one") from error
    files = [WeightFile(f.name, f.lfs.sha256 if f.lfs else f.blob, f.size) for f in found.siblings if wanted(weight, f.name)]
    odd = next((file.name for file in files if not _inside(file.name)), None)
    if odd is not None:
        raise MissingWeights(f"{host} names a file of {weight.id} that cannot be kept: {odd!r}", "try another mirror")
    if not files:
        raise MissingWeights(f"{host} has none of the files of {weight.id} in {repository}", "update polydub")
    names = {file.name for file in files}
    if lacks := [pattern for pattern in weight.patterns if not GLOB.search(pattern) and pattern not in names]:
        raise MissingWeights(f"{repository} on {host} lacks {', '.join(lacks)} of {weight.id}", "update polydub")
    return replace(weight, revision=found.sha, files=tuple(files))


def _inside(name: str) -> bool:
    """Whether a name stays inside the model's folder, and is not that of a file of ours."""
    parts = PurePosixPath(name).parts
    plain = not re.search(r"[\\\x00-\x1f\x7f]", name) and ".." not in parts and not name.startswith("/")
    return plain and bool(parts) and name != MANIFEST and name == "/".join(parts)
