"""Train a recurrent loop that stops when its numbers say so: each iteration has another graph."""

import numpy as np
from matplotlib.figure import Figure

import jitgrad
import jitgrad as torch
from jitgrad import nn
from jitgrad.viz import make_dot

ITERATIONS, RATE, FULL = 3000, 0.05, 3.0


class Reader(nn.Module):
    """Reads numbers from a stream until their sum is large; then says what their running average was."""

    def __init__(self):
        super().__init__()
        self.from_number, self.from_state, self.out = nn.Linear(1, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, stream):
        state, total = torch.zeros(1, 8), torch.tensor(0.0)
        self.states = []
        while total < FULL:  # the numbers decide, so nobody can know the graph beforehand
            number = next(stream)
            state = torch.tanh(self.from_number(number) + self.from_state(state))
            total = total + number.sum()
            self.states.append(state)
        return self.out(state)


def numbers(rng, read):
    """Yield random numbers, and keep those that were asked for."""
    while True:
        read.append(rng.random())
        yield torch.tensor([[read[-1]]])


def running_average(values):
    average = 0.0
    for value in values:
        average = 0.6 * average + 0.4 * value
    return average


def train(model, rng):
    """Return the number of steps and the squared error of each iteration."""
    history = []
    for _ in range(ITERATIONS):
        read = []
        answer = model(numbers(rng, read))
        loss = ((answer - running_average(read)) ** 2).sum()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= RATE * parameter.grad
        history.append((len(read), loss.item()))
    return np.array(history)


def draw(history):
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    bars, curve = figure.subplots(1, 2)
    bars.bar(range(60), history[:60, 0], color="#0b6e99")
    bars.set(title="Steps of the first 60 loops", xlabel="iteration", ylabel="steps")
    curve.semilogy(history[:, 1], ".", color="#8d99a6", markersize=1.5, label="one iteration")
    means = history[:, 1].reshape(-1, 100).mean(1)
    curve.semilogy(np.arange(50, ITERATIONS, 100), means, color="#e07b39", label="mean of 100")
    curve.set(title="Squared error", xlabel="iteration", ylim=(1e-8, 1))
    curve.legend(frameon=False, loc="upper right")
    for axis in (bars, curve):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig("changing_length.png", dpi=100)
    return means


def until_full(x):
    total = x
    while total < FULL:
        total = total + x
    return total


def main():
    torch.manual_seed(0)
    model, rng = Reader(), np.random.default_rng(0)
    history = train(model, rng)
    means = draw(history)
    lengths = history[:, 0].astype(int)
    print(f"{lengths.min()} to {lengths.max()} steps; squared error {means[0]:.4f}, later {means[-1]:.6f}")
    assert means[-1] < means[0] / 20, "the loop did not learn"
    answer = model(iter([torch.tensor([[1.0]])] * 3))
    named = {**dict(model.named_parameters()), **{f"state {i}": s for i, s in enumerate(model.states, 1)}}
    make_dot(answer, {**named, "answer": answer}).save("three_steps.svg")
    try:
        jitgrad.grad(until_full)(0.5)
        raise AssertionError("a loop without an end known beforehand was compiled")
    except jitgrad.TraceError as error:
        print(f"A compiled function has one graph: {error}")


if __name__ == "__main__":
    main()
