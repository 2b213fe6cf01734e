"""Exact parameter counts of the real ViT-B/16 on the meta device, and the cost of a step relative to the floor."""

import sys
from pathlib import Path

import pytest

from conftest import tiny_vit
from glorabench import cost
from glorabench.cli import main
from glorabench.compose import compose, make
from glorabench.count import counts

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import efficiency

VIT_B16 = {  # the integers of the papers' definitions, head apart
    "method=full": 85_798_656,
    "method=linear": 0,
    "method=bitfit": 102_912,
    "method=bitfit method.norms=false": 83_712,
    "method=lora": 294_912,
    "method=lora method.targets=[qkv]": 294_912,
    "method=lora method.targets=[q,k,v,o,fc1,fc2] method.rank=4": 4 * (12 * (8 * 768 + 2 * 3840)),
    "method=glora method.path=supernet method.rank=2": 884_832,
    "method=glora method.path=supernet method.rank=4": 1_603_776,
    "method=glora method.path=supernet method.rank=8": 3_041_664,
}


@pytest.mark.parametrize("words", VIT_B16)
def test_counts_on_vit_b16(words):
    found = counts(["backbone=vit_b16", *words.split(" ")])
    size = found["method"] if found["supernet"] is None else found["supernet"]
    assert size == VIT_B16[words]
    assert found["head"] == 769


def test_a_random_path_is_as_large_as_the_mean_of_the_supernet():
    """Expected size of a uniform subnet, rank 4: 499,320 (closed form); one draw of 48 layers lies near it."""
    found = counts(["backbone=vit_b16", "method=glora", "method.path=random"])["method"]
    assert 0.6 * 499_320 < found < 1.4 * 499_320


def test_counts_on_convnext_b():
    """All 36 blocks: fc1 and fc2 are C x 4C, C in 128, 256, 512, 1024 for 3, 3, 27, 3 blocks."""
    words = ["backbone=convnext_b", "method=lora", "method.targets=[fc1,fc2]"]
    widths = 3 * 128 + 3 * 256 + 27 * 512 + 3 * 1024
    assert counts(words)["method"] == 8 * 2 * 5 * widths


def test_stored_bytes_and_total_of_a_small_case():
    made = tiny_vit()
    make(compose(["method=lora", "method.targets=[qkv]", "method.rank=2"])["method"]).inject(made)
    found = cost.parameters(made)
    assert found["method"] == 2 * 2 * (32 + 96)
    assert found["head"] == 5 * 33
    assert found["stored_bytes"] == 4 * (found["method"] + found["head"])
    assert found["total"] == sum(p.numel() for p in made.net.parameters())


def test_the_count_command_prints_every_row(capsys):
    assert main(["count", "backbone=vit_b16"]) == 0
    printed = capsys.readouterr().out
    for integer in ("85,798,656", "102,912", "294,912", "884,832", "1,603,776", "3,041,664"):
        assert integer in printed
    assert main(["count", "backbone=convnext_b", "method=lora"]) == 0
    assert "not defined: backbone convnext_b has no role 'q'" in " ".join(capsys.readouterr().out.split())


def test_step_costs_relative_to_the_frozen_floor(monkeypatch):
    monkeypatch.setattr(efficiency, "DRAWS", 6)
    counted = efficiency.counters("vit_b16")
    ratio = {label: value / counted["frozen floor"] for label, value in counted.items()}
    assert ratio["lora (rank 8, q and v)"] <= 1.02
    assert ratio["glora, A none, the rest lora"] <= 1.02
    assert ratio["glora, all vectors"] <= 1.02
    assert next(value for label, value in ratio.items() if "supernet" in label) <= 1.15
    assert 1.40 <= ratio["glora, all lora"] <= 1.50
