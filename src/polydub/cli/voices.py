"""`polydub voices`: the voice library."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options
from polydub.errors import BadInput, BadSettings

if TYPE_CHECKING:
    from polydub.aloud import Heard
    from polydub.voices.library import Library, LibraryVoice
    from polydub.voices.quality import Quality

SHELF = ("voices",)
SPEAKING = ("to", "tts", "device", "offline", "voices")
CONSENT = (
    "A library voice can be made to say anything. polydub keeps a person's recordings only with a note of who agreed to that, "
    "and when (for example: Anna Roth, by e-mail, 2026-03-01).\nWho agreed, and when?"
)


class _Voice(click.ParamType[str]):
    """A voice's name, completed by the shell."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        shelf = _library({"voices": None, "job": None})
        return [CompletionItem(v.name) for v in shelf.voices if v.name.casefold().startswith(incomplete.casefold())]


def _library(given: dict[str, Any]) -> Library:
    from polydub.voices import library

    return library.read(read({"voices": given["voices"]}, given["job"]).settings.voices_home)


@click.group()
def voices() -> None:
    """The voice library: recordings of voices that speak dubs and texts.

    \b
    polydub voices add Anna anna.wav --language de --consent "Anna Roth, by e-mail, 2026-03-01"
    polydub voices test Anna -o anna-test.wav
    polydub dub talk.mp4 --to es --voice SPEAKER_00=Anna --tts xtts

    A sound file that lies in the folder of the library is a voice, too: Anna.wav, or en-Anna.wav with its language.
    """


@voices.command("list")
@click.option("--engine", metavar="ENGINE", help="Show the engine's own voices instead, for the language of --to.")
@settings_options(("to", *SHELF), to="Language of the engine's voices: a code or a name.")
@common
def list_(engine: str | None, **given: Any) -> int:
    """Show the voices of the library, or those of an engine."""
    if engine is not None:
        return _engine_voices(engine, given)
    shelf = _library(given)
    for name, error in shelf.damaged.items():
        output.say(f"note: {name} is left out: {error.message}")
    if given["as_json"]:
        damaged = {name: error.message for name, error in shelf.damaged.items()}
        aliases = {"aliases": dict(shelf.aliases), "aliases_by_default": shelf.by_default}
        output.result_json(
            {"folder": str(shelf.folder), "voices": [_facts(v) for v in shelf.voices], **aliases, "damaged": damaged}
        )
        return 0
    if not shelf.voices:
        output.say(f"there is no voice in {shelf.folder}; add one: polydub voices add NAME FILE")
        return 0
    rows = [(v.name, v.language, str(len(v.references)), v.licence, " ".join(v.tags), v.description) for v in shelf.voices]
    _table([("NAME", "LANGUAGE", "RECORDINGS", "LICENCE", "TAGS", "DESCRIPTION"), *rows])
    told = ", ".join(f"{alias} = {name}" for alias, name in shelf.aliases.items())
    output.say(f"aliases{' by default' if shelf.by_default else ''}: {told}" if told else "no aliases")
    return 0


def _engine_voices(engine: str, given: dict[str, Any]) -> int:
    from polydub import aloud, languages

    loaded = read({"to": given["to"], "tts": engine}, given["job"])
    if len(loaded.settings.to) != 1:
        raise BadSettings("of which language?", f"say so with --to, for example: polydub voices list --engine {engine} --to es")
    language = loaded.settings.to[0]
    name, found = aloud.engine_voices(loaded, language)
    if given["as_json"]:
        output.result_json(
            {"engine": name, "voices": [{"name": v.name, "label": v.label, "language": v.language} for v in found]}
        )
        return 0
    _table([("NAME", "LANGUAGE", "LABEL"), *((v.name, v.language, v.label) for v in found)] if found else [])
    if not found:
        output.say(f"{name} has no voice of its own for {languages.name(language)}")
    return 0


@voices.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--language", default="und", help="Language spoken in the recordings: a code or a name.")
@click.option("--licence", default="", help="Licence of the recordings, such as CC0-1.0.")
@click.option("--consent", default="", help="Who agreed to the use of this voice, and when; @FILE keeps a copy of a file.")
@click.option("--description", default="", help="What the voice is like.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be repeated.")
@click.option("--transcript", "transcripts", multiple=True, help="What is said in the recordings, one after the other.")
@click.option("--force", is_flag=True, help="Keep recordings that are hardly of use.")
@settings_options(SHELF)
@common
def add(name: str, files: tuple[Path, ...], **given: Any) -> int:
    """Add a voice from recordings of it.

    6 to 15 s of clean speech by one person are best. FILE may be any sound or video file; it is kept as mono FLAC, without what
    lies before the first word and after the last one, and its quality is told.
    """
    from polydub import aloud
    from polydub.voices import keeping

    loaded = read({"voices": given["voices"]}, given["job"])
    home = loaded.settings.voices_home
    keeping.check_free(home, name)
    keeping.check_transcripts(len(given["transcripts"]), len(files))
    entry = _entry(name, given)
    heard = aloud.hear(files, loaded)
    for one in heard:
        _say_quality(one)
    output.say_notices(aloud.strangers(heard), given["verbose"])
    if not given["force"]:
        aloud.check_usable(heard)
    told = given["transcripts"] or [""] * len(files)
    kept = keeping.add(home, entry, [keeping.Recorded(one.sound, text) for one, text in zip(heard, told, strict=True)])
    if given["as_json"]:
        output.result_json(_facts(kept) | {"quality": [_quality(one.quality) for one in heard]})
    else:
        output.result(str(kept.folder))
    return 0


def _entry(name: str, given: dict[str, Any]) -> Any:
    """What was told of a voice; consent is asked for where it is needed. Raises: BadSettings, BadInput."""
    from polydub import languages
    from polydub.voices import keeping

    language, consent, proof = given["language"], given["consent"].strip(), None
    if not consent and not keeping.public(given["licence"]):
        if not sys.stdin.isatty() or given["as_json"]:
            keeping.check_consent(consent, given["licence"])
        consent = str(click.prompt(CONSENT, err=True)).strip()
    if consent.startswith("@"):
        proof = Path(consent[1:])
        if not proof.is_file():
            raise BadInput(f"there is no file {proof}", "check the name after @")
        consent = f"see {proof.name}"
    tag = "und" if language == "und" else languages.parse(language)
    tags = tuple(word for tag_ in given["tags"] for word in tag_.replace(",", " ").split())
    return keeping.Entry(name, tag, given["licence"], keeping.dated(consent), proof, given["description"], tags)


@voices.command()
@click.argument("name", type=_Voice())
@settings_options(SHELF)
@common
def show(name: str, **given: Any) -> int:
    """Show all that is known of a voice, and how good its recordings are."""
    from polydub import aloud

    loaded = read({"voices": given["voices"]}, given["job"])
    voice = _library(given).find(name)
    heard = aloud.hear([reference.path for reference in voice.references], loaded)
    if given["as_json"]:
        output.result_json(_facts(voice) | {"quality": [_quality(one.quality) for one in heard]})
        return 0
    output.result("\n".join(output.clean(line) for line in _lines(voice)))
    for one, reference in zip(heard, voice.references, strict=True):
        f = one.quality.figures
        noise = f"noise {f.snr_db:.0f} dB below it, {f.lufs:.0f} LUFS, up to {f.bandwidth_hz / 1000:.0f} kHz"
        measured = f"{f.speech_s:.1f} s of speech, {noise}"
        output.result(output.clean(f"{one.path.name}: score {one.quality.score:.2f}; {measured}"))
        for finding in one.quality.findings:
            output.result(f"  {finding.severity}: {finding.text}")
        if reference.transcript:
            output.result(output.clean(f"  says: {reference.transcript}"))
    return 0


def _lines(voice: LibraryVoice) -> Iterator[str]:
    facts = (
        ("name", voice.name),
        ("language", voice.language),
        ("licence", voice.licence or "not told"),
        ("consent", voice.consent or "not told"),
        ("consent file", str(voice.consent_file or "")),
        ("description", voice.description),
        ("tags", " ".join(voice.tags)),
        ("folder", str(voice.folder or voice.references[0].path.parent)),
    )
    yield from (f"{key}: {value}" for key, value in facts if value)


@voices.command()
@click.argument("name", type=_Voice())
@click.argument("text", required=False)
@click.option("-o", "--out", type=PATH, default=Path("speech.wav"), show_default=True, help="File to write.")
@settings_options(SPEAKING, to="Language of the text; unset = the voice's own.")
@common
def test(name: str, text: str | None, out: Path, **given: Any) -> int:
    """Speak a sentence in a voice of the library.

    An engine that clones speaks in the voice itself; with espeak-ng its nearest voice speaks, and that is told.
    """
    from polydub import aloud
    from polydub.matching import SENTENCES

    loaded = read({key: given[key] for key in SPEAKING}, given["job"])
    form = aloud.form_of(out)
    found = _library(given).get(name)
    language = (loaded.settings.to or (found.language if found else "und",))[0]
    said = text or SENTENCES.get(language.partition("-")[0], SENTENCES["en"])
    made = aloud.speak_text(aloud.Utterance(said, name), loaded, out, form)
    output.say_notices(made.notices, given["verbose"])
    if given["as_json"]:
        notices = [{"code": n.code, "text": n.text} for n in made.notices]
        output.result_json(
            {"file": str(out), "voice": made.voice, "engine": made.engine, "duration": made.duration, "notices": notices}
        )
    else:
        output.result(str(out))
    return 0


@voices.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=_Voice())
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options(SHELF)
@common
def remove(names: tuple[str, ...], yes: bool, **given: Any) -> int:
    """Delete voices with their recordings. Their names are given in full."""
    from polydub.models import size
    from polydub.voices import keeping

    shelf = _library(given)
    found: list[LibraryVoice] = []
    for name in dict.fromkeys(names):
        voice = shelf.find(name)
        if not shelf.has(name):
            raise BadSettings(
                f"no voice is called {name!r}; {voice.name} is the nearest", f"to delete it: polydub voices remove {voice.name}"
            )
        found.append(voice)
    told = ", ".join(voice.name for voice in found)
    if not yes:
        if not sys.stdin.isatty():
            raise BadSettings(f"{told} would be deleted for good", "say that you mean it with --yes")
        click.confirm(f"Delete {told} with all recordings for good?", abort=True, err=True)
    rows = [{"name": voice.name, "freed_bytes": keeping.remove(shelf.folder, voice)} for voice in found]
    for row in rows:
        output.say(f"{row['name']}: {size(int(row['freed_bytes']))} freed")
    if given["as_json"]:
        output.result_json(rows)
    return 0


@voices.command("import")
@click.argument("source", type=PATH, metavar="FOLDER|ZIP")
@settings_options(SHELF)
@common
def import_(source: Path, **given: Any) -> int:
    """Take over the voices of a folder or a ZIP archive.

    What the library has already stays as it is.
    """
    from polydub.errors import SOME_FAILED
    from polydub.voices import keeping, library

    home = read({"voices": given["voices"]}, given["job"]).settings.voices_home
    taken = keeping.import_from(home, source)
    for name, why in taken.refused.items():
        output.say(f"note: {name} is left out: {why}")
    shelf = library.read(home)
    untold = [v.name for v in shelf.voices if v.name in taken.names and not v.consent and not keeping.public(v.licence)]
    if untold:
        output.say(f"note: nothing tells whether these people agreed to the use of their voices: {', '.join(untold)}")
    if given["as_json"]:
        output.result_json({"imported": list(taken.names), "left_out": dict(taken.refused), "without_consent": untold})
    for name in () if given["as_json"] else taken.names:
        output.result(name)
    return 0 if taken.names else SOME_FAILED


@voices.command()
@click.argument("alias_name", metavar="ALIAS")
@click.argument("name", required=False, metavar="VOICE", type=_Voice())
@click.option("--remove", "away", is_flag=True, help="Take the alias away.")
@click.option("--force", is_flag=True, help="VOICE may be no voice of the library, such as an engine's own.")
@settings_options(SHELF)
@common
def alias(alias_name: str, name: str | None, away: bool, force: bool, **given: Any) -> int:
    """Let ALIAS mean VOICE, wherever a voice is named.

    Where nobody set an alias, the names that OpenAI's speech API knows (alloy, echo, nova, ...) mean the voices of the library
    in turn.
    """
    from polydub.voices import keeping

    if away is (name is not None):
        raise BadSettings(
            "what shall the alias mean?", "polydub voices alias ALIAS VOICE, or polydub voices alias ALIAS --remove"
        )
    home = read({"voices": given["voices"]}, given["job"]).settings.voices_home
    aliases = keeping.set_alias(home, alias_name, name, engines=force)
    if given["as_json"]:
        output.result_json(dict(aliases))
    else:
        _table([("ALIAS", "VOICE"), *sorted(aliases.items())])
    return 0


def _facts(voice: LibraryVoice) -> dict[str, Any]:
    """For machines."""
    references = [{"path": str(r.path), "transcript": r.transcript} for r in voice.references]
    folder = str(voice.folder) if voice.folder else None
    consent_file = str(voice.consent_file) if voice.consent_file else None
    told = {"name": voice.name, "language": voice.language, "licence": voice.licence, "consent": voice.consent}
    more = {"consent_file": consent_file, "description": voice.description, "tags": list(voice.tags), "folder": folder}
    return told | more | {"references": references}


def _quality(quality: Quality) -> dict[str, Any]:
    return {"score": quality.score, "figures": asdict(quality.figures), "findings": [asdict(f) for f in quality.findings]}


def _say_quality(heard: Heard) -> None:
    """What a person should know of a recording."""
    output.say(f"{heard.path.name}: score {heard.quality.score:.2f} of 1")
    for finding in heard.quality.findings:
        output.say(f"  {finding.severity}: {finding.text}")


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    wide = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))] if rows else []
    for row in rows:
        output.result(output.clean("  ".join(f"{cell:<{w}}" for cell, w in zip(row, wide, strict=True)).rstrip()))
