"""The namespace `torch.cuda` where there is no such device: what asks is answered, what needs one raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from jitgrad.eager.device import NO_CUDA

__all__ = [
    "Event",
    "Stream",
    "current_device",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "set_device",
    "set_rng_state",
    "synchronize",
]


def is_available() -> bool:
    return False


def is_initialized() -> bool:
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    return False


def device_count() -> int:
    return 0


def memory_allocated(device: Any = None) -> int:
    return 0


def memory_reserved(device: Any = None) -> int:
    return 0


def max_memory_allocated(device: Any = None) -> int:
    return 0


def empty_cache() -> None:
    """Return at once: there is no cache."""


def manual_seed(seed: int) -> None:
    """Return at once: no generator lives on a GPU."""


def manual_seed_all(seed: int) -> None:
    """Return at once: no generator lives on a GPU."""


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError(f"cuda.{name}: {NO_CUDA}")

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


init = _refusing("init")
synchronize = _refusing("synchronize")
current_device = _refusing("current_device")
current_stream = _refusing("current_stream")
set_device = _refusing("set_device")
get_device_name = _refusing("get_device_name")
get_device_capability = _refusing("get_device_capability")
get_device_properties = _refusing("get_device_properties")
get_rng_state = _refusing("get_rng_state")
set_rng_state = _refusing("set_rng_state")


class Stream:
    """A queue of work on a GPU; RuntimeError, for there is none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"cuda.Stream: {NO_CUDA}")


class Event(Stream):
    """A mark in a queue of work on a GPU; RuntimeError, for there is none."""
