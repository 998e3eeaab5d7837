"""Functions that join, rearrange, select, order and count elements do what PyTorch's do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from side_by_side import must_agree, outcome

import jitgrad

Array = np.ndarray[Any, Any]

draw = np.random.default_rng(0)
FLOATS: dict[str, Array] = {
    "x": draw.normal(size=(3, 4)),
    "y": draw.normal(size=(3, 4)),
    "s": draw.normal(size=(3, 3)),
    "c": draw.normal(size=(2, 3, 4)),
    "v": draw.normal(size=4),
    "z": np.asarray(1.5),
    "e": np.zeros((0, 3)),
    "t": np.array([2.0, 1.0, 2.0, 0.0, 1.0, 2.0]),  # ties
    "h": np.array([np.nan, 1.0, 3.0, np.nan, 2.0]),  # holes
    "q": np.array([0.0, 0.3, 1.0]),
}
FIXED: dict[str, Array] = {
    "i": np.array([[0, 1, 2, 0], [2, 0, 0, 1]]),
    "l": np.array([2, 0]),
    "r": np.array([0, 1, 0, 1, 1, 0]),
    "m": np.array([[True, False, True, True], [False] * 4, [True] * 4]),
    "b": np.array([True, False, True]),
    "k": np.array([1, 2, 0]),
}

JOINED = """
T.cat([x, y])|T.cat([x, y, x], 1)|T.cat((x, e.reshape(0), y), -1)|T.cat([x])|T.concat([x, y], axis=1)
T.concatenate([x, y.float()])|T.cat([l, v])|T.cat([b, l])|T.stack([x, y])|T.stack((x, y), -1)
T.stack([z, z])|T.hstack([x, y])|T.hstack([v, v])|T.hstack([z, z])|T.vstack([v, x])|T.row_stack([v, v])
T.dstack([x, y])|T.dstack([v, v])|T.column_stack([v, v])|T.column_stack([s, x])|T.block_diag(x, v, z)
T.block_diag()|T.block_diag(l, x)|T.meshgrid(v, q, indexing="ij")|T.meshgrid([v, q, z], indexing="xy")
T.cartesian_prod(v, q)|T.cartesian_prod(v)|T.combinations(v)|T.combinations(v, 3)|T.combinations(v, 0)
T.combinations(v, 2, True)|T.combinations(v, 9)|T.atleast_1d(z)|T.atleast_2d(v)|T.atleast_3d(v)
T.atleast_3d(x)|T.atleast_2d(z, v, x)|T.atleast_3d([z, c])
"""

ARRANGED = """
x.repeat(2, 1)|x.repeat(2, 1, 3)|z.repeat(3)|x.repeat(0, 1)|x.tile(2)|T.tile(x, (2, 1, 2))
x.repeat_interleave(2)|x.repeat_interleave(2, 0)|x.repeat_interleave(k, 0)|T.repeat_interleave(k)
z.repeat_interleave(2)|x.repeat_interleave(T.tensor([2]), dim=1)|x.flip(0)|x.flip(0, 1)|T.flip(x, (-1,))
x.flip(())|x.fliplr()|x.flipud()|z.flip(())|x.roll(1)|x.roll(5, 1)|x.roll((1, -1), (0, 1))|e.roll(1, 0)
x.rot90()|x.rot90(2)|x.rot90(3)|x.rot90(4)|x.rot90(-1)|c.rot90(1, (1, 2))|x.tril()|x.triu(1)|c.tril(-1)
x.triu(diagonal=-9)|T.tril_indices(3, 4)|T.triu_indices(3, 4, 1)|T.tril_indices(2, 2, -1, dtype=T.int32)
v.diag()|x.diag()|v.diag(1)|x.diag(-1)|x.diagonal()|x.diagonal(1)|x.diagonal(-2)|x.diagonal(9)
c.diagonal(0, 1, 2)|c.diagonal(1, -1, 0)|x.diag_embed()|x.diag_embed(1)|x.diag_embed(-1, 0, 2)
v.diag_embed(0, 1, 0)|x.diagflat()|z.diagflat(1)|x.trace()|x.unfold(1, 2, 1)|x.unfold(1, 2, 2)
x.unfold(0, 2, 3)|c.unfold(-1, 3, 1)|z.unfold(0, 1, 1)|x.t().unfold(0, 2, 1)|x.as_strided((2, 2), (1, 2))
x.as_strided((3, 2), (4, 1), 1)|x[1:].as_strided((2, 2), (4, 1))|x.t().as_strided((2,), (3,))
T.constant_pad_nd(x, (1, 2))|T.constant_pad_nd(x, (-1, 0, 1, 1), 2.5)|T.constant_pad_nd(c, (0, 0, -1, 1))
x.select_scatter(v, 0, 1)|x.select_scatter(k.double(), -1, -1)|x.slice_scatter(x[:2], 0, 1)
x.slice_scatter(x[:, :2], 1, 0, 4, 2)|x.diagonal_scatter(k.double())|x.diagonal_scatter(z.reshape(1), -2)
x.narrow_copy(1, 1, 2)
"""

SELECTED = """
x.gather(0, i)|x.gather(1, i)|T.gather(x, 1, i[:, :1].int())|z.gather(0, l * 0)|v.gather(0, l)|x.take(l)
x.take(-1 - i)|x.take_along_dim(i, 0)|x.take_along_dim(l)|x.take_along_dim(i[:1, :1], 1)
x.index_select(0, l)|x.index_select(1, l)|z.index_select(0, l[1:])|x.masked_select(m)|x.masked_select(m[0])
v.masked_select(m)|z.masked_select(b)|x.nonzero()|T.nonzero(x, as_tuple=True)|z.nonzero()
T.nonzero(z, as_tuple=True)|m.argwhere()|T.nonzero_static(m, size=3)
T.nonzero_static(b, size=4, fill_value=7)|T.bucketize(x, q)|T.bucketize(0.3, q)
T.bucketize(h, q, right=True, out_int32=True)|T.searchsorted(q, x)|T.searchsorted(q, x, side="right")
T.searchsorted(x.sort().values, y)|T.searchsorted(q, 0.3)|T.searchsorted(v, x, sorter=v.argsort())
T.searchsorted(T.tensor([1.0, float("nan")]), h)|T.unravel_index(l, (2, 3))|T.unravel_index(i, 5)
"""

WRITTEN = """
x.index_add(0, l, y[:2])|x.index_add(1, T.tensor([0, 0, 1]), s, alpha=2)|x.index_copy(0, l, y[:2])
x.index_copy(1, T.tensor([3]), y[:, :1])|x.index_copy(0, T.tensor([1, 1]), y[:2])|x.index_fill(0, l, 2.0)
x.detach().index_fill(1, T.tensor([-1]), z.detach())|x.index_put((l,), v)|x.index_put((l, l), z)
x.index_put((T.tensor([1, 1]),), y[:2])|x.index_put((T.tensor([1, 1]),), y[:2], accumulate=True)
x.index_put((m,), z)|x.index_put((b, T.tensor(-1)), q[:2])|x.put(l, v[:2])|x.put(T.tensor([1, 1]), v[:2])
x.put(i, x[:2], accumulate=True)|x.masked_scatter(m, y)|x.masked_scatter(m[0], c)|v.masked_scatter(m, c)
x.scatter(0, i, y[:2])|x.scatter(1, i, y[:2])|x.scatter(1, i, 2.0)|x.scatter(0, l[:, None], value=3)
x.scatter(0, i, y, reduce="add")|z.scatter(0, l[1], z)|x.scatter(0, i, 2.0, reduce="multiply")
x.scatter_add(0, i, y[:2])|x.scatter_add(1, i[:, :3], y[:2, :3])|x.scatter(0, i[:0], y[:0])
x.detach().scatter_add(1, i[:, :3], y.detach())|x.detach().scatter(0, i, y.detach())
"""

ORDERED = """
x.sort()|x.sort(0, True)|t.sort()|t.sort(descending=True)|t.sort(stable=True)|h.sort()
h.sort(descending=True)|z.sort()|x.argsort()|t.argsort(descending=True)|T.argsort(x, dim=0, stable=True)
x.msort()|x.topk(2)|x.topk(3, 0, False)|x.topk(0)|z.topk(1)|h.topk(3)|x.kthvalue(2)|x.kthvalue(1, 0, True)
z.kthvalue(1)|h.kthvalue(3)|x.median()|x.median(1)|x.median(0, True)|t.median()|t.median(0)|h.median()
h.median(0)|h.nanmedian()|h.nanmedian(0)|x.nanmedian(1)|e.median()|e.median(1)|t.mode()|x.mode(0)|z.mode()
e.mode(1)|x.quantile(0.3)|x.quantile(q)|x.quantile(q, 1)|x.quantile(q, 0, True)
x.quantile(0.5, keepdim=True)|h.quantile(0.5)|h.nanquantile(q)|z.quantile(0.2)|x.cummax(0)|x.cummin(1)
t.cummax(0)|t.cummin(0)|h.cummax(0)|z.cummax(0)|e.detach().cummin(0)|x.cumsum(0)
x.detach().cumsum(-1, dtype=T.float32)|z.cumsum(0)|x.cumprod(1)|t.cumprod(0)|e.cumprod(0)|x.logcumsumexp(0)
z.logcumsumexp(0)
"""

MEASURED = """
x.diff()|x.diff(2, 0)|x.diff(n=1, prepend=y, append=x)|x.diff(9)|x.diff(0)|b.diff()|T.trapezoid(x)
T.trapz(x, dim=0)|T.trapezoid(x, v)|T.trapezoid(x, y)|T.trapezoid(x, dx=0.5)|T.trapezoid(c, x)
T.cumulative_trapezoid(x)|T.trapezoid(e)|T.cumulative_trapezoid(x, v)
T.cumulative_trapezoid(x, dx=2.0, dim=0)|T.gradient(x)|T.gradient(v, spacing=0.5)
T.gradient(x, spacing=(2.0, 0.5))|T.gradient(v, spacing=(v * v + T.arange(4.0, dtype=T.float64),))
T.gradient(c, dim=(2,))|T.gradient(x, dim=1, edge_order=2)|T.gradient(l)|x.renorm(2, 0, 1.0)
x.renorm(1, 1, 0.5)|c.renorm(float("inf"), 1, 1)|x.dist(y)|x.dist(y, 1)|x.detach().dist(y.detach(), 0)
x.dist(y, float("inf"))|x.dist(v, 3)|x.dist(x)|T.cdist(x, y)|T.cdist(x, y, p=1)|T.cdist(x, y, p=0)
T.cdist(x, y, p=float("inf"))|T.cdist(x, x, p=3.0)|T.cdist(c, x)|T.pdist(x)|T.pdist(x, 1)|x.cov()|v.cov()
z.cov()|x.cov(correction=0)|x.cov(fweights=T.tensor([1, 2, 3, 4]))|x.cov(aweights=v * v)|l.cov()
x.cov(fweights=T.tensor([1, 2, 3, 4]), aweights=v * v)|x.corrcoef()|v.corrcoef()|T.cross(s, s * s, dim=1)
T.cross(s[:1], s, dim=1)|T.cross(x, y, dim=0)|T.vander(v.detach())|T.vander(v.detach(), 3, True)|T.vander(l)
T.vander(v, 0)
"""

COUNTED = """
t.unique()|T.unique(t, return_inverse=True, return_counts=True)|i.unique(return_inverse=True)
h.unique(return_counts=True)|i.unique(dim=0)|i.unique(dim=1, return_inverse=True, return_counts=True)
e.unique()|e.unique(dim=0)|z.unique()|T.unique_consecutive(r)
r.unique_consecutive(return_inverse=True, return_counts=True)|i.unique_consecutive(dim=1)
T.unique_consecutive(h)|r.bincount()|r.bincount(minlength=5)|T.bincount(r, t)|T.bincount(l, v[:2].float())
x.detach().histc()|x.detach().histc(4, -1, 1)|x.histogram(4)|T.histogram(x, q)
T.histogram(x, 3, range=(-1.0, 1.0))|T.histogram(x, 3, weight=y.detach())|T.histogram(x, 3, density=True)
T.histogramdd(x, 2)|T.histogramdd(x[:, :2], (q, q), density=True)
"""

REFUSED = """
T.cat([])|T.cat([z, z])|T.cat([x, s])|T.cat([x, v])|T.cat([x, 1])|T.cat(x)|T.cat([x], 2)|T.stack([])
T.stack([x, v])|T.stack([x], 5)|T.hstack([])|T.block_diag(c)|T.meshgrid(v, l, indexing="ij")
T.meshgrid(v, indexing="q")|T.meshgrid(indexing="ij")|T.cartesian_prod(x)|T.combinations(x)
T.combinations(v, -1)|x.repeat(2)|x.repeat(-1, 2)|x.repeat_interleave(-1, 0)|x.repeat_interleave(l, 0)
T.repeat_interleave(q)|T.repeat_interleave(-k)|x.repeat_interleave(1.5)|x.flip(0, 0)|x.flip(5)|x.flip()
T.flip(x, 0)|v.fliplr()|z.flipud()|x.roll((1, 2))|x.roll((), ())|x.roll(1, 5)|z.roll(1, 0)|x.rot90(1, [0])
x.rot90(1, [0, -2])|v.rot90()|v.tril()|T.tril_indices(-1, 2)|c.diag()|z.diag()|v.diagonal()
x.diagonal(0, 1, 1)|x.diag_embed(0, 1, 1)|z.diag_embed()|v.trace()|b.diag().trace()|x.unfold(1, 9, 1)
x.unfold(1, 2, 0)|x.unfold(2, 2, 1)|x.unfold(1, -1, 1)|x.as_strided((3,), (1, 2))|x.as_strided((13,), (1,))
x.as_strided((3,), (-1,))|T.constant_pad_nd(x, (1,))|T.constant_pad_nd(x, (1,) * 6)
T.constant_pad_nd(x, (-3, -3))|x.select_scatter(x, 0, 1)|x.select_scatter(v, 0, 9)
x.slice_scatter(v, 0, 1, 2)|x.slice_scatter(x, 0, 0, 9, 0)|x.diagonal_scatter(v)|x.gather(0, i + 9)
x.gather(0, l)|x.gather(5, i)|x.gather(0, y)|x.gather(0, T.zeros(1, 9, dtype=T.int64))|x.gather(0, i - 1)
x.take(l + 99)|x.take(v)|e.take(l)|x.take(l.int())|x.take_along_dim(l, 0)|x.take_along_dim(y, 0)
x.index_select(0, l + 9)|x.index_select(0, i)|x.index_select(0, v)|z.index_select(0, l)
z.index_add(0, T.tensor([0]), q[1:2])|x.index_add(0, l + 9, x[:2])|x.index_add(0, l, x[:1])
x.index_add(0, l, x[:2].float())|x.index_add(0, i, x[:2])|x.index_add(0, l, s[:2])
x.index_add(0, v[:2], x[:2])|x.index_add(0, l - 1, x[:2])|x.index_copy(0, l + 9, x[:2])
x.index_copy(0, l, x[:1])|x.index_copy(0, l, x[:2].float())|x.index_copy(0, i, x[:2])
x.index_copy(0, l, s[:2])|x.index_copy(0, l.int(), x[:2])|x.index_copy(0, l, z)|x.index_fill(0, l + 9, 1)
x.index_fill(0, i, 1)|x.index_fill(0, l, v)|x.index_fill(0, l.int(), 1)|x.index_fill(0, l, 1j)
x.index_put((l + 9,), z)|x.index_put((l,), q)|x.index_put((l,), z.float())|x.index_put((l, l, l), z)
x.index_put((v,), z)|x.scatter(0, i + 9, y)|x.scatter(0, i, y[:1])|x.scatter(0, l, v)
x.scatter(0, i, y.float())|x.scatter(0, i - 1, 1.0)|x.scatter(0, i, 1.0, reduce="foo")|x.scatter(0, i, z)
x.scatter_add(0, i, y.float())|x.scatter_add(0, i, 2.0)|x.scatter_reduce(0, i, y, "foo")|x.masked_select(y)
x.masked_select(m[:2])|x.masked_scatter(y, x)|x.masked_scatter(m, v)|x.masked_scatter(m, y.float())
x.put(l + 99, v[:2])|x.put(l, v)|x.put(l, v[:2].float())|x.put(l.int(), v[:2])|T.bucketize(x, x)
T.searchsorted(c, x)|T.searchsorted(q, 3, side="foo")|T.searchsorted(z, v)
T.searchsorted(q, 3, side="left", right=True)|T.searchsorted(x, 1)|T.searchsorted(q, v, sorter=l)|x.sort(5)
x.topk(9)|x.topk(-1)|x.topk(1.5)|b.topk(1)|x.kthvalue(9)|x.kthvalue(0)|e.kthvalue(1, 0)|b.kthvalue(1)
e.median(0)|b.median()|e.mode(0)|x.quantile(1.5)|x.quantile(q * 2)|l.quantile(0.5)|x.quantile(q.float())
e.quantile(0.5)|x.quantile(q[:, None])|x.quantile(0.5, interpolation="foo")|x.quantile(0.5, 5)
x.quantile(0.5, (0, 1))|x.quantile("a")|x.cummax(5)|x.cumsum(5)|l.logcumsumexp(0)|z.diff()|x.diff(-1)
x.diff(5, 5)|x.diff(prepend=v)|x.diff(prepend=y[:2])|T.trapezoid(z)|T.trapezoid(b)|T.trapezoid(x, q)
T.trapezoid(q, b)|T.cumulative_trapezoid(b)|T.gradient(z.reshape(1))|T.gradient(x, spacing=(1.0,))
T.gradient(x, edge_order=3)|T.gradient(x, dim=(0, 0))|T.gradient(x, dim=5)|T.gradient(x, spacing=(v, 1.0))
x.renorm(-1, 0, 1.0)|x.renorm(2, 0, -1.0)|v.renorm(2, 0, 1.0)|x.renorm(2, 5, 1.0)|l.dist(l)|x.dist(q)
T.cdist(v, v)|T.cdist(x, s)|T.cdist(l[None], l[None])|T.cdist(x, x, -1.0)|T.cdist(x, x.float())
T.cdist(x, x, compute_mode="foo")|T.pdist(v)|T.pdist(x, -1.0)|c.cov()|x.cov(fweights=v)|x.cov(fweights=k)
x.cov(aweights=T.tensor([1, 2, 3, 4]))|x.cov(aweights=-v * v)|b.cov()|x.cov(fweights=T.tensor([0, 0, 0, 0]))
c.corrcoef()|T.cross(s, v[:3], dim=0)|T.cross(x, x, dim=1)|T.cross(s, s.float(), dim=1)|T.cross(b, b, dim=0)
T.vander(x)|T.vander(v, -1)|T.bincount(-l)|T.bincount(v)|T.bincount(i)|T.bincount(r, v)
T.bincount(l, minlength=-1)|x.histc(4, 3, 1)|l.histc()|x.histc(0)|T.histc(x / 0)|T.histogram(l, 4)
T.histogram(x, q.float())|T.histogram(x, 0)|T.histogram(x, 4, range=(5.0, 1.0))|T.histogram(x, 4, weight=v)
T.histogram(x, x)|T.histogram(x, q[:1])|e.unique(dim=1)|x.unique(dim=5)|z.unique(dim=0)
"""

IN_PLACE = """
x.tril_()|x.triu_(1)|x.index_add_(0, l, y[:2])|x.index_copy_(0, l, y[:2])|x.index_fill_(0, l, 2.0)
x.index_fill_(0, l, z)|x.index_put_((l,), y[:2])|x.index_put_((T.tensor([1, 1]),), y[:2], accumulate=True)
x.put_(l, v[:2])|x.masked_scatter_(m, y)|x.scatter_(0, i, y[:2])|x.scatter_(1, i, 2.0)
x.scatter_add_(0, i, y[:2])|x.scatter_reduce_(0, i, y[:2], "prod")|x.cumsum_(0)|x.cumprod_(1)
x.renorm_(2, 0, 1.0)|x.fill_diagonal_(3.0)|x.fill_diagonal_(2, wrap=True)
x.index_reduce_(0, l, y[:2], "amax")
"""

OUT = {
    "T.cat([x, y], out={})": "x",
    "T.stack([x, y], out={})": "x",
    "T.diag(v, out={})": "x",
    "T.tril(s, out={})": "s",
    "T.gather(x, 0, i, out={})": "x",
    "T.index_select(x, 0, l, out={})": "x",
    "T.masked_select(x, m, out={})": "x",
    "T.nonzero(m, out={})": "l",
    "T.cumsum(x, 0, out={})": "x",
    "T.cumprod(x, 0, out={})": "x",
    "T.quantile(x, 0.5, out={})": "z",
    "T.searchsorted(q, x, out={})": "i",
    "[*T.sort(x, out=({}, l.clone()))]": "x",
    "T.take(x, l, out={})": "v",
    "T.cross(s, s, dim=1, out={})": "s",
}


def calls(texts: str) -> list[str]:
    return [call for line in texts.strip().splitlines() for call in line.split("|")]


CALLS = [
    call
    for texts in (JOINED, ARRANGED, SELECTED, WRITTEN, ORDERED, MEASURED, COUNTED)
    for call in calls(texts)
]


# Programs -------------------------------------------------------------------------------------------------


def tensors(library: Any, dtype: str) -> dict[str, Any]:
    """The operands; of dtype float64 they require gradients."""
    whole = dtype in ("int64", "bool")
    arrays = {name: np.asarray(np.nan_to_num(a) if whole else a).astype(dtype) for name, a in FLOATS.items()}
    cast = {name: library.from_numpy(np.asarray(a)) for name, a in arrays.items()}
    if dtype == "float64":
        cast = {name: t.requires_grad_() for name, t in cast.items()}
    return cast | {name: library.from_numpy(a.copy()) for name, a in FIXED.items()}


def flat(value: Any, library: Any) -> list[Any]:
    if isinstance(value, library.Tensor):
        return [value]
    return [t for item in value for t in flat(item, library)] if isinstance(value, (tuple, list)) else []


def gradients(library: Any, outputs: list[Any], leaves: list[Any]) -> Any:
    """Those of a fixed projection of the outputs, or the class of the error."""
    wanted = [t for t in outputs if t.requires_grad]
    if not wanted:
        return None
    rng = np.random.default_rng(1)
    seeds = [
        library.from_numpy(np.asarray(rng.uniform(0.5, 1, tuple(t.shape)), t.detach().numpy().dtype))
        for t in wanted
    ]
    try:
        found = library.autograd.grad(wanted, leaves, seeds, allow_unused=True)
    except RuntimeError as error:
        return type(error).__name__, str(error)
    return [library.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]


def run(library: Any, call: str, dtype: str, in_place: bool = False) -> Any:
    given = tensors(library, dtype)
    leaves = [t for t in given.values() if t.requires_grad]
    if in_place:
        given["x"] = given["x"].clone()
    result = eval(call, {"T": library, **given})
    outputs = flat(result, library)
    return {
        "result": result,
        "grad_fn": [type(t.grad_fn).__name__ for t in outputs],
        "shared": [t._base is not None for t in outputs],
        "gradients": gradients(library, outputs, leaves),
        "changed": [given["x"], result is given["x"]] if in_place else None,
    }


def both(call: str, dtype: str = "float64", in_place: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    expected, got = (
        outcome(lambda library: run(library, call, dtype, in_place), library) for library in (torch, jitgrad)
    )
    return expected, got


# PyTorch warns of some functions once in a process.
ONCE = ("index_reduce() is in beta", "The reduce argument of torch.scatter", "cov(): degrees")
# Of equal elements these may give any; op_db's samples of floats have none.
UNORDERED = ("x.topk(2)", "x.kthvalue(2)", "x.kthvalue(1, 0, True)")
NO_VIEW = ("x.repeat_interleave(2)", "x.repeat_interleave(2, 0)", "z.repeat_interleave(2)")


def assert_agree(expected: dict[str, Any], got: dict[str, Any]) -> None:
    for seen in (expected, got):
        seen["warnings"] = [w for w in seen["warnings"] if not w[1].startswith(ONCE)]
    must_agree(expected, got)


@pytest.mark.parametrize("call", CALLS)
def test_values_gradients_and_records_are_those_of_pytorch(call: str) -> None:
    expected, got = both(call)
    assert "error" not in expected, expected
    if call in NO_VIEW:  # PyTorch calls the result of a copy a view of it
        expected["result"], got["result"] = ({**e["result"], "shared": None} for e in (expected, got))
    assert_agree(expected, got)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("call", CALLS)
def test_other_dtypes_give_what_pytorch_gives(call: str, dtype: str) -> None:
    expected, got = both(call, dtype)
    if "error" in expected:
        assert "error" in got, got
        assert got["error"][0] == expected["error"][0], (got["error"], expected["error"])
    else:
        assert "error" not in got, got
        first, second = expected["result"]["result"], got["result"]["result"]
        if call in UNORDERED:
            first, second = first[1][0], second[1][0]
        assert_close(first, second)


def assert_close(expected: Any, got: Any) -> None:
    """Like must_agree, with a tolerance for sums in another order."""
    if isinstance(expected, dict):
        assert {k: expected[k] for k in ("dtype", "shape")} == {k: got[k] for k in ("dtype", "shape")}
        tolerance = 1e-5 if "float" in expected["dtype"] else 0
        np.testing.assert_allclose(got["values"], expected["values"], tolerance, tolerance)
    elif isinstance(expected, (tuple, list)):
        assert len(got) == len(expected)
        for e, g in zip(expected, got, strict=True):
            assert_close(e, g)
    else:
        assert got == expected


@pytest.mark.parametrize("call", calls(REFUSED))
def test_errors_are_those_of_pytorch(call: str) -> None:
    expected, got = both(call)
    assert "error" in expected, expected
    assert "error" in got, got
    assert got["error"][0] == expected["error"][0], (got["error"], expected["error"])
    if "invalid combination of arguments" not in expected["error"][1]:
        assert got["error"][1] == expected["error"][1]


@pytest.mark.parametrize("call", calls(IN_PLACE))
def test_in_place_forms_write_what_pytorch_writes(call: str) -> None:
    expected, got = both(call, in_place=True)
    assert "error" not in expected, expected
    assert_agree(expected, got)


@pytest.mark.parametrize("call", OUT)
def test_out_takes_the_result(call: str) -> None:
    def program(library: Any) -> Any:
        given = {name: t.detach() for name, t in tensors(library, "float64").items()}
        out = given[OUT[call]].clone()[:0] if given[OUT[call]].ndim else given[OUT[call]].clone()
        out = out.reshape(out.shape).clone() if out.ndim else out
        result = eval(call.format("out"), {"T": library, "out": out, **given})
        return [result, out, out is (result[0] if isinstance(result, list) else result)]

    expected, got = outcome(program, torch), outcome(program, jitgrad)
    assert "error" not in expected, expected
    expected["warnings"] = []  # PyTorch warns that it resizes
    got["warnings"] = []
    must_agree(expected, got)


# Many forms of one function -------------------------------------------------------------------------------


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scatter_reduce_in_every_way(dim: int, reduce: str, include_self: bool) -> None:
    # PyTorch counts an element that is left out as one that shares the gradient, where it is equal.
    own, factor = ("t", 0) if include_self else ("(t - 9)", 1)
    for call in (
        f"x.scatter_reduce({dim}, i, y[:2], {reduce!r}, include_self={include_self})",
        f"{own}.scatter_reduce(0, r, t.flip(0), {reduce!r}, include_self={include_self})",
        f"(x * 0).scatter_reduce({dim}, i, y[:2] * {factor}, {reduce!r}, include_self={include_self})",
    ):
        assert_agree(*both(call))
        expected, got = both(call, "int64")
        assert_close(expected["result"]["result"], got["result"]["result"])


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
def test_index_reduce_in_every_way(reduce: str, include_self: bool) -> None:
    for call in (
        f"x.index_reduce(0, T.tensor([1, 1, 0]), y, {reduce!r}, include_self={include_self})",
        f"x.index_reduce(1, l, y[:, :2], {reduce!r}, include_self={include_self})",
    ):
        assert_agree(*both(call))


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantile_by_every_interpolation(interpolation: str) -> None:
    for call in ("x.quantile(q, 1", "h.nanquantile(q", "x.quantile(0.35", "x.nanquantile(q, 0, True"):
        assert_agree(*both(f"{call}, interpolation={interpolation!r})"))


@pytest.mark.parametrize(("offset", "planes"), [*itertools.product((-2, 0, 1), ((0, 1), (2, 0), (-1, 1)))])
def test_diagonals_of_every_plane(offset: int, planes: tuple[int, int]) -> None:
    first, second = planes
    assert_agree(*both(f"c.diagonal({offset}, {first}, {second})"))
    assert_agree(*both(f"x.diag_embed({offset}, {first}, {second})"))
    assert_agree(
        *both(f"c.diagonal_scatter(c.diagonal({offset}, {first}, {second}) * 2, {offset}, {first}, {second})")
    )


@pytest.mark.parametrize(
    "dtypes", [*itertools.product(("bool", "int32", "int64", "float32", "float64"), repeat=2)]
)
def test_joining_promotes_as_pytorch_does(dtypes: tuple[str, str]) -> None:
    def program(library: Any) -> Any:
        a, b = (library.ones(2, dtype=getattr(library, name)) for name in dtypes)
        joined = [library.cat([a, b]), library.stack([a, b]), library.hstack([a, b[0]])]
        return [*joined, library.block_diag(a, b), library.stack([a[0], b[0]])]

    must_agree(outcome(program, torch), outcome(program, jitgrad))


# Memory ---------------------------------------------------------------------------------------------------

VIEWS = ("diagonal()", "diagonal(1)", "unfold(1, 2, 2)", "as_strided((2, 2), (4, 1), 1)", "unfold(0, 2, 1)")


@pytest.mark.parametrize("view", VIEWS)
def test_views_show_what_is_written_to_their_base_and_the_reverse(view: str) -> None:
    def program(library: Any) -> Any:
        x = library.arange(12.0).reshape(3, 4)
        part = eval(f"x.{view}", {"x": x})
        x.mul_(2)
        after = part.clone()
        part[0] = -1
        return [after, x, part, part._base is x._base, x._version]

    must_agree(outcome(program, torch), outcome(program, jitgrad))


@pytest.mark.parametrize("view", VIEWS)
def test_gradients_pass_through_a_view_whose_base_is_written_to(view: str) -> None:
    def program(library: Any) -> Any:
        leaf = library.arange(12.0).reshape(3, 4).requires_grad_()
        x = leaf * 1
        part = eval(f"x.{view}", {"x": x})
        x.mul_(leaf)
        (part * part).sum().backward()
        return [part, leaf.grad]

    must_agree(outcome(program, torch), outcome(program, jitgrad))


def test_writing_to_a_diagonal_changes_the_gradient_of_its_base() -> None:
    def program(library: Any) -> Any:
        leaf = library.arange(12.0).reshape(3, 4).requires_grad_()
        x = leaf * 2
        x.diagonal().mul_(library.tensor([2.0, 3.0, 4.0]))
        x.diagonal(1)[1:].zero_()
        (x * x).sum().backward()
        return [x, leaf.grad, type(x.grad_fn).__name__]

    must_agree(outcome(program, torch), outcome(program, jitgrad))


def test_a_strided_view_of_a_recorded_tensor_refuses_to_be_written_to() -> None:
    x = jitgrad.ones(4, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="clone"):
        x.as_strided((2,), (1,)).mul_(2)


# Second derivatives ---------------------------------------------------------------------------------------

TWICE = (
    *(
        "T.cat([x, y * x])",
        "x.gather(0, i)",
        "x.scatter_add(0, i, y[:2])",
        "x.index_put((l,), v)",
        "x.cumprod(1)",
    ),
    *("x.sort().values", "x.quantile(q, 1)", "x.corrcoef()", "x.renorm(2, 0, 1.0)"),
    *("x.scatter_reduce(0, i, y[:2], 'prod')", "x.unfold(1, 2, 1)", "x.diagonal()", "x.logcumsumexp(0)"),
    *("T.cross(s, s * s, dim=1)", "x.take(i)", "x.median()", "x.as_strided((2, 2), (1, 2))"),
)


@pytest.mark.parametrize("call", TWICE)
def test_second_derivatives_are_those_of_pytorch(call: str) -> None:
    def program(library: Any) -> Any:
        given = tensors(library, "float64")
        leaves = [given[name] for name in ("x", "y", "s", "v")]
        out = eval(call, {"T": library, **given})
        first = library.autograd.grad((out * out).sum(), leaves, create_graph=True, allow_unused=True)
        total = sum((g * g).sum() for g in first if g is not None)
        second = library.autograd.grad(total, leaves, allow_unused=True)
        return [library.zeros_like(leaf) if g is None else g for g, leaf in zip(second, leaves, strict=True)]

    expected, got = outcome(program, torch), outcome(program, jitgrad)
    assert "error" not in expected, expected
    assert "error" not in got, got
    assert_close(expected["result"][1], got["result"][1])
