"""Writes docs/networks.md, modules and optimisers beside PyTorch's: `python tests/networks_report.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beside_torch import Array, Call, as_array, evaluated
from test_nn_modules import ACTIVATIONS, LAYERS, LOSSES, applied, near
from test_optim import DTYPES, OPTIONS, STEPS, Run

import jitgrad

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
INTRODUCTION = f"""# Modules and optimisers beside PyTorch

The largest difference from live PyTorch. Modules run in float64 with equal parameters, in training mode:
results, gradients of arguments and parameters, and buffers after the step are compared. Optimisers take
{STEPS} steps. `python tests/networks_report.py` writes this page again; `tests/test_nn_modules.py` and
`tests/test_optim.py` hold the same cases, and texts, states and errors besides.
"""


def difference(call: Call, arrays: Sequence[Array]) -> float:
    """The largest between the results and derivatives of a call in both libraries."""
    (theirs, _), (ours, _) = (evaluated(library, call, arrays, False) for library in (torch, jitgrad))
    assert len(ours) == len(theirs)
    pairs = [
        (as_array(x), as_array(y))
        for x, y in zip(ours, theirs, strict=True)
        if x is not None and y is not None
    ]
    return max((float(np.max(np.abs(x - y), initial=0.0)) for x, y in pairs if x.dtype != bool), default=0.0)


def modules() -> Iterator[tuple[str, str]]:
    cases = [*LAYERS, *((make, (near(2, 4, 3, 2),)) for make in ACTIVATIONS)]
    for make, arrays in cases:
        shapes = ", ".join("x".join(map(str, a.shape)) for a in arrays)
        text = " ".join(repr(make(torch.nn)).split())
        yield f"`{text}` of {shapes}", f"{difference(applied(make), arrays):.1e}"


def losses() -> Iterator[tuple[str, str]]:
    for name, options, arrays in LOSSES:
        given = ", ".join(f"{k}={v!r}" for k, v in options.items())

        def call(library: Any, *inputs: Any, name: str = name, options: dict[str, Any] = options) -> Any:
            return getattr(library.nn, name)(**options)(*inputs)

        yield f"`{name}({given})`", f"{difference(call, arrays):.1e}"


def optimisers() -> Iterator[tuple[str, ...]]:
    for name, options in OPTIONS:
        given = ", ".join(f"{k}={v!r}" for k, v in options.items())
        found = []
        for dtype in DTYPES:
            ours, theirs = (
                Run(library, name, options, dtype).step().values() for library in (jitgrad, torch)
            )
            found.append(max(float(np.max(np.abs(x - y))) for x, y in zip(ours, theirs, strict=True)))
        yield f"`{name}({given})`", *(f"{value:.1e}" for value in found)


def missing(package: str) -> str:
    """The public classes of a package of PyTorch that are not offered."""
    theirs, ours = getattr(torch, package), getattr(jitgrad, package)
    names = [name for name in dir(theirs) if isinstance(getattr(theirs, name), type) and name[0].isupper()]
    return ", ".join(f"`{name}`" for name in names if not hasattr(ours, name)) or "none"


def table(headings: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page() -> str:
    parts = [
        INTRODUCTION,
        "## Modules\n",
        table(["module", "difference"], modules()),
        f"\nNot offered of `torch.nn`: {missing('nn')}.\n\n## Losses\n",
        table(["loss", "difference"], losses()),
        "\n## Optimisers\n",
        table(["optimiser", "float32", "float64"], optimisers()),
        f"\nNot offered of `torch.optim`: {missing('optim')}.\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    text = page()
    if "--print" in sys.argv:
        print(text)
    else:
        PAGE.write_text(text)
