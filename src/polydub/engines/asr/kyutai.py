"""Kyutai STT through transformers: a text token for every 80 ms of sound, so that words come out while the sound goes in."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Literal

from pydantic import Field

from polydub import languages
from polydub.engines.asr import folders
from polydub.engines.asr.hearing import heard
from polydub.engines.asr.kyutai_words import Frame, Spelling, likelier, words_of
from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, Weights
from polydub.errors import EngineFailed, MissingWeights, UnsupportedLanguage
from polydub.types import HEAR_HZ, Audio, Segment, Word

RATE_HZ = 24_000  # that the model hears
LONG_VOCABULARY = 8001  # text tokens of the model with two languages; that for English has 4001 (the published configurations)
OUTSIDE_S = 0.5  # words farther outside the sound were heard in the silence that is put round it
IDENTIFIED_S = 30.0  # of sound from whose words the language is told
# Weights of the transformers layout, CC-BY-4.0 as the model cards say (kyutai-labs/delayed-streams-modeling, README).
MODELS = {
    "stt-1b-en_fr": ("hub:kyutai/stt-1b-en_fr-trfs", 2_400_000_000, ("en", "fr")),
    "stt-2.6b-en": ("hub:kyutai/stt-2.6b-en-trfs", 5_900_000_000, ("en",)),
}
NEEDED = (("config.json",), ("processor_config.json", "preprocessor_config.json"), ("tokenizer.json",))
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
FAILURES = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OSError, MemoryError)


class KyutaiOptions(Options):
    """Options of Kyutai STT."""

    model: str = Field("stt-1b-en_fr", min_length=1, description=f"{', '.join(MODELS)}, or the path of a folder")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format of the weights; auto = bfloat16 on a card, float32 on the processor"
    )
    stretch_s: float = Field(
        50.0,  # with the silence put round it less than the 750 frames of the published configurations
        ge=5,
        le=600,
        description="seconds of sound heard in one go, at 20 MB each; longer sound is cut at quiet places",
    )
    threads: int = Field(
        0, ge=0, le=256, description="threads on the processor; 0 = one per core", json_schema_extra={"identity": False}
    )


class KyutaiTranscriber:
    """A Transcriber. One call at a time."""

    def __init__(self, model: Any, processor: Any, options: KyutaiOptions, tags: frozenset[str]) -> None:
        features, tokenizer, config = processor.feature_extractor, processor.tokenizer, model.config
        self._model: Any = model
        self._processor: Any = processor
        self._options = options
        self._tags = tags
        self._delay_s = float(features.audio_delay_seconds or 0) + float(features.audio_silence_prefix_seconds or 0)
        self._spelling = Spelling(
            int(config.pad_token_id),
            min(len(tokenizer), int(config.vocab_size)) - 1,
            lambda id: str(tokenizer.convert_ids_to_tokens(id)),
            lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
        )

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """As Transcriber. The model hears itself which of its languages is spoken. Closing the iterator stops the work.

        Word times are multiples of 80 ms; their ends are estimated from the length of the word. Raises: UnsupportedLanguage
        at once; EngineFailed while iterating.
        """
        if language is not None and languages.base(language) not in self._tags:
            known = " and ".join(languages.name(tag) for tag in sorted(self._tags))
            raise UnsupportedLanguage(f"this Kyutai model understands {known}, not {language!r}", "choose another with --asr")
        return heard(speech, self._options.stretch_s, self._words)

    def identify(self, speech: Audio) -> tuple[str, float]:
        """As Transcriber; of two languages that which has more of its commonest words in the first half minute."""
        if len(self._tags) == 1:
            return min(self._tags), 0.0
        first = Audio(speech.samples[:, : round(IDENTIFIED_S * HEAR_HZ)], HEAR_HZ)
        return likelier(word.text for segment in self.transcribe(first, None) for word in segment.words)

    def _words(self, stretch: Audio) -> Generator[Word]:
        """Generation runs in a thread, since it hands out its tokens only to a streamer."""
        queue: SimpleQueue[Frame | Exception | None] = SimpleQueue()
        stop = Event()
        thread = Thread(target=self._generate, args=(stretch, queue, stop), name="kyutai", daemon=True)
        thread.start()
        try:
            for word in words_of(iter(lambda: _taken(queue), None), self._spelling, self._delay_s):
                if word.end > -OUTSIDE_S and word.start < stretch.duration + OUTSIDE_S:
                    yield word
        finally:
            stop.set()
            thread.join()

    def _generate(self, stretch: Audio, queue: SimpleQueue[Frame | Exception | None], stop: Event) -> None:
        import torch  # pyright: ignore[reportMissingImports]

        from polydub.audio.signal import resample

        any_torch: Any = torch
        tap = _Tap(queue, any_torch)
        try:
            sound = resample(stretch.samples, HEAR_HZ, RATE_HZ)[0]
            inputs = self._processor(audio=[sound], sampling_rate=RATE_HZ, return_tensors="pt").to(self._model.device)

            def stopped(ids: Any, _scores: Any, **_: Any) -> Any:
                return any_torch.full((ids.shape[0],), stop.is_set(), dtype=any_torch.bool, device=ids.device)

            with any_torch.inference_mode():
                self._model.generate(
                    **inputs,
                    do_sample=False,
                    num_beams=1,
                    streamer=tap,
                    logits_processor=[tap.look],
                    stopping_criteria=[stopped],
                )
        except FAILURES as error:
            queue.put(EngineFailed(f"Kyutai STT failed while recognising: {_first_line(error)}", _remedy(error)))
        finally:
            queue.put(None)


class _Tap:
    """A streamer of transformers: hands each token on with its probability, which it sees as a processor of logits."""

    def __init__(self, queue: SimpleQueue[Frame | Exception | None], torch: Any) -> None:
        self._queue, self._torch = queue, torch
        self._index, self._sure = 0, 1.0

    def look(self, _ids: Any, scores: Any) -> Any:
        self._sure = float(self._torch.softmax(scores[0].float(), dim=-1).max())
        return scores

    def put(self, value: Any) -> None:
        for id in value.reshape(-1).tolist():
            if self._index:  # the first is the beginning of the text, before the first frame
                self._queue.put(Frame(self._index, int(id), self._sure))
            self._index += 1

    def end(self) -> None:
        """As transformers wants it; the end is told when generating returns."""


def _taken(queue: SimpleQueue[Frame | Exception | None]) -> Any:
    found = queue.get()
    if isinstance(found, Exception):
        raise found
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _remedy(error: Exception) -> str:
    return "choose a smaller stretch_s or model" if "memory" in str(error).lower() else "pull the weights again"


def _own_folder(options: KyutaiOptions) -> Path | None:
    return None if options.model in MODELS else Path(options.model).expanduser()


def _weights(options: KyutaiOptions) -> tuple[Weight, ...]:
    if options.model not in MODELS:
        return ()
    source, about, tags = MODELS[options.model]
    patterns = ("*.json", "*.safetensors")
    return (
        Weight(f"kyutai-{options.model}", "", source, "CC-BY-4.0", True, patterns=patterns, about_bytes=about, languages=tags),
    )


def _config(folder: Path) -> dict[str, Any]:
    """Raises: MissingWeights, EngineFailed: not a whole folder, or of another model."""
    lacking = [names[0] for names in NEEDED if not any((folder / name).is_file() for name in names)]
    lacking += [] if any((folder / name).is_file() for name in WEIGHT_FILES) else [WEIGHT_FILES[0]]
    if lacking:
        raise MissingWeights(f"{folder.name} lacks {', '.join(lacking)}", "take a repository that ends in -trfs, whole")
    try:
        config: Any = json.loads((folder / "config.json").read_bytes())
        kind = str(config.get("model_type"))
    except (OSError, ValueError, AttributeError) as error:
        raise EngineFailed(f"config.json of {folder.name} is damaged", "pull the weights again") from error
    if kind != "kyutai_speech_to_text":
        raise EngineFailed(f"{folder.name} holds a model of type {kind}, not Kyutai STT for transformers", "take one of -trfs")
    return config


def _check(options: KyutaiOptions) -> Availability:
    folder = _own_folder(options)
    if folder is None:
        return READY
    if not folder.is_dir():
        known = ", ".join(MODELS)
        return Availability(False, f"there is no Kyutai model or folder {options.model!r}", f"choose {known}, or give a folder")
    try:
        _config(folder)
    except (MissingWeights, EngineFailed) as error:
        return Availability(False, error.message, error.hint)
    return READY


def _languages(options: KyutaiOptions) -> frozenset[str]:
    """Of a folder of one's own by the size of its vocabulary."""
    folder = _own_folder(options)
    if folder is None:
        return frozenset(MODELS[options.model][2])
    try:
        config = _config(folder)
    except (MissingWeights, EngineFailed):
        return frozenset()
    return frozenset({"en", "fr"} if int(config.get("vocab_size", 0)) >= LONG_VOCABULARY else {"en"})


def _version(options: KyutaiOptions) -> str:
    """Of a folder of one's own its content."""
    folder = _own_folder(options)
    return "" if folder is None else folders.content(folder, frozenset({".json"}), frozenset({".safetensors"}))


@contextmanager
def _load(options: KyutaiOptions, weights: Weights, device: str) -> Generator[KyutaiTranscriber]:
    folder = _own_folder(options) or weights[_weights(options)[0].id]
    _config(folder)
    import safetensors  # pyright: ignore[reportMissingImports]
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    any_torch, library, tensors = _untyped(torch), _untyped(transformers), _untyped(safetensors)
    any_torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    chosen = options.precision if options.precision != "auto" else "float32" if device == "cpu" else "bfloat16"
    try:
        processor = library.KyutaiSpeechToTextProcessor.from_pretrained(folder, local_files_only=True)
        model = library.KyutaiSpeechToTextForConditionalGeneration.from_pretrained(
            folder, dtype=getattr(any_torch, chosen), local_files_only=True
        )
        model = model.to(device).eval()
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, tensors.SafetensorError) as error:
        text = f"Kyutai STT cannot load {folder.name} as {chosen} on {device}: {_first_line(error)}"
        raise EngineFailed(text, "pull the weights again, or choose another precision or device") from error
    # Encoding in windows should change nothing, but in transformers 5.23 the codes are others from the first border on.
    model.generation_config.audio_window_size = None
    yield KyutaiTranscriber(model, processor, options, _languages(options))


def _untyped(module: Any) -> Any:
    return module


ENGINE = Engine(
    info=Info(
        kind="asr",
        name="kyutai",
        summary="Kyutai STT: English, or English and French, written down while it is heard; 1 or 2.6 billion parameters",
        licence="Apache-2.0",
        package="transformers",
        homepage="https://kyutai.org/next/stt",
        memory_mib=(6000, 4500),
        devices=frozenset({"cpu", "cuda"}),
        piece_s=45.0,
        features=frozenset({"word_times", "stream"}),
    ),
    options=KyutaiOptions,
    load=_load,
    check=_check,
    languages=_languages,
    weights=_weights,
    version=_version,
    models={
        "low": ("stt-1b-en_fr", "stt-2.6b-en"),
        "medium": ("stt-1b-en_fr", "stt-2.6b-en"),
        "high": ("stt-2.6b-en", "stt-1b-en_fr"),
    },
    environment=Environment("transformers", "transformers"),
)
