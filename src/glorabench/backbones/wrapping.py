"""Take the tensors of a network out of what training tools put around them: dictionaries and prefixes of names.

Pickles are read without running code: tensors, plain containers, numbers of numpy and argparse.Namespace, nothing else.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from glorabench.errors import BadInput

# where trainers keep the tensors of a network: the first key that exists is used, averaged tensors come last
WRAPPER_KEYS: Final = (
    *("model", "state_dict", "model_state_dict", "module", "network", "net", "backbone", "encoder", "weights"),
    *("model_ema", "state_dict_ema", "ema", "ema_model", "teacher", "student"),
)
_KINDS: Final = [np.dtype(code) for code in "?bhilqBHILQefd"]  # of numbers
_NUMBER: Final = np.float64().__reduce__()[0]  # what numpy makes a number with, of a kind and bytes
_HARMLESS: Final[list[Any]] = [
    argparse.Namespace,
    np.dtype,
    *{type(kind) for kind in _KINDS},
    *((_NUMBER, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")),  # of numpy 2, and before
]
Notes = dict[str, str | None]


def unpickle(path: Path) -> Any:
    """The content of a file of `torch.save`, read without running code.

    Raises:
        BadInput: it holds something that could run code, which is named.
        Exception: it is truncated or no such file; torch says it in many ways.
    """
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        kind = re.search(r"GLOBAL ([\w.]+)|(?:type|class) ([\w.]+\.\w+)", str(error))
        if kind is None or not isinstance(error, UnpicklingError):
            raise
        raise BadInput(
            f"{path} is not a plain tensor file: it holds {kind[1] or kind[2]}, and reading that could run code; save "
            "its tensors alone: torch.save({'model': state_dict}, PATH)"
        ) from error


def unwrap(content: Any, path: Path) -> tuple[dict[str, Tensor], Notes]:
    """The tensors of a network in the content of a file, and what was removed around them, for the record.

    Raises:
        BadInput: there is no network in it.
    """
    keys: list[str] = []
    other_keys: list[str] = []
    while isinstance(content, Mapping):
        mappings = [key for key in WRAPPER_KEYS if isinstance(content.get(key), Mapping)]
        if not mappings:
            break
        keys.append(mappings[0])
        other_keys += mappings[1:]
        content = content[mappings[0]]
    if not isinstance(content, Mapping):
        raise BadInput(f"{path} holds a {type(content).__name__}, not the tensors of a network by name")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        names = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise BadInput(f"{path} holds no tensors by name (it holds {names}): save them: torch.save(state_dict, PATH)")
    remark = f" (not {', '.join(other_keys)})" if other_keys else ""
    return tensors, {"unwrapped": ".".join(keys) + remark} if keys else {}


def strip_prefix(
    state: dict[str, Tensor], net_names: Iterable[str], heads: tuple[str, ...]
) -> tuple[dict[str, Tensor], Notes]:
    """Tensors without the prefix that all of them share, and that prefix, for the record.

    Args:
        state: the tensors of a file.
        net_names: names of the tensors of the network.
        heads: beginnings of names that lead to the classes of the pretraining, which may lack the prefix.
    """
    firsts, prefix = {name.partition(".")[0] for name in net_names}, ""
    while True:
        trunk = [name for name in state if not name.startswith(heads)]
        shared = {name.partition(".")[0] if "." in name else "" for name in trunk}
        first = shared.pop() if len(shared) == 1 else ""
        if not first or first in firsts:
            return state, {"prefix": prefix} if prefix else {}
        prefix += f"{first}."
        state = {name.removeprefix(f"{first}."): tensor for name, tensor in state.items()}


def check_finite(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Refuse weights that no run could start from.

    Raises:
        BadInput: naming the first tensor that holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            kind = "NaN" if tensor.isnan().any() else "infinity"
            raise BadInput(
                f"{path}: {name} holds {kind}: the file is damaged, or its training diverged; give another one with "
                "backbone.weights_from=PATH"
            )
