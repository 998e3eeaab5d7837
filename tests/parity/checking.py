"""All samples of one op in all of its forms, in PyTorch and in the library: what agreed and what did not."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from calling import Form, Outcome, called, forms, suits, tensors_in
from comparing import Agree, anything, differences, exactly, no_less_exact, same_within, seen
from libraries import ORACLE, Library, NotOffered
from op_samples import (
    DTYPES,
    OPS,
    Sample,
    dtype_name,
    error_samples,
    held_samples,
    in_float64,
    mixed_samples,
    own_samples,
    with_arguments,
)
from randomness import RANDOM, drawn, outside_support

COLUMNS = ("value", "gradient", "method", "operator", "in-place", "errors")
FEW = 4  # samples for a second name of the same function

UNINITIALISED = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "resize_",
    "resize_as_",
}
# Multiples of the tolerance, where PyTorch's own result in float64 is less exact.
WIDER = {
    "digamma": 10,  # PyTorch's series for the trigamma function is short
    "polygamma": 10,
    "special.polygamma": 10,
}
# The methods in place that are there to change the shape.
RESHAPING = {"as_strided", "resize_", "resize_as_", "squeeze", "t", "transpose", "unsqueeze"}
# Vectors with a free sign: compared after op_db's own function that makes a sample's result unique.
FREE_SIGN = {"linalg.eig", "linalg.eigh", "linalg.svd", "svd"}


# (op with its variant, column, a part of the failure's text) -> why the difference is meant
Known = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True)
class Failure:
    """One comparison that failed, and where."""

    what: str
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.what}: {self.where}: {self.problem}"


@dataclass
class Row:
    """What was compared for one op, what failed, and why the rest was left out."""

    name: str
    passed: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    samples: int = 0
    rounded: int = 0
    same_text: int = 0
    other_texts: list[str] = field(default_factory=list)

    def enter(self, what: str, where: str, problem: str | None) -> None:
        if problem is None:
            self.passed[what] += 1
        else:
            self.failures.append(Failure(what, where, problem))

    def failed(self, what: str) -> int:
        return sum(failure.what == what for failure in self.failures)


def offered_forms(name: str, library: Library) -> list[Form]:
    return [form for form in forms(OPS[name]) if form.offered(library)]


def is_offered(name: str, library: Library) -> bool:
    """Whether the library has the op as a function or a method, in place or not; operators are no names."""
    return any(not (form.plain or form.few) for form in offered_forms(name, library))


def has_samples(name: str) -> bool:
    """Whether op_db has samples of the op in one of the dtypes that are compared."""
    return any(dtype in OPS[name].dtypes for dtype in DTYPES)


def agreement(name: str, sample: Sample) -> Agree:
    """The tolerance of a sample's results: that of the coarsest dtype among its arguments and the result."""
    dtypes = (dtype_name(x.dtype) for x in _tensors(sample))
    return same_within(*dtypes, wider=WIDER.get(name, 1))


def expected_class(error: Exception) -> type[BaseException]:
    """The class that a library must raise where PyTorch raises this: its own classes count as their bases."""
    return next(c for c in type(error).__mro__ if c.__module__ == "builtins")


def wrong_error(expected: Exception, got: Outcome) -> str | None:
    """Why the library's error is not the one of PyTorch, if it is not."""
    wanted = expected_class(expected)
    if got.error is None:
        return f"no error, expected {wanted.__name__}: {_first_line(expected)}"
    unfinished = isinstance(got.error, NotImplementedError) and wanted is not NotImplementedError
    if unfinished or not isinstance(got.error, wanted):
        return f"{_named(got.error)}, expected {_named(expected)}"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:160]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


class Check:
    """The comparisons of one op, entered into a row."""

    def __init__(self, name: str, library: Library) -> None:
        self.name, self.library, self.op = name, library, OPS[name]
        self.row = Row(name)

    def sample(self, form: Form, sample: Sample, place: int) -> None:
        if not suits(form, sample):
            return
        if form.few and place >= FEW:
            self.row.left_out[f"further samples of second names (the first {FEW} are compared)"] += 1
            return
        try:
            self._sample(form, sample)
        except NotOffered as reason:
            self.row.left_out[f"the arguments need what is not offered: {reason}"] += 1

    def _sample(self, form: Form, sample: Sample) -> None:
        plain = _detached(sample)
        differentiable = plain is not sample
        if self.op.name in RANDOM and self._random(form, plain):
            return
        if form.in_place or not differentiable or form.what != "value":
            self._compare(form, plain, False)
        if differentiable and (form.what == "value" or form.in_place or not self._is_function()):
            self._compare(form, sample, True)

    def _is_function(self) -> bool:
        return callable(ORACLE.find(self.op.name))

    def _compare(self, form: Form, sample: Sample, gradient: bool) -> None:
        expected = called(ORACLE, form, sample, gradient)
        where = f"{form.name} {sample.label}"
        if expected.error is not None and not (sample.own or form.in_place):
            self.row.left_out["PyTorch itself rejects the sample in this form"] += 1
            return
        if form.in_place and expected.error is None and self._resized(sample, expected):
            self.row.left_out["calls in place by which PyTorch gives the tensor another shape"] += 1
            return
        got = called(self.library, form, sample, gradient)
        if expected.error is not None:
            self._errors("in-place" if form.in_place else "errors", where, expected.error, got)
        elif got.error is not None:
            self.row.enter(form.what, where, f"raised {_named(got.error)}")
        else:
            if not (form.in_place and gradient):
                self.row.enter(form.what, where, self._problem(form, sample, expected, got))
            if gradient:
                self._gradients(form, sample, expected, got)

    def _resized(self, sample: Sample, expected: Outcome) -> bool:
        """Whether broadcasting made the tensor itself larger, as PyTorch's addbmm_ does."""
        shape = tuple(expected.raw.shape)
        return self.op.name not in RESHAPING and shape != tuple(sample.args[0].shape)

    def _errors(self, what: str, where: str, expected: Exception, got: Outcome) -> None:
        self.row.enter(what, where, wrong_error(expected, got))
        if got.error is None:
            return
        if _first_line(got.error) == _first_line(expected):
            self.row.same_text += 1
        else:
            self.row.other_texts.append(f"{where}: {_first_line(got.error)} | {_first_line(expected)}")

    def _problem(self, form: Form, sample: Sample, expected: Outcome, got: Outcome) -> str | None:
        if extra := set(got.warned) - set(expected.warned):
            return f"warned {extra}"
        if expected.same_object != got.same_object:
            return f"returned the same object: {got.same_object}, expected {expected.same_object}"
        if self.op.name in UNINITIALISED:
            return differences(expected.result, got.result, anything)
        agree = agreement(self.op.name, sample)
        if self.op.name in FREE_SIGN:
            return self._up_to_signs(sample, expected, got, agree)
        problem = differences(expected.result, got.result, agree)
        if problem is None:
            problem = differences(expected.inputs, got.inputs, agree)
            problem = problem and f"the arguments after the call: {problem}"
        both = ((x.result, x.inputs) for x in (expected, got))
        return None if problem and self._is_rounding(form, sample, False, *both) else problem

    def _is_rounding(self, form: Form, sample: Sample, gradient: bool, expected: Any, got: Any) -> bool:
        """Whether what is computed in float32 is no less exact than in PyTorch, by PyTorch in float64."""
        if not any(x.dtype == torch.float32 for x in _tensors(sample)):
            return False
        precise = called(ORACLE, form, with_arguments(in_float64, sample), gradient)
        exact = precise.gradient if gradient else (precise.result, precise.inputs)
        if precise.error is not None or not no_less_exact(expected, got, exact):
            return False
        self.row.rounded += 1
        return True

    def _up_to_signs(self, sample: Sample, expected: Outcome, got: Outcome, agree: Agree) -> str | None:
        try:
            unique = seen(self.library, sample.process(got.raw))
        except Exception as error:
            return f"the result made unique: raised {_named(error)}"
        problem = differences(expected.result, got.result, anything)
        return problem or differences(seen(ORACLE, sample.process(expected.raw)), unique, agree)

    def _gradients(self, form: Form, sample: Sample, expected: Outcome, got: Outcome) -> None:
        where = f"{form.name} {sample.label}"
        if isinstance(expected.gradient, Exception):
            self.row.left_out["PyTorch has no gradient for the sample"] += 1
        elif self.op.name in UNINITIALISED:
            self.row.left_out["gradients of uninitialised results"] += 1
        elif isinstance(got.gradient, Exception):
            self.row.enter("gradient", where, f"raised {_named(got.gradient)}")
        elif expected.gradient is not None or got.gradient is not None:
            problem = differences(expected.gradient, got.gradient, agreement(self.op.name, sample))
            if problem and self._is_rounding(form, sample, True, *(x.gradient for x in (expected, got))):
                problem = None
            self.row.enter("gradient", where, problem)

    def _random(self, form: Form, sample: Sample) -> bool:
        """Compare a random result's structure and support; False where the call draws nothing."""
        draws = drawn(form, sample)
        if draws[0].error is not None:
            return False
        results = [d.result for d in draws]
        if all(differences(results[0], other, exactly) is None for other in results):
            return False
        self.library.module.manual_seed(0)
        got = called(self.library, form, sample, False)
        problem = f"raised {_named(got.error)}" if got.error else None
        problem = problem or differences(results[0], got.result, anything)
        problem = problem or outside_support(results, got.result)
        self.row.enter(form.what, f"{form.name} {sample.label}", problem)
        self.row.left_out["random values and their gradients (shape, dtype and support are compared)"] += 1
        return True

    def error(self, form: Form, sample: Sample) -> None:
        """Compare the error that a call must raise."""
        if form.few or form.what not in ("value", "method") or not suits(form, sample):
            return
        try:
            expected = called(ORACLE, form, sample, False)
            got = called(self.library, form, sample, False)
        except NotOffered as reason:
            self.row.left_out[f"the arguments need what is not offered: {reason}"] += 1
            return
        if expected.error is None:
            self.row.left_out["op_db expects an error that PyTorch does not raise in this form"] += 1
        else:
            self._errors("errors", f"{form.name} {sample.label}", expected.error, got)


def _tensors(sample: Sample) -> Iterator[torch.Tensor]:
    return tensors_in(ORACLE, (sample.args, sample.kwargs))


def _stripped(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) and value.requires_grad else value


def _detached(sample: Sample) -> Sample:
    """The sample with no tensor that requires grad; itself when there is none."""
    if not any(x.requires_grad for x in _tensors(sample)):
        return sample
    return with_arguments(_stripped, sample)


def check(name: str, library: Library) -> Row:
    """Compare one op of op_db in every form that the library offers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the calls themselves are compared
        return _checked(name, library)


def _checked(name: str, library: Library) -> Row:
    one = Check(name, library)
    found = offered_forms(name, library)
    one.row.missing = [form.name for form in forms(OPS[name]) if not form.offered(library)]
    for dtype in DTYPES:
        held = held_samples(name, dtype)
        one.row.samples += len(held)
        if not held:
            one.row.left_out[f"op_db has no samples in {dtype_name(dtype)}"] += 1
        for form in found:
            for place, sample in enumerate((*held, *own_samples(name, dtype))):
                one.sample(form, sample, place)
    for form in found:
        for place, sample in enumerate(mixed_samples(name)):
            one.sample(form, sample, place)
        for sample in error_samples(name):
            one.error(form, sample)
    return one.row


def surprises(row: Row, known: Known) -> list[str]:
    """What a test of the row complains of: unknown failures, known ones that are gone, no comparison."""
    entries = [key for key in known if key[0] == row.name]
    unknown = [str(f) for f in row.failures if not any(_covers(key, f) for key in entries)]
    gone = [key for key in entries if not any(_covers(key, f) for f in row.failures)]
    unneeded = [f"{key}: no longer fails, so it is no known difference" for key in gone]
    nothing = [] if row.passed else [f"nothing was compared: {dict(row.left_out)}"]
    return [*unknown, *unneeded, *nothing]


def _covers(key: tuple[str, str, str], failure: Failure) -> bool:
    _, what, part = key
    return what == failure.what and part in str(failure)
