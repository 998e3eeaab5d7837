"""Anomaly detection: errors and NaNs of a backward pass are reported with the line of the forward pass."""

from __future__ import annotations

import warnings
from typing import Any

from jitgrad.eager.modes import state

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly:
    """Switch anomaly detection on or off at once; as a context manager, until its end.

    With `check_nan`, a backward pass that makes a NaN raises RuntimeError.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = state.anomaly, state.check_nan
        state.anomaly, state.check_nan = mode, check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        state.anomaly, state.check_nan = self._before


class detect_anomaly:
    """Detect anomalies inside a block, and warn that this takes time.

    >>> import jitgrad, warnings
    >>> x = jitgrad.tensor(-1.0, requires_grad=True)
    >>> with warnings.catch_warnings(action="ignore"), jitgrad.autograd.detect_anomaly():
    ...     jitgrad.sqrt(x).backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be "
            "enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = state.anomaly, state.check_nan
        state.anomaly, state.check_nan = True, self.check_nan

    def __exit__(self, *_: Any) -> None:
        state.anomaly, state.check_nan = self._before
