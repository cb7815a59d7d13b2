"""What the actions of `polydub review` share: their order of words, the dub that is meant, lines by number, and rendering."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from polydub.cli import output
from polydub.cli.options import NAME, PATH, common, read, settings_options
from polydub.config import Settings
from polydub.edits import Change
from polydub.errors import BadInput, BadSettings, PolydubError
from polydub.review.finding import find_project
from polydub.review.reading import Reviewed, listing, open_review, report, state

if TYPE_CHECKING:
    from polydub.engines.pool import EnginePool

F = TypeVar("F", bound=Callable[..., Any])
_RANGE = re.compile(r"(\d+)-(\d+)")
_EVERYWHERE = ("no_render", "media", "lang", "output", "store", "job", "as_json", "verbose", "debug")
ORDER = (
    "list", "show", "edit", "voice", "time", "split", "merge", "regen", "use", "play", "diff", "approve", "lock", "unlock",
    "undo", "redo", "history", "export", "import", "render",
)  # fmt: skip


class Action(click.Command):
    """A command whose help shows the project before the action, as it is documented, and its own options first."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.params.sort(key=lambda param: param.name in _EVERYWHERE)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = [piece for piece in self.collect_usage_pieces(ctx) if piece not in ("PROJECT", "[OPTIONS]")]
        formatter.write_usage(f"polydub review PROJECT {self.name}", " ".join(["[OPTIONS]", *pieces]))


class ProjectFirst(click.Group):
    """A group of actions that takes `PROJECT ACTION` as well as `ACTION PROJECT`; a project alone lists its lines."""

    command_class = Action

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(ORDER)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._action_first(ctx, args))

    def _action_first(self, ctx: click.Context, args: list[str]) -> list[str]:
        both = len(args) > 1 and args[1] in self.commands  # a project may be called like an action
        if not args or (args[0] in self.commands and not both):
            return args
        at = next((n for n, word in enumerate(args) if word in self.commands and (n or not both)), None)
        if at is not None:
            return [args[at], *args[:at], *args[at + 1 :]]
        if len(args) > 1 and not args[0].startswith("-") and not args[1].startswith("-"):
            near = get_close_matches(args[1], self.commands, 1)
            meant = f"; do you mean {near[0]}?" if near else f": there are {', '.join(ORDER)}"
            raise click.UsageError(f"there is no action {args[1]!r}{meant}", ctx)
        return args if args[0] in ("-h", "--help") else ["--help"] if {"-h", "--help"} & set(args) else ["list", *args]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("polydub review", "PROJECT [ACTION] [OPTIONS] [ARGS]...")


def on_dub(function: F) -> F:
    """PROJECT, --lang and the options that every action has."""
    function = common(function)
    function = settings_options(("output", "store"), output="Folder in which PROJECT is looked for by name.")(function)
    function = click.option("--lang", metavar="LANG", help="The dub's language, where the project has several.")(function)
    return click.argument("project", type=NAME)(function)


def renders(function: F) -> F:
    """The options of actions that make the film again."""
    told = "Where the film is now, if it was moved."
    function = click.option("--media", type=PATH, help=told)(function)
    told = "Only note it down; `review render` makes the film with all that is noted."
    return click.option("--no-render", is_flag=True, help=told)(function)


@dataclass(frozen=True)
class Called:
    """One call of an action: the dub, the settings, and what was given on the command line."""

    dub: Reviewed
    settings: Settings
    given: Mapping[str, Any]

    @property
    def as_json(self) -> bool:
        """Whether a program reads the result."""
        return bool(self.given["as_json"])

    @property
    def store(self) -> Path:
        """Where the recordings are."""
        return self.settings.store or self.dub.folder.parent / ".polydub"


def called(given: Mapping[str, Any]) -> Called:
    """The dub that is meant. Raises BadInput, BadSettings."""
    settings = read({"output": given["output"], "store": given["store"]}, given["job"]).settings
    return Called(open_review(find_project(given["project"], settings.output), given["lang"]), settings, given)


def ids(call: Called, texts: Sequence[str], *, everything: bool = False) -> list[str]:
    """Line ids of `1-20,25 31`, each once, in order of time.

    Raises: BadInput for a line that is not there, a range in which there is none; BadSettings where nothing is given.
    """
    words = [word for text in texts for word in re.split(r"[,\s]+", text) if word]
    if everything == bool(words):
        raise BadSettings("which lines are meant?", "give their numbers, such as 3 or 1-20,25, or --all")
    known = [line.id for line in state(call.dub).lines]
    if everything:
        return known
    wanted: set[str] = set()
    for word in words:
        ends = _RANGE.fullmatch(word)
        inside = {id_ for id_ in known if ends and id_.isdecimal() and int(ends[1]) <= int(id_) <= int(ends[2])}
        if not inside and word not in known:
            what = "are no lines" if ends else "is no line"
            raise BadInput(f"there {what} {word}", f"the lines are {known[0]} to {known[-1]}: see polydub review PROJECT list")
        wanted |= inside or {word}
    return [id_ for id_ in known if id_ in wanted]


def pool_of(call: Called) -> EnginePool:
    """The engines of this command, closed when it ends."""
    from polydub.engines.pool import EnginePool

    context = click.get_current_context()
    if "pool" not in context.meta:
        context.meta["pool"] = context.with_resource(closing(EnginePool(call.settings.idle_s)))
    return context.meta["pool"]


def check_voices(call: Called, names: Collection[str]) -> None:
    """Tells where nobody could ask for them. Raises BadSettings for names of voices that nobody knows; BadInput."""
    from polydub.review.voices import check_voices as checked

    if names and (why := checked(call.dub, names, pool_of(call))):
        output.say(why)


def finish(call: Called, change: Change | None, *, rendering: bool = True, more: Mapping[str, Any] | None = None) -> int:
    """Tells what was changed, makes the film with it, and gives the result.

    Args: rendering: whether the film changes by it. more: facts for a program; `done` says what became of the change.
    """
    told: dict[str, Any] = {"project": str(call.dub.folder), "language": call.dub.language, "change": _changed(change)}
    told |= more or {}
    done = told.setdefault("done", "changed")
    if not call.as_json:
        output.say(f"{done}: {change.what}" if change else "nothing changed")
    now = change is not None and rendering and not call.given.get("no_render")
    if now and change:
        try:
            told |= render(call, change.lines)
        except PolydubError:
            if told["done"] == "changed":
                output.say(f"the change is noted all the same; to take it back: {typed(call, 'undo')}")
            raise
    elif change and rendering:
        output.say(f"noted; make the film with: {typed(call, 'render')}")
    if call.as_json:
        touched = set(change.lines) if change else set[str]()
        output.result_json(
            told | {"rendered": now, "lines": [line_facts(row) for row in listing(call.dub) if row.id in touched]}
        )
    elif now:
        output.result(told["film"])
    return 0


def typed(call: Called, action: str) -> str:
    """An action on the same dub as a person types it."""
    given = call.given
    told = [(f"--{name}", given[name]) for name in ("lang", "output", "store", "job") if given.get(name) is not None]
    return shlex.join(["polydub", "review", given["project"], action, *(str(part) for pair in told for part in pair)])


def _changed(change: Change | None) -> dict[str, Any] | None:
    return None if change is None else {"what": change.what, "when": change.when.isoformat(), "lines": list(change.lines)}


def render(call: Called, lines: Collection[str] = ()) -> dict[str, Any]:
    """Makes the film with what is noted; facts of it for a program. Told are notices that are new, or about these lines."""
    from polydub.cli.dub import share_memory
    from polydub.cli.progress import Meter
    from polydub.dubbing import Ears
    from polydub.review.rendering import Render
    from polydub.review.rendering import render as make

    given = call.given
    known = {one["text"] for one in report(call.dub).get("notices", [])}
    share_memory()
    with Meter() as meter:
        ears = Ears(meter.show, meter.say, meter.ask, debug=given["debug"])
        outcome = make(call.dub, pool_of(call), ears, Render(media=given.get("media")))
    fresh = tuple(n for n in outcome.notices if given["verbose"] or n.line in lines or n.text not in known)
    output.say_notices(fresh, given["verbose"])
    notices = [{"code": n.code, "text": n.text, "severity": n.severity, "line": n.line} for n in outcome.notices]
    facts = str(outcome.report.with_suffix(".json"))
    return {"film": str(outcome.film), "report": facts, "calls": outcome.called, "notices": notices}


def line_facts(row: Any) -> dict[str, Any]:
    """A line for a program."""
    from dataclasses import asdict

    return asdict(row)
