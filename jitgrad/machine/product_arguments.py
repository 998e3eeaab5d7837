"""What the code of matrix products and those who call it agree on: sizes, arguments, names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

WORDS = (
    *("x", "y", "out", "x_start", "y_start", "rows", "inner", "columns"),
    *("x_row", "x_inner", "y_inner", "y_column", "x_batch", "y_batch", "x_outer", "y_outer", "batch"),
    *("out_row", "out_column"),
    *("tile_rows", "tile_columns", "tiles_across", "tiles_down", "pack_x", "pack_y", "in_place"),
)
"""The arguments. Starts and strides are in elements. The digits of a unit's number, the lowest first, are the
tile's place across and down in its matrix, and the matrix's in the two batch axes."""

POINTERS = 3
BLOCK = 256
LANES = 32
ROW_BYTES = 1024
"""The bytes of the result that a unit of a matrix times a vector makes."""


@dataclass(frozen=True)
class Registers:
    """How the code uses a CPU's registers for one dtype."""

    dtype: np.dtype[Any]
    lanes: int  # elements of a vector
    rows: int  # rows of the result that the innermost loop keeps in registers, two vectors each

    @staticmethod
    def of(dtype: np.dtype[Any], vector_bits: int, registers: int) -> Registers:
        return Registers(dtype, vector_bits // 8 // dtype.itemsize, 12 if registers >= 32 else 6)

    @property
    def columns(self) -> int:
        """Columns of the result that the innermost loop keeps in registers."""
        return 2 * self.lanes

    @property
    def panel(self) -> int:
        """Rows of a panel of the first operand, in whole vectors."""
        return -(-self.rows // self.lanes) * self.lanes

    def scratch_bytes(self, tile_columns: int) -> int:
        """Bytes for a panel of the first operand and a tile's width of the second, and to align them."""
        columns = -(-tile_columns // self.columns) * self.columns
        return BLOCK * (self.panel + columns) * self.dtype.itemsize + 64


def names(registers: Registers) -> tuple[str, str]:
    """The exported functions: matrix times matrix, matrix times vector."""
    end = f"{registers.dtype}_{registers.lanes}_{registers.rows}"
    return f"jitgrad_matrices_{end}", f"jitgrad_vector_{end}"
