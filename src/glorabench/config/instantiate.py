"""Make the object that a config node describes, from explicit lists. A config is data: it can name nothing else.

A node is a mapping with `_target_`, the address of a class or function, and its arguments. Which addresses are allowed
depends on what the node is for (see `NODE_KINDS`). Users add a package of their own by `allow_packages`, which only a
command line calls: no record and no YAML file can ask for it.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from glorabench.errors import BadInput, first_line, nearest

TARGET = "_target_"
_ALLOW_VARIABLE = "GLORABENCH_ALLOW"  # an environment variable, so that jobs in other processes inherit it
_ADDRESS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


@dataclass(frozen=True)
class NodeKind:
    """The purpose of a node.

    Args:
        key: of the config, such as `method`.
        noun: the name of such an object in messages.
        base: the class that a target is derived from, as an address; None if targets are functions.
        package: whose modules may define such classes.
        addresses: functions that may be named.
    """

    key: str
    noun: str
    base: str | None = None
    package: str = ""
    addresses: tuple[str, ...] = ()


METHOD = NodeKind("method", "method", "glorabench.methods.base.Method", "glorabench.methods")
ALGORITHM = NodeKind(
    "search.algorithm", "search algorithm", "glorabench.search.algorithms.Algorithm", "glorabench.search"
)
BACKBONE = NodeKind(
    "backbone",
    "backbone",
    addresses=(
        "glorabench.backbones.vision.vision_backbone",
        "glorabench.backbones.llama.llama_backbone",
        "glorabench.backbones.timm_models.timm_backbone",
        "glorabench.backbones.hf_vision.hf_vision_backbone",
        "glorabench.backbones.hf_text.hf_text_backbone",
    ),
)
DATA = NodeKind(
    "data",
    "loader of data",
    addresses=(
        "glorabench.data.mini.load",
        "glorabench.data.files.load",
        "glorabench.data.folder.load",
        "glorabench.data.text.mini_text.load",
        "glorabench.data.text.local.load",
        "glorabench.data.text.harness.load",
    ),
)
OPTIMIZER = NodeKind("optimizer", "optimizer", "glorabench.training.optimizers.Optimizer", "glorabench.training")
CALLBACK = NodeKind(  # these three write no file and run no code that a config names
    "trainer.callbacks",
    "callback",
    "lightning.pytorch.callbacks.Callback",
    addresses=(
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.callbacks.DeviceStatsMonitor",
    ),
)
NODE_KINDS = (METHOD, BACKBONE, DATA, ALGORITHM, OPTIMIZER, CALLBACK)


@contextmanager
def allow_packages(packages: Iterable[str]) -> Iterator[None]:
    """Inside the block, configs may name methods, backbones, loaders and searches of these packages.

    The packages are found in the current folder, too. Jobs that the block starts inherit the permission.

    Raises:
        BadInput: a word is no name of a package.
    """
    packages = list(packages)
    for name in packages:
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name == "glorabench":
            raise BadInput(f"--allow {name}: give the name of a package of yours, such as --allow my_package")
    old_value = os.environ.get(_ALLOW_VARIABLE)
    os.environ[_ALLOW_VARIABLE] = ",".join(sorted({*allowed_packages(), *packages}))
    try:
        yield
    finally:
        os.environ.pop(_ALLOW_VARIABLE)
        if old_value is not None:
            os.environ[_ALLOW_VARIABLE] = old_value


def allowed_packages() -> list[str]:
    """The packages that the command line allowed."""
    return [name for name in os.environ.get(_ALLOW_VARIABLE, "").split(",") if name]


def check_address(node: Any, kind: NodeKind) -> str:
    """The address that a node names; nothing is imported.

    Raises:
        BadInput: it is no such node, or the address is not one that a node of this kind may name.
    """
    if not isinstance(node, Mapping):
        raise BadInput(f"{kind.key} must hold keys and values, got {node!r}")
    _refuse_instructions(node, kind.key)
    address = node.get(TARGET)
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise BadInput(f"{kind.key}.{TARGET} must be the address of a {kind.noun}, got {address!r}")
    module, _, name = address.rpartition(".")
    is_ours = bool(kind.package) and module in _modules(kind.package) and not name.startswith("_")
    if is_ours or address in kind.addresses or address.partition(".")[0] in allowed_packages():
        return address
    hint = nearest(address, kind.addresses) if kind.addresses else f". They stand in {kind.package}.*"
    package = address.partition(".")[0]
    raise BadInput(
        f"{kind.key}.{TARGET}: '{address}' is no {kind.noun} of glorabench{hint.rstrip('.')}. For code of your own, "
        f"add --allow {package if package != 'glorabench' else 'my_package'} to the command"
    )


def target_of(node: Any, kind: NodeKind) -> Callable[..., Any]:
    """Import the class or function that a node names.

    Raises:
        BadInput: see `check_address`; also if the address does not exist, or is not of this kind.
    """
    address = check_address(node, kind)
    module, _, name = address.rpartition(".")
    if address.partition(".")[0] in allowed_packages() and "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        target = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{kind.key}.{TARGET}: there is no {address} ({first_line(error)})") from error
    if kind.base is not None:
        package, _, base = kind.base.rpartition(".")
        if not (inspect.isclass(target) and issubclass(target, getattr(import_module(package), base))):
            raise BadInput(f"{kind.key}.{TARGET}: {address} is no {kind.noun}: it is not derived from {kind.base}")
        if inspect.isabstract(target) or (target.__module__ != module and module.startswith("glorabench.")):
            raise BadInput(f"{kind.key}.{TARGET}: {address} is no {kind.noun} that can be made")
    elif not callable(target):
        raise BadInput(f"{kind.key}.{TARGET}: {address} is no function")
    return target


def check_arguments(node: Any, kind: NodeKind) -> None:
    """Check the names and types of a node's arguments, without making the object.

    Raises:
        BadInput: see `target_of`; also if an argument is unknown, missing or of another type.
    """
    target = target_of(node, kind)
    _check_types(target, _arguments(target, node, kind), kind)


def make(node: Any, kind: NodeKind, **overrides: Any) -> Any:
    """The object that a node describes.

    Args:
        node: `_target_` and arguments.
        kind: the purpose of the node.
        overrides: arguments that replace those of the node.

    Raises:
        BadInput: see `check_arguments`; also if the object's own code refuses a value.
    """
    target = target_of(node, kind)
    arguments = _arguments(target, {**node, **overrides}, kind)
    if not inspect.isclass(target):
        _check_types(target, arguments, kind)
        return target(**arguments)
    try:
        instance = target(**arguments)  # a class checks its values itself
    except (TypeError, ValueError, AttributeError) as error:
        if not isinstance(error, BadInput):
            _check_types(target, arguments, kind)
        raise
    _check_types(target, arguments, kind)
    return instance


def roles_of_backbone(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The roles of the layers of a backbone, which is built without memory.

    Raises:
        BadInput: see `make`.
    """
    survey = import_module("glorabench.backbones.structure").present_roles  # by name: this file needs no torch
    return survey(lambda: make(node, BACKBONE))


def _arguments(target: Callable[..., Any], node: Mapping[str, Any], kind: NodeKind) -> dict[str, Any]:
    arguments = {str(key): value for key, value in node.items() if key != TARGET}
    parameters = inspect.signature(target).parameters.values()
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    by_name = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not open_ended and (unknown := [name for name in arguments if name not in by_name]):
        raise BadInput(f"{kind.key}: {node[TARGET]} has no argument '{unknown[0]}'{nearest(unknown[0], by_name)}")
    if absent := [name for name, p in by_name.items() if p.default is p.empty and name not in arguments]:
        raise BadInput(f"{kind.key}.{absent[0]} is missing: {node[TARGET]} needs it")
    return arguments


def _check_types(target: Callable[..., Any], arguments: Mapping[str, Any], kind: NodeKind) -> None:
    """Check arguments against the annotations of `target`. A class checks its numbers in `__post_init__`."""
    from pydantic import TypeAdapter, ValidationError

    hints = get_type_hints(target)
    for name, value in arguments.items():
        annotation = hints.get(name, Any)
        if annotation is Any or (inspect.isclass(target) and annotation in (int, float, bool)):
            continue
        strict = "tuple" not in str(annotation)  # a list may stand for a tuple
        try:
            TypeAdapter(annotation).validate_python(value, strict=strict)
        except ValidationError as error:
            raise BadInput(f"{kind.key}.{name} must be {_describe(annotation)}, got {value!r}") from error


def _describe(annotation: Any) -> str:
    """A type in words: `float | None` is a number or null."""
    words = {
        "str": "text", "float": "a number", "int": "a whole number", "bool": "true or false", "None": "null",
        "Mapping": "keys and values", "dict": "keys and values",
        "tuple": "a list", "Sequence": "a list", "list": "a list",
    }  # fmt: skip
    text = annotation.__name__ if inspect.isclass(annotation) else str(annotation)
    parts = re.split(r" \| (?![^\[]*\])", text)
    names = [re.split(r"[.]", part.partition("[")[0])[-1].replace("NoneType", "None") for part in parts]
    return " or ".join(dict.fromkeys(words.get(name, name) for name in names))


def _refuse_instructions(node: Any, key: str, depth: int = 0) -> None:
    """Refuse the keys that are instructions for Hydra's `instantiate`. Here they are no settings."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            instruction = isinstance(name, str) and re.fullmatch(r"_\w+_", name)
            if instruction and (name != TARGET or depth):
                raise BadInput(f"{key}.{name} is not a setting: a config names one object and its values, leave it out")
            _refuse_instructions(value, f"{key}.{name}", depth + 1)
    elif isinstance(node, list | tuple):
        for value in node:
            _refuse_instructions(value, key, depth + 1)


@cache
def _modules(package: str) -> frozenset[str]:
    """The names of the modules of one of our packages, from its files. Nothing is imported."""
    root = Path(str(files("glorabench")))
    folder = root.joinpath(*package.split(".")[1:])
    return frozenset(f"{package}.{path.stem}" for path in folder.glob("[!_]*.py"))
