"""Settings: where values come from, which place wins, and what is said when one is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polydub import config
from polydub.config import Loaded, Settings, layers
from polydub.engines import base
from polydub.errors import BadSettings, MissingSecret, UnsupportedLanguage

KEY = "sk-do-not-show-me"
ROOT = Path(__file__).resolve().parents[1]


class Place:
    """A working folder, a user's file and a job file to be filled by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = folder / "user.toml"
        self.job: Path | None = None

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def load(self, command_line: Mapping[str, object] | None = None, **environ: str) -> Loaded:
        return config.load(command_line or {}, job=self.job, environ=environ, cwd=self.folder, user_file=self.user)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_anything_the_defaults_hold_and_say_so(place: Place) -> None:
    loaded = place.load()
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == set(Settings.model_fields)


def test_the_defaults_are_those_of_the_specification() -> None:
    s = Settings()
    assert (s.max_rate, s.min_rate, s.comfortable_rate, s.early_s, s.gap_s) == (1.30, 0.85, 1.15, 0.3, 0.05)
    assert (s.target.lufs, s.target.true_peak_dbtp, s.ducking_db) == (-16, -1, 12)
    assert (s.subs, s.subs_format, s.format, str(s.output)) == ("both", ("srt",), "mkv", "Output")
    assert (s.mode, s.device, s.mt) == ("medium", "auto", "auto")


def test_each_place_beats_the_next_and_every_value_knows_its_own(place: Place) -> None:
    every = ["max_rate", "min_rate", "gap_s", "early_s", "jobs"]
    values = {"max_rate": 1.05, "min_rate": 0.95, "gap_s": 0.5, "early_s": 0.1, "jobs": 5}
    place.user.write_text("max_rate = 1.25\nmin_rate = 0.9\ngap_s = 1.0\nearly_s = 0.2\njobs = 5\n")
    place.write(".env", "POLYDUB_MAX_RATE=1.2\nPOLYDUB_MIN_RATE=0.91\nPOLYDUB_GAP_S=0.9\nPOLYDUB_EARLY_S=0.1\n")
    place.job = place.write("film.toml", "max_rate = 1.1\nmin_rate = 0.95\n")
    loaded = place.load({"max_rate": 1.05}, POLYDUB_MAX_RATE="1.15", POLYDUB_MIN_RATE="0.92", POLYDUB_GAP_S="0.5")
    assert {key: getattr(loaded.settings, key) for key in every} == values
    files = [f"job file {place.job}", "POLYDUB_GAP_S in the environment", "POLYDUB_EARLY_S in .env", f"user file {place.user}"]
    assert [loaded.origins[key] for key in every] == ["--max-rate", *files]


def test_flags_that_were_not_given_change_nothing(place: Place) -> None:
    assert place.load({"max_rate": None, "to": (), "subs_format": []}).settings == Settings()


@pytest.mark.parametrize("given", ["es, fr,es", ["es", "French"], ("Spanish,fr",)])
def test_targets_are_canonical_and_each_named_once(place: Place, given: object) -> None:
    assert place.load({"to": given}).settings.to == ("es", "fr")


def test_variables_hold_lists_switches_numbers_and_languages(place: Place) -> None:
    texts = {
        "TO": "es-mx,ger",
        "SOURCE_LANGUAGE": "English",
        "SUBS_FORMAT": "srt,vtt",
        "OFFLINE": "1",
        "LUFS": "-20",
        "STRICT": "",
    }
    s = place.load(**{f"POLYDUB_{name}": text for name, text in texts.items()}).settings
    assert (s.to, s.source_language, s.subs_format) == (("es-MX", "de"), "en", ("srt", "vtt"))
    assert (s.offline, s.lufs, s.strict) == (True, -20.0, False)


def test_voices_are_merged_speaker_by_speaker_and_keep_their_case(place: Place) -> None:
    place.user.write_text('[voice]\nSPEAKER_00 = "a"\nAnna = "b"\n')
    loaded = place.load({"voice": ("Anna=c", "2=d,3=e")}, POLYDUB_VOICE__Ben="f", POLYDUB_VOICE="2=g")
    assert loaded.settings.voice == {"SPEAKER_00": "a", "Anna": "c", "2": "d", "3": "e", "Ben": "f"}
    assert loaded.origins["voice.Anna"] == "--voice"
    assert loaded.origins["voice.SPEAKER_00"] == f"user file {place.user}"


def test_engine_tables_are_merged_option_by_option(place: Place) -> None:
    place.user.write_text('[engines.mt.openai]\nbase_url = "http://a/v1"\nretries = 2\n[engines.tts.espeak-ng]\npitch = 40\n')
    loaded = place.load(POLYDUB_ENGINES__MT__OPENAI__BASE_URL="http://b/v1", POLYDUB_ENGINES__TTS__ESPEAK_NG__RANGE="9")
    assert config.engine_values(loaded, "mt", "openai") == {"base_url": "http://b/v1", "retries": 2}
    assert config.engine_values(loaded, "tts", "espeak-ng") == {"pitch": 40, "range": "9"}
    assert config.engine_values(loaded, "tts", "fake") == {}
    assert loaded.origins["engines.mt.openai.base_url"] == "POLYDUB_ENGINES__MT__OPENAI__BASE_URL in the environment"


def test_a_job_file_may_be_json(place: Place) -> None:
    place.job = place.write("film.json", json.dumps({"to": ["es"], "engines": {"mt": {"openai": {"model": "m"}}}}))
    assert place.load().settings.to == ("es",)
    assert config.engine_values(place.load(), "mt", "openai") == {"model": "m"}


def test_short_variables_for_a_chat_service_are_aliases(place: Place) -> None:
    loaded = place.load(POLYDUB_OPENAI_BASE_URL="http://127.0.0.1:1/v1", POLYDUB_OPENAI_MODEL="m", STRICT_SECRETS="1")
    assert config.engine_values(loaded, "mt", "openai") == {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    assert loaded.settings.strict_secrets
    assert loaded.origins["strict_secrets"] == "STRICT_SECRETS in the environment"


def test_env_files_know_quotes_comments_and_export(place: Place) -> None:
    lines = "# a comment\n\nexport POLYDUB_MODE='high' # why\nPOLYDUB_FORMAT=mp4 # why\nPOLYDUB_OUTPUT=\"a # b\"\nOTHER='\nno\n"
    place.write(".env", lines)
    s = place.load().settings
    assert (s.mode, s.format, str(s.output)) == ("high", "mp4", "a # b")


def test_paths_know_the_home_folder(place: Place) -> None:
    assert place.load({"output": "~/dubs"}).settings.output == Path("~/dubs").expanduser()


def test_the_comfortable_rate_never_exceeds_the_limit() -> None:
    assert Settings(max_rate=1.1).comfortable_rate == 1.1


def test_lufs_replaces_the_loudness_of_the_profile_but_not_its_peak() -> None:
    target = Settings(loudness="netflix", lufs=-24).target
    assert (target.lufs, target.true_peak_dbtp) == (-24, -2)
    assert {name: Settings.model_validate({"loudness": name}).target for name in config.LOUDNESS} == config.LOUDNESS


def test_settings_cannot_be_changed_or_given_an_unknown_name() -> None:
    with pytest.raises(ValidationError):
        Settings().mode = "high"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Settings.model_validate({"moed": "high"})


@pytest.mark.parametrize(
    ("command_line", "environ", "job", "said"),
    [
        ({"max_rate": 1.5}, {}, "", "max_rate cannot be '1.5' (--max-rate): it must be at most 1.3"),
        (
            {},
            {"POLYDUB_MAX_RATE": "quick"},
            "",
            "max_rate cannot be 'quick' (POLYDUB_MAX_RATE in the environment): it must be a number",
        ),
        ({}, {}, "jobs = -1", "jobs cannot be '-1' (job file"),
        ({"mode": "hihg"}, {}, "", "mode cannot be 'hihg' (--mode): it must be 'low', 'medium' or 'high'; did you mean high?"),
        ({"subs_format": ("srt", "sub")}, {}, "", "subs_format cannot be 'srt, sub' (--subs-format)"),
        ({}, {"POLYDUB_SUBS_FORMAT": ","}, "", "it must hold at least one"),
        ({"voice": ("anna",)}, {}, "", "voice cannot be 'anna' (--voice): write SPEAKER=NAME"),
        ({"voice": ("anna=",)}, {}, "", "write SPEAKER=NAME"),
        ({"lufs": "nan"}, {}, "", "lufs cannot be 'nan' (--lufs)"),
        ({"tts": ""}, {}, "", "tts cannot be '' (--tts): it must not be empty"),
        ({"output": ""}, {}, "", "output cannot be '' (--output): it must not be empty"),
        ({}, {}, "output = 3", "output cannot be '3' (job file"),
        ({}, {}, "[max_rate]\na = 1", "max_rate cannot be"),
        ({}, {}, "[voice]\nanna = 3", "voice.anna cannot be '3' (job file"),
        ({}, {}, 'engines = "openai"', "engines is not a table of options (job file"),
        ({}, {}, '[engines]\nmt = "openai"', "engines.mt is not a table of options (job file"),
        ({}, {}, "[engines.mtt.openai]\nmodel = 'm'", "there are no engines of kind mtt (job file"),
        ({}, {}, "mx_rate = 1.1", "has the unknown setting mx_rate; did you mean max_rate?"),
        ({"mx_rate": 1.1}, {}, "", "has the unknown setting mx_rate; did you mean max_rate?"),
        ({}, {"POLYDUB_MX_RATE": "1.1"}, "", "has the unknown setting POLYDUB_MX_RATE; did you mean POLYDUB_MAX_RATE?"),
        ({}, {"POLYDUB_MODE__X": "1"}, "", "the unknown setting POLYDUB_MODE__X"),
        ({}, {"POLYDUB_ENGINES__MT__OPENAI": "1"}, "", "write POLYDUB_ENGINES__<KIND>__<ENGINE>__<OPTION>"),
        ({}, {"POLYDUB_ENGINES": "{}"}, "", "write POLYDUB_ENGINES__<KIND>__<ENGINE>__<OPTION>"),
        ({}, {"POLYDUB_VOICE__": "x"}, "", "write POLYDUB_VOICE__<SPEAKER>"),
        ({}, {}, "to = [", "is damaged"),
        ({"to": ["und"]}, {}, "", "to (--to): und stands for no one language"),
    ],
)
def test_mistakes_get_one_sentence_that_names_their_place(
    place: Place, command_line: dict[str, Any], environ: dict[str, str], job: str, said: str
) -> None:
    if job:
        place.job = place.write("film.toml", job)
    with pytest.raises(BadSettings) as caught:
        place.load(command_line, **environ)
    assert said in f"{caught.value.message}; {caught.value.hint}"
    assert caught.value.hint


def test_an_unknown_language_names_the_nearest_and_where_it_was_set(place: Place) -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        place.load(POLYDUB_TO="spanihs")
    assert "POLYDUB_TO in the environment" in caught.value.message
    assert "Spanish" in caught.value.hint


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1, 2]", b"{", b'{"to": 1e999999}', b"[" * 100_000])
def test_a_damaged_job_file_is_refused(place: Place, content: bytes) -> None:
    place.job = place.folder / "film.json"
    place.job.write_bytes(content)
    with pytest.raises(BadSettings):
        place.load()


def test_a_job_file_that_is_not_there_is_an_error_and_a_users_file_is_not(place: Place) -> None:
    for missing in (place.folder / "none.toml", place.folder):
        place.job = missing
        with pytest.raises(BadSettings, match="cannot be read"):
            place.load()


@pytest.mark.parametrize(
    "text",
    [
        "[engines.mt.openai]\napi_key = 'K'",
        "openai_api_key = 'K'",
        "OPENAI_API_KEY = 'K'",
        "hf_token = 'K'",
        "mt = 'openai,api_key=K'",
    ],
)
def test_a_secret_in_a_settings_file_is_refused_and_not_repeated(place: Place, text: str) -> None:
    place.user.write_text(text.replace("K'", f"{KEY}'"))
    with pytest.raises(BadSettings) as caught:
        place.load()
    assert ".env.secrets" in caught.value.hint
    assert str(place.user) in caught.value.message
    assert KEY not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize("way", ["POLYDUB_MT", "POLYDUB_ENGINES__MT__OPENAI__API_KEY"])
def test_a_secret_by_way_of_a_setting_is_refused(place: Place, way: str) -> None:
    with pytest.raises(BadSettings) as caught:
        place.load(**{way: f"openai:m, api_key={KEY}"})
    assert "POLYDUB_OPENAI_API_KEY" in caught.value.hint
    assert KEY not in f"{caught.value!r} {caught.value.hint}"


def test_secrets_and_settings_have_a_file_each(place: Place) -> None:
    place.write(".env", f"OPENAI_API_KEY={KEY}\n")
    with pytest.raises(BadSettings, match=r"OPENAI_API_KEY is a secret") as caught:
        place.load()
    assert ".env.secrets" in caught.value.hint
    place.write(".env", "SECRET_KEY=of-another-program\n")
    place.write(".env.secrets", "POLYDUB_MODE=high\n")
    with pytest.raises(BadSettings, match="POLYDUB_MODE is no secret"):
        place.load()
    place.write(".env.secrets", f'OPENAI_API_KEY="{KEY}"\nDATABASE_PASSWORD=of-another-program\n')
    loaded = place.load()
    assert loaded.secrets.origins == {"openai_api_key": "OPENAI_API_KEY in .env.secrets"}
    assert config.engine_values(loaded, "mt", "openai")["api_key"] == loaded.secrets.get("openai_api_key")
    assert place.load(OPENAI_API_KEY="other").secrets.origins == {"openai_api_key": "OPENAI_API_KEY in the environment"}


@pytest.mark.parametrize("show", [repr, str, lambda loaded: repr(config.describe(loaded)), lambda loaded: str(loaded.secrets)])
def test_a_secret_never_shows(place: Place, show: Any) -> None:
    loaded = place.load(OPENAI_API_KEY=KEY, HF_TOKEN=KEY, POLYDUB_GROQ_API_KEY=KEY)
    assert KEY not in show(loaded)
    assert KEY not in loaded.settings.model_dump_json()


@pytest.mark.parametrize(
    ("mt", "environ", "key"),
    [
        ("auto", {"OPENAI_API_KEY": "o"}, "o"),
        ("auto", {"OPENAI_API_KEY": "o", "POLYDUB_OPENAI_API_KEY": "p"}, "p"),
        ("openai,preset=groq", {"OPENAI_API_KEY": "o", "GROQ_API_KEY": "g"}, "g"),
        ("openai,preset=groq", {"OPENAI_API_KEY": "o"}, None),
        ("apertium,preset=groq", {"OPENAI_API_KEY": "o", "GROQ_API_KEY": "g"}, "o"),
        ("auto", {"POLYDUB_ENGINES__MT__OPENAI__PRESET": "groq", "GROQ_API_KEY": "g"}, "g"),
        ("openai,preset=ollama", {"OPENAI_API_KEY": "o", "POLYDUB_OPENAI_API_KEY": "p"}, None),
        ("openai,base_url=http://h/v1", {"OPENAI_API_KEY": "o"}, None),
        ("openai", {"OPENAI_API_KEY": "o", "POLYDUB_OPENAI_BASE_URL": "http://h/v1"}, None),
        ("openai,base_url=http://h/v1", {"POLYDUB_OPENAI_API_KEY": "p"}, "p"),
        ("openai,preset=custom", {"OPENAI_API_KEY": "o"}, None),
        ("openai,preset=custom", {"POLYDUB_OPENAI_API_KEY": "p"}, "p"),
    ],
)
def test_a_key_goes_only_to_the_service_it_is_for(place: Place, mt: str, environ: dict[str, str], key: str | None) -> None:
    held: Any = config.engine_values(place.load({"mt": mt}, **environ), "mt", "openai").get("api_key")
    assert (held and held.get_secret_value()) == key
    assert config.engine_values(place.load({"mt": mt}, **environ), "mt", "apertium") == {}


def test_missing_secrets_are_named_all_at_once_when_strict(place: Place) -> None:
    names = ("openai_api_key", "groq_api_key")
    assert config.require_secrets(place.load(GROQ_API_KEY="g"), names) == ("openai_api_key",)
    with pytest.raises(MissingSecret, match="POLYDUB_OPENAI_API_KEY, POLYDUB_GROQ_API_KEY"):
        config.require_secrets(place.load(STRICT_SECRETS="1"), names)


def test_variables_of_later_features_are_shown_as_unused(place: Place) -> None:
    loaded = place.load(WEBHOOK_URL="t", S3_BUCKET="b", PATH="/bin", RETENTION_DAYS_RESULTS="3", RETENTION_DAYS_LOGS="3")
    assert loaded.reserved == ("RETENTION_DAYS_RESULTS", "WEBHOOK_URL")
    shown = {row.key: row.value for row in config.describe(loaded)}
    assert shown["WEBHOOK_URL"] == "set, not used by this version"


def test_config_show_lists_every_setting_with_value_and_origin(place: Place) -> None:
    loaded = place.load({"voice": ("1=anna",), "to": "es,fr"}, POLYDUB_ENGINES__MT__OPENAI__MODEL="m", GROQ_API_KEY="g")
    rows = {row.key: (row.value, row.origin) for row in config.describe(loaded)}
    assert rows["to"] == ("es, fr", "--to")
    assert rows["voice.1"] == ("anna", "--voice")
    assert rows["engines.mt.openai.model"] == ("m", "POLYDUB_ENGINES__MT__OPENAI__MODEL in the environment")
    assert rows["offline"] == ("false", "default")
    assert rows["groq_api_key"] == ("set", "GROQ_API_KEY in the environment")
    assert rows["openai_api_key"] == ("not set", "")
    assert {key.partition(".")[0] for key in rows} >= set(Settings.model_fields)


def test_flags_are_unique_and_described(place: Place) -> None:
    names = [name for flag in config.flags() for name in (flag.name, flag.negative) if name]
    assert len(names) == len(set(names))
    assert all(flag.help.endswith(".") for flag in config.flags())
    kinds = {flag.key: flag.kind for flag in config.flags()}
    assert (kinds["to"], kinds["lufs"], kinds["audio_track"], kinds["store"]) == ("list", "number", "integer", "path")
    assert (kinds["mode"], kinds["offline"], kinds["voice"], kinds["engines"]) == ("choice", "switch", "pairs", "tables")
    assert next(flag for flag in config.flags() if flag.key == "no_translate").negative == "--translate"


def test_every_flag_can_be_given_as_text(place: Place) -> None:
    texts = {"list": "srt", "numbers": "a=1.5,2", "pairs": "a=b", "path": "x", "switch": "true"}
    for flag in config.flags():
        if flag.name:
            default = "" if flag.default is None else str(flag.default)
            given = {"to": "es", "asr_model": "small", "lufs": "-20", "audio_track": "1"}
            text = given.get(flag.key) or texts.get(flag.kind) or default
            origins = place.load({flag.key: text}).origins
            assert {origin for key, origin in origins.items() if key.partition(".")[0] == flag.key} == {flag.name}


def test_kinds_of_engines_and_aliases_fit_the_rest() -> None:
    assert set(get_args(config.EngineKind)) == set(config.CHOICES) <= set(base.KINDS)
    targets = {alias.target.split(".")[0] for alias in config.ALIASES if alias.target}
    assert {*config.CHOICES.values(), *targets} <= set(Settings.model_fields)


def test_the_reference_page_is_up_to_date(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "settings_doc.py")]
    seen = subprocess.run([*script, "--check"], capture_output=True, text=True, check=False)
    assert (seen.returncode, seen.stderr) == (0, "")
    stale = tmp_path / "settings.md"
    assert subprocess.run([*script, "--check", "--page", str(stale)], capture_output=True, check=False).returncode == 1
    assert not stale.exists()


def test_loading_brings_no_heavy_library() -> None:
    code = (
        "import sys, pathlib; from polydub import config; "
        "config.load({'to': 'es'}, job=None, environ={}, cwd=pathlib.Path('none'), user_file=None); "
        "print(*(m for m in ('numpy', 'scipy', 'platformdirs', 'tomllib', 'click', 'rich', 'difflib') if m in sys.modules))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == []


def load_alone(command_line: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    return config.load(command_line, job=None, environ=environ, cwd=Path("/nonexistent"), user_file=None)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5))
def test_any_environment_is_either_read_or_refused_with_a_hint(environ: dict[str, str]) -> None:
    for prefix in ("", "POLYDUB_", "POLYDUB_VOICE__", "POLYDUB_ENGINES__"):
        try:
            load_alone({}, {prefix + name: value for name, value in environ.items()})
        except BadSettings as error:
            assert error.hint


@given(st.sampled_from(["to", "mode", "max_rate", "voice", "engines", "output", "subs_format", "jobs", "mt"]), st.data())
def test_any_value_is_either_read_or_refused_with_its_origin(key: str, data: st.DataObject) -> None:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    names = st.text(max_size=5) | st.sampled_from(["mt", "openai"])
    values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
    try:
        load_alone({key: data.draw(values)}, {})
    except BadSettings as error:
        assert error.message


@given(st.text(alphabet=" ='\"#\nA_exportPOLYDUB", max_size=60))
def test_any_env_file_is_either_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("env")
    (folder / ".env").write_text(text)
    try:
        assert all(name.startswith("POLYDUB_") for name in layers.public_lines(folder / ".env"))
    except BadSettings as error:
        assert error.hint


def test_the_server_has_a_table_of_its_own(place: Place) -> None:
    place.user.write_text("[server]\nport = 9000\nhost = '0.0.0.0'\n")
    loaded = place.load(POLYDUB_SERVER__PORT="8080", POLYDUB_SERVER__CORS_ORIGINS="https://a.example,https://b.example")
    server = loaded.settings.server
    assert (server.port, server.host, server.cors_origins[1]) == (8080, "0.0.0.0", "https://b.example")
    rows = {row.key: (row.value, row.origin) for row in config.describe(loaded)}
    assert rows["server.port"] == ("8080", "POLYDUB_SERVER__PORT in the environment")
    with pytest.raises(BadSettings, match=r"server\.prt .*no such setting"):
        place.load(POLYDUB_SERVER__PRT="1")
    with pytest.raises(BadSettings, match="POLYDUB_SERVER in"):
        place.load(POLYDUB_SERVER="x")
