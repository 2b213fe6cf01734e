"""The files of one run in a results folder, and their removal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def files_of_run(root: Path, run_id: str) -> list[Path]:
    """All files and folders that a run has left below its results folder, except its record.

    What several runs share (a trained supernet, the candidates of a search) and what was exported is not among them.
    """
    paths = [root / folder / f"{run_id}.safetensors" for folder in ("adapters", "predictions")]
    paths += [root / folder / run_id for folder in ("checkpoints", "csv", "tensorboard")]
    paths += sorted((root / "wandb" / "wandb").glob(f"*run-*-{run_id}"))
    paths += sorted((root / "profiles").glob(f"*{run_id}*"))
    return [path for path in paths if path.exists()]


def remove_run(record: Path, others: Iterable[Path]) -> None:
    """Remove a run. Its record goes last, so that a removal which is interrupted can be repeated.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in others:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError):
                path.unlink()
    record.unlink(missing_ok=True)
