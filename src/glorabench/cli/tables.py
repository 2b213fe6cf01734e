"""The commands that print tables: `table`, `compare`, `count`, and the runs behind a cell."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from glorabench.analysis.cells import groups_of
from glorabench.errors import BadInput
from glorabench.records import filters
from glorabench.records.store import by_file, gathered, nothing
from glorabench.reports.rendering import embed, put
from glorabench.reports.tables import published as published_tables
from glorabench.reports.tables.comparison import compared
from glorabench.reports.tables.explain import explanation
from glorabench.reports.tables.suite import csv, parts, parts_markdown


def table(
    suite: str,
    results: Path | None,
    form: str,
    into: str | None,
    where: Sequence[str] = (),
    long: bool = False,
    published: bool = False,
    brief: bool = False,
) -> int:
    """The `table` command; without records it is the published table, unless `results` is no folder.

    Args:
        suite: of the records.
        results: folder of the records.
        form: text, md, csv, tex or html.
        into: a file, see `rendering.put`.
        where: KEY=VALUE, conditions on the records; a published table takes none.
        long: a row for each task and method also where the suite has a layout.
        published: every task is held against what papers print.
        brief: not how each method stands to the best of each task.

    Raises:
        BadInput: there is neither, a record is damaged, no record meets the conditions, they are of several protocols
            or selections, or the file has no block for the suite.
    """
    records, wanted = list(by_file(suite, results).values()), filters.read(where)
    if records:
        records = filters.matching(records, wanted)
        filters.one_protocol(records)
    elif wanted or suite not in published_tables.suites() or (results is not None and not results.is_dir()):
        raise nothing(suite, results, published_tables.suites())
    if not records:
        print(f"no records of suite '{suite}': these are published figures", file=sys.stderr)
    if form == "csv" and into is None:
        print(csv(groups_of(records), long, published) if records else published_tables.as_csv(suite), end="")
        return 0
    made = parts(groups_of(records), long, published, brief) if records else published_tables.parts(suite)
    put(made, form, into, f"table:{suite}", parts_markdown(made, records) if records else None)
    return 0


def compare(words: Sequence[str], results: Path | None, at: str | None, form: str, into: str | None = None) -> int:
    """The `compare` command.

    Args:
        words: a suite (mini, if none) and key=value for both sides; the second begins where the first key comes again.
        results: folder of the records.
        at: params, flops or time, where a side is several configurations: the pair that is nearest in it.
        form: text, md, tex or html.
        into: a file, see `rendering.put`.

    Raises:
        BadInput: no records, words that choose nothing or too much, or nothing in common.
    """
    suite, first, second = parsed(words)
    put([compared(gathered(suite, results)[1], first, second, at)], form, into, f"compare:{suite}")
    return 0


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The suite and the conditions on both sides; values are YAML, `2,4` is any of them.

    Raises:
        BadInput: not two sides, two suites, or a value that is no YAML.
    """
    suites = [word for word in words if "=" not in word]
    pairs = [word for word in words if "=" in word]
    keys = [word.partition("=")[0] for word in pairs]
    starts = [index for index, key in enumerate(keys) if key == keys[0]]
    if len(suites) > 1 or len(starts) != 2:
        raise BadInput(
            f"two sides are needed, the second from where the first key comes again, and at most one suite; got "
            f"'{' '.join(words)}'. For example: glorabench compare mini method=lora method.rank=8 method=glora"
        )
    return (suites or ["mini"])[0], filters.read(pairs[: starts[1]]), filters.read(pairs[starts[1] :])


def count(words: Sequence[str], form: str = "text", into: Path | None = None) -> int:
    """Print the tables as `form`, or write them `into` a file between its markers.

    Raises:
        BadInput: the words are wrong, no backbone can host their method, or the file has no markers.
    """
    from glorabench.analysis import published_counts
    from glorabench.reports.tables import param_counts
    from glorabench.training.measure.profiling import head_size, trained_size

    made: Iterable[param_counts.Table] = param_counts.tables(
        published_counts.book(), words, param_counts.Counting(trained_size, head_size)
    )
    if any(word.partition("=")[0] == "method" for word in words):
        made = list(made)
        lines = [line for each in made for line in each.lines]
        if not any(size for _, size, *_ in lines):
            raise BadInput(lines[0][3].removeprefix(param_counts.UNDEFINED))
    if into is not None:
        embed("\n".join(map(param_counts.markdown, made)), "table:counts", into)
    elif form == "md":
        print("\n".join(map(param_counts.markdown, made)), end="")
    else:
        for each in made:
            param_counts.show(each)
    return 0


def explain(suite: str, results: Path | None, cell: str, where: Sequence[str] = ()) -> int:
    """The `table SUITE --why CELL` command; `where` are conditions KEY=VALUE on the records.

    Raises:
        BadInput: there are no records, none that meets the conditions, or no such cell.
    """
    found = by_file(suite, results)
    if not found:
        raise nothing(suite, results)
    kept = {r.run_id for r in filters.matching(found.values(), filters.read(where))}
    found = {path: r for path, r in found.items() if r.run_id in kept}
    print("\n".join(explanation(found, cell)))
    return 0
