"""The group of all commands; a command's module is imported when it is needed."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "dub": ("dub", "Dub videos into other languages."),
    "review": ("review", "See, change, lock and speak anew the lines of a dub."),
    "transcribe": ("transcribe", "Write down what is said in a file."),
    "diarize": ("transcribe", "Tell who speaks when in a file."),
    "separate": ("transcribe", "Part the sound of a file into dialogue and background."),
    "translate": ("translate", "Translate a subtitle file, or the subtitles inside a video."),
    "speak": ("speak", "Speak a text into a sound file."),
    "voices": ("voices", "Show and keep the voices of the library."),
    "characters": ("characters", "Remember the voices of characters across films."),
    "mix": ("mix", "Lay a finished speech track over a video's own sound."),
    "lip-sync": ("lip_sync", "Move the mouths in a video to a finished speech track."),
    "serve": ("serve", "Start the server: API, accounts, jobs, speech services."),
    "admin": ("admin", "Look after a server: tokens, accounts, backup."),
    "eval": ("evaluate", "Measure how good a dub is."),
    "worker": ("worker", "Work on the jobs of a server, on this host or another."),
    "sample": ("sample", "Make a small video to try things with."),
    "engines": ("engines", "Show the engines: what is there, what is missing, what mends it."),
    "doctor": ("doctor", "Check programs, engines, disk and settings."),
    "models": ("models", "List, pull, verify and remove model weights."),
    "config": ("settings", "Show the settings and where they come from."),
    "clean": ("settings", "Delete remembered work."),
    "completion": ("settings", "Print the shell completion script."),
}


class Lazy(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f"polydub.cli.{COMMANDS[cmd_name][0]}"), cmd_name.replace("-", "_"))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(package_name="polydub", prog_name="polydub")
def app() -> None:
    """polydub dubs videos into other languages on your own machine.

    \b
    Try it:        polydub sample && polydub dub sample/sample.mkv --to es --translation sample/sample.es.srt
    On a video:    polydub dub talk.mp4 --to es --transcript talk.en.srt
    """
