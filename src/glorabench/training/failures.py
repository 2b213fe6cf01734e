"""The record of a failed run: kind, message and traceback of the error, without the paths of this machine."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from glorabench.errors import BadInput, printable
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.training.measure.provenance import provenance

_PACKAGE = Path(str(files("glorabench")))
_PLACES = ("results_dir", "cache_dir")
# an absolute path has at least two parts: /s in "images/s" is none, nor is the end of a URL or of a relative path
_ABSOLUTE = re.compile(r"(?<![\w.:/~<>\]-])(?:/[^\s/'\"`,;:()\[\]{}<>|]+){2,}/?")


def failure(config: Mapping[str, Any], error: Exception) -> Record:
    """The record of a run that failed. Bad input has no traceback: its message says what to do."""
    message = (str(error).splitlines() or [""])[0]
    if isinstance(error, torch.OutOfMemoryError):
        message += " Lower train.batch_size."
    error_texts = {"kind": type(error).__name__, "message": without_places(message, config)}
    if not isinstance(error, BadInput):
        error_texts["traceback"] = without_places("".join(traceback.format_exception(error)), config)
    return Record(
        run_id=record.run_id(config),
        status="failed",
        config=record.identity(config),  # without the folders of this machine: they are not part of the run
        error={name: "\n".join(map(printable, text.split("\n"))) for name, text in error_texts.items()},
        provenance=provenance(),
    )


def show_error(error: Exception) -> None:
    """Print the traceback of an error if the user asks for it with HYDRA_FULL_ERROR=1 or GLORABENCH_DEBUG=1."""
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("HYDRA_FULL_ERROR", "GLORABENCH_DEBUG")):
        traceback.print_exception(error, file=sys.stderr)


def without_places(text: str, config: Mapping[str, Any]) -> str:
    """A text without the absolute paths of this machine.

    A folder that the config names becomes `<results_dir>` or the like. Of any other path only the last two parts stay.
    """
    for place, name in sorted(_places(config).items(), key=lambda item: -len(item[0])):
        text = re.sub(rf"(?<![\w.-]){re.escape(place)}(?![\w.-])", name.replace("\\", r"\\"), text)
    return _ABSOLUTE.sub(lambda match: "/".join(["...", *match[0].strip("/").split("/")[-2:]]), text)


def _places(config: Mapping[str, Any]) -> dict[str, str]:
    """Folders of this machine that a message may name -> the text that replaces each."""
    places_by_name = {f"<{key}>": config.get(key) for key in _PLACES}
    places_by_name["<data.root>"] = (config.get("data") or {}).get("root")
    places_by_name |= {"glorabench": _PACKAGE, "site-packages": sysconfig.get_paths()["purelib"]}
    places_by_name |= {"lib/python": sysconfig.get_paths()["stdlib"], "<temporary folder>": tempfile.gettempdir()}
    places_by_name |= {".": Path.cwd(), "~": Path.home() if "HOME" in os.environ else None}
    places: dict[str, str] = {}
    for name, place in places_by_name.items():
        if place and len(Path(place).parts) > 1:  # not the root itself
            places |= {str(place): name, os.path.abspath(place): name, os.path.realpath(place): name}
    return {place: name for place, name in places.items() if place.startswith("/") or ":" in place}
