"""Run a search: an algorithm proposes candidates, the evaluator scores them, the journal keeps the scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glorabench.errors import BadInput
from glorabench.search.algorithms import Algorithm
from glorabench.search.candidates import Candidates
from glorabench.search.evaluator import Score
from glorabench.search.journal import SearchJournal
from glorabench.search.space import Genome, PathSpace

_STREAM = (0, 0, 1)  # appended to the seed, so that the draws differ from those of training, which use (seed, step)


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        winner: the best path. If two paths are equally good, the smaller one wins, then the earlier one.
        first_batch: how many candidates were proposed before the first score.
        lines: {genome, score, seconds} of each candidate, in the order in which they were proposed.
        sizes: parameters of each candidate.
        scoring_order: the candidates in the order in which they are scored, if nothing interrupts it.
    """

    winner: Genome
    first_batch: int
    lines: list[dict[str, Any]] = field(repr=False)
    sizes: list[int] = field(repr=False)
    scoring_order: list[Genome] = field(repr=False)

    @property
    def scores(self) -> list[float]:
        """The score of each candidate."""
        return [line["score"] for line in self.lines]

    @property
    def seconds(self) -> float:
        """Time spent on scoring, without interruptions."""
        return sum(line["seconds"] for line in self.lines)

    def best_so_far(self) -> list[list[float]]:
        """[candidates scored, best score] wherever the best score rose."""
        rises: list[list[float]] = []
        for count, score in enumerate(self.scores, 1):
            if not rises or score > rises[-1][1]:
                rises.append([count, score])
        return rises


def run_search(
    space: PathSpace,
    algorithm: Algorithm,
    limits: tuple[int, int],
    seed: int,
    evaluate: Callable[[Genome], Score],
    journal: SearchJournal,
    progress: str,
) -> SearchResult:
    """Propose and score candidates until the algorithm ends. Candidates in the journal are not scored again.

    Args:
        space: the paths of the supernet.
        algorithm: proposes candidates.
        limits: least and most parameters of a subnet.
        seed: seed of all draws.
        evaluate: gives the score of a path.
        journal: the journal of this search; every scored candidate is added to it.
        progress: `bar`, `lines` or `none`.

    Raises:
        BadInput: no path lies within the limits, or the journal cannot be written.
        KeyboardInterrupt: as `evaluate` raises it; every candidate scored so far is in the journal.
    """
    proposals = algorithm.propose(Candidates(space, *limits, np.random.default_rng([seed, *_STREAM])))
    batches: list[list[Genome]] = []
    with _progress(algorithm.evaluations, progress) as show_progress:
        try:
            batch = next(proposals)
            while True:
                for genome in _scoring_order(batch):
                    if genome not in journal.lines:
                        journal.add(genome, _score(evaluate, genome))
                    show_progress(journal.lines[genome]["score"])
                batches.append(batch)
                batch = proposals.send([journal.lines[genome]["score"] for genome in batch])
        except StopIteration:
            pass
    order = list(chain.from_iterable(batches))
    if not order:
        smallest, largest = space.limits
        raise BadInput(
            f"no path with {limits[0]:,} to {limits[1]:,} parameters was found: the smallest has {smallest:,}, the "
            f"largest {largest:,}; move search.min_params and search.max_params apart"
        )
    lines, sizes = [journal.lines[genome] for genome in order], [space.size(genome) for genome in order]
    best = max(range(len(order)), key=lambda i: (lines[i]["score"], -sizes[i], -i))
    return SearchResult(
        order[best], len(batches[0]), lines, sizes, [*chain.from_iterable(map(_scoring_order, batches))]
    )


def _scoring_order(batch: list[Genome]) -> list[Genome]:
    """The order in which a batch is scored: neighbours share their first blocks."""
    return sorted(batch)


def _score(evaluate: Callable[[Genome], Score], genome: Genome) -> dict[str, float]:
    start = time.perf_counter()
    score = evaluate(genome)
    seconds = time.perf_counter() - start
    return {"score": score.value, "seconds": round(seconds, 4)}


@contextmanager
def _progress(total: int, progress: str) -> Iterator[Callable[[float], None]]:
    """Show the number of candidates and the best score, as a bar or as about five lines.

    Yields:
        A function to call with the score of each candidate.
    """
    scores: list[float] = []
    start = time.perf_counter()
    columns = (TextColumn("search"), BarColumn(), MofNCompleteColumn(), TextColumn("best {task.fields[best]:.1%}"))
    with Progress(*columns, TimeRemainingColumn(), transient=True, disable=progress != "bar") as bar:
        task = bar.add_task("search", total=total, best=0.0)

        def add_score(score: float) -> None:
            scores.append(score)
            bar.update(task, completed=len(scores), best=max(scores))
            if progress == "lines" and len(scores) % max(1, total // 5) == 0:
                seconds = time.perf_counter() - start
                print(f"    search {len(scores):,}/{total:,}  best {max(scores):.1%}  {seconds:.0f} s", flush=True)

        yield add_score
