"""Push records into W&B, offline or online, each once; an interrupted push goes on."""

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

OTHERWISE = (
    "Nothing more was pushed. With a network, log in once with `wandb login` (or set WANDB_API_KEY); without one, give "
    "--mode offline and send the runs later with `wandb sync`."
)


class Pushed:
    """What was pushed, by target: a small file that the next push reads.

    Args:
        path: of the file; written after every run, whole or not at all.

    Raises:
        BadInput: the file is damaged.
    """

    def __init__(self, path: Path, target: Target) -> None:
        self.path, self.key = path, f"{target.mode} {target.place}"
        try:
            self.all: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            if not all(isinstance(own, dict) for own in self.all.values()):
                raise ValueError("it holds no names and values")
            self.own = self.all.setdefault(self.key, {})
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise BadInput(
                f"{path} is damaged ({first_line(error)}): remove it, and everything is pushed again"
            ) from error

    def has(self, made: Replay) -> bool:
        """True when exactly this was pushed."""
        return self.own.get(made.id) == made.digest

    def add(self, made: Replay) -> None:
        """Note that this was pushed."""
        self.own[made.id] = made.digest
        write_text(self.path, json.dumps(self.all, indent=1, sort_keys=True) + "\n", "what was pushed stays pushed")


def push_records(folder: Path, records: Sequence[Record], target: Target, again: bool = False) -> tuple[int, int]:
    """Push the records of a results folder; how many runs were sent, of how many.

    Args:
        folder: which remembers what was pushed.
        records: of it.
        target: where they go.
        again: also what was pushed before.

    Raises:
        BadInput: W&B cannot be reached or refuses.
    """
    pushed, made = Pushed(folder / "wandb" / "pushed.json", target), replays(records)
    waiting = [one for one in made if again or not pushed.has(one)]
    if waiting:
        os.environ.setdefault("WANDB_SILENT", "true")
        with _files(folder, target) as files:
            for one in _told(waiting):
                try:
                    send(one, target, files)
                except OSError as error:  # the disk is full, or the folder is gone
                    raise BadInput(f"{files} cannot be written ({error.strerror or error}). {OTHERWISE}") from error
                except Exception as error:
                    raise BadInput(f"W&B refuses {one.name} ({first_line(error)}). {OTHERWISE}") from error
                pushed.add(one)
    return len(waiting), len(made)


def _told(waiting: list[Replay]) -> Iterator[Replay]:
    """One after the other, with a bar on a terminal and lines elsewhere."""
    if sys.stdout.isatty():
        from rich.progress import track

        yield from track(waiting, "pushing", transient=True)
        return
    for index, one in enumerate(waiting, 1):
        yield one
        print(f"{index}/{len(waiting)}  {one.name}  {one.id}", flush=True)


def offline_folder(folder: Path, target: Target) -> Path:
    """Where runs that are pushed offline lie."""
    return folder / "wandb" / "pushed" / Path(*map(safe_name, target.place.split("/")))


@contextmanager
def _files(folder: Path, target: Target) -> Iterator[Path]:
    """Where W&B keeps its files meanwhile: for good when offline, else below the temporary folder.

    Raises:
        BadInput: W&B is asked online and does not answer, or the folder cannot be written.
    """
    if target.mode == "online":
        reach()
        made = tempfile.TemporaryDirectory(prefix="glorabench-wandb-", ignore_cleanup_errors=True)
        with made as temporary, staged(Path(temporary)):
            yield Path(temporary)
        return
    kept = offline_folder(folder, target)
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{kept} cannot be written ({error.strerror})") from error
    with staged(kept):
        yield kept


@dataclass(frozen=True)
class Target:
    """Where runs go: W&B's project and entity (None: that of the login), `offline` or `online`."""

    project: str
    entity: str | None
    mode: str

    @property
    def place(self) -> str:
        """`entity/project`."""
        return f"{self.entity}/{self.project}" if self.entity else self.project


@contextmanager
def staged(folder: Path) -> Iterator[None]:
    """What tables are staged in goes beside the runs, unless WANDB_DATA_DIR says where."""
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = before or str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]


def reach() -> None:
    """Ask W&B's server for a sign of life: its own client would wait for minutes.

    Raises:
        BadInput: there is none.
    """
    import wandb

    url = wandb.setup().settings.base_url
    try:
        urlopen(url, timeout=8).close()
    except HTTPError:
        pass  # it answers
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise BadInput(f"W&B cannot be reached at {url} ({reason}). {OTHERWISE}") from error


def send(one: Replay, target: Target, folder: Path) -> None:
    """Make a run of W&B; one that a killed push has left behind is made anew, or online taken up again."""
    import wandb

    for left in (folder / "wandb").glob(f"offline-run-*-{one.id}"):
        shutil.rmtree(left)
    run = wandb.init(
        id=one.id,
        name=one.name,
        group=one.group,
        job_type=one.job_type,
        tags=one.tags,
        config=dict(one.config),
        project=target.project,
        entity=target.entity,
        mode=target.mode,  # type: ignore[arg-type]
        dir=str(folder),
        resume="allow" if target.mode == "online" else None,
        settings=_settings(wandb.Settings),
    )
    try:
        for name in dict.fromkeys(name for _, entry in one.curves for name in entry):
            stage, _, last = name.rpartition("/")
            if last != "epoch":
                run.define_metric(name, step_metric=f"{stage}/epoch" if stage else "epoch")
        for step, entry in one.curves:
            run.log(dict(entry), step=step)  # a step that the server has already is not taken twice
        if sheets := one.sheets():
            run.log({name: wandb.Table([*s.columns], [[*row] for row in s.rows]) for name, s in sheets.items()})
        run.summary.update(dict(one.summary))
        run.finish(exit_code=int(one.failed))
    except BaseException:
        with suppress(Exception):
            run.finish(exit_code=255)
        raise


def _settings(kind: Any) -> Any:
    """Of a replay: nothing of this machine, no code, and no waiting for minutes; what an older wandb lacks is left."""
    wanted = {
        **{"silent": True, "console": "off", "login_timeout": 15, "init_timeout": 20},
        **{"finish_timeout": 60, "finish_timeout_raises": True},
        **dict.fromkeys(("x_disable_stats", "x_disable_meta", "x_disable_machine_info"), True),
        **dict.fromkeys(("disable_git", "disable_code", "disable_job_creation"), True),
        "x_save_requirements": False,
    }
    known: Iterable[str] = kind.model_fields
    return kind(**{key: value for key, value in wanted.items() if key in known})
