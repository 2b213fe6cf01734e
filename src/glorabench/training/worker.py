"""`python -m glorabench.training.worker`: the part of one process in a training on several devices (see `devices`)."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from glorabench.training.signals import handle_signals
from glorabench.training.startup import import_without_extras


def work() -> None:
    """Train as standard input says, in JSON: share, config, stage, folder, start."""
    import_without_extras()
    from glorabench.training.build import build
    from glorabench.training.devices import Share
    from glorabench.training.stage import Stage
    from glorabench.training.tracker import Tracker
    from glorabench.training.trainer import fit_from_checkpoint

    job = json.load(sys.stdin)
    folder, config = Path(job["folder"]), job["config"]
    silent = Tracker("", "", folder, mode="disabled")
    stage = Stage(config, build(config), silent, job["stage"], folder, Share(**job["share"]))
    start = None if job["start"] is None else Path(job["start"])
    fit_from_checkpoint(stage.trainer, stage.tuner, stage.parts.data, start)


if __name__ == "__main__":
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # as in the command itself
    try:
        with handle_signals():
            work()
    except KeyboardInterrupt:
        sys.exit(130)
