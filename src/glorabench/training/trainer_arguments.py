"""What a config gives Lightning's Trainer: precision, further callbacks, a profiler; what cannot work is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler

from glorabench.config.instantiate import CALLBACK, TARGET, make
from glorabench.config.schema import TrainerSettings
from glorabench.errors import BadInput, first_line


def trainer_settings(config: Mapping[str, Any]) -> TrainerSettings:
    """The key `trainer` of a checked config; what a record leaves out has its default."""
    return TrainerSettings.model_validate(config.get("trainer") or {})


def precision_of(precision: str) -> str:
    """The precision that Lightning is given; `auto` is 16-mixed on GPUs without bf16, such as V100 and T4.

    Raises:
        BadInput: 16-mixed without a GPU.
    """
    has_gpu = torch.cuda.is_available()
    if precision == "16-mixed" and not has_gpu:
        raise BadInput("train.precision=16-mixed needs a GPU, and there is none: train.precision=auto or 32-true")
    if precision != "auto":
        return precision
    if not has_gpu:
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def further_callbacks(config: Mapping[str, Any]) -> list[Callback]:
    """The clock of `train.max_time`, and the callbacks that the config names.

    Raises:
        BadInput: a callback refuses its arguments.
    """
    callbacks: list[Callback] = []
    if (limit := config["train"].get("max_time")) is not None:
        callbacks.append(Timer(limit, interval="epoch", verbose=False))
    for node in trainer_settings(config).callbacks:
        try:
            callbacks.append(make(node, CALLBACK))
        except BadInput:
            raise
        except Exception as error:  # what a callback says of its arguments
            raise BadInput(f"trainer.callbacks: {node[TARGET]} refuses its arguments: {first_line(error)}") from error
    return callbacks


def profiler_of(config: Mapping[str, Any], name: str) -> Profiler | None:
    """Writes where the time goes, as `name`, into the folder `profiles` of the results; None where nobody asks."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}
    kind = trainer_settings(config).profiler
    return None if kind is None else kinds[kind](Path(config["results_dir"]) / "profiles", name)
