"""Published rows of language models: digits, sources, counterparts, and the causes of deviations."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glorabench.analysis import published_results
from glorabench.analysis.cells import Group
from glorabench.analysis.published_results import FACTS_OF_TEXTS
from glorabench.analysis.suite_layouts import LAYOUTS
from glorabench.data.suites.texts import SETS_OF_COMMONSENSE
from glorabench.records import record
from glorabench.records.metrics import Metric
from glorabench.records.outcomes import pack
from glorabench.records.record import Record
from glorabench.reports.tables import published, wide
from test_wide_table import made

FOLDER = Path(__file__).parents[2] / "results" / "published"


@pytest.mark.parametrize("suite", ["commonsense", "metamathqa", "open_llm"])
def test_every_row_has_a_source_and_stands_in_the_published_table(suite: str) -> None:
    papers = published_results.papers(suite)
    assert papers
    assert all(paper.source and paper.values for paper in papers)
    text = "\n".join(str(row) for part in published.published_parts(suite) for row in part.body)
    assert all(paper.method in text for paper in papers)
    assert published.published_csv(suite).count("\n") > len(papers)


def test_digits_are_those_of_the_files() -> None:
    dora = next(p for p in published_results.papers("commonsense") if (p.method, p.backbone) == ("DoRA", "LLaMA-7B"))
    assert dora.values["HellaSwag".lower()] == 87.2
    assert dora.values["commonsense_mean_8"] == pytest.approx(78.4, abs=0.05)
    assert dora.facts["rank"] == "32"
    glora = next(p for p in published_results.papers("open_llm") if p.method == "Alpaca-GLoRA-7B")
    assert (glora.values["truthfulqa"], glora.values["open_llm_mean_4"]) == (37.8, pytest.approx(50.825))
    assert "recipe unknown (lit-llama)" in glora.evidence
    lora = next(p for p in published_results.papers("metamathqa") if p.method == "lora--llama-3.2-3B-rank32")
    assert (lora.params, round(lora.values["gsm8k"], 2)) == ("9.18", 47.84)
    assert "+0.050 nats a token" in lora.note


def test_every_method_of_the_map_is_ours_and_is_printed() -> None:
    with (FOLDER / "methods_of_texts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ours = {path.stem for path in (FOLDER.parents[1] / "conf" / "method").glob("*.yaml")}
    for row in rows:
        assert row["ours"] in ours
        assert row["theirs"] in {paper.method for paper in published_results.papers(row["suite"])}
        assert row["evidence"]
        assert set(row) == {"suite", "theirs", "ours", "search", "evidence", *FACTS_OF_TEXTS}


def run_of_lora(**data: Any) -> Record:
    """A run of LoRA on the eight sets, each of them half right."""
    r = made(task="commonsense", method="lora")
    r.config["names"] |= {"backbone": "llama_7b", "data": "commonsense"}
    r.config["data"] = {
        "task": "commonsense",
        "template": "llm_adapters",
        "loss_on": "all",
        "protocol": "llm_adapters",
    } | data
    r.config["method"]["rank"] = 32
    first = Metric("set_mean", "mean right answer of 8 sets", per_example="reals")
    sets = [Metric(f"{name}/accuracy", name) for name in SETS_OF_COMMONSENSE]
    unparsed = Metric("unparsed", "unparsed answers", higher_is_better=False)
    measures = [first, unparsed, *sets]
    return replace(
        r,
        run_id=record.run_id(r.config),
        measures=measures,
        metrics={"n": 16, **{m.name: 0.5 for m in measures}},
        outcomes={m.name: pack([0.5, 0.5] if m is first else [True, False]) for m in measures},
        provenance={"data": {"suite": "commonsense"}, "weights": {"source": "llama-7b", "sha256": "0" * 64}},
        cost={"stages": {"train": {"seconds": 1.0, "flops": 1.0, "examples": 511_260}}},
    )


def comparison(r: Record) -> published.PublishedComparison:
    layout = LAYOUTS["commonsense"]
    (result,) = published.published_comparisons(wide.wide_rows(Group([r]), layout), layout)
    return result


def test_a_deviation_names_the_facts_that_differ() -> None:
    same = comparison(run_of_lora())
    assert same.paper.method == "LoRA"
    assert [(d.name, d.value) for d in same.deviations] == [("commonsense_mean_8", round(50 - 74.725, 2))]
    states = {pair.fact: pair.state for pair in same.fact_pairs}
    assert {fact for fact, state in states.items() if state == "same"} == {
        "checkpoint", "template", "loss_on", "protocol", "rank", "examples", "seeds"
    }  # fmt: skip
    assert states["selection"] == "differs"
    other = comparison(run_of_lora(template="alpaca_lora", loss_on="response", protocol="loglikelihood"))
    assert {pair.fact for pair in other.fact_pairs if pair.state == "differs"} == {
        "template", "loss_on", "protocol", "selection"
    }  # fmt: skip
    assert "template (alpaca_lora here, llm_adapters there)" in other.causes
