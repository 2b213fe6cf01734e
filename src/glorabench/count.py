"""`glorabench count`: exact parameter counts on the meta device, without weights and in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from omegaconf import OmegaConf

from glorabench import cost
from glorabench.compose import compose, conf_dir, expand, make
from glorabench.errors import BadInput


class Unhosted(BadInput):
    """The backbone cannot host the method."""


def counts(overrides: Sequence[str]) -> dict[str, int | None]:
    """What `cost.parameters` says of a config, for a head of one class.

    Raises:
        BadInput: the config is wrong.
        Unhosted: the backbone cannot host the method.
    """
    config = compose(overrides)
    method = make(config["method"])
    with torch.device("meta"):
        backbone = make(config["backbone"])
        if backbone.head is not None:
            backbone.set_head(1)
        try:
            method.inject(backbone)
        except BadInput as error:
            raise Unhosted(str(error)) from error
    return cost.parameters(backbone)


def _table(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(label, overrides) of each row: the words' own method, or every row of conf/count.yaml."""
    if any(word.partition("=")[0] == "method" for word in words):
        for job in expand(words, multirun=True)[0]:
            yield " ".join(word for word in job if word.startswith("method")), job
        return
    rows = OmegaConf.to_container(OmegaConf.load(conf_dir() / "count.yaml"))
    assert isinstance(rows, dict)
    yield from ((str(label), [*row, *words]) for label, row in rows.items())


def main(words: Sequence[str]) -> int:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    backbone = compose([w for w in words if w.startswith("backbone")])["names"]["backbone"]
    grid = Table(title=f"trainable parameters on {backbone}, head apart")
    grid.add_column("method")
    grid.add_column("parameters", justify="right")
    head = 0
    for label, overrides in _table(words):
        try:
            found = counts(overrides)
        except Unhosted as error:
            grid.add_row(label, f"not defined: {error}")
            continue
        head = found["head"]
        size = found["method"] if found["supernet"] is None else found["supernet"]
        grid.add_row(label, f"{size:,}")
    console = Console(highlight=False)
    console.print(grid)
    console.print(f"head: {head:,} for each class; fixed GLoRA paths (method.path) are smaller than the supernet")
    return 0
