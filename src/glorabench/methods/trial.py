"""Try an adapted network once: does it use all that a method has put into it?

The roles of layers were written for some classes of networks. With a network of another class, a method that does not
fit is refused when it is injected, and not during training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from glorabench.backbones.base import Backbone
from glorabench.errors import BadInput, first_line
from glorabench.methods.reparam import Reparametrized


def try_forward(backbone: Backbone, paths: Iterable[str], method_name: str) -> None:
    """Let an adapted network compute one image. No random number is used, and nothing is changed.

    Args:
        backbone: with the method in it.
        paths: of the modules that the method has put in.
        method_name: of the method.

    Raises:
        BadInput: the network fails, does not use one of the modules, or its output is not that of its head.
    """
    net, head = backbone.net, backbone.classifier
    if backbone.preprocess is None or head is None:
        return
    modules = {path: net.get_submodule(path) for path in paths}
    refusal = f"{method_name} does not fit {backbone.name}, a {type(net).__name__}"
    with _eval_mode(net), _output_hooks([*modules.values(), head]) as outputs, torch.enable_grad():
        side, weight = backbone.preprocess.size, head.weight
        try:
            logits = net(torch.zeros(1, 3, side, side, device=weight.device, dtype=weight.dtype))
        except Exception as error:  # of timm's code, which expects other layers
            raise BadInput(f"{refusal}: {type(error).__name__}: {first_line(error)}") from error
        if logits is not outputs.get(head):
            raise BadInput(f"{refusal}: its output is not that of the head alone: choose another model")
        for path, module in modules.items():
            if module not in outputs and not _is_read(module, logits):
                raise BadInput(
                    f"{refusal}: its code does not call {path}, so it would miss a part of what is put there: leave it "
                    "out of method.targets"
                )


def _is_read(module: nn.Module, logits: Tensor) -> bool:
    """Whether the output depends on all parameters on which the weight and the bias of an adapted layer depend."""
    if not isinstance(module, Reparametrized):
        return False
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    sums = [tensor.sum() for tensor in module.fold() if tensor is not None and tensor.requires_grad]
    if not sums:
        return True
    of_layer = torch.autograd.grad(sums, parameters, allow_unused=True)
    if not logits.requires_grad:
        return False
    of_output = torch.autograd.grad(logits.sum(), parameters, allow_unused=True, retain_graph=True)
    pairs = zip(of_layer, of_output, strict=True)
    return not any(in_layer is not None and in_output is None for in_layer, in_output in pairs)


@contextmanager
def _eval_mode(net: nn.Module) -> Iterator[None]:
    """No dropout and drop-path inside the block; afterwards each module is in its own mode again."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _output_hooks(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Any]]:
    """Module -> its last output, for each of the modules that was called."""
    outputs: dict[nn.Module, Any] = {}

    def keep_output(module: nn.Module, _: Any, output: Any) -> None:
        outputs[module] = output

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(keep_output))
        yield outputs
