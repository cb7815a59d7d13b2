"""A model's folder of one's own, told from others by its content."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

END_BYTES = 2**20


def content(folder: Path, small: frozenset[str], large: frozenset[str]) -> str:
    """A digest: of files with one of the suffixes `small` all, of `large` ones their lengths and both ends. "" = no folder."""
    if not folder.is_dir():
        return ""
    digest = sha256()
    whole = 0
    for path in sorted(folder.iterdir()):
        if path.suffix not in small | large:
            continue
        length = path.stat().st_size
        whole += length
        digest.update(f"{path.name} {length}\0".encode())
        with path.open("rb") as file:
            for offset in (0,) if path.suffix in small else (0, max(0, length - END_BYTES)):
                file.seek(offset, os.SEEK_SET)
                digest.update(file.read(-1 if path.suffix in small else END_BYTES))
    return f"folder {digest.hexdigest()[:16]} of {whole}"
