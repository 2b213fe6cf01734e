"""The record of a run: its content, its id, reading and writing."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

from glorabench import files
from glorabench.errors import BadInput, first_line
from glorabench.records import schema
from glorabench.records.metrics import Metric, metric_named
from glorabench.records.migration import SCHEMA, migrate
from glorabench.records.outcomes import mean_outcome

ROOTS = (Path("results/local"), Path("results"))  # the folders that are searched for records
PROTOCOL = 1  # bumped when numbers may move; tables refuse to mix protocols
# keys that do not move numbers
VOLATILE = (
    *("results_dir", "cache_dir", "logger", "progress", "checkpoint_every", "latency_rounds", "lr_of", "recipe"),
    *("root", "cache_test", "label"),  # a hash identifies data, and names has the name of the task
)
# options of later releases: with null a run is the same as without the key
OFF = ("compile", "schedule", "warmup_lr", "end_lr", "augment", "mixup", "cutmix", "every", "tuned_on", "fit_on")
ADAMW: Final = {"_target_": "glorabench.training.optimizers.AdamW", "betas": [0.9, 0.999], "eps": 1e-8}
# places of later options: with this value a run is the same as without the key
PLAIN: Final[Mapping[str, Any]] = {
    **{"method.blocks": None, "backbone.quantize": None, "backbone.double_quant": True},
    **{"train.accumulate": 1, "train.devices": 1, "train.max_time": None, "train.checkpoint_activations": False},
    **dict.fromkeys(("trainer.deterministic", "trainer.benchmark", "trainer.limit_train_batches")),
    **{"trainer.callbacks": [], "trainer": {}, "optimizer": ADAMW},
}
# places of later keys that do not move numbers
SILENT: Final = ("train.strategy", "trainer.detect_anomaly", "trainer.profiler")


_LARGEST_FILE = 64 * 2**20  # bytes


class CorruptRecord(BadInput):
    """A record file that is half-written, altered or of another schema."""


@dataclass(frozen=True)
class Record:
    """One run.

    Args:
        run_id: hash of the resolved config and the protocol.
        status: `done` or `failed`.
        config: the resolved config after `identity`, with `names` of method, backbone, data and task. Of a test on
            other data than those of the training, `trained_run` is the run, and `selection.trained_on` its data.
        selection: {fit_on, report_on, rule, contaminated}, and epoch where the rule is the best one.
        metrics: name -> value on the report split and on further test sets; and n, the examples of the report split.
        measures: the description of each metric; the first metric decides.
        outcomes: the outcomes of all examples, packed (see `outcomes.pack`), by the name of the metric.
        history: one entry per epoch, and per stage in a searched run: training values and evaluated metrics by name.
        params: {method, head, total, stored_bytes, supernet, base_bytes}, exact integers.
        cost: {train_s, step_ms, peak_bytes, peak_kind, flops_per_step, search_s, latency_ms, ways, stages}; a stage
            is {seconds, steps, images, flops}, its name train, or supernet, search and retrain.
        merge: {mergeable: true} and the certificate {max_abs_diff, flipped, n, dtype}, or {mergeable: false, reason}.
            On a quantised base also requantized, the cost of quantising the merged weights again: {max_abs_diff,
            flipped, error_by_update} (see `requantizing_cost`).
        paths: the GLoRA path of each layer, or None.
        search: the result of a search, or None: {evaluated, score, n, held_out, n_held_out, params, first, best, front}
            (see `searched_run.report_of`), in the metric that decides, or in its own metric where it has one.
        upstream: {task, n, before, after, metric} of the trunk under its upstream head, or None (see `forgetting`).
        provenance: {git, versions, device, weights, data}.
        error: {kind, message} of a failed run, and the traceback of what was not bad input.
    """

    run_id: str
    status: str
    config: dict[str, Any]
    selection: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    measures: list[Metric] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    params: dict[str, int | None] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    merge: dict[str, Any] | None = None
    paths: list[dict[str, str]] | None = None
    search: dict[str, Any] | None = None
    upstream: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    schema: int = SCHEMA
    protocol: int = PROTOCOL

    @property
    def names(self) -> dict[str, str]:
        """The names of method, backbone, suite and task."""
        return self.config["names"]

    @property
    def metric(self) -> Metric:
        """The metric that decides.

        Raises:
            LookupError: the run has no result.
        """
        return self.measures[0]

    @property
    def score(self) -> float:
        """The value of the metric that decides."""
        return self.metrics[self.metric.name]

    def outcomes_of(self, name: str) -> str:
        """The packed outcomes of a metric; empty where the record has none."""
        return self.outcomes.get(name, "")


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that can move numbers.

    These are all keys at any depth, except VOLATILE, those of OFF with null, SILENT, and those of PLAIN with their
    plain value. The root of data counts only where nothing else identifies the data: with a loader of your own.
    """
    settings = _settings(config)
    for place in SILENT:
        _leave_out(settings, place, lambda _: True)
    for place, value in PLAIN.items():
        _leave_out(settings, place, lambda other, plain=value: other == plain)
    return settings


def _leave_out(settings: dict[str, Any], place: str, is_plain: Callable[[Any], bool]) -> None:
    """Remove the key at a dotted place of new mappings, if it is there and its value is plain."""
    group, _, key = place.rpartition(".")
    node = settings.get(group) if group else settings
    if isinstance(node, dict) and key in node and is_plain(node[key]):
        del node[key]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """New mappings of all keys, except VOLATILE and those of OFF with null."""
    off = {key for key in OFF if config.get(key) is None}
    settings = {key: value for key, value in config.items() if key not in VOLATILE and key not in off}
    if {"_target_", "root"} <= config.keys() and "suite" not in config and config.get("sha256") is None:
        settings["root"] = config["root"]
    if isinstance(settings.get("weights_from"), str):
        settings["weights_from"] = Path(settings["weights_from"]).name  # sha256 identifies the file, wherever it lies
    return {key: _settings(value) if isinstance(value, Mapping) else value for key, value in settings.items()}


def run_id(config: Mapping[str, Any], protocol: int = PROTOCOL) -> str:
    """The id of a run: twelve hexadecimal digits of a hash over its protocol and the identity of its config."""
    text = json.dumps([protocol, identity(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def path_of(root: Path, config: Mapping[str, Any]) -> Path:
    """The path of the record of `config` below the results folder `root`."""
    names = {group: files.safe_name(config["names"][group]) for group in ("method", "backbone", "task", "data")}
    title = "-".join([names["method"], names["backbone"], names["task"]])[:180]
    return root / "runs" / names["data"] / f"{title}-s{config['seed']}-{run_id(config)}.json"


def checkpoint_folder(config: Mapping[str, Any]) -> Path:
    """The folder for the checkpoint of an unfinished run."""
    return Path(config["results_dir"]) / "checkpoints" / run_id(config)


def write_record(record: Record, path: Path) -> None:
    """Write a record as a whole file (see `files.whole_file`).

    Raises:
        BadInput: the folder is not writable or the disk is full.
    """
    fix = "free space or set results_dir=FOLDER, and give the same command again: training goes on from its checkpoint"
    files.write_text(path, json.dumps(asdict(record), indent=1, sort_keys=True) + "\n", fix)


def read_record(path: Path) -> Record:
    """Read the record at `path`; a record of an earlier schema is migrated.

    Raises:
        CorruptRecord: the path is no regular file, or the file is not a whole record of a known schema.
    """
    try:
        data = migrate(json.loads(_text(path)))
        if reason := schema.problem(data):
            raise ValueError(reason)
        record = Record(**{**data, "config": identity(data["config"])})  # without folders of another machine
        record = replace(record, measures=[Metric(**measure) for measure in data["measures"]])
        if record.run_id != run_id(record.config, record.protocol) or record.run_id not in path.name:
            raise ValueError("its run_id is not the hash of its config")
        _check_outcomes(record)
    except (ValueError, TypeError, AttributeError, LookupError, OSError, RecursionError, MemoryError) as error:
        raise CorruptRecord(
            f"{path} is not a whole record ({first_line(error)}): remove it or repeat its run"
        ) from error
    return record


def _check_outcomes(record: Record) -> None:
    """Check each metric against its outcomes.

    Raises:
        ValueError: a value is not the mean of its outcomes, or they are of another kind.
    """
    for name, text in record.outcomes.items():
        metric = metric_named(record.measures, name)
        if metric is None:
            raise ValueError(f"it has outcomes of {name}, which is none of its metrics")
        if abs(mean_outcome(text, metric.per_example) - record.metrics[name]) > 1e-9:
            raise ValueError(f"its {name} is not the mean of its outcomes")


def _text(path: Path) -> str:
    """Read a regular file; reading a pipe or a device would never end.

    Raises:
        OSError: it is no regular file, or it is too large for a record.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError("no regular file")
    if state.st_size > _LARGEST_FILE:
        raise OSError(f"{state.st_size:,} bytes are more than any record has")
    return path.read_text(encoding="utf-8")


def set_aside(path: Path, reason: str = "corrupt") -> Path:
    """Rename a damaged or outdated file, so that its work is repeated and nothing is lost; returns the new path."""
    names = (path.with_suffix(f".{reason}{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    return path.replace(aside)


def records_by_file(roots: Iterable[Path]) -> dict[Path, Record]:
    """Read every record below the folders, in the order of their names; of copies the first one counts.

    Raises:
        CorruptRecord: a file is corrupt; the message names the first one.
        BadInput: two records are of one run and differ.
    """
    records: dict[Path, Record] = {}
    paths: dict[str, Path] = {}
    for path in (path for root in roots for path in sorted(Path(root).rglob("*.json"))):
        record = read_record(path)
        first_path = paths.setdefault(record.run_id, path)
        if first_path == path:
            records[path] = record
        elif record != records[first_path]:
            raise BadInput(f"two records of run {record.run_id} differ: {first_path} and {path}: remove the wrong one")
    return records


def read_all(roots: Iterable[Path]) -> list[Record]:
    """The records of `records_by_file`; it raises the same errors."""
    return list(records_by_file(roots).values())
