"""Differences from PyTorch that are meant, each with its reason; an entry that nothing needs is an error."""

from __future__ import annotations

from checking import Known

KNOWN: Known = {
    ("atan2", "gradient", "uint8"): "PyTorch negates the uint8 operand in uint8, where it wraps around",
}
