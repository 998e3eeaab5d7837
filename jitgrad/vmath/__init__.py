"""Turns the names of NumPy's elementary functions into code for one element and for vectors of them.

`python -m jitgrad ulp` prints their errors, which docs/numerics.md shows; `python bench/vector_math.py` their
speed.
"""

from jitgrad.vmath.division import floor_divide, fmod, remainder
from jitgrad.vmath.exact import (
    ceil,
    copysign,
    fabs,
    floor,
    fma,
    maximum,
    minimum,
    rint,
    select,
    sign,
    sqrt,
    trunc,
)
from jitgrad.vmath.exponential import exp, exp2, expm1, sigmoid, softplus, tanh
from jitgrad.vmath.hyperbolic import arccosh, arcsinh, arctanh, cosh, sinh
from jitgrad.vmath.inverse import arccos, arcsin, arctan, arctan2
from jitgrad.vmath.logarithm import log, log1p, log2, log10
from jitgrad.vmath.power import cbrt, hypot, power
from jitgrad.vmath.special import digamma, erf, erfc, lgamma
from jitgrad.vmath.trigonometry import cos, sin, tan
from jitgrad.vmath.ufuncs import ufunc

__all__ = [
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "cbrt",
    "ceil",
    "copysign",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "floor_divide",
    "fma",
    "fmod",
    "hypot",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "maximum",
    "minimum",
    "power",
    "remainder",
    "rint",
    "select",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softplus",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
    "ufunc",
]
