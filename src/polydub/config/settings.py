"""The settings of a dub: names, limits, meanings, flags. The command line and the reference page are made from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, field_validator
from pydantic_core.core_schema import ValidationInfo

from polydub.config import values
from polydub.config.server import ServerSettings

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

Targets = Annotated[tuple[str, ...], BeforeValidator(values.targets)]
EngineChoice = Annotated[str, Field(min_length=1), BeforeValidator(values.choice)]
EngineTables = Annotated[Mapping[EngineKind, Mapping[str, Mapping[str, JsonValue]]], BeforeValidator(values.engine_tables)]
Folder = Annotated[Path, BeforeValidator(values.folder)]


def _setting(default: Any, meaning: str, flag: str | None = None, **limits: Any) -> Any:
    """A field. `flag` "" = no flag, None = the name with dashes."""
    return Field(default, description=meaning, json_schema_extra={"flag": flag}, **limits)


class Settings(BaseModel):
    """Everything that can be set for a dub, checked. Frozen; unknown keys are errors.

    Build it with `polydub.config.load`, which also knows where each value came from, or directly with keyword arguments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    to: Targets = _setting((), "Languages to dub into: codes or names (es, es-MX, Spanish), several with commas.")
    source_language: Annotated[str, BeforeValidator(values.source_language)] = _setting(
        "auto", "Language spoken in the video: a code or a name; auto = find out.", "--from"
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
    speakers: Annotated[str, BeforeValidator(values.speakers)] = _setting(
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
    voice_mode: Literal["match", "clone", "preset", "single"] = _setting(
        "match",
        "How speakers get voices: match = the engine's nearest in pitch and timbre, clone = their own, from this film, "
        "preset = the engine's voices in turn, single = one for all.",
    )
    voice: Annotated[Mapping[str, str], BeforeValidator(values.pairs)] = _setting(
        {}, "Voice of a speaker, as SPEAKER=NAME, of the engine or the library; several with commas or by repeating it."
    )
    voice_ref_dir: Folder | None = _setting(
        None, "Folder with a recording of each speaker, named SPEAKER.wav, whose voice they get."
    )
    voices: Folder | None = _setting(None, "Folder of the voice library; unset = the user's data folder.")
    characters: Literal["on", "off"] = _setting(
        "off", "Whether the voices of characters are remembered across films, and found again."
    )
    character_book: Path | None = _setting(None, "File of the remembered characters; unset = in the user's data folder.")
    character_threshold: float = _setting(0.75, "Likeness above which a speaker is taken for a character, 0 to 1.", ge=0, le=1)
    character_margin: float = _setting(
        0.05, "How much likelier than the next one a character must be to be taken for, 0 to 1.", ge=0, le=1
    )
    auto_enrol: bool = _setting(True, "Remember speakers that are no known character, where characters are on.")
    expressive: Literal["off", "text", "source", "auto"] = _setting(
        "off",
        "How lines are said: off = as the voice does by itself, text = by marks such as [angry], source = like the original, "
        "auto = both.",
    )
    expressive_strength: float = _setting(0.5, "Share of the original's expression that is taken over, 0 to 1.", ge=0, le=1)
    rate: Annotated[Mapping[str, float], BeforeValidator(values.rates)] = _setting(
        {}, "How fast speakers speak, as a multiple of the voice's own rate: 1.1, or SPEAKER=1.1; 0.5 to 2."
    )
    pitch: Annotated[Mapping[str, float], BeforeValidator(values.pitches)] = _setting(
        {}, "How high speakers speak, in semitones against the voice itself: 2, or SPEAKER=-1.5; -12 to 12."
    )
    energy: Annotated[Mapping[str, float], BeforeValidator(values.energies)] = _setting(
        {}, "How loud speakers speak, in dB against the original's level: 3, or SPEAKER=-2; -12 to 12."
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
        None, "Programme loudness in LUFS instead of the profile's; unset = the profile's.", ge=-40, le=-8
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
    keep_nonspeech: bool = _setting(
        True, "Keep laughs, sobs and songs of the original, where its dialogue is taken out of the sound."
    )
    audio_bit_rate_kbps: int = _setting(
        96, "Bit rate of the delivered sound in kbit/s for each channel.", "--audio-bit-rate", ge=32, le=256
    )

    subs: Literal["none", "source", "target", "both"] = _setting("both", "Subtitles to put into the video and beside it.")
    subs_format: Annotated[tuple[SubtitleFormat, ...], BeforeValidator(values.formats)] = _setting(
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
    )
    strict_plugins: bool = _setting(
        False, "End with an error where a wished lip-sync engine is missing, before the work begins."
    )
    together: bool = _setting(False, "Write one film with the dubs of all languages instead of one film for each.")
    format: Literal["mkv", "mp4"] = _setting("mkv", "Container of the dubbed video.")
    stream: Literal["off", "segments", "final"] = _setting(
        "off",
        "Dub piece by piece, playable while it is made: segments = the pieces and their playlist, final = a whole film too.",
    )
    chunk_seconds: float = _setting(10.0, "Seconds of a piece where the film is streamed; it is cut at pauses.", ge=2, le=120)
    overlap_seconds: float = _setting(1.0, "Seconds on either side of a piece that are listened to as well.", ge=0, le=10)
    output: Folder = _setting("Output", "Folder for the results; each video gets a folder of its own name in it.")
    store: Folder | None = _setting(None, "Folder for remembered work; unset = .polydub in the output folder.")

    models: Folder | None = _setting(None, "Folder for model weights; unset = the user's data folder.")
    environments: Folder | None = _setting(None, "Folder for engines' own environments; unset = the user's data folder.")
    download: Literal["ask", "yes", "no"] = _setting(
        "ask", "Whether weights that would serve better may be downloaded; ask needs a terminal, elsewhere it means no."
    )
    offline: bool = _setting(False, "Forbid every use of the network.")
    strict: bool = _setting(False, "End with an error where there would be a notice.")
    jobs: int = _setting(1, "Films of a batch that are dubbed at once.", ge=1, le=64)
    threads: int = _setting(0, "Threads and engine processes that work at once; 0 = one for each core.", ge=0, le=1024)
    check_memory: bool = _setting(
        True, "Refuse to load an engine that needs more memory than is free, by its own estimate.", ""
    )
    idle_s: float = _setting(
        300.0, "Seconds after which an engine that nobody uses is unloaded, in a batch; 0 = never.", "", ge=0, le=86_400
    )
    strict_secrets: bool = _setting(False, "Refuse to start when a secret that the chosen engines need is not set.", "")
    server: ServerSettings = _setting(ServerSettings(), "What `polydub serve` and `polydub worker` are told.", "")
    engines: EngineTables = _setting(
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
        return _data() / "models"

    @property
    def voices_home(self) -> Path:
        """The folder of the voice library."""
        return self.voices if self.voices is not None else _data() / "voices"

    @property
    def characters_file(self) -> Path:
        """Where characters are remembered."""
        return self.character_book if self.character_book is not None else _data() / "characters.json"

    @property
    def environments_home(self) -> Path:
        """The folder of engines' own environments, absolute: what runs in them may run elsewhere."""
        if self.environments is not None:
            return self.environments.absolute()
        return _data() / "engines"

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


def _data() -> Path:
    """The user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("polydub", appauthor=False)
