"""Every op of PyTorch's op_db that jitgrad offers gives PyTorch's results, gradients and errors."""

from __future__ import annotations

import pytest
from checking import COLUMNS, check, is_offered
from known import KNOWN
from libraries import subject
from op_samples import OPS

import jitgrad

LIBRARY = subject(jitgrad)
OFFERED = [name for name in OPS if is_offered(name, LIBRARY)]


@pytest.mark.parametrize("name", OFFERED)
def test_op_agrees_with_pytorch(name: str) -> None:
    row = check(name, LIBRARY)
    unknown = [f"{f.what}: {f.message}" for f in row.failures if (name, f.what) not in KNOWN]
    assert not unknown, f"{len(unknown)} differences:\n" + "\n".join(unknown[:20])
    unneeded = [what for what in COLUMNS if (name, what) in KNOWN and not row.failed(what)]
    assert not unneeded, f"no longer differs, so take it from KNOWN: {unneeded}"
    assert row.passed, f"nothing was compared: {dict(row.left_out)}"


def test_every_known_difference_is_of_an_offered_op() -> None:
    assert {name for name, _ in KNOWN} <= set(OFFERED)
    assert {what for _, what in KNOWN} <= set(COLUMNS)
