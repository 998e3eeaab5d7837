"""Chooses the arguments at which errors are measured: anywhere, denser where it matters, and at the edges."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from jitgrad.accuracy.functions import FUNCTIONS, Array, Function
from jitgrad.accuracy.oracle import context

TURNS = ("sin", "cos", "tan")


def points(name: str, dtype: str, count: int, seed: int = 0) -> tuple[Array, ...]:
    """Return arguments of a function of FUNCTIONS within its domain, about `count` of each category.

    >>> [x.dtype.name for x in points("power", "float32", 10)]
    ['float32', 'float32']
    """
    function = FUNCTIONS[name]
    random = np.random.default_rng([seed, *name.encode(), *dtype.encode()])
    kind = np.dtype(dtype)
    draw = {1: unary, 2: binary}[function.arity]
    with np.errstate(all="ignore"):
        parts = zip(*draw(function, kind, count, random), strict=True)
        arguments = [np.concatenate([np.ravel(a).astype(kind) for a in part]) for part in parts]
        keep = np.logical_and.reduce([np.isfinite(a) for a in arguments]) & function.domain(*arguments)
    return tuple(a[keep] for a in arguments)


def unary(
    function: Function, kind: np.dtype, count: int, random: np.random.Generator
) -> Iterator[tuple[Array]]:
    """Draw the categories for a function of one argument."""
    yield (any_floats(function, kind, count, random),)
    yield (subnormals(kind, count, random),)
    for low, high in function.intervals:
        yield (random.uniform(low, high, count),)
    for place in function.places:
        yield (around(place, kind, count, random),)
    ends = range_ends(function, kind)
    for end in ends:
        yield (around(end, kind, max(count // len(ends), 1), random),)
    if function.routine in TURNS:
        yield (huge(kind, count, random),)
        yield (np.arange(1, count + 1) * (np.pi / 2),)
        yield (close_to_multiples_of_half_pi(kind),)


def any_floats(function: Function, kind: np.dtype, count: int, random: np.random.Generator) -> Array:
    """Return random bit patterns; where the domain has one sign, all get it."""
    bits = random.integers(0, 2 ** (8 * kind.itemsize), count, dtype=f"u{kind.itemsize}")
    x = bits.view(kind)
    one = np.ones(1, kind)
    if function.arity == 1 and not function.domain(-0.3 * one).any():
        return np.asarray(np.abs(x))
    return -np.abs(x) if function.arity == 1 and not function.domain(0.3 * one).any() else x


def subnormals(kind: np.dtype, count: int, random: np.random.Generator) -> Array:
    """Return subnormal numbers of either sign and every magnitude."""
    info = np.finfo(kind)
    magnitude = np.floor(np.exp2(random.uniform(0, info.nmant, count)))
    return np.asarray(magnitude * random.choice([-1, 1], count) * float(info.smallest_subnormal))


def around(place: float, kind: np.dtype, count: int, random: np.random.Generator) -> Array:
    """Return the nearest floats of `place`, and numbers that approach it."""
    centre = kind.type(place)
    half = count // 2
    steps = np.arange(half) - half // 2
    step = np.spacing(np.abs(np.nextafter(centre, kind.type(0))))
    digits = np.finfo(kind).nmant + 1
    away = np.exp2(-random.uniform(0, digits + 4, count - half)) * random.choice([-1, 1], count - half)
    return np.concatenate([centre + steps * step, place + away * (abs(place) or 1.0)])


def range_ends(function: Function, kind: np.dtype) -> list[float]:
    """Return where the result overflows, is no longer normal, becomes 0, or reaches 1."""
    if function.inverse is None:
        return []
    mp, info = context(128), np.finfo(kind)
    largest, normal, subnormal = (
        mp.mpf(float(y)) for y in (info.max, info.smallest_normal, info.smallest_subnormal)
    )
    below_one = 1 - mp.mpf(float(info.epsneg)) / 2
    ends = [function.inverse(mp, result) for result in (largest, normal, subnormal / 2, below_one)]
    return [float(end) for end in ends if isinstance(end, mp.mpf) and mp.isfinite(end)]


def huge(kind: np.dtype, count: int, random: np.random.Generator) -> Array:
    """Return large numbers, their exponents equally likely."""
    exponents = random.integers(4, np.finfo(kind).maxexp + 1, count)
    return np.asarray(np.ldexp(random.uniform(0.5, 1, count), exponents) * random.choice([-1, 1], count))


@functools.cache
def close_to_multiples_of_half_pi(kind: np.dtype) -> Array:
    """Return for each exponent e the floats m * 2**e that come closest to a multiple of pi/2.

    If k/m is a convergent of the continued fraction of 2**e * 2/pi, no smaller m brings m * 2**e closer.
    """
    info = np.finfo(kind)
    digits = info.nmant + 1
    fraction_bits = 4 * digits
    mp = context(info.maxexp + 2 * fraction_bits)
    found = []
    for exponent in range(-digits, info.maxexp - digits + 1):
        turns = int(mp.floor(mp.ldexp(2 / mp.pi, exponent + fraction_bits)))
        best = convergent_denominators(turns % 2**fraction_bits, 2**fraction_bits, 2**digits)[-3:]
        found += [float(m) * 2.0**exponent for m in best]
    return np.array(found)


def convergent_denominators(numerator: int, denominator: int, limit: int) -> list[int]:
    """Return the denominators below `limit` of the convergents of a fraction in [0, 1).

    >>> convergent_denominators(14159265, 100000000, 1000)
    [1, 7, 106, 113]
    """
    before, last, found = 0, 1, []
    while last < limit:
        found.append(last)
        if not numerator:
            break
        quotient, rest = divmod(denominator, numerator)
        before, last = last, quotient * last + before
        denominator, numerator = numerator, rest
    return found


def binary(
    function: Function, kind: np.dtype, count: int, random: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Draw the categories for a function of two arguments."""
    x, y = (any_floats(function, kind, count, random) for _ in range(2))
    yield x, y
    for low, high in function.intervals:
        yield random.uniform(low, high, count), random.uniform(low, high, count)
    draw = powers if function.routine == "power" else sides
    yield from draw(function, kind, count, random)


def sides(
    function: Function, kind: np.dtype, count: int, random: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Draw two sides of a triangle: comparable, very different, near overflow, subnormal."""
    info = np.finfo(kind)
    x = any_floats(function, kind, count, random).astype(np.float64)
    for reach in (2, info.nmant + 8):
        yield x, x * np.exp2(random.uniform(-reach, reach, count)) * random.choice([-1, 1], count)
    largest = float(info.max)
    yield random.uniform(-1, 1, count) * largest, random.uniform(-1, 1, count) * largest
    yield subnormals(kind, count, random), subnormals(kind, count, random)
    small = subnormals(kind, count, random)
    yield small, small * random.uniform(-99, 99, count)
    wide = np.exp2(random.uniform(0, info.maxexp, count)) * random.choice([-1, 1], count)
    yield np.ldexp(wide, info.minexp - random.integers(-9, info.nmant + 4, count)), wide


def powers(
    function: Function, kind: np.dtype, count: int, random: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Draw bases and exponents whose power is in range, or at its ends."""
    info = np.finfo(kind)
    lowest = info.minexp - info.nmant
    x = np.abs(any_floats(function, kind, count, random))
    near_one = np.abs(around(1.0, kind, count, random)).astype(kind)
    moderate = np.exp2(random.uniform(-9, 9, count)).astype(kind)
    small = np.abs(subnormals(kind, count, random)).astype(kind)
    for base in (x, near_one, moderate, small):
        yield base, random.uniform(lowest - 2, info.maxexp + 1, count) / np.log2(base.astype(np.float64))
    for base in (near_one, moderate):
        end = random.choice([info.maxexp, info.minexp, lowest - 1], count)
        end = end + random.choice([-1, 1], count) * np.exp2(-random.uniform(0, info.nmant, count))
        yield base, end / np.log2(base.astype(np.float64))
    yield random.uniform(-30, 30, count), random.integers(-50, 50, count).astype(np.float64)
    yield x, np.exp2(-random.uniform(0, info.nmant + 12, count)) * random.choice([-1, 1], count)
    yield x, random.choice([0.25, 1 / 3, 0.5, 1.5, 2.0, 2.5, 3.0, -0.5, -1.0, -1.5, -2.0], count)
