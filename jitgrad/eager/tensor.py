"""The tensor: an array, where it came from on the tape, and how it shares memory with others."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.dtypes import Array
from jitgrad.eager.modes import state
from jitgrad.eager.printing import suffixes, tensor_text
from jitgrad.eager.size import Size
from jitgrad.eager.tape import Edge, Handle, Hooks, Record, Version, operation, sink

NOT_A_LEAF = (
    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
    "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
)


class View:
    """How a tensor lies in the memory of another, its base: the steps from there, and when last checked.

    `way` holds functions from tensor to tensor. `multiple` names the function that made several views at once
    or why else the view may not be written to: CUSTOM.
    """

    __slots__ = ("base", "multiple", "recorded", "seen", "way")

    def __init__(self, base: Tensor, way: tuple[Any, ...], seen: int) -> None:
        self.base = base
        self.way = way
        self.seen = seen
        self.recorded = state.grad
        self.multiple: str | None = None


class Tensor:
    """A multi-dimensional array whose operations can be recorded and differentiated.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    _array: Array
    _edge: Edge | None = None
    _requires: bool = False
    _grad: Tensor | None = None
    _version_box: Version | None = None
    _view: View | None = None
    _sink: weakref.ref[Record] | None = None
    _hooks: Hooks | None = None  # of a leaf; others' hooks are on their record
    _post_hooks: dict[int, Any] | None = None
    _inference: bool = False

    __array_priority__ = 1000

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    if TYPE_CHECKING:  # the functions of this package become methods

        def __getattr__(self, name: str) -> Any: ...

        def __add__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...

    # Autograd

    @property
    def requires_grad(self) -> bool:
        return self._requires or self._edge is not None or self._gradient_edge() is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._gradient_edge() is not None:
            raise RuntimeError(NOT_A_LEAF)
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Let operations on this leaf be recorded, or not; RuntimeError for other tensors."""
        if not isinstance(requires_grad, (bool, np.bool_)):
            raise TypeError(f"requires_grad must be a bool, not {type(requires_grad).__name__}")
        if self._gradient_edge() is not None:
            if requires_grad:
                return self
            raise RuntimeError(NOT_A_LEAF)
        if requires_grad:
            must_be_floating(self._array.dtype)
            if self._inference and not state.inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
                )
        self._requires = bool(requires_grad)
        return self

    def _gradient_edge(self) -> Edge | None:
        """Where gradients of this tensor go; None for a leaf."""
        if self._view is not None and self._view.base._version_box is not None:
            refresh(self, self._view)
        return self._edge

    @property
    def grad_fn(self) -> Record | None:
        edge = self._gradient_edge()
        return None if edge is None else edge[0]

    @property
    def is_leaf(self) -> bool:
        return self._gradient_edge() is None

    @property
    def output_nr(self) -> int:
        return 0 if self._edge is None else self._edge[1]

    @property
    def grad(self) -> Tensor | None:
        if self._grad is None and self._edge is not None and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
                "access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            must_fit_as_grad(self, value)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def retains_grad(self) -> bool:
        if self._edge is None:
            return False
        record, number = self._edge
        return record._hooks is not None and number in record._hooks.retained

    def retain_grad(self) -> None:
        """Keep this tensor's gradient in `.grad` too when it is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        edge = self._gradient_edge()
        if edge is not None:
            edge[0].hooked().retained[edge[1]] = weakref.ref(self)

    def register_hook(self, hook: Any) -> Handle:
        """Call hook(grad) whenever this tensor's gradient is known; what it returns replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        edge = self._gradient_edge()
        if edge is not None:
            return Handle(edge[0].hooked().on_output, (edge[1], hook))
        return Handle(sink(self)[0].hooked().on_output, (0, hook))

    def register_post_accumulate_grad_hook(self, hook: Any) -> Handle:
        """Call hook(tensor) each time a backward pass has added to this leaf's `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if self._post_hooks is None:
            self._post_hooks = {}
        return Handle(self._post_hooks, hook)

    def detach(self) -> Tensor:
        """A tensor on the same memory that is cut off from the tape."""
        out = wrap(self._array)
        out._version_box = version_of(self)
        out._inference = self._inference
        return out

    def detach_(self) -> Tensor:
        """Cut this tensor off from the tape."""
        if self._view is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel "
                "(DDP) for training, use gradient_as_bucket_view=False."
            )
        self._edge = None
        self._requires = False
        return self

    @property
    def data(self) -> Tensor:
        """The values on the same memory: not recorded, and changes to them are not noticed."""
        return wrap(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        self._array = value._array

    @property
    def _version(self) -> int:
        if self._inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._version_box[0] if self._version_box else 0

    @property
    def _base(self) -> Tensor | None:
        return None if self._view is None else self._view.base

    def is_inference(self) -> bool:
        return self._inference

    # Shape and memory

    @property
    def shape(self) -> Size:
        return Size(self._array.shape)

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.of(self._array.dtype)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return tensor_text(self._array, suffixes_of(self))


# Making tensors -----------------------------------------------------------------------------------------

_new = object.__new__


def wrap(array: Array) -> Tensor:
    """A tensor on an array, with no history."""
    out: Tensor = _new(Tensor)
    out._array = array
    if state.inference:
        out._inference = True
    return out


def version_of(t: Tensor) -> Version:
    """The version that t shares with its views, made when it is first needed."""
    if t._version_box is None:
        t._version_box = [0]
    return t._version_box


def suffixes_of(t: Tensor) -> list[str]:
    try:
        edge = t._gradient_edge()
        grad_fn = None if edge is None else type(edge[0]).__name__
    except RuntimeError:
        grad_fn = "Invalid"
    return suffixes(
        t._array,
        dtypes.of(t._array.dtype).name,
        dtypes.DEFAULT.floating.name,
        requires_grad=t._requires,
        grad_fn=grad_fn,
    )


def must_be_floating(given: np.dtype[Any]) -> None:
    if given.kind not in "fc":
        raise RuntimeError(
            "only Tensors of floating point and complex dtype can require gradients, got "
            f"{dtypes.of(given)!r}"
        )


def must_fit_as_grad(t: Tensor, grad: Any) -> None:
    if not isinstance(grad, Tensor):
        raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(grad)}")
    if grad is t:
        raise RuntimeError("can't assign Variable as its own grad")
    if grad._array.dtype != t._array.dtype:
        raise RuntimeError(
            f"assigned grad has data of a different type: expected {t.dtype!r}, got {grad.dtype!r}"
        )
    if grad._array.shape != t._array.shape:
        raise RuntimeError(
            f"assigned grad has data of a different size: expected {list(t.shape)}, got {list(grad.shape)}"
        )


# Views --------------------------------------------------------------------------------------------------


MULTIPLE = (
    "This view is the output of a function that returns multiple views. Such functions do not allow the "
    "output views to be modified inplace. You should replace the inplace operation by an out-of-place one."
)
CUSTOM = (
    "This view was created inside a custom Function (or because an input was returned as-is) and the "
    "autograd logic to handle view+inplace would override the custom backward associated with the custom "
    "Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by cloning the "
    "output of the custom Function."
)


def why_fixed(view: View) -> str:
    """Why a view that is `multiple` cannot follow what is written to it or to its base."""
    return CUSTOM if view.multiple == CUSTOM else MULTIPLE


def memory_of(base: Tensor) -> Tensor:
    """The base of a view, as it was when the view was made, if it has been given another shape since."""
    return base if base._view is None else base._view.base


def refresh(t: Tensor, view: View) -> None:
    """Give a view its place on the tape again after its base was written to."""
    version = view.base._version_box
    if version is None or version[0] == view.seen:
        return
    if view.multiple and t._edge is not None:
        record, number = t._edge
        raise RuntimeError(
            f"Output {number} of {operation(record)} is a view and its base or another view of its base "
            f"has been modified inplace. {why_fixed(view)}"
        )
    view.seen = version[0]
    if view.base._gradient_edge() is None and not view.base._requires:
        return
    out = memory_of(view.base)
    before, state.grad = state.grad, True
    try:
        for step in view.way:
            out = step(out)
    finally:
        state.grad = before
    t._edge = out._edge


def require_tensor(value: Any, function: str, position: int = 1, argument: str = "input") -> Tensor:
    """The value if it is a tensor; TypeError as PyTorch words it if not."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{function}(): argument '{argument}' (position {position}) must be Tensor, "
            f"not {type(value).__name__}"
        )
    return value
