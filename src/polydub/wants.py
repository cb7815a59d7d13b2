"""What a user wants of a dub, as small frozen slices: a stage gets only what it needs, so that nothing else enters its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polydub.types import Artifact, Expression


@dataclass(frozen=True, slots=True)
class Texts:
    """Given texts. Languages are BCP-47 or None when nobody told; `own_tracks` allows the container's subtitles."""

    transcript: Artifact | None = None
    transcript_language: str | None = None
    translation: Artifact | None = None
    own_tracks: bool = True


@dataclass(frozen=True, slots=True)
class Guidance:
    """What a translator is told besides the lines: what the film is about, and a CSV file of terms."""

    summary: str = ""
    glossary: Artifact | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Limits of the fit; rates are natural duration / duration, times in seconds."""

    min_rate: float = 0.85
    max_rate: float = 1.30
    early_s: float = 0.3
    gap_s: float = 0.05
    comfortable_rate: float = 1.15


@dataclass(frozen=True, slots=True)
class Wording:
    """Which texts may become shorter by leaving out words that say nothing: none, translated ones, or given ones too."""

    shorten: Literal["off", "machine", "all"] = "machine"


@dataclass(frozen=True, slots=True)
class Picture:
    """What may happen to the picture. `max_slowdown`: largest factor by which it is slowed down, 1 = never.

    Attributes: burn_in: subtitles drawn into the picture. font: file to draw them with; None = one of the system's. lip_sync:
    mouths move to the dub. strict_plugins: what does that must be here.
    """

    max_slowdown: float = 1.0
    burn_in: Literal["none", "source", "target", "both"] = "none"
    font: Artifact | None = None
    lip_sync: bool = False
    strict_plugins: bool = False


@dataclass(frozen=True, slots=True)
class Mixing:
    """Levels: programme loudness, true-peak limit on the delivered file, ducking, bit rate per channel.

    Attributes: dialogue_gated: the target is that of the dialogue alone. ducking_db: depth under the speech; attack_s and
    release_s: seconds in which it comes and goes. perspective: the dub gets the source's room.
    keep_nonspeech: laughs, sobs and songs of the original stay.
    """

    target_lufs: float = -16.0
    true_peak_dbtp: float = -1.0
    dialogue_gated: bool = False
    ducking_db: float = 12.0
    attack_s: float = 0.12
    release_s: float = 0.35
    perspective: bool = False
    keep_nonspeech: bool = True
    kbit_per_channel: int = 96


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is written. `subs` says which languages go out, `subs_formats` as which files.

    Attributes: together: one film holds the dubs of all languages. bilingual: subtitles with both texts besides.
    word_times: VTT files tell when each word is said.
    """

    container: Literal["mkv", "mp4"] = "mkv"
    subs: Literal["none", "source", "target", "both"] = "both"
    subs_formats: tuple[str, ...] = ("srt",)
    together: bool = False
    bilingual: bool = False
    word_times: bool = False


@dataclass(frozen=True, slots=True)
class Listening:
    """How the film is listened to.

    Attributes: separate: dialogue is taken out of the sound; everywhere: also where nobody was heard to speak. diarize:
    speakers are told apart where the texts name none. speakers: fewest and most, None when nobody told. word_times: given
    texts are aligned to the sound. turns: an RTTM file that tells who speaks when; recording: the film's name in it.
    """

    separate: bool = True
    diarize: bool = True
    speakers: tuple[int, int] | None = None
    word_times: bool = False
    everywhere: bool = False
    turns: Artifact | None = None
    recording: str = ""


@dataclass(frozen=True, slots=True)
class Voicing:
    """Whose voices speak.

    Attributes: mode: how those get one who have none: cloned from what they say in this film, the engine's nearest, its
    next, or one for all. voices: names, by speaker; "*" = everybody's. recorded: recordings that a voice is cloned from, or
    matched to where the engine cannot clone, by the names in `voices`. characters: voices are remembered across films.
    given: recordings of speakers, by their name in any case. aliases: names in `voices` that are the user's own for a voice
    of an engine -> its name there. called: names in `voices` that are folders of a voice -> what it is called.
    """

    mode: Literal["match", "clone", "preset", "single"] = "match"
    voices: Mapping[str, str] = field(default_factory=dict[str, str])
    recorded: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict[str, "tuple[Artifact, ...]"])
    characters: bool = False
    given: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict[str, "tuple[Artifact, ...]"])
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    called: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Acting:
    """How lines are said.

    Attributes: mode: nothing special, by marks such as [angry] in the text, as the original says them, or both. strength:
    share of what was found that is taken over, 0 to 1. asked: by speaker, what a person wants; "*" = everybody.
    """

    mode: Literal["off", "text", "source", "auto"] = "off"
    strength: float = 0.5
    asked: Mapping[str, Expression] = field(default_factory=dict[str, Expression])


@dataclass(frozen=True, slots=True)
class Wanted:
    """One dub: one film, one target language. `source_language` "auto" = from the texts, the tracks or the sound."""

    target: str
    source_language: str = "auto"
    audio_track: int | None = None
    translate: bool = True
    texts: Texts = field(default_factory=Texts)
    guidance: Guidance = field(default_factory=Guidance)
    listening: Listening = field(default_factory=Listening)
    voicing: Voicing = field(default_factory=Voicing)
    acting: Acting = field(default_factory=Acting)
    check_speech: Literal["off", "basic", "recognise"] = "basic"
    wording: Wording = field(default_factory=Wording)
    timing: Timing = field(default_factory=Timing)
    picture: Picture = field(default_factory=Picture)
    mixing: Mixing = field(default_factory=Mixing)
    delivery: Delivery = field(default_factory=Delivery)
