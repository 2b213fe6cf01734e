"""Fake data: tiny sets in the true format, to rehearse with. FAKE.json marks their folders. Light: no torch."""

from __future__ import annotations

import colorsys
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from glorabench.errors import BadInput
from glorabench.files import read_text, whole_folder

MARKER = "FAKE.json"
_NOTE = "Drawn by `glorabench data fake`: no real data. Delete this folder before the real data come here."


def draw_fake_image(path: Path, label: int, number: int, size: tuple[int, int]) -> None:
    """Write one image in the format of its suffix: the colour and stripes of its class under noise.

    Args:
        path: of the file; its folder is made.
        label: its class.
        number: number of the picture; the same label, number and size give the same picture.
        size: (width, height).
    """
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng([label, number])
    colour = np.array(colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 0.9))
    angle, waves = label * 2.399963 % math.pi, 2 + label % 5
    x, y = np.meshgrid(*(np.arange(side) / max(size) for side in size))
    phase = 2 * math.pi * (waves * (x * math.cos(angle) + y * math.sin(angle)) + rng.random())
    light = (0.7 + 0.3 * np.sin(phase))[..., None] * colour
    pixels = 255 * light + rng.normal(0, 20, (*light.shape[:2], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def fake_label(index: int, classes: int, classes_used: int) -> int:
    """Label of image `index`. Labels repeat over `classes_used` of the classes, among them the first and the last."""
    count = min(classes, classes_used)
    return index % count * (classes - 1) // max(count - 1, 1)


def build_fake_task(folder: Path, suite: str, sizes: Mapping[str, int], fill: Callable[[Path], None]) -> bool:
    """Make the folder of a fake task, whole or not at all. A folder with the same marker stays as it is.

    Args:
        folder: folder of the task.
        suite: suite of the task; the folder may belong to a real task of another suite.
        sizes: number of images of each split; other splits may have any number.
        fill: writes lists and images into a folder.

    Returns:
        True if it was made here; False if it existed, or another process was faster.

    Raises:
        BadInput: another folder is there, perhaps with real data, or this one cannot be written.
    """
    if not folder.exists():
        with whole_folder(folder, fix="free space, or give another root", flush=False) as draft:
            write_marker(draft, suite, sizes)
            fill(draft)
            inode = draft.stat().st_ino
        if folder.stat().st_ino == inode:
            return True
    if read_marker(folder, suite) != dict(sizes):
        raise refusal(folder)
    return False


def refusal(folder: Path) -> BadInput:
    """The message about a folder that holds other data."""
    return BadInput(f"{folder} exists already: fake data go where no others are: give another root")


def write_marker(folder: Path, suite: str, sizes: Mapping[str, int]) -> None:
    """Mark a folder as that of a fake task.

    Args:
        folder: folder of the task.
        suite: as in `build_fake_task`.
        sizes: as in `build_fake_task`.
    """
    content = {"note": _NOTE, "suite": suite, "sizes": dict(sizes)}
    (folder / MARKER).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_marker(folder: Path, suite: str) -> dict[str, int] | None:
    """The sizes that `write_marker` wrote into a folder of that suite; None if the data are real.

    A marker that names no suite belongs to any.

    Raises:
        BadInput: the marker cannot be read.
    """
    path = folder / MARKER
    try:
        content = json.loads(read_text(path))
        sizes = {str(split): int(size) for split, size in content["sizes"].items()}
        return sizes if content.get("suite", suite) == suite else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read: delete {folder} and make the fake data again") from error
