"""The `export` command: a finished run as files for others."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

from glorabench.errors import BadInput, one_of
from glorabench.export import folder
from glorabench.export.folder import FORMATS, Export
from glorabench.files import safe_name
from glorabench.training.trained_network import WEIGHTS, chosen, values


def export(words: Sequence[str]) -> int:
    """The `export` command: run=ID to=FORMAT and, as needed, out=, results_dir= and backbone.weights_from=.

    Raises:
        BadInput: a word that it does not know, or whatever `chosen` and `folder.export` refuse.
    """
    given = values(words, ["run", "to", "out", "results_dir", WEIGHTS])
    for key, value in (("run", "ID"), ("to", "|".join(FORMATS))):
        if key not in given:
            raise BadInput(f"export needs {key}={value}")
    one_of("to", given["to"], FORMATS)
    root, record, overrides = chosen(given)
    method, task = safe_name(record.names["method"]), safe_name(record.names["task"])
    name = f"{method}-{task}-s{record.config['seed']}-{record.run_id}-{given['to']}"
    out = Path(given["out"]).expanduser() if "out" in given else root / "exports" / name
    show(
        folder.export_run(record, root / "adapters" / f"{record.run_id}.safetensors", given["to"], out, overrides),
        given["to"],
    )
    return 0


def show(made: Export, to: str) -> None:
    """Print what was written and how to load it."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    grid = Table("file", "bytes", "format", "parameters", "logits off by", title=str(made.folder))
    for path in sorted(made.folder.rglob("*.*")):
        numbers, off = "", ""
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118 (it is no mapping)
            numbers = f"{sum(map(math.prod, shapes)):,}"
            off = f"{made.difference:.0e}"
        grid.add_row(path.name, f"{path.stat().st_size:,}", to, numbers, off)
    console.print(grid)
    print("to load it:\n")
    print("\n".join(f"    {line}" for line in made.lines))
