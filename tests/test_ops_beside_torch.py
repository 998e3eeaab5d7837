"""Special functions, linear algebra, order statistics and scatters give PyTorch's values and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from jitgrad.adjoint import cotangents
from jitgrad.ir import Aval, Graph, as_node, input_node, interpret
from jitgrad.ops import COMPOSITES, OPS

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(7)


def near(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    return rng.uniform(low, high, shape)


def square(*lead: int, n: int = 3) -> Array:
    return near(*lead, n, n, low=-0.3, high=0.3) + np.diag(np.arange(1.0, n + 1))


def positive(*lead: int, n: int = 3) -> Array:
    x = square(*lead, n=n)
    return (x + np.swapaxes(x, -1, -2)) / 2


def op(name: str) -> Callable[..., Any]:
    return COMPOSITES.get(name) or OPS[name]


def outputs_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def ours(function: Callable[..., Any], arrays: list[Array], second: bool) -> list[Array]:
    """Values, first and, if asked for, second derivatives along fixed random directions."""
    inputs = [input_node(Aval(a.shape, a.dtype)) for a in arrays]
    outputs = [as_node(o) for o in outputs_of(function(*inputs))]
    results, sources = list(outputs), [i for i in inputs if i.dtype.kind == "f"]
    seeds = [as_node(weights(o.shape)) for o in outputs if o.dtype.kind == "f"]
    grads = cotangents([o for o in outputs if o.dtype.kind == "f"], seeds, sources)
    results += grads
    if second:
        results += cotangents(list(grads), [as_node(weights(g.shape)) for g in grads], sources)
    return list(interpret(Graph(tuple(inputs), tuple(results)), *arrays))


def theirs(function: Callable[..., Any], arrays: list[Array], second: bool) -> list[Array]:
    inputs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    outputs = outputs_of(function(*inputs))
    results, sources = list(outputs), [i for i in inputs if i.requires_grad]
    total = sum((o * torch.tensor(weights(o.shape))).sum() for o in outputs if o.dtype.is_floating_point)
    grads = torch.autograd.grad(total, sources, create_graph=second, allow_unused=True)
    grads = [torch.zeros_like(s) if g is None else g for g, s in zip(grads, sources, strict=True)]
    results += grads
    if second:
        total = sum((g * torch.tensor(weights(g.shape))).sum() for g in grads)
        seconds = [None] * len(sources)
        if total.requires_grad:
            seconds = torch.autograd.grad(total, sources, allow_unused=True)
        results += [torch.zeros_like(s) if g is None else g for g, s in zip(seconds, sources, strict=True)]
    return [r.detach().numpy() for r in results]


def weights(shape: Any) -> Array:
    return np.random.default_rng(len(shape) + sum(shape)).uniform(0.5, 1.5, tuple(shape))


def check(
    function: Callable[..., Any], other: Callable[..., Any], *arrays: Array, second: bool = True
) -> None:
    with np.errstate(all="ignore"):
        got = ours(function, list(arrays), second)
    for place, (x, y) in enumerate(zip(got, theirs(other, list(arrays), second), strict=True)):
        np.testing.assert_allclose(x, y, 1e-9, 1e-9, err_msg=f"result {place}")


WIDE = near(40, low=-6, high=6)
POSITIVE = near(40, low=0.05, high=30)
UNIT = near(40, low=0.01, high=0.99)
ODD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])

ELEMENTWISE: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "erfc": (torch.erfc, (WIDE,)),
    "erfcx": (torch.special.erfcx, (WIDE,)),
    "erfinv": (torch.erfinv, (2 * UNIT - 1,)),
    "ndtr": (torch.special.ndtr, (WIDE,)),
    "ndtri": (torch.special.ndtri, (UNIT,)),
    "log_ndtr": (torch.special.log_ndtr, (WIDE,)),
    "lgamma": (torch.lgamma, (POSITIVE,)),
    "digamma": (torch.digamma, (POSITIVE,)),
    "xlogy": (torch.xlogy, (WIDE, POSITIVE)),
    "xlog1py": (torch.special.xlog1py, (WIDE, POSITIVE)),
    "entr": (torch.special.entr, (POSITIVE,)),
    "logit": (torch.logit, (UNIT,)),
    "log_sigmoid": (torch.nn.functional.logsigmoid, (WIDE,)),
    "i0": (torch.i0, (WIDE,)),
    "i0e": (torch.special.i0e, (WIDE,)),
    "i1": (torch.special.i1, (WIDE,)),
    "i1e": (torch.special.i1e, (WIDE,)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_special_functions_are_those_of_torch(name: str) -> None:
    other, arrays = ELEMENTWISE[name]
    check(op(name), other, *arrays)


@pytest.mark.parametrize("name", sorted(ELEMENTWISE.keys() - {"i0", "i1", "digamma", "lgamma"}))
def test_special_functions_at_zeros_and_infinities_are_those_of_torch(name: str) -> None:
    other, arrays = ELEMENTWISE[name]
    if len(arrays) == 1:
        with np.errstate(all="ignore"):
            got, expected = op(name)(ODD), other(torch.tensor(ODD)).numpy()
    else:
        pairs = np.meshgrid(ODD, np.append(ODD, [-1.0, 1.0]))
        with np.errstate(all="ignore"):
            got, expected = op(name)(*pairs), other(*map(torch.tensor, pairs)).numpy()
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("name", ["i0", "i1", "digamma", "lgamma"])
def test_limits_at_infinity(name: str) -> None:
    with np.errstate(all="ignore"):
        got = op(name)(np.array([np.inf, np.nan, 800.0 if name[0] == "i" else np.inf]))
    np.testing.assert_array_equal(got, [np.inf, np.nan, np.inf])


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_polygamma_is_that_of_torch(order: int) -> None:
    check(lambda x: op("polygamma")(order, x), lambda x: torch.polygamma(order, x), POSITIVE)


def test_mvlgamma_is_that_of_torch() -> None:
    check(lambda x: op("mvlgamma")(x, 3), lambda x: torch.mvlgamma(x, 3), POSITIVE + 2)


def test_logit_clips_to_eps_as_torch_does() -> None:
    x = np.array([-0.5, 0.05, 0.1, 0.3, 0.9, 2.0])
    check(lambda x: op("logit")(x, 0.1), lambda x: torch.logit(x, 0.1), x)


# Linear algebra -------------------------------------------------------------------------------------------

SYMMETRIC = op("as_symmetric")

LINEAR: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Array, ...]]] = {
    "inv": (op("inv"), torch.linalg.inv, (square(2),)),
    "det": (op("det"), torch.linalg.det, (square(2),)),
    "slogdet": (op("slogdet"), torch.linalg.slogdet, (-square(2),)),
    "solve": (op("solve"), torch.linalg.solve, (square(2), near(2, 3, 2))),
    "solve with a vector": (op("solve"), torch.linalg.solve, (square(), near(3))),
    "solve_triangular": (
        lambda a, b: op("solve_triangular")(a, b, upper=True),
        lambda a, b: torch.linalg.solve_triangular(a, b, upper=True),
        (square(2), near(2, 3, 2)),
    ),
    "solve_triangular from the right": (
        lambda a, b: op("solve_triangular")(a, b, upper=False, left=False, unitriangular=True),
        lambda a, b: torch.linalg.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
        (square(), near(2, 3)),
    ),
    "cholesky": (lambda a: op("cholesky")(SYMMETRIC(a)), torch.linalg.cholesky, (positive(2),)),
    "cholesky_solve": (
        op("cholesky_solve"),
        lambda b, factor: torch.cholesky_solve(b, torch.tril(factor)),
        (near(3, 2), square()),
    ),
    "cholesky_inverse": (
        op("cholesky_inverse"),
        lambda factor: torch.cholesky_inverse(torch.tril(factor)),
        (square(),),
    ),
    "eigvalsh": (lambda a: op("eigvalsh")(SYMMETRIC(a)), torch.linalg.eigvalsh, (positive(2),)),
    "svdvals": (op("svdvals"), torch.linalg.svdvals, (near(4, 3),)),
    "qr": (op("qr"), torch.linalg.qr, (near(4, 3),)),
    "wide qr": (op("qr"), torch.linalg.qr, (near(2, 4),)),
    "pinv": (op("pinv"), torch.linalg.pinv, (near(4, 3),)),
    "matrix_exp": (op("matrix_exp"), torch.linalg.matrix_exp, (near(2, 3, 3),)),
    "matrix_power": (
        lambda a: op("matrix_power")(a, -3),
        lambda a: torch.linalg.matrix_power(a, -3),
        (square(),),
    ),
    "lstsq": (op("lstsq"), lambda a, b: torch.linalg.lstsq(a, b).solution, (near(4, 3), near(4, 2))),
    "lu": (op("lu"), torch.linalg.lu, (near(2, 3, 3),)),
    "lu of a tall matrix": (op("lu"), torch.linalg.lu, (near(4, 2),)),
    "lu of a wide matrix": (op("lu"), torch.linalg.lu, (near(2, 4),)),
    "lu_factor": (op("lu_factor"), torch.linalg.lu_factor, (near(4, 4),)),
    "lu_solve": (
        lambda a, b: op("lu_solve")(*op("lu_factor")(a), b),
        lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b),
        (near(3, 3), near(3, 2)),
    ),
    "lu_solve of the transpose": (
        lambda a, b: op("lu_solve")(*op("lu_factor")(a), b, adjoint=True),
        lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b, adjoint=True),
        (near(3, 3), near(3, 2)),
    ),
    "nuclear norm": (
        lambda a: op("matrix_norm")(a, ord="nuc"),
        lambda a: torch.linalg.matrix_norm(a, "nuc"),
        (near(3, 2),),
    ),
    "cond": (op("cond"), torch.linalg.cond, (square(),)),
    "diag_embed": (
        lambda x: op("diag_embed")(x, -1, 0, 2),
        lambda x: torch.diag_embed(x, -1, 0, 2),
        (near(2, 3),),
    ),
    "block_diag": (op("block_diag"), torch.block_diag, (near(2, 3), near(2))),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_algebra_is_that_of_torch(name: str) -> None:
    function, other, arrays = LINEAR[name]
    check(function, other, *arrays)


def test_eigenvectors_are_those_of_torch_up_to_their_signs() -> None:
    def projectors(vectors: Any) -> Any:
        return vectors[:, 0:1] * vectors[:, 0:1].T + 2 * (vectors[:, 2:3] * vectors[:, 2:3].T)

    def function(a: Any) -> Any:
        values, vectors = op("eigh")(SYMMETRIC(a))
        first, last = (op("getitem")(vectors, (slice(None), slice(i, i + 1))) for i in (0, 2))
        turned = [op("matrix_transpose")(v) for v in (first, last)]
        return values, first * turned[0] + 2 * (last * turned[1])

    def other(a: Any) -> Any:
        values, vectors = torch.linalg.eigh(a)
        return values, projectors(vectors)

    check(function, other, positive())


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_a_matrix_function_by_singular_vectors_is_that_of_torch(shape: tuple[int, int]) -> None:
    def function(a: Any) -> Any:
        u, s, vh = op("svd")(a, full_matrices=False)
        return op("matmul")(u * s * s, vh)

    def other(a: Any) -> Any:
        u, s, vh = torch.linalg.svd(a, full_matrices=False)
        return (u * s * s) @ vh

    check(function, other, near(*shape))


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_all_singular_vectors_of_a_rectangle(shape: tuple[int, int]) -> None:
    x = near(*shape)

    def function(a: Any) -> Any:
        u, s, vh = op("svd")(a)
        k = s.shape[0]
        left = op("getitem")(u, (slice(None), slice(0, k)))
        return op("matmul")(left * s * s, op("getitem")(vh, slice(0, k)))

    def other(a: Any) -> Any:
        u, s, vh = torch.linalg.svd(a)
        k = s.shape[0]
        return (u[:, :k] * s * s) @ vh[:k]

    check(function, other, x)
    for got, expected in zip(op("svd")(x), np.linalg.svd(x), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "x", [np.zeros((3, 3)), np.array([[1.0, 2.0], [2.0, 4.0]]), np.diag([1.0, 2.0, 0.0])]
)
def test_the_first_derivative_of_a_singular_determinant_is_that_of_torch(x: Array) -> None:
    """Torch's own is zero unless it is asked for a graph of it."""
    matrix = torch.tensor(x, requires_grad=True)
    (expected,) = torch.autograd.grad(torch.linalg.det(matrix), matrix, create_graph=True)
    factor = weights(())
    _, got = ours(op("det"), [x], second=False)
    np.testing.assert_allclose(got, expected.detach().numpy() * factor, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "other"), [("eigvalsh", torch.linalg.eigvalsh), ("svdvals", torch.linalg.svdvals)]
)
def test_the_sum_of_equal_eigenvalues_or_singular_values_has_a_derivative(name: str, other: Any) -> None:
    check(lambda a: op("sum")(op(name)(SYMMETRIC(a))), lambda a: other(a).sum(), np.eye(3), second=False)


@pytest.mark.parametrize("upper", [False, True])
def test_a_symmetric_matrix_is_read_from_one_triangle_and_differentiated_in_both(upper: bool) -> None:
    x = square()
    uplo = "U" if upper else "L"
    check(lambda a: op("eigvalsh")(SYMMETRIC(a, upper)), lambda a: torch.linalg.eigvalsh(a, uplo), x)


# Scans and ranks ------------------------------------------------------------------------------------------

TIED = np.array([[2.0, 1.0, 2.0, 3.0, 2.0], [0.0, 0.0, 1.0, 1.0, 5.0]])
WITH_NAN = np.array([1.0, 1.0, np.nan, 3.0, np.nan, 0.0])

RANKS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Array, ...]]] = {
    "cummax": (op("cummax"), lambda x: torch.cummax(x, -1), (TIED,)),
    "cummin": (lambda x: op("cummin")(x, 0), lambda x: torch.cummin(x, 0), (TIED,)),
    "cumprod": (lambda x: op("cumprod")(x, -1), lambda x: torch.cumprod(x, -1), (TIED,)),
    "logcumsumexp": (
        op("logcumsumexp"),
        lambda x: torch.logcumsumexp(x, -1),
        (near(3, 7, low=-40, high=40),),
    ),
    "topk": (lambda x: op("topk")(x, 3), lambda x: torch.topk(x, 3), (near(3, 7),)),
    "sort": (
        lambda x: op("sort_with_index")(x, -1, True),
        lambda x: torch.sort(x, descending=True, stable=True),
        (TIED,),
    ),
    "kthvalue": (lambda x: op("kthvalue")(x, 4), lambda x: torch.kthvalue(x, 4), (near(3, 7),)),
    "mode": (op("mode"), lambda x: torch.mode(x, -1), (TIED,)),
    "median": (op("lower_median"), lambda x: torch.median(x, -1), (near(3, 6),)),
    "nanmedian": (
        lambda x: op("lower_median")(x, skip_nan=True),
        lambda x: torch.nanmedian(x, -1),
        (np.array([1.0, np.nan, 3.0, np.nan, 0.0]),),
    ),
    "median of all": (op("median_of_all"), torch.median, (TIED,)),
    "quantile": (
        lambda x: op("quantile")(x, np.array([0.2, 0.6]), 1),
        lambda x: torch.quantile(x, torch.tensor([0.2, 0.6], dtype=torch.float64), 1),
        (near(3, 7),),
    ),
    "nanquantile": (
        lambda x: op("nanquantile")(x, 0.3, 1),
        lambda x: torch.nanquantile(x, 0.3, 1),
        (np.where(near(3, 7) > 1, np.nan, near(3, 7)),),
    ),
    "nansum": (op("nansum"), torch.nansum, (WITH_NAN,)),
    "nanmean": (op("nanmean"), torch.nanmean, (WITH_NAN,)),
    "cov": (op("cov"), torch.cov, (near(3, 6),)),
    "weighted cov": (
        lambda x, w: op("cov")(x, ddof=0, fweights=np.array([1, 2, 3, 1]), aweights=w),
        lambda x, w: torch.cov(x, correction=0, fweights=torch.tensor([1, 2, 3, 1]), aweights=w),
        (near(3, 4), near(4, low=1, high=2)),
    ),
    "corrcoef": (op("corrcoef"), torch.corrcoef, (near(3, 6),)),
    "gradient": (
        lambda x: op("gradient")(x, 0.5, edge_order=2),
        lambda x: torch.gradient(x, spacing=0.5, edge_order=2),
        (near(4, 5),),
    ),
    "cosine_similarity": (op("cosine_similarity"), torch.cosine_similarity, (near(3, 4), near(3, 4))),
    "pairwise_distance": (op("pairwise_distance"), torch.pairwise_distance, (near(3, 4), near(3, 4))),
    "pdist": (op("pdist"), torch.pdist, (near(4, 3),)),
}


@pytest.mark.parametrize("name", RANKS)
def test_scans_and_ranks_are_those_of_torch(name: str) -> None:
    function, other, arrays = RANKS[name]
    check(function, other, *arrays, second=name != "pdist")


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_a_nan_stays_the_extreme(name: str) -> None:
    expected = getattr(torch, name)(torch.tensor(WITH_NAN), 0)
    for got, other in zip(op(name)(WITH_NAN), expected, strict=True):
        np.testing.assert_array_equal(got, other.numpy())


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_distances_and_their_derivatives_at_zero_are_those_of_torch(p: float) -> None:
    points = near(3, 2), near(4, 2)
    check(lambda x, y: op("cdist")(x, y, p), lambda x, y: torch.cdist(x, y, p), *points, second=False)
    touching = np.zeros((2, 2)), np.array([[0.0, 0.0], [3.0, 4.0]])
    check(lambda x, y: op("cdist")(x, y, p), lambda x, y: torch.cdist(x, y, p), *touching, second=False)


def test_counts_are_those_of_torch() -> None:
    x = near(200, low=-3, high=3)
    np.testing.assert_array_equal(op("histc")(x, 7, -2, 2), torch.histc(torch.tensor(x), 7, -2, 2).numpy())
    ranked, values = np.sort(near(2, 6)), near(2, 5)
    for side in ("left", "right"):
        expected = torch.searchsorted(torch.tensor(ranked), torch.tensor(values), side=side)
        np.testing.assert_array_equal(op("searchsorted")(ranked, values, side), expected.numpy())


# Scatters -------------------------------------------------------------------------------------------------

INDEX = np.array([[1, 3], [0, 0]])
ROWS = np.array([2, 0, 2])
X = near(3, 4)

SCATTERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Array, ...]]] = {
    "gather": (
        lambda x: op("gather_along")(x, INDEX, 1),
        lambda x: torch.gather(x, 1, torch.tensor(INDEX)),
        (X,),
    ),
    "scatter": (
        lambda x, v: op("put_along")(x, INDEX[:1], v, 1),
        lambda x, v: torch.scatter(x, 1, torch.tensor(INDEX[:1]), v),
        (X, near(1, 2)),
    ),
    "scatter_add": (
        lambda x, v: op("add_along")(x, INDEX, v, 1),
        lambda x, v: torch.scatter_add(x, 1, torch.tensor(INDEX), v),
        (X, near(2, 2)),
    ),
    "scatter_reduce amax": (
        lambda x, v: op("max_along")(x, INDEX, v, 1),
        lambda x, v: torch.scatter_reduce(x, 1, torch.tensor(INDEX), v, "amax"),
        (X, near(2, 2)),
    ),
    "scatter_reduce amin with ties": (
        lambda x, v: op("min_along")(x, INDEX, v, 1),
        lambda x, v: torch.scatter_reduce(x, 1, torch.tensor(INDEX), v, "amin"),
        (np.ones((3, 4)), np.ones((2, 2))),
    ),
    "index_add": (
        lambda x, v: op("index_add")(x, 0, ROWS, v),
        lambda x, v: torch.index_add(x, 0, torch.tensor(ROWS), v),
        (X, near(3, 4)),
    ),
    "index_copy": (
        lambda x, v: op("index_copy")(x, 0, ROWS[:2], v),
        lambda x, v: torch.index_copy(x, 0, torch.tensor(ROWS[:2]), v),
        (X, near(2, 4)),
    ),
    "index_fill": (
        lambda x: op("index_fill")(x, 1, ROWS, 7.0),
        lambda x: torch.index_fill(x, 1, torch.tensor(ROWS), 7.0),
        (X,),
    ),
    "masked_scatter": (
        lambda x, v: op("masked_scatter")(x, X > 0, v),
        lambda x, v: torch.masked_scatter(x, torch.tensor(X > 0), v),
        (near(3, 4), near(12)),
    ),
    "bincount": (
        lambda w: op("bincount")(ROWS, w, 5),
        lambda w: torch.zeros(5, dtype=torch.float64).index_add(0, torch.tensor(ROWS), w),
        (near(3),),
    ),
}


@pytest.mark.parametrize("name", SCATTERS)
def test_scatters_are_those_of_torch(name: str) -> None:
    function, other, arrays = SCATTERS[name]
    check(function, other, *arrays)


def test_several_additions_to_one_element_are_made_in_the_order_of_the_index() -> None:
    values = near(1000).astype(np.float32) * np.logspace(-6, 6, 1000, dtype=np.float32)
    index, start = np.zeros(1000, np.int64), np.ones(1, np.float32)
    expected = torch.scatter_add(*map(torch.tensor, (start,)), 0, torch.tensor(index), torch.tensor(values))
    np.testing.assert_array_equal(op("add_along")(start, index, values, 0), expected.numpy())
