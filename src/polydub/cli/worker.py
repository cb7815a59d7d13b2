"""`polydub worker`."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any

import click

from polydub.cli import output
from polydub.cli.options import common
from polydub.cli.serve import data_option, needs_server
from polydub.errors import BadSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polydub.config import Loaded
    from polydub.config.server import ServerSettings
    from polydub.server.leaving import Leaving

_QUEUES = ("cpu", "gpu", "net")


@click.command()
@click.option("--queues", default="cpu,gpu,net", show_default=True, help="Whose work is taken: cpu, gpu, net, with commas.")
@click.option("--cpu-slots", type=int, help="Jobs on the processor at once; server.jobs_at_once when it is left out.")
@click.option("--gpu-slots", type=int, help="Jobs on accelerators at once; server.gpu_slots when it is left out.")
@click.option("--database", help="The Postgres of the server: postgresql://USER@HOST/NAME.")
@data_option
@click.option(
    "--patience", type=click.IntRange(0, 3600), default=30, show_default=True,
    help="Seconds that jobs may still take when the worker is told to stop; what is left then goes back to its queue.",
)  # fmt: skip
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve figures for Prometheus on 127.0.0.1 at this port.")
@common
def worker(**given: Any) -> int:
    """Work on the jobs of a server, on this host or another: both are told the same Postgres, and the same S3 or folder.

    Stop it with Ctrl-C or SIGTERM: it finishes what it can and hands the rest back.
    """
    needs_server()
    queues = tuple(dict.fromkeys(name.strip() for name in given["queues"].split(",") if name.strip()))
    if not queues or set(queues) - set(_QUEUES):
        raise BadSettings(f"there are no queues {given['queues']!r}", f"the queues are {', '.join(_QUEUES)}")
    from polydub.config import load_from_process
    from polydub.server.logs import start_logs

    start_logs(logging.DEBUG if given["debug"] else logging.INFO)
    named = {"database": "database", "data": "data", "cpu_slots": "jobs_at_once", "gpu_slots": "gpu_slots"}
    told = {setting: given[name] for name, setting in named.items() if given[name] is not None}
    loaded = load_from_process({"server": told}, given["job"])
    from polydub.server.bootstrap import settled

    loaded = settled(loaded)
    refuse_one_process(loaded.settings.server)
    from polydub.server.leaving import Leaving

    with Leaving() as leaving:
        asyncio.run(_work(loaded, queues, (given["patience"], given["metrics_port"]), leaving))
    output.say("the worker has stopped")
    return 0


def refuse_one_process(settings: ServerSettings) -> None:
    """Raises: BadSettings where the jobs lie in a file, which belongs to one process: the server's."""
    from polydub.server.hands import postgres

    if not postgres(settings):
        raise BadSettings(
            "a worker needs the server's jobs in Postgres; in SQLite the server does all the work itself",
            "start both with POLYDUB_SERVER__DATABASE=postgresql://USER@HOST/NAME, or let polydub serve work alone",
        )


async def _work(loaded: Loaded, queues: Sequence[str], told: tuple[int, int | None], leaving: Leaving) -> None:
    """`told`: seconds of patience, port for figures."""
    from polydub.server import metrics, retention
    from polydub.server.bootstrap import CLOSING_S, NoJobs, folder_of, sweeping
    from polydub.server.contracts import Services
    from polydub.server.db import open_records
    from polydub.server.db.records import now_utc
    from polydub.server.hands import hands_of
    from polydub.server.jobs import Kept, open_worker
    from polydub.server.storage import open_storage

    settings: ServerSettings = loaded.settings.server
    patience_s, metrics_port = told
    folder, stop = folder_of(settings), asyncio.Event()

    def stopping() -> None:
        leaving.begin(patience_s + CLOSING_S)
        stop.set()

    for how in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(how, stopping)
    records = await open_records(settings, folder)
    storage = open_storage(settings, loaded.secrets, folder)
    at_work = await open_worker(Kept(settings, records, storage, folder), hands_of(settings, queues))

    def scene() -> metrics.Scene:
        return metrics.Scene("worker", crews=at_work.crews, swept=at_work.sweeper.swept if at_work.sweeper else None)

    services = Services(settings, records, storage, NoJobs(), folder, now_utc)
    keeping = asyncio.create_task(sweeping(lambda: retention.sweep_host(services)))
    try:
        hide = metrics.serve(metrics_port, scene) if metrics_port else None
        output.say(f"working on {', '.join(queues)} as {at_work.executor}")
        await stop.wait()
        output.say(f"stopping: jobs have {patience_s} s left")
        if hide:
            hide()
    finally:
        keeping.cancel()
        await at_work.close(patience_s if stop.is_set() else 0)
        await records.close()
