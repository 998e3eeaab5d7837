"""Results of several tensors with names, as PyTorch prints them."""

from __future__ import annotations

import operator
from typing import Any


def named_result(name: str, fields: str) -> Any:
    """A tuple type with named fields, printed as torch.return_types.<name>."""

    def make(cls: type, *values: Any) -> Any:
        return tuple.__new__(cls, values[0] if len(values) == 1 else values)

    def text(self: Any) -> str:
        shown = ",\n".join(f"{f}={v!r}" for f, v in zip(names, self, strict=True))
        return f"torch.return_types.{name}(\n{shown})"

    names = fields.split()
    members: dict[str, Any] = {"__new__": make, "__repr__": text, "__module__": "torch.return_types"}
    members |= {field: property(operator.itemgetter(i)) for i, field in enumerate(names)}
    members |= {"__slots__": (), "_fields": tuple(names), "__match_args__": tuple(names)}
    return type(name, (tuple,), members)
