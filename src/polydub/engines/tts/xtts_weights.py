"""What XTTS v2 needs from elsewhere."""

from __future__ import annotations

from polydub.engines.base import Weight, WeightFile

LICENCE = "Coqui Public Model License 1.0.0 (CPML)"
TERMS = "https://huggingface.co/coqui/XTTS-v2/blob/main/LICENSE.txt"
FILES = ("config.json", "model.pth", "vocab.json", "speakers_xtts.pth")

# Lengths and hashes come from download manifests in public repositories, read in November 2026. These programs of different
# authors pin the same revision and agree on all four files: the FILES table of a fetch script (with dvae.pth), the
# PINNED_MODELS of a speech relay host, the XTTS_FILES of a desktop voice program; the MODEL_FILES of a voice service have the
# same for `main`.
WEIGHT = Weight(
    id="xtts-v2",
    revision="6c2b0d75eae4b7047358e3b6bd9325f857d43f77",
    source="hub:coqui/XTTS-v2",
    licence=LICENCE,
    commercial_use=False,
    files=(
        WeightFile("config.json", "ef262b1454dd2a77e1461b0b2cd53e19b8a7624cc131b837d36df67356bc75e8", 4_368),
        WeightFile("model.pth", "c7ea20001c6a0a841c77e252d8409f6a74fb423e79b3206a0771ba5989776187", 1_867_929_118),
        WeightFile("vocab.json", "928260878a59da8a72a2a5b7687fea29d5106137669d90945430fe17e415304a", 361_219),
        WeightFile("speakers_xtts.pth", "f0f6137c19a4eab0cbbe4c99b5babacf68b1746e50da90807708c10e645b943b", 7_754_818),
    ),
)

# Speakers of speakers_xtts.pth that are told first, women and men in turn; the others follow in the order of the file.
FIRST_SPEAKERS = (
    *("Ana Florence", "Viktor Eka", "Claribel Dervla", "Damien Black", "Sofia Hellen", "Craig Gutsy"),
    *("Daisy Studious", "Andrew Chipper", "Gracie Wise", "Royston Min", "Tammie Ema", "Luis Moray"),
)
