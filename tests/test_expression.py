"""How lines are said reaches what is heard: by marks, by what is asked, by the original, by a person; or nothing changes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from polydub import acting, config
from polydub.dubbing import Ears, Job, dub_film, wanted
from polydub.engines.pool import EnginePool
from polydub.engines.tts.espeak import ENGINE
from polydub.review import operations
from polydub.review.reading import Reviewed
from polydub.stages import speak
from polydub.store import Store
from polydub.text import tags
from polydub.types import PLAIN, Expression, Line, Part, Voice
from small_dubs import TALKERS, Film, srt

Films = Callable[..., Film]
LINES = ("Hello there, how are you?", "I am quite well today.", "Good to hear that.", "See you soon then.")
PLAIN_FILM = {"separation": "none", "diarization": "none"}


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Films:
    """`film("[angry] One", "Two")` -> a generated film that says these lines."""

    def make(*texts: str) -> Film:
        cues = [(0.5 + 3.0 * n, 2.9 + 3.0 * n, text) for n, text in enumerate(texts)]
        return Film(tmp_path, clip("film", seconds=1.0 + 3.0 * len(texts))).say(cues)

    return make


def facts(made: Film) -> dict[str, dict[str, Any]]:
    """What the debug files tell, by line id."""
    files = (made.project / "debug" / "expressive").glob("*.json")
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def debugged(made: Film, settings: Mapping[str, object]) -> set[str]:
    """Dubs with --debug; the stages that made calls."""
    values = {"to": "es", "output": str(made.out), "mt": "fake", "tts": "fake"} | dict(settings)
    loaded = config.load(values, job=None, environ={}, cwd=made.folder, user_file=None)
    with closing(EnginePool()) as pool:
        (outcome,) = dub_film(Job(made.media, made.transcript), loaded, pool, Ears(debug=True))
    return {stage.name for stage in outcome.facts.stages if stage.ran}


def natural(made: Film) -> list[float]:
    report = json.loads((made.project / "report.es.json").read_text(encoding="utf-8"))
    return [line["natural_duration"] for line in report["lines"]]


@pytest.mark.parametrize("mode", ["off", "text", "source", "auto"])
def test_marks_are_neither_spoken_nor_written_in_any_mode(film: Films, mode: str) -> None:
    made = film("[angry] Leave me alone!", "No [pause] never.", "Good to hear that.")
    dub = made.dub(PLAIN_FILM | {"expressive": mode})
    assert [line["text"] for line in dub.report["lines"]] == [
        "[es] Leave me alone!",
        "[es] No… never.",
        "[es] Good to hear that.",
    ]
    texts = [p.read_text(encoding="utf-8") for p in made.project.rglob("*") if p.suffix in (".srt", ".json")]
    assert texts and not [text for text in texts if "[angry]" in text or "[pause]" in text]


def test_a_fast_line_has_a_shorter_natural_take_and_still_fits(film: Films) -> None:
    made = film(
        "A plain line of the film here.", "[fast] A plain line of the film here.", "[slow] A plain line of the film here."
    )
    made.dub(PLAIN_FILM | {"expressive": "text", "expressive_strength": 1.0})
    plain, fast, slow = natural(made)
    assert plain / fast == pytest.approx(1.15, rel=0.02) and plain / slow == pytest.approx(0.87, rel=0.02)
    report = json.loads((made.project / "report.es.json").read_text(encoding="utf-8"))
    assert all(0.85 <= line["rate"] <= 1.3 and line["overflow"] == 0 for line in report["lines"])


def test_without_marks_and_wishes_every_mode_but_source_is_the_same_dub(film: Films) -> None:
    made = film(*LINES)
    made.dub(PLAIN_FILM)
    again = made.dub(PLAIN_FILM | {"expressive": "text", "expressive_strength": 1.0})
    assert not again.called


def test_a_louder_line_is_laid_louder_and_not_spoken_anew(film: Films) -> None:
    made = film(*LINES)
    plain = made.dub(PLAIN_FILM)
    before, _ = soundfile.read(plain.stem("dub"))
    made.say([(0.5 + 3.0 * n, 2.9 + 3.0 * n, f"{'[loud] ' * (n == 1)}{text}") for n, text in enumerate(LINES)])
    loud = made.dub(PLAIN_FILM | {"expressive": "text", "expressive_strength": 1.0})
    after, _ = soundfile.read(loud.stem("dub"))
    assert not loud.called & {"synthesize", "shape", "fit"}
    gains = [
        20 * np.log10(after[a:b].std() / before[a:b].std())
        for a, b in ((int(x * 48e3), int((x + 2) * 48e3)) for x in (0.5, 3.5, 6.5))
    ]
    assert gains[1] - gains[0] == pytest.approx(4, abs=0.2) and gains[2] == pytest.approx(gains[0], abs=0.2)
    assert loud.report["loudness"]["after_true_peak_dbtp"] <= -1


def test_what_is_asked_for_a_speaker_counts_in_every_mode_and_a_line_by_hand_counts_alone(film: Films, tmp_path: Path) -> None:
    made = film(*LINES)
    store = Store(tmp_path / "store")
    loaded = config.load({"to": "es"}, job=None, environ={}, cwd=tmp_path, user_file=None)
    want = wanted("es", Job(made.media), loaded, store)
    store.close()
    asked = Expression(1.2, -2.0, 3.0)
    want = replace(want, acting=replace(want.acting, asked={"*": Expression(rate=0.9), "ANNA": asked}))
    by_hand = Expression(rate=0.8)
    spoken = [
        acting._acted(line, (), acting._Heard(), want).said
        for line in (
            replace(LINE, speaker="ANNA"),
            replace(LINE, speaker="BOB"),
            replace(LINE, speaker="ANNA", expression=by_hand),
        )
    ]
    assert spoken == [asked, Expression(rate=0.9), by_hand]


def test_an_emotion_by_hand_is_said_like_its_mark_and_the_rest_on_top(film: Films, tmp_path: Path) -> None:
    made = film(*LINES)
    with closing(Store(tmp_path / "store")) as store:
        loaded = config.load({"to": "es"}, job=None, environ={}, cwd=tmp_path, user_file=None)
        want = wanted("es", Job(made.media), loaded, store)

    def said(expression: Expression, strength: float) -> Expression:
        how = replace(want, acting=replace(want.acting, mode="off", strength=strength))
        return acting._acted(replace(LINE, expression=expression), (), acting._Heard(), how).said

    angry = Expression(emotion="angry")
    assert said(angry, 1.0) == tags.EMOTIONS["angry"]
    assert said(angry, 0.5) == tags.meaning(("angry",), 0.5)
    assert said(angry, 0.0) == angry
    assert said(Expression(rate=1.5, emotion="sad"), 1.0).rate == pytest.approx(1.5 * tags.EMOTIONS["sad"].rate)
    assert said(Expression(emotion="wistful"), 1.0) == Expression(emotion="wistful"), "an engine may know it"


LINE = Line(0.0, 2.0, "1", "ANNA", "Hello.", "Hola.", "es")


def test_an_engine_is_asked_for_what_it_can_do_and_the_rest_is_left_to_the_sound() -> None:
    wish = Expression(1.1, 2.4, 3.0, 1.2, "angry")
    part = Part("Hola", "es", Voice("x", "y", "es", settings={"pitch": 40, "range": 60}), 1.05, expression=wish)
    assert speak.acted(part, ()) == replace(part, expression=Expression(1.1, 2.4, 0.0, 1.2))
    rated = speak.acted(part, {"rate"})
    assert rated.rate == pytest.approx(1.155) and rated.expression == Expression(1.0, 2.4, 0.0, 1.2)
    pitched = speak.acted(part, {"rate", "pitch"})
    assert dict(pitched.voice.settings) == {"pitch": 50, "range": 72} and pitched.expression == PLAIN
    assert speak.acted(part, {"emotion"}).expression.emotion == "angry"
    plain = replace(part, expression=PLAIN)
    assert speak.acted(plain, {"rate", "pitch"}) is plain


def spoken(text: str, how: Mapping[str, float], rate: float) -> tuple[np.ndarray, int]:
    voice = replace(TALKERS["BOB"], settings={**TALKERS["BOB"].settings, **how})
    with ENGINE.load(ENGINE.options(), {}, "cpu") as tts:
        audio = tts.synthesize(Part(text, "en", voice, rate))
    return audio.samples[0], audio.rate_hz


SAYS: Sequence[tuple[str, Mapping[str, float], float, float]] = (  # text, settings, rate, gain: each twice as usual, once not
    ("We came home late in the evening and made some tea.", {}, 1.0, 1.0),
    ("The garden was full of people whom nobody knew at all.", {}, 1.0, 1.0),
    ("Then the music stopped and all of them went away again.", {"pitch": 40, "range": 95}, 1.35, 2.0),
    ("After that we sat on the stairs and talked about it.", {}, 1.0, 1.0),
    ("In the morning there was nothing left of it to be seen.", {"pitch": 15, "range": 20}, 0.75, 0.5),
    ("My brother said that it must have been a dream of ours.", {}, 1.0, 1.0),
)


@pytest.fixture
def acted_film(tmp_path: Path) -> Film:
    """Six lines of one man, of which the third is fast, loud, high and lively, the fifth the contrary."""
    media = tmp_path / "film.mkv"
    parts, cues, at = [np.zeros(8000)], list[tuple[float, float, str]](), 8000
    for text, how, rate, gain in SAYS:
        sound, rate_hz = spoken(text, how, rate)
        cues.append((at / rate_hz, (at + len(sound)) / rate_hz, f"BOB: {text}"))
        parts += [0.3 * gain * sound, np.zeros(rate_hz // 2)]
        at += len(sound) + rate_hz // 2
    wav = tmp_path / "speech.wav"
    soundfile.write(wav, np.concatenate(parts), rate_hz, subtype="PCM_16")
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=96x64:rate=10:duration={at / rate_hz}", "-c:v", "libx264")
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", wav, *picture, "-c:a", "pcm_s16le", media],
        check=True,
    )
    film = Film(tmp_path, media)
    film.transcript.write_text(srt(cues), encoding="utf-8")
    return film


@pytest.mark.parametrize("tts", ["fake", "espeak-ng"])
def test_lines_are_said_as_in_the_original_and_remembered(acted_film: Film, tts: str) -> None:
    wish = {"tts": tts, "expressive": "source", "expressive_strength": 1.0, "diarization": "none", "voice_mode": "preset"}
    assert "prosody" in debugged(acted_film, wish)
    told = {id_: line["said"] for id_, line in facts(acted_film).items()}
    hot, cool = told["3"], told["5"]
    assert hot["rate"] > 1.05 and hot["pitch"] > 0.4 and hot["pitch_range"] > 1.1 and hot["energy_db"] > 2
    assert cool["rate"] < 0.95 and cool["pitch_range"] < 0.9 and cool["energy_db"] < -2
    for id_ in "1246":
        assert cool["rate"] < told[id_]["rate"] < hot["rate"] and abs(told[id_]["pitch"]) <= 0.75
        assert cool["pitch_range"] < told[id_]["pitch_range"] < hot["pitch_range"]
    assert not debugged(acted_film, wish)
    weaker = debugged(acted_film, wish | {"expressive_strength": 0.3})
    assert "synthesize" in weaker and "prosody" not in weaker, "what was measured does not know what is made of it"


def test_what_a_person_corrects_changes_how_no_other_line_is_said(acted_film: Film) -> None:
    plain = {"tts": "fake", "diarization": "none", "voice_mode": "preset"}
    wish = plain | {"expressive": "source", "expressive_strength": 1.0}
    debugged(acted_film, wish)
    before = facts(acted_film)
    dub = Reviewed(acted_film.project, "es")
    operations.edit(dub, "2", {"source_text": "Nobody."})
    operations.split(dub, "4", ("Uno dos", "tres cuatro"))
    assert "prosody" not in debugged(acted_film, wish)
    after = facts(acted_film)
    assert {id_: after[id_]["said"] for id_ in before} == {id_: one["said"] for id_, one in before.items()}
    operations.edit(dub, "3", {"expression": {"rate": 1.0}})
    debugged(acted_film, wish)
    assert facts(acted_film)["3"]["said"] == asdict(PLAIN), "a person may want a line plain"


def test_a_speaker_of_whom_little_is_heard_speaks_plainly_and_that_is_told(film: Films) -> None:
    made = film(*LINES[:2])
    debugged(made, PLAIN_FILM | {"expressive": "source"})
    report = json.loads((made.project / "report.es.json").read_text(encoding="utf-8"))
    assert "expression-unheard" in {notice["code"] for notice in report["notices"]}
    assert all(line["said"]["rate"] == 1 for line in facts(made).values())
