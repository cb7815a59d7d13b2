"""The command line: `main` runs a command and turns errors into one clear sentence and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from polydub.cli.earlier import translated
from polydub.errors import BadInput, BadSettings, Cancelled, PolydubError


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `polydub` program; ends the process."""
    status = run(list(sys.argv[1:] if arguments is None else arguments))
    if status == Cancelled.exit_status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # do not wait for a thread that hangs; the store bears a kill at any moment
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Runs one command and returns the exit status (see polydub.errors)."""
    debug = "--debug" in arguments
    try:
        arguments = translated(arguments)
        debug = "--debug" in arguments
        return _command(arguments)
    except PolydubError as error:
        return fail(error, debug)
    except KeyboardInterrupt:
        return fail(Cancelled("stopped", "run the same command again to continue: finished work is kept"), debug=False)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the reader of our output has gone; say no more
        return 0
    except Exception as error:  # noqa: BLE001 - the last door: a fault of ours must not show a traceback unasked
        unexpected = PolydubError(
            f"unexpected {type(error).__name__}: {error}", "run it again with --debug and report what it shows"
        )
        unexpected.__cause__ = error
        return fail(unexpected, debug)


def _command(arguments: list[str]) -> int:
    """The command itself; what click refuses becomes BadSettings or BadInput."""
    import click

    from polydub.cli.app import app

    try:
        result = app.main(arguments, prog_name="polydub", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.FileError as error:
        raise BadInput(error.format_message().rstrip(".")) from error
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "polydub"
        raise BadSettings(error.format_message().rstrip("."), f"see: {command} --help") from error


def fail(error: PolydubError, debug: bool) -> int:
    """Says what happened on stderr, and what to do; with `debug` also where."""
    from polydub.cli.output import say_error

    say_error(error)
    if debug:
        import traceback

        sys.stderr.write("".join(traceback.format_exception(error)))
    return error.exit_status
