"""What a process that works on jobs writes into the log."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
from polydub.server.logs import start_logs
from polydub.server.resident import serve

def odd(message, tell):
    logging.getLogger("polydub.odd").warning("strange")
    return {}

start_logs(logging.WARNING)
serve({"odd": odd})
"""


def test_each_line_names_the_job_it_is_about() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        for job in ("job1", "job2"):
            process.stdin.write(json.dumps({"task": "odd", "folder": f"jobs/{job}"}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"result": {}}
        process.stdin.close()
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [(line["job"], line["message"]) for line in lines] == [("job1", "strange"), ("job2", "strange")]
