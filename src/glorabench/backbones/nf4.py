"""Four bits a number: NormalFloat 4 (Dettmers et al. 2023, arXiv 2305.14314), in the format of bitsandbytes.

Blocks of 64 numbers share a scale. With double quantisation the scales take eight bits, and 256 of them share one.
Import this file only where bitsandbytes is there (see `quantized.check_scheme`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from glorabench.backbones.bitsandbytes_library import import_bitsandbytes
from glorabench.backbones.quantized import QuantizedLinear

_library: Any = import_bitsandbytes("backbone.quantize=nf4")
BLOCK = 64  # numbers that share a scale
SCALES = 256  # scales that share a scale, with double quantisation


class NF4Linear(QuantizedLinear, _library.nn.Linear4bit):
    """bitsandbytes' layer, for its format and so that peft knows it, with our own product.

    On processors with AVX512-BF16 the library's own forward pass changes the codes, in evaluation, so that nothing can
    read them any more; of a layer whose rows are no multiple of 32 it fails.
    """

    weight: Any

    def __init__(self, layer: nn.Linear, double_quant: bool) -> None:
        dtype = layer.weight.dtype
        form: dict[str, Any] = {"compress_statistics": double_quant, "quant_type": "nf4"}
        place: dict[str, Any] = {"bias": False, "compute_dtype": dtype, "device": "meta"}
        super().__init__(layer.in_features, layer.out_features, **place, **form)
        self.dtype, self.double_quant = dtype, double_quant
        self.row_step = BLOCK // math.gcd(BLOCK, layer.in_features)
        weight = _library.nn.Params4bit(layer.weight.detach(), requires_grad=False, **form)
        self.weight = weight.to(weight.device)  # this quantises, except on the meta device
        self.bias = layer.bias

    def dequantize(self, rows: slice = slice(None)) -> Tensor:
        """The numbers of the codes, times the scales of their blocks."""
        state, i = self.weight.quant_state, self.in_features
        if state is None:  # on the meta device
            return self.weight.detach()[rows]
        start, stop, _ = rows.indices(self.out_features)
        first = start // self.row_step * self.row_step
        last = min(-(-stop // self.row_step) * self.row_step, self.out_features)
        codes = self.weight.detach().view(-1)[first * i // 2 : -(-last * i // 2)]
        scales = self._scales(state)[first * i // BLOCK : -(-last * i // BLOCK)]
        # as one row: of rows of 32 or 96 numbers the library's code for processors gives wrong ones
        numbers = torch.ops.bitsandbytes.dequantize_4bit.default(
            codes, scales, BLOCK, "nf4", ((last - first) * i,), self.dtype
        )
        return numbers.view(-1, i)[start - first : stop - first]

    @staticmethod
    def _scales(state: Any) -> Tensor:
        """The scales of all blocks, in float32."""
        if not state.nested:
            return state.absmax
        return _library.functional.dequantize_blockwise(state.absmax, state.state2) + state.offset

    def stored_bytes(self) -> int:
        """Codes, scales and the tables that decode them."""
        state = self.weight.quant_state
        if state is None:
            return nf4_bytes(self.out_features * self.in_features, self.double_quant)
        tensors = [self.weight, state.absmax, state.code]
        tensors += [state.offset, state.state2.absmax, state.state2.code] if state.nested else []
        return sum(tensor.nbytes for tensor in tensors)

    def again(self, layer: nn.Linear) -> QuantizedLinear:
        """The same for another layer."""
        return NF4Linear(layer, self.double_quant)


def nf4_bytes(numbers: int, double_quant: bool) -> int:
    """Bytes of a weight of so many numbers, without the tables that decode it, which are the same for all sizes."""
    blocks = -(-numbers // BLOCK)
    scales = blocks + 4 * -(-blocks // SCALES) if double_quant else 4 * blocks
    return -(-numbers // 2) + scales
