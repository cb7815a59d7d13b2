"""LatentSync 1.5 and 1.6 (ByteDance): diffusion, 512 pixels; a checkout with its weights, run with its own Python.

Read in the source of 1.6 (commit a229c394), not run by us: it works at 25 frames a second and re-encodes what has another
rate; it writes to a folder `temp` beside it; it plays the picture forwards and backwards when the sound is longer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from polydub.engines.base import Availability, Engine, Info, Weights
from polydub.engines.lipsync.job import CheckoutOptions, Command, Job, checked, read_job, run, seen, state_of

PROGRAM = Path("scripts/inference.py")
REMARK = "the face detector that its checkpoints bring (InsightFace's models) is for non-commercial research"


class LatentSyncOptions(CheckoutOptions):
    """Options of LatentSync."""

    checkpoint: Path = Field(default=Path("checkpoints/latentsync_unet.pt"), description="Weights, in the folder or absolute.")
    config: Path = Field(default=Path("configs/unet/stage2_512.yaml"), description="Configuration of the net, in the folder.")
    steps: int = Field(default=20, ge=1, le=200, description="Steps of diffusion: more are slower and cleaner.")
    guidance: float = Field(
        default=1.5, ge=1.0, le=10.0, description="Guidance: higher follows the sound more, and may distort."
    )
    deepcache: bool = Field(default=True, description="Reuse of features between steps: faster.")


def arguments(options: LatentSyncOptions, job: Job) -> list[str]:
    """The command line of a job."""
    told = [str(options.interpreter), "-m", "scripts.inference"]
    told += ["--unet_config_path", str(options.config), "--inference_ckpt_path", str(options.checkpoint)]
    told += ["--inference_steps", str(options.steps), "--guidance_scale", str(options.guidance)]
    told += ["--enable_deepcache"] if options.deepcache else []
    told += ["--video_path", str(job.video), "--audio_path", str(job.audio), "--video_out_path", str(job.out)]
    return [*told, "--temp_dir", str(job.work / "temp"), "--seed", str(job.seed)]


class LatentSync:
    """A LipSyncer."""

    def __init__(self, options: LatentSyncOptions, device: str) -> None:
        self._options, self._device = options, device

    def sync(self, job: Path, tick: Callable[[], None]) -> None:
        """As the Protocol says; the result has 25 frames a second."""
        read, o = read_job(job), self._options
        more = {"PYTHONPATH": str(o.home), "PYTHONNOUSERSITE": "1", **seen(self._device)}
        limit_s = o.timeout_s + o.per_second_s * read.seconds
        run(Command("latentsync", arguments(o, read), o.home, limit_s, more), tick)


def _check(options: LatentSyncOptions) -> Availability:
    needed = {"its program": PROGRAM, "its configuration": options.config, "its weights": options.checkpoint}
    return checked("latentsync", options, {**needed, "Whisper's weights": Path("checkpoints/whisper/tiny.pt")})


@contextmanager
def _load(options: LatentSyncOptions, _weights: Weights, device: str) -> Generator[LatentSync]:
    yield LatentSync(options, device)


ENGINE = Engine(
    info=Info(
        kind="lipsync",
        name="latentsync",
        summary="diffusion over latents; 18 GB of graphics memory (1.5: 8 GB); a checkout of yours",
        licence="Apache-2.0",
        homepage="https://github.com/bytedance/LatentSync",
        memory_mib=(8_000, 18_000),
        devices=frozenset({"cuda"}),
        deterministic=False,
    ),
    options=LatentSyncOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
    version=lambda options: state_of(options, (options.checkpoint,)),
    remarks=lambda _options, _language: (REMARK,),
)
