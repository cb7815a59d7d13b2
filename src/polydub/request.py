"""A request for a dub: the film, the texts, the settings as the stages see them; and the same, remembered for the next time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from polydub import languages
from polydub.choosing import NONE
from polydub.errors import BadInput
from polydub.store import Store
from polydub.types import PLAIN, Artifact, Expression
from polydub.wants import Acting, Delivery, Guidance, Listening, Mixing, Picture, Texts, Timing, Voicing, Wanted, Wording

if TYPE_CHECKING:
    from polydub.config import Loaded, Settings


@dataclass(frozen=True)
class Job:
    """One film to dub. `translations` maps a BCP-47 target to its file; "" is for the only target."""

    media: Path
    transcript: Path | None = None
    translations: Mapping[str, Path] = field(default_factory=dict[str, Path])


def check_file(path: Path) -> None:
    """Raises BadInput unless `path` is a file that can be read."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadInput(f"{path} is a folder", "give the files in it, or a pattern such as 'folder/*.mp4'")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer, a device may never end
            raise BadInput(f"{path} is not a regular file", "copy what it holds to a file first")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}", "check the name; put names with spaces or * in quotes") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}", "check its permissions") from error


def wanted(target: str, job: Job, loaded: Loaded, store: Store, voices: Iterable[str] = ()) -> Wanted:
    """The slices of the settings that the stages see. `voices`: names that a person set besides, of speakers or lines."""
    s = loaded.settings
    transcript, translation = job.transcript, job.translations.get(target, job.translations.get(""))
    for file in (transcript, translation):
        if file is not None:
            check_file(file)
    texts = Texts(
        store.adopt(transcript) if transcript else None,
        language_of_name(transcript) if transcript else None,
        store.adopt(translation) if translation else None,
    )
    return Wanted(
        target,
        s.source_language,
        s.audio_track,
        not s.no_translate,
        texts,
        guidance_of(s, store),
        replace(listening_of(s), turns=_adopted(s.rttm, "RTTM file", store), recording=job.media.stem),
        voicing_of(s, store, voices),
        Acting(s.expressive, s.expressive_strength, asked_of(s)),
        s.check_speech,
        Wording(s.shorten),
        Timing(s.min_rate, s.max_rate, s.early_s, s.gap_s, s.comfortable_rate),
        picture_of(s, store),
        mixing_of(s),
        Delivery(s.format, s.subs, tuple(s.subs_format), s.together, s.bilingual, s.word_times),
    )


def voicing_of(settings: Settings, store: Store, voices: Iterable[str] = ()) -> Voicing:
    """Whose voices the settings want. Raises: BadInput, BadSettings for a recording or a name that cannot be used."""
    s, names = settings, [*settings.voice.values(), *voices]
    if not names and s.voice_ref_dir is None:
        return Voicing(s.voice_mode, {}, characters=s.characters == "on")
    from polydub.voices import wishes

    recorded, given = wishes.recorded(names, s.voices_home, store), wishes.given(s.voice_ref_dir, store)
    aliases, called = wishes.meant(names, s.voices_home), wishes.called(names)
    return Voicing(s.voice_mode, dict(s.voice), recorded, s.characters == "on", given, aliases, called)


def asked_of(settings: Settings) -> dict[str, Expression]:
    """How the settings want speakers to speak, by speaker; "*" = everybody else."""
    s = settings
    asked: dict[str, Expression] = {}
    for name in sorted({*s.rate, *s.pitch, *s.energy}):
        rate, pitch, energy = (
            found.get(name, found.get("*", plain)) for found, plain in ((s.rate, 1.0), (s.pitch, 0.0), (s.energy, 0.0))
        )
        asked[name] = replace(PLAIN, rate=rate, pitch=pitch, energy_db=energy)
    return asked


def guidance_of(settings: Settings, store: Store) -> Guidance:
    """What the settings tell a translator. Raises BadInput where a file cannot be read."""
    summary, glossary = settings.summary, settings.glossary
    if summary.startswith("@"):
        file = Path(summary[1:]).expanduser()
        check_file(file)
        try:
            summary = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadInput(f"{file} is not UTF-8 text", "convert it to UTF-8 first") from error
    if glossary is not None:
        check_file(glossary)
    return Guidance(" ".join(summary.split()), store.adopt(glossary) if glossary else None)


def _adopted(file: Path | None, what: str, store: Store) -> Artifact | None:
    """A file that a setting names. Raises: BadInput."""
    if file is None:
        return None
    if not file.is_file():
        raise BadInput(f"there is no {what} {file}", "check the name")
    return store.adopt(file)


def picture_of(settings: Settings, store: Store) -> Picture:
    """What the settings let happen to the picture."""
    s = settings
    slowest = s.max_slowdown if s.stretch_video else 1.0
    return Picture(slowest, s.burn_in, _adopted(s.font, "font file", store), s.lip_sync != NONE, s.strict_plugins)


def mixing_of(settings: Settings) -> Mixing:
    """How the settings want the film to sound."""
    s = settings
    return Mixing(
        s.target.lufs,
        s.target.true_peak_dbtp,
        s.target.dialogue_gated,
        s.ducking_db,
        s.ducking_attack_s,
        s.ducking_release_s,
        s.perspective,
        keep_nonspeech=s.keep_nonspeech,
        kbit_per_channel=s.audio_bit_rate_kbps,
    )


def listening_of(settings: Settings) -> Listening:
    """How the settings want the film to be listened to."""
    return Listening(
        settings.separation != NONE,
        settings.diarization != NONE,
        settings.speaker_limits,
        settings.word_times,
        settings.separate_where == "everywhere",
    )


def language_of_name(path: Path) -> str | None:
    """The language in a name such as `talk.en.srt`; None when there is none."""
    parts = path.name.split(".")
    tag = languages.or_und(parts[-2]) if len(parts) > 2 else "und"
    return None if tag == "und" else tag


# the request remembered

# Settings of the machine rather than of the dub: what they are where it is rendered again counts, unless they were typed.
_LOCAL = {
    *("to", "output", "store", "models", "environments", "threads", "jobs", "idle_s", "check_memory", "strict_secrets"),
    *("download", "stream", "chunk_seconds", "overlap_seconds", "strict", "server"),
}


class Request(BaseModel):
    """What made a dub. translations: files by language; settings: all that were set, secrets apart; paths are absolute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transcript: str | None = None
    translations: Mapping[str, str] = {}
    settings: Mapping[str, Any] = {}
    together: tuple[str, ...] = ()


def remembered(job: Job, loaded: Loaded) -> dict[str, Any]:
    """The request, for `project.json`."""
    settings = loaded.settings
    names = {key.partition(".")[0] for key, origin in loaded.origins.items() if origin != "default"} - _LOCAL
    values = settings.model_dump(mode="json", include=names) | _paths(settings, names)
    if settings.store is not None:
        values["store"] = _absolute(settings.store)
    request = Request(
        transcript=_absolute(job.transcript) if job.transcript else None,
        translations={tag: _absolute(path) for tag, path in job.translations.items()},
        settings=values,
        together=settings.to if settings.together else (),
    )
    return request.model_dump(mode="json", exclude_defaults=True)


def recalled(tree: object) -> Request:
    """The request as it was remembered. Raises BadInput when that cannot be used."""
    try:
        return Request.model_validate(tree)
    except ValidationError as error:
        raise BadInput("project.json does not tell how the film was dubbed", "dub it once more with polydub dub") from error


def _paths(settings: Settings, names: set[str]) -> dict[str, str]:
    """Settings that name files, wherever they are read from next time."""
    found = {name: _absolute(value) for name in names if isinstance(value := getattr(settings, name), Path)}
    if "summary" in names and settings.summary.startswith("@"):
        found["summary"] = "@" + _absolute(Path(settings.summary[1:]).expanduser())
    return found


def _absolute(path: Path) -> str:
    return os.fsdecode(path.absolute())
