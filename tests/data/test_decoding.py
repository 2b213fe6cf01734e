"""From image files to RGB pixels: every mode that Pillow has, images that are too large, files that are no files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glorabench.data.checks.image_files import check_image_file
from glorabench.data.images import decoding
from glorabench.data.suites import fake, listing
from glorabench.errors import BadInput

GREY = np.array([[0, 1, 128, 255]], np.uint8)
WIDE = GREY.astype(np.uint16) * 257
SUITABLE = ("png", "tif", "jpg", "webp", "gif", "bmp", "ppm", "jp2", "tga", "sgi", "pcx")


def rgb(image: Image.Image, path: Path) -> list[list[int]]:
    return np.asarray(decoding.to_rgb(image, path))[0].tolist()


def grey(values: list[int]) -> list[list[int]]:
    return [[value] * 3 for value in values]


def of_16_bits(mode: str) -> Image.Image:
    order = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
    return Image.frombytes(mode, (4, 1), WIDE.astype(order).tobytes())


KNOWN = {  # mode -> an image, and its pixels
    "1": (Image.fromarray(GREY > 100), grey([0, 0, 255, 255])),
    "L": (Image.fromarray(GREY), grey([0, 1, 128, 255])),
    "P": (Image.new("RGB", (1, 1), (200, 30, 40)).convert("P", palette=Image.Palette.ADAPTIVE), [[200, 30, 40]]),
    "RGB": (Image.new("RGB", (1, 1), (200, 30, 40)), [[200, 30, 40]]),
    "RGBX": (Image.new("RGBX", (1, 1), (200, 30, 40, 7)), [[200, 30, 40]]),
    "RGBA": (Image.new("RGBA", (1, 1), (200, 30, 40, 0)), [[200, 30, 40]]),
    "RGBa": (Image.new("RGBa", (1, 1), (100, 15, 20, 128)), [[199, 29, 39]]),
    "CMYK": (Image.new("CMYK", (1, 1), (55, 225, 215, 0)), [[200, 30, 40]]),
    "YCbCr": (Image.new("YCbCr", (1, 1), (255, 128, 128)), [[255, 255, 255]]),
    "LAB": (Image.new("LAB", (1, 1), (128, 128, 128)), grey([119])),
    "HSV": (Image.new("HSV", (1, 1), (0, 255, 200)), [[200, 0, 0]]),
    "LA": (Image.new("LA", (1, 1), (90, 3)), grey([90])),
    "La": (Image.new("La", (1, 1), (64, 128)), grey([127])),
    "PA": (Image.new("LA", (1, 1), (90, 255)).convert("PA"), grey([90])),
    **{mode: (of_16_bits(mode), grey([0, 1, 128, 255])) for mode in ("I;16", "I;16L", "I;16B", "I;16N")},
}
REFUSED = {"I": "32-bit integers", "F": "floats"}


def test_every_mode_of_pillow_is_known_here() -> None:
    assert {*KNOWN, *REFUSED} == set(Image.MODES)


@pytest.mark.parametrize("mode", KNOWN)
def test_an_image_of_any_mode_has_known_pixels(mode: str, tmp_path: Path) -> None:
    image, pixels = KNOWN[mode]
    assert image.mode == mode
    assert rgb(image, tmp_path) == pixels


def written(image: Image.Image, folder: Path) -> list[Path]:
    """The image in every format that Pillow writes it in; of 16 bits it writes white in some."""
    paths = []
    for suffix in SUITABLE if not image.mode.startswith("I;16") else ("png", "tif", "ppm"):
        try:
            image.save(path := folder / f"a.{suffix}")
        except (OSError, ValueError, KeyError):
            continue
        paths.append(path)
    return paths


@pytest.mark.parametrize("mode", sorted({*KNOWN} - {"La", "I;16N"}))  # of these no file is written
def test_a_file_keeps_the_pixels_of_its_mode_and_the_check_finds_it_right(mode: str, tmp_path: Path) -> None:
    image = KNOWN[mode][0].resize((8, 8))
    pixels = np.asarray(decoding.to_rgb(image, tmp_path), int)
    paths = written(image, tmp_path)
    assert paths
    for path in paths:
        assert not check_image_file(str(path), whole=True).fault
        lossy = {".gif": 48, ".jpg": 12, ".webp": 12, ".jp2": 1}.get(path.suffix, 0)  # a palette is a loss
        if "A" not in mode.upper() or mode == "LAB":  # what is transparent has no colour in some formats
            assert abs(np.asarray(decoding.decode_for_run(path), int) - pixels).max() <= lossy, path


@pytest.mark.parametrize("mode", REFUSED)
def test_values_without_a_range_are_refused_and_the_check_says_the_same(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (8, 8), 1).save(path)
    with pytest.raises(BadInput, match=f"a.tif holds {REFUSED[mode]} .*save it with 8 or 16 bits") as said:
        decoding.decode_for_run(path)
    assert check_image_file(str(path), whole=True).fault == str(said.value)


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_16_bits_are_scaled_by_257(suffix: str, tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    found = np.asarray(decoding.decode_for_run(tmp_path / f"a.{suffix}"))
    assert np.array_equal(found[..., 0], np.rint(values / 257))
    assert np.array_equal(found, np.repeat(found[..., :1], 3, axis=2))


def test_12_bits_and_white_that_is_zero_are_read_as_tiff_says(tmp_path: Path) -> None:
    Image.fromarray(WIDE).save(tmp_path / "a.tif")
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    entry = raw.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    raw[entry + 8] = 0
    (tmp_path / "b.tif").write_bytes(raw)
    assert np.asarray(decoding.decode_for_run(tmp_path / "b.tif"))[0, :, 0].tolist() == [255, 254, 127, 0]
    image = Image.fromarray(np.array([[0, 4095, 2048]], np.uint16))
    image.tag_v2 = {258: (12,)}  # type: ignore[attr-defined] - as Pillow says it of such a file
    assert rgb(image, tmp_path) == grey([0, 255, 128])


def test_a_rotation_in_exif_is_left_as_it_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert decoding.decode_for_run(tmp_path / "a.jpg").size == (8, 4)


def test_a_jpeg_of_too_many_pixels_is_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(0, 255, 400, dtype=np.uint8)
    image = Image.fromarray(np.broadcast_to(x[None, :, None], (300, 400, 3)).copy())
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "a.png")
    for limit, size in ((120_000, (400, 300)), (119_999, (200, 150)), (20_000, (100, 75)), (2_000, (50, 38))):
        monkeypatch.setenv(decoding.PIXEL_LIMIT_VARIABLE, str(limit))
        small = decoding.decode_for_run(tmp_path / "a.jpg")
        assert small.size == size
        wanted = np.asarray(image.resize(size, Image.Resampling.BOX), int)
        assert abs(np.asarray(small, int) - wanted).max() <= 8
    assert decoding.decode_for_run(tmp_path / "a.jpg").size == (50, 38)
    with pytest.raises(BadInput, match=r"a\.png has 400 x 300 pixels, more than the 2,000 .*GLORABENCH_MAX_PIXELS=120"):
        decoding.decode_for_run(tmp_path / "a.png")
    assert "GLORABENCH_MAX_PIXELS=120000" in check_image_file(str(tmp_path / "a.png"), whole=True).fault
    monkeypatch.setenv(decoding.PIXEL_LIMIT_VARIABLE, "many")
    with pytest.raises(BadInput, match="GLORABENCH_MAX_PIXELS=many must be a whole number"):
        decoding.decode_for_run(tmp_path / "a.png")


def test_a_sound_jpeg_of_196_megapixels_is_an_image(tmp_path: Path) -> None:
    Image.new("L", (14_000, 14_000), 90).save(tmp_path / "a.jpg")
    image = decoding.decode_for_run(tmp_path / "a.jpg")
    assert image.size == (7_000, 7_000)
    assert image.getpixel((100, 100)) == (90, 90, 90)


SPECIAL = """
import sys
from pathlib import Path
from glorabench.data.images import content_hashes as contents, decoding as decode
from glorabench.data.suites import fake, listing
from glorabench.data.checks import image_files as scan
from glorabench.errors import BadInput
path = Path(sys.argv[1])
asked = {
    "image": lambda: decode.decode_for_run(path),
    "hash": lambda: contents.content_hash(path),
    "list": lambda: listing.read_list(path, [path.parent]),
    "json": lambda: listing.read_json_list(path),
    "marker": lambda: fake.read_marker(path.parent, "vtab1k"),
}
for ask in asked.values():
    try:
        print(ask())
    except BadInput as error:
        print(error)
print(scan.check_image_file(str(path), True).fault)
print(scan.file_statuses(str(path.parent), [path.name]))
"""


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / fake.MARKER
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(kind)
    done = subprocess.run(
        [sys.executable, "-c", SPECIAL, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    said = done.stdout.splitlines()
    assert [line.startswith(f"{path} is a pipe, a device or a socket") for line in said[:4]] == [True] * 4
    assert said[4].startswith(f"{path} cannot be read: delete {tmp_path}")
    assert said[5].startswith(f"{path} is a pipe")
    assert said[6] == "[None]"


def test_hidden_files_are_no_images_and_change_no_draw(tmp_path: Path) -> None:
    for label in range(3):
        for number in range(6):
            fake.draw_fake_image(tmp_path / f"{label}" / f"{number}.JPEG", label, number, (8, 8))
    label_of = {str(label): label for label in range(3)}.get
    before = listing.list_folders(tmp_path, label_of)
    for name in ("0/._1.JPEG", "1/.DS_Store", "2/.0.JPEG", ".cache/0.JPEG", "__MACOSX/0/._1.JPEG", "._0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    after = listing.list_folders(tmp_path, label_of)
    assert after == before
    assert listing.draw_shots(after, 2, seed=0) == listing.draw_shots(before, 2, seed=0)
