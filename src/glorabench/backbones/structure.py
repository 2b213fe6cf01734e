"""Find the roles of the layers of a network that no table is written for.

What decides is what the network calls, in which order and with which shapes (`calls.record_calls`). Names are asked for
one thing alone: which layers are the projections of an attention. A layer of which nothing is known but its kind has
the role `conv` or `linear`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from glorabench.backbones.attentions import PARTS_IN_ORDER, Attention, find_attentions, silent_projections
from glorabench.backbones.base import Backbone, Places, Site
from glorabench.backbones.calls import Call
from glorabench.backbones.layer_kinds import (
    in_width,
    is_image_norm,
    is_matrix,
    is_norm,
    is_numbered,
    out_width,
    starts_with,
)

_GATES = {"fc1_g", "gate_proj", "gate", "w1"}  # of two layers that read the same, the one before the activation


@dataclass(eq=False)
class FeedForward:
    """A feed-forward path: the layers that read its input, the last layer, and its own module where it has one."""

    firsts: list[Call]
    last: Call
    call: Call | None = None


def present_roles(build: Callable[[], Backbone]) -> tuple[str, ...]:
    """The roles of a backbone that is built on the meta device, where tensors take no memory."""
    with torch.device("meta"):
        return tuple(build().roles)


def find_roles(net: nn.Module, calls: Sequence[Call], head: str | None) -> dict[str, Places]:
    """The places of every role.

    Args:
        net: the network.
        calls: of the network, see `record_calls`.
        head: the path of its classifier, which has no role.
    """
    first_calls = {call.path: call for call in reversed(calls)}
    first_calls |= {call.path: call for call in silent_projections(net, first_calls)}
    layers = [
        call
        for call in sorted(first_calls.values(), key=lambda call: call.start)
        if call.path != head and (isinstance(call.module, nn.Linear | nn.Conv2d) or is_norm(call.module))
    ]
    attentions = find_attentions(layers, first_calls)
    blocks = _blocks(layers, first_calls, attentions)
    book = _Book([(block.start, block.stop) for block in blocks])
    counts = Counter(call.path for call in calls)
    for block in blocks:
        inside = [call for call in layers if call.is_within(block)]
        in_block = [attention for attention in attentions if starts_with(attention.path, block.path)]
        _Inside(
            block, inside, in_block, [c for c in calls if c.is_within(block) and counts[c.path] == 1], book
        ).note_all()
    _note_outside(layers, blocks, book)
    return book.places()


class _Book:
    """The sites that have been found; each layer is noted as a whole once, and perhaps by its parts."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        self.spans = spans
        self.sites: dict[str, dict[tuple[str, int], tuple[float, Site]]] = defaultdict(dict)
        self.paths: set[str] = set()

    def note(self, role: str, call: Call | None, rows: slice | None = None, width: int | None = None) -> None:
        """Note that a module has a role; one whose output has no axis of features is left out."""
        if call is None:
            return
        width = out_width(call.module) if width is None else width
        axis = _axis_of(call, width) if rows is None else -1
        if axis is None:
            return
        depth = sum(start <= call.start for start, _ in self.spans) - 1
        if not any(start <= call.start < stop for start, stop in self.spans) and depth >= 0:
            depth += 1  # between blocks: that of the next one
        size, start = (width, 0) if rows is None else (rows.stop - rows.start, rows.start)
        takes_bias = not call.is_silent or getattr(call.module, "bias", None) is not None
        site = Site(call.path, role, depth, size, axis, rows, takes_bias)
        self.sites[role][call.path, start] = (call.start, site)
        self.paths.add(call.path)

    def note_thirds(self, kind: str, call: Call) -> None:
        """Note the equal parts of a fused projection."""
        step = out_width(call.module) // len(kind)
        for number, role in enumerate(kind):
            self.note(role, call, slice(number * step, (number + 1) * step))

    def places(self) -> dict[str, Places]:
        """Role -> places, in the order of calls."""
        ordered = {role: sorted(sites.values(), key=lambda pair: pair[0]) for role, sites in self.sites.items()}
        return {role: Places(tuple(site for _, site in sites)) for role, sites in ordered.items()}


def _axis_of(call: Call, width: int) -> int | None:
    """The axis of the features in the output of a module: -1, or 1 for images; None where no axis is so wide."""
    if isinstance(call.module, nn.Linear):
        return -1
    if isinstance(call.module, nn.Conv2d):
        return 1
    if call.output is None or call.output.ndim not in (2, 3, 4):
        return None
    shape = call.output.shape
    if is_norm(call.module) and len(shape) == 4:
        return 1 if is_image_norm(call.module) else -1
    if len(shape) == 4 and set(shape[1:]) == {width}:  # the shape does not tell, the first layer inside does
        layers = (m for m in call.module.modules() if isinstance(m, nn.Linear | nn.Conv2d))
        first = next(layers, None)
        return None if first is None else 1 if isinstance(first, nn.Conv2d) else -1
    if len(shape) == 4 and shape[1] == width and shape[2] == shape[3]:
        return 1
    return -1 if shape[-1] == width else None


def _blocks(layers: Sequence[Call], calls: Mapping[str, Call], attentions: Sequence[Attention]) -> list[Call]:
    """The modules that repeat: innermost numbered ones with two layers or more that are no part of an attention."""
    matrices = [call for call in layers if not (is_norm(call.module) or call.is_silent)]
    in_attention = {call.path for a in attentions if not is_numbered(a.path) for call in calls.values()
                    if call.path.startswith(f"{a.path}.")}  # fmt: skip
    numbered = [
        call
        for path, call in calls.items()
        if is_numbered(path) and path not in in_attention and sum(c.is_within(call) for c in matrices) > 1
    ]
    inner = [call for call in numbered if not any(other.is_within(call) for other in numbered)]
    blocks = []
    for block in inner:
        in_block = [a for a in attentions if a.path.startswith(f"{block.path}.")]
        blocks += _units(block, matrices, calls, in_block) if len(in_block) > 1 else [block]
    return sorted(blocks, key=lambda call: call.start)


def _units(
    block: Call, matrices: Sequence[Call], calls: Mapping[str, Call], attentions: Sequence[Attention]
) -> list[Call]:
    """The children of a block with several attentions, if each has at most one of them and layers besides it."""
    depth = block.path.count(".") + 1
    children = [call for path, call in calls.items() if path.startswith(f"{block.path}.") and path.count(".") == depth]
    units = [child for child in children if sum(call.is_within(child) for call in matrices) > 1]
    holders = [[unit for unit in units if a.path.startswith(f"{unit.path}.")] for a in attentions]
    if all(len(units) == 1 for units in holders) and len({units[0].path for units in holders}) == len(attentions):
        return units
    return [block]


class _Inside:
    """The layers of one block.

    Args:
        block: the call of the block.
        layers: the calls of its layers.
        attentions: those in it.
        singles: the calls in it of modules that the network calls once.
        book: where sites are noted.
    """

    def __init__(
        self, block: Call, layers: Sequence[Call], attentions: Sequence[Attention], singles: Sequence[Call], book: _Book
    ) -> None:
        self.block, self.attentions, self.singles, self.book = block, attentions, singles, book
        parts = {call.path for attention in attentions for call in attention.layers}
        modules = [a.call for a in attentions if a.call is not None and a.call is not block]
        self.layers = layers
        self.rest = [c for c in layers if c.path not in parts and not any(c.is_within(module) for module in modules)]
        self.norms = [call for call in self.rest if is_norm(call.module)]
        widths = [out_width(call.module) for call in layers if not is_norm(call.module)]
        self.width = widths[-1]

    def note_all(self) -> None:
        """Note the block, its paths, their norms, and the layers that remain."""
        self.book.note("block", self.block, width=self.width)
        path = self._feed_forward_path()
        for attention in self.attentions:
            self._note_attention(attention)
        if path is not None:
            self._note_feed_forward(path)
        if len(self.attentions) <= 1:
            self._note_ends(self.attentions[0] if self.attentions else None, path)
        for call in self.layers:
            if call.path not in self.book.paths and not is_norm(call.module):
                self.book.note(_plain_role(call), call)

    def _note_attention(self, attention: Attention) -> None:
        for kind, calls in attention.projections.items():
            for call in calls:
                self.book.note("qkv", call)
                parent = self._holder(call)
                if len(kind) == 1:
                    self.book.note(kind, call)
                elif parent in PARTS_IN_ORDER:
                    self.book.note_thirds(kind, call)
        self.book.note("o", attention.output)
        if attention.call is not None and attention.call is not self.block:
            self.book.note("attn", attention.call, width=self.width)

    def _holder(self, projection: Call) -> str:
        """The class of the attention that a fused projection belongs to."""
        parent = projection.path.rpartition(".")[0]
        kind = next((type(call.module) for call in self.singles if call.path == parent), type(self.block.module))
        return f"{kind.__module__}.{kind.__name__}"

    def _feed_forward_path(self) -> FeedForward | None:
        """The last pair of layers (or three, where one is a gate) that widens the stream and narrows it again."""
        matrices = [call for call in self.rest if is_matrix(call.module)]
        for stop in range(len(matrices), 1, -1):
            last = matrices[stop - 1]
            for firsts in (matrices[max(stop - 3, 0) : stop - 1], [matrices[stop - 2]]):
                gates = sum(_is_gate(call) for call in firsts)
                if (len(firsts), gates) in ((2, 1), (1, 0), (1, 1)) and (path := self._feed_forward(firsts, last)):
                    return path
        return None

    def _feed_forward(self, firsts: list[Call], last: Call) -> FeedForward | None:
        narrow, wide, hidden = in_width(firsts[0].module), out_width(firsts[0].module), in_width(last.module)
        alike = len({(in_width(call.module), out_width(call.module)) for call in firsts}) == 1
        if not (alike and narrow == out_width(last.module) == self.width <= hidden and hidden in (wide, wide / 2)):
            return None
        path = _common_path([*firsts, last])
        module = next((call for call in self.singles if call.path == path), None)
        if module is None and isinstance(last.module, nn.Conv2d):
            return None  # an inverted bottleneck, whose layers are convolutions among others
        return FeedForward(firsts, last, module)

    def _note_feed_forward(self, path: FeedForward) -> None:
        for call in path.firsts:
            self.book.note("fc1", call)
        self.book.note("fc2", path.last)
        if len(path.firsts) == 2:
            for call in path.firsts:
                self.book.note("gate" if _is_gate(call) else "up", call)
            self.book.note("down", path.last)
        self.book.note("mlp", path.call, width=self.width)

    def _note_ends(self, attention: Attention | None, path: FeedForward | None) -> None:
        """Note where the two paths of a block begin and end, and their norms."""
        first = attention.call if attention and attention.call is not self.block else None
        second = path.call if path else None
        norm2 = self._norm_before(path.firsts[0], second) if path else None
        before = first or (attention.layers[0] if attention else None)
        norm1 = self._last([c for c in self.norms if before and c.stop < before.start])
        if attention is None and norm2 is not None:
            norm1 = self._last([c for c in self.norms if c.stop < norm2.start])
        for number, call, norm, start in (("1", first, norm1, before), ("2", second, norm2, second)):
            after = norm or self._norm_after(call, second if number == "1" else None)
            self.book.note(f"norm{number}", after)
            if norm is not None or start is not None:
                self.book.note(f"in{number}", norm or start, width=self.width)
        stop = (norm2 or second or path.firsts[0]).start if path else self.block.stop
        self.book.note("out1", self._end(first, stop), width=self.width)
        self.book.note("out2", self._end(second, self.block.stop), width=self.width)

    def _norm_before(self, first: Call, module: Call | None) -> Call | None:
        """The norm whose output is what a path reads."""
        readers = [call for call in (module, first) if call is not None]
        for norm in self.norms:
            if any(norm.output is not None and norm.output is tensor for call in readers for tensor in call.inputs):
                return norm
        return None

    def _norm_after(self, module: Call | None, following: Call | None) -> Call | None:
        """The norm behind a path, before the next one begins, where none stands in front of it."""
        if module is None:
            return None
        stop = following.start if following is not None else self.block.stop
        return next((norm for norm in self.norms if module.stop < norm.start < stop), None)

    def _end(self, module: Call | None, stop: float) -> Call | None:
        """The last module of a path that gives what the path adds to the stream: behind it no other layer comes."""
        if module is None or (axis := _axis_of(module, self.width)) is None:
            return None
        depth = self.block.path.count(".") + 1
        behind = [c for c in self.singles if module.stop < c.start < stop and c.path.count(".") == depth]
        candidates = [c for c in behind if _axis_of(c, self.width) == axis]
        return self._last(candidates) or module

    @staticmethod
    def _last(calls: Iterable[Call]) -> Call | None:
        return max(calls, key=lambda call: call.start, default=None)


def _is_gate(call: Call) -> bool:
    return not _GATES.isdisjoint(call.path.split("."))


def _common_path(calls: Sequence[Call]) -> str:
    """The path of the innermost module that holds all of these."""
    parts = zip(*(call.path.split(".") for call in calls), strict=False)
    shared: list[str] = []
    for names in parts:
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)


def _plain_role(call: Call) -> str:
    """The role of a layer of which only the kind is known."""
    if not isinstance(call.module, nn.Conv2d):
        return "linear"
    if any(word in call.path for word in ("downsample", "shortcut")):
        return "downsample"
    if "se" in call.path.split("."):
        return "squeeze"
    return "dwconv" if call.module.groups == call.module.in_channels > 1 else "conv"


def _note_outside(layers: Sequence[Call], blocks: Sequence[Call], book: _Book) -> None:
    """Note the layers before, between and behind the blocks."""
    outside = [call for call in layers if not any(call.is_within(block) for block in blocks)]
    first = min((block.start for block in blocks), default=-1)
    last = max((block.stop for block in blocks), default=-1)
    for call in outside:
        norm = is_norm(call.module)
        if call.start < first:
            book.note("stem_norm" if norm else "stem", call)
        elif call.start < last:
            book.note("downsample_norm" if norm else "downsample", call)
        elif not norm:
            book.note(_plain_role(call), call)
        elif "norm" not in book.sites:
            book.note("norm", call)
