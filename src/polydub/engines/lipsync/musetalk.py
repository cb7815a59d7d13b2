"""MuseTalk 1.5 (Tencent): fast inpainting of the mouth; a checkout with its weights, run with its own Python.

Read in its source (commit 0a89dec), not run by us: what goes wrong is printed and it ends with status 0; frames without a face
are passed by; paths reach a shell unquoted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from polydub.engines.base import Availability, Engine, Info, Weights
from polydub.engines.lipsync.job import CheckoutOptions, Command, Job, checked, read_job, run, seen, state_of
from polydub.errors import EngineFailed

PROGRAM = Path("scripts/inference.py")
RESULT = "result.mp4"
REMARK = "its code is MIT; the weights that its README names beside its own have terms of their own"


class MuseTalkOptions(CheckoutOptions):
    """Options of MuseTalk."""

    checkpoint: Path = Field(default=Path("models/musetalkV15/unet.pth"), description="Weights, in the folder or absolute.")
    config: Path = Field(
        default=Path("models/musetalkV15/musetalk.json"), description="Configuration of the net, in the folder."
    )
    whisper: Path = Field(default=Path("models/whisper"), description="Folder of Whisper's weights, in the folder.")
    batch: int = Field(default=8, ge=1, le=256, description="Frames at once.", json_schema_extra={"identity": False})
    half: bool = Field(default=True, description="Half precision: half the memory.")


def configuration(job: Job) -> str:
    """The file that names the job's video and sound: YAML, of which JSON is a part."""
    return json.dumps({"task_0": {"video_path": str(job.video), "audio_path": str(job.audio), "result_name": RESULT}})


def arguments(options: MuseTalkOptions, job: Job) -> list[str]:
    """The command line of a job."""
    told = [str(options.interpreter), "-m", "scripts.inference"]
    told += ["--inference_config", str(job.work / "job.yaml"), "--result_dir", str(job.work / "results")]
    told += ["--unet_model_path", str(options.checkpoint), "--unet_config", str(options.config), "--version", "v15"]
    told += ["--use_float16"] if options.half else []
    return [*told, "--whisper_dir", str(options.whisper), "--batch_size", str(options.batch)]


class MuseTalk:
    """A LipSyncer."""

    def __init__(self, options: MuseTalkOptions, device: str) -> None:
        self._options, self._device = options, device

    def sync(self, job: Path, tick: Callable[[], None]) -> None:
        """As the Protocol says. Raises: EngineFailed with what it printed where it wrote nothing, though it ended well."""
        read, o = read_job(job), self._options
        (read.work / "job.yaml").write_text(configuration(read), encoding="utf-8")
        more = {"PYTHONPATH": str(o.home), "PYTHONNOUSERSITE": "1", **seen(self._device)}
        limit_s = o.timeout_s + o.per_second_s * read.seconds
        said = run(Command("musetalk", arguments(o, read), o.home, limit_s, more), tick)
        found = sorted((read.work / "results").rglob(RESULT))
        if not found:
            raise EngineFailed(f"musetalk wrote no video: {said or 'it said nothing'}", "try it by hand in its checkout")
        shutil.move(found[0], read.out)


def _check(options: MuseTalkOptions) -> Availability:
    needed = {"its program": PROGRAM, "its configuration": options.config, "its weights": options.checkpoint}
    return checked("musetalk", options, {**needed, "Whisper's weights": options.whisper})


@contextmanager
def _load(options: MuseTalkOptions, _weights: Weights, device: str) -> Generator[MuseTalk]:
    yield MuseTalk(options, device)


ENGINE = Engine(
    info=Info(
        kind="lipsync",
        name="musetalk",
        summary="fast; 4 GB of graphics memory; a checkout of yours",
        licence="MIT",
        homepage="https://github.com/TMElyralab/MuseTalk",
        memory_mib=(8_000, 4_000),
        devices=frozenset({"cpu", "cuda"}),
        deterministic=False,
    ),
    options=MuseTalkOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
    version=lambda options: state_of(options, (options.checkpoint,)),
    remarks=lambda _options, _language: (REMARK,),
)
