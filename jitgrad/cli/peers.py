"""The engines that the benchmark compares: each turns a workload and its arrays into a call to time.

A call returns the value and the gradients and has finished when it returns. Every engine meets the same loss
through a namespace of the same names.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import jitgrad
from jitgrad import numpy as fused_numpy
from jitgrad.cli.terminal import installed
from jitgrad.cli.workloads import Array, Workload

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Engine:
    """A way of computing a value with its gradients.

    `needs` are the modules that are imported by the time its transform has been applied.
    """

    name: str
    needs: tuple[str, ...]
    prepare: Callable[[Workload, list[Array]], Call]
    peer: bool = False  # whether it is a library that the fused engine competes with

    @property
    def available(self) -> bool:
        """Whether the libraries that it needs are installed."""
        return all(installed(module.partition(".")[0]) for module in self.needs)


ENGINES: dict[str, Engine] = {}


def engine(
    name: str, *needs: str, peer: bool = False
) -> Callable[[Callable[..., Call]], Callable[..., Call]]:
    """Enter the decorated `prepare` in ENGINES."""

    def enter(prepare: Callable[..., Call]) -> Callable[..., Call]:
        ENGINES[name] = Engine(name, needs, prepare, peer)
        return prepare

    return enter


def register(modules: Sequence[str]) -> list[str]:
    """Import modules that enter engines of their own, and name those."""
    before = set(ENGINES)
    for module in modules:
        importlib.import_module(module)
    return [name for name in ENGINES if name not in before]


def loss_of(workload: Workload, xp: Any) -> Callable[..., Any]:
    """Bind the namespace, leaving a function of arrays alone."""

    def loss(*arrays: Any) -> Any:
        return workload.loss(xp, *arrays)

    return loss


def flat_results(result: Any) -> list[Array]:
    """List the value and the gradients as NumPy arrays, of whatever engine they are."""
    if isinstance(result, tuple | list):
        return [array for part in result for array in flat_results(part)]
    return [np.asarray(result.detach() if hasattr(result, "detach") else result)]


@engine("fused", "jitgrad.jit")
def prepare_fused(workload: Workload, arrays: list[Array]) -> Call:
    """jitgrad.value_and_grad."""
    function = jitgrad.value_and_grad(loss_of(workload, fused_numpy), workload.argnums)
    return lambda: function(*arrays)


@engine("interpreter", "jitgrad.jit")
def prepare_interpreter(workload: Workload, arrays: list[Array]) -> Call:
    """The same graph, node by node on NumPy."""
    function = jitgrad.interpret(jitgrad.value_and_grad(loss_of(workload, fused_numpy), workload.argnums))
    return lambda: function(*arrays)


@engine("eager")
def prepare_eager(workload: Workload, arrays: list[Array]) -> Call:
    """jitgrad's tensors, with an ordinary backward pass."""
    loss, tensors, wrt = torch_parts(jitgrad, workload, arrays)
    return backward_call(jitgrad, loss, tensors, wrt)


@engine("jax", "jax", "jax.nn", "jax.scipy.special", peer=True)
def prepare_jax(workload: Workload, arrays: list[Array]) -> Call:
    """jax.jit(jax.value_and_grad), waited for."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    special = {
        "erf": jax.scipy.special.erf,
        "logsumexp": jax.scipy.special.logsumexp,
        "sigmoid": jax.nn.sigmoid,
        "softplus": jax.nn.softplus,
    }
    xp = types.SimpleNamespace(**vars(jnp) | special)
    function = jax.jit(jax.value_and_grad(loss_of(workload, xp), workload.argnums))
    placed = [jnp.asarray(a) for a in arrays]
    return lambda: jax.block_until_ready(function(*placed))


@engine("autograd", "autograd", "autograd.scipy.special", peer=True)
def prepare_autograd(workload: Workload, arrays: list[Array]) -> Call:
    """HIPS autograd: NumPy with a tape."""
    import autograd
    import autograd.numpy as anp
    import autograd.scipy.special as special

    names = {
        "erf": special.erf,
        "sigmoid": special.expit,
        "logsumexp": special.logsumexp,
        "pad": lambda x, width: anp.pad(x, width, "constant"),
        "softplus": lambda x: anp.logaddexp(0.0, x),
        "take_along_axis": lambda x, i, axis: x[anp.arange(len(i))[:, None], i],
    }
    xp = types.SimpleNamespace(**vars(anp) | names)
    function = autograd.value_and_grad(loss_of(workload, xp), workload.argnums)
    return lambda: function(*arrays)


def torch_parts(
    torch: Any, workload: Workload, arrays: list[Array]
) -> tuple[Callable[..., Any], list[Any], list[Any]]:
    """Return the loss in PyTorch's names, all tensors, and those of them to differentiate."""
    same = "clip concatenate exp erf eye log mean sigmoid sin sqrt sum swapaxes tanh where zeros".split()
    xp = types.SimpleNamespace(
        **{name: getattr(torch, name) for name in same},
        logsumexp=lambda x, axis: torch.logsumexp(x, dim=axis),
        max=lambda x, axis, keepdims: torch.amax(x, axis, keepdims),
        maximum=lambda x, y: torch.clamp(x, min=y) if isinstance(y, float) else torch.maximum(x, y),
        pad=lambda x, width: torch.nn.functional.pad(x, (width,) * (2 * x.ndim)),
        softplus=torch.nn.functional.softplus,
        take_along_axis=lambda x, i, axis: torch.take_along_dim(x, i, dim=axis),
    )
    tensors = [torch.from_numpy(np.array(a)) for a in arrays]
    return loss_of(workload, xp), tensors, [tensors[i] for i in workload.argnums]


def with_own_code(function: types.FunctionType) -> types.FunctionType:
    """Copy a closure and its code: torch.compile keeps a bounded number of graphs per code object."""
    code = function.__code__.replace()
    return types.FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)


@engine("torch", "torch", peer=True)
def prepare_torch(workload: Workload, arrays: list[Array]) -> Call:
    """PyTorch eager."""
    import torch

    loss, tensors, wrt = torch_parts(torch, workload, arrays)
    return backward_call(torch, loss, tensors, wrt)


@engine("torch.compile", "torch", "torch._dynamo", peer=True)
def prepare_torch_compile(workload: Workload, arrays: list[Array]) -> Call:
    """torch.compile of the loss, with an ordinary backward pass."""
    import torch

    loss, tensors, wrt = torch_parts(torch, workload, arrays)
    return backward_call(torch, torch.compile(with_own_code(loss)), tensors, wrt)  # type: ignore[arg-type]


def backward_call(torch: Any, loss: Callable[..., Any], tensors: list[Any], wrt: list[Any]) -> Call:
    """Return a call that runs the loss on leaves and then backward."""
    for tensor in wrt:
        tensor.requires_grad_(True)

    def call() -> Any:
        value = loss(*tensors)
        return value, torch.autograd.grad(value, wrt)

    return call


@engine("torch.compile(grad)", "torch", "torch._dynamo", "torch.func", peer=True)
def prepare_torch_compile_grad(workload: Workload, arrays: list[Array]) -> Call:
    """torch.compile of torch.func.grad_and_value: forward and backward in one graph."""
    import torch

    loss, tensors, _ = torch_parts(torch, workload, arrays)
    argnums = workload.argnums

    def value_and_grad(*tensors: Any) -> Any:
        gradients, value = torch.func.grad_and_value(loss, argnums)(*tensors)
        return value, gradients

    compiled = torch.compile(with_own_code(value_and_grad))  # type: ignore[arg-type]
    return lambda: compiled(*tensors)
