"""The schema of a record file: types and content, checked before anything reads it.

A record may come from anybody. It is data: its content is checked against this schema, and nothing that it names is
loaded, run or written without a further check.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, ValidationError
from pydantic_core import PydanticCustomError

from glorabench.records.migration import SCHEMA

DEPTH = 32  # levels of nesting that a record may have; the deepest real one has 6
LONGEST = 500  # characters of a name
_LARGEST = 2.0**63


def _number(value: Any) -> Any:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > _LARGEST:
        raise PydanticCustomError("glorabench", "must be a finite number")
    return value


def _count(value: Any) -> Any:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise PydanticCustomError("glorabench", "must be a whole number of at least 0")
    return value


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or not value.isprintable():
        raise PydanticCustomError(
            "glorabench", "must be printable text of at most {most} characters", {"most": LONGEST}
        )
    return value


Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_count)]
Name = Annotated[str, BeforeValidator(_name)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0)]


class _Open(BaseModel):
    """A mapping that may have further keys, such as those of another release."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Names(_Open):
    """The names of the parts of a run."""

    method: Name
    backbone: Name
    data: Name
    task: Name
    search: Name | None = None


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool | None):
        raise PydanticCustomError("glorabench", "must be text, a number, true, false or null")
    return value


Scalar = Annotated[Any, BeforeValidator(_scalar)]


class Data(_Open):
    """The keys that identify the task of a run."""

    suite: Name | None = None
    task: Name | None = None
    label: Name | None = None
    shots: Scalar = None
    split_seed: Count | None = None


class SearchConfig(_Open):
    """The settings of a search."""

    version: Scalar = None
    winner: Literal["inherit", "retrain"]
    on: Name | None = None
    fit_on: Name | None = None


class Selection(_Open):
    """The split that trained, the split that is reported, and the rule that chose the result."""

    fit_on: Name
    report_on: Name
    rule: Name
    every: Scalar = None
    tuned_on: Name | None = None
    trained_on: Name | None = None
    contaminated: StrictBool | None = None
    epoch: Count | None = None


class _Config(_Open):
    """The parts of a config that every reader needs."""

    names: Names
    seed: Count
    selection: Selection
    method: dict[str, Any] = {}
    backbone: dict[str, Any] = {}
    data: Data
    train: dict[str, Scalar] = {}
    search: SearchConfig | None = None
    trained_run: Annotated[str | None, Field(pattern=r"^[0-9a-f]{12}$")] = None


class Timing(_Open):
    """Milliseconds of a forward pass."""

    median: Positive
    iqr: Number | None = None


class _Stage(_Open):
    """The cost of one training or of a search."""

    seconds: Number
    flops: Number
    steps: Count | None = None
    examples: Count | None = None


class Cost(_Open):
    """The cost of a run."""

    train_s: Number | None = None
    step_ms: Number | None = None
    peak_bytes: Count | None = None
    peak_kind: Name | None = None
    flops_per_step: Number | None = None
    search_s: Number | None = None
    latency_ms: dict[str, dict[str, Timing]] | None = None
    ways: dict[str, Any] = {}
    stages: dict[Literal["train", "supernet", "search", "retrain"], _Stage] | None = None


class Params(_Open):
    """Exact counts."""

    method: Count | None = None
    head: Count | None = None
    total: Count | None = None
    stored_bytes: Count | None = None
    base_bytes: Count | None = None
    supernet: Count | None = None


class _Requantized(_Open):
    """What it would cost to quantise merged weights again."""

    max_abs_diff: Number
    flipped: Count
    error_by_update: Number | None = None


class Merge(_Open):
    """The certificate of a merge, or the reason why there is none."""

    mergeable: StrictBool
    reason: StrictStr | None = None
    max_abs_diff: Number | None = None
    flipped: Count | None = None
    n: Count | None = None
    requantized: _Requantized | None = None


class MetricFile(BaseModel):
    """The description of a metric (see `metrics.Metric`)."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    label: Name
    unit: StrictStr
    higher_is_better: StrictBool
    low: Number | None
    high: Number | None
    per_example: Literal["bits", "reals"]


class Best(_Open):
    """A path on the front of a search."""

    params: Count
    score: Number
    genome: Annotated[str, Field(pattern=r"^[0-9a-z]*$")]


class Search(_Open):
    """The result of a search."""

    score: Number
    held_out: Number | None
    best: list[Annotated[list[Number], Field(min_length=2, max_length=2)]] = []
    evaluated: Count | None = None
    n: Count | None = None
    n_held_out: Count | None = None
    params: Count | None = None
    first: Number | None = None
    front: list[Best] = []
    metric: MetricFile | None = None


class _Upstream(_Open):
    """The upstream metric before and after fine-tuning."""

    task: Name
    n: Count
    before: Number
    after: Number
    metric: MetricFile


class Provenance(_Open):
    """The origin of the numbers."""

    git: dict[str, Any] | None = None
    versions: dict[str, Any] = {}
    weights: dict[str, Any] | None = None
    data: dict[str, Any] = {}


class Error(_Open):
    """The error of a failed run."""

    kind: StrictStr
    message: StrictStr


class RecordFile(BaseModel):
    """The content of a record file."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    status: Literal["done", "failed"]
    config: _Config
    selection: dict[str, Any] = {}
    metrics: dict[str, Number] = {}
    measures: list[MetricFile] = []
    outcomes: dict[str, StrictStr] = {}
    history: list[dict[str, Number | StrictStr]] = []
    params: Params = Params()
    cost: Cost = Cost()
    merge: Merge | None = None
    paths: list[dict[str, StrictStr]] | None = None
    search: Search | None = None
    upstream: _Upstream | None = None
    provenance: Provenance = Provenance()
    error: Error | None = None
    schema_: Annotated[int, BeforeValidator(_count), Field(alias="schema")] = SCHEMA
    protocol: Annotated[int, BeforeValidator(_count)] = 1


def problem(data: Any) -> str | None:
    """Describe what is wrong with the content of a record, in one line; None for a valid record.

    Args:
        data: the record as JSON gives it.
    """
    if text := _unfit(data):
        return text
    try:
        RecordFile.model_validate(data)
    except ValidationError as errors:
        return _error_text(errors)
    if data["status"] == "done":
        return _finished_fault(data)
    return None


def _error_text(errors: ValidationError) -> str:
    error = errors.errors(include_url=False)[0]
    key = ".".join(str(part) for part in error["loc"]) or "it"
    words = {
        "missing": "is missing",
        "extra_forbidden": "is no key of a record",
        "model_type": "must hold keys and values",
        "dict_type": "must hold keys and values",
        "list_type": "must be a list",
        "string_type": "must be text",
        "bool_type": "must be true or false",
    }
    text = words.get(error["type"], error["msg"].replace("Input should be ", "must be "))
    value_text = "" if error["type"] in ("missing", "extra_forbidden") else f", got {repr(error['input'])[:60]}"
    return f"{key} {text}{value_text}"


def _unfit(node: Any, key: str = "", depth: int = 0) -> str | None:
    """Describe content that no record has: numbers that are not finite, control characters, deep nesting."""
    if depth > DEPTH:
        return f"it is nested more than {DEPTH} deep"
    if isinstance(node, float) and not math.isfinite(node):
        return f"{key} is not finite"
    if isinstance(node, str) and re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", node):
        return f"{key} has control characters"
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        if isinstance(name, str) and not name.isprintable():
            return f"{key or 'it'} has a key with control characters"
        if text := _unfit(value, f"{key}.{name}" if key else str(name), depth + 1):
            return text
    return None


def _finished_fault(data: Mapping[str, Any]) -> str | None:
    """Describe a key that a finished record lacks although every reader needs it."""
    for name in ("method", "head", "stored_bytes"):
        if data.get("params", {}).get(name) is None:
            return f"it is done without params.{name}"
    if "supernet" not in data["params"]:
        return "it is done without params.supernet"
    for batch, timing in (data.get("cost", {}).get("latency_ms") or {}).items():
        if timing and not {"plain", "unmerged"} <= timing.keys():
            return f"cost.latency_ms.{batch} lacks plain or unmerged"
    return _measures_fault(data)


def _measures_fault(data: Mapping[str, Any]) -> str | None:
    """Describe a conflict between the metrics of a record and their descriptions."""
    metrics, measures = data.get("metrics", {}), data.get("measures", [])
    if not measures:
        return "it is done without measures"
    if metrics.get("n") is None:
        return "it is done without metrics.n"
    if unequal := sorted(metrics.keys() ^ {"n", *(measure["name"] for measure in measures)}):
        return f"metrics and measures differ in {unequal[0]}"
    if len(measures) != len(metrics) - 1:
        return "measures names a metric twice"
    upstream = data.get("upstream")
    values = [(measure, metrics[measure["name"]]) for measure in measures]
    values += [(upstream["metric"], upstream[key]) for key in ("before", "after")] if upstream else []
    for measure, value in values:
        if not _within(measure, value):
            return f"{measure['name']} is {value}, which is not from {measure['low']} to {measure['high']}"
    return None


def _within(measure: Mapping[str, Any], value: float) -> bool:
    low, high = measure["low"], measure["high"]
    return (low is None or value >= low) and (high is None or value <= high)
