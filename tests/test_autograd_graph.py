"""The tape as users see it: edges, hooks on saved tensors, hooks on several gradients, anomalies."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from side_by_side import same

import jitgrad


def leaf(torch: Any, *values: float) -> Any:
    return torch.tensor(values, requires_grad=True)


# Edges ------------------------------------------------------------------------------------------------------


@same
def test_an_edge_stands_for_its_tensor(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    y = x * 2
    z = (y * y).sum()
    at_x, at_y, at_z = (torch.autograd.graph.get_gradient_edge(t) for t in (x, y, z))
    grad = torch.autograd.grad
    results = [
        grad(z, at_y, retain_graph=True),
        grad(z, [x, at_x], retain_graph=True),
        grad(at_z, x, retain_graph=True),
        grad(at_y, x, torch.ones(2), retain_graph=True),
    ]
    torch.autograd.backward(at_z, retain_graph=True)
    torch.autograd.backward(z, inputs=[at_x])
    return results, x.grad, at_y.node is y.grad_fn, at_y.output_nr, at_y._fields


@same
def test_the_edge_of_a_vector_needs_a_gradient(torch: Any) -> Any:
    edge = torch.autograd.graph.get_gradient_edge(leaf(torch, 1.0, 2.0) * 2)
    torch.autograd.backward(edge)


@same
def test_without_gradient_there_is_no_edge(torch: Any) -> Any:
    torch.autograd.graph.get_gradient_edge(torch.ones(1))


@same
def test_versions_may_be_increased(torch: Any) -> Any:
    x = torch.ones(2)
    view = x[:1]
    torch.autograd.graph.increment_version(x)
    torch.autograd.graph.increment_version([x, view])
    return x._version, view._version


@same
def test_only_tensors_have_versions(torch: Any) -> Any:
    torch.autograd.graph.increment_version(3)


# Saved tensors ----------------------------------------------------------------------------------------------


@same
def test_hooks_see_what_is_saved(torch: Any) -> Any:
    packed: list[Any] = []
    x = leaf(torch, 1.0, 2.0)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        y = x * 2
        z = y.exp() + 1
        w = z.tanh() * x[0]
    w.sum().backward()
    return [(t.requires_grad, t) for t in packed[:2]], len(packed), x.grad, type(packed[0].grad_fn).__name__


@same
def test_values_may_be_kept_in_another_form(torch: Any) -> Any:
    def unpack(values: Any) -> Any:
        return torch.tensor(values)

    x = leaf(torch, 1.0, 2.0)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), unpack):
        y = x.exp() * x
    first = torch.autograd.grad(y.sum(), x, create_graph=True)
    return first, torch.autograd.grad(first[0].sum(), x)


@same
def test_the_innermost_hooks_count(torch: Any) -> Any:
    log: list[str] = []
    hooks = torch.autograd.graph.saved_tensors_hooks
    x = leaf(torch, 1.0)
    with hooks(lambda t: log.append("outer") or t, lambda t: t):
        with hooks(lambda t: log.append("inner") or t, lambda t: t):
            y = x * x
        y.exp()
    x.exp()
    return log


@same
def test_unpacking_gives_a_tensor(torch: Any) -> Any:
    x = leaf(torch, 1.0)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x * x
    y.backward()


@same(words="A saved tensor pack hook is modifying its input in place.")
def test_packing_writes_to_nothing(torch: Any) -> Any:
    x = leaf(torch, 1.0) * 1
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.add_(1), lambda t: t):
        x.exp()


@same
def test_hooks_may_be_refused(torch: Any) -> Any:
    graph, log = torch.autograd.graph, []
    with graph.disable_saved_tensors_hooks("not here"):
        try:
            with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                pass
        except RuntimeError as error:
            log.append(str(error))
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        try:
            with graph.disable_saved_tensors_hooks("nor here"):
                pass
        except RuntimeError as error:
            log.append(str(error))
    return log


@same
def test_saving_on_the_cpu_changes_nothing(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    with torch.autograd.graph.save_on_cpu(pin_memory=False):
        y = x.exp()
    y.sum().backward()
    return x.grad


def test_hooks_are_functions() -> None:
    with pytest.raises(TypeError):
        jitgrad.autograd.graph.saved_tensors_hooks(3, lambda t: t)  # type: ignore[arg-type]


@same
def test_nodes_show_what_they_saved(torch: Any) -> Any:
    x = leaf(torch, 1.0, 2.0)
    squared, raised, product = x.pow(2), x.exp(), x * (x + 1)
    node = raised.grad_fn
    return [
        squared.grad_fn._saved_self is x,
        squared.grad_fn._saved_self,
        node._saved_result,
        node._saved_result is raised,
        node._saved_result.grad_fn is node,
        product.grad_fn._saved_self,
        product.grad_fn._saved_other,
        (x * 3).grad_fn._saved_other.item(),
        (x * 3).grad_fn._saved_self,
        hasattr(node, "_saved_nothing"),
    ]


@same
def test_nodes_do_not_show_what_was_freed(torch: Any) -> Any:
    y = leaf(torch, 1.0).exp()
    y.backward()
    return y.grad_fn._saved_result


# Several gradients ------------------------------------------------------------------------------------------


@same
def test_a_hook_on_several_gradients_runs_once(torch: Any) -> Any:
    log: list[Any] = []
    a, b, c = leaf(torch, 1.0), leaf(torch, 2.0), leaf(torch, 3.0)
    handle = torch.autograd.graph.register_multi_grad_hook((a, b, c), log.append)
    (a * b).backward()
    (a * b + c).backward()
    handle.remove()
    (a * b).backward()
    return log


@same
def test_or_at_the_first_of_them(torch: Any) -> Any:
    log: list[Any] = []
    a, b = leaf(torch, 1.0), leaf(torch, 2.0)
    y = a * 2
    torch.autograd.graph.register_multi_grad_hook((y, b), log.append, mode="any")
    (y * b).backward()
    (a * 2).backward()
    (b * 3).backward()
    return log


@same
def test_the_mode_is_known(torch: Any) -> Any:
    torch.autograd.graph.register_multi_grad_hook((leaf(torch, 1.0),), print, mode="some")


@same
def test_all_of_them_have_gradients(torch: Any) -> Any:
    torch.autograd.graph.register_multi_grad_hook((torch.ones(1),), print)


# Anomalies --------------------------------------------------------------------------------------------------


@same
def test_a_nan_is_found(torch: Any) -> Any:
    with torch.autograd.detect_anomaly():
        x = leaf(torch, -1.0)
        (x.sqrt() * 0).backward()


@same
def test_a_nan_is_found_in_a_recorded_pass_too(torch: Any) -> Any:
    with torch.autograd.set_detect_anomaly(True):
        x = leaf(torch, -1.0)
        torch.autograd.grad(x.sqrt(), x, create_graph=True)


@same
def test_a_nan_may_be_let_pass(torch: Any) -> Any:
    with torch.autograd.detect_anomaly(check_nan=False):
        x = leaf(torch, -1.0)
        x.sqrt().backward()
    return x.grad


@same
def test_without_the_forward_pass_its_lines_are_not_known(torch: Any) -> Any:
    y = leaf(torch, -1.0).sqrt()
    with torch.autograd.set_detect_anomaly(True):
        y.backward()


@same
def test_an_error_in_the_backward_is_reported(torch: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        raise ValueError("from the backward")

    members = {"forward": staticmethod(lambda ctx, x: x * 2), "backward": staticmethod(backward)}
    F = type("F", (torch.autograd.Function,), members)
    with torch.autograd.set_detect_anomaly(True):
        F.apply(leaf(torch, 1.0)).backward()


@same(words="Hint: the backtrace further above shows the operation that failed to compute its gradient.")
def test_a_write_to_a_saved_value_is_reported(torch: Any) -> Any:
    with torch.autograd.set_detect_anomaly(True):
        y = leaf(torch, 1.0).exp()
        y.add_(1)
        y.backward()


def test_the_report_names_the_line_of_the_forward_pass() -> None:
    x = leaf(jitgrad, -1.0)
    with warnings.catch_warnings(record=True) as caught, jitgrad.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        y = x.sqrt()  # this line
        with pytest.raises(
            RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output."
        ):
            y.backward()
    text = str(caught[0].message)
    assert text.startswith(
        "Error detected in SqrtBackward0. Traceback of forward call that caused the error:\n"
    )
    assert text.splitlines()[-1].strip() == "y = x.sqrt()  # this line"
    assert __file__ in text.splitlines()[-2]
    assert "jitgrad/eager" not in text


def test_the_report_of_a_second_derivative_names_the_first() -> None:
    x = leaf(jitgrad, 0.0)
    with warnings.catch_warnings(record=True) as caught, jitgrad.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        (slope,) = jitgrad.autograd.grad(x.sqrt(), x, create_graph=True)  # this line
        with pytest.raises(RuntimeError, match="returned nan values"):
            jitgrad.autograd.grad(slope * 0, x)
    previous = str(caught[1].message)
    assert "Previous calculation was induced by SqrtBackward0." in previous
    assert previous.splitlines()[-1].endswith("create_graph=True)  # this line")


@same
def test_switches_of_anomaly_detection_nest(torch: Any) -> Any:
    def state() -> tuple[bool, bool]:
        return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()

    log = [state()]
    with torch.autograd.set_detect_anomaly(True):
        log.append(state())
        with torch.autograd.set_detect_anomaly(False):
            log.append(state())
        with torch.autograd.detect_anomaly(check_nan=False):
            log.append(state())
        log.append(state())
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    log.append(state())
    torch.autograd.set_detect_anomaly(False)
    log.append(state())
    return log
