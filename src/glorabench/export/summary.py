"""What an export has written, and how to load it, as text."""

from __future__ import annotations

import math
import sys

from rich.console import Console
from rich.table import Table
from safetensors import safe_open

from glorabench.export.folder import Export


def print_export(files: Export, form: str) -> None:
    """Print the files of an export, and the lines of code that load it.

    Args:
        files: what was written.
        form: the format, as in `to=`.
    """
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    grid = Table("file", "bytes", "format", "parameters", "logits off by", title=str(files.folder))
    for path in sorted(files.folder.rglob("*.*")):
        numbers, off = "", ""
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118 (it is no mapping)
            numbers = f"{sum(map(math.prod, shapes)):,}"
            off = f"{files.difference:.0e}"
        grid.add_row(path.name, f"{path.stat().st_size:,}", form, numbers, off)
    console.print(grid)
    print("to load it:\n")
    print("\n".join(f"    {line}" for line in files.lines))
