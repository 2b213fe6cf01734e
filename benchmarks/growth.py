"""How `table`, `cost` and `report` grow with the number of configurations: CPU seconds and peak memory of each.

    python benchmarks/growth.py [380 760 1520 3040]

The records are made from a committed one: each configuration has a learning rate of its own and the id that belongs to
it. A line for each command and size, and at the end the time per configuration of the largest relative to that of the
smallest: 1 is linear growth.
"""

from __future__ import annotations

import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean

from glorabench import record

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "results" / "runs" / "mini"
SIZES = (380, 760, 1520, 3040)
COMMANDS = (("table", "mini", "--format", "md"), ("cost", "mini", "--format", "md"), ("report", "mini"))


def synthesise(folder: Path, count: int) -> None:
    """Write records of `count` configurations of one method on one task."""
    source = json.loads(next(SOURCE.glob("lora-vit_mini-digits-s0-*.json")).read_text())
    outcomes = record.unpack(source["outcomes"])
    runs = folder / "runs" / "mini"
    runs.mkdir(parents=True)
    for number in range(count):
        data = copy.deepcopy(source)
        data["config"]["train"]["lr"] = round(1e-3 + 1e-6 * number, 6)
        wrong = 1 + number % 599 if number else 0  # one is the best
        right = [outcome and i >= wrong for i, outcome in enumerate(outcomes)]
        data["outcomes"], data["metrics"]["top1"] = record.pack(right), fmean(right)
        data["run_id"] = record.run_id(data["config"])
        (runs / f"lora-vit_mini-digits-s0-{data['run_id']}.json").write_text(json.dumps(data))


def measure(words: tuple[str, ...], folder: Path) -> tuple[float, int]:
    """CPU seconds of a command and the largest memory of it in MiB, in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = [sys.executable, "-m", "glorabench.cli", *words, "--results", str(folder)]
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, "
        "stderr=subprocess.PIPE); sys.stderr.buffer.write(done.stderr); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stdout.split()[-1]) // 1024


def main(sizes: tuple[int, ...]) -> None:
    """Print a line for each command and size, then how far each is from linear."""
    costs: dict[str, list[float]] = {}
    print(f"{'command':<8} {'configurations':>14} {'CPU s':>8} {'MiB':>6} {'file kB':>8}")
    for count in (1, *sizes):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            synthesise(folder, count)
            for words in COMMANDS:
                seconds, memory = measure(words, folder)
                size = sum(path.stat().st_size for path in folder.glob("report*")) // 1000
                costs.setdefault(words[0], []).append(seconds)
                print(f"{words[0]:<8} {count:>14,} {seconds:>8.2f} {memory:>6,} {size:>8,}", flush=True)
    for name, (start, *rest) in costs.items():
        each = [(seconds - start) / count for seconds, count in zip(rest, sizes, strict=True)]
        share = each[-1] / each[0]
        print(f"{name}: {1e3 * each[-1]:.2f} ms a configuration at the largest, {share:.2f} times the smallest")


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
