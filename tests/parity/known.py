"""Differences from PyTorch that are meant, each with its reason; an entry that nothing needs is an error."""

from __future__ import annotations

from checking import Known

AT_NAN = "at NaN PyTorch's derivative is a number, ours is NaN"
BY_LENGTH = (
    "at NaN PyTorch's derivative is 0 or 1 by how many elements are computed together, ours is always one"
)
COMPLEX = "operations on complex tensors are not recorded: an error says so, where PyTorch would record"
INFINITE = "at an infinity or a pole PyTorch's result is NaN or a number, ours is the limit"
OVERFLOW = "PyTorch's derivative overflows on the way, ours is the number that it should be"
UNORDERED = "PyTorch gives equal elements in an order of its algorithm's own"

KNOWN: Known = {
    ("abs", "gradient", "special"): AT_NAN,
    ("acosh", "gradient", "special"): "outside the domain, at -1, the infinite derivative has another sign",
    (
        "amax",
        "gradient",
        "special",
    ): "where the largest is NaN the gradient is NaN everywhere, ours goes to the NaN",
    (
        "amin",
        "gradient",
        "special",
    ): "where the smallest is NaN the gradient is NaN everywhere, ours goes to the NaN",
    ("argsort", "method", "bool[8000]"): UNORDERED,
    ("argsort", "value", "bool[8000]"): UNORDERED,
    ("as_strided_scatter", "gradient", ": [0]: "): (
        "PyTorch passes on the gradient of the part that is overwritten, not of the rest"
    ),
    ("atan2", "gradient", "uint8"): "PyTorch negates the uint8 operand in uint8, where it wraps around",
    ("cdouble", "method", "conversions to complex"): COMPLEX,
    ("cfloat", "method", "conversions to complex"): COMPLEX,
    (
        "cov",
        "gradient",
        "float64 #24",
    ): ("the gradient of float32 weights is 0 by cancellation, to within rounding"),
    ("digamma", "gradient", "special"): INFINITE,
    ("frexp", "gradient", "special"): OVERFLOW,
    ("i0", "gradient", "special"): INFINITE,
    ("i0", "in-place", "special"): INFINITE,
    ("i0", "method", "special"): INFINITE,
    ("i0", "value", "special"): INFINITE,
    ("kthvalue", "method", ": [1]: "): UNORDERED,
    ("kthvalue", "value", ": [1]: "): UNORDERED,
    ("linalg.pinv.hermitian", "gradient", "hermitian=True"): (
        "op_db's matrices are not symmetric, and of what hermitian=True makes of such there is no derivative"
    ),
    ("mode", "method", "[3000]"): UNORDERED,
    ("mode", "value", "[3000]"): UNORDERED,
    ("nn.functional.hardshrink", "gradient", "special"): BY_LENGTH,
    ("nn.functional.hardtanh", "gradient", "special"): BY_LENGTH,
    ("nn.functional.relu6", "gradient", "special"): BY_LENGTH,
    ("prod", "gradient", "special"): (
        "of several zeros beside infinities PyTorch makes 0 or NaN by whether a dimension is given"
    ),
    ("qr", "gradient", "float32 #3"): (
        "the square part has a condition number of 2600; ours is off by 6e-5, PyTorch's by chance less"
    ),
    ("sort", "method", "bool[8000]"): UNORDERED,
    ("sort", "value", "bool[8000]"): UNORDERED,
    ("special.erfcx", "gradient", "special"): (
        "at the largest number PyTorch's derivative is infinite and ours NaN, by an overflow on the way to 0"
    ),
    ("special.i1", "gradient", "special"): AT_NAN,
    ("special.i1", "value", "special"): INFINITE,
    ("special.i1e", "gradient", "special"): AT_NAN,
    ("special.log_ndtr", "gradient", "special"): INFINITE,
    ("square", "gradient", "special"): OVERFLOW,
    ("topk", "method", ": [1]: "): UNORDERED,
    ("topk", "value", ": [1]: "): UNORDERED,
}
