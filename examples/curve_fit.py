"""Fit a damped oscillation to noisy samples: scipy.optimize.minimize with gradients from jitgrad."""

import numpy as np
from scipy.optimize import minimize

import jitgrad


def model(parameters, t):
    amplitude, decay, frequency, phase = parameters
    return amplitude * np.exp(-decay * t) * np.sin(frequency * t + phase)


def loss(parameters, t, measured):
    return np.mean((model(parameters, t) - measured) ** 2)


def main():
    truth = np.array([2.0, 0.3, 4.0, 0.5])
    rng = np.random.default_rng(0)
    t = np.linspace(0.0, 10.0, 20_000)
    measured = model(truth, t) + 0.1 * rng.standard_normal(t.size)

    start = np.array([1.0, 0.1, 3.9, 0.0])
    fit = minimize(jitgrad.value_and_grad(loss), start, (t, measured), method="L-BFGS-B", jac=True)

    for name, wanted, found in zip(("amplitude", "decay", "frequency", "phase"), truth, fit.x, strict=True):
        print(f"{name:<10} true {wanted:.3f}  fitted {found:.3f}")
    assert np.allclose(fit.x, truth, atol=0.02), "the fit missed the true parameters"


if __name__ == "__main__":
    main()
