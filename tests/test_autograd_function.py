"""Functions with a derivative of their own."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from side_by_side import same

import jitgrad


def leaf(torch: Any, *values: float) -> Any:
    return torch.tensor(values, requires_grad=True)


def function(torch: Any, forward: Any, backward: Any = None, **members: Any) -> Any:
    """A Function called F of these two static methods."""
    methods = {"forward": staticmethod(forward)} | {k: staticmethod(v) for k, v in members.items()}
    if backward is not None:
        methods["backward"] = staticmethod(backward)
    return type("F", (torch.autograd.Function,), methods)


def doubled(torch: Any, backward: Any) -> Any:
    return function(torch, lambda ctx, x: x * 2, backward)


def exponential(torch: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        result = x.exp()
        ctx.save_for_backward(result)
        return result

    def backward(ctx: Any, g: Any) -> Any:
        (result,) = ctx.saved_tensors
        return g * result

    return function(torch, forward, backward)


def square(torch: Any, **members: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**2

    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * x * g

    return function(torch, forward, backward, **members)


# The node ---------------------------------------------------------------------------------------------------


@same
def test_the_context_is_the_node(torch: Any) -> Any:
    contexts = []

    def forward(ctx: Any, x: Any) -> Any:
        contexts.append(ctx)
        ctx.factor = 3
        return x * ctx.factor

    def backward(ctx: Any, g: Any) -> Any:
        contexts.append(ctx)
        return g * ctx.factor

    F = function(torch, forward, backward)
    x = leaf(torch, 1.0, 2.0)
    y = F.apply(x)
    y.sum().backward()
    node = y.grad_fn
    return [
        repr(y),
        x.grad,
        contexts[0] is contexts[1] is node,
        type(node).__name__,
        node.name(),
        node.factor,
        node.next_functions[0],
        isinstance(node, F._backward_cls),
        isinstance(node, torch.autograd.function.FunctionCtx),
        node.metadata,
    ]


@same
def test_inputs_are_seen_as_they_are_and_the_body_is_not_recorded(torch: Any) -> Any:
    log = []

    def forward(ctx: Any, x: Any, y: Any, text: Any) -> Any:
        z = x * y
        log.append((x.requires_grad, z.requires_grad, torch.is_grad_enabled(), ctx.needs_input_grad, text))
        return z

    def backward(ctx: Any, g: Any) -> Any:
        log.append((torch.is_grad_enabled(), ctx.needs_input_grad, g))
        return g, g, None

    function(torch, forward, backward).apply(leaf(torch, 1.0), torch.ones(1), "text").backward()
    return log


@same
def test_under_no_grad_nothing_is_recorded(torch: Any) -> Any:
    with torch.no_grad():
        y = square(torch).apply(leaf(torch, 3.0))
    z = square(torch).apply(torch.ones(1))
    return y, y.grad_fn, z, z.grad_fn


@same
def test_what_the_body_records_does_not_count(torch: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        with torch.enable_grad():
            return x * 2

    x = leaf(torch, 1.0)
    y = function(torch, forward, lambda ctx, g: g * 7).apply(x)
    y.backward()
    return x.grad, y


# Saved tensors ----------------------------------------------------------------------------------------------


@same
def test_saved_inputs_and_outputs_have_their_place_on_the_tape(torch: Any) -> Any:
    log = []

    def forward(ctx: Any, x: Any, y: Any) -> Any:
        between = x * y
        result = between + 1
        ctx.save_for_backward(x, y, between, result, None)
        return result

    def backward(ctx: Any, g: Any) -> Any:
        x, y, between, result, nothing = ctx.saved_tensors
        log.append((x is a, y is b, y.grad_fn, between.requires_grad, result.grad_fn is z.grad_fn, nothing))
        return g * y, g * x

    a = leaf(torch, 2.0)
    b = a * 3
    z = function(torch, forward, backward).apply(a, b)
    z.backward()
    return log, a.grad


@same
def test_the_second_backward_finds_nothing_saved(torch: Any) -> Any:
    y = exponential(torch).apply(leaf(torch, 1.0))
    y.backward()
    y.backward()


@same
def test_where_nothing_was_saved_there_is_nothing_to_miss(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    y = doubled(torch, lambda ctx, g: g * 2).apply(x)
    y.backward()
    y.backward()
    return x.grad


@same(words="has been modified by an inplace operation: [torch.FloatTensor [2]]")
def test_a_saved_output_may_not_be_written_to(torch: Any) -> Any:
    y = exponential(torch).apply(leaf(torch, 1.0, 2.0))
    y.add_(1)
    y.sum().backward()


@same(words="is at version 1; expected version 0 instead.")
def test_a_saved_input_may_not_be_written_to(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0) * 1
    y = square(torch).apply(x)
    x.add_(1)
    y.sum().backward()


@same
def test_only_tensors_are_saved(torch: Any) -> Any:
    function(torch, lambda ctx, x: ctx.save_for_backward(x, None, 3) or x * 2).apply(leaf(torch, 1.0))


@same
def test_hooks_on_saved_tensors_see_those_of_a_function(torch: Any) -> Any:
    log: list[Any] = []

    def pack(t: Any) -> Any:
        log.append(("pack", t))
        return t.tolist()

    def unpack(values: Any) -> Any:
        log.append("unpack")
        return torch.tensor(values)

    x = leaf(torch, 1.0, 2.0)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = square(torch).apply(x)
    y.sum().backward()
    return log, x.grad


def test_a_saved_output_does_not_keep_its_node_alive() -> None:
    gc.disable()
    try:
        y = exponential(jitgrad).apply(leaf(jitgrad, 1.0))
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


# Gradients --------------------------------------------------------------------------------------------------


@same
def test_a_function_may_be_differentiated_twice(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    results = []
    for F in (exponential(torch), square(torch)):
        (first,) = torch.autograd.grad(F.apply(x).sum(), x, create_graph=True)
        results += [first, torch.autograd.grad(first.sum(), x)]
    return results


@same
def test_a_gradient_for_each_argument(torch: Any) -> Any:
    doubled(torch, lambda ctx, g: (g, g)).apply(leaf(torch, 1.0)).backward()


@same
def test_too_few_gradients(torch: Any) -> Any:
    F = function(torch, lambda ctx, x, y: x * y, lambda ctx, g: g)
    F.apply(leaf(torch, 1.0), leaf(torch, 2.0)).backward()


@same
def test_more_none_than_arguments(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    doubled(torch, lambda ctx, g: (g, None, None)).apply(x).backward()
    return x.grad


@same
def test_what_is_no_tensor_gets_none(torch: Any) -> Any:
    F = function(torch, lambda ctx, x, k: x * k, lambda ctx, g: (g, g))
    F.apply(leaf(torch, 1.0), 2).backward()


@same
def test_a_gradient_that_is_not_needed_is_dropped(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    y = function(torch, lambda ctx, x, k: x * 2, lambda ctx, g: (g, g)).apply(x, torch.tensor(3))
    y.backward()
    return x.grad, y.grad_fn.next_functions[1], len(y.grad_fn.next_functions)


@same
def test_a_gradient_is_a_tensor_or_none(torch: Any) -> Any:
    doubled(torch, lambda ctx, g: 3).apply(leaf(torch, 1.0)).backward()


@same
def test_a_list_of_gradients_is_no_tuple(torch: Any) -> Any:
    doubled(torch, lambda ctx, g: [g]).apply(leaf(torch, 1.0)).backward()


@same
def test_no_gradient_at_all(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    doubled(torch, lambda ctx, g: None).apply(x).backward()
    return x.grad, 0


@same
def test_a_gradient_of_another_shape_is_refused(torch: Any) -> Any:
    doubled(torch, lambda ctx, g: torch.ones(3)).apply(leaf(torch, 1.0, 2.0)).sum().backward()


@same
def test_a_broadcast_gradient_is_summed_and_cast(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    doubled(torch, lambda ctx, g: torch.ones(3, 2, dtype=torch.float64)).apply(x).sum().backward()
    return x.grad


@same
def test_an_error_in_the_backward_reaches_the_caller(torch: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        raise ValueError("from the backward")

    doubled(torch, backward).apply(leaf(torch, 1.0)).backward()


# Several outputs --------------------------------------------------------------------------------------------


def two(torch: Any, log: list[Any], materialize: bool) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.set_materialize_grads(materialize)
        return x * 2, x * 3

    def backward(ctx: Any, *grads: Any) -> Any:
        log.append(grads)
        return grads[0]

    return function(torch, forward, backward)


@same
def test_an_unused_output_has_gradient_zero(torch: Any) -> Any:
    log: list[Any] = []
    x = leaf(torch, 1.0, 2.0)
    outputs = two(torch, log, True).apply(x)
    outputs[0].sum().backward()
    return log, x.grad, [o.output_nr for o in outputs]


@same
def test_or_none_if_the_function_says_so(torch: Any) -> Any:
    log: list[Any] = []
    two(torch, log, False).apply(leaf(torch, 1.0, 2.0))[0].sum().backward()
    return log


@same
def test_outputs_without_gradient(torch: Any) -> Any:
    log = []

    def forward(ctx: Any, x: Any) -> Any:
        largest, index = x.max(0)
        ctx.mark_non_differentiable(index)
        return largest * 1, index, x > 1, x * 2, "text", None

    def backward(ctx: Any, *grads: Any) -> Any:
        log.append(grads)
        return grads[3]

    x = leaf(torch, 1.0, 2.0)
    outputs = function(torch, forward, backward).apply(x)
    outputs[3].sum().backward()
    return outputs, log, x.grad, [o.output_nr for o in outputs[:4]]


@same
def test_a_floating_output_may_be_marked_too(torch: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        ctx.mark_non_differentiable(y)
        return y

    return function(torch, forward).apply(leaf(torch, 1.0))


@same
def test_an_output_returned_twice_is_the_last_one(torch: Any) -> Any:
    log = []

    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        return y, y

    def backward(ctx: Any, g: Any, h: Any) -> Any:
        log.append((g, h))
        return g + h

    p, q = function(torch, forward, backward).apply(leaf(torch, 1.0))
    (p * 3 + q).backward()
    return p is q, p.output_nr, log


@same
def test_outputs_that_are_no_tensors_are_passed_on(torch: Any) -> Any:
    return [function(torch, lambda ctx, x, r=r: r).apply(leaf(torch, 1.0)) for r in (3, None, "text", [1, 2])]


# Inputs as outputs ------------------------------------------------------------------------------------------


@same
def test_an_input_returned_as_it_is_is_a_view(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    y = function(torch, lambda ctx, x: x, lambda ctx, g: g * 3).apply(x)
    y.sum().backward()
    return y is x, y._is_view(), y.data_ptr() == x.data_ptr(), repr(y), x.grad


@same
def test_a_constant_returned_takes_its_place_on_the_tape(torch: Any) -> Any:
    constant = torch.ones(1)
    y = function(torch, lambda ctx, x: constant, lambda ctx, g: g).apply(leaf(torch, 1.0))
    return y is constant, constant


def written(torch: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    return function(torch, forward, lambda ctx, g: g * 2)


@same
def test_an_input_that_was_written_to_is_marked_dirty(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    y = x * 1
    z = written(torch).apply(y)
    z.sum().backward()
    return z is y, z, z._version, z.grad_fn.next_functions[0], x.grad


@same
def test_a_leaf_may_not_be_written_to(torch: Any) -> Any:
    written(torch).apply(leaf(torch, 1.0))


@same
def test_what_is_dirty_has_to_be_returned(torch: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.clone()

    function(torch, forward).apply(leaf(torch, 1.0) * 1)


@same
def test_a_dirty_constant_becomes_part_of_the_tape(torch: Any) -> Any:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        x.mul_(2).add_(y)
        ctx.mark_dirty(x)
        return x

    buffer, y = torch.ones(2), leaf(torch, 1.0, 2.0)
    function(torch, forward, lambda ctx, g: (g * 2, g)).apply(buffer, y)
    buffer.sum().backward()
    return buffer, y.grad


@same
def test_a_dirty_view_writes_to_its_base(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    base = x * 1
    view = base[0:1]
    out = written(torch).apply(view)
    base.sum().backward()
    return out is view, base, base.grad_fn.name(), x.grad


@same
def test_a_view_of_an_input_may_not_be_written_to(torch: Any) -> Any:
    F = function(torch, lambda ctx, x: x.view(-1), lambda ctx, g: g.view(2, 1))
    y = F.apply(torch.ones(2, 1) * leaf(torch, 1.0))
    y.add_(1)


@same
def test_nor_one_of_several_outputs(torch: Any) -> Any:
    F = function(torch, lambda ctx, x: (x.view(-1), x * 2), lambda ctx, g, h: g.view(2, 1))
    F.apply(torch.ones(2, 1) * leaf(torch, 1.0))[0].add_(1)


@pytest.mark.parametrize("recorded", [True, False])
def test_after_a_write_to_the_input_its_view_is_invalid(recorded: bool) -> None:
    @same
    def program(torch: Any) -> Any:
        x = leaf(torch, 1.0, 2.0)
        base = x * 1 if recorded else x
        y = function(torch, lambda ctx, x: x, lambda ctx, g: g * 3).apply(base)
        with torch.set_grad_enabled(recorded):
            base.add_(1)
        assert "grad_fn=<Invalid>" in repr(y)
        assert y.requires_grad
        y.sum().backward()

    program()


@same
def test_after_a_write_to_its_base_one_of_several_views_is_invalid(torch: Any) -> Any:
    y = leaf(torch, 1.0, 2.0) * 1
    first, _ = y.unbind()
    y.add_(1)
    first * 2


@same
def test_an_output_that_is_no_view_may_be_written_to(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    p, q = function(torch, lambda ctx, x: (x * 1, x * 2), lambda ctx, g, h: g + h).apply(x)
    p.add_(1)
    (p + q).backward()
    return x.grad, p


# Forms ------------------------------------------------------------------------------------------------------


@same
def test_the_context_may_be_set_up_apart(torch: Any) -> Any:
    log = []

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        log.append((inputs, output, torch.is_grad_enabled()))
        ctx.save_for_backward(inputs[0])
        ctx.k = inputs[1]

    def backward(ctx: Any, g: Any) -> Any:
        return ctx.saved_tensors[0] ** 0 * g * ctx.k, None

    x = leaf(torch, 1.0, 2.0)
    y = function(torch, lambda x, k=5: x * k, backward, setup_context=setup_context).apply(x)
    y.sum().backward()
    return log, y, x.grad


@same
def test_vjp_is_another_name_of_backward(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    function(torch, lambda ctx, x: x * 2, vjp=lambda ctx, g: g * 9).apply(x).backward()
    return x.grad


@same
def test_rules_of_other_transforms_are_accepted(torch: Any) -> Any:
    x = leaf(torch, 3.0)
    y = square(torch, jvp=lambda ctx, t: t, vmap=lambda info, dims, x: x).apply(x)
    y.backward()
    return y, x.grad


@same
def test_a_function_needs_a_forward(torch: Any) -> Any:
    type("F", (torch.autograd.Function,), {}).apply(leaf(torch, 1.0))


@same
def test_a_function_that_is_differentiated_needs_a_backward(torch: Any) -> Any:
    doubled(torch, None).apply(leaf(torch, 1.0)).backward()


@same
def test_an_instance_cannot_be_called(torch: Any) -> Any:
    square(torch)()(leaf(torch, 1.0))


@same
def test_an_instance_is_discouraged(torch: Any) -> Any:
    return square(torch)().apply(leaf(torch, 2.0))


@same
def test_a_flag_may_say_whether_it_works_in_place(torch: Any) -> Any:
    class Twice(torch.autograd.function.InplaceFunction):
        @staticmethod
        def forward(ctx: Any, x: Any, inplace: bool = False) -> Any:
            ctx.inplace = inplace
            if inplace:
                ctx.mark_dirty(x)
            return (x if inplace else x.clone()).mul_(2)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2, None

    x = leaf(torch, 1.0)
    y = x * 1
    Twice.apply(x).backward()
    Twice.apply(y, True).backward()
    return x.grad, y


# Once -------------------------------------------------------------------------------------------------------


def once(torch: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * x * g

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**2

    return function(torch, forward, torch.autograd.function.once_differentiable(backward))


@same
def test_what_is_differentiable_once_has_a_gradient(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    return torch.autograd.grad(once(torch).apply(x).sum(), x, create_graph=True)


@same
def test_but_no_second_one(torch: Any) -> Any:
    x, weights = leaf(torch, 1.0, 2.0), leaf(torch, 1.0, 1.0)
    (g,) = torch.autograd.grad(once(torch).apply(x), x, weights, create_graph=True)
    assert "grad_fn=<Error>" in repr(g)
    g.sum().backward()


@pytest.mark.parametrize("name", ["factor", "saved", "name", "values", "edges", "sequence", "hooks"])
def test_attributes_of_the_context_have_any_name(name: str) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        setattr(ctx, name, 3)
        return x * 3

    def backward(ctx: Any, g: Any) -> Any:
        assert ctx.saved_tensors[0] is x
        return g * getattr(ctx, name)

    x = leaf(jitgrad, 1.0)
    y = function(jitgrad, forward, backward).apply(x)
    assert repr(y) == "tensor([3.], grad_fn=<FBackward>)"
    y.backward()
    assert x.grad.tolist() == [3.0]
