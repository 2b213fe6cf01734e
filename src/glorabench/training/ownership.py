"""Let one process at a time make a run; others wait for its record, or make another run first.

The owner holds a lock in the results folder. The lock ends with its process, even if that is killed. Light: no torch.
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
    """Inside the block this is the only process that makes the run. If another one makes it, say so and wait.

    Args:
        config: the config of a run, or of a stage that several runs share.
        noun: what is made, in the words of the message.
    """
    with files.alone(_lock(config), f"another process makes {noun}: waiting for it"):
        yield


def is_made_elsewhere(config: Mapping[str, Any]) -> bool:
    """True while another process makes the run of `config`."""
    return files.is_taken(_lock(config))


def _lock(config: Mapping[str, Any]) -> Path:
    return Path(config["results_dir"]) / "locks" / record.run_id(config)
