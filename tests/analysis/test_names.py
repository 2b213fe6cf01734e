"""Names for people: from labels and settings, never the same for two configurations, and no part of an id."""

from __future__ import annotations

from pathlib import Path

import pytest

from glorabench.analysis import names
from glorabench.analysis.cells import Group, named_groups_of
from glorabench.config import paths
from glorabench.records import record

ROOT = Path(__file__).parents[2]


def config(method: str, search: str | None = None, winner: str | None = None, **values: object) -> dict[str, object]:
    group = {"method": method} | ({"search": search} if search else {})
    return {"names": group, "method": values, "search": {"winner": winner} if search else None}


@pytest.mark.parametrize(
    ("node", "words", "name"),
    [
        (
            config("lora", rank=3, alpha=3),
            ["alpha=3", "rank=3", "targets=[q,k,v,o,fc1,fc2]"],
            "LoRA, all layers, r = 3",
        ),
        (config("lora", rank=8, alpha=16), ["alpha=16", "rank=8", "targets=[q,v]"], "LoRA, q and v, r = 8, alpha = 16"),
        (config("lora", rank=8), ["targets=[qkv]"], "LoRA, qkv"),
        (config("glora", path="random"), [], "GLoRA, random path"),
        (config("glora", search="evolution", winner="retrain"), [], "GLoRA, searched"),
        (config("glora", search="evolution", winner="inherit"), [], "GLoRA, searched, inherited weights"),
        (config("full"), ["train.lr=0.01"], "full fine-tuning, learning rate 0.01"),
        (config("mine"), ["rank by task"], "mine, rank by task"),
    ],
)
def test_a_name_says_method_search_and_what_differs(node: dict[str, object], words: list[str], name: str) -> None:
    assert names.human_names([node], [words]) == [name]


def test_two_short_names_that_would_be_equal_are_written_in_full() -> None:
    nodes = [config("lora", rank=3, alpha=3), config("lora", rank=3, alpha=3)]
    words = [["alpha=3", "rank=3"], ["alpha=4", "rank=3"]]
    first, second = names.human_names(nodes, words)
    assert first == "LoRA, alpha=3, rank=3"
    assert second == "LoRA, alpha=4, rank=3"


def test_every_label_has_its_file_and_no_two_are_equal() -> None:
    table = names.label_table()
    assert set(table) == {"method", "search"}
    for group, labels in table.items():
        assert set(labels) <= set(paths.options(group))
        assert len(set(labels.values())) == len(labels)


def test_the_rows_of_the_benchmark_have_different_names() -> None:
    records = record.read_all([ROOT / "results" / "runs" / "mini"])
    (group,) = named_groups_of(records)
    plain = Group(records)
    assert [cell.task for cell in group.cells] == [cell.task for cell in plain.cells]
    for task, cells in group.by_task.items():
        shown = [cell.method for cell in cells]
        assert len(set(shown)) == len(shown) == len(plain.by_task[task])
    assert {"LoRA, all layers, r = 3", "LoRA, q and v, r = 8", "GLoRA, searched"} <= {c.row for c in group.cells}
