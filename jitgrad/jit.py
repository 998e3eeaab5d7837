"""Public transforms: a function is traced once for each kind of arguments, then runs a compiled program."""

from __future__ import annotations

import inspect
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, update_wrapper
from types import MethodType
from typing import Any

import numpy as np

from jitgrad import stored
from jitgrad.engines import Engine, at_home, chosen, engine_for, is_on_cpu, strides_for
from jitgrad.errors import JitgradWarning
from jitgrad.explain import explain, measured
from jitgrad.fuse import fuse
from jitgrad.identity import Identity
from jitgrad.ir import Aval, Graph, Node
from jitgrad.ir import interpret as interpret_graph
from jitgrad.location import user_line
from jitgrad.mapping import Axes, Mapped
from jitgrad.ops.values import decisive_arrays
from jitgrad.program import Kernel
from jitgrad.pytree import Tree, parts_of, unflatten
from jitgrad.rewrite import simplify
from jitgrad.runtime.binding import Run, bound
from jitgrad.runtime.execute import Compiled, compile_graph, element_strides
from jitgrad.runtime.plan import Outputs
from jitgrad.signature import (
    Arguments,
    Array,
    Key,
    key_of,
    keys_of,
    split,
    static_key,
    static_positions,
)
from jitgrad.targets.cpu import module_text
from jitgrad.trace import trace
from jitgrad.traced import Traced, active
from jitgrad.transforms import Call, name_of
from jitgrad.watch import Watch, held_elsewhere, watch

Program = Callable[[Sequence[Array]], Sequence[Array]]
Transform = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

MAX_PROGRAMS = 256  # of one function; the oldest goes first
MAX_KEPT = 64  # of one function that a process looks for on disk: sizes that always change do not come back
MANY_RETRACES = 20

# Programs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """What a function has for one kind of arguments; a program from the disk comes without its graph."""

    run: Run
    watch: Watch | None
    graph: Graph | None = None
    compiled: Program | None = None


def interpreter(graph: Graph, strides: Sequence[tuple[int, ...] | None]) -> Program:
    """Run a graph node by node on NumPy: the engine to compare others with."""
    return lambda arrays: interpret_graph(graph, *arrays)


def _contiguous(run: Run, places: Sequence[int]) -> Run:
    """The program after copies of the arrays at these places."""

    def copied(arrays: Sequence[Array]) -> Any:
        ready = list(arrays)
        for i in places:
            ready[i] = np.array(ready[i], ready[i].dtype.newbyteorder("="), order="C")
        return run(ready)

    return copied if places else run


def _donating(run: Run, places: Sequence[int]) -> Run:
    """The program after a check that the arrays at these places may be overwritten."""

    def checked(arrays: Sequence[Array]) -> Any:
        for place in places:
            array = arrays[place]
            if not array.flags.c_contiguous or not array.flags.writeable:
                raise ValueError(
                    f"a donated array at {user_line()} must be C-contiguous and writable. Donate a copy of it"
                )
            if any(np.may_share_memory(array, other) for i, other in enumerate(arrays) if i != place):
                raise ValueError(f"a donated array at {user_line()} shares memory with another argument")
        return run(arrays)

    return checked if places else run


def _title(function: Any) -> str:
    """A function's name and file."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (
        name_of(function) if code is None else f"{name_of(function)} in {os.path.basename(code.co_filename)}"
    )


def _outputs(leaves: Sequence[Any], tree: Tree) -> Outputs:
    """What a trace returned, without its nodes."""
    kinds = [
        ("array" if leaf.shape else "number", None) if isinstance(leaf, Node) else ("constant", leaf)
        for leaf in leaves
    ]
    return Outputs(tree, tuple(kinds))


def _runner(program: Program, outputs: Outputs) -> Run:
    """The program with what it returns built into the function's result."""
    if isinstance(program, Compiled):
        return bound(program.plan, program.loaded, outputs)

    def run(arrays: Sequence[Array]) -> Any:
        results = iter(program(arrays))
        leaves = [_leaf(kind, value, results) for kind, value in outputs.leaves]
        return unflatten(outputs.tree, leaves)

    return run


def _leaf(kind: str, value: Any, results: Iterator[Array]) -> Any:
    if kind == "constant":
        return value.copy() if isinstance(value, np.ndarray) else value
    return next(results) if kind == "array" else next(results)[()]


# What functions share ---------------------------------------------------------------------------------


class Programs:
    """The entries that all transforms alike of one function share."""

    __slots__ = ("entries", "kept", "lock", "retraces")

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.lock = threading.RLock()
        self.retraces = 0
        self.kept = 0


_shared: dict[tuple[int, ...], tuple[tuple[weakref.ref[Any], ...], dict[Any, Programs]]] = {}


def _identity(function: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The objects that a function consists of, and what was done to them."""
    if isinstance(function, Function):
        objects, options = _identity(function._function)
        return objects, (*options, function._options)
    if isinstance(function, MethodType):
        return (function.__func__, function.__self__), ()
    return (function,), ()


def _programs(function: Function) -> Programs:
    """The programs of a function, which live as long as the user's function (and object) do."""
    objects, options = _identity(function)
    key = tuple(map(id, objects))
    found = _shared.get(key)
    if found is None:
        try:
            found = tuple(weakref.ref(o, lambda _: _shared.pop(key, None)) for o in objects), {}
        except TypeError:  # an object without weak references: nothing can be shared
            return Programs()
        _shared[key] = found
    return found[1].setdefault(options, Programs())


def _key(args: tuple[Any, ...], arrays: list[Array]) -> Key:
    """What distinguishes the programs for these arguments, whose arrays are appended to `arrays`."""
    return tuple(keys_of(args, arrays))


# Functions --------------------------------------------------------------------------------------------


class Function:
    """A function under a transform: traced once for each kind of arguments, then run as a compiled program.

    Inside another trace it runs in place and becomes part of that trace.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        transform: Transform,
        static_argnames: str | Sequence[str] = (),
        engine: Engine = compile_graph,
        donated: tuple[int, ...] = (),
    ) -> None:
        if not callable(function):
            raise TypeError(f"expected a function at {user_line()}, got {function!r}")
        update_wrapper(self, function, updated=())
        names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        if isinstance(function, Function):
            names = tuple(dict.fromkeys((*names, *function._static_names)))
        self._function = function
        self._static_names: tuple[str, ...] = names
        self._transform = transform
        self._static_positions = static_positions(function, names)
        self._engine = engine
        self._donated = donated
        self._options = (transform, names, engine, donated)
        self._programs = _programs(self)
        self._entries = self._programs.entries

    def __repr__(self) -> str:
        return f"<jitgrad {type(self._transform).__name__.lower()} of {name_of(self._function)}>"

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: Any) -> Function:
        return self

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None or not hasattr(self._function, "__get__"):
            return self
        return Function(
            self._function.__get__(instance, owner),
            self._transform,
            self._static_names,
            self._engine,
            tuple(i - 1 for i in self._donated if i),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if active.trace is not None:
            return self._inline(args, kwargs)
        arrays: list[Array] = []
        key = self._key(args, kwargs, arrays) if kwargs or self._static_names else _key(args, arrays)
        try:
            entry = self._entries.get(key)
        except TypeError:
            raise TypeError(
                f"the arguments at {user_line()} hold keys or static fields without a hash"
            ) from None
        if entry is None or (entry.watch is not None and self._is_stale(entry)):
            entry = self._entry(key, args, kwargs)
        return entry.run(arrays)

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any], arrays: list[Array]) -> Key:
        args, kwargs, static = split(args, kwargs, self._static_positions, self._static_names)
        positional = _key(args, arrays)
        return (
            positional,
            *[(name, key_of(value, arrays)) for name, value in kwargs.items()],
            static_key(static),
        )

    def _any_key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
        return self._key(args, kwargs, []) if kwargs or self._static_names else _key(args, [])

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        return Arguments(args, kwargs, self._static_positions, self._static_names)

    def _inline(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert active.trace is not None
        arguments = self._arguments(args, kwargs)
        args, kwargs = arguments.rebuilt(arguments.wrapped(active.trace, self._function))
        return self._transform(self._function, args, kwargs)

    def _is_stale(self, entry: Entry) -> bool:
        assert entry.watch is not None
        name = entry.watch.changed()
        if name is None:
            return False
        self._programs.retraces += 1
        if self._programs.retraces == MANY_RETRACES:
            warnings.warn(
                f"{name_of(self._function)} was traced {MANY_RETRACES} times again because {name}, which it "
                "reads from outside, had changed. Pass it as an argument instead",
                JitgradWarning,
                stacklevel=3,
            )
        return True

    def _entry(self, key: Key, args: tuple[Any, ...], kwargs: dict[str, Any], traced: bool = False) -> Entry:
        with self._programs.lock:
            entry = self._entries.get(key)
            stale = entry is None or (entry.watch is not None and entry.watch.changed())
            if entry is None or stale or (traced and entry.graph is None):
                entry = self._made(key, self._arguments(args, kwargs), traced)
                while len(self._entries) >= MAX_PROGRAMS:
                    del self._entries[next(iter(self._entries))]
                self._entries[key] = entry
            return entry

    def _made(self, key: Key, arguments: Arguments, traced: bool) -> Entry:
        """Find the program on disk, or trace the function and compile what it does."""
        inputs = arguments.inputs(self._function)
        outside = watch(self._function)
        identity = self._identity(key)
        found = stored.load(identity) if identity is not None and not traced else None
        if found is not None:
            run = bound(found.program.plan, found.loaded, found.program.outputs)
            run = _contiguous(run, found.program.copied)
            return Entry(_donating(run, found.program.donated), outside.settled())

        def run_once(values: list[Traced]) -> Any:
            args, kwargs = arguments.rebuilt(values)
            return self._transform(self._function, args, kwargs)

        with decisive_arrays() as decisive:
            nodes, leaves, tree = trace(run_once, [i.aval for i in inputs], [i.scalar for i in inputs])
        outside.arrays = held_elsewhere(decisive.values())
        graph = simplify(Graph(nodes, tuple(leaf for leaf in leaves if isinstance(leaf, Node))))
        taken = tuple(place for place in self._given_away(arguments) if not inputs[place].scalar)
        engine = chosen(self._engine, inputs)
        strides = strides_for(engine, inputs)
        with at_home(inputs):
            compiled = engine(graph, strides, taken) if taken else engine(graph, strides)
        outputs = _outputs(leaves, tree)
        copied = tuple(place for place, i in enumerate(inputs) if i.contiguous)
        if identity is not None and isinstance(compiled, Compiled) and not outside.arrays:
            program = stored.Stored(compiled.plan, outputs, copied, taken)
            stored.store(identity, stored.identity_of(self, key), program, _title(self._function))
        run = _donating(_contiguous(_runner(compiled, outputs), copied), taken)
        return Entry(run, outside.settled(), graph, compiled)

    def _given_away(self, arguments: Arguments) -> tuple[int, ...]:
        """The places of the leaves that results may be written into."""
        if not self._donated or not is_on_cpu(self._engine):
            return ()
        return arguments.places(self._donated)

    def _identity(self, key: Key) -> Identity | None:
        """What the program for arguments of this kind is kept under on disk, if it is kept."""
        if not is_on_cpu(self._engine):
            return None
        self._programs.kept += 1
        return stored.identity_of(self, key) if self._programs.kept <= MAX_KEPT else None

    def identity_parts(self) -> tuple[Any, ...]:
        """Return what a program of this function depends on."""
        return repr(self._transform), self._static_names, self._engine.__name__, self._donated, self._function

    def warm(self, *args: Any, **kwargs: Any) -> Function:
        """Compile for such arguments without running, and return the function.

        Arrays may be given by their shape and dtype alone: see `aval`.

        >>> import numpy as np
        >>> total = jit(lambda p: np.sum(p["w"] ** 2)).warm({"w": aval((1000, 10))})
        """
        args, kwargs = _example(args), _example(kwargs)
        self._entry(
            self._key(args, kwargs, []) if kwargs or self._static_names else _key(args, []), args, kwargs
        )
        return self

    def entry(self, *args: Any, **kwargs: Any) -> Entry:
        """Return what runs when the function is called with such arguments, with its graph."""
        return self._entry(self._any_key(args, kwargs), args, kwargs, traced=True)

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """Return the graph, value and gradients together, that such arguments lead to, after rewriting."""
        graph = self.entry(*args, **kwargs).graph
        assert graph is not None
        return graph

    def compiled(self, *args: Any, **kwargs: Any) -> Compiled:
        """Return the compiled program that such arguments lead to."""
        compiled = self.entry(*args, **kwargs).compiled
        if not isinstance(compiled, Compiled):
            raise TypeError(f"{self!r} at {user_line()} is interpreted, not compiled")
        return compiled

    def source(self, *args: Any, target: str = "cpu", **kwargs: Any) -> str:
        """Return the Python source of the kernels that such arguments lead to, for the CPU or for "cuda".

        No GPU is needed.
        """
        if target == "cuda":
            return self._listing(args, kwargs)
        return "\n\n".join(module_text(step.source) for step in self.compiled(*args, **kwargs).kernels)

    def _listing(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        from jitgrad.targets.cuda.grids import listing

        inputs = self._arguments(args, kwargs).inputs(self._function)
        graph = self.graph(*args, **kwargs)
        program = fuse(graph, element_strides(graph, [i.strides for i in inputs]))
        return "\n\n".join(listing(step) for step in program.steps if isinstance(step, Kernel))

    def explain(self, *args: Any, measure: bool = False, target: str = "cpu", **kwargs: Any) -> Any:
        """Report on the steps that such arguments lead to: the memory that they move, their work, their time.

        With `measure` the program runs a few times, and the report has the time of each step. With `target`
        "cuda" it is about the same program on a GPU, which need not be there.
        """
        compiled = self.compiled(*args, **kwargs)
        if target == "cuda":
            from jitgrad.explain_grids import explain_on_device

            return explain_on_device(compiled)
        if not measure:
            return explain(compiled)
        arrays: list[Array] = []
        self._key(args, kwargs, arrays)
        inputs = self._arguments(args, kwargs).inputs(self._function)
        copied = tuple(place for place, i in enumerate(inputs) if i.contiguous)
        return explain(compiled, _contiguous(partial(measured, compiled), copied)(arrays))


# Public transforms ------------------------------------------------------------------------------------


def jit(
    function: Any = None,
    *,
    static_argnames: str | Sequence[str] = (),
    fastmath: bool = False,
    donate_argnums: int | Sequence[int] = (),
    target: str | None = None,
) -> Any:
    """Compile a function of arrays.

    The function is run once on traced values for each structure, shape and dtype of its arguments; then the
    compiled program runs. Numbers and arrays are run-time values; arguments named in `static_argnames` are
    Python values that may decide what the function does. Arrays that it closes over are read at each call;
    what it computes from those alone with NumPy is computed once, when tracing.

    With `fastmath` the arithmetic may be contracted (x * y + z rounds once) and reassociated: results then
    differ in the last bits from those of the exact mode. Of nested transforms the outermost decides.

    The program runs where the arrays of its arguments lie: NumPy's on the CPU, CuPy's and others with
    `__cuda_array_interface__` on their GPU. With `target` "cuda" it runs on the current GPU in any case. What
    a GPU computes are CuPy's arrays, complete when the current stream has come to them.

    The arrays of the arguments with the numbers `donate_argnums` are given away: a result of the same shape
    and dtype may be written into them, and afterwards their contents are undefined. They must be
    C-contiguous, writable, and share no memory with other arguments.

    >>> import numpy as np
    >>> @jit
    ... def norm(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    if function is None:
        options: dict[str, Any] = {"static_argnames": static_argnames, "fastmath": fastmath}
        return partial(jit, **options, donate_argnums=donate_argnums, target=target)
    engine = engine_for(fastmath, target)
    return Function(function, Call(), static_argnames, engine, donated_numbers(donate_argnums))


def vmap(
    function: Any = None,
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    static_argnames: str | Sequence[str] = (),
    fastmath: bool = False,
    target: str | None = None,
) -> Any:
    """Turn a function of one example into one of many, which computes all of them in one program.

    `in_axes` says which axis of the arguments counts the examples: an int, None for what is the same for
    each, or a tuple with one of these for each positional argument, which may again be a container built
    like the argument. Keyword arguments have them first. `out_axes` says where the results have them. Raises
    ValueError where the axes do not fit, NotImplementedError for an op that has no batching rule.

    >>> import numpy as np
    >>> vmap(lambda x, y: np.sum(x * y), in_axes=(0, None))(np.ones((3, 2)), np.array([1.0, 10.0]))
    array([11., 11., 11.])
    """
    if function is None:
        options: dict[str, Any] = {"static_argnames": static_argnames, "fastmath": fastmath, "target": target}
        return partial(vmap, in_axes=in_axes, out_axes=out_axes, **options)
    in_axes = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    transform = Mapped(Axes.of(in_axes), Axes.of(out_axes))
    return Function(function, transform, static_argnames, engine_for(fastmath, target))


def compile(function: Callable[..., Any]) -> Function:
    """Return a function as a compiled one: itself where a transform made it, else `jit` of it.

    Its method `warm` compiles ahead of the first call.

    >>> import numpy as np
    >>> total = compile(lambda x: np.sum(x * x)).warm(aval((3,)))
    >>> total(np.ones(3))
    np.float64(3.0)
    """
    return function if isinstance(function, Function) else jit(function)


def aval(shape: int | Sequence[int], dtype: Any = float) -> Aval:
    """Return the shape and dtype of a C-contiguous array in the array's place, for `Function.warm`.

    >>> print(aval((2, 3), "float32"))
    float32[2,3]
    """
    return Aval((shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype))


def _example(value: Any) -> Any:
    """The value with arrays, of any content, in place of what has only a shape and a dtype."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return np.empty(value.shape, value.dtype)
    parts = parts_of(value)
    if parts is None:
        return value
    build, meta, children = parts
    return build(meta, [_example(child) for child in children])


def donated_numbers(argnums: int | Sequence[int]) -> tuple[int, ...]:
    """Return argument numbers in order; raises TypeError for what is none."""
    numbers = tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,)
    if any(isinstance(i, bool) or not isinstance(i, (int, np.integer)) or i < 0 for i in numbers):
        raise TypeError(f"donate_argnums at {user_line()} must be one or several from 0 on, got {argnums!r}")
    return tuple(sorted({int(i) for i in numbers}))


def interpret(function: Callable[..., Any]) -> Function:
    """Return the function's twin that runs its graph node by node on NumPy, without compiling.

    >>> import numpy as np
    >>> interpret(lambda x: x * x)(np.array([1.0, 2.0]))
    array([1., 4.])
    """
    if isinstance(function, Function):
        return Function(function._function, function._transform, function._static_names, interpreter)
    return Function(function, Call(), (), interpreter)
