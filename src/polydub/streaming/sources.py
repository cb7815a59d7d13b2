"""Where the film of a stream comes from: a file, a file that is still being written, or standard input."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from polydub import calls
from polydub.choosing import NONE
from polydub.dubbing import check_file
from polydub.errors import BadInput, BadSettings, NoAudioTrack
from polydub.media import feeding, ffmpeg
from polydub.media.feeding import Feed
from polydub.media.intake import unbroken_s
from polydub.stages import listen
from polydub.store import Store
from polydub.types import RATE_HZ, Artifact, Notice, Source, Track

if TYPE_CHECKING:
    from polydub.config import Settings

STDIN = Path("-")
ROTATED = 32  # pieces, after which a stream from a pipe forgets what it remembers
_HEAD = 1 << 16


@dataclass(frozen=True)
class Film:
    """What is streamed.

    Attributes: media: the file; None = standard input. came: what is read. key: the same film has the same one; "" = none has.
    layout: in which the sound is worked on. samples: how long it is; None while it grows. unbroken_s: longest part of the
    picture that cannot be cut, as far as the file tells.
    """

    media: Path | None
    source: Source
    track: Track
    came: Path | Feed
    key: str
    layout: str
    samples: int | None
    notices: tuple[Notice, ...] = ()
    unbroken_s: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Of the picture; (0, 0) without one."""
        picture = next(iter(self.source.of("video")), None)
        return (picture.width, picture.height) if picture else (0, 0)


def check(media: Path) -> None:
    """Raises: BadInput for what cannot be streamed."""
    if media != STDIN:
        check_file(media)
    elif sys.stdin.isatty():
        hint = "send one through a pipe: ffmpeg -i FILM -c copy -f mpegts - | polydub dub - --to es --stream"
        raise BadInput("standard input is a terminal, not a film", hint)


def opened(media: Path, wanted_track: int | None, folder: Path) -> Film:
    """Looks at what comes. Raises: BadInput, UnreadableMedia, NoAudioTrack, BadSettings."""
    growing = media != STDIN and feeding.grows(media)
    came: Path | Feed
    if media == STDIN:
        came = Feed(feeding.pipe(sys.stdin.fileno()))
    elif growing:
        came = Feed(feeding.tail(media))
    else:
        came = ffmpeg.safe_link(media, folder)
    source = came.look(folder) if isinstance(came, Feed) else ffmpeg.probe(Artifact("", "", 0), came)
    track = listen.audio_track(source, wanted_track)
    if not track.channels:
        raise NoAudioTrack("the sound of this film cannot be read", "give a film with sound")
    layout, notices = _layout(track)
    samples = None if isinstance(came, Feed) else round(source.duration * RATE_HZ)
    unbroken = 0.0 if isinstance(came, Feed) else unbroken_s(came, source)
    return Film(None if media == STDIN else media, source, track, came, _key(media), layout, samples, notices, unbroken)


def _key(media: Path) -> str:
    """Of a file by its place and its first bytes: the same while it grows and when it is complete."""
    if media == STDIN:
        return ""
    with media.open("rb") as file:
        head = file.read(_HEAD)
    return calls.digest([os.fsdecode(media.absolute()), media.stat().st_ino, sha256(head).hexdigest()])


def _layout(track: Track) -> tuple[str, tuple[Notice, ...]]:
    """At most 5.1: the packets of 7.1 cannot be cut into segments that stand alone."""
    from polydub.audio import layouts

    layout = layouts.carrier(track.layout, track.channels) if track.channels > 2 else ("mono", "stereo")[track.channels - 1]
    layout = {"7.1": "5.1", "5.1(side)": "5.1", "5.0(side)": "5.0"}.get(layout, layout)
    if track.channels > 2 and layout != track.layout.removesuffix("(side)"):
        what = track.layout or f"{track.channels} channels"
        return layout, (Notice("layout-changed", f"the sound of track {track.index} ({what}) becomes {layout}", "info"),)
    return layout, ()


class Stores:
    """Where work is remembered. Of a film in a file all of it; of one that comes through a pipe the last pieces only."""

    def __init__(self, kept: Path | None, folder: Path, store: Callable[[Path], Store] = Store) -> None:
        """`kept`: the folder of the store, which `store` opens; None = for a while in `folder` only."""
        self._kept = store(kept) if kept else None
        self._folder, self._open = folder, dict[int, Store]()

    def of(self, piece: int) -> Store:
        """For piece number `piece`."""
        if self._kept:
            return self._kept
        number = piece // ROTATED
        if number not in self._open:
            self._open[number] = Store(self._folder / f"store-{number}")
        return self._open[number]

    def done(self, piece: int) -> None:
        """Everything up to this piece is finished."""
        for number in [n for n in self._open if (n + 1) * ROTATED <= piece]:
            store = self._open.pop(number)
            store.close()
            shutil.rmtree(store.folder, ignore_errors=True)

    def close(self) -> None:
        """Give all of them back."""
        for store in ([self._kept] if self._kept else []) + list(self._open.values()):
            store.close()
        for store in self._open.values():
            shutil.rmtree(store.folder, ignore_errors=True)


def brought(value: object, store: Store, before: Store | None) -> None:
    """Sees to it that what `value` names is in `store`, taken from the one `before`."""
    if before is None or before is store:
        return
    for artifact in calls.artifacts(value):
        if not store.has(artifact):
            with store.scratch() as scratch:
                store.keep(Path(shutil.copyfile(before.path(artifact), scratch / f"brought{artifact.suffix}")))


def check_wishes(settings: Settings) -> None:
    """Raises: BadSettings for settings that a stream cannot have."""
    refused: dict[str, object] = {
        "--stretch-video": settings.stretch_video,
        "--burn-in": settings.burn_in != "none",
        "--lip-sync": settings.lip_sync != NONE,
        "--rttm": settings.rttm,
    }
    check_settings(settings.to, refused)


def check_settings(targets: tuple[str, ...], refused: dict[str, object]) -> None:
    """Raises: BadSettings for what a stream cannot have. `refused`: flag -> its value where it is set."""
    if not targets:
        raise BadSettings("nobody said which language to dub into", "say so with --to, for example --to es")
    if len(targets) > 1:
        raise BadSettings("a stream is in one language", "start one for each language")
    for flag, value in refused.items():
        if value:
            raise BadSettings(f"{flag} needs the whole film, which a stream does not have", f"leave out {flag} or --stream")
