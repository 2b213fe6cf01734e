"""Metrics as text and in order, and outcomes that are numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glorabench.records.metrics import Metric, equal_scale, names_of_best
from glorabench.records.outcomes import mean_outcome, pack, unpack

ACCURACY = Metric("top1", "top-1")
LOSS = Metric("loss", "loss", unit="nats", higher_is_better=False, high=None, per_example="reals")


def test_a_share_is_shown_in_percent_and_a_loss_in_its_unit() -> None:
    assert (ACCURACY.heading, ACCURACY.text(0.8321), ACCURACY.with_unit(0.8321, 1)) == ("top-1 %", "83.21", "83.2 %")
    assert (LOSS.heading, LOSS.text(2.30259), LOSS.with_unit(2.30259)) == ("loss nats", "2.3026", "2.3026 nats")
    assert (ACCURACY.points, LOSS.points) == ("points", "nats")
    assert ACCURACY.difference_text(-1e-9) == "0.00"
    assert LOSS.difference_text(-0.5) == "-0.5000"


def test_values_end_where_the_metric_ends() -> None:
    assert [ACCURACY.within(x) for x in (-0.1, 0.5, 1.2)] == [0.0, 0.5, 1.0]
    assert [LOSS.within(x) for x in (-0.1, 7.0)] == [0.0, 7.0]


def test_the_best_is_the_highest_or_the_lowest() -> None:
    values = {"b": 0.2, "a": 0.2 + 1e-14, "c": 0.4}
    assert names_of_best(values, ACCURACY) == ["c"]
    assert names_of_best(values, LOSS) == ["a", "b"]


def test_a_mean_needs_one_unit_and_one_direction() -> None:
    assert equal_scale([ACCURACY, Metric("em", "exact match", per_example="reals")])
    assert not equal_scale([ACCURACY, LOSS])
    assert not equal_scale([ACCURACY, Metric("wer", "WER", higher_is_better=False)])


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_numbers_come_back_in_single_precision(values: list[float]) -> None:
    text = pack(values)
    assert unpack(text).tolist() == np.asarray(values, "<f4").tolist()
    mean = float(np.asarray(values, "<f4").mean(dtype=np.float64))
    assert mean_outcome(text, "reals") == mean or math.isnan(mean)


@given(st.lists(st.booleans(), max_size=70))
def test_right_and_wrong_come_back(values: list[bool]) -> None:
    assert unpack(pack(values)).tolist() == values


@pytest.mark.parametrize("text", ["3:AAAA", "-1:", "1:f32:AAA=", "2:f32:AACAPw==", "x:AQ==", "1:!!"])
def test_damaged_outcomes_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever int or base64 say
        unpack(text)


def test_outcomes_that_are_not_finite_are_not_kept() -> None:
    with pytest.raises(ValueError, match="not finite"):
        pack([1.0, math.inf])
