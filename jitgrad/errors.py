"""What jitgrad raises and warns with."""

from __future__ import annotations


class JitgradWarning(UserWarning):
    """Something works less well than it could, with the reason and the remedy."""


class NotDifferentiable(TypeError):
    """A derivative was asked of something that has none: an op without a rule, an integer argument."""


class TraceError(TypeError):
    """Python asked a traced value for what exists only at run time."""
