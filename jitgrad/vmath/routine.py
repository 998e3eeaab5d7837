"""The elementary functions by name."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from jitgrad.vmath.value import Body


@dataclass(frozen=True, slots=True)
class Routine:
    """A function over values of one type, which is also its result's.

    `inline` says that a kernel writes its few instructions in place; others are functions that it calls.
    """

    body: Body
    integers: bool
    inline: bool

    @property
    def name(self) -> str:
        return self.body.__name__

    @property
    def arity(self) -> int:
        return len(inspect.signature(self.body).parameters)


ROUTINES: dict[str, Routine] = {}


def routine(body: Body, integers: bool = False, inline: bool = False) -> Body:
    """Offer `body` to kernels and ufuncs, for floats and, on request, for integers."""
    ROUTINES[body.__name__] = Routine(body, integers, inline)
    return body
