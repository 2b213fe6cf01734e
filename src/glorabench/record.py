"""Record: what one run says of itself; identity by hash, written atomically, read with suspicion."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from glorabench.errors import BadInput

ROOTS = (Path("results/local"), Path("results"))  # where records are looked for
SCHEMA = 2
PROTOCOL = 1  # bumped when numbers may move; tables refuse to mix protocols
# what does not move numbers
VOLATILE = (
    *("results_dir", "cache_dir", "logger", "progress", "checkpoint_every", "latency_rounds", "lr_of", "recipe"),
    *("root", "cache_test", "label"),  # data are known by their hash; what the task is called stands in names
)
# options that came later: where they are off (null) a run is what it was without them
OFF = ("compile", "schedule", "warmup_lr", "end_lr", "augment", "mixup", "cutmix", "every", "tuned_on", "fit_on")


class CorruptRecord(BadInput):
    """A record file that is half-written, altered or of another schema."""


@dataclass(frozen=True)
class Record:
    """One run.

    Args:
        run_id: hash of the resolved config and the protocol.
        status: `done` or `failed`.
        config: the resolved config as `identity` keeps it, with `names` (what method, backbone, data, task are called).
        selection: {fit_on, report_on, rule, contaminated}, and epoch where the rule is the best one.
        metrics: of the report split, read once; top1 in [0, 1] and n; and of further test sets, such as
            imagenet_a/top1_200.
        outcomes: right or wrong for each example of the report split, packed (see `pack`).
        outcomes_of: the same of further test sets, by the name of their metric.
        history: one entry per epoch (and stage, of a searched run): training, and what was evaluated, under its name.
        params: {method, head, total, stored_bytes, supernet}, exact integers.
        cost: {train_s, step_ms, peak_bytes, peak_kind, flops_per_step, search_s, latency_ms, ways, stages}; a stage
            is {seconds, steps, images, flops}, its name train, or supernet, search and retrain.
        merge: {mergeable: true} and the certificate {max_abs_diff, flipped, n, dtype}, or {mergeable: false, reason}.
        paths: the GLoRA path of each layer, or None.
        search: what a search found, or None: {evaluated, score, n, held_out, n_held_out, params, first, best, front}
            (see `pipeline.report_of`).
        upstream: {task, n, before, after} of the trunk under its upstream head, or None (see `forgetting`).
        provenance: {git, versions, device, weights, data}.
        error: {kind, message} of a failed run, and the traceback of what was not bad input.
    """

    run_id: str
    status: str
    config: dict[str, Any]
    selection: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    outcomes: str | None = None
    outcomes_of: dict[str, str] | None = None
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
        """What method, backbone, suite and task are called."""
        return self.config["names"]


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config can move the numbers: everything but VOLATILE, at any depth (data.cache_dir is one), and OFF."""
    off = {key for key in OFF if config.get(key) is None}
    kept = {key: value for key, value in config.items() if key not in VOLATILE and key not in off}
    if isinstance(kept.get("weights_from"), str):
        kept["weights_from"] = Path(kept["weights_from"]).name  # sha256 says which, wherever the file lies
    return {key: identity(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def run_id(config: Mapping[str, Any], protocol: int = PROTOCOL) -> str:
    """Twelve hexadecimal digits of the hash of what can move the numbers: config, protocol; not where they go."""
    text = json.dumps([protocol, identity(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def path_of(root: Path, config: Mapping[str, Any]) -> Path:
    """Where the record of `config` lies below the results folder `root`."""
    names = config["names"]
    stem = [names["method"], names["backbone"], names["task"], f"s{config['seed']}", run_id(config)]
    return root / "runs" / names["data"] / f"{'-'.join(stem)}.json"


def write(record: Record, path: Path) -> None:
    """Write atomically: a file that exists is whole, even after a kill or a full disk.

    Raises:
        BadInput: the folder is not writable or the disk is full.
    """
    text = json.dumps(asdict(record), indent=1, sort_keys=True) + "\n"
    draft = path.with_suffix(f".{os.getpid()}.tmp")  # two processes may make the same record
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise BadInput(
            f"the record {path} cannot be written ({error.strerror}). Free space or set results_dir=FOLDER and "
            "give the same command again: training goes on from its checkpoint."
        ) from error


def read(path: Path) -> Record:
    """The record at `path`.

    Raises:
        CorruptRecord: the file is not a whole record of this schema.
    """
    try:
        data = json.loads(path.read_text())
        if (schema := data.get("schema", SCHEMA)) != SCHEMA:
            raise ValueError(f"schema {schema}, expected {SCHEMA}")
        record = Record(**data)
        if record.run_id != run_id(record.config, record.protocol) or record.run_id not in path.name:
            raise ValueError("its run_id is not the hash of its config")
        if record.status not in ("done", "failed"):
            raise ValueError(f"its status is '{record.status}'")
        if record.status == "done":
            lacking = {"method", "head", "stored_bytes", "supernet"} - record.params.keys()
            if lacking or not isfinite(record.metrics["top1"]):
                raise ValueError(f"it is done without {', '.join(sorted(lacking)) or 'a top-1'}")
        kept = {**({"top1": record.outcomes} if record.outcomes else {}), **(record.outcomes_of or {})}
        for name, packed in kept.items():
            if abs(fmean(unpack(packed)) - record.metrics[name]) > 1e-9:
                raise ValueError(f"its {name} is not the mean of its outcomes")
    except (ValueError, TypeError, AttributeError, LookupError, OSError) as error:
        raise CorruptRecord(f"{path} is not a whole record ({error}): remove it or repeat its run") from error
    return record


def set_aside(path: Path) -> Path:
    """Rename a damaged file so that its work is repeated and nothing is lost; returns the new name."""
    names = (path.with_suffix(f".corrupt{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    return path.replace(aside)


def by_file(roots: Iterable[Path]) -> dict[Path, Record]:
    """Every record below the given folders, in the order of their names; a copy counts once, where it is met first.

    Raises:
        CorruptRecord: naming the first bad file.
        BadInput: two records are of one run and differ.
    """
    found: dict[Path, Record] = {}
    first: dict[str, Path] = {}
    for path in (path for root in roots for path in sorted(Path(root).rglob("*.json"))):
        record = read(path)
        known = first.setdefault(record.run_id, path)
        if known == path:
            found[path] = record
        elif record != found[known]:
            raise BadInput(f"two records of run {record.run_id} differ: {known} and {path}: remove the wrong one")
    return found


def read_all(roots: Iterable[Path]) -> list[Record]:
    """The records of `by_file`, with what it raises."""
    return list(by_file(roots).values())


def pack(outcomes: Iterable[bool]) -> str:
    """Right or wrong per example as text: a count and the bits in base 64; 2,000 examples take 341 characters."""
    bits = [bool(outcome) for outcome in outcomes]
    whole = sum(bit << i for i, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")
    return f"{len(bits)}:{base64.b64encode(whole).decode()}"


def unpack(text: str) -> list[bool]:
    """The inverse of `pack`."""
    count, _, body = text.partition(":")
    whole = int.from_bytes(base64.b64decode(body), "little")
    return [bool(whole >> i & 1) for i in range(int(count))]
