"""The schema of a config: its keys, their types and their ranges. The message names the first wrong value.

This file checks what every run has. The arguments of a method, a backbone, a loader or a search are checked against its
class or function (`instantiate.check_arguments`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from glorabench.config.instantiate import (
    ALGORITHM,
    BACKBONE,
    CALLBACK,
    DATA,
    METHOD,
    OPTIMIZER,
    NodeKind,
    allowed_packages,
    check_address,
)
from glorabench.config.validators import (
    OneOf,
    duration_value,
    is_number,
    is_text,
    is_whole,
    limit_value,
    list_value,
    number_from,
    one_option,
    positive_number,
    share_value,
    switch,
    text_value,
    validator,
    whole_number,
)
from glorabench.errors import BadInput, nearest_key

# raise this and `version` in conf/search/_base.yaml if the same config may find another winner
SEARCH_VERSION = 3


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class TrainSettings(_Node):
    """The recipe of a training: `conf/train`."""

    epochs: Annotated[int, whole_number(1)]
    warmup_epochs: Annotated[float, number_from(0)]
    batch_size: Annotated[int, whole_number(1)]
    eval_batch_size: Annotated[int, whole_number(1)]
    lr: Annotated[float, number_from(0)]
    lr_of: dict[str, Annotated[float, number_from(0)]] | None = None
    schedule: Annotated[str | None, one_option("linear", "constant", "timm", optional=True)] = None
    warmup_lr: Annotated[float | None, number_from(0, optional=True)] = None
    end_lr: Annotated[float | None, number_from(0, optional=True)] = None
    min_lr: Annotated[float | None, number_from(0, optional=True)] = None
    weight_decay: Annotated[float, number_from(0)]
    decay: Annotated[str, one_option("matrices", "all")]
    clip: Annotated[float | None, positive_number(optional=True)]
    drop_path: Annotated[float, share_value()]
    augment: Annotated[str | None, one_option("timm", optional=True)] = None
    mixup: Annotated[float | None, positive_number(optional=True)] = None
    cutmix: Annotated[float | None, positive_number(optional=True)] = None
    label_smoothing: Annotated[float, share_value()]
    precision: Annotated[str, one_option("auto", "32-true", "bf16-mixed", "16-mixed")]
    cache_features: Annotated[bool, switch()]
    accumulate: Annotated[int, whole_number(1)] = 1
    checkpoint_activations: Annotated[bool, switch()] = False
    devices: Annotated[int, whole_number(1, most=1024)] = 1
    strategy: Annotated[str, one_option("auto", "ddp", "ddp_find_unused_parameters_true")] = "auto"
    max_time: Annotated[str | None, duration_value()] = None


class TrainerSettings(_Node):
    """Arguments of Lightning's Trainer that a config may give; the others follow from the rest of the config."""

    detect_anomaly: Annotated[bool, switch()] = False
    deterministic: Annotated[
        bool | str | None, validator("true, false, warn or null", lambda v: type(v) is bool or v == "warn", True)
    ] = None
    benchmark: Annotated[bool | None, switch(optional=True)] = None
    limit_train_batches: Annotated[int | None, whole_number(1, optional=True)] = None
    profiler: Annotated[str | None, one_option("simple", "advanced", optional=True)] = None
    callbacks: list[dict[str, Any]] = []


class SelectionSettings(_Node):
    """The split for training, the split that is reported, and how the result is chosen."""

    fit_on: Annotated[str, one_option("trainval", "train")]
    report_on: Annotated[str, one_option("test", "val")]
    rule: Annotated[str, one_option("last_epoch", "best_test_epoch")]
    every: Annotated[int | None, whole_number(1, optional=True)] = None
    tuned_on: Annotated[str | None, one_option("test", optional=True)] = None


class SearchSettings(_Node):
    """A search of a path: `conf/search`."""

    version: Annotated[int, whole_number(1)]
    fit_on: Annotated[str | None, one_option("train", "trainval", optional=True)] = None
    sampler: Annotated[str, one_option("uniform", "fair", "sandwich")]
    epochs: Annotated[int | None, whole_number(1, optional=True)]
    on: Annotated[str, one_option("val", "test")]
    held_out: Annotated[
        float, validator("a number from 0 to 0.5", lambda value: is_number(value, 0) and value <= 0.5, False)
    ]
    min_params: Annotated[int, whole_number(0, most=2**63 - 1)]
    max_params: Annotated[int | None, whole_number(0, most=2**63 - 1, optional=True)]
    winner: Annotated[str, one_option("inherit", "retrain")]
    algorithm: dict[str, Any]


class LoggerSettings(_Node):
    """Where metrics go beside the record: `conf/logger`. `mode`, `project` and `group` are of W&B."""

    mode: Annotated[str, one_option("offline", "online", "disabled")] = "disabled"
    project: Annotated[str | None, text_value("the name of a project", optional=True)] = None
    group: Annotated[str | None, text_value("the name of a group", optional=True)] = None
    csv: Annotated[bool, switch()] = False
    tensorboard: Annotated[bool, switch()] = False


class ChoiceSettings(_Node):
    """The trials and the budget of a choice of a method: the node `choose`, as in conf/experiment/choose.yaml."""

    rates: Annotated[list[float], list_value("numbers above 0", lambda v: is_number(v, 0) and v > 0)]
    seeds: Annotated[list[int], list_value("whole numbers of at least 0", lambda v: is_whole(v, 0, 2**32 - 1))]
    max_params: Annotated[float | str | None, limit_value()] = None
    max_latency: Annotated[float | str | None, limit_value()] = None


class RunConfig(_Node):
    """A whole config, resolved."""

    seed: Annotated[int, whole_number(0, most=2**32 - 1)]
    selection: SelectionSettings
    train: TrainSettings
    optimizer: dict[str, Any]
    trainer: TrainerSettings = TrainerSettings()
    search: SearchSettings | None = None
    logger: LoggerSettings
    method: dict[str, Any]
    backbone: dict[str, Any]
    data: dict[str, Any]
    names: dict[str, Annotated[str, text_value("printable text")]]
    recipe: dict[str, dict[str, Any]] | None = None
    results_dir: Annotated[str, text_value("the path of a folder")]
    cache_dir: Annotated[str, text_value("the path of a folder")]
    checkpoint_every: Annotated[int, whole_number(1)]
    compile: Annotated[str | None, one_option("inductor", "aot_eager", optional=True)] = None
    latency_rounds: Annotated[int, whole_number(0)]
    progress: Annotated[str, one_option("auto", "bar", "lines", "none")]


_CHECKED_IDS: set[int] = set()  # hashes of the configs that were checked in this process


def check_config(config: Mapping[str, Any]) -> None:
    """Check the keys, types and ranges of a resolved config. Imports no torch.

    Raises:
        BadInput: naming the first wrong key, its value and what is allowed.
    """
    with once(_CHECKED_IDS, config) as is_new:
        if is_new:
            validate(RunConfig, config)
            check_nodes(config)


def mark_checked(config: Mapping[str, Any]) -> None:
    """Mark a config as checked. It equals a checked one, except for its paths."""
    with once(_CHECKED_IDS, config):
        pass


@contextmanager
def once(checked_ids: set[int], config: Mapping[str, Any]) -> Iterator[bool]:
    """Give the block True if the config is new. If the block raises nothing, the config counts as checked.

    A sweep composes each run twice, and each run asks again.
    """
    key = hash((_in_order(config), *allowed_packages()))
    yield key not in checked_ids
    checked_ids.add(key)


def _in_order(node: Any) -> str:
    """A node as text that does not depend on the order of keys. 1, 1.0 and "1" give different texts."""
    if not isinstance(node, Mapping):
        return repr(node)
    return "{" + ", ".join(sorted(f"{key!r}: {_in_order(value)}" for key, value in node.items())) + "}"


def check_nodes(config: Mapping[str, Any]) -> None:
    """Check that the nodes of a config or a record name only allowed addresses and hold plain values.

    Raises:
        BadInput: naming the key.
    """
    nodes: list[tuple[Any, NodeKind]] = [(config.get(kind.key), kind) for kind in (METHOD, BACKBONE, DATA)]
    if (algorithm := (config.get("search") or {}).get("algorithm")) is not None:
        nodes.append((algorithm, ALGORITHM))
    if (optimizer := config.get("optimizer")) is not None:  # a record has none where it is the usual one
        nodes.append((optimizer, OPTIMIZER))
    nodes += [(callback, CALLBACK) for callback in (config.get("trainer") or {}).get("callbacks") or []]
    for node, kind in nodes:
        check_address(node, kind)
        _check_plain(node, kind.key)
    _check_backbone(config["backbone"])


def validate(model: type[BaseModel], node: Any, prefix: str = "") -> None:
    """Check a node against a model of this schema.

    Raises:
        BadInput: naming the first wrong key below `prefix`, its value and what is allowed.
    """
    try:
        model.model_validate(node)
    except ValidationError as error:
        raise BadInput(message(error.errors(include_url=False), model, prefix)) from error


def message(errors: Iterable[ErrorDetails], model: type[BaseModel], prefix: str = "") -> str:
    """The first error in one line. An unknown key comes before a missing one, as it may be a misspelling of that."""
    sorted_errors = sorted(errors, key=lambda error: error["type"] != "extra_forbidden")
    error = sorted_errors[0]
    key = ".".join([*filter(None, [prefix]), *(str(part) for part in error["loc"] if part != "[key]")])
    if error["type"] == "extra_forbidden":
        return f"no key '{key}'{nearest_key(key, known_keys(model, prefix))}"
    if error["type"] == "missing":
        return f"{key} is missing: it has no value"
    if error["type"] == "glorabench":
        return f"{key} {error['msg']}"
    nouns = {
        "model_type": "keys and values",
        "dict_type": "keys and values",
        "model_attributes_type": "keys and values",
    }
    return f"{key} must be {nouns.get(error['type'], error['type'].removesuffix('_type'))}, got {error['input']!r}"[
        :400
    ]


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted keys of a model and of those inside it."""
    keys = []
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        keys.append(key)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys += known_keys(inner, key)
    return keys


def allowed_values(model: type[BaseModel], key: str) -> tuple[str, ...]:
    """The words that a dotted key of a model allows, where it allows no others; else nothing."""
    name, _, rest = key.partition(".")
    if (info := model.model_fields.get(name)) is None:
        return ()
    for inner in (info.annotation, *get_args(info.annotation)) if rest else ():
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return allowed_values(inner, rest)
    checks = [item.func for item in info.metadata if isinstance(item, BeforeValidator)]
    words = next((check.options for check in checks if isinstance(check, OneOf)), ())
    return ("true", "false") if info.annotation is bool else words


def _check_plain(node: Any, key: str) -> None:
    """Check that all numbers are finite, keys are names, and text has no control characters."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if not is_text(name):
                raise BadInput(f"{key} has a key that is no name: {name!r}")
            _check_plain(value, f"{key}.{name}")
    elif isinstance(node, list | tuple):
        for value in node:
            _check_plain(value, key)
    elif isinstance(node, float) and not math.isfinite(node):
        raise BadInput(f"{key} must be a number, got {node!r}")
    elif isinstance(node, str) and node and not node.isprintable():
        raise BadInput(f"{key} must be printable text, got {node!r}")
    elif not isinstance(node, str | int | float | bool | None):
        raise BadInput(f"{key} must be text, a number, true, false, null or a list of them, got {node!r}")


# arguments of timm and transformers that read files, use a hub or change what the network returns
_MACHINERY = re.compile(
    r"pretrained.*|checkpoint_path|cache_dir|scriptable|exportable|no_jit|features_only|out_indices|feature_cfg|"
    r"kwargs_filter|attn_implementation|auto_map|trust_remote_code|quantization_config|name_or_path|_.*"
)


def _check_backbone(node: Mapping[str, Any]) -> None:
    """Check the name, which is part of file names, and the further arguments: numbers and names, never paths."""
    name = node.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+@=-]*", name):
        raise BadInput(f"backbone.name must be letters, digits and ._+-, got {name!r}")
    for key, phrase in (("weights_from", "embedded, hub, the path of a file or null"), ("sha256", "a hash or null")):
        if not (node.get(key) is None or is_text(node[key])):
            raise BadInput(f"backbone.{key} must be {phrase}, got {node[key]!r}")
    arguments = node.get("model_args") or {}
    if not isinstance(arguments, Mapping):
        raise BadInput(f"backbone.model_args must hold keys and values, got {arguments!r}")
    for key, value in arguments.items():
        if _MACHINERY.fullmatch(key):
            raise BadInput(f"backbone.model_args.{key} is not yours to set: weights come from backbone.weights_from")
        if isinstance(value, str) and not re.fullmatch(r"[\w-]*", value):
            raise BadInput(f"backbone.model_args.{key} must be a number or a name, got {value!r}")
