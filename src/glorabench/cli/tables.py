"""The commands that print tables: `table`, `compare`, `count`. Light until called."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from glorabench.cli.options import Allow, Conditions, Form, FormOption, Into, Results, ShowNotes, SuiteName, Words
from glorabench.errors import BadInput

if TYPE_CHECKING:
    from glorabench.analysis.cells import NamedGroup
    from glorabench.reports.arrangement import Arrangement


_LongTable = Annotated[bool, typer.Option("--long", help="A row for each task and method, with costs, for any suite.")]
_Brief = Annotated[bool, typer.Option("--brief", help="Without how each method stands to the best of each task.")]
_Published = Annotated[bool, typer.Option("--published", help="Hold every task, too, against what papers print.")]
_Why = Annotated[
    str | None,
    typer.Option("--why", metavar="METHOD/TASK", help="The runs behind this cell, and in what they differ."),
]
_Sort = Annotated[
    str | None, typer.Option("--sort", metavar="COLUMN", help="Largest number first; +COLUMN for the smallest first.")
]
_Columns = Annotated[
    str | None, typer.Option("--columns", metavar="A,B,...", help="Only these columns, in this order.")
]
_Bold = Annotated[bool, typer.Option("--bold", help="With --format tex: what is best in bold.")]
_Rename = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="Another name for a method or a column; may be repeated."),
]


def table(
    suite: SuiteName = "mini",
    conditions: Conditions = None,
    results: Results = None,
    form: Annotated[Literal["text", "md", "tex", "html", "csv"], FormOption] = "text",
    into: Into = None,
    long: _LongTable = False,
    brief: _Brief = False,
    published: _Published = False,
    why: _Why = None,
    notes: ShowNotes = False,
    sort: _Sort = None,
    columns: _Columns = None,
    bold: _Bold = False,
    rename: _Rename = None,
) -> int:
    """Print the table of a suite from its records.

    Without records of a suite that papers report, it is the published table.

    Examples:
        glorabench table mini --notes                            with what the signs mean, and every comparison
        glorabench table mini --sort 'mean 5' --columns 'method,mean 5,params'
        glorabench table mini --format tex --bold --rename 'GLoRA, random path=GLoRA'

    Raises:
        BadInput: there is neither, a record is damaged, no record meets the conditions, they are of several protocols
            or selections, there is no such cell, column or name, or the file has no block for the suite.
    """
    from glorabench.reports.arrangement import parse_arrangement

    words = conditions or []
    if "=" in suite:  # the suite may be left out
        suite, words = "mini", [suite, *words]
    if why is not None:
        return _explain(suite, results, why, words)
    wish = parse_arrangement(sort, columns, rename or ())
    groups = _groups_of_suite(suite, words, results)
    if form == "csv" and into is None:
        _print_csv(suite, groups, long, published)
        return 0
    _print_table(suite, groups, wish, _Look(form, into, long, published, brief, notes, bold))
    return 0


@dataclass(frozen=True)
class _Look:
    """The options of a table that say how it looks."""

    form: str
    into: str | None
    long: bool
    published: bool
    brief: bool
    notes: bool
    bold: bool


def _groups_of_suite(suite: str, words: Sequence[str], results: Path | None) -> list[NamedGroup]:
    """The records of a suite that meet conditions, by table; empty where only published figures are there."""
    from glorabench.analysis.cells import named_groups_of
    from glorabench.records import filters
    from glorabench.records.store import no_records, suite_by_file
    from glorabench.reports.tables import published as published_tables

    records, conditions = list(suite_by_file(suite, results).values()), filters.parse_conditions(words)
    if records:
        records = filters.filter_records(records, conditions)
        filters.one_protocol(records)
    else:
        suites = published_tables.suites_with_papers()
        if conditions or suite not in suites or (results is not None and not results.is_dir()):
            raise no_records(suite, results, suites)
    if not records:
        print(f"no records of suite '{suite}': these are published figures", file=sys.stderr)
    return named_groups_of(records)


def _print_csv(suite: str, groups: Sequence[NamedGroup], long: bool, published: bool) -> None:
    """The table for programs, which calls a configuration by the words of its config."""
    from glorabench.analysis.cells import Group
    from glorabench.reports.tables.published import published_csv
    from glorabench.reports.tables.suite import suite_csv

    plain = [Group(group.records) for group in groups]
    print(suite_csv(plain, long, published) if plain else published_csv(suite), end="")


def _print_table(suite: str, groups: Sequence[NamedGroup], wish: Arrangement, look: _Look) -> None:
    from glorabench.reports.arrangement import arrange_part
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables.published import published_parts
    from glorabench.reports.tables.suite import parts_markdown, suite_parts, with_sentences

    parts = suite_parts(groups, look.long, look.published, look.brief) if groups else published_parts(suite)
    # another head is that of a comparison with published figures
    parts = [arrange_part(part, wish) if part.head == parts[0].head else part for part in parts]
    if groups and look.form == "text" and look.into is None:
        parts = with_sentences(parts, groups)
    text = parts_markdown(parts, groups) if groups else None
    notes = look.notes or not groups
    output_parts(parts, look.form, look.into, f"table:{suite}", text, notes, look.bold)


def _explain(suite: str, results: Path | None, cell: str, words: Sequence[str]) -> int:
    """Print the runs behind a cell."""
    from glorabench.records import filters
    from glorabench.records.store import no_records, suite_by_file
    from glorabench.reports.tables.explain import explanation

    records = suite_by_file(suite, results)
    if not records:
        raise no_records(suite, results)
    ids = {r.run_id for r in filters.filter_records(records.values(), filters.parse_conditions(words))}
    print("\n".join(explanation({path: r for path, r in records.items() if r.run_id in ids}, cell)))
    return 0


def compare(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="The suite, then KEY=VALUE of one side and of the other."),
    ] = None,
    results: Results = None,
    at: Annotated[
        Literal["params", "flops", "time"] | None,
        typer.Option("--at", help="Of several configurations, compare the pair that is nearest in this cost."),
    ] = None,
    form: Annotated[Form, FormOption] = "text",
    into: Into = None,
    notes: ShowNotes = False,
) -> int:
    """Compare two configurations, task by task, from records.

    Examples:
        glorabench compare method=lora method=glora         the second side begins where the first key comes again
        glorabench compare mini --results results method=lora method=glora search=evolution
        glorabench compare vtab1k method=lora method=glora --at params   of several configurations the nearest in it

    Raises:
        BadInput: no records, words that choose nothing or too much, or nothing in common.
    """
    from glorabench.records.store import load_suite
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables.comparison import comparison_part

    suite, first, second = two_sides(words or [])
    part = comparison_part(load_suite(suite, results)[1], first, second, at)
    output_parts([part], form, into, f"compare:{suite}", notes=notes)
    return 0


def two_sides(words: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The suite and the conditions on both sides; values are YAML, `2,4` is any of them.

    Raises:
        BadInput: not two sides, two suites, or a value that is no YAML.
    """
    from glorabench.records import filters

    suites = [word for word in words if "=" not in word]
    pairs = [word for word in words if "=" in word]
    keys = [word.partition("=")[0] for word in pairs]
    starts = [index for index, key in enumerate(keys) if key == keys[0]]
    if len(suites) > 1 or len(starts) != 2:
        raise BadInput(
            f"two sides are needed, the second from where the first key comes again, and at most one suite; got "
            f"'{' '.join(words)}'. For example: glorabench compare mini method=lora method.rank=8 method=glora"
        )
    return (
        (suites or ["mini"])[0],
        filters.parse_conditions(pairs[: starts[1]]),
        filters.parse_conditions(pairs[starts[1] :]),
    )


def count(
    words: Words = None,
    form: Annotated[Literal["text", "md"], FormOption] = "text",
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FILE", help="Replace the block between the markers table:counts of this file."),
    ] = None,
    allow: Allow = None,
) -> int:
    """Print exact parameter counts beside the published ones.

    They are counted for every method, head apart, on ViT-B/16, ConvNeXt-B and LLaMA-7B, or for what the words say,
    beside what explains a difference. No weights are needed.

    Examples:
        glorabench count                                            three tables, all methods
        glorabench count backbone=vit_b16                           one table
        glorabench count method=lora method.rank=2,4,8 'method.targets=[q,v]' backbone=vit_b16,llama_7b

    Raises:
        BadInput: the words are wrong, no backbone can host their method, or the file has no markers.
    """
    from glorabench.config.instantiate import allow_packages

    with allow_packages(allow or ()):
        _print_counts(words or [], form, into)
    return 0


def _print_counts(words: Sequence[str], form: str, into: Path | None) -> None:
    from glorabench.analysis import published_counts
    from glorabench.cli.streams import raise_if_reader_left
    from glorabench.reports.rendering import embed
    from glorabench.reports.tables import param_counts
    from glorabench.training.measure.profiling import head_size, trained_size

    def size(overrides: Sequence[str]) -> int:
        raise_if_reader_left()  # nobody reads what is counted from here on
        return trained_size(overrides)

    counting = param_counts.Counting(size, head_size)
    config = published_counts.load_count_config()
    tables: Iterable[param_counts.CountTable] = param_counts.count_tables(config, words, counting)
    if any(word.partition("=")[0] == "method" for word in words):
        tables = list(tables)
        lines = [line for table in tables for line in table.lines]
        if not any(size for _, size, *_ in lines):
            raise BadInput(lines[0][3].removeprefix(param_counts.UNDEFINED))
    if into is not None:
        embed("\n".join(map(param_counts.counts_markdown, tables)), "table:counts", into)
    elif form == "md":
        print("\n".join(map(param_counts.counts_markdown, tables)), end="")
    else:
        for table in tables:
            param_counts.show_counts(table)
