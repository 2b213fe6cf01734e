"""One variant of a training step, ready to be asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from counters import CLASSES, floor, literal
from glorabench.backbones.base import Backbone
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, DATA, METHOD, make
from glorabench.data.images.datamodule import ImageData
from glorabench.search.space import PathSpace

PLAIN = "backbone.last_block=all"  # Hugging Face's layers cannot compute a part of a fused projection
TASK = "digits"


@dataclass(frozen=True)
class Variant:
    """One process: the words of its method (None is the floor), and whether GLoRA forms W' with plain autograd."""

    words: Sequence[str] | None
    literal: bool = False


class Worker:
    """A variant, ready to step: AdamW, cross-entropy, a new path each step where there is a choice."""

    def __init__(self, variant: Variant, backbone: str, batch: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        config = compose([f"backbone={backbone}", PLAIN, f"data.task={TASK}", *(variant.words or [])])
        self.config, self.batch, self.drawn, self.trained = config, batch, 0, 0
        torch.manual_seed(0)
        self.backbone: Backbone = make(
            config["backbone"], BACKBONE, weights_from=None
        )  # time does not depend on weights
        self.backbone.set_head(CLASSES)
        if variant.literal:
            self.whole = ExitStack()  # to the end of this process
            self.whole.enter_context(literal())
        if variant.words is None:
            floor(self.backbone)
        else:
            make(config["method"], METHOD).inject(self.backbone)
        self.net = self.backbone.net.to(self.device).train(not self.backbone.trunk_is_frozen())
        self.space = PathSpace(self.net)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
        assert self.backbone.preprocess is not None
        side = self.backbone.preprocess.size
        self.images = torch.randn(batch, 3, side, side, device=self.device)
        self.labels = torch.arange(batch, device=self.device) % CLASSES

    def train(self, images: Tensor, labels: Tensor) -> None:
        """One step."""
        if self.space.is_supernet:
            self.space.set(self.space.draw(0, self.drawn))
            self.drawn += 1
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = F.cross_entropy(self.net(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.trained += len(labels)

    def step(self) -> float:
        """Milliseconds of a step."""
        started = self._now()
        self.train(self.images, self.labels)
        return 1e3 * (self._now() - started)

    def epoch(self) -> float:
        """Images per second of an epoch, as a run reads, moves, resizes and normalises them."""
        assert self.backbone.preprocess is not None
        looks = vars(self.backbone.preprocess)
        data = ImageData(
            make(self.config["data"], DATA),
            fit_on="trainval",
            report_on="test",
            batch_size=self.batch,
            eval_batch_size=self.batch,
            seed=0,
            **looks,
        )
        loader = data.train_dataloader()
        started = self._now()
        for images, labels in loader:
            self.train(data.normalise(images.to(self.device)), labels.to(self.device))
        return len(loader) * self.batch / (self._now() - started)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
