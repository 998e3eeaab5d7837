"""Pictures of graphs and tables of traces, loaded when first used.

>>> import jitgrad
>>> x = jitgrad.tensor(3.0, requires_grad=True)
>>> picture = jitgrad.viz.make_dot(2 * x, {"x": x}, show_partials=True)
>>> [box.lines[0] for box in picture.boxes]
['output', 'MulBackward0', 'x']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LATER = {
    "Picture": "jitgrad.viz.picture",
    "draw_graph": "jitgrad.viz.functions",
    "draw_model": "jitgrad.viz.models",
    "make_dot": "jitgrad.viz.tape",
    "trace_table": "jitgrad.viz.traces",
}

if TYPE_CHECKING:
    from jitgrad.viz.functions import draw_graph as draw_graph
    from jitgrad.viz.models import draw_model as draw_model
    from jitgrad.viz.picture import Picture as Picture
    from jitgrad.viz.tape import make_dot as make_dot
    from jitgrad.viz.traces import trace_table as trace_table
else:

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
