"""One op called in one of its forms with one library: its result, error, warnings and gradient."""

from __future__ import annotations

import operator
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from comparing import seen
from libraries import ORACLE, Library, NotOffered
from op_samples import OpInfo, Sample, full_name

# op_db holds the arguments of these functions in another form than PyTorch takes them.
REORDERED: dict[str, Callable[..., tuple[Any, ...]]] = {
    "einsum": lambda tensors, equation: (equation, tensors),
    "polygamma": lambda x, n: (n, x),
    "special.polygamma": lambda x, n: (n, x),
    "where": lambda x, condition, other: (condition, x, other),
    "nn.functional.embedding": lambda weight, indices: (indices, weight),
    "linalg.pinv.singular": lambda a, b: (a @ b.mT,),
}


@dataclass(frozen=True)
class Form:
    """A way to call an op: as a function, a method, an operator, or in place."""

    what: str
    name: str
    call: Callable[..., Any]
    offered: Callable[[Library], bool]
    plain: bool = False  # takes positional arguments only
    few: bool = False  # a second name for the same, so a few samples will do

    @property
    def in_place(self) -> bool:
        return self.what == "in-place"


@dataclass(frozen=True)
class Outcome:
    """What a call did; `gradient` holds cotangents of the inputs or the error that they raised."""

    result: Any = None
    raw: Any = None
    inputs: Any = None
    same_object: bool = False
    error: Exception | None = None
    warned: tuple[type[Warning], ...] = ()
    gradient: Any = None


def _function(what: str, dotted: str, op: OpInfo, few: bool) -> Form | None:
    found = ORACLE.find(dotted)
    if not callable(found) or isinstance(found, type):
        return None
    order = REORDERED.get(full_name(op)) or REORDERED.get(op.name, lambda *args: args)

    def call(library: Library, *args: Any, **kwargs: Any) -> Any:
        return library.need(dotted)(*order(*args), **kwargs)

    return Form(what, f"torch.{dotted}", call, lambda library: callable(library.find(dotted)), few=few)


def _method(what: str, name: str, few: bool) -> Form | None:
    if not hasattr(torch.Tensor, name):
        return None

    def call(_: Library, x: Any, *args: Any, **kwargs: Any) -> Any:
        found = getattr(x, name)
        return found(*args, **kwargs) if callable(found) else found

    return Form(what, f"Tensor.{name}", call, lambda library: hasattr(library.module.Tensor, name), few=few)


def _operator(what: str, function: Any, name: str) -> Form | None:
    if not callable(function) or not hasattr(torch.Tensor, f"__{function.__name__.strip('_')}__"):
        return None

    def call(_: Library, *args: Any) -> Any:
        return function(*args)

    method = f"__{function.__name__.strip('_')}__"
    offered = lambda library: hasattr(library.module.Tensor, method)
    return Form(what, f"operator.{function.__name__}", call, offered, plain=True)


def forms(op: OpInfo) -> Iterator[Form]:
    """Every form of the op that PyTorch has, those of its aliases included."""
    for name in (op.name, *(alias.name for alias in op.aliases)):
        few = name != op.name
        found = [
            _function("value", name, op, few),
            _method("method", name, few),
            _method("in-place", f"{name}_", few),
            _function("in-place", f"{name}_", op, True),
        ]
        yield from filter(None, found)
    in_place = op.inplace_operator_variant or getattr(operator, f"i{op.name}", None)
    found = [_operator("operator", op.operator_variant, op.name), _operator("in-place", in_place, op.name)]
    yield from filter(None, found)


def suits(form: Form, sample: Sample) -> bool:
    """Whether the sample can be written in this form at all."""
    if form.plain:
        tensors = [x for x in sample.args if isinstance(x, torch.Tensor)]
        first = isinstance(sample.args[0], torch.Tensor) or not form.in_place
        return not sample.kwargs and bool(tensors) and first
    return form.what == "value" or isinstance(sample.args[0], torch.Tensor)


def tensors_in(library: Library, value: Any) -> Iterator[Any]:
    """The tensors inside nested arguments or results, in order."""
    if isinstance(value, library.module.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(library, item)
    elif isinstance(value, dict):
        yield from tensors_in(library, list(value.values()))


def _weights(library: Library, output: Any, place: int) -> Any:
    """The fixed random projection of an output."""
    rng = np.random.default_rng(zlib.crc32(f"{place} {tuple(output.shape)}".encode()))
    dtype = str(output.dtype).removeprefix("torch.")
    values = rng.uniform(-1, 1, tuple(output.shape)).astype(np.float32)  # the same numbers in each dtype
    return library.module.from_numpy(np.asarray(values, dtype))


def _gradient(library: Library, results: Any, inputs: list[Any]) -> Any:
    outputs = [y for y in tensors_in(library, results) if y.requires_grad]
    if not outputs:
        return None
    weights = [_weights(library, y, i) for i, y in enumerate(outputs)]
    return library.module.autograd.grad(outputs, inputs, weights, allow_unused=True)


def _tried(library: Library, form: Form, sample: Sample, gradient: bool) -> Outcome:
    args, kwargs = library.convert(sample.args), library.convert(sample.kwargs)
    inputs = [x for x in tensors_in(library, (args, kwargs)) if x.requires_grad]
    if form.in_place and gradient:
        args = (args[0].clone(), *args[1:])
    try:
        raw = form.call(library, *args, **kwargs)
        outcome = Outcome(
            seen(library, raw), raw, seen(library, list(tensors_in(library, (args, kwargs)))), raw is args[0]
        )
    except NotOffered:
        raise
    except Exception as error:
        return Outcome(error=error)
    if not (gradient and inputs):
        return outcome
    try:
        return replace(outcome, gradient=seen(library, _gradient(library, sample.process(raw), inputs)))
    except Exception as error:
        return replace(outcome, gradient=error)


def called(library: Library, form: Form, sample: Sample, gradient: bool) -> Outcome:
    """The outcome of the call; with `gradient` also that of a fixed projection of its results."""
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome = _tried(library, form, sample, gradient)
    finally:
        torch.set_warn_always(always)
    return replace(outcome, warned=tuple({w.category for w in caught}))
