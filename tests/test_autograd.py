"""backward and grad as PyTorch has them: what they take, return, accumulate and refuse."""

from __future__ import annotations

from typing import Any

from side_by_side import same


def leaf(torch: Any, *values: float) -> Any:
    return torch.tensor(values, requires_grad=True)


# Where a pass starts ----------------------------------------------------------------------------------------


@same
def test_the_gradient_of_a_scalar_is_one(torch: Any) -> Any:
    x = leaf(torch, 3.0)
    (x * x).backward()
    return x.grad


@same
def test_the_gradient_of_a_vector_has_to_be_given(torch: Any) -> Any:
    (leaf(torch, 1.0, 2.0) * 2).backward()


@same
def test_a_given_gradient_has_the_shape_of_its_output(torch: Any) -> Any:
    (leaf(torch, 1.0, 2.0) * 2).backward(torch.ones(3))


@same
def test_a_given_gradient_does_not_broadcast(torch: Any) -> Any:
    (leaf(torch, 1.0, 2.0) * 2).backward(torch.ones(1, 2))


@same
def test_a_given_gradient_is_cast_to_the_dtype_of_its_output(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    (x * 2).backward(torch.ones(2, dtype=torch.float64))
    (x * 2).backward(torch.ones(2, dtype=torch.int64))
    return x.grad


@same
def test_a_given_gradient_has_to_be_a_tensor(torch: Any) -> Any:
    (leaf(torch, 1.0, 2.0) * 2).backward(2.0)


@same
def test_each_output_needs_its_gradient(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    torch.autograd.backward([x * 2, x * 3], [torch.ones(1)])


@same
def test_a_gradient_in_a_list_has_to_be_a_tensor_or_none(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    torch.autograd.backward([x * 2, x * 3], [None, 3])


@same
def test_what_is_not_recorded_has_no_backward(torch: Any) -> Any:
    torch.ones(1).backward()


@same
def test_an_integer_result_has_no_backward(torch: Any) -> Any:
    leaf(torch, 1.0, 2.0).argmax().backward()


@same
def test_outputs_have_to_be_tensors(torch: Any) -> Any:
    torch.autograd.backward([3])


@same
def test_a_leaf_can_be_the_output(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    x.backward()
    return x.grad


@same
def test_several_outputs_add_up(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    torch.autograd.backward([(x * x).sum(), x * 3], [None, torch.tensor([1.0, 10.0])])
    return x.grad


@same
def test_backward_takes_all_its_arguments_by_name(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    (x * 2).backward(gradient=torch.ones(2), retain_graph=False, create_graph=False, inputs=x)
    return x.grad


@same
def test_grad_variables_is_the_old_name_of_grad_tensors(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    torch.autograd.backward(x * 2, grad_variables=torch.ones(2))
    return x.grad


@same
def test_both_names_at_once_are_refused(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    torch.autograd.backward(x * 2, torch.ones(2), grad_variables=torch.ones(2))


# Where gradients end ----------------------------------------------------------------------------------------


@same
def test_gradients_accumulate_in_the_same_tensor(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    return first is x.grad, first, x.grad


@same
def test_with_create_graph_they_accumulate_in_a_new_tensor(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward(create_graph=True)
    second = x.grad
    (x * x).sum().backward()
    return first is second, first, x.grad is second, x.grad.grad_fn


@same
def test_the_first_gradient_with_create_graph_is_a_copy(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    (x * x).backward(create_graph=True)
    return repr(x.grad)


@same
def test_a_gradient_may_be_assigned_and_is_added_to(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    x.grad = given = torch.tensor([10.0])
    (x * 3).backward()
    return x.grad is given, given


@same
def test_gradients_do_not_share_memory(torch: Any) -> Any:
    x, y = leaf(torch, 1.0, 2.0), leaf(torch, 3.0, 4.0)
    given = torch.ones(2)
    (x + y).backward(given)
    x.grad[0] = 7.0
    return y.grad, given


@same
def test_the_gradient_of_a_sum_is_dense(torch: Any) -> Any:
    x = torch.ones(3, 4, requires_grad=True)
    x.sum().backward()
    x.grad[0, 0] = 5.0
    return x.grad, x.grad.stride(), x.grad.is_contiguous()


@same
def test_gradients_are_laid_out_as_their_leaf(torch: Any) -> Any:
    turned = torch.ones(3, 4).t().requires_grad_()
    spread = torch.ones(6, 4)[::2].requires_grad_()
    plain = torch.ones(3, 4, requires_grad=True)
    (turned * 2).sum().backward()
    (spread * 2).sum().backward()
    plain.t().backward(torch.ones(4, 3))
    return turned.grad.stride(), spread.grad.stride(), plain.grad.stride()


@same
def test_a_broadcast_leaf_gets_the_sum(torch: Any) -> Any:
    x, y = torch.tensor(2.0, requires_grad=True), torch.ones(2, 1, requires_grad=True)
    (x * y * torch.ones(2, 3)).sum().backward()
    return x.grad, y.grad


@same
def test_the_gradient_has_the_dtype_of_its_leaf(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    (x * torch.ones(2, dtype=torch.float64)).sum().backward()
    return x.grad


@same
def test_what_requires_no_grad_gets_none(torch: Any) -> Any:
    x, y = leaf(torch, 1.0), torch.ones(1)
    (x * y).backward()
    return y.grad, x.grad, y.requires_grad


# Inputs of backward -----------------------------------------------------------------------------------------


@same
def test_only_the_inputs_get_gradients(torch: Any) -> Any:
    x, y = leaf(torch, 1.0), leaf(torch, 2.0)
    (x * y).backward(inputs=[y])
    return x.grad, y.grad


@same
def test_an_intermediate_input_gets_a_gradient_too(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    y = x * 2
    y.sum().backward(inputs=[y], retain_graph=True)
    first = y.grad
    (y * 3).sum().backward(inputs=[x, y])
    return first, y.grad, x.grad, y.retains_grad


@same
def test_the_node_of_an_intermediate_input_runs(torch: Any) -> Any:
    log: list[str] = []
    y = leaf(torch, 1.0, 2.0) * 2
    y.grad_fn.register_hook(lambda inputs, outputs: log.append("ran"))
    y.sum().backward(inputs=[y])
    return log, y.grad


@same
def test_inputs_may_not_be_empty(torch: Any) -> Any:
    leaf(torch, 1.0).backward(inputs=[])


@same
def test_an_input_has_to_require_grad(torch: Any) -> Any:
    (leaf(torch, 1.0) * 2).backward(inputs=[torch.ones(2)])


@same
def test_an_input_has_to_be_a_tensor(torch: Any) -> Any:
    (leaf(torch, 1.0) * 2).backward(inputs=[3])


@same
def test_an_unused_input_keeps_its_gradient(torch: Any) -> Any:
    x, unused = leaf(torch, 1.0), leaf(torch, 2.0)
    (x * 2).backward(inputs=[unused])
    return x.grad, unused.grad


@same
def test_inputs_may_be_a_dict(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    (x * 2).backward(inputs={"x": x})
    return x.grad, torch.autograd.grad(x * 3, {"x": x})


# grad -------------------------------------------------------------------------------------------------------


@same
def test_grad_returns_a_tuple_and_leaves_the_leaf_alone(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    return torch.autograd.grad((x * x).sum(), x), x.grad


@same
def test_grad_of_an_output_by_itself_is_the_seed(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    y = x * 2
    return torch.autograd.grad(y, [y, x, x])


@same
def test_grad_with_respect_to_an_intermediate(torch: Any) -> Any:
    x = leaf(torch, 2.0)
    y = x * x
    z = y * y * x
    return torch.autograd.grad(z, [y, x])


@same
def test_grad_of_an_unused_input_is_refused(torch: Any) -> Any:
    x, unused = leaf(torch, 1.0), leaf(torch, 2.0)
    torch.autograd.grad(x * 2, [x, unused])


@same
def test_an_unused_input_may_be_allowed_or_zero(torch: Any) -> Any:
    x, unused = leaf(torch, 1.0), leaf(torch, 2.0, 3.0)
    allowed = torch.autograd.grad(x * 2, [x, unused], allow_unused=True)
    zero = torch.autograd.grad(x * 2, [x, unused], materialize_grads=True)
    return allowed, zero


@same
def test_zeros_for_unused_inputs_need_that_unused_ones_are_allowed(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    torch.autograd.grad(x * 2, x, materialize_grads=True, allow_unused=False)


@same
def test_grad_by_what_requires_none(torch: Any) -> Any:
    torch.autograd.grad(leaf(torch, 1.0) * 2, torch.ones(1), allow_unused=True)


@same
def test_grad_needs_inputs(torch: Any) -> Any:
    torch.autograd.grad(leaf(torch, 1.0) * 2, [])


@same
def test_grad_inputs_are_tensors(torch: Any) -> Any:
    torch.autograd.grad(leaf(torch, 1.0) * 2, [3])


@same
def test_grad_outputs_weigh_the_outputs(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    return torch.autograd.grad([x * 2, x * x], x, [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])])


@same
def test_only_inputs_is_out_of_date(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    return torch.autograd.grad(x * x, x, only_inputs=False)


@same
def test_batches_of_grad_outputs(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0, 3.0)
    weights = torch.eye(3)
    (plain,) = torch.autograd.grad(x**2, x, weights, is_grads_batched=True)
    (recorded,) = torch.autograd.grad(x**2, x, weights, is_grads_batched=True, create_graph=True)
    return plain, torch.autograd.grad(recorded.sum(), x)


@same(words="we interpret the first dimension of each grad_output as the batch dimension")
def test_a_batch_has_one_axis_more(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0, 3.0)
    torch.autograd.grad(x**2, x, torch.ones(3), is_grads_batched=True)


# Again ------------------------------------------------------------------------------------------------------


@same
def test_the_second_backward_finds_nothing_saved(torch: Any) -> Any:
    y = leaf(torch, 2.0) ** 2
    y.backward()
    y.backward()


@same
def test_a_number_is_saved_too(torch: Any) -> Any:
    y = leaf(torch, 2.0) * 3
    y.backward()
    y.backward()


@same
def test_where_nothing_was_saved_there_is_nothing_to_miss(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    y = ((x + 1) - x.sum()).reshape(2, 1).t().sum() + x[0]
    y.backward()
    y.backward()
    return x.grad


@same
def test_a_retained_graph_runs_again(torch: Any) -> Any:
    x = leaf(torch, 2.0)
    y = x**3
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


@same
def test_two_results_of_a_freed_graph(torch: Any) -> Any:
    shared = leaf(torch, 2.0).exp()
    (shared * 2).backward()
    (shared * 3).backward()


@same
def test_create_graph_retains_the_graph(torch: Any) -> Any:
    x = leaf(torch, 2.0)
    y = x**3
    torch.autograd.grad(y, x, create_graph=True)
    return torch.autograd.grad(y, x)


@same
def test_gradients_of_gradients(torch: Any) -> Any:
    x = leaf(torch, 0.5, 1.5)
    results = []
    derivative = (x.sin() * x.exp() + 1 / x).sum()
    for _ in range(4):
        (derivative,) = torch.autograd.grad(derivative.sum(), x, create_graph=True)
        results.append(derivative)
    return results


@same
def test_a_penalty_on_the_gradient(torch: Any) -> Any:
    w, x = leaf(torch, 0.5, -1.0), torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    loss = (x @ w).tanh().pow(2).mean()
    (slope,) = torch.autograd.grad(loss, w, create_graph=True)
    (loss + slope.pow(2).sum()).backward()
    return w.grad, slope


# Modes ------------------------------------------------------------------------------------------------------


@same
def test_backward_runs_under_no_grad(torch: Any) -> Any:
    x = leaf(torch, 3.0)
    y = x * x
    with torch.no_grad():
        y.backward()
    return x.grad


@same
def test_hooks_see_whether_the_pass_is_recorded(torch: Any) -> Any:
    log: list[Any] = []
    x = leaf(torch, 3.0)
    y = x * x
    y.register_hook(lambda g: log.append((torch.is_grad_enabled(), g.requires_grad)))
    torch.autograd.grad(y, x, retain_graph=True)
    torch.autograd.grad(y, x, create_graph=True)
    with torch.no_grad():
        torch.autograd.grad(y, x, create_graph=True)
    return log, torch.is_grad_enabled()


# The graph --------------------------------------------------------------------------------------------------


@same
def test_next_functions_lead_to_the_leaves(torch: Any) -> Any:
    x, y = leaf(torch, 1.0), torch.ones(1)
    node = (x * y).exp().grad_fn
    multiplied, number = node.next_functions[0]
    sink = multiplied.next_functions[0][0]
    return [
        node.name(),
        number,
        multiplied.name(),
        multiplied.next_functions[1],
        sink.name(),
        sink.next_functions,
        sink.variable is x,
        type(sink).__name__,
    ]


@same
def test_a_node_is_one_object_with_metadata(torch: Any) -> Any:
    y = leaf(torch, 1.0) * 2
    y.grad_fn.metadata["key"] = 3
    return y.grad_fn is y.grad_fn, y.grad_fn.metadata, isinstance(y.grad_fn, torch.autograd.graph.Node)


@same
def test_sequence_numbers_grow(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    y = x * 2
    z = y * 3
    return z.grad_fn._sequence_nr() - y.grad_fn._sequence_nr()


@same
def test_variable_is_the_old_name_of_tensors(torch: Any) -> Any:
    x = torch.ones(2)
    v = torch.autograd.Variable(x, requires_grad=True)
    return v, isinstance(x, torch.autograd.Variable), x.requires_grad, v.data_ptr() == x.data_ptr()
