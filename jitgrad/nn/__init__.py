"""Neural networks: the namespace `torch.nn`, of which there are the functions."""

from jitgrad.nn import functional as functional
