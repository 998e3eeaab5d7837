"""gradcheck accepts right derivatives and says what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest
from side_by_side import same


def leaf(torch: Any, *values: float) -> Any:
    return torch.tensor(values or (0.5, 1.5), dtype=torch.float64, requires_grad=True)


def check(torch: Any, *args: Any, **kwargs: Any) -> Any:
    return torch.autograd.gradcheck(*args, **kwargs)


def doubled(torch: Any, backward: Any) -> Any:
    """x * 2 with this backward."""
    members = {"forward": staticmethod(lambda ctx, *x: x[0] * 2), "backward": staticmethod(backward)}
    return type("F", (torch.autograd.Function,), members).apply


def tripled(ctx: Any, g: Any) -> Any:
    return g * 3


@same
def test_right_gradients_are_accepted(torch: Any) -> Any:
    x, y = leaf(torch), leaf(torch, 0.3)
    return [
        check(torch, lambda x: x.exp(), x),
        check(torch, lambda x, y: (x * y, y.sin()), (x, y)),
        check(torch, lambda x, y: [x * 2, x], (x, y)),
        check(torch, lambda x, k: x * k, (x, 3)),
        check(torch, lambda x: (x * 2).long(), x),
        check(torch, lambda x: (x * 2).float(), x, eps=1e-2),
        check(torch, lambda x: x.exp(), x, fast_mode=True, check_batched_grad=True, check_grad_dtypes=True),
        check(torch, lambda x: x.t() @ x, torch.ones(3, 2, dtype=torch.float64).t().requires_grad_()),
        check(torch, lambda x: x.exp(), torch.zeros(0, dtype=torch.float64, requires_grad=True)),
        check(torch, lambda x: x.exp(), leaf(torch) * 1),
    ]


@same
def test_wrong_gradients_are_shown_beside_right_ones(torch: Any) -> Any:
    check(torch, doubled(torch, tripled), leaf(torch))


@same
def test_or_said_to_be_wrong(torch: Any) -> Any:
    x = leaf(torch)
    return [
        check(torch, doubled(torch, tripled), x, raise_exception=False),
        check(torch, doubled(torch, lambda ctx, g: None), x, raise_exception=False),
        check(torch, doubled(torch, lambda ctx, g: g * 2 + 1e-3), x, raise_exception=False),
    ]


@same
def test_a_missing_gradient_is_a_wrong_one(torch: Any) -> Any:
    check(torch, lambda x: x.detach(), leaf(torch))


@same
def test_an_input_has_to_require_grad(torch: Any) -> Any:
    check(torch, lambda x: x.exp(), torch.ones(2), raise_exception=False)


@same
def test_single_precision_is_warned_of(torch: Any) -> Any:
    return check(torch, lambda x: x * 2, torch.ones(2, requires_grad=True), eps=1e-2)


@same(words="The 0th input has a dimension with stride 0.")
def test_inputs_may_not_overlap(torch: Any) -> Any:
    check(torch, lambda x: x * 2, leaf(torch, 1.0).expand(3))


@same(words="Backward is not reentrant")
def test_a_backward_gives_the_same_twice(torch: Any) -> Any:
    calls: list[int] = []

    def backward(ctx: Any, g: Any) -> Any:
        calls.append(1)
        return g * (2 + 1e-9 * len(calls))

    check(torch, doubled(torch, backward), leaf(torch))


@same
def test_or_nearly_the_same(torch: Any) -> Any:
    calls: list[int] = []

    def backward(ctx: Any, g: Any) -> Any:
        calls.append(1)
        return g * (2 + 1e-9 * len(calls))

    return check(torch, doubled(torch, backward), leaf(torch), nondet_tol=1e-6)


@same(words="backward not multiplied by grad_output")
def test_a_backward_is_linear(torch: Any) -> Any:
    check(torch, doubled(torch, lambda ctx, g: g * 2 + 1e-9), leaf(torch))


def careless(torch: Any) -> Any:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.set_materialize_grads(False)
        return x * 2

    def backward(ctx: Any, g: Any) -> Any:
        return torch.ones(2, dtype=torch.float64) if g is None else g * 2, None

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("F", (torch.autograd.Function,), members).apply


@same(words="Expected all input grads to be undefined or zero when all output grads are undefined or zero.")
def test_without_gradients_a_backward_gives_none(torch: Any) -> Any:
    check(torch, careless(torch), (leaf(torch), leaf(torch)))


@same
def test_unless_that_is_not_checked(torch: Any) -> Any:
    return check(torch, careless(torch), (leaf(torch), leaf(torch)), check_undefined_grad=False)


@same
def test_an_error_in_the_function_reaches_the_caller(torch: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        raise ValueError("from the backward")

    check(torch, doubled(torch, backward), leaf(torch), raise_exception=False)


# Second derivatives -----------------------------------------------------------------------------------------


@same
def test_right_second_derivatives_are_accepted(torch: Any) -> Any:
    x, y = leaf(torch), leaf(torch, 0.3)
    again = torch.autograd.gradgradcheck
    return [
        again(lambda x: x.exp(), x),
        again(lambda x, y: (x * y, x), (x, y), gen_non_contig_grad_outputs=True),
        again(lambda x: x * 2, x, torch.ones(2, dtype=torch.float64, requires_grad=True)),
        again(lambda x, y: x * y, (x, y.detach())),
    ]


@pytest.mark.parametrize("raises", [True, False])
def test_wrong_second_derivatives_are_not(raises: bool) -> None:
    def program(torch: Any) -> Any:
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**2

        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 * ctx.saved_tensors[0].detach()

        members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        F = type("F", (torch.autograd.Function,), members)
        return torch.autograd.gradgradcheck(F.apply, leaf(torch), raise_exception=raises)

    same(program, words="Jacobian mismatch for output 0 with respect to input 0," if raises else "")()
