"""The cache of drawn or decoded splits: uint8 `.npy` files, made once, shared by every run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glorabench.errors import BadInput

Arrays = tuple[NDArray[Any], NDArray[np.int64]]  # inputs and labels of a split


def cached(folder: Path, draw: Callable[[], Mapping[str, Arrays]]) -> tuple[dict[str, Arrays], str]:
    """The splits kept in `folder` as memory-mapped `.npy` files, drawn once if they are not there or damaged.

    Returns:
        The splits and their fingerprint: sha256 over names, images and labels.

    Raises:
        BadInput: the cache cannot be written.
    """
    try:
        return _load(folder)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        shutil.rmtree(folder, ignore_errors=True)
    splits = draw()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        draft.chmod(0o755)  # other users of the machine may share the cache
        for name, (images, labels) in splits.items():
            np.save(draft / f"{name}_images.npy", images)
            np.save(draft / f"{name}_labels.npy", labels)
        meta = {"fingerprint": fingerprint(splits), "splits": list(splits)}
        (draft / "meta.json").write_text(json.dumps(meta))
        try:
            os.replace(draft, folder)
        except OSError:  # another run was faster; its cache is the same
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise BadInput(f"the cache {folder} cannot be written ({error.strerror}); set cache_dir=FOLDER") from error
    return _load(folder)


def _load(folder: Path) -> tuple[dict[str, Arrays], str]:
    meta = json.loads((folder / "meta.json").read_text())
    splits = {
        name: (np.load(folder / f"{name}_images.npy", mmap_mode="r"), np.load(folder / f"{name}_labels.npy"))
        for name in meta["splits"]
    }
    if fingerprint(splits) != meta["fingerprint"]:
        raise ValueError(f"{folder} does not hold what its fingerprint says")
    return splits, meta["fingerprint"]


def fingerprint(splits: Mapping[str, Arrays]) -> str:
    """Sha256 over the names, images and labels of all splits."""
    digest = hashlib.sha256()
    for name, (images, labels) in splits.items():
        digest.update(name.encode() + images.tobytes() + labels.tobytes())
    return digest.hexdigest()
