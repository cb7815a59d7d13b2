"""Writes an XTTS folder of random weights, the vocoder and the speaker encoder in full size (they have no other): 92 MB.

The end of speech is one of many tokens that are drawn now and then, so that it comes by itself; with `top_k` 1 it never does.
model.pth holds a config object under its old name, as the published one.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "src"))

from polydub.engines.tts import torchaudio_stand_in  # noqa: E402

torchaudio_stand_in.ensure(codec=True)

from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig  # noqa: E402
from TTS.tts.models.xtts import Xtts  # noqa: E402

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-áéíóúñабвгдежзиклмнопрстуфхцчшщыэюяअआकखगनपमयरलवसह"
START, STOP = 64, 65
STOP_LOGIT = 0.3  # sampled now and then, but never the likeliest


def vocabulary(file: Path) -> Tokenizer:
    special = ["[STOP]", "[UNK]", "[SPACE]", *(f"[{code}]" for code in LANGUAGES), "[START]"]
    symbols = {symbol: n for n, symbol in enumerate((*special, *LETTERS))}
    tokenizer = Tokenizer(models.BPE(vocab=symbols, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(file))
    return tokenizer


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = vocabulary(folder / "vocab.json")
    arguments = XttsArgs(
        gpt_layers=2,
        gpt_n_model_channels=64,
        gpt_n_heads=2,
        decoder_input_dim=64,
        gpt_use_perceiver_resampler=True,
        gpt_max_audio_tokens=150,
        gpt_max_text_tokens=120,
        gpt_num_audio_tokens=66,
        gpt_start_audio_token=START,
        gpt_stop_audio_token=STOP,
        gpt_number_text_tokens=tokenizer.get_vocab_size(),
        gpt_start_text_token=tokenizer.token_to_id("[START]"),
        gpt_stop_text_token=tokenizer.token_to_id("[STOP]"),
        tokenizer_file="vocab.json",
    )
    config = XttsConfig(model_args=arguments)
    torch.manual_seed(0)
    model = Xtts(config)
    with torch.no_grad():
        model.gpt.mel_head.weight[STOP] = 0.0
        model.gpt.mel_head.bias[STOP] = STOP_LOGIT
        model.gpt.mel_head.bias[START] = -9.0
    config.save_json(str(folder / "config.json"))
    for kind in (XttsArgs, XttsAudioConfig):
        kind.__module__ = "TTS.tts.models.xtts"
    torch.save({"model": model.state_dict(), "config": config}, folder / "model.pth")
    speakers = {
        name: {
            "gpt_cond_latent": torch.randn(1, 32, 64),
            "speaker_embedding": torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1),
        }
        for name in ("Claribel Dervla", "Ana Florence", "Viktor Eka")
    }
    torch.save(speakers, folder / "speakers_xtts.pth")


main(Path(sys.argv[1]))
