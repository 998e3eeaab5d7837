"""torch.linalg and its aliases give PyTorch's values, derivatives, names on the tape and errors."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beside_torch import Array, assert_same, assert_same_error

import jitgrad
import jitgrad.autograd

rng = np.random.default_rng(5)


def near(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    return rng.uniform(low, high, shape)


def square(*lead: int, n: int = 3) -> Array:
    return near(*lead, n, n, low=-0.4, high=0.4) + np.diag(np.arange(1.0, n + 1))


def positive(*lead: int, n: int = 3) -> Array:
    x = square(*lead, n=n)
    return (x + np.swapaxes(x, -1, -2)) / 2


def call(library: Any, *inputs: Any, name: str, **kwargs: Any) -> Any:
    return operator.attrgetter(name)(library)(*inputs, **kwargs)


def of(name: str, **kwargs: Any) -> Any:
    return functools.partial(call, name=name, **kwargs)


def case(name: str, *arrays: Array, **kwargs: Any) -> Any:
    shapes = "-".join("x".join(map(str, a.shape)) or "0d" for a in arrays)
    shown = "-".join(f"{k}={v}" for k, v in kwargs.items())
    return pytest.param(of(name, **kwargs), arrays, id=f"{name}-{shapes}-{shown}")


SINGLE = [
    *(
        case(f"linalg.{name}", square(*lead))
        for name in ("det", "inv", "slogdet", "matrix_exp")
        for lead in ((), (2,))
    ),
    *(
        case(name, square(*lead))
        for name in ("det", "inverse", "logdet", "slogdet", "matrix_exp")
        for lead in ((), (2,))
    ),
    case("linalg.det", np.zeros((0, 0))),
    case("linalg.inv_ex", square()),
    case("linalg.cholesky", positive()),
    case("linalg.cholesky", positive(2), upper=True),
    case("linalg.cholesky_ex", positive()),
    case("cholesky", positive()),
    case("cholesky", positive(), upper=True),
    case("cholesky_inverse", np.tril(square())),
    case("cholesky_inverse", np.triu(square(2)), upper=True),
    case("linalg.eigvalsh", positive(2)),
    case("linalg.eigvalsh", square(), UPLO="U"),
    case("linalg.svdvals", near(2, 4, 3)),
    case("linalg.qr", near(4, 3)),
    case("linalg.qr", near(2, 3, 3)),
    case("linalg.qr", near(3, 4)),
    case("qr", near(4, 3)),
    case("linalg.pinv", near(4, 3)),
    case("linalg.pinv", near(2, 3, 4), rtol=1e-9),
    case("linalg.pinv", near(2, 3, 4), atol=1e-9),
    case("pinverse", near(4, 3)),
    *(case("linalg.matrix_power", square(), n=n) for n in (0, 1, 2, 3, 5, -1, -2)),
    case("matrix_power", square(2), n=3),
    case("linalg.lu_factor", square()),
    case("linalg.lu_factor", near(2, 4, 3)),
    case("linalg.lu_factor_ex", square()),
    case("linalg.lu", near(3, 4)),
    case("linalg.lu", square(2)),
    case("lu", square()),
    *(case("linalg.cond", square(), p=p) for p in (None, 2, -2, "nuc")),
    case("linalg.matrix_rank", square(2)),
    case("linalg.matrix_rank", np.ones((3, 3)), hermitian=True),
    case("linalg.matrix_rank", np.diag([1.0, 1e-3]), atol=1e-2),
    case("linalg.diagonal", near(2, 3, 4), offset=1),
    case("linalg.vander", near(2, 3)),
    case("linalg.vander", near(3), N=5),
    case("linalg.tensorinv", near(2, 3, 6), ind=2),
]


@pytest.mark.parametrize("function, arrays", SINGLE)
def test_a_function_of_one_matrix(function: Callable[..., Any], arrays: tuple[Array, ...]) -> None:
    name = function.keywords["name"]  # type: ignore[attr-defined]
    composed = name in ("linalg.tensorinv", "linalg.cond") or function.keywords.get("n", 1) == 0  # type: ignore[attr-defined]
    assert_same(function, *arrays, named=not composed, tolerance=1e-8)


PAIRS = [
    case("linalg.solve", square(), near(3)),
    case("linalg.solve", square(2), near(3, 2)),
    case("linalg.solve", square(2), near(2, 3)),
    case("linalg.solve", square(), near(2, 3), left=False),
    case("linalg.solve_ex", square(), near(3, 2)),
    case("linalg.solve_triangular", square(), near(3, 2), upper=True),
    case("linalg.solve_triangular", square(2), near(2, 3), upper=False, left=False),
    case("linalg.solve_triangular", square(), near(3, 2), upper=False, unitriangular=True),
    case("triangular_solve", near(3, 2), square()),
    case("triangular_solve", near(3, 2), square(), upper=False, transpose=True),
    case("cholesky_solve", near(3, 2), np.tril(square())),
    case("cholesky_solve", near(3, 2), np.triu(square()), upper=True),
    case("linalg.lstsq", near(4, 3), near(4, 2)),
    case("linalg.lstsq", near(4, 3), near(4, 2), driver="gelsd"),
    case("linalg.lstsq", near(2, 3), near(2, 1)),
    case("linalg.cross", near(4, 3), near(4, 3)),
    case("linalg.cross", near(3, 1), near(3, 2), dim=0),
    case("linalg.vecdot", near(2, 3), near(2, 3)),
    case("linalg.vecdot", near(3, 2), near(3, 1), dim=0),
    case("linalg.tensorsolve", near(2, 3, 6), near(2, 3)),
    case("linalg.matmul", near(2, 3), near(3, 4)),
]


@pytest.mark.parametrize("function, arrays", PAIRS)
def test_a_function_of_two_matrices(function: Callable[..., Any], arrays: tuple[Array, ...]) -> None:
    assert_same(function, *arrays, named="tensor" not in str(function), tolerance=1e-8)


@pytest.mark.parametrize("shapes", [((2, 3), (3, 4)), ((3,), (3, 4), (4, 2), (2,)), ((2, 3), (3, 4), (4,))])
def test_multi_dot(shapes: tuple[tuple[int, ...], ...]) -> None:
    assert_same(lambda library, *given: library.linalg.multi_dot(list(given)), *(near(*s) for s in shapes))


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4), (2, 3, 2)])
def test_svd_up_to_signs(shape: tuple[int, ...], full: bool) -> None:
    """The products that a change of sign leaves as they are."""

    def function(library: Any, x: Any) -> Any:
        u, s, vh = library.linalg.svd(x, full)
        k = s.shape[-1]
        u, vh = u[..., :k], vh[..., :k, :]
        return s, u @ vh, u**2

    assert_same(function, near(*shape), named=False, tolerance=1e-7)


def test_svd_with_columns_as_vectors() -> None:
    def function(library: Any, x: Any) -> Any:
        u, s, v = library.svd(x)
        return s, u @ v.transpose(-2, -1)

    assert_same(function, near(4, 3), named=False, tolerance=1e-7)


@pytest.mark.parametrize("triangle", ["L", "U"])
def test_eigh_up_to_signs(triangle: str) -> None:
    def function(library: Any, x: Any) -> Any:
        values, vectors = library.linalg.eigh(x, triangle)
        return values, vectors**2, vectors @ (vectors * values.unsqueeze(-2)).transpose(-2, -1)

    assert_same(function, positive(2), named=False, tolerance=1e-7)


def test_lu_solve() -> None:
    def function(library: Any, x: Any, b: Any) -> Any:
        factors = library.linalg.lu_factor(x)
        one = library.linalg.lu_solve(*factors, b)
        return one, library.linalg.lu_solve(*factors, b, adjoint=True), library.lu_solve(b, *factors)

    assert_same(function, near(3, 3), near(3, 2), tolerance=1e-8)


# Norms ----------------------------------------------------------------------------------------------------

ORDERS = (2, 1, 3, 0.5, 0, math.inf, -math.inf, -1)
NORMS = [
    *(case("linalg.vector_norm", near(3, 4), ord=p) for p in ORDERS),
    *(case("linalg.vector_norm", near(3, 4), ord=p, dim=1, keepdim=True) for p in ORDERS),
    case("linalg.vector_norm", near(2, 3, 4), dim=(0, 2)),
    case("linalg.vector_norm", near()),
    case("linalg.vector_norm", near(0)),
    *(
        case("linalg.matrix_norm", near(2, 3, 4), ord=p)
        for p in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    ),
    case("linalg.matrix_norm", near(2, 3, 4), ord=1, dim=(2, 0), keepdim=True),
    case("linalg.norm", near(3, 4)),
    case("linalg.norm", near(3, 4), ord="nuc"),
    case("linalg.norm", near(3, 4), ord=2),
    case("linalg.norm", near(4), ord=3),
    case("linalg.norm", near(2, 3, 4), ord=1, dim=0),
    case("norm", near(3, 4)),
    *(case("norm", near(3, 4), p=p) for p in (*ORDERS, "fro", "nuc")),
    *(case("norm", near(3, 4), p=p, dim=1) for p in ORDERS),
    case("dist", near(3, 4), near(4), p=3.0),
]


@pytest.mark.parametrize("function, arrays", NORMS)
def test_a_norm(function: Callable[..., Any], arrays: tuple[Array, ...]) -> None:
    assert_same(function, *arrays, tolerance=1e-8)


@pytest.mark.parametrize("order", [2, 1, 3, 1.5, math.inf])
def test_norms_at_zero(order: float) -> None:
    assert_same(of("linalg.vector_norm", ord=order), np.zeros(3), again=False)
    assert_same(of("linalg.vector_norm", ord=order), np.array([0.0, 2.0, -1.0]), again=False)


def test_a_dtype_for_the_norm() -> None:
    def function(library: Any, x: Any) -> Any:
        return library.linalg.norm(x, dtype=library.float64), library.norm(x, 3, dtype=library.float64)

    assert_same(function, near(3).astype(np.float32), again=False, tolerance=1e-6)


# Errors ---------------------------------------------------------------------------------------------------

ZERO, ONE = np.zeros((2, 2)), np.eye(2)
MIXED = np.stack([ONE, ZERO])
ERRORS = [
    case("linalg.det", near(3)),
    case("linalg.det", near(2, 3)),
    case("linalg.det", np.ones((2, 2), np.int64)),
    case("linalg.inv", ZERO),
    case("linalg.inv", np.ones((3, 2, 2))),
    case("linalg.inv", MIXED),
    case("linalg.inv", near(2, 3)),
    case("inverse", ZERO),
    case("linalg.inv_ex", ZERO, check_errors=True),
    case("linalg.solve", ZERO, near(2)),
    case("linalg.solve", MIXED, near(2, 2, 1)),
    case("linalg.solve", ONE, near(3)),
    case("linalg.solve", ONE, near()),
    case("linalg.solve", ONE, near(2).astype(np.float32)),
    case("linalg.cholesky", -ONE),
    case("linalg.cholesky", np.stack([ONE, -ONE])),
    case("linalg.cholesky", np.array([[1.0, 2.0], [2.0, 1.0]])),
    case("cholesky", -ONE),
    case("linalg.eigh", near(2, 3)),
    case("linalg.eigh", ONE, UPLO="x"),
    case("linalg.svd", near(3)),
    case("linalg.svd", np.full((2, 2), np.nan)),
    case("linalg.svd", ONE, driver="gesvd"),
    case("linalg.qr", ONE, mode="x"),
    case("linalg.matrix_power", ZERO, n=-1),
    case("linalg.matrix_power", near(2, 3), n=2),
    case("linalg.pinv", near(2)),
    case("linalg.lstsq", ONE, near(3)),
    case("linalg.lstsq", near(2), near(2)),
    case("linalg.lstsq", ONE, near(2), driver="x"),
    case("linalg.solve_triangular", ONE, near(2), upper=True),
    case("linalg.solve_triangular", ONE, near(3, 2), upper=True),
    case("linalg.cross", near(2), near(2)),
    case("linalg.vecdot", near(2), near(3)),
    case("linalg.cond", near(2, 3), p=1),
    case("linalg.cond", ONE, p=3),
    case("linalg.tensorinv", near(2, 3), ind=1),
    case("linalg.tensorinv", near(2, 3), ind=0),
    case("linalg.tensorsolve", near(2, 3), near(2)),
    case("linalg.lu_factor", ZERO),
    case("linalg.lu_factor", near(2)),
    case("linalg.vander", near()),
    case("linalg.matrix_rank", near(3)),
    case("linalg.norm", ONE, ord="x"),
    case("linalg.norm", near(2), ord="fro"),
    case("linalg.norm", ONE, ord=3),
    case("linalg.norm", near(2, 2, 2), ord=2),
    case("linalg.matrix_norm", near(2)),
    case("linalg.matrix_norm", ONE, dim=(0, 0)),
    case("linalg.vector_norm", np.zeros(0), ord=math.inf),
    case("linalg.vector_norm", np.zeros((2, 0)), ord=-1),
    case("norm", np.ones(2, np.int64)),
    case("logdet", near(2)),
    case("cholesky_solve", near(2), ONE),
    case("cholesky_inverse", near(2, 3)),
    case("matrix_exp", near(2, 3)),
]


@pytest.mark.parametrize("function, arrays", ERRORS)
def test_an_error(function: Callable[..., Any], arrays: tuple[Array, ...]) -> None:
    assert_same_error(function, *arrays)


@pytest.mark.parametrize("function", [jitgrad.linalg.inv, jitgrad.linalg.cholesky, jitgrad.inverse])
def test_a_matrix_without_a_result_raises_lin_alg_error(function: Callable[..., Any]) -> None:
    with pytest.raises(jitgrad.linalg.LinAlgError):
        function(jitgrad.zeros(2, 2))
    assert issubclass(jitgrad.linalg.LinAlgError, RuntimeError)


def test_multi_dot_of_matrices_that_do_not_fit() -> None:
    assert_same_error(lambda library, *m: library.linalg.multi_dot(list(m)), near(2, 2), near(3, 3))
    assert_same_error(lambda library, *m: library.linalg.multi_dot(list(m)), near(2, 2))


def test_the_ex_functions_tell_what_failed() -> None:
    _, info = jitgrad.linalg.inv_ex(jitgrad.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]))
    assert info.tolist() == [0, 2] and info.dtype is jitgrad.int32
    _, info = jitgrad.linalg.cholesky_ex(jitgrad.tensor([[1.0, 2.0], [2.0, 1.0]]))
    assert info.item() == 2


@pytest.mark.parametrize("mode", ["r", "complete"])
def test_qr_without_a_derivative(mode: str) -> None:
    def function(library: Any, x: Any) -> Any:
        _, r = library.linalg.qr(x, mode)
        r.sum().backward()

    assert_same(
        lambda library, x: tuple(abs(p) for p in library.linalg.qr(x.detach(), mode)), near(4, 3), named=False
    )
    assert_same_error(function, near(4, 3), words="mode='")


@pytest.mark.parametrize("p", [1, "fro", math.inf])
def test_the_condition_by_norms(p: Any) -> None:
    """Of which PyTorch itself cannot take the derivative."""
    assert_same(lambda library, x: library.linalg.cond(x.detach(), p), square(2))


@pytest.mark.parametrize("p", [1, "fro", math.inf])
def test_the_condition_of_a_singular_matrix_is_infinite(p: Any) -> None:
    assert jitgrad.linalg.cond(jitgrad.ones(2, 2), p).item() == math.inf


def test_results_have_names() -> None:
    x = jitgrad.eye(2)
    assert jitgrad.linalg.svd(x).S.tolist() == [1.0, 1.0]
    assert jitgrad.linalg.eigh(x).eigenvalues.tolist() == [1.0, 1.0]
    assert repr(jitgrad.linalg.slogdet(x)).startswith("torch.return_types.linalg_slogdet(\nsign=tensor(1.)")


def test_out() -> None:
    x, out = jitgrad.tensor([[2.0, 0.0], [0.0, 4.0]]), jitgrad.zeros(2, 2)
    assert jitgrad.linalg.inv(x, out=out) is out
    assert out.tolist() == [[0.5, 0.0], [0.0, 0.25]]
