"""Published figures: every cell with its source, ours beside theirs, and the causes that records support."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glorabench import cli
from glorabench.analysis import published_results
from glorabench.analysis.cells import Group
from glorabench.analysis.suite_layouts import LAYOUTS
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports.tables import published, suite, wide
from test_wide_table import FULL, TASKS, made, table_of, vtab

LAYOUT = LAYOUTS["vtab1k"]
CSV = Path(__file__).parents[2] / "results" / "published" / "vtab1k.csv"


def run_at(task: str, top1: float, method: str = "convpass", seed: int = 0, **facts: Any) -> Record:
    """A run on ViT-B/16 with images and weights as they are in circulation, or as `facts` say."""
    r = made(task=task, top1=top1, method=method, seed=seed, rule=facts.get("rule", "last_epoch"))
    r.config["names"]["backbone"] = "vit_b16"
    if tuned := facts.get("tuned_on"):
        r.config["selection"]["tuned_on"] = tuned
    images = {"extraction": facts.get("extraction"), "preprocess": facts.get("preprocess")}
    weights = {"source": facts.get("weights", "ViT-B_16.npz"), "sha256": "0" * 64}
    return replace(
        r,
        run_id=record.run_id(r.config),
        provenance={"data": {**r.provenance["data"], **images}, "weights": weights},
    )


def tagged(*records: Record, every_column: bool = False) -> published.PublishedComparison:
    (found,) = published.published_comparisons(wide.wide_rows(Group(records), LAYOUT), LAYOUT, every_column)
    return found


JPEG = {"extraction": "jpeg", "preprocess": "vtab_bicubic_imagenet"}


def states(found: published.PublishedComparison) -> dict[str, str]:
    return {tag.fact: tag.state for tag in found.fact_pairs}


def test_published_means_are_those_of_the_rows() -> None:
    with CSV.open(newline="") as file:
        printed = list(csv.DictReader(file))
    rows = published_results.papers("vtab1k")
    assert len(rows) == len(printed)
    for row, paper in zip(printed, rows, strict=True):
        assert (paper.method, paper.backbone, paper.source, paper.note) == tuple(
            row[key] for key in ("method", "backbone", "source", "note")
        )
        if row["computed_group_mean"]:
            assert paper.values["vtab_mean_groups"] == pytest.approx(float(row["computed_group_mean"]), abs=0.0051)
            assert paper.values["vtab_mean_19"] == pytest.approx(float(row["computed_mean19"]), abs=0.0051)
            assert paper.values["diabetic_retinopathy"] == float(row["retinopathy"])
        else:
            name = "vtab_mean_19" if "19" in row["average_kind"] else "vtab_mean_groups"
            assert paper.values[name] == float(row["average"])
            assert not set(TASKS) & paper.values.keys()


def test_what_its_note_calls_wrong_is_held_against_nothing() -> None:
    full = published_results.published_counterpart("vtab1k", "full", False, "vit_b16", ())
    assert full is not None
    assert full.source.startswith("FacT")  # NOAH prints 87.2 for Flowers102
    assert {task: full.values[task] for task in TASKS} == FULL
    convpass = published_results.published_counterpart("vtab1k", "convpass", False, "vit_b16", ())
    assert convpass is not None
    assert convpass.is_primary
    assert round(convpass.values["vtab_mean_groups"], 2) == 76.56
    assert all(
        not paper.is_wrong
        for paper in published_results.papers_of_methods("vtab1k")
        if paper.method in ("Full", "NOAH", "Convpass")
    )


def test_a_method_without_a_search_is_not_glora_and_another_backbone_has_no_row() -> None:
    assert published_results.published_counterpart("vtab1k", "glora", True, "vit_b16", ()) is not None
    assert published_results.published_counterpart("vtab1k", "glora", False, "vit_b16", ()) is None
    assert published_results.published_counterpart("vtab1k", "lora", False, "vit_mini", ()) is None
    assert published_results.published_counterpart("vtab1k", "houlsby", False, "vit_b16", ()) is None


def test_every_method_of_the_map_is_ours_and_is_printed_somewhere() -> None:
    with CSV.with_name("methods.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ours = {path.stem for path in (CSV.parents[2] / "conf" / "method").glob("*.yaml")}
    printed = {paper.method for paper in published_results.papers("vtab1k")}
    for row in rows:
        assert row["ours"] in ours
        assert row["theirs"] in printed
        assert row["evidence"] or not any(row[fact] for fact in published_results.FACTS)
        assert row["selection"] in ("", "last_epoch", "best_test_epoch")
        assert row["extraction"] in ("", "jpeg", "lossless")


def test_few_shot_and_shift_rows_have_our_columns() -> None:
    glora = published_results.published_counterpart("fewshot", "glora", True, "vit_b16", ("4",))
    assert glora is not None
    assert glora.values["food101"] == 65.1
    lora = published_results.published_counterpart("imagenet", "lora", False, "vit_b16", ("16",))
    assert lora is not None
    assert lora.values["imagenet_a/top1_1000"] == 6.9
    assert "imagenet_a/top1_200" not in lora.values
    clip = [paper for paper in published_results.papers("imagenet") if "CLIP" in paper.backbone]
    assert clip
    assert not any("imagenet_a" in name for paper in clip for name in paper.values)
    pace = [paper for paper in published_results.papers("fewshot") if paper.method == "LoRA_add"]
    assert {paper.facts["seeds"] for paper in pace} == {"3"}


def test_without_records_the_published_table_stands_with_a_source_in_every_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["table", "vtab1k", "--format", "md"]) == 0
    out = capsys.readouterr()
    assert "no records of suite 'vtab1k': these are published figures" in out.err
    body = [line.strip("| \n").split(" | ") for line in out.out.splitlines() if line.startswith("| ")]
    rows = [row for row in body if row[0] not in ("method", "---")]
    assert len(rows) == len(published_results.papers_of_methods("vtab1k"))
    numbers = [cell for row in rows for cell in row[1:25] if cell.strip() not in ("-", "")]
    assert all(cell.endswith("]") and " [p" in cell for cell in numbers)
    assert "| GLoRA | 76.4 [p" in out.out
    assert out.out.count("none measured here**") == len(
        {paper.backbone for paper in published_results.papers_of_methods("vtab1k")}
    )
    assert cli.main(["table", "vtab1k", "--format", "csv"]) == 0
    values = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    columns = {column.name for column in LAYOUT.columns}
    assert {row["kind"] for row in values if row["of"] in columns} == {"published"}
    kinds = {row["of"]: row["kind"] for row in values if row["method"] == "GLoRA"}
    assert {kinds[name] for name in ("natural_mean", "vtab_mean_groups")} == {"computed from published"}
    printed = {row["of"]: row["kind"] for row in values if row["method"] == "Bi-LoRA r=32"}
    assert printed == {"vtab_mean_groups": "published"}
    assert "[p" in out.out
    assert "GLoRA: Only GLoRA VTAB row found in an accessible source." in out.out
    assert all(row["source"] for row in values)
    assert len(values) == sum(len(paper.values) for paper in published_results.papers("vtab1k"))
    for form in ("text", "tex", "html"):
        assert cli.main(["table", "vtab1k", "--format", form]) == 0
        assert "none measured here" in capsys.readouterr().out


def test_a_suite_of_which_nothing_is_known_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["table", "vtab"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no records of suite 'vtab'" in err
    assert "did you mean 'vtab1k'?" in err
    assert cli.main(["table", "fgvc"]) == 2


def test_conditions_choose_records_and_no_published_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word, said in (("method=lora", "no records of suite 'vtab1k'"), ("lora", "'lora' is no condition")):
        assert cli.main(["table", "vtab1k", word, "--results", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err


def test_the_deviation_is_ours_minus_published_in_both_averages() -> None:
    values = {task: value + 1 for task, value in FULL.items()}
    found = tagged(*[run_at(task, value / 100, "full") for task, value in values.items()])
    assert [(pair.name, round(pair.ours, 2), pair.published) for pair in found.deviations] == [
        ("vtab_mean_groups", 69.97, pytest.approx(68.97, abs=0.005)),
        ("vtab_mean_19", 66.57, pytest.approx(65.57, abs=0.005)),
    ]
    assert [row[-1] for row in found.rows()] == ["+1.00", "+1.00"]
    assert "68.97 (published)" in found.rows()[0]
    tasks = tagged(*[run_at(task, value / 100, "full") for task, value in values.items()], every_column=True)
    assert [row[1] for row in tasks.rows()] == [entry.name for entry in LAYOUT.entries]
    assert {row[-1] for row in tasks.rows()} == {"+1.00"}


def test_causes_are_the_facts_that_differ() -> None:
    seen = [run_at(t, 0.5, rule="best_test_epoch", **JPEG) for t in TASKS]
    assert states(tagged(*seen)) == dict.fromkeys(published_results.FACTS, "same")
    assert "no cause among the facts that are known; same: extraction" in tagged(*seen).conclusion
    clean = [run_at(t, 0.5, seed=s, **JPEG) for t in TASKS for s in (0, 1, 2)]
    assert states(tagged(*clean)) == {
        **dict.fromkeys(published_results.FACTS, "same"),
        "selection": "differs",
        "seeds": "differs",
    }
    assert (
        "causes: selection (last_epoch here, best_test_epoch there), seeds (3 here, 1 there);"
        in tagged(*clean).conclusion
    )


@pytest.mark.parametrize(
    ("fact", "facts", "said"),
    [
        ("extraction", {"extraction": "lossless"}, "extraction (lossless here, jpeg there)"),
        ("normalisation", {"preprocess": "vtab_bicubic_half"}, "normalisation (half here, imagenet there)"),
        ("checkpoint", {"weights": "other.npz"}, "checkpoint (other.npz of vit_b16 here, ViT-B_16.npz there)"),
    ],
)
def test_each_fact_is_a_cause_of_its_own(fact: str, facts: dict[str, Any], said: str) -> None:
    found = tagged(*[run_at(t, 0.5, rule="best_test_epoch", **{**JPEG, **facts}) for t in TASKS])
    assert {name for name, state in states(found).items() if state == "differs"} == {fact}
    assert f"causes: {said};" in found.conclusion


def test_what_nobody_states_is_said_to_be_so() -> None:
    found = tagged(*[run_at(t, 0.5, "adaptformer", **JPEG) for t in TASKS])
    assert states(found) == {**dict.fromkeys(published_results.FACTS, "not stated"), "checkpoint": "same"}
    assert "not stated: extraction, normalisation, selection, seeds" in found.conclusion
    silent = tagged(*[run_at(t, 0.5) for t in TASKS])
    assert states(silent)["extraction"] == "not stated"  # our own records do not say it


def test_the_table_has_ours_against_published_in_every_form(tmp_path: Path) -> None:
    records = [run_at(t, FULL[t] / 100, "full", **JPEG) for t in TASKS]
    text = suite.suite_markdown(records)
    assert "**ours against published figures**" in text
    assert "| full | vtab_mean_groups | 68.97 | 68.97 (published) | +0.00 |" in text
    assert "| full | cifar |" not in text
    assert "| full | cifar | 68.90 | 68.90 (published) | +0.00 |" in suite.suite_markdown(records, published=True)
    (row,) = table_of(records)
    assert (row["published vtab_mean_19"], row["deviation vtab_mean_19"]) == ("65.57", "0.00")
    assert "published cifar" not in row
    assert row["published in"].startswith("FacT")
    assert "extraction (jpeg here, lossless there)" in row["causes"]


def test_fake_images_other_backbones_and_scores_on_val_are_held_against_nothing() -> None:
    fakes = [replace(r, provenance={"data": {"fake": True}}) for r in (run_at(t, 0.5) for t in TASKS)]
    on_val = [run_at(t, 0.5) for t in TASKS]
    for r in on_val:
        r.config["selection"].update(fit_on="train", report_on="val")
    for records in (fakes, vtab(FULL), on_val):
        assert "ours against" not in suite.suite_markdown(records)
        assert not any("published" in name for name in table_of(records)[0])


def test_copies_of_a_record_count_once_and_different_ones_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (r,) = vtab({"cifar": 50.0})
    path = record.path_of(tmp_path, r.config)
    record.write_record(r, path)
    copy = path.with_name(f"copy-{path.name}")
    record.write_record(r, copy)
    words = ["table", "vtab1k", "--results", str(tmp_path), "--format", "csv"]
    assert cli.main(words) == 0
    assert "cifar,lora,50.00,,1,," in capsys.readouterr().out
    record.write_record(replace(r, cost={**r.cost, "step_ms": 9.0}), copy)
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert f"two records of run {r.run_id} differ" in err
    assert copy.name in err
    assert err.count("\n") == 1


def test_another_schema_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (r,) = vtab({"cifar": 50.0})
    path = record.path_of(tmp_path, r.config)
    record.write_record(r, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99, "new": 1}))
    assert cli.main(["table", "vtab1k", "--results", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert path.name in err
    assert "schema 99, expected 3" in err
    assert err.count("\n") == 1


def test_doubts_of_the_files_are_shown_beside_their_rows() -> None:
    text = "\n".join(line for part in published.published_parts("fewshot") for line in part.findings)
    assert text.count("Flowers102 caution: this value disagrees with the vector plot") >= 1
    (line,) = (x for x in text.splitlines() if x.endswith("shows 73.3 here, not 66.1"))
    assert line.startswith("VPT (shots 2): ")
    assert "flowers102: Flowers102 caution: " in line


def test_a_results_folder_that_is_not_there_is_no_published_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["table", "vtab1k", "--results", str(tmp_path / "reslts")]) == 2
    err = capsys.readouterr().err
    assert "no records of suite 'vtab1k'" in err
    assert err.count("\n") == 1
