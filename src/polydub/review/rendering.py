"""The film made again with what a person has set: exactly the request that made it, and the edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub import project
from polydub.dubbing import Ears, Outcome, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import BadInput
from polydub.request import Job, Request, recalled
from polydub.review.reading import Reviewed
from polydub.review.takes import export_takes
from polydub.store import Store

if TYPE_CHECKING:
    from polydub.config import Loaded


@dataclass(frozen=True)
class Render:
    """How a film is made again. media: where it is now, if it was moved. settings: laid over those it was made with."""

    media: Path | None = None
    settings: dict[str, object] = field(default_factory=dict[str, object])


def render(dub: Reviewed, pool: EnginePool, ears: Ears, how: Render | None = None) -> Outcome:
    """Makes the film again with the settings that made it, and the edits; the takes of edited lines go to `review/`.

    Raises what `dub_film` raises; BadInput where the project does not tell how it was made, or its film is gone.
    """
    how = how or Render()
    memory = project.memory_of(dub.folder)
    request, loaded = settings(dub, how.settings)
    place = store_of(loaded)
    media = _media(cast("dict[str, str]", memory.get("source", {})), how.media, place)
    translations = {tag: _text(file, media) for tag, file in request.translations.items()}
    job = Job(media, _text(request.transcript, media) if request.transcript else None, translations)
    outcomes = dub_film(job, loaded, pool, ears, dub.folder)
    outcome = next(one for one in outcomes if one.language == dub.language)
    store = Store(place)
    try:
        export_takes(dub, store)
    finally:
        store.close()
    return outcome


def settings(dub: Reviewed, laid_over: Mapping[str, object] | None = None) -> tuple[Request, Loaded]:
    """How a dub was made, and the settings with which it is made again. Raises BadInput where the project does not tell."""
    from polydub import config

    request = _request(dub, project.memory_of(dub.folder))
    local = {"to": list(request.together or (dub.language,)), "output": str(dub.folder.absolute().parent)}
    return request, config.load_from_process({**request.settings, **local, **(laid_over or {})})


def store_of(loaded: Loaded) -> Path:
    """Where the recordings are."""
    return loaded.settings.store or loaded.settings.output / ".polydub"


def features(dub: Reviewed) -> frozenset[str] | None:
    """What the speech engine of the last render can do; "seed" if it can say a text otherwise. None when that is not known."""
    from polydub.engines import registry
    from polydub.errors import UnknownEngine
    from polydub.review.reading import report

    name = next((str(one["name"]) for one in report(dub).get("engines", []) if one["kind"] == "tts"), "")
    try:
        info = registry.get("tts", name).info
        return info.features if info.deterministic else info.features | {"seed"}
    except UnknownEngine:
        return None


def _request(dub: Reviewed, memory: dict[str, Any]) -> Request:
    tree = memory.get("requests", {}).get(dub.language)
    if tree is None:
        raise BadInput(
            f"{dub.folder} was dubbed by an earlier polydub, which did not keep how",
            "dub the film once more with the same settings: nothing is spoken again",
        )
    return recalled(tree)


def _text(file: str, media: Path) -> Path:
    """A file of texts: where it was, else beside the film, with which it may have moved."""
    path = Path(file)
    beside = media.parent / path.name
    return beside if not path.is_file() and beside.is_file() else path


def _media(source: dict[str, str], given: Path | None, store: Path) -> Path:
    """The film. Raises BadInput where it is gone, or another one was given."""
    path = given or Path(source.get("path", ""))
    if not path.is_file():
        hint = "check the name" if given else "say where it is now with --media FILE"
        raise BadInput(f"the film {path} is not there", hint)
    if given is not None:
        kept = Store(store)
        try:
            same = kept.adopt(given).sha256 == source.get("sha256")
        finally:
            kept.close()
        if not same:
            raise BadInput(f"{given} is another film than the one that was dubbed", "give the file that was dubbed")
    return path
