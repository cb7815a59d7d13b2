"""The command line: `main` runs a command and turns errors into one clear sentence and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from polydub.errors import BadInput, BadSettings, Cancelled, PolydubError


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `polydub` program; ends the process."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Runs one command and returns the exit status (see polydub.errors)."""
    import click

    from polydub.cli.app import app

    debug = "--debug" in arguments
    try:
        result = app.main(arguments, prog_name="polydub", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except PolydubError as error:
        return fail(error, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "polydub"
        return fail(BadSettings(error.format_message().rstrip("."), f"see: {command} --help"), debug)
    except click.FileError as error:
        return fail(BadInput(error.format_message().rstrip(".")), debug)
    except (KeyboardInterrupt, click.Abort):
        return fail(Cancelled("stopped", "run the same command again to continue: finished work is kept"), debug=False)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the reader of our output has gone; say no more
        return 0
    except Exception as error:  # noqa: BLE001 - the last door: a fault of ours must not show a traceback unasked
        name = type(error).__name__
        hint = "run it again with --debug and report what it shows"
        return fail(PolydubError(f"unexpected {name}: {error}", hint), debug, cause=error)


def fail(error: PolydubError, debug: bool, cause: BaseException | None = None) -> int:
    """Says what happened on stderr, and what to do; with `debug` also where."""
    from polydub.cli.output import say_error

    say_error(error)
    if debug:
        import traceback

        shown = cause or error
        sys.stderr.write("".join(traceback.format_exception(shown)))
    return error.exit_status
