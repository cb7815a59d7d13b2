"""Chatterbox by Resemble AI: English, or 21 languages, in its own voice or in that of a person heard for some seconds.

It works in an environment of its own, whose numpy and transformers do not go with those of polydub. Everything it speaks bears
its inaudible watermark; without the watermarker it is not used.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Engine, Environment, Info, Options, Weight, WeightFile, Weights
from polydub.engines.tts import spoken
from polydub.engines.tts.spoken import library
from polydub.errors import EngineFailed, MissingWeights, UnsupportedLanguage
from polydub.text import chunks
from polydub.text.words import speakable
from polydub.types import Audio, Part, Voice

NAME, TITLE, OWN = "chatterbox", "Chatterbox", "chatterbox"
RATE_HZ = 24_000
LIMIT_S = 40.0  # 1000 tokens of 40 ms, fixed in chatterbox-tts 0.1.7
MOST_CHARS = 280  # of one piece: about half of what fits into LIMIT_S
LEAST_REFERENCE_S, MOST_REFERENCE_S = 1.0, 30.0  # of which 10 s are imitated
ENGLISH, MULTILINGUAL = "english", "multilingual"
# chatterbox.mtl_tts.SUPPORTED_LANGUAGES without he and ru: the packages that it puts vowels and stresses in with are on no
# index, and without them it only warns.
CODES = (
    "ar",
    "da",
    "de",
    "el",
    "en",
    "es",
    "fi",
    "fr",
    "hi",
    "it",
    "ja",
    "ko",
    "ms",
    "nl",
    "no",
    "pl",
    "pt",
    "sv",
    "sw",
    "tr",
    "zh",
)
TAGS: Mapping[str, str] = MappingProxyType({("nb" if code == "no" else code): code for code in CODES})

# Lengths and hashes come from manifests in public repositories, read in November 2026: the notice of a speech relay, a list of
# models of an image studio (both with this revision), a catalogue of an audio studio, and for the files of the multilingual
# model the CHATTERBOX_MODEL_ASSETS of a narrator and the locks of an assistant; they agree on every file.
_REVISION = "5bb1f6ee58e50c3b8d408bc82a6d3740c2db6e18"
_CONDS = WeightFile("conds.pt", "6552d70568833628ba019c6b03459e77fe71ca197d5c560cef9411bee9d87f4e", 107_374)


def _weight(model: str, *files: WeightFile) -> Weight:
    return Weight(f"chatterbox-{model}", _REVISION, "hub:ResembleAI/chatterbox", "MIT", True, files=(*files, _CONDS))


WEIGHTS: Mapping[str, Weight] = MappingProxyType(
    {
        ENGLISH: _weight(
            ENGLISH,
            WeightFile("ve.safetensors", "f0921cab452fa278bc25cd23ffd59d36f816d7dc5181dd1bef9751a7fb61f63c", 5_695_784),
            WeightFile("t3_cfg.safetensors", "914cb1696f47527fe8852ca8f1fe1fa63cb34f76f9c715e84e067b744dd0da81", 2_129_653_744),
            WeightFile("s3gen.safetensors", "2b78103c654207393955e4900aac14a12de8ef25f4b09424f1ef91941f161d4e", 1_056_484_620),
            WeightFile("tokenizer.json", "d71e3a44eabb1784df9a68e9f95b251ecbf1a7af6a9f50835856b2ca9d8c14a5", 25_470),
        ),
        MULTILINGUAL: _weight(
            MULTILINGUAL,
            WeightFile("ve.pt", "4b16d836bc598509860f6fa068165a8bb5e9ac84f05582dfcf278a5a372879f1", 5_698_626),
            WeightFile(
                "t3_mtl23ls_v2.safetensors", "b1237586127ce98e7800a68e49938eb5092846862aabcb6e17b2fda7889a6c75", 2_143_989_752
            ),
            WeightFile("s3gen.pt", "9b9ff07e60b20c136e2b1b3d7563a24604e8d2c4c267888d1ee929dd0151d2a3", 1_057_165_844),
            WeightFile(
                "grapheme_mtl_merged_expanded_v1.json",
                "df81a7ca7c31796cbe97f7a7142d5a53b12e88e12417ebe98f66602cafaf0461",
                70_011,
            ),
            WeightFile("Cangjie5_TC.json", "7073fd9de919443ae88e0bd2449917a65fe54898a4413ed1edcc4b67f28bce8c", 1_920_163),
        ),
    }
)


class ChatterboxOptions(Options):
    """Options of Chatterbox."""

    model: str = Field(
        "english", min_length=1, description="english, multilingual, or the path of a folder with the files of one"
    )
    exaggeration: float = Field(0.5, ge=0.25, le=2, description="how much is acted; 0.5 = neutral")
    cfg_weight: float = Field(0.5, gt=0, le=1, description="how closely text and voice are followed; lower = slower speech")
    temperature: float = Field(0.8, gt=0, le=5, description="spread of the samples; lower = steadier and flatter")
    repetition_penalty: float = Field(1.2, ge=1, le=10, description="factor against tokens that were said already; 1 = none")
    min_p: float = Field(0.05, ge=0, le=1, description="least probability of a token, as a share of the likeliest one's")
    top_p: float = Field(1.0, gt=0, le=1, description="sum of the probabilities of the tokens that are drawn from")
    threads: int = Field(0, ge=0, le=256, description="threads; 0 = one per core", json_schema_extra={"identity": False})


class Chatterbox:
    """A Synthesizer that clones, one call at a time: the voice is a state of the model."""

    def __init__(self, model: Any, options: ChatterboxOptions, multilingual: bool) -> None:
        self._model = model
        self._options = options
        self._multilingual = multilingual
        self._own = model.conds
        self._learnt: spoken.Learnt[Any] = spoken.Learnt()
        self._last: Any = None
        self._infer = model.t3.inference
        model.t3.inference = self._tokens  # the only way to learn whether the end was reached

    def voices(self, language: str) -> Sequence[Voice]:
        """The voice that comes with the weights. Raises: UnsupportedLanguage."""
        self._code(language)
        return (Voice(NAME, OWN, language, TITLE),) if self._own is not None else ()

    def synthesize(self, part: Part) -> Audio:
        """Mono sound at 24 kHz; the same part and seed give the same samples. A text without letters gives zero frames.

        Raises: BadSettings for an unknown voice, UnsupportedLanguage, BadEngineOutput for speech that does not come to an
        end or is not finite.
        """
        if part.voice.name != OWN or self._own is None:
            raise spoken.no_voice(part.voice.name, [OWN] if self._own is not None else [], TITLE)
        return self._spoken(part, self._own)

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        """As `synthesize`, in the voice of `references`, of which one of 1 s is the least. Raises: also BadInput."""
        return self._spoken(part, self._learnt.get(part.voice, references, lambda: self._learn(references)))

    def _learn(self, references: Sequence[Audio]) -> Any:
        import numpy as np

        sounds = spoken.heard(references, RATE_HZ, LEAST_REFERENCE_S, TITLE)
        sound = np.concatenate(sounds)[: round(MOST_REFERENCE_S * RATE_HZ)]
        file = io.BytesIO()
        library("soundfile").write(file, sound, RATE_HZ, format="WAV", subtype="FLOAT")
        file.seek(0)
        self._model.prepare_conditionals(file, exaggeration=self._options.exaggeration)
        return self._model.conds

    def _spoken(self, part: Part, conditions: Any) -> Audio:
        code = self._code(part.language)
        options = self._options
        settings = options.model_dump(
            include={"exaggeration", "cfg_weight", "temperature", "repetition_penalty", "min_p", "top_p"}
        )
        if self._multilingual:
            settings["language_id"] = code
        library("torch").manual_seed(part.seed)
        sounds: list[Audio] = []
        for piece in chunks.split(part.text, MOST_CHARS, 0, part.language):
            if not speakable(piece):
                continue
            self._model.conds = conditions
            answer = self._model.generate(piece, **settings)
            if int(self._last) != self._model.t3.hp.stop_speech_token:
                raise spoken.cut_short(TITLE, LIMIT_S)
            sounds.append(spoken.finished(answer.squeeze(0).cpu().numpy(), RATE_HZ, TITLE))
        return spoken.in_a_row(sounds, chunks.PAUSE_S, RATE_HZ)

    def _tokens(self, **settings: Any) -> Any:
        tokens = self._infer(**settings)
        self._last = tokens[0, -1]
        return tokens

    def _code(self, language: str) -> str:
        known = TAGS if self._multilingual else {"en": "en"}
        base = languages.base(language)
        if base not in known:
            hint = "choose another engine" if self._multilingual else "set its model to multilingual"
            raise UnsupportedLanguage(f"this model of Chatterbox does not speak {language!r}", hint)
        return known[base]


@contextmanager
def _load(options: ChatterboxOptions, weights: Weights, device: str) -> Generator[Chatterbox]:
    folder = _own_folder(options) or weights[WEIGHTS[options.model].id]
    model = _model_of(options)
    missing = _lacking(folder, model)
    if missing:
        raise MissingWeights(f"{folder.name} lacks {missing}", _pull(model))
    torch = library("torch")
    torch.set_num_threads(spoken.threads(options.threads))
    from polydub.engines.tts import torchaudio_stand_in

    torchaudio_stand_in.ensure()
    if library("perth").PerthImplicitWatermarker is None:
        raise EngineFailed("the watermarker of Chatterbox cannot be imported", "polydub engines install chatterbox")
    multilingual = model == MULTILINGUAL
    if multilingual:
        # Asked for by every start, and the hub is out of reach.
        library("chatterbox.models.tokenizers.tokenizer").hf_hub_download = partial(_beside, folder)
    kind = library("chatterbox.mtl_tts").ChatterboxMultilingualTTS if multilingual else library("chatterbox.tts").ChatterboxTTS
    try:
        loaded = kind.from_local(folder, device)
    except (RuntimeError, KeyError, ValueError, OSError, AssertionError) as error:
        raise EngineFailed(f"Chatterbox cannot load {folder.name}: {str(error).partition(chr(10))[0]}", _pull(model)) from error
    yield Chatterbox(loaded, options, multilingual)


def _beside(folder: Path, *_: Any, filename: str, **__: Any) -> str:
    """Stands in for a download: the file as it lies in the folder."""
    return str(folder / filename)


def _own_folder(options: ChatterboxOptions) -> Path | None:
    return None if options.model in WEIGHTS else Path(options.model).expanduser()


def _model_of(options: ChatterboxOptions) -> str:
    """Which of the two models it is; a folder of one's own is told by its files."""
    if options.model in WEIGHTS:
        return options.model
    return MULTILINGUAL if (Path(options.model).expanduser() / "t3_mtl23ls_v2.safetensors").is_file() else ENGLISH


def _lacking(folder: Path, model: str) -> str:
    return spoken.lacking(folder, [file.name for file in WEIGHTS[model].files if file != _CONDS])


def _pull(model: str) -> str:
    return f"polydub models pull {WEIGHTS[model].id}"


def _check(options: ChatterboxOptions) -> Availability:
    folder = _own_folder(options)
    if folder is None:
        return READY
    if not folder.is_dir():
        text = f"there is no Chatterbox model or folder {options.model!r}"
        return Availability(False, text, f"choose {', '.join(WEIGHTS)}, or give a folder")
    missing = _lacking(folder, _model_of(options))
    return Availability(False, f"{folder.name} lacks {missing}", _pull(_model_of(options))) if missing else READY


def _languages(options: ChatterboxOptions) -> frozenset[str]:
    return frozenset(TAGS) if _model_of(options) == MULTILINGUAL else frozenset({"en"})


def _version(options: ChatterboxOptions) -> str:
    folder = _own_folder(options)
    return spoken.digest(folder) if folder else ""


ENGINE = Engine(
    info=Info(
        kind="tts",
        name=NAME,
        summary="English, or 21 languages, in its own voice or in that of a person; everything bears an inaudible watermark",
        licence="MIT",
        homepage="https://github.com/resemble-ai/chatterbox",
        package="chatterbox-tts",
        memory_mib=(5_000, 5_000),
        devices=frozenset({"cpu", "cuda"}),
        parallel=1,
        features=frozenset({"clone", "seed"}),
    ),
    options=ChatterboxOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    weights=lambda options: (WEIGHTS[options.model],) if options.model in WEIGHTS else (),
    models={"low": (ENGLISH, MULTILINGUAL), "medium": (MULTILINGUAL, ENGLISH), "high": (MULTILINGUAL, ENGLISH)},
    remarks=lambda _, __: ("everything that Chatterbox speaks bears its inaudible watermark",),
    environment=Environment(NAME, "perth"),  # chatterbox itself wants torchaudio, which `load` stands in for
)
