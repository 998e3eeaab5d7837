"""The comparison itself: PyTorch agrees with a copy of itself, and each kind of defect is found."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import report
import torch
from checking import FEW, check, surprises
from libraries import subject

AGREEING = (
    "add",
    "bernoulli",
    "cat",
    "einsum",
    "linalg.svd",
    "max.reduction_with_dim",
    "nn.functional.dropout",
    "nn.functional.layer_norm",
    "sum",
)


class Changed:
    """PyTorch with some of its functions replaced."""

    def __init__(self, **functions: Any) -> None:
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def warned_sin(x: Any) -> Any:
    warnings.warn("a remark", UserWarning, stacklevel=2)
    return torch.sin(x)


def spoiling_sin(x: Any) -> Any:
    y = torch.sin(x)
    with torch.no_grad():
        return (x.zero_(), y)[1]


def second_gradient(x: Any) -> Any:
    """The right value with twice the right gradient."""
    return 2 * torch.sin(x) - torch.sin(x).detach()


def unfinished_add(*args: Any, **kwargs: Any) -> Any:
    try:
        return torch.add(*args, **kwargs)
    except RuntimeError:
        raise NotImplementedError("not written") from None


def silent_add(x: Any, y: Any, **kwargs: Any) -> Any:
    try:
        return torch.add(x, y, **kwargs)
    except Exception:
        return x


DEFECTS = {
    "value": ("sin", "value", torch.cos),
    "gradient": ("sin", "gradient", second_gradient),
    "no gradient": ("sin", "value", lambda x: torch.sin(x).detach()),
    "dtype": ("sin", "value", lambda x: torch.sin(x).double()),
    "shape": ("sin", "value", lambda x: torch.sin(x)[None]),
    "warning": ("sin", "value", warned_sin),
    "changed argument": ("sin", "value", spoiling_sin),
    "another exception": ("sin", "value", lambda x: 1 / 0),
    "in place": ("sin", "in-place", torch.sin),
    "no error": ("add", "errors", silent_add),
    "other error": ("add", "errors", unfinished_add),
    "promotion": ("add", "value", lambda x, y, **k: torch.add(x, torch.as_tensor(y).reshape(-1), **k)),
    "list": ("split", "value", lambda *a, **k: list(torch.split(*a, **k))),
    "no named tuple": ("sort", "value", lambda *a, **k: tuple(torch.sort(*a, **k))),
    "support": ("nn.functional.dropout", "value", None),
    "keepdim": ("sum", "value", lambda *a, **k: torch.sum(*a, **k | {"keepdim": "dim" in k})),
}


@pytest.mark.parametrize("name", AGREEING)
def test_pytorch_agrees_with_itself(name: str) -> None:
    row = check(name, subject(torch))
    assert row.passed.total() > 20
    assert not row.failures


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(defect: str) -> None:
    name, what, function = DEFECTS[defect]
    if defect == "in place":
        changed = Changed(sin_=function)
    elif defect == "support":
        doubled = lambda x, *a, **k: 2 * torch.nn.functional.dropout(x, *a, **k)
        changed = Changed(nn=Changed(functional=Changed(dropout=doubled)))
    else:
        changed = Changed(**{name: function})
    row = check(name, subject(changed))
    assert row.failed(what), row.failures[:3]


def test_known_differences_are_accepted_as_long_as_they_fail() -> None:
    wrong = check("sin", subject(Changed(sin=lambda x: torch.sin(x).double())))
    known = {("sin", "value", "dtype float64"): "twice as exact"}
    assert surprises(wrong, {})
    assert len(surprises(wrong, known)) < len(surprises(wrong, {}))
    assert not surprises(wrong, {("sin", "value", ""): "twice as exact"})
    (complaint,) = surprises(check("sin", subject(torch)), known)
    assert "no longer fails" in complaint


def test_what_is_not_compared_is_counted() -> None:
    row = check("mul", subject(torch))
    assert row.left_out[f"further samples of second names (the first {FEW} are compared)"] > 100
    assert check("nn.functional.max_pool1d", subject(torch)).left_out["op_db has no samples in bool"] == 1


def test_the_report_holds_every_op_offered_or_not() -> None:
    library = subject(torch)
    row = check("sinh", library)
    page = report.markdown([row], list(report.notes([row], library, ["sinh", "jiterator_unary"])))
    assert f"| sinh | {row.passed['value']} | {row.passed['gradient']} |" in page
    assert "1 of 2 ops of op_db offered, 1 of them with no failure" in page
    assert "- jiterator_unary" in page
