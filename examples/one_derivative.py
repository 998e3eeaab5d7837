"""Take one derivative by symbols, by differences, forward, reverse and fused, and measure the errors."""

import numpy as np
import sympy
from matplotlib.figure import Figure

import jitgrad
import jitgrad as torch

POINT = 1.0
SIDES = "one side", "both sides"


def function(x, exp=np.exp):
    return (1 - exp(-x)) / (1 + exp(-x))


def by_symbols():
    """Return the derivative as a formula, and its value at the point to 30 digits."""
    x = sympy.Symbol("x")
    formula = sympy.simplify(sympy.diff(function(x, sympy.exp), x))
    return formula, formula.subs(x, sympy.Rational(POINT)).evalf(30)


def by_differences(step):
    """Return the slopes of two chords: to the right of the point, and on both sides of it."""
    right = (function(POINT + step) - function(POINT)) / step
    return right, (function(POINT + step) - function(POINT - step)) / (2 * step)


def automatically():
    """Return the derivative by forward mode, by the tape of a tensor and by a compiled function."""
    _, tangent = jitgrad.jvp(function, (POINT,), (1.0,))
    x = torch.tensor(POINT, dtype=torch.float64, requires_grad=True)
    function(x, torch.exp).backward()
    fused = jitgrad.grad(function)(POINT)
    return {"forward": float(tangent), "reverse": x.grad.item(), "fused": float(fused)}


def draw(steps, chords, worst):
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axis = figure.subplots()
    for errors, sides, colour in zip(chords, SIDES, ("#e07b39", "#0b6e99"), strict=True):
        axis.loglog(steps, errors, ".-", color=colour, lw=0.8, ms=4, label=f"difference, {sides}")
    axis.axhline(worst, color="#2b2d33", label=f"forward, reverse, fused: at most {worst:.1e}")
    axis.annotate("rounding", (1e-14, 1e-5), color="#666d75", ha="center")
    axis.annotate("curvature", (6e-2, 1e-10), color="#666d75", ha="center")
    axis.set(title="Derivative of (1 - exp(-x)) / (1 + exp(-x)) at 1", xlabel="step of the difference")
    axis.set(ylabel="error", ylim=(1e-17, 1e2))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper center", ncols=3, fontsize=8)
    figure.savefig("one_derivative.png", dpi=100)


def main():
    formula, exact = by_symbols()

    def error(value):
        return abs(float(value - exact))

    print(f"symbols             {formula} = {exact}")
    steps = np.logspace(-16, 0, 97)
    chords = np.array([[error(slope) for slope in by_differences(step)] for step in steps]).T
    for name, errors in zip(SIDES, chords, strict=True):
        best = np.argmin(errors)
        print(f"difference, {name:<10}  error {errors[best]:.1e} at best, for a step of {steps[best]:.0e}")
    found = automatically()
    for name, value in found.items():
        print(f"{name:<22}  error {error(value):.1e}   {value!r}")
    worst = max(map(error, found.values()))
    assert worst < 2e-16, "automatic differentiation rounds as often as the formula"
    assert chords.min() > 1000 * worst, "no difference comes near"
    draw(steps, chords, worst)


if __name__ == "__main__":
    main()
