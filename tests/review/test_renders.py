"""The film made again with what a person has set: what is spoken, what is kept, what survives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from polydub import config, edits, request, review
from polydub.dubbing import Ears, Job, Outcome
from polydub.engines.pool import EnginePool
from polydub.errors import BadInput
from polydub.review import Reviewed, rendering
from polydub.review.rendering import Render
from small_dubs import Film, long_talk, srt


def render(dub: Reviewed, **settings: object) -> Outcome:
    pool = EnginePool()
    try:
        return rendering.render(dub, pool, Ears(), Render(settings=settings))
    finally:
        pool.close()


def ran(dub: Reviewed) -> dict[str, int]:
    """Calls that the last render made, by stage."""
    report = json.loads((dub.folder / "report.es.json").read_text(encoding="utf-8"))
    return {stage["name"]: stage["ran"] for stage in report["stages"] if stage["ran"]}


def placed(dub: Reviewed, line: str) -> tuple[Any, ...]:
    row = review.row(dub, line)
    return row.said, row.at, row.duration


def wavs(dub: Reviewed) -> list[str]:
    return sorted(file.name for file in (dub.folder / "review").glob("*.wav"))


def test_a_render_takes_the_settings_that_made_the_film(talk: Reviewed) -> None:
    outcome = render(talk)
    assert outcome.film == talk.folder / "dub.es.mkv"
    assert not set(ran(talk)) - {"mux", "stem"}, "copied files are delivered anew, nothing else is done"
    assert render(talk).called == 0
    memory = json.loads((talk.folder / "project.json").read_text(encoding="utf-8"))["requests"]["es"]
    assert memory["settings"]["tts"] == "fake"
    assert not {"output", "to", "threads"} & set(memory["settings"])


def test_a_project_remembers_no_secret_and_nothing_of_a_server(tmp_path: Path) -> None:
    environ = {"POLYDUB_SERVER__DATABASE": "postgresql://me:swordfish@db/jobs", "POLYDUB_OPENAI_API_KEY": "swordfish"}
    loaded = config.load({"to": "es", "tts": "fake"}, job=None, environ=environ, cwd=tmp_path, user_file=None)
    assert request.remembered(Job(tmp_path / "talk.mkv"), loaded) == {"settings": {"tts": "fake"}}


def test_an_edit_speaks_one_line_and_keeps_both_takes(talk: Reviewed) -> None:
    review.edit(talk, "1", {"text": "Buenas."})
    outcome = render(talk)
    assert ran(talk)["synthesize"] <= 2, "its natural take, and perhaps one at another rate"
    assert placed(talk, "1")[0] == "Buenas."
    assert not review.row(talk, "1").pending
    assert [(v.number, v.spoken.text) for v in review.takes(talk, "1")] == [(1, "Hola, ¿qué tal?"), (2, "Buenas.")]
    assert [v.number for v in outcome.takes] == [2]
    assert wavs(talk) == ["1_v1.wav", "1_v2.wav"]
    told = soundfile.info(talk.folder / "review" / "1_v2.wav")
    assert (told.samplerate, told.channels, told.subtype) == (48_000, 1, "PCM_24")
    take = review.takes(talk, "1")[1].spoken.takes["1"][0]
    assert told.frames == round(take.duration * 48_000)


def test_undo_and_an_older_take_speak_nothing(talk: Reviewed) -> None:
    render(talk)
    before = (talk.folder / "dub.es.mkv").read_bytes(), placed(talk, "1")
    review.edit(talk, "1", {"text": "Buenas."})
    render(talk)
    review.undo(talk)
    render(talk)
    assert "synthesize" not in ran(talk)
    assert ((talk.folder / "dub.es.mkv").read_bytes(), placed(talk, "1")) == before
    review.use(talk, "1", 2)
    render(talk)
    assert "synthesize" not in ran(talk)
    assert (placed(talk, "1")[0], review.row(talk, "1").take) == ("Buenas.", 2)
    assert review.row(talk, "1").takes == (1, 2), "no take is kept twice"


def test_a_chosen_take_is_heard_whatever_the_engine(talk: Reviewed) -> None:
    review.edit(talk, "1", {"text": "Buenas."})
    render(talk)
    review.use(talk, "1", 1)
    render(talk, tts="fake,chars_per_s=9")
    kept = review.takes(talk, "1")[0].spoken
    film = edits_of_last_render(talk)
    assert film["1"]["takes"]["1"][0]["sound"]["sha256"] == kept.takes["1"][0].sound.sha256
    assert ran(talk)["synthesize"] >= 3


def edits_of_last_render(dub: Reviewed) -> dict[str, Any]:
    return json.loads((dub.folder / ".spoken.es.json").read_text(encoding="utf-8"))["lines"]


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Film:
    """A film of twelve seconds with a translation."""
    cues = long_talk(15.0)
    return Film(tmp_path, clip("film", seconds=12.0)).say(cues, [f"dice {text}" for _, _, text in cues])


def test_a_locked_line_survives_another_engine_other_texts_and_a_new_choice(film: Film) -> None:
    film.dub()
    dub = review.open_review(film.project)
    before = placed(dub, "2")
    review.lock(dub, ["2"])
    said = edits_of_last_render(dub)["2"]["shaped"]
    cues = long_talk(15.0)
    film.say(cues, [f"ahora otra cosa {text}" for _, _, text in cues])
    made = film.dub({"tts": "fake,chars_per_s=11"}, reconsider=True)
    assert made.ran["synthesize"] >= 2
    assert placed(dub, "2") == before
    assert edits_of_last_render(dub)["2"]["shaped"] == said
    assert review.row(dub, "1").said.startswith("ahora")


def test_a_lock_follows_its_line_into_a_new_transcript(film: Film) -> None:
    film.dub()
    dub = review.open_review(film.project)
    before = placed(dub, "2")
    review.lock(dub, ["2"])
    first, second, third = long_talk(15.0)
    new = [(0.1, 0.4, "new one"), first, (second[0] + 0.9, second[1] + 1.0, "retold"), third]  # too far to be the same cue
    film.say(new, ["nuevo", "uno", "otra vez", "tres"])
    film.dub()
    rows = {x.id: x for x in review.listing(dub)}
    assert [x.status for x in rows.values()].count("locked") == 1
    (id_,) = [x.id for x in rows.values() if x.status == "locked"]
    assert placed(dub, id_) == before
    film.dub()
    assert placed(dub, id_) == before


def test_a_line_that_is_locked_before_it_is_rendered_is_held_as_it_then_sounds(talk: Reviewed) -> None:
    review.edit(talk, "1", {"text": "Buenas."})
    review.lock(talk, ["1"])
    render(talk)
    assert edits.read(talk.folder, "es").locks["1"].spoken
    before = placed(talk, "1")
    render(talk, tts="fake,chars_per_s=9")
    assert placed(talk, "1") == before


def test_a_lost_recording_is_spoken_anew_and_told(talk: Reviewed) -> None:
    review.lock(talk, ["1"])
    held = edits.read(talk.folder, "es").locks["1"].spoken
    assert held
    for artifact in set(held.artifacts()):
        (talk.folder.parent / ".polydub" / "artifacts" / artifact.sha256[:2] / f"{artifact.sha256}.flac").unlink()
    outcome = render(talk)
    assert "take-lost" in {notice.code for notice in outcome.notices}
    assert placed(talk, "1")[0] == "Hola, ¿qué tal?"


def test_a_set_time_is_kept_and_the_neighbours_make_room(talk: Reviewed) -> None:
    review.time(talk, "3", start=3.9)
    render(talk)
    assert placed(talk, "3")[1] == 3.9
    assert review.row(talk, "3").pinned
    review.time(talk, "3")
    render(talk)
    assert not review.row(talk, "3").pinned


def test_a_dub_made_again_keeps_the_edits(film: Film) -> None:
    film.dub()
    dub = review.open_review(film.project)
    review.edit(dub, "1", {"text": "a mano"})
    review.split(dub, "2", ("primera", "segunda"), at=5.5)
    film.dub()
    assert [x.said for x in review.listing(dub)] == ["a mano", "primera", "segunda", "dice three four five six seven eight 2."]
    assert film.dub().called == set()
    (film.project / "edits.es.json").unlink()
    film.dub()
    assert len(review.listing(dub)) == 3


def test_a_number_of_a_split_is_never_given_to_another_line(film: Film) -> None:
    film.dub()
    dub = review.open_review(film.project)
    review.split(dub, "2", ("primera", "segunda"), at=5.5)
    film.dub()
    cues = [*long_talk(15.0), (11.0, 11.8, "a new last line")]
    film.transcript.write_text(srt(cues), encoding="utf-8")
    film.translation.write_text(srt([(a, b, f"dice {text}") for a, b, text in cues]), encoding="utf-8")
    film.dub()
    assert [x.id for x in review.listing(dub)] == ["1", "2", "4", "3", "5"]


def test_a_film_that_was_moved_is_found_when_it_is_given(film: Film, tmp_path: Path) -> None:
    film.dub()
    dub = review.open_review(film.project)
    moved = tmp_path / "elsewhere.mkv"
    shutil.move(film.media, moved)
    with pytest.raises(BadInput, match="is not there") as caught:
        render(dub)
    assert "--media" in caught.value.hint
    other = tmp_path / "other.mkv"
    other.write_bytes(moved.read_bytes() + b"x")
    pool = EnginePool()
    with pytest.raises(BadInput, match="another film"):
        rendering.render(dub, pool, Ears(), Render(media=other))
    assert rendering.render(dub, pool, Ears(), Render(media=moved)).film == dub.folder / "dub.es.mkv"
    assert render(dub).called == 0, "from now on it is known where it lies"
    pool.close()


def test_a_film_that_was_moved_with_its_texts_is_found_with_them(film: Film, tmp_path: Path) -> None:
    film.dub()
    there = tmp_path / "there"
    there.mkdir()
    for file in (film.media, film.transcript):
        shutil.move(file, there / file.name)
    pool = EnginePool()
    made = rendering.render(review.open_review(film.project), pool, Ears(), Render(media=there / film.media.name))
    pool.close()
    assert made.called == 0


def test_a_project_that_does_not_know_its_request_is_told(talk: Reviewed) -> None:
    file = talk.folder / "project.json"
    tree = json.loads(file.read_text(encoding="utf-8"))
    del tree["requests"]
    file.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadInput, match="did not keep how"):
        render(talk)


@pytest.mark.slow
def test_every_kind_of_change_speaks_its_line_and_renders_its_blocks(clip: Callable[..., Path], tmp_path: Path) -> None:
    film = Film(tmp_path, clip("film", seconds=95.0)).say(long_talk(95.0))
    film.dub({"separation": "none"})
    dub = review.open_review(film.project)
    changes: list[tuple[Callable[[], object], int]] = [
        (lambda: review.edit(dub, "8", {"text": "Una cosa bien distinta."}), 2),
        (lambda: review.edit(dub, "3", {"source_text": "something else was said"}), 2),
        (lambda: review.voice(dub, "higher", ["12"]), 2),
        (lambda: review.time(dub, "16", start=61.0), 2),
        (lambda: review.split(dub, "20", ("uno dos", "tres cuatro")), 3),
        (lambda: review.merge(dub, "5", "6"), 2),
        (lambda: review.undo(dub), 1),
    ]
    for act, spoken in changes:
        act()
        before = {x.id: x for x in review.listing(dub)}
        render(dub)
        counts = ran(dub)
        assert counts.get("synthesize", 0) <= spoken
        assert counts.get("mix-block", 0) <= 2
        assert not set(counts) & {"extract", "read-script", "transcribe", "separate"}
        moved = [x.id for x in review.listing(dub) if x.id in before and x.at != before[x.id].at]
        assert len(moved) <= 4
