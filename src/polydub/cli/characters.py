"""`polydub characters`: the voices that are remembered across films."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from polydub import portraying, remembering
from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.config import Loaded
from polydub.dubbing import Ears
from polydub.errors import SOME_FAILED, BadSettings
from polydub.types import Notice
from polydub.voices import bookkeeping, parcel
from polydub.voices import characters as known
from polydub.voices.book import MODES, Book, Character, Draft, Shelf
from polydub.voices.bookkeeping import Changes

BOOK = ("character_book",)
HEARING = (
    *BOOK, "diarization", "speakers", "audio_track", "mode", "device", "models", "download", "output", "store", "offline",
    "strict", "threads",
)  # fmt: skip
MATCHING = (*HEARING, "character_threshold", "character_margin")


@click.group()
def characters() -> None:
    """Remember the voices of characters across films.

    \b
    polydub dub episode1.mkv --to es --characters on
    polydub characters list
    polydub characters rename c1 Anna
    """


def _book(given: dict[str, Any], names: tuple[str, ...] = BOOK) -> tuple[Loaded, Shelf]:
    loaded = read({key: given[key] for key in names}, given["job"])
    return loaded, remembering.shelf_of(loaded)


def _change(given: dict[str, Any], change: Callable[[Draft], list[Character]], done: str | Callable[[], str]) -> int:
    """Changes the book and tells whom it was about, and what was done."""
    _, shelf = _book(given)
    before = shelf.open_to_read
    with shelf.changing() as draft:
        about = change(draft)
        ids = {c.id for c in about}
        after = [c for c in draft.book.characters if c.id in ids] or about
    if before:
        output.say(f"note: {shelf.file} is encrypted from now on")
    if given["as_json"]:
        output.result_json({"characters": [_row(c) for c in after]})
    else:
        for one in after:
            output.result(output.clean(f"{one.id} {one.name}: {done if isinstance(done, str) else done()}"))
    return 0


def _row(one: Character) -> dict[str, Any]:
    """A character for machines, without the numbers of its voice."""
    row = one.model_dump(mode="json", exclude={"voiceprints", "references"})
    row["encoders"] = {encoder: print_.count for encoder, print_ in one.voiceprints.items()}
    row["references"] = [{"seconds": r.seconds, "sha256": r.sha256} for r in one.references]
    return row


def _how(one: Character) -> str:
    if one.mode == "preset":
        return "preset " + ", ".join(name if engine == "*" else f"{engine}={name}" for engine, name in one.presets.items())
    return one.mode


@characters.command("list")
@settings_options(BOOK)
@common
def list_(**given: Any) -> int:
    """Everybody who is remembered."""
    _, shelf = _book(given)
    book = shelf.read()
    _tell(shelf)
    if given["as_json"]:
        output.result_json({"book": str(shelf.file), "characters": [_row(c) for c in book.characters]})
        return 0
    if not book.characters:
        output.say(f"nobody is remembered yet in {shelf.file}: dub with --characters on, or polydub characters enrol NAME FILE")
    wide = max((len(c.name) for c in book.characters), default=0)
    for c in book.characters:
        films = ", ".join(f.name for f in c.films) or "enrolled by hand"
        output.result(output.clean(f"{c.id:<4} {c.name:<{wide}}  {_how(c)}{' locked' if c.locked else ''}  {films}"))
    return 0


def _tell(shelf: Shelf) -> None:
    output.say_notices(remembering.unsealed(shelf), verbose=False)


@characters.command()
@click.argument("who")
@settings_options(BOOK)
@common
def show(who: str, **given: Any) -> int:
    """All that is known of one character."""
    _, shelf = _book(given)
    one = bookkeeping.find(shelf.read(), who)
    _tell(shelf)
    if given["as_json"]:
        output.result_json(_row(one))
        return 0
    manner = one.manner
    lines = [
        f"{one.id} {one.name}" + (f", also {', '.join(one.aliases)}" if one.aliases else ""),
        f"speaks by: {_how(one)}" + (" (locked: films change nothing)" if one.locked else ""),
        f"rate {manner.rate:g}, pitch {manner.pitch:+g} semitones, energy {manner.energy_db:+g} dB",
        *(f"voice of {key}: {voice.label or voice.name}" for key, voice in one.voices.items()),
        *(f"heard in {f.name} as {f.speaker}: {f.seconds:.0f} s, {f.seen[:10]}" for f in one.films),
        *(f"recording: {r.seconds:.1f} s{'' if r.film else ', by hand'}" for r in one.references),
        *(f"voiceprint by {encoder}: from {p.count}" for encoder, p in one.voiceprints.items()),
    ]
    output.result("\n".join(output.clean(line) for line in lines))
    return 0


@characters.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--speaker", default="", help="Who of the speakers of the file it is, as `match` names them.")
@settings_options(HEARING)
@common
def enrol(name: str, files: tuple[Path, ...], speaker: str, **given: Any) -> int:
    """Remember a voice from recordings; a character who is known learns from them.

    Files that cannot be used are told and left out; the exit status is then 1.

    \b
    polydub characters enrol Anna anna1.wav anna2.wav
    polydub characters enrol Ben scene.mkv --speaker SPEAKER_01
    """
    loaded, shelf = _book(given, HEARING)
    shelf.read()  # whether it can be read is told before anything takes long
    with Meter() as meter:
        heard = portraying.heard(files, loaded, Ears(meter.show, meter.say, meter.ask), speaker)
    notices = (*heard.notices, *remembering.unsealed(shelf))
    with shelf.changing() as draft:
        one = heard.into(draft, name)
    output.say_notices(notices, given["verbose"])
    for why in heard.refused.values():
        output.say_error(why)
    if given["as_json"]:
        output.result_json(_row(one) | {"refused": {str(file): why.message for file, why in heard.refused.items()}})
    else:
        seconds = sum(s.portrait.seconds for s in heard.sitters)
        count = f" in {len(heard.sitters)} of {len(files)} files" if heard.refused else ""
        output.result(output.clean(f"{one.id} {one.name}: enrolled from {seconds:.0f} s of speech{count}"))
    return SOME_FAILED if heard.refused else 0


def _noted(desk: portraying.Desk, shelf: Shelf) -> tuple[Notice, ...]:
    return (*desk.run.notices, *remembering.unsealed(shelf))


@characters.command()
@click.argument("who")
@click.argument("name")
@settings_options(BOOK)
@common
def rename(who: str, name: str, **given: Any) -> int:
    """Give a character another name."""

    before = ""

    def change(draft: Draft) -> list[Character]:
        nonlocal before
        one = bookkeeping.find(draft.book, who)
        before = one.name
        draft.book = bookkeeping.renamed(draft.book, one, name, remembering.now())
        return [one]

    return _change(given, change, lambda: f"called {before} until now")


@characters.command()
@click.argument("who")
@click.argument("others", nargs=-1, required=True, metavar="OTHER...")
@settings_options(BOOK)
@common
def merge(who: str, others: tuple[str, ...], **given: Any) -> int:
    """Make OTHERs part of one character: they were the same person."""

    def change(draft: Draft) -> list[Character]:
        one, rest = bookkeeping.find(draft.book, who), [bookkeeping.find(draft.book, o) for o in others]
        draft.book = bookkeeping.merged(draft.book, one, rest, remembering.now())
        return [one]

    return _change(given, change, f"merged with {', '.join(others)}")


@characters.command()
@click.argument("who")
@click.argument("name")
@click.option("--film", "films", multiple=True, required=True, help="Film in which it was NAME; several by repeating it.")
@settings_options(BOOK)
@common
def split(who: str, name: str, films: tuple[str, ...], **given: Any) -> int:
    """Make a character of its own, called NAME, from some films of another: they were two people."""

    def change(draft: Draft) -> list[Character]:
        one = bookkeeping.find(draft.book, who)
        draft.book, made = bookkeeping.split(draft.book, one, films, name, remembering.now())
        return [one, made]

    return _change(given, change, "split")


@characters.command("set")
@click.argument("who")
@click.option("--mode", "how", type=click.Choice(MODES), metavar="|".join(MODES), help="Whose voice speaks for the character.")
@click.option(
    "--preset", "presets", multiple=True, metavar="[ENGINE=]VOICE", help="Voice by name, for one engine or all; '' = none."
)
@click.option("--rate", type=float, help="How fast, as a multiple of the voice's own rate.")
@click.option("--pitch", type=float, help="How high, in semitones against the voice itself.")
@click.option("--energy", type=float, help="How loud, in dB against the voice itself.")
@click.option("--lock/--no-lock", default=None, help="Films change nothing in what is known of the character.")
@click.option("--anew", is_flag=True, help="Forget the voices it got in earlier films: the next one finds another.")
@click.option("--alias", "aliases", multiple=True, help="Another name; several by repeating it.")
@settings_options(BOOK)
@common
def set_(who: str, **given: Any) -> int:
    """Choose how a character speaks.

    \b
    polydub characters set Anna --preset espeak-ng=f2 --rate 1.1
    polydub characters set Ben --mode clone --lock
    """
    presets = dict(_preset(text) for text in given["presets"])
    wish = Changes(
        given["how"], presets, given["rate"], given["pitch"], given["energy"], given["lock"], given["anew"], given["aliases"]
    )
    if wish == Changes():
        raise BadSettings("nobody said what to set", "see: polydub characters set --help")
    bookkeeping.find(_book(given)[1].read(), who)  # before engines are asked
    for engine, voice in presets.items():
        _check_preset(engine, voice, given["job"])

    def change(draft: Draft) -> list[Character]:
        one = bookkeeping.find(draft.book, who)
        draft.book = bookkeeping.changed(draft.book, one, wish, remembering.now())
        return [one]

    return _change(given, change, "set")


def _check_preset(engine: str, voice: str, job: Path | None) -> None:
    """Raises BadSettings for a voice that neither the library has nor the engine, "*" = the one of the settings."""
    from polydub import aloud
    from polydub.engines import registry

    if not voice:
        return
    chosen = {} if engine == "*" else {"tts": registry.get("tts", engine).info.name}
    try:
        unknown = aloud.check_voice(voice, read(chosen, job))
    except BadSettings as error:
        if engine == "*":
            error.hint = f"{error.hint}; of another engine: --preset ENGINE={voice}".lstrip("; ")
        raise
    if unknown:
        output.say(f"note: nobody could tell whether there is a voice {voice}: {unknown}")


def _preset(text: str) -> tuple[str, str]:
    engine, equals, voice = text.partition("=")
    return (engine.strip(), voice.strip()) if equals else ("*", text.strip())


@characters.command()
@click.argument("who", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="Forget everybody.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@settings_options(BOOK)
@common
def forget(who: tuple[str, ...], everybody: bool, yes: bool, **given: Any) -> int:
    """Delete characters with their voiceprints and recordings.

    What single dubs have made of them stays in their output folders; `polydub clean` deletes that too.
    """
    if bool(who) == everybody:
        raise BadSettings("say whom to forget", "name characters, or give --all")
    _, shelf = _book(given)
    book = shelf.read()
    names = ", ".join(c.name for c in _those(book, who, everybody=everybody))
    if names and not yes and not _agreed(f"Forget {names}?"):
        return 0

    def change(draft: Draft) -> list[Character]:
        those = _those(draft.book, who, everybody=everybody)
        draft.book = bookkeeping.forgotten(draft.book, those)
        return those

    return _change(given, change, "forgotten")


def _those(book: Book, who: tuple[str, ...], *, everybody: bool) -> list[Character]:
    return list(book.characters) if everybody else [bookkeeping.find(book, one) for one in who]


def _agreed(question: str) -> bool:
    try:
        return click.confirm(output.clean(question), err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        output.say("")
        hint = "agree beforehand: polydub characters forget NAME --yes"
        raise BadSettings("nobody was forgotten, since nobody answered", hint) from None


@characters.command()
@click.argument("who", nargs=-1)
@click.option("-o", "--out", type=PATH, required=True, help="Zip file to write.")
@settings_options(BOOK)
@common
def export(who: tuple[str, ...], out: Path, **given: Any) -> int:
    """Write characters, all or some, with their recordings to a zip file."""
    _, shelf = _book(given)
    book = shelf.read()
    those = _those(book, who, everybody=not who)
    if not those:
        raise BadSettings("there is nobody to export", "see who is there with: polydub characters list")
    if out.exists() and shelf.file.exists() and out.samefile(shelf.file):
        raise BadSettings(f"{out} is the character book itself", "choose another name with --out")
    parcel.write(out, shelf, those)
    if shelf.key is not None:
        output.say(f"note: {out} is not encrypted")
    if given["as_json"]:
        output.result_json({"file": str(out), "characters": [_row(c) for c in those]})
    else:
        output.result(str(out))
    return 0


@characters.command("import")
@click.argument("file", type=PATH)
@settings_options(BOOK)
@common
def import_(file: Path, **given: Any) -> int:
    """Add the characters of an exported zip file; those that are here already stay as they are."""

    def change(draft: Draft) -> list[Character]:
        added = parcel.read(file, draft)
        if not added:
            output.say("nobody was imported: they are all here already")
        return added

    return _change(given, change, "imported")


@characters.command()
@click.argument("file", type=PATH)
@settings_options(MATCHING)
@common
def match(file: Path, **given: Any) -> int:
    """Tell which characters speak in a file."""
    loaded, shelf = _book(given, MATCHING)
    book = shelf.read()
    with Meter() as meter, portraying.listening_desk(loaded, Ears(meter.show, meter.say, meter.ask)) as desk:
        sitters = desk.sitters(file)
        encoder = remembering.encoder_of(desk.run.tools["embedding"])
        limits = remembering.limits_of(desk.run, loaded)
        notices = _noted(desk, shelf)
    found = known.match({s.speaker: s.portrait for s in sitters}, book, encoder, limits)
    output.say_notices(notices, given["verbose"])
    if given["as_json"]:
        rows = [{"speaker": s.speaker, "seconds": s.seconds, **_found_row(found[s.speaker])} for s in sitters]
        limits_row = {"threshold": limits.threshold, "margin": limits.margin}
        output.result_json({"encoder": encoder, "limits": limits_row, "speakers": rows})
        return 0
    for s in sitters:
        output.result(output.clean(f"{s.speaker} ({s.seconds:.0f} s): {found[s.speaker].reason}"))
    return 0


def _found_row(found: known.Found) -> dict[str, Any]:
    one = found.character
    return {
        "character": one.id if one else None,
        "name": one.name if one else None,
        "verdict": found.verdict,
        "nearest": found.nearest,
        "likeness": found.likeness,
        "reason": found.reason,
    }
