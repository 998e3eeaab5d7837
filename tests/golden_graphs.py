"""A dozen small functions whose kernels show every form that is emitted; the texts stand in tests/golden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from compare import Array, strides_of

import jitgrad
import jitgrad.numpy as jnp
from jitgrad.fuse import fuse
from jitgrad.program import Kernel


@dataclass(frozen=True, slots=True)
class Golden:
    """A function under a transform, and arguments, of which only shapes, dtypes and layouts count."""

    function: Any
    args: tuple[Any, ...]

    def kernels(self) -> list[Kernel]:
        graph = jitgrad.interpret(self.function).graph(*self.args)
        arrays = [np.asarray(a) for a in self.args]
        strides = {
            node: tuple(s // a.itemsize for s in given)
            for node, a, given in zip(graph.inputs, arrays, strides_of(arrays), strict=True)
            if given is not None
        }
        return [step for step in fuse(graph, strides).steps if isinstance(step, Kernel)]


GOLDEN: dict[str, Golden] = {}
X = np.float32(0.5)


def zeros(*shape: int, dtype: Any = np.float32) -> Array:
    return np.zeros(shape, dtype)


def golden(*args: Any) -> Callable[[Any], Any]:
    """Enter the decorated function for these arguments."""

    def enter(function: Any) -> Any:
        GOLDEN[function.__name__] = Golden(function, args)
        return function

    return enter


@golden(zeros(5000), zeros(5000), X, X)
@jitgrad.value_and_grad(argnums=(0, 1))
def gaussian(x: Any, w: Any, m: Any, s: Any) -> Any:
    return np.sum(np.exp(-0.5 * ((x - m) * s) ** 2) * w)


@golden(zeros(128, 1000), zeros(128, 1, dtype=np.int64))
@jitgrad.value_and_grad
def cross_entropy(logits: Any, labels: Any) -> Any:
    return -np.mean(np.take_along_axis(jnp.log_softmax(logits, axis=1), labels, axis=1))


@golden(zeros(128, 10), zeros(128, 1, dtype=np.int64))
@jitgrad.value_and_grad
def cross_entropy_of_short_rows(logits: Any, labels: Any) -> Any:
    return -np.mean(np.take_along_axis(jnp.log_softmax(logits, axis=1), labels, axis=1))


@golden(zeros(64, 768), zeros(768), zeros(768))
@jitgrad.grad(argnums=(0, 1, 2))
def layernorm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    y = centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * scale + shift
    return np.sum(y * y)


@golden(zeros(500, 100))
@jitgrad.jit
def column_sum(x: Any) -> Any:
    return np.sum(x * x, axis=0)


@golden(np.asfortranarray(zeros(60, 50)))
@jitgrad.value_and_grad
def transposed_input(x: Any) -> Any:
    return np.sum(np.exp(x) * x)


@golden(zeros(200, 300)[::2, ::3])
@jitgrad.grad
def strided_input(x: Any) -> Any:
    return np.sum(np.sum(x * x, axis=1) ** 2)


@golden(zeros(3000))
@jitgrad.value_and_grad
def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


@golden(zeros(3000))
@jitgrad.value_and_grad
def reverse_slice(x: Any) -> Any:
    return np.sum(x[::-1][:2000] * x[500:2500])


@golden(zeros(3000), zeros(3000))
@jitgrad.value_and_grad(argnums=(0, 1))
def where_and_clip(x: Any, y: Any) -> Any:
    return np.sum(np.where(x > y, np.clip(x, -1.0, 1.0), x * y))


@golden(zeros(3000, dtype=np.int32), zeros(3000, dtype=np.int32))
@jitgrad.jit
def integers(x: Any, y: Any) -> Any:
    return (x + y) // 3, np.sum(x * y), np.max(x), x % 5 == 2


@golden(zeros(64, 20), zeros(20, 30), zeros(30))
@jitgrad.value_and_grad(argnums=(1, 2))
def matmul_and_bias(x: Any, w: Any, b: Any) -> Any:
    return np.sum(np.tanh(x @ w + b))


@golden(X, X)
@jitgrad.value_and_grad(argnums=(0, 1))
def numbers(x: Any, y: Any) -> Any:
    return np.sin(x) * y + x / y
