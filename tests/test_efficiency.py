"""What a step costs relative to the frozen floor: exact FLOPs on the meta device."""

import json
import sys
from pathlib import Path

import pytest

from glorabench.compose import options

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import efficiency

ROOT = Path(__file__).resolve().parents[1]


def ratios(words: list[str], runs: dict[str, list[str]]) -> dict[str, float]:
    floor = efficiency.step_flops(words, None)
    return {label: efficiency.step_flops(words, run) / floor for label, run in runs.items()}


def test_step_costs_of_vit_b16_relative_to_the_frozen_floor(monkeypatch):
    supernet = f"glora supernet, mean of {efficiency.DRAWS} draws"
    monkeypatch.setattr(efficiency, "DRAWS", 6)
    runs = {k: v for k, v in efficiency.VARIANTS.items() if "glora" in k} | {"lora": ["method=lora"]}
    ratio = ratios(["backbone=vit_b16"], runs)
    assert ratio["lora"] <= 1.02
    assert ratio["glora, A none, the rest lora"] <= 1.02
    assert ratio["glora, all vectors"] <= 1.02
    assert ratio[supernet] <= 1.15
    assert 1.40 <= ratio["glora, all lora"] <= 1.50


def test_hugging_face_computes_glora_with_two_more_products():
    """Base and adapted output, each with a forward pass and a gradient, and a dense weight gradient: 5 against 2."""
    words = ["backbone=vit_b16", "backbone.last_block=all"]
    label = "glora, all vectors"
    assert ratios(words, {label: efficiency.PEFT[label]})[label] > 2.3
    assert ratios(words, {label: efficiency.VARIANTS[label]})[label] < 1.0


def test_every_method_and_variant_has_a_row():
    assert {efficiency.FLOOR, *options("method"), *efficiency.VARIANTS} == set(efficiency.variants())
    assert set(efficiency.PEFT) <= set(efficiency.VARIANTS)


@pytest.fixture(scope="module")
def mini() -> dict:
    """What the command writes, of a small backbone and a few rows."""
    same = ("lora, fused qkv", "lora, all linear layers", "ia3, fused qkv and fc2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficiency, "options", lambda group: ["full", "linear"])
        for name, kept in (("VARIANTS", same), ("PEFT", same), ("SHORTCUTS", list(efficiency.SHORTCUTS)[:3])):
            patch.setattr(efficiency, name, {label: getattr(efficiency, name)[label] for label in kept})
        return json.loads(json.dumps(efficiency.measure("vit_mini")))


def test_shortcuts_save_and_the_settings_have_their_own_floors(mini):
    assert all(found < without for without, found in mini["shortcuts"].values())
    short, plain = (mini["flops_per_image"][s][efficiency.FLOOR] for s in efficiency.SETTINGS)
    assert mini["shortcuts"]["last block for the class token: frozen floor"] == [plain, short]


def test_lora_and_ia3_cost_the_same_in_hugging_face_peft(mini):
    for label, found in mini["peft_flops_per_image"].items():
        assert found == pytest.approx(mini["flops_per_image"]["all"][label], rel=1e-3)


def test_the_page_holds_every_number_that_the_table_shows(mini):
    page = efficiency.markdown(mini)
    for _, columns, rows in efficiency.tables(mini):
        assert f"| {' | '.join(columns)} |" in page
        for row in rows:
            assert len(row) == len(columns)
            assert f"| {' | '.join(row)} |" in page


def test_the_committed_numbers_are_those_of_the_code():
    folder = ROOT / "results" / "efficiency"
    committed = json.loads((folder / "counters-vit_b16.json").read_text())
    assert (folder / "README.md").read_text() == efficiency.markdown(committed)
    for label in ("lora, fused qkv", "fact_tt"):
        found = efficiency.step_flops(["backbone=vit_b16"], efficiency.variants()[label])
        assert found == committed["flops_per_image"]["class_token"][label]


def test_the_page_says_that_the_code_had_local_changes(mini):
    for dirty in (False, True):
        mini["provenance"]["git"] = {"sha": "0123456789ab", "dirty": dirty}
        assert ("Counted at 0123456789 (with local changes), with peft" in efficiency.markdown(mini)) == dirty
