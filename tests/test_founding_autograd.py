"""What the founding tutorials show of autograd, in numbers: eager as there, and fused by jitgrad.grad."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jitgrad
import jitgrad as torch
import jitgrad.numpy as jnp

RELATIVE = {"float32": 1e-6, "float64": 1e-13}


def close(got: Any, expected: Any, relative: float = RELATIVE["float32"]) -> None:
    """The tensor, array or number has the shape of `expected` and its values."""
    values = got.detach().tolist() if isinstance(got, torch.Tensor) else got
    assert np.shape(values) == np.shape(expected)
    np.testing.assert_allclose(values, expected, rtol=relative)


def quoted(got: Any, text: str) -> None:
    """The number is printed as `text` when it is printed with as many decimals."""
    assert f"{got.item():.{len(text.partition('.')[2])}f}" == text


def leaf(values: Any, dtype: Any = torch.float32) -> Any:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


# Functions: eager, fused and by finite differences ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A function of inputs and of the namespace it takes its functions from; its value and its gradients."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    value: float
    gradients: tuple[Any, ...]


COUNT = np.arange(5.0)
TEN = np.linspace(-10, 10, 10)
THOUSAND = np.linspace(-10, 10, 1000)
MATRIX = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
E = math.exp(1.5)
DIVISOR = 0.5 + E
SINE = 1 + math.sin(0.5)
BY_X1 = 0.5 - SINE * E / DIVISOR**2
BY_X2 = 1.5 + (math.cos(0.5) * DIVISOR - SINE) / DIVISOR**2
QUOTIENT = SINE / DIVISOR + 0.75

CASES = [
    Case("3x^2+2x+1", lambda m, x: 3 * x**2 + 2 * x + 1, (2.0,), 17, (14,)),
    Case("wx+b", lambda m, w, x, b: w * x + b, (4.0, 3.0, 5.0), 17, (3, 4, 1)),
    Case("(a+b)(b+1)", lambda m, a, b: (a + b) * (b + 1), (2.0, 1.0), 6, (2, 5)),
    Case(
        "log(3x^2+5xy)",
        lambda m, x, y: m.log(3 * x**2 + 5 * x * y),
        (2.0, 3.0),
        math.log(42),
        (27 / 42, 10 / 42),
    ),
    Case("sum(x^2+x^3)", lambda m, x: m.sum(x**2 + x**3), (np.ones(3),), 6, ([5, 5, 5],)),
    Case("(wx-y)^2", lambda m, w, x, y: (w * x - y) ** 2, (1.0, 1.0, 2.0), 1, (-2, -2, 2)),
    Case("3x^2+x", lambda m, x: 3 * x**2 + x, (5.0,), 80, (31,)),
    Case(
        "3x^2+x+4sin(x)",
        lambda m, x: 3 * x**2 + x + 4 * m.sin(x),
        (5.0,),
        80 + 4 * math.sin(5),
        (31 + 4 * math.cos(5),),
    ),
    Case("x1^2+x2^2", lambda m, x1, x2: x1**2 + x2**2, (5.0, 2.0), 29, (10, 4)),
    Case("3x^2", lambda m, x: 3 * x**2, (5.0,), 75, (30,)),
    Case("sum(x^2)", lambda m, x: m.sum(x**2), (COUNT,), 30, (2 * COUNT,)),
    Case("x@x", lambda m, x: m.matmul(x, x), (COUNT,), 30, (2 * COUNT,)),
    Case(
        "mean(log(x^2+1)+5x)",
        lambda m, x: m.mean(m.log(x**2 + 1) + 5 * x),
        (COUNT,),
        sum(math.log(x * x + 1) + 5 * x for x in COUNT) / 5,
        ((2 * COUNT / (COUNT**2 + 1) + 5) / 5,),
    ),
    Case("2x^4+x^3+3x^2+5x+1", lambda m, x: 2 * x**4 + x**3 + 3 * x**2 + 5 * x + 1, (2.0,), 63, (93,)),
    Case(
        "mean(2(3x+2)^2)",
        lambda m, x: m.mean(2 * (3 * x + 2) ** 2),
        (MATRIX,),
        140,
        ([[10, 16, 22], [22, 16, 10]],),
    ),
    Case("x^2", lambda m, x: x**2, (2.0,), 4, (4,)),
    Case("x^2+2x+1", lambda m, x: x**2 + 2 * x + 1, (2.0,), 9, (6,)),
    Case("2x^3+x", lambda m, x: 2 * x**3 + x, (1.0,), 3, (7,)),
    Case("uv+u^2", lambda m, u, v: u * v + u**2, (1.0, 2.0), 3, (4, 1)),
    Case("sum(x^2) over ten", lambda m, x: m.sum(x**2), (TEN,), 407.4074074074074, (2 * TEN,)),
    Case(
        "sum(relu(x))",
        lambda m, x: m.sum(m.relu(x)),
        (THOUSAND,),
        THOUSAND[THOUSAND > 0].sum(),
        ((THOUSAND > 0).astype(float),),
    ),
    Case(
        "(1+sin(x2))/(x2+exp(x1))+x1x2",
        lambda m, x1, x2: (1 + m.sin(x2)) / (x2 + m.exp(x1)) + x1 * x2,
        (1.5, 0.5),
        QUOTIENT,
        (BY_X1, BY_X2),
    ),
    Case(
        "(c+sin(x2))/(x2+exp(x1))+x1x2",
        lambda m, x1, x2, c: (c + m.sin(x2)) / (x2 + m.exp(x1)) + x1 * x2,
        (1.5, 0.5, 1.0),
        QUOTIENT,
        (BY_X1, BY_X2, 1 / DIVISOR),
    ),
    Case(
        "log(x1)+x1x2-sin(x2)",
        lambda m, x1, x2: m.log(x1) + x1 * x2 - m.sin(x2),
        (2.0, 5.0),
        math.log(2) + 10 - math.sin(5),
        (5.5, 2 - math.cos(5)),
    ),
    Case(
        "(1-exp(-x))/(1+exp(-x))",
        lambda m, x: (1 - m.exp(-x)) / (1 + m.exp(-x)),
        (1.0,),
        math.tanh(0.5),
        ((1 - math.tanh(0.5) ** 2) / 2,),
    ),
    Case("|x|+(x-5)^2", lambda m, x: abs(x) + (x - 5) ** 2, (10.0,), 35, (11,)),
    Case(
        "x*cos(4x)+2|x|",
        lambda m, x: x * m.cos(4 * x) + 2 * abs(x),
        (-3.5,),
        7 - 3.5 * math.cos(14),
        (math.cos(14) - 14 * math.sin(14) - 2,),
    ),
]
CASE = {case.name: case for case in CASES}
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def eagerly(case: Case, dtype: str) -> tuple[Any, list[Any]]:
    """The value and the gradients that backward() leaves in the inputs."""
    inputs = [leaf(value, getattr(torch, dtype)) for value in case.inputs]
    value = case.function(torch, *inputs)
    value.backward()
    return value, [x.grad for x in inputs]


def fused(case: Case, dtype: str) -> tuple[Any, tuple[Any, ...]]:
    """The value and the gradients of the same function of arrays, compiled."""
    function = jitgrad.value_and_grad(
        lambda *inputs: case.function(jnp, *inputs), argnums=tuple(range(len(case.inputs)))
    )
    value, gradients = function(*(np.asarray(value, dtype)[()] for value in case.inputs))
    return value, gradients


@each_dtype
@each_case
def test_backward_gives_the_gradients(case: Case, dtype: str) -> None:
    value, gradients = eagerly(case, dtype)
    close(value, case.value, RELATIVE[dtype])
    for gradient, expected in zip(gradients, case.gradients, strict=True):
        assert gradient.dtype is getattr(torch, dtype)
        close(gradient, expected, RELATIVE[dtype])


@each_dtype
@each_case
def test_the_fused_gradients_agree_with_the_eager_ones(case: Case, dtype: str) -> None:
    eager_value, eager_gradients = eagerly(case, dtype)
    fused_value, fused_gradients = fused(case, dtype)
    close(fused_value, case.value, RELATIVE[dtype])
    close(fused_value, eager_value.tolist(), RELATIVE[dtype])
    for gradient, eager, expected in zip(fused_gradients, eager_gradients, case.gradients, strict=True):
        assert gradient.dtype == dtype
        close(gradient, expected, RELATIVE[dtype])
        close(gradient, eager.tolist(), RELATIVE[dtype])


@each_case
def test_finite_differences_agree(case: Case) -> None:
    _, gradients = eagerly(case, "float64")
    step = 1e-6
    for place, gradient in enumerate(gradients):
        at = np.asarray(case.inputs[place])
        for index in list(np.ndindex(at.shape))[:10]:
            ends = []
            for sign in (1, -1):
                moved = at.copy()
                moved[index] += sign * step
                inputs = [*case.inputs[:place], moved, *case.inputs[place + 1 :]]
                tensors = [torch.tensor(value, dtype=torch.float64) for value in inputs]
                ends.append(case.function(torch, *tensors).item())
            difference = (ends[0] - ends[1]) / (2 * step)
            assert gradient[index].item() == pytest.approx(difference, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "gradients"),
    [
        ("log(3x^2+5xy)", "3.7377", ["0.6429", "0.2381"]),
        ("3x^2+x+4sin(x)", "76.1643", ["32.1346"]),
        ("mean(log(x^2+1)+5x)", "11.4877", ["1.0000", "1.2000", "1.1600", "1.1200", "1.0941"]),
        ("sum(x^2) over ten", "407.4074", []),
        ("(c+sin(x2))/(x2+exp(x1))+x1x2", "1.0470", ["0.2328", "1.6165", "0.2007"]),
        ("log(x1)+x1x2-sin(x2)", "11.652", ["5.5", "1.716"]),
        ("(1-exp(-x))/(1+exp(-x))", "0.4621", ["0.3932"]),
    ],
)
def test_the_numbers_print_as_quoted(name: str, value: str, gradients: list[str]) -> None:
    got, found = eagerly(CASE[name], "float32")
    quoted(got, value)
    if gradients:
        flat = torch.cat([gradient.reshape(-1) for gradient in found])
        for number, text in zip(flat, gradients, strict=True):
            quoted(number, text)


@pytest.mark.parametrize("way", [eagerly, fused])
def test_a_gradient_in_float64_has_all_its_digits(way: Any) -> None:
    _, (_, gradient) = way(CASE["(1+sin(x2))/(x2+exp(x1))+x1x2"], "float64")
    assert gradient.item() == pytest.approx(1.6165488003791768, rel=1e-15)


def test_plain_numpy_functions_fuse_to_the_same_gradients() -> None:
    case = CASE["log(3x^2+5xy)"]
    value, gradients = jitgrad.value_and_grad(lambda x, y: np.log(3 * x**2 + 5 * x * y), argnums=(0, 1))(
        2.0, 3.0
    )
    close(value, case.value, RELATIVE["float64"])
    close(gradients, case.gradients, RELATIVE["float64"])


def test_a_finite_difference_approximates_the_derivative() -> None:
    def function(x: Any) -> Any:
        return (1 - torch.exp(-x)) / (1 + torch.exp(-x))

    x, step = leaf(1.0, torch.float64), 1e-4
    function(x).backward()
    with torch.no_grad():
        forward = (function(x + step) - function(x)) / step
        central = (function(x + step) - function(x - step)) / (2 * step)
    quoted(forward, "0.3932")
    quoted(central, "0.3932")
    quoted(x.grad, "0.3932")
    close(central, x.grad.item(), 1e-8)


# The graph --------------------------------------------------------------------------------------------------


def test_a_polynomial_of_a_vector_of_one() -> None:
    x = leaf([2.0])
    y = 3 * x**2 + 2 * x + 1
    y.backward()
    close(y, [17])
    close(x.grad, [14])


def test_an_input_that_does_not_require_grad_gets_none() -> None:
    x, w, b = torch.tensor(3.0), leaf(4.0), leaf(5.0)
    y = w * x + b
    y.backward()
    close(y, 17)
    close(w.grad, 3)
    close(b.grad, 1)
    assert x.grad is None


def test_every_intermediate_value_of_a_product_of_sums() -> None:
    a, b = leaf(2.0), leaf(1.0)
    c = a + b
    d = b + 1
    e = c * d
    for node in (c, d, e):
        node.retain_grad()
    e.backward()
    assert [node.item() for node in (c, d, e)] == [3, 2, 6]
    assert [node.grad.item() for node in (a, b, c, d, e)] == [2, 5, 2, 3, 1]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: x + x, "AddBackward0"),
        (lambda x: 1 + x, "AddBackward0"),
        (lambda x: x - 1, "SubBackward0"),
        (lambda x: 1 - x, "RsubBackward1"),
        (lambda x: x * x, "MulBackward0"),
        (lambda x: 2 * x, "MulBackward0"),
        (lambda x: x / 2, "DivBackward0"),
        (lambda x: 1 / x, "MulBackward0"),
        (lambda x: -x, "NegBackward0"),
        (lambda x: x**2, "PowBackward0"),
        (lambda x: x**x, "PowBackward1"),
        (lambda x: torch.log(x), "LogBackward0"),
        (lambda x: torch.exp(x), "ExpBackward0"),
        (lambda x: torch.sin(x), "SinBackward0"),
        (lambda x: torch.cos(x), "CosBackward0"),
        (lambda x: abs(x), "AbsBackward0"),
        (lambda x: torch.relu(x), "ReluBackward0"),
        (lambda x: torch.sigmoid(x), "SigmoidBackward0"),
        (lambda x: torch.tanh(x), "TanhBackward0"),
        (lambda x: x.sum(), "SumBackward0"),
        (lambda x: x.sum(dim=0), "SumBackward1"),
        (lambda x: x.mean(), "MeanBackward0"),
        (lambda x: x @ x, "MmBackward0"),
        (lambda x: torch.cat([x, x]), "CatBackward0"),
        (lambda x: x[0], "SelectBackward0"),
        (lambda x: x[x > 0], "IndexBackward0"),
    ],
)
def test_a_result_names_the_function_that_made_it(make: Any, name: str) -> None:
    made = make(torch.ones(2, 2, requires_grad=True)).grad_fn
    assert made.name() == type(made).__name__ == name
    assert repr(made).startswith(f"<{name} object at 0x")


def test_the_graph_is_walked_from_the_result_to_the_leaves() -> None:
    a, b = leaf(2.0), leaf(1.0)
    product = ((a + b) * (b + 1)).grad_fn
    names = [function.name() for function, _ in product.next_functions]
    assert names == ["AddBackward0", "AddBackward0"]
    (first, _), (second, _) = product.next_functions[0][0].next_functions
    assert first.variable is a
    assert second.variable is b
    assert type(first).__name__ == "AccumulateGrad"
    (third, _), nothing = product.next_functions[1][0].next_functions
    assert third.variable is b
    assert nothing == (None, 0)


def test_a_leaf_has_no_function_that_made_it() -> None:
    x = leaf(1.0)
    assert x.grad_fn is None
    assert x.is_leaf
    assert x.grad is None
    assert torch.tensor(1.0).is_leaf


def log_of_sum(x: Any, y: Any) -> dict[str, Any]:
    """z = log(3x²+5xy), step by step."""
    a = x**2
    b = 3 * a
    c = x * y
    d = 5 * c
    e = b + d
    return {"a": a, "b": b, "c": c, "d": d, "e": e, "z": torch.log(e)}


@pytest.mark.parametrize(
    ("passes", "printed"),
    [
        (
            1,
            "x 0.6429 y 0.2381 a 0.0714 b 0.0238 c 0.1190 d 0.0238 e 0.0238 z 1",
        ),
        (
            2,
            "x 1.2857 y 0.4762 a 0.1429 b 0.0476 c 0.2381 d 0.0476 e 0.0476 z 2",
        ),
        (
            3,
            "x 1.9286 y 0.7143 a 0.2143 b 0.0714 c 0.3571 d 0.0714 e 0.0714 z 3",
        ),
    ],
)
def test_backward_passes_add_up_in_leaves_and_retained_intermediates(passes: int, printed: str) -> None:
    x, y = leaf(2.0), leaf(3.0)
    nodes = log_of_sum(x, y)
    for node in nodes.values():
        node.retain_grad()
    for _ in range(passes):
        nodes["z"].backward(retain_graph=True)
    expected = {"x": 27, "y": 10, "a": 3, "b": 1, "c": 5, "d": 1, "e": 1, "z": 42}
    words = printed.split()
    for name, text in zip(words[::2], words[1::2], strict=True):
        gradient = (nodes | {"x": x, "y": y})[name].grad
        quoted(gradient, text)
        close(gradient, passes * expected[name] / 42)


def test_a_second_backward_needs_retain_graph() -> None:
    x, y = leaf(2.0), leaf(3.0)
    z = log_of_sum(x, y)["z"]
    z.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time") as raised:
        z.backward()
    message = str(raised.value)
    assert "Saved intermediate values of the graph are freed when you call .backward()" in message
    assert "Specify retain_graph=True if you need to backward through the graph a second time" in message
    close(x.grad, 27 / 42)


def test_the_pass_after_the_last_retained_one_is_refused() -> None:
    x = leaf(2.0)
    y = x**2
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    close(x.grad, 8)


def test_a_graph_that_saved_nothing_may_be_walked_twice() -> None:
    x = leaf(2.0)
    y = x + 1
    y.backward()
    y.backward()
    close(x.grad, 2)


def test_retain_grad_keeps_the_gradient_of_an_intermediate() -> None:
    x1, x2 = leaf(5.0), leaf(2.0)
    y = 0.5 * x2**2
    y.retain_grad()
    (x1**2 + y).backward()
    close(y.grad, 1)
    close(x1.grad, 10)
    close(x2.grad, 2)
    assert y.retains_grad
    assert not y.is_leaf


def test_retain_grad_of_a_leaf_changes_nothing() -> None:
    x = leaf(2.0)
    x.retain_grad()
    (x**2).backward()
    close(x.grad, 4)
    assert not x.retains_grad


def test_retain_grad_needs_a_tensor_that_requires_grad() -> None:
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        torch.ones(1).retain_grad()


def test_reading_the_gradient_of_an_intermediate_warns_of_retain_grad() -> None:
    y = leaf(2.0) ** 2
    with pytest.warns(UserWarning, match=r"use \.retain_grad\(\) on the non-leaf Tensor"):
        assert y.grad is None


# Backward ---------------------------------------------------------------------------------------------------


def test_backward_of_a_vector_needs_a_gradient() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x**2 + x**3).backward()
    assert x.grad is None


def test_backward_of_the_sum_of_a_vector() -> None:
    x = torch.ones(3, requires_grad=True)
    (x**2 + x**3).sum().backward()
    close(x.grad, [5, 5, 5])


def test_backward_of_a_vector_with_a_gradient() -> None:
    weights = torch.tensor([1.0, 0.1, -2.0])
    for arguments in ({"gradient": weights}, {"gradient": weights, "retain_graph": True}):
        x = torch.ones(3, requires_grad=True)
        (x**2 + x**3).backward(**arguments)
        close(x.grad, [5, 0.5, -10])
    x = torch.ones(3, requires_grad=True)
    (x**2 + x**3).backward(weights)
    close(x.grad, [5, 0.5, -10])


def test_a_gradient_scales_the_pass_of_a_scalar() -> None:
    x = leaf(5.0)
    (3 * x**2).backward(gradient=torch.tensor(0.5))
    close(x.grad, 15)


def test_a_gradient_of_another_shape_is_refused() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\] has a shape of"):
        (x**2).backward(gradient=torch.ones(2))


def test_backward_takes_its_arguments_by_name_or_in_order() -> None:
    x = leaf(5.0)
    y = 3 * x**2
    y.backward(gradient=None, retain_graph=True, create_graph=False, inputs=None)
    close(x.grad, 30)
    y.backward(torch.tensor(2.0), None, False, [x])
    close(x.grad, 90)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_two_passes_over_one_graph_accumulate() -> None:
    x = leaf(5.0)
    y = 3 * x**2
    y.backward(retain_graph=True)
    close(x.grad, 30)
    y.backward()
    close(x.grad, 60)


def test_two_graphs_accumulate_too() -> None:
    x = leaf(5.0)
    (3 * x**2).backward()
    (3 * x**2).backward()
    close(x.grad, 60)


def test_zeroing_the_gradient_between_passes() -> None:
    x = leaf(5.0)
    y = 3 * x**2
    y.backward(retain_graph=True)
    close(x.grad, 30)
    x.grad.zero_()
    close(x.grad, 0)
    y.backward()
    close(x.grad, 30)


def test_zeroing_a_gradient_that_is_not_there() -> None:
    x = leaf(5.0)
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'zero_'"):
        x.grad.zero_()


def test_a_gradient_may_be_set_to_none() -> None:
    x = leaf(5.0)
    (3 * x**2).backward()
    x.grad = None
    (3 * x**2).backward()
    close(x.grad, 30)


def test_three_results_that_share_a_square_are_walked_in_turn() -> None:
    x = leaf(5.0)
    square, cube = x**2, x**3
    total = 0
    for result, gradient in ((x + square, 11), (square + square, 20), (cube + square, 85)):
        result.backward(retain_graph=True)
        total += gradient
        close(x.grad, total)
    assert total == 116


def test_backward_reaches_only_the_inputs_that_are_named() -> None:
    x, y = leaf(5.0), leaf(2.0)
    (x**2 + y**2).backward(inputs=[x])
    close(x.grad, 10)
    assert y.grad is None
    (x * y).backward(inputs=y)
    close(y.grad, 5)
    close(x.grad, 10)


def test_backward_with_no_inputs_is_refused() -> None:
    x = leaf(5.0)
    with pytest.raises(RuntimeError, match=r"`inputs` argument to `backward\(\)` cannot be empty"):
        (x**2).backward(inputs=[])


def test_backward_with_create_graph_makes_a_gradient_that_can_be_differentiated() -> None:
    x = leaf(2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of the reference cycle
        (x**3).backward(create_graph=True)
    first = x.grad
    close(first, 12)
    assert first.requires_grad
    x.grad = None
    first.backward()
    close(x.grad, 12)


def test_without_create_graph_a_gradient_is_a_constant() -> None:
    x = leaf(2.0)
    (x**3).backward()
    assert not x.grad.requires_grad
    assert x.grad.grad_fn is None


def test_gradients_of_gradients_up_to_the_fourth_order() -> None:
    x = leaf(2.0)
    derivative = CASE["2x^4+x^3+3x^2+5x+1"].function(torch, x)
    for expected in (93, 114, 102, 48):
        (derivative,) = torch.autograd.grad(derivative, x, create_graph=True)
        close(derivative, expected)


def test_fused_gradients_of_gradients() -> None:
    def function(x: Any) -> Any:
        return 2 * x**4 + x**3 + 3 * x**2 + 5 * x + 1

    for expected in (93, 114, 102, 48):
        function = jitgrad.grad(function)
        close(function(2.0), expected, RELATIVE["float64"])


def test_autograd_grad_returns_gradients_and_leaves_the_leaves_alone() -> None:
    x1, x2 = leaf(5.0), leaf(2.0)
    by_x1, by_x2 = torch.autograd.grad(x1**2 + x2**2, (x1, x2))
    close(by_x1, 10)
    close(by_x2, 4)
    assert x1.grad is x2.grad is None


def test_autograd_grad_takes_gradients_of_vectors_and_of_intermediates() -> None:
    x = torch.ones(3, requires_grad=True)
    square = x**2
    y = 3 * square
    weights = torch.tensor([1.0, 0.1, -2.0])
    (by_square,) = torch.autograd.grad(y, square, grad_outputs=weights, retain_graph=True)
    close(by_square, [3, 0.3, -6])
    (by_x,) = torch.autograd.grad([y], [x], [weights])
    close(by_x, [6, 0.6, -12])


def test_autograd_grad_of_an_unused_input() -> None:
    x, unused = leaf(5.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="not have been used in the graph. Set allow_unused=True"):
        torch.autograd.grad(x**2, [x, unused])
    by_x, by_unused = torch.autograd.grad(x**2, [x, unused], allow_unused=True)
    close(by_x, 10)
    assert by_unused is None


def test_autograd_backward_takes_several_results() -> None:
    x = torch.ones(3, requires_grad=True)
    torch.autograd.backward([(x**2).sum(), x**3], [None, torch.tensor([1.0, 0.0, 2.0])])
    close(x.grad, [5, 2, 8])


# What is recorded -------------------------------------------------------------------------------------------


def test_under_no_grad_nothing_is_recorded() -> None:
    x = leaf([1.0, 2.0])
    with torch.no_grad():
        y = (x**2).sum()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert x.requires_grad
    assert not y.requires_grad
    assert y.grad_fn is None
    message = "element 0 of tensors does not require grad and does not have a grad_fn"
    with pytest.raises(RuntimeError, match=message):
        y.backward()


def test_no_grad_decorates_a_function() -> None:
    x = leaf(2.0)

    @torch.no_grad()
    def square(value: Any) -> Any:
        return value**2

    assert not square(x).requires_grad
    assert (x**2).requires_grad


def test_recording_is_restored_after_an_exception_and_by_enable_grad() -> None:
    x = leaf(2.0)
    with pytest.raises(ZeroDivisionError), torch.no_grad():
        raise ZeroDivisionError
    assert (x**2).requires_grad
    with torch.no_grad(), torch.enable_grad():
        assert (x**2).requires_grad
    with torch.set_grad_enabled(False):
        assert not (x**2).requires_grad


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: x.data], ids=["detach", "data"])
def test_a_cut_tensor_has_no_part_in_the_graph(cut: Any) -> None:
    x = leaf([2.0, 3.0])
    alone = cut(x**2)
    assert not alone.requires_grad
    assert alone.grad_fn is None
    assert alone.is_leaf
    (x * cut(x)).sum().backward()
    close(x.grad, [2, 3])


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: x.data], ids=["detach", "data"])
def test_a_cut_tensor_shares_its_memory(cut: Any) -> None:
    x = leaf([2.0, 3.0])
    cut(x)[0] = 7
    close(x, [7, 3])
    assert cut(x).data_ptr() == x.data_ptr()


def test_requires_grad_of_a_result_cannot_be_changed() -> None:
    a = leaf(2.0) * 2
    message = "you can only change requires_grad flags of leaf variables"
    with pytest.raises(RuntimeError, match=message):
        a.requires_grad = True
    with pytest.raises(RuntimeError, match=message):
        a.requires_grad = False


def test_requires_grad_of_a_leaf_can_be_changed() -> None:
    x = torch.tensor([1.0, 2.0])
    assert x.requires_grad_(True) is x
    assert (x * 2).requires_grad
    x.requires_grad = False
    assert not (x * 2).requires_grad
    x.requires_grad = True
    (x * 2).sum().backward()
    close(x.grad, [2, 2])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "bool"])
def test_integers_and_booleans_cannot_require_grad(dtype: str) -> None:
    message = "[Oo]nly Tensors of floating point( and complex)? dtype can require gradients"
    with pytest.raises(RuntimeError, match=message):
        torch.tensor([1], dtype=getattr(torch, dtype), requires_grad=True)
    integers = torch.ones(2, dtype=getattr(torch, dtype))
    with pytest.raises(RuntimeError, match=message):
        integers.requires_grad_()
    with pytest.raises(RuntimeError, match=message):
        integers.requires_grad = True
    assert not integers.requires_grad


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_floating_and_complex_tensors_can_require_grad(dtype: str) -> None:
    assert torch.ones(2, dtype=getattr(torch, dtype), requires_grad=True).requires_grad
    assert torch.ones(2, dtype=getattr(torch, dtype)).requires_grad_().requires_grad


def test_an_arange_requires_grad_afterwards() -> None:
    x = torch.arange(5.0).requires_grad_(True)
    y = (x**2).sum()
    y.backward()
    close(y, 30)
    close(x.grad, (2 * COUNT).tolist())
    assert repr(x.grad) == "tensor([0., 2., 4., 6., 8.])"


def test_the_slope_of_relu_is_a_step() -> None:
    x = torch.linspace(-10, 10, 1000, requires_grad=True)
    torch.relu(x).sum().backward()
    assert x.grad.tolist() == [0.0] * 500 + [1.0] * 500


def test_the_slopes_of_relu_and_abs_are_zero_at_zero() -> None:
    x = leaf([0.0])
    torch.relu(x).sum().backward()
    close(x.grad, [0])
    abs(x).sum().backward()
    close(x.grad, [0])


def test_the_attributes_of_a_leaf_and_of_a_result() -> None:
    x = leaf([[1.0, 2.0]])
    y = (x**2).sum()
    y.backward()
    for tensor, shape, made in ((x, (1, 2), False), (y, (), True)):
        assert tensor.shape == shape
        assert tensor.is_leaf is not made
        assert (tensor.grad_fn is not None) is made
        assert tensor.requires_grad is True
        assert tensor.dtype is torch.float32
        assert tensor.device == torch.device("cpu")
        assert tensor.data.tolist() == tensor.tolist()
    assert type(y.item()) is float
    assert y.item() == 5
    close(x.grad, [[2, 4]])


def test_only_a_tensor_of_one_element_is_an_item() -> None:
    assert torch.tensor([[3]]).item() == 3
    with pytest.raises(RuntimeError, match="a Tensor with 2 elements cannot be converted to Scalar"):
        torch.ones(2).item()


def test_an_array_of_a_tensor_that_requires_grad_is_taken_after_detach() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"Use tensor\.detach\(\)\.numpy\(\) instead"):
        x.numpy()
    copy = x.detach().numpy().copy()
    x.data[0] = 7
    assert copy.tolist() == [1, 2]


# A step of learning -----------------------------------------------------------------------------------------


def test_a_weight_is_updated_in_place_under_no_grad() -> None:
    x, y, w = torch.tensor(1.0), torch.tensor(2.0), leaf(1.0)
    weight = w
    loss = (w * x - y) ** 2
    loss.backward()
    close(loss, 1)
    close(w.grad, -2)
    with torch.no_grad():
        w -= 0.01 * w.grad
    close(w, 1.02)
    assert w is weight
    assert w.requires_grad
    assert w.is_leaf
    w.grad.zero_()
    close(w.grad, 0)


def test_a_weight_cannot_be_updated_in_place_while_recording() -> None:
    w = leaf(1.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
        w -= 0.01


def test_repeated_steps_approach_the_solution() -> None:
    x, y, w = torch.tensor(1.0), torch.tensor(2.0), leaf(1.0)
    for step in range(1, 4):
        ((w * x - y) ** 2).backward()
        with torch.no_grad():
            w -= 0.01 * w.grad
        w.grad.zero_()
        close(w, 2 - 0.98**step)


def descent(function: Any, start: float, step: float, steps: int) -> list[float]:
    x, path = leaf(start), [start]
    for _ in range(steps):
        function(x).backward()
        with torch.no_grad():
            x -= step * x.grad
        x.grad.zero_()
        path.append(x.item())
    return path


@pytest.mark.parametrize("start", [0.0, 10.0])
def test_gradient_descent_finds_the_one_minimum_from_both_sides(start: float) -> None:
    path = descent(lambda x: abs(x) + (x - 5) ** 2, start, 0.05, 150)
    assert path[-1] == pytest.approx(4.5, abs=1e-4)


@pytest.mark.parametrize(
    ("start", "end"), [(-3.5, -3.1215), (-2.5, -3.1215), (-2.0, -1.5292), (-1.0, -1.5292), (-0.5, 0.0)]
)
def test_gradient_descent_in_small_steps_ends_in_the_valley_where_it_starts(start: float, end: float) -> None:
    path = descent(lambda x: x * torch.cos(4 * x) + 2 * abs(x), start, 0.001, 1000)
    assert path[-1] == pytest.approx(end, abs=2e-3)


def test_gradient_descent_in_large_steps_leaps_across_the_valley_for_ever() -> None:
    path = descent(lambda x: x * torch.cos(4 * x) + 2 * abs(x), -3.5, 0.05, 150)
    assert path[-4:] == pytest.approx([-2.8551, -3.2960, -2.8551, -3.2960], abs=1e-3)


# Forward and reverse traces of log(x1)+x1x2-sin(x2) ---------------------------------------------------------


def trace(x1: Any, x2: Any) -> tuple[Any, ...]:
    """The values v1 to v5, of which the last is the result."""
    v1 = torch.log(x1)
    v2 = x1 * x2
    v3 = torch.sin(x2)
    v4 = v1 + v2
    return v1, v2, v3, v4, v4 - v3


@pytest.mark.parametrize(
    ("seed", "tangents", "printed"),
    [
        ((1.0, 0.0), [0.5, 5, 0, 5.5, 5.5], "5.5"),
        ((0.0, 1.0), [0, 2, math.cos(5), 2, 2 - math.cos(5)], "1.716"),
        ((1.0, 1.0), [0.5, 7, math.cos(5), 7.5, 7.5 - math.cos(5)], "7.216"),
    ],
)
def test_the_forward_trace_carries_tangents(seed: Any, tangents: list[float], printed: str) -> None:
    inputs = (torch.tensor(2.0), torch.tensor(5.0))
    values, found = torch.autograd.functional.jvp(trace, inputs, tuple(torch.tensor(s) for s in seed))
    expected = [math.log(2), 10, math.sin(5), math.log(2) + 10, math.log(2) + 10 - math.sin(5)]
    close([value.item() for value in values], expected)
    close([tangent.item() for tangent in found], tangents)
    quoted(values[-1], "11.652")
    quoted(found[-1], printed)


def test_the_reverse_trace_carries_adjoints() -> None:
    x1, x2 = leaf(2.0), leaf(5.0)
    values = trace(x1, x2)
    for value in values:
        value.retain_grad()
    values[-1].backward()
    close([value.grad.item() for value in values], [1, 1, -1, 1, 1])
    quoted(values[-1], "11.652")
    quoted(x1.grad, "5.5")
    quoted(x2.grad, "1.716")
