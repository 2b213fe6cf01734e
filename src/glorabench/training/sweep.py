"""Make the runs of a command line. Runs that have a record are not made again."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from glorabench.config.compose import compose, expand, resolve, take_warmup_notes
from glorabench.config.paths import conf_dir
from glorabench.config.words import quote_paths
from glorabench.data.checks.preflight import check_tasks
from glorabench.errors import BadInput, UnsuitableBackbone
from glorabench.files import check_writable
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.training import ownership, signals
from glorabench.training.reuse import same_data
from glorabench.training.startup import import_without_extras
from glorabench.training.sweep_place import SWEEP_PLACE

_START_TIME = time.time()  # start of the sweep, or of a process that makes some of its runs
_RUNS_OF_OTHERS: set[str] = set()  # runs that this process left to others


def make_runs(words: Sequence[str], multirun: bool) -> tuple[list[dict[str, Any]], list[Path]]:
    """Make the runs of a command line that have no record yet.

    Returns:
        The config of every run, and the path of its record. A run that could not be made has no file there.

    Raises:
        BadInput: the words are wrong or the machine is not ready. Nothing was started.
    """
    plan = plan_runs(words, multirun)
    for folder in {config["results_dir"] for config in plan.configs}:
        _writable(Path(folder))
    for config in plan.configs:
        if config not in plan.missing:  # a run that was killed just after its record left a checkpoint
            shutil.rmtree(record.checkpoint_folder(config), ignore_errors=True)
    plan = check_missing(plan)
    print(f"{len(plan.configs) - len(plan.missing)} of {len(plan.configs)} found", flush=True)
    if plan.missing and plan.is_sweep:
        SWEEP_PLACE.total = len(plan.configs)
        _sweep(plan.words, plan.missing)
    elif plan.missing:
        from glorabench.training.run import run

        run(plan.configs[0])
    return plan.configs, plan.paths


@dataclass(frozen=True)
class Plan:
    """The runs that a command stands for.

    Args:
        words: of the command, paths in quotes.
        is_sweep: it may stand for several.
        configs: of each run.
        paths: of their records.
        missing: the configs of those that have no record of the data which are there now.
        compares_methods: it is a sweep over methods with their own values, so those that do not fit are left out.
        left_out: why a run is left out, by method and backbone.
    """

    words: list[str]
    is_sweep: bool
    configs: list[dict[str, Any]]
    paths: list[Path]
    missing: list[dict[str, Any]]
    compares_methods: bool
    left_out: dict[str, str]


def plan_runs(words: Sequence[str], multirun: bool) -> Plan:
    """The runs that `words` stand for; nothing is written.

    Raises:
        BadInput: a word is wrong.
    """
    take_warmup_notes()  # drop those of an earlier command
    words = quote_paths(words)
    jobs, is_sweep = expand(words, multirun)
    if len(jobs) > 100:
        print(f"{len(jobs):,} runs: composing them takes about {len(jobs) / 10:.0f} s", flush=True)
    compares_methods = is_sweep and _compare_methods(jobs)
    configs_by_id: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for job in jobs:
        try:
            config = compose(job)
        except UnsuitableBackbone as error:
            if not compares_methods:
                raise
            left_out[next(word for word in job if word.startswith("method="))] = str(error).removeprefix("config: ")
        else:
            configs_by_id[record.run_id(config)] = config
    configs = list(configs_by_id.values())
    for note in take_warmup_notes():
        print(note, flush=True)
    paths = [record.path_of(Path(config["results_dir"]), config) for config in configs]
    missing = [config for config, path in zip(configs, paths, strict=True) if not _is_done(path, config)]
    return Plan(words, is_sweep, configs, paths, missing, compares_methods, left_out)


def _compare_methods(jobs: Sequence[Sequence[str]]) -> bool:
    """True for several methods of which no word changes a value: what does not fit is no fault of the command."""
    words = {word for job in jobs for word in job}
    is_changed = any(word.lstrip("+~").startswith("method.") for word in words)
    return not is_changed and sum(word.startswith("method=") for word in words) > 1


def check_missing(plan: Plan) -> Plan:
    """Refuse a whole command before its first training; the plan without the methods that do not fit the backbone.

    Raises:
        BadInput: a run cannot start; the message names the key, the weights or the data.
    """
    left_out, missing = dict(plan.left_out), []
    if not plan.missing and not plan.left_out:
        return plan
    import_without_extras()
    from glorabench.training.build import check_run, check_weights

    for config in plan.missing:
        try:
            check_run(config)
        except UnsuitableBackbone as error:
            if not plan.compares_methods:
                raise
            left_out[f"method={config['names']['method']}"] = str(error)
        else:
            check_weights(config)
            missing.append(config)
    unfit = {id(config) for config in plan.missing} - {id(config) for config in missing}
    runs = [(config, path) for config, path in zip(plan.configs, plan.paths, strict=True) if id(config) not in unfit]
    if left_out and not runs:
        raise BadInput(next(iter(left_out.values())))
    for word, reason in left_out.items():
        print(f"  left out: {word}: {reason}", flush=True)
    check_tasks(config["data"] for config in missing)
    return replace(plan, configs=[c for c, _ in runs], paths=[p for _, p in runs], missing=missing, left_out=left_out)


def _writable(folder: Path) -> None:
    """Refuse a folder that is not writable, before training and not after it."""
    check_writable(folder, "set results_dir=FOLDER", f"results_dir {folder} is not writable")


def _is_done(path: Path, config: dict[str, Any]) -> bool:
    try:
        return path.exists() and (result := record.read_record(path)).status == "done" and same_data(result, config)
    except record.CorruptRecord:
        return False


def _sweep(words: Sequence[str], configs: Sequence[dict[str, Any]]) -> None:
    """Launch the sweep, wait for runs that other processes make, and launch again if these left some unfinished."""
    global _START_TIME
    _START_TIME = time.time()
    _RUNS_OF_OTHERS.clear()
    _launch(words)
    paths = [record.path_of(Path(config["results_dir"]), config) for config in configs]
    open_runs = list(zip(configs, paths, strict=True))
    while open_runs := [(config, path) for config, path in open_runs if not _is_settled(path, config)]:
        busy = [config for config, _ in open_runs if ownership.is_made_elsewhere(config)]
        for config in busy:
            with ownership.own_run(config, title_of_run(config)):
                signals.raise_if_stopping()
        has_waited = bool(busy or _RUNS_OF_OTHERS)
        _RUNS_OF_OTHERS.clear()
        if not has_waited:  # no process makes the open runs: their jobs were lost
            return
        if not all(_is_settled(path, config) for config, path in open_runs):
            _launch(words)


def _is_settled(path: Path, config: dict[str, Any]) -> bool:
    """True if the run has a result, or has failed since this command began."""
    try:
        if _is_done(path, config):
            return True
        return path.exists() and path.stat().st_mtime > _START_TIME and record.read_record(path) is not None
    except (OSError, record.CorruptRecord):
        return False


def _launch(words: Sequence[str]) -> None:
    """Give the sweep to Hydra. Any of its launchers can run `job`."""
    import hydra

    argv = sys.argv
    sys.argv = ["glorabench run", "--multirun", *words]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="run")(job)()
    finally:
        sys.argv = argv


def job(cfg: DictConfig) -> str:
    """Make one run of a sweep, in the process that the launcher chose. A failure is recorded and not raised."""
    from hydra.core.hydra_config import HydraConfig

    from glorabench.training import failures
    from glorabench.training.run import run

    signals.raise_if_stopping()
    hydra_config = HydraConfig.get()
    try:
        config = resolve(cfg, dict(hydra_config.runtime.choices))
    except UnsuitableBackbone:
        return ""  # the command has said why it is left out
    if _is_left_out(config):
        return record.run_id(config)
    path = record.path_of(Path(config["results_dir"]), config)
    if _is_settled(path, config):
        return record.run_id(config)
    line = f"  job {hydra_config.job.num + 1}: {title_of_run(config)}"
    if ownership.is_made_elsewhere(config):
        _RUNS_OF_OTHERS.add(record.run_id(config))
        print(f"{line}: another process makes it", flush=True)
        return record.run_id(config)
    print(line, flush=True)
    SWEEP_PLACE.number = hydra_config.job.num + 1
    SWEEP_PLACE.total = max(SWEEP_PLACE.total, SWEEP_PLACE.number)
    start = time.monotonic()
    try:
        result = run(config)
    except BadInput as error:
        print(f"    failed: {error}", flush=True)
        result = failures.failure(config, error)
        with suppress(BadInput):  # without a record the command says that there is none
            record.write_record(result, path)
    else:
        print(f"    {_outcome(result)}", flush=True)
        SWEEP_PLACE.seconds.append(time.monotonic() - start)
    signals.raise_if_stopping()
    return result.run_id


def _is_left_out(config: dict[str, Any]) -> bool:
    """True for a method that does not fit the backbone. The command has said why, or would have refused to start."""
    from glorabench.training.build import check_run

    try:
        check_run(config)
    except UnsuitableBackbone:
        return True
    except BadInput:
        return False  # the record says it
    return False


def title_of_run(config: dict[str, Any]) -> str:
    """The name of a run in messages."""
    names = config["names"]
    return f"{names['method']} on {names['task']}, seed {config['seed']}"


def _outcome(result: Record) -> str:
    if result.status == "done":
        metric = result.metric
        return f"{metric.label} {metric.with_unit(result.score)}, {result.cost['train_s']:.1f} s of training"
    error = result.error or {}
    return f"failed: {error.get('kind')}: {error.get('message')}"
