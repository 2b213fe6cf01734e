"""Records as a pandas table: one row for each record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from glorabench.analysis.labels import labels_of
from glorabench.records.compatibility import flatten, settings
from glorabench.records.record import Record

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS_OF_FRAME: Final = {
    "run_id": "hash of everything that can move a number",
    "status": "done or failed",
    "suite": "data, as config group or suite",
    "task": "the task",
    "backbone": "the backbone",
    "method": "the method",
    "search": "the search, or nothing",
    "label": "what a table calls the configuration among these records",
    "seed": "of the run",
    "metric": "the metric that decides",
    "score": "its value; a share is in [0, 1]",
    "higher_is_better": "its direction",
    "n": "examples of the report split",
    "contaminated": "something was chosen on the test split",
    "params": "trained parameters without the head",
    "head": "trained parameters of the head",
    "supernet": "parameters of all paths of a supernet",
    "stored_bytes": "what is kept for the task",
    "seconds": "of all stages, the search included",
    "flops": "of all stages, the search included",
    "peak_bytes": "memory at the peak of the last training",
    "latency": "what would be deployed at batch 64, relative to the plain backbone",
    "mergeable": "the method folds into the weights",
    "upstream_before": "the upstream metric before fine-tuning",
    "upstream_after": "the upstream metric after fine-tuning",
    "commit": "of the code, where it was a checkout",
    "error": "kind and message of a failed run",
}


def frame_of(records: Iterable[Record]) -> DataFrame:
    """One row for each record, tidy: see COLUMNS_OF_FRAME, then `metrics.NAME` and every setting as `config.KEY`."""
    import pandas as pd

    records = list(records)
    labels = labels_of([r.config for r in records], [settings(r.config) for r in records])
    rows = [_row(r, label.method) for r, label in zip(records, labels, strict=True)]
    frame = pd.DataFrame(rows)
    other_columns = [column for column in frame.columns if column not in COLUMNS_OF_FRAME]
    return frame.reindex(columns=[*COLUMNS_OF_FRAME, *other_columns])


def _row(r: Record, label: str) -> dict[str, Any]:
    from glorabench.analysis.costs import deployment_latency, is_mergeable, stage_total

    is_done = r.status == "done"
    upstream = r.upstream or {}
    row = {
        "run_id": r.run_id,
        "status": r.status,
        "suite": r.names["data"],
        "task": r.names["task"],
        "backbone": r.names["backbone"],
        "method": r.names["method"],
        "search": r.names.get("search"),
        "label": label,
        "seed": r.config["seed"],
        "metric": r.metric.name if is_done else None,
        "score": r.score if is_done else None,
        "higher_is_better": r.metric.higher_is_better if is_done else None,
        "n": r.metrics.get("n"),
        "contaminated": bool(r.selection.get("contaminated")),
        "params": r.params.get("method"),
        "head": r.params.get("head"),
        "supernet": r.params.get("supernet"),
        "stored_bytes": r.params.get("stored_bytes"),
        "seconds": stage_total(r, "seconds"),
        "flops": stage_total(r, "flops"),
        "peak_bytes": r.cost.get("peak_bytes"),
        "latency": deployment_latency(r, 64) if is_done else None,
        "mergeable": is_mergeable(r) if is_done else None,
        "upstream_before": upstream.get("before"),
        "upstream_after": upstream.get("after"),
        "commit": (r.provenance.get("git") or {}).get("sha"),
        "error": "{kind}: {message}".format(**r.error) if r.error else None,
    }
    row |= {f"metrics.{name}": value for name, value in r.metrics.items() if name != "n"}
    return row | {f"config.{key}": value for key, value in flatten(r.config).items() if not key.startswith("names.")}
