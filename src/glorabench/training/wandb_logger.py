"""Log a training to W&B: offline unless the user asks for online. An error of W&B never stops the run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from glorabench.errors import first_line, one_of
from glorabench.training.environment import be_first

MODES = ("offline", "online", "disabled")


class Tracker(Logger):
    """Lightning's WandbLogger with a guard: it reports its first failure, and then logs nothing more.

    Args:
        run_id: W&B's id of the run. A resumed run has the same id.
        name: the name that W&B shows.
        folder: the folder of W&B's files.
        mode: `offline`, `online` or `disabled`.
        project, group: as in W&B.
    """

    def __init__(self, run_id: str, name: str, folder: Path, mode: str, project: str | None, group: str | None) -> None:
        super().__init__()
        one_of("logger.mode", mode, MODES)
        self.id, self.title, self.folder, self.project, self.group = run_id, name, folder, project, group
        self.prefix = ""  # the stage of the run, before the name of each metric
        self._logger: Any = None
        if mode != "disabled":
            self._guard(lambda: self._open(mode))

    def _open(self, mode: str) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        be_first()
        self.folder.mkdir(parents=True, exist_ok=True)
        # without a key W&B asks for one, and without a network it waits: end both soon with an exception
        settings = wandb.Settings(silent=True, console="off", login_timeout=15, init_timeout=20)

        def start(mode: str) -> Any:
            for leftover in (self.folder / "wandb").glob(f"offline-run-*-{self.id}"):
                shutil.rmtree(leftover, ignore_errors=True)  # from a killed attempt: a run has one folder
            experiment = wandb.init(
                name=self.title,
                dir=str(self.folder),
                id=self.id,
                project=self.project,
                group=self.group,
                mode=mode,  # type: ignore[arg-type]
                settings=settings,
                resume="allow" if mode == "online" else None,
            )
            return WandbLogger(experiment=experiment)

        try:
            self._logger = start(mode)
        except Exception as error:
            if mode == "offline":
                raise
            _say(
                f"W&B is asked online but has no key or no network ({first_line(error)}): logging offline. "
                "Log in with `wandb login`; `wandb sync` sends offline runs later."
            )
            self._logger = start("offline")

    def _guard(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            _say(f"W&B failed ({first_line(error)}); the run goes on without it")
            self._logger = None

    @property
    def name(self) -> str:
        """The project."""
        return self.project or "glorabench"

    @property
    def version(self) -> str:
        """The run's id."""
        return self.id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a row of metrics, each name with the prefix of the stage."""
        if self._logger is not None:
            values = {f"{self.prefix}{name}": value for name, value in metrics.items()}
            self._guard(lambda: self._logger.log_metrics(values, step))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Log the config."""
        if self._logger is not None and params:
            self._guard(lambda: self._logger.log_hyperparams(params))

    def close(self, summary: Mapping[str, Any], has_failed: bool = False) -> None:
        """Log the summary of the record and end W&B's run, so that the next run does not continue it."""
        if self._logger is None:
            return

        def end() -> None:
            import wandb

            self._logger.experiment.summary.update(dict(summary))
            wandb.finish(exit_code=int(has_failed))

        self._guard(end)


def _say(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
