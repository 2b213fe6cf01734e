"""How fast images come: out of the cache, and as a DataLoader that decodes them with Pillow; against what is consumed.

    python benchmarks/data.py
    python benchmarks/data.py --images 256 --rounds 3 backbone=vit_b16

Photographs of 500 x 375 and 64 x 64 pixels are drawn and saved as JPEG, then read in batches to the size of the
backbone, ready for the network (normalised, on its device):

- cache: the path of a run, from the uint8 images that its first run decoded;
- cache, augmented: the same with timm's training augmentation, from images decoded at their own size;
- decoded ahead: the path of a test split that is not kept;
- PIL DataLoader: what the published code does: torchvision's Resize, ToTensor and Normalize for each image in each
  epoch, without worker processes and with as many as there are cores.

The ways take turns, so that a machine that slows down slows down all. The backbone's own pace is a training step of
LoRA on its linear layers, same batch size. Writes results/efficiency/data-BACKBONE-DEVICE.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

import pages
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.data.checks import image_files
from glorabench.data.images.datamodule import ImageData
from glorabench.data.images.decoding import THREADS
from glorabench.data.images.on_disk import FilesOnDisk
from glorabench.data.images.task import ImageTask
from glorabench.data.suites.listing import Listing
from glorabench.training.measure.provenance import device_name, provenance

BATCH = 32
SIZES = ((500, 375), (64, 64))


def photographs(folder: Path, count: int, width: int, height: int) -> Listing:
    """Smooth random pictures as JPEG files of quality 75, as Pillow writes them."""
    rng = np.random.default_rng(width)
    for i in range(count):
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg")
    return Listing(folder, folder, tuple(f"{i}.jpg" for i in range(count)), tuple(i % 10 for i in range(count)))


class Plain(Dataset[tuple[torch.Tensor, int]]):
    """Images decoded, resized and normalised one by one, each time they are asked for."""

    def __init__(self, listing: Listing, data: ImageData) -> None:
        view, how = data.view, T.InterpolationMode.BICUBIC
        self.listing = listing
        self.transform = T.Compose([T.Resize((view.size,) * 2, how), T.ToTensor(), T.Normalize(view.mean, view.std)])

    def __len__(self) -> int:
        return len(self.listing)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.listing.path(index)) as image:
            made: Any = self.transform(image.convert("RGB"))
            return made, self.listing.labels[index]


def ways(
    listing: Listing, cache: Path, preprocess: dict[str, Any], device: torch.device
) -> dict[str, Callable[[], Any]]:
    """What is compared: name -> a fresh iterable over all images."""

    def data(keep: bool, augment: str | None) -> ImageData:
        stamp = next(iter(image_files.split_stamps({"": listing}, image_files.split_statuses({"": listing})).values()))
        kept = FilesOnDisk(listing, "train", cache / "train", stamp)
        streamed = FilesOnDisk(listing, "test", cache / "test", stamp, keep=keep)
        task = ImageTask("benchmark", "photographs", "", 10, {"train": kept, "val": kept, "test": streamed}, "", "vtab")
        made = ImageData(
            task, fit_on="train", report_on="test", batch_size=BATCH, eval_batch_size=BATCH, seed=0, augment=augment,
            **preprocess,
        )  # fmt: skip
        made.device = device
        return made

    def through(made: ImageData, batches: Iterable[Any]) -> Iterable[Any]:
        return (made.mixing(made.normalise(x.to(device)), y.to(device), 0) for x, y in batches)

    cached, augmented, streaming = data(True, None), data(True, "timm"), data(False, None)
    plain = Plain(listing, cached)
    return {
        "cache": lambda: through(cached, cached.train_dataloader()),
        "cache, augmented": lambda: through(augmented, augmented.train_dataloader()),
        "decoded ahead": lambda: through(streaming, streaming._still_batches(streaming.images.splits["test"])),
        "PIL DataLoader": lambda: ((x.to(device), y) for x, y in DataLoader(plain, BATCH)),
        f"PIL DataLoader, {THREADS} workers": lambda: (
            (x.to(device), y) for x, y in DataLoader(plain, BATCH, num_workers=THREADS)
        ),
    }


def pace(batches: Iterable[Any], device: torch.device) -> float:
    """Images a second."""
    started, count = time.perf_counter(), 0
    for x, _ in batches:
        count += len(x)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - started)


def consumed(config: dict[str, Any], size: int, device: torch.device, steps: int) -> float:
    """Images a second that the backbone trains on: forward, backward and AdamW of LoRA; the median of `steps`."""
    backbone = make(config["backbone"], BACKBONE)
    backbone.set_head(10)
    make(config["method"], METHOD).inject(backbone)
    net = backbone.net.to(device).train()
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], fused=True)
    images, labels = torch.randn(BATCH, 3, size, size, device=device), torch.arange(BATCH, device=device) % 10
    times = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return BATCH / median(times[1:])


def main() -> None:
    """Measure, write the result and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/efficiency"))
    parser.add_argument("overrides", nargs="*", default=["backbone=vit_b16"])
    args = parser.parse_args()
    config = compose([*args.overrides, "backbone.weights_from=null", "method=lora", "method.targets=[qkv,o,fc1,fc2]"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    preprocess = vars(make(config["backbone"], BACKBONE).preprocess)
    result: dict[str, Any] = {"images_per_s": {}}
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            listing = photographs(Path(folder), args.images, width, height)
            found = ways(listing, Path(folder) / "cache", preprocess, device)
            for way in found.values():  # the caches are made here
                pace(way(), device)
            rounds = [{name: pace(way(), device) for name, way in found.items()} for _ in range(args.rounds)]
            result["images_per_s"][f"{width} x {height}"] = {name: [r[name] for r in rounds] for name in found}
    result |= {
        "backbone": config["names"]["backbone"],
        "consumed": consumed(config, preprocess["size"], device, 3 if device.type == "cpu" else 30),
        **{"size": preprocess["size"], "batch": BATCH, "images": args.images, "device": device_name(device)},
        "provenance": provenance(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"data-{result['backbone']}-{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "README.md").write_text(pages.page(args.out))
    print("\n".join(pages.sections(pages.data_tables(result))))


if __name__ == "__main__":
    main()
