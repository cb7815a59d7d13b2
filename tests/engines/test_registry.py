from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from polydub.engines import faults, registry
from polydub.engines.base import READY, Availability, Engine, Info, Options, Weight, WeightFile
from polydub.engines.registry import Broken, Choice, Need
from polydub.errors import BadSettings, Missing, MissingExtra, UnknownEngine, UnsupportedLanguage

LISTING = """
import json
from polydub.engines import registry
rows = registry.engines("tts")
print(json.dumps({n: getattr(r, "reason", None) for n, r in rows.items()}))
try:
    registry.get("tts", "raises")
except registry.MissingExtra as error:
    print(json.dumps([error.message, error.hint]))
"""
MODULES = {
    "raises_at_import": "raise RuntimeError('boom')",
    "not_an_engine": "ENGINE = 3",
    "misnamed": "from polydub.engines.tts.fake import ENGINE",
}
ENTRIES = """[polydub.tts]
absent = no_such_module_anywhere:ENGINE
misnamed = misnamed:ENGINE
number = not_an_engine:ENGINE
raises = raises_at_import:ENGINE
"""


def test_an_entry_point_that_cannot_be_used_is_a_broken_row_and_never_a_crash(tmp_path: Path) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    dist = tmp_path / "strange_engines-1.0.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-engines\nVersion: 1.0\n")
    (dist / "entry_points.txt").write_text(ENTRIES)

    run = subprocess.run(
        [sys.executable, "-c", LISTING],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    rows, error = map(json.loads, run.stdout.splitlines())
    assert rows["espeak-ng"] is None
    assert "no_such_module_anywhere" in rows["absent"]
    assert rows["raises"] == "RuntimeError: boom"
    assert "int" in rows["number"]
    assert "'fake'" in rows["misnamed"]
    assert "boom" in error[0] and "reinstall" in error[1]


def test_the_built_in_engines_are_all_there_and_none_is_broken() -> None:
    assert {"espeak-ng", "fake"} <= set(registry.engines("tts"))
    assert {"openai", "apertium", "fake"} <= set(registry.engines("mt"))
    assert not [row for kind in ("tts", "mt") for row in registry.engines(kind).values() if isinstance(row, Broken)]


def test_an_unknown_engine_names_the_nearest_and_the_list() -> None:
    with pytest.raises(UnknownEngine) as caught:
        registry.get("tts", "espeak")
    assert "'espeak-ng'" in caught.value.hint and "fake" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("espeak-ng", "espeak-ng", {}),
        ("openai:llama3", "openai", {"model": "llama3"}),
        ("openai:qwen2.5:7b, timeout_s = 5", "openai", {"model": "qwen2.5:7b", "timeout_s": "5"}),
        ("openai,base_url=http://localhost:1/v1?a=b", "openai", {"base_url": "http://localhost:1/v1?a=b"}),
        ("openai,model=", "openai", {"model": ""}),
    ],
)
def test_a_choice_is_a_name_a_model_and_options(text: str, name: str, options: dict[str, str]) -> None:
    assert registry.parse_choice(text) == Choice(name, options)


@pytest.mark.parametrize("text", ["", ":x", "a:", "a,b", "a,=b", "a:m,model=n", ","])
def test_a_choice_that_cannot_be_read_is_a_settings_error_with_the_syntax(text: str) -> None:
    with pytest.raises(BadSettings) as caught:
        registry.parse_choice(text)
    assert "name[:model]" in caught.value.hint


class Settings(Options):
    count: int = Field(1, ge=1, description="how many, 1 or more")
    loud: bool = Field(False, description="whether it is loud")
    threads: int = Field(1, description="threads", json_schema_extra={"identity": False})
    key: SecretStr = Field(SecretStr(""), description="the key")
    base_url: str = Field("", description="address of the service")


def engine(
    name: str = "espeak-ng", *, languages: frozenset[str] | None = None, ready: Availability = READY, **info: object
) -> Engine:
    facts = Info("tts", name, "a test", "MIT", "")
    return Engine(
        replace(facts, **info),  # pyright: ignore[reportArgumentType]
        Settings,
        faults.speech("crash").load,
        lambda _: ready,
        lambda _: languages,
    )


def test_option_values_typed_as_text_become_what_the_field_wants() -> None:
    options = registry.build_options(engine(), {"count": "3", "loud": "true"})
    assert options == Settings(count=3, loud=True)


def test_a_wrong_option_is_named_with_the_nearest_one_and_its_description() -> None:
    with pytest.raises(BadSettings) as unknown:
        registry.build_options(engine(), {"cuont": 3})
    with pytest.raises(BadSettings) as low:
        registry.build_options(engine(), {"count": "0"})
    assert "'cuont'" in unknown.value.message and "'count'" in unknown.value.hint
    assert "'count'" in low.value.message and "1" in low.value.message and "how many" in low.value.hint


def test_a_wrong_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(BadSettings) as caught:
        registry.build_options(engine(), {"key": ["hunter2"]})
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_identity_holds_what_can_change_a_result_and_nothing_else() -> None:
    weight = Weight("w", "r1", "hub:a/b", "MIT", True, (WeightFile("w.bin", "0" * 64, 1),))
    theirs = replace(engine(package="pydantic"), weights=lambda options: (weight,))
    one = registry.identity(theirs, Settings(threads=1), "cuda:0")
    other = registry.identity(theirs, Settings(threads=8), "cuda:1")
    assert one == other
    assert one["package"].startswith("pydantic 2.") and one["weights"] == {"w": "r1"} and one["device"] == "cuda"
    assert one != registry.identity(theirs, Settings(count=2), "cuda:0")
    assert one != registry.identity(theirs, Settings(), "cpu")
    assert one != registry.identity(
        replace(theirs, weights=lambda options: (replace(weight, revision="r2"),)), Settings(), "cuda"
    )
    assert json.loads(json.dumps(one)) == one


def test_an_engine_of_polydub_itself_has_no_package_version_in_its_identity() -> None:
    assert registry.identity(engine(), Settings(), "cpu")["package"] == "polydub"


def test_auto_takes_espeak_for_spanish_and_says_why() -> None:
    chosen = registry.choose("auto", Need("tts", "es", offline=True))
    assert chosen.engine.info.name == "espeak-ng"
    assert chosen.reason.startswith("espeak-ng: installed, speaks es;")
    assert chosen.notices == ()


def test_auto_never_takes_a_fake_engine() -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        registry.choose("auto", Need("tts", "xx"))
    assert "espeak-ng" in caught.value.message


def test_a_nearby_language_is_used_with_a_notice() -> None:
    chosen = registry.choose("espeak-ng", Need("tts", "es-MX"))
    assert [n.code for n in chosen.notices] == ["nearest-language"]
    assert "es-419" in chosen.notices[0].text


def test_a_language_the_wanted_engine_lacks_names_the_nearest_it_has() -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        registry.choose("espeak-ng", Need("tts", "ess"))
    assert "es" in caught.value.hint


def test_an_engine_that_is_not_installed_says_what_to_type() -> None:
    with pytest.raises(Missing) as caught:
        registry.choose("apertium", Need("mt", "en>es", options={"apertium": {"modes_dir": "/nonexistent"}}))
    assert caught.value.hint


def test_a_network_engine_is_refused_offline_even_by_name() -> None:
    with pytest.raises(BadSettings) as caught:
        registry.choose("openai", Need("mt", "en>es", offline=True))
    assert "--offline" in caught.value.message


LOCAL = {"openai": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key": "k"}}


def test_auto_takes_a_network_engine_only_when_it_is_configured_and_not_offline() -> None:
    need = Need("mt", "en>de", options={**LOCAL, "apertium": {"modes_dir": "/nonexistent"}})
    chosen = registry.choose("auto", need)
    assert chosen.engine.info.name == "openai"
    assert [n.code for n in chosen.notices] == ["network-engine"]
    for refused in (replace(need, offline=True), replace(need, options={"apertium": {"modes_dir": "/nonexistent"}})):
        with pytest.raises(Missing) as caught:
            registry.choose("auto", refused)
        assert "openai" in caught.value.message and "apertium" in caught.value.message


def test_options_of_a_choice_win_over_those_of_the_settings() -> None:
    need = Need("tts", "es", options={"espeak-ng": {"workers": 3, "timeout_s": 9}})
    chosen = registry.choose("espeak-ng,workers=2", need)
    assert chosen.options.model_dump() == {"workers": 2, "timeout_s": 9.0}


def test_auto_with_options_is_refused() -> None:
    with pytest.raises(BadSettings):
        registry.choose("auto,workers=2", Need("tts", "es"))


def test_a_kind_without_engines_says_so() -> None:
    with pytest.raises(UnknownEngine):
        registry.choose("auto", Need("tts", "es", order=()))


@pytest.mark.parametrize(
    ("wanted", "known", "found"),
    [
        ("es", {"es", "es-419"}, "es"),
        ("es-MX", {"es", "es-419"}, "es-419"),
        ("es-MX", {"es"}, "es"),
        ("de", {"es"}, None),
        ("en-US>es-MX", {"en>es", "en>ca", "es>en"}, "en>es"),
        ("en>pt-BR", {"en>pt", "en-US>pt-BR"}, "en-US>pt-BR"),
        ("es>en", {"en>es"}, None),
        ("en>es", set(), None),
        ("und>en", {"en>es", "fr>en", "es>en"}, "es>en"),
        ("und>en", {"en>es", "es>fr"}, None),
    ],
)
def test_a_tag_or_pair_is_served_by_the_nearest_of_the_same_language(wanted: str, known: set[str], found: str | None) -> None:
    assert registry.match_language(wanted, known) == found


def test_an_extra_that_is_missing_is_told_from_a_missing_program() -> None:
    absent = Availability(False, "demucs is not installed", "pip install 'polydub[separation]'")
    for kind, info in ((MissingExtra, {"extra": "separation"}), (Missing, {})):
        with pytest.raises(kind) as caught:
            registry.require(engine("demucs", ready=absent, **info), Settings())
        assert caught.value.hint == "pip install 'polydub[separation]'"


def test_weights_that_are_not_pinned_are_known_by_what_was_pulled() -> None:
    loose = Weight("w", "", "hub:a/b", "MIT", True)
    theirs = replace(engine(), weights=lambda options: (loose,))
    found = registry.identity(theirs, Settings(), "cpu", None, {"w": "r7"})
    assert found["weights"] == {"w": "r7"}
