"""Jacobians, Hessians and their products with vectors, against PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from side_by_side import same

Function = Callable[..., Any]


def numbers(torch: Any, *shape: int) -> Any:
    values = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64) / 10
    return values.reshape(shape)


def vector(torch: Any) -> Any:
    return torch.tensor([0.5, -2.0], dtype=torch.float64)


# Jacobians --------------------------------------------------------------------------------------------------


@same
def test_the_jacobian_has_the_axes_of_output_and_input(torch: Any) -> Any:
    return torch.autograd.functional.jacobian(lambda x: x.exp().sum(1), numbers(torch, 2, 3))


@same
def test_tuples_give_tuples_of_jacobians(torch: Any) -> Any:
    inputs = numbers(torch, 2), numbers(torch, 3)
    jacobian = torch.autograd.functional.jacobian
    several = jacobian(lambda x, y: (x * y.sum(), y, x.sum()), inputs)
    one_output = jacobian(lambda x, y: x * 2, inputs)
    one_input = jacobian(lambda x: (x * 2, x.sin()), inputs[0])
    return several, one_output, one_input, jacobian(lambda x: x * 2, (inputs[0],))


@same
def test_a_jacobian_of_numbers_is_a_number(torch: Any) -> Any:
    return torch.autograd.functional.jacobian(lambda x: x * x, numbers(torch))


@same
def test_outputs_without_gradient_give_zeros(torch: Any) -> Any:
    jacobian, x = torch.autograd.functional.jacobian, numbers(torch, 2)
    return (
        jacobian(lambda x: torch.ones(3), x),
        jacobian(lambda x: x.long(), x),
        jacobian(lambda x: x.detach(), x),
    )


@same
def test_a_jacobian_is_made_under_no_grad_too(torch: Any) -> Any:
    with torch.no_grad():
        return torch.autograd.functional.jacobian(lambda x: x * x, numbers(torch, 2))


@same
def test_vectorized_jacobians_are_the_same(torch: Any) -> Any:
    jacobian, x = torch.autograd.functional.jacobian, numbers(torch, 2, 2)
    return [
        jacobian(lambda x: x.exp().sum(1), x, vectorize=True),
        jacobian(lambda x: x.exp().sum(1), x, vectorize=True, strategy="forward-mode"),
    ]


@same
def test_the_graph_of_a_jacobian_leads_to_the_input(torch: Any) -> Any:
    x = numbers(torch, 2).requires_grad_()
    plain = torch.autograd.functional.jacobian(lambda x: x**3, x)
    made = torch.autograd.functional.jacobian(lambda x: x**3, x, create_graph=True)
    made.sum().backward()
    return plain, made, repr(made), x.grad


@same
def test_the_input_is_left_alone(torch: Any) -> Any:
    x = numbers(torch, 2).requires_grad_()
    torch.autograd.functional.jacobian(lambda x: x * x, x)
    return x, x.grad


# Hessians ---------------------------------------------------------------------------------------------------


@same
def test_the_hessian_of_one_input(torch: Any) -> Any:
    return torch.autograd.functional.hessian(lambda x: (x**3).sum() + x.prod(), numbers(torch, 3))


@same
def test_the_hessian_of_several_inputs(torch: Any) -> Any:
    inputs = numbers(torch, 2), numbers(torch, 2)
    return torch.autograd.functional.hessian(lambda x, y: (x**2 * y.exp()).sum(), inputs)


@same
def test_a_linear_function_has_hessian_zero(torch: Any) -> Any:
    return torch.autograd.functional.hessian(lambda x: x.sum(), numbers(torch, 2))


@same
def test_the_graph_of_a_hessian(torch: Any) -> Any:
    x = numbers(torch, 2).requires_grad_()
    made = torch.autograd.functional.hessian(lambda x: x.exp().sum(), x, create_graph=True)
    made.sum().backward()
    return made, repr(made), x.grad


# Products ---------------------------------------------------------------------------------------------------


@same
def test_vector_times_jacobian(torch: Any) -> Any:
    vjp, x = torch.autograd.functional.vjp, numbers(torch, 2, 2)
    inputs = numbers(torch, 2), numbers(torch, 2)
    vectors = vector(torch), torch.tensor(2.0, dtype=torch.float64)
    return [
        vjp(lambda x: x.exp().sum(1), x, vector(torch)),
        vjp(lambda x: x.sum(), x),
        vjp(lambda x, y: (x * y, x.sum()), inputs, vectors),
        vjp(lambda x, y: x * 2, inputs, vector(torch)),
        vjp(lambda x: torch.ones(2), (inputs[0],), torch.ones(2)),
    ]


@same
def test_jacobian_times_vector(torch: Any) -> Any:
    jvp, x = torch.autograd.functional.jvp, numbers(torch, 2, 2)
    inputs = numbers(torch, 2), numbers(torch, 2)
    return [
        jvp(lambda x: x.exp().sum(1), x, torch.ones(2, 2, dtype=torch.float64)),
        jvp(lambda x: x * 2, torch.tensor(3.0)),
        jvp(lambda x, y: (x * y, x.sum()), inputs, (vector(torch), numbers(torch, 2))),
        jvp(lambda x: torch.ones(2), inputs[0], vector(torch)),
    ]


@pytest.mark.parametrize("name", ["hvp", "vhp"])
def test_hessian_times_vector(name: str) -> None:
    @same
    def program(torch: Any) -> Any:
        product = getattr(torch.autograd.functional, name)
        inputs = numbers(torch, 2), numbers(torch, 2)
        return [
            product(lambda x: (x**3).sum() * x.prod(), inputs[0], vector(torch)),
            product(lambda x, y: (x**2 * y).sum(), inputs, (vector(torch), numbers(torch, 2))),
            product(lambda x: x.sum(), inputs[0], vector(torch)),
            product(lambda x: x**3, numbers(torch)),
        ]

    program()


@pytest.mark.parametrize("name", ["vjp", "jvp", "hvp", "vhp"])
def test_the_graph_of_a_product(name: str) -> None:
    @same
    def program(torch: Any) -> Any:
        x = numbers(torch, 2).requires_grad_()
        product = getattr(torch.autograd.functional, name)
        values, made = product(
            lambda x: x.exp().sum(), x, *[vector(torch)] * (name != "vjp"), create_graph=True
        )
        (values + made.sum()).backward()
        return values, made, x.grad

    program()


# Refusals ---------------------------------------------------------------------------------------------------

REFUSED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "a list of inputs": lambda f, x, torch: f.jacobian(lambda x, y: x, [x, x]),
    "an input that is no tensor": lambda f, x, torch: f.jacobian(lambda x: x, 3),
    "one of the inputs": lambda f, x, torch: f.vjp(lambda x, y: x, (x, 3), x),
    "an output that is no tensor": lambda f, x, torch: f.jacobian(lambda x: 3, x),
    "one of the outputs": lambda f, x, torch: f.jacobian(lambda x: (x, 3), x),
    "a list of outputs": lambda f, x, torch: f.vjp(lambda x: [x, x], x),
    "an unknown strategy": lambda f, x, torch: f.jacobian(lambda x: x, x, strategy="other"),
    "strict and vectorized": lambda f, x, torch: f.jacobian(lambda x: x, x, strict=True, vectorize=True),
    "a write to the input": lambda f, x, torch: f.jacobian(lambda x: x.mul_(2), x),
    "strict: an independent output": lambda f, x, torch: f.jacobian(lambda x: x.detach(), x, strict=True),
    "strict: an independent input": lambda f, x, torch: f.jacobian(lambda x, y: x * 2, (x, x), strict=True),
    "strict: a constant jacobian": lambda f, x, torch: f.jacobian(
        lambda x: x * 2, x, strict=True, create_graph=True
    ),
    "hessian of a vector": lambda f, x, torch: f.hessian(lambda x: x * 2, x),
    "hessian of a tuple": lambda f, x, torch: f.hessian(lambda x: (x.sum(), x.sum()), x),
    "hessian of a constant number": lambda f, x, torch: f.hessian(lambda x: 3, x),
    "hessian, an unknown strategy": lambda f, x, torch: f.hessian(
        lambda x: x.sum(), x, outer_jacobian_strategy="other"
    ),
    "strict: hessian of a linear function": lambda f, x, torch: f.hessian(lambda x: x.sum(), x, strict=True),
    "strict: hessian by an unused input": lambda f, x, torch: f.hessian(
        lambda x, y: (x**2).sum(), (x, x), strict=True
    ),
    "strict: hessian of a constant": lambda f, x, torch: f.hessian(
        lambda x: x.detach().sum(), x, strict=True
    ),
    "strict: hessian without mixed terms": lambda f, x, torch: f.hessian(
        lambda x, y: (x**2).sum() + (y**2).sum(), (x, x), strict=True
    ),
    "vjp without a vector": lambda f, x, torch: f.vjp(lambda x: x, x),
    "vjp: a vector of another shape": lambda f, x, torch: f.vjp(lambda x: x, x, torch.ones(3)),
    "vjp: too few vectors": lambda f, x, torch: f.vjp(lambda x: (x, x), x, x),
    "vjp: no vector": lambda f, x, torch: f.vjp(lambda x: x, x, 3.0),
    "strict: vjp by an unused input": lambda f, x, torch: f.vjp(lambda x, y: x, (x, x), x, strict=True),
    "strict: vjp of a constant": lambda f, x, torch: f.vjp(lambda x: torch.ones(2), x, x, strict=True),
    "jvp without a vector": lambda f, x, torch: f.jvp(lambda x: x, x),
    "jvp: a vector of another shape": lambda f, x, torch: f.jvp(lambda x: x, x, torch.ones(3)),
    "jvp: too few vectors": lambda f, x, torch: f.jvp(lambda x, y: x, (x, x), x),
    "strict: jvp by an unused input": lambda f, x, torch: f.jvp(lambda x, y: x, (x, x), (x, x), strict=True),
    "strict: jvp of a constant": lambda f, x, torch: f.jvp(lambda x: torch.ones(2), x, x, strict=True),
    "strict: jvp of a constant among others": lambda f, x, torch: f.jvp(
        lambda x: (x * 2, torch.ones(2, requires_grad=True) * 1), x, x, strict=True
    ),
    "strict: a constant jvp": lambda f, x, torch: f.jvp(
        lambda x: x * 2, x, x, strict=True, create_graph=True
    ),
    "hvp without a vector": lambda f, x, torch: f.hvp(lambda x: x.sum(), x),
    "hvp of a vector": lambda f, x, torch: f.hvp(lambda x: x, x, x),
    "hvp of a tuple": lambda f, x, torch: f.hvp(lambda x: (x.sum(), x.sum()), x, x),
    "strict: hvp of a linear function": lambda f, x, torch: f.hvp(lambda x: x.sum(), x, x, strict=True),
    "vhp without a vector": lambda f, x, torch: f.vhp(lambda x: x.sum(), x),
    "vhp of a vector": lambda f, x, torch: f.vhp(lambda x: x, x, x),
    "strict: vhp of a linear function": lambda f, x, torch: f.vhp(lambda x: x.sum(), x, x, strict=True),
    "strict: vhp by an unused input": lambda f, x, torch: f.vhp(
        lambda x, y: (x**2).sum(), (x, x), (x, x), strict=True
    ),
    "strict: vhp of a constant": lambda f, x, torch: f.vhp(lambda x: torch.ones(1), x, x, strict=True),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    @same
    def program(torch: Any) -> Any:
        REFUSED[case](torch.autograd.functional, numbers(torch, 2), torch)

    program()
