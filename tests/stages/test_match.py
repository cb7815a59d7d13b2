"""Portraits are drawn of clean speech, and everyone gets a voice that is near to them and unlike the others'."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import match as spectra
from polydub.engines import registry
from polydub.engines.base import READY, Calibration, Engine, Info, Kind, Options
from polydub.engines.pool import Tool
from polydub.matching import AT_ONCE, match_voices
from polydub.media.flac import write_flac
from polydub.runner import How, Run
from polydub.stages import listen, match, speak
from polydub.stages.match import Portrait, best_excerpts
from polydub.store import Store
from polydub.types import HEAR_HZ, Artifact, Audio, Part, Samples, Span, Speech, Turn, Voice

# excerpts


def film(seconds: float, spans: Sequence[Span] = ()) -> Speech:
    count = max(1, -(-round(seconds * 48_000) // (1406 * 1024)))
    blocks = tuple(Artifact(f"{n:064}", ".flac", 1) for n in range(count))
    return Speech(blocks, round(seconds * HEAR_HZ), tuple(spans) or (Span(0, seconds),))


def test_what_others_say_at_the_same_time_is_left_out() -> None:
    turns = [Turn(0, 6, "A"), Turn(4, 5, "B"), Turn(8, 12, "A"), Turn(12, 14, "B")]
    found = best_excerpts(turns, film(20), "A")
    assert [(x.start, x.end) for x in found] == [(0, 3.9), (8, 11.9)]


def test_pauses_are_left_out_and_long_turns_are_cut() -> None:
    found = best_excerpts([Turn(0, 30, "A")], film(30, [Span(1, 4), Span(10, 20)]), "A")
    assert [(x.start, x.end) for x in found] == [(1, 4), (10, 15), (15, 20)]


def test_enough_is_taken_from_all_over_the_film_and_no_more() -> None:
    turns = [Turn(n * 10, n * 10 + 7, "A") for n in range(60)]
    found = best_excerpts(turns, film(600), "A")
    assert match.ENOUGH_S <= sum(x.duration for x in found) < match.ENOUGH_S + 8
    starts = [x.start for x in found]
    assert starts == sorted(starts)
    assert starts[0] < 150 and starts[-1] >= 450


def test_short_turns_do_where_there_are_no_longer_ones_and_nothing_gives_nothing() -> None:
    assert [x.duration for x in best_excerpts([Turn(0, 1.2, "A"), Turn(3, 4, "A")], film(10), "A")] == [1.2, 1.0]
    assert best_excerpts([Turn(0, 1.2, "A"), Turn(3, 8, "A")], film(10), "A")[0].start == 3
    assert best_excerpts([Turn(0, 5, "A")], film(10), "B") == ()
    assert best_excerpts([Turn(0, 5, "A"), Turn(0, 5, "B")], film(10), "A") == ()


TURNS = st.lists(st.tuples(st.floats(0, 95), st.floats(0.1, 20), st.sampled_from("AB")), max_size=12)


@given(TURNS)
def test_excerpts_lie_in_own_turns_and_in_nobody_elses(drawn: list[tuple[float, float, str]]) -> None:
    turns = [Turn(round(s, 3), round(min(100, s + d), 3), who) for s, d, who in drawn]
    for found in best_excerpts(turns, film(100), "A"):
        assert any(t.start - 0.002 <= found.start and found.end <= t.end + 0.002 for t in joined(turns, "A"))
        assert all(found.overlap(t) <= 0.002 for t in turns if t.speaker == "B")
        assert 0.4 < found.duration <= 8.001


def joined(turns: list[Turn], who: str) -> list[Span]:
    from polydub.spans import bridged

    return list(bridged([t for t in turns if t.speaker == who], 0.0))


# a speech engine and an encoder for these tests

SIZES = {"small": 1.35, "middle": 1.0, "large": 0.75}


@cache
def buzz(hz: float, size: float, seconds: float = 1.0) -> Samples:
    """A buzz with three formants of a throat of that size, at HEAR_HZ, (1, n), in syllables."""
    t = np.arange(round(seconds * HEAR_HZ)) / HEAR_HZ
    wave = np.zeros(len(t))
    for n in range(1, int(7000 / hz)):
        level = sum(np.exp(-(((n * hz - f * size) / 250) ** 2)) for f in (500, 1500, 2600)) + 0.02
        wave += level * np.sin(2 * np.pi * n * hz * t)
    return (0.2 * wave / np.abs(wave).max() * (0.3 + np.sin(2 * np.pi * t) ** 2))[np.newaxis].astype(np.float32)


class Booth:
    """A speech engine with three throats at five pitches each."""

    def voices(self, language: str) -> Sequence[Voice]:
        return self.stock(language)

    def stock(self, language: str) -> Sequence[Voice]:
        return [Voice("booth", name, language, settings={"hz": hz}) for name in SIZES for hz in (80, 110, 150, 200, 270)]

    def near(self, voice: Voice) -> Sequence[Voice]:
        return [replace(voice, settings={"hz": round(voice.settings["hz"] * factor, 1)}) for factor in (0.93, 1.07)]

    def synthesize(self, part: Part) -> Audio:
        return Audio(buzz(part.voice.settings["hz"], SIZES[part.voice.name]), HEAR_HZ)


class Ear:
    """An encoder whose voiceprint is the spectrum."""

    calibration = Calibration(0.3, 0.6, (0.3, 0.5), 0.3)

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
        rows = []
        for window in windows:
            sound = speech.samples[0, round(window.start * HEAR_HZ) : round(window.end * HEAR_HZ)]
            levels = np.array(spectra.spectrum(sound, HEAR_HZ) or [1.0] * len(spectra.BANDS_HZ))
            rows.append(levels / np.linalg.norm(levels))
        return np.array(rows, np.float32)


def engine(kind: Kind, make: Callable[[], object], *features: str) -> Engine:
    @contextmanager
    def load(*_: object) -> Generator[object]:
        yield make()

    info = Info(kind, "test", "for tests", "Apache-2.0", "", parallel=0, features=frozenset(features))
    return Engine(info, Options, load, lambda _: READY, lambda _: None)


def tool(made: Engine) -> Tool:
    options = made.options()
    return Tool(made, options, registry.identity(made, options, "cpu"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


@contextmanager
def studio(store: Store, jobs: int = 2) -> Generator[Run]:
    with Run(store, store.folder, How(jobs)) as run:
        run.tools["tts"], run.tools["embedding"] = tool(engine("tts", Booth, "stock")), tool(engine("embedding", Ear))
        yield run


@cache
def person(hz: float, size: float, seconds: float = 10.0) -> Portrait:
    sound = buzz(hz, size, 1.7)
    row = Ear().embed(Audio(sound, HEAR_HZ), [Span(0, 1.6)])[0]
    return Portrait(tuple(float(x) for x in row), hz, 2.0, spectra.spectrum(sound[0], HEAR_HZ), seconds)


PEOPLE = {"Anna": person(215, 1.3), "Bob": person(115, 0.8), "Cid": person(160, 1.0)}


def choice(voice: Voice) -> tuple[str, float]:
    return voice.name, voice.settings["hz"]


# portraits


def test_a_portrait_tells_pitch_spectrum_and_length(store: Store, tmp_path: Path) -> None:
    sound = buzz(180, 1.0, 4.0)
    write_flac(tmp_path / "a.flac", sound, HEAR_HZ)
    speech = Speech((store.keep(tmp_path / "a.flac"),), sound.shape[1], (Span(0, 4),))
    with studio(store) as run:
        drawn = run.step(match.portray, (listen.excerpt(speech, 0.0, 1.5), listen.excerpt(speech, 2.0, 4.0)))
    assert drawn.median_hz == pytest.approx(180, rel=0.01)
    assert drawn.spread_semitones < 0.5
    assert drawn.seconds == 3.5
    assert np.linalg.norm(drawn.voiceprint) == pytest.approx(1, abs=1e-3)
    assert spectra.distance_db(drawn.spectrum, spectra.spectrum(sound[0], HEAR_HZ)) < 1
    assert not match.unsure(drawn)


@pytest.mark.parametrize("excerpts", [0, 1])
def test_nothing_and_silence_make_no_portrait(store: Store, tmp_path: Path, excerpts: int) -> None:
    write_flac(tmp_path / "a.flac", np.zeros((1, 4 * HEAR_HZ), np.float32), HEAR_HZ)
    speech = Speech((store.keep(tmp_path / "a.flac"),), 4 * HEAR_HZ, ())
    with studio(store) as run:
        drawn = run.step(match.portray, (listen.excerpt(speech, 0.0, 4.0),) * excerpts)
    assert match.unsure(drawn)
    assert (drawn.voiceprint, drawn.median_hz, drawn.spectrum) == ((), 0.0, ())


def test_an_audition_hears_the_equaliser_of_the_voice(store: Store) -> None:
    plain = Voice("booth", "middle", "es", settings={"hz": 150})
    bright = replace(plain, tone=tuple(np.linspace(-6, 6, len(spectra.BANDS_HZ)).round(1)))
    with studio(store) as run:
        takes = run.map(speak.synthesize, [Part("Hola", "es", v) for v in (plain, bright)])
        ((dull, shrill),) = run.map(match.audition, [tuple(takes)])
    assert np.polyfit(range(20), np.array(shrill.spectrum) - dull.spectrum, 1)[0] > 0.2
    assert shrill.median_hz == pytest.approx(dull.median_hz, rel=0.01)
    assert takes[0].duration == pytest.approx(takes[1].duration, abs=0.02)


# matching


def test_everyone_gets_a_voice_of_their_pitch_and_size(store: Store) -> None:
    with studio(store) as run:
        found = match_voices(run, PEOPLE, "es")
    assert list(found) == list(PEOPLE)
    assert {who: m.voice.name for who, m in found.items()} == {"Anna": "small", "Bob": "large", "Cid": "middle"}
    for who, m in found.items():
        assert abs(12 * np.log2(m.voice.settings["hz"] / PEOPLE[who].median_hz)) < 2
        assert m.likeness > 0.8
        assert f"{PEOPLE[who].median_hz:.0f} Hz" in m.reason
        assert max(map(abs, m.voice.tone)) <= 6


def test_two_people_who_sound_the_same_get_voices_that_do_not(store: Store) -> None:
    twins = {name: person(150, 1.0) for name in ("A", "B", "C")}
    with studio(store) as run:
        found = match_voices(run, twins, "es")
        takes = run.map(speak.synthesize, [Part("Hola", "es", m.voice) for m in found.values()])
        (heard,) = run.map(match.audition, [tuple(takes)])
    for n, one in enumerate(heard):
        for other in heard[:n]:
            pitch = abs(12 * np.log2(one.median_hz / other.median_hz))
            assert pitch > 2 or spectra.distance_db(one.spectrum, other.spectrum) > 3


def test_the_same_people_get_the_same_voices_in_any_order_of_threads_and_nothing_is_made_twice(tmp_path: Path) -> None:
    found: list[Mapping[str, match.Match]] = []
    for jobs in (1, 4):
        store = Store(tmp_path / f"store{jobs}")
        with studio(store, jobs) as run:
            found.append(match_voices(run, PEOPLE, "es"))
        with studio(store, jobs) as run:
            assert match_voices(run, PEOPLE, "es") == found[-1]
            assert sum(count.ran for count in run.counts.values()) == 0
        store.close()
    assert found[0] == found[1]


def test_another_film_hears_the_stock_no_more(store: Store) -> None:
    with studio(store) as run:
        match_voices(run, PEOPLE, "es")
    with studio(store) as run:
        match_voices(run, {"Dora": person(240, 1.2)}, "es")
        assert run.counts["audition"].remembered >= -(-len(Booth().stock("es")) // AT_ONCE)


def test_a_voice_that_somebody_has_is_kept_away_from(store: Store) -> None:
    with studio(store) as run:
        alone = match_voices(run, {"Cid": PEOPLE["Cid"]}, "es")["Cid"].voice
        beside = match_voices(run, {"Cid": PEOPLE["Cid"]}, "es", {"Eve": alone})["Cid"].voice
    assert choice(alone) != choice(beside)


def test_those_of_whom_too_little_is_known_get_other_voices_near_their_pitch_if_that_is_known(store: Store) -> None:
    unknown = Portrait((), 0.0, 0.0, (), 0.0)
    brief = replace(person(105, 0.8), seconds=1.0)
    with studio(store) as run:
        found = match_voices(run, {"X": unknown, **PEOPLE, "Y": brief}, "es")
    assert len({choice(m.voice) for m in found.values()}) == 5
    assert 80 <= found["Y"].voice.settings["hz"] <= 150
    assert found["X"].likeness == 0.0
    assert "too little speech" in found["X"].reason


def test_a_film_without_people_needs_no_engine(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with Run(store, tmp_path) as run:
        assert match_voices(run, {}, "es") == {}
    store.close()


FAR = st.lists(st.sampled_from([70.0, 90.0, 120.0, 160.0, 210.0, 280.0]), min_size=1, max_size=5)


@given(FAR, st.sampled_from([75.0, 118.0, 205.0]))
def test_no_voice_is_far_from_the_speakers_pitch_while_another_is_not(pitches: list[float], wanted: float) -> None:
    sitter = person(wanted, 1.0)
    heard = [match.Candidate(Voice("booth", f"v{n}", "es"), person(hz, 0.75 + 0.2 * n)) for n, hz in enumerate(pitches)]
    scale = match.gauge.function(None, tuple(heard))
    (found,) = match.choose.function(None, (match.Sitting(sitter, (), tuple(heard)),), (), scale)
    got = next(c.portrait.median_hz for c in heard if c.voice == found.voice)

    def away(hz: float) -> float:
        return abs(12 * np.log2(hz / wanted))

    if min(map(away, pitches)) <= match.FAR_SEMITONES:
        assert away(got) <= match.FAR_SEMITONES
