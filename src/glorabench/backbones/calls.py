"""Record what a network calls on one image: every module in order, what it reads and what it gives.

Nothing is computed: the network runs on the meta device, where tensors have shapes and no numbers. Its own weights may
be anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from glorabench.errors import BadInput, first_line


@dataclass(eq=False)
class Call:
    """One call of a module.

    Args:
        path: of the module in the network.
        module: itself.
        start, stop: when the call began and ended, in the order of all beginnings and ends.
        inputs: the tensors that it was given by position.
        output: the tensor that it gave; None if it gave something else.
        is_silent: there was no such call: the network reads the weight of the layer instead.
    """

    path: str
    module: nn.Module
    start: float
    stop: float = -1
    inputs: list[Tensor] = field(default_factory=list)
    output: Tensor | None = None
    is_silent: bool = False

    def is_within(self, other: Call) -> bool:
        """Whether the call happened during another one."""
        return other.start < self.start and self.stop < other.stop


def record_calls(net: nn.Module, side: int) -> list[Call]:
    """The calls of one forward pass on an image of `side` x `side` pixels, in the order in which they began.

    Raises:
        BadInput: the network cannot compute such an image, or not without numbers.
    """
    tensors = {name: tensor.to("meta") for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    dtype = next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32)
    training = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad(), torch.device("meta"), _recording(net) as calls:
            functional_call(net, tensors, (torch.zeros(1, 3, side, side, dtype=dtype, device="meta"),))
    except Exception as error:  # of the network's own code
        raise BadInput(
            f"a {type(net).__name__} cannot be looked at with an image of {side} x {side} pixels "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error
    finally:
        for module, mode in training.items():
            module.training = mode
    return calls


@contextmanager
def _recording(net: nn.Module) -> Iterator[list[Call]]:
    """A list that every call of a module of `net` joins, in the order of their beginnings."""
    calls: list[Call] = []
    open_calls: list[Call] = []
    clock = iter(range(10**9))

    def begin(path: str, module: nn.Module, args: Any) -> None:
        tensors = [argument for argument in args if isinstance(argument, Tensor)]
        calls.append(Call(path, module, next(clock), inputs=tensors))
        open_calls.append(calls[-1])

    def end(output: Any) -> None:
        call = open_calls.pop()
        call.stop = next(clock)
        call.output = output if isinstance(output, Tensor) else None

    with ExitStack() as hooks:
        for path, module in net.named_modules():
            hooks.enter_context(
                module.register_forward_pre_hook(lambda module, args, path=path: begin(path, module, args))
            )
            hooks.enter_context(module.register_forward_hook(lambda _module, _args, output: end(output)))
        yield calls
