"""W&B while a run trains: offline unless asked."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glorabench.errors import first_line, one_of
from glorabench.training.environment import be_first

MODES = ("offline", "online", "disabled")


def open_wandb(run_id: str, title: str, folder: Path, mode: str, project: str | None, group: str | None) -> Any:
    """Lightning's WandbLogger; offline where W&B is asked online and has no key or no network.

    Args:
        run_id: W&B's id of the run, so that a resumed run is the same run.
        title: what W&B shows.
        folder: where W&B keeps its files.
        mode: `offline` or `online`.
        project, group: as in W&B.

    Raises:
        Exception: of whatever kind, as W&B cannot start.
    """
    one_of("logger.mode", mode, MODES)
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    be_first()
    folder.mkdir(parents=True, exist_ok=True)
    # without a key W&B asks on a terminal, without network it waits: both end soon, in an exception
    settings = wandb.Settings(silent=True, console="off", login_timeout=15, init_timeout=20)

    def start(mode: str) -> Any:
        for leftover in (folder / "wandb").glob(f"offline-run-*-{run_id}"):
            shutil.rmtree(leftover, ignore_errors=True)  # of an attempt that was killed: one run, one folder
        experiment = wandb.init(
            name=title,
            dir=str(folder),
            id=run_id,
            project=project,
            group=group,
            mode=mode,  # type: ignore[arg-type]
            settings=settings,
            resume="allow" if mode == "online" else None,
        )
        return WandbLogger(experiment=experiment)

    try:
        return start(mode)
    except Exception as error:
        if mode == "offline":
            raise
        print(
            f"warning: W&B is asked online but has no key or no network ({first_line(error)}): logging offline. "
            "Log in with `wandb login`; `wandb sync` sends offline runs later.",
            file=sys.stderr,
            flush=True,
        )
        return start("offline")


def close_wandb(logger: Any, summary: Mapping[str, Any], has_failed: bool) -> None:
    """Send the summary of the record and end W&B's run."""
    import wandb

    logger.experiment.summary.update(dict(summary))
    wandb.finish(exit_code=int(has_failed))
