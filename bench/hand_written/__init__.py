"""The workloads of the benchmark with their gradients, fused by hand: what a machine can do.

Each is a numba loop that reads and writes every array as few times as its author saw how to, shared among
threads; products are NumPy's. Results lie in arrays made before the first call. `python -m jitgrad bench
--also bench.hand_written` measures them as the engine `by hand`.
"""

from __future__ import annotations

from bench.hand_written import pointwise, products, rows, stencils
from jitgrad.cli.peers import Call, engine
from jitgrad.cli.workloads import Array, Workload

REFERENCES = {
    "gaussian": pointwise.gaussian,
    "black-scholes": pointwise.black_scholes,
    "rosenbrock": pointwise.rosenbrock,
    "chain": pointwise.chain,
    "clipped": pointwise.clipped,
    "tiny": pointwise.tiny,
    "logistic-regression": rows.logistic_regression,
    "cross-entropy": rows.cross_entropy,
    "layernorm-gelu": rows.layernorm_gelu,
    "batch-norm": rows.batch_norm,
    "mlp": products.mlp,
    "lstm": products.lstm,
    "attention": products.attention,
    "gaussian-mixture": products.gaussian_mixture,
    "lennard-jones": stencils.lennard_jones,
    "heat": stencils.heat,
    "convolution": stencils.convolution,
}


@engine("by hand", "numba")
def prepare_by_hand(workload: Workload, arrays: list[Array]) -> Call:
    """Value and gradients as one would write them."""
    return REFERENCES[workload.name](*arrays)
