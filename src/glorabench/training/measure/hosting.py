"""Which methods a backbone can host, with the values of conf/method, and why it cannot host the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from glorabench.analysis.hosting import Hosting
from glorabench.config.paths import options
from glorabench.errors import UnsuitableBackbone
from glorabench.methods.reparam import has_foldable, merge_obstacle
from glorabench.training.measure.profiling import backbone_with_method, size_of


def hostings(words: Sequence[str]) -> Iterator[Hosting]:
    """Every method of conf/method on the backbone that the words of a command choose. No weights are needed.

    Raises:
        BadInput: the words are wrong.
    """
    for method in options("method"):
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # for the path that GLoRA draws
                backbone = backbone_with_method([*words, f"method={method}"])
        except UnsuitableBackbone as error:
            yield Hosting(method, None, str(error).removeprefix("config: "))
            continue
        size = size_of(backbone)
        merges = merge_obstacle(backbone.net) is None
        yield Hosting(method, size, "", merges if has_foldable(backbone.net) or not merges else None)
