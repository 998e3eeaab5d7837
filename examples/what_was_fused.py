"""Look inside a value with two gradients: the kernels, the memory traffic saved, the source."""

import numpy as np

import jitgrad


def weighted_sum(x, w, centre, scale):
    z = (x - centre) * scale
    return np.sum(np.exp(-0.5 * z**2) * w)


def main():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 100_000))
    function = jitgrad.value_and_grad(weighted_sum, argnums=(0, 1))

    value, (x_gradient, w_gradient) = function(x, w, 0.3, 1.7)
    print(f"value {value:.6f}, gradients of shapes {x_gradient.shape} and {w_gradient.shape}\n")

    report = function.explain(x, w, 0.3, 1.7)
    print(report)
    print(function.source(x, w, 0.3, 1.7))
    assert report.bytes_moved < report.bytes_unfused, "fusion saved nothing"


if __name__ == "__main__":
    main()
