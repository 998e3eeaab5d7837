"""Draw relu and its derivative, a step that is 0 at 0."""

import numpy as np
from matplotlib.figure import Figure

import jitgrad
import jitgrad as torch


def draw(x, y, slope):
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    titles = "relu(x)", "its derivative"
    for axis, values, title in zip(figure.subplots(1, 2), (y, slope), titles, strict=True):
        axis.axhline(0, color="#c5ccd3", linewidth=0.8)
        axis.axvline(0, color="#c5ccd3", linewidth=0.8)
        axis.plot(x, values, color="#0b6e99", linewidth=2)
        axis.set(title=title, xlabel="x")
        axis.spines[["top", "right"]].set_visible(False)
    axis.plot(0, 0, "o", color="#e07b39")
    axis.annotate("at 0: 0, by choice", (0.8, 0.03), color="#e07b39")
    figure.savefig("relu.png", dpi=100)


def main():
    x = torch.linspace(-10, 10, 1000, requires_grad=True)
    y = torch.relu(x)
    y.sum().backward()  # each y depends on its own x alone, so the gradient holds each derivative

    corner = torch.tensor(0.0, requires_grad=True)
    torch.relu(corner).backward()
    print(f"derivatives of relu: {x.grad.unique().tolist()}, at 0: {corner.grad.item()}")

    at = x.detach().numpy()
    fused = jitgrad.grad(lambda x: np.sum(np.where(x > 0, x, 0)))(at)
    np.testing.assert_array_equal(x.grad.numpy(), fused)
    np.testing.assert_array_equal(fused, at > 0)
    draw(at, y.detach().numpy(), x.grad.numpy())


if __name__ == "__main__":
    main()
