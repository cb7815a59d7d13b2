"""Speaks with Chatterbox on random weights and prints what came of it as JSON; run by the Python of its environment.

Not a folder of weights as the other scripts make: the language model has 30 layers of fixed size unless the library's table is
changed first, which a process of polydub's must not do. The vocoder stays in full size: 2 GB of memory, a minute.
"""

import json
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "src"))

from polydub.engines.tts import chatterbox, torchaudio_stand_in  # noqa: E402
from polydub.errors import BadEngineOutput  # noqa: E402
from polydub.types import Artifact, Audio, Part, Voice  # noqa: E402


def offline(event: str, _: object) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise OSError("no network in tests")


def weights(folder: Path) -> None:
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS
    from chatterbox.models.voice_encoder import VoiceEncoder

    LLAMA_CONFIGS["Llama_520M"] |= {"num_hidden_layers": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    t3 = T3()
    state = {key: value.clone() for key, value in t3.state_dict().items()}
    save_file(state, folder / "t3_cfg.safetensors")
    for name, model in (("s3gen", S3Gen()), ("ve", VoiceEncoder())):
        save_file(
            {key: value.clone().contiguous() for key, value in model.state_dict().items()}, folder / f"{name}.safetensors"
        )
    symbols = ["[STOP]", "[UNK]", "[SPACE]", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'"]
    table = {symbol: n for n, symbol in enumerate(symbols)} | {"[START]": 255}
    tokenizer = Tokenizer(models.BPE(vocab=table, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[STOP]", "[UNK]", "[SPACE]", "[START]"])
    tokenizer.save(str(folder / "tokenizer.json"))


def hum(pitch_hz: float) -> Audio:
    t = np.arange(3 * 48_000) / 48_000
    return Audio((0.2 * np.sin(2 * np.pi * pitch_hz * t) * (1 + np.sin(9 * t)) / 2).astype(np.float32)[None], 48_000)


def part(text: str, seed: int) -> Part:
    return Part(text, "en", Voice("chatterbox", "ana", "en", references=(Artifact("a" * 64, ".flac", 1),)), 1.0, seed)


def told(sound: Audio) -> dict[str, object]:
    return {
        "seconds": sound.duration,
        "rate": sound.rate_hz,
        "peak": float(np.abs(sound.samples).max(initial=0)),
        "finite": bool(np.isfinite(sound.samples).all()),
        "digest": sha256(sound.samples.tobytes()).hexdigest(),
    }


def tried(speech: chatterbox.Chatterbox, seed: int) -> dict[str, object]:
    try:
        return told(speech.clone(part("Hi.", seed), [hum(120)]))
    except BadEngineOutput as error:
        return {"error": str(error)}


def main() -> None:
    sys.addaudithook(offline)
    torch.set_num_threads(1)
    torchaudio_stand_in.ensure()
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        weights(Path(scratch))
        options = chatterbox.ChatterboxOptions(model=scratch, threads=1)
        with chatterbox.ENGINE.load(options, {}, "cpu") as speech:
            loaded, infer = time.perf_counter() - began, speech._infer

            def ended(**settings: object) -> torch.Tensor:
                """30 tokens and the one for the end, which random weights hardly ever draw."""
                tokens = infer(**(settings | {"max_new_tokens": 30}))
                return torch.cat([tokens.clamp(max=6560), torch.tensor([[6562]])], dim=1)

            speech._infer = ended
            result = {
                "voices": len(speech.voices("en")),
                "watermark": type(speech._model.watermarker).__name__,
                "blank": told(speech.clone(part(" ", 1), [hum(120)])),
                "said": [tried(speech, seed) for seed in (1, 1, 2)],
                "loaded_s": loaded,
                "versions": {"numpy": np.__version__, "torch": torch.__version__},
            }
            speech._infer = lambda **settings: infer(**(settings | {"max_new_tokens": 8}))
            result["endless"] = tried(speech, 1)
    print(json.dumps(result))


main()
