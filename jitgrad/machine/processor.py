"""What the system says of this processor's caches."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_USUAL_BYTES = 32 << 20


def last_level_bytes(folder: Path = _FOLDER) -> int:
    """Return the size of the cache before memory as far as the first core has a share, 32 MiB if unknown."""
    try:
        sizes = {int((index / "level").read_text()): _bytes(index) for index in folder.glob("index*")}
    except (OSError, ValueError, KeyError):
        return _USUAL_BYTES
    return sizes[max(sizes)] if sizes else _USUAL_BYTES


def _bytes(index: Path) -> int:
    text = (index / "size").read_text().strip()
    return int(text[:-1]) * _UNITS[text[-1]]
