"""The emitted text of a dozen functions, reviewed as code: a difference has to be meant.

`python -m pytest tests/test_golden.py --update-golden` rewrites the files.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_graphs import GOLDEN

from jitgrad.targets.cpu import module_text
from jitgrad.targets.emit import emit

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", GOLDEN)
def test_the_emitted_text_is_the_reviewed_one(name: str, pytestconfig: pytest.Config) -> None:
    text = "\n\n".join(module_text(emit(kernel)) for kernel in GOLDEN[name].kernels())
    path = FOLDER / f"{name}.py"
    if pytestconfig.getoption("update_golden"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.exists(), "make the file with --update-golden"
    assert text == path.read_text(), f"{path.name} differs; if that is meant, rewrite it with --update-golden"


def test_every_file_belongs_to_a_graph() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(GOLDEN)
