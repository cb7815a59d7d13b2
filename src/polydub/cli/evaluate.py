"""`polydub eval`: how good a dub is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polydub import project
from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.config import LOUDNESS, Loaded
from polydub.errors import SOME_FAILED, BadInput, BadSettings, Missing, NoSpeech, StrictNotice

if TYPE_CHECKING:
    from polydub.evaluate.card import Card
    from polydub.evaluate.compare import Comparison
    from polydub.evaluate.inputs import Asked, Subject
    from polydub.evaluate.measuring import Heard, Profile, Recogniser, Tools

SETTINGS = ("loudness", "lufs", "models", "mode", "device", "offline", "strict", "threads")


@click.command("eval")
@click.argument("dub", required=False, type=PATH)
@click.option(
    "--ref", "reference", type=PATH, metavar="FILM", help="The original film. [default: the project's, if it is there]"
)
@click.option("--lang", default="", metavar="LANGUAGE", help="Which dub of a project, or the language of a file.")
@click.option("--script", type=PATH, metavar="FILE", help="What the dub says: script.LANGUAGE.json, or subtitles.")
@click.option("--subs", type=PATH, metavar="FILE", help="The dub's subtitles to judge. [default: the project's]")
@click.option("--ref-subs", type=PATH, metavar="FILE", help="Subtitles by a person to compare them with.")
@click.option("--dialogue", type=PATH, metavar="FILE", help="The original's dialogue alone, such as stems/dialogue.flac.")
@click.option("--asr", default="", metavar="ENGINE", help="Recogniser that listens to the dub, such as faster-whisper:small.")
@click.option("--source-asr", default="", metavar="ENGINE", help="Recogniser that looks for the original's words in the dub.")
@click.option("--asr-floor", type=float, metavar="PERCENT", help="That recogniser's error rate on people's speech.")
@click.option("--new-picture", is_flag=True, help="The picture was meant to change: burnt-in subtitles, lip sync.")
@click.option("--against", type=PATH, metavar="OTHER", help="Another dub, or what `eval --json` said of it, to compare with.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page with all of it.")
@click.option("--selftest", is_flag=True, help="Prove the measurements on signals whose figures are known.")
@settings_options(SETTINGS)
@common
def evaluate(dub: Path | None, **given: Any) -> int:
    """Measure how good a dub is: its timing, sound, picture and subtitles.

    \b
    polydub eval Output/talk --lang es
    polydub eval talk.es.mp4 --ref talk.mp4 --script talk.es.srt --html talk.html
    """
    from polydub.evaluate import compare

    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    if given["selftest"]:
        return _selftest(given["as_json"])
    if dub is None:
        raise BadSettings("which dub?", "give the folder of a film, such as Output/talk, or a dubbed file")
    card = _card(dub, given, loaded)
    other = compare.compare(card, _card(given["against"], given, loaded)) if given["against"] else None
    if given["html"]:
        from polydub.evaluate.page import render

        project.write(given["html"], render(other or card))
    if given["as_json"]:
        output.result_json(compare.plain(other) if other else card.model_dump(mode="json"))
    else:
        _tell_both(other) if other else _tell(card, given["verbose"])
    if given["html"]:
        output.say(f"page: {given['html']}")
    return StrictNotice.exit_status if loaded.settings.strict and not card.passed else 0


def _selftest(as_json: bool) -> int:
    from polydub.evaluate import selftest

    checks = selftest.run()
    if as_json:
        output.result_json([{"name": c.name, "passed": c.passed, "found": c.found, "wanted": c.wanted} for c in checks])
    else:
        for c in checks:
            output.result(f"{'ok  ' if c.passed else 'FAIL'} {c.name}: {c.found} (wanted: {c.wanted})")
    return 0 if all(c.passed for c in checks) else SOME_FAILED


def _card(dub: Path, given: dict[str, Any], loaded: Loaded) -> Card:
    """What is measured of a dub, or what was: a JSON file."""
    from polydub.evaluate.card import Card
    from polydub.evaluate.inputs import Asked, find
    from polydub.evaluate.measuring import measure

    if dub.suffix.lower() == ".json":
        from pydantic import ValidationError

        try:
            return Card.model_validate_json(dub.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadInput(f"{dub} cannot be read: {error.strerror}", "check the name") from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise BadInput(f"{dub} is not what polydub eval --json writes", "measure the dub again") from error
    subject = find(_asked(dub, given, Asked))
    with Meter() as meter, _tools(subject, given, loaded, meter) as tools:
        return measure(subject, tools)


def _asked(dub: Path, given: dict[str, Any], kind: type[Asked]) -> Asked:
    """What belongs to this dub. Of another one only what both share: the film, its dialogue, a person's subtitles."""
    own = dub != given["against"]
    return kind(
        dub=dub,
        reference=given["reference"],
        language=given["lang"],
        script=given["script"],
        subtitles=given["subs"] if own else None,
        reference_subtitles=given["ref_subs"],
        dialogue=given["dialogue"],
    )


@contextmanager
def _tools(subject: Subject, given: dict[str, Any], loaded: Loaded, meter: Meter) -> Generator[Tools]:
    """The engines that are asked for, and the speech detector if it is installed."""
    from polydub.engines import registry
    from polydub.engines.opening import opened
    from polydub.evaluate.measuring import Tools
    from polydub.types import Progress

    tools = Tools(
        profile=_profile(subject, given, loaded),
        hear=_recogniser(given["asr"], given),
        hear_source=_recogniser(given["source_asr"], given),
        floor=given["asr_floor"],
        new_picture=given["new_picture"],
        progress=lambda step: meter.show(Progress(step, 0, 1)),
    )
    try:
        chosen = registry.choose(registry.AUTO, registry.Need("vad", registry.UNKNOWN))
    except Missing as error:
        output.say(f"note: speech is taken from the lines, since nothing detects it: {error.message}")
        yield tools
        return
    identity = registry.identity(chosen.engine, chosen.options, "cpu")
    with opened(chosen.engine, chosen.options, chosen.weights, "cpu", chosen.python) as engine:
        from dataclasses import replace

        yield replace(tools, detect=engine.probabilities, detector=f"{chosen.engine.info.name} ({identity['package']})")


def _profile(subject: Subject, given: dict[str, Any], loaded: Loaded) -> Profile:
    """What the delivery must measure: as asked for, else as the project wanted it, else the usual."""
    from polydub.evaluate.measuring import Profile

    settings = loaded.settings
    wanted = LOUDNESS[settings.loudness]
    lufs, peak = wanted.lufs if settings.lufs is None else settings.lufs, wanted.true_peak_dbtp
    if subject.report and given["loudness"] is None and given["lufs"] is None:
        loud = subject.report.loudness
        return Profile(loud.target_lufs, loud.true_peak_limit_dbtp, loud.goal == "dialogue")
    return Profile(lufs, peak, settings.loudness == "netflix")


def _recogniser(engine: str, given: dict[str, Any]) -> Recogniser | None:
    """A recogniser by name, through the library's own transcription; None without a name."""
    if not engine:
        return None
    from polydub.engines import registry

    choice = registry.parse_choice(engine)
    identity = registry.identity(found := registry.get("asr", choice.name), found.options(), "cpu")

    def hear(file: Path, track: int, language: str) -> Heard:
        import tempfile

        from polydub import standalone
        from polydub.dubbing import Ears, Job
        from polydub.evaluate.measuring import Heard

        with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
            values = {key: given[key] for key in ("models", "mode", "device", "offline", "threads")}
            values |= {"asr": engine, "source_language": language, "audio_track": track + 1, "diarization": "none"}
            settings = read({**values, "output": folder, "download": "no"}, None)
            try:
                script = standalone.transcribe_file(Job(file), settings, Ears()).script
            except NoSpeech:
                return Heard("", f"{engine} ({identity['package']})")
        return Heard(" ".join(s.text for s in script.segments), f"{engine} ({identity['package']})")

    return hear


def _tell(card: Card, verbose: bool) -> None:
    from polydub.evaluate.judging import verdict

    for gate in card.gates:
        state = "ok  " if gate.passed else "FAIL" if gate.passed is False else "-   "
        output.result(f"{state} {gate.name}: {gate.value}" + (f" (wanted: {gate.limit})" if gate.passed is False else ""))
    for score in card.scores:
        spread = f"  [{score.ci[0]:g} to {score.ci[1]:g}]" if score.ci else ""
        output.result(f"     {score.id:<18} {_figure(score.value):>9} {score.unit:<5} {score.name}{spread}")
    for axis in card.axes:
        if axis.value is not None:
            output.result(f"     {axis.name:<18} {axis.value:>9.0f} of 100")
    for lack in card.missing if verbose else ():
        output.result(f"     {lack.id:<18} {'-':>9}       {lack.reason}")
    output.result(verdict(card) + ("" if verbose else f"; {len(card.missing)} not measured (--verbose tells why)"))


def _tell_both(found: Comparison) -> None:
    output.result(f"{'':<18} {'first':>10} {'second':>10} {'change':>10}")
    for row in found.rows:
        sure = {True: "surely", False: "perhaps by chance", None: ""}[row.certain if row.difference else None]
        said = {"ours": "first is better", "theirs": "second is better"}.get(row.better, "")
        figures = f"{_figure(row.ours):>10} {_figure(row.theirs):>10} {_figure(row.difference):>10}"
        output.result(f"{row.id:<18} {figures} {row.unit:<5} {row.name}" + (f": {said} {sure}".rstrip() if said else ""))
    totals = f"{_figure(found.ours.total):>10} {_figure(found.theirs.total):>10} {_figure(found.total_difference):>10}"
    output.result(f"{'total':<18} {totals}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


eval = evaluate  # the name by which app.py asks for it
