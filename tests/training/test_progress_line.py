"""The line of a training: what it says, how it fits, and that it never asks the device."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from glorabench.training import sweep_place
from glorabench.training.progress_line import ProgressLine
from glorabench.training.sweep_place import SweepPlace, clock_text, fit_line, short_title

FACTS = ("epoch 5/15", "loss 0.31", "2:10 left")


def test_the_line_in_full_and_what_is_left_out_first() -> None:
    texts = {width: fit_line("[3/12]", "lora digits s0", FACTS, width) for width in (80, 45, 39, 20, 10)}
    assert texts[80] == "[3/12] lora digits s0  epoch 5/15  loss 0.31  2:10 left"
    assert texts[45] == "[3/12] lora digits s0  epoch 5/15  2:10 left"
    assert texts[39] == "[3/12]  epoch 5/15  2:10 left"
    assert texts[10] == "epoch 5/15"
    assert all(len(text) <= width for width, text in texts.items())
    assert fit_line("", "lora digits s0", ("starting", "", ""), 80) == "lora digits s0  starting"


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "0:07"), (130, "2:10"), (3730, "1:02:10"), (0, "0:00")])
def test_a_duration_is_read_as_a_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_the_time_left_is_that_of_the_sweep() -> None:
    first = SweepPlace(number=1, total=3)
    assert first.seconds_left(10, 0.25) == pytest.approx(30 + 2 * 40)  # this run, then two that take as long
    later = SweepPlace(number=3, total=3, seconds=[20, 40])
    assert later.seconds_left(10, 0.5) == pytest.approx(10)
    assert SweepPlace(number=2, total=4, seconds=[60]).seconds_left(10, 0.5) == pytest.approx(10 + 2 * 60)
    assert SweepPlace().text == ""
    assert SweepPlace(3, 12).text == "[3/12]"


def test_a_title_names_method_task_seed_and_stage() -> None:
    config = {"names": {"method": "glora", "task": "digits"}, "seed": 2}
    assert short_title(config, "supernet ") == "glora digits s2 supernet"


class Watched:
    """A loss that counts how often it is read."""

    reads = 0

    def __float__(self) -> float:
        type(self).reads += 1
        return 0.314


def test_steps_read_no_tensor_and_write_twice_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(i / 100 for i in range(10_000))
    monkeypatch.setattr("glorabench.training.progress_line.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("glorabench.training.progress_line.SWEEP_PLACE", SweepPlace(3, 12))
    out: list[str] = []
    line = ProgressLine("lora digits s0", out.append)
    trainer = SimpleNamespace(
        global_step=0, num_training_batches=100, current_epoch=0, max_epochs=15, estimated_stepping_batches=1500,
        callback_metrics={"train/loss": Watched()},
    )  # fmt: skip
    fit, module, outputs = cast(Any, trainer), cast(Any, None), {"loss": torch.tensor(1.0)}
    line.on_fit_start(fit, module)
    assert out[-1].strip() == "[3/12] lora digits s0  starting"
    line.on_train_start(fit, module)
    for batch in range(100):
        line.on_train_batch_end(fit, module, outputs, None, batch)
    assert Watched.reads == 0
    assert len(out) <= 4
    line.on_train_epoch_end(fit, module)
    trainer.current_epoch = 4
    for batch in range(100):
        line.on_train_batch_end(fit, module, outputs, None, batch)
    assert Watched.reads == 1
    assert re.fullmatch(r"\[3/12\] lora digits s0  epoch 5/15  loss 0\.31  (\d+:)?\d+:\d\d left", out[-1].strip())
    line.on_fit_end(fit, module)
    assert out[-1].strip() == ""


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_place.sys, "stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("TERM", "dumb")
    assert not sweep_place.can_rewrite_line()
    monkeypatch.setenv("TERM", "xterm")
    assert sweep_place.can_rewrite_line()
