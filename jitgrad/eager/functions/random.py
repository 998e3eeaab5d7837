"""Generators of random numbers and their seeds: the namespace `torch.random`."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from jitgrad.eager.device import checked
from jitgrad.eager.tensor import Tensor, wrap

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

_FIRST_SEED = 67280421310721  # PyTorch's for generators that are not seeded
_STATE = struct.Struct("<Q16s16sQQ")


class Generator:
    """A source of random numbers that a seed sets: NumPy's PCG64, so the numbers are not PyTorch's.

    >>> import jitgrad
    >>> first = jitgrad.rand(2, generator=jitgrad.Generator().manual_seed(1))
    >>> bool((first == jitgrad.rand(2, generator=jitgrad.Generator().manual_seed(1))).all())
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = checked(device)
        self.manual_seed(_FIRST_SEED)

    @cached_property
    def draw(self) -> np.random.Generator:
        """What draws the numbers, made when the first is drawn: NumPy loads this part of itself late."""
        return np.random.Generator(np.random.PCG64(self._seed))

    def manual_seed(self, seed: Any) -> Generator:
        """Start anew from a seed of 64 bits and return the generator; ValueError for larger ones."""
        number = int(seed)
        if not -(2**63) <= number < 2**64:
            raise ValueError("Overflow when unpacking long long")
        self._seed = number % 2**64
        self.__dict__.pop("draw", None)
        return self

    def seed(self) -> int:
        """Start anew from a seed that the operating system gives, and return it."""
        number = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(number)
        return number

    def initial_seed(self) -> int:
        return self._seed

    def get_state(self) -> Tensor:
        """Return the state as a tensor of bytes."""
        now: Any = self.draw.bit_generator.state
        numbers = (now["state"][name].to_bytes(16, "little") for name in ("state", "inc"))
        packed = _STATE.pack(self._seed, *numbers, now["has_uint32"], now["uinteger"])
        return wrap(np.frombuffer(packed, np.uint8).copy())

    def set_state(self, new_state: Tensor) -> None:
        """Continue from a state that `get_state` returned."""
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        packed = new_state._array.tobytes()
        if new_state._array.dtype != np.uint8 or len(packed) != _STATE.size:
            raise RuntimeError(f"RNG state must be a torch.ByteTensor of {_STATE.size} bytes")
        self._seed, number, increment, has_uint32, uinteger = _STATE.unpack(packed)
        self.draw.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {
                "state": int.from_bytes(number, "little"),
                "inc": int.from_bytes(increment, "little"),
            },
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }

    def clone_state(self) -> Generator:
        """Return a generator in the same state."""
        other = Generator()
        other.set_state(self.get_state())
        return other


default_generator = Generator()
default_generator.seed()


def _after_fork() -> None:
    """Continue from the same state in a forked process, by a source whose lock no lost thread holds."""
    if "draw" in default_generator.__dict__:
        now = default_generator.get_state()
        del default_generator.draw
        default_generator.set_state(now)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def manual_seed(seed: Any) -> Generator:
    """Start the default generator anew from a seed, and return it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator anew from a seed that the operating system gives, and return it."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the state of the default generator as a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator continue from a state that `get_rng_state` returned."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **_: Any) -> Iterator[None]:
    """Restore the default generator's state at the end of a `with` block."""
    before = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(before)


def source(generator: Any, function: str) -> np.random.Generator:
    if generator is None:
        return default_generator.draw
    if not isinstance(generator, Generator):
        kind = type(generator).__name__
        raise TypeError(f"{function}(): argument 'generator' must be torch.Generator, not {kind}")
    return generator.draw
