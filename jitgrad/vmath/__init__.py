"""Turns the names of NumPy's elementary functions into branch-free scalar code that vectorises in a loop."""

from jitgrad.vmath.exact import (
    ceil,
    copysign,
    fabs,
    floor,
    floor_divide,
    fma,
    fmod,
    maximum,
    minimum,
    remainder,
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
from jitgrad.vmath.ufuncs import fingerprint, ufunc

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
    "fingerprint",
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
