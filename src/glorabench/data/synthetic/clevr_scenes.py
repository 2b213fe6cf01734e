"""Synthetic scenes of shaded cubes, spheres and cylinders, after the two CLEVR tasks of VTAB.

The label rules are VTAB's (clevr_count, clevr_dist); the pictures are not CLEVR's. They come from a
2.5-D painter: a camera above a ground plane looks forward, so an object at depth d has a size of
``FOCAL * size / d`` pixels and stands on the row ``HORIZON + FOCAL * HEIGHT / d`` (the horizon lies
above the picture). Objects are painted from far to near. All lengths in pixels are of the 96 x 96
canvas, x to the right and y down; depth is in the unit of CLEVR's thresholds.

A scene is a function of (seed, scene number) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CANVAS: Final = 96
SCENE_SIDE: Final = 32
COUNTS: Final = (3, 10)  # least and largest number of objects
NEAREST, FARTHEST = (7.5, 10.5), 16.0  # depth of the nearest object, half a unit a class; any depth
THRESHOLDS: Final = (8.0, 8.5, 9.0, 9.5, 10.0)
FOCAL: Final = 110.0
HEIGHT: Final = 8.8
HORIZON: Final = -40.0

_SIZES = (0.5, 0.75)
# Least distance of two centres, in sums of radii: at 0.8 objects may overlap, yet none disappears.
_APART = 0.8
_TILT = 0.45  # height over width of a horizontal circle seen from the camera
_AMBIENT = 0.35
# CLEVR's eight colours: grey, red, blue, green, brown, purple, cyan, yellow.
_HEX = "575757 ad2323 2a4bd7 1d6914 814a19 8126c0 29d0d0 ffee33"
_COLOURS = np.array([list(bytes.fromhex(colour)) for colour in _HEX.split()], np.float32)

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Shading = tuple[NDArray[np.bool_], Singles]
SPHERE, CYLINDER, CUBE = range(3)


@dataclass(frozen=True)
class Scene:
    """The objects of a scene; arrays have one entry per object, far to near.

    Attributes:
        kind: SPHERE, CYLINDER or CUBE.
        depth: Distance of the object's foot from the camera.
        x: Column of its centre, pixels.
        radius: Half its width, pixels.
        turn: Angle of a cube about the vertical, radians in (0, pi / 2).
        colour: (n, 3) RGB in 0 .. 255.
        light: Unit vector to the light: right, down, towards the viewer.
        ground: (CANVAS, CANVAS, 3) RGB of the empty ground.
    """

    kind: NDArray[np.int64]
    depth: Doubles
    x: Doubles
    radius: Doubles
    turn: Doubles
    colour: Singles
    light: Singles
    ground: Singles


def foot(depth: Doubles) -> Doubles:
    """Row of the canvas on which an object at this depth (n,) stands, (n,) pixels."""
    return HORIZON + FOCAL * HEIGHT / depth


def draw_scene(seed: int, number: int) -> Scene:
    """Lay out scene `number` of the series `seed`.

    The number of objects (3 .. 10) and the nearest depth are drawn independently and uniformly, so
    neither tells the other; the other objects lie behind, uniform over rows of the canvas.
    """
    rng = np.random.default_rng((seed, number))
    count = int(rng.integers(COUNTS[0], COUNTS[1] + 1))
    near = rng.uniform(*NEAREST)
    depth, x, radius = _places(rng, count, near)
    far_to_near = np.argsort(-depth)
    light = np.array([rng.uniform(-0.8, 0.8), -1.0, rng.uniform(0.5, 1.0)])
    colour = _COLOURS[rng.integers(len(_COLOURS), size=count)]
    return Scene(
        kind=rng.integers(3, size=count),
        depth=depth[far_to_near],
        x=x[far_to_near],
        radius=radius[far_to_near],
        turn=rng.uniform(0.15, np.pi / 2 - 0.15, count),
        colour=(colour * rng.uniform(0.8, 1.1, (count, 1))).clip(0, 255).astype(np.float32),
        light=(light / np.linalg.norm(light)).astype(np.float32),
        ground=_ground(rng),
    )


def _places(rng: np.random.Generator, count: int, near: float) -> tuple[Doubles, ...]:
    """Depth, column and radius of `count` objects, the first at depth `near`, by dart throwing."""
    while True:  # a crowded start can leave no room; then start again
        depth = 1.0 / rng.uniform(1.0 / FARTHEST, 1.0 / near, 40 * count)
        depth[0] = near
        radius = FOCAL * rng.uniform(*_SIZES, depth.size) / depth
        x = rng.uniform(radius + 1.0, CANVAS - radius - 1.0)
        y = foot(depth) - radius
        chosen_darts: list[int] = []
        for dart in range(depth.size):
            gap = np.hypot(x[chosen_darts] - x[dart], y[chosen_darts] - y[dart])
            if (gap >= _APART * (radius[chosen_darts] + radius[dart])).all():
                chosen_darts.append(dart)
                if len(chosen_darts) == count:
                    return depth[chosen_darts], x[chosen_darts], radius[chosen_darts]


def _ground(rng: np.random.Generator) -> Singles:
    """A tinted ground, lighter towards the viewer, with blotches and grain: (CANVAS, CANVAS, 3)."""
    tint = rng.uniform(90, 170) + rng.uniform(-20, 20, 3)
    slope = np.linspace(-1, 1, CANVAS)[:, None] * rng.uniform(0, 30)
    coarse = rng.normal(0, 9, (CANVAS // 8 + 1, CANVAS // 8 + 1))
    positions = np.arange(CANVAS) / 8
    low, part = positions.astype(np.intp), positions % 1
    rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
    blotches = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    grain = rng.normal(0, 6, (CANVAS, CANVAS))
    return ((slope + blotches + grain)[:, :, None] + tint).astype(np.float32)


def paint(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Paint a scene from far to near.

    Returns:
        The (CANVAS, CANVAS, 3) RGB picture, and for each of its pixels the index of the object
        seen there, -1 for the ground.
    """
    picture = scene.ground.copy()
    owner = np.full((CANVAS, CANVAS), -1, np.int8)
    feet = foot(scene.depth)
    for i, kind in enumerate(scene.kind):
        radius = scene.radius[i]
        reach = 1.6 * radius
        base = feet[i] - _TILT * radius  # row of the middle of the foot print
        top, left = max(int(base - 2 * reach), 0), max(int(scene.x[i] - reach), 0)
        box = np.s_[top : int(base + reach) + 1, left : int(scene.x[i] + reach) + 1]
        height, width = owner[box].shape
        u = ((left + 0.5 + np.arange(width) - scene.x[i]) / radius).astype(np.float32)[None, :]
        v = ((top + 0.5 + np.arange(height) - base) / radius).astype(np.float32)[:, None]
        shadow = (u + 0.4 * scene.light[0]) ** 2 + (v / _TILT) ** 2 <= 1.3
        picture[box][shadow & (owner[box] < 0)] *= 0.6
        if kind == SPHERE:
            visible, shade = _sphere(u, v, scene.light)
        else:
            visible, shade = _prism(u, v, scene.light, scene.turn[i] if kind == CUBE else None)
        picture[box][visible] = shade[visible][:, None] * scene.colour[i]
        owner[box][visible] = i
    return picture.clip(0, 255).astype(np.uint8), owner


def _sphere(u: Singles, v: Singles, light: Singles) -> Shading:
    """Pixels and brightness of a unit sphere resting with its lowest point on the foot row."""
    w = v + (1 - _TILT)
    square = u**2 + w**2
    toward_viewer = np.sqrt(np.maximum(1 - square, 0))
    lambert = np.maximum(u * light[0] + w * light[1] + toward_viewer * light[2], 0)
    return square <= 1, _AMBIENT + 0.75 * lambert + 0.8 * lambert**16


def _prism(u: Singles, v: Singles, light: Singles, turn: float | None) -> Shading:
    """Pixels and brightness of an upright cube turned by `turn`, or of a cylinder if it is None."""
    if turn is None:
        front = back = np.sqrt(np.maximum(1 - u**2, 0))
        normal, tall = u.clip(-1, 1), 1.3
    else:
        cos, sin = np.cos(turn), np.sin(turn)
        side = 1 / (cos + sin)  # half edge that makes the turned square one unit wide
        front = np.minimum((side - u * cos) / sin, (side + u * sin) / cos)
        back = np.minimum((side + u * cos) / sin, (side - u * sin) / cos)
        normal = np.where((side - u * cos) / sin < (side + u * sin) / cos, cos, -sin)
        tall = 2 * side
    visible = (np.abs(u) <= 1) & (v <= _TILT * front) & (v >= -_TILT * back - tall)
    lid = v <= _TILT * front - tall
    wall = np.maximum(normal * light[0] + np.sqrt(1 - normal**2) * light[2], 0)
    return visible, np.where(lid, _AMBIENT - 0.9 * light[1], _AMBIENT + 0.55 * wall)


def render_scene(scene: Scene) -> NDArray[np.uint8]:
    """Draw one scene, area-averaged from the canvas to (32, 32, 3) RGB."""
    picture, _ = paint(scene)
    step = CANVAS // SCENE_SIDE
    return picture.reshape(SCENE_SIDE, step, SCENE_SIDE, step, 3).mean((1, 3)).round().astype(np.uint8)


def count_label(scene: Scene) -> int:
    """VTAB's clevr_count label: number of objects - 3, in 0 .. 7."""
    return len(scene.kind) - COUNTS[0]


def dist_label(scene: Scene) -> int:
    """VTAB's clevr_dist label: the number of THRESHOLDS below the nearest depth, in 0 .. 5."""
    return int(np.searchsorted(THRESHOLDS, scene.depth.min()))
