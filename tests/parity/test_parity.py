"""Every op of PyTorch's op_db that jitgrad offers gives PyTorch's results, gradients and errors."""

from __future__ import annotations

import pytest
from checking import COLUMNS, check, has_samples, is_offered, surprises
from known import KNOWN
from libraries import subject
from op_samples import OPS

import jitgrad

LIBRARY = subject(jitgrad)
OFFERED = [name for name in OPS if is_offered(name, LIBRARY) and has_samples(name)]


@pytest.mark.parametrize("name", OFFERED)
def test_op_agrees_with_pytorch(name: str) -> None:
    found = surprises(check(name, LIBRARY), KNOWN)
    assert not found, f"{len(found)} surprises:\n" + "\n".join(found[:20])


def test_every_known_difference_is_of_an_offered_op() -> None:
    assert {name for name, _, _ in KNOWN} <= set(OFFERED)
    assert {what for _, what, _ in KNOWN} <= set(COLUMNS)
