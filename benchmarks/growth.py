"""How the readers of records grow with the number of configurations: CPU seconds and peak memory of each command.

    python benchmarks/growth.py
    python benchmarks/growth.py --sizes 380,760 --commands table,cost
    python benchmarks/growth.py --calls

Records are made in a temporary folder from committed ones: each is of a configuration of its own on one of five tasks,
by a learning rate of its own, with some of its outcomes flipped; its run id is that of its config, so that reading
checks it as it does any other. A second table takes away what a command takes for the smallest size, start of Python
included, and divides by the configurations that were added: what is linear has one number there. Seconds also grow with
what no longer fits into a processor's cache; calls of functions do not.
"""

from __future__ import annotations

import argparse
import os
import pstats
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
from glorabench.records.store import suite_by_file

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
    for r in suite_by_file("mini", _RESULTS).values():
        if r.status == "done" and r.config["seed"] == 0 and not r.search:
            base.setdefault(r.names["method"], {}).setdefault(r.names["task"], r)
    for number in count():
        for method in base:
            for r in base[method].values():
                yield _changed(r, 1 + number / 1000, generator)


def _changed(r: Record, factor: float, generator: np.random.Generator) -> Record:
    train = {**r.config["train"], "lr": r.config["train"]["lr"] * factor}
    config = {**r.config, "train": train}
    outcomes = unpack(r.outcomes_of("top1")).astype(bool) ^ (generator.random(int(r.metrics["n"])) < _FLIPPED)
    return replace(
        r,
        config=config,
        run_id=record.run_id(config),
        outcomes={"top1": pack(outcomes.tolist())},
        metrics={**r.metrics, "top1": float(outcomes.mean())},
    )


def measure(words: Sequence[str]) -> tuple[float, float]:
    """CPU seconds and peak memory in MiB of a command in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "glorabench.cli", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: exit status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def count_calls(words: Sequence[str]) -> int:
    """How many calls of functions a command makes: what grows without the noise of a machine."""
    with tempfile.NamedTemporaryFile(suffix=".pstats") as file:
        python = [sys.executable, "-m", "cProfile", "-o", file.name, "-m", "glorabench.cli"]
        subprocess.run([*python, *words], stdout=subprocess.DEVNULL, check=True)
        return pstats.Stats(file.name).total_calls  # type: ignore[attr-defined]


def main() -> None:
    """Print a line for each size and command, then what each further configuration added."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--calls", action="store_true", help="count calls of functions instead of seconds and bytes")
    args = parser.parse_args()
    sizes, names = [int(size) for size in args.sizes.split(",")], args.commands.split(",")
    figures: dict[str, dict[int, tuple[float, ...]]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        source = records()
        for size, before in zip(sizes, [0, *sizes], strict=False):
            for r in islice(source, size - before):
                record.write_record(r, record.path_of(Path(folder), r.config))
            for name in names:
                words = [*COMMANDS[name], "--results", folder]
                figures[name][size] = (count_calls(words),) if args.calls else measure(words)
                print(f"{name:8} {size:6,} {_text(figures[name][size], 1)}", flush=True)
    print("\nadded by each further configuration:")
    for name in names:
        for size in sizes[1:]:
            added = [x - y for x, y in zip(figures[name][size], figures[name][sizes[0]], strict=True)]
            print(f"{name:8} {size:6,} {_text(added, size - sizes[0])}")


def _text(figures: Sequence[float], configurations: int) -> str:
    if len(figures) == 1:
        return f"{figures[0] / configurations:12,.0f} calls"
    seconds, memory = figures
    if configurations == 1:
        return f"{seconds:8.1f} s {memory:8,.0f} MiB"
    return f"{1e3 * seconds / configurations:8.2f} ms {1024 * memory / configurations:8.0f} KiB"


if __name__ == "__main__":
    main()
