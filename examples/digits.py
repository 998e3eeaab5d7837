"""Train two digit classifiers: on layers and a tape, fused, and in PyTorch where it is installed."""

from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import jitgrad

MODELS = {"shallow": ((64, 10), 0.95), "deep": ((64, 128, 64, 10), 0.97)}  # widths, what has to be right
HELD_OUT, EPOCHS, BATCH, RATE, MOMENTUM = 400, 30, 32, 0.1, 0.9
TAPES = {way: import_module(n) for way, n in (("PyTorch", "torch"), ("tensors", "jitgrad")) if find_spec(n)}
LOOKS = {"PyTorch": ("#c5ccd3", "-", 6), "tensors": ("#e07b39", "-", 2.5), "fused": ("#0b6e99", ":", 2)}
WAYS = [*TAPES, "fused"]


def first_parameters(widths, rng):
    """Return the weight and the bias of each layer."""
    shapes = [shape for n, m in pairwise(widths) for shape in ((m, n), (m,))]
    return [rng.uniform(-1, 1, shape) / shape[-1] ** 0.5 for shape in shapes]


def on_a_tape(library, start):
    """Return a function of a batch that gives the mean loss and its gradients, by backward()."""
    nn = library.nn
    layers = [part for weight in start[::2] for part in (nn.Linear(*weight.shape[::-1]), nn.ReLU())]
    model, criterion = nn.Sequential(*layers[:-1]), nn.CrossEntropyLoss()
    for parameter, array in zip(model.parameters(), start, strict=True):
        parameter.data = library.from_numpy(array)  # shares its memory: an update of one is seen by both

    def step(_, images, labels):
        model.zero_grad()
        loss = criterion(model(library.from_numpy(images)), library.from_numpy(labels))
        loss.backward()
        return loss.item(), [parameter.grad.numpy() for parameter in model.parameters()]

    return step


def scores(parameters, images):
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        images = np.maximum(images @ weight.T + bias, 0)
    return images @ parameters[-2].T + parameters[-1]


def cross_entropy(parameters, images, labels):
    out = scores(parameters, images)
    out = out - np.max(out, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(out), axis=1)) - out[np.arange(len(labels)), labels])


def train(step, parameters, images, labels):
    """Descend with momentum; yield the mean loss of each epoch, and its time in milliseconds."""
    rng, velocities = np.random.default_rng(1), [np.zeros_like(p) for p in parameters]
    for _ in range(EPOCHS):
        order, started, losses = rng.permutation(len(labels)), perf_counter(), []
        for chosen in np.split(order, range(BATCH, len(order), BATCH)):
            loss, gradients = step(parameters, images[chosen], labels[chosen])
            losses.append(loss)
            for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
                velocity[...] = MOMENTUM * velocity + gradient
                parameter -= RATE * velocity
        yield np.mean(losses), 1000 * (perf_counter() - started)


def compare(axis, name, images, labels):
    """Train a model in each way from the same start, draw the losses, and check that they are the same."""
    (widths, least), runs, models = MODELS[name], [], []
    for way in WAYS:
        models.append(first_parameters(widths, np.random.default_rng(0)))
        step = on_a_tape(TAPES[way], models[-1]) if way in TAPES else jitgrad.value_and_grad(cross_entropy)
        runs.append(train(step, models[-1], images[HELD_OUT:], labels[HELD_OUT:]))
    epochs = np.array(list(zip(*runs, strict=True)))  # in turns, so that other work on this machine meets all
    print(f"{name}: {widths}")
    for way, (losses, times), parameters in zip(WAYS, epochs.transpose(1, 2, 0), models, strict=True):
        right = np.mean(np.argmax(scores(parameters, images[:HELD_OUT]), axis=1) == labels[:HELD_OUT])
        assert right > least, "the classifier did not learn"
        np.testing.assert_allclose(losses, epochs[:, 0, 0], rtol=1e-4)
        print(f"  {way:<8} loss {losses[-1]:.5f}, {right:.1%} of {HELD_OUT} held-out digits right", end="")
        print(f", {np.median(times):.1f} ms an epoch after the first of {times[0]:.0f} ms")
        colour, style, width = LOOKS[way]
        label = f"{way}: {np.median(times):.1f} ms an epoch"
        axis.semilogy(losses, style, color=colour, linewidth=width, label=label)
    axis.set(title=f"{name}, {right:.1%} of held-out digits right", xlabel="epoch", ylabel="cross-entropy")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)


def main():
    digits, order = load_digits(), np.random.default_rng(0).permutation(1797)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    with threadpool_limits(1):
        for axis, name in zip(figure.subplots(1, 2), MODELS, strict=True):
            compare(axis, name, digits.data[order] / 16, digits.target[order])
    figure.savefig("digits.png", dpi=100)


if __name__ == "__main__":
    main()
