"""`polydub serve`."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from polydub.cli import output
from polydub.cli.options import common
from polydub.errors import MissingExtra

ADDRESS = "address"  # file of the data folder: where its server was reached last

data_option = click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of the server; ./polydub-data when it is left out."
)


@click.command()
@click.option("--host", help="Address to listen at: 127.0.0.1 = this machine alone, 0.0.0.0 = others too.")
@click.option("--port", type=int, help="Port to listen at; 8000 when it is left out.")
@data_option
@click.option("--only", type=click.Choice(["all", "speech", "separation"]), help="What is served.")
@common
def serve(**given: Any) -> int:
    """Start the server: API, accounts, jobs and speech services, on this machine and with nothing else needed.

    The first start makes a folder for it, an account for the admin, and a link that logs in once.
    """
    needs_server()
    from polydub.config import load_from_process
    from polydub.server.bootstrap import serve as serve_until_stopped
    from polydub.server.leaving import Leaving
    from polydub.server.logs import start_logs

    start_logs(logging.DEBUG if given["debug"] else logging.INFO)
    names = ("host", "port", "data", "only")
    loaded = load_from_process({"server": {name: given[name] for name in names if given[name] is not None}}, given["job"])
    with Leaving() as leaving:
        asyncio.run(serve_until_stopped(loaded, _say, leaving))
    output.say("the server has stopped")
    return 0


def needs_server() -> None:
    """Raises: MissingExtra where the server's packages are not installed."""
    if any(find_spec(name) is None for name in ("fastapi", "uvicorn", "sqlalchemy", "dbos")):
        raise MissingExtra("the server's packages are not installed", 'pip install "polydub[server]"')


def _say(facts: Mapping[str, str]) -> None:
    with suppress(OSError):  # a link with another port then
        Path(facts["data"], ADDRESS).write_text(facts["url"] + "\n", encoding="utf-8")
    output.say(f"polydub is at {facts['url']}, its data in {facts['data']}")
    if "link" in facts:
        output.say(f"log in as its admin, once, within {facts['minutes']} minutes: {facts['link']}")
    else:
        output.say(f"for a link that logs in: polydub admin login-link --data {shlex.quote(facts['data'])}")
    sys.stderr.flush()
