"""What every engine promises, checked for all that are registered. A new engine needs no new test code.

The cheap part is for every engine; the run part for those that can run here and use no network. The others are skipped
with their reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from checks import buzz, silence
from conformity import Ready, each, has, running, usable
from pydantic import SecretStr

from polydub.engines import faults
from polydub.engines.base import KINDS, Availability, Batch, Engine, Kind, Options, Request, Synthesizer, Translator, Weight
from polydub.engines.registry import build_options, engines, identity
from polydub.errors import BadEngineOutput, BadSettings, PolydubError, UnsupportedLanguage
from polydub.types import RATE_HZ, Artifact, Audio, Part, Voice

GetReady = Callable[[Kind, str], Ready]
HEAVY = (
    *("torch", "onnxruntime", "transformers", "ctranslate2", "faster_whisper", "pocketsphinx", "huggingface_hub", "tokenizers"),
    *("scipy", "av", "numpy", "httpx"),
)
IMPORT = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        raise SystemExit(f"{event} while importing")
sys.addaudithook(refuse)
from importlib.metadata import entry_points
(entry,) = entry_points(group=sys.argv[1], name=sys.argv[2])
entry.load()
print([name for name in sys.argv[3:] if name in sys.modules])
"""
NOTHING_LEFT = pytest.mark.usefixtures("socket_disabled", "nothing_left")
SENTENCES = {
    "en": ("The train is late.", "Good morning.", "The house is red."),
    "es": ("El tren llega tarde.", "Buenos días.", "La casa es roja."),
}


def _is_choosy(engine: Engine) -> bool:
    """It has not every language."""
    return engine.languages(build_options(engine, {})) is not None


@each()
def test_the_facts_are_complete(kind: Kind, name: str) -> None:
    info = usable(kind, name).info
    assert (info.kind, info.name) == (kind, name)
    assert info.summary and info.licence
    assert info.homepage.startswith("https://") or name == "fake"
    assert info.devices <= {"cpu", "cuda", "mps", "rocm"} and info.devices
    assert info.parallel >= 0 and info.batch >= 1 and min(info.memory_mib) >= 0
    assert info.piece_s > 0


def _weights(engine: Engine) -> list[Weight]:
    """What the engine needs without options, and with each model that `auto` may take."""
    models = [model for several in engine.models.values() for model in several]
    return [w for v in ({}, *({"model": m} for m in models)) for w in engine.weights(build_options(engine, v))]


@each()
def test_weights_are_pinned_or_said_not_to_be_and_their_licence_and_length_are_told(kind: Kind, name: str) -> None:
    engine = usable(kind, name)
    assert set(engine.models) <= {"low", "medium", "high"}
    for weight in _weights(engine):
        assert weight.id and weight.licence and weight.bytes > 0
        if not weight.revision:  # the hub tells what there is when it is pulled, with hashes
            assert weight.source.startswith("hub:") and weight.patterns and not weight.files, weight.id
            continue
        assert weight.revision not in ("main", "master", "latest")
        assert weight.source == "files" or weight.source.startswith(("hub:", "wheel:"))
        assert weight.files and len({file.name for file in weight.files}) == len(weight.files)
        for file in weight.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256), file
            assert file.bytes > 0 and not Path(file.name).is_absolute() and ".." not in Path(file.name).parts
            assert weight.source != "files" or file.url.startswith("https://")


def test_weights_of_one_id_are_the_same_for_every_engine() -> None:
    rows = [w for kind in KINDS for row in engines(kind).values() if isinstance(row, Engine) for w in _weights(row)]
    assert len({weight.id for weight in rows}) == len(set(rows))


@each()
def test_importing_it_is_cheap_and_silent(kind: Kind, name: str) -> None:
    command = [sys.executable, "-c", IMPORT, f"polydub.{kind}", name, *HEAVY]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "[]", "")


@each()
def test_every_option_is_described_has_a_default_and_unknown_ones_are_refused(kind: Kind, name: str) -> None:
    engine = usable(kind, name)
    assert issubclass(engine.options, Options)
    for field, facts in engine.options.model_fields.items():
        assert facts.description, field
        assert not facts.is_required(), field
    with pytest.raises(BadSettings):
        build_options(engine, {"no_such_option": 1})
    schema = engine.options.model_json_schema()
    assert schema["additionalProperties"] is False
    assert json.loads(json.dumps(schema)) == schema


@each()
def test_secrets_are_secret_fields_and_stay_out_of_the_identity(kind: Kind, name: str) -> None:
    engine = usable(kind, name)
    secret = [
        f for f, facts in engine.options.model_fields.items() if SecretStr in (facts.annotation, *get_args(facts.annotation))
    ]
    assert set(engine.info.secrets) <= set(secret)
    told = json.dumps(identity(engine, build_options(engine, dict.fromkeys(secret, "hunter2")), "cpu"))
    assert "hunter2" not in told


@each()
@pytest.mark.usefixtures("socket_disabled")
def test_check_and_languages_answer_quickly_without_the_network(kind: Kind, name: str) -> None:
    engine = usable(kind, name)
    options = build_options(engine, {})
    began = sum(os.times()[:4])  # of this process and those it waited for: what else the machine does is not counted
    available, languages = engine.check(options), engine.languages(options)
    assert sum(os.times()[:4]) - began < 1
    assert isinstance(available, Availability)
    assert available.ready or (available.reason and available.fix)
    if languages is not None:
        assert all((">" in tag) == (kind == "mt") for tag in languages)
        assert languages or not available.ready


@running()
def test_it_runs_here_or_says_why_not(ready: GetReady, kind: Kind, name: str) -> None:
    """`pytest -rA -k runs_here` lists all engines: those that the tests below work, and the others with their reasons."""
    assert ready(kind, name).engine is usable(kind, name)


# Checks of what engines answer; the fault engines below prove that they notice.


def check_sound(audio: Audio, characters: int | None) -> None:
    """Finite, audible, mono float32 at a plausible rate and of a plausible length for a text of so many characters.

    None = of any length: what random weights say has no plausible one.
    """
    samples: Any = audio.samples
    assert samples.dtype == np.float32 and samples.ndim == 2 and samples.shape[0] == 1
    assert 8_000 <= audio.rate_hz <= 96_000
    assert audio.duration > 0
    assert characters is None or characters / 60 <= audio.duration <= 2 + characters / 4
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1.0
    assert np.sqrt(np.mean(samples**2)) > 1e-3


def check_texts(batch: Batch, answers: Sequence[str]) -> None:
    """One text for each request, empty only for an empty one."""
    assert len(answers) == len(batch.requests)
    for request, answer in zip(batch.requests, answers, strict=True):
        assert isinstance(answer, str)
        assert bool(answer.strip()) == bool(request.text.strip())


def spoken(engine: Engine, options: Options) -> tuple[str, tuple[str, ...]]:
    has = engine.languages(options)
    language = next((tag for tag in SENTENCES if has is None or tag in has), "") or min(has or {"en"})
    base = language.partition("-")[0]
    return language, SENTENCES.get(base, ("1 2 3 4 5", "6 7 8 9", "10 11 12"))


def said(row: Ready, say: Callable[[Part], Audio], part: Part) -> Audio:
    """What an engine says. Random weights do not always come to an end: they are asked for other seeds, as polydub asks."""
    for seed in range(8 if row.random else 0):
        with suppress(BadEngineOutput):
            return say(replace(part, seed=seed))
    return say(part)


def length_of(row: Ready, text: str) -> int | None:
    """For `check_sound`."""
    return None if row.random else len(text)


@running("tts")
@NOTHING_LEFT
def test_speech_is_sound_and_blank_text_is_nothing(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    engine, options = row.engine, row.options
    language, sentences = spoken(engine, options)
    with row.load() as speech:
        voices = _voices(speech, engine, language)
        for voice in voices[:3]:
            for text in (*sentences, " ".join(sentences)):
                check_sound(said(row, speech.synthesize, Part(text, language, voice)), length_of(row, text))
        for text in ("", "  ", "\n"):
            assert speech.synthesize(Part(text, language, voices[0])).samples.shape == (1, 0)
        assert np.isfinite(said(row, speech.synthesize, Part("a", language, voices[0])).samples).all()


def _voices(speech: Synthesizer, engine: Engine, language: str) -> Sequence[Any]:
    voices = speech.voices(language)
    assert voices and all(v.engine == engine.info.name and v.language == language for v in voices)
    assert len({(v.name, *sorted(v.settings.items())) for v in voices}) == len(voices)
    return voices


@running("tts", having=lambda engine: engine.info.deterministic)
@NOTHING_LEFT
def test_speech_is_the_same_again_in_any_order_where_that_is_promised(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language, sentences = spoken(row.engine, row.options)
    with row.load() as speech:
        parts = [
            Part(text, language, voice) for text in sentences for voice in speech.voices(language)[: 2 if row.random else 4]
        ]
        first = [_answer(row, speech, part) for part in parts]
    assert len(set(first)) > 1
    with row.load() as speech:
        assert [_answer(row, speech, part) for part in reversed(parts)] == first[::-1]


def _answer(row: Ready, speech: Synthesizer, part: Part) -> bytes:
    """The sound; of random weights also the error that there is none."""
    try:
        return speech.synthesize(part).samples.tobytes()
    except BadEngineOutput as error:
        if row.random:
            return str(error).encode()
        raise


@running("tts", having=has("rate"))
@NOTHING_LEFT
def test_a_faster_rate_is_shorter_where_rate_is_a_feature(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language, sentences = spoken(row.engine, row.options)
    with row.load() as speech:
        part = Part(" ".join(sentences), language, speech.voices(language)[0])
        slow, normal, fast = (said(row, speech.synthesize, replace(part, rate=r)).duration for r in (0.85, 1.0, 1.3))
    assert slow > 1.05 * normal and normal > 1.1 * fast


@running("tts", having=has("seed"))
@NOTHING_LEFT
def test_another_seed_is_another_reading_where_seed_is_a_feature(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language, sentences = spoken(row.engine, row.options)
    with row.load() as speech:
        part = Part(sentences[0], language, speech.voices(language)[0])
        assert len({_answer(row, speech, replace(part, seed=seed)) for seed in range(4)}) > 1


@running("tts", having=has("stream"))
@NOTHING_LEFT
def test_a_stream_is_sound_in_pieces_and_may_be_left_early(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language, sentences = spoken(row.engine, row.options)
    text = " ".join(sentences)
    with row.load() as speech:
        part = Part(text, language, speech.voices(language)[0])
        streamed = said(row, lambda asked: _joined(speech.stream(asked)), part)
        check_sound(streamed, length_of(row, text))
        with closing(speech.stream(part)) as left:
            assert np.isfinite(next(left).samples).all()
        check_sound(said(row, speech.synthesize, part), length_of(row, text))
        assert sum(piece.samples.shape[1] for piece in speech.stream(replace(part, text=" "))) == 0


def _joined(pieces: Iterable[Audio]) -> Audio:
    found = list(pieces)
    assert len({piece.rate_hz for piece in found}) == 1
    return Audio(np.concatenate([piece.samples for piece in found], axis=1), found[0].rate_hz)


@running("tts", having=has("clone"))
@NOTHING_LEFT
def test_somebody_who_was_heard_is_imitated_but_nobody_who_was_not(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language, sentences = spoken(row.engine, row.options)

    def part(person: int) -> Part:
        heard = Artifact(f"{person:064x}", ".flac", 1)
        return Part(sentences[0], language, Voice(name, f"person {person}", language, references=(heard,)))

    with row.load() as speech:
        sound = said(row, lambda asked: speech.clone(asked, [buzz(4, RATE_HZ)]), part(1))
        check_sound(sound, length_of(row, sentences[0]))
        assert speech.clone(replace(part(1), text=" "), [buzz(4, RATE_HZ)]).samples.shape == (1, 0)
        for references in ([], [silence(0, RATE_HZ)]):
            with pytest.raises(PolydubError) as caught:
                speech.clone(part(2), references)
            assert caught.value.hint


@running("tts", having=_is_choosy)
@NOTHING_LEFT
def test_a_language_it_does_not_speak_is_refused(ready: GetReady, kind: Kind, name: str) -> None:
    with ready(kind, name).load() as speech, pytest.raises(UnsupportedLanguage):
        speech.voices("xx-unknown")


@running("tts", having=has("stock"))
@NOTHING_LEFT
def test_a_stock_of_voices_is_wide_and_each_has_others_near_to_it(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    language, sentences = spoken(row.engine, row.options)
    with row.load() as speech:
        stock = speech.stock(language)
        near = speech.near(stock[0])
        assert len(stock) > len(speech.voices(language))
        for voices in (stock, near):
            assert all((voice.engine, voice.language) == (name, language) for voice in voices)
            assert len({(voice.name, *sorted(voice.settings.items())) for voice in voices}) == len(voices)
        for voice in (*stock[:: max(1, len(stock) // 3)], *near[:1]):
            check_sound(speech.synthesize(Part(sentences[0], language, voice)), length_of(row, sentences[0]))
        if row.engine.languages(row.options) is not None:
            with pytest.raises(UnsupportedLanguage):
                speech.stock("xx-unknown")


def _batch(engine: Engine, options: Options) -> Batch:
    has = engine.languages(options)
    pair = next((p for p in ("en>es", "es>en") if has is None or p in has), "") or min(has or {"en>es"})
    source, _, target = pair.partition(">")
    one, two, three = SENTENCES.get(source, ("1 2 3", "4 5 6", "7 8 9"))
    return Batch(source, target, tuple(Request(str(n), text) for n, text in enumerate((one, "", two, three, "  ", one), 1)))


@running("mt")
@NOTHING_LEFT
def test_a_translation_keeps_count_and_order_and_empty_stays_empty(ready: GetReady, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    engine, options = row.engine, row.options
    batch = _batch(engine, options)
    with row.load() as translator:
        answers = translator.translate(batch)
        check_texts(batch, answers)
        assert answers[0] == answers[-1]
        assert len(set(answers)) == 4 or row.random  # which may say one thing whatever is asked
        assert list(translator.translate(Batch(batch.source, batch.target, ()))) == []
        if engine.info.deterministic:
            assert translator.translate(batch) == answers
            alone = [translator.translate(Batch(batch.source, batch.target, (r,)))[0] for r in batch.requests]
            assert [a.strip() for a in answers] == [a.strip() for a in alone]


@running("mt", having=_is_choosy)
@NOTHING_LEFT
def test_a_pair_it_does_not_translate_is_refused(ready: GetReady, kind: Kind, name: str) -> None:
    with ready(kind, name).load() as translator, pytest.raises(UnsupportedLanguage):
        translator.translate(Batch("xx-unknown", "es", (Request("1", "a"),)))


def test_every_registered_group_is_one_that_polydub_knows() -> None:
    groups = {name.removeprefix("polydub.") for name in entry_points().groups if name.startswith("polydub.")}
    assert groups <= set(KINDS)


def _speak(fault: faults.SpeechFault, *, calls: int = 1) -> Audio:
    engine = faults.speech(fault, good=calls - 1)
    with engine.load(Options(), {}, "cpu") as speech:
        voice = speech.voices("en")[0]
        return [speech.synthesize(Part(SENTENCES["en"][0], "en", voice)) for _ in range(calls)][-1]


@pytest.mark.parametrize("fault", ["nan", "silence", "dtype", "stereo", "long", "empty"])
def test_bad_sound_is_noticed(fault: faults.SpeechFault) -> None:
    with pytest.raises(AssertionError):
        check_sound(_speak(fault), len(SENTENCES["en"][0]))


@pytest.mark.parametrize(("fault", "error"), [("crash", RuntimeError), ("memory", MemoryError)])
def test_a_fault_engine_fails_only_after_its_good_calls(fault: faults.SpeechFault, error: type[Exception]) -> None:
    engine = faults.speech(fault, good=2)
    with engine.load(Options(), {}, "cpu") as speech:
        part = Part(SENTENCES["en"][0], "en", speech.voices("en")[0])
        for _ in range(2):
            check_sound(speech.synthesize(part), len(part.text))
        with pytest.raises(error):
            speech.synthesize(part)


def test_a_hanging_call_ends_when_its_engine_is_closed() -> None:
    with ThreadPoolExecutor(1) as pool:
        with faults.speech("hang").load(Options(), {}, "cpu") as speech:
            call = pool.submit(speech.synthesize, Part("Hello.", "en", speech.voices("en")[0]))
            with pytest.raises(TimeoutError):
                call.result(0.1)
        assert call.result(60)


@pytest.mark.parametrize("fault", ["few", "many", "empty", "not-text"])
def test_bad_translations_are_noticed(fault: faults.TranslationFault) -> None:
    engine = faults.translation(fault)
    batch = _batch(engine, Options())
    translator: Translator
    with engine.load(Options(), {}, "cpu") as translator, pytest.raises(AssertionError):
        check_texts(batch, translator.translate(batch))


def test_the_fake_voice_costs_less_than_a_millisecond_a_line(ready: GetReady) -> None:
    row = ready("tts", "fake")
    with row.load() as speech:
        part = Part("A line of about sixty characters, as a film has them, or so.", "en", speech.voices("en")[0])
        speech.synthesize(part)
        times = []
        for _ in range(50):
            began = time.process_time()  # what else the machine does is not counted
            speech.synthesize(part)
            times.append(time.process_time() - began)
    assert np.median(times) < 1e-3
