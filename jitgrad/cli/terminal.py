"""What the commands share at the terminal: missing extras, units, the rich console."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

WIDTH_WITHOUT_TERMINAL = 150


class MissingExtra(Exception):
    """A command needs libraries that only an extra installs."""


def require_extra(extra: str, modules: Sequence[str]) -> None:
    """Raise MissingExtra, naming what to install, unless all of `modules` can be imported.

    >>> require_extra("demo", ["sys"])
    >>> require_extra("demo", ["sys", "surely_missing"])
    Traceback (most recent call last):
    ...
    jitgrad.cli.terminal.MissingExtra: this command needs surely_missing: pip install "jitgrad[demo]"
    """
    missing = [name for name in modules if not installed(name)]
    if missing:
        raise MissingExtra(f'this command needs {", ".join(missing)}: pip install "jitgrad[{extra}]"')


def installed(module: str) -> bool:
    """Say whether a top-level module can be found, without importing it."""
    return importlib.util.find_spec(module) is not None


def new_console(stderr: bool = False) -> Console:
    """Return a rich console that does not squeeze tables when the output is a file or a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL)


def new_progress() -> Progress:
    """Return a progress bar on standard error that vanishes when the work is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=new_console(stderr=True), transient=True, refresh_per_second=5)


def seconds(value: float) -> str:
    """Write a duration with three digits and a fitting unit.

    >>> seconds(0.0001234), seconds(1.5), seconds(0)
    ('123 µs', '1.50 s', '0.00 ns')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{three_digits(value / scale)} {unit}"
    return f"{three_digits(value / 1e-9)} ns"


def size(count: float) -> str:
    """Write a number of bytes with three digits and a fitting unit.

    >>> size(0), size(999), size(16_000_000)
    ('0 B', '999 B', '16.0 MB')
    """
    if count < 1000:
        return f"{count:.0f} B"
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{three_digits(count / scale)} {unit}"
    return f"{three_digits(count / 1e3)} kB"


def three_digits(value: float) -> str:
    """Write a positive number with three significant digits, without an exponent.

    >>> three_digits(1.2345), three_digits(12.345), three_digits(1234.5)
    ('1.23', '12.3', '1234')
    """
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
