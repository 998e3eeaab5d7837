"""Measures the errors of elementary functions in units in the last place, against mpmath."""

from jitgrad.accuracy.exhaustive import CHUNKS, Sweep, sweep
from jitgrad.accuracy.functions import FUNCTIONS, Function
from jitgrad.accuracy.libraries import LIBRARIES, Evaluate, library_function
from jitgrad.accuracy.oracle import Exact, errors, exact
from jitgrad.accuracy.sampling import points

__all__ = [
    "CHUNKS",
    "FUNCTIONS",
    "LIBRARIES",
    "Evaluate",
    "Exact",
    "Function",
    "Sweep",
    "errors",
    "exact",
    "library_function",
    "points",
    "sweep",
]
