"""Names that people gave their files: kept as facts, shown again, never used as names on a disk."""

from __future__ import annotations

import unicodedata
from typing import Literal
from urllib.parse import quote

LONGEST = 200  # characters


def shown(name: str) -> str:
    """A file's name without folders and control characters, at most 200 characters; "file" when nothing is left."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")).strip()
    if len(kept) > LONGEST:
        stem, dot, suffix = kept.rpartition(".")
        kept = f"{stem[: LONGEST - len(suffix) - 1]}{dot}{suffix}" if stem and len(suffix) < 12 else kept[:LONGEST]
    return kept if kept.strip(".") else "file"


def disposition(name: str, kind: Literal["attachment", "inline"] = "attachment") -> str:
    """The header Content-Disposition of RFC 6266 for a name in any language; both forms, for old and new readers."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%/;' else "_" for c in name) or "file"
    text = f'{kind}; filename="{plain}"'
    return text if plain == name else f"{text}; filename*=UTF-8''{quote(name, safe='')}"
