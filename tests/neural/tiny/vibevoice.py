"""Writes two VibeVoice folders of random weights: FOLDER/ends speaks until its limit and then ends, FOLDER/endless never."""

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers as t
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

MARKS = ("<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")
# One place for each speaker who brings a voice, then the lines, then the start of speech.
TEMPLATE = (
    "{% set seen = namespace(roles=[]) %}{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'audio' and m['role'] not in seen.roles %}{% set seen.roles = seen.roles + [m['role']] %}{% endif %}"
    "{% endfor %}{% endfor %}{% for s in seen.roles %}Speaker {{ s }}:<|vision_start|><|vision_pad|><|vision_end|>\n"
    "{% endfor %}{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'text' %}Speaker {{ m['role'] }}: "
    "{{ c['text'] }}\n"
    "{% endif %}{% endfor %}{% endfor %}<|vision_start|>"
)
# 320 samples a token, of the real one 3200; with the default scales the sound would have an amplitude of 1e-6.
HOP = 320
CODEC = {
    "num_filters": 4,
    "downsampling_ratios": [8, 8, 5],
    "depths": [1, 1, 1, 1],
    "layer_scale_init_value": 0.5,
    "initializer_range": 0.1,
}


def tokenizer() -> t.PreTrainedTokenizerFast:
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={symbol: n for n, symbol in enumerate(symbols)}, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return t.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=MARKS[0], pad_token=MARKS[0], padding_side="left")


def main(folder: Path) -> None:
    words = tokenizer()
    end, audio_start, audio_end, audio = words.convert_tokens_to_ids(list(MARKS))
    config = t.VibeVoiceConfig(
        audio_config=t.VibeVoiceAcousticTokenizerConfig(hidden_size=8, **CODEC).to_dict(),
        semantic_model_config=t.VibeVoiceAcousticTokenizerEncoderConfig(hidden_size=16, **CODEC).to_dict(),
        text_config=t.Qwen2Config(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=True,
        ).to_dict(),
        diffusion_head_config=t.VibeVoiceDiffusionHeadConfig(
            hidden_size=32, latent_size=8, num_hidden_layers=1, intermediate_size=48, frequency_embedding_size=32
        ).to_dict(),
        pad_token_id=end,
        eos_token_id=end,
        audio_bos_token_id=audio_start,
        audio_eos_token_id=audio_end,
        audio_token_id=audio,
    )
    torch.manual_seed(0)
    model = t.VibeVoiceForConditionalGeneration(config).eval()
    settings = model.generation_config
    settings.guidance_scale, settings.max_new_tokens, settings.do_sample = 1.3, 24, False
    settings.noise_scheduler_class = "DPMSolverMultistepScheduler"
    settings.noise_scheduler_config = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    settings.suppress_tokens = [end, audio_end, audio_start]  # random weights hardly ask for sound
    settings._from_model_config = False  # else the fields above are lost when it is read again
    model.save_pretrained(folder / "endless")
    features = t.VibeVoiceAcousticTokenizerFeatureExtractor(pad_to_multiple_of=HOP)
    t.VibeVoiceProcessor(features, words, chat_template=TEMPLATE).save_pretrained(folder / "endless")
    shutil.copytree(folder / "endless", folder / "ends")
    file = folder / "ends/generation_config.json"
    file.write_text(
        json.dumps(
            json.loads(file.read_text())
            | {"suppress_tokens": [audio_end, audio_start], "forced_eos_token_id": end, "min_new_tokens": 30}
        )
    )


main(Path(sys.argv[1]))
