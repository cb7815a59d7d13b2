"""What stands in for the checkouts of lip-sync programs: scripts at the same places that take the same arguments.

They check what they are told, and write what the real ones would, as far as reading those told: other rates, status 0 after an
exception, files under names of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

# What every stand-in shares: the picture again at another rate, through PyAV of the Python that runs the tests.
COMMON = """
import argparse, json, os, sys, time
import av
from fractions import Fraction

def copied(video, out, rate=None):
    with av.open(video) as source, av.open(out, "w", format="mp4") as new:
        stream = source.streams.video[0]
        frames = list(source.decode(stream))
        rate = rate or stream.average_rate
        made = new.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "8"})
        made.width, made.height, made.pix_fmt = stream.width, stream.height, "yuv420p"
        count = round(len(frames) / stream.average_rate * rate)
        for n in range(count):
            frame = frames[min(len(frames) - 1, int(n / rate * stream.average_rate))]
            frame.pts, frame.time_base, frame.pict_type = n, 1 / Fraction(rate), 0
            new.mux(made.encode(frame))
        new.mux(made.encode(None))

parser = argparse.ArgumentParser()
said = lambda *names, **how: parser.add_argument(*names, **how)
"""

LATENTSYNC = (
    COMMON
    + """
for name in ("unet_config_path", "inference_ckpt_path", "video_path", "audio_path", "video_out_path"):
    said("--" + name, required=True)
said("--inference_steps", type=int, default=20)
said("--guidance_scale", type=float, default=1.0)
said("--temp_dir", default="temp")
said("--seed", type=int, default=1247)
said("--enable_deepcache", action="store_true")
a = parser.parse_args()
assert os.path.exists(a.unet_config_path) and os.path.exists(a.inference_ckpt_path), "relative to the checkout"
assert " " not in a.video_path + a.temp_dir
copied(a.video_path, a.video_out_path, 25)  # whatever the rate was
"""
)

MUSETALK = (
    COMMON
    + """
for name in ("inference_config", "result_dir", "unet_model_path", "unet_config", "version", "whisper_dir"):
    said("--" + name, required=True)
said("--batch_size", type=int, default=8)
said("--use_float16", action="store_true")
a = parser.parse_args()
assert a.version == "v15" and os.path.isdir(a.whisper_dir)
task = json.load(open(a.inference_config))["task_0"]
try:
    if os.path.exists("fails"):
        raise RuntimeError("CUDA out of memory")
    folder = os.path.join(a.result_dir, "v15")
    os.makedirs(folder)
    copied(task["video_path"], os.path.join(folder, task["result_name"]))
except Exception as error:
    print("Error occurred during processing:", error)  # and the status is 0
"""
)

WAV2LIP = (
    COMMON
    + """
for name in ("checkpoint_path", "face", "audio"):
    said("--" + name, required=True)
said("--outfile", default="results/result_voice.mp4")
said("--pads", nargs="+", type=int, default=[0, 10, 0, 0])
said("--resize_factor", type=int, default=1)
said("--nosmooth", action="store_true")
a = parser.parse_args()
assert a.face.split(".")[1] in ["mp4"], a.face  # as it does
assert len(a.pads) == 4 and a.resize_factor == 1 and os.path.isfile(a.checkpoint_path)
open("temp/result.avi", "wb").close()  # where it runs
if os.path.exists(os.path.join(os.path.dirname(sys.argv[0]), "no-face")):
    raise ValueError("Face not detected! Ensure the video contains a face in all the frames.")
copied(a.face, a.outfile)
"""
)

PROGRAMS = {
    "latentsync": ("scripts/inference.py", LATENTSYNC),
    "musetalk": ("scripts/inference.py", MUSETALK),
    "wav2lip": ("inference.py", WAV2LIP),
}
FILES = {
    "latentsync": ("checkpoints/latentsync_unet.pt", "configs/unet/stage2_512.yaml", "checkpoints/whisper/tiny.pt"),
    "musetalk": ("models/musetalkV15/unet.pth", "models/musetalkV15/musetalk.json", "models/whisper/config.json"),
    "wav2lip": ("checkpoints/wav2lip_gan.pth", "face_detection/detection/sfd/s3fd.pth"),
}


def checkout(name: str, folder: Path) -> Path:
    """A folder like the checkout of a program, with a Python that is this one's."""
    program, source = PROGRAMS[name]
    for path in (program, *FILES[name]):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    (folder / program).write_text(source)
    (folder / ".venv/bin").mkdir(parents=True)
    python = folder / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{":".join(p for p in sys.path if p)}" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder
