"""Tables: grouping, labels, refusals, findings, and what stands in a file."""

from __future__ import annotations

import copy
import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glorabench import cli
from glorabench.analysis import cells, statistics
from glorabench.analysis.cells import Group, groups_of, named_groups_of
from glorabench.cli import tables
from glorabench.config.schema import SEARCH_VERSION
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.metrics import Metric
from glorabench.records.outcomes import pack
from glorabench.records.record import Record
from glorabench.reports import rendering
from glorabench.reports.tables import long, suite

COLUMNS = (
    *("task", "method", "top-1 %", "95 % interval", "n", "verdict", "params", "head", "stored kB", "step ms"),
    *("latency", "merge"),
)

TOP1 = Metric("top1", "top-1")

N = 200


def made(
    method: str = "lora",
    task: str = "digits",
    seed: int = 0,
    right: int = 100,
    status: str = "done",
    protocol: int = record.PROTOCOL,
    backbone: str = "vit_mini",
    fit_on: str = "trainval",
    latency: float = 1.0,
    step_ms: float = 10.0,
    params: int = 1000,
    supernet: int | None = None,
    search: str | None = None,
    on: str = "val",
    winner: str = "inherit",
    found: dict[str, Any] | None = None,
    stages: dict[str, Any] | None = None,
    **values: Any,
) -> Record:
    """A record whose first `right` of N examples are right; `values` are hyper-parameters; a run with a `search`
    chose on the split `on` and `found` something; `stages` are its costs."""
    config = {
        "seed": seed,
        "names": {"method": method, "backbone": backbone, "data": "mini", "task": task},
        "method": {"_target_": f"glorabench.{method}", **values},
        "data": {"task": task, "cache_dir": "/cache"},
        "selection": {"fit_on": fit_on, "report_on": "test", "rule": "last_epoch"},
        "train": {"lr": 1e-3},
        "results_dir": "r",
    }
    if search:
        config["names"]["search"] = search
        config["search"] = {
            "version": SEARCH_VERSION,
            "on": on,
            "winner": winner,
            "algorithm": {"_target_": f"glorabench.{search}"},
        }
    kept = Record(record.run_id(config, protocol), status, config, protocol=protocol)
    if status != "done":
        return replace(kept, error={"kind": "NonFiniteLoss", "message": "step 3"})
    return replace(
        kept,
        selection={**config["selection"], "contaminated": bool(search) and on == "test"},
        search=found,
        metrics={"top1": right / N, "n": N},
        measures=[TOP1],
        outcomes={"top1": pack([i < right for i in range(N)])},
        params={"method": params, "head": 10, "total": 5000, "stored_bytes": 4040, "supernet": supernet},
        merge={"mergeable": True, "max_abs_diff": 3e-7, "flipped": 0},
        cost={
            "step_ms": step_ms,
            **({"stages": stages} if stages else {}),
            "latency_ms": {
                "batch_64": {
                    "plain": {"median": 2.0},
                    "unmerged": {"median": 9.0},
                    "merged": {"median": 2.0 * latency},
                }
            },
        },
    )


def cell_of(rows: list[tuple[str, ...]], task: str, method: str) -> dict[str, str]:
    (row,) = [row for row in rows if row[:2] == (task, method)]
    return dict(zip(COLUMNS, row, strict=True))


def test_seeds_of_one_configuration_share_a_cell() -> None:
    records = [made(seed=s, right=r, step_ms=t) for s, r, t in ((0, 100, 9.0), (1, 110, 11.0), (2, 120, 30.0))]
    (row,) = long.long_rows(Group(records))
    found = dict(zip(COLUMNS, row, strict=True))
    expected = statistics.mean([0.50, 0.55, 0.60])
    assert found == {
        "task": "digits",
        "method": "lora",
        "top-1 %": "55.00",
        "95 % interval": f"{100 * expected.low:.1f} to {100 * expected.high:.1f}",
        "n": "3",
        "verdict": "",
        "params": "1,000",
        "head": "10",
        "stored kB": "4",
        "step ms": "11.0",
        "latency": "1.00",
        "merge": "3e-07",
    }


@pytest.mark.parametrize(
    ("certificates", "said"),
    [
        ([{"mergeable": False, "reason": "non-linear"}] * 2, "no"),
        ([{"mergeable": True, "max_abs_diff": x, "flipped": 0} for x in (2e-6, 4e-6)], "4e-06"),
        ([{"mergeable": True, "max_abs_diff": 0.5, "flipped": x} for x in (0, 3)], "5e-01, 3 flipped"),
    ],
)
def test_the_merge_column_says_the_worst_of_the_seeds(certificates: list[dict[str, Any]], said: str) -> None:
    records = [replace(made(seed=s), merge=merge) for s, merge in enumerate(certificates)]
    (row,) = long.long_rows(Group(records))
    assert dict(zip(COLUMNS, row, strict=True))["merge"] == said


def test_where_runs_put_things_does_not_split_a_cell() -> None:
    there = made(seed=1)
    there.config.update(results_dir="elsewhere")
    there.config["data"]["cache_dir"] = "/elsewhere"
    assert [cell.score.n for cell in cells.cells([made(seed=0), there])] == [2]


def test_an_interval_stays_inside_what_an_accuracy_can_be() -> None:
    (row,) = long.long_rows(Group([made(seed=0, right=100), made(seed=1, right=200)]))
    assert row[3] == "0.0 to 100.0"


def test_one_seed_has_no_interval() -> None:
    assert cell_of(long.long_rows(Group([made()])), "digits", "lora")["95 % interval"] == ""


def test_labels_tell_configurations_of_a_method_apart() -> None:
    records = [made(rank=2), made(rank=4), made("linear"), made(rank=2, seed=1)]
    assert [cell.method for cell in cells.cells(records)] == [
        "lora (rank=2)",
        "lora (rank=4)",
        "linear",
    ]


def test_a_label_says_a_list_as_a_command_line_takes_it() -> None:
    rows = long.long_rows(Group([made(targets=["q", "v"]), made(targets=["q"]), made(targets=None)]))
    assert [row[1] for row in rows] == ["lora (targets=[q,v])", "lora (targets=[q])", "lora (targets=None)"]


def test_labels_name_what_differs_outside_the_method_too_and_nothing_that_agrees() -> None:
    other = made(rank=2, alpha=8)
    other.config["train"]["lr"] = 0.5
    assert [c.method for c in cells.cells([made(rank=2, alpha=8), other])] == [
        "lora (train.lr=0.001)",
        "lora (train.lr=0.5)",
    ]


def test_a_value_that_only_one_configuration_has_is_told() -> None:
    labels = [c.method for c in cells.cells([made(), made(dropout=0.1)])]
    assert labels == ["lora (dropout=None)", "lora (dropout=0.1)"]


def test_configurations_are_told_apart_task_by_task() -> None:
    records = [made(rank=2), made(task="dsprites_loc", rank=4)]
    assert [cell.method for cell in cells.cells(records)] == ["lora", "lora"]


def test_tasks_and_methods_stand_in_the_order_in_which_they_came() -> None:
    order = [("b", "lora"), ("a", "lora"), ("b", "glora"), ("a", "full")]
    found = [(cell.task, cell.method) for cell in cells.cells([made(method, task) for task, method in order])]
    assert found == [("b", "lora"), ("b", "glora"), ("a", "lora"), ("a", "full")]


def test_a_cell_without_a_result_says_why() -> None:
    found = cell_of(long.long_rows(Group([made(status="failed"), made("full")])), "digits", "lora")
    assert found["top-1 %"] == "failed: NonFiniteLoss"
    assert found["n"] == "0"
    assert not any(found[c] for c in COLUMNS[5:])


def test_a_failed_seed_is_counted_beside_the_others_and_moves_no_number() -> None:
    done = [made(seed=0), made(seed=1, right=120)]
    whole = cell_of(long.long_rows(Group(done)), "digits", "lora")
    partly = cell_of(long.long_rows(Group([made(seed=2, status="failed"), *done])), "digits", "lora")
    assert partly == {**whole, "n": "2 (1 failed)"}


def test_parameters_show_the_subnet_and_the_supernet() -> None:
    records = [made("glora", seed=s, params=p, supernet=12_345) for s, p in ((0, 1000), (1, 2001))]
    assert cell_of(long.long_rows(Group(records)), "digits", "glora")["params"] == "1,500 [12,345]"


def test_latency_is_that_of_what_would_be_deployed() -> None:
    r = made(latency=1.25)
    assert long.latency_ratio(r) == 1.25
    del r.cost["latency_ms"]["batch_64"]["merged"]  # nothing to merge: what was trained is deployed
    assert long.latency_ratio(r) == 4.5


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"protocol": record.PROTOCOL + 1}, str(record.PROTOCOL + 1)),
        ({"fit_on": "train"}, '"fit_on": "train"'),
        ({"backbone": "vit_b16"}, "vit_b16"),
    ],
    ids=["protocol", "selection", "backbone"],
)
def test_records_that_do_not_compare_are_refused_and_named(other: dict[str, Any], named: str) -> None:
    stranger = made("full", **other)
    with pytest.raises(BadInput, match="do not compare") as refused:
        long.long_rows(Group([made(), stranger]))
    for part in (made().run_id, stranger.run_id, named):
        assert part in str(refused.value)


def test_records_of_the_same_task_from_different_data_are_refused() -> None:
    def of_data(fingerprint: str, r: Record) -> Record:
        return replace(
            r,
            provenance={"data": {"suite": "mini", "task": r.names["task"], "fingerprint": fingerprint}},
        )

    same = [
        of_data("aa", made()),
        of_data("aa", made("full")),
        of_data("bb", made(task="dsprites_loc")),
    ]
    assert len(cells.cells([*same, made("linear", status="failed")])) == 4
    with pytest.raises(BadInput, match=r"digits.*aa.*bb"):
        long.long_rows(Group([*same, of_data("bb", made("linear"))]))


def test_a_clear_win_is_said_with_its_size() -> None:
    records = [made(m, seed=s, right=r) for m, r in (("lora", 180), ("linear", 100)) for s in (0, 1)]
    (finding,) = long.findings(Group(records))
    lora, linear = ([[i < right for i in range(N)]] * 2 for right in (180, 100))
    d = statistics.paired_difference(lora, linear)
    span = f"95 % interval {100 * d.low:.2f} to {100 * d.high:.2f}, p < 0.001"
    assert finding == f"digits: best is lora; linear is 40.00 points ({span}) behind"
    assert d.low > 0


def test_a_tie_is_said_to_be_one() -> None:
    records = [made(m, seed=s, right=r) for m, r in (("lora", 101), ("linear", 100)) for s in (0, 1)]
    (finding,) = long.findings(Group(records))
    assert finding.startswith(
        "digits: best is lora; linear is not separated from it: 0.50 points (95 % interval -0.49 to 1.49"
    )


def test_only_seeds_that_both_have_are_compared() -> None:
    records = [made(seed=0, right=180), made(seed=1, right=200), made("linear", seed=0, right=100)]
    assert "linear is 40.00 points" in long.findings(Group(records))[0]
    assert long.findings(Group([made(seed=0), made("linear", seed=1, right=50)])) == [
        "digits: best is lora; linear shares no seed with it"
    ]


def test_a_lone_method_is_not_called_best_and_a_failed_one_is_not_compared() -> None:
    assert long.findings(Group([made(), made("full", status="failed")])) == []
    two = [made(), made("linear", right=50)]
    assert long.findings(Group([*two, made("full", status="failed"), made(task="dsprites_loc")])) == long.findings(
        Group(two)
    )
    assert long.findings(Group([made(status="failed")])) == []


def test_taking_one_record_away_changes_exactly_its_cell_and_findings() -> None:
    records = [
        made(method, task, seed, right)
        for method, right in (("lora", 150), ("full", 120))
        for task in ("digits", "dsprites_loc")
        for seed in (0, 1)
    ]
    records[1] = made("lora", "digits", 1, 155)
    less = records[:1] + records[2:]
    before, after = long.long_rows(Group(records)), long.long_rows(Group(less))
    changed = [(b, a) for b, a in zip(before, after, strict=True) if b != a]
    assert [b[:2] for b, _ in changed] == [("digits", "lora"), ("mean of 2 tasks", "lora")]
    assert (changed[0][1][2], changed[0][1][4]) == ("75.00", "1")
    said, now = long.findings(Group(records)), long.findings(Group(less))
    assert said[0] != now[0]
    assert said[1] == now[1]


def test_mean_over_tasks_averages_tasks_first_and_needs_every_task() -> None:
    outcomes = {("lora", "digits"): (100, 120), ("lora", "dsprites_loc"): (60, 100), ("full", "digits"): (10, 20)}
    records = [made(m, task, seed, right) for (m, task), both in outcomes.items() for seed, right in enumerate(both)]
    expected = statistics.stratified_mean([[0.5, 0.6], [0.3, 0.5]], [0.5, 0.5])
    rows = [row for row in long.long_rows(Group(records)) if row[0] == "mean of 2 tasks"]
    assert [row[1] for row in rows] == ["lora"]
    assert rows[0][2:5] == (
        f"{100 * expected.value:.2f}",
        f"{100 * expected.low:.1f} to {100 * expected.high:.1f}",
        "2",
    )


def test_mean_over_tasks_uses_the_seeds_that_all_tasks_have() -> None:
    records = [made(seed=0, right=100), made(seed=1, right=0), made(task="dsprites_loc", seed=0, right=50)]
    assert long.long_rows(Group(records))[-1][:5] == ("mean of 2 tasks", "lora", "37.50", "", "1")


def test_the_order_of_the_records_moves_no_number() -> None:
    records = [made(m, seed=s, right=r) for m, r in (("lora", 150), ("full", 145)) for s in (0, 1, 2)]
    shuffled = [records[i] for i in (2, 0, 1, 4, 5, 3)]
    assert long.findings(Group(records)) == long.findings(Group(shuffled))
    assert long.long_rows(Group(records)) == long.long_rows(Group(shuffled))


def test_records_are_not_changed_by_looking_at_them() -> None:
    records = [made(rank=2), made(rank=4)]
    before = copy.deepcopy(records)
    long.long_rows(Group(records))
    long.findings(Group(records))
    assert records == before


def test_a_search_is_part_of_the_name_and_one_winner_is_told_from_another() -> None:
    records = [made("glora"), made("glora", search="evolution"), made("glora", search="random")]
    assert [cell.method for cell in cells.cells(records)] == [
        "glora",
        "glora + evolution, inherited",
        "glora + random, inherited",
    ]
    both = [made("glora", search="evolution", winner=winner) for winner in ("inherit", "retrain")]
    assert [cell.method for cell in cells.cells([*both, made()])] == [
        "glora + evolution, inherited",
        "glora + evolution",
        "lora",
    ]
    assert "trained on train alone" in long.long_notes(Group(both))
    assert "trained on train alone" not in long.long_notes(Group(both[1:]))


@pytest.mark.parametrize(
    ("supernets", "fit_on", "said"),
    [
        ([None], "trainval", "trained on train alone; other rows train on train and val."),
        (["trainval"], "trainval", "trained on train and val, as other rows are."),
        ([None], "train", "trained on train alone, as other rows are."),
        ([None, "trainval"], "trainval", "on train alone or train and val; other rows train on train and val."),
    ],
)
def test_the_note_on_inherited_weights_says_what_their_supernets_saw(
    supernets: list[str | None], fit_on: str, said: str
) -> None:
    records = [made(fit_on=fit_on)]
    for split in supernets:
        records.append(made("glora", search="evolution", fit_on=fit_on))
        records[-1].config["search"]["fit_on"] = split
    assert long.long_notes(Group(records)).endswith(said)


CHEATED = "glora + evolution, inherited [chosen on test]"


def cheated(task: str = "digits", seed: int = 0, right: int = 190) -> Record:
    return made("glora", task, seed, right, search="evolution", on="test")


def test_what_was_chosen_on_test_is_marked_in_every_row_and_the_mark_is_explained() -> None:
    records = [r for task in ("digits", "dsprites_loc") for r in (cheated(task), made(task=task))]
    assert [row[1] for row in long.long_rows(Group(records))] == [CHEATED, "lora"] * 3  # two tasks and their mean
    assert long.long_notes(Group(records)).startswith(long._NOTES)
    assert "[chosen on test]:" in long.long_notes(Group(records))
    assert long.long_notes(Group(records)) in suite.suite_markdown(records)
    honest = [made("glora", search="evolution", winner="retrain"), made()]
    assert long.long_notes(Group(honest)) == long._NOTES
    assert "chosen on test" not in suite.suite_markdown(honest) + suite.suite_csv(groups_of(honest))


def test_a_mark_tells_two_searches_apart_only_beside_what_they_differ_in() -> None:
    labels = [cell.method for cell in cells.cells([cheated(), made("glora", search="evolution")])]
    name = "glora + evolution, inherited"
    assert labels == [f"{name} (search.on=test) [chosen on test]", f"{name} (search.on=val)"]


def test_what_was_chosen_on_test_is_never_best_and_is_not_compared() -> None:
    seen = f"{CHEATED} saw the test split: not compared"
    assert long.findings(Group([cheated(), made(right=100)])) == [f"digits: best is lora; {seen}"]
    assert long.findings(Group([cheated()])) == []
    other = cheated(right=150)
    other.config["search"]["algorithm"] = {"_target_": "another"}
    (said,) = long.findings(Group([cheated(), other]))
    assert said.startswith("digits: none is called best; ")
    honest = [made(right=180), made("full", right=100)]
    assert long.findings(Group([*honest, cheated()])) == [f"{long.findings(Group(honest))[0]}; {seen}"]


def test_the_terminal_shows_the_mark_and_other_words_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    suite.show_suite([cheated(), made(right=100)], notes=True)
    out = capsys.readouterr().out
    assert out.count("[chosen on") >= 3  # the row, what is found, the notes
    suite.show_suite([made(init="[red]"), made(init="[bold]")])
    assert "init = [red]" in capsys.readouterr().out


def test_markdown_has_one_line_a_cell_then_notes_and_findings() -> None:
    records = [made(), made("full", right=150), made(task="dsprites_loc")]
    lines = suite.suite_markdown(records).splitlines()
    width = len(COLUMNS) + 1
    assert [line.count("|") for line in lines[:6]] == [width] * 6  # three cells and the mean of lora
    assert lines[1] == "| --- | --- |" + " ---: |" * (len(COLUMNS) - 2)
    assert lines[6:9] == ["", long._NOTES, ""]
    assert lines[9:] == [f"- {finding}" for finding in long.findings(Group(records))]


def test_csv_comes_back_as_the_rows() -> None:
    records = [made(rank=2, params=12_345), made(rank=4)]
    read = list(csv.reader(io.StringIO(suite.suite_csv(groups_of(records)))))
    assert read == [list(COLUMNS), *map(list, long.long_rows(Group(records)))]


def test_the_terminal_shows_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    suite.show_suite([made(right=123), made("linear"), made("full", status="failed")])
    out = capsys.readouterr().out
    for part in (
        "3 runs of vit_mini on suite mini",
        "61.50",
        "failed: NonFiniteLoss",
        "Best of all 2: LoRA",
    ):
        assert part in out


BLOCK = """before
<!-- table:mini -->
old
lines
<!-- /table:mini -->
after <!-- /table:mini --> \\1
"""


def test_embedding_replaces_the_block_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BLOCK)
    rendering.embed("new \\g<0>\n", "table:mini", page)
    assert page.read_text() == BLOCK.replace("old\nlines\n", "new \\g<0>\n")
    rendering.embed("old\nlines\n", "table:mini", page)
    assert page.read_text() == BLOCK


@pytest.mark.parametrize(
    "text",
    ["nothing here\n", "<!-- table:mini -->\nopen\n", BLOCK + BLOCK],
    ids=["none", "open", "two"],
)
def test_a_page_without_exactly_one_block_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BadInput, match="needs one block"):
        rendering.embed("new\n", "table:mini", page)
    assert page.read_text() == text


def test_a_missing_page_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no file .*none\.md"):
        rendering.embed("new\n", "table:mini", tmp_path / "none.md")


def parts_text(records: list[Record]) -> str:
    groups = named_groups_of(records)
    return suite.parts_markdown(suite.suite_parts(groups), groups)


def test_the_command_writes_the_table_of_the_records_it_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [made("lora"), made("full")]
    for r in records:
        record.write_record(r, record.path_of(tmp_path, r.config))
    assert tables.table("mini", results=tmp_path, form="csv") == 0
    assert capsys.readouterr().out == suite.suite_csv(groups_of(records[::-1]))  # in the order of names
    page = tmp_path / "page.md"
    page.write_text(BLOCK)
    assert tables.table("mini", results=tmp_path, into=str(page)) == 0
    assert parts_text(records[::-1]) in page.read_text()


def test_a_long_csv_of_two_backbones_says_which_is_which() -> None:
    rows = list(csv.DictReader(io.StringIO(suite.suite_csv(groups_of([made(), made(backbone="vit_b16")]), long=True))))
    assert [row["backbone"] for row in rows] == ["vit_mini", "vit_b16"]
    assert "backbone" not in suite.suite_csv(groups_of([made()]), long=True)


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"protocol": record.PROTOCOL + 1}, "protocol"),
        ({"fit_on": "train"}, "selection.fit_on"),
    ],
    ids=["protocol", "selection"],
)
def test_the_command_refuses_mixed_protocols_names_the_records_and_says_how_to_choose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: dict[str, Any], key: str
) -> None:
    ours, strange = made("lora"), made("full", **other)
    for r in (ours, strange):
        record.write_record(r, record.path_of(tmp_path, r.config).with_stem(r.run_id))
    words = ["table", "mini", "--results", str(tmp_path)]
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    said, value = shown.err, next(iter(other.values()))
    assert not shown.out
    assert f"{value}: {strange.run_id}" in said
    assert f": {ours.run_id}" in said
    assert f"{key}={value}" in said
    assert cli.main([*words, "--format", "csv", f"{key}={value}"]) == 0
    assert capsys.readouterr().out == suite.suite_csv(groups_of([strange]))


def test_the_command_takes_conditions_on_both_sides_of_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [made("full"), made("lora"), made("lora", seed=1), made("ssf")]
    for r in records:
        record.write_record(r, record.path_of(tmp_path, r.config))
    options = ["--results", str(tmp_path), "--format", "csv"]
    assert cli.main(["table", "mini", "method=lora,full", *options, "seed=0"]) == 0
    assert capsys.readouterr().out == suite.suite_csv(groups_of(records[:2]))
    assert cli.main(["table", "method=ssf", *options]) == 0  # the suite may be left out
    assert capsys.readouterr().out == suite.suite_csv(groups_of(records[3:]))
    for rate in ("0.001", "1e-3", "1.0e-3", "5e-4,1e-3"):
        assert cli.main(["table", "mini", f"train.lr={rate}", *options]) == 0
        assert capsys.readouterr().out == suite.suite_csv(groups_of(records))
    for word, said in (
        ("=lora", "'=lora' is no condition"),
        ("sed=0", "did you mean 'seed'"),
        ("protcol=1", "did you mean 'protocol'"),
        ("method=lroa", "no record has method=lroa: they have full or lora or ssf"),
        ("metod=lora", "did you mean 'method'"),
        ("lora", "'lora' is no condition"),
        ("seed=0 seed=1", "seed is given twice"),
    ):
        assert cli.main(["table", "mini", *word.split(), *options]) == 2
        assert said in capsys.readouterr().err


def test_the_command_names_what_is_missing_or_corrupt(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no records of suite 'mini'"):
        tables.table("mini", results=tmp_path, form="md")
    path = record.path_of(tmp_path, made().config)
    record.write_record(made(), path)
    path.write_text("{")
    with pytest.raises(BadInput, match=path.name):
        tables.table("mini", results=tmp_path, form="md")


def test_a_search_tells_what_its_winner_got_where_it_was_chosen_and_elsewhere() -> None:
    found = [{"score": 0.9, "held_out": 0.7}, {"score": 0.8, "held_out": 0.6}]
    searched = [
        made("glora", seed=i, right=100 + i, search="random", winner="retrain", found=f) for i, f in enumerate(found)
    ]
    top1 = 100 * sum(r.metrics["top1"] for r in searched) / 2
    line = long.findings(Group([*searched, made(seed=0)]))[1]
    assert line == (
        "digits: glora + random: 85.0 % on the images that chose its path, 65.0 % on images held out, "
        f"{top1:.1f} % on test"
    )
    without = made("glora", search="random", found={"score": 0.9, "held_out": None})
    assert "held out" not in long.findings(Group([without]))[0]
