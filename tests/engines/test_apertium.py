"""The Apertium engine: modes and paths on made-up .mode files, the chain of programs with sed, and the real thing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.engines.base import Batch, Request
from polydub.engines.mt.apertium import ENGINE, Apertium
from polydub.engines.mt.apertium_modes import INSTALL, ApertiumOptions, path
from polydub.errors import BadEngineOutput, BadSettings, EngineFailed, MissingProgram, UnsupportedLanguage

SAME = "sed -u s/a/a/"  # gives back what it gets; -z, which every program gets, makes sed answer at each zero byte
REAL = ApertiumOptions()

needs_apertium = pytest.mark.skipif(
    shutil.which("lt-proc") is None or not (Path(REAL.modes_dir) / "eng-spa.mode").exists(),
    reason=f"Apertium eng-spa is not installed: {INSTALL}",
)


def modes(folder: Path, timeout_s: float = 20.0, **files: str) -> ApertiumOptions:
    """Options on a folder of modes; a double underscore in a name stands for the dash between the languages."""
    for name, line in files.items():
        (folder / f"{name.replace('__', '-')}.mode").write_text(line)
    return ApertiumOptions(modes_dir=str(folder), timeout_s=timeout_s)


def translate(options: ApertiumOptions, *texts: str, source: str = "en", target: str = "es") -> list[str]:
    requests = tuple(Request(str(number), text) for number, text in enumerate(texts, 1))
    with ENGINE.load(options, {}, "cpu") as translator:
        return list(translator.translate(Batch(source, target, requests)))


def script(file: Path, *body: str) -> str:
    file.write_text("\n".join(("#!/bin/sh", *body)))
    file.chmod(0o755)
    return str(file)


def test_codes_of_two_and_three_letters_and_regions_become_bcp_47(tmp_path: Path) -> None:
    names = ("eng__spa", "es__pt_BR", "fra__cat_valencia", "hbs__mkd", "ast__gl")
    options = modes(tmp_path, **dict.fromkeys(names, SAME))
    direct = {pair for pair in ENGINE.languages(options) or () if len(path(options, *pair.split(">"))) == 1}
    assert direct == {"en>es", "es>pt-BR", "fr>ca-valencia", "hr>mk", "bs>mk", "sr-Latn>mk", "ast>gl"}


def test_modes_for_debugging_and_house_styles_are_ignored(tmp_path: Path) -> None:
    names = ("eng__spa__anmor", "eng__spa__tagger", "spa__cat_uni_iec2017", "eng__spa_LRC", "eco__es__fr", "README")
    assert ENGINE.languages(modes(tmp_path, **dict.fromkeys(names, SAME))) == frozenset()


def test_a_region_without_its_own_mode_falls_back(tmp_path: Path) -> None:
    options = modes(tmp_path, eng__spa=SAME, spa__eng=SAME, spa__eng_US=SAME)
    assert path(options, "es-MX", "en-GB") == ("spa-eng",)
    assert path(options, "es", "en-US") == ("spa-eng_US",)
    assert path(options, "en-US", "es-419") == ("eng-spa",)


def test_the_shortest_way_is_taken_and_ties_go_by_name(tmp_path: Path) -> None:
    names = ("en__es", "eng__spa", "en__ca", "es__fr", "ca__fr", "fr__it", "it__oc")
    options = modes(tmp_path, **dict.fromkeys(names, SAME))
    assert path(options, "en", "es") == ("en-es",)
    assert path(options, "en", "fr") == ("en-ca", "ca-fr")
    assert path(options, "en", "it") == ("en-ca", "ca-fr", "fr-it")
    assert "en>oc" not in (ENGINE.languages(options) or ())
    with pytest.raises(UnsupportedLanguage) as caught:
        path(options, "en", "oc")
    assert "ca, es, fr, it" in caught.value.hint


def test_a_round_trip_is_no_way_to_another_form_of_the_language(tmp_path: Path) -> None:
    options = modes(tmp_path, eng__spa=SAME, spa__eng_US=SAME)
    assert ENGINE.languages(options) == {"en>es", "es>en-US"}
    with pytest.raises(UnsupportedLanguage):
        path(options, "en", "en-US")


def test_a_pivot_is_one_chain_through_both_modes(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es="sed -u s/one/uno/", es__fr="sed -u s/uno/un/ | sed -u s/$/!/")
    assert translate(options, "one [a].", target="fr") == ["un [a].!"]


@pytest.mark.parametrize(("folder", "reason"), [("absent", "no Apertium language pair"), (".", "no Apertium language pair")])
def test_nothing_installed_is_told_with_the_command_that_mends_it(tmp_path: Path, folder: str, reason: str) -> None:
    options = ApertiumOptions(modes_dir=str(tmp_path / folder))
    found = ENGINE.check(options)
    assert (found.ready, found.fix) == (False, INSTALL)
    assert reason in found.reason
    with pytest.raises(MissingProgram), ENGINE.load(options, {}, "cpu"):
        pass


def test_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es=f"{SAME} | no-such-program 'x'")
    found = ENGINE.check(options)
    assert not found.ready
    assert "no-such-program" in found.reason
    with pytest.raises(MissingProgram, match="cannot start no-such-program"):
        Apertium(options).translate(Batch("en", "es", (Request("1", "x"),)))


@pytest.mark.parametrize("line", ["", "sed |", "sed 'open", "sed || sed"])
def test_a_damaged_mode_is_not_run(tmp_path: Path, line: str) -> None:
    options = modes(tmp_path, en__es=line)
    assert "en-es.mode" in ENGINE.check(options).reason
    with pytest.raises(BadSettings, match=r"en-es\.mode"):
        Apertium(options).translate(Batch("en", "es", (Request("1", "x"),)))


def test_a_mode_is_read_as_arguments_and_never_by_a_shell(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es="sed -u 's/x/a|b/' | sed -u 's/y/$(touch here) `touch here`;#/' | sed -u s/z/$HOME/")
    assert translate(options, "x y z") == ["a|b $(touch here) `touch here`;# $HOME"]


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_text_passes_through_the_chain_unharmed(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("modes")
    options = modes(folder, en__es=f"{SAME} | {SAME}")
    visible = ["".join(" " if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text) for text in texts]
    assert translate(options, *texts) == [" ".join(text.split()) for text in visible]


def test_empty_and_blank_text_stays_empty(tmp_path: Path) -> None:
    assert translate(modes(tmp_path, en__es="sed -u s/^/never/"), "", " \n\t", "\0") == ["", "", ""]


def test_a_missing_full_stop_is_lent_and_taken_back(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es=r"sed -u 's/\./ STOP./g'")
    assert translate(options, "One. Two", "One.", "Really?", "So:") == ["One STOP. Two STOP", "One STOP.", "Really?", "So:"]


def test_the_first_capital_is_kept(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es="sed -u s/He.goes/vuelve/I")
    assert translate(options, "He goes.", "“He goes”", "he goes", "3 He goes") == ["Vuelve.", "“Vuelve”", "vuelve", "3 vuelve"]


def test_a_line_far_longer_than_a_pipe_does_not_block(tmp_path: Path) -> None:
    text = "word " * 100_000 + "end."
    assert translate(modes(tmp_path, en__es=f"{SAME} | {SAME} | {SAME}"), text) == [text]


def test_a_program_that_dies_is_named(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es=f"{SAME} | sed -u /crash/Q7 | {SAME}")
    with pytest.raises(EngineFailed, match=r"^sed of Apertium en-es died with status 7$") as caught:
        translate(options, "fine", "crash")
    assert caught.value.line == "2"


def test_a_program_that_cannot_even_begin_is_named(tmp_path: Path) -> None:
    dead = script(tmp_path / "broken", "exit 3")
    with pytest.raises(EngineFailed, match=r"broken of Apertium en-es died with status 3"):
        translate(modes(tmp_path, en__es=f"{SAME} | {dead} | {SAME}"), "x")


def test_after_a_crash_the_line_is_tried_once_more(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    moody = script(
        tmp_path / "moody", f"[ -e {mark} ] && exec {SAME.replace('-u', '-z -u')}", f"touch {mark}", "exec sed -z -u /crash/Q7"
    )
    assert translate(modes(tmp_path, en__es=moody), "fine", "crash", "on") == ["fine", "crash", "on"]


def test_a_failed_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es="sed -u /crash/Q7")
    with ENGINE.load(options, {}, "cpu") as translator:
        with pytest.raises(EngineFailed):
            translator.translate(Batch("en", "es", (Request("1", "crash"),)))
        assert translator.translate(Batch("en", "es", (Request("2", "fine"),))) == ["fine"]


def test_a_stuck_program_is_left_after_the_time_out_and_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stuck = script(tmp_path / "stuck", f"echo $$ > {pid}", "exec sleep 60")
    with pytest.raises(EngineFailed, match=r"Apertium en-es gave no answer in 0\.2 s"):
        translate(modes(tmp_path, 0.2, en__es=f"{SAME} | {stuck}"), "x")
    assert gone(int(pid.read_text()))


def test_an_answer_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadEngineOutput, match="not UTF-8"):
        translate(modes(tmp_path, en__es=r"sed -u 's/x/\xff/'"), "x")


def test_a_program_that_answers_twice_shifts_no_line(tmp_path: Path) -> None:
    assert translate(modes(tmp_path, en__es="sed -u p"), "a", "b", "c", "d") == ["a", "b", "c", "d"]


def test_a_program_that_only_gives_old_answers_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadEngineOutput, match="another line"):
        translate(modes(tmp_path, en__es=r"sed -u 's/\n1\]/\n9]/'"), "a")


def test_programs_that_chatter_on_stderr_do_not_block(tmp_path: Path) -> None:
    noisy = script(tmp_path / "noisy", "head -c 300000 /dev/zero >&2", "exec sed -z -u s/a/a/")
    assert translate(modes(tmp_path, en__es=noisy), "x") == ["x"]


def test_threads_share_one_pipeline_without_mixing_lines(tmp_path: Path) -> None:
    with ENGINE.load(modes(tmp_path, en__es="sed -u s/n/m/"), {}, "cpu") as translator, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: translator.translate(Batch("en", "es", (Request("1", f"n{i}"),))), range(200)))
    assert found == [[f"m{i}"] for i in range(200)]


def test_no_program_outlives_the_load(tmp_path: Path) -> None:
    options = modes(tmp_path, en__es=f"{SAME} | {SAME}")
    with ENGINE.load(options, {}, "cpu") as translator:
        translator.translate(Batch("en", "es", (Request("1", "x"),)))
        children = children_of(os.getpid(), "sed")
        assert len(children) >= 2
    assert all(gone(child) for child in children)


DRIVER = """
import sys
from polydub.engines.base import Batch, Request
from polydub.engines.mt.apertium import ENGINE, ApertiumOptions
with ENGINE.load(ApertiumOptions(modes_dir=sys.argv[1]), {}, "cpu") as translator:
    print(translator.translate(Batch("en", "es", (Request("1", "x"),))), flush=True)
    sys.stdin.read()
"""


def killed_driver_leaves_nothing(folder: str, name: str) -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        children = children_of(driver.pid, name)
        assert children
        driver.send_signal(signal.SIGKILL)
    assert all(gone(child) for child in children)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_programs_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    modes(tmp_path, en__es=" | ".join([SAME] * 5))
    killed_driver_leaves_nothing(str(tmp_path), "sed")


def children_of(parent: int, name: str) -> list[int]:
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = stat.read_text().split(" (", 1)
        except OSError:
            continue  # it ended while we looked
        program, fields = rest.rsplit(") ", 1)
        if int(fields.split()[1]) == parent and name in program:
            found.append(int(pid))
    return found


def gone(pid: int) -> bool:
    """Whether the process ends within a minute; a zombie that nobody has fetched yet has ended."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("Z"):
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@needs_apertium
def test_real_english_becomes_spanish() -> None:
    assert ENGINE.check(REAL).ready
    assert {"en>es", "es>en"} <= (ENGINE.languages(REAL) or frozenset())
    found = translate(REAL, "Good morning.", "The man is in the house.", "", source="en-GB", target="es-MX")
    assert [text.lower() for text in found] == ["buenos días.", "el hombre es en la casa.", ""]


@needs_apertium
def test_real_text_of_several_sentences_keeps_them() -> None:
    [text] = translate(REAL, "The cat sleeps. The dog drinks! Where is the house? It rains")
    assert [text.count(mark) for mark in ".!?"] == [1, 1, 1]
    assert "gato" in text
    assert text.endswith("Llueve")
    assert "  " not in text


@needs_apertium
def test_real_unknown_words_carry_no_marks_and_signs_of_the_text_stay() -> None:
    [text] = translate(REAL, "Polydub likes #hashtags and 5 * 3 of niño.")
    assert "Polydub" in text
    assert "#hashtags" in text
    assert "5 * 3" in text
    assert "*Polydub" not in text


@needs_apertium
def test_real_hostile_text_is_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [
        "$(touch x)",
        "^$@\\/<>{}[]",
        "😀",
        "one\ntwo\0three",
        "a" * 10_000,
        "The cat sat. " * 800,
        "[",
        "\\",
        "^x/y<n>$",
        "\ud83d",
    ]
    found = translate(REAL, *texts)
    assert found[0].startswith("$(")
    assert found[1:3] == texts[1:3]
    assert len(found[3].split()) == 3
    assert found[4] == "a" * 10_000
    assert found[5].count(".") == 800
    assert found[6:9] == ["[", "\\", "^x/y<n>$"]
    assert list(tmp_path.iterdir()) == []


@needs_apertium
def test_real_lines_are_the_same_in_any_order_and_company() -> None:
    texts = [f"The man number {number} is in the house" for number in range(20)]
    assert translate(REAL, *texts) == translate(REAL, *reversed(texts))[::-1]


@needs_apertium
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_real_programs_die_with_a_parent_that_is_killed() -> None:
    killed_driver_leaves_nothing(REAL.modes_dir, "")


@needs_apertium
def test_real_pivots_translate() -> None:
    pivots = sorted(p for p in ENGINE.languages(REAL) or () if p.startswith("en>") and len(path(REAL, *p.split(">"))) == 2)
    if not pivots:
        pytest.skip("no installed pair continues from Spanish: sudo apt-get install apertium-fr-es")
    for pair in pivots:
        [text] = translate(REAL, "The house is big.", target=pair.partition(">")[2])
        assert text.endswith(".")
        assert text[0].isupper()
        assert "house" not in text
