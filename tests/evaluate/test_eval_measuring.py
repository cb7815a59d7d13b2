"""Whole evaluations of small films: projects, bare files, faults that must be found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval_projects import SAID, SUBTITLES, encode, film, music, project, sound_file, voice
from polydub.errors import BadInput, BadSettings, NoAudioTrack, UnsupportedLanguage
from polydub.evaluate import inputs, judging
from polydub.evaluate.card import Card
from polydub.evaluate.inputs import Asked
from polydub.evaluate.measuring import Heard, Profile, Tools, measure
from polydub.types import VAD_FRAME, Audio

PLAIN = Tools(profile=Profile(-18.0, -1.0))


def buzzing(speech: Audio) -> Sequence[float]:
    """A detector for the tests' voices: their lowest partials stand out of the smooth noise."""
    count = -(-speech.samples.shape[1] // VAD_FRAME)
    padded = np.zeros((count, VAD_FRAME))
    padded.reshape(-1)[: speech.samples.shape[1]] = speech.samples[0]
    power = np.abs(np.fft.rfft(padded, axis=1))[:, 4:40] ** 2
    peaky = power.max(axis=1) / (power.mean(axis=1) + 1e-9)
    return [float(p > 9 and e > 1e-3) for p, e in zip(peaky, power.sum(axis=1), strict=True)]


def value(card: Card, name: str) -> float:
    score = card.score(name)
    assert score is not None and score.value is not None, f"{name} was not measured: {card.missing}"
    return score.value


def failed(card: Card) -> list[str]:
    return [gate.name for gate in card.gates if gate.passed is False]


def test_a_good_project_passes_and_is_measured_from_its_own_files(tmp_path: Path) -> None:
    card = measure(inputs.find(Asked(project(tmp_path))), replace(PLAIN, profile=Profile(level(tmp_path), 0.0)))
    assert failed(card) == []
    assert card.passed
    assert card.reference == "film.mkv"
    assert value(card, "D3.iou") == 1.0
    assert value(card, "B1.sisdr") > 60
    assert value(card, "L2.balance") < 1.5
    assert value(card, "A4.same") == 100.0
    assert value(card, "U1.max_s") == 100.0
    assert value(card, "T3.compliant") == pytest.approx(100.0)
    axes = {axis.name: axis.value for axis in card.axes}
    assert axes["timing"] == 100.0
    assert axes["voice"] is None
    assert {"T1", "voice", "meaning"} <= {lack.id for lack in card.missing}


def level(folder: Path) -> float:
    """The loudness of the project's dub."""
    subject = inputs.find(Asked(folder / "out" / "film"))
    return value(measure(subject, PLAIN), "L1.integrated")


def test_a_voice_that_the_dub_leaves_uncovered_is_found(tmp_path: Path) -> None:
    place = project(tmp_path, ((0.5, 1.0), (2.6, 3.0), (4.2, 4.6)))
    clean = measure(inputs.find(Asked(place)), PLAIN)
    film(place / "dub.es.mkv", voice(2, ((0.5, 1.0), (2.6, 3.0), (4.2, 4.6))) + music() + 0.1 * voice(1), language="spa")
    left = measure(inputs.find(Asked(place)), PLAIN)
    assert value(clean, "B2.energy") < -50
    assert value(left, "B2.energy") == pytest.approx(-20.0, abs=1.0)


def test_speech_is_detected_where_a_detector_is_there(tmp_path: Path) -> None:
    place = project(tmp_path, ((0.5, 1.8), (2.9, 3.8), (4.2, 5.4)))
    card = measure(inputs.find(Asked(place)), replace(PLAIN, detect=buzzing, detector="buzz 1"))
    assert value(card, "D3.iou") == pytest.approx(3.4 / 3.7, abs=0.04)
    score = card.score("D3.iou")
    assert score is not None
    assert score.basis == "buzz 1 on source stem and dub stem"
    assert "buzz 1" in card.models
    assert value(card, "D2.chunks.wrong") == 0.0


def test_a_bare_file_is_placed_by_what_is_heard_in_it(tmp_path: Path) -> None:
    dub = film(tmp_path / "dub.mkv", voice(2, ((0.5, 1.8), (2.9, 3.8), (4.2, 5.4))))
    script = tmp_path / "talk.es.srt"
    script.write_text("".join(f"{n}\n{stamp(a)} --> {stamp(b)}\nhola\n\n" for n, (a, b) in enumerate(SAID, 1)))
    subject = inputs.find(Asked(dub, script=script, language="es"))
    card = measure(subject, replace(PLAIN, detect=buzzing, detector="buzz 1"))
    assert value(card, "D1.mae") == pytest.approx(0.1, abs=0.05)
    assert card.score("D5.max") is None
    reasons = {lack.id: lack.reason for lack in card.missing}
    assert "only in a project" in reasons["D5"]
    assert "--ref" in reasons["B1"]
    assert "not both known" in reasons["T3"]


def stamp(seconds: float) -> str:
    return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000):03d}"


def test_a_bare_file_without_anything_is_still_measured(tmp_path: Path) -> None:
    card = measure(inputs.find(Asked(film(tmp_path / "dub.mkv", music()))), PLAIN)
    assert value(card, "L1.range") >= 0
    assert {"T1", "T3", "D1", "D3", "B1", "U1", "A4"} <= {lack.id for lack in card.missing}
    assert card.total is None
    assert {g.name for g in card.gates if g.passed is None} >= {"picture unchanged", "subtitles", "dub audible"}


@pytest.mark.parametrize(("shift", "found"), [("0.08", 80.0), ("0.4", 400.0)])
def test_a_late_sound_fails(shift: str, found: float, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", voice(1) + music())
    late = tmp_path / "late.mkv"
    encode("-i", str(source), "-itsoffset", shift, "-i", str(source), "-map", "0:v", "-map", "1:a", "-c", "copy", str(late))
    card = measure(inputs.find(Asked(late, reference=source)), PLAIN)
    assert value(card, "A1.offset") == pytest.approx(found, abs=1)
    assert value(card, "A1.delay") == pytest.approx(found, abs=10)
    assert value(card, "A4.same") == 100.0
    assert "sound and picture together" in failed(card)


def test_a_late_background_is_still_the_same_background(tmp_path: Path) -> None:
    place = project(tmp_path)
    late = tmp_path / "late.mkv"
    dub = str(place / "dub.es.mkv")
    encode("-i", dub, "-itsoffset", "0.1", "-i", dub, "-map", "0:v", "-map", "1:a", "-c", "copy", str(late))
    late.replace(place / "dub.es.mkv")
    assert value(measure(inputs.find(Asked(place)), PLAIN), "B1.sisdr") > 40


def test_a_script_in_place_of_the_projects_is_placed_by_what_is_heard(tmp_path: Path) -> None:
    place = project(tmp_path)
    row = {"id": "1", "speaker": "A", "start": 0.5, "end": 1.8, "source_text": "hello", "text": "hola"}
    (tmp_path / "script.json").write_text(json.dumps({"lines": [row]}))
    subject = inputs.find(Asked(place, script=tmp_path / "script.json"))
    score = measure(subject, replace(PLAIN, detect=buzzing, detector="b")).score("D1.mae")
    assert score is not None
    assert score.basis == "b on source stem and dub stem"
    assert score.n == 1


def test_a_muted_dub_fails(tmp_path: Path) -> None:
    place = project(tmp_path)
    silent = 0 * music()
    film(place / "dub.es.mkv", silent, language="spa")
    sound_file(place / "stems" / "dub.es.flac", silent)
    card = measure(inputs.find(Asked(place)), replace(PLAIN, detect=buzzing, detector="b"))
    assert {"loudness", "dub audible"} <= set(failed(card))
    assert judging.verdict(card).startswith("FAIL: ")


def test_a_picture_that_lost_its_end_fails(tmp_path: Path) -> None:
    place = project(tmp_path)
    whole, cut = place / "dub.es.mkv", tmp_path / "cut.mkv"
    encode("-i", str(whole), "-c", "copy", "-frames:v", "140", str(cut))
    cut.replace(whole)
    card = measure(inputs.find(Asked(place)), PLAIN)
    assert "picture unchanged" in failed(card)
    assert measure(inputs.find(Asked(place)), replace(PLAIN, new_picture=True)).score("A4.same") is None


def test_subtitles_in_disorder_fail(tmp_path: Path) -> None:
    place = project(tmp_path)
    (place / "subs" / "film.es.srt").write_text(
        SUBTITLES.replace("00:00:05,400", "00:00:09,000") + "3\n00:00:01,000 --> 00:00:02,000\nx\n"
    )
    assert "subtitles" in failed(measure(inputs.find(Asked(place)), PLAIN))
    (place / "subs" / "film.es.srt").write_text("nothing")
    assert "subtitles" in failed(measure(inputs.find(Asked(place)), PLAIN))


def test_recognisers_are_asked_for_the_dubs_track_and_named(tmp_path: Path) -> None:
    asked: list[tuple[str, int, str]] = []

    def hear(file: Path, track: int, language: str) -> Heard:
        asked.append((file.name, track, language))
        return Heard("hola a todos vosotros " * 3 if language == "es" else "hello", f"ear {language}")

    card = measure(inputs.find(Asked(project(tmp_path))), replace(PLAIN, hear=hear, hear_source=hear, floor=2.0))
    assert asked == [("dub.es.mkv", 0, "es"), ("dub.es.mkv", 0, "en")]
    assert value(card, "T1.error") == 0.0
    assert value(card, "B2.words") == pytest.approx(100 / 9, abs=0.01)
    assert card.models == ("ear es", "ear en")
    assert next(a for a in card.axes if a.name == "intelligibility").value == 100.0


def test_a_recogniser_without_the_language_leaves_the_figure_out(tmp_path: Path) -> None:
    def deaf(file: Path, track: int, language: str) -> Heard:
        raise UnsupportedLanguage("it does not speak es", "")

    card = measure(inputs.find(Asked(project(tmp_path))), replace(PLAIN, hear=deaf))
    assert card.score("T1.error") is None
    assert next(lack.reason for lack in card.missing if lack.id == "T1") == "it does not speak es"
    assert card.models == ()


def test_a_reference_by_a_person_gives_an_edit_rate(tmp_path: Path) -> None:
    place = project(tmp_path)
    card = measure(inputs.find(Asked(place, reference_subtitles=place / "subs" / "film.es.srt")), PLAIN)
    assert value(card, "U2.suber") == 0.0


def test_the_same_dub_gives_the_same_card(tmp_path: Path) -> None:
    subject = inputs.find(Asked(project(tmp_path)))
    assert measure(subject, PLAIN) == measure(subject, PLAIN)


def test_a_folder_without_a_dub_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"report\.<language>\.json"):
        inputs.find(Asked(tmp_path))
    with pytest.raises(BadInput, match="not there"):
        inputs.find(Asked(tmp_path / "none.mkv"))


def test_of_several_dubs_one_must_be_chosen(tmp_path: Path) -> None:
    place = project(tmp_path)
    (place / "report.fr.json").write_text((place / "report.es.json").read_text())
    with pytest.raises(BadSettings, match="es, fr"):
        inputs.find(Asked(place))
    assert inputs.find(Asked(place, language="spanish")).language == "es"
    with pytest.raises(BadSettings, match="es, fr"):
        inputs.find(Asked(place, language="de"))


@pytest.mark.parametrize("text", ["{", "[]", '{"lines": [{"id": 1}]}', '{"lines": 3}'])
def test_a_script_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "dub.mkv").write_bytes(b"x")
    (tmp_path / "script.json").write_text(text)
    with pytest.raises(BadInput):
        inputs.find(Asked(tmp_path / "dub.mkv", script=tmp_path / "script.json"))


def test_a_script_tells_both_texts(tmp_path: Path) -> None:
    row = {"id": "1", "speaker": "A", "start": 0.5, "end": 1.5, "source_text": "hello", "text": "hola"}
    (tmp_path / "dub.mkv").write_bytes(b"x")
    (tmp_path / "script.json").write_text(json.dumps({"lines": [row]}))
    (said,) = inputs.find(Asked(tmp_path / "dub.mkv", script=tmp_path / "script.json")).lines
    assert (said.source_text, said.text, said.source_start, said.source_end, said.duration) == ("hello", "hola", 0.5, 1.5, 0.0)


def test_the_track_in_the_dubs_language_is_measured(tmp_path: Path) -> None:
    a, b = film(tmp_path / "a.mkv", voice(1)), film(tmp_path / "b.mkv", voice(2))
    both = tmp_path / "both.mkv"
    tags = ("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=spa", "-disposition:a:0", "default")
    encode("-i", str(a), "-i", str(b), "-map", "0:v", "-map", "0:a", "-map", "1:a", "-c", "copy", *tags, str(both))
    with inputs.opened(both, "es") as reel:
        assert reel.number == 1
    with inputs.opened(both, "de") as reel:
        assert reel.number == 0
    with inputs.opened(both, "", 1) as reel:
        assert reel.number == 1


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mkv"
    encode("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=5:duration=1", "-c:v", "mpeg4", str(silent))
    with pytest.raises(NoAudioTrack, match=r"silent\.mkv"), inputs.opened(silent):
        pass
