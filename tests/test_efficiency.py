"""What a step costs relative to the frozen floor: exact FLOPs, bytes kept for backward, and the clock's page."""

import json
import multiprocessing
import sys
from pathlib import Path

import pytest
import torch

from glorabench.config.paths import options
from glorabench.methods.glora import Supports
from glorabench.methods.reparam import Reparam
from glorabench.training.measure.provenance import provenance

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import counters
import pages
import steps
import worker

ROOT = Path(__file__).resolve().parents[1]


def ratios(words: list[str], runs: dict[str, list[str]]) -> dict[str, float]:
    floor = counters.step_flops(words, None)
    return {label: counters.step_flops(words, run) / floor for label, run in runs.items()}


def test_step_costs_of_vit_b16_relative_to_the_frozen_floor(monkeypatch):
    supernet = f"glora supernet, mean of {counters.DRAWS} draws"
    monkeypatch.setattr(counters, "DRAWS", 6)
    runs = {k: v for k, v in counters.VARIANTS.items() if "glora" in k} | {"lora": ["method=lora"]}
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
    assert ratios(words, {label: counters.PEFT[label]})[label] > 2.3
    assert ratios(words, {label: counters.VARIANTS[label]})[label] < 1.0


def test_every_method_and_variant_has_a_row():
    assert {counters.FLOOR, *options("method"), *counters.VARIANTS} == set(counters.variants())
    assert set(counters.PEFT) <= set(counters.VARIANTS)


@pytest.fixture(scope="module")
def mini() -> dict:
    """What the command writes, of a small backbone and a few rows."""
    same = ("lora, fused qkv", "lora, all linear layers", "ia3, fused qkv and fc2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counters, "options", lambda group: ["full", "linear"])
        for name, kept in (("VARIANTS", same), ("PEFT", same), ("SHORTCUTS", list(counters.SHORTCUTS)[:3])):
            patch.setattr(counters, name, {label: getattr(counters, name)[label] for label in kept})
        return json.loads(json.dumps({**counters.measure("vit_mini"), "peft": "0", "provenance": provenance()}))


def test_shortcuts_save_and_the_settings_have_their_own_floors(mini):
    assert all(found < without for without, found in mini["shortcuts"].values())
    short, plain = (mini["flops_per_image"][s][counters.FLOOR] for s in counters.SETTINGS)
    assert mini["shortcuts"]["last block for the class token: frozen floor"] == [plain, short]


def test_lora_and_ia3_cost_the_same_in_hugging_face_peft(mini):
    for label, found in mini["peft_flops_per_image"].items():
        assert found == pytest.approx(mini["flops_per_image"]["all"][label], rel=1e-3)


def test_the_page_holds_every_number_that_the_table_shows(mini):
    page = pages.markdown([mini], [], [])
    for _, columns, rows in pages.counter_tables(mini):
        assert f"| {' | '.join(columns)} |" in page
        for row in rows:
            assert len(row) == len(columns)
            assert f"| {' | '.join(row)} |" in page


def test_the_committed_numbers_are_those_of_the_code():
    folder = ROOT / "results" / "efficiency"
    committed = json.loads((folder / "counters-vit_b16.json").read_text())
    assert (folder / "README.md").read_text() == pages.page(folder)
    for label in ("lora, fused qkv", "fact_tt"):
        found = counters.step_flops(["backbone=vit_b16"], counters.variants()[label])
        assert found == committed["flops_per_image"]["class_token"][label]


def test_the_page_says_that_the_code_had_local_changes(mini):
    for dirty in (False, True):
        mini["provenance"]["git"] = {"sha": "0123456789ab", "dirty": dirty}
        assert ("Counted at 0123456789 (with local changes), with torch" in pages.markdown([mini], [], [])) == dirty


def saved(label: str, draws: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Bytes kept per image on a mid-size ViT, relative to LoRA on the same layers."""
    monkeypatch.setattr(counters, "DRAWS", draws)
    words = ["backbone=vit_mini"]
    return counters.saved_bytes(words, counters.VARIANTS[label]) / counters.saved_bytes(words, LORA)


LORA = counters.VARIANTS["lora, all linear layers"]
ALL_LORA, VECTORS, NO_A = "glora, all lora", "glora, all vectors", "glora, A none, the rest lora"


def test_glora_keeps_no_more_for_backward_than_lora(monkeypatch):
    supernet = next(label for label in counters.VARIANTS if "supernet" in label)
    assert saved(ALL_LORA, 1, monkeypatch) <= 1.0
    assert saved(NO_A, 1, monkeypatch) <= 1.02
    assert saved(supernet, 24, monkeypatch) <= 1.1


def test_the_formula_taken_literally_keeps_more_and_a_frozen_floor_less(monkeypatch):
    words = ["backbone=vit_mini"]
    ours, floor = (counters.saved_bytes(words, run) for run in (counters.VARIANTS[ALL_LORA], None))
    with counters.literal():
        assert counters.saved_bytes(words, counters.VARIANTS[ALL_LORA]) > 1.5 * ours
    assert counters.saved_bytes(words, counters.VARIANTS[ALL_LORA]) == ours
    assert floor < 0.8 * ours


def test_saved_bytes_are_those_of_a_hand_count(monkeypatch):
    """The result of exp is kept for its own gradient; a layer that trains keeps the same storage, counted once."""
    tokens, width = 6, 4
    layer, x = torch.nn.Linear(width, width), torch.randn(tokens, width, requires_grad=True)
    layer.requires_grad_(False)
    assert counters.kept(lambda: layer(x.exp()).sum(), [*layer.parameters(), x]) == 4 * tokens * width
    layer.requires_grad_(True)
    again = counters.kept(lambda: layer(x.exp()).sum(), [*layer.parameters(), x])
    assert again == 4 * tokens * width


@pytest.fixture(scope="module")
def clocked() -> dict:
    """Three variants of the embedded ViT, two rounds, each in its own process."""
    chosen = (counters.FLOOR, steps.SUPERNET, steps.LITERAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "WALL", {label: steps.WALL[label] for label in chosen})
        found = steps.measure("vit_mini", batch=2, repeats=2, threads=1)
    return json.loads(json.dumps({**found, "peft": "0", "provenance": provenance()}))


def test_steps_are_measured_in_turns_and_put_on_the_page(clocked):
    assert all(len(samples) == 2 and min(samples) > 0 for samples in clocked["ms"].values())
    assert all(size > 0 for size in clocked["peak_bytes"].values())
    page = pages.markdown([], [clocked], [])
    ((_, columns, rows),) = pages.step_tables(clocked)
    assert [row[0] for row in rows] == list(clocked["ms"])
    assert rows[0][columns.index("/ floor")] == "1.000"
    assert all(f"| {' | '.join(row)} |" in page for row in (columns, *rows))


def test_ratios_are_medians_over_rounds(clocked):
    known = {counters.FLOOR: [1.0, 2.0, 4.0], steps.SUPERNET: [2.0, 4.2, 40.0]}
    told = {**clocked, "ms": known, "images_per_s": dict.fromkeys(known, 7.0)}
    ((_, columns, rows),) = pages.step_tables(told)
    assert rows[1] == (steps.SUPERNET, "4.2", "19.0", "2.100", rows[1][4], "7.0")
    assert columns[-1] == "images/s, an epoch"
    (first,) = pages.faster({"ms": known | {steps.LITERAL: [4.0, 12.6, 8.0]}})
    assert first == f"A step of {steps.SUPERNET} is 2.00 times as fast as one of {steps.LITERAL}."


def test_a_worker_that_ends_is_named():
    here, there = multiprocessing.Pipe()
    there.close()
    with pytest.raises(RuntimeError, match="the process of 'x' ended"):
        steps.answer(here, "x")


def test_an_epoch_goes_through_the_data_of_a_run(cache):
    one = worker.Worker(worker.Variant(["method=linear"]), "vit_mini", batch=256)
    assert one.epoch() > 0
    assert one.trained == 3 * 256  # digits: 1,000 images, the last incomplete batch is dropped


def test_a_literal_worker_forms_the_weight(monkeypatch):
    monkeypatch.setattr(Supports, "through", Supports.through)  # put back afterwards
    ours = worker.Worker(steps.WALL[steps.SUPERNET], "vit_mini", batch=2)
    literal = worker.Worker(steps.WALL[steps.LITERAL], "vit_mini", batch=2)
    assert Supports.through is Reparam.through
    for each in (ours, literal):
        each.step()
    assert literal.space.current() == ours.space.current() == ours.space.paths(ours.space.draw(0, 0))


def test_every_way_to_read_images_gives_all_of_them_and_is_put_on_the_page(tmp_path, monkeypatch):
    import data as loading

    words = ["data.py", "--images", "40", "--rounds", "2", "--out", str(tmp_path), "backbone=vit_mini"]
    monkeypatch.setattr("sys.argv", words)
    loading.main()
    result = json.loads((tmp_path / "data-vit_mini-cpu.json").read_text())
    assert result["size"] == 32
    assert result["consumed"] > 0
    for paces in result["images_per_s"].values():
        assert next(iter(paces)) == "cache"
        assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in paces.values())
    page = (tmp_path / "README.md").read_text()
    assert page == pages.page(tmp_path)
    assert "| cache, augmented |" in page
    assert "vit_mini trains on" in page
