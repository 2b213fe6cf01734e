"""How the readers of records grow with the number of configurations: CPU seconds and peak memory of each command.

    python benchmarks/growth.py
    python benchmarks/growth.py --sizes 380,760 --commands table,cost

Records are made in a temporary folder from committed ones: each is of a configuration of its own on one of five tasks,
by a learning rate of its own, with some of its outcomes flipped; its run id is that of its config, so that reading
checks it as it does any other. A second table takes away what a command takes for the smallest size, start of Python
included, and divides by the configurations that were added: what is linear has one number there, within the noise of
the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np

from glorabench.records import record
from glorabench.records.outcomes import pack, unpack
from glorabench.records.record import Record
from glorabench.records.store import by_file

SIZES = (380, 760, 1520, 3040)
COMMANDS = {
    "table": ["table", "mini", "--long"],
    "wide": ["table", "mini"],
    "cost": ["cost", "mini"],
    "report": ["report", "mini"],
}
_FLIPPED = 0.05  # share of the outcomes that differ from those of the committed record
_RESULTS = Path(__file__).parents[1] / "results"


def records() -> Iterator[Record]:
    """As many configurations as asked for, on all tasks before the next one begins."""
    generator = np.random.default_rng(0)
    base: dict[str, dict[str, Record]] = {}
    for r in by_file("mini", _RESULTS).values():
        if r.status == "done" and r.config["seed"] == 0 and not r.search:
            base.setdefault(r.names["method"], {}).setdefault(r.names["task"], r)
    for number in count():
        for method in base:
            for r in base[method].values():
                yield _changed(r, 1 + number / 1000, generator)


def _changed(r: Record, factor: float, generator: np.random.Generator) -> Record:
    train = {**r.config["train"], "lr": r.config["train"]["lr"] * factor}
    config = {**r.config, "train": train}
    outcomes = np.array(unpack(r.outcomes.get("top1", ""))) ^ (generator.random(int(r.metrics["n"])) < _FLIPPED)
    return replace(
        r,
        config=config,
        run_id=record.run_id(config),
        outcomes={"top1": pack(outcomes.tolist())},
        metrics={**r.metrics, "top1": float(outcomes.mean())},
    )


def measured(words: Sequence[str]) -> tuple[float, float]:
    """CPU seconds and peak memory in MiB of a command in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "glorabench.cli", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: exit status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--commands", default=",".join(COMMANDS))
    args = parser.parse_args()
    sizes, names = [int(size) for size in args.sizes.split(",")], args.commands.split(",")
    found: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        made = 0
        for size, source in zip(sizes, [records()] * len(sizes), strict=True):
            for r in islice(source, size - made):
                record.write(r, record.path_of(Path(folder), r.config))
            made = size
            for name in names:
                found[name][size] = measured([*COMMANDS[name], "--results", folder])
                print(f"{name:8} {size:6,} {found[name][size][0]:8.1f} s {found[name][size][1]:8,.0f} MiB", flush=True)
    first = sizes[0]
    print("\nadded by each further configuration:")
    for name in names:
        for size in sizes[1:]:
            seconds, memory = (x - y for x, y in zip(found[name][size], found[name][first], strict=True))
            each = size - first
            print(f"{name:8} {size:6,} {1e3 * seconds / each:8.2f} ms {1024 * memory / each:8.0f} KiB")


if __name__ == "__main__":
    main()
