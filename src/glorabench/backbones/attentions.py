"""Find the attentions of a network: their projections by name, their output layer by the order of calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from glorabench.backbones.calls import Call
from glorabench.backbones.layer_kinds import is_matrix, is_norm, is_numbered, starts_with

# the names that authors give to projections, and what each holds
PROJECTIONS: Mapping[str, str] = {
    **dict.fromkeys(("qkv", "qkvs", "Wqkv", "qkv_proj", "to_qkv"), "qkv"),
    **dict.fromkeys(("kv", "kv_proj", "to_kv"), "kv"),
    **dict.fromkeys(("qk",), "qk"),
    **dict.fromkeys(("q", "q_proj", "query", "to_query", "to_q", "wq", "q_lin"), "q"),
    **dict.fromkeys(("k", "k_proj", "key", "to_key", "to_k", "wk", "k_lin"), "k"),
    **dict.fromkeys(("v", "v_proj", "value", "to_value", "to_v", "wv", "v_lin"), "v"),
}
_INNER_NAMES = {"conv", "linear", "proj", "dense", "c", "fn", "0", "1"}  # of the one layer inside a projection
# attention whose fused projections are one part behind the other, so that equal shares of the rows are q, k and v;
# tests/backbones/test_structure.py holds each class to it
PARTS_IN_ORDER = {
    "timm.layers.attention.Attention",
    "timm.layers.attention.AttentionRope",
    "timm.layers.attention_pool.AttentionPoolLatent",
    "timm.models.beit.Attention",
    "timm.models.cait.TalkingHeadAttn",
    "timm.models.convit.GPSA",
    "timm.models.convit.MHSA",
    "timm.models.davit.WindowAttention",
    "timm.models.edgenext.CrossCovarianceAttn",
    "timm.models.eva.EvaAttention",
    "timm.models.gcvit.WindowAttentionGlobal",
    "timm.models.hiera.MaskUnitAttention",
    "timm.models.hieradet_sam2.MultiScaleAttention",
    "timm.models.metaformer.Attention",
    "timm.models.nest.Attention",
    "timm.models.pvt_v2.Attention",
    "timm.models.swin_transformer.WindowAttention",
    "timm.models.swin_transformer_v2.WindowAttention",
    "timm.models.swin_transformer_v2_cr.WindowMultiHeadAttention",
    "timm.models.tnt.Attention",
    "timm.models.twins.GlobalSubSampleAttn",
    "timm.models.twins.LocallyGroupedAttn",
    "timm.models.vision_transformer_relpos.RelPosAttention",
    "timm.models.vision_transformer_sam.Attention",
    "timm.models.visformer.Attention",
    "timm.models.volo.Attention",
    "timm.models.volo.ClassAttention",
    "timm.models.xcit.XCA",
}


@dataclass(eq=False)
class Attention:
    """An attention: its projections by what they hold, its output layer, and its own module where it has one."""

    path: str
    projections: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    output: Call | None = None
    call: Call | None = None

    @property
    def layers(self) -> list[Call]:
        """Projections and output layer, in the order of calls."""
        calls = [call for group in self.projections.values() for call in group]
        return sorted([*calls, *filter(None, [self.output])], key=lambda call: call.start)


def silent_projections(net: nn.Module, calls: Mapping[str, Call]) -> Iterator[Call]:
    """The projections whose weights an attention reads without calling them, as calls at its beginning."""
    for path, module in net.named_modules():
        if path in calls or not isinstance(module, nn.Linear) or (name_parts := _projection_of(path)) is None:
            continue
        if holder := calls.get(name_parts[1]):
            yield Call(path, module, holder.start + 0.3, holder.start + 0.6, holder.inputs, None, is_silent=True)


def _projection_of(path: str) -> tuple[str, str] | None:
    """What a layer of an attention holds by its name, and the path of the module that has the projections."""
    parts = path.split(".")
    for end in range(len(parts), 1, -1):
        name = parts[end - 1]
        if name in PROJECTIONS:
            return PROJECTIONS[name], ".".join(parts[: end - 1])
        if name not in _INNER_NAMES:
            return None
    return None


def find_attentions(layers: Sequence[Call], calls: Mapping[str, Call]) -> list[Attention]:
    """Every attention: a module whose parts are named as its projections."""
    by_path: dict[str, Attention] = {}
    for call in layers:
        if is_norm(call.module) or not is_matrix(call.module) or (name_parts := _projection_of(call.path)) is None:
            continue
        kind, path = name_parts
        by_path.setdefault(path, Attention(path)).projections[kind].append(call)
    attentions = []
    for attention in by_path.values():
        kinds = set(attention.projections)
        if not any(needed <= kinds for needed in ({"qkv"}, {"q", "k", "v"}, {"q", "kv"}, {"qk", "v"})):
            continue
        parent = attention.path.rpartition(".")[0]
        for path in (attention.path, *([parent] if not is_numbered(parent) else [])):
            if output := _output_layer(attention, path, layers):
                attention.path, attention.output = path, output
                break
        attention.call = calls.get(attention.path)
        attentions.append(attention)
    return attentions


def _output_layer(attention: Attention, path: str, layers: Sequence[Call]) -> Call | None:
    """The last matrix of the attention's own module; in a module that holds more, the first behind the projections."""
    start = attention.layers[-1].start
    behind = [c for c in layers if c.start > start and starts_with(c.path, path) and is_matrix(c.module)]
    if not behind:
        return None
    return behind[-1] if path == attention.path and not is_numbered(path) else behind[0]
