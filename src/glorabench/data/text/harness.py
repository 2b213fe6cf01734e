"""Tasks of lm-evaluation-harness on local files. They judge a trained network; nothing is trained on them.

The data of a task lie below `root`: ROOT/TASK/SPLIT.jsonl, or .json, .csv or .parquet; those of a member of a group
such as mmlu in ROOT/mmlu/SUBJECT/. Names as in a data set of the Hub (test-00000-of-00001.parquet) do as well. A task
of your own is ROOT/TASK.yaml. For each task a small file is written that leads the harness to these files; the folder
of these files is what the harness' own command takes as --include_path.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final

from glorabench.checksum import sha256_of
from glorabench.data.text.harness_index import known_harness_tasks, leaf_tasks, quiet_harness, task_manager
from glorabench.errors import BadInput, first_line
from glorabench.files import write_text

HARNESS_LOADER: Final = "glorabench.data.text.harness.load"
_FORMATS: Final = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
_SPLITS: Final = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True)
class HarnessTask:
    """Some tasks of the harness, each of them a test set.

    Args:
        tests: their names.
        members: name -> the tasks that it consists of: itself, or those of a group in alphabetical order.
        shots: name -> examples in a prompt; None is what the task says itself.
        folder: of the files that describe the tasks.
        fingerprint: of their data.
        versions: member -> version of the task.
    """

    reads: ClassVar[str] = "tokens"
    trains: ClassVar[bool] = False

    tests: list[str]
    members: Mapping[str, Sequence[str]]
    shots: Mapping[str, int | None]
    folder: Path
    fingerprint: str
    versions: Mapping[str, Any]
    suite: str = "lm_eval"
    group: str = "text"
    kind: str = "harness"
    splits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """None beside those of the judge."""
        return {}

    @property
    def name(self) -> str:
        """The names of the tasks."""
        return "+".join(self.tests)

    def split(self, name: str) -> Any:
        """No split.

        Raises:
            BadInput: always.
        """
        raise BadInput(f"{self.name} judges, nothing is trained on it")


def identify_harness(data: Mapping[str, Any]) -> dict[str, Any]:
    """The name of the tasks, and the hash of their files; None where there are none.

    Raises:
        BadInput: no tasks are named.
    """
    names = data.get("tasks")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise BadInput("data=lm_eval needs tasks: data.tasks=[arc_challenge,hellaswag]")
    if len(set(names)) < len(names):
        raise BadInput("data.tasks names a task twice")
    root = data.get("root") and Path(str(data["root"])).expanduser()
    files = [file for name in names for file in _files(root, name)] if root else []
    digest = hashlib.sha256(json.dumps([[file.name, sha256_of(file)] for file in files]).encode()).hexdigest()
    return {"task": "+".join(names), "sha256": digest if files else None}


def _files(root: Path, name: str) -> list[Path]:
    """The files of a task, in the order of their names."""
    own = [root / f"{name}.yaml"] if (root / f"{name}.yaml").is_file() else []
    return own + sorted(file for file in (root / name).rglob("*") if file.suffix in _FORMATS)


def load(
    task: str,  # noqa: ARG001 (read by configs: the tasks in one word)
    tasks: list[str],
    root: str | None,
    num_fewshot: Mapping[str, int],
    cache_dir: str,
    sha256: str | None = None,
) -> HarnessTask:
    """Tasks of the harness whose data are below `root`; nothing is downloaded.

    Args:
        task: their names in one word.
        tasks: their names.
        root: the folder of their data.
        num_fewshot: task -> examples in a prompt; a task without an entry has what it says itself.
        cache_dir: the folder below which the descriptions of the tasks are written.
        sha256: of the files.

    Raises:
        BadInput: the harness is not installed, a task is not known, or its data are not there or not what it reads.
    """
    folder = Path(str(root)).expanduser().resolve()
    if root is None or not folder.is_dir():
        raise BadInput(f"data.root={root} is no folder: the data of a task are read from data.root/TASK/SPLIT.jsonl")
    index, cache = known_harness_tasks(folder, tasks), Path(cache_dir).expanduser().resolve() / "lm_eval"
    members = {name: leaf_tasks(index, name) for name in tasks}
    texts = {
        member: json.dumps(_description(index[member], folder, name, num_fewshot.get(name), cache), indent=1)
        for name in tasks
        for member in members[name]
    }
    digest = hashlib.sha256(json.dumps([texts, metadata.version("lm_eval")]).encode()).hexdigest()
    place = cache / "tasks" / digest[:16]
    place.mkdir(parents=True, exist_ok=True)
    for member, text in texts.items():
        write_text(place / f"{member}.yaml", text + "\n")
    return HarnessTask(
        tests=list(tasks),
        members=members,
        shots={name: num_fewshot.get(name) for name in tasks},
        folder=place,
        fingerprint=sha256 or digest,
        versions=_versions(place, list(texts)),
    )


def _description(entry: Any, root: Path, name: str, shots: int | None, cache: Path) -> dict[str, Any]:
    """What the harness reads of a task: its own description, led to local files.

    Args:
        entry: of the harness' index.
        root: the folder of all data.
        name: of the task or of its group.
        shots: examples in a prompt.
        cache: for what the harness makes of the files.

    Raises:
        BadInput: a file is missing.
    """
    config, place = entry.cfg, root / name
    description = {"include": str(entry.yaml_path), "task": entry.name}
    subject = str(config.get("dataset_name") or "")
    folders = [place / subject, place / entry.name, *([place] if name == entry.name else [])]
    splits = {key: str(config[key]) for key in _SPLITS if config.get(key)}
    files = {split: paths for split in splits.values() if (paths := _split_files(folders, split))}
    if not files and config.get("dataset_path") in _FORMATS.values():
        return description  # it names its own files
    needed = {splits.get("test_split") or splits.get("validation_split")}
    if config.get("num_fewshot") != 0 and (config.get("num_fewshot") if shots is None else shots):
        sources = ("fewshot_split", "training_split", "validation_split", "test_split")
        needed.add(next(splits[key] for key in sources if key in splits))
    for split in sorted(filter(None, needed)):
        if split not in files:
            raise BadInput(
                f"the data of task {entry.name} are not there, and nothing is downloaded: put split {split} of "
                f"{config.get('dataset_path')} into {folders[0] / f'{split}.jsonl'} (or .json, .csv, .parquet)"
            )
    formats = {_FORMATS[file.suffix] for found in files.values() for file in found}
    if len(formats) > 1:
        raise BadInput(
            f"the files of task {entry.name} in {place} are of several formats: {', '.join(sorted(formats))}"
        )
    paths = {split: [str(file) for file in found] for split, found in files.items()}
    return {
        **description,
        "dataset_path": formats.pop(),
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: list(map(str, paths)) for split, paths in files.items()},
            "cache_dir": str(cache / "datasets"),
        },
        **{key: split if split in files else None for key, split in splits.items()},
    }


def _split_files(folders: Sequence[Path], split: str) -> list[Path]:
    """The files of a split in the first folder that has some."""
    for folder in folders:
        for pattern in (f"{split}.*", f"{split}-*"):
            if files := sorted(file for file in folder.glob(pattern) if file.suffix in _FORMATS):
                return files
    return []


def _versions(folder: Path, names: list[str]) -> dict[str, Any]:
    """Task -> its version; each task is read for that.

    Raises:
        BadInput: the data are not what a task reads.
    """
    versions = {}
    for name in names:
        try:
            task = load_harness_tasks(folder, [name])[name]
            versions[name] = (task.config.metadata or {}).get("version")
        except Exception as error:  # whatever the harness meets in files that are not those of the task
            raise BadInput(f"the data of task {name} are not what it reads ({first_line(error)})") from error
    return versions


def load_harness_tasks(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Name -> the harness' object of a task, a new one each time.

    Args:
        folder: of the files that describe them.
        names: of the tasks.
    """
    with quiet_harness():
        return task_manager(folder).load(list(names))["tasks"]
