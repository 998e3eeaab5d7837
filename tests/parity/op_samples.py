"""The calls to compare: PyTorch's own samples of each op, and further shapes, layouts and dtypes."""

from __future__ import annotations

import functools
import itertools
import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import hypothesis
import numpy as np
import torch

_PROFILE = hypothesis.settings.get_current_profile_name()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.opinfo.core import BinaryUfuncInfo, ReductionOpInfo, UnaryUfuncInfo
hypothesis.settings.load_profile(_PROFILE)  # the import above loads one of its own

DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool)
MIXED = (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float32, torch.float64)

OpInfo = Any


@dataclass(frozen=True)
class Sample:
    """The arguments of one call; `process` makes a result unique where the definition leaves a choice."""

    label: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    process: Callable[[Any], Any] = lambda result: result
    own: bool = False


def full_name(op: OpInfo) -> str:
    """The name of an op with that of its variant, as in "div.floor_rounding"."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


OPS: dict[str, OpInfo] = {full_name(op): op for op in op_db}


def dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def described(value: Any) -> str:
    """An argument in a few characters."""
    match value:
        case torch.Tensor():
            return f"{dtype_name(value.dtype)}{list(value.shape)}"
        case list() | tuple():
            return f"({', '.join(map(described, value))})"
        case dict():
            return ", ".join(f"{key}={described(item)}" for key, item in value.items())
    return repr(value)[:40]


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """An argument with a function applied to all that its containers hold."""
    if type(value) in (tuple, list):
        return type(value)(mapped(function, item) for item in value)
    if isinstance(value, dict):
        return {key: mapped(function, item) for key, item in value.items()}
    return function(value)


def with_arguments(function: Callable[[Any], Any], sample: Sample) -> Sample:
    """The sample with a function applied to all of its arguments."""
    return replace(sample, args=mapped(function, sample.args), kwargs=mapped(function, sample.kwargs))


def in_float64(value: Any) -> Any:
    """A float32 tensor, or that dtype, in float64; anything else as it is."""
    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        return value.detach().double().requires_grad_(value.requires_grad)
    return torch.float64 if value is torch.float32 else value


def _seed(*parts: object) -> None:
    number = zlib.crc32(" ".join(map(str, parts)).encode())
    torch.default_generator.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def _sample(prefix: str, args: tuple[Any, ...], kwargs: dict[str, Any], **rest: Any) -> Sample:
    inside = ", ".join(filter(None, [*map(described, args), described(kwargs)]))
    return Sample(f"{prefix} ({inside})", args, kwargs, **rest)


def with_gradient(op: OpInfo, dtype: torch.dtype) -> bool:
    return bool(op.supports_autograd and dtype.is_floating_point)


@functools.lru_cache(maxsize=4)
def held_samples(name: str, dtype: torch.dtype) -> tuple[Sample, ...]:
    """The samples of op_db."""
    op = OPS[name]
    if dtype not in op.dtypes:
        return ()
    _seed(name, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held = list(op.sample_inputs_func(op, "cpu", dtype, with_gradient(op, dtype)))
    return tuple(
        _sample(f"{dtype_name(dtype)} #{i}", (s.input, *s.args), s.kwargs, process=s.output_process_fn_grad)
        for i, s in enumerate(held)
    )


def error_samples(name: str) -> list[Sample]:
    """The calls that op_db expects to fail."""
    op = OPS[name]
    if op.error_inputs_func is None:
        return []
    _seed(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held = [e.sample_input for e in op.error_inputs_func(op, "cpu")]
    return [_sample(f"error #{i}", (s.input, *s.args), s.kwargs) for i, s in enumerate(held)]


def _drawn(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Values that most functions are defined at: between 0.1 and 0.9, or 1, 2, 3, or both booleans."""
    if dtype.is_floating_point:
        return torch.rand(shape, dtype=dtype) * 0.8 + 0.1
    return torch.randint(0, 2, shape).bool() if dtype == torch.bool else torch.randint(1, 4, shape).to(dtype)


def _layouts(dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of every kind of shape and layout."""
    yield "0-d", _drawn((), dtype)
    yield "empty", _drawn((2, 0, 3), dtype)
    yield "transposed", _drawn((4, 3), dtype).t()
    yield "stepped", _drawn((3, 8), dtype)[:, ::2]
    yield "offset", _drawn((4, 5), dtype)[1:, 1:]
    yield "expanded", _drawn((1, 4), dtype).expand(3, 4)


def _special(dtype: torch.dtype) -> torch.Tensor:
    if dtype.is_floating_point:
        inf, info = float("inf"), torch.finfo(dtype)
        values = [float("nan"), inf, -inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, info.tiny, info.max, info.min]
        return torch.tensor(values, dtype=dtype)
    return torch.tensor([0, 1] if dtype == torch.bool else [0, 1, -1, 7, -8], dtype=dtype)


def _unary(op: OpInfo, dtype: torch.dtype) -> Iterator[Sample]:
    for label, x in (*_layouts(dtype), ("special", _special(dtype))):
        yield _sample(label, (x,), {}, own=True)


def _binary(op: OpInfo, dtype: torch.dtype) -> Iterator[Sample]:
    for label, x in _layouts(dtype):
        yield _sample(label, (x, _drawn(tuple(x.shape), dtype)), {}, own=True)
        yield _sample(f"{label} second", (_drawn(tuple(x.shape), dtype), x), {}, own=True)
    yield _sample("broadcast", (_drawn((3, 1), dtype), _drawn((4,), dtype)), {}, own=True)
    yield _sample("broadcast empty", (_drawn((2, 0), dtype), _drawn((1,), dtype)), {}, own=True)
    yield _sample("no broadcast", (_drawn((3,), dtype), _drawn((2,), dtype)), {}, own=True)
    for scalar in (2, 0.5, True):
        yield _sample("scalar", (_drawn((3,), dtype), scalar), {}, own=True)
        yield _sample("scalar first", (scalar, _drawn((3,), dtype)), {}, own=True)


def _reduction(op: OpInfo, dtype: torch.dtype) -> Iterator[Sample]:
    choices: list[dict[str, Any]] = [{}, {"dim": 0}, {"dim": -1, "keepdim": True}, {"dim": 3}]
    if op.supports_multiple_dims:
        choices.append({"dim": (0, -1)})
    for (label, x), kwargs in itertools.product((*_layouts(dtype), ("special", _special(dtype))), choices):
        yield _sample(label, (x,), kwargs, own=True)


def _ask_gradients(op: OpInfo, tensors: tuple[Any, ...]) -> None:
    for x in tensors:
        if isinstance(x, torch.Tensor) and with_gradient(op, x.dtype):
            x.requires_grad_()


_OWN = ((UnaryUfuncInfo, _unary), (BinaryUfuncInfo, _binary), (ReductionOpInfo, _reduction))


@functools.lru_cache(maxsize=4)
def own_samples(name: str, dtype: torch.dtype) -> tuple[Sample, ...]:
    """Shapes and layouts that op_db leaves out, for elementwise ops and reductions."""
    op = OPS[name]
    _seed("own", name, dtype)
    found = [s for kind, samples in _OWN if isinstance(op, kind) for s in samples(op, dtype)]
    if dtype not in op.dtypes:
        return ()
    for sample in found:
        _ask_gradients(op, sample.args)
    return tuple(replace(sample, label=f"{dtype_name(dtype)} {sample.label}") for sample in found)


@functools.lru_cache(maxsize=2)
def mixed_samples(name: str) -> tuple[Sample, ...]:
    """For a binary op every pair of dtypes: two arrays, an array and a 0-d one, and one with a number."""
    op = OPS[name]
    if not isinstance(op, BinaryUfuncInfo):
        return ()
    _seed("mixed", name)
    pairs = [(x, y) for x, y in itertools.product(MIXED, MIXED) if x != y]
    calls: list[tuple[str, Any, Any]] = []
    for x, y in pairs:
        calls.append(("mixed", _drawn((2, 3), x), _drawn((3,), y)))
        calls.append(("mixed with 0-d", _drawn((3,), x), _drawn((), y)))
    for x in MIXED:
        calls += [("mixed with number", _drawn((3,), x), number) for number in (True, 2, 1.5)]
    for _, x, y in calls:
        _ask_gradients(op, (x, y))
    return tuple(_sample(label, (x, y), {}, own=True) for label, x, y in calls)
