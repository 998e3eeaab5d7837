"""Functions that make tensors give PyTorch's values, dtypes, strides, errors and warnings."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from both_libraries import assert_alike

import jitgrad

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
FLOATING = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
EVERY = (*DTYPES, *FLOATING, *COMPLEX)


def programs(*lines: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("program", lines)


def calls(form: str, **choices: Any) -> list[str]:
    """The form filled in with every combination of the choices."""
    return [form.format(**dict(zip(choices, values, strict=True))) for values in product(*choices.values())]


# From values ----------------------------------------------------------------------------------------------

VALUES = (
    *("3", "-2", "2.5", "True", "1j", "1e40", "[]", "()", "[[], []]", "[[[]]]", "[1, 2.5]", "[True, 2]"),
    *("[True, 2.5]", "[1, 2j]", "[[1, 2], (3, 4)]", "range(3)", "bytearray(b'ab')", "bytearray()"),
    *("memoryview(b'ab')", "collections.deque([1, 2])", "np.float64(1.5)", "np.float32(1.5)", "np.int8(3)"),
    *(
        "np.bool_(True)",
        "np.complex64(3)",
        "[np.float64(1.5)]",
        "[np.float32(1.5), 2]",
        "[True, np.float32(2)]",
    ),
    *("[np.float16(2), np.int64(3)]", "[np.uint8(200), np.int8(3)]", "np.arange(3)", "np.ones((2, 3)).T"),
    *("np.array(3.0)", "[np.array([1.0, 2.0])]", "[np.array([1, 2]), np.array([1.5, 2])]"),
    *("[np.array([1.0, 2.0]), [3, 4]]", "[[1.0, 2.0], np.array([3.0, 4.0])]", "[np.array([[1.0, 2.0]])]"),
    *("np.arange(3).astype(np.longlong)", "np.broadcast_to(np.arange(3), (2, 3))"),
    *("[torch.tensor(1.0), torch.tensor(2)]", "[torch.tensor([1]), torch.tensor([2])]", "torch.tensor(1.0)"),
    *("[1.5, torch.tensor(2.0, dtype=torch.float64)]", "[1, torch.tensor(2.0, dtype=torch.float16)]"),
    *("[[torch.tensor(1.0), 2.0], [3, 4]]", "torch.ones(2, requires_grad=True)", "[torch.tensor([[1.0]])]"),
)
NO_VALUES = (
    *("[[1, 2], [3]]", "[[1, 2], 3]", "[1, [2]]", "'a'", "['a']", "b'ab'", "None", "[None]", "{}", "{1}"),
    *(
        "object()",
        "[1, object()]",
        "[2.5, 'a']",
        "[[1], ['a']]",
        "[[1], []]",
        "[[[1, 2], [3, 4]], [[5, 6], [7]]]",
    ),
    *("2**70", "[2**63]", "[-(2**63) - 1]", "[np.array(1)]", "[np.array([1.0, 2.0]), np.array([3.0])]"),
    *("np.array(['a'])", "np.array([1], '>f4')", "np.arange(3)[::-1]", "np.zeros(2, 'M8[s]')", "iter([1])"),
    *("[torch.tensor([1, 2]), torch.tensor([2, 3])]", "[torch.tensor([1.0, 2.0])]", "Ellipsis"),
)


@programs(*calls("torch.tensor({x})", x=(*VALUES, *NO_VALUES)))
def test_tensor_infers_shape_and_dtype(program: str) -> None:
    assert_alike(program)


@programs(*calls("torch.as_tensor({x})", x=(*VALUES, *NO_VALUES)))
def test_as_tensor_infers_shape_and_dtype(program: str) -> None:
    assert_alike(program)


NUMBERS = (
    *("0", "1", "-1", "300", "-300", "2**31", "2**40", "2**63", "2**64", "-(2**63)", "1.7", "-1.7", "-255"),
    *("-256", "255.9", "1e30", "1e40", "float('nan')", "float('inf')", "2j", "True", "'1'", "None"),
)


@programs(*calls("torch.tensor([{x}], dtype=torch.{d})", x=NUMBERS, d=EVERY))
def test_tensor_converts_to_a_dtype(program: str) -> None:
    assert_alike(program)


@programs(*calls("torch.full((2,), {x}, dtype=torch.{d})", x=NUMBERS[:-4], d=(*DTYPES[:6], *FLOATING[1:])))
def test_full_converts_to_a_dtype(program: str) -> None:
    assert_alike(program)


@programs(
    "torch.tensor([1.0], dtype=float)",
    "torch.tensor([1.0], dtype=int)",
    "torch.tensor([1.0], dtype=bool)",
    "torch.tensor([1.0], dtype='float32')",
    "torch.tensor([1.0], dtype=np.float32)",
    "torch.tensor([1.0], device='cpu')",
    "torch.tensor([1.0], device=torch.device('cpu'))",
    "torch.tensor([1.0], device='cuda')",
    "torch.tensor([1.0], device='cuda:0')",
    "torch.tensor([1.0], device='foo')",
    "torch.tensor([1.0], device=0)",
    "torch.tensor([1.0, 2], requires_grad=True)",
    "torch.tensor([1, 2], requires_grad=True)",
    "torch.tensor([True], requires_grad=True)",
    "torch.tensor([1j], requires_grad=True)",
    "torch.tensor(np.array([1.5]), requires_grad=True)",
    "torch.tensor(1, 2)",
    "torch.tensor()",
    "torch.tensor([1.0], foo=1)",
    "a = np.zeros(2); t = torch.tensor(a); a[0] = 1; t",
    "x = torch.ones(2, requires_grad=True); torch.as_tensor(x) is x",
    "x = torch.ones(2, requires_grad=True); torch.as_tensor(x, dtype=torch.float64)",
    "a = np.zeros(2); t = torch.as_tensor(a); a[0] = 1; t",
    "a = np.zeros(2); t = torch.as_tensor(a, dtype=torch.float32); a[0] = 1; t",
)
def test_tensor_takes_options(program: str) -> None:
    assert_alike(program)


@programs(
    "torch.tensor([1.5, 1])", "torch.tensor(1j)", "torch.zeros(1)", "torch.arange(0, 1, 0.5)", "torch.eye(2)"
)
def test_floats_get_the_default_dtype(program: str) -> None:
    for library in (torch, jitgrad):
        library.set_default_dtype(library.float64)
    try:
        assert_alike(program)
    finally:
        for library in (torch, jitgrad):
            library.set_default_dtype(library.float32)


# From memory ----------------------------------------------------------------------------------------------


@programs(
    *calls("torch.from_numpy(np.ones((2, 3), np.{d}))", d=EVERY),
    "a = np.zeros(3); t = torch.from_numpy(a); a[1] = 5; t",
    "a = np.zeros(3); t = torch.from_numpy(a); t[1] = 5; a",
    "a = np.zeros((3, 4), np.float32); t = torch.from_numpy(a.T); a[1] = 5; t",
    "a = np.arange(6.0); t = torch.from_numpy(a[2:]); (t, t.storage_offset(), t.untyped_storage().nbytes())",
    "a = np.arange(6.0); t = torch.from_numpy(a[::2]); t[1] = 9; (t, a)",
    "a = np.arange(6.0); t = torch.from_numpy(a[2:]); v = t[1:]; v.mul_(2); (t, t._version, v._version, a)",
    "a = np.arange(6.0); t = torch.from_numpy(a[::2]) + torch.zeros(3); t",
    *calls("a = np.ones((4, 3), np.{d})[1:, ::2]; t = torch.from_numpy(a); a[0] = 0; t", d=EVERY),
    "a = np.ones((4, 3))[:0]; torch.from_numpy(a)",
    "torch.from_numpy(np.broadcast_to(np.arange(3), (2, 3)))",
    "torch.from_numpy(np.arange(3)[::-1])",
    "torch.from_numpy(np.array(3))",
    "torch.from_numpy(np.float64(3))",
    "torch.from_numpy([1])",
    "torch.from_numpy(3)",
    "torch.from_numpy(np.array(['a']))",
    "torch.from_numpy(np.array([1, 2], object))",
    "torch.from_numpy(np.array([1, 2], '>i4'))",
    "torch.from_numpy(np.zeros(3, np.longdouble))",
    "torch.from_numpy(np.zeros(3, [('a', 'i1'), ('b', 'f4')])['b'])",
    "torch.frombuffer(bytearray(b'abcd'), dtype=torch.uint8)",
    "torch.frombuffer(bytearray(b'abcd'), dtype=torch.int16, count=1, offset=2)",
    "torch.frombuffer(bytearray(b'abcd'), dtype=torch.int32, offset=2)",
    "torch.frombuffer(bytearray(b'abcd'), dtype=torch.int16, count=3)",
    "torch.frombuffer(bytearray(b'abcd'), dtype=torch.uint8, offset=4)",
    "torch.frombuffer(bytearray(b''), dtype=torch.int32)",
    "torch.frombuffer(bytearray(b'abcd'), dtype=torch.uint8, count=0)",
    "torch.frombuffer(b'abcd', dtype=torch.uint8)",
    "torch.frombuffer([1], dtype=torch.uint8)",
    "torch.frombuffer(bytearray(b'abcd'))",
    "b = bytearray(b'abcd'); t = torch.frombuffer(b, dtype=torch.uint8); b[0] = 0; t",
)
def test_memory_is_shared(program: str) -> None:
    assert_alike(program)


@programs(
    "torch.asarray([1, 2], dtype=torch.float32, requires_grad=True)",
    "torch.asarray(5)",
    "torch.asarray(3, copy=False)",
    "torch.asarray([1], copy=False)",
    "torch.asarray(None)",
    "torch.asarray('abc')",
    "torch.asarray([[1, 2], [3]])",
    "a = np.arange(2.0); t = torch.asarray(a); a[0] = 7; t",
    "a = np.arange(2.0); t = torch.asarray(a, copy=True); a[0] = 7; t",
    "torch.asarray(np.arange(2.0), dtype=torch.float32)",
    "torch.asarray(np.arange(2.0), dtype=torch.float32, copy=False)",
    "torch.asarray(np.arange(2.0), requires_grad=True)",
    "torch.asarray(np.float32(3))",
    "x = torch.ones(2); torch.asarray(x) is x",
    "torch.asarray(torch.ones(2), dtype=torch.float64)",
    "torch.asarray(torch.ones(2), dtype=torch.float64, copy=False)",
    "torch.asarray(torch.ones(2), requires_grad=True)",
    "torch.asarray(torch.ones(2, dtype=torch.int64), requires_grad=True)",
    "torch.asarray(torch.ones(2, requires_grad=True))",
    "torch.asarray(torch.ones(2, requires_grad=True), requires_grad=False)",
    "torch.asarray(torch.ones(2, requires_grad=True), requires_grad=True)",
    "torch.asarray(torch.ones(2, requires_grad=True) * 2, requires_grad=True)",
    "torch.asarray(torch.ones(2, requires_grad=True) * 2, requires_grad=False)",
    "torch.asarray(torch.ones(2, requires_grad=True), copy=True, requires_grad=True)",
    "torch.asarray(bytearray(b'abcdefgh'))",
    "torch.asarray(bytearray(b'abcdefg'))",
    "torch.asarray(bytearray(b'abcd'), dtype=torch.uint8)",
    "torch.asarray(b'abcd', dtype=torch.uint8)",
)
def test_asarray_shares_what_it_can(program: str) -> None:
    assert_alike(program)


# One value ------------------------------------------------------------------------------------------------

SIZES = ("2", "2, 3", "(2, 3)", "[2, 3]", "()", "(0,)", "2, 0, 3", "torch.Size([2])", "size=(2, 1)")
ODD_SIZES = (
    *("torch.tensor(3)", "torch.tensor(3), 2", "np.int64(3)", "(np.int64(3), 2)", "2.5", "(2, 2.5)", "-1"),
    *("(2, -1)", "'a'", "True", "(2, 3), 4", "None", "torch.tensor([2, 3])", ""),
)


@programs(*calls("torch.{f}({size})", f=("zeros", "ones"), size=(*SIZES, *ODD_SIZES)))
def test_sizes_are_integers_or_one_sequence(program: str) -> None:
    assert_alike(program)


@programs(
    *calls("torch.{f}(2, dtype=torch.{d})", f=("zeros", "ones"), d=EVERY),
    *calls("torch.empty({size}).shape", size=SIZES),
    *calls("torch.ones(2, dtype=torch.{d}).new_{f}(3)", f=("zeros", "ones"), d=("float64", "int32", "bool")),
    *calls("torch.{f}_like(torch.ones(2, 3, dtype=torch.{d}))", f=("zeros", "ones"), d=EVERY),
    *calls("torch.zeros(2, dtype={d})", d=("float", "int", "bool", "complex", "'f'")),
    *calls("torch.full({size}, 3)", size=("(2,)", "()", "[2, 3]", "2", "(-1,)")),
    *calls("torch.full((2,), {x})", x=("1", "1.5", "True", "1j", "torch.tensor(3.0)", "torch.tensor([3.0])")),
    *calls("torch.full((2,), {x})", x=("'a'", "1e40", "np.float64(2)", "3.0, requires_grad=True")),
    *calls("torch.full_like(torch.ones(2, dtype=torch.{d}), {x})", d=("int32", "float64"), x=("2.5", "True")),
    *calls("torch.scalar_tensor({x})", x=("3", "True", "2.5", "[3]", "1, dtype=torch.int32")),
    "torch.ones(2).new_tensor([1, 2])",
    "torch.ones(2).new_tensor(torch.tensor(3))",
    "torch.ones(2).new_full((2,), 3)",
    "torch.ones(2, dtype=torch.int64).new_full((2,), 3.5)",
    "torch.ones(2).new_ones((2,), dtype=torch.int32)",
    "torch.ones(2).new_empty(2, 3).shape",
    "torch.ones(2).new_zeros(-1)",
    "torch.ones(2).new([1, 2])",
    "torch.ones(2).new(2, 3).shape",
    "torch.zeros(2, requires_grad=True)",
    "torch.zeros(2, dtype=torch.int64, requires_grad=True)",
    "torch.zeros_like(torch.ones(2), requires_grad=True)",
    "torch.zeros(2, device='cuda')",
    "torch.zeros(2, foo=1)",
    "torch.zeros(2, layout=torch.strided)",
    "torch.zeros_like([3])",
    "torch.full((2,))",
    "t = torch.ones(2, dtype=torch.int32); torch.zeros(2, out=t); t",
    "t = torch.ones(0); torch.zeros(2, out=t) is t",
    "torch.zeros(2, out=torch.ones(2), dtype=torch.float64)",
    "torch.ones(2, names=None)",
)
def test_tensors_of_one_value(program: str) -> None:
    assert_alike(program)


LAYOUTS = (
    *("ones(2, 3).t()", "ones(2, 4)[:, ::2]", "ones(3, 1).expand(3, 4)", "ones(1, 3).expand(4, 3)"),
    *("ones(2, 3, 4).permute(2, 0, 1)", "ones(4, 4).t()[::2]", "ones(2, 3, 4).permute(2, 0, 1)[:, :, ::2]"),
    *("ones(2, 3).expand(4, 2, 3)", "ones(0, 3)", "ones(())"),
)


@programs(
    *calls("torch.zeros_like(torch.{x})", x=LAYOUTS),
    *calls("torch.zeros_like(torch.{x}, memory_format=torch.contiguous_format)", x=LAYOUTS),
    *calls("torch.{x}.clone()", x=LAYOUTS),
    *calls("torch.{x}.double()", x=LAYOUTS),
    *calls("torch.{x}.contiguous()", x=LAYOUTS),
    *calls("torch.{x}.clone(memory_format=torch.contiguous_format)", x=LAYOUTS),
    *calls("torch.{x}.to(torch.float64, memory_format=torch.contiguous_format)", x=LAYOUTS),
    "torch.empty(2, 3, 4, 5, memory_format=torch.channels_last).stride()",
    "torch.empty(2, 3, memory_format=torch.channels_last)",
    "torch.empty_strided((2, 3), (1, 2)).stride()",
    "torch.empty_strided((2, 3), (1,))",
    "torch.empty_strided((2, 3), (-1, 2))",
    "torch.ones(2).new_empty_strided((2, 3), (1, 2)).stride()",
)
def test_copies_keep_the_order_in_memory(program: str) -> None:
    assert_alike(program)


# By rule --------------------------------------------------------------------------------------------------

RANGES = (
    *("5", "5.0", "-5", "0", "True", "1, 5, 0", "0, 1, -1", "1, 0", "3, 3", "float('nan')", "float('inf')"),
    *(
        "end=5",
        "start=1, end=5",
        "1, end=5, step=2",
        "1, 5, step=0.5",
        "5, 0, -2",
        "0, 1, 0.1",
        "1, 2.5, 0.5",
    ),
    *("torch.tensor(3)", "torch.tensor(3.0)", "torch.tensor([3.0])", "np.int64(3)", "np.float32(3)", "'a'"),
    *("2**53 + 1, 2**53 + 4", "3j", "", "1, 2, 3, 4", "-1, 1, 0.3", "1, 10, 4.0", "0, 0.3, 0.1"),
)


@programs(
    *calls("torch.arange({r})", r=RANGES),
    *calls("torch.arange(0, 5, 1, dtype=torch.{d})", d=EVERY),
    *calls("torch.arange(0.5, 5, 1.5, dtype=torch.{d})", d=("int64", "int32", "float64", "float16")),
    *calls("torch.arange(0, 5, 0.5, dtype=torch.{d})", d=("int64", "float64")),
    *calls("torch.arange({r}, requires_grad=True)", r=("3", "3.0")),
    *calls("torch.range({r})", r=("1, 4", "1, 2, 0.25", "0, 1, -1", "0, 5, 2")),
    *calls("torch.eye({n})", n=("2", "2, 3", "0", "-1", "2, -1", "2.0", "n=2, m=1", "3, dtype=torch.bool")),
)
def test_ranges_and_identities(program: str) -> None:
    assert_alike(program)


ENDS = ("0, 1", "1, 0", "-3, 7", "0, 10", "1.5, 2.25", "3, 3", "-1e3, 1e3", "0.1, 0.7")


@programs(
    *calls("torch.linspace({e}, {n})", e=ENDS, n=(0, 1, 2, 5, 8)),
    *calls("torch.linspace({e}, {n}, dtype=torch.{d})", e=ENDS, n=(4, 9), d=("float64", "int64", "int32")),
    "torch.linspace(0, 1, -1)",
    "torch.linspace(0, 1, 5.0)",
    "torch.linspace(0, 1)",
    "torch.linspace('a', 1, 3)",
    "torch.linspace(0, 1j, 3)",
    "torch.linspace(torch.tensor(0), torch.tensor(1.0), 3)",
    "torch.linspace(torch.tensor([0]), 1, 3)",
    "torch.linspace(start=0, end=1, steps=3, requires_grad=True)",
    "torch.linspace(0, 1, 3, dtype=torch.bool)",
    "torch.logspace(0, 2, -3)",
)
def test_evenly_spaced_values(program: str) -> None:
    assert_alike(program)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ranges_agree_to_the_last_bits(dtype: str) -> None:
    rng = np.random.default_rng(3)
    tolerance = 4 * np.finfo(dtype).eps
    for start, stop in rng.uniform(-5, 5, (60, 2)):
        count = int(rng.integers(2, 90))
        for name, arguments in (
            ("arange", (start, stop, (stop - start) / (count + 0.5))),
            ("linspace", (start, stop, count)),
            ("logspace", (start, stop, count)),
        ):
            kind = {"dtype": getattr(jitgrad, dtype)}, {"dtype": getattr(torch, dtype)}
            ours = getattr(jitgrad, name)(*arguments, **kind[0]).numpy()
            theirs = getattr(torch, name)(*arguments, **kind[1]).numpy()
            scale = 5.0 if name != "logspace" else 5.0 * np.abs(theirs)  # of the rounded exponent
            assert ours.shape == theirs.shape
            assert np.all(np.abs(ours - theirs) <= tolerance * scale), (name, arguments)


# Constructors ---------------------------------------------------------------------------------------------

TYPES = (
    *("FloatTensor", "DoubleTensor", "HalfTensor", "ByteTensor", "CharTensor", "ShortTensor", "IntTensor"),
    *("LongTensor", "BoolTensor", "Tensor"),
)


@programs(
    *calls("torch.{t}([1, 0])", t=TYPES),
    *calls("torch.{t}((2, 3))", t=TYPES),
    *calls("torch.{t}(2, 3).shape", t=TYPES),
    *calls("torch.{t}()", t=TYPES),
    *calls("torch.{t}(np.array([1.5, 2]))", t=TYPES),
    *calls("torch.{t}(torch.Size([2, 3])).shape", t=TYPES[:1]),
    *calls("torch.FloatTensor({x})", x=("2.5", "'a'", "[[1, 2], [3]]", "torch.ones(2)", "torch.tensor([1])")),
    *calls(
        "torch.Tensor({x})", x=("5.0", "-1", "torch.tensor([1])", "[True]", "data=[1]", "[1], device='cpu'")
    ),
    "torch.Tensor([1], dtype=torch.int32)",
    "x = torch.ones(2); y = torch.Tensor(x); y[0] = 5; x",
    *calls("isinstance(torch.ones(2, dtype=torch.float64), torch.{t})", t=TYPES),
    "isinstance(3, torch.FloatTensor)",
    "repr(torch.FloatTensor)",
    "torch.LongTensor.dtype",
)
def test_constructors_named_after_a_dtype(program: str) -> None:
    assert_alike(program)


def test_a_default_tensor_type_is_a_default_dtype() -> None:
    for library in (torch, jitgrad):
        with pytest.warns(UserWarning, match="set_default_tensor_type"):
            torch.set_warn_always(True)
            library.set_default_tensor_type("torch.DoubleTensor")
        try:
            assert library.zeros(1).dtype is library.float64
        finally:
            library.set_default_dtype(library.float32)
            torch.set_warn_always(False)


def test_a_subclass_is_constructed_from_data() -> None:
    class Labelled(jitgrad.Tensor):
        pass

    made = Labelled([1, 2])
    assert type(made) is Labelled
    assert made.tolist() == [1.0, 2.0]
    assert type(jitgrad.ones(2).as_subclass(Labelled)) is Labelled


# Random numbers -------------------------------------------------------------------------------------------

FIXED = (
    *(
        "torch.rand(0)",
        "torch.rand(2).shape",
        "torch.rand((2, 3)).dtype",
        "torch.rand()",
        "torch.rand(2, -1)",
    ),
    *("torch.rand(2, dtype=torch.int64)", "torch.randn(2, dtype=torch.int64)", "torch.rand(2, generator=3)"),
    *("torch.rand(2, dtype=torch.complex64).dtype", "torch.rand(2, requires_grad=True).requires_grad"),
    *("torch.randint(3, (2,)).dtype", "torch.randint(0, 3, (2,)).shape", "torch.randint(3, size=(2,)).dtype"),
    *(
        "torch.randint(low=0, high=3, size=(2,)).dtype",
        "torch.randint(3, 4, (2,))",
        "torch.randint(3, 3, (2,))",
    ),
    *("torch.randint(0, (2,))", "torch.randint(3, 2)", "torch.randint(3)", "torch.randint(0.5, 3, (2,))"),
    *("torch.randint(0, 300, (2,), dtype=torch.uint8)", "torch.randint(0, 3, (2,), dtype=torch.bool)"),
    *("torch.randint(0, 1, (2,), dtype=torch.float32)", "torch.randint(0, 3, (2,), requires_grad=True)"),
    *("torch.randperm(0)", "torch.randperm(1)", "torch.randperm(-1)", "torch.randperm(2.5)"),
    *("torch.randperm(300, dtype=torch.uint8)", "torch.randperm(4, dtype=torch.float32).dtype"),
    *("torch.normal(0.0, 1.0, (2,)).shape", "torch.normal(0.0, 1.0)", "torch.normal(0.0, -1.0, (2,))"),
    *(
        "torch.normal(torch.zeros(3), 0.0)",
        "torch.normal(2.0, torch.zeros(3))",
        "torch.normal(torch.zeros(3), -1.0)",
    ),
    *("torch.normal(torch.zeros(3, 1), torch.zeros(2))", "torch.normal(torch.zeros(3), torch.ones(2))"),
    *("torch.normal(torch.zeros(3), -torch.ones(3))", "torch.normal(torch.zeros(3).long(), torch.ones(3))"),
    "torch.normal(torch.zeros(3, requires_grad=True), torch.zeros(3))",
    "x = torch.ones(3, requires_grad=True); torch.normal(x, 0.0).sum().backward(); x.grad",
    *calls("torch.bernoulli({p})", p=("torch.ones(3)", "torch.zeros(3)", "torch.full((3,), 1.5)")),
    *calls("torch.bernoulli({p})", p=("torch.ones(3).long()", "torch.ones(3), 0.0", "torch.ones(3), p=1.0")),
    "torch.bernoulli(torch.ones(3, requires_grad=True))",
    "x = torch.ones(3, requires_grad=True); torch.bernoulli(x).sum().backward(); x.grad",
    *calls("torch.zeros(3).bernoulli_({p})", p=("1.0", "2.0", "torch.ones(3)")),
    "torch.zeros(3, requires_grad=True).bernoulli_(1.0)",
    "x = torch.ones(3, requires_grad=True); y = x * 2; y.uniform_(2.0, 2.0); y",
    "x = torch.ones(3, requires_grad=True); y = x * 2; y.normal_(); y.sum().backward(); x.grad",
    *calls("torch.multinomial(torch.tensor([0.0, 1.0, 0.0]), {n})", n=("1", "4", "0", "3, True", "2.0")),
    *calls("torch.multinomial(torch.tensor({w}), 1)", w=("[[0.0, 1.0], [1.0, 0.0]]", "1.0", "[-1.0, 1.0]")),
    *calls("torch.multinomial(torch.tensor({w}), 1)", w=("[0.0, 0.0]", "[float('nan'), 0.0]", "[1, 1]")),
    "torch.multinomial(torch.ones(2, 2, 2), 1)",
    *calls("torch.{f}_like(torch.ones(2, 3).t()).stride()", f=("rand", "randn")),
    "torch.rand_like(torch.ones(2).long())",
    "torch.randint_like(torch.ones(2), 1)",
    "torch.randint_like(torch.ones(2), 1, 2)",
    *calls("torch.zeros(2).normal_({p})", p=("3.0, 0.0", "3.0, -1.0")),
    *calls("torch.zeros(2).uniform_({p})", p=("2.0, 2.0", "3.0, 2.0")),
    *calls("torch.zeros(2).random_({p})", p=("1", "3, 4", "4, 4", "0")),
    "torch.zeros(2).exponential_(-1.0)",
    "torch.zeros(2).cauchy_(0.0, -1.0)",
    "torch.zeros(2).log_normal_(0, -1)",
    *calls("torch.zeros(2).geometric_({p})", p=("0.0", "1.5")),
    *calls("torch.zeros(2).long().{f}_()", f=("normal", "uniform", "exponential")),
    "torch.zeros(2, dtype=torch.int8).random_(0, 300)",
    "torch.poisson(torch.tensor([0.0, 0.0]))",
    "torch.poisson(torch.tensor([-1.0]))",
    "torch.poisson(torch.tensor([1]))",
    "torch.binomial(torch.tensor([3.0]), torch.tensor([1.0]))",
    *calls("torch.manual_seed({s}).initial_seed()", s=("3", "-3", "2**63", "True", "1.5", "2**64", "'a'")),
    "torch.manual_seed(3); torch.initial_seed()",
    "torch.Generator().initial_seed()",
    "torch.Generator().manual_seed(4).initial_seed()",
    "torch.get_rng_state().dtype",
    "torch.set_rng_state(3)",
    "torch.default_generator.device",
)


@programs(*FIXED)
def test_random_functions_without_chance(program: str) -> None:
    assert_alike(program)


DISTRIBUTIONS = (
    *(
        "torch.rand(N)",
        "torch.randn(N)",
        "torch.rand(N, dtype=torch.float16).float()",
        "torch.zeros(N).normal_(2, 3)",
    ),
    *("torch.zeros(N).uniform_(-1, 3)", "torch.zeros(N).exponential_(2.0)", "torch.zeros(N).bernoulli_(0.3)"),
    *("torch.zeros(N).geometric_(0.3)", "torch.zeros(N).log_normal_(0.1, 0.2)", "torch.zeros(N).cauchy_()"),
    *("torch.zeros(N).random_(10)", "torch.zeros(N).random_(-5, 5)", "torch.poisson(torch.full((N,), 2.5))"),
    *("torch.randint(7, (N,)).float()", "torch.randint(-3, 4, (N,)).double()", "torch.randperm(N).float()"),
    *("torch.binomial(torch.full((N,), 9.0), torch.full((N,), 0.3))", "torch.normal(torch.ones(N), 2.0)"),
    *("torch.bernoulli(torch.full((N,), 0.2))", "torch.randn(N, dtype=torch.complex64).real"),
    "torch.multinomial(torch.tensor([1.0, 0.0, 2.0, 5.0]), N, replacement=True).float()",
    "torch.multinomial(torch.tensor([[1.0, 3.0, 6.0]]).expand(N, 3), 2)[:, 1].float()",
)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@pytest.mark.parametrize("program", DISTRIBUTIONS)
def test_samples_are_distributed_as_in_pytorch(program: str) -> None:
    drawn = []
    for library in (torch, jitgrad):
        library.manual_seed(11)
        drawn.append(eval(program, {"torch": library, "N": 20_000}).numpy())
    theirs, ours = drawn
    assert ours.dtype == theirs.dtype
    low, high = np.quantile(theirs, [0.02, 0.98])
    for probability in QUANTILES:
        value = np.quantile(theirs, probability)
        for compare in (np.less, np.less_equal):
            expected = compare(theirs, value).mean()
            error = 6 * np.sqrt(max(expected * (1 - expected), 1e-4) / len(ours) * 2)
            assert abs(compare(ours, value).mean() - expected) <= error, probability
    assert np.quantile(ours, 0.01) <= high and np.quantile(ours, 0.99) >= low


def test_a_seed_repeats_what_follows() -> None:
    torch = jitgrad
    torch.manual_seed(5)
    first, state, second = torch.rand(3), torch.get_rng_state(), torch.randint(9, (4,))
    torch.set_rng_state(state)
    assert torch.randint(9, (4,)).tolist() == second.tolist()
    torch.manual_seed(5)
    assert torch.rand(3).tolist() == first.tolist()
    with torch.random.fork_rng():
        inside = torch.rand(3)
    assert torch.rand(3).tolist() == inside.tolist()


def test_generators_are_apart() -> None:
    one, other = jitgrad.Generator().manual_seed(1), jitgrad.Generator().manual_seed(1)
    assert jitgrad.rand(3, generator=one).tolist() == jitgrad.rand(3, generator=other).tolist()
    assert jitgrad.rand(3, generator=one.clone_state()).tolist() == jitgrad.rand(3, generator=one).tolist()


def test_the_first_seed_is_not_fixed() -> None:
    assert jitgrad.seed() != jitgrad.seed()
    assert jitgrad.Generator().seed() != jitgrad.Generator().seed()


def test_half_precision_never_rounds_up_to_one() -> None:
    assert jitgrad.rand(100_000, dtype=jitgrad.float16).numpy().max() < 1
