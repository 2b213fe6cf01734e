"""The upstream images for pretraining: letters and symbols on coloured grounds, and no digits.

Every image is a function of a seed. A scene holds one glyph or several. The label says which
glyphs they are, but not their place, size, angle or number.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
import torch
import torch.nn.functional as F
from matplotlib.ft2font import FT2Font
from torch import Generator, Tensor

# Of symbols that are turned copies of one drawing (arrows, triangles, horseshoes) only one is here:
# to tell them apart is to tell orientations apart, and that is a downstream task. For the same reason
# there are no dominoes or dice (counts), no O, square, disc or heart (digits, sprites), and no sign
# that looks like a digit when turned (infinity).
LATIN = "ABCDEFGHJKLMNPQRSTUVWXYZabdefghijkmnqrty"
SYMBOLS = (
    "ΓΔΘΞΠΣΦΨΩαβγδεζηθλμξπσφψω"
    "БДЖИЛЦШЩЫЬЭЮЯЂЉЊвфђ"
    "ԱԲԳԴԵԶԷԸԹԺԻԾԿՂՃՄՊՋՌՎՏՐՓՔՖաբգդեզէըթժլխծկհձղճմյնշպջռվտցփքֆև"
    "აბგდეზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"
    "אבגדהזחטכלםמנסעפצקרשת"
    "★▲✚◎☂☃☎☠☢☣☭☮☯☸☺☼☾♀♂♆♔♖♘♚♜♝♞♟♣♠♪♫♭♯☁☗⚑⚒⚓⚔⚖⚙⚛⚜⚡"
    "✂✈✉✌✎✓✠✡✦✪✸✿❀❄❖◗▰→"
    "∀∂∈∫∮√∅∝≈⊕⋈⌘℞ℵ℘€£¥§¶&@#?ß"
)
GLYPHS = LATIN + SYMBOLS
# The cm fonts keep other drawings under Unicode's code points, except for the Latin letters.
LATIN_FONTS = ("cmr10", "cmss10", "cmti10", "cmtt10", "cmb10")
FONTS = ("DejaVuSans*", "DejaVuSerif*", "STIXGeneral*")
GLYPH_IMAGE_SIDE, GLYPH, CELLS = 32, 32, 4
NO_GLYPH = -100  # the label that cross-entropy skips


@dataclass(frozen=True)
class GlyphBank:
    """Drawings of every glyph in every font that has it.

    Attributes:
        drawings: (drawings, 1, 32, 32) coverage in [0, 1], the longer side filling 28 pixels.
        first: (glyphs,) index of each glyph's first drawing.
        count: (glyphs,) number of drawings of each glyph, one for each font.
    """

    drawings: Tensor
    first: Tensor
    count: Tensor


@dataclass(frozen=True)
class GlyphScenes:
    """A batch of upstream images and the labels of their glyphs.

    Attributes:
        images: (N, 3, 32, 32) in [0, 1].
        present: (N, glyphs) one divided by the number of different glyphs, where present.
        cells: (N, 16) the glyph that covers most of each 8 x 8 cell, -100 for none.
    """

    images: Tensor
    present: Tensor
    cells: Tensor


@cache
def draw_bank() -> GlyphBank:
    """Draw every glyph with the fonts that matplotlib ships."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    wide = [FT2Font(str(path)) for name in FONTS for path in sorted(folder.glob(f"{name}.ttf"))]
    latin = [FT2Font(str(folder / f"{name}.ttf")) for name in LATIN_FONTS]
    drawings, count = [], []
    for glyph in GLYPHS:
        fonts = [font for font in wide if font.get_char_index(ord(glyph))]
        fonts += latin if glyph in LATIN else []
        drawings += [_drawing(font, glyph) for font in fonts]
        count.append(len(fonts))
    counts = torch.tensor(count)
    return GlyphBank(torch.stack(drawings), counts.cumsum(0) - counts, counts)


def _drawing(font: FT2Font, glyph: str) -> Tensor:
    font.set_size(56, 72)
    font.set_text(glyph)
    font.draw_glyphs_to_bitmap(antialiased=True)
    ink = torch.from_numpy(font.get_image().astype("float32") / 255)
    rows, columns = ink.amax(1).nonzero(), ink.amax(0).nonzero()
    ink = ink[rows[0, 0] : rows[-1, 0] + 1, columns[0, 0] : columns[-1, 0] + 1]
    scale = (GLYPH - 4) / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = F.interpolate(ink[None, None], (height, width), mode="area")[0]
    top, left = (GLYPH - height) // 2, (GLYPH - width) // 2
    return F.pad(small, (left, GLYPH - width - left, top, GLYPH - height - top))


def draw_scenes(bank: GlyphBank, size: int, generator: Generator, hardness: float, crowd: int) -> GlyphScenes:
    """Draw `size` scenes of one glyph or of 2 to `crowd`.

    Args:
        bank: the drawings.
        size: how many scenes.
        generator: the source of every random choice.
        hardness: from 0 to 1. At 0 each scene has one glyph, which is large, central and upright. At 1
            half of the scenes are crowded. Glyphs are then anywhere, strongly distorted, and as small
            as a quarter of the side.
        crowd: the most glyphs in a scene; 1 for scenes of one glyph only.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    kinds = len(bank.count)
    crowd_size = (2 + (uniform(size) * (crowd - 1)).long()).clamp(max=crowd)
    number = torch.where(uniform(size) < 0.5 * hardness, crowd_size, 1)
    ground = _shades(uniform(size, 2, 3), uniform(size, 2))
    dark = uniform(size, 1, 1, 1) < 0.4
    images = torch.where(dark, ground * uniform(size, 1, 1, 1) * 0.3, ground)
    present = torch.zeros(size, kinds)
    cover = torch.zeros(size, CELLS * CELLS)
    cells = torch.full((size, CELLS * CELLS), NO_GLYPH)
    for slot in range(crowd):
        rows = (number > slot).nonzero()[:, 0]
        n = len(rows)
        kind = (uniform(n) * kinds).long()
        drawing = bank.first[kind] + (uniform(n) * bank.count[kind]).long()
        small = hardness * uniform(n)
        pixels = torch.where(number[rows] == 1, 28 * 0.32**small, 15 * 0.5**small)
        grid = _grid(pixels, hardness, uniform(n, 6), uniform(n, 2, 5, 5))
        # Sample at twice the side and average, against aliasing.
        ink = F.avg_pool2d(F.grid_sample(bank.drawings[drawing], grid, align_corners=False), 2)
        colour = _shades(uniform(n, 2, 3), uniform(n, 2))
        # Draw light on dark and dark on light: a glyph in the shade of its ground cannot be seen.
        light = images[rows].mean((1, 2, 3)).view(n, 1, 1, 1) < 0.4
        colour = torch.where(light, 0.45 + 0.55 * colour, 0.45 * colour)
        white = (uniform(n, 1, 1, 1) < 0.3) & light
        images[rows] = torch.lerp(images[rows], colour.masked_fill(white, 1.0), ink)
        present[rows, kind] = 1
        part = F.avg_pool2d(ink, GLYPH_IMAGE_SIDE // CELLS).flatten(1)
        covers_most = (part > 0.04) & (part > cover[rows])
        cells[rows] = torch.where(covers_most, kind[:, None], cells[rows])
        cover[rows] = torch.where(covers_most, part, cover[rows])
    noise = torch.randn(images.shape, generator=generator) * uniform(size, 1, 1, 1).pow(3) * 0.08
    return GlyphScenes((images + noise).clamp(0, 1), present / present.sum(1, keepdim=True), cells)


def _shades(ends: Tensor, direction: Tensor) -> Tensor:
    """Colour ramps (N, 3, 32, 32) between `ends` (N, 2, 3), often nearly flat."""
    axis = torch.linspace(-0.5, 0.5, GLYPH_IMAGE_SIDE)
    slope = direction.mul(2).sub(1)
    ramp = slope[:, 0, None, None] * axis[:, None] + slope[:, 1, None, None] * axis + 0.5
    first, second = ends[:, 0, :, None, None], ends[:, 1, :, None, None]
    return torch.lerp(first, second, ramp[:, None].clamp(0, 1) * 0.7)


def _grid(pixels: Tensor, hardness: float, draw: Tensor, bend: Tensor) -> Tensor:
    """Sampling grids (N, 64, 64, 2) that put a glyph `pixels` long somewhere in the image.

    `draw` (N, 6) gives place, turn, stretch and shear, `bend` (N, 2, 5, 5) the elastic field.
    """
    offsets = draw.mul(2).sub(1)
    room = (GLYPH_IMAGE_SIDE - 0.7 * pixels)[:, None].clamp(min=0) / GLYPH_IMAGE_SIDE
    centre = offsets[:, :2] * room * hardness
    turn = offsets[:, 2] * hardness * 0.8
    stretch = torch.exp(offsets[:, 3] * hardness * 0.4)
    shear = offsets[:, 4] * hardness * 0.4
    scale = GLYPH_IMAGE_SIDE / pixels * (GLYPH - 4) / GLYPH
    cosine, sine = turn.cos() * scale, turn.sin() * scale
    rows = torch.stack((cosine * stretch + sine * shear, sine * stretch - cosine * shear, -sine, cosine), 1).view(
        -1, 2, 2
    )
    side = 2 * GLYPH_IMAGE_SIDE
    axis = (torch.arange(side) + 0.5) * 2 / side - 1
    base = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    field = F.interpolate(bend.mul(2).sub(1), (side, side), mode="bilinear", align_corners=True)
    local = base.view(1, -1, 2) - centre[:, None]
    points = local @ rows.transpose(1, 2) + field.flatten(2).transpose(1, 2) * 0.22 * hardness
    return points.view(-1, side, side, 2)
