"""Which model an engine takes for mode and language, and what is done when memory is short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import Field

from polydub.engines import faults, fitting, preferences, registry
from polydub.engines.base import KINDS, READY, Engine, Info, Kind, Options, Weight
from polydub.engines.fitting import Need, TooLittleMemory
from polydub.errors import UnsupportedLanguage


class Models(Options):
    model: str = Field(description="the voice")


def voices(**tags: str) -> Engine:
    """An engine with a model for each language, best first."""

    def weights(options: Models) -> tuple[Weight, ...]:
        return (Weight(f"toy-{options.model}", "r1", "hub:a/b", "MIT", True, about_bytes=2000 * 2**20),)

    return Engine(
        Info("tts", "toy", "a test", "MIT", "", memory_mib=(300, 900)),
        Models,
        faults.speech("crash").load,
        lambda _: READY,
        lambda options: frozenset({tags[options.model]}) if options.model in tags else frozenset[str](),
        weights=weights,
        models=dict.fromkeys(preferences.MODES, tuple(tags)),
    )


SPANISH = Models(model="es_ES")
TOY = voices(en_US="en-US", es_ES="es-ES", es_MX="es-MX", de_DE="de-DE")


def none(options: Options) -> tuple[Weight, ...]:
    return ()


def has(mib: int | None) -> Callable[[str], int | None]:
    return lambda device: mib


def weights_of(engine: Engine) -> list[Weight]:
    return [weight for options in fitting.all_variants(engine, {}) for weight in engine.weights(options)]


def need(language: str, *here: str) -> Need:
    return Need("tts", language, find=lambda weight: Path(weight.id) if weight.id.removeprefix("toy-") in here else None)


@pytest.mark.parametrize(
    ("language", "here", "model"),
    [
        ("de", (), "de_DE"),
        ("de", ("en_US",), "de_DE"),  # what has not the language is of no use, though it is here
        ("es", ("es_MX",), "es_MX"),  # what is here comes before what is better
        ("es-MX", (), "es_MX"),
        ("es-MX", ("es_ES", "es_MX"), "es_MX"),  # the very language before its neighbour
        ("es-MX", ("es_ES",), "es_ES"),
        ("und", ("de_DE",), "de_DE"),
        ("und", (), "en_US"),
    ],
)
def test_the_model_has_the_language_and_its_weights_are_here_if_any_are(
    language: str, here: tuple[str, ...], model: str
) -> None:
    options = fitting.with_model(TOY, {}, need(language, *here))
    assert isinstance(options, Models) and options.model == model


def test_a_model_that_was_named_is_taken_as_it_is() -> None:
    options = fitting.with_model(TOY, {"model": "en_US"}, need("de", "de_DE"))
    assert isinstance(options, Models) and options.model == "en_US"
    with pytest.raises(UnsupportedLanguage) as caught:
        fitting.spoken(TOY, options, need("de"), {"model": "en_US"})
    assert caught.value.hint == "it speaks: en-US"


def test_a_language_that_no_model_has_names_the_nearest_of_all() -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        fitting.spoken(TOY, fitting.with_model(TOY, {}, need("fr")), need("fr"), {})
    assert caught.value.hint == "it speaks: de-DE, en-US, es-ES, es-MX"


@pytest.mark.parametrize(
    ("kind", "name", "language", "model"),
    [
        ("mt", "opus-mt", "es>en", "es-en"),
        ("tts", "piper", "fr", "fr_FR-upmc-medium"),
        ("asr", "sherpa-onnx", "de", "parakeet-tdt-0.6b-v3"),
        ("asr", "sherpa-onnx", "ja", "sense-voice"),
        ("asr", "kyutai", "fr", "stt-1b-en_fr"),
    ],
)
@pytest.mark.parametrize("mode", preferences.MODES)
def test_each_engine_takes_a_model_of_the_films_language_in_every_mode(
    kind: Kind, name: str, language: str, model: str, mode: str
) -> None:
    engine = registry.get(kind, name)
    options = fitting.with_model(engine, {}, Need(kind, language, mode=mode))
    assert options.model_dump()["model"] == model


def test_memory_is_the_engines_estimate_and_its_weights_once_at_least() -> None:
    assert fitting.memory_mib(TOY, SPANISH, "cpu") == 2000
    small = replace(TOY, weights=none)
    assert (fitting.memory_mib(small, SPANISH, "cpu"), fitting.memory_mib(small, SPANISH, "cuda")) == (300, 900)


def test_an_engine_that_was_named_and_does_not_fit_is_refused_before_it_is_loaded() -> None:
    short = Need("tts", "es", free=has(10), find=lambda weight: Path())
    with pytest.raises(TooLittleMemory) as caught:
        registry.choose("espeak-ng", short)
    assert caught.value.message == "espeak-ng needs about 60 MiB of memory, and this machine has 10 MiB free"
    assert "POLYDUB_CHECK_MEMORY=no" in caught.value.hint
    for enough in (replace(short, free=has(60)), replace(short, free=has(None))):
        assert registry.choose("espeak-ng", enough).device == "cpu"


def test_auto_passes_over_what_does_not_fit_and_says_so() -> None:
    short = Need("embedding", "und", free=has(119), find=lambda weight: Path())
    chosen = registry.choose("auto", short)
    assert chosen.engine.info.name == "fingerprint"
    assert "passed over: resemblyzer (needs about 120 MiB of memory, and this machine has 119 MiB free)" in chosen.reason
    assert registry.choose("auto", replace(short, free=has(120))).engine.info.name == "resemblyzer"


def test_the_table_names_engines_that_are_there_once_and_every_kind_has_one_in_every_mode() -> None:
    for kind in KINDS:
        listed = [advice.engine for advice in preferences.ADVICE if advice.kind == kind]
        assert len(set(listed)) == len(listed)
        assert not registry.engines(kind) or set(listed) <= set(registry.engines(kind))
        assert not listed or all(preferences.order(kind, mode) for mode in preferences.MODES)


def test_orders_differ_by_mode_as_the_table_says() -> None:
    assert preferences.order("separation", "low") == ("mask",)
    assert preferences.order("separation", "medium") == ("deepfilternet", "ul-unas", "mask")
    assert preferences.order("separation", "high") == ("mdx23", "demucs", "deepfilternet", "ul-unas", "mask")
    assert preferences.order("diarization", "medium") == ("sherpa-onnx", "embedded")
    assert preferences.order("tts", "medium") == ("kokoro", "piper", "espeak-ng")


def test_auto_never_takes_a_translator_whose_weights_forbid_commercial_use() -> None:
    names = {name for mode in preferences.MODES for name in preferences.order("mt", mode)}
    weights = [w for name in names for w in weights_of(registry.get("mt", name))]
    assert weights and all(weight.commercial_use for weight in weights)
