"""glorabench: is GLoRA really better than LoRA, on this backbone, for this budget?

In your own code: `adapt`, `merge`, `count`, `save_adapter`, `load_adapter`, `supernet`, `draw_path`, `search`, `run`
and `records` (docs/library.md). Each is imported when it is first used. `records` and `search` are packages, too: they
can be called as the functions of these names.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glorabench.library.adaptation import adapt, count, load_adapter, merge, save_adapter
    from glorabench.library.runs import records, run
    from glorabench.library.supernets import draw_path, search, supernet

__version__ = "0.1.0"
__all__ = [
    "adapt",
    "count",
    "draw_path",
    "load_adapter",
    "merge",
    "records",
    "run",
    "save_adapter",
    "search",
    "supernet",
]
_MODULES = {
    **dict.fromkeys(("adapt", "count", "load_adapter", "merge", "save_adapter"), "adaptation"),
    **dict.fromkeys(("draw_path", "search", "supernet"), "supernets"),
    **dict.fromkeys(("records", "run"), "runs"),
}
_PACKAGES = ("records", "search")


def _function(name: str) -> Any:
    return getattr(import_module(f"glorabench.library.{_MODULES[name]}"), name)


class _CallablePackage(ModuleType):
    """A package that can be called as the function of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _function(self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Root(ModuleType):
    """This package: what it offers is imported when it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name in _PACKAGES:
            return import_module(f"glorabench.{name}")
        if name in _MODULES:
            return _function(name)
        raise AttributeError(f"module 'glorabench' has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root
