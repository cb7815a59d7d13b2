"""translate, speak, mix, sample, engines, doctor, config show, clean, completion: the main path of each, and its JSON."""

from __future__ import annotations

import fcntl
import io
from pathlib import Path

import pytest
import soundfile
from command_line import FAKES, TARGET, Call, files

from polydub import models
from polydub.engines import registry
from polydub.engines.base import Kind
from polydub.inspecting import STATUSES


def put_holes(home: Path, kind: Kind, name: str, **values: object) -> None:
    """Weights of an engine that have the right length, hold nothing, and are passed off as looked at."""
    engine = registry.get(kind, name)
    for weight in engine.weights(registry.build_options(engine, values)):
        for file in weight.files:
            (home / weight.id).mkdir(parents=True, exist_ok=True)
            with (home / weight.id / file.name).open("wb") as holes:
                holes.truncate(file.bytes)
        models.note_intact(weight, home / weight.id, home)


class TestTranslate:
    def test_a_translation_is_put_beside_the_file_under_the_other_language(self, polydub: Call, film: Path) -> None:
        told = polydub("translate", "talk.en.srt", "--to", "fr", "--mt", "fake")
        assert (told.status, told.out) == (0, "talk.fr.srt\n")
        assert "00:00:00,200 --> 00:00:01,000\n[fr] Hello everybody." in Path("talk.fr.srt").read_text()

    def test_to_stdout_goes_the_text_alone(self, polydub: Call, film: Path) -> None:
        told = polydub("translate", "talk.en.srt", "--to", "fr", "--mt", "fake", "--out", "-")
        assert told.out.startswith("1\n00:00:00,200 --> ")
        assert not Path("talk.fr.srt").exists()

    def test_json_has_a_row_for_each_language(self, polydub: Call, film: Path) -> None:
        told = polydub("translate", "talk.en.srt", "--to", "fr,de", "--mt", "fake", "--json")
        nothing = {"calls": 0, "prompt_tokens": 0, "answer_tokens": 0, "cost": 0.0}
        assert told.json == {
            "files": [
                {"language": "fr", "file": "talk.fr.srt", "lines": 2, "usage": nothing},
                {"language": "de", "file": "talk.de.srt", "lines": 2, "usage": nothing},
            ]
        }

    @pytest.mark.parametrize("form", ["vtt", "ass", "txt"])
    def test_the_form_of_the_file_is_kept(self, polydub: Call, film: Path, form: str) -> None:
        polydub("translate", "talk.en.srt", "--to", "fr", "--mt", "fake")
        texts = {
            "vtt": "WEBVTT\n\n00:00.200 --> 00:01.000\nHello.\n",
            "ass": "[Events]\nFormat: Start, End, Text\nDialogue: 0:00:00.20,0:00:01.00,Hello.\n",
            "txt": "Hello.\n",
        }
        Path(f"a.en.{form}").write_text(texts[form])
        assert polydub("translate", f"a.en.{form}", "--to", "fr", "--mt", "fake").out == f"a.fr.{form}\n"
        assert "[fr] Hello." in Path(f"a.fr.{form}").read_text()

    def test_somebody_elses_translation_is_not_overwritten_unless_named(self, polydub: Call, film: Path) -> None:
        command = ("translate", "talk.en.srt", "--to", "es", "--mt", "fake")
        polydub(*command).fails(3, "talk.es.srt is there already", "--out talk.es.srt")
        assert Path("talk.es.srt").read_text() == TARGET
        assert polydub(*command, "--out", "talk.es.srt").status == 0
        assert "[es] Hello" in Path("talk.es.srt").read_text()
        assert polydub(*command).status == 0, "the same text again is no loss"

    def test_the_file_itself_is_never_overwritten(self, polydub: Call, film: Path) -> None:
        before = files(film.parent)
        command = ("translate", "talk.en.srt", "--mt", "fake", "--from", "de", "--to", "en")
        polydub(*command, "--out", "talk.en.srt").fails(3, "file to translate itself")
        polydub(*command, "--out", film.parent / "talk.en.srt").fails(3, "file to translate itself")
        polydub(*command).fails(3, "talk.en.srt")
        assert {name: before[name] for name in ("talk.en.srt", "talk.es.srt")}.items() <= files(film.parent).items()

    def test_what_is_missing_is_said(self, polydub: Call, film: Path) -> None:
        polydub("translate", "talk.en.srt").fails(3, "--to")
        polydub("translate", "talk.en.srt", "--to", "fr,de", "--out", "x.srt").fails(3, "several languages")
        film.with_name("talk.en.srt").rename("talk.srt")
        polydub("translate", "talk.srt", "--to", "fr", "--mt", "fake").fails(3, "--from")
        polydub("translate", "none.srt", "--to", "fr", "--mt", "fake").fails(2, "there is no file none.srt")


class TestSpeak:
    def test_a_text_becomes_a_wav_file(self, polydub: Call) -> None:
        told = polydub("speak", "Hola a todos.", "--to", "es", "--tts", "fake")
        assert (told.status, told.out) == (0, "speech.wav\n")
        sound, rate = soundfile.read("speech.wav")
        assert len(sound) / rate == pytest.approx(13 / 15 + 0.1, abs=0.01)

    def test_json_tells_file_duration_voice_and_engine(self, polydub: Call) -> None:
        rest = ("--voice", "high", "--rate", "2", "--out", "new/a.flac")
        told = polydub("speak", "Hola a todos.", "--to", "es", "--tts", "fake", *rest, "--json")
        length = pytest.approx(13 / 30 + 0.1, abs=0.01)
        assert told.json == {"file": "new/a.flac", "duration": length, "voice": "high", "engine": "fake"}
        assert soundfile.info("new/a.flac").format == "FLAC"

    def test_the_text_may_come_from_a_file_or_from_stdin(self, polydub: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("text.txt").write_text("Hola.")
        assert polydub("speak", "--file", "text.txt", "--to", "es", "--tts", "fake").status == 0
        monkeypatch.setattr("sys.stdin", io.StringIO("Hola otra vez."))
        assert polydub("speak", "--file", "-", "--to", "es", "--tts", "fake", "--out", "b.wav").status == 0
        assert soundfile.info("b.wav").duration > soundfile.info("speech.wav").duration

    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            (("Hola.",), 3, "--to"),
            (("--to", "es"), 2, "no text"),
            (("  ", "--to", "es"), 2, "no text"),
            (("Hola.", "--to", "es", "--out", "a.aac"), 3, ".wav"),
            (("Hola.", "--to", "es", "--rate", "9"), 3, "0.5"),
            (("Hola.", "--to", "es", "--rate", "fast"), 3, "fast"),
            (("Hola.", "--to", "es,fr"), 3, "which language"),
            (("--file", "none.txt", "--to", "es"), 2, "none.txt"),
            (("--file", "binary.txt", "--to", "es"), 2, "UTF-8"),
            (("Hola.", "--to", "es", "--out", "folder.wav"), 6, "folder.wav"),
        ],
    )
    def test_what_is_wrong_is_said(self, polydub: Call, arguments: tuple[str, ...], status: int, words: str) -> None:
        Path("binary.txt").write_bytes(b"\xff\xfe\x00")
        Path("folder.wav").mkdir()
        polydub("speak", *arguments, "--tts", "fake").fails(status, words)
        assert not Path("speech.wav").exists()

    def test_an_unknown_voice_is_an_error_with_the_nearest_ones(self, polydub: Call) -> None:
        polydub("speak", "Hola.", "--to", "es", "--tts", "espeak-ng", "--voice", "es+stef").fails(3, "nearest: steph")


class TestMix:
    def test_a_speech_track_is_laid_over_a_film(self, polydub: Call, film: Path) -> None:
        polydub("speak", "Hola a todos.", "--to", "es", "--tts", "fake")
        told = polydub("mix", film.name, "speech.wav", "--to", "es")
        assert (told.status, told.out) == (0, "Output/talk/mix.es.mkv\n")
        assert "LUFS" in told.err

    def test_json_tells_file_loudness_and_peak(self, polydub: Call, film: Path) -> None:
        polydub("speak", "Hola a todos.", "--to", "es", "--tts", "fake")
        told = polydub("mix", film.name, "speech.wav", "--out", "m.mp4", "--lufs", "-20", "--json")
        assert set(told.json) == {"file", "lufs", "true_peak_dbtp"}
        assert told.json["lufs"] == pytest.approx(-20, abs=0.5)
        assert Path("m.mp4").is_file()

    def test_inputs_are_never_overwritten(self, polydub: Call, film: Path) -> None:
        before = film.read_bytes()
        polydub("mix", film.name, film.name, "--out", film.name).fails(3, "one of the inputs")
        polydub("mix", film.name, film.name, "--out", "a.avi").fails(3, ".mkv")
        polydub("mix", film.name, "none.wav").fails(2, "none.wav")
        polydub("mix", film.name, "talk.en.srt").fails(2, "text file")
        assert film.read_bytes() == before


class TestEngines:
    def test_each_engine_has_a_line_and_each_missing_one_what_mends_it(self, polydub: Call) -> None:
        told = polydub("engines")
        assert told.status == 0
        lines = told.out.splitlines()
        assert any(line.split()[:3] == ["tts", "espeak-ng", "ready"] for line in lines)
        assert any(line.split()[:3] == ["mt", "openai", "needs-key"] for line in lines)
        assert "POLYDUB_OPENAI_API_KEY" in told.out

    def test_json_has_every_fact(self, polydub: Call) -> None:
        told = polydub("engines", "--json").json
        assert list(told) == ["engines"]
        rows = told["engines"]
        keys = ["kind", "name", "status", "licence", "weights", "languages", "devices", "memory", "hint"]
        assert all(list(row) == keys for row in rows)
        words = {"ready", "broken", *STATUSES.values()}
        assert all(row["status"] in words for row in rows)
        assert all((row["status"] == "ready") == (row["hint"] == "") for row in rows)
        found = {(row["kind"], row["name"]): row for row in rows}
        whisper = found["asr", "faster-whisper"]
        assert whisper["devices"] == ["cpu", "cuda"] and set(whisper["memory"]) == {"host_mib", "accelerator_mib"}
        small = next(w for w in whisper["weights"] if w["id"] == "faster-whisper-small")
        assert small == small | {"here": False, "licence": "MIT", "commercial_use": True} and small["bytes"] > 10**8
        assert "es" in found["tts", "espeak-ng"]["languages"] and found["tts", "fake"]["languages"] is None

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            ("asr", "faster-whisper kyutai openai sherpa-onnx pocketsphinx given"),
            ("mt", "openai nllb opus-mt argos apertium"),
            ("tts", "xtts vibevoice chatterbox piper kokoro openai espeak-ng"),
            ("separation", "mdx23 demucs mask none"),
            ("diarization", "pyannote sherpa-onnx embedded"),
        ],
    )
    def test_json_has_a_row_for_every_engine_and_every_choice_without_one(self, polydub: Call, kind: str, names: str) -> None:
        rows = polydub("engines", "--json").json["engines"]
        assert set(names.split()) <= {row["name"] for row in rows if row["kind"] == kind}

    def test_the_languages_of_all_models_are_listed_and_pairs_shortly(self, polydub: Call) -> None:
        rows = {(row["kind"], row["name"]): row["languages"] for row in polydub("engines", "--json").json["engines"]}
        assert {"en-US", "es-ES", "de-DE"} <= set(rows["tts", "piper"])
        assert {"en>es", "es>en"} <= set(rows["mt", "opus-mt"])
        assert len(rows["mt", "nllb"]) < 300 and "es" in rows["mt", "nllb"], "each to each: no pairs, but languages"

    def test_a_verbose_table_tells_package_memory_and_weights(self, polydub: Call) -> None:
        told = polydub("engines", "--verbose").out
        assert "faster-whisper-large-v3: 3.1 GB, MIT\n" in told
        assert "no commercial use" in told
        assert "by coqui-tts " in told and " in the environment xtts\n" in told

    def test_what_auto_takes_is_explained(self, polydub: Call) -> None:
        told = polydub("engines", "--explain")
        assert told.status == 0 and "asr, best first:\n  faster-whisper, needs-weights, all modes: " in told.out
        rows = polydub("engines", "--explain", "--json").json
        assert set(rows) == {"mode", "preferences"}
        first = next(row for row in rows["preferences"] if row["kind"] == "separation")
        assert (first["name"], first["modes"], first["status"]) == ("mdx23", ["high"], "needs-environment")

    def test_the_columns_stand_below_each_other(self, polydub: Call) -> None:
        lines = [line for line in polydub("engines").out.splitlines() if not line.startswith(" ")]
        kinds = {line.split()[0] for line in lines}
        assert {"vad", "asr", "align", "embedding", "separation", "mt", "tts"} <= kinds
        name = lines[0].index(lines[0].split()[1])
        assert all(line[name - 1] == " " and line[name] != " " for line in lines)

    def test_an_engine_without_its_weights_says_which_to_pull(self, polydub: Call) -> None:
        told = polydub("engines")
        found = [line.split() for line in told.out.splitlines()]
        assert ["embedding", "resemblyzer", "needs-weights"] in [words[:3] for words in found]
        assert "mend it with: polydub models pull resemblyzer\n" in told.out
        rows = {(row["kind"], row["name"]): row for row in polydub("engines", "--json").json["engines"]}
        row = rows["embedding", "resemblyzer"]
        assert (row["status"], [(w["id"], w["here"]) for w in row["weights"]]) == ("needs-weights", [("resemblyzer", False)])
        assert row["hint"] == "polydub models pull resemblyzer"

    def test_an_engine_with_its_weights_is_ready(self, polydub: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        put_holes(Path("weights"), "embedding", "resemblyzer")
        monkeypatch.setenv("POLYDUB_MODELS", "weights")
        row = next(row for row in polydub("engines", "--json").json["engines"] if row["name"] == "resemblyzer")
        assert (row["status"], row["hint"], row["weights"][0]["here"]) == ("ready", "", True)

    def test_of_several_models_the_one_whose_weights_are_here_counts(
        self, polydub: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_holes(Path("weights"), "asr", "faster-whisper", model="base")
        monkeypatch.setenv("POLYDUB_MODELS", "weights")

        def row() -> tuple[str, str]:
            found = next(r for r in polydub("engines", "--json").json["engines"] if r["name"] == "faster-whisper")
            return found["status"], found["hint"]

        assert row() == ("ready", "")
        monkeypatch.setenv("POLYDUB_ASR_MODEL", "tiny")
        assert row() == ("needs-weights", "polydub models pull faster-whisper-tiny")

    def test_voices_of_a_language_are_listed(self, polydub: Call) -> None:
        assert "high" in polydub("engines", "--voices", "Spanish", "--tts", "fake").out
        voices = polydub("engines", "--voices", "es", "--json").json
        assert len(voices) > 1
        assert set(voices[0]) == {"name", "label", "settings"}
        polydub("engines", "--voices", "spansh").fails(3, "Spanish")
        polydub("engines", "--voices", "es", "--tts", "fak").fails(3, "'fake'")


class TestDoctor:
    def test_every_part_is_looked_at_and_every_kind_of_engine_works_for_a_moment(self, polydub: Call) -> None:
        told = polydub("doctor", "--json")
        rows = {row["name"]: row for row in told.json}
        assert all(set(row) == {"name", "state", "text", "fix"} for row in told.json)
        assert {"ffmpeg", "disk", "device", "memory"} <= set(rows)
        for name in ("vad silero", "asr fake", "align syllables", "embedding fingerprint", "separation mask", "tts espeak-ng"):
            assert rows[name]["state"] == "ok", rows[name]
            assert rows[name]["text"].endswith(" s")
        assert rows["mt openai"]["state"] == "missing"
        assert rows["embedding resemblyzer"]["state"] == "missing"
        assert rows["embedding resemblyzer"]["fix"] == "polydub models pull resemblyzer"
        assert told.status == 0, "what is missing is no failure"

    def test_weights_that_are_damaged_are_bad(self, polydub: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        put_holes(Path("weights"), "embedding", "resemblyzer")
        monkeypatch.setenv("POLYDUB_MODELS", "weights")
        told = polydub("doctor", "--json")
        assert told.status == 4
        rows = {row["name"]: row for row in told.json}
        assert rows["embedding resemblyzer"]["state"] == "bad"
        assert rows["embedding resemblyzer"]["fix"]

    def test_a_variable_that_is_not_used_yet_is_told(self, polydub: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WEBHOOK_URL", "secret-value")
        told = polydub("doctor")
        assert "WEBHOOK_URL" in told.out
        assert "secret-value" not in told.out + told.err

    def test_an_output_folder_that_is_a_file_is_bad(self, polydub: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("file").touch()
        monkeypatch.setenv("POLYDUB_OUTPUT", "file")
        told = polydub("doctor")
        assert told.status == 4
        assert "bad      disk: " in told.out


class TestConfigShow:
    def test_every_value_has_its_origin(self, polydub: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("POLYDUB_MODE", "high")
        monkeypatch.setenv("POLYDUB_OPENAI_API_KEY", "secret-value")
        user = tmp_path / "home/polydub/config.toml"
        user.parent.mkdir(parents=True)
        user.write_text("gap_s = 0.2\n")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
        Path("job.toml").write_text('to = ["es"]\nmode = "low"\n')
        Path(".env").write_text("POLYDUB_LUFS=-20\n")
        told = polydub("config", "show", "--job", "job.toml", "--json")
        rows = {row["key"]: (row["value"], row["origin"]) for row in told.json}
        assert rows["to"] == ("es", "job file job.toml")
        assert rows["mode"] == ("low", "job file job.toml")
        assert rows["lufs"] == ("-20.0", "POLYDUB_LUFS in .env")
        assert rows["gap_s"] == ("0.2", f"user file {user}")
        assert rows["max_rate"] == ("1.3", "default")
        assert rows["openai_api_key"][0] == "set"
        assert "secret-value" not in told.out + told.err
        text = polydub("config", "show").out
        assert "POLYDUB_MODE in the environment" in text

    @pytest.mark.parametrize(
        ("variable", "words"), [("POLYDUB_MOD", "POLYDUB_MODE"), ("POLYDUB_MAX_RATES", "POLYDUB_MAX_RATE")]
    )
    def test_an_unknown_variable_is_an_error_with_the_nearest(
        self, polydub: Call, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
    ) -> None:
        monkeypatch.setenv(variable, "1")
        polydub("config", "show").fails(3, variable, f"did you mean {words}?")


class TestClean:
    @pytest.fixture
    def dubbed(self, polydub: Call, film: Path) -> Path:
        polydub("dub", film.name, "--to", "es", *FAKES, "--transcript", "talk.en.srt")
        return Path("Output/.polydub")

    def test_remembered_work_goes_and_the_dub_stays(self, polydub: Call, dubbed: Path) -> None:
        before = files(Path("Output/talk"))
        told = polydub("clean", "--yes", "--json")
        assert told.json["store"] == "Output/.polydub"
        assert told.json["freed_bytes"] > 10_000
        assert not dubbed.exists()
        assert files(Path("Output/talk")) == before
        assert polydub("clean", "--yes").status == 0

    def test_without_an_answer_nothing_is_deleted(self, polydub: Call, dubbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        polydub("clean").fails(3, "--yes")
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
        assert polydub("clean").status == 0
        assert (dubbed / "memo.sqlite").exists()

    def test_while_another_process_works_nothing_is_deleted(self, polydub: Call, dubbed: Path) -> None:
        (dubbed / "scratch/p-other").mkdir()
        with (dubbed / "scratch/p-other/lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            polydub("clean", "--yes").fails(6, "another process")
        assert (dubbed / "memo.sqlite").exists()

    def test_other_files_in_the_folder_stay(self, polydub: Call, dubbed: Path) -> None:
        (dubbed / "mine.txt").write_text("mine")
        polydub("clean", "--yes")
        assert files(dubbed) == {"mine.txt": b"mine"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_asks_polydub(polydub: Call, shell: str) -> None:
    told = polydub("completion", shell)
    assert told.status == 0
    assert f"_POLYDUB_COMPLETE={shell}_complete" in told.out


def test_completion_of_an_unknown_shell_names_the_known_ones(polydub: Call) -> None:
    polydub("completion", "tcsh").fails(3, "bash", "zsh", "fish")


@pytest.mark.slow
def test_a_sample_can_be_made_and_dubbed_as_it_says(polydub: Call) -> None:
    told = polydub("sample", "--output", "try")
    video, transcript, translation = told.out.splitlines()
    assert all(Path(path).is_file() for path in (video, transcript, translation))
    assert f"now try: polydub dub {video} --to es --translation {translation}" in told.err
    assert polydub("dub", video, "--to", "es", "--translation", translation).status == 0
