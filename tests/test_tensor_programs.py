"""Random programs of views and in-place writes give PyTorch's values and gradients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from random_tensor_programs import Program, Result, total

import jitgrad

BLOCK = 25
REFUSED = ("refers to a single memory location", "memory is read-only")  # writes to expanded memory


@pytest.mark.parametrize("first", range(0, 600, BLOCK))
def test_programs_give_what_pytorch_gives(first: int) -> None:
    for seed in range(first, first + BLOCK):
        program = Program.draw(seed)
        expected, result = _run(program, torch), _run(program, jitgrad)
        if not expected.error:
            if not any(reason in result.error for reason in REFUSED):
                _assert_same(program, result, expected)
        elif not result.error and program.is_smooth:
            _assert_right(program, result)


def _run(program: Program, library: Any) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program.run(library)


def _assert_same(program: Program, result: Result, expected: Result) -> None:
    assert not result.error, (program, result.error)
    assert result.flags == expected.flags, program
    for ours, theirs in zip(result.values, expected.values, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12, err_msg=str(program))
    for ours, theirs in zip(result.gradients, expected.gradients, strict=True):
        assert (ours is None) == (theirs is None), program
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=str(program))


def _assert_right(program: Program, result: Result) -> None:
    """Gradients that PyTorch refuses to give have to agree with differences of the values."""

    def value(shift: np.ndarray[Any, Any]) -> float:
        leaves = program.leaves(jitgrad)
        with jitgrad.no_grad():
            leaves[0] += jitgrad.from_numpy(shift)
        flags = iter(result.flags)
        return float(total(v for v in program.values(leaves) if next(flags)).item())

    direction = np.random.default_rng(program.seed).standard_normal((2, 3))
    step = 1e-6
    slope = (value(step * direction) - value(-step * direction)) / (2 * step)
    gradient = result.gradients[0]
    expected = 0.0 if gradient is None else float((gradient * direction).sum())
    assert slope == pytest.approx(expected, rel=1e-4, abs=1e-4 * (1 + abs(expected))), program
