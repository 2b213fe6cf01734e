"""Schedules of the learning rate: the rate of a step as a fraction of the peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from glorabench.errors import BadInput, one_of

SCHEDULES = (None, "linear", "constant", "timm")


def cosine(step: int, warmup: int, total: int, floor: float) -> float:
    """Factor of the learning rate: linear warm-up over `warmup` steps, then a cosine from 1 down to `floor`."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def line_down(step: int, warmup: int, total: int, floor: float) -> float:
    """Factor of the learning rate: linear warm-up over `warmup` steps, then a line from 1 down to `floor`."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return floor + (1 - floor) * (1 - min(1.0, (step - warmup) / max(1, total - warmup)))


def timm_epoch_factor(step: int, per_epoch: int, warmup: float, total: int, start: float, end: float) -> float:
    """The schedule of the published code of FacT, Convpass, RepAdapter, NOAH and GLoRA, as a factor of the peak.

    After each epoch that code gives timm's CosineLRScheduler the index of the epoch that has just ended. So the first
    two epochs both run at the start of the warm-up, and each later epoch runs at the rate meant for the epoch before
    it. The warm-up does not shift the cosine, so the peak itself is never reached.

    Args:
        step: number of the step.
        per_epoch: steps in an epoch.
        warmup: epochs of the warm-up.
        total: epochs of the whole training.
        start: factor at the start of the warm-up.
        end: factor at the end of the cosine.
    """
    epoch = max(0, step // per_epoch - 1)
    if epoch < warmup:
        return start + epoch * (1 - start) / warmup
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * epoch / total))


def warm_up(step: int, warmup: int) -> float:
    """Factor of the learning rate: linear over `warmup` steps, then 1."""
    return (step + 1) / (warmup + 1) if step < warmup else 1.0


_FALLING = {None: cosine, "linear": line_down}


def lr_factor_of(train: Mapping[str, Any], per_epoch: int, falls: bool = True) -> Callable[[int], float]:
    """The schedule of a recipe, as a function of the step.

    Args:
        train: the recipe, as in conf/train.
        per_epoch: steps in an epoch.
        falls: False for the warm-up alone, as a schedule-free optimiser needs it.
    """
    epochs, warmup = train["epochs"], train["warmup_epochs"]
    schedule = train.get("schedule")
    if not falls or schedule == "constant":
        return partial(warm_up, warmup=round(warmup * per_epoch))
    if (factor := _FALLING.get(schedule)) is not None:
        return partial(factor, warmup=round(warmup * per_epoch), total=epochs * per_epoch, floor=train["min_lr"])
    peak = train["lr"]
    return partial(
        timm_epoch_factor,
        per_epoch=per_epoch,
        warmup=warmup,
        total=epochs,
        start=train["warmup_lr"] / peak,
        end=train["end_lr"] / peak,
    )


def check_schedule(train: Mapping[str, Any], supernet_epochs: int | None = None) -> None:
    """Refuse learning rates that do not belong to the schedule, and a warm-up that is not shorter than the training.

    Args:
        train: the recipe, as in conf/train.
        supernet_epochs: search.epochs, if the supernet has its own number of epochs.

    Raises:
        BadInput: naming the key.
    """
    for key, epochs in (("train.epochs", train["epochs"]), ("search.epochs", supernet_epochs)):
        if type(epochs) is int and 0 < epochs <= train["warmup_epochs"]:
            raise BadInput(
                f"train.warmup_epochs={train['warmup_epochs']} is not shorter than {key}={epochs}, so the learning "
                f"rate would never reach train.lr: give train.warmup_epochs={epochs // 2} or more epochs"
            )
    schedule = train.get("schedule")
    if schedule is not None:
        one_of("train.schedule", schedule, [name for name in SCHEDULES if name])
    keys, other_keys = ("min_lr",), ("warmup_lr", "end_lr")
    if schedule == "constant":
        keys, other_keys = (), (*keys, *other_keys)
    if schedule == "timm":
        keys, other_keys = other_keys, keys
        if train["lr"] == 0:
            raise BadInput("train.lr must be above 0 for train.schedule=timm, whose other rates are relative to it")
    for key in keys:
        if not isinstance(train.get(key), int | float) or train[key] < 0:
            raise BadInput(f"train.{key} must be a number of at least 0, got {train.get(key)!r}")
    for key in other_keys:
        if train.get(key) is not None:
            raise BadInput(f"train.{key} is not of train.schedule={schedule or 'null'}: set train.{key}=null")
