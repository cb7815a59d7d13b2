"""Flags of earlier dubbing command lines: those that mean what a flag of polydub means are read as that one.

docs/migrating.md has the same table for people; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polydub.errors import BadSettings

PAGE = "docs/migrating.md"
# Flag -> flag; the value stays as it is.
RENAMED: Mapping[str, str] = {
    "--src-lang": "--from",
    "--tgt-lang": "--to",
    "--mt-provider": "--mt",
    "--tts-provider": "--tts",
    "--lufs-target": "--lufs",
    "--lipsync": "--lip-sync",
    "--voice-memory": "--characters",
    "--voice-match-threshold": "--character-threshold",
    "--chunk-overlap": "--overlap-seconds",
    "--stream-output": "--stream",
    "--emotion-mode": "--expressive",
}
# Values that had another name, by the flag of today.
VALUES: Mapping[str, Mapping[str, str]] = {
    "--mt": {"groq": "openai,preset=groq", "ollama": "openai,preset=ollama"},
    "--subs-format": {"both": "srt,vtt"},
    "--expressive": {"tags": "text", "on": "auto"},
}
# Flags without a value -> what they mean; nothing where polydub always does so.
SWITCHES: Mapping[str, tuple[str, ...]] = {
    "--no-subs": ("--subs", "none"),
    "--batch": (),  # what follows is an input as any
    "--resume": (),
    "--timing-debug": ("--debug",),
    "--expressive-debug": ("--debug",),
    "--realtime": ("--stream", "segments"),
    "--stitch": ("--stream", "final"),
}
# Flags with on or off -> what each means; None: polydub cannot do without.
EITHER: Mapping[str, Mapping[str, tuple[str, ...] | None]] = {
    "--voice-auto-enroll": {"on": ("--auto-enrol",), "off": ("--no-auto-enrol",)},
    "--limiter": {"on": (), "off": None},
    "--mix": {"enhanced": (), "simple": None},
}
# Values of --stream, which may stand alone, whatever follows it.
STREAMED: Mapping[str, str] = {"on": "final", "off": "off", "segments": "segments", "final": "final"}
# What there is no more -> what there is instead, and what to type.
GONE: Mapping[str, tuple[str, str]] = {
    "--timing-fit": ("one programme places all lines of a film", "leave it out"),
    "--pacing": ("one programme places all lines of a film", "leave it out; --max-rate and --min-rate set its limits"),
    "--tolerance": ("one programme places all lines of a film", "leave it out"),
    "--wps": ("how fast a voice speaks is learnt from what it has said", "leave it out"),
    "--min-stretch": ("rates of speech are limited instead", "write --min-rate, 0.85 to 1"),
    "--max-stretch": ("rates of speech are limited instead", "write --max-rate, 1 to 1.3"),
    "--pacing-min-stretch": ("rates of speech are limited instead", "write --min-rate, 0.85 to 1"),
    "--pacing-max-stretch": ("rates of speech are limited instead", "write --max-rate, 1 to 1.3"),
    "--ducking-strength": ("the depth of ducking is told in dB", "write --ducking 12"),
    "--wav2lip-checkpoint": ("it is an option of the engine", "write --lip-sync wav2lip,checkpoint=FILE"),
    "--list-characters": ("characters have a command of their own", "polydub characters list"),
    "--rename-character": ("characters have a command of their own", "polydub characters rename OLD NEW"),
    "--set-character-voice-mode": ("characters have a command of their own", "polydub characters set NAME --mode MODE"),
    "--set-character-preset": ("characters have a command of their own", "polydub characters set NAME --preset VOICE"),
}


def translated(arguments: Sequence[str]) -> list[str]:
    """A command line in today's flags. Raises: BadSettings for a flag that has no equivalent, with what to do instead."""
    if not arguments or arguments[0] != "dub":
        return list(arguments)
    left, made = list(arguments), list[str]()
    while left:
        word = left.pop(0)
        if word == "--":
            return [*made, word, *left]
        flag, equals, value = word.partition("=")
        if flag in GONE:
            instead, hint = GONE[flag]
            raise BadSettings(f"there is no {flag}: {instead}", f"{hint} (see {PAGE})")
        if flag in SWITCHES:
            made += [*SWITCHES[flag], *([value] if equals else [])]
        elif flag == "--stream":
            told = value if equals else left.pop(0) if left and left[0] in STREAMED else "final"
            if told != "on" or not any(each.startswith("--stream-output") for each in arguments):
                made += [flag, STREAMED.get(told, told)]
        elif flag in EITHER or flag in RENAMED or flag in VALUES:
            if not equals and left and not left[0].startswith("-"):
                value = left.pop(0)
            made += _meaning(flag, value)
        else:
            made.append(word)
    return made


def _meaning(flag: str, value: str) -> Sequence[str]:
    """A flag and its value ("" = none was given) in today's words."""
    if flag in EITHER:
        meaning = EITHER[flag].get(value or "on")
        if meaning is None:
            raise BadSettings(f"there is no {flag} {value}", f"leave {flag} out (see {PAGE})")
        return meaning
    now = RENAMED.get(flag, flag)
    told = VALUES.get(now, {}).get(value, value)
    return (now, told) if told else (now,)
