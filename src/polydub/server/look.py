"""What an uploaded file is, found out in a process of its own: a decoder that falls over takes nothing with it.

`inspect` starts it; `python -m polydub.server.look FILE NAME` is what it starts: it writes one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polydub.errors import PolydubError, UnreadableMedia

SECONDS, MEMORY, CPU_SECONDS = 60.0, 4 << 30, 60
MOST_TEXT = 20 << 20  # bytes of subtitles, scripts and the like
# Files that go with a film. What is in them is read, and refused, where it is used.
TEXTS: Mapping[str, str] = {
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt",
    ".ass": "text/x-ssa",
    ".ssa": "text/x-ssa",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".toml": "application/toml",
    ".rttm": "text/plain",
}
_PLAYLISTS = ("#EXTM3U", "ffconcat", "[playlist]", "[Reference]", "<asx", "<ASX", "<?xml", "v=0")


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is. Attributes: media: its type, such as "video/mp4". seconds: of sound or film, 0.0 for a text."""

    media: str
    seconds: float = 0.0


async def inspect(file: Path, name: str) -> Found:
    """What `file`, called `name` by the one who sent it, is: media that can be opened, or a text that goes with it.

    Raises: UnreadableMedia for anything else, for playlists and scripts posing as media, and for what takes longer than
    a minute or more than 4 GB to open.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(file), name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await child.communicate()
    except TimeoutError:
        said = b""
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await asyncio.shield(child.wait())
    try:
        facts: dict[str, Any] = json.loads(said)
    except ValueError:
        raise UnreadableMedia("the file cannot be opened as media", "check that it plays in a video player") from None
    if "message" in facts:
        raise UnreadableMedia(facts["message"], facts["hint"])
    return Found(facts["media"], facts["seconds"])


def look(file: Path, name: str) -> Found:
    """As `inspect`, in this process. Raises: UnreadableMedia."""
    with file.open("rb") as stream:
        head = stream.read(4096)
    media = TEXTS.get(Path(name).suffix.lower(), "")
    if media and b"\0" not in head and not head.startswith(b"\x1a\x45\xdf\xa3"):
        return Found(_text(file, media))
    return _media(file, name, head)


def _text(file: Path, media: str) -> str:
    if file.stat().st_size > MOST_TEXT:
        raise UnreadableMedia(
            f"a text of more than {MOST_TEXT >> 20} MB is not taken", "send the film itself, or a shorter text"
        )
    text = file.read_bytes()
    if b"\0" in text:
        raise UnreadableMedia("the file is named like a text but is none", "save it as UTF-8")
    return media


def _media(file: Path, name: str, head: bytes) -> Found:
    from polydub.media.ffmpeg import probe
    from polydub.types import Artifact

    if head.lstrip().decode("latin-1").startswith(_PLAYLISTS):
        raise UnreadableMedia("this is a list that names other files, not media", "send the film or sound file itself")
    source = probe(Artifact("0" * 64, "", file.stat().st_size), file)
    pictures = any(track.kind == "video" for track in source.tracks)
    return Found(_type(head, name, pictures), source.duration)


def _type(head: bytes, name: str, pictures: bool) -> str:
    """The media type that the first bytes show; of the right half where they leave it open (MP4, WebM, Ogg)."""
    import puremagic

    kind = "video" if pictures else "audio"
    with suppress(puremagic.PureError, ValueError):
        matches: list[Any] = puremagic.magic_string(head, name)  # pyright: ignore[reportUnknownMemberType]
        for match in matches:
            family, _, rest = str(match.mime_type).partition("/")
            if family in ("video", "audio") and rest:
                return f"{kind}/{rest}"
    return f"{kind}/{_container(head)}"


def _container(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head[:64] else "x-matroska"
    return "x-unknown"


def _limit() -> None:
    import resource

    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def main() -> None:
    """The process of its own."""
    _limit()
    try:
        found = look(Path(sys.argv[1]), sys.argv[2])
        facts: dict[str, Any] = {"media": found.media, "seconds": found.seconds}
    except PolydubError as error:
        facts = {"message": error.message, "hint": error.hint}
    sys.stdout.write(json.dumps(facts))


if __name__ == "__main__":
    main()
