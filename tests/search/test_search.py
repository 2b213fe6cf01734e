"""Search: what every algorithm promises, the space, the samplers, the state, and candidates scored exactly."""

import copy
import itertools
import json
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from conftest import images, tiny_convnext, tiny_llama, tiny_vit
from glorabench.backbones.vit_attention import compute_class_token_only
from glorabench.config.compose import compose
from glorabench.config.instantiate import ALGORITHM, make
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.search import evaluator as evaluation
from glorabench.search.algorithms import Evolution, Random
from glorabench.search.candidates import Candidates
from glorabench.search.journal import SearchJournal, genome_of, genome_text
from glorabench.search.loop import run_search
from glorabench.search.nsga2 import NSGA2
from glorabench.search.samplers import SAMPLERS, fair, sandwich, uniform
from glorabench.search.space import PathSpace
from glorabench.training.searched_run import _front
from test_methods import method_of

ALGORITHMS = {
    "random": Random(batch=6, total=24),
    "evolution": Evolution(population=6, parents=3, generations=3, mutants=3, rate=0.3, crossed=2),
    "nsga2": NSGA2(population=6, generations=3, rate=0.2),
}
each_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
GLORA = [(1200, 128, 1, 0), (1200, 128, 1, 0), (600, 128, 0), (128, 1, 0), (128, 1, 0)]  # sizes of a layer's choices


class Layer(nn.Module):
    """A layer to search: choices of the given sizes for each support."""

    def __init__(self, sizes):
        super().__init__()
        self.table = {str(i): {f"c{j}": size for j, size in enumerate(row)} for i, row in enumerate(sizes)}
        self.choices = {name: tuple(row) for name, row in self.table.items()}
        self.path = {name: names[0] for name, names in self.choices.items()}

    def size(self, path):
        return sum(self.table[name][choice] for name, choice in path.items())


def space_of(*layers):
    return PathSpace(nn.Sequential(*map(Layer, layers)))


def every_path(space):
    return list(itertools.product(*map(range, space.options.tolist())))


def additive(space, seed, steps=0):
    """A score for every path, a sum over genes between 0 and 1; rounded to `steps` steps, so that there are ties."""
    worth = np.random.default_rng(seed).random(space.sizes.shape) / len(space.options)
    exact = lambda genome: float(worth[np.arange(len(genome)), list(genome)].sum())  # noqa: E731
    return (lambda genome: round(exact(genome) * steps) / steps) if steps else exact


def asked_by(algorithm, space, score, seed=0, limits=None):
    """All that an algorithm asks for, batch by batch."""
    asking = algorithm.propose(Candidates(space, *(limits or space.limits), np.random.default_rng(seed)))
    batches = []
    with suppress(StopIteration):
        batches.append(next(asking))
        while True:
            batches.append(asking.send([score(genome) for genome in batches[-1]]))
    return batches


def searched(space, algorithm, score, path, seed=0, limits=None, fail_after=None, progress="none"):
    """(what the driver found, what it evaluated); the evaluator raises when it is asked once more than allowed."""
    calls = []

    def scored(genome):
        if len(calls) == fail_after:
            raise KeyboardInterrupt
        calls.append(genome)
        return evaluation.Score(score(genome), 1.0)

    state = SearchJournal(path, {"space": space.fingerprint, "seed": seed})
    try:
        return run_search(space, algorithm, limits or space.limits, seed, scored, state, progress), calls
    except KeyboardInterrupt:
        return None, calls
    finally:
        state.close()


def untimed(lines):
    """Lines of a state or of what was found, without how long they took and the checksum of that."""
    return [{key: value for key, value in line.items() if key not in ("seconds", "sum")} for line in lines]


def read(path):
    return untimed(map(json.loads, path.read_text().splitlines()))


spaces = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=4), min_size=1, max_size=7).map(space_of)


@each_algorithm
@settings(max_examples=15, deadline=None)
@given(space=spaces, seed=st.integers(0, 2**32 - 1), data=st.data())
def test_never_twice_within_limits_and_no_more_than_announced(name, space, seed, data):
    low, high = space.limits
    low = data.draw(st.integers(low, high))
    high = data.draw(st.integers(low, high))
    batches = asked_by(ALGORITHMS[name], space, additive(space, seed, steps=7), seed, (low, high))
    asked = [genome for batch in batches for genome in batch]
    assert all(batches)
    assert len(set(asked)) == len(asked) <= ALGORITHMS[name].evaluations
    assert all(low <= space.size(genome) <= high for genome in asked)
    assert all(0 <= gene < count for genome in asked for gene, count in zip(genome, space.options, strict=True))


@each_algorithm
def test_as_many_as_announced_also_under_tight_limits(name):
    """Uniform paths have a third of the largest size or more: none of 10,000 comes near the tightest of the limits."""
    space = space_of(*[GLORA] * 12)
    smallest, largest = space.limits
    drawn = [space.size(space.draw(0, step)) for step in range(10_000)]
    tight = (largest // 20, largest // 20 + 2)
    assert smallest < tight[1] < min(drawn)
    for limits in (space.limits, tight):
        batches = asked_by(ALGORITHMS[name], space, additive(space, 1), limits=limits)
        assert sum(map(len, batches)) == ALGORITHMS[name].evaluations
        assert all(limits[0] <= space.size(genome) <= limits[1] for batch in batches for genome in batch)


@each_algorithm
def test_a_small_space_is_searched_whole_and_the_search_ends(name):
    space = space_of([(3, 2, 1), (5, 0)], [(7, 1)])
    batches = asked_by(ALGORITHMS[name], space, additive(space, 0))
    assert sorted(genome for batch in batches for genome in batch) == every_path(space)
    one = space_of([(4, 2)])
    assert asked_by(ALGORITHMS[name], one, additive(one, 0), limits=(2, 2)) == [[(1,)]]
    nothing = PathSpace(nn.Identity())
    assert nothing.limits == (0, 0)
    assert not nothing.is_supernet


@each_algorithm
def test_a_search_killed_at_any_candidate_goes_on_to_the_same_end(name, tmp_path):
    space = space_of(*[GLORA] * 2)
    score = additive(space, 3, steps=9)
    whole, all_calls = searched(space, ALGORITHMS[name], score, tmp_path / "whole")
    assert len(all_calls) == ALGORITHMS[name].evaluations == len(whole.lines)
    for killed in range(len(all_calls)):
        path = tmp_path / f"killed{killed}"
        nothing, first = searched(space, ALGORITHMS[name], score, path, fail_after=killed)
        assert nothing is None
        assert read(path) == read(tmp_path / "whole")[: killed + 1]
        found, rest = searched(space, ALGORITHMS[name], score, path)
        assert first + rest == all_calls
        assert (found.winner, found.sizes) == (whole.winner, whole.sizes)
        assert untimed(found.lines) == untimed(whole.lines)
        assert read(path) == read(tmp_path / "whole")


@each_algorithm
def test_another_seed_is_another_search_and_no_global_generator_takes_part(name):
    space = space_of(*[GLORA] * 4)
    score = additive(space, 0)
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = asked_by(ALGORITHMS[name], space, score)
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    np.random.seed(1)
    assert asked_by(ALGORITHMS[name], space, score) == first
    assert asked_by(ALGORITHMS[name], space, score, seed=1) != first


def best(algorithm, space, seed):
    score = additive(space, seed)
    return max(score(genome) for batch in asked_by(algorithm, space, score, seed) for genome in batch)


@pytest.mark.parametrize("seed", range(5))
def test_where_genes_add_up_evolution_beats_random(seed):
    space = space_of(*[GLORA] * 12)
    settings = {"population": 15, "parents": 5, "generations": 7, "mutants": 7, "rate": 0.1, "crossed": 7}
    assert best(Random(15, 120), space, seed) < best(Evolution(**settings), space, seed)


def front_of(points):
    """The (size, score) that no other one beats: by comparing all with all."""
    beaten = {
        one for one in points for two in points if two != one and two[0] <= one[0] and two[1] >= one[1]
    }  # fmt: skip
    return sorted(set(points) - beaten)


@pytest.mark.parametrize("seed", range(4))
def test_nsga2_finds_the_true_front_without_looking_at_every_path(seed, tmp_path):
    sizes = [(90, 20, 7, 0), (60, 18, 5, 0), (80, 25, 6, 0), (70, 15, 4, 0), (50, 12, 3, 0)]
    space = space_of(sizes)
    good = np.random.default_rng(seed).integers(3, size=len(sizes))  # the one choice of a gene that is worth anything

    def score(genome):
        return float((np.array(genome) == good).mean())

    truth = front_of([(space.size(genome), score(genome)) for genome in every_path(space)])
    found, calls = searched(space, NSGA2(population=30, generations=14, rate=0.1), score, tmp_path / "s", seed)
    assert len(calls) == 450 < len(every_path(space)) == 1024
    assert len(truth) == len(sizes) + 1
    assert front_of(list(zip(found.sizes, found.scores, strict=True))) == truth


@settings(max_examples=50, deadline=None)
@given(space=spaces, seed=st.integers(0, 99), steps=st.integers(1, 9))
def test_the_front_is_what_no_other_candidate_beats_and_the_winner_is_best_smallest_first(space, seed, steps):
    score = additive(space, seed, steps)
    with TemporaryDirectory() as folder:
        found, _ = searched(space, ALGORITHMS["random"], score, Path(folder) / "state", seed)
    points = list(zip(found.sizes, found.scores, strict=True))
    front = _front(found, 1)
    assert [(line["params"], line["score"]) for line in front] == front_of(points)
    assert all(score(genome_of(line["genome"])) == line["score"] for line in front)
    assert all(space.size(genome_of(line["genome"])) == line["params"] for line in front)
    lower = _front(found, -1)
    assert [(line["params"], -line["score"]) for line in lower] == front_of(points)
    ranks = [(-s, size, i) for i, (size, s) in enumerate(points)]
    assert genome_text(found.winner) == found.lines[min(ranks)[2]]["genome"]
    rises = [(i + 1, s) for i, s in enumerate(found.scores) if i == 0 or s > max(found.scores[:i])]
    assert [tuple(rise) for rise in found.best_so_far()] == rises
    assert sorted(found.scoring_order) == sorted(genome_of(line["genome"]) for line in found.lines)


def test_of_equally_good_ones_the_smallest_wins_then_the_first(tmp_path):
    space = space_of([(5, 2, 2), (9, 3)])
    found, _ = searched(space, Random(batch=6, total=6), lambda genome: 0.5, tmp_path / "state")
    small = [line["genome"] for line in found.lines if line["genome"] in ("11", "21")]
    assert len(small) == 2
    assert genome_text(found.winner) == small[0]


def test_progress_is_the_best_so_far(tmp_path, capsys):
    space = space_of(*[GLORA] * 2)
    found, _ = searched(space, ALGORITHMS["random"], additive(space, 0), tmp_path / "state", progress="lines")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) >= 3
    assert printed[-1].split()[:4] == ["search", "24/24", "best", f"{max(found.scores):.1%}"]
    searched(space, ALGORITHMS["random"], additive(space, 0), tmp_path / "quiet")
    assert not capsys.readouterr().out


def test_limits_between_the_sizes_there_are_are_refused_in_one_line(tmp_path):
    space = space_of([(100, 0), (100, 0)])
    assert space.check_limits(50, 60) == (50, 60)  # the smallest is below, the largest above
    for name, algorithm in ALGORITHMS.items():
        with pytest.raises(BadInput, match=r"no path with 50 to 60 parameters .* smallest has 0, the largest 200"):
            searched(space, algorithm, additive(space, 0), tmp_path / name, limits=(50, 60))


def test_every_search_of_conf_asks_for_as_many_and_takes_known_words():
    names = [name for name in options("search") if not name.startswith("_")]
    assert {"evolution", "random", "nsga2"} <= set(names)
    for name in names:
        config = compose(["method=glora", "method.path=supernet", f"search={name}"])["search"]
        assert make(config["algorithm"], ALGORITHM).evaluations == 1050
        assert config["sampler"] in SAMPLERS


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("search.algorithm.population=0", "population must be a whole number of at least 1, got 0"),
        ("search.algorithm.population=2.5", "population must be a whole number of at least 1, got 2.5"),
        ("search.algorithm.rate=1.5", "rate must be a number from 0 to 1, got 1.5"),
        ("search.algorithm.mutants=40", "40 mutants and 25 crossed do not fit into a population of 50"),
    ],
)
def test_settings_that_make_no_search_are_refused(word, message):
    config = compose(["method=glora", "method.path=supernet", "search=evolution", word])["search"]
    with pytest.raises(BadInput, match=message):
        make(config["algorithm"], ALGORITHM)


# --- candidates


@settings(max_examples=50, deadline=None)
@given(space=spaces, seed=st.integers(0, 99), rate=st.sampled_from([0.0, 0.3]))
def test_a_child_has_the_genes_of_its_parents_and_comes_once(space, seed, rate):
    candidates = Candidates(space, *space.limits, np.random.default_rng(seed))
    one, two = space.draw(seed, 0), space.draw(seed, 1)
    children = candidates.children(lambda: candidates.recombine(one, two, rate), 5, 20)
    assert 1 <= len(children) == len(set(children)) <= 5
    if rate == 0:
        assert all(gene in pair for child in children for gene, *pair in zip(child, one, two, strict=True))
    assert not any(candidates.admit(child) for child in children)


def test_no_more_tries_than_allowed_are_made_for_children():
    space = space_of([(4, 2, 1)])
    candidates, drawn = Candidates(space, *space.limits, np.random.default_rng(0)), []

    def draw():
        drawn.append(np.array([len(drawn) % 2]))
        return drawn[-1]

    assert candidates.children(draw, 3, 7) == [(0,), (1,)]
    assert len(drawn) == 7
    assert candidates.children(lambda: np.array([2]), 1, 9) == [(2,)]
    assert candidates.children(draw, 0, 9) == []


# --- samplers


@settings(max_examples=50, deadline=None)
@given(space=spaces, seed=st.integers(0, 2**32 - 1), turn=st.integers(0, 1000))
def test_fair_takes_every_choice_of_a_gene_once_in_a_round(space, seed, turn):
    for gene, count in enumerate(space.options.tolist()):
        steps = range(turn * count, (turn + 1) * count)
        assert sorted(fair(space, seed, step)[gene] for step in steps) == list(range(count))


def test_fair_draws_genes_independently_and_rounds_anew():
    space = space_of(*[GLORA] * 40)
    picks = np.array([fair(space, 0, step) for step in range(36)])
    fours = picks[:, space.options == 4]
    assert len({tuple(column) for column in fours.T}) == fours.shape[1]
    assert (fours[:4] != fours[4:8]).any()
    assert set(fours[0]) == {0, 1, 2, 3}


@given(space=spaces, seed=st.integers(0, 2**32 - 1), step=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_sandwich_takes_the_largest_two_random_ones_and_the_smallest(space, seed, step):
    smallest, largest = space.limits
    genome = sandwich(space, seed, step)
    if step % 4 in (1, 2):
        assert genome == space.draw(seed, step)
    else:
        assert space.size(genome) == (largest if step % 4 == 0 else smallest)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_a_function_of_seed_and_step(name):
    space, sampler = space_of(*[GLORA] * 8), SAMPLERS[name]
    forward = [sampler(space, 5, step) for step in range(24)]
    assert [sampler(space, 5, step) for step in reversed(range(24))] == forward[::-1]
    assert [sampler(space, 6, step) for step in range(24)] != forward
    assert all(type(gene) is int for gene in forward[1])
    assert all(max(column) < count for column, count in zip(zip(*forward, strict=True), space.options, strict=True))


def test_uniform_is_the_draw_of_the_space():
    space = space_of(*[GLORA] * 3)
    assert [uniform(space, 2, step) for step in range(9)] == [space.draw(2, step) for step in range(9)]


# --- the space


BUILD = {"vit": tiny_vit, "convnext": tiny_convnext, "llama": tiny_llama}
each_backbone = pytest.mark.parametrize("backbone", BUILD)
TARGETS = {
    "vit": ("method.targets=[stem,q,v,o,fc1,fc2]", "method.targets=[qkv,fc1]"),
    "convnext": ("method.targets=[stem,dwconv,downsample,fc1,fc2]", "method.targets=[fc1,fc2]"),
    "llama": ("method.targets=[q,v,o,up,down]", "method.targets=[q,v]"),
}


def supernet(backbone, words="", made=None, **changes):
    """A supernet with random factors, none of them zero."""
    made = made or BUILD[backbone](dtype=torch.float64)
    words = f"method=glora {words or TARGETS[backbone][0]}"
    method_of(words, backbone, **{"rank": 3, "path": "supernet", **changes}).inject(made)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in made.net.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    made.net.eval()
    return made


@each_backbone
def test_sizes_are_what_a_glora_of_the_fixed_paths_allocates(backbone):
    made = supernet(backbone)
    space, method = PathSpace(made.net), {"path": None}
    for step in range(8):
        genome = space.draw(0, step)
        method["path"] = space.paths(genome)
        fixed = BUILD[backbone]()
        before = {id(p) for p in fixed.net.parameters()}
        method_of(f"method=glora {TARGETS[backbone][0]}", backbone, rank=3, **method).inject(fixed)
        allocated = sum(p.numel() for p in fixed.net.parameters() if id(p) not in before)
        assert space.size(genome) == allocated
    largest = {id(p): p.numel() for p in made.net.parameters() if p.requires_grad}
    head = sum(p.numel() for p in made.head_parameters())
    assert space.limits == (0, sum(largest.values()) - head)


@each_backbone
def test_a_genome_is_the_paths_and_back(backbone):
    space = PathSpace(supernet(backbone).net)
    for step in range(20):
        genome = space.draw(3, step)
        assert space.genome(space.paths(genome)) == genome
        space.set(genome)
        assert space.current() == space.paths(genome)
        assert genome_of(genome_text(genome)) == genome
        expected = sum(layer.size(path) for layer, path in zip(space.layers, space.paths(genome), strict=True))
        assert space.size(genome) == expected


def test_the_fingerprint_is_of_choices_and_sizes_alone():
    first = PathSpace(supernet("vit").net).fingerprint
    assert PathSpace(supernet("vit", made=tiny_vit(seed=9)).net).fingerprint == first
    assert PathSpace(supernet("vit", rank=2).net).fingerprint != first
    assert PathSpace(supernet("vit", TARGETS["vit"][1]).net).fingerprint != first
    assert PathSpace(supernet("vit", made=tiny_vit(depth=1)).net).fingerprint != first


def test_limits_of_the_space_and_those_that_no_path_can_have():
    space = space_of([(9, 4, 1), (3, 2)], [(5, 5)])
    every = [space.size(genome) for genome in every_path(space)]
    assert space.limits == (min(every), max(every)) == (8, 17)
    assert space.check_limits(0, None) == (0, 17)
    assert space.check_limits(8, 8) == (8, 8)
    for low, high in ((0, 7), (18, None), (18, 20), (12, 10)):
        with pytest.raises(BadInput, match=r"the smallest has 8, the largest 17; .*min_params.*max_params"):
            space.check_limits(low, high)
    with pytest.raises(BadInput, match=r"method\.path=supernet"):
        space_of([(9,), (3,)]).check_limits(0, None)


# --- scoring


def inputs_of(backbone, count):
    if backbone == "llama":
        return torch.randint(60, (count, 7), generator=torch.Generator().manual_seed(2))
    return images(count, seed=2, dtype=torch.float64)


def right(net, batch):
    """Whether each input of a batch is predicted as its label says."""
    inputs, labels = batch
    return (net(inputs).argmax(-1) == labels).flatten()


@torch.no_grad()
def unmerged(made, genome, inputs):
    """Predictions of the supernet itself."""
    space = PathSpace(made.net)
    before = space.genome(space.current())
    space.set(genome)
    predicted = made.net(inputs).argmax(-1)
    space.set(before)
    return predicted


def chain_of(space):
    """Paths that share their first genes with the one before, nothing, or all."""
    first, other = space.draw(1, 0), space.draw(1, 1)
    count = len(first)
    cuts = [0, 1, count // 3, count // 2, count - 6, count - 1, count]
    mixed = [genome for cut in cuts for genome in (first[:cut] + other[cut:], first)]
    return [first, *mixed, *(space.draw(2, step) for step in range(4)), other, other]


@pytest.mark.parametrize("kept", [None, 0, "some"])
@pytest.mark.parametrize("pieces", [1, 3])
@each_backbone
def test_accuracy_is_that_of_the_unmerged_network_in_any_order(backbone, pieces, kept, monkeypatch):
    """The labels are what the supernet says of one path, so that any slip shows."""
    made = supernet(backbone)
    space, inputs = PathSpace(made.net), inputs_of(backbone, 20)
    chain = chain_of(space)
    labels = unmerged(made, chain[0], inputs)
    expected = {genome: float((unmerged(made, genome, inputs) == labels).double().mean()) for genome in set(chain)}
    assert len(set(expected.values())) > 3
    if kept is not None:
        width = 20 * 7 * 32 * 8 if backbone == "llama" else 20 * 17 * 32 * 8 if backbone == "vit" else 20 * 8 * 64 * 8
        monkeypatch.setattr(evaluation, "CACHE_BYTES", kept if kept == 0 else int(1.5 * width))
    batches = list(zip(inputs.tensor_split(pieces), labels.tensor_split(pieces), strict=True))
    evaluator = evaluation.Evaluator(made, batches, right, nullcontext)
    scores = [evaluator(genome) for genome in chain]
    assert [score.value for score in scores] == pytest.approx([expected[g] for g in chain], abs=1e-12)
    assert scores[0].value == 1 == scores[0].computed_share
    keeping = [unit.keeps_output for unit in evaluator.blocks]
    if kept is None:
        assert all(keeping)
        assert scores[-1].computed_share == 0
    elif kept == 0:
        assert not any(keeping)
        assert {score.computed_share for score in scores} == {1}
    else:  # the first ones, and not all
        assert keeping == sorted(keeping, reverse=True)
        assert any(keeping)
        assert not all(keeping)
        assert scores[-1].computed_share == 1 - sum(keeping) / len(keeping)
    assert all(bool(unit.outputs) == unit.keeps_output for unit in evaluator.blocks)


@each_backbone
def test_scoring_leaves_the_backbone_as_it_is(backbone):
    made = supernet(backbone)
    space, inputs = PathSpace(made.net), inputs_of(backbone, 4)
    made.net.train()
    space.set(space.draw(0, 5))
    path, before = space.current(), copy.deepcopy(made.net.state_dict())
    facts = [(name, id(p), p.requires_grad, p.grad) for name, p in made.net.named_parameters()]
    evaluator = evaluation.Evaluator(made, [(inputs, made.net(inputs).argmax(-1))], right, nullcontext)
    for step in range(3):
        evaluator(space.draw(1, step))
    assert space.current() == path
    assert [(name, id(p), p.requires_grad, p.grad) for name, p in made.net.named_parameters()] == facts
    assert all(torch.equal(value, before[name]) for name, value in made.net.state_dict().items())
    assert all(module.training for module in made.net.modules())


@pytest.mark.parametrize("bias", [True, False])
def test_layers_without_a_bias_get_one_where_the_path_has_it_and_lose_it_again(bias):
    made = tiny_vit(dtype=torch.float64)
    if not bias:
        for block in made.net.blocks:
            block.attn.qkv.register_parameter("bias", None)
    supernet("vit", "method.targets=[qkv]", made)
    space, inputs = PathSpace(made.net), inputs_of("vit", 12)
    chosen = {"A": "none", "B": "lora", "C": "lora", "D": "none", "E": "none"}
    paths = [{**chosen, "C": c, "E": e} for c, e in itertools.product(("lora", "none"), ("vector", "none"))]
    genomes = [space.genome([path] * len(space.layers)) for path in (*paths, *reversed(paths))]
    labels = unmerged(made, genomes[0], inputs)
    evaluator = evaluation.Evaluator(made, [(inputs, labels)], right, nullcontext)
    for genome in genomes:
        expected = float((unmerged(made, genome, inputs) == labels).double().mean())
        assert evaluator(genome).value == pytest.approx(expected, abs=1e-12)
        has = evaluator.layers["blocks.0.attn.qkv"].bias is not None
        assert has == (bias or {"C": space.paths(genome)[0]["C"], "E": space.paths(genome)[0]["E"]} != NO_SHIFT)


NO_SHIFT = {"C": "none", "E": "none"}


def changed_at(space, genome, gene):
    """The genome with another choice from this gene on."""
    other = (genome[gene] + 1) % space.options[gene]
    return (*genome[:gene], int(other), *genome[gene + 1 :])


def ends(backbone):
    """Genes before which each kept unit ends, read off the names of the layers."""
    genes_of = {
        "vit": [5, *(5 + 25 * (i + 1) for i in range(2))],  # stem; q, v, o, fc1, fc2 in each block
        "convnext": [5, 20, 40, 60, 80],  # stem; dwconv, fc1, fc2 in each block, a downsampling before all but one
        "llama": [20, 40],  # q, v, o, up, down of 4 genes, for there is no bias to scale
    }
    return genes_of[backbone]


@each_backbone
def test_what_is_computed_is_what_comes_after_the_first_difference(backbone):
    made = supernet(backbone)
    space, inputs = PathSpace(made.net), inputs_of(backbone, 6)
    if backbone == "llama":
        searchable = [gene for gene in range(len(space.options)) if space.options[gene] > 1]
        assert len(searchable) == 2 * 5 * 4
        expected_ends = [25, 50]  # D of one choice is a gene as well
    else:
        expected_ends = ends(backbone)
    assert expected_ends[-1] == len(space.options)
    evaluator = evaluation.Evaluator(made, [(inputs, made.net(inputs).argmax(-1))] * 2, right, nullcontext)
    runs = []
    for unit in evaluator.blocks:
        unit.block.register_forward_hook(lambda *_: runs.append(1))
    base = space.draw(0, 0)
    assert evaluator(base).computed_share == 1
    for gene in (gene for gene in range(len(space.options)) if space.options[gene] > 1):
        evaluator(base)
        runs.clear()
        score = evaluator(changed_at(space, base, gene))
        shared = sum(end <= gene for end in expected_ends)
        assert score.computed_share == 1 - shared / len(expected_ends)
        assert len(runs) == 2 * (len(expected_ends) - shared)


@pytest.mark.parametrize("backbone", ["vit", "convnext", "llama", "class_token"])
def test_a_candidate_takes_the_flops_of_a_plain_forward_pass(backbone):
    kind = "vit" if backbone == "class_token" else backbone
    made = BUILD[kind](dtype=torch.float64)
    if backbone == "class_token":
        assert compute_class_token_only(made.net)
    inputs = inputs_of(kind, 6)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        labels = made.net(inputs).argmax(-1)
    supernet(kind, made=made)
    space = PathSpace(made.net)
    evaluator = evaluation.Evaluator(made, [(inputs[:4], labels[:4]), (inputs[4:], labels[4:])], right, nullcontext)
    for step in range(3):
        genome = space.draw(4, step)
        expected = float((unmerged(made, genome, inputs) == labels).double().mean())
        assert evaluator(genome).value == pytest.approx(expected, abs=1e-12)
    assert evaluator.flops == counter.get_total_flops() > 0


def test_a_candidate_is_scored_within_the_context_given():
    made = supernet("vit")
    made.net.float()
    inputs = inputs_of("vit", 8).float()
    seen = []
    evaluator = evaluation.Evaluator(
        made,
        [(inputs, torch.zeros(8, dtype=torch.long))],
        lambda net, batch: seen.append(net(batch[0]).dtype) or right(net, batch),
        lambda: torch.autocast("cpu", torch.bfloat16),
    )
    evaluator(evaluator.space.draw(0, 0))
    assert seen == [torch.bfloat16]


# --- the state


HEADER = {"space": "abc", "seed": 0, "limits": (0, 9)}
LINES = {(0, 1, 2): {"score": 0.1 + 0.2, "seconds": 1.0}, (3, 0, 11): {"score": 1 / 3, "seconds": 0.5}}


def written(path):
    state = SearchJournal(path, HEADER)
    for genome, line in LINES.items():
        state.add(genome, line)
    return state


def test_a_state_reads_back_what_it_was_told_to_the_last_bit(tmp_path):
    path = tmp_path / "deep" / "state.jsonl"
    written(path)  # not closed: a kill
    expected = {genome: {"genome": genome_text(genome), **line} for genome, line in LINES.items()}
    assert SearchJournal(path, HEADER).lines == expected
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_torn_last_line_costs_that_candidate_alone(cut, tmp_path):
    path = tmp_path / "state"
    written(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    state = SearchJournal(path, HEADER)
    genomes = [*LINES]
    assert [*state.lines] == (genomes if cut == 1 else genomes[:1])  # a line without its end is whole
    state.add(genomes[1], LINES[genomes[1]])
    state.close()
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[:2] == whole.splitlines(keepends=True)[:2]
    assert lines[-1] == whole.splitlines(keepends=True)[-1]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), flips=st.integers(1, 3))
def test_a_damaged_line_costs_that_candidate_alone_and_is_never_believed(data, flips):
    """Bytes flipped anywhere: what is still there is true, and the search goes on at every try."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        written(path).close()
        whole = bytearray(path.read_bytes())
        touched = {data.draw(st.integers(0, len(whole) - 1)) for _ in range(flips)}
        for at in touched:
            whole[at] ^= data.draw(st.sampled_from([1, 2, 4, 0x20, 0x80]))
        path.write_bytes(whole)
        ends = [i for i, byte in enumerate(path.read_bytes()) if byte == 10]
        truth = {genome: {"genome": genome_text(genome), **line} for genome, line in LINES.items()}
        for _ in range(2):
            state = SearchJournal(path, HEADER)
            assert state.lines.items() <= truth.items()
            assert len(state.lines) >= len(LINES) - len(touched) - (len(ends) != 3)
            state.close()
        for genome, line in LINES.items():
            state = SearchJournal(path, HEADER)
            if genome not in state.lines:
                state.add(genome, line)
            state.close()
        assert SearchJournal(path, HEADER).lines == truth


def test_damage_is_named_and_a_file_without_a_whole_line_is_set_aside(tmp_path, capsys):
    path = tmp_path / "state.jsonl"
    written(path).close()
    whole = path.read_text()
    path.write_text(whole.replace("012", "011", 1))
    assert [*SearchJournal(path, HEADER).lines] == [(3, 0, 11)]
    said = capsys.readouterr().err
    assert said == f"warning: {path} has damaged lines (1): their candidates are scored again\n"
    path.write_text("my notes\n")
    assert not SearchJournal(path, HEADER).lines
    assert path.with_suffix(".corrupt1").read_text() == "my notes\n"
    assert "kept as state.corrupt1, the search starts again" in capsys.readouterr().err


def test_the_state_of_another_search_is_refused_and_kept(tmp_path):
    path = tmp_path / "state"
    written(path).close()
    before = path.read_bytes()
    for header, named in (
        ({**HEADER, "seed": 1}, r"\(seed differ"),
        ({**HEADER, "space": "xyz", "limits": (1, 9)}, r"\(limits, space differ"),
        ({"space": "abc", "seed": 0}, r"\(limits differ"),
    ):
        with pytest.raises(BadInput, match=named) as caught:
            SearchJournal(path, header)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_folder_or_a_file_in_the_way_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        SearchJournal(tmp_path, HEADER)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        SearchJournal(tmp_path / "file" / "state", HEADER)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk to write to")
def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path):
    path = tmp_path / "state"
    state = written(path)
    with Path("/dev/full").open("a") as full:
        whole, state._file = state._file, full
        with pytest.raises(BadInput, match=r"No space left on device.*goes on from its last candidate"):
            state.add((1, 1, 1), {"score": 0.5, "seconds": 1.0})
        state.close()
    whole.close()
    assert [*SearchJournal(path, HEADER).lines] == [*LINES]
