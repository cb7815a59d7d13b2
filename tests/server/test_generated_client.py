"""A client that openapi-python-client makes of the OpenAPI document dubs a film on a real server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Processes, fixture

from small_dubs import TALK, srt

pytestmark = pytest.mark.slow
_FETCHED = Path(__file__).resolve().parents[2] / "build/client-generator/bin"  # by scripts/test-tools.sh
# A folder that holds "openapi-python-client" and the "python" that has what its clients need; read before tests clear it.
_TOOLS = Path(os.environ.get("POLYDUB_TEST_CLIENT_GENERATOR") or _FETCHED)
# Kinds that this generator reads as bytes only when it is told that they are.
BYTES = (
    "application/offset+octet-stream", "application/vnd.apple.mpegurl", "application/x-subrip", "application/zip", "text/csv",
    *(f"audio/{kind}" for kind in ("mpeg", "opus", "aac", "flac", "wav", "pcm")), "video/mp4",
)  # fmt: skip
PROGRAM = """
import importlib, json, pkgutil, sys, time
from io import BytesIO
from pathlib import Path
import httpx, polydub_client
from polydub_client import AuthenticatedClient, Client
from polydub_client.api.accounts import get_me, login
from polydub_client.api.jobs import create_job, get_job, get_job_file, get_job_result, list_jobs
from polydub_client.api.review import get_transcript
from polydub_client.api.speech import create_speech, list_models
from polydub_client.api.uploads import append_upload, create_upload, get_upload, upload_file, upload_offset
from polydub_client.models import (
    ErrorBody, FileWish, FilmWish, JobFacts, JobFactsState, JobPage, JobWish, JobWishSettings, JobWishTranslations, Login, Me,
    ModelList, ResultFacts, SpeechRequest, TranscriptFacts, UploadFacts, UploadFileFilesBody,
)
from polydub_client.types import File

url, token = sys.argv[1:]
for module in pkgutil.walk_packages(polydub_client.__path__, "polydub_client."):
    importlib.import_module(module.name)
told = {}
client = AuthenticatedClient(base_url=url, token=token, timeout=httpx.Timeout(60))
me = get_me.sync(client=client)
assert isinstance(me, Me)
told["role"] = str(me.user.role)

def sent(name: str) -> str:
    body = UploadFileFilesBody(file=File(payload=BytesIO(Path(name).read_bytes()), file_name=name))
    made = upload_file.sync(client=client, body=body)
    assert isinstance(made, UploadFacts)
    return made.id

def sent_in_parts(name: str) -> str:
    data = Path(name).read_bytes()
    half = len(data) // 2
    first = File(payload=BytesIO(data[:half]))
    begun = create_upload.sync_detailed(
        client=client, body=first, upload_length=len(data), upload_metadata="filename dGFsay5ta3Y=")
    id_ = begun.headers["location"].rpartition("/")[2]
    at = int(upload_offset.sync_detailed(id_, client=client).headers["upload-offset"])
    append_upload.sync_detailed(id_, client=client, body=File(payload=BytesIO(data[at:])), upload_offset=at)
    made = get_upload.sync(id_, client=client)
    assert isinstance(made, UploadFacts) and made.complete and at == half
    return made.id

wish = JobWish(
    input_=FilmWish(upload=sent_in_parts("talk.mkv")), to=["es"], transcript=FileWish(upload=sent("talk.en.srt")),
    translations=JobWishTranslations.from_dict({"es": {"upload": sent("talk.es.srt")}}),
    settings=JobWishSettings.from_dict({"tts": "fake", "mt": "fake", "asr": "fake"}),
)
job = create_job.sync(client=client, body=wish)
assert isinstance(job, JobFacts), job
while job.state in (JobFactsState.QUEUED, JobFactsState.RUNNING):
    time.sleep(0.1)
    job = get_job.sync(job.id, client=client)
    assert isinstance(job, JobFacts)
told["state"], told["error"] = str(job.state), job.error.to_dict() if job.error else None
result = get_job_result.sync(job.id, client=client)
assert isinstance(result, ResultFacts), result
for file in result.files:
    came = get_job_file.sync(job.id, file.name, client=client)
    assert isinstance(came, File) and len(came.payload.read()) == file.bytes_, file.name
told["film"] = result.dubs[0].film
lines = get_transcript.sync(job.id, client=client)
assert isinstance(lines, TranscriptFacts)
told["lines"] = len(lines.lines)
jobs, models = list_jobs.sync(client=client), list_models.sync(client=client)
assert isinstance(jobs, JobPage) and isinstance(models, ModelList)
told["jobs"], told["models"] = [one.id == job.id for one in jobs.jobs], "tts-1" in [model.id for model in models.data]
said = create_speech.sync(client=client, body=SpeechRequest(model="fake", input_="One.", voice="high"))
assert isinstance(said, File)
told["sound"] = len(said.payload.read()) > 500

def refused(what: object) -> list[object]:
    assert isinstance(what, ErrorBody), what
    return [what.error.code, what.error.type_, what.error.param]

stranger = Client(base_url=url)
told["errors"] = [
    refused(create_job.sync(client=client, body=JobWish(input_=FilmWish(upload="nothing"), to=["es"]))),
    refused(create_job.sync(client=client, body=JobWish(input_=FilmWish(upload="nothing"), to=[]))),
    refused(get_job.sync("nothing", client=client)),
    refused(get_job.sync(job.id, client=AuthenticatedClient(base_url=url, token="wrong"))),
    refused(login.sync(client=stranger, body=Login(email="nobody@example.org", password="three unrelated words"))),
    refused(create_speech.sync(client=client, body=SpeechRequest(model="fake", input_="One.", voice="nobody"))),
]
print(json.dumps(told))
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    yield from fixture(tmp_path)


def made_client(folder: Path, document: str) -> None:
    """Writes the package `polydub_client`; fails when there is anything in the document that the generator cannot read."""
    (folder / "openapi.json").write_text(document)
    overrides = dict.fromkeys(BYTES, "application/octet-stream")
    (folder / "how.json").write_text(json.dumps({"content_type_overrides": overrides}))
    command = [_TOOLS / "openapi-python-client", "generate", "--path", "openapi.json", "--config", "how.json", "--meta", "none",
               "--output-path", "polydub_client", "--fail-on-warning"]  # fmt: skip
    path = f"{_TOOLS}{os.pathsep}{os.environ['PATH']}"  # it calls the formatter beside it
    ran = subprocess.run(command, check=False, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_generated_client_dubs_a_film(processes: Processes, tmp_path: Path, clip: Callable[..., Path]) -> None:
    if not (_TOOLS / "openapi-python-client").is_file():
        pytest.skip("needs openapi-python-client; POLYDUB_TEST_CLIENT_GENERATOR names the folder of programs that holds it")
    clip("talk", seconds=6.0)
    for language in ("en", "es"):
        (tmp_path / f"talk.{language}.srt").write_text(srt(TALK))
    _, client = processes.serve()
    made_client(tmp_path, client.get("/openapi.json").text)
    (tmp_path / "try.py").write_text(PROGRAM)
    arguments = [str(client.base_url), client.headers["authorization"].removeprefix("Bearer ")]
    ran = subprocess.run(
        [_TOOLS / "python", "try.py", *arguments], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["role"], told["state"], told["error"]) == ("admin", "done", None)
    assert (told["film"], told["lines"], told["jobs"]) == ("dub.es.mkv", len(TALK), [True])
    assert told["models"] and told["sound"]
    invalid = "invalid_request_error"
    assert told["errors"] == [
        ["not_found", "not_found_error", None],
        ["invalid_value", invalid, "to"],
        ["not_found", "not_found_error", None],
        ["invalid_token", "authentication_error", None],
        ["wrong_login", "authentication_error", None],
        ["voice_not_found", invalid, "voice"],
    ]
