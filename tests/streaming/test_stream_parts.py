"""The pure parts of a stream: pauses, words at borders, speakers across pieces, the gain, playlists, growing files."""

from __future__ import annotations

import itertools
import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import loudness
from polydub.errors import BadInput, BadSettings
from polydub.media import feeding, hls
from polydub.stages.streamed import Wish, best_pause
from polydub.streaming import carry, sources
from polydub.streaming.carry import Known
from polydub.streaming.levels import FINDING_DB, STEP_DB, Level, Tally
from polydub.streaming.segments import Next, Waiting, next_cut
from polydub.types import FRAME, HEAR_HZ, RATE_HZ, VAD_FRAME, Energies, Line, Segment, Span, Word

FRAME_S = VAD_FRAME / HEAR_HZ


def probabilities(seconds: float, pauses: list[tuple[float, float]]) -> list[float]:
    """Speech all the time but for these."""
    times = [(n + 0.5) * FRAME_S for n in range(round(seconds / FRAME_S))]
    return [0.02 if any(a <= t <= b for a, b in pauses) else 0.97 for t in times]


def test_a_piece_ends_in_the_pause_nearest_to_the_wish() -> None:
    found = best_pause(probabilities(18, [(6.0, 6.6), (9.1, 9.8), (13.0, 13.9)]), Wish(5, 10, 15))
    assert found.good
    assert 9.1 < found.at < 9.8


def test_where_nobody_pauses_a_piece_ends_at_its_limit_at_the_latest_and_says_so() -> None:
    found = best_pause(probabilities(18, []), Wish(5, 10, 15))
    assert not found.good
    assert 5 <= found.at <= 15
    assert best_pause([], Wish(5, 10, 15)).at == 15


def test_a_pause_inside_a_known_line_is_none() -> None:
    pauses = [(7.0, 7.8), (10.0, 10.8)]
    found = best_pause(probabilities(18, pauses), Wish(5, 10, 15, (Span(9.5, 12.0),)))
    assert 7.0 < found.at < 7.8


@given(st.lists(st.floats(0, 1), min_size=400, max_size=500), st.floats(1, 9))
def test_a_pause_lies_within_the_limits(found: list[float], least: float) -> None:
    at = best_pause(found, Wish(round(least, 3), 10.0, 12.0)).at
    assert round(least, 3) - 1e-3 <= at <= 12.0 + 1e-3


def heard_words(words: list[Word], piece: Span, jitter: float, context: float = 1.0) -> tuple[Segment, ...]:
    """What a recogniser hears of a piece and its neighbourhood, its times a little wrong."""
    near = [
        Word(round(w.start + jitter, 3), round(w.end + jitter, 3), w.text)
        for w in words
        if w.start >= piece.start - context and w.end <= piece.end + context
    ]
    if not near:
        return ()
    return (Segment(near[0].start, near[-1].end, "1", text=" ".join(w.text for w in near), words=tuple(near)),)


@given(
    st.lists(st.floats(0.15, 0.6), min_size=30, max_size=80),
    st.lists(st.floats(0.06, 0.4), min_size=80, max_size=80),
    st.lists(st.floats(-0.02, 0.02), min_size=12, max_size=12),
)
def test_words_at_borders_are_neither_lost_nor_doubled(lengths: list[float], gaps: list[float], jitters: list[float]) -> None:
    words, at = list[Word](), 0.0
    for n, (length, gap) in enumerate(zip(lengths, gaps, strict=False)):
        words.append(Word(round(at, 3), round(at + length, 3), f"w{n}"))
        at += length + gap
    edges = [*np.arange(0, at, 4.0).tolist(), at + 1]  # cut anywhere, also in the middle of a word
    kept, until = list[str](), 0.0
    for n, (start, end) in enumerate(itertools.pairwise(edges)):
        own = carry.own_words(heard_words(words, Span(start, end), jitters[n % 12]), Span(start, end), until)
        kept += [word.text for segment in own for word in segment.words]
        assert all(segment.text == " ".join(w.text for w in segment.words) for segment in own)
        until = max([until, *(segment.words[-1].end for segment in own)])
    assert kept == [word.text for word in words]


def test_a_segment_without_words_belongs_to_the_piece_of_its_middle() -> None:
    said = (Segment(3.0, 6.0, "1", text="a sentence"),)
    assert carry.own_words(said, Span(0, 4), 0.0) == ()
    assert carry.own_words(said, Span(4, 8), 0.0) == said


def voice(degrees: float) -> tuple[float, ...]:
    return (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))


def test_a_speaker_keeps_the_name_whatever_a_later_piece_calls_them() -> None:
    names, known = carry.recognised(
        {}, {"SPEAKER_00": voice(0), "SPEAKER_01": voice(90)}, {"SPEAKER_00": 5, "SPEAKER_01": 4}, 0.3
    )
    assert names == {"SPEAKER_00": "SPEAKER_00", "SPEAKER_01": "SPEAKER_01"}
    later, known = carry.recognised(
        known, {"SPEAKER_00": voice(80), "SPEAKER_01": voice(200)}, {"SPEAKER_00": 5, "SPEAKER_01": 9}, 0.3
    )
    assert later == {"SPEAKER_00": "SPEAKER_01", "SPEAKER_01": "SPEAKER_02"}
    assert list(known) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert 0 < carry.distance(known["SPEAKER_01"].print, voice(90)) < 0.02  # it learns


def test_who_says_next_to_nothing_is_no_new_speaker_nor_is_one_too_many() -> None:
    known = {"SPEAKER_00": Known(voice(0), 9.0)}
    assert carry.recognised(known, {"X": voice(170)}, {"X": 0.8}, 0.3)[0] == {"X": "SPEAKER_00"}
    assert carry.recognised(known, {"X": voice(170)}, {"X": 9.0}, 0.3, most=1)[0] == {"X": "SPEAKER_00"}
    assert carry.recognised(known, {"X": voice(170)}, {"X": 9.0}, 0.3)[0] == {"X": "SPEAKER_01"}


def test_no_line_begins_before_what_has_been_played() -> None:
    lines = (Line(1.0, 1.4, "1"), Line(2.5, 4.0, "2"))
    assert [(x.start, x.end) for x in carry.after(lines, 2.0)] == [(2.0, 2.1), (2.5, 4.0)]


def cells(samples: np.ndarray) -> Energies:
    return loudness.energies(samples.astype(np.float32), 0)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 9))
def test_a_tally_in_parts_measures_what_bs1770_measures_at_once(parts: list[int], seed: int) -> None:
    sums = np.random.default_rng(seed).uniform(0.1, 60.0, sum(parts) + 8) ** 2
    tally, at = Tally(), 0
    for count in [*parts, 8]:
        tally = tally.with_cells(Energies(at, tuple(sums[at : at + count].tolist())))
        at += count
    whole = loudness.integrated(sums[:-1])  # the last cell may go on
    assert abs(tally.lufs - whole) < 0.3


def test_a_tally_does_not_grow() -> None:
    tally = Tally()
    for n in range(3000):
        tally = tally.with_cells(Energies(10 * n, (float(50 + n % 50),) * 10))
    assert len(tally.tail) <= 5
    assert len(tally.bins) < 10


def test_the_gain_is_found_in_the_first_pieces_and_then_moves_slowly() -> None:
    level = Level()
    assert level.gain_for(12.0, dubbed=False, target=-16) == 0.0  # quiet music before anybody speaks is left alone
    assert level.gain_for(-4.0, dubbed=False, target=-16) == -4.0
    gain = level.gain_for(6.0, dubbed=True, target=-16)
    assert gain == 6.0
    gains = [gain]
    for n in range(12):
        loud = 10 ** ((-25.0 + (12.0 if n > 3 else 0.0) + 0.691) / 10) * RATE_HZ / 10
        level = level.after(Energies(100 * n, (loud,) * 100), 0, gains[-1], dubbed_s=5.0)
        gains.append(level.gain_for(99.0, dubbed=True, target=-16.0))
    steps = np.abs(np.diff(gains))
    assert steps[:1].max() <= FINDING_DB + 1e-9
    assert steps[5:].max() <= STEP_DB + 1e-9
    assert gains[-1] < gains[3]


def test_a_playlist_changes_its_map_with_a_discontinuity_and_only_ends_once() -> None:
    rows = [hls.Listed("a.m4s", 4.0, "i.mp4"), hls.Listed("b.m4s", 5.0, "i.mp4"), hls.Listed("c.m4s", 6.2, "j.mp4")]
    text = hls.media_playlist(rows, 6.0, ended=False)
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert text.index("DISCONTINUITY") < text.index('URI="j.mp4"')
    assert "#EXT-X-TARGETDURATION:7\n" in text
    assert "ENDLIST" not in text
    assert hls.media_playlist(rows, 6.0, ended=True) == text + "#EXT-X-ENDLIST\n"


@given(
    st.lists(st.floats(0.04, 5.0), max_size=40),
    st.lists(st.floats(2.0, 6.0), min_size=1, max_size=12),
    st.booleans(),
)
def test_segments_cover_the_film_and_none_is_longer_than_was_promised(
    keys: list[float], pieces: list[float], pictures: bool
) -> None:
    """Whatever ends first, the picture or the sound, and wherever key frames and pauses lie."""
    usual, most, at, first = 6.0, 7.0, 0.0, 0
    ends = [float(n) for n in np.cumsum(keys)] if pictures else []
    film = max([sum(pieces), *ends])
    made = list[tuple[float, float]]()
    for now in (*np.cumsum(pieces).tolist()[:-1], film):
        last, ready = now == film, math.ceil(now * RATE_HZ / FRAME)
        while True:
            come = tuple(end for end in ends if end <= now + 2.5)
            cut = next_cut(Waiting(at, (first, ready), come, pictures, last, film), usual, most)
            if cut is None:
                break
            made.append((at, cut.end))
            assert first <= cut.until <= ready
            assert not cut.parts or cut.end in (ends[cut.parts - 1], film)
            assert last or cut.until <= math.ceil(now * RATE_HZ / FRAME)
            at, first, ends = cut.end, cut.until, ends[cut.parts :]
    assert not ends
    assert first == math.ceil(film * RATE_HZ / FRAME)
    assert at == pytest.approx(film, abs=0.03)
    assert all(end - start <= (most if pictures else usual) + 1e-9 for start, end in made)
    assert [start for start, _ in made[1:]] == [end for _, end in made[:-1]]


def test_a_part_of_the_picture_that_cannot_be_cut_is_a_segment_and_so_is_the_sound_after_it() -> None:
    waiting = Waiting(0.0, (0, 3000), (40.0,), pictures=True, last=True, duration=64.0)
    assert next_cut(waiting, 15.0, 40.0) == Next(1, 1875, 40.0)
    rest = Waiting(40.0, (1875, 3000), (), pictures=True, last=True, duration=64.0)
    assert next_cut(rest, 15.0, 40.0) == Next(0, 2438, pytest.approx(52.0, abs=0.02))


def test_subtitles_cannot_break_out_of_their_cue() -> None:
    assert hls.vtt([(1.0, 2.0, "a <b>\n\n00:00 --> x & y")]).endswith(
        "00:00:01.000 --> 00:00:02.000\na &lt;b&gt; 00:00 --&gt; x &amp; y\n"
    )


def test_a_file_that_somebody_writes_grows_and_one_that_was_closed_does_not(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with path.open("wb") as writer:
        writer.write(b"abc")
        writer.flush()
        if feeding.written(path) is None:
            pytest.skip("this system does not tell who writes a file")
        assert feeding.grows(path)
    assert not feeding.grows(path)


def test_all_of_a_growing_file_is_read_until_its_writer_closes_it(tmp_path: Path) -> None:
    path, parts = tmp_path / "film.mkv", [os.urandom(5000) for _ in range(4)]
    opened, goes = threading.Event(), threading.Event()

    def write() -> None:
        with path.open("wb") as writer:
            for part in parts:
                writer.write(part)
                writer.flush()
                opened.set()
                goes.wait(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    opened.wait(60)
    read, found = feeding.tail(path), b""
    while data := read():
        found += data
        goes.set()
    writer.join()
    assert found == b"".join(parts)


def test_what_needs_the_whole_film_is_refused() -> None:
    with pytest.raises(BadSettings, match="--burn-in needs the whole film"):
        sources.check_settings(("es",), {"--rttm": None, "--burn-in": True})
    with pytest.raises(BadSettings, match="one language"):
        sources.check_settings(("es", "fr"), {})


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        sources.check(tmp_path / "no.mkv")
