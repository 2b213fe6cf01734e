"""All examples of a task out of files: read, left out, split by a seeded hash, compared for leaks, identified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Final

from glorabench.data.suites import fake
from glorabench.data.text.encoding import fingerprint_of_examples
from glorabench.data.text.files.forms import TEXT_FORMS, Fields
from glorabench.data.text.files.places import SplitFiles, find_places
from glorabench.data.text.files.reading import read_rows
from glorabench.data.text.task import TextExample, TextKind
from glorabench.errors import BadInput

_MOST_FAULTS: Final = 5  # rows that are named; further ones are counted
_MOST_DRAWN: Final = 1000  # examples of val or test where no size is given
SPLITS_OF_TEXT: Final = ("train", "val", "test")


@dataclass(frozen=True)
class TextOptions:
    """What decides the examples of a task.

    Args:
        form: a name of TEXT_FORMS.
        kind: what is asked of a model.
        fields: the names of fields, where the form leaves them to the user.
        unit: what an example of plain text is: file, paragraph or line.
        max_chars: leave out longer training examples, prompt and completion with a blank between them; None keeps all.
        sets: the test sets under one mean, where the form has several; None for all.
        train_size, val_size, test_size: the most examples of a split that is given, and the size of one that is drawn
            from train; None for all, or for a tenth and at most 1,000.
        split_seed: of every draw.
    """

    form: str
    kind: TextKind
    fields: Fields = field(default_factory=dict)
    unit: str = "file"
    max_chars: int | None = None
    sets: Sequence[str] | None = None
    train_size: int | None = None
    val_size: int | None = None
    test_size: int | None = None
    split_seed: int = 0


@dataclass(frozen=True)
class TextCollection:
    """The examples of a task.

    Args:
        splits: train, val and test.
        places: of each example, in words.
        groups: the test sets under one mean.
        origin: where each split comes from, in words.
        left_out: how many rows of each split are no examples.
        leaks: a line for each pair of splits that shares prompts.
        duplicates: how many examples of val and test have a prompt of an earlier split.
        is_fake: True if `glorabench data fake` wrote them.
        train_file: the first file of train, and its number of rows.
    """

    splits: Mapping[str, list[TextExample]]
    places: Mapping[str, list[str]]
    groups: tuple[str, ...]
    origin: str
    left_out: Mapping[str, int]
    leaks: tuple[str, ...]
    duplicates: Mapping[str, int]
    is_fake: bool
    train_file: tuple[Path, int]

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over all that the examples say."""
        return fingerprint_of_examples(self.splits)


class UnreadableRows(BadInput):
    """Some rows are no examples; `faults` has a line for the first ones."""

    def __init__(self, faults: Sequence[str], count: int) -> None:
        self.faults = (*faults, *([f"{count - len(faults):,} more rows have faults"] if count > len(faults) else []))
        super().__init__(f"{faults[0]}{f' ({count - 1:,} more rows have faults)' if count > 1 else ''}")


@dataclass
class _Part:
    """The examples of a file or of several, and their places."""

    examples: list[TextExample] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    left_out: int = 0

    def take(self, indices: Iterable[int]) -> _Part:
        """Some of the examples, in the order of the file."""
        order = sorted(indices)
        return _Part([self.examples[i] for i in order], [self.places[i] for i in order], self.left_out)


def collect_texts(root: str | None, options: TextOptions) -> TextCollection:
    """The examples below a root; read once in a process, as long as the files stay as they are.

    Raises:
        BadInput: nothing is there, a file is no such file, or there are too few examples.
        UnreadableRows: rows are no examples.
    """
    form = TEXT_FORMS[options.form]
    places = find_places(root, options.form, _wanted_stems(options), as_one=options.form == "pretrain_text")
    missing = [stem for stem in _wanted_stems(options) if stem.startswith("test/") and stem not in places]
    if missing and not (options.sets is None and not any(place.startswith("test/") for place in places)):
        sets = ", ".join(stem.partition("/")[2] for stem in missing)
        there = ",".join(place.partition("/")[2] for place in places if place.startswith("test/"))
        first = form.stems[missing[0]][0]
        raise BadInput(
            f"{root}: there is no {first}.json: the test sets {sets} are missing: get them, or test on those that are "
            f"there with 'data.sets=[{there}]'"
        )
    stamps = [(split, str(file), *_stamp(file)) for split, files in places.items() for file in files]
    return _collect(json.dumps([root, vars(options)], default=dict), json.dumps(stamps))


def _wanted_stems(options: TextOptions) -> dict[str, tuple[str, ...]]:
    """The usual places of the splits and test sets that are wanted.

    Raises:
        BadInput: there is no such test set.
    """
    stems = TEXT_FORMS[options.form].stems
    names = [name.partition("/")[2] for name in stems if name.startswith("test/")]
    for name in options.sets or ():
        if name not in names:
            raise BadInput(f"data.sets: there is no test set '{name}'; there are {', '.join(names) or 'none'}")
    sets = names if options.sets is None else options.sets
    return {name: value for name, value in stems.items() if "/" not in name or name.partition("/")[2] in sets}


def _stamp(path: Path) -> tuple[int, int]:
    status = (path / "state.json" if path.is_dir() else path).stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4)
def _collect(key: str, stamps: str) -> TextCollection:
    root, values = json.loads(key)
    options = TextOptions(**values)
    places: SplitFiles = {}
    for split, file, *_ in json.loads(stamps):
        places.setdefault(split, []).append(Path(file))
    parts = _read(places, options)
    groups = tuple(name.partition("/")[2] for name in parts if name.startswith("test/"))
    if groups:
        parts = {**{name: part for name, part in parts.items() if "/" not in name}, "test": _grouped(parts, options)}
    whole = len(parts.get("train", parts.get("", _Part())).examples)
    parts, origin = _divide(parts, options)
    leaks, duplicates = _leaks(parts)
    return TextCollection(
        splits={name: parts[name].examples for name in SPLITS_OF_TEXT},
        places={name: parts[name].places for name in SPLITS_OF_TEXT},
        groups=groups,
        origin=origin,
        left_out={name: part.left_out for name, part in parts.items() if part.left_out},
        leaks=leaks,
        duplicates=duplicates,
        is_fake=_is_fake(Path(root).expanduser(), options.form),
        train_file=(places.get("train", places.get("", [Path()]))[0], whole),
    )


def _is_fake(root: Path, form: str) -> bool:
    return any(fake.read_marker(place, form) is not None for place in (root, root.parent) if place.is_dir())


def _read(places: SplitFiles, options: TextOptions) -> dict[str, _Part]:
    """The examples of each split.

    Raises:
        UnreadableRows: naming the first rows with a fault.
    """
    form, faults, count = TEXT_FORMS[options.form], [], 0
    parts: dict[str, _Part] = {}
    for split, files in places.items():
        part = parts[split] = _Part()
        for file in files:
            for row in read_rows(file, options.unit):
                try:
                    example = form.read(row, options.fields, options.kind)
                except BadInput as error:
                    count += 1
                    faults += [f"{file.parent / str(error)}"] * (count <= _MOST_FAULTS)
                    continue
                if example is None or (split in ("train", "") and _is_long(example, options.max_chars)):
                    part.left_out += 1
                else:
                    part.examples.append(example)
                    part.places.append(row.place)
    if faults:
        raise UnreadableRows(faults, count)
    return parts


def _is_long(example: TextExample, most: int | None) -> bool:
    return most is not None and len(example.prompt) + 1 + len(example.completion) > most


def _grouped(parts: Mapping[str, _Part], options: TextOptions) -> _Part:
    """The test sets as one split whose examples name their set; of each at most `test_size` examples."""
    whole = _Part()
    for name, part in parts.items():
        if name.startswith("test/"):
            part = part.take(_drawn(part.examples, options.test_size, options.split_seed))
            whole.examples += [replace(example, group=name.partition("/")[2]) for example in part.examples]
            whole.places += part.places
    return whole


def prompt_key(example: TextExample) -> str:
    """What two examples share if one gives the other away: prompt, context and chat, or a text without a prompt."""
    if example.turns:
        return json.dumps([example.prompt, example.turns])
    return json.dumps([example.prompt, example.context]) if example.prompt else example.completion


def _drawn(examples: Sequence[TextExample], size: int | None, seed: int) -> list[int]:
    """The places of `size` examples, drawn by the hash of seed and prompt; all if there are no more.

    Examples of one prompt are drawn together, so that no prompt is in two splits. A draw does not depend on the order
    of the file.
    """
    if size is None or size >= len(examples):
        return list(range(len(examples)))
    of_prompt: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        key = hashlib.sha256(f"{seed}\n{prompt_key(example)}".encode()).hexdigest()
        of_prompt.setdefault(key, []).append(place)
    drawn: list[int] = []
    for key in sorted(of_prompt):
        if len(drawn) + len(of_prompt[key]) <= size:
            drawn += of_prompt[key]
    return drawn


def _divide(parts: dict[str, _Part], options: TextOptions) -> tuple[dict[str, _Part], str]:
    """Train, val and test: as given, or drawn from train; and where they come from, in words.

    Raises:
        BadInput: there are too few examples to draw from.
    """
    words, parts = [], dict(parts)
    train = parts.pop("") if "" in parts else parts.pop("train")
    sizes, tenth = {"val": options.val_size, "test": options.test_size}, max(1, len(train.examples) // 10)
    for split in ("test", "val"):
        if split in parts:
            whole = len(parts[split].examples)
            is_set = split == "test" and any(example.group for example in parts[split].examples)
            if not is_set:
                parts[split] = parts[split].take(_drawn(parts[split].examples, sizes[split], options.split_seed))
            count = len(parts[split].examples)
            words.append(f"{split} as given" if count == whole else f"{split} {count:,} of {whole:,} as given")
            continue
        size, whole = sizes[split], len(train.examples)
        size = min(_MOST_DRAWN, tenth) if size is None else size
        if size >= whole:
            raise BadInput(
                f"too few examples ({whole:,}) to draw {size:,} of them for {split}: give data.{split}_size, or a "
                f"file of {split}"
            )
        drawn = set(_drawn(train.examples, size, options.split_seed))
        parts[split] = replace(train.take(drawn), left_out=0)
        train = train.take(i for i in range(whole) if i not in drawn)
        words.append(f"{split} {len(drawn):,} drawn from train with split_seed={options.split_seed}")
    whole = len(train.examples)
    train = train.take(_drawn(train.examples, options.train_size, options.split_seed))
    if len(train.examples) < whole:
        words.append(f"train {len(train.examples):,} of {whole:,}")
    parts = {"train": train, "val": parts["val"], "test": parts["test"]}
    if absent := [name for name, part in parts.items() if not part.examples]:
        raise BadInput(f"no example is left in {absent[0]}: lower data.val_size and data.test_size, or add examples")
    return parts, "; ".join(words)


def _leaks(parts: Mapping[str, _Part]) -> tuple[tuple[str, ...], dict[str, int]]:
    """A line for each pair of splits that shares prompts, and how many examples of the later split are concerned."""
    lines, counts = [], {}
    first_places = {
        name: {prompt_key(e): place for e, place in zip(reversed(p.examples), reversed(p.places), strict=True)}
        for name, p in parts.items()
    }
    for first, second in combinations(SPLITS_OF_TEXT, 2):
        shared = [
            (place, first_places[first][key])
            for example, place in zip(parts[second].examples, parts[second].places, strict=True)
            if (key := prompt_key(example)) in first_places[first]
        ]
        if shared:
            counts[f"{second} in {first}"] = len(shared)
            noun = "prompt of" if len(shared) == 1 else "prompts of"
            lines.append(
                f"{len(shared):,} {noun} {second} {'is' if len(shared) == 1 else 'are'} also in {first} (first: "
                f"{shared[0][0]} is {shared[0][1]}): remove them from one, or accept them with "
                "data.allow_duplicates=true"
            )
    return tuple(lines), counts
