"""What pyannote's pipelines are made of. All but the encoder of 3.1 lie behind a form: an account, accepted terms, HF_TOKEN.

Lengths, hashes and revisions were read in November 2026 from at least two programs each that pin them and agree:
    community-1       the engine qualification table of a subtitle program and the model list of a desktop recorder (with
                      lengths, also of config.yaml); the asset tables of two meeting transcribers
    segmentation-3.0  an audit of the model files of a research program (length and hash); the pinned mirrors of an offline
                      diarizer; a speech service that pins both models of 3.1 by revision and hash
    wespeaker         the model licence table of a call transcriber (length, hash, revision); the same speech service
"""

from __future__ import annotations

from polydub.engines.base import Weight, WeightFile

COMMUNITY = Weight(
    "pyannote-community-1",
    "3533c8cf8e369892e6b79ff1bf80f7b0286a54ee",
    "hub:pyannote/speaker-diarization-community-1",
    "CC-BY-4.0",
    commercial_use=True,
    files=(
        WeightFile("config.yaml", "5ce2bfa9a938dc132cec1172592d65173cbb8f444ea1e4133f10f9391de155be", 444),
        WeightFile(
            "segmentation/pytorch_model.bin", "7ad24338d844fb95985486eb1a464e32d229f6d7a03c9abe60f978bacf3f816e", 5_906_507
        ),
        WeightFile(
            "embedding/pytorch_model.bin", "6f10ff60898a1d185fa22e1d11e0bfa8a92efec811f11bca48cb8cafebefd929", 26_646_242
        ),
        WeightFile("plda/plda.npz", "9b77bcd840692710dd3496f62ecfeed8d8e5f002fd991b785079b244eab7d255", 133_852),
        WeightFile("plda/xvec_transform.npz", "325f1ce8e48f7e55e9c8aa47e05d2766b7c48c4b25b8de8dd751e7a4cc5fbe8f", 134_376),
    ),
)
SEGMENTATION = Weight(
    "pyannote-segmentation-3.0",
    "e66f3d3b9eb0873085418a7b813d3b369bf160bb",
    "hub:pyannote/segmentation-3.0",
    "MIT",
    commercial_use=True,
    files=(WeightFile("pytorch_model.bin", "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298", 5_905_440),),
)
WESPEAKER = Weight(
    "pyannote-wespeaker",
    "837717ddb9ff5507820346191109dc79c958d614",
    "hub:pyannote/wespeaker-voxceleb-resnet34-LM",
    "CC-BY-4.0",
    commercial_use=True,
    files=(WeightFile("pytorch_model.bin", "366edf44f4c80889a3eb7a9d7bdf02c4aede3127f7dd15e274dcdb826b143c56", 26_645_418),),
)
WEIGHTS = {"community-1": (COMMUNITY,), "3.1": (SEGMENTATION, WESPEAKER)}
