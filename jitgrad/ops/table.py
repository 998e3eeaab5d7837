"""The op table: how an op is declared, and the registry that every other module reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from jitgrad.errors import NotDifferentiable
from jitgrad.ir import LITERAL, Aval, Node, Op, literal, literal_value
from jitgrad.ops.samples import Domain, Draw, Kink, Sample, Samples, elementwise, with_kinks

OPS: dict[str, Op] = {}
COMPOSITES: dict[str, Composite] = {}
NUMPY: dict[
    Any, Callable[..., Any]
] = {}  # NumPy function -> the op or composite that computes it on traced values

Typing = Callable[..., tuple[np.dtype[Any], ...]]


@dataclass(frozen=True, slots=True)
class Composite:
    """A public function written with other ops; it inherits their derivatives, kernels and dtype rules.

    Its tests compare it with `reference`, which is the NumPy function where there is one.
    """

    name: str
    function: Callable[..., Any]
    numpy: Callable[..., Any] | None
    samples: Samples | None
    reference: Callable[..., Any] | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.function(*args, **kwargs)
        settle = getattr(result, "__settle__", None)
        return result if settle is None else settle(self, args)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def register(op: Op, *numpy_functions: Any) -> Op:
    assert op.name not in OPS, f"op {op.name} is declared twice"
    OPS[op.name] = op
    for function in numpy_functions:
        NUMPY[function] = op
    return op


def composite(
    numpy: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    samples: Samples | None = None,
    kinks: tuple[Kink, ...] = (),
    reference: Callable[..., Any] | None = None,
    also: tuple[Any, ...] = (),
) -> Callable[[Callable[..., Any]], Composite]:
    """Declare a function of ops under its NumPy counterpart, or under `name` where NumPy has none."""
    given = samples and with_kinks(samples, kinks)

    def declare(function: Callable[..., Any]) -> Composite:
        title = name or (numpy.__name__ if numpy is not None else function.__name__)
        assert title not in COMPOSITES, f"composite {title} is declared twice"
        COMPOSITES[title] = made = Composite(title, function, numpy, given, reference or numpy)
        for key in (numpy, *also):
            if key is not None:
                NUMPY[key] = made
        return made

    return declare


# Elementwise ops --------------------------------------------------------------------------------------


def typed_like(ufunc: np.ufunc) -> Typing:
    """The dtype rule of a ufunc: dtypes (or Python types, for weak scalars) to argument and result dtypes."""

    @cache
    def typing(*given: Any) -> tuple[np.dtype[Any], ...]:
        return ufunc.resolve_dtypes((*given, *(None,) * ufunc.nout))

    return typing


_PYTHON_TYPE: dict[str, type] = {"i": int, "u": int, "f": float, "c": complex}


def _given(aval: Aval) -> Any:
    return _PYTHON_TYPE.get(aval.dtype.kind, aval.dtype) if aval.weak else aval.dtype


def _types(typing: Typing, avals: tuple[Aval, ...]) -> tuple[np.dtype[Any], ...]:
    if all(a.weak for a in avals):
        return typing(*(a.dtype for a in avals))
    return typing(*map(_given, avals))


def _infer_map(typing: Typing, *avals: Aval, **params: Any) -> Aval:
    dtype = _types(typing, avals)[-1]
    shape = np.broadcast_shapes(*(a.shape for a in avals))
    return Aval(shape, dtype, bool(avals) and all(a.weak for a in avals))


def _bind_map(typing: Typing, op: Op, *nodes: Node, **params: Any) -> Node:
    avals = tuple(n.aval for n in nodes)
    *wanted, dtype = _types(typing, avals)
    shape = broadcast_shapes(op.name, *(a.shape for a in avals))
    args = tuple(broadcast(cast_to(n, t), shape) for n, t in zip(nodes, wanted, strict=True))
    return Node(op, args, tuple(sorted(params.items())), Aval(shape, dtype, all(a.weak for a in avals)))


def _bind_ufunc(typing: Typing, op: Op, *nodes: Node, **params: Any) -> Node:
    """Like _bind_map for what NumPy has as a ufunc: a Python integer must fit the dtype that it takes.

    In a comparison it need not, and decides the outcome.
    """
    if any(n.aval.weak and n.op is LITERAL and n.aval.dtype.kind in "iu" for n in nodes):
        *wanted, dtype = _types(typing, tuple(n.aval for n in nodes))
        sides = [_side(n, t) for n, t in zip(nodes, wanted, strict=True)]
        if any(sides):
            if dtype.kind != "b":
                raise OverflowError(f"{op.name}: a Python integer does not fit the array's {dtype}")
            shape = broadcast_shapes(op.name, *(n.shape for n in nodes))
            same: Node = OPS["rearrange"](literal(op.numpy(*sides)), shape=shape, source=(None,) * len(shape))
            return same
    return _bind_map(typing, op, *nodes, **params)


def _side(node: Node, dtype: np.dtype[Any]) -> int:
    """On which side of an integer dtype's range a literal lies: -1 below, 1 above, 0 within."""
    if node.op is not LITERAL or dtype.kind not in "iu":
        return 0
    value, limits = int(literal_value(node)), np.iinfo(dtype)
    return (value > limits.max) - (value < limits.min)


def require_fit(value: Any, dtype: np.dtype[Any]) -> None:
    """Refuse a Python integer that is to become an element of an integer dtype too narrow for it."""
    if isinstance(value, int) and dtype.kind in "iu":
        if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            raise OverflowError(f"the integer {value} does not fit {dtype}")


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    distinct = {s for s in shapes if s}
    if len(distinct) <= 1:
        return distinct.pop() if distinct else ()
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(map(str, shapes))
        raise ValueError(
            f"{name}: shapes {listed} do not broadcast; sizes must be equal or 1, counted from the last"
        ) from None


def cast_to(node: Node, dtype: np.dtype[Any]) -> Node:
    """The node in another dtype; a weak scalar becomes strong only in dtype, not in kind."""
    if node.aval.dtype == dtype:
        return node
    if node.op is LITERAL:
        return literal(literal_value(node), dtype, weak=node.aval.weak)
    cast: Node = OPS["cast"](node, dtype=dtype)
    return cast


def broadcast(node: Node, shape: tuple[int, ...]) -> Node:
    """The node in a larger shape by NumPy's rule; a literal stays a scalar, which elementwise ops accept."""
    if node.shape == shape or node.op is LITERAL:
        return node
    lead = len(shape) - node.ndim
    source = tuple(None if j < lead or node.shape[j - lead] != n else j - lead for j, n in enumerate(shape))
    wide: Node = OPS["rearrange"](node, shape=shape, source=source)
    return wide


Partial = Callable[..., Any] | None


def map_op(
    name: str,
    numpy: Callable[..., Any],
    scalar: str,
    *partials: Partial,
    like: np.ufunc | None = None,
    typing: Typing | None = None,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    scalar_kinds: str = "biuf",
    cost: int = 1,
    undefined: str = "",
    domain: Domain = (-2.0, 2.0),
    samples: Samples | None = None,
    kinks: tuple[Kink, ...] = (),
    reference: Callable[..., Any] | None = None,
    also: tuple[Any, ...] = (),
) -> Op:
    """Declare an elementwise op.

    `numpy` computes it on arrays, `scalar` on one element ("{0} * {1}", or a function of `jitgrad.vmath`) of
    a dtype whose kind is among `scalar_kinds`; other dtypes are left to `numpy`.
    One partial derivative per argument, each a function of (output, *args) written with ops, or None where
    the derivative is zero everywhere, gives both reverse and forward mode; `vjp` and `jvp` replace them where
    a product will not do. Dtypes follow the ufunc `like` (`numpy` itself by default). Tests draw arguments
    from `domain`, one interval or one for each; `kinks` are (arguments, derivatives) at undefined points.
    """
    ufunc: Any = like or numpy
    rule = typing or typed_like(ufunc)
    made = samples or _typed_samples(rule, getattr(ufunc, "nin", 1), domain)

    def vjp_of_partials(g: Any, out: Any, *args: Any, **params: Any) -> tuple[Any, ...]:
        return tuple([None if p is None else times(g, p(out, *args, **params)) for p in partials])

    def jvp_of_partials(tangents: tuple[Any, ...], out: Any, *args: Any, **params: Any) -> Any:
        terms = [
            times(t, p(out, *args, **params))
            for t, p in zip(tangents, partials, strict=True)
            if t is not None and p is not None
        ]
        return sum(terms[1:], terms[0]) if terms else None

    op = Op(
        name,
        "map",
        numpy,
        infer=partial(_infer_map, rule),
        bind=partial(_bind_map if typing else _bind_ufunc, rule),
        vjp=vjp or (vjp_of_partials if partials else None),
        jvp=jvp or (jvp_of_partials if partials else None),
        scalar=scalar,
        scalar_kinds=scalar_kinds,
        cost=cost,
        undefined=undefined,
        samples=with_kinks(made, kinks),
        reference=reference or numpy,
        partials=partials if partials and vjp is None else None,
    )
    return register(op, *((numpy,) if isinstance(numpy, np.ufunc) else ()), *also)


def times(g: Any, partial: Any) -> Any:
    """A cotangent or tangent times a partial derivative, which is often the number 1 or -1."""
    if partial.__class__ is int:
        return g if partial == 1 else -g if partial == -1 else g * partial
    return g * partial


def _typed_samples(typing: Typing, arity: int, domain: Domain) -> Samples:
    drawn = elementwise(arity, domain)

    def samples(d: Draw) -> list[Sample]:
        try:
            typing(*(d.dtype,) * arity)
        except TypeError:
            return []  # the op does not take this dtype
        return drawn(d)

    return samples


# Other primitives -------------------------------------------------------------------------------------


def bind_plain(op: Op, *nodes: Node, **params: Any) -> Node:
    """A node for arguments that need neither broadcasting nor casting."""
    return Node(op, nodes, tuple(sorted(params.items())), op.infer(*(n.aval for n in nodes), **params))


def linear_op(
    name: str,
    kind: Any,
    numpy: Callable[..., Any],
    infer: Callable[..., Aval],
    transpose: Callable[..., Any],
    *,
    bind: Callable[..., Node] = bind_plain,
    cost: int = 1,
    samples: Samples | None = None,
) -> Op:
    """Declare an op that is linear in all its floating arguments together.

    Its tangent is the op itself, its vjp is `transpose(g, out, *args, **params)`, one cotangent per argument.
    """

    def jvp(tangents: tuple[Any, ...], out: Any, *args: Any, **params: Any) -> Any:
        filled = tuple(zeros_like(a) if t is None else t for t, a in zip(tangents, args, strict=True))
        return OPS[name](*filled, **params)

    op = Op(
        name, kind, numpy, infer, bind, vjp=transpose, jvp=jvp, cost=cost, samples=samples, reference=numpy
    )
    return register(op)


def primitive(
    name: str,
    kind: Any,
    numpy: Callable[..., Any],
    infer: Callable[..., Aval],
    vjp: Callable[..., Any] | None,
    jvp: Callable[..., Any] | None,
    *,
    bind: Callable[..., Node] = bind_plain,
    scalar: str | None = None,
    cost: int = 1,
    samples: Samples | None = None,
    undefined: str = "",
    reference: Callable[..., Any] | None = None,
) -> Op:
    """Declare any other op by both its derivative rules; None for a rule makes its use an error."""
    notes: dict[str, Any] = {"samples": samples, "undefined": undefined, "reference": reference or numpy}
    return register(Op(name, kind, numpy, infer, bind, vjp, jvp, scalar, cost=cost, **notes))


def zeros_like(x: Any) -> Any:
    """Zeros in the shape and dtype of any kind of value, or of what is known of an array."""
    if not getattr(x, "__rank__", 0):
        return np.zeros(x.shape, x.dtype)
    zero = literal(0, x.dtype)
    return OPS["rearrange"](zero, shape=x.shape, source=(None,) * len(x.shape)) if x.shape else zero


def is_differentiable(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f"


def vjp_of(node: Node, g: Node) -> tuple[Node | None, ...]:
    """The cotangents of a node's arguments, by its op's rule."""
    if node.op.vjp is None:
        where = f" at {node.where}" if node.where else ""
        raise NotDifferentiable(f"{node.op.name}{where} has no derivative")
    return node.op.vjp(g, node, *node.args, **dict(node.params))
