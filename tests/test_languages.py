"""Languages as people type them, as files and engines spell them, and which of an engine's serves best."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub import languages
from polydub.errors import UnsupportedLanguage

TAGS = languages.tags()


@pytest.mark.parametrize(
    ("typed", "tag"),
    [
        ("es", "es"),
        (" ES ", "es"),
        ("es_mx", "es-MX"),
        ("es-419", "es-419"),
        ("spa", "es"),
        ("ger", "de"),
        ("deu", "de"),
        ("spanish", "es"),
        ("Español", "es"),
        ("espanol", "es"),
        ("Spanish (Mexico)", "es-MX"),
        ("Brazilian Portuguese", "pt-BR"),
        ("pt_br", "pt-BR"),
        ("cmn", "zh"),
        ("zh-cmn-hans-cn", "zh-Hans-CN"),
        ("zh-yue", "yue"),
        ("Chinese (Traditional, Taiwan)", "zh-Hant-TW"),
        ("简体中文", "zh-Hans"),
        ("no", "nb"),
        ("nob", "nb"),
        ("Norwegian", "nb"),
        ("nn", "nn"),
        ("tl", "fil"),
        ("iw", "he"),
        ("in", "id"),
        ("hbs", "sr-Latn"),
        ("spa_Latn", "es"),
        ("en-UK", "en-GB"),
        ("en-gb-x-rp", "en-GB-x-rp"),
        ("ca-valencia", "ca-valencia"),
        ("हिन्दी", "hi"),
        ("한국어", "ko"),
        ("und", "und"),
    ],
)
def test_codes_and_names_become_one_tag(typed: str, tag: str) -> None:
    assert languages.parse(typed) == tag


@pytest.mark.parametrize("typed", ["", " ", "x", "spanihs", "es-XX", "es-mexico", "es-Abcd", "es--MX", "-", "qqq", "es-x"])
def test_what_is_not_a_language_is_refused(typed: str) -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        languages.parse(typed)
    assert caught.value.hint
    assert languages.or_und(typed) == "und"


def test_a_slip_of_the_finger_gets_the_nearest_name() -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        languages.parse("spanihs")
    assert "did you mean Spanish [es]?" in caught.value.hint


@pytest.mark.parametrize("tag", TAGS)
def test_every_language_is_found_by_its_tag_code_and_names(tag: str) -> None:
    assert languages.parse(tag) == tag
    assert languages.parse(languages.name(tag)) == tag
    assert languages.base(languages.native_name(tag)) in (tag, "nd")  # both Ndebele call themselves alike
    for code in (languages.iso639_2(tag), languages.iso639_2b(tag)):
        assert len(code) == 3
        assert code.isascii()
        assert code.islower()


def test_the_table_has_no_two_languages_of_one_name() -> None:
    assert len(TAGS) > 150
    assert len({languages.name(tag) for tag in TAGS}) == len(TAGS)


def test_every_language_of_espeak_ng_is_known() -> None:
    loader = pytest.importorskip("espeakng_loader")
    made_up = {"py", "xex", "qdb"}
    folder = Path(loader.get_data_path()) / "lang"
    tags = {
        line.split()[1]
        for file in folder.rglob("*")
        if file.is_file()
        for line in file.read_text("utf-8").splitlines()
        if line.startswith("language ")
    }
    assert len(tags) > 100
    unknown = {tag for tag in tags if languages.or_und(tag.split("-")[0]) == "und"}
    assert unknown <= made_up


def test_the_languages_of_whisper_are_known() -> None:
    codes = (
        "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy "
        "sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo "
        "uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
    )
    assert "und" not in {languages.or_und(code) for code in codes.split()}


@pytest.mark.parametrize(
    ("tag", "name", "native", "title", "t", "b"),
    [
        ("es-MX", "Spanish", "Español", "Spanish (Mexico)", "spa", "spa"),
        ("de", "German", "Deutsch", "German", "deu", "ger"),
        ("zh-Hant-TW", "Chinese", "中文", "Chinese (Traditional, Taiwan)", "zho", "chi"),
        ("yue", "Cantonese", "粵語", "Cantonese", "zho", "chi"),
        ("und", "Undetermined", "Undetermined", "Undetermined", "und", "und"),
        ("qq-nonsense", "qq-nonsense", "qq-nonsense", "qq-nonsense", "und", "und"),
    ],
)
def test_names_and_codes_for_tracks(tag: str, name: str, native: str, title: str, t: str, b: str) -> None:
    assert languages.name(tag) == name
    assert languages.native_name(tag) == native
    assert languages.title(tag) == title
    assert languages.iso639_2(tag) == t
    assert languages.iso639_2b(tag) == b


def test_region_and_script_do_not_make_another_language() -> None:
    assert languages.matches("es-MX", "es-419")
    assert languages.matches("cmn-Hans", "zh-TW")
    assert languages.matches("no", "nb")
    assert not languages.matches("zh", "yue")
    assert not languages.matches("und", "es")


def test_direction_and_cjk_follow_the_script() -> None:
    assert [languages.is_rtl(tag) for tag in ("ar", "he", "fa-Latn", "ku-Arab", "pa-PK", "es", "qq")] == [
        *(True, True, False, True, True, False, False)
    ]
    assert [languages.is_cjk(tag) for tag in ("zh", "ja", "ko", "yue", "zh-Latn-pinyin", "vi")] == [
        *(True, True, True, True, False, False)
    ]


@pytest.mark.parametrize(
    ("tag", "available", "chosen"),
    [
        ("es-MX", ["es", "es-419", "es-MX"], "es-MX"),
        ("es-MX", ["es", "es-419"], "es-419"),
        ("es-419", ["es-ES", "es-MX"], "es-MX"),
        ("es-AR", ["es-ES", "es-MX"], "es-MX"),
        ("es-MX", ["en", "es"], "es"),
        ("en", ["en-GB", "en-US"], "en-US"),
        ("en-AU", ["en-US", "en-GB"], "en-GB"),
        ("en-US", ["en-us-nyc", "en-gb-x-rp", "en-us"], "en-us"),
        ("en-GB", ["en-gb-x-rp", "en-us"], "en-gb-x-rp"),
        ("pt", ["pt-PT", "pt-br"], "pt-br"),
        ("zh-TW", ["zh", "zh-Hant"], "zh-Hant"),
        ("zh", ["yue", "cmn-latn-pinyin", "cmn"], "cmn"),
        ("sr-Latn", ["sr", "sr-Latn"], "sr-Latn"),
        ("sr-Latn", ["sr"], "sr"),
        ("fil", ["tl"], "tl"),
        ("fr-CA", ["fr-CH", "fr-FR"], "fr-FR"),
        ("de", ["en", "fr"], None),
        ("de", [], None),
        ("qq-own", ["qq-own"], "qq-own"),
    ],
)
def test_the_nearest_of_what_there_is(tag: str, available: list[str], chosen: str | None) -> None:
    assert languages.nearest(tag, available) == chosen


@given(st.text(max_size=40))
def test_any_text_is_either_refused_or_has_a_stable_tag(text: str) -> None:
    tag = languages.or_und(text)
    assert languages.or_und(tag) == tag
    assert isinstance(languages.title(text), str)
    assert languages.nearest(tag, ["xx", tag]) == tag


@given(st.sampled_from(TAGS), st.lists(st.sampled_from(TAGS)))
def test_the_same_tag_always_wins_and_no_other_language_ever_does(tag: str, others: list[str]) -> None:
    assert languages.nearest(tag, [*others, tag]) == tag
    assert languages.nearest(tag, [o for o in others if o != tag]) is None


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, polydub.languages; print(*(m for m in ('numpy', 'pydantic', 'click') if m in sys.modules))"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True)
    assert seen.stdout.split() == []
