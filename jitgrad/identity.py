"""A digest of a function and of everything outside it that can decide what it does.

Read are its code, defaults and closure, the globals that its code names, the attributes that it may read of
modules and objects, and the same of every function, class and object that these lead to; arrays count with
their contents. What cannot be followed for certain raises `Unknown`: built-in functions that are not known to
do always the same (files, clocks, random numbers, printing), imports and writes to globals inside a function,
attributes of Python's machinery, and objects of extension types.
"""

from __future__ import annotations

import builtins
import collections
import dataclasses
import dis
import functools
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import (
    CellType,
    CodeType,
    EllipsisType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

from jitgrad import known

MAX_FUNCTIONS = 300
MAX_ARRAY_BYTES = 32 << 20

_ATOMS = (bool, int, float, complex, str, bytes, type(None), EllipsisType, type(NotImplemented), range)
_IMPURE_OPERATIONS = {
    "IMPORT_NAME",
    "IMPORT_STAR",
    "STORE_GLOBAL",
    "DELETE_GLOBAL",
    "LOAD_NAME",
    "LOAD_BUILD_CLASS",
    "LOAD_CLASSDEREF",
    "LOAD_FROM_DICT_OR_GLOBALS",
    "LOAD_FROM_DICT_OR_DEREF",
}
_IMPURE_ATTRIBUTES = {"tofile", "dump", "ctypes", "gi_frame", "cr_frame", "ag_frame", "tb_frame", "f_back"}
_ATTRIBUTE_READS = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}
_READ_BY_LIBRARIES = ("dtype", "item", "items", "keys", "ndim", "shape", "size", "tolist", "values")
_MADE_BY_PYTHON = {
    "__annotations__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__match_args__",
    "__module__",
    "__orig_bases__",
    "__qualname__",
    "__slots__",
    "__static_attributes__",
    "__weakref__",
}
_HEAP_TYPE = 1 << 9


_WITHOUT_IDENTITY = (tuple, frozenset, slice, CodeType)


class Unknown(Exception):
    """Say that something cannot be identified for certain."""


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """A digest, and the classes and arrays behind it in the order in which they were met."""

    digest: str
    objects: tuple[Any, ...]

    def is_same(self, other: Identity) -> bool:
        """Return whether the digest is the same, and the objects are."""
        pairs = zip(self.objects, other.objects, strict=False)
        return self.digest == other.digest and all(mine is its for mine, its in pairs)


def identify(*values: Any) -> Identity:
    """Return the identity of values, functions among them; raise `Unknown` where there is none.

    >>> scale = 2.0
    >>> function = lambda x: x * scale
    >>> before = identify(function).digest
    >>> scale = 3.0
    >>> identify(function).digest == before
    False
    """
    search = _Search()
    for value in values:
        search.enter(value)
    search.finish()
    return Identity(search.digest.hexdigest(), tuple(search.objects))


@dataclasses.dataclass(frozen=True, slots=True)
class _Reads:
    globals: tuple[str, ...]
    attributes: frozenset[str]


@functools.lru_cache(maxsize=4096)
def _reads(code: CodeType) -> _Reads:
    """What code reads by name; nested code is met among its constants."""
    names: dict[str, None] = {}
    attributes: set[str] = set()
    for instruction in dis.get_instructions(code):
        operation = instruction.opname
        if operation in _IMPURE_OPERATIONS:
            raise Unknown(f"{code.co_name} contains {operation}")
        if operation == "LOAD_GLOBAL":
            names[instruction.argval] = None
        elif operation in _ATTRIBUTE_READS:
            attributes.add(instruction.argval)
    for attribute in attributes:
        if attribute in _IMPURE_ATTRIBUTES or (attribute.startswith("__") and attribute != "__init__"):
            raise Unknown(f"{code.co_name} reads {attribute}")
    return _Reads(tuple(names), frozenset(attributes))


class _Search:
    """Follows values to what they consist of, in an order that depends on nothing else."""

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=20)
        self.objects: list[Any] = []
        self.seen: dict[int, int] = {}
        self.alive: list[Any] = []
        self.names = known.names()
        self.attributes = set(_READ_BY_LIBRARIES)
        self.namespaces: list[tuple[Any, Any]] = []
        self.array_bytes = 0
        self.functions = 0

    def put(self, *texts: str) -> None:
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            self.digest.update(b"%d:" % len(data))
            self.digest.update(data)

    def enter(self, value: Any) -> None:
        """Add a value to the digest."""
        kind = type(value)
        if kind in _ATOMS:
            self.put(kind.__name__, repr(value))
        elif kind in _WITHOUT_IDENTITY:
            _FOLLOW[kind](self, value)
        elif id(value) in self.seen:
            self.put("again", str(self.seen[id(value)]))
        else:
            self.seen[id(value)] = len(self.seen)
            self.alive.append(value)
            found = self.names.get(id(value))
            if found is not None:
                self.put("known", found[0])
            else:
                self._follow(value, kind)

    def _follow(self, value: Any, kind: type) -> None:
        follow = _FOLLOW.get(kind)
        if follow is not None:
            follow(self, value)
        elif isinstance(value, np.generic):
            self.put("number", value.dtype.str)
            self.digest.update(value.tobytes())
        elif isinstance(value, np.dtype):
            self.put("dtype", value.str if value.names is None else repr(value))
        elif isinstance(value, type):
            self.enter_class(value)
        elif callable(parts := getattr(kind, "identity_parts", None)) and _is_ours(kind):
            self.put("ours", kind.__name__)
            self.enter(parts(value))
        else:
            self.enter_instance(value, kind)

    def enter_items(self, value: Any) -> None:
        self.put(type(value).__name__, str(len(value)))
        for item in value:
            self.enter(item)

    def enter_dict(self, value: Any) -> None:
        self.put(type(value).__name__, str(len(value)))
        for key, item in value.items():
            self.enter(key)
            self.enter(item)

    def enter_constants(self, value: frozenset[Any]) -> None:
        """A set in code holds constants, which have no order."""
        if not all(type(item) in _ATOMS for item in value):
            raise Unknown("a set has no order")
        self.put("frozenset", *sorted(f"{type(item).__name__} {item!r}" for item in value))

    def enter_slice(self, value: slice) -> None:
        self.put("slice")
        self.enter((value.start, value.stop, value.step))

    def enter_array(self, value: np.ndarray[Any, Any]) -> None:
        self.array_bytes += value.nbytes
        if value.dtype.hasobject or self.array_bytes > MAX_ARRAY_BYTES:
            raise Unknown(f"arrays of objects, or of more than {MAX_ARRAY_BYTES} bytes")
        self.put("array", value.dtype.str, repr((value.shape, value.strides, value.flags.writeable)))
        self.digest.update(np.ascontiguousarray(value).tobytes())
        self.objects.append(value)

    def enter_partial(self, value: functools.partial[Any]) -> None:
        self.put("partial")
        self.enter((value.func, value.args, value.keywords))

    def enter_method(self, value: MethodType) -> None:
        self.put("method")
        self.enter((value.__func__, value.__self__))

    def enter_module(self, value: ModuleType) -> None:
        self.put("module", value.__name__)
        self.namespaces.append((value.__name__, value))

    def enter_namespace(self, value: SimpleNamespace) -> None:
        self.put("namespace")
        self.enter_dict(vars(value))

    def enter_wrapped(self, value: Any) -> None:
        self.put(type(value).__name__)
        self.enter(value.__func__)

    def enter_property(self, value: property) -> None:
        self.put("property")
        self.enter((value.fget, value.fset, value.fdel))

    def enter_function(self, value: FunctionType) -> None:
        self.functions += 1
        if self.functions > MAX_FUNCTIONS:
            raise Unknown("too many functions")
        if value.__globals__.get("__builtins__") not in (builtins, vars(builtins)):
            raise Unknown(f"{value.__name__} has built-in functions of its own")
        self.put("function", value.__qualname__)
        self.enter(value.__code__)
        self.enter((value.__defaults__, value.__kwdefaults__, vars(value)))
        for cell in value.__closure__ or ():
            self.enter_cell(cell)
        for part in _nested(value.__code__):
            reads = _reads(part)
            self.attributes |= reads.attributes
            for name in reads.globals:
                self.enter_global(value, name)

    def enter_cell(self, cell: CellType) -> None:
        try:
            contents = cell.cell_contents
        except ValueError:
            self.put("empty")
            return
        self.enter(contents)

    def enter_global(self, function: FunctionType, name: str) -> None:
        self.put("global", name)
        if name in function.__globals__:
            self.enter(function.__globals__[name])
        elif hasattr(builtins, name):
            value = getattr(builtins, name)
            if type(value) not in _ATOMS and id(value) not in self.names:
                raise Unknown(f"{function.__name__} calls {name}")
            self.enter(value)
        else:
            self.put("missing")

    def enter_code(self, value: CodeType) -> None:
        self.put("code", value.co_name, os.path.basename(value.co_filename), str(value.co_firstlineno))
        sizes = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
        self.put(repr((sizes, value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)))
        self.put(repr((value.co_code, value.co_linetable, getattr(value, "co_exceptiontable", b""))))
        self.enter_items(value.co_consts)

    def enter_class(self, value: type) -> None:
        if value.__module__ == "builtins" and not value.__flags__ & _HEAP_TYPE:
            self.put("built-in", value.__qualname__)
            return
        if type(value) is not type or not value.__flags__ & _HEAP_TYPE:
            raise Unknown(f"{value.__name__} is no class of plain Python")
        self.put("class", value.__module__, value.__qualname__, repr(value.__dict__.get("__slots__")))
        self.objects.append(value)
        fields: tuple[str, ...] = ()
        if _is_namedtuple(value):
            fields = value._fields  # type: ignore[attr-defined]
            self.enter((fields, value._field_defaults))  # type: ignore[attr-defined]
        else:
            self.enter(tuple(base for base in value.__bases__ if base is not object))
        if "__dataclass_fields__" in vars(value):
            self.enter_fields(value)
        for name in [name for name in vars(value) if name.startswith("__")]:
            self.enter_class_attribute(value, name, fields)
        self.namespaces.append((fields, value))

    def enter_class_attribute(self, kind: type, name: str, fields: tuple[str, ...]) -> None:
        item = vars(kind)[name]
        if name not in _MADE_BY_PYTHON and name not in fields and not _is_generated(item):
            self.put("attribute", name)
            self.enter(item)

    def enter_fields(self, kind: Any) -> None:
        self.put("dataclass", repr(kind.__dataclass_params__))
        for field in dataclasses.fields(kind):
            self.put("field", field.name, repr((field.init, field.kw_only, field.compare)))
            self.enter(dict(field.metadata))
            for default in (field.default, field.default_factory):
                self.enter("no default" if default is dataclasses.MISSING else (default,))

    def enter_instance(self, value: Any, kind: Any) -> None:
        if not kind.__flags__ & _HEAP_TYPE or type(kind) is not type:
            raise Unknown(f"an object of type {kind.__name__}")
        if isinstance(value, tuple):
            self.put("tuple of class")
            self.enter(kind)
            self.enter(tuple(value))
            return
        if any(not base.__flags__ & _HEAP_TYPE and base is not object for base in kind.__mro__):
            raise Unknown(f"an object of type {kind.__name__}")
        self.put("instance")
        self.enter(kind)
        if dataclasses.is_dataclass(value):
            self.enter([getattr(value, field.name, None) for field in dataclasses.fields(value)])
        self.namespaces.append((None, value))

    def finish(self) -> None:
        """Add what the code met may read of modules, classes and objects, until nothing new turns up."""
        done: set[tuple[int, str]] = set()
        while True:
            attributes = sorted(self.attributes)
            pairs = [(place, name) for place in range(len(self.namespaces)) for name in attributes]
            pairs = [pair for pair in pairs if pair not in done]
            if not pairs:
                return
            done.update(pairs)
            for place, name in pairs:
                origin, holder = self.namespaces[place]
                self.put("of", str(place))
                if isinstance(holder, ModuleType):
                    self.enter_member(holder, name)
                elif isinstance(holder, type):
                    if name in vars(holder) and not name.startswith("__"):
                        self.enter_class_attribute(holder, name, origin)
                else:
                    self.enter_held(holder, name)

    def enter_member(self, module: ModuleType, name: str) -> None:
        title = module.__name__
        if title in known.MODULES:
            if name in vars(module) or name in dir(module):
                value = getattr(module, name)
                is_known = type(value) in _ATOMS or id(value) in self.names
                if not is_known and not (isinstance(value, ModuleType) and value.__name__ in known.MODULES):
                    raise Unknown(f"{title}.{name} may do different things")
                self.put("member", name)
                self.enter(value)
        elif name in vars(module):
            self.put("member", name)
            self.enter(vars(module)[name])
        elif "__getattr__" in vars(module):
            raise Unknown(f"{title} computes its attributes")

    def enter_held(self, instance: Any, name: str) -> None:
        held = getattr(instance, "__dict__", {})
        if name in held:
            self.put("held", name)
            self.enter(held[name])
        slot = next((vars(k)[name] for k in type(instance).__mro__ if name in vars(k)), None)
        if isinstance(slot, MemberDescriptorType) and hasattr(instance, name):
            self.put("slot", name)
            self.enter(getattr(instance, name))


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "jitgrad"


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _is_namedtuple(kind: Any) -> bool:
    """Whether the collections module wrote a class of named tuples."""
    made = vars(kind).get("__new__")
    module = getattr(getattr(made, "__func__", made), "__globals__", {}).get("__name__")
    return kind.__bases__ == (tuple,) and module == f"namedtuple_{kind.__name__}"


def _is_generated(item: Any) -> bool:
    """Whether Python wrote a class attribute, or a module of it did for which the fields say everything."""
    if isinstance(item, (GetSetDescriptorType, MemberDescriptorType)):
        return True
    function = getattr(item, "__func__", item)
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    if not isinstance(code, CodeType):
        return False
    written = code.co_filename in (collections.__file__, dataclasses.__file__)
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return written or _qualname(code).startswith("__create_fn__") or module.startswith("namedtuple_")


def _qualname(code: CodeType) -> str:
    return getattr(code, "co_qualname", "")


_FOLLOW: dict[type, Callable[[_Search, Any], None]] = {
    tuple: _Search.enter_items,
    list: _Search.enter_items,
    dict: _Search.enter_dict,
    OrderedDict: _Search.enter_dict,
    frozenset: _Search.enter_constants,
    slice: _Search.enter_slice,
    np.ndarray: _Search.enter_array,
    functools.partial: _Search.enter_partial,
    MethodType: _Search.enter_method,
    ModuleType: _Search.enter_module,
    SimpleNamespace: _Search.enter_namespace,
    staticmethod: _Search.enter_wrapped,
    classmethod: _Search.enter_wrapped,
    property: _Search.enter_property,
    FunctionType: _Search.enter_function,
    CodeType: _Search.enter_code,
}
