"""Whether operations are recorded: grad mode, inference mode, anomaly detection, hooks on saved values.

All of it belongs to the thread.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


class _State(threading.local):
    """`grad` says whether to record. `compute(f, *args)` calls f with NumPy's floating-point warnings off."""

    def __init__(self) -> None:
        self.grad = True
        self.inference = False
        self.anomaly = False
        self.check_nan = True
        self.running: Any = None  # the backward pass
        self.evaluating: Any = None  # the record whose backward runs, while anomalies are looked for
        self.saved_hooks: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
        self.saved_hooks_refused: str | None = None
        context = Context()
        context.run(np.seterr, all="ignore")
        self.compute = context.run


state = _State()


class GradMode:
    """Base of the switches that are context managers and decorators at once."""

    _grad: bool | None = None

    def __enter__(self) -> Any:
        self._before = state.grad
        if self._grad is not None:
            state.grad = self._grad

    def __exit__(self, *_: Any) -> None:
        state.grad = self._before

    def __call__(self, function: Function) -> Function:
        """Wrap a function, or a generator function, so that it runs inside."""
        if inspect.isgeneratorfunction(function):
            return self._wrapped_generator(function)  # type: ignore[no-any-return]

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    def _wrapped_generator(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            running = function(*args, **kwargs)
            send, value = running.send, None
            while True:
                try:
                    with self.clone():
                        item = send(value)
                except StopIteration as end:
                    return end.value
                try:
                    send, value = running.send, (yield item)
                except GeneratorExit:
                    with self.clone():
                        running.close()
                    raise
                except BaseException as error:
                    send, value = running.throw, error

        return wrapped

    def clone(self) -> GradMode:
        return type(self)()


class _Switch(GradMode):
    """A grad mode that also decorates without parentheses: `@no_grad`."""

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        return made if function is None else made(function)


class no_grad(_Switch):
    """Record nothing inside: a context manager and a decorator.

    >>> import jitgrad
    >>> x = jitgrad.ones(2, requires_grad=True)
    >>> with jitgrad.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    _grad = False


class enable_grad(_Switch):
    """Record inside, also within `no_grad`: a context manager and a decorator."""

    _grad = True


class set_grad_enabled(GradMode):
    """Switch recording on or off at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        self._before = state.grad
        self._grad = self.mode = mode
        state.grad = mode

    def __enter__(self) -> None:
        state.grad = self.mode

    def __call__(self, function: Function) -> Function:
        state.grad = self._before
        return super().__call__(function)

    def clone(self) -> GradMode:
        return set_grad_enabled(self.mode)


class inference_mode(GradMode):
    """Record nothing, and make tensors that can never take part in recording."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if callable(mode) and not isinstance(mode, bool):
            made.__init__()  # type: ignore[misc]
            return made(mode)
        return made

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        super().__enter__()
        self._inference = state.inference
        state.inference = self.mode
        state.grad = False if self.mode else state.grad

    def __exit__(self, *_: Any) -> None:
        super().__exit__()
        state.inference = self._inference

    def clone(self) -> GradMode:
        return inference_mode(self.mode)


def is_grad_enabled() -> bool:
    return state.grad


def is_inference_mode_enabled() -> bool:
    return state.inference


def is_anomaly_enabled() -> bool:
    return state.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    return state.check_nan
