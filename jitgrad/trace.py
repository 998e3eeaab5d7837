"""Run a function once on traced values, to learn the nodes that compute its result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from jitgrad.errors import TraceError
from jitgrad.ir import INPUT, Aval, Node, input_node, toposort
from jitgrad.location import is_ours, user_line, user_name
from jitgrad.pytree import Tree, flatten
from jitgrad.traced import Trace, Traced, active


def trace(
    function: Callable[[list[Traced]], Any], avals: Sequence[Aval], scalars: Sequence[bool]
) -> tuple[tuple[Node, ...], list[Any], Tree]:
    """Return the input nodes, the leaves of the result (nodes, and what is not traced) and the result's tree.

    `scalars` says which inputs are immutable numbers. Errors that this library raises inside name the
    user's line.
    """
    where = user_line()
    inputs = tuple(input_node(aval) for aval in avals)
    recording = Trace()
    before, active.trace = active.trace, recording
    try:
        values = [Traced(n, recording, where, scalar=s) for n, s in zip(inputs, scalars, strict=True)]
        with _errors_name_the_line():
            result = function(values)
        leaves, tree = flatten(result)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Traced)]
        nodes = recording.captures.settled([leaves[i].node for i in places])
    finally:
        recording.active = False
        active.trace = before
    _check_inputs(nodes, inputs)
    for i, node in zip(places, nodes, strict=True):
        leaves[i] = node
    return inputs, leaves, tree


def _check_inputs(outputs: Sequence[Node], inputs: Sequence[Node]) -> None:
    known = set(inputs)
    if any(node.op is INPUT and node not in known for node in toposort(outputs)):
        raise TraceError(
            "the function uses a value of another trace: one under way in another thread, "
            "or an example of a vmap that has ended"
        )


@contextmanager
def _errors_name_the_line() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, IndexError, OverflowError, NotImplementedError) as error:
        if isinstance(error.__cause__, TraceError):  # NumPy's own error, raised on ours
            raise error.__cause__ from None
        where = _line_that_called_us(error.__traceback__)
        if where is None or where in str(error):
            raise
        raise _with_line(error, where).with_traceback(error.__traceback__) from error.__cause__


def _line_that_called_us(traceback: TracebackType | None) -> str | None:
    """The user's innermost line; None if the error is not from this library, called by that line."""
    where, ours = None, False
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        name = user_name(file)
        if name:
            where, ours = f"{name}:{traceback.tb_lineno}", False
        else:
            ours = ours or is_ours(file)
        traceback = traceback.tb_next
    return where if ours else None


def _with_line(error: Exception, where: str) -> Exception:
    message = str(error)
    name = re.match(r"[\w.]+(?=: )", message)
    message = f"{name[0]} at {where}{message[name.end() :]}" if name else f"at {where}: {message}"
    try:
        return type(error)(message)
    except TypeError:  # NumPy has error types that take other arguments
        return TypeError(message) if isinstance(error, TypeError) else ValueError(message)
