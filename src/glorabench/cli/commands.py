"""All commands in groups, as one typer application. A command is a typed function, and its docstring is its help."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from glorabench import __version__
from glorabench.cli import analyses, backbones, data, doctor, export, pages, run, runs, tables
from glorabench.cli.completion import complete_bash
from glorabench.errors import BadInput, nearest

COMMAND_GROUPS: dict[str, tuple[Callable[..., int], ...]] = {
    "Run and search": (run.run, run.search, run.test_run),
    "Look around": (backbones.backbone, runs.list_runs, runs.show, runs.delete),
    "Tables": (tables.table, tables.compare, tables.count),
    "Analysis": (analyses.choose, analyses.cost, analyses.forgetting, analyses.optimism, analyses.tuned),
    "Pages": (pages.report, pages.figure, pages.page, pages.push),
    "Export": (export.export,),
    "Data and machine": (data.data, doctor.doctor, run.pretrain),
}
EXAMPLES = """
glorabench run experiment=quickstart                 GLoRA against LoRA on embedded images, with a table
glorabench run method=lora data.task=digits seed=1   one run
glorabench run -m method=lora,glora seed=0,1,2       every combination; type it again to resume
glorabench count backbone=vit_b16                    exact parameter counts, no weights needed
glorabench doctor                                    what is missing on this machine
glorabench run --help                                the words and options of one command
"""


def command_name(function: Callable[..., int]) -> str:
    """What the command of a function is called: `list_runs` is `list`, which Python has a meaning for."""
    return function.__name__.partition("_")[0]


class _Flags:
    """Flags that are not given are False: to read the None of typer's own flags it would import pydantic."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, with those defaults."""
        parameters = super().get_params(ctx)  # type: ignore[misc] # of the command that it is mixed into
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.default is None:
                parameter.default = False
        return parameters


class Command(_Flags, TyperCommand):
    """A command whose help names its arguments as the usage line does."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the section of the arguments and that of the options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            if (row := parameter.get_help_record(ctx)) is None:
                continue
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((" ".join(parameter.get_usage_pieces(ctx)), row[1]))
            else:
                sections["Options"].append(row)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Commands(_Flags, TyperGroup):
    """The commands, which its help lists in groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group: its commands, and the first line of the help of each."""
        for title, functions in COMMAND_GROUPS.items():
            commands = [self.commands[command_name(function)] for function in functions]
            with formatter.section(title):
                formatter.write_dl([(c.name or "", (c.help or "").partition("\n")[0]) for c in commands])


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"glorabench {__version__}")
        raise typer.Exit


def _no_command(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Fine-tune one frozen backbone with one method on one task, record it, and compare records."""


def _application() -> typer.Typer:
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
    application = typer.Typer(cls=Commands, rich_markup_mode=None, context_settings=settings)
    application.callback(epilog=_examples(EXAMPLES))(_no_command)
    for functions in COMMAND_GROUPS.values():
        for function in functions:
            text, _, examples = (inspect.getdoc(function) or "").partition("\n\nRaises:")[0].partition("\n\nExamples:")
            application.command(command_name(function), cls=Command, help=text, epilog=_examples(examples))(function)
    return application


def _examples(lines: str) -> str | None:
    """The lines as a paragraph that is not wrapped; None if there are none."""
    return f"\b\nExamples:\n{textwrap.indent(inspect.cleandoc(lines), '  ')}" if lines.strip() else None


def call(words: Sequence[str]) -> int:
    """Run the command that the words of a command line name; its exit code.

    Raises:
        BadInput: there is no such command or option, or the command refuses a word.
    """
    complete_bash()
    try:
        return get_command(_application()).main(list(words), prog_name="glorabench", standalone_mode=False)
    except typer.TyperException as error:
        raise _refusal(error) from error


def _refusal(error: typer.TyperException) -> BadInput:
    """What is wrong with a command line, in one line."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    command = context.command_path if context else "glorabench"
    if context and option:
        options = [
            name for parameter in context.command.get_params(context) for name in parameter.opts if name[0] == "-"
        ]
        if option not in options:
            return BadInput(f"`{command}` has no option '{option}'{nearest(option, options)}")
    text = _bad_value(error) or error.format_message()
    return BadInput(f"{text[0].lower()}{text[1:].rstrip('.')} (see `{command} --help`)")


def _bad_value(error: typer.TyperException) -> str | None:
    """What is wrong with the value of an option; None if that is not the fault."""
    from pydantic import ValidationError

    parameter, cause = getattr(error, "param", None), error.__cause__
    if parameter is None or not isinstance(cause, ValidationError):
        return None
    fault, option, choices = cause.errors()[0], parameter.opts[-1], parameter.type_descriptor.choices
    if choices:
        return f"{option} '{fault['input']}'{nearest(fault['input'], choices)}"
    return f"{option} '{fault['input']}': {fault['msg']}"
