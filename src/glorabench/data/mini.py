"""The embedded suite `mini`: five small image tasks drawn from code and scikit-learn, no download.

Split rule. Each task has a pool of exactly train + val + test pictures: all 1,797 digits, or scenes
0 .. 2,999, or 3,000 sprites. The sprites are the first ones of a seeded random order whose 32 x 32
pictures all differ. So orientations 0 and 39, or the symmetries of a square, never put one picture
into two splits. The pool is shuffled once with SEED, a constant of the suite, which is never the
seed of a run. Train takes the first pictures of each class in that order, then val does the same,
and test is the rest. The size of each class is its share by largest remainders. So the splits are
disjoint, and each of them has every class. Both dsprites tasks share one pool, and so do both shapes
tasks.

Pictures and splits depend on numpy's random streams, which a new numpy release may change. Raise
VERSION whenever pixels or splits may change: the names of the caches depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from glorabench.data.cache import cached_splits
from glorabench.data.images.task import ArraySplit, ImageTask, concatenate
from glorabench.data.synthetic import clevr_scenes, dsprites
from glorabench.errors import BadInput, nearest

MINI_VERSION: Final = 1
SEED: Final = 20240
MINI_SIDE: Final = 32

Images = NDArray[np.uint8]
ClassLabels = NDArray[np.int64]


@dataclass(frozen=True)
class MiniTask:
    """One task of the suite.

    Attributes:
        name: Name of the task.
        classes: Number of classes; labels are 0 .. classes - 1.
        group: VTAB's group of such a task.
        sizes: Number of pictures in train, val and test.
        pool: Draws all pictures (N, 32, 32) or (N, 32, 32, 3) and labels (N,); N is the sum of sizes.
    """

    name: str
    classes: int
    group: Literal["natural", "structured"]
    sizes: tuple[int, int, int]
    pool: Callable[[], tuple[Images, ClassLabels]]


def _digits() -> tuple[Images, ClassLabels]:
    from PIL import Image
    from sklearn.datasets import load_digits

    values, labels = map(np.asarray, load_digits(return_X_y=True))
    grey = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    # Bicubic and not nearest: 4 x 4 blocks would have edges that no pen drew.
    size = (MINI_SIDE, MINI_SIDE)
    images = [Image.fromarray(g).resize(size, Image.Resampling.BICUBIC) for g in grey]
    return np.stack([np.asarray(image) for image in images]), labels.astype(np.int64)


def _sprites(label: Callable[[NDArray[np.int64]], ClassLabels]) -> tuple[Images, ClassLabels]:
    size, spare = sum(_SIZES), 200  # `spare` sprites replace pictures that are drawn twice, of which there is one
    indices = np.random.default_rng(SEED).choice(dsprites.COUNT, size + spare, replace=False)
    # The mean of 2 x 2 pixels keeps half-pixel moves visible as grey edges; dropping pixels would
    # map neighbouring positions and orientations to one picture.
    blocks = dsprites.render_sprites(indices).reshape(-1, MINI_SIDE, 2, MINI_SIDE, 2)
    images = np.rint(blocks.mean((2, 4)) * 255).astype(np.uint8)
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    numbers = np.sort(first)[:size]
    return images[numbers], label(indices[numbers])


def _scenes(label: Callable[[clevr_scenes.Scene], int]) -> tuple[Images, ClassLabels]:
    # A generator, because 3,000 scenes at once would take 330 MB: each has its ground at full size.
    scenes = (clevr_scenes.draw_scene(SEED, number) for number in range(sum(_SIZES)))
    images, labels = zip(*((clevr_scenes.render_scene(scene), label(scene)) for scene in scenes), strict=True)
    return np.stack(images), np.array(labels, np.int64)


_SIZES = (800, 200, 2000)
MINI_TASKS: Final = {
    row.name: row
    for row in (
        MiniTask("digits", 10, "natural", (800, 200, 797), _digits),
        MiniTask("dsprites_loc", 16, "structured", _SIZES, lambda: _sprites(dsprites.loc_label)),
        MiniTask("dsprites_ori", 16, "structured", _SIZES, lambda: _sprites(dsprites.ori_label)),
        MiniTask("shapes_count", 8, "structured", _SIZES, lambda: _scenes(clevr_scenes.count_label)),
        MiniTask("shapes_dist", 6, "structured", _SIZES, lambda: _scenes(clevr_scenes.dist_label)),
    )
}


def quotas(counts: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """Share `size` places among classes in proportion to `counts`, by largest remainders.

    Args:
        counts: (classes,) pictures available of each class.
        size: Places to give, at most the sum of counts.

    Returns:
        (classes,) places of each class. Their sum is `size`, and none is above its count. Of equal
        remainders, that of the lower class wins.

    Raises:
        BadInput: There are more places than pictures, or fewer than 0.
    """
    total = int(counts.sum())
    if not 0 <= size <= total:
        raise BadInput(f"cannot take {size} pictures out of {total}")
    quota, remainder = np.divmod(counts.astype(np.int64) * size, max(total, 1))
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    return quota


def split_pool(labels: ClassLabels, sizes: tuple[int, ...], seed: int = SEED) -> list[NDArray[np.intp]]:
    """Divide a pool into disjoint stratified parts by the rule of this module.

    Args:
        labels: (N,) labels of the pool, 0 or above.
        sizes: Pictures in each part.
        seed: Seed of the shuffle.

    Returns:
        For each part the positions of its pictures in the pool, shuffled.

    Raises:
        BadInput: The parts need more pictures than the pool has.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    parts = []
    for size in sizes:
        of_class = labels[order][:, None] == np.arange(labels.max(initial=0) + 1)
        place = of_class.cumsum(0)  # 1 for the first picture of a class still in the pool
        is_taken = (of_class & (place <= quotas(of_class.sum(0), size))).any(1)
        parts.append(order[is_taken])
        order = order[~is_taken]
    return parts


def draw_mini_task(task: str) -> dict[str, tuple[Images, ClassLabels]]:
    """Draw all pictures of a task and split them; the same on every call.

    Args:
        task: A key of TASKS.

    Returns:
        For train, val and test: (N, 3, 32, 32) pictures in 0 .. 255 and (N,) labels.

    Raises:
        BadInput: The task is unknown.
    """
    row = _task(task)
    images, labels = row.pool()
    images = images.reshape(len(images), MINI_SIDE, MINI_SIDE, -1).transpose(0, 3, 1, 2)
    images = np.broadcast_to(images, (len(images), 3, MINI_SIDE, MINI_SIDE))
    parts = zip(("train", "val", "test"), split_pool(labels, row.sizes), strict=True)
    return {name: (np.ascontiguousarray(images[indices]), labels[indices]) for name, indices in parts}


def _task(task: str) -> MiniTask:
    if task not in MINI_TASKS:
        raise BadInput(f"no task '{task}' in the suite mini{nearest(task, MINI_TASKS)}")
    return MINI_TASKS[task]


def load(task: str, cache_dir: str) -> ImageTask:
    """The task, from the cache below `cache_dir`, where it is drawn on first use.

    Raises:
        BadInput: The task is unknown or the cache cannot be written.
    """
    row = _task(task)
    folder = Path(cache_dir).expanduser() / "mini" / f"{task}-v{MINI_VERSION}"
    arrays, fingerprint = cached_splits(folder, lambda: draw_mini_task(task))
    splits = {name: ArraySplit(*arrays_of_split) for name, arrays_of_split in arrays.items()}
    splits["trainval"] = concatenate(splits["train"], splits["val"])
    return ImageTask("mini", task, row.group, row.classes, splits, fingerprint)
