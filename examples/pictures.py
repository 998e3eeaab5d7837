"""Draw tapes, derivatives along their paths, what functions of arrays become when compiled, and networks."""

import sys
from pathlib import Path
from runpy import run_path

import numpy as np

import jitgrad
import jitgrad as torch
from jitgrad import nn
from jitgrad.viz import draw_graph, draw_model, make_dot

HERE = Path(sys.argv[1] if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir() else ".")


def one_operation():
    x = torch.tensor([1.0], requires_grad=True)
    y = 2 * x
    return make_dot(y, {"x": x, "y": y})


def detached():
    x = torch.tensor([1.0], requires_grad=True)
    y, z = 3 + x, 3 + x.detach()
    return make_dot([y, z], {"x": x, "y": y, "z": z})


def paths():
    """ln(3x² + 5xy) at (2, 3), as a sum over the ways from x to z."""
    x = torch.tensor(2.0, requires_grad=True)
    y = torch.tensor(3.0, requires_grad=True)
    a, b = x * x, x * y
    z = (3 * a + 5 * b).log()
    return make_dot(z, {"x": x, "y": y, "a": a, "b": b, "z": z}, show_partials=True, path=(x, z))


def network():
    torch.manual_seed(0)
    data = torch.randn(4, 3)
    w1 = torch.randn(3, 5, requires_grad=True)
    b1 = torch.zeros(5, requires_grad=True)
    w2 = torch.randn(5, 1, requires_grad=True)
    h = torch.tanh(data @ w1 + b1)
    loss = ((h @ w2) ** 2).mean()
    return make_dot(loss, {"w1": w1, "b1": b1, "w2": w2, "h": h, "loss": loss}, show_values=True)


def cross_entropy(w, x, labels):
    scores = x @ w
    return np.mean(np.log(np.sum(np.exp(scores), axis=1)) - np.sum(scores * labels, axis=1))


def perceptron():
    hidden = [part for _ in range(3) for part in (nn.Linear(32, 32), nn.Tanh(), nn.Dropout(0.1))]
    net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), *hidden, nn.Linear(32, 10))
    return draw_model(net, torch.zeros(8, 64), direction="right", theme="dark")


def resnet18():
    network = run_path(str(Path(__file__).with_name("resnet18.py")))["ResNet18"]
    return draw_model(network(), torch.zeros(2, 3, 224, 224))


ARRAYS = np.full((4, 3), 0.1), np.ones((8, 4)), np.eye(3)[np.arange(8) % 3]

PICTURES = {
    "one_operation": one_operation(),
    "detached": detached(),
    "paths": paths(),
    "network": network(),
    "perceptron": perceptron(),
    "resnet18": resnet18(),
    "graph": draw_graph(cross_entropy, *ARRAYS),
    "adjoint": draw_graph(cross_entropy, *ARRAYS, which="adjoint"),
    "program": draw_graph(jitgrad.value_and_grad(cross_entropy), *ARRAYS, which="program"),
}

for name, picture in PICTURES.items():
    picture.save(HERE / f"{name}.svg")
    print(f"{name}.svg: {picture}")
