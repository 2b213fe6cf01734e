"""The values that conf/method/NAME.yaml gives a method, without Hydra: for the library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from glorabench.config.auto_family import AUTO, list_for_roles
from glorabench.config.paths import conf_dir, options
from glorabench.errors import BadInput, nearest, one_of

_RECIPE = re.compile(r"\$\{recipe:\w+\s*,\s*(?P<default>.*)\}", re.DOTALL)
_BY_FAMILY = re.compile(r"\$\{by_family:(?P<values>\{.*\})\}", re.DOTALL)


def default_method_node(
    method: str,
    family: str | None,
    targets: Sequence[str] | None,
    values: Mapping[str, Any],
    roles: Sequence[str] = (),
) -> dict[str, Any]:
    """The config node of a method.

    Args:
        method: name of the method.
        family: family of the network, such as `vit`; None if it has none.
        targets: the roles or layers; None for those that the file gives this family.
        values: hyper-parameters that replace those of the file.
        roles: roles of the network, if its family is `auto`.

    Raises:
        BadInput: there is no such method or hyper-parameter, or the file gives no targets for this family.
    """
    one_of("method", method, options("method"))
    node = yaml.safe_load((conf_dir() / "method" / f"{method}.yaml").read_text(encoding="utf-8"))
    node = {"blocks": None, **node}  # every method has it
    for key in values:
        if key not in node or key == "_target_":
            raise BadInput(f"{method} has no value '{key}'{nearest(key, [k for k in node if k != '_target_'])}")
    node = {**node, **values, **({} if targets is None else {"targets": list(targets)})}
    return {key: _resolve(method, key, value, family, roles) for key, value in node.items()}


def _resolve(method: str, key: str, value: Any, family: str | None, roles: Sequence[str]) -> Any:
    """A value without references: the default of a recipe, or the value of the family."""
    if not isinstance(value, str):
        return value
    if match := _RECIPE.fullmatch(value):
        return yaml.safe_load(match["default"])
    if match := _BY_FAMILY.fullmatch(value):
        by_family = yaml.safe_load(re.sub(r"(?<=\w):(?=\S)", ": ", match["values"]))
        if family == AUTO:
            return list_for_roles(by_family, roles)
        if family not in by_family:
            raise BadInput(
                f"{method}: this network is of no known family, so {key} has to be given: {key}=['*.fc1', '*.fc2']"
            )
        return by_family[family]
    return value
