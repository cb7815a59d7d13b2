"""Hand-over lists: read back by OpenTimelineIO, and as an editing system reads CMX 3600."""

from __future__ import annotations

import re
from typing import Any

import opentimelineio as otio  # pyright: ignore[reportMissingTypeStubs]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.report import exports
from polydub.types import Placement, seconds

EVENT = re.compile(r"^(\d{3,}) +AX +(A\d*) +C +(\S+) (\S+) (\S+) (\S+)$", re.MULTILINE)


def placement(id_: str, start: float, duration: float, speaker: str = "Ana") -> Placement:
    return Placement(id_, speaker, start, duration, 1.1, 0.05, 0.0, seconds(duration * 1.1))


def frames(timecode: str, base: int) -> int:
    """Frames counted by a non-drop timecode."""
    hours, minutes, secs, rest = map(int, timecode.split(":"))
    assert minutes < 60 and secs < 60 and rest < base
    return ((hours * 60 + minutes) * 60 + secs) * base + rest


placements = st.lists(
    st.tuples(st.integers(0, 7_200_000), st.integers(1, 20_000), st.sampled_from(["Ana", "Bo"])), min_size=1, max_size=30
).map(lambda rows: [placement(f"{n}.1", s / 1000, d / 1000, who) for n, (s, d, who) in enumerate(rows)])


@pytest.mark.parametrize(("fps", "base"), [(24, 24), (25, 25), (30, 30), (60, 60), (24000 / 1001, 24), (30000 / 1001, 30)])
@pytest.mark.parametrize("at", [0.0, 12.345, 3599.9, 5405.02])
def test_events_lie_on_the_frame_where_the_phrase_is_heard(fps: float, base: int, at: float) -> None:
    text = exports.edl("Film es", [placement("1", at, 2.5)], fps)
    [(number, channel, *times)] = EVENT.findall(text)
    assert (number, channel) == ("001", "A")
    first, last = frames(times[0], base) / fps, frames(times[1], base) / fps
    assert abs(first - at) <= 0.5001 / fps and abs(last - at - 2.5) <= 0.5001 / fps
    assert times[:2] == times[2:]  # cut where it lies in the stem


def test_timecode_at_2997_says_non_drop_and_runs_slow() -> None:
    text = exports.edl("Film es", [placement("1", 3600.0, 1.0)], 29.97003)
    assert "FCM: NON-DROP FRAME" in text.splitlines()
    assert EVENT.findall(text)[0][2] == "00:59:56:12"


def test_events_name_the_stem_the_speaker_and_the_phrase() -> None:
    text = exports.edl("a\nb", [placement("7.2", 3, 1), placement("7.1", 1, 1)], 25, "stems/dub.es.flac")
    assert text.splitlines()[0] == "TITLE: a b"
    assert re.findall(r"^\* FROM CLIP NAME: (.*)$", text, re.MULTILINE) == ["dub.es.flac"] * 2
    assert re.findall(r"^\* COMMENT: (.*)$", text, re.MULTILINE) == ["Ana 7.1", "Ana 7.2"]


@given(placements, st.sampled_from([23.976024, 25.0, 29.97003]))
def test_no_channel_holds_two_things_at_once(placed: list[Placement], fps: float) -> None:
    base = round(fps)
    free: dict[str, int] = {}
    events = EVENT.findall(exports.edl("x", placed, fps))
    assert len(events) == len(placed)
    for _, channel, _, _, first, last in events:
        assert free.get(channel, 0) <= frames(first, base) < frames(last, base)
        free[channel] = frames(last, base)


def timeline(text: str) -> Any:
    found: Any = otio.adapters.read_from_string(text, "otio_json")  # pyright: ignore[reportUnknownMemberType]
    assert found.schema_name() == "Timeline"
    return found


def clips(track: Any) -> list[Any]:
    return list(track.find_clips())


@given(placements)
def test_clips_lie_in_the_timeline_where_they_lie_in_the_stem(placed: list[Placement]) -> None:
    made = timeline(exports.otio("Film es", placed, "stems/dub.es.flac", "es"))
    assert {track.kind for track in made.tracks} == {"Audio"}
    known = {p.id: p for p in placed}
    for track in made.tracks:
        for clip in clips(track):
            here, there = clip.trimmed_range_in_parent(), clip.source_range
            assert here == there  # so that the stem, put in whole, sounds the same
            assert here.end_time_exclusive().to_seconds() == pytest.approx(known[clip.name].start + known[clip.name].duration)
            assert clip.metadata["polydub"]["phrase"] == clip.name
            reach = clip.media_reference.available_range
            assert reach.start_time <= there.start_time and there.end_time_exclusive() <= reach.end_time_exclusive()


def test_phrases_that_do_not_overlap_are_all_there_on_their_speakers_tracks() -> None:
    placed = [
        placement("1", 0.5, 1.0),
        placement("2.1", 2.0, 1.0, "Bo"),
        placement("2.2", 3.2, 0.4, "Bo"),
        placement("3", 4, 1),
    ]
    made = timeline(exports.otio("Film es", placed, "stems/dub.es.flac", "es"))
    assert {track.name: [clip.name for clip in clips(track)] for track in made.tracks} == {
        "Ana": ["1", "3"],
        "Bo": ["2.1", "2.2"],
    }
    second = clips(made.tracks[1])[1]
    assert second.source_range.start_time.to_seconds() == 3.2 and second.duration().to_seconds() == 0.4
    assert second.metadata["polydub"]["line"] == "2" and made.metadata["polydub"]["language"] == "es"
    assert second.media_reference.target_url == "stems/dub.es.flac"


def test_nothing_placed_makes_an_empty_list() -> None:
    assert not EVENT.findall(exports.edl("x", [], 25))
    assert list(timeline(exports.otio("x", [], "dub.flac")).tracks) == []
