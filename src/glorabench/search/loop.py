"""Run a search: an algorithm asks, the evaluator answers, the journal keeps the answers, the best one wins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glorabench import signals
from glorabench.errors import BadInput
from glorabench.search.algorithms import Algorithm
from glorabench.search.candidates import Candidates
from glorabench.search.evaluator import Score
from glorabench.search.journal import State
from glorabench.search.space import Genome, PathSpace

_APART = (0, 0, 1)  # after the seed: no draw of training, a function of (seed, step), shares them


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        winner: the best path; of equally accurate ones the smallest, then the first.
        lines: {genome, score, seconds} of each candidate in the order of asking.
        sizes: parameters of each candidate.
        scored: the candidates in the order in which they are scored, if nothing interrupts it.
        first: how many of them were asked for first, before any score was known.
    """

    winner: Genome
    first: int
    lines: list[dict[str, Any]] = field(repr=False)
    sizes: list[int] = field(repr=False)
    scored: list[Genome] = field(repr=False)

    @property
    def scores(self) -> list[float]:
        """Accuracy of each candidate."""
        return [line["score"] for line in self.lines]

    @property
    def seconds(self) -> float:
        """Time spent on scoring, interruptions left out."""
        return sum(line["seconds"] for line in self.lines)

    def best_so_far(self) -> list[list[float]]:
        """[candidates scored, best score] wherever the best score rose."""
        best = list(accumulate(self.scores, max))
        return [[i + 1, best[i]] for i in range(len(best)) if i == 0 or best[i] > best[i - 1]]

    def front(self) -> list[dict[str, Any]]:
        """Candidates that no other one beats in both parameters and score, by size."""
        kept: list[dict[str, Any]] = []
        for index in sorted(range(len(self.lines)), key=lambda i: (self.sizes[i], -self.scores[i])):
            if not kept or self.scores[index] > kept[-1]["score"]:
                line = self.lines[index]
                kept.append({"params": self.sizes[index], "score": line["score"], "genome": line["genome"]})
        return kept


def search(
    space: PathSpace,
    algorithm: Algorithm,
    limits: tuple[int, int],
    seed: int,
    evaluate: Callable[[Genome], Score],
    state: State,
    progress: str,
) -> Found:
    """Ask, score and tell until the algorithm is done; what `state` has is not scored again.

    Args:
        space: of the supernet.
        algorithm: what asks.
        limits: least and most parameters of a subnet.
        seed: of all draws.
        evaluate: accuracy of a path.
        state: of this search; grows by every scored candidate.
        progress: `bar`, `lines` or `none`.

    Raises:
        BadInput: no path lies within the limits, or the state cannot be written.
        KeyboardInterrupt: a signal has asked for the end; every candidate scored so far is in the state.
    """
    asking = algorithm.asking(Candidates(space, *limits, np.random.default_rng([seed, *_APART])))
    asked: list[list[Genome]] = []
    with _shown(algorithm.evaluations, progress) as show:
        try:
            batch = next(asking)
            while True:
                for genome in _order(batch):
                    if genome not in state.told:
                        signals.check()
                        state.tell(genome, _scored(evaluate, genome))
                    show(state.told[genome]["score"])
                asked.append(batch)
                batch = asking.send([state.told[genome]["score"] for genome in batch])
        except StopIteration:
            pass
    order = list(chain.from_iterable(asked))
    if not order:
        smallest, largest = space.limits
        raise BadInput(
            f"no path with {limits[0]:,} to {limits[1]:,} parameters was found: the smallest has {smallest:,}, the "
            f"largest {largest:,}; move search.min_params and search.max_params apart"
        )
    lines, sizes = [state.told[genome] for genome in order], [space.size(genome) for genome in order]
    best = max(range(len(order)), key=lambda i: (lines[i]["score"], -sizes[i], -i))
    return Found(order[best], len(asked[0]), lines, sizes, [*chain.from_iterable(map(_order, asked))])


def _order(batch: list[Genome]) -> list[Genome]:
    """The order of scoring: neighbours share their first blocks."""
    return sorted(batch)


def _scored(evaluate: Callable[[Genome], Score], genome: Genome) -> dict[str, float]:
    started = time.perf_counter()
    score = evaluate(genome)
    seconds = time.perf_counter() - started
    return {"score": score.accuracy, "seconds": round(seconds, 4)}


@contextmanager
def _shown(total: int, progress: str) -> Iterator[Callable[[float], None]]:
    """How far the search is and its best score, as a bar or as about ten lines; called once for each candidate."""
    scores: list[float] = []
    started = time.perf_counter()
    columns = (TextColumn("search"), BarColumn(), MofNCompleteColumn(), TextColumn("best {task.fields[best]:.1%}"))
    with Progress(*columns, TimeRemainingColumn(), transient=True, disable=progress != "bar") as bar:
        task = bar.add_task("search", total=total, best=0.0)

        def show(score: float) -> None:
            scores.append(score)
            bar.update(task, completed=len(scores), best=max(scores))
            if progress == "lines" and len(scores) % max(1, total // 5) == 0:
                seconds = time.perf_counter() - started
                print(f"    search {len(scores):,}/{total:,}  best {max(scores):.1%}  {seconds:.0f} s", flush=True)

        yield show
