"""argos.py FOLDER: three packages of Argos Translate: en>es as an archive, es>en as a folder, es>fr as an archive."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from seq2seq import pieces, words, write

if __name__ == "__main__":
    place, model = Path(sys.argv[1]), pieces()
    for seed, (source, target, packed) in enumerate((("en", "es", True), ("es", "en", False), ("es", "fr", True))):
        root = place / "made" / f"translate-{source}_{target}-1_0"
        write(root / "model", ["<s>", "</s>", "<unk>", *words(model)], normed_first=True, adds_end=False, seed=seed)
        (root / "sentencepiece.model").write_bytes(model)
        (root / "stanza").mkdir()
        told = {"package_version": "1.0", "argos_version": "1.9.6", "from_code": source, "to_code": target}
        (root / "metadata.json").write_text(json.dumps(told | {"from_name": source, "to_name": target}))
        if packed:
            made = shutil.make_archive(str(place / root.name), "zip", root.parent, root.name)
            Path(made).rename(place / f"{root.name}.argosmodel")
        else:
            shutil.move(root, place / root.name)
    shutil.rmtree(place / "made")
