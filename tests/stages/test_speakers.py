"""Who speaks when: pieces for the encoder, turns from its vectors, and segments to their speakers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import clusters, fit, pcm
from polydub.audio.turns import LONG, MOST_CLUSTERED, SHORT
from polydub.engines.base import Calibration
from polydub.errors import BadEngineOutput, BadInput
from polydub.media.flac import write_flac
from polydub.stages import listen, speakers
from polydub.stages.speakers import Diarized, Voiceprints
from polydub.store import Store
from polydub.text import rttm
from polydub.types import BLOCK, HEAR_HZ, RATE_HZ, Artifact, Audio, Excerpt, Samples, Segment, Span, Speech, Turn
from polydub.work import Work

BLOCK_S = BLOCK / RATE_HZ
CALIBRATION = Calibration(merge=0.35, centred=0.70, switch=(0.3, 0.5), same=0.25)
TONES_HZ = {"a": 400.0, "b": 1100.0, "c": 2300.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(tmp_path_factory.mktemp("store"))
    yield opened
    opened.close()


@pytest.fixture
def work(store: Store) -> Iterator[Work]:
    with store.scratch() as scratch:
        yield Work(store, scratch, 1, lambda share: None)


class Tones:
    """An encoder for people who each hum one note."""

    calibration = CALIBRATION

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
        rows = np.zeros((len(windows), len(TONES_HZ) + 1), np.float32)
        for row, window in zip(rows, windows, strict=True):
            heard = speech.samples[0, round(window.start * HEAR_HZ) : round(window.end * HEAR_HZ)]
            time = np.arange(len(heard)) / HEAR_HZ
            row[:-1] = [abs(np.mean(heard * np.exp(-2j * np.pi * hz * time))) for hz in TONES_HZ.values()]
            row[-1] = 0.2 * row[:-1].max()  # what all have in common
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def film(work: Work, said: Sequence[Turn], seconds: float) -> Speech:
    """A film in which people hum; the speech in it is padded by 0.1 s, pauses under 0.3 s are bridged."""
    sound = np.random.default_rng(1).normal(0, 1e-4, (1, round(seconds * HEAR_HZ))).astype(np.float32)
    for turn in said:
        start, end = round(turn.start * HEAR_HZ), round(turn.end * HEAR_HZ)
        sound[0, start:end] += 0.3 * np.sin(2 * np.pi * TONES_HZ[turn.speaker] * np.arange(end - start) / HEAR_HZ).astype(
            np.float32
        )
    kept: list[Artifact] = []
    edges = [-(-n * BLOCK // 3) for n in range(int(seconds / BLOCK_S) + 1)] + [sound.shape[1]]
    for start, end in pairwise(edges):
        write_flac(work.scratch / "block.flac", sound[:, start:end], HEAR_HZ)
        kept.append(work.keep(work.scratch / "block.flac"))
    spans: list[Span] = []
    for turn in said:
        if spans and turn.start - spans[-1].end < 0.2:
            spans[-1] = Span(spans[-1].start, round(turn.end + 0.1, 3))
        else:
            spans.append(Span(round(turn.start - 0.1, 3), round(turn.end + 0.1, 3)))
    return Speech(tuple(kept), sound.shape[1], tuple(spans))


def diarized(work: Work, speech: Speech, limits: tuple[int, int] | None = None) -> Diarized:
    prints = tuple(speakers.embed(work, Tones(), piece) for piece in speakers.embed_pieces(speech))
    return speakers.cluster(work, prints, speech.spans, limits)


TALK = (
    Turn(1.0, 5.0, "b"),
    Turn(5.2, 9.0, "a"),
    Turn(12.0, 15.0, "b"),
    Turn(26.0, 33.0, "c"),  # across the end of a block
    Turn(33.1, 38.0, "a"),
    Turn(45.0, 48.0, "c"),
)


def test_people_are_told_apart_and_named_by_first_appearance(work: Work) -> None:
    found = diarized(work, film(work, TALK, 50))
    names = {"b": "SPEAKER_00", "a": "SPEAKER_01", "c": "SPEAKER_02"}
    assert [turn.speaker for turn in found.turns] == [names[turn.speaker] for turn in TALK]
    for turn, true in zip(found.turns, TALK, strict=True):
        assert turn.start == pytest.approx(true.start, abs=0.35)
        assert turn.end == pytest.approx(true.end, abs=0.35)
    alone = found.turns[2]
    assert (alone.start, alone.end) == (11.95, 15.05)  # half of the padding is trimmed
    assert list(found.voiceprints) == list(names.values())
    for name, number in (("SPEAKER_00", 1), ("SPEAKER_01", 0), ("SPEAKER_02", 2)):
        assert np.argmax(found.voiceprints[name]) == number
        assert np.linalg.norm(found.voiceprints[name]) == pytest.approx(1, abs=1e-3)


def test_turns_of_one_speaker_in_touching_spans_are_one(work: Work) -> None:
    speech = film(work, [Turn(1, 21, "a")], 25)
    cut = Speech(speech.blocks, speech.frames, (Span(0.9, 12.0), Span(12.0, 21.1)))
    assert diarized(work, cut).turns == (Turn(0.95, 21.05, "SPEAKER_00"),)


def test_without_speech_there_are_no_turns(work: Work) -> None:
    speech = film(work, [], 5)
    assert speakers.embed_pieces(speech) == ()
    assert speakers.cluster(work, (), (), None) == speakers.cluster(work, (), (), (2, 3)) == Diarized((), {})


def test_a_little_speech_is_one_speaker(work: Work) -> None:
    found = diarized(work, film(work, [Turn(1, 1.8, "a"), Turn(3, 3.7, "b")], 6))
    assert [turn.speaker for turn in found.turns] == ["SPEAKER_00", "SPEAKER_00"]


def test_the_most_speakers_there_can_be_is_kept_and_too_few_are_told(work: Work) -> None:
    speech = film(work, TALK, 50)
    assert set(diarized(work, speech, (1, 2)).voiceprints) == {"SPEAKER_00", "SPEAKER_01"}
    assert set(diarized(work, speech, (1, 1)).voiceprints) == {"SPEAKER_00"}
    assert not work.notices
    assert len(diarized(work, speech, (5, 6)).voiceprints) == 3
    assert [(n.code, n.text.split(";")[0]) for n in work.notices] == [
        ("fewer-speakers", "3 speakers were found where 5 were told")
    ]


def test_a_change_in_a_later_block_leaves_the_pieces_before_it_as_they_are(work: Work) -> None:
    before, after = (film(work, (*TALK, Turn(62, end, "b")), 70) for end in (64, 66))
    pieces, others = speakers.embed_pieces(before), speakers.embed_pieces(after)
    assert [one == other for one, other in zip(pieces, others, strict=True)] == [True, True, False]


def following(raw: list[tuple[int, int]]) -> tuple[Span, ...]:
    """Spans from (pause, length) in milliseconds."""
    made: list[Span] = []
    for pause, length in raw:
        at = (made[-1].end if made else 0.0) + pause / 1000
        made.append(Span(round(at, 3), round(at + length / 1000, 3)))
    return tuple(made)


spans = st.lists(st.tuples(st.integers(1, 40_000), st.integers(250, 28_000)), max_size=40).map(following)


def no_file(number: int) -> Artifact:
    return Artifact(f"{number:064x}", ".flac", 1)


@given(spans)
def test_every_span_is_in_one_piece_and_no_piece_is_long(made: tuple[Span, ...]) -> None:
    total = made[-1].end + 1 if made else 1.0
    speech = Speech(tuple(no_file(n) for n in range(int(total / BLOCK_S) + 1)), round(total * HEAR_HZ), made)
    pieces = speakers.embed_pieces(speech)
    assert tuple(span for piece in pieces for span in piece.spans) == made
    for piece in pieces:
        assert (piece.sound.start, piece.sound.end) == (piece.spans[0].start, piece.spans[-1].end)
        assert piece.sound.duration < BLOCK_S + 28.1
        assert piece.sound.blocks == speech.blocks[piece.sound.first : piece.sound.first + len(piece.sound.blocks)]


def written(work: Work, rows: Samples) -> Artifact:
    np.save(work.scratch / "rows.npy", rows.astype(np.float16))
    return work.keep(work.scratch / "rows.npy")


def test_a_film_of_more_windows_than_are_clustered_is_told_apart_throughout(work: Work) -> None:
    random = np.random.default_rng(4)
    voices = clusters.unit(random.normal(0, 1, (3, 48)) + 0.6 * random.normal(0, 1, 48))
    who = random.integers(0, 3, 400)
    said = tuple(Span(round(n * 6.0, 3), round(n * 6.0 + 5.0, 3)) for n in range(len(who)))
    prints: list[Voiceprints] = []
    for at in range(0, len(who), 5):
        files: list[Artifact] = []
        for kind in (LONG, SHORT):
            counts = [len(clusters.windows(span, *kind)) for span in said[at : at + 5]]
            rows = voices[np.repeat(who[at : at + 5], counts)]
            files.append(written(work, clusters.unit(rows + random.normal(0, 0.06, rows.shape))))
        prints.append(Voiceprints(files[0], files[1], CALIBRATION))
    assert sum(len(clusters.windows(s, *LONG)) for s in said) > 2 * MOST_CLUSTERED
    found = speakers.cluster(work, tuple(prints), said, None)
    order = {int(number): f"SPEAKER_{n:02d}" for n, number in enumerate(dict.fromkeys(who.tolist()))}
    assert [turn.speaker for turn in found.turns] == [order[int(number)] for number in who]


def test_three_hums_are_three_speakers_for_the_fingerprint(work: Work) -> None:
    from polydub.engines.embedding.fingerprint import ENGINE

    speech = film(work, TALK, 50)
    with ENGINE.load(ENGINE.options(), {}, "cpu") as encoder:
        prints = tuple(speakers.embed(work, encoder, piece) for piece in speakers.embed_pieces(speech))
    found = speakers.cluster(work, prints, speech.spans, None)
    assert len(found.voiceprints) == 3
    assert prints[0].calibration == encoder.calibration


class Told:
    """A diarizer that answers what it is told to, and keeps what it was asked."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = turns
        self.limits: range | None = None
        self.heard = Audio(np.zeros((1, 0), np.float32), HEAR_HZ)

    def diarize(self, speech: Path, speakers: range | None) -> Sequence[Turn]:
        mapped = pcm.mapped(speech)
        self.heard, self.limits = Audio(np.array(mapped.samples), mapped.rate_hz), speakers
        return self.turns


def whole(speech: Speech) -> Excerpt:
    return listen.excerpt(speech, 0.0, speech.duration)


def test_an_engine_hears_the_whole_film_as_it_is(work: Work) -> None:
    speech = film(work, TALK, 70)
    engine = Told()
    assert speakers.diarize(work, engine, whole(speech), None) == Diarized((), {})
    expected = np.concatenate([soundfile.read(work.path(b), dtype="float32")[0] for b in speech.blocks])[None]
    np.testing.assert_array_equal(engine.heard.samples, expected)
    assert engine.heard.rate_hz == HEAR_HZ and engine.limits is None
    empty = Speech((), 0, ())
    assert speakers.diarize(work, engine, whole(empty), None).turns == ()


def test_turns_of_an_engine_are_ordered_named_by_appearance_and_inside_the_film(work: Work) -> None:
    engine = Told(
        Turn(4, 7, "x"), Turn(5.5, 9.9, "b"), Turn(-1, 3.0004, "b"), Turn(2.5, 3.5, "b"), Turn(6, 6, "y"), Turn(11, 12, "z")
    )
    found = speakers.diarize(work, engine, whole(film(work, [], 9)), None)
    assert found == Diarized((Turn(0, 3.5, "SPEAKER_00"), Turn(4, 7, "SPEAKER_01"), Turn(5.5, 9, "SPEAKER_00")), {})


def test_how_many_there_can_be_reaches_the_engine_and_what_it_found_is_told(work: Work) -> None:
    sound = whole(film(work, [], 9))
    engine = Told(Turn(0, 1, "a"), Turn(2, 3, "b"))
    speakers.diarize(work, engine, sound, (1, 2))
    assert engine.limits == range(1, 3)
    assert not work.notices
    speakers.diarize(work, engine, sound, (3, 4))
    speakers.diarize(work, engine, sound, (1, 1))
    speakers.diarize(work, Told(), sound, (2, 2))  # nobody speaks: that is told elsewhere
    assert [n.code for n in work.notices] == ["fewer-speakers", "more-speakers"]


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
def test_an_engine_that_gives_no_times_has_failed(work: Work, time: float) -> None:
    with pytest.raises(BadEngineOutput):
        speakers.diarize(work, Told(Turn(0, time, "a")), whole(film(work, [], 3)), None)


def given_turns(work: Work, text: str, film_s: float = 10) -> Diarized:
    (work.scratch / "a.rttm").write_text(text, encoding="utf-8")
    return speakers.read_turns(work, work.keep(work.scratch / "a.rttm"), "my talk", film_s)


def test_turns_of_a_file_keep_their_names_and_overlap(work: Work) -> None:
    turns = (Turn(0.5, 4, "Björn"), Turn(3, 6, "Ana"))
    assert given_turns(work, rttm.write("my talk", turns)) == Diarized(turns, {})
    assert not work.notices


def test_turns_beyond_the_film_are_told(work: Work) -> None:
    text = rttm.write("my talk", [Turn(1, 10.4, "a"), Turn(9, 12, "b"), Turn(15, 20, "a")])
    assert given_turns(work, text).turns == (Turn(1, 10, "a"), Turn(9, 10, "b"))
    assert [(n.code, n.text[:6]) for n in work.notices] == [("turns-outside", "2 of 3")]
    with pytest.raises(BadInput, match="no turn of the RTTM file lies in the film"):
        given_turns(work, text, 0.5)


def test_lines_of_two_who_talk_at_once_may_be_spoken_at_once() -> None:
    turns = (Turn(0, 5, "a"), Turn(3, 8, "b"), Turn(9, 12, "a"))
    cues = (segment(0, 5), segment(3, 8), segment(9, 12))
    said = speakers.assign(cues, turns)
    assert [s.speaker for s in said] == ["a", "b", "a"]
    placed = fit.fit([fit.Slot(str(n), s.speaker, s.start, s.end, s.duration) for n, s in enumerate(said)], 20.0)
    assert [p.overflow for p in placed] == [0, 0, 0]
    assert placed[1].start == pytest.approx(3, abs=0.05) and placed[0].start + placed[0].duration > 4.9
    one = fit.fit([fit.Slot(str(n), "a", s.start, s.end, s.duration) for n, s in enumerate(said)], 20.0)
    assert one[1].start >= one[0].start + one[0].duration


def segment(start: float, end: float, speaker: str = "") -> Segment:
    return Segment(start, end, id="1", speaker=speaker, text="Words.")


def test_a_segment_is_whose_turns_cover_most_of_it() -> None:
    turns = (Turn(0, 2, "a"), Turn(2, 5, "b"), Turn(5, 6, "a"))
    found = speakers.assign((segment(0.5, 3), segment(1.5, 4.5), segment(1, 6)), turns)
    assert [s.speaker for s in found] == ["a", "b", "b"]
    assert found[0].text == "Words."


def test_a_segment_in_a_pause_goes_to_the_nearest_turn() -> None:
    turns = (Turn(0, 2, "a"), Turn(10, 12, "b"))
    found = speakers.assign((segment(3, 4), segment(8, 9.5), segment(50, 60)), turns)
    assert [s.speaker for s in found] == ["a", "b", "b"]


def test_without_turns_segments_keep_their_speakers() -> None:
    given_ = (segment(0, 1, "x"),)
    assert speakers.assign(given_, ()) == given_
    assert speakers.assign((), (Turn(0, 1, "a"),)) == ()


seconds = st.integers(0, 600).map(lambda tenth: tenth / 10)
turns = st.lists(
    st.builds(
        lambda a, d, s: Turn(a, round(a + d, 1), s), seconds, st.sampled_from([0.1, 1.0, 5.0, 30.0]), st.sampled_from("abc")
    ),
    min_size=1,
    max_size=12,
)


@given(
    st.lists(st.builds(lambda a, d: segment(a, round(a + d, 1)), seconds, st.sampled_from([0.0, 0.5, 4.0])), max_size=5), turns
)
def test_no_other_speaker_has_more_of_a_segment_even_where_turns_overlap(said: list[Segment], made: list[Turn]) -> None:
    for one in speakers.assign(tuple(said), tuple(made)):
        shared = {name: sum(one.overlap(t) for t in made if t.speaker == name) for name in {t.speaker for t in made}}
        assert shared[one.speaker] == pytest.approx(max(shared.values()))
        if not any(shared.values()):
            gaps = {t: max(t.start - one.end, one.start - t.end) for t in made}
            assert any(t.speaker == one.speaker and gap == min(gaps.values()) for t, gap in gaps.items())
