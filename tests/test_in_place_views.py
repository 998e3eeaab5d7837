"""Methods that give a tensor itself another shape do what PyTorch's do, to the tensor and to its views."""

from __future__ import annotations

import pytest
from both_libraries import assert_alike

CALLS = (
    *("squeeze_()", "squeeze_(0)", "squeeze_(1)", "squeeze_((0, 1))", "unsqueeze_(0)", "unsqueeze_(-1)"),
    *("unsqueeze_(4)", "t_()", "transpose_(0, 1)", "transpose_(0, 2)", "swapaxes_(-1, 0)", "swapdims_(0, 1)"),
    *("as_strided_((3,), (1,))", "as_strided_((2, 2), (1, 1), 1)", "as_strided_((9,), (1,))"),
)
KINDS = {
    "plain": "y = torch.arange(3.0).reshape(1, 3)",
    "result": "w = torch.arange(3.0).reshape(1, 3).requires_grad_(); y = w * 2",
    "view": "w = torch.arange(8.0).reshape(2, 4).requires_grad_(); b = w * 2; y = b[:1, :3]",
    "leaf": "y = torch.ones(1, 3, requires_grad=True)",
    "view of a leaf": "w = torch.ones(2, 3, requires_grad=True); y = w[:1]",
    "one of several": "w = torch.ones(1, 3, requires_grad=True); y, _ = (w * 2).split(2, 1)",
    "0-d": "y = torch.tensor(2.0)",
}

PROGRAMS = (
    "x = torch.ones(2, 3); r = x.t_(); (r is x, x, x._version, x._base is None)",
    "w = torch.arange(3.0).requires_grad_(); y = (w * 2).unsqueeze_(0); (y * y).sum().backward(); w.grad",
    "w = torch.ones(2, 3, requires_grad=True); y = w * 2; z = y[0]; y.t_(); (z.detach(), y, y[0])",
    "w = torch.ones(2, 3, requires_grad=True); y = w * 2; z = y[0]; y.t_(); y.mul_(3); "
    "(z * z).sum().backward(); (z.detach(), y.detach(), w.grad)",
    "w = torch.ones(2, 3, requires_grad=True); y = w * 2; z = y[0]; y.t_(); z.mul_(5); "
    "(y * y).sum().backward(); (z.detach(), y.detach(), w.grad)",
    "w = torch.ones(2, 3, requires_grad=True); y = w * 2; z = y[0]; y.t_(); v = y[:, 1]; v.mul_(5); "
    "z.exp_(); (y * y).sum().backward(); (z.detach(), v.detach(), y.detach(), w.grad)",
    "w = torch.ones(3, requires_grad=True); p = torch.zeros(2, 3); z = p[0]; p.t_(); p.add_(w[:, None]); "
    "(z * z).sum().backward(); (z.detach(), p.detach(), w.grad)",
    "w = torch.ones(2, 3, requires_grad=True); y = w * 2; v = y[0]; v.unsqueeze_(0); v.mul_(2); "
    "y.sum().backward(); (v._base is y, y.detach(), v.detach(), w.grad)",
    "w = torch.ones(1, 2, requires_grad=True); y = w * 1; y.retain_grad(); y.squeeze_(0); "
    "y.sum().backward(); (y, w.grad)",
    "w = torch.ones(2, 3, requires_grad=True); torch.no_grad().__enter__(); r = w.t_(); "
    "torch.set_grad_enabled(True); (w * w).sum().backward(); (w, w.grad, w.is_leaf)",
    "e = torch.ones(1, 3).expand(2, 3); (e.t_(), e.unsqueeze_(0))",
    "torch.as_strided_(torch.arange(4.0), (2, 2), (1, 2))",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_the_tensor_has_the_new_shape(kind: str, call: str) -> None:
    seen = "(r is y, y.shape, y.tolist(), y._version, y.grad_fn and y.grad_fn.name())"
    assert_alike(f"{KINDS[kind]}; r = y.{call}; {seen}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_views_and_gradients_stay_right(program: str) -> None:
    assert_alike(program)
