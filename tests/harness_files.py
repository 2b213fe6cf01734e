"""Small files of the harness' tasks, with the fields of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def arc(n: int) -> dict[str, Any]:
    choices = {"text": [f"cat {n}", "a dog", f"{n} birds"], "label": ["A", "B", "C"]}
    return {"id": str(n), "question": f"Which animal number {n}?", "choices": choices, "answerKey": "ABC"[n % 3]}


def hellaswag(n: int) -> dict[str, Any]:
    row = {"activity_label": "Cooking", "ctx_a": f"Step {n}.", "ctx_b": "the cook", "label": str(n % 4)}
    return {**row, "endings": [f"eats {n} apples.", "sleeps.", "runs away.", f"sees {n}."]}


def mmlu(n: int) -> dict[str, Any]:
    return {"question": f"What is {n}?", "subject": "s", "choices": ["one", "two", "three", str(n)], "answer": n % 4}


def truthful(n: int) -> dict[str, Any]:
    targets = {"choices": [f"It is {n}.", "No.", "Yes, it is."], "labels": [1, 1, 0]}
    return {"question": f"Is it {n}?", "mc1_targets": targets, "mc2_targets": targets}


def write_harness_files(root: Path) -> None:
    """Files of ARC, HellaSwag and TruthfulQA."""
    write_rows(root / "arc_challenge" / "train.jsonl", [arc(n) for n in range(30, 60)])
    write_rows(root / "arc_challenge" / "test.jsonl", [arc(n) for n in range(9)])
    write_rows(root / "hellaswag" / "train-00000-of-00001.jsonl", [hellaswag(n) for n in range(30, 50)])
    write_rows(root / "hellaswag" / "validation-00000-of-00001.jsonl", [hellaswag(n) for n in range(7)])
    write_rows(root / "truthfulqa_mc2" / "validation.jsonl", [truthful(n) for n in range(5)])
