"""FacT (Jie and Deng 2023, arXiv 2212.03145): all updates share U (r x D) and V (D x r).

Every D x D slice k of the adapted weights (q, k, v and o are one each, fc1 and fc2 four each) gets s V S_k U. In the
tensor train every S_k is free; in the Tucker form of the paper S_k = sum_c P[c, k] C[:, :, c]. Slices are numbered
in the order of the network.

The authors' Tucker code (PETL-ViT, commit 026e4f1), which made the published rows, computes something else with as many
parameters: of fc1 and fc2 it takes the columns of all four matrices in turn (the first of each, the second of each, and
so on) and cuts them into four matrices of r columns. The S of a network then span 112 dimensions at r = 16, where those
of the paper span 16. The S of the code are also transposed, except those of fc2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput, one_of
from glorabench.methods.base import Method, check_rank, like_of, weight_of
from glorabench.methods.reparam import Reparam

DECOMPOSITIONS = ("tt", "tk", "tk_code")


class Factors(nn.Module):
    """What all slices share: U, V and, in the Tucker form, the core C and the columns P."""

    def __init__(self, like: Tensor, rank: int, width: int, columns: int) -> None:
        super().__init__()
        self.U = nn.Parameter(like.new_empty(rank, width))
        self.V = nn.Parameter(like.new_zeros(width, rank))
        nn.init.kaiming_uniform_(self.U, a=math.sqrt(5))
        if columns:
            self.C = nn.Parameter(like.new_empty(rank, rank, rank))
            self.P = nn.Parameter(like.new_empty(rank, columns))
            nn.init.xavier_uniform_(self.C)
            nn.init.xavier_uniform_(self.P)


class Slices(Reparam):
    """The slices of one layer, side by side in its rows (o = m D) or in its columns (i = m D).

    Args:
        weight: of the layer.
        factors: what all slices share.
        first: number of its first slice in the Tucker forms; None in the tensor train.
        scale: s.
        dropout: rate after S while training.
        as_in_code: S as the authors' Tucker code computes them.
        share_columns: in that code, the slices share their columns, except those of attention.
    """

    def __init__(
        self,
        weight: Tensor,
        factors: Factors,
        first: int | None,
        scale: float,
        dropout: float,
        as_in_code: bool = False,
        share_columns: bool = False,
    ) -> None:
        super().__init__()
        width, rank = factors.V.shape
        (o, i), self.factors = weight.shape, factors
        self.in_columns, self.count = i > width, max(o, i) // width
        self.scale, self.dropout, self.first = scale, dropout, first
        self.as_in_code, self.share_columns = as_in_code, share_columns
        if first is None:
            self.S = nn.Parameter(weight.new_empty(self.count, rank, rank))
            bound = 1 / math.sqrt(rank * self.count if self.in_columns else rank)
            nn.init.uniform_(self.S, -bound, bound)

    def middle_factors(self) -> Tensor:
        """S of every slice: m x r x r."""
        if self.first is None:
            return self.S
        columns = self.factors.P[:, self.first : self.first + self.count]
        slices = torch.einsum("ijc,ck->kij", self.factors.C, columns)
        if not self.as_in_code:
            return slices
        if self.share_columns:  # column j of slice k is column j m + k of all, of which each gets r
            slices = slices.permute(1, 2, 0).flatten(1).unflatten(1, (self.count, -1)).transpose(0, 1)
        return slices if self.in_columns else slices.mT

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(W0 + s V S_k U slice by slice, b0)."""
        slices = self.factors.V @ self.middle_factors() @ self.factors.U
        update = torch.cat(list(slices), dim=1 if self.in_columns else 0)
        return weight + self.scale * update, bias

    def delta(self, x: Tensor, rows: slice) -> Tensor:
        """U once for all slices of a layer, so once for q, k and v where they are fused; then S_k, then V."""
        U, V, S = self.factors.U, self.factors.V, self.middle_factors()
        if self.in_columns:
            h = F.linear(x.unflatten(-1, (self.count, -1)), U).flatten(-2)
            h = F.linear(h, torch.cat(list(S), dim=1))
            return self.scale * F.linear(F.dropout(h, self.dropout, self.training), V[rows])
        first, last = rows.start // len(V), -(-rows.stop // len(V))
        S = S[first:last]
        h = F.linear(F.linear(x, U), S.flatten(0, 1))
        h = F.dropout(h, self.dropout, self.training).unflatten(-1, (len(S), -1))
        y = self.scale * F.linear(h, V).flatten(-2)
        return y[..., rows.start - first * len(V) : rows.stop - first * len(V)]


@dataclass(frozen=True)
class FacT(Method):
    """Shared factors for every target.

    Naming the fused role (qkv) applies U once for q, k and v; naming q, k and v applies it three times, with
    the same parameters and the same result.

    Args:
        form: `tt` (tensor train), `tk` (Tucker) or `tk_code` (Tucker as the authors' code has it).
        rank: r.
        scale: s.
        dropout: rate after S_k while training.
    """

    form: str
    rank: int
    scale: float
    dropout: float

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method.form", self.form, DECOMPOSITIONS)

    def setup(self, backbone: Backbone) -> tuple[Factors, Iterator[int | None]]:
        """The shared factors, and the number of the first slice of each site in the Tucker forms.

        Raises:
            BadInput: the blocks differ in width, or a layer is no row or column of D x D slices.
        """
        widths = {site.width for site in backbone.sites(["norm2"])}
        if len(widths) > 1:
            raise BadInput(
                f"FacT shares its factors across blocks of one width; those of {backbone.name} have widths "
                f"{sorted(widths)}: choose another method"
            )
        (width,), counts = widths, []
        sites = self.sites(backbone, self.targets)
        for site in sites:
            weight = weight_of(site, backbone.net.get_submodule(site.path), (nn.Linear,))
            if min(weight.shape) != width or max(weight.shape) % width:
                raise BadInput(
                    f"FacT cuts weights into {width} x {width} slices; role '{site.role}' ({site.path}) is "
                    f"{weight.shape[0]} x {weight.shape[1]}: take it out of targets"
                )
            check_rank(self.rank, site, weight)
            counts.append(max(weight.shape) // width)
        is_fused = any(site.role == "qkv" for site in sites)
        backbone.shortcuts["shared_factors"] = "once for q, k, v" if is_fused else "for each role"
        first_slices = [None if self.form == "tt" else sum(counts[:n]) for n in range(len(counts))]
        columns = 0 if self.form == "tt" else sum(counts)
        return Factors(like_of(backbone), self.rank, width, columns), iter(first_slices)

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """The slices of the site."""
        factors, first_slices = shared
        as_in_code, share_columns = self.form == "tk_code", site.role != "qkv"
        return Slices(
            weight_of(site, layer), factors, next(first_slices), self.scale, self.dropout, as_in_code, share_columns
        )
