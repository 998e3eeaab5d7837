"""Walk down two curves by gradient descent: the start and the step decide which minimum is found."""

import numpy as np
from matplotlib.figure import Figure

import jitgrad
import jitgrad as torch


def bowl(x):
    return abs(x) + (x - 5) ** 2


def waves(x, cos=torch.cos):
    return x * cos(4 * x) + 2 * abs(x)


# The slopes of the same curves, compiled, for NumPy numbers
FUSED = {bowl: jitgrad.grad(bowl), waves: jitgrad.grad(lambda x: waves(x, np.cos))}


def gradient_descent(function, start, step, steps):
    """Return the points visited from `start`, going `step` times the slope downhill each time."""
    x = start.clone().requires_grad_(True)
    path = [x.detach().numpy().copy()]  # without the copy, all would show where x is now
    for _ in range(steps):
        function(x).backward()
        with torch.no_grad():  # the step itself is no part of the graph
            x -= step * x.grad
        x.grad.zero_()  # backward() would add to it
        path.append(x.detach().numpy().copy())
    return np.array(path)


def slopes(function, path):
    x = torch.tensor(path, requires_grad=True)
    function(x).sum().backward()
    return x.grad.numpy()


def draw(axis, x, y, path, heights, step):
    axis.plot(x.numpy(), y.numpy(), color="#8d99a6", label="curve")
    axis.axvline(x[np.argmin(y.numpy())].item(), color="#2b2d33", linestyle=":", label="its lowest point")
    axis.plot(path, heights, ".-", color="#e07b39", linewidth=0.8, markersize=5, label="path")
    axis.plot(path[0], heights[0], "o", color="#e07b39", markersize=9, label="start")
    axis.plot(path[-1], heights[-1], "*", color="#0b6e99", markersize=14, label="end")
    axis.set(title=f"from {path[0]:g}, step {step:g}: to {path[-1]:.3f}", xlabel="x", ylabel="y")
    axis.spines[["top", "right"]].set_visible(False)


def descend(function, formula, x, runs, steps, rows):
    """Print and draw a descent for each (start, step) in `runs`; return where they end."""
    figure = Figure(figsize=(4.2 * len(runs) / rows, 3.6 * rows + 0.6), layout="constrained")
    figure.suptitle(f"Gradient descent on {formula}, {steps} steps", fontsize=14)
    axes, ends = figure.subplots(rows, len(runs) // rows).flat, []
    print(f"{formula}, {steps} steps\n  start    step       end   minimum found")
    for axis, (start, step) in zip(axes, runs, strict=True):
        path = gradient_descent(function, start, step, steps)
        heights = function(torch.tensor(path)).numpy()
        print(f"{start:7.1f} {step:7.3f} {path[-1]:9.4f} {heights.min():15.4f}")
        np.testing.assert_allclose([FUSED[function](at) for at in path], slopes(function, path), 1e-5, 1e-5)
        draw(axis, x, function(x), path, heights, step)
        ends.append(path[-1])
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(f"descent_{function.__name__}.png", dpi=100)
    return ends


def main():
    runs = torch.tensor([[0.0, 0.05], [10.0, 0.05]])
    ends = descend(bowl, "|x| + (x - 5)²", torch.linspace(-2, 11, 500), runs, 150, rows=1)
    np.testing.assert_allclose(ends, 4.5, atol=1e-3)
    runs = torch.tensor([[-3.5, 0.05]] + [[start, 0.001] for start in (-3.5, -2.5, -2.0, -1.0, -0.5)])
    ends = descend(waves, "x cos 4x + 2|x|", torch.linspace(-4, 1, 500), runs, 1000, rows=2)
    np.testing.assert_allclose(ends, [-3.296, -3.1215, -3.1215, -1.5292, -1.5292, 0.0], atol=2e-3)


if __name__ == "__main__":
    main()
