"""Cues as files, and files read again by polydub and by pysubs2."""

from __future__ import annotations

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.subtitle_files import Bilingual, Exchange, Look, write_ass, write_srt, write_vtt
from polydub.text.subtitles import parse_subtitles
from polydub.types import Cue, Word

plain_rows = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zs", "Zl", "Zp", "Co", "Cn")), min_size=1, max_size=30
)
rows = plain_rows.filter(lambda row: any(c.isalpha() for c in row) and ":" not in row and "[" not in row)
texts = st.lists(rows, min_size=1, max_size=2).map("\n".join)


@st.composite
def timed_cues(draw: st.DrawFn, text: st.SearchStrategy[str] = texts) -> list[Cue]:
    at, cues = 0, list[Cue]()
    for _ in range(draw(st.integers(1, 6))):
        at += draw(st.integers(0, 5_000_000))
        cues.append(
            Cue(at / 1000, (at + draw(st.integers(1, 9000))) / 1000, draw(text), draw(st.sampled_from(["", "Ann", "R&D <x>"])))
        )
        at += 1
    return cues


def flat(cue: Cue) -> tuple[float, float, str]:
    return (cue.start, cue.end, cue.text.replace("\n", " "))


@given(timed_cues())
def test_srt_comes_back_as_it_was_written(cues: list[Cue]) -> None:
    found = parse_subtitles(write_srt(cues).encode(), ".srt")
    assert [(s.start, s.end, s.text) for s in found.segments] == [flat(cue) for cue in cues]
    assert found.notices == ()


@given(timed_cues())
def test_vtt_comes_back_as_it_was_written_with_its_speakers(cues: list[Cue]) -> None:
    found = parse_subtitles(write_vtt(cues).encode(), ".vtt")
    assert [(s.start, s.end, s.text) for s in found.segments] == [flat(cue) for cue in cues]
    assert [s.speaker for s in found.segments] == [cue.speaker for cue in cues]
    assert found.notices == ()


@pytest.mark.parametrize(
    "text",
    [
        "<i>no tag</i>",
        "{\\an8}up",
        "&amp; &#60;",
        "00:00:01,000 --> 00:00:02,000",
        "<v Bob>hm",
        "<00:01.000>",
        "NOTE\nSTYLE",
        "a\n42",
    ],
)
def test_text_that_looks_like_markup_stays_text(text: str) -> None:
    cues = [Cue(1, 2, text), Cue(3, 4, "next")]
    for suffix, written in ((".srt", write_srt(cues)), (".vtt", write_vtt(cues))):
        assert [s.text for s in parse_subtitles(written.encode(), suffix).segments] == [text.replace("\n", " "), "next"]


def squeezed(text: str) -> str:
    return " ".join(text.split())


simple = st.lists(st.text(alphabet="abc éñ漢,.!?{}\\N", min_size=3, max_size=30).map(squeezed), min_size=1, max_size=2)
lettered = simple.map(lambda rows: "\n".join(f"x{row}" for row in rows))


@given(timed_cues(lettered))
def test_pysubs2_reads_our_ass_with_the_same_times_and_texts(cues: list[Cue]) -> None:
    cues = [cue for cue in cues if cue.end < 35_000]
    found = pysubs2.SSAFile.from_string(write_ass(cues, "A film\n[Events]"), format_="ass")
    wide = str.maketrans("{}\\", "｛｝＼")
    assert [e.plaintext for e in found] == [cue.text.translate(wide) for cue in cues]
    assert [e.name for e in found] == [cue.speaker for cue in cues]
    for event, cue in zip(found, cues, strict=True):
        assert 0 <= cue.start - event.start / 1000 < 0.00999
        assert 0 <= cue.end - event.end / 1000 < 0.00999


tame = st.lists(
    st.text(alphabet="abc éñ漢,.!?", min_size=1, max_size=30).map(lambda t: "x" + squeezed(t)), min_size=1, max_size=2
)


@given(timed_cues(tame.map("\n".join)))
def test_pysubs2_reads_our_srt_and_vtt_with_the_same_times_and_texts(cues: list[Cue]) -> None:
    cues = [Cue(c.start, c.end, c.text) for c in cues]
    for kind, written in (("srt", write_srt(cues)), ("vtt", write_vtt(cues))):
        found = pysubs2.SSAFile.from_string(written, format_=kind)
        assert [(e.start / 1000, e.end / 1000, e.plaintext) for e in found] == [(c.start, c.end, c.text) for c in cues]


def test_cues_without_text_are_not_written_and_no_cues_make_an_empty_file() -> None:
    assert write_srt([Cue(0, 1, " \n"), Cue(1, 2, "a\n\nb")]) == "1\n00:00:01,000 --> 00:00:02,000\na\nb\n\n"
    assert write_srt([]) == ""
    assert write_vtt([]) == "WEBVTT\n"
    assert "Dialogue" not in write_ass([Cue(0, 1, "")], "")


def test_ass_has_no_live_braces_and_keeps_its_columns() -> None:
    written = write_ass([Cue(1, 2, "{\\pos(1,1)}a, b\nc", "Ann, Bob")], "t")
    assert written.endswith("Dialogue: 0,0:00:01.00,0:00:02.00,Speaker1,Ann Bob,0,0,0,,｛＼pos(1,1)｝a, b\\Nc\n")


def test_word_times_show_in_vtt_where_they_rise_inside_the_cue() -> None:
    words = (Word(1.0, 1.2, "Tea"), Word(1.4, 1.6, "&"), Word(1.4, 1.9, "milk"), Word(4.0, 4.1, "late"))
    cue = Cue(1.0, 3.0, "Tea &\nmilk late", "", words)
    assert "Tea <00:00:01.400>&amp;\nmilk late\n" in write_vtt([cue])


def test_word_times_are_left_out_where_they_are_not_wanted() -> None:
    cue = Cue(1.0, 3.0, "Tea now", "", (Word(1.0, 1.2, "Tea"), Word(1.4, 1.6, "now")))
    assert "<00:00:01.400>" in write_vtt([cue])
    assert "Tea now\n" in write_vtt([cue], Look(word_times=False))


def test_words_without_blanks_are_timed_inside_the_row() -> None:
    cue = Cue(1.0, 3.0, "今日は\n映画の", "", (Word(1.0, 1.4, "今日"), Word(1.4, 1.6, "は"), Word(2.0, 2.6, "映画の")))
    assert "今日<00:00:01.400>は\n<00:00:02.000>映画の\n" in write_vtt([cue])


BOTH = Bilingual(1, 3, "Hola,\nseñora", "Ann", (), "Hello, madam")
TALK = Exchange(1, 3, "- Yes?\n- No!", "", (), ("Ann", "R&D"))


def test_bilingual_cues_show_the_text_above_the_other_one() -> None:
    assert write_srt([BOTH]) == "1\n00:00:01,000 --> 00:00:03,000\nHola,\nseñora\nHello, madam\n\n"
    assert "<v Ann>Hola,\nseñora\n<lang en>Hello, madam</lang>\n" in write_vtt([BOTH], Look(other="en"))
    written = write_ass([BOTH], "t", Look(fonts=("Ours", "Theirs")))
    assert "Speaker1,Ann,0,0,0,,Hola,\\Nseñora\\N{\\rOther}Hello, madam\n" in written
    assert "Style: Speaker1,Ours," in written
    assert "Style: Other,Theirs," in written


def test_bilingual_files_are_read_by_pysubs2_and_by_us_with_both_texts() -> None:
    for form, written in (
        ("srt", write_srt([BOTH])),
        ("ass", write_ass([BOTH], "t")),
        ("vtt", write_vtt([BOTH], Look(other="en"))),
    ):
        (event,) = pysubs2.SSAFile.from_string(written, format_=form)
        assert event.plaintext.split() == ["Hola,", "señora", "Hello,", "madam"]
        (segment,) = parse_subtitles(written.encode(), f".{form}").segments
        assert segment.text == "Hola, señora Hello, madam"


def test_two_people_in_a_cue_have_a_voice_tag_and_a_colour_each() -> None:
    assert "<v Ann>- Yes?\n<v R&amp;D>- No!\n" in write_vtt([TALK])
    written = write_ass([Cue(0, 0.5, "Hm.", "R&D"), TALK], "t")
    assert "{\\rSpeaker2}- Yes?\\N{\\rSpeaker1}- No!" in written
    (event,) = (e for e in pysubs2.SSAFile.from_string(written) if e.start == 1000)
    assert event.plaintext == "- Yes?\n- No!"


def test_every_speaker_has_a_style_of_their_own_in_a_colour_of_their_own() -> None:
    found = pysubs2.SSAFile.from_string(write_ass([Cue(n, n + 1, "x", f"S{n}") for n in range(7)], "t"))
    styles = [found.styles[event.style] for event in found]
    colours = {(s.primarycolor.r, s.primarycolor.g, s.primarycolor.b) for s in (*styles, found.styles["Default"])}
    assert len(colours) == 8
    assert all(0.2126 * r + 0.7152 * g + 0.0722 * b > 150 for r, g, b in colours), "all are light"


@pytest.mark.parametrize(("size", "points"), [((1920, 1080), 60), ((640, 360), 20), ((1080, 1920), 46), ((0, 0), 60)])
def test_letters_in_ass_fit_the_picture(size: tuple[int, int], points: int) -> None:
    found = pysubs2.SSAFile.from_string(write_ass([Cue(0, 1, "x")], "t", Look(*size)))
    assert found.styles["Default"].fontsize == points
    assert (int(found.info["PlayResX"]), int(found.info["PlayResY"])) == (size if size[0] else (1920, 1080))


HEBREW = "שלום, עולם!\nWindows 10 עובד."


def test_right_to_left_rows_are_embedded_in_srt_and_led_by_a_mark_in_vtt_and_ass_only_where_a_player_needs_it() -> None:
    first, second = HEBREW.split("\n")
    assert f"\u202b{first}\u202c\n\u202b{second}\u202c\n" in write_srt([Cue(0, 1, HEBREW)])
    assert f"\n{first}\n\u200f{second}\n" in write_vtt([Cue(0, 1, HEBREW)])
    assert f",,{first}\\N\u200f{second}\n" in write_ass([Cue(0, 1, HEBREW)], "t")
    assert pysubs2.SSAFile.from_string(write_ass([Cue(0, 1, HEBREW)], "t")).styles["Default"].encoding == -1


def test_left_to_right_text_with_a_foreign_word_gets_no_marks() -> None:
    text = "The word שלום means peace."
    for written in (write_srt([Cue(0, 1, text)]), write_vtt([Cue(0, 1, text)]), write_ass([Cue(0, 1, text)], "t")):
        assert text in written
        assert not set("\u202a\u202b\u202c\u200e\u200f") & set(written)


def test_right_to_left_srt_is_read_back_without_the_embedding() -> None:
    (segment,) = parse_subtitles(write_srt([Cue(0, 1, HEBREW)]).encode(), ".srt").segments
    assert segment.text == HEBREW.replace("\n", " ")


def test_ass_for_libass_keeps_braces_and_backslashes() -> None:
    written = write_ass([Cue(0, 1, "{a}\\N")], "t", Look(libass=True))
    assert written.endswith(",,\\{a\\}\\\u2060N\n")
