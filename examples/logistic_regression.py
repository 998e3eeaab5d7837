"""Train a logistic regression by plain gradient descent on a dictionary of parameters."""

import numpy as np

import jitgrad


def loss(parameters, x, y):
    margins = y * (x @ parameters["weight"] + parameters["bias"])
    return np.mean(np.log1p(np.exp(-margins)))


def main():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2_000, 10))
    y = np.where(x @ rng.standard_normal(10) + 0.3 > 0, 1.0, -1.0)

    step = jitgrad.value_and_grad(loss)
    parameters = {"weight": np.zeros(10), "bias": np.float64(0.0)}
    for iteration in range(201):
        value, gradient = step(parameters, x, y)
        parameters = {name: parameters[name] - gradient[name] for name in parameters}
        if iteration % 50 == 0:
            print(f"iteration {iteration:3d}  loss {value:.4f}")

    accuracy = np.mean(np.sign(x @ parameters["weight"] + parameters["bias"]) == y)
    print(f"accuracy {accuracy:.3f}")
    assert accuracy > 0.95, "the classifier did not learn"


if __name__ == "__main__":
    main()
