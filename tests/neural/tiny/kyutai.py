"""A Kyutai STT of 0.3 MB with random weights, in the layout of transformers: python kyutai.py FOLDER

Some of its weights are nought, so that it says several of its ten words, silence and ends of words, as the sound changes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

WORDS = ("hello", "world", "the", "a", "good", "day.", "my", "friend", "le", "est")
FRAMES_A_SECOND, RATE_HZ = 12.5, 24_000
DELAY_S, PREFIX_S = 0.5, 0.16


def tokenizer() -> t.PreTrainedTokenizerFast:
    pieces = ["<unk>", "<s>", "</s>", "<pad>", *(f"▁{word}" for word in WORDS), "▁", *"abcdefghijklmnopqrstuvwxyz."]
    raw = Tokenizer(models.Unigram([(piece, -float(n)) for n, piece in enumerate(pieces)], unk_id=0))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return t.PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def build(folder: Path, codebooks: int = 4, codes: int = 17) -> None:
    spelling = tokenizer()
    text = len(spelling)
    codec = t.MimiConfig(
        sampling_rate=RATE_HZ, num_filters=4, hidden_size=16, num_residual_layers=1, codebook_size=codes - 1, codebook_dim=8,
        vector_quantization_hidden_dimension=8, num_quantizers=codebooks, num_hidden_layers=1, intermediate_size=32,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, sliding_window=25, upsample_groups=16,
    )  # fmt: skip
    config = t.KyutaiSpeechToTextConfig(
        codebook_vocab_size=codes, vocab_size=text + 1, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64,
        num_codebooks=codebooks, audio_bos_token_id=codes - 1, audio_pad_token_id=text + 1 + codebooks * codes,
        pad_token_id=3, bos_token_id=text, codec_config=codec.to_dict(),
    )  # fmt: skip
    torch.manual_seed(0)
    model = t.KyutaiSpeechToTextForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, buffer in model.codec_model.named_buffers():
            if name.endswith("embed_sum"):
                buffer.normal_()  # else all its codes are alike
        model.lm_head.weight.mul_(20.0)
        model.lm_head.weight[4 + len(WORDS) :] = 0.0  # letters are never the likeliest
        model.lm_head.weight[1:3] = 0.0
        model.model.embed_tokens.embed_tokens.weight.mul_(30.0)
        model.model.embed_tokens.embed_tokens.weight[: text + 1] = 0.0  # what was said does not count, what is heard does
    model.generation_config._from_model_config = False  # else fields that only it has are lost
    model.save_pretrained(folder)
    features = t.KyutaiSpeechToTextFeatureExtractor(audio_delay_seconds=DELAY_S, audio_silence_prefix_seconds=PREFIX_S)
    t.KyutaiSpeechToTextProcessor(features, spelling).save_pretrained(folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
