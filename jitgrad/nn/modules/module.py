"""The module: parameters, buffers and other modules in a tree, which is called like a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from jitgrad.eager.device import device as _device
from jitgrad.eager.dtypes import double, float_, half
from jitgrad.eager.dtypes import dtype as _dtype
from jitgrad.eager.modes import no_grad
from jitgrad.eager.tape import Handle
from jitgrad.eager.tensor import Tensor
from jitgrad.nn.modules.state import Keys, collect, empty_state, load_own, own_state, restore, unexpected
from jitgrad.nn.parameter import Parameter

Self = TypeVar("Self", bound="Module")
Named = Iterator[tuple[str, Any]]

_TABLES = ("_parameters", "_buffers", "_modules")


def indented(text: str, width: int = 2) -> str:
    """The text with all lines but the first moved to the right."""
    return text.replace("\n", "\n" + " " * width)


class Module:
    """Hold parameters, buffers and other modules; subclasses define `forward`.

    >>> import jitgrad
    >>> class Shift(jitgrad.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.by = jitgrad.nn.Parameter(jitgrad.ones(2))
    ...     def forward(self, x):
    ...         return x + self.by
    >>> shift = Shift()
    >>> shift(jitgrad.zeros(2)).sum().backward()
    >>> [(name, p.grad) for name, p in shift.named_parameters()]
    [('by', tensor([1., 1.]))]
    """

    _version: int = 1
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _forward_hooks: dict[int, Any]
    _forward_pre_hooks: dict[int, Any]

    def __init__(self) -> None:
        tables: dict[str, Any] = {name: {} for name in (*_TABLES, "_forward_hooks", "_forward_pre_hooks")}
        self.__dict__.update(tables, training=True, _non_persistent_buffers_set=set())

    # Calls ------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's result; NotImplementedError unless a subclass does."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._forward_hooks and not self._forward_pre_hooks:
            return self.forward(*args, **kwargs)
        return self._called_with_hooks(args, kwargs)

    def _called_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook, with_kwargs in list(self._forward_pre_hooks.values()):
            answer = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if answer is not None and with_kwargs:
                if not (isinstance(answer, tuple) and len(answer) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                        f"{answer}."
                    )
                args, kwargs = answer
            elif answer is not None:
                args = answer if isinstance(answer, tuple) else (answer,)
        result = self.forward(*args, **kwargs)
        for hook, with_kwargs in list(self._forward_hooks.values()):
            answer = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            result = result if answer is None else answer
        return result

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call hook(module, args) before each call; what it returns replaces the arguments."""
        return _registered(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call hook(module, args, result) after each call; what it returns replaces the result."""
        return _registered(self._forward_hooks, (hook, with_kwargs), prepend)

    # Attributes -------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        for table in _TABLES:
            held = self.__dict__.get(table, {})
            if name in held:
                return held[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        for table, kind, many, one, expected in _KINDS:
            held = self.__dict__.get(table)
            if isinstance(value, kind) and table != "_buffers":
                if held is None:
                    raise AttributeError(f"cannot assign {many} before Module.__init__() call")
                self._take_away(name, table)
                if table == "_parameters":
                    self.register_parameter(name, cast(Parameter, value))
                else:
                    held[name] = value
                return
            if held is not None and name in held:
                if value is not None and not isinstance(value, kind):
                    raise TypeError(
                        f"cannot assign '{_type_name(value)}' as {one} '{name}' ({expected} or None expected)"
                    )
                held[name] = value
                return
        super().__setattr__(name, value)

    def _take_away(self, name: str, keep: str = "") -> None:
        """Remove what has a name from every table but one."""
        for table in (self.__dict__, *(self.__dict__[t] for t in _TABLES if t != keep)):
            table.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        if any(name in self.__dict__[table] for table in _TABLES):
            self._take_away(name)
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        held = [name for table in _TABLES for name in self.__dict__[table]]
        return sorted({*super().__dir__(), *(name for name in held if not name[:1].isdigit())})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or the place of one, under a name; KeyError if the name is taken or has a dot."""
        self._must_be_free("parameter", name, self.__dict__.get("_parameters"))
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_name(param)}' object to parameter '{name}' (torch.nn.Parameter or "
                "None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                "forward() method."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is no parameter under a name; the state includes it if it is persistent."""
        self._must_be_free("buffer", name, self.__dict__.get("_buffers"))
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' (torch Tensor or None "
                "required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module under a name; KeyError if the name is taken or has a dot."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._must_be_free("module", name, self._modules)
        self._modules[name] = module

    register_module = add_module

    def _must_be_free(self, what: str, name: Any, table: dict[str, Any] | None) -> None:
        if table is None:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {_type_name(name)}")
        if hasattr(self, name) and name not in table:
            raise KeyError(f"attribute '{name}' already exists")
        shown = f", got: {name}" if what == "module" else ""
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."{shown}')
        if not name:
            raise KeyError(f'{what} name can\'t be empty string ""')

    # The tree ---------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Iterate over this module and all inside it with their names, each module once."""
        seen = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                inner = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(seen, inner, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Iterate over this module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over the modules directly inside this one with their names, each module once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """Iterate over the modules directly inside this one."""
        return (child for _, child in self.named_children())

    def _named_members(
        self, members: Callable[[Module], Iterable[tuple[str, Any]]], prefix: str, recurse: bool, once: bool
    ) -> Named:
        found = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else [(prefix, self)]
        seen = set()
        for place, module in found:
            for name, value in members(module):
                if value is not None and value not in seen:
                    if once:
                        seen.add(value)
                    yield (f"{place}.{name}" if place else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Iterate over the parameters of this module and of those inside it, with their names."""
        return self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Iterate over the parameters of this module and of those inside it."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the buffers of this module and of those inside it, with their names."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Iterate over the buffers of this module and of those inside it."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the module with a name such as "layer.0"; AttributeError if there is none."""
        found = self
        for name in target.split(".") if target else ():
            if not hasattr(found, name):
                raise AttributeError(f"{found._get_name()} has no attribute `{name}`")
            found = getattr(found, name)
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return found

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with a name such as "layer.0.weight"; AttributeError if there is none."""
        return self._member(target, "_parameters", "nn.Parameter")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with a name such as "layer.0.mean"; AttributeError if there is none."""
        return self._member(target, "_buffers", "a buffer")  # type: ignore[no-any-return]

    def _member(self, target: str, table: str, what: str) -> Any:
        place, _, name = target.rpartition(".")
        module = self.get_submodule(place)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in getattr(module, table):
            raise AttributeError(f"`{name}` is not {'an ' if what[0] == 'n' else ''}{what}")
        return getattr(module, name)

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call a function with every module inside this one, then with this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # Modes ------------------------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Set this module and all inside it to training, or to evaluation."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Set this module and all inside it to evaluation."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Let the parameters require gradients, or not."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else parameter.grad.detach() * 0

    # Types ------------------------------------------------------------------------------------------------

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Put what a function makes of each parameter, gradient and buffer in its place."""
        for child in self.children() if recurse else ():
            child._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    grad = parameter.grad
                    parameter.data = fn(parameter.data)
                    parameter.grad = None if grad is None else fn(grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Convert parameters and buffers of floating point to a dtype, or to that of a tensor.

        >>> import jitgrad
        >>> jitgrad.nn.Linear(2, 1).to(jitgrad.float64).weight.dtype
        torch.float64
        """
        dtype = kwargs.get("dtype")
        for given in args:
            dtype = (
                given.dtype if isinstance(given, Tensor) else given if isinstance(given, _dtype) else dtype
            )
        place = kwargs.get("device", next((a for a in args if isinstance(a, (str, int, _device))), None))
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype!r}"
            )

        def converted(t: Tensor) -> Tensor:
            moved = t if place is None else t.to(place)
            return moved.to(dtype) if dtype is not None and t.is_floating_point() else moved

        return self._apply(converted)

    def type(self: Self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: Self) -> Self:
        """Convert parameters and buffers of floating point to float32."""
        return self.to(float_)

    def double(self: Self) -> Self:
        """Convert parameters and buffers of floating point to float64."""
        return self.to(double)

    def half(self: Self) -> Self:
        """Convert parameters and buffers of floating point to float16."""
        return self.to(half)

    def cpu(self: Self) -> Self:
        """Return the module: its tensors are on the CPU."""
        return self._apply(lambda t: t.cpu())

    # State ------------------------------------------------------------------------------------------------

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return the parameters and lasting buffers by name, on the same memory but without history.

        >>> import jitgrad
        >>> list(jitgrad.nn.Linear(2, 1).state_dict())
        ['weight', 'bias']
        """
        if destination is None:
            destination = empty_state()
        collect(self, destination, prefix, keep_vars)
        return destination

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Keys:
        """Copy a state into the parameters and buffers, or put its tensors in their place (`assign`).

        RuntimeError lists wrong sizes and, if strict, names that are missing or that nothing asks for.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        return restore(self, state_dict, strict, assign)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, tensor in own_state(self):
            destination[prefix + name] = tensor if keep_vars else tensor.detach()

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        assign = local_metadata.get("assign_to_params_buffers", False)
        missing_keys.extend(load_own(self, state_dict, prefix, assign, error_msgs))
        unexpected_keys.extend(unexpected(self, state_dict, prefix) if strict else ())

    # Text -------------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return what the text of the module says of its options."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        own = extra.split("\n") if extra else []
        inner = [f"({name}): {indented(repr(child))}" for name, child in self._modules.items()]
        if len(own) == 1 and not inner:
            return f"{self._get_name()}({own[0]})"
        lines = "".join(f"\n  {line}" for line in (*own, *inner))
        return f"{self._get_name()}({lines}\n)" if lines else f"{self._get_name()}()"


# The table of attributes of a type, in the order in which they are looked for, and how errors call them.
_KINDS: tuple[tuple[str, type, str, str, str], ...] = (
    ("_parameters", Parameter, "parameters", "parameter", "torch.nn.Parameter"),
    ("_modules", Module, "module", "child module", "torch.nn.Module"),
    ("_buffers", Tensor, "", "buffer", "torch.nn.Buffer, torch.Tensor"),
)


def _type_name(value: Any) -> str:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return str(value.type())
    kind = type(value)
    home = kind.__module__
    if isinstance(value, (Parameter, Module)) and home.startswith("jitgrad."):
        home = home.replace("jitgrad", "torch", 1)
    return kind.__qualname__ if home in ("builtins", "") else f"{home}.{kind.__qualname__}"


def _registered(hooks: dict[int, Any], hook: tuple[Any, bool], prepend: bool) -> Handle:
    before = dict(hooks)
    handle = Handle(hooks, hook)
    if prepend:
        hooks.clear()
        hooks[handle.id] = hook
        hooks.update(before)
    return handle
