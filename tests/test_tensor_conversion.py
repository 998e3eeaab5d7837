"""Tensors become other dtypes, numbers, arrays, copies and files, and tell of themselves, as PyTorch's do."""

from __future__ import annotations

import copy
import io
import pickle
import zipfile
from collections import OrderedDict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from both_libraries import assert_alike

import jitgrad
from jitgrad.eager.functions import serialization

DTYPES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
CASTS = (
    *("float", "double", "half", "int", "long", "short", "char", "byte", "bool", "cfloat", "cdouble"),
    *("cpu", "clone", "contiguous", "type"),
)


def programs(*lines: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("program", lines)


def calls(form: str, **choices: Any) -> list[str]:
    """The form filled in with every combination of the choices."""
    return [form.format(**dict(zip(choices, values, strict=True))) for values in product(*choices.values())]


# Other dtypes ---------------------------------------------------------------------------------------------


@programs(
    *calls("torch.tensor([0, 1, 2, 127], dtype=torch.{d}).{c}()", d=DTYPES, c=CASTS),
    *calls("torch.tensor([0, 1, 2, 127], dtype=torch.{d}).to(torch.{e})", d=DTYPES, e=DTYPES),
    *calls("torch.tensor([-1.5, 300.7, 0.3], dtype=torch.{d}).{c}()", d=("float32", "float64"), c=CASTS),
    *calls("torch.tensor([-1, -200, 40000]).{c}()", c=CASTS),
    *calls("torch.tensor([float('nan'), 0.0]).{c}()", c=("bool", "double", "cfloat")),
)
def test_casts_give_the_same_values(program: str) -> None:
    assert_alike(program)


LEAF = "torch.ones(2, requires_grad=True)"


@programs(
    *calls(LEAF + ".{c}()", c=[c for c in CASTS if c not in ("cfloat", "cdouble")]),
    *calls("torch.ones(2).to({a})", a=("", "None", "'cpu'", "torch.float64", "float", "int", "bool")),
    *calls("torch.ones(2).to({a})", a=("'cpu', torch.float64", "torch.device('cpu')", "torch.ones(1).int()")),
    *calls("torch.ones(2).to({a})", a=("dtype=torch.int32", "device='cpu', dtype=torch.float16, copy=True")),
    *calls("torch.ones(2).to({a})", a=("torch.float64, False, True", "'cpu', torch.float64, False, True")),
    *calls("torch.ones(2).to({a})", a=("torch.ones(1), False, True", "torch.float64, non_blocking=True")),
    *calls(
        "torch.ones(2).to({a})", a=("'cuda'", "'cuda:3'", "0", "'mps'", "'float32'", "np.float32", "'foo'")
    ),
    *calls(
        LEAF + ".to({a})", a=("torch.float64", "torch.int64", "torch.float32", "torch.float32, copy=True")
    ),
    *calls(LEAF + ".{c}", c=("double()", "clone()", "to(torch.float64)", "type(torch.float64)", "half()")),
    "x = torch.ones(2); x.to(torch.float32) is x",
    "x = torch.ones(2); x.to(torch.float32, copy=True) is x",
    "x = torch.ones(2); x.float() is x",
    "x = torch.ones(2); x.contiguous() is x",
    "x = torch.ones(2); x.cpu() is x",
    "torch.ones(2, 3, requires_grad=True).t().contiguous()",
    "torch.ones(3, 70000).t().requires_grad_().double()",
    "torch.ones(2).cuda()",
    "torch.clone(3)",
    "torch.ones(2, dtype=torch.complex64).float()",
    "x = torch.ones(2); y = x.clone(); y[0] = 5; x",
    *calls("torch.ones(2).type({a})", a=("torch.float64", "'torch.DoubleTensor'", "torch.DoubleTensor")),
    *calls("torch.ones(2).type({a})", a=("float", "'foo'", "dtype=torch.int32", "'torch.LongTensor'")),
    *calls("torch.ones(2, dtype=torch.{d}).type()", d=DTYPES),
    "torch.ones(2).type_as(torch.ones(1, dtype=torch.int64))",
    "torch.ones(2, requires_grad=True).type_as(torch.ones(1, dtype=torch.float64))",
)
def test_conversions_take_the_same_arguments(program: str) -> None:
    assert_alike(program)


def test_a_gradient_is_not_lost_in_a_complex_tensor() -> None:
    x = jitgrad.ones(2, requires_grad=True)
    for convert in (x.cfloat, lambda: x.to(jitgrad.complex128)):
        with pytest.raises(NotImplementedError, match="complex numbers are not available"):
            convert()
    assert x.detach().cfloat().dtype is jitgrad.complex64


GRADIENT = "x = torch.tensor([1.5, -2.0], requires_grad=True); y = {y}; (y * y).sum().backward(); x.grad"


@programs(
    *calls(GRADIENT, y=("x.double()", "x.clone()", "x.half()", "x.to(torch.float64)", "x.double().float()")),
    *calls(GRADIENT, y=("torch.as_tensor(x, dtype=torch.float64)", "torch.asarray(x, requires_grad=True)")),
    *calls(GRADIENT, y=("x.to(torch.float32, copy=True)", "x.as_subclass(torch.Tensor)", "x.contiguous()")),
    "x = torch.tensor([1.5, 2.0], requires_grad=True); y = x.clone() ** 3; "
    "g = torch.autograd.grad(y.sum(), x, create_graph=True)[0]; torch.autograd.grad(g.sum(), x)",
    "x = torch.tensor([1.5, 2.0], requires_grad=True); y = x.double() ** 3; "
    "g = torch.autograd.grad(y.sum(), x, create_graph=True)[0]; torch.autograd.grad(g.sum(), x)",
)
def test_gradients_pass_through_copies(program: str) -> None:
    assert_alike(program)


# Python numbers -------------------------------------------------------------------------------------------

ONE = ("tensor(2.5)", "tensor([[3.0]])", "tensor(2)", "tensor([True])", "tensor(2j)", "tensor(2.0 + 0j)")
OTHER = ("ones(2)", "ones(0)", "tensor(float('nan'))", "tensor(float('inf'))")


@programs(
    *calls("{f}(torch.{x})", f=("float", "int", "bool", "complex", "len", "list"), x=(*ONE, *OTHER)),
    *calls("torch.{x}.{f}()", f=("item", "tolist", "is_nonzero"), x=(*ONE, *OTHER[:2])),
    *calls("[4, 5, 6, 7][torch.{x}]", x=(*ONE, *OTHER)),
    *calls("range(torch.{x})", x=ONE),
    "float(torch.tensor(2.0, requires_grad=True))",
    "torch.ones(2, 2, dtype=torch.bool).tolist()",
    "torch.zeros(2, 0, 3).tolist()",
    "list(torch.zeros(2, requires_grad=True))",
    "[*torch.arange(4).reshape(2, 2)]",
    "list(reversed(torch.arange(3)))",
    *calls(
        "f'{{torch.{x}:{f}}}'", x=("tensor(3.14159)", "tensor(3)", "tensor([3.5])"), f=("", ".2f", ">8", "d")
    ),
    "f'{torch.tensor(3.0, requires_grad=True):.2f}'",
    "'%.2f %d %s' % (torch.tensor(3.5), torch.tensor(3.5), torch.tensor(3.5))",
    *calls("{x} in torch.tensor([1, 2])", x=("1", "3", "torch.tensor(1)", "'a'", "None", "2.0")),
    "x = torch.ones(2); {x: 1}[x]",
    "x = torch.ones(2); hash(x) == id(x)",
)
def test_tensors_become_python_numbers(program: str) -> None:
    assert_alike(program)


# NumPy ----------------------------------------------------------------------------------------------------


@programs(
    *calls("torch.tensor([0, 1], dtype=torch.{d}).numpy()", d=DTYPES),
    "torch.ones(2, 3).t().numpy()",
    "x = torch.zeros(2); a = x.numpy(); a[0] = 5; x",
    "x = torch.zeros(2); a = x.numpy(); x[0] = 5; a",
    "x = torch.zeros(2, 3); a = x.numpy(); a.shape = (6,); x",
    "torch.ones(2, requires_grad=True).numpy()",
    "torch.ones(2, requires_grad=True).numpy(force=True)",
    "torch.ones(2).numpy(True)",
    *calls("np.{f}(torch.tensor([0.5, 2.0]))", f=("sin", "argmin", "isnan", "exp", "signbit", "negative")),
    *calls("np.{f}(torch.tensor([0.5, 2.0]), np.ones(2))", f=("add", "maximum", "less", "logical_and")),
    "np.exp(torch.tensor(1.0))",
    "np.asarray(torch.ones(2))",
    "np.asarray(torch.ones(2), dtype=np.float64)",
    "np.array([torch.tensor(1.0), torch.tensor(2.0)])",
    "np.stack([torch.ones(2), torch.ones(2)])",
    "np.sin(torch.ones(2, requires_grad=True))",
    "np.allclose(torch.ones(2), torch.ones(2))",
    "np.float64(2) * torch.ones(2)",
    "np.concatenate([torch.ones(2), torch.ones(2)])",
)
def test_numpy_takes_tensors(program: str) -> None:
    assert_alike(program)


def test_numpy_copies_only_when_asked() -> None:
    x = jitgrad.zeros(2)
    np.asarray(x)[0] = 5
    np.array(x, copy=True)[1] = 5
    assert x.tolist() == [5.0, 0.0]
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        np.asarray(x, np.float64, copy=False)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if not d.startswith("uint") or d == "uint8"])
def test_dlpack_shares_memory(dtype: str) -> None:
    ours = jitgrad.zeros(2, 3, dtype=getattr(jitgrad, dtype)).t()
    theirs = torch.from_dlpack(ours)
    array = np.from_dlpack(ours)
    again = jitgrad.from_dlpack(theirs)
    assert str(theirs.dtype) == str(again.dtype) == str(ours.dtype)
    assert theirs.stride() == again.stride() == ours.stride() == (1, 3)
    assert theirs.data_ptr() == array.ctypes.data == again.data_ptr() == ours.data_ptr()
    theirs[1, 0] = 1
    assert ours[1, 0] == 1 and array[1, 0] == 1 and again[1, 0] == 1


@programs(
    "torch.from_dlpack(np.arange(3.0))",
    "torch.from_dlpack(np.array([True]))",
    "torch.from_dlpack(3)",
    "torch.from_dlpack(torch.ones(2, requires_grad=True))",
    "torch.ones(2, requires_grad=True).__dlpack__()",
    "tuple(map(int, torch.ones(2).__dlpack_device__()))",
    "a = np.zeros(2); t = torch.from_dlpack(a); t[0] = 1; a",
)
def test_dlpack_refuses_as_pytorch_does(program: str) -> None:
    assert_alike(program)


# Attributes -----------------------------------------------------------------------------------------------

SOME = ("ones(2, 3)", "ones(4, 3)[1:]", "ones(4, 3).t()", "ones(())", "ones(0, 3)", "ones(3, 1).expand(3, 4)")
FACTS = (
    *("size()", "stride()", "storage_offset()", "numel()", "nelement()", "dim()", "ndimension()", "itemsize"),
    *("element_size()", "nbytes", "is_contiguous()", "layout", "device", "is_cuda", "is_cpu", "is_sparse"),
    *("is_quantized", "is_mps", "is_meta", "is_xla", "is_mkldnn", "is_nested", "is_sparse_csr", "is_xpu"),
    *("is_floating_point()", "is_complex()", "is_signed()", "is_leaf", "grad_fn", "get_device()", "ndim"),
    *("is_shared()", "is_pinned()", "is_conj()", "is_neg()", "is_inference()", "_is_view()", "output_nr"),
    *("untyped_storage().nbytes()", "type()", "real", "imag", "size(0)", "size(-1)", "size(2)", "stride(0)"),
    *(
        "stride(5)",
        "size(dim=0)",
        "shape",
        "dtype",
        "data_ptr() == 0",
        "_version",
        "is_same_size(torch.ones(2, 3))",
    ),
)


@programs(
    *calls("torch.{x}.{fact}", x=SOME, fact=FACTS),
    *calls(
        "torch.ones(2, dtype=torch.{d}).{fact}", d=DTYPES, fact=("itemsize", "is_signed()", "is_complex()")
    ),
    *calls("torch.is_floating_point({x})", x=("torch.ones(2)", "torch.arange(2)", "2")),
    *calls("torch.is_tensor({x})", x=("torch.ones(2)", "2")),
    *calls("torch.is_storage({x})", x=("torch.ones(2)", "torch.ones(2).untyped_storage()")),
    *calls("torch.{f}(torch.ones(1))", f=("numel", "is_complex", "is_nonzero", "is_signed", "real", "imag")),
    "torch.numel(3)",
    "torch.tensor([1 + 2j]).real",
    "torch.tensor([1 + 2j]).imag",
    "torch.ones(2, 3, 4, 5).is_contiguous(memory_format=torch.channels_last)",
    "x = torch.ones(2, 3); x.is_set_to(x)",
    "x = torch.ones(2, 3); x.is_set_to(x[1:])",
    "x = torch.ones(4); x[1:].data_ptr() - x.data_ptr()",
    "x = torch.ones(4); x[1:].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()",
    *calls("torch.{x}", x=("contiguous_format", "preserve_format", "channels_last", "strided")),
)
def test_tensors_tell_the_same_of_themselves(program: str) -> None:
    assert_alike(program)


# Devices --------------------------------------------------------------------------------------------------


@programs(
    *calls(
        "torch.device({d})", d=("'cpu'", "'cuda:0'", "'cuda', 1", "'cuda'", "0", "'cpu:0'", "'mps'", "'CPU'")
    ),
    *calls(
        "torch.device({d})", d=("'cuda:-1'", "'cuda:a'", "'foo:1'", "'cuda', -1", "'cuda:0:1'", "'cuda:01'")
    ),
    *calls(
        "torch.device({d})",
        d=("", "1.5", "''", "'cpu:'", "'1'", "'cpu 0'", "torch.device('cpu')", "'foo_bar'"),
    ),
    "torch.device(type='cuda', index=2)",
    "str(torch.device('cuda:1'))",
    "torch.device('cuda:1').type, torch.device('cuda:1').index, torch.device('cpu').index",
    "torch.device('cpu:0') == torch.device('cpu')",
    "torch.device('cpu') == 'cpu'",
    "len({torch.device('cpu'), torch.device('cpu')})",
    "pickle.loads(pickle.dumps(torch.device('cuda:1')))",
    "torch.device('cpu').type = 'cuda'; 0",
    "torch.get_default_device()",
    *calls("torch.cuda.{f}()", f=("is_available", "device_count", "is_initialized", "empty_cache", "init")),
    *calls("torch.cuda.{f}()", f=("synchronize", "current_device", "get_device_name", "current_stream")),
    *calls("torch.cuda.{f}()", f=("memory_allocated", "max_memory_allocated", "is_bf16_supported", "Stream")),
    *calls("torch.cuda.{f}(1)", f=("manual_seed", "manual_seed_all", "get_device_properties")),
)
def test_devices(program: str) -> None:
    assert_alike(program)


def test_a_device_is_a_context() -> None:
    with jitgrad.device("cpu"):
        assert jitgrad.ones(2).device == jitgrad.device("cpu")
    with pytest.raises(AssertionError, match="not compiled with CUDA"), jitgrad.device("cuda"):
        pass


# Copies ---------------------------------------------------------------------------------------------------

USED = "x = torch.arange(6.0, requires_grad=True); (x * x).sum().backward(); x.mark = [1]; "


@programs(
    USED + "y = copy.deepcopy(x); (y, y.grad, y.mark, y.mark is x.mark, y.data_ptr() == x.data_ptr())",
    USED + "y = copy.copy(x); (y, y.grad, y.mark is x.mark, y.data_ptr() == x.data_ptr())",
    USED + "y = pickle.loads(pickle.dumps(x)); (y, y.grad, y.mark)",
    USED + "copy.deepcopy(x * 2)",
    USED + "copy.copy(x * 2)",
    USED + "pickle.loads(pickle.dumps(x * 2))",
    "a = torch.arange(6.0); b, v = copy.deepcopy([a, a[2:4]]); b[2] = 99; (v, v.storage_offset())",
    "copy.deepcopy(torch.arange(6.0)[2:4])._is_view()",
    "w = copy.deepcopy(torch.arange(6.0)[2:4]); (w, w.untyped_storage().nbytes(), w.storage_offset())",
    "a = torch.ones(2); b, c = copy.deepcopy([a, a]); b is c",
    *calls("copy.deepcopy(torch.{x})", x=(*SOME, "ones(2, 3, 4).permute(2, 0, 1)", "tensor([True, False])")),
    *calls("pickle.loads(pickle.dumps(torch.{x}))", x=(*SOME, "ones(2, 3, 4).permute(2, 0, 1)[:, 1]")),
    "pickle.loads(pickle.dumps({'a': torch.float32, 'b': torch.Size([2])}))",
    "copy.deepcopy(torch.float32) is torch.float32",
)
def test_copies(program: str) -> None:
    assert_alike(program)


def test_deep_copies_of_foreign_memory_stay_shared() -> None:
    array = np.arange(12.0).reshape(3, 4)[:, 1:]
    x = jitgrad.from_numpy(array)
    y, z = copy.deepcopy([x, x[1:]])
    y[1, 0] = 100
    assert z[0, 0] == 100 and array[1, 0] == 5
    assert y.stride() == x.stride()


# Files ----------------------------------------------------------------------------------------------------


def objects(library: Any) -> dict[str, Any]:
    """Everything that files hold, made by either library."""
    x, leaf = library.arange(6.0), library.arange(3.0, requires_grad=True)
    leaf.mark = "kept"
    return {
        **{d: library.tensor([0, 1], dtype=getattr(library, d)) for d in DTYPES},
        **{"x": x, "view": x[2:4], "transposed": library.ones(2, 3).t(), "empty": library.ones(0, 3)},
        **{"expanded": library.ones(3, 1).expand(3, 4), "scalar": library.tensor(2.5), "leaf": leaf},
        **{"dtype": library.float32, "size": library.Size([1, 2]), "device": library.device("cuda:1")},
        **{"list": [1, (2.5, None, "s"), {3}, b"b", 2j, 10**30], "ordered": OrderedDict(w=library.ones(2))},
    }


@pytest.mark.parametrize("writer", [torch, jitgrad])
@pytest.mark.parametrize("reader", [torch, jitgrad])
def test_either_library_loads_what_either_saves(writer: Any, reader: Any, tmp_path: Path) -> None:
    writer.save(objects(writer), tmp_path / "objects.pt")
    loaded, expected = reader.load(tmp_path / "objects.pt"), objects(reader)
    assert repr(loaded) == repr(expected)
    for name, value in expected.items():
        if isinstance(value, reader.Tensor):
            assert loaded[name].stride() == value.stride(), name
            assert loaded[name].storage_offset() == value.storage_offset(), name
    assert loaded["leaf"].mark == "kept"
    loaded["x"][2] = 99
    assert loaded["view"][0] == 99


class Parameter(jitgrad.Tensor):
    """What a file calls torch.nn.Parameter, in these tests."""

    def __new__(cls, data: Any, requires_grad: bool = True) -> Any:
        return cls._make_subclass(cls, data, requires_grad)


def test_parameters_go_by_pytorchs_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "_PARAMETERS", [])
    serialization.saved_as_parameter(Parameter)
    for writer, reader, kind in ((torch, jitgrad, Parameter), (jitgrad, torch, torch.nn.Parameter)):
        made = (torch.nn.Parameter if writer is torch else Parameter)(writer.ones(2))
        file = io.BytesIO()
        writer.save({"weight": made}, file)
        file.seek(0)
        weight = reader.load(file)["weight"]
        assert type(weight) is kind and weight.requires_grad and weight.tolist() == [1.0, 1.0]


def test_state_dicts_of_pytorch_are_loaded(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    loaded = jitgrad.load(tmp_path / "model.pt", map_location="cpu")
    expected = model.state_dict()
    assert list(loaded) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(loaded[name].numpy(), value.numpy())


class Harmful:
    """Runs a function when it is unpickled."""

    def __reduce__(self) -> Any:
        return ran.append, (1,)


class Plain:
    """An object that only holds a tensor."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


ran: list[int] = []


@pytest.mark.parametrize("writer", [torch, jitgrad])
def test_loading_runs_nothing_but_what_is_listed(writer: Any, tmp_path: Path) -> None:
    for number, harmful in enumerate((Harmful(), {"a": [Harmful()]}, eval, Path("a"), np.float64(1))):
        writer.save(harmful, tmp_path / f"{number}.pt")
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            jitgrad.load(tmp_path / f"{number}.pt")
    assert not ran


def test_pickled_code_cannot_change_shared_objects(tmp_path: Path) -> None:
    attack = b"\x80\x02ctorch\nfloat32\nN}X\x04\x00\x00\x00nameX\x03\x00\x00\x00bads\x86b."
    with zipfile.ZipFile(tmp_path / "attack.pt", "w") as archive:
        archive.writestr("archive/data.pkl", attack)
    with pytest.raises(pickle.UnpicklingError, match="attributes of a dtype"):
        jitgrad.load(tmp_path / "attack.pt")
    assert jitgrad.float32.name == "float32"


def test_objects_are_loaded_when_allowed() -> None:
    file = io.BytesIO()
    jitgrad.save(Plain(jitgrad.ones(2)), file)
    file.seek(0)
    assert jitgrad.load(file, weights_only=False).tensor.tolist() == [1.0, 1.0]
    serialization.add_safe_globals([Plain])
    try:
        file.seek(0)
        assert jitgrad.load(file).tensor.tolist() == [1.0, 1.0]
    finally:
        serialization.clear_safe_globals()


def test_memory_saved_on_a_gpu_is_mapped(tmp_path: Path) -> None:
    jitgrad.save(jitgrad.ones(2), tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    for location in ("cpu", jitgrad.device("cpu"), {"cpu": "cpu"}, lambda storage, place: storage, None):
        assert jitgrad.load(io.BytesIO(content), map_location=location).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
        jitgrad.load(io.BytesIO(content), map_location="cuda")


@pytest.mark.parametrize(("content", "error"), [(b"", EOFError), (b"no archive", pickle.UnpicklingError)])
def test_what_is_no_archive_is_refused(content: bytes, error: Any) -> None:
    with pytest.raises(error):
        jitgrad.load(io.BytesIO(content))


def test_the_same_objects_give_the_same_bytes() -> None:
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        jitgrad.save(objects(jitgrad), file)
    assert files[0].getvalue() == files[1].getvalue()
