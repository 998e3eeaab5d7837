"""docs/autodiff-from-scratch.md says what happens, and shows the pictures that it draws."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "autodiff-from-scratch.md"


def test_the_page_runs_and_draws_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert (failed, tried > 30) == (0, True)
    drawn = {f"pictures/{path.name}" for path in (tmp_path / "pictures").iterdir()}
    assert drawn == set(re.findall(r"\((pictures/.*?)\)", PAGE.read_text()))
