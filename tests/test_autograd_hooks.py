"""Hooks on tensors, leaves and nodes of the tape: when they are called, what they see and may change."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from side_by_side import same

import jitgrad


def leaf(torch: Any, *values: float) -> Any:
    return torch.tensor(values, requires_grad=True)


# Tensors ----------------------------------------------------------------------------------------------------


@same
def test_a_hook_sees_the_gradient(torch: Any) -> Any:
    log: list[Any] = []
    x = leaf(torch, 1.0, 2.0)
    y = x * 2
    y.register_hook(log.append)
    (y * 3).sum().backward()
    return log, x.grad


@same
def test_what_a_hook_returns_replaces_the_gradient(torch: Any) -> Any:
    log: list[Any] = []
    x = leaf(torch, 1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    y.register_hook(log.append)
    y.sum().backward()
    return log, x.grad


@same
def test_a_hook_on_a_leaf_runs_once_with_the_total(torch: Any) -> Any:
    log: list[Any] = []
    x = leaf(torch, 1.0)
    x.register_hook(log.append)
    x.register_hook(lambda g: g * 10)
    x.register_hook(log.append)
    (x * 2 + x * 3 + x).backward()
    return log, x.grad


@same
def test_all_kinds_of_hooks_in_their_order(torch: Any) -> Any:
    log: list[Any] = []
    x = leaf(torch, 1.0, 2.0)
    y = x * 2
    y.grad_fn.register_prehook(lambda grads: log.append("node before"))
    y.register_hook(lambda g: log.append("first"))
    y.retain_grad()
    y.register_hook(lambda g: (log.append("second"), g * 2)[1])
    y.grad_fn.register_hook(lambda inputs, outputs: log.append(("node after", inputs, outputs)))
    sink = y.grad_fn.next_functions[0][0]
    sink.register_prehook(lambda grads: log.append(("sink before", grads)))
    sink.register_hook(lambda inputs, outputs: log.append(("sink after", inputs, outputs, x.grad)))
    x.register_hook(lambda g: log.append("leaf"))
    x.register_post_accumulate_grad_hook(lambda t: log.append("accumulated"))
    y.sum().backward()
    return log, y.grad, x.grad


@same
def test_leaves_are_reached_in_the_order_of_the_operands(torch: Any) -> Any:
    log: list[str] = []

    def named(name: str) -> Any:
        x = leaf(torch, 2.0)
        x.register_hook(lambda g: log.append(name))
        return x

    a, b, c = named("a"), named("b"), named("c")
    programs = [
        lambda: a * b,
        lambda: a * b + c,
        lambda: a * 2 + b * 2 + c * 2,
        lambda: torch.addcmul(a, b, c),
        lambda: a * b + a * c + a,
    ]
    for program in programs:
        program().backward()
        log.append("|")
    return log


@same
def test_a_removed_hook_is_not_called(torch: Any) -> Any:
    log: list[str] = []
    x = leaf(torch, 1.0)

    def once(g: Any) -> None:
        log.append("once")
        handle.remove()

    handle = x.register_hook(once)
    x.register_hook(lambda g: log.append("always"))
    (x * 2).backward()
    (x * 2).backward()
    with x.register_hook(lambda g: log.append("inside")):
        (x * 2).backward()
    (x * 2).backward()
    return log


@same
def test_a_hook_registered_in_a_hook_waits_for_the_next_pass(torch: Any) -> Any:
    log: list[str] = []
    x = leaf(torch, 1.0)

    def register(g: Any) -> None:
        log.append("first")
        x.register_hook(lambda g: log.append("new"))

    x.register_hook(register)
    (x * 2).backward()
    (x * 2).backward()
    return log


@same
def test_hooks_stay_with_the_values_that_they_were_registered_on(torch: Any) -> Any:
    log: list[Any] = []
    y = leaf(torch, 1.0) * 2
    y.register_hook(lambda g: log.append(("before", g)))
    y.mul_(3)
    y.register_hook(lambda g: log.append(("after", g)))
    y.backward()
    return log


@same
def test_a_retained_gradient_moves_on_with_the_tensor(torch: Any) -> Any:
    y = leaf(torch, 1.0) * 2
    y.retain_grad()
    y.mul_(3)
    (y * 5).backward()
    return y.grad, y.retains_grad


@same
def test_hooks_of_a_leaf_outlive_the_graph(torch: Any) -> Any:
    log: list[Any] = []
    x = leaf(torch, 1.0)
    x.register_hook(log.append)
    for factor in (2, 3):
        (x * factor).backward()
    return log


@same
def test_hooks_run_in_autograd_grad_too(torch: Any) -> Any:
    log: list[str] = []
    x = leaf(torch, 1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: (log.append("y"), g * 5)[1])
    y.grad_fn.register_prehook(lambda grads: (log.append("node"), (grads[0] * 7,))[1])
    y.retain_grad()
    x.register_hook(lambda g: log.append("x"))
    x.register_post_accumulate_grad_hook(lambda t: log.append("never"))
    both = torch.autograd.grad(y.sum(), [x, y], retain_graph=True)
    last = torch.autograd.grad(y.sum(), y)
    return both, last, log, y.grad


@same
def test_a_hook_needs_a_tensor_that_requires_grad(torch: Any) -> Any:
    torch.ones(1).register_hook(print)


@same
def test_a_hook_may_only_return_a_tensor(torch: Any) -> Any:
    y = leaf(torch, 1.0) * 2
    y.register_hook(lambda g: 3)
    y.backward()


@same
def test_a_hook_keeps_the_shape(torch: Any) -> Any:
    def widen(g: Any) -> Any:
        return torch.ones(3)

    y = leaf(torch, 1.0) * 2
    y.register_hook(widen)
    y.backward()


@same
def test_a_hook_keeps_the_dtype(torch: Any) -> Any:
    y = leaf(torch, 1.0) * 2
    y.register_hook(lambda g: g.double())
    y.backward()


# Retained gradients -----------------------------------------------------------------------------------------


@same
def test_a_retained_gradient_accumulates_in_a_new_tensor(torch: Any) -> Any:
    y = leaf(torch, 1.0) * 2
    y.retain_grad()
    y.retain_grad()
    y.backward(retain_graph=True)
    first = y.grad
    y.backward()
    return first is y.grad, first, y.grad


@same
def test_a_leaf_retains_its_gradient_anyway(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    x.retain_grad()
    return x.retains_grad


@same
def test_a_tensor_without_gradient_retains_none(torch: Any) -> Any:
    torch.ones(1).retain_grad()


@same
def test_the_gradient_of_an_intermediate_is_not_kept(torch: Any) -> Any:
    y = leaf(torch, 1.0) * 2
    y.backward()
    return y.grad, y.requires_grad


# Leaves -----------------------------------------------------------------------------------------------------


@same
def test_the_optimizer_steps_in_the_backward_pass(torch: Any) -> Any:
    torch_like = [torch.tensor([[0.5, -1.0], [0.25, 2.0]], requires_grad=True), leaf(torch, 0.1, 0.2)]

    def step(parameter: Any) -> None:
        with torch.no_grad():
            parameter -= 0.1 * parameter.grad
        parameter.grad = None

    for parameter in torch_like:
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (torch.tensor([[1.0, 2.0]]) @ torch_like[0] + torch_like[1]).tanh().sum().backward()
    return torch_like, [p.grad for p in torch_like]


@same
def test_a_hook_after_accumulation_is_for_leaves(torch: Any) -> Any:
    (leaf(torch, 1.0) * 2).register_post_accumulate_grad_hook(print)


@same
def test_a_hook_after_accumulation_returns_nothing(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    x.register_post_accumulate_grad_hook(lambda t: 3)
    (x * 2).backward()


# Nodes ------------------------------------------------------------------------------------------------------


@same
def test_a_node_hook_replaces_the_gradients_of_the_operands(torch: Any) -> Any:
    x, y = leaf(torch, 2.0), leaf(torch, 3.0)
    z = x * y
    z.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, inputs[1] + outputs[0]))
    z.backward()
    return x.grad, y.grad


@same
def test_a_node_prehook_replaces_the_gradients_of_the_outputs(torch: Any) -> Any:
    x = leaf(torch, 2.0)
    z = x * 3
    z.grad_fn.register_prehook(lambda grads: (grads[0] * 10,))
    z.backward()
    return x.grad


@same
def test_hooks_may_take_gradients_away(torch: Any) -> Any:
    x, y = leaf(torch, 2.0), leaf(torch, 3.0)
    z = x * y
    handle = z.grad_fn.register_hook(lambda inputs, outputs: (None, inputs[1]))
    z.backward(retain_graph=True)
    first = x.grad, y.grad
    handle.remove()
    z.grad_fn.register_prehook(lambda grads: (None,))
    z.backward()
    return first, x.grad, y.grad


@same
def test_a_node_hook_returns_a_tuple(torch: Any) -> Any:
    z = leaf(torch, 2.0) * 3
    z.grad_fn.register_hook(lambda inputs, outputs: inputs[0])
    z.backward()


@same
def test_a_node_hook_returns_as_many(torch: Any) -> Any:
    def short(inputs: Any, outputs: Any) -> Any:
        return (inputs[0],)

    z = leaf(torch, 2.0) * leaf(torch, 3.0)
    z.grad_fn.register_hook(short)
    z.backward()


@same
def test_a_node_prehook_returns_tensors(torch: Any) -> Any:
    z = leaf(torch, 2.0) * 3
    z.grad_fn.register_prehook(lambda grads: (3,))
    z.backward()


@same
def test_where_there_is_no_gradient_a_node_hook_cannot_make_one(torch: Any) -> Any:
    z = leaf(torch, 2.0) * 3
    z.grad_fn.register_hook(lambda inputs, outputs: (inputs[0], inputs[0]))
    z.backward()


# Passes within passes and beside each other -----------------------------------------------------------------


@same
def test_a_hook_may_run_a_pass_of_its_own(torch: Any) -> Any:
    x = leaf(torch, 2.0)
    y = x * x

    def scale(g: Any) -> Any:
        with torch.enable_grad():
            inner = leaf(torch, 3.0)
            (inner * inner).backward()
        return g * inner.grad

    y.register_hook(scale)
    y.backward()
    return x.grad


@same
def test_a_pass_in_a_hook_may_end_at_the_same_leaf(torch: Any) -> Any:
    x = leaf(torch, 2.0)
    other = x * 5
    y = x * x
    y.register_hook(lambda g: other.backward())
    y.backward()
    return x.grad


@same
def test_the_engine_works_on_after_an_error_in_a_hook(torch: Any) -> Any:
    x = leaf(torch, 2.0)
    y = x * x
    handle = y.register_hook(lambda g: 1 / 0)
    caught = []
    for _ in range(2):
        try:
            y.backward()
        except ZeroDivisionError as error:
            caught.append(str(error))
    handle.remove()
    y.backward()
    return caught, x.grad, torch.is_grad_enabled()


def test_threads_run_passes_that_end_at_the_same_leaf() -> None:
    x = jitgrad.ones(1000, dtype=jitgrad.float64, requires_grad=True)

    def work() -> None:
        for _ in range(50):
            (x * 2.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(x.grad.numpy(), 400.0)


@same
def test_modes_belong_to_their_thread(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    log = []

    def work() -> None:
        log.append(torch.is_grad_enabled())
        (x * 2).backward()

    with torch.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return log, x.grad
