"""Wav2Lip (Prajwal and others 2020): 96 pixels of mouth, also without a graphics card; a checkout, run with its own Python.

Read in its source (commit 5c90fa9), not run by us: paths are split at their first dot; it writes to a folder `temp` where it
runs; it ends with a ValueError where a frame has no face.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, field_validator

from polydub.engines.base import Availability, Engine, Info, Weights
from polydub.engines.lipsync.job import CheckoutOptions, Command, Job, checked, read_job, run, seen, state_of

PROGRAM = Path("inference.py")
DETECTOR = Path("face_detection/detection/sfd/s3fd.pth")
REMARK = "its weights are for research only, not for commercial use: they learnt from LRS2"


class Wav2LipOptions(CheckoutOptions):
    """Options of Wav2Lip."""

    checkpoint: Path = Field(default=Path("checkpoints/wav2lip_gan.pth"), description="Weights, in the folder or absolute.")
    pads: str = Field(default="0 10 0 0", description="Pixels added to the face: top bottom left right.")
    resize_factor: int = Field(default=1, ge=1, le=1, description="1; smaller pictures would be of another size than the film.")
    smooth: bool = Field(default=True, description="Face boxes are averaged over time.")

    @field_validator("pads")
    @classmethod
    def _four(cls, value: str) -> str:
        if len(value.split()) != 4 or not all(part.isdecimal() for part in value.split()):
            raise ValueError("write four whole numbers, such as 0 10 0 0")
        return value


def arguments(options: Wav2LipOptions, job: Job) -> list[str]:
    """The command line of a job."""
    told = [str(options.interpreter), str(options.home / PROGRAM), "--checkpoint_path", str(options.home / options.checkpoint)]
    told += ["--face", str(job.video), "--audio", str(job.audio), "--outfile", str(job.out)]
    told += ["--pads", *options.pads.split(), "--resize_factor", str(options.resize_factor)]
    return told if options.smooth else [*told, "--nosmooth"]


class Wav2Lip:
    """A LipSyncer."""

    def __init__(self, options: Wav2LipOptions, device: str) -> None:
        self._options, self._device = options, device

    def sync(self, job: Path, tick: Callable[[], None]) -> None:
        """As the Protocol says. It runs in the job's folder, so that two jobs do not share its `temp`."""
        read, o = read_job(job), self._options
        (read.work / "temp").mkdir(exist_ok=True)
        (read.work / "results").mkdir(exist_ok=True)
        more = {"PYTHONPATH": str(o.home), "PYTHONNOUSERSITE": "1", **seen(self._device)}
        limit_s = o.timeout_s + o.per_second_s * read.seconds
        run(Command("wav2lip", arguments(o, read), read.work, limit_s, more), tick)


def _check(options: Wav2LipOptions) -> Availability:
    needed = {"its program": PROGRAM, "its weights": options.checkpoint, "its face detector": DETECTOR}
    return checked("wav2lip", options, needed)


@contextmanager
def _load(options: Wav2LipOptions, _weights: Weights, device: str) -> Generator[Wav2Lip]:
    yield Wav2Lip(options, device)


ENGINE = Engine(
    info=Info(
        kind="lipsync",
        name="wav2lip",
        summary="runs anywhere, soft picture of the mouth; research only; a checkout of yours",
        licence="research and personal use only",
        homepage="https://github.com/Rudrabha/Wav2Lip",
        memory_mib=(4_000, 4_000),
        devices=frozenset({"cpu", "cuda"}),
        deterministic=False,
    ),
    options=Wav2LipOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
    version=lambda options: state_of(options, (options.checkpoint,)),
    remarks=lambda _options, _language: (REMARK,),
)
