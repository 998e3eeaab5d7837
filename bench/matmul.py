"""Matrix products beside other libraries': `python bench/matmul.py [--threads N] [--dtype float32] [filter]`.

All engines interleaved, the shortest of many runs in microseconds, and how many times faster jitgrad is. An
operand marked with T is the transpose of an array that lies row by row. JAX uses as many threads as it likes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")

import jax
import numpy as np
import threadpoolctl
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from jitgrad.cli.measure import Contender, interleave, repeats_for
from jitgrad.machine import products, threads

Array = np.ndarray[Any, Any]

ROUNDS = 41
CASES = (
    "1024x1024 @ 1024x1024",
    "1024x1024T @ 1024x1024",
    "1024x1024 @ 1024x1024T",
    "512x512 @ 512x512",
    "128x784 @ 784x256",
    "784x128T @ 784x256",
    "256x256 @ 256x64",
    "128x784 @ 784x10",
    "64x64 @ 64x64",
    "8x16 @ 16x16",
    "8x256x64 @ 8x64x256",
    "8x256x64 @ 8x256x64T",
    "1000x64x8 @ 1000x8x64",
    "100000x16 @ 16x16",
    "100000x16T @ 100000x16",
    "4x64 @ 64x4096",
    "30752x3 @ 3x16",
    "3x30752T @ 3x16",
    "16x30752 @ 30752x3",
    "30752x16T @ 30752x3",
    "30752x16 @ 3x16T",
    "100000x16 @ 16x3",
    "1000x10 @ 10x10",
    "20000x10 @ 10x10",
    "200000x10 @ 10x10",
    "20000x10T @ 20000x10",
    "10x20000 @ 20000x10",
    "20000x10 @ 10x10T",
    "1000x4 @ 4x4",
    "200000x4 @ 4x4",
    "200000x8 @ 8x1",
    "200000x8T @ 200000x1",
    "200000x1 @ 1x8",
    "10000x4x4 @ 10000x4x4",
    "10000x3x3 @ 10000x3x1",
    "100x16x64 @ 100x64x16",
    "1024x1024 @ 1024x1",
    "1024x1024T @ 1024x1",
    "1x1024 @ 1024x1024",
    "8x16 @ 16x1",
    "1x100000 @ 100000x1",
)
LIBRARIES = ("NumPy", "PyTorch", "JAX")


def operand(text: str, dtype: str) -> Array:
    """Return random numbers; "3x2T" is the transpose of an array of shape (3, 2)."""
    shape = [int(n) for n in text.removesuffix("T").split("x")]
    array = np.random.default_rng(shape).normal(size=shape).astype(dtype)
    return array.mT if text.endswith("T") else array


def engines(case: str, dtype: str) -> dict[str, Callable[[], Any]]:
    """Return a call of the product in each library."""
    left, right = case.split(" @ ")
    x, y = operand(left, dtype), operand(right, dtype)
    turned = (left.endswith("T"), right.endswith("T"))
    tensors = [torch.from_numpy(a) for a in (x, y)]
    given = [jax.numpy.asarray(a.mT if turn else a) for a, turn in zip((x, y), turned, strict=True)]
    compiled = jax.jit(
        lambda *args: jax.numpy.matmul(*(a.mT if t else a for a, t in zip(args, turned, strict=True)))
    )
    return {
        "jitgrad": partial(products.multiply, x, y),
        "NumPy": partial(np.matmul, x, y),
        "PyTorch": partial(torch.matmul, *tensors),
        "JAX": lambda: compiled(*given).block_until_ready(),
    }


def shortest(case: str, dtype: str) -> dict[str, float]:
    """Return microseconds by library."""
    contenders = []
    for library, call in engines(case, dtype).items():
        call()
        contenders.append(Contender(library, call))
        contenders[-1].repeats = max(1, repeats_for(call) // 10)
    for _ in interleave(contenders, ROUNDS):
        pass
    return {c.name: min(c.rounds) * 1e6 for c in contenders}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--threads", type=int, default=threads.get_num_threads())
    parser.add_argument("--dtype", choices=("float32", "float64"))
    options = parser.parse_args()
    threads.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    table = Table(
        title=f"products on {options.threads} threads, shortest times in µs; × is how much faster jitgrad is",
        box=box.MARKDOWN,
    )
    table.add_column("product")
    table.add_column("dtype")
    for heading in ("jitgrad", *(f"{library}{end}" for library in LIBRARIES for end in ("", " ×"))):
        table.add_column(heading, justify="right")
    with threadpoolctl.threadpool_limits(options.threads):
        for dtype in [options.dtype] if options.dtype else ("float32", "float64"):
            for case in (case for case in CASES if options.filter in case):
                times = shortest(case, dtype)
                row = [f"{times['jitgrad']:.2f}"]
                for library in LIBRARIES:
                    row += [f"{times[library]:.2f}", f"{times[library] / times['jitgrad']:.2f}"]
                table.add_row(case, dtype, *row)
            table.add_section()
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
