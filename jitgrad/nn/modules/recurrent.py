"""Cells of recurrent networks: one step from a state and an input to the next state."""

from __future__ import annotations

import math
from typing import Any

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.creation import empty, zeros
from jitgrad.eager.tensor import Tensor
from jitgrad.ir import Node
from jitgrad.nn import init
from jitgrad.nn.modules.module import Module
from jitgrad.nn.parameter import Parameter
from jitgrad.ops.algebra import matmul
from jitgrad.ops.elementwise import relu
from jitgrad.ops.linear import swap_last
from jitgrad.ops.shape import window
from jitgrad.ops.table import OPS

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

_sigmoid, _tanh = OPS["sigmoid"], OPS["tanh"]


# Functions of nodes ---------------------------------------------------------------------------------------


def _gates(x: Node, h: Node, parts: tuple[Node, ...]) -> tuple[Any, Any]:
    """What the input and the state give to all gates."""
    of_input, of_state, *biases = parts
    gates = [matmul(x, swap_last(of_input)), matmul(h, swap_last(of_state))]
    first, second = (g + b for g, b in zip(gates, biases, strict=True)) if biases else gates
    return first, second


def _split(gates: Any, count: int) -> list[Any]:
    axis, size = len(gates.shape) - 1, gates.shape[-1] // count
    return [window(gates, axis, i * size, size) for i in range(count)]


def _tanh_step(x: Node, h: Node, *parts: Node) -> Any:
    first, second = _gates(x, h, parts)
    return _tanh(first + second)


def _relu_step(x: Node, h: Node, *parts: Node) -> Any:
    first, second = _gates(x, h, parts)
    return relu(first + second)


def _lstm_step(x: Node, h: Node, c: Node, *parts: Node) -> Any:
    first, second = _gates(x, h, parts)
    enter, forget, value, leave = _split(first + second, 4)
    memory = _sigmoid(forget) * c + _sigmoid(enter) * _tanh(value)
    return _sigmoid(leave) * _tanh(memory), memory


def _gru_step(x: Node, h: Node, *parts: Node) -> Any:
    first, second = _gates(x, h, parts)
    (reset, update, value), (reset_by, update_by, value_by) = _split(first, 3), _split(second, 3)
    new = _tanh(value + _sigmoid(reset + reset_by) * value_by)
    return new + _sigmoid(update + update_by) * (h - new)


# Cells ----------------------------------------------------------------------------------------------------


class _Cell(Module):
    """The parameters of a cell with so many gates as `_count` says."""

    _count: int
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows, named = self._count * hidden_size, {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(empty(rows, input_size, **named))
        self.weight_hh = Parameter(empty(rows, hidden_size, **named))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, **named)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniformly within 1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _step(self, function: Any, recorded: str, input: Any, states: tuple[Any, ...]) -> Any:
        """Apply a step to the input and states, zeros if none are given."""
        self._must_fit(input, states)
        none = zeros(*input.shape[:-1], self.hidden_size, dtype=input.dtype)
        given = states or (none,) * (2 if self._count == 4 else 1)
        parts = (self.weight_ih, self.weight_hh, *((self.bias_ih, self.bias_hh) if self.bias else ()))
        return apply_function(
            function, (input, *given, *parts), {}, recorded if input.ndim == 2 else "SqueezeBackward1"
        )

    def _must_fit(self, input: Any, states: tuple[Any, ...]) -> None:
        if input.ndim not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.ndim}D instead"
            )
        for number, state in enumerate(states):
            if state.ndim not in (1, 2):
                raise ValueError(
                    f"{type(self).__name__}: Expected hidden to be 1D or 2D, got {state.ndim}D instead"
                )
            if input.ndim == 2 and input.shape[0] != state.shape[0]:
                raise RuntimeError(
                    f"Input batch size {input.shape[0]} doesn't match hidden{number} batch size "
                    f"{state.shape[0]}"
                )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.shape[-1]} expected {self.input_size}"
            )
        for number, state in enumerate(states):
            if state.shape[-1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden{number} has inconsistent hidden_size: got {state.shape[-1]}, expected "
                    f"{self.hidden_size}"
                )

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else f", bias={self.bias}")
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return shown + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")


class RNNCell(_Cell):
    """Return tanh(weight_ih @ input + bias_ih + weight_hh @ hidden + bias_hh), or relu of it.

    >>> import jitgrad
    >>> cell = jitgrad.nn.RNNCell(3, 4)
    >>> hidden = None
    >>> for input in jitgrad.ones(5, 2, 3):
    ...     hidden = cell(input, hidden)
    >>> hidden.shape
    torch.Size([2, 4])
    """

    _count = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> Tensor:
        states = () if hx is None else (hx,)
        if self.nonlinearity not in ("tanh", "relu"):
            self._must_fit(input, states)
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        step = _tanh_step if self.nonlinearity == "tanh" else _relu_step
        recorded = "TanhBackward0" if self.nonlinearity == "tanh" else "ReluBackward0"
        return self._step(step, recorded, input, states)  # type: ignore[no-any-return]


class LSTMCell(_Cell):
    """Return the next state and memory of a long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    _count = 4

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        hidden, memory = self._step(_lstm_step, "MulBackward0", input, () if hx is None else tuple(hx))
        return hidden, memory


class GRUCell(_Cell):
    """Return the next state of a gated recurrent unit (Cho et al., 2014)."""

    _count = 3

    def forward(self, input: Any, hx: Tensor | None = None) -> Tensor:
        return self._step(_gru_step, "AddBackward0", input, () if hx is None else (hx,))  # type: ignore[no-any-return]
