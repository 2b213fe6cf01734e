"""Linear probe: the head alone, on a trunk that stays as it was pretrained.

The features are constants, so the run computes them once and trains the head on them.
"""

from dataclasses import dataclass

from glorabench.methods.base import Method


@dataclass(frozen=True)
class Linear(Method):
    """Train the head only; the lower end of the parameter axis."""
