"""Random results: PyTorch's draws from many seeds, and whether another result could be one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from calling import Form, Outcome, called
from comparing import Array, leaves
from libraries import ORACLE
from op_samples import Sample

DRAWS = 32

RANDOM = {
    "bernoulli",
    "cauchy",
    "exponential",
    "geometric",
    "log_normal",
    "multinomial",
    "nn.functional.alpha_dropout",
    "nn.functional.dropout",
    "nn.functional.dropout2d",
    "nn.functional.dropout3d",
    "nn.functional.feature_alpha_dropout",
    "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d",
    "nn.functional.multi_head_attention_forward",
    "nn.functional.rrelu",
    "nn.functional.scaled_dot_product_attention",
    "normal",
    "pca_lowrank",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "svd_lowrank",
    "uniform",
}


def drawn(form: Form, sample: Sample) -> list[Outcome]:
    """The outcomes of the same call in PyTorch from DRAWS seeds."""
    found = []
    for seed in range(DRAWS):
        torch.default_generator.manual_seed(seed)
        found.append(called(ORACLE, form, sample, False))
    return found


def outside_support(draws: Iterable[Any], got: Any) -> str | None:
    """Whether a random result could not have come from where PyTorch's draws come from."""
    drawn_leaves = zip(*(leaves(result) for result in draws), strict=True)
    for leaf, found in zip(leaves(got), drawn_leaves, strict=True):
        many = np.stack([f.array for f in found])
        if many.size and not _in_support(many, leaf.array):
            return f"{leaf.array.ravel()[:4]} is not like {many[0].ravel()[:4]}"
    return None


def _in_support(many: Array, one: Array) -> bool:
    few = np.unique(many)
    if len(few) <= 3:
        return bool(np.isin(one, few).all())
    if all(len(np.unique(column)) <= 2 for column in many.reshape(len(many), -1).T):
        with np.errstate(invalid="ignore"):
            return bool(np.isclose(many, one, 1e-5, 1e-5, equal_nan=True).any(0).all())
    span = many.max() - many.min() if many.dtype.kind == "f" else 0
    low = max(many.min() - span, 0) if many.min() >= 0 else many.min() - span
    return bool(((one >= low) & (one <= many.max() + span)).all())
