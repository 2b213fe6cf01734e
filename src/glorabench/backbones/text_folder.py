"""Read a folder of a language model as Hugging Face saves it: its checks, its weights, its tokenizer."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from glorabench.backbones.hf_folder import checked_sha256, quiet_transformers
from glorabench.backbones.tokenizer_checks import check_tokenizer
from glorabench.backbones.wrapping import check_finite
from glorabench.errors import BadInput, first_line

DTYPES = ("float32", "bfloat16", "float16")
_INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs"  # how a file of Git LFS begins where its content was not fetched


def checked_dtype(dtype: str) -> torch.dtype:
    """The dtype of a name.

    Raises:
        BadInput: no weights of a network that is trained have it.
    """
    if dtype not in DTYPES:
        raise BadInput(f"backbone.dtype '{dtype}' is none of {', '.join(DTYPES)}")
    return getattr(torch, dtype)


def check_text_folder(folder: Path, noun: str) -> None:
    """Refuse a folder in which something is missing, before its weights are loaded.

    Args:
        folder: with `config.json` and `*.safetensors`, in several files where `model.safetensors.index.json` says so.
        noun: of the network, for messages.

    Raises:
        BadInput: naming what is missing.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not (files or (folder / _INDEX).is_file()) or not (folder / "config.json").is_file():
        pickled = " (its *.bin are not read: they may run code)" if any(folder.glob("*.bin")) else ""
        raise BadInput(
            f"backbone.weights_from: no config.json and *.safetensors in {folder}{pickled}. Put a {noun} as Hugging "
            "Face saves it there, or give another folder with backbone.weights_from=PATH; nothing is downloaded"
        )
    if absent := sorted(set(_shards(folder)) - {file.name for file in files}):
        raise BadInput(
            f"backbone.weights_from: {folder / absent[0]} is missing ({len(absent)} of the files that {_INDEX} names): "
            "fetch it again"
        )
    for file in files:
        with file.open("rb") as stream:
            if stream.read(len(_POINTER)) == _POINTER:
                raise BadInput(
                    f"backbone.weights_from: {file} is a pointer of Git LFS, and not the weights: fetch them with `git "
                    "lfs pull`, where the model is gated after its licence was accepted"
                )


def _shards(folder: Path) -> list[str]:
    """The files that the index of a folder names; none where there is no index."""
    path = folder / _INDEX
    if not path.is_file():
        return []
    try:
        return [str(name) for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"backbone.weights_from: {path} cannot be read ({first_line(error)}): fetch it again") from error


def load_text_network(
    kind: Any, folder: Path, sha256: str | None, dtype: torch.dtype, noun: str
) -> tuple[Any, dict[str, str | None]]:
    """The network of a folder, and where its weights come from.

    Args:
        kind: a class of transformers.
        folder: see `check_text_folder`.
        sha256: expected hash of the folder; None accepts any.
        dtype: of the weights.
        noun: of the network, for messages.

    Raises:
        BadInput: the folder is incomplete, altered or of another architecture.
    """
    check_text_folder(folder, noun)
    digest = checked_sha256(folder, sha256)
    try:
        with quiet_transformers():
            answer: Any = kind.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # whatever transformers meets in a file that is none of its models
        raise BadInput(f"{folder} holds no {noun} that can be read ({first_line(error)})") from error
    net, info = answer
    net.__dict__.pop("_weight_conversions", None)  # else an export would go back to the names of the file
    faults = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if faults:
        raise BadInput(
            f"backbone.weights_from: {folder} holds another architecture (first: {faults[0]}): give a {noun}'s folder"
        )
    check_finite(dict(net.named_parameters()), folder)
    return net, {"source": folder.name, "sha256": digest}


def tokenizer_of_network(
    tokenizer_from: Path | None, config: Any, is_pretrained: bool
) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a network, compared with its config where the weights are not random; None without a folder.

    Args:
        tokenizer_from: its folder.
        config: of the network.
        is_pretrained: the weights are not random.

    Raises:
        BadInput: it cannot be read, or it is that of another model.
    """
    if tokenizer_from is None:
        return None
    tokenizer = load_tokenizer(tokenizer_from, config.vocab_size)
    if tokenizer is not None and is_pretrained:
        check_tokenizer(tokenizer, config, tokenizer_from)
    return tokenizer


@lru_cache(maxsize=8)  # a run builds its backbone several times
def load_tokenizer(folder: Path, vocabulary: int) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a folder; None if there is none in it.

    Args:
        folder: as Hugging Face saves it.
        vocabulary: how many tokens the network knows.

    Raises:
        BadInput: it cannot be read, or it has tokens that the network does not know.
    """
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
    if not any((folder / name).is_file() for name in names):
        return None
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever transformers meets in a file that is none of its tokenizers
        raise BadInput(f"{folder} holds no tokenizer that can be read ({first_line(error)})") from error
    if len(tokenizer) > vocabulary:
        raise BadInput(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, but the network knows {vocabulary}: it is of "
            "another model; give the folder of the right one with backbone.tokenizer_from=PATH"
        )
    return tokenizer
