"""docs/transforms.md says what happens."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "transforms.md"


def test_the_examples_of_the_page_on_transforms_run() -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    with np.printoptions():
        failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert (failed, tried > 15) == (0, True)
