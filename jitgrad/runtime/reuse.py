"""Which array a kernel may write its result into although it reads it: one whose every element it reads once,
where it writes the element that needs it."""

from __future__ import annotations

from jitgrad.ir import Node, toposort
from jitgrad.program import INSIDE, LOAD, Kernel, Store


def may_overwrite(kernel: Kernel, array: Node, store: Store) -> bool:
    """Return whether a kernel may store a result in an array that it reads, and that nothing reads after it.

    One loop reads the array, each element once and unconditionally, and the value stored is computed from it:
    so no other order of reads and writes is possible, whatever the compiler assumes of distinct arrays.
    """
    same = (array.shape, array.dtype) == (store.target.shape, store.target.dtype)
    if not same or store.level != "element" or len(kernel.domain) != 1 or kernel.domain[0] != array.aval.size:
        return False
    body = toposort(s.value for s in (*kernel.stores, *kernel.epilogue))
    if any(node.op.kind in ("reduce", "scan") or node.op is INSIDE for node in body):
        return False  # a part of a loop that knows its guards may not need the element that it overwrites
    loads = [node for node in body if node.op is LOAD and node.param("buffer") is array]
    if len(loads) != 1 or loads[0].args:
        return False
    (load,) = loads
    plain = load.param("offset") == 0 and load.param("strides") == (1,)
    after = toposort(s.value for s in kernel.epilogue)
    return plain and load in toposort([store.value]) and load not in after
