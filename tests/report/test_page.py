"""The report page: what a person sees, safely and quickly."""

from __future__ import annotations

import math
import random
import re
import time
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from polydub.report import model
from polydub.report.drawing import band, clock, rows
from polydub.report.page import Waves, render_page, timeline_svg

SENTENCES = (
    ("Good morning, and welcome to the workshop.", "Buenos días y bienvenidos al taller."),
    ("Today we take the old clock apart.", "Hoy vamos a desmontar el reloj antiguo pieza por pieza."),
    ("Why does it stop every night?", "¿Por qué se para todas las noches?"),
    ("Because the oil has turned to glue over the years.", "Porque con los años el aceite se ha convertido en pegamento."),
    ("Careful.", "Cuidado."),
    ("This spring can hurt you if you let it go.", "Este muelle te puede hacer daño si lo sueltas de golpe."),
    ("I have cleaned it twice already.", "Ya lo he limpiado dos veces."),
    ("Then let us look at the small wheel behind the plate.", "Entonces miremos la rueda pequeña que hay detrás de la placa."),
    ("Do you see the scratch on its third tooth?", "¿Ves el arañazo que tiene en el tercer diente?"),
    ("Now I see it!", "¡Ahora lo veo!"),
    ("My grandfather bought it in the year the bridge was opened.", "Mi abuelo lo compró el año en que se inauguró el puente."),
    ("It has never been quiet for so long.", "Nunca había estado tanto tiempo en silencio."),
)


def make_lines(count: int, seed: int = 4) -> list[model.ReportLine]:
    """A conversation of two that looks like a real dub: mostly natural, some hurried, a few late, two talking over."""
    dice = random.Random(seed)
    made, at, free, speaker = list[model.ReportLine](), 1.0, 0.0, 0
    for n in range(count):
        source, target = SENTENCES[dice.randrange(len(SENTENCES))]
        slot = round(len(source) / dice.uniform(14, 18) + 0.25, 3)
        natural = round(len(target) / 15.5 + 0.2, 3)
        rate = min(1.3, max(0.9, 1 + 0.6 * (natural / (slot + dice.uniform(0, 0.4)) - 1)))
        start = round(max(at + abs(dice.gauss(0, 0.03)), free), 3)
        duration = round(natural / rate, 3)
        made.append(
            model.ReportLine(
                id=str(n + 1),
                speaker=f"SPEAKER_0{speaker}",
                source_text=source,
                text=target,
                cue_start=round(at, 3),
                cue_end=round(at + slot, 3),
                source_start=round(at, 3),
                source_end=round(at + slot, 3),
                start=start,
                duration=duration,
                natural_duration=natural,
                rate=round(natural / duration, 4),
                shift=round(start - at, 3),
                overflow=0.31 if n % 71 == 40 else 0.0,
                voice=("es-419+m3", "es+f2")[speaker],
            )
        )
        free = start + duration + 0.1
        at += slot + dice.choice((0.3, 0.5, 0.9, 1.6))
        speaker = speaker if dice.random() < 0.45 else 1 - speaker
    return made


def make_report(lines: list[model.ReportLine], **changes: object) -> model.Report:
    started = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
    length = max([3.0, *(line.start + line.duration + 2 for line in lines)])
    notices = [
        model.ReportNotice(
            code="talk-over", text="talks 0.31 s into the next line", severity="warning", stage="fit", line=line.id
        )
        for line in lines
        if line.overflow
    ]
    notices += [
        model.ReportNotice(code="fast-line", text=f"spoken at {line.rate:.2f}", severity="warning", stage="fit", line=line.id)
        for line in lines
        if line.rate > 1.25
    ]
    notices.append(
        model.ReportNotice(code="ducked-bed", text="no separation: the bed is ducked instead", severity="info", stage="mix")
    )
    fields: dict[str, object] = {
        "run": model.Run(
            started=started, finished=started + timedelta(seconds=41), host="box", cpus=4, polydub_version="0.1.0"
        ),
        "source": model.SourceFacts(
            name="the clockmaker.mp4",
            duration=round(length, 3),
            width=1920,
            height=1080,
            fps=25,
            codec="h264",
            audio_track=0,
            language="en",
        ),
        "target_language": "es",
        "engines": (
            model.EngineChoice(kind="mt", name="apertium", version="3.8.3", reason="installed, has en to es, no network"),
            model.EngineChoice(
                kind="tts",
                name="espeak-ng",
                version="1.52",
                reason="embedded; the only one installed that has Spanish",
                options={"pitch": 50, "gap_ms": 10},
            ),
        ),
        "stages": tuple(
            model.StageCount(name=name, seconds=seconds, ran=ran, remembered=old)
            for name, seconds, ran, old in (
                ("probe", 0.08, 1, 0),
                ("extract", 0.9, 1, 0),
                ("translate", 3.1, 12, 148),
                ("synthesize", 6.4, len(lines), 4),
                ("fit", 0.11, 1, 0),
                ("mix", 4.2, 22, 0),
                ("mux", 0.6, 1, 0),
            )
        ),
        "notices": tuple(notices),
        "loudness": model.LoudnessFacts(
            target_lufs=-16,
            before_lufs=-23.4,
            after_lufs=-16.1,
            before_true_peak_dbtp=-4.2,
            after_true_peak_dbtp=-1.3,
            true_peak_limit_dbtp=-1,
            range_lu=7.2,
            dialogue_lufs=-24.0,
            gain_db=7.4,
        ),
        "lines": tuple(lines),
        "timing": model.timing_scores(lines),
        "outputs": (
            model.Output(path="dub.es.mkv", kind="video", bytes=48_300_000),
            model.Output(path="subs/es.srt", kind="subtitles", bytes=14_210),
        ),
    }
    return model.Report.model_validate(fields | changes)


def make_waves(report: model.Report, seed: int = 9) -> Waves:
    dice = random.Random(seed)
    seconds = math.ceil(report.source.duration)
    source, dub = [0.05] * (4 * seconds), [0.0] * (4 * seconds)
    for line in report.lines:
        for column in range(int(4 * line.source_start), min(4 * seconds, math.ceil(4 * line.source_end))):
            source[column] = dice.betavariate(3, 4)
        for column in range(int(4 * line.start), min(4 * seconds, math.ceil(4 * (line.start + line.duration)))):
            dub[column] = min(1.0, 1.5 * dice.betavariate(3, 4))
    before = tuple(-23 + 3 * math.sin(n / 17) + dice.gauss(0, 1.6) for n in range(seconds))
    after = tuple(-16 + 1.4 * math.sin(n / 17) + dice.gauss(0, 0.9) for n in range(seconds))
    return Waves(tuple(round(0.7 * p + 0.04 * dice.random(), 3) for p in source), tuple(dub), before, after)


NASTY = (
    "<script>alert(1)</script>",
    "\"quoted\" & 'single'",
    "</style></title><img src=x onerror=alert(1)>",
    "مرحبا بالعالم كيف حالك اليوم",
    "🎬👩‍👧 ok",
    "]]> --> \x00\x1b\x7f\ufffe",
    "javascript:alert(1)",
)


class Reader(HTMLParser):
    """Collects tags, ids and addresses; text outside style and script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.quiet = ""

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.quiet = tag if tag in ("style", "script") else ""
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action"):
                self.addresses.append(value or "")

    def handle_endtag(self, tag):
        self.quiet = ""

    def handle_data(self, data):
        if not self.quiet:
            self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def nasty_report() -> model.Report:
    lines = [
        line.model_copy(
            update={
                "id": f"{n}{NASTY[n % 7]}",
                "speaker": NASTY[(n + 1) % 7],
                "source_text": NASTY[(n + 2) % 7],
                "text": NASTY[n % 7],
                "voice": NASTY[n % 7],
            }
        )
        for n, line in enumerate(make_lines(14))
    ]
    report = make_report(lines)
    return report.model_copy(
        update={
            "source": report.source.model_copy(update={"name": NASTY[0] + NASTY[1], "codec": NASTY[2], "language": NASTY[1]}),
            "target_language": NASTY[1],
            "run": report.run.model_copy(update={"host": NASTY[2], "polydub_version": NASTY[0]}),
            "engines": tuple(
                model.EngineChoice(kind=s, name=s, version=s, reason=s, options={s: s, "b": [s], "c": {s: None}}) for s in NASTY
            ),
            "stages": tuple(model.StageCount(name=s, seconds=1, ran=1, remembered=0) for s in NASTY),
            "notices": tuple(
                model.ReportNotice(code=s, text=s, severity="warning", stage=s, line=lines[n].id) for n, s in enumerate(NASTY)
            ),
            "outputs": tuple(model.Output(path=s, kind=s, bytes=1) for s in NASTY),
        }
    )


@pytest.fixture(scope="module")
def report() -> model.Report:
    return make_report(make_lines(160))


@pytest.fixture(scope="module")
def page(report: model.Report) -> str:
    return render_page(report, make_waves(report))


def test_the_page_says_what_a_person_asks_first(page: str, report: model.Report):
    words = " ".join(read(page).words)
    for wanted in ("the clockmaker.mp4", "en → es", "−23.4 before, target −16.0", "espeak-ng", "160", "talk over"):
        assert wanted in words
    assert f"{report.timing.talk_over_s:.2f}" in words


def test_every_line_is_in_the_table_with_both_texts_and_in_the_timeline(page: str, report: model.Report):
    for number, line in enumerate(report.lines):
        assert f'<tr id="l{number}"' in page
        assert f'<a href="#l{number}" tabindex="-1"' in page
        assert page.count(line.text) >= 2


def test_the_page_fetches_nothing_and_allows_no_other_script(page: str):
    reader = read(page)
    assert all(address.startswith(("#", "./", "data:,")) for address in reader.addresses)
    assert not re.search(r"https?:|url\((?!#hatch\))|@import", page)
    assert "default-src 'none'" in page
    assert reader.tags["script"] == 1
    assert not any(name.startswith("on") for name in reader.attributes)


def test_links_lead_to_places_that_exist_and_no_place_is_named_twice(page: str):
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)


def test_text_of_users_is_shown_and_never_becomes_markup():
    nasty = nasty_report()
    page = render_page(nasty, make_waves(nasty))
    reader = read(page)
    assert reader.tags["script"] == 1 and "img" not in reader.tags and reader.tags["title"] >= 1
    assert not any(name.startswith("on") for name in reader.attributes)
    assert all(address.startswith(("#", "./", "data:,")) for address in reader.addresses)
    words = "".join(reader.words)
    for text in NASTY[:5]:
        assert text in words
    assert not re.search("[\x00-\x08\x0e-\x1f\x7f\ufffe]", page)
    page.encode("utf-8")


def test_the_timeline_alone_is_well_formed_and_has_no_links():
    for drawn in (nasty_report(), make_report(make_lines(30)), make_report([])):
        root = ET.fromstring(timeline_svg(drawn, make_waves(drawn), 1200))
        assert root.get("width") == "1200"
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert {"svg", "style", "rect"} <= names and "a" not in names and "script" not in names


def test_the_timeline_shows_a_line_where_it_is_spoken():
    line = make_lines(1)[0].model_copy(update={"start": 30.0, "duration": 3.0, "source_start": 29.0, "source_end": 32.0})
    lone = make_report([line])
    lone = lone.model_copy(update={"source": lone.source.model_copy(update={"duration": 600.0})})
    page = render_page(lone, Waves())
    assert '<svg x="50%" y="55" width="5%" height="26">' in page
    assert '<svg x="48.33%" y="26" width="5%" height="19">' in page


def test_rows_cover_the_film_and_hold_every_line_that_touches_them():
    for count, span in ((10, 30), (160, 60), (700, 90), (2500, 120)):
        drawn = make_report(make_lines(count))
        parts = rows(drawn)
        assert parts[0].start == 0 and parts[-1].end >= drawn.source.duration
        assert all(a.end == b.start for a, b in pairwise(parts))
        assert parts[0].end == span
        for number, line in enumerate(drawn.lines):
            assert any(number in [n for n, _ in row.lines] for row in parts if row.start <= line.start < row.end)


def test_rates_have_calm_colours_near_one_and_warm_ones_above():
    rates = (0.85, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 2.0)
    names = ("slow", "slow", "calm", "calm", "brisk", "quick", "fast", "hasty", "rush", "rush")
    assert tuple(map(band, rates)) == names


def test_a_hurried_line_says_its_rate_in_words_too():
    line = make_lines(1)[0].model_copy(update={"rate": 1.27})
    svg = timeline_svg(make_report([line]), Waves(), 900)
    assert "1.27×" in svg


def test_a_film_without_lines_waves_or_notices_still_has_a_page():
    empty = make_report([], notices=(), stages=(), engines=(), outputs=())
    page = render_page(empty, Waves())
    assert "No line is audible" in page and "To look at" not in page


def test_warnings_stand_before_information_and_many_before_few(report: model.Report, page: str):
    section = page[page.index('id="notices"') : page.index('id="timeline"')]
    places = [section.index(name) for name in ("fast line", "talk over", "ducked bed")]
    assert places == sorted(places)


def test_silence_and_peaks_beyond_full_scale_are_drawn_inside_the_picture(report: model.Report):
    waves = Waves((2.0, 0.0, -1.0), (0.5,), (-120.0,) * 5, (0.0,) * 5)
    page = render_page(report, waves)
    numbers = re.findall(r"(?:nan|inf)\b", page)
    assert not numbers


def test_a_report_of_160_lines_is_small_and_quick(report: model.Report):
    waves = make_waves(report)
    start = time.process_time()  # what else the machine does is not counted
    page = render_page(report, waves)
    assert time.process_time() - start < 0.3
    assert len(page.encode()) < 400_000


def test_a_report_of_1600_lines_stays_below_four_megabytes():
    long = make_report(make_lines(1600))
    assert len(render_page(long, make_waves(long)).encode()) < 4_000_000


def test_equal_results_give_pages_that_differ_only_in_the_run(report: model.Report, page: str):
    other = report.model_copy(update={"run": report.run.model_copy(update={"host": "elsewhere"})})
    again = render_page(other, make_waves(other))
    assert again != page
    assert again.replace("elsewhere", "box") == page


def test_clock_shows_hours_only_when_there_are_some():
    assert [clock(s) for s in (0, 65.9, 3600, 3725)] == ["0:00", "1:05", "1:00:00", "1:02:05"]
