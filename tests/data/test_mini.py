"""The embedded suite `mini`: geometry against measured figures, label rules, splits."""

from dataclasses import replace
from itertools import combinations
from zlib import crc32

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from glorabench.data import mini
from glorabench.data.synthetic import clevr_scenes, dsprites
from glorabench.errors import BadInput

Splits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]


@pytest.fixture(scope="module")
def drawn() -> dict[str, Splits]:
    return {task: mini.draw_mini_task(task) for task in mini.MINI_TASKS}


def flat(shape: int, scale: int, turn: int, x: int, y: int) -> int:
    return int(np.ravel_multi_index((shape, scale, turn, x, y), dsprites.LATENT_SIZES))


@pytest.mark.parametrize(
    ("shape", "areas"),
    [
        (0, [100, 144, 196, 256, 324, 400]),
        (1, [76, 104, 144, 184, 228, 288]),
        (2, [58, 88, 108, 142, 182, 222]),  # genuine frames have 84 and 140 at two scales
    ],
)
def test_sprite_areas_are_those_measured(shape: int, areas: list[int]) -> None:
    images = dsprites.render_sprites(np.array([flat(shape, scale, 0, 0, 0) for scale in range(6)]))
    assert images.sum((1, 2)).tolist() == areas
    assert set(np.unique(images)) == {0, 1}


def test_no_sprite_touches_the_border() -> None:
    largest = np.arange(dsprites.COUNT).reshape(dsprites.LATENT_SIZES)[:, 5, :, ::31, ::31]
    images = dsprites.render_sprites(largest.ravel())
    assert images.any((1, 2)).all()
    assert not images[:, [0, -1]].any()
    assert not images[:, :, [0, -1]].any()


def test_a_full_turn_is_no_turn() -> None:
    every = np.arange(dsprites.COUNT).reshape(dsprites.LATENT_SIZES)[:, :, :, ::7, ::5]
    start, end = (dsprites.render_sprites(every[:, :, turn].ravel()) for turn in (0, 39))
    assert np.array_equal(start, end)


def test_directions_of_the_latents() -> None:
    def centre(*latents: int) -> NDArray[np.float64]:
        return np.argwhere(dsprites.render_sprites(np.array([flat(*latents)]))[0]).mean(0)

    start = centre(0, 0, 0, 0, 0)
    assert centre(0, 0, 0, 31, 0) - start == pytest.approx([0, 32])
    assert centre(0, 0, 0, 0, 31) - start == pytest.approx([32, 0])
    # An eighth of a turn counter-clockwise lifts the right end of the ellipse.
    rows, columns = np.argwhere(dsprites.render_sprites(np.array([flat(1, 5, 5, 0, 0)]))[0]).T
    assert np.corrcoef(rows, columns)[0, 1] < -0.4


def test_dsprites_label_rules() -> None:
    by_x = dsprites.loc_label(np.array([flat(2, 3, 17, x, 9) for x in range(32)]))
    assert by_x.tolist() == [x // 2 for x in range(32)]
    by_turn = dsprites.ori_label(np.array([flat(1, 3, turn, 8, 9) for turn in range(40)]))
    table = [label for label in range(16) for _ in range(2 if label % 2 else 3)]
    assert by_turn.tolist() == table


@pytest.mark.parametrize("index", [-1, dsprites.COUNT])
def test_latents_out_of_range_are_refused(index: int) -> None:
    with pytest.raises(BadInput, match="737279"):
        dsprites.render_sprites(np.array([index]))


def test_every_object_is_seen_and_counted() -> None:
    labels = set()
    for number in range(150):
        scene = clevr_scenes.draw_scene(7, number)
        _, owner = clevr_scenes.paint(scene)
        objects, pixels = np.unique(owner[owner >= 0], return_counts=True)
        assert objects.size == scene.depth.size == clevr_scenes.count_label(scene) + 3
        assert pixels.min() >= 16
        labels.add(clevr_scenes.count_label(scene))
    assert labels == set(range(8))


def test_depth_shows_as_place_and_size() -> None:
    for number in range(30):
        scene = clevr_scenes.draw_scene(7, number)
        assert (np.diff(clevr_scenes.foot(scene.depth)) >= 0).all()
        world = scene.radius * scene.depth / clevr_scenes.FOCAL
        assert world == pytest.approx(np.full(world.size, 0.625), abs=0.125)
        _, owner = clevr_scenes.paint(scene)
        lowest = np.argwhere(owner == len(scene.depth) - 1)[:, 0].max()
        assert lowest == pytest.approx(clevr_scenes.foot(scene.depth)[-1], abs=2)


@given(hnp.arrays(np.float64, st.integers(1, 10), elements=st.floats(0.1, 100)))
@example(np.array(clevr_scenes.THRESHOLDS))  # a depth on a threshold belongs to the nearer class
@example(np.array([11.0, 10.0]))
def test_dist_label_bins_the_nearest_depth(depth: NDArray[np.float64]) -> None:
    label = clevr_scenes.dist_label(replace(clevr_scenes.draw_scene(0, 0), depth=depth))
    edges = (0.0, *clevr_scenes.THRESHOLDS, np.inf)
    assert edges[label] < depth.min() <= edges[label + 1]


def test_a_scene_depends_on_seed_and_number_only() -> None:
    first = clevr_scenes.render_scene(clevr_scenes.draw_scene(3, 4))
    assert np.array_equal(first, clevr_scenes.render_scene(clevr_scenes.draw_scene(3, 4)))
    assert not np.array_equal(first, clevr_scenes.render_scene(clevr_scenes.draw_scene(4, 4)))
    assert not np.array_equal(first, clevr_scenes.render_scene(clevr_scenes.draw_scene(3, 5)))


@pytest.mark.parametrize("row", mini.MINI_TASKS.values(), ids=lambda row: row.name)
def test_sizes_types_and_classes_of_each_split(drawn: dict[str, Splits], row: mini.MiniTask) -> None:
    splits = drawn[row.name]
    assert tuple(splits) == ("train", "val", "test")
    pool = np.concatenate([labels for _, labels in splits.values()])
    share = np.bincount(pool) / pool.size
    for size, (images, labels) in zip(row.sizes, splits.values(), strict=True):
        assert (images.shape, labels.shape) == ((size, 3, 32, 32), (size,))
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert set(labels) == set(range(row.classes))
        # Each part follows the pool's class frequencies to the rounding of the quotas.
        assert np.abs(np.bincount(labels) - share * size).max() <= 2
        assert not (np.diff(labels) >= 0).all(), "classes must be mixed"


@pytest.mark.parametrize("task", mini.MINI_TASKS)
def test_no_picture_stands_in_two_splits(drawn: dict[str, Splits], task: str) -> None:
    pictures = {name: {image.tobytes() for image in drawn[task][name][0]} for name in drawn[task]}
    for one, other in combinations(pictures, 2):
        assert not pictures[one] & pictures[other]


@pytest.mark.parametrize("task", ["digits", "dsprites_ori"])
def test_drawn_twice_is_bit_equal_and_grey(drawn: dict[str, Splits], task: str) -> None:
    for name, (images, labels) in mini.draw_mini_task(task).items():
        assert np.array_equal(images, drawn[task][name][0])
        assert np.array_equal(labels, drawn[task][name][1])
        assert (images == images[:, :1]).all()


@pytest.mark.parametrize("pair", ["dsprites_loc dsprites_ori", "shapes_count shapes_dist"])
def test_siblings_draw_one_pool(drawn: dict[str, Splits], pair: str) -> None:
    one, other = ({i.tobytes() for x, _ in drawn[task].values() for i in x} for task in pair.split())
    assert one == other
    assert len(one) == 3000  # so no picture stands twice in a pool either


@pytest.mark.parametrize(
    ("task", "pictures", "labels"),
    [
        ("digits", 248926838, 2187632952),
        ("dsprites_loc", 919230546, 750724052),
        ("dsprites_ori", 1518054054, 1066956915),
        ("shapes_count", None, 4030021722),  # shading may differ in a last bit between machines
        ("shapes_dist", None, 1340985930),
    ],
)
def test_version_1_is_these_pictures_and_splits(
    drawn: dict[str, Splits], task: str, pictures: int | None, labels: int
) -> None:
    images, classes = (np.concatenate(part) for part in zip(*drawn[task].values(), strict=True))
    assert mini.MINI_VERSION == 1, "raise the version and renew these CRC-32 sums together"
    assert crc32(classes.tobytes()) == labels
    assert pictures in (None, crc32(images.tobytes()))


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(BadInput, match="digits"):
        mini.draw_mini_task("digit")


@given(hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 500)), st.data())
def test_quotas_sum_and_stay_within_one_of_the_share(counts: NDArray[np.int64], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, int(counts.sum())))
    given_places = mini.quotas(counts, size)
    assert given_places.sum() == size
    assert (given_places <= counts).all()
    assert np.abs(given_places - counts * size / max(counts.sum(), 1)).max() < 1


def test_quotas_follow_the_largest_remainders() -> None:
    assert mini.quotas(np.array([5, 3, 2]), 4).tolist() == [2, 1, 1]
    assert mini.quotas(np.array([1, 1, 1]), 2).tolist() == [1, 1, 0]
    with pytest.raises(BadInput, match="out of 3"):
        mini.quotas(np.array([1, 2]), 4)
