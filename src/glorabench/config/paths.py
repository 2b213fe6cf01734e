"""Where conf/ lies, and what it offers. Light: no Hydra."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from glorabench.errors import BadInput

_PACKAGE = Path(str(files("glorabench")))
CONFIG_GROUPS = ("method", "backbone", "data", "train", "optimizer", "search", "logger", "experiment")


def conf_dir() -> Path:
    """The folder conf/: $GLORABENCH_CONF, or the copy in the installed package, or the folder of the checkout.

    Raises:
        BadInput: none of them holds `run.yaml`.
    """
    places = [_PACKAGE / "conf", _PACKAGE.parents[1] / "conf"]
    if "GLORABENCH_CONF" in os.environ:
        places = [Path(os.environ["GLORABENCH_CONF"]).resolve()]
    for place in places:
        if (place / "run.yaml").is_file():
            return place
    raise BadInput(f"no run.yaml in {' or '.join(map(str, places))}; set GLORABENCH_CONF to the conf/ folder")


def options(group: str) -> list[str]:
    """The names that a config group offers."""
    return sorted(path.stem for path in (conf_dir() / group).glob("[!_]*.yaml"))  # _base is included by others
