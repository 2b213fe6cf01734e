"""Hugging Face peft (github.com/huggingface/peft): any of its tuners that adapt layers, chosen by its config class.

Roles become module names, peft puts its layers in, and each of them is wrapped so that it is counted, merged and
certified like every other method. Over a layer of half precision adapters are float32, as in peft.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.backbones.bitsandbytes_library import preload_bitsandbytes
from glorabench.backbones.quantized import QuantizedLinear
from glorabench.errors import BadInput, nearest
from glorabench.methods.base import Method
from glorabench.methods.reparam import Foldable, set_weights

preload_bitsandbytes()
from peft.config import PeftConfig  # noqa: E402
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING  # noqa: E402
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer  # noqa: E402

CONFIGS = {config.__name__: config for config in PEFT_TYPE_TO_CONFIG_MAPPING.values()}
TUNERS = {config.__name__: PEFT_TYPE_TO_TUNER_MAPPING.get(kind) for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
RUN_ARGUMENTS = {
    "target_modules",
    "modules_to_save",
    "megatron_config",
    "megatron_core",
    *(field.name for field in fields(PeftConfig)),
}  # the run decides these
UNSUPPORTED_VALUES = {
    "init_lora_weights": ("corda", "eva", "lora_ga"),
    "use_asa": (True,),
}  # else peft falls back in silence


class PeftLayer(Foldable):
    """A layer with peft's adapter. `layer` is the original one, frozen; `tuned` is peft's layer around it."""

    def __init__(self, tuned: nn.Module) -> None:
        super().__init__()
        assert isinstance(tuned, BaseTunerLayer)
        self.layer = tuned.get_base_layer()
        self.tuned = tuned

    def forward(self, x: Tensor) -> Tensor:
        """What peft's layer computes."""
        return self.tuned(x)

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """The layer after peft's own merge, computed in at least fp32, then cast back.

        Of a quantised layer peft would quantise the result again. Here it becomes a plain one, by what it computes.
        """
        if isinstance(self.layer, QuantizedLinear):
            return _plain_layer(self.tuned, self.layer)
        dtype = self.layer.get_parameter("weight").dtype
        tuned: Any = self.tuned.to(torch.promote_types(dtype, torch.float32))
        tuned.merge()
        return tuned.get_base_layer().requires_grad_(False).to(dtype)

    @cached_property
    def obstacle(self) -> str | None:
        """Why peft cannot merge the layer: the error of a trial merge on a copy, made once."""
        try:
            copy.deepcopy(self).merge()
        except Exception as error:  # peft raises many kinds
            return f"peft does not merge such a layer: {_one_line(error)}"
        return None


def _plain_layer(tuned: nn.Module, layer: QuantizedLinear) -> nn.Linear:
    """The linear layer that computes what peft's layer does: its weight is read off unit vectors, in fp32.

    Raises:
        ValueError: it is not linear in its input.
    """
    tuned = tuned.eval()
    place = {"device": layer.weight.device, "dtype": torch.float32}
    bias = tuned(torch.zeros(1, layer.in_features, **place))[0]
    weight = (tuned(torch.eye(layer.in_features, **place)) - bias).T.contiguous()
    x = torch.linspace(-1, 1, layer.in_features, **place)[None]
    y, exact = F.linear(x, weight, bias), tuned(x)
    if not (y - exact).abs().max() <= 1e-3 * exact.abs().max():
        raise ValueError("what it computes is not linear in its input")
    plain = layer.plain()
    set_weights(plain, weight, bias if layer.bias is not None or bool(bias.any()) else None)
    return plain


@dataclass(frozen=True)
class Peft(Method):
    """A tuner of peft on whole layers.

    Args:
        config: name of peft's config class, such as LoraConfig.
        args: its arguments; those that end in `_modules` hold roles.
    """

    config: str
    args: Mapping[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.args, Mapping):
            raise BadInput(f"method.args holds names and values: 'method.args={{r: 8}}', got {self.args!r}")
        object.__setattr__(self, "args", dict(self.args))
        if self.config not in CONFIGS:
            raise BadInput(f"peft has no config class '{self.config}'{nearest(self.config, CONFIGS)}")
        tuner, arguments = TUNERS[self.config], {field.name for field in fields(CONFIGS[self.config])}
        if not (inspect.isclass(tuner) and issubclass(tuner, BaseTuner)) or "token_indices" in arguments:
            raise BadInput(
                f"method.config={self.config} works on the tokens or caches of a whole transformers model, on no layer "
                "that a role could name: choose the config class of an adapter"
            )
        if tuner.forward is not BaseTuner.forward:
            raise BadInput(
                f"method.config={self.config} takes part in every forward pass of the whole model, which its layers "
                "alone cannot do: choose another config class"
            )
        for name, value in self.args.items():
            if name in RUN_ARGUMENTS:
                raise BadInput(
                    f"method.args.{name} is not yours to set, targets and head are those of the run: drop it"
                )
            if name not in arguments:
                raise BadInput(
                    f"peft's {self.config} has no argument '{name}'{nearest(name, arguments - RUN_ARGUMENTS)}"
                )
            if value in UNSUPPORTED_VALUES.get(name, ()):
                raise BadInput(f"method.args.{name}={value} needs steps outside of training that no run takes: drop it")
        for name, roles in self._roles().items():
            if unknown := [role for role in roles if role not in self.targets]:
                raise BadInput(f"method.args.{name} names '{unknown[0]}', which is not in method.targets")
        self._peft_config({name: list(roles) for name, roles in self._roles().items()})

    def _roles(self) -> dict[str, tuple[str, ...]]:
        """The arguments that hold roles."""
        modules = {name: value for name, value in self.args.items() if name.endswith("_modules")}
        return {"target_modules": self.targets} | {
            name: (value,) if isinstance(value, str) else tuple(value or ()) for name, value in modules.items()
        }

    def _peft_config(self, modules: Mapping[str, list[str] | str]) -> PeftConfig:
        """The config object, with names of modules where roles were."""
        try:
            return CONFIGS[self.config](**{**copy.deepcopy(dict(self.args)), **modules})
        except Exception as error:  # whatever peft meets in values that are not for it
            raise BadInput(f"peft's {self.config} refuses method.args: {_one_line(error)}") from error

    def setup(self, backbone: Backbone) -> None:
        """Peft's layers, put in for the whole network at once: some tuners share tensors between layers.

        Raises:
            BadInput: a role is a part of a layer, or peft cannot adapt it, or adapts something else.
        """
        sites = self.sites(backbone, self.targets)
        for site in sites:
            if site.rows is not None:
                raise BadInput(
                    f"peft adapts whole layers, role '{site.role}' is a part of {site.path}: name the whole (qkv)"
                )
            if not site.takes_bias:
                raise BadInput(
                    f"peft replaces whole layers, and the network reads the weight of {site.path} instead of calling "
                    f"it: take '{site.role}' out of targets"
                )
        paths = [path for path, _ in backbone.net.named_modules()]
        modules = {
            name: peft_module_names(paths, [site.path for site in sites if site.role in roles])
            for name, roles in self._roles().items()
        }
        config, tuner = self._peft_config(modules), cast(Any, TUNERS[self.config])
        try:
            tuner(backbone.net, config, "default")._cast_adapter_dtype("default")
        except Exception as error:  # whatever peft meets in layers and values that are not for it
            rejects = [s for s in sites if not isinstance(backbone.net.get_submodule(s.path), BaseTunerLayer)]
            place = f"role '{rejects[0].role}' ({rejects[0].path})" if rejects else backbone.name
            raise BadInput(f"peft's {self.config} cannot adapt {place}: {_one_line(error)}") from error
        del backbone.net.peft_config
        self._check_reads(backbone)
        adapters = {path for path, module in backbone.net.named_modules() if isinstance(module, BaseTunerLayer)}
        if mismatch := adapters ^ {site.path for site in sites}:
            raise BadInput(
                f"peft's {self.config} does not adapt what method.targets says, see {min(mismatch)}: it takes no such "
                "layer, or method.args chooses layers too"
            )

    def _check_reads(self, backbone: Backbone) -> None:
        """Refuse layers of peft that would take the codes of a quantised weight for the weight itself."""
        for path, module in backbone.net.named_modules():
            if not isinstance(module, BaseTunerLayer):
                continue
            is_quantized = isinstance(module.get_base_layer(), QuantizedLinear)
            if is_quantized and not type(module).__module__.endswith(".bnb"):
                raise BadInput(
                    f"peft's {self.config} does not read the quantised weight of {path}: use a method of this package, "
                    "or LoraConfig with backbone.quantize=nf4, or backbone.quantize=null"
                )

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> nn.Module:
        """Peft's layer in a wrapper that can be merged."""
        return PeftLayer(layer)

    def unfreeze(self, backbone: Backbone) -> Iterable[nn.Parameter]:
        """What peft itself trains of the backbone (`bias` of some config classes)."""
        return [parameter for parameter in backbone.net.parameters() if parameter.requires_grad]


def peft_module_names(paths: Sequence[str], targets: Sequence[str]) -> list[str] | str:
    """The names of layers, as peft takes them.

    Peft takes ends of names, by which some tuners group layers that share tensors. If these ends match other layers
    too, peft gets a regular expression of the whole names.

    Args:
        paths: of all modules of the network.
        targets: of the layers.
    """
    ends = sorted({re.split(r"(?:^|\.)\d+\.", path)[-1] for path in targets})
    matches = [path for path in paths if any(path == end or path.endswith(f".{end}") for end in ends)]
    return ends if sorted(matches) == sorted(targets) else "|".join(map(re.escape, targets))


def _one_line(error: BaseException) -> str:
    """The message of an error in one line; its kind if it has no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__
