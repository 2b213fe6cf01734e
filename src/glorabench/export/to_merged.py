"""Merged export: a checkpoint of the original architecture, without a trace of the method.

A timm network becomes a folder for `timm.create_model("local-dir:...")`, a transformers model for `from_pretrained`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import save_for_hf
from torch import nn

from glorabench.backbones.base import Backbone
from glorabench.backbones.hf_folder import RESAMPLING_ARGUMENT, quiet_transformers, takes_resampling
from glorabench.backbones.quantized import dequantize_linears
from glorabench.errors import BadInput
from glorabench.inputs import Preprocess
from glorabench.methods.reparam import merge

PILLOW_NUMBERS = {"nearest": 0, "bilinear": 2, "bicubic": 3}
PlainNet = Callable[[], nn.Module]  # builds the network without the method, with a head of the right size


def write_merged(backbone: Backbone, plain: PlainNet, folder: Path) -> None:
    """Merge `backbone` in place and save its weights into `folder`; quantised ones as the numbers they stand for.

    Raises:
        BadInput: the method cannot be merged, or merging made tensors that the original network does not have.
    """
    try:
        merge(backbone.net)
    except BadInput as error:
        raise BadInput(f"to=merged: {error}; to=adapter keeps the method as it is") from error
    dequantize_linears(backbone.net)
    net: Any = plain()
    tensors, shapes = backbone.net.state_dict(), {name: t.shape for name, t in net.state_dict().items()}
    if extra := sorted(tensors.keys() - shapes.keys()):
        raise BadInput(
            f"to=merged: merging makes {len(extra)} tensors that the original network does not have (first: "
            f"{extra[0]}), so no plain checkpoint can hold them: use to=adapter"
        )
    net.load_state_dict(tensors)
    preprocess = backbone.preprocess
    if hasattr(net, "save_pretrained"):
        _write_transformers(net, folder)
        if preprocess is not None:
            _write_processor(preprocess, folder)
        if backbone.tokenizer is not None:
            backbone.tokenizer.save_pretrained(folder)
        return
    assert preprocess is not None
    config = {
        "input_size": (3, preprocess.size, preprocess.size),
        "mean": preprocess.mean,
        "std": preprocess.std,
        "interpolation": preprocess.interpolation,
        "crop_pct": 1.0,  # images are resized, nothing is cut off
        "crop_mode": "squash",
    }
    save_for_hf(net, str(folder), safe_serialization=True, data_config=config)


def _write_transformers(net: Any, folder: Path) -> None:
    net.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["architectures"] = [next(c for c in type(net).__mro__ if c.__module__.startswith("transformers")).__name__]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _write_processor(preprocess: Preprocess, folder: Path) -> None:
    """How images are prepared, as transformers' own processors read it."""
    size = {"height": preprocess.size, "width": preprocess.size}
    processor = {
        "image_processor_type": "ViTImageProcessor",
        **{"do_resize": True, "size": size, "resample": PILLOW_NUMBERS[preprocess.interpolation]},
        **{"do_rescale": True, "do_normalize": True},
        **{"image_mean": list(preprocess.mean), "image_std": list(preprocess.std)},
    }
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(processor, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_merged(folder: Path) -> nn.Module:
    """The network of an exported folder, by the library's own loader, in evaluation mode.

    A transformers model gives logits from token ids, as the backbone does.
    """
    config = json.loads((folder / "config.json").read_text())
    if "architecture" in config:
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    if str(config["architectures"][0]).endswith("ForImageClassification"):
        from transformers import AutoModelForImageClassification

        return _ImageLogits(AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)).eval()
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    with quiet_transformers():
        if config.get("is_encoder_decoder"):
            pair: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True, dtype="auto")
            return _PairLogits(pair).eval()
        return _Logits(AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto")).eval()


class _ImageLogits(nn.Module):
    """The logits of images; positions are resampled where the images are not of the size that the config says."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.settings = {RESAMPLING_ARGUMENT: True} if takes_resampling(type(net)) else {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(pixel_values=images, **self.settings).logits


class _Logits(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.net(input_ids=tokens, use_cache=False).logits


class _PairLogits(nn.Module):
    """The encoder reads the tokens, the decoder repeats them."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.net(input_ids=tokens, decoder_input_ids=self.net._shift_right(tokens), use_cache=False).logits
