"""Every example is short, runs, reaches what it asserts, and draws the pictures that its page shows."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from test_floors import code_lines

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGE = (ROOT / "docs" / "examples.md").read_text()
each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


@each_example
def test_example_runs_and_draws_its_pictures(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where an example draws its pictures
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()
    section = PAGE.partition(f"../examples/{path.name})")[2].partition("\n## ")[0]
    shown = set(re.findall(r"\(pictures/(.*?)\)", section))
    assert shown <= {drawn.name for drawn in tmp_path.iterdir()}
    assert all((ROOT / "docs" / "pictures" / name).exists() for name in shown)


@each_example
def test_example_is_short_and_has_a_place_on_the_page(path: Path) -> None:
    assert len(code_lines(path.read_text())) < 80
    assert PAGE.count(f"(../examples/{path.name})") == 1
