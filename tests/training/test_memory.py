"""The memory of a training by its shapes, and the table of docs/quantised.md, which this file prints when it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.errors import BadInput, UnsuitableBackbone
from glorabench.training.measure.memory import memory_of, training_memory

PAGE = Path(__file__).parents[2] / "docs" / "quantised.md"
BASES = {
    "float32": "",
    "bfloat16": "backbone.dtype=bfloat16",
    "int8": "backbone.quantize=int8",
    "nf4, scales in float32": "backbone.quantize=nf4 backbone.double_quant=false",
    "nf4": "backbone.quantize=nf4",
    "nf4, the rest in bfloat16": "backbone.quantize=nf4 backbone.dtype=bfloat16",
}
METHODS = ("lora", "dora", "glora", "full")
LLAMA_7B = 6_738_415_616  # parameters, counted by its authors' code
LINEAR = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)  # those of the linear layers in the blocks


def words(base: str, method: str) -> list[str]:
    path = ["method.path={A:lora,B:lora,C:none,D:none,E:none}"] if method == "glora" else []
    return ["backbone=llama_7b", f"method={method}", *path, *BASES[base].split()]


def table() -> str:
    """The table in Markdown, in GiB of 2^30 bytes."""
    trained = [f"{memory_of(words('float32', method)).trained:,}" for method in METHODS]
    lines = [["base", "bytes of the base", *METHODS], ["---", *["---:"] * (len(METHODS) + 1)]]
    lines.append(["trained parameters", "", *trained])
    for base in BASES:
        lines.append([base, f"{memory_of(words(base, 'lora')).base:,}", *(gibibytes(base, m) for m in METHODS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gibibytes(base: str, method: str) -> str:
    try:
        return f"{memory_of(words(base, method)).total / 2**30:.2f} GiB"
    except UnsuitableBackbone:
        return "refused"


@pytest.mark.campaign
def test_the_table_of_the_page_is_what_is_computed() -> None:
    assert table() in PAGE.read_text(), "python tests/training/test_memory.py prints the table of this release"


@pytest.mark.parametrize(
    ("base", "bits"), [("float32", 32), ("bfloat16", 16), ("int8", 8), ("nf4, scales in float32", 4.5), ("nf4", 4.127)]
)
def test_a_llama_of_seven_billion_parameters(base: str, bits: float) -> None:
    """The count of its authors whatever the weights are kept in; the bits of a weight are those of the papers."""
    found = memory_of(words(base, "lora"))
    assert found.parameters - found.trained == LLAMA_7B
    width = 2 if base == "bfloat16" else 4
    linear_bytes = found.base - (LLAMA_7B - LINEAR) * width
    assert 8 * linear_bytes / LINEAR == pytest.approx(bits, rel=1e-3)
    assert found.optimizer == 2 * found.trained * 4 == 2 * found.gradients == 2 * found.adapter


def test_shapes_say_what_real_tensors_take() -> None:
    """On llama_mini: all bytes of all parameters and scales, but for the tables that decode nf4."""
    for base in ("backbone.quantize=nf4", "backbone.quantize=int8", "backbone.dtype=bfloat16"):
        line = ["backbone=llama_mini", base, "method=lora"]
        config = compose(line)
        torch.manual_seed(0)
        made = make(config["backbone"], BACKBONE, weights_from=None)
        make(config["method"], METHOD).inject(made)
        found, expected = training_memory(made), memory_of(line)
        tables = 42 * (1024 + 64 + 4) if "nf4" in base else 0  # six blocks of seven layers
        assert found.base == expected.base + tables
        assert (found.trained, found.parameters) == (expected.trained, expected.parameters)


def test_words_that_no_run_takes_are_refused() -> None:
    with pytest.raises(BadInput, match="nf5"):
        memory_of(["backbone=llama_7b", "method=lora", "backbone.quantize=nf5"])


if __name__ == "__main__":
    print(table())
