"""The arguments of `python -m jitgrad`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jitgrad.accuracy import LIBRARIES
from jitgrad.cli import bench, cache, demo, info, kernels, processes, ulp
from jitgrad.cli.peers import ENGINES
from jitgrad.cli.terminal import MissingExtra
from jitgrad.cli.workloads import DTYPES, SIZES, WORKLOADS, cases

BENCH_NOTES = """\
How it is measured: all engines run in one process, interleaved. In each round every engine runs once, in
random order, after one call that is not timed; a run repeats a short call until it takes some 10 ms. The
table shows medians over the rounds. Inputs lie where the engine wants them before the clock starts, results
are waited for (block_until_ready), JAX has 64-bit types enabled, every engine keeps its default number of
threads. Before timing, all results are compared. GB/s counts each array input read once and each array
result written once; the copy that it is compared with moves as many bytes, by one thread or by all,
whichever is faster. The first call includes tracing and compiling, with empty kernel caches on disk, without
the engine's own start-up; where several sizes are asked for, an engine may reuse what it compiled for an
earlier one. torch.compile needs a C++ compiler; an engine that fails shows its error. The results of all
are compared with the interpreter's in float64. In a checkout, `--also bench.hand_written` adds loops written
by hand. `taskset -c 0 python -m jitgrad bench` gives every engine one thread.

--starts measures each engine and case in a fresh process with empty kernel caches, then in another with the
caches that the first left. The import of the engine is timed apart; what it imports only in order to compile
belongs to its first call. --memory measures, in a fresh process with warm caches, the peak of resident memory
during calls, above that of the engine after a tiny call: inputs, results and all between (Linux only).
"""

ULP_NOTES = """\
What is measured: |result - exact value| over the distance between neighbouring floats at the exact value,
which mpmath computes. An infinity is right if and only if the exact value rounds to it. The points of a
function are random bit patterns over all floats of its domain, subnormal numbers, dense samples of the
intervals that matter, the neighbours of its zeros and poles and of the arguments where the result leaves the
range of the dtype; for sin, cos and tan also huge arguments and the floats closest to multiples of pi/2.
Below zero, lgamma and digamma are measured in units of the last place of the largest of 1, the result and
the function of 1 - x, which the reflection formula subtracts. NumPy's gaps are filled by SciPy. The table
shows the largest error and, in brackets, the mean over these points without the infinite errors, those of a
NaN or a wrong infinity. A ! marks an error of jitgrad above the bound; then the command fails.
"""

KERNELS_NOTES = """\
What is shown: the grids of threads of every workload of the benchmark, at all its sizes, and of every sample
call of the op table, values with gradients, compiled for all arrays at multiples of 16 bytes (v) and for any.
Equal texts are compiled once. Registers, spilled bytes and stack are what the assembler says, shared is what
a launch asks for; occupancy is the part of a multiprocessor's warps that these leave room for. Loads and
stores of global memory are counted in the PTX. float64 is marked where a kernel that has only float32
computes in it. A kernel that spills, exceeds its block's registers or is marked so is red, and the command
fails.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except MissingExtra as error:
        print(f"python -m jitgrad {options.command}: {error}", file=sys.stderr)
        return 1
    return status


def parser() -> argparse.ArgumentParser:
    """Declare the commands and their options."""
    top = argparse.ArgumentParser(prog="python -m jitgrad", description="Fused gradients of NumPy functions.")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    command = commands.add_parser("demo", help="fit two classifiers to handwritten digits and draw a picture")
    command.add_argument("--output", type=Path, default=Path("jitgrad-demo.png"), help="the picture to write")
    command.add_argument("--iterations", type=int, default=demo.ITERATIONS, help="of L-BFGS, at most")
    command.set_defaults(run=lambda o: demo.run(o.output, o.iterations))

    add_bench(commands)

    add_ulp(commands)

    add_kernels(commands)

    command = commands.add_parser("info", help="print versions, processor, threads and the cache folder")
    command.set_defaults(run=lambda o: info.run())

    add_cache(commands)
    return top


def add_cache(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the cache command."""
    command = commands.add_parser("cache", help="look at what is kept on disk, remove it, or fill it")
    actions = [*sorted(cache.ACTIONS), "prewarm"]
    command.add_argument("action", nargs="?", choices=actions, default="list")
    note = "prewarm: a script or module to run once, so that the next process compiles nothing"
    command.add_argument("programs", nargs="*", metavar="program", help=note)
    command.set_defaults(run=lambda o: run_cache(command, o))


def run_cache(command: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run the cache command."""
    if options.action == "prewarm":
        return cache.prewarm(options.programs)
    if options.programs:
        command.error(f"{options.action} takes no program")
    return cache.ACTIONS[options.action]()


def add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the bench command."""
    command = commands.add_parser(
        "bench",
        help="time values with gradients against other engines",
        epilog=BENCH_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
        ("workloads", list(WORKLOADS), list(WORKLOADS)),
        ("sizes", list(SIZES), ["M"]),
        ("dtypes", list(DTYPES), ["float32"]),
        ("engines", list(ENGINES), list(ENGINES)),
    )
    for name, allowed, default in choices:
        note = f"of {', '.join(allowed)} (default: {'all' if default == allowed else default[0]})"
        option = command.add_argument(f"--{name}", nargs="+", choices=allowed, default=default, help=note)
        option.metavar = name[:-1].upper()
    command.add_argument("--rounds", type=int, default=11, help="how often each is timed (default: 11)")
    command.add_argument("--json", type=Path, help="write the medians and all rounds to this file")
    note = "a module that enters further engines, as bench.hand_written of a checkout does"
    command.add_argument("--also", nargs="+", default=[], metavar="MODULE", help=note)
    mode = command.add_mutually_exclusive_group()
    mode.add_argument("--starts", action="store_true", help="time first calls in fresh processes instead")
    mode.add_argument("--memory", action="store_true", help="measure the peak memory of calls instead")
    command.set_defaults(run=run_bench)


def run_bench(options: argparse.Namespace) -> int:
    """Run the bench command."""
    chosen = cases(options.workloads, options.sizes, options.dtypes)
    if options.starts:
        return processes.run_starts(chosen, options.engines, options.also, options.json)
    if options.memory:
        return processes.run_memory(chosen, options.engines, options.also, options.json)
    return bench.run(chosen, options.engines, options.also, options.rounds, options.json)


def add_kernels(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the kernels command."""
    command = commands.add_parser(
        "kernels",
        help="compile kernels for a GPU, without one, and show what they take",
        epilog=KERNELS_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    note = "of the GPU, such as 7.5, 8.0 or 9.0 (default: 9.0)"
    command.add_argument("--capability", type=kernels.capability, default=(9, 0), help=note)
    for name, allowed in (("workloads", list(WORKLOADS)), ("ops", list(kernels.OPS))):
        note = f"only these of the {'benchmark' if name == 'workloads' else 'op table'}"
        option = command.add_argument(f"--{name}", nargs="*", choices=allowed, help=note)
        option.metavar = name[:-1].upper()
    command.add_argument("--dtype", choices=DTYPES, default="float32", help="(default: float32)")
    command.add_argument("--json", type=Path, help="write the figures to this file")
    command.set_defaults(run=run_kernels)


def run_kernels(options: argparse.Namespace) -> int:
    """Run the kernels command, for everything if nothing is chosen."""
    chosen = options.workloads, options.ops
    workloads, names = chosen if any(c is not None for c in chosen) else (WORKLOADS, kernels.OPS)
    return kernels.run(
        options.capability, list(workloads or ()), list(names or ()), options.dtype, options.json
    )


def add_ulp(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the ulp command."""
    command = commands.add_parser(
        "ulp",
        help="measure the errors of the elementary functions, beside other libraries",
        epilog=ULP_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(ulp.ROUTINES)
    command.add_argument(
        "routines", nargs="*", type=ulp.routine, metavar="function", help=f"of {names} (default: all)"
    )
    command.add_argument("--dtype", choices=DTYPES, help="measure one dtype only")
    command.add_argument("--points", type=int, default=10_000, help="of each category (default: 10000)")
    command.add_argument("--seed", type=int, default=0, help="of the random points (default: 0)")
    command.add_argument("--no-peers", dest="peers", action="store_false", help="measure jitgrad alone")
    command.add_argument("--markdown", action="store_true", help="print a table for the documentation")
    command.add_argument("--exhaustive", action="store_true", help="take every float32 of the domain instead")
    command.set_defaults(run=lambda o: run_ulp(command, o))


def run_ulp(command: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run the ulp command."""
    if not options.exhaustive:
        dtypes = [options.dtype] if options.dtype else DTYPES
        libraries = LIBRARIES if options.peers else ()
        return ulp.run(options.routines, dtypes, options.points, options.seed, libraries, options.markdown)
    if options.dtype == "float64" or not set(options.routines) <= set(ulp.UNARY):
        command.error("--exhaustive is for functions of one argument in float32")
    return ulp.run_exhaustive(options.routines, options.markdown)
