"""Names of voices, asked about before lines get them: a name that nobody knows is refused at once, not when it is to speak."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.choosing import Chooser
from polydub.engines.pool import EnginePool, Tool
from polydub.errors import BadSettings, EngineFailed, Missing, UnknownEngine, UnsupportedLanguage
from polydub.project import memory_of
from polydub.review import rendering
from polydub.review.reading import Reviewed, state
from polydub.runner import Run
from polydub.store import Store
from polydub.types import Part, Voice
from polydub.voices import library, wishes

if TYPE_CHECKING:
    from polydub.config import Loaded


def check_voices(
    dub: Reviewed, names: Collection[str], pool: EnginePool, laid_over: Mapping[str, object] | None = None, most_mib: int = 0
) -> str:
    """Checks names of voices as the next render will understand them; why that could not be done, "" where it could.

    Recordings, the voice library and what this dub has spoken with are looked at first; only for another name the speech
    engine is opened, in `pool`, unless it says that it needs more than `most_mib` of memory (0 = however much).
    laid_over: settings over those that the dub was made with.
    Raises: BadSettings for a name that nobody knows, with those that are near; BadInput.
    """
    clones = "clone" in (rendering.features(dub) or ())  # the name of a clone is no voice's
    spoken = set[str]() if clones else {said.voice for said in state(dub).film.lines.values()}
    asked = sorted({name for name in names if name} - spoken)
    if not asked:
        return ""
    _, loaded = rendering.settings(dub, laid_over)
    kept = memory_of(dub.folder).get("engines", {}).get(dub.language, {})
    return unasked(asked, Asking(loaded, dub.language, pool, kept, most_mib))


@dataclass(frozen=True)
class Asking:
    """Who is asked for voices: what these settings choose, for a language.

    Attributes: kept: engines that `auto` took before. most_mib: an engine that says it needs more is not opened; 0 = any is.
    """

    loaded: Loaded
    language: str
    pool: EnginePool
    kept: Mapping[str, str] = field(default_factory=dict[str, str])
    most_mib: int = 0


def unasked(names: Sequence[str], asking: Asking) -> str:
    """Why nobody could be asked for the voices of these names; "" where all of them are there.

    Raises: BadSettings for a name that nobody knows, with those that are near; BadInput.
    """
    home = asking.loaded.settings.voices_home
    with ExitStack() as stack:
        store = Store(rendering.store_of(asking.loaded))
        stack.callback(store.close)
        recorded, abroad = wishes.recorded(names, home, store), wishes.meant(names, home)
        left = [name for name in names if name not in recorded]
        if not left:
            return ""
        run = stack.enter_context(Run(store, store.folder, pool=asking.pool))
        try:
            Chooser(asking.loaded, dict(asking.kept))(run, {"tts": asking.language})
            tool = run.tools["tts"]
            if 0 < asking.most_mib < max(tool.engine.info.memory_mib):
                return f"the speech engine is too large to be asked for {', '.join(left)} now"
            for name in left:
                voice = Voice("", abroad.get(name, name), asking.language)
                _ask(tool, asking.pool, Part("", asking.language, voice), home)
        except (Missing, UnknownEngine, EngineFailed, UnsupportedLanguage) as error:
            return f"nobody could ask the speech engine for {', '.join(left)}: {error.message}"
    return ""


def _ask(tool: Tool, pool: EnginePool, nothing: Part, home: Path) -> None:
    """Raises BadSettings for a voice that the engine has not: it is to say nothing in it."""
    name = nothing.voice.name
    with pool.borrow(tool, 1) as tts:
        if name in {voice.name for voice in tts.voices(nothing.language)}:
            return
        try:
            tts.synthesize(nothing)
        except BadSettings as error:
            raise _explained(error, name, library.read(home)) from error


def _explained(error: BadSettings, name: str, shelf: library.Library) -> BadSettings:
    """What an engine says of a voice that it does not have, with the names of the library that are near."""
    if not shelf.voices:
        return error
    near = shelf.nearest(name) or [voice.name for voice in shelf.voices[:8]]
    return BadSettings(f"{error.message}, nor has the voice library", f"{error.hint}; in the library: {', '.join(near)}")
