"""FacT-TK as its authors' code computes it (PETL-ViT, commit 026e4f1), told again by its flat places; and starts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import DIM, images, tiny_vit
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.methods.base import fill_normal
from glorabench.methods.reparam import merge

RANK, BLOCKS = 3, 2
FIRST = {"attn.qkv": 0, "attn.proj": 3, "mlp.fc1": 4, "mlp.fc2": 8}  # number of the first slice in a block of twelve


def adapted(form: str, *words: str) -> Any:
    """A tiny ViT in float64 with all factors random."""
    made = tiny_vit(dtype=torch.float64)
    own = [f"method.form={form}", f"method.rank={RANK}", "method.scale=0.7"]
    make(compose(["method=fact_tk", *own, *words])["method"], METHOD).inject(made)
    made.net.eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.net.named_parameters():
            if "factors" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


def updates(factors: Any) -> dict[str, np.ndarray]:
    """What the code adds to each weight, number by number.

    Its matrix of slice k is M[i, j, k] = sum_c C[i, j, c] P[c, k], and row vectors are multiplied from the left. Of the
    MLP the last two places of M become one, f = 4 j + k, before r columns each are used.
    """
    C, P, U, V = (getattr(factors, name).detach().numpy() for name in "CPUV")
    found = {}
    for block in range(BLOCKS):
        M = np.zeros((RANK, RANK, 12))
        for i, j, k in np.ndindex(M.shape):
            M[i, j, k] = sum(C[i, j, c] * P[c, 12 * block + k] for c in range(RANK))
        flat1, flat2 = (np.zeros((RANK, 4 * RANK)) for _ in range(2))
        for i, f in np.ndindex(flat1.shape):
            flat1[i, f], flat2[i, f] = M[i, f // 4, 4 + f % 4], M[i, f // 4, 8 + f % 4]
        for layer, first in FIRST.items():
            parts = []
            for m in range({"attn.qkv": 3, "attn.proj": 1}.get(layer, 4)):
                if layer == "mlp.fc1":
                    parts.append(V @ flat1[:, m * RANK : (m + 1) * RANK].T @ U)
                elif layer == "mlp.fc2":
                    parts.append(V @ flat2[:, m * RANK : (m + 1) * RANK] @ U)
                else:
                    parts.append(V @ M[:, :, first + m].T @ U)
            found[f"blocks.{block}.{layer}"] = 0.7 * np.concatenate(parts, axis=1 if layer == "mlp.fc2" else 0)
    return found


@pytest.mark.parametrize("targets", ["[qkv,o,fc1,fc2]", "[q,k,v,o,fc1,fc2]"])
def test_every_weight_gets_what_the_code_adds(targets: str) -> None:
    made, plain = adapted("tk_code", f"method.targets={targets}"), tiny_vit(dtype=torch.float64)
    factors = made.net.get_submodule("blocks.0.mlp.fc1").reparams[0].factors
    logits = made.net(images(3, dtype=torch.float64))
    merged = merge(made.net)
    for path, update in updates(factors).items():
        before = plain.net.get_submodule(path).get_parameter("weight").detach().numpy()
        after = merged.get_submodule(path).get_parameter("weight").detach().numpy()
        assert np.allclose(after, before + update, rtol=0, atol=1e-12), path
    assert torch.allclose(merged(images(3, dtype=torch.float64)), logits, rtol=0, atol=1e-10)


def middles(form: str) -> np.ndarray:
    """All matrices S of a network, one a row."""
    made = adapted(form)
    parts = [module.reparams[0].middle_factors() for module in made.net.modules() if hasattr(module, "reparams")]
    return torch.cat(parts).flatten(1).detach().numpy()


def test_as_many_parameters_reach_another_set_of_updates() -> None:
    """The matrices of the formula are combinations of r; those of the code are not."""
    assert np.linalg.matrix_rank(middles("tk")) == RANK
    assert np.linalg.matrix_rank(middles("tk_code")) > RANK
    sizes = [sum(p.numel() for p in adapted(form).net.parameters() if p.requires_grad) for form in ("tk", "tk_code")]
    assert sizes[0] == sizes[1]


def test_the_recipes_of_the_published_rows_run_the_code_and_the_method_the_paper() -> None:
    assert compose(["method=fact_tk"])["method"]["form"] == "tk"
    for name in ("vtab1k_baselines", "vtab1k_baselines_honest", "vtab1k_tune"):
        words = [f"experiment={name}", "method=fact_tk", "data.task=dtd", "seed=0"]
        assert compose([*words, "train.lr=1e-3"])["method"]["form"] == "tk_code"


def share(bound: float) -> float:
    """Of a standard normal, the share within +-bound."""
    return math.erf(bound / math.sqrt(2))


@pytest.mark.parametrize(("init", "bound"), [("normal", 2.0), ("normal_uncut", math.inf)])
def test_a_normal_start_is_cut_at_two_std_or_not_at_all(init: str, bound: float) -> None:
    """Adapter+ cuts at two std, which leaves 0.88 of the spread; NOAH's initialiser cuts at -2 and 2, 100 std away."""
    torch.manual_seed(0)
    matrix = torch.empty(1000, 400)
    fill_normal(matrix, init, 0.02)
    inner = 1.0 if bound == math.inf else share(bound)
    assert ((matrix.abs() <= 0.02).double().mean() - share(1.0) / inner).abs() < 0.003
    assert ((matrix.abs() <= 0.04).double().mean() - share(2.0) / inner).abs() < 0.002
    lost = 0.0 if bound == math.inf else 4 * math.exp(-2) / math.sqrt(2 * math.pi) / share(2)
    assert matrix.std().item() == pytest.approx(0.02 * math.sqrt(1 - lost), rel=0.01)


@pytest.mark.parametrize("words", [("lora", "method.targets=[qkv]"), ("pfeiffer", "method.targets=[out2]")])
@pytest.mark.parametrize("init", ["normal", "normal_uncut"])
def test_lora_and_adapters_can_start_both_ways(words: tuple[str, ...], init: str) -> None:
    torch.manual_seed(0)
    made = tiny_vit()
    method = make(
        compose([f"method={words[0]}", *words[1:], f"method.init={init}", "method.std=0.02"])["method"], METHOD
    )
    method.inject(made)
    matrices = [p for name, p in made.net.named_parameters() if name.endswith((".down", ".up"))]
    largest = max(p.abs().max().item() for p in matrices)
    assert len(matrices) == 4
    assert (largest <= 0.04) == (init == "normal")
    assert all(isinstance(p, nn.Parameter) and p.shape[0] in (8, DIM, 3 * DIM) for p in matrices)
