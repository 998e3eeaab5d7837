"""The two classifiers of the demonstration: plain NumPy functions, and their gradients written by hand.

Parameters are one flat vector, as scipy.optimize wants them; the functions slice it. The gradients by hand
make one NumPy call for each operation, forward and backward, as a tape such as HIPS autograd's does, but
without the cost of the tape itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

PIXELS, HIDDEN, CLASSES = 64, 48, 10
DECAY = 1e-3


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier: its scores, the loss to differentiate and the gradient by hand."""

    name: str
    size: int
    scores: Callable[[Any, Any], Any]
    loss: Callable[[Any, Any, Any], Any]
    by_hand: Callable[[Vector, Vector, NDArray[np.int64]], tuple[float, Vector]]

    def start(self, rng: np.random.Generator) -> Vector:
        """Draw small parameters."""
        return 0.1 * rng.standard_normal(self.size)

    def accuracy(self, parameters: Vector, images: Vector, labels: NDArray[np.int64]) -> float:
        """Return the fraction of images whose highest score is at the right label."""
        return float(np.mean(np.argmax(self.scores(parameters, images), axis=1) == labels))


def slices(parameters: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """Cut a flat vector into arrays of the given shapes."""
    parts, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        parts.append(parameters[start:stop].reshape(shape))
        start = stop
    return parts


def cross_entropy(scores: Any, labels: Any) -> Any:
    """Return the mean over the rows of log(sum(exp(scores))) minus the score at the label."""
    largest = np.max(scores, axis=1, keepdims=True)
    total = np.log(np.sum(np.exp(scores - largest), axis=1, keepdims=True)) + largest
    return np.mean(total - np.take_along_axis(scores, labels[:, None], axis=1))


def linear_scores(parameters: Any, images: Any) -> Any:
    """Score images by a linear map."""
    weight, bias = slices(parameters, (PIXELS, CLASSES), (CLASSES,))
    return images @ weight + bias


def linear_loss(parameters: Any, images: Any, labels: Any) -> Any:
    """Return the loss of the multinomial logistic regression, with weight decay."""
    decay = 0.5 * DECAY * np.sum(parameters**2)
    return cross_entropy(linear_scores(parameters, images), labels) + decay


NETWORK_SHAPES = (PIXELS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)


def network_scores(parameters: Any, images: Any) -> Any:
    """Score images by a network with one hidden layer."""
    weight, bias, weight2, bias2 = slices(parameters, *NETWORK_SHAPES)
    return np.tanh(images @ weight + bias) @ weight2 + bias2


def network_loss(parameters: Any, images: Any, labels: Any) -> Any:
    """Return the loss of the network, with weight decay."""
    decay = 0.5 * DECAY * np.sum(parameters**2)
    return cross_entropy(network_scores(parameters, images), labels) + decay


def cross_entropy_by_hand(scores: Vector, labels: NDArray[np.int64]) -> tuple[float, Vector]:
    """Return the mean cross-entropy and its gradient with respect to the scores."""
    index = labels[:, None]
    largest = np.max(scores, axis=1, keepdims=True)
    shifted = scores - largest
    powers = np.exp(shifted)
    sums = np.sum(powers, axis=1, keepdims=True)
    logs = np.log(sums)
    total = logs + largest
    picked = np.take_along_axis(scores, index, axis=1)
    losses = total - picked
    value = np.mean(losses)

    g_losses = np.broadcast_to(1.0 / len(labels), losses.shape)
    g_sums = g_losses / sums
    g_scores = powers * g_sums
    at_label = np.zeros_like(scores)
    np.put_along_axis(at_label, index, -g_losses, axis=1)
    return float(value), g_scores + at_label


def linear_by_hand(parameters: Vector, images: Vector, labels: NDArray[np.int64]) -> tuple[float, Vector]:
    """Return the value and gradient of linear_loss."""
    value, g_scores = cross_entropy_by_hand(linear_scores(parameters, images), labels)
    decay = 0.5 * DECAY * np.sum(parameters**2)
    g_weight = images.T @ g_scores
    g_bias = np.sum(g_scores, axis=0)
    gradient = np.concatenate([g_weight.ravel(), g_bias])
    g_decay = DECAY * parameters
    return float(value + decay), gradient + g_decay


def network_by_hand(parameters: Vector, images: Vector, labels: NDArray[np.int64]) -> tuple[float, Vector]:
    """Return the value and gradient of network_loss."""
    weight, bias, weight2, bias2 = slices(parameters, *NETWORK_SHAPES)
    before = images @ weight
    inner = before + bias
    hidden = np.tanh(inner)
    after = hidden @ weight2
    value, g_scores = cross_entropy_by_hand(after + bias2, labels)
    decay = 0.5 * DECAY * np.sum(parameters**2)

    g_weight2 = hidden.T @ g_scores
    g_bias2 = np.sum(g_scores, axis=0)
    g_hidden = g_scores @ weight2.T
    squares = hidden * hidden
    slope = 1.0 - squares
    g_inner = g_hidden * slope
    g_weight = images.T @ g_inner
    g_bias = np.sum(g_inner, axis=0)
    gradient = np.concatenate([g_weight.ravel(), g_bias, g_weight2.ravel(), g_bias2])
    g_decay = DECAY * parameters
    return float(value + decay), gradient + g_decay


MODELS = (
    Model("logistic regression", (PIXELS + 1) * CLASSES, linear_scores, linear_loss, linear_by_hand),
    Model(
        "two-layer network",
        (PIXELS + 1) * HIDDEN + (HIDDEN + 1) * CLASSES,
        network_scores,
        network_loss,
        network_by_hand,
    ),
)
