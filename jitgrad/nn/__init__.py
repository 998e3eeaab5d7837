"""Neural networks: the namespace `torch.nn`, functions loaded at once, layers when used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jitgrad.nn import functional as functional

if TYPE_CHECKING:
    from jitgrad.nn import init as init
    from jitgrad.nn import modules as modules
    from jitgrad.nn import parameter as parameter
    from jitgrad.nn import utils as utils
    from jitgrad.nn.modules import *
    from jitgrad.nn.parameter import Parameter as Parameter
else:
    _PARTS = ("init", "modules", "parameter", "utils")

    def __getattr__(name: str) -> Any:
        if name in _PARTS:
            return import_module(f"{__name__}.{name}")
        layers = None if name.startswith("__") else import_module(f"{__name__}.modules")
        if not hasattr(layers, name):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(layers, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PARTS, *dir(import_module(f"{__name__}.modules"))})
