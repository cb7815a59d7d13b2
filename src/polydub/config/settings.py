"""The settings of a dub: names, limits, meanings, flags. The command line and the reference page are made from this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from polydub import languages
from polydub.config.names import engine_key, is_secret, secret_hint
from polydub.errors import UnsupportedLanguage

EngineKind = Literal["asr", "diarization", "separation", "mt", "tts", "lipsync"]
SubtitleFormat = Literal["srt", "vtt", "ass"]
# The setting that chooses the engine of each kind; the other kinds are chosen by polydub itself.
CHOICES: Mapping[str, str] = MappingProxyType({kind: kind for kind in get_args(EngineKind)} | {"lipsync": "lip_sync"})


@dataclass(frozen=True, slots=True)
class Loudness:
    """What a programme must measure: integrated loudness in LUFS, highest true peak in dBTP.

    Attributes: dialogue_gated: `lufs` is that of the dialogue alone, measured without a gate (ITU-R BS.1770-1).
    """

    lufs: float
    true_peak_dbtp: float
    dialogue_gated: bool = False


# Sources: EBU R 128; Netflix Sound Mix Specifications; YouTube's and Apple Podcasts' normalisation targets.
LOUDNESS: Mapping[str, Loudness] = MappingProxyType(
    {
        "streaming": Loudness(-16.0, -1.0),
        "youtube": Loudness(-14.0, -1.0),
        "ebu": Loudness(-23.0, -1.0),
        "netflix": Loudness(-27.0, -2.0, dialogue_gated=True),
        "podcast": Loudness(-16.0, -1.0),
    }
)
MAX_RATE = 1.30  # hard limit of the specification: above it speech sounds hurried


def words(value: object) -> tuple[str, ...] | None:
    """A list however it was given, each word once: "es, fr" and ["es", "fr,es"] are ("es", "fr"). None: no list of texts."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)):
        return None
    parts = list(cast("Iterable[object]", given))
    texts = [part for part in parts if isinstance(part, str)]
    cleaned = (word.strip() for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(word for word in cleaned if word)) if len(texts) == len(parts) else None


def pairs(value: object) -> object:
    """SPEAKER=NAME pairs however they were given, as a mapping; what is no list of texts stays. Raises: ValueError."""
    several = words(value)
    if several is None:
        return value
    found: dict[str, str] = {}
    for part in several:
        speaker, equals, name = (side.strip() for side in part.partition("="))
        if not (speaker and equals and name):
            raise ValueError("write SPEAKER=NAME")
        found[speaker] = name
    return found


def _formats(value: object) -> object:
    several = words(value)
    return value if several is None else several


def _language(text: str) -> str:
    try:
        tag = languages.parse(text)
    except UnsupportedLanguage as error:
        raise PydanticCustomError("language", "{text}", {"text": error.message, "hint": error.hint}) from error
    if languages.base(tag) not in languages.tags():
        what = {"text": f"{tag} stands for no one language", "hint": "write a code such as es or es-MX"}
        raise PydanticCustomError("language", "{text}", what)
    return tag


def _source_language(value: object) -> object:
    return value if not isinstance(value, str) or value.strip().lower() == "auto" else _language(value)


def _targets(value: object) -> object:
    several = words(value)
    return value if several is None else tuple(dict.fromkeys(_language(word) for word in several))


def _choice(value: object) -> object:
    """Keeps secrets out of command lines, job files and logs; the rest of the syntax is the engine registry's."""
    if isinstance(value, str):
        for part in value.split(",")[1:]:
            key = part.partition("=")[0].strip()
            if is_secret(key):
                name = value.split(",")[0].split(":")[0]
                raise PydanticCustomError("secret", "a secret ({key}) in it", {"key": key, "hint": secret_hint(name)})
    return value


def _speakers(value: object) -> object:
    """A number of speakers however it was given, as "auto", "2" or "2-4". Raises: ValueError."""
    text = str(value).replace(" ", "").lower() if isinstance(value, (str, int)) else ""
    low, _, high = text.partition("-")
    if text != "auto" and not (low.isdecimal() and (high or low).isdecimal() and 1 <= int(low) <= int(high or low) <= 100):
        raise ValueError("write a number, a range such as 2-4, or auto")
    return text


def _folder(value: object) -> object:
    if value == "":
        raise ValueError("it must not be empty")
    return Path(value).expanduser() if isinstance(value, str) else value


def _engine_tables(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    tables = cast("Mapping[object, object]", value)
    return {
        kind: {engine_key(str(name)): options for name, options in cast("Mapping[object, object]", table).items()}
        if isinstance(table, Mapping)
        else table
        for kind, table in tables.items()
    }


Targets = Annotated[tuple[str, ...], BeforeValidator(_targets)]
EngineChoice = Annotated[str, Field(min_length=1), BeforeValidator(_choice)]
Folder = Annotated[Path, BeforeValidator(_folder)]


def _setting(default: Any, meaning: str, flag: str | None = None, *, old: str = "", **limits: Any) -> Any:
    """A field. `flag` "" = no flag, None = the name with dashes; `old`: flag of earlier tools that means the same."""
    return Field(default, description=meaning, json_schema_extra={"flag": flag, "old": old}, **limits)


class Settings(BaseModel):
    """Everything that can be set for a dub, checked. Frozen; unknown keys are errors.

    Build it with `polydub.config.load`, which also knows where each value came from, or directly with keyword arguments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    to: Targets = _setting(
        (), "Languages to dub into: codes or names (es, es-MX, Spanish), several with commas.", old="--tgt-lang"
    )
    source_language: Annotated[str, BeforeValidator(_source_language)] = _setting(
        "auto", "Language spoken in the video: a code or a name; auto = find out.", "--from", old="--src-lang"
    )
    mode: Literal["low", "medium", "high"] = _setting(
        "medium", "Quality that auto aims at: low is fastest, high is best; it decides on the size of recognition models."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting(
        "auto",
        "Where engines run that can use an accelerator: auto = on one where there is one, cuda = on an NVIDIA card.",
    )
    asr: EngineChoice = _setting("auto", "Recognition engine, as name[:model][,option=value...].")
    asr_model: str | None = _setting(
        None, "Model of the recognition engine, such as small or large-v3; unset = what mode means.", min_length=1
    )
    diarization: EngineChoice = _setting(
        "auto",
        "Who speaks when: embedded[:ENCODER], sherpa-onnx[:FOLDER], pyannote[:MODEL], none = one speaker, auto = the best.",
    )
    speakers: Annotated[str, BeforeValidator(_speakers)] = _setting(
        "auto", "How many speakers there are at most: a number, a range such as 2-4, or auto."
    )
    rttm: Path | None = _setting(None, "RTTM file that tells who speaks when, instead of diarization.")
    separation: EngineChoice = _setting(
        "auto", "Separation engine, as name[,option=value...]; none = the original is lowered under the speech."
    )
    separate_where: Literal["speech", "everywhere"] = _setting(
        "speech", "Where dialogue is looked for: where speech is detected, or everywhere, as in songs (slower)."
    )
    mt: EngineChoice = _setting("auto", "Translation engine, as name[:model][,option=value...].")
    tts: EngineChoice = _setting("auto", "Speech engine, as name[:model][,option=value...].")
    voice_mode: Literal["match", "preset", "single"] = _setting(
        "match",
        "How speakers get voices: match = the engine's nearest in pitch and timbre, preset = its voices in turn, single = one.",
    )
    voice: Annotated[Mapping[str, str], BeforeValidator(pairs)] = _setting(
        {}, "Voice of a speaker, as SPEAKER=NAME; several with commas or by repeating it."
    )
    check_speech: Literal["off", "basic", "recognise"] = _setting(
        "basic",
        "How takes are checked: by their sound and length, by recognition too, or off; bad ones are spoken again.",
    )
    audio_track: int | None = _setting(
        None, "Audio track to dub: 1 is the first audio track of the file; unset = the default one.", ge=1, le=1000
    )
    glossary: Path | None = _setting(
        None, "CSV file of terms: term, translation, note; a term without a translation is not to be translated."
    )
    summary: str = _setting("", "What the film is about, for language models that translate; @FILE reads it from a file.")
    no_translate: bool = _setting(False, "Speak the source text in its own language instead of translating it.")

    max_rate: float = _setting(MAX_RATE, "Fastest speaking rate, as a multiple of the voice's natural rate.", ge=1, le=MAX_RATE)
    min_rate: float = _setting(0.85, "Slowest speaking rate, as a multiple of the voice's natural rate.", ge=0.85, le=1)
    comfortable_rate: float = _setting(
        1.15,
        "Rate above which a line says something shorter, if it has another wording; never above max_rate.",
        ge=1,
        le=MAX_RATE,
    )
    early_s: float = _setting(0.3, "Seconds that a line may start before the original one.", "--early", ge=0, le=0.3)
    gap_s: float = _setting(0.05, "Seconds of silence kept between two lines.", "--gap", ge=0, le=2)
    shorten: Literal["off", "machine", "all"] = _setting(
        "machine",
        "Which lines that are too long may lose words that say little: off = none, machine = translated ones, all = given too.",
    )
    stretch_video: bool = _setting(False, "Slow the picture down where the speech cannot fit otherwise.")
    max_slowdown: float = _setting(1.25, "Largest factor by which the picture is slowed down with stretch_video.", ge=1, le=2)

    loudness: Literal["streaming", "youtube", "ebu", "netflix", "podcast"] = _setting(
        "streaming", "Delivery profile that sets programme loudness and true peak."
    )
    lufs: float | None = _setting(
        None, "Programme loudness in LUFS instead of the profile's; unset = the profile's.", old="--lufs-target", ge=-40, le=-8
    )
    ducking_db: float = _setting(
        12.0,
        "Depth in dB by which the original is lowered under the speech where its voices, or what is left of them, are heard.",
        "--ducking",
        ge=0,
        le=60,
    )
    ducking_attack_s: float = _setting(
        0.12, "Seconds in which the original sound goes down before the speech.", "--ducking-attack", ge=0.01, le=2
    )
    ducking_release_s: float = _setting(
        0.35, "Seconds in which the original sound comes back after the speech.", "--ducking-release", ge=0.01, le=5
    )
    perspective: bool = _setting(False, "Give the dub the sound of the original's room.")
    audio_bit_rate_kbps: int = _setting(
        96, "Bit rate of the delivered sound in kbit/s for each channel.", "--audio-bit-rate", ge=32, le=256
    )

    subs: Literal["none", "source", "target", "both"] = _setting("both", "Subtitles to put into the video and beside it.")
    subs_format: Annotated[tuple[SubtitleFormat, ...], BeforeValidator(_formats)] = _setting(
        ("srt",), "Formats of the subtitle files, several with commas.", min_length=1
    )
    bilingual: bool = _setting(False, "Also write subtitles that show both texts.")
    word_times: bool = _setting(False, "Tell in VTT subtitles of the original when each word is said.")
    burn_in: Literal["none", "source", "target", "both"] = _setting(
        "none", "Subtitles to draw into the picture, which is encoded anew for it."
    )
    font: Path | None = _setting(None, "Font file to draw subtitles with; unset = one of the system's that has the script.")
    lip_sync: EngineChoice = _setting(
        "none",
        "Lip-sync engine, as name[,option=value...]: latentsync, musetalk, wav2lip (a checkout of yours); none = lips stay.",
        old="--lipsync",
    )
    strict_plugins: bool = _setting(
        False, "End with an error where a wished lip-sync engine is missing, before the work begins."
    )
    together: bool = _setting(False, "Write one film with the dubs of all languages instead of one film for each.")
    format: Literal["mkv", "mp4"] = _setting("mkv", "Container of the dubbed video.")
    output: Folder = _setting("Output", "Folder for the results; each video gets a folder of its own name in it.")
    store: Folder | None = _setting(None, "Folder for remembered work; unset = .polydub in the output folder.")

    models: Folder | None = _setting(None, "Folder for model weights; unset = the user's data folder.")
    environments: Folder | None = _setting(None, "Folder for engines' own environments; unset = the user's data folder.")
    download: Literal["ask", "yes", "no"] = _setting(
        "ask", "Whether weights that would serve better may be downloaded; ask needs a terminal, elsewhere it means no."
    )
    offline: bool = _setting(False, "Forbid every use of the network.")
    strict: bool = _setting(False, "End with an error where there would be a notice.")
    jobs: int = _setting(0, "Threads and engine processes that work at once; 0 = one for each core.", ge=0, le=1024)
    check_memory: bool = _setting(
        True, "Refuse to load an engine that needs more memory than is free, by its own estimate.", ""
    )
    idle_s: float = _setting(
        300.0, "Seconds after which an engine that nobody uses is unloaded, in a batch; 0 = never.", "", ge=0, le=86_400
    )
    strict_secrets: bool = _setting(False, "Refuse to start when a secret that the chosen engines need is not set.", "")
    engines: Annotated[Mapping[EngineKind, Mapping[str, Mapping[str, JsonValue]]], BeforeValidator(_engine_tables)] = _setting(
        {}, "Options of engines by kind and name, such as a table [engines.mt.openai] with base_url.", ""
    )

    @field_validator("comfortable_rate")
    @classmethod
    def _never_above_the_limit(cls, value: float, info: ValidationInfo) -> float:
        return min(value, info.data.get("max_rate", value))

    @property
    def models_home(self) -> Path:
        """The folder of model weights."""
        if self.models is not None:
            return self.models
        from platformdirs import user_data_path

        return user_data_path("polydub", appauthor=False) / "models"

    @property
    def environments_home(self) -> Path:
        """The folder of engines' own environments, absolute: what runs in them may run elsewhere."""
        if self.environments is not None:
            return self.environments.absolute()
        from platformdirs import user_data_path

        return user_data_path("polydub", appauthor=False) / "engines"

    @property
    def speaker_limits(self) -> tuple[int, int] | None:
        """Fewest and most speakers; None when nobody told."""
        if self.speakers == "auto":
            return None
        low, _, high = self.speakers.partition("-")
        return int(low), int(high or low)

    @property
    def target(self) -> Loudness:
        """What the programme must measure: the profile's values with `lufs` laid over them."""
        profile = LOUDNESS[self.loudness]
        return profile if self.lufs is None else replace(profile, lufs=self.lufs)


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting as the command line and the reference page show it.

    Attributes: key: name of the setting. name: the flag, "" when there is none. negative: the flag that switches it off
    again, switches only. hidden: flags of earlier tools that mean the same. choices: of a choice or of a list's words.
    limits: "1 to 1.3", "" when free. help: the meaning, with units.
    """

    key: str
    name: str
    negative: str
    hidden: tuple[str, ...]
    kind: Literal["choice", "integer", "list", "number", "pairs", "path", "switch", "tables", "text"]
    choices: tuple[str, ...]
    limits: str
    default: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"POLYDUB_{self.key.upper()}"


def flags() -> tuple[Flag, ...]:
    """Every setting in the order of the reference page."""
    return tuple(_flag(key, field) for key, field in Settings.model_fields.items())


def _flag(key: str, field: FieldInfo) -> Flag:
    extra = cast("dict[str, Any]", field.json_schema_extra)
    name = "--" + key.replace("_", "-") if extra["flag"] is None else extra["flag"]
    kind, choices = _kind(field.annotation)
    negative = "" if kind != "switch" or not name else f"--{name[5:]}" if name.startswith("--no-") else f"--no-{name[2:]}"
    bounds = {side: getattr(m, side) for m in field.metadata for side in ("ge", "le") if hasattr(m, side)}
    limits = f"{bounds['ge']:g} to {bounds['le']:g}" if len(bounds) == 2 else ""
    hidden = (extra["old"],) if extra["old"] else ()
    return Flag(key, name, negative, hidden, kind, choices, limits, field.default, field.description or "")


def _kind(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "choice", inside
    if origin is tuple:
        return "list", get_args(inside[0])
    if origin is not None and inside[-1] is type(None):  # an optional value
        return _kind(inside[0])
    if origin is Annotated:
        return _kind(inside[0])
    if origin is not None:
        return ("pairs" if inside[-1] is str else "tables"), ()
    return {bool: "switch", int: "integer", float: "number", Path: "path"}.get(annotation, "text"), ()
