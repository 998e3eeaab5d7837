"""Workloads on one GPU beside other libraries: `python bench/gpu.py [--size L] [--json FILE] [filter]`.

All engines and a copy of as many bytes interleaved: the median time on the device between two events, the
same beside the copy's bandwidth, and the host's time until a call returns. Results are checked first.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the GPU

import numpy as np
from rich.console import Console
from rich.table import Table

import jitgrad
from jitgrad import numpy as fused_numpy
from jitgrad.cli.info import facts
from jitgrad.cli.measure import disagreement, exact_results
from jitgrad.cli.peers import backward_call, loss_of, torch_parts, with_own_code
from jitgrad.cli.terminal import installed
from jitgrad.cli.workloads import SIZES, WORKLOADS, Array, Case, Workload, argument_bytes
from jitgrad.runtime.cuda import arrays as device_arrays
from jitgrad.runtime.cuda import driver, execute

Call = Callable[[], Any]

ROUNDS = 31
CALLS = 10  # of a round, between two events
PAUSE = 0.002  # seconds between engines
COPY = "copy"


@dataclass(slots=True)
class Timed:
    """An engine on one workload: seconds of one call on the device and on the host, for each round."""

    name: str
    call: Call | None
    problem: str = ""
    device: list[float] = field(default_factory=list)
    host: list[float] = field(default_factory=list)

    def run(self, xp: Any) -> None:
        """Time one round. The host is not held up by the device unless its queue is full."""
        if self.call is None:
            return
        time.sleep(PAUSE)
        self.call()
        begin, end = xp.cuda.Event(), xp.cuda.Event()
        xp.cuda.Device().synchronize()
        begin.record()
        start = time.perf_counter()
        for _ in range(CALLS):
            self.call()
        self.host.append((time.perf_counter() - start) / CALLS)
        end.record()
        end.synchronize()
        self.device.append(xp.cuda.get_elapsed_time(begin, end) / 1e3 / CALLS)


# Engines ----------------------------------------------------------------------------------------------
# Each takes a workload and arrays on the host; its call returns when the work is on the default stream.


def fused(workload: Workload, given: list[Array]) -> Call:
    function = jitgrad.value_and_grad(loss_of(workload, fused_numpy), workload.argnums)
    program = execute.compile_graph(jitgrad.interpret(function).graph(*given))
    placed = [device_arrays.as_device_array(a) for a in given]
    return lambda: program(placed)


def cupy(workload: Workload, given: list[Array]) -> Call:
    """CuPy has no gradients: the value alone, array by array."""
    import cupy as xp
    import cupyx.scipy.special as special

    names = {
        "erf": special.erf,
        "sigmoid": special.expit,
        "logsumexp": special.logsumexp,
        "softplus": lambda x: xp.logaddexp(xp.zeros((), x.dtype), x),
    }
    loss = loss_of(workload, types.SimpleNamespace(**vars(xp) | names))
    placed = [xp.asarray(a) for a in given]
    return lambda: loss(*placed)


def torch(workload: Workload, given: list[Array]) -> Call:
    return torch_call(workload, given, compiled=False)


def torch_compile(workload: Workload, given: list[Array]) -> Call:
    return torch_call(workload, given, compiled=True)


def torch_call(workload: Workload, given: list[Array], compiled: bool) -> Call:
    import torch

    with torch.device("cuda"):
        loss, tensors, _ = torch_parts(torch, workload, given)
        placed = [tensor.cuda() for tensor in tensors]
        chosen = torch.compile(with_own_code(loss)) if compiled else loss  # type: ignore[arg-type]
        inner = backward_call(torch, chosen, placed, [placed[i] for i in workload.argnums])

    def call() -> Any:
        with torch.device("cuda"):
            return inner()

    return call


def jax(workload: Workload, given: list[Array]) -> Call:
    """JAX works on a stream of its own, so that its calls are waited for."""
    from jitgrad.cli.peers import prepare_jax

    return prepare_jax(workload, given)


ENGINES: dict[str, tuple[Callable[[Workload, list[Array]], Call], str]] = {
    "fused": (fused, "cupy"),
    "torch.compile": (torch_compile, "torch"),
    "torch": (torch, "torch"),
    "jax": (jax, "jax"),
    "cupy, value only": (cupy, "cupy"),
}


def on_host(results: Any) -> list[Array]:
    """The value and the gradients as NumPy arrays, of whatever engine they are."""
    if isinstance(results, tuple | list):
        return [array for part in results for array in on_host(part)]
    if hasattr(results, "detach"):
        return [results.detach().cpu().numpy()]
    return [results.get() if hasattr(results, "get") else np.asarray(results)]


def prepared(name: str, workload: Workload, given: list[Array], expected: list[Array]) -> Timed:
    """The engine after its first call, whose results are compared."""
    make, needs = ENGINES[name]
    if not installed(needs):
        return Timed(name, None, "not installed")
    try:
        call = make(workload, [a.copy() for a in given])
        results = on_host(call())
    except Exception as error:  # a peer may fail in any way: its row says so, the others go on
        return Timed(name, None, f"{type(error).__name__}: {error}".partition("\n")[0][:80])
    return Timed(name, call, disagreement(results, expected[: len(results)]))


def copy_of(count: int, xp: Any) -> Timed:
    """A copy on the device that reads and writes `count` bytes together."""
    source = xp.ones(max(1, count // 2), np.uint8)
    target = xp.empty_like(source)
    return Timed(COPY, lambda: xp.copyto(target, source))


# Measuring --------------------------------------------------------------------------------------------


def measured(case: Case, rounds: int) -> tuple[int, list[Timed]]:
    """The bytes that a perfect engine moves, and all engines with a copy of as many, interleaved."""
    xp = device_arrays.cupy()
    given = case.workload.arrays(case.size, case.dtype)
    count = argument_bytes(given, case.workload.argnums)
    expected = exact_results(case.workload, given)
    everyone = [*(prepared(name, case.workload, given, expected) for name in ENGINES), copy_of(count, xp)]
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for place in order.permutation(len(everyone)):
            everyone[place].run(xp)
    return count, everyone


def rows(case: Case, count: int, everyone: Sequence[Timed]) -> Iterator[dict[str, Any]]:
    """What was measured, as JSON has it."""
    copied = statistics.median(everyone[-1].device)
    for one in everyone:
        device, host = (statistics.median(times) if times else None for times in (one.device, one.host))
        yield {
            "workload": case.workload.name,
            "size": case.size,
            "dtype": case.dtype,
            "bytes": count,
            "engine": one.name,
            "device_s": device,
            "host_s": host,
            "of_copy": copied / device if device else None,
            "problem": one.problem,
        }


def table(found: Sequence[dict[str, Any]], titles: Sequence[str]) -> Table:
    """One section for each workload."""
    result = Table(title="Value and gradients on the GPU: medians, interleaved")
    for name in ("engine", "device", "GB/s", "of copy", "host"):
        result.add_column(name, justify="left" if name == "engine" else "right", no_wrap=True)
    result.add_column("result")
    for title, part in zip(titles, np.split(np.arange(len(found)), max(1, len(titles))), strict=False):
        result.add_section()
        result.add_row(f"[bold]{title}")
        for place in part:
            result.add_row(*cells(found[place]))
    return result


def cells(row: dict[str, Any]) -> list[str]:
    if row["device_s"] is None:
        return [row["engine"], "", "", "", "", f"[red]{row['problem']}"]
    return [
        row["engine"],
        f"{row['device_s'] * 1e6:.1f} us",
        f"{row['bytes'] / row['device_s'] / 1e9:.0f}",
        f"{row['of_copy']:.2f}",
        f"{row['host_s'] * 1e6:.1f} us",
        f"[red]{row['problem']}" if row["problem"] else "" if row["engine"] == COPY else "agrees",
    ]


def geometric_mean(found: Sequence[dict[str, Any]]) -> float:
    """How many times faster than the best peer `fused` is, over the workloads that both do right."""
    ratios = []
    for name in dict.fromkeys(row["workload"] for row in found):
        times = {r["engine"]: r["device_s"] for r in found if r["workload"] == name and not r["problem"]}
        peers = [times[engine] for engine in ("torch.compile", "torch", "jax") if engine in times]
        if "fused" in times and peers:
            ratios.append(math.log(min(peers) / times["fused"]))
    return math.exp(statistics.fmean(ratios)) if ratios else math.nan


def main() -> int:
    """Measure, print the table and write it to a file if one is given."""
    parser = argparse.ArgumentParser(description="Time workloads on a GPU beside other libraries.")
    parser.add_argument("filter", nargs="?", default="", help="only workloads with this in their names")
    parser.add_argument("--size", choices=SIZES, default="L")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    if not driver.is_available():
        print("There is no GPU: neither an NVIDIA driver nor a device was found.", file=sys.stderr)
        return 1
    chosen = [w for name, w in WORKLOADS.items() if options.filter in name]
    cases = [Case(workload, options.size, options.dtype) for workload in chosen]
    found = [row for case in cases for row in rows(case, *measured(case, options.rounds))]
    console = Console()
    console.print(table(found, [case.title for case in cases]))
    console.print(f"fused beside the best peer: {geometric_mean(found):.2f} times as fast")
    console.print(", ".join(f"{name} {value}" for name, value in facts().items()), style="dim")
    if options.json is not None:
        options.json.write_text(json.dumps({"environment": facts(), "rows": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
