"""Tensors drawn from random distributions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.arithmetic import shape_error
from jitgrad.eager.functions.factory import (
    NumpyDtype,
    blank_like,
    factory,
    integer_argument,
    negative_dimension,
    shape_argument,
)
from jitgrad.eager.functions.operands import only_kinds, scalar_type, wrong_combination
from jitgrad.eager.functions.random import Generator, source
from jitgrad.eager.inplace import overwrite
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node

__all__ = [
    "bernoulli",
    "binomial",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
]

# Samples as arrays ----------------------------------------------------------------------------------------

_CPLUSPLUS = {
    **{"bool": "bool", "uint8": "unsigned char", "int8": "signed char", "int16": "short", "int32": "int"},
    **{"int64": "long", "float16": "c10::Half", "float32": "float", "float64": "double"},
}


def _uniform(draw: Any, shape: Any, dtype: NumpyDtype) -> Array:
    """Uniform in [0, 1): float16 from as many bits as it has, so that nothing rounds to 1."""
    if dtype.kind == "c":
        return _complex(_uniform(draw, (*shape, 2), _part(dtype)), dtype)
    only_kinds("check_uniform_bounds", "f", dtype)
    if dtype.itemsize == 2:
        return np.asarray(draw.integers(0, 2**11, shape) / 2**11, dtype)
    return np.asarray(draw.random(shape, dtype.type), dtype)


def _standard(draw: Any, shape: Any, dtype: NumpyDtype) -> Array:
    """Standard normal; a complex number's parts have half the variance each."""
    if dtype.kind == "c":
        return _complex(_standard(draw, (*shape, 2), _part(dtype)) * _part(dtype).type(0.5**0.5), dtype)
    only_kinds("normal_kernel_cpu", "f", dtype)
    if dtype.itemsize == 2:
        return np.asarray(draw.standard_normal(shape, np.float32), dtype)
    return np.asarray(draw.standard_normal(shape, dtype.type), dtype)


def _complex(parts: Array, dtype: NumpyDtype) -> Array:
    """The complex numbers whose real and imaginary parts lie in the last axis."""
    numbers: Array = parts.view(dtype)[..., 0]
    return numbers


def _part(dtype: NumpyDtype) -> NumpyDtype:
    return dtypes.of(dtype).to_real().numpy


def _integers(draw: Any, low: int, high: int, shape: Any, dtype: NumpyDtype) -> Array:
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    lowest, highest = _limits(dtype)
    for name, value in (("from", low), ("to - 1", high - 1)):
        if not lowest <= value <= highest:
            raise RuntimeError(f"{name} is out of bounds for {_CPLUSPLUS.get(dtype.name, dtype.name)}")
    return np.asarray(draw.integers(low, high, shape), dtype)


def _limits(dtype: NumpyDtype) -> tuple[float, float]:
    if dtype.kind == "b":
        return 0, 1
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return limits.min, limits.max


def _laid_out(like: Tensor, values: Array, memory_format: Any) -> Array:
    out = blank_like(like._array, values.dtype, memory_format)
    out[...] = values
    return out


# Tensors of a size ----------------------------------------------------------------------------------------


def _size(size: tuple[Any, ...], named: dict[str, Any], function: str) -> tuple[int, ...]:
    if "size" in named and not size:
        size = (named.pop("size"),)
    elif not size:
        raise wrong_combination(function, (), "tuple of ints size")
    if named:
        raise TypeError(f"{function}() got an unexpected keyword argument '{next(iter(named))}'")
    return shape_argument(size, function)


@factory
def rand(*size: Any, dtype: NumpyDtype | None, generator: Generator | None = None, **named: Any) -> Array:
    """Make a tensor drawn uniformly from [0, 1), of sizes given one by one or as one sequence."""
    shape = _size(size, named, "rand")
    return _uniform(source(generator, "rand"), shape, dtype or dtypes.DEFAULT.floating.numpy)


@factory
def randn(*size: Any, dtype: NumpyDtype | None, generator: Generator | None = None, **named: Any) -> Array:
    """Make a tensor drawn from the standard normal distribution.

    >>> import jitgrad
    >>> jitgrad.randn(2, 3).shape
    torch.Size([2, 3])
    """
    shape = _size(size, named, "randn")
    return _standard(source(generator, "randn"), shape, dtype or dtypes.DEFAULT.floating.numpy)


_RANDINT = ("int high, tuple of ints size", "int low, int high, tuple of ints size")


@factory
def randint(*args: Any, dtype: NumpyDtype | None, generator: Generator | None = None, **named: Any) -> Array:
    """Make a tensor of integers drawn from low (0) to before high: randint([low,] high, size)."""
    names = ("low", "high", "size") if len(args) == 3 or "high" in named else ("high", "size")
    if len(args) == 2 and "size" in named:
        names = ("low", "high")
    given = {"low": 0, **dict(zip(names, args, strict=False)), **named}
    if given.keys() != {"low", "high", "size"} or len(args) > 3:
        raise wrong_combination("randint", args, *_RANDINT)
    low, high = (integer_argument(given[name], "randint", name, 1) for name in ("low", "high"))
    if not isinstance(given["size"], (tuple, list)):
        kind = type(given["size"]).__name__
        raise TypeError(
            f"randint(): argument 'size' (position {len(args)}) must be tuple of ints, not {kind}"
        )
    shape = shape_argument((given["size"],), "randint")
    return _integers(source(generator, "randint"), low, high, shape, dtype or dtypes.int64.numpy)


@factory
def randperm(n: Any, *, dtype: NumpyDtype | None, generator: Generator | None = None) -> Array:
    """Make a tensor of the integers from 0 to before n in random order."""
    count = integer_argument(n, "randperm", "n", 1)
    wanted = dtype or dtypes.int64.numpy
    if count < 0:
        raise negative_dimension((count,))
    if wanted.kind in "iu" and count > np.iinfo(wanted).max + 1:
        raise RuntimeError(f"value cannot be converted to type {wanted.name}_t without overflow")
    return source(generator, "randperm").permutation(count).astype(wanted)


@factory
def rand_like(
    input: Tensor, *, dtype: NumpyDtype | None, memory_format: Any = None, generator: Any = None
) -> Array:
    """Make a tensor drawn uniformly from [0, 1), of the size and dtype of another."""
    array = require_tensor(input, "rand_like")._array
    values = _uniform(source(generator, "rand_like"), array.shape, dtype or array.dtype)
    return _laid_out(input, values, memory_format)


@factory
def randn_like(
    input: Tensor, *, dtype: NumpyDtype | None, memory_format: Any = None, generator: Any = None
) -> Array:
    """Make a tensor drawn from the standard normal distribution, of the size and dtype of another."""
    array = require_tensor(input, "randn_like")._array
    values = _standard(source(generator, "randn_like"), array.shape, dtype or array.dtype)
    return _laid_out(input, values, memory_format)


@factory
def randint_like(
    input: Tensor,
    *bounds: Any,
    dtype: NumpyDtype | None,
    memory_format: Any = None,
    generator: Any = None,
    **named: Any,
) -> Array:
    """Make a tensor of integers from low (0) to before high, of the size and dtype of another."""
    array = require_tensor(input, "randint_like")._array
    given = {"low": 0, **dict(zip(("low", "high")[-len(bounds) :] if bounds else (), bounds, strict=True))}
    given |= named
    low, high = (integer_argument(given[name], "randint_like", name, 2) for name in ("low", "high"))
    draw = source(generator, "randint_like")
    return _laid_out(input, _integers(draw, low, high, array.shape, dtype or array.dtype), memory_format)


# Tensors of parameters ------------------------------------------------------------------------------------


def _drawn(values: Node, *parameters: Node) -> Node:
    """The samples; gradients of their parameters are zero, as in PyTorch."""
    return values


def _recorded(values: Array, parameters: tuple[Tensor, ...], name: str) -> Tensor:
    if state.grad and any(p.requires_grad for p in parameters):
        result: Tensor = apply_function(_drawn, (wrap(values), *parameters), {}, name)
        return result
    return wrap(values)


_NORMAL = (
    *("Tensor mean, Tensor std", "Tensor mean, float std = 1", "float mean, Tensor std"),
    "float mean, float std, tuple of ints size",
)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Make a tensor drawn from normal distributions: normal(mean, std), one a tensor, or normal(m, s, size).

    Raises RuntimeError for a negative standard deviation.
    """
    tensors = tuple(x for x in (mean, std) if isinstance(x, Tensor))
    if (size is None) == (not tensors):
        raise wrong_combination("normal", (mean, std), *_NORMAL)
    if not tensors:
        blank = rand(size, out=out, **options)
        return blank.normal_(mean, std, generator=generator)  # type: ignore[no-any-return]
    _no_negative(std)
    dtype = tensors[0]._array.dtype
    try:
        shape = np.broadcast_shapes(*(t._array.shape for t in tensors))
    except ValueError:
        raise shape_error([t._array.shape for t in tensors]) from None
    center, width = (x._array if isinstance(x, Tensor) else x for x in (mean, std))
    values = _standard(source(generator, "normal"), shape, dtype) * width + center
    form = 3 if len(tensors) == 2 else 1 if isinstance(mean, Tensor) else 2
    result = _recorded(np.asarray(values, dtype), tensors, f"NormalBackward{form}")
    return result if out is None else out.copy_(result)


def _no_negative(std: Any) -> None:
    if isinstance(std, Tensor):
        if (std._array < 0).any():
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")


@define(out=True)
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Make a tensor of zeros and ones: ones with the probabilities in a tensor, or with probability p."""
    array = require_tensor(input, "bernoulli")._array
    probability = array if p is None else np.asarray(p)
    if p is None:
        only_kinds("bernoulli_tensor_cpu_p_", "f", array.dtype)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    values = source(generator, "bernoulli").random(array.shape) < probability
    return _recorded(np.asarray(values).astype(array.dtype), (input,), "BernoulliBackward0")


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Make a tensor drawn from Poisson distributions with the rates in a tensor."""
    rates = require_tensor(input, "poisson")._array
    only_kinds("poisson_cpu", "f", rates.dtype)
    if (rates < 0).any():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    values = np.asarray(source(generator, "poisson").poisson(rates))
    return _recorded(values.astype(rates.dtype), (input,), "PoissonBackward0")


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Make a tensor drawn from binomial distributions with the counts and probabilities in tensors."""
    counts, probabilities = (require_tensor(t, "binomial")._array for t in (count, prob))
    values = source(generator, "binomial").binomial(counts.astype(np.int64), probabilities)
    return _recorded(np.asarray(values).astype(counts.dtype), (count, prob), "BinomialBackward0")


@define(out=True, exact=True)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Draw indices with the probabilities, up to a factor, in the last axis of a tensor.

    Raises RuntimeError for what is no such distribution, and for more samples than there are categories
    unless `replacement` allows them to repeat.
    """
    weights = require_tensor(input, "multinomial")._array
    count = integer_argument(num_samples, "multinomial", "num_samples", 2)
    _check_weights(weights, count, replacement)
    draw = source(generator, "multinomial")
    wide = weights.astype(np.float64)
    if not replacement:  # the smallest of exponential times, each of the rate of its category
        with np.errstate(divide="ignore"):
            times = draw.standard_exponential(wide.shape) / wide
        return wrap(np.argsort(times, axis=-1, kind="stable")[..., :count].astype(np.int64))
    bounds = np.cumsum(wide, axis=-1)
    points = draw.random((*wide.shape[:-1], count)) * bounds[..., -1:]
    return wrap((points[..., None] >= bounds[..., None, :]).sum(-1))


def _check_weights(weights: Array, count: int, replacement: bool) -> None:
    if not 1 <= weights.ndim <= 2:
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if weights.dtype.kind != "f":
        title = scalar_type(weights.dtype)
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {title}")
    if count <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and count > weights.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (weights.sum(-1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


# In place -------------------------------------------------------------------------------------------------


def _filler(name: str) -> Callable[[Callable[..., Array]], None]:
    """Give tensors the method `name_` that fills them with a sample.

    The sample is an array, made of a source, a shape, a dtype and parameters.
    """

    def declare(sample: Callable[..., Array]) -> None:
        recorded = f"{name.title().replace('_', '')}Backward0"
        kinds = {p.name: str(p.annotation) for p in [*inspect.signature(sample).parameters.values()][3:]}

        def method(self: Tensor, *parameters: Any, generator: Any = None, **named: Any) -> Tensor:
            given = _parameters(f"{name}_", kinds, parameters, named)
            array, draw = self._array, source(generator, f"{name}_")
            values = state.compute(_sampled, sample, draw, array.shape, array.dtype, given)
            return overwrite(self, wrap(values), recorded)

        method.__name__ = method.__qualname__ = f"{name}_"
        method.__doc__ = sample.__doc__
        define(f"{name}_")(method)

    return declare


def _parameters(
    function: str, kinds: dict[str, str], given: tuple[Any, ...], named: dict[str, Any]
) -> dict[str, Any]:
    """The parameters of a distribution by name, as numbers; TypeError for what is none."""
    if len(given) > len(kinds):
        raise TypeError(
            f"{function}() takes from 0 to {len(kinds)} positional arguments but {len(given)} were given"
        )
    values = dict(zip(kinds, given, strict=False))
    for name, value in named.items():
        own = "from_" if name == "from" else name
        if own not in kinds:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")
        if own in values:
            raise TypeError(f"{function}() got multiple values for argument '{name}'")
        values[own] = value
    for place, (name, kind) in enumerate(kinds.items(), 1):
        if name in values:
            values[name] = _parameter(function, name, place, kind, values[name])
    return values


def _parameter(function: str, name: str, place: int, kind: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        if kind == "Any":
            return value
        if not value.ndim and not value.requires_grad:
            value = value._array.item()
    if isinstance(value, int if "int" in kind else (int, float)) or (value is None and "None" in kind):
        return value
    raise TypeError(
        f"{function}(): argument '{name.rstrip('_')}' (position {place}) must be "
        f"{'int' if 'int' in kind else 'float'}, not {type(value).__name__}"
    )


def _sampled(
    sample: Callable[..., Any], draw: Any, shape: Any, dtype: NumpyDtype, parameters: dict[str, Any]
) -> Array:
    values: Array = np.asarray(sample(draw, shape, dtype, **parameters)).astype(dtype)
    return values


@_filler("normal")
def _fill_normal(draw: Any, shape: Any, dtype: NumpyDtype, mean: float = 0.0, std: float = 1.0) -> Array:
    """Fill with samples of a normal distribution."""
    _no_negative(std)
    return _standard(draw, shape, dtype) * std + mean


@_filler("uniform")
def _fill_uniform(draw: Any, shape: Any, dtype: NumpyDtype, from_: float = 0.0, to: float = 1.0) -> Array:
    """Fill with samples that lie uniformly from one number to before another."""
    values = _uniform(draw, shape, dtype)
    if from_ > to:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={from_:g} > to={to:g}"
        )
    return values * (to - from_) + from_


@_filler("bernoulli")
def _fill_bernoulli(draw: Any, shape: Any, dtype: NumpyDtype, p: Any = 0.5) -> Array:
    """Fill with ones of a probability, or of those in a tensor, and zeros."""
    probability = p._array if isinstance(p, Tensor) else np.asarray(p)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={probability.max():g}")
    return np.asarray(draw.random(shape) < probability)


@_filler("exponential")
def _fill_exponential(draw: Any, shape: Any, dtype: NumpyDtype, lambd: float = 1.0) -> Array:
    """Fill with samples of an exponential distribution of a rate."""
    if dtype.kind != "f":
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. dtype must be a floating "
            f"point but you specified {scalar_type(dtype)}"
        )
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    return np.asarray(draw.standard_exponential(shape) / lambd)


@_filler("cauchy")
def _fill_cauchy(draw: Any, shape: Any, dtype: NumpyDtype, median: float = 0.0, sigma: float = 1.0) -> Array:
    """Fill with samples of a Cauchy distribution."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    return np.asarray(draw.standard_cauchy(shape) * sigma + median)


@_filler("log_normal")
def _fill_log_normal(draw: Any, shape: Any, dtype: NumpyDtype, mean: float = 1.0, std: float = 2.0) -> Array:
    """Fill with samples whose logarithms are normally distributed."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    return np.asarray(np.exp(draw.standard_normal(shape) * std + mean))


@_filler("geometric")
def _fill_geometric(draw: Any, shape: Any, dtype: NumpyDtype, p: float) -> Array:
    """Fill with how many trials of a probability it takes to succeed."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    return np.asarray(draw.geometric(p, shape))


@_filler("random")
def _fill_random(
    draw: Any, shape: Any, dtype: NumpyDtype, from_: int | None = None, to: int | None = None
) -> Array:
    """Fill with integers: random_(to), random_(from, to), or all that the dtype holds."""
    if to is not None:
        return _integers(draw, from_ or 0, to, shape, dtype)
    if from_ is not None:
        return _integers(draw, 0, from_, shape, dtype)
    digits = np.finfo(dtype).nmant + 1 if dtype.kind == "f" else 0
    highest = 2**digits if digits else int(_limits(dtype)[1])
    return np.asarray(draw.integers(0, highest, shape, np.uint64, endpoint=True).astype(dtype))
