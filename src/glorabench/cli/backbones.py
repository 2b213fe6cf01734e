"""The command `backbone`: the roles of the layers of a network, and which methods it can host. Light until called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from glorabench.cli.options import Form, FormOption, Into
from glorabench.errors import BadInput

if TYPE_CHECKING:
    from glorabench.reports.rendering import Part


def backbone(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME [WORD]...",
            help="A model of timm, a backbone of conf/, or a folder of Hugging Face's; then words such as "
            "backbone.image_size=96. Without a name: a table of families and methods.",
        ),
    ] = None,
    form: Annotated[Form, FormOption] = "text",
    into: Into = None,
) -> int:
    """Print the roles of a backbone's layers, and which methods fit.

    No weights are needed and nothing is downloaded. Layers that repeat are one line, with * for their numbers.
    `q[0/3]` is the first third of the rows of a layer.

    Examples:
        glorabench backbone swin_tiny_patch4_window7_224
        glorabench backbone vit_b16
        glorabench backbone resnet50 'backbone.roles={fc2: layer*.conv3}'
        glorabench backbone --into docs/backbones.md        families and methods, and why some do not go together

    Raises:
        BadInput: there is no such backbone, or a word is wrong.
    """
    from glorabench.reports.rendering import output_parts

    parts = _of_one(*backbone_words(words)) if words else [_of_families()]
    output_parts(parts, form, into, "table:backbones")
    return 0


def backbone_words(words: Sequence[str]) -> tuple[str, list[str]]:
    """The name of a backbone, and the words of a config that choose it.

    Raises:
        BadInput: the first word is no name.
    """
    from pathlib import Path

    from glorabench.config.paths import options

    name, *rest = words
    if "=" in name:
        if not name.startswith("backbone="):
            raise BadInput(f"'{name}': the name of a backbone comes first: glorabench backbone resnet50 {name}")
        return name.partition("=")[2], [name, *rest]
    if name in options("backbone"):
        return name, [f"backbone={name}", *rest]
    if Path(name).expanduser().is_dir():
        return name, ["backbone=hf_vision", f"backbone.model={name}", *rest]
    return name, ["backbone=timm", f"backbone.model={name}", *rest]


def _of_one(name: str, words: Sequence[str]) -> list[Part]:
    """Two tables: layers and methods."""
    from glorabench.backbones.listing import layer_lines
    from glorabench.backbones.quantized import numbers_of
    from glorabench.reports.tables.hosting import layers_part, methods_part
    from glorabench.training.measure.hosting import hostings
    from glorabench.training.measure.profiling import backbone_without_method

    plain = backbone_without_method(words)
    lines = [(line.path, str(line.count), line.kind, line.shape, line.roles) for line in layer_lines(plain)]
    size = numbers_of(plain.net, plain.net.parameters()) - sum(p.numel() for p in plain.head_parameters())
    reads = f"images of {plain.preprocess.size} x {plain.preprocess.size} pixels" if plain.preprocess else "tokens"
    title = f"{name}: a {type(plain.net).__name__}, {size:,} parameters without head, reads {reads}"
    return [layers_part(title, lines), methods_part(list(hostings(words)))]


def _of_families() -> Part:
    """The table of conf/families.yaml."""
    from glorabench.analysis.hosting import load_families
    from glorabench.reports.tables.hosting import families_part
    from glorabench.training.measure.hosting import hostings

    families = load_families()
    return families_part(families, {name: list(hostings(words)) for name, words in families.items()})
