"""Einstein summation: subscripts to transposes, products and matrix products, two operands at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from jitgrad.ops.algebra import matrix_product
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.shape import permuted, shaped, window
from jitgrad.ops.statistics import sum_
from jitgrad.ops.table import composite
from jitgrad.ops.values import as_array, as_dtype, broadcast, insert_axes, no_out

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Term:
    """An operand whose axes have labels, each once."""

    value: Any
    labels: str

    def size(self, label: str) -> int:
        return self.value.shape[self.labels.index(label)]  # type: ignore[no-any-return]


# Subscripts -------------------------------------------------------------------------------------------


def _written(operands: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """Subscripts as text, from text or from NumPy's form with lists of numbers."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), [as_array(x) for x in operands[1:]]
    text = ["".join("..." if i is Ellipsis else _LETTERS[i] for i in labels) for labels in operands[1::2]]
    out = operands[-1] if len(operands) % 2 else None
    arrow = "" if out is None else "->" + "".join("..." if i is Ellipsis else _LETTERS[i] for i in out)
    return ",".join(text) + arrow, [as_array(x) for x in operands[: len(operands) // 2 * 2 : 2]]


def _parsed(subscripts: str, arrays: Sequence[Any]) -> tuple[list[str], str]:
    """The labels of each operand and of the output; an ellipsis becomes letters that are not in use."""
    left, arrow, out = subscripts.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(arrays):
        raise ValueError(f"einsum: {subscripts!r} names {len(inputs)} operands, but {len(arrays)} were given")
    spare = [c for c in _LETTERS if c not in subscripts]
    widths = [len(x.shape) - len(t.replace("...", "")) for t, x in zip(inputs, arrays, strict=True)]
    for text, width, x in zip(inputs, widths, arrays, strict=True):
        if width < 0 or (width and "..." not in text):
            raise ValueError(f"einsum: {text!r} does not name the axes of an operand of shape {x.shape}")
    most = max((w for t, w in zip(inputs, widths, strict=True) if "..." in t), default=0)
    dots = "".join(spare[:most])
    inputs = [t.replace("...", dots[most - w :]) for t, w in zip(inputs, widths, strict=True)]
    if arrow:
        out = out.replace("...", dots)
    else:
        count = Counter("".join(inputs))
        out = dots + "".join(sorted(c for c in count if count[c] == 1 and c not in dots))
    unknown = set("".join(inputs) + out) - set(_LETTERS)
    if unknown or len(set(out)) != len(out) or not set(out) <= set("".join(inputs)):
        raise ValueError(f"einsum: the subscripts {subscripts!r} are malformed")
    return inputs, out


def _sizes(inputs: list[str], arrays: Sequence[Any], subscripts: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for labels, x in zip(inputs, arrays, strict=True):
        for label, n in zip(labels, x.shape, strict=True):
            known = sizes.setdefault(label, n)
            if known == 1:
                sizes[label] = n
            elif n not in (1, known):
                raise ValueError(f"einsum: label {label!r} of {subscripts!r} has sizes {known} and {n}")
    return sizes


# One operand ------------------------------------------------------------------------------------------


def _diagonals(x: Any, labels: str) -> Term:
    """Only the elements at which a label's axes agree, for labels that are there twice."""
    for label in set(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            rest = [i for i in range(len(labels)) if i not in (first, second)]
            n = x.shape[first]
            x = permuted(x, (*rest, first, second))
            x = window(shaped(x, (*x.shape[:-2], n * n)), len(rest), 0, n, n + 1)
            labels = "".join(labels[i] for i in rest) + label
    return Term(x, labels)


def _kept(term: Term, wanted: set[str], sizes: dict[str, int]) -> Term:
    """The term without labels that nobody else wants (summed) or that broadcast (dropped)."""
    summed = tuple(i for i, c in enumerate(term.labels) if c not in wanted)
    value = sum_(term.value, summed, term.value.dtype) if summed else term.value
    labels = "".join(c for c in term.labels if c in wanted)
    narrow = [i for i, c in enumerate(labels) if value.shape[i] == 1 != sizes[c]]
    shape = tuple(n for i, n in enumerate(value.shape) if i not in narrow)
    return Term(shaped(value, shape), "".join(c for i, c in enumerate(labels) if i not in narrow))


def _ordered(term: Term, labels: str, sizes: dict[str, int]) -> Any:
    """The value with exactly these axes; labels that the term lacks are broadcast."""
    own = [c for c in labels if c in term.labels]
    value = permuted(term.value, [term.labels.index(c) for c in own])
    value = insert_axes(value, tuple(i for i, c in enumerate(labels) if c not in term.labels))
    return broadcast(value, tuple(sizes[c] for c in labels))


# Two operands -----------------------------------------------------------------------------------------


def _contracted(x: Term, y: Term, wanted: set[str], sizes: dict[str, int]) -> Term:
    """The product of two terms, summed over the labels that nobody else wants."""
    shared = [c for c in x.labels if c in y.labels]
    batch = "".join(c for c in shared if c in wanted)
    inner = "".join(c for c in shared if c not in wanted)
    rows = "".join(c for c in x.labels if c not in shared)
    columns = "".join(c for c in y.labels if c not in shared)
    if not inner or not (rows or columns):
        labels = batch + rows + columns + inner
        product = _aligned(x, labels) * _aligned(y, labels)
        summed = tuple(range(len(labels) - len(inner), len(labels)))
        return Term(sum_(product, summed, product.dtype) if inner else product, batch + rows + columns)
    lead = tuple(sizes[c] for c in batch)
    n, m, k = (math.prod(sizes[c] for c in part) for part in (rows, columns, inner))
    left = shaped(_ordered(x, batch + rows + inner, sizes), (*lead, n, k))
    right = shaped(_ordered(y, batch + inner + columns, sizes), (*lead, k, m))
    shape = (*lead, *(sizes[c] for c in rows + columns))
    return Term(shaped(matrix_product(left, right), shape), batch + rows + columns)


def _aligned(term: Term, labels: str) -> Any:
    """The value with its axes at these labels, and size 1 for labels that it lacks."""
    value = permuted(term.value, [term.labels.index(c) for c in labels if c in term.labels])
    return insert_axes(value, tuple(i for i, c in enumerate(labels) if c not in term.labels))


def _cheapest(terms: list[Term], out: str, sizes: dict[str, int]) -> tuple[int, int]:
    """The pair whose product, less the operands, is smallest; the leftmost of equals."""

    def growth(pair: tuple[int, int]) -> int:
        x, y = (terms[i] for i in pair)
        elsewhere = set(out).union(*(t.labels for i, t in enumerate(terms) if i not in pair))
        kept = (set(x.labels) | set(y.labels)) & elsewhere
        size = [math.prod(sizes[c] for c in labels) for labels in (kept, x.labels, y.labels)]
        return size[0] - size[1] - size[2]

    return min(combinations(range(len(terms)), 2), key=growth)


def _einsum_samples(d: Draw) -> list[Sample]:
    a, b, v, c = d(2, 3), d(3, 4), d(3), d(2, 3, 4)
    forms: list[tuple[Any, ...]] = [
        ("ij,jk->ik", a, b),
        ("ij,jk", a, b),
        ("ij->ji", a),
        ("ji", a),
        ("ij->", a),
        ("ii->i", d(3, 3)),
        ("ii", d(3, 3)),
        ("i,i", v, v * 1),
        ("i,j->ij", v, d(2)),
        ("ij,ij->i", a, d(2, 3)),
        ("bij,bjk->bik", c, d(2, 4, 2)),
        ("...ij,...jk->...ik", d(2, 2, 3), b),
        ("...i->...", c),
        ("ij,jk,kl->il", a, b, d(4, 2)),
        ("ij,j,i->", a, v, d(2)),
        ("iij,jk->ik", d(2, 2, 3), b),
        ("ij,kj->ik", a, d(4, 3)),
        ("ab,cd->", a, b),
        (c, [0, 1, 2], v, [1], [0, 2]),
    ]
    return [case(*form) for form in forms]


@composite(np.einsum, samples=only("fi", _einsum_samples))
def einsum(*operands: Any, out: Any = None, optimize: Any = None, dtype: Any = None) -> Any:
    """Sums of products by subscripts ("ij,jk->ik"); the pair that grows least is contracted first."""
    no_out("einsum", out)
    subscripts, arrays = _written(operands)
    inputs, final = _parsed(subscripts, arrays)
    common = np.dtype(dtype) if dtype is not None else np.result_type(*(x.dtype for x in arrays))
    sizes = _sizes(inputs, arrays, subscripts)
    terms = [_diagonals(as_dtype(x, common), labels) for x, labels in zip(arrays, inputs, strict=True)]
    while len(terms) > 1:
        i, j = _cheapest(terms, final, sizes)
        others = [t for k, t in enumerate(terms) if k not in (i, j)]
        elsewhere = set(final).union(*(t.labels for t in others))
        x = _kept(terms[i], elsewhere | set(terms[j].labels), sizes)
        y = _kept(terms[j], elsewhere | set(terms[i].labels), sizes)
        terms = [*others[:i], _contracted(x, y, elsewhere, sizes), *others[i:]]
    last = _kept(terms[0], set(final), sizes)
    return _ordered(last, final, sizes)
