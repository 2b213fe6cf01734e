"""The schema of a config: its keys, their types and their ranges. The message names the first wrong value.

This file checks what every run has. The arguments of a method, a backbone, a loader or a search are checked against its
class or function (`instantiate.check_arguments`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

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
from glorabench.errors import BadInput, nearest, nearest_key

LARGEST_COUNT = 2**31 - 1  # no count of epochs, images or tokens is larger

# raise this and `version` in conf/search/_base.yaml if the same config may find another winner
SEARCH_VERSION = 3


def _refuse(phrase: str, value: object) -> PydanticCustomError:
    return PydanticCustomError("glorabench", "{phrase}, got {value}", {"phrase": phrase, "value": repr(value)[:200]})


def _either(phrase: str, holds: Callable[[Any], bool], optional: bool) -> Any:
    """A validator that accepts a value if `holds` is true for it, and null if the value is optional."""

    def check(value: Any) -> Any:
        if (optional and value is None) or (value is not None and holds(value)):
            return value
        raise _refuse(f"must be {phrase}", value)

    return BeforeValidator(check)


def is_whole(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """True for a whole number in a range. A boolean is no number."""
    return type(value) is int and least <= value <= most


def is_number(value: object, least: float = -math.inf, limit: float = math.inf) -> bool:
    """True for a finite number from `least` to less than `limit`. A boolean is no number."""
    return type(value) in (int, float) and math.isfinite(value) and least <= value < limit  # type: ignore[arg-type]


def _whole(least: int, most: int = LARGEST_COUNT, optional: bool = False) -> Any:
    bounds = f"of at least {least}" if most == LARGEST_COUNT else f"from {least} to {most}"
    phrase = f"a whole number {bounds}{' or null' if optional else ''}"
    return _either(phrase, lambda value: is_whole(value, least, most), optional)


def _at_least(least: float, optional: bool = False) -> Any:
    phrase = f"a number of at least {least:g}{' or null' if optional else ''}"
    return _either(phrase, lambda value: is_number(value, least), optional)


def _above_zero(optional: bool = False) -> Any:
    return _either(
        f"{'null or ' if optional else ''}a number above 0", lambda value: is_number(value, 0) and value > 0, optional
    )


def _share() -> Any:
    return _either("a number from 0 to below 1", lambda value: is_number(value, 0, 1), False)


def is_text(value: object) -> bool:
    """True for text that is not empty and has no control characters."""
    return isinstance(value, str) and value != "" and value.isprintable()


def _text(phrase: str, optional: bool = False) -> Any:
    return _either(f"{phrase}{' or null' if optional else ''}", is_text, optional)


@dataclass(frozen=True)
class OneOf:
    """A validator: the value as it is, if it is one of the options."""

    options: tuple[str, ...]
    optional: bool

    def __call__(self, value: Any) -> Any:
        """Refuse another value."""
        if value in self.options or (self.optional and value is None):
            return value
        hint = nearest(value, self.options)
        raise PydanticCustomError("glorabench", "{phrase}", {"phrase": f"{_in_quotes(value)}{hint}"})


def _one_of(*options: str, optional: bool = False) -> Any:
    return BeforeValidator(OneOf(options, optional))


def _yes_or_no(optional: bool = False) -> Any:
    return _either(f"true{', ' if optional else ' or '}false{' or null' if optional else ''}", _is_bool, optional)


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def _duration() -> Any:
    """A time as Lightning's Timer reads it, longer than nothing."""
    pattern = re.compile(r"\d+:\d\d:\d\d:\d\d")
    phrase = "days:hours:minutes:seconds in quotes, such as '00:01:30:00', or null"
    return _either(phrase, lambda v: isinstance(v, str) and bool(pattern.fullmatch(v)) and bool(v.strip("0:")), True)


def _in_quotes(value: object) -> str:
    return f"'{value}'" if isinstance(value, str | int | float | bool | None) else repr(value)[:200]


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class TrainSettings(_Node):
    """The recipe of a training: `conf/train`."""

    epochs: Annotated[int, _whole(1)]
    warmup_epochs: Annotated[float, _at_least(0)]
    batch_size: Annotated[int, _whole(1)]
    eval_batch_size: Annotated[int, _whole(1)]
    lr: Annotated[float, _at_least(0)]
    lr_of: dict[str, Annotated[float, _at_least(0)]] | None = None
    schedule: Annotated[str | None, _one_of("timm", optional=True)] = None
    warmup_lr: Annotated[float | None, _at_least(0, optional=True)] = None
    end_lr: Annotated[float | None, _at_least(0, optional=True)] = None
    min_lr: Annotated[float | None, _at_least(0, optional=True)] = None
    weight_decay: Annotated[float, _at_least(0)]
    decay: Annotated[str, _one_of("matrices", "all")]
    clip: Annotated[float | None, _above_zero(optional=True)]
    drop_path: Annotated[float, _share()]
    augment: Annotated[str | None, _one_of("timm", optional=True)] = None
    mixup: Annotated[float | None, _above_zero(optional=True)] = None
    cutmix: Annotated[float | None, _above_zero(optional=True)] = None
    label_smoothing: Annotated[float, _share()]
    precision: Annotated[str, _one_of("auto", "32-true", "bf16-mixed", "16-mixed")]
    cache_features: Annotated[bool, _yes_or_no()]
    accumulate: Annotated[int, _whole(1)] = 1
    devices: Annotated[int, _whole(1, most=1024)] = 1
    strategy: Annotated[str, _one_of("auto", "ddp", "ddp_find_unused_parameters_true")] = "auto"
    max_time: Annotated[str | None, _duration()] = None


class TrainerSettings(_Node):
    """Arguments of Lightning's Trainer that a config may give; the others follow from the rest of the config."""

    detect_anomaly: Annotated[bool, _yes_or_no()] = False
    deterministic: Annotated[
        bool | str | None, _either("true, false, warn or null", lambda v: type(v) is bool or v == "warn", True)
    ] = None
    benchmark: Annotated[bool | None, _yes_or_no(optional=True)] = None
    limit_train_batches: Annotated[int | None, _whole(1, optional=True)] = None
    profiler: Annotated[str | None, _one_of("simple", "advanced", optional=True)] = None
    callbacks: list[dict[str, Any]] = []


class SelectionSettings(_Node):
    """The split for training, the split that is reported, and how the result is chosen."""

    fit_on: Annotated[str, _one_of("trainval", "train")]
    report_on: Annotated[str, _one_of("test", "val")]
    rule: Annotated[str, _one_of("last_epoch", "best_test_epoch")]
    every: Annotated[int | None, _whole(1, optional=True)] = None
    tuned_on: Annotated[str | None, _one_of("test", optional=True)] = None


class SearchSettings(_Node):
    """A search of a path: `conf/search`."""

    version: Annotated[int, _whole(1)]
    fit_on: Annotated[str | None, _one_of("train", "trainval", optional=True)] = None
    sampler: Annotated[str, _one_of("uniform", "fair", "sandwich")]
    epochs: Annotated[int | None, _whole(1, optional=True)]
    on: Annotated[str, _one_of("val", "test")]
    held_out: Annotated[
        float, _either("a number from 0 to 0.5", lambda value: is_number(value, 0) and value <= 0.5, False)
    ]
    min_params: Annotated[int, _whole(0, most=2**63 - 1)]
    max_params: Annotated[int | None, _whole(0, most=2**63 - 1, optional=True)]
    winner: Annotated[str, _one_of("inherit", "retrain")]
    algorithm: dict[str, Any]


class LoggerSettings(_Node):
    """Where metrics go beside the record: `conf/logger`. `mode`, `project` and `group` are of W&B."""

    mode: Annotated[str, _one_of("offline", "online", "disabled")] = "disabled"
    project: Annotated[str | None, _text("the name of a project", optional=True)] = None
    group: Annotated[str | None, _text("the name of a group", optional=True)] = None
    csv: Annotated[bool, _yes_or_no()] = False
    tensorboard: Annotated[bool, _yes_or_no()] = False


class RunConfig(_Node):
    """A whole config, resolved."""

    seed: Annotated[int, _whole(0, most=2**32 - 1)]
    selection: SelectionSettings
    train: TrainSettings
    optimizer: dict[str, Any]
    trainer: TrainerSettings = TrainerSettings()
    search: SearchSettings | None = None
    logger: LoggerSettings
    method: dict[str, Any]
    backbone: dict[str, Any]
    data: dict[str, Any]
    names: dict[str, Annotated[str, _text("printable text")]]
    recipe: dict[str, dict[str, Any]] | None = None
    results_dir: Annotated[str, _text("the path of a folder")]
    cache_dir: Annotated[str, _text("the path of a folder")]
    checkpoint_every: Annotated[int, _whole(1)]
    compile: Annotated[str | None, _one_of("inductor", "aot_eager", optional=True)] = None
    latency_rounds: Annotated[int, _whole(0)]
    progress: Annotated[str, _one_of("auto", "bar", "lines", "none")]


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
