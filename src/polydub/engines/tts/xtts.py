"""XTTS v2 by coqui-tts: 17 languages, 58 voices of its own, and the voice of any person from a few seconds of speech.

It works in an environment of its own. Its weights and what it speaks are for non-commercial use (CPML): polydub asks that the
terms be accepted, because the library asks only where it downloads. A sentence longer than the model takes is spoken in pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, Weights
from polydub.engines.tts import spoken
from polydub.engines.tts.spoken import library
from polydub.engines.tts.xtts_weights import FILES, FIRST_SPEAKERS, LICENCE, TERMS, WEIGHT
from polydub.errors import BadInput, BadSettings, EngineFailed, MissingExtra, MissingWeights, UnsupportedLanguage
from polydub.text import chunks
from polydub.text.words import speakable
from polydub.types import Audio, Part, Voice

NAME, TITLE = "xtts", "XTTS"
TAGS = ("ar", "cs", "de", "en", "es", "fr", "hi", "hu", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh")
MODELS = ("xtts-v2",)
RATE_HZ = 24_000
REFERENCE_HZ = 22_050
LEAST_REFERENCE_S = 0.33  # coqui-tts 0.28, get_gpt_cond_latents
TOKEN_S = 1024 / 22_050  # of sound that one audio token stands for
FEWEST = 4  # characters of a piece, below which more tokens than the model takes are given up
DICTIONARY = "unidic-lite==1.0.8"
PULL = f"polydub models pull {WEIGHT.id}"
POINT = "दशमलव"  # between whole and decimal digits in Hindi
_NUMBER = re.compile(r"\d+(?:,\d+)*(?:\.\d+)?")
_BEFORE_STOP = re.compile(r"\d+(?=\.(?:\s|$))")
log = getLogger(__name__)


class XttsOptions(Options):
    """Options of XTTS."""

    model: str = Field("xtts-v2", min_length=1, description="xtts-v2, or the path of a folder with " + ", ".join(FILES))
    agree_terms: bool = Field(
        False,
        description=f"accept the {LICENCE}, under which the model and what it speaks may not be used commercially",
        json_schema_extra={"identity": False},
    )
    temperature: float = Field(0.75, gt=0, le=2, description="spread of the samples; lower = steadier and flatter")
    top_k: int = Field(50, ge=0, le=1000, description="tokens that are drawn from at each step; 0 = all")
    top_p: float = Field(0.85, gt=0, le=1, description="sum of the probabilities of those that are drawn from")
    repetition_penalty: float = Field(10.0, ge=1, le=50, description="factor against tokens that were said already; 1 = none")
    length_penalty: float = Field(1.0, gt=-5, lt=5, description="exponent on the length, used where several ways are followed")
    stream_tokens: int = Field(
        20, ge=4, le=200, description="tokens of 46 ms in one piece of a stream", json_schema_extra={"identity": False}
    )
    threads: int = Field(0, ge=0, le=256, description="threads; 0 = one per core", json_schema_extra={"identity": False})


class Xtts:
    """A Synthesizer that clones and streams, one call at a time: its samples are drawn from one generator of the process."""

    def __init__(self, model: Any, options: XttsOptions, lasts: float) -> None:
        self._model = model
        self._options = options
        self._lasts_s = lasts
        self._learnt: spoken.Learnt[tuple[Any, Any]] = spoken.Learnt()
        self._speakers: dict[str, Any] = model.speaker_manager.name_to_id

    def voices(self, language: str) -> Sequence[Voice]:
        """The speakers that came with the weights; each speaks every language. Raises: UnsupportedLanguage."""
        _code(language)
        names = [name for name in FIRST_SPEAKERS if name in self._speakers]
        names += [name for name in self._speakers if name not in names]
        return tuple(Voice(NAME, name, language, name) for name in names)

    def synthesize(self, part: Part) -> Audio:
        """Mono sound at 24 kHz; the same part and seed give the same samples. A text without letters gives zero frames.

        Raises: BadSettings for an unknown voice, UnsupportedLanguage, MissingExtra for Japanese without a dictionary,
        BadEngineOutput for speech that does not come to an end or is not finite.
        """
        return self._spoken(part, self._own(part))

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        """As `synthesize`, in the voice of `references`, of which one of 0.33 s is the least. Raises: also BadInput."""
        return self._spoken(part, self._learnt.get(part.voice, references, lambda: self._learn(references)))

    def stream(self, part: Part) -> Iterator[Audio]:
        """As `synthesize`, in pieces of about a second; in a cloned voice once `clone` heard it. Peaks above 0.9 are bent."""
        known = self._learnt.known(part.voice) if part.voice.references else self._own(part)
        if known is None:
            raise spoken.not_heard(part, TITLE)
        return self._streamed(part, known)

    def _own(self, part: Part) -> tuple[Any, Any]:
        speaker = self._speakers.get(part.voice.name)
        if speaker is None:
            raise spoken.no_voice(part.voice.name, self._speakers, TITLE)
        return speaker["gpt_cond_latent"], speaker["speaker_embedding"]

    def _learn(self, references: Sequence[Audio]) -> tuple[Any, Any]:
        """As get_conditioning_latents does with files: the mean of the vectors of speakers, one run over all sounds."""
        torch, config = library("torch"), self._model.config
        sounds = spoken.heard(references, REFERENCE_HZ, LEAST_REFERENCE_S, TITLE)
        limit = int(config.max_ref_len * REFERENCE_HZ)
        tensors = [torch.from_numpy(s[:limit].clip(-1, 1)).unsqueeze(0).to(self._model.device) for s in sounds]
        try:
            vectors = [self._model.get_speaker_embedding(t, REFERENCE_HZ) for t in tensors]
            latent = self._model.get_gpt_cond_latents(
                torch.cat(tensors, dim=-1), REFERENCE_HZ, length=config.gpt_cond_len, chunk_length=config.gpt_cond_chunk_len
            )
        except RuntimeError as error:
            if "too short" in str(error):
                raise BadInput(f"the recordings of this voice are too short for XTTS: {error}", "give 6 to 30 s") from error
            raise
        return latent, torch.stack(vectors).mean(dim=0)

    def _spoken(self, part: Part, voice: tuple[Any, Any]) -> Audio:
        pieces = self._pieces(part)
        self._seed(part.seed)
        sounds: list[Audio] = []
        for piece in pieces:
            watch = _watch(self._model)
            answer = self._model.inference(piece, _code(part.language), *voice, speed=part.rate, **self._settings(watch))
            self._whole(watch)
            sounds.append(spoken.finished(answer["wav"], RATE_HZ, TITLE))
        return spoken.in_a_row(sounds, chunks.PAUSE_S, RATE_HZ)

    def _streamed(self, part: Part, voice: tuple[Any, Any]) -> Generator[Audio]:
        pieces = self._pieces(part)
        self._seed(part.seed)
        for number, piece in enumerate(pieces):
            watch = _watch(self._model)
            made = self._model.inference_stream(
                piece,
                _code(part.language),
                *voice,
                speed=part.rate,
                stream_chunk_size=self._options.stream_tokens,
                **self._settings(watch),
            )
            if number:
                yield Audio(spoken.pause(chunks.PAUSE_S, RATE_HZ), RATE_HZ)
            with closing(made):
                for sound in made:
                    yield spoken.streamed(sound.cpu().numpy(), RATE_HZ, TITLE)
            self._whole(watch)

    def _settings(self, watch: Any) -> dict[str, Any]:
        options = self._options
        return {
            "temperature": options.temperature,
            "top_k": options.top_k,
            "top_p": options.top_p,
            "repetition_penalty": options.repetition_penalty,
            "length_penalty": options.length_penalty,
            "stopping_criteria": library("transformers").StoppingCriteriaList([watch]),
        }

    def _whole(self, watch: Any) -> None:
        if not watch.ended:
            raise spoken.cut_short(TITLE, self._lasts_s)

    def _seed(self, seed: int) -> None:
        library("torch").manual_seed(seed)  # the generators of all devices

    def _pieces(self, part: Part) -> list[str]:
        """The text in pieces that the model takes, by its limits in characters and tokens; none without a letter or digit."""
        if not speakable(part.text):
            return []
        code = _code(part.language)
        most = self._model.tokenizer.char_limits[code]
        text = _numbered(part.text, code)
        pieces = [p for p in chunks.split(text, most, 0, part.language) if speakable(p)]
        while any(self._tokens(p, code) >= self._model.args.gpt_max_text_tokens for p in pieces):
            most //= 2
            if most < FEWEST:
                raise BadSettings("XTTS cannot take a text with so many rare signs in a row", "shorten or spell them out")
            pieces = [p for p in chunks.split(text, most, 0, part.language) if speakable(p)]
        return pieces

    def _tokens(self, piece: str, code: str) -> int:
        try:
            return len(self._model.tokenizer.encode(piece.strip().lower(), lang=code))
        except RuntimeError as error:
            if code == "ja":  # MeCab has no dictionary: the only one that polydub may install comes as source
                hint = f"run: bin/pip install {DICTIONARY} in the environment {NAME}, or choose another engine"
                raise MissingExtra("XTTS needs a dictionary for Japanese", hint) from error
            raise


def _code(language: str) -> str:
    """XTTS's code. Raises: UnsupportedLanguage."""
    base = languages.base(language)
    if base not in TAGS:
        raise UnsupportedLanguage(f"XTTS does not speak {language!r}", f"it has {', '.join(TAGS)}")
    return base


def _numbered(text: str, code: str) -> str:
    """`text` with the numbers in words that coqui-tts 0.28 fails at: all in Hindi, and ends of sentences in Czech."""
    if code == "hi":
        return _NUMBER.sub(lambda found: _in_hindi(found[0]), text)
    if code == "cs":  # "1999." at the end would be an ordinal
        return _BEFORE_STOP.sub(lambda found: library("num2words").num2words(int(found[0]), lang="cs"), text)
    return text


def _in_hindi(number: str) -> str:
    whole, _, rest = number.replace(",", "").partition(".")
    say = library("indic_numtowords").num2words
    words = [say(str(int(whole)), lang="hi")]
    words += [POINT, *(say(str(int(digit)), lang="hi") for digit in rest)] if rest else []
    return " ".join(words)


def _watch(model: Any) -> Any:
    """A stopping criterion that stops nothing: `ended` tells whether the last token was that for the end of speech."""
    base: Any = library("transformers").StoppingCriteria

    class Watch(base):
        ended = False

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            last = input_ids[:, -1] == model.gpt.stop_audio_token
            self.ended = bool(last.all())
            return last

    return Watch()


@contextmanager
def _load(options: XttsOptions, weights: Weights, device: str) -> Generator[Xtts]:
    folder = _own_folder(options) or weights[WEIGHT.id]
    if not options.agree_terms:
        raise BadSettings(*_terms())
    _require(folder)
    torch = library("torch")
    torch.set_num_threads(spoken.threads(options.threads))
    from polydub.engines.tts import torchaudio_stand_in

    if torchaudio_stand_in.ensure(codec=True):
        log.info("torchaudio cannot be imported; polydub's own mel spectrum and resampling serve XTTS")
    configs, models = library("TTS.tts.configs.xtts_config"), library("TTS.tts.models.xtts")
    config = configs.XttsConfig()
    config.load_json(str(folder / "config.json"))
    model = models.Xtts(config)
    model._load_checkpoint = partial(_state, models)
    try:
        model.load_checkpoint(config, checkpoint_dir=str(folder), eval=True)
    except (RuntimeError, KeyError, ValueError, EOFError, OSError) as error:
        raise EngineFailed(f"XTTS cannot load {folder.name}: {str(error).partition(chr(10))[0]}", PULL) from error
    yield Xtts(model.to(device), options, model.gpt.max_gen_mel_tokens * TOKEN_S)


def _state(models: Any, path: Any) -> Any:
    """The tensors of model.pth. coqui-tts would write a file anew that holds a config object, as the published one does."""
    with models._legacy_safe_globals():
        checkpoint = library("torch").load(path, map_location="cpu", weights_only=True, mmap=True)
    return dict(checkpoint["model"])


def _require(folder: Path) -> None:
    """Raises: MissingWeights, EngineFailed for a config.json that is not of XTTS."""
    missing = spoken.lacking(folder, FILES)
    if missing:
        raise MissingWeights(f"{folder.name} lacks {missing}", PULL)
    try:
        told = json.loads((folder / "config.json").read_text("utf-8"))
        fits = told.get("model") == "xtts" and isinstance(told.get("model_args"), dict)
    except (OSError, ValueError, AttributeError):
        fits = False
    if not fits:
        raise EngineFailed(f"config.json of {folder.name} is not that of an XTTS model", PULL)


def _terms() -> tuple[str, str]:
    return (
        f"XTTS may be used only by who accepts the {LICENCE}: no commercial use of the model and of what it speaks",
        f"read {TERMS} and set COQUI_TOS_AGREED=1",
    )


def _own_folder(options: XttsOptions) -> Path | None:
    return None if options.model in MODELS else Path(options.model).expanduser()


def _check(options: XttsOptions) -> Availability:
    if not options.agree_terms:
        return Availability(False, *_terms())
    folder = _own_folder(options)
    if folder is None:
        return READY
    if not folder.is_dir():
        return Availability(False, f"there is no XTTS model or folder {options.model!r}", "choose xtts-v2, or give a folder")
    missing = spoken.lacking(folder, FILES)
    return Availability(False, f"{folder.name} lacks {missing}", PULL) if missing else READY


def _remarks(options: XttsOptions, language: str) -> tuple[str, ...]:
    told = (f"what XTTS speaks may not be used commercially ({LICENCE})",)
    if languages.base(language) == "ja":
        told += (f"for Japanese XTTS needs {DICTIONARY} in its environment, which polydub does not install",)
    return told


def _version(options: XttsOptions) -> str:
    folder = _own_folder(options)
    return spoken.digest(folder) if folder else ""


def _weights(options: XttsOptions) -> tuple[Weight, ...]:
    return () if _own_folder(options) else (WEIGHT,)


ENGINE = Engine(
    info=Info(
        kind="tts",
        name=NAME,
        summary="17 languages in 58 voices or in that of a person heard for some seconds; for non-commercial use",
        licence="MPL-2.0",
        homepage="https://github.com/idiap/coqui-ai-TTS",
        package="coqui-tts",
        memory_mib=(4500, 3500),
        devices=frozenset({"cpu", "cuda"}),
        deterministic=True,  # with as many threads as before; with others sums differ in their last bits, and soon the tokens
        parallel=1,
        features=frozenset({"clone", "rate", "seed", "stream"}),
    ),
    options=XttsOptions,
    load=_load,
    check=_check,
    languages=lambda _: frozenset(TAGS),
    version=_version,
    weights=_weights,
    models={"low": MODELS, "medium": MODELS, "high": MODELS},
    remarks=_remarks,
    environment=Environment(NAME, "coqpit"),  # TTS itself wants torchaudio, which `load` stands in for
)
