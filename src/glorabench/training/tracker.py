"""Where metrics go while a run trains, beside its record: W&B, CSV, TensorBoard. If one fails, the run goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from glorabench.errors import first_line
from glorabench.training.wandb_logger import close_wandb, open_wandb

_WANDB, _CSV, _TENSORBOARD = "W&B", "CSV", "TensorBoard"


class Tracker(Logger):
    """One logger for Lightning, which hands all to the loggers of Lightning that were asked for.

    The first failure of each is said once, then nothing more is given to it.

    Args:
        run_id: of the run, which names its files.
        name: what W&B shows.
        folder: of the results; each tracker has its own folder there.
        mode: of W&B: `offline`, `online` or `disabled`.
        project, group: as in W&B.
        csv: write a table of the epochs.
        tensorboard: write the files of TensorBoard.
    """

    def __init__(
        self,
        run_id: str,
        name: str,
        folder: Path,
        mode: str = "disabled",
        project: str | None = None,
        group: str | None = None,
        csv: bool = False,
        tensorboard: bool = False,
    ) -> None:
        super().__init__()
        self.id, self.project = run_id, project
        self.prefix = ""  # of the metrics' names: which stage of the run is logging
        self._mirrors: dict[str, Any] = {}
        if mode != "disabled":
            self._open(_WANDB, partial(open_wandb, run_id, name, folder / "wandb", mode, project, group))
        if csv:
            self._open(_CSV, lambda: CSVLogger(folder, "csv", f"{run_id}/{_next_version(folder / 'csv' / run_id)}"))
        if tensorboard:
            self._open(_TENSORBOARD, partial(_tensorboard_logger, folder, run_id))

    def _open(self, kind: str, make: Callable[[], Any]) -> None:
        try:
            self._mirrors[kind] = make()
        except Exception as error:
            _warn(kind, error)

    def _give(self, action: Callable[[Any], Any], kinds: tuple[str, ...] = ()) -> None:
        for kind, mirror in list(self._mirrors.items()):
            if kinds and kind not in kinds:
                continue
            try:
                action(mirror)
            except Exception as error:
                _warn(kind, error)
                del self._mirrors[kind]

    @property
    def name(self) -> str:
        """The project."""
        return self.project or "glorabench"

    @property
    def version(self) -> str:
        """The run's id."""
        return self.id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Mirror a row of metrics, their names behind the stage's."""
        values = {f"{self.prefix}{name}": value for name, value in metrics.items()}
        self._give(lambda mirror: mirror.log_metrics(values, step))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Mirror the config."""
        if params:
            self._give(lambda mirror: mirror.log_hyperparams(params))

    def save(self) -> None:
        """Write what is kept in memory: an interrupted run has its rows."""
        self._give(lambda mirror: mirror.save(), (_CSV, _TENSORBOARD))

    def close(self, summary: Mapping[str, Any], has_failed: bool = False) -> None:
        """Mirror the summary of the record and end, so that the next run is one of its own."""
        self._give(lambda mirror: close_wandb(mirror, summary, has_failed), (_WANDB,))
        numbers = {f"final/{name}": float(value) for name, value in summary.items() if isinstance(value, int | float)}
        kinds = (_CSV, _TENSORBOARD)
        self._give(lambda mirror: numbers and mirror.log_metrics(numbers, None), kinds)
        self._give(lambda mirror: mirror.finalize("failed" if has_failed else "success"), kinds)


def _next_version(folder: Path) -> str:
    """A name of its own for each attempt: Lightning's CSV logger would remove the rows of the one before."""
    return f"version_{len(list(folder.glob('version_*')))}"


def _tensorboard_logger(folder: Path, run_id: str) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, "tensorboard", run_id, default_hp_metric=False)


def _warn(kind: str, error: Exception) -> None:
    print(f"warning: {kind} failed ({first_line(error)}); the run goes on without it", file=sys.stderr, flush=True)
