"""Mirror: a replayed run as a run of W&B, and whether W&B is there at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from glorabench.errors import BadInput
from glorabench.replay import Replay

OTHERWISE = (
    "Nothing more was pushed. With a network, log in once with `wandb login` (or set WANDB_API_KEY); without one, give "
    "--mode offline and send the runs later with `wandb sync`."
)


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
