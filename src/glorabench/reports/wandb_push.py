"""Push records into W&B, offline or online, each of them once; an interrupted push goes on."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from glorabench.errors import BadInput, first_line
from glorabench.files import safe_name, write_text
from glorabench.records.record import Record
from glorabench.reports.wandb_runs import Replay, replays

PUSH_HINT = (
    "Nothing more was pushed. With a network, log in once with `wandb login` (or set WANDB_API_KEY); without one, give "
    "--mode offline and send the runs later with `wandb sync`."
)


class PushLog:
    """The log of what was pushed, by target: a small file that the next push reads.

    Args:
        path: the file. It is written after every run, whole or not at all.

    Raises:
        BadInput: the file is damaged.
    """

    def __init__(self, path: Path, target: Target) -> None:
        self.path, self.key = path, f"{target.mode} {target.place}"
        try:
            self.targets: dict[str, dict[str, str]] = (
                json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            )
            if not all(isinstance(digests, dict) for digests in self.targets.values()):
                raise ValueError("it holds no names and values")
            self.digests = self.targets.setdefault(self.key, {})
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise BadInput(
                f"{path} is damaged ({first_line(error)}): remove it, and everything is pushed again"
            ) from error

    def contains(self, replay: Replay) -> bool:
        """True when this run was pushed with this content."""
        return self.digests.get(replay.id) == replay.digest

    def add(self, replay: Replay) -> None:
        """Note that a run was pushed."""
        self.digests[replay.id] = replay.digest
        write_text(self.path, json.dumps(self.targets, indent=1, sort_keys=True) + "\n", "what was pushed stays pushed")


def push_records(folder: Path, records: Sequence[Record], target: Target, again: bool = False) -> tuple[int, int]:
    """Push the records of a results folder.

    Args:
        folder: the results folder; it keeps the log.
        records: the records of the folder.
        target: where the runs go.
        again: push runs again that were pushed before.

    Returns:
        How many runs were sent, and how many there are.

    Raises:
        BadInput: W&B cannot be reached or refuses.
    """
    log, all_replays = PushLog(folder / "wandb" / "pushed.json", target), replays(records)
    new_replays = [replay for replay in all_replays if again or not log.contains(replay)]
    if new_replays:
        os.environ.setdefault("WANDB_SILENT", "true")
        with _wandb_folder(folder, target) as wandb_folder:
            for replay in _with_progress(new_replays):
                try:
                    send_run(replay, target, wandb_folder)
                except OSError as error:  # the disk is full, or the folder is gone
                    raise BadInput(
                        f"{wandb_folder} cannot be written ({error.strerror or error}). {PUSH_HINT}"
                    ) from error
                except Exception as error:
                    raise BadInput(f"W&B refuses {replay.name} ({first_line(error)}). {PUSH_HINT}") from error
                log.add(replay)
    return len(new_replays), len(all_replays)


def _with_progress(replays: list[Replay]) -> Iterator[Replay]:
    """Yield the runs one after the other, with a progress bar on a terminal and lines elsewhere."""
    if sys.stdout.isatty():
        from rich.progress import track

        yield from track(replays, "pushing", transient=True)
        return
    for index, replay in enumerate(replays, 1):
        yield replay
        print(f"{index}/{len(replays)}  {replay.name}  {replay.id}", flush=True)


def offline_folder(folder: Path, target: Target) -> Path:
    """The folder of runs that are pushed offline."""
    return folder / "wandb" / "pushed" / Path(*map(safe_name, target.place.split("/")))


@contextmanager
def _wandb_folder(folder: Path, target: Target) -> Iterator[Path]:
    """The folder in which W&B keeps its files during a push: a lasting one when offline, else a temporary one.

    Raises:
        BadInput: the target is online and W&B does not answer, or the folder cannot be written.
    """
    if target.mode == "online":
        check_server()
        temporary_folder = tempfile.TemporaryDirectory(prefix="glorabench-wandb-", ignore_cleanup_errors=True)
        with temporary_folder as temporary, stage_tables_in(Path(temporary)):
            yield Path(temporary)
        return
    offline = offline_folder(folder, target)
    try:
        offline.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{offline} cannot be written ({error.strerror})") from error
    with stage_tables_in(offline):
        yield offline


@dataclass(frozen=True)
class Target:
    """Where runs go: project and entity of W&B (None is that of the login), and mode, `offline` or `online`."""

    project: str
    entity: str | None
    mode: str

    @property
    def place(self) -> str:
        """`entity/project`."""
        return f"{self.entity}/{self.project}" if self.entity else self.project


@contextmanager
def stage_tables_in(folder: Path) -> Iterator[None]:
    """Let W&B stage tables beside the runs, unless WANDB_DATA_DIR names a folder."""
    old_folder = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = old_folder or str(folder.resolve())
    try:
        yield
    finally:
        if old_folder is None:
            del os.environ["WANDB_DATA_DIR"]


def check_server() -> None:
    """Check that W&B's server answers: W&B's client would wait for minutes.

    Raises:
        BadInput: it does not answer.
    """
    import wandb

    url = wandb.setup().settings.base_url
    try:
        urlopen(url, timeout=8).close()
    except HTTPError:
        pass  # it answers
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise BadInput(f"W&B cannot be reached at {url} ({reason}). {PUSH_HINT}") from error


def send_run(replay: Replay, target: Target, folder: Path) -> None:
    """Create a run of W&B. A run that a killed push left behind is created again, or continued if online."""
    import wandb

    for leftover in (folder / "wandb").glob(f"offline-run-*-{replay.id}"):
        shutil.rmtree(leftover)
    run = wandb.init(
        id=replay.id,
        name=replay.name,
        group=replay.group,
        job_type=replay.job_type,
        tags=replay.tags,
        config=dict(replay.config),
        project=target.project,
        entity=target.entity,
        mode=target.mode,  # type: ignore[arg-type]
        dir=str(folder),
        resume="allow" if target.mode == "online" else None,
        settings=_settings(wandb.Settings),
    )
    try:
        for name in dict.fromkeys(name for _, entry in replay.curves for name in entry):
            stage, _, last = name.rpartition("/")
            if last != "epoch":
                run.define_metric(name, step_metric=f"{stage}/epoch" if stage else "epoch")
        for step, entry in replay.curves:
            run.log(dict(entry), step=step)  # the server ignores a step that it has already
        if tables := replay.tables():
            run.log(
                {name: wandb.Table([*table.columns], [[*row] for row in table.rows]) for name, table in tables.items()}
            )
        run.summary.update(dict(replay.summary))
        run.finish(exit_code=int(replay.has_failed))
    except BaseException:
        with suppress(Exception):
            run.finish(exit_code=255)
        raise


def _settings(kind: Any) -> Any:
    """Settings of a pushed run: no facts of this machine, no code, short waits. Those that wandb lacks are left out."""
    values = {
        **{"silent": True, "console": "off", "login_timeout": 15, "init_timeout": 20},
        **{"finish_timeout": 60, "finish_timeout_raises": True},
        **dict.fromkeys(("x_disable_stats", "x_disable_meta", "x_disable_machine_info"), True),
        **dict.fromkeys(("disable_git", "disable_code", "disable_job_creation"), True),
        "x_save_requirements": False,
    }
    fields: Iterable[str] = kind.model_fields
    return kind(**{key: value for key, value in values.items() if key in fields})
