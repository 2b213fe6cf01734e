"""One forward pass through a network of another class than the roles were written for, so that a method that does not
fit it is refused when it is put in and not after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from glorabench.backbones.base import Backbone
from glorabench.errors import BadInput, first_line
from glorabench.methods.reparam import Reparametrized


def trial(backbone: Backbone, paths: Iterable[str], method: str) -> None:
    """Let an adapted network compute one image, without a random number and without a trace.

    Args:
        backbone: with the method in it.
        paths: of the modules that the method has put in.
        method: what it is called.

    Raises:
        BadInput: the network fails, does not use what was put in, or gives something else than its head does.
    """
    net, head = backbone.net, backbone.classifier
    if backbone.preprocess is None or head is None:
        return
    modules = {path: net.get_submodule(path) for path in paths}
    refused = f"{method} does not fit {backbone.name}, a {type(net).__name__}"
    with _evaluated(net), _calls([*modules.values(), head]) as calls, torch.enable_grad():
        side, weight = backbone.preprocess.size, head.weight
        try:
            logits = net(torch.zeros(1, 3, side, side, device=weight.device, dtype=weight.dtype))
        except Exception as error:  # of timm's code, which expects other layers
            raise BadInput(f"{refused}: {type(error).__name__}: {first_line(error)}") from error
        if logits is not calls.get(head):
            raise BadInput(f"{refused}: its output is not that of the head alone: choose another model")
        for path, module in modules.items():
            if module not in calls and not _is_read(module, logits):
                raise BadInput(
                    f"{refused}: its code does not call {path}, so it would miss a part of what is put there: leave it "
                    "out of targets"
                )


def _is_read(module: nn.Module, logits: Tensor) -> bool:
    """Whether the output depends on all that the weight and the bias of an adapted layer depend on."""
    if not isinstance(module, Reparametrized):
        return False
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    folded = [tensor.sum() for tensor in module.folded() if tensor is not None and tensor.requires_grad]
    if not folded:
        return True
    needed = torch.autograd.grad(folded, trained, allow_unused=True)
    if not logits.requires_grad:
        return False
    used = torch.autograd.grad(logits.sum(), trained, allow_unused=True, retain_graph=True)
    return all(there is not None for there, wanted in zip(used, needed, strict=True) if wanted is not None)


@contextmanager
def _evaluated(net: nn.Module) -> Iterator[None]:
    """Without dropout and drop-path; each module is in its own mode again afterwards."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _calls(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Any]]:
    """Module -> what it gave last, of those that were called."""
    calls: dict[nn.Module, Any] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        calls[module] = output

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(note))
        yield calls
