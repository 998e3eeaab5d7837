"""What an emitted kernel consists of: its text, its parameters, and how single expressions are spelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jitgrad.ir import Node, literal_value

ALIGNMENT = 64  # bytes, of temporaries

ParameterKind = Literal["size", "literal", "input", "output", "work", "temp"]
COMBINE = {"sum": "{0} + {1}", "prod": "{0} * {1}", "max": "maximum({0}, {1})", "min": "minimum({0}, {1})"}
COMBINE |= {"any": "{0} | {1}", "all": "{0} & {1}"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an emitted function: a size or scalar by value, an array by address.

    `value` is the size, the scalar, the buffer's node, or how many elements the work space or temporary has.
    """

    name: str
    kind: ParameterKind
    dtype: np.dtype[Any]
    value: Any


def padded_bytes(temporary: Parameter) -> int:
    """Return the bytes that a temporary takes, a multiple of ALIGNMENT."""
    size: int = temporary.value * temporary.dtype.itemsize
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Source:
    """An emitted kernel: the text depends on the kernel's form only, the parameters' values on its sizes.

    With `fastmath` its arithmetic may be contracted and reassociated. With `streams` what it writes goes to
    memory past the caches.
    """

    text: str
    parameters: tuple[Parameter, ...]
    units: int
    has_finish: bool
    fastmath: bool = False
    streams: bool = False


@dataclass(slots=True)
class Names:
    """Parameters in the order of their first use."""

    parameters: dict[Any, Parameter] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def parameter(self, key: Any, letter: str, kind: ParameterKind, dtype: Any, value: Any) -> str:
        if key not in self.parameters:
            number = self.counts[letter] = self.counts.get(letter, -1) + 1
            name = letter if letter in ("n", "rows") else f"{letter}{number}"
            self.parameters[key] = Parameter(name, kind, np.dtype(dtype), value)
        return self.parameters[key].name

    def in_order(self) -> tuple[Parameter, ...]:
        """Arrays first, so that their addresses stand together in an argument block; then by name."""
        kinds = ("input", "output", "work", "temp", "size", "literal")
        return tuple(sorted(self.parameters.values(), key=lambda p: kinds.index(p.kind)))

    def size(self, key: Any, value: int, letter: str = "s") -> str:
        return self.parameter(key, letter, "size", np.int64, value)

    def literal(self, node: Node) -> str:
        return self.parameter(node, "c", "literal", node.dtype, literal_value(node))


def type_name(dtype: np.dtype[Any]) -> str:
    return "bool_" if dtype.kind == "b" else dtype.name


def expression(node: Node, args: Sequence[str]) -> str:
    """One scalar op as text; integer arithmetic is brought back to its own width."""
    assert node.op.scalar is not None
    params = {k: type_name(v) if isinstance(v, np.dtype) else v for k, v in node.params}
    text = node.op.scalar.format(*args, **params)
    return f"{type_name(node.dtype)}({text})" if node.dtype.kind in "iu" else text


def combined(op_name: str, dtype: np.dtype[Any], left: str, right: str) -> str:
    text = COMBINE[op_name].format(left, right)
    return f"{type_name(dtype)}({text})" if dtype.kind in "iu" else text
