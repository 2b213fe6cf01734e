"""The dSprites images drawn from their latents, with VTAB's two label rules.

Source: Matthey et al., "dSprites: Disentanglement testing Sprites dataset", 2017. The geometry was
measured on genuine frames: square and ellipse agree with them to a mean IoU above 0.998, the heart
(a 72-gon) to 0.996. All lengths are pixels of the 64 x 64 canvas, x to the right and y down; a
pixel is set iff its centre lies inside the shape (no anti-aliasing).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from glorabench.errors import BadInput

SPRITE_SIDE: Final = 64
LATENT_SIZES: Final = (3, 6, 40, 32, 32)
"""Number of values of shape (square, ellipse, heart), scale, orientation, x and y; y fastest."""
COUNT: Final = int(np.prod(LATENT_SIZES))
CLASSES: Final = 16

_SQUARE_HALF = 9.6
_ELLIPSE_AXES = (12.76, 7.22)
_HEART_CENTRE_V = -2.0
# Radius of the heart from its centre, every 5 degrees from "up" to "down"; the other half mirrors.
_HEART_RADII = np.array(
    [
        *(3.15, 4.25, 5.28, 6.29, 7.09, 7.87, 8.49, 8.91, 9.39, 9.66, 9.82, 10.07, 10.04),
        *(10.16, 10.05, 9.95, 9.79, 9.48, 9.21, 8.93, 8.62, 8.29, 8.06, 7.82, 7.65, 7.53),
        *(7.38, 7.34, 7.38, 7.41, 7.61, 7.70, 8.06, 8.44, 8.98, 9.98, 11.08),
    ]
)
_CHUNK = 256  # images held at once as float64, to bound memory when the whole set is drawn

Coordinates = NDArray[np.float64]


def _square(u: Coordinates, v: Coordinates) -> NDArray[np.bool_]:
    return np.maximum(np.abs(u), np.abs(v)) <= _SQUARE_HALF


def _ellipse(u: Coordinates, v: Coordinates) -> NDArray[np.bool_]:
    return (u / _ELLIPSE_AXES[0]) ** 2 + (v / _ELLIPSE_AXES[1]) ** 2 <= 1.0


def _heart(u: Coordinates, v: Coordinates) -> NDArray[np.bool_]:
    # The polygon is star-shaped around its centre and symmetric in u, so one edge decides: the one
    # whose 5 degree sector holds the point.
    right, up = np.abs(u), _HEART_CENTRE_V - v
    phi = np.deg2rad(np.arange(_HEART_RADII.size) * 5.0)
    x, y = _HEART_RADII * np.sin(phi), _HEART_RADII * np.cos(phi)
    edge_x, edge_y = np.diff(x), np.diff(y)
    sector = (np.arctan2(right, up) / phi[1]).astype(np.intp).clip(max=edge_x.size - 1)
    inward = edge_y[sector] * (right - x[sector]) - edge_x[sector] * (up - y[sector])
    return inward >= 0.0


_SHAPES = (_square, _ellipse, _heart)


def latents(indices: NDArray[np.integer]) -> tuple[NDArray[np.intp], ...]:
    """Split flat indices into the five latent indices.

    Args:
        indices: (n,) flat indices, ``(((shape * 6 + scale) * 40 + ori) * 32 + x) * 32 + y``.

    Returns:
        Shape, scale, orientation, x and y index, each (n,).

    Raises:
        BadInput: An index lies outside 0 .. 737,279.
    """
    try:
        return np.unravel_index(indices, LATENT_SIZES)
    except ValueError as error:
        raise BadInput(f"dSprites indices must lie in 0..{COUNT - 1}: {error}") from None


def render_sprites(indices: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Draw sprites from flat latent indices.

    Orientation index k turns the shape by ``2 pi k / 39`` counter-clockwise as displayed, so the
    pictures of k = 0 and k = 39 are identical.

    Args:
        indices: (n,) flat indices, see `latents`.

    Returns:
        (n, 64, 64) images of values 0 and 1, rows first.

    Raises:
        BadInput: An index lies outside 0 .. 737,279.
    """
    shape, scale, turn, x, y = latents(indices)
    images = np.zeros((len(indices), SPRITE_SIDE, SPRITE_SIDE), np.uint8)
    centres = np.arange(SPRITE_SIDE) + 0.5
    for kind, inside in enumerate(_SHAPES):
        rows = np.flatnonzero(shape == kind)
        for start in range(0, rows.size, _CHUNK):
            part = rows[start : start + _CHUNK]
            size = 0.5 + 0.1 * scale[part, None]
            # k = 39 is a full turn; the modulus keeps it equal to k = 0 to the last bit.
            angle = (2.0 * np.pi / 39.0) * (turn[part, None, None] % 39)
            dx = ((centres - (16.0 + 32.0 / 31.0 * x[part, None])) / size)[:, None, :]
            dy = ((centres - (16.0 + 32.0 / 31.0 * y[part, None])) / size)[:, :, None]
            cos, sin = np.cos(angle), np.sin(angle)
            images[part] = inside(dx * cos - dy * sin, dx * sin + dy * cos)
    return images


def loc_label(indices: NDArray[np.integer]) -> NDArray[np.int64]:
    """VTAB's dsprites_loc label of flat indices (n,): x index // 2, (n,) in 0 .. 15.

    Raises:
        BadInput: An index lies outside 0 .. 737,279.
    """
    return (latents(indices)[3] // 2).astype(np.int64)


def ori_label(indices: NDArray[np.integer]) -> NDArray[np.int64]:
    """VTAB's dsprites_ori label of flat indices (n,): floor(orientation / 2.5), (n,) in 0 .. 15.

    Raises:
        BadInput: An index lies outside 0 .. 737,279.
    """
    return (latents(indices)[2] * 2 // 5).astype(np.int64)
