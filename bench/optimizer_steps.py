"""What one step of an optimiser costs beside PyTorch's: `python bench/optimizer_steps.py [threads]`.

PyTorch runs as it does by default, and where it can with its own fused kernels, `fused=True`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import jitgrad
from jitgrad.cli.measure import Contender, interleave, repeats_for

SIZES = (100, 1_000_000)
OPTIMISERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adagrad", {}),
)


def contender(name: str, library: Any, kind: str, options: dict[str, Any], size: int) -> Contender:
    """The steps of one library's optimiser on a float32 vector."""
    random = np.random.default_rng(0)
    param, grad = (library.tensor(random.standard_normal(size).astype(np.float32)) for _ in range(2))
    param.requires_grad_()
    param.grad = grad
    optimizer = getattr(library.optim, kind)([param], lr=1e-3, **options)
    for _ in range(10):
        optimizer.step()
    made = Contender(name, optimizer.step)
    made.repeats = repeats_for(optimizer.step)
    return made


def main(threads: int | None = None, rounds: int = 21) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
        jitgrad.set_num_threads(threads)
    table = Table(
        title=f"Steps on float32 vectors, {torch.get_num_threads()} threads, medians in microseconds"
    )
    for heading in ("elements", "optimiser", "torch", "torch, fused", "jitgrad", "jitgrad / torch"):
        table.add_column(heading, justify="left" if heading == "optimiser" else "right")
    for size in SIZES:
        for kind, options in OPTIMISERS:
            runs = [contender("torch", torch, kind, options, size)]
            runs += [contender("jitgrad", jitgrad, kind, options, size)]
            if kind != "RMSprop":
                runs += [contender("fused", torch, kind, options | {"fused": True}, size)]
            for _ in interleave(runs, rounds):
                pass
            theirs, ours, *fused = (c.median * 1e6 for c in runs)
            in_one = f"{fused[0]:.1f}" if fused else "-"
            title = f"{kind}({', '.join(f'{k}={v}' for k, v in options.items())})"
            table.add_row(f"{size:,}", title, f"{theirs:.1f}", in_one, f"{ours:.1f}", f"{ours / theirs:.2f}")
        table.add_section()
    Console(width=120).print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
