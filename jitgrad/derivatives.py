"""Public derivatives of functions: gradients, products with the Jacobian from both sides, whole Jacobians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from jitgrad.engines import engine_for
from jitgrad.ir import CAPTURE, Graph, input_node, rebuild, with_args
from jitgrad.jacobians import ForwardJacobian, ReverseJacobian
from jitgrad.jit import Function, donated_numbers, jit
from jitgrad.location import user_line
from jitgrad.pytree import Tree, flatten, unflatten
from jitgrad.runtime.execute import compile_graph
from jitgrad.signature import Arguments, Array, as_input_array
from jitgrad.traced import active
from jitgrad.transforms import (
    Backward,
    Forward,
    Gradient,
    Pullback,
    checked_cotangents,
    checked_tangents,
    is_float,
)

# Gradients --------------------------------------------------------------------------------------------


def _argnums(argnums: int | Sequence[int]) -> int | tuple[int, ...]:
    numbers = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    if not numbers or any(isinstance(i, bool) or not isinstance(i, (int, np.integer)) for i in numbers):
        raise TypeError(f"argnums at {user_line()} must be an int or several, got {argnums!r}")
    return tuple(map(int, numbers)) if isinstance(argnums, (tuple, list)) else int(numbers[0])


def value_and_grad(
    function: Any = None,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    static_argnames: str | Sequence[str] = (),
    fastmath: bool = False,
    donate_argnums: int | Sequence[int] = (),
    target: str | None = None,
) -> Any:
    """Turn a function with a floating-point result into one that returns (value, gradient), in one program.

    The gradient has the structure, shapes and dtypes of the argument with number `argnums`, or is a tuple of
    several for a tuple. With `has_aux` the function returns (value, aux), and the result is
    ((value, aux), gradient). Raises TypeError for a result that is no floating-point number and for arguments
    that are not floating-point. `fastmath`, `donate_argnums` and `target` are those of `jit`.

    >>> import numpy as np
    >>> value_and_grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    (np.float64(9.0), array([ 3., 12.]))
    """
    gradient = Gradient(_argnums(argnums), has_aux, with_value=True)
    engine, donated = engine_for(fastmath, target), donated_numbers(donate_argnums)

    def transformed(function: Any) -> Function:
        return Function(function, gradient, static_argnames, engine, donated)

    return transformed if function is None else transformed(function)


def grad(
    function: Any = None,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    static_argnames: str | Sequence[str] = (),
    fastmath: bool = False,
    donate_argnums: int | Sequence[int] = (),
    target: str | None = None,
) -> Any:
    """Turn a function with a floating-point result into its gradient; see `value_and_grad`.

    With `has_aux` the result is (gradient, aux).

    >>> grad(grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    gradient = Gradient(_argnums(argnums), has_aux, with_value=False)
    engine, donated = engine_for(fastmath, target), donated_numbers(donate_argnums)

    def transformed(function: Any) -> Function:
        return Function(function, gradient, static_argnames, engine, donated)

    return transformed if function is None else transformed(function)


# vjp --------------------------------------------------------------------------------------------------


class Saved:
    """An engine for pullbacks: a program that takes the arrays which its graph captured as arguments, too."""

    def __init__(self, graph: Graph, strides: Sequence[tuple[int, ...] | None]) -> None:
        captures = [node for node in graph.nodes() if node.op is CAPTURE]
        inputs = {node: input_node(node.aval) for node in captures}
        outputs = rebuild(
            graph.outputs, lambda node, args: inputs[node] if node in inputs else with_args(node, args)
        )
        read = set(graph.nodes())
        self.reads = [node in read for node in graph.inputs]
        self.captured: list[Array] = [node.param("value").array for node in captures]
        self._program = compile_graph(
            Graph((*graph.inputs, *inputs.values()), outputs), [*strides, *(None for _ in captures)]
        )

    def saved(self, arrays: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """Return arrays with copies of those that the program reads, and copies of the captured ones."""
        own = [a.copy() if read else a for a, read in zip(arrays, self.reads, strict=False)]
        return own, [np.array(a, order="C") for a in self.captured]

    def __call__(self, arrays: Sequence[Array]) -> Sequence[Array]:
        return self._program(arrays)


class Pull:
    """The way back from cotangents of a function's outputs to those of its arguments, at fixed arguments."""

    def __init__(self, backward: Function, args: tuple[Any, ...], outputs: Sequence[Any], tree: Tree) -> None:
        self._backward = backward
        self._outputs = [
            np.broadcast_to(np.zeros((), out.dtype), out.shape) if isinstance(out, np.ndarray) else out
            for out in outputs
        ]
        self._tree = tree
        leaves, arg_tree = flatten(args)
        plain = [np.asarray(a, order="C") if isinstance(a, np.ndarray) else a for a in leaves]
        seeds = [np.zeros(np.shape(out), getattr(out, "dtype", float)) for out in outputs if is_float(out)]
        self._entry = backward.entry(unflatten(arg_tree, plain), seeds)
        saved = self._entry.compiled
        assert isinstance(saved, Saved)
        arrays = [as_input_array(a) for a in plain]
        self._arrays, self._captured = saved.saved(arrays)
        self._args = unflatten(
            arg_tree,
            [a if isinstance(old, np.ndarray) else old for old, a in zip(plain, self._arrays, strict=True)],
        )

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Return one cotangent for each argument, None for what has no derivative."""
        seeds = checked_cotangents(self._outputs, self._tree, cotangent)
        if active.trace is not None:
            result: tuple[Any, ...] = self._backward(self._args, seeds)
            return result
        arrays = [*self._arrays, *(np.asarray(s, order="C") for s in seeds), *self._captured]
        found: tuple[Any, ...] = self._entry.run(arrays)
        return found


def vjp(function: Callable[..., Any], *args: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Return a function's value at arguments, and the function from the value's cotangent to the arguments'.

    The cotangent must be built like the value. The arguments are copied where the way back needs them: they
    may be overwritten meanwhile. With `has_aux` the function returns (value, aux), and the result is
    (value, pull, aux).

    >>> import numpy as np
    >>> out, pull = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    if active.trace is not None:
        return _inline_vjp(function, args, has_aux)
    result = jit(function)(*args)
    value, aux = result if has_aux else (result, None)
    outputs, tree = flatten(value)
    pull = Pull(Function(function, Backward(has_aux), engine=Saved), args, outputs, tree)
    return (value, pull, aux) if has_aux else (value, pull)


def _inline_vjp(function: Callable[..., Any], args: tuple[Any, ...], has_aux: bool) -> tuple[Any, ...]:
    assert active.trace is not None
    arguments = Arguments(args, {})
    pull = Pullback(function, arguments.rebuilt(arguments.wrapped(active.trace, function))[0], has_aux)
    return (pull.value, pull, pull.aux) if has_aux else (pull.value, pull)


# jvp --------------------------------------------------------------------------------------------------


def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """Return a function's value at arguments, and the value's derivative along a direction, in one program.

    `tangents` is built like `primals`, the tuple of arguments, and has None for what has no derivative, as
    integers do; so has the tangent of the value. With `has_aux` the function returns (value, aux), and the
    result is (value, tangent, aux).

    >>> import numpy as np
    >>> jvp(lambda x, n: x**n, (np.array([1.0, 2.0]), 3), (np.array([1.0, 10.0]), None))
    (array([1., 8.]), array([  3., 120.]))
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"the {name} of jvp at {user_line()} must be a tuple, got {type(given).__name__}")
    leaves, tree = flatten(tuple(primals))
    seeds = checked_tangents(leaves, tree, tuple(tangents))
    result: tuple[Any, ...] = Function(function, Forward(has_aux))(*primals, seeds)
    return result


# Jacobians --------------------------------------------------------------------------------------------


def jacrev(
    function: Any = None,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    static_argnames: str | Sequence[str] = (),
    fastmath: bool = False,
) -> Any:
    """Turn a function into its Jacobian, by reverse mode: for fewer results than arguments.

    The Jacobian is built like the value, each leaf of which becomes what `grad` gives: built like the
    argument with number `argnums`, or a tuple of several for a tuple. Where the value has shape s and the
    argument shape t it has shape (*s, *t). With `has_aux` the function returns (value, aux), and the result
    is (jacobian, aux). Raises TypeError for results that are not floating-point, NotDifferentiable for such
    arguments.

    >>> import numpy as np
    >>> jacrev(lambda x: x[:2] * x[1:])(np.array([1.0, 2.0, 3.0]))
    array([[2., 1., 0.], [0., 3., 2.]])
    """
    if function is None:
        options: dict[str, Any] = {"static_argnames": static_argnames, "fastmath": fastmath}
        return partial(jacrev, argnums=argnums, has_aux=has_aux, **options)
    transform = ReverseJacobian(_argnums(argnums), has_aux)
    return Function(function, transform, static_argnames, engine_for(fastmath))


def jacfwd(
    function: Any = None,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    static_argnames: str | Sequence[str] = (),
    fastmath: bool = False,
) -> Any:
    """Turn a function into its Jacobian, by forward mode: for fewer arguments than results; see `jacrev`.

    >>> import numpy as np
    >>> jacfwd(lambda x: np.stack([x, x**2, x**3]))(2.0)
    array([ 1.,  4., 12.])
    """
    if function is None:
        options: dict[str, Any] = {"static_argnames": static_argnames, "fastmath": fastmath}
        return partial(jacfwd, argnums=argnums, has_aux=has_aux, **options)
    transform = ForwardJacobian(_argnums(argnums), has_aux)
    return Function(function, transform, static_argnames, engine_for(fastmath))


jacobian = jacrev


def hessian(
    function: Any = None,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    static_argnames: str | Sequence[str] = (),
    fastmath: bool = False,
) -> Any:
    """Turn a function into its second derivatives, forward mode over reverse mode, in one program.

    Each leaf of the value becomes what `jacfwd` of `jacrev` gives: of shape (*t, *t) for an argument of shape
    t, of (*t, *u) for a pair of arguments, in nested containers built like the arguments. With `has_aux` the
    function returns (value, aux), and the result is (hessian, aux).

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 2.0]))
    array([[4., 6.], [6., 0.]])
    """
    if function is None:
        options: dict[str, Any] = {"static_argnames": static_argnames, "fastmath": fastmath}
        return partial(hessian, argnums=argnums, has_aux=has_aux, **options)
    inner = jacrev(function, argnums, has_aux, static_argnames=static_argnames)
    return jacfwd(inner, argnums, has_aux, fastmath=fastmath)
