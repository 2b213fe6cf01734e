"""Texts out of files: every layout gives the same examples, splits share no prompt, faults are named by place."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glorabench.data.text.answers import SENTENCE_END
from glorabench.data.text.files.checking import alpaca_file, check_texts, identify_texts, text_options
from glorabench.data.text.files.collection import collect_texts
from glorabench.data.text.local import load
from glorabench.errors import BadInput

ROWS = [{"prompt": f"What is {n}?", "completion": f"It is ünï {n}.", "n": n} for n in range(60)]
NODE = {"form": "text", "template": "plain"}


def json_list(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    return folder / "a.json"


def json_lines(folder: Path) -> Path:
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS), encoding="utf-8")
    return folder / "a.jsonl"


def table(folder: Path) -> Path:
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return folder / "a.csv"


def parquet(folder: Path) -> Path:
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.Table.from_pylist(ROWS), folder / "a.parquet")
    return folder / "a.parquet"


def saved(folder: Path) -> Path:
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(folder / "saved")
    return folder / "saved"


@pytest.mark.parametrize("layout", [json_list, json_lines, table, parquet, saved])
def test_every_layout_gives_the_same_examples(layout: Any, tmp_path: Path) -> None:
    texts = check_texts({**NODE, "root": str(layout(tmp_path))})
    assert texts.fingerprint == check_texts({**NODE, "root": str(json_list(tmp_path))}).fingerprint
    assert {split: len(examples) for split, examples in texts.splits.items()} == {"train": 48, "val": 6, "test": 6}
    assert all(e.completion == f"It is ünï {e.prompt[8:-1]}." for e in texts.splits["train"])


def test_splits_of_a_saved_data_set_and_of_a_folder_are_taken_as_given(tmp_path: Path) -> None:
    import datasets

    parts = {"train": ROWS[:40], "validation": ROWS[40:50], "test": ROWS[50:]}
    datasets.DatasetDict({n: datasets.Dataset.from_list(r) for n, r in parts.items()}).save_to_disk(tmp_path / "saved")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, rows in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    hub = tmp_path / "hub" / "data"
    hub.mkdir(parents=True)
    for name, rows in parts.items():
        (hub / f"{name}-00000-of-00001.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    texts = [check_texts({**NODE, "root": str(root)}) for root in (tmp_path / "saved", folder, tmp_path / "hub")]
    assert len({t.fingerprint for t in texts}) == 1
    assert [e.prompt for e in texts[0].splits["val"]] == [row["prompt"] for row in ROWS[40:50]]
    assert texts[0].origin == "test as given; val as given"


def test_a_draw_depends_on_the_seed_and_not_on_the_order_and_keeps_prompts_together(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n // 2}", "completion": f"c{n}"} for n in range(100)]
    node = {**NODE, "val_size": 10, "test_size": 20}
    splits = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / f"{name}.json").write_text(json.dumps(order), encoding="utf-8")
        texts = check_texts({**node, "root": str(tmp_path / f"{name}.json")})
        splits.append({split: {(e.prompt, e.completion) for e in part} for split, part in texts.splits.items()})
    assert splits[0] == splits[1]
    assert [len(splits[0][name]) for name in ("train", "val", "test")] == [70, 10, 20]
    prompts = [{prompt for prompt, _ in part} for part in splits[0].values()]
    assert not prompts[0] & prompts[1] | prompts[0] & prompts[2] | prompts[1] & prompts[2]
    other = check_texts({**node, "root": str(tmp_path / "a.json"), "split_seed": 1})
    assert {(e.prompt, e.completion) for e in other.splits["test"]} != splits[0]["test"]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"choices": ["x", "y", "z"], "answer": 1}, "y"),
        ({"choices": ["x", "y", "z"], "answer": "B"}, "y"),
        ({"choices": ["x", "y", "z"], "answer": "y"}, "y"),
        ({"choices": '["x", "y", "z"]', "answer": "1"}, "y"),
        ({"choices": ["1", "2", "0"], "answer": "2"}, "2"),  # a text comes before a place
        ({"choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answer": "2"}, "y"),  # as ARC has them
        ({"choices": ["x", "y"], "answer": 4}, "the answer '4' is none of the 2 choices.*from 0 to 1.*A to B"),
        ({"choices": ["x", "y"], "answer": "C"}, "the answer 'C' is none of the 2 choices"),
        ({"choices": ["x"], "answer": 0}, "'choices' must be a list of at least two different texts"),
        ({"choices": ["x", "x"], "answer": 0}, "'choices' must be a list of at least two different texts"),
        ({"choices": "x|y", "answer": 0}, "'choices' must be a list"),
        ({"answer": 0}, "there is no field 'choices'; the fields are 'prompt', 'answer'"),
    ],
)
def test_the_right_choice_is_given_in_several_ways(row: dict[str, Any], right: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}", **row} for n in range(10)]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    node = {**NODE, "root": str(tmp_path / "a.json"), "kind": "multiple_choice"}
    if len(right) == 1:
        example = check_texts(node).splits["train"][0]
        assert example.completion == right
        assert len(example.choices) in (2, 3)
    else:
        with pytest.raises(BadInput, match=f"a.json, entry 0: {right}.*9 more rows"):
            check_texts(node)


def test_choices_may_stand_in_fields_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q,A,B,key\n" + "".join(f"{n},red,blue,B\n" for n in range(10)), encoding="utf-8")
    fields = {"prompt": "q", "choices": ["A", "B"], "answer": "key"}
    node = {**NODE, "root": str(tmp_path / "a.csv"), "kind": "multiple_choice", "fields": fields}
    assert check_texts(node).splits["test"][0].completion == "blue"


GOOD = '{"prompt": "a", "completion": "b"}\n'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", f"{GOOD}{GOOD}not json\n".encode(), "a.jsonl, line 3: no JSON object"),
        ("a.jsonl", f"{GOOD}[1]\n".encode(), "a.jsonl, line 2: no JSON object"),
        ("a.json", b'[{"prompt": "a"', "a.json is no JSON list"),
        ("a.json", b'[{"prompt": "a", "completion": "b"}, 3]', "a.json, entry 1: no JSON object"),
        (
            "a.jsonl",
            b'{"prompt": "a", "answer": "b"}\n',
            "there is no field 'completion'; the fields are 'prompt'",
        ),
        ("a.jsonl", b'{"prompt": "a", "completion": " "}\n', "line 1: the field 'completion' is empty"),
        (
            "a.jsonl",
            b'{"prompt": "a", "completion": ["b"]}\n',
            "the field 'completion' holds no text, but list",
        ),
        ("a.jsonl", GOOD.encode() + b'{"prompt": "\xff"}\n', "a.jsonl, line 2: no text in UTF-8"),
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.jsonl", b"\n \n", "a.jsonl is empty"),
        ("a.json", b"[]", "a.json is empty"),
        ("a.csv", b"prompt,completion\n", "a.csv is empty"),
        ("a.csv", b"prompt,completion\na,b,c\n", "a.csv, line 2: more cells"),
        ("a.parquet", b"PAR1 no parquet", "a.parquet cannot be read"),
        ("a.doc", b"words", "a.doc is no file of texts: its name must end with .json"),
        ("a.jsonl", GOOD.encode(), "too few examples .1. to draw 1 of them for test"),
    ],
)
def test_a_fault_is_named_with_its_place(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        check_texts({**NODE, "root": str(tmp_path / name)})
    assert identify_texts({**NODE, "root": str(tmp_path / name)}) == {"task": "a", "sha256": None}


def test_all_faults_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD + '{"prompt": "a"}\n' * 9, encoding="utf-8")
    with pytest.raises(BadInput, match=r"line 2: there is no field .* \(8 more rows have faults\)"):
        check_texts({**NODE, "root": str(tmp_path / "a.jsonl")})


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"root": None}, "data=text needs data.root=FILE_OR_FOLDER: only local files are read; to save .*save_to_disk"),
        ({"root": "tatsu-lab/alpaca"}, "there is no file or folder tatsu-lab/alpaca: only local files are read"),
        ({"template": "alpaka"}, "data.template 'alpaka'; did you mean 'alpaca_lora'"),
        (
            {"form": "sharegpt", "template": "plain"},
            "data.template=plain is not for chats: choose vicuna_v1.1",
        ),
        ({"kind": "choices"}, "data.kind 'choices'.*multiple_choice"),
        ({"kind": "multiple_choice", "metrics": ["rouge1"]}, "data.metrics 'rouge1'.*acc_norm"),
        ({"unit": "word"}, "data.unit 'word'"),
        ({"val_size": 0}, "data.val_size must be a whole number of at least 1, got 0"),
        ({"fields": {"promt": "a"}}, "data.fields.promt: no such field; did you mean 'prompt'"),
        ({"fields": {"prompt": 3}}, "data.fields.prompt must be the name of a field, got 3"),
        ({"form": "commonsense", "protocol": "beam"}, "data.protocol 'beam'"),
        ({"form": "commonsense", "sets": ["boolq", "pica"]}, "data.sets: there is no test set 'pica'"),
    ],
)
def test_an_impossible_option_is_refused(node: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words):
        check_texts({**NODE, "root": str(json_lines(tmp_path)), **node})


def test_a_folder_without_train_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "words.json").write_text("[]")
    with pytest.raises(BadInput, match=r"has no train.json, .jsonl, .csv or .parquet: it holds readme.txt, words.json"):
        check_texts({**NODE, "root": str(tmp_path)})


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    json_list(tmp_path).rename(tmp_path / "train.json")
    table(tmp_path).rename(tmp_path / "train.csv")
    with pytest.raises(BadInput, match=r"several files of train, train.csv and train.json: keep one of them"):
        check_texts({**NODE, "root": str(tmp_path)})


def test_a_prompt_in_two_splits_is_refused_or_counted(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(ROWS[:30]))
    (tmp_path / "test.json").write_text(json.dumps(ROWS[29:40]))
    node = {**NODE, "root": str(tmp_path), "val_size": 2}
    collected = collect_texts(str(tmp_path), text_options(node))
    assert list(collected.duplicates.values()) == [1]
    with pytest.raises(BadInput, match=r"1 prompt of test is also in \w+ \(first: test.json, entry 0 is train.json"):
        check_texts(node)
    task = load(
        "text", str(tmp_path), str(tmp_path), "plain", 64, None, "response", val_size=2, allow_duplicates=True
    )  # fmt: skip
    assert sum(task.facts["duplicates"].values()) == 1
    assert task.facts["texts"] == {"train": 28, "val": 2, "test": 11}


def test_texts_that_changed_since_the_run_was_composed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="have changed since this run was composed"):
        load("text", str(json_list(tmp_path)), str(tmp_path), "plain", 64, None, "response", sha256="0" * 64)


def test_plain_texts_are_files_paragraphs_or_lines(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"one {name}\nmore {name}\n\n\ntwo {name}\n", encoding="utf-8")
    node = {"form": "pretrain_text", "template": "plain", "root": str(tmp_path)}
    words = {unit: [e.completion for e in check_texts({**node, "unit": unit}).splits["train"]]
             for unit in ("file", "paragraph", "line")}  # fmt: skip
    assert words["file"] == ["one train\nmore train\n\n\ntwo train\n"]
    assert words["paragraph"] == ["one train\nmore train", "two train"]
    assert words["line"] == ["one train", "more train", "two train"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (52_002, "alpaca_data.json of Stanford (by its 52,002 rows)"),
        (51_760, "alpaca-cleaned of yahma (by its 51,760 rows)"),
        (40, "unknown (40 rows)"),
    ],
)
def test_files_that_are_called_alpaca_are_told_apart_by_their_rows(rows: int, words: str, tmp_path: Path) -> None:
    content = [{"instruction": f"i{n}", "input": "", "output": "o"} for n in range(40)]
    (tmp_path / "alpaca_data.json").write_text(json.dumps(content))
    node = {"form": "alpaca", "root": str(tmp_path), "template": "alpaca_lora", "val_size": 4, "test_size": 6}
    texts = check_texts(node)
    assert texts.train_file == (tmp_path / "alpaca_data.json", 40)
    assert alpaca_file(replace(texts, train_file=(texts.train_file[0], rows))) == words


def test_a_task_knows_what_its_form_is_scored_by(tmp_path: Path) -> None:
    content = [{"instruction": f"i{n}", "input": "", "output": "o"} for n in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(content))
    words = ("alpaca", str(tmp_path / "a.json"), str(tmp_path), "alpaca_lora", 64)
    assert load(*words, "end", "response").metrics == ("loss",)  # bits per byte need whole texts
    assert load(*words, "left", "response").metrics == ("loss", "bits_per_byte")
    generated = load(*words, "left", "response", kind="generation", metrics=["rouge_l"])
    assert generated.facts["rouge"]["splitter"] == SENTENCE_END
    assert generated.facts["file"] == "unknown (40 rows)"
