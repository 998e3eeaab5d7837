"""Functions whose derivative the user writes: one call is one record on the tape."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from jitgrad.eager.backward import gradient_edge
from jitgrad.eager.dispatch import edges_of, saved
from jitgrad.eager.dtypes import Array
from jitgrad.eager.inplace import rebase
from jitgrad.eager.modes import state
from jitgrad.eager.tape import Edge, Record, unpacked
from jitgrad.eager.tensor import CUSTOM, MULTIPLE, Tensor, version_of, wrap
from jitgrad.eager.views import by_steps

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "InplaceFunction", "once_differentiable"]


class FunctionCtx:
    """What the forward and the backward of one call share: `ctx`."""

    to_save: tuple[Any, ...] = ()
    saved_for_forward: tuple[Any, ...] = ()
    dirty_tensors: tuple[Any, ...] = ()
    non_differentiable: tuple[Any, ...] = ()
    materialize_grads: bool = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for the backward, where `saved_tensors` holds them; call it once."""
        self.to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Name the tensors that a `jvp` reads."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Name the inputs that the forward has written to; it has to return them."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Name the outputs that have no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Say whether gradients of unused outputs reach the backward as zeros (the default) or as None."""
        self.materialize_grads = value


class _Kept(NamedTuple):
    """A tensor that was saved for backward: itself, or how to make it again where it would keep itself alive.

    An output is made again from the record, whose output of this `number` it is.
    """

    entry: Any
    tensor: Tensor | None = None
    edge: Edge | None = None
    number: int | None = None


def _kept(record: Record, t: Any, position: int) -> _Kept | None:
    if t is None:
        return None
    if not isinstance(t, Tensor):
        raise TypeError(
            f"save_for_backward can only save variables, but argument {position} is of type "
            f"{type(t).__name__}"
        )
    entry = saved(t._array, t)
    edge = gradient_edge(t)
    if edge is None:
        return _Kept(entry)
    if edge[0] is record:
        return _Kept(entry, number=edge[1])
    plain = not state.saved_hooks and (t._view is None or t._edge is None)
    return _Kept(entry, tensor=t if plain else None, edge=edge)


class BackwardCFunction(Record, FunctionCtx):
    """The record of one call of a Function, and its `ctx`."""

    takes_undefined = True
    _forward_cls: ClassVar[type[Function]]
    needs_input_grad: tuple[bool, ...]

    def __init__(self, args: Sequence[Any], edges: tuple[Edge | None, ...]) -> None:
        super().__init__(edges, ())
        self.needs_input_grad = tuple([isinstance(a, Tensor) and a.requires_grad for a in args])
        self._takes_tensor = tuple([isinstance(a, Tensor) for a in args])

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors given to `save_for_backward`; RuntimeError where they have been freed or written to."""
        return tuple([None if k is None else self._restored(k) for k in Record.saved(self)])

    def _restored(self, kept: _Kept) -> Tensor:
        array = unpacked(kept.entry, type(self).__name__)
        if kept.tensor is not None:
            return kept.tensor
        out = wrap(array)
        out._edge = kept.edge if kept.number is None else (self, kept.number)
        if isinstance(kept.entry, tuple):
            out._version_box = kept.entry[1]
        return out

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        results = self.backward_recorded([None if g is None else wrap(np.asarray(g)) for g in grads])
        return [None if r is None else r._array for r in results]

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        if self.materialize_grads:
            grads = [
                wrap(np.zeros(*meta)) if g is None and meta else g
                for g, meta in zip(grads, self._metas, strict=True)
            ]
        function = self._forward_cls
        own = function.backward if function.backward is not Function.backward else function.vjp
        results = own(self, *grads)
        return self._checked(results if isinstance(results, tuple) else (results,))

    def __repr__(self) -> str:
        return object.__repr__(self)

    def _checked(self, results: tuple[Any, ...]) -> list[Any]:
        """One gradient for each tensor among the arguments."""
        name, count = type(self).__name__, len(self._takes_tensor)
        while len(results) > count and results[-1] is None:
            results = results[:-1]
        if len(results) != count:
            raise RuntimeError(
                f"function {name} returned an incorrect number of gradients (expected {count}, got "
                f"{len(results)})"
            )
        for i, (g, takes) in enumerate(zip(results, self._takes_tensor, strict=True)):
            if g is not None and not takes:
                raise RuntimeError(
                    f"function {name} returned a gradient different than None at position {i + 1}, but the "
                    "corresponding forward input was not a Variable"
                )
            if g is not None and not isinstance(g, Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(g).__name__})")
        return [g for g, takes in zip(results, self._takes_tensor, strict=True) if takes]


class Function:
    """Base of functions with a derivative of their own, called through `apply`.

    A subclass gives `forward(ctx, *args)`, or `forward(*args)` beside `setup_context(ctx, inputs, output)`,
    and `backward(ctx, *grad_outputs)`, which returns a gradient (or None) for each argument. All are static.

    >>> import jitgrad
    >>> class Square(jitgrad.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * g
    >>> x = jitgrad.tensor(3.0, requires_grad=True)
    >>> y = Square.apply(x)
    >>> y.backward()
    >>> y, x.grad
    (tensor(9., grad_fn=<SquareBackward>), tensor(6.))
    """

    generate_vmap_rule = False
    _backward_cls: ClassVar[type[BackwardCFunction]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        members = {"_forward_cls": cls, "__module__": "torch.autograd.function"}
        cls._backward_cls = type(f"{cls.__name__}Backward", (BackwardCFunction,), members)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you "
            "should invoke them on the class itself. Instantiating an autograd function will raise an error "
            "in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style "
            "autograd function with static forward method. (Example: "
            "https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs: one tensor, or a tuple of tensors and other values."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep on ctx what the backward needs, where the forward takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradients of the arguments from those of the outputs."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use "
            "it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Compute the tangents of the outputs; accepted, and not used by reverse mode."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function.")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Compute the function on a batch; accepted, and not used by reverse mode."""
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must override the vmap staticmethod."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function, recorded where an argument requires grad."""
        separate = cls.setup_context is not Function.setup_context
        if separate:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        edges = edges_of([a for a in args if isinstance(a, Tensor)])
        ctx = cls._backward_cls(args, edges or ())
        before, state.grad = state.grad, False
        try:
            if separate:
                outputs = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, outputs)
            else:
                outputs = cls.forward(ctx, *args, **kwargs)
            several = isinstance(outputs, tuple)
            results = _recorded(ctx, args, outputs if several else (outputs,), edges is not None)
        finally:
            state.grad = before
        return results if several else results[0]


# What a call returns --------------------------------------------------------------------------------------


def _among(value: Any, candidates: Sequence[Any]) -> bool:
    return any(value is c for c in candidates)


def _recorded(ctx: BackwardCFunction, args: Sequence[Any], outputs: Sequence[Any], recorded: bool) -> Any:
    """The outputs, each with its place on the tape."""
    if not all(_among(d, outputs) for d in ctx.dirty_tensors):
        raise RuntimeError(
            "Some elements marked as dirty during the forward method were not returned as output. The inputs "
            "that are modified inplace must all be outputs of the Function."
        )
    ctx._metas = tuple([(o._array.shape, o._array.dtype) if isinstance(o, Tensor) else None for o in outputs])  # type: ignore[misc]
    results = tuple([_output(ctx, args, o, i, recorded) for i, o in enumerate(outputs)])
    placed = [r for r in results if isinstance(r, Tensor) and r._edge is not None and r._edge[0] is ctx]
    for out in placed:
        if out._view is not None and not _among(out, ctx.dirty_tensors):
            out._view.multiple = CUSTOM if len(placed) == 1 else MULTIPLE
    if recorded:
        ctx._values = [_kept(ctx, t, i) for i, t in enumerate(ctx.to_save)] or ()
    ctx.to_save = ctx.dirty_tensors = ctx.non_differentiable = ()
    return results


def _output(ctx: BackwardCFunction, args: Sequence[Any], out: Any, number: int, recorded: bool) -> Any:
    if not isinstance(out, Tensor):
        return out
    has_gradient = recorded and out._array.dtype.kind == "f" and not _among(out, ctx.non_differentiable)
    if _among(out, ctx.dirty_tensors):
        _check_writable(out, recorded)
        version_of(out)[0] += 1
        if has_gradient:
            rebase(out, (ctx, number))
        return out
    if _among(out, args):
        out = by_steps(out, (), "ViewBackward0")
    if has_gradient:
        out._edge = (ctx, number)
        out._requires = False
    return out


def _check_writable(t: Tensor, recorded: bool) -> None:
    if recorded and t._requires and t.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")


# Variants -------------------------------------------------------------------------------------------------


class InplaceFunction(Function):
    """A Function with a flag that says whether it works in place."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class Error(Record):
    """The end of what can be differentiated: its backward raises."""

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )

    backward_recorded = backward


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Declare a backward that cannot be differentiated: doing so raises RuntimeError."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        recording, state.grad = state.grad, False
        try:
            outputs = fn(ctx, *args)
        finally:
            state.grad = recording
        edges = edges_of([a for a in args if isinstance(a, Tensor)])
        if edges is None:
            return outputs
        if isinstance(outputs, tuple):
            return tuple([_ending(o, edges) for o in outputs])
        return _ending(outputs, edges)

    return wrapper


def _ending(out: Any, edges: tuple[Edge | None, ...]) -> Any:
    if not isinstance(out, Tensor):
        return out
    ended = out.detach()
    ended._edge = (Error(edges, ((out._array.shape, out._array.dtype),)), 0)
    return ended
