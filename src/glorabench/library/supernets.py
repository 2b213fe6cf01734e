"""A supernet of GLoRA in your own training loop, and the search of a path in it with a score of yours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from glorabench.config.instantiate import ALGORITHM, make
from glorabench.config.paths import conf_dir
from glorabench.errors import BadInput, nearest, one_of
from glorabench.library.adaptation import adapt, adaptation_of
from glorabench.search.evaluator import Score
from glorabench.search.journal import SearchJournal
from glorabench.search.loop import run_search
from glorabench.search.space import Genome, PathSpace

_SEARCHES = ("evolution", "random", "nsga2")


@dataclass(frozen=True)
class Winner:
    """What a search found; the network computes this path now.

    Args:
        score: of the path, as `score` gave it.
        params: trained parameters of the path.
        paths: the choice of every support of each layer.
        evaluated: how many paths were scored.
    """

    score: float
    params: int
    paths: list[dict[str, str]]
    evaluated: int


def supernet(
    model: nn.Module,
    *,
    targets: str | Sequence[str] | None = None,
    heads: str | Sequence[str] = (),
    **values: Any,
) -> nn.Module:
    """Put GLoRA with all its paths into a network, in place; arguments and errors as of `adapt`.

    Before each training step call `draw_path(model, seed, step)`.
    """
    return adapt(model, "glora", targets=targets, heads=heads, **{**values, "path": "supernet"})


def draw_path(model: nn.Module, seed: int, step: int) -> None:
    """Let a supernet compute a random path, which depends on (seed, step) alone.

    Raises:
        BadInput: the network is no supernet.
    """
    space = _space(model)
    space.set(space.draw(seed, step))


def search(
    model: nn.Module,
    score: Callable[[nn.Module], float],
    *,
    algorithm: str = "evolution",
    min_params: int = 0,
    max_params: int | None = None,
    seed: int = 0,
    journal: str | Path,
    progress: str = "none",
    **values: Any,
) -> Winner:
    """Search the best path of a trained supernet, and let the network compute it.

    Args:
        model: a supernet, see `supernet`.
        score: of the network with the path that is set; the higher the better. Use examples that are neither trained
            on nor tested on.
        algorithm: `evolution`, `random` or `nsga2`.
        min_params, max_params: limits of the trained parameters of a path.
        seed: of all draws.
        journal: a file that keeps every score: the same call goes on from it after a kill.
        progress: `bar`, `lines` or `none`.
        values: of the algorithm, such as `generations=5`; the others are those of conf/search.

    Raises:
        BadInput: the network is no supernet, a value is wrong, or no path lies within the limits.
    """
    space = _space(model)
    limits = space.check_limits(min_params, max_params)
    node = _algorithm_node(algorithm, values)

    def evaluate(genome: Genome) -> Score:
        space.set(genome)
        return Score(float(score(model)), 1.0)

    header = {"space": space.fingerprint, "seed": seed, "search": node, "limits": list(limits)}
    path = space.current()
    lines = SearchJournal(Path(journal).expanduser(), header)
    try:
        result = run_search(space, make(node, ALGORITHM), limits, seed, evaluate, lines, progress)
    except BaseException:
        space.set(space.genome(path))
        raise
    finally:
        lines.close()
    space.set(result.winner)
    return Winner(max(result.scores), space.size(result.winner), space.paths(result.winner), len(result.lines))


def _space(model: nn.Module) -> PathSpace:
    adaptation_of(model)
    space = PathSpace(model)
    if not space.is_supernet:
        raise BadInput("this network is no supernet: make one with glorabench.supernet(model)")
    return space


def _algorithm_node(name: str, values: dict[str, Any]) -> dict[str, Any]:
    one_of("algorithm", name, _SEARCHES)
    node = yaml.safe_load((conf_dir() / "search" / f"{name}.yaml").read_text(encoding="utf-8"))["algorithm"]
    for key in values:
        if key not in node or key == "_target_":
            raise BadInput(f"{name} has no value '{key}'{nearest(key, [k for k in node if k != '_target_'])}")
    return {**node, **values}
