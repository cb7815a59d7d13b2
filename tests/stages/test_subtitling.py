"""What is said as subtitle files, and drawn into the picture."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pysubs2
import pytest

from polydub.errors import BadSettings
from polydub.media import ffmpeg
from polydub.stages import subtitling
from polydub.stages.subtitling import Captions, Said
from polydub.store import Store
from polydub.text.cue_rules import rule_report
from polydub.text.subtitles import parse_subtitles
from polydub.types import Artifact, Cue, Placement, Source, Word
from polydub.work import Work

TALK = (
    Said(1.0, 3.0, "Ann", "Hola, señora. ¿Cómo está usted?", (), "Hello, madam. How are you?"),
    Said(3.2, 5.0, "Bob", "Muy bien, gracias.", (), "Very well, thank you."),
)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Work(Store(tmp_path / "store"), scratch, 1, lambda share: None)


def written(work: Work, files: tuple[subtitling.SubtitleFile, ...]) -> dict[str, str]:
    return {sub.format: work.path(sub.file).read_text(encoding="utf-8") for sub in files}


def placement(name: str, start: float, duration: float) -> Placement:
    return Placement(name, "Ann", start, duration, 1.0, 0.0, 0.0, duration)


def test_srt_is_always_there_and_the_wanted_formats_with_it(work: Work) -> None:
    files = subtitling.subtitle(work, TALK, Captions("target", "es", 25.0), ("vtt", "ass"))
    assert [(sub.format, sub.language, sub.tag) for sub in files] == [(form, "es", "es") for form in ("srt", "vtt", "ass")]
    texts = written(work, files)
    assert "00:00:01,000 --> 00:00:03,120\nHola, señora. ¿Cómo está usted?" in texts["srt"]
    assert "<v Bob>Muy bien, gracias." in texts["vtt"]
    assert ",Speaker2,Bob," in texts["ass"]


def test_a_single_speaker_is_not_named(work: Work) -> None:
    assert "<v" not in written(work, subtitling.subtitle(work, TALK[:1], Captions("target", "es", 25.0), ("vtt",)))["vtt"]


def test_bilingual_files_hold_both_texts_and_say_so_in_their_tag(work: Work) -> None:
    files = subtitling.subtitle(work, TALK, Captions("bilingual", "es", 25.0, "en"), ("srt", "vtt"))
    assert {sub.tag for sub in files} == {"es+en"}
    texts = written(work, files)
    assert "Hola, señora. ¿Cómo está usted?\nHello, madam. How are you?\n" in texts["srt"]
    assert "<lang en>Very well, thank you.</lang>" in texts["vtt"]


def test_word_times_are_in_vtt_only_where_they_are_wanted(work: Work) -> None:
    said = (Said(1.0, 3.0, "Ann", "Good day", (Word(1.0, 1.4, "Good"), Word(1.6, 2.0, "day"))),)
    plain, timed = (
        written(work, subtitling.subtitle(work, said, Captions("source", "en", 25.0, word_times=wanted), ("vtt",)))["vtt"]
        for wanted in (False, True)
    )
    assert "Good day" in plain
    assert "Good <00:00:01.600>day" in timed


def test_no_cue_goes_beyond_the_film(work: Work) -> None:
    said = (Said(1.0, 1.2, "Ann", "Good day, everybody in this room"),)
    files = subtitling.subtitle(work, said, Captions("source", "en", 25.0, ends=1.48), ())
    (segment,) = parse_subtitles(work.path(files[0].file).read_bytes(), ".srt").segments
    assert (segment.start, segment.end) == (1.0, 1.48)


def test_a_line_said_in_parts_is_one_bilingual_text_and_several_plain_ones() -> None:
    placed = (placement("2", 5.0, 1.0), placement("1.1", 1.0, 1.0), placement("1.2", 2.5, 1.5))
    texts = {"1.1": "Buenos días,", "1.2": "amigos.", "2": ""}
    assert [(s.start, s.end, s.text) for s in subtitling.said_in_dub(placed, texts)] == [
        (1.0, 2.0, "Buenos días,"),
        (2.5, 4.0, "amigos."),
    ]
    (both,) = subtitling.said_in_both(placed, texts, {"1": "Good morning, friends."})
    assert (both.start, both.end, both.text, both.other) == (1.0, 4.0, "Buenos días, amigos.", "Good morning, friends.")


def test_a_conversation_of_three_keeps_to_the_rules(work: Work) -> None:
    said = tuple(
        Said(n * 1.7, n * 1.7 + 1.6 + n % 3 / 4, "ABC"[n % 3], "We should go there now, I think." if n % 2 else "Why?")
        for n in range(40)
    )
    files = subtitling.subtitle(work, said, Captions("source", "en", 24.0, ends=80.0), ("ass",))
    cues = [Cue(s.start, s.end, s.text) for s in parse_subtitles(work.path(files[0].file).read_bytes(), ".srt").segments]
    found = rule_report(cues, 24.0)
    assert {found[rule] for rule in ("gap", "ordered", "non_overlapping", "small_gaps_closed", "min_s", "max_s")} == {1.0}
    events = pysubs2.SSAFile.from_string(written(work, files)["ass"])
    assert [(e.start, e.end) for e in events] == [(int(c.start * 100) * 10, int(c.end * 100) * 10) for c in cues]


def adopted(work: Work, path: Path) -> Source:
    copy = work.scratch / f"film{path.suffix}"
    copy.write_bytes(path.read_bytes())
    kept = work.keep(copy)
    return ffmpeg.probe(kept, work.path(kept))


def brightest(path: Path, second: float) -> int:
    """Of the lower half of the picture at a time."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= second:
                return int(frame.to_ndarray(format="gray")[frame.height // 2 :].max())
    raise AssertionError("too short")


def grey(path: Path, size: str = "320x180") -> Path:
    made = ["-f", "lavfi", "-i", f"color=0x404040:s={size}:r=25:d=4", "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([str(ffmpeg.program()), "-nostdin", "-v", "error", "-y", *made, str(path)], check=True)
    return path


def test_what_is_said_is_drawn_into_the_picture_with_a_font_of_the_system(work: Work, tmp_path: Path) -> None:
    source = adopted(work, grey(tmp_path / "film.mp4"))
    made = subtitling.burn(work, source, TALK[:1], Captions("target", "es", 25.0, ends=4.0), None)
    assert brightest(work.path(made), 0.5) < 90
    assert brightest(work.path(made), 2.0) > 180
    assert work.notices == []


def test_both_texts_are_drawn(work: Work, tmp_path: Path) -> None:
    source = adopted(work, grey(tmp_path / "film.mp4"))
    made = subtitling.burn(work, source, TALK[:1], Captions("bilingual", "es", 25.0, "en"), None)
    assert brightest(work.path(made), 2.0) > 180


def test_symbols_without_a_font_are_left_out_with_a_notice(work: Work, tmp_path: Path, clip: Callable[..., Path]) -> None:
    source = adopted(work, clip("film", sound="none", size=(320, 180)))
    said = (Said(0.5, 2.0, "Ann", "Hola \U0001fbff señora"),)
    subtitling.burn(work, source, said, Captions("target", "es", 25.0), None)
    assert [(n.code, "\U0001fbff" in n.text) for n in work.notices] == [("characters-not-drawn", True)]


def test_a_file_that_is_no_font_is_refused(work: Work, tmp_path: Path) -> None:
    file = work.scratch / "font.ttf"
    file.write_bytes(b"no font")
    source = Source(Artifact("0" * 64, ".mkv", 1), "matroska", 2.0, 0.0, ())
    with pytest.raises(BadSettings, match="--font is not a font"):
        subtitling.burn(work, source, TALK, Captions("target", "es", 25.0), work.keep(file))


def test_remembered_subtitles_need_no_word_splitter() -> None:
    code = "import sys, polydub.stages.subtitling; sys.exit('budoux' in sys.modules or 'polydub.text.cues' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
