"""The sha256 of files: it identifies a checkpoint, wherever it is stored. Light: no torch."""

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from glorabench.files import check_regular

ASSETS = Path(str(files("glorabench"))) / "assets"


def sha256_of(path: Path) -> str:
    """Sha256 of a file in hexadecimal; the file is read again only after it was changed.

    Of a folder: the hash of the hashes of its `config.json` and `*.safetensors`, in the order of their names.

    Raises:
        BadInput: it is a pipe or a device.
    """
    if path.is_dir():
        parts = [sha256_of(file) for file in sorted([*path.glob("config.json"), *path.glob("*.safetensors")])]
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    stat = check_regular(path)
    return _digest(path, stat.st_mtime_ns, stat.st_size)


@cache
def _digest(path: Path, mtime: int, size: int) -> str:  # noqa: ARG001
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expected_sha256(source: str | None, name: str) -> str | None:
    """The expected sha256 of the weights of backbone `name`: the recorded one if embedded, else that of the file.

    None if there is no file to hash: random initialisation, a hub, a missing file.
    """
    if source == "embedded":
        return json.loads((ASSETS / f"{name}.json").read_text())["sha256"]
    path = Path(source).expanduser() if source not in (None, "hub") else None
    return sha256_of(path) if path is not None and (path.is_file() or path.is_dir()) else None  # no pipe, no device
