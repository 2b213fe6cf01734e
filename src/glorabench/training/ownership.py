"""Let one process at a time make a run; others wait for its record, or make another run first.

Light: no torch. The owner holds a lock below the results folder, which ends with its process, however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glorabench import files
from glorabench.records import record


@contextmanager
def own_run(config: Mapping[str, Any], noun: str = "this run") -> Iterator[None]:
    """Be the only process that makes the run of `config`; while another one does, say so and wait for it.

    Args:
        config: of a run, or of a stage that several runs share.
        noun: is made, as the message calls it.
    """
    with files.alone(_lock(config), f"another process makes {noun}: waiting for it"):
        yield


def is_made_elsewhere(config: Mapping[str, Any]) -> bool:
    """True while another process makes the run of `config`."""
    return files.is_taken(_lock(config))


def _lock(config: Mapping[str, Any]) -> Path:
    return Path(config["results_dir"]) / "locks" / record.run_id(config)
