"""The base of optimisers: groups of parameters with their options, and the state of each parameter."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.modes import enable_grad, no_grad
from jitgrad.eager.tensor import Tensor, wrap

Group = dict[str, Any]
State = dict[str, Any]


class _Required:
    """In place of an option's default: each group must give the option."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

_HINTS: Group = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}


def hints(given: Group, *names: str) -> Group:
    """The options by which PyTorch chooses an implementation, of which there is one here.

    They are kept, so that states are exchanged with PyTorch; one that asks for other results is refused.
    """
    if unknown := given.keys() - set(names):
        raise TypeError(f"unexpected keyword argument '{min(unknown)}'")
    chosen = {name: given.get(name, _HINTS[name]) for name in names}
    if chosen["differentiable"]:
        raise NotImplementedError("an optimiser's steps cannot be differentiated: leave differentiable=False")
    if chosen.get("capturable"):
        raise NotImplementedError("there are no CUDA graphs to capture a step: leave capturable=False")
    if chosen.get("fused") and chosen["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    return chosen


def check_rate(lr: Any) -> None:
    """Refuse a learning rate that is negative, or a tensor of several."""
    if isinstance(lr, Tensor) and lr._array.size != 1:
        raise ValueError("Tensor lr must be 1-element")
    not_negative(lr, "learning rate")


def not_negative(value: Any, name: str) -> None:
    if not value >= 0.0:
        raise ValueError(f"Invalid {name}: {value}")


def blank(param: Tensor) -> Tensor:
    """Zeros of the shape, dtype and layout of a parameter."""
    return wrap(np.zeros_like(param._array))


def no_steps() -> Tensor:
    """A count of steps, which PyTorch keeps as a floating number."""
    return wrap(np.zeros((), dtypes.DEFAULT.floating.numpy))


def counted(state: State) -> float:
    """The number of this step, counted in the parameter's state."""
    step = state["step"]
    step._array += 1
    return float(step._array)


def _title(value: Any) -> str:
    """The name of a value's type in messages."""
    kind = type(value)
    if isinstance(value, Tensor):
        return f"torch.{dtypes.scalar_type(value._array.dtype)}Tensor"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


class Optimizer:
    """Make an optimiser of tensors, of named tensors, or of groups: dicts of "params" and own options.

    A subclass gives `step`, or `_advance`, which takes one parameter a step further.
    TypeError and ValueError for what cannot be optimised.
    """

    _stepped = False

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{_title(params)}"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for number, group in enumerate(self.param_groups):
            text += f"\nParameter Group {number}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return f"{text})"

    def add_param_group(self, param_group: Group) -> None:
        """Optimise further parameters: `params`, and options where they differ from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        _read_params(param_group)
        for param in param_group["params"]:
            _check_param(param)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter {name}"
                )
            param_group.setdefault(name, default)
        self._check_group(param_group)
        self.param_groups.append(param_group)

    def _check_group(self, group: Group) -> None:
        params = group["params"]
        if len({id(p) for p in params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                "an error; see github.com/pytorch/pytorch/issues/40967 for more information",
                UserWarning,
                stacklevel=3,
            )
        named = "param_names" in group
        if any(("param_names" in other) != named for other in self.param_groups):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if named else 'without'} names to the optimizer"
            )
        known = {id(p) for other in self.param_groups for p in other["params"]}
        if not known.isdisjoint(map(id, params)):
            raise ValueError("some parameters appear in more than one parameter group")

    # Steps

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param._grad = None
                elif param._grad is not None:
                    if param._grad.grad_fn is not None:
                        param._grad.detach_()
                    else:
                        param._grad.requires_grad_(False)
                    param._grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take all parameters that have a gradient one step further; return what the closure returned.

        `closure` computes the loss again, and the gradients with it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param._grad is not None:
                        self._advance(param, group)
        self._stepped = True
        return loss

    def _advance(self, param: Tensor, group: Group) -> None:
        raise NotImplementedError

    # States

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the groups, in which numbers stand for the parameters, in order."""
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
        groups = [g | {"params": [numbers[id(p)] for p in g["params"]]} for g in self.param_groups]
        state = {numbers[id(k)] if isinstance(k, Tensor) else k: s for k, s in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, here or in PyTorch, in the dtypes of the own parameters.

        ValueError unless the groups have the same lengths.
        """
        saved = copy.deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        pairs = list(zip(self.param_groups, saved, strict=True))
        if any(len(own["params"]) != len(other["params"]) for own, other in pairs):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's "
                "group"
            )
        params = {
            number: param
            for own, other in pairs
            for number, param in zip(other["params"], own["params"], strict=True)
        }
        state: defaultdict[Any, State] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            param = params.get(key)
            state[key if param is None else param] = (
                copy.deepcopy(value) if param is None else _cast(param, value)
            )
        for own, other in pairs:
            other["params"] = own["params"]
            if "param_names" in own:
                other.setdefault("param_names", own["param_names"])
        self.state, self.param_groups = state, saved


def _read_params(group: Group) -> None:
    """Make a list of a group's "params"; names that come with them go to "param_names"."""
    params = group["params"]
    if isinstance(params, Tensor):
        params = [params]
    elif isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors "
            "in sets will change between runs. Please use a list instead."
        )
    params = list(params)
    if any(isinstance(p, tuple) for p in params):
        if not all(isinstance(p, tuple) for p in params):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        group["param_names"] = [name for name, _ in params]
        params = [param for _, param in params]
    group["params"] = params


def _check_param(param: Any) -> None:
    if not isinstance(param, Tensor):
        raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {_title(param)}")
    if not (param.is_leaf or param.retains_grad):
        raise ValueError("can't optimize a non-leaf Tensor")


def _cast(param: Tensor, value: Any, key: str = "") -> Any:
    """A copy of a part of a parameter's state; its tensors, but for the step, in the parameter's dtype."""
    if isinstance(value, Tensor):
        own, array = param._array.dtype, value._array
        return wrap(array.astype(own if own.kind == "f" and key != "step" else array.dtype))
    if isinstance(value, dict):
        return {name: _cast(param, entry, name) for name, entry in value.items()}
    return copy.deepcopy(value)
