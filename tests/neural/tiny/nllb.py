"""nllb.py FOLDER: a tiny random NLLB-200 with four languages."""

from __future__ import annotations

import sys
from pathlib import Path

from seq2seq import pieces, words, write

if __name__ == "__main__":
    folder, model = Path(sys.argv[1]), pieces()
    codes = ["eng_Latn", "spa_Latn", "zho_Hans", "arb_Arab"]
    write(folder, ["<s>", "<pad>", "</s>", "<unk>", *words(model), *codes, "<mask>"], normed_first=True, adds_end=False)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
