"""Wide tables: averages with known answers, what is missing, marks, seeds, both scorings, and how they are shown."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glorabench import cli
from glorabench.analysis import statistics
from glorabench.analysis.cells import Group, groups_of
from glorabench.analysis.suite_layouts import LAYOUTS, layout_of
from glorabench.data.mini import MINI_TASKS as MINI
from glorabench.data.suites.layout import mean_of_groups, mean_of_tasks
from glorabench.data.suites.registry import SUITES
from glorabench.data.suites.vtab1k import VTAB_TASKS as ROWS
from glorabench.data.text.mini_text import MINI_TEXT_TASKS
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.compatibility import refuse_mixtures
from glorabench.records.metrics import Metric
from glorabench.records.outcomes import pack
from glorabench.records.record import Record
from glorabench.reports import terminal
from glorabench.reports.tables import long as long_table
from glorabench.reports.tables import suite as suite_table
from glorabench.reports.tables import wide

TOP1 = Metric("top1", "top-1")

TASKS = [row.name for row in ROWS]
GROUPS = {row.name: row.group for row in ROWS}
FULL_VALUES = (  # of full fine-tuning, in the order of the tasks [VPT, as quoted by Convpass and FacT]
    *(68.9, 87.7, 64.3, 97.2, 86.9, 87.4, 38.8),
    *(79.7, 95.7, 84.2, 73.9),
    *(56.3, 58.6, 41.7, 65.5, 57.5, 46.7, 25.7, 29.1),
)
CONVPASS_VALUES = (  # [PETL-ViT, convpass/README.md, seed 42]
    *(72.29, 91.16, 72.18, 99.15, 90.90, 91.26, 54.87),
    *(84.19, 96.13, 85.32, 75.60),
    *(82.26, 67.86, 51.31, 80.03, 85.94, 53.13, 36.43, 44.44),
)
FULL, CONVPASS = (dict(zip(TASKS, values, strict=True)) for values in (FULL_VALUES, CONVPASS_VALUES))
SHIFTS = {
    "imagenetv2/top1": 0.6, "imagenet_sketch/top1": 0.2, "imagenet_a/top1_200": 0.3, "imagenet_a/top1_1000": 0.1,
    "imagenet_r/top1_200": 0.5, "imagenet_r/top1_1000": 0.25,
}  # fmt: skip


def made(
    suite: str = "vtab1k",
    task: str = "cifar",
    top1: float = 0.5,
    method: str = "lora",
    seed: int = 0,
    status: str = "done",
    fake: bool = False,
    more: dict[str, float] | None = None,
    rule: str = "last_epoch",
    contaminated: bool = False,
    data: dict[str, Any] | None = None,
    images: dict[str, str] | None = None,
    values: dict[str, Any] | None = None,
    **groups: dict[str, Any],
) -> Record:
    """A record of a task of a suite on disk; `more` are metrics, `data` options such as shots, `images` what the data
    were, `values` hyper-parameters of the method, `groups` further keys of the config."""
    data = data or {}
    label = f"{task}_{data['shots']}shot" if "shots" in data else task
    config = {
        "seed": seed,
        "names": {"method": method, "backbone": "vit_mini", "data": suite, "task": label},
        "method": {"_target_": f"glorabench.{method}"},
        "data": {"suite": suite, "task": task, "sha256": f"{task}{data}", **data},
        "selection": {"fit_on": "trainval", "report_on": "test", "rule": rule},
    }
    config |= {name: {**config.get(name, {}), **own} for name, own in {**groups, "method": values or {}}.items()}
    kept = Record(record.run_id(config), status, config)
    if status != "done":
        return replace(kept, error={"kind": "NonFiniteLoss", "message": "step 3"})
    return replace(
        kept,
        selection={**config["selection"], "contaminated": contaminated},
        metrics={"top1": top1, "n": 1000, **(more or {})},
        measures=[TOP1, *(Metric(name, name) for name in more or {})],
        params={"method": 1000, "head": 10, "total": 5000, "stored_bytes": 4040, "supernet": None},
        merge={"mergeable": False, "reason": "non-linear"},
        cost={"step_ms": 1.0, "latency_ms": {"batch_64": {name: {"median": 1.0} for name in ("plain", "unmerged")}}},
        provenance={
            "data": {"suite": suite, "task": task, "fingerprint": f"{task}{data}", "fake": fake, **(images or {})}
        },
    )


def vtab(values: dict[str, float], **facts: Any) -> list[Record]:
    return [made(task=task, top1=value / 100, **facts) for task, value in values.items()]


def table_of(records: list[Record]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(suite_table.suite_csv(groups_of(records)))))


def test_averages_of_full_fine_tuning_are_those_in_print() -> None:
    groups, tasks = (entry for entry in LAYOUTS["vtab1k"].entries if entry.name.startswith("vtab_mean"))
    assert (groups.average, tasks.average) == (mean_of_groups, mean_of_tasks)  # what is tested here is what is printed
    assert groups.groups == tasks.groups == GROUPS
    assert round(mean_of_groups(FULL, GROUPS), 2) == 68.97
    assert round(mean_of_tasks(FULL, GROUPS), 2) == 65.57


def test_averages_of_convpass_are_those_in_print() -> None:
    by_group = [{t: g for t, g in GROUPS.items() if g == group} for group in dict.fromkeys(GROUPS.values())]
    assert [mean_of_tasks(CONVPASS, own) for own in by_group] == pytest.approx([81.69, 85.31, 62.68], abs=0.0051)
    assert round(mean_of_groups(CONVPASS, GROUPS), 2) == 76.56
    assert round(mean_of_tasks(CONVPASS, GROUPS), 2) == 74.44


def test_there_is_no_average_of_a_part_and_further_tasks_do_not_count() -> None:
    part = {task: value for task, value in FULL.items() if task != "kitti"}
    for mean in (mean_of_groups, mean_of_tasks):
        with pytest.raises(KeyError, match="kitti"):
            mean(part, GROUPS)
    assert mean_of_tasks({**FULL, "digits": 0.0}, GROUPS) == mean_of_tasks(FULL, GROUPS)


@pytest.mark.parametrize("order", [1, -1])
def test_the_vtab_table_has_the_tasks_in_their_order_and_both_averages(order: int) -> None:
    (row,) = table_of(vtab(FULL, method="full")[::order])
    assert [name for name in row if name in TASKS] == TASKS
    assert {task: row[task] for task in TASKS} == {task: f"{value:.2f}" for task, value in FULL.items()}
    assert (row["natural_mean"], row["specialized_mean"], row["structured_mean"]) == ("75.89", "83.38", "47.64")
    assert (row["vtab_mean_groups"], row["vtab_mean_19"]) == ("68.97", "65.57")
    assert (row["method"], row["n"], row["params"], row["backbone"]) == ("full", "1", "1000", "vit_mini")
    assert "images" not in row


def test_a_group_mean_stands_behind_its_tasks() -> None:
    names = [entry.name for entry in LAYOUTS["vtab1k"].entries]
    at = [names.index(f"{group}_mean") for group in dict.fromkeys(GROUPS.values())]
    assert at == [7, 12, 21]
    assert names[22:] == ["vtab_mean_groups", "vtab_mean_19"]


def test_every_suite_on_disk_has_a_layout_of_all_its_tasks() -> None:
    assert LAYOUTS.keys() == {"mini", "mini_text", *SUITES}
    assert [column.task for column in LAYOUTS["mini"].columns] == list(MINI)
    assert [column.task for column in LAYOUTS["mini_text"].columns] == list(MINI_TEXT_TASKS)
    for name, suite in SUITES.items():
        tasks = [column.task for column in LAYOUTS[name].columns]
        assert list(dict.fromkeys(tasks)) == [row.name for row in suite.rows]
    scored = [column.metric for column in LAYOUTS["imagenet"].columns]
    assert {f"{test}/{name}" for test, names in SUITES["imagenet"].scorings.items() for name in names} <= set(scored)


def test_missing_and_failed_tasks_are_said_and_have_no_average() -> None:
    kept = [r for r in vtab(FULL) if r.config["data"]["task"] not in ("svhn", "kitti")]
    records = [*kept, made(task="kitti", status="failed"), *vtab(FULL, method="full")]
    part, whole = table_of(records)
    assert (part["svhn"], part["kitti"], part["cifar"]) == ("-", "failed", "68.90")
    assert (part["vtab_mean_groups"], part["vtab_mean_19"]) == ("17 of 19", "17 of 19")
    assert (part["natural_mean"], part["specialized_mean"], part["structured_mean"]) == ("6 of 7", "83.38", "7 of 8")
    assert whole["vtab_mean_19"] == "65.57"
    text = suite_table.suite_markdown(records)
    assert "- lora: no run (svhn)\n- lora: failed: NonFiniteLoss (kitti)\n" in text


@pytest.mark.parametrize(("there", "said"), [(9, "no run (10 of 19)"), (10, f"no run ({', '.join(TASKS[10:])})")])
def test_absent_tasks_are_counted_where_they_are_most(there: int, said: str) -> None:
    assert f"- lora: {said}\n" in suite_table.suite_markdown(vtab({task: FULL[task] for task in TASKS[:there]}))


def test_a_task_with_one_method_has_no_best_one() -> None:
    assert "best is" not in suite_table.suite_markdown(vtab(FULL))
    assert "best are full and lora" in suite_table.suite_markdown([*vtab(FULL), *vtab(FULL, method="full")])


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [("extraction", "jpeg", "lossless"), ("preprocess", "vtab_bicubic_half", "vtab_bilinear_unnorm")],
)
def test_tasks_of_other_images_are_refused_and_named(key: str, one: str, other: str) -> None:
    first, second = made(images={key: one}), made(task="dtd", images={key: other})
    with pytest.raises(BadInput, match=f"suite vtab1k differ in {key}") as refused:
        suite_table.suite_markdown([first, made(task="svhn"), second])
    for part in (first.run_id, second.run_id, one, other):
        assert part in str(refused.value)
    refuse_mixtures([first, made("fgvc", "cub", images={key: other})])  # no mean is over both
    refuse_mixtures([first, made(task="dtd", images={key: one}), made(task="svhn")])


def test_a_row_says_in_what_its_tasks_differ_but_not_what_a_recipe_sets() -> None:
    recipes = {"cifar": (1, 0.001), "dtd": (100, 0.5), "svhn": (100, 0.01)}
    records = [
        made(task=task, train={"epochs": epochs, "lr": lr, "decay": "all"}, values={"scale": lr})
        for task, (epochs, lr) in recipes.items()
    ]
    text = suite_table.suite_markdown(records)
    assert "- lora: train.epochs is 1 (cifar), 100 (dtd, svhn)\n" in text
    assert "train.lr" not in text
    assert "scale" not in text
    assert "train.decay" not in text
    assert "train.epochs" not in suite_table.suite_markdown(records[1:])


def test_an_attempt_that_failed_is_no_seed_beside_the_one_that_did_not() -> None:
    def attempt(status: str, sha256: str, seed: int = 0) -> Record:
        return made(status=status, seed=seed, data={"sha256": sha256, "split_seed": seed})

    done, failed = attempt("done", "right"), attempt("failed", "wrong")
    assert done.run_id != failed.run_id
    other = made(task="dtd")
    for records in ([done, failed, other], [failed, done, other]):
        assert "failed" not in suite_table.suite_markdown(records)
        assert "failed" not in suite_table.suite_markdown(records, long=True)
    text = suite_table.suite_markdown(
        [done, failed, attempt("failed", "wrong", 1), attempt("failed", "other", 1), other]
    )
    assert "1 of 2 seeds failed: NonFiniteLoss" in text


def recipe(task: str, **facts: Any) -> Record:
    """A run with the values that were published for its task."""
    number = TASKS.index(task)
    return made(
        task=task, values={"scale": [1.0, 10.0, 0.1][number % 3], "rank": 8 + number % 2}, contaminated=True,
        selection={"tuned_on": "test"}, train={"epochs": 100, "lr": 1e-3 * number},
        backbone={"drop_path": 0.1 * (number % 2)}, **facts,
    )  # fmt: skip


def test_published_values_and_one_recipe_have_a_row_and_a_mean_each() -> None:
    def plain(task: str) -> Record:
        return made(task=task, values={"scale": 1.0, "rank": 8}, train={"epochs": 100, "lr": 1e-3})

    assert "drop_path" not in suite_table.suite_markdown(list(map(recipe, TASKS)))
    published, honest = list(map(recipe, TASKS)), list(map(plain, TASKS))
    rows = table_of([*published, *honest])
    assert [(row["method"], row["vtab_mean_19"]) for row in rows] == [
        ("lora (published values) [chosen on test]", "50.00"),
        ("lora", "50.00"),
    ]
    assert [row["method"] for row in table_of(published)] == ["lora [chosen on test]"]
    assert [row[1] for row in long_table.long_rows(Group([*published, *honest]))[-2:]] == [
        row["method"] for row in rows
    ]
    short = [made(task=task, values={"scale": 1.0}, train={"epochs": 1}) for task in TASKS]
    assert [row["method"] for row in table_of([*published, *short])] == [
        "lora (published values, train.epochs=100) [chosen on test]",
        "lora (train.epochs=1)",
    ]
    more = [made(task=task, values={"scale": 4.0, "rank": 8}, train={"epochs": 100, "lr": 1e-3}) for task in TASKS]
    assert [row["method"] for row in table_of([*published, *honest, *more])] == [
        "lora (published values) [chosen on test]",
        "lora (scale=1.0)",
        "lora (scale=4.0)",
    ]


def test_values_by_task_share_a_row_beside_one_value_for_all() -> None:
    own = [made(task=task, top1=0.6, values={"prompts": 50 + i % 3}) for i, task in enumerate(TASKS)]
    one = [made(task=task, values={"prompts": 10}) for task in TASKS]
    rows = table_of([*own, *one])
    assert [(row["method"], row["vtab_mean_19"]) for row in rows] == [
        ("lora (prompts by task)", "60.00"),
        ("lora (prompts=10)", "50.00"),
    ]
    assert "cifar: best is lora (prompts=50)" in suite_table.suite_markdown([*scored(own), *scored(one)])
    sweep = [made(task=task, values={"prompts": n}) for task in TASKS for n in (1, 5, 10)]
    assert [row["method"] for row in table_of(sweep)] == [f"lora (prompts={n})" for n in (1, 5, 10)]
    assert [row["vtab_mean_19"] for row in table_of(sweep[:-1])] == ["50.00", "50.00", "18 of 19"]


def scored(records: list[Record]) -> list[Record]:
    return [replace(r, outcomes={"top1": pack([i < 1000 * r.metrics["top1"] for i in range(1000)])}) for r in records]


def test_what_one_task_has_more_of_names_the_row_of_all_tasks() -> None:
    records = [made(task=task, train={"epochs": 100}) for task in TASKS]
    rows = table_of([*records, made(train={"epochs": 1})])
    assert [(row["method"], row["vtab_mean_19"]) for row in rows] == [
        ("lora (train.epochs=100)", "50.00"),
        ("lora (train.epochs=1)", "1 of 19"),
    ]


def test_a_cell_is_a_mean_over_seeds_with_half_its_interval() -> None:
    shifted = {task: value + 2 * (task == "cifar") for task, value in FULL.items()}
    records = [*vtab(FULL), *vtab(shifted, seed=1)]
    layout = LAYOUTS["vtab1k"]
    (line,) = wide.wide_rows(Group(records), layout)
    expected = statistics.mean([FULL["cifar"] / 100, shifted["cifar"] / 100])
    assert line.values["cifar"].estimate == expected
    assert line.values["cifar"].text(0, " ") == f"69.9 ±{50 * (expected.high - expected.low):.1f}"
    averages = statistics.stratified_mean(
        [[values[t] / 100 for values in (FULL, shifted)] for t in TASKS], [1 / 19] * 19
    )
    assert line.values["vtab_mean_19"].estimate.value == pytest.approx(averages.value)
    assert line.values["vtab_mean_19"].estimate.low == pytest.approx(averages.low)
    assert line.n == "2"
    assert "69.9 ±" in suite_table.suite_markdown(records)
    assert table_of(records)[0]["cifar"] == "69.90"


def test_a_lost_seed_is_said_and_averages_are_over_the_seeds_that_all_tasks_have() -> None:
    second = [r for r in vtab({t: v + 1 for t, v in FULL.items()}, seed=1) if r.config["data"]["task"] != "dtd"]
    (line,) = wide.wide_rows(
        Group(records := [*vtab(FULL), *second, made(task="dtd", seed=1, status="failed")]), LAYOUTS["vtab1k"]
    )
    assert (line.n, line.values["cifar"].text(1, None), line.values["dtd"].text(1, None)) == (
        "1 to 2",
        "69.40",
        "64.30",
    )
    assert line.values["vtab_mean_19"].text(1, None) == "65.57"
    assert line.values["structured_mean"].text(1, None) == "48.14"
    said = wide.row_gaps([line], LAYOUTS["vtab1k"])
    assert "lora: 1 of 2 seeds failed: NonFiniteLoss (dtd)" in said
    common = "over the 1 seed that all columns have (natural_mean, vtab_mean_groups, vtab_mean_19)"
    assert f"lora: {common}" in said
    assert all(f"- {gap}\n" in suite_table.suite_markdown(records) for gap in said)


def test_tasks_without_a_common_seed_have_no_average() -> None:
    records = [made(task=task, top1=0.5, seed=task == "dtd") for task in TASKS]
    (row,) = table_of(records)
    assert (row["vtab_mean_19"], row["structured_mean"]) == ("-", "50.00")
    assert "no seed that all its columns have (natural_mean, " in suite_table.suite_markdown(records)


def fewshot(task: str, shots: int, seed: int, top1: float, **facts: Any) -> Record:
    return made("fewshot", task, top1, seed=seed, data={"shots": shots, "split_seed": seed}, **facts)


def test_the_few_shot_table_has_a_row_for_each_number_of_shots_and_its_seeds_share_a_cell() -> None:
    tasks = [row.name for row in SUITES["fewshot"].rows]
    records = [
        fewshot(task, shots, seed, (shots + 10 * i + seed) / 100)
        for shots in (16, 1, 2)
        for i, task in enumerate(tasks)
        for seed in (0, 1, 2)
    ]
    rows = table_of(records)
    assert [(row["method"], row["shots"], row["n"]) for row in rows] == [("lora", k, "3") for k in ("1", "2", "16")]
    assert [rows[0][task] for task in tasks] == ["2.00", "12.00", "22.00", "32.00", "42.00"]
    assert [row["fewshot_mean_5"] for row in rows] == ["22.00", "23.00", "37.00"]


def test_the_lists_are_a_seed_too() -> None:
    tasks = [row.name for row in SUITES["fewshot"].rows]
    records = [made("fewshot", t, s / 10, data={"shots": 1, "split_seed": s}) for t in tasks for s in (0, 1, 2)]
    (line,) = wide.wide_rows(Group(records), LAYOUTS["fewshot"])
    assert (line.n, line.values["fewshot_mean_5"].estimate.n) == ("3", 3)
    assert line.values["fewshot_mean_5"].text(1, None) == "10.00"


def test_a_missing_row_of_shots_is_named_with_its_shots() -> None:
    records = [fewshot("food101", k, 0, 0.5) for k in (1, 2)] + [fewshot("stanford_cars", 1, 0, 0.5)]
    assert "lora, shots 2: no run (4 of 5)" in suite_table.suite_markdown(records)


def imagenet(method: str = "lora", **facts: Any) -> Record:
    return made("imagenet", "imagenet", 0.7, method, data={"shots": 16, "split_seed": 0}, more=SHIFTS, **facts)


def test_the_imagenet_table_has_five_test_sets_and_both_scorings_of_one_run() -> None:
    (row,) = table_of([imagenet()])
    assert row["imagenet"] == "70.00"
    assert {name: row[name] for name in SHIFTS} == {name: f"{100 * value:.2f}" for name, value in SHIFTS.items()}
    assert row["shift_mean_4_200"] == "40.00"  # 60, 20, 30, 50
    assert row["imagenet_mean_5_1000"] == "37.00"  # 70, 60, 20, 10, 25
    assert row["shots"] == "16"
    text = suite_table.suite_markdown([imagenet()])
    assert "A (200) | A (1000) | R (200) | R (1000)" in text
    assert "shifts: mean of the four" in text


def test_a_test_set_that_was_left_out_is_said_to_be() -> None:
    some = imagenet()
    del some.metrics["imagenet_sketch/top1"]
    (row,) = table_of([some])
    assert (row["imagenet_sketch/top1"], row["shift_mean_4_200"], row["imagenetv2/top1"]) == ("-", "3 of 4", "60.00")
    assert "lora, shots 16: not scored (imagenet_sketch/top1)" in suite_table.suite_markdown([some])


def test_fake_images_are_said_in_every_form_of_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    for records in (vtab(FULL, fake=True), [made("mini", "digits", fake=True)]):
        for long in (False, True):
            suite_table.show_suite(records, long)
            out = capsys.readouterr().out
            assert "FAKE IMAGES: " in out.partition("\n")[0] + out.partition("\n")[2].partition("\n")[0]
            assert suite_table.suite_markdown(records, long).startswith("**FAKE IMAGES: ")
            assert "drawn by `glorabench data fake`" in suite_table.suite_markdown(records, long)
            text = suite_table.suite_csv(groups_of(records), long)
            assert text.count("FAKE IMAGES") == text.count("\n") - 1
    for long in (False, True):
        suite_table.show_suite(vtab(FULL), long)
        text = suite_table.suite_markdown(vtab(FULL), long) + suite_table.suite_csv(groups_of(vtab(FULL)), long)
        assert "FAKE" not in capsys.readouterr().out + text


def test_fake_images_beside_real_ones_are_refused() -> None:
    records = [*vtab(FULL, fake=True), *vtab(FULL, method="full")]
    for form in (
        suite_table.show_suite,
        suite_table.suite_markdown,
        lambda records: suite_table.suite_csv(groups_of(records)),
    ):
        with pytest.raises(BadInput, match="fake images"):
            form(records)


def test_selections_get_tables_of_their_own_and_marks_stay() -> None:
    replayed = vtab(FULL, rule="best_test_epoch", contaminated=True)
    text = suite_table.suite_markdown([*vtab(FULL), *replayed])
    assert text.count("| method |") == text.count("**19 runs of vit_mini on suite vtab1k, scored on test") == 2
    assert "| lora [chosen on test] |" in text
    rows = table_of([*vtab(FULL), *replayed])
    assert [row["method"] for row in rows] == ["lora", "lora [chosen on test]"]
    assert rows[1]["selection"] == "scored on test, trained on trainval, best_test_epoch"
    assert "\n**" not in suite_table.suite_markdown(vtab(FULL))


def test_the_long_table_stands_for_one_task_for_suites_without_a_layout_and_on_demand() -> None:
    assert layout_of([made("mini", "digits"), made("mini", "dsprites_loc")]) is None
    assert layout_of([made()]) is None
    assert layout_of([made(), made(task="dtd")]) is LAYOUTS["vtab1k"]
    assert layout_of([imagenet()]) is LAYOUTS["imagenet"]
    assert layout_of([made(), fewshot("food101", 1, 0, 0.5)]) is None
    assert suite_table.suite_markdown(vtab(FULL), long=True).startswith("| task | method | top-1 %")


@pytest.mark.parametrize(("width", "tables"), [(220, 1), (140, 2), (100, 4), (60, 6)])
def test_a_terminal_gets_as_many_tables_as_its_width_needs(width: int, tables: int) -> None:
    records = [
        r
        for seed in (0, 1)
        for method in ("lora", "glora with a name that is too long for a terminal (train.epochs=100, rank=8)")
        for r in vtab({task: value + seed for task, value in FULL.items()}, method=method, seed=seed)
    ]
    (part,) = (part for part in suite_table.suite_parts(groups_of(records)) if part.blocks)
    pages = list(terminal.terminal_pages(part, width))
    assert len(pages) == tables
    seen = []
    for head, body in pages:
        columns = list(zip(head, *body, strict=True))
        assert sum(1 + max(len(part) for cell in c for part in cell.split("\n")) for c in columns) - 1 <= width
        seen += head[1:]
        assert body[0][0] == "lora"
    assert [" ".join(name.split()) for name in seen] == list(part.head[1:])


def test_a_block_that_is_too_wide_by_itself_is_cut() -> None:
    pages = list(terminal.terminal_pages(suite_table.suite_parts(groups_of([imagenet()]))[0], 40))
    assert len(pages) > 1
    assert sum(len(head) - 2 for head, _ in pages) == 13  # nine columns and means, n, sizes; method and shots in each


def test_the_terminal_shows_the_whole_table_then_gaps_findings_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    suite_table.show_suite([*vtab(FULL), *vtab({"cifar": 50.0}, method="full")], notes=True)
    out = capsys.readouterr().out
    for part in ("68.97", "65.57", "of 4", "CLEVR", "full fine-tuning: no run (18 of 19)"):
        assert part in out
    assert out.index("65.57") < out.index("no run") < out.index("cifar: best is LoRA") < out.index("top-1 in percent")
    assert max(len(line) for line in out.partition("full fine-tuning: no run")[0].splitlines()) <= 140


def test_the_command_prints_either_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for r in vtab(FULL):
        record.write_record(r, record.path_of(tmp_path, r.config))
    words = ["table", "vtab1k", "--results", str(tmp_path), "--format", "csv"]
    assert cli.main(words) == 0
    assert "vtab_mean_groups,vtab_mean_19" in capsys.readouterr().out
    assert cli.main([*words, "--long"]) == 0
    assert capsys.readouterr().out.startswith("task,method,top-1 %")
    page = tmp_path / "page.md"
    page.write_text("<!-- table:vtab1k -->\n<!-- /table:vtab1k -->\n")
    assert cli.main(["table", "vtab1k", "--results", str(tmp_path), "--into", str(page)]) == 0
    assert "| 68.97 | 65.57 | 1 | 1,000 |" in page.read_text()


def test_records_are_shown_without_torch() -> None:
    code = "import sys, glorabench.reports.tables.suite; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_deleted_run_is_said_of_its_cell_and_a_mean_that_was_not_tested_says_so() -> None:
    full, second = vtab(FULL), vtab({t: v + 1 for t, v in FULL.items()}, seed=1)
    records = [*full, *(r for r in second if r.config["data"]["task"] != "dtd")]
    (line,) = wide.wide_rows(Group(records), LAYOUTS["vtab1k"])
    assert "lora: no run of 1 of 2 seeds (dtd)" in wide.row_gaps([line], LAYOUTS["vtab1k"])
    whole = wide.wide_rows(Group([*full, *second]), LAYOUTS["vtab1k"])
    assert not any("no run" in said for said in wide.row_gaps(whole, LAYOUTS["vtab1k"]))
    text = suite_table.suite_markdown([*full, *vtab(CONVPASS, method="convpass")])
    assert "- lora: against the best mean it has no outcomes in common with it (natural_mean, " in text
