"""Which engines a run gets: what `auto` takes and keeps, what it tells, when weights are offered and fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from polydub import config, models
from polydub.choosing import Chooser, Person, check_choices
from polydub.engines import devices, registry
from polydub.engines.base import Kind
from polydub.errors import BadSettings, MissingWeights, PolydubError, UnknownEngine, UnsupportedLanguage
from polydub.runner import Run
from polydub.store import Store

LISTENING: dict[Kind, str] = {"vad": "und", "asr": "und", "embedding": "und", "separation": "und"}


@dataclass
class Place:
    """Where engines are chosen, time and again; `kept` is what the project keeps, `asked` every question."""

    folder: Path
    store: Store
    kept: dict[str, str] = field(default_factory=dict[str, str])
    asked: list[str] = field(default_factory=list[str])
    answer: bool = False

    @property
    def home(self) -> Path:
        return self.folder / "models"

    def ask(self, question: str) -> bool:
        self.asked.append(question)
        return self.answer

    def choose(self, wants: dict[Kind, str] | None = None, **settings: object) -> Run:
        values = {"models": str(self.home), **settings}
        loaded = config.load(values, job=None, environ={}, cwd=self.folder, user_file=None)
        check_choices(loaded.settings)
        with Run(self.store, self.folder) as run:
            Chooser(loaded, self.kept, Person(self.ask))(run, LISTENING if wants is None else wants)
            return run

    def put(self, kind: Kind, name: str, **values: object) -> None:
        """The weights of an engine, of the right length, hollow, and passed off as looked at."""
        engine = registry.get(kind, name)
        for weight in engine.weights(registry.build_options(engine, values)):
            for file in weight.files:
                path = self.home / weight.id / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as holes:
                    holes.truncate(file.bytes)
            models.note_intact(weight, self.home / weight.id, self.home)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    store = Store(tmp_path / "store")
    yield Place(tmp_path, store)
    store.close()


def names(run: Run) -> dict[str, str]:
    return {kind: tool.engine.info.name for kind, tool in run.tools.items()}


def substitutes(run: Run) -> dict[str, str]:
    """What stands in for something better, by its first word."""
    return {n.text.split()[0]: n.text for n in run.notices if n.code == "substitute"}


def test_without_weights_what_needs_none_stands_in_and_says_how_to_get_the_better(place: Place) -> None:
    run = place.choose()
    assert names(run) == {"vad": "silero", "asr": "pocketsphinx", "embedding": "fingerprint", "separation": "mask"}
    told = substitutes(run)
    assert told.keys() == {"pocketsphinx", "fingerprint", "mask"}
    for name, better, model in (
        ("pocketsphinx", "faster-whisper", "faster-whisper-small"),
        ("fingerprint", "resemblyzer", "resemblyzer"),
        ("mask", "deepfilternet", "deepfilternet3"),
    ):
        assert f"stands in for {better}" in told[name]
        assert told[name].endswith(f"polydub models pull {model}")
    assert all(n.severity == "warning" for n in run.notices if n.code == "substitute")


def test_with_weights_the_better_ones_are_taken_and_nothing_is_told(place: Place) -> None:
    place.put("asr", "faster-whisper", model="small")
    place.put("embedding", "resemblyzer")
    place.put("separation", "deepfilternet")
    run = place.choose()
    assert names(run) == {"vad": "silero", "asr": "faster-whisper", "embedding": "resemblyzer", "separation": "deepfilternet"}
    assert not substitutes(run)
    assert run.tools["separation"].weights == {"deepfilternet3": place.home / "deepfilternet3"}
    assert not place.asked


def test_what_auto_took_is_kept_and_so_is_what_it_told(place: Place) -> None:
    first = place.choose()
    place.choose({"mt": "en>es"}, mt="fake")
    assert set(place.kept) >= {"asr", "asr.reason", "asr.substitute", "embedding", "separation"}
    assert "mt" not in place.kept, "what was chosen by name needs no keeping"
    again = place.choose()
    assert names(again) == names(first)
    assert again.notices == first.notices
    assert [t.reason for t in again.tools.values()] == [t.reason for t in first.tools.values()]
    assert {k: dict(t.identity) for k, t in again.tools.items()} == {k: dict(t.identity) for k, t in first.tools.items()}


def test_better_weights_change_nothing_until_auto_is_asked_to_reconsider(place: Place) -> None:
    place.choose()
    place.put("separation", "deepfilternet")
    kept = place.choose()
    assert names(kept)["separation"] == "mask"
    assert "--reconsider" in substitutes(kept)["mask"], "and not a command that was carried out long ago"
    assert substitutes(kept)["fingerprint"].endswith("models pull resemblyzer")
    place.kept.clear()  # what --reconsider does
    assert names(place.choose())["separation"] == "deepfilternet"


def test_a_name_goes_before_what_is_kept(place: Place) -> None:
    place.choose()
    assert names(place.choose(asr="fake", diarization="embedded:fingerprint"))["asr"] == "fake"
    assert place.kept["asr"] == "pocketsphinx"


def test_another_spoken_language_than_last_time_lets_auto_choose_again(place: Place) -> None:
    place.choose({"asr": "en"})
    with pytest.raises(MissingWeights, match="fr") as caught:
        place.choose({"asr": "fr"})
    assert "polydub models pull faster-whisper-small" in caught.value.hint
    place.put("asr", "faster-whisper", model="small")
    run = place.choose({"asr": "fr"})
    assert names(run)["asr"] == "faster-whisper"
    assert not substitutes(run)
    with pytest.raises(UnsupportedLanguage):
        place.choose({"asr": "fr"}, asr="pocketsphinx")


def test_kept_weights_that_are_gone_are_missed_and_not_silently_replaced(place: Place) -> None:
    place.put("separation", "deepfilternet")
    place.choose()
    models.remove(registry.get("separation", "deepfilternet").weights(None)[0], place.home)
    with pytest.raises(MissingWeights) as caught:
        place.choose()
    assert caught.value.hint == "polydub models pull deepfilternet3"


@pytest.mark.parametrize(
    ("settings", "pull"),
    [
        ({"asr": "faster-whisper"}, "faster-whisper-small"),
        ({"asr": "faster-whisper:large-v3"}, "faster-whisper-large-v3"),
        ({"asr_model": "base"}, "faster-whisper-base"),
        ({"asr": "faster-whisper", "asr_model": "turbo"}, "faster-whisper-turbo"),
        ({"asr": "faster-whisper", "mode": "high"}, "faster-whisper-large-v3"),
        ({"diarization": "embedded:resemblyzer"}, "resemblyzer"),
        ({"separation": "deepfilternet"}, "deepfilternet3"),
    ],
)
def test_what_was_named_and_lacks_its_weights_is_an_error_with_the_command(
    place: Place, settings: dict[str, object], pull: str
) -> None:
    with pytest.raises(MissingWeights) as caught:
        place.choose(**settings)
    assert caught.value.exit_status == 4
    assert caught.value.hint == f"polydub models pull {pull}"


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"asr": "whisper"}, UnknownEngine, "faster-whisper"),
        ({"asr": "faster-whisper:gigantic"}, PolydubError, "gigantic"),
        ({"asr_model": "gigantic"}, PolydubError, "gigantic"),
        ({"asr": "pocketsphinx", "asr_model": "small"}, BadSettings, "pocketsphinx has no models"),
        ({"asr": "fake,loudness=3"}, BadSettings, "no option 'loudness'"),
        ({"diarization": "pyanote"}, UnknownEngine, "pyannote"),
        ({"diarization": "embedded:resembler"}, UnknownEngine, "resembler"),
        ({"separation": "demux"}, UnknownEngine, "demucs"),
    ],
)
def test_wrong_names_are_answered_before_anything_is_done(
    place: Place, settings: dict[str, object], error: type[PolydubError], words: str
) -> None:
    with pytest.raises(error) as caught:
        place.choose(**settings)
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert not place.asked
    assert not place.kept


def test_one_question_is_asked_for_all_weights_and_no_leaves_them_all(place: Place) -> None:
    run = place.choose()
    (question,) = place.asked
    for row in ("faster-whisper-small, 486 MB, MIT", "resemblyzer, 6 MB, Apache-2.0", "deepfilternet3, 9 MB"):
        assert row in question
    assert names(run)["asr"] == "pocketsphinx"
    place.choose()
    assert len(place.asked) == 1, "an answer is kept"


@pytest.mark.parametrize("settings", [{"offline": True}, {"download": "no"}, {"offline": True, "download": "yes"}])
def test_nobody_is_asked_when_the_answer_is_known(place: Place, settings: dict[str, object]) -> None:
    place.answer = True
    assert names(place.choose(**settings))["asr"] == "pocketsphinx"
    with pytest.raises(MissingWeights):
        place.choose(asr="faster-whisper", **settings)
    assert not place.asked


def test_what_is_named_is_offered_too(place: Place) -> None:
    with pytest.raises(MissingWeights):
        place.choose({"separation": "und"}, separation="deepfilternet")
    (question,) = place.asked
    assert "deepfilternet3" in question


def test_what_speaks_and_translates_is_kept_for_each_language(place: Place) -> None:
    place.choose({"tts": "es", "mt": "en>es"}, mt="fake")
    place.choose({"tts": "fr"})
    assert (place.kept["tts es"], place.kept["tts fr"]) == ("espeak-ng", "espeak-ng")
    assert "speaks es" in place.kept["tts es.reason"] and "speaks fr" in place.kept["tts fr.reason"]


def test_who_says_that_a_transcript_is_given_is_told_when_there_is_none(place: Place) -> None:
    place.choose({"separation": "und"}, asr="given")
    with pytest.raises(BadSettings) as caught:
        place.choose({"asr": "en"}, asr="given")
    assert "--transcript" in caught.value.hint


def test_a_model_names_the_engine_that_has_it(place: Place) -> None:
    with pytest.raises(PolydubError) as caught:
        place.choose({"asr": "en"}, asr_model="parakeet-tdt-0.6b-v3")
    assert "sherpa-onnx" in caught.value.message


def test_of_several_better_ones_without_weights_only_the_best_is_offered(place: Place) -> None:
    run = place.choose({"separation": "und"})
    assert len(substitutes(run)) == 1 and "deepfilternet" in substitutes(run)["mask"]
    assert "ul-unas" not in place.asked[0]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_told_before_anything_is_done(
    place: Place, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(place.folder))  # without the driver's program
    devices.accelerators.cache_clear()
    with pytest.raises(BadSettings, match=f"--device {device}"):
        place.choose({}, device=device)  # no engine is wanted yet
    devices.accelerators.cache_clear()


def test_an_interrupted_question_keeps_nothing(place: Place) -> None:
    def interrupted(question: str) -> bool:
        raise KeyboardInterrupt

    loaded = config.load({"models": str(place.home)}, job=None, environ={}, cwd=place.folder, user_file=None)
    with pytest.raises(KeyboardInterrupt), Run(place.store, place.folder) as run:
        Chooser(loaded, place.kept, Person(interrupted))(run, LISTENING)
    assert not place.kept


def test_a_kept_engine_that_is_gone_may_be_chosen_anew(place: Place) -> None:
    place.choose({"tts": "es"})
    place.kept["tts es"] = "festival"
    with pytest.raises(UnknownEngine) as caught:
        place.choose({"tts": "es"})
    assert caught.value.hint.endswith("or let tts be chosen anew: --reconsider")
    with pytest.raises(UnknownEngine) as named:
        place.choose({"tts": "es"}, tts="festival")
    assert "--reconsider" not in named.value.hint
