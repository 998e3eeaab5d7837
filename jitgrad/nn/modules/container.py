"""Modules that hold others, or parameters, in order or by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from jitgrad.eager.tensor import Tensor
from jitgrad.nn.modules.module import Module, indented
from jitgrad.nn.parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _place(index: Any, size: int) -> int:
    place = operator.index(index)
    if not -size <= place < size:
        raise IndexError(f"index {place} is out of range")
    return place % size


class _Row(Module):
    """Modules whose names are their places."""

    _modules: dict[str, Any]

    def _fill(self, modules: Iterable[Any]) -> None:
        held = list(modules)
        self._modules.clear()
        for place, module in enumerate(held):
            self.add_module(str(place), module)

    def _name(self, index: Any) -> str:
        return list(self._modules)[_place(index, len(self))]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            names = list(self._modules)[index]
            return self._of({name: self._modules[name] for name in names})
        return self._modules[self._name(index)]

    def _of(self, modules: dict[str, Any]) -> Any:
        return type(self)(*modules.values())

    def __setitem__(self, index: Any, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: Any) -> None:
        names = list(self._modules)
        taken = names[index] if isinstance(index, slice) else [self._name(index)]
        self._fill(self._modules[name] for name in names if name not in taken)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def append(self, module: Module) -> Any:
        """Add a module at the end and return the container."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Add a module before a place."""
        held = list(self)
        held.insert(index, module)
        self._fill(held)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end and return the container."""
        for module in modules:
            self.append(module)
        return self

    def pop(self, key: Any) -> Any:
        """Take the module at a place away and return it."""
        module = self[key]
        del self[key]
        return module


class Sequential(_Row):
    """Apply modules one after the other; one dictionary gives them names.

    >>> import jitgrad
    >>> jitgrad.nn.Sequential(jitgrad.nn.Linear(2, 3), jitgrad.nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self._fill(args)

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def _of(self, modules: dict[str, Any]) -> Any:
        return type(self)(modules)

    def __delitem__(self, index: Any) -> None:
        names = list(self._modules)
        for name in names[index] if isinstance(index, slice) else [self._name(index)]:
            delattr(self, name)
        self._fill(list(self))

    def __add__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                f"add operator supports only objects of Sequential class, but {type(other)} is given."
            )
        return Sequential(*self, *other)


class ModuleList(_Row):
    """Hold modules in order, as a list does."""

    def __init__(self, modules: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _of(self, modules: dict[str, Any]) -> Any:
        return type(self)(modules.values())

    def __iadd__(self, modules: Iterable[Any]) -> ModuleList:
        return self.extend(modules)  # type: ignore[no-any-return]

    def __add__(self, other: Iterable[Any]) -> ModuleList:
        return ModuleList(chain(self, other))

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end and return the list; TypeError for what is not iterable."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"ModuleList.extend should be called with an iterable, but got {type(modules).__name__}"
            )
        return super().extend(modules)

    def __repr__(self) -> str:
        """The text, with modules that follow one another and read alike written once."""
        runs: list[tuple[int, int, str]] = []
        for place, text in enumerate(map(repr, self)):
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], place, text)
            else:
                runs.append((place, place, text))
        lines = [
            f"({first}): {indented(text)}"
            if first == last
            else f"({first}-{last}): {last - first + 1} x {indented(text)}"
            for first, last, text in runs
        ]
        return f"{self._get_name()}({''.join(f'{chr(10)}  {line}' for line in lines)}{chr(10) * bool(lines)})"


def _pairs(given: Any, what: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(given, Iterable):
        raise TypeError(
            f"{what}.update should be called with an iterable of key/value pairs, but got "
            f"{type(given).__name__}"
        )
    return given.items() if hasattr(given, "items") else given


class ModuleDict(Module):
    """Hold modules by name, as a dictionary does."""

    def __init__(self, modules: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take all modules away."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take a module away and return it."""
        return self._modules.pop(key)

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """Return the modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return names and modules."""
        return self._modules.items()

    def update(self, modules: Any) -> None:
        """Add modules by name, from a dictionary or from pairs."""
        for name, module in _pairs(modules, "ModuleDict"):
            self[name] = module


def _described(key: Any, value: Any, kind: Any) -> str:
    if not isinstance(value, Tensor):
        return f"  ({key}): Object of type: {type(value).__name__}"
    what = "Parameter" if isinstance(value, Parameter) else "Tensor"
    return f"  ({key}): {what} containing: [{kind} of size {'x'.join(map(str, value.shape))}]"


class ParameterList(Module):
    """Hold parameters in order, as a list does; tensors of floating point become parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(values or ())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)([self[i] for i in range(*index.indices(len(self)))])
        return getattr(self, str(_place(index, len(self))))

    def __setitem__(self, index: Any, value: Any) -> None:
        setattr(self, str(_place(index, len(self))), _as_parameter(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end and return the list."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end and return the list."""
        for value in values:
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(
            _described(place, value, getattr(value, "dtype", None)) for place, value in enumerate(self)
        )


def _as_parameter(value: Any) -> Any:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return Parameter(value)
    return value


class ParameterDict(Module):
    """Hold parameters by name, as a dictionary does; tensors of floating point become parameters."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._names: list[str] = []
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._names:
            self._names.append(key)
        setattr(self, key, _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        self._names.remove(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, key: str) -> bool:
        return key in self._names

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return tuple(self._names)

    def values(self) -> Iterable[Any]:
        """Return the parameters."""
        return [self[key] for key in self._names]

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return names and parameters."""
        return [(key, self[key]) for key in self._names]

    def update(self, parameters: Any) -> None:
        """Add parameters by name, from a dictionary or from pairs."""
        for key, value in _pairs(parameters, "ParametersDict"):
            self[key] = value

    def extra_repr(self) -> str:
        kinds = {key: value.data.type() if isinstance(value, Tensor) else None for key, value in self.items()}
        return "\n".join(_described(key, value, kinds[key]) for key, value in self.items())
