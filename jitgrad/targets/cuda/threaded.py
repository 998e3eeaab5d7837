"""An emitted kernel for one thread to the text for a group of threads, which work on each unit together.

All threads of a group run the same statements. They share the turns of innermost loops, `each`; what stands
outside of these they compute all alike, and the first thread alone writes it. A barrier, `sync`, stands
wherever one thread may read what another has written. Reductions and scans are functions of the group.

>>> print(threaded("def kernel(lo, hi, n, x0, y0):\\n for i in range(n):\\n  y0[i] = x0[i]"))
def kernel(units, n, x0, y0):
    for lo in range(group(), units, groups()):
        hi = lo + 1
        for i in each(n):
            y0[i] = x0[i]
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from jitgrad.targets.cuda.device import FUNCTIONS, SPREADING, is_cooperative

FIRST_ALONE = "thread() == 0"


def threaded(text: str) -> str:
    """Return the text of the same functions for groups of threads, without those that they call."""
    module = ast.parse(text)
    for function in module.body:
        assert isinstance(function, ast.FunctionDef)
        _share(function)
    return ast.unparse(ast.fix_missing_locations(module)).replace("\n\ndef", "\n\n\ndef") + "\n"


def spreads(text: str) -> bool:
    """Return whether several blocks may share the elements of a unit: no thread needs another's results.

    Then barriers only keep apart loops over the same elements, each of which belongs to one thread.
    """
    module = ast.parse(text)
    bounds = {
        ast.unparse(node)
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "each"
    }
    called = {ast.unparse(node.func) for node in ast.walk(module) if isinstance(node, ast.Call)}
    return len(bounds) == 1 and called.isdisjoint(FUNCTIONS.keys() - SPREADING)


def _share(function: ast.FunctionDef) -> None:
    """Let groups take the units in turn, and the threads of a group the turns of loops."""
    body = _statements(function.body)
    if function.name == "kernel":
        turn = [*_parsed("hi = lo + 1"), *body]
        if any(map(_waits, body)):
            turn += _parsed("sync()")
            _drop_double(turn)
        body = [_loop("lo", "range(group(), units, groups())", turn)]
    low, high, *rest = function.args.args
    function.args.args = [ast.arg("units"), *rest]
    function.body = body or [ast.Pass()]


def _statements(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for statement in body:
        found += _statement(statement)
    _drop_double(found)
    return found


def _statement(statement: ast.stmt) -> list[ast.stmt]:
    match statement:
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name)) as target], value=value):
            computed = _parsed(f"result = {ast.unparse(value)}") if _cooperates(value) else []
            alone = ast.Assign([target], _name("result") if computed else value)
            return [*computed, ast.If(_expression(FIRST_ALONE), [alone], []), *_barrier([name])]
        case ast.For():
            return _shared_loop(statement)
        case _:
            return [statement]


def _shared_loop(loop: ast.For) -> list[ast.stmt]:
    """One loop whose turns the threads share, or one that all of them run."""
    columns = _down_columns(loop)
    if columns is not None:
        return columns
    if not _cooperates(loop) and not any(isinstance(node, ast.For) for node in _inside(loop)):
        return [_each(loop, loop.body), *_barrier(_written(loop))]
    loop.body = _statements(loop.body)
    assert isinstance(loop.iter, ast.Call)
    loop.iter.func = _name("range")
    if len(_shared(loop)) == 1 and not _cooperates(loop):
        # Each thread comes back to its own elements, whatever the turn of the outer loop.
        barrier = _taken(loop)
        return [loop, *barrier]
    if any(map(_waits, loop.body)) and not _is_one_unit(loop):
        loop.body = [*loop.body, *_parsed("sync()")]
        _drop_double(loop.body)
    return [loop]


def _is_one_unit(loop: ast.For) -> bool:
    """Whether a loop runs from `lo` to `hi`, which is a single turn."""
    assert isinstance(loop.iter, ast.Call)
    return [ast.unparse(argument) for argument in loop.iter.args] == ["lo", "hi"]


def _each(loop: ast.For, body: Sequence[ast.stmt]) -> ast.For:
    assert isinstance(loop.iter, ast.Call)
    return ast.For(loop.target, ast.Call(_name("each"), loop.iter.args, []), list(body), [])


def _down_columns(loop: ast.For) -> list[ast.stmt] | None:
    """Loops over rows around one along them that adds to columns: each thread goes down its own columns."""
    chain, inner = [], loop
    while True:
        *before, last = inner.body
        if not all(isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) for s in before):
            return None
        chain.append((inner, before))
        if not isinstance(last, ast.For):
            return None
        inner = last
        if not any(isinstance(node, ast.For) for node in _inside(inner)):
            break
    if _cooperates(loop) or not _written(inner) or not _keeps_places(inner):
        return None
    if _uses_names_of(inner.iter, chain):
        return None
    body = list(inner.body)
    for outer, before in reversed(chain):
        body = [ast.For(outer.target, outer.iter, [*before, *body], [])]
    return [_each(inner, body), *_barrier(_written(inner))]


def _keeps_places(loop: ast.For) -> bool:
    """Whether each turn reads and writes one place of every temporary and work array that the loop writes."""
    written = _written(loop)
    places = {
        (node.value.id, ast.unparse(node.slice))
        for node in _inside(loop)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in written
    }
    return len(places) == len(written)


def _uses_names_of(bounds: ast.expr, chain: Sequence[tuple[ast.For, Sequence[ast.stmt]]]) -> bool:
    made = {
        node.id
        for loop, before in chain
        for part in (loop.target, *before)
        for node in ast.walk(part)
        if isinstance(node, ast.Name) and (part is loop.target or isinstance(node.ctx, ast.Store))
    }
    return any(isinstance(node, ast.Name) and node.id in made for node in ast.walk(bounds))


def _shared(loop: ast.For) -> list[ast.For]:
    return [n for n in _inside(loop) if isinstance(n, ast.For) and ast.unparse(n.iter).startswith("each(")]


def _taken(loop: ast.For) -> list[ast.stmt]:
    """Take the barrier after the only shared loop out of the one around it, if its bounds stay the same."""
    (shared,) = _shared(loop)
    names = {node.id for node in ast.walk(shared.iter) if isinstance(node, ast.Name)}
    made = {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if names & made or not loop.body or not _is_sync(loop.body[-1]):
        return []
    if sum(map(_is_sync, _inside(loop))) != 1:
        return []
    return [loop.body.pop()]


def _inside(loop: ast.For) -> Iterable[ast.AST]:
    return (node for statement in loop.body for node in ast.walk(statement))


def _cooperates(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and is_cooperative(part.func.id)
        for part in ast.walk(node)
    )


def _written(node: ast.AST) -> list[str]:
    """The arrays that statements write, but for outputs, which no kernel reads."""
    names = {
        part.value.id
        for part in ast.walk(node)
        if isinstance(part, ast.Subscript)
        and isinstance(part.ctx, ast.Store)
        and isinstance(part.value, ast.Name)
    }
    return sorted(name for name in names if not name.startswith("y"))


def _barrier(names: Sequence[str]) -> list[ast.stmt]:
    return _parsed("sync()") if any(not name.startswith("y") for name in names) else []


def _waits(statement: ast.stmt) -> bool:
    """Whether a thread waits for others in a statement, so that one may be a turn behind another."""
    return _cooperates(statement) or any(map(_is_sync, ast.walk(statement)))


def _is_sync(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and ast.unparse(node) == "sync()"


def _drop_double(body: list[ast.stmt]) -> None:
    for place in reversed(range(1, len(body))):
        if _is_sync(body[place]) and _is_sync(body[place - 1]):
            del body[place]


def _loop(name: str, bounds: str, body: list[ast.stmt]) -> ast.For:
    return ast.For(ast.Name(name, ast.Store()), _expression(bounds), body, [])


def _name(text: str) -> ast.Name:
    return ast.Name(text, ast.Load())


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _parsed(text: str) -> list[ast.stmt]:
    return ast.parse(text).body
