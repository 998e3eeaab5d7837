"""NumPy ufuncs of the elementary functions: loops over vectors, compiled once and then loaded from disk."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from jitgrad.machine import code, native
from jitgrad.vmath import library
from jitgrad.vmath.routine import ROUTINES, Routine
from jitgrad.vmath.value import FLOAT32, FLOAT64, Kind

_NO_IDENTITY = -1
_FROM_LOOPS = 1
"""The place of PyUFunc_FromFuncAndData in NumPy's table of functions for ufuncs."""

# `dense` takes arrays whose elements are neighbours, a vector at a time; lanes of the last one that have no
# element compute f(1). `loop` is what NumPy calls; it collects elements from other places into dense buffers,
# some at a time, and spreads the results to their places.
_DENSE = """
declare {vector} @{function}({vectors}) {pure}
declare {vector} @llvm.masked.load.{suffix}.p0(ptr, i32, {mask}, {vector})
declare void @llvm.masked.store.{suffix}.p0({vector}, ptr, i32, {mask})

define internal void @dense.{element}(i64 %n, {pointers}) noinline {{
entry:
  %whole = and i64 %n, -{lanes}
  %some = icmp sgt i64 %whole, 0
  br i1 %some, label %next, label %rest
next:
  %i = phi i64 [ 0, %entry ], [ %following, %next ]
{loads}
  %y = call {vector} @{function}({values})
  %to = getelementptr {element}, ptr %p{result}, i64 %i
  store {vector} %y, ptr %to, align {bytes}
  %following = add nuw nsw i64 %i, {lanes}
  %more = icmp slt i64 %following, %whole
  br i1 %more, label %next, label %rest, !llvm.loop !{as_written}
rest:
  %left = sub i64 %n, %whole
  %none = icmp sle i64 %left, 0
  br i1 %none, label %done, label %last
last:
  %count = trunc i64 %left to i32
  %head = insertelement <{lanes} x i32> poison, i32 %count, i32 0
  %counts = shufflevector <{lanes} x i32> %head, <{lanes} x i32> poison, <{lanes} x i32> zeroinitializer
  %mask = icmp ult <{lanes} x i32> {numbers}, %counts
{last_loads}
  %z = call {vector} @{function}({last_values})
  %end = getelementptr {element}, ptr %p{result}, i64 %whole
  call void @llvm.masked.store.{suffix}.p0({vector} %z, ptr %end, i32 {bytes}, {mask} %mask)
  br label %done
done:
  ret void
}}

!{as_written} = distinct !{{
    !{as_written}, !{{!"llvm.loop.vectorize.enable", i1 false}}, !{{!"llvm.loop.unroll.disable"}}}}
"""

_LOOP = """
define void @{name}(ptr %arrays, ptr %count, ptr %strides, ptr %nothing) {{
entry:
{buffers}
  %n = load i64, ptr %count
{operands}
  br i1 %dense{result}, label %all, label %check
all:
  call void @dense.{element}(i64 %n, {arrays})
  ret void
check:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %chunk, label %done
chunk:
  %first = phi i64 [ 0, %check ], [ %last, %spread{result}.end ]
  %left = sub i64 %n, %first
  %short = icmp slt i64 %left, {chunk}
  %size = select i1 %short, i64 %left, i64 {chunk}
{collects}
  call void @dense.{element}(i64 %size, {chunks})
{spread}
  %last = add i64 %first, %size
  %more = icmp slt i64 %last, %n
  br i1 %more, label %chunk, label %done
done:
  ret void
}}
"""

_OPERAND = """\
  %pointer{k} = getelementptr ptr, ptr %arrays, i64 {k}
  %array{k} = load ptr, ptr %pointer{k}
  %word{k} = getelementptr i64, ptr %strides, i64 {k}
  %step{k} = load i64, ptr %word{k}
  %near{k} = icmp eq i64 %step{k}, {bytes}
  %dense{k} = and i1 %near{k}, {others}"""

_MOVE = """\
  %offset{k} = mul i64 %first, %step{k}
  %start{k} = getelementptr i8, ptr %array{k}, i64 %offset{k}
  br label %{move}{k}
{move}{k}:
  %m{k} = phi i64 [ 0, %{before} ], [ %next{k}, %{move}{k} ]
  %distance{k} = mul i64 %m{k}, %step{k}
  %far{k} = getelementptr i8, ptr %start{k}, i64 %distance{k}
  %close{k} = getelementptr {element}, ptr %b{k}, i64 %m{k}
  %moved{k} = load {element}, ptr %{source}{k}
  store {element} %moved{k}, ptr %{target}{k}
  %next{k} = add nuw nsw i64 %m{k}, 1
  %again{k} = icmp slt i64 %next{k}, %size
  br i1 %again{k}, label %{move}{k}, label %{move}{k}.end, !llvm.loop !{as_written}
{move}{k}.end:"""

_LOAD = """\
  %from{k} = getelementptr {element}, ptr %p{k}, i64 %i
  %x{k} = load {vector}, ptr %from{k}, align {bytes}"""

_LAST_LOAD = """\
  %ending{k} = getelementptr {element}, ptr %p{k}, i64 %whole
  %last{k} = call {vector} @llvm.masked.load.{suffix}.p0(
      ptr %ending{k}, i32 {bytes}, {mask} %mask, {vector} splat ({element} 1.0))"""

_CHUNK = 256
_SHORT = 300
"""Lines of LLVM IR."""


def _vector(routine: Routine, kind: Kind) -> Kind:
    """Return the kind of what a loop computes at a time.

    It fills two registers, which share the test for what is rare, or one where two take long to compile.
    """
    single = replace(kind, lanes=library.lanes_of(kind.bits)[0])
    short = library.definition(routine.name, single).count("\n") <= _SHORT
    return replace(kind, lanes=2 * single.lanes) if short else single


def loop_text(routine: Routine, kind: Kind, name: str) -> str:
    """Return LLVM IR of the loop over arrays of this kind, `void(char **, int64 *, int64 *, void *)`."""
    operands = range(routine.arity)
    places = range(routine.arity + 1)
    vector = _vector(routine, kind)
    lanes = vector.lanes
    terms = {
        "element": str(kind.element),
        "vector": str(vector.llvm),
        "suffix": vector.suffix,
        "lanes": lanes,
        "mask": f"<{lanes} x i1>",
        "bytes": kind.bits // 8,
        "chunk": _CHUNK,
        "result": routine.arity,
        "function": library.symbol(routine.name, vector),
        "name": name,
        "as_written": kind.bits,
    }

    def each(template: str, numbers: range, separator: str = "\n", **more: Any) -> str:
        return separator.join(template.format(k=k, **terms, **more) for k in numbers)

    dense = _DENSE.format(
        **terms,
        pure=library.PURE,
        numbers="<" + ", ".join(f"i32 {lane}" for lane in range(lanes)) + ">",
        vectors=each("{vector}", operands, ", "),
        pointers=each("ptr %p{k}", places, ", "),
        loads=each(_LOAD, operands),
        values=each("{vector} %x{k}", operands, ", "),
        last_loads=each(_LAST_LOAD, operands),
        last_values=each("{vector} %last{k}", operands, ", "),
    )
    collects = "\n".join(
        _MOVE.format(
            k=k,
            move="collect",
            before=f"collect{k - 1}.end" if k else "chunk",
            source="far",
            target="close",
            **terms,
        )
        for k in operands
    )
    before = f"collect{routine.arity - 1}.end"
    return dense + _LOOP.format(
        **terms,
        buffers=each("  %b{k} = alloca [{chunk} x {element}], align 64", places),
        operands="\n".join(
            _OPERAND.format(k=k, others=f"%dense{k - 1}" if k else "true", **terms) for k in places
        ),
        arrays=each("ptr %array{k}", places, ", "),
        chunks=each("ptr %b{k}", places, ", "),
        collects=collects,
        spread=_MOVE.format(
            k=routine.arity, move="spread", before=before, source="close", target="far", **terms
        ),
    )


def _addresses(routine: Routine) -> list[int]:
    """Return the addresses of a ufunc's loops, from the disk or compiled now."""
    key = code.key_of("ufunc", routine.name)
    names = {kind: f"jitgrad_{key}_f{kind.bits}" for kind in (FLOAT32, FLOAT64)}

    def compile_now() -> tuple[str, bytes]:
        text = "\n".join(loop_text(routine, kind, name) for kind, name in names.items())
        return inspect.getsource(routine.body), native.compile_ir(text, library)

    found = code.load(key, list(names.values()), "ufunc", compile_now)
    return [found.addresses[name] for name in names.values()]


@cache
def _make_ufunc() -> Callable[..., np.ufunc]:
    """Return NumPy's own constructor of ufuncs, PyUFunc_FromFuncAndData."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(_multiarray_umath._UFUNC_API, None), ctypes.POINTER(ctypes.c_void_p))
    integer, text = ctypes.c_int, ctypes.c_char_p
    signature = ctypes.PYFUNCTYPE(
        ctypes.py_object, *[ctypes.c_void_p] * 3, *[integer] * 4, text, text, integer
    )
    return signature(table[_FROM_LOOPS])


@cache
def ufunc(name: str) -> np.ufunc:
    """Return the ufunc of the routine `name`, for float32 and float64.

    >>> import numpy as np
    >>> ufunc("exp")(np.array([0.0, 1.0], np.float32))
    array([1.       , 2.7182817], dtype=float32)
    """
    if name not in ROUTINES:
        raise ValueError(f"no routine {name!r} in jitgrad.vmath; there are {', '.join(sorted(ROUTINES))}")
    routine = ROUTINES[name]
    if routine.arity > 2:
        raise ValueError(f"{name} takes {routine.arity} arguments; a ufunc takes one or two")
    addresses = _addresses(routine)
    loops = (ctypes.c_void_p * len(addresses))(*addresses)
    data = (ctypes.c_void_p * len(addresses))()
    codes = [np.dtype(name).num for name in ("float32", "float64") for _ in range(routine.arity + 1)]
    types = (ctypes.c_byte * len(codes))(*codes)
    label, text = name.encode(), (inspect.getdoc(routine.body) or "").encode()
    for kept in (loops, data, types, label, text):
        native.immortal(kept)
    places = [ctypes.addressof(array) for array in (loops, data, types)]
    return _make_ufunc()(*places, len(addresses), routine.arity, 1, _NO_IDENTITY, label, text, 0)
