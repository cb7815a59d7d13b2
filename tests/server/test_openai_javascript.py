"""The compatibility tests by OpenAI's client for Node: one run of `openai_compat.mjs`, looked at by the numbers of the README.

Not here: 14 and 24 have programs of their own (`test_openai_errors.py`, `test_webhooks.py`); 23 is what this client once sent.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pysubs2
import pytest
from openai_js import run_js
from speech_room import Served, TriedHouse, served, talk_wav, waits_for
from test_openai_speech_api import FORMS, seconds_of
from test_openai_wire import TALK, Stubborn

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("openai_compat.mjs")
FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")


@pytest.fixture
def told(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What the program saw."""
    folder = tmp_path
    (folder / "talk.wav").write_bytes(talk_wav(*TALK))
    film = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=5", "-shortest", "-c:v", "mpeg4", "-c:a", "aac", "film.mp4"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "talk.wav", *film], check=True, cwd=folder)
    house = TriedHouse(folder)
    house.gates.hold, house.gates.fail, house.gates.slow_s = "lamps", "breaks", 0.1
    with served(folder / "data", house=house) as server:
        between = HTTPServer(("127.0.0.1", 0), type("Between", (Stubborn,), {"behind": server.root, "refused": []}))
        helpers = [threading.Thread(target=between.serve_forever), threading.Thread(target=attend, args=(folder, server))]
        for helper in helpers:
            helper.start()
        try:
            port = between.server_address[1]
            yield run_js(folder, PROGRAM.read_text(), server.url, server.token, f"http://127.0.0.1:{port}/v1")
        finally:
            (folder / "over").touch()
            between.shutdown()
            between.server_close()
            for helper in helpers:
                helper.join()


def attend(folder: Path, server: Served) -> None:
    """Does what the program waits for: opens the gate after its first sound, says when the engine is free after it has left."""

    def signed(name: str) -> bool:
        return waits_for(lambda: (folder / name).exists() or (folder / "over").exists(), 120)

    if signed("first"):
        server.house.gates.go.set()
    if signed("left") and waits_for(lambda: server.inside() == server.house.gates.working == 0, 30):
        (folder / "freed").touch()


def check_1_and_3_each_format_has_its_type_and_all_of_the_sound(told: dict[str, Any], folder: Path) -> None:
    whole = seconds_of((folder / "said.pcm").read_bytes(), "pcm")
    for form, (magic, media) in FORMS.items():
        data = (folder / f"said.{form}").read_bytes()
        assert (told["1"][form], data[: len(magic)]) == (media, magic)
        assert seconds_of(data, form) == pytest.approx(whole, rel=0.02), form
    assert seconds_of((folder / "written.mp3").read_bytes(), "mp3") == pytest.approx(whole, rel=0.02)


def check_2_the_first_sound_comes_before_the_last_sentence_is_made(told: dict[str, Any], folder: Path) -> None:
    data = (folder / "gated.wav").read_bytes()
    assert data.count(b"RIFF") == 1
    assert seconds_of(data, "wav") > 6


def check_4_events_hold_the_same_bytes_and_end_with_what_was_used(told: dict[str, Any], _folder: Path) -> None:
    *there, used, same = told["4"]
    assert (there, same) == ([True, "speech.audio.done"], True)
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"] > 0


def check_5_to_7_voices_speeds_and_inputs_are_taken_or_refused_by_name(told: dict[str, Any], _folder: Path) -> None:
    def bad(code: str, param: str) -> list[object]:
        return ["BadRequestError", 400, code, param]

    assert told["5"]["different"] >= 8
    assert told["5"]["shortest"] > 0
    assert (told["5"]["byId"], told["5"]["unknown"]) == (True, bad("voice_not_found", "voice"))
    assert told["6"][:2] == [None, None]
    assert [(one[0], one[3]) for one in told["6"][2:]] == [("BadRequestError", "speed")] * 2
    assert [told["7"][name] for name in ("longest", "smile", "zero")] == [None] * 3
    assert told["7"]["longer"] == bad("string_too_long", "input")
    assert [told["7"][name][3] for name in ("empty", "blank", "half")] == ["input"] * 3


def check_8_and_20_each_format_is_what_its_readers_want(told: dict[str, Any], _folder: Path) -> None:
    heard, english = told["8"], told["20"]
    assert heard["text"] == heard["json"]["text"] + "\n"
    assert heard["verbose_json"]["text"] == heard["diarized_json"]["text"] == heard["json"]["text"]
    assert (heard["verbose_json"]["language"], english["verbose_json"]["language"]) == ("english", "english")
    assert {segment["speaker"] for segment in heard["diarized_json"]["segments"]} <= {"A", "B"}
    assert english["text"] == english["json"]["text"] + "\n"
    for form in ("srt", "vtt"):
        for text in (heard[form], english[form]):
            cues = pysubs2.SSAFile.from_string(text, format_=form)
            assert len(cues) >= 1
            assert all(cue.end > cue.start for cue in cues)


def check_9_times_are_told_as_they_are_asked_for(told: dict[str, Any], _folder: Path) -> None:
    *asked, refused = told["9"]
    assert asked == [[True, False], [False, True], [True, False], [True, True]]
    assert (refused[0], refused[3]) == ("BadRequestError", "timestamp_granularities.0")


def check_10_files_come_in_any_way_under_any_name(told: dict[str, Any], _folder: Path) -> None:
    assert len(told["10"]) == 6
    assert set(told["10"]) == {told["8"]["json"]["text"]}
    assert told["film"] == pytest.approx(told["8"]["verbose_json"]["duration"], abs=0.3)


def check_11_to_13_streams_are_whole_or_break_off(told: dict[str, Any], _folder: Path) -> None:
    kinds, same = told["11"]
    assert (set(kinds[:-1]), kinds[-1], same) == ({"transcript.text.delta"}, "transcript.text.done", True)
    assert ["transcript.text.segment", "A"] in told["12"]
    assert told["12"][-1][0] == "transcript.text.done"
    assert (told["13"]["stream"], "transcript.text.done" in told["13"]["seen"]) == ([True, None], False)
    assert told["13"]["whole"][:3] == ["InternalServerError", 502, "engine_failed"]
    assert told["13"]["sound"] == [200, "broken"]


def check_15_it_comes_back_when_it_is_told_to_and_not_otherwise(told: dict[str, Any], _folder: Path) -> None:
    assert told["15"] == ["1", 503, "false"]


def check_16_models_are_listed_and_looked_up(told: dict[str, Any], _folder: Path) -> None:
    found = {model["id"]: model for model in told["16"]["models"]}
    assert {"tts-1", "whisper-1", "espeak-ng"} <= set(found)
    assert told["16"]["same"] == found["tts-1"]
    assert told["16"]["missing"] == [["NotFoundError", 404, "model_not_found", "model"]] * 3


def check_17_and_18_many_at_once_and_one_that_leaves(told: dict[str, Any], _folder: Path) -> None:
    assert len(told["17"]) == 20
    assert min(told["17"]) > 10_000
    assert told["18"] is True


def check_19_unknown_fields_are_ignored(told: dict[str, Any], _folder: Path) -> None:
    assert told["19"] == [None, None]


def check_21_and_22_the_engine_is_named_in_a_header(told: dict[str, Any], _folder: Path) -> None:
    spoken = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
    assert {told["21"][name] for name in spoken} == {"espeak-ng"}
    assert {engine for name, engine in told["21"].items() if name not in spoken} == {"pocketsphinx"}
    assert told["22"] == [True, "no-store", "espeak-ng"]


CHECKS = (
    check_1_and_3_each_format_has_its_type_and_all_of_the_sound,
    check_2_the_first_sound_comes_before_the_last_sentence_is_made,
    check_4_events_hold_the_same_bytes_and_end_with_what_was_used,
    check_5_to_7_voices_speeds_and_inputs_are_taken_or_refused_by_name,
    check_8_and_20_each_format_is_what_its_readers_want,
    check_9_times_are_told_as_they_are_asked_for,
    check_10_files_come_in_any_way_under_any_name,
    check_11_to_13_streams_are_whole_or_break_off,
    check_15_it_comes_back_when_it_is_told_to_and_not_otherwise,
    check_16_models_are_listed_and_looked_up,
    check_17_and_18_many_at_once_and_one_that_leaves,
    check_19_unknown_fields_are_ignored,
    check_21_and_22_the_engine_is_named_in_a_header,
)


def test_openais_client_for_node_can_do_all_that_the_one_for_python_can(
    told: dict[str, Any], tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for check in CHECKS:
        with subtests.test(check.__name__):
            check(told, tmp_path)
