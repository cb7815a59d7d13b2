"""VibeVoice 1.5B and 7B by transformers: English and Chinese in the voice of a person heard for some seconds.

It works in an environment of its own. Long text is spoken in pieces of `max_chunk_chars`. Without a recording a voice is what
the model made of a first sentence, so that it is the same in every line.
"""

from __future__ import annotations

import json
import math
import queue
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from logging import getLogger
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, Weights
from polydub.engines.tts import spoken
from polydub.engines.tts.spoken import library
from polydub.errors import BadEngineOutput, EngineFailed, MissingWeights, UnsupportedLanguage
from polydub.text import chunks
from polydub.text.words import length, speakable
from polydub.types import Audio, Part, Voice

NAME, TITLE = "vibevoice", "VibeVoice"
RATE_HZ = 24_000
OFFICIAL = frozenset({"en", "zh"})
VOICES = ("1", "2", "3", "4")
FIRST_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "en": "Good morning, and welcome. It is a pleasure to be here today, and to tell you a little about it.",
        "zh": "早上好，欢迎大家。很高兴今天能来到这里，给大家讲一讲这件事情。",
    }
)
LEAST_REFERENCE_S, MOST_REFERENCE_S = 1.0, 30.0
SECONDS_PER_LETTER, SPARE_S = 0.2, 5.0  # a slow speaker takes 0.1 s for a letter
FILES = ("config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json")
CONVERTED: Mapping[str, str] = MappingProxyType({"1.5B": "vibevoice/VibeVoice-1.5B-hf", "7B": "vibevoice/VibeVoice-7B-hf"})
# What transformers makes of the originals (microsoft/VibeVoice-1.5B and copies of the 7B) is a model of default size.
LAYOUT = f"take the converted one: polydub models pull vibevoice-1.5b, or {CONVERTED['1.5B']} or {CONVERTED['7B']} from the hub"
PATTERNS = ("*.json", "*.safetensors", "*.jinja", "*.txt")
log = getLogger(__name__)


def _weight(size: str, about_bytes: int) -> Weight:
    # MIT as the cards of the originals say; lengths are those that the cards tell.
    source = f"hub:{CONVERTED[size]}"
    return Weight(f"vibevoice-{size.lower()}", "", source, "MIT", True, patterns=PATTERNS, about_bytes=about_bytes)


WEIGHTS: Mapping[str, Weight] = MappingProxyType({"1.5B": _weight("1.5B", 5_400_000_000), "7B": _weight("7B", 18_700_000_000)})


class VibeVoiceOptions(Options):
    """Options of VibeVoice."""

    model: str = Field(
        "1.5B", min_length=1, description="1.5B, 7B, or the path of a folder in the layout of transformers (-hf)"
    )
    cfg_scale: float = Field(1.3, ge=1, le=10, description="how closely text and voice are followed; 1 = not enforced")
    num_steps: int = Field(10, ge=1, le=100, description="diffusion steps for each 133 ms of sound")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format; auto = bfloat16 on a card, float32 on the processor"
    )
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = Field(
        "auto", description="attention; auto = flash_attention_2 on a card where it is installed, else sdpa"
    )
    disable_prefill: bool = Field(False, description="give the model no voice to speak in; it then finds one for each line")
    any_language: bool = Field(False, description="speak other languages than English and Chinese, for which nobody vouches")
    max_chunk_chars: int = Field(chunks.MOST, ge=50, le=10_000, description="characters of the longest piece spoken at once")
    threads: int = Field(0, ge=0, le=256, description="threads; 0 = one per core", json_schema_extra={"identity": False})


class VibeVoice:
    """A Synthesizer that clones and streams, one call at a time: its noise is drawn from one generator of the process."""

    def __init__(self, model: Any, processor: Any, options: VibeVoiceOptions) -> None:
        self._model = model
        self._processor = processor
        self._options = options
        self._learnt: spoken.Learnt[Any] = spoken.Learnt()
        self._own: dict[tuple[str, str], Any] = {}
        self._tokens_per_s = RATE_HZ / processor.feature_extractor.pad_to_multiple_of

    def voices(self, language: str) -> Sequence[Voice]:
        """Four voices that the model finds itself. Raises: UnsupportedLanguage."""
        self._supported(language)
        return tuple(Voice(NAME, name, language, f"VibeVoice {name}") for name in VOICES)

    def synthesize(self, part: Part) -> Audio:
        """Mono sound at 24 kHz; the same part and seed give the same samples. A text without letters gives zero frames.

        Raises: BadSettings for an unknown voice, UnsupportedLanguage, BadEngineOutput for speech that does not come to an
        end, is not finite or is none.
        """
        return self._spoken(part, self._prompt(part))

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        """As `synthesize`, in the voice of `references`, of which one of 1 s is the least. Raises: also BadInput."""
        return self._spoken(part, self._learnt.get(part.voice, references, lambda: _one(references)))

    def stream(self, part: Part) -> Iterator[Audio]:
        """As `synthesize`, in pieces of 133 ms; in a cloned voice once `clone` heard it. Peaks above 0.9 are bent."""
        if part.voice.references and self._learnt.known(part.voice) is None:
            raise spoken.not_heard(part, TITLE)
        known = self._learnt.known(part.voice)
        return self._streamed(part, self._prompt(part) if known is None else known)

    def _supported(self, language: str) -> None:
        if languages.base(language) not in OFFICIAL and not self._options.any_language:
            raise UnsupportedLanguage(f"VibeVoice does not speak {language!r}", "it has en, zh; any_language=true lets it try")

    def _prompt(self, part: Part) -> Any:
        """What the model said first as this voice; None where it is to find a voice for each line."""
        if part.voice.name not in VOICES:
            raise spoken.no_voice(part.voice.name, VOICES, TITLE)
        self._supported(part.language)
        if self._options.disable_prefill or not speakable(part.text):
            return None
        words = languages.base(part.language) if languages.base(part.language) in FIRST_WORDS else "en"
        key = (part.voice.name, words)
        if key not in self._own:
            library("torch").manual_seed(VOICES.index(part.voice.name))
            self._own[key] = self._said(FIRST_WORDS[words], None, None).samples[0]
        return self._own[key]

    def _pieces(self, part: Part) -> list[str]:
        self._supported(part.language)
        pieces = chunks.split(part.text, self._options.max_chunk_chars, chunks.LEAST, part.language)
        return [piece for piece in pieces if speakable(piece)]

    def _spoken(self, part: Part, voice: Any) -> Audio:
        pieces = self._pieces(part)
        library("torch").manual_seed(part.seed)
        sounds = [self._said(piece, voice, None) for piece in pieces]
        return spoken.in_a_row(sounds, chunks.PAUSE_S, RATE_HZ)

    def _said(self, text: str, voice: Any, stop: threading.Event | None) -> Audio:
        """One piece. Raises: BadEngineOutput."""
        options = self._options
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if voice is not None and not options.disable_prefill:
            content.append({"type": "audio", "audio": voice})
        inputs = self._processor.apply_chat_template(
            [{"role": "0", "content": content}],
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt", "padding": True},
        ).to(self._model.device, self._model.dtype)
        limit_s = SPARE_S + SECONDS_PER_LETTER * length(text)
        most = math.ceil(limit_s * self._tokens_per_s)
        watch = _watch(self._model, stop)
        answer = self._model.generate(
            **inputs,
            guidance_scale=options.cfg_scale,
            num_diffusion_steps=options.num_steps,
            max_new_tokens=most,
            return_dict_in_generate=True,
            stopping_criteria=library("transformers").StoppingCriteriaList([watch]),
        )
        sound = answer.audio[0]
        if not watch.ended and not (stop and stop.is_set()):
            raise spoken.cut_short(TITLE, limit_s)
        if sound is None:  # it chose no token of sound
            raise BadEngineOutput("VibeVoice said nothing", "try another seed, or a longer text")
        return spoken.finished(sound.float().cpu().numpy(), RATE_HZ, TITLE)

    def _streamed(self, part: Part, voice: Any) -> Generator[Audio]:
        pieces = self._pieces(part)
        library("torch").manual_seed(part.seed)
        for number, piece in enumerate(pieces):
            if number:
                yield Audio(spoken.pause(chunks.PAUSE_S, RATE_HZ), RATE_HZ)
            yield from self._overheard(piece, voice)

    def _overheard(self, text: str, voice: Any) -> Generator[Audio]:
        """What the decoder of sound gives, step by step, while another thread speaks one piece."""
        made: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stop = threading.Event()

        def put(_module: Any, _given: Any, answer: Any) -> None:
            made.put(getattr(answer, "audio", answer).detach().float().cpu().numpy())

        hook = self._model.model.audio_tower.decoder.register_forward_hook(put)
        with ThreadPoolExecutor(1, "vibevoice") as pool:
            try:
                speaking = pool.submit(self._said, text, voice, stop)
                speaking.add_done_callback(lambda _: made.put(None))
                while (sound := made.get()) is not None:
                    yield spoken.streamed(sound, RATE_HZ, TITLE)
                speaking.result()
            finally:
                stop.set()
                hook.remove()


def _one(references: Sequence[Audio]) -> Any:
    """All recordings of a person as one, float32 (frames,), cut after MOST_REFERENCE_S."""
    import numpy as np

    sounds = spoken.heard(references, RATE_HZ, LEAST_REFERENCE_S, TITLE)
    return np.concatenate(sounds)[: round(MOST_REFERENCE_S * RATE_HZ)]


def _watch(model: Any, stop: threading.Event | None) -> Any:
    """A stopping criterion: stops when told to; `ended` tells whether the last token was that for the end."""
    torch, base = library("torch"), library("transformers").StoppingCriteria
    ends = {model.config.eos_token_id, model.config.audio_eos_token_id}

    class Watch(base):
        ended = False

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            self.ended = int(input_ids[0, -1]) in ends
            stopped = stop is not None and stop.is_set()
            return torch.full((input_ids.shape[0],), stopped, dtype=torch.bool, device=input_ids.device)

    return Watch()


@contextmanager
def _load(options: VibeVoiceOptions, weights: Weights, device: str) -> Generator[VibeVoice]:
    folder = _own_folder(options) or weights[WEIGHTS[options.model].id]
    refused = _refused(folder)
    if refused:
        raise MissingWeights(*refused)
    torch, transformers = library("torch"), library("transformers")
    torch.set_num_threads(spoken.threads(options.threads))
    precision = options.precision if options.precision != "auto" else "float32" if device == "cpu" else "bfloat16"
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
        model = _model(folder, getattr(torch, precision), _attentions(options, device))
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        text = f"VibeVoice cannot load {folder.name} as {precision}: {str(error).partition(chr(10))[0]}"
        raise EngineFailed(text, "pull the weights again, or choose another precision or attention") from error
    yield VibeVoice(model.to(device).eval(), processor, options)


def _attentions(options: VibeVoiceOptions, device: str) -> list[str]:
    """What to try, best first."""
    if options.attention != "auto":
        return [options.attention]
    fits = device.startswith("cuda") and options.precision != "float32"
    if fits and find_spec("flash_attn") is None:
        log.warning("flash_attn is not installed; VibeVoice uses sdpa attention, which is slower")
    return ["flash_attention_2", "sdpa"] if fits and find_spec("flash_attn") else ["sdpa"]


def _model(folder: Path, dtype: Any, attentions: Sequence[str]) -> Any:
    load = library("transformers").AutoModelForTextToWaveform.from_pretrained
    for attention in attentions:
        # Of the language model only: the tokenizers of sound have convolutions, and refuse to hear of attention.
        settings = {"dtype": dtype, "attn_implementation": {"text_config": attention}, "local_files_only": True}
        try:
            return load(folder, **settings)
        except (ImportError, ValueError) as error:
            if attention == attentions[-1]:
                raise
            log.warning("%s does not work here (%s); VibeVoice uses %s attention", attention, error, attentions[-1])
    raise ValueError("no attention to try")


def _refused(folder: Path) -> tuple[str, str] | None:
    """Why the folder will not do, and what to do; None if it will."""
    if not folder.is_dir():
        return f"there is no VibeVoice model or folder {str(folder)!r}", f"choose {', '.join(WEIGHTS)}, or give a folder"
    try:
        told = json.loads((folder / "config.json").read_text("utf-8"))
        kind = told.get("model_type")
    except (OSError, ValueError, AttributeError):
        return f"{folder.name} has no readable config.json", LAYOUT
    if kind != "vibevoice" or "text_config" not in told:
        what = "in the original layout, not that of transformers" if kind == "vibevoice" else f"of type {kind!r}, not VibeVoice"
        return f"{folder.name} is {what}", LAYOUT
    missing = spoken.lacking(folder, FILES)
    if missing or not any(folder.glob("*.safetensors")):
        return f"{folder.name} lacks {missing or 'its weights (*.safetensors)'}", LAYOUT
    return None


def _own_folder(options: VibeVoiceOptions) -> Path | None:
    return None if options.model in WEIGHTS else Path(options.model).expanduser()


def _check(options: VibeVoiceOptions) -> Availability:
    folder = _own_folder(options)
    refused = _refused(folder) if folder else None
    return Availability(False, *refused) if refused else READY


def _remarks(options: VibeVoiceOptions, language: str) -> tuple[str, ...]:
    told: tuple[str, ...] = ()
    if languages.base(language) not in OFFICIAL:
        told += ("VibeVoice was made for English and Chinese; nobody vouches for what it says in another language",)
    if options.disable_prefill:
        told += ("disable_prefill is set, so VibeVoice speaks each line in a voice of its own choice",)
    return told


def _languages(options: VibeVoiceOptions) -> frozenset[str] | None:
    return None if options.any_language else OFFICIAL


def _version(options: VibeVoiceOptions) -> str:
    folder = _own_folder(options)
    return spoken.digest(folder) if folder else ""


def _weights(options: VibeVoiceOptions) -> tuple[Weight, ...]:
    return (WEIGHTS[options.model],) if options.model in WEIGHTS else ()


ENGINE = Engine(
    info=Info(
        kind="tts",
        name=NAME,
        summary="English and Chinese in the voice of a person heard for some seconds; large, for a card",
        licence="Apache-2.0",
        homepage="https://github.com/microsoft/VibeVoice",
        package="transformers",
        memory_mib=(12_000, 7_000),
        devices=frozenset({"cpu", "cuda"}),
        parallel=1,
        features=frozenset({"clone", "seed", "stream"}),
    ),
    options=VibeVoiceOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    weights=_weights,
    models={"low": ("1.5B", "7B"), "medium": ("1.5B", "7B"), "high": ("7B", "1.5B")},
    remarks=_remarks,
    environment=Environment("transformers", "transformers"),
)
