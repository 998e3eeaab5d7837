"""What the founding tutorials show of tensors: creation, dtypes, devices, arithmetic, reprs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import jitgrad as torch

RELATIVE = {torch.float32: 1e-6, torch.float64: 1e-13}


def check(tensor: Any, expected: Any, dtype: Any = torch.float32) -> None:
    """The tensor has this dtype, the shape of `expected`, and its values."""
    assert tensor.dtype is dtype
    assert tuple(tensor.shape) == np.shape(expected)
    np.testing.assert_allclose(tensor.detach().numpy(), expected, rtol=RELATIVE.get(dtype, 0))


# Creation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected", "dtype"),
    [
        ((5,), [0, 1, 2, 3, 4], torch.int64),
        ((5.0,), [0, 1, 2, 3, 4], torch.float32),
        ((2, 6), [2, 3, 4, 5], torch.int64),
        ((1, 10, 3), [1, 4, 7], torch.int64),
        ((1, 10, 4.0), [1, 5, 9], torch.float32),
        ((0, 1, 0.25), [0, 0.25, 0.5, 0.75], torch.float32),
        ((1.5, 4.0), [1.5, 2.5, 3.5], torch.float32),
        ((5, 0, -2), [5, 3, 1], torch.int64),
        ((0, 0.3, 0.1), np.array([0, 0.1, 0.2], np.float32), torch.float32),
        ((3, 3), [], torch.int64),
    ],
)
def test_arange_counts_from_start_to_before_end(arguments: Any, expected: Any, dtype: Any) -> None:
    check(torch.arange(*arguments), expected, dtype)


def test_arange_takes_a_dtype_and_requires_grad() -> None:
    check(torch.arange(3, dtype=torch.float64), [0, 1, 2], torch.float64)
    assert torch.arange(3.0, requires_grad=True).requires_grad


def test_arange_refuses_a_step_away_from_the_end() -> None:
    with pytest.raises(RuntimeError, match="upper bound and lower bound inconsistent with step sign"):
        torch.arange(0, 5, -1)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (0, 2)])
def test_a_shape_is_given_as_integers_or_as_one_tuple(shape: tuple[int, ...]) -> None:
    for make, value in ((torch.zeros, 0.0), (torch.ones, 1.0)):
        check(make(*shape), np.full(shape, value))
        check(make(shape), np.full(shape, value))
    for size in (shape, (shape,), (list(shape),), (torch.zeros(shape).shape,)):
        assert tuple(torch.randn(*size).shape) == shape


def test_randn_draws_from_the_standard_normal_distribution() -> None:
    torch.manual_seed(0)
    drawn = torch.randn(100, 100)
    assert drawn.dtype is torch.float32
    assert abs(drawn.mean().item()) < 0.05
    assert abs(drawn.std().item() - 1) < 0.05


def test_a_seed_repeats_what_randn_draws() -> None:
    torch.manual_seed(3)
    first, second = torch.randn(4), torch.randn(4)
    torch.manual_seed(3)
    assert torch.randn(4).tolist() == first.tolist() != second.tolist()


def test_linspace_includes_both_ends() -> None:
    check(torch.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1])
    check(torch.linspace(-10, 10, 10), np.linspace(-10, 10, 10))
    check(torch.linspace(2, 3, steps=1), [2])
    check(torch.linspace(0, 1, 3, dtype=torch.float64, requires_grad=True), [0, 0.5, 1], torch.float64)


def test_a_tensor_is_made_from_nested_lists() -> None:
    check(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), [[1, 2], [3, 4], [5, 6]])
    check(torch.tensor([[[1], [2]]]), [[[1], [2]]], torch.int64)
    check(torch.tensor([]), [])
    check(torch.tensor(2.5), 2.5)


def test_rows_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected sequence of length 2 at dim 1"):
        torch.tensor([[1, 2], [3]])


def test_a_tensor_made_from_an_array_is_a_copy_of_its_dtype() -> None:
    array = np.array([1.0, 2.0])
    tensor = torch.tensor(array)
    array[0] = 7
    check(tensor, [1, 2], torch.float64)


def test_from_numpy_and_numpy_share_their_memory() -> None:
    array = np.array([1.0, 2.0], np.float32)
    tensor = torch.from_numpy(array)
    array[0] = 7
    tensor.numpy()[1] = 8
    check(tensor, [7, 8])
    assert array.tolist() == [7, 8]


def test_shape_prints_as_a_size() -> None:
    tensor = torch.zeros(2, 3)
    assert str(tensor.shape) == repr(tensor.shape) == repr(tensor.size()) == "torch.Size([2, 3])"
    assert repr(torch.tensor(1.0).shape) == "torch.Size([])"
    assert isinstance(tensor.shape, torch.Size)


def test_a_size_is_a_tuple() -> None:
    tensor = torch.zeros(2, 3)
    rows, columns = tensor.shape
    assert (rows, columns) == tensor.shape == (2, 3)
    assert tensor.shape[-1] == tensor.size(1) == 3
    assert tensor.shape.numel() == tensor.numel() == 6
    assert tensor.dim() == tensor.ndim == len(tensor.shape) == 2
    assert len(tensor) == 2


def test_reshape_infers_one_size() -> None:
    tensor = torch.arange(12)
    for reshaped in (tensor.reshape(3, -1), tensor.reshape((3, -1)), tensor.view(3, -1)):
        check(reshaped, np.arange(12).reshape(3, 4), torch.int64)
    check(tensor.reshape(-1, 2, 3), np.arange(12).reshape(2, 2, 3), torch.int64)
    check(tensor.reshape(3, 4).reshape(-1), np.arange(12), torch.int64)


def test_reshape_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(RuntimeError, match=r"shape '\[5, -1\]' is invalid for input of size 12"):
        torch.arange(12).reshape(5, -1)
    with pytest.raises(RuntimeError, match=r"shape '\[5, 2\]' is invalid for input of size 12"):
        torch.arange(12).reshape(5, 2)
    with pytest.raises(RuntimeError, match="only one dimension can be inferred"):
        torch.arange(12).reshape(-1, -1)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="invalid data type 'str'"):
        torch.tensor("a")
    with pytest.raises(RuntimeError, match="Could not infer dtype of NoneType"):
        torch.tensor([1, None])
    with pytest.raises(TypeError, match=r"zeros\(\): argument 'size' \(position 1\) must be tuple of ints"):
        torch.zeros(2.5)


# Dtypes -----------------------------------------------------------------------------------------------------

DTYPES = [
    (torch.float32, np.float32),
    (torch.float64, np.float64),
    (torch.uint8, np.uint8),
    (torch.int8, np.int8),
    (torch.int32, np.int32),
    (torch.int64, np.int64),
    (torch.bool, np.bool_),
]
each_dtype = pytest.mark.parametrize(("dtype", "numpy"), DTYPES, ids=lambda dtype: str(dtype))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2, 3], torch.int64),
        ([1.0, 2, 3], torch.float32),
        ([1, 2, 3.0], torch.float32),
        ([[1, 2], [3, 4.5]], torch.float32),
        ([True, False], torch.bool),
        ([True, 2], torch.int64),
        ([True, 2.0], torch.float32),
        (3, torch.int64),
        (3.0, torch.float32),
        (True, torch.bool),
    ],
)
def test_the_values_decide_the_dtype(values: Any, dtype: Any) -> None:
    check(torch.tensor(values), values, dtype)


@pytest.mark.parametrize("make", [torch.zeros, torch.ones, torch.randn])
def test_the_default_dtype_is_float32(make: Any) -> None:
    assert make(2).dtype is torch.get_default_dtype() is torch.float32


@each_dtype
def test_a_dtype_is_chosen_when_a_tensor_is_made(dtype: Any, numpy: Any) -> None:
    check(torch.tensor([0, 1], dtype=dtype), [0, 1], dtype)
    check(torch.zeros(2, dtype=dtype), [0, 0], dtype)
    check(torch.ones((1, 2), dtype=dtype), [[1, 1]], dtype)
    assert torch.ones(2, dtype=dtype).numpy().dtype == numpy


@each_dtype
def test_a_tensor_converts_to_another_dtype(dtype: Any, numpy: Any) -> None:
    source = torch.tensor([0.0, 1.0, 2.7])
    check(source.to(dtype), np.array([0, 1, 2.7], np.float32).astype(numpy), dtype)
    assert source.to(torch.float32) is source


def test_conversions_have_short_names() -> None:
    values = torch.tensor([0.0, 1.9])
    check(values.double(), np.array([0, 1.9], np.float32), torch.float64)
    check(values.int(), [0, 1], torch.int32)
    check(values.long(), [0, 1], torch.int64)
    check(values.bool(), [False, True], torch.bool)
    check(values.long().float(), [0, 1])


def test_a_dtype_prints_with_its_module_and_knows_its_kind() -> None:
    assert [str(dtype) for dtype, _ in DTYPES] == [
        f"torch.{name}" for name in "float32 float64 uint8 int8 int32 int64 bool".split()
    ]
    assert [dtype.is_floating_point for dtype, _ in DTYPES] == [True, True] + 5 * [False]


def test_a_dtype_has_a_second_name() -> None:
    assert (torch.float, torch.double, torch.int, torch.long) == (
        torch.float32,
        torch.float64,
        torch.int32,
        torch.int64,
    )


TYPED = [
    (torch.FloatTensor, torch.float32, [1.5, -2, 0]),
    (torch.DoubleTensor, torch.float64, [1.5, -2, 0]),
    (torch.ByteTensor, torch.uint8, [1, 255, 0]),
    (torch.CharTensor, torch.int8, [1, -128, 0]),
    (torch.IntTensor, torch.int32, [1, -2, 0]),
    (torch.LongTensor, torch.int64, [1, -2, 0]),
    (torch.BoolTensor, torch.bool, [True, True, False]),
]
each_constructor = pytest.mark.parametrize(
    ("constructor", "dtype", "values"), TYPED, ids=[str(case[1]) for case in TYPED]
)


@each_constructor
def test_a_typed_constructor_takes_a_list(constructor: Any, dtype: Any, values: Any) -> None:
    check(constructor(values), values, dtype)
    check(constructor([values, values]), [values, values], dtype)


@each_constructor
def test_a_typed_constructor_takes_an_array(constructor: Any, dtype: Any, values: Any) -> None:
    check(constructor(np.array(values)), values, dtype)


@each_constructor
def test_a_typed_constructor_takes_sizes(constructor: Any, dtype: Any, values: Any) -> None:
    tensor = constructor(3, 3)
    assert tensor.dtype is dtype
    assert tensor.shape == (3, 3)


def test_a_typed_constructor_rounds_to_its_dtype() -> None:
    check(torch.FloatTensor(np.array([0.1])), np.array([0.1], np.float32))
    check(torch.IntTensor([1.5, -1.5]), [1, -1], torch.int32)
    check(torch.BoolTensor([1, 0, 2]), [True, False, True], torch.bool)
    with pytest.raises(RuntimeError, match="value cannot be converted to type uint8 without overflow"):
        torch.ByteTensor([300])


def test_a_typed_tensor_may_require_grad_afterwards() -> None:
    tensor = torch.FloatTensor([1, 2])
    assert not tensor.requires_grad
    tensor.requires_grad = True
    (tensor * tensor).sum().backward()
    check(tensor.grad, [2, 4])


# Devices ----------------------------------------------------------------------------------------------------

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")


def needs_cuda(test: Any) -> Any:
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")(test))


def test_a_tensor_is_on_the_cpu_by_default() -> None:
    device = torch.ones(2).device
    assert device == torch.device("cpu")
    assert (device.type, device.index, str(device), repr(device)) == (
        "cpu",
        None,
        "cpu",
        "device(type='cpu')",
    )


def test_a_device_is_named_whether_it_is_there_or_not() -> None:
    device = torch.device("cuda:0")
    assert (device.type, device.index, str(device)) == ("cuda", 0, "cuda:0")
    assert repr(device) == "device(type='cuda', index=0)"
    assert device == torch.device("cuda", 0)
    assert device != torch.device("cuda:1")
    assert device != torch.device("cpu")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(RuntimeError, match="at start of device string: gpu"):
        torch.device("gpu")


def test_a_program_chooses_the_device_that_is_there() -> None:
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    x = torch.ones(2, 3, device=device, requires_grad=True)
    y = (x.to(device) * 2).sum()
    y.backward()
    assert x.device == y.device == x.grad.device == device
    assert y.item() == 12


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")], ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        lambda device: torch.zeros(2, device=device),
        lambda device: torch.ones((2,), device=device),
        lambda device: torch.randn(2, device=device),
        lambda device: torch.arange(2, device=device),
        lambda device: torch.linspace(0, 1, 2, device=device),
        lambda device: torch.tensor([1.0, 2.0], device=device),
    ],
)
def test_a_constructor_takes_a_device(make: Any, device: Any) -> None:
    assert make(device).device.type == "cpu"


def test_moving_to_where_a_tensor_is_gives_the_tensor_itself() -> None:
    tensor = torch.ones(2)
    assert tensor.to("cpu") is tensor
    assert tensor.to(torch.device("cpu")) is tensor
    assert tensor.cpu() is tensor


def test_a_move_takes_a_dtype_too() -> None:
    check(torch.ones(2).to("cpu", torch.float64), [1, 1], torch.float64)
    check(torch.ones(2).to(device="cpu", dtype=torch.int32), [1, 1], torch.int32)


@without_cuda
@pytest.mark.parametrize(
    "move",
    [
        lambda: torch.ones(2).cuda(),
        lambda: torch.ones(2).to("cuda:0"),
        lambda: torch.ones(2, device="cuda"),
        lambda: torch.ones(2, device=0),
    ],
)
def test_without_a_gpu_asking_for_one_is_an_error(move: Any) -> None:
    with pytest.raises((AssertionError, RuntimeError), match="CUDA|accelerator"):
        move()


@needs_cuda
@pytest.mark.parametrize("device", ["cuda:0", "cuda", 0, torch.device("cuda:0")], ids=repr)
def test_on_the_gpu_a_constructor_takes_a_device_a_string_or_an_index(device: Any) -> None:
    assert torch.ones(2, device=device).device == torch.device("cuda:0")


@needs_cuda
def test_a_tensor_goes_to_the_gpu_and_back() -> None:
    tensor = torch.arange(3.0)
    there = tensor.cuda()
    assert there.device == tensor.to("cuda:0").device == torch.device("cuda:0")
    for back in (there.cpu(), there.to("cpu"), there.to(torch.device("cpu"))):
        check(back, [0, 1, 2])


@needs_cuda
def test_gradients_flow_through_a_move_to_the_gpu() -> None:
    x = torch.ones(2, requires_grad=True)
    (x.cuda() * 3).sum().backward()
    check(x.grad, [3, 3])


@needs_cuda
def test_the_repr_of_a_tensor_on_the_gpu_shows_the_device() -> None:
    assert repr(torch.tensor([1.0, 2.0], device="cuda")) == "tensor([1., 2.], device='cuda:0')"


# Arithmetic -------------------------------------------------------------------------------------------------

A, B = [1.0, 2.0, 4.0, 8.0], [2.0, 2.0, 2.0, 0.5]


@pytest.mark.parametrize("scalar", [2, 0.5, -3])
@pytest.mark.parametrize(
    "operate",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: a**b,
        lambda a, b: b + a,
        lambda a, b: b - a,
        lambda a, b: b * a,
        lambda a, b: b / a,
    ],
)
def test_a_tensor_and_a_scalar_in_arithmetic(operate: Any, scalar: float) -> None:
    check(operate(torch.tensor(A), scalar), operate(np.array(A), scalar))


def test_two_tensors_in_arithmetic() -> None:
    a, b = torch.tensor(A), torch.tensor(B)
    check(a + b, [3, 4, 6, 8.5])
    check(a - b, [-1, 0, 2, 7.5])
    check(a * b, [2, 4, 8, 4])
    check(a / b, [0.5, 1, 2, 16])
    check(a**b, [1, 4, 16, math.sqrt(8)])
    check(2**a, [2, 4, 16, 256])
    check(-a, [-1, -2, -4, -8])


def test_a_power_with_a_tensor_of_exponents() -> None:
    check(torch.tensor([1.0, 2, 4, 8]) ** torch.tensor([4, 3, 2, 1]), [1, 8, 16, 8])
    check(torch.tensor([1, 2, 4, 8]) ** torch.tensor([4, 3, 2, 1]), [1, 8, 16, 8], torch.int64)


def test_integers_to_a_negative_power_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed"):
        torch.tensor([1, 2]) ** -1


def test_true_division_of_integers_gives_float32() -> None:
    check(torch.tensor([1, 2, 7]) / torch.tensor([2, 2, 2]), [0.5, 1, 3.5])
    check(torch.tensor([1, 2]) / 4, [0.25, 0.5])


def test_a_scalar_changes_the_dtype_only_to_a_higher_kind() -> None:
    integers = torch.tensor([1, 2])
    check(integers + 1, [2, 3], torch.int64)
    check(integers + 0.5, [1.5, 2.5])
    check(torch.tensor([1, 2], dtype=torch.uint8) * 3, [3, 6], torch.uint8)
    check(torch.ones(2, dtype=torch.float64) * 0.5, [0.5, 0.5], torch.float64)


def test_arithmetic_promotes_dtypes() -> None:
    check(torch.tensor([1, 2]) + torch.tensor([0.5, 0.5]), [1.5, 2.5])
    check(torch.ones(2) + torch.ones(2, dtype=torch.float64), [2, 2], torch.float64)
    check(torch.tensor([True, False]) + torch.tensor([1, 1]), [2, 1], torch.int64)
    check(torch.tensor([1], dtype=torch.uint8) + torch.tensor([-1], dtype=torch.int8), [0], torch.int16)


POINTS = [-2.0, -0.5, 0.0, 0.5, 3.0]


@pytest.mark.parametrize(
    ("name", "points", "function"),
    [
        ("exp", POINTS, math.exp),
        ("log", [0.1, 1.0, math.e, 50.0], math.log),
        ("sin", POINTS, math.sin),
        ("cos", POINTS, math.cos),
        ("abs", POINTS, abs),
        ("relu", POINTS, lambda x: max(x, 0.0)),
        ("sigmoid", POINTS, lambda x: 1 / (1 + math.exp(-x))),
        ("tanh", POINTS, math.tanh),
        ("sqrt", [0.0, 2.0, 9.0], math.sqrt),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_elementary_function_and_its_method(name: str, points: Any, function: Any, dtype: Any) -> None:
    x = torch.tensor(points, dtype=dtype)
    expected = [function(point) for point in x.tolist()]
    check(getattr(torch, name)(x), expected, dtype)
    check(getattr(x, name)(), expected, dtype)


@pytest.mark.parametrize("name", ["exp", "sin", "cos", "sigmoid", "tanh"])
def test_an_elementary_function_of_integers_gives_float32(name: str) -> None:
    check(getattr(torch, name)(torch.tensor([0, 1])), getattr(torch, name)(torch.tensor([0.0, 1.0])))


def test_logarithms_at_and_below_zero_are_infinite_and_nan() -> None:
    at_zero, below = torch.log(torch.tensor([0.0, -1.0])).tolist()
    assert at_zero == -math.inf
    assert math.isnan(below)


def test_the_absolute_value_by_the_builtin() -> None:
    check(abs(torch.tensor([-1.5, 2.0])), [1.5, 2])
    check(abs(torch.tensor([-3, 2])), [3, 2], torch.int64)


def test_matrix_products() -> None:
    a, b = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]])
    expected = [[21, 24, 27], [47, 54, 61]]
    for product in (a @ b, torch.mm(a, b), torch.matmul(a, b), a.mm(b), a.matmul(b)):
        check(product, expected)


def test_products_with_vectors_and_batches() -> None:
    a, v = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, -1.0])
    check(a @ v, [-1, -1])
    check(v @ a, [-2, -2])
    check(v @ v, 2)
    batch = torch.arange(8.0).reshape(2, 2, 2)
    check(batch @ a, np.arange(8.0).reshape(2, 2, 2) @ np.array([[1, 2], [3, 4]]))


def test_matrix_products_refuse_sizes_that_differ() -> None:
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"):
        torch.mm(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="self must be a matrix"):
        torch.mm(torch.ones(3), torch.ones(3, 2))


def test_mul_is_the_elementwise_product() -> None:
    a, b = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    for product in (a * b, torch.mul(a, b), a.mul(b)):
        check(product, [[5, 12], [21, 32]])
    check(torch.mul(a, 2), [[2, 4], [6, 8]])


def test_cat_joins_along_rows_or_columns() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    check(torch.cat([a, b]), [[1, 2], [3, 4]])
    check(torch.cat((a, b), dim=0), [[1, 2], [3, 4]])
    check(torch.cat((a, b), dim=1), [[1, 2, 3, 4]])
    check(torch.cat((a, b, a), -1), [[1, 2, 3, 4, 1, 2]])


@pytest.mark.parametrize("dim", [0, 1])
def test_cat_promotes_integers_to_float32(dim: int) -> None:
    integers, floats = np.arange(6).reshape(2, 3), np.arange(6.0).reshape(2, 3) / 4
    joined = torch.cat([torch.tensor(integers), torch.tensor(floats, dtype=torch.float32)], dim=dim)
    check(joined, np.concatenate([integers, floats], axis=dim))


def test_cat_refuses_sizes_that_differ() -> None:
    with pytest.raises(RuntimeError, match="Sizes of tensors must match except in dimension 0"):
        torch.cat([torch.ones(1, 2), torch.ones(1, 3)], dim=0)


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (lambda a, b: a < b, [True, False, False]),
        (lambda a, b: a <= b, [True, True, False]),
        (lambda a, b: a > b, [False, False, True]),
        (lambda a, b: a >= b, [False, True, True]),
        (lambda a, b: a == b, [False, True, False]),
        (lambda a, b: a != b, [True, False, True]),
    ],
)
def test_a_comparison_gives_booleans(compare: Any, expected: list[bool]) -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    check(compare(x, torch.tensor([2.0, 2.0, 2.0])), expected, torch.bool)
    check(compare(x, 2), expected, torch.bool)


def test_a_comparison_does_not_require_grad() -> None:
    assert not (torch.ones(2, requires_grad=True) > 0).requires_grad


def test_a_column_and_a_row_broadcast() -> None:
    column, row = torch.tensor([[1], [2], [3]]), torch.tensor([[10, 20]])
    check(column + row, [[11, 21], [12, 22], [13, 23]], torch.int64)
    check(column * row, [[10, 20], [20, 40], [30, 60]], torch.int64)
    check(column < row / 10, [[False, True], [False, False], [False, False]], torch.bool)


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    message = r"The size of tensor a \(3\) must match the size of tensor b \(4\) at non-singleton dimension 1"
    with pytest.raises(RuntimeError, match=message):
        torch.ones(2, 3) + torch.ones(4)


GRID = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        (1, -2),
        slice(1, None),
        slice(None, -1),
        slice(-2, None),
        slice(None, None, 2),
        slice(2, 100),
        (slice(None), 1),
        (slice(1, 3), slice(-3, -1)),
        (Ellipsis, -1),
        (None, 1),
        [0, 2],
        [-1, 0, -1],
        ([0, 2], [1, -1]),
    ],
    ids=repr,
)
def test_an_index_selects_as_in_numpy(index: Any) -> None:
    tensor = torch.tensor(GRID, dtype=torch.float32)
    check(tensor[index], GRID[index])


def test_an_index_out_of_bounds_is_refused() -> None:
    with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
        torch.ones(3, 2)[3]


def test_a_slice_with_a_negative_step_is_refused() -> None:
    with pytest.raises(ValueError, match="step must be greater than zero"):
        torch.arange(5)[::-1]


def test_a_slice_is_a_view_and_assignment_writes_through() -> None:
    tensor = torch.zeros(3, 2)
    row = tensor[1]
    row[0] = 5
    tensor[-1] = torch.tensor([1.0, 2.0])
    tensor[:, 1] *= 10
    check(tensor, [[0, 0], [5, 0], [1, 20]])


def test_a_mask_selects_and_assigns() -> None:
    x = torch.tensor([[-1.0, 2.0], [3.0, -4.0]])
    check(x[x > 0], [2, 3])
    check(x[x > 10], [])
    check(x[torch.tensor([True, False])], [[-1, 2]])
    x[x < 0] = 0
    check(x, [[0, 2], [3, 0]])


def test_a_mask_passes_gradients_to_what_it_selected() -> None:
    x = torch.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    (x[x > 0] ** 2).sum().backward()
    check(x.grad, [0, 4, 6])


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # PyTorch's own
def test_numpy_functions_take_tensors() -> None:
    y = torch.linspace(-1, 1, 5) ** 2
    assert int(np.argmin(y)) == np.argmin(y.numpy()) == y.argmin().item() == 2
    np.testing.assert_allclose(np.asarray(np.exp(y)), np.exp(y.numpy()), rtol=1e-6)
    assert np.asarray(y).dtype == np.float32


def test_a_loop_over_a_tensor_gives_its_rows() -> None:
    starts = [start.item() for start in torch.tensor([-3.5, -2.5])]
    assert starts == [-3.5, -2.5]
    for row, (first, second) in zip(torch.tensor([[1, 2], [3, 4]]), [(1, 2), (3, 4)], strict=True):
        check(row, [first, second], torch.int64)
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        list(torch.tensor(3))


def test_a_tensor_of_one_element_is_a_python_number() -> None:
    x = torch.tensor([2.5])
    assert (float(x), int(x), bool(x)) == (2.5, 2, True)
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"):
        bool(torch.ones(2))


# Reprs ------------------------------------------------------------------------------------------------------

nan, inf = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], "tensor([[0., 0.],\n        [0., 0.]])"),
        (3.0, "tensor(3.)"),
        (2.5, "tensor(2.5000)"),
        (7, "tensor(7)"),
        (True, "tensor(True)"),
        ([], "tensor([])"),
        ([[]], "tensor([], size=(1, 0))"),
        ([1, -20, 300], "tensor([  1, -20, 300])"),
        ([True, False], "tensor([ True, False])"),
        ([1.0, 2.0], "tensor([1., 2.])"),
        ([1.0, -2.5], "tensor([ 1.0000, -2.5000])"),
        ([math.pi, 100.0], "tensor([  3.1416, 100.0000])"),
        ([0.00012, 0.5], "tensor([1.2000e-04, 5.0000e-01])"),
        ([1.0, 1000.0, 100000.0], "tensor([1.0000e+00, 1.0000e+03, 1.0000e+05])"),
        ([1e-8, 1e8], "tensor([1.0000e-08, 1.0000e+08])"),
        ([1e9, 1.0], "tensor([1.0000e+09, 1.0000e+00])"),
        (1e-5, "tensor(1.0000e-05)"),
        ([-0.0, 1.0], "tensor([-0., 1.])"),
        ([123456.0], "tensor([123456.])"),
        ([nan, inf, -1.0], "tensor([nan, inf, -1.])"),
        ([nan, 0.5, -inf], "tensor([   nan, 0.5000,   -inf])"),
        (
            [[1.0, -2.25], [300.0, 4.0]],
            "tensor([[  1.0000,  -2.2500],\n        [300.0000,   4.0000]])",
        ),
        (
            [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
            "tensor([[[1, 2],\n         [3, 4]],\n\n        [[5, 6],\n         [7, 8]]])",
        ),
    ],
)
def test_a_tensor_prints_its_values_in_columns(values: Any, printed: str) -> None:
    tensor = torch.tensor(values)
    assert repr(tensor) == str(tensor) == printed


LINE = (
    "tensor([-10.0000,  -7.7778,  -5.5556,  -3.3333,  -1.1111,   1.1111,   3.3333,\n"
    "          5.5556,   7.7778,  10.0000]"
)


@pytest.mark.parametrize(
    ("make", "printed"),
    [
        (lambda: torch.linspace(-10, 10, 10), f"{LINE})"),
        (lambda: torch.linspace(-10, 10, 10, requires_grad=True), f"{LINE}, requires_grad=True)"),
        (
            lambda: torch.linspace(0, 1, 7, dtype=torch.float64),
            "tensor([0.0000, 0.1667, 0.3333, 0.5000, 0.6667, 0.8333, 1.0000],\n       dtype=torch.float64)",
        ),
        (
            lambda: torch.linspace(0, 1, 9, requires_grad=True) ** 2,
            "tensor([0.0000, 0.0156, 0.0625, 0.1406, 0.2500, 0.3906, 0.5625, 0.7656, 1.0000],\n"
            "       grad_fn=<PowBackward0>)",
        ),
    ],
)
def test_long_lines_are_wrapped(make: Any, printed: str) -> None:
    assert repr(make()) == printed


def test_long_tensors_are_summarised() -> None:
    assert repr(torch.arange(2000)) == "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"
    assert repr(torch.ones(1000, 1000)) == (
        "tensor([[1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        ...,\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.]])"
    )


@pytest.mark.parametrize(
    ("values", "dtype", "printed"),
    [
        ([1.0, 2.0], torch.float32, "tensor([1., 2.])"),
        ([1.0, 2.0], torch.float64, "tensor([1., 2.], dtype=torch.float64)"),
        ([1, 2], torch.uint8, "tensor([1, 2], dtype=torch.uint8)"),
        ([1, -2], torch.int8, "tensor([ 1, -2], dtype=torch.int8)"),
        ([1, 2], torch.int32, "tensor([1, 2], dtype=torch.int32)"),
        ([1, 2], torch.int64, "tensor([1, 2])"),
        ([1, 0], torch.bool, "tensor([ True, False])"),
        ([], torch.int64, "tensor([], dtype=torch.int64)"),
    ],
)
def test_a_tensor_prints_a_dtype_that_is_not_the_default(values: Any, dtype: Any, printed: str) -> None:
    assert repr(torch.tensor(values, dtype=dtype)) == printed


def test_a_tensor_prints_its_part_in_the_graph() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(x + 1) == "tensor([2., 3.], grad_fn=<AddBackward0>)"
    assert repr((x * x).sum()) == "tensor(5., grad_fn=<SumBackward0>)"
    assert repr(x.detach()) == "tensor([1., 2.])"
    assert repr(x.double()) == "tensor([1., 2.], dtype=torch.float64, grad_fn=<ToCopyBackward0>)"
    x64 = torch.ones(1, dtype=torch.float64, requires_grad=True)
    assert repr(x64) == "tensor([1.], dtype=torch.float64, requires_grad=True)"


def test_a_tensor_formats_as_a_number_when_it_holds_one() -> None:
    assert f"{torch.tensor(2.5):.2f}" == "2.50"
    assert f"{torch.tensor([2.5])}" == "tensor([2.5000])"
