"""The model weights that benchmarks use: what `make weights` pulled, and DeepFilterNet3 of ../shared/data."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from machine import ROOT

from polydub import models

PULLED = ROOT / "build/models"


@dataclass(frozen=True)
class Homes:
    """Folders for `--models`. `full`: with every weight that is here. `bare`: without any. `lacking`: ids that are not here."""

    full: Path
    bare: Path
    lacking: tuple[str, ...]

    def lacks(self, *wanted: str) -> str:
        """Why a figure cannot be measured; empty when all these weights are here."""
        missing = [id_ for id_ in wanted if id_ in self.lacking]
        return f"not measured: no weights of {' and '.join(missing)} here" if missing else ""


SMALL = ("resemblyzer", "deepfilternet3")


def homes(folder: Path, data: Path) -> Homes:
    """Both folders, made anew below `folder`."""
    full, bare = folder / "full", folder / "bare"
    shutil.rmtree(folder, ignore_errors=True)
    for home in (full, bare):
        home.mkdir(parents=True)
    for id_, places in {"resemblyzer": (PULLED,), "deepfilternet3": (PULLED, data / "models")}.items():
        place = next((p / id_ for p in places if (p / id_).is_dir()), None)
        if place:
            shutil.copytree(place, full / id_, copy_function=shutil.copyfile)
    known = {k.weight.id: k.weight for k in models.catalogue()}
    return Homes(full, bare, tuple(id_ for id_ in SMALL if models.find(known[id_], full) is None))
