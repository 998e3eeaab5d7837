"""`import jitgrad` loads the eager side alone; the compiled side follows when one of its names is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jitgrad

LATER = (
    *("aval", "compile", "get_num_threads", "grad", "hessian", "interpret", "jacfwd", "jacobian", "jacrev"),
    *(
        "jit",
        "jvp",
        "load",
        "optim",
        "safetensors",
        "save",
        "serialization",
        "set_num_threads",
        "utils",
        "value_and_grad",
        "vjp",
        "viz",
        "vmap",
    ),
)
MODULES = {"optim", "safetensors", "serialization", "utils", "viz"}
HEAVY = {"llvmlite", "scipy", "jitgrad.jit", "jitgrad.fuse", "jitgrad.targets", "jitgrad.runtime"}


def run(*lines: str) -> object:
    """The object that a new interpreter assigns to `answer`, by way of JSON."""
    program = "\n".join((*lines, "import json", "print(json.dumps(answer))"))
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("statement", ["import jitgrad", "import jitgrad.ops", "import jitgrad.eager"])
def test_the_eager_side_loads_no_compiler(statement: str) -> None:
    loaded = run(statement, "import sys", "answer = list(sys.modules)")
    assert "jitgrad" in loaded
    assert not HEAVY.intersection(loaded)


def test_listing_the_names_loads_no_compiler() -> None:
    names, loaded = run("import jitgrad, sys", "answer = dir(jitgrad), list(sys.modules)")
    assert {*LATER, "Graph", "TraceError", "__version__"} <= set(names)
    assert names == sorted(set(names))
    assert not HEAVY.intersection(loaded)


@pytest.mark.parametrize("name", LATER)
def test_a_late_name_is_loaded_when_it_is_first_used(name: str) -> None:
    home = jitgrad._LATER[name]
    same, stored = run(
        f"import jitgrad; first = jitgrad.{name}",
        f"import {home} as _, sys",
        f"home = sys.modules['{home}']",
        f"same = first is getattr(home, '{name}', home) is jitgrad.{name}",
        f"answer = same, '{name}' in vars(jitgrad)",
    )
    assert same
    assert stored, "every further use must be an ordinary attribute access"


def test_functions_of_tensors_stay_when_modules_of_their_names_are_loaded() -> None:
    traced = run("import jitgrad, jitgrad.trace", "answer = jitgrad.trace(jitgrad.ones(2, 2)).item()")
    assert traced == 2.0


def test_a_compiled_name_can_be_imported_from_the_package() -> None:
    assert run("from jitgrad import grad", "answer = float(grad(lambda x: x * x)(3.0))") == 6.0


@pytest.mark.parametrize(
    "before",
    [
        "import jitgrad",
        "import jitgrad.transforms",
        "import jitgrad.numpy",
        "import jitgrad.jit",
        "import jitgrad; from jitgrad.jit import aval",
        "import jitgrad; jitgrad.jit; import jitgrad.jit",
        "import importlib, jitgrad; importlib.import_module('jitgrad.jit')",
        "from jitgrad.jit import jit; import jitgrad; assert jitgrad.jit is jit",
        "from jitgrad import jit; import jitgrad; assert jitgrad.jit is jit",
        "import jitgrad.jit as jit; import jitgrad; assert jitgrad.jit is jit",
    ],
)
def test_jit_is_the_function_whatever_was_imported_before(before: str) -> None:
    kind, value = run(before, "answer = type(jitgrad.jit).__name__, float(jitgrad.jit(lambda x: x + 1)(2.0))")
    assert kind == "function"
    assert value == 3.0


def test_the_module_of_jit_can_be_imported_from() -> None:
    assert run(
        "import jitgrad, sys; function = jitgrad.jit",
        "from jitgrad.jit import jit, MAX_PROGRAMS",
        "answer = jit is function is sys.modules['jitgrad.jit'].jit and MAX_PROGRAMS > 0",
    )


def test_a_submodule_is_an_attribute_once_it_is_imported() -> None:
    assert run("import jitgrad.numpy", "answer = jitgrad.numpy.__name__") == "jitgrad.numpy"
    assert run("from jitgrad import numpy", "answer = numpy.__name__") == "jitgrad.numpy"


def test_a_compiled_name_can_be_replaced_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    original, other = jitgrad.jit, object()
    with monkeypatch.context() as patch:
        patch.setattr(jitgrad, "jit", other)
        assert jitgrad.jit is other
    assert jitgrad.jit is original


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'jitgrad' has no attribute 'gard'"):
        jitgrad.gard  # noqa: B018
    assert not hasattr(jitgrad, "__path_of_nothing__")


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    tree = ast.parse(Path(jitgrad.__file__).read_text())
    (branch,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    declared = {
        alias.asname: f"{node.module}.{alias.name}" if alias.name in MODULES else node.module
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    assert declared == jitgrad._LATER
    assert set(declared) == set(LATER)
