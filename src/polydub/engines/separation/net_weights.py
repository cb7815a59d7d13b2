"""Weights of the separation nets: where they come from, what they must hash to, and on what terms.

Lengths and digests of the Demucs files were published by several projects that pin them, independently of each other
(`models.json` of karaoke and stem tools, among them a list with the length and SHA-256 of each, 2026); the second half of
each name is the beginning of the digest in Demucs's own list (`demucs/remote/files.txt`). Kim_Vocal_2.onnx: pinned alike by
five projects, from the address below and from the hub. MelBandRoformer.ckpt: revision, length and digest as in the hub's own
metadata, quoted alike by six projects.

Terms. Demucs: the code is MIT, "the model weights are not covered by the MIT license, and are provided only for scientific
purposes" (its author, facebookresearch/demucs issue 327). Kim's MDX nets: no licence of the weights is known, hence no
commercial use. Kim's MelBand RoFormer: its model card says MIT.
"""

from __future__ import annotations

from collections.abc import Mapping

from polydub.engines.base import Weight, WeightFile

_DEMUCS = "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer"
_SCIENTIFIC = "for scientific purposes only (the author's word; no licence text)"
_UNKNOWN = "unknown (UVR's public models; no licence of the weights is stated)"
_NETS = {
    "htdemucs": (("955717e8-8726e21a.th", "8726e21a993978c7ba086d3872e7608d7d5bfca646ca4aca459ffda844faa8b4", 84_141_911),),
    "htdemucs-ft-vocals": (
        ("04573f0d-f3cf25b2.th", "f3cf25b222c4eed7cd49dd8b2c9597d50c18bd154090f7b919cfa5f93cf22c49", 84_141_271),
    ),
    "htdemucs-ft-rest": (
        ("f7e0c4bc-ba3fe64a.th", "ba3fe64ae8ef66ac9a4857222ce48efbdc5eb3ad375cb79dd13debee5aaa4066", 84_141_271),
        ("d12395a8-e57c48e6.th", "e57c48e6b0e38af4f7118d7bd08c49f0a0c0edf7d09143bdd902ea0d237303e6", 84_141_271),
        ("92cfc3b6-ef3bcb9c.th", "ef3bcb9c8b40d14ae5d51b6db2587339cc12c6b77c0be151ce6d69002e087bf2", 84_141_271),
    ),
    "htdemucs-6s": (("5c90dfd2-34c22ccb.th", "34c22ccb381c6f9fdbf324f04e1e2fe21aaaf293f5ded163a162697ff9a02ddd", 54_996_327),),
    "hdemucs-mmi": (("75fc33f5-1941ce65.th", "1941ce654b11df4132b9f4eae408556b4c83fad6fe26b4bc0dbcb36b975befb3", 167_407_275),),
}


def _demucs(name: str, rows: tuple[tuple[str, str, int], ...]) -> Weight:
    files = tuple(WeightFile(file, sha256, length, f"{_DEMUCS}/{file}") for file, sha256, length in rows)
    revision = "+".join(file.rpartition(".")[0] for file, _, _ in rows)
    return Weight(name, revision, "files", _SCIENTIFIC, commercial_use=False, files=files)


DEMUCS: Mapping[str, Weight] = {name: _demucs(name, rows) for name, rows in _NETS.items()}

KIM_VOCAL = Weight(
    id="mdx-kim-vocal-2",
    revision="ce74ef3b6a60",
    source="files",
    licence=_UNKNOWN,
    commercial_use=False,
    files=(
        WeightFile(
            "Kim_Vocal_2.onnx",
            "ce74ef3b6a6024ce44211a07be9cf8bc6d87728cc852a68ab34eb8e58cde9c8b",
            66_759_214,
            "https://github.com/TRvlvr/model_repo/releases/download/all_public_uvr_models/Kim_Vocal_2.onnx",
        ),
    ),
)
KIM_INST = Weight(
    id="mdx-kim-inst",
    revision="",
    source="hub:nomadkaraoke/public_uvr_models",
    licence=_UNKNOWN,
    commercial_use=False,
    patterns=("Kim_Inst.onnx",),
    about_bytes=66_800_000,
)
KIM_MELBAND = Weight(
    id="melband-roformer-kim",
    revision="ac9b0614ab3cd7f77219e18ba494dfd93956c348",
    source="hub:KimberleyJSN/melbandroformer",
    licence="MIT",
    commercial_use=True,
    files=(
        WeightFile("MelBandRoformer.ckpt", "87201f4d31afb5bc79993230fc49446918425574db48c01c405e44f365c7559e", 913_106_900),
    ),
)

# Which weights a file that is named in an ensemble belongs to. Nets of Demucs may be named by the first half of their name.
HOMES: Mapping[str, Weight] = {
    **{file.name: weight for weight in (*DEMUCS.values(), KIM_VOCAL, KIM_MELBAND) for file in weight.files},
    "Kim_Inst.onnx": KIM_INST,
}
SIGNATURES: Mapping[str, str] = {name.partition("-")[0]: name for name in HOMES if name.endswith(".th")}
