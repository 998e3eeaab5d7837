"""What a function computes and how: tables of traces.

>>> import jitgrad
>>> table = jitgrad.viz.trace_table(lambda x: x * x, 3.0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LATER = {"trace_table": "jitgrad.viz.traces"}

if TYPE_CHECKING:
    from jitgrad.viz.traces import trace_table as trace_table
else:

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
