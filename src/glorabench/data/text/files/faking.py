"""Write small fake texts in the layouts of the real ones, to rehearse with. FAKE.json marks their folders.

The same call writes the same files. What they say is made by the generators of the suite `mini_text`, and no prompt is
in two splits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from glorabench.data.suites import fake
from glorabench.data.suites.texts import SETS_OF_COMMONSENSE
from glorabench.data.text import copying, dialogues, sums, world
from glorabench.data.text.vocabulary import CITIES, COLOURS, FIRST_NAMES, FOODS, THINGS

_SEED: Final = 20269
_WORDS_OF_SETS: Final[Mapping[str, tuple[str, int]]] = {
    "piqa": ("solution", 2), "social_i_qa": ("answer", 3), "hellaswag": ("ending", 4), "winogrande": ("option", 2),
    "ARC-Easy": ("answer", 4), "ARC-Challenge": ("answer", 4), "openbookqa": ("answer", 4),
}  # fmt: skip
_Cells = dict[str, Any]


def write_fake_texts(form: str, root: Path) -> bool:
    """Write the files of a form into `root`/`form`.

    Returns:
        True if they are new.

    Raises:
        BadInput: other files are there, or the folder cannot be written.
    """
    sizes, fill = _FAKES[form]
    return fake.build_fake_task(root / form, form, sizes, lambda folder: fill(folder, sizes))


def _distinct(seed: str, count: int, draw: Callable[[Random], _Cells]) -> Iterator[_Cells]:
    """Rows whose first cells differ."""
    random, taken = Random(f"{_SEED}/{seed}"), set()
    while len(taken) < count:
        row = draw(random)
        key = json.dumps(next(iter(row.values())))
        if key not in taken:
            taken.add(key)
            yield row


def _write_list(path: Path, rows: Iterable[_Cells]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(rows), indent=1) + "\n", encoding="utf-8")


def _write_lines(path: Path, rows: Iterable[_Cells]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _in_splits(sizes: Mapping[str, int], rows: Iterator[_Cells]) -> Iterator[tuple[str, Sequence[_Cells]]]:
    for split, size in sizes.items():
        yield split, [next(rows) for _ in range(size)]


def _own(folder: Path, sizes: Mapping[str, int]) -> None:
    def draw(random: Random) -> _Cells:
        question, working = sums.ask_sum(random)
        right = int(working.rpartition(" ")[2])
        choices = [str(right + step) for step in random.sample((-2, -1, 0, 1), 4)]
        return {
            "prompt": question, "completion": working, "choices": choices, "answer": choices.index(str(right)),
            "text": f"{question} {working}",
        }  # fmt: skip

    for split, rows in _in_splits(sizes, _distinct("text", sum(sizes.values()), draw)):
        _write_lines(folder / f"{split}.jsonl", rows)


def _alpaca(folder: Path, sizes: Mapping[str, int]) -> None:
    def draw(random: Random) -> _Cells:
        instruction, output = copying.ask_form(random)
        task, _, text = instruction.partition(". ")
        has_input = random.random() < 0.4
        return {"instruction": f"{task}." if has_input else instruction, "input": text * has_input, "output": output}

    rows = {json.dumps([row["instruction"], row["input"]]): row for row in _many("alpaca", 4 * sizes["train"], draw)}
    _write_list(folder / "alpaca_data.json", list(rows.values())[: sizes["train"]])


def _many(seed: str, count: int, draw: Callable[[Random], _Cells]) -> Iterator[_Cells]:
    random = Random(f"{_SEED}/{seed}")
    return (draw(random) for _ in range(count))


def _sharegpt(folder: Path, sizes: Mapping[str, int]) -> None:
    def draw(random: Random) -> _Cells:
        turns = []
        for _ in range(random.randint(1, 3)):
            question, answer = copying.ask_form(random)
            turns += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        return {"conversations": turns}

    rows = _distinct("sharegpt", sizes["train"], draw)
    _write_list(folder / "sharegpt.json", ({"id": f"fake{n}", **row} for n, row in enumerate(rows)))


def _samsum(folder: Path, sizes: Mapping[str, int]) -> None:
    def draw(random: Random) -> _Cells:
        dialogue, summary, _ = dialogues.ask_summary(random)
        return {"dialogue": dialogue, "summary": summary}

    for split, rows in _in_splits(sizes, _distinct("samsum", sum(sizes.values()), draw)):
        _write_list(folder / f"{split}.json", ({"id": f"{split}{n}", **row} for n, row in enumerate(rows)))


def _ask_commonsense(name: str, random: Random) -> _Cells:
    """A question in the words of a set: which colour a thing has that somebody was given."""
    who, thing, colour, town = (random.choice(words) for words in (FIRST_NAMES, THINGS, COLOURS, CITIES))
    fact = f"{who} got a {colour} {thing} and {random.choice(FOODS)} in {town}."
    if name == "boolq":
        asked = random.choice((colour, random.choice(COLOURS)))
        text, options = f"Please answer with true or false, question: {fact} Is the {thing} {asked}?", ["true", "false"]
        answer = "true" if asked == colour else "false"
    else:
        word, count = _WORDS_OF_SETS[name]
        choices = random.sample([other for other in COLOURS if other != colour], count - 1)
        place = random.randrange(count)
        choices.insert(place, colour)
        options = [f"{word}{n}" for n in range(1, count + 1)]
        listed = " ".join(f"{option.capitalize()}: {choice}" for option, choice in zip(options, choices, strict=True))
        text, answer = f"Please choose: {fact} Which colour has the {thing}?\n\n{listed}", options[place]
    instruction = f"{text}\n\nAnswer format: {'/'.join(options)}"
    return {"instruction": instruction, "input": "", "output": f"the correct answer is {answer}", "answer": answer}


def _commonsense(folder: Path, sizes: Mapping[str, int]) -> None:
    of_train = -(-sizes["train"] // len(SETS_OF_COMMONSENSE))
    train: list[_Cells] = []
    for name in SETS_OF_COMMONSENSE:
        rows = list(_distinct(name, of_train + sizes["test"], lambda random, name=name: _ask_commonsense(name, random)))
        train += rows[:of_train]
        _write_list(folder / "dataset" / name / "test.json", rows[of_train:])
    Random(_SEED).shuffle(train)
    _write_list(folder / "ft-training_set" / "commonsense_170k.json", train[: sizes["train"]])


def _metamathqa(folder: Path, sizes: Mapping[str, int]) -> None:
    def draw(random: Random) -> _Cells:
        question, working = sums.ask_sum(random)
        return {"question": question, "answer": f"{working}\n#### {working.rpartition(' ')[2]}"}

    parts = dict(_in_splits(sizes, _distinct("metamathqa", sum(sizes.values()), draw)))
    _write_list(
        folder / "MetaMathQA-395K.json",
        (
            {
                "type": "GSM_Rephrased", "query": row["question"], "original_question": row["question"],
                "response": f"{row['answer']}\nThe answer is: {row['answer'].rpartition(' ')[2]}",
            }
            for row in parts["train"]
        ),
    )  # fmt: skip
    _write_lines(folder / "gsm8k" / "train.jsonl", parts["val"])
    _write_lines(folder / "gsm8k" / "test.jsonl", parts["test"])


def _pretrain(folder: Path, sizes: Mapping[str, int]) -> None:
    tellers = (sums.tell_sum, dialogues.tell_talk, copying.tell_list, world.tell_of_neighbour)
    for split, size in sizes.items():
        (folder / split).mkdir()
        for number in range(size):
            random = Random(f"{_SEED}/{split}/{number}")
            text = "\n\n".join(random.choice(tellers)(random) for _ in range(random.randint(4, 40)))
            (folder / split / f"{number:04d}.txt").write_text(text + "\n", encoding="utf-8")


_FAKES: Final[Mapping[str, tuple[Mapping[str, int], Callable[[Path, Mapping[str, int]], None]]]] = {
    "text": ({"train": 160, "val": 20, "test": 40}, _own),
    "alpaca": ({"train": 240}, _alpaca),
    "sharegpt": ({"train": 200}, _sharegpt),
    "samsum": ({"train": 160, "val": 20, "test": 40}, _samsum),
    "commonsense": ({"train": 240, "test": 12}, _commonsense),
    "metamathqa": ({"train": 200, "val": 30, "test": 40}, _metamathqa),
    "pretrain_text": ({"train": 24, "val": 4, "test": 6}, _pretrain),
}
