"""The compare command: sides from words, pairs at equal parameters or cost, and the sentence at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import test_wide_table
from glorabench import cli
from glorabench.analysis import statistics
from glorabench.cli.tables import two_sides
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.outcomes import pack, unpack
from glorabench.records.record import Record
from glorabench.reports.tables.comparison import comparison_part
from test_long_table import N, made

TASKS = ("digits", "dsprites_loc")


def runs(method: str, right: dict[str, tuple[int, ...]], **facts: Any) -> list[Record]:
    return [made(method, task, seed, n, **facts) for task, each in right.items() for seed, n in enumerate(each)]


def stage(flops: float, seconds: float) -> dict[str, Any]:
    return {"train": {"seconds": seconds, "steps": 1, "images": 1, "flops": flops}}


LORA = runs("lora", {"digits": (150, 150), "dsprites_loc": (180, 180)})
GLORA = runs("glora", {"digits": (151, 151), "dsprites_loc": (100, 100)}, params=2000)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["method=lora", "method=glora"], ("mini", {"method": "lora"}, {"method": "glora"})),
        (
            ["vtab1k", "method=lora", "method.rank=8", "method=glora", "search=null"],
            ("vtab1k", {"method": "lora", "method.rank": 8}, {"method": "glora", "search": None}),
        ),
        (
            ["method.rank=2,4", "method.rank=8", "method.targets=[q, v]"],
            ("mini", {"method.rank": [2, 4]}, {"method.rank": 8, "method.targets": [["q", "v"]]}),
        ),
    ],
)
def test_the_second_side_begins_where_the_first_key_comes_again(words: list[str], expected: Any) -> None:
    assert two_sides(words) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=lora"], "two sides are needed"),
        (["mini"], "two sides are needed"),
        (["method=a", "method=b", "method=c"], "two sides are needed"),
        (["mini", "vtab1k", "method=a", "method=b"], "at most one suite"),
        (["method=a", "train.lr=1", "train.lr=2", "method=b"], "train.lr is given twice"),
        (["method=a", "method.rank=[", "method=b"], "method.rank=[: "),
    ],
)
def test_words_that_are_no_two_sides_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        two_sides(words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_each_task_has_its_paired_difference_and_the_sentence_its_tally() -> None:
    part = comparison_part([*LORA, *GLORA], {"method": "lora"}, {"method": "glora"})
    both = [[[i < n for i in range(N)]] * 2 for n in (180, 100)]
    d = statistics.paired_difference(*both)
    assert [row[0] for row in part.body] == ["digits", "dsprites_loc", "mean of 2"]
    assert part.body[0][3:] == ("-0.50", part.body[0][4], "2", "not separated")
    span = f"{100 * d.low:.2f} to {100 * d.high:.2f}"
    assert part.body[1] == ("dsprites_loc", "90.00", "50.00", "40.00", span, "2", "win")
    assert part.findings[0].startswith("LoRA is ahead of GLoRA by 19.75 points (95 % interval 19.75 to 19.75, 2 seeds;")
    assert "1 win, 1 not separated, 0 losses of 2 tasks" in part.findings[0]
    assert "costs, LoRA / GLoRA: 0.50 (parameters)" in part.findings[0]


def test_what_is_not_decided_is_not_called_ahead() -> None:
    first = runs("lora", {"digits": (120, 80)})
    part = comparison_part([*first, *runs("glora", {"digits": (100, 98)})], {"method": "lora"}, {"method": "glora"})
    assert part.findings[0].startswith("not decided: LoRA minus GLoRA is 0.50 points")
    one = comparison_part([made(right=190), made("glora", right=50)], {"method": "lora"}, {"method": "glora"})
    assert one.findings[0].startswith("not decided")
    assert "one seed, so no interval" in one.findings[0]


def test_what_saw_the_test_split_wins_nothing() -> None:
    seen = [made("glora", seed=s, right=190, search="evolution", on="test") for s in (0, 1)]
    part = comparison_part([*LORA[:2], *seen], {"method": "glora"}, {"method": "lora"})
    assert "saw the test split" in part.findings[0]
    assert "[chosen on test]" in part.title


def test_several_configurations_need_a_word_or_at() -> None:
    ranks = {rank: runs("lora", {"digits": (150, 140)}, rank=rank, params=rank * 500) for rank in (2, 4, 8)}
    records = [r for own in ranks.values() for r in own] + runs("glora", {"digits": (150, 150)}, params=2040)
    with pytest.raises(BadInput, match=r"method=lora is 3 configurations \(LoRA, r = 2; .*--at params or flops"):
        comparison_part(records, {"method": "lora"}, {"method": "glora"})
    part = comparison_part(records, {"method": "lora"}, {"method": "glora"}, at="params")
    assert part.title == "LoRA, r = 4 against GLoRA"
    assert part.findings[1] == "at equal parameters: the ratio is 0.98, the nearest to 1 of 3 pairs"
    far = comparison_part(records, {"method": "lora", "method.rank": [2, 8]}, {"method": "glora"}, at="params")
    assert far.findings[1].startswith("not at equal parameters: the ratio is 1.96")


@pytest.mark.parametrize(("at", "chosen"), [("flops", "r = 2"), ("time", "r = 8")])
def test_equal_cost_counts_all_stages(at: str, chosen: str) -> None:
    records = [
        *runs("lora", {"digits": (150, 140)}, rank=2, stages=stage(1e12, 5.0)),
        *runs("lora", {"digits": (150, 140)}, rank=8, stages=stage(4e12, 20.0)),
        *runs("glora", {"digits": (150, 150)}, stages={**stage(5e11, 15.0), "search": {"seconds": 5.0, "flops": 5e11}}),
    ]
    part = comparison_part(records, {"method": "lora"}, {"method": "glora"}, at=at)
    assert part.title == f"LoRA, {chosen} against GLoRA"
    assert "ratio is 1.00" in part.findings[1]
    bare = [replace(r, cost={}) for r in records]
    with pytest.raises(BadInput, match=rf"--at {at}: no pair"):
        comparison_part(bare, {"method": "lora"}, {"method": "glora"}, at=at)


def test_only_what_both_have_is_compared_and_the_rest_is_named() -> None:
    less = [r for r in GLORA if (r.names["task"], r.config["seed"]) != ("digits", 1)]
    part = comparison_part([*LORA, *less], {"method": "lora"}, {"method": "glora"})
    assert part.findings[-1] == "left out, as GLoRA has no result there: digits (seed 1)"
    assert [row[5] for row in part.body] == ["1", "2", "1"]
    with pytest.raises(BadInput, match="no task and seed in common"):
        comparison_part([made(), made("glora", seed=1)], {"method": "lora"}, {"method": "glora"})
    with pytest.raises(BadInput, match="no run of method=glora is done"):
        comparison_part([made(), made("glora", status="failed")], {"method": "lora"}, {"method": "glora"})


def test_seeds_with_other_examples_fall_back_to_seeds_and_say_so() -> None:
    def fewer(r: Record) -> Record:
        return replace(r, outcomes={"top1": pack(unpack(r.outcomes.get("top1", ""))[: N - r.config["seed"]])})

    part = comparison_part([*map(fewer, LORA), *map(fewer, GLORA)], {"method": "lora"}, {"method": "glora"})
    assert part.body[1][6] == "win (no outcomes in common: interval over seeds)"


def test_missing_outcomes_fall_back_to_seeds_and_say_so() -> None:
    part = comparison_part([*LORA, *(replace(r, outcomes={}) for r in GLORA)], {"method": "lora"}, {"method": "glora"})
    assert part.body[1][6] == "win (no outcomes in common: interval over seeds)"
    d = statistics.mean([0.4, 0.4])
    assert part.body[1][4] == f"{100 * d.low:.2f} to {100 * d.high:.2f}"


def test_the_command_prints_it_and_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for r in (*LORA, *GLORA):
        record.write_record(r, record.path_of(tmp_path, r.config))
    words = ["compare", "mini", "method=lora", "method=glora", "--results", str(tmp_path)]
    assert cli.main([*words, "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert "| dsprites_loc | 90.00 | 50.00 | 40.00 |" in out
    assert "- LoRA is ahead of GLoRA" in out
    assert cli.main(words) == 0
    assert "LoRA against GLoRA" in capsys.readouterr().out
    around = ["compare", "mini", "--results", str(tmp_path), "method=lora", "--at", "params", "method=glora"]
    assert cli.main(around) == 0
    assert "LoRA against GLoRA" in capsys.readouterr().out
    for bad, said in (
        (["compare", "method=lora", "method=gloraa"], "no record has method=gloraa: they have glora or lora"),
        (["compare", "vtab1k", "method=lora", "method=glora"], "no records of suite 'vtab1k'"),
        (["compare", "method=lora", "method.rnk=4", "method=glora"], "none has the key"),
    ):
        assert cli.main([*bad, "--results", str(tmp_path)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1


def test_pairs_that_are_alike_are_refused_for_no_order_of_records_may_choose() -> None:
    pair = [*runs("lora", {"digits": (150, 140)}, rank=2), *runs("lora", {"digits": (180, 180)}, rank=4)]
    with pytest.raises(BadInput, match=r"2 pairs have the ratio 1.00, .*LoRA, r = 2 and GLoRA; .*add a word"):
        comparison_part(
            [*pair, *runs("glora", {"digits": (150, 150)})], {"method": "lora"}, {"method": "glora"}, at="params"
        )


def test_two_configurations_of_one_method_are_told_apart_and_one_is_not_compared_with_itself() -> None:
    records = [*runs("lora", {"digits": (150, 140)}, rank=2), *runs("lora", {"digits": (180, 180)}, rank=4)]
    first, second = ({"method": "lora", "method.rank": rank} for rank in (2, 4))
    part = comparison_part(records, first, second)
    assert part.title == "LoRA, r = 2 against LoRA, r = 4"
    with pytest.raises(BadInput, match="are the same runs of LoRA: add a word"):
        comparison_part(records, first, {"method.rank": 2})


def test_the_lists_of_shots_are_a_seed_too() -> None:
    records = [
        test_wide_table.fewshot("food101", 1, split, 0.1 * split + ahead, method=method)
        for method, ahead in (("lora", 0.1), ("full", 0.0))
        for split in (0, 1, 2)
    ]
    drawn = [replace(r, config={**r.config, "seed": 0}) for r in records]
    part = comparison_part(drawn, {"method": "lora"}, {"method": "full"})
    assert part.body[0][1:4] == ("20.00", "10.00", "10.00")
    assert part.body[0][5] == "3"
    less = comparison_part(drawn[:-1], {"method": "lora"}, {"method": "full"})
    assert (
        less.findings[-1] == "left out, as full fine-tuning has no result there: food101_1shot (seed 0, split seed 2)"
    )
