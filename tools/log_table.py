"""Prints jitgrad/vmath/log_table.py.

The cells are 16 intervals from 11/16 to 11/8. r is near to one over the middle of its cell, and of all such
float32 numbers the one whose logarithm, over the factor, is nearest to a multiple of 2**-17.
"""

from __future__ import annotations

import math

import numpy as np

HEADER = """Tables of logarithms in float32, by their name.

The first row has the logarithm of 2 as a product of a short unit with a factor, the others have for each cell
a number r and -log(r) over the factor."""
CELLS = [(i / 32, (i + 1) / 32) for i in range(22, 32)] + [(i / 16, (i + 1) / 16) for i in range(16, 22)]
SHORT_UNIT = 91 / 128  # log10(2) over this is a float32 number to 31 bits.
# By the logarithm of e
BASES = {"log": (1.0, 1.0), "log2": (1 / math.log(2), 1.0), "log10": (1 / math.log(10), SHORT_UNIT)}
# Next to those cells where r is 1, the least f leave the least error beside small logarithms.
NARROW = {15 / 16: (1.042, 1.0482), 17 / 16: (0.9268, 0.9345)}


def row(low: float, high: float, scale: float) -> tuple[float, float]:
    """Return r and -log(r) * scale, a multiple of 2**-17, for the cell from `low` to `high`."""
    if low == 1 or high == 1:
        return 1.0, 0.0
    middle = 2 / (low + high)
    bounds = np.array(NARROW.get(low, (middle - 0.006, middle + 0.006)), np.float32)
    candidates = np.arange(*bounds.view(np.uint32), dtype=np.uint32).view(np.float32).astype(np.float64)
    exact = np.log(candidates) * -scale
    rounded = np.rint(exact * 2**17) / 2**17
    best = np.argmin(abs(exact - rounded))
    return float(candidates[best]), float(rounded[best])


def table(slope: float, unit: float) -> list[tuple[float, float]]:
    """Return the rows of the logarithm whose value at e is `slope`."""
    factor = float(np.float32(slope * math.log(2) / unit))
    return [(unit, factor), *(row(low, high, slope / factor) for low, high in CELLS)]


def main() -> None:
    """Print the module."""
    print(f'"""{HEADER}\n"""\n\nTABLES = {{')
    for name, (slope, unit) in BASES.items():
        rows = [f"        {pair}," for pair in table(slope, unit)]
        print("\n".join([f'    "{name}": (', *rows, "    ),"]))
    print("}")


if __name__ == "__main__":
    main()
