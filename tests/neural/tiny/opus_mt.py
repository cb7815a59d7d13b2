"""opus_mt.py FOLDER: two tiny random models, en-es and es-en, as conversions of Transformers and of Marian have them."""

from __future__ import annotations

import sys
from pathlib import Path

from seq2seq import pieces, words, write

if __name__ == "__main__":
    model = pieces()
    for seed, (pair, adds_end) in enumerate((("opus-mt-en-es", False), ("es-en", True))):
        folder = Path(sys.argv[1], pair)
        write(folder, ["</s>", "<unk>", *words(model), "<pad>"], normed_first=False, adds_end=adds_end, seed=seed)
        for name in ("source.spm", "target.spm"):
            (folder / name).write_bytes(model)
