"""The commands of `avacast`: the entry points that the packages offer, as one tree of typer's groups.

Each command is an entry point in the group `avacast.commands`: a function with typer's annotations. It is loaded when
it is used, so this module imports none of them and `avacast --help` needs no model library. What becomes of a command's
end is the business of `cli`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from avacast.engine.errors import BadSetting, Unavailable

_GROUP = "avacast.commands"

_HELP = """Turn one picture and a voice into live, lip-synced video.

Examples:

    avacast serve                             talk to an avatar live

    avacast say "Hello, I am Ada."            a video from text

    avacast render ada speech.wav -o ada.mp4  a video from a recording

The embedded pocket model animates drawn faces only. `avacast COMMAND --help` tells more.
"""


class _InstalledCommands(TyperGroup):
    """A group whose commands are the installed entry points; `train.pocket` is `pocket` in the group `train`."""

    prefix = ""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # typer's signature
        return sorted({name.partition(".")[0] for name in self._entries()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # typer's signature
        entries = self._entries()
        if cmd_name in entries:
            return _load(cmd_name, entries[cmd_name])
        members = [entry for name, entry in entries.items() if name.startswith(f"{cmd_name}.")]
        return _group(cmd_name, members[0], f"{self.prefix}{cmd_name}.") if members else None

    def _entries(self) -> dict[str, EntryPoint]:
        found = entry_points(group=_GROUP)
        return {entry.name.removeprefix(self.prefix): entry for entry in found if entry.name.startswith(self.prefix)}


class WrongUsage(BadSetting):
    """A command that was typed wrongly; `exit_code` is typer's."""

    def __init__(self, error: typer.TyperException) -> None:
        super().__init__(_usage(error))
        self.exit_code = error.exit_code


def run(arguments: Sequence[str]) -> int | None:
    """Runs the command that `arguments` name; returns its exit code, None for 0.

    Raises WrongUsage, and whatever the command raises.
    """
    application = typer.Typer(cls=_InstalledCommands, help=_HELP, add_completion=False, rich_markup_mode=None)
    application.callback()(_options)
    try:
        return typer.main.get_command(application).main(list(arguments), prog_name="avacast", standalone_mode=False)
    except typer.TyperException as error:
        raise WrongUsage(error) from error
    except typer.Abort as error:  # the end of the input where an answer was wanted
        raise KeyboardInterrupt from error


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"avacast {version('avacast')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Carries the options that stand before a command."""


def _load(name: str, entry: EntryPoint) -> Any:
    """The click command behind an entry point, or one that says why it cannot be had here."""
    try:
        target: Callable[..., None] = entry.load()
    except ImportError as error:
        target = _unavailable(name, error)
    application = typer.Typer(add_completion=False, rich_markup_mode=None)
    text = inspect.getdoc(target) or ""
    application.command(name, help=text, short_help=_first_sentence(text))(target)
    return typer.main.get_command(application)


def _group(name: str, member: EntryPoint, prefix: str) -> Any:
    """The click group of the commands that start with `prefix`; its help is what the package says of itself."""
    package = importlib.import_module(member.module.rpartition(".")[0])
    application = typer.Typer(
        cls=_InstalledCommands,
        name=name,
        help=package.__doc__,
        short_help=_first_sentence(package.__doc__ or ""),
        add_completion=False,
        rich_markup_mode=None,
    )
    application.callback()(lambda: None)
    group = typer.main.get_command(application)
    assert isinstance(group, _InstalledCommands)
    group.prefix = prefix
    return group


def _first_sentence(text: str) -> str:
    """The line of a list of commands, whole; where it is long the list wraps it."""
    return " ".join(text.partition("\n\n")[0].split())


def _unavailable(name: str, error: ImportError) -> Callable[[], None]:
    def command() -> None:
        raise Unavailable(f"`avacast {name}` cannot be loaded ({error}); install what is missing") from error

    command.__doc__ = f"Not available here: {error}."
    return command


def _usage(error: typer.TyperException) -> str:
    """What was typed wrongly, and which help has the right form."""
    text = error.format_message().replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{text}; see `{context.command_path if context else 'avacast'} --help`"
