"""Devices: their names, and the refusal of all but the CPU, where tensors live."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["device", "get_default_device", "set_default_device"]

TYPES = (
    *("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla"),
    *("lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone"),
)
NO_CUDA = (
    "tensors live on the CPU: jitgrad, like Torch not compiled with CUDA enabled, has no 'cuda' device for "
    "them. Leave the device out, or choose it by torch.cuda.is_available()"
)


def _parsed(text: str) -> tuple[str, int | None]:
    """The type and index in a string such as "cuda:1"."""
    if not text:
        raise RuntimeError("Device string must not be empty")
    match = re.fullmatch(r"([a-zA-Z_]+)(?::(0|[1-9][0-9]*))?", text)
    if match is None:
        raise RuntimeError(f"Invalid device string: '{text}'")
    return match[1], None if match[2] is None else int(match[2])


def _known(kind: str) -> str:
    if kind not in TYPES:
        raise RuntimeError(
            f"Expected one of {', '.join(TYPES)} device type at start of device string: {kind}"
        )
    return kind


class device:
    """A place for tensors, such as "cpu" or "cuda:1"; there are tensors on "cpu" only.

    Raises RuntimeError for a string that names no device.

    >>> device("cuda:1"), device("cuda", 1).index, str(device("cpu"))
    (device(type='cuda', index=1), 1, 'cpu')
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        elif isinstance(type, int) and not isinstance(type, bool) and index is None:
            raise RuntimeError("Cannot access accelerator device when none is available.")
        elif not isinstance(type, str):
            raise TypeError(f"device() takes a device, or a str and an int, not {type.__class__.__name__}")
        elif index is None:
            type, index = _parsed(type)
        elif index < 0:
            raise RuntimeError("Device index must not be negative")
        object.__setattr__(self, "type", _known(type))
        object.__setattr__(self, "index", index)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"attribute '{name}' of 'torch.device' objects is not writable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type,) if self.index is None else (self.type, self.index)

    def __enter__(self) -> device:
        _Default.stack.append(checked(self))
        return self

    def __exit__(self, *_: Any) -> None:
        _Default.stack.pop()


CPU = device("cpu")


class _Default:
    """Where tensors are made that are given no device."""

    stack = [CPU]


def checked(given: Any) -> device:
    """The device that is meant, if tensors can live there.

    Raises AssertionError for CUDA and RuntimeError for the others.
    """
    if given is None:
        return _Default.stack[-1]
    chosen = given if isinstance(given, device) else device(given)
    if chosen.type == "cuda":
        raise AssertionError(NO_CUDA)
    if chosen.type != "cpu":
        raise RuntimeError(f"tensors live on the CPU: there is no support for {chosen.type} devices")
    return chosen


def get_default_device() -> device:
    """Return where tensors are made that are given no device."""
    return _Default.stack[-1]


def set_default_device(device: Any) -> None:
    """Set where tensors are made that are given no device: the CPU, or None for the same."""
    _Default.stack[-1] = CPU if device is None else checked(device)
