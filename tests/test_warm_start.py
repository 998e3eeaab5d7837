"""Programs on disk: what is the same is not traced again, and nothing stale ever runs.

A second process is played by modules that are executed anew: their functions are other objects.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import jit as compiled
from jitgrad import numpy as jnp
from jitgrad import stored, value_and_grad
from jitgrad.identity import Unknown, identify
from jitgrad.machine import cache

X = np.array([1.0, 2.0, 4.0])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    where = tmp_path / "cache"
    monkeypatch.setenv("JITGRAD_CACHE_DIR", str(where))
    monkeypatch.setenv("JITGRAD_PROGRAM_CACHE", "1")
    cache._usable.cache_clear()
    yield where
    sys.modules.pop("user", None)
    cache._usable.cache_clear()


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows with each trace."""
    seen: list[str] = []
    module = sys.modules["jitgrad.jit"]
    trace = module.trace

    def counting(*args: Any) -> Any:
        seen.append("traced")
        return trace(*args)

    monkeypatch.setattr(module, "trace", counting)
    return seen


HELPER = "def double(x):\n    return 2.0 * x\n"


def module(source: str, helper: str = HELPER, **values: Any) -> ModuleType:
    """Execute source as a user's module, beside another one that it has as `helper`."""
    other, made = ModuleType("helper"), ModuleType("user")
    exec(compile(helper, "helper.py", "exec"), vars(other))
    vars(made).update(helper=other, np=np, jnp=jnp, **values)
    sys.modules["user"] = made  # where dataclasses look for it
    exec(compile(textwrap.dedent(source), "user.py", "exec"), vars(made))
    return made


def run(made: ModuleType, traces: list[str], *args: Any) -> bool:
    """Call the compiled `f`, compare it with the plain one, and return whether it was traced."""
    before = len(traces)
    arguments = args or (X,)
    np.testing.assert_allclose(compiled(made.f)(*arguments), made.f(*arguments), rtol=1e-6)
    return len(traces) > before


BASE = """\
class Base:
    def f(self, x):
        return self.g(x)
    def g(self, x):
        return 2.0 * x
"""

CERTAIN = {
    "objects in objects": """
        class Part:
            __slots__ = ("gain",)
        class Whole:
            def __init__(self):
                self.part = Part()
                self.part.gain = 2.0
        whole = Whole()
        def f(x):
            return x * whole.part.gain
    """,
    "numbers": "def f(x):\n    return x * 3.0 + 1.0",
    "a global": "scale = 2.0\ndef f(x):\n    return x * scale",
    "numpy": "def f(x):\n    return np.exp(x) @ np.linspace(0.0, 1.0, 3)",
    "a module as a value": "def g(xp, x):\n    return xp.sin(x)\ndef f(x):\n    return g(jnp, x)",
    "a helper": "def f(x):\n    return helper.double(x)",
    "a closure": "def make(k):\n    def f(x):\n        return x**k\n    return f\nf = make(3)",
    "a default": "def f(x, k=2.5):\n    return x * k",
    "an array": "w = np.arange(3.0)\ndef f(x):\n    return x * w",
    "a class": """
        class Model:
            gain = 2.0
            def __init__(self, bias):
                self.bias = bias
            def __call__(self, x):
                return self.gain * x + self.bias
        f = Model(0.5)
    """,
    "a dataclass": """
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class Options:
            gain: float = 2.0
            def apply(self, x):
                return self.gain * x
        options = Options()
        def f(x):
            return options.apply(x)
    """,
    "a named tuple": """
        from collections import namedtuple
        Point = namedtuple("Point", "x y")
        def f(x):
            return Point(x, 2.0).x * Point(x, 2.0).y
    """,
    "a dict": "options = {'a': 2.0, 'b': [1, 2]}\ndef f(x):\n    return options['a'] * x ** options['b'][1]",
    "a partial": "import functools\ndef g(k, x):\n    return k * x\nf = functools.partial(g, 2.0)",
    "recursion": "def f(x, n=3):\n    return x if n == 0 else x * f(x, n - 1)",
    "a comprehension": "def f(x):\n    return sum([x * k for k in range(3)])",
    "a gradient": "import jitgrad\ng = jitgrad.grad(lambda x: x**3)\ndef f(x):\n    return g(2.0) * x",
}


@pytest.mark.parametrize("source", CERTAIN.values(), ids=CERTAIN)
def test_what_is_the_same_is_not_traced_again(source: str, traces: list[str]) -> None:
    assert run(module(source), traces)
    assert not run(module(source), traces)


def replaced(name: str, old: str, new: str) -> tuple[str, str, str]:
    assert old in CERTAIN[name]
    return CERTAIN[name], CERTAIN[name].replace(old, new), HELPER


CHANGES = {
    "an edited function": replaced("numbers", "3.0", "4.0"),
    "an edited helper of another module": (CERTAIN["a helper"],) * 2 + (HELPER.replace("2.0", "2.5"),),
    "what a helper reads": (CERTAIN["a helper"],) * 2 + (HELPER.replace("2.0", "two") + "two = 2.25",),
    "a changed global": replaced("a global", "2.0", "2.5"),
    "a global of another type": replaced("a global", "2.0", "2"),
    "the sign of a zero": (
        "k = 0.0\ndef f(x):\n    return x / k",
        "k = -0.0\ndef f(x):\n    return x / k",
        HELPER,
    ),
    "a changed closure": replaced("a closure", "make(3)", "make(2)"),
    "a changed default": replaced("a default", "2.5", "3.5"),
    "a changed attribute": replaced("a class", "0.5", "0.75"),
    "a changed attribute of the class": replaced("a class", "gain = 2.0", "gain = 3.0"),
    "a changed method": replaced("a class", "x + self", "x - self"),
    "a changed base class": (
        BASE + "class Model(Base):\n    pass\nf = Model().f",
        BASE.replace("2.0", "3.0") + "class Model(Base):\n    pass\nf = Model().f",
        HELPER,
    ),
    "an attribute of an attribute": replaced("objects in objects", "2.0", "3.0"),
    "a changed field": replaced("a dataclass", "2.0", "3.0"),
    "a changed method of a dataclass": replaced("a dataclass", "gain * x", "gain + x"),
    "fields in another order": replaced("a named tuple", "x y", "y x"),
    "a changed item": replaced("a dict", "[1, 2]", "[1, 3]"),
    "a changed argument of a partial": replaced("a partial", "2.0", "3.0"),
    "a name that begins to hide a built-in": (
        "def f(x):\n    return abs(x)",
        "def f(x):\n    return abs(x)\ndef abs(x):\n    return -x",
        HELPER,
    ),
    "the contents of an index": (
        "rows = np.arange(3)\ndef f(x):\n    m = x[:, None] * x\n    return m[rows, x.astype(int) % 3]",
        "rows = np.zeros(3, int)\ndef f(x):\n    m = x[:, None] * x\n    return m[rows, x.astype(int) % 3]",
        HELPER,
    ),
    "contents that tracing baked in": (
        "w = np.arange(3.0)\ndef f(x):\n    return x * float(w[1])",
        "w = np.arange(3.0) * 2.0\ndef f(x):\n    return x * float(w[1])",
        HELPER,
    ),
}


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_every_change_is_noticed(case: tuple[str, str, str], traces: list[str]) -> None:
    before, after, helper = case
    assert run(module(before), traces)
    assert run(module(after, helper), traces)


UNCERTAIN = {
    "files": "def f(x):\n    with open(path) as file:\n        return x * float(file.read())",
    "random numbers": "def f(x):\n    return x * np.random.default_rng(0).random()",
    "a generator": "rng = np.random.default_rng(0)\ndef f(x):\n    return x * rng.integers(1, 2)",
    "the time": "import time\ndef f(x):\n    return x * (time.time() > 0)",
    "the environment": "import os\ndef f(x):\n    return x * len(os.getcwd())",
    "printing": "def f(x):\n    print(end='')\n    return x",
    "an import": "def f(x):\n    import math\n    return x * math.pi",
    "attributes by name": "def f(x):\n    return x * getattr(helper, 'double')(1.0)",
    "a set": "values = {1.0, 2.0}\ndef f(x):\n    return x * sum(values)",
    "an iterator": "parts = iter([1.0] * 9)\ndef f(x):\n    return x * next(parts)",
    "a log": "log = []\ndef f(x):\n    log.append(1)\n    return x * 2.0",
    "a counter": "count = [0]\ndef f(x):\n    count[0] += 1\n    return x * 2.0",
    "a memo": "import functools\n@functools.cache\ndef g(k):\n    return k\ndef f(x):\n    return g(1) * x",
    "a global that is written": "k = 1.0\ndef f(x):\n    global k\n    k = 1.0\n    return x * k",
    "frames": "import sys\ndef f(x):\n    return x * (sys._getframe().f_back is not None)",
    "a large array": "w = np.ones(5_000_000)\ndef f(x):\n    return x * w[0]",
}


@pytest.mark.parametrize("source", UNCERTAIN.values(), ids=UNCERTAIN)
def test_what_is_not_certain_is_traced_each_time(source: str, traces: list[str], tmp_path: Path) -> None:
    path = tmp_path / "number.txt"
    path.write_text("2.0")
    assert run(module(source, path=str(path)), traces)
    path.write_text("3.0")
    assert run(module(source, path=str(path)), traces)


def test_a_captured_array_is_read_at_each_call(traces: list[str]) -> None:
    assert run(module(CERTAIN["an array"]), traces)
    made = module(CERTAIN["an array"])
    f = compiled(made.f)
    np.testing.assert_array_equal(f(X), X * np.arange(3.0))
    made.w[:] = 7.0
    np.testing.assert_array_equal(f(X), X * 7.0)
    assert len(traces) == 1


def test_a_view_of_an_array_that_may_change_is_not_kept(traces: list[str]) -> None:
    source = "w = np.arange(6.0)\ndef f(x):\n    return x * w[::2]"
    assert run(module(source), traces)
    made = module(source)
    f = compiled(made.f)
    f(X)
    made.w[:] = 7.0
    np.testing.assert_array_equal(f(X), X * 7.0)
    assert len(traces) == 2


def test_a_variable_that_changes_after_a_warm_start_is_noticed(traces: list[str]) -> None:
    assert run(module(CERTAIN["a global"]), traces)
    made = module(CERTAIN["a global"])
    f = compiled(made.f)
    np.testing.assert_array_equal(f(X), X * 2.0)
    made.scale = 5.0
    np.testing.assert_array_equal(f(X), X * 5.0)


@pytest.mark.parametrize(
    "other",
    [np.ones(4), np.ones(3, np.float32), np.ones((3, 1)), np.arange(6.0)[::2], 2.0, 2, np.ones(3, ">f8")],
    ids=repr,
)
def test_other_kinds_of_arguments_have_programs_of_their_own(other: Any, traces: list[str]) -> None:
    source = "def f(x):\n    return np.exp(x) * 2.0"
    assert run(module(source), traces)
    assert run(module(source), traces, other)
    assert not run(module(source), traces, other)


def test_containers_come_back_as_they_were(traces: list[str]) -> None:
    source = """
        from dataclasses import dataclass
        from typing import NamedTuple
        class Point(NamedTuple):
            x: object
            y: object
        @dataclass
        class Box:
            value: object
            name: str
        def f(p):
            return {"p": Point(p["x"] * 2.0, 1), "box": [Box(p["y"], "b"), None], "t": (p["y"].sum(),)}
    """
    arguments = {"x": X, "y": 2 * X}
    expected = repr(compiled(module(source).f)(arguments))
    made = module(source)
    result = compiled(made.f)(arguments)
    assert len(traces) == 1
    assert repr(result) == expected
    assert type(result["p"]) is made.Point and type(result["box"][0]) is made.Box


def test_transforms_and_options_are_told_apart(traces: list[str]) -> None:
    source = "def f(x, y):\n    return np.sum(x * y * y)"
    transforms = (
        lambda f: value_and_grad(f),
        lambda f: value_and_grad(f, 1),
        lambda f: value_and_grad(f, (0, 1)),
        lambda f: jitgrad.grad(f),
        lambda f: compiled(f),
        lambda f: compiled(f, fastmath=True),
        lambda f: compiled(jitgrad.grad(f)),
    )
    first = [repr(transform(module(source).f)(X, X + 1)) for transform in transforms]
    assert len(traces) == len(transforms)
    assert first == [repr(transform(module(source).f)(X, X + 1)) for transform in transforms]
    assert len(traces) == len(transforms)


def test_static_arguments_are_told_apart_and_may_be_functions(traces: list[str]) -> None:
    source = "def f(x, n):\n    return n(x) if callable(n) else x * n"
    source = source.replace("callable(n)", "isinstance(n, type(f))")
    for value in (1, 2, True, 2.0, lambda x: x + 1.0, lambda x: x + 2.0):
        before = len(traces)
        for _ in range(2):
            function = compiled(module(source).f, static_argnames="n")
            expected = value(X) if callable(value) else X * value
            np.testing.assert_array_equal(function(X, value), expected)
        assert len(traces) == before + 1


def test_a_library_function_that_was_replaced_is_not_taken_for_the_real_one(
    traces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import math\ndef f(x):\n    return x * math.sqrt(4.0)"
    assert run(module(source), traces)
    assert not run(module(source), traces)
    monkeypatch.setattr("math.sqrt", lambda x: 5.0)
    assert run(module(source), traces)
    assert run(module(source), traces)


def test_another_version_traces_again(traces: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source = CERTAIN["numbers"]
    assert run(module(source), traces)
    real = cache.fingerprint()
    monkeypatch.setattr(cache, "fingerprint", lambda: real + "; numpy 99")
    assert run(module(source), traces)


def test_a_damaged_program_or_a_missing_kernel_is_traced_again(folder: Path, traces: list[str]) -> None:
    source = CERTAIN["numbers"]
    assert run(module(source), traces)
    programs = [path for path in folder.glob("*.py") if path.read_text().startswith('"""The program of f')]
    assert len(programs) == 1
    code = programs[0].with_suffix(".o")
    whole = code.read_bytes()
    code.write_bytes(whole[:-1])
    assert run(module(source), traces)
    assert code.read_bytes() == whole


def test_it_can_be_switched_off(traces: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source = CERTAIN["numbers"]
    assert run(module(source), traces)
    monkeypatch.setenv("JITGRAD_PROGRAM_CACHE", "0")
    assert run(module(source), traces)


def test_graph_source_and_explanation_trace_when_asked(traces: list[str]) -> None:
    source = CERTAIN["numpy"]
    first = compiled(module(source).f)
    first(X)
    f = compiled(module(source).f)
    f(X)
    assert len(traces) == 1
    assert str(f.graph(X)) == str(first.graph(X))
    assert f.source(X) == first.source(X)
    assert len(f.explain(X).kernels) == len(first.explain(X).kernels)


def test_errors_of_library_calls_name_the_line(traces: list[str]) -> None:
    source = "def f(x, i):\n    return x[i] * 2.0"
    for _ in range(2):
        with pytest.raises(IndexError, match=r"user\.py:2"):
            compiled(module(source).f)(X, np.array([7]))


@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_second_process_is_warm_and_gives_the_same_bits(folder: Path, tmp_path: Path, seed: str) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import sys\nimport numpy as np\nimport jitgrad, jitgrad.jit\n"
        "from jitgrad import stored\nload = stored.load\n"
        "stored.load = lambda identity: (found := load(identity), print(found is not None))[0]\n"
        "@jitgrad.value_and_grad\n"
        "def f(p):\n    return np.sum(np.tanh(p['w'] @ p['x'])) + np.sum(p['b'])\n"
        "p = {'w': np.arange(6.0).reshape(2, 3), 'x': np.ones(3), 'b': np.ones(2)}\n"
        "print(f(p), 'jitgrad.targets.frontend' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    said = [
        subprocess.run(
            [sys.executable, str(path)], capture_output=True, text=True, check=True, env=environment
        )
        for _ in range(2)
    ]
    first, second = (done.stdout.partition("\n") for done in said)
    assert (first[0], second[0]) == ("False", "True")
    assert second[2].endswith("False\n")
    assert first[2].split(" ")[:-1] == second[2].split(" ")[:-1]


def test_identities_do_not_depend_on_the_process() -> None:
    made = [module(source) for source in CERTAIN.values() for _ in range(2)]
    digests = [identify(m.f).digest for m in made]
    assert digests[::2] == digests[1::2]
    assert len(set(digests)) == len(CERTAIN)


def test_objects_of_extension_types_have_no_identity() -> None:
    with pytest.raises(Unknown, match="Generator"):
        identify(np.random.default_rng(0))
    with pytest.raises(Unknown, match="print"):
        identify(lambda: print())


def test_nothing_is_kept_of_what_cannot_be_identified(folder: Path) -> None:
    assert stored.identity_of(np.random.default_rng(0)) is None
