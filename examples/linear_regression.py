"""Fit a line by gradient descent: with derivatives by hand, and with a layer, a loss and a tape."""

import numpy as np
from matplotlib.figure import Figure

import jitgrad as torch
from jitgrad import nn

STEPS, RATE = 60, 0.1
ORANGE, BLUE, GREY = "#e07b39", "#0b6e99", "#8d99a6"


def by_hand(x, y, weight, bias):
    """Return the weights, the biases and the mean squared errors on the way."""
    history = []
    for _ in range(STEPS):
        error = weight * x + bias - y
        history.append((weight, bias, np.mean(error**2)))
        weight, bias = weight - RATE * 2 * np.mean(error * x), bias - RATE * 2 * np.mean(error)
    return np.array(history)


def by_layers(x, y, weight, bias):
    """Return the same, from a layer that starts there."""
    model, criterion = nn.Linear(1, 1), nn.MSELoss()
    with torch.no_grad():
        model.weight.fill_(weight)
        model.bias.fill_(bias)
    x, y = torch.tensor(x).reshape(-1, 1), torch.tensor(y).reshape(-1, 1)
    history = []
    for _ in range(STEPS):
        loss = criterion(model(x), y)
        history.append((model.weight.item(), model.bias.item(), loss.item()))
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= RATE * parameter.grad
    return np.array(history)


def draw(x, y, hand, layers, best):
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    points, curve = figure.subplots(1, 2)
    points.plot(x, y, ".", color=GREY, markersize=4)
    ends = np.array([x.min(), x.max()])
    for step in (0, 1, 3, STEPS - 1):
        weight, bias, _ = layers[step]
        points.plot(ends, weight * ends + bias, color=ORANGE, alpha=0.35 + 0.65 * (step == STEPS - 1))
        points.annotate(
            f" step {step}", (ends[1], weight * ends[1] + bias), color=ORANGE, va="center", size=8
        )
    points.plot(ends, np.polyval(best, ends), ":", color="#2b2d33", label="least squares")
    points.set(title="Lines on the way", xlabel="x", ylabel="y", xlim=(ends[0], ends[1] + 0.9))
    curve.semilogy(hand[:, 2], color=BLUE, linewidth=2, label="by hand")
    curve.semilogy(layers[:, 2], ".", color=ORANGE, label="nn.Linear, nn.MSELoss")
    curve.set(title="Mean squared error", xlabel="step")
    for axis in (points, curve):
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.savefig("linear_regression.png", dpi=100)


def main():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, 200).astype(np.float32)
    y = (1.5 * x + 0.7 + 0.3 * rng.standard_normal(200)).astype(np.float32)
    hand, layers = by_hand(x, y, -1.0, -2.0), by_layers(x, y, -1.0, -2.0)
    best = np.polyfit(x, y, 1)
    for name, (weight, bias, loss) in (("by hand", hand[-1]), ("with layers", layers[-1])):
        print(f"{name:<12} y = {weight:.4f} x + {bias:.4f}, mean squared error {loss:.4f}")
    print(f"{'least squares':<12} y = {best[0]:.4f} x + {best[1]:.4f}")
    np.testing.assert_allclose(layers, hand, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layers[-1, :2], best, atol=1e-3)
    draw(x, y, hand, layers, best)


if __name__ == "__main__":
    main()
