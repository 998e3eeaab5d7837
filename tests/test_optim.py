"""Optimisers and schedules beside PyTorch's: 20 steps of each option, states exchanged, errors."""

from __future__ import annotations

import copy
import io
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from both_libraries import assert_alike

import jitgrad
from jitgrad.eager.plan import LARGE, PATIENCE
from jitgrad.optim import updates

STEPS = 20
SHAPES = ((3, 4), (5,), ())
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
RATE = 0.05

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *(("SGD", {"lr": RATE, **given}) for given in (
        {},
        {"weight_decay": 0.1},
        {"maximize": True, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "weight_decay": 0.1, "maximize": True},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    )),
    *((name, {"lr": RATE, **given}) for name in ("Adam", "AdamW") for given in (
        {},
        {"betas": (0.3, 0.8), "eps": 1e-3},
        {"weight_decay": 0.1},
        {"weight_decay": 0.0, "amsgrad": True},
        {"amsgrad": True, "weight_decay": 0.1, "maximize": True},
    )),
    ("Adam", {"lr": RATE, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    *(("RMSprop", {"lr": RATE, "momentum": momentum, "centered": centered, **given})
      for momentum, centered, given in itertools.product(
          (0, 0.9), (False, True), ({}, {"weight_decay": 0.1, "alpha": 0.7, "maximize": True}))),
    ("Adagrad", {"lr": RATE}),
    ("Adagrad", {"lr": RATE, "lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"lr": RATE, "weight_decay": 0.1, "maximize": True, "eps": 1e-3}),
    ("SGD", {}), ("Adam", {}), ("AdamW", {}), ("RMSprop", {}), ("Adagrad", {}),
]  # fmt: skip
each_option = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=[f"{n}-{o}" for n, o in OPTIONS])
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
KINDS = {"SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "AdamW": {}}
KINDS |= {"RMSprop": {"centered": True, "momentum": 0.5}, "Adagrad": {}}
each_kind = pytest.mark.parametrize("name", KINDS)


class Run:
    """An optimiser of one library on a few parameters, whose gradients depend on their values."""

    def __init__(self, library: Any, name: str, options: dict[str, Any], dtype: Any, split: bool = False):
        random = np.random.default_rng(7)
        self.library = library
        self.params = [
            library.tensor(random.standard_normal(s).tolist(), dtype=getattr(library, dtype.name))
            for s in SHAPES
        ]
        self.directions = [random.standard_normal(s).astype(dtype) for s in SHAPES]
        for p in self.params:
            p.requires_grad_()
        groups: Any = self.params
        if split:
            groups = [
                {"params": self.params[:1], "lr": 0.02},
                {"params": self.params[1:], "weight_decay": 0.3},
            ]
        self.optimizer = getattr(library.optim, name)(groups, **options)
        self.count = 0

    def loss(self) -> Any:
        pairs = zip(self.params, self.directions, strict=True)
        terms = [
            (p.sin() * self.library.tensor(d.tolist(), dtype=p.dtype) + p * p / 3).sum() for p, d in pairs
        ]
        return sum(terms[1:], terms[0]) * (1 + 0.1 * self.count)

    def step(self, count: int = STEPS) -> Run:
        for _ in range(count):
            self.optimizer.zero_grad()
            self.loss().backward()
            self.optimizer.step()
            self.count += 1
        return self

    def values(self) -> list[Any]:
        return [p.detach().numpy() for p in self.params]


def assert_close(got: Run, expected: Run) -> None:
    for ours, theirs in zip(got.values(), expected.values(), strict=True):
        assert ours.dtype == theirs.dtype
        tolerance = TOLERANCE[theirs.dtype]
        np.testing.assert_allclose(ours, theirs, tolerance, tolerance)


# Steps ----------------------------------------------------------------------------------------------------


@each_dtype
@each_option
def test_steps_are_those_of_pytorch(name: str, options: dict[str, Any], dtype: Any) -> None:
    start = Run(jitgrad, name, options, dtype).values()
    expected, got = (Run(library, name, options, dtype).step() for library in (torch, jitgrad))
    assert_close(got, expected)
    assert not all(np.array_equal(a, b) for a, b in zip(start, got.values(), strict=True))


@each_dtype
@each_kind
def test_groups_have_options_of_their_own(name: str, dtype: Any) -> None:
    expected, got = (Run(lib, name, KINDS[name], dtype, split=True).step() for lib in (torch, jitgrad))
    assert_close(got, expected)


@each_option
def test_a_large_parameter_moves_as_a_small_one_does(name: str, options: dict[str, Any]) -> None:
    """Small arrays are computed by NumPy, large ones after a while by one kernel: to the same bits."""
    random = np.random.default_rng(3)
    values, grads = (random.standard_normal(LARGE).astype(np.float32) for _ in range(2))
    large, *small = (
        jitgrad.tensor(part.copy(), requires_grad=True) for part in (values, values[:999], values[999:])
    )
    large.grad = jitgrad.tensor(grads)
    small[0].grad, small[1].grad = jitgrad.tensor(grads[:999]), jitgrad.tensor(grads[999:])
    kind = getattr(jitgrad.optim, name)
    optimizers = kind([large], **options), kind(small, **options)
    for _ in range(PATIENCE + 4):
        for optimizer in optimizers:
            optimizer.step()
    together = np.concatenate([p.detach().numpy() for p in small])
    np.testing.assert_array_equal(large.detach().numpy(), together)


@each_option
def test_a_kernel_writes_into_the_arrays_of_parameter_and_state(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = []
    monkeypatch.setattr(np, "copyto", lambda *_: copied.append(True))
    updates._evaluator.cache_clear()
    param = jitgrad.ones(LARGE, requires_grad=True)
    param.grad = jitgrad.ones(LARGE)
    optimizer = getattr(jitgrad.optim, name)([param], **options)
    for _ in range(PATIENCE):
        optimizer.step()
    assert copied, "until the kernel is compiled, values are copied"
    copied.clear()
    optimizer.step()
    assert not copied


@pytest.mark.parametrize("form", ["transposed", "strided", "its own gradient"])
def test_memory_of_any_form_is_written_right(form: str) -> None:
    size = 2 * LARGE

    def run(library: Any) -> Any:
        base = library.arange(size, dtype=library.float32).reshape(2, -1) / size
        param = {"transposed": base.t(), "strided": base[:, ::2], "its own gradient": base}[form].detach()
        param.requires_grad_()
        param.grad = param.detach() if form == "its own gradient" else (param.detach() * 2).clone()
        optimizer = library.optim.SGD([param], lr=0.01, momentum=0.5)
        for _ in range(PATIENCE + 3):
            optimizer.step()
        return param.detach().numpy(), base.numpy()

    for ours, theirs in zip(run(jitgrad), run(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-5)


def test_parameters_without_gradients_stay() -> None:
    still, moving = (jitgrad.ones(2, requires_grad=True) for _ in range(2))
    moving.grad = jitgrad.ones(2)
    optimizer = jitgrad.optim.Adam([still, moving], lr=0.5)
    optimizer.step()
    assert still.tolist() == [1.0, 1.0] and moving.tolist() == pytest.approx([0.5, 0.5])
    assert still not in optimizer.state


def test_a_step_stays_in_the_parameters_memory_and_off_the_tape() -> None:
    param = jitgrad.ones(3, requires_grad=True)
    view, version = param.detach(), param._version
    (param * param).sum().backward()
    jitgrad.optim.SGD([param], lr=0.25).step()
    assert view.tolist() == [0.5] * 3
    assert param.is_leaf and param._version > version


def test_backward_notices_that_a_step_changed_what_it_needs() -> None:
    param = jitgrad.ones(3, requires_grad=True)
    loss = (param * param).sum()
    param.grad = jitgrad.ones(3)
    jitgrad.optim.SGD([param], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_closure_is_called_with_gradients_on_and_its_loss_returned() -> None:
    def run(library: Any) -> Any:
        x = library.tensor([2.0], requires_grad=True)
        optimizer = library.optim.SGD([x], lr=0.1)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (x * x).sum()
            loss.backward()
            return loss

        with library.no_grad():
            loss = optimizer.step(closure)
        return loss.item(), x.tolist()

    assert run(jitgrad) == run(torch)


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none: bool) -> None:
    param = jitgrad.ones(2, requires_grad=True)
    (param * 3).sum().backward()
    optimizer = jitgrad.optim.SGD([param], lr=0.1)
    optimizer.zero_grad(to_none)
    assert param.grad is None if to_none else param.grad.tolist() == [0.0, 0.0]


def test_a_learning_rate_may_be_a_tensor() -> None:
    def run(library: Any) -> Any:
        x = library.ones(2, requires_grad=True)
        x.grad = library.ones(2)
        library.optim.Adam([x], lr=library.tensor(0.25)).step()
        return x.tolist()

    assert run(jitgrad) == run(torch)


def test_a_network_is_trained_as_in_pytorch() -> None:
    """The same first weights and data, named parameters, a schedule: the same losses."""
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    ours = jitgrad.nn.Sequential(jitgrad.nn.Linear(4, 8), jitgrad.nn.Tanh(), jitgrad.nn.Linear(8, 1)).double()
    ours.load_state_dict(
        {k: jitgrad.tensor(v.tolist(), dtype=jitgrad.float64) for k, v in theirs.state_dict().items()}
    )
    x = np.random.default_rng(2).standard_normal((16, 4))

    def losses(library: Any, model: Any) -> list[float]:
        optimizer = library.optim.AdamW(model.named_parameters(), lr=0.05)
        schedule = library.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        inputs, found = library.tensor(x), []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = library.nn.MSELoss()(model(inputs), inputs.sum(1, keepdim=True))
            loss.backward()
            optimizer.step()
            schedule.step()
            found.append(loss.item())
        return found

    expected = losses(torch, theirs)
    np.testing.assert_allclose(losses(jitgrad, ours), expected, 1e-10)
    assert expected[-1] < expected[0] / 2


def test_an_optimiser_of_ones_own() -> None:
    class Signs(jitgrad.optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @jitgrad.no_grad()
        def step(self) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad.sign(), alpha=-group["lr"])

    param = jitgrad.tensor([1.0, -1.0], requires_grad=True)
    (param * param).sum().backward()
    optimizer = Signs([param], 0.5)
    optimizer.step()
    assert param.tolist() == [0.5, -0.5]


# States ---------------------------------------------------------------------------------------------------


@each_dtype
@each_option
def test_states_go_from_pytorch_and_back(name: str, options: dict[str, Any], dtype: Any) -> None:
    """Half of the steps in one library, the others in the other, by way of a file."""
    expected = Run(torch, name, options, dtype, split=True).step()
    for first, second in ((torch, jitgrad), (jitgrad, torch)):
        begun, continued = (Run(library, name, options, dtype, split=True) for library in (first, second))
        begun.step(STEPS // 2)
        file = io.BytesIO()
        first.save(
            {"params": [p.detach() for p in begun.params], "state": begun.optimizer.state_dict()}, file
        )
        file.seek(0)
        loaded = second.load(file)
        continued.count = begun.count
        with second.no_grad():
            for own, given in zip(continued.params, loaded["params"], strict=True):
                own.copy_(given)
        continued.optimizer.load_state_dict(loaded["state"])
        assert_close(continued.step(STEPS - STEPS // 2), expected)


@each_option
def test_state_dicts_and_reprs_are_those_of_pytorch(name: str, options: dict[str, Any]) -> None:
    theirs, ours = (Run(lib, name, options, DTYPES[0], split=True).step(2) for lib in (torch, jitgrad))
    expected, got = theirs.optimizer.state_dict(), ours.optimizer.state_dict()
    assert got["param_groups"] == expected["param_groups"]
    for number, state in expected["state"].items():
        assert got["state"][number].keys() == state.keys()
        for key, value in state.items():
            own = got["state"][number][key]
            assert str(own.dtype) == str(value.dtype) and tuple(own.shape) == tuple(value.shape)
            np.testing.assert_allclose(own.numpy(), value.numpy(), 1e-5, 1e-7)
    assert repr(ours.optimizer) == repr(theirs.optimizer)
    assert ours.optimizer.defaults == theirs.optimizer.defaults


@each_kind
def test_a_state_is_copied_and_cast_when_it_is_loaded(name: str) -> None:
    wide = Run(jitgrad, name, KINDS[name], DTYPES[1]).step(3)
    narrow = Run(jitgrad, name, KINDS[name], DTYPES[0])
    saved = wide.optimizer.state_dict()
    before = copy.deepcopy(saved)
    narrow.optimizer.load_state_dict(saved)
    narrow.step(2)
    for number, state in before["state"].items():
        for key, value in state.items():
            assert np.array_equal(saved["state"][number][key].numpy(), value.numpy())
    kinds = {v.dtype for s in narrow.optimizer.state.values() for v in s.values()}
    assert kinds == {jitgrad.float32}


def test_an_optimiser_can_be_copied() -> None:
    param = jitgrad.tensor([1.0, 2.0], requires_grad=True)
    optimizer = jitgrad.optim.Adam([param], lr=0.1)
    param.grad = jitgrad.ones(2)
    optimizer.step()
    twin, copied = copy.deepcopy((param, optimizer))
    copied.step()
    assert twin.tolist() < param.tolist()
    optimizer.step()
    assert twin.tolist() == param.tolist()


def test_named_parameters_and_added_groups() -> None:
    def run(library: Any) -> Any:
        a, b, c = (library.ones(2, requires_grad=True) for _ in range(3))
        optimizer = library.optim.SGD([("a", a), ("b", b)], lr=0.1)
        optimizer.add_param_group({"params": [("c", c)], "lr": 0.2})
        return [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]

    assert run(jitgrad) == run(torch)


@pytest.mark.parametrize(
    "program",
    [
        "torch.optim.SGD(torch.ones(2))",
        "torch.optim.SGD([])",
        "torch.optim.SGD([1.0])",
        "torch.optim.SGD({torch.ones(2)})",
        "torch.optim.SGD([{'params': {torch.ones(2)}}])",
        "x = torch.ones(2, requires_grad=True); torch.optim.SGD([x * 2])",
        "x = torch.ones(2); torch.optim.SGD([{'params': x}, {'params': [x]}])",
        "x = torch.ones(2); torch.optim.SGD([x, x]).param_groups[0]['lr']",
        "x = torch.ones(2); torch.optim.SGD([('x', x), torch.ones(1)])",
        "x = torch.ones(2); torch.optim.SGD([('x', x)]).add_param_group({'params': torch.ones(1)})",
        "torch.optim.SGD([torch.ones(2)]).add_param_group([torch.ones(1)])",
        "torch.optim.SGD([torch.ones(2)], lr=-1)",
        "torch.optim.SGD([torch.ones(2)], lr=torch.ones(2))",
        "torch.optim.SGD([torch.ones(2)], momentum=-1)",
        "torch.optim.SGD([torch.ones(2)], weight_decay=-1)",
        "torch.optim.SGD([torch.ones(2)], nesterov=True)",
        "torch.optim.SGD([torch.ones(2)], nesterov=True, momentum=0.9, dampening=0.1)",
        "torch.optim.SGD([torch.ones(2)], fused=True, foreach=True)",
        "torch.optim.Adam([torch.ones(2)], lr=-1)",
        "torch.optim.Adam([torch.ones(2)], eps=-1)",
        "torch.optim.Adam([torch.ones(2)], betas=(1.0, 0.5))",
        "torch.optim.AdamW([torch.ones(2)], betas=(0.9, -0.5))",
        "torch.optim.AdamW([torch.ones(2)], weight_decay=-0.5)",
        "torch.optim.RMSprop([torch.ones(2)], alpha=-1)",
        "torch.optim.RMSprop([torch.ones(2)], momentum=-1)",
        "torch.optim.RMSprop([torch.ones(2)], eps=-1)",
        "torch.optim.Adagrad([torch.ones(2)], lr_decay=-1)",
        "torch.optim.Adagrad([torch.ones(2)], initial_accumulator_value=-1)",
        "torch.optim.SGD([torch.ones(2)]).load_state_dict({'state': {}, 'param_groups': []})",
        "torch.optim.SGD([torch.ones(2)]).load_state_dict({'state': {}, 'param_groups': [{'params': []}]})",
        "torch.optim.lr_scheduler.StepLR(1, 2)",
        "s = torch.optim.lr_scheduler; s.LambdaLR(torch.optim.SGD([torch.ones(2)]), [abs, abs])",
        "s = torch.optim.lr_scheduler; s.ReduceLROnPlateau(torch.optim.SGD([torch.ones(2)]), factor=1.5)",
        "s = torch.optim.lr_scheduler; s.ReduceLROnPlateau(torch.optim.SGD([torch.ones(2)]), 'up')",
        "s = torch.optim.lr_scheduler; s.ReduceLROnPlateau(torch.optim.SGD([torch.ones(2)]), min_lr=[1, 2])",
    ],
)
def test_errors_and_warnings_are_those_of_pytorch(program: str) -> None:
    assert_alike(program)


@pytest.mark.parametrize("option", ["differentiable", "capturable"])
def test_what_is_not_there_is_refused(option: str) -> None:
    with pytest.raises(NotImplementedError, match=option):
        jitgrad.optim.Adam([jitgrad.ones(1)], **{option: True})


def test_a_required_option_must_be_given() -> None:
    defaults = {"lr": jitgrad.optim.optimizer.required}
    jitgrad.optim.Optimizer([{"params": [jitgrad.ones(1)], "lr": 1.0}], defaults)
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        jitgrad.optim.Optimizer([jitgrad.ones(1)], defaults)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'beta'"):
        jitgrad.optim.Adam([jitgrad.ones(1)], beta=0.5)


# Schedules ------------------------------------------------------------------------------------------------


class Halving:
    """A factor with a state."""

    def __init__(self) -> None:
        self.base = 0.5

    def __call__(self, epoch: int) -> float:
        return self.base**epoch


SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "step": lambda s, o: s.StepLR(o, 3, 0.5),
    "milestones": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], 0.5),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.9),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 7, 0.01),
    "cosine of one epoch": lambda s, o: s.CosineAnnealingLR(o, 1),
    "function": lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "functions": lambda s, o: s.LambdaLR(o, [Halving(), lambda epoch: 2.0]),
}
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES)


def scheduled(library: Any, schedule: str) -> tuple[Any, Any]:
    a, b = (library.ones(2, requires_grad=True) for _ in range(2))
    optimizer = library.optim.SGD([{"params": a}, {"params": b, "lr": 0.3}], lr=0.1)
    return optimizer, SCHEDULES[schedule](library.optim.lr_scheduler, optimizer)


def rates(optimizer: Any, schedule: Any, epochs: int = STEPS) -> list[list[float]]:
    found = [schedule.get_last_lr()]
    for _ in range(epochs):
        optimizer.step()
        schedule.step()
        assert schedule.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        found.append(schedule.get_last_lr())
    return found


@each_schedule
def test_schedules_are_those_of_pytorch(schedule: str) -> None:
    expected, got = (rates(*scheduled(library, schedule)) for library in (torch, jitgrad))
    np.testing.assert_allclose(got, expected, 1e-14, 1e-17)


@each_schedule
def test_a_schedule_goes_on_from_its_state_in_either_library(schedule: str) -> None:
    expected = rates(*scheduled(torch, schedule))
    for first, second in ((torch, jitgrad), (jitgrad, torch)):
        optimizer, begun = scheduled(first, schedule)
        rates(optimizer, begun, 8)
        other, continued = scheduled(second, schedule)
        other.load_state_dict(optimizer.state_dict())
        continued.load_state_dict(begun.state_dict())
        np.testing.assert_allclose(rates(other, continued, STEPS - 8), expected[8:], 1e-14, 1e-17)


@each_schedule
def test_a_schedule_is_resumed_at_an_epoch(schedule: str) -> None:
    def run(library: Any) -> Any:
        optimizer, begun = scheduled(library, schedule)
        rates(optimizer, begun, 4)
        kinds = library.optim.lr_scheduler
        resumed = {
            "step": lambda: kinds.StepLR(optimizer, 3, 0.5, 3),
            "milestones": lambda: kinds.MultiStepLR(optimizer, [2, 5, 5, 9], 0.5, 3),
            "exponential": lambda: kinds.ExponentialLR(optimizer, 0.9, 3),
            "cosine": lambda: kinds.CosineAnnealingLR(optimizer, 7, 0.01, 3),
            "cosine of one epoch": lambda: kinds.CosineAnnealingLR(optimizer, 1, last_epoch=3),
            "function": lambda: kinds.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch), 3),
            "functions": lambda: kinds.LambdaLR(optimizer, [Halving(), lambda epoch: 2.0], 3),
        }[schedule]()
        return rates(optimizer, resumed, 5)

    np.testing.assert_allclose(run(jitgrad), run(torch), 1e-14, 1e-17)


def test_schedules_can_be_chained() -> None:
    def run(library: Any) -> Any:
        optimizer, first = scheduled(library, "exponential")
        second = SCHEDULES["step"](library.optim.lr_scheduler, optimizer)
        found = []
        for _ in range(9):
            optimizer.step()
            first.step()
            second.step()
            found.append(second.get_last_lr())
        return found

    np.testing.assert_allclose(run(jitgrad), run(torch), 1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"patience": 1, "cooldown": 2, "factor": 0.5},
        {"mode": "max", "patience": 0, "threshold": 0.1},
        {"mode": "max", "threshold_mode": "abs", "threshold": 0.2, "patience": 1},
        {"threshold_mode": "abs", "threshold": 0.3, "patience": 0, "min_lr": [0.01, 0.2]},
        {"patience": 0, "eps": 1e-3, "min_lr": 1e-3},
    ],
    ids=str,
)
def test_plateaus_are_those_of_pytorch(options: dict[str, Any]) -> None:
    random = np.random.default_rng(5)
    metrics = [*np.exp(-np.arange(10) / 4), *random.uniform(0.1, 1.0, 30), float("nan")]

    def run(library: Any) -> Any:
        a, b = (library.ones(2, requires_grad=True) for _ in range(2))
        optimizer = library.optim.SGD([{"params": a}, {"params": b, "lr": 0.3}], lr=0.1)
        schedule = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        found = []
        for metric in metrics:
            schedule.step(library.tensor(metric))
            found.append([*schedule.get_last_lr(), schedule.num_bad_epochs, schedule.cooldown_counter])
        state = schedule.state_dict()
        return found, [state[key] for key in ("best", "last_epoch", "num_bad_epochs")]

    (ours, end), (theirs, their_end) = run(jitgrad), run(torch)
    np.testing.assert_allclose(ours, theirs, 1e-14)
    assert end == their_end
    assert len({tuple(row[:2]) for row in ours}) > 1


def test_a_schedule_that_steps_before_the_optimiser_warns() -> None:
    _, schedule = scheduled(jitgrad, "step")
    with pytest.warns(UserWarning, match=r"lr_scheduler.step\(\)` before `optimizer.step\(\)"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()
