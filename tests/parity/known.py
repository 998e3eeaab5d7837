"""Differences from PyTorch that are meant, each with its reason; an entry that nothing needs is an error."""

from __future__ import annotations

# (op with its variant, column of the report) -> reason
KNOWN: dict[tuple[str, str], str] = {}
