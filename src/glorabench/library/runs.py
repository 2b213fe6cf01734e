"""Runs and records from Python: the same runs, ids and numbers as on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glorabench.errors import BadInput
from glorabench.records.record import Record, read_all, read_record, run_id

if TYPE_CHECKING:
    from pandas import DataFrame


def run(*words: str, multirun: bool = False) -> Records:
    """Make runs, or find those that are there: `glorabench run WORDS` from Python.

    Args:
        words: `method=lora`, `data.task=digits`, `seed=1`, as on the command line.
        multirun: every combination of values that are listed (`seed=0,1,2`), as `-m` does.

    Returns:
        The records, in the order of the runs.

    Raises:
        BadInput: a word is wrong, or a run cannot start; nothing was started.
    """
    from glorabench.training.shortlist import make_command

    configs, paths = make_command(words, multirun)
    for config, path in zip(configs, paths, strict=True):
        if not path.exists():
            raise BadInput(f"run {run_id(config)} left no record: see what was printed above")
    return Records([read_record(path) for path in paths])


def records(folder: str | Path) -> Records:
    """The records of a results folder.

    Raises:
        BadInput: there are none, one is damaged, or two are of one run and differ.
    """
    folder = Path(folder).expanduser()
    root = folder / "runs" if (folder / "runs").is_dir() else folder
    all_records = read_all([root]) if root.is_dir() else []
    if not all_records:
        raise BadInput(f"no records below {folder}: make some with glorabench.run(...), or give another folder")
    return Records(all_records)


@dataclass(frozen=True)
class Records(Sequence[Record]):
    """Records of runs, as a sequence and as a table."""

    items: list[Record]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return Records(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.items)

    def frame(self) -> DataFrame:
        """One row for each record, see `glorabench.analysis.frame`."""
        from glorabench.analysis.frame import frame_of

        return frame_of(self.items)
