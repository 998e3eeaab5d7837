"""The state of modules as a dictionary of tensors: how it is collected, checked and copied back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jitgrad.eager.modes import no_grad
from jitgrad.eager.tensor import Tensor
from jitgrad.nn.parameter import Parameter

Module = Any  # this file stands below that of `Module`


def empty_state() -> Any:
    """A dictionary for tensors by name, whose `_metadata` has the version of each module they come from."""
    state: Any = OrderedDict()
    state._metadata = OrderedDict()
    return state


class Keys(NamedTuple):
    """The names that a state lacked, and those that nothing asked for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def own_state(module: Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and lasting buffers of a module without its children, by their names."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield name, buffer


def collect(module: Module, into: Any, prefix: str, keep_vars: bool) -> None:
    """Add the state of a module and of those inside it to a dictionary."""
    if hasattr(into, "_metadata"):
        into._metadata[prefix[:-1]] = {"version": module._version}
    module._save_to_state_dict(into, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=into, prefix=f"{prefix}{name}.", keep_vars=keep_vars)


def restore(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> Keys:
    """Copy a state into a module; RuntimeError for wrong sizes and, if strict, for wrong names."""
    versions = getattr(given, "_metadata", None)
    found = Keys([], [])
    errors: list[str] = []
    _descend(module, OrderedDict(given), "", versions, assign, found, errors)
    if strict:
        for what, names in (("Unexpected", found.unexpected_keys), ("Missing", found.missing_keys)):
            if names:
                listed = ", ".join(f'"{name}"' for name in names)
                errors.insert(0, f"{what} key(s) in state_dict: {listed}. ")
    if errors:
        listed = "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listed}")
    return found


def _descend(
    module: Module,
    given: dict[str, Any],
    prefix: str,
    versions: Any,
    assign: bool,
    found: Keys,
    errors: list[str],
) -> None:
    about = {} if versions is None else versions.get(prefix[:-1], {})
    if assign:
        about["assign_to_params_buffers"] = True
    module._load_from_state_dict(
        given, prefix, about, True, found.missing_keys, found.unexpected_keys, errors
    )
    for name, child in module._modules.items():
        if child is not None:
            inner = f"{prefix}{name}."
            below = {key: value for key, value in given.items() if key.startswith(inner)}
            _descend(child, below, inner, versions, assign, found, errors)


def load_own(
    module: Module, given: dict[str, Any], prefix: str, assign: bool, errors: list[str]
) -> list[str]:
    """Copy a module's own state, without that of its children; return the names that are missing."""
    missing = []
    for name, tensor in own_state(module):
        key = prefix + name
        value = given.get(key)
        if key not in given:
            missing.append(key)
        elif not isinstance(value, Tensor):
            errors.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
                f"from checkpoint but received {type(value)}"
            )
        elif value.shape != tensor.shape and not (tensor.ndim == 0 and value.shape == (1,)):
            errors.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                f"the shape in current model is {tensor.shape}."
            )
        elif assign:
            setattr(module, name, _in_place_of(tensor, value))
        else:
            with no_grad():
                tensor.copy_(value if value.shape == tensor.shape else value[0])
    return missing


def _in_place_of(tensor: Tensor, value: Tensor) -> Tensor:
    if isinstance(tensor, Parameter) and not isinstance(value, Parameter):
        return Parameter(value, tensor.requires_grad)  # type: ignore[no-any-return]
    return value


def unexpected(module: Module, given: dict[str, Any], prefix: str) -> list[str]:
    """The names with this prefix that belong to neither the module nor its children."""
    own = {name for name, _ in own_state(module)}
    found = []
    for key in given:
        if key.startswith(prefix):
            first, *rest = key[len(prefix) :].split(".", 1)
            if (rest and first not in module._modules) or (not rest and first not in own):
                found.append(key)
    return found
