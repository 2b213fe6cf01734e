"""Kill commands at file operations and at random moments, repeat them, and compare with commands that nobody killed.

`python tests/kills.py FOLDER SCENARIO=KILLS ...` prints a line of JSON for each scenario. All is imported once; each
command runs in a fork of this process, so that a kill costs no start. A fork dies by SIGKILL just before its n-th
operation on a file below FOLDER (opening to write, renaming, removing, making a folder), or after a random share of the
time it needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

FAST = (
    "logger=none",
    "progress=none",
    "latency_rounds=0",
    "train.epochs=2",
    "train.warmup_epochs=0",
    "checkpoint_every=1",
)
SMALL = ("search.epochs=1", "search.algorithm.batch=3", "search.algorithm.total=6")
TEXT = (
    "backbone=llama_mini",
    "data=mini_text",
    "train=mini_text",
    "trainer.limit_train_batches=4",
    "train.accumulate=2",
    "data.max_new_tokens=8",
)
_OPERATIONS = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
    "shutil.rmtree",
)
_MEASURED = re.compile(r"seconds|_s$|_ms$|peak|latency|^threads$|^git$")  # what no two runs share


@dataclass(frozen=True)
class Scenario:
    """A command, what stands before it, and what must be the same after it however often it was killed.

    Args:
        words: the command, for a folder.
        prepare: makes what the command needs in a new folder.
    """

    words: Callable[[Path], list[str]]
    prepare: Callable[[Path], None] = lambda folder: None


def _finished_run(folder: Path) -> None:
    code, _ = call(["run", *FAST, "method=lora", f"results_dir={folder / 'out'}", f"cache_dir={folder / 'cache'}"])
    if code:
        raise RuntimeError(f"the run that is needed first: exit code {code}")


def _page(folder: Path) -> None:
    _finished_run(folder)
    lines = [f"line {number}" for number in range(500)]
    (folder / "page.md").write_text("\n".join([*lines, "<!-- table:mini -->", "<!-- /table:mini -->", *lines]))


def _id(folder: Path) -> str:
    return next((folder / "out" / "runs").rglob("*.json")).stem.rpartition("-")[2]


def _run(*words: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["run", *FAST, *words, f"results_dir={folder / 'out'}", f"cache_dir={folder / 'cache'}"]


SCENARIOS = {
    "run": Scenario(_run("method=lora")),
    "sweep": Scenario(_run("-m", "method=linear", "data.task=digits", "seed=0,1,2")),
    "search": Scenario(_run("method=glora", "method.path=supernet", "search=random", *SMALL)),
    "retrain": Scenario(
        _run("method=glora", "method.path=supernet", "search=random", "search.winner=retrain", *SMALL)
    ),
    "cache": Scenario(_run("method=linear", "data.task=digits", "train.cache_features=true")),
    "text": Scenario(_run(*TEXT, "method=lora", "method.dropout=0.1", "data.task=record_form")),
    "text search": Scenario(
        _run(
            *TEXT, "data.task=facts", "method=glora", "method.path=supernet", "search=random", "search.winner=retrain",
            *SMALL,
        )
    ),
    "fake": Scenario(lambda folder: ["data", "fake", "fewshot", f"root={folder / 'fake'}"]),
    "export": Scenario(
        lambda folder: ["export", f"run={_id(folder)}", "to=merged", f"results_dir={folder / 'out'}"], _finished_run
    ),
    "push": Scenario(lambda folder: ["push", "--results", str(folder / "out")], _finished_run),
    "into": Scenario(
        lambda folder: ["table", "mini", "--results", str(folder / "out"), "--into", str(folder / "page.md")], _page
    ),
    "report": Scenario(lambda folder: ["report", "mini", "--results", str(folder / "out")], _finished_run),
}  # fmt: skip


def call(
    words: list[str], kill_at: int | None = None, below: Path | None = None, after: float = 0.0
) -> tuple[int, int]:
    """Run a command in a fork; its exit code (-9: killed) and how many operations on files it did below a folder."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(words, kill_at, below, write_end)
    os.close(write_end)
    if after:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as file:
        count = len(file.read())
    return os.waitstatus_to_exitcode(status), count


def _be_child(words: list[str], kill_at: int | None, below: Path | None, pipe: int) -> None:
    from glorabench.cli import main

    seen = 0

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if below is None or not _is_operation(event, arguments, str(below)):
            return
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(pipe, b".")

    sys.addaudithook(listen)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    if "KILLS_LOUD" not in os.environ:
        os.dup2(quiet, 2)
    code = 70
    try:
        code = main(words)
    finally:
        os._exit(code)


def _is_operation(event: str, arguments: tuple[Any, ...], below: str) -> bool:
    if event == "open":
        mode, flags = str(arguments[1] or ""), int(arguments[2] or 0)
        if not (set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return False
    elif event not in _OPERATIONS:
        return False
    return any(isinstance(a, str | bytes | os.PathLike) and os.fsdecode(a).startswith(below) for a in arguments)


def state(folder: Path) -> dict[str, Any]:
    """What lies in a folder: records without what is measured, hashes of the other files; W&B's by their number."""
    files: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if "/wandb/" in name:
            run = re.search(r"offline-run-\w+-(\w+)", name)
            files.setdefault("wandb runs", set()).update([run[1]] if run else [])
        elif name.endswith(".lock") or "/hydra/" in name or name.endswith(".jsonl"):
            continue
        elif ("/runs/" in name and name.endswith(".json")) or re.search(r"record-\w+\.json$", name):
            files[name] = _counted(json.loads(path.read_text()))
        elif name.endswith(".safetensors") and "/supernets/" in name:
            files[name] = {key: hashlib.sha256(t.numpy().tobytes()).hexdigest() for key, t in load_file(path).items()}
        elif name.endswith(("report.html", "page.md")):
            files[name] = len(path.read_text()) > 1000
        else:
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    files["wandb runs"] = sorted(files.get("wandb runs", []))
    return files


def _counted(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _counted(value) for key, value in node.items() if not _MEASURED.search(key)}
    return [_counted(value) for value in node] if isinstance(node, list) else node


def campaign(folder: Path, name: str, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill a scenario `kills` times, each in a folder of its own; what was lost, differed or was left behind."""
    scenario, draw = SCENARIOS[name], random.Random(seed)
    base, place = folder / "base", folder / "x"  # one place for all: paths of equal length, in equal files
    base.mkdir(parents=True)

    def fresh() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(base, place)

    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    scenario.prepare(place)
    shutil.rmtree(base)
    shutil.copytree(place, base)
    started = time.perf_counter()
    code, operations = call(scenario.words(place), below=place)
    seconds = time.perf_counter() - started
    wanted = state(place)
    report: dict[str, Any] = {"scenario": name, "operations": operations, "kills": 0, "wrong": []}
    if code:
        return {**report, "wrong": [f"without a kill: exit code {code}"]}
    at_operations = draw.sample(range(1, operations + 1), min(kills - kills // 3, operations))
    plan: list[tuple[int | None, float]] = [(n, 0.0) for n in sorted(at_operations)]
    plan += [(None, draw.uniform(0.05, 0.95) * seconds) for _ in range(kills - len(plan))]
    for kill_at, after in plan:
        fresh()
        code, _ = call(scenario.words(place), kill_at, place, after)
        report["kills"] += code == -signal.SIGKILL
        again, _ = call(scenario.words(place), below=place)
        told = f"{name} at {f'operation {kill_at}' if kill_at else f'{after:.2f} s'}"
        if again:
            report["wrong"].append(f"{told}: exit code {again}")
        elif (found := state(place)) != wanted:
            differ = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
            report["wrong"].append(f"{told}: differs in {differ[:4]}")
    return report


if __name__ == "__main__":
    import torch

    import glorabench.backbones.llama
    import glorabench.cli.commands
    import glorabench.export.summary
    import glorabench.reports.html.report
    import glorabench.reports.tables.suite
    import glorabench.reports.wandb_push
    import glorabench.search.loop
    import glorabench.training.sweep  # noqa: F401

    torch.set_num_threads(1)
    for word in sys.argv[2:]:  # SCENARIO=KILLS
        scenario, _, number = word.partition("=")
        print(json.dumps(campaign(Path(sys.argv[1]).resolve() / scenario, scenario, int(number))), flush=True)
